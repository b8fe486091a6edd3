//! What a person wants to know about a policy: what it is doing, why, and what comes next.
//!
//! The states have said it already; this puts it into words.

use std::sync::Arc;

use crate::drivers::Progress;
use crate::journal::change::Skip;
use crate::lifecycle::age_lock::AgeLocks;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::plan::{Approval, Former};
use crate::lifecycle::policy::{Pace, Switch};
use crate::lifecycle::time::{Moment, Timestamp, format_millis};
use crate::lifecycle::workflow::{Kind, Outcome, Phase};

use crate::roster::Problem;

use super::age_locks;
use super::guarding::APPROVAL_MAX_MS;
use super::latest::Latest;
use super::tracked::{Flow, Tracked, TurnAt, Work};

/// How many coming triggers are told.
const NEXT_TRIGGERS: usize = 3;

/// A policy, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity.
    pub uid: Arc<str>,
    /// Whether its triggers run.
    pub enabled: bool,
    /// Whether it was stopped by command.
    pub paused: bool,
    /// Whether its file is gone and only a run is followed to its end.
    pub retired: bool,
    /// Whether its file has problems and the last good version is in force.
    pub stale: bool,
    /// The version in force.
    pub revision: Option<Arc<str>>,
    /// What people say it is for.
    pub description: Option<Arc<str>>,
    /// Where its snapshots are kept.
    pub repository: Option<Arc<str>>,
    /// Its creation workflow.
    pub creation: Option<ExplainedWorkflow>,
    /// Its deletion workflow.
    pub deletion: Option<ExplainedWorkflow>,
    /// The newest snapshot that a run of ours made well.
    pub last_good: Option<LastGood>,
    /// What is wrong with its file.
    pub problems: Vec<Problem>,
}

/// The newest snapshot that a run of ours made well.
#[derive(Clone, Debug, PartialEq)]
pub struct LastGood {
    /// Its name.
    pub snapshot: Box<str>,
    /// When it was whole.
    pub at: Timestamp,
    /// How long ago that is, in milliseconds.
    pub age_ms: i64,
}

/// A workflow, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedWorkflow {
    /// OpenSearch's word for where it is.
    pub current_state: &'static str,
    /// The schedule in words.
    pub schedule: Option<String>,
    /// The next trigger, or the one that is due.
    pub trigger_at: Option<Timestamp>,
    /// The next few triggers.
    pub next_triggers: Vec<Timestamp>,
    /// The snapshots it is making or may delete.
    pub started: Vec<Box<str>>,
    /// Attempts left, while it is trying again.
    pub retry_count: Option<u32>,
    /// The latest run.
    pub latest: Option<LatestExecution>,
    /// What it waits for, in words.
    pub waits_for: Option<String>,
    /// How far the work says it is.
    pub progress: Option<Progress>,
    /// Triggers consumed without a run since the latest run began.
    pub skipped: Vec<Skip>,
    /// Why the latest plan was held, if it was.
    pub held: Option<String>,
    /// What the guards of deletion do at present, a sentence each.
    pub guards: Vec<String>,
}

/// The latest run of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestExecution {
    /// The run's identity.
    pub run_id: Box<str>,
    /// OpenSearch's word for how it stands.
    pub status: &'static str,
    /// Why it began.
    pub cause: &'static str,
    /// The trigger's instant.
    pub trigger_at: Timestamp,
    /// When it began.
    pub start_at: Timestamp,
    /// When it settled.
    pub end_at: Option<Timestamp>,
    /// What happened, or is happening.
    pub message: Option<String>,
    /// Why.
    pub blame: Option<String>,
    /// How often the outside was asked.
    pub attempts: u32,
}

