//! OpenSearch's Snapshot Management API, so that its clients work unchanged. What differs and why stands in
//! `docs/opensearch-compatibility.md`.
//!
//! A policy is a file, here as everywhere: what a client writes becomes one in the state directory, and
//! what it reads is what the file says.

mod answer;
mod explain;
mod policies;
mod query;

use std::sync::Arc;

use axum::extract::rejection::{QueryRejection, RawPathParamsRejection};
use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;

use super::Shared;
use answer::SmError;

pub use explain::explain;
pub use policies::{create, delete, get, list, replace, start, stop};

/// What a call says before its body: the name in its path, decoded, and its parameters.
#[derive(Debug)]
pub struct Call {
    path: String,
    name: String,
    given: Vec<(String, String)>,
}

impl FromRequestParts<Arc<Shared>> for Call {
    type Rejection = SmError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Call, SmError> {
        let path = parts.uri.path().to_string();
        // Decoded; a path without a name has none.
        let names = RawPathParams::from_request_parts(parts, shared).await;
        let names = names.map_err(|error: RawPathParamsRejection| SmError::bad_request(error.body_text()))?;
        let name = names.iter().next().map_or_else(String::new, |(_, name)| name.to_string());
        let given: Result<Query<Vec<(String, String)>>, QueryRejection> =
            Query::from_request_parts(parts, shared).await;
        let Query(given) = given.map_err(|error| SmError::bad_request(error.body_text()))?;
        Ok(Call { path, name, given })
    }
}
