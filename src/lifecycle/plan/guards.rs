//! The guards themselves. Those that look at one snapshot spare it, those that look at the whole hold the
//! plan.

use super::{Entry, Former, Grounds, Guard, Held, LastGood, Look};
use crate::lifecycle::retention::{Condemn, Keep, Series, Verdict};
use crate::lifecycle::snapshot::Status;
use crate::lifecycle::time::Timestamp;

/// So many may always go: with a handful of snapshots a share of them means nothing.
const FREE_MIN: u32 = 3;
/// The second trigger in a row without a snapshot: creation is broken, and old ones must not run out (G12).
const MISSED_MAX: u64 = 2;

/// What the guards of the whole need to know of the rule's own verdicts.
pub(super) struct Measure {
    /// Good and partial ones that the rule condemns and the former condition would have kept. Failed ones
    /// are no loss.
    newly: u32,
    /// Good and partial ones made since the last deletion that succeeded.
    made: u32,
    /// How often creation should have made one since it last did.
    missed: u64,
}

impl Measure {
    pub(super) fn of(
        grounds: &Grounds,
        series: &Series<'_>,
        order: &[usize],
        entries: &[Entry],
        now: Timestamp,
    ) -> Measure {
        let condemned = entries.iter().filter(|entry| is_loss(entry) && entry.verdict.is_condemned());
        let newly = match &grounds.former {
            None => 0,
            Some(Former::Nothing) => count(condemned.clone()),
            Some(Former::Condition(former)) => {
                let former = series.under(&grounds.owner, former);
                let stayed = |(entry, index): &(&Entry, &usize)| {
                    is_loss(entry) && entry.verdict.is_condemned() && !former.verdict(**index).is_condemned()
                };
                count(entries.iter().zip(order).filter(stayed))
            }
        };
        let until = grounds.braked.map_or(now, |braked| braked.at);
        let made = series.made_between(grounds.cleared_at, until);
        Measure { newly, made, missed: missed(grounds, series) }
    }
}

fn is_loss(entry: &Entry) -> bool {
    match entry.status {
        Status::Good | Status::Partial => true,
        Status::Failed | Status::Running => false,
    }
}

/// How many good and partial ones this plan is the first to let go. What waited out its grace was counted
/// by the plan that condemned it first.
fn going(grounds: &Grounds, entries: &[Entry]) -> u32 {
    let known = |entry: &Entry| grounds.condemned_since.contains_key(&entry.target.id);
    count(entries.iter().filter(|entry| entry.goes() && is_loss(entry) && !known(entry)))
}

fn count<T>(of: impl Iterator<Item = T>) -> u32 {
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}

/// How many triggers of creation have passed since a good snapshot was last made (G12). A run that takes
/// longer than the gap of its schedule is not late: it counts from its end.
fn missed(grounds: &Grounds, series: &Series<'_>) -> u64 {
    let Some(freshness) = &grounds.freshness else { return 0 };
    // By the policy's own clock: a doubted one holds the plan anyway.
    let now = grounds.clock.now.wall;
    let Some(newest) = series.newest_good() else { return 0 };
    // One that ended in a future that a wrong clock told of says nothing.
    let is_known = |last: &&LastGood| last.ended_at <= now && series.has_good(&last.snapshot);
    let last = freshness.last_good.as_ref().filter(is_known);
    let since = last.map_or(newest, |last| last.ended_at.max(newest));
    freshness.creation.pace.schedule.elapsed(since, now).map_or(0, |elapsed| elapsed.count)
}

/// Takes back verdicts that would delete what should stay for now.
pub(super) fn spare(grounds: &Grounds, measure: &Measure, entries: &mut [Entry], look: Look, now: Timestamp) {
    let mut left = grounds.rate_left;
    for entry in entries {
        let Verdict::Condemn(condemn) = &entry.verdict else { continue };
        if let Some(keep) = spared(grounds, measure, entry, condemn, look, now) {
            entry.verdict = Verdict::Keep(keep);
            continue;
        }
        // The oldest go first; what does not fit into the hour waits for the next run (G14).
        match (&mut left, grounds.guards.rate) {
            (Some(0), Some(rate)) => entry.verdict = Verdict::Keep(Keep::Rate { rate }),
            (Some(left), _) => *left -= 1,
            (None, _) => {}
        }
    }
}

