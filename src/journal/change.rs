//! What can be written into the journal, and what comes back out of it: decisions, not tables.

mod notice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{HoldRecord, OperationEnd, OperationRecord, TokenRecord};
use crate::lifecycle::age_lock::{AgeLock, AgeLocks};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::notice::{Alarm, Event};
use crate::lifecycle::plan::{Approval, Braked, Guard, Plan, Target};
use crate::lifecycle::policy::{Revision, Switch};
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::trust::Trust;
use crate::lifecycle::workflow::{Cause, Ending, Kind, Outcome, Trigger, Workflow};

pub use notice::{Delivered, Delivery, Notice, OfPolicy, Owed};

/// One thing a commit makes true. A commit writes all of its changes or none.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A policy is known from here on. Its workflows begin with the states given, at version 1.
    Adopt(Adoption),
    /// A policy's file is gone. Its rows stay for history; its name is free for a new policy, which
    /// inherits nothing.
    Retire {
        /// Which.
        policy_uid: Arc<str>,
        /// When.
        at: Timestamp,
        /// Which of all writes this is.
        seq_no: u64,
    },
    /// A policy goes on under another name (S23).
    Rename {
        /// Which.
        policy_uid: Arc<str>,
        /// Its name from here on; no other living policy has it.
        name: Arc<str>,
    },
    /// A policy is stopped or started by command, or as its file says again.
    Switch {
        /// Which.
        policy_uid: Arc<str>,
        /// What was said.
        switch: Switch,
    },
    /// A policy was written to: by an edit of its file, by a caller, or by a command.
    Version {
        /// Which.
        policy_uid: Arc<str>,
        /// Which of all writes this is.
        seq_no: u64,
        /// When.
        at: Timestamp,
        /// Whether it is enabled from here on and was not before.
        enabled: bool,
    },
    /// Another version of a policy is in force.
    Revise {
        /// Which policy.
        policy_uid: Arc<str>,
        /// Which version.
        revision: Revision,
    },
    /// A workflow's state. `version` is the version it replaces; another one in the journal means
    /// that somebody else writes, and the commit fails as a whole.
    Save {
        /// Which policy.
        policy_uid: Arc<str>,
        /// The version replaced; the new one is one higher.
        version: u64,
        /// What it is in now.
        state: State,
        /// For deletion: own snapshots when a plan last went ahead (G9). Kept as it was when `None`.
        seen: Option<u32>,
    },
    /// A run has begun. Its trigger is consumed: a second run of one trigger fails the commit.
    Begin(Begun),
    /// A run has settled.
    Settle(Settled),
    /// Triggers were consumed without a run.
    Skip(Skip),
    /// So many snapshots of a policy are there, as a deletion run saw them last.
    Kept(Kept),
    /// A deletion run has judged every snapshot.
    Plan {
        /// Rises with every plan, and is never given twice.
        number: u64,
        /// Which run.
        run_id: Box<str>,
        /// The verdicts.
        plan: Box<Plan>,
        /// Under which key notices tell of it; `Some` where it is held, and only there.
        episode: Option<Box<str>>,
    },
    /// A person has said what is to become of a held plan.
    AnswerPlan(PlanAnswer),
    /// What is known of the wall clock.
    Clock(Trust),
    /// What the guards of a policy's deletion remember.
    Guard {
        /// Which policy.
        policy_uid: Arc<str>,
        /// All of it.
        memory: GuardMemory,
    },
    /// Something that must be findable later: each deletion, each command.
    Audit(Audit),
    /// What was begun under a caller's key is over. Without such a record nothing happens.
    Answer {
        /// Whose key.
        who: Box<str>,
        /// The key.
        request: Box<str>,
        /// What came of it, in a few words.
        answer: String,
    },
    /// What a caller was answered, for whoever asks again under the same key. Without a record of the key
    /// nothing happens.
    Reply {
        /// Whose key.
        who: Box<str>,
        /// The key.
        request: Box<str>,
        /// The answer.
        reply: Reply,
        /// When.
        at: Timestamp,
    },
    /// A notice is owed to a channel (N1). The same key twice is one notice.
    Owe(Box<Owed>),
    /// A notice was delivered, or is to be tried again, or is given up.
    Delivery(Delivery),
    /// A person wants a notice sent again, from the first try on.
    Resend {
        /// Which.
        number: u64,
        /// When: it is due at once.
        at: Timestamp,
    },
    /// A channel is another than it was: what it has refused is due at once, and what a clock wrote that was ahead.
    Hurry {
        /// Which.
        channel: Box<str>,
        /// When.
        at: Timestamp,
    },
    /// What a channel has not heard of a policy says nothing any more: there is something later to say.
    Supersede {
        /// Which channel.
        channel: Box<str>,
        /// Which policy.
        policy_uid: Arc<str>,
        /// When.
        at: Timestamp,
    },
    /// Something goes on, and people are told.
    Raise(Alarm),
    /// It is over.
    Clear {
        /// What.
        event: Event,
        /// Of what.
        subject: Box<str>,
    },
    /// The last good version of a file (`text`), or none any more (`None`).
    Document {
        /// What kind of file.
        kind: DocumentKind,
        /// Its stem.
        name: Box<str>,
        /// The file it was read from, for messages.
        origin: Box<str>,
        /// Its text; `None` forgets it.
        text: Option<Box<str>>,
        /// When it came into force.
        at: Timestamp,
    },
    /// The text of a policy and of its repository under a revision, so that a run can finish under
    /// the terms it began with (S18) after a restart. Written when a run begins; kept while one needs it.
    Terms {
        /// The version.
        revision: Revision,
        /// Everything `roster` needs to build it again, in its own form.
        text: Box<str>,
    },
    /// A person wants a snapshot kept; in the place of what was wanted of it before.
    Hold(HoldRecord),
    /// A snapshot is not held any more.
    Release {
        /// In which repository.
        repository: Arc<str>,
        /// The snapshot's name.
        snapshot: Box<str>,
    },
    /// A token lets its bearer in from here on; no living token has its id or its name.
    AddToken(TokenRecord),
    /// A token lets nobody in any more.
    RemoveToken {
        /// Which.
        id: Box<str>,
        /// When.
        at: Timestamp,
    },
    /// A token was used.
    UseToken {
        /// Which.
        id: Box<str>,
        /// When.
        at: Timestamp,
    },
    /// What a policy's `min_age` is locked to; in the place of what there was.
    LockAge {
        /// Whose.
        policy_uid: Arc<str>,
        /// What it is; an empty one where nothing is locked any more.
        lock: AgeLock,
    },
    /// Work of hours begins that is no policy's run; nothing was asked of the outside before this. The
    /// record has no end yet.
    BeginOperation(OperationRecord),
    /// Such work is over.
    EndOperation {
        /// Which.
        number: u64,
        /// How.
        end: OperationEnd,
    },
    /// A housekeeping job ran.
    Chore {
        /// Which.
        job: Box<str>,
        /// When.
        at: Timestamp,
        /// What went wrong, if anything did.
        trouble: Option<String>,
    },
}

