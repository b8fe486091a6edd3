//! The stored form of verdicts.

use serde::{Deserialize, Serialize};

use crate::lifecycle::keep_rules::Every;
use crate::lifecycle::retention::{Condemn, Hold, Keep, Until, Verdict, Whose};
use crate::lifecycle::time::{Span, Timestamp};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum VerdictRow {
    Keep(KeepRow),
    Condemn(CondemnRow),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeepRow {
    Foreign(WhoseRow),
    Ambiguous { entries: u32 },
    Running,
    InUse { by: String },
    Held { until: Option<i64>, reason: String },
    Undatable,
    FutureDated { ahead_ms: i64 },
    NewestGood,
    Minimum { place: u32, min_count: u32 },
    YoungerThanMinAge { age_ms: i64, min_age: String },
    Rules(Vec<HoldRow>),
    WithinCondition { age_ms: i64, place: u32 },
    Grace { since: i64, until: i64 },
    Rate { rate: u32 },
    CreationFailing { missed: u64 },
    Unlooked,
    Unplanned,
    NotApproved { plan: u64 },
    FailedButRecent { age_ms: i64, until: UntilRow },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhoseRow {
    Nobody,
    AnotherInstallation,
    AnotherPolicy,
    Contradictory,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HoldRow {
    Place { every: EveryRow, place: u32, count: u32 },
    Oldest { every: EveryRow, filled: u32, count: u32 },
    Within(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EveryRow {
    Snapshot,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UntilRow {
    MinAge(String),
    Rule(HoldRow),
    MaxAge(String),
    NewerGood,
    MaxCount { newer: u32, max_count: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CondemnRow {
    Thinned,
    OlderThanMaxAge { age_ms: i64, max_age: String },
    BeyondMaxCount { place: u32, max_count: u32 },
    HeldBeyondMaxCount { place: u32, max_count: u32 },
    FailedAndThinned,
    FailedAndOld { age_ms: i64, max_age: String },
    FailedAndReplaced { newer: u32, max_count: u32 },
}

/// Returns the stored form.
pub(super) fn write(verdict: &Verdict) -> VerdictRow {
    match verdict {
        Verdict::Keep(keep) => VerdictRow::Keep(match keep {
            Keep::Foreign(whose) => KeepRow::Foreign(match whose {
                Whose::Nobody => WhoseRow::Nobody,
                Whose::AnotherInstallation => WhoseRow::AnotherInstallation,
                Whose::AnotherPolicy => WhoseRow::AnotherPolicy,
                Whose::Contradictory => WhoseRow::Contradictory,
            }),
            Keep::Ambiguous { entries } => KeepRow::Ambiguous { entries: *entries },
            Keep::Running => KeepRow::Running,
            Keep::InUse { by } => KeepRow::InUse { by: by.clone() },
            Keep::Held { until, reason } => {
                KeepRow::Held { until: until.map(Timestamp::millis), reason: reason.clone() }
            }
            Keep::Undatable => KeepRow::Undatable,
            Keep::FutureDated { ahead_ms } => KeepRow::FutureDated { ahead_ms: *ahead_ms },
            Keep::NewestGood => KeepRow::NewestGood,
            Keep::Minimum { place, min_count } => KeepRow::Minimum { place: *place, min_count: *min_count },
            Keep::YoungerThanMinAge { age_ms, min_age } => {
                KeepRow::YoungerThanMinAge { age_ms: *age_ms, min_age: min_age.written().to_string() }
            }
            Keep::Rules(holds) => KeepRow::Rules(holds.iter().map(write_hold).collect()),
            Keep::WithinCondition { age_ms, place } => KeepRow::WithinCondition { age_ms: *age_ms, place: *place },
            Keep::Grace { since, until } => KeepRow::Grace { since: since.millis(), until: until.millis() },
            Keep::Rate { rate } => KeepRow::Rate { rate: *rate },
            Keep::CreationFailing { missed } => KeepRow::CreationFailing { missed: *missed },
            Keep::Unlooked => KeepRow::Unlooked,
            Keep::Unplanned => KeepRow::Unplanned,
            Keep::NotApproved { plan } => KeepRow::NotApproved { plan: *plan },
            Keep::FailedButRecent { age_ms, until } => KeepRow::FailedButRecent {
                age_ms: *age_ms,
                until: match until {
                    Until::MinAge(min_age) => UntilRow::MinAge(min_age.written().to_string()),
                    Until::Rule(hold) => UntilRow::Rule(write_hold(hold)),
                    Until::MaxAge(max_age) => UntilRow::MaxAge(max_age.written().to_string()),
                    Until::NewerGood => UntilRow::NewerGood,
                    Until::MaxCount { newer, max_count } => UntilRow::MaxCount { newer: *newer, max_count: *max_count },
                },
            },
        }),
        Verdict::Condemn(condemn) => VerdictRow::Condemn(match condemn {
            Condemn::Thinned => CondemnRow::Thinned,
            Condemn::OlderThanMaxAge { age_ms, max_age } => {
                CondemnRow::OlderThanMaxAge { age_ms: *age_ms, max_age: max_age.written().to_string() }
            }
            Condemn::BeyondMaxCount { place, max_count } => {
                CondemnRow::BeyondMaxCount { place: *place, max_count: *max_count }
            }
            Condemn::HeldBeyondMaxCount { place, max_count } => {
                CondemnRow::HeldBeyondMaxCount { place: *place, max_count: *max_count }
            }
            Condemn::FailedAndThinned => CondemnRow::FailedAndThinned,
            Condemn::FailedAndOld { age_ms, max_age } => {
                CondemnRow::FailedAndOld { age_ms: *age_ms, max_age: max_age.written().to_string() }
            }
            Condemn::FailedAndReplaced { newer, max_count } => {
                CondemnRow::FailedAndReplaced { newer: *newer, max_count: *max_count }
            }
        }),
    }
}

fn write_hold(hold: &Hold) -> HoldRow {
    match hold {
        Hold::Place { every, place, count } => {
            HoldRow::Place { every: write_every(*every), place: *place, count: *count }
        }
        Hold::Oldest { every, filled, count } => {
            HoldRow::Oldest { every: write_every(*every), filled: *filled, count: *count }
        }
        Hold::Within(span) => HoldRow::Within(span.written().to_string()),
    }
}

fn read_hold(row: HoldRow) -> Option<Hold> {
    Some(match row {
        HoldRow::Place { every, place, count } => Hold::Place { every: read_every(every), place, count },
        HoldRow::Oldest { every, filled, count } => Hold::Oldest { every: read_every(every), filled, count },
        HoldRow::Within(written) => Hold::Within(Span::parse(&written).ok()?),
    })
}

fn write_every(every: Every) -> EveryRow {
    match every {
        Every::Snapshot => EveryRow::Snapshot,
        Every::Hour => EveryRow::Hour,
        Every::Day => EveryRow::Day,
        Every::Week => EveryRow::Week,
        Every::Month => EveryRow::Month,
        Every::Quarter => EveryRow::Quarter,
        Every::Year => EveryRow::Year,
    }
}

fn read_every(row: EveryRow) -> Every {
    match row {
        EveryRow::Snapshot => Every::Snapshot,
        EveryRow::Hour => Every::Hour,
        EveryRow::Day => Every::Day,
        EveryRow::Week => Every::Week,
        EveryRow::Month => Every::Month,
        EveryRow::Quarter => Every::Quarter,
        EveryRow::Year => Every::Year,
    }
}

/// Returns the verdict of a stored form, `None` when a span in it cannot be read.
pub(super) fn read(row: VerdictRow) -> Option<Verdict> {
    let span = |written: String| Span::parse(&written).ok();
    Some(match row {
        VerdictRow::Keep(keep) => Verdict::Keep(match keep {
            KeepRow::Foreign(whose) => Keep::Foreign(match whose {
                WhoseRow::Nobody => Whose::Nobody,
                WhoseRow::AnotherInstallation => Whose::AnotherInstallation,
                WhoseRow::AnotherPolicy => Whose::AnotherPolicy,
                WhoseRow::Contradictory => Whose::Contradictory,
            }),
            KeepRow::Ambiguous { entries } => Keep::Ambiguous { entries },
            KeepRow::Running => Keep::Running,
            KeepRow::InUse { by } => Keep::InUse { by },
            KeepRow::Held { until, reason } => Keep::Held { until: until.map(Timestamp::from_millis), reason },
            KeepRow::Undatable => Keep::Undatable,
            KeepRow::FutureDated { ahead_ms } => Keep::FutureDated { ahead_ms },
            KeepRow::NewestGood => Keep::NewestGood,
            KeepRow::Minimum { place, min_count } => Keep::Minimum { place, min_count },
            KeepRow::YoungerThanMinAge { age_ms, min_age } => {
                Keep::YoungerThanMinAge { age_ms, min_age: span(min_age)? }
            }
            KeepRow::Rules(holds) => Keep::Rules(holds.into_iter().map(read_hold).collect::<Option<_>>()?),
            KeepRow::WithinCondition { age_ms, place } => Keep::WithinCondition { age_ms, place },
            KeepRow::Grace { since, until } => {
                Keep::Grace { since: Timestamp::from_millis(since), until: Timestamp::from_millis(until) }
            }
            KeepRow::Rate { rate } => Keep::Rate { rate },
            KeepRow::CreationFailing { missed } => Keep::CreationFailing { missed },
            KeepRow::Unlooked => Keep::Unlooked,
            KeepRow::Unplanned => Keep::Unplanned,
            KeepRow::NotApproved { plan } => Keep::NotApproved { plan },
            KeepRow::FailedButRecent { age_ms, until } => Keep::FailedButRecent {
                age_ms,
                until: match until {
                    UntilRow::MinAge(min_age) => Until::MinAge(span(min_age)?),
                    UntilRow::Rule(hold) => Until::Rule(Box::new(read_hold(hold)?)),
                    UntilRow::MaxAge(max_age) => Until::MaxAge(span(max_age)?),
                    UntilRow::NewerGood => Until::NewerGood,
                    UntilRow::MaxCount { newer, max_count } => Until::MaxCount { newer, max_count },
                },
            },
        }),
        VerdictRow::Condemn(condemn) => Verdict::Condemn(match condemn {
            CondemnRow::Thinned => Condemn::Thinned,
            CondemnRow::OlderThanMaxAge { age_ms, max_age } => {
                Condemn::OlderThanMaxAge { age_ms, max_age: span(max_age)? }
            }
            CondemnRow::BeyondMaxCount { place, max_count } => Condemn::BeyondMaxCount { place, max_count },
            CondemnRow::HeldBeyondMaxCount { place, max_count } => Condemn::HeldBeyondMaxCount { place, max_count },
            CondemnRow::FailedAndThinned => Condemn::FailedAndThinned,
            CondemnRow::FailedAndOld { age_ms, max_age } => Condemn::FailedAndOld { age_ms, max_age: span(max_age)? },
            CondemnRow::FailedAndReplaced { newer, max_count } => Condemn::FailedAndReplaced { newer, max_count },
        }),
    })
}
