//! A folder to work in: something to snapshot, room for a repository, and places to restore to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file that is there before a restore.
const BEFORE: &str = "here-before";
const NOT_TO_BE_TOUCHED: &str = "not to be touched\n";

/// What stands for the folder to snapshot, in settings and configuration.
const SOURCE: &str = "{source}";
/// What stands for a path where a repository may be made.
const REPOSITORY: &str = "{repository}";

/// As deep as what we made, below whatever path a driver restores it to.
const DEPTH_MAX: usize = 64;

/// The folder. Whoever made it removes it.
#[derive(Clone, Debug)]
pub struct Scratch {
    folder: PathBuf,
    /// Whether the snapshots are of the folder in here; only then it is known what has to come back.
    pub is_used: bool,
}

impl Scratch {
    /// Makes the folder, for nobody else to read, and what is to be snapshotted in it.
    ///
    /// # Errors
    ///
    /// It is there already, or cannot be written to.
    pub fn make(folder: &Path) -> io::Result<Scratch> {
        fs::DirBuilder::new().mode(0o700).create(folder)?;
        let scratch = Scratch { folder: folder.to_owned(), is_used: false };
        fs::create_dir_all(scratch.path("source/folder"))?;
        // More than a pipe or a block holds, and every byte there is.
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        fs::write(scratch.path("source/folder/bytes"), bytes)?;
        fs::write(scratch.path("source/page"), "words\n")?;
        fs::write(scratch.path("source/a name, with ü"), "more words\n")?;
        fs::write(scratch.path("source/empty"), "")?;
        Ok(scratch)
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts the paths in here where a text says `{source}` or `{repository}`.
    pub fn fill(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                self.is_used |= text.contains(SOURCE);
                let path = |name| self.path(name).to_string_lossy().into_owned();
                *text = text.replace(SOURCE, &path("source")).replace(REPOSITORY, &path("repository"));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.fill(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.fill(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns how many files are snapshotted, 0 where that is not known.
    pub(super) fn count(&self) -> io::Result<u64> {
        if !self.is_used {
            return Ok(0);
        }
        Ok(files(&self.path("source"))?.len() as u64)
    }

    /// Makes an empty directory.
    pub(super) fn empty(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.path(name))
    }

    /// Makes a directory with a file in it.
    pub(super) fn full(&self, name: &str) -> io::Result<()> {
        self.empty(name)?;
        fs::write(self.path(name).join(BEFORE), NOT_TO_BE_TOUCHED)
    }

    /// Whether that file is as it was.
    pub(super) fn is_untouched(&self, name: &str) -> bool {
        fs::read_to_string(self.path(name).join(BEFORE)).is_ok_and(|text| text == NOT_TO_BE_TOUCHED)
    }

    /// Returns what should have been restored to `to` and what is there instead; `None` when all came
    /// back. A driver may put it below the path that it had.
    pub(super) fn missing(&self, to: &Path) -> io::Result<Option<(String, String)>> {
        let there = files(to)?;
        if !self.is_used {
            let nothing = || ("files in the directory".to_owned(), "it is empty".to_owned());
            return Ok(there.is_empty().then(nothing));
        }
        for (path, bytes) in files(&self.path("source"))? {
            let found = there.iter().find(|(restored, _)| restored.ends_with(&path)).map(|(_, bytes)| bytes);
            if found != Some(&bytes) {
                let got = found.map_or("no such file".to_owned(), |found| format!("{} other bytes", found.len()));
                return Ok(Some((format!("{} with its {} bytes", path.display(), bytes.len()), got)));
            }
        }
        Ok(None)
    }
}

/// Returns the files below a folder, by their paths from there.
fn files(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() && path.components().count() <= DEPTH_MAX {
                folders.push(path);
            } else if kind.is_file() {
                files.insert(path, fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}
