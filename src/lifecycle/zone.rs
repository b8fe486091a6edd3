//! What a schedule asks of a time zone: the offset at an instant, and when it changes next.
//!
//! The rules were loaded before and come in as a value. Nothing here reads a file or knows which
//! zones exist.

use std::sync::Arc;

use chrono::{Offset, TimeZone};

use super::time::Timestamp;

/// A time zone by name, with its rules already loaded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Arc<str>,
    rules: Rules,
}

/// Where the rules come from.
#[derive(Clone, Debug)]
pub enum Rules {
    /// The system's zone files.
    System(jiff::tz::TimeZone),
    /// The data embedded at build time, where a system has no zone files.
    Embedded(chrono_tz::Tz),
}

/// A change of a zone's offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The first instant with the new offset.
    pub at: Timestamp,
    /// Seconds from UTC until then.
    pub before: i32,
    /// Seconds from UTC from then on.
    pub after: i32,
}

impl Zone {
    /// Embedded rules do not tell when they change, so they are probed at this distance. Every offset
    /// since 1970 was in force for more than a day.
    const PROBE_SECONDS: i64 = 12 * 3600;

    /// Returns UTC, which needs no data.
    pub fn utc() -> Zone {
        Zone { name: "UTC".into(), rules: Rules::Embedded(chrono_tz::Tz::UTC) }
    }

    /// Returns the zone `name` with the rules given.
    pub fn new(name: &str, rules: Rules) -> Zone {
        Zone { name: name.into(), rules }
    }

    /// Returns the IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the rules come from.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether both have the same rules. Equality goes by name alone; this tells an update of the
    /// zone data apart.
    pub fn has_rules_of(&self, other: &Zone) -> bool {
        match (&self.rules, &other.rules) {
            (Rules::System(ours), Rules::System(theirs)) => ours == theirs,
            (Rules::Embedded(ours), Rules::Embedded(theirs)) => ours == theirs,
            (Rules::System(_), Rules::Embedded(_)) | (Rules::Embedded(_), Rules::System(_)) => false,
        }
    }

    /// Returns the offset from UTC in seconds at an instant.
    pub fn offset_seconds(&self, at: Timestamp) -> i32 {
        self.offset(at.seconds())
    }

    /// Returns the first change of offset in `(after, until]`.
    pub fn first_change(&self, after: Timestamp, until: Timestamp) -> Option<Change> {
        let after = after.seconds();
        let until = until.seconds();
        match &self.rules {
            Rules::Embedded(chrono_tz::Tz::UTC) => None,
            Rules::System(zone) => {
                let before = self.offset(after);
                // A zone file also lists changes of name and of season that leave the offset alone.
                zone.following(jiff_timestamp(after))
                    .take_while(|next| next.timestamp().as_second() <= until)
                    .find(|next| next.offset().seconds() != before)
                    .map(|next| Change {
                        at: Timestamp::from_seconds(next.timestamp().as_second()),
                        before,
                        after: next.offset().seconds(),
                    })
            }
            Rules::Embedded(_) => self.probe_change(after, until),
        }
    }

    fn probe_change(&self, after: i64, until: i64) -> Option<Change> {
        let before = self.offset(after);
        let mut low = after;
        while low < until {
            let mut high = low.saturating_add(Zone::PROBE_SECONDS).min(until);
            if self.offset(high) == before {
                low = high;
                continue;
            }
            // The change lies in (low, high]; each step halves it, 16 in all.
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if self.offset(middle) == before { low = middle } else { high = middle }
            }
            return Some(Change { at: Timestamp::from_seconds(high), before, after: self.offset(high) });
        }
        None
    }

    fn offset(&self, at: i64) -> i32 {
        match &self.rules {
            Rules::Embedded(chrono_tz::Tz::UTC) => 0,
            Rules::System(zone) => zone.to_offset(jiff_timestamp(at)).seconds(),
            Rules::Embedded(zone) => chrono::DateTime::from_timestamp(at, 0)
                .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()),
        }
    }
}

/// Returns the instant, held at the ends of what the library can say: the years -9999 to 9999.
fn jiff_timestamp(at: i64) -> jiff::Timestamp {
    let limit = if at < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_second(at).unwrap_or(limit)
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_never_changes() {
        let zone = Zone::utc();
        assert_eq!(zone.offset_seconds(Timestamp::from_millis(i64::MAX)), 0);
        assert_eq!(zone.first_change(Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX)), None);
    }

    #[test]
    fn embedded_rules_tell_the_change_to_the_second() {
        let zone = Zone::new("Europe/Berlin", Rules::Embedded(chrono_tz::Europe::Berlin));
        // 2026-03-29T01:00:00Z.
        let at = Timestamp::from_seconds(1_774_746_000);
        let change = Change { at, before: 3600, after: 7200 };
        assert_eq!(zone.first_change(at.plus(-90 * 86_400_000), at), Some(change));
        assert_eq!(zone.first_change(at.plus(-1000), at.plus(5)), Some(change));
        assert_eq!(zone.first_change(at.plus(-90 * 86_400_000), at.plus(-1000)), None);
        assert_eq!(zone.first_change(at, at.plus(100 * 86_400_000)), None);
    }

    #[test]
    fn instants_beyond_every_calendar_have_an_offset_all_the_same() {
        let embedded = Zone::new("Asia/Tokyo", Rules::Embedded(chrono_tz::Asia::Tokyo));
        for millis in [i64::MIN, i64::MAX] {
            embedded.offset_seconds(Timestamp::from_millis(millis));
        }
    }
}
