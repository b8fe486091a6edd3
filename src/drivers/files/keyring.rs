//! The keys that open the repository: told, added, removed, and the one in use replaced.
//!
//! Each is a file in `keys/` that holds the repository's master key, encrypted with a password. So a key
//! that was removed opens nothing any more, but whoever copied its file before, and has the password,
//! still has the master key.
//!
//! ```text
//!  rotation                      the key file opens   left behind by a kill
//!  KEY.snapkeep-next written     with the old key     KEY.snapkeep-next, used by the next attempt
//!  it is added, and proven       with the old key     the same
//!  KEY.snapkeep-old written      with the old key     both
//!  next becomes KEY, is proven   with the new key     KEY.snapkeep-old: the next attempt ends there
//!  the old one is removed        with the new key     the same
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustic_core::repofile::KeyFile;
use sha2::{Digest, Sha256};

use crate::lifecycle::hex::hex;
use crate::lifecycle::workflow::Fault;

use super::super::keys::{KeyOrder, KeyReport, KeySlot, Secret};
use super::key::Readers;
use super::lock::Lock;
use super::output::Output;
use super::repository::{self, Finding, Opened};
use super::{Place, key};

/// What follows the name of the key file: the key to come, until it has proven itself.
const NEXT: &str = ".snapkeep-next";
/// And the one that was, until nothing is opened by it any more.
const OLD: &str = ".snapkeep-old";

/// Does what is ordered, and tells what there is afterwards.
pub fn answer(place: &Place, order: &KeyOrder, output: &Output) -> Result<KeyReport, Fault> {
    match order {
        KeyOrder::List => report(place, &open(place, output)?),
        KeyOrder::Add { from } => add(place, from, output),
        KeyOrder::Rotate => rotate(place, output),
        KeyOrder::Remove { id } => remove(place, id, output),
        KeyOrder::Saved { id } => {
            let opened = open(place, output)?;
            key::remember_saved(place, id, &config(place)?)?;
            report(place, &opened)
        }
    }
}

fn add(place: &Place, from: &Path, output: &Output) -> Result<KeyReport, Fault> {
    let new = key::read(from)?;
    let _lock = begin_change(place)?;
    let opened = open(place, output)?;
    if let Some(already) = repository::unlock(place, &new, output)? {
        let id = in_use(&already)?;
        return Err(Fault::permanent(format!("the key in {} opens the repository already: {id}", from.display())));
    }
    output.doing("adding the key", "");
    let id = add_slot(place, &opened, &new)?;
    proven(place, &new, &opened, output)?;
    Ok(KeyReport { changed: Some(id), ..report(place, &opened)? })
}

fn remove(place: &Place, wanted: &str, output: &Output) -> Result<KeyReport, Fault> {
    let _lock = begin_change(place)?;
    let opened = open(place, output)?;
    let ids = ids(place)?;
    let found: Vec<&String> = ids.iter().filter(|id| !wanted.is_empty() && id.starts_with(wanted)).collect();
    let id = match found.as_slice() {
        [] => return Err(Fault::permanent(format!("repository has no key {wanted}"))),
        [id] => id.as_str(),
        several => return Err(Fault::permanent(format!("{} keys begin with {wanted}", several.len()))),
    };
    if id == in_use(&opened)? {
        let only = if ids.len() == 1 { ", and the only one" } else { "" };
        return Err(Fault::permanent(format!("key {id} is the one in use{only}: it is never removed")));
    }
    remove_slot(place, id)?;
    // What opened it before opens it still.
    Ok(KeyReport { changed: Some(id.to_owned()), ..report(place, &open(place, output)?)? })
}

