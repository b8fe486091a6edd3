//! A driver on trial, as whoever wrote it sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock;
use crate::drivers::conformance::{self, Bench, Case, Outcome, PREFIX, Report, Scratch};

use super::arguments::DriverTestArguments;
use super::out::{Exit, Failure, Out, Tone, safe};
use super::table::{Cell, Table};

/// A small snapshot at a slow provider fits; a program that hangs is told within minutes.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Removes the folder when the command ends, however it does.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // What is left is a few small files in the folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How often this process was asked to.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// Tries whether a program keeps the driver protocol.
pub fn test(order: DriverTestArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let DriverTestArguments { snapshot_config, settings, command } = order;
    let mut settings = Value::Object(table("--settings", &settings)?);
    let mut config = Value::Object(table("--snapshot-config", &snapshot_config)?);
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let base = std::env::current_dir().map_err(|error| usage(format!("failed to find this directory: {error}")))?;
    // Two runs at once have different processes or numbers, and a process's number comes again much later.
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let tag = format!("{}-{}-{run}", clock::now().wall.millis(), std::process::id());
    let folder = std::env::temp_dir().join(format!("{PREFIX}{tag}"));
    let made = Scratch::make(&folder);
    let _removed = Removed(folder.clone());
    let mut scratch = made.map_err(|error| usage(format!("failed to make {}: {error}", folder.display())))?;
    scratch.fill(&mut settings);
    scratch.fill(&mut config);
    let settings = settings.as_object().cloned().unwrap_or_default();
    let driver = conformance::open(&command, &settings, &base).map_err(|problems| {
        let messages: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        usage(messages.join("; "))
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
    let bench = Bench { config: Arc::new(config), tag, scratch, time_max: TIME_MAX };
    let report = runtime.block_on(async {
        let stop = async {
            if tokio::signal::ctrl_c().await.is_err() {
                // Then nobody can stop it but by force.
                std::future::pending::<()>().await;
            }
        };
        conformance::program(driver, &bench, stop).await
    });
    print(&command, &report, out)?;
    Ok(if report.is_good() { Exit::Fine } else { Exit::Failed })
}

/// Reads a table that was given as JSON or as a file of it.
fn table(option: &str, given: &str) -> Result<Map<String, Value>, Failure> {
    let usage = |message: String| {
        Failure::new(Exit::Usage, message).hint(format!("write {option} '{{\"key\": \"value\"}}', or name a file"))
    };
    let text = if given.trim_start().starts_with('{') {
        given.to_owned()
    } else {
        let trouble = |error| usage(format!("failed to read {given} for {option}: {error}"));
        fs::read_to_string(Path::new(given)).map_err(trouble)?
    };
    serde_json::from_str(&text).map_err(|error| usage(format!("{option} is not a JSON object: {error}")))
}

fn print(command: &[String], report: &Report, out: &mut Out<'_>) -> Result<(), Failure> {
    let count = |is: fn(&Outcome) -> bool| report.cases.iter().filter(|case| is(&case.outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    if out.json {
        return out.value(&json!({
            "command": command,
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "stopped": report.is_stopped,
            "left": report.left,
            "cases": report.cases.iter().map(case_json).collect::<Vec<Value>>(),
        }));
    }
    let mut table = Table::new(&["RESULT", "WHAT HAS TO HOLD", "WHY"]);
    for Case { name, outcome } in &report.cases {
        let (word, tone, why) = match outcome {
            Outcome::Passed => ("passed", Tone::Good, String::new()),
            Outcome::Failed { .. } => ("FAILED", Tone::Bad, "see below".to_owned()),
            Outcome::Skipped { why } => ("skipped", Tone::Faint, why.clone()),
        };
        table.row(vec![Cell::new(word).toned(tone), Cell::new(name), Cell::new(why)]);
    }
    table.print(out)?;
    out.line("")?;
    for Case { name, outcome } in report.failed() {
        if let Outcome::Failed { expected, got } = outcome {
            out.line(out.toned(Tone::Bad, name))?;
            out.line(format!("  expected: {}", safe(expected)))?;
            out.line(format!("  got:      {}", safe(got)))?;
            out.line("")?;
        }
    }
    if report.is_stopped {
        out.line("Interrupted: the rest was not tried.")?;
    }
    if !report.left.is_empty() {
        out.line(format!("Left in the repository, and to be deleted by hand: {}", safe(&report.left.join(", "))))?;
    }
    out.line(format!("{passed} passed, {failed} failed, {skipped} skipped"))
}

fn case_json(case: &Case) -> Value {
    match &case.outcome {
        Outcome::Passed => json!({ "name": case.name, "result": "passed" }),
        Outcome::Failed { expected, got } => {
            json!({ "name": case.name, "result": "failed", "expected": expected, "got": got })
        }
        Outcome::Skipped { why } => json!({ "name": case.name, "result": "skipped", "why": why }),
    }
}
