//! The journal as files: what it refuses, what it survives, what it keeps of older versions.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use snapkeep::journal::change::{
    Adoption, Audit, Begun, Change, DocumentKind, LoadedPolicy, Notice, OfPolicy, Owed, RequestKey, Settled, Skip,
    SkipReason, State,
};
use snapkeep::journal::record::{NoticeQuery, NoticeState, OperationRecord};
use snapkeep::journal::{
    AuditQuery, Depth, FILE, HistoryQuery, Journal, KeptTotals, LatestSettled, OpenError, Reader, WorkflowTotals,
    backup, backups, check, restore,
};
use snapkeep::lifecycle::creation::Creation;
use snapkeep::lifecycle::deletion::Deletion;
use snapkeep::lifecycle::keep_rules::Every;
use snapkeep::lifecycle::notice::{Event, Facts};
use snapkeep::lifecycle::plan::{Entry, Held, Plan, Sight, Target};
use snapkeep::lifecycle::policy::{Revision, Switch};
use snapkeep::lifecycle::retention::{Condemn, Hold, Keep, Until, Verdict, Whose};
use snapkeep::lifecycle::snapshot::{SnapshotName, Status};
use snapkeep::lifecycle::time::{Moment, Span, Timestamp, Wait};
use snapkeep::lifecycle::trust::{Doubt, DoubtCause, Trust};
use snapkeep::lifecycle::workflow::{Cause, Ending, Kind, Outcome, Phase, Run, Trigger, Trouble, Watch, Workflow};
use tempfile::TempDir;

use crate::support::skips::not_tested;

#[test]
fn sqlite_is_new_enough_not_to_reset_a_log_in_use() {
    assert!(rusqlite::version_number() >= 3_051_003, "SQLite is {}", rusqlite::version());
}

#[test]
fn a_journal_written_by_schema_1_is_read_today() {
    let directory = fixture(include_str!("../fixtures/journal/v1.sql"));
    check_what_fixtures_hold(&directory);
    // It was made over into what a new one is.
    let fresh = state_directory();
    drop(open(&fresh));
    let schema = |directory| {
        let connection = raw(directory);
        let mut statement =
            connection.prepare("select type, name, tbl_name from sqlite_schema order by 1, 2").expect("asked");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("answered");
        rows.collect::<Result<Vec<(String, String, String)>, _>>().expect("read")
    };
    assert_eq!(schema(&directory), schema(&fresh));
}

#[test]
fn a_journal_written_by_schema_2_is_read_today() {
    check_what_fixtures_hold(&fixture(include_str!("../fixtures/journal/v2.sql")));
}

#[test]
fn a_journal_written_by_schema_3_is_read_today() {
    let directory = fixture(include_str!("../fixtures/journal/v3.sql"));
    check_what_fixtures_hold(&directory);
    let loaded = open(&directory).load().expect("loaded");
    let subjects = |records: &[OperationRecord]| records.iter().map(|one| one.subject.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (subjects(&loaded.operations), subjects(&loaded.maintenance)),
        (vec!["db-1".into()], vec!["local".into()])
    );
    assert_eq!((loaded.latest_operation, loaded.holds), (2, Vec::new()));
}

/// All fixtures hold the same.
fn check_what_fixtures_hold(directory: &TempDir) {
    let mut journal = open(directory);
    let loaded = journal.load().expect("loaded");
    assert_eq!(&*loaded.installation, "0123456789abcdef0123456789abcdef");
    assert_eq!((loaded.epoch, loaded.latest_at), (8, at(1_772_333_000_000)));
    assert_eq!(loaded.chores, [("backup".into(), at(1_772_300_000_000), None)]);
    assert_eq!(loaded.terms, BTreeMap::from([(Revision("rev-2".into()), "terms of db".into())]));

    let [db, gone, web] = &loaded.policies[..] else { panic!("three policies, not {:#?}", loaded.policies) };
    let now = Moment { wall: at(1_772_330_400_000), boot: 17_000_000_000_000_000_000, uptime: 86_400_000 };
    let run = Run {
        id: "run-3".into(),
        trigger: Trigger { at: now.wall, cause: Cause::CatchUp },
        began: now,
        revision: Revision("rev-2".into()),
        step: Creation::Asking { name: name("db-2026-03-01-aaaaaaaa") },
        attempts: 2,
        failures: 1,
        trouble: Some(Trouble { busy: true, cause: "repository is \"locked\"".into() }),
        wait: Wait { from: now, span_ms: 30_000 },
    };
    assert_eq!(db.creation, (Workflow { mark: now.wall, phase: Phase::Active(Box::new(run)) }, 7));
    let target = |id: &str| Target { name: format!("db-{id}").into(), id: id.into(), taken_at: Some(at(1_700_000)) };
    let run = Run {
        id: "run-4".into(),
        trigger: Trigger { at: now.wall, cause: Cause::Manual },
        began: now,
        revision: Revision("rev-2".into()),
        step: Deletion::Confirming {
            target: target("1"),
            condemned: vec![target("2"), Target { taken_at: None, ..target("3") }],
            deleted: 5,
            doubt: true,
        },
        attempts: 1,
        failures: 0,
        trouble: None,
        wait: Wait { from: now, span_ms: 0 },
    };
    assert_eq!(db.deletion, (Workflow { mark: now.wall, phase: Phase::Active(Box::new(run)) }, 3));
    assert_eq!((db.seen, db.switch, db.retired), (Some(21), Switch::AsWritten, false));
    // Another program wrote it: the next look deletes nothing.
    assert!(db.memory.unlooked && db.memory.former.is_none() && db.memory.braked.is_none());
    assert_eq!(db.last_good.as_ref().map(|run| &*run.run_id), Some("run-1"));
    assert_eq!(db.last_creation.as_ref().map(|run| &*run.run_id), Some("run-3"));
    let skip = Skip {
        policy_uid: "uid-db".into(),
        kind: Kind::Creation,
        reason: SkipReason::Missed,
        count: 4,
        first: at(1_772_316_000_000),
        last: at(1_772_326_800_000),
        at: now.wall,
    };
    assert_eq!(db.skips, [skip]);

    let watch = Watch {
        name: name("gone-1"),
        revision: Revision("rev-2".into()),
        began: now,
        cancel: false,
        asked: 3,
        wait: Wait { from: now, span_ms: 120_000 },
    };
    assert_eq!(gone.creation.0.phase, Phase::Watching(Box::new(watch)));
    assert!(gone.retired);
    assert_eq!((web.creation.0.phase.clone(), web.switch), (Phase::Waiting, Switch::Stopped));

    assert_eq!(&*journal.document(DocumentKind::Policy, "db").expect("read").expect("there").text, "enabled = true\n");
    let waiting = journal.notices_waiting().expect("read");
    let due: Vec<_> =
        waiting.keys().flat_map(|channel| journal.notices_due(channel, at(i64::MAX), 9).expect("read")).collect();
    assert_eq!((due.len(), &*due[0].notice.key, due[0].attempts), (1, "run-2/failure/mail", 1));
    assert!(!due[0].notice.facts.what.is_empty(), "what it says came along");

    let reader = Reader::open(directory.path()).expect("opened");
    let plan = reader.latest_plan("db").expect("read").expect("there");
    assert_eq!((&*plan.run_id, plan.plan.own, plan.plan.held), ("run-4", 21, Vec::new()));
    let verdicts: Vec<_> = plan.plan.entries.iter().map(|entry| (&entry.verdict, entry.status)).collect();
    let old = Condemn::OlderThanMaxAge { age_ms: 700_000_000, max_age: Span::parse("7d").expect("a span") };
    assert_eq!(verdicts[0], (&Verdict::Condemn(old), Status::Good));
    assert_eq!(verdicts[3], (&Verdict::Keep(Keep::InUse { by: "a clone".into() }), Status::Partial));
    assert_eq!(plan.deleted, [target("1")]);
    let undeliverable = NoticeQuery { state: Some(NoticeState::Undeliverable), limit: 9, ..NoticeQuery::default() };
    assert_eq!(reader.notices(&undeliverable).expect("read").len(), 1);
    let outcomes: Vec<_> =
        reader.history(&all_history()).expect("read").iter().map(|run| (run.run_id.clone(), run.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("run-4".into(), None),
            ("run-3".into(), None),
            ("run-2".into(), Some(Outcome::Failed)),
            ("run-1".into(), Some(Outcome::Succeeded))
        ]
    );
    assert_eq!(check(directory.path(), Depth::Whole).expect("checked"), Vec::<String>::new());

    // What history still had begins what is counted from here on.
    let totals = reader.totals().expect("read");
    assert_eq!(totals.policies.keys().map(|uid| &**uid).collect::<Vec<_>>(), ["uid-db"]);
    let (began_at, ended_at) = (at(1_772_312_400_010), at(1_772_312_460_000));
    let creation = WorkflowTotals {
        runs: [1, 1, 0, 0, 0],
        skipped: [4, 1, 0, 0],
        failures: 1,
        latest: Some(LatestSettled { outcome: Outcome::Failed, began_at, ended_at }),
        succeeded_at: Some(at(1_772_244_060_000)),
        kept: None,
    };
    let kept = KeptTotals { count: 21, bytes: None, at: now.wall };
    let deletion = WorkflowTotals { kept: Some(kept), ..WorkflowTotals::default() };
    assert_eq!(totals.policies["uid-db"], [creation, deletion]);
    assert!(totals.file_bytes > 4096 && totals.verified.is_none());
}

