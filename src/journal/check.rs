//! Whether what is stored holds together.

use std::path::Path;

use rusqlite::Connection;

use super::error::{ErrorKind, JournalError, OpenError};
use super::migrate::{self, MIGRATIONS};
use super::{FILE, chain, load, open};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every page and row by itself; half a second for a million runs. At every start.
    Quick,
    /// Also what each row says of itself, what indexes say, what rows say of one another, and whether
    /// every stored state can be read. Every week, and before a migration.
    Whole,
}

/// A journal that is damaged is damaged in many places; these are enough to see it.
const FINDINGS_MAX: u32 = 20;

/// Looks at the journal of a state directory and returns what is wrong with it; nothing when it is
/// whole. Works beside a running daemon.
pub fn check(state_directory: &Path, depth: Depth) -> Result<Vec<String>, OpenError> {
    let connection = open::reader(&state_directory.join(FILE))?;
    let mut findings = findings(&connection, depth)?;
    // Nothing that stands in the way of the daemon: it is for people to know.
    if depth == Depth::Whole && findings.is_empty() && schema(&connection)? == migrate::known(MIGRATIONS) {
        findings = chain::breaks(&connection)?;
    }
    Ok(findings)
}

/// Returns what is wrong.
pub(super) fn findings(connection: &Connection, depth: Depth) -> Result<Vec<String>, JournalError> {
    let found = match depth {
        Depth::Quick => {
            // What a row says of itself was checked when it was written; to check it again takes
            // three times as long as all the rest.
            connection.pragma_update(None, "ignore_check_constraints", true)?;
            let found = ask(connection, "quick_check");
            connection.pragma_update(None, "ignore_check_constraints", false)?;
            found
        }
        Depth::Whole => ask(connection, "integrity_check"),
    };
    let mut findings = match found {
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(vec![error.whole()]),
        findings => findings?,
    };
    if depth == Depth::Quick || !findings.is_empty() {
        return Ok(findings);
    }
    let mut statement = connection.prepare("pragma foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        findings.push(format!("a row of {table} belongs to one of {parent} that is not there"));
    }
    // Of this the table has no key: with each run it would be asked for anew.
    let sql = "select count(*) from runs where policy_uid not in (select policy_uid from policies)";
    let orphans: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if orphans > 0 {
        findings.push(format!("{orphans} rows of runs belong to policies that are not there"));
    }
    // One of an older schema is loaded once it has been made over into the present one.
    if schema(connection)? == migrate::known(MIGRATIONS) {
        match load::load(connection, false, &mut |_, _| {}) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => findings.push(error.whole()),
            Err(error) => return Err(error),
        }
    }
    findings.truncate(FINDINGS_MAX as usize);
    Ok(findings)
}

fn schema(connection: &Connection) -> Result<u32, JournalError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Fails when anything is wrong.
pub(super) fn refuse_damaged(connection: &Connection, depth: Depth) -> Result<(), OpenError> {
    let findings = findings(connection, depth)?;
    if findings.is_empty() { Ok(()) } else { Err(OpenError::Corrupt(findings.join("; "))) }
}

fn ask(connection: &Connection, pragma: &str) -> Result<Vec<String>, JournalError> {
    let mut statement = connection.prepare(&format!("pragma {pragma}({FINDINGS_MAX})"))?;
    let lines = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
