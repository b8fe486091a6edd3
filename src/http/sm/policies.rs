//! Policies made, read, rewritten, removed, started and stopped by OpenSearch's clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Extension;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::config::sm;
use crate::editing::{Asker, NotEdited};
use crate::engine::event::{Draft, Expect, What};
use crate::engine::tracked::Tracked;
use crate::journal::JournalError;
use crate::journal::record::{PolicyRecord, PolicyVersion};
use crate::lifecycle::policy::Policy;
use crate::lifecycle::time::Timestamp;
use crate::roster::Problem;

use super::super::control::send;
use super::super::error::ApiError;
use super::super::records::read;
use super::super::repeat;
use super::super::serve::Peer;
use super::super::{Shared, State};
use super::Call;
use super::answer::{Answer, Parameters, SmError};
use super::query::Query;

/// From and size together; OpenSearch's bound.
const WINDOW_MAX: u64 = 10_000;
/// What a caller gets who says nothing.
const SIZE_DEFAULT: u64 = 20;
/// More than so many are read at once, and made into an answer by two threads.
const ONE_BY_ONE_MAX: usize = 256;
/// The version of the stored form, for clients that expect a number.
const SCHEMA_VERSION: u32 = 1;

/// `POST /_plugins/_sm/policies/{name}`
pub async fn create(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    call: Call,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(&call, &["refresh", "if_seq_no", "if_primary_term"], async |parameters| {
        if parameters.get("if_seq_no").is_some() || parameters.get("if_primary_term").is_some() {
            return Err(SmError::bad_request("if_seq_no and if_primary_term belong to an update: use PUT"));
        }
        put(&shared, &peer, &call.name, body, Expect::Nothing, StatusCode::CREATED).await
    })
    .await
}

/// `PUT /_plugins/_sm/policies/{name}?if_seq_no=…&if_primary_term=…`
pub async fn replace(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    call: Call,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(&call, &["refresh", "if_seq_no", "if_primary_term"], async |parameters| {
        let (Some(seq_no), Some(primary_term)) =
            (parameters.number("if_seq_no")?, parameters.number("if_primary_term")?)
        else {
            let reason = "Validation Failed: 1: expecting both if_seq_no and if_primary_term for the update;";
            let kind = "action_request_validation_exception";
            return Err(SmError { status: StatusCode::BAD_REQUEST, kind, reason: reason.to_string() });
        };
        let expect = Expect::Version { seq_no, primary_term };
        put(&shared, &peer, &call.name, body, expect, StatusCode::OK).await
    })
    .await
}

/// `GET /_plugins/_sm/policies/{name}`
pub async fn get(axum::extract::State(shared): State, call: Call) -> Response {
    answered(&call, &[], async |parameters| {
        let body = policy(&shared, &call.name, parameters.is_human()).await?.ok_or_else(SmError::not_found)?;
        Ok(Answer::ok(body))
    })
    .await
}

/// `GET /_plugins/_sm/policies`
pub async fn list(axum::extract::State(shared): State, call: Call) -> Response {
    let own = ["from", "size", "sortField", "sortOrder", "queryString"];
    answered(&call, &own, async |parameters| page(&shared, parameters).await).await
}

/// `DELETE /_plugins/_sm/policies/{name}`
pub async fn delete(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, call: Call) -> Response {
    answered(&call, &["refresh"], async |parameters| {
        check_name(&call.name)?;
        let editing = shared.api.editing.as_ref().ok_or_else(no_journal)?;
        let uid = editing.remove(asker(&peer), call.name.clone()).await.map_err(refusal)?;
        let uid = uid.ok_or_else(SmError::not_found)?;
        // It was done, whatever else can be said of it at the moment.
        let version = read(&shared, move |records| records.version_of(&uid)).await.ok().flatten();
        let (version, seq_no) = version.map_or((1, 0), |version| (version.version, version.seq_no));
        let mut body = json!({
            "_index": ".opendistro-ism-config",
            "_id": sm::id(&call.name),
            "_version": version,
            "result": "deleted",
            "forced_refresh": true,
            "_shards": { "total": 1, "successful": 1, "failed": 0 },
            "_seq_no": seq_no,
            "_primary_term": shared.api.view.primary_term(),
        });
        if let (Some("wait_for" | "false"), Some(body)) = (parameters.get("refresh"), body.as_object_mut()) {
            body.remove("forced_refresh");
        }
        Ok(Answer::ok(body))
    })
    .await
}

