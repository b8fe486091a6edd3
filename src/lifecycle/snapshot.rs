//! Snapshots as drivers report them, and the names we give them.
//!
//! Which snapshots exist is known to a driver alone; these are the words for what it said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::time::Timestamp;

/// The name of a snapshot: `<policy>-<trigger's date>-<8 of a-z0-9>`.
///
/// It matches `[a-z0-9][a-z0-9._:-]{0,191}` without `..`, so that it is safe as a file name, as an
/// argument after `--` and in every repository we speak to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName(Arc<str>);

/// Why a text is not a snapshot's name. Completes "failed to accept the snapshot name …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot name must be 1 to 192 of a-z 0-9 . _ : - , begin with a letter or digit and not hold `..`")]
pub struct BadSnapshotName;

impl SnapshotName {
    /// A policy's name (128 at most), a date and the suffix fit; so do file systems (255).
    pub const LENGTH_MAX: usize = 192;

    /// Accepts a name that keeps the rules above.
    pub fn new(name: &str) -> Result<SnapshotName, BadSnapshotName> {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._:-".contains(&b));
        if first && rest && name.len() <= SnapshotName::LENGTH_MAX && !has_two_dots(name) {
            Ok(SnapshotName(name.into()))
        } else {
            Err(BadSnapshotName)
        }
    }

    /// Returns the name of what `trigger` makes. The suffix is a hash of all that identifies the
    /// trigger, so the same trigger always has the same name, whatever crashed in between (P2).
    ///
    /// `date` is the trigger's time as the policy's `date_format` writes it.
    pub fn for_trigger(
        installation: &str,
        policy_uid: &str,
        policy: &str,
        date: &str,
        trigger_at: Timestamp,
    ) -> Result<SnapshotName, BadSnapshotName> {
        let digest =
            Sha256::new().chain_update(format!("{installation}\n{policy_uid}\ncreation\n{}", trigger_at.millis()));
        SnapshotName::new(&format!("{policy}-{}-{}", date.to_lowercase(), base36(&digest.finalize())))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As `contains("..")` says, which makes a machine for searching first.
fn has_two_dots(name: &str) -> bool {
    name.as_bytes().windows(2).any(|pair| pair == b"..")
}

/// Returns eight characters of a–z0–9 made from the first bytes of a digest.
fn base36(digest: &[u8]) -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let mut text = String::with_capacity(8);
    for _ in 0..8 {
        text.push(char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
    }
    text
}

/// How a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Being made.
    Running,
    /// Whole.
    Good,
    /// Made, but something could not be read.
    Partial,
    /// Not usable.
    Failed,
}

impl Status {
    /// Returns the word used in answers and tables.
    pub fn word(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Good => "good",
            Status::Partial => "partial",
            Status::Failed => "failed",
        }
    }
}

/// The labels stamped on every snapshot we make. Ownership is decided by these, never by a name's
/// prefix (G8).
pub mod label {
    /// The installation that made it.
    pub const INSTALLATION: &str = "snapkeep_installation";
    /// The policy's name; the word is OpenSearch's.
    pub const POLICY: &str = "sm_policy";
    /// The policy's uid.
    pub const POLICY_UID: &str = "snapkeep_policy_uid";
    /// The run that made it.
    pub const RUN: &str = "snapkeep_run";
    /// A hold on it: [`Hold::stamp`](super::super::hold::Hold::stamp).
    pub const HOLD: &str = "snapkeep_hold";
    /// The trigger it was made for, in milliseconds since 1970.
    pub const TRIGGER: &str = "snapkeep_trigger";
}

/// One snapshot as a driver lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The name as the driver tells it. A foreign snapshot may have any.
    pub name: String,
    /// The driver's own identity of it; what a deletion names.
    pub id: String,
    /// The time of its data. `None` when the driver cannot tell: undatable (G3).
    pub taken_at: Option<Timestamp>,
    /// How it stands.
    pub status: Status,
    /// The labels found on it.
    pub labels: BTreeMap<String, String>,
    /// Whether something uses it or needs it, in the driver's words.
    pub in_use: Option<String>,
    /// Bytes it holds, where the driver knows.
    pub size_bytes: Option<u64>,
}

/// All snapshots of a repository that a driver can see and answer for: complete, or it would have
/// been a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In no particular order.
    pub snapshots: Vec<Snapshot>,
}

/// What became of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is no such snapshot.
    Absent,
    /// It is being made.
    Running,
    /// It is whole.
    Good {
        /// What is worth telling, such as bytes added.
        message: Option<String>,
    },
    /// It is there, but something could not be read.
    Partial {
        /// What is missing.
        message: String,
    },
    /// It is there and not usable.
    Failed {
        /// Why.
        message: String,
    },
    /// Somebody else's snapshot has this name. Never adopted.
    Foreign,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trigger_has_one_name() {
        let at = Timestamp::from_seconds(1_772_330_400);
        let name = |installation: &str, uid: &str, at| {
            SnapshotName::for_trigger(installation, uid, "db", "2026-03-01T02:00", at).expect("valid").to_string()
        };
        let first = name("i", "u", at);
        assert_eq!(first, name("i", "u", at));
        assert!(first.starts_with("db-2026-03-01t02:00-"), "{first}");
        assert_ne!(first, name("j", "u", at));
        assert_ne!(first, name("i", "v", at));
        assert_ne!(first, name("i", "u", at.plus(1)));
    }

    #[test]
    fn names_that_could_leave_a_directory_or_look_like_an_option_are_refused() {
        for bad in ["", "-a", ".a", "a/b", "a..b", "A", "a b", "a\n", "ä", &"a".repeat(193)] {
            assert_eq!(SnapshotName::new(bad), Err(BadSnapshotName), "{bad:?}");
        }
    }
}
