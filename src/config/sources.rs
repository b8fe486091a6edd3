//! Where configuration is looked for.
//!
//! ```text
//! /usr/lib/snapkeep  <  <state>/policies.d  <  /run/snapkeep  <  /etc/snapkeep
//!   the vendor's          made by the API        until reboot      an admin's
//! ```
//!
//! A file replaces one of the same name in a lower folder; an empty file masks it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::FileKind;
use super::settings::Defaults;

/// Where configuration is looked for.
#[derive(Clone, Debug)]
pub struct Sources {
    /// In rising precedence.
    roots: Vec<PathBuf>,
    /// In rising precedence.
    settings: Vec<PathBuf>,
    /// Whether the settings' file has to be there.
    is_named: bool,
    /// How many of `roots` rank below the state directory.
    below_state: usize,
    state: Option<PathBuf>,
    defaults: Defaults,
}

/// The name of the daemon's own file in every root.
const SETTINGS: &str = "snapkeep.toml";

impl Sources {
    /// Returns the system's directories.
    pub fn system() -> Sources {
        let roots: Vec<PathBuf> = ["/usr/lib/snapkeep", "/run/snapkeep", "/etc/snapkeep"].map(PathBuf::from).into();
        Sources::of_roots(roots, Defaults::system())
    }

    /// Returns directories of one's own, in rising precedence.
    pub fn of_roots(roots: Vec<PathBuf>, defaults: Defaults) -> Sources {
        let settings = roots.iter().map(|root| root.join(SETTINGS)).collect();
        Sources { settings, is_named: false, below_state: roots.len().min(1), roots, state: None, defaults }
    }

    /// Returns the folder of a settings file: everything is under it.
    pub fn of_file(file: &Path) -> Sources {
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_path_buf(),
            Some(_) | None => PathBuf::from("."),
        };
        Sources {
            settings: vec![file.to_path_buf()],
            is_named: true,
            below_state: 0,
            state: None,
            defaults: Defaults::of_folder(&folder),
            roots: vec![folder],
        }
    }

    /// Adds the state directory, where policies are that were made through the API.
    #[must_use]
    pub fn with_state(mut self, state: &Path) -> Sources {
        self.state = Some(state.to_path_buf());
        self
    }

    /// Returns the places that hold where the settings name none.
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Returns where the daemon's own file is.
    pub fn settings_file(&self) -> Option<PathBuf> {
        let found = self.settings.iter().rev().find(|file| self.is_named || file.symlink_metadata().is_ok());
        found.cloned()
    }

    /// Returns the folders of a kind of file, in rising precedence, each once.
    pub fn folders(&self, kind: FileKind) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.roots.iter().map(|root| root.join(kind.folder())).collect();
        if let (FileKind::Policy, Some(state)) = (kind, &self.state) {
            let folder = state.join(kind.folder());
            if !folders.contains(&folder) {
                folders.insert(self.below_state, folder);
            }
        }
        folders
    }

    /// Returns the file of a name in a folder that has precedence over `folder`, where there is one: it hides
    /// what stands there.
    pub fn above(&self, kind: FileKind, folder: &Path, name: &str) -> Option<PathBuf> {
        let folders = self.folders(kind);
        let own = folders.iter().position(|other| other == folder)?;
        let file = |folder: &PathBuf| folder.join(format!("{name}.toml"));
        folders.iter().skip(own + 1).map(file).find(|file| file.symlink_metadata().is_ok())
    }

    /// Returns the file of a name in a folder over which `folder` has precedence, where there is one: it comes
    /// into force when what stands there goes.
    pub fn below(&self, kind: FileKind, folder: &Path, name: &str) -> Option<PathBuf> {
        let folders = self.folders(kind);
        let own = folders.iter().position(|other| other == folder)?;
        let file = |folder: &PathBuf| folder.join(format!("{name}.toml"));
        folders.iter().take(own).map(file).find(|file| file.metadata().is_ok_and(|file| file.len() > 0))
    }

    /// Returns every directory in which a change can mean something, whether it is there or not.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut watched: Vec<PathBuf> = self.roots.clone();
        watched.extend(FileKind::ALL.into_iter().flat_map(|kind| self.folders(kind)));
        watched.extend(self.settings.iter().filter_map(|file| file.parent()).map(Path::to_path_buf));
        watched.sort();
        watched.dedup();
        watched
    }
}

/// Returns the drop-in files of a folder by name, in lexical order; none when there is no folder.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if is_drop_in(&name) {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of this name is read: `*.toml`, without editors' copies and hidden files.
pub fn is_drop_in(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".") && !name.ends_with(b"~")
}
