//! What the daemon does, one scenario a promise: triggers that were missed or met each other, edits,
//! removals, stops, time limits, commands, clocks that are set, and what people are told.
//!
//! The test answers in the driver's place and says what time it is. Day 1 is a Sunday.

mod age_locks;
mod audit;
mod clocks;
mod conditions;
mod edits;
mod guards;
mod guards_bypassed;
mod guests;
mod holds;
mod journal;
mod log;
mod metrics;
mod notices;
mod repositories;
mod restrictions;
mod shown;
mod tokens;
mod triggers;

use snapkeep::engine::event::What;
use snapkeep::lifecycle::snapshot::Presence;
use snapkeep::lifecycle::workflow::Answer;

use crate::support::roster::PolicyText;
use crate::support::stage::Stage;

/// A policy that only makes snapshots.
fn creating(name: &str, schedule: &str) -> PolicyText {
    PolicyText::new(name, schedule, None)
}

/// A policy that also deletes, down to `max_count`.
fn deleting(name: &str, creation: &str, deletion: &str, max_count: u32) -> PolicyText {
    PolicyText::new(name, creation, Some((deletion, None, Some(max_count), 1)))
}

/// A policy that makes a snapshot once a year and deletes on schedule.
fn tidying(name: &str, deletion: &str, max_count: u32) -> PolicyText {
    deleting(name, "0 0 31 12 *", deletion, max_count)
}

fn good() -> Answer {
    Answer::Described(Presence::Good { message: None })
}

fn absent() -> Answer {
    Answer::Described(Presence::Absent)
}

fn running() -> Answer {
    Answer::Described(Presence::Running)
}

fn run_of(policy: &str, kind: snapkeep::lifecycle::workflow::Kind) -> What {
    What::Run { policy: policy.into(), kind }
}

/// Puts `count` snapshots into the repository, one a day, the newest of yesterday: `s1` is the oldest.
fn keep_days(stage: &mut Stage, policy: &str, count: i64) {
    for number in 1..=count {
        stage.keep(policy, &format!("s{number}"), &format!("{} 12:00", number - count));
    }
}
