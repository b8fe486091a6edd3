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

/// What the rules hold of a listing. Told in marks and not in holds, which are only for showing: there may
/// be a hundred thousand.
pub(super) struct Held<'a> {
    rules: &'a KeepRules,
    rungs: Vec<Rung>,
    marks: Vec<Mark>,
    /// Where the marks of each good one lie.
    pub good: Vec<Marks>,
    /// Where the marks of each other one lie.
    pub others: Vec<Marks>,
}

/// Where the marks of one snapshot lie among all; nowhere when no rule holds it.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    from: u32,
    until: u32,
}

/// That a rule holds a snapshot. A rung is told by its place on the ladder.
#[derive(Clone, Copy)]
enum Mark {
    Place { rung: u8, place: u32 },
    Oldest { rung: u8 },
    Within,
}

impl Marks {
    /// Whether any rule holds it.
    pub fn is_held(self) -> bool {
        self.from < self.until
    }
}

impl Held<'_> {
    /// Returns the holds that are marked, from fine to coarse.
    pub fn holds(&self, marks: Marks) -> Box<[Hold]> {
        let marked = self.marks.get(marks.from as usize..marks.until as usize).unwrap_or_default();
        marked.iter().filter_map(|mark| self.hold(*mark)).collect()
    }

    /// Returns the finest of them.
    pub fn finest(&self, marks: Marks) -> Option<Hold> {
        let marked = self.marks.get(marks.from as usize..marks.until as usize)?;
        self.hold(*marked.first()?)
    }

    fn hold(&self, mark: Mark) -> Option<Hold> {
        Some(match mark {
            Mark::Place { rung, place } => {
                let Rung { every, count, .. } = *self.rungs.get(usize::from(rung))?;
                Hold::Place { every, place, count }
            }
            Mark::Oldest { rung } => {
                let Rung { every, filled, count, .. } = *self.rungs.get(usize::from(rung))?;
                Hold::Oldest { every, filled, count }
            }
            Mark::Within => Hold::Within(self.rules.within()?.clone()),
        })
    }
}

/// Returns what holds each of `good`, and what would hold each of `others` were it good. Both are
/// sorted, newest first. Of a good and another one of the same time the good one counts as older.
pub(super) fn thin<'a>(rules: &'a KeepRules, good: &[Timestamp], others: &[Timestamp]) -> Held<'a> {
    let mut ladder = Ladder::new(rules, good.first().copied());
    let mut others_left = others.iter().copied().peekable();
    let mut good_marks = Vec::with_capacity(good.len());
    let mut others_marks = Vec::with_capacity(others.len());
    for at in good {
        while let Some(other) = others_left.next_if(|other| other >= at) {
            others_marks.push(ladder.mark(other, false));
        }
        good_marks.push(ladder.mark(*at, true));
    }
    others_marks.extend(others_left.map(|other| ladder.mark(other, false)));
    if let Some(oldest) = good_marks.last_mut() {
        *oldest = ladder.mark_oldest(*oldest);
    }
    Held { rules, rungs: ladder.rungs, marks: ladder.marks, good: good_marks, others: others_marks }
}

/// The rules on the way from the newest snapshot to the oldest.
struct Ladder<'a> {
    rungs: Vec<Rung>,
    /// How many rungs have buckets left. Once there are none, dates need not be known.
    open: usize,
    /// After which everything is within the span.
    within_after: Option<Timestamp>,
    calendar: Calendar<'a>,
    marks: Vec<Mark>,
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
        Ladder {
            open: rungs.len(),
            rungs,
            within_after: newest.zip(rules.within()).map(|(newest, within)| newest.plus(-within.millis())),
            calendar: Calendar::new(rules.zone()),
            marks: Vec::new(),
        }
    }

    /// Marks what holds a snapshot taken `at`, no newer than those before it; with `takes` it then
    /// stands for its buckets.
    fn mark(&mut self, at: Timestamp, takes: bool) -> Marks {
        let from = self.end();
        if self.open > 0 {
            self.calendar.turn_to(at);
            for (index, rung) in (0..).zip(&mut self.rungs) {
                if rung.filled == rung.count {
                    continue;
                }
                let bucket = self.calendar.bucket(rung.every);
                if !rung.last.is_none_or(|last| rung.every.begins(bucket, last)) {
                    continue;
                }
                self.marks.push(Mark::Place { rung: index, place: rung.filled + 1 });
                if takes {
                    rung.filled += 1;
                    rung.last = Some(bucket);
                    self.open -= usize::from(rung.filled == rung.count);
                }
            }
        }
        if self.within_after.is_some_and(|after| at > after) {
            self.marks.push(Mark::Within);
        }
        Marks { from, until: self.end() }
    }

    /// Lets every rule that has buckets left hold the oldest too, which has these marks.
    fn mark_oldest(&mut self, marks: Marks) -> Marks {
        let own = self.marks.get(marks.from as usize..marks.until as usize).unwrap_or_default().to_vec();
        let from = self.end();
        for (index, rung) in (0..).zip(&self.rungs) {
            let place = own.iter().find(|mark| matches!(mark, Mark::Place { rung, .. } if *rung == index));
            match place {
                Some(place) => self.marks.push(*place),
                None if rung.filled < rung.count => self.marks.push(Mark::Oldest { rung: index }),
                None => {}
            }
        }
        self.marks.extend(own.iter().filter(|mark| matches!(mark, Mark::Within)));
        Marks { from, until: self.end() }
    }

    /// No listing that fits into memory has marks beyond this range.
    fn end(&self) -> u32 {
        u32::try_from(self.marks.len()).unwrap_or(u32::MAX)
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
