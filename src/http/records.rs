//! What is in the journal, read by a reader of its own on a thread of its own. The engine's commits
//! never wait for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::clock;
use crate::engine::event::{Note, What};
use crate::journal::change::{AuditRecord, PlanRecord, RunRecord};
use crate::journal::record::{NoticeQuery, NoticeRecord, OperationRecord, PolicyRecord, PolicyVersion};
use crate::journal::{self, AuditQuery, Depth, HistoryQuery, JournalError, OpenError, OperationQuery, Reader, Totals};
use crate::lifecycle::workflow::Kind;

use super::body::{AuditBody, BackupBody, CheckBody, HistoryBody, PlanBody};
use super::control::send;
use super::error::ApiError;
use super::explain::names;
use super::serve::Peer;
use super::{Shared, State, shape};

/// A page. More is asked for in further requests.
const LIMIT_MAX: u32 = 1_000;
/// What somebody wants to see who says nothing.
const LIMIT_DEFAULT: u32 = 50;

/// The journal, open for reading.
pub trait Records: Send {
    /// Returns runs, newest first.
    fn history(&self, query: &HistoryQuery) -> Result<Vec<RunRecord>, JournalError>;
    /// Returns the latest journaled plan of a policy.
    fn latest_plan(&self, policy: &str) -> Result<Option<PlanRecord>, JournalError>;
    /// Returns one plan.
    fn plan(&self, number: u64) -> Result<Option<PlanRecord>, JournalError>;
    /// Returns plans that were held, newest first.
    fn held_plans(&self, limit: u32) -> Result<Vec<PlanRecord>, JournalError>;
    /// Returns what was deleted, spared and commanded, newest first.
    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, JournalError>;
    /// Returns notices, newest first.
    fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRecord>, JournalError>;
    /// Returns one notice.
    fn notice(&self, number: u64) -> Result<Option<NoticeRecord>, JournalError>;
    /// Returns work of hours that was begun, newest first.
    fn operations(&self, query: &OperationQuery) -> Result<Vec<OperationRecord>, JournalError>;
    /// Returns one piece of it.
    fn operation(&self, number: u64) -> Result<Option<OperationRecord>, JournalError>;
    /// Returns living policies by these names, in their order, or all of them by name.
    fn policies(&self, names: Option<&[Arc<str>]>) -> Result<Vec<PolicyRecord>, JournalError>;
    /// Returns which version of a policy is or was there, by its uid.
    fn version_of(&self, policy_uid: &str) -> Result<Option<PolicyVersion>, JournalError>;
    /// Returns which version of each living policy is there, by name.
    fn versions(&self) -> Result<Vec<PolicyVersion>, JournalError>;
    /// Returns what was counted of each living policy, and how large the journal is.
    fn totals(&self) -> Result<Totals, JournalError>;
    /// Returns what is wrong with the journal; nothing when it is sound.
    fn check(&self) -> Result<Vec<String>, OpenError>;
    /// Copies the journal and returns where the copy is.
    fn backup(&self) -> Result<PathBuf, OpenError>;
}

/// The journal of a state directory.
#[derive(Debug)]
pub struct StateRecords {
    state: PathBuf,
    reader: Reader,
}

impl StateRecords {
    /// Opens it for reading.
    pub fn open(state: &std::path::Path) -> Result<Box<dyn Records>, OpenError> {
        Ok(Box::new(StateRecords { state: state.to_path_buf(), reader: Reader::open(state)? }))
    }
}

impl Records for StateRecords {
    fn history(&self, query: &HistoryQuery) -> Result<Vec<RunRecord>, JournalError> {
        self.reader.history(query)
    }

    fn latest_plan(&self, policy: &str) -> Result<Option<PlanRecord>, JournalError> {
        self.reader.latest_plan(policy)
    }

    fn plan(&self, number: u64) -> Result<Option<PlanRecord>, JournalError> {
        self.reader.plan(number)
    }

