//! People look at channels and try them: what is sent once, what is written down of it, and what they are told.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use super::place::Place;

/// Writes down what it is told, and takes it, refuses it or waits, as it finds the folder.
const PAGER: &str = r#"
cd "$(dirname "$0")" || exit 9
if [ -e hang ]; then sed 's/"secrets".*//' >>told; read -r _ <hang; exit 0; fi
cat >>told
if [ -e refuse ]; then echo "asked the pager"; echo "no route to pager" >&2; exit 3; fi
echo paged
"#;

const TEST: &str = "/v1/channels/pager/_test";

fn place() -> Place {
    let place = Place::bare();
    place.add_channel("ops");
    place.write("pager.sh", PAGER);
    let pager = format!(
        "give_up_after = \"2h\"\nrepeat_after = \"30m\"\n[quiet_hours]\nfrom = \"22:00\"\nuntil = \"07:00\"\n\
         timezone = \"Europe/Berlin\"\nexcept = [\"stale\"]\n[command]\nargv = [\"/bin/sh\", \"{}\"]\n",
        place.path("pager.sh").display()
    );
    place.write("channels.d/pager.toml", &pager);
    let policy = "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"\n[snapshot_config]\nrepository = \"store\"\n\
                  [notification]\nchannels = [\"pager\"]\n";
    place.write("policies.d/db.toml", policy);
    place
}

