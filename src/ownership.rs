//! Reading what only trusted people can have written.
//!
//! Trusted are root and the daemon's own user. A file, its folder and every folder above it must
//! not be writable by anyone else; a sticky folder such as `/tmp` may stand above, for nobody can
//! replace there what is not theirs. A link passes when the link and its target both do.
//!
//! A file is opened once, checked by its descriptor and read whole through it, so what was checked
//! is what was read.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::lifecycle::time::Timestamp;

/// A policy of a hundred lines has 5 kB; what is larger than this is something else.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How long after a change a file may still be changed without its times telling: the clock behind
/// them ticks every few milliseconds, and an editor may empty a file before it fills it.
const UNSETTLED_MS: i64 = 2_000;

/// A change dated further ahead than this comes from a clock that was set back.
const AHEAD_MS: i64 = 60_000;

/// How often a file is read again because it changed under the reader.
const READS_MAX: u32 = 3;

/// How many links lead to a program at most: as many as the kernel follows.
const LINKS_MAX: u32 = 40;

/// Whose files are believed.
#[derive(Clone, Debug)]
pub struct Trust {
    users: Vec<u32>,
    /// Groups that hold nobody but a trusted user, as many systems make one for every user.
    groups: Vec<u32>,
}

/// Why a file or folder is not believed or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to do, when we know.
    pub hint: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), hint: None }
    }

    fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), hint: Some(hint.into()) }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        // The number adds nothing for a reader.
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        Refusal::new(format!("failed to read: {text}"))
    }
}

/// What tells that a file is as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i64,
    changed_ns: i64,
    /// When the link to it was made, where there is one.
    link_changed_ns: i64,
}

impl Stamp {
    /// Returns the stamp of a file, of a link's target together with the link.
    pub fn of(path: &Path) -> io::Result<Stamp> {
        let link = fs::symlink_metadata(path)?;
        if link.is_symlink() {
            Ok(Stamp { link_changed_ns: changed_ns(&link).max(1), ..Stamp::of_metadata(&fs::metadata(path)?) })
        } else {
            Ok(Stamp::of_metadata(&link))
        }
    }

    fn of_metadata(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            changed_ns: changed_ns(metadata),
            link_changed_ns: 0,
        }
    }

    /// Whether the file was changed so shortly before `now` that it may have changed again since,
    /// or may be about to.
    pub fn is_unsettled(&self, now: Timestamp) -> bool {
        let age_ms = now.millis() - self.changed_ns.max(self.link_changed_ns) / 1_000_000;
        (-AHEAD_MS..UNSETTLED_MS).contains(&age_ms)
    }
}

