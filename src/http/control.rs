//! What changes something: sent to the engine, answered once it is in the journal.

use std::sync::mpsc::TrySendError;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path};
use axum::http::StatusCode;
use tokio::sync::oneshot;

use crate::engine::event::{Command, Done, Event, Refusal, RequestKey, What};
use crate::lifecycle::workflow::Kind;

use super::body::{AcknowledgedBody, RunBody, RunOrder};
use super::error::ApiError;
use super::explain::unknown_name;
use super::serve::Peer;
use super::{Shared, State, repeat};

/// A turn takes milliseconds; an engine that does not answer within this is in trouble.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// `POST /v1/policies/{name}/start`
pub async fn start(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    let policy = name?.0;
    send(&shared, &peer, What::Start { policy }).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

/// `POST /v1/policies/{name}/stop`
pub async fn stop(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    let policy = name?.0;
    send(&shared, &peer, What::Stop { policy }).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

/// `POST /v1/policies/{name}/run`
pub async fn run(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<RunBody>), ApiError> {
    let policy = name?.0;
    let order: RunOrder = serde_json::from_slice(&body?).map_err(|error| {
        ApiError::bad_request("bad_body", error.to_string()).hint("send {\"workflow\": \"creation\"} or \"deletion\"")
    })?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == order.workflow).ok_or_else(|| {
        ApiError::bad_request("unknown_workflow", format!("there is no workflow `{}`", order.workflow))
            .hint("the workflows are creation and deletion")
    })?;
    match send(&shared, &peer, What::Run { policy, kind }).await? {
        Done::Run { run_id, snapshot } => Ok((StatusCode::ACCEPTED, Json(RunBody { run_id, snapshot }))),
        _ => Err(mismatch()),
    }
}

/// `POST /v1/journal/accept-machine`
pub async fn accept_machine(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    send(&shared, &peer, What::AcceptMachine).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

/// Sends a command and waits for its answer. A caller that goes away meanwhile changes nothing: the
/// command is carried out, and its answer dropped.
pub async fn send(shared: &Shared, peer: &Peer, what: What) -> Result<Done, ApiError> {
    send_under(repeat::key_at_hand(), shared, peer, what).await
}

/// Does so under a key, or without one: a key is kept with one record of all that is done under it.
pub async fn send_under(
    request: Option<RequestKey>,
    shared: &Shared,
    peer: &Peer,
    what: What,
) -> Result<Done, ApiError> {
    let (reply, answer) = oneshot::channel();
    let request = request.map(Box::new);
    let command = Command { who: peer.0.clone(), what, request, reply };
    // Never waits: a full inbox means that the engine is far behind.
    shared.api.inbox.try_send(Event::Command(command)).map_err(|error| match error {
        TrySendError::Full(_) => ApiError::unavailable("busy", "the engine has too much to do; nothing was done")
            .hint("try again in a few seconds"),
        TrySendError::Disconnected(_) => stopped(shared),
    })?;
    match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(Refusal::Unknown(name)))) => Err(unknown_name(shared, &name)),
        Ok(Ok(Err(refusal))) => Err(refusal.into()),
        Ok(Err(_)) => Err(stopped(shared)),
        Err(_) => {
            let detail = format!("the engine did not answer within {} s", ANSWER_TIME_MAX.as_secs());
            Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", detail)
                .hint("it may still do what was asked; explain tells, and the same Idempotency-Key is the same run"))
        }
    }
}

fn stopped(shared: &Shared) -> ApiError {
    match shared.api.view.daemon().safe_mode {
        Some(why) => ApiError::unavailable("safe_mode", format!("the daemon is in safe mode: {why}")),
        None => ApiError::unavailable("stopping", "the daemon is about to end"),
    }
}

/// The engine answered something else than it was asked, which would be our bug.
pub fn mismatch() -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "mismatch", "the engine answered another question")
}
