//! When a workflow is due: cron expressions in a time zone, or plain intervals, each with a stable
//! spread.
//!
//! A schedule is *fixed* when it names minutes and hours of the day: each such time runs exactly once
//! a day, also when the clock changes (S9, S10). It is *running* when it follows the clock (`*`, `*/n`,
//! intervals): it then has no hole. Nothing is remembered between two questions, so a trigger is never
//! taken from anywhere but the rule and the zone's rules of the day.

mod placement;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use sha2::{Digest, Sha256};

use super::cron::{Cron, CronError};
use super::time::{Span, Timestamp, format_millis};
use super::zone::Zone;

/// When a workflow is due. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    calendar: Calendar,
    spread_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
enum Calendar {
    Interval { every: Span },
    Cron { cron: Arc<Cron>, zone: Zone },
}

/// Parsed expressions, each kept once: thousands of policies write the same few.
#[derive(Clone, Debug, Default)]
pub struct Calendars {
    known: BTreeMap<Box<str>, Weak<Cron>>,
}

/// All triggers of a stretch of time, counted and not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
}

impl Schedule {
    /// No trigger is placed at or after the first instant of 2100: every search ends there.
    pub const END: Timestamp = Timestamp::from_seconds(4_102_444_800);

    /// Local times of 1970 are the first to come, in whatever zone.
    const START: Timestamp = Timestamp::from_seconds(-2 * 86_400);

    /// How far ahead gaps are looked for: a year and some, so that it holds both clock changes and the
    /// end of every month.
    const GAP_WINDOW_MS: i64 = 400 * 86_400_000;

    /// Returns a schedule of equal steps counted from 1970, so that a restart or an edit never moves it.
    pub fn interval(every: Span) -> Schedule {
        Schedule { calendar: Calendar::Interval { every }, spread_ms: 0 }
    }

    /// Returns a schedule of a cron expression in a zone.
    ///
    /// # Errors
    ///
    /// What is wrong with the expression, and where in it. An expression that never comes is an error.
    pub fn cron(expression: &str, zone: Zone) -> Result<Schedule, CronError> {
        Ok(Schedule { calendar: Calendar::Cron { cron: Arc::new(Cron::parse(expression)?), zone }, spread_ms: 0 })
    }

    /// Returns the same as [`Schedule::cron`], sharing what was parsed before with the same text.
    pub fn cron_shared(expression: &str, zone: Zone, calendars: &mut Calendars) -> Result<Schedule, CronError> {
        Ok(Schedule { calendar: Calendar::Cron { cron: calendars.parse(expression)?, zone }, spread_ms: 0 })
    }

    /// Returns the schedule with every trigger `spread_ms` later (S30), held below half of the shortest
    /// gap, so that a trigger stays nearer to its own time than to the next.
    pub fn with_spread(mut self, spread_ms: i64) -> Schedule {
        self.spread_ms = spread_ms.clamp(0, self.spread_end() - 1);
        self
    }

    /// Returns this policy's offset in milliseconds, from 0 to below `spread`: a hash of the uid, so that
    /// it is the same after every restart and edit, and policies with the same expression fall apart.
    pub fn spread_for(&self, policy_uid: &str, spread: &Span) -> i64 {
        let end = spread.millis().min(self.spread_end());
        let digest = Sha256::new().chain_update("spread\n").chain_update(policy_uid).finalize();
        let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        // Whole seconds read better in explain, where the spread leaves room for them.
        let unit = if end >= 60_000 { 1000 } else { 1 };
        (number % (end / unit) as u64) as i64 * unit
    }

    /// Returns the end of the offsets allowed, itself not among them: at least 1.
    fn spread_end(&self) -> i64 {
        let gap = match &self.calendar {
            Calendar::Interval { every } => every.millis(),
            Calendar::Cron { cron, .. } => cron.gap_floor() * 1000,
        };
        // 2 * (end - 1) < gap, for an odd gap as well.
        (gap + 1) / 2
    }

    /// Returns by how much every trigger is late on purpose, in milliseconds.
    pub fn spread_ms(&self) -> i64 {
        self.spread_ms
    }

    /// Whether the schedule follows the clock. Otherwise it keeps to fixed local times.
    pub fn is_running(&self) -> bool {
        match &self.calendar {
            Calendar::Interval { .. } => true,
            Calendar::Cron { cron, .. } => cron.is_running(),
        }
    }

    /// Returns the zone of a cron schedule. Intervals have none.
    pub fn zone(&self) -> Option<&Zone> {
        match &self.calendar {
            Calendar::Interval { .. } => None,
            Calendar::Cron { zone, .. } => Some(zone),
        }
    }

    /// Returns the cron expression as it was written.
    pub fn expression(&self) -> Option<&str> {
        match &self.calendar {
            Calendar::Interval { .. } => None,
            Calendar::Cron { cron, .. } => Some(cron.expression()),
        }
    }

