//! `driver = "files"`: directories into a local repository in restic's format; the embedded default.
//!
//! ```toml
//! driver = "files"
//! path = "/srv/backup"                  # the repository; made at first use
//! key_file = "/etc/snapkeep/backup.key" # default: PATH.key beside the repository, made at first use
//! key_credential = "backup"             # or a systemd credential of the daemon's unit
//! memory_max = "4GiB"
//! prune_delay = "23h"                   # how long what nothing needs is kept before it is removed
//! ```
//!
//! Snapshots are deduplicated, compressed and encrypted; `restic` reads them too. The work is done by
//! `rustic_core` in a process of its own (`snapkeep driver files`), because the library takes no
//! locks, cannot be cancelled and panics on a corrupt repository. This half checks what people wrote
//! and opens that process as a driver; the other half is [`worker`].

mod backup;
mod damage;
mod driver;
mod key;
mod keyring;
mod lock;
mod maintain;
mod output;
mod present;
mod reading;
mod relabel;
mod repository;
mod restore;
mod source;
mod tags;
mod unnamed;
mod verify;
mod worker;

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustic_core::{Excludes, LocalSource, LocalSourceFilterOptions, LocalSourceSaveOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::process::{Limits, ProcessDriver, Program};
use super::settings::{SettingProblem, Settings};
use super::{Abilities, Driver};

pub use worker::worker_main;

/// Where systemd tells a service the directory of its credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Key derivation alone takes 130 MB; below this nothing would ever succeed.
const MEMORY_BYTES_MIN: u64 = 256 << 20;

/// A repository as the worker gets it: checked, paths absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// The repository's directory.
    path: PathBuf,
    /// The key, if it was named. One that was not is beside the repository and may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    /// The credential that the key was named as. Without `key_file` the daemon was given none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_credential: Option<String>,
    /// How long what nothing needs is kept before it is removed, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prune_delay_ms: Option<u64>,
}

/// What to snapshot, as the worker gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Absolute paths of files and directories.
    paths: Vec<PathBuf>,
    /// Patterns of what to leave out, as in a `.gitignore`.
    exclude: Vec<String>,
    /// Whether to stay on the file system of each path.
    one_file_system: bool,
}

