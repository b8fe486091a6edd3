//! What monitoring reads, after everything that can happen to a policy.

use std::collections::BTreeMap;

use snapkeep::engine::event::Event;
use snapkeep::lifecycle::snapshot::Status;
use snapkeep::lifecycle::workflow::{Answer, Fault, Kind};
use snapkeep::metrics::{Exposition, Sort, families};

use super::{absent, creating, deleting, keep_days, running, tidying};
use crate::support::roster::default_channels;
use crate::support::stage::{Stage, clock, instant};

fn text(stage: &Stage) -> String {
    Exposition::of(&stage.view, Some(stage.reader.totals().expect("read")), stage.now).collect()
}

/// Returns every sample with its value.
fn samples(text: &str) -> BTreeMap<String, String> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
        let twice = samples.insert(sample.replace('"', ""), value.to_string());
        assert!(twice.is_none(), "{sample} is told twice");
    }
    samples
}

/// Returns the values of some samples; `-` where there is none.
fn told(stage: &Stage, wanted: &[&str]) -> String {
    let samples = samples(&text(stage));
    let value = |sample: &&str| samples.get(&format!("snapkeep_{sample}")).cloned().unwrap_or_else(|| "-".to_string());
    wanted.iter().map(value).collect::<Vec<_>>().join(" ")
}

/// The same of points in time.
fn told_at(stage: &Stage, sample: &str) -> String {
    match told(stage, &[sample]).as_str() {
        "-" => "-".to_string(),
        seconds => clock(snapkeep::lifecycle::time::Timestamp::from_seconds(seconds.parse().expect("whole seconds"))),
    }
}

/// Returns `succeeded failed time_limit_exceeded held cancelled` of a workflow, as counted.
fn runs(stage: &Stage, workflow: &str) -> String {
    let outcomes = ["succeeded", "failed", "time_limit_exceeded", "held", "cancelled"];
    let wanted = outcomes.map(|outcome| format!("runs_total{{policy=db,workflow={workflow},outcome={outcome}}}"));
    told(stage, &wanted.each_ref().map(String::as_str))
}

fn latest(stage: &Stage, workflow: &str) -> Vec<String> {
    let start = format!("snapkeep_last_run_outcome{{policy=db,workflow={workflow},outcome=");
    let samples = samples(&text(stage));
    let set = samples.iter().filter(|(_, value)| *value == "1").filter_map(|(name, _)| name.strip_prefix(&start));
    set.map(|outcome| outcome.trim_end_matches('}').to_string()).collect()
}

fn skipped(stage: &Stage, workflow: &str) -> String {
    let reasons = ["missed", "overlap", "watched", "clock_moved_back"];
    let wanted =
        reasons.map(|reason| format!("triggers_skipped_total{{policy=db,workflow={workflow},reason={reason}}}"));
    told(stage, &wanted.each_ref().map(String::as_str))
}

const CREATION: &str = "{policy=db,workflow=creation}";
const DELETION: &str = "{policy=db,workflow=deletion}";

