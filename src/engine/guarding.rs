//! What the guards of deletion need from outside the rule: what was in force before, what was held and what
//! people said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::command::another_request;
use super::event::{Done, Refusal};
use super::tracked::{Around, Tracked, Work};
use crate::journal::change::{Audit, Change, HeldPlan, PlanAnswer};
use crate::journal::{ErrorKind, JournalError};
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::plan::{Approval, Braked, Former, Guard, Held, Plan, Sight};
use crate::lifecycle::policy::{Condition, Revision};
use crate::lifecycle::time::Moment;
use crate::lifecycle::workflow::{Answer, Kind, Phase};
use crate::roster::Entry;

/// A held plan can be approved for so long; after that the repository has become another one.
pub const APPROVAL_MAX_MS: i64 = 86_400_000;
/// What is deleted counts for its repository's rate for so long (G14).
const RATE_MS: i64 = 3_600_000;

impl Engine {
    /// Returns what terms are made of beside the policy.
    pub(super) fn around<'e, W: Work>(&'e mut self, tracked: &Tracked, answer: &Answer, now: Moment) -> Around<'e> {
        let rule = tracked.deletion_rule().filter(|_| W::KIND == Kind::Deletion);
        // Read where it is needed: it is as long as the listing.
        let waits = rule.is_some_and(|rule| rule.guards.grace.is_some() || rule.guards.rate.is_some());
        let asked = (waits && matches!(answer, Answer::Listed(_))).then(|| self.journal.condemned_since(&tracked.uid));
        let condemned_since = match asked.unwrap_or_else(|| Ok(BTreeMap::new())) {
            Ok(since) => since,
            Err(trouble) => {
                // Everything is condemned for the first time then. The commit of this turn meets the same journal.
                tracing::error!(cause = %trouble, "failed to read since when snapshots have been condemned");
                BTreeMap::new()
            }
        };
        let rate = rule.and_then(|rule| rule.guards.rate);
        let repository = tracked.entry.as_ref().map(|entry| entry.repository.name.clone());
        let held_in = Deletion::asked(tracked).map(|entry| entry.repository.name.clone()).or(repository.clone());
        let rate_left = rate.zip(repository).map(|(rate, name)| rate.saturating_sub(self.deleted_lately(&name, now)));
        Around {
            installation: &self.installation,
            clock: Sight { now, trust: self.clock.trust, synchronised: self.clock.synchronised },
            condemned_since: Arc::new(condemned_since),
            rate_left,
            lock: self.age_locks.of(&tracked.uid),
            holds: held_in.map(|name| self.held.in_repository(&name, &self.roster)).unwrap_or_default(),
        }
    }

    /// Counts a deletion for its repository's rate (G14).
    pub(super) fn count_deletion(&mut self, tracked: &Tracked, now: Moment) {
        if let Some(entry) = Deletion::asked(tracked) {
            self.deletions.entry(entry.repository.name.clone()).or_default().push_back(now);
        }
    }

    fn deleted_lately(&mut self, repository: &str, now: Moment) -> u32 {
        let Some(deletions) = self.deletions.get_mut(repository) else { return 0 };
        while deletions.front().is_some_and(|at| now.since(at) >= RATE_MS) {
            deletions.pop_front();
        }
        u32::try_from(deletions.len()).unwrap_or(u32::MAX)
    }

    /// Counts what was deleted within the last hour, before this start too.
    pub(super) fn recount_deletions(&mut self, now: Moment) -> Result<(), JournalError> {
        for (policy_uid, at) in self.journal.deletions_since(now.wall.plus(-RATE_MS))? {
            let index = self.uids.get(&policy_uid);
            let entry = index.and_then(|index| self.policies.get(index)?.entry.clone());
            // Its file may be read a little later; the roster of this start has it already.
            let name = index.and_then(|index| self.policies.get(index)).map(|tracked| tracked.name.clone());
            let entry = entry.or_else(|| self.roster.policies.get(&name?).cloned());
            if let Some(entry) = entry {
                let at = Moment { wall: at, uptime: now.uptime - now.wall.since(at).max(0), ..now };
                self.deletions.entry(entry.repository.name.clone()).or_default().push_back(at);
            }
        }
        Ok(())
    }

    /// Lets the next listing of every repository be one to look at only (G15). The journal has it already.
    pub(super) fn look_first(&mut self) {
        let all: Vec<u32> = self.policies.keys().copied().collect();
        for index in all {
            self.with(index, |_, tracked| tracked.remember(|guarded| guarded.unlooked = true));
        }
    }

    /// Writes down what the guards of a policy remember.
    pub(super) fn keep_memory(&mut self, tracked: &Tracked) {
        self.changes.push(Change::Guard { policy_uid: tracked.uid.clone(), memory: tracked.memory() });
    }

    /// Remembers under which condition plans went ahead so far, until one goes ahead under the new one (G11).
    /// `revision` is the version in force so far, `known` what it says.
    pub(super) fn remember_former(
        &mut self,
        tracked: &mut Tracked,
        revision: Option<Revision>,
        known: Option<&Entry>,
        entry: &Entry,
    ) {
        let Some(revision) = revision else { return };
        let was = known.and_then(condition).map_or(Former::Nothing, Former::Condition);
        let is_new = tracked.guarded.as_ref().is_none_or(|guarded| guarded.former.is_none());
        let now_deletes = condition(entry);
        if is_new && was == Former::Nothing && now_deletes.is_none() {
            return;
        }
        self.compare_former(tracked, (was, revision), now_deletes);
    }

    /// Remembers `was` unless something earlier is remembered, and forgets it where the condition is the same again.
    fn compare_former(&mut self, tracked: &mut Tracked, was: (Former, Revision), condition: Option<Condition>) {
        let before = tracked.memory();
        tracked.remember(|guarded| {
            let former = guarded.former.take().unwrap_or(was);
            // A policy that deletes nothing for a while goes on where it was.
            let is_same = condition.is_some_and(|condition| former.0 == Former::Condition(condition));
            guarded.former = (!is_same).then_some(former);
        });
        if tracked.memory() != before {
            self.keep_memory(tracked);
        }
    }

    /// Takes up what the guards remembered of a policy that was there before under its uid.
    pub(super) fn remember_returning(&mut self, tracked: &mut Tracked, entry: &Entry) {
        let returning = match self.journal.returning(&tracked.uid) {
            Ok(Some(returning)) => returning,
            Ok(None) => return,
            Err(trouble) => {
                tracing::error!(cause = %trouble, "failed to look up a policy that may return");
                return;
            }
        };
        let revision = returning.memory.former.unwrap_or(returning.revision);
        let text = self.journal.terms_of(&revision).ok().flatten();
        tracked.seen = returning.seen;
        tracked.cleared_at = returning.memory.cleared_at;
        tracked.remember(|guarded| {
            guarded.braked = returning.memory.braked;
            guarded.unlooked = true;
        });
        self.compare_former(tracked, (former(text.as_deref()), revision), condition(entry));
        self.keep_memory(tracked);
    }

    /// Writes a plan down, and what it means for what comes next.
    pub(super) fn note_plan(&mut self, tracked: &mut Tracked, run_id: &str, plan: Plan, now: Moment) {
        let before = tracked.memory();
        let number = self.latest_plan + 1;
        if !plan.is_held() {
            let spared = plan.spared().map(Into::into);
            let is_thorough = plan.is_thorough();
            tracked.remember(|guarded| {
                guarded.held = None;
                guarded.braked = None;
                guarded.unlooked = false;
                guarded.leaves = !is_thorough;
                guarded.spared = spared;
                // A plan that judged nothing by it leaves the comparison open.
                if is_thorough {
                    guarded.former = None;
                }
            });
        } else if !self.is_held_again(tracked, &plan, now) {
            self.note_held(tracked, number, &plan, now);
        } else {
            // The same plan again, with half its time left: what a person has read stays what can be approved.
            return;
        }
        if tracked.memory() != before {
            self.keep_memory(tracked);
        }
        self.latest_plan = number;
        let episode = tracked.held().map(|held| held.episode.clone());
        self.changes.push(Change::Plan { number, run_id: run_id.into(), plan: Box::new(plan), episode });
    }

    fn is_held_again(&self, tracked: &Tracked, plan: &Plan, now: Moment) -> bool {
        // Another doubt is another reason.
        let doubt = doubt_key(&tracked.uid, plan);
        tracked.held().is_some_and(|held| {
            doubt.is_none_or(|doubt| doubt == held.episode)
                && now.since(&held.made) <= APPROVAL_MAX_MS / 2
                && held.guards == plan.guards()
                && held.targets == plan.targets()
        })
    }

    fn note_held(&mut self, tracked: &mut Tracked, number: u64, plan: &Plan, now: Moment) {
        let guards = plan.guards();
        let told = tracked.held().filter(|earlier| earlier.guards == guards).map(|told| told.episode.clone());
        let uid = &tracked.uid;
        let episode: Box<str> = match (doubt_key(uid, plan), told) {
            // A doubt is told once, however long it lasts; and so is what is held again for the same reason.
            (Some(doubt), _) => doubt,
            (None, Some(told)) => told,
            (None, None) => format!("{uid}-held-{number}").into(),
        };
        let braked = guards.contains(&Guard::Brake) || guards.contains(&Guard::Edit);
        let (at, own) = (plan.made_at, plan.own);
        let held = HeldPlan { number, made: now, guards, targets: plan.targets(), episode };
        tracked.remember(|guarded| {
            guarded.held = Some(Arc::new(held));
            guarded.spared = None;
            guarded.leaves = true;
            if braked {
                guarded.braked.get_or_insert(Braked { at, own });
            }
        });
    }

    /// Begins a run that deletes what a held plan shows, as far as the policy in force condemns it.
    pub(super) fn approve(&mut self, who: &str, plan: u64, now: Moment) -> Result<Result<Done, Refusal>, JournalError> {
        if let Some(begun) = self.run_of_request(who)? {
            let answer = self.journal.plan(plan).ok().flatten().and_then(|record| record.answer);
            let is_it = answer.is_some_and(|answer| answer.run_id.as_ref() == Some(&begun.run_id));
            return Ok(if is_it { Ok(begun.done()) } else { Err(another_request()) });
        }
        let (index, approval) = match self.waiting_plan(plan, now)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(Refusal::NoPlan { plan, why })),
        };
        let name = self.policies.get(&index).map(|tracked| tracked.name.to_string());
        let Some(name) = name.filter(|name| self.names.get(&**name) == Some(&index)) else {
            return Ok(Err(Refusal::NoPlan { plan, why: "its policy is gone".to_string() }));
        };
        let done = match self.run_now(who, &name, Kind::Deletion, now) {
            Ok(done) => done,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // Before anything it asks is answered: the answer to this is part of the commit that begins it.
        if let Done::Run { run_id, .. } = &done {
            let detail = format!("plan {plan} approved: {} snapshots", approval.targets.len());
            let answer = PlanAnswer { number: plan, run_id: Some(run_id.clone()), who: who.into(), at: now.wall };
            self.changes.push(Change::AnswerPlan(answer));
            let audit = Audit::of(now.wall, who, "approve", &name, detail);
            let (before, after) = (Some("held".into()), Some("approved".into()));
            self.audit(Audit { run_id: Some(run_id.clone()), before, after, ..audit });
            self.with(index, |engine, tracked| {
                engine.clear_held(&tracked.uid);
                tracked.remember(|guarded| {
                    guarded.held = None;
                    guarded.approval = Some(Arc::new(approval));
                });
            });
        }
        Ok(Ok(done))
    }

    /// Closes a held plan: nothing of it is deleted.
    pub(super) fn refuse(&mut self, who: &str, plan: u64, now: Moment) -> Result<Result<Done, Refusal>, JournalError> {
        let (index, _) = match self.waiting_plan(plan, now)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(Refusal::NoPlan { plan, why })),
        };
        self.with(index, |engine, tracked| {
            tracked.remember(|guarded| guarded.held = None);
            engine.clear_held(&tracked.uid);
            let answer = PlanAnswer { number: plan, run_id: None, who: who.into(), at: now.wall };
            engine.changes.push(Change::AnswerPlan(answer));
            let audit = Audit::of(now.wall, who, "refuse", &tracked.name, format!("plan {plan} refused"));
            engine.audit(Audit { before: Some("held".into()), after: Some("refused".into()), ..audit });
        });
        Ok(Ok(Done::Acknowledged))
    }

    /// Returns whose a plan is that waits for an answer and what approving it means, or why there is none.
    fn waiting_plan(&mut self, plan: u64, now: Moment) -> Result<Result<(u32, Approval), String>, JournalError> {
        let record = match self.journal.plan(plan) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Err("there is no such plan".to_string())),
            // One row is no reason to end; nothing of it is deleted.
            Err(trouble) if trouble.kind() == ErrorKind::Corrupt => {
                return Ok(Err(format!("it cannot be read: {trouble}")));
            }
            Err(trouble) => return Err(trouble),
        };
        if !record.plan.is_held() {
            return Ok(Err("no guard stopped it".to_string()));
        }
        if let Some(answer) = &record.answer {
            let word = if answer.run_id.is_some() { "approved" } else { "refused" };
            return Ok(Err(format!("it was {word} at {}", answer.at)));
        }
        let waits = |tracked: &Tracked| tracked.held().filter(|held| held.number == plan).map(|held| held.made);
        let found = self.uids.get(&record.policy_uid).copied().and_then(|index| {
            let tracked = self.policies.get(&index)?;
            Some((index, waits(tracked)?))
        });
        Ok(match found {
            None => Err("a later plan has taken its place, or its policy is gone".to_string()),
            Some((_, made)) if now.since(&made) > APPROVAL_MAX_MS => {
                Err(format!("it was made at {}, and a plan waits 24h; the next run makes another", made.wall))
            }
            Some((index, _)) => Ok((index, record.plan.approval(plan))),
        })
    }
}

