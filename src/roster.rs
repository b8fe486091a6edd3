//! Every policy in force, with its repository open and its driver's part checked, and everything
//! that is wrong with what people wrote.
//!
//! A roster is a whole: the engine compares it with what it knew, and needs no word about what
//! changed. A bad file never takes a good one down: its last good version stays in force, is
//! marked stale, and the problems are listed beside it.

mod build;
mod loader;
mod settings;
mod shared;
mod shelf;
mod take_in;
mod terms;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::config::Digest;
use crate::config::settings::Settings;
use crate::drivers::Driver;
use crate::lifecycle::channel;
use crate::lifecycle::policy::{Policy, Revision};
use crate::lifecycle::schedule::Calendars;
use crate::notify;

pub use crate::config::FileKind;
pub use crate::config::problem::Problem;
pub use loader::Loader;
pub use settings::load_settings;
pub use terms::{TermsError, entry_from_terms, terms_text};

/// What is in force, and what is wrong.
#[derive(Clone, Debug)]
pub struct Roster {
    /// The daemon's own settings.
    pub settings: Arc<Settings>,
    /// Every policy in force, by name.
    pub policies: BTreeMap<Arc<str>, Arc<Entry>>,
    /// Every repository in force, by name.
    pub repositories: BTreeMap<Arc<str>, Arc<Repository>>,
    /// Every channel in force, by name.
    pub channels: BTreeMap<Arc<str>, Arc<Channel>>,
    /// Everything that is wrong, by file and line.
    pub problems: Vec<Problem>,
    /// What is to be remembered for the next start, of this load only.
    pub documents: Vec<Document>,
    /// Whether a file changed so shortly before that it should be looked at again in two seconds.
    pub is_unsettled: bool,
}

/// A policy in force.
#[derive(Debug)]
pub struct Entry {
    /// The policy.
    pub policy: Policy,
    /// Its repository, open.
    pub repository: Arc<Repository>,
    /// The driver's part of `snapshot_config`, as the driver's check accepted it.
    pub config: Config,
    /// The folder of the file it was read from.
    pub folder: Arc<Path>,
    /// Whether the file now holds something else that is not accepted, or cannot be read.
    pub stale: bool,
    /// The digest of the text as it was written.
    digest: Digest,
    /// What went into its spread.
    seed: Arc<str>,
}

impl Entry {
    /// Returns an entry that no file stands for.
    pub fn by_hand(policy: Policy, repository: Arc<Repository>, config: Value) -> Entry {
        Entry {
            policy,
            repository,
            config: Config::new(&config),
            folder: Path::new("").into(),
            stale: false,
            digest: Digest(0),
            seed: Arc::from(""),
        }
    }

    /// Returns the file it was read from.
    pub fn origin(&self) -> PathBuf {
        file_in(&self.folder, &self.policy.name)
    }

    /// Whether it was read from this file.
    pub fn is_of(&self, file: &Path) -> bool {
        file.file_stem() == Some(OsStr::new(&*self.policy.name)) && file.parent() == Some(&self.folder)
    }

    /// Returns the digest of the text it was read from.
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// Returns the entry marked stale, or not.
    fn marked(&self, stale: bool) -> Entry {
        Entry {
            policy: self.policy.clone(),
            repository: self.repository.clone(),
            config: self.config.clone(),
            folder: self.folder.clone(),
            stale,
            digest: self.digest,
            seed: self.seed.clone(),
        }
    }
}

/// The driver's part of `snapshot_config`. Kept as the text of its JSON, which takes a tenth of the
/// memory and is read when a snapshot is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(Box<str>);

impl Config {
    fn new(config: &Value) -> Config {
        Config(config.to_string().into())
    }

