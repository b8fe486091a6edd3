//! What a policy's `min_age` is locked to (G13): in compliance mode it only ever becomes longer.
//!
//! A length can be taken back for a while after it was first asked for, by an edit that asks for less or by
//! removing the policy. Then it stays, whatever the files say, for everything that the policy's uid is
//! stamped on. Two lengths may be on their way at once, so each is remembered with its own beginning:
//!
//! ```text
//!   min_age   7d ──────── 30d ──── edited to 10d ─────────▶
//!   locked    7d          7d, 30d  7d, 10d: 30d was still cooling off, and 10d is as old as it
//!                                  30d, had it been over
//! ```
//!
//! Nothing is begun and nothing taken back while the clock is doubted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hold::is_cooling;
use super::policy::DeletionRule;
use super::time::{Span, Timestamp};
use super::trust::Trust;

/// So many lengths are on their way at once; of more the shortest two are locked as one. Nobody lengthens
/// a term so often within 72 hours.
const STEPS_MAX: usize = 16;

/// What one policy's `min_age` is locked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgeLock {
    /// From short to long, none asked for before a shorter one. All but the first are cooling off when this
    /// was last looked at.
    steps: Vec<Locked>,
}

/// One length that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// How long.
    pub min_age: Span,
    /// Since when, by [`Trust::reached`].
    pub since: Timestamp,
}

impl AgeLock {
    /// Returns the lock that was written down.
    pub fn of(mut steps: Vec<Locked>) -> AgeLock {
        steps.sort_by_key(|step| step.min_age.millis());
        AgeLock { steps }
    }

    /// Returns all lengths with their beginnings, from short to long.
    pub fn steps(&self) -> &[Locked] {
        &self.steps
    }

    /// Returns the length that holds.
    pub fn min_age(&self) -> Option<&Span> {
        self.longest().map(|step| &step.min_age)
    }

    /// Returns the length that holds, and since when.
    pub fn longest(&self) -> Option<&Locked> {
        self.steps.last()
    }

    /// Returns the lock as it is with this rule in force, or with none.
    pub fn under(&self, rule: Option<&DeletionRule>, trust: &Trust) -> AgeLock {
        if trust.doubt.is_some() {
            return self.clone();
        }
        self.after(rule.and_then(DeletionRule::locked_min_age), trust.reached)
    }

    /// Returns the lock once this length is asked for, or none is.
    fn after(&self, asked: Option<&Span>, reached: Timestamp) -> AgeLock {
        let asked_ms = asked.map_or(0, Span::millis);
        let is_firm = |step: &Locked| !is_cooling(step.since, reached);
        let (kept, taken_back): (Vec<Locked>, Vec<Locked>) =
            self.steps.iter().cloned().partition(|step| step.min_age.millis() <= asked_ms || is_firm(step));
        // Of those that nobody can take back the longest says it all.
        let firm = kept.iter().rfind(|step| is_firm(step)).cloned();
        let cooling = kept.into_iter().filter(|step| !is_firm(step));
        let mut steps: Vec<Locked> = firm.into_iter().chain(cooling).collect();
        if let Some(min_age) = asked.filter(|_| steps.last().is_none_or(|last| last.min_age.millis() < asked_ms)) {
            // A part of a longer one has been asked for as long as that was.
            let since = taken_back.iter().map(|step| step.since).fold(reached, Timestamp::min);
            steps.push(Locked { min_age: min_age.clone(), since });
        }
        while steps.len() > STEPS_MAX {
            let shorter = steps.remove(1);
            steps[1].since = shorter.since;
        }
        AgeLock { steps }
    }
}

/// The locks of all policies that ever had one, by uid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgeLocks(BTreeMap<Arc<str>, AgeLock>);

impl AgeLocks {
    /// Returns what is locked for a uid; an empty lock where nothing is.
    pub fn of(&self, uid: &str) -> AgeLock {
        self.0.get(uid).cloned().unwrap_or_default()
    }

    /// Returns the length that is locked for a uid.
    pub fn min_age(&self, uid: &str) -> Option<&Span> {
        self.0.get(uid).and_then(AgeLock::min_age)
    }

    /// Remembers one.
    pub fn insert(&mut self, uid: Arc<str>, lock: AgeLock) {
        if lock.steps.is_empty() {
            self.0.remove(&uid);
        } else {
            self.0.insert(uid, lock);
        }
    }

