//! Whether a driver keeps its contract: cases that anybody can run on a repository of theirs.
//!
//! [`contract`] tries what every driver promises; [`program`] tries the same through the process host
//! that the daemon uses, and what the protocol asks of a program besides. Each case says what was
//! expected and what came. Every name begins with `snapkeep-test-`, and what was made is deleted in the
//! end, also when a case failed or the run was stopped; nothing else is touched.
//!
//! It shows that a driver does what it should when it is asked properly. It cannot show that one
//! never loses data.

mod contract;
mod scratch;
mod wire;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Snapshot, SnapshotName};
use crate::lifecycle::workflow::{Fault, FaultKind};

use super::process::ProcessDriver;
use super::registry::SettingProblem;
use super::{Call, Driver, ProgressSink, exec};

pub use scratch::Scratch;

/// What all names begin with.
pub const PREFIX: &str = "snapkeep-test-";

/// How often and how long the sweep waits for a repository that is busy: a creation that was broken
/// off may take a while to let go.
const SWEEPS_MAX: u32 = 10;
const SWEEP_DELAY: Duration = Duration::from_secs(1);

/// What a suite is run with.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The driver's part of a policy's `snapshot_config`.
    pub config: Arc<Value>,
    /// Tells the names of this run from those of another; of `a-z`, `0-9` and `-`.
    pub tag: String,
    /// Where to restore to, and what is snapshotted where that is known.
    pub scratch: Scratch,
    /// How long one operation may take.
    pub time_max: Duration,
}

/// What came of a suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every case, in the order in which they were tried.
    pub cases: Vec<Case>,
    /// What could not be deleted again, by name.
    pub left: Vec<String>,
    /// Whether it was stopped before its end.
    pub is_stopped: bool,
}

impl Report {
    /// Whether nothing failed, nothing is left, and all was tried.
    pub fn is_good(&self) -> bool {
        self.failed().next().is_none() && self.left.is_empty() && !self.is_stopped
    }

    /// Returns the cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. }))
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What has to hold, as a sentence.
    pub name: &'static str,
    /// Whether it does.
    pub outcome: Outcome,
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed {
        /// What should have come.
        expected: String,
        /// What came.
        got: String,
    },
    /// It was not tried.
    Skipped {
        /// Why not.
        why: String,
    },
}

/// Opens a program as `driver = "exec"` does: the same keys, and all others handed to the program.
///
/// # Errors
///
/// All problems of the settings at once.
pub fn open(
    command: &[String],
    settings: &Map<String, Value>,
    base: &Path,
) -> Result<ProcessDriver, Vec<SettingProblem>> {
    let mut table = settings.clone();
    table.insert("command".to_owned(), command.into());
    exec::program(&table, base)
}

/// Tries what every driver promises.
pub async fn contract(driver: &dyn Driver, bench: &Bench) -> Report {
    let mut trial = Trial::new(driver, bench);
    trial.keeps_the_contract().await;
    trial.sweep().await;
    trial.report
}

/// Tries all that the protocol asks of a program, until `stop` comes.
pub async fn program(driver: ProcessDriver, bench: &Bench, stop: impl Future<Output = ()>) -> Report {
    tokio::pin!(stop);
    let (able, mut report) = tokio::select! {
        greeted = wire::greet(driver, bench) => greeted,
        () = &mut stop => return Report { is_stopped: true, ..Report::default() },
    };
    // What does not answer at all is not asked to make anything.
    let Some(driver) = able else { return report };
    let mut trial = Trial::new(&driver, bench);
    std::mem::swap(&mut trial.report, &mut report);
    let is_stopped = tokio::select! {
        () = async {
            trial.keeps_the_contract().await;
            trial.speaks_the_protocol(&driver).await;
        } => false,
        () = &mut stop => true,
    };
    trial.sweep().await;
    Report { is_stopped, ..trial.report }
}

/// Whether a case holds.
type Verdict = Result<(), Unmet>;

/// Why a case does not hold, or is not known to.
#[derive(Clone, Debug)]
enum Unmet {
    Wrong { expected: String, got: String },
    Untried(String),
}

