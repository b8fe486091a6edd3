//! What people asked to be told: each condition with each thing that can happen, once each and never otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use snapkeep::engine::event::What;
use snapkeep::journal::record::{NoticeQuery, NoticeRecord, NoticeState};
use snapkeep::lifecycle::channel::ping::Ping;
use snapkeep::lifecycle::channel::quiet::QuietHours;
use snapkeep::lifecycle::channel::server::Server;
use snapkeep::lifecycle::channel::{self, MaybeSecret, Rules};
use snapkeep::lifecycle::notice::Event;
use snapkeep::lifecycle::policy::{Conditions, Notification, Told};
use snapkeep::lifecycle::time::Span;
use snapkeep::lifecycle::workflow::{Fault, Kind, Outcome};
use snapkeep::lifecycle::zone::Zone;
use snapkeep::roster::{Document, FileKind, News, Problem, Roster};

use super::{absent, creating, deleting, keep_days, tidying};
use crate::support::roster::{PolicyText, channel_with, default_channels, roster};
use crate::support::stage::Stage;

/// Something that happens to one policy, `db`, and its one channel.
type Scene = fn(&[Event]) -> Stage;

fn stage(at: &str, policy: PolicyText, told: &[Event]) -> Stage {
    Stage::new(at, &[policy.conditions(told)])
}

fn refuse_for_good(stage: &mut Stage) {
    stage.refuse("db describe", Fault::permanent("access denied"));
}

fn tidied(told: &[Event], kept: i64, limit: u32) -> Stage {
    let mut stage = stage("08:55", tidying("db", "0 9 * * *", limit), told);
    keep_days(&mut stage, "db", kept);
    stage.at("09:00");
    stage
}

/// What happens, and what is told of it where everything is.
type Case = (&'static str, Scene, &'static [(Event, usize)]);

const SCENES: [Case; 15] = [
    (
        "a snapshot is made",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 9 * * *"), told);
            stage.at("09:00");
            stage.obey_all();
            stage
        },
        &[(Event::Creation, 1)],
    ),
    (
        "a snapshot is made after two attempts",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 9 * * *"), told);
            stage.at("09:00");
            stage.refuse("db describe", Fault::transient("reset"));
            stage.at("09:01");
            stage.refuse("db describe", Fault::busy("another has it"));
            stage.at("09:05");
            stage.obey_all();
            stage
        },
        &[(Event::Creation, 1)],
    ),
    (
        "a creation fails",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 9 * * *"), told);
            stage.at("09:00");
            refuse_for_good(&mut stage);
            stage
        },
        &[(Event::Failure, 1)],
    ),
    (
        "three creations fail and two succeed",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 * * * *"), told);
            for hour in ["09:00", "10:00", "11:00"] {
                stage.at(hour);
                refuse_for_good(&mut stage);
            }
            for hour in ["12:00", "13:00"] {
                stage.at(hour);
                stage.obey_all();
            }
            stage
        },
        &[(Event::Failure, 3), (Event::Creation, 2), (Event::Recovered, 1)],
    ),
    (
        "a creation fails, the daemon is killed, and the next succeeds",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 * * * *"), told);
            stage.at("09:00");
            refuse_for_good(&mut stage);
            stage.restart("09:30");
            stage.at("10:00");
            stage.restart("10:00:30");
            stage.at("10:02");
            stage.obey_all();
            stage
        },
        &[(Event::Failure, 1), (Event::Creation, 1), (Event::Recovered, 1)],
    ),
    (
        "a creation exceeds its time limit",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 9 * * *").time_limit("20m"), told);
            stage.at("09:00");
            stage.answer("db describe", absent());
            stage.at("09:20");
            stage
        },
        &[(Event::TimeLimitExceeded, 1)],
    ),
    (
        "the policy is removed while its snapshot is made",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 9 * * *"), told);
            stage.at("09:00");
            stage.load(&[]);
            stage.obey_all();
            stage
        },
        &[(Event::Creation, 1)],
    ),
    (
        "snapshots are deleted",
        |told| {
            let mut stage = tidied(told, 5, 3);
            stage.obey_all();
            stage
        },
        &[(Event::Deletion, 1)],
    ),
    (
        "there is nothing to delete",
        |told| {
            let mut stage = tidied(told, 3, 3);
            stage.obey_all();
            stage
        },
        &[],
    ),
    (
        "a deletion fails",
        |told| {
            let mut stage = tidied(told, 5, 3);
            stage.refuse("db list", Fault::permanent("access denied"));
            stage
        },
        &[(Event::Failure, 1)],
    ),
    (
        "the policy is stopped while it deletes",
        |told| {
            let mut stage = tidied(told, 5, 3);
            stage.stop("db");
            stage.obey_all();
            stage
        },
        &[],
    ),
    (
        "the brake holds a deletion, on three days for the same reason",
        |told| {
            let mut stage = tidied(told, 40, 3);
            stage.obey_all();
            for day in ["2 09:00", "3 09:00"] {
                stage.at(day);
                stage.obey_all();
            }
            stage
        },
        &[(Event::Held, 1)],
    ),
    (
        "triggers are missed",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 * * * *"), told);
            stage.restart("12:30");
            stage.at("12:35");
            stage.obey_all();
            stage
        },
        &[(Event::Missed, 1), (Event::Creation, 1)],
    ),
    (
        "five triggers meet a run in flight, and then two",
        |told| {
            let mut stage = stage("08:55", creating("db", "*/10 * * * *"), told);
            stage.at("09:00");
            stage.at("09:55");
            stage.obey_all();
            stage.at("10:00");
            stage.at("10:25");
            stage.obey_all();
            stage
        },
        &[(Event::Skipped, 1), (Event::Creation, 2)],
    ),
    (
        "there is no good snapshot for three days, and then one",
        |told| {
            let mut stage = stage("08:55", creating("db", "0 0 9 1 *").stale_after("3d"), told);
            // Day 1 is in March: the yearly trigger is far.
            stage.at("4 08:54");
            stage.at("6 10:00");
            stage.run("db", Kind::Creation, None).expect("begun");
            stage.obey_all();
            stage
        },
        &[(Event::Stale, 1), (Event::Creation, 1), (Event::Recovered, 1)],
    ),
];

