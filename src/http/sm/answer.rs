//! How answers look to OpenSearch's clients: the shape of errors, and the parameters that every call takes.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use wildmatch::WildMatch;

use super::super::error::{ApiError, OPENSEARCH_JSON, opensearch_body};

/// Parameters that every call takes.
const GLOBAL: &[&str] = &["pretty", "human", "error_trace", "filter_path", "format"];
/// Those that clients send and that mean nothing to one daemon.
const TIMES: &[&str] = &["timeout", "cluster_manager_timeout", "master_timeout"];
/// A list of more is made into text, and looked through, away from the threads that answer everybody.
const POLICIES_AT_HAND_MAX: usize = 256;
/// Large answers that are made into text at once: each may be some megabytes and a second of a processor.
static LARGE: Semaphore = Semaphore::const_new(2);

/// A refusal in OpenSearch's words.
#[derive(Debug)]
pub struct SmError {
    pub status: StatusCode,
    pub kind: &'static str,
    pub reason: String,
}

impl SmError {
    pub fn bad_request(reason: impl Into<String>) -> SmError {
        SmError { status: StatusCode::BAD_REQUEST, kind: "illegal_argument_exception", reason: reason.into() }
    }

    pub fn not_found() -> SmError {
        let reason = "Snapshot management policy not found".to_string();
        SmError { status: StatusCode::NOT_FOUND, kind: "status_exception", reason }
    }

    /// Returns a refusal that is about the one policy asked for. OpenSearch has the same words for every policy
    /// that is not there.
    pub fn about_policy(error: ApiError) -> SmError {
        match SmError::from(error) {
            error if error.status == StatusCode::NOT_FOUND => SmError::not_found(),
            error => error,
        }
    }

    fn body(&self) -> Value {
        opensearch_body(self.status, self.kind, &self.reason)
    }
}

impl From<ApiError> for SmError {
    fn from(error: ApiError) -> SmError {
        let (status, kind, reason) = error.parts();
        SmError { status, kind, reason }
    }
}

impl IntoResponse for SmError {
    fn into_response(self) -> Response {
        respond(self.status, &self.body(), false)
    }
}

fn respond(status: StatusCode, body: &Value, pretty: bool) -> Response {
    // A value is JSON already; an empty body would still carry the status.
    let text = if pretty { serde_json::to_vec_pretty(body) } else { serde_json::to_vec(body) }.unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, OPENSEARCH_JSON);
    response
}

/// An answer that went well.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Value,
}

impl Answer {
    pub fn ok(body: Value) -> Answer {
        Answer { status: StatusCode::OK, location: None, body }
    }

    fn is_small(&self) -> bool {
        let policies = self.body.get("policies").and_then(Value::as_array);
        policies.is_none_or(|policies| policies.len() <= POLICIES_AT_HAND_MAX)
    }
}

