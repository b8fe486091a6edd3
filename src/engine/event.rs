//! Everything that can make the daemon move. The list is closed: whatever happens, happens through
//! one of these.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::drivers::{Driver, Order, Progress};
pub use crate::journal::change::{Recalled, Reply, RequestKey};
use crate::journal::record::NoticeRecord;
pub use crate::journal::record::{HoldRecord, OperationKind, OperationRecord, TokenRecord};
use crate::lifecycle::age_lock::AgeLocks;
use crate::lifecycle::estate::Estate;
use crate::lifecycle::hold::{HoldOrder, Holds};
use crate::lifecycle::plan::{Grounds, Sight};
use crate::lifecycle::retention::Owner;
use crate::lifecycle::role::Role;
use crate::lifecycle::snapshot::Snapshot;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Answer, Kind, Request};
use crate::notify::Trouble;
use crate::roster::{self, Channel, Entry, Repository, Roster};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// The configuration was read.
    Loaded(Arc<Roster>),
    /// A job came back.
    Answered {
        /// Which.
        job: JobId,
        /// With what.
        answer: Answer,
    },
    /// A job told how far it is.
    Progressed {
        /// Which.
        job: JobId,
        /// How far.
        progress: Progress,
    },
    /// A channel took a notice, or did not.
    Delivered {
        /// Which notice.
        key: Box<str>,
        /// What was said, if it did not.
        result: Result<String, Trouble>,
    },
    /// Somebody wants something.
    Command(Command),
    /// A housekeeping job ran.
    Chore {
        /// Which.
        job: Box<str>,
        /// What went wrong, if anything did.
        trouble: Option<String>,
    },
    /// History older than this is to go, in slices.
    Trim {
        /// Older than this.
        before: Timestamp,
    },
    /// Whoever changed single snapshots of a repository is done there.
    Left {
        /// As whom they had entered.
        guest: u64,
    },
    /// Witnesses of the clock were asked (G1): those that are named in the settings, each once.
    Witnessed(Vec<Heard>),
    /// The wall clock was set. Nothing is believed of it; the engine looks for itself.
    ClockStepped,
    /// Somebody wants to know when everything that was said before this has been taken in: once it is written and
    /// shown.
    Mark(oneshot::Sender<()>),
    /// Start nothing new; the process is about to end. Said twice, it ends at once.
    Stop,
}

/// What a witness of the clock said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its host.
    pub host: Box<str>,
    /// What our clocks said then.
    pub taken: Moment,
    /// What time it is by its clock, or why nothing was heard.
    pub said: Result<Timestamp, String>,
}

