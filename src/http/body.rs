//! What is sent, word for word. Both ends use these types; nothing inside does, so a rename inside
//! never changes an answer.
//!
//! Points in time are milliseconds since 1970. Words that OpenSearch has keep their names.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

mod channels;
mod deletions;
mod foresight;
mod health;
mod notices;
mod single;
mod tokens;
mod upkeep;

pub use channels::{ChannelBody, ChannelsBody, QuietHoursBody, TriedBody};
pub use deletions::{ClockBody, DeletionBody, DeletionShownBody, DeletionsBody};
pub use foresight::{
    ChangeBody, CompareOrder, ComparisonBody, CountBody, DraftOrder, FateBody, ForeseeOrder, ForeseenBody,
    ForesightBody, GoneBody, HeldBody, LifeBody, SideBody, SignBody, UntilBody,
};
pub use health::{CheckupBody, CheckupsBody, HealthBody};
pub use notices::{NoticeBody, NoticesBody};
pub use single::{
    ChangeOrderBody, HoldBody, HoldOrderBody, HoldsBody, NamedBody, PreviewOrderBody, ReleaseOrderBody, SingleBody,
    SingleSnapshotBody,
};
pub use tokens::{TokenBody, TokenMadeBody, TokenOrderBody, TokensBody};
pub use upkeep::{
    AmountBody, MaintainedBody, OperationBody, OperationsBody, RepositoryBody, VerifiedBody, VerifyOrder,
};

/// A word from a fixed set.
pub type Word = Cow<'static, str>;

/// The answer of `/v1/explain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExplainBody {
    /// The daemon as a whole.
    pub daemon: DaemonBody,
    /// Names that were asked for and are no policy's.
    pub unknown: Vec<String>,
    /// The policies, by name.
    pub policies: Vec<PolicyExplained>,
}

/// The daemon as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonBody {
    /// Its version.
    pub version: Word,
    /// This installation.
    pub installation: Box<str>,
    /// When it started.
    pub started: Option<i64>,
    /// When this was said.
    pub now: i64,
    /// When the engine last moved.
    pub last_turn: Option<i64>,
    /// How many policies there are.
    pub policies: usize,
    /// Why nothing is made or deleted, where that is so.
    pub safe_mode: Option<String>,
    /// What the daemon as a whole does not do at present, and why.
    #[serde(default)]
    pub restrictions: Vec<String>,
    /// How many notices no channel has taken yet.
    #[serde(default)]
    pub notices_waiting: u64,
    /// How many were given up: no channel took them.
    #[serde(default)]
    pub notices_undeliverable: u64,
    /// What goes on that people were told of, a hundred at most.
    #[serde(default)]
    pub alarms: Vec<AlarmBody>,
    /// How often, and how far, the clock went back.
    pub clock_moved_back: Option<ClockMovedBack>,
    /// Who outside vouched for the clock, and when.
    #[serde(default)]
    pub clock_vouched: Option<String>,
    /// When each housekeeping job last ran.
    pub housekeeping: Vec<ChoreBody>,
    /// Jobs of it that should have run and did not.
    #[serde(default)]
    pub overdue: Vec<OverdueBody>,
    /// The repositories, and how they are looked after.
    #[serde(default)]
    pub repositories: Vec<RepositoryBody>,
    /// What is wrong with files that never were in force.
    pub problems: Vec<ProblemBody>,
}

/// Something that goes on until it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmBody {
    /// `stale`, `held`, `problem` or `clock`.
    pub event: Word,
    /// Which policy, where it is about one.
    pub policy: Option<Box<str>>,
    /// Of what: the policy's uid, the file, the clock.
    pub subject: Box<str>,
    /// Since when.
    pub since: i64,
}

/// The wall clock went back.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ClockMovedBack {
    /// What it had said.
    pub from: i64,
    /// What it said next.
    pub to: i64,
}

/// A housekeeping job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChoreBody {
    /// Which.
    pub job: Box<str>,
    /// When it last ran.
    pub time: i64,
    /// What went wrong, if anything did.
    pub trouble: Option<String>,
}

/// A housekeeping job that should have run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OverdueBody {
    /// Which.
    pub job: String,
    /// When.
    pub due: i64,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemBody {
    /// Which file.
    pub file: String,
    /// In which line, where one is at fault.
    pub line: Option<u32>,
    /// In which column.
    pub column: Option<u32>,
    /// `error` or `warning`.
    pub severity: Word,
    /// What is wrong.
    pub message: String,
    /// What to write, where we know.
    pub hint: Option<String>,
    /// All of it, laid out for a person.
    pub text: String,
}