impl Change {
    /// Returns the run that this begins, if it does.
    pub fn begun(&self) -> Option<&Begun> {
        if let Change::Begin(begun) = self { Some(begun) } else { None }
    }
}

/// A policy that is known from here on.
#[derive(Clone, Debug, PartialEq)]
pub struct Adoption {
    /// Its identity.
    pub policy_uid: Arc<str>,
    /// Its name; no other living policy has it.
    pub name: Arc<str>,
    /// The version in force.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// Which of all writes this is.
    pub seq_no: u64,
    /// The creation workflow at its beginning.
    pub creation: Workflow<Creation>,
    /// The deletion workflow at its beginning.
    pub deletion: Workflow<Deletion>,
}

/// The state of either workflow.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Of creation.
    Creation(Workflow<Creation>),
    /// Of deletion.
    Deletion(Workflow<Deletion>),
}

impl State {
    /// Returns which workflow it is of.
    pub fn kind(&self) -> Kind {
        match self {
            State::Creation(_) => Kind::Creation,
            State::Deletion(_) => Kind::Deletion,
        }
    }
}

/// A run that has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    /// Its identity.
    pub run_id: Arc<str>,
    /// Of which policy.
    pub policy_uid: Arc<str>,
    /// Of which workflow.
    pub kind: Kind,
    /// What started it.
    pub trigger: Trigger,
    /// The version of the policy it began with.
    pub revision: Revision,
    /// When.
    pub at: Moment,
    /// The name of what it makes, for creation.
    pub snapshot: Option<Box<str>>,
    /// The client's key of a manual run; the same key again is the same run (S28).
    pub request_key: Option<Box<str>>,
}

