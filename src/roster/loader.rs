//! Reads what changed and puts together what is in force.
//!
//! A load looks at every file's times and reads only those that changed, or whose repository did.
//! So one edit among ten thousand files costs a look at each and the reading of one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::build::{self, Memo, Parts};
use super::shared::Shared;
use super::shelf::{Found, Shelf, Sight, Tracked, look, scan};
use super::take_in::{drop_unneeded, take_in};
use super::{Channel, Document, Entry, Repository, Roster};
use crate::config::ownership::{Refusal, Trust};
use crate::config::problem::Problem;
use crate::config::reader::Findings;
use crate::config::settings::Settings;
use crate::config::sources::Sources;
use crate::config::{Digest, FileKind};
use crate::drivers::registry;
use crate::lifecycle::schedule::Calendars;
use crate::lifecycle::time::Timestamp;

/// Answers with the last good version of a file, its path and its text, from before a restart.
pub(super) type LastGood = dyn Fn(FileKind, &str) -> Option<(String, String)> + Send;

/// Keeps what was read, so that the next load reads only what changed.
pub struct Loader {
    sources: Sources,
    trust: Trust,
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
        self.trust = trust;
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
        let scan = scan(&self.sources, &self.trust, FileKind::Repository, known(&self.repositories));
        let mut changed = false;
        let program = &*self.program;
        let read = take_in(
            &mut self.repositories,
            FileKind::Repository,
            scan,
            &self.trust,
            &*self.last_good,
            load,
            &mut |name, origin, text| {
                changed = true;
                build::repository(name, origin, text, program)
            },
        );
        self.files_read += read.files;
        self.generation += u64::from(changed || read.lost);
    }

    fn load_channels(&mut self, load: &mut Load) {
        let scan = scan(&self.sources, &self.trust, FileKind::Channel, known(&self.channels));
        let mut changed = false;
        let read = take_in(
            &mut self.channels,
            FileKind::Channel,
            scan,
            &self.trust,
            &*self.last_good,
            load,
            &mut |name, origin, text| {
                changed = true;
                build::channel(name, origin, text)
            },
        );
        self.files_read += read.files;
        self.generation += u64::from(changed || read.lost);
    }

    fn load_policies(&mut self, load: &mut Load) {
        let scan = scan(&self.sources, &self.trust, FileKind::Policy, known(&self.policies));
        load.problems.extend(scan.problems);
        for (name, entry) in remove_absent(&mut self.policies, &scan.found) {
            self.release_uid(entry.policy.uid.clone());
            load.documents.push(Document::gone(FileKind::Policy, &name));
        }
        load.repositories = in_force(&self.repositories);
        load.channels = in_force(&self.channels);
        let known = self.policies.tracked.len();
        // A second pass, for a uid may have been given up by a policy that comes after the one that takes it.
        for _ in 0..2 {
            let generation = self.generation;
            for (name, found) in &scan.found {
                self.load_policy(name, found, load);
            }
            if self.generation == generation {
                break;
            }
        }
        if self.policies.tracked.len() > known {
            self.policies.compact();
        }
    }

    fn load_policy(&mut self, name: &str, found: &Found, load: &mut Load) {
        let tracked = self.policies.tracked.get(name);
        let is_elsewhere = tracked.is_some_and(|tracked| found.path.parent() != Some(&tracked.folder));
        let good = tracked.and_then(|tracked| tracked.good.clone());
        // Under another repository the same text is another revision, or no longer accepted.
        let moved = good.as_ref().is_some_and(|entry| {
            let repository = load.repositories.get(&entry.repository.name);
            repository.is_some_and(|repository| repository.digest != entry.repository.digest)
        });
        let refused_before = tracked.is_some_and(|tracked| {
            (tracked.is_stale || tracked.good.is_none()) && tracked.generation != self.generation
        });
        let stamp = tracked.and_then(|tracked| tracked.stamp).filter(|_| !is_elsewhere && !moved && !refused_before);
        let sight = if found.is_blocked { Sight::Unsettled } else { look(&found.path, stamp, &self.trust, load.now) };
        match sight {
            Sight::Same => {}
            Sight::Absent => {
                if let Some(entry) = self.policies.tracked.remove(name).and_then(|tracked| tracked.good) {
                    self.release_uid(entry.policy.uid.clone());
                    load.documents.push(Document::gone(FileKind::Policy, name));
                }
            }
            Sight::Unsettled => {
                load.is_unsettled |= !found.is_blocked;
                self.keep_policy(name, found, None, Vec::new(), load);
            }
            Sight::Bad { problem, stamp } => {
                self.files_read += 1;
                self.keep_policy(name, found, stamp, vec![problem], load);
            }
            Sight::Text { text, stamp } => {
                self.files_read += 1;
                load.is_unsettled |= stamp.is_none();
                let digest = Digest::of(&text);
                if let Some(tracked) = self.policies.tracked.get_mut(name)
                    && tracked.digest == digest
                    && !is_elsewhere
                    && !moved
                    && !refused_before
                {
                    tracked.stamp = stamp;
                    return;
                }
                match self.build_policy(name, &found.path, &text, load) {
                    (Some(entry), problems) => {
                        load.remember(FileKind::Policy, name, &found.path, text);
                        let folder = entry.folder.clone();
                        let tracked = Tracked { stamp, digest, problems, ..Tracked::new(folder) };
                        self.install(name, Tracked { good: Some(Arc::new(entry)), ..tracked });
                    }
                    (None, problems) => {
                        self.keep_policy(name, found, stamp, problems, load);
                        if let Some(tracked) = self.policies.tracked.get_mut(name) {
                            tracked.digest = digest;
                        }
                    }
                }
            }
        }
    }

    /// Keeps the last good version of a policy in force beside the problems of its file.
    fn keep_policy(
        &mut self,
        name: &str,
        found: &Found,
        stamp: Option<crate::config::ownership::Stamp>,
        problems: Vec<Problem>,
        load: &mut Load,
    ) {
        let before = self.policies.tracked.get(name).and_then(|tracked| tracked.good.clone());
        let stale = !problems.is_empty() || found.is_blocked || before.as_ref().is_some_and(|entry| entry.stale);
        let good = match before {
            Some(entry) => {
                let repository = load.repositories.get(&entry.repository.name);
                if repository.is_none_or(|repository| repository.digest == entry.repository.digest) {
                    Some(entry)
                } else {
                    // Its repository was edited: the last good text goes on under the new one, if it can.
                    let text = (self.last_good)(FileKind::Policy, name).map(|(_, text)| text);
                    let text = text.filter(|text| Digest::of(text) == entry.digest);
                    let rebuilt = text.and_then(|text| self.build_policy(name, &entry.origin(), &text, load).0);
                    Some(rebuilt.map_or(entry, Arc::new))
                }
            }
            None => (self.last_good)(FileKind::Policy, name)
                .and_then(|(origin, text)| self.build_policy(name, Path::new(&origin), &text, load).0.map(Arc::new)),
        };
        let good = good.map(|entry| if entry.stale == stale { entry } else { Arc::new(entry.marked(stale)) });
        let mut tracked = Tracked { stamp, problems, ..Tracked::new(load.memo.folder(&found.path)) };
        tracked.is_stale = stale;
        tracked.good = good;
        self.install(name, tracked);
    }

    fn install(&mut self, name: &str, mut tracked: Tracked<Entry>) {
        let uid_of = |tracked: &Tracked<Entry>| tracked.good.as_ref().and_then(|entry| entry.policy.uid.clone());
        let (before, uid) = (self.policies.tracked.get(name).and_then(uid_of), uid_of(&tracked));
        // One name in memory, not two: there may be ten thousand.
        let name = tracked.good.as_ref().map_or_else(|| name.into(), |entry| entry.policy.name.clone());
        if before != uid {
            self.release_uid(before);
            if let Some(uid) = uid {
                self.uids.insert(uid, name.clone());
            }
        }
        tracked.generation = self.generation;
        self.policies.tracked.insert(name, tracked);
    }

    /// Lets another policy have a uid. No two policies in force have the same one.
    fn release_uid(&mut self, uid: Option<Arc<str>>) {
        if uid.is_some_and(|uid| self.uids.remove(&uid).is_some()) {
            self.generation += 1;
        }
    }

    fn build_policy(
        &mut self,
        name: &str,
        origin: &Path,
        text: &str,
        load: &mut Load,
    ) -> (Option<Entry>, Vec<Problem>) {
        let (entry, problems) = self.try_policy(name, origin, text, load);
        if entry.is_some() || !self.recall(text, load) {
            return (entry, problems);
        }
        self.try_policy(name, origin, text, load)
    }

    fn try_policy(&mut self, name: &str, origin: &Path, text: &str, load: &mut Load) -> (Option<Entry>, Vec<Problem>) {
        let uids = &self.uids;
        let mut parts = Parts {
            repositories: &load.repositories,
            channels: &load.channels,
            seed: &self.seed,
            memo: &mut load.memo,
            holder: &|uid| uids.get(uid).filter(|holder| ***holder != *name).map(|holder| holder.to_string()),
        };
        build::entry(name, origin, text, &mut parts)
    }

    /// Brings back from before a restart what a policy names and no file holds. Whether it found
    /// anything.
    fn recall(&mut self, text: &str, load: &mut Load) -> bool {
        let (repository, channels) = build::names_wanted(text);
        let mut found = false;
        if let Some(name) = repository
            && !self.repositories.tracked.contains_key(name.as_str())
            && let Some((origin, text)) = (self.last_good)(FileKind::Repository, &name)
            && let (Some(repository), _) = build::repository(&name, Path::new(&origin), &text, &self.program)
        {
            let repository = Arc::new(repository);
            let mut tracked = Tracked::new(load.memo.folder(Path::new(&origin)));
            (tracked.is_gone, tracked.good) = (true, Some(repository.clone()));
            self.repositories.tracked.insert(name.as_str().into(), tracked);
            load.repositories.insert(name.into(), repository);
            found = true;
        }
        for name in channels {
            if !self.channels.tracked.contains_key(name.as_str())
                && let Some((origin, text)) = (self.last_good)(FileKind::Channel, &name)
                && let (Some(channel), _) = build::channel(&name, Path::new(&origin), &text)
            {
                let mut tracked = Tracked::new(load.memo.folder(Path::new(&origin)));
                let channel = Arc::new(channel);
                (tracked.is_gone, tracked.good) = (true, Some(channel.clone()));
                self.channels.tracked.insert(name.as_str().into(), tracked);
                load.channels.insert(name.into(), channel);
                found = true;
            }
        }
        found
    }

    /// Lets go of repositories and channels whose files are gone, unless a policy in force needs them.
    fn drop_what_nobody_needs(&mut self, load: &mut Load) {
        let any_gone = self.repositories.tracked.values().any(|tracked| tracked.is_gone)
            || self.channels.tracked.values().any(|tracked| tracked.is_gone);
        if !any_gone {
            return;
        }
        let policies = in_force(&self.policies);
        let needers = |kind: FileKind, name: &str| -> Vec<&str> {
            let needs = |entry: &&Arc<Entry>| match kind {
                FileKind::Repository => *entry.policy.repository == *name,
                FileKind::Channel => entry.policy.notification.channels.iter().any(|channel| **channel == *name),
                FileKind::Policy => false,
            };
            policies.values().filter(needs).map(|entry| &*entry.policy.name).collect()
        };
        let dropped = drop_unneeded(&mut self.repositories, FileKind::Repository, &needers, load)
            + drop_unneeded(&mut self.channels, FileKind::Channel, &needers, load);
        self.generation += u64::from(dropped > 0);
    }
}

