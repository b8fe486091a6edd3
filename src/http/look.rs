//! Looks at repositories. They ask a driver, away from the engine, and change nothing. A caller
//! that goes away ends its look.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;

use crate::engine::event::{Done, Survey, What};
use crate::engine::perform;
use crate::lifecycle::snapshot::Listing;

use super::body::{PlanBody, SnapshotsBody};
use super::control::{mismatch, send};
use super::error::ApiError;
use super::serve::Peer;
use super::{Shared, State, shape};

/// `GET /v1/policies/{name}/snapshots`
pub async fn snapshots(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<SnapshotsBody>, ApiError> {
    let (survey, listing) = look(&shared, &peer, name?.0).await?;
    Ok(Json(shape::snapshots(&survey, &listing)))
}

/// `GET /v1/policies/{name}/plan`
pub async fn plan(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PlanBody>, ApiError> {
    let policy = name?.0;
    let (survey, listing) = look(&shared, &peer, policy.clone()).await?;
    let plan = perform::plan(&survey, &listing).ok_or_else(|| {
        ApiError::new(StatusCode::CONFLICT, "no_workflow", format!("policy `{policy}` has no deletion"))
            .hint("without [deletion] in its file nothing is ever deleted")
    })?;
    Ok(Json(shape::plan(&policy, &plan)))
}

async fn look(shared: &Shared, peer: &Peer, policy: String) -> Result<(Survey, Listing), ApiError> {
    let _turn = shared.looks.acquire().await.map_err(|_| mismatch())?;
    match send(shared, peer, What::Survey { policy }).await? {
        Done::Survey(survey) => {
            let listing = perform::survey(&survey).await?;
            Ok((*survey, listing))
        }
        _ => Err(mismatch()),
    }
}
