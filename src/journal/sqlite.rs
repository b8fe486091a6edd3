//! The statements that write. Each change is one or two of them, prepared once; the caller holds
//! the transaction.
//!
//! None of them returns rows of what it wrote: SQLite makes a table in memory and a second journal
//! for each of those, which costs as much as the writing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rusqlite::{CachedStatement, Connection, Row, Statement, params};

use super::change::{Adoption, Audit, Begun, Change, DocumentKind, GuardMemory, RequestKey, Settled, Skip, State};
use super::error::{ErrorKind, JournalError};
use super::rows::{self, StateRow};
use super::{age_locks, chain, edits, holds, load, notices, operations, plans, tokens, totals};
use crate::lifecycle::policy::Switch;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Kind, Outcome};

/// Makes all changes: beginnings first and as their rows lie, so that of many due at once each page is
/// written once, then the others in their order. What fails, fails the whole commit.
pub(super) fn apply(connection: &Connection, changes: &[Change]) -> Result<(), JournalError> {
    let mut latest = BTreeMap::new();
    let mut often = Often { begin: connection.prepare_cached(BEGIN)?, save: connection.prepare_cached(SAVE)? };
    let mut begun: Vec<&Begun> = changes.iter().filter_map(Change::begun).collect();
    begun.sort_by_key(|begun| (&begun.policy_uid, begun.kind));
    for begun in begun {
        let number = begin(connection, &mut often.begin, begun)?;
        latest.entry((Cow::Borrowed(&*begun.policy_uid), begun.kind)).or_insert_with(Latest::default).run =
            Some(number);
    }
    for change in changes {
        apply_one(connection, change, &mut often, &mut latest)?;
    }
    for ((policy_uid, kind), latest) in latest {
        point(connection, &policy_uid, kind, latest)?;
    }
    if let Some(seq_no) = changes.iter().rev().find_map(seq_no) {
        let sql = "update instance set next_seq_no = ?1 + 1";
        connection.prepare_cached(sql)?.execute([integer(seq_no)?])?;
    }
    Ok(())
}

/// Returns which of all writes to policies a change is, where it is one. They rise in a commit.
fn seq_no(change: &Change) -> Option<u64> {
    match change {
        Change::Adopt(Adoption { seq_no, .. }) | Change::Retire { seq_no, .. } | Change::Version { seq_no, .. } => {
            Some(*seq_no)
        }
        _ => None,
    }
}

/// What a turn does a thousand times where a thousand policies are due: each is looked up once a commit.
struct Often<'c> {
    begin: CachedStatement<'c>,
    save: CachedStatement<'c>,
}

const BEGIN: &str = "insert into runs
        (run_id, policy_uid, kind, trigger_at, cause, revision, began_at, snapshot, request_key)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const SAVE: &str = "update workflows
    set version = version + 1, mark = ?4, phase = ?5, run_id = ?6, step = ?7, revision = ?8, state = ?9,
        seen = coalesce(?10, seen), latest_run = coalesce(?11, latest_run),
        latest_good = coalesce(?12, latest_good), latest_plan = coalesce(?13, latest_plan)
    where policy_uid = ?1 and kind = ?2 and version = ?3";

/// What is latest of a workflow after this commit: numbers of rows it has written. They wait here
/// for the change that saves the same workflow, so that its row is written once.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    run: Option<i64>,
    good: Option<i64>,
    plan: Option<i64>,
}

/// By policy and workflow.
type Latests<'a> = BTreeMap<(Cow<'a, str>, Kind), Latest>;

