//! The schedule function against what it promises: worked examples, every change of every zone,
//! laws, and the schedulers of others.

mod examples;
mod laws;
mod peers;
mod reference;
mod transitions;

use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::time::Timestamp;

/// Returns up to `count` triggers after `after`.
fn triggers(schedule: &Schedule, after: Timestamp, count: usize) -> Vec<Timestamp> {
    std::iter::successors(schedule.next_after(after), |last| schedule.next_after(*last)).take(count).collect()
}

/// Returns the triggers in `(after, until]`, found by stepping.
fn triggers_until(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(schedule.next_after(after), |last| schedule.next_after(*last))
        .take_while(|next| *next <= until)
        .collect()
}

/// Reads `2026-03-01 00:00` as UTC.
fn utc(text: &str) -> Timestamp {
    let wall = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect(text);
    Timestamp::from_seconds(wall.and_utc().timestamp())
}