/// Explains a policy at `now`. `problems` are those of all files, `locks` those of all policies.
pub fn explain(tracked: &Tracked, locks: &AgeLocks, problems: &[Problem], now: Moment) -> Explained {
    let entry = tracked.entry.as_ref();
    let own = |problem: &&Problem| entry.is_some_and(|entry| entry.is_of(&problem.file));
    Explained {
        name: tracked.name.clone(),
        uid: tracked.uid.clone(),
        enabled: tracked.is_enabled(),
        paused: tracked.switch == Switch::Stopped,
        retired: entry.is_none(),
        stale: entry.is_some_and(|entry| entry.stale),
        revision: entry.map(|entry| entry.policy.revision.0.clone()),
        description: entry.and_then(|entry| entry.policy.description.clone()),
        repository: entry.map(|entry| entry.repository.name.clone()),
        creation: workflow::<crate::lifecycle::creation::Creation>(tracked, locks, now),
        deletion: workflow::<Deletion>(tracked, locks, now),
        last_good: tracked.last_good.as_deref().and_then(|run| last_good(run, now)),
        problems: problems.iter().filter(own).cloned().collect(),
    }
}

fn last_good(run: &Latest, now: Moment) -> Option<LastGood> {
    let at = run.ended_at?;
    Some(LastGood { snapshot: run.snapshot()?.into(), at, age_ms: now.wall.since(at) })
}

fn workflow<W: Work + Started>(tracked: &Tracked, locks: &AgeLocks, now: Moment) -> Option<ExplainedWorkflow> {
    let flow = W::flow(tracked);
    let pace = tracked.entry.as_ref().and_then(|entry| W::pace(entry));
    if pace.is_none() && flow.is_waiting() {
        return None;
    }
    let (current_state, started) = match &flow.workflow.phase {
        Phase::Waiting => (start_word(W::KIND), Vec::new()),
        Phase::Active(run) => (run.step.label(), run.step.started()),
        Phase::Watching(watch) => (start_word(W::KIND), vec![watch.name.as_str().into()]),
    };
    let retry_count = match &flow.workflow.phase {
        Phase::Active(run) if run.trouble.as_ref().is_some_and(|trouble| !trouble.busy) => {
            W::effort(tracked).map(|effort| run.attempts_left(&effort))
        }
        Phase::Active(_) | Phase::Waiting | Phase::Watching(_) => None,
    };
    let latest = flow.latest.as_deref().map(|run| latest::<W>(tracked, run));
    let held = flow.latest.as_deref().filter(|run| run.outcome == Some(Outcome::Held)).and_then(|run| run.message());
    Some(ExplainedWorkflow {
        current_state,
        schedule: pace.map(|pace| pace.schedule.to_string()),
        trigger_at: flow.due_at,
        next_triggers: pace.filter(|_| tracked.is_enabled()).map_or_else(Vec::new, |pace| next_triggers(pace, flow)),
        started,
        retry_count,
        latest,
        waits_for: waits_for::<W>(tracked, now),
        progress: flow.progress.as_deref().cloned(),
        skipped: tracked.skips.iter().filter(|skip| skip.kind == W::KIND).cloned().collect(),
        held,
        guards: if W::KIND == Kind::Deletion { guards(tracked, locks, now) } else { Vec::new() },
    })
}

/// What the guards of deletion do at present.
fn guards(tracked: &Tracked, locks: &AgeLocks, now: Moment) -> Vec<String> {
    let rule = tracked.deletion_rule();
    let locked = rule.and_then(|rule| age_locks::explained(locks, &tracked.uid, rule, now.wall));
    let Some(guarded) = tracked.guarded.as_deref() else { return locked.into_iter().collect() };
    let held = guarded.held.as_ref().map(|held| {
        let number = held.number;
        if now.since(&held.made) > APPROVAL_MAX_MS {
            return format!("plan {number} was not answered within 24h; the next run makes another");
        }
        let until = held.made.wall.plus(APPROVAL_MAX_MS);
        format!("plan {number} waits until {until}: `snapkeep deletions show {number}`, then approve or refuse it")
    });
    let former = guarded.former.as_ref().zip(tracked.deletion_rule()).map(|((former, _), rule)| {
        let was = match former {
            Former::Nothing => "nothing was deleted".to_string(),
            Former::Condition(condition) => condition.to_string(),
        };
        format!(
            "the condition was edited, and its first plan is held if it goes much further: before: {was}; now: {}",
            rule.condition
        )
    });
    let approval = guarded.approval.as_ref().map(|approval| {
        let Approval { number, targets, .. } = &**approval;
        format!("plan {number} was approved: no more than its {} snapshots go", targets.len())
    });
    let spared = guarded.spared.as_ref().map(ToString::to_string);
    held.into_iter().chain(former).chain(approval).chain(spared).chain(locked).collect()
}

