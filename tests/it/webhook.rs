//! Webhooks and pings against servers of the test's own: what they are sent, what is made of what they answer, and
//! that no secret gets out. The receiver of pings is one of ours, and no healthchecks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use snapkeep::config::reader::Findings;
use snapkeep::config::sources::Sources;
use snapkeep::lifecycle::channel::{Kind, MaybeSecret, SecretSource};
use snapkeep::lifecycle::notice::{Event, Facts};
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::notify::{self, Again, Channel, Conversation, Message, Trouble};
use snapkeep::roster::Loader;

use crate::support::ports;
use crate::support::skips::not_tested;
use crate::support::tls::{config, fixture};

/// More than any test asks one receiver.
const QUESTIONS_MAX: usize = 32;
/// More than the kernel keeps of a connection, and than is read of an answer.
const ENDLESS_BYTES: usize = 256 << 20;

/// What a receiver was told.
#[derive(Clone, Debug)]
pub struct Told {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A server of the test's own, which answers as it is told to and notes what it was asked.
pub struct Receiver {
    pub port: u16,
    told: Arc<Mutex<Vec<Told>>>,
}

/// What a receiver answers: the bytes of it.
type Answer = dyn Fn(&Told) -> Option<Vec<u8>> + Send;

impl Receiver {
    pub fn new(is_tls: bool, answer: impl Fn(&Told) -> Option<Vec<u8>> + Send + 'static) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = told.clone();
        // Whoever asks no more leaves it waiting; it ends with the tests.
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for _ in 0..QUESTIONS_MAX {
                let Ok((stream, _)) = listener.accept() else { return };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _ = stream.set_write_timeout(Some(Duration::from_secs(60)));
                kept.extend(stream.try_clone().ok().filter(|_| {
                    if is_tls {
                        let connection = rustls::ServerConnection::new(config()).expect("a connection");
                        serve(rustls::StreamOwned::new(connection, stream), &answer, &noted)
                    } else {
                        serve(stream, &answer, &noted)
                    }
                }));
            }
        });
        Receiver { port, told }
    }

    pub fn saying(status: &'static str) -> Receiver {
        Receiver::new(false, move |_| Some(said(status, "", "")))
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().expect("whole").clone()
    }

    fn only(&self) -> Told {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }
}

fn said(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Returns whether the connection is to stay open, without an answer.
fn serve(stream: impl Read + Write, answer: &Answer, noted: &Mutex<Vec<Told>>) -> bool {
    let mut stream = BufReader::new(stream);
    let head = crate::support::tls::head(&mut stream);
    let mut lines = head.lines();
    let Some(line) = lines.next().map(str::to_owned) else { return false };
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).is_err() {
        return false;
    }
    let told = Told { line, headers, body: String::from_utf8(body).expect("text") };
    noted.lock().expect("whole").push(told.clone());
    let Some(answer) = answer(&told) else { return true };
    let _ = stream.get_mut().write_all(&answer);
    let _ = stream.get_mut().flush();
    false
}

/// Reads a channel's file as the daemon does. `base` is where secrets are.
pub fn channel(text: &str, base: &Path) -> (Kind, Arc<dyn Channel>) {
    let mut findings = Findings::new(Path::new("channels.d/x.toml"), text);
    let channel = snapkeep::config::channel::read(&mut findings, base);
    let problems: Vec<String> = findings.into_problems().iter().map(ToString::to_string).collect();
    let channel = channel.unwrap_or_else(|| panic!("{problems:#?}"));
    (channel.kind.clone(), notify::open(&channel.kind))
}

/// The text of a webhook to a port of this machine, which it allows.
fn webhook_at(port: u16, more: &str) -> String {
    format!("[webhook]\nurl = \"http://127.0.0.1:{port}/hook\"\nallow_hosts = [\"127.0.0.1\"]\n{more}")
}

