//! Drivers that misbehave: each costs a bounded amount and ends in the fault that belongs to it, and
//! none leaves a process behind.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Map;
use snapkeep::drivers::process::{Limits, ProcessDriver, Program};
use snapkeep::drivers::{Abilities, Call, Driver, ProgressSink};
use snapkeep::lifecycle::snapshot::SnapshotName;
use snapkeep::lifecycle::workflow::Fault;
use tempfile::TempDir;

use crate::support::wait::{PATIENCE, Writes, all_dead, living_in_group, nobody_left};

/// Reads the request and greets; then it misbehaves.
const GREET: &str = r#"read -r request; echo '{"snapkeep":1}'; "#;

/// A driver that is a shell script. It writes its process group's number down first.
struct Script {
    folder: TempDir,
    driver: ProcessDriver,
}

impl Script {
    fn new(script: &str, limits: Limits) -> Script {
        let folder = tempfile::tempdir().expect("a directory");
        let script = format!("echo $$ >'{}/group'; {script}", folder.path().display());
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            called: None,
            title: "script".to_owned(),
        };
        let abilities = Abilities {
            cancel: false,
            restore: false,
            restore_beside: false,
            verify: false,
            maintain: false,
            label: false,
            effects_max: 1,
        };
        let driver = ProcessDriver::new(program, Map::new(), abilities, limits);
        Script { folder, driver }
    }

    fn group_file(&self) -> PathBuf {
        self.folder.path().join("group")
    }
}

fn limits() -> Limits {
    Limits { grace: Duration::from_millis(300), output_bytes_max: 4 << 20, ..Limits::default() }
}

/// Long enough for a loaded machine; what should end at once does.
fn patient() -> Call {
    Call { time_max: Duration::from_secs(30), progress: ProgressSink::default() }
}

fn name() -> SnapshotName {
    SnapshotName::new("a-1").expect("valid")
}

/// Returns the group whose number stands in `file`, once its leader has written it down.
fn group(file: &Path) -> Option<Pid> {
    std::fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok().and_then(Pid::from_raw)
}

/// Waits until nobody is left in the group whose number stands in `file`, and its leader is reaped.
async fn group_gone(file: &Path) {
    let group = group(file).expect("the script wrote its group");
    nobody_left(move || living_in_group(group)).await;
    // Whoever reaps it is a task of this runtime, which has only to come to its turn.
    let began = Instant::now();
    let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(group), end).is_ok() {
        assert!(began.elapsed() < PATIENCE, "the leader of group {group:?} is dead and nobody reaps it");
        tokio::task::yield_now().await;
    }
}

/// Describes with a misbehaving script and returns the fault as text.
async fn check_with(script: &str, limits: Limits, call: Call, expected: &str) {
    let script = Script::new(script, limits);
    let outcome = script.driver.describe(&name(), &call).await;
    let told = match outcome {
        Ok(found) => format!("ok: {found:?}"),
        Err(Fault { kind, message, .. }) => format!("{}: {message}", kind.word()),
    };
    assert!(told.contains(expected), "expected {expected:?}, got {told:?}");
    group_gone(&script.group_file()).await;
}

async fn check(script: &str, expected: &str) {
    check_with(&format!("{GREET}{script}"), limits(), patient(), expected).await;
}

