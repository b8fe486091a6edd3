//! The statements that write. Each change is one or two of them, prepared once; the caller holds
//! the transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::change::{Adoption, Audit, Begun, Change, Delivered, Delivery, DocumentKind, Notice, Settled, Skip, State};
use super::error::{ErrorKind, JournalError};
use super::rows::{self, StateRow};
use crate::lifecycle::plan::Plan;
use crate::lifecycle::retention::Verdict;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Kind, Outcome};

/// Makes one change. Fails as a whole commit does.
pub(super) fn apply(connection: &Connection, change: &Change) -> Result<(), JournalError> {
    match change {
        Change::Adopt(adoption) => adopt(connection, adoption),
        Change::Retire { policy_uid, at } => {
            let sql = "update policies set retired_at = ?2 where policy_uid = ?1 and retired_at is null";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, at.millis()])?;
            one(rows, || format!("policy {policy_uid} is not known as living"))
        }
        Change::Rename { policy_uid, name } => {
            let sql = "update policies set name = ?2 where policy_uid = ?1";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, name])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Pause { policy_uid, paused } => {
            let sql = "update policies set paused = ?2 where policy_uid = ?1";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, i64::from(*paused)])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Revise { policy_uid, revision } => {
            let sql = "update policies set revision = ?2 where policy_uid = ?1";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, revision.0])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Save { policy_uid, version, state, seen } => save(connection, policy_uid, *version, state, *seen),
        Change::Begin(begun) => begin(connection, begun),
        Change::Settle(settled) => settle(connection, settled),
        Change::Skip(skip) => write_skip(connection, skip),
        Change::Plan { run_id, plan } => write_plan(connection, run_id, plan),
        Change::Audit(audit) => write_audit(connection, audit),
        Change::Notice(notice) => write_notice(connection, notice),
        Change::Delivery(delivery) => deliver(connection, delivery),
        Change::Document { kind, name, origin, text, at } => {
            write_document(connection, *kind, name, origin, text.as_deref(), *at)
        }
        Change::Terms { revision, text } => {
            // The revision is a hash of what the text was made from: the same one has the same text.
            let sql = "insert into terms (revision, text) values (?1, ?2) on conflict (revision) do nothing";
            connection.prepare_cached(sql)?.execute(params![revision.0, text])?;
            Ok(())
        }
        Change::Chore { job, at, trouble } => {
            let sql = "insert into chores (job, at, trouble) values (?1, ?2, ?3)
                on conflict (job) do update set at = excluded.at, trouble = excluded.trouble";
            connection.prepare_cached(sql)?.execute(params![job, at.millis(), trouble])?;
            Ok(())
        }
    }
}

/// Holds the writer to its epoch.
pub(super) fn guard(connection: &Connection, epoch: u64) -> Result<(), JournalError> {
    let sql = "select 1 from instance where epoch = ?1";
    let current = connection.prepare_cached(sql)?.exists(params![integer(epoch)?])?;
    one(usize::from(current), || format!("this process writes with epoch {epoch}, and a later one has taken over"))
}

/// A policy that is new; or one that says its own uid, was gone, and is back under its old identity.
/// A workflow of such a one that is still under way stays as it is.
fn adopt(connection: &Connection, adoption: &Adoption) -> Result<(), JournalError> {
    let Adoption { policy_uid, name, revision, at, creation, deletion } = adoption;
    let sql = "insert into policies (policy_uid, name, revision, paused, adopted_at) values (?1, ?2, ?3, 0, ?4)
        on conflict (policy_uid) do update
        set name = excluded.name, revision = excluded.revision, paused = 0, adopted_at = excluded.adopted_at,
            retired_at = null
        where policies.retired_at is not null";
    let rows = connection
        .prepare_cached(sql)?
        .execute(params![policy_uid, name, revision.0, at.millis()])
        .map_err(|error| JournalError::from(error).doing(&format!("policy {name}")))?;
    one(rows, || format!("policy {policy_uid} is known and living"))?;
    for (kind, state) in
        [(Kind::Creation, rows::write_state(creation)?), (Kind::Deletion, rows::write_state(deletion)?)]
    {
        let sql = "insert into workflows (policy_uid, kind, version, mark, phase, run_id, step, revision, state)
            values (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8)
            on conflict (policy_uid, kind) do update
            set version = 1, mark = excluded.mark, phase = excluded.phase, run_id = excluded.run_id,
                step = excluded.step, revision = excluded.revision, state = excluded.state
            where workflows.phase = 'waiting'";
        let StateRow { mark, phase, run_id, step, revision, state } = state;
        connection.prepare_cached(sql)?.execute(params![
            policy_uid,
            kind.word(),
            mark,
            phase,
            run_id,
            step,
            revision,
            state
        ])?;
    }
    Ok(())
}

