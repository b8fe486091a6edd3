//! Work of hours, and the repositories it is done to.

use serde::{Deserialize, Serialize};

use super::ProgressBody;

/// What `POST /v1/verify` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyOrder {
    /// The snapshot, by its name or by the driver's own identity of it.
    pub snapshot: String,
    /// How much of its data to read, in percent; nothing unless given.
    #[serde(default)]
    pub read_data_percent: u8,
    /// Where to look; everywhere when neither these nor policies are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// In the repositories of these policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// A repository, and how it is looked after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RepositoryBody {
    /// Its name.
    pub name: String,
    /// The kind of its driver.
    pub driver: String,
    /// Whether its driver can maintain it.
    pub maintains: bool,
    /// Its latest maintenance; null where there was none.
    pub maintenance: Option<OperationBody>,
    /// The latest that came to an end by itself: how the repository was found.
    #[serde(default)]
    pub verdict: Option<OperationBody>,
}

/// The answer of `/v1/operations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationsBody {
    /// The operations, newest first.
    pub operations: Vec<OperationBody>,
}

/// Work that goes on whether or not anybody waits, or is over: the answer of `/v1/operations/{number}`,
/// and of what begins one. What it came to in figures is known until the daemon ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationBody {
    /// Its number.
    pub operation: u64,
    /// `verify` or `maintain`.
    pub what: String,
    /// The snapshot or the repository.
    pub subject: String,
    /// `running`, `succeeded`, `failed` or `interrupted`.
    pub state: String,
    /// Who wanted it.
    #[serde(default)]
    pub who: String,
    /// When it began.
    #[serde(default)]
    pub start_time: Option<i64>,
    /// When it ended.
    #[serde(default)]
    pub end_time: Option<i64>,
    /// How far it is.
    pub progress: Option<ProgressBody>,
    /// What it came to, in a sentence.
    pub message: Option<String>,
    /// What a verification looked at.
    pub verified: Option<VerifiedBody>,
    /// What a maintenance did.
    pub maintained: Option<MaintainedBody>,
    /// Who has to move, where it failed: as the driver protocol has it.
    pub fault: Option<String>,
}

/// What a verification looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifiedBody {
    /// Where the snapshot is.
    pub repository: String,
    /// Its files.
    pub files: u64,
    /// Bytes that were read and found as they were written.
    pub bytes_read: u64,
}

/// What a maintenance did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MaintainedBody {
    /// Found to be needed by nothing, and to be removed after the delay.
    pub marked: AmountBody,
    /// Removed.
    pub removed: AmountBody,
    /// Marked earlier, and not for long enough.
    pub kept: AmountBody,
    /// Marked earlier, and needed after all.
    pub repaired: AmountBody,
    /// What else is worth telling.
    pub message: Option<String>,
}

/// So many pieces of a repository, and their size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AmountBody {
    /// How many.
    pub count: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}
