//! Copies of the journal, made while it is in use, and the way back from one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::check::{self, Depth};
use super::error::{ErrorKind, JournalError, OpenError};
use super::lock::{self, Lock};
use super::migrate::{self, MIGRATIONS};
use super::{FILE, open};
use crate::lifecycle::time::Timestamp;

/// Where copies are kept in a state directory.
const FOLDER: &str = "backups";
/// What a copy's name begins with; its time in UTC follows, so that names sort by age.
const PREFIX: &str = "journal-";
/// What a copy's name ends with.
const SUFFIX: &str = ".db";
/// A week of daily copies: long enough to notice, short enough to forget.
const KEPT: usize = 7;

/// Copies the journal of a state directory into its `backups`, checks the copy, and deletes copies
/// beyond the last seven. Returns the copy's path. Works beside a running daemon and delays no
/// commit; no copy is deleted before the new one has been read back. What root copies belongs to whoever owns the state
/// directory.
pub fn backup(state_directory: &Path, now: Timestamp) -> Result<PathBuf, OpenError> {
    let connection = open::reader(&state_directory.join(FILE))?;
    let folder = folder(state_directory)?;
    let path = folder.join(format!("{PREFIX}{}{SUFFIX}", now.compact()));
    copy(&connection, &path)?;
    let kept = backups(state_directory)?;
    for old in kept.iter().take(kept.len().saturating_sub(KEPT)) {
        // A step back of the clock must not make the newest copy look like the oldest.
        if *old != path {
            fs::remove_file(old).map_err(|error| JournalError::file("remove", old, error))?;
        }
    }
    give_to_owner(state_directory, &[&folder, &path])?;
    Ok(path)
}

/// Returns the copies in a state directory, oldest first.
pub fn backups(state_directory: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let folder = state_directory.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::file("read", &folder, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| JournalError::file("read", &folder, error))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Puts a copy in the place of the journal, while no daemon runs. Returns where the journal that
/// was there has been put, if there was one; it is kept. Of the copy only one thing is
/// changed: it is marked, so that every repository is looked at before anything is deleted (G15). What root
/// puts there belongs to whoever owns the state directory.
pub fn restore(state_directory: &Path, file: &Path, now: Timestamp) -> Result<Option<PathBuf>, OpenError> {
    open::directory(state_directory)?;
    let mut lock = Lock::take(state_directory)?;
    // A copy of the copy: it may be somebody's live file, or lie on another disk.
    let fresh = state_directory.join(format!("{FILE}.restoring"));
    let source = open::reader(file)?;
    if migrate::schema(&source, MIGRATIONS)? == 0 {
        return Err(OpenError::Corrupt(format!("{} holds no journal", file.display())));
    }
    check::refuse_damaged(&source, Depth::Whole)?;
    copy(&source, &fresh)?;
    drop(source);
    forget_program(&fresh)?;

    let current = state_directory.join(FILE);
    let aside = folder(state_directory)?.join(format!("replaced-{}{SUFFIX}", now.compact()));
    let mut kept = None;
    // The log first: a file without its log is older, a log without its file is nothing.
    for ending in ["-wal", "-shm", ""] {
        let (from, to) = (with_ending(&current, ending), with_ending(&aside, ending));
        match fs::rename(&from, &to) {
            Ok(()) if ending.is_empty() => kept = Some(to),
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::file("put aside", &from, error).into()),
        }
    }
    give_to_owner(state_directory, &[&fresh, &state_directory.join(FOLDER), &state_directory.join(lock::NAME)])?;
    fs::rename(&fresh, &current).map_err(|error| JournalError::file("put in place", &current, error))?;
    open::sync_directory(state_directory)?;
    lock.remember_journal()?;
    Ok(kept)
}

/// Copies a journal before its schema is changed. One copy for each schema, however often the
/// change is begun.
pub(super) fn before_migration(
    connection: &Connection,
    state_directory: &Path,
    schema: u32,
) -> Result<PathBuf, OpenError> {
    let path = folder(state_directory)?.join(format!("schema-{schema:04}{SUFFIX}"));
    copy(connection, &path)?;
    Ok(path)
}

/// Lets the next program take itself for another one than the one that wrote this journal: what happened since
/// the copy was made is not in it (G15).
fn forget_program(file: &Path) -> Result<(), OpenError> {
    /// The schema that knows which program wrote.
    const KNOWS: u32 = 4;
    /// The schema that numbers the writes to policies: what is written next gets numbers that were given
    /// before, so callers have to see that they are others.
    const NUMBERS: u32 = 6;
    let connection = Connection::open(file).map_err(JournalError::from)?;
    let schema = migrate::schema(&connection, MIGRATIONS)?;
    if schema >= KNOWS {
        connection.execute("update instance set version = ''", []).map_err(JournalError::from)?;
    }
    if schema >= NUMBERS {
        let sql = "update instance set primary_term = primary_term + 1";
        connection.execute(sql, []).map_err(JournalError::from)?;
    }
    Ok(())
}

/// Writes a copy that is whole, checked and durable, or none.
fn copy(connection: &Connection, to: &Path) -> Result<(), OpenError> {
    let part = with_ending(to, ".part");
    let written = write(connection, &part).and_then(|()| {
        fs::rename(&part, to).map_err(|error| JournalError::file("put in place", to, error))?;
        Ok(open::sync_directory(to.parent().unwrap_or(Path::new(".")))?)
    });
    if written.is_err() {
        // What is left of it is of no use; the error that matters is the first.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write(connection: &Connection, part: &Path) -> Result<(), OpenError> {
    // What an earlier one left goes, and a link that somebody put there is not followed.
    match fs::remove_file(part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(JournalError::file("remove", part, error).into());
        }
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part)
        .map_err(|error| JournalError::file("open", part, error))?;
    let Some(name) = part.to_str() else {
        let text = format!("{} is not a name SQLite can take", part.display());
        return Err(JournalError::new(ErrorKind::Other, text).into());
    };
    connection.execute("vacuum into ?1", [name]).map_err(JournalError::from)?;
    file.sync_all().map_err(|error| JournalError::file("sync", part, error))?;
    drop(file);
    let copy = open::file_for_reading(part)?;
    check::refuse_damaged(&copy, Depth::Quick)
}

fn folder(state_directory: &Path) -> Result<PathBuf, JournalError> {
    let folder = state_directory.join(FOLDER);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| JournalError::file("make", &folder, error))?;
    Ok(folder)
}

/// Gives what root made to whoever owns the state directory: a daemon that is a user of its own could not read it.
fn give_to_owner(state_directory: &Path, made: &[&Path]) -> Result<(), JournalError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = |path: &Path| -> Result<(u32, u32), std::io::Error> {
        let metadata = fs::symlink_metadata(path)?;
        Ok((metadata.uid(), metadata.gid()))
    };
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| JournalError::file("give to its owner", &path, error)
    };
    let (user, group) = owner(state_directory).map_err(failed(state_directory))?;
    for path in made {
        if owner(path).map_err(failed(path))? != (user, group) {
            lchown(path, Some(user), Some(group)).map_err(failed(path))?;
        }
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
