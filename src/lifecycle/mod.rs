//! The decisions, as values. This folder is pure: no I/O, no clock, no async, no serde, no logging.
//!
//! What time it is, what a driver answered and what the policy says come in as arguments; what
//! should happen goes out as a value. Nothing here can fail for want of the outside.

pub mod age_lock;
pub mod channel;
pub mod creation;
pub mod cron;
pub mod date_format;
pub mod deletion;
pub mod estate;
pub mod foresight;
pub mod health;
pub mod hex;
pub mod hold;
pub mod keep_rules;
pub mod notice;
pub mod plan;
pub mod policy;
pub mod retention;
pub mod retry;
pub mod role;
pub mod schedule;
pub mod snapshot;
pub mod time;
pub mod trust;
pub mod workflow;
pub mod zone;
