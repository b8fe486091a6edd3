//! Thinning: which good snapshots the keep rules hold.
//!
//! The good ones that count are looked at from the newest to the oldest. Each rule cuts them into
//! *buckets* (an hour, a day, a week …) and holds the newest of every bucket, until it has held as
//! many as its count says. A snapshot stays that any rule holds.
//!
//! ```text
//!   newest                                                                  oldest
//!   Thu 14h  Thu 13h  Thu 12h  Thu 2h   Wed 14h  Wed 2h   Tue 14h  last Sun  Sat
//!   hourly 1 hourly 2    ·        ·        ·        ·        ·        ·       ·     hourly = 2
//!   daily 1     ·        ·        ·     daily 2     ·     daily 3     ·       ·     daily = 3
//!   weekly 1    ·        ·        ·        ·        ·        ·     weekly 2 oldest  weekly = 4
//! ```
//!
//! - Buckets are those of the policy's zone, by the clock on its walls. Weeks are ISO's: from Monday,
//!   over the new year. Quarters begin in January, April, July and October.
//! - An empty bucket uses up nothing: of a machine that was off for a month nothing is lost.
//! - While a rule has fewer buckets than its count, the oldest snapshot stays too, so that a new series
//!   grows back to its beginning (as in restic). Where there is one a bucket, that changes nothing.
//! - `within` holds what is strictly newer than the newest good snapshot less the span. It is not
//!   counted from now, so nothing goes because nothing new is made.
//! - An hour that is repeated when the clock is set back is **two** buckets: each is an hour in which
//!   something may have been lost. Days and all that is longer take in whatever the clock repeats: going
//!   back in time a later date than the last one begins no bucket.
//!
//! Which ones are held does not depend on what is protected: the newest of a day stands for it, also
//! while it is in use or young. A snapshot that is not good is measured by what a good one in its place
//! would get, but it never stands for anything, and is never held as the oldest.

use crate::lifecycle::keep_rules::{Every, KeepRules};
use crate::lifecycle::time::{Span, Timestamp};
use crate::lifecycle::zone::Zone;

/// By which right a keep rule holds a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is the newest of a bucket.
    Place {
        /// The rule.
        every: Every,
        /// Which bucket of the rule; the newest is 1.
        place: u32,
        /// How many buckets the rule holds.
        count: u32,
    },
    /// It is the oldest, and the rule has buckets left.
    Oldest {
        /// The rule.
        every: Every,
        /// How many buckets there are.
        filled: u32,
        /// How many the rule holds.
        count: u32,
    },
    /// It is less than this older than the newest good one.
    Within(Span),
}

/// All rules that hold one snapshot, from fine to coarse; none when it is thinned. Most of a long
/// listing have none, which takes no memory beside its own.
pub(super) type Holds = Box<[Hold]>;

/// Returns what holds each of `good`, and what would hold each of `others` were it good. Both are
/// sorted, newest first. Of a good and another one of the same time the good one counts as older.
pub(super) fn thin(rules: &KeepRules, good: &[Timestamp], others: &[Timestamp]) -> (Vec<Holds>, Vec<Holds>) {
    let mut ladder = Ladder::new(rules, good.first().copied());
    let mut others_left = others.iter().copied().peekable();
    let mut held = Vec::with_capacity(good.len());
    let mut others_held = Vec::with_capacity(others.len());
    for at in good {
        while let Some(other) = others_left.next_if(|other| other >= at) {
            others_held.push(ladder.holds(other, false));
        }
        held.push(ladder.holds(*at, true));
    }
    others_held.extend(others_left.map(|other| ladder.holds(other, false)));
    if let Some(oldest) = held.last_mut() {
        ladder.hold_oldest(oldest);
    }
    (held, others_held)
}

/// The rules on the way from the newest snapshot to the oldest.
struct Ladder<'a> {
    rules: &'a KeepRules,
    rungs: Vec<Rung>,
    /// How many rungs have buckets left. Once there are none, dates need not be known.
    open: usize,
    /// After which everything is within the span.
    within_after: Option<(Timestamp, &'a Span)>,
    calendar: Calendar<'a>,
}

/// One rule that counts.
struct Rung {
    every: Every,
    count: u32,
    filled: u32,
    last: Option<Bucket>,
}

/// Names a bucket among those of its rule: greater is later. For hours the offset from UTC too, which
/// tells the two apart that the clock shows alike.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bucket(i64, i32);

