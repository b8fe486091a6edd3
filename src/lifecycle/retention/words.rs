//! Verdicts in words: one stable code for programs, one phrase for people.

use std::fmt;

use super::{Condemn, Hold, Keep, Until, Verdict, Whose};
use crate::lifecycle::time::format_millis;

impl Verdict {
    /// Returns one stable word for the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Verdict::Keep(keep) => match keep {
                Keep::Foreign(_) => "foreign",
                Keep::Ambiguous { .. } => "ambiguous",
                Keep::Running => "running",
                Keep::InUse { .. } => "in_use",
                Keep::Held { .. } => "held",
                Keep::Undatable => "undatable",
                Keep::FutureDated { .. } => "future_dated",
                Keep::NewestGood => "newest_good",
                Keep::Minimum { .. } => "min_count",
                Keep::YoungerThanMinAge { .. } => "min_age",
                Keep::Rules(_) => "keep_rules",
                Keep::WithinCondition { .. } => "within_condition",
                Keep::Grace { .. } => "grace",
                Keep::Rate { .. } => "rate",
                Keep::CreationFailing { .. } => "creation_failing",
                Keep::Unlooked => "unlooked",
                Keep::Unplanned => "unplanned",
                Keep::NotApproved { .. } => "not_approved",
                Keep::FailedButRecent { .. } => "failed_but_recent",
            },
            Verdict::Condemn(condemn) => match condemn {
                Condemn::Thinned => "thinned",
                Condemn::OlderThanMaxAge { .. } => "max_age",
                Condemn::BeyondMaxCount { .. } | Condemn::HeldBeyondMaxCount { .. } => "max_count",
                Condemn::FailedAndThinned => "failed_and_thinned",
                Condemn::FailedAndOld { .. } => "failed_and_old",
                Condemn::FailedAndReplaced { .. } => "failed_and_replaced",
            },
        }
    }
}

/// The reason, to follow "kept: " or "deleted: ".
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Keep(keep) => keep.fmt(f),
            Verdict::Condemn(condemn) => condemn.fmt(f),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Foreign(whose) => whose.fmt(f),
            Keep::Ambiguous { entries } => write!(f, "listed {entries} times under one id or name"),
            Keep::Running => f.write_str("being made"),
            Keep::InUse { by } => write!(f, "in use: {by}"),
            Keep::Held { until: Some(until), reason } => write!(f, "held until {until}: {reason}"),
            Keep::Held { until: None, reason } => write!(f, "held: {reason}"),
            Keep::Undatable => f.write_str("the driver cannot tell its date"),
            Keep::FutureDated { ahead_ms } => write!(f, "dated {} ahead of now", coarse(*ahead_ms)),
            Keep::NewestGood => f.write_str("the newest good one"),
            Keep::Minimum { place, min_count } => {
                write!(f, "number {place} of the newest good ones, of which min_count keeps {min_count}")
            }
            Keep::YoungerThanMinAge { age_ms, min_age } => {
                write!(f, "younger than min_age {min_age} ({})", coarse(*age_ms))
            }
            Keep::Rules(holds) => {
                for (index, hold) in holds.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{hold}")?;
                }
                Ok(())
            }
            Keep::WithinCondition { age_ms, place } => {
                write!(f, "{} old and number {place} of the newest good ones", coarse(*age_ms))
            }
            Keep::Grace { since, until } => write!(f, "condemned since {since}, to go after its grace at {until}"),
            Keep::Rate { rate } => write!(f, "condemned, to go later: {rate} an hour go in this repository"),
            Keep::CreationFailing { missed } => {
                write!(f, "old, but creation has missed {missed} triggers in a row: nothing goes for its age")
            }
            Keep::Unlooked => {
                f.write_str("condemned by the first look since a restore or an upgrade, to go by the next")
            }
            Keep::Unplanned => f.write_str("condemned by a look after the plan of this run, and not by that plan"),
            Keep::NotApproved { plan } => write!(f, "condemned, but not by plan {plan} that was approved"),
            Keep::FailedButRecent { age_ms, until } => match until {
                Until::MaxAge(max_age) => {
                    write!(f, "not good, and not older than max_age {max_age} ({})", coarse(*age_ms))
                }
                Until::MinAge(min_age) => {
                    write!(f, "not good, and younger than min_age {min_age} ({})", coarse(*age_ms))
                }
                Until::Rule(hold) => write!(f, "not good, and no good one stands for its time ({hold})"),
                Until::NewerGood => f.write_str("not good, and no good one is newer"),
                Until::MaxCount { newer, max_count } => {
                    write!(f, "not good, and fewer good ones than max_count {max_count} are newer ({newer})")
                }
            },
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Place { every, place, count } => write!(f, "{} {place} of {count}", every.word()),
            Hold::Oldest { every, filled, count } => {
                write!(f, "oldest while {} has {filled} of {count}", every.word())
            }
            Hold::Within(span) => write!(f, "within {span}"),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Whose::Nobody => "not stamped by snapkeep",
            Whose::AnotherInstallation => "stamped by another installation",
            Whose::AnotherPolicy => "stamped for another policy",
            Whose::Contradictory => "stamped for this policy, but not by this installation",
        })
    }
}

impl fmt::Display for Condemn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condemn::Thinned => f.write_str("held by no keep rule"),
            Condemn::OlderThanMaxAge { age_ms, max_age } => {
                write!(f, "older than max_age {max_age} ({})", coarse(*age_ms))
            }
            Condemn::BeyondMaxCount { place, max_count } => {
                write!(f, "number {place} of the newest good ones, beyond max_count {max_count}")
            }
            Condemn::HeldBeyondMaxCount { place, max_count } => {
                write!(f, "number {place} of those that keep rules hold, beyond max_count {max_count}")
            }
            Condemn::FailedAndThinned => f.write_str("not good, and good ones stand for its time in every keep rule"),
            Condemn::FailedAndOld { age_ms, max_age } => {
                write!(f, "not good, older than max_age {max_age} ({}), and a good one is newer", coarse(*age_ms))
            }
            Condemn::FailedAndReplaced { newer, max_count } => {
                write!(f, "not good, and {newer} good ones are newer, of which max_count keeps {max_count}")
            }
        }
    }
}

/// Writes a span by its two largest units that are not zero: `8d4h`, and `7d1ms`, so that what is
/// just over a limit still looks it.
fn coarse(millis: i64) -> String {
    let full = format_millis(millis);
    let mut parts = 0;
    let mut was_digit = true;
    for (at, letter) in full.char_indices() {
        let is_digit = letter.is_ascii_digit();
        if is_digit && !was_digit {
            parts += 1;
            if parts == 2 {
                return full[..at].to_string();
            }
        }
        was_digit = is_digit;
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_by_its_two_largest_units() {
        for (millis, told) in [
            (0, "0s"),
            (1, "1ms"),
            (59_000, "59s"),
            (604_800_001, "7d1ms"),
            (705_600_000 + 61_001, "8d4h"),
            (3_600_000 * 30, "1d6h"),
        ] {
            assert_eq!(coarse(millis), told);
        }
    }
}
