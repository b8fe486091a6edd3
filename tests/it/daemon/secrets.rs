//! A secret of a channel is in its file and at whoever is told by it, and nowhere else: not in the daemon's log, its
//! journal, an answer, a state file, an argument or an environment.
//!
//! Every kind of channel that has a secret is a row of `channels`: what reaches the receiver is written into `received`,
//! and the receiver says the secret back, as servers do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::place::Place;
use crate::support::files_below;

/// A channel whose secrets must not be seen.
struct Secretive {
    name: &'static str,
    /// Its file; what stands for the folder of the place is `FOLDER`.
    toml: &'static str,
    /// Files that hold a secret each, below the folder of the place.
    secrets: &'static [(&'static str, &'static str)],
}

/// Says its secrets in every way that it may hear them, on both its outputs, and what is seen of itself and of the
/// daemon; then takes the notice or does not, as its first argument says.
const RECEIVER: &str = r#"
cd "$(dirname "$0")" || exit 9
IFS= read -r line
printf '%s\n' "$line" >>received
cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline /proc/$PPID/environ >>seen
for process in /proc/[0-9]*; do cat "$process/cmdline" "$process/environ"; done >>seen 2>/dev/null
printf 'hello %s\n' "$line"
printf '%s\n' "$line" | tail -c 120
cat "secrets/$2" >&2; echo >&2
base64 -w0 <"secrets/$2"; echo
cat "secrets/$2"; echo
exit "$1"
"#;

fn channels() -> Vec<Secretive> {
    vec![
        Secretive { name: "ops", toml: "[log]\nlevel = \"info\"\n", secrets: &[] },
        Secretive {
            name: "pager",
            toml: "[command]\nargv = [\"/bin/sh\", \"FOLDER/receiver.sh\", \"0\", \"pager\"]\n\
                   [command.secrets]\ntoken.file = \"secrets/pager\"\n",
            secrets: &[("pager", "c4n4ry-pager-\"quoted\"-8fJ2")],
        },
        Secretive {
            name: "refusing",
            toml: "[command]\nargv = [\"/bin/sh\", \"FOLDER/receiver.sh\", \"1\", \"refusing\"]\n\
                   [command.secrets]\ntoken.file = \"FOLDER/secrets/refusing\"\nother.file = \"FOLDER/secrets/other\"\n",
            secrets: &[("refusing", "c4n4ry-refusing-Qw7\\x"), ("other", "c4n4ry-other-zP41")],
        },
    ]
}

/// What no file and no answer may hold.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let escaped = serde_json::to_string(secret).expect("JSON");
    let forms = [
        secret.to_owned(),
        escaped[1..escaped.len() - 1].to_owned(),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    forms.into_iter().map(String::into_bytes).collect()
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    bytes.windows(form.len()).any(|window| window == form)
}

fn place() -> Place {
    let place = Place::bare();
    for folder in ["channels.d", "secrets"] {
        fs::create_dir(place.path(folder)).expect("made");
    }
    place.write("snapkeep.toml", "[log]\nlevel = \"trace\"\n[housekeeping]\nenabled = false\n");
    place.write("receiver.sh", RECEIVER);
    // Every run fails at once.
    let broken = "#!/bin/sh\necho '{\"snapkeep\":1}'; read -r _; echo 'loud enough' >&2; \
                  echo '{\"fault\":{\"kind\":\"permanent\",\"message\":\"the disk is gone\"}}'\n";
    place.write("driver.sh", broken);
    let folder = place.path("").display().to_string();
    let mut names = Vec::new();
    for Secretive { name, toml, secrets } in channels() {
        place.write(&format!("channels.d/{name}.toml"), &toml.replace("FOLDER", folder.trim_end_matches('/')));
        for (file, secret) in secrets {
            let file = format!("secrets/{file}");
            place.write(&file, secret);
            fs::set_permissions(place.path(&file), fs::Permissions::from_mode(0o600)).expect("set");
        }
        names.push(format!("\"{name}\""));
    }
    let policy = format!(
        "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"\n[snapshot_config]\nrepository = \"store\"\n\
         [notification]\nchannels = [{}]\n",
        names.join(", ")
    );
    place.write("policies.d/db.toml", &policy);
    place
}

/// Returns where one of the secrets is found but in its file and at its receiver.
fn found_in(place: &Place, answers: &[(String, Vec<u8>)]) -> Vec<String> {
    let may_hold = |path: &Path| path.starts_with(place.path("secrets")) || path == place.path("received");
    let is_special = |path: &PathBuf| !fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let files = files_below(&place.path("")).into_iter().filter(|path| !may_hold(path) && !is_special(path));
    let files = files.map(|path| (path.display().to_string(), fs::read(&path).expect("readable")));
    let mut found = Vec::new();
    for (name, bytes) in files.chain(answers.iter().cloned()) {
        for (secret, text) in channels().iter().flat_map(|channel| channel.secrets) {
            if forms(text).iter().any(|form| holds(&bytes, form)) {
                found.push(format!("the secret {secret} is in {name}"));
            }
        }
    }
    found
}

