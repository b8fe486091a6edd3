//! The repository's key: where it is, and how the first one is made.
//!
//! A key that we make begins its life as `PATH.key.new`, and gets its name when the repository it
//! opens is complete. So after any crash the files tell how far we were, and a key with its proper
//! name whose repository is not there means that something is missing — a disk that is not mounted —
//! and not that a second repository should be begun.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::lifecycle::workflow::Fault;

use super::Place;

/// 256 bits: as strong as the cipher it opens.
const KEY_BYTES: usize = 32;
/// A password is a line; nothing longer was meant to be one.
const FILE_BYTES_MAX: u64 = 4096;

/// A key as text. Its `Debug` shows nothing of it.
pub struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Returns the text that opens the repository.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Where the key is: named by the operator, or beside the repository.
pub fn path(place: &Place) -> PathBuf {
    place.key_file.clone().unwrap_or_else(|| place.beside(".key"))
}

/// Where a key waits until its repository is complete.
pub fn path_new(place: &Place) -> PathBuf {
    place.beside(".key.new")
}

/// What a named key has instead of a name given last: a file that says that its repository was begun.
fn path_begun(place: &Place) -> PathBuf {
    place.beside(".begun")
}

/// Whether a repository with this named key was begun before.
pub fn was_begun(place: &Place) -> std::io::Result<bool> {
    path_begun(place).try_exists()
}

/// Remembers that the repository with this named key is complete.
pub fn remember_begun(place: &Place) -> Result<(), Fault> {
    let path = path_begun(place);
    File::create(&path)
        .and_then(|file| file.sync_all())
        .and_then(|()| sync_parent(&path))
        .map_err(|error| Fault::permanent(format!("file {} cannot be made: {error}", path.display())))
}

/// Reads a key file: its first line.
pub fn read(path: &Path) -> Result<Key, Fault> {
    let failed = |what: String| Fault::permanent(format!("key file {} {what}", path.display()));
    let file = File::open(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let metadata = file.metadata().map_err(|error| failed(format!("cannot be read: {error}")))?;
    if metadata.mode() & 0o007 != 0 {
        return Err(failed("is open to everybody: take their rights away with chmod o=".to_owned()));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(format!("cannot be read: {error}")))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Key(line.to_owned())),
        Some(_) | None => Err(failed("is empty".to_owned())),
    }
}

/// Makes a new key in the waiting place, durably.
pub fn make(place: &Place) -> Result<Key, Fault> {
    let path = path_new(place);
    let failed =
        |error: std::io::Error| Fault::permanent(format!("key file {} cannot be made: {error}", path.display()));
    let mut random = [0; KEY_BYTES];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).map_err(failed)?;
    let text = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    sync_parent(&path).map_err(failed)?;
    Ok(Key(text))
}

/// Gives a new key its name, now that its repository is complete. Only under the lock, and only when
/// no key has that name: it would be replaced.
pub fn name_it(place: &Place) -> Result<(), Fault> {
    let (from, to) = (path_new(place), path(place));
    fs::rename(&from, &to)
        .and_then(|()| sync_parent(&to))
        .map_err(|error| Fault::permanent(format!("key file {} cannot be made: {error}", to.display())))
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
