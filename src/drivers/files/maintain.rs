//! Gives the space back that no snapshot needs, and looks whether the repository holds together.
//!
//! In two phases, never in one: what nothing needs is marked, and only what was marked a delay ago is
//! removed. All of it happens under the lock that creations and deletions take, so that nothing of ours
//! can come to need what is being removed; the delay is for those who do not know our lock. Killed at
//! any point it leaves a sound repository: new index files are written before old ones are removed, and
//! packs are removed last. A repository without snapshots is left as it is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustic_core::jiff::Span;
use rustic_core::{CheckOptions, PruneOptions, PruneStats, RusticError};

use crate::lifecycle::workflow::Fault;

use super::super::protocol::{AmountLine, MaintainResult};
use super::lock::Lock;
use super::output::Output;
use super::repository::{self, Opened};
use super::{Place, backup, damage, key, unnamed};

/// The shortest delay: the library's own, and more than a working day for those who do not know our lock.
pub const DELAY_MS_MIN: u64 = 23 * 3_600_000;
/// The longest that may be written. Whoever wants more does not want to remove anything.
pub const DELAY_MS_MAX: u64 = 365 * 86_400_000;

/// As many findings as a message can use.
const FINDINGS_TOLD_MAX: usize = 5;
/// The library's errors carry guidance and backtraces; what is wrong stands at the beginning.
const FINDING_CHARS_MAX: usize = 300;

/// Marks, removes and checks. `keep_ms` is longer than anything takes that may still come to need what
/// nothing needs at present; the delay is never shorter.
pub fn maintain(place: &Place, keep_ms: u64, output: &Output) -> Result<MaintainResult, Fault> {
    let lock = Lock::take(place, "maintain", "the repository")?;
    let nothing = AmountLine::default();
    let mut result =
        MaintainResult { marked: nothing, removed: nothing, kept: nothing, repaired: nothing, message: None };
    let Some(opened) = repository::open(place, output)? else { return Ok(result) };
    repository::no_restic_at_work(place, &lock)?;
    output.doing("looking for what nothing needs", "");
    let all = repository::snapshots(place, &opened)?;
    backup::sweep(&opened, &all)?;
    sweep_unfinished(place)?;
    if all.is_empty() {
        // Ours always keep the newest good one: somebody or something else took the snapshots away, and
        // what is left is what they could be found in again.
        result.message = Some("there is no snapshot, so nothing is removed".to_owned());
        return Ok(result);
    }

    let delay = Duration::from_millis(place.prune_delay_ms.unwrap_or(0).max(DELAY_MS_MIN).max(keep_ms));
    let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    let span = Span::new()
        .try_seconds(seconds)
        .map_err(|_| Fault::permanent(format!("a delay of {seconds} s is longer than can be counted")))?;
    // Instant deletion stays off: it has lost data beside a backup.
    let options = PruneOptions::default().keep_delete(span).instant_delete(false);
    let plan = opened.prune_plan(&options).map_err(|error| blame(place, &opened, &error))?;
    tell(&plan.stats, &mut result);
    let all_named = plan.stats.packs_unref == 0;
    let left_alone = plan.stats.packs_unref > 0 && plan.stats.index_files_rebuild == 0;
    // It may have begun while the plan was made.
    repository::no_restic_at_work(place, &lock)?;
    output.doing("marking and removing", "");
    opened.prune(&options, plan).map_err(|error| blame(place, &opened, &error))?;
    if left_alone {
        // The library marks what no index names only while it rewrites an index, and forgets it when
        // there is none to rewrite.
        let (removed, kept) = unnamed::sweep(place, &opened, &lock, delay)?;
        add(&mut result.removed, removed);
        add(&mut result.kept, kept);
    }
    if all_named {
        unnamed::forget(place)?;
    }
    repository::sync(place)?;

    output.doing("checking the repository", "");
    match check(&opened)? {
        findings if findings.is_empty() => {
            if !key::is_saved(place) {
                let said = result.message.take().map(|message| format!("{message}; ")).unwrap_or_default();
                result.message = Some(format!("{said}nobody was given its key yet: `snapkeep key sheet` prints it"));
            }
            Ok(result)
        }
        findings => Err(unsound(&findings)),
    }
}

