//! What channels are owed, and what became of it.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query};
use serde::Deserialize;

use crate::engine::event::What;
use crate::journal::record::{NoticeQuery, NoticeRecord, NoticeState};

use super::State;
use super::body::{AcknowledgedBody, NoticeBody, NoticesBody};
use super::control::send;
use super::error::ApiError;
use super::records::{bounded, read};
use super::serve::Peer;

/// What is asked of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticesParameters {
    state: Option<String>,
    channel: Option<String>,
    policy: Option<String>,
    limit: Option<u32>,
}

/// `GET /v1/notices?state=undeliverable&channel=ops-mail&policy=db&limit=50`
pub async fn notices(
    axum::extract::State(shared): State,
    query: Result<Query<NoticesParameters>, QueryRejection>,
) -> Result<Json<NoticesBody>, ApiError> {
    let NoticesParameters { state, channel, policy, limit } = query?.0;
    let state = match state {
        None => None,
        Some(word) => Some(NoticeState::ALL.into_iter().find(|state| state.word() == word).ok_or_else(|| {
            let all = NoticeState::ALL.map(NoticeState::word).join(", ");
            ApiError::bad_request("unknown_state", format!("no notice is `{word}`"))
                .hint(format!("the states are {all}"))
        })?),
    };
    let query =
        NoticeQuery { state, channel: channel.map(Into::into), policy: policy.map(Into::into), limit: bounded(limit)? };
    let notices = read(&shared, move |records| records.notices(&query)).await?;
    Ok(Json(NoticesBody { notices: notices.into_iter().map(notice).collect() }))
}

/// `GET /v1/notices/{number}`
pub async fn one(
    axum::extract::State(shared): State,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<NoticeBody>, ApiError> {
    let number = number?.0;
    match read(&shared, move |records| records.notice(number)).await? {
        Some(record) => Ok(Json(notice(record))),
        None => Err(ApiError::not_found("unknown_notice", format!("there is no notice {number}"))
            .hint("`snapkeep notices list` shows those there are")),
    }
}

/// `POST /v1/notices/{number}/_resend`
pub async fn resend(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    number: Result<Path<u64>, PathRejection>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    send(&shared, &peer, What::Resend { notice: number?.0 }).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

fn notice(record: NoticeRecord) -> NoticeBody {
    let NoticeRecord { number, notice, count, latest_at, state, attempts, due_at, settled_at, trouble, answer, .. } =
        record;
    let facts = notice.facts;
    NoticeBody {
        number,
        key: notice.key,
        channel: notice.channel,
        event: notice.event.word().into(),
        severity: notice.event.severity().word().into(),
        policy: notice.policy.map(|policy| (*policy.name).into()),
        run_id: notice.run_id,
        time: notice.at.millis(),
        count,
        latest: latest_at.millis(),
        state: state.word().into(),
        attempts,
        due: due_at.map(|at| at.millis()),
        settled: settled_at.map(|at| at.millis()),
        trouble,
        answer,
        subject: notice.subject,
        workflow: facts.workflow,
        snapshot: facts.snapshot,
        what: facts.what,
        why: facts.why,
        keeps: facts.keeps,
        next: facts.next,
        look: facts.look,
    }
}
