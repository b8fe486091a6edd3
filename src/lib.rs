//! Snapkeep keeps snapshots by policy.
//!
//! The decisions are values, made in [`lifecycle`] without touching anything outside; [`engine`] is
//! the one place where they meet the [`journal`], which keeps what was promised, and the drivers,
//! which alone know what exists. ARCHITECTURE.md has the map, the arrows and the invariants.

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod drivers;
pub mod editing;
pub mod engine;
pub mod housekeeping;
pub mod http;
pub mod journal;
pub mod lifecycle;
pub mod manual;
pub mod metrics;
pub mod notify;
pub mod ownership;
pub mod roster;
pub mod service;
pub mod template;
pub mod tls;
pub mod upkeep;
pub mod watch;
pub mod witness;
