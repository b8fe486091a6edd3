//! The embedded driver, by the real program: what goes in comes out, and what could not go in is told.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FileType, Mode, XattrFlags};
use serde_json::json;
use snapkeep::drivers::process::{Limits, ProcessDriver, Program};
use snapkeep::drivers::{Abilities, Call, ProgressSink, RestoreOrder, registry};
use snapkeep::lifecycle::snapshot::Status;
use snapkeep::lifecycle::workflow::FaultKind;

use crate::driver_contract::{Fixture, call, create, files, list, name, order, target};
use crate::support::skips::not_tested;

mod relabel;

/// Fills a folder with one of everything that can be kept.
pub fn fill(source: &Path) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    fs::create_dir_all(source.join("a/b")).expect("made");
    fs::create_dir(source.join("empty")).expect("made");
    fs::write(source.join("a/text"), "some words\n").expect("written");
    fs::write(source.join("a/none"), "").expect("written");
    let noise: Vec<u8> = (0u64..400_000).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect();
    fs::write(source.join("a/b/large"), noise).expect("written");
    fs::write(source.join("name with \u{fc} and, comma\n"), "x").expect("written");
    fs::hard_link(source.join("a/text"), source.join("a/b/twin")).expect("linked");
    symlink("../text", source.join("a/b/link")).expect("linked");
    symlink("/nowhere", source.join("dangling")).expect("linked");
    fs::write(source.join(OsStr::from_bytes(b"not utf-8 \xff")), "y").expect("written");
    let pipe = rustix::fs::mknodat(rustix::fs::CWD, source.join("pipe"), FileType::Fifo, Mode::RUSR, 0);
    pipe.expect("made");
    // Not every file system has extended attributes.
    let _ = rustix::fs::setxattr(source.join("a/text"), "user.note", b"kept", XattrFlags::empty());
    fs::set_permissions(source.join("a/none"), fs::Permissions::from_mode(0o4751)).expect("set");
    fs::set_permissions(source.join("empty"), fs::Permissions::from_mode(0o1700)).expect("set");
    fs::set_permissions(source, fs::Permissions::from_mode(0o750)).expect("set");
    // The innermost first: to touch what a directory holds touches the directory.
    for path in ["a/b/large", "a/b/twin", "a/b", "a", "empty", ""] {
        fs::File::open(source.join(path)).and_then(|file| file.set_modified(long_ago)).expect("set");
    }
}

/// Returns the extended attributes of a path itself, access control lists among them, in order.
fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = [0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<(String, Vec<u8>)> = names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).expect("listed");
            value.truncate(length);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect();
    found.sort();
    found
}

