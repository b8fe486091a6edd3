//! The daemon's face for programs, over a real socket, on a view made by hand.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use snapkeep::config::problem::Problem;
use snapkeep::engine::event::{Command, Done, Event, Recalled, Refusal, Survey, What};
use snapkeep::engine::latest::Latest;
use snapkeep::engine::tracked::{Flow, Tracked};
use snapkeep::engine::view::View;
use snapkeep::http::{Api, Records, Socket, serve};
use snapkeep::journal::change::{AuditRecord, PlanRecord, RunRecord, Skip, SkipReason};
use snapkeep::journal::record::{
    NoticeQuery, NoticeRecord, OperationEnd, OperationKind, OperationOutcome, OperationRecord, PolicyRecord,
    PolicyVersion,
};
use snapkeep::journal::{AuditQuery, HistoryQuery, JournalError, OpenError, OperationQuery, Totals};
use snapkeep::lifecycle::creation::Creation;
use snapkeep::lifecycle::policy::Switch;
use snapkeep::lifecycle::retention::Owner;
use snapkeep::lifecycle::role::Role;
use snapkeep::lifecycle::snapshot::SnapshotName;
use snapkeep::lifecycle::time::{Moment, Timestamp, Wait};
use snapkeep::lifecycle::workflow::{Cause, Ending, Kind, Outcome, Phase, Run, Trigger, Trouble, Workflow};
use snapkeep::roster::Roster;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::roster::{PolicyText, roster};

/// 2026-03-01T02:00:00Z.
pub const TRIGGER: i64 = 1_772_330_400_000;

fn clock() -> Moment {
    moment(TRIGGER + 90_000)
}

pub fn moment(millis: i64) -> Moment {
    Moment { wall: Timestamp::from_millis(millis), boot: 1, uptime: millis }
}

/// A daemon without an engine: what commands come, the test answers.
pub struct Daemon {
    pub socket: PathBuf,
    pub commands: Option<Receiver<Event>>,
    pub folder: tempfile::TempDir,
    ending: Option<oneshot::Sender<()>>,
    serving: Option<tokio::task::JoinHandle<()>>,
    runtime: Runtime,
}

impl Daemon {
    pub fn start(view: View) -> Daemon {
        Daemon::start_with(view, 16, BTreeMap::new())
    }

    /// The same, with roles for the members of groups.
    pub fn start_for(view: View, roles: BTreeMap<u32, Role>) -> Daemon {
        Daemon::start_with(view, 16, roles)
    }

    fn start_with(view: View, inbox_max: usize, roles: BTreeMap<u32, Role>) -> Daemon {
        let folder = tempfile::tempdir().expect("a directory");
        let socket = folder.path().join("run").join("api.sock");
        let (inbox, commands) = sync_channel(inbox_max);
        let open = || -> Result<Box<dyn Records>, OpenError> { Ok(Box::new(NoRecords)) };
        let api =
            Api { view: Arc::new(view), inbox, records: Some(Arc::new(open)), upkeep: None, editing: None, clock };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("one");
        let (ending, ended) = oneshot::channel();
        let bound = {
            let _inside = runtime.enter();
            Socket::bind(&socket).expect("bound").with_roles(roles)
        };
        let serving = runtime.spawn(serve(bound, api, async {
            let _ = ended.await;
        }));
        Daemon { socket, commands: Some(commands), folder, ending: Some(ending), serving: Some(serving), runtime }
    }

    /// Answers every command on a thread of its own, and returns what was asked.
    pub fn answering(
        &mut self,
        answer: impl Fn(&What) -> Result<Done, Refusal> + Send + 'static,
    ) -> Receiver<(String, What)> {
        let commands = self.commands.take().expect("not answered yet");
        let (asked, seen) = sync_channel(1_000);
        std::thread::spawn(move || {
            while let Ok(event) = commands.recv() {
                if let Event::Command(Command { who, what, reply, .. }) = event {
                    // Whoever has heard the answer sees what was asked.
                    let answer = answer(&what);
                    let _ = asked.send((who.to_string(), what));
                    let _ = reply.send(answer);
                }
            }
        });
        seen
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.request("GET", path, "", b"")
    }