fn rotate(place: &Place, output: &Output) -> Result<KeyReport, Fault> {
    if let Some(name) = &place.key_credential {
        return Err(Fault::permanent(format!(
            "the key is credential {name}, which is never written by us: add a new one with `snapkeep key add`, put \
             it in the credential's place, restart the daemon, and remove the old one with `snapkeep key remove`"
        )));
    }
    let _lock = begin_change(place)?;
    // A link stays one.
    let named = key::path(place)?;
    let path = named.canonicalize().map_err(|error| unusable(&named, &error))?;
    let (next, old) = (key::suffixed(&path, NEXT), key::suffixed(&path, OLD));
    let opened = open(place, output)?;
    let current = key::read(&path)?;
    if exists(&old)? && key::read(&old)? != current {
        let id = retire(place, &opened, &old, output)?;
        let message = Some("a rotation that had been interrupted was brought to its end".to_owned());
        return Ok(KeyReport { changed: id, message, ..report(place, &opened)? });
    }

    let like = readers(&path)?;
    if !exists(&next)? {
        let fresh = key::generate().map_err(|error| Fault::transient(format!("no key can be made: {error}")))?;
        write(&next, &fresh, &like)?;
    }
    let fresh = key::read(&next)?;
    output.doing("adding the new key", "");
    if repository::unlock(place, &fresh, output)?.is_none() {
        add_slot(place, &opened, &fresh)?;
    }
    proven(place, &fresh, &opened, output)?;
    write(&old, &current, &like)?;
    output.doing("replacing the key file", "");
    let renamed = fs::rename(&next, &path).and_then(|()| key::sync_parent(&path));
    renamed.map_err(|error| unusable(&path, &error))?;
    let opened = proven(place, &key::read(&path)?, &opened, output)?;
    output.doing("removing the old key", "");
    let id = retire(place, &opened, &old, output)?;
    Ok(KeyReport { changed: id, ..report(place, &opened)? })
}

/// Takes the old key away, now that another is in its place: first what it opens, then its file.
fn retire(place: &Place, opened: &Opened, old: &Path, output: &Output) -> Result<Option<String>, Fault> {
    let (key, kept) = (key::read(old)?, in_use(opened)?);
    let mut removed = None;
    while let Some(by_old) = repository::unlock(place, &key, output)? {
        let id = in_use(&by_old)?;
        if id == kept {
            return Err(Fault::permanent(format!("key {id} would be removed, and is in use")));
        }
        remove_slot(place, &id)?;
        removed = Some(id);
    }
    let gone = fs::remove_file(old).and_then(|()| key::sync_parent(old));
    gone.map_err(|error| unusable(old, &error))?;
    Ok(removed)
}

/// Takes the lock, as whatever changes a repository does.
fn begin_change(place: &Place) -> Result<Lock, Fault> {
    let finding = begun(place)?;
    let lock = Lock::take(place, "change", "its keys")?;
    // It may be a person at work, and not who runs the daemon.
    key::own_like(lock.file(), &config(place)?).map_err(|error| unusable(&place.path, &error))?;
    if finding == Finding::Unnamed {
        key::name_it(place)?;
    }
    repository::no_restic_at_work(place, &lock)?;
    Ok(lock)
}

fn begun(place: &Place) -> Result<Finding, Fault> {
    match repository::find(place)? {
        Finding::Nothing | Finding::Begun => Err(Fault::permanent(format!(
            "repository {} was not begun yet: that happens with the first snapshot",
            place.path.display()
        ))),
        finding => Ok(finding),
    }
}

fn open(place: &Place, output: &Output) -> Result<Opened, Fault> {
    begun(place)?;
    let gone = || Fault::transient(format!("repository {} has just disappeared", place.path.display()));
    repository::open(place, output)?.ok_or_else(gone)
}

/// Opens the same repository once more, from what is on disk, with this key alone.
fn proven(place: &Place, key: &Secret, opened: &Opened, output: &Output) -> Result<Opened, Fault> {
    match repository::unlock(place, key, output)? {
        Some(again) if again.config().id == opened.config().id => Ok(again),
        Some(_) | None => Err(Fault::permanent("the new key was written, and does not open the repository")),
    }
}

