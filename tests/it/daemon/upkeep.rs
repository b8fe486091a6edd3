//! Maintenance and verification as people ask for them: the daemon does it, shows it and writes it down.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use rustix::process::Pid;
use serde_json::Value;
use snapkeep::journal::record::OperationKind;
use snapkeep::journal::{AuditQuery, OperationQuery, Reader};

use super::place::Place;
use crate::support::wait;

const POLICY: &str = r#"
[creation.schedule.cron]
expression = "0 0 29 2 *"

[snapshot_config]
repository = "local"
paths = ["wiki"]
"#;

fn run(place: &Place, words: &[&str]) -> Output {
    place.command(words).output().expect("the command runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

/// Returns the latest maintenance of a repository as explain has it.
fn maintenance(body: &Value, repository: &str) -> Option<Value> {
    let repositories = body["daemon"]["repositories"].as_array()?;
    let shown = repositories.iter().find(|shown| shown["name"] == repository)?;
    Some(shown["maintenance"].clone()).filter(|latest| !latest.is_null())
}

/// Returns the largest pack.
fn pack(place: &Place) -> PathBuf {
    let folders = fs::read_dir(place.path("kept/data")).expect("there").flatten();
    let packs = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("there").flatten());
    packs.map(|pack| pack.path()).max_by_key(|pack| fs::metadata(pack).expect("there").len()).expect("one")
}

#[test]
fn people_verify_snapshots_and_maintain_repositories_through_the_daemon() {
    let mut place = Place::bare();
    place.add_wiki(&"words of many kinds\n".repeat(100));
    place.write("policies.d/wiki.toml", POLICY);
    place.start();
    place.until("the daemon", |body| body["policies"].as_array().map(|_| ()));
    let made = run(&place, &["--json", "policy", "run", "wiki", "--wait"]);
    assert!(made.status.success(), "{}", said(&made));
    let kept = document(&run(&place, &["--json", "snapshots", "wiki"]));
    let found = kept.to_string();
    let name = found.split("\"name\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name").to_owned();

    let sound = run(&place, &["verify", &name, "--read-data", "100%", "--policy", "wiki"]);
    assert!(sound.status.success() && said(&sound).contains("is sound"), "{}", said(&sound));
    let sound = document(&run(&place, &["--json", "verify", &name]));
    assert_eq!((&sound["state"], &sound["what"]), (&"succeeded".into(), &"verify".into()), "{sound}");
    assert_eq!((&sound["verified"]["files"], &sound["verified"]["bytes_read"]), (&1.into(), &0.into()), "{sound}");
    for (words, expected) in [
        (vec!["verify", "nobody"], "no repository has a snapshot nobody"),
        (vec!["verify", ""], "snapshot must be 1 to 512 printable characters"),
        (vec!["verify", "a\u{1}b"], "snapshot must be 1 to 512 printable characters"),
        (vec!["verify", &name, "--policy", "nobody"], "there is no policy `nobody`"),
        (vec!["maintain", "nowhere"], "there is no repository `nowhere`"),
        (vec!["maintain", "store"], "has no maintenance"),
    ] {
        let refused = run(&place, &words);
        assert!(refused.status.code() == Some(1) && said(&refused).contains(expected), "{}", said(&refused));
    }

    let maintained = run(&place, &["maintain", "local"]);
    assert!(maintained.status.success(), "{}", said(&maintained));
    assert!(said(&maintained).contains("Repository local is maintained and sound"), "{}", said(&maintained));
    let shown = place.until("it to be shown", |body| maintenance(body, "local"));
    assert_eq!(shown["state"], "succeeded", "{shown}");
    let told = said(&run(&place, &["explain", "wiki"]));
    assert!(told.contains("maintenance: sound") && told.contains("removed 0 packs"), "{told}");

    // A byte is flipped, and a pack is lost: each is found by whoever looks for it, and told.
    let pack = pack(&place);
    let whole = fs::read(&pack).expect("readable");
    let mut spoiled = whole.clone();
    spoiled[whole.len() / 2] ^= 1;
    fs::write(&pack, spoiled).expect("written");
    let damaged = run(&place, &["verify", &name, "--read-data", "100%"]);
    assert!(damaged.status.code() == Some(1) && said(&damaged).contains("is damaged: pack"), "{}", said(&damaged));
    fs::remove_file(&pack).expect("removed");
    let damaged = run(&place, &["maintain", "local"]);
    assert!(
        damaged.status.code() == Some(1) && said(&damaged).contains("does not hold together"),
        "{}",
        said(&damaged)
    );
    let shown =
        place.until("the trouble", |body| maintenance(body, "local").filter(|latest| latest["state"] == "failed"));
    assert!(shown["message"].as_str().expect("a text").contains("does not hold together"), "{shown}");
    let told = said(&run(&place, &["explain"]));
    assert!(told.contains("Maintenance of repository local failed at"), "{told}");
    assert!(told.contains("maintenance: failed"), "{told}");

    // All of it is history, newest first; a repository that is gone warns of nothing.
    let kept = |words: &[&str]| {
        let body = document(&run(&place, &[&["--json", "operations"], words].concat()));
        let line = |operation: &Value| {
            let word = |key: &str| operation[key].as_str().expect("a word").to_owned();
            format!("{} {} {}", word("what"), word("subject"), word("state"))
        };
        body["operations"].as_array().expect("a list").iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        kept(&["--what", "maintain"]),
        ["maintain local failed", "maintain local succeeded", "maintain store failed"]
    );
    assert_eq!(kept(&["lo*", "--limit", "1"]), ["maintain local failed"]);
    assert_eq!(kept(&["nobody"]), ["verify nobody failed"]);
    let table = said(&run(&place, &["operations", "local"]));
    assert!(table.contains("OUTCOME") && table.contains("does not hold together"), "{table}");
    fs::remove_file(place.path("policies.d/wiki.toml")).expect("removed");
    fs::remove_file(place.path("repositories.d/local.toml")).expect("removed");
    place.until("the repository to go", |body| maintenance(body, "local").is_none().then_some(()));
    assert!(!said(&run(&place, &["explain"])).contains("Maintenance of repository local"));
    assert_eq!(place.stop(), Some(0));

    let reader = Reader::open(&place.state()).expect("a reader");
    let records = reader.audit(&AuditQuery { limit: 100, ..AuditQuery::default() }).expect("the audit");
    let of = |what: &str, detail: &str| {
        let is = |record: &&snapkeep::journal::change::AuditRecord| {
            let audit = &record.audit;
            *audit.what == *what && audit.who.starts_with("uid:") && audit.detail.contains(detail)
        };
        records.iter().filter(is).count()
    };
    assert_eq!((of("verify", "sound in repository local"), of("verify", "is damaged: pack")), (2, 1), "{records:#?}");
    assert_eq!((of("maintain", "removed 0 packs"), of("maintain", "does not hold together")), (1, 1), "{records:#?}");
}

/// Never ends a maintenance by itself.
const STUCK: &str = r#"#!/bin/sh
echo '{"snapkeep":1}'
IFS= read -r request
case $request in
*'"verb":"maintain"'*)
  echo $$ >"${0%/*}/store/pid"
  exec sleep 600 ;;
