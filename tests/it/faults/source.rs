//! What is to be kept: not there, going away while it is read, changing while it is read, and holding the
//! repository itself.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use snapkeep::drivers::{Call, Created, Found};
use snapkeep::lifecycle::snapshot::Status;
use snapkeep::lifecycle::workflow::{Fault, FaultKind};

use super::{Mounted, give_back, half_way, stopped_when, with_files};
use crate::driver_contract::{Fixture, call, create, files, list, name, order};
use crate::files::{tree, with_paths};
use crate::support::skips::not_tested;
use crate::upkeep::{comes_back, noise, restic_agrees, verify};

/// Files of a quarter of a megabyte that take longer to be read than a process takes to be stopped.
const FILES: u64 = 240;
/// On a machine on which it was over too soon all the same.
const ATTEMPTS_MAX: u32 = 5;

async fn create_by(fixture: &Fixture, text: &str, call: &Call) -> Result<Found, Fault> {
    match fixture.driver.create(&order(fixture, text), call).await? {
        Created::Ended(found) => Ok(found),
        Created::Accepted => panic!("this driver does not go on by itself"),
    }
}

#[tokio::test]
async fn a_path_that_is_not_there_is_for_a_person_until_it_is() {
    let fixture = files();
    let gone = fixture.folder.path().join("gone");
    let fixture = with_paths(fixture, json!({"paths": [gone]}));
    for _ in 0..2 {
        let fault = create(&fixture, "a-1").await.expect_err("nothing to read");
        assert_eq!(fault.kind, FaultKind::Permanent);
        assert!(fault.message.starts_with("there is nothing to snapshot: 1 could not be read: "), "{fault:?}");
        assert!(fault.message.contains("/gone: No such file or directory"), "{fault:?}");
        assert_eq!(list(&fixture).await.len(), 0);
    }
    // Nothing was begun for nothing.
    assert!(!fixture.repository().exists());
    fs::create_dir(&gone).expect("made");
    let made = create(&fixture, "a-1").await.expect("made");
    assert_eq!(made.snapshot.status, Status::Good);
    // Gone again, what was made of it stays.
    fs::remove_dir(&gone).expect("removed");
    let fault = create(&fixture, "b-1").await.expect_err("nothing to read");
    assert_eq!(fault.kind, FaultKind::Permanent);
    let asked_again = create(&fixture, "a-1").await.expect("it was made");
    assert_eq!(asked_again.snapshot.id, made.snapshot.id);
    verify(&fixture, &made.snapshot, 100).await.expect("sound");
    restic_agrees(&fixture);
}

#[tokio::test]
async fn a_source_that_vanishes_half_way_makes_a_snapshot_partial() {
    // Deleted, or another in its place, as when a disk is unmounted.
    for is_replaced in [false, true] {
        let fixture = Arc::new(with_files(FILES));
        let (source, away) = (fixture.source(), fixture.folder.path().join("away"));
        let mut seen = None;
        for attempt in 0..ATTEMPTS_MAX {
            let (from, to) = (source.clone(), away.clone());
            let vanish = move || {
                fs::rename(&from, &to).expect("moved");
                if is_replaced {
                    fs::create_dir(&from).expect("made");
                }
            };
            let (watched, done) = stopped_when(&fixture, half_way, vanish);
            let made = create_by(&fixture, &format!("a-{attempt}"), &watched).await.expect("made");
            if done.load(Ordering::SeqCst) {
                let _ = fs::remove_dir(&source);
                fs::rename(&away, &source).expect("moved back");
                let message = made.message.clone().unwrap_or_default();
                assert_eq!(made.snapshot.status, Status::Partial, "{message}");
                let why = if is_replaced { "another has taken its place" } else { "it was lost while it was read" };
                assert!(message.contains(&format!("{}: {why}", source.display())), "{message}");
                if message.contains("vanished while it was made") {
                    seen = Some(made.snapshot);
                    break;
                }
            }
        }
        let partial = seen.expect("something vanished before it was read");
        assert_eq!(list(&fixture).await[&partial.id].status, Status::Partial);
        // What was read of it is whole, and the next one is again.
        verify(&fixture, &partial, 100).await.expect("sound");
        let (_, back) = give_back(&fixture, &partial, "partial").await.expect("restored");
        let is = tree(&back);
        assert!(!is.contains_key("noise-239"), "{:?}", is.keys());
        for path in is.keys().filter(|path| !path.is_empty()) {
            assert_eq!(fs::read(back.join(path)).expect("there"), fs::read(source.join(path)).expect("there"));
        }
        let whole = create(&fixture, "b-1").await.expect("made");
        assert_eq!(whole.snapshot.status, Status::Good, "{whole:?}");
        comes_back(&fixture, &whole.snapshot, "back").await;
        restic_agrees(&fixture);
    }
}

