//! Holds: what a person wants kept, whatever the policies say (G13).
//!
//! A hold is remembered twice: by whoever decides, and as a label on the snapshot itself, so that neither
//! a journal that is lost nor one that is older makes a held snapshot deletable. While either says so, it
//! is held.
//!
//! A hold in *compliance* mode can only be lengthened. For a while after it was made it can still be
//! removed, for people make mistakes; then by nobody, before its end. That while is measured by
//! [`Trust::reached`], and a clock that is doubted measures nothing.

use std::collections::BTreeMap;
use std::fmt;

use super::snapshot::{Snapshot, label};
use super::time::Timestamp;
use super::trust::Trust;

/// How long a hold in compliance mode can be taken back after it was made: as AWS Backup Vault Lock has it.
pub const COOLING_OFF_MS: i64 = 72 * 3_600_000;
/// A sentence; with the rest it fits into one label of any repository.
pub const REASON_CHARS_MAX: usize = 200;

/// Whether something that began at `since` still cools off once time has come to `reached`; both are
/// [`Trust::reached`]. What began in a future that this journal never saw does not.
pub fn is_cooling(since: Timestamp, reached: Timestamp) -> bool {
    reached < since.plus(COOLING_OFF_MS) && reached.plus(super::retention::AHEAD_MAX_MS) >= since
}

/// What a person wants kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Till when; `None` till it is removed.
    pub until: Option<Timestamp>,
    /// Whether it can only be lengthened.
    pub compliance: bool,
    /// When it was made, or made compliant, by [`Trust::reached`]: its cooling-off counts from then.
    pub made_at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What somebody wants of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOrder {
    /// Till when; `None` till it is removed.
    pub until: Option<Timestamp>,
    /// Whether it can only be lengthened from then on.
    pub compliance: bool,
    /// Why.
    pub reason: String,
}

/// Why a hold is not made, changed or removed. Completes "failed to …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldRefusal {
    /// No reason was given.
    #[error("a hold needs a reason of 1 to {REASON_CHARS_MAX} characters, in one line")]
    NoReason,
    /// Its end is over.
    #[error("a hold until {until} would be over already: it is {now}")]
    Past {
        /// Its end.
        until: Timestamp,
        /// The time.
        now: Timestamp,
    },
    /// It would end earlier than the one there is.
    #[error("it is held {} already, and a hold is lengthened, never shortened{hint}", Till(*until))]
    Shorter {
        /// The end of the one there is.
        until: Option<Timestamp>,
        /// What else can be done.
        hint: &'static str,
    },
    /// Its cooling-off is over.
    #[error(
        "it is held in compliance mode {}: nobody can remove that, and its cooling-off was over at {over_at}",
        Till(*until)
    )]
    Compliance {
        /// Its end.
        until: Option<Timestamp>,
        /// When it could last be removed.
        over_at: Timestamp,
    },
    /// Nobody knows whether it still cools off.
    #[error(
        "it is held in compliance mode {}, and the clock is doubted: nobody can say whether that may be removed",
        Till(*until)
    )]
    Doubted {
        /// Its end.
        until: Option<Timestamp>,
    },
    /// There is none.
    #[error("nothing holds it")]
    NotHeld,
}

/// An end in words.
struct Till(Option<Timestamp>);

impl fmt::Display for Till {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(until) => write!(f, "until {until}"),
            None => f.write_str("without end"),
        }
    }
}

/// What makes one end later than another: none is last.
fn end(until: Option<Timestamp>) -> (bool, Option<Timestamp>) {
    (until.is_none(), until)
}

impl Hold {
    /// Returns the hold that an order makes of those there are, which may be over. `now` is the time by which
    /// plans are made, `reached` how far time has come.
    pub fn made(
        known: Option<&Hold>,
        order: &HoldOrder,
        now: Timestamp,
        reached: Timestamp,
    ) -> Result<Hold, HoldRefusal> {
        let HoldOrder { until, compliance, reason } = order;
        let reason = reason.trim();
        if !(1..=REASON_CHARS_MAX).contains(&reason.chars().count()) || reason.contains(char::is_control) {
            return Err(HoldRefusal::NoReason);
        }
        if let Some(until) = until.filter(|until| *until <= now) {
            return Err(HoldRefusal::Past { until, now });
        }
        let fresh = Hold { until: *until, compliance: *compliance, made_at: reached, reason: reason.to_owned() };
        let Some(known) = known.filter(|known| !known.is_over(now)) else { return Ok(fresh) };
        if end(*until) < end(known.until) {
            let hint = if known.compliance { "" } else { "; remove it first" };
            return Err(HoldRefusal::Shorter { until: known.until, hint });
        }
        // Whoever lengthens a hold gets no second time to think it over.
        let was = known.compliance || !compliance;
        let made_at = if was { known.made_at } else { reached };
        Ok(Hold { compliance: known.compliance || *compliance, made_at, ..fresh })
    }

