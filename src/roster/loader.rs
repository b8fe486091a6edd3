//! Reads what changed and puts together what is in force.
//!
//! A load looks at every file's times and reads only those that changed, or whose repository did.
//! So one edit among ten thousand files costs a look at each and the reading of one.

mod policies;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::build::{self, Memo};
use super::settings::read_settings;
use super::shared::Shared;
use super::shelf::{Shelf, Tracked};
use super::take_in::{TakenIn, drop_unneeded, take_in};
use super::{Channel, Document, Entry, Repository, Roster};
use crate::config::problem::Problem;
use crate::config::settings::Settings;
use crate::config::sources::Sources;
use crate::config::{Digest, FileKind};
use crate::drivers::registry;
use crate::lifecycle::schedule::Calendars;
use crate::lifecycle::time::Timestamp;
use crate::ownership::Trust;

/// Answers with the last good version of a file, its path and its text, from before a restart.
pub(super) type LastGood = dyn Fn(FileKind, &str) -> Option<(String, String)> + Send;

/// Keeps what was read, so that the next load reads only what changed.
pub struct Loader {
    sources: Sources,
    trust: Trust,
    /// Whose policies are believed. They are data: nothing in them is run.
    policy_trust: Trust,
    last_good: Box<LastGood>,
    seed: Arc<str>,
    program: Box<Path>,
    calendars: Calendars,
    shared: Shared,
    settings: Option<Arc<Settings>>,
    repositories: Shelf<Repository>,
    channels: Shelf<Channel>,
    policies: Shelf<Entry>,
    /// Which policy in force has which uid.
    uids: BTreeMap<Arc<str>, Arc<str>>,
    /// Rises when the names or uids policies are checked against change.
    generation: u64,
    files_read: u64,
    /// What the journal has of each file, until the first load.
    remembered: Remembered,
}

/// The digests of documents, by file.
type Remembered = BTreeMap<(FileKind, Box<str>), Digest>;

fn digest_of_document(origin: &str, text: &str) -> Digest {
    Digest::of(text).and(Digest::of(origin))
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loader({} policies)", self.policies.tracked.len())
    }
}

/// What one load gathers.
pub(super) struct Load {
    pub now: Timestamp,
    pub memo: Memo,
    /// What policies may name.
    repositories: BTreeMap<Arc<str>, Arc<Repository>>,
    channels: BTreeMap<Arc<str>, Arc<Channel>>,
    pub problems: Vec<Problem>,
    pub documents: Vec<Document>,
    remembered: Remembered,
    pub is_unsettled: bool,
}

impl Load {
    /// Notes that this is the last good version of a file, unless that is known.
    pub fn remember(&mut self, kind: FileKind, name: &str, origin: &Path, text: String) {
        let known = self.remembered.remove(&(kind, name.into()));
        if known != Some(digest_of_document(&origin.to_string_lossy(), &text)) {
            self.documents.push(Document::good(kind, name, origin, text));
        }
    }
}

impl Loader {
    /// Returns a loader that has read nothing yet. `last_good` is asked for a file whose version on
    /// disk is not accepted and that was not read by this loader before.
    pub fn new(
        sources: Sources,
        last_good: impl Fn(FileKind, &str) -> Option<(String, String)> + Send + 'static,
    ) -> Loader {
        Loader {
            sources,
            trust: Trust::of_this_process(),
            policy_trust: Trust::of_this_process(),
            last_good: Box::new(last_good),
            seed: Arc::from(""),
            program: Path::new(registry::OWN_PROGRAM).into(),
            calendars: Calendars::default(),
            shared: Shared::default(),
            settings: None,
            repositories: Shelf::default(),
            channels: Shelf::default(),
            policies: Shelf::default(),
            uids: BTreeMap::new(),
            generation: 1,
            files_read: 0,
            remembered: Remembered::new(),
        }
    }

    /// Lets `seed`, best the installation's identity, go into every spread, so that two hosts with
    /// the same policies do not meet at one repository.
    #[must_use]
    pub fn with_seed(mut self, seed: &str) -> Loader {
        self.seed = Arc::from(seed);
        self
    }

