//! Files that are edited, removed, renamed and written again while something is under way.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use snapkeep::config::sources::Sources;
use snapkeep::lifecycle::snapshot::Presence;
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::lifecycle::workflow::{Answer, Kind};
use snapkeep::roster::{Loader, Roster};

use super::{absent, creating, deleting, good, keep_days, tidying};
use crate::support::roster::PolicyText;
use crate::support::stage::{Stage, clock};

fn next_creation(stage: &Stage, policy: &str) -> String {
    let trigger_at = stage.explain(policy).creation.and_then(|creation| creation.trigger_at);
    trigger_at.map_or_else(|| "never".to_string(), clock)
}

/// S19.
#[test]
fn an_edit_counts_from_now_on_and_is_never_retroactive() {
    let mut stage = Stage::new("08:00", &[creating("db", "0 9 * * *")]);
    stage.at("08:30");
    stage.load(&[creating("db", "15 8 * * *")]);
    assert_eq!((stage.runs("db").len(), next_creation(&stage, "db")), (0, "2 08:15".to_string()));
    stage.load(&[creating("db", "45 8 * * *")]);
    assert_eq!(next_creation(&stage, "db"), "08:45");
    stage.at("08:45");
    assert_eq!(stage.runs("db"), ["creation of 08:45 by schedule: under way"]);
    assert_eq!(stage.skips("db"), [""; 0]);
}

/// S19, trap 10.
#[test]
fn an_identical_rewrite_is_no_edit_and_neither_is_another_description() {
    for description in [None, Some("nightly".to_string())] {
        let text = creating("db", "0 9 * * *");
        let mut stage = Stage::new("08:59", std::slice::from_ref(&text));
        // In the very turn in which a trigger is due.
        stage.now = stage.now.plus(60_500);
        stage.load(&[PolicyText { description, ..text }]);
        assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: under way"]);
    }
}

#[test]
fn an_edit_of_the_retention_moves_no_trigger() {
    let mut stage = Stage::new("08:59", &[deleting("db", "0 9 * * *", "0 9 * * *", 3)]);
    stage.now = stage.now.plus(60_500);
    stage.load(&[deleting("db", "0 9 * * *", "0 9 * * *", 5)]);
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: under way"]);
    stage.obey_all();
    assert_eq!(stage.runs("db").len(), 2);
}

#[test]
fn a_deletion_that_is_added_to_a_policy_counts_from_there() {
    let mut stage = Stage::new("08:00", &[creating("db", "0 9 * * *")]);
    stage.at("08:50");
    stage.load(&[deleting("db", "0 9 * * *", "30 8 * * *", 3)]);
    stage.at("10:00");
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    stage.at("2 08:30");
    assert_eq!(stage.runs("db")[1], "deletion of 2 08:30 by schedule: under way");
}

/// S18, S20, trap 6.
#[test]
fn a_run_in_flight_finishes_under_its_old_terms_and_in_its_old_repository() {
    let old = PolicyText { partial: true, ..creating("db", "0 9 * * *").effects_max(3) };
    let mut stage = Stage::new("08:55", &[old]);
    stage.at("09:00");
    stage.load(&[creating("db", "0 9 * * *").repository("other").effects_max(5)]);
    stage.answer("db describe", absent());
    let ask = stage.take_ask("db create");
    assert_eq!(ask.driver.abilities().effects_max, 3, "the old repository is asked");
    let answer = Answer::Described(Presence::Partial { message: "two files".into() });
    stage.turn(vec![snapkeep::engine::event::Event::Answered { job: ask.id, answer }]);
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"], "partial counted when it began");
    stage.at("2 09:00");
    assert_eq!(stage.take_ask("db describe").driver.abilities().effects_max, 5);
}