    /// Returns the step of an interval.
    pub fn every(&self) -> Option<&Span> {
        match &self.calendar {
            Calendar::Interval { every } => Some(every),
            Calendar::Cron { .. } => None,
        }
    }

    /// Returns the first trigger strictly after `after`, `None` when there is none before the year 2100.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let inner = after.plus(-self.spread_ms);
        let next = match &self.calendar {
            Calendar::Interval { every } => {
                let every = i128::from(every.millis());
                i64::try_from((i128::from(inner.millis()).div_euclid(every) + 1) * every).ok()?
            }
            Calendar::Cron { cron, zone } => {
                placement::next_after(cron, zone, inner.max(Schedule::START).min(Schedule::END))?.millis()
            }
        };
        Some(Timestamp::from_millis(next).plus(self.spread_ms)).filter(|next| *next < Schedule::END)
    }

    /// Returns all triggers in `(after, until]`, `None` when there is none. Its cost depends on the
    /// number of days, not of triggers.
    pub fn elapsed(&self, after: Timestamp, until: Timestamp) -> Option<Elapsed> {
        let until = until.min(Schedule::END.plus(-1));
        let first = self.next_after(after).filter(|first| *first <= until)?;
        let inner_until = until.plus(-self.spread_ms);
        let (count, last) = match &self.calendar {
            Calendar::Interval { every } => {
                let every = i128::from(every.millis());
                let steps = i128::from(inner_until.millis()).div_euclid(every);
                let first_step = i128::from(first.millis() - self.spread_ms).div_euclid(every);
                (u64::try_from(steps - first_step + 1).ok()?, i64::try_from(steps * every).ok()?)
            }
            Calendar::Cron { cron, zone } => {
                let inner = after.plus(-self.spread_ms).max(Schedule::START);
                let (count, last) = placement::count(cron, zone, inner, inner_until)?;
                (count, last.millis())
            }
        };
        Some(Elapsed { count, first, last: Timestamp::from_millis(last).plus(self.spread_ms) })
    }

    /// Returns the shortest gap between triggers that the coming days hold, for warnings.
    pub fn shortest_gap(&self, from: Timestamp) -> Span {
        self.gaps(from).0
    }

    /// Returns the longest gap between triggers that the coming days hold: how long nothing happens
    /// while all is well.
    pub fn longest_gap(&self, from: Timestamp) -> Span {
        self.gaps(from).1
    }

    /// Returns both.
    pub fn gaps(&self, from: Timestamp) -> (Span, Span) {
        let (shortest, longest) = self.gaps_ms(from);
        (Span::from_millis(shortest), Span::from_millis(longest))
    }

    /// Returns the shortest and the longest gap, in milliseconds, among the triggers of the coming days,
    /// or between the next two where those are further apart.
    fn gaps_ms(&self, from: Timestamp) -> (i64, i64) {
        let (cron, zone) = match &self.calendar {
            Calendar::Interval { every } => return (every.millis(), every.millis()),
            Calendar::Cron { cron, zone } => (cron, zone),
        };
        let inner = from.plus(-self.spread_ms).max(Schedule::START).min(Schedule::END);
        let until = inner.plus(Schedule::GAP_WINDOW_MS).min(Schedule::END);
        if let Some(gaps) = placement::gaps(cron, zone, inner, until) {
            return gaps;
        }
        let next = self.next_after(from);
        let gap = match (next, next.and_then(|next| self.next_after(next))) {
            (Some(one), Some(other)) => other.since(one),
            // At most one trigger is left before the end of all calendars.
            _ => Schedule::GAP_WINDOW_MS,
        };
        (gap, gap)
    }
}

/// `cron "0 8 * * *" in Europe/Berlin`, `every 15m`; with a spread, ` + 3m12s` after it.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.calendar {
            Calendar::Interval { every } => write!(f, "every {every}")?,
            Calendar::Cron { cron, zone } => write!(f, "cron \"{}\" in {}", cron.expression(), zone.name())?,
        }
        match self.spread_ms {
            0 => Ok(()),
            spread_ms => write!(f, " + {}", format_millis(spread_ms)),
        }
    }
}

impl Calendars {
    /// Returns the expression's calendar, parsed at its first use and dropped after its last.
    fn parse(&mut self, expression: &str) -> Result<Arc<Cron>, CronError> {
        if let Some(cron) = self.known.get(expression.trim()).and_then(Weak::upgrade) {
            return Ok(cron);
        }
        let cron = Arc::new(Cron::parse(expression)?);
        // Entries nobody uses go when the map would grow: it is never larger than what is in use, plus one.
        self.known.retain(|_, cron| cron.strong_count() > 0);
        self.known.insert(cron.expression().into(), Arc::downgrade(&cron));
        Ok(cron)
    }
}
