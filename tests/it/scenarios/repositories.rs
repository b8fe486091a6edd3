//! Whose turn it is at a repository, and how much is asked at once.

use snapkeep::lifecycle::workflow::{Answer, Fault, Kind};

use super::{absent, creating, good, keep_days, running, tidying};
use crate::support::roster::{PolicyText, roster};
use crate::support::stage::Stage;

fn alone(text: PolicyText) -> PolicyText {
    text.effects_max(1)
}

/// S7.
#[test]
fn a_repository_that_takes_one_at_a_time_gets_creations_first_and_then_deletions() {
    let texts = [creating("a", "0 9 * * *"), tidying("b", "0 9 * * *", 1), creating("c", "0 9 * * *")].map(alone);
    let mut stage = Stage::new("08:55", &texts);
    stage.at("09:00");
    stage.expect_asked(&["a describe"]);
    assert_eq!(stage.waits_for("b", Kind::Deletion), "its turn at repository simulated");
    stage.obey("a describe");
    stage.expect_asked(&["a create"]);
    stage.obey("a create");
    stage.expect_asked(&["c describe"]);
    stage.obey("c describe");
    stage.obey("c create");
    stage.expect_asked(&["b list"]);
    stage.obey_all();
    for policy in ["a", "b", "c"] {
        assert!(stage.runs(policy)[0].ends_with("succeeded"), "{policy}");
    }
}

#[test]
fn a_repository_that_makes_a_snapshot_by_itself_is_busy_until_it_is_whole() {
    let texts = [creating("a", "0 9 * * *"), tidying("b", "1 9 * * *", 1)].map(alone);
    let mut stage = Stage::new("08:55", &texts);
    stage.at("09:00");
    stage.answer("a describe", absent());
    stage.answer("a create", Answer::Accepted);
    stage.at("09:02");
    stage.expect_asked(&["a describe"]);
    stage.answer("a describe", running());
    stage.expect_asked(&[]);
    // Nobody knows better after a restart.
    stage.restart("09:05");
    stage.expect_asked(&["a describe"]);
    stage.answer("a describe", running());
    stage.expect_asked(&[]);
    stage.at("09:06");
    stage.answer("a describe", good());
    stage.expect_asked(&["b list"]);
}

#[test]
fn a_run_that_waits_to_try_again_lets_others_in() {
    let texts = [creating("a", "0 9 * * *"), tidying("b", "0 9 * * *", 1)].map(alone);
    let mut stage = Stage::new("08:55", &texts);
    stage.at("09:00");
    stage.refuse("a describe", Fault::transient("reset"));
    stage.expect_asked(&["b list"]);
    stage.at("09:01");
    stage.expect_asked(&["b list"]);
    assert_eq!(stage.waits_for("a", Kind::Creation), "its turn at repository simulated");
    stage.obey_all();
    assert!(stage.runs("a")[0].ends_with("succeeded"));
}

#[test]
fn who_came_first_goes_first() {
    let texts = [creating("a", "5 9 * * *"), creating("m", "55 8 * * *"), creating("z", "0 9 * * *")].map(alone);
    let mut stage = Stage::new("08:50", &texts);
    stage.at("09:10");
    stage.expect_asked(&["m describe"]);
    stage.answer("m describe", good());
    stage.expect_asked(&["z describe"]);
    stage.answer("z describe", good());
    stage.expect_asked(&["a describe"]);
}

