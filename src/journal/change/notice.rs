//! What is owed to channels, and what comes of a try to deliver it.

use std::sync::Arc;

use crate::lifecycle::notice::{Event, Facts};
use crate::lifecycle::time::Timestamp;

/// A notice owed to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// (run, event, channel): stable, so that a receiver can tell a repeat.
    pub key: Box<str>,
    /// Of which policy; `None` where it is about the daemon.
    pub policy: Option<OfPolicy>,
    /// Of which run.
    pub run_id: Option<Box<str>>,
    /// What it tells of.
    pub event: Event,
    /// The channel's name.
    pub channel: Box<str>,
    /// In a line.
    pub subject: String,
    /// In full.
    pub facts: Facts,
    /// When it was written.
    pub at: Timestamp,
}

/// Which policy something is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfPolicy {
    /// Its identity.
    pub uid: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A notice that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The notice.
    pub notice: Notice,
    /// When the channel is to be told.
    pub due_at: Timestamp,
    /// Whether it may join an equal one that was not tried yet, and others may join it.
    pub gathers: bool,
}

/// What became of a try to deliver a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which notice.
    pub key: Box<str>,
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub result: Delivered,
}

/// What came of a try to deliver a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The try is about to be made; counted before it is made (N2). Due again at `again_at` should
    /// nobody report.
    Trying {
        /// When it is due again.
        again_at: Timestamp,
    },
    /// The channel took it (N3).
    Done {
        /// What it answered.
        answer: String,
    },
    /// It did not; due again then.
    Again {
        /// When it is due again.
        at: Timestamp,
        /// What was said.
        trouble: String,
    },
    /// Given up, kept, shown (N4).
    Undeliverable {
        /// What was said last.
        trouble: String,
    },
}
