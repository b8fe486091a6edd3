//! What people do to single snapshots: hold and release them, let a policy adopt them, delete them by name.
//!
//! The engine says whether it may be and writes it down; then the driver is asked, and what came of each
//! snapshot is written down. Whoever wants to change several sees first what would happen; what is done
//! then is done to exactly those, by the driver's identity, and each is judged again right before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::drivers::{Call, LabelOrder, Progress, ProgressSink};
use crate::engine::event::{Books, Done, OperationKind, Site, What};
use crate::lifecycle::estate::{Orphaned, Whose};
use crate::lifecycle::hold::{Hold, HoldOrder, Holds};
use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Listing, Snapshot, Status, label};
use crate::lifecycle::workflow::{Fault, FaultKind};
use crate::roster::Repository;

use super::{LIST_TIME_MAX, Upkeep, mismatch, within};

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

/// How labels are to be changed.
#[derive(Clone, Debug, Default)]
struct Labels {
    set: BTreeMap<String, String>,
    remove: BTreeSet<String>,
}

/// All there is to know about a repository.
struct Look {
    books: Books,
    site: Site,
    listing: Listing,
}

impl Upkeep {
    pub(super) async fn single(&self, who: &str, order: Order, progress: ProgressSink) -> Result<String, Fault> {
        progress.tell(Progress { doing: "waiting: another change goes first".to_owned(), ..Progress::default() });
        let _turn = self.0.edits.lock().await;
        match order {
            Order::Hold { snapshot, repositories, order } => {
                self.hold(who, &snapshot, repositories, order, &progress).await
            }
            Order::Release { snapshot, repositories } => self.release(who, &snapshot, repositories, &progress).await,
            Order::Change { named, change } => self.change_all(who, &named, &change, &progress).await,
        }
    }

    /// Lists what nobody looks after.
    pub async fn orphans(&self, who: &str) -> Result<Survey, Fault> {
        let (looks, troubles) = self.look(who, Vec::new()).await?;
        let mut survey = Survey { shown: Vec::new(), troubles };
        for look in &looks {
            let all = (0..look.listing.snapshots.len()).map(|index| look.shown(index, None));
            survey.shown.extend(all.filter(|shown| !shown.orphaned.is_empty()));
        }
        Ok(survey)
    }

    /// Says what a change of the snapshots named would do. Changes nothing.
    pub async fn preview(
        &self,
        who: &str,
        names: &[String],
        repositories: Vec<String>,
        change: &Change,
    ) -> Result<Survey, Fault> {
        if let Change::Adopt { policy } = change {
            // An unknown policy is told at once.
            let where_to = What::Sites { repositories: Vec::new(), policies: vec![policy.clone()] };
            self.sites(who, where_to).await?;
        }
        let (looks, mut troubles) = self.look(who, repositories).await?;
        let silent = troubles.len();
        let mut shown: Vec<Shown> = Vec::new();
        for name in names {
            let found: Vec<Shown> = looks
                .iter()
                .flat_map(|look| {
                    let all = look.listing.snapshots.iter().enumerate();
                    let named = all.filter(|(_, one)| one.name == *name || one.id == *name);
                    named.map(|(index, _)| look.shown(index, Some(change)))
                })
                .collect();
            match found.len() {
                0 if silent > 0 => troubles.push(format!("snapshot {name} was not found where an answer came")),
                0 => troubles.push(format!("no repository has a snapshot {name}")),
                1 => shown.extend(found.into_iter().filter(|one| !shown.contains(one)).collect::<Vec<_>>()),
                many => {
                    let places: Vec<&str> = found.iter().map(|one| &*one.repository).collect();
                    troubles.push(format!(
                        "snapshot {name} was found {many} times, in {}: name one by its id, or its repository",
                        places.join(", ")
                    ));
                }
            }
        }
        Ok(Survey { shown, troubles })
    }

