//! Whether what is read is still there: the paths that were asked for, and the file systems below them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::Troubles;

/// What tells a file or a directory from every other: device and inode.
pub type Identity = (u64, u64);

/// Returns what is at this path, no link followed.
pub fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The roots, as they were when a snapshot was begun.
pub struct Began(Vec<(PathBuf, Was)>);

enum Was {
    File,
    Directory(Identity),
    /// It could not be looked at, though it had just been found.
    Unknown,
}

impl Began {
    /// Remembers what is there. Only what happens after this is noticed.
    pub fn with(roots: &[PathBuf]) -> Began {
        let was = |root: &PathBuf| match fs::symlink_metadata(root) {
            Ok(metadata) if metadata.is_dir() => Was::Directory((metadata.dev(), metadata.ino())),
            Ok(_) => Was::File,
            Err(_) => Was::Unknown,
        };
        Began(roots.iter().map(|root| (root.clone(), was(root))).collect())
    }

    /// Counts those that are not there any more. A file that vanishes below a root was deleted, and a
    /// snapshot taken a moment later would be whole without it; a path that was asked for is missed.
    pub fn compare(&self, troubles: &Troubles) {
        for (root, was) in &self.0 {
            match (identity(root), was) {
                (Ok(is), Was::Directory(was)) if is == *was => {}
                // Who changes a file often writes another and gives it its name.
                (Ok(_), Was::File) => {}
                (Ok(_), _) => {
                    troubles.unread(format!("{}: another has taken its place while it was read", root.display()));
                }
                // A file that is there was read, or counted when it could not be.
                (Err(error), Was::File) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                (Err(error), _) => {
                    troubles.unread(format!("{}: it was lost while it was read: {error}", root.display()));
                }
            }
        }
    }
}

/// A directory, and the file system it was in when it was listed.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    device: u64,
}

impl Directory {
    fn at(path: &Path) -> Option<Directory> {
        let (device, _) = identity(path).ok()?;
        Some(Directory { path: path.to_path_buf(), device })
    }

    /// Whether its file system is still where it was. The directory itself may have been deleted; then
    /// what is nearest above it tells.
    pub fn has_its_file_system(&self) -> bool {
        let is_gone = |error: &io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        let nearest = self.path.ancestors().map(identity).find(|found| !found.as_ref().is_err_and(is_gone));
        matches!(nearest, Some(Ok((device, _))) if device == self.device)
    }
}

/// The directories that a walk is in, the innermost last.
#[derive(Default)]
pub struct Within(Vec<Arc<Directory>>);

impl Within {
    /// Returns the directory that holds this entry, which is where the walk is now.
    pub fn holder(&mut self, path: &Path, is_dir: bool) -> Option<Arc<Directory>> {
        while self.0.last().is_some_and(|directory| !path.starts_with(&directory.path)) {
            self.0.pop();
        }
        let holder = self.0.last().cloned().or_else(|| Some(Arc::new(Directory::at(path.parent()?)?)));
        if is_dir {
            self.0.extend(Directory::at(path).map(Arc::new));
        }
        holder
    }

    pub fn innermost(&self) -> Option<&Directory> {
        self.0.last().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Directory {
        /// Returns the directory as if it had been listed in this device.
        pub fn in_device(path: &Path, device: u64) -> Directory {
            Directory { path: path.to_path_buf(), device }
        }
    }

    #[test]
    fn a_root_that_is_lost_is_missed() {
        let folder = tempfile::tempdir().expect("a directory");
        let roots =
            ["kept", "lost", "replaced", "file", "saved-anew", "deleted", "early"].map(|name| folder.path().join(name));
        let [kept, lost, replaced, file, saved_anew, deleted, early] = &roots;
        for directory in [kept, lost, replaced] {
            fs::create_dir(directory).expect("made");
        }
        for file in [file, saved_anew, deleted] {
            fs::write(file, "words").expect("written");
        }
        // The last is gone before it can be looked at.
        let began = Began::with(&roots);
        let other = folder.path().join("other");
        fs::remove_dir(lost).expect("removed");
        fs::create_dir(&other).expect("made");
        fs::rename(&other, replaced).expect("moved");
        fs::write(&other, "other words").expect("written");
        fs::rename(&other, saved_anew).expect("moved");
        fs::remove_file(deleted).expect("removed");
        let troubles = Troubles::default();
        began.compare(&troubles);
        let message = troubles.counts().message().expect("some are lost");
        assert_eq!(troubles.counts().unread, 4, "{message}");
        for path in [lost, deleted, early] {
            assert!(message.contains(&format!("{}: it was lost while it was read", path.display())), "{message}");
        }
        assert!(message.contains(&format!("{}: another has taken its place", replaced.display())), "{message}");
    }

    #[test]
    fn a_walk_knows_which_directory_holds_what_it_meets() {
        let folder = tempfile::tempdir().expect("a directory");
        let top = folder.path().to_path_buf();
        fs::create_dir_all(top.join("a/b")).expect("made");
        let mut within = Within::default();
        let mut holder =
            |name: &str, is_dir| within.holder(&top.join(name), is_dir).map(|held_by| held_by.path.clone());
        assert_eq!(holder("a", true), Some(top.clone()));
        assert_eq!(holder("a/b", true), Some(top.join("a")));
        assert_eq!(holder("a/b/page", false), Some(top.join("a/b")));
        assert_eq!(holder("a/page", false), Some(top.join("a")));
        assert_eq!(within.innermost().map(|directory| directory.path.clone()), Some(top.join("a")));
    }
}
