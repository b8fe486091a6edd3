//! Contents, written by a few threads, each with a few blobs in memory whatever the size.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use rustic_core::BlobId;
use rustic_core::repofile::{BlobType, Node, NodeType};

use crate::lifecycle::workflow::Fault;

use super::super::output::Output;
use super::super::repository;
use super::survey::{There, look};
use super::{Opened, Part};

/// Reading, decrypting and writing keep so many busy; more only need more memory.
const THREADS_MAX: usize = 4;
/// Enough to see what it is about.
const NAMED_MAX: usize = 5;
/// What a file is called until it is whole.
const UNFINISHED: &str = ".snapkeep-unfinished";

/// What was written, and what could not be.
#[derive(Debug, Default)]
pub struct Written {
    pub files: u64,
    pub bytes: u64,
    /// The files that could not be read back.
    pub failed: BTreeSet<PathBuf>,
    reasons: Vec<String>,
    /// Of those the ones with several names, by device and inode.
    failed_links: BTreeSet<(u64, u64)>,
    /// Further names of files that are written, where something is already.
    twins: Vec<(PathBuf, (u64, u64))>,
}

/// Returns what tells the names of one file apart from other files, where it has several.
fn link_key(node: &Node) -> Option<(u64, u64)> {
    let key = (node.meta.device_id, node.meta.inode);
    (node.meta.links > 1 && key.0 != 0 && key.1 != 0).then_some(key)
}

impl Written {
    /// Whether an entry could not be read back, under this name or another.
    pub fn has_failed(&self, place: &Path, node: &Node) -> bool {
        self.failed.contains(place) || link_key(node).is_some_and(|key| self.failed_links.contains(&key))
    }