fn save(
    connection: &Connection,
    policy_uid: &str,
    version: u64,
    state: &State,
    seen: Option<u32>,
) -> Result<(), JournalError> {
    let kind = state.kind();
    let row = match state {
        State::Creation(workflow) => rows::write_state(workflow)?,
        State::Deletion(workflow) => rows::write_state(workflow)?,
    };
    let sql = "update workflows
        set version = version + 1, mark = ?4, phase = ?5, run_id = ?6, step = ?7, revision = ?8, state = ?9,
            seen = coalesce(?10, seen)
        where policy_uid = ?1 and kind = ?2 and version = ?3";
    let StateRow { mark, phase, run_id, step, revision, state } = row;
    let rows = connection.prepare_cached(sql)?.execute(params![
        policy_uid,
        kind.word(),
        integer(version)?,
        mark,
        phase,
        run_id,
        step,
        revision,
        state,
        seen
    ])?;
    one(rows, || format!("version {version} of the {} workflow of policy {policy_uid} is gone", kind.word()))
}

fn begin(connection: &Connection, begun: &Begun) -> Result<(), JournalError> {
    let Begun { run_id, policy_uid, kind, trigger, revision, at, snapshot, request_key } = begun;
    let sql = "insert into runs
            (run_id, policy_uid, kind, trigger_at, cause, revision, began_at, snapshot, request_key)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) returning number";
    let number: i64 = connection
        .prepare_cached(sql)?
        .query_row(
            params![
                run_id,
                policy_uid,
                kind.word(),
                trigger.at.millis(),
                trigger.cause.word(),
                revision.0,
                at.wall.millis(),
                snapshot,
                request_key
            ],
            |row| row.get(0),
        )
        .map_err(|error| {
            let what = format!("run of {} of policy {policy_uid} for {}", kind.word(), trigger.at);
            JournalError::from(error).doing(&what)
        })?;
    let sql = "update workflows set latest_run = ?3 where policy_uid = ?1 and kind = ?2";
    let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, kind.word(), number])?;
    one(rows, || format!("policy {policy_uid} is not known"))
}

fn settle(connection: &Connection, settled: &Settled) -> Result<(), JournalError> {
    let Settled { run_id, at, ending, attempts } = settled;
    let sql = "update runs set ended_at = ?2, outcome = ?3, message = ?4, blame = ?5, attempts = ?6
        where run_id = ?1 and ended_at is null returning number, policy_uid, kind";
    let row: Option<(i64, String, String)> = connection
        .prepare_cached(sql)?
        .query_row(params![run_id, at.millis(), ending.outcome.word(), ending.message, ending.cause, attempts], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((number, policy_uid, kind)) = row else {
        return Err(JournalError::new(ErrorKind::Conflict, format!("run {run_id} is not under way")));
    };
    match ending.outcome {
        Outcome::Succeeded => {
            let sql = "update workflows set latest_good = ?3 where policy_uid = ?1 and kind = ?2";
            connection.prepare_cached(sql)?.execute(params![policy_uid, kind, number])?;
        }
        Outcome::Failed | Outcome::TimeLimitExceeded | Outcome::Held | Outcome::Cancelled => {}
    }
    Ok(())
}

fn write_skip(connection: &Connection, skip: &Skip) -> Result<(), JournalError> {
    let Skip { policy_uid, kind, reason, count, first, last, at } = skip;
    let sql = "insert into skips (policy_uid, kind, reason, count, first_at, last_at, at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute(params![
        policy_uid,
        kind.word(),
        reason.word(),
        integer(*count)?,
        first.millis(),
        last.millis(),
        at.millis()
    ])?;
    Ok(())
}