/// `POST /_plugins/_sm/policies/{name}/_start`
pub async fn start(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, call: Call) -> Response {
    let policy = call.name.clone();
    answered(&call, &[], async |_| switched(&shared, &peer, What::Start { policy: policy.clone() }, &policy).await)
        .await
}

/// `POST /_plugins/_sm/policies/{name}/_stop`
pub async fn stop(axum::extract::State(shared): State, Extension(peer): Extension<Peer>, call: Call) -> Response {
    let policy = call.name.clone();
    answered(&call, &[], async |_| switched(&shared, &peer, What::Stop { policy: policy.clone() }, &policy).await).await
}

async fn switched(shared: &Shared, peer: &Peer, what: What, name: &str) -> Result<Answer, SmError> {
    check_name(name)?;
    send(shared, peer, what).await.map_err(SmError::about_policy)?;
    Ok(Answer::ok(json!({ "acknowledged": true })))
}

/// Reads the parameters, does the work, and shapes whatever comes of it.
async fn answered(
    call: &Call,
    own: &[&str],
    work: impl AsyncFnOnce(&Parameters) -> Result<Answer, SmError>,
) -> Response {
    match Parameters::read(call.given.clone(), &call.path, own) {
        Ok(parameters) => {
            let outcome = work(&parameters).await;
            parameters.respond(outcome).await
        }
        Err(error) => error.into_response(),
    }
}

fn asker(peer: &Peer) -> Asker {
    Asker { who: peer.0.clone(), request: repeat::key_at_hand() }
}

fn no_journal() -> SmError {
    let reason = "the daemon is in safe mode: policies are not changed".to_string();
    SmError { status: StatusCode::SERVICE_UNAVAILABLE, kind: "status_exception", reason }
}

/// The names OpenSearch refuses, and those that cannot be a file's.
fn check_name(name: &str) -> Result<(), SmError> {
    if Policy::is_name(name) {
        return Ok(());
    }
    let mut wrong = Vec::new();
    if name.is_empty() {
        wrong.push("name must not be empty");
    }
    if name.contains(' ') {
        wrong.push("name must not contain a blank");
    }
    if name.contains([',', '#']) {
        wrong.push("name must not contain , or #");
    }
    if name.starts_with('_') {
        wrong.push("name must not start with _");
    }
    if name.chars().any(char::is_uppercase) {
        wrong.push("name must be lower case");
    }
    if name.contains(['\\', '/', '*', '?', '"', '<', '>', '|']) {
        wrong.push("name must not contain any of \\ / * ? \" < > |");
    }
    if wrong.is_empty() {
        wrong.push("name may hold a-z, 0-9, `.`, `_` and `-`, must begin with a letter or digit, and end after 128");
    }
    Err(SmError::bad_request(format!("Invalid policy name [{name}], {}", wrong.join("\n"))))
}