/// What the guards of a policy's deletion remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardMemory {
    /// The version under which a plan last went ahead, where its condition is not the one in force (G11).
    pub former: Option<Revision>,
    /// When a deletion last did all there was to do, or the policy came (G6).
    pub cleared_at: Timestamp,
    /// By what the brake is measured since it held a plan first.
    pub braked: Option<Braked>,
    /// Whether the next listing is one to look at only (G15).
    pub unlooked: bool,
}

/// A policy that was there before under its uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returning {
    /// Own snapshots when a plan last went ahead.
    pub seen: Option<u32>,
    /// What its guards remember.
    pub memory: GuardMemory,
    /// The version that was in force last.
    pub revision: Revision,
}

/// What a person has said of a held plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanAnswer {
    /// Which plan.
    pub number: u64,
    /// The run that carries it out, where it was approved; `None` where it was refused.
    pub run_id: Option<Box<str>>,
    /// Who.
    pub who: Box<str>,
    /// When.
    pub at: Timestamp,
}

/// A run that has settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// Which.
    pub run_id: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// How, and why.
    pub ending: Ending,
    /// How often the outside was asked.
    pub attempts: u32,
}

/// Triggers that were consumed without a run, as one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Of which policy.
    pub policy_uid: Arc<str>,
    /// Of which workflow.
    pub kind: Kind,
    /// Why.
    pub reason: SkipReason,
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// When it was recorded.
    pub at: Timestamp,
}

/// How many snapshots of a policy there are, as a deletion run saw them last. For people; nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Of which policy.
    pub policy_uid: Arc<str>,
    /// How many.
    pub count: u32,
    /// How much they hold, where the driver knows it of each.
    pub bytes: Option<u64>,
    /// When that was seen.
    pub at: Timestamp,
}

/// Why triggers were consumed without a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// Nobody was there; a later one ran for all (S1).
    Missed,
    /// A run was in flight (S6).
    Overlap,
    /// What an earlier run began is not over (S26).
    Watched,
    /// The clock went back, and the mark with it (S13).
    ClockMovedBack,
}

impl SkipReason {
    /// All there are.
    pub const ALL: [SkipReason; 4] =
        [SkipReason::Missed, SkipReason::Overlap, SkipReason::Watched, SkipReason::ClockMovedBack];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            SkipReason::Missed => "missed",
            SkipReason::Overlap => "overlap",
            SkipReason::Watched => "watched",
            SkipReason::ClockMovedBack => "clock_moved_back",
        }
    }
}

/// Something that must be findable later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// Who: `engine`, or the uid of a caller.
    pub who: Box<str>,
    /// What: `delete`, `spare`, `start`, `stop`, `run`, …
    pub what: Box<str>,
    /// To what: a policy's or a snapshot's name.
    pub subject: Box<str>,
    /// In a sentence.
    pub detail: String,
    /// In which run, if in one.
    pub run_id: Option<Box<str>>,
    /// What was there before, in a few words, where something was changed.
    pub before: Option<Box<str>>,
    /// What is there after it.
    pub after: Option<Box<str>>,
    /// What came of it, in a few words; `None` where the engine did it, or it is not over.
    pub answer: Option<Box<str>>,
    /// Under which key the caller asked.
    pub request: Option<RequestKey>,
}

