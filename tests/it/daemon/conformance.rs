//! What OpenSearch's own tests ask of its API, as it is here, over the real socket of a real daemon. The table at the
//! end of docs/opensearch-compatibility.md leads here.

use std::fs;
use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};
use snapkeep::clock;
use snapkeep::config::zone;
use snapkeep::lifecycle::schedule::Schedule;

use super::api::Answer;
use super::place::Place;

const BASE: &str = "/_plugins/_sm/policies";

/// As short as a policy can be.
fn short() -> Value {
    json!({
        "creation": { "schedule": { "cron": { "expression": "0 8 * * *", "timezone": "UTC" } } },
        "snapshot_config": { "repository": "store" },
    })
}

/// One that also deletes.
fn both() -> Value {
    let mut policy = short();
    policy["deletion"] = json!({
        "schedule": { "cron": { "expression": "30 1 * * *", "timezone": "America/Los_Angeles" } },
        "condition": { "max_age": "7d", "min_count": 2 },
    });
    policy
}

/// One that only deletes, what others made too.
fn deleting() -> Value {
    json!({
        "deletion": {
            "schedule": { "cron": { "expression": "0 0 29 2 *", "timezone": "UTC" } },
            "condition": { "max_age": "30d", "min_count": 3 },
            "snapshot_pattern": "external-*,other-*",
        },
        "snapshot_config": { "repository": "store" },
    })
}

/// A daemon without policies.
fn place() -> Place {
    let mut place = Place::bare();
    place.up();
    place
}

fn path(name: &str) -> String {
    format!("{BASE}/{name}")
}

fn numbers(answer: &Value) -> String {
    format!("if_seq_no={}&if_primary_term={}", answer["_seq_no"], answer["_primary_term"])
}

fn make(place: &Place, name: &str, policy: &Value) -> Value {
    place.send("POST", &path(name), policy).is(201)
}

fn rewrite(place: &Place, name: &str, policy: &Value) -> Value {
    let now = place.ask("GET", &path(name)).is(200);
    place.send("PUT", &format!("{}?{}", path(name), numbers(&now)), policy).is(200)
}

/// Returns what is explained of these names.
fn explained(place: &Place, names: &str) -> Vec<Value> {
    let body = place.ask("GET", &format!("{}/_explain", path(names))).is(200);
    body["policies"].as_array().unwrap_or_else(|| panic!("{body}")).clone()
}

fn has(value: &Value, key: &str) -> bool {
    value.get(key).is_some()
}

