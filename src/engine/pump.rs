//! What moves a workflow: its trigger, its waits, its time limit, its repository's turn.
//!
//! Nothing here is done outside; a question is put among the turn's errands, and its intention among
//! the turn's changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::drivers::Order;
use crate::journal::change::{Begun, Change, Notice, Settled, Skip, SkipReason};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::{Deletion, seen_after};
use crate::lifecycle::notice;
use crate::lifecycle::policy::{CatchUp, OnOverlap};
use crate::lifecycle::snapshot::label;
use crate::lifecycle::time::{Moment, Timestamp, Wait};
use crate::lifecycle::workflow::{
    Answer, Cause, Ending, Fact, Kind, Outcome, Phase, Request, Run, Trigger, Turn, Watch, run_id,
};
use crate::roster::Entry;

use super::Engine;
use super::event::{Ask, Job, JobId};
use super::latest::Latest;
use super::tracked::{self, Tracked, TurnAt, Work};

/// A question is answered within this, or counts as unanswered.
const QUESTION_MAX_MS: i64 = 300_000;
/// A trigger this late was missed: it is caught up, or not, as the policy says.
const LATE_MS: i64 = 60_000;
/// Catch-up runs begin spread over this, so that a start does not ask everything at once (S4).
const CATCH_UP_SPREAD_MS: u64 = 60_000;
/// A workflow settles within a few moves; more in one turn would be a circle.
const MOVES_MAX: u32 = 16;
/// A mark this far ahead of the clock, and further than the schedule's own gap, means that the clock went back (S13).
const MARK_AHEAD_MS: i64 = 3_600_000;

impl Engine {
    /// Moves everything that is due by now, each policy once: what cannot be moved, as while the
    /// daemon stops, is left for a later turn.
    pub(super) fn due_now(&mut self, now: Moment) {
        let due = self.due.iter().take_while(|(at, _, _)| *at <= now.wall).map(|(_, index, _)| *index);
        let wakes = self.wakes.iter().take_while(|(uptime, _, _)| *uptime <= now.uptime).map(|(_, index, _)| *index);
        let mut seen = BTreeSet::new();
        let indices: Vec<u32> = due.chain(wakes).filter(|index| seen.insert(*index)).collect();
        for index in indices {
            self.pump_policy(index, now);
        }
    }

    pub(super) fn pump_all(&mut self, now: Moment) {
        let all: Vec<u32> = self.policies.keys().copied().collect();
        for index in all {
            self.pump_policy(index, now);
        }
    }

    pub(super) fn reindex_all(&mut self, now: Moment) {
        self.pump_all(now);
    }

    /// Moves both workflows of a policy as far as they go without the outside. Creation first: a
    /// deletion that is due at the same instant waits for it, and so does one that is caught up (S5).
    /// A deletion that has waited for one creation does not wait for the next one too.
    pub(super) fn pump_policy(&mut self, index: u32, now: Moment) {
        let over = self.with(index, |engine, tracked| {
            if let (Some(deletion), Some(over_at)) = (next_due::<Deletion>(tracked), tracked.creation_over_at)
                && deletion <= over_at
                && next_due::<Creation>(tracked).is_some_and(|creation| deletion < creation)
            {
                engine.pump::<Deletion>(index, tracked, now);
            }
            engine.pump::<Creation>(index, tracked, now);
            engine.pump::<Deletion>(index, tracked, now);
            tracked.entry.is_none() && tracked.creation.is_waiting() && tracked.deletion.is_waiting()
        });
        if over == Some(true) {
            self.forget(index, now);
        }
    }

