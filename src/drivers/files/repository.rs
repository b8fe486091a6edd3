//! The repository on disk: begun at first use, opened, listed.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustic_backend::LocalBackend;
use rustic_core::repofile::{DeleteOption, SnapshotFile};
use rustic_core::{
    ConfigOptions, Credentials, KeyOptions, Open, OpenStatus, Repository, RepositoryBackends, RepositoryOptions,
    RusticError,
};

use crate::lifecycle::workflow::{Fault, FaultKind};

use super::super::keys::Secret;
use super::super::protocol::{SnapshotLine, StatusWord};
use super::lock::Lock;
use super::output::{Bars, Output};
use super::{Place, damage, key, tags};

/// By whom keys are said to be made.
pub const USER: &str = "snapkeep";

/// An opened repository.
pub type Opened = Repository<OpenStatus>;

/// What is found where the repository should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A repository and its key.
    Ready,
    /// Nothing yet: the first snapshot begins it.
    Nothing,
    /// A first use that was cut off before the repository was complete.
    Begun,
    /// A first use that was cut off after it was complete, before its key got its name.
    Unnamed,
}

/// Looks what is there. Changes nothing.
pub fn find(place: &Place) -> Result<Finding, Fault> {
    let here = place.path.display();
    let config = exists(&place.path.join("config"))?;
    let key_path = key::path(place)?;
    let (key, key_new) = (exists(&key_path)?, exists(&key::path_new(place))?);
    let begun = || {
        key::was_begun(place)
            .map_err(|error| Fault::permanent(format!("repository {here} cannot be looked at: {error}")))
    };
    let missing = |what: String| {
        // One that was never loaded is missing in a directory of others.
        let hint = place.key_credential.as_deref().map(|name| format!(": {}", key::unit_line(name)));
        Fault::permanent(format!("{what}{}", hint.unwrap_or_default()))
    };
    match (config, key, !key::is_ours(place)) {
        (true, true, _) => Ok(Finding::Ready),
        (true, false, false) if key_new => Ok(Finding::Unnamed),
        (true, false, _) => Err(missing(format!("key file {} of repository {here} is missing", key_path.display()))),
        (false, false, true) => Err(missing(format!("key file {} does not exist", key_path.display()))),
        (false, true, named) if !named || begun()? => Err(Fault::permanent(format!(
            "repository {here} is not there although it was begun: is a disk not mounted? (to begin a new one, move {} away)",
            if named { place.beside(".begun") } else { key_path }.display()
        ))),
        (false, false, false) if key_new => Ok(Finding::Begun),
        (false, _, _) => Ok(Finding::Nothing),
    }
}

/// Opens a repository that must be there; `None` when it was never begun.
pub fn open(place: &Place, output: &Output) -> Result<Option<Opened>, Fault> {
    /// More changes of the keys while one process opens a repository are no changes but a fault.
    const TRIES_MAX: usize = 3;
    let mut tries = 1;
    loop {
        let key_path = match find(place)? {
            Finding::Ready => key::path(place)?,
            Finding::Unnamed => key::path_new(place),
            Finding::Nothing | Finding::Begun => return Ok(None),
        };
        let key = key::read(&key_path)?;
        let is_last = tries == TRIES_MAX;
        match unlock(place, &key, output) {
            Ok(Some(opened)) => return Ok(Some(opened)),
            // Where it was replaced meanwhile, what was read of it opens nothing any more.
            Ok(None) if is_last || key::read(&key_path)? == key => {
                let (key, here) = (key_path.display(), place.path.display());
                let damage = damage::find(place, "keys").map(|damage| format!(": {damage}")).unwrap_or_default();
                return Err(Fault::permanent(format!("key file {key} does not open repository {here}{damage}")));
            }
            // Another key may have been removed while it was its turn to be tried.
            Err(fault) if is_last => return Err(fault),
            Ok(None) | Err(_) => tries += 1,
        }
    }
}

/// Opens the repository with a key; `None` when it does not open it.
pub fn unlock(place: &Place, key: &Secret, output: &Output) -> Result<Option<Opened>, Fault> {
    match bare(place, output)?.open(&Credentials::password(key.text())) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.is_incorrect_password() => Ok(None),
        Err(error) => {
            let what = format!("repository {} cannot be opened", place.path.display());
            Err(match damage::find(place, "keys") {
                Some(damage) => Fault::permanent(format!("{what}: {damage}")),
                None => read_fault(&what, &error),
            })
        }
    }
}

/// Opens the repository, and begins it where there is none. Returns what the operator must know about
/// a new key. Only under the lock.
pub fn open_or_begin(place: &Place, output: &Output, _lock: &Lock) -> Result<(Opened, Option<String>), Fault> {
    match find(place)? {
        // A beginning may have been cut off before it was remembered.
        Finding::Ready if place.key_file.is_some() && !key::was_begun(place).is_ok_and(|begun| begun) => {
            key::remember_begun(place)?;
        }
        Finding::Ready => {}
        Finding::Unnamed => key::name_it(place)?,
        Finding::Nothing | Finding::Begun => return begin(place, output),
    }
    match open(place, output)? {
        Some(opened) => Ok((opened, None)),
        None => Err(Fault::transient(format!("repository {} has just disappeared", place.path.display()))),
    }
}

