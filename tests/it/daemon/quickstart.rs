//! The README's first command, on a terminal: a set-up, a snapshot, the recovery sheet, and data back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::skips::not_tested;
use crate::support::wait::{PATIENCE, Writes};

const SNAPKEEP: &str = env!("CARGO_BIN_EXE_snapkeep");

/// The command on its terminal. It ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The terminal goes with it, and the daemon with its terminal.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it on a terminal; `None` where there is no script(1) to make one.
fn start(folder: &Path) -> Option<(Running, Receiver<String>)> {
    let command = format!("{SNAPKEEP} quickstart mine");
    let child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (tell, lines) = channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    Some((Running(child), lines))
}

/// Reads up to a line that holds `text`, and returns all of it.
fn read_until(lines: &Receiver<String>, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => read.push_str(&format!("{}\n", line.trim_end())),
            Err(error) => panic!("{error}: no `{text}` in {read}"),
        }
    }
    read
}

/// Runs another command, as soon as the daemon can be reached.
fn run(folder: &Path, words: &[&str]) -> Output {
    let writes = Writes::below(&[&folder.join("snapkeep-quickstart")]);
    loop {
        let output = Command::new(SNAPKEEP)
            .args(["--config", "./snapkeep-quickstart/snapkeep.toml"])
            .args(words)
            .current_dir(folder)
            .output()
            .expect("the command runs");
        if output.status.code() != Some(3) {
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            return output;
        }
        writes.next();
    }
}

fn stop(folder: &Path, mut child: Running) {
    let lock = fs::read_to_string(folder.join("snapkeep-quickstart/state/lock")).expect("a lock");
    let process = lock.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok()).expect("a process");
    kill_process(Pid::from_raw(process).expect("a number"), Signal::TERM).expect("it runs");
    assert!(child.0.wait().expect("it ends").success());
}

#[test]
fn the_first_command_makes_a_snapshot_and_prints_the_recovery_sheet_once() {
    let place = tempfile::tempdir().expect("a directory");
    let folder = place.path();
    fs::create_dir(folder.join("mine")).expect("made");
    fs::write(folder.join("mine/page"), "words\n").expect("written");
    let Some((child, lines)) = start(folder) else {
        not_tested("quickstart on a terminal, because there is no script(1)");
        return;
    };
    let intro = read_until(&lines, "Ctrl-C ends it");
    assert!(intro.contains("In a second terminal, in this directory:") && intro.contains(" key sheet"), "{intro}");
    // Not to wait for the full minute.
    run(folder, &["policy", "run", "quickstart", "--wait"]);
    let sheet = read_until(&lines, "docs/getting-data-back.md");
    let key = fs::read_to_string(folder.join("snapkeep-quickstart/repository.key")).expect("the key");
    assert!(sheet.contains("RECOVERY SHEET") && sheet.contains(key.trim()), "{sheet}");

    let listed = String::from_utf8(run(folder, &["--json", "snapshots"]).stdout).expect("UTF-8");
    let name = listed.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a snapshot");
    run(folder, &["restore", name, "--to", "restored"]);
    let mine = folder.join("mine").canonicalize().expect("there");
    let back = folder.join("restored").join(mine.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read_to_string(back.join("page")).expect("there"), "words\n");
    stop(folder, child);

    // The same command goes on, and shows the key no more.
    let (child, lines) = start(folder).expect("as before");
    let mut said = read_until(&lines, "Ctrl-C ends it");
    run(folder, &["policy", "run", "quickstart", "--wait"]);
    stop(folder, child);
    said.extend(lines.iter());
    assert!(!said.contains(key.trim()), "{said}");
}
