//! The daemon's own chores, on a UTC rhythm: a copy of the journal, its check, trimming of history,
//! reading the files again.
//!
//! A chore that comes late or is left out does no harm, which is why a scheduler that can lose
//! firings may run them (policies' triggers are the engine's own). Each takes a lock and gives way
//! to itself; each run is recorded with its time, and what readers see names the ones that have
//! stopped without asking the scheduler.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::Mutex;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::engine::event::Event;

/// The chores that were started. They end with it.
pub use tokio_cron_scheduler::JobScheduler as Scheduler;

/// A chore: a name, when, and what. What it returns is what went wrong.
#[derive(Clone)]
pub struct Task {
    /// Its name in explain and in the journal.
    pub name: &'static str,
    /// When, in UTC, with a field for seconds before the five.
    pub expression: String,
    /// What to do. It may block; it runs on a thread for that.
    pub work: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

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

/// Does a chore now, beside its times.
pub async fn once(task: Task, inbox: SyncSender<Event>) {
    run(task.name, &task.work, &inbox).await;
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
        Some(trouble) => tracing::error!(chore = name, cause = trouble, "chore failed"),
    }
    let _ = inbox.try_send(Event::Chore { job: name.into(), trouble });
}
