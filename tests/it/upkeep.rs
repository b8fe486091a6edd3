//! Maintenance and verification of the embedded driver, by the real program: space comes back, nothing
//! that is needed goes, and damage is found. What restic makes of it decides, where it is installed.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use snapkeep::drivers::process::{Limits, ProcessDriver, Program};
use snapkeep::drivers::{
    Abilities, Amount, Driver, MaintainOrder, Maintained, RestoreOrder, Verified, VerifyOrder, registry,
};
use snapkeep::lifecycle::snapshot::Snapshot;
use snapkeep::lifecycle::workflow::{Fault, FaultKind};

use crate::driver_contract::{Fixture, call, create, files, list, target};
use crate::files::tree;
use crate::support::skips::not_tested;

/// A delay that only the driver's own minimum lengthens.
pub const KEEP: MaintainOrder = MaintainOrder { keep: Duration::ZERO };

/// The library that moves a process's clock.
pub fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.exists())
}

/// What a worker is started with so that its clock is ahead; `None` where that cannot be done.
pub fn ahead(hours: u32) -> Option<Vec<OsString>> {
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(libfaketime()?);
    // Only the calendar moves: files keep the times they have, and waits take as long as they take.
    let settings = [format!("FAKETIME=+{hours}h"), "NO_FAKE_STAT=1".into(), "FAKETIME_DONT_FAKE_MONOTONIC=1".into()];
    let mut arguments = vec![preload];
    arguments.extend(settings.map(OsString::from));
    Some(arguments)
}

/// Opens the fixture's repository by a worker whose clock is ahead.
pub fn driver_ahead(fixture: &Fixture, hours: u32) -> Option<ProcessDriver> {
    let mut arguments = ahead(hours)?;
    arguments.extend([env!("CARGO_BIN_EXE_snapkeep"), "driver", "files"].map(OsString::from));
    let program = Program { path: "/usr/bin/env".into(), arguments, called: None, title: "files".to_owned() };
    let repository = json!({"path": fixture.repository()}).as_object().expect("a table").clone();
    let abilities = Abilities {
        cancel: false,
        restore: true,
        restore_beside: true,
        verify: true,
        maintain: true,
        label: false,
        effects_max: 1,
    };
    Some(ProcessDriver::new(program, repository, abilities, Limits::default()))
}

pub async fn maintain(driver: &dyn Driver) -> Maintained {
    driver.maintain(&KEEP, &call()).await.expect("maintained")
}

pub async fn verify(fixture: &Fixture, snapshot: &Snapshot, percent: u8) -> Result<Verified, Fault> {
    let order = VerifyOrder { target: target(snapshot), read_data_percent: percent };
    fixture.driver.verify(&order, &call()).await
}

/// Writes a file that can be neither compressed nor deduplicated.
pub fn noise(path: &Path, seed: u64, bytes: usize) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut words = Vec::with_capacity(bytes);
    while words.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        words.extend_from_slice(&state.to_be_bytes());
    }
    fs::write(path, words).expect("written");
}

pub fn packs(fixture: &Fixture) -> Vec<(PathBuf, u64)> {
    let mut packs = Vec::new();
    for folder in fs::read_dir(fixture.repository().join("data")).expect("there").flatten() {
        for pack in fs::read_dir(folder.path()).expect("there").flatten() {
            packs.push((pack.path(), pack.metadata().expect("there").len()));
        }
    }
    packs.sort();
    packs
}

fn size(fixture: &Fixture) -> u64 {
    packs(fixture).iter().map(|(_, bytes)| bytes).sum()
}

/// Has restic read everything. Returns whether it found nothing wrong, and what it said.
pub fn restic_check(fixture: &Fixture, arguments: &[&str]) -> Option<(bool, String)> {
    let key = fixture.folder.path().join("repository.key");
    let output = Command::new("restic")
        .args(["--no-cache", "--repo"])
        .arg(fixture.repository())
        .arg("--password-file")
        .arg(key)
        .arg("check")
        .args(arguments)
        .output();
    let Ok(output) = output else {
        not_tested("what restic makes of a maintained repository, because it is not installed");
        return None;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output.status.success() && said.contains("no errors were found"), said))
}

