//! What `min_age` is locked to: written and read back.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::error::JournalError;
use super::load::all;
use crate::lifecycle::age_lock::{AgeLock, AgeLocks, Locked};
use crate::lifecycle::time::{Span, Timestamp};

/// Writes a policy's lock in the place of what there is of it.
pub(super) fn write(connection: &Connection, policy_uid: &str, lock: &AgeLock) -> Result<(), JournalError> {
    connection.prepare_cached("delete from age_locks where policy_uid = ?1")?.execute(params![policy_uid])?;
    let sql = "insert into age_locks (policy_uid, min_age_ms, since) values (?1, ?2, ?3)";
    for Locked { min_age, since } in lock.steps() {
        connection.prepare_cached(sql)?.execute(params![policy_uid, min_age.millis(), since.millis()])?;
    }
    Ok(())
}

/// Returns all there are, those of policies that are gone included.
pub(super) fn read(connection: &Connection) -> Result<AgeLocks, JournalError> {
    let sql = "select policy_uid, min_age_ms, since from age_locks order by policy_uid, min_age_ms";
    let rows = all(connection, sql, params![], |row| {
        let locked = Locked { min_age: Span::from_millis(row.get(1)?), since: Timestamp::from_millis(row.get(2)?) };
        Ok((row.get::<_, Arc<str>>(0)?, locked))
    })?;
    let mut locks = AgeLocks::default();
    for of_one in rows.chunk_by(|(uid, _), (next, _)| uid == next) {
        let steps = of_one.iter().map(|(_, locked)| locked.clone()).collect();
        if let Some((uid, _)) = of_one.first() {
            locks.insert(uid.clone(), AgeLock::of(steps));
        }
    }
    Ok(locks)
}
