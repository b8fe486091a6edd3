//! Data given back beside what is there, after a kill, and from a repository that was damaged.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use snapkeep::drivers::{Call, Created, ProgressSink, RestoreOrder, Restored, registry};
use snapkeep::lifecycle::snapshot::Snapshot;
use snapkeep::lifecycle::workflow::{Fault, FaultKind};
use tokio::sync::Notify;

use crate::driver_contract::{Fixture, call, create, files, order, target};
use crate::files::{fill, tree};
use crate::support::skips::not_tested;
use crate::upkeep::noise;

async fn made(fixture: &Fixture) -> Snapshot {
    create(fixture, "a-1").await.expect("made").snapshot
}

async fn restore(fixture: &Fixture, snapshot: &Snapshot, to: &Path, overwrite: bool) -> Result<Restored, Fault> {
    let order = RestoreOrder { target: target(snapshot), to: to.to_path_buf(), include: vec![], overwrite };
    fixture.driver.restore(&order, &call()).await
}

/// Where a path of the source comes back.
fn back(fixture: &Fixture, to: &Path) -> PathBuf {
    to.join(fixture.source().strip_prefix("/").expect("absolute"))
}

#[tokio::test]
async fn what_is_there_stays_and_what_is_in_the_way_stops_a_restore_before_it_begins() {
    let fixture = files();
    fill(&fixture.source());
    let snapshot = made(&fixture).await;
    let to = fixture.folder.path().join("back");
    let back = back(&fixture, &to);
    fs::create_dir_all(back.join("a")).expect("made");
    fs::write(back.join("a/mine"), "not of the snapshot").expect("written");
    fs::write(back.join("a/text"), "newer words").expect("written");

    let fault = restore(&fixture, &snapshot, &to, false).await.expect_err("a file is in the way");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("a/text"), "{fault:?}");
    assert_eq!(tree(&back).into_keys().collect::<Vec<_>>(), ["", "a", "a/mine", "a/text"]);
    assert_eq!(fs::read_to_string(back.join("a/text")).expect("there"), "newer words");

    restore(&fixture, &snapshot, &to, true).await.expect("told to");
    assert_eq!(fs::read_to_string(back.join("a/mine")).expect("still there"), "not of the snapshot");
    fs::remove_file(back.join("a/mine")).expect("removed");
    let (mut is, mut was) = (tree(&back), tree(&fixture.source()));
    // The removal above touched its directory.
    assert!(is.remove("a").is_some() && was.remove("a").is_some());
    assert_eq!(is, was);
}

#[tokio::test]
async fn no_link_leads_a_restore_out_of_its_directory() {
    let fixture = files();
    fill(&fixture.source());
    let snapshot = made(&fixture).await;
    let to = fixture.folder.path().join("back");
    let (back, elsewhere) = (back(&fixture, &to), fixture.folder.path().join("elsewhere"));
    fs::create_dir_all(&back).expect("made");
    fs::create_dir(&elsewhere).expect("made");
    symlink(&elsewhere, back.join("a")).expect("linked");
    for overwrite in [false, true] {
        let fault = restore(&fixture, &snapshot, &to, overwrite).await.expect_err("it would lead elsewhere");
        assert_eq!(fault.kind, FaultKind::Permanent, "{fault:?}");
    }
    // The same where the way to a single path leads through it.
    let include = vec![fixture.source().join("a/b").to_str().expect("UTF-8").to_owned()];
    let order = RestoreOrder { target: target(&snapshot), to, include, overwrite: true };
    let fault = fixture.driver.restore(&order, &call()).await.expect_err("it would lead elsewhere");
    assert!(fault.message.contains("is a link"), "{fault:?}");
    assert_eq!(fs::read_dir(&elsewhere).expect("there").count(), 0);
}