impl Audit {
    /// Returns a record that says nothing yet of what was there before and after, and of what came of it.
    pub fn of(at: Timestamp, who: &str, what: &str, subject: &str, detail: impl Into<String>) -> Audit {
        Audit {
            at,
            who: who.into(),
            what: what.into(),
            subject: subject.into(),
            detail: detail.into(),
            run_id: None,
            before: None,
            after: None,
            answer: None,
            request: None,
        }
    }

    /// Returns what is there once an operation has begun.
    pub fn operation_running(number: u64) -> Box<str> {
        format!("{OPERATION}{number}{RUNNING}").into()
    }

    /// Returns which operation has begun, where [`Audit::operation_running`] says so.
    pub fn operation_begun(after: &str) -> Option<u64> {
        after.strip_prefix(OPERATION)?.strip_suffix(RUNNING)?.parse().ok()
    }
}

const OPERATION: &str = "operation ";
const RUNNING: &str = " running";

/// A caller's key: the same one again is the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// As the caller gave it.
    pub key: Box<str>,
    /// Of what was asked: another one under the same key is a mistake.
    pub fingerprint: Box<str>,
}

/// What a caller was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code of HTTP.
    pub status: u16,
    /// Where what was made can be found.
    pub location: Option<Box<str>>,
    /// The whole body.
    pub body: Box<str>,
}

/// What is known of a caller's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// Of what was asked.
    pub fingerprint: Box<str>,
    /// What came of it; `None` while that is not known.
    pub answer: Option<Box<str>>,
    /// What the caller was answered, where it could still be told.
    pub reply: Option<Reply>,
    /// The run that was begun, and the name of what it makes.
    pub run: Option<(Box<str>, Option<Box<str>>)>,
    /// The number of the operation that was begun.
    pub operation: Option<u64>,
}

/// A change to a policy's file that was begun and is not known to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEdit {
    /// Who began it.
    pub who: Box<str>,
    /// Under which key.
    pub request: Box<str>,
    /// The policy.
    pub policy: Box<str>,
    /// What should be there after it; `None` where it should be gone.
    pub after: Option<Box<str>>,
}

impl Change {
    /// Whether it changes what is owed to channels.
    pub fn is_of_notices(&self) -> bool {
        matches!(
            self,
            Change::Owe(_)
                | Change::Delivery(_)
                | Change::Resend { .. }
                | Change::Hurry { .. }
                | Change::Supersede { .. }
        )
    }
}

/// What kind of file a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// In `policies.d`.
    Policy,
    /// In `repositories.d`.
    Repository,
    /// In `channels.d`.
    Channel,
}

impl DocumentKind {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            DocumentKind::Policy => "policy",
            DocumentKind::Repository => "repository",
            DocumentKind::Channel => "channel",
        }
    }

    /// Returns the drop-in folder of such files.
    pub fn folder(self) -> &'static str {
        match self {
            DocumentKind::Policy => "policies.d",
            DocumentKind::Repository => "repositories.d",
            DocumentKind::Channel => "channels.d",
        }
    }
}

/// Everything the engine needs at start.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// This installation.
    pub installation: Box<str>,
    /// How often this journal was opened for writing.
    pub epoch: u64,
    /// Whether the journal belongs to another machine: a cloned disk, a copied directory. Two such
    /// daemons would share one identity, so nothing is deleted until a person has said which one it
    /// belongs to ([`Journal::accept_machine`](super::Journal::accept_machine)).
    pub machine_changed: bool,
    /// Every policy that is not retired, and retired ones with a run or watch under way.
    pub policies: Vec<LoadedPolicy>,
    /// Terms of runs under way and of versions under which plans last went ahead, by revision.
    pub terms: BTreeMap<Revision, Box<str>>,
    /// When each housekeeping job last ran, and its trouble.
    pub chores: Vec<(Box<str>, Timestamp, Option<String>)>,
    /// The highest number of a plan.
    pub latest_plan: u64,
    /// What was known of the clock; nothing in a journal that is new.
    pub clock: Option<Trust>,
    /// The highest number of an operation.
    pub latest_operation: u64,
    /// What goes on that people were told of.
    pub alarms: Vec<Alarm>,
    /// What people want kept, also what is over.
    pub holds: Vec<HoldRecord>,
    /// Tokens that were not removed, by id.
    pub tokens: Vec<TokenRecord>,
    /// What `min_age` is locked to, also for policies that are gone.
    pub age_locks: AgeLocks,
    /// Operations that have not ended: a process that ended cut them off.
    pub operations: Vec<OperationRecord>,
    /// The latest maintenance of each repository, and the latest that came to an end by itself, in order.
    pub maintenance: Vec<OperationRecord>,
    /// Changes to files that were begun and are not known to be done.
    pub edits: Vec<OpenEdit>,
    /// The number the next write to a policy gets.
    pub next_seq_no: u64,
    /// Raised when a copy of the journal was put back.
    pub primary_term: u64,
    /// The latest instant any row speaks of: time did not stand still before it.
    pub latest_at: Timestamp,
}