pub fn message(event: Event) -> Message {
    Message {
        key: "0f3a-failure-chat".into(),
        installation: "8a5c".into(),
        host: "backup.example.net".into(),
        policy: Some("database".into()),
        run_id: Some("0f3a".into()),
        event,
        subject: "database: \"creation\" failed \\".into(),
        facts: Facts {
            workflow: Some("creation".into()),
            snapshot: None,
            what: "it said: \"no\"\n\tand C:\\new".into(),
            why: Some("nobody knows\r\n\u{1f4be}".into()),
            keeps: None,
            next: Some("again at 03:00".into()),
            look: Some("snapkeep explain database".into()),
        },
        at: Timestamp::from_seconds(1_772_330_400),
        count: 2,
        latest_at: Timestamp::from_seconds(1_772_334_000),
        attempt: 3,
        sent_at: Timestamp::from_seconds(1_772_334_060),
    }
}

pub fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    path
}

async fn deliver(text: &str) -> (Result<String, Trouble>, Vec<String>) {
    let (_, sender) = channel(text, Path::new("/nowhere"));
    let mut conversation = Conversation::default();
    let result = sender.deliver(&message(Event::Failure), &mut conversation).await;
    (result, conversation.lines().to_vec())
}

async fn trouble(text: &str) -> Trouble {
    deliver(text).await.0.expect_err("trouble")
}

#[tokio::test]
async fn a_webhook_without_a_body_of_its_own_sends_what_the_manual_describes() {
    let receiver = Receiver::saying("204 No Content");
    let (result, lines) = deliver(&webhook_at(receiver.port, "")).await;
    assert_eq!(result.as_deref(), Ok("127.0.0.1 answers 204 No Content"), "{lines:#?}");
    let told = receiver.only();
    assert_eq!(told.line, "POST /hook HTTP/1.1");
    assert_eq!(told.headers["content-type"], "application/json");
    assert_eq!(told.headers["host"], format!("127.0.0.1:{}", receiver.port));
    assert!(told.headers["user-agent"].starts_with("snapkeep/"));
    assert!(!told.headers.contains_key("webhook-signature"), "{told:?}");
    let body: Value = serde_json::from_str(&told.body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "id": "0f3a-failure-chat", "event": "failure", "severity": "error", "policy": "database", "run_id": "0f3a",
            "workflow": "creation", "snapshot": null, "subject": "database: \"creation\" failed \\",
            "what": "it said: \"no\"\n\tand C:\\new", "why": "nobody knows\r\n\u{1f4be}", "keeps": null,
            "next": "again at 03:00", "look": "snapkeep explain database", "at": "2026-03-01T02:00:00Z",
            "latest_at": "2026-03-01T03:00:00Z", "count": 2, "attempt": 3, "host": "backup.example.net",
            "installation": "8a5c", "text": message(Event::Failure).text(),
        })
    );
    assert!(lines.iter().any(|line| line == "> POST /hook HTTP/1.1"), "{lines:#?}");
    assert!(lines.iter().any(|line| line == "< HTTP/1.1 204 No Content"), "{lines:#?}");
}