#[test]
fn every_opening_finds_what_was_left_and_raises_the_epoch() {
    let directory = state_directory();
    for epoch in 1..4 {
        let mut journal = open(&directory);
        let loaded = journal.load().expect("loaded");
        assert_eq!((loaded.epoch, loaded.policies.len() as u64), (epoch, epoch - 1));
        journal.commit(&[adopt(&format!("u{epoch}"))]).expect("committed");
    }
    let number = |name: &str| raw(&directory).pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(number("user_version"), Ok(12));
    assert_eq!(number("application_id"), Ok(0x534e_504b));
}

/// Earlier versions wrote down when the clock was last believed, and not how far time had come.
#[test]
fn a_clock_that_was_written_before_time_was_kept_has_come_as_far_as_it_was_believed() {
    let directory = filled(1);
    let mut journal = open(&directory);
    journal.commit(&[Change::Clock(Trust { reached: at(9_000), ..sight(70).trust })]).expect("committed");
    let reached = |journal: &mut Journal| journal.load().expect("loaded").clock.map(|trust| trust.reached);
    assert_eq!(reached(&mut journal), Some(at(9_000)));
    drop(journal);
    let sql = "update clock set state = json_remove(state, '$.reached')";
    assert_eq!(raw(&directory).execute(sql, []), Ok(1));
    assert_eq!(reached(&mut open(&directory)), Some(at(70)));
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let directory = filled(3);
    raw(&directory).pragma_update(None, "user_version", 13).expect("set");
    let before = fs::read(directory.path().join(FILE)).expect("read");
    let error = refused(&directory);
    assert!(matches!(error, OpenError::Newer { found: 13, known: 12 }), "{error:?}");
    assert_eq!(error.to_string(), "journal has schema 13, and this snapkeep knows none above 12");
    assert!(matches!(Reader::open(directory.path()), Err(OpenError::Newer { .. })));
    assert_eq!(fs::read(directory.path().join(FILE)).expect("read"), before);
}

#[test]
fn a_second_daemon_is_told_who_has_the_directory() {
    let directory = state_directory();
    let first = open(&directory);
    let error = refused(&directory);
    let expected = format!(
        "state directory is in use by another snapkeep: {}, process {}",
        directory.path().display(),
        std::process::id()
    );
    assert!(matches!(error, OpenError::Locked(_)), "{error:?}");
    assert_eq!(error.to_string(), expected);
    drop(first);
    drop(open(&directory));
}

#[test]
fn a_damaged_journal_is_refused_and_never_replaced_by_an_empty_one() {
    // The first page, the middle, the end: whatever the file system lost.
    for place in [0.0, 0.3, 0.5, 0.7, 1.0] {
        let directory = filled(300);
        let path = directory.path().join(FILE);
        let pages = fs::metadata(&path).expect("there").len() / 4096;
        let page = (place * (pages - 1) as f64) as u64;
        let file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
        file.write_all_at(&[0xa5; 512], page * 4096).expect("damaged");
        let before = fs::read(&path).expect("read");
        for _ in 0..2 {
            let error = refused(&directory);
            assert!(matches!(error, OpenError::Corrupt(_)), "page {page} of {pages}: {error:?}");
        }
        assert_eq!(fs::read(&path).expect("read"), before, "page {page} of {pages} was written to");
        match check(directory.path(), Depth::Quick) {
            Ok(findings) => assert!(!findings.is_empty()),
            Err(error) => assert!(matches!(error, OpenError::Corrupt(_)), "{error:?}"),
        }
    }
}

#[test]
fn a_truncated_journal_is_refused() {
    for length in [0, 100, 4096, 60_000] {
        let directory = filled(300);
        let file = fs::OpenOptions::new().write(true).open(directory.path().join(FILE)).expect("opened");
        file.set_len(length).expect("cut");
        let error = refused(&directory);
        assert!(matches!(error, OpenError::Corrupt(_)), "{length} bytes: {error:?}");
    }
}

