//! What holds the daemon as a whole back: no room for what a run would still have to write, or a
//! journal that belongs to another machine.

use super::Engine;
use super::event::{Done, Refusal};
use crate::journal::JournalError;
use crate::journal::change::Audit;
use crate::lifecycle::time::Moment;
use crate::lifecycle::workflow::Kind;

/// How soon it is looked again whether there is room.
const ROOM_LOOK_MS: i64 = 60_000;

/// That there is no room.
#[derive(Debug)]
pub(super) struct NoRoom {
    /// In words.
    why: String,
    /// At what uptime to look again, in milliseconds.
    pub look_at: i64,
}

impl Engine {
    /// Looks whether there is room for another run, where one is due. Runs under way go on: the
    /// reserve is theirs. No write, no effect.
    pub(super) fn look_for_room(&mut self, now: Moment) {
        let is_wanted = match &self.no_room {
            Some(no_room) => now.uptime >= no_room.look_at,
            None => self.due.first().is_some_and(|(at, _, _)| *at <= now.wall),
        };
        if is_wanted {
            self.measure_room(now);
        }
    }

    pub(super) fn measure_room(&mut self, now: Moment) {
        let was_short = self.no_room.is_some();
        self.no_room = self.journal.room().err().map(|why| NoRoom { why, look_at: now.uptime + ROOM_LOOK_MS });
        match (&self.no_room, was_short) {
            (Some(no_room), false) => tracing::error!(cause = no_room.why, "no new run begins"),
            (None, true) => tracing::info!("there is room again: runs begin"),
            (Some(_), true) | (None, false) => {}
        }
        if was_short || self.no_room.is_some() {
            self.show_restrictions();
        }
    }

    /// Refuses a run that a person asks for while there is no room for it.
    pub(super) fn refuse_without_room(&mut self, now: Moment) -> Result<(), Refusal> {
        self.measure_room(now);
        match &self.no_room {
            Some(no_room) => Err(Refusal::Unavailable(format!("no new run begins: {}", no_room.why))),
            None => Ok(()),
        }
    }

    /// Returns why nothing of a kind may happen at present.
    pub(super) fn forbidden(&self, kind: Kind) -> Option<String> {
        (kind == Kind::Deletion && self.machine_changed).then(|| "the journal belongs to another machine".to_string())
    }

    /// Returns why nothing may be removed at present by whoever is no policy's run: maintenance, which counts
    /// days, and people who name a snapshot.
    pub(super) fn removal_forbidden(&self) -> Option<String> {
        self.forbidden(Kind::Deletion).or(self.clock.doubted())
    }

    /// Makes this machine the one the journal belongs to: a person has said so.
    pub(super) fn accept_machine(&mut self, who: &str, now: Moment) -> Result<Done, JournalError> {
        if self.machine_changed {
            self.journal.accept_machine()?;
            self.machine_changed = false;
            self.look_first();
            let audit = Audit::of(now.wall, who, "accept_machine", "journal", "journal taken over by this machine");
            let (before, after) = (Some("another machine's".into()), Some("this machine's".into()));
            self.audit(Audit { before, after, ..audit });
            self.show_restrictions();
            self.pump_all(now);
        }
        Ok(Done::Acknowledged)
    }

    pub(super) fn show_restrictions(&self) {
        let no_room = self.no_room.as_ref().map(|no_room| format!("no new run begins: {}", no_room.why));
        let machine = self.machine_changed.then(|| {
            "nothing is deleted: the journal was written on another machine, and if that one still runs, two daemons \
             share one identity; `snapkeep journal accept-machine` makes it this one's"
                .to_string()
        });
        let clock = self
            .clock
            .doubted()
            .map(|doubted| format!("nothing is deleted: {doubted}; if it is right, `snapkeep clock confirm` says so"));
        self.view.set_wants_witness(self.clock.trust.wants_witness());
        let begins_nothing = no_room.is_some();
        self.view.set_restrictions(no_room.into_iter().chain(machine).chain(clock).collect(), begins_nothing);
    }
}
