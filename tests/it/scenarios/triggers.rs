//! Missed, met, caught up, queued.

use snapkeep::engine::event::{Done, Refusal, What};
use snapkeep::lifecycle::policy::CatchUp;
use snapkeep::lifecycle::time::Span;
use snapkeep::lifecycle::workflow::{Answer, Kind};

use super::{absent, creating, deleting, good, keep_days, tidying};
use crate::support::roster::PolicyText;
use crate::support::stage::Stage;

fn down_from_0830_to(at: &str, text: PolicyText) -> Stage {
    let mut stage = Stage::new("08:30", &[text]);
    stage.restart(at);
    stage
}

#[test]
fn missed_triggers_become_one_catch_up_run_and_one_record() {
    let mut stage = down_from_0830_to("14:20", creating("db", "0 * * * *"));
    assert_eq!(stage.runs("db"), ["creation of 14:00 by catch_up: under way"]);
    assert_eq!(stage.skips("db"), ["creation missed 5: 09:00 to 13:00"]);
    stage.at("14:21");
    stage.obey_all();
    stage.at("15:00");
    stage.obey_all();
    assert_eq!(
        stage.runs("db"),
        ["creation of 14:00 by catch_up: succeeded", "creation of 15:00 by schedule: succeeded"]
    );
    assert_eq!(stage.skips("db").len(), 1);
}

#[test]
fn a_machine_that_slept_catches_up_as_after_a_downtime() {
    let mut stage = Stage::new("08:30", &[creating("db", "0 * * * *")]);
    stage.sleep_until("14:20");
    assert_eq!(stage.runs("db"), ["creation of 14:00 by catch_up: under way"]);
    assert_eq!(stage.skips("db"), ["creation missed 5: 09:00 to 13:00"]);
}

#[test]
fn a_policy_that_never_catches_up_counts_what_it_missed_and_runs_nothing() {
    let mut stage = down_from_0830_to("14:20", creating("db", "0 * * * *").catch_up(CatchUp::Never));
    assert_eq!(stage.runs("db"), [""; 0]);
    assert_eq!(stage.skips("db"), ["creation missed 6: 09:00 to 14:00"]);
    stage.at("15:00");
    assert_eq!(stage.runs("db"), ["creation of 15:00 by schedule: under way"]);
}

#[test]
fn what_is_older_than_catch_up_within_is_not_caught_up() {
    let within = || CatchUp::Once { within: Some(Span::parse("10m").expect("a span")) };
    let late = down_from_0830_to("14:20", creating("db", "0 * * * *").catch_up(within()));
    assert_eq!((late.runs("db").len(), late.skips("db")), (0, vec!["creation missed 6: 09:00 to 14:00".to_string()]));
    let soon = down_from_0830_to("14:05", creating("db", "0 * * * *").catch_up(within()));
    assert_eq!(soon.runs("db"), ["creation of 14:00 by catch_up: under way"]);
}

#[test]
fn catch_up_runs_begin_spread_over_a_minute() {
    let texts: Vec<PolicyText> =
        (0..120).map(|number| creating(&format!("p{number:03}"), "0 * * * *").effects_max(1000)).collect();
    let mut stage = Stage::with("08:30", crate::support::roster::roster(&texts), 1000);
    stage.restart("14:20");
    assert!(stage.asked().len() < 12, "{} began at once", stage.asked().len());
    stage.at("14:20:30");
    assert!((30..90).contains(&stage.asked().len()), "{} began in half a minute", stage.asked().len());
    stage.at("14:21");
    assert_eq!(stage.asked().len(), 120);
}

/// S5.
#[test]
fn a_deletion_that_is_caught_up_waits_for_the_creation_that_is() {
    let mut stage = Stage::new("00:30", &[deleting("db", "0 8 * * *", "0 1 * * *", 2)]);
    keep_days(&mut stage, "db", 2);
    stage.restart("3 12:00");
    stage.at("3 12:01");
    stage.expect_asked(&["db describe"]);
    stage.obey_all();
    stage.at("3 12:05");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 2);
    assert_eq!(
        stage.runs("db"),
        ["creation of 3 08:00 by catch_up: succeeded", "deletion of 3 01:00 by catch_up: succeeded"]
    );
    assert_eq!(stage.skips("db"), ["creation missed 2: 08:00 to 2 08:00", "deletion missed 2: 01:00 to 2 01:00"]);
}

