//! What people do to single snapshots: hold and release them, let a policy adopt them, delete them by name.
//!
//! The engine says whether it may be and writes it down; then the driver is asked, and what came of each
//! snapshot is written down. In one repository one change goes after another, each in its place among the
//! engine's own creations and deletions. Whoever wants to change several sees first what would happen; what is done
//! then is done to exactly those, by the driver's identity, and each is judged again right before.

mod look;
pub(super) mod turn;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::drivers::{Call, LabelOrder, Progress, ProgressSink};
use crate::engine::event::{Done, Note, OperationKind, What};
use crate::lifecycle::estate::{Orphaned, Whose};
use crate::lifecycle::hold::{Hold, HoldOrder};
use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Snapshot, label};
use crate::lifecycle::workflow::{Fault, FaultKind};
use crate::roster::Repository;

use super::{Upkeep, mismatch, within};

/// A label is a small file written anew, but of a repository that may have many.
const LABEL_TIME_MAX: Duration = Duration::from_secs(600);
/// A large snapshot may take its time to go.
const DELETE_TIME_MAX: Duration = Duration::from_secs(3600);

/// What can be done to single snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Keep one, whatever the policies say.
    Hold {
        /// Its name, or the driver's own identity of it.
        snapshot: String,
        /// Where to look; everywhere when nothing is named.
        repositories: Vec<String>,
        /// How long, and why.
        order: HoldOrder,
    },
    /// Keep it no more.
    Release {
        /// Its name, or the driver's own identity of it.
        snapshot: String,
        /// Where to look; everywhere when nothing is named.
        repositories: Vec<String>,
    },
    /// Change exactly these, as they were shown.
    Change {
        /// Which.
        named: Vec<Named>,
        /// How.
        change: Change,
    },
}

/// What can be done to several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Let a policy have them.
    Adopt {
        /// Its name.
        policy: String,
    },
    /// Delete them.
    Expire {
        /// Also what a living policy owns.
        owned: bool,
    },
}

/// A snapshot as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// In which repository.
    pub repository: String,
    /// Its name.
    pub name: String,
    /// The driver's own identity of it.
    pub id: String,
}

/// What would become of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// In which repository.
    pub repository: Arc<str>,
    /// As it is listed.
    pub snapshot: Snapshot,
    /// Whose it is, in words.
    pub whose: String,
    /// Why nobody looks after it.
    pub orphaned: Vec<Orphaned>,
    /// What holds it.
    pub hold: Option<Hold>,
    /// What would happen, or why it must not.
    pub verdict: Result<String, String>,
}

/// What was found, and who could not be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// What was found.
    pub shown: Vec<Shown>,
    /// What was not found or is not clear, in a sentence each; repositories that did not answer among it.
    pub troubles: Vec<String>,
}

impl Order {
    /// Returns what it is, for the journal.
    pub fn kind(&self) -> OperationKind {
        match self {
            Order::Hold { .. } | Order::Release { .. } => OperationKind::Hold,
            Order::Change { change: Change::Adopt { .. }, .. } => OperationKind::Adopt,
            Order::Change { change: Change::Expire { .. }, .. } => OperationKind::Expire,
        }
    }

    /// Returns what it is about.
    pub fn subject(&self) -> String {
        match self {
            Order::Hold { snapshot, .. } | Order::Release { snapshot, .. } => snapshot.clone(),
            Order::Change { named, .. } => named.iter().map(|named| named.name.as_str()).collect::<Vec<_>>().join(","),
        }
    }
}

impl Upkeep {
    pub(super) async fn single(&self, who: &str, order: Order, progress: ProgressSink) -> Result<String, Fault> {
        match order {
            Order::Hold { snapshot, repositories, order } => {
                self.hold(who, &snapshot, repositories, order, &progress).await
            }
            Order::Release { snapshot, repositories } => self.release(who, &snapshot, repositories, &progress).await,
            Order::Change { named, change } => self.change_all(who, &named, &change, &progress).await,
        }
    }

    async fn hold(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
        order: HoldOrder,
        progress: &ProgressSink,
    ) -> Result<String, Fault> {
        let (turn, repository, snapshot) = self.only_in_turn(who, name, repositories, progress).await?;
        let place = repository.name.to_string();
        let what = What::Hold { repository: place.clone(), snapshot: Box::new(snapshot.clone()), order };
        let Done::Held(record) = self.ask(who, what).await? else { return Err(mismatch()) };
        let mode = if record.hold.compliance { " in compliance mode" } else { "" };
        let held = format!("held in repository {place}{mode} {}", record.hold);
        if !repository.driver.abilities().label {
            // It may have gone before it was held.
            let now = self.look_at(who, &place).await?;
            if !now.listing.snapshots.iter().any(|one| one.name == snapshot.name) {
                return Err(Fault::permanent("the journal holds it, but it is not there any more"));
            }
            return Ok(format!(
                "{held}; repository {place} ({}) cannot change labels: only the journal knows it",
                repository.kind
            ));
        }
        // From here on it is held; the label may have to wait for the repository, and nobody has to wait for that.
        drop(turn);
        let stamped = self.stamp(who, &place, &snapshot.name, progress).await;
        let unstamped = "the journal holds it, but the snapshot could not be labelled";
        stamped.map_err(|fault| half_done(unstamped, fault)).map(|()| held)
    }

