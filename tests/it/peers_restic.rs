//! restic, where it is installed, reads what we wrote, finds nothing wrong with it, and gives it back
//! identical; and we do the same with what restic wrote. This is the way out, and in, that we promise.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, XattrFlags};
use serde_json::{Value, json};
use snapkeep::drivers::{Created, RestoreOrder, registry};
use snapkeep::lifecycle::snapshot::{Snapshot, Status};
use snapkeep::lifecycle::workflow::FaultKind;

use crate::driver_contract::{Fixture, call, create, files, list, order, target};
use crate::files::{fill, tree};
use crate::support::skips::not_tested;

/// Whether restic is here; says that it is not tested otherwise.
pub fn restic_is_here(what: &str) -> bool {
    let is_here = Command::new("restic").arg("version").output().is_ok();
    if !is_here {
        not_tested(&format!("{what}, because restic is not installed"));
    }
    is_here
}

/// Runs restic on the fixture's repository and returns what it printed.
pub fn restic(fixture: &Fixture, arguments: &[&str]) -> String {
    let output = Command::new("restic")
        .args(["--no-cache", "--json", "--repo"])
        .arg(fixture.repository())
        .arg("--password-file")
        .arg(fixture.folder.path().join("repository.key"))
        .args(arguments)
        .output()
        .expect("restic runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {stdout}{stderr}");
    format!("{stdout}{stderr}")
}