    /// Returns the uids there are.
    pub fn uids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::hold::COOLING_OFF_MS;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_millis(hours * HOUR)
    }

    fn days(days: i64) -> Option<Span> {
        (days > 0).then(|| Span::from_millis(days * 24 * HOUR))
    }

    /// Asks for `days` at `hour`, one after another, 0 for none; returns the steps as `days@hour`.
    fn check(asked: &[(i64, i64)], expected: &str) {
        let lock =
            asked.iter().fold(AgeLock::default(), |lock, (hour, asked)| lock.after(days(*asked).as_ref(), at(*hour)));
        let told = |step: &Locked| format!("{}@{}", step.min_age, step.since.millis() / HOUR);
        let told: Vec<String> = lock.steps.iter().map(told).collect();
        assert_eq!(told.join(" "), expected, "{asked:?}");
    }

    #[test]
    fn within_72_hours_a_length_is_taken_back_and_afterwards_never() {
        check(&[(0, 30)], "30d@0");
        check(&[(0, 30), (71, 0)], "");
        check(&[(0, 30), (72, 0)], "30d@0");
        check(&[(0, 30), (72, 7), (900, 1), (901, 0)], "30d@0");
        check(&[(0, 7), (100, 30), (101, 10)], "7d@0 10d@100");
        check(&[(0, 7), (100, 30), (171, 0)], "7d@0");
        check(&[(0, 7), (100, 30), (172, 0)], "30d@100");
        check(&[(0, 7), (10, 30), (71, 1)], "1d@0");
        // To take it out and in again begins it anew; to shorten it does not.
        check(&[(0, 30), (10, 0), (11, 30)], "30d@11");
        check(&[(0, 30), (10, 20)], "20d@0");
        check(&[(0, 30), (10, 20), (72, 0)], "20d@0");
        // The longer one has 72 hours of its own.
        check(&[(0, 20), (50, 30), (80, 0)], "20d@0");
        check(&[(0, 20), (50, 30), (80, 30)], "20d@0 30d@50");
        check(&[(0, 20), (50, 30), (122, 0)], "30d@50");
    }

    #[test]
    fn nothing_begins_and_nothing_is_taken_back_while_the_clock_is_doubted() {
        use crate::lifecycle::time::Moment;
        let start = Moment { wall: at(1000), boot: 1, uptime: 5 * HOUR };
        let trust = Trust::first(start, true);
        let doubted = trust.look(Moment { wall: at(9000), ..start.plus(HOUR) }, true);
        assert!(doubted.doubt.is_some());
        let lock = AgeLock::default().after(days(30).as_ref(), at(1000));
        assert_eq!(lock.under(None, &doubted), lock);
        assert_eq!(lock.under(None, &trust), AgeLock::default());
        assert_eq!(AgeLock::default().under(None, &doubted), AgeLock::default());
    }

    /// G13: whatever is asked for and however time passes, what was once over its cooling-off is never undercut,
    /// and what is asked for holds.
    #[test]
    fn whatever_is_asked_for_what_is_firm_only_ever_becomes_longer() {
        for seed in 0..2_000_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut roll = |sides: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                (dice % sides) as i64
            };
            let (mut lock, mut reached, mut firm_ms) = (AgeLock::default(), at(1000), 0);
            // For how long each length has been asked for without a break.
            let mut since: BTreeMap<i64, Timestamp> = BTreeMap::new();
            for _ in 0..40 {
                reached = reached.plus(roll(40) * HOUR);
                let due = since.iter().filter(|(_, at)| reached.since(**at) >= COOLING_OFF_MS);
                firm_ms = due.map(|(ms, _)| *ms).fold(firm_ms, i64::max);
                let asked = days(roll(6) * 10);
                lock = lock.after(asked.as_ref(), reached);
                let asked_ms = asked.as_ref().map_or(0, Span::millis);
                since.retain(|ms, _| *ms <= asked_ms);
                (1..=5).map(|tens| tens * 240 * HOUR).filter(|ms| *ms <= asked_ms).for_each(|ms| {
                    since.entry(ms).or_insert(reached);
                });
                let locked_ms = lock.min_age().map_or(0, Span::millis);
                assert_eq!(locked_ms, asked_ms.max(firm_ms), "seed {seed}: {lock:?} at {reached}");
                assert!(lock.steps.is_sorted_by(|one, next| one.min_age.millis() < next.min_age.millis()), "{seed}");
            }
        }
    }

    #[test]
    fn many_lengths_on_their_way_are_bounded_and_the_longest_holds() {
        let asked: Vec<(i64, i64)> = (1..=60).map(|days| (days, days)).collect();
        let lock =
            asked.iter().fold(AgeLock::default(), |lock, (hour, asked)| lock.after(days(*asked).as_ref(), at(*hour)));
        assert_eq!((lock.steps.len(), lock.min_age()), (STEPS_MAX, days(60).as_ref()));
        assert_eq!(lock.after(None, at(132)).min_age(), days(60).as_ref(), "72 hours after it was asked for");
        assert_eq!(lock.after(None, at(60)), AgeLock::default(), "none is firm");
    }
}