#[test]
fn a_file_of_another_program_is_refused() {
    let directory = state_directory();
    let connection = Connection::open(directory.path().join(FILE)).expect("opened");
    connection.execute_batch("create table t (a); pragma user_version = 1").expect("made");
    drop(connection);
    assert!(matches!(refused(&directory), OpenError::Corrupt(_)));
    fs::write(directory.path().join(FILE), "not a database at all, but longer than a header has to be: ".repeat(20))
        .expect("written");
    assert!(matches!(refused(&directory), OpenError::Corrupt(_)));
    assert!(matches!(Reader::open(directory.path()), Err(OpenError::Corrupt(_))));
}

#[test]
fn what_is_left_of_a_damaged_journal_can_be_read() {
    let directory = filled(300);
    let root: u32 = raw(&directory)
        .query_row("select rootpage from sqlite_schema where name = 'audit'", [], |row| row.get(0))
        .expect("there");
    let file = fs::OpenOptions::new().write(true).open(directory.path().join(FILE)).expect("opened");
    file.write_all_at(&[0xa5; 512], u64::from(root - 1) * 4096).expect("damaged");
    assert!(matches!(refused(&directory), OpenError::Corrupt(_)));
    let reader = Reader::open(directory.path()).expect("opened");
    assert_eq!(reader.history(&all_history()).expect("read").len(), 300);
    assert_eq!(reader.load().expect("loaded").policies.len(), 300);
    let query = AuditQuery { limit: 9, ..AuditQuery::default() };
    assert!(reader.audit(&query).is_err());
}

#[test]
fn a_state_that_cannot_be_read_is_damage_and_found_by_the_check() {
    let directory = filled(1);
    let sql = "update workflows set phase = 'watching', revision = 'r', state = '{\"form\":2}' where kind = 'creation'";
    raw(&directory).execute_batch(sql).expect("changed");
    let mut journal = open(&directory);
    let error = journal.load().expect_err("unreadable");
    assert_eq!(error.kind(), snapkeep::journal::ErrorKind::Corrupt);
    assert!(error.to_string().starts_with("policy u0: stored state cannot be read: "), "{error}");
    assert_eq!(check(directory.path(), Depth::Quick).expect("checked"), Vec::<String>::new());
    assert_eq!(check(directory.path(), Depth::Whole).expect("checked").len(), 1);
}

#[test]
fn a_run_of_nobody_is_damage_and_found_by_the_check() {
    let directory = filled(2);
    raw(&directory).execute_batch("update runs set policy_uid = 'nobody' where run_id = 'r1'").expect("changed");
    let found = check(directory.path(), Depth::Whole).expect("checked");
    assert_eq!(found, ["1 rows of runs belong to policies that are not there"]);
}

#[test]
fn what_began_at_one_instant_is_told_by_name_however_it_was_written() {
    let directory = state_directory();
    let mut journal = open(&directory);
    journal.commit(&["c", "a", "b"].map(adopt)).expect("committed");
    let begin = |policy_uid: &str, at| Change::Begin(begun(&format!("{at}-{policy_uid}"), policy_uid, at));
    journal.commit(&[begin("b", 5), begin("c", 5), begin("a", 5)]).expect("committed");
    let end = |run_id: &str| {
        let ending = Ending::new(Outcome::Succeeded, "made");
        Change::Settle(Settled { run_id: run_id.into(), at: at(6), ending, attempts: 1 })
    };
    journal.commit(&[end("5-c"), end("5-a"), begin("c", 7), begin("a", 7)]).expect("committed");
    let reader = Reader::open(directory.path()).expect("opened");
    let told = |policies: &[&str]| {
        let policies = policies.iter().map(|policy| policy.to_string()).collect();
        let records = reader.history(&HistoryQuery { policies, ..all_history() }).expect("read");
        records.iter().map(|run| run.run_id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(&[]), "7-c 7-a 5-c 5-b 5-a");
    // Ended and under way.
    assert_eq!(told(&["a", "b"]), "7-a 5-b 5-a");
}

#[test]
fn a_trigger_is_known_as_consumed_after_an_opening() {
    let directory = filled(2);
    let mut journal = open(&directory);
    let mut consumed = |policy_uid: &str, millis| {
        let consumed = journal.is_consumed(policy_uid, Kind::Creation, at(millis)).expect("asked");
        journal.end_look().expect("ended");
        consumed
    };
    assert!(consumed("u0", 0) && consumed("u1", 0));
    assert!(!consumed("u0", -1) && !consumed("u0", 1) && !consumed("u2", 0));
}

#[test]
fn a_journal_that_is_gone_is_missed() {
    let directory = filled(1);
    fs::remove_file(directory.path().join(FILE)).expect("removed");
    for _ in 0..2 {
        let error = refused(&directory);
        assert!(matches!(error, OpenError::Missing(_)), "{error:?}");
        assert!(error.to_string().contains("snapkeep journal restore"), "{error}");
    }
    assert!(!directory.path().join(FILE).exists());
    assert!(matches!(Reader::open(directory.path()), Err(OpenError::Missing(_))));
    // The way out that the message names.
    fs::remove_file(directory.path().join("lock")).expect("removed");
    assert!(open(&directory).load().expect("loaded").policies.is_empty());
}

#[test]
fn backups_without_a_journal_are_no_reason_to_begin_anew() {
    let directory = filled(1);
    backup(directory.path(), at(1)).expect("copied");
    fs::remove_file(directory.path().join(FILE)).expect("removed");
    fs::remove_file(directory.path().join("lock")).expect("removed");
    assert!(matches!(refused(&directory), OpenError::Missing(_)));
}

#[test]
fn a_first_start_that_was_cut_short_begins_again() {
    let directory = state_directory();
    fs::write(directory.path().join("lock"), "4711\n\n").expect("written");
    fs::write(directory.path().join(FILE), "").expect("written");
    assert_eq!(open(&directory).load().expect("loaded").epoch, 1);
}

#[test]
fn the_last_seven_backups_are_kept_and_each_opens() {
    let directory = filled(5);
    let held = open(&directory);
    let mut made = Vec::new();
    for day in 0..10 {
        made.push(backup(directory.path(), at(1_772_330_400_000 + day * 86_400_000)).expect("copied"));
    }
    let kept = backups(directory.path()).expect("listed");
    assert_eq!(kept, made[3..]);
    assert!(kept[0].ends_with("backups/journal-20260304t020000z.db"), "{}", kept[0].display());
    for copy in &kept {
        assert_eq!(mode(copy), 0o600);
        let elsewhere = state_directory();
        fs::copy(copy, elsewhere.path().join(FILE)).expect("copied");
        assert_eq!(open(&elsewhere).load().expect("loaded").policies.len(), 5);
    }
    let left = fs::read_dir(directory.path().join("backups")).expect("listed").count();
    assert_eq!(left, 7, "nothing but the copies is left");
    // A step back of the clock takes an older copy, never the one just made.
    let early = backup(directory.path(), at(0)).expect("copied");
    assert!(early.exists());
    drop(held);
}

#[test]
fn what_root_restores_belongs_to_whoever_owns_the_state_directory() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("whose a journal is that root restored, because this is not root");
    }
    let old = filled(5);
    let copy = backup(old.path(), at(1)).expect("copied");
    let new = state_directory();
    // No user has this number; the daemon's might.
    chown(new.path(), Some(4_000_000), Some(4_000_001)).expect("root may");
    restore(new.path(), &copy, at(2)).expect("restored");
    for path in [FILE, "lock", "backups"] {
        let metadata = fs::metadata(new.path().join(path)).expect(path);
        assert_eq!((path, metadata.uid(), metadata.gid()), (path, 4_000_000, 4_000_001));
    }
}