fn spared(
    grounds: &Grounds,
    measure: &Measure,
    entry: &Entry,
    condemn: &Condemn,
    look: Look,
    now: Timestamp,
) -> Option<Keep> {
    match &grounds.approval {
        // Exactly what was shown, or nothing.
        Some(approval) if !approval.targets.contains(&entry.target) => {
            return Some(Keep::NotApproved { plan: approval.number });
        }
        // A person has thought of the rest; what was shown as waiting out its grace still does.
        Some(_) => {}
        None if grounds.unlooked => return Some(Keep::Unlooked),
        None if condemn.is_by_age() && measure.missed >= MISSED_MAX => {
            return Some(Keep::CreationFailing { missed: measure.missed });
        }
        None => {}
    }
    if look == Look::Again {
        // The plan would not have allowed it before.
        return None;
    }
    let grace = grounds.guards.grace.as_ref()?;
    let since = grounds.condemned_since.get(&entry.target.id).copied().unwrap_or(now).min(now);
    let until = since.plus(grace.millis());
    (now < until).then_some(Keep::Grace { since, until })
}

/// Returns what holds the whole plan.
pub(super) fn hold(
    grounds: &Grounds,
    series: &Series<'_>,
    measure: &Measure,
    entries: &[Entry],
    look: Look,
) -> Vec<Held> {
    let mut held = Vec::new();
    let trust = &grounds.clock.trust;
    if let Some(doubt) = trust.doubt {
        held.push(Held::Clock(doubt));
    }
    let own = series.own();
    if let Some(before) = grounds.seen
        // Exactly half is not more than half: with two snapshots, one may go.
        && u64::from(own) * 2 < u64::from(before)
    {
        held.push(Held::ListingShrank { before, now: own });
    }
    let goes = entries.iter().any(Entry::goes) || measure.newly > 0;
    if goes && let Some((snapshot, taken_at, ahead_ms)) = series.furthest_ahead(trust.wrong_until) {
        held.push(Held::Ahead { snapshot: snapshot.into(), taken_at, ahead_ms });
    }
    match look {
        Look::First { deleted } if goes => held.extend(too_much(grounds, series, measure, entries, deleted)),
        Look::First { .. } | Look::Again => {}
    }
    if let Some(approval) = &grounds.approval {
        held.retain(|held| !approval.guards.contains(&held.guard()));
        // What was approved is what may go: neither brake nor edit can have more to say about it.
        held.retain(|held| !matches!(held.guard(), Guard::Brake | Guard::Edit));
    }
    held
}

/// G11 and G6.
fn too_much(
    grounds: &Grounds,
    series: &Series<'_>,
    measure: &Measure,
    entries: &[Entry],
    deleted: u32,
) -> impl Iterator<Item = Held> {
    // What this run has deleted before it had to plan anew belongs to the same whole.
    let own = series.own().saturating_add(deleted);
    let measured = grounds.braked.map_or(own, |braked| braked.own.min(own));
    let share = u64::from(measured) * u64::from(grounds.guards.brake_percent) / 100;
    let share = u32::try_from(share).unwrap_or(u32::MAX).max(FREE_MIN);
    let condemned = going(grounds, entries).saturating_add(deleted);
    let flow = u32::try_from(u64::from(measure.made) * 3 / 2).unwrap_or(u32::MAX);
    let limit = share.max(flow);
    let newly = measure.newly;
    let edit = (newly > share).then_some(Held::Edit { newly, limit: share });
    let brake = (condemned > limit).then_some(Held::Brake { condemned, own, made: measure.made, limit });
    edit.into_iter().chain(brake)
}
