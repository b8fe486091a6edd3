//! Callers over the network, by their tokens: on real sockets, with a view and a clock made by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use snapkeep::engine::event::{Command, Done, Event, TokenRecord, What};
use snapkeep::engine::view::View;
use snapkeep::http::{Api, Limits, Listener, Socket, routes, serve_all};
use snapkeep::lifecycle::role::Role;
use snapkeep::lifecycle::time::{Moment, Timestamp};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::asked;
use crate::http::{TRIGGER as NOW, moment, view};
use crate::support::skips::not_tested;
use crate::support::wait::PATIENCE;

fn standing() -> Moment {
    moment(NOW)
}

/// Returns the text of a token of ours, and what a journal knows of it.
fn token(name: &str, role: Role, expires_at: Option<i64>) -> (String, TokenRecord) {
    let hex: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    let (id, secret) = (&hex[..12], format!("canary_-{}", &hex[12..47]));
    let text = format!("snapkeep_{id}_{secret}");
    let record = TokenRecord {
        id: id.into(),
        name: name.into(),
        role,
        hash: Sha256::digest(&text).into(),
        created_at: Timestamp::EPOCH,
        created_by: "uid:0".into(),
        expires_at: expires_at.map(Timestamp::from_millis),
        last_used_at: None,
    };
    (text, record)
}

fn know(view: &View, records: &[&TokenRecord]) {
    view.set_tokens(Arc::new(records.iter().map(|record| (record.id.clone(), (*record).clone())).collect()));
}

/// A daemon without an engine that listens on a socket and an address.
struct Door {
    view: Arc<View>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    /// Who asked the engine what, but for the uses of tokens, which are counted apart.
    commands: Receiver<(Box<str>, What)>,
    uses: Receiver<Box<str>>,
    /// It ends when this goes.
    _ending: oneshot::Sender<()>,
    runtime: Runtime,
}

