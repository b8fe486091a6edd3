//! What is said of notices.

use serde::{Deserialize, Serialize};

use super::Word;

/// Notices, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoticesBody {
    /// The notices.
    pub notices: Vec<NoticeBody>,
}

/// A notice, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoticeBody {
    /// What it is called where people name one.
    pub number: u64,
    /// Under which key its channel is told, the same for every try.
    pub key: Box<str>,
    /// Who is owed it.
    pub channel: Box<str>,
    /// What it tells of.
    pub event: Word,
    /// `info`, `warning` or `error`.
    pub severity: Word,
    /// Which policy it is about; none where it is about the daemon.
    pub policy: Option<Box<str>>,
    /// Which run it is about.
    pub run_id: Option<Box<str>>,
    /// When it happened; of several, when the first did.
    pub time: i64,
    /// How many it stands for; what it says is of the latest.
    pub count: u32,
    /// When the latest happened.
    pub latest: i64,
    /// `pending`, `delivered`, `undeliverable` or `superseded`.
    pub state: Word,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried next, while it is pending.
    pub due: Option<i64>,
    /// When it was delivered, given up or superseded.
    pub settled: Option<i64>,
    /// Why its channel did not take it the last time.
    pub trouble: Option<String>,
    /// What its channel answered that took it.
    pub answer: Option<String>,
    /// In a line.
    pub subject: String,
    /// Which workflow it is about.
    pub workflow: Option<Box<str>>,
    /// Which snapshot was made, or was to be.
    pub snapshot: Option<Box<str>>,
    /// What happened.
    pub what: String,
    /// Why.
    pub why: Option<String>,
    /// What the policy kept by then.
    pub keeps: Option<String>,
    /// What was to come next.
    pub next: Option<String>,
    /// The command to look closer.
    pub look: Option<String>,
}
