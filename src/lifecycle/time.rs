//! Points in time and spans as the decisions see them: plain numbers, handed in by whoever read
//! the clock.
//!
//! Two clocks meet in a [`Moment`]: wall time answers "when is it due", time since boot answers
//! "how long has it been", because it also counts what the machine slept and never steps (S17).

use std::fmt;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant of 1970.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// Returns the point `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Returns the point `seconds` seconds after the epoch.
    pub const fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    /// Returns milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the point `span_ms` milliseconds later, held at the ends of the range.
    pub const fn plus(self, span_ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(span_ms))
    }

    /// Returns the milliseconds from `earlier` to here; negative when `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn utc(self) -> Option<chrono::DateTime<chrono::Utc>> {
        chrono::DateTime::from_timestamp_millis(self.0)
    }

    /// Returns the compact UTC form used in names: `20260301t020000z`.
    pub fn compact(self) -> String {
        self.utc().map_or_else(|| self.0.to_string(), |utc| utc.format("%Y%m%dt%H%M%Sz").to_string())
    }
}

/// ISO 8601 in UTC, to the second: `2026-03-01T02:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.utc() {
            Some(utc) => write!(f, "{}", utc.format("%Y-%m-%dT%H:%M:%SZ")),
            None => write!(f, "@{}ms", self.0),
        }
    }
}

/// One reading of both clocks: wall time, and time since this boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What the wall clock said.
    pub wall: Timestamp,
    /// Which boot of the machine this is; readings of one boot can be subtracted.
    pub boot: u64,
    /// Milliseconds since that boot, suspended time included.
    pub uptime: i64,
}

impl Moment {
    /// Returns the milliseconds from `earlier` to here, never negative: exact within one boot,
    /// by wall time across boots.
    pub fn since(&self, earlier: &Moment) -> i64 {
        let span = if self.boot == earlier.boot {
            self.uptime.saturating_sub(earlier.uptime)
        } else {
            self.wall.since(earlier.wall)
        };
        span.max(0)
    }

    /// Returns the moment `span_ms` later, by both clocks.
    pub fn plus(&self, span_ms: i64) -> Moment {
        Moment { wall: self.wall.plus(span_ms), boot: self.boot, uptime: self.uptime.saturating_add(span_ms) }
    }
}

/// A wait: over once `span_ms` have passed since `from`, however the wall clock moved meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When the wait began.
    pub from: Moment,
    /// How long it lasts, in milliseconds.
    pub span_ms: i64,
}

impl Wait {
    /// Returns a wait that is over at once.
    pub fn none(now: Moment) -> Wait {
        Wait { from: now, span_ms: 0 }
    }

    /// Returns the milliseconds left at `now`; 0 when it is over.
    pub fn left(&self, now: &Moment) -> i64 {
        self.span_ms.saturating_sub(now.since(&self.from)).max(0)
    }

    /// Whether the wait is over at `now`.
    pub fn is_over(&self, now: &Moment) -> bool {
        self.left(now) == 0
    }

    /// Returns the wall time at which it is expected to end, for showing.
    pub fn ends_at(&self) -> Timestamp {
        self.from.wall.plus(self.span_ms)
    }
}

/// A span of time, exact to the millisecond, that is shown as it was written: `90m`, `1h30m`, `7d`.
#[derive(Clone, Debug)]
pub struct Span {
    written: Box<str>,
    millis: i64,
}

/// What is wrong with a written span. Completes "failed to read the span …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Nothing there.
    #[error("span is empty")]
    Empty,
    /// A number without a unit, or a unit without a number.
    #[error("span needs a number and a unit, as in 90m, 36h or 1h30m")]
    Shape,
    /// A unit that does not exist.
    #[error("unknown unit `{0}`")]
    Unit(String),
    /// Units must go from large to small, each once.
    #[error("units must go from the largest to the smallest, each once")]
    Order,
    /// Longer than [`Span::MILLIS_MAX`].
    #[error("span is longer than 10000 years")]
    TooLong,
    /// Zero: blank is not zero, and nothing here means anything when it is zero (G10).
    #[error("span must be longer than zero")]
    Zero,
}

impl Span {
    /// Ten thousand years of 365 days: longer than any policy lives, far below overflow.
    pub const MILLIS_MAX: i64 = 10_000 * 365 * 86_400_000;

