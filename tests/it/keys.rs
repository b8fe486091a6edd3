//! The keys of a repository: none is lost, none is shown to whom it is not for, and at every moment the
//! key file holds one that opens the repository.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use snapkeep::drivers::keys::{KeyOrder, KeyReport};
use snapkeep::drivers::{MaintainOrder, RestoreOrder, registry};
use snapkeep::lifecycle::workflow::{Fault, FaultKind};

use crate::daemon::place::Place;
use crate::driver_contract::{Fixture, call, create, files, list, target};
use crate::files::tree;
use crate::peers_restic::{restic, restic_is_here};
use crate::support::skips::not_tested;
use crate::support::wait::Writes;

async fn ask(fixture: &Fixture, order: KeyOrder) -> Result<KeyReport, Fault> {
    fixture.driver.keys(&order, &call()).await
}

fn key_file(fixture: &Fixture) -> PathBuf {
    fixture.folder.path().join("repository.key")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a key as whoever keeps one would.
fn write_key(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

/// Returns the names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("there").flatten();
    let mut names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the same repository, opened by another key.
fn by_key(fixture: &Fixture, key: &Path) -> std::sync::Arc<dyn snapkeep::drivers::Driver> {
    let settings = json!({"path": fixture.repository(), "key_file": key});
    let settings = settings.as_object().expect("a table");
    let program = Path::new(env!("CARGO_BIN_EXE_snapkeep"));
    registry::open("files", settings, fixture.folder.path(), program).expect("good settings")
}

#[tokio::test]
async fn keys_are_told_added_replaced_and_removed_and_the_one_in_use_stays() {
    let fixture = files();
    let fault = ask(&fixture, KeyOrder::List).await.expect_err("nothing is there");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("was not begun yet"), "{fault:?}");
    assert_eq!(names(fixture.folder.path()), ["source"]);

    let made = create(&fixture, "a-1").await.expect("made");
    assert!(made.message.expect("told").contains("`snapkeep key sheet`"));
    let first = ask(&fixture, KeyOrder::List).await.expect("told");
    let [slot] = &first.keys[..] else { panic!("{first:?}") };
    assert!(slot.is_in_use && slot.created_at_ms.is_some() && slot.user.as_deref() == Some("snapkeep"), "{slot:?}");
    assert_eq!(
        (first.key_file.as_path(), first.repository.as_path()),
        (key_file(&fixture).as_path(), fixture.repository().as_path())
    );

    // A second one opens everything, and is added once.
    let safe = fixture.folder.path().join("safe.key");
    write_key(&safe, "correct horse\n");
    let from = || KeyOrder::Add { from: safe.clone() };
    let second = ask(&fixture, from()).await.expect("added");
    let added = second.changed.clone().expect("named");
    assert_eq!(second.keys.len(), 2);
    assert!(second.keys.iter().any(|slot| slot.id == added && !slot.is_in_use), "{second:?}");
    let fault = ask(&fixture, from()).await.expect_err("it is there");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains(&added), "{fault:?}");
    assert_eq!(by_key(&fixture, &safe).list(&call()).await.expect("it opens").snapshots.len(), 1);
    for (text, expected) in
        [("", "is empty"), ("one\ntwo\n", "more than one line"), (&"x".repeat(5000), "at most 4096")]
    {
        write_key(&safe, text);
        let fault = ask(&fixture, from()).await.expect_err(expected);
        assert!(fault.kind == FaultKind::Permanent && fault.message.contains(expected), "{fault:?}");
    }
    write_key(&safe, "correct horse\n");

    // Replaced: the old one opens nothing, everything else is as it was.
    let old = fixture.folder.path().join("old.key");
    fs::set_permissions(key_file(&fixture), fs::Permissions::from_mode(0o640)).expect("set");
    fs::copy(key_file(&fixture), &old).expect("copied");
    let rotated = ask(&fixture, KeyOrder::Rotate).await.expect("replaced");
    assert_eq!((rotated.changed.as_deref(), rotated.keys.len()), (Some(slot.id.as_str()), 2), "{rotated:?}");
    assert_ne!(read(&old), read(&key_file(&fixture)));
    assert_eq!(fs::metadata(key_file(&fixture)).expect("there").mode() & 0o777, 0o640);
    let fault = by_key(&fixture, &old).list(&call()).await.expect_err("it opens nothing");
    assert!(fault.message.contains("does not open repository"), "{fault:?}");
    by_key(&fixture, &safe).list(&call()).await.expect("it still opens");
    assert_eq!(
        names(fixture.folder.path()),
        ["old.key", "repository", "repository.key", "repository.lock", "safe.key", "source"]
    );

    // Removed: never the one in use, nor one that is not there.
    let in_use = rotated.in_use().expect("one").id.clone();
    for (id, expected) in [(in_use.as_str(), "is the one in use"), ("ffffffffffff", "has no key"), ("", "has no key")] {
        let fault = ask(&fixture, KeyOrder::Remove { id: id.to_owned() }).await.expect_err(expected);
        assert!(fault.kind == FaultKind::Permanent && fault.message.contains(expected), "{fault:?}");
    }
    let last = ask(&fixture, KeyOrder::Remove { id: added[..8].to_owned() }).await.expect("removed");
    assert_eq!((last.keys.len(), last.changed), (1, Some(added)));
    let fault = ask(&fixture, KeyOrder::Remove { id: in_use }).await.expect_err("the last");
    assert!(fault.message.contains("the only one"), "{fault:?}");
    by_key(&fixture, &safe).list(&call()).await.expect_err("it opens nothing");
    create(&fixture, "a-2").await.expect("made");
    assert_eq!(list(&fixture).await.len(), 2);
}

