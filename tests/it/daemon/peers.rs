//! OpenSearch's own clients, and schemathesis, against the real daemon over TCP, with a token as their password.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::place::Place;
use crate::support::skips::not_tested;

#[test]
fn opensearchs_own_clients_work_unchanged() {
    if Command::new("python3").arg("--version").output().is_err() {
        not_tested("the API with OpenSearch's clients, because there is no python3");
        return;
    }
    let mut place = Place::new();
    fs::remove_file(place.path("policies.d/every.toml")).expect("there");
    fs::create_dir(place.path("channels.d")).expect("a folder");
    // What the specification's stories name.
    place.write("channels.d/NC3OpoEBzEoHMX183R3f.toml", "[log]\nlevel = \"error\"\n");
    let store = fs::read_to_string(place.path("repositories.d/store.toml")).expect("a repository");
    for name in ["s3-repo", "other-repo"] {
        place.write(&format!("repositories.d/{name}.toml"), &store);
    }
    // Nobody else takes the port in between, on this machine.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a port").port();
    let settings = fs::read_to_string(place.path("snapkeep.toml")).expect("settings");
    place.write("snapkeep.toml", &format!("{settings}[http]\nlisten = \"127.0.0.1:{port}\"\nrate = 10000\n"));
    place.start();
    place.until("an answer", |_| Some(()));
    let made = place.command(&["token", "add", "peers", "--role", "admin"]).output().expect("the command runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(place.path("token"), &made.stdout).expect("written");
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o600)).expect("permissions");
    let asked = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/opensearch.sh"))
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg(format!("http://127.0.0.1:{port}"))
        .arg(place.path("token"))
        .status()
        .expect("sh starts");
    assert!(asked.success(), "above");
    assert!(place.explain().is_some(), "the daemon is well after all of it");
}
