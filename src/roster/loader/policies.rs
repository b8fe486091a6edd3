//! Takes in policies: each under the repository and the channels it names, with a uid nobody else has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::build::{self, Parts};
use super::super::shelf::{Found, Shelf, Sight, Tracked, look, scan};
use super::super::{Document, Entry};
use super::{Load, Loader, in_force, known};
use crate::config::problem::Problem;
use crate::config::{Digest, FileKind};
use crate::ownership::Stamp;

impl Loader {
    pub(super) fn load_policies(&mut self, load: &mut Load) {
        let scan = scan(&self.sources, &self.policy_trust, FileKind::Policy, known(&self.policies));
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
        let sight =
            if found.is_blocked { Sight::Unsettled } else { look(&found.path, stamp, &self.policy_trust, load.now) };
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
        stamp: Option<Stamp>,
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
}

/// Removes the policies that have no file, and returns those that were in force.
fn remove_absent(shelf: &mut Shelf<Entry>, found: &BTreeMap<Box<str>, Found>) -> Vec<(Arc<str>, Arc<Entry>)> {
    let gone: Vec<Arc<str>> = shelf.tracked.keys().filter(|name| !found.contains_key(&***name)).cloned().collect();
    gone.into_iter()
        .filter_map(|name| shelf.tracked.remove(&name).and_then(|tracked| tracked.good).map(|good| (name, good)))
        .collect()
}
