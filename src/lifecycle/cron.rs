//! Five Unix fields, read as Debian's cron reads them, as a calendar of wall-clock times.
//!
//! A calendar knows no zone: it counts wall time in seconds, as if the local clock were UTC. Where
//! a wall time falls on the time line is decided in [`super::schedule`].
//!
//! ```text
//! minute  hour  day of month  month  day of week
//! 0-59    0-23  1-31          1-12   0-7, Sunday is 0 or 7; jan-dec, sun-sat
//! *       1,2   1-5           */15   1-30/2   5/10 is 5-59/10   @daily
//! ```
//!
//! Two families of cron disagree about a step such as `*/2` in one day field beside a value in the
//! other. That is refused, as are six fields, dates that never come, and `L`, `W`, `#` and `?`.

mod parse;
#[cfg(test)]
mod tests;

use std::ops::Range;

use chrono::{DateTime, Utc};

/// A cron expression as a calendar of wall-clock times. Valid by construction: it comes at least once.
#[derive(Clone, Debug)]
pub struct Cron {
    expression: Box<str>,
    fields: Fields,
    calendar: ::cron::Schedule,
    /// Days of month and days of week are a union when both are restricted; one schedule of the
    /// library joins them, so the second half has its own.
    other_days: Option<Box<::cron::Schedule>>,
}

/// The fields as bits: bit n of `hours` is hour n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Bit 0 is Sunday; Sunday as 7 has been folded into it.
    weekdays: u64,
    /// Whether a day matches by either day field. Otherwise one of them is `*`.
    either_day: bool,
    /// Whether the minute or the hour field begins with a star.
    running: bool,
}

/// What is wrong with a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// The bytes of the expression at fault.
    pub span: Range<usize>,
    /// What to write instead, when we know.
    pub hint: Option<String>,
}

const MINUTE: i64 = 60;

/// The calendar library knows the years 1970 to 2100.
const WALL_MAX: i64 = 4_133_980_799;

impl Cron {
    /// Reads five fields or an @-word.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the bytes at fault and, where known, what to write instead.
    pub fn parse(expression: &str) -> Result<Cron, CronError> {
        let fields = parse::fields(expression)?;
        let build = |days: u64, weekdays: u64| {
            let text = format!(
                "0 {} {} {} {} {}",
                library_list(fields.minutes, 0..60, 0),
                library_list(fields.hours, 0..24, 0),
                library_list(days, 1..32, 0),
                library_list(fields.months, 1..13, 0),
                // The library counts from Sunday = 1.
                library_list(weekdays, 0..7, 1),
            );
            text.parse::<::cron::Schedule>().map_err(|error| CronError {
                message: format!("expression does not fit the calendar: {error}"),
                span: 0..expression.len(),
                hint: None,
            })
        };
        let (calendar, other_days) = match fields.either_day {
            false => (build(fields.days, fields.weekdays)?, None),
            true => (build(fields.days, parse::WEEKDAYS_ALL)?, Some(build(parse::DAYS_ALL, fields.weekdays)?)),
        };
        Ok(Cron { expression: expression.trim().into(), fields, calendar, other_days: other_days.map(Box::new) })
    }

    /// Returns the expression as it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether the schedule follows the clock (`*` or `*/n` in the minute or the hour field). It then
    /// has no hole when the clock changes; the others keep to fixed local times, once a day each.
    pub fn is_running(&self) -> bool {
        self.fields.running
    }