/// Returns what a tree holds, each entry as text: kind, mode, owner, time, links, attributes, content.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, path: &Path, tree: &mut BTreeMap<String, String>) {
        let meta = fs::symlink_metadata(path).expect("there");
        let kind = meta.file_type();
        let content = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link to {:?}", fs::read_link(path).expect("a link"))
        } else if kind.is_fifo() || kind.is_socket() {
            "special".to_owned()
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("device {:x}", meta.rdev())
        } else {
            let content = fs::read(path).expect("readable");
            let sum = content.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            format!("file of {} bytes, {sum:x}, {} links", content.len(), meta.nlink())
        };
        let time = format!("{}.{}", meta.mtime(), meta.mtime_nsec());
        let content = format!("{content}, attributes {:?}", attributes(path));
        let text = format!("{content}, mode {:o}, {}:{}, {time}", meta.mode(), meta.uid(), meta.gid());
        tree.insert(path.strip_prefix(root).expect("below").to_string_lossy().into_owned(), text);
        if kind.is_dir() {
            for entry in fs::read_dir(path).expect("readable") {
                walk(root, &entry.expect("an entry").path(), tree);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// Opens the fixture's repository again with another configuration of paths.
pub fn with_paths(fixture: Fixture, config: serde_json::Value) -> Fixture {
    let config = registry::check_config("files", config.as_object().expect("a table"), fixture.folder.path());
    Fixture { config: Arc::new(config.expect("good config")), ..fixture }
}

#[tokio::test]
async fn what_was_kept_comes_back_identical() {
    let fixture = files();
    fill(&fixture.source());
    let made = create(&fixture, "a-1").await.expect("made");
    assert_eq!(made.snapshot.status, Status::Good, "{made:?}");
    let message = made.message.expect("the first snapshot tells of the new key");
    assert!(message.contains("a new repository was begun") && message.contains("repository.key"), "{message}");
    let key = fs::metadata(fixture.folder.path().join("repository.key")).expect("there");
    assert_eq!(key.mode() & 0o777, 0o600);
    assert!(!fixture.folder.path().join("repository.key.new").exists());

    let to = fixture.folder.path().join("back");
    let all = RestoreOrder { target: target(&made.snapshot), to: to.clone(), include: vec![], overwrite: false };
    let restored = fixture.driver.restore(&all, &call()).await.expect("restored");
    let source = fixture.source();
    let back = to.join(source.strip_prefix("/").expect("absolute"));
    assert_eq!(tree(&back), tree(&source));
    assert!(restored.files >= 5 && restored.bytes >= 3_200_000, "{restored:?}");

    // What is there already is not read again, and a part is what is asked for.
    let again = fixture.driver.restore(&all, &call()).await.expect("it is all there");
    assert_eq!((again.files, again.bytes), (restored.files, 0));
    assert_eq!(tree(&back), tree(&source));
    let wanted = source.join("a/text").to_str().expect("UTF-8").to_owned();
    let part = RestoreOrder { to: fixture.folder.path().join("part"), include: vec![wanted], ..all };
    fixture.driver.restore(&part, &call()).await.expect("restored");
    let text = part.to.join(source.join("a/text").strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read_to_string(text).expect("there"), "some words\n");
    assert_eq!(fs::read_dir(part.to.join(source.strip_prefix("/").expect("absolute"))).expect("there").count(), 1);
}

#[tokio::test]
async fn missing_and_excluded_paths_are_told_apart() {
    let fixture = files();
    fs::write(fixture.source().join("x.tmp"), "no").expect("written");
    fs::create_dir(fixture.source().join("cache")).expect("made");
    fs::write(fixture.source().join("cache/y"), "no").expect("written");
    let (source, gone) = (fixture.source(), fixture.folder.path().join("gone"));
    let cache = source.join("cache");
    // The whole folder is kept, so the repository lies within what it keeps.
    let config = json!({"paths": [fixture.folder.path(), gone], "exclude": ["*.tmp", cache]});
    let fixture = with_paths(fixture, config);
    let made = create(&fixture, "a-1").await.expect("made");
    assert_eq!(made.snapshot.status, Status::Partial);
    let message = made.message.expect("told");
    assert!(message.contains("1 could not be read: ") && message.contains("/gone: No such file"), "{message}");
    let listed = list(&fixture).await;
    assert_eq!(listed[&made.snapshot.id].status, Status::Partial);
    assert_eq!(listed[&made.snapshot.id].labels, order(&fixture, "a-1").labels);
    let described = fixture.driver.describe(&name("a-1"), &call()).await.expect("an answer").expect("there");
    assert!(described.message.expect("told").contains("/gone: No such file"));

    let to = fixture.folder.path().join("back");
    let all = RestoreOrder { target: target(&made.snapshot), to: to.clone(), include: vec![], overwrite: false };
    fixture.driver.restore(&all, &call()).await.expect("restored");
    let below = to.join(fixture.folder.path().strip_prefix("/").expect("absolute"));
    let kept: Vec<String> = tree(&below).into_keys().collect();
    assert_eq!(kept, ["", "repository.key", "source", "source/page"]);

    // Nothing at all is no snapshot.
    let fixture = with_paths(fixture, json!({"paths": [gone]}));
    let fault = create(&fixture, "b-1").await.expect_err("nothing to read");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("nothing to snapshot"), "{fault:?}");
}

#[tokio::test]
async fn what_may_not_be_read_makes_a_snapshot_partial() {
    if !rustix::process::geteuid().is_root() {
        // As anybody else a mode is enough.
        let fixture = files();
        fs::set_permissions(fixture.source().join("page"), fs::Permissions::from_mode(0o000)).expect("set");
        partial(fixture).await;
        return;
    }
    // Root may read everything, so the program runs as somebody else.
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        not_tested("files that may not be read, because tests run as root and there is no setpriv");
        return;
    }
    let fixture = files();
    // Copied by another process: a program that this one has open for writing, or a child of it that is
    // just being started, cannot be executed.
    let copy = fixture.folder.path().join("snapkeep");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_snapkeep")).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    fs::set_permissions(fixture.folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
    fs::set_permissions(fixture.source().join("page"), fs::Permissions::from_mode(0o600)).expect("set");
    let mut arguments: Vec<OsString> =
        ["--reuid", "65534", "--regid", "65534", "--clear-groups"].map(OsString::from).to_vec();
    arguments.extend([copy.into(), "driver".into(), "files".into()]);
    let program = Program { path: setpriv.into(), arguments, called: None, title: "files".to_owned() };
    let repository = json!({"path": fixture.repository()}).as_object().expect("a table").clone();
    let abilities = Abilities {
        cancel: false,
        restore: true,
        restore_beside: true,
        verify: false,
        maintain: false,
        label: false,
        effects_max: 1,
    };
    let driver = Arc::new(ProcessDriver::new(program, repository, abilities, Limits::default()));
    partial(Fixture { driver, ..fixture }).await;
}

