//! What monitoring reads of a daemon that runs: at its socket, by the command, and in a file.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::place::Place;
use super::policy;
use crate::metrics::{promtool, promtool_is_here};

fn metrics(place: &Place) -> String {
    let output = place.command(&["metrics"]).output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Returns a sample's value.
fn value(text: &str, sample: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

const SUCCEEDED: &str = "snapkeep_runs_total{policy=\"every\",workflow=\"creation\",outcome=\"succeeded\"}";

#[test]
fn a_daemon_tells_monitoring_at_its_socket_by_command_and_in_a_file() {
    let mut place = Place::new();
    place.add_channel("quiet");
    place.write(
        "snapkeep.toml",
        "[log]\nlevel = \"error\"\n[housekeeping]\nenabled = false\n[metrics]\ntextfile = \"read/snapkeep.prom\"\n",
    );
    fs::create_dir(place.path("read")).expect("made");
    fs::write(place.path("read/snapkeep.prom"), "of a daemon before this one").expect("written");
    fs::write(place.path("read/.snapkeep.prom.part"), "cut off").expect("written");
    place.start();
    place.until("a snapshot and a deletion", |body| {
        let policy = policy(body)?;
        policy["last_good"].as_object()?;
        (policy["deletion"]["latest_execution"]["status"] == "SUCCESS").then_some(())
    });
    let text = metrics(&place);
    assert!(value(&text, SUCCEEDED).is_some_and(|count| count >= 1.0), "{text}");
    assert!(value(&text, "snapkeep_snapshots{policy=\"every\"}").is_some_and(|count| count >= 1.0), "{text}");
    assert_eq!(value(&text, "snapkeep_notices_waiting{channel=\"quiet\"}"), Some(0.0));
    let commits = value(&text, "snapkeep_journal_commit_duration_seconds_count").expect("told");
    let seconds = value(&text, "snapkeep_journal_commit_duration_seconds_sum").expect("told");
    assert!(commits > 1.0 && seconds > 0.0 && seconds < 600.0, "{commits} commits, {seconds} s");

    // At the socket as a scraper would.
    let mut stream = UnixStream::connect(place.state().join("api.sock")).expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains(SUCCEEDED) && !body.contains("# EOF"), "{body}");

    // In the file, from the daemon's start on.
    let file = place.path("read/snapkeep.prom");
    place.until("the file", |body| {
        let chores = body["daemon"]["housekeeping"].as_array()?;
        chores.iter().any(|chore| chore["job"] == "metrics textfile").then_some(())
    });
    let written = fs::read_to_string(&file).expect("written");
    assert!(written.starts_with("# HELP ") && written.contains("snapkeep_build_info{"), "{written}");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o644);
    let beside: Vec<_> = fs::read_dir(place.path("read")).expect("a folder").flatten().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");

    if promtool_is_here("what a daemon tells monitoring") {
        for text in [&text, &written] {
            assert_eq!(promtool(&["check", "metrics"], text.as_bytes()), (true, String::new()), "{text}");
        }
        let (is_clean, said) =
            promtool(&["check", "metrics"], text.replace("# HELP snapkeep_runs_total", "# ").as_bytes());
        assert!(!is_clean && said.contains("snapkeep_runs_total"), "promtool looks: {said}");
    }

    // A counter goes on where it was.
    place.kill();
    place.write("store/hang", "");
    place.start();
    place.until("the daemon", |body| policy(body).map(|_| ()));
    let again = metrics(&place);
    assert!(value(&again, SUCCEEDED) >= value(&text, SUCCEEDED), "{again}");
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_hinders_nothing() {
    let mut place = Place::bare();
    place.write(
        "snapkeep.toml",
        "[log]\nlevel = \"error\"\n[housekeeping]\nenabled = false\n[metrics]\ntextfile = \"nowhere/snapkeep.prom\"\n",
    );
    place.up();
    let trouble = place.until("the trouble", |body| {
        let chores = body["daemon"]["housekeeping"].as_array()?;
        let chore = chores.iter().find(|chore| chore["job"] == "metrics textfile")?;
        Some(chore["trouble"].as_str()?.to_string())
    });
    assert!(trouble.contains("nowhere/snapkeep.prom: No such file"), "{trouble}");
    assert!(metrics(&place).contains("snapkeep_chore_failed{chore=\"metrics textfile\"} 1\n"));
    assert!(!place.path("nowhere").exists());
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn in_safe_mode_monitoring_is_told_so_everywhere() {
    let mut place = Place::bare();
    place.up();
    assert_eq!(place.stop(), Some(0));
    fs::write(place.state().join("journal.db"), "no journal").expect("damaged");
    place.write("snapkeep.toml", "[log]\nlevel = \"error\"\n[metrics]\ntextfile = \"snapkeep.prom\"\n");
    place.start();
    place.until("safe mode", |body| body["daemon"]["safe_mode"].as_str().map(|_| ()));
    let told = |text: &str| (value(text, "snapkeep_safe_mode"), value(text, "snapkeep_journal_readable"));
    assert_eq!(told(&metrics(&place)), (Some(1.0), Some(0.0)));
    let file = place.path("snapkeep.prom");
    place.until("the file", |_| file.exists().then_some(()));
    assert_eq!(told(&fs::read_to_string(&file).expect("written")), (Some(1.0), Some(0.0)));
    assert_eq!(place.stop(), Some(0));
}