    fn pump<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) {
        for _ in 0..MOVES_MAX {
            let moved = match &W::flow(tracked).workflow.phase {
                Phase::Waiting => self.move_waiting::<W>(index, tracked, now),
                Phase::Active(_) => self.move_active::<W>(index, tracked, now),
                Phase::Watching(_) => self.move_watching::<W>(index, tracked, now),
            };
            if !moved {
                break;
            }
        }
        self.index::<W>(index, tracked, now);
    }

    /// Sets when this workflow is to be looked at again.
    fn index<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) {
        let due_at = next_due::<W>(tracked);
        let flow = W::flow(tracked);
        // What is over but could not be moved waits for the outside, not for the clock.
        let by_clock = flow.job.is_none() && flow.turn != TurnAt::Queued && !self.ready.contains(&(index, W::KIND));
        let wake_ms = match &flow.workflow.phase {
            Phase::Waiting => None,
            Phase::Active(run) => {
                let limit = W::effort(tracked).map(|effort| run.limit(&effort).left(&now));
                let wait = by_clock.then(|| run.wait.left(&now));
                limit.into_iter().chain(wait).min()
            }
            Phase::Watching(watch) => by_clock.then(|| watch.wait.left(&now)),
        };
        let wake_at = wake_ms.map(|left| now.uptime + left.max(1));
        let flow = W::flow_mut(tracked);
        if flow.due_at != due_at {
            if let Some(at) = flow.due_at {
                self.due.remove(&(at, index, W::KIND));
            }
            if let Some(at) = due_at {
                self.due.insert((at, index, W::KIND));
            }
            flow.due_at = due_at;
        }
        if flow.wake_at != wake_at {
            if let Some(at) = flow.wake_at {
                self.wakes.remove(&(at, index, W::KIND));
            }
            if let Some(at) = wake_at {
                self.wakes.insert((at, index, W::KIND));
            }
            flow.wake_at = wake_at;
        }
    }

    /// Takes a workflow out of everything that would look at it again.
    pub(super) fn unindex<W: Work>(&mut self, index: u32, tracked: &mut Tracked) {
        let flow = W::flow_mut(tracked);
        if let Some(at) = flow.due_at.take() {
            self.due.remove(&(at, index, W::KIND));
        }
        if let Some(at) = flow.wake_at.take() {
            self.wakes.remove(&(at, index, W::KIND));
        }
        self.ready.remove(&(index, W::KIND));
    }

    /// Waiting: is a trigger due?
    fn move_waiting<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) -> bool {
        if self.stopping || next_due::<W>(tracked).is_none_or(|due| due > now.wall) {
            return false;
        }
        let Some(entry) = tracked.entry.clone() else { return false };
        let Some(pace) = W::pace(&entry) else { return false };
        let mark = W::flow(tracked).workflow.mark;
        let Some(elapsed) = pace.schedule.elapsed(mark, now.wall) else { return false };
        let late_ms = now.wall.since(elapsed.last);
        // Who waited for a run of this policy was not away: lateness counts from the end of that run.
        let met = |run: &Latest, over_at: Option<Timestamp>| {
            over_at.filter(|over_at| *over_at >= elapsed.first && run.began_at <= elapsed.last.plus(LATE_MS))
        };
        let own = W::flow(tracked).latest.as_ref().and_then(|run| met(run, run.ended_at));
        let creation = tracked.creation.latest.as_ref().and_then(|run| met(run, tracked.creation_over_at));
        let over_at = own.max(creation);
        let waited_ms = over_at.map_or(late_ms, |over_at| now.wall.since(over_at.max(elapsed.last)));
        let cause = if waited_ms <= LATE_MS { Cause::Schedule } else { Cause::CatchUp };
        let runs = match (&pace.catch_up, cause) {
            (_, Cause::Schedule | Cause::Manual) => true,
            (CatchUp::Never, Cause::CatchUp) => false,
            (CatchUp::Once { within }, Cause::CatchUp) => {
                within.as_ref().is_none_or(|within| late_ms <= within.millis())
            }
        };
        let reason = match (over_at, cause) {
            (Some(_), Cause::Schedule) => SkipReason::Overlap,
            (_, Cause::Schedule | Cause::CatchUp | Cause::Manual) => SkipReason::Missed,
        };
        let passed = if runs { elapsed.count - 1 } else { elapsed.count };
        W::flow_mut(tracked).workflow.mark = elapsed.last;
        self.dirty.insert((index, W::KIND));
        if passed > 0 {
            let last = if runs {
                let before = elapsed.last.plus(-1);
                pace.schedule.elapsed(mark, before).map_or(elapsed.first, |earlier| earlier.last)
            } else {
                elapsed.last
            };
            self.skip::<W>(tracked, reason, passed, elapsed.first, last, now);
        }
        if runs {
            let trigger = Trigger { at: elapsed.last, cause };
            self.begin::<W>(index, tracked, trigger, None, now);
        }
        true
    }

    /// Begins a run for a trigger, unless the trigger ran already. Returns the run's identity.
    pub(super) fn begin<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        trigger: Trigger,
        request_key: Option<Box<str>>,
        now: Moment,
    ) -> Option<(Box<str>, Option<Box<str>>)> {
        // The mark alone says so, except where it was lowered after the clock went back (S12).
        match self.journal.is_consumed(&tracked.uid, W::KIND, trigger.at) {
            Ok(false) => {}
            Ok(true) => return None,
            Err(trouble) => {
                // The commit that ends this turn meets the same journal and ends the process.
                tracing::error!(%trouble, "failed to look up a trigger");
                return None;
            }
        }
        let entry = tracked.entry.clone()?;
        let (step, name) = W::first(tracked, &self.installation, trigger)?;
        let run_id: Box<str> = run_id(&tracked.uid, W::KIND, trigger.at).into();
        let mut run = Run::begin(&run_id, trigger, entry.policy.revision.clone(), step, now);
        if trigger.cause == Cause::CatchUp {
            let spread_ms = i64::try_from(stable_hash(&run_id) % CATCH_UP_SPREAD_MS).unwrap_or(0);
            run.wait = Wait { from: now, span_ms: spread_ms };
        }
        let snapshot: Option<Box<str>> = name.map(|name| name.as_str().into());
        self.changes.push(Change::Begin(Begun {
            run_id: run_id.clone(),
            policy_uid: tracked.uid.clone(),
            kind: W::KIND,
            trigger,
            revision: entry.policy.revision.clone(),
            at: now,
            snapshot: snapshot.clone(),
            request_key,
        }));
        tracked.skips.retain(|skip| skip.kind != W::KIND || skip.at == now.wall);
        let flow = W::flow_mut(tracked);
        flow.terms = Some(entry);
        flow.latest = Some(Arc::new(Latest::begin(trigger, now.wall, snapshot.as_deref())));
        flow.workflow.phase = Phase::Active(Box::new(run));
        self.dirty.insert((index, W::KIND));
        Some((run_id, snapshot))
    }

    fn skip<W: Work>(
        &mut self,
        tracked: &mut Tracked,
        reason: SkipReason,
        count: u64,
        first: Timestamp,
        last: Timestamp,
        now: Moment,
    ) {
        let skip = Skip { policy_uid: tracked.uid.clone(), kind: W::KIND, reason, count, first, last, at: now.wall };
        match tracked.skips.iter_mut().find(|seen| seen.kind == W::KIND && seen.reason == reason) {
            Some(seen) => {
                seen.count += count;
                seen.last = last;
                seen.at = now.wall;
            }
            None => tracked.skips.push(skip.clone()),
        }
        self.changes.push(Change::Skip(skip));
    }

    /// Consumes triggers that met a run in flight, or the watch after one (S6, S26).
    fn skip_met<W: Work>(&mut self, index: u32, tracked: &mut Tracked, reason: SkipReason, now: Moment) {
        if next_due::<W>(tracked).is_none_or(|due| due > now.wall) {
            return;
        }
        let Some(entry) = tracked.entry.clone() else { return };
        let Some(pace) = W::pace(&entry) else { return };
        let mark = W::flow(tracked).workflow.mark;
        let Some(elapsed) = pace.schedule.elapsed(mark, now.wall) else { return };
        W::flow_mut(tracked).workflow.mark = elapsed.last;
        self.dirty.insert((index, W::KIND));
        self.skip::<W>(tracked, reason, elapsed.count, elapsed.first, elapsed.last, now);
    }

    /// Active: time limit, withdrawal, the next question.
    fn move_active<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) -> bool {
        self.skip_met::<W>(index, tracked, SkipReason::Overlap, now);
        let Phase::Active(run) = &W::flow(tracked).workflow.phase else { return false };
        let Some(effort) = W::effort(tracked) else {
            let message = format!("failed to {}", run.step.aim());
            let cause = "the version of the policy that began this run cannot be built again";
            self.settle::<W>(index, tracked, Ending::new(Outcome::Failed, message).because(cause), Phase::Waiting, now);
            return true;
        };
        if run.limit(&effort).is_over(&now) {
            self.advance::<W>(index, tracked, Answer::TimeUp, now);
            return true;
        }
        let withdrawn = if W::KIND == Kind::Deletion { tracked.withdrawn() } else { None };
        // Whatever is in flight: the answer to a question would only lead to the next deletion.
        if let Some(why) = &withdrawn
            && run.step.withdraw(why).is_some()
        {
            self.advance::<W>(index, tracked, Answer::Withdrawn(why.clone()), now);
            return true;
        }
        if W::flow(tracked).job.is_some() {
            return false;
        }
        if !run.wait.is_over(&now) {
            // Its repository is free for others while it waits, except where the work goes on meanwhile.
            if !run.step.is_at_work() {
                self.leave::<W>(index, tracked);
            }
            return false;
        }
        if withdrawn.is_some() && matches!(run.request(), Request::Delete(_)) {
            // Decided, but not ordered: that a deletion is unheard of is found out by looking.
            self.advance::<W>(index, tracked, Answer::Lost, now);
            return true;
        }
        if self.stopping || !self.enter::<W>(index, tracked) {
            return false;
        }
        if self.jobs.len() >= self.jobs_max {
            self.ready.insert((index, W::KIND));
            return false;
        }
        let Phase::Active(run) = &W::flow(tracked).workflow.phase else { return false };
        let request = run.request();
        let left_ms = run.limit(&effort).left(&now);
        let order_labels = (run.id.clone(), run.trigger.at);
        self.ask::<W>(index, tracked, request, left_ms, Some(order_labels));
        false
    }

    /// Watching: is it over?
    fn move_watching<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) -> bool {
        self.skip_met::<W>(index, tracked, SkipReason::Watched, now);
        let flow = W::flow(tracked);
        let Phase::Watching(watch) = &flow.workflow.phase else { return false };
        if flow.terms.is_none() {
            // Nobody is left to ask: whatever it is, it is not ours to wait for.
            tracing::warn!(policy = %tracked.name, snapshot = %watch.name, "gave up watching: its repository is gone");
            self.rest::<W>(index, tracked, Phase::Waiting, now);
            return true;
        }
        if flow.job.is_some() || !watch.wait.is_over(&now) || self.stopping {
            return false;
        }
        let cancels = W::asked(tracked).is_some_and(|entry| entry.repository.driver.abilities().cancel);
        if watch.cancel && !cancels {
            let next = watch.clone().advance(&Answer::Cancelled, now);
            self.rest::<W>(index, tracked, watching(next), now);
            return true;
        }
        if self.jobs.len() >= self.jobs_max {
            self.ready.insert((index, W::KIND));
            return false;
        }
        let request = watch.request();
        self.ask::<W>(index, tracked, request, QUESTION_MAX_MS, None);
        false
    }

    fn ask<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        request: Request,
        left_ms: i64,
        run: Option<(Box<str>, Timestamp)>,
    ) {
        let Some(entry) = W::asked(tracked).cloned() else { return };
        let id = JobId(self.next_job);
        self.next_job += 1;
        let time_ms = match &request {
            Request::Create(_) | Request::Delete(_) => left_ms,
            Request::Describe(_) | Request::List | Request::Cancel(_) => left_ms.min(QUESTION_MAX_MS),
        };
        let order = match (&request, run) {
            (Request::Create(name), Some((run_id, trigger_at))) => {
                let labels = stamp(&entry, &self.installation, tracked, &run_id, trigger_at);
                Some(Order { name: name.clone(), labels, config: Arc::new(entry.config.value()) })
            }
            _ => None,
        };
        self.errands.begin.push(Job::Ask(Box::new(Ask {
            id,
            driver: entry.repository.driver.clone(),
            request,
            order,
            owner: tracked::owner(tracked, &self.installation),
            time_max: Duration::from_millis(u64::try_from(time_ms.max(1)).unwrap_or(1)),
        })));
        self.jobs.insert(id, (index, W::KIND));
        self.ready.remove(&(index, W::KIND));
        let flow = W::flow_mut(tracked);
        flow.job = Some(id);
        flow.progress = None;
    }

    /// Takes what a driver answered.
    pub(super) fn answer<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        job: JobId,
        answer: Answer,
        now: Moment,
    ) {
        let flow = W::flow_mut(tracked);
        if flow.job != Some(job) {
            return;
        }
        flow.job = None;
        flow.progress = None;
        match &flow.workflow.phase {
            Phase::Waiting => {}
            Phase::Active(_) => self.advance::<W>(index, tracked, answer, now),
            Phase::Watching(watch) => {
                let name = watch.name.clone();
                let next = watch.clone().advance(&answer, now);
                if next.is_none() {
                    tracing::info!(policy = %tracked.name, snapshot = %name, ?answer, "what a run had left behind is over");
                }
                self.rest::<W>(index, tracked, watching(next), now);
            }
        }
    }

    /// A question that was open when the journal was last written will not be answered.
    pub(super) fn lost<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) {
        match &W::flow(tracked).workflow.phase {
            Phase::Active(_) => self.advance::<W>(index, tracked, Answer::Lost, now),
            Phase::Waiting | Phase::Watching(_) => {}
        }
    }

    /// Takes its repository for a run whose work went on while nobody was there, before others ask
    /// for it, and however many there are.
    pub(super) fn resume<W: Work>(&mut self, tracked: &mut Tracked) {
        let at_work = match &W::flow(tracked).workflow.phase {
            Phase::Active(run) => run.step.is_at_work(),
            Phase::Waiting | Phase::Watching(_) => false,
        };
        if at_work && let Some(entry) = W::asked(tracked) {
            self.gates.entry(entry.repository.name.clone()).or_default().having += 1;
            W::flow_mut(tracked).turn = TurnAt::Having;
        }
    }

    fn advance<W: Work>(&mut self, index: u32, tracked: &mut Tracked, answer: Answer, now: Moment) {
        let (Some(terms), Some(effort)) = (W::terms(tracked, &self.installation), W::effort(tracked)) else {
            // Without terms nothing can be made of it; the next move settles the run and says why.
            return;
        };
        let Phase::Active(run) = W::flow(tracked).workflow.phase.clone() else { return };
        let backup = run.clone();
        match run.advance(&terms, &effort, answer, now) {
            Ok(Turn { phase, settled, facts, changed, abandon }) => {
                tracked.seen = seen_after(tracked.seen, &facts);
                for fact in facts {
                    self.note(tracked, &backup.id, fact, now);
                }
                if abandon && let Some(job) = W::flow_mut(tracked).job.take() {
                    self.jobs.remove(&job);
                    self.errands.abandon.push(job);
                }
                match settled {
                    Some(ending) => self.settle::<W>(index, tracked, ending, phase, now),
                    None => {
                        if let Phase::Active(run) = &phase
                            && let Some(latest) = &mut W::flow_mut(tracked).latest
                        {
                            Arc::make_mut(latest).attempts = run.attempts;
                        }
                        W::flow_mut(tracked).workflow.phase = phase;
                        if changed {
                            self.dirty.insert((index, W::KIND));
                        }
                    }
                }
            }
            Err(out_of_turn) => {
                // A bug of ours or a driver's wrong answer. Doubt is always a safe place to go on from.
                tracing::error!(policy = %tracked.name, %out_of_turn, "an answer came that was not asked for");
                let run =
                    Run { wait: Wait { from: now, span_ms: LATE_MS }, step: backup.step.clone().doubt(), ..*backup };
                W::flow_mut(tracked).workflow.phase = Phase::Active(Box::new(run));
                self.dirty.insert((index, W::KIND));
            }
        }
    }

    fn note(&mut self, tracked: &Tracked, run_id: &str, fact: Fact, now: Moment) {
        match fact {
            Fact::Planned(plan) => self.changes.push(Change::Plan { run_id: run_id.into(), plan }),
            Fact::Spared { target, reason } => {
                let detail = format!("spared although the plan condemned it: {reason}");
                self.audit(now.wall, "engine", "spare", &target.name, detail, Some(run_id));
            }
            Fact::Deleted(target) => {
                tracing::info!(policy = %tracked.name, snapshot = %target.name, "deleted snapshot");
                let detail = format!("deleted, driver's id {}", target.id);
                self.audit(now.wall, "engine", "delete", &target.name, detail, Some(run_id));
            }
        }
    }

    /// Writes down how a run ended, with everything that is owed because of it, as one commit.
    fn settle<W: Work>(&mut self, index: u32, tracked: &mut Tracked, ending: Ending, phase: Phase<W>, now: Moment) {
        let Phase::Active(run) = &W::flow(tracked).workflow.phase else { return };
        let run_id = run.id.clone();
        let attempts = run.attempts;
        let policy = &tracked.name;
        let (outcome, message) = (ending.outcome.word(), &ending.message);
        match ending.outcome {
            Outcome::Succeeded | Outcome::Cancelled => {
                tracing::info!(%policy, workflow = W::KIND.word(), outcome, message, "run settled");
            }
            Outcome::Failed | Outcome::TimeLimitExceeded | Outcome::Held => {
                tracing::error!(%policy, workflow = W::KIND.word(), outcome, message, cause = ending.cause, "run settled");
            }
        }
        let told = tracked.entry.as_ref().or(W::flow(tracked).terms.as_ref()).cloned();
        if let Some(entry) = told
            && let Some(telling) = notice::compose(&entry.policy.notification, policy, W::KIND, &ending)
        {
            for channel in &entry.policy.notification.channels {
                self.changes.push(Change::Notice(Notice {
                    key: format!("{run_id}/{}/{channel}", telling.event).into(),
                    policy_uid: tracked.uid.clone(),
                    policy: policy.clone(),
                    run_id: Some(run_id.clone()),
                    event: telling.event.into(),
                    channel: channel.clone(),
                    subject: telling.subject.clone(),
                    body: telling.body.clone(),
                    at: now.wall,
                }));
            }
            self.notice_due = Some(now.wall);
        }
        if let Some(latest) = W::flow_mut(tracked).latest.as_mut().map(Arc::make_mut) {
            latest.settle(&ending, attempts, now.wall);
        }
        if W::KIND == Kind::Creation && ending.outcome == Outcome::Succeeded {
            tracked.last_good = tracked.creation.latest.clone();
        }
        self.changes.push(Change::Settle(Settled { run_id, at: now.wall, ending, attempts }));
        self.rest::<W>(index, tracked, phase, now);
    }

    /// Puts a workflow into a phase in which it has no run.
    fn rest<W: Work>(&mut self, index: u32, tracked: &mut Tracked, phase: Phase<W>, now: Moment) {
        self.leave::<W>(index, tracked);
        let flow = W::flow_mut(tracked);
        flow.workflow.phase = phase;
        if flow.is_waiting() {
            flow.terms = None;
            flow.progress = None;
            if W::KIND == Kind::Creation {
                tracked.creation_over_at = Some(now.wall);
            }
        }
        self.dirty.insert((index, W::KIND));
    }

    /// Waits for the repository's turn; says whether it is there.
    fn enter<W: Work>(&mut self, index: u32, tracked: &mut Tracked) -> bool {
        let Some(entry) = W::asked(tracked).cloned() else { return true };
        let effects_max = entry.repository.driver.abilities().effects_max.max(1);
        let began = match &W::flow(tracked).workflow.phase {
            Phase::Active(run) => run.began.wall,
            Phase::Waiting | Phase::Watching(_) => return true,
        };
        let flow = W::flow_mut(tracked);
        let place = (W::KIND, began, index);
        let gate = self.gates.entry(entry.repository.name.clone()).or_default();
        match flow.turn {
            TurnAt::Having => true,
            TurnAt::Away | TurnAt::Queued => {
                let first = gate.queue.first().is_none_or(|next| *next >= place);
                if gate.having < effects_max && first {
                    gate.queue.remove(&place);
                    gate.having += 1;
                    flow.turn = TurnAt::Having;
                    // Where several fit, the next in line need not wait for somebody to leave.
                    if gate.having < effects_max
                        && let Some((_, _, next)) = gate.queue.first()
                    {
                        self.woken.insert(*next);
                    }
                    true
                } else {
                    gate.queue.insert(place);
                    flow.turn = TurnAt::Queued;
                    false
                }
            }
        }
    }

    /// Gives the repository's turn to the next in line.
    fn leave<W: Work>(&mut self, index: u32, tracked: &mut Tracked) {
        let turn = W::flow(tracked).turn;
        W::flow_mut(tracked).turn = TurnAt::Away;
        self.ready.remove(&(index, W::KIND));
        let Some(entry) = W::asked(tracked) else { return };
        let Some(gate) = self.gates.get_mut(&entry.repository.name) else { return };
        match turn {
            TurnAt::Away => return,
            TurnAt::Queued => gate.queue.retain(|(kind, _, queued)| (*kind, *queued) != (W::KIND, index)),
            TurnAt::Having => gate.having = gate.having.saturating_sub(1),
        }
        if let Some((_, _, next)) = gate.queue.first() {
            self.woken.insert(*next);
        }
        if gate.having == 0 && gate.queue.is_empty() {
            self.gates.remove(&entry.repository.name);
        }
    }

    /// See [`Engine::clock_moved_back`].
    pub(super) fn lower_mark<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) {
        let Some(entry) = tracked.entry.clone() else { return };
        let Some(pace) = W::pace(&entry) else { return };
        let mark = W::flow(tracked).workflow.mark;
        let ahead_ms = mark.since(now.wall);
        if ahead_ms <= MARK_AHEAD_MS.max(pace.schedule.shortest_gap(now.wall).millis()) {
            return;
        }
        W::flow_mut(tracked).workflow.mark = now.wall;
        self.dirty.insert((index, W::KIND));
        if let Some(elapsed) = pace.schedule.elapsed(now.wall, mark) {
            self.skip::<W>(tracked, SkipReason::ClockMovedBack, elapsed.count, elapsed.first, elapsed.last, now);
        }
    }
}