fn begin(place: &Place, output: &Output) -> Result<(Opened, Option<String>), Fault> {
    clear_for_beginning(&place.path)?;
    let key = if key::is_ours(place) { key::make(place)? } else { key::read(&key::path(place)?)? };
    output.doing("beginning the repository", "");
    let options = KeyOptions::default().hostname(host()).username(USER.to_owned()).with_created(true);
    let opened = bare(place, output)?
        .init(&Credentials::password(key.text()), &options, &ConfigOptions::default())
        .map_err(|error| fault("repository cannot be begun", &error))?;
    sync(place)?;
    if key::is_ours(place) {
        key::name_it(place)?;
    } else {
        key::remember_begun(place)?;
    }
    let news = format!(
        "a new repository was begun; without its key {} nothing in it can be read, by anybody: `snapkeep key sheet` \
         prints what to keep elsewhere",
        key::path(place)?.display()
    );
    output.tell(&news);
    Ok((opened, Some(news)))
}

/// Makes sure that a repository may be begun here: a new or empty directory, or the remains of a
/// beginning. Keys that were left by one are removed, because they do not open what is begun now.
fn clear_for_beginning(path: &Path) -> Result<(), Fault> {
    let failed =
        |error: std::io::Error| system_fault(format!("directory {} cannot be used: {error}", path.display()), &error);
    let mut stale = Vec::new();
    match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return fs::create_dir(path).map_err(failed),
        Err(error) => return Err(failed(error)),
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(failed)?;
                match entry.file_name().to_str() {
                    Some("lost+found") => {}
                    // Cut off while it was being written.
                    Some("config-tmp-") => stale.push(entry.path()),
                    Some("keys") => {
                        for key in fs::read_dir(entry.path()).map_err(failed)? {
                            stale.push(key.map_err(failed)?.path());
                        }
                    }
                    Some("data" | "index" | "locks" | "snapshots")
                        if holds_no_file(&entry.path()).map_err(failed)? => {}
                    _ => {
                        return Err(Fault::permanent(format!(
                            "directory {} is no repository and not empty: it holds {}",
                            path.display(),
                            entry.file_name().display()
                        )));
                    }
                }
            }
        }
    }
    stale.iter().try_for_each(fs::remove_file).map_err(failed)
}

/// Whether a directory of a repository holds no file, two levels down, which is as deep as they go.
fn holds_no_file(path: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || fs::read_dir(entry.path())?.next().is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn bare(place: &Place, output: &Output) -> Result<Repository<()>, Fault> {
    let path = place.path.to_str().ok_or_else(|| Fault::permanent("repository path is not UTF-8"))?;
    let backend = LocalBackend::new(path, []).map_err(|error| fault("repository cannot be opened", &error))?;
    // A cache of a local repository would only be a second copy, in somebody's home.
    let options = RepositoryOptions::default().no_cache(true);
    let backends = RepositoryBackends::new(Arc::new(backend), None);
    Repository::new_with_progress(&options, &backends, Bars(output.clone()))
        .map_err(|error| fault("repository cannot be opened", &error))
}

/// Returns every snapshot, or a fault: the library passes over what it cannot list, so what it
/// returns is compared with what is there.
pub fn snapshots<S: Open>(place: &Place, opened: &Repository<S>) -> Result<Vec<SnapshotFile>, Fault> {
    let failed = |error: std::io::Error| Fault::incomplete(format!("snapshots cannot be listed: {error}"));
    let count = || -> Result<usize, Fault> {
        let mut count = 0;
        for entry in fs::read_dir(place.path.join("snapshots")).map_err(failed)? {
            count += usize::from(is_id(&entry.map_err(failed)?.file_name().to_string_lossy()));
        }
        Ok(count)
    };
    let before = count()?;
    let all = opened.get_all_snapshots().map_err(|error| {
        let Fault { message, .. } = fault("snapshots cannot be listed", &error);
        Fault::incomplete(
            damage::find(place, "snapshots").map_or(message, |damage| format!("snapshots cannot be listed: {damage}")),
        )
    })?;
    if before != all.len() || before != count()? {
        return Err(Fault::incomplete("snapshots came or went while they were listed"));
    }
    Ok(all)
}

/// Returns what this machine is called.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a text is the identity of a file in a repository.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Returns the snapshot's full identity.
pub fn id(snapshot: &SnapshotFile) -> String {
    snapshot.id.into_inner().to_hex().to_string()
}

/// Whether the snapshot was left behind before it was known how whole it is.
pub fn is_provisional(snapshot: &SnapshotFile) -> bool {
    snapshot.tags.iter().any(|tag| tag.split('=').next() == Some(tags::PROVISIONAL))
}

/// Returns a snapshot as the protocol has it.
pub fn line(snapshot: &SnapshotFile) -> SnapshotLine {
    let id = id(snapshot);
    let mut labels = tags::labels(snapshot.tags.iter());
    let partial = labels.remove(tags::PARTIAL).is_some();
    let provisional = labels.remove(tags::PROVISIONAL).is_some();
    labels.remove(tags::REWRITTEN);
    // A name for people; what is told apart is told apart by id.
    let name = labels.remove(tags::NAME).filter(|name| !name.is_empty()).unwrap_or_else(|| id[..8].to_owned());
    let status = match (provisional, partial) {
        (true, _) => StatusWord::Failed,
        (false, true) => StatusWord::Partial,
        (false, false) => StatusWord::Good,
    };
    let in_use = match &snapshot.delete {
        DeleteOption::NotSet => None,
        DeleteOption::Never => Some("it is marked as never to be deleted".to_owned()),
        DeleteOption::After(time) => Some(format!("it is marked as not to be deleted before {time}")),
    };
    SnapshotLine {
        name,
        id,
        taken_at_ms: Some(snapshot.time.timestamp().as_millisecond()),
        status,
        labels,
        in_use,
        size_bytes: snapshot.summary.as_ref().map(|summary| summary.total_bytes_processed),
    }
}

/// Refuses to write while restic works in the repository: it may be pruning.
pub fn no_restic_at_work(place: &Place, lock: &Lock) -> Result<(), Fault> {
    /// restic refreshes its locks every 5 minutes and takes one for dead after 30.
    const STALE: Duration = Duration::from_secs(30 * 60);
    let Ok(entries) = fs::read_dir(place.path.join("locks")) else { return Ok(()) };
    // Both times are the file system's; no other clock is asked.
    let now = lock.file().metadata().and_then(|metadata| metadata.modified());
    for entry in entries.flatten() {
        let refreshed = entry.metadata().and_then(|metadata| metadata.modified());
        let (Ok(now), Ok(refreshed)) = (&now, refreshed) else { continue };
        if now.duration_since(refreshed).is_ok_and(|age| age > STALE) {
            continue;
        }
        return Err(Fault::busy(format!("restic is at work in repository {}", place.path.display())));
    }
    Ok(())
}

/// Makes durable what was written: the library syncs files, but not the names they got.
pub fn sync(place: &Place) -> Result<(), Fault> {
    let failed = |error: std::io::Error| Fault::transient(format!("repository cannot be synced: {error}"));
    let directory = fs::File::open(&place.path).map_err(failed)?;
    rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))
}

