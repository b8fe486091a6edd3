//! From what is true inside to what is sent: the one place where the two meet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::drivers::Progress;
use crate::engine::event::Survey;
use crate::engine::explain::{self, Explained, ExplainedWorkflow, LatestExecution};
use crate::engine::tracked::Tracked;
use crate::engine::view::{Daemon, View};
use crate::journal::change::{AuditRecord, PlanRecord, RunRecord, Skip};
use crate::lifecycle::age_lock::AgeLocks;
use crate::lifecycle::keep_rules::{Every, KeepRules};
use crate::lifecycle::notice::Alarm;
use crate::lifecycle::plan::Plan;
use crate::lifecycle::policy::{Condition, Pace, Switch};
use crate::lifecycle::retention::{Owner, Verdict};
use crate::lifecycle::snapshot::{Listing, Snapshot, label};
use crate::lifecycle::time::{Moment, Timestamp};
use crate::roster::Problem;

use super::body::{
    AlarmBody, AuditLine, ChoreBody, ClockMovedBack, ConditionBody, DaemonBody, ExecutionBody, InfoBody, KeepBody,
    LastGoodBody, OverdueBody, PaceBody, PlanBody, PolicyBody, PolicyExplained, ProblemBody, ProgressBody, RetryBody,
    RunRecordBody, SkipBody, SnapshotBody, SnapshotsBody, TriggerBody, VerdictBody, WorkflowExplained,
};

/// What is wrong, by file, so that explaining many policies does not search all of it for each.
pub struct Problems<'a>(BTreeMap<&'a Path, Vec<Problem>>);