/// Does what people do at the command line; it has to go well.
fn done(place: &Place, words: &[&str]) -> String {
    let output = place.command(words).output().expect("the command runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn refused(answer: Answer, status: u16, words: &str) {
    let body = answer.is(status);
    assert!(body["error"]["reason"].as_str().is_some_and(|reason| reason.contains(words)), "{words}: {body}");
}

// ---- RestIndexSnapshotManagementIT.

#[test]
fn a_policy_that_only_deletes_is_made_without_creation_and_with_its_pattern() {
    let place = place();
    let made = place.send("POST", &path("tidy"), &deleting());
    assert_eq!(made.header("location"), Some("/_plugins/_sm/policies/tidy"));
    let made = made.is(201);
    assert_eq!(made["_id"], "tidy-sm-policy");
    for answer in [&made, &place.ask("GET", &path("tidy")).is(200)] {
        let policy = &answer["sm_policy"];
        assert!(!has(policy, "creation"), "{policy}");
        assert_eq!(policy["deletion"], deleting()["deletion"]);
        assert_eq!((&policy["enabled"], &policy["name"]), (&json!(true), &json!("tidy")));
    }
    let alone = json!({ "snapshot_config": { "repository": "store" } });
    refused(place.send("POST", &path("x"), &alone), 400, "neither creation nor deletion");
}

#[test]
fn a_deletion_without_a_schedule_goes_by_that_of_creation() {
    let place = place();
    let mut policy = both();
    policy["deletion"].as_object_mut().expect("a deletion").remove("schedule");
    let made = make(&place, "p", &policy);
    assert!(!has(&made["sm_policy"]["deletion"], "schedule"), "what was sent comes back: {made}");
    let shown = explained(&place, "p").remove(0);
    assert!(shown["creation"]["trigger"]["time"].is_i64(), "{shown}");
    assert_eq!(shown["deletion"]["trigger"], shown["creation"]["trigger"]);
    policy.as_object_mut().expect("a policy").remove("creation");
    refused(place.send("POST", &path("x"), &policy), 400, "deletion has no schedule");
}

#[test]
fn blanks_in_a_date_format_or_a_name_are_refused_over_the_api() {
    let place = place();
    for blank in ["", " "] {
        let mut policy = short();
        policy["snapshot_config"]["date_format"] = json!(blank);
        refused(place.send("POST", &path("x"), &policy), 400, "date_format");
    }
    for name in ["a%20b", "a%23b", "a%20%23"] {
        refused(place.send("POST", &path(name), &short()), 400, "name");
        refused(place.ask("POST", &format!("{}/_start", path(name))), 400, "name");
    }
    assert_eq!(place.ask("GET", BASE).is(200)["total_policies"], 0);
}

// ---- ResponseTests.

#[test]
fn an_answer_has_neither_the_wrapper_nor_the_user_that_was_sent() {
    let place = place();
    let mut policy = both();
    policy["user"] = json!({ "name": "admin", "backend_roles": ["all"], "roles": [], "custom_attribute_names": [] });
    for answer in [make(&place, "p", &json!({ "sm_policy": policy })), place.ask("GET", &path("p")).is(200)] {
        let policy = &answer["sm_policy"];
        assert!(!has(policy, "user") && !has(policy, "sm_policy") && !has(policy, "policy"), "{policy}");
        assert_eq!((&policy["creation"], &policy["deletion"]), (&both()["creation"], &both()["deletion"]));
    }
    let file = fs::read_to_string(place.path("state/policies.d/p.toml")).expect("a file");
    assert!(!file.contains("backend_roles"), "{file}");
}

// ---- RestGetSnapshotManagementIT, RestDeleteSnapshotManagementIT, with nothing there yet.

#[test]
fn before_the_first_policy_lists_are_empty_and_names_are_not_found() {
    let place = place();
    for list in [BASE.to_string(), format!("{BASE}/"), format!("{BASE}?from=0&size=20&queryString=*")] {
        assert_eq!(place.ask("GET", &list).is(200), json!({ "policies": [], "total_policies": 0 }));
    }
    // There a 404 as long as the store has never been made.
    for names in ["nobody", "*", "a,b"] {
        assert_eq!(explained(&place, names), [json!(null); 0], "{names}");
    }
    for (method, below) in [("GET", ""), ("DELETE", ""), ("POST", "/_start"), ("POST", "/_stop")] {
        refused(place.ask(method, &format!("{}{below}", path("nobody"))), 404, "not found");
    }
}

// ---- RestExplainSnapshotManagementIT.

#[test]
fn what_is_explained_are_the_next_fires_and_the_policys_own_numbers() {
    let place = place();
    let next = |expression: &str, timezone: &str| {
        let schedule = Schedule::cron(expression, zone::load(timezone).expect("a zone")).expect("a schedule");
        schedule.next_after(clock::now().wall).expect("a next one").millis()
    };
    let fires = || (next("0 8 * * *", "UTC"), next("30 1 * * *", "America/Los_Angeles"));
    let made = make(&place, "p", &both());
    let before = fires();
    let shown = explained(&place, "p").remove(0);
    let told = ["creation", "deletion"].map(|workflow| shown[workflow]["trigger"]["time"].as_i64().expect("a time"));
    // One of them may come while this is asked.
    assert!([before, fires()].contains(&(told[0], told[1])), "{before:?}: {shown}");
    assert_eq!((&shown["policy_seq_no"], &shown["policy_primary_term"]), (&made["_seq_no"], &made["_primary_term"]));

    // A change is explained with its numbers, and a part that it drops is explained no more.
    for (policy, creates, deletes) in [(short(), true, false), (deleting(), false, true), (both(), true, true)] {
        let written = rewrite(&place, "p", &policy);
        let shown = explained(&place, "p").remove(0);
        assert_eq!((has(&shown, "creation"), has(&shown, "deletion")), (creates, deletes), "{shown}");
        assert_eq!(
            (&shown["policy_seq_no"], &shown["policy_primary_term"]),
            (&written["_seq_no"], &written["_primary_term"])
        );
        assert_eq!(shown["enabled"], true);
    }
}

#[test]
fn policies_are_explained_by_a_list_by_no_name_and_by_a_pattern() {
    let place = place();
    for name in ["daily-a", "daily-b", "weekly"] {
        make(&place, name, &both());
    }
    make(&place, "tidy", &deleting());
    for (names, expected) in [
        ("daily-a,weekly", &["daily-a", "weekly"][..]),
        ("weekly,daily-a,nobody", &["daily-a", "weekly"]),
        ("", &["daily-a", "daily-b", "tidy", "weekly"]),
        ("*", &["daily-a", "daily-b", "tidy", "weekly"]),
        ("daily*", &["daily-a", "daily-b"]),
        ("daily-%3F,tidy", &["daily-a", "daily-b", "tidy"]),
        ("nobody", &[]),
        ("no*", &[]),
    ] {
        let shown = explained(&place, names);
        let mut told: Vec<&str> = shown.iter().map(|policy| policy["name"].as_str().expect("a name")).collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{names}");
        for policy in &shown {
            let creates = policy["name"] != "tidy";
            let has_all = has(policy, "creation") == creates && has(policy, "deletion") && policy["enabled"] == true;
            assert!(has_all && policy["deletion"]["current_state"] == "DELETION_START", "{policy}");
        }
    }
}

// ---- RestStartSnapshotManagementIT, RestStopSnapshotManagementIT.

#[test]
fn start_and_stop_change_the_flag_once_and_need_a_name_that_is_known() {
    let place = place();
    make(&place, "p", &both());
    let read = || place.ask("GET", &path("p")).is(200);
    for (word, is_enabled, writes) in
        [("_start", true, 0), ("_stop", false, 1), ("_stop", false, 0), ("_start", true, 1), ("_start", true, 0)]
    {
        let before = read();
        let answer = place.ask("POST", &format!("{}/{word}", path("p"))).is(200);
        assert_eq!(answer, json!({ "acknowledged": true }), "{word}");
        let after = read();
        assert_eq!(after["sm_policy"]["enabled"], is_enabled, "{word}");
        assert_eq!(after["sm_policy"]["enabled_time"].is_i64(), is_enabled, "{word}");
        let raised = |key: &str| after[key].as_u64().zip(before[key].as_u64()).map(|(after, before)| after - before);
        assert_eq!((raised("_version"), after == before), (Some(writes), writes == 0), "{word}");
        assert_eq!(explained(&place, "p")[0]["enabled"], is_enabled, "{word}");
    }
    for word in ["_start", "_stop"] {
        assert_eq!(place.ask("POST", &format!("{BASE}//{word}")).status, 400, "{word}");
        refused(place.ask("POST", &format!("{}/{word}", path("nobody"))), 404, "not found");
    }
}

// ---- SMRunnerIT.

/// The driver of the place, which makes nothing before a line comes through a pipe.
fn behind_a_gate(place: &Place) -> fs::File {
    let gate = place.path("store/gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo runs").success());
    let driver = fs::read_to_string(place.path("driver.sh")).expect("a driver");
    let gated = driver.replacen("\ncreate)\n", "\ncreate)\n  IFS= read -r go <\"$store/gate\"\n", 1);
    assert_ne!(gated, driver);
    place.write("driver.sh", &gated);
    // For both, so that neither waits for the other to open it.
    fs::File::options().read(true).write(true).open(gate).expect("a pipe")
}