pub fn restic_agrees(fixture: &Fixture) {
    if let Some((sound, said)) = restic_check(fixture, &["--read-data"]) {
        assert!(sound, "{said}");
    }
}

/// Has restic restore a snapshot. Returns whether there is a restic to do that.
pub fn restore_by_restic(fixture: &Fixture, snapshot: &Snapshot, to: &Path) -> bool {
    let output = Command::new("restic")
        .args(["--no-cache", "--repo"])
        .arg(fixture.repository())
        .arg("--password-file")
        .arg(fixture.folder.path().join("repository.key"))
        .args(["restore", &snapshot.id, "--target"])
        .arg(to)
        .output();
    let Ok(output) = output else {
        not_tested("what restic restores of our repositories, because it is not installed");
        return false;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Whether a snapshot comes back as the source is at present.
pub async fn comes_back(fixture: &Fixture, snapshot: &Snapshot, to: &str) {
    let to = fixture.folder.path().join(to);
    let all = RestoreOrder { target: target(snapshot), to: to.clone(), include: vec![], overwrite: false };
    fixture.driver.restore(&all, &call()).await.expect("restored");
    let source = fixture.source();
    assert_eq!(tree(&to.join(source.strip_prefix("/").expect("absolute"))), tree(&source));
}

#[tokio::test]
async fn space_comes_back_after_the_delay_and_not_before() {
    let fixture = files();
    assert_eq!(maintain(&*fixture.driver).await, Maintained::default());
    let mut made = Vec::new();
    for (number, text) in ["a-1", "b-1", "c-1"].into_iter().enumerate() {
        noise(&fixture.source().join("large"), number as u64, 3_000_000);
        made.push(create(&fixture, text).await.expect("made").snapshot);
    }
    for snapshot in &made[..2] {
        fixture.driver.delete(&target(snapshot), &call()).await.expect("deleted");
    }
    let full = size(&fixture);

    let first = maintain(&*fixture.driver).await;
    assert!(first.marked.count >= 2 && first.marked.bytes > 6_000_000, "{first:?}");
    assert_eq!((first.removed, first.kept), (Amount::default(), Amount::default()));
    assert!(size(&fixture) >= full);
    restic_agrees(&fixture);
    // However often it runs: not before the delay is over.
    let second = maintain(&*fixture.driver).await;
    assert!(second.removed == Amount::default() && second.kept.bytes > 6_000_000, "{second:?}");

    let Some(tomorrow) = driver_ahead(&fixture, 25) else {
        not_tested("that space comes back, because there is no libfaketime to move the clock with");
        return;
    };
    // Who may still need it for longer than that is waited for.
    let patient = MaintainOrder { keep: Duration::from_secs(26 * 3600) };
    let waited = tomorrow.maintain(&patient, &call()).await.expect("maintained");
    assert_eq!(waited.removed, Amount::default(), "{waited:?}");
    let third = maintain(&tomorrow).await;
    assert!(third.removed.bytes > 6_000_000 && third.kept.count == 0, "{third:?}");
    assert!(size(&fixture) + 6_000_000 < full, "{} of {full}", size(&fixture));
    restic_agrees(&fixture);
    comes_back(&fixture, &made[2], "back").await;
    let verified = verify(&fixture, &made[2], 100).await.expect("sound");
    assert!(verified.files == 2 && verified.bytes_read > 3_000_000, "{verified:?}");
}

#[tokio::test]
async fn what_was_marked_and_is_needed_again_is_not_removed() {
    let fixture = files();
    noise(&fixture.source().join("large"), 1, 3_000_000);
    let first = create(&fixture, "a-1").await.expect("made").snapshot;
    fs::remove_file(fixture.source().join("large")).expect("removed");
    create(&fixture, "a-2").await.expect("made");
    fixture.driver.delete(&target(&first), &call()).await.expect("deleted");
    assert!(maintain(&*fixture.driver).await.marked.bytes > 3_000_000);
    noise(&fixture.source().join("large"), 1, 3_000_000);
    let again = create(&fixture, "b-1").await.expect("made").snapshot;
    if let Some(tomorrow) = driver_ahead(&fixture, 25) {
        maintain(&tomorrow).await;
    } else {
        not_tested("a removal beside what is needed again, because there is no libfaketime");
    }
    verify(&fixture, &again, 100).await.expect("sound");
    restic_agrees(&fixture);
    comes_back(&fixture, &again, "back").await;
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let fixture = files();
    noise(&fixture.source().join("large"), 1, 3_000_000);
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let sound = verify(&fixture, &made, 0).await.expect("sound");
    assert_eq!((sound.files, sound.bytes_read), (2, 0));
    assert!(verify(&fixture, &made, 1).await.expect("sound").bytes_read > 0);

    let everything = packs(&fixture);
    let mut found = Vec::new();
    for (pack, bytes) in &everything {
        let whole = fs::read(pack).expect("readable");
        let mut spoiled = whole.clone();
        spoiled[usize::try_from(*bytes).expect("small") / 2] ^= 1;
        fs::write(pack, spoiled).expect("written");
        let fault = verify(&fixture, &made, 100).await.expect_err("damaged");
        assert_eq!(fault.kind, FaultKind::Permanent, "{fault:?}");
        let name = pack.file_name().and_then(|name| name.to_str()).expect("a hash");
        assert!(fault.message.contains("snapshot a-1 is damaged") && fault.message.contains(name), "{fault:?}");
        found.push(fault.message);
        if let Some((sound, said)) = restic_check(&fixture, &["--read-data"]) {
            assert!(!sound, "{said}");
        }
        fs::write(pack, whole).expect("written");
    }
    assert!(found.iter().any(|message| message.contains("source/large")), "{found:#?}");
    verify(&fixture, &made, 100).await.expect("put right");

    // What is not there at all is found without reading, by maintenance too.
    let (pack, _) = everything.iter().max_by_key(|(_, bytes)| *bytes).expect("some");
    fs::rename(pack, fixture.folder.path().join("away")).expect("moved");
    let name = pack.file_name().and_then(|name| name.to_str()).expect("a hash");
    let fault = verify(&fixture, &made, 0).await.expect_err("missing");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("is missing"), "{fault:?}");
    let fault = fixture.driver.maintain(&KEEP, &call()).await.expect_err("missing");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("does not hold together"), "{fault:?}");
    assert!(fault.message.contains(&name[..8]), "{fault:?}");
    let gone = Snapshot { id: "0".repeat(64), ..made };
    assert!(verify(&fixture, &gone, 0).await.expect_err("gone").message.contains("is gone"));
}