impl Door {
    fn open(view: View, clock: fn() -> Moment, limits: Limits) -> Door {
        let folder = tempfile::tempdir().expect("a directory");
        let view = Arc::new(view);
        let (inbox, events) = sync_channel(1_000);
        let ((asked, commands), (used, uses)) = (sync_channel(10_000), sync_channel(10_000));
        std::thread::spawn(move || {
            while let Ok(event) = events.recv() {
                match event {
                    Event::Command(Command { what: What::UseToken { id }, .. }) => used.send(id).expect("room"),
                    // That something was refused is written down.
                    Event::Command(Command { what: What::Refused { .. }, reply, .. }) => {
                        let _ = reply.send(Ok(Done::Acknowledged));
                    }
                    Event::Command(Command { who, what, reply, .. }) => {
                        asked.send((who, what)).expect("room");
                        let _ = reply.send(Ok(Done::Acknowledged));
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
        let api = Api { view: view.clone(), inbox, records: None, upkeep: None, editing: None, clock };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("one");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("bound");
        let address = listener.local_addr().expect("bound");
        let socket = {
            let _inside = runtime.enter();
            Socket::bind(&folder.path().join("api.sock")).expect("bound")
        };
        let (ending, ended) = oneshot::channel();
        let listeners = vec![Listener::Socket(socket), Listener::Address { listener, tls: None }];
        runtime.spawn(serve_all(listeners, api, limits, async {
            let _: Result<(), _> = ended.await;
        }));
        Door { view, address, folder, commands, uses, _ending: ending, runtime }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    fn ask(&self, method: &str, path: &str, authorization: Option<&str>) -> Answer {
        ask(&mut self.connect(), method, path, authorization)
    }

    fn health(&self, authorization: &str) -> u16 {
        self.ask("GET", "/v1/policies", Some(authorization)).status
    }

    fn at_the_socket(&self) -> Answer {
        let mut stream = UnixStream::connect(self.folder.path().join("api.sock")).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        ask(&mut stream, "GET", "/v1/policies", None)
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// Asks over a connection of its own.
pub fn ask(stream: &mut (impl Read + Write), method: &str, path: &str, authorization: Option<&str>) -> Answer {
    let authorization = authorization.map(|value| format!("authorization: {value}\r\n")).unwrap_or_default();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}content-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("written");
    read(stream)
}

pub fn read(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn unhurried() -> Limits {
    Limits { rate: 10_000, ..Limits::default() }
}

#[test]
fn no_route_answers_a_token_whose_role_does_not_allow_it() {
    static AT: AtomicI64 = AtomicI64::new(NOW);
    fn clock() -> Moment {
        moment(AT.load(Ordering::SeqCst))
    }
    let door = Door::open(view(&["db"]), clock, unhurried());
    let tokens = Role::ALL.map(|role| (role, token(role.word(), role, None)));
    know(&door.view, &tokens.each_ref().map(|(_, (_, record))| record));
    let mut reached = Vec::new();
    for route in routes() {
        let path = asked(&route);
        let nobody = door.ask(route.method.as_str(), &path, None);
        let way = format!("{} {}", route.method, route.path);
        assert_eq!(nobody.status, 401, "{way} without a token");
        // The failures of one minute are not those of the next.
        AT.fetch_add(61_000, Ordering::SeqCst);
        assert_eq!(door.commands.try_iter().count(), 0, "{way} without a token");
        for (role, (text, _)) in &tokens {
            let answer = door.ask(route.method.as_str(), &path, Some(&format!("Bearer {text}")));
            let told = super::code(&answer.json());
            if *role >= route.role {
                assert!(![401, 403, 429].contains(&answer.status), "{way} as {role}: {} {told}", answer.status);
                reached.extend(door.commands.try_iter());
            } else {
                assert_eq!((answer.status, &*told), (403, "role_too_low"), "{way} as {role}");
                assert_eq!(door.commands.try_iter().count(), 0, "{way} as {role} came through");
            }
        }
    }
    assert!(reached.len() > 10, "the allowed ones come through: {reached:?}");
    let missing = door.ask("GET", "/v1/nothing", Some(&format!("Bearer {}", tokens[0].1.0)));
    assert_eq!(missing.status, 404);
}

#[test]
fn a_token_lets_in_in_every_form_until_it_is_removed_or_over() {
    static AT: AtomicI64 = AtomicI64::new(NOW);
    fn clock() -> Moment {
        moment(AT.load(Ordering::SeqCst))
    }
    let door = Door::open(view(&["db"]), clock, unhurried());
    let (text, record) = token("grafana", Role::Viewer, Some(NOW + 600_000));
    let (other, other_record) = token("other", Role::Viewer, None);
    know(&door.view, &[&record, &other_record]);
    let forms = [
        format!("Bearer {text}"),
        format!("token={text}"),
        format!("Basic {}", BASE64_STANDARD.encode(format!("admin:{text}"))),
    ];
    for form in &forms {
        assert_eq!(door.health(form), 200, "{form}");
    }
    // Each use is written down, and not each time: what another token's use comes right after was not told.
    let next_use = || door.uses.recv_timeout(PATIENCE).expect("a use is told");
    let mut told = vec![next_use()];
    AT.fetch_add(59_000, Ordering::SeqCst);
    assert_eq!(door.health(&forms[0]), 200);
    assert_eq!(door.health(&format!("Bearer {other}")), 200);
    told.push(next_use());
    AT.fetch_add(2_000, Ordering::SeqCst);
    assert_eq!(door.health(&forms[1]), 200);
    told.push(next_use());
    assert_eq!(told, [record.id.clone(), other_record.id.clone(), record.id.clone()], "one a minute of each");

    // Every wrong character is one too many; each of these is from another minute.
    let wrong = [
        format!("Bearer {}x", &text[..text.len() - 1]),
        format!("Bearer {}", text.replace(&*record.id, &other_record.id)),
        format!("Bearer {text}x"),
        text.clone(),
    ];
    for wrong in &wrong {
        let answer = door.ask("GET", "/health", Some(wrong));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("no_token")), "{wrong}");
        assert_eq!(answer.header("www-authenticate").len(), 2, "{}", answer.head);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
        AT.fetch_add(61_000, Ordering::SeqCst);
    }
    AT.store(NOW + 599_999, Ordering::SeqCst);
    assert_eq!(door.health(&forms[0]), 200);
    AT.store(NOW + 600_000, Ordering::SeqCst);
    assert_eq!(door.health(&forms[0]), 401, "it is over");
    assert_eq!(door.health(&format!("Bearer {other}")), 200);
    know(&door.view, &[&record]);
    assert_eq!(door.health(&format!("Bearer {other}")), 401, "it was removed");
    // OpenSearch's clients are told in their own words.
    let answer = door.ask("GET", "/_plugins/_sm/policies", None);
    assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (401, Some("security_exception")));
    assert!(!answer.header("www-authenticate").is_empty());
}

#[test]
fn the_sixth_failure_waits_and_who_has_a_token_does_not() {
    let door = Door::open(view(&["db"]), standing, unhurried());
    let (text, record) = token("grafana", Role::Viewer, None);
    know(&door.view, &[&record]);
    for _ in 0..5 {
        assert_eq!(door.health("Bearer nonsense"), 401);
    }
    let answer = door.ask("GET", "/health", Some("Bearer nonsense"));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (429, Some("too_many_failures")));
    assert_eq!(answer.header("retry-after"), ["60"]);
    assert_eq!(door.health(&format!("Bearer {text}")), 200);
    assert_eq!(door.at_the_socket().status, 200);
}

#[test]
fn a_caller_over_the_network_asks_at_a_rate_and_the_socket_does_not() {
    let door = Door::open(view(&["db"]), standing, Limits { rate: 5, ..Limits::default() });
    let ((text, record), (other, other_record)) =
        (token("grafana", Role::Viewer, None), token("other", Role::Viewer, None));
    know(&door.view, &[&record, &other_record]);
    for _ in 0..10 {
        assert_eq!(door.health(&format!("Bearer {text}")), 200);
    }
    let answer = door.ask("GET", "/health", Some(&format!("Bearer {text}")));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (429, Some("too_many_requests")));
    assert_eq!(answer.header("retry-after"), ["1"]);
    assert_eq!(door.health(&format!("Bearer {other}")), 200);
    for _ in 0..30 {
        assert_eq!(door.at_the_socket().status, 200);
    }
}

#[test]
fn ten_thousand_connections_leave_the_socket_alone() {
    const WANTED: u64 = 10_000;
    // Whoever has a place keeps it until the test is over.
    let long = Duration::from_secs(3_600);
    let limits = Limits { head_time_max: long, stall_time_max: long, ..unhurried() };
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    // Other tests have files open too, and so has the other end of what is accepted.
    let count = WANTED.min(open_files.saturating_sub(2_000));
    if count < WANTED {
        not_tested(&format!("{WANTED} connections at once: {open_files} open files allow {count}"));
    }
    let places = limits.connections_max as u64;
    if count <= places {
        return;
    }
    let door = Door::open(view(&["db"]), standing, limits);
    let address = door.address;
    let (full, told) = sync_channel(1);
    let connecting = door.runtime.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        for number in 0..count {
            connections.spawn(tokio::net::TcpStream::connect(address));
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        // Held until the test is over; what the kernel does not take waits with it.
        let mut held = Vec::new();
        while let Some(connected) = connections.join_next().await {
            held.push(connected.expect("not cancelled").expect("connected"));
            if held.len() as u64 == places + 1 {
                full.send(()).expect("heard");
            }
        }
        std::future::pending::<()>().await;
    });
    told.recv_timeout(PATIENCE).expect("more are connected than there are places");
    for _ in 0..100 {
        assert_eq!(door.at_the_socket().status, 200);
    }
    connecting.abort();
}

#[test]
fn who_sends_no_head_or_reads_no_answer_gives_the_place_to_the_next() {
    let names: Vec<String> = (0..3_000).map(|number| format!("policy-with-a-long-name-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Long enough for an honest caller on a busy machine, for whom it counts too.
    let soon = Duration::from_secs(2);
    let limits = Limits { connections_max: 1, rate: 10_000, head_time_max: soon, stall_time_max: soon };
    let door = Door::open(view(&names), standing, limits);
    let (text, record) = token("grafana", Role::Viewer, None);
    know(&door.view, &[&record]);
    // The only place is taken by one who says nothing, then by one who says half of it.
    let silent = door.connect();
    assert_eq!(door.health(&format!("Bearer {text}")), 200);
    let mut half = door.connect();
    half.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n").expect("written");
    assert_eq!(door.health(&format!("Bearer {text}")), 200);
    // And by one who asks for megabytes and takes none of them.
    let mut greedy = door.connect();
    let head = format!("GET /v1/explain HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {text}\r\n\r\n");
    for _ in 0..4 {
        greedy.write_all(head.as_bytes()).expect("written");
    }
    assert_eq!(door.health(&format!("Bearer {text}")), 200);
    drop((silent, half, greedy));
}

#[test]
fn the_audit_names_a_token_by_its_name() {
    let door = Door::open(view(&["db"]), standing, unhurried());
    let (text, record) = token("deploy", Role::Operator, None);
    know(&door.view, &[&record]);
    assert_eq!(door.ask("POST", "/v1/policies/db/stop", Some(&format!("token={text}"))).status, 200);
    let asked = door.commands.recv_timeout(PATIENCE);
    assert_eq!(asked, Ok(("token:deploy".into(), What::Stop { policy: "db".into() })));
}