/// What stands behind the question mark.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Returns the parameters of a call, of which it knows `own` beside those that every call takes.
    pub fn read(given: Vec<(String, String)>, path: &str, own: &[&str]) -> Result<Parameters, SmError> {
        let known = || own.iter().chain(GLOBAL).chain(TIMES);
        if let Some((name, _)) = given.iter().find(|(name, _)| !known().any(|known| known == name)) {
            let nearest = known()
                .map(|known| (strsim::damerau_levenshtein(name, known), known))
                .min()
                .filter(|(distance, known)| *distance <= 1 + known.len() / 3);
            let hint = nearest.map_or_else(String::new, |(_, known)| format!(" -> did you mean [{known}]?"));
            return Err(SmError::bad_request(format!(
                "request [{path}] contains unrecognized parameter: [{name}]{hint}"
            )));
        }
        let parameters = Parameters(given);
        if let Some(format) = parameters.get("format")
            && !format.is_empty()
            && !format.eq_ignore_ascii_case("json")
        {
            return Err(SmError::bad_request(format!("format [{format}] is not spoken here; answers are JSON")));
        }
        if let Some(refresh) = parameters.get("refresh")
            && !matches!(refresh, "" | "true" | "false" | "wait_for")
        {
            return Err(SmError::bad_request(format!("Unknown value for refresh: [{refresh}].")));
        }
        if let Some(paths) = parameters.get("filter_path") {
            check_paths(paths)?;
        }
        for name in ["pretty", "human", "error_trace"] {
            parameters.flag(name)?;
        }
        Ok(parameters)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> Result<bool, SmError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(SmError::bad_request(format!(
                "Failed to parse value [{other}] as only [true] or [false] are allowed for [{name}]"
            ))),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, SmError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(SmError::bad_request(format!("Failed to parse int parameter [{name}] with value [{text}]"))),
        }
    }

    /// Whether nothing is asked of how the answer looks.
    fn is_plain(&self) -> bool {
        self.get("filter_path").is_none_or(str::is_empty) && !self.flag("pretty").unwrap_or(false)
    }

    /// Whether times are wanted as text too.
    pub fn is_human(&self) -> bool {
        self.flag("human").unwrap_or(false)
    }

    /// Returns the response for an answer. A large one, and one that is filtered, is made away from the threads
    /// that answer everybody.
    pub async fn respond(&self, outcome: Result<Answer, SmError>) -> Response {
        let is_small = match &outcome {
            Ok(answer) => self.get("filter_path").is_none_or(str::is_empty) && answer.is_small(),
            Err(_) => true,
        };
        if is_small {
            return self.response(outcome);
        }
        let parameters = self.clone();
        aside(move || parameters.response(outcome)).await
    }

    /// Returns the response for an answer that is JSON already.
    pub async fn respond_with(&self, json: Vec<u8>) -> Response {
        if self.is_plain() {
            let mut response = Response::new(Body::from(json));
            response.headers_mut().insert(header::CONTENT_TYPE, OPENSEARCH_JSON);
            return response;
        }
        let parameters = self.clone();
        aside(move || parameters.response(Ok(Answer::ok(serde_json::from_slice(&json).unwrap_or_default())))).await
    }

    fn response(&self, outcome: Result<Answer, SmError>) -> Response {
        let pretty = self.flag("pretty").unwrap_or(false);
        match outcome {
            Ok(Answer { status, location, mut body }) => {
                if let Some(paths) = self.get("filter_path").filter(|paths| !paths.is_empty()) {
                    body = filtered(body, paths);
                }
                let mut response = respond(status, &body, pretty);
                if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
                    response.headers_mut().insert(header::LOCATION, location);
                }
                response
            }
            Err(error) => respond(error.status, &error.body(), pretty),
        }
    }
}

/// Makes a response on a thread where nobody waits for another.
async fn aside(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    // It is never closed. The work goes on when its caller is gone, and keeps its place for as long.
    let place = LARGE.acquire().await;
    let made = tokio::task::spawn_blocking(move || {
        let _place = place;
        make()
    });
    made.await.unwrap_or_else(|_| {
        let (status, kind) = (StatusCode::INTERNAL_SERVER_ERROR, "status_exception");
        SmError { status, kind, reason: "the answer came to nothing".to_string() }.into_response()
    })
}

/// More paths, and longer ones, than anybody types: what they let through is looked for in every member.
const PATHS_MAX: usize = 32;

/// Refuses paths that would take too long.
fn check_paths(paths: &str) -> Result<(), SmError> {
    if paths.split(',').count() > PATHS_MAX || paths.split(',').any(|path| path.split('.').count() > PATHS_MAX) {
        return Err(SmError::bad_request(format!("filter_path takes {PATHS_MAX} paths of {PATHS_MAX} parts at most")));
    }
    Ok(())
}

/// A part of a path.
enum Part {
    /// `**`: any members, at any depth.
    Any,
    /// One member, by its name or a pattern.
    Like(WildMatch),
}

/// Reads a path once for all members that it is tried on.
fn parts(path: &str) -> Vec<Part> {
    let mut parts: Vec<&str> = path.split('.').collect();
    // Twice any depth is any depth.
    parts.dedup_by(|next, part| *next == "**" && *part == "**");
    parts.into_iter().map(|part| if part == "**" { Part::Any } else { Part::Like(WildMatch::new(part)) }).collect()
}

