//! What the daemon has promised itself: every workflow's state, every settled run, every notice
//! still to be delivered.
//!
//! A commit writes all of these or none. The journal never says which snapshots exist; only a
//! driver knows that.
//!
//! ```text
//! <state>/lock                 who writes here, and that a journal was made here
//! <state>/journal.db           SQLite, with -wal and -shm beside it
//! <state>/reserve              4 MiB to fall back on when the disk is full
//! <state>/backups/             the last seven copies, each checked; a copy before each migration
//! ```
//!
//! The disk is asked for durability at every commit (WAL, `synchronous=FULL`). After any error the
//! caller ends the process: a commit that failed may have happened, and only a fresh look tells.
//!
//! A journal that is damaged, newer than the program or gone is never answered with an empty one,
//! which would take every trigger for missed and every snapshot for somebody else's.

mod age_locks;
mod backup;
mod chain;
pub mod change;
mod check;
mod edits;
mod error;
mod holds;
mod load;
mod lock;
mod migrate;
mod notices;
mod open;
mod operations;
mod plans;
mod reader;
pub mod record;
mod rows;
mod sqlite;
mod tokens;
mod totals;
mod trim;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use change::{Change, DocumentKind, Loaded, LoadedPolicy, PlanRecord, Recalled, Returning, RunRecord};
use record::{Document, NoticeRecord, Waiting};

use crate::lifecycle::notice::Event;
use crate::lifecycle::policy::Revision;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Kind, Outcome};

pub use backup::{backup, backups, restore};
pub use check::{Depth, check};
pub use error::{ErrorKind, JournalError, OpenError};
pub use lock::Lock;
pub use reader::{AuditQuery, HistoryQuery, OperationQuery, Reader};
pub use totals::{KeptTotals, LatestSettled, Totals, WorkflowTotals};

/// After a commit of so many changes a quiet moment is to be used for [`Journal::checkpoint`].
pub const CHANGES_MANY: usize = 256;

/// The journal's file in a state directory.
pub const FILE: &str = "journal.db";

/// Returns the schema that this program writes.
pub fn schema() -> u32 {
    migrate::known(migrate::MIGRATIONS)
}

/// The journal, open for writing. There is one in a state directory, held by a lock.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    epoch: u64,
    machine: String,
    machine_changed: bool,
    place: Option<Place>,
}

/// Where a journal that is not in memory lives.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    /// Held as long as the connection, and given back after it.
    _lock: Lock,
}

impl Journal {
    /// Opens the journal in a state directory, or makes it. Takes the lock, checks, migrates, raises
    /// the epoch. Afterwards nobody else can write.
    pub fn open(state_directory: &Path, _now: Moment) -> Result<Journal, OpenError> {
        open::directory(state_directory)?;
        let mut lock = Lock::take(state_directory)?;
        let mut connection = open::writer(state_directory, &lock, migrate::MIGRATIONS)?;
        let machine = open::machine();
        open::reserve(state_directory);
        let installation = open::new_installation()?;
        let epoch = match open::raise_epoch(&mut connection, &machine, &installation) {
            // The process before us ended because the disk is full: this is what the reserve is for.
            Err(error) if error.kind() == ErrorKind::Full && open::release_reserve(state_directory)? => {
                open::raise_epoch(&mut connection, &machine, &installation)?
            }
            epoch => epoch?,
        };
        open::sync_directory(state_directory)?;
        lock.remember_journal()?;
        let place = Place { directory: state_directory.to_path_buf(), _lock: lock };
        let machine_changed = open::machine_changed(&connection, &machine)?;
        Ok(Journal { connection, epoch, machine, machine_changed, place: Some(place) })
    }

    /// Returns a journal in memory, for tests and simulation. It depends on nothing of this machine,
    /// so that a simulation can be repeated.
    pub fn in_memory(_now: Moment) -> Result<Journal, OpenError> {
        let mut connection = open::memory()?;
        let epoch = open::raise_epoch(&mut connection, "", open::INSTALLATION_IN_MEMORY)?;
        Ok(Journal { connection, epoch, machine: String::new(), machine_changed: false, place: None })
    }

    /// Returns this installation.
    pub fn installation(&mut self) -> Result<Box<str>, JournalError> {
        load::installation(&self.connection)
    }

