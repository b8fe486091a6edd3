//! Guards that stop a deletion, what people are told of it, and what they say.

use snapkeep::engine::event::{Done, Event, Heard, Refusal, What};
use snapkeep::journal::AuditQuery;
use snapkeep::journal::record::NoticeQuery;
use snapkeep::lifecycle::policy::{CatchUp, Guards};
use snapkeep::lifecycle::time::Span;
use snapkeep::lifecycle::workflow::{Fault, Kind};

use super::{deleting, keep_days, tidying};
use crate::support::roster::PolicyText;
use crate::support::stage::Stage;

/// A policy that makes a snapshot once a year and deletes old ones each morning.
fn ageing(max_age: &str) -> PolicyText {
    PolicyText::new("db", "0 0 31 12 *", Some(("0 8 * * *", Some(max_age), None, 1)))
}

fn waiting(stage: &Stage) -> u64 {
    stage.tracked("db").held().expect("a plan waits").number
}

fn approve(stage: &mut Stage) -> Result<Done, Refusal> {
    let plan = waiting(stage);
    stage.tell(What::Approve { plan })
}

fn guards(stage: &Stage) -> Vec<String> {
    stage.explain("db").deletion.map(|deletion| deletion.guards).unwrap_or_default()
}

fn held(stage: &Stage) -> String {
    stage.explain("db").deletion.and_then(|deletion| deletion.held).unwrap_or_default()
}

/// How many notices of one sort there are.
fn notices(stage: &Stage, event: &str) -> usize {
    let all = stage.reader.notices(&NoticeQuery { limit: 1_000, ..NoticeQuery::default() }).expect("notices");
    all.iter().filter(|record| record.notice.event.word() == event).count()
}

/// G1.
#[test]
fn a_clock_thrown_ten_years_ahead_deletes_nothing_and_is_told_once() {
    // How many questions of the run are answered before the clock is thrown: before the plan, between plan and
    // deletion, while one is being deleted, and before the next.
    for (answered, gone) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)] {
        for thrown in ["3650 08:00", "-3650 08:00"] {
            let mut stage = Stage::new("07:00", &[ageing("4d")]);
            keep_days(&mut stage, "db", 7);
            stage.at("08:00");
            for _ in 0..answered {
                let words = stage.asked().remove(0);
                stage.obey(&words);
            }
            stage.set_clock(thrown);
            stage.obey_all();
            assert_eq!(7 - stage.kept.len(), gone, "{answered} {thrown} {:?}", stage.log);
            assert!(held(&stage).contains("the clock is doubted"), "{answered} {}", held(&stage));
            assert_eq!(notices(&stage, "held"), 1);
            let restrictions = stage.view.daemon().restrictions;
            assert!(restrictions[0].contains("snapkeep clock confirm"), "{restrictions:?}");
            // Each further run is held, and nobody is told again.
            stage.now = stage.now.plus(86_400_000);
            stage.turn(Vec::new());
            stage.obey_all();
            stage.kill();
            assert_eq!((7 - stage.kept.len(), notices(&stage, "held")), (gone, 1));
        }
    }
}

/// What is known of deletions must not be forgotten by a clock that nobody believes.
#[test]
fn a_doubted_clock_trims_no_history() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 4)]);
    keep_days(&mut stage, "db", 6);
    for at in ["08:00", "2 08:00"] {
        stage.at(at);
        stage.obey_all();
    }
    let first = "deletion of 08:00 by schedule: succeeded".to_string();
    stage.set_clock("3650 08:00");
    stage.kill();
    stage.restart("3650 08:01");
    let trim = |stage: &mut Stage| {
        let before = stage.now.wall.plus(-90 * 86_400_000);
        stage.turn(vec![Event::Trim { before }]);
    };
    trim(&mut stage);
    assert!(stage.runs("db").contains(&first), "{:?}", stage.runs("db"));
    stage.tell(What::ConfirmClock).expect("confirmed");
    trim(&mut stage);
    assert!(!stage.runs("db").contains(&first), "{:?}", stage.runs("db"));
}

