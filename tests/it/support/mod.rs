//! What several tests need.

pub mod dice;
pub mod roster;
pub mod stage;
pub mod wait;
