//! Mail to servers that behave badly: silent, endless, lying, repeating what they were told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use snapkeep::lifecycle::channel::SecretSource;
use snapkeep::lifecycle::channel::mail::{Login, Mail, Mailbox, Tls};
use snapkeep::lifecycle::notice::{Event, Facts};
use snapkeep::lifecycle::time::{Span, Timestamp};
use snapkeep::notify::mail::Sender;
use snapkeep::notify::{Again, Channel, Conversation, Message, Trouble};

use crate::support::{ports, tls};

/// More lines than any client says.
const LINES_MAX: usize = 200;
const PASSWORD: &str = "canary-Zq8+x~pass";

pub fn message(key: &str) -> Message {
    Message {
        key: key.into(),
        installation: "0123456789abcdef".into(),
        host: "backup1".into(),
        policy: Some("bücher".into()),
        run_id: Some("run-7".into()),
        event: Event::Failure,
        subject: "bücher: creation failed".into(),
        facts: Facts {
            workflow: Some("creation".into()),
            snapshot: Some("bücher-20260301t020000z".into()),
            what: "no space left on device".into(),
            why: Some("restic ended with 1:\n<b>write /srv: no space</b>\n.\n..dots".into()),
            keeps: Some("7 snapshots".into()),
            next: Some("creation at 2026-03-02T02:00:00Z".into()),
            look: Some("snapkeep explain bücher".into()),
        },
        at: Timestamp::from_seconds(1_772_330_400),
        count: 1,
        latest_at: Timestamp::from_seconds(1_772_330_400),
        attempt: 1,
        sent_at: Timestamp::from_seconds(1_772_330_460),
    }
}

pub fn mailbox(address: &str) -> Mailbox {
    Mailbox { name: None, address: address.into() }
}

/// What a channel says that speaks to a server of this machine.
pub fn settings(tls: Tls, port: u16) -> Mail {
    Mail {
        host: "localhost".into(),
        port,
        tls,
        ca: (tls != Tls::None).then(|| tls::fixture("authority.pem")),
        login: None,
        from: Mailbox { name: Some("Snapkeep, die Bücherei".into()), address: "snapkeep@example.test".into() },
        to: vec![mailbox("ops@example.test")],
        time_limit: Span::parse("60s").expect("a span"),
    }
}

pub fn login(user: &str, password: &Path) -> Option<Login> {
    Some(Login { user: user.into(), password: SecretSource::File(password.into()) })
}

/// Delivers, and returns what came of it and what was said.
pub async fn deliver(sender: &Sender, message: &Message) -> (Result<String, Trouble>, String) {
    let mut conversation = Conversation::default();
    let told = sender.deliver(message, &mut conversation).await;
    let lines = conversation.lines();
    assert!(!lines.is_empty() || told.is_err(), "nothing was noted");
    (told, lines.join("\n"))
}

fn password(folder: &tempfile::TempDir) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("password");
    std::fs::write(&path, PASSWORD).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    path
}

/// Says one answer after the other, the first as its greeting; `$` stands for what it heard. After its last it is
/// silent, until whoever it speaks to has gone.
fn say_all(mut stream: BufReader<impl Read + Write>, answers: &[&str]) {
    let mut line = String::new();
    for answer in answers {
        let answer = answer.replace('$', line.trim_end());
        if stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
        let is_mail = answer.starts_with("354");
        for _ in 0..LINES_MAX {
            line.clear();
            if !stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                return;
            }
            if !is_mail || line == ".\r\n" {
                break;
            }
        }
    }
    for _ in 0..LINES_MAX {
        if !stream.read_line(&mut line).is_ok_and(|read| read > 0) {
            return;
        }
    }
}

fn secure(stream: TcpStream) -> BufReader<impl Read + Write> {
    let connection = rustls::ServerConnection::new(tls::config()).expect("a connection");
    BufReader::new(rustls::StreamOwned::new(connection, stream))
}

/// A server for one connection, which speaks TLS from the first byte or not at all.
fn server(is_tls: bool, answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return };
        if is_tls {
            say_all(secure(stream), answers);
        } else {
            say_all(BufReader::new(stream), answers);
        }
    });
    port
}

/// Returns what comes of a mail to a server without TLS.
async fn told_openly(open: &'static [&'static str], time_limit: &str) -> (Result<String, Trouble>, String) {
    let mut settings = settings(Tls::None, server(false, open));
    settings.time_limit = Span::parse(time_limit).expect("a span");
    deliver(&Sender::new(&settings), &message("key")).await
}