#[test]
fn a_backup_is_restored_and_the_journal_in_its_place_is_kept() {
    let directory = filled(5);
    let copy = backup(directory.path(), at(1)).expect("copied");
    let mut journal = open(&directory);
    journal.commit(&[adopt("later")]).expect("committed");
    assert!(matches!(restore(directory.path(), &copy, at(2)), Err(OpenError::Locked(_))));
    drop(journal);
    let aside = restore(directory.path(), &copy, at(2)).expect("restored").expect("put aside");
    let elsewhere = state_directory();
    fs::copy(aside, elsewhere.path().join(FILE)).expect("copied");
    assert_eq!(open(&elsewhere).load().expect("loaded").policies.len(), 6);
    let loaded = open(&directory).load().expect("loaded");
    // As it was copied: the epoch was 1 then.
    assert_eq!((loaded.policies.len(), loaded.epoch), (5, 2));
}

#[test]
fn a_backup_that_is_damaged_replaces_nothing() {
    let directory = filled(300);
    let copy = backup(directory.path(), at(1)).expect("copied");
    let file = fs::OpenOptions::new().write(true).open(&copy).expect("opened");
    file.write_all_at(&[0xa5; 512], file.metadata().expect("there").len() / 8192 * 4096).expect("damaged");
    assert!(matches!(restore(directory.path(), &copy, at(2)), Err(OpenError::Corrupt(_))));
    assert_eq!(open(&directory).load().expect("loaded").policies.len(), 300);
}

#[test]
fn a_vanished_journal_comes_back_from_a_backup() {
    let directory = filled(5);
    let copy = backup(directory.path(), at(1)).expect("copied");
    fs::remove_file(directory.path().join(FILE)).expect("removed");
    assert_eq!(restore(directory.path(), &copy, at(2)).expect("restored"), None);
    assert_eq!(open(&directory).load().expect("loaded").policies.len(), 5);
}

#[test]
fn nobody_else_can_read_the_journal() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("a/b");
    let _journal = Journal::open(&directory, moment(1)).expect("opened");
    assert_eq!(mode(&directory), 0o700);
    for file in [FILE, "journal.db-wal", "journal.db-shm", "lock", "reserve"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let directory = state_directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("set");
    assert!(matches!(refused(&directory), OpenError::Unsuitable(_)));
    // One that others can read is made private as long as it is ours alone.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
    drop(open(&directory));
    assert_eq!(mode(directory.path()), 0o700);
}

#[test]
fn the_reserve_is_there_until_it_is_released_and_back_at_the_next_start() {
    let directory = state_directory();
    let mut journal = open(&directory);
    let reserve = directory.path().join("reserve");
    assert!(journal.has_reserve());
    assert_eq!(fs::metadata(&reserve).expect("there").len(), 4 << 20);
    assert!(journal.release_reserve().expect("released"));
    assert!(!reserve.exists() && !journal.has_reserve());
    assert!(!journal.release_reserve().expect("nothing to release"));
    drop(journal);
    assert!(open(&directory).has_reserve());
}

#[test]
fn a_journal_of_another_machine_is_told_of_until_a_person_accepts_it() {
    let directory = filled(1);
    raw(&directory).execute("update instance set machine = 'ffffffffffffffffffffffffffffffff'", []).expect("changed");
    if fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().len() != 32 {
        return; // This machine has no identity of its own.
    }
    for _ in 0..2 {
        assert!(open(&directory).load().expect("loaded").machine_changed);
    }
    let mut journal = open(&directory);
    journal.accept_machine().expect("accepted");
    assert!(!journal.load().expect("loaded").machine_changed);
    drop(journal);
    assert!(!open(&directory).load().expect("loaded").machine_changed);
}

#[test]
fn a_writer_that_was_replaced_loses_its_commits() {
    let directory = state_directory();
    let mut first = open(&directory);
    // Somebody removes the lock under a running daemon and starts another.
    fs::remove_file(directory.path().join("lock")).expect("removed");
    let _second = open(&directory);
    let error = first.commit(&[adopt("u")]).expect_err("refused");
    assert_eq!(error.kind(), snapkeep::journal::ErrorKind::Conflict);
    assert!(first.trim(at(9), 9).is_err());
}

