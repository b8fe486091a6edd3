//! Written schedules and zones, made once: ten thousand policies with one schedule share it.

use std::collections::BTreeMap;
use std::fmt;

use super::policy_document::SchedulePart;
use super::reader::{Findings, Located};
use super::zone::ZoneError;
use crate::lifecycle::schedule::{Calendars, Schedule};
use crate::lifecycle::time::{Span, Timestamp};
use crate::lifecycle::zone::Zone;

/// Shorter steps would keep the journal busier than the repository.
const EVERY_MS_MIN: i64 = 1_000;

/// From where gaps between triggers are measured: fixed, so that one text is accepted or refused
/// on every day alike. A leap year follows it.
pub const GAPS_FROM: Timestamp = Timestamp::from_seconds(1_704_067_200);

/// Zones and schedules made before, so that ten thousand policies with one schedule share it.
pub struct Schedules {
    load_zone: fn(&str) -> Result<Zone, ZoneError>,
    zones: BTreeMap<Box<str>, Result<Zone, ZoneError>>,
    /// Expressions parsed before, also in earlier loads.
    pub calendars: Calendars,
    crons: BTreeMap<(Box<str>, Box<str>), Schedule>,
    /// The shortest and the longest: looking through a year for them is dear enough to do it once.
    gaps: BTreeMap<(Box<str>, Box<str>), (Span, Span)>,
}

impl Schedules {
    /// Returns an empty collection that loads zones by `load_zone`.
    pub fn new(load_zone: fn(&str) -> Result<Zone, ZoneError>, calendars: Calendars) -> Schedules {
        Schedules { load_zone, zones: BTreeMap::new(), calendars, crons: BTreeMap::new(), gaps: BTreeMap::new() }
    }

    /// Returns the zone of a name, UTC where there is none; `None` when it is unknown, which is then noted.
    pub fn zone(&mut self, findings: &mut Findings<'_>, name: Option<&Located<String>>) -> Option<Zone> {
        let Some(name) = name else { return Some(Zone::utc()) };
        let load = self.load_zone;
        let known = self.zones.entry(name.value.as_str().into()).or_insert_with(|| load(&name.value));
        match known {
            Ok(zone) => Some(zone.clone()),
            Err(error) => {
                findings.error(name.at.clone(), error.message.as_str()).hint_if(error.hint.as_deref());
                None
            }
        }
    }

    /// Returns the shortest time between two triggers of a schedule that was made of `part`.
    pub fn gap(&mut self, part: Option<&SchedulePart>, schedule: &Schedule) -> Span {
        self.gaps(part, schedule).0
    }

    /// Returns the longest time between two triggers of a schedule that was made of `part`.
    pub fn longest_gap(&mut self, part: Option<&SchedulePart>, schedule: &Schedule) -> Span {
        self.gaps(part, schedule).1
    }

    fn gaps(&mut self, part: Option<&SchedulePart>, schedule: &Schedule) -> (Span, Span) {
        let both = || schedule.gaps(GAPS_FROM);
        let Some(SchedulePart::Cron { expression, timezone }) = part else { return both() };
        let zone = timezone.as_ref().map_or("UTC", |zone| &zone.value);
        let key = (expression.value.as_str().into(), zone.into());
        self.gaps.entry(key).or_insert_with(both).clone()
    }

    /// Returns the schedule that was written; `None` when it means nothing, which is then noted.
    pub fn schedule(&mut self, findings: &mut Findings<'_>, part: &SchedulePart) -> Option<Schedule> {
        match part {
            SchedulePart::Unreadable => None,
            SchedulePart::Interval { every } if every.value.millis() < EVERY_MS_MIN => {
                findings
                    .error(every.at.clone(), "every is shorter than a second")
                    .hint("write every = \"1m\" or longer");
                None
            }
            SchedulePart::Interval { every } => Some(Schedule::interval(every.value.clone())),
            SchedulePart::Cron { expression, timezone } => {
                let zone = self.zone(findings, timezone.as_ref());
                // Without its zone the expression is checked all the same: all problems at once.
                let zone_name = zone.as_ref().map_or("UTC", Zone::name);
                let key = (expression.value.as_str().into(), zone_name.into());
                if let Some(made) = self.crons.get(&key) {
                    return zone.and(Some(made.clone()));
                }
                let wanted = zone.clone().unwrap_or_else(Zone::utc);
                match Schedule::cron_shared(&expression.value, wanted, &mut self.calendars) {
                    Ok(made) => {
                        self.crons.insert(key, made.clone());
                        zone.and(Some(made))
                    }
                    Err(error) => {
                        let at = findings.inside(expression, error.span);
                        findings.error(at, error.message).hint_if(error.hint);
                        None
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedules({} zones, {} expressions)", self.zones.len(), self.crons.len())
    }
}
