//! What the clock is worth (G1): looked at in every turn, written down now and then, confirmed by people.

use super::Engine;
use super::event::Done;
use crate::journal::change::Change;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::trust::{NOTE_EVERY_MS, Trust};

/// What the engine knows of the clock.
#[derive(Debug)]
pub(super) struct Clock {
    pub trust: Trust,
    pub synchronised: bool,
    /// When it was last written down.
    noted: Moment,
    /// The latest wall time that was written down anywhere.
    written: Timestamp,
}

impl Clock {
    /// `trust` is what the journal has, `written` the latest instant in it.
    pub(super) fn new(trust: Option<Trust>, now: Moment, synchronised: bool, written: Timestamp) -> Clock {
        let trust = trust.unwrap_or_else(|| {
            // A journal that knows nothing of clocks knows how late it was at least.
            let known = Moment { wall: written, boot: !now.boot, uptime: 0 };
            if written > Timestamp::EPOCH {
                Trust::first(known, false).look(now, synchronised)
            } else {
                Trust::first(now, synchronised)
            }
        });
        Clock { trust, synchronised, noted: Moment { uptime: now.uptime - NOTE_EVERY_MS, ..now }, written }
    }

    /// At what uptime it is to be written down again, at the next turn: the engine takes one a minute.
    fn due_at(&self) -> i64 {
        self.noted.uptime + NOTE_EVERY_MS
    }
}

impl Engine {
    /// Takes what the kernel says of its clock.
    pub fn hear_of_clock(&mut self, synchronised: bool) {
        self.clock.synchronised = synchronised;
    }

    /// Looks at the clock, and writes down now and then that it is believed, or that it is not any more.
    pub(super) fn watch_clock(&mut self, now: Moment) {
        let before = self.clock.trust;
        let trust = before.look(now, self.clock.synchronised);
        self.clock.trust = trust;
        self.clock.written = self.clock.written.max(now.wall);
        match (before.doubt, trust.doubt) {
            (None, Some(doubt)) => tracing::error!(why = %doubt.cause, "the clock is doubted: nothing is deleted"),
            (Some(_), None) => tracing::info!("the clock is believed again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let turned = before.doubt.is_some() != trust.doubt.is_some() || before.anchor_ms != trust.anchor_ms;
        if turned || now.uptime >= self.clock.due_at() || now.boot != self.clock.noted.boot {
            self.note_clock(now);
        }
        if before.doubt.is_some() && trust.doubt.is_none() {
            self.lock_ages(now);
        }
        // A doubt may grow.
        if turned || before.doubt != trust.doubt {
            self.show_restrictions();
        }
    }

    fn note_clock(&mut self, now: Moment) {
        self.clock.noted = now;
        self.changes.push(Change::Clock(self.clock.trust));
    }

    /// Believes the clock, because a person says so.
    pub(super) fn confirm_clock(&mut self, who: &str, now: Moment) -> Done {
        let clock = &mut self.clock;
        let doubt = clock.trust.doubt;
        clock.trust = clock.trust.confirm(now, clock.synchronised, clock.written);
        self.note_clock(now);
        let detail = match doubt {
            Some(doubt) => format!("clock confirmed although {}", doubt.cause),
            None => "clock confirmed".to_string(),
        };
        self.audit(now.wall, who, "confirm_clock", "clock", detail, None);
        self.lock_ages(now);
        self.show_restrictions();
        self.pump_all(now);
        Done::Acknowledged
    }
}
