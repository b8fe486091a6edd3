//! Holds, adoption, expiry and orphans as people ask for them.

use std::fs;
use std::process::Output;

use serde_json::Value;
use snapkeep::journal::{AuditQuery, Reader};

use super::place::Place;

const POLICY: &str = r#"
[creation.schedule.cron]
expression = "0 0 29 2 *"

[deletion.condition]
max_count = 1

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

/// Runs a command that has to go well.
fn done(place: &Place, words: &[&str]) -> String {
    let output = run(place, words);
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    said(&output)
}

/// Runs a command that has to be refused for this.
fn refused(place: &Place, words: &[&str], why: &str) {
    let output = run(place, words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}", said(&output));
    assert!(said(&output).contains(why), "{words:?}: {}", said(&output));
}

fn document(place: &Place, words: &[&str]) -> Value {
    let output = run(place, &[&["--json"], words].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

/// Returns the names of a policy's snapshots, oldest first.
fn names(place: &Place, policy: &str) -> Vec<String> {
    let body = document(place, &["snapshots", policy]);
    let snapshots = body["policies"][0]["snapshots"].as_array().expect("a list").clone();
    snapshots.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

fn make(place: &Place, policy: &str) -> String {
    done(place, &["policy", "run", policy, "--wait"]);
    names(place, policy).pop().expect("made")
}

#[test]
fn people_hold_adopt_and_expire_single_snapshots_through_the_daemon() {
    let mut place = Place::bare();
    place.add_wiki("words of many kinds\n");
    for name in ["wiki", "old"] {
        place.write(&format!("policies.d/{name}.toml"), POLICY);
    }
    place.start();
    place.until("the policies", |body| body["policies"].as_array().filter(|all| all.len() == 2).map(|_| ()));
    let first = make(&place, "wiki");
    let second = make(&place, "wiki");
    let left = make(&place, "old");

    // Held, shown everywhere, and not deleted though the rule condemns it.
    refused(&place, &["hold", "add", "nobody", "--reason", "audit"], "no repository has a snapshot nobody");
    refused(&place, &["hold", "add", &first, "--reason", "audit", "--until", "2020-01-01"], "would be over already");
    refused(&place, &["hold", "add", &first, "--reason", " "], "a hold needs a reason");
    let bad = run(&place, &["hold", "add", &first, "--reason", "audit", "--until", "soon"]);
    assert_eq!(bad.status.code(), Some(2), "{}", said(&bad));
    let told = done(&place, &["hold", "add", &first, "--reason", "audit of 2026", "--until", "30d", "--compliance"]);
    assert!(told.contains("held in repository local in compliance mode until"), "{told}");
    refused(&place, &["hold", "add", &first, "--reason", "less", "--until", "1d"], "lengthened, never shortened");
    done(&place, &["hold", "add", &first, "--reason", "audit of 2026", "--until", "2099-01-31"]);
    let listed = document(&place, &["hold", "list"]);
    let hold = &listed["holds"][0];
    assert_eq!((&hold["mode"], &hold["policy"]), (&"compliance".into(), &"wiki".into()), "{listed}");
    assert!(done(&place, &["hold", "list"]).contains("audit of 2026"));
    assert!(done(&place, &["snapshots", "wiki"]).contains("audit of 2026"));
    assert!(done(&place, &["snapshots", "--repository", "local"]).contains("audit of 2026"));
    let plan = done(&place, &["plan", "wiki"]);
    assert!(plan.contains("held until 2099-01-3") && plan.contains("would delete 0 of 2"), "{plan}");
    assert!(done(&place, &["explain", "wiki"]).contains("1 snapshot; `snapkeep hold list` shows it"));
    done(&place, &["policy", "run", "wiki", "--deletion", "--wait"]);
    assert_eq!(names(&place, "wiki"), [first.clone(), second.clone()]);
    refused(&place, &["expire", &first, "--owned", "--yes"], "it is held until 2099-01-3");

    // A hold is removed while it cools off, from the journal and from the snapshot.
    done(&place, &["hold", "remove", &first]);
    refused(&place, &["hold", "remove", &first], "nothing holds it");
    assert!(done(&place, &["hold", "list"]).contains("Nothing is held."));
    assert!(done(&place, &["plan", "wiki"]).contains("would delete 1 of 2"));

    // What a policy owns goes with a word, what nobody may decide does not; nothing without --yes.
    refused(&place, &["expire", &first], "--owned says that you know");
    refused(&place, &["expire", &second, "--owned", "--yes"], "it is the newest good one of policy wiki");
    refused(&place, &["expire", &first, "nobody", "--owned", "--yes"], "no repository has a snapshot nobody");
    let told = done(&place, &["expire", &first, "--owned"]);
    assert!(told.contains("to be deleted") && told.contains("Nothing was changed; the same with --yes"), "{told}");
    assert_eq!(names(&place, "wiki"), [first.clone(), second.clone()]);
    let told = done(&place, &["expire", &first, "--owned", "--yes"]);
    assert!(told.contains("1 of 1 deleted"), "{told}");
    assert_eq!(names(&place, "wiki"), [second.as_str()]);

    // A policy goes, and what it made is nobody's till another adopts it.
    assert!(done(&place, &["snapshots", "--orphans"]).contains("Somebody looks after every snapshot."));
    refused(&place, &["adopt", &left, "--policy", "wiki", "--yes"], "policy old owns it");
    fs::remove_file(place.path("policies.d/old.toml")).expect("there");
    place.until("the policy to go", |body| body["policies"].as_array().filter(|all| all.len() == 1).map(|_| ()));
    let orphans = document(&place, &["snapshots", "--orphans"]);
    let one = &orphans["snapshots"][0];
    assert_eq!((&one["name"], &one["orphaned"][0]), (&left.clone().into(), &"retired".into()), "{orphans}");
    assert_eq!((orphans["snapshots"].as_array().map(Vec::len), &one["whose"]), (Some(1), &"old, which is gone".into()));
    let table = done(&place, &["snapshots", "--orphans"]);
    assert!(table.contains("its policy lives no more") && table.contains(&left), "{table}");
    refused(&place, &["adopt", &left, "--policy", "nobody"], "there is no policy `nobody`");
    assert!(done(&place, &["adopt", &left, "--policy", "wiki"]).contains("to become policy wiki's"));
    assert_eq!(names(&place, "wiki"), [second.as_str()]);
    let adopted = document(&place, &["adopt", &left, "--policy", "wiki", "--yes"]);
    assert_eq!(adopted["operation"]["state"], "succeeded", "{adopted}");
    assert_eq!(names(&place, "wiki"), [second.clone(), left.clone()]);
    refused(&place, &["adopt", &left, "--policy", "wiki"], "it is policy wiki's already");
    assert!(done(&place, &["snapshots", "--orphans"]).contains("Somebody looks after every snapshot."));
    done(&place, &["verify", &left, "--read-data", "100%"]);

    let table = done(&place, &["operations", "--what", "adopt"]);
    assert!(table.contains("1 of 1 adopted by policy wiki"), "{table}");
    assert_eq!(place.stop(), Some(0));
    let reader = Reader::open(&place.state()).expect("a reader");
    let records = reader.audit(&AuditQuery { limit: 1_000, ..AuditQuery::default() }).expect("the audit");
    let count = |what: &str, subject: &str, detail: &str| {
        let is = |audit: &snapkeep::journal::change::Audit| {
            *audit.what == *what && *audit.subject == *subject && audit.detail.contains(detail)
        };
        records.iter().filter(|record| is(&record.audit) && record.audit.who.starts_with("uid:")).count()
    };
    // What was about to be done, and what was.
    for (what, subject, details) in [
        ("expire", &first, ["to be deleted in repository local", "deleted in repository local"]),
        ("adopt", &left, ["to become policy wiki's in repository local", "policy wiki's in repository local"]),
    ] {
        for (detail, answer) in details.into_iter().zip([None, Some("done")]) {
            let mut of = records.iter().map(|record| &record.audit).filter(|audit| audit.detail == detail);
            let found = of
                .any(|audit| *audit.what == *what && *audit.subject == **subject && audit.answer.as_deref() == answer);
            assert!(found, "{what} {subject}, {detail}: {records:#?}");
        }
    }
    // When it was held in the journal, when it was on the snapshot too; twice.
    assert_eq!((count("hold", &first, "held in repository local"), count("release", &first, "")), (4, 1));
}

/// Its driver keeps snapshots and cannot change their labels.
#[test]
fn where_labels_cannot_be_changed_the_journal_alone_holds() {
    let mut place = Place::new();
    place.write("calm", "");
    place.start();
    place.until("a snapshot", |body| body["policies"][0]["last_good"]["snapshot"].as_str().map(|_| ()));
    done(&place, &["policy", "stop", "every"]);
    let name = names(&place, "every").pop().expect("made");
    let told = done(&place, &["hold", "add", &name, "--reason", "audit"]);
    assert!(told.contains("cannot change labels: only the journal knows it"), "{told}");
    refused(&place, &["expire", &name, "--owned", "--yes"], "it is held without end: audit");
    done(&place, &["hold", "remove", &name]);
    // A hold on what somebody else deletes can be removed all the same.
    done(&place, &["hold", "add", &name, "--reason", "audit"]);
    fs::rename(place.path(&format!("store/{name}.snap")), place.path("aside")).expect("moved");
    refused(&place, &["hold", "add", &name, "--reason", "audit"], "no repository has a snapshot");
    done(&place, &["hold", "remove", &name]);
    refused(&place, &["hold", "remove", &name], "no repository has a snapshot");
    fs::rename(place.path("aside"), place.path(&format!("store/{name}.snap"))).expect("moved");
    refused(&place, &["adopt", &name, "--policy", "every"], "cannot change labels");
    assert_eq!(place.stop(), Some(0));
}