/// Somebody wants something.
#[derive(Debug)]
pub struct Command {
    /// Who, for the audit.
    pub who: Box<str>,
    /// What.
    pub what: What,
    /// Under which key, where the caller gave one: kept with what is done, in the same commit.
    pub request: Option<Box<RequestKey>>,
    /// Where the answer goes, once what was asked is in the journal.
    pub reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Let a policy's triggers run again, from now on.
    Start {
        /// The policy's name.
        policy: String,
    },
    /// Let no trigger run. A snapshot that was begun is followed to its end.
    Stop {
        /// The policy's name.
        policy: String,
    },
    /// Run a workflow now.
    Run {
        /// The policy's name.
        policy: String,
        /// Which workflow.
        kind: Kind,
    },
    /// Take the journal over for this machine: it was written on another one.
    AcceptMachine,
    /// Believe the wall clock: a person has looked at it (G1).
    ConfirmClock,
    /// Delete what a held plan shows, as far as the policy in force condemns it.
    Approve {
        /// The plan's number.
        plan: u64,
    },
    /// Send a notice again, from the first try on.
    Resend {
        /// Its number.
        notice: u64,
    },
    /// Delete nothing of a held plan.
    Refuse {
        /// The plan's number.
        plan: u64,
    },
    /// Begin a change to a policy's file.
    Propose(Box<Proposal>),
    /// End it.
    Conclude(Box<Concluded>),
    /// Say what is known of a key.
    Recall(RequestKey),
    /// Keep what was answered under a key.
    Reply {
        /// The key.
        request: Box<str>,
        /// The answer.
        reply: Reply,
    },
    /// Write down that something was refused.
    Refused {
        /// What was asked.
        subject: String,
        /// What was answered.
        answer: String,
    },
    /// Say what is needed to look at a policy's repository.
    Survey {
        /// The policy's name.
        policy: String,
    },
    /// Say what is needed to judge a policy that is not in force.
    Bearings,
    /// Say what is needed to look after repositories.
    Sites {
        /// These repositories, and
        repositories: Vec<String>,
        /// the ones of these policies; all there are where neither is named.
        policies: Vec<String>,
    },
    /// Keep a snapshot that was just listed, whatever the policies say.
    Hold {
        /// In which repository.
        repository: String,
        /// As it was listed.
        snapshot: Box<Snapshot>,
        /// How long, and why.
        order: HoldOrder,
    },
    /// Keep it no more.
    Release {
        /// In which repository.
        repository: String,
        /// As it was listed.
        snapshot: Box<Snapshot>,
    },
    /// Say what is needed to judge what people want of single snapshots.
    Books {
        /// In these repositories; all there are where none is named.
        repositories: Vec<String>,
    },
    /// Give somebody who is about to change single snapshots a place at a repository, among its creations and
    /// deletions; it is theirs until [`Event::Left`].
    Enter {
        /// Which.
        repository: String,
        /// As whom; never twice.
        guest: u64,
    },
    /// Write down what is about to be done away from the engine, or was.
    Note(Box<Note>),
    /// Let whoever has a token in.
    AddToken(TokenOrder),
    /// Let nobody in by a token any more.
    RemoveToken {
        /// The token's name.
        name: String,
    },
    /// Write down that a token was used.
    UseToken {
        /// Its id.
        id: Box<str>,
    },
    /// Write down that a message is about to be sent to a channel, to try it.
    BeginTrial {
        /// The channel's name.
        channel: String,
    },
    /// Write down what came of it.
    EndTrial {
        /// The channel's name.
        channel: String,
        /// What was answered, or why it did not get there.
        result: Result<String, String>,
    },
    /// Write down that work of hours is about to begin, away from the engine.
    BeginOperation {
        /// What.
        kind: OperationKind,
        /// To what: a repository or a snapshot.
        subject: String,
    },
    /// Write down what came of it.
    EndOperation {
        /// Which.
        number: u64,
        /// What came of it, in a sentence: it went well, or why it did not.
        result: Result<String, String>,
    },
}

/// What is about to be done away from the engine, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What: `expire`, `adopt` or `backup`.
    pub what: &'static str,
    /// To what: a snapshot's name, or `journal`.
    pub subject: String,
    /// In a sentence.
    pub detail: String,
    /// What is there before it, in a few words.
    pub before: Option<Box<str>>,
    /// What is there after it.
    pub after: Option<Box<str>>,
    /// Whether it was done.
    pub is_over: bool,
    /// The uid of the policy that has one snapshot less by it.
    pub gone_of: Option<String>,
}

/// A token that somebody is to have. The engine learns its hash, never the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOrder {
    /// The part of it by which it is looked up.
    pub id: Box<str>,
    /// What people call it.
    pub name: Box<str>,
    /// What its bearer may do.
    pub role: Role,
    /// SHA-256 of the whole token.
    pub hash: [u8; 32],
    /// When it ends; `None` when it is removed.
    pub expires_at: Option<Timestamp>,
}

