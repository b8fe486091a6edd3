//! Until when each snapshot of a plan stays, if creation goes on by its schedule.

use std::collections::BTreeMap;

use super::{Step, World};
use crate::lifecycle::plan::{Entry, Grounds, Plan};
use crate::lifecycle::retention::{Condemn, Keep, Verdict};
use crate::lifecycle::time::Timestamp;

/// Until when a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Until this deletion, by which it goes.
    Until {
        /// When.
        at: Timestamp,
        /// What lets it go.
        why: Condemn,
    },
    /// The rule lets it go by then, and a guard holds the plan.
    Held {
        /// When the first plan is made that condemns it and is held.
        at: Timestamp,
        /// What would let it go.
        why: Condemn,
    },
    /// For as long as something is so that no time changes.
    AsLong(AsLong),
    /// Longer than was looked ahead.
    Beyond {
        /// So far.
        at: Timestamp,
    },
}

/// What may keep a snapshot for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsLong {
    /// It is another's.
    Foreign,
    /// It is listed several times.
    Ambiguous,
    /// A person holds it, without an end.
    Held,
    /// It is in use.
    InUse,
    /// It has no date.
    Undatable,
    /// Nothing newer is made.
    NothingNewer,
}

impl AsLong {
    /// Returns it in words, to follow "for as long as ".
    pub fn words(self) -> &'static str {
        match self {
            AsLong::Foreign => "it is not this policy's",
            AsLong::Ambiguous => "it is listed several times",
            AsLong::Held => "a person holds it",
            AsLong::InUse => "it is in use",
            AsLong::Undatable => "it has no date",
            AsLong::NothingNewer => "nothing newer is made",
        }
    }
}

/// Returns which limit lets a snapshot go, as it is written: `max_age 30d`.
pub fn limit(why: &Condemn) -> String {
    match why {
        Condemn::OlderThanMaxAge { max_age, .. } | Condemn::FailedAndOld { max_age, .. } => {
            format!("max_age {max_age}")
        }
        Condemn::BeyondMaxCount { max_count, .. }
        | Condemn::HeldBeyondMaxCount { max_count, .. }
        | Condemn::FailedAndReplaced { max_count, .. } => format!("max_count {max_count}"),
        Condemn::Thinned | Condemn::FailedAndThinned => "keep".to_string(),
    }
}

/// Returns what no time changes about an entry.
fn for_ever(entry: &Entry) -> Option<AsLong> {
    let Verdict::Keep(keep) = &entry.verdict else { return None };
    match keep {
        Keep::Foreign(_) => Some(AsLong::Foreign),
        Keep::Ambiguous { .. } => Some(AsLong::Ambiguous),
        Keep::InUse { .. } => Some(AsLong::InUse),
        Keep::Held { until: None, .. } => Some(AsLong::Held),
        Keep::Undatable => Some(AsLong::Undatable),
        Keep::Held { until: Some(_), .. }
        | Keep::Running
        | Keep::FutureDated { .. }
        | Keep::NewestGood
        | Keep::Minimum { .. }
        | Keep::YoungerThanMinAge { .. }
        | Keep::Rules(_)
        | Keep::WithinCondition { .. }
        | Keep::Grace { .. }
        | Keep::Rate { .. }
        | Keep::CreationFailing { .. }
        | Keep::Unlooked
        | Keep::Unplanned
        | Keep::NotApproved { .. }
        | Keep::FailedButRecent { .. } => None,
    }
}

/// Goes on from where a plan was made until all that it shows is gone, or the budget is. Returns a stay for
/// each of its entries.
pub(super) fn stays(mut world: World<'_>, plan: &Plan) -> Vec<Stay> {
    let mut stays: Vec<Option<Stay>> = plan.entries.iter().map(|entry| for_ever(entry).map(Stay::AsLong)).collect();
    let mut open: BTreeMap<Box<str>, usize> = BTreeMap::new();
    for (index, entry) in plan.entries.iter().enumerate().filter(|(index, _)| stays[*index].is_none()) {
        open.insert(entry.target.id.clone(), index);
    }
    let quiet_at = quiet_at(&world, plan);
    let rest = loop {
        let Some(at) = world.next_at().filter(|_| !open.is_empty()) else { break Stay::AsLong(AsLong::NothingNewer) };
        let made = match world.step(at) {
            Ok(Step::Judged(made)) => made,
            Ok(Step::Made(_) | Step::Failed) => continue,
            Err(too_far) => break Stay::Beyond { at: too_far.reached },
        };
        let mut is_quiet = true;
        for entry in &made.entries {
            let why = match &entry.verdict {
                Verdict::Condemn(why) => why.clone(),
                Verdict::Keep(keep) => {
                    is_quiet &= !keep.is_spared();
                    continue;
                }
            };
            is_quiet &= made.is_held();
            let Some(index) = open.get(&entry.target.id).copied() else { continue };
            if made.is_held() {
                stays[index].get_or_insert(Stay::Held { at, why });
            } else {
                stays[index] = Some(Stay::Until { at, why });
                open.remove(&entry.target.id);
            }
        }
        // A plan that is held in a world where nothing is made is held for ever.
        if world.creation_at.is_none() && is_quiet && at > quiet_at {
            break Stay::AsLong(AsLong::NothingNewer);
        }
    };
    let rest_of = |entry: &Entry| match (&entry.verdict, &rest) {
        // Whatever comes then, its hold lasts longer than was looked ahead.
        (Verdict::Keep(Keep::Held { until: Some(until), .. }), Stay::Beyond { at }) if until > at => {
            Stay::Beyond { at: *until }
        }
        _ => rest.clone(),
    };
    stays.into_iter().zip(&plan.entries).map(|(stay, entry)| stay.unwrap_or_else(|| rest_of(entry))).collect()
}

/// Returns after when time alone changes no verdict on what a plan shows.
fn quiet_at(world: &World<'_>, plan: &Plan) -> Timestamp {
    let newest = plan.entries.iter().filter_map(|entry| entry.target.taken_at).max();
    let held_until = plan.entries.iter().filter_map(|entry| match &entry.verdict {
        Verdict::Keep(Keep::Held { until, .. }) => *until,
        _ => None,
    });
    let from = newest.into_iter().chain(held_until).fold(plan.made_at, Timestamp::max);
    let Grounds { condition, guards, lock, .. } = &world.grounds;
    let spans = [condition.max_age(), condition.min_age(), lock.min_age(), guards.grace.as_ref()];
    let span_ms = spans.into_iter().flatten().map(|span| span.millis()).fold(0, i64::saturating_add);
    from.plus(span_ms)
}
