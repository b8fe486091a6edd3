//! Ways round the guards: by waiting, by restarting, by settings that meet, by names that return. None may lead
//! past them, and none may make an ordinary policy wait for a person.

use rusqlite::Connection;
use snapkeep::engine::event::What;
use snapkeep::lifecycle::policy::Guards;
use snapkeep::lifecycle::time::Span;

use super::{deleting, keep_days, tidying};
use crate::support::roster::PolicyText;
use crate::support::stage::Stage;

fn ageing(schedule: &str, max_age: &str) -> PolicyText {
    PolicyText::new("db", "0 0 31 12 *", Some((schedule, Some(max_age), None, 1)))
}

fn held(stage: &Stage) -> String {
    stage.explain("db").deletion.and_then(|deletion| deletion.held).unwrap_or_default()
}

fn waiting(stage: &Stage) -> u64 {
    stage.tracked("db").held().expect("a plan waits").number
}

fn span(text: &str) -> Option<Span> {
    Some(Span::parse(text).expect("a span"))
}

/// Lets each hour of some days pass, from the first one's `from` on.
fn hours(stage: &mut Stage, days: std::ops::RangeInclusive<u32>, from: u32) {
    let first = *days.start();
    for day in days {
        for hour in (0..24).filter(|hour| day > first || *hour >= from) {
            stage.at(&format!("{day} {hour:02}:10"));
            stage.obey_all();
        }
    }
}

fn written_by_another(stage: &mut Stage, at: &str) {
    stage.kill();
    let journal = Connection::open(stage.folder().join("journal.db")).expect("the journal");
    journal.execute("update instance set version = 'another'", []).expect("written");
    drop(journal);
    stage.restart(at);
}

#[test]
fn a_plan_that_is_held_does_not_release_itself_by_waiting() {
    for refuses in [false, true] {
        let mut stage = Stage::new("06:00", &[deleting("db", "0 7 * * *", "0 8 * * *", 2)]);
        keep_days(&mut stage, "db", 8);
        for day in 1..=30 {
            for at in ["07:00", "08:00", "09:00"] {
                stage.at(&format!("{day} {at}"));
                stage.obey_all();
            }
            if refuses && stage.tracked("db").held().is_some() {
                let plan = waiting(&stage);
                stage.tell(What::Refuse { plan }).expect("refused");
            }
            if day == 15 {
                stage.restart("15 10:00");
            }
        }
        assert_eq!(stage.kept.len(), 38, "{refuses} {}", held(&stage));
    }
}

#[test]
fn an_edit_that_is_held_does_not_release_itself_by_waiting() {
    let mut stage = Stage::new("06:00", &[deleting("db", "0 7 * * *", "0 8 * * *", 20)]);
    keep_days(&mut stage, "db", 20);
    for day in 1..=60 {
        for at in ["07:00", "08:00", "09:00"] {
            stage.at(&format!("{day} {at}"));
            stage.obey_all();
        }
        if day == 2 {
            stage.load(&[deleting("db", "0 7 * * *", "0 8 * * *", 4)]);
        }
    }
    assert!(stage.kept.len() > 70 && held(&stage).contains("was edited"), "{} {}", stage.kept.len(), held(&stage));
}

#[test]
fn an_ordinary_policy_goes_on_over_an_upgrade() {
    let mut stage = Stage::new("07:30", &[deleting("db", "0 * * * *", "0 1 * * *", 48)]);
    hours(&mut stage, 1..=5, 8);
    for (first, last) in [(6, 9), (10, 13)] {
        written_by_another(&mut stage, &format!("{first} 00:05"));
        hours(&mut stage, first..=last, 0);
    }
    let runs = stage.runs("db");
    assert!(runs.iter().all(|run| run.ends_with("succeeded")), "{runs:?}");
    assert!((48..=72).contains(&stage.kept.len()), "{}", stage.kept.len());
}