async fn put(
    shared: &Shared,
    peer: &Peer,
    name: &str,
    body: Result<Bytes, BytesRejection>,
    expect: Expect,
    status: StatusCode,
) -> Result<Answer, SmError> {
    check_name(name)?;
    let body = body.map_err(ApiError::from)?;
    let body = parse(&body)?;
    let editing = shared.api.editing.as_ref().ok_or_else(no_journal)?;
    let draft = move |current: Option<&str>| {
        let mut body = body;
        let is_said = keep_enabled(&mut body, current);
        let policy = sm::to_toml(&body).map_err(|problems| {
            NotEdited::Body(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        Ok(Draft { enabled: policy.enabled.filter(|_| is_said), text: policy.text })
    };
    editing.put(asker(peer), name.to_string(), expect, draft, same).await.map_err(refusal)?;
    let location = Some(format!("{}/{name}", sm::POLICIES));
    // It was done, whatever else can be said of it at the moment.
    let body = policy(shared, name, false).await.ok().flatten().unwrap_or_else(|| json!({ "_id": sm::id(name) }));
    Ok(Answer { status, location, body })
}

fn parse(body: &[u8]) -> Result<Value, SmError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(SmError::bad_request("request body is required"));
    }
    // Its reader goes 128 deep, and a policy less.
    serde_json::from_slice(body).map_err(|error| {
        let (status, kind) = (StatusCode::BAD_REQUEST, "parse_exception");
        SmError { status, kind, reason: format!("the body is no JSON: {error}") }
    })
}

/// Tells whether a body says that the policy is enabled, or not. One that does not leaves it as it is, and so
/// does its file.
fn keep_enabled(body: &mut Value, current: Option<&str>) -> bool {
    let policy = match sm::wrapper(body) {
        Some(key) => body.get_mut(key),
        None => Some(body),
    };
    let Some(policy) = policy.and_then(Value::as_object_mut) else { return false };
    if policy.contains_key("enabled") {
        return true;
    }
    let written = current.and_then(sm::from_toml).and_then(|policy| policy.get("enabled").cloned());
    if let Some(enabled) = written {
        policy.insert("enabled".to_string(), enabled);
    }
    false
}

/// Whether two texts say the same.
fn same(former: &str, text: &str) -> bool {
    former == text || sm::from_toml(former).is_some_and(|former| Some(former) == sm::from_toml(text))
}

fn refusal(error: NotEdited) -> SmError {
    match error {
        NotEdited::Refused(refusal) => SmError::about_policy(ApiError::from(refusal)),
        NotEdited::Problems { text, problems } => {
            let wrong: Vec<Problem> = problems.into_iter().filter(Problem::is_error).collect();
            let told: Vec<String> = sm::told(&text, &wrong).iter().map(ToString::to_string).collect();
            SmError::bad_request(told.join("\n"))
        }
        NotEdited::Body(reason) => SmError::bad_request(reason),
        NotEdited::Failed(reason) => {
            let (status, kind) = (StatusCode::INTERNAL_SERVER_ERROR, "status_exception");
            SmError { status, kind, reason: format!("nothing was changed: {reason}") }
        }
    }
}

/// Returns a policy as it is answered; `None` where there is none.
async fn policy(shared: &Shared, name: &str, human: bool) -> Result<Option<Value>, SmError> {
    let Some(tracked) = tracked(shared, name) else { return Ok(None) };
    let wanted = tracked.name.clone();
    let found = read(shared, move |records| records.policies(Some(&[wanted]))).await?.pop();
    let Some(record) = found else { return Ok(None) };
    let primary_term = shared.api.view.primary_term();
    let mut body = entry(&record, tracked.is_enabled(), primary_term, human);
    body.insert("_version".to_string(), json!(record.version.version));
    Ok(Some(Value::Object(body)))
}

fn tracked(shared: &Shared, name: &str) -> Option<Arc<Tracked>> {
    // A pattern is no name here.
    let exact = [name.to_string()];
    shared.api.view.policies(&exact).into_iter().find(|tracked| *tracked.name == *name)
}

fn entry(record: &PolicyRecord, enabled: bool, primary_term: u64, human: bool) -> Map<String, Value> {
    let version = &record.version;
    let mut body = Map::new();
    body.insert("_id".to_string(), json!(sm::id(&version.name)));
    body.insert("_seq_no".to_string(), json!(version.seq_no));
    body.insert("_primary_term".to_string(), json!(primary_term));
    body.insert("sm_policy".to_string(), Value::Object(written(record, enabled, human)));
    body
}

/// Returns what the file says, and what only the server knows.
fn written(record: &PolicyRecord, enabled: bool, human: bool) -> Map<String, Value> {
    let PolicyVersion { name, updated_at, enabled_at, adopted_at, .. } = &record.version;
    let mut policy = sm::from_toml(&record.text).unwrap_or_default();
    let mut own = |key: &str, value: Value| {
        policy.insert(key.to_string(), value);
    };
    own("name", json!(**name));
    own("schema_version", json!(SCHEMA_VERSION));
    let interval = json!({ "start_time": adopted_at.millis(), "period": 1, "unit": "Minutes" });
    own("schedule", json!({ "interval": interval }));
    own("enabled", json!(enabled));
    own("last_updated_time", json!(updated_at.millis()));
    own("enabled_time", if enabled { json!(enabled_at.millis()) } else { Value::Null });
    if human {
        // Named as OpenSearch names them, although they hold the text and the others the milliseconds.
        own("last_updated_time_in_millis", json!(updated_at.to_string()));
        if enabled {
            own("enabled_time_in_millis", json!(enabled_at.to_string()));
        }
    }
    policy
}

/// By what a list is sorted.
#[derive(Clone, Copy)]
enum SortField {
    Name,
    Enabled,
    EnabledTime,
    LastUpdatedTime,
}

async fn page(shared: &Shared, parameters: &Parameters) -> Result<Answer, SmError> {
    let from = parameters.number("from")?.unwrap_or(0);
    let size = parameters.number("size")?.unwrap_or(SIZE_DEFAULT);
    if from.saturating_add(size) > WINDOW_MAX {
        return Err(SmError::bad_request(format!(
            "Result window is too large, from + size must be less than or equal to: [{WINDOW_MAX}] but was [{}]",
            from.saturating_add(size)
        )));
    }
    let field = match parameters.get("sortField").unwrap_or("sm_policy.name") {
        "sm_policy.name" => SortField::Name,
        "sm_policy.enabled" => SortField::Enabled,
        "sm_policy.enabled_time" => SortField::EnabledTime,
        "sm_policy.last_updated_time" => SortField::LastUpdatedTime,
        other => {
            return Err(SmError::bad_request(format!(
                "cannot sort by [{other}]; it can be done by sm_policy.name, sm_policy.enabled, \
                 sm_policy.enabled_time and sm_policy.last_updated_time"
            )));
        }
    };
    let descending = match parameters.get("sortOrder").unwrap_or("asc").to_ascii_lowercase().as_str() {
        "asc" => false,
        "desc" => true,
        other => return Err(SmError::bad_request(format!("No enum constant for sort order [{other}]"))),
    };
    let text = parameters.get("queryString").unwrap_or("*");
    let query =
        Query::parse(text).map_err(|why| SmError::bad_request(format!("Failed to parse query [{text}]: {why}")))?;

    let tracked = shared.api.view.policies(&[]);
    let enabled: BTreeMap<Arc<str>, bool> =
        tracked.iter().map(|tracked| (tracked.name.clone(), tracked.is_enabled())).collect();
    let enabled = Arc::new(enabled);
    let is_enabled = |name: &Arc<str>| enabled.get(name).copied().unwrap_or(false);
    let mut names: Vec<Arc<str>> = if query.needs_fields() {
        let enabled = enabled.clone();
        // Every file is parsed, which is not for a thread that others wait for.
        let found = read(shared, move |records| {
            let matches = |record: &&PolicyRecord| {
                let name = &record.version.name;
                let policy = Value::Object(written(record, enabled.get(name).copied().unwrap_or(false), false));
                query.matches(name, &|field| values(&policy, field.strip_prefix("sm_policy.").unwrap_or(field)))
            };
            let records = records.policies(None)?;
            Ok::<_, JournalError>(records.iter().filter(matches).map(|record| record.version.name.clone()).collect())
        });
        found.await?
    } else {
        enabled.keys().filter(|name| query.matches(name, &|_| Vec::new())).cloned().collect()
    };
    sort(shared, &mut names, field, &is_enabled).await?;
    if descending {
        names.reverse();
    }
    let total = names.len();
    let (from, size) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(size).unwrap_or(usize::MAX));
    let wanted: Vec<Arc<str>> = names.into_iter().skip(from).take(size).collect();
    let (term, human) = (shared.api.view.primary_term(), parameters.is_human());
    let entries = read(shared, move |records| {
        let found = records.policies((wanted.len() <= ONE_BY_ONE_MAX).then_some(&wanted))?;
        let mut found: BTreeMap<Arc<str>, PolicyRecord> =
            found.into_iter().map(|record| (record.version.name.clone(), record)).collect();
        let page: Vec<PolicyRecord> = wanted.iter().filter_map(|name| found.remove(name)).collect();
        let one = |record: &PolicyRecord| {
            let is_enabled = enabled.get(&record.version.name).copied().unwrap_or(false);
            Value::Object(entry(record, is_enabled, term, human))
        };
        Ok::<_, JournalError>(halves(&page, &one))
    });
    let mut body = Map::new();
    body.insert("policies".to_string(), Value::Array(entries.await?));
    body.insert("total_policies".to_string(), json!(total));
    Ok(Answer::ok(Value::Object(body)))
}