fn start_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Creation => "CREATION_START",
        Kind::Deletion => "DELETION_START",
    }
}

fn next_triggers<S>(pace: &Pace, flow: &Flow<S>) -> Vec<Timestamp> {
    let mut triggers = Vec::with_capacity(NEXT_TRIGGERS);
    let mut after = flow.workflow.mark;
    while triggers.len() < NEXT_TRIGGERS {
        let Some(next) = pace.schedule.next_after(after) else { break };
        triggers.push(next);
        after = next;
    }
    triggers
}

fn latest<W: Work>(tracked: &Tracked, run: &Latest) -> LatestExecution {
    let text = |text: Option<&str>| text.map(str::to_string);
    let (status, message, blame) = match (&W::flow(tracked).workflow.phase, run.outcome) {
        (_, Some(outcome)) => (status_word(outcome), run.message(), text(run.blame())),
        (Phase::Active(active), None) => match &active.trouble {
            Some(trouble) => ("RETRYING", Some(active.step.aim()), Some(trouble.cause.clone())),
            None => ("IN_PROGRESS", Some(active.step.aim()), None),
        },
        (Phase::Waiting | Phase::Watching(_), None) => ("IN_PROGRESS", None, None),
    };
    LatestExecution {
        run_id: run.run_id(&tracked.uid, W::KIND).into(),
        status,
        cause: run.cause.word(),
        trigger_at: run.trigger_at,
        start_at: run.began_at,
        end_at: run.ended_at,
        message,
        blame,
        attempts: run.attempts,
    }
}

/// Returns OpenSearch's word where it has one. It knows neither a held plan nor a run that was
/// called off: the first did not do what it was for, the second did what was asked of it last.
pub fn status_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded | Outcome::Cancelled => "SUCCESS",
        Outcome::Failed | Outcome::Held => "FAILED",
        Outcome::TimeLimitExceeded => "TIME_LIMIT_EXCEEDED",
    }
}

fn waits_for<W: Work>(tracked: &Tracked, now: Moment) -> Option<String> {
    let flow = W::flow(tracked);
    match &flow.workflow.phase {
        Phase::Waiting => {
            let blocked = W::KIND == Kind::Deletion && !tracked.creation.is_waiting();
            blocked.then(|| "creation of this policy to settle".to_string())
        }
        Phase::Active(run) => {
            if flow.turn == TurnAt::Queued {
                let repository = W::asked(tracked).map_or_else(|| "?".into(), |entry| entry.repository.name.clone());
                return Some(format!("its turn at repository {repository}"));
            }
            if flow.job.is_some() {
                return Some(format!("the driver to {}", run.step.aim()));
            }
            let left = run.wait.left(&now);
            if left > 0 {
                return Some(format!("{} before it asks to {}", format_millis(left - left % 1000), run.step.aim()));
            }
            Some(format!("others to be answered, for no more is asked at once, before it asks to {}", run.step.aim()))
        }
        Phase::Watching(watch) => Some(format!("what became of snapshot {} after its time limit", watch.name)),
    }
}

/// The snapshots a run has to do with.
pub trait Started {
    /// Returns their names.
    fn started(&self) -> Vec<Box<str>>;
}

impl Started for crate::lifecycle::creation::Creation {
    fn started(&self) -> Vec<Box<str>> {
        vec![self.name().as_str().into()]
    }
}

impl Started for Deletion {
    fn started(&self) -> Vec<Box<str>> {
        self.condemned().into_iter().map(|target| target.name.clone()).collect()
    }
}

/// The policies a set of problems belongs to none of: files that never were in force.
pub fn unattached<'a>(policies: &[Arc<Tracked>], problems: &'a [Problem]) -> Vec<&'a Problem> {
    let is_attached = |problem: &&Problem| {
        policies.iter().any(|tracked| tracked.entry.as_ref().is_some_and(|entry| entry.is_of(&problem.file)))
    };
    problems.iter().filter(|problem| !is_attached(problem)).collect()
}