#[test]
fn a_creation_on_schedule_is_explained_from_its_trigger_to_its_success() {
    let mut place = Place::bare();
    place.write("store/calm", "");
    let mut gate = behind_a_gate(&place);
    place.start();
    place.until("an answer", |_| Some(()));
    let mut policy = short();
    policy["creation"]["schedule"] = json!({ "cron": { "expression": "0 0 29 2 *", "timezone": "UTC" } });
    make(&place, "p", &policy);
    let creation = |place: &Place| explained(place, "p").remove(0)["creation"].take();
    let waiting = creation(&place);
    assert_eq!(waiting["current_state"], "CREATION_START");
    assert!(waiting["trigger"]["time"].as_i64() > Some(clock::now().wall.millis()), "{waiting}");
    assert!(!has(&waiting, "started") && !has(&waiting, "latest_execution") && !has(&waiting, "retry"), "{waiting}");

    policy["creation"]["schedule"] = json!({ "interval": { "every": "1s" } });
    rewrite(&place, "p", &policy);
    let making = place.until("a creation under way", |_| {
        Some(creation(&place)).filter(|creation| creation["current_state"] == "CREATING")
    });
    let name = making["started"][0].as_str().expect("a name").to_owned();
    let run = &making["latest_execution"];
    assert_eq!((making["started"].as_array().map(Vec::len), &run["status"]), (Some(1), &json!("IN_PROGRESS")));
    assert!(name.starts_with("p-") && run["start_time"].is_i64() && run["end_time"].is_null(), "{making}");
    assert!(run["info"]["message"].as_str().is_some_and(|message| message.contains(&name)), "{making}");

    // Stopped, it is followed to its end, and no other begins.
    place.ask("POST", &format!("{}/_stop", path("p"))).is(200);
    gate.write_all(b"go\n").expect("written");
    let made = place.until("its end", |_| {
        Some(creation(&place)).filter(|creation| creation["latest_execution"]["end_time"].is_i64())
    });
    let run = &made["latest_execution"];
    assert_eq!((&made["current_state"], &run["status"]), (&json!("CREATION_START"), &json!("SUCCESS")));
    assert!(!has(&made, "started") && !has(&made, "retry"), "{made}");
    assert!(run["end_time"].as_i64() >= run["start_time"].as_i64(), "{made}");
    assert!(run["info"]["message"].as_str().is_some_and(|message| message.contains(&name)), "{made}");
    assert_eq!(place.account(), [("made".to_string(), name)]);
}