/// Adds a key. The library can too, but for nobody else to read: who runs the daemon could then open
/// the repository no more.
fn add_slot(place: &Place, opened: &Opened, new: &Secret) -> Result<String, Fault> {
    let failed = |error: Box<rustic_core::RusticError>| repository::fault("key cannot be added", &error);
    let current = key::read(&current_path(place)?)?;
    let path = slot(place, &in_use(opened)?);
    let like = readers(&path)?;
    let master = read_slot(&path)?.key_from_password(&current.text()).map_err(failed)?;
    let (host, user) = (Some(repository::host()), Some(repository::USER.to_owned()));
    let fresh = KeyFile::generate(master, &new.text(), host, user, true).map_err(failed)?;
    let data = serde_json::to_vec(&fresh).map_err(|error| Fault::permanent(format!("key cannot be added: {error}")))?;
    let id = hex(&Sha256::digest(&data));
    let path = slot(place, &id);
    key::write_whole(&path, &data, &like).map_err(|error| unusable(&path, &error))?;
    Ok(id)
}

fn remove_slot(place: &Place, id: &str) -> Result<(), Fault> {
    let path = slot(place, id);
    let removed = fs::remove_file(&path).and_then(|()| key::sync_parent(&path));
    removed.map_err(|error| unusable(&path, &error))
}

fn report(place: &Place, opened: &Opened) -> Result<KeyReport, Fault> {
    let in_use = in_use(opened)?;
    let mut keys = Vec::new();
    for id in ids(place)? {
        let KeyFile { created, hostname, username, .. } = read_slot(&slot(place, &id))?;
        // restic writes the year 1 where it knows no time.
        let created = created.map(|time| time.timestamp().as_millisecond()).filter(|millis| *millis > 0);
        keys.push(KeySlot {
            is_in_use: id == in_use,
            id,
            created_at_ms: created,
            host: hostname.filter(|host| !host.is_empty()),
            user: username.filter(|user| !user.is_empty()),
        });
    }
    keys.sort_by(|a, b| (a.created_at_ms, &a.id).cmp(&(b.created_at_ms, &b.id)));
    Ok(KeyReport {
        repository: place.path.clone(),
        repository_id: opened.config().id.to_hex().to_string(),
        key_file: current_path(place)?,
        credential: place.key_credential.clone(),
        keys,
        changed: None,
        message: None,
    })
}

fn current_path(place: &Place) -> Result<PathBuf, Fault> {
    match repository::find(place)? {
        Finding::Unnamed => Ok(key::path_new(place)),
        Finding::Ready | Finding::Nothing | Finding::Begun => key::path(place),
    }
}

fn in_use(opened: &Opened) -> Result<String, Fault> {
    let id = opened.key_id().as_ref().map(|id| id.to_hex().to_string());
    id.ok_or_else(|| Fault::permanent("the repository was opened without one of its keys"))
}

/// Returns the identities of all keys, in order.
fn ids(place: &Place) -> Result<Vec<String>, Fault> {
    let folder = place.path.join("keys");
    let mut ids = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|error| unusable(&folder, &error))? {
        let name = entry.map_err(|error| unusable(&folder, &error))?.file_name();
        ids.extend(name.to_str().filter(|name| repository::is_id(name)).map(str::to_owned));
    }
    ids.sort();
    Ok(ids)
}

fn slot(place: &Place, id: &str) -> PathBuf {
    place.path.join("keys").join(id)
}

fn read_slot(path: &Path) -> Result<KeyFile, Fault> {
    let data = fs::read(path).map_err(|error| unusable(path, &error))?;
    serde_json::from_slice(&data)
        .map_err(|error| Fault::permanent(format!("{} is not a key of a repository: {error}", path.display())))
}

/// Returns who may read the repository.
fn config(place: &Place) -> Result<Readers, Fault> {
    readers(&place.path.join("config"))
}

fn readers(path: &Path) -> Result<Readers, Fault> {
    Readers::of(path).map_err(|error| unusable(path, &error))
}

fn write(path: &Path, key: &Secret, like: &Readers) -> Result<(), Fault> {
    key::write_whole(path, format!("{}\n", key.text()).as_bytes(), like).map_err(|error| unusable(path, &error))
}

fn exists(path: &Path) -> Result<bool, Fault> {
    path.try_exists().map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Fault {
    Fault::permanent(format!("{} cannot be used: {error}", path.display()))
}
