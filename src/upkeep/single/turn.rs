//! Whose turn it is to change or delete single snapshots: one after another in each repository, and never beside
//! more of the engine's creations and deletions than the repository bears.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::drivers::{Progress, ProgressSink};
use crate::engine::event::{Done, Event, What};
use crate::lifecycle::workflow::Fault;
use crate::upkeep::{Upkeep, mismatch};

/// The turns of all repositories.
#[derive(Debug, Default)]
pub(in crate::upkeep) struct Turns {
    /// Only of those where somebody is, or waits.
    of_repositories: Mutex<BTreeMap<String, Arc<Turn<()>>>>,
    guests: AtomicU64,
}

/// A place in the engine's queue for a repository; given back when this goes.
#[derive(Debug)]
pub(super) struct Guest {
    number: u64,
    inbox: SyncSender<Event>,
    runtime: Handle,
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Err(TrySendError::Full(event)) = self.inbox.try_send(Event::Left { guest: self.number }) {
            let inbox = self.inbox.clone();
            self.runtime.spawn_blocking(move || inbox.send(event).is_ok());
        }
    }
}

impl Upkeep {
    /// Waits until nobody else changes single snapshots of a repository.
    pub(super) async fn turn_at(&self, repository: &str, progress: &ProgressSink) -> OwnedMutexGuard<()> {
        let turn = self.turn_of(repository);
        if let Ok(turn) = turn.clone().try_lock_owned() {
            return turn;
        }
        progress.tell(Progress { doing: "waiting: another change goes first".to_owned(), ..Progress::default() });
        turn.lock_owned().await
    }

    pub(in crate::upkeep) fn turn_of(&self, repository: &str) -> Arc<Turn<()>> {
        // Every change is one call: what a panic left behind is whole.
        let mut turns = self.0.turns.of_repositories.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(repository.to_owned()).or_default().clone()
    }

    /// Takes a place at a repository as a creation or a deletion would: none begins there that it does not
    /// bear beside. Busy where it bears no more at present.
    pub(super) async fn enter(&self, who: &str, repository: &str) -> Result<Guest, Fault> {
        let number = self.0.turns.guests.fetch_add(1, Ordering::Relaxed);
        // There before it is asked for: an answer that comes too late is given back like any other.
        let guest = Guest { number, inbox: self.0.inbox.clone(), runtime: self.0.runtime.clone() };
        match self.ask(who, What::Enter { repository: repository.to_owned(), guest: number }).await? {
            Done::Acknowledged => Ok(guest),
            _ => Err(mismatch()),
        }
    }
}