#[tokio::test]
async fn a_body_and_headers_are_what_the_file_says() {
    let receiver = Receiver::saying("200 OK");
    let more = "method = \"PUT\"\ncontent_type = \"text/plain; charset=utf-8\"\nbody = \"{{ event }}: {{ what }}\"\n\
                [webhook.headers]\nX-Title = \"{{ subject }} \u{fc}\"\nAccept = \"text/x-own\"\n";
    let (result, lines) = deliver(&webhook_at(receiver.port, more)).await;
    assert!(result.is_ok(), "{lines:#?}");
    let told = receiver.only();
    assert_eq!(told.line, "PUT /hook HTTP/1.1");
    assert_eq!(told.body, "failure: it said: \"no\"\n\tand C:\\new");
    assert_eq!(told.headers["x-title"], "database: \"creation\" failed \\ \u{fc}");
    assert_eq!(told.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(told.headers["accept"], "text/x-own");
}

#[tokio::test]
async fn a_header_that_comes_to_several_lines_is_not_sent() {
    let receiver = Receiver::saying("200 OK");
    let (_, sender) =
        channel(&webhook_at(receiver.port, "[webhook.headers]\nX-Title = \"{{ subject }}\"\n"), Path::new("/"));
    let mut message = message(Event::Failure);
    message.subject = "a\r\nX-Injected: yes".into();
    let error = sender.deliver(&message, &mut Conversation::default()).await.expect_err("trouble");
    assert_eq!(error, Trouble::changed("header x-title comes to more than a line"));
    assert_eq!(receiver.told().len(), 0);
}

#[tokio::test]
async fn nobody_follows_a_redirect() {
    let other = Receiver::saying("200 OK");
    let to = format!("location: http://127.0.0.1:{}/\r\n", other.port);
    let receiver = Receiver::new(false, move |_| Some(said("307 Temporary Redirect", &to, "")));
    let error = trouble(&webhook_at(receiver.port, "")).await;
    assert_eq!(error.again, Again::Changed);
    assert_eq!(error.why, "127.0.0.1 answers 307 Temporary Redirect and sends us to 127.0.0.1; nobody is followed");
    assert_eq!((receiver.told().len(), other.told().len()), (1, 0));
}

#[tokio::test]
async fn what_a_server_says_decides_when_it_is_told_again() {
    for (status, headers, again) in [
        ("429 Too Many Requests", "retry-after: 7\r\n", Again::After(Duration::from_secs(7))),
        // A minute after what the message says is the time.
        (
            "503 Service Unavailable",
            "retry-after: Sun, 01 Mar 2026 03:02:00 GMT\r\n",
            Again::After(Duration::from_secs(60)),
        ),
        ("503 Service Unavailable", "", Again::Later),
        ("500 Internal Server Error", "", Again::Later),
        ("404 Not Found", "", Again::Changed),
        ("401 Unauthorized", "", Again::Changed),
    ] {
        let receiver = Receiver::new(false, move |_| Some(said(status, headers, "sorry\nand more")));
        let (result, lines) = deliver(&webhook_at(receiver.port, "")).await;
        let error = result.expect_err("trouble");
        assert_eq!(error, Trouble { why: format!("127.0.0.1 answers {status}"), again, partly: false });
        assert!(lines.contains(&"< sorry".to_owned()) && !lines.contains(&"< and more".to_owned()), "{lines:#?}");
    }
}

/// The worker lets go of the connection while the test waits to see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_that_does_not_end_is_read_to_its_bound() {
    let (wrote, until) = std::sync::mpsc::channel();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody");
        let _ = stream.set_write_timeout(Some(Duration::from_secs(60)));
        let _ = crate::support::tls::head(&mut BufReader::new(stream.try_clone().expect("another handle")));
        let mut written = 0;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while written < ENDLESS_BYTES {
            match stream.write(&[b'x'; 1 << 16]) {
                Ok(bytes) => written += bytes,
                Err(_) => break,
            }
        }
        let _ = wrote.send(written);
    });
    let (result, lines) = deliver(&webhook_at(port, "")).await;
    assert_eq!(result.as_deref(), Ok("127.0.0.1 answers 200 OK"));
    assert!(lines.iter().all(|line| line.len() <= 1_000), "{lines:#?}");
    let written = until.recv_timeout(Duration::from_secs(60)).expect("it ends");
    assert!(written < ENDLESS_BYTES, "all of it was taken");
}

#[tokio::test]
async fn a_server_that_says_nothing_has_its_time() {
    let receiver = Receiver::new(false, |_| None);
    let error = trouble(&webhook_at(receiver.port, "time_limit = \"300ms\"\n")).await;
    assert_eq!(error, Trouble::later("127.0.0.1 did not answer within 300ms"));
    assert_eq!(receiver.told().len(), 1);
}

