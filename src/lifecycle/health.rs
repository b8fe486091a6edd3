//! How a policy is, for whoever watches it: the age of its newest good snapshot against what is expected decides.
//! What is not known is never well.

use super::time::{Timestamp, format_millis};
use super::workflow::{Kind, Outcome};

/// How something is, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Ok,
    /// Somebody should look.
    Warning,
    /// Nobody can tell.
    Unknown,
    /// Somebody has to look.
    Critical,
}

impl Health {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Warning => "warning",
            Health::Unknown => "unknown",
            Health::Critical => "critical",
        }
    }

    /// Returns what a word stands for.
    pub fn from_word(word: &str) -> Option<Health> {
        [Health::Ok, Health::Warning, Health::Unknown, Health::Critical].into_iter().find(|known| known.word() == word)
    }
}

/// How old a policy's newest good snapshot may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Up to so many milliseconds.
    Within(i64),
    /// It makes none.
    Nothing,
    /// What it says cannot be read.
    Unknown,
}

/// What is known of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// How old its newest good snapshot may be.
    pub expectation: Expectation,
    /// Whether its triggers run.
    pub is_enabled: bool,
    /// When it came.
    pub adopted_at: Timestamp,
    /// When its newest good snapshot was made.
    pub good_at: Option<Timestamp>,
    /// How the latest run of each workflow ended, and why, where it has.
    pub ended: Vec<(Kind, Outcome, Option<String>)>,
}

/// Said of a run that ended badly, and after which another has begun.
pub const UNDER_WAY: &str = "another run is under way";

/// How a policy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkup {
    /// The gravest of all that was found.
    pub health: Health,
    /// What was found, the gravest first.
    pub reasons: Vec<String>,
    /// How old the newest good snapshot is, in milliseconds.
    pub age_ms: Option<i64>,
    /// From which age on somebody should look, in milliseconds.
    pub warning_ms: Option<i64>,
    /// From which age on somebody has to, in milliseconds.
    pub critical_ms: Option<i64>,
}

impl Vitals {
    /// Returns how the policy is at `now`.
    pub fn check(&self, now: Timestamp) -> Checkup {
        let age_ms = self.good_at.map(|at| now.since(at));
        let critical_ms = match self.expectation {
            Expectation::Within(ms) => Some(ms),
            Expectation::Nothing | Expectation::Unknown => None,
        };
        // By default two of its longest gaps are allowed: half of the second is over.
        let warning_ms = critical_ms.map(|ms| ms / 4 * 3);
        let mut found = Vec::new();
        found.extend(self.freshness(age_ms, warning_ms, now));
        if !self.is_enabled {
            let nothing = match self.expectation {
                Expectation::Nothing => "nothing is deleted",
                Expectation::Within(_) | Expectation::Unknown => "no snapshot is made",
            };
            found.push((Health::Warning, format!("is stopped: {nothing}")));
        }
        found.extend(self.ended.iter().filter_map(|(kind, outcome, why)| {
            let what = match outcome {
                Outcome::Succeeded | Outcome::Cancelled => return None,
                Outcome::Failed => "failed",
                Outcome::TimeLimitExceeded => "exceeded its time limit",
                Outcome::Held => "is held",
            };
            let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            Some((Health::Warning, format!("{} {what}{why}", kind.word())))
        }));
        found.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
        Checkup {
            health: found.first().map_or(Health::Ok, |(health, _)| *health),
            reasons: found.into_iter().map(|(_, reason)| reason).collect(),
            age_ms,
            warning_ms,
            critical_ms,
        }
    }

