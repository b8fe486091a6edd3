//! The steps of deletion (D1–D6): plan, look again, delete one, make sure, look again …
//!
//! An intent to delete is a record and never a permission that survives: after any doubt the run
//! makes a new plan, and each single deletion is judged again under the policy now in force.

use std::collections::{BTreeMap, BTreeSet};

use super::notice::NOTHING_TO_DELETE;
use super::plan::{Grounds, Look, Plan, Target};
use super::retention::{Keep, Verdict};
use super::snapshot::{Presence, SnapshotName};
use super::time::Timestamp;
use super::workflow::{Answer, Ending, Fact, Fault, Next, Outcome, Request, Step};

/// Where a deletion run stands. `deleted` counts what this run has deleted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Which snapshots are there, and which of them does the rule condemn (D2)?
    Planning {
        /// So far.
        deleted: u32,
    },
    /// The plan is journaled; look and judge again before each deletion (D3).
    Rechecking {
        /// What the plan condemned and is not gone yet, oldest first.
        condemned: Vec<Target>,
        /// So far.
        deleted: u32,
    },
    /// The driver has been asked to delete this one, or is about to be (D4).
    Deleting {
        /// The one.
        target: Target,
        /// The others.
        condemned: Vec<Target>,
        /// So far.
        deleted: u32,
    },
    /// Is it gone (D5)?
    Confirming {
        /// The one.
        target: Target,
        /// The others. Empty and unused when in doubt: then a new plan is made.
        condemned: Vec<Target>,
        /// So far.
        deleted: u32,
        /// Whether the fate of the deletion is unknown, so that the plan has lost its force.
        doubt: bool,
    },
}

impl Deletion {
    /// Returns the first step.
    pub fn first() -> Deletion {
        Deletion::Planning { deleted: 0 }
    }

    /// Returns the snapshots this run may still delete, for showing.
    pub fn condemned(&self) -> Vec<&Target> {
        match self {
            Deletion::Planning { .. } => Vec::new(),
            Deletion::Rechecking { condemned, .. } => condemned.iter().collect(),
            Deletion::Deleting { target, condemned, .. } | Deletion::Confirming { target, condemned, .. } => {
                std::iter::once(target).chain(condemned).collect()
            }
        }
    }
}

/// The end of a run that has nothing left to do.
fn done(deleted: u32, facts: Vec<Fact>) -> Next<Deletion> {
    let message = match deleted {
        0 => NOTHING_TO_DELETE.to_string(),
        1 => "deleted 1 snapshot".to_string(),
        many => format!("deleted {many} snapshots"),
    };
    Next::End(Ending::new(Outcome::Succeeded, message), facts)
}

/// Returns how many own snapshots the next listing has to be measured against, after `facts`.
///
/// To be saved with them: a run that deletes on purpose would be held for its own deletions otherwise.
pub fn seen_after(seen: Option<u32>, facts: &[Fact]) -> Option<u32> {
    facts.iter().fold(seen, |seen, fact| match fact {
        Fact::Planned(plan) if !plan.is_held() => Some(plan.own),
        Fact::Deleted(_) => seen.map(|seen| seen.saturating_sub(1)),
        Fact::Planned(_) | Fact::Spared { .. } => seen,
    })
}

/// The end of a run whose plan a guard stopped.
fn hold(plan: Plan, deleted: u32) -> Next<Deletion> {
    let reasons: Vec<String> = plan.held.iter().map(ToString::to_string).collect();
    let mut message = reasons.join("; ");
    if let Some(first) = plan.held.first() {
        message.push_str(&format!("; {}", first.remedy()));
    }
    if deleted > 0 {
        message.push_str(&format!(" ({deleted} deleted before that)"));
    }
    Next::End(Ending::new(Outcome::Held, message), vec![Fact::Planned(plan)])
}

fn plan(plan: Plan, deleted: u32) -> Next<Deletion> {
    if plan.is_held() {
        return hold(plan, deleted);
    }
    let condemned = plan.condemned();
    let facts = vec![Fact::Planned(plan)];
    if condemned.is_empty() {
        done(deleted, facts)
    } else {
        Next::Go(Deletion::Rechecking { condemned, deleted }, facts)
    }
}

/// Judges again and takes the first of what both the plan and the policy now in force condemn (D3).
fn recheck(mut fresh: Plan, condemned: Vec<Target>, deleted: u32) -> Next<Deletion> {
    if fresh.is_held() {
        // What is approved of it must not be more than the plan of this run allowed.
        let planned: BTreeSet<&Target> = condemned.iter().collect();
        for entry in fresh.entries.iter_mut().filter(|entry| entry.goes() && !planned.contains(&entry.target)) {
            entry.verdict = Verdict::Keep(Keep::Unplanned);
        }
        // Kept as a plan, so that a person sees what was stopped.
        return hold(fresh, deleted);
    }
    let verdicts: BTreeMap<&Target, &Verdict> =
        fresh.entries.iter().map(|entry| (&entry.target, &entry.verdict)).collect();
    let mut facts = Vec::new();
    let mut still = Vec::new();
    for target in condemned {
        let reason = match verdicts.get(&target) {
            Some(Verdict::Condemn(_)) => {
                still.push(target);
                continue;
            }
            Some(verdict @ Verdict::Keep(_)) => verdict.to_string(),
            None => "no longer listed as it was when the plan was made".to_string(),
        };
        facts.push(Fact::Spared { target, reason });
    }
    if still.is_empty() {
        return done(deleted, facts);
    }
    let target = still.remove(0);
    Next::Go(Deletion::Deleting { target, condemned: still, deleted }, facts)
}

