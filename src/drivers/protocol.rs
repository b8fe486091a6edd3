//! The driver protocol on the wire, version 1: what `docs/driver-protocol.md` says, as types.
//!
//! Both ends use them: the host in [`super::process`], and `snapkeep driver files`. Nothing that
//! comes over the wire is trusted; the host checks what these types cannot say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lifecycle::snapshot::{Snapshot, Status};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Fault, FaultKind};

use super::Progress;
use super::keys::KeyOrder;

/// The version spoken, first in the request and first in the answer.
pub const VERSION: u32 = 1;

/// What a driver process is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Tell what it can do.
    Abilities,
    /// Make a snapshot.
    Create,
    /// Tell what became of a name.
    Describe,
    /// List all snapshots.
    List,
    /// Delete a snapshot.
    Delete,
    /// Stop what goes on without us.
    Cancel,
    /// Give data back.
    Restore,
    /// Look whether a snapshot's data is there.
    Verify,
    /// Give the space back that nothing needs, and look whether the repository holds together.
    Maintain,
    /// Change the labels of a snapshot.
    Label,
    /// Tell about its keys, and change them. No part of the protocol: only this program asks it, of itself.
    Keys,
}

impl Verb {
    /// Returns the word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Abilities => "abilities",
            Verb::Create => "create",
            Verb::Describe => "describe",
            Verb::List => "list",
            Verb::Delete => "delete",
            Verb::Cancel => "cancel",
            Verb::Restore => "restore",
            Verb::Verify => "verify",
            Verb::Maintain => "maintain",
            Verb::Label => "label",
            Verb::Keys => "keys",
        }
    }
}

/// The one line a driver process reads. The order of the fields is promised, so that a shell script
/// can take the first few by their place. Fields that are not known are ignored: a later version 1.x
/// may add some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    /// [`VERSION`].
    pub snapkeep: u32,
    /// What to do.
    pub verb: Verb,
    /// Which snapshot, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which snapshot, by the driver's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How long it may take.
    pub time_max_ms: u64,
    /// What to stamp on a new snapshot, or to set on one that is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Where to restore to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PathBuf>,
    /// What to restore; nothing means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    /// Whether a restore may write over what is there; nothing means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwrite: Option<bool>,
    /// The driver's part of the policy's `snapshot_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The repository's settings.
    pub repository: Map<String, Value>,
    /// How much of the data to read, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_data_percent: Option<u8>,
    /// How long what nothing needs is kept at least before it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<u64>,
    /// What to remove of a snapshot's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_labels: Option<BTreeSet<String>>,
    /// What to do about the keys. No part of the protocol, as [`Verb::Keys`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyOrder>,
}

/// One line a driver process writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line: the version it speaks.
    Snapkeep(u32),
    /// How far it is.
    Progress(ProgressLine),
    /// One snapshot of a listing.
    Snapshot(SnapshotLine),
    /// The last line of what went well; its form depends on the verb.
    Result(Value),
    /// The last line of what did not.
    Fault(FaultLine),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressLine {
    /// What is being done.
    pub doing: String,
    /// How much is done.
    #[serde(default)]
    pub done: u64,
    /// Of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Of what.
    #[serde(default)]
    pub unit: String,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotLine {
    /// Its name.
    pub name: String,
    /// The driver's own identity of it.
    pub id: String,
    /// The time of its data, in milliseconds since 1970.
    #[serde(default)]
    pub taken_at_ms: Option<i64>,
    /// How it stands.
    pub status: StatusWord,
    /// The labels found on it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Why it must not be deleted now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_use: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// How a snapshot stands, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusWord {
    /// Being made.
    Running,
    /// Whole.
    Good,
    /// Something could not be read.
    Partial,
    /// Not usable.
    Failed,
}

/// Who has to move, on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultWord {
    /// Wait.
    Busy,
    /// Ask again.
    Transient,
    /// A person.
    Permanent,
    /// Believe nothing of it.
    Incomplete,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultLine {
    /// Who has to move.
    pub kind: FaultWord,
    /// What to say to a person.
    pub message: String,
    /// How long to wait before asking again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The result of `create`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateResult {
    /// Whether it goes on without the process.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// The snapshot, when it is at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotLine>,
    /// What is worth telling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The result of `describe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeResult {
    /// The snapshot. It must be written, as null when there is none: leaving it out is no answer.
    #[serde(deserialize_with = "written")]
    pub snapshot: Option<SnapshotLine>,
    /// What is worth telling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The result of `list`, after one line for each snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListResult {
    /// How many lines there should have been.
    pub count: u64,
}

/// The result of `delete` and of `cancel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoneResult {}

/// The result of `restore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreResult {
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// The result of `verify`. What is wrong with a snapshot is a fault, not a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyResult {
    /// Files of the snapshot.
    pub files: u64,
    /// Bytes that were read and found as they were written.
    pub bytes_read: u64,
}