/// `page` cannot be read, and neither can a directory; something else can.
async fn partial(fixture: Fixture) {
    fs::write(fixture.source().join("other"), "x").expect("written");
    fs::create_dir(fixture.source().join("closed")).expect("made");
    fs::set_permissions(fixture.source().join("closed"), fs::Permissions::from_mode(0o700)).expect("set");
    let closed_mode = if rustix::process::geteuid().is_root() { 0o700 } else { 0o000 };
    fs::set_permissions(fixture.source().join("closed"), fs::Permissions::from_mode(closed_mode)).expect("set");
    let made = create(&fixture, "a-1").await.expect("made");
    assert_eq!(made.snapshot.status, Status::Partial, "{made:?}");
    let message = made.message.expect("told");
    assert!(message.contains("2 could not be read: "), "{message}");
    assert!(message.contains("source/page: Permission denied"), "{message}");
    assert!(message.contains("source/closed: Permission denied"), "{message}");
    fs::set_permissions(fixture.source().join("closed"), fs::Permissions::from_mode(0o700)).expect("set");
}

#[tokio::test]
async fn a_key_is_never_used_to_begin_a_second_repository() {
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let (repository, away) = (fixture.repository(), fixture.folder.path().join("away"));
    fs::rename(&repository, &away).expect("moved");
    for fault in [
        create(&fixture, "b-1").await.expect_err("the repository is gone"),
        fixture.driver.list(&call()).await.expect_err("the repository is gone"),
    ] {
        assert!(fault.kind == FaultKind::Permanent && fault.message.contains("is a disk not mounted?"), "{fault:?}");
    }
    fs::rename(&away, &repository).expect("moved back");
    let (key, hidden) = (fixture.folder.path().join("repository.key"), fixture.folder.path().join("hidden"));
    fs::rename(&key, &hidden).expect("moved");
    let fault = create(&fixture, "b-1").await.expect_err("the key is gone");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("is missing"), "{fault:?}");

    // A first use that was cut off before the key got its name goes on where it stopped.
    fs::rename(&hidden, fixture.folder.path().join("repository.key.new")).expect("moved");
    assert_eq!(list(&fixture).await.len(), 1);
    create(&fixture, "b-1").await.expect("made");
    assert!(key.exists() && list(&fixture).await.len() == 2);

    // A listing that is not whole is none.
    let snapshots = repository.join("snapshots");
    let one = fs::read_dir(&snapshots).expect("there").next().expect("one").expect("an entry").path();
    fs::write(&one, "garbage").expect("written");
    let fault = fixture.driver.list(&call()).await.expect_err("one is unreadable");
    assert_eq!(fault.kind, FaultKind::Incomplete, "{fault:?}");
}

