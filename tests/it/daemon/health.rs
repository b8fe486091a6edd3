//! How it is, for monitoring: asked of the daemon, and of the journal where no daemon is there.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::place::Place;

const POLICY: &str = "[creation]\nstale_after = \"2d\"\n[creation.schedule.cron]\nexpression = \"0 0 * * *\"\n\
                      [snapshot_config]\nrepository = \"store\"\n";

/// Returns the exit code, and what was said.
fn health(place: &Place, names: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = place.command(&["health"]).args(names).output().expect("the command runs");
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    (status.code(), String::from_utf8_lossy(&stdout).into_owned())
}

#[test]
fn monitoring_is_told_in_a_line_and_a_code_with_a_daemon_and_without() {
    let mut place = Place::bare();
    let (code, said) = health(&place, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("SNAPKEEP UNKNOWN: failed to reach the daemon at "), "{said}");

    place.write("policies.d/db.toml", POLICY);
    place.up();
    place.until("the policy", |body| body["policies"].as_array()?.first().map(|_| ()));
    let (code, said) = health(&place, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("SNAPKEEP WARNING: db: no good snapshot yet, expected within 2d"), "{said}");
    assert!(place.command(&["policy", "run", "db"]).status().expect("it runs").success());
    place.until("a snapshot", |body| body["policies"][0]["last_good"].as_object().map(|_| ()));
    let fresh = |names: &[&str]| {
        let (code, said) = health(&place, names);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("SNAPKEEP OK: 1 policy has a fresh snapshot | policies=1 "), "{said}");
        let measured = said.split_whitespace().find(|word| word.starts_with("'db'=")).expect("its age");
        assert!(measured.ends_with("s;129600;172800;0"), "{said}");
    };
    fresh(&[]);
    fresh(&["d*"]);
    let (code, said) = health(&place, &["db", "bd"]);
    assert_eq!((code, said.starts_with("SNAPKEEP UNKNOWN: there is no policy `bd` |")), (Some(3), true), "{said}");
    for path in ["/health/live", "/health/ready", "/health"] {
        assert_eq!(place.ask("GET", path).is(200)["status"], "ok", "{path}");
    }

    // A file that is no good concerns whoever looks at everything.
    place.write("policies.d/db.toml", &POLICY.replace("2d", "two days"));
    place.until("the problem", |body| body["policies"][0]["problems"].as_array()?.first().map(|_| ()));
    let (code, said) = health(&place, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("db.toml: "), "{said}");
    fresh(&["db"]);

    // Without a daemon nothing is made, and what it promised last is what counts.
    place.kill();
    let (code, said) = health(&place, &["db"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("SNAPKEEP WARNING: failed to reach the daemon at ") && said.contains("'db'="), "{said}");
    let output = place.command(&["--json", "health", "db"]).output().expect("it runs");
    let body: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&body["policies"][0]["status"], &body["daemon"]["status"]), (&"ok".into(), &"warning".into()));
    let (code, said) = health(&place, &["bd"]);
    assert_eq!(code, Some(3), "{said}");

    // Nobody knows what it promised whose file is gone; of a journal that cannot be read nothing is known.
    fs::remove_file(place.path("policies.d/db.toml")).expect("there");
    let (code, said) = health(&place, &[]);
    assert_eq!((code, said.starts_with("SNAPKEEP UNKNOWN: db: nobody can tell")), (Some(3), true), "{said}");
    place.write("state/journal.db", "no journal");
    let (code, said) = health(&place, &[]);
    assert_eq!((code, said.starts_with("SNAPKEEP UNKNOWN: ")), (Some(3), true), "{said}");
}
