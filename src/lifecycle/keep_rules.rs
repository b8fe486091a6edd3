//! What people write to thin old snapshots: so many hours, days, weeks …, and everything of the
//! last while. What the rules keep is decided in `retention/keep.rs`.

use std::fmt;
use std::num::NonZeroU32;

use super::time::Span;
use super::zone::Zone;

/// What a rule counts: buckets of time, or plain snapshots. From fine to coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Every {
    /// `last`: each snapshot is a bucket of its own.
    Snapshot,
    /// `hourly`.
    Hour,
    /// `daily`.
    Day,
    /// `weekly`: ISO weeks, which begin on Monday and know no new year.
    Week,
    /// `monthly`.
    Month,
    /// `quarterly`: from January, April, July and October.
    Quarter,
    /// `yearly`.
    Year,
}

/// Which snapshots stay beside what is protected: those that any of the rules keeps. At least one
/// rule, none of them zero (G10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepRules {
    counts: [Option<NonZeroU32>; Every::ALL.len()],
    within: Option<Span>,
    zone: Zone,
}

/// Why keep rules mean nothing. Completes "failed to accept the keep rules".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeepRules {
    /// No rule: everything would be thinned, or nothing.
    #[error("keep has no rule")]
    Nothing,
    /// Zero kept is no rule (G10).
    #[error("{} is zero", .0.word())]
    Zero(Every),
}

impl Every {
    /// All of them, from fine to coarse.
    pub const ALL: [Every; 7] =
        [Every::Snapshot, Every::Hour, Every::Day, Every::Week, Every::Month, Every::Quarter, Every::Year];

    /// Returns the word that people write.
    pub const fn word(self) -> &'static str {
        match self {
            Every::Snapshot => "last",
            Every::Hour => "hourly",
            Every::Day => "daily",
            Every::Week => "weekly",
            Every::Month => "monthly",
            Every::Quarter => "quarterly",
            Every::Year => "yearly",
        }
    }

    /// Returns the shortest that one bucket lasts, in milliseconds, while the clock runs evenly, and the
    /// longest, with an hour that is repeated. A plain snapshot lasts no time.
    pub const fn lasts_ms(self) -> (i64, i64) {
        const HOUR: i64 = 3_600_000;
        const DAY: i64 = 24 * HOUR;
        match self {
            Every::Snapshot => (0, 0),
            Every::Hour => (HOUR, HOUR),
            Every::Day => (DAY, DAY + HOUR),
            Every::Week => (7 * DAY, 7 * DAY + HOUR),
            Every::Month => (28 * DAY, 31 * DAY + HOUR),
            Every::Quarter => (90 * DAY, 92 * DAY + HOUR),
            Every::Year => (365 * DAY, 366 * DAY),
        }
    }
}

impl KeepRules {
    /// Accepts rules that make sense: each with how many buckets it keeps, and the span of which
    /// everything stays. Days, weeks and so on are those of `zone`. Of two counts for one rule the last
    /// holds.
    pub fn new(counts: &[(Every, u32)], within: Option<Span>, zone: Zone) -> Result<KeepRules, BadKeepRules> {
        let mut rules = KeepRules { counts: [None; Every::ALL.len()], within, zone };
        for (every, count) in counts {
            rules.counts[*every as usize] = Some(NonZeroU32::new(*count).ok_or(BadKeepRules::Zero(*every))?);
        }
        if rules.within.is_none() && rules.counts().next().is_none() {
            return Err(BadKeepRules::Nothing);
        }
        Ok(rules)
    }

    /// Returns every rule that counts with its count, from fine to coarse.
    pub fn counts(&self) -> impl Iterator<Item = (Every, u32)> + '_ {
        Every::ALL.into_iter().zip(self.counts).filter_map(|(every, count)| Some((every, count?.get())))
    }

    /// Everything stays that is less than this older than the newest good snapshot.
    pub fn within(&self) -> Option<&Span> {
        self.within.as_ref()
    }

    /// Returns the zone whose hours, days, weeks … count.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }
}

/// `last 5, daily 7, within 48h in Europe/Berlin`.
impl fmt::Display for KeepRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (every, count) in self.counts() {
            write!(f, "{comma}{} {count}", every.word())?;
            comma = ", ";
        }
        if let Some(within) = &self.within {
            write!(f, "{comma}within {within}")?;
        }
        write!(f, " in {}", self.zone.name())
    }
}
