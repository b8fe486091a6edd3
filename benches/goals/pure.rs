//! Decisions that touch nothing: a large retention plan, and years of triggers.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use snapkeep::config::zone;
use snapkeep::lifecycle::keep_rules::{Every, KeepRules};
use snapkeep::lifecycle::plan::{Entry, Grounds, Look, Plan};
use snapkeep::lifecycle::policy::{Condition, Limits};
use snapkeep::lifecycle::retention::Owner;
use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::snapshot::{Listing, Snapshot, Status, label};
use snapkeep::lifecycle::time::{Moment, Span, Timestamp};
use snapkeep::lifecycle::zone::Zone;

use crate::stats::{Samples, span};
use crate::table::Table;

const SNAPSHOTS: usize = 100_000;
/// Has no divisor in common with their number, so that every place is met once.
const MIX: usize = 7_919;
const NOW: Timestamp = Timestamp::from_seconds(1_772_330_400);
const DAY_MS: i64 = 86_400_000;

pub fn measure(table: &mut Table) {
    plan(table);
    missed(table);
    next(table);
}

fn plan(table: &mut Table) {
    let owner = Owner { installation: "installation".into(), policy_uid: "uid".into() };
    let condition = Condition::new(Some(Span::parse("30d").expect("a span")), Some(5_000), Some(7)).expect("valid");
    let rules = |counts: &[(Every, u32)], within: &str| {
        let berlin = zone::load("Europe/Berlin").unwrap_or_else(|_| panic!("zone"));
        let keep = KeepRules::new(counts, Span::parse(within).ok(), berlin).ok();
        Condition::of(Limits { keep, min_age: Span::parse("1d").ok(), ..Limits::default() }).expect("valid")
    };
    let ladder = [(Every::Hour, 48), (Every::Day, 14), (Every::Week, 8), (Every::Month, 12), (Every::Year, 3)];
    // No rule is ever full, so that every date is looked at, and an hour's newest is held.
    let endless = Every::ALL[1..].iter().map(|every| (*every, u32::MAX)).collect::<Vec<_>>();
    let conditions = [
        ("", condition, ["in order", "shuffled"].as_slice()),
        (" with a ladder", rules(&ladder, "2d"), &["shuffled"]),
        (" with rules never full", rules(&endless, "2d"), &["shuffled"]),
        // Everything is held, by every rule.
        (" with all held", rules(&[(Every::Snapshot, u32::MAX)], "10000d"), &["shuffled"]),
    ];
    let now = Moment { wall: NOW, boot: 1, uptime: NOW.millis() };
    let sorted = Samples::of(15, |_| {
        let mut keys: Vec<(Timestamp, usize)> =
            (0..SNAPSHOTS).map(|index| (NOW.plus(-((index * MIX % SNAPSHOTS) as i64)), index)).collect();
        keys.sort();
        black_box(keys);
    });
    for (rules, condition, orders) in conditions {
        let grounds = Grounds::plain(owner.clone(), condition, Some(0), now);
        for order in orders {
            let listing = listing(if *order == "shuffled" { MIX } else { 1 });
            let mut plan = None;
            let samples = Samples::of_spans((0..15).map(|_| {
                let begin = Instant::now();
                let made = Plan::make(&grounds, black_box(&listing), Look::First { deleted: 0 }, NOW);
                let took = begin.elapsed();
                // What the last one held is given back after the clock was read.
                plan = Some(made);
                took
            }));
            assert!(plan.is_some_and(|plan| plan.entries.len() == SNAPSHOTS));
            let figure = format!("{} best {}", span(samples.median()), span(samples.best()));
            let limit = format!("sorting numbers {}", span(sorted.median()));
            let ratio = samples.median() / sorted.median();
            let is_met = samples.median() <= 100e6;
            let measure = format!("plan for 100,000 snapshots, {order}{rules}");
            table.goal(&measure, figure, &limit, ratio, "≤ 100 ms", is_met);
        }
    }
    table.note("  an entry of a plan", format!("{} B", size_of::<Entry>()), "—", None);
}

fn listing(mix: usize) -> Listing {
    let snapshot = |index: usize| {
        let place = index * mix % SNAPSHOTS;
        let taken_at = NOW.plus(-60_000 * place as i64);
        let labels = [
            (label::INSTALLATION, "installation".to_string()),
            (label::POLICY, "policy".to_string()),
            (label::POLICY_UID, "uid".to_string()),
            (label::RUN, format!("uid-creation-{}", taken_at.millis())),
            (label::TRIGGER, taken_at.millis().to_string()),
        ];
        Snapshot {
            name: format!("policy-{}-abcdefgh", taken_at.compact()),
            id: format!("{:064x}", place as u128 * 0x9e37_79b9_7f4a_7c15),
            taken_at: Some(taken_at),
            status: Status::Good,
            labels: labels.map(|(key, value)| (key.to_string(), value)).into_iter().collect::<BTreeMap<_, _>>(),
            in_use: None,
            size_bytes: Some(1),
        }
    };
    Listing { snapshots: (0..SNAPSHOTS).map(snapshot).collect() }
}

fn zones() -> [Zone; 2] {
    ["UTC", "Europe/Berlin"].map(|name| zone::load(name).unwrap_or_else(|_| panic!("zone {name}")))
}

fn missed(table: &mut Table) {
    for zone in zones() {
        let name = zone.name().to_string();
        let schedule = Schedule::cron("* * * * *", zone).expect("a schedule");
        let from = NOW.plus(-3_652 * DAY_MS);
        let samples = Samples::of(30, |_| {
            let elapsed = schedule.elapsed(black_box(from), NOW).expect("some");
            assert_eq!(elapsed.count, 3_652 * 1_440, "a minute is a minute in {name}");
        });
        let figure = format!("{} p99 {}", span(samples.median()), span(samples.p99()));
        let is_met = samples.p99() <= 10e6;
        let measure = format!("ten years of * * * * * missed, {name}");
        table.goal(&measure, figure, "—", samples.p99() / 10e6, "≤ 10 ms", is_met);
    }
}

fn next(table: &mut Table) {
    // A monthly schedule ends with the calendar, in 2100.
    const QUESTIONS: usize = 500;
    for expression in ["*/15 * * * *", "30 1 * * mon-sat", "0 3 1 * *"] {
        let figures: Vec<String> = zones()
            .into_iter()
            .map(|zone| {
                let schedule = Schedule::cron(expression, zone).expect("a schedule");
                let samples = Samples::of(9, |_| {
                    let mut at = NOW;
                    for _ in 0..QUESTIONS {
                        at = schedule.next_after(black_box(at)).expect("one");
                    }
                    black_box(at);
                });
                span(samples.median() / QUESTIONS as f64)
            })
            .collect();
        table.note(&format!("next trigger of {expression}, UTC / Berlin"), figures.join(" / "), "—", None);
    }
}
