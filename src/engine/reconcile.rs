//! A new roster against what is known: adopt, revise, retire. Whole sets are compared; no hint of
//! what changed is used, so a lost one does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::journal::change::{Adoption, Change, DocumentKind};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::hex::hex;
use crate::lifecycle::policy::{Pace, Switch};
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Phase, Workflow};
use crate::roster::{self, Document, Entry, FileKind, News, Roster};

use super::tracked::{Flow, Tracked, Work};
use super::{Engine, problems};

impl Engine {
    /// Makes `roster` the one in force.
    pub(super) fn reconcile(&mut self, roster: Arc<Roster>, now: Moment) {
        for document in roster.documents.iter() {
            self.changes.push(remembered(document, now.wall));
        }
        let read = roster.clone();
        let texts: BTreeMap<&str, &str> = read.documents.iter().filter_map(policy_text).collect();
        // They go into the turn's changes; nobody asks for them again.
        let roster = roster.remembered();
        problems::log(&roster.problems, &self.roster.problems);
        self.roster = roster.clone();
        // Also at a start: what a person mended while the daemon was down is tried at once.
        let changed = read.documents.iter().filter(|document| document.kind == FileKind::Channel);
        let changed: Vec<Box<str>> = changed.map(|document| document.name.clone()).collect();
        self.hurry(changed, now);
        self.listen_for_beats(now);
        self.view.set_roster(&roster);
        let mut renamed: Vec<(u32, Arc<Entry>)> = Vec::new();
        let mut gone: Vec<(Arc<str>, u32)> = Vec::new();
        let heirs = self.heirs(&roster);
        for (name, index) in &self.names {
            match heirs.get(index) {
                Some(entry) if entry.policy.name == *name => {}
                Some(entry) => renamed.push((*index, entry.clone())),
                None => gone.push((name.clone(), *index)),
            }
        }
        for (name, index) in gone {
            self.retire(index, &name, now);
        }
        self.rename(&renamed);
        let mut changed = BTreeSet::new();
        for (name, entry) in &roster.policies {
            let text = texts.get(&**name).copied();
            match self.names.get(name).copied() {
                Some(index) => {
                    if self.revise(index, entry, text, now) {
                        changed.insert(index);
                    }
                }
                None => {
                    if let Some(index) = self.adopt(name, entry, text, now) {
                        changed.insert(index);
                    }
                }
            }
        }
        for index in changed {
            self.pump_policy(index, now);
        }
        self.look_at_problems(now);
        self.look_at_alarms_anew(now);
    }

    /// `text` is the policy's where this roster brought it.
    fn adopt(&mut self, name: &Arc<str>, entry: &Arc<Entry>, text: Option<&str>, now: Moment) -> Option<u32> {
        let uid = entry.policy.uid.clone().unwrap_or_else(|| new_uid(&self.installation, name, now.wall));
        if self.uids.contains_key(&uid) {
            // Still followed to its end under its former name, or two files with one uid; `config`
            // reports the latter. Tried again with the next roster.
            tracing::warn!(policy = %name, %uid, "not adopted: its uid is in use");
            return None;
        }
        let index = self.next_index;
        self.next_index += 1;
        // Triggers count from here on, never backwards (S19).
        let creation = Workflow { mark: now.wall, phase: Phase::Waiting };
        let deletion = Workflow { mark: now.wall, phase: Phase::Waiting };
        let seq_no = self.edits.next_seq_no();
        self.changes.push(Change::Adopt(Adoption {
            policy_uid: uid.clone(),
            name: name.clone(),
            revision: entry.policy.revision.clone(),
            at: now.wall,
            seq_no,
            creation: creation.clone(),
            deletion: deletion.clone(),
        }));
        self.keep_terms(entry, text);
        tracing::info!(policy = %name, "policy adopted");
        let mut tracked = Tracked {
            uid: uid.clone(),
            name: name.clone(),
            switch: Switch::AsWritten,
            seq_no,
            adopted_at: now.wall,
            entry: Some(entry.clone()),
            creation: Flow::new(creation, 1, None),
            deletion: Flow::new(deletion, 1, None),
            // There is nothing of it yet to be looked at first.
            seen: Some(0),
            cleared_at: now.wall,
            guarded: None,
            last_good: None,
            creation_over_at: None,
            skips: Vec::new(),
            revision: Some(entry.policy.revision.clone()),
        };
        if entry.policy.uid.is_some() {
            self.remember_returning(&mut tracked, entry);
        }
        self.lock_age(&uid, name, entry.policy.deletion.as_deref(), now);
        self.names.insert(name.clone(), index);
        self.uids.insert(uid, index);
        self.policies.insert(index, Arc::new(tracked));
        self.touched.insert(index);
        Some(index)
    }

