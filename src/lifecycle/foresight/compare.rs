//! What another policy would do differently with the same snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Budget, Prospect, Stay, Step, TooFar, World, condemned, stay};
use crate::lifecycle::plan::{Former, Freshness, Grounds, Look, Plan, Target};
use crate::lifecycle::policy::{Condition, Policy};
use crate::lifecycle::retention::{Condemn, Verdict};
use crate::lifecycle::time::Timestamp;

/// What a policy makes of a listing by some instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The plan that a deletion would make then.
    pub plan: Plan,
    /// Until when each of its entries stays.
    pub stays: Vec<Stay>,
    /// What went before that: when and why, by the driver's identity.
    pub gone: BTreeMap<Box<str>, (Target, Timestamp, Condemn)>,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It was deleted before.
    Gone {
        /// When.
        at: Timestamp,
        /// Why.
        why: Condemn,
    },
    /// It is there, and this is said of it.
    There(Verdict),
}

/// A snapshot that one policy keeps and another does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which.
    pub target: Target,
    /// By the one.
    pub before: Fate,
    /// By the other.
    pub after: Fate,
}

impl Fate {
    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        match self {
            Fate::Gone { .. } => false,
            Fate::There(verdict) => !verdict.is_condemned(),
        }
    }
}

/// Returns the plan of a deletion at an instant ahead; without one the plan of now, by the clock as it is and
/// with whatever guards hold and spare.
pub fn outcome(prospect: &Prospect<'_>, at: Option<Timestamp>) -> Result<Outcome, TooFar> {
    let mut gone = BTreeMap::new();
    let Some(until) = at else {
        let plan = Plan::make(prospect.grounds, prospect.listing, Look::First { deleted: 0 }, prospect.now);
        let stays = stay::stays(World::new(prospect, Budget::SMALL), &plan);
        return Ok(Outcome { plan, stays, gone });
    };
    let mut world = World::new(prospect, Budget::FULL);
    while let Some(at) = world.next_at() {
        // The deletion that is due then is the one that is shown.
        let is_creation = world.creation_at.is_some_and(|creation| world.up(creation) <= at);
        if at > until || (at == until && !is_creation) {
            break;
        }
        if let Step::Judged(plan) = world.step(at)? {
            let goes = |(target, why): (&Target, &Condemn)| (target.id.clone(), (target.clone(), at, why.clone()));
            gone.extend(condemned(&plan).map(goes));
        }
    }
    world.listing.snapshots.append(&mut world.others);
    let plan = world.judge(until)?;
    world.deletion_at = world.deletion_at.map(|next| next.max(until));
    (world.budget, world.left) = (Budget::SMALL, Budget::SMALL);
    Ok(Outcome { stays: stay::stays(world, &plan), plan, gone })
}

/// Returns what both know and only one keeps, oldest first.
pub fn differences(before: &Outcome, after: &Outcome) -> Vec<Difference> {
    let after = fates(after);
    let both = fates(before).into_iter().filter_map(|(id, (target, fate))| {
        let (_, other) = after.get(id)?;
        let (before, after) = (fate, other.clone());
        (before.is_kept() != after.is_kept()).then(|| Difference { target: target.clone(), before, after })
    });
    let mut differences: Vec<Difference> = both.collect();
    differences.sort_by(|one, other| (one.target.taken_at, &one.target).cmp(&(other.target.taken_at, &other.target)));
    differences
}

fn fates(outcome: &Outcome) -> BTreeMap<&str, (&Target, Fate)> {
    let gone = outcome.gone.iter().map(|(id, (target, at, why))| {
        let fate = Fate::Gone { at: *at, why: why.clone() };
        (&**id, (target, fate))
    });
    let there = outcome.plan.entries.iter();
    let there = there.map(|entry| (&*entry.target.id, (&entry.target, Fate::There(entry.verdict.clone()))));
    gone.chain(there).collect()
}

/// Returns the grounds as they were if this policy were put in force: what a guard of edits (G11) compares with is
/// the condition in force, unless the one before it is still waiting for a plan to go ahead. `None` where the
/// policy deletes nothing.
pub fn edited(grounds: &Grounds, in_force: Option<&Condition>, policy: &Policy) -> Option<Grounds> {
    let rule = policy.deletion.as_ref()?;
    let was = grounds.former.clone().unwrap_or_else(|| in_force.cloned().map_or(Former::Nothing, Former::Condition));
    let last_good = grounds.freshness.as_ref().and_then(|freshness| freshness.last_good.clone());
    let freshness = policy.creation.clone().map(|creation| Freshness { creation, last_good });
    let is_same = was == Former::Condition(rule.condition.clone());
    let condemned_since = if rule.guards.grace.is_some() { grounds.condemned_since.clone() } else { Arc::default() };
    Some(Grounds {
        condition: rule.condition.clone(),
        guards: rule.guards.clone(),
        lock: grounds.lock.under(Some(rule), &grounds.clock.trust),
        former: (!is_same).then_some(was),
        freshness,
        condemned_since,
        rate_left: rule.guards.rate.map(|rate| grounds.rate_left.map_or(rate, |left| left.min(rate))),
        ..grounds.clone()
    })
}
