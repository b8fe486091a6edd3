//! What creation and deletion share: waiting for a trigger, asking, trying again, the time limit,
//! settling.
//!
//! ```text
//!            trigger            answers                      settled
//!  Waiting ──────────▶ Active ──────────▶ Active … ─────────────────────▶ Waiting
//!                                │ time limit, while something may still be at work
//!                                └──────────▶ Watching ── it is over ──▶ Waiting
//! ```
//!
//! A state says what to ask next ([`Run::request`]) and when ([`Run::wait`]); it never asks. A state
//! that was loaded and a state that was lived are the same thing: an answer that will never come,
//! because a process ended, is [`Answer::Lost`] in both.

use std::sync::Arc;

use super::plan::{Plan, Target};
use super::policy::Revision;
use super::retry;
use super::snapshot::{Listing, Presence, SnapshotName};
use super::time::{Moment, Span, Timestamp, Wait};

/// Which workflow of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Makes snapshots.
    Creation,
    /// Deletes old ones.
    Deletion,
}

impl Kind {
    /// Both, creation first: it goes first when both are due.
    pub const ALL: [Kind; 2] = [Kind::Creation, Kind::Deletion];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Creation => "creation",
            Kind::Deletion => "deletion",
        }
    }
}

/// Why a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The schedule said so.
    Schedule,
    /// The schedule had said so while nobody was there (S1).
    CatchUp,
    /// A person asked.
    Manual,
}

impl Cause {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Schedule => "schedule",
            Cause::CatchUp => "catch_up",
            Cause::Manual => "manual",
        }
    }
}

/// What starts a run. With the policy's uid and the workflow it is unique in the journal (P2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The instant it stands for.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// Returns the identity of the run that a trigger starts: the same trigger is the same run.
pub fn run_id(policy_uid: &str, kind: Kind, trigger_at: Timestamp) -> String {
    format!("{policy_uid}-{}-{}", kind.word(), trigger_at.millis())
}

/// One workflow of one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow<S> {
    /// The high-water mark: triggers at or before it are consumed or do not count (S12, S19, S29).
    pub mark: Timestamp,
    /// What it is in.
    pub phase: Phase<S>,
}

/// What a workflow is in. Most of thousands are waiting, and take no room for a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase<S> {
    /// For the next trigger.
    Waiting,
    /// A run is under way.
    Active(Box<Run<S>>),
    /// The run has settled, but what it began may not be over. Nothing new starts meanwhile (S26).
    Watching(Box<Watch>),
}

/// A run under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Run<S> {
    /// Its identity in the journal.
    pub id: Arc<str>,
    /// What started it.
    pub trigger: Trigger,
    /// When it began; the time limit counts from here.
    pub began: Moment,
    /// The version of the policy it began with (S18).
    pub revision: Revision,
    /// Where it stands.
    pub step: S,
    /// How often the outside was asked to do its work since the last progress, this time included.
    pub attempts: u32,
    /// Refusals and lost answers since the last progress; the waits grow with it.
    pub failures: u32,
    /// Why the last answer was a refusal; a good answer clears it.
    pub trouble: Option<Trouble>,
    /// When to ask next.
    pub wait: Wait,
}

/// Why a run waits although it could go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whether the repository was merely busy: no attempt is spent on that.
    pub busy: bool,
    /// What was said.
    pub cause: String,
}

/// A snapshot that may still be at work after its run has settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Which name.
    pub name: SnapshotName,
    /// The version of the policy that knows where to ask.
    pub revision: Revision,
    /// When the watch began.
    pub began: Moment,
    /// Whether it is still to be asked to stop.
    pub cancel: bool,
    /// How often it was asked.
    pub asked: u32,
    /// When to ask next.
    pub wait: Wait,
}

/// What is asked of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What became of this name?
    Describe(SnapshotName),
    /// Make it, or accept that it is there.
    Create(SnapshotName),
    /// Stop making it, or stop deleting it.
    Cancel(SnapshotName),
    /// Which snapshots are there?
    List,
    /// Delete this one.
    Delete(Target),
}

