//! What can be asked, in OpenAPI's form: made from the table of routes, so that none is missing from it but those that
//! only repeat another with an empty name. What a route takes in its body stands here.

use axum::Json;
use axum::http::Method;
use serde_json::{Map, Value, json};

use super::error::is_opensearch;
use super::routes::{Route, routes};

/// What a route takes beside its path: parameters with their types, and the schema of its body.
struct Takes {
    method: Method,
    path: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<Value>,
}

/// The one answer that is no JSON.
const METRICS: &str = "/metrics";

/// `GET /v1/openapi.json`
pub async fn openapi() -> Json<Value> {
    Json(document())
}

/// Returns the whole description.
pub fn document() -> Value {
    let takes = takes();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes().iter().filter(|route| is_told(route)) {
        let found = takes.iter().find(|takes| takes.method == route.method && takes.path == route.path);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, found);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Snapkeep",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Snapshots by policy. Below /_plugins/_sm, OpenSearch's Snapshot Management API.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic", "description": "The token is the password." },
            },
            "schemas": { "Problem": problem(), "OpenSearchError": opensearch_error() },
        },
        "security": [{ "bearer": [] }, { "basic": [] }],
    })
}

/// Some routes are there for clients that leave a name empty; they are no more than that.
fn is_told(route: &Route) -> bool {
    !route.path.ends_with('/') && !route.path.contains("//")
}

fn operation(route: &Route, takes: Option<&Takes>) -> Value {
    let text = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let named = |part: &str| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_string());
    let mut parameters: Vec<Value> = route.path.split('/').filter_map(named).map(|name| text(&name)).collect();
    for (name, kind) in takes.map_or(&[][..], |takes| takes.query) {
        parameters.push(json!({ "name": name, "in": "query", "schema": { "type": kind } }));
    }
    if route.mutates() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" },
            "description": "The same key again is the same request: it is carried out once.",
        }));
    }
    let is_opensearch = is_opensearch(route.path);
    let (form, schema) = if is_opensearch {
        ("application/json", "#/components/schemas/OpenSearchError")
    } else {
        ("application/problem+json", "#/components/schemas/Problem")
    };
    let done = match route.path {
        METRICS => json!({ "text/plain": { "schema": { "type": "string" } } }),
        _ => json!({ "application/json": { "schema": {} } }),
    };
    let mut operation = json!({
        "summary": route.about,
        "description": format!("Needs the role {}.", route.role),
        "operationId": id(route),
        "tags": [if is_opensearch { "opensearch" } else { "snapkeep" }],
        "parameters": parameters,
        "responses": {
            "2XX": { "description": "It was done.", "content": done },
            "4XX": { "description": "It was refused.", "content": { form: { "schema": { "$ref": schema } } } },
            "5XX": { "description": "It could not be done.", "content": { form: { "schema": { "$ref": schema } } } },
        },
    });
    if let Some(body) = takes.and_then(|takes| takes.body.clone()) {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": body } } });
    }
    operation
}

fn id(route: &Route) -> String {
    let words = route.path.split('/').filter(|part| !part.is_empty());
    let words = words.map(|part| part.trim_matches(['{', '}', '_']).replace(['-', '.'], "_"));
    std::iter::once(route.method.as_str().to_ascii_lowercase()).chain(words).collect::<Vec<_>>().join("_")
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Never changes." },
            "detail": { "type": "string" },
            "hint": { "type": ["string", "null"] },
        },
    })
}

fn opensearch_error() -> Value {
    let cause = json!({ "type": { "type": "string" }, "reason": { "type": "string" } });
    json!({
        "type": "object",
        "required": ["error", "status"],
        "properties": {
            "error": { "type": "object", "required": ["type", "reason", "root_cause"], "properties": cause },
            "status": { "type": "integer" },
        },
    })
}

fn object(required: &[&str], properties: Value) -> Option<Value> {
    Some(json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false }))
}