#[test]
fn a_plan_is_kept_with_its_reasons_and_what_became_of_it() {
    let directory = filled(1);
    let mut journal = open(&directory);
    let run = |run_id: &str, trigger| Begun { kind: Kind::Deletion, snapshot: None, ..begun(run_id, "u0", trigger) };
    let target = |id: &str| Target { name: format!("u0-{id}").into(), id: id.into(), taken_at: Some(at(5)) };
    let week = || Span::parse("7d").expect("a span");
    let recent = |until| Verdict::Keep(Keep::FailedButRecent { age_ms: 5, until });
    let every = Every::ALL.into_iter().map(|every| Hold::Place { every, place: 3, count: 7 });
    let verdicts = [
        Verdict::Condemn(Condemn::OlderThanMaxAge { age_ms: 604_800_001, max_age: week() }),
        Verdict::Condemn(Condemn::BeyondMaxCount { place: 8, max_count: 7 }),
        Verdict::Condemn(Condemn::FailedAndOld { age_ms: 604_800_001, max_age: week() }),
        Verdict::Condemn(Condemn::FailedAndReplaced { newer: 7, max_count: 7 }),
        Verdict::Condemn(Condemn::Thinned),
        Verdict::Condemn(Condemn::HeldBeyondMaxCount { place: 8, max_count: 7 }),
        Verdict::Condemn(Condemn::FailedAndThinned),
        Verdict::Keep(Keep::Foreign(Whose::Nobody)),
        Verdict::Keep(Keep::Foreign(Whose::AnotherInstallation)),
        Verdict::Keep(Keep::Foreign(Whose::AnotherPolicy)),
        Verdict::Keep(Keep::Foreign(Whose::Contradictory)),
        Verdict::Keep(Keep::Ambiguous { entries: 2 }),
        Verdict::Keep(Keep::Running),
        Verdict::Keep(Keep::InUse { by: "a \"clone\"".into() }),
        Verdict::Keep(Keep::Undatable),
        Verdict::Keep(Keep::FutureDated { ahead_ms: 300_001 }),
        Verdict::Keep(Keep::NewestGood),
        Verdict::Keep(Keep::Minimum { place: 2, min_count: 3 }),
        Verdict::Keep(Keep::WithinCondition { age_ms: 5, place: 4 }),
        Verdict::Keep(Keep::Grace { since: at(5), until: at(6) }),
        Verdict::Keep(Keep::Rate { rate: 60 }),
        Verdict::Keep(Keep::CreationFailing { missed: 3 }),
        Verdict::Keep(Keep::Unlooked),
        Verdict::Keep(Keep::NotApproved { plan: 4 }),
        recent(Until::MaxAge(week())),
        recent(Until::NewerGood),
        recent(Until::MaxCount { newer: 1, max_count: 7 }),
        recent(Until::MinAge(week())),
        recent(Until::Rule(Hold::Oldest { every: Every::Quarter, filled: 1, count: 4 }.into())),
        Verdict::Keep(Keep::YoungerThanMinAge { age_ms: 5, min_age: week() }),
        Verdict::Keep(Keep::Rules(every.chain([Hold::Within(week())]).collect())),
        Verdict::Keep(Keep::Rules([Hold::Oldest { every: Every::Year, filled: 1, count: 3 }].into())),
    ];
    let entries = |verdicts: &[Verdict]| {
        let entry = |(n, verdict): (usize, &Verdict)| Entry {
            target: target(&n.to_string()),
            status: [Status::Good, Status::Partial, Status::Failed, Status::Running][n % 4],
            verdict: verdict.clone(),
        };
        verdicts.iter().enumerate().map(entry).collect::<Vec<_>>()
    };
    let whole = Plan { made_at: at(100), own: 12, entries: entries(&verdicts), held: Vec::new(), clock: sight(100) };
    let gone = |subject: &str| Audit { subject: subject.into(), run_id: Some("d1".into()), ..audit(120) };
    journal
        .commit(&[
            Change::Begin(run("d1", 100)),
            planned(1, "d1", &whole),
            Change::Audit(gone("u0-1")),
            Change::Audit(Audit { what: "spare".into(), ..gone("u0-2") }),
        ])
        .expect("committed");
    let reader = Reader::open(directory.path()).expect("opened");
    let record = reader.latest_plan("u0").expect("read").expect("there");
    assert_eq!((&*record.run_id, &record.plan, &record.deleted[..]), ("d1", &whole, &[target("1")][..]));

    // Nothing condemned: the counts stay, the lines do not.
    let idle =
        Plan { made_at: at(200), own: 9, entries: entries(&verdicts[7..18]), held: Vec::new(), clock: sight(200) };
    journal.commit(&[Change::Begin(run("d2", 200)), planned(2, "d2", &idle)]).expect("committed");
    let record = reader.latest_plan("u0").expect("read").expect("there");
    let Plan { made_at, own, entries, held, .. } = record.plan;
    assert_eq!((made_at, own, entries.len(), held.len()), (idle.made_at, idle.own, 0, 0));

    // Held: what it would have done is what a person has to look at.
    let doubt = |cause| Doubt { cause, since: moment(290) };
    let held = vec![
        Held::Clock(doubt(DoubtCause::Stepped { by_ms: -300_001 })),
        Held::Clock(doubt(DoubtCause::WentBack { from: at(9), to: at(8) })),
        Held::Clock(doubt(DoubtCause::Gap { from: at(8), to: at(9) })),
        Held::Ahead { snapshot: "u0-9".into(), taken_at: at(900_000), ahead_ms: 899_700 },
        Held::ListingShrank { before: 40, now: 9 },
        Held::Edit { newly: 5, limit: 3 },
        Held::Brake { condemned: 9, own: 12, made: 1, limit: 3 },
    ];
    let mut clock = sight(300);
    clock.trust.doubt = Some(doubt(DoubtCause::Stepped { by_ms: 300_001 }));
    let held = Plan { made_at: at(300), held, clock, ..idle };
    journal.commit(&[Change::Begin(run("d3", 300)), planned(3, "d3", &held)]).expect("committed");
    assert_eq!(reader.latest_plan("u0").expect("read").expect("there").plan, held);
    // The latest plan stays; the others go with history.
    while journal.trim(at(1000), 1000).expect("trimmed") > 0 {}
    assert_eq!(reader.latest_plan("u0").expect("read").expect("there").plan, held);
    assert_eq!(count(&directory, "plans"), 1);
    assert_eq!(reader.latest_plan("nobody").expect("read"), None);
    let creation = planned(4, "r0", &whole);
    assert!(journal.commit(&[creation]).is_err(), "a creation run has no plan");
}

#[test]
fn a_deletion_of_many_names_the_next_of_them_in_its_state_and_not_all() {
    let directory = filled(1);
    let mut journal = open(&directory);
    let target = |id: u32| Target { name: format!("u0-{id}").into(), id: id.to_string().into(), taken_at: Some(at(5)) };
    let condemned: Vec<Target> = (0..10_000).map(target).collect();
    let step = Deletion::Rechecking { condemned: condemned.clone(), deleted: 3 };
    let trigger = Trigger { at: at(100), cause: Cause::Schedule };
    let run_of = Run::begin("d1", trigger, Revision("r".into()), step, moment(100));
    let state = State::Deletion(Workflow { mark: at(100), phase: Phase::Active(Box::new(run_of)) });
    journal
        .commit(&[
            Change::Begin(Begun { kind: Kind::Deletion, snapshot: None, ..begun("d1", "u0", 100) }),
            Change::Save { policy_uid: "u0".into(), version: 1, state, seen: None },
        ])
        .expect("committed");
    let sql = "select length(state) from workflows where policy_uid = 'u0' and kind = 'deletion'";
    let bytes: i64 = raw(&directory).query_row(sql, [], |row| row.get(0)).expect("there");
    assert!(bytes < 10_000, "{bytes} bytes are written with each deletion");
    let loaded = journal.load().expect("loaded").policies.remove(0);
    let Phase::Active(loaded) = loaded.deletion.0.phase else { panic!("under way") };
    let Deletion::Rechecking { condemned: named, deleted } = loaded.step else { panic!("rechecking") };
    assert_eq!((&named[..], deleted), (&condemned[..named.len()], 3));
}

