//! What a restore meets: how much there is to write, whether it fits, and what is in its way.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustic_core::repofile::{Node, NodeType};

use crate::lifecycle::workflow::Fault;

use super::super::output::Output;
use super::{Opened, Part};

/// Enough to see what it is about.
const NAMED_MAX: usize = 5;

/// What a look at every entry showed.
#[derive(Debug, Default)]
pub struct Survey {
    /// What is to be written, holes included.
    bytes: u64,
    /// What of it takes space, as far as that can be told before.
    stored: u64,
    /// What could be replaced and may not be.
    in_the_way: Named,
    /// What is never replaced.
    of_another_kind: Named,
}

/// Places, of which the first few are named.
#[derive(Debug, Default)]
struct Named {
    count: u64,
    first: Vec<String>,
}

impl Named {
    fn add(&mut self, place: &Path) {
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push(place.display().to_string());
        }
    }

    fn refuse(&self, why: &str) -> Result<(), Fault> {
        if self.count == 0 {
            return Ok(());
        }
        let more = self.count - self.first.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(Fault::permanent(format!("{}{more}: {why}", self.first.join(", "))))
    }
}

/// What is where an entry is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// The same, as far as size and time tell.
    Same,
    /// Something else that could be replaced.
    Other,
    /// A link or a directory where there should be none, which is never replaced.
    Never,
}

impl Survey {
    pub fn take_in(&mut self, opened: &Opened, part: &Part, overwrite: bool, output: &Output) -> Result<(), Fault> {
        for entry in part.entries(opened)? {
            let (path, node) = entry?;
            let place = part.place_of(&path);
            output.advance(1);
            let there = look(&place, &node);
            if there == There::Never {
                self.of_another_kind.add(&place);
            } else if there == There::Other && !overwrite {
                self.in_the_way.add(&place);
            } else if node.is_file() && there != There::Same {
                self.bytes += node.meta.size;
                self.stored += stored(&node);
            }
        }
        Ok(())
    }

    /// Returns how much is to be written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Refuses what cannot be brought to its end, before anything is written.
    pub fn judge(&self, to: &Path) -> Result<(), Fault> {
        let shown = to.display();
        let kind = "a link, a file or a directory is where another kind belongs; it has to be moved away first";
        self.of_another_kind.refuse(kind)?;
        self.in_the_way
            .refuse("there is something else already, and nothing is written over unless that is asked for")?;
        let space = rustix::fs::statvfs(to)
            .map_err(|error| Fault::permanent(format!("{shown} cannot be looked at: {error}")))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if self.stored > free {
            let (need, free) = (self.stored >> 20, free >> 20);
            return Err(Fault::permanent(format!("{shown} has {free} MiB free, and the files take {need} MiB")));
        }
        Ok(())
    }
}

/// Looks at what is where an entry is to go. No link is followed.
pub fn look(place: &Path, node: &Node) -> There {
    let Ok(metadata) = fs::symlink_metadata(place) else { return There::Nothing };
    match node.node_type {
        NodeType::Dir if metadata.is_dir() => There::Same,
        NodeType::Dir => There::Never,
        _ if metadata.is_dir() => There::Never,
        NodeType::File if is_same_file(&metadata, node) => There::Same,
        NodeType::Symlink { .. } if fs::read_link(place).is_ok_and(|to| to == node.node_type.to_link()) => There::Same,
        NodeType::Fifo if metadata.file_type().is_fifo() => There::Same,
        NodeType::Dev { .. } if metadata.file_type().is_block_device() => There::Same,
        NodeType::Chardev { .. } if metadata.file_type().is_char_device() => There::Same,
        NodeType::Socket if metadata.file_type().is_socket() => There::Same,
        _ => There::Other,
    }
}

fn is_same_file(metadata: &Metadata, node: &Node) -> bool {
    let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    metadata.is_file() && metadata.len() == node.meta.size && modified.is_some() && modified == node.meta.mtime
}

/// Returns about how much space a file takes: a part that is there many times over is most likely a hole.
fn stored(node: &Node) -> u64 {
    let all = node.content.as_deref().unwrap_or_default();
    let distinct = all.iter().collect::<BTreeSet<_>>().len() as u64;
    match all.len() as u64 {
        0 => 0,
        count => node.meta.size / count * distinct,
    }
}