#[test]
fn a_policy_that_never_ran_has_its_zeros_and_no_age() {
    let text = deleting("db", "0 9 * * *", "30 9 * * *", 3).stale_after("6h");
    let mut stage = Stage::new("02:00", &[text]);
    for workflow in ["creation", "deletion"] {
        let held = if workflow == "deletion" { "0" } else { "-" };
        assert_eq!(runs(&stage, workflow), format!("0 0 0 {held} 0"));
        assert_eq!(skipped(&stage, workflow), "0 0 0 0");
        assert!(latest(&stage, workflow).is_empty());
        let of = |name: &str| told(&stage, &[&format!("{name}{{policy=db,workflow={workflow}}}")]);
        assert_eq!([of("consecutive_failures"), of("run_active")], ["0", "0"]);
        for name in ["last_success_timestamp_seconds", "last_success_age_seconds", "retries_left"] {
            assert_eq!(of(name), "-", "{name}");
        }
        for name in ["start_timestamp", "end_timestamp", "duration"] {
            assert_eq!(of(&format!("last_run_{name}_seconds")), "-", "{name}");
        }
    }
    assert_eq!(told_at(&stage, &format!("next_trigger_timestamp_seconds{CREATION}")), "09:00");
    assert_eq!(told_at(&stage, &format!("next_trigger_timestamp_seconds{DELETION}")), "09:30");
    assert_eq!(told_at(&stage, "policy_since_timestamp_seconds{policy=db}"), "02:00");
    let shown = ["policy_enabled", "deletion_held", "stale_after_seconds", "stale", "snapshots"];
    let shown = shown.map(|name| format!("{name}{{policy=db}}"));
    let shown = shown.each_ref().map(String::as_str);
    assert_eq!(told(&stage, &shown), "1 0 21600 0 -");
    // Staleness is counted from when the policy came.
    stage.at("08:00");
    assert_eq!(told(&stage, &["stale{policy=db}"]), "0");
    stage.at("08:00:01");
    assert_eq!(told(&stage, &["stale{policy=db}"]), "1");
    stage.stop("db");
    assert_eq!(
        told(&stage, &["policy_enabled{policy=db}", &format!("next_trigger_timestamp_seconds{CREATION}")]),
        "0 -"
    );
}

#[test]
fn each_outcome_of_a_creation_is_counted_and_the_latest_is_shown() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9,10,11,12 * * *").time_limit("30m").stale_after("24h")]);
    stage.at("09:00");
    let under_way = [format!("run_active{CREATION}"), format!("retries_left{CREATION}")];
    let under_way = under_way.each_ref().map(String::as_str);
    assert_eq!(told(&stage, &under_way), "1 3");
    stage.answer("db describe", absent());
    stage.refuse("db create", Fault::transient("reset"));
    assert_eq!(told(&stage, &under_way), "1 3");
    stage.at("09:05");
    stage.answer("db describe", absent());
    stage.refuse("db create", Fault::transient("reset"));
    assert_eq!(told(&stage, &under_way), "1 2");
    stage.at("09:15");
    stage.answer("db describe", absent());
    stage.refuse("db create", Fault::permanent("no"));
    assert_eq!(told(&stage, &under_way), "0 -");
    assert_eq!((runs(&stage, "creation"), latest(&stage, "creation")), ("0 1 0 - 0".into(), vec!["failed".into()]));
    stage.at("10:00");
    stage.at("10:30");
    assert_eq!(runs(&stage, "creation"), "0 1 1 - 0");
    assert_eq!(latest(&stage, "creation"), ["time_limit_exceeded"]);
    let failures = format!("consecutive_failures{CREATION}");
    let duration = format!("last_run_duration_seconds{CREATION}");
    assert_eq!(told(&stage, &[&failures, &duration]), "2 1800");
    // What the run left behind is watched, and is over.
    stage.at("10:40");
    while let Some(words) = stage.asked().first().cloned() {
        stage.answer(&words, absent());
    }
    stage.at("11:00");
    stage.answer("db describe", absent());
    stage.at("11:00:20");
    // While it goes on the one before it is the latest that has settled.
    assert_eq!(latest(&stage, "creation"), ["time_limit_exceeded"]);
    stage.obey_all();
    assert_eq!((runs(&stage, "creation"), latest(&stage, "creation")), ("1 1 1 - 0".into(), vec!["succeeded".into()]));
    assert_eq!(told(&stage, &[&failures, &duration]), "0 20");
    assert_eq!(told_at(&stage, &format!("last_run_start_timestamp_seconds{CREATION}")), "11:00");
    assert_eq!(told_at(&stage, &format!("last_run_end_timestamp_seconds{CREATION}")), "11:00:20");
    assert_eq!(told_at(&stage, &format!("last_success_timestamp_seconds{CREATION}")), "11:00:20");
    stage.at("11:30");
    assert_eq!(told(&stage, &[&format!("last_success_age_seconds{CREATION}"), "stale{policy=db}"]), "1780 0");
    stage.stop("db");
    stage.at("2 11:00:21");
    assert_eq!(told(&stage, &["stale{policy=db}"]), "1");
}

