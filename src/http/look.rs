//! Looks at repositories. They ask a driver, away from the engine, and change nothing. A caller
//! that goes away ends its look.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path};

use crate::engine::event::{Done, Survey, What};
use crate::engine::perform;
use crate::lifecycle::snapshot::Listing;

use super::body::SnapshotsBody;
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

/// Returns what is needed to judge a policy's snapshots, and these.
pub async fn look(shared: &Shared, peer: &Peer, policy: String) -> Result<(Survey, Listing), ApiError> {
    let _turn = shared.looks.acquire().await.map_err(|_| mismatch())?;
    match send(shared, peer, What::Survey { policy }).await? {
        Done::Survey(survey) => {
            let listing = perform::survey(&survey).await?;
            Ok((*survey, listing))
        }
        _ => Err(mismatch()),
    }
}
