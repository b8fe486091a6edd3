//! `_explain`: what each policy is doing and will do, in OpenSearch's words and more.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use crate::engine::tracked::Tracked;
use crate::lifecycle::age_lock::AgeLocks;
use crate::lifecycle::time::Moment;

use super::super::State;
use super::super::body::PolicyExplained;
use super::super::shape::{self, Problems};
use super::Call;
use super::answer::{Answer, Parameters, SmError};

/// After so many policies the others on this thread get a turn.
const POLICIES_A_SLICE: usize = 256;
/// More names than anybody types; each may be a pattern that is tried on every policy.
const NAMES_MAX: usize = 1_024;

/// A policy, explained to OpenSearch's clients.
#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    policy: PolicyExplained,
    policy_seq_no: u64,
    policy_primary_term: u64,
}

/// `GET /_plugins/_sm/policies/{names}/_explain`. Names that are no policy's are left out.
pub async fn explain(axum::extract::State(shared): State, call: Call) -> Response {
    let parameters = match Parameters::read(call.given, &call.path, &[]) {
        Ok(parameters) => parameters,
        Err(error) => return error.into_response(),
    };
    let names: Vec<String> = call.name.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
    if names.len() > NAMES_MAX {
        return parameters.response(Err(SmError::bad_request(format!("more than {NAMES_MAX} names"))));
    }
    let view = &shared.api.view;
    let tracked = view.policies(&names);
    let problems = view.daemon().problems.clone();
    let (term, locks, now) = (view.primary_term(), view.age_locks(), (shared.api.clock)());
    let mut body = Vec::with_capacity(1_024 * (tracked.len() + 1));
    body.extend_from_slice(b"{\"policies\":[");
    for (slice_index, slice) in tracked.chunks(POLICIES_A_SLICE).enumerate() {
        if slice_index > 0 {
            tokio::task::yield_now().await;
        }
        let problems = Problems::new(&problems);
        for (index, tracked) in slice.iter().enumerate() {
            if slice_index + index > 0 {
                body.push(b',');
            }
            if let Err(error) = serde_json::to_writer(&mut body, &explained(tracked, &locks, &problems, term, now)) {
                let (status, kind) = (StatusCode::INTERNAL_SERVER_ERROR, "status_exception");
                return parameters.response(Err(SmError { status, kind, reason: error.to_string() }));
            }
        }
    }
    body.extend_from_slice(b"]}");
    if parameters.is_plain() {
        let mut response = Response::new(Body::from(body));
        let kind = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        return response;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    parameters.response(Ok(Answer::ok(body)))
}

fn explained(
    tracked: &Arc<Tracked>,
    locks: &AgeLocks,
    problems: &Problems<'_>,
    policy_primary_term: u64,
    now: Moment,
) -> Explained {
    let policy = shape::explained(tracked, locks, problems, now);
    Explained { policy, policy_seq_no: tracked.seq_no, policy_primary_term }
}
