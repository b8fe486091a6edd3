//! The stored form of states, and the only place where it is converted.
//!
//! These types change only together with [`FORM`] and a migration; the types of `lifecycle` may be
//! renamed at will.

pub(super) mod clock;
pub(super) mod plan;
mod verdict;

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, JournalError};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::plan::Target;
use crate::lifecycle::policy::Revision;
use crate::lifecycle::snapshot::SnapshotName;
use crate::lifecycle::time::{Moment, Timestamp, Wait};
use crate::lifecycle::workflow::{Cause, Kind, Outcome, Phase, Run, Step, Trigger, Trouble, Watch, Workflow};

use super::change::{DocumentKind, SkipReason};

/// So many of the snapshots that a run may still delete are named in its state. The plan names them all; a
/// state that is loaded plans anew before it deletes another, and a large plan would be written with each.
const NAMED_MAX: usize = 64;

/// Room for the state of most runs, so that it is not moved while it is written.
const STATE_BYTES: usize = 512;

/// The version of everything below.
const FORM: u32 = 1;

/// What of a workflow goes into columns of its own.
#[derive(Debug)]
pub(super) struct StateRow {
    pub mark: i64,
    pub phase: &'static str,
    pub run_id: Option<Arc<str>>,
    pub step: Option<&'static str>,
    pub revision: Option<Arc<str>>,
    pub state: Option<String>,
}

/// A step that can be stored.
pub(super) trait StoredStep: Step {
    type Row: Serialize + DeserializeOwned;