/// Returns the library's error as a fault. It does not tell its kinds apart to others, but what the
/// system refused can be found in it. Most of what goes wrong on a local disk can be over by the next
/// attempt: no space, no memory, an I/O error.
pub fn fault(what: &str, error: &RusticError) -> Fault {
    let message = format!("{what}: {}", words(error));
    match system_error(error).map(std::io::Error::kind) {
        // Nothing but a person can change that.
        Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => Fault::permanent(message),
        Some(_) | None => Fault::transient(message),
    }
}

/// Returns a fault for what could not be read. What the system has not refused is not as it was written,
/// and stays like that.
pub fn read_fault(what: &str, error: &RusticError) -> Fault {
    let Fault { message, .. } = fault(what, error);
    if system_error(error).is_none() { Fault::permanent(message) } else { Fault::transient(message) }
}

/// Returns what the library says in one line, without its advice and backtraces.
pub fn words(error: &RusticError) -> String {
    let log = error.display_log();
    let text = log.strip_prefix("Error: ").unwrap_or(&log);
    let ends = ["For more information", "Some additional details", "backtrace:"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let text = text[..end].split_whitespace().collect::<Vec<_>>().join(" ");
    let mut innermost: &dyn Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    // What began it stands last, and may have been cut off with the advice.
    let cause = innermost.to_string();
    if cause.contains('\n') || text.contains(&cause) { text } else { format!("{text}: {cause}") }
}

/// Finds what the system answered, in the chain of an error's causes.
fn system_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e std::io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<std::io::Error>() {
            Some(error) => return Some(error),
            None => cause = error.source(),
        }
    }
    None
}

/// Returns a fault for what the system answered to ourselves: for a person, unless it passes by itself.
pub fn system_fault(message: String, error: &std::io::Error) -> Fault {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory | ErrorKind::Interrupted => {
            Fault::transient(message)
        }
        _ => Fault::permanent(message),
    }
}

/// Returns the names of the index files: maintenance removes some, and nothing else does.
pub fn index(place: &Place) -> Result<BTreeSet<String>, Fault> {
    let failed = |error: std::io::Error| Fault::transient(format!("index cannot be listed: {error}"));
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(place.path.join("index")).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if is_id(&name) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Does something that reads for long and takes no lock. What it finds wrong while maintenance takes
/// away what it had listed may be sound, and has to be looked at again.
pub fn beside_maintenance<T>(place: &Place, look: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let before = index(place)?;
    match look() {
        Err(fault) if fault.kind != FaultKind::Busy && !before.is_subset(&index(place)?) => {
            let message = format!("the repository was changed by maintenance meanwhile: {}", fault.message);
            Err(Fault::transient(message))
        }
        looked => looked,
    }
}

fn exists(path: &Path) -> Result<bool, Fault> {
    path.try_exists().map_err(|error| Fault::permanent(format!("{} cannot be looked at: {error}", path.display())))
}