#[test]
fn an_upgrade_does_not_forget_what_a_listing_showed() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 30)]);
    keep_days(&mut stage, "db", 30);
    stage.at("08:00");
    stage.obey_all();
    stage.kept.truncate(9);
    written_by_another(&mut stage, "09:00");
    stage.load(&[tidying("db", "0 8 * * *", 8)]);
    for day in ["2", "3"] {
        stage.at(&format!("{day} 08:00"));
        stage.obey_all();
        assert!(held(&stage).contains("lists 9 of this policy's snapshots"), "{day} {}", held(&stage));
    }
    assert_eq!(stage.kept.len(), 9);
}

#[test]
fn a_rate_takes_nothing_from_the_brake_and_an_approval_covers_all_that_was_shown() {
    let guards = |rate| Guards { rate: Some(rate), ..Guards::default() };
    let mut stage = Stage::new("07:30", &[ageing("0 * * * *", "60d").guards(guards(3))]);
    keep_days(&mut stage, "db", 30);
    stage.at("08:10");
    stage.obey_all();
    stage.load(&[ageing("0 * * * *", "3d").guards(guards(3))]);
    hours(&mut stage, 1..=3, 9);
    assert_eq!(stage.kept.len(), 30, "{}", held(&stage));

    let mut stage = Stage::new("07:30", &[tidying("db", "0 8 * * *", 3).guards(guards(5))]);
    keep_days(&mut stage, "db", 13);
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 13);
    let plan = waiting(&stage);
    stage.at("08:01");
    stage.tell(What::Approve { plan }).expect("approved");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 8);
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!((stage.kept.len(), held(&stage)), (3, String::new()));
}

#[test]
fn a_rate_is_kept_over_restarts() {
    let guards = Guards { rate: Some(2), ..Guards::default() };
    let mut stage = Stage::new("07:30", &[tidying("db", "0,10,20,30 * * * *", 6).guards(guards)]);
    keep_days(&mut stage, "db", 9);
    for (at, kept) in [("08:00", 7), ("08:10", 7), ("08:20", 7), ("09:00", 6)] {
        stage.at(at);
        stage.obey_all();
        assert_eq!(stage.kept.len(), kept, "{at}");
        stage.restart(&format!("{at}:30"));
    }
}

#[test]
fn with_grace_and_rate_together_each_waits_once() {
    let guards = Guards { rate: Some(1), grace: span("12h"), ..Guards::default() };
    let mut stage = Stage::new("05:00", &[tidying("db", "0 */2 * * *", 4).guards(guards)]);
    keep_days(&mut stage, "db", 7);
    for (at, kept) in [("06:00", 7), ("16:00", 7), ("18:00", 6), ("20:00", 5), ("22:00", 4), ("2 00:00", 4)] {
        stage.at(at);
        stage.obey_all();
        assert_eq!(stage.kept.len(), kept, "{at}");
    }
}

#[test]
fn a_run_that_is_held_half_way_shows_and_deletes_no_more_than_its_plan() {
    let guards = Guards { grace: span("12h"), ..Guards::default() };
    let mut stage = Stage::new("05:00", &[tidying("db", "0 */6 * * *", 4).guards(guards)]);
    keep_days(&mut stage, "db", 6);
    stage.at("06:00");
    stage.obey_all();
    for number in 0..20 {
        stage.keep("db", &format!("t{number:02}"), &format!("11:{number:02}"));
    }
    stage.at("12:00");
    stage.obey_all();
    stage.at("18:00");
    stage.obey("db list");
    // Between plan and deletion the clock is set ten minutes ahead.
    stage.set_clock("18:10");
    stage.obey_all();
    assert!(held(&stage).contains("the clock is doubted"), "{}", held(&stage));
    let plan = waiting(&stage);
    let shown = stage.reader.plan(plan).expect("read").expect("there");
    assert_eq!(shown.plan.approval(plan).targets.len(), 2);
    stage.tell(What::Approve { plan }).expect("approved");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 24);
}

