//! The program itself, as systemd would run it: killed at any moment, started twice, given a broken
//! file, left with a repository that never answers.
//!
//! The repository is a driver in shell that writes down what it was made to do, so that the account
//! of the outside and the daemon's own journal can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use snapkeep::clock;
use snapkeep::journal::{AuditQuery, HistoryQuery, Journal, Reader};
use snapkeep::lifecycle::workflow::{Kind, Outcome};
use tempfile::TempDir;

use crate::support::dice::Dice;

/// Kills in the daily run; 200 and more by `SNAPKEEP_KILLS`.
const KILLS: u64 = 25;
/// Policies that are busy while the daemon is killed: each has runs in other states.
const BUSY: usize = 8;
/// Nothing here takes longer, on however busy a machine.
const PATIENCE_MS: i64 = 120_000;

/// Keeps each snapshot as a file. The file is made in one step, so one name is made once; every
/// creation and deletion that changes anything is one line of `account`.
const DRIVER: &str = r#"#!/bin/sh
say() { printf '%s\n' "$1"; }
say '{"snapkeep":1}'
IFS= read -r request
verb=$(say "$request" | sed -n 's/^{"snapkeep":1,"verb":"\([a-z]*\)".*/\1/p')
name=$(say "$request" | sed -n 's/^{"snapkeep":1,"verb":"[a-z]*","name":"\([a-z0-9._:-]*\)".*/\1/p')
labels=$(say "$request" | sed -n 's/.*"labels":\({[^}]*}\).*/\1/p')
store=$(say "$request" | sed -n 's/.*"repository":{.*"path":"\([^"]*\)".*/\1/p')
[ -e "$store/hang" ] && exec sleep 600
shown() { printf '{"name":"%s","id":"%s","taken_at_ms":%s,"status":"good","labels":%s}' "$1" "$1" "$(stat -c %Y000 "$store/$1.snap")" "$(cat "$store/$1.snap")"; }
case $verb in
create)
  if [ ! -e "$store/$name.snap" ]; then
    # Some calls fail, so that some runs wait for their next attempt when the daemon is killed.
    calls=$(($(cat "$store/calls" 2>/dev/null || echo 0) + 1)); echo "$calls" >"$store/calls"
    if [ $((calls % 15)) = 0 ]; then say '{"fault":{"kind":"transient","message":"this call fails"}}'; exit 0; fi
    printf '%s' "$labels" >"$store/$name.$$"
    if ln "$store/$name.$$" "$store/$name.snap" 2>/dev/null; then echo "made $name" >>"$store/account"; fi
    rm -f "$store/$name.$$"
  fi
  say "{\"result\":{\"snapshot\":$(shown "$name")}}" ;;
describe)
  if [ -e "$store/$name.snap" ]; then say "{\"result\":{\"snapshot\":$(shown "$name")}}"; else say '{"result":{"snapshot":null}}'; fi ;;
list)
  count=0
  for file in "$store"/*.snap; do
    [ -e "$file" ] || continue
    file=${file##*/}; say "{\"snapshot\":$(shown "${file%.snap}")}"; count=$((count + 1))
  done
  say "{\"result\":{\"count\":$count}}" ;;
delete)
  if rm "$store/$name.snap" 2>/dev/null; then echo "deleted $name" >>"$store/account"; fi
  say '{"result":{}}' ;;
*) say '{"fault":{"kind":"permanent","message":"no such verb"}}' ;;
esac
"#;

const POLICY: &str = r#"
[creation]
time_limit = "1h"
[creation.schedule.interval]
every = "1s"

[deletion]
[deletion.schedule.interval]
every = "2s"
[deletion.condition]
max_count = 3

[snapshot_config]
repository = "store"
"#;

