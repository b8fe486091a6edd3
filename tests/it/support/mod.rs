//! What several tests need.

pub mod dice;
pub mod ports;
pub mod postfix;
pub mod roster;
pub mod skips;
pub mod stage;
pub mod tls;
pub mod wait;

use std::fs;
use std::path::{Path, PathBuf};

/// Returns every file below a folder, in order.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Returns a number of the environment: what makes a test longer, or repeats one of its runs.
pub fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
