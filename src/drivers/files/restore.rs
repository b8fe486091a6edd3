//! Gives data back, into a directory that is new or empty.
//!
//! Paths come back as they are in the snapshot, below the directory: `/srv/wiki/page` becomes
//! `TO/srv/wiki/page`. The library holds what it reads in memory, so a large restore needs a large
//! `memory_max`; restoring in slices is later work.

use std::fs;
use std::path::Path;

use rustic_core::repofile::{Node, SnapshotFile};
use rustic_core::{IndexedFullStatus, LocalDestination, LsOptions, Repository, RestoreOptions};

use crate::lifecycle::workflow::Fault;

use super::super::protocol::RestoreResult;
use super::output::Output;
use super::worker::Log;
use super::{Place, repository};

/// Restores all of a snapshot, or the paths of it that are asked for.
pub fn restore(
    place: &Place,
    id: &str,
    to: &Path,
    include: &[String],
    log: &Log,
    output: &Output,
) -> Result<RestoreResult, Fault> {
    make_empty(to)?;
    let gone = || Fault::permanent(format!("snapshot {id} is gone"));
    let opened = repository::open(place, output)?.ok_or_else(gone)?;
    let all = repository::snapshots(place, &opened)?;
    let snapshot = all.iter().find(|snapshot| repository::id(snapshot) == id).ok_or_else(gone)?;
    output.doing("reading the repository", "");
    let opened = opened.to_indexed().map_err(|error| repository::fault("index cannot be read", &error))?;
    let before = log.warnings();
    let mut result = RestoreResult { files: 0, bytes: 0 };
    let everything = [String::new()];
    for path in if include.is_empty() { &everything[..] } else { include } {
        let (files, bytes) = part(&opened, snapshot, path, to)?;
        result.files += files;
        result.bytes += bytes;
    }
    let warnings = log.warnings() - before;
    if warnings > 0 {
        // The data is there, but whoever needs owners and modes must know that they are not.
        let named = log.last_warnings(warnings).join("; ");
        let message = format!(
            "{} files restored to {}, but {warnings} things are not as they were: {named}",
            result.files,
            to.display()
        );
        return Err(Fault::permanent(message));
    }
    Ok(result)
}

fn part(
    opened: &Repository<IndexedFullStatus>,
    snapshot: &SnapshotFile,
    path: &str,
    to: &Path,
) -> Result<(u64, u64), Fault> {
    let failed = |error: Box<rustic_core::RusticError>| repository::fault("snapshot cannot be restored", &error);
    let below = Path::new(path).strip_prefix("/").unwrap_or(Path::new(path));
    if below.components().any(|component| !matches!(component, std::path::Component::Normal(_))) {
        return Err(Fault::permanent(format!("path {path} is not a path of a snapshot")));
    }
    let node: Node = opened
        .node_from_snapshot_and_path(snapshot, path)
        .map_err(|error| Fault::permanent(format!("path {path} is not in the snapshot: {}", error.display_log())))?;
    let to = to.join(below);
    let to = to.to_str().ok_or_else(|| Fault::permanent(format!("directory {} is not UTF-8", to.display())))?;
    let destination = LocalDestination::new(to, true, !node.is_dir()).map_err(failed)?;
    // Only root may give files away.
    let options = RestoreOptions::default().no_ownership(!rustix::process::geteuid().is_root());
    let entries = opened.ls(&node, &LsOptions::default()).map_err(failed)?;
    let plan = opened.prepare_restore(&options, entries.clone(), &destination, false).map_err(failed)?;
    let counts = (plan.stats.files.restore + plan.stats.files.modify, plan.restore_size);
    opened.restore(plan, &options, entries, &destination).map_err(failed)?;
    Ok(counts)
}

fn make_empty(to: &Path) -> Result<(), Fault> {
    let failed =
        |error: std::io::Error| Fault::permanent(format!("directory {} cannot be used: {error}", to.display()));
    if !to.is_absolute() {
        return Err(Fault::permanent(format!("directory {} is not absolute", to.display())));
    }
    fs::create_dir_all(to).map_err(failed)?;
    match fs::read_dir(to).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(Fault::permanent(format!("directory {} is not empty: nothing is overwritten", to.display()))),
    }
}