impl<'a> Ladder<'a> {
    fn new(rules: &'a KeepRules, newest: Option<Timestamp>) -> Ladder<'a> {
        let rungs: Vec<Rung> =
            rules.counts().map(|(every, count)| Rung { every, count, filled: 0, last: None }).collect();
        let within = newest.zip(rules.within());
        Ladder {
            rules,
            open: rungs.len(),
            rungs,
            within_after: within.map(|(newest, within)| (newest.plus(-within.millis()), within)),
            calendar: Calendar::new(rules.zone()),
        }
    }

    /// Returns what holds a snapshot taken `at`, no newer than those before it; with `takes` it then
    /// stands for its buckets.
    fn holds(&mut self, at: Timestamp, takes: bool) -> Holds {
        let mut holds = Vec::new();
        if self.open > 0 {
            self.calendar.turn_to(at);
            for rung in self.rungs.iter_mut().filter(|rung| rung.filled < rung.count) {
                let bucket = self.calendar.bucket(rung.every);
                if !rung.last.is_none_or(|last| rung.every.begins(bucket, last)) {
                    continue;
                }
                holds.push(Hold::Place { every: rung.every, place: rung.filled + 1, count: rung.count });
                if takes {
                    rung.filled += 1;
                    rung.last = Some(bucket);
                    self.open -= usize::from(rung.filled == rung.count);
                }
            }
        }
        if let Some((after, within)) = self.within_after
            && at > after
        {
            holds.push(Hold::Within(within.clone()));
        }
        holds.into()
    }

    /// Lets every rule that has buckets left hold the oldest too, whose own holds are `holds`.
    fn hold_oldest(&self, holds: &mut Holds) {
        let mut all = Vec::new();
        for rung in &self.rungs {
            let own = holds.iter().find(|hold| matches!(hold, Hold::Place { every, .. } if *every == rung.every));
            match own {
                Some(own) => all.push(own.clone()),
                None if rung.filled < rung.count => {
                    all.push(Hold::Oldest { every: rung.every, filled: rung.filled, count: rung.count });
                }
                None => {}
            }
        }
        let within = self.rules.within().filter(|_| holds.iter().any(|hold| matches!(hold, Hold::Within(_))));
        all.extend(within.map(|within| Hold::Within(within.clone())));
        *holds = all.into();
    }
}

impl Every {
    /// Whether a bucket begins that is met after `last` on the way to older ones.
    fn begins(self, bucket: Bucket, last: Bucket) -> bool {
        match self {
            Every::Snapshot => true,
            Every::Hour => bucket != last,
            Every::Day | Every::Week | Every::Month | Every::Quarter | Every::Year => bucket.0 < last.0,
        }
    }
}

/// The calendar of a zone, turned to one moment. Total: it knows every year that a timestamp may have.
struct Calendar<'a> {
    zone: &'a Zone,
    offset_seconds: i32,
    hour: i64,
    /// Days since 1970 on the walls of the zone.
    day: i64,
    /// Months since the year 0. Known for one day, as most snapshots share theirs with the one before.
    month: i64,
}

const HOUR_SECONDS: i64 = 3_600;
const DAY_HOURS: i64 = 24;

impl<'a> Calendar<'a> {
    fn new(zone: &'a Zone) -> Calendar<'a> {
        Calendar { zone, offset_seconds: 0, hour: 0, day: 0, month: month_of(0) }
    }

    fn turn_to(&mut self, at: Timestamp) {
        self.offset_seconds = self.zone.offset_seconds(at);
        // Seconds are a thousandth of what a timestamp holds: nothing overflows.
        self.hour = (at.seconds() + i64::from(self.offset_seconds)).div_euclid(HOUR_SECONDS);
        let day = self.hour.div_euclid(DAY_HOURS);
        if day != self.day {
            self.day = day;
            self.month = month_of(day);
        }
    }

    fn bucket(&self, every: Every) -> Bucket {
        match every {
            Every::Snapshot => Bucket(0, 0),
            Every::Hour => Bucket(self.hour, self.offset_seconds),
            Every::Day => Bucket(self.day, 0),
            // The first day of 1970 was a Thursday, so its week began three days earlier.
            Every::Week => Bucket((self.day + 3).div_euclid(7), 0),
            Every::Month => Bucket(self.month, 0),
            Every::Quarter => Bucket(self.month.div_euclid(3), 0),
            Every::Year => Bucket(self.month.div_euclid(12), 0),
        }
    }
}

/// Returns the month of a day since 1970, in months since January of the year 0. A year that begins in
/// March has its leap day at the end, and 400 of them always have the same number of days.
fn month_of(day: i64) -> i64 {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + from_march + 2
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;

    use super::*;

    #[test]
    fn a_month_is_the_calendars_on_every_day_of_eight_hundred_years() {
        for day in -150_000..150_000 {
            let at = chrono::DateTime::from_timestamp(day * 86_400, 0).expect("in range");
            assert_eq!(month_of(day), i64::from(at.year()) * 12 + i64::from(at.month0()), "{at}");
        }
    }

    #[test]
    fn a_week_is_isos_on_every_day_of_eighty_years() {
        let mut calendar = Calendar::new(&Zone::utc()).week_of(0);
        let mut iso = chrono::DateTime::from_timestamp(0, 0).expect("in range").iso_week();
        for day in 1..30_000 {
            let next = Calendar::new(&Zone::utc()).week_of(day);
            let next_iso = chrono::DateTime::from_timestamp(day * 86_400, 0).expect("in range").iso_week();
            assert_eq!(next != calendar, next_iso != iso, "day {day}");
            (calendar, iso) = (next, next_iso);
        }
    }

    impl Calendar<'_> {
        fn week_of(mut self, day: i64) -> i64 {
            self.turn_to(Timestamp::from_seconds(day * 86_400));
            self.bucket(Every::Week).0
        }
    }

    #[test]
    fn moments_beyond_every_calendar_have_buckets_all_the_same() {
        for zone in
            [Zone::utc(), Zone::new("Asia/Tokyo", crate::lifecycle::zone::Rules::Embedded(chrono_tz::Asia::Tokyo))]
        {
            let mut calendar = Calendar::new(&zone);
            let buckets = [i64::MIN, 0, i64::MAX].map(|millis| {
                calendar.turn_to(Timestamp::from_millis(millis));
                Every::ALL[1..].iter().map(|every| calendar.bucket(*every).0).collect::<Vec<_>>()
            });
            assert!(buckets[0] < buckets[1] && buckets[1] < buckets[2], "{buckets:?}");
        }
    }
}
