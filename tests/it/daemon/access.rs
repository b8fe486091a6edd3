//! The program itself on the network: what it refuses at its start, TLS and its certificate, and where a
//! token's text is to be found.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::place::Place;
use crate::access::network::{Answer, ask, read};
use crate::support::skips::not_tested;
use crate::support::wait::PATIENCE;
use crate::support::{files_below, ports};

/// Makes a certificate and its key in a place; tells where that cannot be.
fn certificate(place: &Place, name: &str) -> bool {
    let openssl = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(place.path(&format!("{name}.key")))
        .arg("-out")
        .arg(place.path(&format!("{name}.pem")))
        .stdin(Stdio::null())
        .output();
    let made = openssl.is_ok_and(|output| output.status.success());
    if !made {
        not_tested("TLS of the daemon: needs `openssl` to make certificates");
    }
    made
}

fn put(place: &Place, name: &str) {
    for end in ["pem", "key"] {
        fs::rename(place.path(&format!("{name}.{end}")), place.path(&format!("now.{end}"))).expect("put there");
    }
}

fn set_up(place: &Place, http: &str) {
    place.write("snapkeep.toml", &format!("[log]\nlevel = \"trace\"\n[housekeeping]\nenabled = false\n[http]\n{http}"));
}

const TLS: &str = "[http.tls]\ncertificate = \"now.pem\"\nkey = \"now.key\"\n";

/// Makes a token, and returns what the command prints.
fn token(place: &Place, name: &str, role: &str) -> String {
    let output = place.command(&["token", "add", name, "--role", role]).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).expect("text");
    assert_eq!(told.lines().count(), 1, "the token alone: {told}");
    let token = told.trim_end().to_owned();
    assert!(token.starts_with("snapkeep_") && !String::from_utf8_lossy(&output.stderr).contains(&token), "{token}");
    token
}

/// Asks over TLS and believes one certificate; `None` where it is not the one that is shown.
fn ask_protected(address: SocketAddr, believed: &[u8], authorization: Option<&str>) -> Option<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(believed).expect("PEM")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut tcp = TcpStream::connect(address).expect("connected");
    tcp.set_read_timeout(Some(PATIENCE)).expect("set");
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut tcp) {
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
            return None;
        }
    }
    Some(ask(&mut StreamOwned::new(connection, tcp), "GET", "/v1/policies", authorization))
}

fn problem(body: &Value, words: &str) -> Option<String> {
    let problems = body["daemon"]["problems"].as_array()?;
    let messages = problems.iter().filter_map(|problem| problem["message"].as_str());
    messages.map(str::to_owned).find(|message| message.contains(words))
}

#[test]
fn an_address_that_others_reach_is_refused_without_tls() {
    for (listen, what, expected) in [
        ("listen = \"0.0.0.0:1\"\n", "there is no TLS", 2),
        ("listen = [\"127.0.0.1:1\", \"[::]:1\"]\n", "there is no TLS", 2),
        ("listen = \"localhost:1\"\n", "no address", 2),
        ("listen = \"127.0.0.1:1\"\n[http.tls]\ncertificate = \"now.pem\"\n", "key is missing", 2),
        // It may be renewed at this moment: who starts the daemon tries again.
        ("listen = \"127.0.0.1:1\"\n[http.tls]\ncertificate = \"now.pem\"\nkey = \"now.key\"\n", "certificate", 1),
    ] {
        let mut place = Place::new();
        set_up(&place, listen);
        let (code, said) = place.ends();
        assert_eq!(code, Some(expected), "{listen}: {said}");
        assert!(said.contains(what), "{listen}: {said}");
    }
}