impl Request {
    /// Whether it changes the repository; a question does not.
    pub fn is_effect(&self) -> bool {
        match self {
            Request::Describe(_) | Request::List => false,
            Request::Create(_) | Request::Cancel(_) | Request::Delete(_) => true,
        }
    }
}

/// What comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Whoever was asked will never answer: a process ended, ours or theirs.
    Lost,
    /// The name stands like this; also the last word of a `create` that waits for the end.
    Described(Presence),
    /// It is being made and goes on without us.
    Accepted,
    /// It was asked to stop.
    Cancelled,
    /// These snapshots are there.
    Listed(Listing),
    /// It is gone.
    Deleted,
    /// No, and who has to move.
    Refused(Fault),
    /// The run's time limit has passed.
    TimeUp,
    /// The policy was removed, stopped, or moved to another repository: stop where it is safe.
    Withdrawn(String),
}

impl Answer {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Answer::Lost => "lost",
            Answer::Described(_) => "described",
            Answer::Accepted => "accepted",
            Answer::Cancelled => "cancelled",
            Answer::Listed(_) => "listed",
            Answer::Deleted => "deleted",
            Answer::Refused(_) => "refused",
            Answer::TimeUp => "time_up",
            Answer::Withdrawn(_) => "withdrawn",
        }
    }
}

/// Why something was refused, by who has to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who has to move.
    pub kind: FaultKind,
    /// What was said.
    pub message: String,
    /// How long the outside asked us to wait, in milliseconds.
    pub retry_after_ms: Option<i64>,
}

/// Who has to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nobody: wait.
    Busy,
    /// We: ask again.
    Transient,
    /// A person.
    Permanent,
    /// What was said is not whole: believe nothing of it, ask again.
    Incomplete,
}

impl FaultKind {
    /// Returns the word for it, as the driver protocol has it.
    pub fn word(self) -> &'static str {
        match self {
            FaultKind::Busy => "busy",
            FaultKind::Transient => "transient",
            FaultKind::Permanent => "permanent",
            FaultKind::Incomplete => "incomplete",
        }
    }
}

impl Fault {
    fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, message: message.into(), retry_after_ms: None }
    }

    /// Wait.
    pub fn busy(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Busy, message)
    }

    /// Ask again.
    pub fn transient(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Transient, message)
    }

    /// A person has to move.
    pub fn permanent(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Permanent, message)
    }

    /// Believe nothing of it.
    pub fn incomplete(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Incomplete, message)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
    /// Its time limit passed.
    TimeLimitExceeded,
    /// A guard stopped its plan; a person has to look.
    Held,
    /// Its policy was removed, stopped or moved.
    Cancelled,
}

impl Outcome {
    /// All there are.
    pub const ALL: [Outcome; 5] =
        [Outcome::Succeeded, Outcome::Failed, Outcome::TimeLimitExceeded, Outcome::Held, Outcome::Cancelled];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::TimeLimitExceeded => "time_limit_exceeded",
            Outcome::Held => "held",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// How a run ended, in words. It is what history keeps, explain shows and notices say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// What happened, for a person.
    pub message: String,
    /// Why, in the words of whoever caused it. It survives the last attempt.
    pub cause: Option<String>,
}

impl Ending {
    /// An ending with no cause of its own.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Ending {
        Ending { outcome, message: message.into(), cause: None }
    }

    /// The same, with the words of whoever caused it.
    pub fn because(self, cause: impl Into<String>) -> Ending {
        Ending { cause: Some(cause.into()), ..self }
    }
}

/// Something that is true from this turn on and belongs into the journal beside the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A deletion run has judged every snapshot (D2).
    Planned(Plan),
    /// A condemned snapshot was found worth keeping when it was judged again (D3).
    Spared {
        /// Which.
        target: Target,
        /// Why, in the verdict's words.
        reason: String,
    },
    /// A snapshot is gone by our doing (D5).
    Deleted(Target),
}

