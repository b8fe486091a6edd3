//! Time limits, and clocks that are set.

use snapkeep::engine::event::Event;
use snapkeep::journal::record::{NoticeQuery, NoticeState};
use snapkeep::lifecycle::notice;
use snapkeep::lifecycle::workflow::Answer;

use super::{absent, creating, good, running};
use crate::support::stage::Stage;

/// Trap 4, S26.
#[test]
fn a_time_limit_settles_with_its_notice_and_the_name_stays_watched() {
    let mut stage = Stage::new("08:55", &[creating("db", "*/30 * * * *").time_limit("20m")]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.expect_asked(&["db create"]);
    stage.at("09:19:59");
    assert!(stage.abandoned.is_empty());

    // One turn, one commit: the outcome and its notice.
    stage.now = stage.now.plus(1_000);
    stage.try_turn(Vec::new()).expect("the journal holds");
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: time_limit_exceeded"]);
    let owed = stage
        .reader
        .notices(&NoticeQuery { state: Some(NoticeState::Pending), limit: 10, ..NoticeQuery::default() })
        .expect("notices");
    assert_eq!((owed.len(), owed[0].notice.event), (1, notice::Event::TimeLimitExceeded));
}

#[test]
fn nothing_new_starts_until_what_a_time_limit_left_behind_is_over() {
    let mut stage = Stage::new("08:55", &[super::deleting("db", "*/30 * * * *", "45 * * * *", 3).time_limit("20m")]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.at("09:20");
    assert_eq!(stage.abandoned.len(), 1, "the job is given up");
    stage.expect_asked(&["db cancel"]);
    stage.answer("db cancel", Answer::Cancelled);
    stage.answer("db describe", running());
    stage.at("10:10");
    assert_eq!(
        stage.skips("db"),
        ["creation watched 1: 09:30 to 09:30", "creation watched 1: 10:00 to 10:00"],
        "and the deletion waits"
    );
    stage.answer("db describe", good());
    assert_eq!(stage.runs("db")[1], "deletion of 09:45 by schedule: under way");
    stage.obey_all();
    stage.at("10:30");
    stage.obey_all();
    assert_eq!(stage.runs("db")[2], "creation of 10:30 by schedule: succeeded");
}

#[test]
fn a_watch_goes_on_after_a_restart_and_asks_by_settings_that_were_put_right() {
    let text = creating("db", "*/30 * * * *").time_limit("20m").effects_max(3);
    let mut stage = Stage::new("08:55", std::slice::from_ref(&text));
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.at("09:20");
    stage.answer("db cancel", Answer::Cancelled);
    stage.restart("09:21");
    stage.expect_asked(&["db describe"]);
    stage.load(&[text.effects_max(5)]);
    stage.answer("db describe", running());
    stage.at("09:25");
    let ask = stage.take_ask("db describe");
    assert_eq!(ask.driver.abilities().effects_max, 5);
    stage.turn(vec![Event::Answered { job: ask.id, answer: absent() }]);
    stage.at("09:30");
    assert_eq!(stage.runs("db")[1], "creation of 09:30 by schedule: under way");
}

#[test]
fn a_time_limit_counts_from_the_run_s_beginning_whatever_the_clock_says() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *").time_limit("30m")]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.set_clock("12:00");
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: under way"]);
    stage.set_clock("05:00");
    stage.at("05:29:59");
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: under way"]);
    stage.at("05:30");
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: time_limit_exceeded"]);
}

/// S12, S13.
#[test]
fn a_clock_set_back_lowers_marks_and_runs_no_trigger_twice() {
    for told in [true, false] {
        let mut stage = Stage::new("08:30", &[creating("db", "0 * * * *")]);
        for hour in ["09:00", "10:00", "11:00", "12:00"] {
            stage.at(hour);
            stage.obey_all();
        }
        stage.at("12:10");
        if told {
            stage.set_clock("09:30");
        } else {
            stage.now.wall = crate::support::stage::instant("09:30");
            stage.turn(Vec::new());
        }
        assert_eq!(stage.skips("db"), ["creation clock_moved_back 3: 10:00 to 12:00"]);
        assert!(stage.view.daemon().clock_moved_back.is_some());
        let next = stage.explain("db").creation.expect("creation").trigger_at;
        assert_eq!(next.map(crate::support::stage::clock).as_deref(), Some("10:00"), "told: {told}");
        stage.at("12:30");
        assert_eq!(stage.runs("db").len(), 4, "told: {told}");
        stage.at("13:00");
        stage.obey_all();
        assert_eq!(stage.runs("db")[4..], ["creation of 13:00 by schedule: succeeded"]);
    }
}

#[test]
fn a_start_under_a_clock_that_was_set_back_does_not_stall() {
    let mut stage = Stage::new("08:30", &[creating("db", "0 * * * *")]);
    for hour in ["09:00", "10:00", "11:00", "12:00"] {
        stage.at(hour);
        stage.obey_all();
    }
    stage.kill();
    stage.now.wall = crate::support::stage::instant("09:30");
    stage.restart("09:30");
    assert_eq!(stage.skips("db"), ["creation clock_moved_back 3: 10:00 to 12:00"]);
    stage.at("13:00");
    assert_eq!(stage.runs("db")[4..], ["creation of 13:00 by schedule: under way"]);
}

#[test]
fn a_clock_set_back_a_little_waits_for_the_mark() {
    let mut stage = Stage::new("08:55", &[creating("db", "*/10 * * * *")]);
    stage.at("09:00");
    stage.obey_all();
    stage.set_clock("08:30");
    stage.at("09:09");
    assert_eq!((stage.runs("db").len(), stage.skips("db").len()), (1, 0));
    stage.at("09:10");
    assert_eq!(stage.runs("db")[1..], ["creation of 09:10 by schedule: under way"]);
}

/// S14.
#[test]
fn a_clock_set_forward_makes_missed_triggers_of_what_it_jumped_over() {
    let mut stage = Stage::new("08:55", &[creating("db", "*/10 * * * *")]);
    stage.at("09:00");
    stage.obey_all();
    stage.at("09:05");
    stage.set_clock("10:15");
    assert_eq!(stage.runs("db")[1..], ["creation of 10:10 by catch_up: under way"]);
    assert_eq!(stage.skips("db"), ["creation missed 6: 09:10 to 10:00"]);
}

#[test]
fn the_engine_wakes_when_something_is_due_and_not_before() {
    let mut stage = Stage::new("08:30", &[creating("db", "0 12 * * *"), super::tidying("old", "0 13 * * *", 2)]);
    // The start is told once, nothing else happens till noon: the loop's own minute is the only wake.
    stage.at("08:31");
    let idle = stage.idle_ms().expect("a trigger is due");
    assert_eq!(idle, 3 * 3_600_000 + 29 * 60_000);
    stage.turn(vec![Event::ClockStepped]);
    assert_eq!(stage.idle_ms(), Some(idle));
}

#[test]
fn a_daemon_that_stops_begins_nothing_and_does_not_spin() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 * * * *"), creating("wiki", "30 8 * * *")]);
    stage.at("08:59:58");
    stage.try_turn(vec![Event::Stop]).expect("the journal holds");
    stage.now = stage.now.plus(5_000);
    let errands = stage.try_turn(Vec::new()).expect("the journal holds");
    assert!(errands.begin.is_empty());
    assert_eq!(stage.runs("db"), [""; 0]);
    stage.restart("09:00:10");
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: under way"]);
}
