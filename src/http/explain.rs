//! What is going on, from the last published view. Waits for nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use crate::engine::tracked::Tracked;
use crate::engine::view::View;
use crate::lifecycle::time::Moment;

use super::State;
use super::body::{DaemonBody, PoliciesBody, PolicyBody, PolicyExplained};
use super::error::ApiError;
use super::shape::{self, Problems};
use super::upkeep;

/// After so many policies the others on this thread get a turn.
const POLICIES_A_SLICE: usize = 256;
/// More names than anybody types; each may be a pattern that is tried on every policy.
const NAMES_MAX: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    #[serde(default)]
    name: String,
}

/// `GET /v1/explain?name=a*,b`
pub async fn explain(
    axum::extract::State(shared): State,
    query: Result<Query<Names>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let names = names(&query?.0.name)?;
    let now = (shared.api.clock)();
    let view = &shared.api.view;
    let tracked = view.policies(&names);
    let is_known = |name: &String| tracked.iter().any(|tracked| *tracked.name == **name);
    let unknown: Vec<&String> = names.iter().filter(|name| !is_pattern(name) && !is_known(name)).collect();
    if tracked.is_empty()
        && let Some(first) = unknown.first()
    {
        return Err(unknown_name(&shared, first));
    }
    let daemon = view.daemon();
    let repositories = upkeep::repositories(&shared, daemon.repositories.clone());
    let shown = DaemonBody { repositories, ..shape::daemon(view, &daemon, now) };

    // Written piece by piece into one buffer: ten thousand policies are some megabytes, and need
    // not be held twice.
    let mut body = Vec::with_capacity(1_024 * (tracked.len() + 1));
    body.extend_from_slice(b"{\"daemon\":");
    write(&mut body, &shown)?;
    body.extend_from_slice(b",\"unknown\":");
    write(&mut body, &unknown)?;
    body.push(b',');
    policies_explained(view, &tracked, now, &mut body, |_, explained| explained).await?;
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

/// Writes the member `policies` of an answer: each policy explained, in the form that `shown` gives it.
pub async fn policies_explained<T: Serialize>(
    view: &View,
    tracked: &[Arc<Tracked>],
    now: Moment,
    body: &mut Vec<u8>,
    shown: impl Fn(&Tracked, PolicyExplained) -> T,
) -> Result<(), ApiError> {
    let problems = view.daemon().problems;
    let locks = view.age_locks();
    let mut held: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for record in view.holds().iter().filter(|record| !record.hold.is_over(now.wall)) {
        *held.entry(record.policy_uid.clone().unwrap_or_default()).or_default() += 1;
    }
    body.extend_from_slice(b"\"policies\":[");
    for (slice_index, slice) in tracked.chunks(POLICIES_A_SLICE).enumerate() {
        if slice_index > 0 {
            tokio::task::yield_now().await;
        }
        let problems = Problems::new(&problems);
        for (index, tracked) in slice.iter().enumerate() {
            if slice_index + index > 0 {
                body.push(b',');
            }
            let holds = held.get(&tracked.uid).copied().unwrap_or_default();
            let explained = PolicyExplained { holds, ..shape::explained(tracked, &locks, &problems, now) };
            write(body, &shown(tracked, explained))?;
        }
    }
    body.push(b']');
    Ok(())
}

/// `GET /v1/policies?name=a*,b`
pub async fn policies(
    axum::extract::State(shared): State,
    query: Result<Query<Names>, QueryRejection>,
) -> Result<Json<PoliciesBody>, ApiError> {
    let names = names(&query?.0.name)?;
    let tracked = shared.api.view.policies(&names);
    if tracked.is_empty()
        && let Some(first) = names.iter().find(|name| !is_pattern(name))
    {
        return Err(unknown_name(&shared, first));
    }
    Ok(Json(PoliciesBody { policies: tracked.iter().map(|tracked| shape::policy(tracked)).collect() }))
}

/// `GET /v1/policies/{name}`
pub async fn policy(
    axum::extract::State(shared): State,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PolicyBody>, ApiError> {
    let name = name?.0;
    let tracked = shared.api.view.policies(std::slice::from_ref(&name));
    match tracked.iter().find(|tracked| *tracked.name == *name) {
        Some(tracked) => Ok(Json(shape::policy(tracked))),
        None => Err(unknown_name(&shared, &name)),
    }
}

/// Splits at commas; blanks around a name and empty names mean nothing.
pub fn names(written: &str) -> Result<Vec<String>, ApiError> {
    let names: Vec<String> =
        written.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_string).collect();
    if names.len() > NAMES_MAX {
        return Err(ApiError::bad_request("too_many_names", format!("more than {NAMES_MAX} names")));
    }
    Ok(names)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Says that there is no such policy, and which one may have been meant.
pub fn unknown_name(shared: &super::Shared, name: &str) -> ApiError {
    let error = ApiError::unknown_policy(name);
    let all = shared.api.view.policies(&[]);
    let nearest = all
        .iter()
        .map(|tracked| (strsim::damerau_levenshtein(name, &tracked.name), &tracked.name))
        .min()
        // Beyond a third of the name it is a guess, not a slip.
        .filter(|(distance, _)| *distance <= 1 + name.len() / 3);
    match nearest {
        Some((_, nearest)) => error.hint(format!("did you mean `{nearest}`?")),
        None => error,
    }
}

fn write(body: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), ApiError> {
    serde_json::to_writer(body, value)
        .map_err(|error| ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "unwritable", error.to_string()))
}
