//! What OpenSearch's own tests of the state machine assert, as it is here: the engine is told the time and the
//! answers, and what is shown is compared. The table at the end of docs/opensearch-compatibility.md leads here.

use std::collections::BTreeMap;
use std::sync::Arc;

use snapkeep::engine::explain::ExplainedWorkflow;
use snapkeep::lifecycle::policy::Revision;
use snapkeep::lifecycle::snapshot::{Listing, Presence};
use snapkeep::lifecycle::workflow::{Answer, Fault, Kind};
use snapkeep::roster::Roster;

use crate::support::roster::{PolicyText, roster};
use crate::support::stage::{Stage, clock, instant, snapshot};

/// Creation at nine, and at ten a deletion by age or down to `max_count`.
fn both(max_age: Option<&str>, max_count: Option<u32>, min_count: u32) -> PolicyText {
    PolicyText::new("db", "0 9 * * *", Some(("0 10 * * *", max_age, max_count, min_count)))
}

fn creating() -> PolicyText {
    PolicyText::new("db", "0 9 * * *", None)
}

/// The same policies with none of them making snapshots.
fn without_creation(texts: &[PolicyText]) -> Arc<Roster> {
    let mut roster = roster(texts);
    for entry in Arc::get_mut(&mut roster).expect("nobody else has it").policies.values_mut() {
        let policy = &mut Arc::get_mut(entry).expect("nobody else has it").policy;
        policy.creation = None;
        policy.revision = Revision(format!("{} without creation", policy.revision).into());
    }
    roster
}

fn absent() -> Answer {
    Answer::Described(Presence::Absent)
}

fn shown(stage: &Stage, kind: Kind) -> ExplainedWorkflow {
    let explained = stage.explain("db");
    let workflow = match kind {
        Kind::Creation => explained.creation,
        Kind::Deletion => explained.deletion,
    };
    workflow.unwrap_or_else(|| panic!("no {} is shown", kind.word()))
}

/// Says where a workflow is: its state, how many snapshots it is at, attempts left, and how its latest run stands.
fn told(stage: &Stage, kind: Kind) -> String {
    let workflow = shown(stage, kind);
    let mut told = format!("{}, started {}", workflow.current_state, workflow.started.len());
    if let Some(count) = workflow.retry_count {
        told.push_str(&format!(", {count} left"));
    }
    if let Some(latest) = workflow.latest {
        let ended = if latest.end_at.is_some() { "ended" } else { "open" };
        told.push_str(&format!(", {} {ended}", latest.status));
        for (word, text) in [("message", latest.message), ("cause", latest.blame)] {
            if text.is_some_and(|text| !text.is_empty()) {
                told.push_str(&format!(", {word}"));
            }
        }
    }
    told
}

fn trigger(stage: &Stage, kind: Kind) -> String {
    shown(stage, kind).trigger_at.map_or_else(|| "never".to_string(), clock)
}

fn day_by_day(stage: &mut Stage, ages: &[i64]) {
    for age in ages {
        stage.keep("db", &format!("own-{age}"), &format!("{} 09:59", 1 - age));
    }
}

/// Lets the deletion at ten run, and returns what is left of the repository and what the run says.
fn left_at_ten(mut stage: Stage) -> (String, String) {
    stage.at("10:00");
    stage.obey_all();
    let latest = shown(&stage, Kind::Deletion).latest.expect("a run");
    assert_eq!(latest.status, "SUCCESS");
    let mut left = stage.kept_names();
    left.sort_unstable();
    (left.join(" "), latest.message.unwrap_or_default())
}

// ---- SMStateMachineTests, CreationStartStateTests, CreationConditionMetStateTests and their twins of deletion.

