//! What an answer makes of a workflow, and everything that is written down because of it.

use std::sync::Arc;

use super::event::JobId;
use super::pump::{LATE_MS, watching};
use super::tracked::{Tracked, Work};
use super::{ENGINE, Engine, settled};
use crate::journal::change::{Audit, Change, Settled};
use crate::lifecycle::deletion::seen_after;
use crate::lifecycle::time::{Moment, Wait};
use crate::lifecycle::workflow::{Answer, Ending, Fact, Kind, Outcome, Phase, Turn};

impl Engine {
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

    /// A question that was open when the journal was last written will not be answered. While a wait
    /// goes on none was open.
    pub(super) fn lost<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) {
        match &W::flow(tracked).workflow.phase {
            // Within one boot nothing can shorten a wait. Its span is kept, so that restarts in a row do
            // not put the question off again and again.
            Phase::Active(run) if run.wait.from.boot == now.boot && !run.wait.is_over(&now) => {}
            Phase::Active(_) => self.advance::<W>(index, tracked, Answer::Lost, now),
            Phase::Waiting | Phase::Watching(_) => {}
        }
    }

    pub(super) fn advance<W: Work>(&mut self, index: u32, tracked: &mut Tracked, answer: Answer, now: Moment) {
        let around = self.around::<W>(tracked, &answer, now);
        let (Some(terms), Some(effort)) = (W::terms(tracked, &around), W::effort(tracked)) else {
            // Without terms nothing can be made of it; the next move settles the run and says why.
            return;
        };
        let Phase::Active(run) = W::flow(tracked).workflow.phase.clone() else { return };
        let run_id = run.id.clone();
        let listed = match &answer {
            Answer::Listed(listing) if W::KIND == Kind::Deletion => Some(self.listed(tracked, listing)),
            _ => None,
        };
        match run.advance(&terms, &effort, answer, now) {
            Ok(Turn { phase, settled, attempts, facts, changed, abandon }) => {
                if let (Some(attempts), Phase::Active(run)) = (attempts, &mut W::flow_mut(tracked).workflow.phase) {
                    run.attempts = attempts;
                }
                tracked.seen = seen_after(tracked.seen, &facts);
                let gone = facts.iter().filter(|fact| matches!(fact, Fact::Deleted(_))).count();
                let gone = u32::try_from(gone).unwrap_or(u32::MAX);
                for fact in facts {
                    self.note(tracked, &run_id, fact, now);
                }
                if let Some(listed) = listed {
                    self.note_listed(tracked, &listed, &phase, now);
                }
                if abandon && let Some(job) = W::flow_mut(tracked).job.take() {
                    self.jobs.remove(&job);
                    self.errands.abandon.push(job);
                }
                match settled {
                    Some(ending) => self.settle::<W>(index, tracked, ending, gone, phase, now),
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
                tracing::error!(policy = %tracked.name, cause = %out_of_turn, "an answer came that was not asked for");
                if let Phase::Active(run) = &mut W::flow_mut(tracked).workflow.phase {
                    run.wait = Wait { from: now, span_ms: LATE_MS };
                    run.step = run.step.clone().doubt();
                }
                self.dirty.insert((index, W::KIND));
            }
        }
    }

    fn note(&mut self, tracked: &mut Tracked, run_id: &str, fact: Fact, now: Moment) {
        match fact {
            Fact::Planned(plan) => {
                self.note_plan(tracked, run_id, plan, now);
            }
            Fact::Spared { target, reason } => {
                let detail = format!("spared although the plan condemned it: {reason}");
                let audit = Audit::of(now.wall, ENGINE, "spare", &target.name, detail);
                self.audit(Audit { run_id: Some(run_id.into()), ..audit });
            }
            Fact::Deleted(target) => {
                tracing::info!(policy = %tracked.name, run = run_id, snapshot = %target.name, "deleted snapshot");
                self.count_deletion(tracked, now);
                self.note_gone(tracked, now);
                let detail = format!("deleted, driver's id {}", target.id);
                let audit = Audit::of(now.wall, ENGINE, "delete", &target.name, detail);
                self.audit(Audit { run_id: Some(run_id.into()), ..audit });
            }
        }
    }

    /// Writes down how a run ended, with everything that is owed because of it, as one commit. `deleted` is how many
    /// snapshots went with its last answer.
    pub(super) fn settle<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        ending: Ending,
        deleted: u32,
        phase: Phase<W>,
        now: Moment,
    ) {
        let Phase::Active(run) = &W::flow(tracked).workflow.phase else { return };
        let run_id = run.id.clone();
        let (attempts, began_at) = (run.attempts, run.began.wall);
        settled::log(tracked, run, deleted, &ending, now);
        self.tell_settled::<W>(tracked, &run_id, &ending, now);
        if let Some(latest) = W::flow_mut(tracked).latest.as_mut().map(Arc::make_mut) {
            latest.settle(&ending, attempts, now.wall);
        }
        if W::KIND == Kind::Creation && ending.outcome == Outcome::Succeeded {
            tracked.last_good = tracked.creation.latest.clone();
        }
        if W::KIND == Kind::Deletion {
            let left = tracked.guarded.as_ref().is_some_and(|guarded| guarded.leaves);
            if ending.outcome == Outcome::Succeeded && !left {
                tracked.cleared_at = began_at;
                self.keep_memory(tracked);
            }
            tracked.remember(|guarded| guarded.approval = None);
            self.shelves.remove(&tracked.uid);
        }
        self.changes.push(Change::Settle(Settled { run_id, at: now.wall, ending, attempts }));
        self.rest::<W>(index, tracked, phase, now);
    }

    /// Puts a workflow into a phase in which it has no run.
    pub(super) fn rest<W: Work>(&mut self, index: u32, tracked: &mut Tracked, phase: Phase<W>, now: Moment) {
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
}
