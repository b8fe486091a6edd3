//! Work of hours: begun here, and asked about until it is over.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::drivers::{Amount, Maintained, Verified};
use crate::engine::event::{OperationKind, OperationRecord, What};
use crate::engine::view::RepositoryShown;
use crate::journal::OperationQuery;
use crate::lifecycle::workflow::FaultKind;
use crate::upkeep::{Operation, Order, Report, Upkeep};

use super::body::{
    AmountBody, MaintainedBody, OperationBody, OperationsBody, RepositoryBody, VerifiedBody, VerifyOrder,
};
use super::control::{mismatch, send};
use super::error::ApiError;
use super::explain::names;
use super::records::{bounded, read};
use super::serve::Peer;
use super::{Shared, State, repeat, shape};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationsParameters {
    what: Option<String>,
    #[serde(default)]
    subject: String,
    limit: Option<u32>,
}

/// No name and no identity of a snapshot is longer.
const SNAPSHOT_CHARS_MAX: usize = 512;

type Begun = Result<(StatusCode, Json<OperationBody>), ApiError>;

/// `POST /v1/verify`
pub async fn verify(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Begun {
    let order: VerifyOrder = serde_json::from_slice(&body?).map_err(|error| {
        ApiError::bad_request("bad_body", error.to_string()).hint("send {\"snapshot\": NAME, \"read_data_percent\": N}")
    })?;
    let VerifyOrder { snapshot, read_data_percent, repositories, policies } = order;
    if read_data_percent > 100 {
        return Err(ApiError::bad_request("bad_percentage", "read_data_percent is more than 100"));
    }
    is_snapshot(&snapshot)?;
    // Names are checked while the caller still listens.
    send(&shared, &peer, What::Sites { repositories: repositories.clone(), policies: policies.clone() }).await?;
    begin(&shared, &peer, Order::Verify { snapshot, repositories, policies, read_data_percent }).await
}

/// `POST /v1/repositories/{name}/maintain`
pub async fn maintain(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Begun {
    let repository = name?.0;
    send(&shared, &peer, What::Sites { repositories: vec![repository.clone()], policies: Vec::new() }).await?;
    begin(&shared, &peer, Order::Maintain { repository }).await
}

/// `GET /v1/operations/{number}`
pub async fn operation(
    axum::extract::State(shared): State,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<OperationBody>, ApiError> {
    Ok(Json(numbered(&shared, number?.0).await?))
}

/// Returns an operation, whether it is at work or over.
pub async fn numbered(shared: &Shared, number: u64) -> Result<OperationBody, ApiError> {
    if let Some(operation) = shared.api.upkeep.as_ref().and_then(|upkeep| upkeep.operation(number)) {
        return Ok(body(operation));
    }
    match read(shared, move |records| records.operation(number)).await? {
        Some(record) => Ok(recorded(record, None)),
        None => Err(ApiError::not_found("unknown_operation", format!("there is no operation {number}"))),
    }
}

/// `GET /v1/operations?what=maintain&subject=a*,b&limit=50`
pub async fn operations(
    axum::extract::State(shared): State,
    query: Result<Query<OperationsParameters>, QueryRejection>,
) -> Result<Json<OperationsBody>, ApiError> {
    let OperationsParameters { what, subject, limit } = query?.0;
    let kind = match what {
        None => None,
        Some(word) => Some(OperationKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            ApiError::bad_request("unknown_operation", format!("there is no operation `{word}`"))
                .hint("the operations are maintain, verify, hold, adopt and expire")
        })?),
    };
    let query = OperationQuery { kind, subjects: names(&subject)?, limit: bounded(limit)? };
    let records = read(&shared, move |records| records.operations(&query)).await?;
    let operations = records.into_iter().map(|record| recorded(record, shared.api.upkeep.as_ref())).collect();
    Ok(Json(OperationsBody { operations }))
}

/// Returns the repositories that are in force, and how they are looked after.
pub fn repositories(shared: &Shared, shown: Vec<RepositoryShown>) -> Vec<RepositoryBody> {
    let body = |shown: RepositoryShown| RepositoryBody {
        name: shown.name.to_string(),
        driver: shown.kind.into(),
        maintains: shown.maintains,
        maintenance: shown.maintenance.map(|record| recorded(record, shared.api.upkeep.as_ref())),
        verdict: shown.verdict.map(|record| recorded(record, None)),
    };
    shown.into_iter().map(body).collect()
}

/// Whether a text can be a snapshot's name or identity.
pub fn is_snapshot(text: &str) -> Result<(), ApiError> {
    if (1..=SNAPSHOT_CHARS_MAX).contains(&text.chars().count()) && !text.contains(char::is_control) {
        return Ok(());
    }
    let detail = format!("snapshot must be 1 to {SNAPSHOT_CHARS_MAX} printable characters");
    Err(ApiError::bad_request("bad_snapshot", detail))
}

pub async fn begin(shared: &Arc<Shared>, peer: &Peer, order: Order) -> Begun {
    let upkeep = upkeep(shared)?;
    let number = upkeep.begin(&peer.0, order, repeat::key_at_hand()).await.map_err(|fault| match fault.kind {
        FaultKind::Busy => ApiError::unavailable("busy", fault.message).hint("try again when one is over"),
        FaultKind::Transient | FaultKind::Permanent | FaultKind::Incomplete => {
            ApiError::unavailable("unavailable", fault.message)
        }
    })?;
    match upkeep.operation(number) {
        Some(begun) => Ok((StatusCode::ACCEPTED, Json(body(begun)))),
        None => Err(mismatch()),
    }
}

pub fn upkeep(shared: &Shared) -> Result<&Upkeep, ApiError> {
    let none = || ApiError::unavailable("unavailable", "nobody looks after repositories at present");
    shared.api.upkeep.as_ref().ok_or_else(none)
}

/// As the journal has it; how far it is, where somebody knows.
fn recorded(record: OperationRecord, upkeep: Option<&Upkeep>) -> OperationBody {
    let progress = match record.end {
        None => upkeep.and_then(|upkeep| upkeep.progress(record.number)),
        Some(_) => None,
    };
    let OperationRecord { number, kind, subject, who, began_at, end } = record;
    OperationBody {
        operation: number,
        what: kind.word().to_owned(),
        subject: subject.into(),
        state: end.as_ref().map_or("running", |end| end.outcome.word()).to_owned(),
        who: who.into(),
        start_time: Some(began_at.millis()),
        end_time: end.as_ref().map(|end| end.at.millis()),
        progress: progress.map(shape::progress),
        message: end.map(|end| end.message),
        verified: None,
        maintained: None,
        fault: None,
    }
}

fn body(operation: Operation) -> OperationBody {
    let Operation { record, progress, outcome } = operation;
    let mut body = OperationBody { progress: progress.map(shape::progress), ..recorded(record, None) };
    match outcome {
        None => {}
        Some(Ok(report)) => {
            body.state = "succeeded".to_owned();
            body.message = Some(report.to_string());
            match report {
                Report::Verified { repository, verified: Verified { files, bytes_read } } => {
                    body.verified = Some(VerifiedBody { repository: repository.to_string(), files, bytes_read });
                }
                Report::Single(_) => {}
                Report::Maintained(Maintained { marked, removed, kept, repaired, message }) => {
                    let amount = |Amount { count, bytes }| AmountBody { count, bytes };
                    body.maintained = Some(MaintainedBody {
                        marked: amount(marked),
                        removed: amount(removed),
                        kept: amount(kept),
                        repaired: amount(repaired),
                        message,
                    });
                }
            }
        }
        Some(Err(fault)) => {
            body.state = "failed".to_owned();
            body.message = Some(fault.message);
            body.fault = Some(fault.kind.word().to_owned());
        }
    }
    body
}
