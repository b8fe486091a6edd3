//! Witnesses of the clock as servers are: right, wrong, silent, not who they should be.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use snapkeep::clock;
use snapkeep::config::clock::{ClockSettings, WitnessAddress};
use snapkeep::engine::event::Heard;
use snapkeep::witness::Witnesses;

use crate::support::tls::{Teller, dated, fixture};

/// Enough for a handshake on a busy machine, and short enough to wait for once.
const PATIENT: Duration = Duration::from_secs(20);

fn witnesses(ports: &[u16], ca: Option<PathBuf>) -> Witnesses {
    witnesses_at("localhost", ports, ca)
}

fn witnesses_at(host: &str, ports: &[u16], ca: Option<PathBuf>) -> Witnesses {
    let witnesses = ports.iter().map(|port| WitnessAddress { host: host.to_owned(), port: *port }).collect();
    Witnesses::new(&ClockSettings { witnesses, ca }).expect("somebody is named").with_answer_time(PATIENT)
}

async fn hear(port: u16) -> Heard {
    witnesses(&[port], Some(fixture("authority.pem"))).ask().await.remove(0)
}

#[tokio::test]
async fn a_witness_is_asked_for_its_head_once_and_its_date_is_what_it_says() {
    let sunday = "Sun, 06 Nov 1994 08:49:37 GMT";
    // A server that sends us elsewhere, or knows nothing, has a clock; nobody goes there.
    for status in ["200 OK", "204 No Content", "301 Moved Permanently", "404 Not Found", "503 Service Unavailable"] {
        let head = format!("HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ndate: {sunday}\r\ncontent-length: 9\r\n\r\n");
        let teller = Teller::new(true, move || Some(head.clone()));
        let before = clock::now();
        let heard = hear(teller.port).await;
        assert_eq!(heard.said.map(|said| said.to_string()).as_deref(), Ok("1994-11-06T08:49:37Z"), "{status}");
        assert_eq!((&*heard.host, heard.taken.boot), ("localhost", before.boot));
        assert!((before.uptime..=clock::now().uptime).contains(&heard.taken.uptime));
        let asked = teller.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].starts_with("HEAD / HTTP/1.1\r\n"), "{asked:?}");
        for word in ["cookie", "authorization", "installation"] {
            assert!(!asked[0].to_lowercase().contains(word), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_date_of_who_was_asked_is_not_heard() {
    let head = |lines: String| format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n");
    let right = dated(clock::now().wall);
    let long = head(format!("x-long: {}\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "x".repeat(1 << 20)));
    let old = right.replace("content-length", "age: 60\r\ncontent-length");
    for (answer, why) in [
        (head(String::new()), "its answer has no Date"),
        (head("date: yesterday\r\n".to_owned()), "is no date"),
        (head("date: Sun, 06 Nov 1994 08:49:37 -0500\r\n".to_owned()), "is no date"),
        (old, "comes from a cache"),
        (long, "it broke off"),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), "it broke off"),
        (String::new(), "it broke off"),
    ] {
        let teller = Teller::new(true, move || Some(answer.clone()));
        let said = hear(teller.port).await.said;
        assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{why}: {said:?}");
        assert_eq!(teller.asked().len(), 1, "{why}");
    }
}

#[tokio::test]
async fn who_is_not_who_was_named_is_asked_nothing() {
    let right = || Some(dated(clock::now().wall));
    let plain = Teller::new(false, right);
    let said = hear(plain.port).await.said;
    assert!(said.as_ref().is_err_and(|said| said.contains("speaks no TLS")), "{said:?}");
    assert!(!plain.asked().concat().contains("HEAD"), "{:?}", plain.asked());

    // Neither the system's authorities nor another one have signed it.
    let stranger = Teller::new(true, right);
    for ca in [None, Some(fixture("server.pem"))] {
        let said = witnesses(&[stranger.port], ca.clone()).ask().await.remove(0).said;
        // A system may trust nobody at all.
        let is_so =
            |said: &String| said.contains("UnknownIssuer") || ca.is_none() && said.contains("trusts no certificate");
        assert!(said.as_ref().is_err_and(is_so), "{ca:?} {said:?}");
    }
    assert_eq!(stranger.asked(), Vec::<String>::new());
    // It is signed, and for others than the one who was asked.
    let other = Teller::at("127.0.0.2", true, right);
    let ca = Some(fixture("authority.pem"));
    let said = witnesses_at("127.0.0.2", &[other.port], ca).ask().await.remove(0).said;
    assert!(said.as_ref().is_err_and(|said| said.contains("not valid for name")), "{said:?}");
    assert_eq!(other.asked(), Vec::<String>::new());

    let nowhere = witnesses(&[stranger.port], Some("/nowhere.pem".into())).ask().await.remove(0).said;
    assert!(nowhere.as_ref().is_err_and(|said| said.contains("failed to read /nowhere.pem")), "{nowhere:?}");
}

#[tokio::test]
async fn who_never_answers_keeps_nobody_waiting_and_the_others_are_heard() {
    // One never greets, one never answers, and one is right.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = Teller::new(true, || None);
    let right = Teller::new(true, || Some(dated(clock::now().wall)));
    let ports = [mute.local_addr().expect("an address").port(), silent.port, right.port];
    let ca = Some(fixture("authority.pem"));
    for port in &ports[..2] {
        let said =
            witnesses(&[*port], ca.clone()).with_answer_time(Duration::from_millis(300)).ask().await.remove(0).said;
        assert!(said.as_ref().is_err_and(|said| said.contains("no answer within 0.3 s")), "{said:?}");
    }
    let heard = witnesses(&[ports[0], ports[2]], ca).with_answer_time(PATIENT).ask().await;
    assert!(heard[0].said.is_err());
    let said = heard[1].said.as_ref().expect("it answers");
    assert!(said.since(clock::now().wall).abs() < 60_000, "{said}");
}
