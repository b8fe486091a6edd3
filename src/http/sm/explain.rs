//! `_explain`: what each policy is doing and will do, in OpenSearch's words and more.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::super::State;
use super::super::body::PolicyExplained;
use super::super::explain::policies_explained;
use super::Call;
use super::answer::{Answer, Parameters, SmError};

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
    let (tracked, policy_primary_term) = (view.policies(&names), view.primary_term());
    let mut body = Vec::with_capacity(1_024 * (tracked.len() + 1));
    body.push(b'{');
    let written = policies_explained(view, &tracked, (shared.api.clock)(), &mut body, |tracked, policy| Explained {
        policy,
        policy_seq_no: tracked.seq_no,
        policy_primary_term,
    });
    if let Err(error) = written.await {
        return parameters.response(Err(error.into()));
    }
    body.push(b'}');
    if parameters.is_plain() {
        let mut response = Response::new(Body::from(body));
        let kind = HeaderValue::from_static("application/json; charset=UTF-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        return response;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    parameters.response(Ok(Answer::ok(body)))
}
