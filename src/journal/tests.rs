use rusqlite::Connection;
use rusqlite::types::Value;

use super::lock::Lock;
use super::migrate::{self, MIGRATIONS, Migration};
use super::{Journal, OpenError, open};
use crate::lifecycle::time::{Moment, Timestamp};

const NOW: Moment = Moment { wall: Timestamp::from_millis(1), boot: 1, uptime: 1 };

#[test]
fn the_settings_are_those_that_durability_rests_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = Journal::open(directory.path(), NOW).expect("opened");
    let setting = |name: &str| {
        let value = journal.connection.pragma_query_value(None, name, |row| row.get::<_, Value>(0)).expect(name);
        match value {
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text,
            other => format!("{other:?}"),
        }
    };
    for (name, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("busy_timeout", "5000"),
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("ignore_check_constraints", "0"),
        ("cell_size_check", "1"),
        ("temp_store", "2"),
        ("journal_size_limit", "16777216"),
        ("wal_autocheckpoint", "1000"),
        ("application_id", "1397641291"),
    ] {
        assert_eq!(setting(name), value, "{name}");
    }
    let loose = "select name from sqlite_schema where type = 'table' and sql not like '%) strict%'";
    assert!(!journal.connection.prepare(loose).expect("asked").exists([]).expect("answered"));
}

/// The schema of this version.
const KNOWN: u32 = MIGRATIONS.len() as u32;
const NEXT: Migration = Migration { number: KNOWN + 1, sql: "alter table chores add column took_ms integer" };
const BROKEN: Migration =
    Migration { number: KNOWN + 2, sql: "create table half (a integer) strict; insert into nothing values (1)" };

/// Opens a state directory as a later version would.
fn open_with(directory: &tempfile::TempDir, migrations: &[Migration]) -> Result<Connection, OpenError> {
    let lock = Lock::take(directory.path())?;
    open::writer(directory.path(), &lock, migrations)
}

#[test]
fn a_migration_is_applied_once_after_a_copy_was_made() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Journal::open(directory.path(), NOW).expect("opened"));
    let later = [MIGRATIONS, &[NEXT]].concat();
    for _ in 0..2 {
        let connection = open_with(&directory, &later).expect("opened");
        assert_eq!(migrate::schema(&connection, &later).expect("read"), NEXT.number);
        connection.prepare("select took_ms from chores").expect("migrated");
    }
    let copy = directory.path().join(format!("backups/schema-{KNOWN:04}.db"));
    let copy = open::reader(&copy).expect("opened");
    assert_eq!(migrate::schema(&copy, &later).expect("read"), KNOWN);
    assert!(copy.prepare("select took_ms from chores").is_err());
    // The version before it refuses what it does not know, and says how far it knows.
    let refused = Journal::open(directory.path(), NOW).expect_err("refused");
    let OpenError::Newer { found, known } = refused else { panic!("{refused:?}") };
    assert_eq!((found, known), (NEXT.number, KNOWN));
}

#[test]
fn a_migration_that_fails_leaves_the_schema_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Journal::open(directory.path(), NOW).expect("opened"));
    let later = [MIGRATIONS, &[NEXT, BROKEN]].concat();
    for _ in 0..2 {
        let refused = open_with(&directory, &later).expect_err("refused");
        assert!(matches!(refused, OpenError::Failed(_)), "{refused:?}");
    }
    let connection = open_with(&directory, &later[..later.len() - 1]).expect("opened");
    assert_eq!(migrate::schema(&connection, &later).expect("read"), NEXT.number);
    assert!(connection.prepare("select a from half").is_err());
}

#[test]
fn migrations_are_numbered_without_a_gap() {
    for (index, migration) in MIGRATIONS.iter().enumerate() {
        assert_eq!(migration.number as usize, index + 1);
    }
}

#[test]
fn every_error_says_its_own_level_and_leaves_the_rest_to_its_source() {
    let mut journal = Journal::in_memory(NOW).expect("opened");
    let unknown =
        super::change::Change::Switch { policy_uid: "u".into(), switch: crate::lifecycle::policy::Switch::Stopped };
    let error = journal.commit(&[unknown]).expect_err("refused");
    assert_eq!(error.to_string(), "policy u is not known");
    journal.connection.execute_batch("drop table policies").expect("dropped");
    let error = journal.load().expect_err("refused");
    assert_eq!(error.to_string(), "statement was refused");
    let source = std::error::Error::source(&error).expect("it has one").to_string();
    assert!(source.starts_with("no such table: policies"), "{source}");
}