/// A folder with a whole set-up, read as the daemon would.
fn read(root: &Path, files: &[(&str, &str)]) -> Arc<Roster> {
    for folder in ["policies.d", "repositories.d", "channels.d"] {
        fs::create_dir_all(root.join(folder)).expect("writable");
    }
    fs::write(root.join("snapkeep.toml"), "").expect("writable");
    for (path, text) in files {
        fs::write(root.join(path), text).expect("writable");
    }
    let mut loader = Loader::new(Sources::of_file(&root.join("snapkeep.toml")), |_, _| None);
    let roster = loader.load(Timestamp::from_seconds(4_000_000_000));
    assert!(!roster.has_errors(), "{:?}", roster.problems);
    roster
}

fn written(repository: &str, partial: bool) -> String {
    format!(
        "[creation.schedule.cron]\nexpression = \"0 9 * * *\"\n\n[snapshot_config]\nrepository = \"{repository}\"\n\
         partial = {partial}\n"
    )
}

#[test]
fn a_run_finishes_under_its_old_terms_also_after_a_restart_that_finds_other_files() {
    let root = tempfile::tempdir().expect("a folder");
    let old = read(
        root.path(),
        &[
            ("repositories.d/old.toml", "driver = \"exec\"\ncommand = [\"/bin/true\"]\neffects_max = 3\n"),
            ("policies.d/db.toml", &written("old", true)),
        ],
    );
    let mut stage = Stage::with("08:55", old, 64);
    stage.at("09:00");
    stage.answer("db describe", absent());
    stage.kill();
    fs::remove_file(root.path().join("repositories.d/old.toml")).expect("there");
    let new = read(
        root.path(),
        &[
            ("repositories.d/new.toml", "driver = \"exec\"\ncommand = [\"/bin/false\"]\neffects_max = 5\n"),
            ("policies.d/db.toml", &written("new", false)),
        ],
    );
    stage.restart_with("09:10", new);
    stage.expect_asked(&["db describe"]);
    let ask = stage.take_ask("db describe");
    assert_eq!((ask.driver.abilities().effects_max, ask.request.is_effect()), (3, false));
    let answer = Answer::Described(Presence::Partial { message: "two files".into() });
    stage.turn(vec![snapkeep::engine::event::Event::Answered { job: ask.id, answer }]);
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    stage.at("2 09:00");
    assert_eq!(stage.take_ask("db describe").driver.abilities().effects_max, 5);
}

#[test]
fn a_run_whose_terms_cannot_be_built_again_settles_and_says_so() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    stage.at("09:00");
    // A roster made by hand has no text to build an entry from.
    stage.restart_with("09:10", crate::support::roster::roster(&[creating("db", "0 10 * * *")]));
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: failed"]);
    stage.at("10:00");
    assert_eq!(stage.runs("db")[1], "creation of 10:00 by schedule: under way");
}

/// S22.
#[test]
fn a_creation_is_followed_to_its_end_and_reported_when_its_policy_is_removed() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *").tells_all()]);
    stage.at("09:00");
    stage.load(&[]);
    assert!(stage.view.policies(&[]).is_empty());
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    assert_eq!(stage.notices.len(), 1);
    stage.at("3 09:00");
    assert_eq!(stage.log.len(), 2);
    stage.restart("3 10:00");
    assert!(stage.view.policies(&[]).is_empty());
}

/// S22.
#[test]
fn a_deletion_stops_before_the_next_delete_when_its_policy_is_removed() {
    // How many questions are answered before the file goes, and how many snapshots are gone by then.
    for (answered, deleted) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 2)] {
        let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 3)]);
        keep_days(&mut stage, "db", 6);
        stage.at("08:00");
        for _ in 0..answered {
            let words = stage.asked().remove(0);
            stage.obey(&words);
        }
        stage.load(&[]);
        stage.obey_all();
        assert_eq!(6 - stage.kept.len(), deleted, "after {answered} answers: {:?}", stage.log);
        let run = stage.records("db").remove(0);
        assert_eq!(run.outcome.map(|outcome| outcome.word()), Some("cancelled"));
        let message = run.message.expect("a message");
        assert_eq!(message, format!("stopped after {deleted} deletions: the policy is gone"));
    }
}

