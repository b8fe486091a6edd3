//! One policy as the engine follows it: what the journal knows, what the files say, and what is in
//! flight. Readers get the same values; a change makes a copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::drivers::Progress;
use crate::journal::change::{GuardMemory, HeldPlan, Skip, State};
use crate::lifecycle::age_lock::AgeLock;
use crate::lifecycle::creation::{Creation, CreationTerms};
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::hold::Holds;
use crate::lifecycle::plan::{Approval, Braked, Former, Freshness, Grounds, LastGood, Sight};
use crate::lifecycle::policy::{CreationRule, DeletionRule, Pace, Revision, Switch};
use crate::lifecycle::retention::Owner;
use crate::lifecycle::snapshot::SnapshotName;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Effort, Kind, Outcome, Phase, Step, Trigger, Workflow};
use crate::roster::Entry;

use super::event::JobId;
use super::latest::Latest;

/// One policy.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Its identity.
    pub uid: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What was said of it by command.
    pub switch: Switch,
    /// Which of all writes to policies was the latest to it.
    pub seq_no: u64,
    /// When it came.
    pub adopted_at: Timestamp,
    /// The version in force; `None` when its file is gone and only a run is followed to its end.
    pub entry: Option<Arc<Entry>>,
    /// Its creation workflow.
    pub creation: Flow<Creation>,
    /// Its deletion workflow.
    pub deletion: Flow<Deletion>,
    /// Own snapshots when a plan last went ahead (G9).
    pub seen: Option<u32>,
    /// When a deletion last did all there was to do, or the policy came (G6).
    pub cleared_at: Timestamp,
    /// What the guards of deletion remember beside it; most policies have nothing of that.
    pub guarded: Option<Box<Guarded>>,
    /// The latest creation that succeeded; mostly the latest of all.
    pub last_good: Option<Arc<Latest>>,
    /// When creation was last busy: a deletion that waited for it is not late.
    pub creation_over_at: Option<Timestamp>,
    /// What was skipped since the last run of each workflow began.
    pub skips: Vec<Skip>,
    /// The version that the journal has as in force; `None` once retired.
    pub revision: Option<Revision>,
}

/// What the guards of deletion remember of a policy while there is anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guarded {
    /// What was in force when a plan last went ahead, where that was another condition (G11), and the version that
    /// said so.
    pub former: Option<(Former, Revision)>,
    /// By what the brake is measured since it held a plan first (G6).
    pub braked: Option<Braked>,
    /// Whether the next listing is one to look at only (G15).
    pub unlooked: bool,
    /// Whether the latest plan left out something that the rule condemns.
    pub leaves: bool,
    /// The latest plan, where it is held and nobody has answered.
    pub held: Option<Arc<HeldPlan>>,
    /// What a person has approved, while that is carried out.
    pub approval: Option<Arc<Approval>>,
    /// What the guards spared in the latest plan, in words.
    pub spared: Option<Box<str>>,
}

/// What terms are made of beside the policy.
#[derive(Clone, Debug)]
pub struct Around<'a> {
    /// This installation.
    pub installation: &'a str,
    /// What the clock is worth.
    pub clock: Sight,
    /// Since when each snapshot has been condemned (G7).
    pub condemned_since: Arc<BTreeMap<Box<str>, Timestamp>>,
    /// How many may still be deleted in the repository within the hour (G14).
    pub rate_left: Option<u32>,
    /// What people hold in the repository (G13).
    pub holds: Arc<Holds>,
    /// What `min_age` is locked to (G13).
    pub lock: AgeLock,
}

/// One workflow of a policy.
#[derive(Clone, Debug)]
pub struct Flow<S> {
    /// Its state, as it is or is about to be in the journal.
    pub workflow: Workflow<S>,
    /// The version of that state in the journal.
    pub version: u64,
    /// The terms of the run or watch under way; `None` when they could not be built again.
    pub terms: Option<Arc<Entry>>,
    /// The job in flight.
    pub job: Option<JobId>,
    /// How far it says it is.
    pub progress: Option<Box<Progress>>,
    /// Whether it has its repository for itself.
    pub turn: TurnAt,
    /// The latest run, under way or settled.
    pub latest: Option<Arc<Latest>>,
    /// How the one before it ended, while it is under way.
    pub before: Option<Outcome>,
    /// When its next trigger is due; `None` while none can be.
    pub due_at: Option<Timestamp>,
    /// At what uptime to look at it again, in milliseconds.
    pub wake_at: Option<i64>,
}

/// Whose turn it is at a repository that takes a limited number of runs at once (S7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnAt {
    /// It wants nothing of the repository.
    Away,
    /// It waits for others to be done.
    Queued,
    /// It may ask.
    Having,
}