#[tokio::test]
async fn keys_that_restic_added_are_told_and_stay_and_restic_takes_ours() {
    if !restic_is_here("restic's keys beside ours") {
        return;
    }
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let theirs = fixture.folder.path().join("theirs.key");
    write_key(&theirs, "battery staple\n");
    restic(
        &fixture,
        &["key", "add", "--user", "ann", "--host", "desk", "--new-password-file", theirs.to_str().expect("UTF-8")],
    );
    let report = ask(&fixture, KeyOrder::List).await.expect("told");
    let ann = report.keys.iter().find(|slot| slot.user.as_deref() == Some("ann")).expect("hers");
    assert!(!ann.is_in_use && ann.host.as_deref() == Some("desk") && ann.created_at_ms.is_some(), "{ann:?}");

    let rotated = ask(&fixture, KeyOrder::Rotate).await.expect("replaced");
    assert!(rotated.keys.len() == 2 && rotated.keys.iter().any(|slot| slot.id == ann.id), "{rotated:?}");
    // restic opens it with the new key file, lists ours by when and by whom, and with hers.
    let listed = restic(&fixture, &["key", "list"]);
    assert!(listed.contains("\"userName\":\"snapkeep\"") && !listed.contains("0001-01-01"), "{listed}");
    by_key(&fixture, &theirs).list(&call()).await.expect("it opens");
    restic(&fixture, &["check", "--read-data"]);

    // While restic works there no key is changed.
    fs::write(fixture.repository().join("locks").join("0".repeat(64)), "").expect("written");
    let fault = ask(&fixture, KeyOrder::Rotate).await.expect_err("restic is at work");
    assert_eq!(fault.kind, FaultKind::Busy, "{fault:?}");
}

/// Starts the driver's process by hand, and kills it after the `count`-th change that it makes beside the
/// repository or to its keys. Returns whether it was done before, and how many changes were seen.
fn rotate_killed_after(fixture: &Fixture, count: usize) -> (bool, usize) {
    let request = json!({
        "snapkeep": 1, "verb": "keys", "time_max_ms": 60_000, "keys": "rotate",
        "repository": {"path": fixture.repository()},
    });
    let (folder, keys) = (fixture.folder.path().to_path_buf(), fixture.repository().join("keys"));
    let writes = Writes::below(&[&folder, &keys]);
    let mut worker = Command::new(env!("CARGO_BIN_EXE_snapkeep"))
        .args(["driver", "files"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let mut stdin = worker.stdin.take().expect("piped");
    writeln!(stdin, "{request}").expect("written");
    let stdout = worker.stdout.take().expect("piped");
    let said = std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).last());
    let mut seen = 0;
    while seen < count && worker.try_wait().expect("ours").is_none() {
        seen += writes.next();
    }
    let _ = worker.kill();
    worker.wait().expect("reaped");
    drop(stdin);
    let done = said.join().expect("read").is_some_and(|line| line.contains("\"result\""));
    (done, seen + writes.next())
}

