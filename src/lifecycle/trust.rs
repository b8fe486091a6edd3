//! Whether the wall clock is to be believed (G1, G2). Who deletes by age has to ask first: a clock
//! that jumps ten years makes everything old.
//!
//! Two clocks are compared. Within one boot of the machine wall time and the time since boot go side by
//! side; a step of more than five minutes between them is doubted. Across boots only wall time is
//! left: it must not go back, and after a gap of more than a week somebody has to vouch for it, the
//! kernel's synchronisation, a witness outside or a person. What is doubted stays doubted until the clock is
//! back where it should be, or somebody of these says that it is right.

use std::fmt;

use super::time::{Moment, Timestamp, format_millis};

/// Wall time and time since boot may drift apart by this much.
pub const STEP_MAX_MS: i64 = 5 * 60_000;
/// After a longer gap between two boots wall time alone is not believed.
pub const GAP_MAX_MS: i64 = 7 * 86_400_000;
/// How often what is known is to be written down while the clock is believed.
pub const NOTE_EVERY_MS: i64 = 10 * 60_000;
/// A witness that says what the clock says, give or take this, vouches for it.
pub const WITNESS_MAX_MS: i64 = 3_600_000;
/// What a witness said longer ago vouches for nothing any more. Long enough for asking some others too.
pub const WITNESS_FRESH_MS: i64 = 5 * 60_000;

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// When the wall clock was last believed.
    pub believed: Moment,
    /// Wall time less uptime when the clock of that boot was first believed, in milliseconds. Measured
    /// against this, small steps add up.
    pub anchor_ms: i64,
    /// Whether the kernel's clock was synchronised by then. Until it is, one step that comes with the
    /// synchronisation is the machine finding its time, as every board without a clock of its own does.
    pub anchor_synchronised: bool,
    /// Why it is not believed at present.
    pub doubt: Option<Doubt>,
    /// Up to here times were written while the clock was wrong, as a person has said: what is dated
    /// before this and ahead of now is no new reason to doubt.
    pub wrong_until: Timestamp,
    /// How far time has come, by every clock that was believed and by the time since boot. It never goes
    /// back: what cools off is measured by it, so that no clock that is set back begins that anew (G13).
    pub reached: Timestamp,
}

/// Why the wall clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// What was seen.
    pub cause: DoubtCause,
    /// When it was seen first, by the clocks as they were then.
    pub since: Moment,
}

/// What makes a wall clock doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtCause {
    /// It moved against the time since boot.
    Stepped {
        /// How far; negative is back.
        by_ms: i64,
    },
    /// It is behind what it said before the machine was started again.
    WentBack {
        /// What it had said.
        from: Timestamp,
        /// What it says.
        to: Timestamp,
    },
    /// So much time passed between two boots that nobody can tell whether it did.
    Gap {
        /// What it had said.
        from: Timestamp,
        /// What it says.
        to: Timestamp,
    },
}

/// What somebody outside says of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What it said.
    pub said: Timestamp,
    /// What our clocks said when the answer came.
    pub taken: Moment,
}

/// What that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// It says what the wall clock says.
    Agrees,
    /// It does not: the wall clock is ahead of it by so much, or behind where this is negative.
    Differs {
        /// In milliseconds.
        by_ms: i64,
    },
    /// It was heard too long ago, in another boot, or before the wall clock was set.
    Stale,
}

impl Witness {
    /// Returns what its word is worth for the wall clock as it is now.
    pub fn weigh(&self, now: Moment) -> Testimony {
        let age_ms = now.uptime.saturating_sub(self.taken.uptime);
        let moved_ms = offset_ms(now).saturating_sub(offset_ms(self.taken));
        let is_fresh = now.boot == self.taken.boot && (0..=WITNESS_FRESH_MS).contains(&age_ms);
        if !is_fresh || moved_ms.saturating_abs() > STEP_MAX_MS {
            return Testimony::Stale;
        }
        // What has passed since is measured by the time since boot, which nobody sets.
        let by_ms = now.wall.since(self.said.plus(age_ms));
        if by_ms.saturating_abs() <= WITNESS_MAX_MS { Testimony::Agrees } else { Testimony::Differs { by_ms } }
    }
}

impl Trust {
    /// The clock as it is found by a journal that is new: there is nothing to compare it with.
    pub fn first(now: Moment, synchronised: bool) -> Trust {
        Trust {
            believed: now,
            anchor_ms: offset_ms(now),
            anchor_synchronised: synchronised,
            doubt: None,
            wrong_until: Timestamp::EPOCH,
            reached: now.wall,
        }
    }

    /// Returns what is known after another look at both clocks. `synchronised` is what the kernel says of
    /// its clock.
    pub fn look(self, now: Moment, synchronised: bool) -> Trust {
        let cause = if now.boot == self.believed.boot {
            self.within_boot(now, synchronised)
        } else {
            self.across_boots(now, synchronised)
        };
        match cause {
            Err(cause) => {
                let since = self.doubt.map_or(now, |doubt| doubt.since);
                Trust { doubt: Some(Doubt { cause, since }), ..self }
            }
            Ok(true) => {
                Trust { wrong_until: self.wrong_until, reached: self.reach(now), ..Trust::first(now, synchronised) }
            }
            Ok(false) => Trust { believed: now, doubt: None, reached: self.reach(now), ..self },
        }
    }