    /// Returns the first wall time strictly after `wall`, `None` after the year 2100.
    pub fn next_wall(&self, wall: i64) -> Option<i64> {
        // Most times are followed by one of the same day, for which the bits are enough.
        let minute = wall.div_euclid(MINUTE) + 1;
        let day = minute.div_euclid(1440);
        if (0..WALL_MAX - 1440 * MINUTE).contains(&wall)
            && self.comes_on(day)
            && let Some(minute) = self.minutes_of_day(minute - day * 1440..1440).next()
        {
            return Some((day * 1440 + minute) * MINUTE);
        }
        let wall = utc(wall);
        let next = |calendar: &::cron::Schedule| calendar.after(&wall).next().map(|next| next.timestamp());
        match (next(&self.calendar), self.other_days.as_deref().and_then(next)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Returns the last wall time at or before `wall`, `None` before 1970.
    pub fn last_wall(&self, wall: i64) -> Option<i64> {
        let wall = utc(wall.saturating_add(1));
        let last = |calendar: &::cron::Schedule| calendar.after(&wall).next_back().map(|last| last.timestamp());
        last(&self.calendar).max(self.other_days.as_deref().and_then(last))
    }

    /// Returns how many wall times lie in `(after, until]`. Its cost depends on the number of days.
    pub fn count(&self, after: i64, until: i64) -> u64 {
        self.days(after, until)
            .filter(|(day, _)| self.comes_on(*day))
            .map(|(_, minutes)| match minutes {
                Minutes::All => self.count_of_day(),
                Minutes::Some(minutes) => self.minutes_of_day(minutes).count() as u64,
            })
            .sum()
    }

    /// Returns the days touched by `(after, until]`, each with the minutes of it that lie inside.
    pub(super) fn days(&self, after: i64, until: i64) -> impl Iterator<Item = (i64, Minutes)> + use<> {
        let first = after.max(-1).div_euclid(MINUTE) + 1;
        let end = until.min(WALL_MAX).div_euclid(MINUTE) + 1;
        let days = if first < end { first.div_euclid(1440)..(end - 1).div_euclid(1440) + 1 } else { 0..0 };
        days.map(move |day| {
            let from = (first - day * 1440).max(0);
            let to = (end - day * 1440).min(1440);
            (day, if to - from == 1440 { Minutes::All } else { Minutes::Some(from..to) })
        })
    }

    /// Whether the calendar has times on a day, counted from 1970-01-01.
    pub(super) fn comes_on(&self, day: i64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let by_date = self.fields.days >> day_of_month & 1 == 1;
        let by_weekday = self.fields.weekdays >> weekday & 1 == 1;
        let comes = if self.fields.either_day { by_date || by_weekday } else { by_date && by_weekday };
        comes && self.fields.months >> month & 1 == 1
    }

    fn count_of_day(&self) -> u64 {
        u64::from(self.fields.minutes.count_ones() * self.fields.hours.count_ones())
    }

    /// Returns the calendar's minutes of a day that lie in `range`, in order.
    pub(super) fn minutes_of_day(&self, range: Range<i64>) -> impl Iterator<Item = i64> + '_ {
        let Fields { minutes, hours, .. } = self.fields;
        (range.start / 60..24)
            .filter(move |hour| hours >> hour & 1 == 1)
            .flat_map(move |hour| {
                (0..60).filter(move |minute| minutes >> minute & 1 == 1).map(move |minute| hour * 60 + minute)
            })
            .skip_while(move |minute| *minute < range.start)
            .take_while(move |minute| *minute < range.end)
    }

    /// Returns seconds that no two wall times can be closer than, whatever the dates. It depends on the
    /// expression alone, so what is derived from it stays the same.
    pub fn gap_floor(&self) -> i64 {
        let of_day: Vec<i64> = self.minutes_of_day(0..1440).collect();
        let within = of_day.windows(2).map(|pair| pair[1] - pair[0]).min();
        let over_midnight = match (of_day.first(), of_day.last()) {
            (Some(first), Some(last)) => 1440 - last + first,
            _ => 1440,
        };
        within.unwrap_or(over_midnight).min(over_midnight) * MINUTE
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Cron) -> bool {
        self.expression == other.expression
    }
}

/// Which minutes of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Minutes {
    All,
    Some(Range<i64>),
}

/// Returns the wall time as the calendar library wants it, held inside the years it knows.
fn utc(wall: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(wall.clamp(-1, WALL_MAX + 1), 0).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Writes bits as the calendar library reads them: `*`, or values and ranges, each `shift` higher.
fn library_list(bits: u64, range: Range<u32>, shift: u32) -> String {
    let mut parts = Vec::new();
    let mut values = range.clone().filter(|value| bits >> value & 1 == 1).peekable();
    while let Some(first) = values.next() {
        let mut last = first;
        while let Some(value) = values.next_if(|value| *value == last + 1) {
            last = value;
        }
        if first == range.start && last == range.end - 1 {
            return "*".to_string();
        }
        parts.push(match last - first {
            0 => format!("{}", first + shift),
            _ => format!("{}-{}", first + shift, last + shift),
        });
    }
    parts.join(",")
}

/// Returns month and day of month of a day counted from 1970-01-01: the usual arithmetic on eras of
/// 400 years that begin in March.
fn month_and_day(day: i64) -> (u32, u32) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    ((if month < 10 { month + 3 } else { month - 9 }) as u32, day_of_month as u32)
}