/// Returns the identities of what restic lists, in its order.
fn restic_ids(fixture: &Fixture) -> Vec<String> {
    let listed = restic(fixture, &["snapshots"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    listed.as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

/// Several trees with everything that a file can be, and the paths of them that are kept: nested ones, and
/// a single file. Everything below `trees` is below one of them.
struct Trees {
    top: PathBuf,
    paths: Vec<PathBuf>,
}

impl Trees {
    fn make(folder: &Path) -> Trees {
        let top = folder.join("trees");
        let at = |below: &str| top.join(below);
        for below in ["one", "two/inner/deep", "three"] {
            fs::create_dir_all(at(below)).expect("made");
        }
        fill(&at("one"));
        fs::write(at("two/inner/deep/page"), "far below").expect("written");
        fs::write(at("three/alone"), "a single file").expect("written");
        // A hole of 16 MiB with something on both sides.
        let disk = fs::File::create(at("one/disk")).expect("made");
        disk.write_all_at(b"begin", 0).and_then(|()| disk.write_all_at(b"end", 16 << 20)).expect("written");
        fs::write(at("one/suid"), "x").expect("written");
        for (name, value) in [("user.empty", &b""[..]), ("user.binary", b"\x00\xff\n"), ("user.\u{fc}", b"x")] {
            // Not every file system has extended attributes, and those without have none to lose.
            let _ = rustix::fs::setxattr(at("one/suid"), name, value, XattrFlags::empty());
            let _ = rustix::fs::setxattr(at("two"), name, value, XattrFlags::empty());
        }
        // user::rw- user:7:r-- group::r-- mask::r-- other::---, as the kernel has it.
        let mut list = 2u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in
            [(1u16, 6u16, u32::MAX), (2, 4, 7), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        {
            list.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
        }
        let _ = rustix::fs::setxattr(at("one/a/text"), "system.posix_acl_access", &list, XattrFlags::empty());
        if rustix::process::geteuid().is_root() {
            for (below, owner) in [("one/suid", 12_345), ("one/a", 54_321), ("two/inner", 1_000), ("one/dangling", 77)]
            {
                std::os::unix::fs::lchown(at(below), Some(owner), Some(owner + 1)).expect("given away");
            }
            chown(at("one/empty"), None, Some(4_242)).expect("given away");
            let null = rustix::fs::makedev(1, 3);
            // Some containers make none.
            let _ = rustix::fs::mknodat(rustix::fs::CWD, at("one/null"), FileType::CharacterDevice, Mode::RUSR, null);
        }
        // Owners go first: giving a file away takes such bits.
        for (below, mode) in
            [("one/suid", 0o6755), ("one/a", 0o2750), ("two", 0o711), ("three/alone", 0o400), ("", 0o1777)]
        {
            fs::set_permissions(at(below), fs::Permissions::from_mode(mode)).expect("set");
        }
        // Each its own time, before and after 1970 and beyond 2038; the innermost first.
        let days = |days: i64, nanos: u64| {
            let span = Duration::from_secs(86_400 * days.unsigned_abs()) + Duration::from_nanos(nanos);
            if days < 0 { SystemTime::UNIX_EPOCH - span } else { SystemTime::UNIX_EPOCH + span }
        };
        let times = [
            ("one/suid", days(-3_000, 1)),
            ("one/disk", days(30_000, 999_999_999)),
            ("one/a", days(11_000, 1)),
            ("one", days(12_000, 123_456_789)),
            ("two/inner/deep/page", days(1, 5)),
            ("two/inner/deep", days(2, 6)),
            ("two/inner", days(3, 7)),
            ("two", days(4, 8)),
            ("three/alone", days(5, 9)),
            ("three", days(6, 10)),
            ("", days(7, 11)),
        ];
        for (below, time) in times {
            fs::File::open(at(below)).and_then(|file| file.set_modified(time)).expect("set");
        }
        let paths = ["one/a/b", "one", "two/inner", "three/alone"].map(at).to_vec();
        Trees { top, paths }
    }

    /// Says where a copy below `to` differs: owners, modes, times, attributes, links, contents, of the
    /// folders above the paths too.
    fn same_below(&self, to: &Path) {
        let (is, was) = (tree(&to.join(self.top.strip_prefix("/").expect("absolute"))), tree(&self.top));
        assert_eq!(is.keys().collect::<Vec<_>>(), was.keys().collect::<Vec<_>>());
        for (path, was) in &was {
            assert_eq!(&is[path], was, "{path:?} differs");
        }
    }
}

/// Opens the fixture's repository for these paths.
fn with_paths(fixture: Fixture, paths: &[PathBuf]) -> Fixture {
    let config = json!({ "paths": paths });
    let config = registry::check_config("files", config.as_object().expect("a table"), fixture.folder.path());
    Fixture { config: Arc::new(config.expect("good config")), ..fixture }
}

async fn restore(fixture: &Fixture, snapshot: &Snapshot, to: &Path) {
    let order = RestoreOrder { target: target(snapshot), to: to.to_path_buf(), include: vec![], overwrite: false };
    fixture.driver.restore(&order, &call()).await.expect("restored");
}

#[tokio::test]
async fn restic_reads_checks_and_restores_what_we_wrote() {
    if !restic_is_here("what restic makes of our repositories") {
        return;
    }
    let fixture = files();
    let trees = Trees::make(fixture.folder.path());
    let fixture = with_paths(fixture, &trees.paths);
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    assert_eq!(made.status, Status::Good);

    let listed = restic(&fixture, &["snapshots"]);
    for expected in [&made.id, "snapkeep_name=a-1", "sm_policy=wiki", "note=a%2Cb%3Dc"] {
        let expected = expected.replace("%3D", "=");
        assert!(listed.contains(&expected), "{expected} is not in {listed}");
    }
    assert!(!listed.contains("snapkeep_provisional"), "{listed}");
    restic(&fixture, &["check", "--read-data"]);
    let to = fixture.folder.path().join("back");
    restic(&fixture, &["restore", &made.id, "--target", to.to_str().expect("UTF-8")]);
    trees.same_below(&to);
    let ours = fixture.folder.path().join("ours");
    restore(&fixture, &made, &ours).await;
    trees.same_below(&ours);

    // And the other way: what restic adds is listed as somebody else's, and is left alone.
    let source = fixture.source();
    restic(&fixture, &["backup", source.to_str().expect("UTF-8"), "--tag", "weekly"]);
    let all = list(&fixture).await;
    assert_eq!(all.len(), 2);
    let foreign = all.values().find(|snapshot| snapshot.id != made.id).expect("restic's");
    assert_eq!(foreign.labels.keys().collect::<Vec<_>>(), ["weekly"]);
    fixture.driver.delete(&target(&made), &call()).await.expect("deleted");
    restic(&fixture, &["check", "--read-data"]);
    // Its identity may still be named as a parent.
    assert_eq!(restic_ids(&fixture), [foreign.id.as_str()]);

    // While restic holds a lock we wait: it may be pruning.
    fs::write(fixture.repository().join("locks").join("0".repeat(64)), "").expect("written");
    match fixture.driver.create(&order(&fixture, "b-1"), &call()).await {
        Err(fault) => assert_eq!(fault.kind, FaultKind::Busy, "{fault:?}"),
        Ok(Created::Ended(_) | Created::Accepted) => panic!("restic was at work"),
    }
}

#[tokio::test]
async fn what_restic_wrote_is_listed_and_restored_and_added_to() {
    if !restic_is_here("what we make of restic's repositories") {
        return;
    }
    for version in ["1", "2"] {
        let fixture = files();
        let trees = Trees::make(fixture.folder.path());
        let fixture = with_paths(fixture, &trees.paths);
        // As people write a password file: restic takes the blanks around it away, and so do we.
        let key = fixture.folder.path().join("repository.key");
        fs::write(&key, "  correct horse battery staple \r\n").expect("written");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
        restic(&fixture, &["init", "--repository-version", version]);
        let mut backup = vec!["backup", "--tag", "weekly"];
        backup.extend(trees.paths.iter().map(|path| path.to_str().expect("UTF-8")));
        restic(&fixture, &backup);

        let all = list(&fixture).await;
        let [foreign] = all.values().collect::<Vec<_>>()[..] else { panic!("{all:?}") };
        assert_eq!((foreign.name.as_str(), foreign.status), (&foreign.id[..8], Status::Good), "{foreign:?}");
        assert!(foreign.taken_at.is_some() && foreign.labels.contains_key("weekly"), "{foreign:?}");
        let to = fixture.folder.path().join("back");
        restore(&fixture, foreign, &to).await;
        trees.same_below(&to);

        let made = create(&fixture, "a-1").await.expect("made");
        let message = made.message.unwrap_or_default();
        assert!(!message.contains("a new repository"), "{message}");
        assert_eq!(list(&fixture).await.len(), 2);
        restic(&fixture, &["check", "--read-data"]);
        let ours = fixture.folder.path().join("ours");
        restic(&fixture, &["restore", &made.snapshot.id, "--target", ours.to_str().expect("UTF-8")]);
        trees.same_below(&ours);
        // What we delete of ours leaves restic's whole.
        fixture.driver.delete(&target(&made.snapshot), &call()).await.expect("deleted");
        restic(&fixture, &["check", "--read-data"]);

        from_the_command_line(&fixture, &trees, &foreign.name);
    }
}

/// Lists and restores restic's snapshot as a person would, without a daemon.
fn from_the_command_line(fixture: &Fixture, trees: &Trees, name: &str) {
    let folder = fixture.folder.path();
    fs::create_dir_all(folder.join("repositories.d")).expect("made");
    fs::write(folder.join("snapkeep.toml"), "").expect("written");
    fs::write(folder.join("repositories.d/local.toml"), "driver = \"files\"\npath = \"repository\"\n")
        .expect("written");
    let snapkeep = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapkeep"));
        let output = command.arg("--config").arg(folder.join("snapkeep.toml")).args(words).output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {said}");
        said
    };
    let listed = snapkeep(&["snapshots", "--repository", "local"]);
    assert!(listed.contains(name) && listed.contains("good"), "{listed}");
    let to = folder.join("by hand");
    snapkeep(&["restore", name, "--to", to.to_str().expect("UTF-8")]);
    trees.same_below(&to);
}
