//! What a service manager hears of the daemon, and how the daemon ends when it is told to.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use snapkeep::lifecycle::workflow::{Kind, Outcome};

use super::place::{POLICY, Place};
use super::policy;
use crate::support::wait::PATIENCE;

/// Stands for systemd: hears what the daemon says.
struct Manager {
    messages: Receiver<String>,
}

impl Manager {
    /// Starts the daemon as a service. The watchdog bites after this, where there is one.
    fn starts(place: &mut Place, watchdog: Option<Duration>) -> Manager {
        let path = place.path("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let (sender, messages) = channel();
        // What is not read soon would keep the daemon waiting.
        thread::spawn(move || {
            let mut room = [0; 4096];
            while let Ok(count) = socket.recv(&mut room) {
                let message = String::from_utf8(room[..count].to_vec()).expect("text");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut command: Command = place.command(&["run"]);
        command.env("NOTIFY_SOCKET", &path);
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        place.start_as(command, "log");
        Manager { messages }
    }

    /// Waits for a message with a line that begins so; returns the rest of that line and all messages until then.
    fn hears(&self, beginning: &str) -> (String, Vec<String>) {
        let give_up = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let Ok(message) = self.messages.recv_timeout(left) else { panic!("{beginning} never came: {heard:#?}") };
            heard.push(message.clone());
            if let Some(rest) = message.lines().find_map(|line| line.strip_prefix(beginning)) {
                return (rest.to_string(), heard);
            }
        }
    }

    /// Waits until nothing was heard for this long.
    fn falls_silent(&self, span: Duration) {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            match self.messages.recv_timeout(span) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("nobody listens"),
            }
        }
        panic!("it does not fall silent");
    }
}

/// Makes a policy seldom, so that only what the test asks for runs.
fn seldom() -> String {
    let seldom = "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"";
    let policy = POLICY.replacen("[creation.schedule.interval]\nevery = \"1s\"", seldom, 1);
    let policy = policy.split("[deletion]").next().expect("a creation").to_string();
    policy + "[snapshot_config]\nrepository = \"store\"\n"
}

#[test]
fn a_service_manager_hears_that_it_is_up_reads_again_and_stops() {
    let mut place = Place::new();
    place.write("policies.d/every.toml", &seldom());
    let manager = Manager::starts(&mut place, None);
    let (_, before) = manager.hears("READY=1");
    assert!(before.iter().any(|message| message.contains("EXTEND_TIMEOUT_USEC=")), "{before:?}");
    // It answers at once.
    assert!(place.explain().is_some());
    let (status, _) = manager.hears("STATUS=1 policy; next: every creates ");
    assert!(status.contains("-02-29 at 00:00 UTC"), "{status}");

    // When it says that it is ready again, what was read is in force. Many, so that it takes a moment.
    for number in 0..50 {
        place.write(&format!("policies.d/p{number}.toml"), &seldom());
    }
    place.signal(Signal::HUP);
    let (_, heard) = manager.hears("RELOADING=1");
    let reloading = heard.last().expect("a message");
    let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("with its time");
    assert!(at.parse::<u64>().is_ok_and(|at| at > 0), "{reloading}");
    assert!(!heard.iter().any(|message| message.contains("READY=1")), "{heard:?}");
    manager.hears("READY=1");
    let count = place.explain().and_then(|body| Some(body["policies"].as_array()?.len()));
    assert_eq!(count, Some(51));
    manager.hears("STATUS=51 policies; next: ");
    place.write("policies.d/p0.toml", "nonsense");
    place.signal(Signal::HUP);
    let (rest, _) = manager.hears("STATUS=51 policies; next: ");
    assert!(rest.ends_with("; 1 problem"), "{rest}");

    place.signal(Signal::TERM);
    let (_, heard) = manager.hears("STOPPING=1");
    let extended = heard.last().expect("a message");
    assert!(extended.contains("EXTEND_TIMEOUT_USEC=25000000"), "{extended}");
    assert_eq!(place.ended(), Some(0));
    assert!(!heard.iter().any(|message| message.contains("WATCHDOG=1")), "nobody asked for it");
}

#[test]
fn safe_mode_is_up_too_says_so_and_lives() {
    let mut place = Place::new();
    place.up();
    assert_eq!(place.stop(), Some(0));
    fs::write(place.state().join("journal.db"), "nonsense").expect("damaged");
    let manager = Manager::starts(&mut place, Some(Duration::from_millis(900)));
    let (_, heard) = manager.hears("READY=1");
    let said = heard.last().expect("a message");
    assert!(said.contains("STATUS=safe mode: "), "{said}");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    // There is nothing to read again, which is done soon.
    place.signal(Signal::HUP);
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    place.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(place.ended(), Some(0));
}

#[test]
fn the_watchdog_is_fed_by_the_engines_turns_alone() {
    let mut place = Place::new();
    let watchdog = Duration::from_millis(600);
    let manager = Manager::starts(&mut place, Some(watchdog));
    for _ in 0..5 {
        manager.hears("WATCHDOG=1");
    }
    place.until("a snapshot", |body| policy(body)?["last_good"].as_object().map(|_| ()));
    // The engine's next commit waits for us, for five seconds; the rest of the process goes on.
    let journal = Connection::open(place.state().join("journal.db")).expect("the journal");
    journal.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    manager.falls_silent(watchdog * 3);
    assert!(place.explain().is_some(), "callers are answered");
    drop(journal);
}

#[test]
fn a_process_that_is_frozen_says_nothing_until_it_goes_on() {
    let mut place = Place::bare();
    let watchdog = Duration::from_millis(600);
    let manager = Manager::starts(&mut place, Some(watchdog));
    manager.hears("WATCHDOG=1");
    place.signal(Signal::STOP);
    manager.falls_silent(watchdog * 3);
    place.signal(Signal::CONT);
    manager.hears("WATCHDOG=1");
}

/// Starts a creation by hand that goes on until `store/slow` is gone, and waits until its driver has been asked.
fn slow_creation(place: &mut Place) -> (Manager, String) {
    place.write("policies.d/every.toml", &seldom());
    place.write("store/slow", "");
    place.write("store/asked", "");
    let manager = Manager::starts(place, None);
    manager.hears("READY=1");
    let run = place.command(&["policy", "run", "every"]).output().expect("the command runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let name = place.until("a driver at work", |_| {
        asked(place).iter().find_map(|line| line.strip_prefix("create ").map(str::to_string))
    });
    (manager, name)
}