/// A folder with a whole set-up, and the daemon that may run on it.
struct Place {
    folder: TempDir,
    child: Option<Child>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place { folder, child: None };
        for below in ["policies.d", "repositories.d", "store"] {
            fs::create_dir(place.path(below)).expect("a folder");
        }
        place.write("snapkeep.toml", "[log]\nlevel = \"warn\"\n[housekeeping]\nenabled = false\n");
        place.write("driver.sh", DRIVER);
        fs::set_permissions(place.path("driver.sh"), fs::Permissions::from_mode(0o755)).expect("permissions");
        let repository = format!(
            "driver = \"exec\"\neffects_max = 4\ncommand = [\"{}\"]\npath = \"{}\"\n",
            place.path("driver.sh").display(),
            place.path("store").display()
        );
        place.write("repositories.d/store.toml", &repository);
        place.write("policies.d/every.toml", POLICY);
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).expect("a file");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapkeep"));
        command.arg("--config").arg(self.path("snapkeep.toml")).args(words).stdin(Stdio::null());
        command
    }

    fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let child = self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().expect("the daemon starts");
        self.child = Some(child);
    }

    /// SIGKILL, and gone.
    fn kill(&mut self) {
        let mut child = self.child.take().expect("a daemon runs");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// SIGTERM; returns its exit code.
    fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("a daemon runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to stop");
        child.wait().expect("it stops").code()
    }

    /// Returns what `--json explain` says, `None` while nobody answers.
    fn explain(&self) -> Option<Value> {
        let output = self.command(&["--json", "explain"]).output().expect("the command runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Waits until `found` finds something in what explain says.
    fn until<T>(&self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        let give_up = clock::now().uptime + PATIENCE_MS;
        loop {
            if let Some(value) = self.explain().as_ref().and_then(&mut found) {
                return value;
            }
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            let last = log.lines().rev().take(40).collect::<Vec<_>>().join("\n");
            let state = self.explain();
            assert!(clock::now().uptime < give_up, "waited in vain for {what}\n{state:#?}\nlast in the log:\n{last}");
            pause(Duration::from_millis(20));
        }
    }

    /// Returns what the outside did, in order.
    fn account(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path("store/account")).unwrap_or_default();
        let line = |line: &str| line.split_once(' ').map(|(what, name)| (what.to_string(), name.to_string()));
        text.lines().filter_map(line).collect()
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// Waits for nothing else to happen. The daemon under test keeps real time.
fn pause(span: Duration) {
    let (_nobody, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(span);
}

fn policy(body: &Value) -> Option<&Value> {
    body["policies"].as_array()?.iter().find(|policy| policy["name"] == "every")
}

fn all_runs(state: &Path) -> Vec<snapkeep::journal::change::RunRecord> {
    let reader = Reader::open(state).expect("a reader");
    reader.history(&HistoryQuery { limit: 100_000, ..HistoryQuery::default() }).expect("history")
}

#[test]
fn killed_at_any_moment_nothing_doubles_and_nothing_is_lost() {
    let kills = std::env::var("SNAPKEEP_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut dice = Dice::new(clock::now().wall.millis().unsigned_abs());
    let mut place = Place::new();
    for number in 1..BUSY {
        place.write(&format!("policies.d/busy{number}.toml"), POLICY);
    }
    // The first start makes the journal; what a kill in the middle of that leaves is the journal's own test.
    place.start();
    place.until("the first snapshot", |body| policy(body)?["last_good"].as_object().map(|_| ()));
    place.kill();
    let mut answered = 0;
    for _ in 0..kills {
        let _ = fs::remove_file(place.path("state/api.sock"));
        place.start();
        pause(Duration::from_millis(dice.below(2_500)));
        answered += u64::from(place.path("state/api.sock").exists());
        place.kill();
    }
    // Left in peace it settles everything it had begun.
    place.start();
    let calm_from = clock::now().wall.millis();
    place.until("a run of each workflow after the last kill", |_| {
        let runs = all_runs(&place.state());
        let succeeded = |kind: Kind| {
            runs.iter().any(|run| {
                run.kind == kind && run.outcome == Some(Outcome::Succeeded) && run.began_at.millis() > calm_from
            })
        };
        (succeeded(Kind::Creation) && succeeded(Kind::Deletion)).then_some(())
    });
    assert_eq!(place.stop(), Some(0));

    let runs = all_runs(&place.state());
    let account = place.account();
    let mut made: BTreeMap<&str, u32> = BTreeMap::new();
    for (_, name) in account.iter().filter(|(what, _)| what == "made") {
        *made.entry(name).or_default() += 1;
    }
    assert!(made.values().all(|times| *times == 1), "a snapshot was made twice: {made:?}");
    let names: BTreeSet<&str> = runs.iter().filter_map(|run| run.snapshot.as_deref()).collect();
    let unknown: Vec<_> = made.keys().filter(|name| !names.contains(**name)).collect();
    assert!(unknown.is_empty(), "made without a run in the journal: {unknown:?}");

    // Whatever is gone was named by an audit record, or by the plan of the run that was under way at
    // the end: the record of its last deletion is written when that has been confirmed.
    let reader = Reader::open(&place.state()).expect("a reader");
    let audit = reader.audit(&AuditQuery { limit: 100_000, ..AuditQuery::default() }).expect("audit");
    let named: BTreeSet<&str> =
        audit.iter().filter(|record| &*record.audit.what == "delete").map(|record| &*record.audit.subject).collect();
    let deleted: Vec<&str> =
        account.iter().filter(|(what, _)| what == "deleted").map(|(_, name)| name.as_str()).collect();
    let planned: BTreeSet<String> = runs
        .iter()
        .filter(|run| run.kind == Kind::Deletion && run.ended_at.is_none())
        .filter_map(|run| reader.latest_plan(&run.policy).expect("plan").filter(|plan| plan.run_id == run.run_id))
        .flat_map(|plan| plan.plan.condemned().into_iter().map(|target| target.name.to_string()))
        .collect();
    let unnamed: Vec<_> = deleted.iter().filter(|name| !named.contains(**name) && !planned.contains(**name)).collect();
    assert!(unnamed.is_empty(), "deleted without a record: {unnamed:?}");
    let left = made.len() - deleted.len();
    assert!(left >= BUSY, "{left} snapshots are left of {}", made.len());

    // Those that may have been under way when it was stopped are asked again at the next start.
    let open: Vec<_> = runs.iter().filter(|run| run.ended_at.is_none()).collect();
    assert!(open.len() <= 2 * BUSY, "never settled: {open:?}");
    let one_each: BTreeSet<_> = open.iter().map(|run| (run.policy.clone(), run.kind)).collect();
    assert_eq!(one_each.len(), open.len(), "two runs of one workflow are open: {open:?}");
    let creations = runs.iter().filter(|run| run.kind == Kind::Creation).count();
    println!(
        "{kills} kills, {answered} of them after it was up: {creations} creations and {} deletion runs in the journal, \
         {} snapshots made, {} deleted, none twice",
        runs.len() - creations,
        made.len(),
        deleted.len()
    );
    assert!(!deleted.is_empty() && answered > 0, "the scenario did not come to what it is for");
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