*) echo '{"fault":{"kind":"permanent","message":"no such verb"}}' ;;
esac
"#;

#[test]
fn a_daemon_that_stops_ends_a_maintenance_under_way() {
    let mut place = Place::bare();
    place.write("driver.sh", STUCK);
    let repository = format!(
        "driver = \"exec\"\nabilities = [\"maintain\"]\ncommand = [\"{}\"]\n",
        place.path("driver.sh").display()
    );
    place.write("repositories.d/store.toml", &repository);
    place.start();
    place.until("the daemon", |body| body["policies"].as_array().map(|_| ()));
    let mut waits = place.command(&["maintain", "store"]).spawn().expect("the command runs");
    let process = place.until("the maintenance", |_| {
        let pid = fs::read_to_string(place.path("store/pid")).ok()?;
        let pid = pid.strip_suffix('\n')?.parse().expect("a number");
        Pid::from_raw(pid)
    });
    // It was in the journal before the driver was asked, and is when nobody is left to say how it ended.
    let journaled = || {
        let reader = Reader::open(&place.state()).expect("a reader");
        let records = reader.operations(&OperationQuery { limit: 9, ..OperationQuery::default() }).expect("read");
        let [only] = &records[..] else { panic!("one, not {records:#?}") };
        (only.kind, only.subject.clone(), only.end.as_ref().map(|end| end.outcome))
    };
    assert_eq!(journaled(), (OperationKind::Maintain, "store".into(), None));
    let shown = place.until("it to be shown", |body| maintenance(body, "store"));
    assert_eq!(shown["state"], "running", "{shown}");
    assert_eq!(place.stop(), Some(0));
    assert!(wait::died(process, wait::PATIENCE), "it goes on");
    assert_eq!(waits.wait().expect("it ends").code(), Some(3));
    place.start();
    let shown = place.until("what became of it", |body| maintenance(body, "store"));
    assert_eq!(shown["state"], "interrupted", "{shown}");
    assert_eq!(place.stop(), Some(0));
}