fn takes() -> Vec<Takes> {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let number = || json!({ "type": ["integer", "null"] });
    let flag = || json!({ "type": "boolean" });
    let draft =
        || json!({ "type": "object", "required": ["file", "text"], "properties": { "file": text(), "text": text() } });
    let policy = || Some(json!({ "type": "object", "description": "A policy in OpenSearch's form." }));
    let get = |path, query| Takes { method: Method::GET, path, query, body: None };
    let post = |path, body| Takes { method: Method::POST, path, query: &[], body };
    let chosen = || {
        let named = json!({ "type": "object", "properties": { "repository": text(), "name": text(), "id": text() } });
        object(
            &["snapshots"],
            json!({
                "snapshots": { "type": "array", "items": named },
                "owned": flag(),
                "policy": { "type": ["string", "null"] },
            }),
        )
    };
    let preview = || {
        object(
            &["snapshots"],
            json!({ "snapshots": texts(), "repositories": texts(), "owned": flag(), "policy": { "type": ["string", "null"] } }),
        )
    };
    const NAMES: &[(&str, &str)] = &[("name", "string")];
    const LIMIT: &[(&str, &str)] = &[("limit", "integer")];
    const WRITE: &[(&str, &str)] = &[("refresh", "string")];
    vec![
        get("/v1/explain", NAMES),
        get("/v1/health", NAMES),
        get("/v1/policies", NAMES),
        get("/v1/policies/{name}/plan", &[("at", "integer")]),
        get("/v1/history", &[("name", "string"), ("workflow", "string"), ("limit", "integer")]),
        get("/v1/audit", &[("name", "string"), ("limit", "integer")]),
        get("/v1/deletions", LIMIT),
        get("/v1/operations", &[("what", "string"), ("subject", "string"), ("limit", "integer")]),
        post(
            "/v1/policies/{name}/run",
            object(&["workflow"], json!({ "workflow": { "enum": ["creation", "deletion"] } })),
        ),
        post("/v1/policies/{name}/plan", object(&["policy"], json!({ "policy": draft(), "at": number() }))),
        post(
            "/v1/policies/{name}/foresight",
            object(
                &["until"],
                json!({
                    "until": { "type": "integer" },
                    "looks": { "type": "array", "items": { "type": "integer" } },
                    "policy": { "oneOf": [draft(), { "type": "null" }] },
                }),
            ),
        ),
        post(
            "/v1/holds",
            object(
                &["snapshot", "reason"],
                json!({ "snapshot": text(), "until": number(), "compliance": flag(), "reason": text(), "repositories": texts() }),
            ),
        ),
        post("/v1/holds/remove", object(&["snapshot"], json!({ "snapshot": text(), "repositories": texts() }))),
        post("/v1/expire/preview", preview()),
        post("/v1/adopt/preview", preview()),
        post("/v1/expire", chosen()),
        post("/v1/adopt", chosen()),
        post(
            "/v1/verify",
            object(
                &["snapshot"],
                json!({
                    "snapshot": text(),
                    "read_data_percent": { "type": "integer", "minimum": 0, "maximum": 100 },
                    "repositories": texts(),
                    "policies": texts(),
                }),
            ),
        ),
        post(
            "/v1/tokens",
            object(
                &["name", "role"],
                json!({ "name": text(), "role": { "enum": ["viewer", "operator", "admin"] }, "expires": number() }),
            ),
        ),
        get(
            "/_plugins/_sm/policies",
            &[
                ("from", "integer"),
                ("size", "integer"),
                ("sortField", "string"),
                ("sortOrder", "string"),
                ("queryString", "string"),
            ],
        ),
        Takes { query: WRITE, ..post("/_plugins/_sm/policies/{name}", policy()) },
        Takes {
            method: Method::PUT,
            query: &[("if_seq_no", "integer"), ("if_primary_term", "integer"), ("refresh", "string")],
            ..post("/_plugins/_sm/policies/{name}", policy())
        },
        Takes { method: Method::DELETE, query: WRITE, ..post("/_plugins/_sm/policies/{name}", None) },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Routes that change something and take nothing but their path and query.
    const WITHOUT_BODY: [(&str, &str); 14] = [
        ("POST", "/v1/policies/{name}/start"),
        ("POST", "/v1/policies/{name}/stop"),
        ("POST", "/v1/deletions/{number}/approve"),
        ("POST", "/v1/deletions/{number}/refuse"),
        ("POST", "/v1/clock/confirm"),
        ("POST", "/v1/repositories/{name}/maintain"),
        ("POST", "/v1/channels/{name}/_test"),
        ("POST", "/v1/notices/{number}/_resend"),
        ("POST", "/v1/journal/backup"),
        ("POST", "/v1/journal/accept-machine"),
        ("DELETE", "/v1/tokens/{name}"),
        ("DELETE", "/_plugins/_sm/policies/{name}"),
        ("POST", "/_plugins/_sm/policies/{name}/_start"),
        ("POST", "/_plugins/_sm/policies/{name}/_stop"),
    ];

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = document();
        let mut described = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                described.insert((path.clone(), method.to_ascii_uppercase()));
                assert!(
                    ids.insert(operation["operationId"].to_string()),
                    "{path} {method}: {}",
                    operation["operationId"]
                );
            }
        }
        let routes = routes();
        let told = routes.iter().filter(|route| is_told(route));
        assert_eq!(described, told.map(|route| (route.path.to_string(), route.method.to_string())).collect());
        for takes in takes() {
            assert!(
                described.contains(&(takes.path.to_string(), takes.method.to_string())),
                "{} {} is no route",
                takes.method,
                takes.path
            );
        }
        // What a route takes is written by hand, and easily forgotten.
        let mut without_body = Vec::new();
        for route in routes.iter().filter(|route| is_told(route) && !route.method.is_safe()) {
            let method = route.method.as_str().to_ascii_lowercase();
            if document["paths"][route.path][method].get("requestBody").is_none() {
                without_body.push((route.method.as_str(), route.path));
            }
        }
        assert_eq!(without_body, WITHOUT_BODY);
    }
}
