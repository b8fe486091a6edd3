//! What to keep: a verdict with its reason for every snapshot.
//!
//! The order is fixed: **protect** (the newest good one, the newest `min_count` good ones, what is
//! younger than `min_age`, and what is in the list below), then **thin** by the keep rules, then
//! `max_age`, then `max_count`. Where every snapshot is ours, good and datable, and there is neither a
//! keep rule nor `min_age`, the condemned set is OpenSearch's. Elsewhere this rule keeps more:
//!
//! - Only *good* snapshots count towards anything, and the newest of them stays whatever the policy
//!   says (G4, G5). A failure can neither fill `max_count` nor satisfy `min_count`.
//! - What a person holds is never condemned, and counts for nothing, so that it takes nobody's place (G13).
//! - What is not ours by its stamp, is listed in contradiction to itself, is being made, is in use,
//!   cannot be dated, or is dated ahead of now is never condemned, and all of these but those in use
//!   count for nothing (G3, G8).
//! - A snapshot that is not good is cleaned up once good ones have taken its place: with `max_age`,
//!   when it is older than that and a newer good one exists; with `max_count` alone, when `max_count`
//!   good ones are newer, so that it goes no earlier than a good one of its age would. With keep rules
//!   it also goes when none of them would hold a good one of its age.
//!
//! Thinning is told in `keep.rs`. With keep rules `max_count` counts places among those that a rule
//! holds or `min_count` protects. What stays only for a while, because it is young or in use, takes no
//! place from them: nothing goes for ever on account of what goes tomorrow.
//!
//! Age is counted from the time of a snapshot's data, in whole milliseconds; strictly older is old.
//! Of two with the same time the one whose name comes first counts as the older, as in OpenSearch.

mod keep;
mod words;

use std::hash::{DefaultHasher, Hash, Hasher};

pub use keep::Hold;

use self::keep::{Held, Marks};
use super::hold::{self, Holds};
use super::policy::Condition;
use super::snapshot::{Snapshot, Status, label};
use super::time::{Span, Timestamp};

/// Whose snapshots are ours to judge: the stamp decides, never a name's prefix (G8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// This installation.
    pub installation: Box<str>,
    /// The policy's uid.
    pub policy_uid: Box<str>,
}

/// What is to become of a snapshot, and why. `Display` is the reason as a phrase, [`Verdict::code`]
/// one stable word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Keep),
    /// It goes.
    Condemn(Condemn),
}

/// Why a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Not stamped by this installation for this policy (G8).
    Foreign(Whose),
    /// Listed more than once under its id or, among our own, its name: what a deletion would hit is
    /// unclear, so nothing of it is condemned and nothing of it counts (G8, G9).
    Ambiguous {
        /// How many entries share the id or the name.
        entries: u32,
    },
    /// Being made.
    Running,
    /// In use, in the driver's words.
    InUse {
        /// By what.
        by: String,
    },
    /// A person wants it kept (G13). It counts for nothing meanwhile.
    Held {
        /// Till when; `None` till the hold is removed.
        until: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// The driver cannot date it, or dates it at or before 1970, which is what a blank date reads as
    /// (G3, G10).
    Undatable,
    /// Dated more than five minutes ahead of now (G3).
    FutureDated {
        /// How far ahead.
        ahead_ms: i64,
    },
    /// The newest good one, whatever the policy says (G5).
    NewestGood,
    /// Among the newest `min_count` good ones.
    Minimum {
        /// Its place among the good ones; the newest is 1.
        place: u32,
        /// What the policy says.
        min_count: u32,
    },
    /// Younger than `min_age`.
    YoungerThanMinAge {
        /// Its age.
        age_ms: i64,
        /// What the policy says.
        min_age: Span,
    },
    /// Held by keep rules, not old, and within `max_count`.
    Rules(
        /// All of them, from fine to coarse. At least one.
        Box<[Hold]>,
    ),
    /// Not old, and within `max_count`; there are no keep rules.
    WithinCondition {
        /// Its age.
        age_ms: i64,
        /// Its place among the good ones; the newest is 1.
        place: u32,
    },
    /// Condemned, and to go at the end of its grace (G7).
    Grace {
        /// Since when it has been condemned.
        since: Timestamp,
        /// When it may go.
        until: Timestamp,
    },
    /// Condemned, and to go in a later hour (G14).
    Rate {
        /// So many go in an hour.
        rate: u32,
    },
    /// Condemned by its age, while no new ones are made (G12).
    CreationFailing {
        /// How many triggers of creation passed without a snapshot.
        missed: u64,
    },
    /// Condemned by the first look after something unknown (G15).
    Unlooked,
    /// Condemned by a later look, and not by the plan of this run.
    Unplanned,
    /// Condemned, and not part of the plan that a person has approved.
    NotApproved {
        /// The plan's number.
        plan: u64,
    },
    /// Not good, and not to be cleaned up yet (G4).
    FailedButRecent {
        /// Its age.
        age_ms: i64,
        /// What is missing for it to go.
        until: Until,
    },
}

