//! `min_age` in compliance mode (G13): what is locked, who can take it back, and what it keeps.

use snapkeep::engine::event::{Done, Event, What};
use snapkeep::journal::AuditQuery;
use snapkeep::lifecycle::estate::Estate;
use snapkeep::lifecycle::foresight;
use snapkeep::lifecycle::hold::Holds;
use snapkeep::lifecycle::plan::{Look, Plan};
use snapkeep::lifecycle::snapshot::{Listing, label};
use snapkeep::lifecycle::time::Span;

use super::{creating, keep_days, tidying};
use crate::support::roster::PolicyText;
use crate::support::stage::{Stage, instant};

const REPOSITORY: &str = "simulated";

/// One good one is to stay, and what is younger than `min_age`; judged every day at eight.
fn locked(min_age: &str) -> PolicyText {
    tidying("db", "0 8 * * *", 1).min_age(min_age).locked()
}

/// The same without a lock.
fn plain() -> PolicyText {
    tidying("db", "0 8 * * *", 1)
}

/// Another policy, by which the repository stays known.
fn elsewhere() -> PolicyText {
    creating("other", "0 0 31 12 *")
}

/// Four snapshots, of the four days before the first, and a lock of ten days since 07:00 of the first.
fn stage() -> Stage {
    let mut stage = Stage::new("07:00", &[locked("10d")]);
    keep_days(&mut stage, "db", 4);
    stage
}

fn judge_at(stage: &mut Stage, at: &str) {
    stage.at(at);
    stage.obey_all();
}

fn guards(stage: &Stage) -> Vec<String> {
    stage.explain("db").deletion.map(|deletion| deletion.guards).unwrap_or_default()
}

fn estate(stage: &mut Stage) -> Estate {
    let books = stage.tell(What::Books { repositories: vec![REPOSITORY.into()] });
    let Ok(Done::Books(books)) = books else { panic!("the books: {books:?}") };
    books.estate
}

/// Whether a person may delete it by name, though its policy owns it.
fn may_expire(stage: &mut Stage, name: &str) -> Result<(), String> {
    let listing = Listing { snapshots: stage.kept.clone() };
    let index = listing.snapshots.iter().position(|one| one.name == name).expect("there");
    estate(stage).may_expire(REPOSITORY, &Holds::default(), &listing, index, true)
}

#[test]
fn a_locked_min_age_is_taken_back_within_72_hours() {
    for edited in [plain().min_age("1h").locked(), plain().min_age("1h"), plain()] {
        let mut stage = stage();
        judge_at(&mut stage, "08:00");
        assert_eq!(stage.kept.len(), 4, "all are younger");
        stage.restart("4 06:59");
        stage.load(&[edited]);
        judge_at(&mut stage, "4 08:00");
        assert_eq!(stage.kept_names(), ["s4"]);
    }
}

#[test]
fn after_72_hours_no_edit_shortens_a_locked_min_age_and_it_is_told() {
    for (edited, says) in [
        (plain().min_age("1h").locked(), "the file says 1h"),
        (plain().min_age("1h"), "the file says 1h"),
        (plain(), "the file says none"),
    ] {
        let mut stage = stage();
        stage.at("4 07:00");
        stage.load(std::slice::from_ref(&edited));
        for at in ["4 08:00", "7 08:00"] {
            judge_at(&mut stage, at);
            assert_eq!(stage.kept.len(), 4, "{says} at {at}");
        }
        let told = format!("min_age stays 10d, as it was locked in compliance mode; {says}");
        assert!(guards(&stage).contains(&told), "{:?}", guards(&stage));
        stage.restart("7 09:00");
        assert!(guards(&stage).contains(&told), "over a restart: {:?}", guards(&stage));
        let refused = may_expire(&mut stage, "s2").expect_err("younger than ten days");
        assert!(refused.contains("min_age is locked at 10d") && refused.contains("2026-03-08T12:00:00Z"), "{refused}");
        // Ten days after its data the first may go, and goes.
        judge_at(&mut stage, "8 08:00");
        assert_eq!(stage.kept_names(), ["s2", "s3", "s4"], "{says}");
        for day in 9..=12 {
            judge_at(&mut stage, &format!("{day} 08:00"));
        }
        assert_eq!(stage.kept_names(), ["s4"], "{says}");
    }
}