#[test]
fn an_approval_that_was_stopped_approves_nothing_later() {
    let guards = Guards { grace: span("6h"), ..Guards::default() };
    let mut stage = Stage::new("05:00", &[tidying("db", "0 */6 * * *", 1).guards(guards)]);
    keep_days(&mut stage, "db", 8);
    stage.at("06:00");
    stage.obey_all();
    let plan = waiting(&stage);
    stage.at("06:01");
    stage.tell(What::Approve { plan }).expect("approved");
    stage.stop("db");
    stage.at("3 05:00");
    stage.resume("db");
    stage.at("3 06:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 8, "{}", held(&stage));
    assert!(held(&stage).contains("would go at once"), "{}", held(&stage));
}

#[test]
fn a_policy_that_returns_under_its_uid_is_guarded_as_before() {
    let text = |max_count| tidying("db", "0 8 * * *", max_count).uid("u1");
    let mut stage = Stage::new("07:00", &[text(20)]);
    keep_days(&mut stage, "db", 20);
    stage.at("08:00");
    stage.obey_all();
    stage.load(&[]);
    stage.at("09:00");
    stage.kept.drain(0..12);
    stage.load(&[text(5)]);
    for at in ["2 08:00", "3 08:00"] {
        stage.at(at);
        stage.obey_all();
        assert!(held(&stage).contains("lists 8 of this policy's snapshots"), "{at} {}", held(&stage));
    }
    assert_eq!(stage.kept.len(), 8);
    stage.restart("4 07:00");
    stage.at("4 08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 8);
}

#[test]
fn deletion_that_is_taken_out_and_put_back_goes_on() {
    let text = deleting("db", "0 * * * *", "0 1 * * *", 48);
    let mut stage = Stage::new("07:30", std::slice::from_ref(&text));
    hours(&mut stage, 1..=5, 8);
    let mut without = text.clone();
    without.deletion = None;
    stage.load(&[without]);
    stage.at("5 23:30");
    stage.obey_all();
    stage.load(&[text]);
    hours(&mut stage, 6..=7, 0);
    assert_eq!(held(&stage), "");
    assert!(stage.kept.len() <= 72, "{}", stage.kept.len());
}

#[test]
fn a_number_that_no_plan_can_have_harms_nobody() {
    let mut stage = Stage::new("07:30", &[tidying("db", "0 8 * * *", 2)]);
    for plan in [0, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        for what in [What::Approve { plan }, What::Refuse { plan }] {
            let refused = stage.tell(what).expect_err("no such plan");
            assert!(refused.to_string().contains("no such plan"), "{refused}");
        }
        assert_eq!(stage.reader.plan(plan).expect("read"), None);
    }
}

#[test]
fn a_journal_that_knows_nothing_of_clocks_knows_how_late_it_was() {
    let mut stage = Stage::new("07:00", &[ageing("0 * * * *", "4d")]);
    keep_days(&mut stage, "db", 7);
    stage.at("08:00");
    stage.kill();
    let journal = Connection::open(stage.folder().join("journal.db")).expect("the journal");
    journal.execute("delete from clock", []).expect("forgotten");
    drop(journal);
    stage.now.boot = 8;
    stage.synchronised = false;
    stage.restart("3650 07:30");
    let restrictions = stage.view.daemon().restrictions;
    assert!(restrictions[0].contains("and nothing vouches for it"), "{restrictions:?}");
    for at in ["3650 08:00", "3650 09:00"] {
        stage.at(at);
        stage.obey_all();
    }
    assert_eq!(stage.kept_names().iter().filter(|name| name.starts_with('s')).count(), 7);
}

#[test]
fn an_approval_after_two_policies_changed_names_deletes_what_was_shown_and_nothing_of_the_other() {
    let (one, other) = (tidying("a", "0 8 * * *", 1).uid("x"), tidying("b", "0 8 * * *", 1).uid("y"));
    let mut stage = Stage::new("07:00", &[one.clone(), other.clone()]);
    for policy in ["a", "b"] {
        for number in 1..=6 {
            stage.keep(policy, &format!("{policy}{number}"), &format!("{} 12:00", number - 6));
        }
    }
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 12, "both are held");
    let plan = stage.tracked("a").held().expect("a plan waits").number;
    stage.load(&[one.named("b"), other.named("a")]);
    stage.at("08:01");
    stage.tell(What::Approve { plan }).expect("approved");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["a6", "b1", "b2", "b3", "b4", "b5", "b6"]);
}
