//! Holds, orphans, and what people do to single snapshots.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use crate::engine::event::HoldRecord;
use crate::lifecycle::hold::{Hold, HoldOrder};
use crate::lifecycle::time::Timestamp;
use crate::upkeep::Order;
use crate::upkeep::single::{self, Change, Named, Shown, Survey};

use super::body::{
    ChangeOrderBody, HoldBody, HoldOrderBody, HoldsBody, NamedBody, OperationBody, PreviewOrderBody, ReleaseOrderBody,
    SingleBody, SingleSnapshotBody,
};
use super::control::mismatch;
use super::error::ApiError;
use super::serve::Peer;
use super::upkeep::{begin, is_snapshot, upkeep};
use super::{Shared, State};

/// More than anybody reads through before saying yes; the journal has them in one line.
const NAMED_MAX: usize = 200;

type Body = Result<Bytes, BytesRejection>;
type Begun = Result<(StatusCode, Json<OperationBody>), ApiError>;
type Looked = Result<Json<SingleBody>, ApiError>;

/// `GET /v1/holds`
pub async fn holds(axum::extract::State(shared): State) -> Json<HoldsBody> {
    let now = (shared.api.clock)().wall;
    let policies = shared.api.view.policies(&[]);
    let body = |record: &HoldRecord| {
        let HoldRecord { repository, snapshot, policy_uid, hold, who } = record;
        let Hold { until, compliance, made_at, reason } = hold;
        let policy = policies.iter().find(|tracked| Some(&tracked.uid) == policy_uid.as_ref());
        HoldBody {
            repository: repository.to_string(),
            snapshot: snapshot.to_string(),
            policy: policy.map(|tracked| tracked.name.to_string()),
            until: until.map(Timestamp::millis),
            over: hold.is_over(now),
            mode: if *compliance { "compliance" } else { "ordinary" }.to_owned(),
            made: made_at.millis(),
            reason: reason.clone(),
            who: who.to_string(),
        }
    };
    Json(HoldsBody { holds: shared.api.view.holds().iter().map(body).collect() })
}

/// `POST /v1/holds`
pub async fn hold(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, body: Body) -> Begun {
    let HoldOrderBody { snapshot, until, compliance, reason, repositories } =
        parsed(body, "send {\"snapshot\": NAME, \"reason\": TEXT}")?;
    is_snapshot(&snapshot)?;
    let order = HoldOrder { until: until.map(Timestamp::from_millis), compliance, reason };
    // What makes no sense whatever is held is told while the caller still listens.
    let now = (shared.api.clock)().wall;
    Hold::made(None, &order, now, now).map_err(|refusal| ApiError::bad_request("bad_hold", refusal.to_string()))?;
    begin(&shared, &peer, Order::Single(single::Order::Hold { snapshot, repositories, order })).await
}

/// `POST /v1/holds/remove`
pub async fn release(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, body: Body) -> Begun {
    let ReleaseOrderBody { snapshot, repositories } = parsed(body, "send {\"snapshot\": NAME}")?;
    is_snapshot(&snapshot)?;
    begin(&shared, &peer, Order::Single(single::Order::Release { snapshot, repositories })).await
}

/// `GET /v1/orphans`
pub async fn orphans(axum::extract::State(shared): State, Extension(peer): Extension<Peer>) -> Looked {
    let _turn = shared.looks.acquire().await.map_err(|_| mismatch())?;
    Ok(Json(shown(upkeep(&shared)?.orphans(&peer.0).await?)))
}

/// `POST /v1/expire/preview`
pub async fn preview_expire(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Looked {
    let order: PreviewOrderBody = parsed(body, "send {\"snapshots\": [NAME]}")?;
    let change = Change::Expire { owned: order.owned };
    preview(&shared, &peer, order, change).await
}

/// `POST /v1/adopt/preview`
pub async fn preview_adopt(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Looked {
    let order: PreviewOrderBody = parsed(body, "send {\"snapshots\": [NAME], \"policy\": NAME}")?;
    let change = Change::Adopt { policy: heir(order.policy.clone())? };
    preview(&shared, &peer, order, change).await
}

/// `POST /v1/expire`
pub async fn expire(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, body: Body) -> Begun {
    let order: ChangeOrderBody = parsed(body, "send what the preview showed")?;
    let change = Change::Expire { owned: order.owned };
    change_all(&shared, &peer, order.snapshots, change).await
}

/// `POST /v1/adopt`
pub async fn adopt(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, body: Body) -> Begun {
    let order: ChangeOrderBody = parsed(body, "send what the preview showed, and {\"policy\": NAME}")?;
    let change = Change::Adopt { policy: heir(order.policy)? };
    change_all(&shared, &peer, order.snapshots, change).await
}

async fn preview(shared: &Arc<Shared>, peer: &Peer, order: PreviewOrderBody, change: Change) -> Looked {
    count(order.snapshots.len())?;
    order.snapshots.iter().try_for_each(|name| is_snapshot(name))?;
    let _turn = shared.looks.acquire().await.map_err(|_| mismatch())?;
    let survey = upkeep(shared)?.preview(&peer.0, &order.snapshots, order.repositories, &change).await?;
    Ok(Json(shown(survey)))
}

async fn change_all(shared: &Arc<Shared>, peer: &Peer, snapshots: Vec<NamedBody>, change: Change) -> Begun {
    count(snapshots.len())?;
    for NamedBody { repository, name, id } in &snapshots {
        [repository, name, id].into_iter().try_for_each(|text| is_snapshot(text))?;
    }
    let named =
        snapshots.into_iter().map(|NamedBody { repository, name, id }| Named { repository, name, id }).collect();
    begin(shared, peer, Order::Single(single::Order::Change { named, change })).await
}

fn parsed<T: DeserializeOwned>(body: Body, hint: &str) -> Result<T, ApiError> {
    serde_json::from_slice(&body?).map_err(|error| ApiError::bad_request("bad_body", error.to_string()).hint(hint))
}

fn heir(policy: Option<String>) -> Result<String, ApiError> {
    policy.ok_or_else(|| ApiError::bad_request("bad_body", "policy is missing"))
}

fn count(named: usize) -> Result<(), ApiError> {
    if (1..=NAMED_MAX).contains(&named) {
        return Ok(());
    }
    Err(ApiError::bad_request("bad_snapshot", format!("name 1 to {NAMED_MAX} snapshots")))
}

fn shown(survey: Survey) -> SingleBody {
    let Survey { shown, troubles } = survey;
    let body = |shown: Shown| {
        let Shown { repository, snapshot, whose, orphaned, hold, verdict } = shown;
        let why: Vec<String> = orphaned.iter().map(ToString::to_string).collect();
        SingleSnapshotBody {
            repository: repository.to_string(),
            name: snapshot.name,
            id: snapshot.id,
            time: snapshot.taken_at.map(Timestamp::millis),
            status: snapshot.status.word().to_owned(),
            size_bytes: snapshot.size_bytes,
            whose,
            orphaned: orphaned.into_iter().map(|orphaned| orphaned.word().to_owned()).collect(),
            why: why.join("; "),
            held: hold.map(|hold| hold.to_string()),
            allowed: verdict.is_ok(),
            verdict: verdict.unwrap_or_else(|why| why),
        }
    };
    SingleBody { snapshots: shown.into_iter().map(body).collect(), troubles }
}
