//! The stored form of plans.

use serde::{Deserialize, Serialize};

use super::clock::DoubtRow;
use super::verdict::{self, VerdictRow};
use super::{FORM, TargetRow, check_form, pick, read, unknown, write};
use crate::journal::error::JournalError;
use crate::lifecycle::plan::{Entry, Held};
use crate::lifecycle::retention::Verdict;
use crate::lifecycle::snapshot::Status;
use crate::lifecycle::time::Timestamp;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesRow {
    form: u32,
    entries: Vec<EntryRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryRow {
    target: TargetRow,
    status: Box<str>,
    verdict: VerdictRow,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HeldRow {
    Clock(DoubtRow),
    Ahead { snapshot: Box<str>, taken_at: i64, ahead_ms: i64 },
    ListingShrank { before: u32, now: u32 },
    Edit { newly: u32, limit: u32 },
    Brake { condemned: u32, own: u32, made: u32, limit: u32 },
}

/// Returns the stored form of a plan's lines.
pub(in crate::journal) fn write_entries(entries: &[Entry]) -> Result<String, JournalError> {
    let row = |entry: &Entry| EntryRow {
        target: (&entry.target).into(),
        status: entry.status.word().into(),
        verdict: verdict::write(&entry.verdict),
    };
    write(&EntriesRow { form: FORM, entries: entries.iter().map(row).collect() })
}

/// Returns a plan's lines that were stored.
pub(in crate::journal) fn read_entries(text: &str) -> Result<Vec<Entry>, JournalError> {
    let rows: EntriesRow = read(text)?;
    check_form(rows.form)?;
    let entry = |row: EntryRow| {
        let status = [Status::Running, Status::Good, Status::Partial, Status::Failed];
        Ok(Entry {
            target: row.target.into(),
            status: pick("status", &row.status, &status, |status| status.word())?,
            verdict: read_verdict(row.verdict)?,
        })
    };
    rows.entries.into_iter().map(entry).collect()
}

/// Returns the stored form of what holds a plan.
pub(in crate::journal) fn write_held(held: &[Held]) -> Result<String, JournalError> {
    let row = |held: &Held| match held {
        Held::Clock(doubt) => HeldRow::Clock((*doubt).into()),
        Held::Ahead { snapshot, taken_at, ahead_ms } => {
            HeldRow::Ahead { snapshot: snapshot.clone(), taken_at: taken_at.millis(), ahead_ms: *ahead_ms }
        }
        Held::ListingShrank { before, now } => HeldRow::ListingShrank { before: *before, now: *now },
        Held::Edit { newly, limit } => HeldRow::Edit { newly: *newly, limit: *limit },
        Held::Brake { condemned, own, made, limit } => {
            HeldRow::Brake { condemned: *condemned, own: *own, made: *made, limit: *limit }
        }
    };
    write(&held.iter().map(row).collect::<Vec<_>>())
}

/// Returns what holds a plan.
pub(in crate::journal) fn read_held(text: &str) -> Result<Vec<Held>, JournalError> {
    let rows: Vec<HeldRow> = read(text)?;
    let held = |row: HeldRow| match row {
        HeldRow::Clock(doubt) => Held::Clock(doubt.into()),
        HeldRow::Ahead { snapshot, taken_at, ahead_ms } => {
            Held::Ahead { snapshot, taken_at: Timestamp::from_millis(taken_at), ahead_ms }
        }
        HeldRow::ListingShrank { before, now } => Held::ListingShrank { before, now },
        HeldRow::Edit { newly, limit } => Held::Edit { newly, limit },
        HeldRow::Brake { condemned, own, made, limit } => Held::Brake { condemned, own, made, limit },
    };
    Ok(rows.into_iter().map(held).collect())
}

fn read_verdict(row: VerdictRow) -> Result<Verdict, JournalError> {
    verdict::read(row).ok_or_else(|| unknown("verdict", "with a span that means nothing"))
}