    /// Whether it may be removed. `now` is the time by which plans are made.
    pub fn may_go(&self, now: Timestamp, trust: &Trust) -> Result<(), HoldRefusal> {
        let until = self.until;
        if !self.compliance || self.is_over(now) {
            Ok(())
        } else if trust.doubt.is_some() {
            Err(HoldRefusal::Doubted { until })
        } else if is_cooling(self.made_at, trust.reached) {
            Ok(())
        } else {
            Err(HoldRefusal::Compliance { until, over_at: self.made_at.plus(COOLING_OFF_MS) })
        }
    }

    /// Whether it holds no more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Returns it as the value of the label [`label::HOLD`].
    pub fn stamp(&self) -> String {
        let until = self.until.map_or("none".to_owned(), |until| until.millis().to_string());
        let mode = if self.compliance { "compliance" } else { "ordinary" };
        format!("{until} {mode} {} {}", self.made_at.millis(), self.reason)
    }

    /// Returns what the label on a snapshot says. One that cannot be read holds without end.
    pub fn stamped(snapshot: &Snapshot) -> Option<Hold> {
        let stamp = snapshot.labels.get(label::HOLD)?;
        let millis = |word: &str| word.parse().ok().map(Timestamp::from_millis);
        let read = || {
            let mut words = stamp.splitn(4, ' ');
            let until = match words.next()? {
                "none" => None,
                word => Some(millis(word)?),
            };
            let compliance = match words.next()? {
                "compliance" => true,
                "ordinary" => false,
                _ => return None,
            };
            Some(Hold { until, compliance, made_at: millis(words.next()?)?, reason: words.next()?.to_owned() })
        };
        let unread = || Hold {
            until: None,
            compliance: false,
            made_at: Timestamp::EPOCH,
            reason: format!("its label {} cannot be read", label::HOLD),
        };
        Some(read().unwrap_or_else(unread))
    }

    /// Returns the longer of two, and compliant if either is.
    fn or(self, other: Hold) -> Hold {
        let compliance = self.compliance || other.compliance;
        let compliant = [&self, &other].into_iter().filter(|hold| hold.compliance).map(|hold| hold.made_at).min();
        let later = if end(self.until) < end(other.until) { other } else { self };
        Hold { compliance, made_at: compliant.unwrap_or(later.made_at), ..later }
    }
}

/// Why it is held, to follow "held ".
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Till(self.until), self.reason)
    }
}

/// The holds in one repository, by the snapshot's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds(BTreeMap<Box<str>, Hold>);

impl Holds {
    /// Remembers one.
    pub fn insert(&mut self, name: &str, hold: Hold) {
        self.0.insert(name.into(), hold);
    }

    /// Forgets one.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Returns what is remembered of a name.
    pub fn of(&self, name: &str) -> Option<&Hold> {
        self.0.get(name)
    }