    /// Returns how far time has come by a clock that is believed.
    fn reach(&self, now: Moment) -> Timestamp {
        self.reached.plus(now.since(&self.believed)).max(now.wall)
    }

    /// Whether the anchor is to be set anew, or why the clock is doubted.
    fn within_boot(&self, now: Moment, synchronised: bool) -> Result<bool, DoubtCause> {
        let by_ms = offset_ms(now).saturating_sub(self.anchor_ms);
        if by_ms.saturating_abs() <= STEP_MAX_MS {
            // From here on it is a synchronised clock that is compared with.
            return Ok(synchronised && !self.anchor_synchronised);
        }
        // The step comes first, and the time service says that it is synchronised some minutes later.
        let found_its_time = synchronised && !self.anchor_synchronised;
        if found_its_time && now.wall >= self.believed.wall { Ok(true) } else { Err(DoubtCause::Stepped { by_ms }) }
    }

    /// See [`Trust::within_boot`].
    fn across_boots(&self, now: Moment, synchronised: bool) -> Result<bool, DoubtCause> {
        let (from, to) = (self.believed.wall, now.wall);
        let gap_ms = to.since(from);
        if gap_ms < -STEP_MAX_MS {
            return Err(DoubtCause::WentBack { from, to });
        }
        match self.doubt {
            // Who had set it wrong does not clear it by a start of the machine: it is still where it was doubted,
            // or further.
            Some(Doubt { cause: cause @ DoubtCause::Stepped { by_ms }, since }) if by_ms > 0 && to >= since.wall => {
                Err(cause)
            }
            _ if gap_ms <= GAP_MAX_MS => Ok(true),
            Some(Doubt { cause: cause @ DoubtCause::Stepped { .. }, .. }) => Err(cause),
            _ if synchronised => Ok(true),
            _ => Err(DoubtCause::Gap { from, to }),
        }
    }

    /// Whether a witness could end the doubt: nothing but the length of a gap between two boots is doubted.
    /// What was set while the machine was up, and what went back, is for a person to look at.
    pub fn wants_witness(&self) -> bool {
        matches!(self.doubt, Some(Doubt { cause: DoubtCause::Gap { .. }, .. }))
    }

    /// Returns what is known after witnesses were heard: a clock that was doubted for a gap is believed when one
    /// of them agrees with it and none differs. Their word never makes a clock doubted, nor another doubt less.
    pub fn witnessed(self, witnesses: &[Witness], now: Moment, synchronised: bool) -> Trust {
        let said = || witnesses.iter().map(|witness| witness.weigh(now));
        let is_agreed = said().any(|said| said == Testimony::Agrees);
        let is_contested = said().any(|said| matches!(said, Testimony::Differs { .. }));
        if !self.wants_witness() || !is_agreed || is_contested {
            return self;
        }
        Trust { wrong_until: self.wrong_until, reached: self.reach(now), ..Trust::first(now, synchronised) }
    }

    /// Returns what is known once a person has said that the clock is right. `written` is the latest
    /// instant that was written down, in the journal or since.
    pub fn confirm(self, now: Moment, synchronised: bool, written: Timestamp) -> Trust {
        let wrong_until = if written.since(now.wall) > STEP_MAX_MS { written } else { Timestamp::EPOCH };
        Trust {
            wrong_until: wrong_until.max(self.wrong_until),
            reached: self.reach(now),
            ..Trust::first(now, synchronised)
        }
    }

    /// Returns the wall time by which ages are measured: the smaller of what the wall clock says and what
    /// it should say by the time since boot (G2).
    pub fn time(&self, now: Moment) -> Timestamp {
        if now.boot == self.believed.boot {
            now.wall.min(Timestamp::from_millis(self.anchor_ms.saturating_add(now.uptime)))
        } else if self.doubt.is_some() {
            // How much time has passed nobody knows: at least none, and so no hold is over because of it.
            now.wall.min(self.believed.wall)
        } else {
            now.wall
        }
    }
}

fn offset_ms(now: Moment) -> i64 {
    now.wall.millis().saturating_sub(now.uptime)
}

/// Completes "the clock is doubted: ".
impl fmt::Display for DoubtCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoubtCause::Stepped { by_ms } => {
                let way = if *by_ms < 0 { "back" } else { "forward" };
                write!(f, "it was set {way} by {} while the machine was up", span(by_ms.saturating_abs()))
            }
            DoubtCause::WentBack { from, to } => {
                write!(f, "after a start of the machine it says {to}, and it had said {from} before")
            }
            DoubtCause::Gap { from, to } => {
                let gap = span(to.since(*from));
                write!(f, "it says {to}, {gap} after it was last believed, and nothing vouches for it")
            }
        }
    }
}

/// In whole seconds, for people.
fn span(ms: i64) -> String {
    format_millis(ms - ms % 1000)
}

#[cfg(test)]
mod tests;
