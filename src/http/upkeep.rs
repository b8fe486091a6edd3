//! Work of hours: begun here, and asked about until it is over.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path};
use axum::http::StatusCode;

use crate::drivers::{Amount, Maintained, Verified};
use crate::engine::event::What;
use crate::upkeep::{Operation, Order, Report, Upkeep};

use super::body::{AmountBody, MaintainedBody, OperationBody, ProgressBody, VerifiedBody, VerifyOrder};
use super::control::send;
use super::error::ApiError;
use super::serve::Peer;
use super::{Shared, State};

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
    // Names are checked while the caller still listens.
    send(&shared, &peer, What::Sites { repositories: repositories.clone(), policies: policies.clone() }).await?;
    begin(&shared, &peer, Order::Verify { snapshot, repositories, policies, read_data_percent })
}

/// `POST /v1/repositories/{name}/maintain`
pub async fn maintain(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Begun {
    let repository = name?.0;
    send(&shared, &peer, What::Sites { repositories: vec![repository.clone()], policies: Vec::new() }).await?;
    begin(&shared, &peer, Order::Maintain { repository })
}

/// `GET /v1/operations/{number}`
pub async fn operation(
    axum::extract::State(shared): State,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<OperationBody>, ApiError> {
    let number = number?.0;
    match upkeep(&shared)?.operation(number) {
        Some(operation) => Ok(Json(body(number, operation))),
        None => Err(ApiError::not_found("unknown_operation", format!("there is no operation {number}"))
            .hint("the last hundred are known until the daemon ends; the audit has what they came to")),
    }
}

fn begin(shared: &Arc<Shared>, peer: &Peer, order: Order) -> Begun {
    let upkeep = upkeep(shared)?;
    let number = upkeep
        .begin(&peer.0, order.clone())
        .map_err(|error| ApiError::unavailable("busy", error.to_string()).hint("try again when one is over"))?;
    let begun = upkeep.operation(number).unwrap_or(Operation { order, progress: None, outcome: None });
    Ok((StatusCode::ACCEPTED, Json(body(number, begun))))
}

fn upkeep(shared: &Shared) -> Result<&Upkeep, ApiError> {
    let none = || ApiError::unavailable("unavailable", "nobody looks after repositories at present");
    shared.api.upkeep.as_ref().ok_or_else(none)
}

fn body(number: u64, operation: Operation) -> OperationBody {
    let Operation { order, progress, outcome } = operation;
    let mut body = OperationBody {
        operation: number,
        what: order.word().to_owned(),
        subject: order.subject().to_owned(),
        state: "running".to_owned(),
        progress: progress.map(|told| ProgressBody {
            doing: told.doing,
            done: told.done,
            total: told.total,
            unit: told.unit,
        }),
        message: None,
        verified: None,
        maintained: None,
        fault: None,
    };
    match outcome {
        None => {}
        Some(Ok(report)) => {
            body.state = "succeeded".to_owned();
            body.message = Some(report.to_string());
            match report {
                Report::Verified { repository, verified: Verified { files, bytes_read } } => {
                    body.verified = Some(VerifiedBody { repository: repository.to_string(), files, bytes_read });
                }
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
