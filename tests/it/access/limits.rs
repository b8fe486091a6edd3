//! What one request may ask for, at most.

use serde_json::{Value, json};
use snapkeep::engine::event::{Done, What};

use crate::http::{Daemon, view};

const BASE: &str = "/_plugins/_sm/policies";

/// Returns the names that `_explain` tells of.
fn explained(daemon: &Daemon, names: &str) -> Vec<String> {
    let (status, body) = daemon.get(&format!("{BASE}/{names}/_explain"));
    assert_eq!(status, 200, "{body}");
    let policies = body["policies"].as_array().expect("a list");
    policies.iter().map(|policy| policy["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn both_faces_take_256_names_in_one_call_and_say_so() {
    let daemon = Daemon::start(view(&["db"]));
    let names = |count: usize| vec!["db"; count].join(",");
    for path in [|names: &str| format!("/v1/explain?name={names}"), |names: &str| format!("{BASE}/{names}/_explain")] {
        assert_eq!(daemon.get(&path(&names(256))).0, 200);
        let (status, body) = daemon.get(&path(&names(257)));
        assert_eq!(status, 400, "{body}");
        assert!(body.to_string().contains("257 names are too many; one call takes 256 at most"), "{body}");
    }
}

#[test]
fn names_and_patterns_beside_one_another_mean_every_policy_once() {
    let daemon = Daemon::start(view(&["a1", "a2", "b1", "c1"]));
    assert_eq!(explained(&daemon, "c1"), ["c1"]);
    assert_eq!(explained(&daemon, "c1,a1,nobody,a1"), ["a1", "c1"]);
    assert_eq!(explained(&daemon, "c1,a*,a1"), ["a1", "a2", "c1"]);
    assert_eq!(explained(&daemon, "%3F1"), ["a1", "b1", "c1"]);
    assert_eq!(explained(&daemon, "d*"), [""; 0]);
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_looked_for() {
    let mut daemon = Daemon::start(view(&["db"]));
    // That it was refused is written down.
    let asked = daemon.answering(|_| Ok(Done::Acknowledged));
    for name in ["..%2F..%2Fetc%2Fsnapkeep%2Fpolicies.d%2Fdb", "Db", "_all", "d%2A"] {
        let (status, body) = daemon.request("DELETE", &format!("{BASE}/{name}"), "", b"");
        assert_eq!(status, 400, "{name}: {body}");
        assert!(body["error"]["reason"].as_str().is_some_and(|why| why.starts_with("Invalid policy name")), "{body}");
    }
    assert!(asked.try_iter().all(|(_, what)| matches!(what, What::Refused { .. })));
}

#[test]
fn a_refusal_has_one_form_whoever_makes_it() {
    let daemon = Daemon::start(view(&["db"]));
    // By the handler, and before a handler is asked.
    for (method, path, status) in [("GET", "/_plugins/_sm/policies/nobody", 404), ("PATCH", BASE, 405)] {
        let (found, head, body) = daemon.whole(method, path, "", b"");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((found, &body["status"]), (status, &json!(status)), "{path}: {body}");
        assert_eq!(body["error"]["root_cause"][0]["reason"], body["error"]["reason"], "{body}");
        assert!(head.to_lowercase().contains("content-type: application/json; charset=utf-8"), "{head}");
    }
    // A path that only begins like them is none of OpenSearch's.
    assert_eq!(daemon.get("/_plugins/_smart").1["code"], "no_such_route");
}
