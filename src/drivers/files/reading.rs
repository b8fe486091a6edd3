//! One file as it is read: as long as it was when its directory was listed, whatever happens to it.
//!
//! What is stored of a file besides its content was looked at before. So a file that grows is read up to
//! where it ended then, as if a moment earlier; one that is cut short ends in zeros and is counted as not
//! read, so that what is stored fits together and no length lies. One that holds more than its length says
//! is counted as not read too. What took its place is not read: a
//! link or a pipe leads elsewhere or nowhere, and another file has an owner and a mode of its own.

use std::fs::{File, Metadata as FileMetadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use rustic_core::repofile::Metadata;
use rustic_core::{ErrorKind as Related, ReadSourceOpen, RusticError, RusticResult};
use rustix::fs::OFlags;

use super::present::Directory;
use super::source::Troubles;

/// A file that is going to be read.
pub struct Watched {
    path: PathBuf,
    was: Was,
    held_by: Option<Arc<Directory>>,
    troubles: Troubles,
}

/// A file as it was when its directory was listed.
#[derive(Clone, Copy)]
struct Was {
    size: u64,
    inode: u64,
    modified: Option<jiff::Timestamp>,
}

impl Was {
    fn looks_like(&self, metadata: &FileMetadata) -> bool {
        let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        metadata.len() == self.size && modified == self.modified
    }
}

impl Watched {
    /// Returns the file at `path`, which has been looked at, as has the directory that holds it.
    pub fn new(path: PathBuf, meta: &Metadata, held_by: Option<Arc<Directory>>, troubles: Troubles) -> Watched {
        let was = Was { size: meta.size, inode: meta.inode, modified: meta.mtime };
        Watched { path, was, held_by, troubles }
    }

    fn failed(&self, error: &io::Error) {
        self.troubles.error(Some(&self.path), &error.to_string(), self.held_by.as_deref());
    }

    fn file(&self) -> io::Result<File> {
        let open = |flags: OFlags| {
            OpenOptions::new().read(true).custom_flags((flags | OFlags::NOFOLLOW).bits().cast_signed()).open(&self.path)
        };
        // A pipe that has come here would be waited for.
        let file = match open(OFlags::NONBLOCK) {
            // Somebody is asked to let go of the file; only files are held like that.
            Err(error) if error.kind() == ErrorKind::WouldBlock => open(OFlags::empty())?,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(io::Error::other("a link has taken its place"));
            }
            file => file?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("something that is no file has taken its place"));
        }
        // Some file systems number a file anew each time; then all the rest is as it was.
        if metadata.ino() != self.was.inode && !self.was.looks_like(&metadata) {
            return Err(io::Error::other("another file has taken its place"));
        }
        Ok(file)
    }
}

impl ReadSourceOpen for Watched {
    type Reader = WatchedReader;

    fn open(self) -> RusticResult<WatchedReader> {
        let file = self.file().map_err(|error| {
            self.failed(&error);
            RusticError::with_source(Related::InputOutput, "a file cannot be opened", error)
        })?;
        let left = self.was.size;
        Ok(WatchedReader { file, watched: self, left, state: State::Sound })
    }
}

/// A file being read.
pub struct WatchedReader {
    file: File,
    watched: Watched,
    /// How much of it is still to be read.
    left: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    /// It ended too early, and zeros are read.
    Cut,
    Failed,
}

impl Read for WatchedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..wanted];
        let count = match self.file.read(buffer) {
            Ok(0) if wanted > 0 => {
                if self.state == State::Sound {
                    self.state = State::Cut;
                    let path = self.watched.path.display();
                    self.watched.troubles.unread(format!("{path}: it was cut short, and ends in {} zeros", self.left));
                }
                buffer.fill(0);
                wanted
            }
            Ok(count) => count,
            Err(error) => {
                if error.kind() != ErrorKind::Interrupted && self.state != State::Failed {
                    self.state = State::Failed;
                    self.watched.failed(&error);
                }
                return Err(error);
            }
        };
        self.left -= count as u64;
        Ok(count)
    }
}