/// Whose a snapshot is that is not this policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// It has no stamp, or half of one.
    Nobody,
    /// Another installation's.
    AnotherInstallation,
    /// Another policy's of this installation.
    AnotherPolicy,
    /// Its stamp names this policy and not this installation: a copy, or a forgery.
    Contradictory,
}

/// What is missing for a snapshot that is not good to be cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// It is younger than `min_age`.
    MinAge(Span),
    /// A keep rule would hold a good one of its age: this one, the finest of them. Boxed, as most verdicts
    /// have none.
    Rule(Box<Hold>),
    /// It is not older than `max_age`.
    MaxAge(Span),
    /// There is no newer good one.
    NewerGood,
    /// Fewer than `max_count` good ones are newer.
    MaxCount {
        /// How many are.
        newer: u32,
        /// What the policy says.
        max_count: u32,
    },
}

/// Why a snapshot goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condemn {
    /// No keep rule holds it.
    Thinned,
    /// Strictly older than `max_age`.
    OlderThanMaxAge {
        /// Its age.
        age_ms: i64,
        /// What the policy says.
        max_age: Span,
    },
    /// `max_count` good ones are newer.
    BeyondMaxCount {
        /// Its place among the good ones; the newest is 1.
        place: u32,
        /// What the policy says.
        max_count: u32,
    },
    /// Held by a keep rule, and `max_count` of those that thinning left are newer.
    HeldBeyondMaxCount {
        /// Its place among those that a keep rule holds or `min_count` protects; the newest is 1.
        place: u32,
        /// What the policy says.
        max_count: u32,
    },
    /// Not good, a newer good one exists, and no keep rule would hold a good one of its age (G4).
    FailedAndThinned,
    /// Not good, older than `max_age`, and a newer good one exists (G4).
    FailedAndOld {
        /// Its age.
        age_ms: i64,
        /// What the policy says.
        max_age: Span,
    },
    /// Not good, `max_count` good ones are newer, and the policy has no `max_age` (G4).
    FailedAndReplaced {
        /// How many good ones are newer.
        newer: u32,
        /// What the policy says.
        max_count: u32,
    },
}

impl Keep {
    /// Whether a guard keeps for now what the rule condemns.
    pub fn is_spared(&self) -> bool {
        match self {
            Keep::Grace { .. }
            | Keep::Rate { .. }
            | Keep::CreationFailing { .. }
            | Keep::Unlooked
            | Keep::Unplanned
            | Keep::NotApproved { .. } => true,
            Keep::Foreign(_)
            | Keep::Ambiguous { .. }
            | Keep::Running
            | Keep::InUse { .. }
            | Keep::Held { .. }
            | Keep::Undatable
            | Keep::FutureDated { .. }
            | Keep::NewestGood
            | Keep::Minimum { .. }
            | Keep::YoungerThanMinAge { .. }
            | Keep::Rules(_)
            | Keep::WithinCondition { .. }
            | Keep::FailedButRecent { .. } => false,
        }
    }
}