/// What an answer makes of a run: the next phase, and what became true.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<S> {
    /// What the workflow is in now.
    pub phase: Phase<S>,
    /// How the run ended, if it did.
    pub settled: Option<Ending>,
    /// How often the outside was asked, where the answer that settled it counts and was not counted before.
    pub attempts: Option<u32>,
    /// What became true, in order.
    pub facts: Vec<Fact>,
    /// Whether anything but the next wake-up changed; a mere poll is not committed.
    pub changed: bool,
    /// Whether the work in flight is to be ended, because the run no longer waits for it.
    pub abandon: bool,
}

/// An answer to a question that was not asked: a bug in the caller, never an operator's doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("answer {answer} does not belong to step {step}")]
pub struct OutOfTurn {
    /// What came.
    pub answer: String,
    /// Where the run stood.
    pub step: String,
}

/// What a workflow is made of: its steps, what each asks, and what an answer makes of it.
pub trait Step: Sized + Clone + std::fmt::Debug + PartialEq {
    /// What the policy says, as far as the steps need it.
    type Terms;

    /// Returns what to ask in this step. It depends on the step alone.
    fn request(&self) -> Request;

    /// Returns what `answer` makes of this step, `None` when it does not belong here. Refusals, lost
    /// answers and time limits do not come here: all workflows treat them alike.
    fn next(self, terms: &Self::Terms, answer: Answer, now: Timestamp) -> Option<Next<Self>>;

    /// Returns the step that finds out what became of this one, after an answer was lost or refused.
    fn doubt(self) -> Self;

    /// Returns the name to watch when the run is given up in this step, `None` when nothing can
    /// still be at work.
    fn watched(&self) -> Option<SnapshotName>;

    /// Whether the repository is at work in this step without being asked, so that nobody else
    /// should begin there while the run waits to look again.
    fn is_at_work(&self) -> bool;

    /// Whether asking from this step spends an attempt: it does the work, it does not merely look (C2, C3).
    fn spends_attempt(&self) -> bool;

    /// Whether a refusal in this step counts against the attempts; looking does not in creation (C2).
    fn refusal_counts(&self) -> bool;

    /// Returns the ending of a run that is withdrawn in this step, `None` while it must go on.
    fn withdraw(&self, why: &str) -> Option<Ending>;

    /// Returns how many snapshots the run has deleted before this step.
    fn deleted(&self) -> u32;

    /// Returns the sense of this step for messages: "create snapshot db-…".
    fn aim(&self) -> String;

    /// Returns OpenSearch's word for the step.
    fn label(&self) -> &'static str;
}

/// What an answer makes of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<S> {
    /// On to this step, at once.
    Go(S, Vec<Fact>),
    /// On to this step, and the work has got somewhere: attempts and waits count anew.
    Progress(S, Vec<Fact>),
    /// The same step again, a little later.
    Poll(S),
    /// As a refusal: wait and try from this step.
    Retry(S, Fault),
    /// The run is over.
    End(Ending, Vec<Fact>),
}

/// How hard to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The run's limit.
    pub time_limit: Span,
    /// Attempts after the first.
    pub retry_count: u32,
}

/// How often a snapshot that makes itself is looked at. Often enough for people who watch, rare
/// enough for a cluster with a thousand policies.
pub const POLL_MS: i64 = 10_000;

impl<S: Step> Run<S> {
    /// Returns a run that has just begun with `step`.
    pub fn begin(id: impl Into<Arc<str>>, trigger: Trigger, revision: Revision, step: S, now: Moment) -> Run<S> {
        let attempts = u32::from(step.spends_attempt());
        let wait = Wait::none(now);
        Run { id: id.into(), trigger, began: now, revision, step, attempts, failures: 0, trouble: None, wait }
    }

    /// Returns what to ask, once the wait is over.
    pub fn request(&self) -> Request {
        self.step.request()
    }

    /// Returns the wait for the time limit.
    pub fn limit(&self, effort: &Effort) -> Wait {
        Wait { from: self.began, span_ms: effort.time_limit.millis() }
    }