#[tokio::test]
async fn a_driver_that_behaves_is_believed() {
    check(r#"echo '{"result":{"snapshot":null}}'"#, "ok: None").await;
    let snapshot = r#"{"name":"a-1","id":"7","taken_at_ms":5,"status":"good","labels":{"a":"b"}}"#;
    check(&format!(r#"echo '{{"result":{{"snapshot":{snapshot}}}}}'"#), "ok: Some(").await;
    check(r#"echo '{"fault":{"kind":"busy","message":"locked","retry_after_ms":5}}'; exit 3"#, "busy: locked").await;
}

#[tokio::test]
async fn endless_output_is_cut_off() {
    check(r#"yes '{"progress":{"doing":"x"}}'"#, "permanent: driver script broke the driver protocol: it wrote more")
        .await;
    check("cat /dev/zero", "a line is longer than 262144 bytes").await;
}

#[tokio::test]
async fn output_that_is_not_the_protocol_is_refused() {
    check("echo hello; sleep 60", "not a line of the protocol").await;
    check(r"printf '\377\376\n'; sleep 60", "not UTF-8").await;
    check(r#"echo '{"result":{"snapshot":null}}{"x":1}'"#, "not a line of the protocol").await;
    check(r#"printf '{"result":{"snapshot":null}}'"#, "its last line has no end").await;
    check(r#"echo '{"result":{}}'"#, "its result was wrong: missing field `snapshot`").await;
    check(r#"echo '{"result":{"snapshot":null,"more":1}}'"#, "its result was wrong: unknown field `more`").await;
    let other = r#"{"name":"b","id":"7","status":"good"}"#;
    check(&format!(r#"echo '{{"result":{{"snapshot":{other}}}}}'"#), "asked for a-1, it answered for b").await;
    let again = r#"printf '{"result":{"snapshot":null}}\n{"result":{"snapshot":null}}\n'"#;
    check(again, "it went on after its last line").await;
    check_with(r#"echo '{"snapkeep":2}'; sleep 60"#, limits(), patient(), "it speaks version 2, we speak 1").await;
    check_with("sleep 0.01; exit 0", limits(), patient(), "ended without a result").await;
}

#[tokio::test]
async fn a_driver_that_ends_without_a_result_is_asked_again() {
    check(
        "echo 'no such host' >&2; exit 4",
        "transient: driver script ended with exit code 4 during describe: no such host",
    )
    .await;
    check("kill -9 $$", "transient: driver script was ended by signal 9 during describe").await;
    check(r#"echo '{"result":{"snapshot":null}}'; exit 1"#, "transient: driver script ended with exit code 1").await;
    check("exec >&-; sleep 60", "closed its output, gave no result and had to be ended").await;
}

#[tokio::test]
async fn a_driver_that_hangs_is_ended_at_its_deadline() {
    let short = || Call { time_max: Duration::from_millis(300), progress: ProgressSink::default() };
    let expected = "transient: driver script did not describe within 300ms";
    check_with("sleep 60", limits(), short(), expected).await;
    check_with(&format!("{GREET} trap '' TERM; sleep 60 & sleep 60"), limits(), short(), expected).await;
    // It never reads its request, and the request is larger than a pipe holds.
    check_with("exec sleep 60", limits(), short(), expected).await;
    check_with(&format!("{GREET} yes nonsense >&2"), limits(), short(), expected).await;
}

#[tokio::test]
async fn a_good_result_stands_when_the_process_lingers_and_its_children_are_ended() {
    check(r#"echo '{"result":{"snapshot":null}}'; sleep 60"#, "ok: None").await;
    check(r#"sleep 60 & echo '{"result":{"snapshot":null}}'"#, "ok: None").await;
    check("sleep 60 & exit 5", "transient: driver script ended with exit code 5").await;
}

#[tokio::test]
async fn the_input_of_a_driver_stays_open_until_it_has_ended() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("told");
    // As a shell script would watch it: the end of the input while it still runs is the end of the daemon.
    let watch = format!("exec 3<&0; {{ cat <&3; echo over >'{}'; kill $$; }} &", file.display());
    let script = format!(r#"{GREET}{watch} echo '{{"result":{{"snapshot":null}}}}'; sleep 0.1; exit 0"#);
    check_with(&script, Limits::default(), patient(), "ok: None").await;
    assert!(!file.exists());
}

#[tokio::test]
async fn memory_beyond_the_limit_is_refused_by_the_kernel_and_told() {
    let small = Limits { memory_bytes_max: 64 << 20, ..limits() };
    // tail keeps what has no line feed in memory.
    let hog = format!("{GREET} head -c 300000000 /dev/zero | tail; exit 9");
    check_with(&hog, small, patient(), "(memory_max is 64 MiB)").await;
}

#[tokio::test]
async fn a_listing_that_lies_about_its_count_is_incomplete() {
    let snapshot = r#"{"snapshot":{"name":"a","id":"1","status":"good"}}"#;
    let cases = [
        (
            format!(r#"echo '{snapshot}'; echo '{{"result":{{"count":2}}}}'"#),
            "it listed 1 snapshots and said there were 2",
        ),
        (format!("echo '{snapshot}'"), "ended without a result"),
        (format!("echo '{snapshot}'; kill -9 $$"), "ended by signal 9"),
        (format!("echo '{snapshot}'; echo oops"), "not a line of the protocol"),
    ];
    for (script, expected) in cases {
        let script = Script::new(&format!("{GREET}{script}"), limits());
        let fault = script.driver.list(&patient()).await.expect_err("must be refused");
        assert!(fault.message.contains(expected), "{fault:?}");
        assert_eq!(fault.kind.word(), "incomplete", "{fault:?}");
        group_gone(&script.group_file()).await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_process() {
    // The second one does not listen to the polite signal.
    for script in ["sleep 60 & sleep 60", "trap '' TERM; sleep 60 & sleep 60 & wait"] {
        let began = Arc::new(tokio::sync::Notify::new());
        let told = Arc::clone(&began);
        let call = Call { time_max: Duration::from_secs(30), progress: ProgressSink::new(move |_| told.notify_one()) };
        let script = Script::new(&format!(r#"{GREET} echo '{{"progress":{{"doing":"x"}}}}'; {script}"#), limits());
        let name = name();
        tokio::select! {
            _ = script.driver.describe(&name, &call) => panic!("it does not answer"),
            () = began.notified() => {}
        }
        group_gone(&script.group_file()).await;
    }
}

#[test]
fn a_call_that_is_dropped_with_its_runtime_leaves_no_process() {
    let script = Script::new("sleep 60 & sleep 60", Limits::default());
    let file = script.group_file();
    let writes = Writes::below(&[script.folder.path()]);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let task = runtime.spawn(async move { script.driver.describe(&name(), &patient()).await.map(|_| script) });
    while group(&file).is_none() {
        assert!(!task.is_finished(), "it never began");
        writes.next();
    }
    let group = group(&file).expect("written");
    drop(runtime);
    // Without a runtime nobody reaps the leader before this process ends; dead it is all the same.
    all_dead(|| living_in_group(group));
}

#[tokio::test]
async fn progress_arrives_tamed() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let progress = ProgressSink::new(move |progress| sink.lock().expect("not poisoned").push(progress));
    let call = Call { time_max: Duration::from_secs(30), progress };
    let lines = r#"echo '{"progress":{"doing":"a\u001b[31mb","done":1,"total":2,"unit":"bytes"}}'"#;
    let script = format!(r#"{GREET}{lines}; echo '{{"result":{{"snapshot":null}}}}'"#);
    check_with(&script, limits(), call, "ok: None").await;
    let told = told.lock().expect("not poisoned");
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].doing.as_str(), told[0].done, told[0].total, told[0].unit.as_str()),
        ("a[31mb", 1, Some(2), "bytes")
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_needs_a_person() {
    let program =
        Program { path: "/nowhere/driver".into(), arguments: Vec::new(), called: None, title: "driver".to_owned() };
    let abilities = Abilities {
        cancel: false,
        restore: false,
        restore_beside: false,
        verify: false,
        maintain: false,
        label: false,
        effects_max: 1,
    };
    let driver = ProcessDriver::new(program, Map::new(), abilities, limits());
    let fault = driver.list(&patient()).await.expect_err("cannot be started");
    assert_eq!(fault.kind.word(), "permanent");
}