fn apply_one<'a>(
    connection: &Connection,
    change: &'a Change,
    often: &mut Often<'_>,
    latest: &mut Latests<'a>,
) -> Result<(), JournalError> {
    match change {
        Change::Adopt(adoption) => adopt(connection, adoption),
        Change::Retire { policy_uid, at, seq_no } => {
            let sql = "update policies set retired_at = ?2, updated_at = ?2, version = version + 1, seq_no = ?3
                where policy_uid = ?1 and retired_at is null";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, at.millis(), integer(*seq_no)?])?;
            one(rows, || format!("policy {policy_uid} is not known as living"))
        }
        Change::Rename { policy_uid, name } => {
            let sql = "update policies set name = ?2 where policy_uid = ?1";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, name])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Switch { policy_uid, switch } => {
            let sql = "update policies set paused = ?2, started = ?3 where policy_uid = ?1";
            let (paused, started) = (*switch == Switch::Stopped, *switch == Switch::Started);
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, paused, started])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Version { policy_uid, seq_no, at, enabled } => {
            let sql = "update policies set version = version + 1, seq_no = ?2, updated_at = ?3,
                    enabled_at = case when ?4 then ?3 else enabled_at end
                where policy_uid = ?1";
            let seq_no = integer(*seq_no)?;
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, seq_no, at.millis(), enabled])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Answer { who, request, answer } => edits::answer(connection, who, request, answer),
        Change::Reply { who, request, reply, at } => edits::reply(connection, who, request, reply, *at),
        Change::Revise { policy_uid, revision } => {
            let sql = "update policies set revision = ?2 where policy_uid = ?1";
            let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, revision.0])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Save { policy_uid, version, state, seen } => {
            let latest = latest.remove(&(Cow::Borrowed(&**policy_uid), state.kind())).unwrap_or_default();
            save(&mut often.save, policy_uid, *version, state, *seen, latest)
        }
        // Before all others.
        Change::Begin(_) => Ok(()),
        Change::Settle(settled) => {
            if let Some((number, policy_uid, kind)) = settle(connection, settled)? {
                latest.entry((policy_uid.into(), kind)).or_default().good = Some(number);
            }
            Ok(())
        }
        Change::Skip(skip) => {
            write_skip(connection, skip)?;
            totals::count_skip(connection, skip)
        }
        Change::Kept(kept) => totals::keep(connection, kept),
        Change::Plan { number, run_id, plan, episode } => {
            let policy_uid = plans::write(connection, *number, run_id, plan, episode.as_deref())?;
            latest.entry((policy_uid.into(), Kind::Deletion)).or_default().plan = Some(integer(*number)?);
            Ok(())
        }
        Change::AnswerPlan(answer) => plans::answer(connection, answer),
        Change::Clock(trust) => {
            let sql =
                "insert into clock (one, state) values (1, ?1) on conflict (one) do update set state = excluded.state";
            connection.prepare_cached(sql)?.execute(params![rows::clock::write_trust(trust)?])?;
            Ok(())
        }
        Change::Guard { policy_uid, memory } => {
            let GuardMemory { former, cleared_at, braked, unlooked } = memory;
            let sql = "update workflows
                set former = ?2, cleared_at = ?3, braked_at = ?4, braked_own = ?5, unlooked = ?6
                where policy_uid = ?1 and kind = 'deletion'";
            let rows = connection.prepare_cached(sql)?.execute(params![
                policy_uid,
                former.as_ref().map(|revision| &revision.0),
                cleared_at.millis(),
                braked.map(|braked| braked.at.millis()),
                braked.map(|braked| braked.own),
                i64::from(*unlooked)
            ])?;
            one(rows, || format!("policy {policy_uid} is not known"))
        }
        Change::Audit(audit) => write_audit(connection, audit),
        Change::Owe(owed) => notices::owe(connection, owed),
        Change::Delivery(delivery) => notices::deliver(connection, delivery),
        Change::Resend { number, at } => notices::resend(connection, *number, *at),
        Change::Hurry { channel, at } => notices::hurry(connection, channel, *at),
        Change::Supersede { channel, policy_uid, at } => notices::supersede(connection, channel, policy_uid, *at),
        Change::Raise(alarm) => notices::raise(connection, alarm),
        Change::Clear { event, subject } => notices::clear(connection, *event, subject),
        Change::Document { kind, name, origin, text, at } => {
            write_document(connection, *kind, name, origin, text.as_deref(), *at)
        }
        Change::Terms { revision, text } => {
            // The revision is a hash of what the text was made from: the same one has the same text.
            let sql = "insert into terms (revision, text) values (?1, ?2) on conflict (revision) do nothing";
            connection.prepare_cached(sql)?.execute(params![revision.0, text])?;
            Ok(())
        }
        Change::LockAge { policy_uid, lock } => age_locks::write(connection, policy_uid, lock),
        Change::Hold(record) => holds::write(connection, record),
        Change::Release { repository, snapshot } => holds::remove(connection, repository, snapshot),
        Change::AddToken(record) => tokens::write(connection, record),
        Change::RemoveToken { id, at } => tokens::remove(connection, id, *at),
        Change::UseToken { id, at } => tokens::used(connection, id, *at),
        Change::BeginOperation(operation) => operations::begin(connection, operation),
        Change::EndOperation { number, end } => operations::end(connection, *number, end),
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
    let Adoption { policy_uid, name, revision, at, seq_no, creation, deletion } = adoption;
    let sql = "insert into policies
            (policy_uid, name, revision, paused, adopted_at, updated_at, enabled_at, seq_no)
        values (?1, ?2, ?3, 0, ?4, ?4, ?4, ?5)
        on conflict (policy_uid) do update
        set name = excluded.name, revision = excluded.revision, paused = 0, started = 0,
            adopted_at = excluded.adopted_at, updated_at = excluded.updated_at, enabled_at = excluded.enabled_at,
            version = version + 1, seq_no = excluded.seq_no, retired_at = null
        where policies.retired_at is not null";
    let rows = connection
        .prepare_cached(sql)?
        .execute(params![policy_uid, name, revision.0, at.millis(), integer(*seq_no)?])
        .map_err(|error| JournalError::from(error).doing(&format!("policy {name}")))?;
    one(rows, || format!("policy {policy_uid} is known and living"))?;
    for (kind, state) in
        [(Kind::Creation, rows::write_state(creation)?), (Kind::Deletion, rows::write_state(deletion)?)]
    {
        // A policy that is new has been looked at: there is nothing of it yet.
        let sql = "insert into workflows (policy_uid, kind, version, mark, phase, run_id, step, revision, state, seen)
            values (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, case ?2 when 'deletion' then 0 end)
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
    statement: &mut Statement<'_>,
    policy_uid: &str,
    version: u64,
    state: &State,
    seen: Option<u32>,
    latest: Latest,
) -> Result<(), JournalError> {
    let kind = state.kind();
    let row = match state {
        State::Creation(workflow) => rows::write_state(workflow)?,
        State::Deletion(workflow) => rows::write_state(workflow)?,
    };
    let StateRow { mark, phase, run_id, step, revision, state } = row;
    let rows = statement.execute(params![
        policy_uid,
        kind.word(),
        integer(version)?,
        mark,
        phase,
        run_id,
        step,
        revision,
        state,
        seen,
        latest.run,
        latest.good,
        latest.plan
    ])?;
    one(rows, || format!("version {version} of the {} workflow of policy {policy_uid} is gone", kind.word()))
}