/// Reads the daemon's own settings. What is wrong in them has its default in what is returned;
/// whoever starts a daemon should not go on when there is an error.
pub fn load_settings(sources: &Sources) -> (Settings, Vec<Problem>) {
    read_settings(sources, &Trust::of_this_process())
}

fn read_settings(sources: &Sources, trust: &Trust) -> (Settings, Vec<Problem>) {
    let chosen =
        sources.settings_files().iter().rev().find(|file| sources.is_named() || file.symlink_metadata().is_ok());
    let Some(path) = chosen else { return (Settings::default_in(sources.defaults()), Vec::new()) };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let whole = trust.check_folder(folder).and_then(|()| trust.read(path));
    let text = whole.and_then(|whole| {
        String::from_utf8(whole.bytes).map_err(|_| Refusal { message: "text is not UTF-8".into(), hint: None })
    });
    match text {
        Ok(text) => {
            let mut findings = Findings::new(path, &text);
            let settings = Settings::read(&mut findings, folder, sources.defaults());
            (settings, findings.into_problems())
        }
        Err(refusal) => {
            let mut problem = Problem::of_file(path, refusal.message);
            problem.hint = refusal.hint.map(Into::into);
            (Settings::default_in(sources.defaults()), vec![problem])
        }
    }
}

fn forget<T>(tracked: &mut Tracked<T>) {
    tracked.stamp = None;
    tracked.digest = Digest(0);
}

fn known<T>(shelf: &Shelf<T>) -> impl Iterator<Item = (&str, &Path)> + Clone {
    shelf.tracked.iter().filter(|(_, tracked)| !tracked.is_gone).map(|(name, tracked)| (&**name, &*tracked.folder))
}

fn in_force<T>(shelf: &Shelf<T>) -> BTreeMap<Arc<str>, Arc<T>> {
    shelf.tracked.iter().filter_map(|(name, tracked)| Some((name.clone(), tracked.good.clone()?))).collect()
}

fn all_problems<T>(shelf: &Shelf<T>) -> impl Iterator<Item = Problem> {
    shelf.tracked.values().flat_map(|tracked| tracked.problems.iter().cloned())
}

/// Removes the policies that have no file, and returns those that were in force.
fn remove_absent(shelf: &mut Shelf<Entry>, found: &BTreeMap<Box<str>, Found>) -> Vec<(Arc<str>, Arc<Entry>)> {
    let gone: Vec<Arc<str>> = shelf.tracked.keys().filter(|name| !found.contains_key(&***name)).cloned().collect();
    gone.into_iter()
        .filter_map(|name| shelf.tracked.remove(&name).and_then(|tracked| tracked.good).map(|good| (name, good)))
        .collect()
}
