//! What of a repository does not hold any more what was written to it. Its files, but for the
//! configuration, are called by the hash of their content.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustic_core::RusticError;
use sha2::{Digest, Sha256};

use crate::lifecycle::hex::hex;
use crate::lifecycle::workflow::Fault;

use super::{Place, repository};

/// Returns a fault for an index that could not be read.
pub fn index_fault(place: &Place, error: &RusticError) -> Fault {
    const WHAT: &str = "index cannot be read";
    find(place, "index")
        .map_or_else(|| repository::fault(WHAT, error), |damage| Fault::permanent(format!("{WHAT}: {damage}")))
}

/// Says which files in a folder of the repository are damaged: they are called by the hash of what was
/// written to them.
pub fn find(place: &Place, folder: &str) -> Option<String> {
    /// As many as a message can use.
    const NAMED_MAX: usize = 3;
    let is_damaged = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        repository::is_id(&name) && sha256(path, |_| {}).is_ok_and(|hash| hash != name)
    };
    let entries = fs::read_dir(place.path.join(folder)).ok()?.flatten();
    let damaged: BTreeSet<PathBuf> = entries.map(|entry| entry.path()).filter(is_damaged).collect();
    let named: Vec<String> = damaged.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
    let more = damaged.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!damaged.is_empty()).then(|| format!("damaged, not holding what was written: {}{more}", named.join(", ")))
}

/// Reads a file, and returns the hash of its content as such files are called. Tells how far it is.
pub fn sha256(path: &Path, advance: impl Fn(u64)) -> std::io::Result<String> {
    /// Large enough to keep a disk busy.
    const PORTION_BYTES: usize = 1 << 20;
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut portion = vec![0; PORTION_BYTES];
    loop {
        let count = file.read(&mut portion)?;
        if count == 0 {
            break;
        }
        hash.update(&portion[..count]);
        advance(count as u64);
    }
    Ok(hex(&hash.finalize()))
}