    async fn hold(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
        order: HoldOrder,
        progress: &ProgressSink,
    ) -> Result<String, Fault> {
        let (repository, snapshot) = self.only(who, name, repositories).await?;
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
        let labels = Labels { set: [(label::HOLD.to_owned(), record.hold.stamp())].into(), ..Labels::default() };
        let stamped = self.label(who, &place, &snapshot.name, &labels, progress).await;
        let unstamped = "the journal holds it, but the snapshot could not be labelled";
        stamped.map_err(|fault| half_done(unstamped, fault)).map(|_| held)
    }

    async fn release(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
        progress: &ProgressSink,
    ) -> Result<String, Fault> {
        let (place, snapshot) = match self.only(who, name, repositories.clone()).await {
            Ok((repository, snapshot)) => (repository.name.to_string(), snapshot),
            // What is not there any more need not be held.
            Err(fault) if fault.kind == FaultKind::Permanent => {
                self.held_and_gone(who, name, repositories).await?.ok_or(fault)?
            }
            Err(fault) => return Err(fault),
        };
        let what = What::Release { repository: place.clone(), snapshot: Box::new(snapshot.clone()) };
        let Done::Acknowledged = self.ask(who, what).await? else { return Err(mismatch()) };
        let done = format!("held no more in repository {place}");
        if !snapshot.labels.contains_key(label::HOLD) {
            return Ok(done);
        }
        let labels = Labels { remove: [label::HOLD.to_owned()].into(), ..Labels::default() };
        let removed = self.label(who, &place, &snapshot.name, &labels, progress).await;
        let stamped = "the journal holds it no more, but its label still does";
        removed.map_err(|fault| half_done(stamped, fault)).map(|_| done)
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
        let look = self.look_at(who, repository).await?;
        if look.is_busy() {
            return Err(busy(repository));
        }
        let index = look.listing.snapshots.iter().position(|one| one.id == *id && one.name == *name);
        let gone = || Fault::permanent("it is not there as it was shown");
        let index = index.ok_or_else(gone)?;
        let snapshot = look.listing.snapshots.get(index).ok_or_else(gone)?;
        look.verdict(index, change).map_err(Fault::permanent)?;
        let driver = &look.site.repository.driver;
        let note = |what, detail, gone_of| What::Note { what, subject: subject.clone(), detail, gone_of };
        match change {
            Change::Expire { .. } => {
                let owner = match look.books.estate.whose(snapshot) {
                    // What goes elsewhere is none that this policy's listing shows.
                    Whose::Policy(uid) if look.books.estate.keeps_in(&uid, &place) => Some(uid.into()),
                    Whose::Policy(_) => None,
                    Whose::Retired(_) | Whose::AnotherInstallation | Whose::Nobody => None,
                };
                let whose = look.books.estate.whose_words(snapshot);
                let detail = format!("to be deleted in repository {place}, driver's id {id}; it is of {whose}");
                self.ask(who, note("expire", detail, None)).await?;
                let call = Call { time_max: DELETE_TIME_MAX, progress: progress.clone() };
                let target = Target::of(snapshot);
                within(DELETE_TIME_MAX, driver.delete(&target, &call)).await?;
                let left = self.look_at(who, repository).await?;
                if left.listing.snapshots.iter().any(|one| one.id == *id) {
                    return Err(Fault::transient("the driver reported it as deleted, but it is still there"));
                }
                let detail = format!("deleted in repository {place}, driver's id {id}");
                self.ask(who, note("expire", detail, owner)).await?;
            }
            Change::Adopt { policy } => {
                let estate = &look.books.estate;
                let heir = estate.policies.iter().find(|(_, living)| *living.name == **policy);
                let (uid, _) = heir.ok_or_else(|| Fault::permanent(format!("there is no policy `{policy}`")))?;
                let whose = estate.whose_words(snapshot);
                let detail =
                    format!("to become policy {policy}'s in repository {place}, driver's id {id}; it is of {whose}");
                self.ask(who, note("adopt", detail, None)).await?;
                let stamp =
                    [(label::INSTALLATION, &*estate.installation), (label::POLICY_UID, uid), (label::POLICY, policy)];
                let order = LabelOrder {
                    target: Target::of(snapshot),
                    set: stamp.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                    remove: Default::default(),
                };
                let call = Call { time_max: LABEL_TIME_MAX, progress: progress.clone() };
                let after = within(LABEL_TIME_MAX, driver.label(&order, &call)).await?;
                let detail = format!("policy {policy}'s in repository {place}, driver's id {}", after.id);
                self.ask(who, note("adopt", detail, None)).await?;
            }
        }
        Ok(())
    }