fn changed_ns(metadata: &Metadata) -> i64 {
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

/// A file that was read.
#[derive(Debug)]
pub struct Whole {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What it was like while it was read.
    pub stamp: Stamp,
    /// Whether it is a link to `/dev/null`, which masks a file by intent.
    pub is_null: bool,
}

impl Trust {
    /// Trusts root and the user this process runs as.
    pub fn of_this_process() -> Trust {
        let user = rustix::process::geteuid().as_raw();
        let private = |user| {
            let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            private_group(user, &accounts, &groups)
        };
        Trust { users: vec![0, user], groups: [0, user].into_iter().filter_map(private).collect() }
    }

    /// Root trusts the owner of a folder too, where it is there; nobody else trusts more than before. For what is
    /// only looked at: what root believes it may also do.
    #[must_use]
    pub fn with_owner_of(mut self, folder: &Path) -> Trust {
        let is_root = self.users.iter().all(|user| *user == 0);
        if let (true, Ok(metadata)) = (is_root, fs::metadata(folder)) {
            self.users.push(metadata.uid());
        }
        self
    }

    /// Trusts one user and nobody else, not even root.
    pub fn only(user: u32) -> Trust {
        Trust { users: vec![user], groups: Vec::new() }
    }

    fn owner(&self, what: &str, metadata: &Metadata) -> Result<(), Refusal> {
        if self.users.contains(&metadata.uid()) {
            return Ok(());
        }
        Err(Refusal::with_hint(
            format!("{what} belongs to user {}, who is neither root nor the daemon's own user", metadata.uid()),
            "whoever owns it can change what is snapshotted and deleted: chown it",
        ))
    }

    /// Whether somebody untrusted may write, and in what words.
    fn writers(&self, metadata: &Metadata) -> Option<&'static str> {
        let mode = metadata.mode();
        if mode & 0o002 != 0 {
            Some("everybody")
        } else if mode & 0o020 != 0 && !self.groups.contains(&metadata.gid()) {
            Some("its group")
        } else {
            None
        }
    }

    fn folder(&self, path: &Path, metadata: &Metadata, is_above: bool) -> Result<(), Refusal> {
        let what = format!("folder {}", path.display());
        self.owner(&what, metadata)?;
        let is_sticky = metadata.mode() & 0o1000 != 0;
        match self.writers(metadata) {
            Some(_) if is_above && is_sticky => Ok(()),
            None => Ok(()),
            Some(who) => Err(Refusal::with_hint(
                format!("{what} can be written by {who}"),
                format!("nothing in it is read before: chmod go-w {}", path.display()),
            )),
        }
    }

    /// Checks a folder and every folder above it, by the path as given and by where it leads.
    pub fn check_folder(&self, folder: &Path) -> Result<(), Refusal> {
        let given = std::path::absolute(folder)?;
        let real = fs::canonicalize(&given)?;
        for path in given.ancestors() {
            let metadata = fs::symlink_metadata(path)?;
            if metadata.is_symlink() {
                self.owner(&format!("link {}", path.display()), &metadata)?;
            } else {
                self.folder(path, &metadata, path != given)?;
            }
        }
        if real != given {
            for path in real.ancestors() {
                self.folder(path, &fs::symlink_metadata(path)?, path != real)?;
            }
        }
        Ok(())
    }

    /// Checks a program, and every folder and every link on the way to it, as the kernel goes it. Of one that is not
    /// there the way is checked as far as it goes: nobody else may put it there.
    pub fn check_program(&self, path: &Path) -> Result<(), Refusal> {
        let mut here = PathBuf::from("/");
        self.folder(&here, &fs::symlink_metadata(&here)?, true)?;
        let mut ahead = steps(path);
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            if step == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&step);
            let metadata = match fs::symlink_metadata(&next) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return self.holder(&here),
                Err(error) => return Err(error.into()),
            };
            if metadata.is_symlink() {
                self.owner(&format!("link {}", next.display()), &metadata)?;
                links += 1;
                if links > LINKS_MAX {
                    return Err(Refusal::new("leads through too many links"));
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                ahead.extend(steps(&target));
            } else if ahead.is_empty() {
                self.holder(&here)?;
                return self.program(&next, &metadata);
            } else {
                self.folder(&next, &metadata, true)?;
                here = next;
            }
        }
        Err(Refusal::new("is not a regular file"))
    }

    /// Checks the folder that a program is in, or would be.
    fn holder(&self, folder: &Path) -> Result<(), Refusal> {
        self.folder(folder, &fs::symlink_metadata(folder)?, false)
    }

    fn program(&self, path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
        if !metadata.is_file() {
            return Err(Refusal::new("is not a regular file"));
        }
        self.owner("program", metadata)?;
        if let Some(who) = self.writers(metadata) {
            let hint = format!("chmod go-w {}", path.display());
            return Err(Refusal::with_hint(format!("program can be written by {who}"), hint));
        }
        if metadata.mode() & 0o111 == 0 {
            let hint = format!("chmod +x {}", path.display());
            return Err(Refusal::with_hint("program cannot be executed", hint));
        }
        Ok(())
    }

    /// Reads a file whole, in a folder that was checked before.
    pub fn read(&self, path: &Path) -> Result<Whole, Refusal> {
        for _ in 0..READS_MAX {
            if let Some(whole) = self.read_once(path)? {
                return Ok(whole);
            }
        }
        Err(Refusal::with_hint("file keeps changing while it is read", "write it under another name and rename it"))
    }

    /// Returns `None` when the file changed meanwhile.
    fn read_once(&self, path: &Path) -> Result<Option<Whole>, Refusal> {
        let link = fs::symlink_metadata(path)?;
        let mut link_changed_ns = 0;
        let mut target = path.to_path_buf();
        if link.is_symlink() {
            self.owner("link", &link)?;
            link_changed_ns = changed_ns(&link).max(1);
            target = fs::canonicalize(path)?;
            if target == Path::new("/dev/null") {
                return Ok(Some(Whole { bytes: Vec::new(), stamp: Stamp::of(path)?, is_null: true }));
            }
            if let Some(folder) = target.parent() {
                self.check_folder(folder)?;
            }
        }
        // Without NONBLOCK the opening of a named pipe would wait for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let descriptor = rustix::fs::open(&target, flags, Mode::empty()).map_err(io::Error::from)?;
        let mut file = File::from(descriptor);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Refusal::new("is not a regular file"));
        }
        self.owner("file", &metadata)?;
        if let Some(who) = self.writers(&metadata) {
            let hint = format!("chmod go-w {}", target.display());
            return Err(Refusal::with_hint(format!("file can be written by {who}"), hint));
        }
        let mut bytes = Vec::new();
        (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Refusal::new(format!("file is larger than {} kB", FILE_BYTES_MAX / 1024)));
        }
        let before = Stamp { link_changed_ns, ..Stamp::of_metadata(&metadata) };
        let after = Stamp { link_changed_ns, ..Stamp::of_metadata(&file.metadata()?) };
        Ok((before == after).then_some(Whole { bytes, stamp: before, is_null: false }))
    }
}

/// Returns the names that a path goes through, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = |step: Component<'_>| matches!(step, Component::Normal(_) | Component::ParentDir);
    path.components().rev().filter(|step| named(*step)).map(|step| step.as_os_str().to_owned()).collect()
}