    /// Returns what holds a snapshot: what is remembered, what its label says, whichever holds longer.
    pub fn on(&self, snapshot: &Snapshot, now: Timestamp) -> Option<Hold> {
        let known = self.0.get(snapshot.name.as_str()).cloned();
        let all = known.into_iter().chain(Hold::stamped(snapshot));
        all.filter(|hold| !hold.is_over(now)).reduce(Hold::or)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::snapshot::Status;
    use crate::lifecycle::time::Moment;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * HOUR)
    }

    fn order(until: Option<i64>, compliance: bool) -> HoldOrder {
        HoldOrder { until: until.map(at), compliance, reason: "audit".to_owned() }
    }

    /// By a clock that was right all along.
    fn made(known: Option<&Hold>, order: &HoldOrder, now: Timestamp) -> Result<Hold, HoldRefusal> {
        Hold::made(known, order, now, now)
    }

    fn may_go(hold: &Hold, now: Timestamp) -> Result<(), HoldRefusal> {
        hold.may_go(now, &Trust::first(Moment { wall: now, boot: 1, uptime: 0 }, true))
    }

    /// Makes a hold at hour 100, asks for another later, and says what came of it.
    fn check(first: (Option<i64>, bool), later: i64, second: (Option<i64>, bool), expected: &str) {
        let known = made(None, &order(first.0, first.1), at(100)).expect("made");
        let told = match made(Some(&known), &order(second.0, second.1), at(later)) {
            Ok(Hold { until, compliance, made_at, .. }) => {
                let until = until.map_or("end of time".to_owned(), |until| (until.millis() / HOUR).to_string());
                format!("until {until}, compliance {compliance}, since {}", made_at.millis() / HOUR)
            }
            Err(HoldRefusal::Shorter { .. }) => "shorter".to_owned(),
            Err(other) => other.to_string(),
        };
        assert_eq!(told, expected, "{first:?}, at {later} {second:?}");
    }

    #[test]
    fn a_hold_is_lengthened_and_never_shortened() {
        check((Some(200), false), 110, (Some(300), false), "until 300, compliance false, since 100");
        check((Some(200), false), 110, (None, false), "until end of time, compliance false, since 100");
        check((Some(200), false), 110, (Some(150), false), "shorter");
        check((None, false), 110, (Some(900), false), "shorter");
        // What is over is none.
        check((Some(200), true), 250, (Some(260), false), "until 260, compliance false, since 250");
        // Compliance is never lost, and cools off once.
        for later in [110, 171, 173, 198] {
            check((Some(200), true), later, (Some(300), false), "until 300, compliance true, since 100");
            check((Some(200), true), later, (Some(200), true), "until 200, compliance true, since 100");
            check((Some(200), true), later, (Some(199), true), "shorter");
        }
        check((Some(200), false), 110, (Some(300), true), "until 300, compliance true, since 110");
    }

    #[test]
    fn a_hold_in_compliance_mode_is_removed_within_72_hours_or_after_its_end() {
        let hold = |compliance| made(None, &order(Some(1000), compliance), at(100)).expect("made");
        for (now, ordinary, compliance) in
            [(100, true, true), (171, true, true), (172, true, false), (999, true, false), (1000, true, true)]
        {
            assert_eq!(may_go(&hold(false), at(now)).is_ok(), ordinary, "{now}");
            assert_eq!(may_go(&hold(true), at(now)).is_ok(), compliance, "{now}");
        }
        // Corrected by minutes is no fraud; by an hour it may be.
        assert!(may_go(&hold(true), at(100).plus(-60_000)).is_ok());
        assert!(may_go(&hold(true), at(99)).is_err());
        let endless = made(None, &order(None, true), at(100)).expect("made");
        assert!(may_go(&endless, at(1_000_000)).is_err());
        // What it says now is one thing, how much has passed is another.
        let start = Moment { wall: at(100), boot: 1, uptime: 0 };
        let behind = Moment { wall: at(101), boot: 1, uptime: 73 * HOUR };
        let doubted = Trust::first(start, true).look(behind, true);
        assert_eq!(hold(true).may_go(at(101), &doubted), Err(HoldRefusal::Doubted { until: Some(at(1000)) }));
        assert_eq!(hold(false).may_go(at(101), &doubted), Ok(()));
        let confirmed = doubted.confirm(behind, true, at(101));
        assert!(matches!(hold(true).may_go(at(101), &confirmed), Err(HoldRefusal::Compliance { .. })));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let made = |until, reason: &str| {
            let order = HoldOrder { reason: reason.to_owned(), ..order(until, false) };
            made(None, &order, at(100)).map_err(|refusal| refusal.to_string())
        };
        for reason in ["", "  ", "two\nlines", &"x".repeat(201)] {
            assert_eq!(made(None, reason), Err("a hold needs a reason of 1 to 200 characters, in one line".to_owned()));
        }
        for until in [99, 100] {
            let refusal = made(Some(until), "audit").expect_err("over");
            assert!(refusal.contains("would be over already"), "{refusal}");
        }
        assert_eq!(made(None, " audit ").expect("made").reason, "audit");
    }

    #[test]
    fn a_snapshot_is_held_by_what_is_remembered_and_by_its_label() {
        let mut snapshot = Snapshot {
            name: "a".to_owned(),
            id: "1".to_owned(),
            taken_at: Some(at(1)),
            status: Status::Good,
            labels: BTreeMap::new(),
            in_use: None,
            size_bytes: None,
        };
        let (none, mut holds) = (Holds::default(), Holds::default());
        let known = made(None, &order(Some(200), true), at(100)).expect("made");
        holds.insert("a", known.clone());
        assert_eq!((none.on(&snapshot, at(100)), holds.on(&snapshot, at(100))), (None, Some(known.clone())));
        assert_eq!(holds.on(&snapshot, at(200)), None);
        for hold in [known.clone(), Hold { until: None, compliance: false, ..known.clone() }] {
            snapshot.labels.insert(label::HOLD.to_owned(), hold.stamp());
            assert_eq!(Hold::stamped(&snapshot), Some(hold));
        }
        assert!(holds.on(&snapshot, at(100)).is_some_and(|hold| hold.until.is_none() && hold.compliance));
        for unreadable in ["", "none", "x ordinary 1 a", "none perhaps 1 a", "5"] {
            snapshot.labels.insert(label::HOLD.to_owned(), unreadable.to_owned());
            assert!(none.on(&snapshot, at(1_000_000)).is_some_and(|hold| hold.until.is_none()), "{unreadable}");
        }
    }
}
