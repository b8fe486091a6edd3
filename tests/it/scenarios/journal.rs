//! What was promised and what is done: nothing is ordered that was not committed, and a state that
//! was loaded does what the living one would.

use rusqlite::Connection;
use rusqlite::types::Value;
use snapkeep::engine::event::Event;
use snapkeep::journal::ErrorKind;
use snapkeep::lifecycle::workflow::{Answer, Fault, Kind};

use super::{creating, deleting, good, keep_days, tidying};
use crate::support::stage::{Stage, clock};

fn beside(stage: &Stage) -> Connection {
    Connection::open(stage.folder().join("journal.db")).expect("the journal's file")
}

/// Trap 21.
#[test]
fn an_error_of_the_journal_ends_the_engine() {
    for meddling in [
        // Another daemon has taken over.
        "update instance set epoch = epoch + 1",
        // Somebody else has written this state.
        "update workflows set version = version + 5",
        // The run is there already.
        "insert into runs (run_id, policy_uid, kind, trigger_at, cause, revision, began_at)
            select 'other', policy_uid, 'creation', 1772355600000, 'schedule', revision, 0 from policies;
            delete from runs where run_id = 'no such'",
    ] {
        let mut stage = Stage::new("08:59", &[creating("db", "0 9 * * *")]);
        let connection = beside(&stage);
        let taken = meddling.starts_with("insert");
        connection.execute_batch(meddling).expect("written behind its back");
        stage.now = stage.now.plus(60_000);
        let turn = stage.try_turn(Vec::new());
        if taken {
            // A trigger that ran is known, and does not run again.
            assert!(turn.expect("the journal holds").begin.is_empty());
        } else {
            assert_eq!(turn.expect_err("the journal refused").kind(), ErrorKind::Conflict, "{meddling}");
            assert!(stage.asked().is_empty());
            assert_eq!(stage.runs("db"), [""; 0]);
        }
    }
}

#[test]
fn an_error_of_the_journal_hands_out_no_order_and_answers_no_command() {
    let mut stage = Stage::new("08:59", &[creating("db", "0 9 * * *")]);
    beside(&stage).execute_batch("update instance set epoch = epoch + 1").expect("written behind its back");
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    let what = super::run_of("db", Kind::Creation);
    let command = snapkeep::engine::event::Command { who: "uid:0".into(), what, request: None, reply };
    stage.try_turn(vec![Event::Command(command)]).expect_err("the journal refused");
    answer.try_recv().expect_err("nobody is told that it was done");
    assert!(stage.explain("db").creation.is_some_and(|creation| creation.latest.is_none()));
}

/// A policy whose creation and deletion are due together, and five snapshots.
fn both() -> Stage {
    let mut stage = Stage::new("07:00", &[deleting("db", "0 8 * * *", "0 8 * * *", 3)]);
    keep_days(&mut stage, "db", 5);
    stage.at("08:00");
    stage
}

#[test]
fn a_journaled_state_asks_what_the_living_one_would() {
    let mut cuts = 0;
    loop {
        let [mut killed, mut lived] = [both(), both()];
        for stage in [&mut killed, &mut lived] {
            for _ in 0..cuts {
                if let Some(words) = stage.asked().into_iter().next() {
                    stage.obey(&words);
                }
            }
        }
        let Some(open) = killed.asked().into_iter().next() else { break };
        killed.restart("08:00");
        lived.answer(&open, Answer::Lost);
        assert_eq!(killed.asked(), lived.asked(), "after {cuts} answers, when {open} was open");
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts}");
}

#[test]
fn killed_at_any_question_the_next_daemon_looks_before_it_orders_and_ends_where_the_first_would_have() {
    let mut expected = both();
    expected.obey_all();
    let questions = expected.log.len();
    assert_eq!(expected.kept.len(), 3);
    for heard in [false, true] {
        for cut in 0..questions {
            let mut stage = both();
            for _ in 0..cut {
                let words = stage.asked().remove(0);
                stage.obey(&words);
            }
            let words = stage.asked().remove(0);
            let open = stage.take_ask(&words);
            if heard {
                // What was asked is done; the answer finds nobody.
                stage.deed(&open);
            }
            stage.restart("08:00");
            for words in stage.asked() {
                assert!(words.ends_with("describe") || words.ends_with("list"), "{words} after {open:?}");
            }
            stage.obey_all();
            let names = stage.kept_names();
            let as_expected = names.len() == 3 && names[..2] == ["s4", "s5"] && names[2].starts_with("db-20260301t08");
            assert!(as_expected, "{names:?}, cut at {cut}, heard: {heard}: {:#?}", stage.log);
            let runs = stage.runs("db");
            assert!(runs.len() == 2 && runs.iter().all(|run| run.ends_with("succeeded")), "{runs:?}");
        }
    }
}