fn watching<S>(watch: Option<Watch>) -> Phase<S> {
    watch.map_or(Phase::Waiting, |watch| Phase::Watching(Box::new(watch)))
}

/// Returns when the next trigger of a workflow is to be looked at, `None` while none counts.
fn next_due<W: Work>(tracked: &Tracked) -> Option<Timestamp> {
    if !tracked.is_enabled() {
        return None;
    }
    let entry = tracked.entry.as_ref()?;
    let pace = W::pace(entry)?;
    let flow = W::flow(tracked);
    let due_at = pace.schedule.next_after(flow.workflow.mark)?;
    match &flow.workflow.phase {
        Phase::Waiting => {}
        Phase::Active(_) => match pace.on_overlap {
            OnOverlap::Skip => {}
            // It stays unconsumed and is due when the run has settled.
            OnOverlap::QueueOne => return None,
        },
        Phase::Watching(_) => {}
    }
    // Creation goes first and deletion waits until it has settled, so that max_count is what remains.
    if W::KIND == Kind::Deletion && flow.is_waiting() && !tracked.creation.is_waiting() {
        return None;
    }
    Some(due_at)
}

/// Returns the labels of a snapshot: the policy's own, and our stamp, which nothing overrides.
fn stamp(
    entry: &Entry,
    installation: &str,
    tracked: &Tracked,
    run_id: &str,
    trigger_at: Timestamp,
) -> std::collections::BTreeMap<String, String> {
    let own = entry.policy.metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let mut labels: std::collections::BTreeMap<String, String> = own.collect();
    for (key, value) in [
        (label::INSTALLATION, installation.to_string()),
        (label::POLICY, tracked.name.to_string()),
        (label::POLICY_UID, tracked.uid.to_string()),
        (label::RUN, run_id.to_string()),
        (label::TRIGGER, trigger_at.millis().to_string()),
    ] {
        labels.insert(key.to_string(), value);
    }
    labels
}

/// Returns a number that is the same for the same text on every machine (FNV-1a).
pub(super) fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
