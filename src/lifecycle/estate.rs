//! Whose the snapshots of a repository are, and what a person may do about those that nobody looks after.
//!
//! The stamp decides whose one is, never a name. What a living policy owns is its own to judge; nothing
//! here is decided by a pattern, but for snapshots that were named one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::age_lock::AgeLocks;
use super::hold::Holds;
use super::retention::AHEAD_MAX_MS;
use super::snapshot::{Listing, Snapshot, Status, label};
use super::time::Timestamp;

/// What there is to know of this installation.
#[derive(Clone, Debug)]
pub struct Estate {
    /// This installation.
    pub installation: Box<str>,
    /// The policies that live, by uid.
    pub policies: BTreeMap<Box<str>, Living>,
    /// What `min_age` is locked to, by uid (G13).
    pub locks: Arc<AgeLocks>,
    /// The instant to judge by.
    pub now: Timestamp,
}

/// A policy that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Living {
    /// Its name.
    pub name: Box<str>,
    /// Where it keeps its snapshots; `None` where its file is gone and only a run is followed to its end.
    pub repository: Option<Box<str>>,
}

/// Whose a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A living policy's, by its uid.
    Policy(Box<str>),
    /// A policy's of this installation that lives no more, by the name on the stamp.
    Retired(Box<str>),
    /// Another installation's.
    AnotherInstallation,
    /// It has no stamp, or half of one.
    Nobody,
}

/// Why nobody looks after a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Orphaned {
    /// Its policy lives no more.
    Retired,
    /// Its policy keeps its snapshots elsewhere.
    LeftBehind,
    /// Another installation made it.
    Foreign,
    /// It has no stamp of ours.
    Unstamped,
    /// It is dated ahead of now, so that no rule ever condemns it.
    FutureDated,
    /// It has no date, so that no rule ever condemns it.
    Undatable,
}

impl Orphaned {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Orphaned::Retired => "retired",
            Orphaned::LeftBehind => "left_behind",
            Orphaned::Foreign => "foreign",
            Orphaned::Unstamped => "unstamped",
            Orphaned::FutureDated => "future_dated",
            Orphaned::Undatable => "undatable",
        }
    }
}

/// Why, in a phrase.
impl fmt::Display for Orphaned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Orphaned::Retired => "its policy lives no more",
            Orphaned::LeftBehind => "its policy keeps its snapshots elsewhere now",
            Orphaned::Foreign => "another installation made it",
            Orphaned::Unstamped => "it has no stamp of snapkeep",
            Orphaned::FutureDated => "it is dated ahead of now",
            Orphaned::Undatable => "it has no date",
        })
    }
}

impl Estate {
    /// Returns whose a snapshot is.
    pub fn whose(&self, snapshot: &Snapshot) -> Whose {
        let says = |key: &str| snapshot.labels.get(key).filter(|value| !value.is_empty());
        match (says(label::INSTALLATION), says(label::POLICY_UID)) {
            (Some(installation), Some(uid)) if **installation == *self.installation => {
                if self.policies.contains_key(uid.as_str()) {
                    return Whose::Policy(uid.as_str().into());
                }
                Whose::Retired(says(label::POLICY).map_or("", String::as_str).into())
            }
            (Some(installation), _) if **installation != *self.installation => Whose::AnotherInstallation,
            (Some(_) | None, Some(_) | None) => Whose::Nobody,
        }
    }

    /// Returns whose a snapshot is, in words.
    pub fn whose_words(&self, snapshot: &Snapshot) -> String {
        let named = || snapshot.labels.get(label::POLICY).map(|name| format!(" ({name})")).unwrap_or_default();
        match self.whose(snapshot) {
            Whose::Policy(uid) => self.policies.get(&uid).map_or_else(String::new, |living| living.name.to_string()),
            Whose::Retired(name) if name.is_empty() => "a policy that is gone".to_owned(),
            Whose::Retired(name) => format!("{name}, which is gone"),
            Whose::AnotherInstallation => format!("another installation{}", named()),
            Whose::Nobody => "nobody".to_owned(),
        }
    }

    /// Returns why nobody looks after a snapshot; nothing where somebody does.
    pub fn orphaned(&self, repository: &str, snapshot: &Snapshot) -> Vec<Orphaned> {
        let mut why = match self.whose(snapshot) {
            Whose::Policy(uid) => {
                let here = |living: &Living| living.repository.as_deref().is_none_or(|name| name == repository);
                if self.policies.get(&uid).is_some_and(here) { Vec::new() } else { vec![Orphaned::LeftBehind] }
            }
            Whose::Retired(_) => vec![Orphaned::Retired],
            Whose::AnotherInstallation => vec![Orphaned::Foreign],
            Whose::Nobody => vec![Orphaned::Unstamped],
        };
        match snapshot.taken_at {
            // What is being made has no date yet.
            _ if snapshot.status == Status::Running => {}
            None => why.push(Orphaned::Undatable),
            Some(at) if at <= Timestamp::EPOCH => why.push(Orphaned::Undatable),
            Some(at) if at.since(self.now) > AHEAD_MAX_MS => why.push(Orphaned::FutureDated),
            Some(_) => {}
        }
        why
    }