#[tokio::test]
async fn a_server_that_never_answers_is_asked_again_and_the_error_says_which_step_it_was() {
    for (open, step) in [
        (&[][..], "failed to be greeted by localhost:"),
        (&["220 a\r\n"][..], "failed to be greeted by localhost:"),
        (&["220 a\r\n", "250 a\r\n"][..], "failed to send from snapkeep@example.test: "),
        (&["220 a\r\n", "250 a\r\n", "250 a\r\n"][..], "failed to send to ops@example.test: "),
        (
            &["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n"][..],
            "failed to send the mail to localhost:",
        ),
    ] {
        let (told, said) = told_openly(open, "1s").await;
        let trouble = told.expect_err(step);
        assert_eq!(trouble.again, Again::Later, "{trouble:?}");
        assert!(trouble.why.starts_with(step) && trouble.why.ends_with(": it took longer than 1s"), "{trouble:?}");
        assert!(said.contains("connected to 127.0.0.1:") && said.ends_with("the time is up"), "{said}");
    }
}

#[tokio::test]
async fn what_a_server_says_decides_when_it_is_tried_again() {
    for (open, again, why) in [
        (&["421 4.3.2 closing\r\n"][..], Again::Later, "421 4.3.2 closing"),
        (&["554-no mail\r\n554 here\r\n"][..], Again::Changed, "554-no mail 554 here"),
        (&["220 a\r\n", "502 5.5.2 what\r\n", "221 bye\r\n"][..], Again::Changed, "502 5.5.2 what"),
        (&["220 a\r\n", "250 a\r\n", "451 later\r\n"][..], Again::Later, "451 later"),
        (&["220 a\r\n", "250 a\r\n", "550 not you\r\n"][..], Again::Changed, "550 not you"),
        (&["220 a\r\n", "250 a\r\n", "250 a\r\n", "450 grey\r\n"][..], Again::Later, "450 grey"),
        (&["220 a\r\n", "250 a\r\n", "250 a\r\n", "550 who\r\n"][..], Again::Changed, "550 who"),
        (&["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n", "250 what\r\n"][..], Again::Later, "250 what"),
        (
            &["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n", "452 full\r\n"][..],
            Again::Later,
            "452 full",
        ),
        (
            &["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n", "552 big\r\n"][..],
            Again::Changed,
            "552 big",
        ),
        (
            &["HTTP/1.1 400 Bad Request\r\n\r\n"][..],
            Again::Later,
            "the server says something else: HTTP/1.1 400 Bad Request",
        ),
    ] {
        let (told, said) = told_openly(open, "60s").await;
        let trouble = told.expect_err(why);
        assert_eq!(trouble.again, again, "{trouble:?}");
        assert!(trouble.why.contains(why), "{why}: {trouble:?}\n{said}");
    }
    // Refused, and then silent to the goodbye.
    let (told, _) = told_openly(&["220 a\r\n", "502 5.5.2 what\r\n"], "1s").await;
    let trouble = told.expect_err("refused");
    assert_eq!(trouble.again, Again::Changed);
    assert!(trouble.why.ends_with(": 502 5.5.2 what"), "{trouble:?}");
    let taken = &["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n", "250-2.0.0 as\r\n250 77\r\n"][..];
    let (told, said) = told_openly(taken, "60s").await;
    assert_eq!(told.as_deref(), Ok("250-2.0.0 as 250 77"));
    assert!(said.ends_with("> QUIT"), "{said}");
}