impl Step for Deletion {
    type Terms = Grounds;

    fn request(&self) -> Request {
        match self {
            Deletion::Planning { .. } | Deletion::Rechecking { .. } => Request::List,
            Deletion::Deleting { target, .. } => Request::Delete(target.clone()),
            Deletion::Confirming { target, .. } => match SnapshotName::new(&target.name) {
                Ok(name) => Request::Describe(name),
                // Only stamped snapshots are condemned, and we stamp none with such a name; should
                // it happen all the same, a listing answers too.
                Err(_) => Request::List,
            },
        }
    }

    fn next(self, grounds: &Grounds, answer: Answer, now: Timestamp) -> Option<Next<Deletion>> {
        match (self, answer) {
            (Deletion::Planning { deleted }, Answer::Listed(listing)) => {
                Some(plan(Plan::make(grounds, &listing, Look::First { deleted }, now), deleted))
            }
            (Deletion::Rechecking { condemned, deleted }, Answer::Listed(listing)) => {
                Some(recheck(Plan::make(grounds, &listing, Look::Again, now), condemned, deleted))
            }
            (Deletion::Deleting { target, condemned, deleted }, Answer::Deleted) => {
                Some(Next::Go(Deletion::Confirming { target, condemned, deleted, doubt: false }, Vec::new()))
            }
            (Deletion::Confirming { target, condemned, deleted, doubt }, Answer::Described(presence)) => {
                Some(confirm(target, condemned, deleted, doubt, &presence))
            }
            (Deletion::Confirming { target, condemned, deleted, doubt }, Answer::Listed(listing)) => {
                let there = listing.snapshots.iter().any(|snapshot| *snapshot.id == *target.id);
                let presence = if there { Presence::Good { message: None } } else { Presence::Absent };
                Some(confirm(target, condemned, deleted, doubt, &presence))
            }
            (
                Deletion::Planning { .. }
                | Deletion::Rechecking { .. }
                | Deletion::Deleting { .. }
                | Deletion::Confirming { .. },
                _,
            ) => None,
        }
    }

    fn doubt(self) -> Deletion {
        match self {
            Deletion::Planning { deleted } | Deletion::Rechecking { deleted, .. } => Deletion::Planning { deleted },
            Deletion::Deleting { target, deleted, .. } | Deletion::Confirming { target, deleted, .. } => {
                Deletion::Confirming { target, condemned: Vec::new(), deleted, doubt: true }
            }
        }
    }

    fn watched(&self) -> Option<SnapshotName> {
        match self {
            Deletion::Deleting { target, .. } => SnapshotName::new(&target.name).ok(),
            Deletion::Planning { .. } | Deletion::Rechecking { .. } | Deletion::Confirming { .. } => None,
        }
    }

    fn is_at_work(&self) -> bool {
        // The call itself is the work; when it has ended, so has that.
        false
    }

    fn spends_attempt(&self) -> bool {
        match self {
            Deletion::Deleting { .. } => true,
            Deletion::Planning { .. } | Deletion::Rechecking { .. } | Deletion::Confirming { .. } => false,
        }
    }

    fn refusal_counts(&self) -> bool {
        true
    }

    fn withdraw(&self, why: &str) -> Option<Ending> {
        match self {
            // The fate of one snapshot is open: find out, write it down, then stop (S22).
            Deletion::Deleting { .. } | Deletion::Confirming { .. } => None,
            Deletion::Planning { .. } | Deletion::Rechecking { .. } => {
                let text = format!("stopped after {} deletions: {why}", self.deleted());
                Some(Ending::new(Outcome::Cancelled, text))
            }
        }
    }

    fn deleted(&self) -> u32 {
        match self {
            Deletion::Planning { deleted }
            | Deletion::Rechecking { deleted, .. }
            | Deletion::Deleting { deleted, .. }
            | Deletion::Confirming { deleted, .. } => *deleted,
        }
    }

    fn aim(&self) -> String {
        match self {
            Deletion::Planning { .. } => "list snapshots for the plan".to_string(),
            Deletion::Rechecking { .. } => "list snapshots before a deletion".to_string(),
            Deletion::Deleting { target, .. } => format!("delete snapshot {}", target.name),
            Deletion::Confirming { target, .. } => format!("confirm that snapshot {} is gone", target.name),
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Deletion::Planning { .. } => "DELETION_CONDITION_MET",
            Deletion::Rechecking { .. } | Deletion::Deleting { .. } | Deletion::Confirming { .. } => "DELETING",
        }
    }
}

fn confirm(target: Target, condemned: Vec<Target>, deleted: u32, doubt: bool, presence: &Presence) -> Next<Deletion> {
    let gone = match presence {
        Presence::Absent => true,
        // The driver said that ours is gone, and the name is somebody else's. In doubt a listing has to tell.
        Presence::Foreign => !doubt,
        Presence::Running | Presence::Good { .. } | Presence::Partial { .. } | Presence::Failed { .. } => false,
    };
    if gone {
        let deleted = deleted + 1;
        let facts = vec![Fact::Deleted(target)];
        return if doubt {
            Next::Progress(Deletion::Planning { deleted }, facts)
        } else if condemned.is_empty() {
            done(deleted, facts)
        } else {
            Next::Progress(Deletion::Rechecking { condemned, deleted }, facts)
        };
    }
    if doubt {
        return Next::Go(Deletion::Planning { deleted }, Vec::new());
    }
    let fault = Fault::transient(format!("the driver reported {} as deleted, but it is still there", target.name));
    Next::Retry(Deletion::Planning { deleted }, fault)
}
