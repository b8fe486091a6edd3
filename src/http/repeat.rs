//! The same key again is the same request: it is carried out once, and every caller with the key gets the
//! same answer.
//!
//! The key goes into the journal in the very commit that makes true what was asked; so whoever lost the
//! answer, to a broken line or a killed daemon, asks again and learns whether it was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{self, Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::engine::event::{Done, Recalled, Reply, RequestKey, What};
use crate::journal::record::OperationOutcome;
use crate::lifecycle::hex::hex;
use crate::lifecycle::role::Role;

use super::access::Caller;
use super::body::RunBody;
use super::control::{mismatch, send};
use super::error::ApiError;
use super::serve::Peer;
use super::{BODY_BYTES_MAX, Shared, channels, upkeep};

/// A UUID fits, and so does a sentence.
const KEY_LENGTH_MAX: usize = 128;
/// Answers beyond this are not kept; what was done is.
const REPLY_BYTES_MAX: usize = 64 << 10;

tokio::task_local! {
    static AT_HAND: RequestKey;
}

/// Returns the key of the request that is being answered, where its caller gave one.
pub fn key_at_hand() -> Option<RequestKey> {
    AT_HAND.try_with(RequestKey::clone).ok()
}

/// Keys whose requests are being answered, by caller.
#[derive(Debug, Default)]
pub struct UnderWay(Mutex<BTreeSet<(Box<str>, Box<str>)>>);

/// Takes a key for as long as it lives.
struct Taken<'a> {
    under_way: &'a UnderWay,
    key: (Box<str>, Box<str>),
}

impl UnderWay {
    fn take(&self, who: &str, key: &str) -> Option<Taken<'_>> {
        let key: (Box<str>, Box<str>) = (who.into(), key.into());
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        // Made only where it is free: one that goes gives the key back.
        is_free.then(|| Taken { under_way: self, key })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Returns the key of a request, where there is one.
fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_LENGTH_MAX).contains(&key.len()) && !key.contains(' ') => Ok(Some(key.to_string())),
        _ => Err(ApiError::bad_request(
            "bad_idempotency_key",
            format!("Idempotency-Key must be 1 to {KEY_LENGTH_MAX} printable ASCII characters without blanks"),
        )),
    }
}

/// What is asked of a route.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Whether it changes something.
    pub mutates: bool,
    /// The least role that may ask.
    pub role: Role,
    /// The route as it stands in the table: what callers write in a path may be long, or a secret.
    pub path: &'static str,
}

/// Returns a caller's key as it is kept. A token that was made anew has its name, and none of its keys.
fn owned(key: &str, caller: &Caller) -> Box<str> {
    match &caller.token {
        Some(id) => format!("{id} {key}").into(),
        None => key.into(),
    }
}

/// Answers a request. What changes something is answered once for a key, and leaves a record where it was
/// refused; what was done leaves its own.
pub async fn once(shared: Arc<Shared>, way: Way, request: Request, next: Next) -> Response {
    let (peer, caller) = (request.extensions().get::<Peer>().cloned(), request.extensions().get::<Caller>().cloned());
    let (true, Some(peer)) = (way.mutates, peer) else { return next.run(request).await };
    let subject = format!("{} {}", request.method(), way.path);
    let path = request.uri().path().to_owned();
    // Whoever may not ask is not answered again either.
    let response = match key(request.headers()) {
        Ok(key) => match (key, caller.filter(|caller| caller.role >= way.role)) {
            (Some(key), Some(caller)) => {
                answered(shared.clone(), way, peer.clone(), owned(&key, &caller), request, next)
                    .await
                    .unwrap_or_else(|error| error.at(&path))
            }
            (None, _) | (_, None) => next.run(request).await,
        },
        Err(error) => error.at(&path),
    };
    let status = response.status();
    if !status.is_success() && shared.refusals.is_told(&peer.0, (shared.api.clock)().uptime) {
        let refused = What::Refused { subject, answer: status.to_string() };
        if let Err(error) = send(&shared, &peer, refused).await {
            tracing::warn!(cause = ?error, "a refusal is not in the audit");
        }
    }
    response
}

/// Carries out what was asked under a key to its end, whether anybody waits for it or not: only so is the
/// answer there for whoever asks again.
async fn answered(
    shared: Arc<Shared>,
    way: Way,
    peer: Peer,
    key: Box<str>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", error.to_string()))?;
    let work = tokio::spawn(async move {
        let Some(_taken) = shared.under_way.take(&peer.0, &key) else { return Err(busy()) };
        let fingerprint = fingerprint(&parts.method, &parts.uri, &body);
        let asked = RequestKey { key, fingerprint };
        match send(&shared, &peer, What::Recall(asked.clone())).await? {
            Done::Recalled(None) => {}
            Done::Recalled(Some(known)) => return again(&shared, *known, &asked, way).await,
            Done::Busy => return Err(busy()),
            _ => return Err(mismatch()),
        }
        let request = Request::from_parts(parts, Body::from(body));
        let response = AT_HAND.scope(asked.clone(), next.run(request)).await;
        keep(&shared, &peer, asked, response).await
    });
    work.await
        .unwrap_or_else(|error| Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "broken_off", error.to_string())))
}

