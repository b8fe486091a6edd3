//! Data given back, without the daemon: on the day it is needed, less may be running than usual.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::drivers::{Call, Progress, ProgressSink, RestoreOrder, Restored};
use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Listing, Status};
use crate::lifecycle::workflow::Fault;
use crate::roster::Repository;

use super::arguments::RestoreArguments;
use super::out::{Exit, Failure, Out, safe};
use super::setup::{self, ConfigChoice};
use super::times::bytes;

/// A slow listing of a large repository fits.
const LIST_TIME_MAX: Duration = Duration::from_secs(600);
/// Everything ends; nobody waits longer than a week for a restore.
const RESTORE_TIME_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A snapshot, and where it was found.
struct Found {
    repository: Arc<Repository>,
    target: Target,
    status: Status,
}

/// Gives the files of a snapshot back.
pub fn restore(choice: &ConfigChoice, order: RestoreArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let RestoreArguments { snapshot, to, include, overwrite, repository } = order;
    let (to, is_empty) = directory(&to)?;
    let roster = setup::load(choice).roster;
    let repositories: Vec<Arc<Repository>> = match &repository {
        None => roster.repositories.values().cloned().collect(),
        Some(name) => vec![setup::named(&roster, name)?],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
    let bar = ProgressBar::new_spinner();
    let restored = runtime.block_on(async {
        let work = async {
            let Found { repository, target, status } = find(&repositories, &snapshot, out).await?;
            if status != Status::Good {
                out.aside(format!("snapkeep: note that snapshot {} is {}", safe(&snapshot), status.word()));
            }
            if !repository.driver.abilities().restore {
                let message = format!("repository `{}` ({}) cannot give data back", repository.name, repository.kind);
                return Err(Failure::new(Exit::Failed, message));
            }
            if !is_empty && !repository.driver.abilities().restore_beside {
                let message = format!(
                    "{} is not empty, and repository `{}` cannot restore beside what is there",
                    to.display(),
                    repository.name
                );
                return Err(Failure::new(Exit::Usage, message).hint("name a directory that is empty or not there yet"));
            }
            give_back(&repository, RestoreOrder { target, to: to.clone(), include, overwrite }, &bar).await
        };
        tokio::select! {
            restored = work => restored,
            _ = tokio::signal::ctrl_c() => Err(interrupted(&to)),
        }
    });
    bar.finish_and_clear();
    let Restored { files, bytes: size } = restored?;
    if out.json {
        out.value(&json!({ "snapshot": snapshot, "to": to.display().to_string(), "files": files, "bytes": size }))?;
    } else {
        let to = to.display().to_string();
        out.line(format!("Restored {files} files ({}) of {} to {}.", bytes(size), safe(&snapshot), safe(&to)))?;
    }
    Ok(Exit::Fine)
}

fn interrupted(to: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("interrupted; {} holds only a part", to.display()))
        .hint("the same command again goes on where it was, if the repository can")
}

/// Returns the directory, made if it was not there, and whether it is empty.
fn directory(to: &Path) -> Result<(PathBuf, bool), Failure> {
    let trouble = |error: io::Error| Failure::new(Exit::Usage, format!("failed to use {}: {error}", to.display()));
    let is_empty = match fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(to).map_err(trouble)?;
            true
        }
        Err(error) => return Err(trouble(error)),
    };
    Ok((to.canonicalize().map_err(trouble)?, is_empty))
}

/// Looks for the snapshot in every repository. One that cannot be asked is told; it matters only
/// where the others do not have it.
async fn find(repositories: &[Arc<Repository>], snapshot: &str, out: &mut Out<'_>) -> Result<Found, Failure> {
    let mut found: Vec<Found> = Vec::new();
    let mut silent = Vec::new();
    for repository in repositories {
        match list(repository).await {
            Ok(listing) => {
                found.extend(listing.snapshots.into_iter().filter(|one| one.name == snapshot).map(|one| Found {
                    repository: repository.clone(),
                    target: Target { name: one.name.into(), id: one.id.into(), taken_at: one.taken_at },
                    status: one.status,
                }))
            }
            Err(fault) => {
                out.aside(format!("snapkeep: failed to list repository {}: {}", repository.name, safe(&fault.message)));
                silent.push(&*repository.name);
            }
        }
    }
    let names: Vec<&str> = found.iter().map(|found| &*found.repository.name).collect();
    match (names.as_slice(), silent.as_slice()) {
        ([], []) => Err(Failure::new(Exit::Failed, format!("no repository has a snapshot {snapshot}"))
            .hint("`snapkeep snapshots --repository NAME` lists the snapshots there are")),
        ([], silent) => {
            let message = format!("snapshot {snapshot} was not found, and {} could not be asked", silent.join(", "));
            Err(Failure::new(Exit::Failed, message))
        }
        ([_], _) => Ok(found.remove(0)),
        (several, _) => {
            let message = format!("snapshot {snapshot} was found {} times: in {}", several.len(), several.join(", "));
            Err(Failure::new(Exit::Usage, message).hint("name one with --repository"))
        }
    }
}

/// Asks a repository for everything it holds.
pub async fn list(repository: &Repository) -> Result<Listing, Fault> {
    let call = Call { time_max: LIST_TIME_MAX, progress: ProgressSink::default() };
    match tokio::time::timeout(LIST_TIME_MAX, repository.driver.list(&call)).await {
        Ok(listing) => listing,
        Err(_) => Err(Fault::transient(format!("no answer within {} s", LIST_TIME_MAX.as_secs()))),
    }
}

async fn give_back(repository: &Repository, order: RestoreOrder, bar: &ProgressBar) -> Result<Restored, Failure> {
    let shown = bar.clone();
    let call =
        Call { time_max: RESTORE_TIME_MAX, progress: ProgressSink::new(move |progress| show(&shown, &progress)) };
    let work = repository.driver.restore(&order, &call);
    let restored = match tokio::time::timeout(RESTORE_TIME_MAX, work).await {
        Ok(restored) => restored,
        Err(_) => Err(Fault::transient("it took longer than a week")),
    };
    restored.map_err(|fault| {
        let message = format!("failed to restore {}: {}", order.target.name, fault.message);
        Failure::new(Exit::Failed, message).hint(format!(
            "{} may hold a part; the same command again goes on there, and --overwrite replaces what is there already",
            order.to.display()
        ))
    })
}

/// Shows how far it is: an amount of bytes with its rate and the time left, anything else as it is.
pub fn show(bar: &ProgressBar, progress: &Progress) {
    let Some(total) = progress.total else {
        bar.set_message(format!("{}: {} {}", safe(&progress.doing), progress.done, safe(&progress.unit)));
        bar.set_position(progress.done);
        bar.tick();
        return;
    };
    let form = if progress.unit == "bytes" {
        "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left"
    } else {
        "{msg} [{bar:30}] {pos}/{len}, {eta} left"
    };
    if bar.length() != Some(total) {
        // The forms are ours; one that indicatif does not take leaves the plain spinner.
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_length(total);
    }
    bar.set_message(safe(&progress.doing).into_owned());
    bar.set_position(progress.done);
}
