//! The program itself, as systemd would run it: killed at any moment, left without a disk, started
//! twice, given a broken file, left with a repository that never answers.
//!
//! The repository is a driver in shell that writes down what it was made to do, so that the account
//! of the outside and the daemon's own journal can be compared.

mod access;
mod api;
mod books;
mod channels;
mod clock_thrown;
mod conformance;
mod disk;
mod editing;
mod foresee;
mod health;
mod journald;
mod kills;
mod metrics;
mod notices;
mod opensearch;
mod peers;
pub mod place;
mod quickstart;
mod secrets;
mod service;
mod single;
mod upkeep;

use std::fs;
use std::process::Command;

use serde_json::Value;
use snapkeep::clock;
use snapkeep::journal::Journal;

use place::{POLICY, Place};

fn policy(body: &Value) -> Option<&Value> {
    body["policies"].as_array()?.iter().find(|policy| policy["name"] == "every")
}

#[test]
fn a_second_daemon_is_told_so_and_exits_2() {
    let mut place = Place::new();
    place.start();
    place.until("the daemon", |body| policy(body).map(|_| ()));
    let second = place.command(&["run"]).output().expect("the command runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert!(place.explain().is_some(), "the first daemon goes on");
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn a_policy_broken_while_the_daemon_runs_stays_in_force_as_it_was() {
    let mut place = Place::new();
    place.start();
    place.until("the daemon", |body| policy(body)?["last_good"].as_object().map(|_| ()));
    place.write("policies.d/every.toml", &POLICY.replace("max_count = 3", "max_count = \"three\""));
    let told = |body: &Value| {
        let policy = policy(body)?;
        let problem = policy["problems"].as_array()?.iter().find(|problem| problem["severity"] == "error")?;
        Some((policy["stale"].clone(), problem["line"].clone(), problem["message"].clone()))
    };
    let (stale, line, message) = place.until("the problem", told);
    assert_eq!((stale, line), (Value::Bool(true), Value::from(11)), "{message}");
    let made = place.account().len();
    place.until("another snapshot under the old policy", |_| (place.account().len() > made + 1).then_some(()));
    let check = place.command(&["check"]).output().expect("the command runs");
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(said.contains("every.toml:11:"), "{said}");

    // Across a restart too.
    place.kill();
    place.start();
    let again = place.until("the problem after a restart", told);
    assert_eq!(again.0, Value::Bool(true));
    let made = place.account().len();
    place.until("another snapshot after the restart", |_| (place.account().len() > made + 1).then_some(()));

    place.write("policies.d/every.toml", POLICY);
    place.until("the problem to go", |body| {
        let policy = policy(body)?;
        (policy["stale"] == false).then_some(())
    });
}

#[test]
fn explain_answers_while_every_driver_hangs() {
    let mut place = Place::new();
    place.write("store/hang", "");
    place.start();
    let waits = place.until("a question that is not answered", |body| {
        Some(policy(body)?["creation"]["waits_for"].as_str()?.to_string())
    });
    assert!(waits.starts_with("the driver to look for snapshot"), "{waits}");
    for _ in 0..20 {
        assert!(place.explain().is_some(), "explain waits for a driver");
    }
    let triggers = place.until("skipped triggers to be told", |body| {
        let skipped = policy(body)?["creation"]["skipped"].as_array()?.first()?.clone();
        (skipped["count"].as_u64()? >= 2).then_some(skipped)
    });
    assert_eq!(triggers["reason"], "overlap");
    // It is told to stop, gives the driver up, and leaves no process behind.
    assert_eq!(place.stop(), Some(0));
    let store = place.path("driver.sh").display().to_string();
    let left = Command::new("pgrep").args(["-f", &store]).output().map(|output| output.stdout).unwrap_or_default();
    assert!(left.is_empty(), "left behind: {}", String::from_utf8_lossy(&left));
}

#[test]
fn a_damaged_journal_starts_in_safe_mode_and_deletes_nothing() {
    let mut place = Place::new();
    place.start();
    place.until("the daemon", |body| policy(body)?["last_good"].as_object().map(|_| ()));
    assert_eq!(place.stop(), Some(0));
    let backup = place.command(&["journal", "backup"]).output().expect("the command runs");
    let file = place.state().join("journal.db");
    let mut bytes = fs::read(&file).expect("the journal");
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..64].fill(0xa5);
    }
    fs::write(&file, bytes).expect("damaged");
    let before = place.account();
    place.start();
    let why = place.until("safe mode", |body| Some(body["daemon"]["safe_mode"].as_str()?.to_string()));
    assert!(why.contains("damaged") && why.contains("journal restore"), "{why}");
    let run = place.command(&["policy", "run", "every"]).output().expect("the command runs");
    assert!(!run.status.success());
    assert_eq!(place.account(), before, "something was made or deleted");
    assert_eq!(place.stop(), Some(0));
    let _ = backup;
    assert!(Journal::open(&place.state(), clock::now()).is_err(), "a damaged journal is never started empty");
}
