//! A deletion run's verdict on every snapshot, and the guards that may stop it.
//!
//! The rule judges each snapshot; a guard judges the whole. What a guard stops is kept as a plan
//! that is held, with all its verdicts, so that a person can see what would have happened and let it
//! happen.

mod guard;
mod guards;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::age_lock::AgeLock;
use super::hold::Holds;
use super::policy::{Condition, CreationRule, Guards};
use super::retention::{Keep, Owner, Series, Verdict};
use super::snapshot::{Listing, Snapshot, Status};
use super::time::{Moment, Timestamp};
use super::trust::Trust;

pub use guard::{Guard, Held};

/// One snapshot that may be deleted: by the driver's own identity, not by name alone (D3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its name.
    pub name: Box<str>,
    /// The driver's identity.
    pub id: Box<str>,
    /// The time of its data.
    pub taken_at: Option<Timestamp>,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which snapshot.
    pub target: Target,
    /// How it stands.
    pub status: Status,
    /// What is to become of it, and why.
    pub verdict: Verdict,
}

/// Everything a plan rests on beside the listing: what the policy says now, what the journal remembers,
/// what the clock is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounds {
    /// Whose snapshots are judged.
    pub owner: Owner,
    /// What to keep, as it is in force now (S21).
    pub condition: Condition,
    /// What the policy says about guards.
    pub guards: Guards,
    /// What was in force when a plan last went ahead, where that is another condition (G11).
    pub former: Option<Former>,
    /// Own snapshots when a plan last went ahead, less those deleted since (G9).
    pub seen: Option<u32>,
    /// Whether the next listing is one to look at only (G15).
    pub unlooked: bool,
    /// When a deletion last did all there was to do, or the policy came: what is younger was made since (G6).
    pub cleared_at: Timestamp,
    /// By what the brake is measured since it held a plan first: a plan does not release itself by waiting.
    pub braked: Option<Braked>,
    /// How snapshots are made, and when a run of ours last made one (G12).
    pub freshness: Option<Freshness>,
    /// Since when each snapshot has been condemned, by the driver's identity (G7).
    pub condemned_since: Arc<BTreeMap<Box<str>, Timestamp>>,
    /// How many more may be deleted in this repository within the hour (G14).
    pub rate_left: Option<u32>,
    /// What people hold in the repository (G13).
    pub holds: Arc<Holds>,
    /// What `min_age` is locked to (G13).
    pub lock: AgeLock,
    /// What a person has approved, where this run is about nothing else.
    pub approval: Option<Arc<Approval>>,
    /// What the clock is worth (G1, G2).
    pub clock: Sight,
}

/// The policy's snapshots when a plan was held first because it deletes much (G6, G11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Braked {
    /// When.
    pub at: Timestamp,
    /// How many there were.
    pub own: u32,
}

/// What was in force before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Former {
    /// Nothing was deleted.
    Nothing,
    /// This condition.
    Condition(Condition),
}

/// By what it is told whether snapshots are still made (G12).
#[derive(Clone, Debug, PartialEq)]
pub struct Freshness {
    /// The rule in force.
    pub creation: Arc<CreationRule>,
    /// The last run of ours that ended with a snapshot.
    pub last_good: Option<LastGood>,
}

/// A run that ended with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The snapshot's name.
    pub snapshot: Box<str>,
    /// When the run ended.
    pub ended_at: Timestamp,
}

/// What a person has approved: one plan, as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The plan's number.
    pub number: u64,
    /// What it condemned: at once, after its grace, or in a later hour.
    pub targets: BTreeSet<Target>,
    /// What had stopped it. Nothing else is thereby approved.
    pub guards: BTreeSet<Guard>,
}

/// One look at the clocks, with what is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What both said.
    pub now: Moment,
    /// What is known.
    pub trust: Trust,
    /// What the kernel says of its clock.
    pub synchronised: bool,
}

/// The verdict on every snapshot of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// When it was made, by the time that ages are measured by.
    pub made_at: Timestamp,
    /// How many snapshots of the policy the listing held, however they stand; two entries of one id
    /// are one.
    pub own: u32,
    /// A line for every entry of the listing, oldest first, undatable ones last.
    pub entries: Vec<Entry>,
    /// The guards that stopped it; none where it may go ahead.
    pub held: Vec<Held>,
    /// What the clock was worth.
    pub clock: Sight,
}

/// Which look at the repository a plan is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The one that says what the run may delete. So many were deleted by it before a doubt made another
    /// plan necessary.
    First {
        /// So many.
        deleted: u32,
    },
    /// One before each deletion: it can only take away from what the plan allowed, so that whatever bounds
    /// the whole was asked before.
    Again,
}

impl Grounds {
    /// Returns the grounds of a policy of which nothing else is known: nothing was ever edited, all there is
    /// was made since the last deletion, the clock is right.
    pub fn plain(owner: Owner, condition: Condition, seen: Option<u32>, now: Moment) -> Grounds {
        Grounds {
            owner,
            condition,
            guards: Guards::default(),
            former: None,
            seen,
            unlooked: false,
            cleared_at: Timestamp::EPOCH,
            braked: None,
            freshness: None,
            condemned_since: Arc::default(),
            rate_left: None,
            holds: Arc::default(),
            lock: AgeLock::default(),
            approval: None,
            clock: Sight { now, trust: Trust::first(now, true), synchronised: true },
        }
    }
}

