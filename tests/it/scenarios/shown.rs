//! What a person is shown at any moment: what a policy is doing, why, and what comes next.

use std::sync::Arc;

use expect_test::{Expect, expect};
use snapkeep::engine::explain::{Explained, ExplainedWorkflow};
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::lifecycle::workflow::{Answer, Fault};

use super::{absent, creating, deleting, keep_days, running, tidying};
use crate::support::roster::roster;
use crate::support::stage::{Stage, clock};

fn told(explained: &Explained) -> String {
    let flags = [
        ("enabled", explained.enabled),
        ("paused", explained.paused),
        ("retired", explained.retired),
        ("stale", explained.stale),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect();
    let mut lines = vec![format!("{}: {}", explained.name, flags.join(" "))];
    if let Some(last_good) = &explained.last_good {
        lines.push(format!("  last good at {}, {} ms ago", clock(last_good.at), last_good.age_ms));
    }
    for (kind, workflow) in [("creation", &explained.creation), ("deletion", &explained.deletion)] {
        if let Some(workflow) = workflow {
            tell(kind, workflow, &mut lines);
        }
    }
    lines.join("\n") + "\n"
}

fn tell(kind: &str, workflow: &ExplainedWorkflow, lines: &mut Vec<String>) {
    let times = |times: &[Timestamp]| times.iter().map(|at| clock(*at)).collect::<Vec<_>>().join(", ");
    lines.push(format!("  {kind}: {}", workflow.current_state));
    if !workflow.next_triggers.is_empty() {
        lines.push(format!("    next: {}", times(&workflow.next_triggers)));
    }
    if let Some(waits_for) = &workflow.waits_for {
        lines.push(format!("    waits for {waits_for}"));
    }
    if let Some(retry_count) = workflow.retry_count {
        lines.push(format!("    {retry_count} attempts left"));
    }
    if let Some(latest) = &workflow.latest {
        let ended = latest.end_at.map_or_else(String::new, |at| format!(", ended {}", clock(at)));
        lines.push(format!("    {} by {} at {}{ended}", latest.status, latest.cause, clock(latest.start_at)));
        lines.extend(latest.message.iter().map(|message| format!("    message: {message}")));
        lines.extend(latest.blame.iter().map(|blame| format!("    why: {blame}")));
    }
    lines.extend(workflow.held.iter().map(|held| format!("    held: {held}")));
    for skip in &workflow.skipped {
        let (first, last) = (clock(skip.first), clock(skip.last));
        lines.push(format!("    skipped {} from {first} to {last}: {}", skip.count, skip.reason.word()));
    }
}

/// Names of snapshots end in a hash; what comes before it is enough here.
fn check(stage: &Stage, policy: &str, expected: &Expect) {
    let text = told(&stage.explain(policy));
    let mut plain = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| {
                word.rsplit_once('-')
                    .filter(|(head, tail)| head.contains("t0") && tail.len() == 8)
                    .map_or(word, |(head, _)| head)
            })
            .collect();
        plain.push_str(&words.join(" "));
        plain.push('\n');
    }
    expected.assert_eq(&plain);
}

#[test]
fn a_policy_that_waits_tells_its_next_triggers() {
    let stage = Stage::new("08:55", &[deleting("db", "0 9 * * *", "30 9 * * *", 3)]);
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          creation: CREATION_START
            next: 09:00, 2 09:00, 3 09:00
          deletion: DELETION_START
            next: 09:30, 2 09:30, 3 09:30
    "#]],
    );
}

#[test]
fn a_run_tells_what_it_waits_for() {
    let mut stage = Stage::new("08:55", &[deleting("db", "0 9 * * *", "0 9 * * *", 3)]);
    stage.at("09:00");
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          creation: CREATION_CONDITION_MET
            next: 2 09:00, 3 09:00, 4 09:00
            waits for the driver to look for snapshot db-20260301t090000z
            IN_PROGRESS by schedule at 09:00
            message: look for snapshot db-20260301t090000z
          deletion: DELETION_START
            next: 09:00, 2 09:00, 3 09:00
            waits for creation of this policy to settle
    "#]],
    );
    stage.answer("db describe", absent());
    stage.answer("db create", Answer::Accepted);
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          creation: CREATING
            next: 2 09:00, 3 09:00, 4 09:00
            waits for the driver to follow snapshot db-20260301t090000z
            IN_PROGRESS by schedule at 09:00
            message: follow snapshot db-20260301t090000z
          deletion: DELETION_START
            next: 09:00, 2 09:00, 3 09:00
            waits for creation of this policy to settle
    "#]],
    );
}