/// What is shown before a deletion, and what an edit would do, knows of the lock too.
#[test]
fn plans_and_what_is_foreseen_respect_a_locked_min_age() {
    let mut stage = stage();
    let draft = plain().min_age("1h").policy();
    let condemned = |stage: &mut Stage, is_edited: bool| {
        let Ok(Done::Survey(survey)) = stage.tell(What::Survey { policy: "db".into() }) else { panic!("a survey") };
        let grounds = *survey.grounds.expect("it deletes");
        let in_force = grounds.condition.clone();
        let grounds =
            if is_edited { foresight::edited(&grounds, Some(&in_force), &draft).expect("it deletes") } else { grounds };
        let listing = Listing { snapshots: stage.kept.clone() };
        Plan::make(&grounds, &listing, Look::First { deleted: 0 }, stage.now.wall).targets().len()
    };
    assert_eq!((condemned(&mut stage, false), condemned(&mut stage, true)), (0, 3), "it can still be taken back");
    stage.at("4 07:00");
    stage.obey_all();
    assert_eq!((condemned(&mut stage, false), condemned(&mut stage, true)), (0, 0), "nobody can");
    stage.load(&[plain()]);
    assert_eq!(condemned(&mut stage, false), 0);
}

#[test]
fn a_longer_min_age_has_72_hours_of_its_own() {
    let mut stage = stage();
    stage.at("4 07:00");
    stage.load(&[locked("300d")]);
    assert!(guards(&stage).contains(
        &"min_age is locked at 300d; it can be taken back until 2026-03-07T07:00:00Z, then by nobody".to_string()
    ));
    stage.restart("5 07:00");
    stage.load(&[locked("20d")]);
    assert!(guards(&stage).iter().any(|line| line.starts_with("min_age is locked at 20d")), "{:?}", guards(&stage));
    stage.load(&[plain()]);
    assert!(guards(&stage).iter().any(|line| line.starts_with("min_age stays 10d")), "{:?}", guards(&stage));
    let audit = stage.reader.audit(&AuditQuery { limit: 9, ..Default::default() }).expect("read");
    let told: Vec<&str> =
        audit.iter().filter(|one| &*one.audit.what == "lock").map(|one| one.audit.detail.as_str()).collect();
    assert_eq!(
        told,
        [
            "min_age is locked at 10d: 20d was taken back within 72 hours",
            "min_age is locked at 20d: 300d was taken back within 72 hours",
            "min_age is locked at 300d: after 72 hours it can only be lengthened",
            "min_age is locked at 10d: after 72 hours it can only be lengthened",
        ]
    );
}

/// No file is there any more, and what it made is kept all the same; a policy of its name is another one.
#[test]
fn a_lock_outlives_its_policy() {
    let mut stage = stage();
    let uid = stage.tracked("db").uid.clone();
    for snapshot in &mut stage.kept {
        snapshot.labels.insert(label::POLICY.into(), "db".into());
    }
    stage.at("4 07:00");
    stage.load(&[elsewhere()]);
    stage.restart("5 07:00");
    let refused = may_expire(&mut stage, "s1").expect_err("younger");
    assert!(refused.starts_with("min_age is locked at 10d for what policy db made: it may go from"), "{refused}");
    // A policy of the same name begins with none, neither deletes what the other made nor takes it over.
    stage.load(&[plain(), elsewhere()]);
    assert_ne!(stage.tracked("db").uid, uid);
    judge_at(&mut stage, "5 08:00");
    assert_eq!(stage.kept.len(), 4);
    may_expire(&mut stage, "s1").expect_err("younger");
    let heir = stage.tracked("db").uid.clone();
    let listing = Listing { snapshots: stage.kept.clone() };
    let refused = estate(&mut stage).may_adopt(REPOSITORY, &listing, 0, &heir).expect_err("it would lose its lock");
    assert!(refused.contains(&format!("uid = \"{uid}\"")), "{refused}");
    // The one that has its uid has its lock.
    stage.load(&[plain().named("again").uid(&uid), elsewhere()]);
    for at in ["6 08:00", "7 08:00"] {
        judge_at(&mut stage, at);
        assert_eq!(stage.kept.len(), 4, "{at}");
    }
    stage.load(&[elsewhere()]);
    stage.restart("8 07:00");
    assert_eq!(may_expire(&mut stage, "s1"), Ok(()), "it is old enough");
    estate(&mut stage).may_adopt(REPOSITORY, &listing, 0, &heir).expect_err("there is no such policy any more");
}