    /// Returns it as the driver's check accepted it.
    pub fn value(&self) -> Value {
        // It was written by `new`: always JSON.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// A repository in force.
#[derive(Debug)]
pub struct Repository {
    /// The file's stem.
    pub name: Arc<str>,
    /// Which driver.
    pub kind: Box<str>,
    /// The driver, open.
    pub driver: Arc<dyn Driver>,
    /// The version of the text it was opened with.
    pub revision: Revision,
    /// The file it was read from.
    pub origin: Box<Path>,
    text: Box<str>,
    digest: Digest,
}

impl Repository {
    /// Returns a repository that no file stands for.
    pub fn by_hand(name: &str, kind: &str, driver: Arc<dyn Driver>) -> Repository {
        Repository {
            name: name.into(),
            kind: kind.into(),
            driver,
            revision: Revision("".into()),
            origin: Path::new("").into(),
            text: "".into(),
            digest: Digest(0),
        }
    }
}

/// A channel in force.
#[derive(Debug)]
pub struct Channel {
    /// The file's stem.
    pub name: Box<str>,
    /// What it is.
    pub settings: channel::Channel,
    /// Whoever takes its messages.
    pub sender: Arc<dyn notify::Channel>,
    /// The version of its text.
    pub revision: Revision,
    /// The file it was read from.
    pub origin: Box<Path>,
}

/// What is to be remembered of a file, so that its last good version is there after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is about.
    pub kind: FileKind,
    /// Its name.
    pub name: Box<str>,
    /// What became of it.
    pub news: News,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was accepted: this is its last good version.
    Good {
        /// The file it was read from.
        origin: Box<Path>,
        /// All of it, comments included.
        text: Box<str>,
    },
    /// It is gone, and nothing in force needs it.
    Gone,
}

impl Document {
    fn good(kind: FileKind, name: &str, origin: &Path, text: String) -> Document {
        let news = News::Good { origin: origin.into(), text: text.into() };
        Document { kind, name: name.into(), news }
    }

    fn gone(kind: FileKind, name: &str) -> Document {
        Document { kind, name: name.into(), news: News::Gone }
    }
}

impl Roster {
    /// Returns the roster without what was to be remembered once.
    pub fn remembered(self: Arc<Roster>) -> Arc<Roster> {
        if self.documents.is_empty() {
            return self;
        }
        Arc::new(Roster {
            settings: self.settings.clone(),
            policies: self.policies.clone(),
            repositories: self.repositories.clone(),
            channels: self.channels.clone(),
            problems: self.problems.clone(),
            documents: Vec::new(),
            is_unsettled: self.is_unsettled,
        })
    }

    /// Returns a roster with nothing in force.
    pub fn empty(settings: Arc<Settings>) -> Roster {
        Roster {
            settings,
            policies: BTreeMap::new(),
            repositories: BTreeMap::new(),
            channels: BTreeMap::new(),
            problems: Vec::new(),
            documents: Vec::new(),
            is_unsettled: false,
        }
    }

    /// Returns the problems of one drop-in file, by the name it stands for.
    pub fn problems_of(&self, kind: FileKind, name: &str) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| {
            problem.file.file_stem() == Some(OsStr::new(name))
                && problem.file.parent().and_then(Path::file_name) == Some(OsStr::new(kind.folder()))
        })
    }

    /// Whether anything is wrong that keeps a file from being accepted.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// Returns what an earlier text of a policy would stand for today; `None` where it is no longer
    /// accepted.
    pub fn earlier(&self, entry: &Entry, text: &str) -> Option<Entry> {
        let mut parts = build::Parts {
            repositories: &self.repositories,
            channels: &self.channels,
            seed: &entry.seed,
            memo: &mut build::Memo::new(Calendars::default(), shared::Shared::default()),
            holder: &|_| None,
        };
        build::entry(&entry.policy.name, &entry.origin(), text, &mut parts).0
    }

    /// Checks a policy's text against this roster, as if it stood in the file `origin`. Returns the
    /// entry and its warnings, or every problem. Nothing is put in force.
    pub fn check_policy(&self, name: &str, origin: &Path, text: &str) -> Result<(Entry, Vec<Problem>), Vec<Problem>> {
        let mut parts = build::Parts {
            repositories: &self.repositories,
            channels: &self.channels,
            // Of a policy in force the triggers stay where they are.
            seed: &self.policies.get(name).map_or_else(|| Arc::from(""), |entry| entry.seed.clone()),
            memo: &mut build::Memo::new(Calendars::default(), shared::Shared::default()),
            holder: &|uid| {
                let other = self.policies.values().find(|entry| entry.policy.uid.as_deref() == Some(uid))?;
                (&*other.policy.name != name).then(|| other.policy.name.to_string())
            },
        };
        let (entry, problems) = build::entry(name, origin, text, &mut parts);
        match entry {
            Some(entry) => Ok((entry, problems)),
            None => Err(problems),
        }
    }
}

/// Returns the digest of a policy's text.
pub fn digest(text: &str) -> String {
    Digest::of(text).to_string()
}

/// Returns the drop-in file of a name: its stem is the name.
fn file_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.toml"))
}