    fn row(&self) -> Self::Row;
    fn word(&self) -> &'static str;
    fn read(row: Self::Row) -> Result<Self, JournalError>;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRow<'a, S> {
    form: u32,
    id: Cow<'a, str>,
    trigger_at: i64,
    cause: Cow<'a, str>,
    began: MomentRow,
    revision: Cow<'a, str>,
    step: S,
    attempts: u32,
    failures: u32,
    trouble: Option<TroubleRow>,
    wait: WaitRow,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchRow<'a> {
    form: u32,
    name: Cow<'a, str>,
    revision: Cow<'a, str>,
    began: MomentRow,
    cancel: bool,
    asked: u32,
    wait: WaitRow,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TroubleRow {
    busy: bool,
    cause: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MomentRow {
    wall: i64,
    boot: u64,
    uptime: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitRow {
    from: MomentRow,
    span_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetRow {
    name: Box<str>,
    id: Box<str>,
    taken_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum CreationRow {
    Looking { name: Box<str> },
    Asking { name: Box<str> },
    Running { name: Box<str> },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum DeletionRow {
    Planning { deleted: u32 },
    Rechecking { condemned: Vec<TargetRow>, deleted: u32 },
    Deleting { target: TargetRow, condemned: Vec<TargetRow>, deleted: u32 },
    Confirming { target: TargetRow, condemned: Vec<TargetRow>, deleted: u32, doubt: bool },
}

/// Returns the stored form of a workflow.
pub(super) fn write_state<S: StoredStep>(workflow: &Workflow<S>) -> Result<StateRow, JournalError> {
    let mark = workflow.mark.millis();
    Ok(match &workflow.phase {
        Phase::Waiting => StateRow { mark, phase: "waiting", run_id: None, step: None, revision: None, state: None },
        Phase::Active(run) => {
            let row = RunRow {
                form: FORM,
                id: (*run.id).into(),
                trigger_at: run.trigger.at.millis(),
                cause: run.trigger.cause.word().into(),
                began: run.began.into(),
                revision: (*run.revision.0).into(),
                step: run.step.row(),
                attempts: run.attempts,
                failures: run.failures,
                trouble: run
                    .trouble
                    .as_ref()
                    .map(|trouble| TroubleRow { busy: trouble.busy, cause: trouble.cause.clone() }),
                wait: run.wait.into(),
            };
            StateRow {
                mark,
                phase: "active",
                run_id: Some(run.id.clone()),
                step: Some(run.step.word()),
                revision: Some(run.revision.0.clone()),
                state: Some(write(&row)?),
            }
        }
        Phase::Watching(watch) => {
            let row = WatchRow {
                form: FORM,
                name: watch.name.as_str().into(),
                revision: (*watch.revision.0).into(),
                began: watch.began.into(),
                cancel: watch.cancel,
                asked: watch.asked,
                wait: watch.wait.into(),
            };
            StateRow {
                mark,
                phase: "watching",
                run_id: None,
                step: None,
                revision: Some(watch.revision.0.clone()),
                state: Some(write(&row)?),
            }
        }
    })
}

/// Returns the workflow that was stored.
pub(super) fn read_state<S: StoredStep>(
    mark: i64,
    phase: &str,
    state: Option<&str>,
) -> Result<Workflow<S>, JournalError> {
    let phase = match (phase, state) {
        ("waiting", None) => Phase::Waiting,
        ("active", Some(state)) => {
            let row: RunRow<'_, S::Row> = read(state)?;
            check_form(row.form)?;
            Phase::Active(Box::new(Run {
                id: row.id.into(),
                trigger: Trigger { at: Timestamp::from_millis(row.trigger_at), cause: read_cause(&row.cause)? },
                began: row.began.into(),
                revision: Revision(row.revision.into()),
                step: S::read(row.step)?,
                attempts: row.attempts,
                failures: row.failures,
                trouble: row.trouble.map(|trouble| Trouble { busy: trouble.busy, cause: trouble.cause }),
                wait: row.wait.into(),
            }))
        }
        ("watching", Some(state)) => {
            let row: WatchRow<'_> = read(state)?;
            check_form(row.form)?;
            Phase::Watching(Box::new(Watch {
                name: read_name(&row.name)?,
                revision: Revision(row.revision.into()),
                began: row.began.into(),
                cancel: row.cancel,
                asked: row.asked,
                wait: row.wait.into(),
            }))
        }
        (phase, _) => return Err(unknown("phase", phase)),
    };
    Ok(Workflow { mark: Timestamp::from_millis(mark), phase })
}

pub(super) fn read_kind(word: &str) -> Result<Kind, JournalError> {
    pick("workflow", word, &Kind::ALL, |kind| kind.word())
}

pub(super) fn read_cause(word: &str) -> Result<Cause, JournalError> {
    pick("cause", word, &[Cause::Schedule, Cause::CatchUp, Cause::Manual], |cause| cause.word())
}

pub(super) fn read_outcome(word: &str) -> Result<Outcome, JournalError> {
    pick("outcome", word, &Outcome::ALL, |outcome| outcome.word())
}

pub(super) fn read_reason(word: &str) -> Result<SkipReason, JournalError> {
    pick("reason", word, &SkipReason::ALL, |reason| reason.word())
}

pub(super) fn read_document_kind(word: &str) -> Result<DocumentKind, JournalError> {
    let all = [DocumentKind::Policy, DocumentKind::Repository, DocumentKind::Channel];
    pick("document", word, &all, |kind| kind.word())
}

impl StoredStep for Creation {
    type Row = CreationRow;

    fn row(&self) -> CreationRow {
        let name = self.name().as_str().into();
        match self {
            Creation::Looking { .. } => CreationRow::Looking { name },
            Creation::Asking { .. } => CreationRow::Asking { name },
            Creation::Running { .. } => CreationRow::Running { name },
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Creation::Looking { .. } => "looking",
            Creation::Asking { .. } => "asking",
            Creation::Running { .. } => "running",
        }
    }

    fn read(row: CreationRow) -> Result<Creation, JournalError> {
        Ok(match row {
            CreationRow::Looking { name } => Creation::Looking { name: read_name(&name)? },
            CreationRow::Asking { name } => Creation::Asking { name: read_name(&name)? },
            CreationRow::Running { name } => Creation::Running { name: read_name(&name)? },
        })
    }
}

impl StoredStep for Deletion {
    type Row = DeletionRow;

    fn row(&self) -> DeletionRow {
        let rows = |targets: &[Target]| targets.iter().take(NAMED_MAX).map(TargetRow::from).collect();
        match self {
            Deletion::Planning { deleted } => DeletionRow::Planning { deleted: *deleted },
            Deletion::Rechecking { condemned, deleted } => {
                DeletionRow::Rechecking { condemned: rows(condemned), deleted: *deleted }
            }
            Deletion::Deleting { target, condemned, deleted } => {
                DeletionRow::Deleting { target: target.into(), condemned: rows(condemned), deleted: *deleted }
            }
            Deletion::Confirming { target, condemned, deleted, doubt } => DeletionRow::Confirming {
                target: target.into(),
                condemned: rows(condemned),
                deleted: *deleted,
                doubt: *doubt,
            },
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Deletion::Planning { .. } => "planning",
            Deletion::Rechecking { .. } => "rechecking",
            Deletion::Deleting { .. } => "deleting",
            Deletion::Confirming { .. } => "confirming",
        }
    }

    fn read(row: DeletionRow) -> Result<Deletion, JournalError> {
        let targets = |rows: Vec<TargetRow>| rows.into_iter().map(Target::from).collect();
        Ok(match row {
            DeletionRow::Planning { deleted } => Deletion::Planning { deleted },
            DeletionRow::Rechecking { condemned, deleted } => {
                Deletion::Rechecking { condemned: targets(condemned), deleted }
            }
            DeletionRow::Deleting { target, condemned, deleted } => {
                Deletion::Deleting { target: target.into(), condemned: targets(condemned), deleted }
            }
            DeletionRow::Confirming { target, condemned, deleted, doubt } => {
                Deletion::Confirming { target: target.into(), condemned: targets(condemned), deleted, doubt }
            }
        })
    }
}

impl From<Moment> for MomentRow {
    fn from(moment: Moment) -> MomentRow {
        MomentRow { wall: moment.wall.millis(), boot: moment.boot, uptime: moment.uptime }
    }
}

impl From<MomentRow> for Moment {
    fn from(row: MomentRow) -> Moment {
        Moment { wall: Timestamp::from_millis(row.wall), boot: row.boot, uptime: row.uptime }
    }
}

impl From<Wait> for WaitRow {
    fn from(wait: Wait) -> WaitRow {
        WaitRow { from: wait.from.into(), span_ms: wait.span_ms }
    }
}

impl From<WaitRow> for Wait {
    fn from(row: WaitRow) -> Wait {
        Wait { from: row.from.into(), span_ms: row.span_ms }
    }
}

impl From<&Target> for TargetRow {
    fn from(target: &Target) -> TargetRow {
        let taken_at = target.taken_at.map(Timestamp::millis);
        TargetRow { name: target.name.clone(), id: target.id.clone(), taken_at }
    }
}

impl From<TargetRow> for Target {
    fn from(row: TargetRow) -> Target {
        Target { name: row.name, id: row.id, taken_at: row.taken_at.map(Timestamp::from_millis) }
    }
}

fn read_name(name: &str) -> Result<SnapshotName, JournalError> {
    SnapshotName::new(name).map_err(|_| unknown("snapshot name", name))
}

fn check_form(form: u32) -> Result<(), JournalError> {
    if form == FORM { Ok(()) } else { Err(unknown("form", &form.to_string())) }
}

fn pick<T: Copy>(what: &str, word: &str, all: &[T], word_of: impl Fn(T) -> &'static str) -> Result<T, JournalError> {
    all.iter().copied().find(|one| word_of(*one) == word).ok_or_else(|| unknown(what, word))
}

fn unknown(what: &str, word: &str) -> JournalError {
    JournalError::new(ErrorKind::Corrupt, format!("stored {what} `{word}` is unknown"))
}

fn write(row: &impl Serialize) -> Result<String, JournalError> {
    let mut text = Vec::with_capacity(STATE_BYTES);
    serde_json::to_writer(&mut text, row).map_err(unstorable)?;
    String::from_utf8(text).map_err(unstorable)
}

fn unstorable(error: impl Display) -> JournalError {
    JournalError::new(ErrorKind::Other, format!("state cannot be stored: {error}"))
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text)
        .map_err(|error| JournalError::new(ErrorKind::Corrupt, format!("stored state cannot be read: {error}")))
}