/// What was done.
#[derive(Debug)]
pub enum Done {
    /// It is so, and was written down.
    Acknowledged,
    /// A run has begun, or had begun before for the same key.
    Run {
        /// Its identity.
        run_id: Box<str>,
        /// The name of what it makes, for creation.
        snapshot: Option<Box<str>>,
    },
    /// A change to a policy's file may begin, or nothing has to change.
    Proposed(Proposed),
    /// What is known of a key, if anything is.
    Recalled(Option<Box<Recalled>>),
    /// What was asked under this key is being done.
    Busy,
    /// What is needed to look.
    Survey(Box<Survey>),
    /// What is needed to judge a policy that is not in force.
    Bearings(Box<Bearings>),
    /// What is needed to look after repositories, by name.
    Sites(Vec<Site>),
    /// What is needed to judge what people want of single snapshots.
    Books(Box<Books>),
    /// It is held; so it is in the journal.
    Held(Box<HoldRecord>),
    /// Its bearer is let in; so it is in the journal.
    Token(Box<TokenRecord>),
    /// A message may be sent to a channel, to try it.
    Trial(Box<Trial>),
    /// An operation may begin, or is over; so it is in the journal.
    Operation(Box<OperationRecord>),
}

/// A change to a policy's file that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The policy's name.
    pub policy: String,
    /// The folder of policies that callers make. Those of other folders are not theirs to change.
    pub folder: PathBuf,
    /// What is to be written; `None` where the file is to go.
    pub draft: Option<Draft>,
    /// What has to be there.
    pub expect: Expect,
    /// Whether the draft says what the text in force says.
    pub is_same: bool,
}

/// A policy as somebody wants it to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The file's text.
    pub text: String,
    /// Whether it is to be enabled, where they say so. Otherwise it stays as it is.
    pub enabled: Option<bool>,
}

/// What has to be there for a change to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No policy of this name.
    Nothing,
    /// One, in whatever version.
    Something,
    /// One, in this version.
    Version {
        /// Which of all writes was the latest to it.
        seq_no: u64,
        /// Of which count of writes.
        primary_term: u64,
    },
}

/// A change to a policy's file may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The identity of the policy that is there.
    pub uid: Option<Arc<str>>,
    /// Under which key it was written down; `None` where nothing has to change.
    pub request: Option<Box<str>>,
}

/// What came of a change to a policy's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concluded {
    /// The policy's name.
    pub policy: String,
    /// Under which key it was written down.
    pub request: Box<str>,
    /// Whether it is to be enabled, where the caller said so.
    pub enabled: Option<bool>,
    /// Whether it was done, and why not.
    pub result: Result<(), String>,
}

/// Returns the digest of a policy's text, as it stands in records.
pub fn digest(text: &str) -> String {
    roster::digest(text)
}

/// What is needed to look after a repository, away from the engine.
#[derive(Clone, Debug)]
pub struct Site {
    /// The repository in force.
    pub repository: Arc<Repository>,
    /// The longest time limit of any run there, under way ones included, with some room.
    pub keep: Duration,
    /// Whether a creation, a deletion or a change of single snapshots is at work there.
    pub at_work: bool,
    /// Why nothing may be removed at present.
    pub forbidden: Option<String>,
}

/// What is needed to judge what people want of single snapshots.
#[derive(Clone, Debug)]
pub struct Books {
    /// Whose is what.
    pub estate: Estate,
    /// The repositories, by name.
    pub sites: Vec<Site>,
    /// What is held in each.
    pub holds: BTreeMap<Arc<str>, Arc<Holds>>,
}

/// What is needed to try a channel, away from the engine.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The channel in force.
    pub channel: Arc<Channel>,
    /// This installation.
    pub installation: Box<str>,
    /// Who tries it.
    pub who: Box<str>,
    /// When.
    pub at: Timestamp,
}

/// What is needed to look at a policy's repository, away from the engine.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The policy in force.
    pub entry: Arc<Entry>,
    /// Whose snapshots are whose.
    pub owner: Owner,
    /// What a plan rests on; `None` where the policy deletes nothing.
    pub grounds: Option<Box<Grounds>>,
    /// What people want kept there.
    pub holds: Arc<Holds>,
    /// The instant to judge by.
    pub now: Timestamp,
}