/// One policy as the journal knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedPolicy {
    /// Its identity.
    pub policy_uid: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The version that was in force last.
    pub revision: Revision,
    /// What was said by command.
    pub switch: Switch,
    /// Which of all writes was the latest to it.
    pub seq_no: u64,
    /// When it came.
    pub adopted_at: Timestamp,
    /// Whether its file is gone.
    pub retired: bool,
    /// The creation workflow and its version.
    pub creation: (Workflow<Creation>, u64),
    /// The deletion workflow and its version.
    pub deletion: (Workflow<Deletion>, u64),
    /// Own snapshots when a plan last went ahead.
    pub seen: Option<u32>,
    /// What the guards of its deletion remember.
    pub memory: GuardMemory,
    /// The latest plan, where it is held and nobody has answered.
    pub held: Option<HeldPlan>,
    /// What the deletion under way was approved to do.
    pub approval: Option<Approval>,
    /// The latest run of creation.
    pub last_creation: Option<RunRecord>,
    /// The latest run of deletion.
    pub last_deletion: Option<RunRecord>,
    /// The latest creation that succeeded.
    pub last_good: Option<RunRecord>,
    /// The latest record of each reason, with the sum of all counts since the last run of that
    /// workflow began. What was recorded together with its beginning counts; what is older does not.
    pub skips: Vec<Skip>,
}

/// One run in history.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its identity.
    pub run_id: Box<str>,
    /// Of which policy, by name.
    pub policy: Arc<str>,
    /// Of which policy.
    pub policy_uid: Arc<str>,
    /// Of which workflow.
    pub kind: Kind,
    /// The trigger's instant.
    pub trigger_at: Timestamp,
    /// Why it began.
    pub cause: Cause,
    /// When it began.
    pub began_at: Timestamp,
    /// When it settled.
    pub ended_at: Option<Timestamp>,
    /// How, once it has settled.
    pub outcome: Option<Outcome>,
    /// What happened, once it has settled.
    pub message: Option<String>,
    /// Why, if something was to blame.
    pub blame: Option<String>,
    /// How often the outside was asked.
    pub attempts: u32,
    /// The name of what it made.
    pub snapshot: Option<Box<str>>,
}

/// One line of what was deleted, spared or commanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Rises with every record.
    pub number: i64,
    /// The record.
    pub audit: Audit,
}

/// A held plan that waits for a person, as far as it is shown everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPlan {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub made: Moment,
    /// What holds it.
    pub guards: BTreeSet<Guard>,
    /// What it condemns: the same again is the same plan.
    pub targets: BTreeSet<Target>,
    /// Under which key notices tell of it.
    pub episode: Box<str>,
}

/// A plan as it was journaled, with the run it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRecord {
    /// Its number.
    pub number: u64,
    /// Of which policy, by name.
    pub policy: Arc<str>,
    /// Of which policy.
    pub policy_uid: Arc<str>,
    /// What a person said of it.
    pub answer: Option<PlanAnswer>,
    /// Whether it is the latest of its policy.
    pub is_latest: bool,
    /// The run.
    pub run_id: Box<str>,
    /// The plan. Plans that condemned nothing keep their counts and no entries.
    pub plan: Plan,
    /// What was deleted of it so far, oldest first: its lines whose deletion the audit records.
    pub deleted: Vec<Target>,
}
