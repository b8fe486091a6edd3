//! `snapkeep driver test`: what it says of the sample driver, and of ones that break their promises.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use snapkeep::cli::arguments::Arguments;
use snapkeep::cli::execute;
use snapkeep::cli::out::Exit;
use snapkeep::drivers::conformance::{self, Bench, Outcome, Report, Scratch};
use tempfile::TempDir;
use tokio::task::JoinSet;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/tar-driver.sh");
const SETTINGS: &str = r#"{"path":"{repository}"}"#;
const CONFIG: &str = r#"{"directory":"{source}"}"#;

/// Runs `snapkeep driver test`, and returns how it ended, what it said and what it said aside.
fn test(words: &[&str]) -> (Exit, String, String) {
    let arguments = Arguments::try_parse_from(["snapkeep", "driver", "test"].iter().chain(words)).expect("understood");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = execute(arguments, &mut stdout, &mut stderr, false);
    (exit, String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"))
}

#[test]
fn the_sample_driver_passes_the_whole_suite() {
    let (exit, table, aside) = test(&["--settings", SETTINGS, "--snapshot-config", CONFIG, "--", SAMPLE]);
    assert_eq!((exit, aside.as_str()), (Exit::Fine, ""), "{table}");
    assert!(table.ends_with("33 passed, 0 failed, 1 skipped\n"), "{table}");
    assert!(table.contains("passed   restore gives the data back into an empty directory\n"), "{table}");
    assert!(table.contains("skipped  cancel of what is not being made is answered"), "{table}");
}

#[test]
fn a_repository_of_ones_own_is_left_as_it_was() {
    let folder = tempfile::tempdir().expect("a directory");
    let (source, repository) = (folder.path().join("source"), folder.path().join("repository"));
    std::fs::create_dir(&source).expect("made");
    std::fs::write(source.join("page"), "words\n").expect("written");
    std::fs::create_dir(&repository).expect("made");
    for (ending, text) in [("tar", ""), ("taken", "5\n"), ("sum", ""), ("json", "{\"sm_policy\":\"wiki\"}\n")] {
        std::fs::write(repository.join(format!("by-hand.{ending}")), text).expect("written");
    }
    let file = |name: &str, value: Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, value.to_string()).expect("written");
        path.to_str().expect("plain").to_owned()
    };
    let settings = file("settings", json!({"path": repository, "abilities": ["restore"], "memory_max": "1GiB"}));
    let config = file("config", json!({"directory": source}));
    let (exit, said, _) = test(&["--json", "--settings", &settings, "--snapshot-config", &config, "--", SAMPLE]);
    let report: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(exit, Exit::Fine, "{report:#}");
    assert_eq!((&report["failed"], &report["left"], &report["stopped"]), (&json!(0), &json!([]), &json!(false)));
    let mut names: Vec<String> = std::fs::read_dir(&repository)
        .expect("there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    assert_eq!(names, ["by-hand.json"]);
}

