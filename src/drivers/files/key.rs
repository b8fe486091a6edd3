//! The repository's key: where it is, and how the first one is made.
//!
//! A key that we make begins its life as `PATH.key.new`, and gets its name when the repository it
//! opens is complete. So after any crash the files tell how far we were, and a key with its proper
//! name whose repository is not there means that something is missing — a disk that is not mounted —
//! and not that a second repository should be begun.
//!
//! A key that was named, as a file or as a systemd credential, is only read; but for a rotation, which
//! replaces a file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::lifecycle::hex::hex;
use crate::lifecycle::workflow::Fault;

use super::super::keys::Secret;
use super::repository::system_fault;
use super::{Place, repository};

/// 256 bits: as strong as the cipher it opens.
const KEY_BYTES: usize = 32;
/// A password is a line; nothing longer was meant to be one.
const FILE_BYTES_MAX: usize = 4096;

/// Where the key is: named by the operator, or beside the repository.
pub fn path(place: &Place) -> Result<PathBuf, Fault> {
    match (&place.key_file, &place.key_credential) {
        (Some(path), _) => Ok(path.clone()),
        (None, None) => Ok(place.beside(".key")),
        (None, Some(name)) => Err(Fault::permanent(format!(
            "credential {name} was not given to this process: {}; in a shell, set CREDENTIALS_DIRECTORY to a \
             directory that holds it, such as /run/credentials/snapkeep.service while the service runs",
            unit_line(name)
        ))),
    }
}

/// What to write where the credential is missing.
pub fn unit_line(name: &str) -> String {
    format!(
        "write LoadCredential={name}:FILE or LoadCredentialEncrypted={name}:FILE into [Service] of the daemon's unit \
         (systemctl edit snapkeep) and restart it"
    )
}

/// Whether the key is made by us, and nobody named one.
pub fn is_ours(place: &Place) -> bool {
    place.key_file.is_none() && place.key_credential.is_none()
}

/// Where a key waits until its repository is complete.
pub fn path_new(place: &Place) -> PathBuf {
    place.beside(".key.new")
}

/// What a named key has instead of a name given last: a file that says that its repository was begun.
fn path_begun(place: &Place) -> PathBuf {
    place.beside(".begun")
}

/// Where it is noted which key a person has been given.
fn path_saved(place: &Place) -> PathBuf {
    place.beside(".saved")
}

/// Whether a repository with this named key was begun before.
pub fn was_begun(place: &Place) -> io::Result<bool> {
    path_begun(place).try_exists()
}

/// Remembers that the repository with this named key is complete.
pub fn remember_begun(place: &Place) -> Result<(), Fault> {
    let path = path_begun(place);
    File::create(&path)
        .and_then(|file| file.sync_all())
        .and_then(|()| sync_parent(&path))
        .map_err(|error| system_fault(format!("file {} cannot be made: {error}", path.display()), &error))
}

/// Whether a person has been given a key that opens the repository. Where that cannot be told, no.
pub fn is_saved(place: &Place) -> bool {
    let id = fs::read_to_string(path_saved(place)).unwrap_or_default();
    repository::is_id(id.trim()) && place.path.join("keys").join(id.trim()).exists()
}

/// Remembers that a person has been given this key.
pub fn remember_saved(place: &Place, id: &str, like: &Readers) -> Result<(), Fault> {
    let path = path_saved(place);
    write_whole(&path, format!("{id}\n").as_bytes(), like)
        .map_err(|error| Fault::permanent(format!("file {} cannot be made: {error}", path.display())))
}

/// Reads a key file, as restic does: its text, without blanks around it.
pub fn read(path: &Path) -> Result<Secret, Fault> {
    let failed = |what: String| Fault::permanent(format!("key file {} {what}", path.display()));
    let file = File::open(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let metadata = file.metadata().map_err(|error| failed(format!("cannot be read: {error}")))?;
    if metadata.mode() & 0o007 != 0 {
        return Err(failed("is open to everybody: take their rights away with chmod o=".to_owned()));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    let key = text.trim();
    if key.is_empty() {
        return Err(failed("is empty".to_owned()));
    }
    if text.len() > FILE_BYTES_MAX || key.contains('\n') {
        return Err(failed(format!("holds more than one line of at most {FILE_BYTES_MAX} bytes")));
    }
    Ok(Secret::new(key.to_owned()))
}

/// Returns a new key.
pub fn generate() -> io::Result<Secret> {
    let mut random = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(Secret::new(hex(&random)))
}

/// Makes a new key in the waiting place, durably.
pub fn make(place: &Place) -> Result<Secret, Fault> {
    let path = path_new(place);
    let failed =
        |error: io::Error| system_fault(format!("key file {} cannot be made: {error}", path.display()), &error);
    let key = generate().map_err(failed)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(format!("{}\n", key.text()).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    sync_parent(&path).map_err(failed)?;
    Ok(key)
}

/// Gives a new key its name, now that its repository is complete. Only under the lock, and only when
/// no key has that name: it would be replaced.
pub fn name_it(place: &Place) -> Result<(), Fault> {
    let (from, to) = (path_new(place), place.beside(".key"));
    fs::rename(&from, &to)
        .and_then(|()| sync_parent(&to))
        .map_err(|error| system_fault(format!("key file {} cannot be made: {error}", to.display()), &error))
}

/// Who may read a file: its owner, its mode and its access control list.
#[derive(Debug)]
pub struct Readers {
    metadata: Metadata,
    list: Option<Vec<u8>>,
}

/// Where the kernel keeps an access control list.
const LIST: &str = "system.posix_acl_access";

impl Readers {
    /// Returns who may read this file.
    pub fn of(path: &Path) -> io::Result<Readers> {
        /// As many entries as any file system takes.
        const LIST_BYTES_MAX: usize = 64 << 10;
        let mut list = vec![0; LIST_BYTES_MAX];
        // Most files have none, and some file systems know of none.
        let length = rustix::fs::getxattr(path, LIST, &mut list).unwrap_or(0);
        list.truncate(length);
        Ok(Readers { metadata: fs::metadata(path)?, list: (length > 0).then_some(list) })
    }
}

/// Writes a file that is there whole or not at all, durably, for those who may read `like`.
pub fn write_whole(path: &Path, data: &[u8], like: &Readers) -> io::Result<()> {
    let unfinished = suffixed(path, "-tmp-");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    own_like(&file, like)?;
    file.write_all(data)?;
    file.set_permissions(fs::Permissions::from_mode(like.metadata.mode() & 0o666))?;
    if let Some(list) = &like.list {
        rustix::fs::fsetxattr(&file, LIST, list, rustix::fs::XattrFlags::empty())?;
    }
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_parent(path)
}

/// Gives a file to whoever owns `like`, so that who runs the daemon can read what somebody else wrote.
pub fn own_like(file: &File, like: &Readers) -> io::Result<()> {
    let (is, like) = (file.metadata()?, &like.metadata);
    if (is.uid(), is.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    fchown(file, Some(like.uid()), Some(like.gid()))
}

/// Returns a path with something after its last name.
pub fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Makes durable which names the directory of this path holds.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