    pub fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let (status, _, body) = self.whole(method, path, headers, body);
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub fn whole(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        // A server that refuses early need not read on.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let split = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..split]).into_owned();
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let body = answer.split_off(split + 4);
        (status, head, body)
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream
    }

    fn stop(&mut self) {
        drop(self.ending.take());
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving).expect("ended");
        }
    }
}

/// A journal of one run.
struct NoRecords;

impl Records for NoRecords {
    fn notices(&self, _: &NoticeQuery) -> Result<Vec<NoticeRecord>, JournalError> {
        Ok(Vec::new())
    }

    fn notice(&self, _: u64) -> Result<Option<NoticeRecord>, JournalError> {
        Ok(None)
    }

    fn totals(&self) -> Result<Totals, JournalError> {
        Ok(Totals::default())
    }

    fn history(&self, query: &HistoryQuery) -> Result<Vec<RunRecord>, JournalError> {
        Ok((0..query.limit.min(1)).map(|_| run("db", Some(Outcome::Succeeded))).collect())
    }

    fn latest_plan(&self, _policy: &str) -> Result<Option<PlanRecord>, JournalError> {
        Ok(None)
    }

    fn plan(&self, _number: u64) -> Result<Option<PlanRecord>, JournalError> {
        Ok(None)
    }

    fn held_plans(&self, _limit: u32) -> Result<Vec<PlanRecord>, JournalError> {
        Ok(Vec::new())
    }

    fn audit(&self, _query: &AuditQuery) -> Result<Vec<AuditRecord>, JournalError> {
        Ok(Vec::new())
    }

    fn operations(&self, _query: &OperationQuery) -> Result<Vec<OperationRecord>, JournalError> {
        Ok(Vec::new())
    }

    /// The seventh is at work, the eighth was cut off.
    fn operation(&self, number: u64) -> Result<Option<OperationRecord>, JournalError> {
        let message = "the daemon ended before it did".to_string();
        let end = OperationEnd { at: Timestamp::from_millis(TRIGGER), outcome: OperationOutcome::Interrupted, message };
        let operation = OperationRecord {
            number,
            kind: OperationKind::Maintain,
            subject: "local".into(),
            who: "uid:0".into(),
            began_at: Timestamp::from_millis(TRIGGER),
            end: (number == 8).then_some(end),
        };
        Ok((7..=8).contains(&number).then_some(operation))
    }

    fn policies(&self, _names: Option<&[Arc<str>]>) -> Result<Vec<PolicyRecord>, JournalError> {
        Ok(Vec::new())
    }

    fn version_of(&self, _policy_uid: &str) -> Result<Option<PolicyVersion>, JournalError> {
        Ok(None)
    }

    fn versions(&self) -> Result<Vec<PolicyVersion>, JournalError> {
        Ok(Vec::new())
    }

    fn check(&self) -> Result<Vec<String>, OpenError> {
        Ok(Vec::new())
    }

    fn backup(&self) -> Result<PathBuf, OpenError> {
        Ok("/state/backups/journal.db".into())
    }
}

fn run(policy: &str, outcome: Option<Outcome>) -> RunRecord {
    RunRecord {
        run_id: format!("run-of-{policy}").into(),
        policy: policy.into(),
        policy_uid: format!("uid-of-{policy}").into(),
        kind: Kind::Creation,
        trigger_at: Timestamp::from_millis(TRIGGER),
        cause: Cause::Schedule,
        began_at: Timestamp::from_millis(TRIGGER + 10),
        ended_at: outcome.map(|_| Timestamp::from_millis(TRIGGER + 5_010)),
        outcome,
        message: outcome.map(|_| format!("created snapshot {policy}-1")),
        blame: None,
        attempts: 1,
        snapshot: Some(format!("{policy}-1").into()),
    }
}