#[test]
fn a_program_that_fails_is_told_with_what_was_expected_and_what_came() {
    let (exit, table, _) = test(&["--", "sh", "-c", r#"echo '{"snapkeep":2}'"#]);
    assert_eq!(exit, Exit::Failed);
    assert!(table.contains("expected: an answer in the form of the protocol\n"), "{table}");
    assert!(table.contains("it speaks version 2, we speak 1\n"), "{table}");
    assert!(table.ends_with("0 passed, 1 failed, 1 skipped\n"), "{table}");
    let (exit, table, _) = test(&["--", "/nowhere/driver"]);
    assert_eq!(exit, Exit::Failed);
    assert!(table.contains("driver driver could not be started"), "{table}");
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    for (words, said) in [
        (&["--settings", "{", "--", "true"][..], "--settings is not a JSON object"),
        (&["--snapshot-config", "/nowhere/config.json", "--", "true"], "failed to read /nowhere/config.json"),
        (&["--settings", r#"{"abilities":["fly"]}"#, "--", "true"], "unknown ability fly"),
    ] {
        let (exit, table, aside) = test(words);
        assert_eq!((exit, table.as_str()), (Exit::Usage, ""), "{aside}");
        assert!(aside.contains(said), "{aside}");
    }
}

/// The sample driver with one promise broken, in a folder of its own.
struct Broken {
    folder: TempDir,
    script: PathBuf,
}

impl Broken {
    fn new(from: &str, to: &str) -> Broken {
        let text = std::fs::read_to_string(SAMPLE).expect("the sample");
        assert!(text.contains(from), "{from:?} is not in the sample any more");
        let folder = tempfile::tempdir().expect("a directory");
        let script = folder.path().join("driver.sh");
        std::fs::write(&script, text.replace(from, to)).expect("written");
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("set");
        Broken { folder, script }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("scratch/repository")
    }

    async fn report(&self) -> Report {
        let mut scratch = Scratch::make(&self.folder.path().join("scratch")).expect("made");
        let mut settings: Value = serde_json::from_str(SETTINGS).expect("JSON");
        let mut config: Value = serde_json::from_str(CONFIG).expect("JSON");
        scratch.fill(&mut settings);
        scratch.fill(&mut config);
        // Through a shell, because a script that was just written may still be open in a process that
        // another test is starting, and cannot be executed then.
        let command = ["/bin/sh".to_owned(), self.script.to_str().expect("plain").to_owned()];
        let settings = settings.as_object().expect("a table");
        let driver = conformance::open(&command, settings, Path::new("/")).expect("good settings");
        let time_max = Duration::from_secs(60);
        let bench = Bench { config: Arc::new(config), tag: "it".to_owned(), scratch, time_max };
        conformance::program(driver, &bench, std::future::pending()).await
    }
}

/// A promise that is broken: what is written in place of what, the cases that fail, and whether
/// something is left.
type Sin = (&'static str, &'static str, &'static [&'static str], bool);

const SINS: &[Sin] = &[
    (
        r#"say "${labels:-{\}}" >"#,
        "say '{}' >",
        &["labels come back as they were given", "somebody else's snapshot is listed as theirs"],
        false,
    ),
    (
        "  [ -e \"$file\" ] || continue\n",
        "  [ -e \"$file\" ] || continue; case $file in *-b.json) continue ;; esac\n",
        &["two names at the same time become two snapshots"],
        false,
    ),
    (
        "  lock ''\n  # The record goes",
        "  lock ''; [ -e \"$path/$id.json\" ] || fail permanent gone\n  # The record goes",
        &["deleting what is gone counts as deleted"],
        false,
    ),
    (
        "  rm -f \"$path/$id.json\"\n  rm -f \"$path/$id.tar\" \"$path/$id.taken\" \"$path/$id.sum\"\n",
        "",
        &[
            "delete removes that snapshot and no other",
            "what was deleted is described as null",
            "restoring what was deleted is a permanent fault",
            "verifying what was deleted is a permanent fault",
            "labelling what was deleted is a permanent fault",
        ],
        true,
    ),
    // It forgets the record, and cannot read what it then lists.
    (
        "  rm -f \"$path/$id.json\"\n",
        "",
        &[
            "delete removes that snapshot and no other",
            "what was deleted is described as null",
            "restoring what was deleted is a permanent fault",
            "labelling what was deleted is a permanent fault",
            "maintenance removes nothing before its time, and no snapshot",
            "after maintenance a snapshot still gives its data back",
            "unknown fields of a request are ignored",
            "after that the same snapshot can be made",
            "after that, too, the same snapshot can be made",
        ],
        true,
    ),
    (
        "read -r request || exit 1",
        "read -r request || exec sleep 60",
        &["the end of its input ends it, before a request"],
        false,
    ),
    (
        "  fail permanent 'this driver does not know that verb'\n",
        "  exit 3\n",
        &["an unknown verb is a permanent fault"],
        false,
    ),
    (r#""snapkeep":1,"#, r#""snapkeep":[0-9]*,"#, &["a request of a newer version is a permanent fault"], false),
    (
        "  files=$(find",
        "  rm -r \"$to/folder\"; files=$(find",
        &[
            "restore gives the data back into an empty directory",
            "after maintenance a snapshot still gives its data back",
        ],
        false,
    ),
    ("[ \"$(cksum <\"$path/$id.tar\")\" = ", "[ \"$percent\" = ", &["verify finds a good snapshot sound"], false),
    (
        "verify)\n  [ -n \"$id\" ] && [ -e \"$path/$id.json\" ] || fail permanent",
        "verify)\n  [ -n \"$id\" ] && [ -e \"$path/$id.json\" ] || fail transient",
        &["verifying what was deleted is a permanent fault"],
        false,
    ),
    (
        "    if [ -n \"$(find \"$file\" -mmin \"+$((${keep_ms:-0} / 60000))\")\" ]; then",
        "    :; done; for file in \"$path\"/*-b.*; do if true; then",
        &["maintenance removes nothing before its time, and no snapshot"],
        false,
    ),
    (
        "  marked=0 removed=0\n",
        "  marked=0 removed=0; for file in \"$path\"/*-b.tar; do tar -cf \"$file\" -T /dev/null; done\n",
        &["after maintenance a snapshot still gives its data back"],
        false,
    ),
    ("  new=$kept$(pairs", "  new=$(pairs", &["label sets and removes labels, and changes nothing else"], false),
    (
        "    case \",$removed,\" in",
        "    case , in",
        &["label sets and removes labels, and changes nothing else"],
        false,
    ),
    (
        "  [ -e \"$path/$id.json\" ] || fail permanent 'the snapshot is gone'\n  # What",
        "  [ -e \"$path/$id.json\" ] || fail transient 'the snapshot is gone'\n  # What",
        &["labelling what was deleted is a permanent fault"],
        false,
    ),
    ("[ -z \"$(ls -A \"$to\")\" ]", ":", &["restore refuses a directory that is not empty"], false),
    (
        "\"cancel\":false,\"restore\":true",
        "\"cancel\":0,\"restore\":true",
        &["abilities are told, and are enough for the settings"],
        false,
    ),
    (
        "    mv \"$path/$name.json.new\"",
        "    fail transient broken; mv \"$path/$name.json.new\"",
        &[
            "create makes a snapshot that is good",
            "after that the same snapshot can be made",
            "after that, too, the same snapshot can be made",
        ],
        false,
    ),
];

#[tokio::test]
async fn every_broken_promise_is_found_and_what_was_made_is_deleted_all_the_same() {
    let mut reports = JoinSet::new();
    for (from, to, fails, is_left) in SINS {
        let broken = Broken::new(from, to);
        reports.spawn(async move {
            let report = broken.report().await;
            let failed: Vec<&str> = report.failed().map(|case| case.name).collect();
            assert_eq!(failed, *fails, "{to}: {report:#?}");
            assert_eq!(!report.left.is_empty(), *is_left, "{to}: {report:#?}");
            let entries = std::fs::read_dir(broken.repository()).expect("there").flatten();
            let kept = entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "json"));
            assert_eq!(kept.count() > 0, *is_left, "{to}: {report:#?}");
        });
    }
    while let Some(ended) = reports.join_next().await {
        ended.expect("as it should be");
    }
}

#[tokio::test]
async fn a_suite_that_is_stopped_deletes_what_it_made() {
    // It holds the second creation up until it is ended, and the suite is stopped as soon as it began.
    let broken = Broken::new("    tar -C", "    case $name in *-b) : >\"$path/began\"; sleep 600 ;; esac; tar -C");
    let repository = broken.repository();
    let mut scratch = Scratch::make(&broken.folder.path().join("scratch")).expect("made");
    std::fs::create_dir(&repository).expect("made");
    let (mut settings, mut config) = (json!({"path": "{repository}"}), json!({"directory": "{source}"}));
    scratch.fill(&mut settings);
    scratch.fill(&mut config);
    let command = ["/bin/sh".to_owned(), broken.script.to_str().expect("plain").to_owned()];
    let driver = conformance::open(&command, settings.as_object().expect("a table"), Path::new("/")).expect("good");
    let bench = Bench { config: Arc::new(config), tag: "it".to_owned(), scratch, time_max: Duration::from_secs(60) };
    let writes = crate::support::wait::Writes::below(&[&repository]);
    let began = repository.join("began");
    let stop = async move {
        let seen = tokio::task::spawn_blocking(move || {
            while !began.exists() {
                writes.next();
            }
        });
        seen.await.expect("it begins");
    };
    let report = conformance::program(driver, &bench, stop).await;
    assert!(report.is_stopped && !report.is_good() && report.left.is_empty(), "{report:#?}");
    assert!(report.cases.iter().all(|case| case.outcome == Outcome::Passed), "{report:#?}");
    let kept = std::fs::read_dir(&repository).expect("there").flatten();
    assert_eq!(kept.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "json")).count(), 0);
}
