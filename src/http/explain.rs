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
use crate::roster::Problem;

use super::State;
use super::body::{DaemonBody, PoliciesBody, PolicyBody, PolicyExplained};
use super::error::ApiError;
use super::shape::{self, Problems};
use super::upkeep;

/// After so many policies the others on this thread get a turn.
const POLICIES_A_SLICE: usize = 256;
/// More names than anybody types; each may be a pattern that is tried on every policy.
const NAMES_MAX: usize = 256;
/// Twice the longest name of a policy: nobody slips that far, and a comparison takes its length times the other's.
const SLIP_CHARACTERS_MAX: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    #[serde(default)]
    pub name: String,
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
    policies_explained(view, &daemon.problems, &tracked, now, &mut body, |_, explained| explained).await?;
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

/// Writes the member `policies` of an answer: each policy explained, in the form that `shown` gives it.
pub async fn policies_explained<T: Serialize>(
    view: &View,
    problems: &[Problem],
    tracked: &[Arc<Tracked>],
    now: Moment,
    body: &mut Vec<u8>,
    shown: impl Fn(&Tracked, PolicyExplained) -> T,
) -> Result<(), ApiError> {
    let problems = Problems::new(problems);
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
    check_count(&names)?;
    Ok(names)
}

/// Refuses more names than one call may ask for.
pub fn check_count(names: &[String]) -> Result<(), ApiError> {
    if names.len() > NAMES_MAX {
        let detail = format!("{} names are too many; one call takes {NAMES_MAX} at most", names.len());
        return Err(ApiError::bad_request("too_many_names", detail).hint("ask by a pattern, or in several calls"));
    }
    Ok(())
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Says that there is no such policy, and which one may have been meant.
pub fn unknown_name(shared: &super::Shared, name: &str) -> ApiError {
    let error = ApiError::unknown_policy(name);
    let all = shared.api.view.policies(&[]);
    match nearest(name, all.iter().map(|tracked| &*tracked.name)) {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None => error,
    }
}

/// Returns the known name that a caller may have meant, if one is near.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let length = name.chars().count();
    if length > SLIP_CHARACTERS_MAX {
        return None;
    }
    // Beyond a third of the name it is a guess, not a slip.
    let distance_max = 1 + length / 3;
    known
        // Two names are at least as far apart as their lengths.
        .filter(|known| known.chars().count().abs_diff(length) <= distance_max)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, known)| known)
}

fn write(body: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), ApiError> {
    serde_json::to_writer(body, value)
        .map_err(|error| ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "unwritable", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_longer_than_any_slip_gets_no_hint() {
        let known = ["database", "documents", &"d".repeat(250), &"d".repeat(300)];
        let hint = |name: &str| nearest(name, known.iter().copied());
        assert_eq!(hint("databsae"), Some("database"));
        assert_eq!(hint("dokuments"), Some("documents"));
        assert_eq!(hint("mail"), None);
        assert_eq!(hint(&"d".repeat(256)), Some(known[2]));
        assert_eq!(hint(&"d".repeat(257)), None);
        // Characters count, and not their bytes.
        assert_eq!(hint("äöüé"), None);
    }
}
