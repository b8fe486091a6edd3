//! Callers and people who change the same policies: the one through the API, the other with an editor.

use std::fs;

use serde_json::{Value, json};

use super::place::Place;

const PATH: &str = "/_plugins/_sm/policies/p";
const FILE: &str = "state/policies.d/p.toml";

fn policy(description: &str) -> Value {
    json!({
        "description": description,
        "creation": { "schedule": { "cron": { "expression": "0 0 29 2 *", "timezone": "UTC" } } },
        "snapshot_config": { "repository": "store" },
    })
}

fn place() -> Place {
    let mut place = Place::bare();
    place.up();
    place
}

/// Nobody has to have read the file: whoever has the former version has not seen what is in it now.
#[test]
fn what_somebody_wrote_into_the_file_is_a_version_even_where_nobody_has_read_it_yet() {
    let place = place();
    for round in 0..10 {
        place.send("POST", PATH, &policy("made")).is(201);
        let read = place.ask("GET", PATH).is(200);
        let text = fs::read_to_string(place.path(FILE)).expect("there");
        let edited = text.replace("made", "by hand");
        assert_ne!(text, edited);
        place.write(FILE, &edited);
        let numbers = format!("if_seq_no={}&if_primary_term={}", read["_seq_no"], read["_primary_term"]);
        place.send("PUT", &format!("{PATH}?{numbers}"), &policy("put")).is(409);
        assert_eq!(fs::read_to_string(place.path(FILE)).expect("there"), edited, "round {round}");
        assert_eq!(place.ask("GET", PATH).is(200)["sm_policy"]["description"], "by hand");
        place.ask("DELETE", PATH).is(200);
    }
}

#[test]
fn a_file_that_was_never_in_force_is_not_written_over_by_making_a_policy() {
    let place = place();
    fs::create_dir_all(place.path("state/policies.d")).expect("a folder");
    place.write(FILE, "[creation\n");
    let answer = place.send("POST", PATH, &policy("made"));
    let reason = answer.is(409)["error"]["reason"].to_string();
    assert!(reason.contains("p.toml is there and not in force"), "{reason}");
    assert_eq!(fs::read_to_string(place.path(FILE)).expect("there"), "[creation\n");
    // Mended, it is a policy like any other.
    fs::remove_file(place.path(FILE)).expect("removed");
    place.send("POST", PATH, &policy("made")).is(201);
}
