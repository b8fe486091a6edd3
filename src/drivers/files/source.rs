//! What is read: the library's walk over each path, with everything counted that could not be read.
//!
//! The library itself passes over such things with a line in the log and reports success. It also
//! stores nothing of the paths themselves and of their parents; here their owners, modes and times
//! are part of the snapshot.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustic_core::{
    Excludes, LocalSource, LocalSourceFilterOptions, LocalSourceSaveOptions, ReadSource, ReadSourceEntry, RusticError,
    RusticResult,
};

use super::present::{Directory, Identity, Within, identity};
use super::reading::Watched;
use super::{Config, Place, lock};

/// The library's own entry and how it opens it.
type Opening = <LocalSource as ReadSource>::Open;
type Entry = ReadSourceEntry<Watched>;

/// Names that are told; all are counted.
const NAMED_MAX: usize = 5;

/// What could not be read. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Counts>>);

/// The counts, and the first few names.
#[derive(Debug, Default)]
pub struct Counts {
    /// Could not be read.
    pub unread: u64,
    /// Was there when its directory was listed and gone when it was to be read. A snapshot taken a
    /// moment later would be whole without it, so this one is.
    pub vanished: u64,
    /// How many of both the library will have passed over in its log.
    pub passed_over: u64,
    /// Is there as long as it was when its directory was listed, but was written to since.
    pub changed: u64,
    named: Vec<String>,
    named_changed: Vec<String>,
}

impl Troubles {
    /// Returns the counts.
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that could not be read and names it, if it is among the first.
    pub fn unread(&self, what: String) {
        self.counts().unread(what);
    }

    /// Counts a file that was written to while it was read.
    pub fn changed(&self, path: &Path) {
        let mut counts = self.counts();
        counts.changed += 1;
        if counts.named_changed.len() < NAMED_MAX {
            counts.named_changed.push(path.display().to_string());
        }
    }

    /// Counts so many that could not be read, of which only some can be named.
    pub fn unseen(&self, count: u64, names: Vec<String>) {
        let mut counts = self.counts();
        counts.unread += count;
        let room = NAMED_MAX.saturating_sub(counts.named.len());
        counts.named.extend(names.into_iter().take(room));
    }

    /// Counts what the library is told of as well, and passes over. What is gone has vanished, unless the
    /// file system of the directory that held it is gone too.
    pub fn error(&self, path: Option<&Path>, text: &str, held_by: Option<&Directory>) {
        let is_gone = text.contains("(os error 2)") || text.contains("kind: NotFound");
        let has_vanished = is_gone && held_by.is_none_or(Directory::has_its_file_system);
        let mut counts = self.counts();
        counts.passed_over += 1;
        if has_vanished {
            counts.vanished += 1;
        } else {
            let named = match path {
                Some(path) => format!("{}: {text}", path.display()),
                None => text.to_owned(),
            };
            counts.unread(named);
        }
    }
}

impl Counts {
    fn unread(&mut self, what: String) {
        self.unread += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(what);
        }
    }

    /// Returns what is missing, for people; `None` when nothing is.
    pub fn message(&self) -> Option<String> {
        if self.unread == 0 {
            return None;
        }
        let more = self.unread.saturating_sub(self.named.len() as u64);
        if self.named.is_empty() {
            return Some(format!("{more} could not be read"));
        }
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("{} could not be read: {}{more}", self.unread, self.named.join("; ")))
    }

    /// Returns what was written to while it was read, for people; `None` when nothing was.
    pub fn message_changed(&self) -> Option<String> {
        let more = self.changed.checked_sub(self.named_changed.len() as u64)?;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = self.named_changed.join("; ");
        (self.changed > 0).then(|| format!("{} changed while it was made: {named}{more}", self.changed))
    }
}

/// The paths of a snapshot, to be read by the library.
pub struct Source {
    /// Each path, its parents that no earlier path had, and its walk where it is a directory.
    roots: Vec<Root>,
    /// The repository and its lock, by whatever path they are met.
    own: BTreeSet<Identity>,
    troubles: Troubles,
}

struct Root {
    parents: Vec<PathBuf>,
    walk: LocalSource,
}