fn all(stage: &Stage) -> Vec<NoticeRecord> {
    stage.reader.notices(&NoticeQuery { limit: 1_000, ..NoticeQuery::default() }).expect("notices")
}

fn counted(stage: &Stage) -> BTreeMap<Event, usize> {
    let mut counts = BTreeMap::new();
    for record in all(stage) {
        assert_eq!(record.count, 1);
        *counts.entry(record.notice.event).or_insert(0) += 1;
    }
    counts
}

/// Everything a policy may be asked to tell of.
fn conditions() -> Vec<Event> {
    let daemons = [Event::Clock, Event::Undeliverable];
    Event::CONDITIONS.into_iter().filter(|event| !daemons.contains(event)).collect()
}

#[test]
fn each_condition_with_each_thing_that_happens_is_told_once_and_never_otherwise() {
    let mut told: Vec<Event> = Vec::new();
    for (name, scene, expected) in SCENES {
        let expected: BTreeMap<Event, usize> = expected.iter().copied().collect();
        told.extend(expected.keys());
        assert_eq!(counted(&scene(&conditions())), expected, "{name}, everything told");
        assert_eq!(counted(&scene(&[])), BTreeMap::new(), "{name}, nothing told");
        for condition in conditions() {
            let mut stage = scene(&[condition]);
            let alone: BTreeMap<Event, usize> = expected
                .iter()
                .filter(|(event, _)| **event == condition)
                .map(|(event, count)| (*event, *count))
                .collect();
            assert_eq!(counted(&stage), alone, "{name}, {} told", condition.word());
            // What was told is told: a daemon that starts again finds no news.
            stage.kill();
            let now = stage.now.wall.plus(1_000);
            stage.restart(&crate::support::stage::clock(now));
            assert_eq!(counted(&stage), alone, "{name}, {} told, started again", condition.word());
        }
    }
    let untold: Vec<&str> = conditions().into_iter().filter(|event| !told.contains(event)).map(Event::word).collect();
    assert_eq!(untold, ["problem"], "what no scene shows is a file's, below");
}

/// The same with other channels, default channels and problems.
fn with(texts: &[PolicyText], change: impl FnOnce(&mut Roster)) -> Arc<Roster> {
    let mut roster = Arc::unwrap_or_clone(roster(texts));
    change(&mut roster);
    Arc::new(roster)
}

fn rules(roster: &mut Roster, change: impl FnOnce(&mut Rules)) {
    let mut rules = Rules::default();
    change(&mut rules);
    roster.channels.insert("log".into(), Arc::new(channel_with("log", rules)));
}