    async fn release(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
        progress: &ProgressSink,
    ) -> Result<String, Fault> {
        let (turn, place, snapshot) = match self.only_in_turn(who, name, repositories.clone(), progress).await {
            Ok((turn, repository, snapshot)) => (turn, repository.name.to_string(), snapshot),
            // What is not there any more need not be held.
            Err(fault) if fault.kind == FaultKind::Permanent => {
                let (place, snapshot) = self.held_and_gone(who, name, repositories).await?.ok_or(fault)?;
                (self.turn_at(&place, progress).await, place, snapshot)
            }
            Err(fault) => return Err(fault),
        };
        let what = What::Release { repository: place.clone(), snapshot: Box::new(snapshot.clone()) };
        let Done::Acknowledged = self.ask(who, what).await? else { return Err(mismatch()) };
        drop(turn);
        let done = format!("held no more in repository {place}");
        if !snapshot.labels.contains_key(label::HOLD) {
            return Ok(done);
        }
        let removed = self.stamp(who, &place, &snapshot.name, progress).await;
        let stamped = "the journal holds it no more, but its label still does";
        removed.map_err(|fault| half_done(stamped, fault)).map(|()| done)
    }

    async fn change_all(
        &self,
        who: &str,
        named: &[Named],
        change: &Change,
        progress: &ProgressSink,
    ) -> Result<String, Fault> {
        let (mut done, mut failed) = (0, Vec::new());
        for one in named {
            progress.tell(Progress {
                doing: one.name.clone(),
                done,
                total: Some(named.len() as u64),
                unit: String::new(),
            });
            // One that must not be, or cannot, keeps no other from its turn.
            match self.change(who, one, change, progress).await {
                Ok(()) => done += 1,
                Err(fault) => failed.push(format!("{}: {}", one.name, fault.message)),
            }
        }
        let word = match change {
            Change::Adopt { policy } => format!("adopted by policy {policy}"),
            Change::Expire { .. } => "deleted".to_owned(),
        };
        let told = format!("{done} of {} {word}", named.len());
        if failed.is_empty() { Ok(told) } else { Err(Fault::permanent(format!("{told}; {}", failed.join("; ")))) }
    }

    async fn change(&self, who: &str, named: &Named, change: &Change, progress: &ProgressSink) -> Result<(), Fault> {
        let mut asks = 1;
        loop {
            match self.change_now(who, named, change, progress).await {
                Err(fault) if self.is_worth_waiting(&fault, asks) => self.pause(&fault, progress).await,
                outcome => return outcome,
            }
            asks += 1;
        }
    }

