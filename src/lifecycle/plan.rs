//! A deletion run's verdict on every snapshot, and the guards that may stop it.
//!
//! The rule judges each snapshot; a guard judges the whole. What a guard stops is kept as a plan
//! that is held, with all its verdicts, so that a person can see what would have happened.

use super::policy::Condition;
use super::retention::{Owner, Series, Verdict};
use super::snapshot::{Listing, Snapshot, Status};
use super::time::Timestamp;

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

/// Why a whole plan is stopped until a person has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The listing has lost more than half of what it showed before (G9).
    ListingShrank {
        /// Own snapshots in the last listing that was acted on.
        before: u32,
        /// Own snapshots in this one.
        now: u32,
    },
}

/// The verdict on every snapshot of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When it was made.
    pub made_at: Timestamp,
    /// How many snapshots of the policy the listing held, however they stand; two entries of one id
    /// are one.
    pub own: u32,
    /// A line for every entry of the listing, oldest first, undatable ones last.
    pub entries: Vec<Entry>,
    /// The guard that stopped it, if one did.
    pub held: Option<Held>,
}

impl Plan {
    /// Returns the plan for a listing. `seen` is the number of own snapshots when a plan last went
    /// ahead, less those deleted since; `approved` says that a person asked for this run and so
    /// accepts a shrunken listing.
    pub fn make(
        owner: &Owner,
        condition: &Condition,
        listing: &Listing,
        seen: Option<u32>,
        approved: bool,
        now: Timestamp,
    ) -> Plan {
        let series = Series::of(owner, condition, &listing.snapshots, now);
        let snapshots = &listing.snapshots;
        let identity = |index: usize| (&snapshots[index].name, &snapshots[index].id);
        // Places are sorted and not the entries, which are large. Stable, because listings mostly come
        // in some order of time, which that sort finds and uses.
        let time = |snapshot: &Snapshot| (snapshot.taken_at.is_none(), snapshot.taken_at);
        let mut order: Vec<_> = snapshots.iter().map(time).zip(0..snapshots.len()).collect();
        order.sort_by(|(time, index), (other_time, other)| {
            time.cmp(other_time).then_with(|| identity(*index).cmp(&identity(*other)))
        });
        let entry = |(_, index): ((bool, Option<Timestamp>), usize)| Entry {
            target: Target::of(&snapshots[index]),
            status: snapshots[index].status,
            verdict: series.verdict(index),
        };
        let entries: Vec<Entry> = order.into_iter().map(entry).collect();
        let own = series.own();
        let held = if approved { None } else { shrank(seen, own) };
        Plan { made_at: now, own, entries, held }
    }

    /// Returns what may be deleted, oldest first; nothing while the plan is held.
    pub fn condemned(&self) -> Vec<Target> {
        self.allowed().cloned().collect()
    }

    /// Returns the same, borrowed.
    pub fn allowed(&self) -> impl Iterator<Item = &Target> {
        let entries = if self.held.is_some() { &[] } else { self.entries.as_slice() };
        entries.iter().filter(|entry| entry.verdict.is_condemned()).map(|entry| &entry.target)
    }
}

impl Target {
    /// Returns what names this snapshot in a deletion.
    pub fn of(snapshot: &Snapshot) -> Target {
        Target { name: snapshot.name.as_str().into(), id: snapshot.id.as_str().into(), taken_at: snapshot.taken_at }
    }
}

/// G9. Exactly half is not more than half: with two snapshots, one may go.
fn shrank(seen: Option<u32>, own: u32) -> Option<Held> {
    let before = seen?;
    let lost_more_than_half = u64::from(own) * 2 < u64::from(before);
    lost_more_than_half.then_some(Held::ListingShrank { before, now: own })
}
