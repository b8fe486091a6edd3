//! What holds the daemon as a whole back: no room for the journal, or a journal of another machine.

use std::fs;

use rusqlite::Connection;
use snapkeep::engine::event::{Done, Refusal, What};
use snapkeep::lifecycle::workflow::Kind;

use super::{creating, deleting, keep_days, run_of};
use crate::support::stage::Stage;

/// Takes the reserve away, and lets it not be made again.
fn fill_disk(stage: &Stage) {
    let reserve = stage.folder().join("reserve");
    fs::remove_file(&reserve).expect("there was one");
    fs::create_dir(&reserve).expect("in its place");
}

fn free_disk(stage: &Stage) {
    fs::remove_dir(stage.folder().join("reserve")).expect("still there");
}

#[test]
fn without_room_for_the_journal_no_run_begins_and_those_under_way_settle() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *"), creating("web", "5 9 * * *")]);
    stage.at("09:00");
    fill_disk(&stage);
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    stage.at("09:20");
    stage.expect_asked(&[]);
    assert_eq!(stage.runs("web"), [""; 0]);
    let shown = stage.view.daemon().restrictions;
    assert!(
        shown.len() == 1 && shown[0].starts_with("no new run begins: ") && shown[0].contains("reserve"),
        "{shown:?}"
    );
    let refusal = stage.tell(run_of("db", Kind::Creation)).expect_err("no room for it");
    assert!(matches!(refusal, Refusal::Unavailable(why) if why.contains("reserve")));

    free_disk(&stage);
    stage.at("09:22");
    stage.obey_all();
    stage.at("09:24");
    stage.obey_all();
    // Late, but once, and without a restart.
    assert_eq!(stage.runs("web"), ["creation of 09:05 by catch_up: succeeded"]);
    assert!(stage.view.daemon().restrictions.is_empty());
    assert!(stage.folder().join("reserve").is_file());
}

#[test]
fn a_start_without_room_begins_nothing_either() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    fill_disk(&stage);
    stage.restart("09:00");
    stage.at("09:10");
    stage.expect_asked(&[]);
    free_disk(&stage);
    stage.at("09:13");
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by catch_up: succeeded"]);
}

fn make_foreign(stage: &Stage) {
    let journal = Connection::open(stage.folder().join("journal.db")).expect("the journal's file");
    // Where this machine has no identity of its own nothing can be said, and nothing is tested.
    let changed =
        journal.execute("update instance set machine = 'ffffffffffffffffffffffffffffffff' where machine <> ''", []);
    assert_eq!(changed.expect("written"), 1, "this test needs a machine with /etc/machine-id");
}

/// A cloned disk: both would share one identity, and delete each other's snapshots.
#[test]
fn a_journal_of_another_machine_makes_snapshots_and_deletes_none_until_a_person_says_so() {
    let mut stage = Stage::new("07:00", &[deleting("db", "0 8 * * *", "0 8 * * *", 3)]);
    keep_days(&mut stage, "db", 5);
    make_foreign(&stage);
    stage.restart("08:00");
    stage.obey_all();
    stage.at("20:00");
    stage.expect_asked(&[]);
    assert_eq!(stage.runs("db"), ["creation of 08:00 by schedule: succeeded"]);
    assert_eq!(stage.kept.len(), 6);
    let shown = stage.view.daemon().restrictions;
    assert!(shown.len() == 1 && shown[0].contains("accept-machine"), "{shown:?}");
    stage.tell(run_of("db", Kind::Deletion)).expect_err("not while it may be another's");
    // Nor does a person, by name.
    let books = stage.tell(What::Books { repositories: Vec::new() }).expect("the books");
    let Done::Books(books) = books else { panic!("{books:?}") };
    let forbidden = books.sites[0].forbidden.as_deref();
    assert_eq!(forbidden, Some("the journal belongs to another machine"));

    let done = stage.tell(What::AcceptMachine).expect("accepted");
    assert!(matches!(done, Done::Acknowledged));
    stage.at("20:02");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 6, "the first look deletes nothing");
    stage.at("20:10");
    stage.run("db", Kind::Deletion, None).expect("a run");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 3);
    assert!(stage.view.daemon().restrictions.is_empty());
    stage.restart("20:15");
    assert!(stage.view.daemon().restrictions.is_empty());
}

#[test]
fn a_deletion_under_way_stops_where_the_journal_turns_out_to_be_another_machines() {
    let mut stage = Stage::new("07:00", &[deleting("db", "0 0 31 12 *", "0 8 * * *", 2)]);
    keep_days(&mut stage, "db", 5);
    stage.at("08:00");
    stage.obey("db list");
    make_foreign(&stage);
    stage.restart("08:01");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 5);
    assert!(stage.runs("db")[0].contains("cancelled"), "{:?}", stage.runs("db"));
}

#[test]
fn a_doubt_that_grows_is_shown_as_large_as_it_is() {
    let mut stage = Stage::new("07:00", &[creating("db", "0 9 * * *")]);
    for (at, by) in [("08:00", "forward by 1h"), ("05:00", "back by 2h"), ("06:30", "back by 30m")] {
        stage.set_clock(at);
        let shown = stage.view.daemon().restrictions;
        assert!(shown.len() == 1 && shown[0].contains(by), "{at} {shown:?}");
    }
}
