//! One kind of file, as it was last seen: what is on disk, what of it was read, and which version
//! is good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::problem::Problem;
use crate::config::sources::{self, Sources};
use crate::config::{Digest, FileKind};
use crate::lifecycle::time::Timestamp;
use crate::ownership::{Stamp, Trust};

use super::{build, file_in};

/// The files of one kind, by name.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    pub tracked: BTreeMap<Arc<str>, Tracked<T>>,
}

/// One file as it was last seen.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    /// The folder it is in. Its stem is the name it is known by.
    pub folder: Arc<Path>,
    /// What it was like when it was read; `None` when it has to be read again.
    pub stamp: Option<Stamp>,
    /// Of the text that was read last, good or bad.
    pub digest: Digest,
    /// The version in force.
    pub good: Option<Arc<T>>,
    /// What is wrong with the file as it is.
    pub problems: Vec<Problem>,
    /// Whether the version in force is not what the file holds.
    pub is_stale: bool,
    /// Whether the file is gone, and its last version is kept because it is needed.
    pub is_gone: bool,
    /// The generation of names it was checked against.
    pub generation: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { tracked: BTreeMap::new() }
    }
}

impl<T> Shelf<T> {
    /// Makes the map small: one that grew in order of its names is half empty.
    pub fn compact(&mut self) {
        self.tracked = std::mem::take(&mut self.tracked).into_iter().collect();
    }
}

impl<T> Tracked<T> {
    pub fn new(folder: Arc<Path>) -> Tracked<T> {
        Tracked {
            folder,
            stamp: None,
            digest: Digest(0),
            good: None,
            problems: Vec::new(),
            is_stale: false,
            is_gone: false,
            generation: 0,
        }
    }
}

/// A file that counts: no other of its name has precedence.
#[derive(Debug)]
pub(super) struct Found {
    pub path: PathBuf,
    /// Whether it stands in a folder that is not trusted or could not be read, so that it is not
    /// read, and nothing is concluded from its absence.
    pub is_blocked: bool,
}

/// What a look at the folders of a kind showed.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub found: BTreeMap<Box<str>, Found>,
    pub problems: Vec<Problem>,
}

/// Looks at the folders of a kind. `known` are the names and folders of the last look.
pub(super) fn scan<'k>(
    sources: &Sources,
    trust: &Trust,
    kind: FileKind,
    known: impl Iterator<Item = (&'k str, &'k Path)> + Clone,
) -> Scan {
    let mut scan = Scan::default();
    for folder in sources.folders(kind) {
        let (files, refusal) = match sources::list(&folder) {
            // Most folders are not there, and an empty one needs nobody's trust.
            Ok(files) if files.is_empty() => (files, None),
            Ok(files) => (files, trust.check_folder(&folder).err()),
            Err(error) => (Vec::new(), Some(error.into())),
        };
        let is_blocked = refusal.is_some();
        if let Some(refusal) = refusal {
            let hint = refusal.hint.unwrap_or_else(|| "what was in force stays in force".into());
            scan.problems.push(Problem::of_file(&folder, refusal.message).with_hint(hint));
            for (name, _) in known.clone().filter(|(_, known)| **known == *folder) {
                scan.found.insert(name.into(), Found { path: file_in(&folder, name), is_blocked });
            }
        }
        for path in files {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            match build::name_problem(&path, kind.word(), &stem) {
                Some(problem) => scan.problems.push(problem),
                None => {
                    scan.found.insert(stem.into(), Found { path, is_blocked });
                }
            }
        }
    }
    scan
}

/// What a look at one file showed.
#[derive(Debug)]
pub(super) enum Sight {
    /// It is as it was when it was read last.
    Same,
    /// Its text, which may be the same as before.
    Text { text: String, stamp: Option<Stamp> },
    /// It is empty by intent, or went away: there is no such name.
    Absent,
    /// It is empty, and was written to only now: perhaps an editor is about to fill it.
    Unsettled,
    /// It cannot be read or believed.
    Bad { problem: Problem, stamp: Option<Stamp> },
}

/// Looks at one file. `stamp` is what it was like when it was read last.
pub(super) fn look(path: &Path, stamp: Option<Stamp>, trust: &Trust, now: Timestamp) -> Sight {
    let seen = match Stamp::of(path) {
        Ok(seen) => seen,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => return Sight::Absent,
        Err(error) => return Sight::Bad { problem: refused(path, error.into()), stamp: None },
    };
    if stamp == Some(seen) {
        return Sight::Same;
    }
    let whole = match trust.read(path) {
        Ok(whole) => whole,
        Err(refusal) => return Sight::Bad { problem: refused(path, refusal), stamp: None },
    };
    let is_unsettled = whole.stamp.is_unsettled(now);
    if whole.bytes.is_empty() {
        return if is_unsettled && !whole.is_null { Sight::Unsettled } else { Sight::Absent };
    }
    // Within the tick of its clock a file can change without its times telling.
    let stamp = (!is_unsettled).then_some(whole.stamp);
    match String::from_utf8(whole.bytes) {
        Ok(text) => Sight::Text { text, stamp },
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let readable = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
            let place = crate::config::problem::Place::of(&readable, valid..valid);
            let problem = Problem { place: Some(place), ..Problem::of_file(path, "text is not UTF-8") };
            Sight::Bad { problem: problem.with_hint("save the file as UTF-8"), stamp }
        }
    }
}

fn refused(path: &Path, refusal: crate::ownership::Refusal) -> Problem {
    let problem = Problem::of_file(path, refusal.message);
    match refusal.hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}
