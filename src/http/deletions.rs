//! Held plans: shown from the journal, answered by the engine.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::engine::event::{Done, What};
use crate::engine::guarding::APPROVAL_MAX_MS;
use crate::journal::change::PlanRecord;
use crate::lifecycle::plan::{Held, Sight};
use crate::lifecycle::time::{Moment, Timestamp};

use super::body::{AcknowledgedBody, ClockBody, DeletionBody, DeletionShownBody, DeletionsBody, RunBody};
use super::control::{mismatch, send};
use super::error::ApiError;
use super::records::{bounded, read};
use super::serve::Peer;
use super::{State, shape};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletionsParameters {
    limit: Option<u32>,
}

/// `GET /v1/deletions?limit=50`
pub async fn deletions(
    axum::extract::State(shared): State,
    query: Result<Query<DeletionsParameters>, QueryRejection>,
) -> Result<Json<DeletionsBody>, ApiError> {
    let limit = bounded(query?.0.limit)?;
    let now = (shared.api.clock)();
    let plans = read(&shared, move |records| records.held_plans(limit)).await?;
    Ok(Json(DeletionsBody { plans: plans.iter().map(|record| deletion(record, now)).collect() }))
}

/// `GET /v1/deletions/{number}`
pub async fn shown(
    axum::extract::State(shared): State,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<DeletionShownBody>, ApiError> {
    let number = number?.0;
    let now = (shared.api.clock)();
    let record = read(&shared, move |records| records.plan(number)).await?;
    let record = record.filter(|record| record.plan.is_held()).ok_or_else(|| {
        ApiError::not_found("no_such_plan", format!("no plan {number} was held"))
            .hint("`snapkeep deletions list` shows those that were")
    })?;
    let entries = shape::journaled_plan(&record.policy, &record).entries;
    Ok(Json(DeletionShownBody { deletion: deletion(&record, now), clock: clock(&record.plan.clock), entries }))
}

/// `POST /v1/deletions/{number}/approve`
pub async fn approve(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    number: Result<Path<u64>, PathRejection>,
) -> Result<(StatusCode, Json<RunBody>), ApiError> {
    match send(&shared, &peer, What::Approve { plan: number?.0 }).await? {
        Done::Run { run_id, snapshot } => Ok((StatusCode::ACCEPTED, Json(RunBody { run_id, snapshot }))),
        _ => Err(mismatch()),
    }
}

/// `POST /v1/deletions/{number}/refuse`
pub async fn refuse(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    send(&shared, &peer, What::Refuse { plan: number?.0 }).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

/// `POST /v1/clock/confirm`
pub async fn confirm_clock(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    send(&shared, &peer, What::ConfirmClock).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

fn deletion(record: &PlanRecord, now: Moment) -> DeletionBody {
    let PlanRecord { plan, answer, .. } = record;
    let made = plan.clock.now;
    let state = match answer {
        Some(answer) if answer.run_id.is_some() => "approved",
        Some(_) => "refused",
        None if !record.is_latest => "replaced",
        None if now.since(&made) > APPROVAL_MAX_MS => "expired",
        None => "waiting",
    };
    DeletionBody {
        plan: record.number,
        policy: (*record.policy).into(),
        run_id: record.run_id.clone(),
        time: made.wall.millis(),
        state: state.into(),
        until: made.wall.plus(APPROVAL_MAX_MS).millis(),
        guards: plan.held.iter().map(|held| held.guard().word().into()).collect(),
        held: plan.held.iter().map(Held::to_string).collect(),
        own: plan.own,
        condemned: plan.entries.iter().filter(|entry| entry.goes()).count(),
        deleted: record.deleted.len(),
        answered_by: answer.as_ref().map(|answer| answer.who.clone()),
        answered: answer.as_ref().map(|answer| answer.at.millis()),
        approved_run: answer.as_ref().and_then(|answer| answer.run_id.clone()),
    }
}

fn clock(sight: &Sight) -> ClockBody {
    let Sight { now, trust, synchronised } = sight;
    let is_same_boot = now.boot == trust.believed.boot;
    let should_be = Timestamp::from_millis(trust.anchor_ms.saturating_add(now.uptime));
    ClockBody {
        wall: now.wall.millis(),
        uptime_ms: now.uptime,
        ahead_ms: is_same_boot.then(|| now.wall.since(should_be)),
        believed: trust.believed.wall.millis(),
        synchronised: *synchronised,
        doubt: trust.doubt.map(|doubt| doubt.cause.to_string()),
    }
}