#[test]
fn a_policy_that_names_nobody_tells_the_default_channels() {
    let policy = creating("db", "0 9 * * *").channels(&[]);
    let roster = with(std::slice::from_ref(&policy), |roster| default_channels(roster, &["log"]));
    let mut stage = Stage::with("08:55", roster, 64);
    stage.at("09:00");
    refuse_for_good(&mut stage);
    assert_eq!(counted(&stage), BTreeMap::from([(Event::Failure, 1)]));
    assert_eq!(&*all(&stage)[0].notice.channel, "log");
}

#[test]
fn each_channel_is_told_under_its_own_conditions() {
    let mut roster = Arc::unwrap_or_clone(roster(&[creating("db", "0 * * * *").channels(&["log", "pager"])]));
    let entry = &roster.policies["db"];
    let mut policy = entry.policy.clone();
    let none = Conditions::NONE;
    let channels = vec![
        Told { channel: "log".into(), conditions: none.with(Event::Creation, true) },
        Told { channel: "pager".into(), conditions: none.with(Event::Failure, true) },
    ];
    policy.notification = Arc::new(Notification { channels });
    let entry = snapkeep::roster::Entry::by_hand(policy, entry.repository.clone(), serde_json::Value::Null);
    roster.policies.insert("db".into(), Arc::new(entry));
    let mut stage = Stage::with("08:55", Arc::new(roster), 64);
    stage.at("09:00");
    refuse_for_good(&mut stage);
    stage.at("10:00");
    stage.obey_all();
    let told: Vec<(Event, Box<str>)> =
        all(&stage).into_iter().rev().map(|record| (record.notice.event, record.notice.channel)).collect();
    assert_eq!(told, [(Event::Failure, "pager".into()), (Event::Creation, "log".into())]);
}

#[test]
fn a_clock_that_is_doubted_is_told_once_and_again_when_it_is_doubted_again() {
    let texts = [creating("db", "0 9 * * *").channels(&[])];
    let roster = with(&texts, |roster| default_channels(roster, &["log"]));
    let mut stage = Stage::with("08:55", roster, 64);
    stage.set_clock("11 08:56");
    stage.at("11 10:00");
    stage.restart("11 10:01");
    let clocks = |stage: &Stage| counted(stage).get(&Event::Clock).copied();
    assert_eq!(clocks(&stage), Some(1));
    assert_eq!(counted(&stage).get(&Event::Missed), None, "by a clock that is ahead everything was missed");
    stage.tell(What::ConfirmClock).expect("confirmed");
    stage.at("11 11:00");
    assert_eq!(clocks(&stage), Some(1));
    stage.set_clock("30 11:00");
    assert_eq!(clocks(&stage), Some(2));
}

#[test]
fn a_bad_file_is_told_once_until_it_is_mended() {
    let texts = [creating("db", "0 9 * * *").channels(&[])];
    let problem = |file: &str| Problem::of_file(std::path::Path::new(file), "is not accepted at all");
    let good = with(&texts, |roster| default_channels(roster, &["log"]));
    let bad = with(&texts, |roster| {
        default_channels(roster, &["log"]);
        roster.problems =
            vec![problem("channels.d/x.toml"), problem("channels.d/x.toml"), problem("policies.d/y.toml")];
    });
    let problems = |stage: &Stage| counted(stage).get(&Event::Problem).copied().unwrap_or(0);
    let mut stage = Stage::with("08:55", good.clone(), 64);
    assert_eq!(problems(&stage), 0);
    stage.load_roster(bad.clone());
    assert_eq!(problems(&stage), 2);
    stage.load_roster(bad.clone());
    stage.restart("08:56");
    assert_eq!(problems(&stage), 2);
    let said: Vec<String> = all(&stage).iter().map(|record| record.notice.facts.what.clone()).collect();
    assert!(said.iter().any(|said| said == "channels.d/x.toml: is not accepted at all (and 1 more)"), "{said:?}");
    stage.load_roster(good);
    stage.at("08:57");
    stage.load_roster(bad);
    assert_eq!(problems(&stage), 4);
}

#[test]
fn what_goes_on_is_told_again_only_by_channels_that_want_it_so() {
    let policy = || creating("db", "0 0 9 1 *").stale_after("1d").conditions(&[Event::Stale]);
    for (every, expected) in [(None, 1), (Some("12h"), 5)] {
        let roster = with(&[policy()], |roster| {
            rules(roster, |rules| rules.repeat_after = every.map(|every| Span::parse(every).expect("a span")));
        });
        let mut stage = Stage::with("08:55", roster, 64);
        // Stale from day 2 at 08:55 on; 50 hours.
        stage.at("3 09:00");
        stage.restart("3 09:01");
        stage.at("4 10:55");
        assert_eq!(counted(&stage).get(&Event::Stale), Some(&expected), "{every:?}");
    }
}

