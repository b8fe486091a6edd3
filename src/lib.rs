//! Snapkeep keeps snapshots by policy.

pub mod clock;
pub mod lifecycle;
