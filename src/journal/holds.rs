//! What people want kept: written, removed, and read back.

use rusqlite::{Connection, params};

use super::error::JournalError;
use super::load::all;
use super::record::HoldRecord;
use super::sqlite::one;
use crate::lifecycle::hold::Hold;
use crate::lifecycle::time::Timestamp;

/// Writes one, in the place of what there is of the same snapshot.
pub(super) fn write(connection: &Connection, record: &HoldRecord) -> Result<(), JournalError> {
    let HoldRecord { repository, snapshot, policy_uid, hold, who } = record;
    let Hold { until, compliance, made_at, reason } = hold;
    let sql = "insert into holds (repository, snapshot, policy_uid, until, compliance, made_at, reason, who)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        on conflict (repository, snapshot) do update
        set policy_uid = excluded.policy_uid, until = excluded.until, compliance = excluded.compliance,
            made_at = excluded.made_at, reason = excluded.reason, who = excluded.who";
    connection.prepare_cached(sql)?.execute(params![
        repository,
        snapshot,
        policy_uid,
        until.map(Timestamp::millis),
        i64::from(*compliance),
        made_at.millis(),
        reason,
        who
    ])?;
    Ok(())
}

/// Removes one.
pub(super) fn remove(connection: &Connection, repository: &str, snapshot: &str) -> Result<(), JournalError> {
    let sql = "delete from holds where repository = ?1 and snapshot = ?2";
    let rows = connection.prepare_cached(sql)?.execute(params![repository, snapshot])?;
    one(rows, || format!("snapshot {snapshot} in repository {repository} is not held"))
}

/// Returns all there are, those that are over included, by repository and snapshot.
pub(super) fn read(connection: &Connection) -> Result<Vec<HoldRecord>, JournalError> {
    let sql = "select repository, snapshot, policy_uid, until, compliance, made_at, reason, who from holds
        order by repository, snapshot";
    all(connection, sql, params![], |row| {
        Ok(HoldRecord {
            repository: row.get(0)?,
            snapshot: row.get(1)?,
            policy_uid: row.get(2)?,
            hold: Hold {
                until: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
                compliance: row.get::<_, i64>(4)? != 0,
                made_at: Timestamp::from_millis(row.get(5)?),
                reason: row.get(6)?,
            },
            who: row.get(7)?,
        })
    })
}
