//! Programs that are told notices: what they are given, what their ends mean, and that none leaves a process
//! behind or learns a secret elsewhere than on its input.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde_json::Value;
use snapkeep::lifecycle::channel::command::Command;
use snapkeep::lifecycle::channel::{Kind, SecretSource};
use snapkeep::lifecycle::notice::{Event, Facts};
use snapkeep::lifecycle::time::{Span, Timestamp};
use snapkeep::notify::{self, Again, Conversation, Message, Trouble};
use tempfile::TempDir;

use crate::support::wait::{living, living_in_group, nobody_left};

const SECRET: &str = "canary \"4711\" of the pager";

/// A folder with a script that writes its process group's number down first.
struct Script {
    folder: TempDir,
    settings: Command,
}

impl Script {
    fn new(script: &str) -> Script {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let text = format!("cd '{}'\necho $$ >group\n{script}\n", folder.path().display());
        fs::write(path("script"), text).expect("written");
        fs::write(path("secret"), SECRET).expect("written");
        fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o600)).expect("set");
        let argv = ["/bin/sh".into(), path("script").display().to_string().into(), "an argument".into()].into();
        let secrets = BTreeMap::from([("token".into(), SecretSource::File(path("secret")))]);
        let settings = Command { argv, time_limit: Span::parse("60s").expect("a span"), secrets };
        Script { folder, settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn within(mut self, span: &str) -> Script {
        self.settings.time_limit = Span::parse(span).expect("a span");
        self
    }

    async fn tell(&self) -> (Result<String, Trouble>, Vec<String>) {
        let mut conversation = Conversation::default();
        let sender = notify::open(&Kind::Command(Box::new(self.settings.clone())));
        let told = sender.deliver(&message(), &mut conversation).await;
        (told, conversation.lines().to_vec())
    }

    /// Waits until nobody is left of what was started.
    async fn group_gone(&self) {
        let group = self.read("group").trim().parse().ok().and_then(Pid::from_raw).expect("a number");
        nobody_left(move || living_in_group(group)).await;
    }
}

fn message() -> Message {
    let at = Timestamp::from_seconds(1_772_330_400);
    Message {
        key: "db/creation/7/failure/pager".into(),
        installation: "3f".into(),
        host: "backup1".into(),
        policy: Some("db".into()),
        run_id: Some("db/creation/7".into()),
        event: Event::Failure,
        subject: "db: creation failed".into(),
        facts: Facts {
            workflow: Some("creation".into()),
            what: "gave up after 4 attempts".into(),
            why: Some("no space left".into()),
            look: Some("snapkeep explain db".into()),
            ..Facts::default()
        },
        at,
        count: 2,
        latest_at: at.plus(60_000),
        attempt: 3,
        sent_at: at.plus(61_000),
    }
}

async fn check(script: &str, expected: Result<&str, &str>) {
    let script = Script::new(script);
    let (told, lines) = script.tell().await;
    match (&told, expected) {
        (Ok(answer), Ok(expected)) => assert_eq!(answer, expected),
        (Err(Trouble { why, again: Again::Later, .. }), Err(expected)) => {
            assert_eq!(why.replace("/bin/sh", "sh"), expected);
        }
        _ => panic!("{told:?}, not {expected:?}\n{lines:#?}"),
    }
    script.group_gone().await;
}

