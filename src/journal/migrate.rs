//! From any older schema to the present one: numbered steps, each applied whole or not at all.

use rusqlite::{Connection, TransactionBehavior};

use super::error::{ErrorKind, JournalError, OpenError};

/// One numbered file of `migrations/sqlite/`. Never edited once it has shipped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// The schema it leads to; the first leads to 1, and none is left out.
    pub number: u32,
    /// What it does.
    pub sql: &'static str,
}

/// All there are, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, sql: include_str!("../../migrations/sqlite/0001_journal.sql") },
    Migration { number: 2, sql: include_str!("../../migrations/sqlite/0002_runs_under_way.sql") },
    Migration { number: 3, sql: include_str!("../../migrations/sqlite/0003_operations.sql") },
    Migration { number: 4, sql: include_str!("../../migrations/sqlite/0004_guards.sql") },
    Migration { number: 5, sql: include_str!("../../migrations/sqlite/0005_holds.sql") },
    Migration { number: 6, sql: include_str!("../../migrations/sqlite/0006_api.sql") },
    Migration { number: 7, sql: include_str!("../../migrations/sqlite/0007_triggers_in_order_of_time.sql") },
    Migration { number: 8, sql: include_str!("../../migrations/sqlite/0008_tokens.sql") },
    Migration { number: 9, sql: include_str!("../../migrations/sqlite/0009_age_locks.sql") },
    Migration { number: 10, sql: include_str!("../../migrations/sqlite/0010_audit_chain.sql") },
    Migration { number: 11, sql: include_str!("../../migrations/sqlite/0011_notices.sql") },
    Migration { number: 12, sql: include_str!("../../migrations/sqlite/0012_totals.sql") },
];

/// Marks a file as a journal of ours: `SNPK`.
pub(super) const APPLICATION_ID: i32 = 0x534e_504b;

/// Returns the latest schema of `migrations`.
pub(super) fn known(migrations: &[Migration]) -> u32 {
    migrations.last().map_or(0, |last| last.number)
}

/// Returns the schema of a journal, 0 for an empty file; refuses what is not ours or newer.
pub(super) fn schema(connection: &Connection, migrations: &[Migration]) -> Result<u32, OpenError> {
    let number =
        |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(JournalError::from);
    let (application, found) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION_ID && (application, found) != (0, 0) {
        return Err(OpenError::Corrupt("the file is not a journal of snapkeep".to_string()));
    }
    let found = u32::try_from(found).map_err(|_| OpenError::Corrupt(format!("schema {found} cannot be")))?;
    let known = known(migrations);
    if found > known { Err(OpenError::Newer { found, known }) } else { Ok(found) }
}

/// Applies what is missing after schema `from`. A crash leaves one schema or the next, never
/// something between.
pub(super) fn migrate(connection: &mut Connection, migrations: &[Migration], from: u32) -> Result<(), JournalError> {
    if known(migrations) <= from {
        return Ok(());
    }
    // A table that is made anew is dropped in between; with keys enforced each of its rows would be
    // deleted one by one. What they promise is looked at before a step counts.
    connection.pragma_update(None, "foreign_keys", false)?;
    for migration in migrations.iter().filter(|migration| migration.number > from) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sql)?;
        if transaction.prepare("pragma foreign_key_check")?.exists([])? {
            let text = format!("rows of schema {} belong to others that are not there", migration.number);
            return Err(JournalError::new(ErrorKind::Corrupt, text));
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", migration.number)?;
        transaction.commit()?;
    }
    Ok(connection.pragma_update(None, "foreign_keys", true)?)
}
