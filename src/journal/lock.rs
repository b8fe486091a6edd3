//! One daemon per state directory.
//!
//! The lock file also remembers that a journal was made here, so that a journal that has vanished
//! is not answered with an empty one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::error::{JournalError, OpenError};

/// The lock's file in a state directory.
pub(super) const NAME: &str = "lock";
/// The line that says that a journal was made here.
const HAS_JOURNAL: &str = "journal";
/// A process number and one word; whatever is longer is not ours.
const TEXT_BYTES_MAX: u64 = 256;

/// A state directory that is ours. The kernel gives the lock back when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    has_journal: bool,
}

/// A process that was just started by somebody who had the lock holds it too, until it becomes
/// another program: some milliseconds, on a busy machine some more.
const TRIES: u32 = 20;
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(25);

impl Lock {
    /// Takes the state directory for this process, or says who has it.
    pub fn take(state_directory: &Path) -> Result<Lock, OpenError> {
        let path = state_directory.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| JournalError::file("open", &path, error))?;
        let mut lock = Lock { file, path, has_journal: false };
        let mut taken = rustix::fs::flock(&lock.file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..TRIES {
            if taken != Err(Errno::WOULDBLOCK) {
                break;
            }
            std::thread::park_timeout(TRY_EVERY);
            taken = rustix::fs::flock(&lock.file, FlockOperation::NonBlockingLockExclusive);
        }
        match taken {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let text = lock.text().unwrap_or_default();
                let process = text.lines().next().map(str::trim).filter(|line| line.parse::<u32>().is_ok());
                let process = process.map_or_else(String::new, |process| format!(", process {process}"));
                return Err(OpenError::Locked(format!("{}{process}", state_directory.display())));
            }
            Err(error) => return Err(JournalError::file("lock", &lock.path, error.into()).into()),
        }
        lock.has_journal = lock.text()?.lines().any(|line| line == HAS_JOURNAL);
        lock.write()?;
        Ok(lock)
    }

    /// Whether a journal was made in this directory before.
    pub(super) fn has_journal(&self) -> bool {
        self.has_journal
    }

    /// Remembers that a journal was made here. Call it once the journal is durable: a process that
    /// ends in between must find an unfinished beginning, not a loss.
    pub(super) fn remember_journal(&mut self) -> Result<(), JournalError> {
        if self.has_journal {
            return Ok(());
        }
        self.has_journal = true;
        self.write()?;
        self.file.sync_all().map_err(|error| JournalError::file("sync", &self.path, error))
    }

    fn text(&mut self) -> Result<String, JournalError> {
        let mut text = Vec::new();
        let read = self.file.rewind().and_then(|()| (&self.file).take(TEXT_BYTES_MAX).read_to_end(&mut text));
        read.map_err(|error| JournalError::file("read", &self.path, error))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes the process number over the old one. The text never gets shorter than the line about
    /// the journal, so a crash cannot lose that line.
    fn write(&mut self) -> Result<(), JournalError> {
        let mark = if self.has_journal { HAS_JOURNAL } else { "" };
        let text = format!("{:<10}\n{mark}\n", std::process::id());
        let written = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(text.as_bytes()))
            .and_then(|()| self.file.set_len(text.len() as u64));
        match written {
            Ok(()) => Ok(()),
            // The file has its length already where a journal is; the number is only for messages.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull && self.has_journal => Ok(()),
            Err(error) => Err(JournalError::file("write", &self.path, error)),
        }
    }
}