    /// Returns whether anything changed.
    fn revise(&mut self, index: u32, entry: &Arc<Entry>, text: Option<&str>, now: Moment) -> bool {
        let known = self.policies.get(&index).and_then(|tracked| tracked.entry.clone());
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, entry)) {
            return false;
        }
        self.with(index, |engine, tracked| {
            // At a start nothing says what it was; that it is enabled is no news then.
            let was_enabled = tracked.entry.is_none() || tracked.is_enabled();
            if tracked.revision.as_ref() != Some(&entry.policy.revision) {
                let former = tracked.revision.clone();
                engine
                    .changes
                    .push(Change::Revise { policy_uid: tracked.uid.clone(), revision: entry.policy.revision.clone() });
                engine.keep_terms(entry, text);
                tracing::info!(policy = %tracked.name, revision = %entry.policy.revision, "policy revised");
                if entry.policy.uid.as_ref().is_some_and(|uid| *uid != tracked.uid) {
                    tracing::warn!(
                        policy = %tracked.name, uid = %tracked.uid,
                        "uid in the file is not the one its snapshots carry, and is ignored; a new name makes a new policy"
                    );
                }
                // After a restart only its text is known, from before this roster.
                let known = known.or_else(|| {
                    let document = engine.journal.document(DocumentKind::Policy, &tracked.name).ok().flatten()?;
                    engine.roster.earlier(entry, &document.text).map(Arc::new)
                });
                engine.remember_former(tracked, former, known.as_deref(), entry);
                if known.as_ref().is_some_and(|known| known.policy.enabled != entry.policy.enabled) {
                    // Of what the file and the commands say, the latest counts.
                    engine.switch(tracked, Switch::AsWritten);
                }
                engine.count_from_now::<Creation>(index, tracked, known.as_deref(), entry, now);
                engine.count_from_now::<Deletion>(index, tracked, known.as_deref(), entry, now);
            }
            // One copy of each in memory, the roster's.
            tracked.revision = Some(entry.policy.revision.clone());
            tracked.name = entry.policy.name.clone();
            tracked.entry = Some(entry.clone());
            if text.is_some() {
                engine.version(tracked, was_enabled, now.wall);
            }
            engine.lock_age(&tracked.uid, &tracked.name, entry.policy.deletion.as_deref(), now);
            if entry.policy.deletion.is_none() {
                engine.clear_held(&tracked.uid);
            }
        });
        true
    }

    /// A new schedule counts from now on (S19); the same schedule under another description goes on
    /// as if nothing had happened, also over a restart.
    fn count_from_now<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        known: Option<&Entry>,
        entry: &Entry,
        now: Moment,
    ) {
        let timing = |entry: &Entry| W::pace(entry).map(|pace: &Pace| pace.schedule.clone());
        let same =
            known.is_some_and(|known| timing(known) == timing(entry) && known.policy.enabled == entry.policy.enabled);
        if !same {
            self.set_mark::<W>(index, tracked, now.wall);
        }
    }

    /// Lets triggers up to `at` not count.
    pub(super) fn set_mark<W: Work>(&mut self, index: u32, tracked: &mut Tracked, at: Timestamp) {
        let workflow = &mut W::flow_mut(tracked).workflow;
        if workflow.mark < at {
            workflow.mark = at;
            self.dirty.insert((index, W::KIND));
        }
    }

    /// Returns for each living policy the entry that goes on as it. The uid a file names decides,
    /// so that a policy whose file was renamed goes on (S23), also where another file had that name
    /// before; without one, the name does.
    fn heirs(&self, roster: &Roster) -> BTreeMap<u32, Arc<Entry>> {
        // Most set-ups name no uid at all, and thousands of policies need not be looked through for one.
        let any_uid = roster.policies.values().any(|entry| entry.policy.uid.is_some());
        let living: BTreeMap<&str, u32> = self
            .names
            .values()
            .take_while(|_| any_uid)
            .filter_map(|index| self.policies.get(index).map(|tracked| (&*tracked.uid, *index)))
            .collect();
        let named = |entry: &Entry| entry.policy.uid.as_deref().and_then(|uid| living.get(uid).copied());
        let mut heirs: BTreeMap<u32, Arc<Entry>> = BTreeMap::new();
        for entry in roster.policies.values() {
            // Of two files with one uid, which `config` reports, the one that keeps its name wins.
            if let Some(index) = named(entry)
                && (!heirs.contains_key(&index) || self.names.get(&entry.policy.name) == Some(&index))
            {
                heirs.insert(index, entry.clone());
            }
        }
        for (name, index) in &self.names {
            if let Some(entry) = roster.policies.get(name)
                && !heirs.contains_key(index)
                && named(entry).is_none()
            {
                heirs.insert(*index, entry.clone());
            }
        }
        heirs
    }

    fn rename(&mut self, renamed: &[(u32, Arc<Entry>)]) {
        let mut former = Vec::new();
        for (index, _) in renamed {
            self.with(*index, |engine, tracked| {
                engine.names.remove(&tracked.name);
                engine.view.remove(&tracked.name);
                former.push(tracked.name.clone());
                if renamed.len() > 1 {
                    // Two may have changed places; no two have one name at any time. No policy can be
                    // called this.
                    let name = format!("{}~", tracked.uid).into();
                    engine.changes.push(Change::Rename { policy_uid: tracked.uid.clone(), name });
                }
            });
        }
        for ((index, entry), from) in renamed.iter().zip(former) {
            let name = entry.policy.name.clone();
            self.with(*index, |engine, tracked| {
                tracing::info!(policy = %name, %from, "policy renamed");
                engine.changes.push(Change::Rename { policy_uid: tracked.uid.clone(), name: name.clone() });
                tracked.name = name.clone();
            });
            self.names.insert(name, *index);
        }
    }

    fn retire(&mut self, index: u32, name: &str, now: Moment) {
        self.names.remove(name);
        self.view.remove(name);
        self.with(index, |engine, tracked| {
            tracing::info!(policy = name, "policy retired; its snapshots stay");
            let (policy_uid, seq_no) = (tracked.uid.clone(), engine.edits.next_seq_no());
            engine.changes.push(Change::Retire { policy_uid, at: now.wall, seq_no });
            engine.clear_alarms_of(&tracked.uid);
            tracked.entry = None;
            tracked.revision = None;
            engine.lock_age(&tracked.uid, name, None, now);
        });
        self.pump_policy(index, now);
    }

    /// Drops a retired policy with nothing under way. Its rows stay for history.
    pub(super) fn forget(&mut self, index: u32, now: Moment) {
        self.with(index, |engine, tracked| {
            engine.unindex::<Creation>(index, tracked);
            engine.unindex::<Deletion>(index, tracked);
        });
        // Its last states are written with the turn's changes, while it is still known.
        let dirty: Vec<_> = self.dirty.iter().copied().filter(|(dirty, _)| *dirty == index).collect();
        for (_, kind) in dirty {
            self.dirty.remove(&(index, kind));
            self.save(index, kind);
        }
        let gone = self.policies.remove(&index);
        self.touched.remove(&index);
        let Some(gone) = gone else { return };
        self.uids.remove(&gone.uid);
        // A file with its uid may have come back meanwhile.
        let roster = self.roster.clone();
        let heir = roster.policies.iter().find(|(_, entry)| entry.policy.uid.as_ref() == Some(&gone.uid));
        if let Some((name, entry)) = heir
            && !self.names.contains_key(name)
        {
            self.adopt(name, entry, None, now);
        }
    }

    /// Writes down what a run needs to finish as it began. A text that did not come with the roster
    /// is in the journal already.
    fn keep_terms(&mut self, entry: &Entry, text: Option<&str>) {
        let terms = text.and_then(|text| roster::terms_text(entry, text)).or_else(|| {
            let document = self.journal.document(DocumentKind::Policy, &entry.policy.name).ok().flatten()?;
            roster::terms_text(entry, &document.text)
        });
        match terms {
            Some(text) => {
                self.changes.push(Change::Terms { revision: entry.policy.revision.clone(), text: text.into() });
            }
            // Nobody wrote it: a roster made by hand.
            None => tracing::debug!(policy = %entry.policy.name, "no text to keep of this version"),
        }
    }
}

