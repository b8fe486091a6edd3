//! Where snapshots are made and kept: one file (or folder) a kind of repository.
//!
//! A driver gets a name, labels, its own checked part of `snapshot_config` and a deadline; never the
//! policy, the clock or the journal. What it cannot do it says; it does not fake.
//!
//! The contract, as [`conformance`] tries it on any driver and `tests/it/driver_contract.rs` on ours:
//!
//! - `create` is create-or-accept by name: asked twice, it makes one.
//! - `describe` tells what became of one name, also of one it has never heard of.
//! - `list` is complete, or a fault; it never leaves out what it could not read.
//! - `delete` names a snapshot by the driver's own identity; one that is gone counts as deleted.
//! - `label` leaves one snapshot of that name, killed at any moment at least one, and all but its labels alone.
//! - `verify` finds what is listed, and `maintain` takes nothing away that is.
//! - Every call ends by its deadline; a call that is dropped stops what it began.

pub mod conformance;
pub mod exec;
pub mod files;
pub mod keys;
pub mod null;
pub mod process;
pub mod protocol;
pub mod registry;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Listing, Snapshot, SnapshotName};
use crate::lifecycle::workflow::Fault;

use keys::{KeyOrder, KeyReport, Secret};

/// What a call comes to.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// A repository that was opened with its settings. Opening touches nothing outside; only calls do.
pub trait Driver: Send + Sync + fmt::Debug {
    /// Returns what this driver can do.
    fn abilities(&self) -> Abilities;

    /// Makes the snapshot, or accepts that it is there or being made.
    fn create<'a>(&'a self, order: &'a Order, call: &'a Call) -> Reply<'a, Created>;

    /// Tells what became of a name; `None` when there is no such snapshot.
    fn describe<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, Option<Found>>;

    /// Lists every snapshot of the repository, foreign ones included, or fails.
    fn list<'a>(&'a self, call: &'a Call) -> Reply<'a, Listing>;

    /// Deletes one snapshot by the driver's own identity. Gone counts as deleted.
    fn delete<'a>(&'a self, target: &'a Target, call: &'a Call) -> Reply<'a, ()>;

    /// Asks that the making of a snapshot be stopped. Only where [`Abilities::cancel`] says so.
    fn cancel<'a>(&'a self, name: &'a SnapshotName, _call: &'a Call) -> Reply<'a, ()> {
        let fault = Fault::permanent(format!("this driver cannot cancel {name}"));
        Box::pin(async move { Err(fault) })
    }

    /// Gives data back. Only where [`Abilities::restore`] says so.
    fn restore<'a>(&'a self, order: &'a RestoreOrder, _call: &'a Call) -> Reply<'a, Restored> {
        let fault = Fault::permanent(format!("this driver cannot restore {}", order.target.name));
        Box::pin(async move { Err(fault) })
    }

    /// Looks whether a snapshot's data is there, and reads some of it. Damage is a fault. Only where
    /// [`Abilities::verify`] says so.
    fn verify<'a>(&'a self, order: &'a VerifyOrder, _call: &'a Call) -> Reply<'a, Verified> {
        let fault = Fault::permanent(format!("this driver cannot verify {}", order.target.name));
        Box::pin(async move { Err(fault) })
    }

    /// Gives the space back that no snapshot needs, and looks whether the repository holds together.
    /// Damage is a fault. Never beside an effect on the same repository: whoever comes second is told
    /// that it is busy. Only where [`Abilities::maintain`] says so.
    fn maintain<'a>(&'a self, _order: &'a MaintainOrder, _call: &'a Call) -> Reply<'a, Maintained> {
        Box::pin(async move { Err(Fault::permanent("this driver has no maintenance")) })
    }

    /// Sets and removes labels of one snapshot, and returns it as it stands then: its identity may be
    /// another, its name never is. Only where [`Abilities::label`] says so.
    fn label<'a>(&'a self, order: &'a LabelOrder, _call: &'a Call) -> Reply<'a, Snapshot> {
        let fault = Fault::permanent(format!("this driver cannot label {}", order.target.name));
        Box::pin(async move { Err(fault) })
    }

    /// Tells which keys open the repository, and changes them. Only a driver that encrypts by itself has
    /// any. A key never passes through here.
    fn keys<'a>(&'a self, _order: &'a KeyOrder, _call: &'a Call) -> Reply<'a, KeyReport> {
        Box::pin(async move { Err(Fault::permanent("this driver keeps no keys")) })
    }

    /// Reads the key in use, to be given to a person and to nobody else. It reads one file, here and now.
    fn secret(&self) -> Result<Secret, Fault> {
        Err(Fault::permanent("this driver keeps no keys"))
    }

    /// Returns the file that the key in use is read from, for a driver that keeps keys.
    fn key_file(&self) -> Option<PathBuf> {
        None
    }

    /// Returns what is no mistake and may cost dearly one day, in a sentence each, of the repository that
    /// people call `name`. It may look at files, here and now.
    fn notes(&self, _name: &str) -> Vec<String> {
        Vec::new()
    }
}