#[test]
fn what_happens_again_soon_waits_and_is_counted() {
    let policy = creating("db", "*/10 * * * *").conditions(&[Event::Failure, Event::Recovered]);
    let roster = with(&[policy], |roster| {
        rules(roster, |rules| rules.repeat_after = Some(Span::parse("1h").expect("a span")));
    });
    let mut stage = Stage::with("08:55", roster, 64);
    for minute in 0..9 {
        stage.at(&format!("{:02}:{:02}", 9 + minute / 6, minute % 6 * 10));
        refuse_for_good(&mut stage);
        let sent: Vec<Box<str>> = stage.notices.drain(..).map(|(notice, _)| notice.key).collect();
        for key in sent {
            stage.deliver(&key, Ok(()));
        }
    }
    let told: Vec<(u32, NoticeState)> = all(&stage).iter().rev().map(|record| (record.count, record.state)).collect();
    // At 09:00 at once; the five of the hour after it at 10:00, and those since wait again.
    assert_eq!(told, [(1, NoticeState::Delivered), (5, NoticeState::Delivered), (3, NoticeState::Pending)]);
    stage.at("10:30");
    stage.obey_all();
    let recovered = all(&stage).into_iter().find(|record| record.notice.event == Event::Recovered).expect("told");
    assert_eq!(recovered.attempts, 1, "it is told at once");
    // Another failure is another story.
    stage.at("10:40");
    refuse_for_good(&mut stage);
    let latest = all(&stage).remove(0);
    assert_eq!((latest.notice.event, latest.attempts), (Event::Failure, 1));
}

#[test]
fn in_quiet_hours_nobody_is_told_but_of_what_is_excepted() {
    let policy = creating("db", "0 * * * *").conditions(&[Event::Failure, Event::Creation]);
    let roster = with(&[policy], |roster| {
        rules(roster, |rules| {
            let except = vec![Event::Creation];
            rules.quiet = Some(QuietHours { from: 22 * 60, until: 7 * 60, zone: Zone::utc(), except });
        });
    });
    let mut stage = Stage::with("21:55", roster, 64);
    for hour in ["22:00", "23:00"] {
        stage.at(hour);
        refuse_for_good(&mut stage);
    }
    assert_eq!(stage.notices.len(), 0);
    stage.at("2 00:00");
    stage.obey_all();
    assert_eq!(stage.notices.len(), 1);
    stage.restart("2 06:59:59");
    assert_eq!(stage.notices.len(), 2, "the one that was sent and not taken is sent again");
    stage.at("2 07:00");
    let failures: Vec<u32> = stage
        .errands
        .iter()
        .filter(|errand| errand.record.notice.event == Event::Failure)
        .map(|errand| errand.record.count)
        .collect();
    assert_eq!(failures, [2], "both are one");
}

#[test]
fn what_one_channel_does_not_take_the_default_channels_hear_of() {
    let policy = creating("db", "0 9 * * *").channels(&["pager"]).conditions(&[Event::Failure]);
    let roster = with(&[policy], |roster| default_channels(roster, &["log"]));
    let mut stage = Stage::with("08:55", roster, 64);
    stage.at("09:00");
    refuse_for_good(&mut stage);
    for hour in 0..30 {
        for (notice, _) in std::mem::take(&mut stage.notices) {
            let taken = if &*notice.channel == "log" { Ok(()) } else { Err("no answer".to_string()) };
            stage.deliver(&notice.key, taken);
        }
        let at = 9 * 60 + 5 + hour * 55;
        stage.at(&format!("{} {:02}:{:02}", at / 1440 + 1, at / 60 % 24, at % 60));
    }
    let told: Vec<(Event, Box<str>, NoticeState)> = all(&stage)
        .into_iter()
        .rev()
        .map(|record| (record.notice.event, record.notice.channel, record.state))
        .collect();
    assert_eq!(
        told,
        [
            (Event::Failure, "pager".into(), NoticeState::Undeliverable),
            (Event::Undeliverable, "log".into(), NoticeState::Delivered)
        ]
    );
    let shown = stage.view.daemon().notices;
    assert_eq!(shown.get("pager").map(|waiting| waiting.undeliverable), Some(1));
    // Once somebody has mended it, a person sends it again.
    stage.tell(What::Resend { notice: 1 }).expect("resent");
    let again = stage.errands.last().expect("sent");
    assert_eq!((again.record.number, again.attempt, &*again.record.notice.channel), (1, 1, "pager"));
    stage.deliver(&again.record.notice.key.clone(), Ok(()));
    assert_eq!(all(&stage).last().map(|record| record.state), Some(NoticeState::Delivered));
    let refused = stage.tell(What::Resend { notice: 99 }).expect_err("there is none");
    assert_eq!(refused.to_string(), "notice 99 is not sent again: there is no such notice");
}

