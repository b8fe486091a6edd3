//! What is delivered beside the program: the unit of the service, as systemd itself judges it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapkeep::config::settings::{Defaults, Settings};
use snapkeep::lifecycle::time::Span;

use crate::support::skips::not_tested;

/// Redis has 1.2, hostnamed 1.5, the programs that do what ours does 2.7 to 9.6.
const EXPOSURE_MAX: f32 = 1.5;

fn packaging(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(below)
}

fn unit() -> String {
    fs::read_to_string(packaging("systemd/snapkeep.service")).expect("the unit")
}

/// Returns the value of a key that the unit has once.
fn value(key: &str) -> String {
    let unit = unit();
    let values: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix(&format!("{key}="))).collect();
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values[0].to_string()
}

fn millis(key: &str) -> i64 {
    // systemd writes minutes as `min`.
    Span::parse(&value(key).replace("min", "m")).expect("a span").millis()
}

fn examples() -> Vec<PathBuf> {
    let files = fs::read_dir(packaging("systemd/examples")).expect("a folder").flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// A folder with the unit, for a program that is there, and with drop-ins.
fn placed(drop_ins: &[PathBuf]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = unit().replace("/usr/bin/snapkeep", env!("CARGO_BIN_EXE_snapkeep"));
    fs::write(folder.path().join("snapkeep.service"), unit).expect("written");
    let below = folder.path().join("snapkeep.service.d");
    fs::create_dir(&below).expect("made");
    for drop_in in drop_ins {
        fs::copy(drop_in, below.join(drop_in.file_name().expect("a name"))).expect("copied");
    }
    folder
}

fn analyze(words: &[&str], folder: &Path) -> Option<Output> {
    let unit = folder.join("snapkeep.service");
    let output = Command::new("systemd-analyze").args(words).arg(unit).env("SYSTEMD_COLORS", "0").output();
    if output.is_err() {
        not_tested("the unit of the service by systemd: there is no systemd-analyze");
    }
    output.ok()
}

/// Returns how exposed systemd finds the service, 0 to 10.
fn exposure(folder: &Path) -> Option<(f32, String)> {
    let output = analyze(&["security", "--offline=true", "--threshold=100"], folder)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let rest = said.split("exposure level for snapkeep.service: ").nth(1).unwrap_or_else(|| panic!("{said}"));
    Some((rest.split(' ').next().expect("a number").parse().expect("a number"), said))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    for drop_ins in [Vec::new(), examples()] {
        let folder = placed(&drop_ins);
        // Its pages are installed by the package.
        let Some(output) = analyze(&["verify", "--man=no"], folder.path()) else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
    let broken = placed(&[]);
    let path = broken.path().join("snapkeep.service");
    fs::write(&path, unit().replace("ProtectClock=yes", "ProtectClok=yes")).expect("written");
    let output = analyze(&["verify", "--man=no"], broken.path()).expect("it ran before");
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProtectClok"), "it looks at nothing");
}

#[test]
fn systemd_finds_the_service_well_shut_in() {
    let folder = placed(&[]);
    let Some((score, said)) = exposure(folder.path()) else { return };
    assert!(score <= EXPOSURE_MAX, "{said}");
    let strict = analyze(&["security", "--offline=true", "--threshold=15"], folder.path()).expect("it ran before");
    assert!(strict.status.success(), "{said}");
    // What lets it do more is seen, and none of it gives everything away.
    for example in examples() {
        let (with, said) = exposure(placed(std::slice::from_ref(&example)).path()).expect("it ran before");
        assert!((score..2.0).contains(&with), "{}: {said}", example.display());
    }
}

#[test]
fn the_unit_leaves_more_time_than_the_program_takes() {
    let settings = Settings::default_in(&Defaults::system());
    // Beside what runs: callers, the journal, drivers that have to be ended.
    assert!(millis("TimeoutStopSec") >= settings.stop_timeout.millis() + 20_000);
    // The engine waits a minute at most.
    assert!(millis("WatchdogSec") > 2 * 60_000);
    assert_eq!(value("KillMode"), "mixed", "drivers would be ended before anybody waits for them");
    assert_eq!((value("User"), value("Group")), ("snapkeep".to_string(), "snapkeep".to_string()));
    let users = fs::read_to_string(packaging("sysusers/snapkeep.conf")).expect("the user");
    assert!(users.lines().any(|line| line.starts_with("u ") && line.contains(" snapkeep ")), "{users}");
    for (key, path) in [("StateDirectory", "/var/lib/snapkeep"), ("RuntimeDirectory", "/run/snapkeep")] {
        assert!(path.ends_with(&format!("/{}", value(key))));
        assert!(settings.state_dir.starts_with(path) || settings.socket.starts_with(path), "{path}");
    }
}
