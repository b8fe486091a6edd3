//! A policy as the journal left it, before the roster says which version is in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guarding;
use super::latest::Latest;
use super::tracked::{Flow, Guarded, Tracked, Work};
use crate::journal::change::{LoadedPolicy, RunRecord};
use crate::lifecycle::policy::Revision;
use crate::lifecycle::workflow::Phase;
use crate::roster::{self, Entry, Roster};

/// Returns a policy as the journal left it; the roster says next which version is in force.
pub(super) fn tracked(policy: LoadedPolicy, roster: &Roster, terms: &BTreeMap<Revision, Box<str>>) -> Tracked {
    let latest = |run: &Option<RunRecord>| run.as_ref().map(Latest::of);
    let (creation, creation_version) = policy.creation;
    let (deletion, deletion_version) = policy.deletion;
    let mut tracked = Tracked {
        uid: policy.policy_uid,
        name: policy.name,
        switch: policy.switch,
        seq_no: policy.seq_no,
        adopted_at: policy.adopted_at,
        entry: None,
        creation: Flow::new(creation, creation_version, latest(&policy.last_creation)),
        deletion: Flow::new(deletion, deletion_version, latest(&policy.last_deletion)),
        seen: policy.seen,
        cleared_at: policy.memory.cleared_at,
        guarded: None,
        last_good: None,
        creation_over_at: None,
        skips: policy.skips,
        revision: (!policy.retired).then_some(policy.revision),
    };
    tracked.last_good = match (&policy.last_good, &tracked.creation.latest) {
        // One record in memory for both.
        (good, Some(latest)) if *good == policy.last_creation => Some(latest.clone()),
        (good, _) => latest(good).map(Arc::new),
    };
    let guarded = Guarded {
        former: policy
            .memory
            .former
            .map(|revision| (guarding::former(terms.get(&revision).map(|text| &**text)), revision)),
        braked: policy.memory.braked,
        unlooked: policy.memory.unlooked,
        leaves: false,
        held: policy.held.map(Arc::new),
        approval: policy.approval.map(Arc::new),
        spared: None,
    };
    tracked.remember(|empty| *empty = guarded);
    tracked.creation.terms = terms_of(&tracked.creation, &tracked.name, roster, terms);
    tracked.deletion.terms = terms_of(&tracked.deletion, &tracked.name, roster, terms);
    tracked
}

/// Returns the terms of what is under way: from the roster where that version is in force, else
/// built again from the journal.
fn terms_of<S: Work>(
    flow: &Flow<S>,
    name: &str,
    roster: &Roster,
    terms: &BTreeMap<Revision, Box<str>>,
) -> Option<Arc<Entry>> {
    let revision = match &flow.workflow.phase {
        Phase::Waiting => return None,
        Phase::Active(run) => &run.revision,
        Phase::Watching(watch) => &watch.revision,
    };
    if let Some(entry) = roster.policies.get(name)
        && entry.policy.revision == *revision
    {
        return Some(entry.clone());
    }
    match roster::entry_from_terms(terms.get(revision)?) {
        Ok(entry) => Some(Arc::new(entry)),
        Err(problem) => {
            tracing::error!(policy = name, cause = %problem, "the version of the policy that began a run cannot be built again");
            None
        }
    }
}