#[tokio::test]
async fn a_rotation_killed_at_any_change_leaves_a_key_file_that_opens_and_goes_on() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let (done, changes) = rotate_killed_after(&fixture, usize::MAX);
    assert!(done && changes > 10, "{changes} changes");
    let (mut killed, mut rotated) = (0, 0);
    for count in 1..changes {
        let before = read(&key_file(&fixture));
        let (done, _) = rotate_killed_after(&fixture, count);
        killed += usize::from(!done);
        rotated += usize::from(before != read(&key_file(&fixture)));
        // Whatever moment it was: the key file that is there opens the repository.
        assert_eq!(list(&fixture).await.len(), 1, "killed after {count} changes");
        if count % 4 == 0 {
            // What it left behind does not pile up, and the next one goes on with it.
            let report = ask(&fixture, KeyOrder::Rotate).await.expect("to its end");
            assert_eq!(report.keys.len(), 1, "{report:?}");
        }
    }
    assert!(killed >= 5 && rotated >= 2, "killed {killed} times, rotated {rotated} times, of {changes} changes");
    ask(&fixture, KeyOrder::Rotate).await.expect("to its end");
    let report = ask(&fixture, KeyOrder::Rotate).await.expect("replaced");
    assert_eq!(report.keys.len(), 1, "{report:?}");
    let to = fixture.folder.path().join("back");
    let order = RestoreOrder { target: target(&made), to: to.clone(), include: vec![], overwrite: false };
    fixture.driver.restore(&order, &call()).await.expect("restored");
    let source = fixture.source();
    assert_eq!(tree(&to.join(source.strip_prefix("/").expect("absolute"))), tree(&source));
    drop(fs::remove_dir_all(&to));
    assert_eq!(names(fixture.folder.path()), ["repository", "repository.key", "repository.lock", "source"]);
}

#[tokio::test]
async fn a_rotation_takes_nothing_away_before_the_new_key_is_in_its_place() {
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let before = ask(&fixture, KeyOrder::List).await.expect("told").keys.remove(0).id;
    let writes = Writes::below(&[fixture.folder.path(), &fixture.repository().join("keys")]);
    let after = ask(&fixture, KeyOrder::Rotate).await.expect("replaced").keys.remove(0).id;
    let expected = [
        "+repository.key.snapkeep-next".to_owned(),
        format!("+{after}"),
        "+repository.key.snapkeep-old".to_owned(),
        "+repository.key".to_owned(),
        format!("-{before}"),
        "-repository.key.snapkeep-old".to_owned(),
    ];
    assert_eq!(writes.named(), expected);
}