/// A policy, explained.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyExplained {
    /// Its name.
    pub name: Box<str>,
    /// Its identity.
    pub uid: Box<str>,
    /// Whether its triggers run.
    pub enabled: bool,
    /// Whether it was stopped by command.
    pub paused: bool,
    /// Whether its file is gone and only a run is followed to its end.
    pub retired: bool,
    /// Whether its file has problems and the last good version is in force.
    pub stale: bool,
    /// The version in force.
    pub revision: Option<Box<str>>,
    /// What people say it is for.
    pub description: Option<Box<str>>,
    /// Where its snapshots are kept.
    pub repository: Option<Box<str>>,
    /// Its creation workflow; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation: Option<WorkflowExplained>,
    /// Its deletion workflow; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<WorkflowExplained>,
    /// The newest snapshot that a run of ours made well.
    pub last_good: Option<LastGoodBody>,
    /// How many of its snapshots people want kept, as the journal has it.
    #[serde(default)]
    pub holds: usize,
    /// What is wrong with its file.
    pub problems: Vec<ProblemBody>,
}

/// A workflow, explained.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkflowExplained {
    /// Where it is.
    pub current_state: Word,
    /// The schedule in words.
    pub schedule: Option<String>,
    /// The next trigger, or the one that is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerBody>,
    /// The next few triggers.
    pub next_triggers: Vec<i64>,
    /// The snapshots it is making or may delete; absent while nothing is under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub started: Vec<Box<str>>,
    /// The latest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_execution: Option<ExecutionBody>,
    /// Attempts left; absent unless it is trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryBody>,
    /// What it waits for, in words.
    pub waits_for: Option<String>,
    /// How far the work says it is.
    pub progress: Option<ProgressBody>,
    /// Triggers consumed without a run since the latest run began.
    pub skipped: Vec<SkipBody>,
    /// Why the latest plan was held, if it was.
    pub held: Option<String>,
    /// What the guards of deletion do at present, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<String>,
}

/// A trigger.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TriggerBody {
    /// Its instant.
    pub time: i64,
}

/// Attempts left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RetryBody {
    /// How many.
    pub count: u32,
}

/// The latest run of a workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecutionBody {
    /// Its identity.
    pub run_id: Box<str>,
    /// How it stands.
    pub status: Word,
    /// `schedule`, `catch_up` or `manual`.
    pub started_by: Word,
    /// The trigger's instant.
    pub trigger_time: i64,
    /// When it began.
    pub start_time: i64,
    /// When it settled; null while it is under way.
    pub end_time: Option<i64>,
    /// How often the outside was asked.
    pub attempts: u32,
    /// What happened and why; absent where there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<InfoBody>,
}

/// What happened, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InfoBody {
    /// What happened, or is happening.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// How far something is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgressBody {
    /// What is being done.
    pub doing: String,
    /// How much is done.
    pub done: u64,
    /// Of how much, where known.
    pub total: Option<u64>,
    /// Of what.
    pub unit: String,
}

/// Triggers consumed without a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SkipBody {
    /// Why.
    pub reason: Word,
    /// How many.
    pub count: u64,
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// When that was recorded.
    pub time: i64,
}

/// The newest snapshot that a run of ours made well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastGoodBody {
    /// Its name.
    pub snapshot: Box<str>,
    /// When it was whole.
    pub time: i64,
    /// How long ago that is, in milliseconds.
    pub age_ms: i64,
}

/// The answer of `/v1/policies`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoliciesBody {
    /// The policies, by name.
    pub policies: Vec<PolicyBody>,
}

/// A policy in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyBody {
    /// Its name.
    pub name: Box<str>,
    /// Its identity.
    pub uid: Box<str>,
    /// Whether its triggers run.
    pub enabled: bool,
    /// Whether it was stopped by command.
    pub paused: bool,
    /// Whether its file has problems and the last good version is in force.
    pub stale: bool,
    /// The version in force.
    pub revision: Option<Box<str>>,
    /// The file it was read from; null when that is gone.
    pub file: Option<String>,
    /// What people say it is for.
    pub description: Option<Box<str>>,
    /// Where its snapshots are kept.
    pub repository: Option<Box<str>>,
    /// The kind of that repository.
    pub driver: Option<Box<str>>,
    /// When and how snapshots are made.
    pub creation: Option<PaceBody>,
    /// When and how old ones are deleted.
    pub deletion: Option<PaceBody>,
    /// What is kept; null where nothing is ever deleted.
    pub condition: Option<ConditionBody>,
    /// Who is told.
    pub channels: Vec<Box<str>>,
}

/// When a workflow runs, and how hard it tries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaceBody {
    /// The schedule in words.
    pub schedule: String,
    /// The next trigger.
    pub next_trigger: Option<i64>,
    /// The whole run's limit, as written.
    pub time_limit: String,
    /// Further attempts after the first.
    pub retry_count: u32,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConditionBody {
    /// Snapshots strictly older than this are old; as written.
    pub max_age: Option<String>,
    /// At most so many good ones stay.
    pub max_count: Option<u32>,
    /// So many good ones stay whatever their age.
    pub min_count: u32,
    /// Younger ones stay whatever else is said; as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_age: Option<String>,
    /// Which of the others stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeepBody>,
}