fn write_plan(connection: &Connection, run_id: &str, plan: &Plan) -> Result<(), JournalError> {
    let condemned = plan.entries.iter().filter(|entry| matches!(entry.verdict, Verdict::Condemn(_))).count();
    let held = plan.held.as_ref().map(rows::plan::write_held).transpose()?;
    // A plan that touches nothing is one line; there are many of those.
    let entries = if condemned > 0 || held.is_some() { Some(rows::plan::write_entries(&plan.entries)?) } else { None };
    let sql = "insert into plans (run_id, policy_uid, made_at, own, condemned, held, entries)
        select run_id, policy_uid, ?2, ?3, ?4, ?5, ?6 from runs where run_id = ?1 and kind = 'deletion'
        returning number, policy_uid";
    let condemned = integer(condemned as u64)?;
    let row: Option<(i64, String)> = connection
        .prepare_cached(sql)?
        .query_row(params![run_id, plan.made_at.millis(), plan.own, condemned, held, entries], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((number, policy_uid)) = row else {
        return Err(JournalError::new(ErrorKind::Conflict, format!("deletion run {run_id} is not known")));
    };
    let sql = "update workflows set latest_plan = ?2 where policy_uid = ?1 and kind = 'deletion'";
    connection.prepare_cached(sql)?.execute(params![policy_uid, number])?;
    Ok(())
}

fn write_audit(connection: &Connection, audit: &Audit) -> Result<(), JournalError> {
    let Audit { at, who, what, subject, detail, run_id } = audit;
    let sql = "insert into audit (at, who, what, subject, detail, run_id) values (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(sql)?.execute(params![at.millis(), who, what, subject, detail, run_id])?;
    Ok(())
}

fn write_notice(connection: &Connection, notice: &Notice) -> Result<(), JournalError> {
    let Notice { key, policy_uid, policy, run_id, event, channel, subject, body, at } = notice;
    let sql = "insert into notices
            (key, policy_uid, policy, run_id, event, channel, subject, body, at, state, attempts, due_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending', 0, ?9) on conflict (key) do nothing";
    connection.prepare_cached(sql)?.execute(params![
        key,
        policy_uid,
        policy,
        run_id,
        event,
        channel,
        subject,
        body,
        at.millis()
    ])?;
    Ok(())
}

/// What was delivered stays delivered; what was given up may be tried again.
fn deliver(connection: &Connection, delivery: &Delivery) -> Result<(), JournalError> {
    let Delivery { key, at, result } = delivery;
    let (state, attempts, due_at, settled_at, trouble) = match result {
        Delivered::Trying { again_at } => ("pending", 1, Some(again_at.millis()), None, None),
        Delivered::Done => ("delivered", 0, None, Some(at.millis()), None),
        Delivered::Again { at: again_at, trouble } => ("pending", 0, Some(again_at.millis()), None, Some(trouble)),
        Delivered::Undeliverable { trouble } => ("undeliverable", 0, None, Some(at.millis()), Some(trouble)),
    };
    // While a try is under way the trouble of the one before it is still the latest.
    let sql = "update notices
        set state = ?2, attempts = attempts + ?3, due_at = ?4, settled_at = ?5,
            trouble = case when ?2 = 'delivered' then null else coalesce(?6, trouble) end
        where key = ?1 and state <> 'delivered'";
    let rows = connection.prepare_cached(sql)?.execute(params![key, state, attempts, due_at, settled_at, trouble])?;
    if rows == 1 {
        return Ok(());
    }
    let known = connection.prepare_cached("select 1 from notices where key = ?1")?.exists(params![key])?;
    one(usize::from(known), || format!("notice {key} is not known"))
}

fn write_document(
    connection: &Connection,
    kind: DocumentKind,
    name: &str,
    origin: &str,
    text: Option<&str>,
    at: Timestamp,
) -> Result<(), JournalError> {
    match text {
        Some(text) => {
            let sql = "insert into documents (kind, name, origin, text, at) values (?1, ?2, ?3, ?4, ?5)
                on conflict (kind, name) do update
                set origin = excluded.origin, text = excluded.text, at = excluded.at";
            connection.prepare_cached(sql)?.execute(params![kind.word(), name, origin, text, at.millis()])?;
        }
        None => {
            let sql = "delete from documents where kind = ?1 and name = ?2";
            connection.prepare_cached(sql)?.execute(params![kind.word(), name])?;
        }
    }
    Ok(())
}

/// A change that had to meet exactly one row.
fn one(rows: usize, what: impl FnOnce() -> String) -> Result<(), JournalError> {
    if rows == 1 { Ok(()) } else { Err(JournalError::new(ErrorKind::Conflict, what())) }
}

/// Counts as SQL has them.
fn integer(count: u64) -> Result<i64, JournalError> {
    i64::try_from(count).map_err(|_| JournalError::new(ErrorKind::Other, format!("count {count} is too large")))
}