/// G1, across a restart of the daemon.
#[test]
fn a_clock_that_was_wrong_at_the_start_deletes_nothing_until_it_is_right_or_confirmed() {
    let mut stage = Stage::new("07:00", &[ageing("4d").catch_up(CatchUp::Never)]);
    keep_days(&mut stage, "db", 6);
    stage.kill();
    stage.now.wall = crate::support::stage::instant("3650 07:59");
    stage.restart("3650 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 6);
    assert!(held(&stage).contains("set forward by"), "{}", held(&stage));
    // It is put right, and nobody has to say anything.
    stage.set_clock("07:03");
    assert!(stage.view.daemon().restrictions.is_empty(), "{:?}", stage.view.daemon().restrictions);
    stage.at("08:00");
    stage.obey_all();
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 3);
}

#[test]
fn a_confirmed_clock_releases_what_was_held() {
    let mut stage = Stage::new("07:00", &[ageing("5d")]);
    keep_days(&mut stage, "db", 6);
    // A guest that was paused for six hours, and set right by its host.
    stage.set_clock("13:00");
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!((stage.kept.len(), notices(&stage, "held")), (6, 1));
    stage.tell(What::ConfirmClock).expect("confirmed");
    assert!(stage.view.daemon().restrictions.is_empty());
    stage.restart("3 07:00");
    stage.at("3 08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s4", "s5", "s6"]);
}

/// G1, across a gap of ten days that nobody but a witness can tell.
#[test]
fn a_witness_ends_the_doubt_after_a_gap_and_it_is_written_down_once() {
    let mut stage = Stage::new("07:00", &[ageing("14d").catch_up(CatchUp::Never)]);
    keep_days(&mut stage, "db", 6);
    assert!(!stage.view.wants_witness(), "nobody is asked while the clock is believed");
    stage.kill();
    stage.synchronised = false;
    stage.now.boot += 1;
    stage.restart("11 07:00");
    assert!(stage.view.wants_witness());
    stage.at("11 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 6);
    assert!(held(&stage).contains("nothing vouches for it"), "{}", held(&stage));

    let heard = |stage: &Stage, said: Result<i64, &str>| Heard {
        host: "time.example.net".into(),
        taken: stage.now,
        said: said.map(|ahead_ms| stage.now.wall.plus(ahead_ms)).map_err(str::to_owned),
    };
    let audited = |stage: &Stage| -> Vec<String> {
        let records = stage.reader.audit(&AuditQuery { limit: 100, ..AuditQuery::default() }).expect("the audit");
        let ours = records.into_iter().filter(|record| &*record.audit.what == "witness_clock");
        let side = |side: Option<Box<str>>| side.map(String::from).unwrap_or_default();
        ours.map(|record| record.audit)
            .map(|audit| format!("{}: {} → {}", audit.detail, side(audit.before), side(audit.after)))
            .collect()
    };
    let restrictions = |stage: &Stage| stage.view.daemon().restrictions.join("\n");
    for (said, shown) in [
        (Ok(-10 * 86_400_000), "; time.example.net said 2026-03-01T08:00:00Z when it said 2026-03-11T08:00:00Z; if"),
        (
            Err("it broke off"),
            "; time.example.net was asked at 2026-03-11T08:00:00Z and does not vouch for it: it broke off; if",
        ),
    ] {
        let said = heard(&stage, said);
        stage.turn(vec![Event::Witnessed(vec![said])]);
        assert!(restrictions(&stage).contains(shown), "{}", restrictions(&stage));
        assert!(stage.view.wants_witness() && audited(&stage).is_empty());
    }
    // One that cannot be asked takes nothing from another that agrees.
    let both = vec![heard(&stage, Err("it broke off")), heard(&stage, Ok(2_000))];
    for _ in 0..2 {
        stage.turn(vec![Event::Witnessed(both.clone())]);
        assert_eq!(restrictions(&stage), "");
        assert!(!stage.view.wants_witness());
        let vouched = stage.view.daemon().clock_vouched;
        assert_eq!(vouched.as_deref(), Some("time.example.net vouched for the clock at 2026-03-11T08:00:00Z"));
        let detail = "time.example.net agrees with the clock: doubted: it says 2026-03-11T08:00:00Z, 10d1h after it \
                      was last believed, and nothing vouches for it → believed";
        assert_eq!(audited(&stage), [detail]);
    }
    stage.at("12 08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s4", "s5", "s6"], "and what is old goes");
    // It is in the journal: a start of the daemon doubts nothing.
    stage.restart("12 09:00");
    assert_eq!((restrictions(&stage).as_str(), stage.view.wants_witness()), ("", false));
}