/// Policies by name, all at rest after a good run.
fn tracked(names: &[&str]) -> (Arc<Roster>, Vec<Tracked>) {
    let texts: Vec<PolicyText> = names
        .iter()
        .map(|name| PolicyText::new(name, "0 2 * * *", Some(("0 4 * * *", Some("7d"), Some(9), 2))))
        .collect();
    let roster = roster(&texts);
    let tracked = names
        .iter()
        .map(|name| {
            let mark = Timestamp::from_millis(TRIGGER);
            let good = Latest::of(&run(name, Some(Outcome::Succeeded)));
            let mut creation = Flow::new(Workflow { mark, phase: Phase::Waiting }, 1, Some(good.clone()));
            creation.due_at = Some(Timestamp::from_millis(TRIGGER + 86_400_000));
            Tracked {
                uid: format!("uid-of-{name}").into(),
                name: (*name).into(),
                switch: Switch::AsWritten,
                seq_no: 4,
                adopted_at: Timestamp::EPOCH,
                entry: roster.policies.get(*name).cloned(),
                creation,
                deletion: Flow::new(Workflow { mark, phase: Phase::Waiting }, 1, None),
                seen: None,
                cleared_at: Timestamp::EPOCH,
                guarded: None,
                last_good: Some(Arc::new(good)),
                creation_over_at: None,
                skips: Vec::new(),
                revision: roster.policies.get(*name).map(|entry| entry.policy.revision.clone()),
            }
        })
        .collect();
    (roster, tracked)
}

pub fn view(names: &[&str]) -> View {
    let (_, tracked) = tracked(names);
    published(tracked)
}

fn published(tracked: Vec<Tracked>) -> View {
    let view = View::default();
    view.set_installation("installation-1", Timestamp::from_millis(TRIGGER - 1_000));
    view.publish(tracked.into_iter().map(Arc::new).collect(), moment(TRIGGER + 80_000));
    view
}

/// A creation that is trying again, with everything there is to tell.
fn retrying() -> Tracked {
    let (_, mut all) = tracked(&["db"]);
    let mut tracked = all.remove(0);
    let entry = tracked.entry.clone().expect("there");
    tracked.creation.workflow.phase = Phase::Active(Box::new(Run {
        id: "run-of-db".into(),
        trigger: Trigger { at: Timestamp::from_millis(TRIGGER), cause: Cause::Schedule },
        began: moment(TRIGGER + 10),
        revision: entry.policy.revision.clone(),
        step: Creation::Asking { name: SnapshotName::new("db-1").expect("a name") },
        attempts: 2,
        failures: 1,
        trouble: Some(Trouble { busy: false, cause: "connection refused".into() }),
        wait: Wait { from: moment(TRIGGER + 60_000), span_ms: 60_000 },
    }));
    tracked.creation.terms = Some(entry);
    tracked.creation.latest = Some(Arc::new(Latest::of(&run("db", None))));
    tracked.skips = vec![Skip {
        policy_uid: "uid-of-db".into(),
        kind: Kind::Creation,
        reason: SkipReason::Overlap,
        count: 3,
        first: Timestamp::from_millis(TRIGGER + 1),
        last: Timestamp::from_millis(TRIGGER + 3),
        at: Timestamp::from_millis(TRIGGER + 4),
    }];
    tracked
}

fn check(answer: &Value, expected: &Expect) {
    expected.assert_eq(&serde_json::to_string_pretty(answer).expect("JSON"));
}