fn asked(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.path("store/asked")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

fn creations(place: &Place) -> Vec<Option<Outcome>> {
    let runs = place.runs();
    let creations = runs.iter().filter(|run| run.kind == Kind::Creation);
    creations.map(|run| run.outcome).collect()
}

#[test]
fn a_stop_waits_for_what_ends_in_time_and_asks_nothing_again() {
    let mut place = Place::new();
    let (manager, name) = slow_creation(&mut place);
    place.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    let (status, _) = manager.hears("STATUS=stopping, ");
    assert_eq!(status, "5s at most: waits for every creates");
    fs::remove_file(place.path("store/slow")).expect("there");
    assert_eq!(place.ended(), Some(0));
    assert_eq!(creations(&place), [Some(Outcome::Succeeded)]);
    assert_eq!(place.account(), [("made".to_string(), name)]);

    // The next start has nothing to look for.
    place.write("store/asked", "");
    place.up();
    assert_eq!(place.stop(), Some(0));
    assert_eq!(asked(&place), [] as [&str; 0]);
}

#[test]
fn what_a_stop_does_not_wait_for_is_looked_for_at_the_next_start() {
    let mut place = Place::new();
    place.set_stop_timeout("1s");
    let (_manager, name) = slow_creation(&mut place);
    let began = Instant::now();
    place.signal(Signal::TERM);
    assert_eq!(place.ended(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "it did not wait");
    assert_eq!(creations(&place), [None], "nothing is known of it");
    assert_eq!(place.account(), []);

    place.write("store/asked", "");
    fs::remove_file(place.path("store/slow")).expect("there");
    place.start();
    let made = |body: &Value| policy(body)?["last_good"].as_object().map(|_| ());
    place.until("the snapshot", made);
    assert_eq!(place.stop(), Some(0));
    assert_eq!(asked(&place).first(), Some(&format!("describe {name}")), "it looks first");
    assert_eq!(creations(&place), [Some(Outcome::Succeeded)]);
    assert_eq!(place.account(), [("made".to_string(), name)]);
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut place = Place::new();
    place.set_stop_timeout("1h");
    let (manager, _) = slow_creation(&mut place);
    place.signal(Signal::TERM);
    manager.hears("STATUS=stopping, 1h at most: ");
    place.signal(Signal::INT);
    assert_eq!(place.ended(), Some(0));
    assert_eq!(creations(&place), [None]);
}