    /// Starts drivers that live in this program by another one: a test is none.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Loader {
        self.program = program.into();
        self
    }

    /// Takes a document as remembered already. A file that is the same at the first load is no news,
    /// and need not be written down again at every start.
    pub fn remember(&mut self, kind: FileKind, name: &str, origin: &str, text: &str) {
        self.remembered.insert((kind, name.into()), digest_of_document(origin, text));
    }

    /// Trusts others than root and the own user.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Loader {
        self.policy_trust = trust.clone();
        self.trust = trust;
        self
    }

    /// Lets root believe policies of whoever owns the state directory: the daemon's own user, who believes them too.
    /// Repositories and channels name programs, and root would run those.
    #[must_use]
    pub fn with_policies_of_the_owner_of(mut self, state: &Path) -> Loader {
        self.policy_trust = self.policy_trust.with_owner_of(state);
        self
    }

    /// Returns how many drop-in files were read since the beginning.
    pub fn files_read(&self) -> u64 {
        self.files_read
    }

    /// Forgets what files were like, so that the next load reads all of them: for new zone data.
    pub fn forget(&mut self) {
        self.repositories.tracked.values_mut().for_each(forget);
        self.channels.tracked.values_mut().for_each(forget);
        self.policies.tracked.values_mut().for_each(forget);
        self.shared.forget();
    }

    /// Returns what is in force at `now`.
    pub fn load(&mut self, now: Timestamp) -> Arc<Roster> {
        let mut load = Load {
            now,
            memo: Memo::new(std::mem::take(&mut self.calendars), std::mem::take(&mut self.shared)),
            repositories: BTreeMap::new(),
            channels: BTreeMap::new(),
            problems: Vec::new(),
            documents: Vec::new(),
            remembered: std::mem::take(&mut self.remembered),
            is_unsettled: false,
        };
        let settings = self.load_settings(&mut load);
        self.load_repositories(&mut load);
        self.load_channels(&mut load);
        self.check_default_channels(&settings, &mut load);
        self.load_policies(&mut load);
        self.drop_what_nobody_needs(&mut load);

        let Load { memo, mut problems, documents, is_unsettled, .. } = load;
        self.calendars = memo.schedules.calendars;
        self.shared = memo.shared;
        problems.extend(all_problems(&self.repositories));
        problems.extend(all_problems(&self.channels));
        problems.extend(all_problems(&self.policies));
        problems.sort_by(|a, b| a.order().cmp(&b.order()));
        Arc::new(Roster {
            settings,
            policies: in_force(&self.policies),
            repositories: in_force(&self.repositories),
            channels: in_force(&self.channels),
            problems,
            documents,
            is_unsettled,
        })
    }

    fn load_settings(&mut self, load: &mut Load) -> Arc<Settings> {
        let (settings, problems) = read_settings(&self.sources, &self.trust);
        let accepted = !problems.iter().any(Problem::is_error);
        load.problems.extend(problems);
        let settings = match &self.settings {
            // The last good ones stay in force.
            Some(last) if !accepted || **last == settings => last.clone(),
            Some(_) | None => Arc::new(settings),
        };
        self.settings = Some(settings.clone());
        settings
    }

    fn load_repositories(&mut self, load: &mut Load) {
        let program = self.program.clone();
        let build = &mut |name: &str, origin: &Path, text: &str| build::repository(name, origin, text, &program);
        let taken = take_in(
            &mut self.repositories,
            FileKind::Repository,
            &self.sources,
            &self.trust,
            &*self.last_good,
            load,
            build,
        );
        self.note(&taken);
    }

    fn load_channels(&mut self, load: &mut Load) {
        let taken = take_in(
            &mut self.channels,
            FileKind::Channel,
            &self.sources,
            &self.trust,
            &*self.last_good,
            load,
            &mut build::channel,
        );
        self.note(&taken);
    }

    /// Says which channels the settings name that are not there.
    fn check_default_channels(&self, settings: &Settings, load: &mut Load) {
        for told in &settings.notification.channels {
            if self.channels.tracked.get(&*told.channel).is_none_or(|channel| channel.good.is_none()) {
                let file = self.sources.settings_file().unwrap_or_else(|| Path::new("snapkeep.toml").into());
                let message = format!("[notification] names the channel `{}`, and there is none", told.channel);
                let hint = format!("write channels.d/{}.toml", told.channel);
                load.problems.push(Problem::of_file(&file, message).with_hint(hint));
            }
        }
    }

    fn note(&mut self, taken: &TakenIn) {
        self.files_read += taken.files;
        self.generation += u64::from(taken.changed);
    }

    /// Lets go of repositories and channels whose files are gone, unless a policy in force needs them.
    fn drop_what_nobody_needs(&mut self, load: &mut Load) {
        let any_gone = self.repositories.tracked.values().any(|tracked| tracked.is_gone)
            || self.channels.tracked.values().any(|tracked| tracked.is_gone);
        if !any_gone {
            return;
        }
        let policies = in_force(&self.policies);
        let settings = self.settings.clone();
        let is_default = |name: &str| {
            let told = settings.iter().flat_map(|settings| &settings.notification.channels);
            told.into_iter().any(|told| *told.channel == *name)
        };
        let needers = |kind: FileKind, name: &str| -> Vec<&str> {
            let needs = |entry: &&Arc<Entry>| match kind {
                FileKind::Repository => *entry.policy.repository == *name,
                FileKind::Channel => entry.policy.notification.channels.iter().any(|told| *told.channel == *name),
                FileKind::Policy => false,
            };
            let mut needers: Vec<&str> = policies.values().filter(needs).map(|entry| &*entry.policy.name).collect();
            if kind == FileKind::Channel && is_default(name) {
                needers.insert(0, "snapkeep.toml");
            }
            needers
        };
        let dropped = drop_unneeded(&mut self.repositories, FileKind::Repository, &needers, load)
            + drop_unneeded(&mut self.channels, FileKind::Channel, &needers, load);
        self.generation += u64::from(dropped > 0);
    }
}

fn forget<T>(tracked: &mut Tracked<T>) {
    tracked.stamp = None;
    tracked.digest = Digest(0);
}

pub(super) fn known<T>(shelf: &Shelf<T>) -> impl Iterator<Item = (&str, &Path)> + Clone {
    shelf.tracked.iter().filter(|(_, tracked)| !tracked.is_gone).map(|(name, tracked)| (&**name, &*tracked.folder))
}

fn in_force<T>(shelf: &Shelf<T>) -> BTreeMap<Arc<str>, Arc<T>> {
    shelf.tracked.iter().filter_map(|(name, tracked)| Some((name.clone(), tracked.good.clone()?))).collect()
}

fn all_problems<T>(shelf: &Shelf<T>) -> impl Iterator<Item = Problem> {
    shelf.tracked.values().flat_map(|tracked| tracked.problems.iter().cloned())
}
