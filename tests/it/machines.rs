//! The state machines of creation and deletion: every step with every answer, as golden files to be
//! read like prose, and every short run against a repository that lies and loses.

mod simulation;

use std::fmt::Write as _;

use expect_test::expect_file;
use snapkeep::lifecycle::creation::{Creation, CreationTerms};
use snapkeep::lifecycle::deletion::Deletion;
use snapkeep::lifecycle::plan::{Grounds, Target};
use snapkeep::lifecycle::policy::{Condition, Revision};
use snapkeep::lifecycle::retention::Owner;
use snapkeep::lifecycle::snapshot::{Listing, Presence, Snapshot, SnapshotName, Status, label};
use snapkeep::lifecycle::time::{Moment, Span, Timestamp, Wait, format_millis};
use snapkeep::lifecycle::workflow::{
    Answer, Cause, Effort, Ending, Fact, Fault, OutOfTurn, Phase, Request, Run, Step, Trigger, Turn, Watch,
};

pub const START: Moment = Moment { wall: Timestamp::from_seconds(1_772_330_400), boot: 1, uptime: 1_000_000 };

pub fn effort(retry_count: u32) -> Effort {
    Effort { time_limit: Span::parse("1h").expect("a span"), retry_count }
}

pub fn name() -> SnapshotName {
    SnapshotName::new("db-1").expect("a name")
}

pub fn run<S: Step>(step: S) -> Run<S> {
    let trigger = Trigger { at: START.wall, cause: Cause::Schedule };
    Run::begin("run-1", trigger, Revision("r1".into()), step, START)
}

pub fn own(name: &str, age_hours: i64) -> Snapshot {
    let labels = [(label::INSTALLATION, "house"), (label::POLICY_UID, "uid-db")];
    Snapshot {
        name: name.to_string(),
        id: format!("id-{name}"),
        taken_at: Some(START.wall.plus(-age_hours * 3_600_000)),
        status: Status::Good,
        labels: labels.map(|(key, value)| (key.to_string(), value.to_string())).into(),
        in_use: None,
        size_bytes: None,
    }
}

pub fn listing(names: &[&str]) -> Listing {
    // `s1` is an hour old, `s2` two hours.
    let age = |name: &str| name.trim_start_matches('s').parse().expect("s and a number");
    Listing { snapshots: names.iter().map(|name| own(name, age(name))).collect() }
}

pub fn terms(max_count: u32, seen: Option<u32>) -> Grounds {
    let owner = Owner { installation: "house".into(), policy_uid: "uid-db".into() };
    let condition = Condition::new(None, Some(max_count), None).expect("a condition");
    Grounds::plain(owner, condition, seen.or(Some(0)), START)
}

pub fn target(name: &str) -> Target {
    Target::of(&listing(&[name]).snapshots[0])
}

pub fn presences() -> Vec<Presence> {
    vec![
        Presence::Absent,
        Presence::Running,
        Presence::Good { message: Some("3 MiB added".to_string()) },
        Presence::Partial { message: "2 files unreadable".to_string() },
        Presence::Failed { message: "disk full".to_string() },
        Presence::Foreign,
    ]
}

fn answers() -> Vec<(String, Answer)> {
    let mut answers = vec![("lost".to_string(), Answer::Lost)];
    for presence in presences() {
        let word = format!("{presence:?}").to_lowercase();
        let word = word.split(' ').next().unwrap_or_default().to_string();
        answers.push((format!("described {word}"), Answer::Described(presence)));
    }
    answers.push(("accepted".to_string(), Answer::Accepted));
    answers.push(("cancelled".to_string(), Answer::Cancelled));
    for names in [&["s1", "s2", "s3"][..], &["s1", "s3"], &["s1", "s2"], &["s1"], &[]] {
        answers.push((format!("listed [{}]", names.join(" ")), Answer::Listed(listing(names))));
    }
    answers.push(("deleted".to_string(), Answer::Deleted));
    for fault in
        [Fault::busy("locked"), Fault::transient("reset"), Fault::permanent("no key"), Fault::incomplete("cut")]
    {
        answers.push((format!("refused {}", fault.kind.word()), Answer::Refused(fault)));
    }
    answers.push(("time up".to_string(), Answer::TimeUp));
    answers.push(("withdrawn".to_string(), Answer::Withdrawn("policy removed".to_string())));
    answers
}

/// Whether the answer is one to what this step asks, told without the machine's own help.
fn belongs(request: &Request, answer: &Answer, confirming: bool) -> bool {
    match answer {
        Answer::Lost | Answer::Refused(_) | Answer::TimeUp | Answer::Withdrawn(_) => true,
        Answer::Described(_) => matches!(request, Request::Describe(_) | Request::Create(_)),
        Answer::Accepted => matches!(request, Request::Create(_)),
        // A name that cannot be described is looked for in a listing.
        Answer::Listed(_) => *request == Request::List || confirming,
        Answer::Deleted => matches!(request, Request::Delete(_)),
        Answer::Cancelled => false,
    }
}

fn wait(wait: &Wait) -> String {
    match wait.span_ms {
        0 => "at once".to_string(),
        span_ms => format!("in {}", format_millis(span_ms / 1000 * 1000)),
    }
}

fn ending(ending: &Ending) -> String {
    let cause = ending.cause.as_ref().map_or_else(String::new, |cause| format!(" ({cause})"));
    format!("{}: {}{cause}", ending.outcome.word(), ending.message)
}

fn names<'a>(targets: impl IntoIterator<Item = &'a Target>) -> String {
    targets.into_iter().map(|target| &*target.name).collect::<Vec<_>>().join(" ")
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Planned(plan) if plan.is_held() => format!("held plan of {}", plan.own),
        Fact::Planned(plan) => format!("planned [{}] of {}", names(&plan.condemned()), plan.own),
        Fact::Spared { target, reason } => format!("spared {}: {reason}", target.name),
        Fact::Deleted(target) => format!("deleted {}", target.name),
    }
}