impl Condemn {
    /// Whether time alone condemns it, however many are made.
    pub fn is_by_age(&self) -> bool {
        match self {
            Condemn::OlderThanMaxAge { .. } | Condemn::FailedAndOld { .. } => true,
            Condemn::Thinned
            | Condemn::BeyondMaxCount { .. }
            | Condemn::HeldBeyondMaxCount { .. }
            | Condemn::FailedAndThinned
            | Condemn::FailedAndReplaced { .. } => false,
        }
    }
}

impl Verdict {
    /// Whether it goes.
    pub fn is_condemned(&self) -> bool {
        match self {
            Verdict::Keep(_) => false,
            Verdict::Condemn(_) => true,
        }
    }
}

/// Clocks of hosts differ; a snapshot dated further ahead than this is not believed (G3).
pub const AHEAD_MAX_MS: i64 = 5 * 60_000;

impl Owner {
    /// Returns whose a snapshot is, `None` when it is this owner's.
    pub fn whose_else(&self, snapshot: &Snapshot) -> Option<Whose> {
        let installation = snapshot.labels.get(label::INSTALLATION);
        let policy_uid = snapshot.labels.get(label::POLICY_UID);
        match (installation, policy_uid) {
            (Some(installation), Some(uid)) if **installation == *self.installation => {
                if **uid == *self.policy_uid {
                    None
                } else {
                    Some(Whose::AnotherPolicy)
                }
            }
            (_, Some(uid)) if **uid == *self.policy_uid => Some(Whose::Contradictory),
            (Some(installation), _) if **installation != *self.installation => Some(Whose::AnotherInstallation),
            (Some(_) | None, Some(_) | None) => Some(Whose::Nobody),
        }
    }
}

/// Returns a verdict for every snapshot, in the order given. Which verdict one gets does not depend
/// on that order. Takes n log n time.
pub fn judge(owner: &Owner, condition: &Condition, snapshots: &[Snapshot], now: Timestamp) -> Vec<Verdict> {
    let holds = Holds::default();
    let series = Series::of(owner, condition, &holds, snapshots, now);
    (0..snapshots.len()).map(|index| series.verdict(index)).collect()
}

/// A listing, and what there is to know about the whole of it before one snapshot can be judged.
pub(super) struct Series<'a> {
    condition: &'a Condition,
    snapshots: &'a [Snapshot],
    now: Timestamp,
    holds: &'a Holds,
    /// What holds each.
    held: Vec<Option<hold::Hold>>,
    /// Whose each is, when it is not ours.
    whose: Vec<Option<Whose>>,
    /// How many entries share the identity of each, itself included.
    entries: Vec<u32>,
    /// For each good one that counts, how many good ones are newer.
    newer: Vec<u32>,
    /// The times of the good ones that count, newest first.
    good: Vec<Timestamp>,
    /// What the keep rules make of it, where there are any.
    thinned: Option<Thinned<'a>>,
    /// How many ids are ours.
    own: u32,
}

/// What the keep rules make of a listing.
struct Thinned<'a> {
    held: Held<'a>,
    /// What holds each good one that counts, and would hold each other one of ours were it good.
    marks: Vec<Marks>,
    /// For each number of good ones, how many of that many newest are held or protected by `min_count`.
    left: Vec<u32>,
}

/// What the keep rules make of one snapshot.
#[derive(Clone, Copy)]
struct Thinning<'a> {
    held: &'a Held<'a>,
    marks: Marks,
    /// How many newer ones are held or protected by `min_count`.
    newer: u32,
}

/// Where a snapshot lies in time.
enum Dated {
    Undatable,
    Ahead { ahead_ms: i64 },
    At(Timestamp),
}

fn dated(snapshot: &Snapshot, now: Timestamp) -> Dated {
    match snapshot.taken_at {
        None => Dated::Undatable,
        Some(at) if at <= Timestamp::EPOCH => Dated::Undatable,
        Some(at) if at.since(now) > AHEAD_MAX_MS => Dated::Ahead { ahead_ms: at.since(now) },
        Some(at) => Dated::At(at),
    }
}