#[tokio::test]
async fn a_server_that_says_more_than_it_is_worth_is_not_listened_to() {
    static LONG: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    let (one, many) = LONG.get_or_init(|| ("x".repeat(100_000), "220-a\r\n".repeat(20_000)));
    for endless in [one, many] {
        let answers: &'static [&'static str] = Box::leak(Box::new([endless.as_str()]));
        let trouble = told_openly(answers, "60s").await.0.expect_err("endless");
        assert_eq!(trouble.again, Again::Later, "{trouble:?}");
        assert!(trouble.why.ends_with("the server says more than any server has to"), "{trouble:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let sender = Sender::new(&settings(Tls::StartTls, ports::free().port()));
    let (told, said) = deliver(&sender, &message("key")).await;
    let trouble = told.expect_err("nobody listens");
    assert_eq!(trouble.again, Again::Later);
    assert!(
        trouble.why.starts_with("failed to connect to localhost:") && trouble.why.contains("refused"),
        "{trouble:?}"
    );
    assert!(said.contains("127.0.0.1"), "{said}");
    let nowhere = Mail { host: "nobody.invalid".into(), ..settings(Tls::StartTls, 587) };
    let trouble = deliver(&Sender::new(&nowhere), &message("key")).await.0.expect_err("no such host");
    assert_eq!(trouble.again, Again::Later);
    assert!(trouble.why.starts_with("failed to look up nobody.invalid: "), "{trouble:?}");
}

#[tokio::test]
async fn what_is_not_on_this_machine_gets_nothing_without_tls() {
    let elsewhere = Mail { host: "192.0.2.1".into(), ..settings(Tls::None, 25) };
    let (told, said) = deliver(&Sender::new(&elsewhere), &message("key")).await;
    let trouble = told.expect_err("it is elsewhere");
    assert_eq!((trouble.again, said.as_str()), (Again::Changed, ""));
    assert!(trouble.why.contains("nothing goes there without TLS"), "{trouble:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let open = Mail { login: login("u", &password(&folder)), ..settings(Tls::None, ports::free().port()) };
    let trouble = deliver(&Sender::new(&open), &message("key")).await.0.expect_err("a password");
    assert_eq!(trouble, Trouble::changed("no password goes out without TLS"));
}

/// Asserts that a password stands in it in no form.
pub fn holds_no_password(said: &str, user: &str, password: &str) {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
    for form in [password.to_owned(), base64(password), base64(&format!("\0{user}\0{password}"))] {
        assert!(!said.contains(&form), "{form} is in it: {said}");
    }
}

#[tokio::test]
async fn a_password_that_a_server_repeats_is_blanked() {
    let folder = tempfile::tempdir().expect("a folder");
    for (mechanism, answers) in [
        ("PLAIN", &["220 a\r\n", "250-a\r\n250 AUTH PLAIN\r\n", "535 5.7.8 not $\r\n"][..]),
        (
            "LOGIN",
            &[
                "220 a\r\n",
                "250-a\r\n250 AUTH LOGIN\r\n",
                "334 VXNlcm5hbWU6\r\n",
                "334 UGFzc3dvcmQ6\r\n",
                "535 not $\r\n",
                "221 bye\r\n",
            ],
        ),
    ] {
        let user = "snapkeep";
        let settings =
            Mail { login: login(user, &password(&folder)), ..settings(Tls::Implicit, server(true, answers)) };
        let (told, said) = deliver(&Sender::new(&settings), &message("key")).await;
        let trouble = told.expect_err("not taken");
        assert_eq!(trouble.again, Again::Changed);
        assert!(
            trouble.why.contains("535 ") && trouble.why.contains("not ") && trouble.why.contains("***"),
            "{trouble:?}"
        );
        assert!(said.contains(&format!("> AUTH {mechanism} ***")) && said.contains("< 535 "), "{said}");
        holds_no_password(&format!("{said}{}", trouble.why), user, PASSWORD);
    }
    let settings = Mail {
        login: login("u", &password(&folder)),
        ..settings(Tls::Implicit, server(true, &["220 a\r\n", "250-a\r\n250 AUTH GSSAPI\r\n"]))
    };
    let trouble = deliver(&Sender::new(&settings), &message("key")).await.0.expect_err("no mechanism");
    assert_eq!(trouble.again, Again::Changed);
    assert!(trouble.why.ends_with("it offers neither PLAIN nor LOGIN"), "{trouble:?}");
}

#[tokio::test]
async fn what_is_put_behind_the_answer_to_starttls_is_not_believed() {
    let open = &["220 a\r\n", "250-a\r\n250 STARTTLS\r\n", "220 go\r\n250-injected\r\n250 AUTH LOGIN\r\n"];
    let secret = &["250-true\r\n250 8BITMIME\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n", "250 taken\r\n"];
    // The first answer over TLS is to a question.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("somebody");
        let mut open_side = stream.try_clone().expect("another handle");
        for answer in open {
            let _ = open_side.write_all(answer.as_bytes());
            let mut line = Vec::new();
            while answer != &open[2] && !line.ends_with(b"\n") {
                let mut byte = [0];
                open_side.read_exact(&mut byte).expect("a byte");
                line.extend(byte);
            }
        }
        let mut stream = secure(stream);
        let mut hello = String::new();
        if stream.read_line(&mut hello).is_ok() {
            say_all(stream, secret);
        }
    });
    let (told, said) = deliver(&Sender::new(&settings(Tls::StartTls, port)), &message("key")).await;
    let (_, after) = said.split_once("TLS with localhost: ").unwrap_or_default();
    assert!(!after.contains("injected"), "{said}");
    match told {
        Ok(answer) => assert!(answer == "250 taken" && after.contains("< 250-true"), "{said}"),
        // Read apart from the answer it spoils the beginning of TLS.
        Err(trouble) => assert!(trouble.why.starts_with("failed to agree on TLS"), "{trouble:?}"),
    }
}