/// What is given back is larger than all the memory the process may have, libraries and stacks included.
#[tokio::test]
async fn a_restore_gives_back_more_than_fits_into_its_memory() {
    let fixture = files();
    for number in 0..6 {
        noise(&fixture.source().join(format!("page-{number}")), number, 50_000_000);
    }
    let patient = Call { time_max: Duration::from_secs(300), ..call() };
    let Created::Ended(made) = fixture.driver.create(&order(&fixture, "a-1"), &patient).await.expect("made") else {
        panic!("this driver does not go on by itself")
    };
    let settings = json!({"path": fixture.repository(), "memory_max": "256MiB"});
    let program = Path::new(env!("CARGO_BIN_EXE_snapkeep"));
    let small = registry::open("files", settings.as_object().expect("a table"), fixture.folder.path(), program);
    let to = fixture.folder.path().join("back");
    let order = RestoreOrder { target: target(&made.snapshot), to: to.clone(), include: vec![], overwrite: false };
    let restored = small.expect("good settings").restore(&order, &patient).await.expect("restored");
    assert!(restored.bytes > 256 << 20, "{restored:?}");
    assert_eq!(tree(&back(&fixture, &to)), tree(&fixture.source()));
}

#[tokio::test]
async fn a_restore_that_was_killed_goes_on_when_it_is_asked_for_again() {
    let fixture = files();
    fill(&fixture.source());
    for number in 0..400_u32 {
        let noise: Vec<u8> =
            (0..20_000u32).flat_map(|n| (n ^ number).wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
        fs::write(fixture.source().join(format!("page-{number}")), noise).expect("written");
    }
    let snapshot = made(&fixture).await;
    let to = fixture.folder.path().join("back");
    // Nobody waits any more once the first bytes are there: its process group is killed.
    let begun = Arc::new(Notify::new());
    let told = begun.clone();
    let progress = ProgressSink::new(move |progress| {
        if progress.doing == "restoring" && progress.done > 0 {
            told.notify_one();
        }
    });
    let order = RestoreOrder { target: target(&snapshot), to: to.clone(), include: vec![], overwrite: false };
    let watched = Call { progress, ..call() };
    let killed = tokio::select! {
        whole = fixture.driver.restore(&order, &watched) => whole.is_err(),
        () = begun.notified() => true,
    };
    fs::create_dir_all(back(&fixture, &to).join("a")).expect("made");
    fs::write(back(&fixture, &to).join("a/.snapkeep-unfinished-3"), "half of something").expect("written");
    let last = restore(&fixture, &snapshot, &to, false).await.expect("to its end");
    assert_eq!(tree(&back(&fixture, &to)), tree(&fixture.source()), "killed: {killed}, then {last:?}");
    assert!(!killed || last.bytes < 35_000_000, "what was there was written again: {last:?}");
}

#[tokio::test]
async fn what_a_damaged_pack_held_is_named_and_everything_else_comes_back() {
    let fixture = files();
    fs::write(fixture.source().join("small"), "a few words").expect("written");
    let first = made(&fixture).await;
    let noise: Vec<u8> = (0u64..400_000).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
    fs::write(fixture.source().join("large"), noise).expect("written");
    let second = create(&fixture, "a-2").await.expect("made").snapshot;
    crate::files::spoil_packs(&fixture.repository().join("data"));
    let to = fixture.folder.path().join("back");
    let fault = restore(&fixture, &second, &to, false).await.expect_err("one cannot be read");
    assert_eq!(fault.kind, FaultKind::Permanent);
    assert!(
        fault.message.starts_with("1 file could not be given back") && fault.message.contains("/large: "),
        "{fault:?}"
    );
    let back = back(&fixture, &to);
    assert_eq!(fs::read_to_string(back.join("small")).expect("whole"), "a few words");
    let (mut is, mut was) = (tree(&back), tree(&fixture.source()));
    assert!(is.remove("large").is_none() && was.remove("large").is_some());
    assert_eq!(is, was);
    // What does not need it is whole.
    restore(&fixture, &first, &fixture.folder.path().join("first"), false).await.expect("restored");
}

#[tokio::test]
async fn holes_come_back_as_holes() {
    let fixture = files();
    let file = fs::File::create(fixture.source().join("disk")).expect("made");
    file.set_len(256 << 20).expect("sparse");
    std::os::unix::fs::FileExt::write_all_at(&file, b"the end", (256 << 20) - 7).expect("written");
    let snapshot = made(&fixture).await;
    let to = fixture.folder.path().join("back");
    restore(&fixture, &snapshot, &to, false).await.expect("restored");
    let disk = back(&fixture, &to).join("disk");
    let metadata = fs::metadata(&disk).expect("there");
    assert_eq!(metadata.len(), 256 << 20);
    assert!(metadata.blocks() * 512 < 32 << 20, "{} blocks", metadata.blocks());
    let mut end = [0; 8];
    let disk = fs::File::open(disk).expect("readable");
    std::os::unix::fs::FileExt::read_exact_at(&disk, &mut end, (256 << 20) - 8).expect("read");
    assert_eq!(&end, b"\0the end");
}

/// A small file system, unmounted at the end.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_restore_that_does_not_fit_is_refused_before_it_begins() {
    let fixture = files();
    fill(&fixture.source());
    let snapshot = made(&fixture).await;
    let to = fixture.folder.path().join("small");
    fs::create_dir(&to).expect("made");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "snapkeep-test"]).arg(&to).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        not_tested("a restore onto a disk that is too small, because none can be mounted here");
        return;
    }
    let small = Small(to.clone());
    let fault = restore(&fixture, &snapshot, &to, false).await.expect_err("three megabytes on one");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("MiB free"), "{fault:?}");
    assert_eq!(fs::read_dir(&small.0).expect("there").count(), 0);
}