impl<S> Flow<S> {
    /// Returns a flow as the journal tells it.
    pub fn new(workflow: Workflow<S>, version: u64, latest: Option<Latest>) -> Flow<S> {
        Flow {
            workflow,
            version,
            terms: None,
            job: None,
            progress: None,
            turn: TurnAt::Away,
            latest: latest.map(Arc::new),
            before: None,
            due_at: None,
            wake_at: None,
        }
    }

    /// Whether nothing is under way.
    pub fn is_waiting(&self) -> bool {
        match self.workflow.phase {
            Phase::Waiting => true,
            Phase::Active(_) | Phase::Watching(_) => false,
        }
    }
}

impl Tracked {
    /// Whether triggers count at present.
    pub fn is_enabled(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| self.switch.is_enabled(entry.policy.enabled))
    }

    /// Returns the rule of creation in force.
    pub fn creation_rule(&self) -> Option<&CreationRule> {
        self.entry.as_ref().and_then(|entry| entry.policy.creation.as_deref())
    }

    /// Returns the rule of deletion in force.
    pub fn deletion_rule(&self) -> Option<&DeletionRule> {
        self.entry.as_ref().and_then(|entry| entry.policy.deletion.as_deref())
    }

    /// Whether the policy was stopped, by command or in its file.
    pub fn withdrawn_by_stop(&self) -> bool {
        match &self.entry {
            Some(entry) => !self.switch.is_enabled(entry.policy.enabled),
            None => self.switch == Switch::Stopped,
        }
    }

    /// Changes what the guards remember. What is empty takes no room.
    pub fn remember(&mut self, change: impl FnOnce(&mut Guarded)) {
        let mut guarded = self.guarded.take().unwrap_or_default();
        change(&mut guarded);
        self.guarded = (*guarded != Guarded::default()).then_some(guarded);
    }

    /// Returns what the journal keeps of what the guards remember.
    pub fn memory(&self) -> GuardMemory {
        let guarded = self.guarded.as_deref();
        GuardMemory {
            former: guarded.and_then(|guarded| guarded.former.as_ref()).map(|(_, revision)| revision.clone()),
            cleared_at: self.cleared_at,
            braked: guarded.and_then(|guarded| guarded.braked),
            unlooked: guarded.is_some_and(|guarded| guarded.unlooked),
        }
    }

    /// Returns the plan that waits for a person.
    pub fn held(&self) -> Option<&Arc<HeldPlan>> {
        self.guarded.as_ref()?.held.as_ref()
    }

    /// Returns why the deletion run under way has to stop, `None` when it may go on.
    pub fn withdrawn(&self) -> Option<String> {
        let Some(entry) = &self.entry else { return Some("the policy is gone".to_string()) };
        if self.withdrawn_by_stop() {
            return Some("the policy was stopped".to_string());
        }
        if entry.policy.deletion.is_none() {
            return Some("the policy has no deletion any more".to_string());
        }
        let began_at = self.deletion.terms.as_ref().map(|terms| &terms.repository.name);
        if began_at != Some(&entry.repository.name) {
            return Some("the policy has another repository".to_string());
        }
        None
    }
}

/// What the engine needs to know of a workflow beside its steps.
pub trait Work: Step {
    /// Which it is.
    const KIND: Kind;

    /// Returns this workflow of a policy.
    fn flow(tracked: &Tracked) -> &Flow<Self>;

    /// Returns this workflow of a policy.
    fn flow_mut(tracked: &mut Tracked) -> &mut Flow<Self>;

    /// Returns what a policy says about its pace.
    fn pace(entry: &Entry) -> Option<&Pace>;

    /// Returns the first step for a trigger, and the name of what it makes.
    fn first(tracked: &Tracked, installation: &str, trigger: Trigger) -> Option<(Self, Option<SnapshotName>)>;

    /// Returns the terms of the run under way; `None` when they could not be built again.
    fn terms(tracked: &Tracked, around: &Around<'_>) -> Option<Self::Terms>;

    /// Returns the entry whose driver is to be asked.
    fn asked(tracked: &Tracked) -> Option<&Arc<Entry>>;

    /// Returns the state in the form the journal takes.
    fn state(workflow: Workflow<Self>) -> State;

    /// Returns how hard the run under way tries.
    fn effort(tracked: &Tracked) -> Option<Effort> {
        let pace = Self::pace(Self::flow(tracked).terms.as_deref()?)?;
        Some(Effort { time_limit: pace.time_limit.clone(), retry_count: pace.retry_count })
    }
}

impl Work for Creation {
    const KIND: Kind = Kind::Creation;

    fn flow(tracked: &Tracked) -> &Flow<Creation> {
        &tracked.creation
    }