/// Returns under which key notices tell of a doubted clock; `None` where that is not what holds the plan.
fn doubt_key(policy_uid: &str, plan: &Plan) -> Option<Box<str>> {
    plan.held.iter().find_map(|held| match held {
        Held::Clock(doubt) => {
            Some(format!("{policy_uid}-{}-{}", Guard::Clock.word(), doubt.since.wall.millis()).into())
        }
        Held::Ahead { .. } | Held::ListingShrank { .. } | Held::Edit { .. } | Held::Brake { .. } => None,
    })
}

fn condition(entry: &Entry) -> Option<Condition> {
    entry.policy.deletion.as_ref().map(|rule| rule.condition.clone())
}

/// Returns what a version had in force, by its terms.
pub(super) fn former(terms: Option<&str>) -> Former {
    match terms.map(crate::roster::entry_from_terms) {
        Some(Ok(entry)) => condition(&entry).map_or(Former::Nothing, Former::Condition),
        // What cannot be compared with is taken for what deletes nothing: a person will be asked.
        Some(Err(_)) | None => Former::Nothing,
    }
}

/// Whether a decision to delete is to be thought over before it is carried out.
pub(super) fn is_doubtful<W: Work>(engine: &Engine, tracked: &Tracked) -> bool {
    let approved = tracked.guarded.as_ref().and_then(|guarded| guarded.approval.as_ref());
    let is_free = approved.is_some_and(|approval| approval.guards.contains(&Guard::Clock));
    let is_active = matches!(W::flow(tracked).workflow.phase, Phase::Active(_));
    W::KIND == Kind::Deletion && is_active && engine.clock.trust.doubt.is_some() && !is_free
}