#[test]
fn what_is_due_begins_with_the_next_trigger_and_what_is_not_stays_as_it_was() {
    let mut stage = Stage::new("08:00", &[both(None, Some(3), 1)]);
    for (kind, at, state, next) in [
        (Kind::Creation, "09:00", "CREATION_CONDITION_MET", "2 09:00"),
        (Kind::Deletion, "10:00", "DELETION_CONDITION_MET", "2 10:00"),
    ] {
        let before = shown(&stage, kind);
        assert_eq!((trigger(&stage, kind).as_str(), stage.asked().len()), (at, 0));
        stage.now = stage.now.plus(60_000);
        stage.turn(Vec::new());
        assert_eq!(shown(&stage, kind), before, "a minute passed, and nothing is due");
        stage.at(at);
        let begun = shown(&stage, kind);
        assert_eq!((begun.current_state, begun.next_triggers.first().copied().map(clock)), (state, Some(next.into())));
        assert_eq!(stage.asked().len(), 1, "what is due is asked in the same turn");
        stage.obey_all();
    }
}

#[test]
fn a_state_that_was_reached_is_the_one_that_a_restart_finds() {
    let mut stage = Stage::new("08:55", &[both(None, Some(3), 1)]);
    stage.at("09:00");
    assert_eq!(shown(&stage, Kind::Creation).current_state, "CREATION_CONDITION_MET");
    stage.answer("db describe", absent());
    stage.answer("db create", Answer::Accepted);
    assert_eq!(told(&stage, Kind::Creation), "CREATING, started 1, IN_PROGRESS open, message");
    let before = shown(&stage, Kind::Deletion);
    stage.restart("09:01");
    assert_eq!(told(&stage, Kind::Creation), "CREATING, started 1, IN_PROGRESS open, message");
    assert_eq!((shown(&stage, Kind::Deletion), before.current_state), (before.clone(), "DELETION_START"));
}

/// Refuses what the workflow asks until none of its attempts are left, and says what is shown after each refusal.
fn refused_to_the_end(kind: Kind, effect: &str) -> (Stage, Vec<String>) {
    let (before, at) = if kind == Kind::Creation { ("08:55", "09:00") } else { ("09:30", "10:00") };
    let mut stage = Stage::new(before, &[both(None, Some(1), 1)]);
    day_by_day(&mut stage, &[1, 2]);
    stage.at(at);
    let mut all = Vec::new();
    let mut minutes = 0;
    while shown(&stage, kind).latest.is_some_and(|latest| latest.end_at.is_none()) {
        assert!(minutes < 60, "it never ends: {all:#?}");
        match stage.asked().into_iter().next() {
            Some(words) if words == effect => {
                stage.refuse(&words, Fault::transient("reset"));
                all.push(told(&stage, kind));
            }
            Some(words) => stage.obey(&words),
            None => {
                minutes += 1;
                stage.now = stage.now.plus(60_000);
                stage.turn(Vec::new());
            }
        }
    }
    (stage, all)
}

#[test]
fn attempts_are_counted_down_and_when_none_is_left_the_workflow_is_at_its_start_with_the_cause() {
    for (kind, effect, states) in [
        (Kind::Creation, "db create", ["CREATION_CONDITION_MET, started 1", "CREATION_START, started 0"]),
        (Kind::Deletion, "db list", ["DELETION_CONDITION_MET, started 0", "DELETION_START, started 0"]),
        (Kind::Deletion, "db delete own-2", ["DELETING, started 1", "DELETION_START, started 0"]),
    ] {
        let (mut stage, all) = refused_to_the_end(kind, effect);
        let [trying, over] = states;
        let expected = [3, 2, 1].map(|left| format!("{trying}, {left} left, RETRYING open, message, cause"));
        assert_eq!(all[..3], expected, "{effect}");
        // Of a creation something may still be at work; once it is known that nothing is, none is shown.
        assert!(all.len() == 4 && all[3].ends_with(", FAILED ended, message, cause"), "{effect}: {all:#?}");
        stage.obey_all();
        assert_eq!(told(&stage, kind), format!("{over}, FAILED ended, message, cause"), "{effect}");
        let latest = shown(&stage, kind).latest.expect("a run");
        assert_eq!((latest.blame.as_deref(), latest.attempts), (Some("reset"), 4), "{effect}");
    }
}

