//! Packs that no index names: what killed processes left behind, or what somebody who does not know our
//! lock is still going to name.
//!
//! A file's time alone says too little of that: it is whatever the clock, or the program that copied the
//! repository, made of it. So each pack is written down when a maintenance first sees it unnamed, in a file
//! beside the repository, and only a later one removes it. Without that file everything is new.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustic_core::RusticError;
use rustic_core::repofile::IndexFile;

use crate::lifecycle::workflow::Fault;

use super::super::protocol::AmountLine;
use super::key::Readers;
use super::lock::{self, Lock};
use super::maintain::{add, files, folders_of_packs, unusable};
use super::repository::{self, Opened};
use super::{Place, damage, key};

/// What follows the repository's path.
const SUFFIX: &str = ".unnamed";

/// Packs, and when each was first seen, in milliseconds of Unix time.
#[derive(Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    /// Reads what was seen before; lines that make no sense, or do not end, were not seen.
    fn read(place: &Place) -> Seen {
        let text = fs::read_to_string(place.beside(SUFFIX)).unwrap_or_default();
        let line = |line: &str| {
            let (name, at) = line.strip_suffix('\n')?.split_once(' ')?;
            Some((name.to_owned(), at.parse().ok()?))
        };
        Seen(text.split_inclusive('\n').filter_map(line).collect())
    }

    /// Writes what was seen, whole and durably, for those who may read the lock; and nothing where there was
    /// nothing.
    fn write(&self, place: &Place) -> Result<(), Fault> {
        let path = place.beside(SUFFIX);
        let text: String = self.0.iter().map(|(name, at)| format!("{name} {at}\n")).collect();
        let written = if text.is_empty() {
            fs::remove_file(&path).and_then(|()| key::sync_parent(&path))
        } else {
            Readers::of(&place.beside(lock::SUFFIX)).and_then(|like| key::write_whole(&path, text.as_bytes(), &like))
        };
        match written {
            Err(error) if !(text.is_empty() && error.kind() == ErrorKind::NotFound) => Err(unusable(&path, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Forgets what was seen, now that every pack is named.
pub fn forget(place: &Place) -> Result<(), Fault> {
    Seen::default().write(place)
}

fn millis(at: SystemTime) -> u64 {
    // Before 1970 nothing was written.
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Removes packs that no index has named for the delay: what killed processes left behind. Returns what
/// was removed and what is too young.
pub fn sweep(place: &Place, opened: &Opened, lock: &Lock, delay: Duration) -> Result<(AmountLine, AmountLine), Fault> {
    let count = repository::index(place)?.len();
    let mut named = BTreeSet::new();
    let mut read = 0;
    let failed = |error: Box<RusticError>| damage::index_fault(place, &error);
    for file in opened.stream_files::<IndexFile>().map_err(failed)? {
        let (_, file) = file.map_err(failed)?;
        named.extend(file.packs.iter().chain(&file.packs_to_delete).map(|pack| pack.id.to_hex().to_string()));
        read += 1;
    }
    // The library passes over what it cannot list; what such an index names would be lost.
    if read != count || count == 0 {
        return Err(Fault::transient(format!("{read} of {count} index files could be read")));
    }
    // Both times are the file system's; no other clock is asked.
    let now = lock.file().metadata().and_then(|metadata| metadata.modified());
    let now = now.map_err(|error| unusable(&place.path, &error))?;
    let now_ms = millis(now);
    let (before, mut seen) = (Seen::read(place), Seen::default());
    let (mut removed, mut kept) = (AmountLine::default(), AmountLine::default());
    for folder in folders_of_packs(place)? {
        for path in files(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !repository::is_id(&name) || named.contains(&name) {
                continue;
            }
            let metadata = fs::metadata(&path).map_err(|error| unusable(&path, &error))?;
            let written = metadata.modified().map_err(|error| unusable(&path, &error))?;
            let amount = AmountLine { count: 1, bytes: metadata.len() };
            // One that was seen in the future was seen by a clock that was wrong.
            let seen_at = before.0.get(&name).copied().filter(|at| *at <= now_ms).unwrap_or(now_ms);
            let since = millis(written).max(seen_at);
            if now_ms.checked_sub(since).is_some_and(|age| u128::from(age) >= delay.as_millis()) {
                fs::remove_file(&path).map_err(|error| unusable(&path, &error))?;
                add(&mut removed, amount);
            } else {
                seen.0.insert(name, seen_at);
                add(&mut kept, amount);
            }
        }
    }
    seen.write(place)?;
    Ok((removed, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_there_whole_or_was_not_seen() {
        let folder = tempfile::tempdir().expect("a directory");
        let place = Place {
            path: folder.path().join("repository"),
            key_file: None,
            key_credential: None,
            prune_delay_ms: None,
        };
        let _lock = Lock::take(&place, "maintain", "").expect("nobody has it");
        let seen = Seen([("a".to_owned(), 1), ("b".to_owned(), 22)].into());
        // What a killed one left unfinished is in nobody's way.
        let path = place.beside(SUFFIX);
        fs::write(key::suffixed(&path, "-tmp-"), "a").expect("written");
        seen.write(&place).expect("written");
        assert_eq!(Seen::read(&place).0, seen.0);
        assert!(!key::suffixed(&path, "-tmp-").exists());
        fs::write(&path, "a 1\nb 2").expect("written");
        assert_eq!(Seen::read(&place).0, [("a".to_owned(), 1)].into());
        for _ in 0..2 {
            forget(&place).expect("forgotten");
            assert!(!path.exists());
        }
    }
}
