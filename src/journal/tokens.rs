//! Tokens of callers: written, removed, and read back. A removed one stays for as long as history does.

use rusqlite::{Connection, params};

use super::error::{ErrorKind, JournalError};
use super::load::all;
use super::record::TokenRecord;
use super::sqlite::one;
use crate::lifecycle::role::Role;
use crate::lifecycle::time::Timestamp;

/// Writes a new one; no living token has its name.
pub(super) fn write(connection: &Connection, record: &TokenRecord) -> Result<(), JournalError> {
    let TokenRecord { id, name, role, hash, created_at, created_by, expires_at, last_used_at } = record;
    let sql = "insert into tokens (id, name, hash, role, created_at, created_by, expires_at, last_used_at)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        id,
        name,
        hash,
        role.word(),
        created_at.millis(),
        created_by,
        expires_at.map(Timestamp::millis),
        last_used_at.map(Timestamp::millis)
    ])?;
    Ok(())
}

/// Makes one worthless.
pub(super) fn remove(connection: &Connection, id: &str, at: Timestamp) -> Result<(), JournalError> {
    let sql = "update tokens set removed_at = ?2 where id = ?1 and removed_at is null";
    let rows = connection.prepare_cached(sql)?.execute(params![id, at.millis()])?;
    one(rows, || format!("token {id} is not there"))
}

/// Writes down that one was used.
pub(super) fn used(connection: &Connection, id: &str, at: Timestamp) -> Result<(), JournalError> {
    let sql = "update tokens set last_used_at = ?2 where id = ?1 and removed_at is null";
    let rows = connection.prepare_cached(sql)?.execute(params![id, at.millis()])?;
    one(rows, || format!("token {id} is not there"))
}

/// Returns the living ones, those that have expired included, by id.
pub(super) fn read(connection: &Connection) -> Result<Vec<TokenRecord>, JournalError> {
    let sql = "select id, name, hash, role, created_at, created_by, expires_at, last_used_at from tokens
        where removed_at is null order by id";
    let rows = all(connection, sql, params![], |row| {
        let record = TokenRecord {
            id: row.get(0)?,
            name: row.get(1)?,
            hash: row.get(2)?,
            // Put right below, where an error can be told.
            role: Role::Viewer,
            created_at: Timestamp::from_millis(row.get(4)?),
            created_by: row.get(5)?,
            expires_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
            last_used_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        };
        Ok((record, row.get::<_, String>(3)?))
    })?;
    let with_role = |(record, word): (TokenRecord, String)| match Role::of_word(&word) {
        Some(role) => Ok(TokenRecord { role, ..record }),
        None => Err(JournalError::new(ErrorKind::Corrupt, format!("token {} has the role `{word}`", record.name))),
    };
    rows.into_iter().map(with_role).collect()
}