/// G1: what was set while the machine was up is for a person.
#[test]
fn no_witness_explains_a_clock_that_was_set() {
    let mut stage = Stage::new("07:00", &[ageing("4d")]);
    keep_days(&mut stage, "db", 6);
    stage.set_clock("12 07:00");
    let said = Ok(stage.now.wall);
    let heard = Heard { host: "time.example.net".into(), taken: stage.now, said };
    stage.turn(vec![Event::Witnessed(vec![heard])]);
    assert!(!stage.view.wants_witness());
    stage.at("12 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 6);
    assert!(held(&stage).contains("set forward by"), "{}", held(&stage));
}

/// G1 and G3: what was made while the clock was wrong.
#[test]
fn a_snapshot_from_the_future_holds_deletion_until_a_person_has_spoken() {
    let text = PolicyText::new("db", "0 9 * * *", Some(("0 8 * * *", Some("4d"), None, 1)));
    let mut stage = Stage::new("07:00", &[text]);
    keep_days(&mut stage, "db", 6);
    stage.keep("db", "s9", "3650 12:00");
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 7);
    assert!(held(&stage).contains("snapshot s9 is dated"), "{}", held(&stage));
    // The clock had never been there, so that confirming it explains nothing; approving the plan does for once.
    stage.tell(What::ConfirmClock).expect("confirmed");
    stage.at("08:30");
    approve(&mut stage).expect("approved");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s3", "s4", "s5", "s6", "s9"]);

    // Made by ourselves with a wrong clock: once that is known, it is left alone and holds nothing.
    stage.kept.pop();
    stage.set_clock("400 08:59");
    stage.at("400 09:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 5, "one was made");
    stage.set_clock("08:32");
    for at in ["09:00", "2 08:00"] {
        stage.at(at);
        stage.obey_all();
    }
    assert!(held(&stage).contains("ahead of the clock"), "{}", held(&stage));
    stage.tell(What::ConfirmClock).expect("confirmed");
    for at in ["2 09:00", "3 08:00"] {
        stage.at(at);
        stage.obey_all();
    }
    assert_eq!(held(&stage), "");
    assert!(!stage.kept_names().contains(&"s4"), "{:?}", stage.kept_names());
}

/// G6.
#[test]
fn more_than_the_brake_lets_go_waits_for_a_person_who_approves_what_was_shown() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
    keep_days(&mut stage, "db", 8);
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 8);
    assert!(held(&stage).starts_with("6 of 8 snapshots would go at once"), "{}", held(&stage));
    assert!(guards(&stage)[0].contains("snapkeep deletions show"), "{:?}", guards(&stage));
    assert_eq!(notices(&stage, "held"), 1);
    // The same again is no news; a restart forgets nothing.
    stage.restart("2 07:00");
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!((stage.kept.len(), notices(&stage, "held")), (8, 1));

    let plan = waiting(&stage);
    let shown = stage.reader.plan(plan).expect("read").expect("there");
    assert_eq!(shown.plan.entries.iter().filter(|entry| entry.verdict.is_condemned()).count(), 6);
    // The policy keeps more by then, and the repository holds one that was not shown.
    stage.load(&[tidying("db", "0 8 * * *", 4)]);
    stage.keep("db", "s0", "-20 12:00");
    stage.at("2 09:00");
    approve(&mut stage).expect("approved");
    // Half-way the daemon is killed.
    for words in ["db list", "db list", "db delete s1", "db describe"] {
        stage.obey(words);
    }
    stage.restart("2 09:05");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s5", "s6", "s7", "s8", "s0"], "what was shown, as far as it is condemned");
    let refused = stage.tell(What::Approve { plan }).expect_err("answered");
    assert!(refused.to_string().contains("it was approved at"), "{refused}");
    let record = stage.reader.plan(plan).expect("read").expect("there");
    assert_eq!((record.deleted.len(), record.answer.is_some()), (4, true));
}