/// What a driver can do beside the four verbs that all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Stop a snapshot that goes on without us.
    pub cancel: bool,
    /// Give data back.
    pub restore: bool,
    /// Give data back into a directory that holds something already, and leave that alone.
    pub restore_beside: bool,
    /// Look whether a snapshot's data is there.
    pub verify: bool,
    /// Give space back, and look whether the repository holds together.
    pub maintain: bool,
    /// Change the labels of a snapshot that is there.
    pub label: bool,
    /// How many creations and deletions one repository takes at once.
    pub effects_max: usize,
}

/// An order for a snapshot.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its name, fixed before the driver hears it.
    pub name: SnapshotName,
    /// The stamp, and what the policy adds. Stored on the snapshot and told by `list`.
    pub labels: BTreeMap<String, String>,
    /// The driver's own part of `snapshot_config`, as its check accepted it.
    pub config: Arc<serde_json::Value>,
}

/// What `create` came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Created {
    /// It goes on without us; `describe` tells how far it is.
    Accepted,
    /// It is at rest.
    Ended(Found),
}

/// A snapshot, and what the driver has to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What is worth telling: bytes added, what could not be read, why it failed.
    pub message: Option<String>,
}

/// An order to give data back.
#[derive(Clone, Debug)]
pub struct RestoreOrder {
    /// Which snapshot.
    pub target: Target,
    /// The directory to put it into.
    pub to: PathBuf,
    /// Only these paths of the snapshot; empty means all.
    pub include: Vec<String>,
    /// Whether what is there may be written over.
    pub overwrite: bool,
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// An order to look at a snapshot.
#[derive(Clone, Debug)]
pub struct VerifyOrder {
    /// Which snapshot.
    pub target: Target,
    /// How much of its data to read, in percent: 0 looks only whether it is there.
    pub read_data_percent: u8,
}

/// What a sound snapshot comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its files.
    pub files: u64,
    /// Bytes that were read and found as they were written.
    pub bytes_read: u64,
}

/// An order to change the labels of a snapshot.
#[derive(Clone, Debug)]
pub struct LabelOrder {
    /// Which snapshot.
    pub target: Target,
    /// To be there, with these values.
    pub set: BTreeMap<String, String>,
    /// Not to be there.
    pub remove: BTreeSet<String>,
}

/// An order to maintain a repository.
#[derive(Clone, Copy, Debug)]
pub struct MaintainOrder {
    /// What nothing needs is kept at least this long before it is removed: longer than anything takes
    /// that may still come to need it.
    pub keep: Duration,
}

/// What a maintenance came to. What it removes for good is found to be unneeded by one and removed by a
/// later one, after a delay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Found to be needed by nothing, and to be removed after the delay.
    pub marked: Amount,
    /// Removed.
    pub removed: Amount,
    /// Marked earlier, and not for long enough.
    pub kept: Amount,
    /// Marked earlier, and needed after all.
    pub repaired: Amount,
    /// What is worth telling beside it.
    pub message: Option<String>,
}

/// So many pieces of a repository, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

impl fmt::Display for Maintained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Maintained { marked, removed, kept, repaired, message } = self;
        write!(f, "removed {removed}, marked {marked}, keeps {kept} that are marked already")?;
        if repaired.count > 0 {
            write!(f, ", took {repaired} back that are needed after all")?;
        }
        if let Some(message) = message {
            write!(f, "; {message}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packs ({} bytes)", self.count, self.bytes)
    }
}

/// What every call carries.
#[derive(Clone, Debug)]
pub struct Call {
    /// How long it may take.
    pub time_max: Duration,
    /// Where to tell how far it is.
    pub progress: ProgressSink,
}

/// Where a driver tells how far it is. Cloned freely; telling never waits.
#[derive(Clone, Default)]
pub struct ProgressSink(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl ProgressSink {
    /// Returns a sink that calls `tell`.
    pub fn new(tell: impl Fn(Progress) + Send + Sync + 'static) -> ProgressSink {
        ProgressSink(Some(Arc::new(tell)))
    }

    /// Tells how far it is.
    pub fn tell(&self, progress: Progress) {
        if let Some(tell) = &self.0 {
            tell(progress);
        }
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressSink")
    }
}

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// What is being done, in a word or two.
    pub doing: String,
    /// How much is done.
    pub done: u64,
    /// Of how much, where known.
    pub total: Option<u64>,
    /// Of what: `bytes`, `files`, …
    pub unit: String,
}