/// For a workflow that is not saved in the same commit.
fn point(connection: &Connection, policy_uid: &str, kind: Kind, latest: Latest) -> Result<(), JournalError> {
    let sql = "update workflows
        set latest_run = coalesce(?3, latest_run), latest_good = coalesce(?4, latest_good),
            latest_plan = coalesce(?5, latest_plan)
        where policy_uid = ?1 and kind = ?2";
    let Latest { run, good, plan } = latest;
    let rows = connection.prepare_cached(sql)?.execute(params![policy_uid, kind.word(), run, good, plan])?;
    one(rows, || format!("policy {policy_uid} is not known"))
}

/// Returns the run's number.
fn begin(connection: &Connection, statement: &mut Statement<'_>, begun: &Begun) -> Result<i64, JournalError> {
    let Begun { run_id, policy_uid, kind, trigger, revision, at, snapshot, request_key } = begun;
    statement
        .execute(params![
            run_id,
            policy_uid,
            kind.word(),
            trigger.at.millis(),
            trigger.cause.word(),
            revision.0,
            at.wall.millis(),
            snapshot,
            request_key
        ])
        .map_err(|error| {
            let what = format!("run of {} of policy {policy_uid} for {}", kind.word(), trigger.at);
            JournalError::from(error).doing(&what)
        })?;
    Ok(connection.last_insert_rowid())
}

/// Returns the run's number and whose it is, where it is the latest good one from here on.
fn settle(connection: &Connection, settled: &Settled) -> Result<Option<(i64, String, Kind)>, JournalError> {
    let Settled { run_id, at, ending, attempts } = settled;
    let sql = "select number, policy_uid, kind, began_at from runs where run_id = ?1 and ended_at is null";
    let read = |row: &Row<'_>| {
        let began_at = Timestamp::from_millis(row.get(3)?);
        Ok((row.get(0)?, row.get::<_, String>(1)?, rows::read_kind(row.get_ref(2)?.as_str()?)?, began_at))
    };
    let Some((number, policy_uid, kind, began_at)) = load::all(connection, sql, params![run_id], read)?.pop() else {
        return Err(JournalError::new(ErrorKind::Conflict, format!("run {run_id} is not under way")));
    };
    let sql = "update runs set ended_at = ?2, outcome = ?3, message = ?4, blame = ?5, attempts = ?6 where number = ?1";
    let word = ending.outcome.word();
    connection.prepare_cached(sql)?.execute(params![
        number,
        at.millis(),
        word,
        ending.message,
        ending.cause,
        attempts
    ])?;
    totals::count_run(connection, &policy_uid, kind, ending.outcome, began_at, *at)?;
    Ok(match ending.outcome {
        Outcome::Succeeded => Some((number, policy_uid, kind)),
        Outcome::Failed | Outcome::TimeLimitExceeded | Outcome::Held | Outcome::Cancelled => None,
    })
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

fn write_audit(connection: &Connection, audit: &Audit) -> Result<(), JournalError> {
    let Audit { at, who, what, subject, detail, run_id, before, after, answer, request } = audit;
    let former = chain::latest(connection)?;
    let number = former.number + 1;
    let chain = chain::digest(former.chain.as_deref(), number, audit);
    let sql = "insert into audit
            (at, who, what, subject, detail, run_id, before, after, answer, request, fingerprint, number, chain)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
        on conflict (who, request) where request is not null do nothing";
    let (key, fingerprint) = match request {
        Some(RequestKey { key, fingerprint }) => (Some(key), Some(fingerprint)),
        None => (None, None),
    };
    connection.prepare_cached(sql)?.execute(params![
        at.millis(),
        who,
        what,
        subject,
        detail,
        run_id,
        before,
        after,
        answer,
        key,
        fingerprint,
        number,
        chain
    ])?;
    Ok(())
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
pub(super) fn one(rows: usize, what: impl FnOnce() -> String) -> Result<(), JournalError> {
    if rows == 1 { Ok(()) } else { Err(JournalError::new(ErrorKind::Conflict, what())) }
}

/// Counts as SQL has them.
pub(super) fn integer(count: u64) -> Result<i64, JournalError> {
    i64::try_from(count).map_err(|_| JournalError::new(ErrorKind::Other, format!("count {count} is too large")))
}
