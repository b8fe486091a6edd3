//! What the guards of deletion need from outside the rule: the clock, what was in force before, what was held
//! and what people said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::event::{Done, Refusal};
use super::tracked::{Around, Tracked, Work};
use crate::journal::JournalError;
use crate::journal::change::{Change, HeldPlan, PlanAnswer};
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::plan::{Former, Guard, Held, Plan, Sight};
use crate::lifecycle::policy::{Condition, Revision};
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::trust::{NOTE_EVERY_MS, Trust};
use crate::lifecycle::workflow::{Kind, Phase};
use crate::roster::Entry;

/// A held plan can be approved for so long; after that the repository has become another one.
pub const APPROVAL_MAX_MS: i64 = 86_400_000;
/// What is deleted counts for its repository's rate for so long (G14).
const RATE_MS: i64 = 3_600_000;

/// What the engine knows of the clock.
#[derive(Debug)]
pub(super) struct Clock {
    pub trust: Trust,
    pub synchronised: bool,
    /// When it was last written down.
    noted: Moment,
    /// The latest wall time that was written down anywhere.
    written: Timestamp,
}

impl Clock {
    /// `trust` is what the journal has, `written` the latest instant in it.
    pub(super) fn new(trust: Option<Trust>, now: Moment, synchronised: bool, written: Timestamp) -> Clock {
        let trust = trust.unwrap_or_else(|| Trust::first(now, synchronised));
        Clock { trust, synchronised, noted: Moment { uptime: now.uptime - NOTE_EVERY_MS, ..now }, written }
    }

    /// At what uptime it is to be written down again, at the next turn: the engine takes one a minute.
    fn due_at(&self) -> i64 {
        self.noted.uptime + NOTE_EVERY_MS
    }
}

impl Engine {
    /// Takes what the kernel says of its clock.
    pub fn hear_of_clock(&mut self, synchronised: bool) {
        self.clock.synchronised = synchronised;
    }

    /// Whether it matters what the kernel says of its clock.
    pub fn asks_for_clock(&self) -> bool {
        self.clock.trust.doubt.is_some() || !self.clock.trust.anchor_synchronised
    }