#[tokio::test]
async fn a_program_is_told_all_of_it_in_one_line_of_json() {
    let script = Script::new("cat >told; printf '%s' \"$1\" >argument; env >environment; echo paged; exit 0");
    let (told, lines) = script.tell().await;
    assert_eq!(told, Ok("ended with exit code 0: paged".into()));
    let text = script.read("told");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let expected = serde_json::json!({
        "id": "db/creation/7/failure/pager",
        "event": "failure",
        "severity": "error",
        "policy": "db",
        "run_id": "db/creation/7",
        "workflow": "creation",
        "snapshot": null,
        "subject": "db: creation failed",
        "what": "gave up after 4 attempts",
        "why": "no space left",
        "keeps": null,
        "next": null,
        "look": "snapkeep explain db",
        "at": "2026-03-01T02:00:00Z",
        "latest_at": "2026-03-01T02:01:00Z",
        "count": 2,
        "attempt": 3,
        "host": "backup1",
        "installation": "3f",
        "text": message().text(),
        "secrets": { "token": SECRET },
    });
    assert_eq!(body, expected);
    assert_eq!(script.read("argument"), "an argument");
    let mut environment: Vec<String> = script.read("environment").lines().map(str::to_owned).collect();
    // The shell's own.
    environment.retain(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own)));
    environment.sort();
    assert_eq!(
        environment,
        [
            "LANG=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SNAPKEEP_EVENT=failure",
            "SNAPKEEP_KEY=db/creation/7/failure/pager",
            "SNAPKEEP_POLICY=db",
        ]
    );
    assert!(lines.iter().any(|line| line == "< paged"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("> {") && line.contains("gave up after 4")), "{lines:#?}");
    script.group_gone().await;
}