#[test]
fn what_ends_one_workflow_leaves_the_other_as_it_is() {
    // Both are trying again, the creation a person's beside the deletion; then the one ends.
    let overlapping = || {
        let mut stage = Stage::new("09:30", &[both(None, Some(1), 1)]);
        day_by_day(&mut stage, &[1, 2]);
        stage.at("10:00");
        stage.refuse("db list", Fault::transient("reset"));
        stage.run("db", Kind::Creation, None).expect("begun");
        stage.answer("db describe", absent());
        stage.refuse("db create", Fault::transient("reset"));
        stage
    };
    let (creation, deletion) = (
        "CREATION_CONDITION_MET, started 1, 3 left, RETRYING open, message, cause",
        "DELETION_CONDITION_MET, started 0, 3 left, RETRYING open, message, cause",
    );
    let stage = overlapping();
    assert_eq!((told(&stage, Kind::Creation), told(&stage, Kind::Deletion)), (creation.into(), deletion.into()));
    for (ends, permanent, left) in [(Kind::Creation, "db describe", deletion), (Kind::Deletion, "db list", creation)] {
        let mut stage = overlapping();
        let other = if ends == Kind::Creation { Kind::Deletion } else { Kind::Creation };
        let before = shown(&stage, other);
        for _ in 0..60 {
            if stage.asked().iter().any(|words| words == permanent) {
                break;
            }
            stage.now = stage.now.plus(1_000);
            stage.turn(Vec::new());
        }
        stage.refuse(permanent, Fault::permanent("no key"));
        assert!(told(&stage, ends).ends_with("_START, started 0, FAILED ended, message, cause"), "{ends:?}");
        assert_eq!(told(&stage, other), left);
        let after = shown(&stage, other);
        assert_eq!((after.latest, after.started), (before.latest, before.started));
    }
}