/// Returns a policy's name and text, where the document is one.
fn policy_text(document: &Document) -> Option<(&str, &str)> {
    match (&document.kind, &document.news) {
        (FileKind::Policy, News::Good { text, .. }) => Some((&document.name, text)),
        (FileKind::Policy, News::Gone) | (FileKind::Repository | FileKind::Channel, _) => None,
    }
}

/// Returns what a start needs of a file whose version on disk may be bad by then.
fn remembered(document: &Document, at: Timestamp) -> Change {
    let kind = match document.kind {
        FileKind::Policy => DocumentKind::Policy,
        FileKind::Repository => DocumentKind::Repository,
        FileKind::Channel => DocumentKind::Channel,
    };
    let name = document.name.clone();
    match &document.news {
        News::Good { origin, text } => {
            let origin = origin.to_string_lossy().into();
            Change::Document { kind, name, origin, text: Some(text.clone()), at }
        }
        News::Gone => Change::Document { kind, name, origin: "".into(), text: None, at },
    }
}

/// Returns an identity no policy had before: the same name at another time is another policy, which
/// inherits nothing.
fn new_uid(installation: &str, name: &str, at: Timestamp) -> Arc<str> {
    let digest = Sha256::digest(format!("{installation}\n{name}\n{}", at.millis()));
    hex(&digest[..8]).into()
}