#[test]
fn a_deletion_that_was_decided_before_a_crash_is_not_ordered_when_its_policy_was_stopped() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1)]);
    keep_days(&mut stage, "db", 3);
    stage.at("08:00");
    stage.obey("db list");
    stage.obey("db list");
    stage.expect_asked(&["db delete s1"]);
    let mut text = tidying("db", "0 8 * * *", 1);
    text.enabled = false;
    stage.restart_with("08:10", crate::support::roster::roster(&[text]));
    stage.obey_all();
    assert_eq!(stage.kept.len(), 3, "{:?}", stage.log);
}

/// S21.
#[test]
fn a_softened_rule_saves_what_the_plan_condemned() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 3)]);
    keep_days(&mut stage, "db", 6);
    stage.at("08:00");
    stage.obey("db list");
    stage.load(&[tidying("db", "0 8 * * *", 5)]);
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s2", "s3", "s4", "s5", "s6"]);
    // And a hardened one widens nothing that is under way.
    stage.at("2 08:00");
    stage.load(&[tidying("db", "0 8 * * *", 4)]);
    stage.obey("db list");
    stage.load(&[tidying("db", "0 8 * * *", 1)]);
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s3", "s4", "s5", "s6"]);
}

#[test]
fn a_deletion_stops_when_its_policy_moves_to_another_repository() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1)]);
    keep_days(&mut stage, "db", 3);
    stage.at("08:00");
    stage.load(&[tidying("db", "0 8 * * *", 1).repository("other")]);
    stage.expect_asked(&[]);
    assert_eq!(stage.runs("db"), ["deletion of 08:00 by schedule: cancelled"]);
}

/// Trap 9.
#[test]
fn a_policy_written_again_under_the_same_name_inherits_nothing() {
    let text = deleting("db", "0 9 * * *", "0 10 * * *", 1);
    let mut stage = Stage::new("08:55", std::slice::from_ref(&text));
    stage.at("09:00");
    stage.obey_all();
    stage.stop("db");
    let uid = stage.tracked("db").uid.clone();
    stage.load(&[]);
    stage.at("09:30");
    stage.load(&[text]);
    for _ in 0..2 {
        let shown = stage.explain("db");
        assert_ne!(shown.uid, uid);
        assert!(!shown.paused && shown.last_good.is_none());
        assert!(shown.creation.is_some_and(|creation| creation.latest.is_none() && creation.skipped.is_empty()));
        stage.restart("09:40");
    }
    stage.at("10:00");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 1, "what the former one made is nobody's to delete");
}

#[test]
fn a_policy_written_again_while_its_former_self_is_followed_is_another_one() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    stage.at("09:00");
    stage.load(&[]);
    stage.at("09:01");
    stage.load(&[creating("db", "2 9 * * *")]);
    stage.at("09:02");
    stage.expect_asked(&["db describe", "db describe"]);
    stage.obey_all();
    assert_eq!(stage.kept.len(), 2);
    assert_eq!(
        stage.runs("db"),
        ["creation of 09:00 by schedule: succeeded", "creation of 09:02 by schedule: succeeded"]
    );
}

/// S23.
#[test]
fn a_uid_keeps_identity_over_a_rename() {
    let text = creating("db", "0 9 * * *").uid("x");
    let mut stage = Stage::new("08:55", std::slice::from_ref(&text));
    stage.at("09:00");
    stage.obey("db describe");
    stage.load(&[text.named("wiki")]);
    stage.obey_all();
    for _ in 0..2 {
        assert_eq!(stage.view.policies(&[]).len(), 1);
        let shown = stage.explain("wiki");
        assert_eq!((&*shown.uid, shown.last_good.is_some()), ("x", true));
        stage.restart("09:05");
    }
    stage.at("2 09:00");
    assert_eq!(stage.runs("wiki").len(), 2);
}

