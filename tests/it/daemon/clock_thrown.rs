//! The program itself under a clock that is thrown: nothing is deleted that a right clock would keep, people are
//! told once, and say when it is right.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use snapkeep::clock;
use snapkeep::journal::record::NoticeQuery;
use snapkeep::journal::{AuditQuery, FILE, Reader};

use super::place::Place;
use super::policy;
use crate::support::skips::not_tested;
use crate::support::tls::{Teller, dated, fixture};
use crate::upkeep::libfaketime;

const DAY_MS: i64 = 86_400_000;

/// Made once a year, deleted each second.
const POLICY: &str = r#"
uid = "uid-of-every"

[creation]
catch_up = "never"
[creation.schedule.cron]
expression = "0 0 29 2 *"

[deletion]
[deletion.schedule.interval]
every = "1s"
[deletion.condition]
max_age = "30d"

[snapshot_config]
repository = "store"

[notification]
channel.id = "people"
"#;

/// A daemon whose clock is in a file, and a repository with snapshots of some ages.
struct Thrown {
    place: Place,
    library: PathBuf,
}

impl Thrown {
    /// Starts with a right clock, a stopped policy and five snapshots, of which two are old.
    fn new(library: PathBuf) -> Thrown {
        let place = Place::new();
        place.write("policies.d/every.toml", POLICY);
        fs::create_dir(place.path("channels.d")).expect("a folder");
        place.write("channels.d/people.toml", "[log]\nlevel = \"error\"\n");
        place.write("store/calm", "");
        place.write("clock", "+0");
        let mut thrown = Thrown { place, library };
        thrown.start();
        let installation = thrown.place.until("the daemon", |body| {
            policy(body)?;
            body["daemon"]["installation"].as_str().map(str::to_string)
        });
        thrown.told(&["policy", "stop", "every"]);
        let now = clock::now().wall.millis();
        for days in [41, 40, 3, 2, 1] {
            let name = format!("every-{days}d");
            let snapshot = serde_json::json!({
                "name": name, "id": name, "taken_at_ms": now - days * DAY_MS, "status": "good",
                "labels": { "snapkeep_installation": installation, "snapkeep_policy_uid": "uid-of-every" },
            });
            thrown.place.write(&format!("store/{name}.snap"), &format!("{snapshot}\n"));
        }
        thrown
    }

    fn start(&mut self) {
        let mut command = self.place.command(&["run"]);
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", self.place.path("clock")).envs([
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]);
        self.place.start_as(command, "log");
    }

    fn told(&self, words: &[&str]) -> String {
        let output = self.place.command(words).output().expect("the command runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until a run of deletion that ended after now says something.
    fn until_deletion(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let seen = |body: &Value| policy(body)?["deletion"]["latest_execution"]["run_id"].as_str().map(str::to_string);
        let before = self.place.until("the daemon", |body| Some(seen(body)));
        self.place.until(what, |body| {
            let run = policy(body)?["deletion"]["latest_execution"].clone();
            let is_new = run["run_id"].as_str().map(str::to_string) != before && !run["end_time"].is_null();
            (is_new && is_it(&policy(body)?["deletion"])).then_some(())
        });
    }

    fn left(&self) -> Vec<String> {
        let files = fs::read_dir(self.place.path("store")).expect("a folder").flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let mut left: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".snap")?.to_string())).collect();
        left.sort();
        left
    }

    fn notices(&self) -> usize {
        let reader = Reader::open(&self.place.state()).expect("a reader");
        let query = NoticeQuery { limit: 1_000, ..NoticeQuery::default() };
        reader.notices(&query).expect("notices").len()
    }
}

const ALL: [&str; 5] = ["every-1d", "every-2d", "every-3d", "every-40d", "every-41d"];

fn is_doubted(deletion: &Value) -> bool {
    deletion["held"].as_str().is_some_and(|held| held.contains("the clock is doubted"))
}