/// What is needed to judge a policy that is not in force, away from the engine.
#[derive(Clone, Debug)]
pub struct Bearings {
    /// What is in force.
    pub roster: Arc<Roster>,
    /// This installation.
    pub installation: Box<str>,
    /// What the clock is worth.
    pub clock: Sight,
    /// What `min_age` is locked to, by uid.
    pub age_locks: Arc<AgeLocks>,
    /// What is held in each repository.
    pub holds: BTreeMap<Arc<str>, Arc<Holds>>,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such policy.
    #[error("there is no policy `{0}`")]
    Unknown(String),
    /// There is no such repository.
    #[error("there is no repository `{0}`")]
    UnknownRepository(String),
    /// There is no such channel.
    #[error("there is no channel `{0}`")]
    UnknownChannel(String),
    /// There is no such token.
    #[error("there is no token `{0}`")]
    UnknownToken(String),
    /// There is no such plan, or none that waits for an answer.
    #[error("plan {plan} waits for no answer: {why}")]
    NoPlan {
        /// Its number.
        plan: u64,
        /// Why.
        why: String,
    },
    /// There is no such notice, or none that can be sent.
    #[error("notice {notice} is not sent again: {why}")]
    NoNotice {
        /// Its number.
        notice: u64,
        /// Why.
        why: String,
    },
    /// The policy has no such workflow.
    #[error("policy `{policy}` has no {kind}")]
    NoWorkflow {
        /// The policy.
        policy: String,
        /// The workflow it does not have.
        kind: &'static str,
    },
    /// There is such a policy already.
    #[error("there is a policy `{0}` already")]
    Exists(String),
    /// What is there is not what the caller took it for.
    #[error("{0}")]
    Conflict(String),
    /// The policy's file is not one that callers may change.
    #[error("policy `{policy}` is written in {}, which is not the API's to change", file.display())]
    Elsewhere {
        /// The policy.
        policy: String,
        /// Its file.
        file: PathBuf,
    },
    /// It is running already.
    #[error("{kind} of `{policy}` is running already")]
    Running {
        /// The policy.
        policy: String,
        /// The workflow.
        kind: &'static str,
    },
    /// Others are at work there; asked again later it may be.
    #[error("{0}")]
    Busy(String),
    /// It must not be.
    #[error("{0}")]
    NotAllowed(String),
    /// The daemon is about to end, or in safe mode.
    #[error("{0}")]
    Unavailable(String),
}

/// Identifies a job of this process. Never used twice; an answer to a job that was given up is
/// known by its number and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub NonZeroU64);

/// What the engine wants done outside, after the intention is in the journal.
#[derive(Debug)]
pub enum Job {
    /// Ask a driver.
    Ask(Box<Ask>),
    /// Send a notice.
    Deliver(Box<Errand>),
    /// Tell a channel that the daemon is alive. Nobody waits for what comes of it: a later one says more.
    Beat {
        /// Whom.
        channel: Arc<Channel>,
        /// When.
        sent_at: Timestamp,
    },
}

/// A notice to be sent.
#[derive(Debug)]
pub struct Errand {
    /// The notice.
    pub record: NoticeRecord,
    /// To whom; `None` when there is no such channel any more.
    pub channel: Option<Arc<Channel>>,
    /// Which daemon sends it.
    pub installation: Box<str>,
    /// Which try it is; the first is 1.
    pub attempt: u32,
    /// When it is sent.
    pub sent_at: Timestamp,
}

/// A question or an order to a driver.
#[derive(Debug)]
pub struct Ask {
    /// Under which number the answer comes back.
    pub id: JobId,
    /// Who is asked.
    pub driver: Arc<dyn Driver>,
    /// What.
    pub request: Request,
    /// The stamp and the driver's part of the policy, for `create`.
    pub order: Option<Order>,
    /// Whose snapshots are ours.
    pub owner: Owner,
    /// How long it may take.
    pub time_max: Duration,
}

/// What a turn wants done outside.
#[derive(Debug, Default)]
pub struct Errands {
    /// To be begun.
    pub begin: Vec<Job>,
    /// To be ended: nobody waits for them any more.
    pub abandon: Vec<JobId>,
}