#[test]
fn history_is_told_newest_first_for_the_policies_asked_for() {
    let directory = state_directory();
    let mut journal = open(&directory);
    for n in 0..40 {
        journal.commit(&[adopt(&format!("u{n}"))]).expect("committed");
    }
    for t in 0..3 {
        for n in 0..40 {
            let run_id = format!("{t}-{n}");
            let begun = begun(&run_id, &format!("u{n}"), t);
            journal.commit(&[Change::Begin(begun)]).expect("committed");
        }
    }
    journal
        .commit(&[Change::Begin(Begun { kind: Kind::Deletion, snapshot: None, ..begun("d", "u1", 9) })])
        .expect("ok");
    let reader = Reader::open(directory.path()).expect("opened");
    let ask = |policies: &[&str], kind, limit| {
        let policies = policies.iter().map(|policy| policy.to_string()).collect();
        let records = reader.history(&HistoryQuery { policies, kind, limit }).expect("read");
        records.iter().map(|run| run.run_id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ask(&[], None, 3), "d 2-39 2-38");
    assert_eq!(ask(&[], Some(Kind::Creation), 2), "2-39 2-38");
    assert_eq!(ask(&["u1"], None, 3), "d 2-1 1-1");
    assert_eq!(ask(&["u1", "u2*"], Some(Kind::Creation), 4), "2-29 2-28 2-27 2-26");
    assert_eq!(ask(&["u?", "u1*", "u2*", "u30", "u31", "u32", "u33"], None, 3), "d 2-33 2-32");
    assert_eq!(ask(&["nobody"], None, 3), "");
    assert_eq!(ask(&["u1"], None, 0), "");
    let counts = reader.counts().expect("counted");
    assert_eq!((counts.policies, counts.runs, counts.runs_active), (40, 121, 0));
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    let directory = filled(1);
    let connection = raw(&directory);
    connection.pragma_update(None, "foreign_keys", true).expect("set");
    let workflow = "update workflows set";
    let run = "insert into runs (run_id, policy_uid, kind, trigger_at, cause, revision, began_at";
    connection
        .execute_batch(&format!("{run}) values ('under way', 'u0', 'creation', 6, 'schedule', 'r', 1)"))
        .expect("one is under way");
    let notice = "insert into notices
        (key, policy_uid, policy, event, channel, subject, facts, at, latest_at, count, gathers, state, attempts, due_at,
         settled_at, trouble) values ('k', 'u0', 'u0', 'failure', 'mail', 's', '{}', 1, 1, 1, 0,";
    let skip = "insert into skips (policy_uid, kind, reason, count, first_at, last_at, at) values";
    let held = "insert into plans (run_id, policy_uid, made_at, own, condemned, held, entries, episode, answer, answered_at, \
        answered_by, approved_run) values ('r0', 'u0', 1, 3, 0,";
    let plan = "insert into plans (run_id, policy_uid, made_at, own, condemned, held, entries) values ('r0', 'u0', 1,";
    for sql in [
        // One instance, with an identity.
        "insert into instance (one, installation, machine, epoch) values (2, 'x', 'y', 1)".to_string(),
        "update instance set installation = ''".to_string(),
        "update instance set epoch = -1".to_string(),
        // Policies: a bool is a bool, a name is somebody's.
        "update policies set paused = 2".to_string(),
        "update policies set name = ''".to_string(),
        "insert into policies (policy_uid, name, revision, paused, adopted_at, retired_at) values ('w', 'u0', 'r', 0, 1, null)".to_string(),
        "update policies set adopted_at = 'yesterday'".to_string(),
        // Workflows: what a phase carries, and nothing else.
        format!("{workflow} version = 0"),
        format!("{workflow} phase = 'resting'"),
        format!("{workflow} phase = 'active' where kind = 'creation'"),
        format!("{workflow} state = '{{}}' where kind = 'creation'"),
        format!("{workflow} revision = 'r' where kind = 'creation'"),
        format!("{workflow} run_id = 'r0' where kind = 'creation'"),
        format!("{workflow} phase = 'watching', state = '{{}}' where kind = 'creation'"),
        format!("{workflow} phase = 'active', run_id = 'r0', state = '{{}}', revision = 'r' where kind = 'creation'"),
        format!(
            "{workflow} phase = 'active', run_id = 'r0', state = '{{}}', revision = 'r', step = 'deleting'
                where kind = 'creation'"
        ),
        format!("{workflow} seen = 3 where kind = 'creation'"),
        format!("{workflow} seen = -1 where kind = 'deletion'"),
        format!("{workflow} latest_plan = 3 where kind = 'creation'"),
        "insert into workflows (policy_uid, kind, version, mark, phase)
            values ('nobody', 'creation', 1, 1, 'waiting')"
            .to_string(),
        // Runs: settled or not, never half.
        format!("{run}) values ('r1', 'u0', 'creation', 0, 'schedule', 'r', 1)"),
        format!("{run}) values ('under way', 'u0', 'creation', 7, 'schedule', 'r', 1)"),
        format!("{run}) values ('r1', 'u0', 'creation', 7, 'boredom', 'r', 1)"),
        format!("{run}) values ('r1', 'u0', 'verification', 7, 'schedule', 'r', 1)"),
        format!("{run}, snapshot) values ('r1', 'u0', 'deletion', 7, 'schedule', 'r', 1, 's')"),
        format!("{run}, ended_at) values ('r1', 'u0', 'creation', 7, 'schedule', 'r', 1, 2)"),
        format!("{run}, outcome) values ('r1', 'u0', 'creation', 7, 'schedule', 'r', 1, 'failed')"),
        format!("{run}, blame) values ('r1', 'u0', 'creation', 7, 'schedule', 'r', 1, 'somebody')"),
        "update runs set outcome = 'splendid'".to_string(),
        "update runs set outcome = 'held'".to_string(),
        "update runs set message = null".to_string(),
        "update runs set attempts = -1".to_string(),
        // Skips count something, in order.
        format!("{skip} ('u0', 'creation', 'missed', 0, 1, 1, 1)"),
        format!("{skip} ('u0', 'creation', 'missed', 2, 2, 1, 2)"),
        format!("{skip} ('u0', 'creation', 'forgotten', 1, 1, 1, 1)"),
        format!("{skip} ('nobody', 'creation', 'missed', 1, 1, 1, 1)"),
        // Plans: lines where there is something to see.
        format!("{plan} 3, 1, null, null)"),
        format!("{plan} -1, 0, null, null)"),
        // What holds a plan is told under a key; only what is held is answered, by somebody, some time.
        format!("{held} '[]', '[]', null, null, null, null, null)"),
        format!("{held} null, '[]', 'e', null, null, null, null)"),
        format!("{held} null, '[]', null, 'refused', 1, 'me', null)"),
        format!("{held} '[]', '[]', 'e', 'refused', null, 'me', null)"),
        format!("{held} '[]', '[]', 'e', 'refused', 1, null, null)"),
        format!("{held} '[]', '[]', 'e', 'refused', 1, 'me', 'r0')"),
        format!("{held} '[]', '[]', 'e', 'approved', 1, 'me', null)"),
        format!("{held} '[]', '[]', 'e', 'perhaps', 1, 'me', null)"),
        format!("{workflow} former = 'r' where kind = 'creation'"),
        "insert into clock values (2, '{}')".to_string(),
        // Notices: due or settled, never both, never neither.
        format!("{notice} 'pending', 0, null, null, null)"),
        format!("{notice} 'pending', 0, 1, 1, null)"),
        format!("{notice} 'delivered', 1, 1, 1, null)"),
        format!("{notice} 'delivered', 1, null, 1, 'but')"),
        format!("{notice} 'undeliverable', 1, null, 1, null)"),
        format!("{notice} 'lost', 1, 1, null, null)"),
        format!("{notice} 'superseded', 1, 1, 1, null)"),
        "update notices set count = 0".to_string(),
        "update notices set count = 2".to_string(),
        "update notices set policy = null".to_string(),
        "update notices set answer = 'yes'".to_string(),
        // The rest.
        "insert into audit (at, who, what, subject, detail) values ('now', 'a', 'b', 'c', 'd')".to_string(),
        "insert into audit (at, who, what, subject, detail) values (1, 'a', 'b', 'c', null)".to_string(),
        "insert into documents values ('poem', 'db', 'db.toml', 'text', 1)".to_string(),
        "insert into documents values ('policy', 'db', 'db.toml', null, 1)".to_string(),
        "insert into terms values ('r', null)".to_string(),
        "insert into chores values ('backup', 'today', null)".to_string(),
    ] {
        let refused = connection.execute_batch(&format!("begin; {sql}; commit"));
        let code = refused.err().and_then(|error| error.sqlite_error_code());
        assert_eq!(code, Some(rusqlite::ErrorCode::ConstraintViolation), "{sql}");
        connection.execute_batch("rollback").expect("still in the transaction");
    }
}

/// Commits of the child below: each is one run that begins, settles and tells of it.
const CHILD: &str = "SNAPKEEP_TEST_COMMITTING_CHILD";

#[test]
fn what_was_committed_survives_a_kill_and_what_was_not_is_wholly_absent() {
    let directory = state_directory();
    open(&directory).commit(&[adopt("u")]).expect("committed");
    let mut acknowledged = 0;
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for round in 0..20 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until = acknowledged + 1 + (random >> 33) % 150;
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "journal_format::a_child_that_commits_until_it_is_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let committed = |line: String| line.strip_prefix("committed ").and_then(|number| number.parse::<u64>().ok());
        for number in lines.by_ref().map_while(Result::ok).filter_map(committed) {
            acknowledged = number;
            if number >= until {
                break;
            }
        }
        child.kill().expect("killed");
        // What it had said before it died counts as well.
        acknowledged = lines.map_while(Result::ok).filter_map(committed).last().unwrap_or(acknowledged);
        child.wait().expect("gone");

        let mut journal = open(&directory);
        let policy: LoadedPolicy = journal.load().expect("loaded").policies.remove(0);
        let there = policy.creation.1 - 1;
        assert!(there == acknowledged || there == acknowledged + 1, "round {round}: {there} of {acknowledged}");
        for table in ["runs", "skips", "audit", "notices"] {
            assert_eq!(u64::from(count(&directory, table)), there, "round {round}: {table}");
        }
        assert_eq!(policy.last_good.map(|run| run.run_id), Some(format!("r{there}").into()));
        assert_eq!(policy.creation.0.mark, at(there as i64));
        assert_eq!(check(directory.path(), Depth::Whole).expect("checked"), Vec::<String>::new());
    }
}

#[test]
fn a_child_that_commits_until_it_is_killed() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let mut journal = Journal::open(Path::new(&directory), moment(1)).expect("opened");
    let done = journal.load().expect("loaded").policies[0].creation.1;
    for number in done.. {
        let now = number as i64;
        let run_id = format!("r{number}");
        let waiting = State::Creation(Workflow { mark: at(now), phase: Phase::Waiting });
        let ending = Ending::new(Outcome::Succeeded, "made");
        journal
            .commit(&[
                Change::Begin(begun(&run_id, "u", now)),
                Change::Save { policy_uid: "u".into(), version: number, state: waiting, seen: None },
                Change::Settle(Settled { run_id: run_id.clone().into(), at: at(now), ending, attempts: 1 }),
                Change::Skip(Skip {
                    policy_uid: "u".into(),
                    kind: Kind::Creation,
                    reason: SkipReason::Missed,
                    count: 1,
                    first: at(now),
                    last: at(now),
                    at: at(now),
                }),
                Change::Audit(audit(now)),
                owed(&run_id, now),
            ])
            .expect("committed");
        println!("committed {number}");
    }
}