fn succeeded(deletion: &Value) -> bool {
    deletion["latest_execution"]["status"] == "SUCCESS"
}

#[test]
fn a_clock_thrown_in_the_middle_of_a_deletion_deletes_nothing_more_and_is_told_once() {
    let Some(library) = libfaketime() else {
        return not_tested("a daemon whose clock is thrown, because there is no libfaketime");
    };
    // Before the plan, between plan and deletion, while the first is being deleted.
    for (moment, left) in [("list", &ALL[..]), ("second-list", &ALL[..]), ("delete", &ALL[..4])] {
        for years in ["+3650d", "-3650d"] {
            let thrown = Thrown::new(library.clone());
            thrown.place.write(&format!("store/throw-{moment}"), years);
            thrown.told(&["policy", "start", "every"]);
            thrown.place.until("a deletion to be held", |body| is_doubted(&policy(body)?["deletion"]).then_some(()));
            if years.starts_with('+') {
                // Triggers go on with a clock that is ahead: again and again it is held, and told once.
                for _ in 0..2 {
                    thrown.until_deletion("another to be held", is_doubted);
                }
            }
            assert_eq!(
                (thrown.left(), thrown.notices()),
                (left.iter().map(ToString::to_string).collect(), 1),
                "{moment} {years}"
            );
        }
    }
}

#[test]
fn a_clock_that_is_wrong_at_boot_deletes_nothing_until_it_is_confirmed() {
    let Some(library) = libfaketime() else {
        return not_tested("a daemon whose clock is wrong at boot, because there is no libfaketime");
    };
    let mut thrown = Thrown::new(library);
    for (starts, years) in [(1, "-3650d"), (2, "+3650d")] {
        thrown.place.kill();
        thrown.place.write("clock", years);
        thrown.start();
        thrown.told_started();
        thrown.until_deletion("a deletion to be held", is_doubted);
        // It was put right in between, so the second is another doubt.
        assert_eq!((thrown.left(), thrown.notices()), (ALL.map(String::from).into(), starts), "{years}");
        if starts == 1 {
            thrown.place.write("clock", "+0");
            thrown.told(&["policy", "stop", "every"]);
            thrown.place.until("the clock to be believed", |body| {
                body["daemon"]["restrictions"].as_array()?.is_empty().then_some(())
            });
        }
    }
    // Back within what it should be, it is believed by itself, and the two that are old go.
    thrown.told(&["policy", "stop", "every"]);
    thrown.place.write("clock", "+0");
    thrown.told(&["policy", "start", "every"]);
    thrown.until_deletion("a deletion to succeed", succeeded);
    assert_eq!(thrown.left(), ALL[..3].to_vec());

    // Two days ahead, in which a person sees nothing wrong.
    thrown.place.write("clock", "+2d");
    thrown.until_deletion("a deletion to be held", is_doubted);
    let listed = thrown.told(&["deletions", "list"]);
    assert!(listed.contains("waiting") && listed.contains("clock"), "{listed}");
    let plan = listed.lines().nth(1).and_then(|line| line.split_whitespace().next()).expect("a plan").to_string();
    let shown = thrown.told(&["deletions", "show", &plan]);
    assert!(shown.contains("set forward by") && shown.contains("ahead of the time since"), "{shown}");
    thrown.told(&["clock", "confirm"]);
    thrown.until_deletion("a deletion to succeed", succeeded);
    let explained = thrown.told(&["explain"]);
    assert!(!explained.contains("doubted"), "{explained}");
}

impl Thrown {
    /// Lets the policy run again after a start.
    fn told_started(&self) {
        self.place.until("the daemon", |body| policy(body).map(|_| ()));
        self.told(&["policy", "start", "every"]);
    }
}

