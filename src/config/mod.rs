//! What people write, turned into what the decisions use.
//!
//! Text comes in; a valid policy comes out, or every problem of the text at once, each with its
//! line, its column, the words at fault and a hint. Parsing and checking are pure; files are read
//! in `ownership` and found in `sources`, nowhere else.
//!
//! This folder knows no driver: the keys of `snapshot_config` that it does not know itself are
//! handed on unread, with their places, so that `roster` can have the driver check them.
//!
//! ```text
//! text ── reader ──> PolicyDocument ── check_policy ──> Policy + the driver's table
//!                      as written,                      valid by construction
//!                      nothing decided
//! ```

pub mod access;
pub mod channel;
pub mod check_policy;
pub mod clock;
pub mod key_pair;
pub mod notification;
pub mod place;
pub mod policy_document;
pub mod problem;
pub mod reader;
pub mod repository;
pub mod rest;
pub mod schedules;
pub mod settings;
pub mod sm;
pub mod sources;
pub mod table;
pub mod zone;

use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What a drop-in file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// In `repositories.d`.
    Repository,
    /// In `channels.d`.
    Channel,
    /// In `policies.d`.
    Policy,
}

impl FileKind {
    /// Every kind, in the order in which they are loaded: what policies name comes before policies.
    pub const ALL: [FileKind; 3] = [FileKind::Repository, FileKind::Channel, FileKind::Policy];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            FileKind::Repository => "repository",
            FileKind::Channel => "channel",
            FileKind::Policy => "policy",
        }
    }

    /// Returns the drop-in folder of such files.
    pub fn folder(self) -> &'static str {
        match self {
            FileKind::Repository => "repositories.d",
            FileKind::Channel => "channels.d",
            FileKind::Policy => "policies.d",
        }
    }
}

/// The first eight bytes of a SHA-256, shown as sixteen hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

impl Digest {
    /// Returns the digest of a text.
    pub fn of(text: &str) -> Digest {
        let digest = Sha256::digest(text.as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        Digest(u64::from_be_bytes(bytes))
    }

    /// Returns the digest of two texts by their digests: what is in force under a policy depends on
    /// its own text and on its repository's.
    pub fn and(self, other: Digest) -> Digest {
        Digest::of(&format!("{self} {other}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Returns a policy's text as JSON, in OpenSearch's shape, with every span as it was written.
/// `Null` when the text is no TOML.
pub fn policy_json(text: &str) -> Value {
    sm::from_toml(text).map_or(Value::Null, Value::Object)
}
