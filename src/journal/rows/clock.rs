//! The stored form of what is known of the clock.

use serde::{Deserialize, Serialize};

use super::{FORM, MomentRow, check_form, read, write};
use crate::journal::error::JournalError;
use crate::lifecycle::plan::Sight;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::trust::{Doubt, DoubtCause, Trust};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustRow {
    form: u32,
    believed: MomentRow,
    anchor_ms: i64,
    anchor_synchronised: bool,
    doubt: Option<DoubtRow>,
    wrong_until: i64,
    /// Not in what earlier versions wrote.
    #[serde(default)]
    reached: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DoubtRow {
    cause: CauseRow,
    since: MomentRow,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CauseRow {
    Stepped { by_ms: i64 },
    WentBack { from: i64, to: i64 },
    Gap { from: i64, to: i64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SightRow {
    now: MomentRow,
    trust: TrustRow,
    synchronised: bool,
}

/// Returns the stored form of what is known of the clock.
pub(in crate::journal) fn write_trust(trust: &Trust) -> Result<String, JournalError> {
    write(&TrustRow::from(trust))
}

/// Returns what was known of the clock.
pub(in crate::journal) fn read_trust(text: &str) -> Result<Trust, JournalError> {
    let row: TrustRow = read(text)?;
    check_form(row.form)?;
    Ok(row.into())
}

/// Returns the stored form of a look at the clocks.
pub(in crate::journal) fn write_sight(sight: &Sight) -> Result<String, JournalError> {
    write(&SightRow { now: sight.now.into(), trust: (&sight.trust).into(), synchronised: sight.synchronised })
}

/// Returns the look that was stored; of a plan of an earlier schema only its time is known.
pub(in crate::journal) fn read_sight(text: Option<&str>, made_at: Timestamp) -> Result<Sight, JournalError> {
    let Some(text) = text else {
        let now = Moment { wall: made_at, boot: 0, uptime: 0 };
        return Ok(Sight { now, trust: Trust::first(now, false), synchronised: false });
    };
    let row: SightRow = read(text)?;
    check_form(row.trust.form)?;
    Ok(Sight { now: row.now.into(), trust: row.trust.into(), synchronised: row.synchronised })
}

impl From<&Trust> for TrustRow {
    fn from(trust: &Trust) -> TrustRow {
        TrustRow {
            form: FORM,
            believed: trust.believed.into(),
            anchor_ms: trust.anchor_ms,
            anchor_synchronised: trust.anchor_synchronised,
            doubt: trust.doubt.map(DoubtRow::from),
            wrong_until: trust.wrong_until.millis(),
            reached: Some(trust.reached.millis()),
        }
    }
}

impl From<TrustRow> for Trust {
    fn from(row: TrustRow) -> Trust {
        // How far time had come nobody wrote down then: as far as the clock was last believed.
        let reached = row.reached.unwrap_or(row.believed.wall);
        Trust {
            believed: row.believed.into(),
            anchor_ms: row.anchor_ms,
            anchor_synchronised: row.anchor_synchronised,
            doubt: row.doubt.map(Doubt::from),
            wrong_until: Timestamp::from_millis(row.wrong_until),
            reached: Timestamp::from_millis(reached),
        }
    }
}

impl From<Doubt> for DoubtRow {
    fn from(doubt: Doubt) -> DoubtRow {
        let cause = match doubt.cause {
            DoubtCause::Stepped { by_ms } => CauseRow::Stepped { by_ms },
            DoubtCause::WentBack { from, to } => CauseRow::WentBack { from: from.millis(), to: to.millis() },
            DoubtCause::Gap { from, to } => CauseRow::Gap { from: from.millis(), to: to.millis() },
        };
        DoubtRow { cause, since: doubt.since.into() }
    }
}

impl From<DoubtRow> for Doubt {
    fn from(row: DoubtRow) -> Doubt {
        let at = Timestamp::from_millis;
        let cause = match row.cause {
            CauseRow::Stepped { by_ms } => DoubtCause::Stepped { by_ms },
            CauseRow::WentBack { from, to } => DoubtCause::WentBack { from: at(from), to: at(to) },
            CauseRow::Gap { from, to } => DoubtCause::Gap { from: at(from), to: at(to) },
        };
        Doubt { cause, since: row.since.into() }
    }
}