/// Trap 19.
#[test]
fn skipped_triggers_leave_a_record() {
    let mut stage = Stage::new("08:55", &[creating("db", "*/10 * * * *")]);
    stage.at("09:35");
    stage.expect_asked(&["db describe"]);
    assert_eq!(
        stage.skips("db"),
        [
            "creation overlap 1: 09:10 to 09:10",
            "creation overlap 1: 09:20 to 09:20",
            "creation overlap 1: 09:30 to 09:30"
        ]
    );
    let skipped = stage.explain("db").creation.expect("creation").skipped;
    assert_eq!((skipped.len(), skipped[0].count), (1, 3));
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    stage.at("09:40");
    assert_eq!(stage.log.len(), 3, "the next trigger runs");
}

#[test]
fn a_policy_that_queues_one_runs_the_newest_trigger_it_met() {
    let mut stage = Stage::new("08:55", &[creating("db", "*/10 * * * *").queue_one()]);
    stage.at("09:35");
    assert_eq!(stage.skips("db"), [""; 0]);
    stage.answer("db describe", good());
    assert_eq!(
        stage.runs("db"),
        ["creation of 09:00 by schedule: succeeded", "creation of 09:30 by schedule: under way"]
    );
    assert_eq!(stage.skips("db"), ["creation overlap 2: 09:10 to 09:20"]);
    stage.expect_asked(&["db describe"]);
}

/// Trap 8.
#[test]
fn creation_goes_first_and_exactly_max_count_remain() {
    let mut stage = Stage::new("07:00", &[deleting("db", "0 8 * * *", "0 8 * * *", 3)]);
    keep_days(&mut stage, "db", 3);
    stage.at("08:00");
    stage.expect_asked(&["db describe"]);
    assert_eq!(stage.waits_for("db", Kind::Deletion), "creation of this policy to settle");
    stage.at("08:30");
    stage.obey_all();
    assert_eq!(stage.kept.len(), 3);
    assert!(!stage.kept_names().contains(&"s1"));
    assert_eq!(
        stage.runs("db"),
        ["creation of 08:00 by schedule: succeeded", "deletion of 08:00 by schedule: succeeded"],
        "a deletion that waited for its creation is not late"
    );
}

#[test]
fn a_deletion_waits_for_a_creation_that_ends_much_later_and_runs_once() {
    let mut stage = Stage::new("07:00", &[deleting("db", "0 8 * * *", "0 * * * *", 3)]);
    keep_days(&mut stage, "db", 1);
    stage.at("07:59");
    stage.at("08:00");
    stage.answer("db describe", absent());
    stage.answer("db create", Answer::Accepted);
    for hour in ["09:30", "10:30"] {
        stage.at(hour);
        stage.answer("db describe", super::running());
    }
    stage.at("10:45");
    stage.answer("db describe", good());
    stage.obey_all();
    assert_eq!(
        stage.runs("db"),
        ["creation of 08:00 by schedule: succeeded", "deletion of 10:00 by schedule: succeeded"]
    );
    assert_eq!(stage.skips("db"), ["deletion overlap 2: 08:00 to 09:00"]);
}

#[test]
fn a_stopped_policy_misses_nothing_and_counts_from_its_start() {
    let mut stage = Stage::new("08:30", &[creating("db", "0 * * * *")]);
    stage.stop("db");
    stage.at("10:15");
    stage.restart("11:15");
    assert_eq!(stage.explain("db").creation.expect("creation").trigger_at, None);
    stage.resume("db");
    assert_eq!((stage.runs("db").len(), stage.skips("db").len()), (0, 0));
    stage.at("12:00");
    assert_eq!(stage.runs("db"), ["creation of 12:00 by schedule: under way"]);
}

