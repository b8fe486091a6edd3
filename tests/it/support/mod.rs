//! What several tests need.

pub mod dice;
pub mod roster;
pub mod skips;
pub mod stage;
pub mod tls;
pub mod wait;