#[test]
fn triggers_that_were_missed_or_met_a_run_are_counted() {
    let mut stage = Stage::new("08:30", &[creating("db", "0 * * * *").time_limit("10h")]);
    stage.restart("14:20");
    assert_eq!(skipped(&stage, "creation"), "5 0 0 0");
    stage.at("14:21");
    stage.answer("db describe", absent());
    stage.answer("db create", running());
    stage.at("16:30");
    assert_eq!(skipped(&stage, "creation"), "5 2 0 0");
    stage.restart("16:31");
    assert_eq!(skipped(&stage, "creation"), "5 2 0 0");
}

#[test]
fn a_deletion_that_is_held_is_shown_until_it_is_answered_and_counted_for_good() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 3)]);
    keep_days(&mut stage, "db", 10);
    stage.at("08:00");
    stage.obey_all();
    // The first look after a policy came deletes nothing without a person, where it is much.
    assert_eq!((runs(&stage, "deletion"), latest(&stage, "deletion")), ("0 0 0 1 0".into(), vec!["held".into()]));
    assert_eq!(told(&stage, &["deletion_held{policy=db}", "snapshots{policy=db}", "alarms{kind=held}"]), "1 10 1");
    // It is no failure: it waits for a person.
    assert_eq!(told(&stage, &[&format!("consecutive_failures{DELETION}")]), "0");
    stage.at("08:01");
    let plan = stage.tracked("db").held().expect("a plan waits").number;
    stage.tell(snapkeep::engine::event::What::Approve { plan }).expect("approved");
    stage.obey_all();
    assert_eq!((runs(&stage, "deletion"), latest(&stage, "deletion")), ("1 0 0 1 0".into(), vec!["succeeded".into()]));
    assert_eq!(told(&stage, &["deletion_held{policy=db}", "alarms{kind=held}"]), "0 0");
    assert_eq!(told_at(&stage, &format!("last_success_timestamp_seconds{DELETION}")), "08:01");
}

#[test]
fn a_deletion_that_is_called_off_is_counted_as_that() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 3)]);
    stage.at("08:00");
    stage.stop("db");
    assert_eq!((runs(&stage, "deletion"), latest(&stage, "deletion")), ("0 0 0 0 1".into(), vec!["cancelled".into()]));
}

#[test]
fn what_is_kept_is_as_a_deletion_run_saw_it_and_less_what_it_deleted() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 5)]);
    keep_days(&mut stage, "db", 7);
    for (number, snapshot) in (1..).zip(&mut stage.kept) {
        snapshot.size_bytes = Some(10_u64.pow(number));
    }
    // What does not count is there all the same; what is another's is not.
    stage.kept[6].status = Status::Partial;
    let mut foreign = stage.kept[0].clone();
    (foreign.name, foreign.id) = ("theirs".into(), "theirs".into());
    foreign.labels.clear();
    stage.kept.push(foreign);
    stage.at("08:00");
    let shown = ["snapshots{policy=db}", "snapshots_size_bytes{policy=db}"];
    assert_eq!(told(&stage, &shown), "- -");
    stage.at("08:00:05");
    stage.obey("db list");
    assert_eq!(told(&stage, &shown), "7 11111110");
    assert_eq!(told_at(&stage, "snapshots_seen_timestamp_seconds{policy=db}"), "08:00:05");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s2", "s3", "s4", "s5", "s6", "s7", "theirs"]);
    assert_eq!(told(&stage, &shown), "6 11111100");
    stage.restart("08:10");
    assert_eq!(told(&stage, &shown), "6 11111100");
    // A size that is not known makes the sum unknown, and not smaller.
    stage.kept[0].size_bytes = None;
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(told(&stage, &shown), "6 -");
}

