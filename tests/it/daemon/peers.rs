//! OpenSearch's own clients, and schemathesis, against the real daemon over TCP, with a token as their password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::place::Place;
use crate::support::ports;
use crate::support::skips::not_tested;

/// A set-up with what the specification's stories name, listening on a port of this machine, the daemon on it, and
/// an admin's token in a file.
fn listening() -> (Place, String) {
    let mut place = Place::bare();
    place.add_channel("NC3OpoEBzEoHMX183R3f");
    let store = fs::read_to_string(place.path("repositories.d/store.toml")).expect("a repository");
    for name in ["s3-repo", "other-repo"] {
        place.write(&format!("repositories.d/{name}.toml"), &store);
    }
    let address = ports::free();
    let settings = fs::read_to_string(place.path("snapkeep.toml")).expect("settings");
    place.write("snapkeep.toml", &format!("{settings}[http]\nlisten = \"{address}\"\nrate = 10000\n"));
    place.up();
    let made = place.command(&["token", "add", "peers", "--role", "admin"]).output().expect("the command runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(place.path("token"), &made.stdout).expect("written");
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o600)).expect("permissions");
    (place, format!("http://{address}"))
}

#[test]
fn import_reads_what_our_own_api_was_sent() {
    let (place, url) = listening();
    let policy = |limit: &str| {
        json!({
            "description": "Said to the API",
            "enabled": false,
            "creation": { "schedule": { "cron": { "expression": "0 8 * * *", "timezone": "UTC" } }, "time_limit": limit },
            "snapshot_config": { "repository": "s3-repo", "indices": ["a", "b"], "partial": "true" },
            "notification": { "channel": { "id": "NC3OpoEBzEoHMX183R3f" } },
        })
    };
    // More than a page of them.
    for number in 0..120 {
        let made =
            place.send("POST", &format!("/_plugins/_sm/policies/p{number}"), &policy(&format!("{}m", number + 60)));
        made.is(201);
    }
    fs::create_dir_all(place.path("other/policies.d")).expect("a folder");
    for part in ["repositories.d", "channels.d"] {
        fs::rename(place.path(part), place.path(&format!("other/{part}"))).expect("moved");
        std::os::unix::fs::symlink(place.path(&format!("other/{part}")), place.path(part)).expect("linked");
    }
    place.write("other/snapkeep.toml", "");
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapkeep"));
        command.arg("--config").arg(place.path("other/snapkeep.toml")).args(words).stdin(Stdio::null());
        let output = command.output().expect("the command runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let token = place.path("token").display().to_string();
    let told = run(&["policy", "import", &url, "--token-file", &token]);
    assert!(told.contains("p0") && told.contains("p119"), "{told}");
    let exported: Value = serde_json::from_str(&run(&["policy", "export"])).expect("JSON");
    let policies = exported["policies"].as_array().expect("a list");
    assert_eq!(policies.len(), 120);
    for entry in policies {
        let mut found = entry["sm_policy"].clone();
        let name = entry["_id"].as_str().and_then(|id| id.strip_suffix("-sm-policy")).expect("an id");
        let number: usize = name[1..].parse().expect("a number");
        found.as_object_mut().expect("a policy").remove("name");
        assert_eq!(found, policy(&format!("{}m", number + 60)));
    }
}

#[test]
fn opensearchs_own_clients_work_unchanged() {
    if Command::new("python3").arg("--version").output().is_err() {
        not_tested("the API with OpenSearch's clients, because there is no python3");
        return;
    }
    let (place, url) = listening();
    let asked = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/opensearch.sh"))
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg(url)
        .arg(place.path("token"))
        .status()
        .expect("sh starts");
    assert!(asked.success(), "above");
    assert!(place.explain().is_some(), "the daemon is well after all of it");
}