#[test]
fn a_channel_that_was_changed_is_tried_at_once() {
    let policy = creating("db", "0 9 * * *").conditions(&[Event::Failure]);
    let texts = std::slice::from_ref(&policy);
    let mut stage = Stage::with("08:55", with(texts, |_| ()), 64);
    stage.at("09:00");
    refuse_for_good(&mut stage);
    let key = stage.notices[0].0.key.clone();
    stage.deliver_trouble(&key, snapkeep::notify::Trouble::changed("535 wrong password"));
    stage.at("09:50");
    assert_eq!(stage.notices.len(), 1, "what a person has to change is tried rarely");
    stage.load_roster(with(texts, |roster| {
        let news = News::Good { origin: std::path::Path::new("channels.d/log.toml").into(), text: "[log]".into() };
        roster.documents = vec![Document { kind: FileKind::Channel, name: "log".into(), news }];
    }));
    assert_eq!(stage.notices.len(), 2);
}

#[test]
fn what_a_clock_that_was_ahead_put_off_is_not_put_off_for_years() {
    let policy = creating("db", "0 9 * * *").conditions(&[Event::Failure]);
    let mut stage = Stage::with("08:55", with(std::slice::from_ref(&policy), |_| ()), 64);
    stage.set_clock("900 08:59");
    stage.at("900 09:00");
    refuse_for_good(&mut stage);
    let key = stage.notices[0].0.key.clone();
    stage.deliver(&key, Err("no answer".into()));
    stage.set_clock("09:10");
    stage.at("09:12");
    assert!(stage.notices.len() > 1, "it waits for day 900");
}

#[test]
fn past_ten_thousand_waiting_for_a_channel_equal_ones_become_one() {
    let names: Vec<String> = (0..500).map(|number| format!("p{number}")).collect();
    let policy = |name: &String| {
        let policy = creating(name, "* * * * *").channels(&["pager"]).conditions(&[Event::Failure]);
        policy.repository(name)
    };
    let texts: Vec<PolicyText> = names.iter().map(policy).collect();
    let mut stage = Stage::with("08:55", roster(&texts), 1_000);
    for minute in 0..25 {
        stage.at(&format!("09:{minute:02}"));
        stage.refuse_all(&Fault::permanent("access denied"));
    }
    // Twenty rounds are a row each; what comes after is one more a policy.
    assert_eq!(stage.view.daemon().notices["pager"].pending, 10_500);
    let query = NoticeQuery { limit: 500, ..NoticeQuery::default() };
    let counts: Vec<u32> = stage.reader.notices(&query).expect("read").iter().map(|record| record.count).collect();
    assert_eq!(counts, [5; 500], "none is lost: 25 failures of each of 500 policies");
}