/// Whoever changes or takes out a record afterwards is noticed; whoever trims history is not.
#[test]
fn a_record_of_the_audit_that_is_changed_or_taken_out_breaks_the_chain() {
    let written = || {
        let directory = state_directory();
        let mut journal = open(&directory);
        let key = |key: &str| Some(RequestKey { key: key.into(), fingerprint: "f".into() });
        let put = Audit { who: "uid:0".into(), what: "put".into(), request: key("k"), ..audit(3) };
        let told = Audit { answer: Some("done".into()), before: Some("a".into()), after: Some("b".into()), ..audit(5) };
        journal.commit(&[Change::Audit(audit(1)), Change::Audit(audit(2))]).expect("committed");
        // The same key again is no other record, and leaves no hole.
        journal.commit(&[Change::Audit(put.clone()), Change::Audit(put), Change::Audit(audit(4))]).expect("committed");
        let (who, request) = ("uid:0".into(), "k".into());
        journal.commit(&[Change::Answer { who, request, answer: "done".into() }]).expect("committed");
        journal.commit(&[Change::Audit(told), Change::Audit(audit(6))]).expect("committed");
        (directory, journal)
    };
    let broken = |directory: &TempDir| check(directory.path(), Depth::Whole).expect("checked").join("; ");
    let (directory, mut journal) = written();
    assert_eq!(broken(&directory), "");
    while journal.trim(at(4), 2).expect("trimmed") > 0 {}
    assert_eq!((count(&directory, "audit"), broken(&directory)), (3, String::new()));
    drop(journal);
    raw(&directory).execute("update audit set subject = 'another' where number = 4", []).expect("changed");
    assert!(broken(&directory).contains("record 4 of the audit is not as it was written"), "{}", broken(&directory));
    raw(&directory).execute("update audit set subject = 'u-1' where number = 4", []).expect("changed back");
    assert_eq!(broken(&directory), "");
    raw(&directory).execute("update audit set chain = null", []).expect("taken away");
    assert!(broken(&directory).contains("record 4 of the audit has lost its digest"), "{}", broken(&directory));
    // A daemon on a journal whose audit somebody has changed goes on, and its check tells.
    raw(&directory).execute("update audit set who = 'uid:7' where number = 5", []).expect("changed");
    open(&directory);
    assert_ne!(broken(&directory), "");

    for (sql, number, words) in [
        ("update audit set detail = 'another' where number = 2", 2, "is not as it was written"),
        ("update audit set detail = 'another' where number = 1", 1, "is not as it was written"),
        ("delete from audit where number = 1", 2, "does not follow the one before it"),
        ("update audit set at = 7 where number = 4", 4, "is not as it was written"),
        ("update audit set answer = 'failed' where number = 5", 5, "is not as it was written"),
        ("update audit set before = null, after = 'ab' where number = 5", 5, "is not as it was written"),
        ("update audit set request = 'l' where number = 3", 3, "is not as it was written"),
        ("update audit set chain = null where number = 4", 4, "has lost its digest"),
        ("update audit set chain = zeroblob(32) where number = 4", 4, "is not as it was written"),
        ("delete from audit where number = 4", 5, "does not follow the one before it"),
    ] {
        let (directory, journal) = written();
        drop(journal);
        assert_eq!(raw(&directory).execute(sql, []), Ok(1), "{sql}");
        let told = broken(&directory);
        assert!(told.contains(&format!("record {number} of the audit {words}")), "{sql}: {told}");
    }
}

