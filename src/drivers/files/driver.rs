//! The driver as the rest of the daemon has it: every verb is the worker's, but what concerns the key is
//! known here too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Listing, Snapshot, SnapshotName};
use crate::lifecycle::workflow::Fault;

use super::super::keys::{KeyOrder, KeyReport, Secret};
use super::super::process::ProcessDriver;
use super::super::{
    Abilities, Call, Created, Driver, Found, LabelOrder, MaintainOrder, Maintained, Order, Reply, RestoreOrder,
    Restored, Verified, VerifyOrder,
};
use super::repository::Finding;
use super::{Place, key, repository};

/// A repository and the worker for it.
#[derive(Debug)]
pub struct Files {
    pub place: Place,
    pub process: ProcessDriver,
}

impl Driver for Files {
    fn abilities(&self) -> Abilities {
        self.process.abilities()
    }

    fn create<'a>(&'a self, order: &'a Order, call: &'a Call) -> Reply<'a, Created> {
        self.process.create(order, call)
    }

    fn describe<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, Option<Found>> {
        self.process.describe(name, call)
    }

    fn list<'a>(&'a self, call: &'a Call) -> Reply<'a, Listing> {
        self.process.list(call)
    }

    fn delete<'a>(&'a self, target: &'a Target, call: &'a Call) -> Reply<'a, ()> {
        self.process.delete(target, call)
    }

    fn cancel<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, ()> {
        self.process.cancel(name, call)
    }

    fn restore<'a>(&'a self, order: &'a RestoreOrder, call: &'a Call) -> Reply<'a, Restored> {
        self.process.restore(order, call)
    }

    fn verify<'a>(&'a self, order: &'a VerifyOrder, call: &'a Call) -> Reply<'a, Verified> {
        self.process.verify(order, call)
    }

    fn maintain<'a>(&'a self, order: &'a MaintainOrder, call: &'a Call) -> Reply<'a, Maintained> {
        self.process.maintain(order, call)
    }

    fn label<'a>(&'a self, order: &'a LabelOrder, call: &'a Call) -> Reply<'a, Snapshot> {
        self.process.label(order, call)
    }

    fn keys<'a>(&'a self, order: &'a KeyOrder, call: &'a Call) -> Reply<'a, KeyReport> {
        Box::pin(self.process.ask_keys(order, call))
    }

    fn secret(&self) -> Result<Secret, Fault> {
        let path = match repository::find(&self.place)? {
            Finding::Unnamed => key::path_new(&self.place),
            Finding::Ready | Finding::Nothing | Finding::Begun => key::path(&self.place)?,
        };
        key::read(&path)
    }

    fn key_file(&self) -> Option<PathBuf> {
        key::path(&self.place).ok()
    }

    fn notes(&self, name: &str) -> Vec<String> {
        // Whoever has been given the key need not be told to take it.
        if key::is_saved(&self.place) {
            return Vec::new();
        }
        let sheet = format!("keep it elsewhere too: `snapkeep key sheet {name}` prints it");
        let here = self.place.path.display();
        match (&self.place.key_credential, key::path(&self.place)) {
            (Some(credential), _) => vec![format!(
                "the key of repository {here} is credential {credential} of this machine; an encrypted one opens \
                 nowhere else. Without the key nobody can read the snapshots: {sheet}"
            )],
            (None, Ok(path)) if is_on_one_disk(&self.place.path, &path) => vec![format!(
                "the key {} lies on the same file system as repository {here}: what destroys one destroys both, and \
                 without the key nobody can read the snapshots. When there are snapshots, {sheet}",
                path.display()
            )],
            (None, Ok(_) | Err(_)) => Vec::new(),
        }
    }
}

/// Whether two paths are, or would be, on one file system.
fn is_on_one_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| path.ancestors().find_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.dev());
    device(one) == device(other)
}