impl Plan {
    /// Returns the plan for a listing at `now`, by the smaller of the two clocks (G2).
    pub fn make(grounds: &Grounds, listing: &Listing, look: Look, now: Timestamp) -> Plan {
        let clock = &grounds.clock;
        let now = now.min(clock.trust.time(clock.now));
        let condition = grounds.condition.locked(grounds.lock.min_age());
        let series = Series::of(&grounds.owner, &condition, &grounds.holds, &listing.snapshots, now);
        let snapshots = &listing.snapshots;
        let identity = |index: usize| (&snapshots[index].name, &snapshots[index].id);
        // Places are sorted and not the entries, which are large. Stable, because listings mostly come
        // in some order of time, which that sort finds and uses.
        let time = |snapshot: &Snapshot| (snapshot.taken_at.is_none(), snapshot.taken_at);
        let mut order: Vec<_> = snapshots.iter().map(time).zip(0..snapshots.len()).collect();
        order.sort_by(|(time, index), (other_time, other)| {
            time.cmp(other_time).then_with(|| identity(*index).cmp(&identity(*other)))
        });
        let order: Vec<usize> = order.into_iter().map(|(_, index)| index).collect();
        let mut entries: Vec<Entry> = order
            .iter()
            .map(|index| Entry {
                target: Target::of(&snapshots[*index]),
                status: snapshots[*index].status,
                verdict: series.verdict(*index),
            })
            .collect();
        let measure = guards::Measure::of(grounds, &series, &order, &entries, now);
        guards::spare(grounds, &measure, &mut entries, look, now);
        let held = guards::hold(grounds, &series, &measure, &entries, look);
        Plan { made_at: now, own: series.own(), entries, held, clock: *clock }
    }

    /// Whether a guard stopped it.
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns what may be deleted, oldest first; nothing while the plan is held.
    pub fn condemned(&self) -> Vec<Target> {
        self.allowed().cloned().collect()
    }

    /// Returns the same, borrowed.
    pub fn allowed(&self) -> impl Iterator<Item = &Target> {
        let entries = if self.is_held() { &[] } else { self.entries.as_slice() };
        entries.iter().filter(|entry| entry.verdict.is_condemned()).map(|entry| &entry.target)
    }

    /// Whether it did, or begins to do, all that the rule condemns.
    pub fn is_thorough(&self) -> bool {
        let waits = |keep: &Keep| keep.is_spared() && !matches!(keep, Keep::Grace { .. });
        self.entries.iter().all(|entry| match &entry.verdict {
            Verdict::Keep(keep) => !waits(keep),
            Verdict::Condemn(_) => true,
        })
    }

    /// Returns what guards took out of what the rule condemns, in words; `None` where they took nothing.
    pub fn spared(&self) -> Option<String> {
        let spared = |entry: &Entry| match &entry.verdict {
            Verdict::Keep(keep) if keep.is_spared() => Some((entry.verdict.code(), keep.to_string())),
            Verdict::Keep(_) | Verdict::Condemn(_) => None,
        };
        let mut words: BTreeMap<&str, (u32, String)> = BTreeMap::new();
        for (code, reason) in self.entries.iter().filter_map(spared) {
            words.entry(code).or_insert((0, reason)).0 += 1;
        }
        let told = words.into_values().map(|(count, reason)| match count {
            1 => format!("1 snapshot stays for now: {reason}"),
            _ => format!("{count} snapshots stay for now, the first: {reason}"),
        });
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// Returns what a person approves who approves this plan.
    pub fn approval(&self, number: u64) -> Approval {
        Approval { number, targets: self.targets(), guards: self.guards() }
    }

    /// Returns what it condemns: at once, after its grace, or in a later hour; also while it is held.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.entries.iter().filter(|entry| entry.goes()).map(|entry| entry.target.clone()).collect()
    }

    /// Returns which guards stopped it.
    pub fn guards(&self) -> BTreeSet<Guard> {
        self.held.iter().map(Held::guard).collect()
    }
}

/// Returns since when what a plan condemns has been condemned, by the driver's identity (G7).
pub fn condemned_since(entries: &[Entry]) -> BTreeMap<Box<str>, Timestamp> {
    let since = |entry: &Entry| match entry.verdict {
        // Its grace is over, or there was none.
        Verdict::Condemn(_) | Verdict::Keep(Keep::Rate { .. }) => Some(Timestamp::EPOCH),
        Verdict::Keep(Keep::Grace { since, .. }) => Some(since),
        Verdict::Keep(_) => None,
    };
    entries.iter().filter_map(|entry| Some((entry.target.id.clone(), since(entry)?))).collect()
}

impl Entry {
    /// Whether it goes by this plan, at once or a little later.
    pub fn goes(&self) -> bool {
        matches!(self.verdict, Verdict::Condemn(_) | Verdict::Keep(Keep::Grace { .. } | Keep::Rate { .. }))
    }
}

impl Target {
    /// Returns what names this snapshot in a deletion.
    pub fn of(snapshot: &Snapshot) -> Target {
        Target { name: snapshot.name.as_str().into(), id: snapshot.id.as_str().into(), taken_at: snapshot.taken_at }
    }
}
