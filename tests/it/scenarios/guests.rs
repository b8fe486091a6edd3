//! People who change single snapshots, and the runs of policies that want the same repository.

use snapkeep::engine::event::{Done, Event, Refusal, What};
use snapkeep::lifecycle::workflow::Kind;

use super::{creating, keep_days, tidying};
use crate::support::stage::Stage;

fn enter(stage: &mut Stage, guest: u64) -> Result<(), Refusal> {
    let entered = stage.tell(What::Enter { repository: "simulated".into(), guest })?;
    assert!(matches!(entered, Done::Acknowledged), "{entered:?}");
    Ok(())
}

fn leave(stage: &mut Stage, guest: u64) {
    stage.turn(vec![Event::Left { guest }]);
}

fn busy() -> Result<(), Refusal> {
    Err(Refusal::Busy("a creation or a deletion is at work in repository simulated".into()))
}

#[test]
fn no_deletion_begins_beside_a_change_that_is_under_way() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1).effects_max(1)]);
    keep_days(&mut stage, "db", 3);
    stage.at("07:59");
    enter(&mut stage, 1).expect("nobody is there");
    stage.at("08:00");
    stage.expect_asked(&[]);
    assert_eq!(stage.waits_for("db", Kind::Deletion), "its turn at repository simulated");
    assert_eq!(enter(&mut stage, 2), busy(), "whoever waits goes first");
    // One that never entered takes nobody's place away.
    leave(&mut stage, 2);
    stage.expect_asked(&[]);
    leave(&mut stage, 1);
    stage.expect_asked(&["db list"]);
    assert_eq!(enter(&mut stage, 3), busy());
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s3"]);
    enter(&mut stage, 4).expect("it is done");
}

/// Looked at while the deletion was still to come, held before it is done: what it was about to delete stays.
#[test]
fn what_is_held_between_two_deletions_of_a_run_is_not_deleted() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1).effects_max(1)]);
    keep_days(&mut stage, "db", 4);
    stage.at("08:00");
    stage.obey("db list");
    stage.obey("db list");
    stage.obey("db delete s1");
    // The journal's half needs no place; the label waits for one.
    let snapshot = Box::new(stage.kept.iter().find(|one| one.name == "s2").expect("there").clone());
    let order = snapkeep::lifecycle::hold::HoldOrder { until: None, compliance: false, reason: "audit".into() };
    stage.tell(What::Hold { repository: "simulated".into(), snapshot, order }).expect("held");
    assert_eq!(enter(&mut stage, 1), busy());
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s2", "s4"]);
    enter(&mut stage, 2).expect("the run is over");
}

#[test]
fn where_a_repository_bears_several_a_change_takes_one_place() {
    let policies = ["db", "wiki"].map(|name| creating(name, "0 8 * * *").effects_max(2));
    let mut stage = Stage::new("07:00", &policies);
    enter(&mut stage, 1).expect("there is room");
    stage.at("08:00");
    stage.expect_asked(&["db describe"]);
    leave(&mut stage, 1);
    stage.expect_asked(&["db describe", "wiki describe"]);
    assert_eq!(enter(&mut stage, 2), busy());
    stage.obey_all();
    enter(&mut stage, 3).expect("there is room");
    let unknown = What::Enter { repository: "nowhere".into(), guest: 4 };
    assert_eq!(stage.tell(unknown).err(), Some(Refusal::UnknownRepository("nowhere".into())));
}