#[test]
fn a_time_limit_brings_either_workflow_back_to_its_start() {
    let text = || both(None, Some(1), 1).time_limit("10m");
    let mut stage = Stage::new("08:55", &[text()]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.answer("db create", Answer::Accepted);
    stage.at("09:10");
    // What may still be at work stays watched, and is shown; the run itself is over.
    assert_eq!(told(&stage, Kind::Creation), "CREATION_START, started 1, TIME_LIMIT_EXCEEDED ended, message");
    for (answered, started) in [(0, 0), (2, 1)] {
        let mut stage = Stage::new("09:30", &[text()]);
        day_by_day(&mut stage, &[1, 2]);
        stage.at("10:00");
        for _ in 0..answered {
            stage.obey("db list");
        }
        stage.at("10:10");
        let expected = format!("DELETION_START, started {started}, TIME_LIMIT_EXCEEDED ended, message");
        assert_eq!(told(&stage, Kind::Deletion), expected);
        assert_eq!(stage.kept.len(), 2);
    }
}

#[test]
fn a_workflow_that_a_policy_has_not_asks_nothing_and_is_not_shown() {
    let mut stage = Stage::new("08:55", &[both(None, Some(1), 1)]);
    day_by_day(&mut stage, &[1, 2]);
    stage.load_roster(without_creation(&[both(None, Some(1), 1)]));
    stage.at("09:30");
    assert!(stage.explain("db").creation.is_none() && stage.log.is_empty(), "{:?}", stage.log);
    // It is added: its trigger is the next of its schedule, and what was missed without it is not made up for.
    stage.load(&[both(None, Some(1), 1)]);
    assert_eq!(told(&stage, Kind::Creation), "CREATION_START, started 0");
    assert_eq!((trigger(&stage, Kind::Creation).as_str(), stage.log.len()), ("2 09:00", 0));

    stage.load(&[creating()]);
    stage.at("11:00");
    assert!(stage.explain("db").deletion.is_none() && stage.log.is_empty(), "{:?}", stage.log);
    assert_eq!(stage.kept.len(), 2);
}

#[test]
fn a_policy_that_only_deletes_runs_without_a_creation() {
    let mut stage = Stage::with("08:55", without_creation(&[both(None, Some(2), 1)]), 64);
    day_by_day(&mut stage, &[1, 2, 3]);
    assert!(stage.explain("db").creation.is_none());
    stage.at("10:00");
    stage.obey_all();
    assert_eq!((stage.kept_names(), stage.log.first().map(String::as_str)), (vec!["own-1", "own-2"], Some("db list")));
    assert_eq!(told(&stage, Kind::Deletion), "DELETION_START, started 0, SUCCESS ended, message");
    assert!(stage.explain("db").creation.is_none());
}

// ---- CreatingStateTests.

#[test]
fn a_creation_that_was_accepted_is_shown_with_its_one_snapshot() {
    let mut stage = Stage::new("08:55", &[creating()]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.answer("db create", Answer::Accepted);
    let workflow = shown(&stage, Kind::Creation);
    let latest = workflow.latest.expect("a run");
    assert_eq!((workflow.current_state, latest.status, latest.end_at), ("CREATING", "IN_PROGRESS", None));
    assert_eq!((latest.start_at, workflow.started.len()), (instant("09:00"), 1));
    assert!(workflow.started[0].starts_with("db-20260301t090000z-"), "{:?}", workflow.started);
}

/// There the newest snapshot of the period is taken for the run's own; here a run knows its own by its name alone.
#[test]
fn a_run_accepts_what_stands_under_its_own_name_and_no_other_snapshot_of_the_policy() {
    let mut stage = Stage::new("08:55", &[creating()]);
    stage.at("09:00");
    stage.answer("db describe", Answer::Described(Presence::Good { message: None }));
    assert_eq!(told(&stage, Kind::Creation), "CREATION_START, started 0, SUCCESS ended, message");
    assert_eq!(stage.log, ["db describe"], "nothing is created that is there");

    for (taken_at, words) in [("09:00", "begun in this period"), ("-369 09:00", "370 days old")] {
        let mut stage = Stage::new("08:55", &[creating()]);
        stage.keep("db", "db-another", taken_at);
        stage.at("09:00");
        stage.obey_all();
        assert_eq!((stage.kept.len(), &*stage.log), (2, &["db describe".into(), "db create".into()][..]), "{words}");
    }
}

// ---- CreationFinishedStateTests.

#[test]
fn what_becomes_of_a_snapshot_that_is_followed_is_shown_in_opensearchs_words() {
    let text = |text: &str| text.to_string();
    for (answer, expected) in [
        (Answer::Described(Presence::Good { message: None }), "CREATION_START, started 0, SUCCESS ended, message"),
        (Answer::Described(Presence::Running), "CREATING, started 1, IN_PROGRESS open, message"),
        (
            Answer::Described(Presence::Failed { message: text("disk full") }),
            "CREATION_START, started 0, FAILED ended, message, cause",
        ),
        (
            Answer::Described(Presence::Partial { message: text("two files") }),
            "CREATION_START, started 0, FAILED ended, message, cause",
        ),
        (Answer::Refused(Fault::transient("reset")), "CREATING, started 1, 4 left, RETRYING open, message, cause"),
        // A success there.
        (Answer::Described(Presence::Absent), "CREATION_START, started 0, FAILED ended, message"),
    ] {
        let mut stage = Stage::new("08:55", &[creating()]);
        stage.at("09:00");
        stage.answer("db describe", absent());
        stage.answer("db create", Answer::Accepted);
        stage.at("09:01");
        stage.answer("db describe", answer.clone());
        assert_eq!(told(&stage, Kind::Creation), expected, "{answer:?}");
    }
}

// ---- DeletingStateTests.

#[test]
fn of_eleven_one_goes_where_ten_may_stay() {
    let mut stage = Stage::new("09:30", &[both(None, Some(10), 1)]);
    day_by_day(&mut stage, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    stage.at("10:00");
    stage.obey("db list");
    assert_eq!(shown(&stage, Kind::Deletion).started, ["own-11".into()]);
    stage.obey_all();
    assert_eq!((stage.kept.len(), stage.kept_names().contains(&"own-11")), (10, false));
}

#[test]
fn what_is_old_goes_down_to_min_count_and_a_run_that_finds_nothing_says_so() {
    let minutes = |min_count: u32, kept: &[&str]| {
        let mut stage = Stage::new("09:30", &[both(Some("1m"), None, min_count)]);
        for at in kept {
            stage.keep("db", at, at);
        }
        stage
    };
    assert_eq!(left_at_ten(minutes(1, &["09:58", "10:00"])), ("10:00".into(), "deleted 1 snapshot".into()));
    // There no record is made of a run that finds nothing.
    for kept in [&["09:58", "10:00"][..], &["09:58"]] {
        assert_eq!(left_at_ten(minutes(2, kept)), (kept.join(" "), "nothing to delete".into()));
    }
    // There an entry that is listed twice counts once; here nobody knows which of the two is meant, and none goes.
    let mut twice = minutes(1, &["09:58", "10:00"]);
    twice.kept.push(twice.kept[0].clone());
    assert_eq!(left_at_ten(twice).0, "09:58 09:58 10:00");
}

#[test]
fn snapshots_of_others_neither_count_nor_go_until_the_policy_owns_them() {
    // There a pattern takes them in; here they have to be made the policy's own.
    let stage = |min_count: u32, own: &[i64], others: &[i64], is_owned: bool| {
        let mut stage = Stage::with("09:30", without_creation(&[both(Some("7d"), None, min_count)]), 64);
        day_by_day(&mut stage, own);
        for age in others {
            let (name, taken_at) = (format!("own-{age}"), format!("{} 09:59", 1 - age));
            if is_owned {
                stage.keep("db", &name, &taken_at);
            } else {
                stage.kept.push(snapshot(&name, instant(&taken_at), BTreeMap::new()));
            }
        }
        stage
    };
    let left = |stage: Stage| left_at_ten(stage).0;
    assert_eq!(left(stage(2, &[8, 2], &[10, 1], true)), "own-1 own-2");
    assert_eq!(left(stage(2, &[8, 2], &[10, 1], false)), "own-1 own-10 own-2 own-8");
    assert_eq!(left(stage(1, &[8, 2], &[10, 1], false)), "own-1 own-10 own-2");
    for is_owned in [true, false] {
        assert_eq!(left(stage(2, &[8], &[10], is_owned)), "own-10 own-8");
    }
}

// ---- DeletionFinishedStateTests.

#[test]
fn what_becomes_of_a_deletion_that_is_confirmed_is_shown_in_opensearchs_words() {
    let good = || Answer::Described(Presence::Good { message: None });
    for (answer, expected) in [
        (absent(), "DELETION_START, started 0, SUCCESS ended, message"),
        // There it waits; here the driver's word is not enough, and another plan has to be made.
        (good(), "DELETION_CONDITION_MET, started 0, 3 left, RETRYING open, message, cause"),
        (Answer::Refused(Fault::transient("reset")), "DELETING, started 1, 2 left, RETRYING open, message, cause"),
        (Answer::Listed(Listing { snapshots: Vec::new() }), "DELETION_START, started 0, SUCCESS ended, message"),
    ] {
        let mut stage = Stage::new("09:30", &[both(None, Some(1), 1)]);
        day_by_day(&mut stage, &[1, 2]);
        stage.at("10:00");
        for words in ["db list", "db list", "db delete own-2"] {
            stage.obey(words);
        }
        assert_eq!(told(&stage, Kind::Deletion), "DELETING, started 1, IN_PROGRESS open, message");
        stage.answer("db describe", answer.clone());
        assert_eq!(told(&stage, Kind::Deletion), expected, "{answer:?}");
    }
}