    /// Looks at the clock, and writes down now and then that it is believed, or that it is not any more.
    pub(super) fn watch_clock(&mut self, now: Moment) {
        let before = self.clock.trust;
        let trust = before.look(now, self.clock.synchronised);
        self.clock.trust = trust;
        self.clock.written = self.clock.written.max(now.wall);
        match (before.doubt, trust.doubt) {
            (None, Some(doubt)) => tracing::error!(why = %doubt.cause, "the clock is doubted: nothing is deleted"),
            (Some(_), None) => tracing::info!("the clock is believed again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let turned = before.doubt.is_some() != trust.doubt.is_some() || before.anchor_ms != trust.anchor_ms;
        if turned || now.uptime >= self.clock.due_at() || now.boot != self.clock.noted.boot {
            self.note_clock(now);
        }
        if turned {
            self.show_restrictions();
        }
    }

    fn note_clock(&mut self, now: Moment) {
        self.clock.noted = now;
        self.changes.push(Change::Clock(self.clock.trust));
    }

    /// Believes the clock, because a person says so.
    pub(super) fn confirm_clock(&mut self, who: &str, now: Moment) -> Done {
        let clock = &mut self.clock;
        let doubt = clock.trust.doubt;
        clock.trust = clock.trust.confirm(now, clock.synchronised, clock.written);
        self.note_clock(now);
        let detail = match doubt {
            Some(doubt) => format!("clock confirmed although {}", doubt.cause),
            None => "clock confirmed".to_string(),
        };
        self.audit(now.wall, who, "confirm_clock", "clock", detail, None);
        self.show_restrictions();
        self.pump_all(now);
        Done::Acknowledged
    }

    /// Returns what terms are made of beside the policy.
    pub(super) fn around<'e, W: Work>(&'e mut self, tracked: &Tracked, now: Moment) -> Around<'e> {
        let rule = tracked.deletion_rule().filter(|_| W::KIND == Kind::Deletion);
        let graced = rule.is_some_and(|rule| rule.guards.grace.is_some());
        let condemned_since = match self.journal.condemned_since(&tracked.uid) {
            _ if !graced => BTreeMap::new(),
            Ok(since) => since,
            Err(trouble) => {
                // Everything is condemned for the first time then. The commit of this turn meets the same journal.
                tracing::error!(%trouble, "failed to read since when snapshots have been condemned");
                BTreeMap::new()
            }
        };
        let rate = rule.and_then(|rule| rule.guards.rate);
        let repository = tracked.entry.as_ref().map(|entry| entry.repository.name.clone());
        let rate_left = rate.zip(repository).map(|(rate, name)| rate.saturating_sub(self.deleted_lately(&name, now)));
        Around {
            installation: &self.installation,
            clock: Sight { now, trust: self.clock.trust, synchronised: self.clock.synchronised },
            condemned_since: Arc::new(condemned_since),
            rate_left,
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

    /// Remembers under which condition plans went ahead so far, until one goes ahead under the new one (G11).
    /// `revision` is the version in force so far, `known` what it says.
    pub(super) fn remember_former(
        &mut self,
        tracked: &mut Tracked,
        revision: Option<Revision>,
        known: Option<&Entry>,
        entry: &Entry,
    ) {
        let condition = |entry: &Entry| entry.policy.deletion.as_ref().map(|rule| rule.condition.clone());
        let Some(new) = condition(entry) else { return };
        let former = |condition: Option<Condition>| condition.map_or(Former::Nothing, Former::Condition);
        let kept = tracked.guarded.as_ref().and_then(|guarded| guarded.former.clone());
        let was_kept = kept.is_some();
        let was = kept.unwrap_or_else(|| former(known.and_then(condition)));
        let is_same = was == Former::Condition(new);
        if is_same != was_kept {
            return;
        }
        let revision = if is_same { None } else { revision };
        tracked.remember(|guarded| guarded.former = (!is_same).then_some(was));
        self.changes.push(Change::Former { policy_uid: tracked.uid.clone(), revision });
    }

    /// Notes what a plan means for what comes next. Returns under which key notices tell of it.
    pub(super) fn note_plan(
        &mut self,
        tracked: &mut Tracked,
        number: u64,
        plan: &Plan,
        now: Moment,
    ) -> Option<Box<str>> {
        let earlier = tracked.held().cloned();
        if !plan.is_held() {
            let was_former = tracked.guarded.as_ref().is_some_and(|guarded| guarded.former.is_some());
            let spared = plan.spared().map(Into::into);
            tracked.remember(|guarded| {
                guarded.held = None;
                guarded.former = None;
                guarded.spared = spared;
            });
            if was_former {
                self.changes.push(Change::Former { policy_uid: tracked.uid.clone(), revision: None });
            }
            return None;
        }
        let guards = plan.held.iter().map(Held::guard).collect();
        let doubted = plan.held.iter().find_map(|held| match held {
            Held::Clock(doubt) => Some(doubt.since.wall),
            Held::Ahead { .. } | Held::ListingShrank { .. } | Held::Edit { .. } | Held::Brake { .. } => None,
        });
        let told = earlier.filter(|earlier| earlier.guards == guards);
        let uid = &tracked.uid;
        let episode: Box<str> = match (doubted, told) {
            // A doubt is told once, however long it lasts; and so is what is held again for the same reason.
            (Some(since), _) => format!("{uid}-{}-{}", Guard::Clock.word(), since.millis()).into(),
            (None, Some(told)) => told.episode.clone(),
            (None, None) => format!("{uid}-held-{number}").into(),
        };
        let held = HeldPlan { number, made: now, guards, episode: episode.clone() };
        tracked.remember(|guarded| {
            guarded.held = Some(Arc::new(held));
            guarded.spared = None;
        });
        Some(episode)
    }

    /// Begins a run that deletes what a held plan shows, as far as the policy in force condemns it.
    pub(super) fn approve(&mut self, who: &str, plan: u64, now: Moment) -> Result<Result<Done, Refusal>, JournalError> {
        let (index, approval) = match self.waiting_plan(plan, now)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(Refusal::NoPlan { plan, why })),
        };
        let Some(name) = self.policies.get(&index).map(|tracked| tracked.name.to_string()) else {
            return Ok(Err(Refusal::NoPlan { plan, why: "its policy is gone".to_string() }));
        };
        let done = match self.run_now(who, &name, Kind::Deletion, None, now) {
            Ok(done) => done,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // Before anything it asks is answered: the answer to this is part of the commit that begins it.
        if let Done::Run { run_id, .. } = &done {
            let detail = format!("plan {plan} approved: {} snapshots", approval.targets.len());
            let answer = PlanAnswer { number: plan, run_id: Some(run_id.clone()), who: who.into(), at: now.wall };
            self.changes.push(Change::AnswerPlan(answer));
            self.audit(now.wall, who, "approve", &name, detail, Some(run_id));
            self.with(index, |_, tracked| {
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
            let answer = PlanAnswer { number: plan, run_id: None, who: who.into(), at: now.wall };
            engine.changes.push(Change::AnswerPlan(answer));
            engine.audit(now.wall, who, "refuse", &tracked.name.clone(), format!("plan {plan} refused"), None);
        });
        Ok(Ok(Done::Acknowledged))
    }

    /// Returns whose a plan is that waits for an answer and what approving it means, or why there is none.
    fn waiting_plan(
        &mut self,
        plan: u64,
        now: Moment,
    ) -> Result<Result<(u32, crate::lifecycle::plan::Approval), String>, JournalError> {
        let Some(record) = self.journal.plan(plan)? else { return Ok(Err("there is no such plan".to_string())) };
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

/// Returns what was in force when a plan last went ahead, as the journal has it.
pub(super) fn former(revision: &Revision, terms: &BTreeMap<Revision, Box<str>>) -> Former {
    let entry = terms.get(revision).map(|text| crate::roster::entry_from_terms(text));
    match entry {
        Some(Ok(entry)) => {
            entry.policy.deletion.map_or(Former::Nothing, |rule| Former::Condition(rule.condition.clone()))
        }
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
