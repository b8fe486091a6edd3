//! The statements that read: what the engine needs at start, and rows as records. Both the writer
//! and readers use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::change::{DocumentKind, GuardMemory, Loaded, LoadedPolicy, Returning, RunRecord, Skip};
use super::error::{ErrorKind, JournalError};
use super::record::Document;
use super::rows::{self, read_cause, read_document_kind, read_kind, read_outcome, read_reason};
use super::{age_locks, edits, holds, notices, operations, plans, tokens};
use crate::lifecycle::plan::Braked;
use crate::lifecycle::policy::{Revision, Switch};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::trust::Trust;
use crate::lifecycle::workflow::{Cause, Kind};

/// Columns of a run, in the order in which [`run`] reads them; `r` is the run, `p` its policy.
macro_rules! run_columns {
    () => {
        "r.run_id, p.name, r.policy_uid, r.kind, r.trigger_at, r.cause, r.began_at, \
         r.ended_at, r.outcome, r.message, r.blame, r.attempts, r.snapshot"
    };
}

/// The same for statements that are put together where they are used.
pub(super) const RUN_COLUMNS: &str = run_columns!();

/// Returns everything that is promised and not yet kept, but for the policies, which are shown one by
/// one. Costs as much as there are policies, however long the history is.
pub(super) fn load(
    connection: &Connection,
    machine_changed: bool,
    visit: &mut dyn FnMut(&Loaded, LoadedPolicy),
) -> Result<Loaded, JournalError> {
    // One look for all questions: nothing of a commit in between, and a lock taken once.
    let look = connection.unchecked_transaction()?;
    let sql = "select installation, epoch, next_seq_no, primary_term from instance";
    let (installation, epoch, next_seq_no, primary_term) =
        look.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let chores = all(&look, "select job, at, trouble from chores order by job", params![], |row| {
        Ok((row.get(0)?, Timestamp::from_millis(row.get(1)?), row.get(2)?))
    })?;
    let mut loaded = Loaded {
        installation,
        epoch: unsigned(epoch)?,
        machine_changed,
        latest_at: latest_at(&look)?,
        policies: Vec::new(),
        terms: terms(&look)?,
        chores,
        alarms: notices::alarms(&look)?,
        latest_plan: plans::latest_number(&look)?,
        clock: clock(&look)?,
        latest_operation: operations::latest_number(&look)?,
        holds: holds::read(&look)?,
        tokens: tokens::read(&look)?,
        age_locks: age_locks::read(&look)?,
        operations: operations::under_way(&look)?,
        maintenance: operations::latest_maintenance(&look)?,
        edits: edits::open(&look)?,
        next_seq_no: unsigned(next_seq_no)?,
        primary_term: unsigned(primary_term)?,
    };
    let mut latest = loaded.latest_at;
    each_policy(&look, &mut |policy| {
        // A run under way is its workflow's latest, and has no end yet that an index could tell.
        let began = [&policy.last_creation, &policy.last_deletion].into_iter().flatten().map(|run| run.began_at);
        latest = began.fold(latest, Timestamp::max);
        visit(&loaded, policy);
    })?;
    loaded.latest_at = latest;
    Ok(loaded)
}

/// Returns the same with the policies.
pub(super) fn whole(connection: &Connection, machine_changed: bool) -> Result<Loaded, JournalError> {
    let mut policies = Vec::new();
    let loaded = load(connection, machine_changed, &mut |_, policy| policies.push(policy))?;
    Ok(Loaded { policies, ..loaded })
}

/// The latest instant any settled row speaks of, told by the indexes.
fn latest_at(connection: &Connection) -> Result<Timestamp, JournalError> {
    let mut latest = Timestamp::EPOCH;
    for sql in [
        "select max(ended_at) from runs where ended_at is not null",
        "select max(at) from skips",
        "select max(made_at) from plans",
        "select max(at) from audit",
        "select max(settled_at) from notices where settled_at is not null",
        "select max(at) from notices where state = 'pending'",
        "select max(at) from documents",
        "select max(at) from chores",
        "select max(ended_at) from operations where ended_at is not null",
        "select max(adopted_at) from policies",
        "select max(retired_at) from policies",
    ] {
        let found: Option<i64> = value::<Option<i64>>(connection, sql, [])?.flatten();
        latest = latest.max(found.map_or(Timestamp::EPOCH, Timestamp::from_millis));
    }
    Ok(latest)
}

