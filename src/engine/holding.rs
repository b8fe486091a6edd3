//! What people want kept, and what they do to single snapshots: who may, the engine says, and writes it
//! down before anything is asked of the outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use super::event::{Books, Done, Note, Refusal};
use super::tracked::Tracked;
use crate::journal::change::{Audit, Change};
use crate::journal::record::HoldRecord;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::estate::{Estate, Living};
use crate::lifecycle::hold::{Hold, HoldOrder, HoldRefusal, Holds};
use crate::lifecycle::snapshot::{Snapshot, label};
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Kind, Phase};
use crate::roster::Roster;

/// What people want kept, by repository.
#[derive(Debug, Default)]
pub(super) struct Held {
    records: BTreeMap<(Arc<str>, Box<str>), HoldRecord>,
    by_repository: BTreeMap<Arc<str>, Arc<Holds>>,
}

impl Held {
    pub(super) fn new(records: Vec<HoldRecord>) -> Held {
        let mut held = Held::default();
        for record in records {
            held.insert(record);
        }
        held
    }

    /// Returns what is held in a repository. What was held in one that is no longer known may be there under
    /// another name, and is held everywhere.
    pub(super) fn in_repository(&self, name: &str, roster: &Roster) -> Arc<Holds> {
        let mut holds = self.by_repository.get(name).cloned().unwrap_or_default();
        let is_lost = |record: &&HoldRecord| !roster.repositories.contains_key(&record.repository);
        for record in self.records.values().filter(is_lost) {
            Arc::make_mut(&mut holds).insert(&record.snapshot, record.hold.clone());
        }
        holds
    }

    /// Returns under which repository a hold is known: this one, or one that is no longer.
    fn place_of(&self, repository: Arc<str>, snapshot: &str, roster: &Roster) -> Arc<str> {
        let is_here = self.records.contains_key(&(repository.clone(), snapshot.into()));
        let lost =
            self.records.keys().find(|(place, name)| **name == *snapshot && !roster.repositories.contains_key(place));
        if is_here { repository } else { lost.map_or(repository, |(place, _)| place.clone()) }
    }

    /// Returns all of it, for readers.
    pub(super) fn shown(&self) -> Arc<[HoldRecord]> {
        self.records.values().cloned().collect()
    }

    fn insert(&mut self, record: HoldRecord) {
        let holds = Arc::make_mut(self.by_repository.entry(record.repository.clone()).or_default());
        holds.insert(&record.snapshot, record.hold.clone());
        self.records.insert((record.repository.clone(), record.snapshot.clone()), record);
    }

    fn remove(&mut self, repository: &Arc<str>, snapshot: &str) -> Option<HoldRecord> {
        let holds = Arc::make_mut(self.by_repository.get_mut(repository)?);
        holds.remove(snapshot);
        self.records.remove(&(repository.clone(), snapshot.into()))
    }
}

impl Engine {
    /// Holds a snapshot that was just listed. From this turn's commit on no plan condemns it.
    pub(super) fn hold(
        &mut self,
        who: &str,
        repository: &str,
        snapshot: &Snapshot,
        order: &HoldOrder,
        now: Moment,
    ) -> Result<Done, Refusal> {
        self.refuse_without_room(now)?;
        let repository = self.repository_named(repository)?;
        let name = &*snapshot.name;
        // The journal takes no others; no repository's answer may bring it to refuse a turn.
        if name.is_empty() || name.contains(char::is_control) {
            return Err(Refusal::NotAllowed("what has no name cannot be held".to_string()));
        }
        if self.is_being_deleted(&repository, name) {
            return Err(Refusal::NotAllowed(format!("snapshot {name} is being deleted")));
        }
        let at = self.believed(now);
        let known = self.held.in_repository(&repository, &self.roster).on(snapshot, at);
        let hold = Hold::made(known.as_ref(), order, at, self.clock.trust.reached).map_err(not_allowed)?;
        let own = |key: &str| snapshot.labels.get(key).filter(|value| !value.is_empty());
        let is_ours = own(label::INSTALLATION).is_some_and(|value| **value == *self.installation);
        let policy_uid = own(label::POLICY_UID).filter(|_| is_ours).map(|uid| Arc::from(uid.as_str()));
        let record = HoldRecord { repository, snapshot: name.into(), policy_uid, hold, who: who.into() };
        if self.held.records.get(&(record.repository.clone(), record.snapshot.clone())) != Some(&record) {
            let audit = Audit::of(now.wall, who, "hold", name, format!("held in repository {}", record.repository));
            let (before, after) = (known.as_ref().map(in_words), Some(in_words(&record.hold)));
            self.audit(Audit { before, after, ..audit });
            self.changes.push(Change::Hold(record.clone()));
            self.held.insert(record.clone());
            self.view.set_holds(self.held.shown());
        }
        Ok(Done::Held(Box::new(record)))
    }

