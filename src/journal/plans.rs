//! Plans of deletion runs, and what people said of those that were held.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::change::{HeldPlan, PlanAnswer, PlanRecord};
use super::error::{ErrorKind, JournalError};
use super::load::{all, unsigned, value};
use super::{rows, sqlite};
use crate::lifecycle::plan::{self, Approval, Entry, Held, Plan};
use crate::lifecycle::retention::Verdict;
use crate::lifecycle::time::Timestamp;

/// Columns of a plan, in the order in which [`record`] reads them.
const COLUMNS: &str = "a.number, p.name, a.policy_uid, a.run_id, a.made_at, a.own, a.held, a.clock, a.entries, \
    a.answer, a.answered_at, a.answered_by, a.approved_run, \
    exists (select 1 from workflows w where w.policy_uid = a.policy_uid and w.kind = 'deletion' \
        and w.latest_plan = a.number)";

/// Writes a plan and returns whose it is.
pub(super) fn write(
    connection: &Connection,
    number: u64,
    run_id: &str,
    plan: &Plan,
    episode: Option<&str>,
) -> Result<String, JournalError> {
    let condemned = plan.entries.iter().filter(|entry| entry.verdict.is_condemned()).count();
    let held = if plan.is_held() { Some(rows::plan::write_held(&plan.held)?) } else { None };
    // A plan that has nothing to say is one line; there are many of those.
    let is_worth_keeping = held.is_some() || plan.entries.iter().any(|entry| is_news(&entry.verdict));
    let (entries, clock) = if is_worth_keeping {
        (Some(rows::plan::write_entries(&plan.entries)?), Some(rows::clock::write_sight(&plan.clock)?))
    } else {
        (None, None)
    };
    let sql = "select policy_uid from runs where run_id = ?1 and ended_at is null and kind = 'deletion'";
    let policy_uid: Option<String> =
        connection.prepare_cached(sql)?.query_row(params![run_id], |row| row.get(0)).optional()?;
    let Some(policy_uid) = policy_uid else {
        return Err(JournalError::new(ErrorKind::Conflict, format!("deletion run {run_id} is not under way")));
    };
    let sql = "insert into plans
            (number, run_id, policy_uid, made_at, own, condemned, held, clock, entries, episode)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    connection.prepare_cached(sql)?.execute(params![
        sqlite::integer(number)?,
        run_id,
        policy_uid,
        plan.made_at.millis(),
        plan.own,
        sqlite::integer(condemned as u64)?,
        held,
        clock,
        entries,
        episode.filter(|_| plan.is_held())
    ])?;
    Ok(policy_uid)
}

/// Whether a verdict is more than that all is as it was.
fn is_news(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Condemn(_) => true,
        Verdict::Keep(keep) => keep.is_spared(),
    }
}

/// Writes what a person said of a held plan. Nobody is asked twice.
pub(super) fn answer(connection: &Connection, answer: &PlanAnswer) -> Result<(), JournalError> {
    let PlanAnswer { number, run_id, who, at } = answer;
    let word = if run_id.is_some() { "approved" } else { "refused" };
    let sql = "update plans set answer = ?2, answered_at = ?3, answered_by = ?4, approved_run = ?5
        where number = ?1 and held is not null and answer is null";
    let rows =
        connection.prepare_cached(sql)?.execute(params![sqlite::integer(*number)?, word, at.millis(), who, run_id])?;
    sqlite::one(rows, || format!("plan {number} waits for no answer"))
}

/// Returns the highest number of a plan.
pub(super) fn latest_number(connection: &Connection) -> Result<u64, JournalError> {
    unsigned(value::<Option<i64>>(connection, "select max(number) from plans", [])?.flatten().unwrap_or(0))
}

/// Returns one plan.
pub(super) fn numbered(connection: &Connection, number: u64) -> Result<Option<PlanRecord>, JournalError> {
    // A number that no plan can have is nobody's.
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    let sql =
        format!("select {COLUMNS} from plans a join policies p on p.policy_uid = a.policy_uid where a.number = ?1");
    one_record(connection, &sql, params![number])
}

/// Returns the latest plan of a policy, by name; of the living one where a retired one had that name too.
pub(super) fn latest(connection: &Connection, policy: &str) -> Result<Option<PlanRecord>, JournalError> {
    let sql = format!(
        "select {COLUMNS} from policies p
            join workflows l on l.policy_uid = p.policy_uid and l.kind = 'deletion'
            join plans a on a.number = l.latest_plan
            where p.name = ?1 order by p.retired_at is not null, p.retired_at desc limit 1"
    );
    one_record(connection, &sql, params![policy])
}