    fn flow_mut(tracked: &mut Tracked) -> &mut Flow<Creation> {
        &mut tracked.creation
    }

    fn pace(entry: &Entry) -> Option<&Pace> {
        entry.policy.creation.as_ref().map(|rule| &rule.pace)
    }

    fn first(tracked: &Tracked, installation: &str, trigger: Trigger) -> Option<(Creation, Option<SnapshotName>)> {
        let entry = tracked.entry.as_ref()?;
        let named = |date: String| {
            SnapshotName::for_trigger(installation, &tracked.uid, &entry.policy.name, &date, trigger.at).ok()
        };
        // A date that does not fit into a name is replaced by the compact one, which always does:
        // a snapshot under a plainer name is better than none.
        let name = named(entry.policy.date_format.format(trigger.at)).or_else(|| named(trigger.at.compact()))?;
        Some((Creation::first(name.clone()), Some(name)))
    }

    fn terms(tracked: &Tracked, _around: &Around<'_>) -> Option<CreationTerms> {
        let rule = tracked.creation.terms.as_ref()?.policy.creation.as_ref()?;
        Some(CreationTerms { partial: rule.partial })
    }

    fn asked(tracked: &Tracked) -> Option<&Arc<Entry>> {
        match (&tracked.creation.workflow.phase, &tracked.entry, &tracked.creation.terms) {
            // A watch has no end of its own: settings that were put right have to reach it.
            (Phase::Watching(_), Some(entry), Some(terms)) if entry.repository.name == terms.repository.name => {
                Some(entry)
            }
            // A run finishes where it began, whatever the policy says by now (S20).
            (_, _, terms) => terms.as_ref(),
        }
    }

    fn state(workflow: Workflow<Creation>) -> State {
        State::Creation(workflow)
    }
}

impl Work for Deletion {
    const KIND: Kind = Kind::Deletion;

    fn flow(tracked: &Tracked) -> &Flow<Deletion> {
        &tracked.deletion
    }

    fn flow_mut(tracked: &mut Tracked) -> &mut Flow<Deletion> {
        &mut tracked.deletion
    }

    fn pace(entry: &Entry) -> Option<&Pace> {
        entry.policy.deletion.as_ref().map(|rule| &rule.pace)
    }

    fn first(_tracked: &Tracked, _installation: &str, _trigger: Trigger) -> Option<(Deletion, Option<SnapshotName>)> {
        Some((Deletion::first(), None))
    }

    fn terms(tracked: &Tracked, around: &Around<'_>) -> Option<Grounds> {
        // Judged by the rule now in force (S21). Where there is none any more, the run stops before
        // the next deletion; what is left to do is to confirm the last one.
        let rule = match tracked.deletion_rule() {
            Some(rule) => rule,
            None => tracked.deletion.terms.as_ref()?.policy.deletion.as_ref()?,
        };
        let creation = tracked.entry.as_ref().and_then(|entry| entry.policy.creation.clone());
        let last_good = tracked
            .last_good
            .as_deref()
            .and_then(|run| Some(LastGood { snapshot: run.snapshot()?.into(), ended_at: run.ended_at? }));
        let guarded = tracked.guarded.as_deref();
        Some(Grounds {
            owner: owner(tracked, around.installation),
            condition: rule.condition.clone(),
            guards: rule.guards.clone(),
            former: guarded.and_then(|guarded| guarded.former.as_ref()).map(|(former, _)| former.clone()),
            seen: tracked.seen,
            unlooked: guarded.is_some_and(|guarded| guarded.unlooked),
            cleared_at: tracked.cleared_at,
            braked: guarded.and_then(|guarded| guarded.braked),
            freshness: creation.map(|creation| Freshness { creation, last_good }),
            condemned_since: around.condemned_since.clone(),
            rate_left: around.rate_left,
            holds: around.holds.clone(),
            lock: around.lock.clone(),
            approval: guarded.and_then(|guarded| guarded.approval.clone()),
            clock: around.clock,
        })
    }

    fn asked(tracked: &Tracked) -> Option<&Arc<Entry>> {
        match (&tracked.entry, &tracked.deletion.terms) {
            // The same repository with newer settings is asked by the newer settings.
            (Some(entry), Some(terms)) if entry.repository.name == terms.repository.name => Some(entry),
            (_, terms) => terms.as_ref(),
        }
    }

    fn state(workflow: Workflow<Deletion>) -> State {
        State::Deletion(workflow)
    }
}

/// Returns whose snapshots a policy's are.
pub fn owner(tracked: &Tracked, installation: &str) -> Owner {
    Owner { installation: installation.into(), policy_uid: (*tracked.uid).into() }
}
