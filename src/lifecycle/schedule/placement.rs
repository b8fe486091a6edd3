//! Where wall times fall on the time line.
//!
//! A *running* schedule follows the clock: it runs at every instant at which the local clock shows one
//! of its times, so it skips what the clock skips and repeats what the clock repeats.
//!
//! A *fixed* schedule runs each of its times once: at the first instant at which the local clock shows
//! that time or a later one. In a gap that is the first instant after it, where several times become
//! one run; of a repeated hour it is the first pass.
//!
//! ```text
//! wall  │          ╱ gap: 2:30 runs here      wall  │      ╱│    ╱
//!       │         ╱                                 │ 1:30╱ │  ╱ not again
//!       │       │                                   │   ╱   │╱
//!       │     ╱                                     │ ╱
//!       └──────────── time                          └──────────── time
//! ```

use crate::lifecycle::cron::{Cron, Minutes};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::zone::{Change, Zone};

/// The clock never goes back further than from the easternmost offset (+14) to the westernmost (-12).
const FOLD_MS_MAX: i64 = 26 * 3_600_000;

/// Runs of a stretch of time, in order.
enum Piece {
    /// The wall times in `(after, until]`, all at the same offset.
    Stretch { after: i64, until: i64, offset: i32 },
    /// Fixed times that the clock jumped over (or onto): one run for all of them.
    Jump { at: Timestamp },
}

/// Returns the first run strictly after `after`, `None` when the calendar ends before.
///
/// Every turn of a loop passes one change of the zone's offset before the end of the calendar, of
/// which there are a few hundred at most.
pub(super) fn next_after(cron: &Cron, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
    let mut offset = zone.offset_seconds(after);
    let mut from = after;
    if cron.is_running() {
        let mut shown = wall_at(from, offset);
        loop {
            let next = instant_of(cron.next_wall(shown)?, offset);
            let Some(change) = zone.first_change(from, next) else { return Some(next) };
            (from, offset) = (change.at, change.after);
            shown = wall_at(change.at, change.after) - 1;
        }
    }
    let wall = cron.next_wall(latest_shown(zone, after, offset))?;
    loop {
        let next = instant_of(wall, offset);
        let Some(change) = zone.first_change(from, next) else { return Some(next) };
        if wall_at(change.at, change.after) >= wall {
            return Some(change.at);
        }
        (from, offset) = (change.at, change.after);
    }
}

/// Returns how many runs lie in `(after, until]` and the last of them, `None` when there is none.
pub(super) fn count(cron: &Cron, zone: &Zone, after: Timestamp, until: Timestamp) -> Option<(u64, Timestamp)> {
    let mut count = 0;
    let mut last = None;
    pieces(cron, zone, after, until, |piece| match piece {
        Piece::Stretch { after, until, offset } => {
            let more = cron.count(after, until);
            if more > 0 {
                count += more;
                last = cron.last_wall(until).map(|wall| instant_of(wall, offset)).or(last);
            }
        }
        Piece::Jump { at } => {
            count += 1;
            last = Some(at);
        }
    });
    last.map(|last| (count, last))
}

/// Returns the shortest and the longest gap between runs in `(after, until]`, in milliseconds, `None`
/// when there are fewer than two.
pub(super) fn gaps(cron: &Cron, zone: &Zone, after: Timestamp, until: Timestamp) -> Option<(i64, i64)> {
    let of_day: Vec<i64> = cron.minutes_of_day(0..1440).collect();
    let within_day = || of_day.windows(2).map(|pair| (pair[1] - pair[0]) * 60_000);
    let within_day = within_day().min().zip(within_day().max());
    let mut gaps = Gaps::default();
    pieces(cron, zone, after, until, |piece| match piece {
        Piece::Stretch { after, until, offset } => {
            for (day, minutes) in cron.days(after, until).filter(|(day, _)| cron.comes_on(*day)) {
                let at = |minute: i64| instant_of(day * 86_400 + minute * 60, offset);
                match (minutes, of_day.first(), of_day.last()) {
                    (Minutes::All, Some(first), Some(last)) => {
                        gaps.run(at(*first));
                        if let Some((shortest, longest)) = within_day {
                            gaps.hold(shortest);
                            gaps.hold(longest);
                        }
                        gaps.last = Some(at(*last));
                    }
                    (Minutes::All, _, _) => {}
                    (Minutes::Some(minutes), _, _) => {
                        cron.minutes_of_day(minutes).for_each(|minute| gaps.run(at(minute)))
                    }
                }
            }
        }
        Piece::Jump { at } => gaps.run(at),
    });
    gaps.found
}

#[derive(Default)]
struct Gaps {
    last: Option<Timestamp>,
    found: Option<(i64, i64)>,
}

impl Gaps {
    fn run(&mut self, at: Timestamp) {
        if let Some(last) = self.last {
            self.hold(at.since(last));
        }
        self.last = Some(at);
    }

    fn hold(&mut self, gap: i64) {
        self.found = Some(self.found.map_or((gap, gap), |(shortest, longest)| (shortest.min(gap), longest.max(gap))));
    }
}

/// Cuts `(after, until]` at the changes of the zone's offset, and hands out what runs between.
fn pieces(cron: &Cron, zone: &Zone, after: Timestamp, until: Timestamp, mut piece: impl FnMut(Piece)) {
    let mut offset = zone.offset_seconds(after);
    let mut from = after;
    let mut shown = match cron.is_running() {
        true => wall_at(after, offset),
        false => latest_shown(zone, after, offset),
    };
    while let Some(change) = zone.first_change(from, until) {
        let end = last_shown_before(change);
        if end > shown {
            piece(Piece::Stretch { after: shown, until: end, offset });
        }
        let start = wall_at(change.at, change.after);
        if cron.is_running() {
            shown = start - 1;
        } else {
            shown = shown.max(end);
            if start > shown && cron.count(shown, start) > 0 {
                piece(Piece::Jump { at: change.at });
            }
            shown = shown.max(start);
        }
        (from, offset) = (change.at, change.after);
    }
    let end = wall_at(until, offset);
    if end > shown {
        piece(Piece::Stretch { after: shown, until: end, offset });
    }
}

/// Returns the latest wall time that the local clock has shown up to `at`: later than what it shows,
/// while an hour repeats.
fn latest_shown(zone: &Zone, at: Timestamp, offset: i32) -> i64 {
    let mut latest = wall_at(at, offset);
    let mut from = at.plus(-FOLD_MS_MAX);
    while let Some(change) = zone.first_change(from, at) {
        latest = latest.max(last_shown_before(change));
        from = change.at;
    }
    latest
}

fn last_shown_before(change: Change) -> i64 {
    wall_at(change.at, change.before) - 1
}

/// Returns what a clock at `offset` seconds from UTC shows.
fn wall_at(at: Timestamp, offset: i32) -> i64 {
    at.seconds().saturating_add(i64::from(offset))
}

fn instant_of(wall: i64, offset: i32) -> Timestamp {
    Timestamp::from_seconds(wall - i64::from(offset))
}