impl<'a> Series<'a> {
    pub(super) fn of(
        owner: &Owner,
        condition: &'a Condition,
        holds: &'a Holds,
        snapshots: &'a [Snapshot],
        now: Timestamp,
    ) -> Series<'a> {
        let whose: Vec<Option<Whose>> = snapshots.iter().map(|snapshot| owner.whose_else(snapshot)).collect();
        let is_own = |index: usize| whose[index].is_none();
        let mut entries = vec![1; snapshots.len()];
        let mut own = 0;
        for_each_equal(
            snapshots,
            |_| true,
            |snapshot| &snapshot.id,
            |same| {
                own += u32::from(same.iter().any(|index| is_own(*index)));
                same.iter().for_each(|index| entries[*index] = count(same));
            },
        );
        for_each_equal(
            snapshots,
            is_own,
            |snapshot| &snapshot.name,
            |same| {
                same.iter().for_each(|index| entries[*index] = entries[*index].max(count(same)));
            },
        );

        let held: Vec<Option<hold::Hold>> = snapshots.iter().map(|snapshot| holds.on(snapshot, now)).collect();
        let mut order: Vec<(Timestamp, usize)> = Vec::new();
        let mut others: Vec<(Timestamp, usize)> = Vec::new();
        for (index, snapshot) in snapshots.iter().enumerate() {
            if is_own(index)
                && entries[index] == 1
                && held[index].is_none()
                && let Dated::At(at) = dated(snapshot, now)
            {
                match snapshot.status {
                    Status::Good => order.push((at, index)),
                    Status::Partial | Status::Failed => others.push((at, index)),
                    Status::Running => {}
                }
            }
        }
        order.sort_unstable_by(|(at, index), (other_at, other)| {
            other_at.cmp(at).then_with(|| snapshots[*other].name.cmp(&snapshots[*index].name))
        });