#[test]
fn a_run_that_tries_again_tells_when_and_why() {
    // The jitter of a wait depends on the run, and so on the policy's uid.
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *").uid("x")]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.refuse("db create", Fault::transient("connection reset"));
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          creation: CREATION_CONDITION_MET
            next: 2 09:00, 3 09:00, 4 09:00
            waits for 29s before it asks to look for snapshot db-20260301t090000z
            3 attempts left
            RETRYING by schedule at 09:00
            message: look for snapshot db-20260301t090000z
            why: connection reset
    "#]],
    );
    stage.at("09:01");
    stage.obey_all();
    // Trouble that is over is not shown.
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          last good at 09:01, 0 ms ago
          creation: CREATION_START
            next: 2 09:00, 3 09:00, 4 09:00
            SUCCESS by schedule at 09:00, ended 09:01
            message: created snapshot db-20260301t090000z
    "#]],
    );
}

#[test]
fn a_run_that_is_queued_tells_for_which_repository() {
    let texts = [creating("a", "0 9 * * *").effects_max(1), creating("b", "0 9 * * *")];
    let mut stage = Stage::new("08:55", &texts);
    stage.at("09:00");
    check(
        &stage,
        "b",
        &expect![[r#"
        b: enabled
          creation: CREATION_CONDITION_MET
            next: 2 09:00, 3 09:00, 4 09:00
            waits for its turn at repository simulated
            IN_PROGRESS by schedule at 09:00
            message: look for snapshot b-20260301t090000z
    "#]],
    );
}

#[test]
fn a_run_that_waits_for_a_free_job_tells_so() {
    let mut stage = Stage::with("08:55", roster(&[creating("a", "0 9 * * *"), creating("b", "0 9 * * *")]), 1);
    stage.at("09:00");
    check(
        &stage,
        "b",
        &expect![[r#"
        b: enabled
          creation: CREATION_CONDITION_MET
            next: 2 09:00, 3 09:00, 4 09:00
            waits for others to be answered, for no more is asked at once, before it asks to look for snapshot b-20260301t090000z
            IN_PROGRESS by schedule at 09:00
            message: look for snapshot b-20260301t090000z
    "#]],
    );
}

#[test]
fn a_name_that_is_watched_is_told_with_the_run_that_left_it() {
    let mut stage = Stage::new("08:55", &[creating("db", "*/15 * * * *").time_limit("10m")]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.at("09:10");
    stage.answer("db cancel", Answer::Cancelled);
    stage.answer("db describe", running());
    stage.at("09:16");
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          creation: CREATION_START
            next: 09:30, 09:45, 10:00
            waits for what became of snapshot db-20260301t090000z after its time limit
            TIME_LIMIT_EXCEEDED by schedule at 09:00, ended 09:10
            message: time limit of 10m passed while trying to create snapshot db-20260301t090000z
            skipped 1 from 09:15 to 09:15: watched
    "#]],
    );
}

#[test]
fn a_held_deletion_tells_what_a_person_can_do() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 4)]);
    keep_days(&mut stage, "db", 4);
    stage.at("08:00");
    stage.obey_all();
    stage.kept.truncate(1);
    stage.at("2 08:00");
    stage.obey_all();
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled
          creation: CREATION_START
            next: 306 00:00, 671 00:00, 1037 00:00
          deletion: DELETION_START
            next: 3 08:00, 4 08:00, 5 08:00
            FAILED by schedule at 2 08:00, ended 2 08:00
            message: the repository lists 1 of this policy's snapshots, where it listed 4 before; if that is right, approve the plan
            held: the repository lists 1 of this policy's snapshots, where it listed 4 before; if that is right, approve the plan
    "#]],
    );
}

#[test]
fn a_policy_whose_file_is_bad_is_stale_and_goes_on() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    let mut stale = roster(&[creating("db", "0 9 * * *")]);
    let entry = Arc::get_mut(&mut stale).and_then(|roster| roster.policies.get_mut("db")).and_then(Arc::get_mut);
    entry.expect("nobody else has it").stale = true;
    stage.load_roster(stale);
    check(
        &stage,
        "db",
        &expect![[r#"
        db: enabled stale
          creation: CREATION_START
            next: 09:00, 2 09:00, 3 09:00
    "#]],
    );
    stage.at("09:00");
    assert_eq!(stage.runs("db").len(), 1);
}

#[test]
fn a_stopped_policy_tells_so_and_has_no_next_trigger() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    stage.stop("db");
    check(
        &stage,
        "db",
        &expect![[r#"
        db: paused
          creation: CREATION_START
    "#]],
    );
}
