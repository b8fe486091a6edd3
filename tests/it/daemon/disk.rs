//! A disk that fails under the journal.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::place::Place;
use super::{books, policy};
use crate::support::dice::Dice;
use crate::support::wait;

/// Policies that write.
const BUSY: usize = 6;
/// How often the disk fails.
const FAILURES: u64 = 3;
/// The journal's log grows beyond this within a second, wherever it is written at the moment.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// What the journal could not be written ends with.
const JOURNAL_FAILED: Option<i32> = Some(74);

/// Returns the command that runs the daemon deaf to the signal that comes with a file that is too
/// large, so that it meets the error: a signal that is ignored stays so across `exec`.
fn deaf(place: &Place, limit: &str) -> Command {
    let run = place.command(&["run"]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\"")]);
    command.arg(run.get_program()).args(run.get_args()).stdin(Stdio::null());
    command
}

/// Waits for the end, and checks that it was for the journal and that one line says so.
fn ended_by_its_journal(place: &mut Place, log: &str) {
    let mut child = place.child.take().expect("a daemon runs");
    let code = wait::ended(&mut child);
    let said = fs::read_to_string(place.path(log)).expect("a log");
    assert_eq!(code, JOURNAL_FAILED, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("journal") && lines[0].contains("disk I/O error"), "{said}");
}

#[test]
fn a_disk_that_fails_under_the_journal_ends_the_daemon_with_74_and_the_next_start_goes_on() {
    let mut dice = Dice::new(74);
    let mut place = Place::busy(BUSY);
    for failure in 0..FAILURES {
        let log = format!("log{failure}");
        let command = deaf(&place, "");
        place.start_as(command, &log);
        let before = place.account().len();
        place.until("the daemon, and more snapshots", |body| {
            policy(body).filter(|_| place.account().len() > before + BUSY).map(|_| ())
        });
        // From one moment to the next no file can be written beyond this any more; a part of a page may be.
        let daemon = Pid::from_child(place.child.as_ref().expect("a daemon runs"));
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: Some(FILE_BYTES_MAX + dice.below(4_096)), maximum };
        prlimit(Some(daemon), Resource::Fsize, limit).expect("a process may limit its child");
        ended_by_its_journal(&mut place, &log);

        // As long as the disk is like that, a start says the same.
        let log = format!("log{failure}-again");
        let command = deaf(&place, "ulimit -f 16;");
        place.start_as(command, &log);
        ended_by_its_journal(&mut place, &log);
    }
    // The disk is well again.
    place.start();
    place.calm_down();
    assert_eq!(place.stop(), Some(0));
    let books = books::balanced(&place);
    assert!(!books.deleted.is_empty(), "the scenario did not come to what it is for");
}
