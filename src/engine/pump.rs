//! What moves a workflow: its trigger, its waits, its time limit, its repository's turn.
//!
//! Nothing here is done outside; a question is put among the turn's errands, and its intention among
//! the turn's changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::journal::change::{Begun, Change, Skip, SkipReason};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::policy::{CatchUp, OnOverlap};
use crate::lifecycle::time::{Moment, Timestamp, Wait};
use crate::lifecycle::workflow::{Answer, Cause, Ending, Kind, Outcome, Phase, Request, Run, Trigger, Watch, run_id};

use super::Engine;
use super::guarding;
use super::latest::Latest;
use super::tracked::{Tracked, TurnAt, Work};

/// A question is answered within this, or counts as unanswered.
pub(super) const QUESTION_MAX_MS: i64 = 300_000;
/// A trigger this late was missed: it is caught up, or not, as the policy says.
pub(super) const LATE_MS: i64 = 60_000;
/// Catch-up runs begin spread over this, so that a start does not ask everything at once (S4).
const CATCH_UP_SPREAD_MS: u64 = 60_000;
/// A workflow settles within a few moves; more in one turn would be a circle.
const MOVES_MAX: u32 = 16;

impl Engine {
    /// Moves everything that is due by now, each policy once: what cannot be moved, as while the
    /// daemon stops, is left for a later turn.
    pub(super) fn due_now(&mut self, now: Moment) {
        let has_room = self.no_room.is_none();
        let due = self.due.iter().take_while(|(at, _, _)| has_room && *at <= now.wall).map(|(_, index, _)| *index);
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
        // What may not happen is not due, and comes up again when it may.
        let due_at = next_due::<W>(tracked).filter(|_| self.forbidden(W::KIND).is_none());
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
        if self.stopping || self.no_room.is_some() || self.forbidden(W::KIND).is_some() {
            return false;
        }
        if next_due::<W>(tracked).is_none_or(|due| due > now.wall) {
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
    ) -> Option<(Arc<str>, Option<Box<str>>)> {
        // People may start, stop and start again within one turn, which is one instant.
        let is_it =
            |begun: &Begun| begun.policy_uid == tracked.uid && begun.kind == W::KIND && begun.trigger.at == trigger.at;
        if trigger.cause == Cause::Manual && self.changes.iter().filter_map(Change::begun).any(is_it) {
            return None;
        }
        // The mark alone says so, except where it was lowered after the clock went back (S12).
        match self.journal.is_consumed(&tracked.uid, W::KIND, trigger.at) {
            Ok(false) => {}
            Ok(true) => return None,
            Err(trouble) => {
                // The commit that ends this turn meets the same journal and ends the process.
                tracing::error!(cause = %trouble, "failed to look up a trigger");
                return None;
            }
        }
        let entry = tracked.entry.clone()?;
        let (step, name) = W::first(tracked, &self.installation, trigger)?;
        let run_id: Arc<str> = run_id(&tracked.uid, W::KIND, trigger.at).into();
        let mut run = Run::begin(run_id.clone(), trigger, entry.policy.revision.clone(), step, now);
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
        self.tell_begun::<W>(tracked, &entry, &run_id, now);
        tracked.skips.retain(|skip| skip.kind != W::KIND || skip.at == now.wall);
        let flow = W::flow_mut(tracked);
        flow.terms = Some(entry);
        flow.before = flow.latest.as_ref().and_then(|run| run.outcome).or(flow.before);
        flow.latest = Some(Arc::new(Latest::begin(trigger, now.wall, snapshot.as_deref())));
        flow.workflow.phase = Phase::Active(Box::new(run));
        self.dirty.insert((index, W::KIND));
        Some((run_id, snapshot))
    }

    pub(super) fn skip<W: Work>(
        &mut self,
        tracked: &mut Tracked,
        reason: SkipReason,
        count: u64,
        first: Timestamp,
        last: Timestamp,
        now: Moment,
    ) {
        let skip = Skip { policy_uid: tracked.uid.clone(), kind: W::KIND, reason, count, first, last, at: now.wall };
        let of_this = |seen: &&mut Skip| seen.kind == W::KIND && seen.reason == reason;
        // Whichever of both a trigger met, a run was in its way.
        let alike = |seen: &&Skip| {
            let met = |reason| matches!(reason, SkipReason::Overlap | SkipReason::Watched);
            seen.kind == W::KIND && (seen.reason == reason || met(seen.reason) && met(reason))
        };
        let before = tracked.skips.iter().filter(alike).map(|seen| seen.count).sum();
        match tracked.skips.iter_mut().find(of_this) {
            Some(seen) => {
                seen.count += count;
                seen.last = last;
                seen.at = now.wall;
            }
            None => tracked.skips.push(skip.clone()),
        }
        self.tell_skipped::<W>(tracked, &skip, before, now);
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
            let ending = Ending::new(Outcome::Failed, message).because(cause);
            self.settle::<W>(index, tracked, ending, 0, Phase::Waiting, now);
            return true;
        };
        if run.limit(&effort).is_over(&now) {
            self.advance::<W>(index, tracked, Answer::TimeUp, now);
            return true;
        }
        let withdrawn = match W::KIND {
            Kind::Creation => None,
            Kind::Deletion => tracked.withdrawn().or_else(|| self.forbidden(W::KIND)),
        };
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
        let is_doubtful = withdrawn.is_some() || guarding::is_doubtful::<W>(self, tracked);
        if is_doubtful && matches!(run.request(), Request::Delete(_)) {
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
}

pub(super) fn watching<S>(watch: Option<Watch>) -> Phase<S> {
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

/// Returns a number that is the same for the same text on every machine (FNV-1a).
pub(super) fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