    /// Changes labels of the one snapshot of a name, as it is listed right before.
    async fn label(
        &self,
        who: &str,
        repository: &str,
        name: &str,
        labels: &Labels,
        progress: &ProgressSink,
    ) -> Result<Snapshot, Fault> {
        let mut asks = 1;
        loop {
            match self.label_now(who, repository, name, labels, progress).await {
                Err(fault) if self.is_worth_waiting(&fault, asks) => self.pause(&fault, progress).await,
                outcome => return outcome,
            }
            asks += 1;
        }
    }

    async fn label_now(
        &self,
        who: &str,
        repository: &str,
        name: &str,
        labels: &Labels,
        progress: &ProgressSink,
    ) -> Result<Snapshot, Fault> {
        let look = self.look_at(who, repository).await?;
        if look.is_busy() {
            return Err(busy(repository));
        }
        let mut found = look.listing.snapshots.iter().filter(|one| one.name == name);
        let (Some(snapshot), None) = (found.next(), found.next()) else {
            return Err(Fault::permanent("it is not there any more, or more than once"));
        };
        let Labels { set, remove } = labels.clone();
        let order = LabelOrder { target: Target::of(snapshot), set, remove };
        let call = Call { time_max: LABEL_TIME_MAX, progress: progress.clone() };
        within(LABEL_TIME_MAX, look.site.repository.driver.label(&order, &call)).await
    }

    /// Whether a repository that is at work is asked again.
    fn is_worth_waiting(&self, fault: &Fault, asks: u32) -> bool {
        fault.kind == FaultKind::Busy && asks < self.0.patience.asks_max
    }

    async fn pause(&self, fault: &Fault, progress: &ProgressSink) {
        progress.tell(Progress { doing: format!("waiting: {}", fault.message), ..Progress::default() });
        tokio::time::sleep(self.0.patience.ask_every).await;
    }

    /// Finds what the journal holds under a name that no repository has any more.
    async fn held_and_gone(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
    ) -> Result<Option<(String, Snapshot)>, Fault> {
        let (looks, silent) = self.look(who, repositories).await?;
        let is_there = looks.iter().any(|look| look.listing.snapshots.iter().any(|one| one.name == name));
        let holds = |look: &&Look| look.holds().is_some_and(|holds| holds.of(name).is_some());
        let Some(look) = looks.iter().find(holds).filter(|_| !is_there && silent.is_empty()) else { return Ok(None) };
        let gone = Snapshot {
            name: name.to_owned(),
            id: String::new(),
            taken_at: None,
            status: Status::Failed,
            labels: BTreeMap::new(),
            in_use: None,
            size_bytes: None,
        };
        Ok(Some((look.site.repository.name.to_string(), gone)))
    }

    /// Finds the one snapshot of a name or identity.
    async fn only(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
    ) -> Result<(Arc<Repository>, Snapshot), Fault> {
        let (looks, silent) = self.look(who, repositories).await?;
        let mut found: Vec<(Arc<Repository>, Snapshot)> = Vec::new();
        for look in looks {
            let same = look.listing.snapshots.into_iter().filter(|one| one.name == name || one.id == name);
            found.extend(same.map(|one| (look.site.repository.clone(), one)));
        }
        match (found.len(), found.pop()) {
            (1, Some(found)) => Ok(found),
            (0, _) | (_, None) if silent.is_empty() => {
                Err(Fault::permanent(format!("no repository has a snapshot {name}")))
            }
            (0, _) | (_, None) => Err(Fault::transient(format!("it was not found, and {}", silent.join("; ")))),
            (many, Some(_)) => {
                let message = format!("snapshot {name} was found {many} times; name one by its id, or its repository");
                Err(Fault::permanent(message))
            }
        }
    }

