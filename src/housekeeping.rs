//! The daemon's own chores, on a UTC rhythm: a copy of the journal, its check, trimming of history,
//! reading the files again.
//!
//! A chore that comes late or is left out does no harm, which is why a scheduler that can lose
//! firings may run them (policies' triggers are the engine's own). Each takes a lock and gives way
//! to itself; each run is recorded with its time, and [`overdue`] finds the ones that have stopped
//! without asking the scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::engine::event::Event;
use crate::engine::view::Chore;
use crate::lifecycle::schedule::Schedule;
use crate::lifecycle::time::{Moment, Timestamp};

/// A chore: a name, when, and what. What it returns is what went wrong.
pub struct Task {
    /// Its name in explain and in the journal.
    pub name: &'static str,
    /// When, in UTC, with a field for seconds before the five.
    pub expression: String,
    /// What to do. It may block; it runs on a thread for that.
    pub work: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// A chore that has not run this long after it was due is overdue. The scheduler stays silent for as
/// long as a clock was set back; an hour is the commonest such step.
const OVERDUE_MS: i64 = 2 * 3_600_000;

/// Starts the chores on the present runtime. They end with it, or with what is returned.
pub async fn start(tasks: Vec<Task>, inbox: SyncSender<Event>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    for Task { name, expression, work } in tasks {
        let busy = Arc::new(Mutex::new(()));
        let inbox = inbox.clone();
        // Its patterns begin with a seconds field, and are read in UTC.
        let job = Job::new_async(expression.as_str(), move |_, _| {
            let (busy, inbox, work) = (busy.clone(), inbox.clone(), work.clone());
            Box::pin(async move {
                let Ok(_mine) = busy.try_lock() else { return };
                run(name, &work, &inbox).await;
            })
        })?;
        scheduler.add(job).await?;
    }
    scheduler.start().await?;
    Ok(scheduler)
}

async fn run(name: &'static str, work: &Arc<dyn Fn() -> Result<(), String> + Send + Sync>, inbox: &SyncSender<Event>) {
    let work = work.clone();
    let trouble = match tokio::task::spawn_blocking(move || work()).await {
        Ok(Ok(())) => None,
        Ok(Err(trouble)) => Some(trouble),
        Err(panicked) => Some(panicked.to_string()),
    };
    match &trouble {
        None => tracing::debug!(chore = name, "chore done"),
        Some(trouble) => tracing::error!(chore = name, trouble, "chore failed"),
    }
    let _ = inbox.try_send(Event::Chore { job: name.into(), trouble });
}

/// Returns the chores that should have run and did not, each with when it was due. A chore that
/// never ran counts from the daemon's start.
pub fn overdue(
    schedules: &BTreeMap<&'static str, Schedule>,
    chores: &BTreeMap<Box<str>, Chore>,
    started_at: Timestamp,
    now: Moment,
) -> Vec<(&'static str, Timestamp)> {
    let due = |(name, schedule): (&&'static str, &Schedule)| {
        let last_at = chores.get(*name).map_or(started_at, |chore| chore.at.max(started_at));
        let due_at = schedule.next_after(last_at)?;
        (now.wall.since(due_at) > OVERDUE_MS).then_some((*name, due_at))
    };
    schedules.iter().filter_map(due).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::time::Span;

    #[test]
    fn a_chore_that_stopped_is_found_without_the_scheduler() {
        let hourly = Schedule::interval(Span::parse("1h").expect("a span"));
        let schedules = BTreeMap::from([("backup", hourly.clone()), ("trim", hourly)]);
        let hour = |hours: i64| Timestamp::from_seconds(hours * 3600);
        let chores = BTreeMap::from([("trim".into(), Chore { at: hour(109), trouble: None })]);
        let now = Moment { wall: hour(110), boot: 1, uptime: 0 };
        assert_eq!(overdue(&schedules, &chores, hour(100), now), [("backup", hour(101))]);
        assert_eq!(overdue(&schedules, &chores, hour(109), now), []);
    }
}