#[tokio::test]
async fn every_step_of_a_rotation_that_was_cut_off_is_gone_on_from() {
    // The states between the steps, put together by hand from what is there before and after.
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let (key, keys) = (key_file(&fixture), fixture.repository().join("keys"));
    let suffixed = |suffix: &str| fixture.folder.path().join(format!("repository.key{suffix}"));
    let (next, old) = (suffixed(".snapkeep-next"), suffixed(".snapkeep-old"));
    let (key_before, slot_before) = (read(&key), names(&keys).remove(0));
    let data_before = fs::read(keys.join(&slot_before)).expect("there");
    let report = ask(&fixture, KeyOrder::Rotate).await.expect("replaced");
    let (key_after, slot_after) = (read(&key), report.keys[0].id.clone());
    let data_after = fs::read(keys.join(&slot_after)).expect("there");
    type Step<'s> = (&'s str, Option<&'s str>, Option<&'s str>, &'s str, bool, bool);
    let (was, is) = (key_before.as_str(), key_after.as_str());
    let steps: [Step<'_>; 6] = [
        // What, next, old, the key file, and which of both open the repository.
        ("the next one is written", Some(is), None, was, true, false),
        ("it is added", Some(is), None, was, true, true),
        ("the old one is kept", Some(is), Some(was), was, true, true),
        ("the file is replaced", None, Some(was), is, true, true),
        ("the old one is removed", None, Some(was), is, false, true),
        ("all is done but for the file", None, None, is, false, true),
    ];
    for (what, next_text, old_text, key_text, with_before, with_after) in steps {
        for (path, text) in [(&next, next_text), (&old, old_text), (&key, Some(key_text))] {
            match text {
                Some(text) => write_key(path, text),
                None => drop(fs::remove_file(path)),
            }
        }
        for name in names(&keys) {
            fs::remove_file(keys.join(name)).expect("removed");
        }
        for (slot, data, is_there) in
            [(&slot_before, &data_before, with_before), (&slot_after, &data_after, with_after)]
        {
            if is_there {
                fs::write(keys.join(slot), data).expect("written");
            }
        }
        assert_eq!(list(&fixture).await.len(), 1, "{what}");
        let report = ask(&fixture, KeyOrder::Rotate).await.unwrap_or_else(|fault| panic!("{what}: {fault:?}"));
        let now = read(&key);
        assert_eq!((report.keys.len(), next.exists(), old.exists()), (1, false, false), "{what}: {report:?}");
        assert_ne!(now, key_before, "{what}");
        // One that had taken its place already is kept, and brought to its end.
        assert_eq!(now == key_after, what != "all is done but for the file", "{what}");
        assert_eq!(list(&fixture).await.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn whoever_reads_while_keys_change_is_never_told_that_the_key_is_wrong() {
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let safe = fixture.folder.path().join("safe.key");
    write_key(&safe, "correct horse");
    let changes = async {
        for _ in 0..2 {
            let added = ask(&fixture, KeyOrder::Add { from: safe.clone() }).await.expect("added").changed;
            ask(&fixture, KeyOrder::Rotate).await.expect("replaced");
            ask(&fixture, KeyOrder::Remove { id: added.expect("one") }).await.expect("removed");
        }
    };
    tokio::pin!(changes);
    let mut listed = 0;
    loop {
        tokio::select! {
            () = &mut changes => break,
            all = list(&fixture) => assert_eq!(all.len(), 1),
        }
        listed += 1;
    }
    assert!(listed > 3, "listed {listed} times");
}

#[test]
fn a_key_file_that_opens_another_repository_too_is_not_replaced() {
    let mut place = begun("", &[]);
    assert!(run(&place, &["policy", "run", "wiki", "--wait"]).status.success());
    assert_eq!(place.stop(), Some(0));
    std::os::unix::fs::symlink("kept.key", place.path("link.key")).expect("linked");
    place.write("repositories.d/other.toml", "driver = \"files\"\npath = \"other\"\nkey_file = \"link.key\"\n");
    let before = read(&place.path("kept.key"));
    for name in ["local", "other"] {
        let refused = run(&place, &["key", "rotate", name]);
        assert!(
            refused.status.code() == Some(1) && said(&refused).contains("too, which a new key would not"),
            "{}",
            said(&refused)
        );
    }
    let several = run(&place, &["key", "sheet"]);
    assert!(said(&several).contains("there are several repositories: name one"), "{}", said(&several));
    // With a file of its own it is, and a link stays one.
    fs::copy(place.path("kept.key"), place.path("other.key")).expect("copied");
    place.write("repositories.d/other.toml", "driver = \"files\"\npath = \"other\"\nkey_file = \"other.key\"\n");
    place.write("repositories.d/local.toml", "driver = \"files\"\npath = \"kept\"\nkey_file = \"link.key\"\n");
    let rotated = run(&place, &["key", "rotate", "local"]);
    assert!(rotated.status.success(), "{}", said(&rotated));
    assert!(place.path("link.key").is_symlink() && read(&place.path("kept.key")) != before);
}

#[tokio::test]
async fn who_runs_the_daemon_can_read_what_another_person_changed() {
    if !rustix::process::geteuid().is_root() {
        not_tested("keys that root changes for the daemon's user, because tests do not run as root");
        return;
    }
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let mut all = vec![fixture.repository()];
    while let Some(path) = all.pop() {
        chown(&path, Some(1234), Some(5678)).expect("given away");
        if path.is_dir() {
            all.extend(fs::read_dir(&path).expect("there").flatten().map(|entry| entry.path()));
        }
    }
    chown(key_file(&fixture), Some(1234), Some(99)).expect("given away");
    // user::rw- user:7:r-- group::--- mask::r-- other::---, as the kernel has it.
    let mut readers = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 6u16, u32::MAX), (2, 4, 7), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        readers.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
    }
    let list = "system.posix_acl_access";
    let listed = rustix::fs::setxattr(key_file(&fixture), list, &readers, rustix::fs::XattrFlags::empty()).is_ok();
    fs::remove_file(fixture.folder.path().join("repository.lock")).expect("there");
    let safe = fixture.folder.path().join("safe.key");
    write_key(&safe, "correct horse");
    ask(&fixture, KeyOrder::Add { from: safe }).await.expect("added");
    let report = ask(&fixture, KeyOrder::Rotate).await.expect("replaced");
    ask(&fixture, KeyOrder::Saved { id: report.in_use().expect("one").id.clone() }).await.expect("noted");
    let owner = |path: PathBuf| fs::metadata(&path).map(|is| (is.uid(), is.gid(), is.mode() & 0o007)).expect("there");
    for name in names(&fixture.repository().join("keys")) {
        assert_eq!(owner(fixture.repository().join("keys").join(name)), (1234, 5678, 0));
    }
    assert_eq!(owner(key_file(&fixture)), (1234, 99, 0));
    let mut is = vec![0; 100];
    let length = rustix::fs::getxattr(key_file(&fixture), list, &mut is).unwrap_or(0);
    assert_eq!((listed, &is[..length]), (listed, if listed { &readers[..] } else { &[] }));
    for name in ["repository.lock", "repository.saved"] {
        assert_eq!(owner(fixture.folder.path().join(name)), (1234, 5678, 0), "{name}");
    }
}

/// A set-up whose repository was begun, by a daemon with this environment.
fn begun(repository: &str, environment: &[(&str, &Path)]) -> Place {
    let mut place = Place::new();
    for file in ["policies.d/every.toml", "repositories.d/store.toml"] {
        fs::remove_file(place.path(file)).expect("there");
    }
    fs::create_dir(place.path("wiki")).expect("made");
    place.write("wiki/page", "words");
    place.write("snapkeep.toml", "[log]\nlevel = \"debug\"\n[housekeeping]\nenabled = false\n");
    place.write("repositories.d/local.toml", &format!("driver = \"files\"\npath = \"kept\"\n{repository}"));
    let policy = "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"\n[snapshot_config]\nrepository = \"local\"\npaths = [\"wiki\"]\n";
    place.write("policies.d/wiki.toml", policy);
    let mut command = place.command(&["run"]);
    command.env_remove("CREDENTIALS_DIRECTORY").envs(environment.iter().copied());
    place.start_as(command, "log");
    place.until("the daemon", |body| body["policies"].as_array().map(|_| ()));
    place
}

fn run(place: &Place, words: &[&str]) -> Output {
    place.command(words).env_remove("CREDENTIALS_DIRECTORY").output().expect("the command runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_credential_of_the_unit_is_the_key_and_is_never_written() {
    let credentials = tempfile::tempdir().expect("a directory");
    let key = credentials.path().join("backup");
    write_key(&key, "correct horse battery\n");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("set");
    let settings = "key_credential = \"backup\"\n";
    let mut place = begun(settings, &[("CREDENTIALS_DIRECTORY", credentials.path())]);
    let made = run(&place, &["policy", "run", "wiki", "--wait"]);
    assert!(made.status.success() && said(&made).contains("a new repository was begun"), "{}", said(&made));
    assert!(!place.path("kept.key").exists());

    // Whoever was not given it is told what to write.
    for words in [&["key", "list", "local"][..], &["key", "sheet"], &["snapshots", "--repository", "local"]] {
        let refused = run(&place, words);
        let told = said(&refused);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        for expected in ["credential backup was not given", "LoadCredential=backup:", "LoadCredentialEncrypted=backup:"]
        {
            assert!(told.contains(expected), "{expected} is not in {told}");
        }
    }
    let given = |words: &[&str], directory: &Path| {
        place.command(words).env("CREDENTIALS_DIRECTORY", directory).output().expect("the command runs")
    };
    let listed = given(&["key", "list", "local"], credentials.path());
    assert!(listed.status.success() && said(&listed).contains("credential backup"), "{}", said(&listed));
    let other = given(&["key", "list", "local"], &place.path("wiki"));
    assert!(said(&other).contains("is missing: write LoadCredential=backup:"), "{}", said(&other));
    let refused = given(&["key", "rotate", "local"], credentials.path());
    assert!(said(&refused).contains("is never written by us: add a new one"), "{}", said(&refused));
    assert_eq!(names(credentials.path()), ["backup"]);
    let checked = run(&place, &["check"]);
    assert!(
        checked.status.success() && said(&checked).contains("credential backup of this machine"),
        "{}",
        said(&checked)
    );
    let sheet = given(&["key", "sheet", "--to", "-"], credentials.path());
    assert!(said(&sheet).contains("\ncorrect horse battery\n"), "{}", said(&sheet));
    assert_eq!(place.stop(), Some(0));

    // A daemon that was not given it says so, and makes no other key.
    place.write("repositories.d/local.toml", &format!("driver = \"files\"\npath = \"new\"\n{settings}"));
    let mut command = place.command(&["run"]);
    command.env_remove("CREDENTIALS_DIRECTORY");
    place.start_as(command, "log");
    place.until("the daemon", |body| body["policies"].as_array().map(|_| ()));
    let failed = run(&place, &["policy", "run", "wiki", "--wait"]);
    assert!(said(&failed).contains("LoadCredentialEncrypted=backup:"), "{}", said(&failed));
    assert!(!place.path("new").exists() && !place.path("new.key").exists());
    assert_eq!(place.stop(), Some(0));
}

/// Whether a text is in any file below a folder.
fn is_below(folder: &Path, text: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("there").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if fs::read(&path).is_ok_and(|data| data.windows(text.len()).any(|part| part == text.as_bytes())) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_key_goes_to_the_person_who_asks_and_to_no_log_journal_or_answer() {
    let mut place = begun("", &[]);
    let note = |place: &Place| {
        let checked = run(place, &["check"]);
        assert!(checked.status.success(), "{}", said(&checked));
        let told = said(&checked);
        let count = told.matches("note: repository local: ").count();
        assert_eq!(count > 0, told.contains("lies on the same file system"), "{told}");
        count
    };
    assert_eq!(note(&place), 1);
    let early = run(&place, &["key", "sheet"]);
    assert!(early.status.code() == Some(1) && said(&early).contains("was not begun yet"), "{}", said(&early));
    let made = run(&place, &["policy", "run", "wiki", "--wait"]);
    assert!(made.status.success() && said(&made).contains("`snapkeep key sheet`"), "{}", said(&made));
    let key = read(&place.path("kept.key")).trim().to_owned();
    assert_eq!(key.len(), 64);

    // Into a pipe, which may be a log: all but the key.
    let piped = run(&place, &["key", "sheet", "local"]);
    assert!(piped.status.success() && said(&piped).contains("RECOVERY SHEET"), "{}", said(&piped));
    assert!(!said(&piped).contains(&key) && said(&piped).contains("NOT ON THIS COPY"), "{}", said(&piped));
    let shown = run(&place, &["--json", "key", "sheet"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert!(shown["keys"][0]["is_in_use"] == true && !shown.to_string().contains(&key), "{shown}");
    assert_eq!(note(&place), 1, "nobody was given it yet");

    // To whoever names a file, once, and for nobody else to read.
    let file = place.path("sheet.txt");
    let named = ["key", "sheet", "--to", file.to_str().expect("UTF-8")];
    let written = run(&place, &named);
    assert!(written.status.success() && !said(&written).contains(&key), "{}", said(&written));
    assert!(read(&file).contains(&format!("\n{key}\n")));
    assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
    assert_eq!(run(&place, &named).status.code(), Some(1), "it is there");
    assert_eq!(note(&place), 0);
    // Another key is another matter.
    let rotated = run(&place, &["key", "rotate", "local"]);
    assert!(rotated.status.success() && said(&rotated).contains("go on reading"), "{}", said(&rotated));
    assert_eq!(note(&place), 1);
    let new = read(&place.path("kept.key")).trim().to_owned();
    let told = said(&run(&place, &["key", "list", "local"]));
    assert!(told.lines().count() == 2 && told.contains("kept.key"), "{told}");
    for words in
        [&["key", "remove", "local", "zz"][..], &["key", "add", "local", "--from", "gone"], &["key", "list", "no"]]
    {
        let refused = run(&place, words);
        assert!(matches!(refused.status.code(), Some(1 | 2)), "{}", said(&refused));
    }
    let maintained = run(&place, &["maintain", "local"]);
    assert!(said(&maintained).contains("nobody was given its key yet"), "{}", said(&maintained));
    let answers = run(&place, &["--json", "explain"]);
    assert_eq!(place.stop(), Some(0));
    for key in [&key, &new] {
        assert!(!said(&answers).contains(key.as_str()) && !read(&place.path("log")).contains(key.as_str()));
        assert_eq!(is_below(&place.state(), key), Vec::<PathBuf>::new());
    }
    assert_eq!(is_below(&place.path(""), &new), [place.path("kept.key")]);

    // On a terminal.
    let command =
        format!("{} --config {} key sheet", env!("CARGO_BIN_EXE_snapkeep"), place.path("snapkeep.toml").display());
    let terminal = Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output();
    match terminal {
        Ok(output) => assert!(said(&output).contains(&new), "{}", said(&output)),
        Err(_) => not_tested("the recovery sheet on a terminal, because there is no script(1)"),
    }
}

#[tokio::test]
async fn the_commands_on_the_sheet_give_the_data_back() {
    if !restic_is_here("the commands of the recovery sheet") {
        return;
    }
    let mut place = begun("", &[]);
    assert!(run(&place, &["policy", "run", "wiki", "--wait"]).status.success());
    assert_eq!(place.stop(), Some(0));
    let sheet = said(&run(&place, &["key", "sheet", "--to", "-"]));
    let after = |heading: &str| sheet.split(heading).nth(1).unwrap_or_default().trim_start();
    // Wherever it is typed.
    let typed_there = Command::new(env!("CARGO_BIN_EXE_snapkeep"))
        .args(["--config", "../snapkeep.toml", "key", "sheet"])
        .current_dir(place.path("wiki"))
        .output()
        .expect("the command runs");
    let where_it_is = format!("where        {}", place.path("kept").display());
    assert!(
        sheet.contains(&where_it_is) && said(&typed_there).contains("opened the repository"),
        "{}",
        said(&typed_there)
    );
    // As the sheet has it, by somebody who has nothing else.
    let key = after("THE KEY").lines().next().expect("a key");
    let commands: Vec<&str> = sheet.lines().filter_map(|line| line.strip_prefix("     ")).collect();
    assert_eq!(commands.len(), 4, "{sheet}");
    let here = place.path("elsewhere");
    fs::create_dir(&here).expect("made");
    let mut told = String::new();
    for command in &commands {
        let mut shell = Command::new("sh")
            .args(["-euc", command])
            .current_dir(&here)
            .env("HOME", &here)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        // Most of them read nothing.
        let _ = writeln!(shell.stdin.take().expect("piped"), "{key}");
        shell.stdout.take().expect("piped").read_to_string(&mut told).expect("text");
        assert!(shell.wait().expect("ended").success(), "{command}");
    }
    assert!(told.contains("no errors were found"), "{told}");
    let wiki = place.path("wiki");
    assert_eq!(tree(&here.join("back").join(wiki.strip_prefix("/").expect("absolute"))), tree(&wiki));
    let sum = Command::new("sha256sum").arg(here.join("recovery.key")).output().expect("coreutils");
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    let begins = after("begins with ").split('.').next().expect("a beginning");
    assert!(begins.len() == 12 && sum.starts_with(begins), "{sum} does not begin with {begins}");
}

#[tokio::test]
async fn maintenance_takes_half_written_keys_away_and_no_other() {
    let fixture = files();
    create(&fixture, "a-1").await.expect("made");
    let keys = fixture.repository().join("keys");
    let before = names(&keys);
    fs::write(keys.join(format!("{}-tmp-", "0".repeat(64))), "half of").expect("written");
    let order = MaintainOrder { keep: std::time::Duration::ZERO };
    let message = fixture.driver.maintain(&order, &call()).await.expect("maintained").message;
    assert!(message.is_some_and(|message| message.contains("nobody was given its key yet")));
    assert_eq!(names(&keys), before);
    let id = before[0].clone();
    ask(&fixture, KeyOrder::Saved { id }).await.expect("noted");
    assert_eq!(fixture.driver.maintain(&order, &call()).await.expect("maintained").message, None);
}