    /// Removes what holds a snapshot that was just listed, as far as the journal goes.
    pub(super) fn release(
        &mut self,
        who: &str,
        repository: &str,
        snapshot: &Snapshot,
        now: Moment,
    ) -> Result<Done, Refusal> {
        let repository = self.repository_named(repository)?;
        let name = &*snapshot.name;
        if let Some(why) = self.forbidden(Kind::Deletion) {
            return Err(Refusal::NotAllowed(format!("no hold is removed: {why}")));
        }
        let holds = self.held.in_repository(&repository, &self.roster);
        let stamped = Hold::stamped(snapshot);
        if holds.of(name).is_none() && stamped.is_none() {
            return Err(not_allowed(HoldRefusal::NotHeld));
        }
        let at = self.believed(now);
        if let Some(hold) = holds.on(snapshot, at) {
            hold.may_go(at, &self.clock.trust).map_err(not_allowed)?;
        }
        let repository = self.held.place_of(repository, name, &self.roster);
        let known = self.held.remove(&repository, name);
        let before = known.as_ref().map(|record| &record.hold).or(stamped.as_ref()).map(in_words);
        let audit = Audit::of(now.wall, who, "release", name, format!("hold removed in repository {repository}"));
        self.audit(Audit { before, ..audit });
        if known.is_some() {
            self.changes.push(Change::Release { repository, snapshot: name.into() });
            self.view.set_holds(self.held.shown());
        }
        Ok(Done::Acknowledged)
    }

    /// Says what is needed to judge what people want of single snapshots.
    pub(super) fn books(&self, repositories: &[String], now: Moment) -> Result<Done, Refusal> {
        let Done::Sites(sites) = self.sites(repositories, &[])? else {
            return Err(Refusal::Unavailable("the engine answered another question".to_string()));
        };
        let is_busy = |tracked: &Tracked| !tracked.creation.is_waiting() || !tracked.deletion.is_waiting();
        let living = self.policies.values().filter(|tracked| tracked.entry.is_some() || is_busy(tracked));
        let policies = living.map(|tracked| {
            let repository = tracked.entry.as_ref().map(|entry| (*entry.repository.name).into());
            ((*tracked.uid).into(), Living { name: (*tracked.name).into(), repository })
        });
        let estate = Estate {
            installation: self.installation.clone(),
            policies: policies.collect(),
            locks: self.age_locks.clone(),
            now: self.believed(now),
        };
        let names: BTreeSet<Arc<str>> = sites.iter().map(|site| site.repository.name.clone()).collect();
        let holds =
            names.into_iter().map(|name| (name.clone(), self.held.in_repository(&name, &self.roster))).collect();
        Ok(Done::Books(Box::new(Books { estate, sites, holds })))
    }

    /// Writes down what is about to be done to a single snapshot, or was.
    pub(super) fn write_note(&mut self, who: &str, note: Note, now: Moment) -> Done {
        let Note { what, subject, detail, before, after, is_over, gone_of } = note;
        let audit = Audit { before, after, ..Audit::of(now.wall, who, what, &subject, detail) };
        if is_over {
            self.audit(audit)
        } else {
            self.changes.push(Change::Audit(audit))
        }
        let index = gone_of.and_then(|uid| self.uids.get(&*uid)).copied();
        if let Some(index) = index {
            // What a person deletes on purpose is no listing that has shrunk (G9).
            self.with(index, |engine, tracked| {
                tracked.seen = tracked.seen.map(|seen| seen.saturating_sub(1));
                engine.dirty.insert((index, Kind::Deletion));
            });
        }
        Done::Acknowledged
    }

    /// Returns the smaller of the clocks, by which plans are made too (G2).
    fn believed(&self, now: Moment) -> Timestamp {
        now.wall.min(self.clock.trust.time(now))
    }

    fn repository_named(&self, name: &str) -> Result<Arc<str>, Refusal> {
        let known = self.roster.repositories.get_key_value(name);
        known.map(|(name, _)| name.clone()).ok_or_else(|| Refusal::UnknownRepository(name.to_string()))
    }

    /// Whether a deletion was ordered whose fate is open.
    fn is_being_deleted(&self, repository: &str, name: &str) -> bool {
        self.policies.values().any(|tracked| {
            let there = |entry: &Arc<crate::roster::Entry>| *entry.repository.name == *repository;
            let is_it = match &tracked.deletion.workflow.phase {
                Phase::Active(run) => match &run.step {
                    Deletion::Deleting { target, .. } | Deletion::Confirming { target, .. } => *target.name == *name,
                    Deletion::Planning { .. } | Deletion::Rechecking { .. } => false,
                },
                Phase::Watching(watch) => watch.name.as_str() == name,
                Phase::Waiting => false,
            };
            is_it && tracked.deletion.terms.as_ref().is_none_or(there)
        })
    }
}

fn in_words(hold: &Hold) -> Box<str> {
    let mode = if hold.compliance { "in compliance mode " } else { "" };
    format!("{mode}{hold}").into()
}

fn not_allowed(refusal: HoldRefusal) -> Refusal {
    Refusal::NotAllowed(refusal.to_string())
}