    /// Returns how many attempts are left, as OpenSearch's `retry.count` tells it.
    pub fn attempts_left(&self, effort: &Effort) -> u32 {
        effort.retry_count.saturating_add(1).saturating_sub(self.attempts)
    }

    /// Returns what `answer` makes of the run.
    pub fn advance(self, terms: &S::Terms, effort: &Effort, answer: Answer, now: Moment) -> Result<Turn<S>, OutOfTurn> {
        match answer {
            Answer::TimeUp => Ok(self.give_up(effort, now)),
            Answer::Lost => {
                let doubt = self.step.clone().doubt();
                let changed = doubt != self.step;
                // Once may be our own restart. What is lost again is not asked in a hurry; but a few
                // restarts in a row must not keep a run waiting as a repository that fails does.
                let span_ms = if self.failures == 0 { 0 } else { retry::delay_ms(&self.id, 1, None) };
                let failures = self.failures.saturating_add(1);
                Ok(stay(Run { step: doubt, failures, wait: Wait { from: now, span_ms }, ..self }, changed))
            }
            Answer::Withdrawn(why) => Ok(match self.step.withdraw(&why) {
                // A question may be in flight; nobody waits for its answer.
                Some(ending) => Turn { abandon: true, ..settle(ending, Vec::new()) },
                None => stay(self, false),
            }),
            Answer::Refused(fault) => {
                let doubt = self.step.clone().doubt();
                let spent = self.step.spends_attempt();
                Ok(self.refused(doubt, spent, effort, fault, now))
            }
            answer @ (Answer::Described(_)
            | Answer::Accepted
            | Answer::Cancelled
            | Answer::Listed(_)
            | Answer::Deleted) => {
                let word = answer.word();
                let next = self.step.clone().next(terms, answer, now.wall);
                let next =
                    next.ok_or_else(|| OutOfTurn { answer: word.to_string(), step: format!("{:?}", self.step) })?;
                Ok(match next {
                    Next::Go(step, facts) => self.go(step, facts, effort, now),
                    Next::Progress(step, facts) => {
                        Run { attempts: 0, failures: 0, ..self }.go(step, facts, effort, now)
                    }
                    Next::Poll(step) => {
                        let changed = step != self.step || self.trouble.is_some();
                        let wait = Wait { from: now, span_ms: POLL_MS };
                        stay(Run { step, failures: 0, trouble: None, wait, ..self }, changed)
                    }
                    // What came of the attempt was not what it was for; it was counted when it was made.
                    Next::Retry(step, fault) => self.refused(step, true, effort, fault, now),
                    Next::End(ending, facts) => settle(ending, facts),
                })
            }
        }
    }

    fn go(self, step: S, facts: Vec<Fact>, effort: &Effort, now: Moment) -> Turn<S> {
        let attempts = self.attempts + u32::from(step.spends_attempt());
        if attempts > effort.retry_count.saturating_add(1) {
            // Every attempt was begun and none was answered: whatever ends us or the driver each
            // time is most likely this very work.
            let ending = Ending::new(Outcome::Failed, format!("failed to {}", step.aim()));
            let ending = ending.because(format!("asked {} times without an answer", self.attempts));
            // One that was not heard of again may be at work all the same.
            let phase = match step.watched() {
                None => Phase::Waiting,
                Some(name) => Phase::Watching(Box::new(Watch::over(name, self.revision, false, now))),
            };
            return Turn { phase, ..settle(ending, facts) };
        }
        let run = Run { step, attempts, trouble: None, wait: Wait::none(now), ..self };
        Turn { facts, ..stay(run, true) }
    }