    fn freshness(&self, age_ms: Option<i64>, warning_ms: Option<i64>, now: Timestamp) -> Option<(Health, String)> {
        let within_ms = match self.expectation {
            Expectation::Within(ms) => ms,
            Expectation::Nothing => return None,
            Expectation::Unknown => {
                let reason = "nobody can tell how fresh its snapshots should be: its file cannot be read";
                return Some((Health::Unknown, reason.to_string()));
            }
        };
        // To the minute: whoever is told each minute need not read milliseconds.
        let words = |ms: i64| format_millis((ms - ms % 60_000).max(60_000));
        let within = format_millis(within_ms);
        match age_ms {
            Some(ms) if ms < 0 => {
                let reason = format!("the newest good snapshot is dated {} ahead of the clock", words(-ms));
                Some((Health::Unknown, reason))
            }
            // Whose file was away for long is expected to make one from its return on.
            Some(ms) if ms >= within_ms && now.since(self.adopted_at) < within_ms => {
                Some((Health::Warning, format!("no good snapshot for {}, expected within {within}", words(ms))))
            }
            Some(ms) if ms >= within_ms => {
                Some((Health::Critical, format!("no good snapshot for {}, expected within {within}", words(ms))))
            }
            Some(ms) if warning_ms.is_some_and(|warning_ms| ms >= warning_ms) => {
                Some((Health::Warning, format!("no good snapshot for {}, expected within {within}", words(ms))))
            }
            Some(_) => None,
            None => {
                let waited_ms = now.since(self.adopted_at);
                let health = if waited_ms >= within_ms { Health::Critical } else { Health::Warning };
                Some((health, format!("no good snapshot yet, expected within {within} of the policy's coming")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn vitals(expectation: Expectation, good_hours_ago: Option<i64>) -> (Vitals, Timestamp) {
        let now = Timestamp::from_millis(1_000 * HOUR);
        let vitals = Vitals {
            expectation,
            is_enabled: true,
            adopted_at: now.plus(-100 * HOUR),
            good_at: good_hours_ago.map(|hours| now.plus(-hours * HOUR)),
            ended: Vec::new(),
        };
        (vitals, now)
    }

    fn health(expectation: Expectation, good_hours_ago: Option<i64>) -> (Health, Vec<String>) {
        let (vitals, now) = vitals(expectation, good_hours_ago);
        let checkup = vitals.check(now);
        (checkup.health, checkup.reasons)
    }

    #[test]
    fn age_against_expectation_decides() {
        let within = Expectation::Within(48 * HOUR);
        assert_eq!(health(within, Some(0)), (Health::Ok, vec![]));
        assert_eq!(health(within, Some(35)).0, Health::Ok);
        let late = "no good snapshot for 1d12h, expected within 2d";
        assert_eq!(health(within, Some(36)), (Health::Warning, vec![late.into()]));
        assert_eq!(health(within, Some(47)).0, Health::Warning);
        let stale = "no good snapshot for 2d, expected within 2d";
        assert_eq!(health(within, Some(48)), (Health::Critical, vec![stale.into()]));
        assert_eq!(health(Expectation::Nothing, None), (Health::Ok, vec![]));
    }

    #[test]
    fn a_policy_that_was_away_for_long_has_time_from_its_return_on() {
        let (mut vitals, now) = vitals(Expectation::Within(8 * HOUR), Some(500));
        assert_eq!(vitals.check(now).health, Health::Critical);
        vitals.adopted_at = now.plus(-7 * HOUR);
        assert_eq!(vitals.check(now).health, Health::Warning);
    }

    #[test]
    fn what_is_not_known_is_never_well() {
        let yet = "no good snapshot yet, expected within 2d of the policy's coming";
        let yet_within = Expectation::Within(48 * HOUR);
        let (mut new, now) = vitals(yet_within, None);
        assert_eq!(new.check(now).health, Health::Critical);
        new.adopted_at = now.plus(-47 * HOUR);
        let checkup = new.check(now);
        assert_eq!((checkup.health, checkup.reasons), (Health::Warning, vec![yet.into()]));
        assert_eq!(health(Expectation::Unknown, Some(0)).0, Health::Unknown);
        let ahead = "the newest good snapshot is dated 1h ahead of the clock";
        assert_eq!(health(Expectation::Within(HOUR), Some(-1)), (Health::Unknown, vec![ahead.into()]));
    }

    #[test]
    fn how_runs_ended_and_who_is_stopped_is_a_warning_and_the_gravest_comes_first() {
        let (mut vitals, now) = vitals(Expectation::Within(2 * HOUR), Some(1));
        vitals.ended = vec![(Kind::Creation, Outcome::Succeeded, None), (Kind::Deletion, Outcome::Cancelled, None)];
        assert_eq!(vitals.check(now).health, Health::Ok);
        vitals.is_enabled = false;
        vitals.ended = vec![
            (Kind::Creation, Outcome::Failed, Some("disk full".into())),
            (Kind::Deletion, Outcome::TimeLimitExceeded, None),
        ];
        let reasons =
            ["is stopped: no snapshot is made", "creation failed: disk full", "deletion exceeded its time limit"];
        let checkup = vitals.check(now);
        assert_eq!((checkup.health, checkup.reasons), (Health::Warning, reasons.map(String::from).to_vec()));
        vitals.good_at = None;
        let checkup = vitals.check(now);
        assert_eq!(checkup.health, Health::Critical);
        assert!(checkup.reasons[0].starts_with("no good snapshot yet"), "{:?}", checkup.reasons);
    }
}