/// N1–N3: killed after any of its steps, a run that fails is told at least once, and always under one key.
#[test]
fn killed_after_any_step_a_notice_is_there_once_and_reaches_its_channel_under_one_key() {
    let steps: [fn(&mut Stage); 5] = [
        |stage| stage.at("09:00"),
        |stage| {
            if stage.asked().contains(&"db describe".to_string()) {
                refuse_for_good(stage);
            }
        },
        |stage| stage.at("09:01"),
        |stage| stage.at("09:04"),
        |stage| stage.at("09:20"),
    ];
    let mut most = 0;
    for killed_after in 0..=steps.len() {
        // Whether the receiver had it by then, and whether anybody was told so before the kill.
        for reported in [false, true] {
            let mut stage = stage("08:55", creating("db", "0 9 * * *"), &[Event::Failure]);
            let mut received: Vec<Box<str>> = Vec::new();
            for (number, step) in steps.iter().enumerate() {
                if number == killed_after {
                    let now = crate::support::stage::clock(stage.now.wall.plus(1_000));
                    stage.restart(&now);
                }
                step(&mut stage);
                for (notice, _) in std::mem::take(&mut stage.notices) {
                    received.push(notice.key.clone());
                    if reported || number + 1 != killed_after {
                        stage.deliver(&notice.key, Ok(()));
                    }
                }
            }
            stage.at("10:00");
            let left: Vec<Box<str>> = stage.notices.drain(..).map(|(notice, _)| notice.key).collect();
            for key in left {
                received.push(key.clone());
                stage.deliver(&key, Ok(()));
            }
            let rows = all(&stage);
            assert_eq!(rows.len(), 1, "killed after {killed_after} steps: {rows:?}");
            assert_eq!(rows[0].state, NoticeState::Delivered, "killed after {killed_after} steps");
            assert!(!received.is_empty(), "killed after {killed_after} steps");
            assert!(received.iter().all(|key| **key == *rows[0].notice.key), "{received:?}");
            most = most.max(received.len());
        }
    }
    assert!(most > 1, "where nobody heard that it was taken it is sent again");
}

/// A check that waits for signs of life of one workflow.
fn ping(roster: &mut Roster, heartbeat: Option<&str>, workflows: &[Kind]) {
    let mut channel = channel_with("hc", Rules::default());
    let server = Server {
        url: MaybeSecret::Plain("https://hc.example/uuid".into()),
        ca: None,
        time_limit: Span::parse(Server::TIME_LIMIT).expect("a span"),
        allow_hosts: Vec::new(),
    };
    let heartbeat = heartbeat.map(|every| Span::parse(every).expect("a span"));
    channel.settings.kind = channel::Kind::Ping(Box::new(Ping { server, heartbeat, workflows: workflows.to_vec() }));
    roster.channels.insert("hc".into(), Arc::new(channel));
}