/// A clock that was far ahead for a moment keeps nothing for ever.
#[test]
fn what_a_clock_that_was_ahead_wrote_goes_with_what_is_around_it() {
    let directory = state_directory();
    let mut journal = open(&directory);
    for now in [10, 9_000_000, 20, 30, 500] {
        journal.commit(&[Change::Audit(audit(now))]).expect("committed");
    }
    assert_eq!(journal.trim(at(30), 100).expect("trimmed"), 3);
    assert_eq!(check(directory.path(), Depth::Whole).expect("checked"), Vec::<String>::new());
}

/// One that was behind when the newest record was written makes nothing old.
#[test]
fn what_a_clock_that_was_behind_wrote_takes_nothing_with_it() {
    let directory = state_directory();
    let mut journal = open(&directory);
    for now in [100, 200, 300, 5] {
        journal.commit(&[Change::Audit(audit(now))]).expect("committed");
    }
    assert_eq!(journal.trim(at(50), 100).expect("trimmed"), 0);
    // Once it is right again, what is old goes up to there, and the rest when it is old.
    journal.commit(&[Change::Audit(audit(400))]).expect("committed");
    assert_eq!(journal.trim(at(150), 100).expect("trimmed"), 1);
    assert_eq!(journal.trim(at(350), 100).expect("trimmed"), 3);
    assert_eq!(check(directory.path(), Depth::Whole).expect("checked"), Vec::<String>::new());
}

fn state_directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(directory: &TempDir) -> Journal {
    Journal::open(directory.path(), moment(1)).expect("opened")
}

fn refused(directory: &TempDir) -> OpenError {
    Journal::open(directory.path(), moment(1)).expect_err("refused")
}

/// A state directory with `runs` policies of one settled run each.
fn filled(runs: usize) -> TempDir {
    let directory = state_directory();
    let mut changes = Vec::new();
    for n in 0..runs {
        let (policy_uid, run_id) = (format!("u{n}"), format!("r{n}"));
        let ending = Ending::new(Outcome::Succeeded, "created snapshot u-1: 12 files, 3 MiB added");
        changes.push(adopt(&policy_uid));
        changes.push(Change::Begin(begun(&run_id, &policy_uid, 0)));
        changes.push(Change::Settle(Settled { run_id: run_id.clone().into(), at: at(9), ending, attempts: 1 }));
        changes.push(Change::Audit(audit(9)));
        changes.push(owed(&run_id, 9));
    }
    open(&directory).commit(&changes).expect("committed");
    directory
}

/// A state directory whose journal is made by `sql`.
fn fixture(sql: &str) -> TempDir {
    let directory = state_directory();
    Connection::open(directory.path().join(FILE)).expect("opened").execute_batch(sql).expect("made");
    directory
}

fn raw(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join(FILE)).expect("opened")
}

fn count(directory: &TempDir, table: &str) -> u32 {
    let sql = format!("select count(*) from {table}");
    raw(directory).query_row(&sql, [], |row| row.get(0)).expect("counted")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn all_history() -> HistoryQuery {
    HistoryQuery { limit: 1000, ..HistoryQuery::default() }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn planned(number: u64, run_id: &str, plan: &Plan) -> Change {
    let episode = plan.is_held().then(|| format!("u0-held-{number}").into());
    Change::Plan { number, run_id: run_id.into(), plan: Box::new(plan.clone()), episode }
}

fn sight(millis: i64) -> Sight {
    let now = moment(millis);
    Sight { now, trust: Trust { wrong_until: at(7), ..Trust::first(now, true) }, synchronised: false }
}

fn moment(millis: i64) -> Moment {
    Moment { wall: at(millis), boot: 1, uptime: millis }
}

fn name(name: &str) -> SnapshotName {
    SnapshotName::new(name).expect("a name")
}

fn adopt(policy_uid: &str) -> Change {
    Change::Adopt(Adoption {
        policy_uid: policy_uid.into(),
        name: policy_uid.into(),
        revision: Revision("r".into()),
        at: at(1),
        seq_no: 0,
        creation: Workflow { mark: at(0), phase: Phase::Waiting },
        deletion: Workflow { mark: at(0), phase: Phase::Waiting },
    })
}

fn begun(run_id: &str, policy_uid: &str, trigger_at: i64) -> Begun {
    Begun {
        run_id: run_id.into(),
        policy_uid: policy_uid.into(),
        kind: Kind::Creation,
        trigger: Trigger { at: at(trigger_at), cause: Cause::Schedule },
        revision: Revision("r".into()),
        at: moment(trigger_at),
        snapshot: Some(format!("{policy_uid}-{trigger_at}").into()),
        request_key: None,
    }
}

fn audit(now: i64) -> Audit {
    Audit {
        at: at(now),
        who: "engine".into(),
        what: "delete".into(),
        subject: "u-1".into(),
        detail: "older than max_age".into(),
        run_id: None,
        before: None,
        after: None,
        answer: None,
        request: None,
    }
}

fn notice(key: &str, now: i64) -> Notice {
    let policy = Some(OfPolicy { uid: "u".into(), name: "u".into() });
    Notice {
        key: key.into(),
        policy,
        run_id: None,
        event: Event::Failure,
        channel: "mail".into(),
        subject: "failed".into(),
        facts: Facts { what: "failed to".into(), ..Facts::default() },
        at: at(now),
    }
}

/// That it is owed, at once.
fn owed(key: &str, now: i64) -> Change {
    Change::Owe(Box::new(Owed { notice: notice(key, now), due_at: at(now), gathers: false }))
}