    /// A refusal in the present step; `from` is the step to go on from, and `spent` says that the
    /// attempt it belongs to is counted.
    fn refused(self, from: S, spent: bool, effort: &Effort, fault: Fault, now: Moment) -> Turn<S> {
        let busy = match fault.kind {
            FaultKind::Permanent => {
                let ending = Ending::new(Outcome::Failed, format!("failed to {}", self.step.aim()));
                return settle(ending.because(fault.message), Vec::new());
            }
            FaultKind::Busy => true,
            FaultKind::Transient | FaultKind::Incomplete => false,
        };
        let counts = spent || self.step.refusal_counts();
        let attempts = match (spent, busy) {
            // Counted before it was asked; an attempt that met a busy repository was none.
            (true, true) => self.attempts.saturating_sub(1),
            (true, false) => self.attempts,
            (false, busy) => self.attempts.saturating_add(u32::from(!busy && counts)),
        };
        if !busy && counts && attempts > effort.retry_count {
            let ending = Ending::new(Outcome::Failed, format!("failed to {}", self.step.aim()));
            let phase = match self.step.watched().filter(|_| self.step.spends_attempt()) {
                None => Phase::Waiting,
                // The last refusal may have come after the work was begun, as when a connection breaks.
                Some(name) => Phase::Watching(Box::new(Watch::over(name, self.revision, false, now))),
            };
            let attempts = Some(attempts);
            return Turn { phase, attempts, ..settle(ending.because(fault.message), Vec::new()) };
        }
        let failures = self.failures.saturating_add(1);
        let span_ms = retry::delay_ms(&self.id, failures, fault.retry_after_ms);
        let trouble = Some(Trouble { busy, cause: fault.message });
        stay(Run { step: from, attempts, failures, trouble, wait: Wait { from: now, span_ms }, ..self }, true)
    }

    fn give_up(self, effort: &Effort, now: Moment) -> Turn<S> {
        let message = format!("time limit of {} passed while trying to {}", effort.time_limit, self.step.aim());
        let mut ending = Ending::new(Outcome::TimeLimitExceeded, message);
        ending.cause = self.trouble.map(|trouble| trouble.cause);
        let phase = match self.step.watched() {
            None => Phase::Waiting,
            Some(name) => Phase::Watching(Box::new(Watch::over(name, self.revision, true, now))),
        };
        Turn { phase, settled: Some(ending), attempts: None, facts: Vec::new(), changed: true, abandon: true }
    }
}

fn stay<S>(run: Run<S>, changed: bool) -> Turn<S> {
    let phase = Phase::Active(Box::new(run));
    Turn { phase, settled: None, attempts: None, facts: Vec::new(), changed, abandon: false }
}

fn settle<S>(ending: Ending, facts: Vec<Fact>) -> Turn<S> {
    Turn { phase: Phase::Waiting, settled: Some(ending), attempts: None, facts, changed: true, abandon: false }
}

impl Watch {
    fn over(name: SnapshotName, revision: Revision, cancel: bool, now: Moment) -> Watch {
        Watch { name, revision, began: now, cancel, asked: 0, wait: Wait::none(now) }
    }

    /// Returns what to ask, once the wait is over.
    pub fn request(&self) -> Request {
        if self.cancel { Request::Cancel(self.name.clone()) } else { Request::Describe(self.name.clone()) }
    }

    /// Returns the watch after `answer`, `None` when what it watched is over.
    pub fn advance(self, answer: &Answer, now: Moment) -> Option<Watch> {
        let over = match answer {
            Answer::Described(presence) => match presence {
                Presence::Running => false,
                Presence::Absent
                | Presence::Good { .. }
                | Presence::Partial { .. }
                | Presence::Failed { .. }
                | Presence::Foreign => true,
            },
            Answer::Cancelled
            | Answer::Lost
            | Answer::Refused(_)
            | Answer::Accepted
            | Answer::Listed(_)
            | Answer::Deleted
            | Answer::TimeUp
            | Answer::Withdrawn(_) => false,
        };
        if over {
            return None;
        }
        let asked = self.asked.saturating_add(1);
        // Asked to stop once; whether it listened or not, from here on we only look.
        let span_ms = if self.cancel { 0 } else { retry::delay_ms(self.name.as_str(), asked, None) };
        Some(Watch { cancel: false, asked, wait: Wait { from: now, span_ms }, ..self })
    }
}