#[tokio::test]
async fn a_first_use_that_was_cut_off_is_begun_again() {
    let fixture = files();
    let keys = fixture.repository().join("keys");
    fs::create_dir_all(&keys).expect("made");
    fs::create_dir_all(fixture.repository().join("data/00")).expect("made");
    fs::write(keys.join("0".repeat(64)), "a key of the first beginning").expect("written");
    fs::write(fixture.folder.path().join("repository.key.new"), "old\n").expect("written");
    assert_eq!(list(&fixture).await.len(), 0);
    create(&fixture, "a-1").await.expect("made");
    assert_eq!(list(&fixture).await.len(), 1);

    let fixture = files();
    fs::create_dir(fixture.repository()).expect("made");
    fs::write(fixture.repository().join("thesis.txt"), "mine").expect("written");
    let fault = create(&fixture, "a-1").await.expect_err("somebody lives there");
    assert!(fault.message.contains("not empty: it holds thesis.txt"), "{fault:?}");
    assert_eq!(fs::read_dir(fixture.repository()).expect("there").count(), 1);
}

/// Adds 8 MB files that cannot be compressed or deduplicated, so that a snapshot takes a while.
fn grow(source: &Path, count: u8) {
    let noise: Vec<u8> = (0u64..1_000_000).flat_map(|n| n.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()).collect();
    for number in 0..count {
        let other: Vec<u8> = noise.iter().map(|byte| byte.wrapping_add(number)).collect();
        fs::write(source.join(format!("large-{number}")), other).expect("written");
    }
}

#[tokio::test]
async fn a_snapshot_in_the_making_is_running_and_a_killed_one_is_nothing() {
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    grow(&fixture.source(), 4);
    // Killed as it begins to read, on the way, and near the end.
    for (number, megabytes) in [0, 10, 22].into_iter().enumerate() {
        let text = format!("b-{number}");
        let began = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&began);
        let progress = ProgressSink::new(move |progress| {
            if progress.unit == "bytes" && progress.done >= megabytes * 1_000_000 {
                told.notify_one();
            }
        });
        let (driver, order, slow) = (Arc::clone(&fixture.driver), order(&fixture, &text), Call { progress, ..call() });
        let making = tokio::spawn(async move { driver.create(&order, &slow).await });
        // On a fast machine it may be over before it was seen to be at work.
        while !making.is_finished() {
            if tokio::time::timeout(Duration::from_millis(20), began.notified()).await.is_ok() {
                break;
            }
        }
        if number == 0 {
            let described = fixture.driver.describe(&name(&text), &call()).await.expect("an answer");
            let busy = create(&fixture, "c-1").await.err();
            if !making.is_finished() {
                assert_eq!(described.map(|found| found.snapshot.status), Some(Status::Running));
                let busy = busy.expect("one at a time");
                assert!(busy.kind == FaultKind::Busy && busy.message.contains("create b-0"), "{busy:?}");
            }
        }
        kill_workers_in(&fixture.repository());
        let _ = making.await;
        // Whatever moment it was: it is there whole, or not at all.
        let there = fixture.driver.describe(&name(&text), &call()).await.expect("an answer");
        assert!(there.is_none_or(|found| found.snapshot.status == Status::Good));
    }
    for text in ["b-0", "b-1", "b-2"] {
        create(&fixture, text).await.expect("asking again makes it");
    }
    let listed = list(&fixture).await;
    assert!(listed.values().all(|snapshot| snapshot.status == Status::Good), "{listed:?}");
    let made = listed.values().filter(|snapshot| snapshot.name.starts_with("b-")).collect::<Vec<_>>();
    assert_eq!(made.len(), 3, "{listed:?}");

    // What was made after all this is whole, and what is broken on disk is told, not hung upon.
    let to = fixture.folder.path().join("back");
    let all = RestoreOrder { target: target(made[0]), to: to.clone(), include: vec![], overwrite: false };
    fixture.driver.restore(&all, &call()).await.expect("restored");
    let source = fixture.source();
    assert_eq!(tree(&to.join(source.strip_prefix("/").expect("absolute"))), tree(&source));
    spoil_packs(&fixture.repository().join("data"));
    let again = RestoreOrder { to: fixture.folder.path().join("again"), ..all };
    let fault = fixture.driver.restore(&again, &call()).await.expect_err("nothing can be read");
    assert_eq!(fault.kind, FaultKind::Permanent, "{fault:?}");
}

/// Changes a byte in the middle of every large pack.
pub fn spoil_packs(data: &Path) {
    for folder in fs::read_dir(data).expect("there").flatten() {
        for pack in fs::read_dir(folder.path()).expect("there").flatten() {
            let mut bytes = fs::read(pack.path()).expect("readable");
            if bytes.len() > 1_000_000 {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(pack.path(), bytes).expect("written");
            }
        }
    }
}

