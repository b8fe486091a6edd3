//! Hours in which a channel is not told. What happens in them waits for their end.

use crate::lifecycle::notice::Event;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::zone::Zone;

const DAY_MINUTES: i64 = 24 * 60;
const MINUTE_MS: i64 = 60_000;

/// Hours of every day in which a channel is not told.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietHours {
    /// The first minute of the day that is quiet.
    pub from: u16,
    /// The first one that no longer is; before `from` where the night lies between.
    pub until: u16,
    /// By whose clocks.
    pub zone: Zone,
    /// What is told all the same.
    pub except: Vec<Event>,
}

impl QuietHours {
    /// Returns until when the channel is not told of `event`; `None` where it may be told at once.
    pub fn end(&self, event: Event, now: Timestamp) -> Option<Timestamp> {
        if self.except.contains(&event) || self.from == self.until {
            return None;
        }
        let local_ms = |at: Timestamp| at.millis() + i64::from(self.zone.offset_seconds(at)) * 1_000;
        let minute = local_ms(now).div_euclid(MINUTE_MS).rem_euclid(DAY_MINUTES);
        let (from, until) = (i64::from(self.from), i64::from(self.until));
        let is_quiet = if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until };
        if !is_quiet {
            return None;
        }
        let left_ms = (until - minute).rem_euclid(DAY_MINUTES) * MINUTE_MS;
        let begun_ms = local_ms(now).rem_euclid(MINUTE_MS);
        let end = now.plus(left_ms - begun_ms);
        // Clocks that are changed meanwhile reach the hour sooner or later by as much.
        let moved_ms = (local_ms(end) - end.millis()) - (local_ms(now) - now.millis());
        Some(end.plus(-moved_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_millis((hour * 60 + minute) * MINUTE_MS + 7)
    }

    #[test]
    fn what_happens_in_quiet_hours_waits_for_their_end() {
        let night = QuietHours { from: 22 * 60, until: 7 * 60, zone: Zone::utc(), except: vec![Event::Clock] };
        let end = |hour, minute| night.end(Event::Failure, at(hour, minute)).map(|end| end.millis() / MINUTE_MS);
        assert_eq!(end(21, 59), None);
        assert_eq!(end(22, 0), Some(31 * 60));
        assert_eq!(end(24, 0), Some(31 * 60));
        assert_eq!(end(30, 59), Some(31 * 60));
        assert_eq!(end(31, 0), None);
        assert_eq!(night.end(Event::Clock, at(23, 0)), None);
        let noon = QuietHours { from: 12 * 60, until: 13 * 60, ..night };
        assert_eq!(noon.end(Event::Failure, at(12, 30)).map(Timestamp::millis), Some(13 * 60 * MINUTE_MS));
        assert_eq!(noon.end(Event::Failure, at(13, 0)), None);
    }
}