    async fn look_at(&self, who: &str, repository: &str) -> Result<Look, Fault> {
        let (mut looks, mut silent) = self.look(who, vec![repository.to_owned()]).await?;
        match (looks.pop(), silent.pop()) {
            (Some(look), _) => Ok(look),
            (None, Some(trouble)) => Err(Fault::transient(trouble)),
            (None, None) => Err(Fault::permanent(format!("there is no repository {repository}"))),
        }
    }

    /// Lists repositories; those that do not answer are told.
    async fn look(&self, who: &str, repositories: Vec<String>) -> Result<(Vec<Look>, Vec<String>), Fault> {
        let Done::Books(books) = self.ask(who, What::Books { repositories }).await? else {
            return Err(mismatch());
        };
        let (mut looks, mut silent) = (Vec::new(), Vec::new());
        for site in books.sites.clone() {
            let call = Call { time_max: LIST_TIME_MAX, progress: ProgressSink::default() };
            match within(LIST_TIME_MAX, site.repository.driver.list(&call)).await {
                Ok(listing) => looks.push(Look { books: Books::clone(&books), site, listing }),
                Err(fault) => {
                    silent.push(format!("repository {} could not be asked: {}", site.repository.name, fault.message))
                }
            }
        }
        Ok((looks, silent))
    }
}

impl Look {
    fn holds(&self) -> Option<&Arc<Holds>> {
        self.books.holds.get(&self.site.repository.name)
    }

    /// Whether somebody is at work there beside whom nothing may be done. Where several effects are borne
    /// at once, so is this one.
    fn is_busy(&self) -> bool {
        self.site.at_work && self.site.repository.driver.abilities().effects_max <= 1
    }

    fn verdict(&self, index: usize, change: &Change) -> Result<String, String> {
        let Site { repository, forbidden, .. } = &self.site;
        let estate = &self.books.estate;
        let name = &*repository.name;
        match change {
            Change::Expire { .. } | Change::Adopt { .. } if forbidden.is_some() => {
                Err(format!("nothing is deleted or adopted: {}", forbidden.as_deref().unwrap_or_default()))
            }
            Change::Expire { owned } => {
                let holds = self.holds().cloned().unwrap_or_default();
                estate.may_expire(name, &holds, &self.listing, index, *owned).map(|()| "to be deleted".to_owned())
            }
            Change::Adopt { policy } => {
                if !repository.driver.abilities().label {
                    return Err(format!("repository {name} ({}) cannot change labels", repository.kind));
                }
                let heir = estate.policies.iter().find(|(_, living)| *living.name == **policy);
                let (uid, _) = heir.ok_or_else(|| format!("there is no policy `{policy}`"))?;
                estate.may_adopt(name, &self.listing, index, uid)?;
                Ok(format!("to become policy {policy}'s, whose rule judges it from then on"))
            }
        }
    }

    fn shown(&self, index: usize, change: Option<&Change>) -> Shown {
        let repository = self.site.repository.name.clone();
        let snapshot = self.listing.snapshots[index].clone();
        let estate = &self.books.estate;
        let hold = self.holds().and_then(|holds| holds.on(&snapshot, estate.now));
        Shown {
            whose: estate.whose_words(&snapshot),
            orphaned: estate.orphaned(&repository, &snapshot),
            verdict: change.map_or_else(|| Ok(String::new()), |change| self.verdict(index, change)),
            hold,
            repository,
            snapshot,
        }
    }
}

/// The journal's half is done, and the repository's is not.
fn half_done(what: &str, fault: Fault) -> Fault {
    Fault { message: format!("{what}: {}", fault.message), ..fault }
}

fn busy(repository: &str) -> Fault {
    Fault::busy(format!("a creation or a deletion is at work in repository {repository}"))
}