fn typed(place: &Place, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = place.command(words).output().expect("it runs");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn told(place: &Place) -> usize {
    fs::read_to_string(place.path("told")).unwrap_or_default().lines().count()
}

#[test]
fn a_channel_is_tried_in_a_dialogue_and_said_to_be_delivered_or_why_not() {
    let mut place = place();
    place.up();
    let (code, said) = typed(&place, &["channel", "test", "pager"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("starting /bin/sh "), "{said}");
    assert!(said.lines().any(|line| line.starts_with("> {") && line.contains("\"event\":\"test\"")), "{said}");
    assert!(said.lines().any(|line| line == "< paged"), "{said}");
    assert_eq!(said.lines().last(), Some("delivered: ended with exit code 0: paged"), "{said}");
    let body: Value = serde_json::from_str(&fs::read_to_string(place.path("told")).expect("told")).expect("JSON");
    assert_eq!((&body["event"], &body["severity"], &body["policy"]), (&"test".into(), &"info".into(), &Value::Null));
    assert!(body["what"].as_str().is_some_and(|what| what.contains("tries channel pager")), "{body}");

    place.write("refuse", "");
    let (code, said) = typed(&place, &["channel", "test", "pager"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not delivered: /bin/sh ended with exit code 3: no route to pager\n"), "{said}");
    assert!(said.contains("< asked the pager\n") && said.contains("It may be over soon"), "{said}");
    let (code, said) = typed(&place, &["--json", "channel", "test", "pager"]);
    let body: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &body["delivered"], &body["again"]), (Some(1), &false.into(), &"later".into()), "{said}");

    let (code, said) = typed(&place, &["channel", "test", "ops"]);
    assert_eq!((code, said.lines().last()), (Some(0), Some("delivered: logged")), "{said}");
    assert!(fs::read_to_string(place.path("log")).expect("a log").contains("tries channel ops"));
    let (code, said) = typed(&place, &["channel", "test", "pagr"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no channel `pagr`") && said.contains("did you mean `pager`?"), "{said}");

    // Each is written down before it is sent, and with what came of it; the one that is not there as refused.
    let audit = place.ask("GET", "/v1/audit").is(200);
    let lines: Vec<String> = audit["records"].as_array().expect("a list").iter().rev().map(line).collect();
    let expected = [
        "test channel pager →sending",
        "test channel pager sending→delivered done",
        "test channel pager →sending",
        "test channel pager sending→not delivered failed",
        "test channel pager →sending",
        "test channel pager sending→not delivered failed",
        "test channel ops →sending",
        "test channel ops sending→delivered done",
        "refused POST /v1/channels/{name}/_test → 404 Not Found",
    ];
    assert_eq!(lines, expected);
    assert_eq!(place.stop(), Some(0));
}

/// Returns a record of the audit in a line.
fn line(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let (what, subject) = (text("what"), text("subject"));
    format!("{what} {subject} {}→{} {}", text("before"), text("after"), text("answer")).trim_end().to_owned()
}

#[test]
fn a_test_under_a_key_is_sent_once_even_if_the_daemon_is_killed_meanwhile() {
    let mut place = place();
    place.up();
    let ask = |place: &Place, key: &str| place.said("POST", TEST, &format!("idempotency-key: {key}\r\n"), b"");
    let first = ask(&place, "a");
    let again = ask(&place, "a");
    assert_eq!((first.status, again.status, &again.text), (200, 200, &first.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(told(&place), 1, "the same key is the same message");
    assert_eq!(ask(&place, "b").is(200)["delivered"], true);
    assert_eq!(told(&place), 2);

    let made = Command::new("mkfifo").arg(place.path("hang")).status().expect("it runs");
    assert!(made.success());
    let asked = place.begin("POST", TEST, "idempotency-key: c\r\n", b"");
    place.until("the message to be sent", |_| (told(&place) == 3).then_some(()));
    // Whoever asks meanwhile is told that it goes on.
    assert_eq!(ask(&place, "c").is(409)["code"], "request_under_way");
    place.kill();
    drop(asked);
    // Lets the program end that the daemon could not.
    fs::write(place.path("hang"), "\n").expect("it listens");
    fs::remove_file(place.path("hang")).expect("there");
    place.up();
    let refused = ask(&place, "c").is(409);
    assert_eq!(refused["code"], "not_done", "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("not known whether")), "{refused}");
    assert_eq!(told(&place), 3, "it is not sent again");
    assert_eq!(ask(&place, "d").is(200)["delivered"], true);
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn whoever_goes_away_leaves_no_test_half_done() {
    let mut place = place();
    let made = Command::new("mkfifo").arg(place.path("hang")).status().expect("it runs");
    assert!(made.success());
    place.up();
    let asked = place.begin("POST", TEST, "", b"");
    place.until("the message to be sent", |_| (told(&place) == 1).then_some(()));
    drop(asked);
    fs::write(place.path("hang"), "\n").expect("it listens");
    place.until("what came of it", |_| {
        let audit = place.ask("GET", "/v1/audit").is(200);
        let lines: Vec<String> = audit["records"].as_array()?.iter().map(line).collect();
        lines.contains(&"test channel pager sending→delivered done".to_owned()).then_some(())
    });
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn channels_are_listed_with_who_tells_them_and_what_is_wrong() {
    let mut place = place();
    place.write("channels.d/bad.toml", "[command]\nargv = [\"/bin/true\"]\nsecrets.token = \"hunter2\"\n");
    place.up();
    let body = place.ask("GET", "/v1/channels").is(200);
    let channels = body["channels"].as_array().expect("a list");
    assert_eq!(
        channels.iter().map(|channel| channel["name"].as_str()).collect::<Vec<_>>(),
        [Some("ops"), Some("pager")]
    );
    let pager = &channels[1];
    assert_eq!((&pager["kind"], &pager["give_up_after"]), (&"command".into(), &"2h".into()));
    assert_eq!((&pager["repeat_after"], &pager["policies"]), (&"30m".into(), &serde_json::json!(["db"])));
    let quiet = serde_json::json!({
        "from": "22:00", "until": "07:00", "timezone": "Europe/Berlin", "except": ["stale"]
    });
    assert_eq!(pager["quiet_hours"], quiet);
    assert_eq!(channels[0]["policies"], serde_json::json!([]));
    assert_eq!(body["problems"].as_array().map(Vec::len), Some(1), "{body}");
    assert!(body["problems"][0]["message"].as_str().is_some_and(|told| told.contains("is a secret")), "{body}");
    // The last good version goes on, and its file is in trouble.
    place.write("channels.d/pager.toml", "[command]\nargv = [\"pager.sh\"]\n");
    place.until("the problem", |_| {
        let body = place.ask("GET", "/v1/channels").is(200);
        let problem = body["channels"][1]["problems"][0]["message"].as_str()?.to_owned();
        (problem == "program `pager.sh` is not an absolute path").then_some(())
    });
    let (code, said) = typed(&place, &["channel", "list"]);
    assert_eq!(code, Some(0), "{said}");
    for expected in
        ["pager", "command", "db", "22:00-07:00 Europe/Berlin", "30m", "2h", "nobody", "not an absolute path"]
    {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    let log = fs::read_to_string(place.path("log")).expect("a log");
    for told in [said, body.to_string(), place.ask("GET", "/v1/explain").text, log] {
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(place.stop(), Some(0));
}