/// Makes an answer of each record, of many on two threads.
fn halves(records: &[PolicyRecord], one: &(impl Fn(&PolicyRecord) -> Value + Sync)) -> Vec<Value> {
    if records.len() <= ONE_BY_ONE_MAX {
        return records.iter().map(one).collect();
    }
    let (first, second) = records.split_at(records.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| second.iter().map(one).collect::<Vec<Value>>());
        let mut all: Vec<Value> = first.iter().map(one).collect();
        all.extend(other.join().unwrap_or_else(|_| second.iter().map(one).collect()));
        all
    })
}

async fn sort(
    shared: &Shared,
    names: &mut [Arc<str>],
    field: SortField,
    is_enabled: &impl Fn(&Arc<str>) -> bool,
) -> Result<(), SmError> {
    match field {
        SortField::Name => names.sort(),
        SortField::Enabled => names.sort_by_key(|name| (is_enabled(name), name.clone())),
        SortField::EnabledTime | SortField::LastUpdatedTime => {
            let versions = read(shared, |records| records.versions()).await?;
            let time = |version: PolicyVersion| match field {
                SortField::EnabledTime => version.enabled_at,
                SortField::Name | SortField::Enabled | SortField::LastUpdatedTime => version.updated_at,
            };
            let times: BTreeMap<Arc<str>, Timestamp> =
                versions.into_iter().map(|version| (version.name.clone(), time(version))).collect();
            // Those that are not enabled have no such time, and come last in rising order.
            let missing = |name: &Arc<str>| matches!(field, SortField::EnabledTime) && !is_enabled(name);
            names.sort_by_key(|name| (missing(name), times.get(name).copied(), name.clone()));
        }
    }
    Ok(())
}

/// Returns every value at a path, as text.
fn values(value: &Value, path: &str) -> Vec<String> {
    let mut found = vec![value];
    for member in path.split('.') {
        found = found
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(values) => values.iter().collect(),
                other => vec![other],
            })
            .filter_map(|value| value.get(member))
            .collect();
    }
    let leaves = found.into_iter().flat_map(|value| match value {
        Value::Array(values) => values.iter().collect(),
        other => vec![other],
    });
    leaves
        .filter_map(|leaf| match leaf {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(leaf.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        })
        .collect()
}