/// Which snapshots keep rules hold; a rule that is not there holds none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeepBody {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// The newest of so many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,
    /// The newest of so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// The newest of so many ISO weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// The newest of so many months.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// The newest of so many quarters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarterly: Option<u32>,
    /// The newest of so many years.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
    /// All of so long before the newest; as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Whose hours, days, weeks … these are.
    pub timezone: String,
}

/// What `/v1/policies/{name}/run` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOrder {
    /// `creation` or `deletion`.
    pub workflow: String,
}

/// A command was carried out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AcknowledgedBody {
    /// Always true.
    pub acknowledged: bool,
}

/// A run has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunBody {
    /// Its identity.
    pub run_id: Box<str>,
    /// The name of what it makes, for creation.
    pub snapshot: Option<Box<str>>,
}

/// The answer of `/v1/policies/{name}/snapshots`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotsBody {
    /// Of which policy.
    pub policy: String,
    /// Where they are kept.
    pub repository: Box<str>,
    /// The policy's own snapshots, oldest first.
    pub snapshots: Vec<SnapshotBody>,
    /// How many snapshots of others the repository holds.
    pub foreign: usize,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotBody {
    /// Its name.
    pub name: String,
    /// The driver's own identity of it.
    pub id: String,
    /// The time of its data, where the driver knows.
    pub time: Option<i64>,
    /// `running`, `good`, `partial` or `failed`.
    pub status: Word,
    /// Bytes it holds, where the driver knows.
    pub size_bytes: Option<u64>,
    /// Whether something uses it.
    pub in_use: Option<String>,
    /// What holds it: till when, and why.
    #[serde(default)]
    pub held: Option<String>,
}

/// A verdict on every snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanBody {
    /// Of which policy.
    pub policy: String,
    /// The run it was made in; null for one that was made to be looked at.
    pub run_id: Option<Box<str>>,
    /// When it was made.
    pub time: i64,
    /// How many snapshots of the policy the listing held.
    pub own: u32,
    /// Why nothing of it may be deleted until a person has looked.
    pub held: Option<String>,
    /// A line for every snapshot, oldest first.
    pub entries: Vec<VerdictBody>,
}

/// A verdict on one snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerdictBody {
    /// Its name.
    pub snapshot: Box<str>,
    /// The driver's own identity of it.
    pub id: Box<str>,
    /// The time of its data, where the driver knows.
    pub time: Option<i64>,
    /// How it stands.
    pub status: Word,
    /// `keep` or `delete`.
    pub verdict: Word,
    /// Why.
    pub reason: String,
    /// Whether it was deleted since.
    pub deleted: bool,
    /// Until when it stays, if creation goes on by its schedule; not for a plan of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UntilBody>,
}

/// The answer of `/v1/history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HistoryBody {
    /// The runs, newest first.
    pub runs: Vec<RunRecordBody>,
}

/// A run in history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecordBody {
    /// Its identity.
    pub run_id: Box<str>,
    /// Of which policy.
    pub policy: Box<str>,
    /// `creation` or `deletion`.
    pub workflow: Word,
    /// `schedule`, `catch_up` or `manual`.
    pub started_by: Word,
    /// The trigger's instant.
    pub trigger_time: i64,
    /// When it began.
    pub start_time: i64,
    /// When it settled.
    pub end_time: Option<i64>,
    /// How; null while it is under way.
    pub outcome: Option<Word>,
    /// What happened.
    pub message: Option<String>,
    /// Why.
    pub cause: Option<String>,
    /// How often the outside was asked.
    pub attempts: u32,
    /// The name of what it made.
    pub snapshot: Option<Box<str>>,
}

/// The answer of `/v1/audit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditBody {
    /// Newest first.
    pub records: Vec<AuditLine>,
}

/// One line of what was deleted, spared or commanded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditLine {
    /// Rises with every record.
    pub number: i64,
    /// When.
    pub time: i64,
    /// Who.
    pub who: Box<str>,
    /// What.
    pub what: Box<str>,
    /// To what.
    pub subject: Box<str>,
    /// In a sentence.
    pub detail: String,
    /// In which run.
    pub run_id: Option<Box<str>>,
    /// What was there before, where something was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<str>>,
    /// What is there after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<str>>,
    /// What came of it, where somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Box<str>>,
}

/// The answer of `/v1/journal/check`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckBody {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// What is wrong.
    pub troubles: Vec<String>,
}

/// The answer of `/v1/journal/backup`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupBody {
    /// Where the copy is.
    pub file: String,
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// Always `about:blank`: `code` says which it is.
    #[serde(rename = "type")]
    pub kind: Word,
    /// The status in words.
    pub title: Word,
    /// The status.
    pub status: u16,
    /// Which it is. Codes stay as they are.
    pub code: Word,
    /// What happened, for a person.
    pub detail: String,
    /// What to do about it, where we know.
    pub hint: Option<String>,
}
