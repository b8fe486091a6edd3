//! What is read for showing: notices and what became of them, texts of files, counts.

use super::change::{DocumentKind, Notice};
use crate::lifecycle::time::Timestamp;

/// A notice and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRecord {
    /// The notice.
    pub notice: Notice,
    /// What became of it.
    pub state: NoticeState,
    /// Tries so far.
    pub attempts: u32,
    /// When it is due, while it is pending.
    pub due_at: Option<Timestamp>,
    /// When it was delivered or given up.
    pub settled_at: Option<Timestamp>,
    /// What was said last, unless it was delivered.
    pub trouble: Option<String>,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeState {
    /// It waits for its channel.
    Pending,
    /// The channel took it.
    Delivered,
    /// Given up, kept, shown.
    Undeliverable,
}

impl NoticeState {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            NoticeState::Pending => "pending",
            NoticeState::Delivered => "delivered",
            NoticeState::Undeliverable => "undeliverable",
        }
    }
}

/// The last good text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What kind of file.
    pub kind: DocumentKind,
    /// Its stem.
    pub name: Box<str>,
    /// The file it was read from, for messages.
    pub origin: Box<str>,
    /// Its text.
    pub text: Box<str>,
    /// When it came into force.
    pub at: Timestamp,
}

/// How many rows of each sort there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Policies that are not retired.
    pub policies: u64,
    /// Runs in history, those under way included.
    pub runs: u64,
    /// Runs that have not settled.
    pub runs_active: u64,
    /// Notices that wait for their channel.
    pub notices_pending: u64,
    /// Notices that were given up.
    pub notices_undeliverable: u64,
    /// When the oldest notice that still waits was written.
    pub notice_oldest_at: Option<Timestamp>,
    /// Bytes of the journal's file, without what is not yet checkpointed.
    pub file_bytes: u64,
}
