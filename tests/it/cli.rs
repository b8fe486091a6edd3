//! The command line: what it takes, what it prints, how it ends.

use clap::{CommandFactory, Parser};
use expect_test::{Expect, expect};
use snapkeep::cli::arguments::Arguments;
use snapkeep::cli::execute;
use snapkeep::cli::out::{Exit, Out, safe};
use snapkeep::cli::table::{Cell, Table};
use snapkeep::cli::times::{Times, bytes, span};
use snapkeep::engine::event::{Done, What};
use snapkeep::lifecycle::time::Timestamp;

use crate::http::{Daemon, view};

/// Runs a command against a daemon, and returns how it ended, what it said and what it said aside.
fn run(daemon: &Daemon, words: &[&str]) -> (Exit, String, String) {
    let socket = daemon.socket.to_str().expect("plain");
    let ours = ["snapkeep", "--utc", "--socket", socket];
    let arguments = Arguments::try_parse_from(ours.iter().chain(words)).expect("understood");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = execute(arguments, &mut stdout, &mut stderr, false);
    (exit, String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"))
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(text);
}

#[test]
fn every_command_and_argument_says_what_it_is_for() {
    fn walk(command: &clap::Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some_and(|about| !about.to_string().trim().is_empty()), "{name}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.trim().is_empty(), "{name} {}", argument.get_id());
        }
        command.get_subcommands().for_each(walk);
    }
    let mut command = Arguments::command();
    command.build();
    command.clone().debug_assert();
    walk(&command);
    check(
        &command.term_width(100).render_help().to_string(),
        &expect![[r#"
            Keeps snapshots by policy: takes them on schedule, deletes old ones by rule, explains itself

            Usage: snapkeep [OPTIONS] <COMMAND>

            Commands:
              run          Run the daemon in the foreground
              quickstart   Set up a first policy for a directory and run it, here and now
              check        Read the configuration and tell everything that is wrong with it
              explain      Tell what policies are doing, why, and what comes next
              health       Tell how policies are, in a line for monitoring
              policy       List, show, start, stop, run, import and export policies
              snapshots    List the snapshots there are, as the repositories tell it
              hold         Keep single snapshots, whatever the policies say, and show what is kept so
              adopt        Let a policy own snapshots that no living policy owns; without --yes it only shows
                           what would happen
              expire       Delete exactly the snapshots named; without --yes it only shows what would happen
              plan         Show what a deletion run would keep and delete, and why; deletes nothing
              restore      Give the files of a snapshot back, into an empty directory
              verify       Look whether all data of a snapshot is there, and read some of it
              maintain     Give the space back that deleted snapshots alone needed, and check the repository,
                           now
              deletions    Show, approve and refuse deletions that a guard has stopped
              clock        Believe the machine's clock again
              history      Show what was run, and how it ended, newest first
              audit        Show who commanded what and what was deleted, with what it was before and after,
                           newest first
              operations   Show what maintenance, verification, holds, adoption and expiry came to, and what of
                           it goes on, newest first
              journal      Check, copy and restore the daemon's journal
              metrics      Print what monitoring reads, in the text format of Prometheus
              notices      Show what channels are owed and what became of it, and send it again
              channel      List where notices go, and try whether they get there
              token        Make, list and remove the tokens that let callers in over the network
              key          Show, add, replace and remove the keys of a repository, and print its recovery sheet
              driver       Test a program that speaks the driver protocol
              completions  Print what a shell needs to complete these commands
              man          List the pages of the manual, print one, or write all of them into a directory
              schema       Print the JSON schema of a file that people write, for editors

            Options:
                  --config <FILE>  The settings file; everything else is looked for in its folder [env:
                                   SNAPKEEP_CONFIG]
                  --socket <FILE>  The daemon's socket, where it is not the one that the settings name [env:
                                   SNAPKEEP_SOCKET]
                  --json           Print JSON as the daemon says it; points in time are milliseconds since 1970
                  --utc            Show times in UTC, not in this machine's zone
              -h, --help           Print help (see more with '--help')
              -V, --version        Print version

            Exit codes:
              0   done; all is well
              1   refused or failed; for `check`: warnings
              2   wrong usage, bad configuration, or another daemon has the state directory
              3   the daemon cannot be reached
              74  the journal could not be read or written
            Those of `health`: 0 well, 1 somebody should look, 2 somebody has to, 3 nobody can tell
        "#]],
    );
}

#[test]
fn wrong_usage_is_refused_before_anything_is_done() {
    for words in [
        &["explode"][..],
        &["plan"],
        &["plan", "a", "b"],
        &["plan", "a", "--at", "1d", "--until", "2d"],
        &["plan", "a", "--latest", "--at", "1d"],
        &["plan", "a", "--latest", "--policy", "b.toml"],
        &["restore", "a"],
        &["history", "--limit", "0"],
        &["history", "--limit", "1001"],
        &["history", "--workflow", "copy"],
        &["operations", "--what", "copy"],
        &["policy", "run"],
        &["policy", "import"],
        &["policy", "import", "a", "--password-file", "b"],
        &["policy", "import", "a", "--user", "b", "--token-file", "c"],
        &["quickstart"],
        &["token", "add", "a"],
        &["token", "add", "a", "--role", "owner"],
        &["key", "rotate"],
        &["key", "add", "a"],
        &["key", "remove", "a"],
        &["snapshots", "a", "--repository", "b"],
        &["driver", "test"],
        &["driver", "test", "program"],
        &["driver", "test", "--settings", "--", "program"],
    ] {
        let error = Arguments::try_parse_from(["snapkeep"].iter().chain(words)).expect_err("refused");
        assert!(error.use_stderr(), "{words:?}");
    }
}

#[test]
fn a_policy_is_explained_on_a_page() {
    let (exit, page, aside) = run(&Daemon::start(view(&["db"])), &["explain"]);
    assert_eq!((exit, aside.as_str()), (Exit::Fine, ""));
    // How long ago depends on when the test runs.
    let page: Vec<&str> = page.lines().map(|line| line.split(" (in ").next().unwrap_or(line)).collect();
    let page: Vec<String> = page.iter().map(|line| line.split(" ago (").last().unwrap_or(line).to_string()).collect();
    let page: Vec<String> = page.iter().map(|line| line.split(" ago)").next().unwrap_or(line).to_string()).collect();
    assert!(page[0].starts_with("db  ok"), "{page:?}");
    assert!(page.iter().any(|line| line.contains("cron \"0 2 * * *\"")), "{page:?}");
    assert!(page.iter().any(|line| line.contains("latest: SUCCESS, began 2026-03-01 02:00:00, took 5s")), "{page:?}");
    assert_eq!(page.last().map(String::as_str), Some("Times are UTC."));
}

#[test]
fn many_policies_are_explained_in_a_table_and_unknown_ones_named() {
    let daemon = Daemon::start(view(&["a", "b", "c", "d"]));
    let (exit, table, _) = run(&daemon, &["explain"]);
    assert_eq!((exit, table.lines().count()), (Exit::Fine, 6));
    assert!(table.starts_with("POLICY  STATE"), "{table}");
    let (exit, _, aside) = run(&daemon, &["explain", "a", "e"]);
    assert_eq!((exit, aside.as_str()), (Exit::Failed, "snapkeep: there is no policy `e`\n"));
    let (exit, said, aside) = run(&daemon, &["explain", "dd"]);
    assert_eq!((exit, said.as_str()), (Exit::Failed, ""));
    assert_eq!(aside, "snapkeep: there is no policy `dd`\nhint: did you mean `d`?\n");
}

#[test]
fn json_is_what_the_daemon_said_also_when_it_refused() {
    let daemon = Daemon::start(view(&["db"]));
    let (exit, said, _) = run(&daemon, &["--json", "explain", "db"]);
    let body: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((exit, body["policies"][0]["name"].as_str()), (Exit::Fine, Some("db")));
    let (exit, said, aside) = run(&daemon, &["--json", "explain", "nothing"]);
    let body: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((exit, body["code"].as_str(), aside.as_str()), (Exit::Failed, Some("unknown_policy"), ""));
}

#[test]
fn a_run_that_is_asked_for_is_begun_and_may_be_waited_for() {
    let mut daemon = Daemon::start(view(&["db"]));
    let _seen = daemon.answering(|what| match what {
        What::Run { .. } => Ok(Done::Run { run_id: "run-of-db".into(), snapshot: Some("db-1".into()) }),
        _ => Ok(Done::Acknowledged),
    });
    let (exit, said, _) = run(&daemon, &["policy", "run", "db"]);
    assert_eq!((exit, said.as_str()), (Exit::Fine, "Run run-of-db has begun, making db-1.\n"));
    let (exit, said, _) = run(&daemon, &["policy", "run", "db", "--wait"]);
    assert_eq!((exit, said.as_str()), (Exit::Fine, "succeeded after 5s: created snapshot db-1\n"));
    let (exit, said, _) = run(&daemon, &["policy", "stop", "db"]);
    assert_eq!(exit, Exit::Fine);
    assert!(said.starts_with("db is stopped"), "{said}");
}

#[test]
fn policies_and_history_are_tables() {
    let daemon = Daemon::start(view(&["db"]));
    check(
        &run(&daemon, &["policy", "list"]).1,
        &expect![[r#"
        POLICY  RUNS  CREATION                 DELETION                 KEEPS                           REPOSITORY
        db      yes   cron "0 2 * * *" in UTC  cron "0 4 * * *" in UTC  7d long, at most 9, at least 2  simulated
    "#]],
    );
    check(
        &run(&daemon, &["history"]).1,
        &expect![[r#"
        BEGAN (UTC)          POLICY  WORKFLOW  OUTCOME    TOOK  WHAT
        2026-03-01 02:00:00  db      creation  succeeded  5s    created snapshot db-1
    "#]],
    );
}

#[test]
fn a_daemon_that_is_not_there_is_told_with_its_socket_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a directory");
    let socket = folder.path().join("api.sock");
    let words = ["snapkeep", "--socket", socket.to_str().expect("plain"), "explain"];
    let arguments = Arguments::try_parse_from(words).expect("understood");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = execute(arguments, &mut stdout, &mut stderr, false);
    let said = String::from_utf8(stderr).expect("text");
    assert_eq!(exit, Exit::Unreachable);
    assert!(said.contains(socket.to_str().expect("plain")) && said.contains("hint: is it running?"), "{said}");
}

/// A pipe whose reader has gone.
struct Closed;

impl std::io::Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_nobody_reads_any_more_ends_the_command_quietly() {
    let daemon = Daemon::start(view(&["db"]));
    let socket = daemon.socket.to_str().expect("plain");
    let arguments = Arguments::try_parse_from(["snapkeep", "--socket", socket, "history"]).expect("understood");
    let mut stderr = Vec::new();
    assert_eq!(execute(arguments, &mut Closed, &mut stderr, false), Exit::Fine);
    assert_eq!(stderr, b"");
}

#[test]
fn what_comes_from_elsewhere_cannot_steer_the_terminal() {
    for (text, shown) in [
        ("plain täxt ✓", "plain täxt ✓"),
        ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("evil\u{202e}txt.exe", "evil\\u{202e}txt.exe"),
    ] {
        assert_eq!(safe(text), shown);
    }
}

#[test]
fn a_table_is_as_wide_as_its_widest_cells_and_colours_only_a_terminal() {
    let print = |colour| {
        let mut table = Table::new(&["NAME", "SIZE", "NOTE"]);
        table.row(vec![Cell::new("a"), Cell::number("5 B"), Cell::new("")]);
        table.row(vec![Cell::new("größer\u{7}"), Cell::number("1.2 MB"), Cell::new("x")]);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut out = Out::new(&mut stdout, &mut stderr, Times::utc(Timestamp::EPOCH), colour, false);
        table.print(&mut out).expect("printed");
        String::from_utf8(stdout).expect("text")
    };
    check(
        &print(false),
        &expect![[r#"
        NAME           SIZE  NOTE
        a               5 B
        größer\u{7}  1.2 MB  x
    "#]],
    );
    assert!(print(true).starts_with("\u{1b}[1mNAME\u{1b}[0m"));
}

#[test]
fn a_time_is_a_date_a_date_and_time_or_a_span_ahead() {
    let times = Times::utc(Timestamp::from_millis(1_772_330_400_000));
    for (text, read) in [
        ("2026-03-02", 1_772_409_600_000),
        ("2026-03-02T02:00", 1_772_416_800_000),
        (" 2026-03-02 02:00:05 ", 1_772_416_805_000),
        ("2026-03-02T02:00+01:00", 1_772_413_200_000),
        ("1d", 1_772_416_800_000),
        ("1h30m", 1_772_335_800_000),
    ] {
        assert_eq!(times.read(text), Ok(read), "{text}");
    }
    for text in ["", "tomorrow", "02:00", "2026-02-30", "1M", "-1d"] {
        assert!(times.read(text).is_err_and(|why| why.contains("is no time")), "{text}");
    }
}

#[test]
fn spans_sizes_and_distances_are_short() {
    for (millis, words) in [(0, "0ms"), (999, "999ms"), (12_000, "12s"), (750_000, "12m 30s"), (3_600_000, "1h")] {
        assert_eq!(span(millis), words);
    }
    assert_eq!(span(100 * 3_600_000), "4d 4h");
    for (size, words) in [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_960, "1.0 MB"), (53_400_000, "53 MB")] {
        assert_eq!(bytes(size), words);
    }
    let times = Times::utc(Timestamp::from_millis(1_772_330_400_000));
    assert_eq!(times.at(1_772_330_400_000), "2026-03-01 02:00:00");
    assert_eq!(times.distance(1_772_330_400_000 + 65_000), "in 1m 5s");
    assert_eq!(times.distance(1_772_330_400_000 - 65_000), "1m 5s ago");
    assert_eq!(times.distance(1_772_330_400_000), "now");
}