    /// Whether a living policy keeps its snapshots in this repository.
    pub fn keeps_in(&self, uid: &str, repository: &str) -> bool {
        self.policies.get(uid).is_some_and(|living| living.repository.as_deref() == Some(repository))
    }

    /// Whether a person may delete the snapshot at `index` by name; otherwise why not. `owned` says that
    /// they know that a living policy owns it.
    pub fn may_expire(
        &self,
        repository: &str,
        holds: &Holds,
        listing: &Listing,
        index: usize,
        owned: bool,
    ) -> Result<(), String> {
        let Some(snapshot) = listing.snapshots.get(index) else { return Err("it is not there".to_owned()) };
        self.is_clear(listing, snapshot)?;
        if let Some(hold) = holds.on(snapshot, self.now) {
            return Err(format!("it is held {hold}"));
        }
        self.is_unlocked(snapshot)?;
        if let Some(by) = &snapshot.in_use {
            return Err(format!("it is in use: {by}"));
        }
        let uid = match self.whose(snapshot) {
            Whose::Policy(uid) => uid,
            Whose::AnotherInstallation if !owned => {
                return Err("another installation owns it; --owned says that you know".to_owned());
            }
            Whose::AnotherInstallation | Whose::Retired(_) | Whose::Nobody => return Ok(()),
        };
        let Some(living) = self.policies.get(&uid) else { return Ok(()) };
        if self.newest_good(listing, &uid).is_some_and(|newest| newest.id == snapshot.id) {
            return Err(format!("it is the newest good one of policy {}", living.name));
        }
        if !owned && self.orphaned(repository, snapshot).is_empty() {
            return Err(format!(
                "policy {} owns it and judges it by its rule; --owned says that you know",
                living.name
            ));
        }
        if !owned {
            return Err(format!("policy {} owns it; --owned says that you know", living.name));
        }
        Ok(())
    }

    /// Whether the snapshot at `index` may become the policy's; otherwise why not.
    pub fn may_adopt(&self, repository: &str, listing: &Listing, index: usize, uid: &str) -> Result<(), String> {
        let Some(snapshot) = listing.snapshots.get(index) else { return Err("it is not there".to_owned()) };
        self.is_clear(listing, snapshot)?;
        let Some(heir) = self.policies.get(uid) else { return Err("the policy is gone".to_owned()) };
        if heir.repository.as_deref() != Some(repository) {
            let where_else = heir.repository.as_deref().unwrap_or("none");
            return Err(format!("policy {} keeps its snapshots in repository {where_else}", heir.name));
        }
        match self.whose(snapshot) {
            Whose::Policy(owner) if *owner == *uid => Err(format!("it is policy {}'s already", heir.name)),
            Whose::Policy(owner) => {
                let name = self.policies.get(&owner).map_or("?", |living| &*living.name);
                Err(format!("policy {name} owns it"))
            }
            // Under another policy's stamp nothing would keep it.
            Whose::Retired(_) => self.is_unlocked(snapshot).map_err(|why| {
                let uid = snapshot.labels.get(label::POLICY_UID).map_or("", String::as_str);
                format!("{why}; a policy whose file says uid = \"{uid}\" has it as its own")
            }),
            Whose::AnotherInstallation | Whose::Nobody => Ok(()),
        }
    }

    /// Whether no `min_age` is locked that keeps it (G13), be its policy there or not.
    fn is_unlocked(&self, snapshot: &Snapshot) -> Result<(), String> {
        let says = |key: &str| snapshot.labels.get(key).map_or("", String::as_str);
        let is_ours = *says(label::INSTALLATION) == *self.installation;
        let Some(lock) = self.locks.min_age(says(label::POLICY_UID)).filter(|_| is_ours) else { return Ok(()) };
        let by = Some(says(label::POLICY)).filter(|name| !name.is_empty()).unwrap_or("?");
        let locked = format!("min_age is locked at {lock} for what policy {by} made");
        match snapshot.taken_at.filter(|at| *at > Timestamp::EPOCH) {
            None => Err(format!("{locked}, and nobody can say how old it is")),
            Some(at) if self.now.since(at) < lock.millis() => {
                Err(format!("{locked}: it may go from {} on", at.plus(lock.millis())))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether it is at rest, and clear which one is meant.
    fn is_clear(&self, listing: &Listing, snapshot: &Snapshot) -> Result<(), String> {
        let of_id = listing.snapshots.iter().filter(|one| one.id == snapshot.id).count();
        let of_name = listing.snapshots.iter().filter(|one| one.name == snapshot.name).count();
        if of_id > 1 || of_name > 1 {
            return Err(format!("it is listed {} times under one id or name", of_id.max(of_name)));
        }
        if snapshot.status == Status::Running { Err("it is being made".to_owned()) } else { Ok(()) }
    }

    fn newest_good<'l>(&self, listing: &'l Listing, uid: &str) -> Option<&'l Snapshot> {
        let own = |one: &&Snapshot| self.whose(one) == Whose::Policy(uid.into());
        let counts = |one: &&Snapshot| {
            let at = one.taken_at.filter(|at| *at > Timestamp::EPOCH);
            one.status == Status::Good && at.is_some_and(|at| at.since(self.now) <= AHEAD_MAX_MS)
        };
        listing.snapshots.iter().filter(own).filter(counts).max_by_key(|one| (one.taken_at, &one.name))
    }
}

#[cfg(test)]
mod tests;