    async fn change_now(
        &self,
        who: &str,
        named: &Named,
        change: &Change,
        progress: &ProgressSink,
    ) -> Result<(), Fault> {
        let Named { repository, name, id } = named;
        let (subject, place) = (name.clone(), repository.clone());
        let _turn = self.turn_at(repository, progress).await;
        // From the look on: no deletion begins beside it that has not seen what it did.
        let _guest = self.enter(who, repository).await?;
        let look = self.look_at(who, repository).await?;
        let index = look.listing.snapshots.iter().position(|one| one.id == *id && one.name == *name);
        let gone = || Fault::permanent("it is not there as it was shown");
        let index = index.ok_or_else(gone)?;
        let snapshot = look.listing.snapshots.get(index).ok_or_else(gone)?;
        look.verdict(index, change).map_err(Fault::permanent)?;
        let driver = &look.site.repository.driver;
        let whose = look.books.estate.whose_words(snapshot);
        let note = |what, detail: String| Note {
            what,
            subject: subject.clone(),
            detail,
            before: Some(format!("{whose}'s, driver's id {id}").into()),
            after: None,
            is_over: false,
            gone_of: None,
        };
        match change {
            Change::Expire { .. } => {
                let owner = match look.books.estate.whose(snapshot) {
                    // What goes elsewhere is none that this policy's listing shows.
                    Whose::Policy(uid) if look.books.estate.keeps_in(&uid, &place) => Some(uid.into()),
                    Whose::Policy(_) => None,
                    Whose::Retired(_) | Whose::AnotherInstallation | Whose::Nobody => None,
                };
                let intention = note("expire", format!("to be deleted in repository {place}"));
                self.ask(who, What::Note(Box::new(intention))).await?;
                let call = Call { time_max: DELETE_TIME_MAX, progress: progress.clone() };
                let target = Target::of(snapshot);
                within(DELETE_TIME_MAX, driver.delete(&target, &call)).await?;
                let left = self.look_at(who, repository).await?;
                if left.listing.snapshots.iter().any(|one| one.id == *id) {
                    return Err(Fault::transient("the driver reported it as deleted, but it is still there"));
                }
                let done = note("expire", format!("deleted in repository {place}"));
                let done = Note { is_over: true, gone_of: owner, ..done };
                self.ask(who, What::Note(Box::new(done))).await?;
            }
            Change::Adopt { policy } => {
                let estate = &look.books.estate;
                let heir = estate.policies.iter().find(|(_, living)| *living.name == **policy);
                let (uid, _) = heir.ok_or_else(|| Fault::permanent(format!("there is no policy `{policy}`")))?;
                let intention = note("adopt", format!("to become policy {policy}'s in repository {place}"));
                self.ask(who, What::Note(Box::new(intention))).await?;
                let stamp =
                    [(label::INSTALLATION, &*estate.installation), (label::POLICY_UID, uid), (label::POLICY, policy)];
                let order = LabelOrder {
                    target: Target::of(snapshot),
                    set: stamp.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                    remove: Default::default(),
                };
                let call = Call { time_max: LABEL_TIME_MAX, progress: progress.clone() };
                let after = within(LABEL_TIME_MAX, driver.label(&order, &call)).await?;
                let done = note("adopt", format!("policy {policy}'s in repository {place}"));
                let after = Some(format!("{policy}'s, driver's id {}", after.id).into());
                self.ask(who, What::Note(Box::new(Note { after, is_over: true, ..done }))).await?;
            }
        }
        Ok(())
    }

    /// Makes the label on a snapshot say what the journal says of its hold by then: should somebody else have
    /// changed that meanwhile, theirs is the last word in both places.
    async fn stamp(&self, who: &str, repository: &str, name: &str, progress: &ProgressSink) -> Result<(), Fault> {
        let mut asks = 1;
        loop {
            match self.stamp_now(who, repository, name, progress).await {
                Err(fault) if self.is_worth_waiting(&fault, asks) => self.pause(&fault, progress).await,
                outcome => return outcome,
            }
            asks += 1;
        }
    }

    async fn stamp_now(&self, who: &str, repository: &str, name: &str, progress: &ProgressSink) -> Result<(), Fault> {
        let _turn = self.turn_at(repository, progress).await;
        let _guest = self.enter(who, repository).await?;
        let look = self.look_at(who, repository).await?;
        let mut found = look.listing.snapshots.iter().filter(|one| one.name == name);
        let (Some(snapshot), None) = (found.next(), found.next()) else {
            return Err(Fault::permanent("it is not there any more, or more than once"));
        };
        let stamp = look.holds().and_then(|holds| holds.of(name)).map(Hold::stamp);
        if snapshot.labels.get(label::HOLD) == stamp.as_ref() {
            return Ok(());
        }
        let remove = if stamp.is_none() { [label::HOLD.to_owned()].into() } else { Default::default() };
        let set = stamp.into_iter().map(|stamp| (label::HOLD.to_owned(), stamp)).collect();
        let order = LabelOrder { target: Target::of(snapshot), set, remove };
        let call = Call { time_max: LABEL_TIME_MAX, progress: progress.clone() };
        within(LABEL_TIME_MAX, look.site.repository.driver.label(&order, &call)).await.map(drop)
    }

    /// Finds the one snapshot of a name or identity, once it is this one's turn to change it.
    async fn only_in_turn(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
        progress: &ProgressSink,
    ) -> Result<(OwnedMutexGuard<()>, Arc<Repository>, Snapshot), Fault> {
        let place = match repositories.as_slice() {
            [place] => place.clone(),
            _ => self.only(who, name, repositories).await?.0.name.to_string(),
        };
        let turn = self.turn_at(&place, progress).await;
        // As it is by then.
        let (repository, snapshot) = self.only(who, name, vec![place]).await?;
        Ok((turn, repository, snapshot))
    }

    /// Whether a repository that is at work is asked again.
    fn is_worth_waiting(&self, fault: &Fault, asks: u32) -> bool {
        fault.kind == FaultKind::Busy && asks < self.0.patience.asks_max
    }

    async fn pause(&self, fault: &Fault, progress: &ProgressSink) {
        progress.tell(Progress { doing: format!("waiting: {}", fault.message), ..Progress::default() });
        tokio::time::sleep(self.0.patience.ask_every).await;
    }
}

/// The journal's half is done, and the repository's is not.
fn half_done(what: &str, fault: Fault) -> Fault {
    Fault { message: format!("{what}: {}", fault.message), ..fault }
}

#[cfg(test)]
mod tests;
