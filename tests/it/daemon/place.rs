//! A folder with a whole set-up, and the daemon that may run on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use snapkeep::clock;
use snapkeep::journal::change::RunRecord;
use snapkeep::journal::{HistoryQuery, Reader};
use tempfile::TempDir;

use crate::support::wait::{self, PATIENCE, Writes};

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
shown() { cat "$store/$1.snap"; }
[ -e "$store/asked" ] && echo "$verb $name" >>"$store/asked"
case $verb in
create)
  # As slow as the test wants it, and no slower than an hour.
  tenths=0; while [ -e "$store/slow" ] && [ $tenths -lt 36000 ]; do sleep 0.1; tenths=$((tenths + 1)); done
  if [ ! -e "$store/$name.snap" ]; then
    # Some calls fail, so that some runs wait for their next attempt when the daemon is killed.
    calls=$(($(cat "$store/calls" 2>/dev/null || echo 0) + 1)); echo "$calls" >"$store/calls"
    if [ $((calls % 15)) = 0 ] && [ ! -e "$store/calm" ]; then say '{"fault":{"kind":"transient","message":"this call fails"}}'; exit 0; fi
    printf '{"name":"%s","id":"%s","taken_at_ms":%s,"status":"good","labels":%s}\n' \
      "$name" "$name" "$(date +%s)000" "$labels" >"$store/$name.$$"
    if ln "$store/$name.$$" "$store/$name.snap" 2>/dev/null; then echo "made $name" >>"$store/account"; fi
    rm -f "$store/$name.$$"
  fi
  say "{\"result\":{\"snapshot\":$(shown "$name")}}" ;;
describe)
  if [ -e "$store/$name.snap" ]; then say "{\"result\":{\"snapshot\":$(shown "$name")}}"; else say '{"result":{"snapshot":null}}'; fi ;;