    /// Makes way for further names of files, now that the files are there.
    pub fn make_way(&mut self) -> Result<(), Fault> {
        for (place, key) in std::mem::take(&mut self.twins) {
            if !self.failed_links.contains(&key) {
                let failed = |error| Fault::permanent(format!("{} cannot be replaced: {error}", place.display()));
                fs::remove_file(&place).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Says which files could not be read back. The others are there.
    pub fn verdict(&self, to: &Path) -> Result<(), Fault> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let more = self.failed.len() - self.reasons.len().min(self.failed.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let (count, named) = (self.failed.len(), self.reasons.join("; "));
        let files = if count == 1 { "file" } else { "files" };
        Err(Fault::permanent(format!(
            "{count} {files} could not be given back, the others are in {}: {named}{more}",
            to.display()
        )))
    }
}

/// Writes the contents of all files that are not there yet.
pub fn write(opened: &Opened, part: &Part, output: &Output, written: &mut Written) -> Result<(), Fault> {
    let entries = part.entries(opened)?;
    sweep(if part.node.is_dir() { &part.to } else { part.to.parent().unwrap_or(&part.to) });
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let queue = Mutex::new(Queue { entries, part, written, linked: BTreeSet::new(), fault: None });
    thread::scope(|scope| {
        for number in 0..threads {
            let queue = &queue;
            scope.spawn(move || {
                loop {
                    // Not in a `while let`: the lock would be held while the file is written.
                    let next = lock(queue).next();
                    let Some((place, node)) = next else { break };
                    let outcome = file(opened, &place, &node, number, output);
                    lock(queue).note(place, &node, outcome);
                }
            });
        }
    });
    let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    queue.fault.map_or(Ok(()), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Entries in order, so that a directory is there before what is in it.
struct Queue<'q, I> {
    entries: I,
    part: &'q Part,
    written: &'q mut Written,
    /// Files with several names, of which the first is written.
    linked: BTreeSet<(u64, u64)>,
    /// Why no more can be done.
    fault: Option<Fault>,
}

impl<I: Iterator<Item = Result<(PathBuf, Node), Fault>>> Queue<'_, I> {
    /// Returns the next file to be written.
    fn next(&mut self) -> Option<(PathBuf, Node)> {
        while self.fault.is_none() {
            match self.entries.next()? {
                Ok((path, node)) => {
                    let place = self.part.place_of(&path);
                    match self.prepare(&place, &node) {
                        Ok(true) => return Some((place, node)),
                        Ok(false) => {}
                        Err(error) => {
                            let message = format!("{} cannot be made: {error}", place.display());
                            self.fault = Some(Fault::permanent(message));
                        }
                    }
                }
                Err(fault) => self.fault = Some(fault),
            }
        }
        None
    }

    /// Makes way for an entry. Returns whether it has contents to be written.
    fn prepare(&mut self, place: &Path, node: &Node) -> io::Result<bool> {
        let there = look(place, node);
        match node.node_type {
            NodeType::Dir => {
                match there {
                    There::Nothing => fs::create_dir_all(place)?,
                    There::Same | There::Other | There::Never => sweep(place),
                }
                Ok(false)
            }
            NodeType::File => {
                if let Some(key) = link_key(node)
                    && !self.linked.insert(key)
                {
                    // Another name of one that comes before it; the library links it, where nothing is.
                    if there != There::Nothing {
                        self.written.twins.push((place.to_path_buf(), key));
                    }
                    return Ok(false);
                }
                if there == There::Same {
                    self.written.files += 1;
                    return Ok(false);
                }
                if let Some(directory) = place.parent() {
                    fs::create_dir_all(directory)?;
                }
                Ok(true)
            }
            // Made by the library, where nothing is.
            _ => {
                if there != There::Nothing {
                    fs::remove_file(place)?;
                }
                Ok(false)
            }
        }
    }

    fn note(&mut self, place: PathBuf, node: &Node, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.written.files += 1;
                self.written.bytes += node.meta.size;
            }
            Err(reason) => {
                if self.written.reasons.len() < NAMED_MAX {
                    self.written.reasons.push(format!("{}: {reason}", place.display()));
                }
                self.written.failed_links.extend(link_key(node));
                self.written.failed.insert(place);
            }
        }
    }
}

/// Removes what a killed restore left behind in a directory.
fn sweep(directory: &Path) {
    for number in 0..THREADS_MAX {
        // Mostly there is none.
        let _ = fs::remove_file(directory.join(unfinished(number)));
    }
}

fn unfinished(number: usize) -> String {
    format!("{UNFINISHED}-{number}")
}

/// Writes one file under another name, and gives it its own when it is whole.
fn file(opened: &Opened, place: &Path, node: &Node, number: usize, output: &Output) -> Result<(), String> {
    let other = place.with_file_name(unfinished(number));
    let outcome = contents(opened, &other, node, output)
        .and_then(|()| fs::rename(&other, place).map_err(|error| error.to_string()));
    if outcome.is_err() {
        // It may not even have been begun.
        let _ = fs::remove_file(&other);
    }
    outcome
}

fn contents(opened: &Opened, path: &Path, node: &Node, output: &Output) -> Result<(), String> {
    let written = |error: io::Error| format!("it cannot be written: {error}");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(written)?;
    let mut offset = 0;
    for id in node.content.iter().flatten() {
        let data = opened
            .get_blob_cached(&BlobId::from(*id), BlobType::Data)
            .map_err(|error| repository::fault("its data cannot be read", &error).message)?;
        // What is all zero stays a hole.
        if data.iter().any(|byte| *byte != 0) {
            file.write_all_at(&data, offset).map_err(written)?;
        }
        offset += data.len() as u64;
        output.advance(data.len() as u64);
    }
    if file.metadata().map_err(written)?.len() != offset {
        // It ends with a hole. Its length must not be known before what is before it: after a power
        // failure it would look whole.
        file.sync_data().and_then(|()| file.set_len(offset)).map_err(written)?;
    }
    set_time(&file, node).map_err(written)
}

/// Sets the time by which the file is known as whole.
fn set_time(file: &File, node: &Node) -> io::Result<()> {
    match node.meta.mtime {
        Some(time) => file.set_times(FileTimes::new().set_modified(SystemTime::from(time))),
        None => Ok(()),
    }
}