fn tell(stats: &PruneStats, result: &mut MaintainResult) {
    let sizes = stats.size_sum();
    let amount = |count, bytes| AmountLine { count, bytes };
    result.marked = amount(stats.packs.unused + stats.packs.repack, sizes.remove + sizes.repack);
    if stats.index_files_rebuild > 0 {
        add(&mut result.marked, amount(stats.packs_unref, stats.size_unref));
    }
    result.removed = amount(stats.packs_to_delete.remove, stats.size_to_delete.remove);
    result.kept = amount(stats.packs_to_delete.keep, stats.size_to_delete.keep);
    result.repaired = amount(stats.packs_to_delete.recover, stats.size_to_delete.recover);
    if stats.packs.repack > 0 {
        result.message = Some(format!(
            "{} packs were written anew without the {} bytes of them that nothing needs",
            stats.packs.repack, sizes.repackrm
        ));
    }
}

/// Adds up.
pub fn add(to: &mut AmountLine, more: AmountLine) {
    to.count += more.count;
    to.bytes += more.bytes;
}

/// Returns what is wrong with the repository, each as a text.
fn check(opened: &Opened) -> Result<Vec<String>, Fault> {
    let results = opened
        .check(CheckOptions::default())
        .map_err(|error| repository::fault("repository cannot be checked", &error))?;
    if results.is_ok().is_ok() {
        return Ok(Vec::new());
    }
    Ok(results.0.iter().map(|(_, finding)| beginning(&finding.to_string())).collect())
}

fn unsound(findings: &[String]) -> Fault {
    let told = &findings[..findings.len().min(FINDINGS_TOLD_MAX)];
    let more = findings.len() - told.len();
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Fault::permanent(format!("the repository does not hold together: {}{more}", told.join("; ")))
}

/// Says why the library refused: where the repository is damaged, a person has to know what is.
fn blame(place: &Place, opened: &Opened, error: &RusticError) -> Fault {
    if let Some(damage) = damage::find(place, "index") {
        return unsound(&[damage]);
    }
    match check(opened) {
        Ok(findings) if !findings.is_empty() => unsound(&findings),
        Ok(_) | Err(_) => repository::fault("repository cannot be pruned", error),
    }
}

/// Removes files that a killed process was still writing: they never got their names.
fn sweep_unfinished(place: &Place) -> Result<(), Fault> {
    /// What the library appends to the name of a file until it is whole.
    const UNFINISHED: &str = "-tmp-";
    let is_unfinished = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_suffix(UNFINISHED).is_some_and(repository::is_id)
    };
    let mut folders = folders_of_packs(place)?;
    folders.extend(["index", "keys", "snapshots"].map(|name| place.path.join(name)));
    for path in folders.iter().map(|folder| files(folder)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        if is_unfinished(&path) {
            fs::remove_file(&path).map_err(|error| unusable(&path, &error))?;
        }
    }
    Ok(())
}

/// Returns the directories that hold packs.
pub fn folders_of_packs(place: &Place) -> Result<Vec<PathBuf>, Fault> {
    entries(&place.path.join("data"), fs::FileType::is_dir)
}

/// Returns the files of a directory; none where it is missing.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    entries(folder, fs::FileType::is_file)
}

fn entries(folder: &Path, wanted: fn(&fs::FileType) -> bool) -> Result<Vec<PathBuf>, Fault> {
    let failed = |error: std::io::Error| unusable(folder, &error);
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if wanted(&entry.file_type().map_err(failed)?) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Returns a fault for a file of the repository that the system refused.
pub fn unusable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::transient(format!("{} cannot be used: {error}", path.display()))
}

/// Returns the beginning of a finding, in one line.
fn beginning(text: &str) -> String {
    let text = text.split("backtrace:").next().unwrap_or(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(FINDING_CHARS_MAX).collect()
}
