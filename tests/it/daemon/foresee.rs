//! What will be, as people ask the running program for it.

use std::fs;
use std::process::Output;

use serde_json::Value;

use super::place::Place;

const POLICY: &str = r#"
[creation.schedule.cron]
expression = "0 0 29 2 *"

[deletion]
[deletion.schedule.cron]
expression = "0 0 29 2 *"
[deletion.condition]
max_count = 10

[snapshot_config]
repository = "store"
"#;

fn run(place: &Place, words: &[&str]) -> Output {
    let mut command = place.command(&["--utc"]);
    command.args(words).env("COLUMNS", "60").output().expect("the command runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeded(place: &Place, words: &[&str]) -> String {
    let output = run(place, words);
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    said(&output)
}

fn document(place: &Place, words: &[&str]) -> Value {
    let text = succeeded(place, &[&["--json"], words].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn people_look_ahead_and_try_an_edit_before_it_is_in_force() {
    let mut place = Place::bare();
    place.write("store/calm", "");
    place.write("policies.d/wiki.toml", POLICY);
    place.start();
    place.until("the daemon", |body| body["policies"].as_array().map(|_| ()));
    for _ in 0..6 {
        succeeded(&place, &["policy", "run", "wiki", "--wait"]);
    }

    let now = succeeded(&place, &["plan", "wiki"]);
    assert!(now.contains("UNTIL (UTC)") && now.contains("while it is the newest, then 20"), "{now}");
    assert!(now.contains("-02-29 00:00 (max_count 10)"), "{now}");
    assert!(now.contains("A deletion run now would delete 0 of 6. Nothing was deleted."), "{now}");
    let then = succeeded(&place, &["plan", "wiki", "--at", "2d"]);
    assert!(then.contains("would delete 0 of 6, if all goes by schedule until then."), "{then}");
    let drawn = succeeded(&place, &["plan", "wiki", "--until", "30d"]);
    for part in ["snapshots", "█", "N newest", "Snapshots: 6 now, lowest 6", "No guard holds a plan.", "Times are UTC."]
    {
        assert!(drawn.contains(part), "{part} is not in\n{drawn}");
    }
    assert!(!drawn.contains('\u{1b}'), "colour only on a terminal: {drawn:?}");
    assert_eq!(document(&place, &["plan", "wiki", "--until", "30d"])["in_force"]["count"]["count"], 6);

    // Edited, five more would go at once than before: told, and held by the guard of edits.
    place.write("edited.toml", &POLICY.replace("max_count = 10", "max_count = 1"));
    let file = place.path("edited.toml");
    let file = file.to_str().expect("UTF-8");
    let compared = succeeded(&place, &["plan", "wiki", "--policy", file]);
    assert_eq!(compared.matches("newly condemned").count(), 5, "{compared}");
    assert!(compared.contains("In force: a deletion run now would delete 0 of 6."), "{compared}");
    assert!(compared.contains("Edited:   a deletion run now would delete 5 of 6."), "{compared}");
    assert!(
        compared.contains("Held: ") && compared.contains("the condition was edited, and 5 snapshots go"),
        "{compared}"
    );
    let body = document(&place, &["plan", "wiki", "--policy", file]);
    assert_eq!(
        (&body["edited"]["guards"][0], &body["changes"][4]["in_force"]["verdict"]),
        (&"edit".into(), &"keep".into())
    );
    let both = succeeded(&place, &["plan", "wiki", "--policy", file, "--until", "4000d"]);
    assert!(both.contains("Only one of the two keeps until then") && both.contains("would be held"), "{both}");
    let at = document(&place, &["plan", "wiki", "--policy", file, "--at", "4d"]);
    assert_eq!((&at["edited"]["condemned"], &at["edited"]["gone"]), (&5.into(), &0.into()), "{at}");
    // None of it is in force.
    assert_eq!(document(&place, &["policy", "show", "wiki"])["condition"]["max_count"], 10);

    // One that is not in force yet begins with none.
    let fresh = document(&place, &["plan", "new", "--policy", file, "--until", "4000d"]);
    assert_eq!((&fresh["in_force"], &fresh["edited"]["count"]["count"]), (&Value::Null, &0.into()), "{fresh}");

    place.write("broken.toml", &POLICY.replace("max_count = 10", "max_count = 0"));
    let broken = place.path("broken.toml");
    let broken = broken.to_str().expect("UTF-8");
    place.write("elsewhere.toml", &POLICY.replace("\"store\"", "\"nowhere\""));
    let elsewhere = place.path("elsewhere.toml");
    for (words, code, part) in [
        (vec!["plan", "wiki", "--policy", broken], 2, "broken.toml:9:13: "),
        (vec!["plan", "wiki", "--policy", elsewhere.to_str().expect("UTF-8")], 2, "elsewhere.toml:12:14: "),
        (vec!["plan", "wiki", "--policy", "/nowhere.toml"], 2, "failed to read /nowhere.toml"),
        (vec!["plan", "nobody", "--until", "30d"], 1, "there is no policy `nobody`"),
        (vec!["plan", "wiki", "--until", "2020-01-01"], 1, "is not ahead of"),
        (vec!["plan", "wiki", "--until", "2200-01-01"], 1, "no trigger is known from 2100"),
        (vec!["plan", "wiki", "--at", "tomorrow"], 2, "`tomorrow` is no time: write a date"),
    ] {
        let refused = run(&place, &words);
        assert!(refused.status.code() == Some(code) && said(&refused).contains(part), "{words:?}: {}", said(&refused));
    }

    // Its policy is gone and one is held: an edit that takes up its uid again knows of that.
    let uid = document(&place, &["explain", "wiki"])["policies"][0]["uid"].as_str().expect("a uid").to_owned();
    let listed = document(&place, &["snapshots", "wiki"]);
    let oldest = listed["policies"][0]["snapshots"][0]["name"].as_str().expect("a name").to_owned();
    fs::remove_file(place.path("policies.d/wiki.toml")).expect("there");
    place.until("the policy to go", |body| body["policies"].as_array().filter(|all| all.is_empty()).map(|_| ()));
    let again = format!("uid = \"{uid}\"\n{}", POLICY.replace("max_count = 10", "max_count = 1"));
    place.write("again.toml", &again);
    let file = place.path("again.toml");
    let again = ["plan", "again", "--policy", file.to_str().expect("UTF-8")];
    assert_eq!(document(&place, &again)["edited"]["condemned"], 5);
    succeeded(&place, &["hold", "add", &oldest, "--reason", "audit"]);
    assert_eq!(document(&place, &again)["edited"]["condemned"], 4);
    assert_eq!(place.stop(), Some(0));
}