#[tokio::test]
async fn only_zero_is_delivered_and_the_last_line_says_why() {
    check("exit 0", Ok("ended with exit code 0")).await;
    check("cat >told; echo; echo queued; echo", Ok("ended with exit code 0: queued")).await;
    check("exit 1", Err("sh ended with exit code 1")).await;
    check("echo one; echo 'no route to pager' >&2; exit 3", Err("sh ended with exit code 3: no route to pager")).await;
    check("echo full; exit 75", Err("sh ended with exit code 75: full")).await;
    check("kill -9 $$", Err("sh was ended by signal 9")).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended_with_it() {
    // Its output stays open, and it ends well.
    check("sleep 600 & echo $! >other; echo done", Ok("ended with exit code 0: done")).await;
    // One that closed its output first.
    check("sleep 600 >/dev/null 2>&1 & exec >/dev/null 2>&1; exit 4", Err("sh ended with exit code 4")).await;
}

#[tokio::test]
async fn a_program_that_never_ends_is_ended_with_all_that_it_started() {
    let script = Script::new("trap '' TERM; sh -c 'sleep 600' & sleep 600 & echo waiting; wait").within("2s");
    let (told, lines) = script.tell().await;
    let Err(Trouble { why, again: Again::Later, .. }) = told else { panic!("{told:?}") };
    assert_eq!(why, "/bin/sh did not end within 2s, and was ended: waiting");
    assert!(lines.iter().any(|line| line == "< waiting"), "{lines:#?}");
    script.group_gone().await;
}

#[tokio::test]
async fn a_delivery_that_is_dropped_leaves_nobody_behind() {
    let script = Script::new("mkfifo begun; sleep 600 & echo x >begun; wait");
    let (sender, message) = (notify::open(&Kind::Command(Box::new(script.settings.clone()))), message());
    let group = script.path("group");
    let mut conversation = Conversation::default();
    {
        let mut delivery = sender.deliver(&message, &mut conversation);
        let begun = script.path("begun");
        // Opened by the program once all is started; until then it is not there, or waits for its reader.
        let begun = async move {
            loop {
                match tokio::fs::read(&begun).await {
                    Ok(bytes) if !bytes.is_empty() => return,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::select! {
            told = &mut delivery => panic!("{told:?}"),
            () = begun => {}
        }
    }
    assert!(group.exists());
    script.group_gone().await;
}

#[tokio::test]
async fn a_delivery_that_is_dropped_while_it_is_started_leaves_nobody_behind() {
    let script = Script::new("sleep 600; true");
    let (sender, message) = (notify::open(&Kind::Command(Box::new(script.settings.clone()))), message());
    // From before anything is read until after it runs.
    for round in 0..40_u32 {
        let mut conversation = Conversation::default();
        let mut delivery = sender.deliver(&message, &mut conversation);
        let moment = async {
            for _ in 0..round.pow(2) {
                tokio::task::spawn_blocking(|| ()).await.expect("it runs");
            }
        };
        tokio::select! {
            biased;
            told = &mut delivery => panic!("{told:?}"),
            () = moment => {}
        }
    }
    assert!(script.path("group").exists(), "it was never started");
    let path = script.path("script").display().to_string();
    let is_ours = move |process: &Path| {
        fs::read(process.join("cmdline")).is_ok_and(|words| String::from_utf8_lossy(&words).contains(&path))
    };
    nobody_left(move || living(&is_ours)).await;
}

#[tokio::test]
async fn endless_output_costs_little_and_ends_with_the_program() {
    let script = Script::new("yes 'the same again'").within("2s");
    let (told, lines) = script.tell().await;
    let Err(Trouble { why, again: Again::Later, .. }) = told else { panic!("{told:?}") };
    assert_eq!(why, "/bin/sh did not end within 2s, and was ended: (the rest of its output is not kept)");
    assert!(lines.len() <= 200 && lines.iter().all(|line| line.len() < 1_000), "{}", lines.len());
    script.group_gone().await;
    // Much output keeps nobody from ending, and one line of it is a line.
    check("head -c 3000000 /dev/zero; exit 0", Ok("ended with exit code 0: (the rest of its output is not kept)"))
        .await;
}

#[tokio::test]
async fn a_secret_is_on_its_input_and_nowhere_else() {
    let script = Script::new(
        "cat >told; cat /proc/$$/cmdline /proc/$$/environ >shown; cat told; sed 's/.*token\":\"//' told; \
         cat secret; cat secret | base64 -w0; echo; cat secret >&2; exit 1",
    );
    let (told, lines) = script.tell().await;
    let Err(Trouble { why, .. }) = told else { panic!("{told:?}") };
    assert_eq!(why, "/bin/sh ended with exit code 1: ***");
    let said = format!("{why}\n{}", lines.join("\n"));
    assert!(!said.contains("4711"), "{said}");
    assert!(said.contains("with the secrets token") && said.matches("***").count() >= 4, "{said}");
    assert!(script.read("told").contains("4711"), "it was told");
    let shown = script.read("shown");
    assert!(shown.contains("an argument") && shown.contains("SNAPKEEP_KEY"), "{shown}");
    assert!(!shown.contains("4711"), "{shown}");
    script.group_gone().await;
}

#[tokio::test]
async fn a_secret_that_the_cut_went_through_is_not_shown_in_part() {
    // One line until shortly before the cut, then the secret across it.
    let script = Script::new(
        "cat >told; head -c 65525 /dev/zero | tr '\\0' x; echo; cat secret; head -c 100000 /dev/zero | tr '\\0' y; exit 1",
    );
    let (told, lines) = script.tell().await;
    let Err(Trouble { why, .. }) = told else { panic!("{told:?}") };
    assert!(why.ends_with("(the rest of its output is not kept)"), "{why}");
    assert!(!format!("{why}{lines:?}").contains("canary"), "{why} {lines:?}");
}

#[tokio::test]
async fn what_cannot_be_started_waits_for_a_person() {
    let changed = async |script: &Script, expected: &str| {
        let (told, _) = script.tell().await;
        let Err(Trouble { why, again: Again::Changed, .. }) = told else { panic!("{told:?}") };
        assert!(why.contains(expected), "{why}");
    };
    let mut script = Script::new("");
    fs::set_permissions(script.path("secret"), fs::Permissions::from_mode(0o644)).expect("set");
    changed(&script, "failed to read the secret token: ").await;
    fs::set_permissions(script.path("secret"), fs::Permissions::from_mode(0o600)).expect("set");
    let program = script.path("program");
    let told = |path: &Path| path.display().to_string().into();
    script.settings.argv = vec![told(&program)];
    changed(&script, "failed to start").await;
    fs::write(&program, "#!/bin/sh\n").expect("written");
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    allow(&program, 0o644);
    changed(&script, "is not started: program cannot be executed (chmod +x ").await;
    allow(&program, 0o757);
    changed(&script, "is not started: program can be written by everybody (chmod go-w ").await;
    allow(&program, 0o755);
    allow(script.folder.path(), 0o777);
    changed(&script, "can be written by everybody").await;
    allow(script.folder.path(), 0o700);
    fs::write(&program, "no program").expect("written");
    changed(&script, "failed to start").await;
}
