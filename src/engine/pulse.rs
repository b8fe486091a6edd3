//! How the engine fares, for whoever keeps the process running. The engine does not know who that is.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::tracked::Tracked;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Kind, Phase};

/// Whoever keeps the process running. It is called on the engine's own thread and by nothing else, so that an
/// engine that hangs is one that is not heard of.
pub trait Attendant {
    /// Takes that the engine is about to wait: it has started, or a turn is over. `pulse` is worth asking for once
    /// a second at most, for it looks at every policy. Returns the longest that the engine may wait.
    fn attend(&mut self, pulse: &dyn Fn() -> Pulse, now: Moment) -> Duration;

    /// Takes that the engine begins nothing new, and ends within this at the latest.
    fn stops(&mut self, within: Duration);
}

/// How the engine fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// How many policies are in force.
    pub policies: usize,
    /// What is due next, if anything is.
    pub next: Option<Due>,
    /// How many runs are under way.
    pub running: usize,
    /// How much is wrong with the files.
    pub problems: usize,
    /// What the daemon as a whole does not do at present, and why.
    pub restrictions: Arc<[String]>,
    /// While it stops: which runs have asked something that is waited for.
    pub waits_for: Option<Vec<(Arc<str>, Kind)>>,
}

/// A trigger that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Of which policy.
    pub policy: Arc<str>,
    /// What it will do.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
}

impl Engine {
    /// Returns how the engine fares.
    pub fn pulse(&self) -> Pulse {
        let name = |index: &u32| self.policies.get(index).map(|tracked| tracked.name.clone());
        let next = self.due.first().and_then(|(at, index, kind)| {
            let policy = name(index)?;
            Some(Due { policy, kind: *kind, at: *at })
        });
        let asked = || self.jobs.values().filter_map(|(index, kind)| Some((name(index)?, *kind))).collect();
        Pulse {
            policies: self.names.len(),
            next,
            running: self.policies.values().map(|tracked| running(tracked)).sum(),
            problems: self.view.problems().len(),
            restrictions: self.view.restrictions(),
            waits_for: self.stopping.then(asked),
        }
    }
}

fn running(tracked: &Tracked) -> usize {
    let creation = matches!(tracked.creation.workflow.phase, Phase::Active(_));
    let deletion = matches!(tracked.deletion.workflow.phase, Phase::Active(_));
    usize::from(creation) + usize::from(deletion)
}