#[test]
fn a_worker_whose_daemon_is_gone_stops_at_once() {
    let fixture = files();
    grow(&fixture.source(), 4);
    let request = json!({
        "snapkeep": 1, "verb": "create", "name": "a-1", "time_max_ms": 60000, "labels": {},
        "config": *fixture.config, "repository": {"path": fixture.repository()},
    });
    let (mut worker, mut stdin) = start_worker();
    writeln!(stdin, "{request}").expect("written");
    let mut lines = BufReader::new(worker.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let at_work = lines.find(|line| line.contains("bytes") || line.contains("result"));
    let at_work = at_work.expect("it tells that it is at work");
    drop(stdin);
    let code = worker.wait().expect("ended").code();
    assert!(code == Some(75) || at_work.contains("result"), "{code:?}, {at_work}");
}

#[test]
fn a_request_that_is_none_is_refused_in_the_protocol() {
    for (request, expected) in [
        ("hello", "request cannot be understood"),
        ("", "request cannot be understood"),
        (r#"{"snapkeep":2,"verb":"list","time_max_ms":1,"repository":{}}"#, "it is version 2"),
        (r#"{"snapkeep":1,"verb":"list","time_max_ms":1,"repository":{}}"#, "bad repository: missing field `path`"),
        (
            r#"{"snapkeep":1,"verb":"delete","name":"a","id":"../x","time_max_ms":1,"repository":{"path":"/x"}}"#,
            "is not a snapshot's id",
        ),
    ] {
        let (mut worker, mut stdin) = start_worker();
        writeln!(stdin, "{request}").expect("written");
        let mut said = String::new();
        worker.stdout.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        assert!(worker.wait().expect("ended").success());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], r#"{"snapkeep":1}"#);
        assert!(lines[1].contains(r#"{"fault":{"kind":"permanent","#) && lines[1].contains(expected), "{said}");
    }
}

/// Starts the worker by hand, without the host.
fn start_worker() -> (Child, ChildStdin) {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_snapkeep"))
        .args(["driver", "files"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let stdin = worker.stdin.take().expect("piped");
    (worker, stdin)
}

#[tokio::test]
async fn a_key_that_was_named_must_be_there_and_be_nobody_elses() {
    let fixture = files();
    let key = fixture.folder.path().join("my.key");
    let settings = json!({"path": fixture.repository(), "key_file": key});
    let program = Path::new(env!("CARGO_BIN_EXE_snapkeep"));
    let settings = settings.as_object().expect("a table");
    let driver = registry::open("files", settings, fixture.folder.path(), program).expect("good settings");
    let fixture = Fixture { driver, ..fixture };
    let fault = create(&fixture, "a-1").await.expect_err("there is no key");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("my.key does not exist"), "{fault:?}");
    fs::write(&key, "correct horse\n").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let fault = create(&fixture, "a-1").await.expect_err("everybody may read it");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("open to everybody"), "{fault:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("set");
    let made = create(&fixture, "a-1").await.expect("made");
    // What losing it means is told, and nothing of it.
    let message = made.message.expect("told");
    assert!(message.contains("my.key nothing in it can be read") && !message.contains("horse"), "{message}");
    fs::rename(fixture.repository(), fixture.folder.path().join("away")).expect("moved");
    let fault = create(&fixture, "b-1").await.expect_err("the repository is gone");
    assert!(fault.message.contains("is a disk not mounted?"), "{fault:?}");
    fs::rename(fixture.folder.path().join("away"), fixture.repository()).expect("moved back");
    fs::write(&key, "wrong\n").expect("written");
    let fault = create(&fixture, "b-1").await.expect_err("the key is another");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("does not open"), "{fault:?}");
}

/// Kills every process that holds the lock of a repository open, without warning.
fn kill_workers_in(repository: &Path) {
    let lock = PathBuf::from(format!("{}.lock", repository.display()));
    let began = Instant::now();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse().ok()) else { continue };
        let open = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let holds = |fd: fs::DirEntry| fd.path().read_link().is_ok_and(|link| link == lock);
        if open.into_iter().any(holds) && pid != std::process::id().cast_signed() {
            let pid = rustix::process::Pid::from_raw(pid).expect("a number");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    assert!(began.elapsed() < Duration::from_secs(30));
}
