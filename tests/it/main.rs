//! Everything that is tested from outside, as one program.

#![allow(
    clippy::disallowed_methods,
    reason = "tests measure how long the outside takes; what they test gets its time as an argument"
)]

mod access;
mod architecture;
mod channel_command;
mod cli;
mod conformance;
mod daemon;
mod docs;
mod driver_conformance;
mod driver_contract;
mod driver_fuzz;
mod faults;
mod files;
mod foresight;
mod http;
mod journal_contract;
mod journal_format;
mod keys;
mod machines;
mod mail;
mod manual;
mod metrics;
mod operations;
mod packaging;
mod pages;
mod peers_chunks;
mod peers_forget;
mod peers_mail;
mod peers_restic;
mod peers_webhook;
mod policy_import;
mod policy_problems;
mod process_host;
mod restore;
mod retention;
mod roster;
mod samples;
mod scenarios;
mod schedule;
mod simulation;
mod sm;
mod support;
mod traps;
mod upkeep;
mod webhook;
mod witness;
