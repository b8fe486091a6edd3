//! What `min_age` is locked to in compliance mode (G13): looked at whenever a policy comes, changes or goes, and
//! once a clock that was doubted is believed again. The lock outlives its policy.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{ENGINE, Engine};
use crate::journal::change::{Audit, Change};
use crate::lifecycle::age_lock::{AgeLock, AgeLocks, Locked};
use crate::lifecycle::hold::COOLING_OFF_MS;
use crate::lifecycle::policy::DeletionRule;
use crate::lifecycle::time::{Moment, Timestamp};

impl Engine {
    /// Makes of a policy's lock what the rule in force makes of it.
    pub(super) fn lock_age(&mut self, uid: &Arc<str>, name: &str, rule: Option<&DeletionRule>, now: Moment) {
        let known = self.age_locks.of(uid);
        let lock = known.under(rule, &self.clock.trust);
        if lock == known {
            return;
        }
        if let Some(detail) = told(&known, &lock) {
            tracing::info!(policy = name, "{detail}");
            let at = |lock: &AgeLock| lock.min_age().map(|age| age.to_string().into());
            let audit = Audit::of(now.wall, ENGINE, "lock", name, detail);
            self.audit(Audit { before: at(&known), after: at(&lock), ..audit });
        }
        self.changes.push(Change::LockAge { policy_uid: uid.clone(), lock: lock.clone() });
        Arc::make_mut(&mut self.age_locks).insert(uid.clone(), lock);
        self.view.set_age_locks(self.age_locks.clone());
    }

    /// The same for all policies, and for those that are gone.
    pub(super) fn lock_ages(&mut self, now: Moment) {
        let locked: Vec<Arc<str>> = self.age_locks.uids().cloned().collect();
        let gone = locked.into_iter().filter(|uid| !self.lives(uid)).map(|uid| (uid.clone(), uid, None));
        let in_force = self.policies.values().filter_map(|tracked| {
            let rule = tracked.entry.as_ref()?.policy.deletion.clone();
            Some((tracked.uid.clone(), tracked.name.clone(), rule))
        });
        for (uid, name, rule) in in_force.chain(gone).collect::<Vec<_>>() {
            self.lock_age(&uid, &name, rule.as_deref(), now);
        }
    }

    /// Whether a policy is in force, as far as the journal knows: at a start its file may be read a little later.
    fn lives(&self, uid: &str) -> bool {
        let tracked = self.uids.get(uid).and_then(|index| self.policies.get(index));
        tracked.is_some_and(|tracked| tracked.revision.is_some())
    }
}

/// What has changed, in a sentence; nothing where the same length holds.
fn told(known: &AgeLock, lock: &AgeLock) -> Option<String> {
    match (known.min_age(), lock.min_age()) {
        (was, is) if was == is => None,
        (_, None) => Some("min_age is locked no more: it was taken back within 72 hours".to_string()),
        (Some(was), Some(is)) if was.millis() > is.millis() => {
            Some(format!("min_age is locked at {is}: {was} was taken back within 72 hours"))
        }
        (_, Some(is)) => Some(format!("min_age is locked at {is}: after 72 hours it can only be lengthened")),
    }
}

/// Returns what a lock does to a policy, in a sentence.
pub(super) fn explained(locks: &AgeLocks, uid: &str, rule: &DeletionRule, now: Timestamp) -> Option<String> {
    let lock = locks.of(uid);
    let Locked { min_age, since } = lock.longest()?;
    let own = rule.condition.min_age();
    let over_at = since.plus(COOLING_OFF_MS);
    Some(match own.map_or(Ordering::Less, |own| own.millis().cmp(&min_age.millis())) {
        Ordering::Less => {
            let own = own.map_or_else(|| "none".to_string(), ToString::to_string);
            format!("min_age stays {min_age}, as it was locked in compliance mode; the file says {own}")
        }
        Ordering::Equal if now < over_at => {
            format!("min_age is locked at {min_age}; it can be taken back until {over_at}, then by nobody")
        }
        Ordering::Equal => format!("min_age is locked at {min_age}: nobody can shorten it"),
        Ordering::Greater => format!("min_age is locked at {min_age}, and longer at present"),
    })
}