/// The paths that are there, resolved, sorted, none within another.
pub fn roots(config: &Config, troubles: &Troubles) -> Vec<PathBuf> {
    let mut there = BTreeSet::new();
    for path in &config.paths {
        // A symbolic link is followed: who names one means what it leads to.
        match path.canonicalize() {
            Ok(path) => {
                there.insert(path);
            }
            Err(error) => troubles.unread(format!("{}: {error}", path.display())),
        }
    }
    let mut roots: Vec<PathBuf> = Vec::new();
    for path in there {
        // Sorted by component, a path comes right after what holds it.
        if !roots.last().is_some_and(|last| path.starts_with(last)) {
            roots.push(path);
        }
    }
    roots
}

impl Source {
    /// Returns the source that reads `roots`, without what is excluded and without the repository.
    pub fn new(place: &Place, config: &Config, roots: &[PathBuf], troubles: &Troubles) -> RusticResult<Source> {
        let mut globs: Vec<String> = config.exclude.iter().map(|pattern| format!("!{pattern}")).collect();
        // A repository within what it keeps would grow by itself each time, and to read the lock's file
        // would be to let go of the lock. A pattern knows one path to them; a mount or a link makes others.
        let paths = [place.path.clone(), place.beside(lock::SUFFIX)];
        let own = paths.iter().filter_map(|path| identity(&path.canonicalize().ok()?).ok()).collect();
        for own in paths {
            if let Some(own) = own.canonicalize().unwrap_or(own).to_str() {
                globs.push(format!("!{}", literal(own)));
            }
        }
        let excludes = Excludes::default().globs(globs);
        let filter = LocalSourceFilterOptions::default().one_file_system(config.one_file_system);
        let save = LocalSourceSaveOptions::default();
        let mut told = BTreeSet::new();
        let mut sources = Vec::with_capacity(roots.len());
        for root in roots {
            let mut parents: Vec<PathBuf> = root.ancestors().map(Path::to_path_buf).collect();
            // The top has no name to store it by; a file among the roots is an entry of its own walk.
            parents.retain(|path| path.parent().is_some() && path.is_dir() && told.insert(path.clone()));
            parents.reverse();
            let walk = LocalSource::new(save, &excludes, &filter, std::slice::from_ref(root))?;
            sources.push(Root { parents, walk });
        }
        Ok(Source { roots: sources, own, troubles: troubles.clone() })
    }
}

impl ReadSource for Source {
    type Open = Watched;
    type Iter = Box<dyn Iterator<Item = RusticResult<Entry>> + Send>;

    fn size(&self) -> RusticResult<Option<u64>> {
        let mut size = 0;
        for root in &self.roots {
            size += root.walk.size()?.unwrap_or(0);
        }
        Ok(Some(size))
    }

    fn entries(&self) -> Self::Iter {
        let walks: Vec<_> = self.roots.iter().map(|root| (root.parents.clone(), root.walk.entries())).collect();
        let (troubles, own) = (self.troubles.clone(), self.own.clone());
        Box::new(walks.into_iter().flat_map(move |(parents, walk)| {
            let (of_parents, of_walk) = (troubles.clone(), troubles.clone());
            let parents = parents.into_iter().filter_map(move |path| directory(&path, &of_parents)).map(Ok);
            let mut others = Others { own: own.clone(), within: None };
            let walk = walk.filter(move |entry| entry.as_ref().map_or(true, |entry| others.has(entry)));
            let mut within = Within::default();
            parents.chain(walk.map(move |entry| watched(entry, &mut within, &of_walk)))
        }))
    }
}

/// Returns the entry of a directory itself. Without it the library makes up one.
fn directory(path: &Path, troubles: &Troubles) -> Option<Entry> {
    let entry = ignore::WalkBuilder::new(path).max_depth(Some(0)).hidden(false).build().next()?;
    let entry = entry.map_err(|error| error.to_string());
    match entry.and_then(|entry| LocalSourceSaveOptions::default().map_entry(entry).map_err(|error| error.to_string()))
    {
        Ok(ReadSourceEntry { path, node, .. }) if node.is_dir() => Some(ReadSourceEntry { path, node, open: None }),
        Ok(_) => None,
        Err(error) => {
            troubles.unread(format!("{}: {error}", path.display()));
            None
        }
    }
}

/// What is neither the repository nor its lock.
struct Others {
    own: BTreeSet<Identity>,
    /// Where the repository was met: what comes next is below it.
    within: Option<PathBuf>,
}

