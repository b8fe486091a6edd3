//! Points in time, spans and sizes as people read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::lifecycle::time::{Span, Timestamp};

/// How points in time are shown: in one zone, which every page names.
#[derive(Clone, Debug)]
pub struct Times {
    zone: TimeZone,
    name: String,
    now: Timestamp,
}

impl Times {
    /// Returns times in this machine's zone.
    pub fn local(now: Timestamp) -> Times {
        let zone = TimeZone::system();
        let name = match zone.iana_name() {
            None => "local time",
            Some("Etc/UTC" | "UTC") => "UTC",
            Some(name) => name,
        };
        let name = name.to_string();
        Times { zone, name, now }
    }

    /// Returns times in UTC.
    pub fn utc(now: Timestamp) -> Times {
        Times { zone: TimeZone::UTC, name: "UTC".to_string(), now }
    }

    /// Returns the zone's name.
    pub fn zone(&self) -> &str {
        &self.name
    }

    /// Returns the point in time that counts as now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns a point in time to the second: `2026-03-01 08:00:05`.
    pub fn at(&self, millis: i64) -> String {
        self.format(millis, "%Y-%m-%d %H:%M:%S")
    }

    /// Returns a point in time to the minute: `2026-03-01 08:00`.
    pub fn minute(&self, millis: i64) -> String {
        self.format(millis, "%Y-%m-%d %H:%M")
    }

    /// Returns the date and time that the clock shows.
    pub fn civil(&self, millis: i64) -> DateTime {
        let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        at.to_zoned(self.zone.clone()).datetime()
    }

    /// Returns when the clock shows this first; the first instant after it where it is passed over.
    pub fn instant(&self, at: DateTime) -> i64 {
        let zoned = at.to_zoned(self.zone.clone());
        zoned.map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond())
    }

    /// Reads a date, a date and time, or a span ahead.
    pub fn read(&self, text: &str) -> Result<i64, String> {
        let text = text.trim();
        if let Ok(span) = Span::parse(text) {
            return Ok(self.now.plus(span.millis()).millis());
        }
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(at.as_millisecond());
        }
        match text.parse::<DateTime>() {
            Ok(at) if self.instant(at) < i64::MAX => Ok(self.instant(at)),
            _ => Err(format!(
                "`{text}` is no time: write a date (2026-04-01), a date and time (2026-04-01T02:00), or a span ahead (30d)"
            )),
        }
    }

    /// Returns the time of day to the minute: `08:01`.
    pub fn clock(&self, millis: i64) -> String {
        self.format(millis, "%H:%M")
    }

    /// Returns how long ago, or in how long: `3m 20s ago`, `in 4h 5m`, `now`.
    pub fn distance(&self, millis: i64) -> String {
        let ahead = millis.saturating_sub(self.now.millis());
        match ahead {
            1_000.. => format!("in {}", span(ahead)),
            -999..=999 => "now".to_string(),
            _ => format!("{} ago", span(ahead.saturating_neg())),
        }
    }

    fn format(&self, millis: i64, form: &str) -> String {
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime(form).to_string(),
            // Beyond the year 9999, which only a broken clock says.
            Err(_) => format!("@{millis}ms"),
        }
    }
}

/// Returns a span in its two largest units: `4d 2h`, `3h 5m`, `12s`; below a second in milliseconds.
pub fn span(millis: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let millis = millis.max(0);
    let Some(index) = UNITS.iter().position(|(size, _)| millis >= *size) else { return format!("{millis}ms") };
    let (size, name) = UNITS[index];
    let first = format!("{}{name}", millis / size);
    match UNITS.get(index + 1) {
        Some((next, next_name)) if millis % size >= *next => {
            format!("{first} {}{next_name}", millis % size / next)
        }
        _ => first,
    }
}

/// Returns a size in decimal units with two or three digits that count: `3.1 MB`, `512 B`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_000.0;
    let mut unit = 0;
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}