#[test]
fn a_plan_can_be_approved_for_a_day_and_refused_once() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 15 * *", 2)]);
    keep_days(&mut stage, "db", 8);
    stage.run("db", Kind::Deletion, None).expect("a run");
    stage.obey_all();
    let plan = waiting(&stage);
    stage.at("2 07:00:01");
    let late = stage.tell(What::Approve { plan }).expect_err("too late");
    assert!(late.to_string().contains("a plan waits 24h"), "{late}");
    stage.run("db", Kind::Deletion, None).expect("a run");
    stage.obey_all();
    let early = stage.tell(What::Approve { plan }).expect_err("another has taken its place");
    assert!(early.to_string().contains("a later plan"), "{early}");
    let plan = waiting(&stage);
    stage.tell(What::Refuse { plan }).expect("refused");
    assert!(stage.tracked("db").held().is_none());
    let again = stage.tell(What::Approve { plan }).expect_err("refused");
    assert!(again.to_string().contains("it was refused"), "{again}");
    let unknown = stage.tell(What::Refuse { plan: 999 }).expect_err("unknown");
    assert!(unknown.to_string().contains("no such plan"), "{unknown}");
    assert_eq!(stage.kept.len(), 8);
}

#[test]
fn an_ordinary_day_is_held_by_nothing() {
    let mut stage = Stage::new("07:30", &[deleting("db", "0 * * * *", "0 1 * * *", 48)]);
    for day in 1..=8 {
        for hour in 0..24 {
            let at = format!("{day} {hour:02}:10");
            if (day, hour) >= (1, 8) {
                stage.at(&at);
                stage.obey_all();
            }
        }
    }
    let runs = stage.runs("db");
    assert!(runs.iter().all(|run| run.ends_with("succeeded")), "{runs:?}");
    let deletions = runs.iter().filter(|run| run.starts_with("deletion")).count();
    assert_eq!((deletions, notices(&stage, "held")), (7, 0));
    assert!((48..=72).contains(&stage.kept.len()), "{}", stage.kept.len());
}

/// G11.
#[test]
fn an_edit_that_newly_condemns_much_is_told_before_it_acts_and_held() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 20)]);
    keep_days(&mut stage, "db", 20);
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["deletion of 08:00 by schedule: succeeded"]);
    stage.load(&[tidying("db", "0 8 * * *", 14)]);
    let told = guards(&stage).join("; ");
    assert!(told.contains("before: max_count 20, min_count 1; now: max_count 14, min_count 1"), "{told}");
    // A restart forgets neither, and a second edit is measured against what was in force at the last plan.
    stage.restart("09:00");
    stage.load(&[tidying("db", "0 8 * * *", 16)]);
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 16, "four of twenty are free");
    assert_eq!(guards(&stage), [""; 0]);
    stage.load(&[tidying("db", "0 8 * * *", 11)]);
    stage.at("3 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 16);
    assert!(
        held(&stage).starts_with("the condition was edited, and 5 snapshots go that stayed before; 4 are free"),
        "{}",
        held(&stage)
    );
    // Taken back, nothing is left of it.
    stage.load(&[tidying("db", "0 8 * * *", 16)]);
    stage.at("4 08:00");
    stage.obey_all();
    assert_eq!((held(&stage), stage.kept.len()), (String::new(), 16));
}

#[test]
fn a_policy_that_begins_to_delete_is_an_edit_too() {
    let mut creating = tidying("db", "0 8 * * *", 1);
    creating.deletion = None;
    let mut stage = Stage::new("07:00", &[creating]);
    keep_days(&mut stage, "db", 6);
    stage.load(&[tidying("db", "0 8 * * *", 1)]);
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 6);
    assert!(held(&stage).contains("the condition was edited, and 5 snapshots"), "{}", held(&stage));
}

/// G12.
#[test]
fn while_creation_fails_nothing_goes_for_its_age() {
    let text = PolicyText::new("db", "0 * * * *", Some(("30 * * * *", Some("3h"), None, 1)));
    let mut stage = Stage::new("07:30", &[text]);
    for at in ["08:00", "08:30", "09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "12:00", "12:30"] {
        stage.at(at);
        stage.obey_all();
    }
    let names = stage.kept.len();
    assert_eq!(names, 3, "10:00, 11:00, 12:00");
    for (at, kept) in [("13:00", 3), ("13:30", 2), ("14:00", 2), ("14:30", 2), ("15:00", 2), ("15:30", 2)] {
        stage.at(at);
        while let Some(words) = stage.asked().into_iter().next() {
            match words.as_str() {
                "db create" => stage.refuse(&words, Fault::permanent("no space")),
                _ => stage.obey(&words),
            }
        }
        assert_eq!(stage.kept.len(), kept, "at {at}");
    }
    let told = guards(&stage).join("; ");
    assert!(told.contains("creation has missed 3 triggers in a row"), "{told}");
    // As soon as one is made, old ones go again.
    for at in ["16:00", "16:30"] {
        stage.at(at);
        stage.obey_all();
    }
    assert_eq!((stage.kept.len(), guards(&stage).len()), (1, 0));
}