/// Returns what is known of the clock; nothing in a journal that is new.
fn clock(connection: &Connection) -> Result<Option<Trust>, JournalError> {
    let state: Option<String> = value(connection, "select state from clock", [])?;
    state.as_deref().map(rows::clock::read_trust).transpose()
}

/// Returns this installation.
pub(super) fn installation(connection: &Connection) -> Result<Box<str>, JournalError> {
    Ok(connection.query_row("select installation from instance", [], |row| row.get(0))?)
}

fn each_policy(connection: &Connection, visit: &mut dyn FnMut(LoadedPolicy)) -> Result<(), JournalError> {
    let sql = "select p.policy_uid, p.name, p.revision, p.paused, p.retired_at is not null,
            c.version, c.mark, c.phase, c.state, c.latest_run, c.latest_good,
            d.version, d.mark, d.phase, d.state, d.latest_run, d.seen,
            d.former, coalesce(d.cleared_at, p.adopted_at), d.braked_at, d.braked_own, d.unlooked, d.latest_plan, p.started, p.seq_no, p.adopted_at
        from policies p
        join workflows c on c.policy_uid = p.policy_uid and c.kind = 'creation'
        join workflows d on d.policy_uid = p.policy_uid and d.kind = 'deletion'
        where p.retired_at is null or c.phase <> 'waiting' or d.phase <> 'waiting'
        order by p.name, p.policy_uid";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let policy = policy(connection, row);
        visit(policy.map_err(|error| {
            let name = row.get::<_, String>(1).unwrap_or_default();
            error.doing(&format!("policy {name}"))
        })?);
    }
    Ok(())
}

fn policy(connection: &Connection, row: &Row<'_>) -> Result<LoadedPolicy, JournalError> {
    let policy_uid: Arc<str> = row.get(0)?;
    let (latest, good): (Option<i64>, Option<i64>) = (row.get(9)?, row.get(10)?);
    let last_creation = run_numbered(connection, latest)?;
    let last_deletion = run_numbered(connection, row.get(15)?)?;
    let mut skips = Vec::new();
    for (kind, last) in [(Kind::Creation, &last_creation), (Kind::Deletion, &last_deletion)] {
        skips.extend(skips_since(connection, &policy_uid, kind, last.as_ref().map(|run| run.began_at))?);
    }
    let approval = match last_deletion.as_ref().filter(|run| run.ended_at.is_none() && run.cause == Cause::Manual) {
        Some(run) => plans::approval(connection, &run.run_id)?,
        None => None,
    };
    Ok(LoadedPolicy {
        memory: guard_memory(row, 17)?,
        held: plans::waiting(connection, row.get(22)?)?,
        approval,
        name: row.get(1)?,
        revision: Revision(row.get(2)?),
        switch: match (row.get::<_, i64>(3)?, row.get::<_, i64>(23)?) {
            (0, 0) => Switch::AsWritten,
            (0, _) => Switch::Started,
            (_, _) => Switch::Stopped,
        },
        seq_no: unsigned(row.get(24)?)?,
        adopted_at: Timestamp::from_millis(row.get(25)?),
        retired: row.get::<_, i64>(4)? != 0,
        creation: (
            rows::read_state(row.get(6)?, row.get_ref(7)?.as_str()?, row.get_ref(8)?.as_str_or_null()?)?,
            unsigned(row.get(5)?)?,
        ),
        deletion: (
            rows::read_state(row.get(12)?, row.get_ref(13)?.as_str()?, row.get_ref(14)?.as_str_or_null()?)?,
            unsigned(row.get(11)?)?,
        ),
        seen: row.get(16)?,
        last_good: if good == latest { last_creation.clone() } else { run_numbered(connection, good)? },
        last_creation,
        last_deletion,
        skips,
        policy_uid,
    })
}