#[test]
fn a_check_hears_of_every_beginning_and_every_end_whatever_the_policy_says() {
    let policy = deleting("db", "0 9 * * *", "0 10 * * *", 3).channels(&["hc"]).conditions(&[Event::Held]);
    for (workflows, expected) in [
        (vec![Kind::Creation], vec!["start 09:00", "creation 09:00", "start 2 09:00", "failure 2 09:00"]),
        (vec![Kind::Deletion], vec!["start 10:00", "deletion 10:00"]),
    ] {
        let mut stage =
            Stage::with("08:55", with(std::slice::from_ref(&policy), |roster| ping(roster, None, &workflows)), 64);
        let mut heard = Vec::new();
        let mut hear = |stage: &mut Stage| {
            for (notice, _) in std::mem::take(&mut stage.notices) {
                heard.push(format!("{} {}", notice.event.word(), crate::support::stage::clock(notice.at)));
                stage.deliver(&notice.key, Ok(()));
            }
        };
        stage.at("09:00");
        hear(&mut stage);
        stage.obey_all();
        hear(&mut stage);
        // There is nothing to delete, which is no news but a sign of life.
        stage.at("10:00");
        hear(&mut stage);
        stage.obey_all();
        hear(&mut stage);
        stage.at("2 09:00");
        hear(&mut stage);
        refuse_for_good(&mut stage);
        hear(&mut stage);
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_check_hears_how_each_run_ended_also_of_those_that_are_held_for_the_same_reason() {
    let policy = tidying("db", "0 9 * * *", 3).channels(&["hc", "people"]).conditions(&[Event::Held]);
    let mut stage = Stage::with("08:55", with(&[policy], |roster| ping(roster, None, &[Kind::Deletion])), 64);
    keep_days(&mut stage, "db", 12);
    let mut heard = Vec::new();
    let mut hear = |stage: &mut Stage, day: &str| {
        for (notice, _) in std::mem::take(&mut stage.notices) {
            heard.push(format!("{day} {} {}", notice.channel, notice.event.word()));
            stage.deliver(&notice.key, Ok(()));
        }
    };
    for day in ["1", "2"] {
        stage.at(&format!("{day} 09:00"));
        hear(&mut stage, day);
        stage.obey_all();
        hear(&mut stage, day);
    }
    assert_eq!(heard, ["1 hc start", "1 hc held", "1 people held", "2 hc start", "2 hc held"]);
}

#[test]
fn what_a_check_was_not_told_of_a_beginning_says_nothing_after_the_end() {
    let policy = creating("db", "0 9 * * *").channels(&["hc"]);
    let roster = with(&[policy], |roster| ping(roster, None, &[Kind::Creation]));
    let mut stage = Stage::with("08:55", roster, 64);
    stage.at("09:00");
    let start = stage.notices[0].0.key.clone();
    stage.deliver(&start, Err("no answer".into()));
    stage.obey_all();
    stage.at("09:10");
    let state = |event| all(&stage).into_iter().find(|record| record.notice.event == event).map(|record| record.state);
    assert_eq!(state(Event::Start), Some(NoticeState::Superseded));
    assert_eq!(state(Event::Creation), Some(NoticeState::Pending));
    assert_eq!(stage.notices.iter().filter(|(notice, _)| notice.event == Event::Start).count(), 1);
}

#[test]
fn a_heartbeat_comes_from_the_engines_own_turn_and_keeps_its_rhythm() {
    let roster = |every| with(&[], move |roster| ping(roster, Some(every), &[Kind::Creation]));
    let mut stage = Stage::with("08:55", roster("5m"), 64);
    let began = stage.now.uptime;
    stage.at("09:02");
    stage.load_roster(roster("5m"));
    stage.at("09:11");
    let minutes = |stage: &Stage| stage.beats.iter().map(|(_, at)| (at - began) / 60_000).collect::<Vec<_>>();
    assert_eq!(minutes(&stage), [0, 5, 10, 15]);
    stage.load_roster(roster("1h"));
    stage.at("10:11");
    assert_eq!(minutes(&stage), [0, 5, 10, 15, 16, 76]);
}

#[test]
fn what_is_not_alike_stays_apart_where_it_waits() {
    let texts = [creating("db", "0 9 * * *").channels(&[])];
    let problem = |file: &str| Problem::of_file(std::path::Path::new(file), "is not accepted at all");
    let mut stage = Stage::with("22:00", with(&texts, |roster| default_channels(roster, &["log"])), 64);
    stage.load_roster(with(&texts, |roster| {
        default_channels(roster, &["log"]);
        rules(roster, |rules| {
            rules.quiet = Some(QuietHours { from: 22 * 60, until: 7 * 60, zone: Zone::utc(), except: Vec::new() });
        });
        roster.problems = vec![problem("channels.d/x.toml"), problem("policies.d/y.toml")];
    }));
    assert_eq!(stage.notices.len(), 0);
    let told: Vec<(u32, bool)> =
        all(&stage).iter().map(|record| (record.count, record.notice.subject.contains("x.toml"))).collect();
    assert_eq!(told, [(1, false), (1, true)]);
}

#[test]
fn who_is_named_while_something_goes_on_hears_of_it_and_nobody_twice() {
    let texts = [creating("db", "0 9 * * *").channels(&[])];
    let problem = || Problem::of_file(std::path::Path::new("channels.d/x.toml"), "is not accepted at all");
    let bad = |channels: &[&str]| {
        with(&texts, |roster| {
            default_channels(roster, channels);
            roster.problems = vec![problem()];
        })
    };
    let mut stage = Stage::with("08:55", bad(&[]), 64);
    assert_eq!(counted(&stage), BTreeMap::new());
    for channels in [&["log"][..], &["log"], &["log", "pager"], &["log", "pager"]] {
        stage.load_roster(bad(channels));
    }
    stage.restart("08:56");
    let told: Vec<Box<str>> = all(&stage).into_iter().rev().map(|record| record.notice.channel).collect();
    assert_eq!(told, ["log".into(), "pager".into()]);
}

#[test]
fn what_is_told_again_goes_on_under_another_span() {
    let policy = || creating("db", "0 0 9 1 *").stale_after("1d").conditions(&[Event::Stale]);
    let every = |every: Option<&str>| {
        with(&[policy()], |roster| {
            rules(roster, |rules| rules.repeat_after = every.map(|every| Span::parse(every).expect("a span")));
        })
    };
    let mut stage = Stage::with("08:55", every(None), 64);
    let told = |stage: &Stage| counted(stage).get(&Event::Stale).copied().unwrap_or(0);
    // Long down: it is told once when it is found, and not as a repetition too.
    stage.restart_with("9 08:00", every(Some("1h")));
    stage.at("9 08:30");
    assert_eq!(told(&stage), 1);
    stage.at("9 12:30");
    assert_eq!(told(&stage), 5);
    stage.load_roster(every(Some("6h")));
    stage.at("9 23:00");
    assert_eq!(told(&stage), 7);
    stage.load_roster(every(None));
    stage.at("10 12:00");
    assert_eq!(told(&stage), 7);
    stage.load_roster(every(Some("6h")));
    stage.at("10 12:01");
    assert_eq!(told(&stage), 8);
}

#[test]
fn what_is_no_longer_to_be_expected_is_no_longer_called_stale() {
    let policy = |stale_after: &str| creating("db", "0 0 9 1 *").stale_after(stale_after).conditions(&[Event::Stale]);
    let mut stage = Stage::new("08:55", &[policy("1d")]);
    stage.at("3 09:00");
    assert_eq!(stage.view.daemon().alarms.len(), 1);
    stage.load(&[policy("30d")]);
    stage.at("3 09:01");
    assert_eq!(stage.view.daemon().alarms.len(), 0);
}

#[test]
fn after_a_failure_one_finds_out_whether_a_channel_is_back() {
    let texts: Vec<PolicyText> = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .map(|name| creating(name, "0 9 * * *").repository(name).conditions(&[Event::Failure]))
        .collect();
    let mut stage = Stage::with("08:55", roster(&texts), 64);
    stage.at("09:00");
    stage.refuse_all(&Fault::permanent("access denied"));
    assert_eq!(stage.notices.len(), 4, "at once four are on their way");
    let keys: Vec<Box<str>> = stage.notices.drain(..).map(|(notice, _)| notice.key).collect();
    for key in &keys {
        stage.deliver(key, Err("no answer".into()));
    }
    let mut tried = Vec::new();
    for minute in 1..40 {
        stage.at(&format!("09:{minute:02}"));
        let sent: Vec<Box<str>> = stage.notices.drain(..).map(|(notice, _)| notice.key).collect();
        assert!(sent.len() <= 1, "{sent:?} at once, while the channel takes nothing");
        for key in sent {
            tried.push(minute);
            stage.deliver(&key, Err("no answer".into()));
        }
    }
    assert!((3..10).contains(&tried.len()), "{tried:?}");
    // It asks for patience, and gets it, whatever else is said. When the next try comes is chance.
    let next = |stage: &mut Stage, from: i32| {
        let mut minutes = (from..from + 40).filter_map(|minute| {
            stage.at(&format!("{:02}:{:02}", 9 + minute / 60, minute % 60));
            let sent = stage.notices.drain(..).next();
            sent.map(|(notice, _)| (minute, notice.key))
        });
        minutes.next().expect("one is on its way")
    };
    let (asked_at, key) = next(&mut stage, 40);
    let asked = snapkeep::notify::Again::After(std::time::Duration::from_secs(3_600));
    let patience = snapkeep::notify::Trouble { again: asked, ..snapkeep::notify::Trouble::later("429") };
    stage.deliver_trouble(&key, patience);
    let (again_at, key) = next(&mut stage, asked_at + 1 + 30);
    assert!(again_at >= asked_at + 60, "asked at minute {asked_at}, tried again at minute {again_at}");
    stage.deliver(&key, Ok(()));
    assert_eq!(stage.notices.len(), 4, "it is back");
}

#[test]
fn what_grew_stale_while_the_machine_slept_is_caught_up_first() {
    for (is_made, expected) in [(true, 0), (false, 1)] {
        let policy = creating("db", "0 9 * * *").stale_after("2d").conditions(&[Event::Stale]);
        let mut stage = Stage::new("08:55", &[policy]);
        stage.at("09:00");
        stage.obey_all();
        stage.sleep_until("6 10:00");
        stage.at("6 10:05");
        if is_made {
            stage.obey_all();
        }
        stage.at("6 10:30");
        assert_eq!(counted(&stage).get(&Event::Stale).copied().unwrap_or(0), expected);
    }
}

#[test]
fn how_the_run_before_ended_is_known_while_another_is_under_way_and_after_a_restart() {
    let mut stage = stage("08:55", creating("db", "0 * * * *"), &[]);
    stage.at("09:00");
    refuse_for_good(&mut stage);
    let before = |stage: &Stage| stage.tracked("db").creation.before;
    assert_eq!(before(&stage), None);
    stage.at("10:00");
    assert_eq!(before(&stage), Some(Outcome::Failed));
    stage.restart("10:00:30");
    assert_eq!(before(&stage), Some(Outcome::Failed));
    stage.at("10:05");
    stage.obey_all();
    stage.at("11:00");
    assert_eq!(before(&stage), Some(Outcome::Succeeded));
}