fn wrong<T>(expected: impl Into<String>, got: impl Into<String>) -> Result<T, Unmet> {
    Err(Unmet::Wrong { expected: expected.into(), got: got.into() })
}

fn untried<T>(why: impl Into<String>) -> Result<T, Unmet> {
    Err(Unmet::Untried(why.into()))
}

/// Holds when both are the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Verdict {
    if expected == got { Ok(()) } else { wrong(format!("{what} {expected:?}"), format!("{got:?}")) }
}

/// Takes an answer, where only an answer will do.
fn answer<T>(expected: &str, outcome: Result<T, Fault>) -> Result<T, Unmet> {
    outcome.or_else(|fault| wrong(expected, words(&fault)))
}

fn words(fault: &Fault) -> String {
    format!("a fault ({}): {}", fault.kind.word(), fault.message)
}

impl Report {
    fn note(&mut self, name: &'static str, verdict: Verdict) {
        let outcome = match verdict {
            Ok(()) => Outcome::Passed,
            Err(Unmet::Wrong { expected, got }) => Outcome::Failed { expected, got },
            Err(Unmet::Untried(why)) => Outcome::Skipped { why },
        };
        self.cases.push(Case { name, outcome });
    }
}

impl Bench {
    fn call(&self) -> Call {
        Call { time_max: self.time_max, progress: ProgressSink::default() }
    }

    /// Returns the name for `word`.
    fn name(&self, word: &str) -> Result<SnapshotName, Unmet> {
        let name = format!("{}{word}", self.names());
        SnapshotName::new(&name).or_else(|error| untried(format!("{name} cannot be used: {error}")))
    }

    /// Returns what the names of this run begin with.
    fn names(&self) -> String {
        format!("{PREFIX}{}-", self.tag)
    }
}

/// A driver on trial.
struct Trial<'a> {
    driver: &'a dyn Driver,
    bench: &'a Bench,
    report: Report,
}

impl Trial<'_> {
    fn new<'a>(driver: &'a dyn Driver, bench: &'a Bench) -> Trial<'a> {
        Trial { driver, bench, report: Report::default() }
    }

    /// Deletes whatever this run may have made, also by names that a listing left out.
    async fn sweep(&mut self) {
        for round in 0..SWEEPS_MAX {
            if round > 0 {
                tokio::time::sleep(SWEEP_DELAY).await;
            }
            let mut is_busy = false;
            for snapshot in self.found().await.0 {
                let outcome = self.driver.delete(&target(&snapshot), &self.bench.call()).await;
                is_busy |= outcome.is_err_and(|fault| fault.kind == FaultKind::Busy);
            }
            if !is_busy {
                break;
            }
        }
        // What was said to be deleted and is not is found by looking again; what cannot be looked at
        // may be there.
        let (found, unknown) = self.found().await;
        self.report.left = found.into_iter().map(|snapshot| snapshot.name).chain(unknown).collect();
        self.report.left.sort();
        self.report.left.dedup();
    }

    /// Returns every snapshot of this run that can be found, by listing and by name, and the names of
    /// which is not known whether they are there.
    async fn found(&self) -> (Vec<Snapshot>, Vec<String>) {
        let call = self.bench.call();
        let listed = self.driver.list(&call).await.map(|listing| listing.snapshots).unwrap_or_default();
        let mut found: Vec<Snapshot> =
            listed.into_iter().filter(|snapshot| snapshot.name.starts_with(&self.bench.names())).collect();
        let mut unknown = Vec::new();
        for word in contract::WORDS.iter().chain(wire::WORDS) {
            let Ok(name) = self.bench.name(word) else { continue };
            match self.driver.describe(&name, &call).await {
                Ok(None) => {}
                Ok(Some(described)) => {
                    if found.iter().all(|snapshot| snapshot.id != described.snapshot.id) {
                        found.push(described.snapshot);
                    }
                }
                Err(_) => unknown.push(name.to_string()),
            }
        }
        (found, unknown)
    }
}

fn target(snapshot: &Snapshot) -> Target {
    Target { name: snapshot.name.as_str().into(), id: snapshot.id.as_str().into(), taken_at: snapshot.taken_at }
}