#[tokio::test]
async fn paths_within_one_another_and_named_twice_come_back_once() {
    let fixture = files();
    fill(&fixture.source());
    let snapshot = made(&fixture).await;
    let to = fixture.folder.path().join("back");
    let path = |below: &str| fixture.source().join(below).to_str().expect("UTF-8").to_owned();
    let include = vec![path("a/b"), path("a"), path("a"), path("dangling")];
    let order = RestoreOrder { target: target(&snapshot), to: to.clone(), include, overwrite: false };
    for _ in 0..2 {
        fixture.driver.restore(&order, &call()).await.expect("restored");
        let is = tree(&back(&fixture, &to).join("a"));
        assert_eq!(is, tree(&fixture.source().join("a")));
    }
    assert!(back(&fixture, &to).join("dangling").is_symlink());
}

#[tokio::test]
async fn a_damaged_file_with_two_names_is_named_and_a_good_copy_of_it_stays() {
    let fixture = files();
    let noise: Vec<u8> = (0u64..400_000).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
    fs::write(fixture.source().join("large"), &noise).expect("written");
    fs::hard_link(fixture.source().join("large"), fixture.source().join("twin")).expect("linked");
    let snapshot = made(&fixture).await;
    crate::files::spoil_packs(&fixture.repository().join("data"));
    let to = fixture.folder.path().join("back");
    let back = back(&fixture, &to);
    fs::create_dir_all(&back).expect("made");
    fs::copy(fixture.source().join("twin"), back.join("twin")).expect("a good copy");
    let time = fs::metadata(fixture.source().join("twin")).and_then(|metadata| metadata.modified()).expect("a time");
    fs::File::options().write(true).open(back.join("twin")).and_then(|twin| twin.set_modified(time)).expect("set");
    let fault = restore(&fixture, &snapshot, &to, false).await.expect_err("its data is damaged");
    assert!(fault.message.starts_with("1 file could not be given back"), "{fault:?}");
    assert_eq!(fs::read(back.join("twin")).expect("still there"), noise);
    assert_eq!(
        fs::read_to_string(back.join("page")).expect("restored"),
        fs::read_to_string(fixture.source().join("page")).expect("there")
    );
}