#[tokio::test]
async fn a_server_that_took_it_and_holds_its_answer_open_has_taken_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (keep, kept) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody");
        let _ = crate::support::tls::head(&mut BufReader::new(stream.try_clone().expect("another handle")));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun");
        let _ = keep.send(stream);
    });
    let (result, lines) = deliver(&webhook_at(port, "time_limit = \"2s\"\n")).await;
    assert_eq!(result.as_deref(), Ok("127.0.0.1 answers 200 OK"), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("< begun"), "{lines:#?}");
    drop(kept.recv().expect("open all the time"));
}

#[tokio::test]
async fn a_server_that_is_not_there_or_goes_is_tried_again() {
    let nobody = ports::free();
    let error = trouble(&webhook_at(nobody.port(), "")).await;
    assert_eq!(error.again, Again::Later);
    assert!(error.why.starts_with("127.0.0.1 cannot be reached: "), "{error:?}");
    for answer in [&b""[..], b"HTTP/1.1 200", b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let receiver = Receiver::new(false, move |_| Some(answer.to_vec()));
        let error = trouble(&webhook_at(receiver.port, "")).await;
        assert_eq!(error.again, Again::Later, "{error:?}");
        assert!(error.why.starts_with("127.0.0.1 broke off: "), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_inside_is_not_asked_unless_the_file_allows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::new(true, |_| Some(said("200 OK", "", "")));
    let mut asked = 0;
    for (host, allowed, is_asked) in [
        ("127.0.0.1", "", false),
        ("localhost", "", false),
        ("127.0.0.1", "allow_hosts = [\"127.0.0.2\", \"localhost\"]\n", false),
        ("localhost", "allow_hosts = [\"LocalHost.\"]\n", true),
        ("127.0.0.1", "allow_hosts = [\"127.0.0.1\"]\n", true),
    ] {
        // A plain one would be told when the file is read.
        let url = secret(folder.path(), "url", &format!("https://{host}:{}/", receiver.port));
        let ca = fixture("authority.pem");
        let text = format!("[webhook]\nurl.file = {url:?}\nca = {ca:?}\n{allowed}");
        let (result, lines) = deliver(&text).await;
        asked += usize::from(is_asked);
        assert_eq!(receiver.told().len(), asked, "{host} {allowed}");
        match result {
            Ok(_) => assert!(is_asked, "{host} {allowed}"),
            Err(error) => {
                assert!(!is_asked, "{host} {allowed}: {error:?} {lines:#?}");
                assert_eq!(error.again, Again::Changed);
                assert!(error.why.contains("is this machine (allow_hosts = ["), "{error:?}");
            }
        }
    }
    let url = secret(folder.path(), "url", &format!("http://198.51.100.1:{}/", receiver.port));
    let error = trouble(&format!("[webhook]\nurl.file = {url:?}\n")).await;
    assert!(error.again == Again::Changed && error.why.contains("would be asked by http://"), "{error:?}");
}

#[tokio::test]
async fn a_server_is_who_its_certificate_says_by_our_own_authority() {
    let receiver = Receiver::new(true, |_| Some(said("200 OK", "", "")));
    let plain = Receiver::saying("200 OK");
    let at = |port: u16, ca: &str| {
        format!("[webhook]\nurl = \"https://127.0.0.1:{port}/\"\nallow_hosts = [\"127.0.0.1\"]\n{ca}")
    };
    let ca = format!("ca = {:?}\n", fixture("authority.pem"));
    assert!(deliver(&at(receiver.port, &ca)).await.0.is_ok());
    for other in ["", "ca = \"/nowhere/authority.pem\"\n"] {
        let error = trouble(&at(receiver.port, other)).await;
        assert_eq!(error.again, Again::Changed, "{error:?}");
    }
    assert_eq!(receiver.told().len(), 1);
    assert!(trouble(&at(plain.port, &ca)).await.why.contains("speaks no TLS"));
}

/// Takes whatever is logged, of every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_of_a_webhook_or_a_ping_gets_out() {
    let log = Log::default();
    let made = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || made.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("it is listened to");
    let folder = tempfile::tempdir().expect("a folder");
    let echo = |status: &'static str| {
        // Everything it was told, in a line: a server may be as careless as it likes.
        Receiver::new(false, move |told| {
            let all = format!("{} {:?} {}", told.line, told.headers, told.body).replace('\n', " ");
            let location = format!("location: http://elsewhere.example{}\r\n", &told.line[5..told.line.len() - 9]);
            Some(said(status, &location, &all))
        })
    };
    let file = |name: &str, text: &str| secret(folder.path(), name, text);
    let token = file("token", "canary-\"token\"");
    let (key, before) = (file("key", "canary-key-of-16-bytes"), file("before", "whsec_Y2FuYXJ5LWJlZm9yZS1pdA=="));
    let mut seen = Vec::new();
    for status in ["200 OK", "302 Found", "400 Bad Request", "500 Internal Server Error"] {
        let receiver = echo(status);
        let url = file("url", &format!("http://127.0.0.1:{}/canary-path/x?canary=canary-query", receiver.port));
        let head = format!("url.file = {url:?}\nallow_hosts = [\"127.0.0.1\"]\n");
        let webhook = format!(
            "[webhook]\n{head}body = '{{\"a\": \"{{{{ secret.token }}}}\", \"b\": {{{{ secret.token | tojson }}}}}}'\n\
             headers.Authorization = \"Bearer {{{{ secret.token }}}}\"\nsecrets.token.file = {token:?}\n\
             signing.secret.file = {key:?}\nsigning.previous_secret.file = {before:?}\n"
        );
        for text in [webhook, format!("[ping]\n{head}")] {
            let (kind, sender) = channel(&text, folder.path());
            let mut conversation = Conversation::default();
            let result = sender.deliver(&message(Event::Failure), &mut conversation).await;
            assert_eq!(result.is_ok(), status == "200 OK", "{status}");
            seen.push(format!("{kind:?}\n{sender:?}\n{result:?}\n{conversation:?}\n{:#?}", conversation.lines()));
        }
        let told = receiver.told();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|told| told.line.contains("canary-query")), "{told:?}");
        assert_eq!(told[0].headers["authorization"], "Bearer canary-\"token\"");
    }
    seen.push(String::from_utf8(log.0.lock().expect("whole").clone()).expect("text"));
    assert!(seen.last().is_some_and(|log| log.contains("it is listened to")));
    for text in &seen {
        for canary in ["canary-", "Y2FuYXJ5"] {
            assert!(!text.contains(canary), "{text}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_told_and_nothing_is_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::saying("200 OK");
    let path = secret(folder.path(), "key", "canary");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    for more in [format!("signing.secret.file = {path:?}\n"), format!("secrets.a.file = {path:?}\n")] {
        let error = trouble(&webhook_at(receiver.port, &more)).await;
        assert!(error.again == Again::Changed && error.why.contains("chmod 0600"), "{error:?}");
    }
    assert_eq!(receiver.told().len(), 0);
}

#[tokio::test]
async fn a_ping_says_by_its_address_what_happened() {
    let receiver = Receiver::saying("200 OK");
    let text = format!(
        "[ping]\nurl = \"http://127.0.0.1:{}/ping/key/{{{{ policy }}}}?create=1\"\nallow_hosts = [\"127.0.0.1\"]\n",
        receiver.port
    );
    let (_, sender) = channel(&text, Path::new("/"));
    let mut expected = Vec::new();
    for (event, end) in [
        (Event::Start, "/start"),
        (Event::Creation, ""),
        (Event::Deletion, ""),
        (Event::Recovered, ""),
        (Event::Failure, "/fail"),
        (Event::TimeLimitExceeded, "/fail"),
        (Event::Stale, "/fail"),
        (Event::Held, "/fail"),
        (Event::Test, "/log"),
    ] {
        let told = sender.deliver(&message(event), &mut Conversation::default()).await;
        assert_eq!(told.as_deref(), Ok("127.0.0.1 answers 200 OK"));
        expected.push(format!("POST /ping/key/database{end}?create=1&rid="));
    }
    let mut of_nothing = message(Event::Problem);
    (of_nothing.policy, of_nothing.run_id) = (None, None);
    of_nothing.facts.what = "\u{fc}".repeat(20_000);
    sender.deliver(&of_nothing, &mut Conversation::default()).await.expect("told");
    let mut conversation = Conversation::default();
    let beat = sender.beat(message(Event::Start).sent_at, &mut conversation).expect("somebody waits");
    let mut second = Conversation::default();
    assert!(sender.beat(message(Event::Start).sent_at, &mut second).is_none(), "the first is under way");
    beat.await.expect("told");
    drop(sender.beat(message(Event::Start).sent_at, &mut second).expect("the first is over"));
    assert!(sender.beat(message(Event::Start).sent_at, &mut second).is_some(), "it was called off");
    let told = receiver.told();
    let rids: Vec<&str> = told[..expected.len()]
        .iter()
        .zip(&expected)
        .map(|(told, expected)| told.line.strip_prefix(expected.as_str()).unwrap_or_else(|| panic!("{told:?}")))
        .collect();
    // One run, one number.
    assert!(rids.iter().all(|rid| *rid == rids[0] && rid.len() == 36 + " HTTP/1.1".len()), "{rids:?}");
    assert_eq!(told[0].body, message(Event::Start).text());
    let [of_nothing, beat] = &told[expected.len()..] else { panic!("{told:?}") };
    assert_eq!(of_nothing.line, "POST /ping/key/_snapkeep/fail?create=1 HTTP/1.1");
    assert!((9_990..=10_000).contains(&of_nothing.body.len()), "{}", of_nothing.body.len());
    assert_eq!(beat.line, "POST /ping/key/_snapkeep?create=1 HTTP/1.1");
    assert_eq!(beat.body, "snapkeep is alive\n");
}

#[tokio::test]
async fn a_ping_that_nobody_counts_is_told() {
    for (body, again) in [("OK (not found)", Again::Changed), ("OK (rate limited)", Again::Later)] {
        let receiver = Receiver::new(false, move |_| Some(said("200 OK", "", body)));
        let text = format!("[ping]\nurl = \"http://127.0.0.1:{}/x\"\nallow_hosts = [\"127.0.0.1\"]\n", receiver.port);
        assert_eq!(trouble(&text).await.again, again, "{body}");
    }
    let silent = Receiver::new(false, |_| None);
    let text = format!(
        "[ping]\nurl = \"http://127.0.0.1:{}/x\"\nallow_hosts = [\"127.0.0.1\"]\ntime_limit = \"200ms\"\n",
        silent.port
    );
    assert_eq!(trouble(&text).await, Trouble::later("127.0.0.1 did not answer within 200ms"));
    not_tested("pings against a real healthchecks, because no registry that is asked here has it");
}

/// Says whether a service would take a body, by the limits of its manual.
fn is_taken(name: &str, body: &str) {
    let value: Value = serde_json::from_str(body).expect("JSON");
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).expect(pointer);
    let (chars, bytes) = (|pointer| text(pointer).chars().count(), |pointer| text(pointer).len());
    match name {
        "discord" => {
            let (title, description) = (chars("/embeds/0/title"), chars("/embeds/0/description"));
            assert!(title <= 256 && description <= 4_096 && title + description <= 6_000, "{title} {description}");
        }
        "ntfy" => {
            let (title, message) = (bytes("/title"), bytes("/message"));
            assert!(title <= 250 && message <= 4_096 && body.len() <= 8_192, "{title} {message} {}", body.len());
        }
        "pagerduty" => {
            let (summary, key) = (chars("/payload/summary"), chars("/dedup_key"));
            assert!(summary <= 1_024 && key <= 255 && body.len() <= 512 << 10, "{summary} {key} {}", body.len());
        }
        "slack" => {
            let (all, head, section) = (chars("/text"), chars("/blocks/0/text/text"), chars("/blocks/1/text/text"));
            assert!(all <= 4_000 && head <= 150 && section <= 3_000, "{all} {head} {section}");
        }
        "teams" => assert!(body.len() <= 28_000, "{}", body.len()),
        _ => assert_eq!(name, "webhook"),
    }
}

/// Every sample, with a receiver of ours in place of the service and files in place of credentials.
#[tokio::test]
async fn every_sample_is_json_whatever_a_notice_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = secret(folder.path(), "secret", "a \"secret\"\\ of letters");
    let samples = Sources::of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/snapkeep.toml"));
    let roster = Loader::new(samples, |_, _| None).load(Timestamp::from_seconds(4_000_000_000));
    let mut tried = Vec::new();
    for (name, channel) in &roster.channels {
        let Kind::Webhook(webhook) = &channel.settings.kind else { continue };
        let receiver = Receiver::saying("200 OK");
        let mut webhook = webhook.clone();
        webhook.server.url = MaybeSecret::Plain(format!("http://127.0.0.1:{}/", receiver.port).into());
        webhook.server.allow_hosts = vec!["127.0.0.1".into()];
        webhook.secrets.values_mut().for_each(|source| *source = SecretSource::File(path.clone()));
        if let Some(signing) = &mut webhook.signing {
            signing.secret = SecretSource::File(path.clone());
        }
        assert!(webhook.is_json(), "{name}");
        let sender = notify::open(&Kind::Webhook(webhook));
        for event in Event::ALL {
            let mut message = message(event);
            if event == Event::Problem {
                (message.policy, message.run_id) = (None, None);
                message.facts = Facts { what: "x".repeat(20_000), ..Facts::default() };
            }
            let told = sender.deliver(&message, &mut Conversation::default()).await;
            told.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        let bodies: Vec<Value> =
            receiver.told().iter().map(|told| serde_json::from_str(&told.body).expect("JSON")).collect();
        assert_eq!(bodies.len(), Event::ALL.len(), "{name}");
        let of = |event: Event| &bodies[Event::ALL.iter().position(|one| *one == event).expect("there")];
        assert!(of(Event::Failure).to_string().contains(r#"it said: \"no\"\n"#), "{name}: {}", of(Event::Failure));
        if &**name == "pagerduty" {
            assert_eq!(of(Event::Failure)["event_action"], "trigger");
            assert_eq!(of(Event::Recovered)["event_action"], "resolve");
            assert_eq!(of(Event::Recovered)["dedup_key"], of(Event::Failure)["dedup_key"]);
            assert_eq!(of(Event::Stale)["dedup_key"], "snapkeep-backup.example.net-database-creation");
            assert_eq!(of(Event::Failure)["routing_key"], "a \"secret\"\\ of letters");
            let keys: Vec<&Value> =
                [Event::Failure, Event::Clock, Event::Problem, Event::Held, Event::Undeliverable, Event::Test]
                    .map(|event| &of(event)["dedup_key"])
                    .into();
            let different: std::collections::BTreeSet<String> = keys.iter().map(ToString::to_string).collect();
            assert_eq!(different.len(), keys.len(), "{keys:?}");
            assert_eq!(of(Event::Test)["event_action"], "resolve");
            assert_eq!(of(Event::Creation)["event_action"], "resolve");
            assert_eq!(of(Event::Creation)["dedup_key"], of(Event::Failure)["dedup_key"]);
            assert_eq!(of(Event::Held)["event_action"], "trigger");
            assert_eq!(of(Event::Problem)["payload"]["severity"], "warning");
        }
        if &**name == "discord" {
            let description = of(Event::Problem)["embeds"][0]["description"].as_str().expect("text");
            assert_eq!(description.chars().count(), 4_000);
        }
        for letter in ["\u{65e5}", "\u{1f4be}", "\""] {
            let long = Some(letter.repeat(20_000));
            let (before, mut message) = (receiver.told().len(), message(Event::Failure));
            message.subject = letter.repeat(20_000);
            message.facts = Facts {
                workflow: Some("creation".into()),
                snapshot: None,
                what: letter.repeat(20_000),
                why: long.clone(),
                keeps: long.clone(),
                next: long.clone(),
                look: long,
            };
            let told = sender.deliver(&message, &mut Conversation::default()).await;
            told.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            is_taken(name, &receiver.told()[before].body);
        }
        tried.push(name.to_string());
    }
    assert_eq!(tried, ["discord", "ntfy", "pagerduty", "slack", "teams", "webhook"]);
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).expect("a page")
}

fn blocks<'p>(page: &'p str, kind: &str) -> Vec<&'p str> {
    page.split(&format!("```{kind}\n")).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn what_the_pages_about_webhooks_and_pings_tell_people_to_write_is_read() {
    for (name, count) in [("webhook.md", 6), ("ping.md", 2)] {
        let page = page(name);
        let blocks = blocks(&page, "toml");
        assert_eq!(blocks.len(), count, "{name}");
        for block in blocks {
            channel(block, Path::new("/etc/snapkeep"));
        }
    }
    for key in snapkeep::template::KEYS {
        assert!(page("webhook.md").contains(&format!("`{key}")), "{key}");
    }
}

/// The receiver of the page, in Python, on what was really sent.
#[tokio::test]
async fn the_receiver_of_the_page_tells_right_from_wrong() {
    if Command::new("python3").arg("--version").output().is_err() {
        not_tested("the page's receiver of webhooks, because there is no python3");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (new, old) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "the one before it");
    let (new_path, old_path) = (secret(folder.path(), "new", new), secret(folder.path(), "old", old));
    let receiver = Receiver::saying("200 OK");
    let more = format!("signing.secret.file = {new_path:?}\nsigning.previous_secret.file = {old_path:?}\n");
    deliver(&webhook_at(receiver.port, &more)).await.0.expect("told");
    let told = receiver.only();
    let page = page("webhook.md");
    let [code] = blocks(&page, "python")[..] else { panic!("one example") };
    let sent_at = message(Event::Failure).sent_at.seconds();
    let cases = [
        (new, told.body.clone(), sent_at, true),
        (old, told.body.clone(), sent_at + 299, true),
        ("another", told.body.clone(), sent_at, false),
        (new, told.body.replace("failure", "creation"), sent_at, false),
        (new, told.body.clone(), sent_at + 301, false),
        (new, told.body.clone(), sent_at - 301, false),
    ];
    for (secret, body, now, is_right) in cases {
        let asked = json!({ "secret": secret, "headers": told.headers, "body": body, "now": now });
        let script = format!(
            "{code}\nimport json, sys\nasked = json.load(sys.stdin)\n\
             print(is_ours(asked['secret'], asked['headers'], asked['body'].encode(), asked['now']))\n"
        );
        let mut python = Command::new("python3")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        python.stdin.take().expect("piped").write_all(asked.to_string().as_bytes()).expect("written");
        let output = python.wait_with_output().expect("it ends");
        let answer = String::from_utf8_lossy(&output.stdout);
        assert_eq!(answer.trim(), if is_right { "True" } else { "False" }, "{secret} {now}");
    }
}

/// Waits for somebody to say a word, in at most so many lines.
pub fn until_said(lines: impl BufRead, word: &str) -> bool {
    lines.lines().take(1_000).map_while(Result::ok).any(|line| line.contains(word))
}
