//! Gives data back, beside whatever the directory holds already.
//!
//! Paths come back as they are in the snapshot, below the directory: `/srv/wiki/page` becomes
//! `TO/srv/wiki/page`. Nothing that is there is written over unless that was asked for, and no link is
//! followed.
//!
//! ```text
//!  survey   every entry against what is there: same, in the way, or missing; enough space?
//!  contents written by us, a few files at a time, each under another name until it is whole
//!  the rest by the library: owners, modes, times, links, attributes; it finds every content there
//! ```
//!
//! The library writes contents too, but holds all of a restore in memory and panics at a damaged pack.
//! Ours needs a few blobs for each of its threads whatever the size, tells which files could not be
//! read, and goes on with the others. A restore that was killed goes on when it is asked for again:
//! what is whole has its size and time, and is not read again.

mod contents;
mod survey;

use std::fs;
use std::path::{Component, Path, PathBuf};

use rustic_core::repofile::{Node, SnapshotFile};
use rustic_core::{IndexedFullStatus, LocalDestination, LsOptions, Repository, RestoreOptions, RusticError};
use rustix::fs::FlockOperation;

use crate::lifecycle::workflow::Fault;

use super::super::protocol::RestoreResult;
use super::output::Output;
use super::worker::Log;
use super::{Place, damage, repository};

type Opened = Repository<IndexedFullStatus>;

/// What is wanted of a snapshot.
pub struct Wanted<'w> {
    /// The directory to put it into.
    pub to: &'w Path,
    /// Only these paths; all where there is none.
    pub include: &'w [String],
    /// Whether what is there may be written over.
    pub overwrite: bool,
}

/// Restores all of a snapshot, or the paths of it that are asked for.
pub fn restore(
    place: &Place,
    id: &str,
    wanted: &Wanted<'_>,
    log: &Log,
    output: &Output,
) -> Result<RestoreResult, Fault> {
    let to = wanted.to;
    if !to.is_absolute() {
        return Err(Fault::permanent(format!("directory {} is not absolute", to.display())));
    }
    let gone = || Fault::permanent(format!("snapshot {id} is gone"));
    let opened = repository::open(place, output)?.ok_or_else(gone)?;
    let all = repository::snapshots(place, &opened)?;
    let snapshot = all.iter().find(|snapshot| repository::id(snapshot) == id).ok_or_else(gone)?;
    repository::beside_maintenance(place, || {
        output.doing("reading the repository", "");
        let opened = opened.to_indexed().map_err(|error| damage::index_fault(place, &error))?;
        give_back(&opened, snapshot, wanted, log, output)
    })
}

fn give_back(
    opened: &Opened,
    snapshot: &SnapshotFile,
    wanted: &Wanted<'_>,
    log: &Log,
    output: &Output,
) -> Result<RestoreResult, Fault> {
    let to = wanted.to;
    let everything = [String::new()];
    let paths = if wanted.include.is_empty() { &everything[..] } else { wanted.include };
    // A path within another comes back with that one, and one that is named twice comes back once.
    let is_within = |path: &&String| {
        let (own, mut before) = (Path::new(path.as_str()), true);
        paths.iter().any(|other| {
            before &= !std::ptr::eq(other, *path);
            own.starts_with(other) && (own != Path::new(other) || before)
        })
    };
    let parts = paths
        .iter()
        .filter(|path| !is_within(path))
        .map(|path| Part::find(opened, snapshot, path, to))
        .collect::<Result<Vec<_>, _>>()?;

    let _alone = alone(to)?;
    // All of them first: nothing is begun that cannot be ended.
    output.doing("looking at what is there", "files");
    let mut survey = survey::Survey::default();
    for part in &parts {
        survey.take_in(opened, part, wanted.overwrite, output)?;
    }
    survey.judge(to)?;

    let before = log.warnings();
    let mut written = contents::Written::default();
    output.doing("restoring", "bytes");
    output.expect(survey.bytes());
    for part in &parts {
        contents::write(opened, part, output, &mut written)?;
    }
    written.make_way()?;
    output.doing("setting owners, modes and times", "");
    for part in &parts {
        part.finish(opened, &written)?;
    }
    // What is told to be back is back, also after a power failure.
    let synced = fs::File::open(to).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
    synced.map_err(|error| Fault::permanent(format!("{} cannot be synced: {error}", to.display())))?;
    written.verdict(to)?;
    let warnings = log.warnings() - before;
    if warnings > 0 {
        // The data is there, but whoever needs owners and modes must know that they are not.
        let named = log.last_warnings(warnings).join("; ");
        let message = format!(
            "{} files restored to {}, but {warnings} things are not as they were: {named}",
            written.files,
            to.display()
        );
        return Err(Fault::permanent(message));
    }
    Ok(RestoreResult { files: written.files, bytes: written.bytes })
}

