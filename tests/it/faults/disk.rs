//! The disk under the repository: full, read-only, not there.

use std::fs;

use serde_json::json;
use snapkeep::lifecycle::snapshot::Status;
use snapkeep::lifecycle::workflow::{Fault, FaultKind};

use super::{Mounted, give_back, opened};
use crate::driver_contract::{Fixture, call, create, files, list, name, target};
use crate::files::{fill, tree, with_paths};
use crate::support::skips::not_tested;
use crate::upkeep::{KEEP, comes_back, noise, restic_agrees, verify};

fn skip(what: &str) {
    not_tested(&format!("{what}, because nothing can be mounted here"));
}

#[tokio::test]
async fn a_full_disk_is_a_transient_fault_and_with_room_the_next_snapshot_is_whole() {
    let fixture = files();
    let Some(disk) = Mounted::memory(&fixture.repository(), "12m") else { return skip("a full disk") };
    let first = create(&fixture, "a-1").await.expect("made").snapshot;
    noise(&fixture.source().join("large"), 1, 40_000_000);
    for _ in 0..2 {
        let fault = create(&fixture, "b-1").await.expect_err("there is no room");
        assert_eq!(fault.kind, FaultKind::Transient, "{fault:?}");
        assert!(fault.message.contains("No space left on device"), "{fault:?}");
        assert_eq!(fixture.driver.describe(&name("b-1"), &call()).await.expect("an answer"), None);
        assert!(list(&fixture).await.into_keys().eq([first.id.clone()]));
    }
    verify(&fixture, &first, 100).await.expect("sound");

    assert!(disk.remount("size=120m"));
    let made = create(&fixture, "b-1").await.expect("made").snapshot;
    assert_eq!(made.status, Status::Good);
    restic_agrees(&fixture);
    comes_back(&fixture, &made, "back").await;
}

#[tokio::test]
async fn a_snapshot_is_deleted_where_there_is_no_room_to_say_so() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("page"), "words\n").expect("written");
    let fixture = with_paths(files(), json!({"paths": [outside.path()]}));
    // The lock is on the disk too.
    let Some(disk) = Mounted::memory(fixture.folder.path(), "12m") else { return skip("a deletion on a full disk") };
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let filler = disk.fill();
    let fault = create(&fixture, "b-1").await.expect_err("there is no room");
    assert!(fault.kind == FaultKind::Transient && fault.message.contains("No space left"), "{fault:?}");
    fixture.driver.delete(&target(&made), &call()).await.expect("deleted");
    assert_eq!(list(&fixture).await.len(), 0);
    drop(filler);
    create(&fixture, "b-1").await.expect("made");
    restic_agrees(&fixture);
}

#[tokio::test]
async fn a_first_use_for_which_there_is_no_room_is_begun_again_when_there_is() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("page"), "words\n").expect("written");
    let mut faults = Vec::new();
    // Each of them is met a little further on: the lock, the key, the configuration, the data.
    for kib in [0, 4, 8, 12, 16, 20, 24, 28, 36, 44] {
        let fixture = with_paths(files(), json!({"paths": [outside.path()]}));
        let Some(disk) = Mounted::memory(fixture.folder.path(), &format!("{}k", kib.max(4))) else {
            return skip("a first use on a full disk");
        };
        if kib == 0 {
            fs::write(fixture.folder.path().join("something"), "else").expect("written");
        }
        match create(&fixture, "a-1").await {
            Ok(made) => assert_eq!(made.snapshot.status, Status::Good),
            Err(fault) => {
                assert_eq!(fault.kind, FaultKind::Transient, "{kib} KiB: {fault:?}");
                faults.push(fault.message);
            }
        }
        assert!(disk.remount("size=16m"));
        let made = create(&fixture, "a-1").await.unwrap_or_else(|fault| panic!("{kib} KiB, then room: {fault:?}"));
        assert_eq!(made.snapshot.status, Status::Good);
        assert_eq!(list(&fixture).await.len(), 1);
        assert!(!fixture.folder.path().join("repository.key.new").exists());
        restic_agrees(&fixture);
    }
    for stage in ["lock ", "key file ", "repository cannot be begun", "snapshot cannot be"] {
        assert!(faults.iter().any(|fault| fault.starts_with(stage)), "none at {stage}: {faults:#?}");
    }
}

#[tokio::test]
async fn a_disk_that_is_full_while_it_is_maintained_loses_nothing() {
    let fixture = files();
    let Some(disk) = Mounted::memory(&fixture.repository(), "64m") else { return skip("maintenance on a full disk") };
    // A part of the first pack stays needed, small enough to be written anew.
    noise(&fixture.source().join("kept"), 1, 300_000);
    noise(&fixture.source().join("gone"), 2, 3_000_000);
    let first = create(&fixture, "a-1").await.expect("made").snapshot;
    fs::remove_file(fixture.source().join("gone")).expect("removed");
    noise(&fixture.source().join("large"), 3, 20_000_000);
    let second = create(&fixture, "b-1").await.expect("made").snapshot;
    fixture.driver.delete(&target(&first), &call()).await.expect("deleted");
    for _ in 0..2 {
        let filler = disk.fill();
        let fault = fixture.driver.maintain(&KEEP, &call()).await.expect_err("there is no room");
        assert_eq!(fault.kind, FaultKind::Transient, "{fault:?}");
        assert!(fault.message.contains("No space left on device"), "{fault:?}");
        verify(&fixture, &second, 100).await.expect("sound");
        drop(filler);
        restic_agrees(&fixture);
    }
    let maintained = fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
    let anew = maintained.message.as_ref().is_some_and(|message| message.contains("written anew"));
    assert!(maintained.marked.bytes > 3_000_000 && anew, "{maintained:?}");
    restic_agrees(&fixture);
    comes_back(&fixture, &second, "back").await;
}