#[test]
fn a_gap_of_ten_days_is_believed_once_a_witness_over_tls_agrees() {
    let Some(library) = libfaketime() else {
        return not_tested("a daemon that asks a witness of its clock, because there is no libfaketime");
    };
    if clock::is_synchronised() {
        return not_tested("a daemon that asks a witness of its clock, because this machine's kernel vouches for it");
    }
    let ahead = |days: i64| Teller::new(true, move || Some(dated(clock::now().wall.plus(days * DAY_MS))));
    let (right, wrong) = (ahead(10), ahead(0));
    let mut thrown = Thrown::new(library);
    thrown.place.kill();
    thrown.other_boot();
    thrown.place.write("clock", "+10d");
    let restriction = |body: &Value| body["daemon"]["restrictions"][0].as_str().map(str::to_owned);

    // One that says something else: nothing is deleted, and it is said why.
    thrown.ask(&wrong);
    thrown.start();
    thrown
        .place
        .until("the witness to be shown", |body| restriction(body)?.contains("; localhost said ").then_some(()));
    thrown.told_started();
    thrown.until_deletion("a deletion to be held", is_doubted);
    assert_eq!((thrown.left(), wrong.asked().len()), (ALL.map(String::from).into(), 1));
    thrown.told(&["policy", "stop", "every"]);
    thrown.place.kill();

    // One that agrees.
    thrown.ask(&right);
    thrown.start();
    thrown.place.until("the clock to be believed", |body| {
        let vouched = body["daemon"]["clock_vouched"].as_str()?;
        assert!(vouched.starts_with("localhost vouched for the clock at "), "{vouched}");
        restriction(body).is_none().then_some(())
    });
    thrown.told_started();
    thrown.until_deletion("a deletion to succeed", succeeded);
    assert_eq!((thrown.left(), right.asked().len()), (ALL[..3].iter().map(ToString::to_string).collect(), 1));
    assert!(thrown.told(&["explain"]).contains("localhost vouched for the clock at "));
    let reader = Reader::open(&thrown.place.state()).expect("a reader");
    let records = reader.audit(&AuditQuery { limit: 1_000, ..AuditQuery::default() }).expect("the audit");
    let said = |what: &str| records.iter().filter(|record| &*record.audit.what == what).count();
    assert_eq!((said("witness_clock"), said("confirm_clock")), (1, 0));
    thrown.told(&["policy", "stop", "every"]);
    thrown.place.kill();

    // By a clock that has left the certificate's time, in 2120, nobody is believed, though they agree.
    let far = ahead(40_000);
    thrown.other_boot();
    thrown.place.write("clock", "+40000d");
    thrown.ask(&far);
    thrown.start();
    let why = thrown.place.until("the witness to be shown", |body| {
        restriction(body).filter(|restriction| restriction.contains("does not vouch for it: "))
    });
    assert!(why.to_lowercase().contains("expired"), "{why}");
    assert_eq!(far.asked(), Vec::<String>::new());
}

impl Thrown {
    /// Makes the journal one of another boot of the machine.
    fn other_boot(&self) {
        let journal = rusqlite::Connection::open(self.place.state().join(FILE)).expect("the journal opens");
        let text: String = journal.query_row("select state from clock", [], |row| row.get(0)).expect("a clock");
        let mut trust: Value = serde_json::from_str(&text).expect("JSON");
        let boot = trust["believed"]["boot"].as_u64().expect("a boot");
        trust["believed"]["boot"] = (boot ^ 1).into();
        let changed = journal.execute("update clock set state = ?1", [trust.to_string()]).expect("written");
        assert_eq!(changed, 1);
    }

    /// Names a witness; it is asked after the next start.
    fn ask(&self, teller: &Teller) {
        let ca = fixture("authority.pem");
        let settings = format!(
            "[log]\nlevel = \"error\"\n[housekeeping]\nenabled = false\n\
             [clock]\nwitness = \"https://localhost:{}/\"\nca = \"{}\"\n",
            teller.port,
            ca.display()
        );
        self.place.write("snapkeep.toml", &settings);
    }
}