impl Place {
    /// Returns a path beside the repository: its own with a suffix.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

/// Opens a repository.
pub fn open(table: &Map<String, Value>, base: &Path, program: &Path) -> Result<Arc<dyn Driver>, Vec<SettingProblem>> {
    let mut settings = Settings::new(table);
    let path = settings.required_text("path").map(|path| resolved(base, path));
    let key_file = settings.text("key_file").map(|path| resolved(base, path));
    let key_credential = settings.text("key_credential").map(str::to_owned);
    let memory_max = settings.bytes("memory_max");
    let prune_delay_ms = settings.span("prune_delay").and_then(|span| u64::try_from(span.millis()).ok());
    if let Some(path) = &path
        && path.parent().is_none()
    {
        settings.problem(SettingProblem::new("path", "path is the root directory"));
    }
    if let (Some(path), Some(key_file)) = (&path, &key_file)
        && key_file.starts_with(path)
    {
        let problem = SettingProblem::new("key_file", "key_file lies inside of the repository");
        settings.problem(problem.hint("whoever has the repository would have its key"));
    }
    if let Some(name) = &key_credential {
        if key_file.is_some() {
            let problem = SettingProblem::new("key_credential", "key_file and key_credential are both given");
            settings.problem(problem.hint("the key is in one place: a file, or a credential of the daemon's unit"));
        }
        if name.contains('/') || name == "." || name == ".." {
            let problem = SettingProblem::new("key_credential", "key_credential is not the name of a credential");
            settings.problem(problem.hint("write NAME of LoadCredential=NAME:FILE in the daemon's unit"));
        }
    }
    if memory_max.is_some_and(|bytes| bytes < MEMORY_BYTES_MIN) {
        settings.problem(SettingProblem::new(
            "memory_max",
            "memory_max is less than 256MiB, which no snapshot can do with",
        ));
    }
    match prune_delay_ms {
        Some(delay) if delay < maintain::DELAY_MS_MIN => {
            let problem = SettingProblem::new("prune_delay", "prune_delay is less than 23h");
            settings.problem(problem.hint("another program may still be using what was found to be unneeded"));
        }
        Some(delay) if delay > maintain::DELAY_MS_MAX => {
            settings.problem(SettingProblem::new("prune_delay", "prune_delay is more than 365d"));
        }
        Some(_) | None => {}
    }
    let problems = settings.finish();
    let (Some(path), true) = (path, problems.is_empty()) else { return Err(problems) };
    // The worker's environment is empty, so it is told the path; whether anything is there is for it to see.
    let directory = std::env::var_os(CREDENTIALS).map(PathBuf::from).filter(|directory| directory.is_absolute());
    let loaded = |name: &String| Some(resolved(directory.as_deref()?, name));
    let key_file = key_file.or_else(|| key_credential.as_ref().and_then(loaded));
    let place = Place { path, key_file, key_credential, prune_delay_ms };
    let repository = match serde_json::to_value(&place) {
        Ok(Value::Object(repository)) => repository,
        // Paths that came as JSON go back as JSON.
        Ok(_) | Err(_) => return Err(vec![SettingProblem::new("path", "path is not a text")]),
    };
    let program = Program {
        path: program.into(),
        arguments: vec![OsString::from("driver"), OsString::from("files")],
        called: Some(OsString::from("snapkeep")),
        title: "files".to_owned(),
    };
    let mut limits = Limits::default();
    if let Some(memory_max) = memory_max {
        limits.memory_bytes_max = memory_max;
    }
    // One writer at a time: the format has no lock that we could rely on.
    let abilities = Abilities {
        cancel: false,
        restore: true,
        restore_beside: true,
        verify: true,
        maintain: true,
        label: true,
        effects_max: 1,
    };
    let process = ProcessDriver::new(program, repository, abilities, limits);
    Ok(Arc::new(driver::Files { place, process }))
}

/// Checks `paths`, `exclude` and `one_file_system`.
pub fn check_config(config: &Map<String, Value>, base: &Path) -> Result<Value, Vec<SettingProblem>> {
    let mut settings = Settings::new(config);
    let paths = settings.required_texts("paths").unwrap_or_default();
    let exclude = settings.texts("exclude").unwrap_or_default();
    let one_file_system = settings.flag("one_file_system").unwrap_or(false);
    for (index, pattern) in exclude.iter().enumerate() {
        if let Err(message) = check_pattern(pattern) {
            let path = vec!["exclude".to_owned(), index.to_string()];
            settings.problem(SettingProblem { path, message, hint: None });
        }
    }
    let problems = settings.finish();
    if !problems.is_empty() {
        return Err(problems);
    }
    let config = Config {
        paths: paths.into_iter().map(|path| resolved(base, path)).collect(),
        exclude: exclude.into_iter().map(str::to_owned).collect(),
        one_file_system,
    };
    serde_json::to_value(config).map_err(|_| vec![SettingProblem::new("paths", "paths are not texts")])
}

/// Returns the path from `base`, without `.` and `..`, so that what is compared is what is meant.
fn resolved(base: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => resolved.push(component),
        }
    }
    resolved
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.starts_with('!') {
        return Err("an exclude pattern cannot begin with !".to_owned());
    }
    let excludes = Excludes::default().globs(vec![format!("!{pattern}")]);
    let (save, filter) = (LocalSourceSaveOptions::default(), LocalSourceFilterOptions::default());
    // Building a source compiles the pattern and reads nothing.
    match LocalSource::new(save, &excludes, &filter, &["/"]) {
        Ok(_) => Ok(()),
        Err(error) => {
            let cause = std::error::Error::source(error.as_ref()).map(ToString::to_string);
            Err(format!("pattern cannot be understood: {}", cause.unwrap_or_else(|| error.display_log())))
        }
    }
}

#[cfg(test)]
mod tests;