#[test]
fn a_stopped_policy_deletes_nothing() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 1)]);
    keep_days(&mut stage, "db", 4);
    stage.at("08:00");
    stage.obey("db list");
    // The second listing is in flight, by which the first snapshot would be chosen.
    stage.expect_asked(&["db list"]);
    stage.stop("db");
    stage.expect_asked(&[]);
    assert_eq!(stage.abandoned.len(), 1);
    assert_eq!(stage.runs("db"), ["deletion of 08:00 by schedule: cancelled"]);
    let refused = stage.run("db", Kind::Deletion, None);
    assert!(matches!(refused, Err(Refusal::Unavailable(_))), "{refused:?}");
    stage.at("2 09:00");
    assert_eq!(stage.kept.len(), 4);
}

#[test]
fn a_creation_under_way_is_followed_to_its_end_when_its_policy_is_stopped() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 * * * *")]);
    stage.at("09:00");
    stage.stop("db");
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    stage.at("11:00");
    assert_eq!(stage.runs("db").len(), 1);
}

#[test]
fn who_looks_after_repositories_is_told_who_is_at_work_and_how_long_that_may_take() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 * * * *")]);
    let ask = |stage: &mut Stage| match stage.tell(What::Sites { repositories: vec![], policies: vec!["db".into()] }) {
        Ok(Done::Sites(sites)) => sites.iter().map(|site| (site.at_work, site.keep.as_secs())).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    // A day, which is the default of a time limit, and an hour.
    let keep = 25 * 3600;
    assert_eq!(ask(&mut stage), [(false, keep)]);
    stage.at("09:00");
    stage.answer("db describe", absent());
    assert_eq!(ask(&mut stage), [(true, keep)]);
    stage.obey_all();
    assert_eq!(ask(&mut stage), [(false, keep)]);
    let unknown = stage.tell(What::Sites { repositories: vec!["nowhere".into()], policies: vec![] });
    assert!(matches!(unknown, Err(Refusal::UnknownRepository(_))), "{unknown:?}");
}

#[test]
fn a_manual_run_with_one_key_is_one_run() {
    let texts = [creating("db", "0 0 * * *"), creating("wiki", "0 0 * * *")];
    let mut stage = Stage::new("08:55", &texts);
    let first = stage.run("db", Kind::Creation, Some("key")).expect("a run");
    assert_eq!(stage.run("db", Kind::Creation, Some("key")).expect("the same"), first);
    stage.obey_all();
    assert_eq!(stage.run("db", Kind::Creation, Some("key")).expect("the same"), first);
    stage.restart("09:00");
    assert_eq!(stage.run("db", Kind::Creation, Some("key")).expect("the same"), first);
    assert_eq!(stage.runs("db"), ["creation of 08:55 by manual: succeeded"]);
}

