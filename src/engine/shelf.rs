//! How many snapshots a policy has and how much they hold, as its deletion runs see them. For people: nothing is
//! decided by it, and nobody is asked for it.

use std::collections::BTreeMap;

use super::Engine;
use super::tracked::{Tracked, Work, owner};
use crate::journal::change::{Change, Kept};
use crate::lifecycle::snapshot::Listing;
use crate::lifecycle::time::Moment;
use crate::lifecycle::workflow::{Phase, Request};

/// What a deletion run under way saw last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelf {
    count: u32,
    /// `None` where the driver does not know the size of each.
    bytes: Option<u64>,
    /// Of these, what the one holds that is being deleted.
    going_bytes: Option<u64>,
}

/// What a listing holds of a policy: how much, by the driver's identity. Two entries of one id are one.
pub(super) struct Listed(BTreeMap<Box<str>, Option<u64>>);

impl Engine {
    /// Returns what a listing holds of a policy, however it stands.
    pub(super) fn listed(&self, tracked: &Tracked, listing: &Listing) -> Listed {
        let owner = owner(tracked, &self.installation);
        let own = listing.snapshots.iter().filter(|snapshot| owner.whose_else(snapshot).is_none());
        Listed(own.map(|snapshot| (snapshot.id.as_str().into(), snapshot.size_bytes)).collect())
    }

    /// Notes what was listed, and which of it the run deletes next.
    pub(super) fn note_listed<W: Work>(&mut self, tracked: &Tracked, listed: &Listed, phase: &Phase<W>, now: Moment) {
        let Listed(sizes) = listed;
        let going_bytes = match phase {
            Phase::Active(run) => match run.request() {
                Request::Delete(target) => sizes.get(&target.id).copied().flatten(),
                _ => None,
            },
            Phase::Waiting | Phase::Watching(_) => None,
        };
        let shelf = Shelf {
            count: u32::try_from(sizes.len()).unwrap_or(u32::MAX),
            bytes: sizes.values().try_fold(0_u64, |sum, size| Some(sum.saturating_add((*size)?))),
            going_bytes,
        };
        self.show_shelf(tracked, shelf, now);
    }

    /// Notes that what was to go is gone.
    pub(super) fn note_gone(&mut self, tracked: &Tracked, now: Moment) {
        // After a restart in between nothing is known until the next listing.
        let Some(Shelf { count, bytes, going_bytes }) = self.shelves.get(&tracked.uid).copied() else { return };
        let bytes = bytes.zip(going_bytes).map(|(bytes, going)| bytes.saturating_sub(going));
        self.show_shelf(tracked, Shelf { count: count.saturating_sub(1), bytes, going_bytes: None }, now);
    }

    fn show_shelf(&mut self, tracked: &Tracked, shelf: Shelf, now: Moment) {
        let Shelf { count, bytes, .. } = shelf;
        self.changes.push(Change::Kept(Kept { policy_uid: tracked.uid.clone(), count, bytes, at: now.wall }));
        self.shelves.insert(tracked.uid.clone(), shelf);
    }
}