#[test]
fn nothing_stays_queued_that_has_settled() {
    let texts = [
        creating("a", "5 9 * * *"),
        creating("m", "55 8 * * *"),
        // Its time limit passes while it waits for its turn …
        creating("z", "0 9 * * *").time_limit("20m"),
        // … and this one is stopped, and that one removed.
        tidying("s", "0 9 * * *", 1),
        tidying("t", "0 9 * * *", 1),
    ]
    .map(alone);
    let mut stage = Stage::new("08:50", &texts);
    stage.at("09:10");
    stage.stop("s");
    assert_eq!(stage.runs("s"), ["deletion of 09:00 by schedule: cancelled"]);
    stage.load(&texts[..4]);
    assert_eq!(stage.runs("t"), ["deletion of 09:00 by schedule: cancelled"]);
    stage.at("09:20");
    assert_eq!(stage.runs("z"), ["creation of 09:00 by schedule: time_limit_exceeded"]);
    stage.answer("z cancel", Answer::Cancelled);
    stage.answer("z describe", absent());
    stage.answer("m describe", good());
    stage.expect_asked(&["a describe"]);
    stage.answer("a describe", good());
    stage.run("t", Kind::Creation, None).expect_err("it is gone");
    stage.run("s", Kind::Creation, None).expect("nobody is in its way");
    stage.expect_asked(&["s describe"]);
}

#[test]
fn jobs_max_bounds_what_is_asked_at_once_and_every_answer_lets_one_in() {
    let texts: Vec<PolicyText> =
        (0..5).map(|number| creating(&format!("p{number}"), "0 9 * * *").effects_max(10)).collect();
    let mut stage = Stage::with("08:55", roster(&texts), 2);
    stage.at("09:00");
    let mut answered = 0;
    while let Some(words) = stage.asked().into_iter().next() {
        assert!(stage.asked().len() <= 2);
        stage.obey(&words);
        answered += 1;
    }
    assert_eq!(answered, 10, "each is described and created");
    for text in &texts {
        assert!(stage.runs(&text.name)[0].ends_with("succeeded"), "{}", text.name);
    }
}

#[test]
fn a_time_limit_frees_the_jobs_it_gives_up() {
    let texts = [
        tidying("a", "0 9 * * *", 1).time_limit("10m"),
        tidying("b", "0 9 * * *", 1).time_limit("10m"),
        tidying("c", "0 9 * * *", 1).time_limit("2h"),
    ];
    let mut stage = Stage::with("08:55", roster(&texts), 2);
    stage.at("09:09");
    stage.expect_asked(&["a list", "b list"]);
    stage.at("09:10");
    stage.expect_asked(&["c list"]);
}

#[test]
fn a_watch_that_waits_for_a_job_does_not_spin() {
    let texts = [creating("a", "0 9 * * *").time_limit("10m"), creating("b", "5 9 * * *").time_limit("2h")];
    let mut stage = Stage::with("08:55", roster(&texts), 1);
    stage.at("09:08");
    stage.expect_asked(&["a describe"]);
    stage.at("09:10");
    stage.answer("a cancel", Answer::Cancelled);
    // One job for two: whoever has it, the other waits for it and not for the clock.
    stage.at("09:30");
    assert_eq!(stage.asked().len(), 1);
    let idle = stage.idle_ms().expect("a time limit");
    assert!(idle > 60_000, "{idle}");
}

#[test]
fn a_thousand_policies_due_at_once_are_one_commit() {
    let texts: Vec<PolicyText> =
        (0..1000).map(|number| creating(&format!("p{number:04}"), "0 9 * * *").effects_max(2000)).collect();
    let mut stage = Stage::with("08:59", roster(&texts), 64);
    stage.now = stage.now.plus(60_000);
    let before = stage.commits();
    let errands = stage.try_turn(Vec::new()).expect("the journal holds");
    assert_eq!(stage.commits_since(before), 1);
    assert_eq!(stage.reader.counts().expect("counts").runs_active, 1000);
    assert_eq!(errands.begin.len(), 64, "no more than jobs_max are asked");
}

#[test]
fn the_deletion_of_one_policy_leaves_the_snapshots_of_another_alone() {
    let texts = [tidying("a", "0 9 * * *", 1), tidying("b", "0 10 * * *", 1)];
    let mut stage = Stage::new("08:55", &texts);
    keep_days(&mut stage, "a", 3);
    stage.keep("b", "b1", "-5 12:00");
    stage.keep("b", "b2", "-4 12:00");
    stage.at("09:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s3", "b1", "b2"]);
}