#[test]
fn one_key_in_one_turn_is_one_run_whatever_policies_it_names() {
    use snapkeep::engine::event::{Command, Done, Event, RequestKey};
    let mut stage = Stage::new("08:55", &[creating("db", "0 0 * * *"), creating("wiki", "0 0 * * *")]);
    let mut answers = Vec::new();
    let mut events = Vec::new();
    for policy in ["db", "db", "wiki"] {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let what = super::run_of(policy, Kind::Creation);
        let request = Some(Box::new(RequestKey { key: "key".into(), fingerprint: "".into() }));
        events.push(Event::Command(Command { who: "uid:0".into(), what, request, reply }));
        answers.push(answer);
    }
    stage.turn(events);
    let runs: Vec<Result<Box<str>, Refusal>> = answers
        .into_iter()
        .map(|mut answer| match answer.try_recv().expect("answered")? {
            Done::Run { run_id, .. } => Ok(run_id),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(runs[0].is_ok() && runs[0] == runs[1], "{runs:?}");
    assert!(matches!(runs[2], Err(Refusal::Conflict(_))), "{runs:?}");
    assert_eq!((stage.runs("db").len(), stage.runs("wiki").len()), (1, 0));
    // Also when the record of what was asked is gone, and the run is there.
    stage.obey_all();
    stage.restart("09:00");
    let other = stage.run("wiki", Kind::Creation, Some("key"));
    assert!(matches!(other, Err(Refusal::Conflict(_))), "{other:?}");
    let other = stage.run("db", Kind::Deletion, Some("key"));
    assert!(matches!(other, Err(Refusal::Conflict(_))), "{other:?}");
}

/// One turn is one instant, and a trigger runs once: whatever people do within it ends no daemon.
#[test]
fn a_run_that_is_withdrawn_and_asked_for_again_in_one_turn_is_one_run() {
    use snapkeep::engine::event::{Command, Done, Event};
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 4)]);
    keep_days(&mut stage, "db", 6);
    let policy = || "db".to_string();
    let whats = [
        super::run_of("db", Kind::Deletion),
        What::Stop { policy: policy() },
        What::Start { policy: policy() },
        super::run_of("db", Kind::Deletion),
    ];
    let mut answers = Vec::new();
    let events = whats.map(|what| {
        let (reply, answer) = tokio::sync::oneshot::channel();
        answers.push(answer);
        Event::Command(Command { who: "uid:0".into(), what, request: None, reply })
    });
    stage.turn(events.into());
    let told: Vec<Result<Done, Refusal>> =
        answers.into_iter().map(|mut answer| answer.try_recv().expect("answered")).collect();
    assert!(matches!(told[0], Ok(Done::Run { .. })), "{told:?}");
    assert!(matches!(told[3], Err(Refusal::Running { .. })), "{told:?}");
    assert_eq!(stage.runs("db").len(), 1);
    stage.at("07:01");
    stage.run("db", Kind::Deletion, None).expect("a later instant is another trigger");
}

#[test]
fn a_manual_run_of_what_is_running_is_refused() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 * * * *")]);
    stage.at("09:00");
    let refused = stage.run("db", Kind::Creation, None);
    assert!(matches!(refused, Err(Refusal::Running { .. })), "{refused:?}");
    let refused = stage.run("db", Kind::Deletion, None);
    assert!(matches!(refused, Err(Refusal::NoWorkflow { .. })), "{refused:?}");
    let refused = stage.run("nobody", Kind::Creation, None);
    assert!(matches!(refused, Err(Refusal::Unknown(_))), "{refused:?}");
}

/// G9.
#[test]
fn a_shrunken_listing_holds_a_deletion_until_its_plan_is_approved() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 4)]);
    keep_days(&mut stage, "db", 6);
    stage.at("08:00");
    stage.obey_all();
    assert_eq!(stage.kept_names(), ["s3", "s4", "s5", "s6"]);
    stage.kept.truncate(1);
    stage.at("2 08:00");
    stage.obey_all();
    assert_eq!(stage.runs("db")[1], "deletion of 2 08:00 by schedule: held");
    assert!(stage.explain("db").deletion.and_then(|deletion| deletion.held).is_some());
    // It stays so, also after a restart, until a person has looked.
    stage.restart("2 20:00");
    stage.at("3 08:00");
    stage.obey_all();
    assert_eq!(stage.runs("db")[2], "deletion of 3 08:00 by schedule: held");
    stage.at("3 09:00");
    stage.run("db", Kind::Deletion, None).expect("a run");
    stage.obey_all();
    assert_eq!(stage.runs("db")[3], "deletion of 3 09:00 by manual: held");
    let plan = stage.tracked("db").held().expect("a plan waits").number;
    stage.at("3 09:01");
    stage.tell(What::Approve { plan }).expect("approved");
    stage.obey_all();
    assert_eq!(stage.runs("db")[4], "deletion of 3 09:01 by manual: succeeded");
    stage.at("4 08:00");
    stage.obey_all();
    assert_eq!(stage.runs("db")[5], "deletion of 4 08:00 by schedule: succeeded");
    assert!(stage.explain("db").deletion.is_some_and(|deletion| deletion.held.is_none()));
}