impl Drop for WatchedReader {
    fn drop(&mut self) {
        if self.state != State::Sound {
            return;
        }
        // Some file systems tell no length, or one that is made up. Asked in this order, a file that grew
        // tells of it.
        let has_more = self.left == 0 && self.file.read_exact(&mut [0]).is_ok();
        let metadata = self.file.metadata();
        let was = self.watched.was;
        if has_more && metadata.as_ref().is_ok_and(|metadata| metadata.len() == was.size) {
            let path = self.watched.path.display();
            self.watched.troubles.unread(format!("{path}: it holds more than the {} bytes that it says", was.size));
        } else if !metadata.is_ok_and(|metadata| was.looks_like(&metadata)) {
            self.watched.troubles.changed(&self.watched.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Reads a file that was `size` long when its directory was listed. Returns what is stored of it, how
    /// many could not be read, and how many changed.
    fn read(path: &std::path::Path, size: u64, meanwhile: impl FnOnce()) -> (Option<Vec<u8>>, u64, u64) {
        let metadata = fs::symlink_metadata(path).expect("there");
        let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        let (troubles, was) = (Troubles::default(), Was { size, inode: metadata.ino(), modified });
        meanwhile();
        let watched = Watched { path: path.to_path_buf(), was, held_by: None, troubles: troubles.clone() };
        let stored = watched.open().ok().map(|mut reader| {
            let mut stored = Vec::new();
            reader.read_to_end(&mut stored).expect("read");
            stored
        });
        let counts = troubles.counts();
        (stored, counts.unread, counts.changed)
    }

    #[test]
    fn what_is_stored_is_as_long_as_it_is_said_to_be() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("log");
        fs::write(&path, "a line\n").expect("written");
        assert_eq!(read(&path, 7, || {}), (Some(b"a line\n".to_vec()), 0, 0));
        let grows = || fs::write(&path, "a line\nand another\n").expect("written");
        assert_eq!(read(&path, 7, grows), (Some(b"a line\n".to_vec()), 0, 1));
        let shrinks = || fs::write(&path, "a l").expect("written");
        assert_eq!(read(&path, 19, shrinks), (Some([b"a l".as_slice(), &[0; 16]].concat()), 1, 0));
    }

    #[test]
    fn a_file_that_holds_more_than_it_says_is_not_read() {
        let path = std::path::Path::new("/proc/self/status");
        if !path.exists() {
            eprintln!("NOT TESTED: a file that tells no length, because there is no /proc");
            return;
        }
        assert_eq!(read(path, 0, || {}), (Some(Vec::new()), 1, 0));
        // One that is empty, and one that was and grew, are as they were listed.
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("log");
        fs::write(&path, "").expect("written");
        assert_eq!(read(&path, 0, || {}), (Some(Vec::new()), 0, 0));
        assert_eq!(read(&path, 0, || fs::write(&path, "a line").expect("written")), (Some(Vec::new()), 0, 1));
    }

    #[test]
    fn what_took_a_files_place_is_not_read() {
        let folder = tempfile::tempdir().expect("a directory");
        let (path, other) = (folder.path().join("page"), folder.path().join("other"));
        let begin = || {
            let _ = fs::remove_file(&path);
            fs::write(&path, "words").expect("written");
            fs::write(&other, "other words").expect("written");
        };
        begin();
        assert_eq!(read(&path, 5, || fs::rename(&other, &path).expect("moved")), (None, 1, 0));
        begin();
        let link = || {
            fs::remove_file(&path).expect("removed");
            std::os::unix::fs::symlink(&other, &path).expect("linked");
        };
        assert_eq!(read(&path, 5, link), (None, 1, 0));
        begin();
        let pipe = || {
            fs::remove_file(&path).expect("removed");
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("made");
        };
        assert_eq!(read(&path, 5, pipe), (None, 1, 0));
    }
}