/// Returns the primary group of `user` if nobody else is in it.
fn private_group(user: u32, accounts: &str, groups: &str) -> Option<u32> {
    // name:password:user:group:…
    let account = |line: &str| -> Option<(String, u32, u32)> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_string();
        Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let accounts: Vec<_> = accounts.lines().filter_map(account).collect();
    let (name, _, group) = accounts.iter().find(|(_, id, _)| *id == user)?;
    let is_shared = accounts.iter().any(|(_, id, primary)| primary == group && *id != user);
    // name:password:group:member,member
    let members = groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let id: u32 = fields.get(2)?.parse().ok()?;
        (id == *group).then(|| fields.get(3).copied().unwrap_or_default().to_string())
    })?;
    let is_private = members.split(',').map(str::trim).all(|member| member.is_empty() || member == name);
    (!is_shared && is_private).then_some(*group)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_group_is_private_when_nobody_else_is_in_it() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:100::/:/bin/sh\n\
                        eve:x:1002:100::/:/bin/sh\ndan:x:1003:1003::/:/bin/sh\n";
        let groups = "root:x:0:\nann:x:1000:\nusers:x:100:\ndan:x:1003:dan,eve\n";
        let private = |user| private_group(user, accounts, groups);
        assert_eq!(private(0), Some(0));
        assert_eq!(private(1000), Some(1000));
        assert_eq!(private(1001), None, "two users have it as their own");
        assert_eq!(private(1003), None, "it has another member");
        assert_eq!(private(9), None, "nobody knows this user");
    }

    #[test]
    fn nobody_else_may_write_on_the_way_to_a_program() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("a path");
        let path = |name: &str| root.join(name);
        let allow = |name: &str, mode| fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("set");
        for name in ["a", "b", "c"] {
            fs::create_dir(path(name)).expect("made");
            allow(name, 0o755);
        }
        fs::write(path("c/program"), "#!/bin/sh\n").expect("written");
        allow("c/program", 0o755);
        symlink(path("b/link"), path("a/link")).expect("a link");
        symlink("../c/program", path("b/link")).expect("a link");
        symlink(path("b/way"), path("a/way")).expect("a link");
        symlink(path("c"), path("b/way")).expect("a link");
        symlink("loop", path("a/loop")).expect("a link");
        // No group is trusted, whatever this system's groups are.
        let trust = Trust { users: vec![0, rustix::process::geteuid().as_raw()], groups: Vec::new() };
        let told = |name: &str| trust.check_program(&path(name)).map_err(|refusal| refusal.message);
        let all = ["a/link", "a/way/program", "b/../c/program", "c/program"];
        let missing = ["c/later", "c/later/still", "a/way/later"];
        let is_refused = |name: &str, writable: &str, who: &str| {
            let message = told(name).expect_err(name);
            assert!(message.contains(writable) && message.ends_with(&format!("can be written by {who}")), "{message}");
        };
        for name in all.into_iter().chain(missing) {
            assert_eq!(told(name), Ok(()), "{name}");
        }
        for (mode, who) in [(0o775, "its group"), (0o757, "everybody")] {
            // The folder of the link between the others, then that of the program itself.
            allow("b", mode);
            for name in ["a/link", "a/way/program", "a/way/later"] {
                is_refused(name, "/b", who);
            }
            allow("b", 0o755);
            allow("c", mode);
            all.into_iter().chain(missing).for_each(|name| is_refused(name, "/c", who));
            allow("c", 0o755);
            allow("c/program", mode);
            all.into_iter().for_each(|name| is_refused(name, "program", who));
            allow("c/program", 0o755);
        }
        // Where everybody may put what is theirs, somebody could put it first.
        allow("c", 0o1777);
        is_refused("c/later", "/c", "everybody");
        is_refused("c/later/still", "/c", "everybody");
        allow("c", 0o755);
        assert_eq!(told("a/loop"), Err("leads through too many links".into()));
        assert_eq!(told("c"), Err("is not a regular file".into()));
        allow("c/program", 0o644);
        assert_eq!(told("a/link"), Err("program cannot be executed".into()));
        assert!(Trust::only(4_000_000_000).check_program(&path("c/program")).is_err());
    }

    #[test]
    fn a_file_is_settled_two_seconds_after_its_change() {
        let mut stamp =
            Stamp { device: 1, inode: 1, size: 0, modified_ns: 0, changed_ns: 10_000_000_000, link_changed_ns: 0 };
        let at = Timestamp::from_millis;
        assert!(stamp.is_unsettled(at(10_000)) && stamp.is_unsettled(at(11_999)) && stamp.is_unsettled(at(9_000)));
        assert!(!stamp.is_unsettled(at(12_000)));
        stamp.changed_ns = 1_000_000_000_000;
        assert!(!stamp.is_unsettled(at(10_000)), "a clock that was set back must not keep it unsettled for ever");
    }
}
