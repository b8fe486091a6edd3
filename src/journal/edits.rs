//! What callers asked under a key and were answered, and which version of each policy is there.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::change::{Audit, OpenEdit, Recalled, Reply};
use super::error::JournalError;
use super::load::{all, unsigned};
use super::record::{PolicyRecord, PolicyVersion};
use crate::lifecycle::time::Timestamp;

/// Says what came of a request that was begun, unless that is known.
pub(super) fn answer(connection: &Connection, who: &str, request: &str, answer: &str) -> Result<(), JournalError> {
    let sql = "update audit set answer = ?3 where who = ?1 and request = ?2 and answer is null";
    connection.prepare_cached(sql)?.execute(params![who, request, answer])?;
    Ok(())
}

/// Keeps what a caller was answered.
pub(super) fn reply(
    connection: &Connection,
    who: &str,
    request: &str,
    reply: &Reply,
    at: Timestamp,
) -> Result<(), JournalError> {
    let Reply { status, location, body } = reply;
    let sql = "insert into replies (number, status, location, body, at)
        select number, ?3, ?4, ?5, ?6 from audit where who = ?1 and request = ?2 on conflict (number) do nothing";
    connection.prepare_cached(sql)?.execute(params![who, request, status, location, body, at.millis()])?;
    Ok(())
}

/// Returns what is known of a caller's key.
pub(super) fn recall(connection: &Connection, who: &str, request: &str) -> Result<Option<Recalled>, JournalError> {
    let sql =
        "select coalesce(a.fingerprint, ''), a.answer, r.status, r.location, r.body, a.after, u.run_id, u.snapshot
        from audit a left join replies r on r.number = a.number
            left join runs u on u.request_key = a.who || ' ' || a.request and u.run_id = a.run_id
        where a.who = ?1 and a.request = ?2";
    let read = |row: &Row<'_>| {
        let reply = match row.get::<_, Option<u16>>(2)? {
            Some(status) => Some(Reply { status, location: row.get(3)?, body: row.get(4)? }),
            None => None,
        };
        let run = match row.get(6)? {
            Some(run_id) => Some((run_id, row.get(7)?)),
            None => None,
        };
        let operation = row.get::<_, Option<Box<str>>>(5)?.and_then(|after| Audit::operation_begun(&after));
        Ok(Recalled { fingerprint: row.get(0)?, answer: row.get(1)?, reply, run, operation })
    };
    Ok(all(connection, sql, params![who, request], read)?.pop())
}

/// Returns what was begun on files and is not known to be done.
pub(super) fn open(connection: &Connection) -> Result<Vec<OpenEdit>, JournalError> {
    let sql = "select who, coalesce(request, ''), subject, after from audit
        where answer is null and (what = 'put' or what = 'remove') order by number";
    let read = |row: &Row<'_>| {
        Ok(OpenEdit { who: row.get(0)?, request: row.get(1)?, policy: row.get(2)?, after: row.get(3)? })
    };
    all(connection, sql, params![], read)
}

const POLICY_COLUMNS: &str = "p.policy_uid, p.name, p.version, p.seq_no, p.updated_at, p.enabled_at, p.adopted_at";

fn version(row: &Row<'_>) -> Result<PolicyVersion, JournalError> {
    Ok(PolicyVersion {
        policy_uid: row.get(0)?,
        name: row.get(1)?,
        version: unsigned(row.get(2)?)?,
        seq_no: unsigned(row.get(3)?)?,
        updated_at: Timestamp::from_millis(row.get(4)?),
        enabled_at: Timestamp::from_millis(row.get(5)?),
        adopted_at: Timestamp::from_millis(row.get(6)?),
    })
}

/// Returns which version of a policy is or was there, by its uid.
pub(super) fn version_of(connection: &Connection, policy_uid: &str) -> Result<Option<PolicyVersion>, JournalError> {
    let sql = format!("select {POLICY_COLUMNS} from policies p where p.policy_uid = ?1");
    Ok(all(connection, &sql, params![policy_uid], version)?.pop())
}

/// Returns the version and the text of each living policy of these names, in their order; those without a
/// text are left out. Of all living policies, by name, where no names are given.
pub(super) fn policies(connection: &Connection, names: Option<&[Arc<str>]>) -> Result<Vec<PolicyRecord>, JournalError> {
    let sql = format!(
        "select {POLICY_COLUMNS}, d.text from policies p join documents d on d.kind = 'policy' and d.name = p.name
            where p.retired_at is null"
    );
    let read = |row: &Row<'_>| Ok(PolicyRecord { version: version(row)?, text: row.get(7)? });
    let Some(names) = names else {
        return all(connection, &format!("{sql} order by p.name"), params![], read);
    };
    let sql = format!("{sql} and p.name = ?1");
    let _look = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    for name in names {
        found.extend(all(connection, &sql, params![name], read)?.pop());
    }
    Ok(found)
}

/// Returns which version of each living policy is there, by name.
pub(super) fn versions(connection: &Connection) -> Result<Vec<PolicyVersion>, JournalError> {
    let sql = format!("select {POLICY_COLUMNS} from policies p where p.retired_at is null order by p.name");
    all(connection, &sql, params![], version)
}
