//! Held plans, word for word.

use serde::{Deserialize, Serialize};

use super::{VerdictBody, Word};

/// The answer of `/v1/deletions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeletionsBody {
    /// Plans that were held, newest first.
    pub plans: Vec<DeletionBody>,
}

/// A plan that was held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeletionBody {
    /// Its number: what is approved or refused.
    pub plan: u64,
    /// Of which policy.
    pub policy: Box<str>,
    /// The run it was made in.
    pub run_id: Box<str>,
    /// When it was made.
    pub time: i64,
    /// `waiting`, `approved`, `refused`, `expired`, or `replaced` by a later plan.
    pub state: Word,
    /// Until when it can be approved.
    pub until: i64,
    /// The guards that stopped it, one word each.
    pub guards: Vec<Word>,
    /// What they saw.
    pub held: Vec<String>,
    /// How many snapshots of the policy the listing held.
    pub own: u32,
    /// How many of them the plan condemns.
    pub condemned: usize,
    /// How many were deleted of it since.
    pub deleted: usize,
    /// Who answered.
    pub answered_by: Option<Box<str>>,
    /// When.
    pub answered: Option<i64>,
    /// The run that carries it out.
    pub approved_run: Option<Box<str>>,
}

/// The answer of `/v1/deletions/{number}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeletionShownBody {
    /// The plan.
    #[serde(flatten)]
    pub deletion: DeletionBody,
    /// What the clock was worth.
    pub clock: ClockBody,
    /// A line for every snapshot, oldest first.
    pub entries: Vec<VerdictBody>,
}

/// What the clock was worth when a plan was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClockBody {
    /// What the wall clock said.
    pub wall: i64,
    /// Milliseconds since the machine was started.
    pub uptime_ms: i64,
    /// How far the wall clock was ahead of what the time since the start of the machine makes of it; null
    /// after another start.
    pub ahead_ms: Option<i64>,
    /// When it was last believed.
    pub believed: i64,
    /// Whether the kernel held it for synchronised.
    pub synchronised: bool,
    /// Why it was doubted, if it was.
    pub doubt: Option<String>,
}