#[tokio::test]
async fn where_there_is_no_snapshot_nothing_is_removed() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    fixture.driver.delete(&target(&made), &call()).await.expect("deleted");
    let left = packs(&fixture);
    for hours in [0, 25, 50, 75] {
        let ahead = driver_ahead(&fixture, hours);
        let driver: &dyn Driver = ahead.as_ref().map_or(&*fixture.driver, |driver| driver);
        let maintained = driver.maintain(&KEEP, &call()).await.expect("maintained");
        assert_eq!((maintained.marked.count, maintained.removed.count), (0, 0), "{maintained:?}");
    }
    assert_eq!(packs(&fixture), left);
    create(&fixture, "b-1").await.expect("made");
    restic_agrees(&fixture);
}

#[tokio::test]
async fn maintenance_beside_creations_never_loses_data() {
    let fixture = Arc::new(files());
    for round in 0..4u64 {
        noise(&fixture.source().join("large"), round, 4_000_000);
        let text = format!("a-{round}");
        let makes = async {
            loop {
                match create(&fixture, &text).await {
                    Err(fault) if fault.kind == FaultKind::Busy => {}
                    made => return made.expect("made").snapshot,
                }
            }
        };
        let maintains = async {
            let ahead = driver_ahead(&fixture, 25 * (u32::try_from(round).expect("few") + 1));
            loop {
                let driver: &dyn Driver = ahead.as_ref().map_or(&*fixture.driver, |driver| driver);
                match driver.maintain(&KEEP, &call()).await {
                    Err(fault) if fault.kind == FaultKind::Busy => assert!(fault.message.contains("is at work")),
                    maintained => return maintained.expect("maintained"),
                }
            }
        };
        let (made, _) = tokio::join!(makes, maintains);
        verify(&fixture, &made, 100).await.expect("sound");
        comes_back(&fixture, &made, &format!("back-{round}")).await;
        if round % 2 == 1 {
            for snapshot in list(&fixture).await.into_values().filter(|snapshot| snapshot.id != made.id) {
                fixture.driver.delete(&target(&snapshot), &call()).await.expect("deleted");
            }
        }
    }
    restic_agrees(&fixture);
}