/// Reads former, cleared_at, braked_at, braked_own and unlooked from `column` on.
fn guard_memory(row: &Row<'_>, column: usize) -> Result<GuardMemory, JournalError> {
    let braked = instant(row, column + 2)?.zip(row.get::<_, Option<u32>>(column + 3)?);
    Ok(GuardMemory {
        former: row.get::<_, Option<Arc<str>>>(column)?.map(Revision),
        cleared_at: Timestamp::from_millis(row.get(column + 1)?),
        braked: braked.map(|(at, own)| Braked { at, own }),
        unlooked: row.get::<_, i64>(column + 4)? != 0,
    })
}

/// Returns what is known of a policy that was retired, by its uid.
pub(super) fn returning(connection: &Connection, policy_uid: &str) -> Result<Option<Returning>, JournalError> {
    let sql = "select p.revision, d.seen, d.former, coalesce(d.cleared_at, p.adopted_at), d.braked_at, d.braked_own, d.unlooked
        from policies p join workflows d on d.policy_uid = p.policy_uid and d.kind = 'deletion'
        where p.policy_uid = ?1 and p.retired_at is not null";
    let read = |row: &Row<'_>| {
        Ok(Returning { revision: Revision(row.get(0)?), seen: row.get(1)?, memory: guard_memory(row, 2)? })
    };
    Ok(all(connection, sql, params![policy_uid], read)?.pop())
}

/// Returns the text of a version, where it is still there.
pub(super) fn terms_of(connection: &Connection, revision: &Revision) -> Result<Option<Box<str>>, JournalError> {
    value(connection, "select text from terms where revision = ?1", params![revision.0])
}

/// Returns when snapshots were deleted after `since`, and whose they were.
pub(super) fn deletions_since(
    connection: &Connection,
    since: Timestamp,
) -> Result<Vec<(Arc<str>, Timestamp)>, JournalError> {
    // By the few runs of that time: runs that are over are found by their end, and not by their identity.
    let sql = "select r.policy_uid, a.at
        from (select run_id, policy_uid from runs where ended_at > ?1
            union all select run_id, policy_uid from runs where ended_at is null) r
        cross join audit a on a.run_id = r.run_id
        where a.at > ?1 and a.what = 'delete' order by a.at";
    all(connection, sql, params![since.millis()], |row| Ok((row.get(0)?, Timestamp::from_millis(row.get(1)?))))
}

fn run_numbered(connection: &Connection, number: Option<i64>) -> Result<Option<RunRecord>, JournalError> {
    let Some(number) = number else { return Ok(None) };
    // Asked up to three times a policy: no text is put together for it.
    let sql = concat!(
        "select ",
        run_columns!(),
        " from runs r join policies p on p.policy_uid = r.policy_uid where r.number = ?1"
    );
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![number])?;
    rows.next()?.map(run).transpose()
}

/// The latest record of each reason with the sum of all counts. A skip that was recorded together
/// with the beginning of a run belongs to that run: it says what the run makes up for.
fn skips_since(
    connection: &Connection,
    policy_uid: &str,
    kind: Kind,
    since: Option<Timestamp>,
) -> Result<Vec<Skip>, JournalError> {
    let sql = "select policy_uid, kind, reason, count, first_at, last_at, at from skips
        where policy_uid = ?1 and kind = ?2 and at >= ?3 order by number";
    let mut statement = connection.prepare_cached(sql)?;
    let since = since.map_or(i64::MIN, Timestamp::millis);
    let mut rows = statement.query(params![policy_uid, kind.word(), since])?;
    let mut latest: BTreeMap<_, Skip> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let mut skip = skip(row)?;
        skip.count += latest.get(&skip.reason).map_or(0, |earlier| earlier.count);
        latest.insert(skip.reason, skip);
    }
    Ok(latest.into_values().collect())
}

fn terms(connection: &Connection) -> Result<BTreeMap<Revision, Box<str>>, JournalError> {
    let sql = "select t.revision, t.text from terms t
        where t.revision in (select revision from workflows where revision is not null)
            or t.revision in (select former from workflows where former is not null) order by t.revision";
    Ok(all(connection, sql, params![], |row| Ok((Revision(row.get(0)?), row.get(1)?)))?.into_iter().collect())
}