/// Something that happens to a file between the look at it and the reading of it.
struct Change {
    what: fn(&Path),
    status: Status,
    /// What is told of it.
    told: &'static str,
    /// What comes back of it, if it does.
    back: Option<fn() -> Vec<u8>>,
}

const CHANGES: [Change; 6] = [
    Change {
        what: |path| fs::File::options().append(true).open(path).expect("there").write_all(b"more").expect("written"),
        status: Status::Good,
        told: "1 changed while it was made: ",
        back: Some(|| b"a line\n".repeat(1000)),
    },
    Change {
        what: |path| fs::File::options().append(true).open(path).expect("there").set_len(7).expect("cut"),
        status: Status::Partial,
        told: "/z-file: it was cut short, and ends in 6993 zeros",
        back: Some(|| [b"a line\n".as_slice(), &[0; 6993]].concat()),
    },
    Change {
        what: |path| {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("made");
        },
        status: Status::Partial,
        told: "/z-file: something that is no file has taken its place",
        back: None,
    },
    Change {
        what: |path| {
            fs::remove_file(path).expect("removed");
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).expect("made");
        },
        status: Status::Partial,
        told: "/z-file: something that is no file has taken its place",
        back: None,
    },
    Change {
        what: |path| {
            let other = path.with_file_name("z-other");
            fs::write(&other, "other words").expect("written");
            fs::rename(other, path).expect("moved");
        },
        status: Status::Partial,
        told: "/z-file: another file has taken its place",
        back: None,
    },
    Change {
        what: |path| fs::remove_file(path).expect("removed"),
        status: Status::Good,
        told: "1 vanished while it was made",
        back: None,
    },
];

#[tokio::test]
async fn what_changes_before_it_is_read_is_told_and_fits_together() {
    let fixture = Arc::new(files());
    let file = fixture.source().join("z-file");
    // So many are read at once; while these are, the next one is looked at and waits.
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    for (number, change) in CHANGES.into_iter().enumerate() {
        let mut seen = false;
        for attempt in 0..ATTEMPTS_MAX {
            let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
            fs::write(&file, "a line\n".repeat(1000)).expect("written");
            for reader in 0..readers {
                let seed = (number * 1000 + attempt as usize * 100 + reader) as u64;
                noise(&fixture.source().join(format!("large-{reader}")), seed, 24 << 20);
            }
            let at = file.clone();
            let (watched, done) = stopped_when(&fixture, half_way, move || (change.what)(&at));
            let text = format!("a-{number}-{attempt}");
            let made = create_by(&fixture, &text, &watched).await.expect("made");
            let message = made.message.clone().unwrap_or_default();
            if !done.load(Ordering::SeqCst) || !message.contains(change.told) {
                // It may have been looked at after all that, or read before it.
                continue;
            }
            seen = true;
            assert_eq!(made.snapshot.status, change.status, "{message}");
            for _ in 0..2 {
                // The second time what is there is the same.
                let (_, back) = give_back(&fixture, &made.snapshot, &text).await.expect("restored");
                assert_eq!(fs::read(back.join("z-file")).ok(), change.back.map(|back| back()), "{message}");
            }
            break;
        }
        assert!(seen, "it was never seen: {}", change.told);
    }
    let _ = fs::remove_file(&file);
    let whole = create(&fixture, "b-1").await.expect("made");
    assert_eq!(whole.snapshot.status, Status::Good, "{whole:?}");
    comes_back(&fixture, &whole.snapshot, "whole").await;
    restic_agrees(&fixture);
}

