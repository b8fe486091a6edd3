//! A driver that keeps its snapshots in memory: for tests and benchmarks, not in the registry.
//!
//! It keeps the contract to the letter and takes no time, so what is measured with it is us.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Listing, Snapshot, SnapshotName, Status};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::Fault;

use super::{
    Abilities, Call, Created, Driver, Found, LabelOrder, MaintainOrder, Maintained, Order, Reply, RestoreOrder,
    Restored, Verified, VerifyOrder,
};

/// A repository in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Null {
    snapshots: Arc<Mutex<BTreeMap<String, Snapshot>>>,
}

impl Null {
    /// Returns an empty repository.
    pub fn new() -> Null {
        Null::default()
    }

    /// Returns what is kept, by name. Tests may change it.
    pub fn snapshots(&self) -> MutexGuard<'_, BTreeMap<String, Snapshot>> {
        // A panic elsewhere leaves the map whole: every change is one call.
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for Null {
    fn abilities(&self) -> Abilities {
        Abilities {
            cancel: false,
            restore: true,
            restore_beside: false,
            verify: true,
            maintain: true,
            label: true,
            effects_max: usize::MAX,
        }
    }

    fn create<'a>(&'a self, order: &'a Order, _call: &'a Call) -> Reply<'a, Created> {
        Box::pin(async move {
            let name = order.name.to_string();
            let mut snapshots = self.snapshots();
            let snapshot = snapshots.entry(name.clone()).or_insert_with(|| Snapshot {
                id: format!("null:{name}"),
                name,
                // It has no clock; the trigger's time is on the labels, and is good enough for data that is none.
                taken_at: order
                    .labels
                    .get(crate::lifecycle::snapshot::label::TRIGGER)
                    .and_then(|millis| millis.parse().ok())
                    .map(Timestamp::from_millis),
                status: Status::Good,
                labels: order.labels.clone(),
                in_use: None,
                size_bytes: Some(0),
            });
            Ok(Created::Ended(Found { snapshot: snapshot.clone(), message: None }))
        })
    }

    fn describe<'a>(&'a self, name: &'a SnapshotName, _call: &'a Call) -> Reply<'a, Option<Found>> {
        Box::pin(async move {
            let snapshot = self.snapshots().get(name.as_str()).cloned();
            Ok(snapshot.map(|snapshot| Found { snapshot, message: None }))
        })
    }

    fn list<'a>(&'a self, _call: &'a Call) -> Reply<'a, Listing> {
        Box::pin(async move { Ok(Listing { snapshots: self.snapshots().values().cloned().collect() }) })
    }

    fn delete<'a>(&'a self, target: &'a Target, _call: &'a Call) -> Reply<'a, ()> {
        Box::pin(async move {
            self.snapshots().retain(|_, snapshot| *snapshot.id != *target.id);
            Ok(())
        })
    }

    fn restore<'a>(&'a self, order: &'a RestoreOrder, _call: &'a Call) -> Reply<'a, Restored> {
        Box::pin(async move {
            let is_empty = |mut entries: std::fs::ReadDir| entries.next().is_none();
            if !std::fs::read_dir(&order.to).map_or(true, is_empty) {
                Err(Fault::permanent(format!("{} is not empty", order.to.display())))
            } else if self.snapshots().values().any(|snapshot| *snapshot.id == *order.target.id) {
                Ok(Restored { files: 0, bytes: 0 })
            } else {
                Err(Fault::permanent(format!("snapshot {} is gone", order.target.name)))
            }
        })
    }

    fn verify<'a>(&'a self, order: &'a VerifyOrder, _call: &'a Call) -> Reply<'a, Verified> {
        Box::pin(async move {
            if self.snapshots().values().any(|snapshot| *snapshot.id == *order.target.id) {
                Ok(Verified { files: 0, bytes_read: 0 })
            } else {
                Err(Fault::permanent(format!("snapshot {} is gone", order.target.name)))
            }
        })
    }

    fn label<'a>(&'a self, order: &'a LabelOrder, _call: &'a Call) -> Reply<'a, Snapshot> {
        Box::pin(async move {
            let LabelOrder { target, set, remove } = order;
            let mut snapshots = self.snapshots();
            let found = snapshots.values_mut().find(|snapshot| *snapshot.id == *target.id);
            let found = found.ok_or_else(|| Fault::permanent(format!("snapshot {} is gone", target.name)))?;
            found.labels.extend(set.clone());
            found.labels.retain(|key, _| !remove.contains(key));
            Ok(found.clone())
        })
    }

    fn maintain<'a>(&'a self, _order: &'a MaintainOrder, _call: &'a Call) -> Reply<'a, Maintained> {
        Box::pin(async move { Ok(Maintained::default()) })
    }
}
