//! What the log says of a settled run: one line that says all, and its parts as fields.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use expect_test::{Expect, expect};
use serde_json::Value;
use snapkeep::lifecycle::workflow::{Answer, Fault, Kind};

use super::{absent, creating, keep_days, running, tidying};
use crate::support::files_below;
use crate::support::stage::Stage;

/// Says that no other test runs in this process.
const ALONE: &str = "SNAPKEEP_TEST_ALONE";

/// Where a log is kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks which lines about settled runs a scenario leaves in a log for programs.
fn check(scenario: impl FnOnce(), expected: &Expect) {
    let kept = Kept::default();
    let writer = kept.clone();
    let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(log, scenario);
    let text = String::from_utf8(kept.0.lock().expect("whole").clone()).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let settled: Vec<Value> = lines.filter(|line| line["target"] == "snapkeep::run").collect();
    let mut said = String::new();
    for line in settled {
        let mut fields = line["fields"].as_object().expect("fields").clone();
        let message = fields.remove("message").expect("a sentence");
        // It begins with the policy's uid, which is another one each time.
        let run = fields.remove("run").expect("a run");
        assert!(run.as_str().is_some_and(|run| !run.is_empty()));
        said.push_str(&format!("{} {}\n", line["level"].as_str().expect("a level"), message.as_str().expect("text")));
        for (name, value) in fields {
            said.push_str(&format!("  {name}={value}\n"));
        }
    }
    expected.assert_eq(&without_uids(&said));
}

/// The last part of a snapshot's name is made of the policy's uid, too.
fn without_uids(text: &str) -> String {
    let parts: Vec<&str> = text.split("z-").collect();
    let rest = parts.iter().skip(1).map(|part| format!("z-********{}", &part[8..]));
    parts[0].to_string() + &rest.collect::<String>()
}

#[test]
fn a_run_that_settles_is_one_line_that_says_all() {
    // In a process of its own: which lines are listened to is remembered for all threads, and those of other tests
    // listen to none.
    if std::env::var_os(ALONE).is_none() {
        let name = "scenarios::log::a_run_that_settles_is_one_line_that_says_all";
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program).args(["--exact", name]).env(ALONE, "1").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    check(
        || {
            let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
            stage.at("09:00");
            stage.obey_all();
        },
        &expect![[r#"
            INFO db: creation succeeded after 0s: created snapshot db-20260301t090000z-******** (schedule, 1 attempt)
              attempts=1
              detail="created snapshot db-20260301t090000z-********"
              duration_ms=0
              outcome="succeeded"
              policy="db"
              repository="simulated"
              snapshot="db-20260301t090000z-********"
              trigger="schedule"
              trigger_at="2026-03-01T09:00:00Z"
              workflow="creation"
        "#]],
    );
    check(
        || {
            let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
            stage.at("09:00");
            stage.answer("db describe", absent());
            stage.at("09:01");
            stage.refuse("db create", Fault::permanent("the disk is on fire"));
            stage.obey_all();
        },
        &expect![[r#"
            ERROR db: creation failed after 1m: failed to create snapshot db-20260301t090000z-********: the disk is on fire (schedule, 1 attempt)
              attempts=1
              cause="the disk is on fire"
              detail="failed to create snapshot db-20260301t090000z-********"
              duration_ms=60000
              outcome="failed"
              policy="db"
              repository="simulated"
              snapshot="db-20260301t090000z-********"
              trigger="schedule"
              trigger_at="2026-03-01T09:00:00Z"
              workflow="creation"
        "#]],
    );
    check(
        || {
            let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *").time_limit("20m")]);
            stage.at("09:00");
            stage.answer("db describe", running());
            stage.at("09:20");
            stage.answer("db cancel", Answer::Cancelled);
        },
        &expect![[r#"
            ERROR db: creation exceeded its time limit after 20m: time limit of 20m passed while trying to follow snapshot db-20260301t090000z-******** (schedule, 0 attempts)
              attempts=0
              detail="time limit of 20m passed while trying to follow snapshot db-20260301t090000z-********"
              duration_ms=1200000
              outcome="time_limit_exceeded"
              policy="db"
              repository="simulated"
              snapshot="db-20260301t090000z-********"
              trigger="schedule"
              trigger_at="2026-03-01T09:00:00Z"
              workflow="creation"
        "#]],
    );
    check(
        || {
            let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 7)]);
            keep_days(&mut stage, "db", 8);
            stage.at("08:00");
            stage.obey_all();
        },
        &expect![[r#"
            INFO db: deletion succeeded after 0s: deleted 1 snapshot, 7 kept (schedule, 1 attempt)
              attempts=1
              deleted=1
              detail="deleted 1 snapshot"
              duration_ms=0
              kept=7
              outcome="succeeded"
              policy="db"
              repository="simulated"
              trigger="schedule"
              trigger_at="2026-03-01T08:00:00Z"
              workflow="deletion"
        "#]],
    );
    check(
        || {
            let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
            keep_days(&mut stage, "db", 8);
            stage.at("08:00");
            stage.obey_all();
        },
        &expect![[r#"
            ERROR db: deletion is held after 0s: 6 of 8 snapshots would go at once; with 0 made since the last deletion 3 are free; approve or refuse the plan (schedule, 0 attempts)
              attempts=0
              deleted=0
              detail="6 of 8 snapshots would go at once; with 0 made since the last deletion 3 are free; approve or refuse the plan"
              duration_ms=0
              outcome="held"
              policy="db"
              repository="simulated"
              trigger="schedule"
              trigger_at="2026-03-01T08:00:00Z"
              workflow="deletion"
        "#]],
    );
    check(
        || {
            let mut stage = Stage::new("07:00", &[tidying("db", "0 8 15 * *", 7)]);
            keep_days(&mut stage, "db", 8);
            stage.run("db", Kind::Deletion, None).expect("a run");
            stage.stop("db");
            stage.obey_all();
        },
        &expect![[r#"
            INFO db: deletion was cancelled after 0s: stopped after 0 deletions: the policy was stopped (manual, 0 attempts)
              attempts=0
              deleted=0
              detail="stopped after 0 deletions: the policy was stopped"
              duration_ms=0
              outcome="cancelled"
              policy="db"
              repository="simulated"
              trigger="manual"
              trigger_at="2026-03-01T07:00:00Z"
              workflow="deletion"
        "#]],
    );
}

/// Returns the names of the fields of every line that the program logs.
fn logged_fields() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(path).expect("a source file is text");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in text.split("tracing::").skip(1) {
            let Some((level, arguments)) = call.split_once("!(") else { continue };
            if !["error", "warn", "info", "debug", "trace", "$level"].contains(&level) {
                continue;
            }
            let arguments = match arguments.trim_start().strip_prefix("target: \"") {
                Some(rest) => rest.split_once(',').expect("more than a target").1,
                None => arguments,
            };
            let fields = arguments.split('"').next().unwrap_or_default();
            for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
                let name = field.split(" = ").next().unwrap_or_default();
                names.insert(name.trim_start_matches(['%', '?']).to_string());
            }
        }
    }
    names
}

#[test]
fn every_field_of_the_log_stands_on_its_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/log.md");
    let page = fs::read_to_string(page).expect("a page");
    let fields = logged_fields();
    assert!(fields.contains("policy") && fields.contains("duration_ms") && fields.len() > 30, "{fields:?}");
    for field in fields {
        let name = field.to_ascii_uppercase();
        assert!(name.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{field} is no name of a field");
        assert!(page.contains(&format!("`{name}`")), "{name} is not told");
    }
}
