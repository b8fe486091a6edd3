//! Work of hours that is no policy's run: written when it begins and when it ends, and read back.

use rusqlite::{Connection, Row, params};
use wildmatch::WildMatch;

use super::error::{ErrorKind, JournalError};
use super::load::{all, unsigned};
use super::record::{OperationEnd, OperationKind, OperationOutcome, OperationRecord};
use super::sqlite::one;
use crate::lifecycle::time::Timestamp;

const COLUMNS: &str = "number, kind, subject, who, began_at, ended_at, outcome, message";

/// Writes that one begins. Its number must be new.
pub(super) fn begin(connection: &Connection, operation: &OperationRecord) -> Result<(), JournalError> {
    let OperationRecord { number, kind, subject, who, began_at, end: _ } = operation;
    let sql = "insert into operations (number, kind, subject, who, began_at) values (?1, ?2, ?3, ?4, ?5)";
    let number = super::sqlite::integer(*number)?;
    connection.prepare_cached(sql)?.execute(params![number, kind.word(), subject, who, began_at.millis()])?;
    Ok(())
}

/// Writes how one ended that was under way.
pub(super) fn end(connection: &Connection, number: u64, end: &OperationEnd) -> Result<(), JournalError> {
    let OperationEnd { at, outcome, message } = end;
    let sql = "update operations set ended_at = ?2, outcome = ?3, message = ?4 where number = ?1 and ended_at is null";
    let row = super::sqlite::integer(number)?;
    let rows = connection.prepare_cached(sql)?.execute(params![row, at.millis(), outcome.word(), message])?;
    one(rows, || format!("operation {number} is not under way"))
}

/// Returns the highest number that was given, 0 where there is none.
pub(super) fn latest_number(connection: &Connection) -> Result<u64, JournalError> {
    unsigned(connection.query_row("select coalesce(max(number), 0) from operations", [], |row| row.get(0))?)
}

/// Returns those that have not ended, oldest first.
pub(super) fn under_way(connection: &Connection) -> Result<Vec<OperationRecord>, JournalError> {
    let sql = format!("select {COLUMNS} from operations where ended_at is null order by number");
    all(connection, &sql, params![], read)
}

/// Returns the latest maintenance of each repository, and the latest that came to an end by itself, in
/// the order in which they began.
pub(super) fn latest_maintenance(connection: &Connection) -> Result<Vec<OperationRecord>, JournalError> {
    let sql = format!(
        "select {COLUMNS} from operations where number in
            (select max(number) from operations where kind = 'maintain' group by subject
                union select max(number) from operations
                    where kind = 'maintain' and (outcome = 'succeeded' or outcome = 'failed') group by subject)
            order by number"
    );
    all(connection, &sql, params![], read)
}

/// Returns one.
pub(super) fn operation(connection: &Connection, number: u64) -> Result<Option<OperationRecord>, JournalError> {
    let sql = format!("select {COLUMNS} from operations where number = ?1");
    // A number that no row can have is no row's.
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    Ok(all(connection, &sql, params![number], read)?.pop())
}

/// Returns those of one kind or of any, whose subject matches one of the patterns, newest first.
pub(super) fn operations(
    connection: &Connection,
    kind: Option<OperationKind>,
    subjects: &[String],
    limit: usize,
) -> Result<Vec<OperationRecord>, JournalError> {
    let patterns: Vec<_> = subjects.iter().map(|subject| WildMatch::new(subject)).collect();
    let sql = format!("select {COLUMNS} from operations where ?1 is null or kind = ?1 order by number desc");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![kind.map(OperationKind::word)])?;
    let mut records = Vec::new();
    while records.len() < limit {
        let Some(row) = rows.next()? else { break };
        let subject = row.get_ref(2)?.as_str()?;
        if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(subject)) {
            records.push(read(row)?);
        }
    }
    Ok(records)
}

/// Returns the latest verification of a snapshot that came to an end.
pub(super) fn latest_verification(connection: &Connection) -> Result<Option<OperationRecord>, JournalError> {
    let sql = format!(
        "select {COLUMNS} from operations where kind = 'verify' and ended_at is not null order by number desc limit 1"
    );
    Ok(all(connection, &sql, [], read)?.pop())
}

/// Reads [`COLUMNS`].
fn read(row: &Row<'_>) -> Result<OperationRecord, JournalError> {
    let ended_at: Option<i64> = row.get(5)?;
    let end = match ended_at {
        None => None,
        Some(at) => Some(OperationEnd {
            at: Timestamp::from_millis(at),
            outcome: word(row.get_ref(6)?.as_str()?, &OperationOutcome::ALL, OperationOutcome::word)?,
            message: row.get(7)?,
        }),
    };
    Ok(OperationRecord {
        number: unsigned(row.get(0)?)?,
        kind: word(row.get_ref(1)?.as_str()?, &OperationKind::ALL, OperationKind::word)?,
        subject: row.get(2)?,
        who: row.get(3)?,
        began_at: Timestamp::from_millis(row.get(4)?),
        end,
    })
}

fn word<T: Copy>(stored: &str, all: &[T], word: fn(T) -> &'static str) -> Result<T, JournalError> {
    let known = all.iter().copied().find(|one| word(*one) == stored);
    known.ok_or_else(|| JournalError::new(ErrorKind::Corrupt, format!("stored word `{stored}` is unknown")))
}
