//! Holds, and what people do to single snapshots.

use serde::{Deserialize, Serialize};

/// What `POST /v1/holds` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldOrderBody {
    /// The snapshot, by its name or by the driver's own identity of it.
    pub snapshot: String,
    /// Till when; null till the hold is removed.
    #[serde(default)]
    pub until: Option<i64>,
    /// Whether it can only be lengthened from then on.
    #[serde(default)]
    pub compliance: bool,
    /// Why.
    pub reason: String,
    /// Where to look; everywhere when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
}

/// What `POST /v1/holds/remove` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseOrderBody {
    /// The snapshot, by its name or by the driver's own identity of it.
    pub snapshot: String,
    /// Where to look; everywhere when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
}

/// The answer of `/v1/holds`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HoldsBody {
    /// What people want kept, by repository and snapshot, as the journal has it.
    pub holds: Vec<HoldBody>,
}

/// A hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HoldBody {
    /// In which repository.
    pub repository: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// The policy whose it was, where that lives.
    pub policy: Option<String>,
    /// Till when; null till it is removed.
    pub until: Option<i64>,
    /// Whether it holds no more.
    pub over: bool,
    /// `ordinary` or `compliance`.
    pub mode: String,
    /// When it was made.
    pub made: i64,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub who: String,
}

/// What `POST /v1/expire/preview` and `POST /v1/adopt/preview` take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewOrderBody {
    /// The snapshots, by name or by the driver's own identity.
    pub snapshots: Vec<String>,
    /// Where to look; everywhere when none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// For expire: also what a living policy owns.
    #[serde(default)]
    pub owned: bool,
    /// For adopt: the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What `POST /v1/expire` and `POST /v1/adopt` take: what a preview showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeOrderBody {
    /// Exactly these.
    pub snapshots: Vec<NamedBody>,
    /// For expire: also what a living policy owns.
    #[serde(default)]
    pub owned: bool,
    /// For adopt: the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// A snapshot as it was shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedBody {
    /// In which repository.
    pub repository: String,
    /// Its name.
    pub name: String,
    /// The driver's own identity of it.
    pub id: String,
}

/// The answer of `/v1/orphans` and of the previews.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SingleBody {
    /// The snapshots.
    pub snapshots: Vec<SingleSnapshotBody>,
    /// What was not found, is not clear or could not be asked.
    pub troubles: Vec<String>,
}

/// A snapshot, whose it is, and what would become of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SingleSnapshotBody {
    /// In which repository.
    pub repository: String,
    /// Its name.
    pub name: String,
    /// The driver's own identity of it.
    pub id: String,
    /// The time of its data, where the driver knows.
    pub time: Option<i64>,
    /// `running`, `good`, `partial` or `failed`.
    pub status: String,
    /// Bytes it holds, where the driver knows.
    pub size_bytes: Option<u64>,
    /// Whose it is, in words.
    pub whose: String,
    /// Why nobody looks after it: `retired`, `left_behind`, `foreign`, `unstamped`, `future_dated`, `undatable`.
    pub orphaned: Vec<String>,
    /// The same in words.
    pub why: String,
    /// What holds it.
    pub held: Option<String>,
    /// Whether what is previewed may be done.
    pub allowed: bool,
    /// What would happen, or why it must not.
    pub verdict: String,
}