/// Returns the run that was begun for a client's key.
pub(super) fn run_of_request(connection: &Connection, key: &str) -> Result<Option<RunRecord>, JournalError> {
    let sql = format!(
        "select {RUN_COLUMNS} from runs r join policies p on p.policy_uid = r.policy_uid where r.request_key = ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![key])?;
    rows.next()?.map(run).transpose()
}

/// Returns the last good text of one file.
pub(super) fn document(
    connection: &Connection,
    kind: DocumentKind,
    name: &str,
) -> Result<Option<Document>, JournalError> {
    let sql = "select kind, name, origin, text, at from documents where kind = ?1 and name = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![kind.word(), name])?;
    rows.next()?.map(read_document).transpose()
}

/// Shows the last good text of every file.
pub(super) fn each_document(connection: &Connection, visit: &mut dyn FnMut(Document)) -> Result<(), JournalError> {
    let sql = "select kind, name, origin, text, at from documents order by kind, name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(read_document(row)?);
    }
    Ok(())
}

/// Returns every row of a question.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, JournalError>,
) -> Result<Vec<T>, JournalError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(read(row)?);
    }
    Ok(records)
}

/// Returns one value, where there is one.
pub(super) fn value<T: rusqlite::types::FromSql>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<T>, JournalError> {
    Ok(connection.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()?)
}

/// Reads [`RUN_COLUMNS`].
pub(super) fn run(row: &Row<'_>) -> Result<RunRecord, JournalError> {
    Ok(RunRecord {
        run_id: row.get(0)?,
        policy: row.get(1)?,
        policy_uid: row.get(2)?,
        kind: read_kind(row.get_ref(3)?.as_str()?)?,
        trigger_at: Timestamp::from_millis(row.get(4)?),
        cause: read_cause(row.get_ref(5)?.as_str()?)?,
        began_at: Timestamp::from_millis(row.get(6)?),
        ended_at: instant(row, 7)?,
        outcome: row.get_ref(8)?.as_str_or_null()?.map(read_outcome).transpose()?,
        message: row.get(9)?,
        blame: row.get(10)?,
        attempts: row.get(11)?,
        snapshot: row.get(12)?,
    })
}

/// Reads policy_uid, kind, reason, count, first_at, last_at, at.
pub(super) fn skip(row: &Row<'_>) -> Result<Skip, JournalError> {
    Ok(Skip {
        policy_uid: row.get(0)?,
        kind: read_kind(row.get_ref(1)?.as_str()?)?,
        reason: read_reason(row.get_ref(2)?.as_str()?)?,
        count: unsigned(row.get(3)?)?,
        first: Timestamp::from_millis(row.get(4)?),
        last: Timestamp::from_millis(row.get(5)?),
        at: Timestamp::from_millis(row.get(6)?),
    })
}

fn read_document(row: &Row<'_>) -> Result<Document, JournalError> {
    Ok(Document {
        kind: read_document_kind(row.get_ref(0)?.as_str()?)?,
        name: row.get(1)?,
        origin: row.get(2)?,
        text: row.get(3)?,
        at: Timestamp::from_millis(row.get(4)?),
    })
}

pub(super) fn instant(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, JournalError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// Counts as the rest of the program has them.
pub(super) fn unsigned(count: i64) -> Result<u64, JournalError> {
    u64::try_from(count).map_err(|_| JournalError::new(ErrorKind::Corrupt, format!("stored count {count} is negative")))
}

/// Whether a run of this trigger is there.
pub(super) fn is_consumed(
    connection: &Connection,
    policy_uid: &str,
    kind: Kind,
    at: Timestamp,
) -> Result<bool, JournalError> {
    let sql = "select 1 from runs where policy_uid = ?1 and kind = ?2 and trigger_at = ?3";
    Ok(connection.prepare_cached(sql)?.exists(rusqlite::params![policy_uid, kind.word(), at.millis()])?)
}