/// Says in a line what became of a run.
fn tell<S: Step>(turn: &Result<Turn<S>, OutOfTurn>, step: impl Fn(&S) -> String) -> String {
    let turn = match turn {
        Ok(turn) => turn,
        Err(_) => return "OUT OF TURN".to_string(),
    };
    let mut told = match &turn.phase {
        Phase::Waiting => "over".to_string(),
        Phase::Active(run) => {
            let mut told = format!("{}, {}", step(&run.step), wait(&run.wait));
            let _ = write!(told, ", attempts {}", run.attempts);
            if let Some(trouble) = &run.trouble {
                let busy = if trouble.busy { "busy" } else { "trouble" };
                let _ = write!(told, ", {busy}: {}", trouble.cause);
            }
            told
        }
        Phase::Watching(watch) => format!("watch {}{}", watch.name, if watch.cancel { ", cancel first" } else { "" }),
    };
    for became_true in &turn.facts {
        let _ = write!(told, "; {}", fact(became_true));
    }
    if let Some(settled) = &turn.settled {
        let _ = write!(told, "; {}", ending(settled));
    }
    if turn.abandon {
        told.push_str("; abandon");
    }
    if !turn.changed {
        told.push_str("; nothing to commit");
    }
    told
}

fn told_creation(step: &Creation) -> String {
    match step {
        Creation::Looking { .. } => "looking".to_string(),
        Creation::Asking { .. } => "asking".to_string(),
        Creation::Running { .. } => "running".to_string(),
    }
}

fn told_deletion(step: &Deletion) -> String {
    match step {
        Deletion::Planning { deleted } => format!("planning after {deleted}"),
        Deletion::Rechecking { condemned, deleted } => format!("rechecking [{}] after {deleted}", names(condemned)),
        Deletion::Deleting { target, condemned, deleted } => {
            format!("deleting {} then [{}] after {deleted}", target.name, names(condemned))
        }
        Deletion::Confirming { target, condemned, deleted, doubt } => {
            let doubt = if *doubt { " in doubt" } else { "" };
            format!("confirming {}{doubt} then [{}] after {deleted}", target.name, names(condemned))
        }
    }
}

#[test]
fn every_creation_step_with_every_answer() {
    let steps = [
        ("looking", Creation::first(name()), false),
        ("asking", Creation::Asking { name: name() }, false),
        ("running", Creation::Running { name: name() }, false),
        ("running, partial = true", Creation::Running { name: name() }, true),
    ];
    let mut table = String::new();
    for (title, step, partial) in steps {
        let _ = writeln!(table, "{title}");
        for (word, answer) in answers() {
            let turn = run(step.clone()).advance(&CreationTerms { partial }, &effort(3), answer.clone(), START);
            assert_eq!(turn.is_ok(), belongs(&step.request(), &answer, false), "{title}, {word}");
            let _ = writeln!(table, "  {word}: {}", tell(&turn, told_creation));
        }
    }
    expect_file!["machines/creation.txt"].assert_eq(&table);
}

#[test]
fn every_deletion_step_with_every_answer() {
    let condemned = vec![target("s3"), target("s2")];
    let (first, rest) = (target("s3"), vec![target("s2")]);
    let steps = [
        ("planning", Deletion::first()),
        ("rechecking s3 s2", Deletion::Rechecking { condemned, deleted: 0 }),
        ("deleting s3, then s2", Deletion::Deleting { target: first.clone(), condemned: rest.clone(), deleted: 0 }),
        (
            "confirming s3, then s2",
            Deletion::Confirming { target: first.clone(), condemned: rest.clone(), deleted: 0, doubt: false },
        ),
        (
            "confirming s3, the last",
            Deletion::Confirming { target: first.clone(), condemned: Vec::new(), deleted: 1, doubt: false },
        ),
        (
            "confirming s3 in doubt",
            Deletion::Confirming { target: first, condemned: Vec::new(), deleted: 0, doubt: true },
        ),
    ];
    let mut table = String::new();
    for (title, step) in steps {
        let _ = writeln!(table, "{title}");
        for (word, answer) in answers() {
            let mut run = run(step.clone());
            run.attempts = u32::from(title.starts_with("deleting") || title.starts_with("confirming"));
            // Three were seen, so a listing of one has lost more than half.
            let turn = run.advance(&terms(1, Some(3)), &effort(3), answer.clone(), START);
            let confirming = matches!(step, Deletion::Confirming { .. });
            assert_eq!(turn.is_ok(), belongs(&step.request(), &answer, confirming), "{title}, {word}");
            let _ = writeln!(table, "  {word}: {}", tell(&turn, told_deletion));
        }
    }
    expect_file!["machines/deletion.txt"].assert_eq(&table);
}

#[test]
fn every_watch_with_every_answer() {
    let mut table = String::new();
    for cancel in [true, false] {
        let watch = Watch {
            name: name(),
            revision: Revision("r1".into()),
            began: START,
            cancel,
            asked: 0,
            wait: Wait::none(START),
        };
        let _ = writeln!(table, "watching, {}", if cancel { "to be cancelled" } else { "cancelled before" });
        for (word, answer) in answers() {
            let next = watch.clone().advance(&answer, START);
            let told = next.map_or("over".to_string(), |next| {
                let asks = if next.request().is_effect() { "cancel" } else { "look" };
                format!("{asks} {}", wait(&next.wait))
            });
            let _ = writeln!(table, "  {word}: {told}");
        }
    }
    expect_file!["machines/watch.txt"].assert_eq(&table);
}