#[test]
fn an_address_that_others_reach_opens_with_the_first_token() {
    let mut place = Place::new();
    if !certificate(&place, "first") {
        return;
    }
    let believed = fs::read(place.path("first.pem")).expect("made");
    put(&place, "first");
    let address = ports::free();
    set_up(&place, &format!("listen = \"0.0.0.0:{}\"\n{TLS}", address.port()));
    place.start();
    let told = place.until("the address to be told of", |body| problem(body, "nobody listens"));
    assert!(told.contains("snapkeep token add"), "{told}");
    assert!(TcpStream::connect(address).is_err(), "somebody listens already");
    let token = token(&place, "grafana", "viewer");
    place.until("the problem to go", |body| problem(body, "nobody listens").is_none().then_some(()));
    let answer = ask_protected(address, &believed, Some(&format!("Bearer {token}"))).expect("believed");
    assert_eq!(answer.status, 200);
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn a_certificate_is_replaced_while_the_daemon_runs_and_a_bad_one_changes_nothing() {
    let mut place = Place::new();
    if !["first", "second", "third"].iter().all(|name| certificate(&place, name)) {
        return;
    }
    let [first, second, third] =
        ["first", "second", "third"].map(|name| fs::read(place.path(&format!("{name}.pem"))).expect("made"));
    put(&place, "first");
    let address = ports::free();
    set_up(&place, &format!("listen = \"{address}\"\n{TLS}"));
    place.up();
    let bearer = format!("Bearer {}", token(&place, "grafana", "viewer"));
    assert_eq!(ask_protected(address, &first, Some(&bearer)).expect("believed").status, 200);
    assert_eq!(ask_protected(address, &first, None).expect("believed").status, 401);
    assert!(ask_protected(address, &second, Some(&bearer)).is_none(), "another certificate");

    // Who speaks no TLS is told so.
    let plain = ask(&mut TcpStream::connect(address).expect("connected"), "GET", "/health", Some(&bearer));
    assert_eq!((plain.status, plain.json()["code"].as_str()), (400, Some("no_tls")), "{}", plain.body);

    put(&place, "second");
    // It is looked for when somebody connects, and not each time.
    place.until("the second certificate", |_| ask_protected(address, &second, Some(&bearer)));
    assert!(ask_protected(address, &first, Some(&bearer)).is_none(), "the first one is gone");

    // A key that is another's: what is there goes on, and the trouble is told until it is over.
    fs::rename(place.path("third.key"), place.path("now.key")).expect("put there");
    let hangup = || {
        let pid = rustix::process::Pid::from_child(place.child.as_ref().expect("a daemon runs"));
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("told");
    };
    hangup();
    let told = place.until("the bad pair to be told of", |body| problem(body, "[http.tls]"));
    assert!(told.contains("do not go together"), "{told}");
    assert_eq!(ask_protected(address, &second, Some(&bearer)).expect("believed").status, 200);
    fs::rename(place.path("third.pem"), place.path("now.pem")).expect("put there");
    hangup();
    place.until("the problem to go", |body| problem(body, "[http.tls]").is_none().then_some(()));
    assert_eq!(ask_protected(address, &third, Some(&bearer)).expect("believed").status, 200);

    // A key that everybody can read is none.
    fs::set_permissions(place.path("now.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
    hangup();
    place.until("the open key to be told of", |body| problem(body, "everybody can read the key"));
    assert_eq!(place.stop(), Some(0));
    let (code, said) = place.ends();
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn a_tokens_text_is_nowhere_but_in_its_makers_answer() {
    let mut place = Place::new();
    let address = ports::free();
    set_up(&place, &format!("listen = \"{address}\"\n"));
    place.up();
    let kept = token(&place, "grafana", "operator");
    let removed = token(&place, "deploy", "admin");
    // Name and id are no secret.
    let secret = |token: &str| token.splitn(3, '_').nth(2).expect("a secret").to_owned();
    let secrets = [secret(&kept), secret(&removed)];
    assert!(secrets.iter().all(|secret| secret.len() == 43), "{secrets:?}");

    let mut seen = String::new();
    let mut get = |path: &str, authorization: &str| {
        let answer = ask(&mut TcpStream::connect(address).expect("connected"), "GET", path, Some(authorization));
        seen.push_str(&answer.head);
        seen.push_str(&answer.body);
        answer.status
    };
    for path in ["/v1/explain", "/v1/audit", "/v1/operations", "/v1/history", "/health"] {
        assert_eq!(get(path, &format!("Bearer {kept}")), 200, "{path}");
    }
    assert_eq!(get("/v1/tokens", &format!("token={kept}")), 403);
    assert_eq!(get("/v1/tokens", &format!("token={removed}")), 200);
    assert_eq!(get(&format!("/v1/policies?name={kept}"), &format!("Bearer {kept}x")), 401);
    let listed = place.command(&["token", "list"]).output().expect("it runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("grafana") && listed.contains("operator") && listed.contains("uid:"), "{listed}");
    let mut gone = place.command(&["token", "remove", "deploy"]);
    assert!(gone.output().expect("it runs").status.success());
    assert_eq!(get("/health", &format!("Bearer {removed}")), 401);
    assert!(place.command(&["journal", "backup"]).output().expect("it runs").status.success());
    assert_eq!(place.stop(), Some(0));

    // It is what it was after a restart, and when it was used is known.
    place.up();
    let again =
        ask(&mut TcpStream::connect(address).expect("connected"), "GET", "/health", Some(&format!("Bearer {kept}")));
    assert_eq!(again.status, 200);
    let list = place.command(&["--json", "token", "list"]).output().expect("it runs");
    let list: Value = serde_json::from_slice(&list.stdout).expect("JSON");
    assert!(list["tokens"].as_array().is_some_and(|tokens| tokens.len() == 1), "{list}");
    assert!(list["tokens"][0]["last_used"].is_i64(), "{list}");
    assert_eq!(place.stop(), Some(0));

    // What is no file, as the socket, has nothing to read.
    let paths = files_below(&place.path("")).into_iter().filter(|path| path.is_file());
    let files: Vec<(String, Vec<u8>)> =
        paths.map(|path| (path.display().to_string(), fs::read(&path).expect("readable"))).collect();
    assert!(files.iter().any(|(name, _)| name.ends_with("journal.db")), "the journal is among them");
    let log = files.iter().find(|(name, _)| name.ends_with("/log")).expect("the log is among them");
    assert!(log.1.len() > 1_000, "it says everything");
    for secret in &secrets {
        assert!(!seen.contains(secret) && !listed.contains(secret), "an answer has it");
        for (name, bytes) in &files {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name} has it");
        }
    }
}

#[test]
fn a_port_that_speaks_tls_says_so_to_who_sends_something_else() {
    let mut place = Place::new();
    if !certificate(&place, "first") {
        return;
    }
    put(&place, "first");
    let address = ports::free();
    set_up(&place, &format!("listen = \"{address}\"\n{TLS}"));
    place.up();
    let mut stream = TcpStream::connect(address).expect("connected");
    std::io::Write::write_all(&mut stream, b"\0\x01nonsense").expect("written");
    assert_eq!(read(&mut stream).status, 400);
    assert_eq!(place.stop(), Some(0));
}
