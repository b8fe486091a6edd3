//! How a request is refused: problem+json with a stable code, and a hint where we know one.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::{Value, json};

use crate::config::sm;
use crate::engine::event::Refusal;
use crate::lifecycle::workflow::{Fault, FaultKind};

use super::body::ProblemDocument;

/// A refusal. Its code never changes; its words may.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    hint: Option<String>,
    headers: Vec<(HeaderName, String)>,
}

/// What OpenSearch's answers are.
pub const OPENSEARCH_JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// Returns a refusal as OpenSearch writes it. One shape for all, so that a client reads any of them.
pub fn opensearch_body(status: StatusCode, kind: &str, reason: &str) -> Value {
    json!({
        "error": { "root_cause": [{ "type": kind, "reason": reason }], "type": kind, "reason": reason },
        "status": status.as_u16(),
    })
}

/// Whether callers of a path read refusals as OpenSearch writes them.
pub fn is_opensearch(path: &str) -> bool {
    path.strip_prefix(sm::API).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError { status, code, detail: detail.into(), hint: None, headers: Vec::new() }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }

    pub fn method_not_allowed() -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the route does not take this method")
    }

    pub fn too_slow(limit: Duration) -> ApiError {
        let detail = format!("no answer within {} s", limit.as_secs());
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "too_slow", detail)
    }

    pub fn unknown_policy(name: &str) -> ApiError {
        ApiError::from(Refusal::Unknown(name.to_string()))
    }

    /// Returns the status, OpenSearch's word, and what is wrong with the hint in one sentence.
    pub fn parts(self) -> (StatusCode, &'static str, String) {
        let kind = self.opensearch_kind();
        let reason = match self.hint {
            Some(hint) => format!("{}; {hint}", self.detail),
            None => self.detail,
        };
        (self.status, kind, reason)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint = Some(hint.into());
        self
    }

    /// Sends a header with it.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> ApiError {
        self.headers.push((name, value.into()));
        self
    }

    /// Somebody speaks plain HTTP where only TLS is spoken.
    pub fn no_tls() -> ApiError {
        ApiError::bad_request("no_tls", "this port speaks TLS only").hint("ask by https://")
    }

    /// Returns the whole answer as it goes over a connection that nothing else is said on.
    pub fn in_plain_http(self) -> String {
        let status = self.status;
        let body = serde_json::to_string(&self.document()).unwrap_or_default();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn document(self) -> ProblemDocument {
        ProblemDocument {
            kind: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            code: self.code.into(),
            detail: self.detail,
            hint: self.hint,
        }
    }

    /// Returns the refusal as callers of a path expect it: OpenSearch's form below its own paths, a problem
    /// document everywhere else. Every refusal that is made before a handler is asked goes through here.
    pub fn at(mut self, path: &str) -> Response {
        if !is_opensearch(path) {
            return self.into_response();
        }
        let headers = AppendHeaders(std::mem::take(&mut self.headers));
        let (status, kind, reason) = self.parts();
        // A value is JSON already; an empty body would still carry the status.
        let body = serde_json::to_vec(&opensearch_body(status, kind, &reason)).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, OPENSEARCH_JSON)], headers, body).into_response()
    }

    /// Returns OpenSearch's word for what is wrong.
    fn opensearch_kind(&self) -> &'static str {
        match (self.status, self.code) {
            (StatusCode::CONFLICT, "policy_exists" | "version_conflict") => "version_conflict_engine_exception",
            (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY, _) => {
                "illegal_argument_exception"
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => "security_exception",
            (StatusCode::TOO_MANY_REQUESTS, _) => "rejected_execution_exception",
            (StatusCode::GATEWAY_TIMEOUT, _) => "timeout_exception",
            _ => "status_exception",
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let (status, headers) = (self.status, AppendHeaders(std::mem::take(&mut self.headers)));
        // A document of plain strings always becomes JSON; an empty body would still carry the status.
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], headers, body).into_response()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Unknown(_) => ApiError::not_found("unknown_policy", detail),
            Refusal::UnknownRepository(_) => ApiError::not_found("unknown_repository", detail),
            Refusal::UnknownChannel(_) => ApiError::not_found("unknown_channel", detail),
            Refusal::UnknownToken(_) => {
                ApiError::not_found("unknown_token", detail).hint("`snapkeep token list` shows those there are")
            }
            Refusal::NoWorkflow { .. } => ApiError::new(StatusCode::CONFLICT, "no_workflow", detail),
            Refusal::Running { .. } => ApiError::new(StatusCode::CONFLICT, "already_running", detail)
                .hint("explain shows how far it is; its run settles within its time limit"),
            Refusal::NoPlan { .. } => ApiError::new(StatusCode::CONFLICT, "no_plan_waits", detail)
                .hint("`snapkeep deletions list` shows those that wait"),
            Refusal::NoNotice { .. } => ApiError::new(StatusCode::CONFLICT, "notice_not_sent", detail)
                .hint("`snapkeep notices list` shows those there are"),
            Refusal::Exists(_) => ApiError::new(StatusCode::CONFLICT, "policy_exists", detail),
            Refusal::Conflict(_) => ApiError::new(StatusCode::CONFLICT, "version_conflict", detail)
                .hint("read the policy again and repeat the change with its numbers"),
            Refusal::Elsewhere { .. } => ApiError::new(StatusCode::CONFLICT, "policy_of_a_file", detail)
                .hint("change the file; through the API it can be started, stopped, run and explained"),
            Refusal::Busy(_) => ApiError::new(StatusCode::CONFLICT, "busy", detail),
            Refusal::NotAllowed(_) => ApiError::new(StatusCode::CONFLICT, "not_allowed", detail),
            Refusal::Unavailable(_) => ApiError::unavailable("unavailable", detail),
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> ApiError {
        let status = match fault.kind {
            FaultKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
            FaultKind::Transient | FaultKind::Permanent | FaultKind::Incomplete => StatusCode::BAD_GATEWAY,
        };
        let code = match fault.kind {
            FaultKind::Busy => "repository_busy",
            FaultKind::Transient => "repository_unavailable",
            FaultKind::Permanent => "repository_fault",
            FaultKind::Incomplete => "repository_incomplete",
        };
        ApiError::new(status, code, format!("failed to look at the repository: {}", fault.message))
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> ApiError {
        ApiError::bad_request("bad_path", rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> ApiError {
        ApiError::bad_request("bad_query", rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> ApiError {
        let status = rejection.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "body_too_large" } else { "bad_body" };
        ApiError::new(status, code, rejection.body_text())
    }
}