impl Others {
    fn has(&mut self, entry: &ReadSourceEntry<Opening>) -> bool {
        if self.within.as_ref().is_some_and(|within| entry.path.starts_with(within)) {
            return false;
        }
        // The number alone is not enough, but tells for nearly all that a second look is needless.
        let inode = entry.node.meta.inode;
        let is_own = self.own.iter().any(|(_, own)| *own == inode)
            && identity(&entry.path).is_ok_and(|identity| self.own.contains(&identity));
        if is_own {
            self.within = Some(entry.path.clone());
        }
        !is_own
    }
}

fn watched(
    entry: RusticResult<ReadSourceEntry<Opening>>,
    within: &mut Within,
    troubles: &Troubles,
) -> RusticResult<Entry> {
    // What cannot be listed is in the directory where the walk is.
    let entry = entry.inspect_err(|error| troubles.error(None, &cause(error), within.innermost()))?;
    let ReadSourceEntry { path, node, open } = entry;
    let holder = within.holder(&path, node.is_dir());
    let open = open.map(|_| Watched::new(path.clone(), &node.meta, holder, troubles.clone()));
    Ok(ReadSourceEntry { path, node, open })
}

/// The innermost words of the library's error: what the system said.
fn cause(error: &RusticError) -> String {
    error.source().map_or_else(|| error.display_log(), ToString::to_string)
}

/// Returns a pattern that matches this path and no other.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if "\\*?[]{}!#".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn paths_within_others_are_read_once() {
        let folder = tempfile::tempdir().expect("a directory");
        let base = folder.path().canonicalize().expect("there");
        for name in ["a/b", "a-c", "d"] {
            std::fs::create_dir_all(base.join(name)).expect("made");
        }
        std::os::unix::fs::symlink("a/b", base.join("link")).expect("made");
        let paths = ["d", "a/b", "a", "link", "gone", "a-c", "a"].map(|name| base.join(name)).to_vec();
        let troubles = Troubles::default();
        let found = roots(&Config { paths, exclude: Vec::new(), one_file_system: false }, &troubles);
        assert_eq!(found, ["a", "a-c", "d"].map(|name| base.join(name)));
        let message = troubles.counts().message().expect("one is gone");
        assert!(message.starts_with("1 could not be read: ") && message.contains("/gone: "), "{message}");
    }

    #[test]
    fn what_nobody_has_words_for_counts() {
        let troubles = Troubles::default();
        troubles.unseen(2, Vec::new());
        assert_eq!(troubles.counts().message(), Some("2 could not be read".to_owned()));
        troubles.unseen(7, ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec());
        let counts = troubles.counts();
        assert_eq!((counts.unread, counts.vanished), (9, 0));
        assert_eq!(counts.message(), Some("9 could not be read: a; b; c; d; e and 4 more".to_owned()));
    }

    #[test]
    fn what_is_gone_has_vanished_only_while_its_file_system_is_there() {
        let gone = "No such file or directory (os error 2)";
        let folder = tempfile::tempdir().expect("a directory");
        let directory = folder.path().join("a/b");
        fs::create_dir_all(&directory).expect("made");
        let (device, _) = identity(&directory).expect("there");
        let here = Directory::in_device(&directory, device);
        let elsewhere = Directory::in_device(&directory, device + 1);
        for is_deleted in [false, true] {
            if is_deleted {
                fs::remove_dir_all(folder.path().join("a")).expect("removed");
            }
            let troubles = Troubles::default();
            troubles.error(Some(&directory.join("page")), gone, Some(&here));
            assert_eq!(troubles.counts().vanished, 1);
            troubles.error(Some(&directory.join("page")), gone, Some(&elsewhere));
            let counts = troubles.counts();
            assert_eq!((counts.unread, counts.vanished, counts.passed_over), (1, 1, 2));
            assert!(counts.message().is_some_and(|message| message.contains("/a/b/page: ")));
        }
    }

    #[test]
    fn the_first_few_are_named_and_all_are_counted() {
        let troubles = Troubles::default();
        assert_eq!(troubles.counts().message(), None);
        for number in 0..7 {
            troubles.error(Some(Path::new(&format!("/f{number}"))), "denied", None);
        }
        troubles.error(Some(Path::new("/gone")), "No such file or directory (os error 2)", None);
        let counts = troubles.counts();
        assert_eq!((counts.unread, counts.vanished, counts.passed_over), (7, 1, 8));
        let named = "/f0: denied; /f1: denied; /f2: denied; /f3: denied; /f4: denied and 2 more";
        assert_eq!(counts.message(), Some(format!("7 could not be read: {named}")));
    }
}