    /// Units as written, largest first. No months or years: their length depends on the date.
    const UNITS: [(&'static str, i64); 6] =
        [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

    /// Reads a span such as `90m`, `36h`, `1h30m`, `7d`, `2w`. Blanks around it are ignored;
    /// signs, fractions, zero and repeated units are errors.
    pub fn parse(written: &str) -> Result<Span, SpanError> {
        let text = written.trim();
        if text.is_empty() {
            return Err(SpanError::Empty);
        }
        let mut rest = text;
        let mut millis: i64 = 0;
        let mut last_unit = None;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 {
                return Err(SpanError::Shape);
            }
            let (number, after) = rest.split_at(digits);
            let letters = after.len() - after.trim_start_matches(|c: char| c.is_alphabetic()).len();
            if letters == 0 {
                return Err(SpanError::Shape);
            }
            let (unit, after) = after.split_at(letters);
            let index = Span::UNITS
                .iter()
                .position(|(name, _)| *name == unit)
                .ok_or_else(|| SpanError::Unit(unit.to_string()))?;
            if last_unit.is_some_and(|last| last >= index) {
                return Err(SpanError::Order);
            }
            last_unit = Some(index);
            let part = number.parse::<i64>().ok().and_then(|n| n.checked_mul(Span::UNITS[index].1));
            millis = part.and_then(|part| millis.checked_add(part)).ok_or(SpanError::TooLong)?;
            rest = after;
        }
        if millis == 0 {
            return Err(SpanError::Zero);
        }
        if millis > Span::MILLIS_MAX {
            return Err(SpanError::TooLong);
        }
        Ok(Span { written: text.into(), millis })
    }

    /// Returns a span written in the largest units that say it exactly. `millis` is taken as at least 1.
    pub fn from_millis(millis: i64) -> Span {
        let millis = millis.clamp(1, Span::MILLIS_MAX);
        Span { written: format_millis(millis).into(), millis }
    }

    /// Returns the exact length in milliseconds; always above zero.
    pub fn millis(&self) -> i64 {
        self.millis
    }

    /// Returns the span as it was written.
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// Writes milliseconds as a span: `90061000` is `1d1h1m1s`; zero is `0s`.
pub fn format_millis(millis: i64) -> String {
    let mut rest = millis.max(0);
    let mut text = String::new();
    // Days are the largest unit here: `14d` reads better than `2w`.
    for (name, size) in &Span::UNITS[1..] {
        if rest >= *size {
            text.push_str(&format!("{}{name}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_string() } else { text }
}

impl PartialEq for Span {
    fn eq(&self, other: &Span) -> bool {
        self.millis == other.millis
    }
}

impl Eq for Span {}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exact_and_returned_as_written() {
        for (written, millis) in [
            ("90m", 5_400_000),
            ("36h", 129_600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("61m", 3_660_000),
            ("170h", 612_000_000),
            ("999ms", 999),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            let span = Span::parse(written).expect(written);
            assert_eq!((span.millis(), span.written()), (millis, written));
        }
    }

    #[test]
    fn spans_that_mean_nothing_are_refused() {
        for (written, error) in [
            ("", SpanError::Empty),
            (" ", SpanError::Empty),
            ("0", SpanError::Shape),
            ("0s", SpanError::Zero),
            ("-1d", SpanError::Shape),
            ("1.5h", SpanError::Shape),
            ("90", SpanError::Shape),
            ("h", SpanError::Shape),
            ("1M", SpanError::Unit("M".into())),
            ("1y", SpanError::Unit("y".into())),
            ("30m1h", SpanError::Order),
            ("1h1h", SpanError::Order),
            ("1h 30m", SpanError::Shape),
            ("99999999999999999999d", SpanError::TooLong),
            ("3650001d", SpanError::TooLong),
        ] {
            assert_eq!(Span::parse(written), Err(error), "{written:?}");
        }
    }

    #[test]
    fn a_wait_counts_by_boot_time_within_a_boot_and_by_wall_time_across_boots() {
        let start = Moment { wall: Timestamp::from_seconds(1000), boot: 1, uptime: 50_000 };
        let wait = Wait { from: start, span_ms: 30_000 };
        let clock_set_back = Moment { wall: Timestamp::from_seconds(10), boot: 1, uptime: 81_000 };
        assert!(wait.is_over(&clock_set_back));
        let rebooted = Moment { wall: Timestamp::from_seconds(1010), boot: 2, uptime: 0 };
        assert_eq!(wait.left(&rebooted), 20_000);
    }
}
