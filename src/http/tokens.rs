//! Tokens, given and taken back. Whoever makes one sees it, once.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Extension, Path};
use axum::http::{HeaderName, StatusCode, header};

use crate::engine::event::{Done, TokenOrder, TokenRecord, What};
use crate::engine::tokens::is_name;
use crate::lifecycle::role::Role;
use crate::lifecycle::time::Timestamp;

use super::State;
use super::body::{AcknowledgedBody, TokenBody, TokenMadeBody, TokenOrderBody, TokensBody};
use super::control::{mismatch, send};
use super::error::ApiError;
use super::serve::Peer;
use super::token::Token;

/// The one answer that has a secret in it is kept by nobody on the way.
const NOT_STORED: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// `GET /v1/tokens`
pub async fn tokens(axum::extract::State(shared): State) -> Json<TokensBody> {
    let now = (shared.api.clock)().wall;
    let mut tokens: Vec<TokenBody> = shared.api.view.tokens().values().map(|record| body(record, now)).collect();
    tokens.sort_by(|one, other| one.name.cmp(&other.name));
    Json(TokensBody { tokens })
}

/// `POST /v1/tokens`
pub async fn add(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<TokenMadeBody>), ApiError> {
    let order: TokenOrderBody = serde_json::from_slice(&body?).map_err(|error| {
        ApiError::bad_request("bad_body", error.to_string()).hint("send {\"name\": NAME, \"role\": ROLE}")
    })?;
    let TokenOrderBody { name, role, expires } = order;
    if !is_name(&name) {
        let detail = "a token's name is 1 to 64 letters, digits, dots, dashes and underscores";
        return Err(ApiError::bad_request("bad_name", detail));
    }
    let role = Role::of_word(&role).ok_or_else(|| {
        ApiError::bad_request("unknown_role", format!("there is no role `{role}`"))
            .hint("the roles are viewer, operator and admin")
    })?;
    let token = Token::new().map_err(|error| {
        ApiError::unavailable("no_randomness", format!("failed to make a token: {error}")).hint("nothing was made")
    })?;
    let order = TokenOrder {
        id: token.id().into(),
        name: name.into(),
        role,
        hash: token.hash(),
        expires_at: expires.map(Timestamp::from_millis),
    };
    match send(&shared, &peer, What::AddToken(order)).await? {
        Done::Token(record) => {
            let now = (shared.api.clock)().wall;
            let made = TokenMadeBody { token: token.into_text(), made: self::body(&record, now) };
            Ok((StatusCode::CREATED, NOT_STORED, Json(made)))
        }
        _ => Err(mismatch()),
    }
}

/// `DELETE /v1/tokens/{name}`
pub async fn remove(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<AcknowledgedBody>, ApiError> {
    send(&shared, &peer, What::RemoveToken { name: name?.0 }).await?;
    Ok(Json(AcknowledgedBody { acknowledged: true }))
}

fn body(record: &TokenRecord, now: Timestamp) -> TokenBody {
    let TokenRecord { id: _, name, role, hash: _, created_at, created_by, expires_at, last_used_at } = record;
    TokenBody {
        name: name.to_string(),
        role: role.word().into(),
        expired: record.is_over(now),
        expires: expires_at.map(Timestamp::millis),
        last_used: last_used_at.map(Timestamp::millis),
        made: created_at.millis(),
        made_by: created_by.to_string(),
    }
}