/// Returns what the paths let through: `a.b`, `*.b`, `**.c`, and `-a` for all but `a`.
fn filtered(body: Value, paths: &str) -> Value {
    let paths: Vec<&str> = paths.split(',').filter(|path| !path.is_empty()).collect();
    let wanted: Vec<Vec<Part>> = paths.iter().filter(|path| !path.starts_with('-')).map(|path| parts(path)).collect();
    let unwanted: Vec<Vec<Part>> = paths.iter().filter_map(|path| path.strip_prefix('-')).map(parts).collect();
    let mut body = body;
    if !wanted.is_empty() {
        let paths: Vec<&[Part]> = wanted.iter().map(Vec::as_slice).collect();
        body = only(body, &paths).unwrap_or_else(|| Value::Object(Map::new()));
    }
    if !unwanted.is_empty() {
        let paths: Vec<&[Part]> = unwanted.iter().map(Vec::as_slice).collect();
        body = without(body, &paths).unwrap_or_else(|| Value::Object(Map::new()));
    }
    body
}

/// Returns what is left of paths below a member, and whether one of them ends there.
fn below<'p>(paths: &[&'p [Part]], member: &str) -> (Vec<&'p [Part]>, bool) {
    let mut left = Vec::new();
    let mut ends = false;
    for path in paths {
        match path.split_first() {
            None => {}
            Some((Part::Any, rest)) => {
                left.push(*path);
                let (deeper, over) = below(&[rest], member);
                left.extend(deeper);
                ends |= over || rest.is_empty();
            }
            Some((Part::Like(pattern), rest)) if pattern.matches(member) => {
                ends |= rest.is_empty();
                if !rest.is_empty() {
                    left.push(rest);
                }
            }
            Some((Part::Like(_), _)) => {}
        }
    }
    // One path goes on once, however it came to be there.
    left.sort_by_key(|path| (path.as_ptr(), path.len()));
    left.dedup_by_key(|path| (path.as_ptr(), path.len()));
    (left, ends)
}

fn only(body: Value, paths: &[&[Part]]) -> Option<Value> {
    match body {
        Value::Object(members) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let (left, ends) = below(paths, &name);
                if ends {
                    kept.insert(name, value);
                } else if let Some(value) = only(value, &left) {
                    kept.insert(name, value);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(values) => {
            let kept: Vec<Value> = values.into_iter().filter_map(|value| only(value, paths)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

fn without(body: Value, paths: &[&[Part]]) -> Option<Value> {
    match body {
        Value::Object(members) => {
            let mut kept = Map::new();
            for (name, value) in members {
                let (left, ends) = below(paths, &name);
                if let (false, Some(value)) = (ends, without(value, &left)) {
                    kept.insert(name, value);
                }
            }
            Some(Value::Object(kept))
        }
        Value::Array(values) => {
            Some(Value::Array(values.into_iter().filter_map(|value| without(value, paths)).collect()))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filter_path_lets_through_what_it_names_and_nothing_else() {
        let body = json!({
            "policies": [{ "_id": "a", "sm_policy": { "name": "a", "enabled": true } }, { "_id": "b", "sm_policy": {} }],
            "total_policies": 2,
        });
        for (paths, expected) in [
            ("total_policies", json!({ "total_policies": 2 })),
            ("policies._id", json!({ "policies": [{ "_id": "a" }, { "_id": "b" }] })),
            ("policies.sm_policy.name", json!({ "policies": [{ "sm_policy": { "name": "a" } }] })),
            ("**.name", json!({ "policies": [{ "sm_policy": { "name": "a" } }] })),
            ("*._i?", json!({ "policies": [{ "_id": "a" }, { "_id": "b" }] })),
            ("**.**.**.name", json!({ "policies": [{ "sm_policy": { "name": "a" } }] })),
            ("nothing", json!({})),
            ("-policies", json!({ "total_policies": 2 })),
            ("policies,-**.sm_policy", json!({ "policies": [{ "_id": "a" }, { "_id": "b" }] })),
        ] {
            assert_eq!(filtered(body.clone(), paths), expected, "{paths}");
        }
    }

    #[test]
    fn paths_that_would_take_too_long_are_refused() {
        let read = |paths: String| Parameters::read(vec![("filter_path".to_string(), paths)], "/", &[]).is_ok();
        assert!(read(vec!["**.a"; 16].join(".")) && read(vec!["a"; 32].join(",")));
        assert!(!read(vec!["**"; 33].join(".")) && !read(vec!["a"; 33].join(",")));
        // As many ways as there could be to the same end are one.
        let deep = (0..60).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert_eq!(filtered(deep.clone(), &vec!["**.a"; 16].join(".")), deep);
    }
}
