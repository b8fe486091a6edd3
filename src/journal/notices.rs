//! The outbox: what is owed to channels, what became of it, and what goes on that they were told of.
//!
//! A row is written with the fact it tells of and is never dropped: it ends delivered, visibly undeliverable, or
//! superseded by what came after it. Where much waits, or must wait anyway, equal ones become one row with a count.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::change::{Delivered, Delivery, Notice, OfPolicy, Owed};
use super::error::{ErrorKind, JournalError};
use super::load::{all, instant, unsigned, value};
use super::record::{NoticeRecord, NoticeState, Waiting};
use super::rows::read_outcome;
use super::sqlite::one;
use crate::lifecycle::notice::{Alarm, Event, Facts};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Kind, Outcome};

/// Columns of a notice, in the order in which [`record`] reads them.
pub(super) const COLUMNS: &str = "number, key, policy_uid, policy, run_id, event, channel, subject, facts, at, \
    count, latest_at, state, attempts, due_at, settled_at, trouble, answer, tried_at";

/// What a notice says, as it is stored. A field may be added with a default; none may change its meaning.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct FactsRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Box<str>>,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keeps: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    look: Option<String>,
}

fn facts_text(facts: &Facts) -> String {
    let Facts { workflow, snapshot, what, why, keeps, next, look } = facts.clone();
    let row = FactsRow { workflow, snapshot, what, why, keeps, next, look };
    // A struct of strings always becomes JSON.
    serde_json::to_string(&row).unwrap_or_default()
}

fn read_facts(text: &str) -> Result<Facts, JournalError> {
    let row: FactsRow = serde_json::from_str(text)
        .map_err(|error| JournalError::new(ErrorKind::Corrupt, format!("stored notice cannot be read: {error}")))?;
    let FactsRow { workflow, snapshot, what, why, keeps, next, look } = row;
    Ok(Facts { workflow, snapshot, what, why, keeps, next, look })
}

/// Writes down that a channel is owed something. The same key twice is one notice. One that gathers joins an equal
/// one that gathers and was not tried yet.
pub(super) fn owe(connection: &Connection, owed: &Owed) -> Result<(), JournalError> {
    let Owed { notice, due_at, gathers } = owed;
    let Notice { key, policy, run_id, event, channel, subject, facts, at } = notice;
    let facts = facts_text(facts);
    let uid = policy.as_ref().map(|policy| &policy.uid);
    if *gathers && join(connection, notice, &facts)? {
        return Ok(());
    }
    let sql = "insert into notices
            (key, policy_uid, policy, run_id, event, channel, subject, facts, at, count, latest_at, gathers,
             state, attempts, due_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?9, ?10, 'pending', 0, ?11) on conflict (key) do nothing";
    connection.prepare_cached(sql)?.execute(params![
        key,
        uid,
        policy.as_ref().map(|policy| &policy.name),
        run_id,
        event.word(),
        channel,
        subject,
        facts,
        at.millis(),
        gathers,
        due_at.millis()
    ])?;
    Ok(())
}

/// Returns whether an equal one was there to join. What it says is of the latest.
fn join(connection: &Connection, notice: &Notice, facts: &str) -> Result<bool, JournalError> {
    let known = connection.prepare_cached("select 1 from notices where key = ?1")?.exists([&notice.key])?;
    if known {
        return Ok(true);
    }
    let sql = "update notices set count = count + 1, latest_at = max(latest_at, ?4), run_id = ?5, policy = ?6,
            subject = ?7, facts = ?8
        where number = (select number from notices
            where channel = ?1 and event = ?2 and policy_uid is ?3
                and subject = ?7 and state = 'pending' and gathers = 1 and attempts = 0 and resent = 0
            order by number desc limit 1)";
    let Notice { policy, run_id, event, channel, subject, at, .. } = notice;
    let rows = connection.prepare_cached(sql)?.execute(params![
        channel,
        event.word(),
        policy.as_ref().map(|policy| &policy.uid),
        at.millis(),
        run_id,
        policy.as_ref().map(|policy| &policy.name),
        subject,
        facts
    ])?;
    Ok(rows > 0)
}