#[test]
fn a_policy_that_goes_within_72_hours_leaves_no_lock() {
    let mut stage = stage();
    stage.at("3 07:00");
    stage.load(&[elsewhere()]);
    stage.restart("9 07:00");
    assert_eq!(may_expire(&mut stage, "s3"), Ok(()));
}

#[test]
fn how_a_policy_stands_to_its_lock_is_explained_in_one_line() {
    let mut stage = stage();
    let line = |stage: &Stage| guards(stage).into_iter().find(|line| line.contains("locked")).unwrap_or_default();
    assert_eq!(
        line(&stage),
        "min_age is locked at 10d; it can be taken back until 2026-03-04T07:00:00Z, then by nobody"
    );
    stage.at("4 07:00");
    stage.obey_all();
    for (text, told) in [
        (locked("10d"), "min_age is locked at 10d: nobody can shorten it"),
        (plain().min_age("10d"), "min_age is locked at 10d: nobody can shorten it"),
        (plain().min_age("11d"), "min_age is locked at 10d, and longer at present"),
        (plain().min_age("9d"), "min_age stays 10d, as it was locked in compliance mode; the file says 9d"),
    ] {
        stage.load(&[text]);
        assert_eq!(line(&stage), told);
    }
}

#[test]
fn what_nobody_can_date_stays_under_a_lock() {
    let mut stage = stage();
    stage.kept[0].taken_at = None;
    stage.at("4 07:00");
    let refused = may_expire(&mut stage, "s1").expect_err("no date");
    assert!(refused.contains("nobody can say how old it is"), "{refused}");
}

/// The clock is set back to when the lock was new, and a person says that it is right: time went on all the same.
#[test]
fn a_clock_that_is_set_back_reopens_no_lock() {
    for boots in [false, true] {
        let mut stage = stage();
        stage.at("4 06:00");
        stage.obey_all();
        if boots {
            stage.kill();
            stage.now = snapkeep::lifecycle::time::Moment { wall: instant("1 07:00"), boot: 8, uptime: 20_000 };
            stage.restart("1 07:00");
        } else {
            stage.set_clock("1 07:00");
        }
        stage.tell(What::ConfirmClock).expect("believed");
        stage.at("1 09:00");
        stage.load(&[plain()]);
        stage.tell(What::ConfirmClock).expect("believed");
        assert!(
            guards(&stage).iter().any(|line| line.starts_with("min_age stays 10d")),
            "{boots} {:?}",
            guards(&stage)
        );
    }
}

/// Neither does a clock that is doubted take anything back, however the files look meanwhile.
#[test]
fn while_the_clock_is_doubted_no_lock_is_taken_back() {
    for (right_at, is_kept) in [("2 09:00", false), ("5 09:00", true)] {
        let mut stage = stage();
        stage.at("2 07:00");
        stage.obey_all();
        let true_time = stage.now;
        stage.set_clock("2000 07:00");
        stage.load(&[plain()]);
        let stays = |stage: &Stage| guards(stage).iter().any(|line| line.starts_with("min_age stays 10d"));
        assert!(stays(&stage), "{:?}", guards(&stage));
        // It comes back to what it should be, within the 72 hours or after them.
        let passed = instant(right_at).since(true_time.wall);
        stage.now = true_time.plus(passed);
        stage.turn(vec![Event::ClockStepped]);
        stage.obey_all();
        assert_eq!(stays(&stage), is_kept, "{right_at} {:?}", guards(&stage));
    }
}

#[test]
fn what_is_locked_is_shown_to_readers_as_it_is_in_the_journal() {
    let mut stage = stage();
    let uid = stage.tracked("db").uid.clone();
    assert_eq!(stage.view.age_locks().min_age(&uid), Some(&Span::parse("10d").expect("a span")));
    let before = stage.view.age_locks();
    stage.restart("2 07:00");
    assert_eq!(stage.view.age_locks(), before);
}
