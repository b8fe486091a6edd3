//! What the clock is worth (G1): looked at in every turn, written down now and then, confirmed by people and by
//! witnesses outside.

use super::event::{Done, Heard};
use super::{ENGINE, Engine};
use crate::journal::change::{Audit, Change};
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::trust::{NOTE_EVERY_MS, Testimony, Trust, Witness};

/// What the engine knows of the clock.
#[derive(Debug)]
pub(super) struct Clock {
    pub trust: Trust,
    pub synchronised: bool,
    /// When it was last written down.
    noted: Moment,
    /// The latest wall time that was written down anywhere.
    written: Timestamp,
    /// What witnesses said that did not end the doubt, each in words.
    unvouched: Vec<String>,
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
        Clock {
            trust,
            synchronised,
            noted: Moment { uptime: now.uptime - NOTE_EVERY_MS, ..now },
            written,
            unvouched: Vec::new(),
        }
    }

    /// Returns why the clock is not believed, and what witnesses said to that; `None` while it is.
    pub(super) fn doubted(&self) -> Option<String> {
        let doubt = self.trust.doubt?;
        let said = self.unvouched.iter().map(|said| format!("; {said}"));
        Some(format!("the clock is doubted, {}{}", doubt.cause, said.collect::<String>()))
    }

    /// At what uptime it is to be written down again, at the next turn: the engine takes one a minute.
    fn due_at(&self) -> i64 {
        self.noted.uptime + NOTE_EVERY_MS
    }
}

/// How a record says what the clock was worth.
const BELIEVED: &str = "believed";

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
            (None, Some(doubt)) => tracing::error!(cause = %doubt.cause, "the clock is doubted: nothing is deleted"),
            (Some(_), None) => tracing::info!("the clock is believed again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let turned = before.doubt.is_some() != trust.doubt.is_some() || before.anchor_ms != trust.anchor_ms;
        if turned || now.uptime >= self.clock.due_at() || now.boot != self.clock.noted.boot {
            self.note_clock(now);
        }
        if !trust.wants_witness() {
            self.clock.unvouched.clear();
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
        clock.unvouched.clear();
        self.note_clock(now);
        let before = doubt.map_or_else(|| BELIEVED.into(), |doubt| format!("doubted: {}", doubt.cause).into());
        let audit = Audit::of(now.wall, who, "confirm_clock", "clock", "clock confirmed");
        self.audit(Audit { before: Some(before), after: Some(BELIEVED.into()), ..audit });
        self.lock_ages(now);
        self.show_restrictions();
        self.pump_all(now);
        Done::Acknowledged
    }

    /// Takes what witnesses say of the time: it ends a doubt, or stands beside it.
    pub(super) fn hear_witnesses(&mut self, heard: &[Heard], now: Moment) {
        let before = self.clock.trust;
        let Some(doubt) = before.doubt.filter(|_| before.wants_witness()) else { return };
        let of = |heard: &Heard| Some(Witness { said: *heard.said.as_ref().ok()?, taken: heard.taken });
        let witnesses: Vec<Witness> = heard.iter().filter_map(of).collect();
        let trust = before.witnessed(&witnesses, now, self.clock.synchronised);
        if trust.doubt.is_some() {
            self.clock.unvouched = heard.iter().filter_map(|heard| objection(heard, now)).collect();
            for said in &self.clock.unvouched {
                tracing::warn!(cause = said, "the clock stays doubted");
            }
            self.show_restrictions();
            return;
        }
        let agreed = |heard: &&Heard| of(heard).is_some_and(|witness| witness.weigh(now) == Testimony::Agrees);
        let hosts: Vec<&str> = heard.iter().filter(agreed).map(|heard| &*heard.host).collect();
        let hosts = hosts.join(", ");
        tracing::info!(witness = hosts, "the clock is believed: a witness agrees with it");
        self.clock.trust = trust;
        self.clock.unvouched.clear();
        self.note_clock(now);
        let detail = format!("{hosts} agrees with the clock");
        let audit = Audit::of(now.wall, ENGINE, "witness_clock", "clock", detail);
        let before = Some(format!("doubted: {}", doubt.cause).into());
        self.audit(Audit { before, after: Some(BELIEVED.into()), ..audit });
        self.view.set_clock_vouched(format!("{hosts} vouched for the clock at {}", now.wall));
        self.lock_ages(now);
        self.show_restrictions();
        self.pump_all(now);
    }
}

/// What a witness said that does not vouch for the clock; `None` where it does.
fn objection(heard: &Heard, now: Moment) -> Option<String> {
    let Heard { host, taken, said } = heard;
    let at = taken.wall;
    match said {
        Err(why) => Some(format!("{host} was asked at {at} and does not vouch for it: {why}")),
        Ok(said) => match (Witness { said: *said, taken: *taken }).weigh(now) {
            Testimony::Agrees => None,
            Testimony::Differs { .. } => Some(format!("{host} said {said} when it said {at}")),
            Testimony::Stale => Some(format!("what {host} said at {at} is too old")),
        },
    }
}