/// There the pattern is enough; here the policy has to adopt what it may delete.
#[test]
fn of_four_snapshots_of_another_three_go_once_they_are_adopted_and_not_before() {
    let mut place = Place::bare();
    place.add_wiki("words\n");
    let other = "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"\n[snapshot_config]\nrepository = \"local\"\n\
                 paths = [\"wiki\"]\n";
    place.write("policies.d/external.toml", other);
    place.start();
    place.until("the policy", |body| body["policies"].as_array().filter(|all| all.len() == 1).map(|_| ()));
    for _ in 0..4 {
        done(&place, &["policy", "run", "external", "--wait"]);
    }
    fs::remove_file(place.path("policies.d/external.toml")).expect("there");
    place.until("it to go", |body| body["policies"].as_array().filter(|all| all.is_empty()).map(|_| ()));

    let mut policy = deleting();
    policy["deletion"]["condition"] = json!({ "max_age": "1ms", "min_count": 1 });
    policy["snapshot_config"] = json!({ "repository": "local", "paths": [place.path("wiki")] });
    make(&place, "tidy", &policy);
    let listed = |words: &[&str]| {
        let body: Value = serde_json::from_str(&done(&place, words)).expect("JSON");
        let snapshots = body["policies"][0]["snapshots"].as_array().or(body["snapshots"].as_array()).expect("a list");
        let mut named: Vec<(i64, String)> = snapshots
            .iter()
            .map(|one| (one["time"].as_i64().unwrap_or_default(), one["name"].as_str().expect("a name").to_owned()))
            .collect();
        named.sort();
        named.into_iter().map(|(_, name)| name).collect::<Vec<String>>()
    };
    let run = || {
        done(&place, &["policy", "run", "tidy", "--deletion", "--wait"]);
        let shown = explained(&place, "tidy").remove(0);
        assert!(!has(&shown, "creation") && !has(&shown["deletion"], "started"), "{shown}");
        let latest = &shown["deletion"]["latest_execution"];
        assert_eq!(
            (&shown["deletion"]["current_state"], &latest["status"]),
            (&json!("DELETION_START"), &json!("SUCCESS"))
        );
        latest["info"]["message"].as_str().expect("a message").to_owned()
    };
    assert_eq!(run(), "nothing to delete");
    let orphans = listed(&["--json", "snapshots", "--orphans"]);
    assert_eq!(orphans.len(), 4);

    let adopt: Vec<&str> = ["adopt"].into_iter().chain(orphans.iter().map(String::as_str)).collect();
    done(&place, &[&adopt[..], &["--policy", "tidy", "--yes"]].concat());
    assert_eq!(listed(&["--json", "snapshots", "tidy"]).len(), 4);
    assert_eq!(run(), "deleted 3 snapshots");
    assert_eq!(listed(&["--json", "snapshots", "tidy"]), orphans[3..]);
    assert_eq!(place.stop(), Some(0));
}
