//! Snapkeep keeps snapshots by policy.

pub mod clock;
pub mod config;
pub mod drivers;
pub mod engine;
pub mod housekeeping;
pub mod journal;
pub mod lifecycle;
pub mod notify;
pub mod roster;
pub mod watch;