#[test]
fn a_secret_is_in_its_file_and_at_its_receiver_and_nowhere_else() {
    let mut place = place();
    // Libraries too say all they can.
    let mut command = place.command(&["run"]);
    command.env("SNAPKEEP_LOG", "trace");
    place.start_as(command, "log");
    place.until("an answer", |_| Some(()));
    let mut answers = Vec::new();
    // A policy that fails tells all of them.
    let ran = place.command(&["policy", "run", "db", "--wait"]).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(1), "it fails");
    let received = |place: &Place| fs::read_to_string(place.path("received")).unwrap_or_default();
    place.until("the notices of the failure", |_| {
        let told = received(&place);
        let all =
            channels().iter().flat_map(|channel| channel.secrets).map(|(_, secret)| forms(secret)).collect::<Vec<_>>();
        all.iter().all(|forms| holds(told.as_bytes(), &forms[1])).then_some(())
    });
    let names: Vec<&str> = channels().iter().map(|channel| channel.name).collect();
    let mut commands: Vec<Vec<&str>> = names.iter().map(|name| vec!["channel", "test", name]).collect();
    commands.extend([
        vec!["--json", "channel", "test", "pager"],
        vec!["channel", "list"],
        vec!["explain"],
        vec!["check"],
        vec!["history"],
        vec!["audit", "--limit", "100"],
        vec!["policy", "show", "db"],
        vec!["operations"],
        vec!["journal", "check"],
    ]);
    for words in &commands {
        let output = place.command(words).output().expect("it runs");
        answers.push((words.join(" "), [output.stdout, output.stderr].concat()));
    }
    // Under a key what was answered is kept in the journal.
    for name in &names {
        let tested =
            place.said("POST", &format!("/v1/channels/{name}/_test"), &format!("idempotency-key: of-{name}\r\n"), b"");
        answers.push((format!("_test of {name}"), tested.text.into_bytes()));
    }
    for path in [
        "/health",
        "/v1/explain",
        "/v1/channels",
        "/v1/policies",
        "/v1/policies/db",
        "/v1/history",
        "/v1/audit?limit=1000",
        "/v1/openapi.json",
    ] {
        answers.push((path.to_owned(), place.ask("GET", path).text.into_bytes()));
    }
    // A file that is wrong is told of, too, and what was good stays in force.
    place.write("channels.d/refusing.toml", "[command]\nargv = [\"/bin/sh\"]\nsecrets.token = \"c4n4ry-other-zP41\"\n");
    place.until("the problem", |body| (!body["daemon"]["problems"].as_array()?.is_empty()).then_some(()));
    answers.push(("check".into(), place.command(&["check"]).output().expect("it runs").stdout));
    answers.push(("/v1/explain".into(), place.ask("GET", "/v1/explain").text.into_bytes()));
    answers.push(("/v1/channels".into(), place.ask("GET", "/v1/channels").text.into_bytes()));
    fs::remove_file(place.path("channels.d/refusing.toml")).expect("there");

    // The journal's log is there while the daemon runs.
    assert_eq!(found_in(&place, &answers), Vec::<String>::new());

    // All of it happened: they were told their secrets, which were said back, and it was written down.
    let told = received(&place);
    for (_, secret) in channels().iter().flat_map(|channel| channel.secrets) {
        let escaped = &forms(secret)[1];
        assert!(holds(told.as_bytes(), escaped), "nobody was told {secret}");
    }
    let said = |name: &str| {
        let (_, bytes) = answers.iter().find(|(found, _)| found == name).expect("asked");
        String::from_utf8_lossy(bytes).into_owned()
    };
    assert!(said("channel test pager").contains("***"), "{}", said("channel test pager"));
    assert!(said("channel test refusing").contains("not delivered"), "{}", said("channel test refusing"));
    let seen = fs::read(place.path("seen")).expect("looked at");
    assert!(holds(&seen, b"SNAPKEEP_KEY=") && holds(&seen, b"receiver.sh") && holds(&seen, b"run"), "nothing was seen");
    let log = fs::read_to_string(place.path("log")).expect("a log");
    assert!(log.contains("loud enough") && log.contains("tries channel ops"), "the log is not loud: {log}");
    assert!(place.path("state/journal.db-wal").exists(), "the journal's log is not looked at");

    assert_eq!(place.stop(), Some(0));
    assert_eq!(found_in(&place, &[]), Vec::<String>::new());
}