/// Returns plans that were held, newest first.
pub(super) fn held(connection: &Connection, limit: usize) -> Result<Vec<PlanRecord>, JournalError> {
    let sql = format!(
        "select {COLUMNS} from plans a join policies p on p.policy_uid = a.policy_uid
            where a.held is not null order by a.number desc limit ?1"
    );
    all(connection, &sql, params![limit as i64], |row| record(connection, row))
}

fn one_record(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<PlanRecord>, JournalError> {
    Ok(all(connection, sql, parameters, |row| record(connection, row))?.pop())
}

/// Reads [`COLUMNS`].
fn record(connection: &Connection, row: &Row<'_>) -> Result<PlanRecord, JournalError> {
    let number = unsigned(row.get(0)?)?;
    let run_id: Box<str> = row.get(3)?;
    let made_at = Timestamp::from_millis(row.get(4)?);
    let held = row.get_ref(6)?.as_str_or_null()?.map(rows::plan::read_held).transpose()?;
    let entries = row.get_ref(8)?.as_str_or_null()?.map(rows::plan::read_entries).transpose()?;
    let plan = Plan {
        made_at,
        own: row.get(5)?,
        held: held.unwrap_or_default(),
        clock: rows::clock::read_sight(row.get_ref(7)?.as_str_or_null()?, made_at)?,
        entries: entries.unwrap_or_default(),
    };
    let answer = match row.get::<_, Option<i64>>(10)? {
        None => None,
        Some(at) => {
            Some(PlanAnswer { number, run_id: row.get(12)?, who: row.get(11)?, at: Timestamp::from_millis(at) })
        }
    };
    // What was approved is deleted by another run than the one that was held.
    let carried_out = answer.as_ref().and_then(|answer| answer.run_id.as_deref()).unwrap_or(&run_id);
    let sql = "select subject from audit where run_id = ?1 and what = 'delete'";
    let gone: Vec<Box<str>> = all(connection, sql, params![carried_out], |row| Ok(row.get(0)?))?;
    let gone: BTreeSet<Box<str>> = gone.into_iter().collect();
    let deleted = plan.entries.iter().map(|entry| &entry.target).filter(|target| gone.contains(&target.name));
    Ok(PlanRecord {
        number,
        policy: row.get(1)?,
        policy_uid: row.get(2)?,
        answer,
        is_latest: row.get::<_, i64>(13)? != 0,
        run_id,
        deleted: deleted.cloned().collect(),
        plan,
    })
}

/// Returns the latest plan of a policy, where it is held and nobody has answered.
pub(super) fn waiting(connection: &Connection, number: Option<i64>) -> Result<Option<HeldPlan>, JournalError> {
    let Some(number) = number else { return Ok(None) };
    let sql = "select number, made_at, held, clock, episode, entries from plans
        where number = ?1 and held is not null and answer is null";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![number])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let made_at = Timestamp::from_millis(row.get(1)?);
    let held = rows::plan::read_held(row.get_ref(2)?.as_str()?)?;
    Ok(Some(HeldPlan {
        number: unsigned(row.get(0)?)?,
        made: rows::clock::read_sight(row.get_ref(3)?.as_str_or_null()?, made_at)?.now,
        guards: held.iter().map(Held::guard).collect(),
        targets: rows::plan::read_entries(row.get_ref(5)?.as_str()?)?
            .into_iter()
            .filter(Entry::goes)
            .map(|entry| entry.target)
            .collect(),
        episode: row.get(4)?,
    }))
}

/// Returns what a run was approved to do.
pub(super) fn approval(connection: &Connection, run_id: &str) -> Result<Option<Approval>, JournalError> {
    let sql = format!(
        "select {COLUMNS} from plans a join policies p on p.policy_uid = a.policy_uid where a.approved_run = ?1"
    );
    let record = one_record(connection, &sql, params![run_id])?;
    Ok(record.map(|record| record.plan.approval(record.number)))
}

/// Returns since when each snapshot has been condemned, by the driver's identity, as the latest plan of a
/// policy that went ahead or was approved has it (G7).
pub(super) fn condemned_since(
    connection: &Connection,
    policy_uid: &str,
) -> Result<BTreeMap<Box<str>, Timestamp>, JournalError> {
    // One that was approved counts while that is carried out: the run makes a plan of its own, which goes on from it.
    let sql = "select a.made_at, a.entries from plans a
        where a.policy_uid = ?1 and (a.held is null
            or exists (select 1 from runs r where r.run_id = a.approved_run and r.ended_at is null))
        order by a.number desc limit 1";
    let read = |row: &Row<'_>| {
        let entries = row.get_ref(1)?.as_str_or_null()?.map(rows::plan::read_entries).transpose()?;
        Ok(entries.unwrap_or_default())
    };
    let entries = all(connection, sql, params![policy_uid], read)?.pop().unwrap_or_default();
    Ok(plan::condemned_since(&entries))
}