/// What writes, asked of a repository that cannot be written to or is not there.
async fn writing(fixture: &Fixture, id: &str) -> Vec<(&'static str, Fault)> {
    let there = list_or_nothing(fixture, id).await;
    vec![
        ("create", create(fixture, "c-1").await.expect_err("it cannot be written to")),
        ("delete", fixture.driver.delete(&there, &call()).await.expect_err("it cannot be written to")),
        ("maintain", fixture.driver.maintain(&KEEP, &call()).await.expect_err("it cannot be written to")),
    ]
}

async fn list_or_nothing(fixture: &Fixture, id: &str) -> snapkeep::lifecycle::plan::Target {
    let listed = fixture.driver.list(&call()).await.map(|listing| listing.snapshots).unwrap_or_default();
    let snapshot = listed.into_iter().find(|snapshot| snapshot.id == id);
    snapshot.map_or_else(
        || snapkeep::lifecycle::plan::Target { name: "a-1".into(), id: id.into(), taken_at: None },
        |snapshot| target(&snapshot),
    )
}

#[tokio::test]
async fn a_read_only_repository_is_for_a_person_and_what_is_in_it_can_still_be_had() {
    // The disk begins at the repository, or above it, where the lock and the key are too.
    for is_above in [false, true] {
        let outside = tempfile::tempdir().expect("a directory");
        fill(outside.path());
        let fixture = with_paths(files(), json!({"paths": [outside.path()]}));
        let at = if is_above { fixture.folder.path().to_path_buf() } else { fixture.repository() };
        let Some(disk) = Mounted::memory(&at, "64m") else { return skip("a read-only repository") };
        let gone = create(&fixture, "a-1").await.expect("made").snapshot;
        fs::write(outside.path().join("more"), "more").expect("written");
        let kept = create(&fixture, "b-1").await.expect("made").snapshot;
        fixture.driver.delete(&target(&gone), &call()).await.expect("deleted");

        assert!(disk.remount("ro"));
        for (verb, fault) in writing(&fixture, &kept.id).await {
            assert_eq!(fault.kind, FaultKind::Permanent, "{verb}: {fault:?}");
            assert!(fault.message.contains("Read-only file system"), "{verb}: {fault:?}");
        }
        assert_eq!(list(&fixture).await.len(), 1);
        assert_eq!(fixture.driver.describe(&name("c-1"), &call()).await.expect("an answer"), None);
        verify(&fixture, &kept, 100).await.expect("sound");
        let to = tempfile::tempdir().expect("a directory");
        let order = snapkeep::drivers::RestoreOrder {
            target: target(&kept),
            to: to.path().to_path_buf(),
            include: vec![],
            overwrite: false,
        };
        fixture.driver.restore(&order, &call()).await.expect("restored");
        assert_eq!(tree(&to.path().join(outside.path().strip_prefix("/").expect("absolute"))), tree(outside.path()));

        assert!(disk.remount("rw"));
        create(&fixture, "c-1").await.expect("made");
        fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
        restic_agrees(&fixture);
    }
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_for_a_person_and_nothing_is_begun_in_its_place() {
    for named in [false, true] {
        let (backing, fixture) = (tempfile::tempdir().expect("a directory"), files());
        let at = fixture.repository();
        let Some(disk) = Mounted::bound(backing.path(), &at) else { return skip("a disk that is not mounted") };
        let key = fixture.folder.path().join("repository.key");
        let fixture = if named {
            fs::write(&key, "correct horse\n").expect("written");
            std::process::Command::new("chmod").arg("600").arg(&key).status().expect("chmod runs");
            let driver = opened(fixture.folder.path(), &json!({"path": at, "key_file": key}));
            Fixture { driver, ..fixture }
        } else {
            fixture
        };
        let made = create(&fixture, "a-1").await.expect("made").snapshot;
        if named {
            // A first use may be cut off before it is remembered; then the second one does.
            fs::remove_file(fixture.folder.path().join("repository.begun")).expect("removed");
            create(&fixture, "a-2").await.expect("made");
        }
        drop(disk);
        let mut faults = writing(&fixture, &made.id).await;
        faults.push(("list", fixture.driver.list(&call()).await.expect_err("it is not there")));
        faults.push(("describe", fixture.driver.describe(&name("a-1"), &call()).await.expect_err("it is not there")));
        faults.push(("verify", verify(&fixture, &made, 0).await.expect_err("it is not there")));
        faults.push(("restore", give_back(&fixture, &made, "nothing").await.expect_err("it is not there")));
        for (verb, fault) in faults {
            assert_eq!(fault.kind, FaultKind::Permanent, "{verb}: {fault:?}");
            assert!(fault.message.contains("is a disk not mounted?"), "{verb}: {fault:?}");
        }
        assert_eq!(fs::read_dir(&at).expect("there").count(), 0);
        let Some(_disk) = Mounted::bound(backing.path(), &at) else { panic!("it could be mounted before") };
        create(&fixture, "b-1").await.expect("made");
        fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
        restic_agrees(&fixture);
        comes_back(&fixture, &made, "back").await;
    }
}
