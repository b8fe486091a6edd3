//! One writer at a time: our own lock, because the library takes none.
//!
//! It is a record lock on a file beside the repository. The kernel drops it with the process, however
//! that ends, and lets others see who holds it without disturbing them. The file says what its holder
//! does, so that another process can tell that a snapshot is being made.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use crate::lifecycle::workflow::Fault;

use super::Place;
use super::repository::system_fault;

/// What follows the repository's path.
pub const SUFFIX: &str = ".lock";
/// A verb and a name; anything longer was not written by us.
const TEXT_BYTES_MAX: u64 = 512;
/// The verb of which others want to know whether it goes on.
pub const MAKING: &str = "create";

/// The lock, held until the process ends or this is dropped.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock, or says who has it.
    pub fn take(place: &Place, verb: &str, name: &str) -> Result<Lock, Fault> {
        let path = place.beside(SUFFIX);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|error| system_fault(format!("lock {} cannot be opened: {error}", path.display()), &error))?;
        if let Err(error) = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            return Err(match error {
                rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS => {
                    let holder = read(&mut file);
                    let holder = if holder.is_empty() { "another operation".to_owned() } else { holder };
                    Fault::busy(format!("repository {} is at work: {holder}", place.path.display()))
                }
                error => Fault::transient(format!("lock {} cannot be taken: {error}", path.display())),
            });
        }
        let lock = Lock(file);
        match lock.say(&format!("{verb} {name}\n")) {
            // Only what is being made is asked for; a full disk must not keep anything from being deleted.
            Err(error) if verb == MAKING => {
                Err(system_fault(format!("lock {} cannot be written: {error}", path.display()), &error))
            }
            Ok(()) | Err(_) => Ok(lock),
        }
    }

    /// The lock file: its time is the file system's own idea of now.
    pub fn file(&self) -> &File {
        &self.0
    }

    fn say(&self, text: &str) -> std::io::Result<()> {
        self.0.set_len(0)?;
        (&self.0).write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What is left behind by a process that was killed does no harm: it counts only while the lock is held.
        let _ = self.0.set_len(0);
    }
}

/// Whether some process is making the snapshot `name` at this moment.
pub fn is_making(place: &Place, name: &str) -> Result<bool, Fault> {
    let path = place.beside(SUFFIX);
    let failed = |error: std::io::Error| Fault::transient(format!("lock {} cannot be read: {error}", path.display()));
    let mut file = match File::open(Path::new(&path)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let holder = fcntl_getlk(&file, &Flock::from(FlockType::ReadLock)).map_err(|error| failed(error.into()))?;
    Ok(holder.is_some() && read(&mut file) == format!("{MAKING} {name}"))
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    // An unreadable text names nobody.
    let _ = file.take(TEXT_BYTES_MAX).read_to_string(&mut text);
    text.trim().to_owned()
}