/// The result of `maintain`. What is wrong with the repository is a fault, not a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintainResult {
    /// Found to be needed by nothing, and to be removed after the delay.
    #[serde(default)]
    pub marked: AmountLine,
    /// Removed.
    #[serde(default)]
    pub removed: AmountLine,
    /// Marked earlier, and not for long enough.
    #[serde(default)]
    pub kept: AmountLine,
    /// Marked earlier, and needed after all.
    #[serde(default)]
    pub repaired: AmountLine,
    /// What is worth telling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// So many pieces of a repository, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountLine {
    /// How many pieces: packs, files, segments.
    pub count: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// The result of `label`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelResult {
    /// The snapshot as it stands then.
    pub snapshot: SnapshotLine,
}

/// The result of `abilities`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbilitiesResult {
    /// Whether it understands `cancel`.
    pub cancel: bool,
    /// Whether it understands `restore`.
    pub restore: bool,
    /// Whether a restore leaves alone what its directory holds already.
    #[serde(default)]
    pub restore_beside: bool,
    /// Whether it understands `verify`.
    #[serde(default)]
    pub verify: bool,
    /// Whether it understands `maintain`.
    #[serde(default)]
    pub maintain: bool,
    /// Whether it understands `label`.
    #[serde(default)]
    pub label: bool,
    /// How many creations and deletions at once.
    pub effects_max: u64,
}

/// Reads an option that must be written, if only as null.
fn written<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from)
}

impl From<StatusWord> for Status {
    fn from(word: StatusWord) -> Status {
        match word {
            StatusWord::Running => Status::Running,
            StatusWord::Good => Status::Good,
            StatusWord::Partial => Status::Partial,
            StatusWord::Failed => Status::Failed,
        }
    }
}

impl From<Status> for StatusWord {
    fn from(status: Status) -> StatusWord {
        match status {
            Status::Running => StatusWord::Running,
            Status::Good => StatusWord::Good,
            Status::Partial => StatusWord::Partial,
            Status::Failed => StatusWord::Failed,
        }
    }
}

impl From<SnapshotLine> for Snapshot {
    fn from(line: SnapshotLine) -> Snapshot {
        Snapshot {
            name: line.name,
            id: line.id,
            taken_at: line.taken_at_ms.map(Timestamp::from_millis),
            status: line.status.into(),
            labels: line.labels,
            in_use: line.in_use,
            size_bytes: line.size_bytes,
        }
    }
}

impl From<Snapshot> for SnapshotLine {
    fn from(snapshot: Snapshot) -> SnapshotLine {
        SnapshotLine {
            name: snapshot.name,
            id: snapshot.id,
            taken_at_ms: snapshot.taken_at.map(Timestamp::millis),
            status: snapshot.status.into(),
            labels: snapshot.labels,
            in_use: snapshot.in_use,
            size_bytes: snapshot.size_bytes,
        }
    }
}

impl From<FaultLine> for Fault {
    fn from(line: FaultLine) -> Fault {
        let kind = match line.kind {
            FaultWord::Busy => FaultKind::Busy,
            FaultWord::Transient => FaultKind::Transient,
            FaultWord::Permanent => FaultKind::Permanent,
            FaultWord::Incomplete => FaultKind::Incomplete,
        };
        // More than any wait we would keep; a larger number means the same.
        let retry_after_ms = line.retry_after_ms.map(|wait| i64::try_from(wait).unwrap_or(i64::MAX));
        Fault { kind, message: line.message, retry_after_ms }
    }
}

impl From<Fault> for FaultLine {
    fn from(fault: Fault) -> FaultLine {
        let kind = match fault.kind {
            FaultKind::Busy => FaultWord::Busy,
            FaultKind::Transient => FaultWord::Transient,
            FaultKind::Permanent => FaultWord::Permanent,
            FaultKind::Incomplete => FaultWord::Incomplete,
        };
        let retry_after_ms = fault.retry_after_ms.and_then(|wait| u64::try_from(wait).ok());
        FaultLine { kind, message: fault.message, retry_after_ms }
    }
}

impl From<ProgressLine> for Progress {
    fn from(line: ProgressLine) -> Progress {
        Progress { doing: line.doing, done: line.done, total: line.total, unit: line.unit }
    }
}