        let mut newer = vec![0; snapshots.len()];
        for (place, (_, index)) in (0..).zip(&order) {
            newer[*index] = place;
        }
        let good: Vec<Timestamp> = order.iter().map(|(at, _)| *at).collect();
        let thinned = condition.keep().map(|rules| {
            others.sort_unstable_by(|(at, _), (other_at, _)| other_at.cmp(at));
            let others_at: Vec<Timestamp> = others.iter().map(|(at, _)| *at).collect();
            let thinned = keep::thin(rules, &good, &others_at);
            let mut left = vec![0];
            let mut count = 0;
            for (place, marks) in (0..).zip(&thinned.good) {
                count += u32::from(marks.is_held() || place < condition.min_count());
                left.push(count);
            }
            let mut marks = vec![Marks::default(); snapshots.len()];
            for ((_, index), own) in order.iter().zip(&thinned.good).chain(others.iter().zip(&thinned.others)) {
                marks[*index] = *own;
            }
            Thinned { held: thinned, marks, left }
        });
        Series { condition, snapshots, now, holds, held, whose, entries, newer, good, thinned, own }
    }

    /// Returns how many of the ids listed are ours.
    pub(super) fn own(&self) -> u32 {
        self.own
    }

    /// Returns the same listing under another condition.
    pub(super) fn under<'b>(&'b self, owner: &Owner, condition: &'b Condition) -> Series<'b> {
        Series::of(owner, condition, self.holds, self.snapshots, self.now)
    }

    /// Returns the time of the newest good one that counts.
    pub(super) fn newest_good(&self) -> Option<Timestamp> {
        self.good.first().copied()
    }

    /// Whether an own snapshot of this name is good.
    pub(super) fn has_good(&self, name: &str) -> bool {
        let is_it = |snapshot: &Snapshot| snapshot.status == Status::Good && *snapshot.name == *name;
        self.snapshots.iter().zip(&self.whose).any(|(snapshot, whose)| whose.is_none() && is_it(snapshot))
    }

    /// Returns how many own good and partial ones are dated after `since` and not after `until`.
    pub(super) fn made_between(&self, since: Timestamp, until: Timestamp) -> u32 {
        let own = self.snapshots.iter().zip(&self.whose).filter(|(_, whose)| whose.is_none());
        let made = own.filter(|(snapshot, _)| match (snapshot.status, dated(snapshot, self.now)) {
            (Status::Good | Status::Partial, Dated::At(taken_at)) => taken_at > since && taken_at <= until,
            _ => false,
        });
        u32::try_from(made.count()).unwrap_or(u32::MAX)
    }

    /// Returns the own one that is furthest ahead of now and dated after `known`: its name, its time, and
    /// how far that is.
    pub(super) fn furthest_ahead(&self, known: Timestamp) -> Option<(&str, Timestamp, i64)> {
        let own = self.snapshots.iter().zip(&self.whose).filter(|(_, whose)| whose.is_none());
        let ahead = own.filter_map(|(snapshot, _)| match (snapshot.taken_at, dated(snapshot, self.now)) {
            (Some(at), Dated::Ahead { ahead_ms }) if at > known => Some((snapshot.name.as_str(), at, ahead_ms)),
            _ => None,
        });
        ahead.max_by_key(|(name, at, _)| (*at, *name))
    }

    /// Returns the verdict on the snapshot at `index`.
    pub(super) fn verdict(&self, index: usize) -> Verdict {
        let snapshot = &self.snapshots[index];
        // Protect.
        if let Some(whose) = self.whose[index] {
            return Verdict::Keep(Keep::Foreign(whose));
        }
        if self.entries[index] > 1 {
            return Verdict::Keep(Keep::Ambiguous { entries: self.entries[index] });
        }
        if let Some(hold::Hold { until, reason, .. }) = &self.held[index] {
            return Verdict::Keep(Keep::Held { until: *until, reason: reason.clone() });
        }
        if snapshot.status == Status::Running {
            return Verdict::Keep(Keep::Running);
        }
        if let Some(by) = &snapshot.in_use {
            return Verdict::Keep(Keep::InUse { by: by.clone() });
        }
        let at = match dated(snapshot, self.now) {
            Dated::Undatable => return Verdict::Keep(Keep::Undatable),
            Dated::Ahead { ahead_ms } => return Verdict::Keep(Keep::FutureDated { ahead_ms }),
            Dated::At(at) => at,
        };
        let age_ms = self.now.since(at).max(0);
        match snapshot.status {
            Status::Good => {
                let newer = self.newer[index];
                judge_good(self.condition, newer, self.thinning(index, newer), age_ms)
            }
            Status::Partial | Status::Failed | Status::Running => {
                let newer = self.good.partition_point(|good| *good > at);
                let newer = u32::try_from(newer).unwrap_or(u32::MAX);
                judge_failed(self.condition, newer, self.thinning(index, newer), age_ms)
            }
        }
    }

    /// Returns what the keep rules make of the snapshot at `index`, than which `newer` good ones are
    /// newer.
    fn thinning(&self, index: usize, newer: u32) -> Option<Thinning<'_>> {
        let thinned = self.thinned.as_ref()?;
        Some(Thinning { held: &thinned.held, marks: thinned.marks[index], newer: thinned.left[newer as usize] })
    }
}

/// The rule for a good one than which `newer` good ones are newer.
fn judge_good(condition: &Condition, newer: u32, thinning: Option<Thinning<'_>>, age_ms: i64) -> Verdict {
    let place = newer.saturating_add(1);
    // Protect.
    if newer == 0 {
        return Verdict::Keep(Keep::NewestGood);
    }
    if newer < condition.min_count() {
        return Verdict::Keep(Keep::Minimum { place, min_count: condition.min_count() });
    }
    if let Some(min_age) = younger(condition, age_ms) {
        return Verdict::Keep(Keep::YoungerThanMinAge { age_ms, min_age: min_age.clone() });
    }
    // Thin.
    if thinning.is_some_and(|thinning| !thinning.marks.is_held()) {
        return Verdict::Condemn(Condemn::Thinned);
    }
    if let Some(max_age) = condition.max_age().filter(|max_age| age_ms > max_age.millis()) {
        return Verdict::Condemn(Condemn::OlderThanMaxAge { age_ms, max_age: max_age.clone() });
    }
    match thinning {
        None => match condition.max_count().filter(|max_count| newer >= *max_count) {
            Some(max_count) => Verdict::Condemn(Condemn::BeyondMaxCount { place, max_count }),
            None => Verdict::Keep(Keep::WithinCondition { age_ms, place }),
        },
        Some(Thinning { held, marks, newer }) => match condition.max_count().filter(|max_count| newer >= *max_count) {
            Some(max_count) => {
                Verdict::Condemn(Condemn::HeldBeyondMaxCount { place: newer.saturating_add(1), max_count })
            }
            None => Verdict::Keep(Keep::Rules(held.holds(marks))),
        },
    }
}