/// Takes a directory for one restore at a time: two would write to the same unfinished files. The kernel
/// lets go of it with the process.
fn alone(to: &Path) -> Result<fs::File, Fault> {
    let failed = |error: std::io::Error| Fault::permanent(format!("{} cannot be used: {error}", to.display()));
    fs::create_dir_all(to).map_err(failed)?;
    let directory = fs::File::open(to).map_err(failed)?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::AGAIN) => Err(Fault::busy(format!("another restore is at work in {}", to.display()))),
        // Not every file system has such locks, and a restore is wanted all the same.
        Ok(()) | Err(_) => Ok(directory),
    }
}

/// One path of a snapshot, and where it is put.
struct Part {
    node: Node,
    /// The directory, or the file itself.
    to: PathBuf,
    listing: LsOptions,
    /// Whether it was named, and is not all of the snapshot.
    is_part: bool,
}

impl Part {
    fn find(opened: &Opened, snapshot: &SnapshotFile, path: &str, to: &Path) -> Result<Part, Fault> {
        let below = Path::new(path).strip_prefix("/").unwrap_or(Path::new(path));
        if below.components().any(|component| !matches!(component, Component::Normal(_))) {
            return Err(Fault::permanent(format!("path {path} is not a path of a snapshot")));
        }
        let node = opened.node_from_snapshot_and_path(snapshot, path).map_err(|error| {
            Fault::permanent(format!("path {path} is not in the snapshot: {}", error.display_log()))
        })?;
        // What is no directory does not lead anywhere: it may be a link itself.
        no_link_between(to, if node.is_dir() { below } else { below.parent().unwrap_or(below) })?;
        Ok(Part { node, to: to.join(below), listing: LsOptions::default(), is_part: below != Path::new("") })
    }

    /// Returns where an entry is put.
    fn place_of(&self, path: &Path) -> PathBuf {
        if self.node.is_dir() { self.to.join(path) } else { self.to.clone() }
    }

    fn entries<'p>(
        &'p self,
        opened: &'p Opened,
    ) -> Result<impl Iterator<Item = Result<(PathBuf, Node), Fault>> + Send + 'p, Fault> {
        let entries = opened.ls(&self.node, &self.listing).map_err(|error| unreadable(&error))?;
        Ok(entries.map(|entry| entry.map_err(|error| unreadable(&error))))
    }

    /// Sets everything but contents, which are there.
    fn finish(&self, opened: &Opened, written: &contents::Written) -> Result<(), Fault> {
        let failed = |error: Box<RusticError>| repository::fault("snapshot cannot be restored", &error);
        let to = self.to.to_str();
        let to = to.ok_or_else(|| Fault::permanent(format!("directory {} is not UTF-8", self.to.display())))?;
        if !self.node.is_dir() && written.failed.contains(&self.to) {
            return Ok(());
        }
        let destination = LocalDestination::new(to, true, !self.node.is_dir()).map_err(failed)?;
        // Only root may give files away.
        let options = RestoreOptions::default().no_ownership(!rustix::process::geteuid().is_root());
        let entries = || {
            let all = opened.ls(&self.node, &self.listing).map_err(failed)?;
            // What could not be read is not tried again: the library would panic at it.
            Ok::<_, Fault>(all.filter(|entry| {
                entry.as_ref().map_or(true, |(path, node)| !written.has_failed(&self.place_of(path), node))
            }))
        };
        let plan = opened.prepare_restore(&options, entries()?, &destination, false).map_err(failed)?;
        opened.restore(plan, &options, entries()?, &destination).map_err(failed)?;
        let (true, Some(above), Some(name)) = (self.is_part, self.to.parent(), self.to.file_name()) else {
            return Ok(());
        };
        if !self.node.is_dir() {
            return Ok(());
        }
        // The directory that was named is no entry of itself, but has a mode and a time too.
        let above = above.to_str().unwrap_or_default();
        let destination = LocalDestination::new(above, true, false).map_err(failed)?;
        let own = || std::iter::once(Ok((PathBuf::from(name), self.node.clone())));
        let plan = opened.prepare_restore(&options, own(), &destination, false).map_err(failed)?;
        opened.restore(plan, &options, own(), &destination).map_err(failed)
    }
}

fn unreadable(error: &RusticError) -> Fault {
    repository::read_fault("snapshot cannot be read", error)
}

/// Refuses a way into `to` that leads through a link: it might lead anywhere.
fn no_link_between(to: &Path, below: &Path) -> Result<(), Fault> {
    let mut way = to.to_path_buf();
    for component in below.components() {
        way.push(component);
        if fs::symlink_metadata(&way).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(Fault::permanent(format!("{} is a link: nothing is restored through it", way.display())));
        }
    }
    Ok(())
}
