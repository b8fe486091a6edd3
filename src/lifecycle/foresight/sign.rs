//! One letter for every reason, for a picture of many snapshots.

use crate::lifecycle::keep_rules::Every;
use crate::lifecycle::retention::{Hold, Keep, Verdict};

/// What a plan says of a snapshot, in short. In order of weight: of several in one place the first tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// The newest good one.
    Newest,
    /// Held by `yearly`.
    Yearly,
    /// Held by `quarterly`, and by no coarser rule.
    Quarterly,
    /// Held by `monthly`, and by no coarser rule.
    Monthly,
    /// Held by `weekly`, and by no coarser rule.
    Weekly,
    /// Held by `daily`, and by no coarser rule.
    Daily,
    /// Held by `hourly`, and by no coarser rule.
    Hourly,
    /// Held by `last`, and by no coarser rule.
    Last,
    /// Held by `within` alone.
    Within,
    /// Held by a person.
    Held,
    /// In use.
    InUse,
    /// Among the newest `min_count` good ones.
    Minimum,
    /// Younger than `min_age`.
    Young,
    /// Not old, and within `max_count`.
    Limits,
    /// Condemned, and kept for now by a guard.
    Spared,
    /// Not good, and not to be cleaned up yet.
    Failed,
    /// Being made, undatable, in the future, ambiguous or another's.
    Unclear,
    /// To go by the next deletion.
    Condemned,
}

impl Sign {
    /// All there are.
    pub const ALL: [Sign; 18] = [
        Sign::Newest,
        Sign::Yearly,
        Sign::Quarterly,
        Sign::Monthly,
        Sign::Weekly,
        Sign::Daily,
        Sign::Hourly,
        Sign::Last,
        Sign::Within,
        Sign::Held,
        Sign::InUse,
        Sign::Minimum,
        Sign::Young,
        Sign::Limits,
        Sign::Spared,
        Sign::Failed,
        Sign::Unclear,
        Sign::Condemned,
    ];

    /// Returns the sign of a verdict.
    pub fn of(verdict: &Verdict) -> Sign {
        match verdict {
            Verdict::Condemn(_) => Sign::Condemned,
            Verdict::Keep(keep) => match keep {
                Keep::NewestGood => Sign::Newest,
                Keep::Rules(holds) => holds.iter().map(Sign::of_hold).min().unwrap_or(Sign::Unclear),
                Keep::Held { .. } => Sign::Held,
                Keep::InUse { .. } => Sign::InUse,
                Keep::Minimum { .. } => Sign::Minimum,
                Keep::YoungerThanMinAge { .. } => Sign::Young,
                Keep::WithinCondition { .. } => Sign::Limits,
                Keep::Grace { .. }
                | Keep::Rate { .. }
                | Keep::CreationFailing { .. }
                | Keep::Unlooked
                | Keep::Unplanned
                | Keep::NotApproved { .. } => Sign::Spared,
                Keep::FailedButRecent { .. } => Sign::Failed,
                Keep::Running
                | Keep::Undatable
                | Keep::FutureDated { .. }
                | Keep::Ambiguous { .. }
                | Keep::Foreign(_) => Sign::Unclear,
            },
        }
    }

    fn of_hold(hold: &Hold) -> Sign {
        match hold {
            Hold::Place { every, .. } | Hold::Oldest { every, .. } => match every {
                Every::Snapshot => Sign::Last,
                Every::Hour => Sign::Hourly,
                Every::Day => Sign::Daily,
                Every::Week => Sign::Weekly,
                Every::Month => Sign::Monthly,
                Every::Quarter => Sign::Quarterly,
                Every::Year => Sign::Yearly,
            },
            Hold::Within(_) => Sign::Within,
        }
    }

    /// Returns its letter.
    pub fn letter(self) -> char {
        match self {
            Sign::Newest => 'N',
            Sign::Yearly => 'Y',
            Sign::Quarterly => 'Q',
            Sign::Monthly => 'M',
            Sign::Weekly => 'W',
            Sign::Daily => 'D',
            Sign::Hourly => 'H',
            Sign::Last => 'L',
            Sign::Within => 'w',
            Sign::Held => 'P',
            Sign::InUse => 'u',
            Sign::Minimum => 'm',
            Sign::Young => 't',
            Sign::Limits => 'a',
            Sign::Spared => 'g',
            Sign::Failed => 'f',
            Sign::Unclear => '?',
            Sign::Condemned => '-',
        }
    }

    /// Returns the sign of a letter.
    pub fn of_letter(letter: char) -> Option<Sign> {
        Sign::ALL.into_iter().find(|sign| sign.letter() == letter)
    }

    /// Returns what it stands for, in a few words.
    pub fn words(self) -> &'static str {
        match self {
            Sign::Newest => "newest",
            Sign::Yearly => "yearly",
            Sign::Quarterly => "quarterly",
            Sign::Monthly => "monthly",
            Sign::Weekly => "weekly",
            Sign::Daily => "daily",
            Sign::Hourly => "hourly",
            Sign::Last => "last",
            Sign::Within => "within",
            Sign::Held => "held by a person",
            Sign::InUse => "in use",
            Sign::Minimum => "min_count",
            Sign::Young => "too young",
            Sign::Limits => "within max_age and max_count",
            Sign::Spared => "spared by a guard",
            Sign::Failed => "not good",
            Sign::Unclear => "undated or unclear",
            Sign::Condemned => "to go by the next deletion",
        }
    }
}