impl<'a> Problems<'a> {
    pub fn new(problems: &'a [Problem]) -> Problems<'a> {
        let mut by_file: BTreeMap<&Path, Vec<Problem>> = BTreeMap::new();
        for problem in problems {
            by_file.entry(&*problem.file).or_default().push(problem.clone());
        }
        Problems(by_file)
    }

    fn of(&self, tracked: &Tracked) -> &[Problem] {
        if self.0.is_empty() {
            return &[];
        }
        let origin = tracked.entry.as_ref().map(|entry| entry.origin());
        origin.and_then(|origin| self.0.get(&*origin)).map_or(&[], Vec::as_slice)
    }
}

/// So many fill a screen; whoever has more looks at the policies.
const ALARMS_MAX: usize = 100;

fn alarms_shown(view: &View, alarms: &[Alarm]) -> Vec<AlarmBody> {
    if alarms.is_empty() {
        return Vec::new();
    }
    let names: BTreeMap<Arc<str>, Arc<str>> =
        view.policies(&[]).iter().map(|tracked| (tracked.uid.clone(), tracked.name.clone())).collect();
    let shown = |alarm: &Alarm| AlarmBody {
        event: alarm.event.word().into(),
        policy: names.get(&*alarm.subject).map(|name| (**name).into()),
        subject: alarm.subject.clone(),
        since: alarm.since.millis(),
    };
    alarms.iter().take(ALARMS_MAX).map(shown).collect()
}

pub fn daemon(view: &View, daemon: &Daemon, now: Moment) -> DaemonBody {
    let Daemon { installation, started_at, last_turn, policies, problems, chores, .. } = daemon;
    let Daemon { clock_moved_back, clock_vouched, safe_mode, restrictions, notices, alarms, .. } = daemon;
    let unattached = if problems.is_empty() { Vec::new() } else { unattached(view, problems) };
    DaemonBody {
        version: env!("CARGO_PKG_VERSION").into(),
        installation: installation.clone(),
        started: started_at.map(Timestamp::millis),
        now: now.wall.millis(),
        last_turn: last_turn.map(|turn| turn.wall.millis()),
        policies: *policies,
        safe_mode: safe_mode.as_deref().map(str::to_string),
        restrictions: restrictions.to_vec(),
        notices_waiting: notices.values().map(|waiting| waiting.pending).sum(),
        notices_undeliverable: notices.values().map(|waiting| waiting.undeliverable).sum(),
        alarms: alarms_shown(view, alarms),
        clock_moved_back: clock_moved_back.map(|(from, to)| ClockMovedBack { from: from.millis(), to: to.millis() }),
        clock_vouched: clock_vouched.as_deref().map(str::to_string),
        housekeeping: chores
            .iter()
            .map(|(job, chore)| ChoreBody { job: job.clone(), time: chore.at.millis(), trouble: chore.trouble.clone() })
            .collect(),
        overdue: overdue(daemon, now),
        // Whoever looks after them says how far that is.
        repositories: Vec::new(),
        problems: unattached,
    }
}

fn overdue(daemon: &Daemon, now: Moment) -> Vec<OverdueBody> {
    let overdue = daemon.overdue(now.wall).into_iter();
    overdue.map(|(job, due_at)| OverdueBody { job: job.to_owned(), due: due_at.millis() }).collect()
}

fn unattached(view: &View, problems: &[Problem]) -> Vec<ProblemBody> {
    explain::unattached(&view.policies(&[]), problems).into_iter().map(problem).collect()
}

/// Returns a problem as it is sent.
pub fn problem(problem: &Problem) -> ProblemBody {
    ProblemBody {
        file: problem.file.display().to_string(),
        line: problem.place.as_ref().map(|place| place.line),
        column: problem.place.as_ref().map(|place| place.column),
        severity: if problem.is_error() { "error" } else { "warning" }.into(),
        message: problem.message.to_string(),
        hint: problem.hint.as_deref().map(str::to_string),
        text: problem.to_string(),
    }
}

/// Answers own their texts.
fn copied(text: &Arc<str>) -> Box<str> {
    (**text).into()
}

pub fn explained(tracked: &Tracked, locks: &AgeLocks, problems: &Problems<'_>, now: Moment) -> PolicyExplained {
    let Explained {
        name,
        uid,
        enabled,
        paused,
        retired,
        stale,
        revision,
        description,
        repository,
        creation,
        deletion,
        last_good,
        problems,
    } = explain::explain(tracked, locks, problems.of(tracked), now);
    PolicyExplained {
        name: copied(&name),
        uid: copied(&uid),
        enabled,
        paused,
        retired,
        stale,
        revision: revision.as_ref().map(copied),
        description: description.as_ref().map(copied),
        repository: repository.as_ref().map(copied),
        creation: creation.map(workflow),
        deletion: deletion.map(workflow),
        last_good: last_good.map(|good| LastGoodBody {
            snapshot: good.snapshot,
            time: good.at.millis(),
            age_ms: good.age_ms,
        }),
        // Whoever knows what is held says how much of it is this policy's.
        holds: 0,
        problems: problems.iter().map(problem).collect(),
    }
}

fn workflow(workflow: ExplainedWorkflow) -> WorkflowExplained {
    let ExplainedWorkflow {
        current_state,
        schedule,
        trigger_at,
        next_triggers,
        started,
        retry_count,
        latest,
        waits_for,
        progress,
        skipped,
        held,
        guards,
    } = workflow;
    WorkflowExplained {
        current_state: current_state.into(),
        schedule,
        trigger: trigger_at.map(|at| TriggerBody { time: at.millis() }),
        next_triggers: next_triggers.into_iter().map(Timestamp::millis).collect(),
        started,
        latest_execution: latest.map(execution),
        retry: retry_count.map(|count| RetryBody { count }),
        waits_for,
        progress: progress.map(self::progress),
        skipped: skipped.iter().map(skip).collect(),
        held,
        guards,
    }
}

/// Returns how far something is, as it is sent.
pub fn progress(progress: Progress) -> ProgressBody {
    let Progress { doing, done, total, unit } = progress;
    ProgressBody { doing, done, total, unit }
}

fn execution(latest: LatestExecution) -> ExecutionBody {
    let LatestExecution { run_id, status, cause, trigger_at, start_at, end_at, message, blame, attempts } = latest;
    let info = (message.is_some() || blame.is_some()).then_some(InfoBody { message, cause: blame });
    ExecutionBody {
        run_id,
        status: status.into(),
        started_by: cause.into(),
        trigger_time: trigger_at.millis(),
        start_time: start_at.millis(),
        end_time: end_at.map(Timestamp::millis),
        attempts,
        info,
    }
}

fn skip(skip: &Skip) -> SkipBody {
    SkipBody {
        reason: skip.reason.word().into(),
        count: skip.count,
        first: skip.first.millis(),
        last: skip.last.millis(),
        time: skip.at.millis(),
    }
}

pub fn policy(tracked: &Tracked) -> PolicyBody {
    let entry = tracked.entry.as_deref();
    let policy = entry.map(|entry| &entry.policy);
    let creation = tracked.creation_rule().map(|rule| pace(&rule.pace, tracked.creation.due_at));
    let deletion = tracked.deletion_rule().map(|rule| pace(&rule.pace, tracked.deletion.due_at));
    PolicyBody {
        name: copied(&tracked.name),
        uid: copied(&tracked.uid),
        enabled: tracked.is_enabled(),
        paused: tracked.switch == Switch::Stopped,
        stale: entry.is_some_and(|entry| entry.stale),
        revision: policy.map(|policy| copied(&policy.revision.0)),
        file: entry.map(|entry| entry.origin().display().to_string()),
        description: policy.and_then(|policy| policy.description.as_ref().map(copied)),
        repository: entry.map(|entry| copied(&entry.repository.name)),
        driver: entry.map(|entry| entry.repository.kind.clone()),
        creation,
        deletion,
        condition: tracked.deletion_rule().map(|rule| condition(&rule.condition)),
        channels: policy.map_or_else(Vec::new, |policy| {
            policy.notification.channels.iter().map(|told| told.channel.clone()).collect()
        }),
    }
}

fn pace(pace: &Pace, due_at: Option<Timestamp>) -> PaceBody {
    PaceBody {
        schedule: pace.schedule.to_string(),
        next_trigger: due_at.map(Timestamp::millis),
        time_limit: pace.time_limit.written().to_string(),
        retry_count: pace.retry_count,
    }
}

fn condition(condition: &Condition) -> ConditionBody {
    ConditionBody {
        max_age: condition.max_age().map(|age| age.written().to_string()),
        max_count: condition.max_count(),
        min_count: condition.min_count(),
        min_age: condition.min_age().map(|age| age.written().to_string()),
        keep: condition.keep().map(keep),
    }
}

fn keep(rules: &KeepRules) -> KeepBody {
    let mut body = KeepBody {
        within: rules.within().map(|within| within.written().to_string()),
        timezone: rules.zone().name().to_string(),
        ..KeepBody::default()
    };
    for (every, count) in rules.counts() {
        let shown = match every {
            Every::Snapshot => &mut body.last,
            Every::Hour => &mut body.hourly,
            Every::Day => &mut body.daily,
            Every::Week => &mut body.weekly,
            Every::Month => &mut body.monthly,
            Every::Quarter => &mut body.quarterly,
            Every::Year => &mut body.yearly,
        };
        *shown = Some(count);
    }
    body
}

pub fn snapshots(survey: &Survey, listing: &Listing) -> SnapshotsBody {
    let mut own: Vec<&Snapshot> = listing.snapshots.iter().filter(|snapshot| is_own(&survey.owner, snapshot)).collect();
    own.sort_by_key(|snapshot| (snapshot.taken_at, &snapshot.name));
    SnapshotsBody {
        policy: survey.entry.policy.name.to_string(),
        repository: copied(&survey.entry.repository.name),
        foreign: listing.snapshots.len() - own.len(),
        snapshots: own
            .into_iter()
            .map(|snapshot| SnapshotBody {
                name: snapshot.name.clone(),
                id: snapshot.id.clone(),
                time: snapshot.taken_at.map(Timestamp::millis),
                status: snapshot.status.word().into(),
                size_bytes: snapshot.size_bytes,
                in_use: snapshot.in_use.clone(),
                held: survey.holds.on(snapshot, survey.now).map(|hold| hold.to_string()),
            })
            .collect(),
    }
}

/// The stamp decides, never the name (G8).
fn is_own(owner: &Owner, snapshot: &Snapshot) -> bool {
    let says = |key: &str, value: &str| snapshot.labels.get(key).is_some_and(|found| found == value);
    says(label::INSTALLATION, &owner.installation) && says(label::POLICY_UID, &owner.policy_uid)
}

pub fn plan(policy: &str, plan: &Plan) -> PlanBody {
    PlanBody {
        policy: policy.to_string(),
        run_id: None,
        time: plan.made_at.millis(),
        own: plan.own,
        held: plan.is_held().then(|| {
            let reasons: Vec<String> = plan.held.iter().map(ToString::to_string).collect();
            reasons.join("; ")
        }),
        entries: plan
            .entries
            .iter()
            .map(|entry| VerdictBody {
                snapshot: entry.target.name.clone(),
                id: entry.target.id.clone(),
                time: entry.target.taken_at.map(Timestamp::millis),
                status: entry.status.word().into(),
                verdict: match entry.verdict {
                    Verdict::Keep(_) => "keep".into(),
                    Verdict::Condemn(_) => "delete".into(),
                },
                reason: entry.verdict.to_string(),
                deleted: false,
                until: None,
            })
            .collect(),
    }
}

pub fn journaled_plan(policy: &str, record: &PlanRecord) -> PlanBody {
    let deleted: BTreeSet<&str> = record.deleted.iter().map(|target| &*target.id).collect();
    let mut body = plan(policy, &record.plan);
    body.run_id = Some(record.run_id.clone());
    for entry in &mut body.entries {
        entry.deleted = deleted.contains(&*entry.id);
    }
    body
}

pub fn run(record: RunRecord) -> RunRecordBody {
    RunRecordBody {
        run_id: record.run_id,
        policy: copied(&record.policy),
        workflow: record.kind.word().into(),
        started_by: record.cause.word().into(),
        trigger_time: record.trigger_at.millis(),
        start_time: record.began_at.millis(),
        end_time: record.ended_at.map(Timestamp::millis),
        outcome: record.outcome.map(|outcome| outcome.word().into()),
        message: record.message,
        cause: record.blame,
        attempts: record.attempts,
        snapshot: record.snapshot,
    }
}

pub fn audit(record: AuditRecord) -> AuditLine {
    let AuditRecord { number, audit } = record;
    AuditLine {
        number,
        time: audit.at.millis(),
        who: audit.who,
        what: audit.what,
        subject: audit.subject,
        detail: audit.detail,
        run_id: audit.run_id,
        before: audit.before,
        after: audit.after,
        answer: audit.answer,
    }
}
