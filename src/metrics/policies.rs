//! What is told of every policy, and of each of its workflows.

use super::text::{Samples, Value};
use super::{Family, Of, PolicyScene, Scene, Sort};
use crate::engine::tracked::{Tracked, Work};
use crate::journal::change::SkipReason;
use crate::journal::{KeptTotals, LatestSettled, WorkflowTotals};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Kind, Outcome, Phase};

const POLICY: &[&str] = &["policy"];
const WORKFLOW: &[&str] = &["policy", "workflow"];

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    of: fn(&Scene, &PolicyScene, &mut Samples<'_>),
) -> Family {
    Family { name, sort: Sort::Gauge, labels, help, of: Of::Policy(of) }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    of: fn(&Scene, &PolicyScene, &mut Samples<'_>),
) -> Family {
    Family { name, sort: Sort::Counter, labels, help, of: Of::Policy(of) }
}

pub(super) const FAMILIES: &[Family] = &[
    gauge(
        "snapkeep_last_success_timestamp_seconds",
        WORKFLOW,
        "When a run last succeeded; for creation the time of the last good snapshot. None while none has.",
        last_success,
    ),
    gauge(
        "snapkeep_last_success_age_seconds",
        WORKFLOW,
        "How long ago a run last succeeded, as of this reading. None while none has.",
        last_success_age,
    ),
    gauge(
        "snapkeep_stale_after_seconds",
        POLICY,
        "Within how long there should be another good snapshot: creation.stale_after of the policy.",
        stale_after,
    ),
    gauge(
        "snapkeep_stale",
        POLICY,
        "Whether the last good snapshot is older than stale_after; where there is none, whether the policy is.",
        stale,
    ),
    gauge("snapkeep_policy_info", &["policy", "repository"], "Always 1; where a policy's snapshots are kept.", info),
    gauge("snapkeep_policy_enabled", POLICY, "Whether the triggers of the policy run.", enabled),
    gauge(
        "snapkeep_policy_since_timestamp_seconds",
        POLICY,
        "When the policy came, under this identity.",
        |_, policy, samples| samples.add(&[policy.name()], policy.tracked.adopted_at),
    ),
    counter("snapkeep_runs_total", &["policy", "workflow", "outcome"], "Runs that have settled, by outcome.", runs),
    gauge(
        "snapkeep_last_run_outcome",
        &["policy", "workflow", "outcome"],
        "1 for the outcome of the latest settled run and 0 for the others; all 0 before the first.",
        last_run_outcome,
    ),
    gauge(
        "snapkeep_last_run_start_timestamp_seconds",
        WORKFLOW,
        "When the latest settled run began.",
        |_, policy, samples| of_latest(policy, samples, |latest| latest.began_at.millis()),
    ),
    gauge(
        "snapkeep_last_run_end_timestamp_seconds",
        WORKFLOW,
        "When the latest settled run settled.",
        |_, policy, samples| of_latest(policy, samples, |latest| latest.ended_at.millis()),
    ),
    gauge(
        "snapkeep_last_run_duration_seconds",
        WORKFLOW,
        "How long the latest settled run took, its waits included.",
        |_, policy, samples| of_latest(policy, samples, |latest| latest.ended_at.since(latest.began_at)),
    ),
    gauge(
        "snapkeep_consecutive_failures",
        WORKFLOW,
        "Runs that failed or exceeded their time limit since the latest that succeeded.",
        |_, policy, samples| {
            policy.each_counted(|kind, totals| samples.add(&[policy.name(), kind.word()], totals.failures));
        },
    ),
    gauge("snapkeep_run_active", WORKFLOW, "Whether a run is under way.", active),
    gauge(
        "snapkeep_retries_left",
        WORKFLOW,
        "Retries that are left to the run under way; none while none is.",
        retries_left,
    ),
    gauge(
        "snapkeep_next_trigger_timestamp_seconds",
        WORKFLOW,
        "When the next trigger is due, or since when it is; none while none counts.",
        next_trigger,
    ),
    counter(
        "snapkeep_triggers_skipped_total",
        &["policy", "workflow", "reason"],
        "Triggers that were consumed without a run, by reason; missed is one of them.",
        skipped,
    ),
    gauge(
        "snapkeep_deletion_held",
        POLICY,
        "Whether a guard has stopped the latest plan, and nobody has answered yet.",
        held,
    ),
    gauge(
        "snapkeep_snapshots",
        POLICY,
        "Snapshots of the policy, as a deletion run last saw them.",
        |_, policy, samples| {
            if let Some(kept) = policy.kept() {
                samples.add(&[policy.name()], kept.count);
            }
        },
    ),
    gauge(
        "snapkeep_snapshots_size_bytes",
        POLICY,
        "What the snapshots of the policy hold, where the driver tells it of each.",
        |_, policy, samples| {
            if let Some(bytes) = policy.kept().and_then(|kept| kept.bytes) {
                samples.add(&[policy.name()], bytes);
            }
        },
    ),
    gauge(
        "snapkeep_snapshots_seen_timestamp_seconds",
        POLICY,
        "When a deletion run last saw the snapshots of the policy; none before the first.",
        |_, policy, samples| {
            if let Some(kept) = policy.kept() {
                samples.add(&[policy.name()], kept.at);
            }
        },
    ),
];

impl PolicyScene {
    fn name(&self) -> &str {
        &self.tracked.name
    }

    /// The workflows that the policy has, or still follows to an end.
    fn each(&self, mut tell: impl FnMut(Kind)) {
        let Tracked { creation, deletion, .. } = &*self.tracked;
        if self.tracked.creation_rule().is_some() || !creation.is_waiting() {
            tell(Kind::Creation);
        }
        if self.tracked.deletion_rule().is_some() || !deletion.is_waiting() {
            tell(Kind::Deletion);
        }
    }

    /// The same with what was counted of each, where the journal could be read.
    fn each_counted(&self, mut tell: impl FnMut(Kind, &WorkflowTotals)) {
        if let Some([creation, deletion]) = self.totals.as_deref() {
            self.each(|kind| match kind {
                Kind::Creation => tell(kind, creation),
                Kind::Deletion => tell(kind, deletion),
            });
        }
    }

    /// Once nothing is deleted any more nobody looks, and what was seen tells less every day.
    fn kept(&self) -> Option<KeptTotals> {
        let [_, deletion] = self.totals.as_deref()?;
        deletion.kept.filter(|_| self.tracked.deletion_rule().is_some())
    }

    fn succeeded_at(&self, kind: Kind) -> Option<Timestamp> {
        match kind {
            // Known without the journal too.
            Kind::Creation => self.tracked.last_good.as_ref().and_then(|run| run.ended_at),
            Kind::Deletion => self.totals.as_deref().and_then(|[_, deletion]| deletion.succeeded_at),
        }
    }
}

fn last_success(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each(|kind| {
        if let Some(at) = policy.succeeded_at(kind) {
            samples.add(&[policy.name(), kind.word()], at);
        }
    });
}

fn last_success_age(scene: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each(|kind| {
        if let Some(at) = policy.succeeded_at(kind) {
            samples.add(&[policy.name(), kind.word()], Value::Millis(scene.now.wall.since(at)));
        }
    });
}

fn stale_after(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    if let Some(rule) = policy.tracked.creation_rule() {
        samples.add(&[policy.name()], Value::Millis(rule.stale_after.millis()));
    }
}

fn stale(scene: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    if let Some(rule) = policy.tracked.creation_rule() {
        // Whose file was away for long is expected to make one from its return on.
        let came_at = policy.tracked.adopted_at;
        let good_at = policy.succeeded_at(Kind::Creation).map_or(came_at, |at| at.max(came_at));
        samples.add(&[policy.name()], scene.now.wall.since(good_at) > rule.stale_after.millis());
    }
}

fn info(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    if let Some(entry) = &policy.tracked.entry {
        samples.add(&[policy.name(), &entry.repository.name], true);
    }
}

fn enabled(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    samples.add(&[policy.name()], policy.tracked.is_enabled());
}

fn runs(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each_counted(|kind, totals| {
        for (outcome, count) in Outcome::ALL.into_iter().zip(totals.runs).filter(|(outcome, _)| is_of(*outcome, kind)) {
            samples.add(&[policy.name(), kind.word(), outcome.word()], count);
        }
    });
}

fn last_run_outcome(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each_counted(|kind, totals| {
        for outcome in Outcome::ALL.into_iter().filter(|outcome| is_of(*outcome, kind)) {
            let is_it = totals.latest.is_some_and(|latest| latest.outcome == outcome);
            samples.add(&[policy.name(), kind.word(), outcome.word()], is_it);
        }
    });
}

/// Guards hold deletions alone.
fn is_of(outcome: Outcome, kind: Kind) -> bool {
    outcome != Outcome::Held || kind == Kind::Deletion
}

fn of_latest(policy: &PolicyScene, samples: &mut Samples<'_>, millis: fn(&LatestSettled) -> i64) {
    policy.each_counted(|kind, totals| {
        if let Some(latest) = &totals.latest {
            samples.add(&[policy.name(), kind.word()], Value::Millis(millis(latest)));
        }
    });
}

fn skipped(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each_counted(|kind, totals| {
        for (reason, count) in SkipReason::ALL.into_iter().zip(totals.skipped) {
            samples.add(&[policy.name(), kind.word(), reason.word()], count);
        }
    });
}

fn active(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each(|kind| {
        let is_active = match kind {
            Kind::Creation => is_active::<Creation>(&policy.tracked),
            Kind::Deletion => is_active::<Deletion>(&policy.tracked),
        };
        samples.add(&[policy.name(), kind.word()], is_active);
    });
}

fn is_active<W: Work>(tracked: &Tracked) -> bool {
    match W::flow(tracked).workflow.phase {
        Phase::Active(_) => true,
        Phase::Waiting | Phase::Watching(_) => false,
    }
}

fn retries_left(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each(|kind| {
        let left = match kind {
            Kind::Creation => left::<Creation>(&policy.tracked),
            Kind::Deletion => left::<Deletion>(&policy.tracked),
        };
        if let Some(left) = left {
            samples.add(&[policy.name(), kind.word()], left);
        }
    });
}

/// The first attempt is no retry.
fn left<W: Work>(tracked: &Tracked) -> Option<u32> {
    match &W::flow(tracked).workflow.phase {
        Phase::Active(run) => W::effort(tracked).map(|effort| run.attempts_left(&effort).min(effort.retry_count)),
        Phase::Waiting | Phase::Watching(_) => None,
    }
}

fn next_trigger(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each(|kind| {
        let next_at = match kind {
            Kind::Creation => next_at::<Creation>(&policy.tracked),
            Kind::Deletion => next_at::<Deletion>(&policy.tracked),
        };
        if let Some(next_at) = next_at {
            samples.add(&[policy.name(), kind.word()], next_at);
        }
    });
}

/// A trigger that waits for something else is due all the same.
fn next_at<W: Work>(tracked: &Tracked) -> Option<Timestamp> {
    let entry = tracked.entry.as_ref().filter(|_| tracked.is_enabled())?;
    let flow = W::flow(tracked);
    flow.due_at.or_else(|| W::pace(entry)?.schedule.next_after(flow.workflow.mark))
}

fn held(_: &Scene, policy: &PolicyScene, samples: &mut Samples<'_>) {
    policy.each(|kind| {
        if kind == Kind::Deletion {
            samples.add(&[policy.name()], policy.tracked.held().is_some());
        }
    });
}