#[tokio::test]
async fn a_file_that_is_written_to_does_not_make_a_snapshot_partial() {
    let fixture = Arc::new(with_files(FILES));
    let log = fixture.source().join("a-log");
    noise(&log, 7, 80 << 20);
    for attempt in 0..ATTEMPTS_MAX {
        let at = log.clone();
        let append = move || {
            let mut file = fs::File::options().append(true).open(&at).expect("there");
            file.write_all(b"a line\n").expect("written");
        };
        let (watched, done) = stopped_when(&fixture, half_way, append);
        let made = create_by(&fixture, &format!("a-{attempt}"), &watched).await.expect("made");
        let message = made.message.unwrap_or_default();
        assert_eq!(made.snapshot.status, Status::Good, "{message}");
        if done.load(Ordering::SeqCst) && message.contains("1 changed while it was made: ") {
            assert!(message.contains("/a-log"), "{message}");
            restic_agrees(&fixture);
            return;
        }
        fs::File::options().append(true).open(&log).and_then(|file| file.set_len(80 << 20)).expect("cut");
    }
    panic!("it was never written to while it was read");
}

#[tokio::test]
async fn the_lock_is_held_while_its_own_file_is_among_what_is_kept() {
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    // By another name, and by another path to everything around it.
    let lock = fixture.folder.path().join("repository.lock");
    fs::hard_link(&lock, fixture.source().join("a-link-to-the-lock")).expect("linked");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let bound = Mounted::bound(fixture.folder.path(), elsewhere.path());
    if bound.is_none() {
        not_tested("a repository met by another path, because nothing can be mounted here");
    }
    for number in 0..FILES {
        noise(&fixture.source().join(format!("noise-{number:03}")), number, 256 << 10);
    }
    let paths = json!({"paths": [fixture.source(), elsewhere.path()]});
    let fixture = Arc::new(with_paths(fixture, paths));
    let (tell, told) = tokio::sync::oneshot::channel();
    // Stopped while somebody else tries: the lock's file comes first in order of names.
    let (watched, done) = {
        let (asking, runtime) = (Arc::clone(&fixture), tokio::runtime::Handle::current());
        stopped_when(&fixture, half_way, move || {
            let answers = std::thread::spawn(move || {
                runtime.block_on(async {
                    let busy = create(&asking, "c-1").await;
                    (busy, asking.driver.describe(&name("b-1"), &call()).await)
                })
            });
            let _ = tell.send(answers.join().expect("answered"));
        })
    };
    let made = {
        let fixture = Arc::clone(&fixture);
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(create_by(&fixture, "b-1", &watched))
        })
    };
    let made = made.await.expect("ended").expect("made");
    assert!(done.load(Ordering::SeqCst), "it was over too soon");
    let (busy, described) = told.await.expect("answered");
    let busy = busy.expect_err("one at a time");
    assert!(busy.kind == FaultKind::Busy && busy.message.contains("create b-1"), "{busy:?}");
    assert_eq!(described.expect("an answer").expect("there").snapshot.status, Status::Running);

    assert_eq!(made.snapshot.status, Status::Good, "{made:?}");
    let (_, back) = give_back(&fixture, &made.snapshot, "back").await.expect("restored");
    assert!(back.join("page").exists() && !back.join("a-link-to-the-lock").exists());
    if bound.is_some() {
        let below = fixture.folder.path().join("back").join(elsewhere.path().strip_prefix("/").expect("absolute"));
        let mut kept: Vec<_> = fs::read_dir(&below).expect("there").flatten().map(|entry| entry.file_name()).collect();
        kept.sort();
        assert_eq!(kept, ["repository.key", "source"]);
    }
    create(&fixture, "c-1").await.expect("made");
    restic_agrees(&fixture);
}