/// G15.
#[test]
fn after_another_program_or_a_restore_the_first_look_deletes_nothing() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 4)]);
    keep_days(&mut stage, "db", 6);
    stage.kill();
    let journal = rusqlite::Connection::open(stage.folder().join("journal.db")).expect("the journal");
    journal.execute("update instance set version = 'another'", []).expect("written");
    drop(journal);
    stage.restart("07:30");
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 6);
    assert_eq!(stage.runs("db"), ["deletion of 08:00 by schedule: succeeded"]);
    let told = guards(&stage).join("; ");
    assert!(told.contains("condemned by the first look"), "{told}");
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 4);
}

/// G7.
#[test]
fn with_grace_what_is_condemned_goes_by_a_later_run() {
    let span = |text: &str| Some(Span::parse(text).expect("a span"));
    let text = tidying("db", "0 */6 * * *", 4).guards(Guards { grace: span("12h"), ..Guards::default() });
    let mut stage = Stage::new("05:00", &[text]);
    keep_days(&mut stage, "db", 6);
    for (at, kept) in [("06:00", 6), ("12:00", 6), ("18:00", 4), ("2 00:00", 4)] {
        stage.at(at);
        stage.obey_all();
        assert_eq!(stage.kept.len(), kept, "at {at}");
        if kept == 6 {
            let told = guards(&stage).join("; ");
            assert!(told.contains("to go after its grace at 2026-03-01T18:00:00Z"), "{told}");
        }
        stage.kill();
        stage.restart(at);
    }
}

#[test]
fn what_the_brake_holds_does_not_go_when_its_grace_is_over_until_it_is_approved() {
    let span = |text: &str| Some(Span::parse(text).expect("a span"));
    let text = tidying("db", "0 */6 * * *", 1).guards(Guards { grace: span("6h"), ..Guards::default() });
    let mut stage = Stage::new("05:00", &[text]);
    keep_days(&mut stage, "db", 8);
    for at in ["06:00", "12:00", "18:00"] {
        stage.at(at);
        stage.obey_all();
        assert!(held(&stage).contains("7 of 8 snapshots would go at once"), "{at} {}", held(&stage));
    }
    stage.at("19:00");
    approve(&mut stage).expect("approved");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 1, "they were shown for longer than their grace: {}", held(&stage));
}

/// G14.
#[test]
fn with_a_rate_the_rest_goes_by_later_runs() {
    let text = tidying("db", "0,20 * * * *", 3).guards(Guards { rate: Some(2), ..Guards::default() });
    let mut stage = Stage::new("07:30", &[text]);
    keep_days(&mut stage, "db", 6);
    for (at, kept) in [("08:00", 4), ("08:20", 4), ("09:00", 3)] {
        stage.at(at);
        stage.obey_all();
        assert_eq!(stage.kept.len(), kept, "at {at}: {:?}", guards(&stage));
    }
}

/// What was decided under a good clock and is not ordered yet is thought over under a bad one.
#[test]
fn a_deletion_that_waits_to_be_ordered_is_not_ordered_by_a_doubted_clock() {
    let mut stage = Stage::new("07:00", &[ageing("4d")]);
    keep_days(&mut stage, "db", 6);
    stage.at("08:00");
    stage.obey("db list");
    stage.obey("db list");
    stage.expect_asked(&["db delete s1"]);
    stage.refuse("db delete s1", Fault::transient("not now"));
    stage.set_clock("3650 08:00");
    assert!(stage.asked().is_empty());
    for _ in 0..20 {
        stage.now = stage.now.plus(60_000);
        stage.turn(Vec::new());
        stage.obey_all();
    }
    let left = stage.kept_names().iter().filter(|name| name.starts_with('s')).count();
    assert_eq!(left, 6, "{:?}", stage.log);
}