/// Writes down what came of a try. What was delivered stays delivered; what was given up may be tried again.
pub(super) fn deliver(connection: &Connection, delivery: &Delivery) -> Result<(), JournalError> {
    let Delivery { key, at, result } = delivery;
    let (state, attempts, due_at, settled_at, trouble, answer) = match result {
        Delivered::Trying { again_at } => ("pending", 1, Some(again_at.millis()), None, None, None),
        Delivered::Done { answer } => ("delivered", 0, None, Some(at.millis()), None, Some(answer)),
        Delivered::Again { at: again_at, trouble } => {
            ("pending", 0, Some(again_at.millis()), None, Some(trouble), None)
        }
        Delivered::Undeliverable { trouble } => ("undeliverable", 0, None, Some(at.millis()), Some(trouble), None),
    };
    // While a try is under way the trouble of the one before it is still the latest.
    let sql = "update notices
        set state = ?2, attempts = attempts + ?3, due_at = ?4, settled_at = ?5,
            trouble = case when ?2 = 'delivered' then null else coalesce(?6, trouble) end, answer = ?7,
            tried_at = case when ?3 > 0 then coalesce(tried_at, ?8) else tried_at end
        where key = ?1 and state in ('pending', 'undeliverable')";
    let rows = connection.prepare_cached(sql)?.execute(params![
        key,
        state,
        attempts,
        due_at,
        settled_at,
        trouble,
        answer,
        at.millis()
    ])?;
    if rows == 1 {
        return Ok(());
    }
    let known = connection.prepare_cached("select 1 from notices where key = ?1")?.exists(params![key])?;
    one(usize::from(known), || format!("notice {key} is not known"))
}

/// Lets a notice be tried again from the beginning, because a person asked for it. Its key stays.
pub(super) fn resend(connection: &Connection, number: u64, at: Timestamp) -> Result<(), JournalError> {
    let sql = "update notices set state = 'pending', attempts = 0, tried_at = null, resent = 1, due_at = ?2, settled_at = null,
            answer = null
        where number = ?1";
    connection.prepare_cached(sql)?.execute(params![number.cast_signed(), at.millis()])?;
    Ok(())
}

/// Lets what a channel has refused be tried again at once, and what was written by a clock that was ahead.
pub(super) fn hurry(connection: &Connection, channel: &str, at: Timestamp) -> Result<(), JournalError> {
    // What has no trouble yet is on its way at this moment.
    let sql = "update notices set due_at = min(due_at, ?2), at = min(at, ?2), latest_at = min(latest_at, ?2),
            tried_at = min(tried_at, ?2)
        where channel = ?1 and state = 'pending' and (trouble is not null or at > ?2)";
    connection.prepare_cached(sql)?.execute(params![channel, at.millis()])?;
    Ok(())
}

/// Settles signs of life of a policy that nobody has heard by the time a later one is owed: a check shows the last it
/// heard, and that has to be the latest.
pub(super) fn supersede(
    connection: &Connection,
    channel: &str,
    policy_uid: &str,
    at: Timestamp,
) -> Result<(), JournalError> {
    let sql = "update notices set state = 'superseded', due_at = null, settled_at = ?3
        where channel = ?1 and policy_uid = ?2 and state = 'pending'";
    connection.prepare_cached(sql)?.execute(params![channel, policy_uid, at.millis()])?;
    Ok(())
}

/// Writes down that something goes on.
pub(super) fn raise(connection: &Connection, alarm: &Alarm) -> Result<(), JournalError> {
    let sql = "insert into alarms (event, subject, since) values (?1, ?2, ?3) on conflict (event, subject) do nothing";
    let Alarm { event, subject, since } = alarm;
    connection.prepare_cached(sql)?.execute(params![event.word(), subject, since.millis()])?;
    Ok(())
}

/// Writes down that it is over.
pub(super) fn clear(connection: &Connection, event: Event, subject: &str) -> Result<(), JournalError> {
    let sql = "delete from alarms where event = ?1 and subject = ?2";
    connection.prepare_cached(sql)?.execute(params![event.word(), subject])?;
    Ok(())
}

/// Returns what goes on.
pub(super) fn alarms(connection: &Connection) -> Result<Vec<Alarm>, JournalError> {
    all(connection, "select event, subject, since from alarms order by event, subject", params![], |row| {
        let event = read_event(row.get_ref(0)?.as_str()?)?;
        Ok(Alarm { event, subject: row.get(1)?, since: Timestamp::from_millis(row.get(2)?) })
    })
}