    /// Returns everything that is promised and not yet kept.
    pub fn load(&mut self) -> Result<Loaded, JournalError> {
        self.end_look()?;
        load::whole(&self.connection, self.machine_changed)
    }

    /// Returns the same without the policies, which are shown one by one, each with all the rest: of
    /// thousands not all need be in memory at once.
    pub fn load_each(&mut self, visit: &mut dyn FnMut(&Loaded, LoadedPolicy)) -> Result<Loaded, JournalError> {
        self.end_look()?;
        let loaded = load::load(&self.connection, self.machine_changed, visit)?;
        // Its pages are not asked for again soon; whoever takes up what was loaded needs the memory.
        self.connection.release_memory()?;
        Ok(loaded)
    }

    /// Makes all the changes true, durably, or none.
    ///
    /// Fails with [`ErrorKind::Conflict`] when a version or the epoch is not the one this process
    /// left, and with [`ErrorKind::Taken`] when a trigger has run before.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        if changes.len() >= CHANGES_MANY {
            open::room_large(&self.connection)?;
        }
        self.whole(|connection| sqlite::apply(connection, changes))
    }

    /// Returns what is due for one channel at `now`, in the order in which it happened; `limit` at most.
    pub fn notices_due(
        &mut self,
        channel: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<NoticeRecord>, JournalError> {
        notices::due(&self.connection, channel, now, limit)
    }

    /// Returns one notice.
    pub fn notice(&mut self, number: u64) -> Result<Option<NoticeRecord>, JournalError> {
        notices::numbered(&self.connection, number)
    }

    /// Returns when a channel was told last of the same, or was last to be, at `now` at the latest; what gathers does
    /// not count.
    pub fn told_at(
        &mut self,
        channel: &str,
        event: Event,
        policy_uid: Option<&str>,
        subject: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, JournalError> {
        notices::told_at(&self.connection, channel, event, policy_uid, subject, now)
    }

    /// Returns how the latest settled run of a workflow ended, up to `now`, that either did what it was for, or did not.
    pub fn last_outcome(
        &mut self,
        policy_uid: &str,
        kind: Kind,
        now: Timestamp,
    ) -> Result<Option<Outcome>, JournalError> {
        notices::last_outcome(&self.connection, policy_uid, kind, now)
    }

    /// Returns one plan.
    pub fn plan(&mut self, number: u64) -> Result<Option<PlanRecord>, JournalError> {
        plans::numbered(&self.connection, number)
    }

    /// Returns what is known of a policy that was retired, by its uid.
    pub fn returning(&mut self, policy_uid: &str) -> Result<Option<Returning>, JournalError> {
        load::returning(&self.connection, policy_uid)
    }

    /// Returns the terms of a version, where they are still there.
    pub fn terms_of(&mut self, revision: &Revision) -> Result<Option<Box<str>>, JournalError> {
        load::terms_of(&self.connection, revision)
    }

    /// Returns when snapshots were deleted after `since`, and whose they were, in order.
    pub fn deletions_since(&mut self, since: Timestamp) -> Result<Vec<(Arc<str>, Timestamp)>, JournalError> {
        load::deletions_since(&self.connection, since)
    }

    /// Returns since when each snapshot of a policy has been condemned, by the driver's identity (G7).
    pub fn condemned_since(&mut self, policy_uid: &str) -> Result<BTreeMap<Box<str>, Timestamp>, JournalError> {
        plans::condemned_since(&self.connection, policy_uid)
    }

    /// Returns the run that was begun for a client's key, if one was.
    pub fn run_of_request(&mut self, key: &str) -> Result<Option<RunRecord>, JournalError> {
        load::run_of_request(&self.connection, key)
    }

    /// Returns what is known of a caller's key.
    pub fn recall(&mut self, who: &str, request: &str) -> Result<Option<Recalled>, JournalError> {
        edits::recall(&self.connection, who, request)
    }

    /// Shows the last good text of every file, by kind and name, one at a time: together they are
    /// many megabytes. After an error some were shown and the others were not.
    pub fn each_document(&mut self, visit: &mut dyn FnMut(Document)) -> Result<(), JournalError> {
        load::each_document(&self.connection, visit)
    }

    /// Returns the last good text of one file, if it ever had one.
    pub fn document(&mut self, kind: DocumentKind, name: &str) -> Result<Option<Document>, JournalError> {
        load::document(&self.connection, kind, name)
    }

    /// Whether a run of this trigger is in the journal. All that is asked before the next commit is one
    /// look: to take the lock costs more than to look.
    pub fn is_consumed(&mut self, policy_uid: &str, kind: Kind, at: Timestamp) -> Result<bool, JournalError> {
        if self.connection.is_autocommit() {
            self.connection.prepare_cached("begin")?.execute([])?;
        }
        load::is_consumed(&self.connection, policy_uid, kind, at)
    }

    /// Deletes history that is older than `before`, at most `limit` rows, and returns how many went.
    /// Runs under way, the latest run and the latest good one of each policy stay; so do the latest
    /// plan and notices that wait. A retired policy goes when nothing of it is left.
    pub fn trim(&mut self, before: Timestamp, limit: u32) -> Result<u32, JournalError> {
        self.whole(|connection| trim::trim(connection, before, limit))
    }

    /// Makes this machine the one the journal belongs to. A person has said so; every repository is looked at before
    /// anything is deleted (G15).
    pub fn accept_machine(&mut self) -> Result<(), JournalError> {
        self.whole(|connection| {
            connection.execute("update workflows set unlooked = 1 where kind = 'deletion'", [])?;
            Ok(connection.execute("update instance set machine = ?1", [&self.machine])?)
        })?;
        self.machine_changed = false;
        Ok(())
    }

    /// Moves what was committed from the log into the file, so that the log begins anew. For quiet
    /// times: nothing is more durable afterwards, but the next commits need not do it.
    pub fn checkpoint(&mut self) -> Result<(), JournalError> {
        // What a reader is looking at stays; the next quiet time will do. The log keeps its length, for
        // writing into a file is cheaper than growing it.
        self.end_look()?;
        self.connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()))?;
        open::room_usual(&self.connection)
    }

    /// Gives the reserve back to the disk, so that runs under way can still settle, and tells
    /// whether there was one. Nothing new should begin after that. The next opening makes it again.
    pub fn release_reserve(&mut self) -> Result<bool, JournalError> {
        self.place.as_ref().map_or(Ok(false), |place| open::release_reserve(&place.directory))
    }

    /// Whether the reserve is there. A journal in memory needs none.
    pub fn has_reserve(&self) -> bool {
        self.place.as_ref().is_none_or(|place| open::has_reserve(&place.directory))
    }

    /// Whether there is room for what another run would write; a reserve that was given back is made
    /// again where there is. Otherwise the words for it, which complete "no new run begins: ".
    pub fn room(&self) -> Result<(), String> {
        self.place.as_ref().map_or(Ok(()), |place| open::room(&place.directory))
    }

    /// Returns what every channel is owed, by name; those that were told everything are not among them.
    pub fn notices_waiting(&mut self) -> Result<BTreeMap<Box<str>, Waiting>, JournalError> {
        notices::waiting(&self.connection)
    }

    /// Does something in a transaction of this epoch, wholly or not at all.
    fn whole<T>(&self, work: impl FnOnce(&Connection) -> Result<T, JournalError>) -> Result<T, JournalError> {
        self.end_look()?;
        let transaction = Transaction::begin(&self.connection)?;
        sqlite::guard(&self.connection, self.epoch)?;
        let done = work(&self.connection)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Ends what [`Journal::is_consumed`] began; a commit does so too.
    pub fn end_look(&self) -> Result<(), JournalError> {
        if !self.connection.is_autocommit() {
            self.connection.prepare_cached("commit")?.execute([])?;
        }
        Ok(())
    }
}

/// A transaction that takes itself back unless it was committed. Its statements are prepared once,
/// which a small commit notices.
struct Transaction<'c> {
    connection: &'c Connection,
}

impl Transaction<'_> {
    fn begin(connection: &Connection) -> Result<Transaction<'_>, JournalError> {
        connection.prepare_cached("begin immediate")?.execute([])?;
        Ok(Transaction { connection })
    }

    fn commit(self) -> Result<(), JournalError> {
        self.connection.prepare_cached("commit")?.execute([])?;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // Some errors have taken it back before.
        if !self.connection.is_autocommit() {
            // The caller has an error to tell that came first, and ends the process.
            let _ = self.connection.execute_batch("rollback");
        }
    }
}

#[cfg(test)]
mod tests;