#[test]
fn a_file_moved_over_another_or_changing_places_with_it_takes_its_identity_along() {
    let (a, b) = (creating("a", "0 9 * * *").uid("x"), creating("b", "0 9 * * *").uid("y"));
    let mut stage = Stage::new("08:55", &[a.clone(), b.clone()]);
    stage.load(&[a.named("b"), b.named("a")]);
    assert_eq!((&*stage.tracked("a").uid, &*stage.tracked("b").uid), ("y", "x"));
    stage.load(&[a.clone(), b.clone(), creating("c", "0 9 * * *").uid("z")]);
    stage.load(&[a.named("b"), b.named("c"), creating("a", "0 9 * * *").uid("z")]);
    let uids = |stage: &Stage| ["a", "b", "c"].map(|name| stage.tracked(name).uid.to_string());
    assert_eq!(uids(&stage), ["z", "x", "y"]);
    stage.restart("08:56");
    assert_eq!(uids(&stage), ["z", "x", "y"]);
    // `c` is moved over `a`.
    stage.load(&[a.named("b"), b.named("a")]);
    assert_eq!((&*stage.tracked("a").uid, stage.view.policies(&[]).len()), ("y", 2));
    stage.restart("08:57");
    assert_eq!(&*stage.tracked("a").uid, "y");
}

#[test]
fn two_files_with_one_uid_do_not_end_the_daemon() {
    let (a, b) = (creating("a", "0 9 * * *").uid("x"), creating("b", "0 9 * * *").uid("x"));
    let mut stage = Stage::new("08:55", &[a.clone(), b.clone()]);
    assert_eq!(stage.view.policies(&[]).len(), 1);
    stage.restart("08:56");
    stage.load(&[b, a.clone()]);
    assert_eq!(stage.view.policies(&[]).len(), 1);
    stage.load(&[creating("b", "0 9 * * *").uid("y"), a]);
    assert_eq!(stage.view.policies(&[]).len(), 2);
}

#[test]
fn a_uid_that_comes_back_while_its_run_is_followed_goes_on_when_that_has_ended() {
    let text = creating("db", "0 9 * * *").uid("x");
    let mut stage = Stage::new("08:55", std::slice::from_ref(&text));
    stage.at("09:00");
    stage.load(&[]);
    stage.load(&[text]);
    stage.answer("db describe", good());
    assert_eq!(&*stage.tracked("db").uid, "x");
    stage.restart("09:05");
    assert_eq!(&*stage.tracked("db").uid, "x");
    stage.run("db", Kind::Creation, None).expect("a run");
}

/// A folder with a policy in it, read as the daemon reads it.
fn read_at(folder: &Path, description: &str, hour: u32) -> Arc<Roster> {
    let policy = format!(
        "description = \"{description}\"\n[creation]\nspread = \"10m\"\n[creation.schedule.cron]\n\
         expression = \"0 {hour} * * *\"\n\n[snapshot_config]\nrepository = \"local\"\n"
    );
    for (file, text) in [
        ("snapkeep.toml", ""),
        ("repositories.d/local.toml", "driver = \"exec\"\ncommand = [\"/bin/true\"]\n"),
        ("policies.d/db.toml", policy.as_str()),
    ] {
        let file = folder.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, text).expect("written");
    }
    let mut loader = Loader::new(Sources::of_file(&folder.join("snapkeep.toml")), |_, _| None).with_seed("this host");
    let roster = loader.load(Timestamp::from_seconds(4_000_000_000));
    assert_eq!(roster.problems, Vec::new());
    roster
}

#[test]
fn an_edit_made_while_nobody_was_there_moves_triggers_only_where_it_moves_the_schedule() {
    let folder = tempfile::tempdir().expect("a folder");
    let missed = |description: &str, hour: u32| {
        let mut stage = Stage::with("06:00", read_at(folder.path(), "nightly", 7), 64);
        stage.restart_with("12:00", read_at(folder.path(), description, hour));
        stage.at("12:02");
        stage.asked()
    };
    assert_eq!(missed("nightly", 7), ["db describe"]);
    assert_eq!(missed("nightly, of team b", 7), ["db describe"]);
    // Seven o'clock is no trigger of the new schedule, and six is in the past of the edit.
    assert_eq!(missed("nightly", 6), [""; 0]);
}