/// Returns what is due for one channel, in the order in which it happened; `limit` at most.
pub(super) fn due(
    connection: &Connection,
    channel: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<NoticeRecord>, JournalError> {
    let sql = format!(
        "select {COLUMNS} from notices where channel = ?1 and state = 'pending' and due_at <= ?2
            order by number limit ?3"
    );
    all(connection, &sql, params![channel, now.millis(), limit], record)
}

/// Returns what every channel is owed, by name; those that were told everything are not among them.
pub(super) fn waiting(connection: &Connection) -> Result<BTreeMap<Box<str>, Waiting>, JournalError> {
    let mut waiting: BTreeMap<Box<str>, Waiting> = BTreeMap::new();
    let sql = "select channel, count(*), min(due_at) from notices where state = 'pending' group by channel";
    let read = |row: &Row<'_>| Ok((row.get(0)?, unsigned(row.get(1)?)?, instant(row, 2)?));
    for (channel, pending, due_at) in all(connection, sql, params![], read)? {
        waiting.insert(channel, Waiting { pending, due_at, ..Waiting::default() });
    }
    let sql = "select channel, count(*) from notices where state = 'undeliverable' group by channel";
    for (channel, count) in all(connection, sql, params![], |row| Ok((row.get(0)?, unsigned(row.get(1)?)?)))? {
        let channel: Box<str> = channel;
        waiting.entry(channel).or_default().undeliverable = count;
    }
    Ok(waiting)
}

/// Returns when a channel was told last of the same, or was last to be, at `now` at the latest; what gathers does not
/// count.
pub(super) fn told_at(
    connection: &Connection,
    channel: &str,
    event: Event,
    policy_uid: Option<&str>,
    subject: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, JournalError> {
    let sql = "select coalesce(settled_at, latest_at) from notices
        where channel = ?1 and event = ?2 and policy_uid is ?3 and subject = ?4
            and not (state = 'pending' and gathers = 1 and attempts = 0)
        order by number desc limit 1";
    let found: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row(params![channel, event.word(), policy_uid, subject], |row| row.get(0))
        .optional()?;
    Ok(found.map(|at| Timestamp::from_millis(at).min(now)))
}

/// Returns how the latest run of a workflow settled that either did what it was for, or did not.
pub(super) fn last_outcome(
    connection: &Connection,
    policy_uid: &str,
    kind: Kind,
    now: Timestamp,
) -> Result<Option<Outcome>, JournalError> {
    let sql = "select outcome from runs
        where policy_uid = ?1 and kind = ?2 and trigger_at <= ?3 and outcome in ('succeeded', 'failed', 'time_limit_exceeded')
        order by trigger_at desc limit 1";
    let found: Option<String> = connection
        .prepare_cached(sql)?
        .query_row(params![policy_uid, kind.word(), now.millis()], |row| row.get(0))
        .optional()?;
    found.as_deref().map(read_outcome).transpose()
}

/// Returns one notice.
pub(super) fn numbered(connection: &Connection, number: u64) -> Result<Option<NoticeRecord>, JournalError> {
    let sql = format!("select {COLUMNS} from notices where number = ?1");
    Ok(all(connection, &sql, params![number.cast_signed()], record)?.pop())
}

/// Returns the time of the oldest notice that waits.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Timestamp>, JournalError> {
    let sql = "select min(at) from notices where state = 'pending'";
    Ok(value::<Option<i64>>(connection, sql, [])?.flatten().map(Timestamp::from_millis))
}

fn read_event(word: &str) -> Result<Event, JournalError> {
    Event::of(word)
        .ok_or_else(|| JournalError::new(ErrorKind::Corrupt, format!("stored event `{word}` of a notice is unknown")))
}

/// Reads [`COLUMNS`].
pub(super) fn record(row: &Row<'_>) -> Result<NoticeRecord, JournalError> {
    let word = row.get_ref(12)?.as_str()?;
    let state = NoticeState::ALL
        .into_iter()
        .find(|state| state.word() == word)
        .ok_or_else(|| JournalError::new(ErrorKind::Corrupt, format!("stored notice state `{word}` is unknown")))?;
    let policy = match (row.get(2)?, row.get(3)?) {
        (Some(uid), Some(name)) => Some(OfPolicy { uid, name }),
        _ => None,
    };
    Ok(NoticeRecord {
        number: unsigned(row.get(0)?)?,
        notice: Notice {
            key: row.get(1)?,
            policy,
            run_id: row.get(4)?,
            event: read_event(row.get_ref(5)?.as_str()?)?,
            channel: row.get(6)?,
            subject: row.get(7)?,
            facts: read_facts(row.get_ref(8)?.as_str()?)?,
            at: Timestamp::from_millis(row.get(9)?),
        },
        count: row.get(10)?,
        latest_at: Timestamp::from_millis(row.get(11)?),
        state,
        attempts: row.get(13)?,
        due_at: instant(row, 14)?,
        settled_at: instant(row, 15)?,
        trouble: row.get(16)?,
        answer: row.get(17)?,
        tried_at: instant(row, 18)?,
    })
}
