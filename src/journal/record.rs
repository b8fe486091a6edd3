//! What is read for showing: notices and what became of them, texts of files, counts.

use std::sync::Arc;

use super::change::{DocumentKind, Notice};
use crate::lifecycle::hold::Hold;
use crate::lifecycle::role::Role;
use crate::lifecycle::time::Timestamp;

/// A notice and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRecord {
    /// What it is called where people name one.
    pub number: u64,
    /// The notice; where it stands for several, what it says is of the latest.
    pub notice: Notice,
    /// How many it stands for, 1 or more.
    pub count: u32,
    /// When the latest of them happened.
    pub latest_at: Timestamp,
    /// What became of it.
    pub state: NoticeState,
    /// Tries so far.
    pub attempts: u32,
    /// When it is due, while it is pending.
    pub due_at: Option<Timestamp>,
    /// When it was tried first, since a person sent it anew where one did.
    pub tried_at: Option<Timestamp>,
    /// When it was delivered, given up or superseded.
    pub settled_at: Option<Timestamp>,
    /// What was said last, unless it was delivered.
    pub trouble: Option<String>,
    /// What the channel answered that took it.
    pub answer: Option<String>,
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
    /// Something said since says more.
    Superseded,
}

impl NoticeState {
    /// All of them.
    pub const ALL: [NoticeState; 4] =
        [NoticeState::Pending, NoticeState::Delivered, NoticeState::Undeliverable, NoticeState::Superseded];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            NoticeState::Pending => "pending",
            NoticeState::Delivered => "delivered",
            NoticeState::Undeliverable => "undeliverable",
            NoticeState::Superseded => "superseded",
        }
    }
}

/// What a channel is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many notices it has not taken yet.
    pub pending: u64,
    /// When the first of them is due.
    pub due_at: Option<Timestamp>,
    /// How many were given up.
    pub undeliverable: u64,
}

/// Which notices are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeQuery {
    /// In this state only.
    pub state: Option<NoticeState>,
    /// Of this channel only.
    pub channel: Option<Box<str>>,
    /// About this policy only.
    pub policy: Option<Box<str>>,
    /// So many at most.
    pub limit: u32,
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

/// Which version of a policy is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Its identity.
    pub policy_uid: Box<str>,
    /// Its name.
    pub name: Arc<str>,
    /// How often it was written, the first time included.
    pub version: u64,
    /// Which of all writes to policies was the latest to it.
    pub seq_no: u64,
    /// When that was.
    pub updated_at: Timestamp,
    /// When it was last enabled; means nothing while it is not.
    pub enabled_at: Timestamp,
    /// When it came.
    pub adopted_at: Timestamp,
}

/// A policy as it was written, and which version of it that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Which version.
    pub version: PolicyVersion,
    /// The text of its file.
    pub text: Box<str>,
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

/// What a person wants kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// In which repository.
    pub repository: Arc<str>,
    /// The snapshot's name.
    pub snapshot: Box<str>,
    /// Whose it was when it was held, where it was a policy's of ours.
    pub policy_uid: Option<Arc<str>>,
    /// The hold.
    pub hold: Hold,
    /// Who wanted it.
    pub who: Box<str>,
}

/// What lets a caller in who comes over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The part of it by which it is looked up. No secret.
    pub id: Box<str>,
    /// What people call it; no other living token is called so.
    pub name: Box<str>,
    /// What its bearer may do.
    pub role: Role,
    /// SHA-256 of the whole token. That suffices: a token is 256 random bits, not a password.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Box<str>,
    /// When it ends; `None` when it is removed.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to a minute.
    pub last_used_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it lets nobody in any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Work that is no policy's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// A repository is maintained.
    Maintain,
    /// A snapshot is verified.
    Verify,
    /// A snapshot is held, or its hold removed.
    Hold,
    /// Snapshots become a policy's.
    Adopt,
    /// Snapshots are deleted that were named one by one.
    Expire,
}

impl OperationKind {
    /// All there are.
    pub const ALL: [OperationKind; 5] = [
        OperationKind::Maintain,
        OperationKind::Verify,
        OperationKind::Hold,
        OperationKind::Adopt,
        OperationKind::Expire,
    ];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            OperationKind::Maintain => "maintain",
            OperationKind::Verify => "verify",
            OperationKind::Hold => "hold",
            OperationKind::Adopt => "adopt",
            OperationKind::Expire => "expire",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationOutcome {
    /// It did what it was for and found nothing wrong.
    Succeeded,
    /// It could not, or found something wrong.
    Failed,
    /// The daemon ended before it did.
    Interrupted,
}

impl OperationOutcome {
    /// All there are.
    pub const ALL: [OperationOutcome; 3] =
        [OperationOutcome::Succeeded, OperationOutcome::Failed, OperationOutcome::Interrupted];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            OperationOutcome::Succeeded => "succeeded",
            OperationOutcome::Failed => "failed",
            OperationOutcome::Interrupted => "interrupted",
        }
    }
}

/// An operation that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRecord {
    /// Rises with every one, and is never given twice.
    pub number: u64,
    /// What is done.
    pub kind: OperationKind,
    /// To what: a repository's name, or a snapshot's.
    pub subject: Box<str>,
    /// Who wanted it: `housekeeping`, or the uid of a caller.
    pub who: Box<str>,
    /// When it began.
    pub began_at: Timestamp,
    /// How it ended; `None` while it is under way.
    pub end: Option<OperationEnd>,
}

impl OperationRecord {
    /// Whether it came to an end by itself, and so says how its subject was found.
    pub fn has_verdict(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.outcome != OperationOutcome::Interrupted)
    }
}

/// How an operation ended, when, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: OperationOutcome,
    /// What came of it, in a sentence.
    pub message: String,
}