/// Begins a maintenance by hand, as its host would.
fn begin_maintenance(fixture: &Fixture, hours: u32) -> (Child, ChildStdin) {
    let mut command = Command::new("/usr/bin/env");
    command.args(ahead(hours).unwrap_or_default());
    command.arg(env!("CARGO_BIN_EXE_snapkeep")).args(["driver", "files"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut worker = command.spawn().expect("started");
    let request = json!({
        "snapkeep": 1, "verb": "maintain", "time_max_ms": 60000,
        "repository": {"path": fixture.repository()}, "keep_ms": 0,
    });
    let mut stdin = worker.stdin.take().expect("piped");
    writeln!(stdin, "{request}").expect("written");
    (worker, stdin)
}

#[tokio::test]
async fn killed_at_any_moment_maintenance_leaves_a_sound_repository() {
    const KILLS: u32 = 20;
    let fixture = files();
    if ahead(0).is_none() {
        not_tested("a maintenance that is killed while it removes, because there is no libfaketime");
    }
    let mut earlier: Option<Snapshot> = None;
    let mut took = Duration::ZERO;
    let mut killed_at_work = 0;
    for round in 0..=KILLS {
        noise(&fixture.source().join("large"), u64::from(round), 1_500_000);
        let made = create(&fixture, &format!("a-{round}")).await.expect("made").snapshot;
        if let Some(earlier) = earlier.replace(made.clone()) {
            fixture.driver.delete(&target(&earlier), &call()).await.expect("deleted");
        }
        // Every round finds something to mark, and something to remove that earlier ones marked.
        let began = Instant::now();
        // Its input stays open: the end of it would tell it to stop.
        let (mut worker, _stdin) = begin_maintenance(&fixture, 25 * (round + 1));
        let lines = BufReader::new(worker.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let (tell, told) = std::sync::mpsc::channel();
        let listener = std::thread::spawn(move || {
            for line in lines {
                let _ = tell.send(line);
            }
        });
        if round == 0 {
            // The first one runs to its end, to know how long that takes.
            assert!(worker.wait().expect("ended").success());
            took = began.elapsed();
        } else {
            let deadline = took * round / KILLS;
            let mut heard = String::new();
            while let Some(left) = deadline.checked_sub(began.elapsed()) {
                match told.recv_timeout(left) {
                    Ok(line) => heard = line,
                    Err(_) => break,
                }
            }
            if heard.contains("result") {
                // The first may have been kept waiting by others on a busy machine.
                took = took.min(began.elapsed());
            } else {
                killed_at_work += 1;
            }
            worker.kill().expect("killed");
            worker.wait().expect("reaped");
        }
        listener.join().expect("ended");
        verify(&fixture, &made, 100).await.expect("sound");
        if round % 5 == 0
            && let Some((sound, said)) = restic_check(&fixture, &[])
        {
            assert!(sound, "{said}");
        }
    }
    assert!(killed_at_work >= KILLS / 2, "{killed_at_work} of {KILLS}, {took:?}");
    let last = earlier.expect("made");
    comes_back(&fixture, &last, "back").await;
    // What they left behind is found by the next one, and goes in its time.
    maintain(&*fixture.driver).await;
    restic_agrees(&fixture);
}

#[tokio::test]
async fn a_delay_below_the_minimum_is_refused() {
    for (delay, expected) in [
        ("22h", "prune_delay is less than 23h"),
        ("2y", "prune_delay is not a span of time"),
        ("400d", "prune_delay is more than 365d"),
    ] {
        let settings = json!({"path": "/srv/backup", "prune_delay": delay});
        let program = Path::new(registry::OWN_PROGRAM);
        let opened = registry::open("files", settings.as_object().expect("a table"), Path::new("/etc"), program);
        let problems = opened.expect_err("refused");
        assert!(problems[0].message.starts_with(expected), "{problems:?}");
    }
}
