//! What history may forget, in slices that delay nobody.

use rusqlite::{Connection, params};

use super::chain;
use super::error::JournalError;
use crate::lifecycle::time::Timestamp;

/// Deletes rows older than `before`, `limit` at most, and returns how many went. The newest row of a
/// table that is numbered always stays, so that no number is given twice.
pub(super) fn trim(connection: &Connection, before: Timestamp, limit: u32) -> Result<u32, JournalError> {
    let statements = [
        // Given up is settled too: shown for as long as history is kept.
        "delete from notices where number in
            (select number from notices where settled_at < ?1 order by settled_at limit ?2)",
        "delete from plans where number in
            (select a.number from plans a where a.made_at < ?1
                and a.number < (select max(number) from plans)
                and not exists (select 1 from workflows w join policies p on p.policy_uid = w.policy_uid
                    where w.policy_uid = a.policy_uid and w.kind = 'deletion' and w.latest_plan = a.number
                        and (p.retired_at is null or p.retired_at >= ?1 or w.phase <> 'waiting'))
                order by a.made_at limit ?2)",
        "delete from skips where number in (select number from skips where at < ?1 order by at limit ?2)",
        "delete from replies where number in (select number from replies where at < ?1 order by at limit ?2)",
        "delete from tokens where id in
            (select id from tokens where removed_at < ?1 order by removed_at limit ?2)",
        // The latest maintenance of each repository stays, and the latest that came to an end by itself: it
        // says how the repository is. Of verifications the latest stays that came to an end.
        "delete from operations where number in
            (select o.number from operations o where o.ended_at < ?1
                and o.number < (select max(number) from operations)
                and (o.kind <> 'maintain' or o.number < (select max(l.number) from operations l
                    where l.kind = o.kind and l.subject = o.subject
                        and (l.outcome = 'succeeded' or l.outcome = 'failed')))
                and (o.kind <> 'verify' or o.number < (select max(l.number) from operations l
                    where l.kind = 'verify' and l.ended_at is not null))
                order by o.ended_at limit ?2)",
        // A run under way has no end and is not older than anything. What is latest of a policy
        // stays while the policy lives, was there lately or has something under way.
        "delete from runs where number in
            (select r.number from runs r where r.ended_at < ?1
                and r.number < (select max(number) from runs)
                and not exists (select 1 from workflows w join policies p on p.policy_uid = w.policy_uid
                    where w.policy_uid = r.policy_uid and w.kind = r.kind
                        and (w.latest_run = r.number or w.latest_good = r.number)
                        and (p.retired_at is null or p.retired_at >= ?1 or w.phase <> 'waiting'))
                order by r.ended_at limit ?2)",
    ];
    let mut left = limit;
    for statement in statements {
        let rows = connection.prepare_cached(statement)?.execute(params![before.millis(), left])?;
        left = left.saturating_sub(count(rows));
    }
    left = left.saturating_sub(forget_audit(connection, before, left)?);
    if left == 0 {
        return Ok(limit);
    }
    // Terms are written when a version comes into force; needed by it, and by what it began.
    let sql = "delete from terms where revision in
        (select revision from terms
            where revision not in (select revision from workflows where revision is not null)
                and revision not in (select former from workflows where former is not null)
                and revision not in (select revision from policies where retired_at is null)
            limit ?1)";
    let rows = connection.prepare_cached(sql)?.execute(params![left])?;
    left = left.saturating_sub(count(rows));
    left = left.saturating_sub(forget_policies(connection, before, left)?);
    Ok(limit - left)
}

/// Deletes the oldest records of the audit and leaves no hole, which would look like one that somebody made: what
/// a clock that was ahead wrote goes with what was written around it.
fn forget_audit(connection: &Connection, before: Timestamp, limit: u32) -> Result<u32, JournalError> {
    let sql = "delete from audit where number <= ?1";
    let oldest = "select a.number, a.at < ?1 or (a.at > newest.at and newest.at >= ?1)
        from audit a, (select number, at from audit order by number desc limit 1) newest
        where a.number < newest.number order by a.number limit ?2";
    let mut statement = connection.prepare_cached(oldest)?;
    let mut rows = statement.query(params![before.millis(), limit])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if !row.get::<_, bool>(1)? {
            break;
        }
        last = Some(row.get::<_, i64>(0)?);
    }
    drop(rows);
    match last {
        Some(number) => {
            chain::forget(connection, number)?;
            Ok(count(connection.prepare_cached(sql)?.execute(params![number])?))
        }
        None => Ok(0),
    }
}

/// Deletes retired policies of which nothing is left. Each is five rows at most.
fn forget_policies(connection: &Connection, before: Timestamp, limit: u32) -> Result<u32, JournalError> {
    let sql = "select p.policy_uid from policies p
        where p.retired_at < ?1
            and not exists (select 1 from workflows w where w.policy_uid = p.policy_uid and w.phase <> 'waiting')
            and not exists (select 1 from runs r
                where r.policy_uid = p.policy_uid and r.ended_at is not null)
            and not exists (select 1 from plans a where a.policy_uid = p.policy_uid)
            and not exists (select 1 from skips s where s.policy_uid = p.policy_uid)
        order by p.retired_at limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let forgotten = statement
        .query_map(params![before.millis(), limit / 5], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    let mut gone = 0;
    for policy_uid in &forgotten {
        for sql in [
            "delete from totals where policy_uid = ?1",
            "delete from workflows where policy_uid = ?1",
            "delete from policies where policy_uid = ?1",
        ] {
            gone += count(connection.prepare_cached(sql)?.execute(params![policy_uid])?);
        }
    }
    Ok(gone)
}

/// Never more than the limit, which is as wide.
fn count(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