#[test]
fn explain_keeps_the_words_of_opensearch_and_says_what_it_waits_for() {
    let daemon = Daemon::start(published(vec![retrying()]));
    let (status, mut body) = daemon.get("/v1/explain?name=db");
    assert_eq!(status, 200);
    // The rest is the hand-made text of the policy.
    body["policies"][0]["revision"] = Value::Null;
    body["daemon"]["version"] = Value::Null;
    check(
        &body,
        &expect![[r#"
            {
              "daemon": {
                "alarms": [],
                "clock_moved_back": null,
                "clock_vouched": null,
                "housekeeping": [],
                "installation": "installation-1",
                "last_turn": 1772330480000,
                "notices_undeliverable": 0,
                "notices_waiting": 0,
                "now": 1772330490000,
                "overdue": [],
                "policies": 1,
                "problems": [],
                "repositories": [],
                "restrictions": [],
                "safe_mode": null,
                "started": 1772330399000,
                "version": null
              },
              "policies": [
                {
                  "creation": {
                    "current_state": "CREATING",
                    "held": null,
                    "latest_execution": {
                      "attempts": 1,
                      "end_time": null,
                      "info": {
                        "cause": "connection refused",
                        "message": "create snapshot db-1"
                      },
                      "run_id": "run-of-db",
                      "start_time": 1772330400010,
                      "started_by": "schedule",
                      "status": "RETRYING",
                      "trigger_time": 1772330400000
                    },
                    "next_triggers": [
                      1772416800000,
                      1772503200000,
                      1772589600000
                    ],
                    "progress": null,
                    "retry": {
                      "count": 2
                    },
                    "schedule": "cron \"0 2 * * *\" in UTC",
                    "skipped": [
                      {
                        "count": 3,
                        "first": 1772330400001,
                        "last": 1772330400003,
                        "reason": "overlap",
                        "time": 1772330400004
                      }
                    ],
                    "started": [
                      "db-1"
                    ],
                    "trigger": {
                      "time": 1772416800000
                    },
                    "waits_for": "30s before it asks to create snapshot db-1"
                  },
                  "deletion": {
                    "current_state": "DELETION_START",
                    "held": null,
                    "next_triggers": [
                      1772337600000,
                      1772424000000,
                      1772510400000
                    ],
                    "progress": null,
                    "schedule": "cron \"0 4 * * *\" in UTC",
                    "skipped": [],
                    "waits_for": "creation of this policy to settle"
                  },
                  "description": null,
                  "enabled": true,
                  "holds": 0,
                  "last_good": {
                    "age_ms": 84990,
                    "snapshot": "db-1",
                    "time": 1772330405010
                  },
                  "name": "db",
                  "paused": false,
                  "problems": [],
                  "repository": "simulated",
                  "retired": false,
                  "revision": null,
                  "stale": false,
                  "uid": "uid-of-db"
                }
              ],
              "unknown": []
            }"#]],
    );
}

#[test]
fn names_may_be_patterns_and_an_unknown_one_is_named_with_a_hint() {
    let daemon = Daemon::start(view(&["db-a", "db-b", "wiki"]));
    let names = |path: &str| -> Vec<String> {
        let (status, body) = daemon.get(path);
        assert_eq!(status, 200, "{path}");
        let policies = body["policies"].as_array().expect("a list").clone();
        policies.iter().map(|policy| policy["name"].as_str().expect("a name").to_string()).collect()
    };
    assert_eq!(names("/v1/explain"), ["db-a", "db-b", "wiki"]);
    assert_eq!(names("/v1/explain?name=db-*"), ["db-a", "db-b"]);
    assert_eq!(names("/v1/explain?name=db-a%2C%20wiki"), ["db-a", "wiki"]);
    assert_eq!(names("/v1/explain?name=x*"), Vec::<String>::new());
    assert_eq!(names("/v1/policies?name=w*"), ["wiki"]);
    let (_, body) = daemon.get("/v1/explain?name=wiki,other");
    assert_eq!(body["unknown"], json!(["other"]));
    check(
        &daemon.get("/v1/explain?name=wikl").1,
        &expect![[r#"
        {
          "code": "unknown_policy",
          "detail": "there is no policy `wikl`",
          "hint": "did you mean `wiki`?",
          "status": 404,
          "title": "Not Found",
          "type": "about:blank"
        }"#]],
    );
    assert_eq!(daemon.get("/v1/policies/nothing%20of%20the%20kind").0, 404);
}

#[test]
fn a_refusal_is_a_problem_document_whatever_was_wrong() {
    let mut daemon = Daemon::start(view(&["db"]));
    let seen = daemon.answering(|what| match what {
        What::Run { policy, kind, .. } => Err(Refusal::Running { policy: policy.clone(), kind: kind.word() }),
        _ => Err(Refusal::Unknown("dc".into())),
    });
    let run = "/v1/policies/db/run";
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 14] = [
        ("GET", "/nowhere", "", b"", 404, "no_such_route"),
        ("DELETE", "/v1/explain", "", b"", 405, "method_not_allowed"),
        ("GET", "/v1/explain?nmae=a", "", b"", 400, "bad_query"),
        ("GET", "/v1/history?limit=0", "", b"", 400, "bad_limit"),
        ("GET", "/v1/history?limit=1001", "", b"", 400, "bad_limit"),
        ("GET", "/v1/history?workflow=copy", "", b"", 400, "unknown_workflow"),
        ("GET", "/v1/policies/%ff", "", b"", 400, "bad_path"),
        ("GET", "/v1/policies/db/plan/latest", "", b"", 404, "no_plan"),
        ("POST", run, "", b"{}", 400, "bad_body"),
        ("POST", run, "", b"{\"workflow\":\"creation\",\"more\":1}", 400, "bad_body"),
        ("POST", run, "", b"{\"workflow\":\"copy\"}", 400, "unknown_workflow"),
        ("POST", run, "idempotency-key: \r\n", b"{\"workflow\":\"creation\"}", 400, "bad_idempotency_key"),
        ("POST", run, "", b"{\"workflow\":\"creation\"}", 409, "already_running"),
        ("POST", "/v1/policies/dc/start", "", b"", 404, "unknown_policy"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let (found, head, document) = daemon.whole(method, path, headers, body);
        let document: Value = serde_json::from_slice(&document).expect("JSON");
        assert_eq!((found, document["code"].as_str()), (status, Some(code)), "{method} {path} {document}");
        assert!(head.contains("application/problem+json"), "{method} {path}: {head}");
        assert_eq!(document["status"], json!(status));
    }
    drop(seen);
}

#[test]
fn a_command_carries_who_asked_and_under_which_key() {
    let mut daemon = Daemon::start(view(&["db"]));
    let seen = daemon.answering(|what| match what {
        What::Run { .. } => Ok(Done::Run { run_id: "r1".into(), snapshot: Some("db-1".into()) }),
        What::Recall(_) => Ok(Done::Recalled(None)),
        _ => Ok(Done::Acknowledged),
    });
    let (status, body) =
        daemon.request("POST", "/v1/policies/db/run", "idempotency-key: k1\r\n", b"{\"workflow\":\"creation\"}");
    assert_eq!((status, body), (202, json!({"run_id": "r1", "snapshot": "db-1"})));
    let who = format!("uid:{}", rustix::process::getuid().as_raw());
    let what = What::Run { policy: "db".into(), kind: Kind::Creation };
    assert!(matches!(seen.recv().expect("asked").1, What::Recall(key) if *key.key == *"k1"));
    assert_eq!(seen.recv().expect("asked"), (who.clone(), what));
    assert!(matches!(seen.recv().expect("asked").1, What::Reply { reply, .. } if reply.status == 202));
    assert_eq!(daemon.request("POST", "/v1/policies/db/stop", "", b"").1, json!({"acknowledged": true}));
    assert_eq!(seen.recv().expect("asked"), (who, What::Stop { policy: "db".into() }));
}

/// The words of the first answer may be lost with a daemon; what was begun is not.
#[test]
fn a_repeat_whose_first_answer_was_not_kept_is_told_what_was_begun() {
    let mut daemon = Daemon::start(view(&["db"]));
    let run = Some(("r1".into(), Some("db-1".into())));
    daemon.answering(move |what| match what {
        What::Recall(key) => Ok(Done::Recalled(Some(Box::new(Recalled {
            fingerprint: key.fingerprint.clone(),
            answer: Some("done".into()),
            reply: None,
            run: if *key.key == *"run" { run.clone() } else { None },
            operation: key.key.strip_prefix("operation-").and_then(|number| number.parse().ok()),
        })))),
        What::Refused { .. } => Ok(Done::Acknowledged),
        other => panic!("carried out once more: {other:?}"),
    });
    let ask = |key: &str| {
        let header = format!("idempotency-key: {key}\r\n");
        daemon.request("POST", "/v1/policies/db/run", &header, b"{\"workflow\":\"creation\"}")
    };
    assert_eq!(ask("run"), (202, json!({"run_id": "r1", "snapshot": "db-1"})));
    let (status, body) = ask("operation-7");
    assert_eq!((status, &body["operation"], &body["state"]), (202, &json!(7), &json!("running")), "{body}");
    // What was cut off is not under way, and will never be under this key.
    let (status, body) = ask("operation-8");
    assert_eq!((status, body["code"].as_str()), (409, Some("not_done")), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("operation 8 was interrupted")), "{body}");
    assert_eq!(ask("other"), (200, json!({"acknowledged": true})));
}

#[test]
fn a_body_of_more_than_a_megabyte_is_refused() {
    let daemon = Daemon::start(view(&["db"]));
    let (status, body) = daemon.request("POST", "/v1/policies/db/run", "", &vec![b' '; (1 << 20) + 1]);
    assert_eq!((status, body["code"].as_str()), (413, Some("body_too_large")));
}

#[test]
fn explain_answers_while_the_engine_hangs() {
    // Nobody takes commands out of this inbox.
    let daemon = Daemon::start(view(&["db"]));
    let mut waiting = daemon.connect();
    waiting.write_all(b"POST /v1/policies/db/stop HTTP/1.1\r\nhost: x\r\n\r\n").expect("written");
    assert_eq!(daemon.get("/v1/explain").0, 200);
    assert_eq!(daemon.get("/health").0, 200);
}

#[test]
fn an_engine_that_is_far_behind_refuses_at_once() {
    let daemon = Daemon::start_with(view(&["db"]), 0, BTreeMap::new());
    let (status, body) = daemon.request("POST", "/v1/policies/db/start", "", b"");
    assert_eq!((status, body["code"].as_str()), (503, Some("busy")));
}

#[test]
fn a_client_that_goes_away_does_no_harm() {
    let mut daemon = Daemon::start(view(&["db"]));
    let seen = daemon.answering(|_| Ok(Done::Acknowledged));
    for half in ["", "GET /v1/expl", "POST /v1/policies/db/run HTTP/1.1\r\ncontent-length: 100\r\n\r\n{"] {
        for _ in 0..50 {
            let mut stream = daemon.connect();
            stream.write_all(half.as_bytes()).expect("written");
        }
    }
    // One that asks and does not wait: what it asked is done.
    let mut stream = daemon.connect();
    stream.write_all(b"POST /v1/policies/db/stop HTTP/1.1\r\nhost: x\r\n\r\n").expect("written");
    // That the halves were refused may be written down before.
    let asked = || seen.recv_timeout(Duration::from_secs(20)).expect("asked").1;
    let stop = What::Stop { policy: "db".into() };
    let refused = (0..50).find(|_| asked() == stop);
    assert!(refused.is_some());
    drop(stream);
    assert_eq!(daemon.get("/v1/explain").0, 200);
}

#[test]
fn snapshots_and_plans_come_from_the_repository_under_the_policy_in_force() {
    let (roster, _) = tracked(&["db"]);
    let mut daemon = Daemon::start(view(&["db"]));
    let entry = roster.policies["db"].clone();
    let owner = Owner { installation: "installation-1".into(), policy_uid: "uid-of-db".into() };
    let survey = Survey { entry, owner, grounds: None, holds: Default::default(), now: clock().wall };
    let _seen = daemon.answering(move |_| Ok(Done::Survey(Box::new(survey.clone()))));
    // The driver of this roster refuses for good, and says so.
    let (status, body) = daemon.get("/v1/policies/db/snapshots");
    assert_eq!((status, body["code"].as_str()), (502, Some("repository_fault")), "{body}");
    assert_eq!(daemon.get("/v1/policies/db/plan").0, 502);
}

#[test]
fn history_says_how_runs_ended() {
    let mut daemon = Daemon::start(view(&["db"]));
    let seen = daemon.answering(|_| Ok(Done::Acknowledged));
    check(
        &daemon.get("/v1/history?limit=1").1,
        &expect![[r#"
        {
          "runs": [
            {
              "attempts": 1,
              "cause": null,
              "end_time": 1772330405010,
              "message": "created snapshot db-1",
              "outcome": "succeeded",
              "policy": "db",
              "run_id": "run-of-db",
              "snapshot": "db-1",
              "start_time": 1772330400010,
              "started_by": "schedule",
              "trigger_time": 1772330400000,
              "workflow": "creation"
            }
          ]
        }"#]],
    );
    assert_eq!(daemon.get("/v1/journal/check").1, json!({"sound": true, "troubles": []}));
    assert_eq!(daemon.request("POST", "/v1/journal/backup", "", b"").1, json!({"file": "/state/backups/journal.db"}));
    let (_, noted) = seen.recv().expect("asked");
    assert!(
        matches!(&noted, What::Note(note) if note.after.as_deref() == Some("/state/backups/journal.db")),
        "{noted:?}"
    );
    assert_eq!(daemon.get("/v1/audit").1, json!({"records": []}));
}

#[test]
fn health_is_ok_warning_or_critical_and_says_why() {
    let checks = |view: View| Daemon::start(view).get("/health");
    assert_eq!(checks(view(&["db"])), (200, json!({"status": "ok", "reasons": []})));

    let (roster, mut failing) = tracked(&["db"]);
    let latest = failing[0].creation.latest.as_mut().map(Arc::make_mut).expect("there");
    let ending = Ending::new(Outcome::Failed, "failed to create snapshot db-1").because("disk full");
    latest.settle(&ending, 1, Timestamp::from_millis(TRIGGER + 5_010));
    let view = published(failing);
    let mut roster = Roster::clone(&roster);
    let file: Arc<Path> = Path::new("/etc/snapkeep/policies.d/new.toml").into();
    roster.problems.push(Problem::of_file(&file, "unknown key"));
    view.set_roster(&roster);
    assert_eq!(
        checks(view),
        (
            200,
            json!({"status": "warning", "reasons": [
                "/etc/snapkeep/policies.d/new.toml: unknown key",
                "db: creation failed: disk full"
            ]})
        )
    );

    let stalled = View::default();
    stalled.publish(Vec::new(), moment(TRIGGER - 600_000));
    assert_eq!(
        checks(stalled),
        (503, json!({"status": "critical", "reasons": ["the engine has not moved for 11m30s"]}))
    );

    let safe = View::default();
    safe.enter_safe_mode("journal is damaged", clock().wall);
    assert_eq!(checks(safe).0, 503);
}

#[test]
fn ten_thousand_policies_are_explained_in_one_answer() {
    let names: Vec<String> = (0..10_000).map(|number| format!("policy-{number:05}")).collect();
    let daemon = Daemon::start(view(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    let (status, body) = daemon.get("/v1/explain");
    assert_eq!((status, body["policies"].as_array().map(Vec::len)), (200, Some(10_000)));
    // Every name once, in order.
    let found: BTreeMap<&str, ()> = body["policies"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| (p["name"].as_str().expect("a name"), ()))
        .collect();
    assert_eq!(found.len(), 10_000);
}

#[test]
fn the_socket_is_for_its_group_and_goes_with_the_daemon() {
    let mut daemon = Daemon::start(view(&["db"]));
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.socket), 0o660);
    assert_eq!(mode(daemon.socket.parent().expect("a folder")) & 0o027, 0);
    daemon.stop();
    assert!(!daemon.socket.exists());
    drop(daemon.folder);
}

#[test]
fn a_dead_socket_is_replaced_and_nothing_else_is() {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let alive = Socket::bind(&path).expect("replaced");
    assert_eq!(Socket::bind(&path).expect_err("alive").kind(), std::io::ErrorKind::AddrInUse);
    drop(alive);
    std::fs::write(&path, "precious").expect("written");
    assert_eq!(Socket::bind(&path).expect_err("a file").kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "precious");
}

#[test]
fn a_path_too_long_for_the_kernel_works_all_the_same() {
    let runtime = Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("d".repeat(150)).join("api.sock");
    let _socket = Socket::bind(&path).expect("bound");
    let (_directory, short) = snapkeep::http::short(&path).expect("short");
    UnixStream::connect(short).expect("connected");
}
