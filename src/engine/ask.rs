//! Puts a question among the turn's errands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::event::{Ask, Job, JobId};
use super::pump::QUESTION_MAX_MS;
use super::tracked::{self, Tracked, Work};
use crate::drivers::Order;
use crate::lifecycle::snapshot::label;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::Request;
use crate::roster::Entry;

impl Engine {
    /// Asks the driver of a workflow. `left_ms` is what is left of the run's time; `run` is its identity
    /// and its trigger, which a new snapshot is stamped with.
    pub(super) fn ask<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        request: Request,
        left_ms: i64,
        run: Option<(Arc<str>, Timestamp)>,
    ) {
        let Some(entry) = W::asked(tracked).cloned() else { return };
        let id = JobId(self.next_job);
        self.next_job = self.next_job.saturating_add(1);
        let time_ms = match &request {
            Request::Create(_) | Request::Delete(_) => left_ms,
            Request::Describe(_) | Request::List | Request::Cancel(_) => left_ms.min(QUESTION_MAX_MS),
        };
        let order = match (&request, run) {
            (Request::Create(name), Some((run_id, trigger_at))) => {
                let labels = stamp(&entry, &self.installation, tracked, &run_id, trigger_at);
                Some(Order { name: name.clone(), labels, config: Arc::new(entry.config.value()) })
            }
            _ => None,
        };
        self.errands.begin.push(Job::Ask(Box::new(Ask {
            id,
            driver: entry.repository.driver.clone(),
            request,
            order,
            owner: tracked::owner(tracked, &self.installation),
            time_max: Duration::from_millis(u64::try_from(time_ms.max(1)).unwrap_or(1)),
        })));
        self.jobs.insert(id, (index, W::KIND));
        self.ready.remove(&(index, W::KIND));
        let flow = W::flow_mut(tracked);
        flow.job = Some(id);
        flow.progress = None;
    }
}

/// Returns the labels of a snapshot: the policy's own, and our stamp, which nothing overrides.
fn stamp(
    entry: &Entry,
    installation: &str,
    tracked: &Tracked,
    run_id: &str,
    trigger_at: Timestamp,
) -> BTreeMap<String, String> {
    let own = entry.policy.metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let mut labels: BTreeMap<String, String> = own.collect();
    for (key, value) in [
        (label::INSTALLATION, installation.to_string()),
        (label::POLICY, tracked.name.to_string()),
        (label::POLICY_UID, tracked.uid.to_string()),
        (label::RUN, run_id.to_string()),
        (label::TRIGGER, trigger_at.millis().to_string()),
    ] {
        labels.insert(key.to_string(), value);
    }
    labels
}