/// The rule for one that is not good and than which `newer` good ones are newer.
fn judge_failed(condition: &Condition, newer: u32, thinning: Option<Thinning<'_>>, age_ms: i64) -> Verdict {
    let keep = |until| Verdict::Keep(Keep::FailedButRecent { age_ms, until });
    if newer == 0 {
        return keep(Until::NewerGood);
    }
    if let Some(min_age) = younger(condition, age_ms) {
        return keep(Until::MinAge(min_age.clone()));
    }
    let finest = thinning.map(|thinning| thinning.held.finest(thinning.marks));
    if let Some(None) = finest {
        return Verdict::Condemn(Condemn::FailedAndThinned);
    }
    let until_thinned = finest.flatten().map(|hold| Until::Rule(Box::new(hold)));
    match (condition.max_age(), condition.max_count()) {
        (Some(max_age), _) if age_ms > max_age.millis() => {
            Verdict::Condemn(Condemn::FailedAndOld { age_ms, max_age: max_age.clone() })
        }
        (Some(max_age), _) => keep(until_thinned.unwrap_or_else(|| Until::MaxAge(max_age.clone()))),
        (None, Some(max_count)) => {
            let newer = thinning.map_or(newer, |thinning| thinning.newer);
            if newer >= max_count {
                return Verdict::Condemn(Condemn::FailedAndReplaced { newer, max_count });
            }
            keep(until_thinned.unwrap_or(Until::MaxCount { newer, max_count }))
        }
        // A condition has a maximum or a keep rule; were there neither, nothing would go.
        (None, None) => keep(until_thinned.unwrap_or(Until::NewerGood)),
    }
}

fn younger(condition: &Condition, age_ms: i64) -> Option<&Span> {
    condition.min_age().filter(|min_age| age_ms < min_age.millis())
}

fn count(same: &[usize]) -> u32 {
    u32::try_from(same.len()).unwrap_or(u32::MAX)
}

/// Calls `each` with the places of all snapshots that share a key, for every key among those that
/// take part.
///
/// Keys are told apart by a hash first: ids are long and names begin alike, which makes a sort by
/// text several times slower than all the rest.
fn for_each_equal(
    snapshots: &[Snapshot],
    takes_part: impl Fn(usize) -> bool,
    key: impl Fn(&Snapshot) -> &String,
    mut each: impl FnMut(&[usize]),
) {
    let key = |index: usize| key(&snapshots[index]);
    let mut order: Vec<(u64, usize)> = (0..snapshots.len())
        .filter(|index| takes_part(*index))
        .map(|index| {
            // Of fixed seed, so the same listing always takes the same way.
            let mut hasher = DefaultHasher::new();
            key(index).hash(&mut hasher);
            (hasher.finish(), index)
        })
        .collect();
    order.sort_unstable_by(|(hash, index), (other_hash, other)| {
        hash.cmp(other_hash).then_with(|| key(*index).cmp(key(*other)))
    });
    let mut same = Vec::new();
    for equal in order.chunk_by(|(hash, index), (other_hash, other)| hash == other_hash && key(*index) == key(*other)) {
        same.clear();
        same.extend(equal.iter().map(|(_, index)| *index));
        each(&same);
    }
}
