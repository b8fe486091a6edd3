//! Makes a snapshot.
//!
//! The library saves a snapshot before anybody can know how whole it is. So it is saved as
//! provisional, and replaced by one that says what was missing; a provisional one that is found later
//! was left behind by a process that was killed, and is swept.

use std::collections::BTreeMap;

use rustic_core::repofile::{SnapshotFile, SnapshotId, StringList};
use rustic_core::{BackupOptions, SnapshotOptions};

use crate::lifecycle::workflow::Fault;

use super::super::protocol::CreateResult;
use super::lock::{self, Lock};
use super::output::Output;
use super::present::Began;
use super::repository::{self, Opened};
use super::source::{self, Source, Troubles};
use super::worker::Log;
use super::{Config, Place, damage, relabel, tags};

/// Makes the snapshot, or accepts that it is there.
pub fn create(
    place: &Place,
    config: &Config,
    name: &str,
    labels: &BTreeMap<String, String>,
    log: &Log,
    output: &Output,
) -> Result<CreateResult, Fault> {
    let lock = Lock::take(place, lock::MAKING, name)?;
    let troubles = Troubles::default();
    let roots = source::roots(config, &troubles);
    let began = Began::with(&roots);
    // Asked again after it was made, it is there even if its paths are not.
    let (opened, news) = if roots.is_empty() && repository::find(place)? == repository::Finding::Nothing {
        return Err(nothing_to_read(&troubles));
    } else {
        repository::open_or_begin(place, output, &lock)?
    };
    repository::no_restic_at_work(place, &lock)?;
    let all = repository::snapshots(place, &opened)?;
    let named =
        |snapshot: &&SnapshotFile| !repository::is_provisional(snapshot) && repository::line(snapshot).name == name;
    sweep(&opened, &all)?;
    if let Some(snapshot) = relabel::current(&all).find(named) {
        return Ok(made(snapshot, news));
    }
    if roots.is_empty() {
        return Err(nothing_to_read(&troubles));
    }

    let mut fresh = SnapshotOptions::default()
        .to_snapshot()
        .map_err(|error| repository::fault("snapshot cannot be begun", &error))?;
    let mut final_tags = StringList::default();
    for (key, value) in labels {
        final_tags.add(tags::tag(key, value));
    }
    final_tags.add(tags::tag(tags::NAME, name));
    fresh.tags = final_tags.clone();
    fresh.tags.add(tags::tag(tags::PROVISIONAL, "1"));

    let source = Source::new(place, config, &roots, &troubles)
        .map_err(|error| Fault::permanent(format!("paths cannot be read: {}", error.display_log())))?;
    output.doing("reading the repository", "");
    let opened = opened.to_indexed_ids().map_err(|error| damage::index_fault(place, &error))?;
    let before = log.passed_over();
    let provisional = opened
        .archive(&BackupOptions::default(), &source, fresh, &roots)
        .map_err(|error| repository::fault("snapshot cannot be made", &error))?;
    let passed_over = log.passed_over() - before;
    began.compare(&troubles);

    // What the library passed over without our having seen it is missing as well.
    let unseen = passed_over.saturating_sub(troubles.counts().passed_over);
    troubles.unseen(unseen, log.last_passed_over(unseen));
    let (unread, vanished, told) = {
        let counts = troubles.counts();
        (counts.unread, counts.vanished, [counts.message(), counts.message_changed()])
    };
    let mut whole = provisional.clone();
    whole.tags = final_tags;
    if unread > 0 {
        whole.tags.add(tags::tag(tags::PARTIAL, &unread.to_string()));
    }
    whole.description = Some(description(&provisional, vanished, told));
    // What the library adds when it reads a snapshot back, and must not be stored in the first.
    whole.original = None;
    repository::sync(place)?;
    opened.save_snapshots(vec![whole]).map_err(|error| repository::fault("snapshot cannot be saved", &error))?;
    repository::sync(place)?;
    delete(&opened, &[provisional.id])?;

    // Read back, because only what is there counts.
    let all = repository::snapshots(place, &opened)?;
    match all.iter().find(named) {
        Some(snapshot) => Ok(made(snapshot, news)),
        None => Err(Fault::transient(format!("snapshot {name} was made and is not there"))),
    }
}

fn nothing_to_read(troubles: &Troubles) -> Fault {
    let missing = troubles.counts().message().unwrap_or_else(|| "no paths are given".to_owned());
    Fault::permanent(format!("there is nothing to snapshot: {missing}"))
}

fn made(snapshot: &SnapshotFile, news: Option<String>) -> CreateResult {
    let mut message = snapshot.description.clone();
    if let Some(news) = news {
        message = Some(message.map_or_else(|| news.clone(), |message| format!("{message}; {news}")));
    }
    CreateResult { accepted: false, snapshot: Some(repository::line(snapshot)), message }
}

fn description(snapshot: &SnapshotFile, vanished: u64, told: [Option<String>; 2]) -> String {
    let mut parts: Vec<String> = told.into_iter().flatten().collect();
    if vanished > 0 {
        parts.push(format!("{vanished} vanished while it was made"));
    }
    if let Some(summary) = &snapshot.summary {
        parts.push(format!(
            "{} files, {} bytes, {} bytes added",
            summary.total_files_processed, summary.total_bytes_processed, summary.data_added_packed
        ));
    }
    parts.join("; ")
}

/// Removes what killed processes left behind. Under the lock nothing of ours can be in the making.
pub fn sweep(opened: &Opened, all: &[SnapshotFile]) -> Result<(), Fault> {
    let mut left: Vec<SnapshotId> =
        all.iter().filter(|snapshot| repository::is_provisional(snapshot)).map(|snapshot| snapshot.id).collect();
    left.extend(relabel::replaced(all));
    if left.is_empty() { Ok(()) } else { delete(opened, &left) }
}

fn delete<S: rustic_core::Open>(opened: &rustic_core::Repository<S>, ids: &[SnapshotId]) -> Result<(), Fault> {
    opened.delete_snapshots(ids).map_err(|error| repository::fault("snapshot cannot be deleted", &error))
}
