//! What was counted since the journal began: it goes on rising when history is trimmed. Written with what it
//! counts, read by readers alone; nothing is decided by it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Row, params};

use super::change::{Kept, Skip, SkipReason};
use super::error::JournalError;
use super::load::{instant, unsigned};
use super::operations;
use super::record::OperationEnd;
use super::rows::{read_kind, read_outcome};
use super::sqlite::{integer, one};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Kind, Outcome};

/// What was counted of every living policy, and how large the journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By uid, creation first. Who has no line has never had a run or a skip.
    pub policies: BTreeMap<Box<str>, [WorkflowTotals; 2]>,
    /// Bytes of the journal's file.
    pub file_bytes: u64,
    /// Bytes of its log: what was committed and is not in the file yet, and room for more.
    pub log_bytes: u64,
    /// The latest verification of a snapshot that came to an end.
    pub verified: Option<OperationEnd>,
}

/// What was counted of a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkflowTotals {
    /// Settled runs, in the order of [`Outcome::ALL`].
    pub runs: [u64; 5],
    /// Triggers that were consumed without a run, in the order of [`SkipReason::ALL`].
    pub skipped: [u64; 4],
    /// Runs that failed or exceeded their time limit since the latest that succeeded.
    pub failures: u64,
    /// The latest settled run.
    pub latest: Option<LatestSettled>,
    /// When a run last succeeded.
    pub succeeded_at: Option<Timestamp>,
    /// What a deletion run last saw; `None` for creation.
    pub kept: Option<KeptTotals>,
}

/// The latest settled run of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestSettled {
    /// How it settled.
    pub outcome: Outcome,
    /// When it began.
    pub began_at: Timestamp,
    /// When it settled.
    pub ended_at: Timestamp,
}

/// Own snapshots, as a deletion run last saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptTotals {
    /// How many.
    pub count: u64,
    /// How much they hold, where the driver knows it of each.
    pub bytes: Option<u64>,
    /// When that was.
    pub at: Timestamp,
}

/// Counts a run that settles.
pub(super) fn count_run(
    connection: &Connection,
    policy_uid: &str,
    kind: Kind,
    outcome: Outcome,
    began_at: Timestamp,
    at: Timestamp,
) -> Result<(), JournalError> {
    let sql = "insert into totals (policy_uid, kind, succeeded, failed, time_limit_exceeded, held, cancelled, failures,
            latest_outcome, latest_began_at, latest_ended_at, succeeded_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?4 + ?5, ?8, ?9, ?10, case when ?3 then ?10 end)
        on conflict (policy_uid, kind) do update
        set succeeded = succeeded + ?3, failed = failed + ?4, time_limit_exceeded = time_limit_exceeded + ?5,
            held = held + ?6, cancelled = cancelled + ?7,
            failures = case when ?3 then 0 else failures + ?4 + ?5 end,
            latest_outcome = ?8, latest_began_at = ?9, latest_ended_at = ?10,
            succeeded_at = case when ?3 then ?10 else succeeded_at end";
    let [succeeded, failed, time_limit_exceeded, held, cancelled] = Outcome::ALL.map(|one| i64::from(one == outcome));
    let rows = connection.prepare_cached(sql)?.execute(params![
        policy_uid,
        kind.word(),
        succeeded,
        failed,
        time_limit_exceeded,
        held,
        cancelled,
        outcome.word(),
        began_at.millis(),
        at.millis()
    ])?;
    one(rows, || format!("a run of policy {policy_uid} could not be counted"))
}

/// Counts triggers that are consumed without a run.
pub(super) fn count_skip(connection: &Connection, skip: &Skip) -> Result<(), JournalError> {
    let Skip { policy_uid, kind, reason, count, .. } = skip;
    let sql = "insert into totals (policy_uid, kind, missed, overlap, watched, clock_moved_back)
        values (?1, ?2, ?3, ?4, ?5, ?6)
        on conflict (policy_uid, kind) do update
        set missed = missed + ?3, overlap = overlap + ?4, watched = watched + ?5,
            clock_moved_back = clock_moved_back + ?6";
    let count = integer(*count)?;
    let [missed, overlap, watched, moved_back] = SkipReason::ALL.map(|one| if one == *reason { count } else { 0 });
    let rows = connection.prepare_cached(sql)?.execute(params![
        policy_uid,
        kind.word(),
        missed,
        overlap,
        watched,
        moved_back
    ])?;
    one(rows, || format!("skips of policy {policy_uid} could not be counted"))
}

/// Notes how many snapshots of a policy there are.
pub(super) fn keep(connection: &Connection, kept: &Kept) -> Result<(), JournalError> {
    let Kept { policy_uid, count, bytes, at } = kept;
    let sql = "insert into totals (policy_uid, kind, own, own_bytes, listed_at)
        values (?1, 'deletion', ?2, ?3, ?4)
        on conflict (policy_uid, kind) do update
        set own = excluded.own, own_bytes = excluded.own_bytes, listed_at = excluded.listed_at";
    let bytes = bytes.map(integer).transpose()?;
    let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, count, bytes, at.millis()])?;
    one(rows, || format!("snapshots of policy {policy_uid} could not be counted"))
}

/// Reads what was counted of living policies, and how large the journal in `file` is.
pub(super) fn read(connection: &Connection, file: &Path) -> Result<Totals, JournalError> {
    let sql = "select t.policy_uid, t.kind, t.succeeded, t.failed, t.time_limit_exceeded, t.held, t.cancelled,
            t.missed, t.overlap, t.watched, t.clock_moved_back, t.failures,
            t.latest_outcome, t.latest_began_at, t.latest_ended_at, t.succeeded_at, t.own, t.own_bytes, t.listed_at
        from totals t join policies p on p.policy_uid = t.policy_uid where p.retired_at is null";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut policies: BTreeMap<Box<str>, [WorkflowTotals; 2]> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let [creation, deletion] = policies.entry(row.get(0)?).or_default();
        match read_kind(row.get_ref(1)?.as_str()?)? {
            Kind::Creation => *creation = workflow(row)?,
            Kind::Deletion => *deletion = workflow(row)?,
        }
    }
    let verified = operations::latest_verification(connection)?.and_then(|operation| operation.end);
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    // One that is not there is empty: SQLite makes it when there is something to write.
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(Totals { policies, file_bytes: bytes(file), log_bytes: bytes(Path::new(&log)), verified })
}

fn workflow(row: &Row<'_>) -> Result<WorkflowTotals, JournalError> {
    let count = |column: usize| unsigned(row.get(column)?);
    let latest = match (row.get_ref(12)?.as_str_or_null()?, instant(row, 13)?, instant(row, 14)?) {
        (Some(word), Some(began_at), Some(ended_at)) => {
            Some(LatestSettled { outcome: read_outcome(word)?, began_at, ended_at })
        }
        _ => None,
    };
    let kept = match (row.get::<_, Option<i64>>(16)?, instant(row, 18)?) {
        (Some(own), Some(at)) => {
            let bytes = row.get::<_, Option<i64>>(17)?.map(unsigned).transpose()?;
            Some(KeptTotals { count: unsigned(own)?, bytes, at })
        }
        _ => None,
    };
    Ok(WorkflowTotals {
        runs: [count(2)?, count(3)?, count(4)?, count(5)?, count(6)?],
        skipped: [count(7)?, count(8)?, count(9)?, count(10)?],
        failures: count(11)?,
        latest,
        succeeded_at: instant(row, 15)?,
        kept,
    })
}