#[test]
fn a_run_that_is_followed_for_a_removed_policy_looks_first_after_a_restart() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1)]);
    keep_days(&mut stage, "db", 3);
    stage.at("08:00");
    stage.obey("db list");
    stage.obey("db list");
    stage.expect_asked(&["db delete s1"]);
    stage.load(&[]);
    let roster = snapkeep::roster::Roster::clone(&crate::support::roster::roster(&[tidying("db", "0 8 * * *", 1)]));
    // The file is there again, but its former self is not.
    stage.restart_with("08:10", roster.into());
    stage.obey_all();
    assert!(stage.log.iter().all(|words| words != "db delete s2"), "{:?}", stage.log);
    assert_eq!(stage.kept.len(), 3);
}

#[test]
fn no_answer_of_a_run_given_up_reaches_the_next_one() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 * * * *").time_limit("10m")]);
    stage.at("09:00");
    let given_up = stage.asked().remove(0);
    let ask = stage.take_ask(&given_up);
    stage.at("09:10");
    stage.answer("db cancel", Answer::Cancelled);
    stage.answer("db describe", super::absent());
    stage.at("10:00");
    stage.turn(vec![Event::Answered { job: ask.id, answer: good() }]);
    assert_eq!(stage.runs("db")[1], "creation of 10:00 by schedule: under way");
}

/// The tables that may speak of snapshots: what was begun, planned, done and told.
const MAY_NAME_SNAPSHOTS: [&str; 4] = ["runs", "plans", "audit", "notices"];

#[test]
fn no_table_lists_snapshots() {
    let mut stage = Stage::new("07:00", &[deleting("db", "0 8 * * *", "0 8 * * *", 3).tells_all()]);
    keep_days(&mut stage, "db", 5);
    stage.at("08:00");
    stage.obey_all();
    let made = stage.kept.last().expect("made").name.clone();
    let connection = beside(&stage);
    let list = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("text")
    };
    let tables = list("select name from sqlite_schema where type = 'table'");
    assert!(tables.len() > 8, "{tables:?}");
    assert!(tables.iter().all(|table| !table.contains("snapshot")), "{tables:?}");
    for table in tables.iter().filter(|table| !MAY_NAME_SNAPSHOTS.contains(&table.as_str())) {
        let mut statement = connection.prepare(&format!("select * from \"{table}\"")).expect("a statement");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                if let Value::Text(text) = row.get(column).expect("a value") {
                    for name in ["s1", "s2", "s5", &made] {
                        assert!(!text.split('"').any(|word| word == name), "{table} names snapshot {name}: {text}");
                    }
                }
            }
        }
    }
}

#[test]
fn restarts_in_a_row_do_not_put_off_what_waits() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    stage.at("09:00");
    stage.refuse("db describe", Fault::transient("reset"));
    let waits_ms = stage.idle_ms().expect("it is asked again");
    let asked_at = stage.now.plus(waits_ms);
    while stage.now.plus(5_000).uptime < asked_at.uptime {
        stage.restart(&clock(stage.now.wall.plus(5_000)));
        stage.expect_asked(&[]);
    }
    stage.at(&clock(asked_at.wall.plus(1_000)));
    stage.expect_asked(&["db describe"]);
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
}

#[test]
fn after_many_decisions_the_log_is_written_back_in_a_quiet_moment() {
    let policies: Vec<_> = (0..60).map(|number| creating(&format!("db-{number}"), "0 9 * * *")).collect();
    let mut stage = Stage::new("08:55", &policies);
    let runs_in_the_file_alone = |stage: &Stage| {
        let copy = stage.folder().join("copy.db");
        std::fs::copy(stage.folder().join("journal.db"), &copy).expect("copied without its log");
        let count = "select count(*) from runs where ended_at is not null";
        let copy = Connection::open(copy).expect("a journal");
        copy.query_row(count, [], |row| row.get::<_, i64>(0)).expect("counted")
    };
    stage.at("09:00");
    stage.obey_all();
    assert_eq!(runs_in_the_file_alone(&stage), 0);
    stage.at("09:00:10");
    assert_eq!(runs_in_the_file_alone(&stage), 60);
}
