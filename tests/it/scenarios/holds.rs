//! What people want kept, and what a deletion makes of it.

use snapkeep::engine::event::{Done, Refusal, What};
use snapkeep::lifecycle::hold::{Hold, HoldOrder};
use snapkeep::lifecycle::snapshot::{Snapshot, label};

use super::{deleting, keep_days, tidying};
use crate::support::stage::{Stage, instant};

/// Where the policies of the stage keep their snapshots.
const REPOSITORY: &str = "simulated";
const NEVER: &str = "0 0 31 12 *";

fn kept(stage: &Stage, name: &str) -> Box<Snapshot> {
    Box::new(stage.kept.iter().find(|one| one.name == name).expect("there").clone())
}

fn hold(stage: &mut Stage, name: &str, until: Option<&str>, compliance: bool) -> Result<Done, Refusal> {
    let order = HoldOrder { until: until.map(instant), compliance, reason: "audit".into() };
    let snapshot = kept(stage, name);
    stage.tell(What::Hold { repository: REPOSITORY.into(), snapshot, order })
}

fn release(stage: &mut Stage, name: &str) -> Result<Done, Refusal> {
    let snapshot = kept(stage, name);
    stage.tell(What::Release { repository: REPOSITORY.into(), snapshot })
}

/// Five are there, two are to stay; whatever is done in between, `s1` is held from the first day on.
#[test]
fn what_is_held_is_never_deleted_until_its_end_across_restarts() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
    keep_days(&mut stage, "db", 5);
    hold(&mut stage, "s1", Some("3 00:00"), false).expect("held");
    stage.restart("08:00");
    stage.obey_all();
    // The held one takes nobody's place.
    assert_eq!(stage.kept_names(), ["s1", "s4", "s5"]);
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s1", "s4", "s5"]);
    stage.at("3 08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s4", "s5"]);
}

#[test]
fn a_hold_that_comes_while_a_deletion_is_under_way_is_kept() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1)]);
    keep_days(&mut stage, "db", 4);
    stage.at("08:00");
    stage.obey("db list");
    stage.obey("db list");
    stage.expect_asked(&["db delete s1"]);
    // Nobody can tell any more whether it will be there.
    let refusal = hold(&mut stage, "s1", None, false).err();
    assert_eq!(refusal, Some(Refusal::NotAllowed("snapshot s1 is being deleted".into())));
    hold(&mut stage, "s2", None, false).expect("held");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s2", "s4"]);
}

/// A deletion that ran out of its time may still be at it: of what it was asked to delete nobody can say anything.
#[test]
fn a_hold_that_comes_while_a_deletion_is_watched_is_kept() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1).time_limit("20m")]);
    keep_days(&mut stage, "db", 4);
    stage.at("08:00");
    stage.obey("db list");
    stage.obey("db list");
    stage.expect_asked(&["db delete s1"]);
    stage.at("08:20");
    assert_eq!(stage.runs("db"), ["deletion of 08:00 by schedule: time_limit_exceeded"]);
    let refusal = hold(&mut stage, "s1", None, false).err();
    assert_eq!(refusal, Some(Refusal::NotAllowed("snapshot s1 is being deleted".into())));
    hold(&mut stage, "s2", None, false).expect("held");
    // It was not deleted; it can be held once that is known.
    stage.obey_all();
    stage.at("08:30");
    stage.obey_all();
    hold(&mut stage, "s1", None, false).expect("held");
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s1", "s2", "s4"]);
}

/// The journal is new and knows nothing: the snapshot says so itself.
#[test]
fn a_stamp_alone_holds_as_long_as_it_says() {
    let hold = |until: Option<&str>| {
        let made_at = instant("00:00");
        Hold { until: until.map(instant), compliance: false, made_at, reason: "audit".into() }.stamp()
    };
    let stamps = [hold(None), hold(Some("07:59")), hold(Some("08:01")), "what is this".to_string()];
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1)]);
    keep_days(&mut stage, "db", 6);
    for (snapshot, stamp) in stage.kept.iter_mut().zip(stamps) {
        snapshot.labels.insert(label::HOLD.into(), stamp);
    }
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s1", "s3", "s4", "s6"]);
}

#[test]
fn a_hold_in_compliance_mode_is_lengthened_and_goes_within_72_hours_or_with_its_end() {
    let mut stage = Stage::new("07:00", &[deleting("db", NEVER, NEVER, 1)]);
    keep_days(&mut stage, "db", 2);
    hold(&mut stage, "s1", Some("10 00:00"), true).expect("held");
    release(&mut stage, "s1").expect("it cools off");
    hold(&mut stage, "s1", Some("10 00:00"), true).expect("held");
    let why = |outcome: Result<Done, Refusal>| outcome.map(|_| ()).expect_err("refused").to_string();
    assert!(why(hold(&mut stage, "s1", Some("9 00:00"), false)).contains("lengthened, never shortened"));
    hold(&mut stage, "s1", Some("11 00:00"), false).expect("longer");
    stage.restart("4 07:01");
    assert!(why(release(&mut stage, "s1")).contains("compliance mode"), "its cooling-off is over");
    hold(&mut stage, "s1", Some("12 00:00"), false).expect("longer");
    assert!(why(release(&mut stage, "s1")).contains("nobody can remove that"));
    // The journal was lost, and the snapshot has it in writing.
    let Ok(Done::Held(record)) = hold(&mut stage, "s1", Some("12 00:00"), false) else { panic!("held") };
    let mut other = Stage::new("5 07:00", &[deleting("db", NEVER, NEVER, 1)]);
    other.kept = stage.kept.clone();
    other.kept[0].labels.insert(label::HOLD.into(), record.hold.stamp());
    assert!(why(release(&mut other, "s1")).contains("compliance mode"));
    stage.at("12 00:01");
    release(&mut stage, "s1").expect("it is over");
    assert_eq!(why(release(&mut stage, "s1")), "nothing holds it");
}