#[test]
fn after_a_restart_everything_is_told_as_before_it() {
    let mut stage =
        Stage::new("08:55", &[deleting("db", "0 9,10 * * *", "0 11 * * *", 3), creating("web", "0 9 * * *")]);
    stage.at("09:00");
    stage.refuse("db describe", Fault::permanent("no"));
    stage.obey_all();
    stage.at("10:00");
    stage.obey_all();
    stage.at("11:00");
    stage.obey_all();
    let of_policies = |stage: &Stage| {
        let text = text(stage);
        text.lines().filter(|line| line.contains("policy=\"")).map(str::to_string).collect::<Vec<_>>()
    };
    stage.at("11:05");
    let before = of_policies(&stage);
    assert!(before.len() > 60, "{}", before.len());
    stage.restart("11:05");
    assert_eq!(of_policies(&stage), before);
}

#[test]
fn what_was_counted_stays_when_history_is_trimmed() {
    let mut stage = Stage::new("07:30", &[creating("db", "0 * * * *").time_limit("10h")]);
    for hour in 8..=12 {
        stage.at(&format!("{hour:02}:00"));
        stage.obey_all();
    }
    stage.restart("16:30");
    stage.at("16:32");
    stage.obey_all();
    let counted = (runs(&stage, "creation"), skipped(&stage, "creation"));
    assert_eq!(counted, ("6 0 0 - 0".into(), "3 0 0 0".into()));
    stage.turn(vec![Event::Trim { before: instant("3 00:00") }]);
    assert_eq!((stage.records("db").len(), stage.skips("db").len()), (1, 0), "history is trimmed");
    assert_eq!((runs(&stage, "creation"), skipped(&stage, "creation")), counted);
    stage.restart("16:40");
    stage.at("17:00");
    stage.obey_all();
    assert_eq!(runs(&stage, "creation"), "7 0 0 - 0");
}

#[test]
fn the_series_of_a_policy_end_with_it_and_go_on_with_its_uid() {
    let db = creating("db", "0 9 * * *").uid("u-1");
    let mut stage = Stage::new("08:55", &[db.clone(), creating("web", "0 9 * * *")]);
    stage.at("09:00");
    stage.obey_all();
    stage.load(&[creating("web", "0 9 * * *")]);
    assert!(!text(&stage).contains("policy=\"db\""), "{}", text(&stage));
    assert!(text(&stage).contains("policy=\"web\""));
    // Under another name, and as another policy under the old one.
    stage.load(&[creating("web", "0 9 * * *"), db.named("base"), creating("db", "0 9 * * *")]);
    let succeeded = |name: &str| format!("runs_total{{policy={name},workflow=creation,outcome=succeeded}}");
    assert_eq!(told(&stage, &[&succeeded("base"), &succeeded("db"), &succeeded("web")]), "1 0 1");
}

#[test]
fn a_workflow_that_a_policy_does_not_have_has_no_series() {
    let stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    assert!(!text(&stage).contains("workflow=\"deletion\""));
    assert_eq!(told(&stage, &["deletion_held{policy=db}"]), "-");
}

