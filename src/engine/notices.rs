//! The outbox: each try is counted in the journal before it is made, and what no channel takes is kept.

use super::Engine;
use super::event::Job;
use crate::journal::JournalError;
use crate::journal::change::{Change, Delivered, Delivery};
use crate::lifecycle::retry;
use crate::lifecycle::time::Moment;
use crate::notify::Trouble;

/// After so many notices at once the rest wait for the next turn: a channel is slower than a turn.
const NOTICES_A_TURN: u32 = 64;
/// A notice that could not be delivered for so long is given up, kept and shown (N4).
const NOTICE_GIVE_UP_MS: i64 = 24 * 3_600_000;
/// However old a notice is, it is tried so often before it is given up.
const NOTICE_TRIES_MIN: u32 = 3;
/// A sender that does not report within this is taken as dead; the notice is due again.
const NOTICE_TRY_MS: i64 = 120_000;

impl Engine {
    /// Hands out notices that are due, each counted before it is tried (N2).
    pub(super) fn notices(&mut self, now: Moment) -> Result<(), JournalError> {
        if self.stopping || self.notice_due.is_none_or(|due| due > now.wall) {
            return Ok(());
        }
        let (pending, next_due) = self.journal.notices_due(now.wall, NOTICES_A_TURN)?;
        let again_at = now.wall.plus(NOTICE_TRY_MS);
        self.notice_due =
            if pending.is_empty() { next_due } else { Some(next_due.map_or(again_at, |next| next.min(again_at))) };
        for waiting in pending {
            let key = waiting.notice.key.clone();
            let old = now.wall.since(waiting.notice.at) > NOTICE_GIVE_UP_MS;
            // A notice that grew old while nobody was there has not been refused yet.
            let result = if old && waiting.attempts >= NOTICE_TRIES_MIN {
                let mut trouble = format!("given up after {} tries", waiting.attempts);
                if let Some(last) = &waiting.trouble {
                    trouble.push_str(&format!(": {last}"));
                }
                tracing::error!(%key, trouble, "notice could not be delivered");
                Delivered::Undeliverable { trouble }
            } else {
                let channel = self.roster.channels.get(&*waiting.notice.channel).cloned();
                self.errands.begin.push(Job::Deliver { notice: waiting.notice, channel });
                self.tries.insert(key.clone(), waiting.attempts.saturating_add(1));
                Delivered::Trying { again_at }
            };
            self.changes.push(Change::Delivery(Delivery { key, at: now.wall, result }));
        }
        Ok(())
    }

    pub(super) fn delivered(&mut self, key: Box<str>, result: Result<String, Trouble>, now: Moment) {
        let tries = self.tries.remove(&key).unwrap_or(1);
        let result = match result {
            Ok(_) => Delivered::Done,
            Err(Trouble { why: trouble, .. }) => {
                let at = now.wall.plus(retry::delay_ms(&key, tries, None));
                self.notice_due = Some(self.notice_due.map_or(at, |due| due.min(at)));
                Delivered::Again { at, trouble }
            }
        };
        self.changes.push(Change::Delivery(Delivery { key, at: now.wall, result }));
    }
}
