//! Much of something: files, bytes that are holes, and little memory to do it in.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use serde_json::json;
use snapkeep::drivers::process::{Limits, ProcessDriver, Program};
use snapkeep::drivers::{Abilities, Call, Created, Driver, RestoreOrder};
use snapkeep::lifecycle::snapshot::Status;
use snapkeep::lifecycle::workflow::FaultKind;

use super::{give_back, with_files};
use crate::driver_contract::{Fixture, call, create, files, list, order, target};
use crate::support::number;
use crate::support::skips::tell;
use crate::upkeep::{KEEP, comes_back, restic_agrees, verify};

/// Files in the daily run; 100,000 and more by `SNAPKEEP_FILES`.
const FILES: u64 = 20_000;
/// Of a sparse file in the daily run; 20 and more by `SNAPKEEP_SPARSE_GIB`.
const SPARSE_GIB: u64 = 1;

/// What takes as long as it takes.
fn patient() -> Call {
    Call { time_max: Duration::from_secs(3600), ..call() }
}

#[tokio::test]
async fn many_small_files_are_kept_and_come_back() {
    let count = number("SNAPKEEP_FILES", FILES);
    let fixture = files();
    for number in 0..count {
        let folder = fixture.source().join(format!("{:03}", number / 500));
        if number.is_multiple_of(500) {
            fs::create_dir(&folder).expect("made");
        }
        fs::write(folder.join(format!("file-{number}")), format!("the words of file {number}\n")).expect("written");
    }
    let began = Instant::now();
    let made = create_patiently(&fixture, "a-1").await;
    let first = began.elapsed();
    let began = Instant::now();
    let again = create_patiently(&fixture, "a-2").await;
    let unchanged = began.elapsed();
    assert_eq!((made.status, again.status), (Status::Good, Status::Good));
    let verified = verify(&fixture, &made, 100).await.expect("sound");
    assert_eq!(verified.files, count + 1);
    let began = Instant::now();
    let to = fixture.folder.path().join("back");
    let all = RestoreOrder { target: target(&again), to: to.clone(), include: vec![], overwrite: false };
    let restored = fixture.driver.restore(&all, &patient()).await.expect("restored");
    assert_eq!(restored.files, count + 1);
    tell(&format!("{count} files: made in {first:?}, unchanged in {unchanged:?}, restored in {:?}", began.elapsed()));
    let back = to.join(fixture.source().strip_prefix("/").expect("absolute"));
    assert_eq!(crate::files::tree(&back), crate::files::tree(&fixture.source()));
    restic_agrees(&fixture);
}

async fn create_patiently(fixture: &Fixture, text: &str) -> snapkeep::lifecycle::snapshot::Snapshot {
    match fixture.driver.create(&order(fixture, text), &patient()).await.expect("made") {
        Created::Ended(found) => found.snapshot,
        Created::Accepted => panic!("this driver does not go on by itself"),
    }
}

#[tokio::test]
async fn a_large_file_of_holes_takes_no_room_and_stays_one() {
    let gib = number("SNAPKEEP_SPARSE_GIB", SPARSE_GIB);
    let fixture = files();
    let disk = fs::File::create(fixture.source().join("disk")).expect("made");
    disk.set_len(gib << 30).expect("sparse");
    for (at, words) in [(0, "the beginning"), (gib << 29, "the middle"), ((gib << 30) - 7, "the end")] {
        disk.write_all_at(words.as_bytes(), at).expect("written");
    }
    let began = Instant::now();
    let made = create_patiently(&fixture, "a-1").await;
    let first = began.elapsed();
    assert_eq!((made.status, made.size_bytes.is_some_and(|bytes| bytes >= gib << 30)), (Status::Good, true));
    let kept: u64 = crate::upkeep::packs(&fixture).iter().map(|(_, bytes)| bytes).sum();
    assert!(kept < 8 << 20, "{kept} bytes");
    let began = Instant::now();
    let to = fixture.folder.path().join("back");
    let all = RestoreOrder { target: target(&made), to: to.clone(), include: vec![], overwrite: false };
    fixture.driver.restore(&all, &patient()).await.expect("restored");
    tell(&format!("{gib} GiB of holes: made in {first:?}, restored in {:?}, {kept} bytes kept", began.elapsed()));
    let back = to.join(fixture.source().strip_prefix("/").expect("absolute")).join("disk");
    let metadata = fs::metadata(&back).expect("there");
    assert_eq!(metadata.len(), gib << 30);
    assert!(metadata.blocks() * 512 < 64 << 20, "{} blocks", metadata.blocks());
    let back = fs::File::open(back).expect("readable");
    for (at, words) in [(0, "the beginning"), (gib << 29, "the middle"), ((gib << 30) - 7, "the end")] {
        let mut is = vec![0; words.len()];
        back.read_exact_at(&mut is, at).expect("read");
        assert_eq!(String::from_utf8_lossy(&is), words);
    }
    restic_agrees(&fixture);
}

/// Opens the fixture's repository by a process that gets so much memory.
fn driver_within(fixture: &Fixture, mebibytes: u64) -> ProcessDriver {
    let program = Program {
        path: env!("CARGO_BIN_EXE_snapkeep").into(),
        arguments: ["driver", "files"].map(Into::into).to_vec(),
        called: None,
        title: "files".to_owned(),
    };
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
    let limits = Limits { memory_bytes_max: mebibytes << 20, ..Limits::default() };
    ProcessDriver::new(program, repository, abilities, limits)
}

#[tokio::test]
async fn a_memory_limit_that_is_met_is_a_transient_fault_and_breaks_nothing() {
    let fixture = with_files(160);
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    for number in 0..160 {
        crate::upkeep::noise(&fixture.source().join(format!("noise-{number:03}")), number + 500, 256 << 10);
    }
    let mut told = Vec::new();
    // From too little to begin, over what breaks off half-way, to enough.
    for (number, mebibytes) in [40, 80, 120, 160, 200, 240, 280, 320, 400, 600, 1200].into_iter().enumerate() {
        let driver = driver_within(&fixture, mebibytes);
        let to = fixture.folder.path().join(format!("back-{number}"));
        let all = RestoreOrder { target: target(&made), to, include: vec![], overwrite: false };
        for (verb, fault) in [
            ("create", driver.create(&order(&fixture, &format!("b-{number}")), &call()).await.err()),
            ("restore", driver.restore(&all, &call()).await.err()),
            ("maintain", driver.maintain(&KEEP, &call()).await.err()),
        ] {
            let Some(fault) = fault else { continue };
            assert!(mebibytes < 600, "{verb} in {mebibytes} MiB: {fault:?}");
            assert_eq!(fault.kind, FaultKind::Transient, "{verb} in {mebibytes} MiB: {fault:?}");
            assert!(fault.message.contains("(memory_max "), "{verb}: {fault:?}");
            told.push(format!("{verb} in {mebibytes} MiB: {}", fault.message));
        }
    }
    for verb in ["create", "restore", "maintain"] {
        assert!(told.iter().any(|text| text.starts_with(verb)), "no {verb} met the limit: {told:#?}");
    }
    let listed = list(&fixture).await;
    assert!(listed.values().all(|snapshot| matches!(snapshot.status, Status::Good | Status::Failed)), "{listed:?}");
    let last = create(&fixture, "c-1").await.expect("made").snapshot;
    assert!(list(&fixture).await.values().all(|snapshot| snapshot.status == Status::Good));
    fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
    restic_agrees(&fixture);
    comes_back(&fixture, &last, "back").await;
    give_back(&fixture, &made, "first").await.expect("restored");
}