    fn held_plans(&self, limit: u32) -> Result<Vec<PlanRecord>, JournalError> {
        self.reader.held_plans(limit)
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, JournalError> {
        self.reader.audit(query)
    }

    fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRecord>, JournalError> {
        self.reader.notices(query)
    }

    fn notice(&self, number: u64) -> Result<Option<NoticeRecord>, JournalError> {
        self.reader.notice(number)
    }

    fn operations(&self, query: &OperationQuery) -> Result<Vec<OperationRecord>, JournalError> {
        self.reader.operations(query)
    }

    fn operation(&self, number: u64) -> Result<Option<OperationRecord>, JournalError> {
        self.reader.operation(number)
    }

    fn policies(&self, names: Option<&[Arc<str>]>) -> Result<Vec<PolicyRecord>, JournalError> {
        self.reader.policy_records(names)
    }

    fn version_of(&self, policy_uid: &str) -> Result<Option<PolicyVersion>, JournalError> {
        self.reader.version_of(policy_uid)
    }

    fn versions(&self) -> Result<Vec<PolicyVersion>, JournalError> {
        self.reader.versions()
    }

    fn totals(&self) -> Result<Totals, JournalError> {
        self.reader.totals()
    }

    fn check(&self) -> Result<Vec<String>, OpenError> {
        journal::check(&self.state, Depth::Whole)
    }

    fn backup(&self) -> Result<PathBuf, OpenError> {
        journal::backup(&self.state, clock::now().wall)
    }
}

/// Opens the journal for reading.
pub type OpenRecords = Arc<dyn Fn() -> Result<Box<dyn Records>, OpenError> + Send + Sync>;

/// Why the journal could not be read.
#[derive(Debug)]
pub enum Unread {
    /// It could not be opened.
    Unopened(OpenError),
    /// It could not answer.
    Failed(JournalError),
}

impl From<OpenError> for Unread {
    fn from(error: OpenError) -> Unread {
        Unread::Unopened(error)
    }
}

impl From<JournalError> for Unread {
    fn from(error: JournalError) -> Unread {
        Unread::Failed(error)
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Unopened(error) => write!(f, "{error}"),
            Unread::Failed(error) => write!(f, "failed to read the journal: {error}"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryParameters {
    #[serde(default)]
    name: String,
    workflow: Option<String>,
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditParameters {
    limit: Option<u32>,
    #[serde(default)]
    name: String,
}

/// `GET /v1/history?name=a*,b&workflow=creation&limit=50`
pub async fn history(
    axum::extract::State(shared): State,
    query: Result<Query<HistoryParameters>, QueryRejection>,
) -> Result<Json<HistoryBody>, ApiError> {
    let HistoryParameters { name, workflow, limit } = query?.0;
    let kind = match workflow {
        None => None,
        Some(word) => Some(Kind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            ApiError::bad_request("unknown_workflow", format!("there is no workflow `{word}`"))
                .hint("the workflows are creation and deletion")
        })?),
    };
    let query = HistoryQuery { policies: names(&name)?, kind, limit: bounded(limit)? };
    let runs = read(&shared, move |records| records.history(&query)).await?;
    Ok(Json(HistoryBody { runs: runs.into_iter().map(shape::run).collect() }))
}

/// `GET /v1/policies/{name}/plan/latest`
pub async fn latest_plan(
    axum::extract::State(shared): State,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PlanBody>, ApiError> {
    let policy = name?.0;
    let asked = policy.clone();
    let plan = read(&shared, move |records| records.latest_plan(&asked)).await?;
    match plan {
        Some(plan) => Ok(Json(shape::journaled_plan(&policy, &plan))),
        None => Err(ApiError::not_found("no_plan", format!("no deletion run of `{policy}` has made a plan yet"))),
    }
}

/// `GET /v1/audit?limit=50`
pub async fn audit(
    axum::extract::State(shared): State,
    query: Result<Query<AuditParameters>, QueryRejection>,
) -> Result<Json<AuditBody>, ApiError> {
    let AuditParameters { limit, name } = query?.0;
    let (limit, subjects) = (bounded(limit)?, names(&name)?);
    let query = AuditQuery { limit, subjects, ..AuditQuery::default() };
    let records = read(&shared, move |records| records.audit(&query)).await?;
    Ok(Json(AuditBody { records: records.into_iter().map(shape::audit).collect() }))
}

/// `GET /v1/journal/check`
pub async fn check(axum::extract::State(shared): State) -> Result<Json<CheckBody>, ApiError> {
    let troubles = read(&shared, |records| records.check()).await?;
    Ok(Json(CheckBody { sound: troubles.is_empty(), troubles }))
}

/// `POST /v1/journal/backup`
pub async fn backup(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
) -> Result<Json<BackupBody>, ApiError> {
    let file = read(&shared, |records| records.backup()).await?.display().to_string();
    let note = Note {
        what: "backup",
        subject: "journal".to_string(),
        detail: "copied and checked".to_string(),
        before: None,
        after: Some(file.as_str().into()),
        is_over: true,
        gone_of: None,
    };
    // The copy is made, also where no engine is left that could write it down.
    if let Err(error) = send(&shared, &peer, What::Note(Box::new(note))).await {
        tracing::warn!(cause = ?error, "a copy of the journal is not in the audit");
    }
    Ok(Json(BackupBody { file }))
}

pub fn bounded(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(ApiError::bad_request("bad_limit", format!("limit must be 1 to {LIMIT_MAX}"))),
    }
}

/// Asks the journal on a thread that may wait. A request that is given up leaves that thread to
/// finish; its place counts until it has.
pub async fn read<T: Send + 'static, E: Into<Unread> + 'static>(
    shared: &Shared,
    ask: impl FnOnce(&dyn Records) -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError> {
    let Some(open) = shared.api.records.clone() else {
        return Err(ApiError::unavailable("no_journal", "there is no journal to read"));
    };
    let place = shared.reads.clone().acquire_owned().await.map_err(|_| super::control::mismatch())?;
    let work = tokio::task::spawn_blocking(move || {
        let _place = place;
        let records = open().map_err(Unread::Unopened)?;
        ask(&*records).map_err(Into::into)
    });
    match work.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(unread)) => Err(unread.into()),
        Err(_) => {
            let detail = "the question to the journal came to nothing";
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "journal_unread", detail))
        }
    }
}

impl From<Unread> for ApiError {
    fn from(unread: Unread) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "journal_unread", unread.to_string())
    }
}
