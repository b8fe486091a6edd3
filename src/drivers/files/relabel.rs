//! Changes the labels of a snapshot that is there, as `restic tag` does: its file is written anew with the
//! same tree, time, paths and host, and with `original`, and the one before is removed.
//!
//! Both are there for a moment, and stay so when the process is killed then. So each rewriting is counted
//! on the snapshot: of two that are the same but for their tags, the one with the lower count was
//! replaced. It is not listed, and whoever has the lock sweeps it.

use std::collections::{BTreeMap, BTreeSet};

use rustic_core::repofile::{SnapshotFile, SnapshotId, StringList};
use serde_json::Value;

use crate::lifecycle::workflow::Fault;

use super::super::protocol::LabelResult;
use super::lock::Lock;
use super::output::Output;
use super::repository::{self, Opened};
use super::{Place, backup, tags};

/// What is to be changed.
pub struct Wanted<'a> {
    /// To be there, with these values.
    pub set: &'a BTreeMap<String, String>,
    /// Not to be there.
    pub remove: &'a BTreeSet<String>,
}

/// Changes the labels of the snapshot `id`, or accepts that this was done before.
pub fn label(place: &Place, name: &str, id: &str, wanted: &Wanted<'_>, output: &Output) -> Result<LabelResult, Fault> {
    if let Some(own) = wanted.set.keys().chain(wanted.remove).find(|key| tags::is_own(key)) {
        return Err(Fault::permanent(format!("label {own} is the driver's own")));
    }
    let lock = Lock::take(place, "label", name)?;
    let gone = || Fault::permanent(format!("snapshot {name} is gone"));
    let opened = repository::open(place, output)?.ok_or_else(gone)?;
    repository::no_restic_at_work(place, &lock)?;
    let all = repository::snapshots(place, &opened)?;
    backup::sweep(&opened, &all)?;
    let there: Vec<&SnapshotFile> = current(&all).filter(|one| !repository::is_provisional(one)).collect();
    let named = there.iter().find(|one| repository::id(one) == id);
    // Whoever asks again after a kill has the identity of before.
    let mut later = there.iter().filter(|one| rewritings(one) > 0 && repository::line(one).name == name);
    let done_before = || match (later.next(), later.next()) {
        (Some(one), None) if wanted.of(one) == one.tags => Some(one),
        _ => None,
    };
    let before: &SnapshotFile = named.or_else(done_before).ok_or_else(gone)?;
    let mut changed = wanted.of(before);
    if changed == before.tags {
        return Ok(LabelResult { snapshot: repository::line(before) });
    }
    // The name of one that was made without any comes from its identity, which changes.
    if !before.tags.iter().any(|tag| tags::key(tag) == tags::NAME) {
        changed.add(tags::tag(tags::NAME, &repository::line(before).name));
    }
    let count = rewritings(before).saturating_add(1);
    let mut after = before.clone();
    after.tags = without(&changed, |key| key == tags::REWRITTEN);
    after.tags.add(tags::tag(tags::REWRITTEN, &count.to_string()));
    opened.save_snapshots(vec![after]).map_err(|error| repository::fault("snapshot cannot be saved", &error))?;
    repository::sync(place)?;
    // Read back, because only what is there counts.
    let all = repository::snapshots(place, &opened)?;
    let is_after = |one: &&SnapshotFile| one.original == before.original && rewritings(one) == count;
    let Some(snapshot) = current(&all).find(is_after).map(repository::line) else {
        return Err(Fault::transient(format!("snapshot {name} was labelled and is not there")));
    };
    backup::sweep(&opened, &all)?;
    repository::sync(place)?;
    Ok(LabelResult { snapshot })
}

impl Wanted<'_> {
    /// Returns the tags of a snapshot as they are to be. Those that are no labels of ours stay as they are.
    fn of(&self, snapshot: &SnapshotFile) -> StringList {
        let is_other = |tag: &str, key: &str| {
            self.remove.contains(key) || self.set.get(key).is_some_and(|value| tag != tags::tag(key, value))
        };
        let mut wanted = StringList::default();
        for tag in snapshot.tags.iter().filter(|tag| !is_other(tag, &tags::key(tag))) {
            wanted.add(tag.clone());
        }
        for (key, value) in self.set.iter().filter(|(key, _)| !self.remove.contains(*key)) {
            wanted.add(tags::tag(key, value));
        }
        wanted
    }
}

/// Returns the snapshots that none has replaced.
pub fn current(all: &[SnapshotFile]) -> impl Iterator<Item = &SnapshotFile> {
    let replaced = replaced(all);
    all.iter().filter(move |one| !replaced.contains(&one.id))
}

/// Returns those that were replaced by another.
pub fn replaced(all: &[SnapshotFile]) -> BTreeSet<SnapshotId> {
    let mut latest: BTreeMap<SnapshotId, &SnapshotFile> = BTreeMap::new();
    for one in all.iter().filter(|one| rewritings(one) > 0 && !repository::is_provisional(one)) {
        let first = one.original.unwrap_or(one.id);
        let known = latest.entry(first).or_insert(one);
        if rewritings(known) < rewritings(one) {
            *known = one;
        }
    }
    if latest.is_empty() {
        return BTreeSet::new();
    }
    let is_replaced = |one: &&SnapshotFile| {
        let by = latest.get(&one.original.unwrap_or(one.id));
        by.is_some_and(|by| rewritings(by) > rewritings(one) && but_for_tags(by) == but_for_tags(one))
    };
    all.iter().filter(is_replaced).map(|one| one.id).collect()
}

/// Removes what the snapshot `id` has replaced, so that deleting it brings nothing back.
pub fn sweep_behind(place: &Place, opened: &Opened, id: &str) -> Result<(), Fault> {
    // One that cannot be read can be deleted all the same.
    let Ok(found) = opened.get_snapshots(&[id]) else { return Ok(()) };
    if found.iter().all(|one| rewritings(one) == 0) {
        return Ok(());
    }
    let Ok(all) = repository::snapshots(place, opened) else { return Ok(()) };
    backup::sweep(opened, &all)
}

/// Returns how often a snapshot's labels were changed.
fn rewritings(snapshot: &SnapshotFile) -> u64 {
    let value = |tag: &String| tag.strip_prefix(tags::REWRITTEN)?.strip_prefix('=')?.parse().ok();
    snapshot.tags.iter().find_map(value).unwrap_or(0)
}

fn without(tags: &StringList, is_unwanted: impl Fn(&str) -> bool) -> StringList {
    let mut kept = StringList::default();
    for tag in tags.iter().filter(|tag| !is_unwanted(&tags::key(tag))) {
        kept.add(tag.clone());
    }
    kept
}

/// Everything of a snapshot that a change of its labels leaves alone; `None` never happens, and then two
/// are not the same.
fn but_for_tags(snapshot: &SnapshotFile) -> Option<Value> {
    let mut value = serde_json::to_value(snapshot).ok()?;
    let table = value.as_object_mut()?;
    for key in ["id", "tags", "original"] {
        table.remove(key);
    }
    Some(value)
}
