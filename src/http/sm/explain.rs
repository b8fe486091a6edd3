//! `_explain`: what each policy is doing and will do, in OpenSearch's words and more.

use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::engine::tracked::Tracked;

use super::super::State;
use super::super::body::PolicyExplained;
use super::super::explain::{check_count, policies_explained};
use super::Call;
use super::answer::Parameters;

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
    if let Err(error) = check_count(&names) {
        return parameters.respond(Err(error.into())).await;
    }
    let view = &shared.api.view;
    let (tracked, policy_primary_term) = (view.policies(&names), view.primary_term());
    let mut body = Vec::with_capacity(1_024 * (tracked.len() + 1));
    body.push(b'{');
    let problems = view.problems();
    let shown = |tracked: &Tracked, policy| Explained { policy, policy_seq_no: tracked.seq_no, policy_primary_term };
    let written = policies_explained(view, &problems, &tracked, (shared.api.clock)(), &mut body, shown);
    if let Err(error) = written.await {
        return parameters.respond(Err(error.into())).await;
    }
    body.push(b'}');
    parameters.respond_with(body).await
}
