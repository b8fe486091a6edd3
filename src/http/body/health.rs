//! How it is, for whoever watches.

use serde::{Deserialize, Serialize};

use super::Word;
use crate::lifecycle::health::Checkup;
use crate::lifecycle::time::Timestamp;

/// The answer of `/health`, `/health/live` and `/health/ready`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthBody {
    /// `ok`, `warning`, `unknown` or `critical`.
    pub status: Word,
    /// Why it is not `ok`, the gravest first.
    pub reasons: Vec<String>,
}

/// The answer of `/v1/health`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckupsBody {
    /// The daemon as a whole.
    pub daemon: HealthBody,
    /// The policies, by name.
    pub policies: Vec<CheckupBody>,
    /// Names that were asked for and are no policy's.
    pub unknown: Vec<String>,
    /// How many notices wait for a channel.
    pub notices_waiting: u64,
    /// How many were given up.
    pub notices_undeliverable: u64,
}

/// How a policy is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckupBody {
    /// Its name.
    pub name: Box<str>,
    /// `ok`, `warning`, `unknown` or `critical`.
    pub status: Word,
    /// Why it is not `ok`, the gravest first.
    pub reasons: Vec<String>,
    /// When its newest good snapshot was made.
    pub last_good: Option<i64>,
    /// How old that is, in milliseconds.
    pub age: Option<i64>,
    /// From which age on somebody should look, in milliseconds; null where it makes no snapshots.
    pub warning_after: Option<i64>,
    /// From which age on somebody has to, in milliseconds.
    pub critical_after: Option<i64>,
}

impl CheckupBody {
    /// Returns a policy's checkup as it is sent.
    pub fn of(name: &str, good_at: Option<Timestamp>, checkup: Checkup) -> CheckupBody {
        CheckupBody {
            name: name.into(),
            status: checkup.health.word().into(),
            reasons: checkup.reasons,
            last_good: good_at.map(Timestamp::millis),
            age: checkup.age_ms,
            warning_after: checkup.warning_ms,
            critical_after: checkup.critical_ms,
        }
    }
}