list)
  # Now and then the test wants the daemon's clock thrown while a listing or a deletion is under way.
  if [ -e "$store/throw-list" ]; then mv "$store/throw-list" "$store/../clock"; fi
  if [ -e "$store/throw-second-list" ]; then mv "$store/throw-second-list" "$store/throw-list"; fi
  count=0
  for file in "$store"/*.snap; do
    # What another call deletes meanwhile is not there.
    { IFS= read -r line <"$file"; } 2>/dev/null || continue
    say "{\"snapshot\":$line}"; count=$((count + 1))
  done
  say "{\"result\":{\"count\":$count}}" ;;
delete)
  if [ -e "$store/throw-delete" ]; then mv "$store/throw-delete" "$store/../clock"; fi
  if rm "$store/$name.snap" 2>/dev/null; then echo "deleted $name" >>"$store/account"; fi
  say '{"result":{}}' ;;
*) say '{"fault":{"kind":"permanent","message":"no such verb"}}' ;;
esac
"#;

/// The part of it that makes it busy.
const EVERY_SECOND: &str = "[creation.schedule.interval]\nevery = \"1s\"";

pub const POLICY: &str = r#"
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
pub struct Place {
    folder: TempDir,
    pub child: Option<Child>,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place { folder, child: None };
        for below in ["policies.d", "repositories.d", "store", "state"] {
            fs::create_dir(place.path(below)).expect("a folder");
        }
        // As the daemon would make it.
        fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).expect("permissions");
        place.set_stop_timeout("5s");
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

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).expect("a file");
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapkeep"));
        command.arg("--config").arg(self.path("snapkeep.toml")).args(words).stdin(Stdio::null());
        command
    }

    /// Lets a stop wait this long for drivers.
    pub fn set_stop_timeout(&self, span: &str) {
        let rest = "[log]\nlevel = \"error\"\n[housekeeping]\nenabled = false\n";
        self.write("snapkeep.toml", &format!("stop_timeout = \"{span}\"\n{rest}"));
    }

    /// A set-up with `count` policies that are busy every second: `every`, `busy1`, `busy2` …
    pub fn busy(count: usize) -> Place {
        let place = Place::new();
        for number in 1..count {
            place.write(&format!("policies.d/busy{number}.toml"), POLICY);
        }
        place
    }

    /// A set-up without policies.
    pub fn bare() -> Place {
        let place = Place::new();
        fs::remove_file(place.path("policies.d/every.toml")).expect("there");
        place
    }

    /// Adds a channel of this name.
    pub fn add_channel(&self, name: &str) {
        fs::create_dir(self.path("channels.d")).expect("a folder");
        self.write(&format!("channels.d/{name}.toml"), "[log]\nlevel = \"error\"\n");
    }

    /// Adds a directory `wiki` with a page of this text, and a repository `local` for it by the driver `files`.
    pub fn add_wiki(&self, text: &str) {
        fs::create_dir(self.path("wiki")).expect("made");
        self.write("wiki/page", text);
        self.write("repositories.d/local.toml", "driver = \"files\"\npath = \"kept\"\n");
    }

    /// Starts the daemon, and waits until it answers.
    pub fn up(&mut self) {
        self.start();
        self.until("an answer", |_| Some(()));
    }

    pub fn start(&mut self) {
        let command = self.command(&["run"]);
        self.start_as(command, "log");
    }

    /// Starts the daemon by a command of the caller's; what it says is added to the file `log`.
    pub fn start_as(&mut self, mut command: Command, log: &str) {
        let log = fs::File::options().create(true).append(true).open(self.path(log)).expect("a log");
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the daemon starts");
        self.child = Some(child);
    }

    /// Starts a daemon that is to end by itself. Returns its exit code, and what it said.
    pub fn ends(&mut self) -> (Option<i32>, String) {
        self.start_as(self.command(&["run"]), "last words");
        let code = wait::ended(self.child.as_mut().expect("started"));
        self.child = None;
        let said = fs::read_to_string(self.path("last words")).expect("a log");
        fs::remove_file(self.path("last words")).expect("there");
        (code, said)
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a daemon runs");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// SIGTERM; returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().expect("a daemon runs"));
        kill_process(pid, signal).expect("it hears");
    }

    /// Waits for the daemon to end; returns its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        wait::ended(&mut self.child.take().expect("a daemon runs"))
    }

    /// Returns what `--json explain` says, `None` while nobody answers.
    pub fn explain(&self) -> Option<Value> {
        let output = self.command(&["--json", "explain"]).output().expect("the command runs");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// What the daemon, its driver and people write.
    pub fn writes(&self) -> Writes {
        let folders = ["", "policies.d", "store", "state"].map(|below| self.path(below));
        Writes::below(&folders.each_ref().map(PathBuf::as_path))
    }

    /// Waits until `found` finds something in what explain says. It is asked again whenever anything was
    /// written.
    pub fn until<T>(&self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        let give_up = clock::now().uptime + i64::try_from(PATIENCE.as_millis()).expect("minutes");
        let writes = self.writes();
        loop {
            let state = self.explain();
            if let Some(value) = state.as_ref().and_then(&mut found) {
                return value;
            }
            if clock::now().uptime >= give_up {
                let log = fs::read_to_string(self.path("log")).unwrap_or_default();
                let last = log.lines().rev().take(40).collect::<Vec<_>>().join("\n");
                panic!("waited in vain for {what}\n{state:#?}\nlast in the log:\n{last}");
            }
            writes.next();
        }
    }

    /// Lets everything that was begun come to its end: no further creation is due, every policy's
    /// deletion has begun once more after its last creation was over and has succeeded, and then all
    /// are stopped and nothing is under way.
    pub fn calm_down(&self) {
        self.write("store/calm", "");
        // Edits of what the daemon has read: one that it finds at its start counts for both workflows.
        self.until("the daemon", |_| Some(()));
        let calm = POLICY.replacen(EVERY_SECOND, "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"", 1);
        assert_ne!(calm, POLICY);
        let files = fs::read_dir(self.path("policies.d")).expect("a folder").flatten();
        let names: Vec<String> =
            files.filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_string())).collect();
        for name in &names {
            self.write(&format!("policies.d/{name}.toml"), &calm);
        }
        let at = |workflow: &Value, key: &str| workflow["latest_execution"][key].as_i64();
        let all = |body: &Value, is_done: &dyn Fn(&Value, &Value) -> bool| {
            let policies = body["policies"].as_array()?;
            let count = policies.iter().filter(|policy| is_done(&policy["creation"], &policy["deletion"])).count();
            (count == names.len()).then_some(())
        };
        let is_over = |workflow: &Value| workflow["waits_for"].is_null() && at(workflow, "end_time").is_some();
        self.until("a deletion of each policy after its last creation", |body| {
            all(body, &|creation, deletion| {
                let is_seldom = creation["schedule"].as_str().is_some_and(|schedule| schedule.contains("29 2"));
                is_seldom
                    && is_over(creation)
                    && deletion["latest_execution"]["status"] == "SUCCESS"
                    && at(deletion, "start_time") >= at(creation, "end_time")
            })
        });
        for name in &names {
            let stopped = self.command(&["policy", "stop", name]).output().expect("the command runs");
            assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        }
        self.until("every workflow to wait", |body| {
            all(body, &|creation, deletion| is_over(creation) && is_over(deletion))
        });
    }

    /// Returns what the outside did, in order.
    pub fn account(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path("store/account")).unwrap_or_default();
        let line = |line: &str| line.split_once(' ').map(|(what, name)| (what.to_string(), name.to_string()));
        text.lines().filter_map(line).collect()
    }

    /// Returns every run in the journal, newest first.
    pub fn runs(&self) -> Vec<RunRecord> {
        let reader = Reader::open(&self.state()).expect("a reader");
        reader.history(&HistoryQuery { limit: u32::MAX, ..HistoryQuery::default() }).expect("history")
    }

    pub fn state(&self) -> PathBuf {
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