#[test]
fn what_holds_the_daemon_back_is_told() {
    let mut roster = (*crate::support::roster::roster(&[creating("db", "0 9 * * *").stale_after("1h")])).clone();
    default_channels(&mut roster, &["log"]);
    let mut stage = Stage::with("02:00", std::sync::Arc::new(roster), 64);
    let daemon = ["clock_doubted", "restrictions", "alarms{kind=clock}", "alarms{kind=stale}", "safe_mode", "policies"];
    assert_eq!(told(&stage, &daemon), "0 0 0 0 0 1");
    stage.at("03:30");
    assert_eq!(told(&stage, &daemon), "0 0 0 1 0 1");
    assert_eq!(told(&stage, &["notices_waiting{channel=log}", "notices_undeliverable{channel=log}"]), "1 0");
    stage.set_clock("9 00:00");
    assert_eq!(told(&stage, &daemon[..3]), "1 1 1");
    stage.turn(vec![Event::Chore { job: "journal backup".into(), trouble: Some("no room".into()) }]);
    let chore = ["chore_failed{chore=journal backup}", "journal_readable", "engine_last_turn_age_seconds"];
    assert_eq!(told(&stage, &chore), "1 1 0");
    assert_eq!(told_at(&stage, "chore_last_run_timestamp_seconds{chore=journal backup}"), "9 00:00");
    let bytes: u64 = told(&stage, &["journal_size_bytes{file=database}"]).parse().expect("a number");
    assert!(bytes > 4096, "{bytes}");
    // Without the journal there is no false zero.
    let text: String = Exposition::of(&stage.view, None, stage.now).collect();
    assert!(text.contains("snapkeep_journal_readable 0\n") && !text.contains("snapkeep_runs_total{"), "{text}");
    assert!(text.contains("snapkeep_stale{policy=\"db\"} 1\n"), "{text}");
}

#[test]
fn a_chore_of_every_minute_is_written_down_when_it_has_news() {
    let mut stage = Stage::new("08:00", &[]);
    let chore = |stage: &mut Stage, trouble: Option<&str>| {
        let before = stage.commits();
        stage.turn(vec![Event::Chore { job: "often".into(), trouble: trouble.map(Into::into) }]);
        stage.commits_since(before)
    };
    assert_eq!(chore(&mut stage, None), 1);
    stage.sleep_until("08:01");
    assert_eq!(chore(&mut stage, None), 0);
    assert_eq!(chore(&mut stage, Some("no room")), 1);
    assert_eq!(told(&stage, &["chore_failed{chore=often}"]), "1");
    stage.sleep_until("08:02");
    assert_eq!((chore(&mut stage, Some("no room")), chore(&mut stage, None)), (0, 1));
    stage.sleep_until("08:10");
    assert_eq!(chore(&mut stage, None), 1);
}

/// Of every family: its head once, its samples together, each with the labels that were promised.
#[test]
fn the_text_is_in_order_whatever_its_length_and_comes_in_small_pieces() {
    let policies: Vec<_> =
        (0..400).map(|number| deleting(&format!("p{number:03}"), "0 9 * * *", "0 9 * * *", 3)).collect();
    let stage = Stage::new("08:55", &policies);
    let totals = stage.reader.totals().expect("read");
    let pieces: Vec<String> = Exposition::of(&stage.view, Some(totals), stage.now).collect();
    assert!(pieces.len() > 30, "{} pieces", pieces.len());
    assert!(pieces.iter().all(|piece| piece.ends_with('\n') && piece.len() < 40 << 10));
    let text = pieces.concat();
    samples(&text);
    let mut families = families();
    let mut current = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let family = families.next().expect("a family");
            assert!(rest.starts_with(&format!("{} ", family.name)), "{line}");
            current = Some(family);
            continue;
        }
        let family = current.expect("a head comes first");
        if line.starts_with('#') {
            assert_eq!(line, format!("# TYPE {} {}", family.name, family.sort.word()));
            continue;
        }
        let rest = line.strip_prefix(family.name).unwrap_or_else(|| panic!("{line} below {}", family.name));
        if family.sort == Sort::Histogram {
            continue;
        }
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let names: Vec<&str> = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0)).collect();
        assert_eq!(names, family.labels, "{line}");
        assert_eq!(family.sort == Sort::Counter, family.name.ends_with("_total"));
    }
    assert!(families.next().is_none());
}

#[test]
fn a_run_that_a_person_asks_for_counts_like_any_other() {
    let mut stage = Stage::new("08:00", &[creating("db", "0 9 * * *")]);
    stage.run("db", Kind::Creation, None).expect("begun");
    stage.answer("db describe", Answer::Described(snapkeep::lifecycle::snapshot::Presence::Good { message: None }));
    assert_eq!(runs(&stage, "creation"), "1 0 0 - 0");
}