/// Keeps an answer for whoever asks again.
async fn keep(shared: &Shared, peer: &Peer, asked: RequestKey, response: Response) -> Result<Response, ApiError> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body::to_bytes(body, usize::MAX)
        .await
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "unwritable", error.to_string()))?;
    if let (Ok(text), true) = (std::str::from_utf8(&body), body.len() <= REPLY_BYTES_MAX && !is_secret(&parts.headers))
    {
        let location = parts.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
        let reply = Reply { status: parts.status.as_u16(), location: location.map(Into::into), body: text.into() };
        // It was done, and is known as done; only the words would be lost.
        if let Err(error) = send(shared, peer, What::Reply { request: asked.key, reply }).await {
            tracing::warn!(cause = ?error, "an answer is not kept for whoever asks again");
        }
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// How many refusals of each caller are written down: enough to see what goes on, too few to fill a disk.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<Box<str>, (i64, u32)>>);

/// Refusals of one caller a minute.
const REFUSALS_MAX: u32 = 30;
/// Callers that are counted; beyond that all are forgotten and begin anew.
const REFUSED_MAX: usize = 1_024;

impl Refusals {
    /// Whether one more refusal is written down at an uptime.
    fn is_told(&self, who: &str, uptime_ms: i64) -> bool {
        let minute = uptime_ms / 60_000;
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= REFUSED_MAX {
            counts.clear();
        }
        let count = counts.entry(who.into()).or_default();
        if count.0 != minute {
            *count = (minute, 0);
        }
        count.1 += 1;
        count.1 <= REFUSALS_MAX
    }
}

/// What must not be written down says so.
fn is_secret(headers: &HeaderMap) -> bool {
    headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "no-store")
}

fn fingerprint(method: &axum::http::Method, uri: &axum::http::Uri, body: &Bytes) -> Box<str> {
    let mut hash = Sha256::new();
    hash.update(format!("{method} {uri}\n"));
    hash.update(body);
    hex(&hash.finalize()).into()
}

fn busy() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "request_under_way", "what was asked under this key is being done")
        .hint("ask again in a moment, under the same key")
}

/// Answers once more: in the words of the first time, or, where those are lost, with what came of it.
async fn again(shared: &Shared, known: Recalled, asked: &RequestKey, way: Way) -> Result<Response, ApiError> {
    if known.fingerprint != asked.fingerprint {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key_reused",
            "something else was asked under this Idempotency-Key",
        )
        .hint("every request needs a key of its own; only a repeat has the same"));
    }
    if known.reply.is_none()
        && let Some((run_id, snapshot)) = known.run
    {
        return replayed(StatusCode::ACCEPTED, &RunBody { run_id, snapshot });
    }
    if known.reply.is_none()
        && let Some(number) = known.operation
    {
        let operation = upkeep::numbered(shared, number).await?;
        if operation.state == OperationOutcome::Interrupted.word() {
            let why = operation.message.unwrap_or_default();
            return Err(not_done(&format!("operation {number} was interrupted: {why}")));
        }
        return replayed(StatusCode::ACCEPTED, &operation);
    }
    match (known.reply, known.answer.as_deref()) {
        (Some(Reply { status, location, body }), _) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let mut response = json(status, body.into());
            if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        // What is shown once is kept nowhere.
        (None, Some("done")) if way.path == "/v1/tokens" => {
            Err(ApiError::new(StatusCode::CONFLICT, "shown_once", "the token was made, and is shown once only")
                .hint("remove it and make another, under another key"))
        }
        (None, None) if way.path == channels::TEST => {
            Err(not_done("it is not known whether the message was sent: the daemon ended meanwhile"))
        }
        (None, Some("done")) => Ok(json(StatusCode::OK, r#"{"acknowledged":true}"#.into())),
        (None, Some(answer)) => Err(not_done(answer)),
        (None, None) => Err(busy()),
    }
}

fn not_done(answer: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "not_done", format!("asked before under this key, and {answer}"))
        .hint("ask again under another key")
}

fn replayed(status: StatusCode, body: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_string(body)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "unwritable", error.to_string()))?;
    Ok(json(status, body))
}

fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_written_down_within_bounds() {
        let refusals = Refusals::default();
        let told = |who: &str, minute: i64| (0..100).filter(|_| refusals.is_told(who, minute * 60_000)).count();
        assert_eq!((told("a", 1), told("b", 1), told("a", 1), told("a", 2)), (30, 30, 0, 30));
    }

    #[test]
    fn a_token_made_anew_under_a_name_has_none_of_its_keys() {
        let caller = |token: Option<&str>| Caller {
            name: "token:deploy".into(),
            role: Role::Operator,
            token: token.map(Into::into),
        };
        assert_ne!(owned("k", &caller(Some("1"))), owned("k", &caller(Some("2"))));
        assert_eq!(&*owned("k", &caller(None)), "k");
    }

    #[test]
    fn a_key_is_taken_once_until_it_is_given_back_and_by_each_caller_for_itself() {
        let under_way = UnderWay::default();
        let taken = under_way.take("uid:0", "k");
        assert!(taken.is_some());
        assert!(under_way.take("uid:0", "k").is_none());
        assert!(under_way.take("uid:0", "k").is_none(), "who did not get it gives nothing back");
        assert!(under_way.take("uid:1", "k").is_some() && under_way.take("uid:0", "l").is_some());
        drop(taken);
        assert!(under_way.take("uid:0", "k").is_some());
    }
}
