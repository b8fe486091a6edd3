//! What stops a whole plan until a person has looked.

use std::fmt;

use crate::lifecycle::time::{Timestamp, format_millis};
use crate::lifecycle::trust::Doubt;

/// Which guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// The clock is doubted (G1).
    Clock,
    /// An own snapshot lies in the future (G1).
    Ahead,
    /// The listing shrank (G9).
    Shrunk,
    /// An edit newly condemns much (G11).
    Edit,
    /// Much at once (G6).
    Brake,
}

impl Guard {
    /// All there are.
    pub const ALL: [Guard; 5] = [Guard::Clock, Guard::Ahead, Guard::Shrunk, Guard::Edit, Guard::Brake];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Guard::Clock => "clock",
            Guard::Ahead => "ahead",
            Guard::Shrunk => "shrunk",
            Guard::Edit => "edit",
            Guard::Brake => "brake",
        }
    }
}

/// A guard that stopped a plan, and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The clock is doubted (G1).
    Clock(Doubt),
    /// An own snapshot lies further in the future than any clock of ours is known to have been (G1).
    Ahead {
        /// Its name.
        snapshot: Box<str>,
        /// How it is dated.
        taken_at: Timestamp,
        /// How far ahead that is, in milliseconds.
        ahead_ms: i64,
    },
    /// The listing has lost more than half of what it showed before (G9).
    ListingShrank {
        /// Own snapshots in the last listing that was acted on.
        before: u32,
        /// Own snapshots in this one.
        now: u32,
    },
    /// The condition was edited, and more than the limit go that stayed before (G11).
    Edit {
        /// How many.
        newly: u32,
        /// How many are free.
        limit: u32,
    },
    /// More go at once than the limit (G6).
    Brake {
        /// How many.
        condemned: u32,
        /// Of how many.
        own: u32,
        /// How many were made since the last deletion that succeeded.
        made: u32,
        /// How many are free.
        limit: u32,
    },
}

impl Held {
    /// Returns which guard it is.
    pub fn guard(&self) -> Guard {
        match self {
            Held::Clock(_) => Guard::Clock,
            Held::Ahead { .. } => Guard::Ahead,
            Held::ListingShrank { .. } => Guard::Shrunk,
            Held::Edit { .. } => Guard::Edit,
            Held::Brake { .. } => Guard::Brake,
        }
    }

    /// Returns what a person can do about it beside approving the plan.
    pub fn remedy(&self) -> &'static str {
        match self {
            Held::Clock(_) => "if the clock is right, `snapkeep clock confirm`",
            Held::Ahead { .. } => {
                "`snapkeep expire` the snapshot; if it was made while the clock was wrong, `snapkeep clock confirm` lets it be"
            }
            Held::ListingShrank { .. } => "if that is right, approve the plan",
            Held::Edit { .. } | Held::Brake { .. } => "approve or refuse the plan",
        }
    }
}

/// In a sentence without its end.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::Clock(doubt) => write!(f, "the clock is doubted: {}", doubt.cause),
            Held::Ahead { snapshot, taken_at, ahead_ms } => {
                let ahead = format_millis(ahead_ms - ahead_ms % 1000);
                write!(f, "snapshot {snapshot} is dated {taken_at}, {ahead} ahead of the clock: one of them is wrong")
            }
            Held::ListingShrank { before, now } => {
                write!(f, "the repository lists {now} of this policy's snapshots, where it listed {before} before")
            }
            Held::Edit { newly, limit } => {
                write!(f, "the condition was edited, and {newly} snapshots go that stayed before; {limit} are free")
            }
            Held::Brake { condemned, own, made, limit } => write!(
                f,
                "{condemned} of {own} snapshots would go at once; with {made} made since the last deletion {limit} are free"
            ),
        }
    }
}