#[test]
fn holds_are_shown_and_written_down() {
    let mut stage = Stage::new("07:00", &[deleting("db", NEVER, NEVER, 1)]);
    keep_days(&mut stage, "db", 2);
    hold(&mut stage, "s1", None, false).expect("held");
    let shown = stage.view.holds();
    assert_eq!((shown.len(), &*shown[0].snapshot, &*shown[0].who), (1, "s1", "uid:0"));
    assert_eq!(shown[0].policy_uid, Some(stage.tracked("db").uid.clone()));
    release(&mut stage, "s1").expect("released");
    assert!(stage.view.holds().is_empty());
    let audit = stage.reader.audit(&snapkeep::journal::AuditQuery { limit: 9, ..Default::default() }).expect("read");
    let told: Vec<String> =
        audit.iter().map(|one| format!("{} {} {}", one.audit.who, one.audit.what, one.audit.subject)).collect();
    assert_eq!(told[..2], ["uid:0 release s1", "uid:0 hold s1"]);
    let unknown = What::Release { repository: "nowhere".into(), snapshot: kept(&stage, "s1") };
    assert_eq!(stage.tell(unknown).err(), Some(Refusal::UnknownRepository("nowhere".into())));
}

/// G1, G13: however late the clock says it is, no hold is over because of a clock that is not believed.
#[test]
fn a_clock_that_is_wrong_after_a_start_ends_no_hold() {
    let mut stage = Stage::new("07:00", &[deleting("db", NEVER, "0 8 * * *", 9)]);
    keep_days(&mut stage, "db", 5);
    hold(&mut stage, "s1", Some("30 00:00"), true).expect("held");
    stage.at("5 07:00");
    stage.obey_all();
    release(&mut stage, "s1").expect_err("held in compliance mode for longer than 72 hours");
    stage.kill();
    stage.now.boot = 8;
    stage.synchronised = false;
    stage.restart("3650 07:30");
    release(&mut stage, "s1").expect_err("nobody believes that clock");
    let Done::Books(books) = stage.tell(What::Books { repositories: vec![REPOSITORY.into()] }).expect("the books")
    else {
        panic!("the books");
    };
    let forbidden = books.sites[0].forbidden.clone().unwrap_or_default();
    assert!(forbidden.contains("the clock is doubted"), "{forbidden}");
    let still = books.holds.values().any(|holds| holds.on(&kept(&stage, "s1"), books.estate.now).is_some());
    assert!(still, "judged at {}", books.estate.now);
}

/// G13: set back to when the hold was new, and believed because a person says so, the clock gives no second 72 hours.
#[test]
fn a_clock_that_is_set_back_does_not_reopen_a_hold() {
    let mut stage = Stage::new("07:00", &[deleting("db", NEVER, NEVER, 9)]);
    keep_days(&mut stage, "db", 3);
    for name in ["s1", "s2", "s3"] {
        hold(&mut stage, name, Some("30 00:00"), name != "s3").expect("held");
    }
    stage.at("4 06:00");
    stage.set_clock("1 07:30");
    let why = |outcome: Result<Done, Refusal>| outcome.map(|_| ()).expect_err("refused").to_string();
    let doubted = why(release(&mut stage, "s1"));
    assert!(doubted.contains("in compliance mode") && doubted.contains("the clock is doubted"), "{doubted}");
    release(&mut stage, "s3").expect("nothing is measured of an ordinary one");
    stage.tell(What::ConfirmClock).expect("believed");
    release(&mut stage, "s1").expect("71 hours have passed");
    stage.restart("1 08:31");
    assert!(why(release(&mut stage, "s2")).contains("nobody can remove that"), "72 hours have passed");
    // What is held by that clock cools off for 72 hours as well.
    hold(&mut stage, "s1", Some("30 00:00"), true).expect("held");
    stage.at("4 08:30");
    release(&mut stage, "s1").expect("within 72 hours");
    hold(&mut stage, "s1", Some("30 00:00"), true).expect("held");
    stage.at("7 08:31");
    assert!(why(release(&mut stage, "s1")).contains("nobody can remove that"));
}

#[test]
fn what_has_no_name_cannot_be_held_and_ends_nothing() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
    keep_days(&mut stage, "db", 2);
    for name in ["", "two\nlines"] {
        stage.kept[0].name = name.into();
        hold(&mut stage, name, None, false).expect_err("no name");
    }
    stage.kept[0].name = "s1".into();
    hold(&mut stage, "s1", None, false).expect("held");
}

#[test]
fn a_hold_outlives_the_name_of_its_repository() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
    keep_days(&mut stage, "db", 4);
    hold(&mut stage, "s1", None, false).expect("held");
    stage.load(&[tidying("db", "0 8 * * *", 2).repository("renamed")]);
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s1", "s3", "s4"]);
    let snapshot = kept(&stage, "s1");
    stage.tell(What::Release { repository: "renamed".into(), snapshot }).expect("released");
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s3", "s4"]);
}
