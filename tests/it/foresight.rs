//! What will be, simulated: compared with a slow loop of its own over random policies, and a year of ordinary
//! policies in which no guard may hold anything.

mod shown;

use std::sync::Arc;

use expect_test::{Expect, expect};
use snapkeep::lifecycle::foresight::{
    AsLong, Fate, Foresight, Prospect, Spell, Stay, TooFar, ahead, differences, edited, first_trigger, outcome,
};
use snapkeep::lifecycle::hold::{Hold, Holds};
use snapkeep::lifecycle::keep_rules::{Every, KeepRules};
use snapkeep::lifecycle::plan::{Former, Freshness, Grounds, Guard, Held, Plan};
use snapkeep::lifecycle::policy::{Condition, Limits, Policy};
use snapkeep::lifecycle::retention::{Condemn, Owner};
use snapkeep::lifecycle::snapshot::{Listing, Snapshot, Status, label};
use snapkeep::lifecycle::time::{Moment, Span, Timestamp};
use snapkeep::lifecycle::zone::{Rules, Zone};

use crate::support::dice::Dice;
use crate::support::roster::PolicyText;

/// 2026-03-01T02:00:00Z, a Sunday.
const NOW: Timestamp = Timestamp::from_seconds(1_772_330_400);
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn owner() -> Owner {
    Owner { installation: "house".into(), policy_uid: "uid-db".into() }
}

fn snapshot(name: &str, taken_at: Timestamp) -> Snapshot {
    let labels = [(label::INSTALLATION, "house"), (label::POLICY_UID, "uid-db")];
    Snapshot {
        name: name.to_string(),
        id: format!("id-{name}"),
        taken_at: Some(taken_at),
        status: Status::Good,
        labels: labels.map(|(key, value)| (key.to_string(), value.to_string())).into(),
        in_use: None,
        size_bytes: None,
    }
}

/// Good ones so many milliseconds old, `a` the first.
fn listing(ages_ms: &[i64]) -> Listing {
    let names = (b'a'..=b'z').map(|letter| char::from(letter).to_string());
    Listing { snapshots: ages_ms.iter().zip(names).map(|(age, name)| snapshot(&name, NOW.plus(-age))).collect() }
}

fn grounds(policy: &Policy, now: Timestamp) -> Grounds {
    let rule = policy.deletion.as_ref().expect("it deletes");
    let moment = Moment { wall: now, boot: 1, uptime: now.millis() };
    let freshness = policy.creation.clone().map(|creation| Freshness { creation, last_good: None });
    Grounds {
        guards: rule.guards.clone(),
        freshness,
        cleared_at: now,
        ..Grounds::plain(owner(), rule.condition.clone(), Some(0), moment)
    }
}

/// A policy at the beginning, its triggers counted from then.
struct Case {
    policy: Policy,
    grounds: Grounds,
    listing: Listing,
    spells: Vec<Spell>,
    now: Timestamp,
}

impl Case {
    fn new(policy: Policy, listing: Listing) -> Case {
        Case { grounds: grounds(&policy, NOW), policy, listing, spells: Vec::new(), now: NOW }
    }

    fn prospect(&self) -> Prospect<'_> {
        let creation = self.policy.creation.as_ref().map(|rule| &rule.pace.schedule);
        let deletion = self.policy.deletion.as_ref().map(|rule| &rule.pace.schedule);
        Prospect {
            policy: &self.policy,
            grounds: &self.grounds,
            listing: &self.listing,
            now: self.now,
            creation_at: creation.and_then(|schedule| first_trigger(schedule, self.now, self.now)),
            deletion_at: deletion.and_then(|schedule| first_trigger(schedule, self.now, self.now)),
            spells: &self.spells,
        }
    }

    fn ahead(&self, days: i64) -> Foresight {
        ahead(&self.prospect(), self.now.plus(days * DAY_MS), &[]).expect("near enough")
    }
}

fn case(creation: &str, deletion: &str, max_age: Option<&str>, max_count: Option<u32>, min_count: u32) -> Case {
    let text = PolicyText::new("db", creation, Some((deletion, max_age, max_count, min_count)));
    Case::new(text.policy(), Listing::default())
}

/// One with keep rules: so many hours, days, weeks, months.
fn keeping(creation: &str, deletion: &str, counts: [u32; 4], within: Option<&str>) -> Case {
    let mut case = case(creation, deletion, None, Some(1), 1);
    let rules = [Every::Hour, Every::Day, Every::Week, Every::Month].into_iter().zip(counts);
    let rules: Vec<(Every, u32)> = rules.filter(|(_, count)| *count > 0).collect();
    let within = within.map(|within| Span::parse(within).expect("a span"));
    let keep = KeepRules::new(&rules, within, Zone::utc()).expect("rules");
    let rule = case.policy.deletion.as_mut().map(Arc::make_mut).expect("it deletes");
    rule.condition = Condition::of(Limits { keep: Some(keep), ..Limits::default() }).expect("a condition");
    case.grounds = grounds(&case.policy, NOW);
    case
}

/// The same with both schedules in Berlin.
fn in_berlin(mut case: Case) -> Case {
    let zone = || Zone::new("Europe/Berlin", Rules::Embedded(chrono_tz::Europe::Berlin));
    let moved = |schedule: &snapkeep::lifecycle::schedule::Schedule| {
        let expression = schedule.expression().expect("cron");
        snapkeep::lifecycle::schedule::Schedule::cron(expression, zone()).expect("the same")
    };
    let creation = case.policy.creation.as_mut().map(Arc::make_mut).expect("it creates");
    creation.pace.schedule = moved(&creation.pace.schedule);
    let deletion = case.policy.deletion.as_mut().map(Arc::make_mut).expect("it deletes");
    deletion.pace.schedule = moved(&deletion.pace.schedule);
    case.grounds = grounds(&case.policy, NOW);
    case
}

/// What is there in the end by a loop over every minute, which knows the rule and no guard.
fn slowly(case: &Case, minutes: i64) -> (Vec<i64>, u32) {
    let condition = &case.grounds.condition;
    let due = |schedule: &snapkeep::lifecycle::schedule::Schedule, at: Timestamp| {
        schedule.next_after(at.plus(-1)) == Some(at)
    };
    let mut taken: Vec<i64> = case.listing.snapshots.iter().filter_map(|s| Some(s.taken_at?.millis())).collect();
    taken.sort_unstable();
    let mut deleted = 0;
    for minute in 1..=minutes {
        let at = case.now.plus(minute * 60_000);
        if case.policy.creation.as_ref().is_some_and(|rule| due(&rule.pace.schedule, at)) {
            taken.push(at.millis());
        }
        if case.policy.deletion.as_ref().is_some_and(|rule| due(&rule.pace.schedule, at)) {
            let count = taken.len();
            let mut kept = Vec::new();
            for (index, one) in taken.iter().enumerate() {
                let newer = count - index - 1;
                let protected = newer < condition.min_count() as usize;
                let old = condition.max_age().is_some_and(|age| at.millis() - one > age.millis());
                let beyond = condition.max_count().is_some_and(|max_count| newer >= max_count as usize);
                if protected || !(old || beyond) {
                    kept.push(*one);
                } else {
                    deleted += 1;
                }
            }
            taken = kept;
        }
    }
    (taken, deleted)
}

#[test]
fn it_is_what_a_slow_loop_says_for_any_policy() {
    let mut gone = 0;
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let schedules = ["*/20 * * * *", "0 * * * *", "30 */2 * * *", "0 2 * * *", "0 2,14 * * *", "15 3 * * 1-5"];
        let pick = |dice: &mut Dice| schedules[dice.below(schedules.len() as u64) as usize];
        let (creation, deletion) = (pick(&mut dice), pick(&mut dice));
        let ages = ["90m", "6h", "1d", "36h", "3d"];
        let max_age = (!dice.chance(30)).then(|| ages[dice.below(5) as usize]);
        let max_count = (max_age.is_none() || dice.chance(50)).then(|| 2 + dice.below(20) as u32);
        let min_count = 1 + dice.below(4) as u32;
        let mut case = case(creation, deletion, max_age, max_count, min_count);
        // Guards that hold or spare are not what this is about.
        let rule = case.policy.deletion.as_mut().map(Arc::make_mut).expect("it deletes");
        rule.guards.brake_percent = 100;
        case.grounds = grounds(&case.policy, NOW);
        case.grounds.freshness = None;
        let mut ages_ms: Vec<i64> = (0..dice.below(12)).map(|_| dice.below(5 * 1440) as i64 * 60_000 + 7).collect();
        ages_ms.sort_unstable();
        ages_ms.dedup();
        case.listing = listing(&ages_ms);
        let foreseen = case.ahead(5);
        let there: Vec<i64> = foreseen
            .lives
            .iter()
            .filter(|life| life.gone.is_none())
            .filter_map(|life| Some(life.target.taken_at?.millis()))
            .collect();
        let mut sorted = there.clone();
        sorted.sort_unstable();
        let (expected, deleted) = slowly(&case, 5 * 1440);
        assert_eq!((sorted, foreseen.deleted), (expected, deleted), "seed {seed}: {creation} {deletion}");
        assert_eq!(foreseen.last.count as usize, there.len());
        gone += foreseen.deleted;
    }
    assert!(gone > 1_000, "{gone}");
}

/// `made, deleted, lowest, highest, in the end; held`.
fn told(foreseen: &Foresight) -> String {
    let Foresight { made, deleted, lowest, highest, last, held, .. } = foreseen;
    let held: Vec<String> = held
        .iter()
        .map(|stretch| {
            let first = &stretch.held[0];
            format!("; {} held from {} ({} times): {first}", first.guard().word(), stretch.first, stretch.plans)
        })
        .collect();
    let (low, high, end) = (lowest.count, highest.count, last.count);
    format!("{made} made, {deleted} deleted, {low} to {high}, {end} in the end{}", held.concat())
}

/// Ordinary policies over an ordinary year, from nothing: a guard that holds any of them cries wolf.
#[test]
fn a_year_of_ordinary_policies_is_held_by_no_guard() {
    let cases = [
        ("hourly, 48, deleted daily", case("0 * * * *", "0 2 * * *", None, Some(48), 1)),
        ("hourly, 48, deleted hourly", case("0 * * * *", "0 * * * *", None, Some(48), 1)),
        ("every 15 minutes for a day, deleted hourly", case("*/15 * * * *", "0 * * * *", Some("1d"), None, 4)),
        ("daily for 30 days", case("0 2 * * *", "0 2 * * *", Some("30d"), None, 7)),
        ("daily, 7 to 21, a week", case("0 8 * * *", "0 1 * * *", Some("7d"), Some(21), 7)),
        ("daily at Berlin's 02:30", in_berlin(case("30 2 * * *", "30 2 * * *", Some("14d"), None, 3))),
        ("hourly in Berlin for 3 days", in_berlin(case("0 * * * *", "30 3 * * *", Some("3d"), None, 3))),
        ("weekly for a quarter", case("0 3 * * 0", "0 4 * * *", Some("90d"), None, 4)),
        ("monthly, 6", case("0 3 1 * *", "0 4 1 * *", None, Some(6), 1)),
        ("on weekdays for 2 weeks", case("0 22 * * 1-5", "0 3 * * *", Some("14d"), None, 5)),
        ("daily for 30 days, deleted monthly", case("0 2 * * *", "0 3 1 * *", Some("30d"), None, 7)),
        ("hourly, 24 hours, 7 days, 4 weeks, 12 months", keeping("0 * * * *", "0 * * * *", [24, 7, 4, 12], None)),
        ("the same, deleted daily", keeping("0 * * * *", "0 2 * * *", [24, 7, 4, 12], None)),
        ("the same, deleted on Sundays", keeping("0 * * * *", "0 2 * * 0", [24, 7, 4, 12], None)),
        ("daily, 7 days, 4 weeks, 6 months", keeping("0 2 * * *", "0 2 * * *", [0, 7, 4, 6], None)),
        ("all of 2 days, 30 days", in_berlin(keeping("*/30 * * * *", "15 * * * *", [0, 30, 0, 0], Some("2d")))),
        ("weekdays, 10 days, 8 weeks", keeping("0 22 * * 1-5", "0 3 * * *", [0, 10, 8, 0], None)),
        ("twice a day, 14, deleted on Sundays", case("0 6,18 * * *", "0 7 * * 0", None, Some(14), 2)),
    ];
    let mut table = String::new();
    for (name, case) in &cases {
        let foreseen = case.ahead(366);
        assert!(foreseen.held.is_empty(), "{name}: {}", told(&foreseen));
        table.push_str(&format!("{name}: {}\n", told(&foreseen)));
    }
    check(
        &table,
        &expect![[r#"
            hourly, 48, deleted daily: 8784 made, 8736 deleted, 0 to 71, 48 in the end
            hourly, 48, deleted hourly: 8784 made, 8736 deleted, 0 to 48, 48 in the end
            every 15 minutes for a day, deleted hourly: 35136 made, 35039 deleted, 0 to 100, 97 in the end
            daily for 30 days: 366 made, 335 deleted, 0 to 31, 31 in the end
            daily, 7 to 21, a week: 366 made, 359 deleted, 0 to 8, 7 in the end
            daily at Berlin's 02:30: 366 made, 351 deleted, 0 to 15, 15 in the end
            hourly in Berlin for 3 days: 8784 made, 8688 deleted, 0 to 97, 96 in the end
            weekly for a quarter: 53 made, 40 deleted, 0 to 13, 13 in the end
            monthly, 6: 13 made, 7 deleted, 0 to 7, 6 in the end
            on weekdays for 2 weeks: 261 made, 250 deleted, 0 to 11, 11 in the end
            daily for 30 days, deleted monthly: 366 made, 335 deleted, 0 to 61, 31 in the end
            hourly, 24 hours, 7 days, 4 weeks, 12 months: 8784 made, 8743 deleted, 0 to 44, 41 in the end
            the same, deleted daily: 8784 made, 8743 deleted, 0 to 66, 41 in the end
            the same, deleted on Sundays: 8784 made, 8693 deleted, 0 to 210, 91 in the end
            daily, 7 days, 4 weeks, 6 months: 366 made, 353 deleted, 0 to 15, 13 in the end
            all of 2 days, 30 days: 17568 made, 17443 deleted, 0 to 125, 125 in the end
            weekdays, 10 days, 8 weeks: 261 made, 244 deleted, 0 to 17, 17 in the end
            twice a day, 14, deleted on Sundays: 732 made, 715 deleted, 0 to 28, 17 in the end
        "#]],
    );
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(text);
}

/// A week in which nothing is made, or two in which the machine is off. Where a count is kept nothing happens.
/// Where an age is, what grew old meanwhile would go at once with the first snapshot after it: the brake asks a
/// person where that is most of what there is, and lets go by itself once enough are made.
#[test]
fn after_a_bad_week_and_after_weeks_off() {
    let cases = [
        ("hourly, 48, deleted daily", case("0 * * * *", "0 2 * * *", None, Some(48), 1)),
        ("daily for 30 days", case("0 2 * * *", "0 2 * * *", Some("30d"), None, 7)),
        ("daily for 7 days", case("0 2 * * *", "0 2 * * *", Some("7d"), None, 3)),
        ("hourly for 7 days", case("0 * * * *", "0 * * * *", Some("7d"), None, 3)),
        ("daily, 30", case("0 2 * * *", "0 2 * * *", None, Some(30), 7)),
        ("weekly for a quarter", case("0 3 * * 0", "0 4 * * *", Some("90d"), None, 4)),
        ("hourly, 24 hours, 7 days, 4 weeks, 12 months", keeping("0 * * * *", "0 * * * *", [24, 7, 4, 12], None)),
        ("daily, 7 days, 4 weeks, 6 months", keeping("0 2 * * *", "0 2 * * *", [0, 7, 4, 6], None)),
    ];
    let from = NOW.plus(100 * DAY_MS);
    let mut table = String::new();
    for (name, mut case) in cases {
        for (what, spell) in [
            ("a failing week", Spell::Failing { from, until: from.plus(7 * DAY_MS) }),
            ("off for two weeks", Spell::Off { from, until: from.plus(14 * DAY_MS) }),
        ] {
            case.spells = vec![spell];
            table.push_str(&format!("{name}, {what}: {}\n", told(&case.ahead(200))));
        }
    }
    check(
        &table,
        &expect![[r#"
            hourly, 48, deleted daily, a failing week: 4632 made, 4584 deleted, 0 to 71, 48 in the end
            hourly, 48, deleted daily, off for two weeks: 4464 made, 4416 deleted, 0 to 71, 48 in the end
            daily for 30 days, a failing week: 193 made, 162 deleted, 0 to 31, 31 in the end
            daily for 30 days, off for two weeks: 186 made, 68 deleted, 0 to 118, 118 in the end; brake held from 2026-06-23T02:00:00Z (87 times): 15 of 32 snapshots would go at once; with 1 made since the last deletion 8 are free
            daily for 7 days, a failing week: 193 made, 92 deleted, 0 to 101, 101 in the end; brake held from 2026-06-16T02:00:00Z (94 times): 5 of 8 snapshots would go at once; with 1 made since the last deletion 3 are free
            daily for 7 days, off for two weeks: 186 made, 91 deleted, 0 to 95, 95 in the end; brake held from 2026-06-23T02:00:00Z (87 times): 6 of 9 snapshots would go at once; with 1 made since the last deletion 3 are free
            hourly for 7 days, a failing week: 4632 made, 2231 deleted, 0 to 2401, 2401 in the end; brake held from 2026-06-16T02:00:00Z (2233 times): 166 of 169 snapshots would go at once; with 1 made since the last deletion 42 are free
            hourly for 7 days, off for two weeks: 4464 made, 2230 deleted, 0 to 2234, 2234 in the end; brake held from 2026-06-23T02:00:00Z (2065 times): 167 of 170 snapshots would go at once; with 1 made since the last deletion 42 are free
            daily, 30, a failing week: 193 made, 163 deleted, 0 to 30, 30 in the end
            daily, 30, off for two weeks: 186 made, 156 deleted, 0 to 30, 30 in the end
            weekly for a quarter, a failing week: 28 made, 15 deleted, 0 to 13, 13 in the end
            weekly for a quarter, off for two weeks: 28 made, 15 deleted, 0 to 13, 13 in the end
            hourly, 24 hours, 7 days, 4 weeks, 12 months, a failing week: 4632 made, 4594 deleted, 0 to 40, 38 in the end
            hourly, 24 hours, 7 days, 4 weeks, 12 months, off for two weeks: 4464 made, 4426 deleted, 0 to 40, 38 in the end
            daily, 7 days, 4 weeks, 6 months, a failing week: 193 made, 179 deleted, 0 to 15, 14 in the end
            daily, 7 days, 4 weeks, 6 months, off for two weeks: 186 made, 172 deleted, 0 to 15, 14 in the end
        "#]],
    );
}

#[test]
fn a_day_of_48_hourly_ones_that_are_deleted_once_a_day() {
    let mut case = case("0 * * * *", "0 2 * * *", None, Some(48), 1);
    let ages: Vec<i64> = (0..24).map(|hours| hours * HOUR_MS).collect();
    case.listing = listing(&ages);
    // Two days bring 72, of which 48 stay: creation goes first, so the one of 02:00 is among them.
    let foreseen = case.ahead(2);
    assert_eq!(told(&foreseen), "48 made, 24 deleted, 24 to 71, 48 in the end");
    let gone = |name: &str| {
        let life = foreseen.lives.iter().find(|life| &*life.target.name == name).expect("there");
        life.gone.clone().expect("gone")
    };
    let at = NOW.plus(2 * DAY_MS);
    assert_eq!(gone("x"), (at, Condemn::BeyondMaxCount { place: 72, max_count: 48 }));
    assert_eq!(gone("a"), (at, Condemn::BeyondMaxCount { place: 49, max_count: 48 }));
    assert_eq!(foreseen.highest.at, at.plus(-HOUR_MS));
    let kept: Vec<_> = foreseen.lives.iter().filter(|life| life.gone.is_none()).collect();
    assert_eq!((kept.len(), kept[0].target.taken_at), (48, Some(NOW.plus(HOUR_MS))));
}

fn stays(case: &Case) -> Vec<(String, Stay)> {
    let outcome = outcome(&case.prospect(), None).expect("near");
    outcome.plan.entries.iter().map(|entry| entry.target.name.to_string()).zip(outcome.stays).collect()
}

#[test]
fn each_snapshot_is_told_until_when_it_stays() {
    let mut case = case("0 3 * * *", "0 4 * * *", Some("7d"), Some(5), 2);
    case.listing = listing(&[HOUR_MS, DAY_MS, 6 * DAY_MS, 8 * DAY_MS]);
    let mut used = snapshot("used", NOW.plus(-9 * DAY_MS));
    used.in_use = Some("a clone".into());
    let mut undated = snapshot("undated", NOW);
    undated.taken_at = None;
    let mut foreign = snapshot("foreign", NOW);
    foreign.labels.clear();
    case.listing.snapshots.extend([used, foreign, undated]);
    let at = |days: i64| NOW.plus(2 * HOUR_MS + days * DAY_MS);
    let count = |place| Condemn::BeyondMaxCount { place, max_count: 5 };
    let age = |age_ms| Condemn::OlderThanMaxAge { age_ms, max_age: Span::parse("7d").expect("a span") };
    let expected = [
        ("used", Stay::AsLong(AsLong::InUse)),
        ("d", Stay::Until { at: at(0), why: age(8 * DAY_MS + 2 * HOUR_MS) }),
        ("c", Stay::Until { at: at(1), why: age(7 * DAY_MS + 2 * HOUR_MS) }),
        ("b", Stay::Until { at: at(3), why: count(6) }),
        ("a", Stay::Until { at: at(4), why: count(6) }),
        ("foreign", Stay::AsLong(AsLong::Foreign)),
        ("undated", Stay::AsLong(AsLong::Undatable)),
    ];
    assert_eq!(stays(&case), expected.map(|(name, stay)| (name.to_string(), stay)));

    // Nothing is made: what min_count keeps it keeps for ever, and the rest grows old.
    let creation = case.policy.creation.take();
    let held_for_ever = |name: &str, case: &Case| {
        let found = stays(case).into_iter().find(|(other, _)| other == name).expect("there").1;
        assert_eq!(found, Stay::AsLong(AsLong::NothingNewer), "{name}");
    };
    held_for_ever("a", &case);
    held_for_ever("b", &case);
    case.policy.creation = creation;

    // Held plans let nothing go; with the brake at its tightest four at once are too many.
    case.listing = listing(&[HOUR_MS, 8 * DAY_MS, 9 * DAY_MS, 10 * DAY_MS, 11 * DAY_MS, 12 * DAY_MS]);
    case.grounds.guards.brake_percent = 1;
    let held = stays(&case);
    assert!(held.iter().take(5).all(|(_, stay)| matches!(stay, Stay::Held { .. })), "{held:?}");
    let foreseen = case.ahead(1);
    assert_eq!(foreseen.held.iter().map(|s| s.held[0].guard()).collect::<Vec<_>>(), [Guard::Brake]);
}

/// What is told beside a plan, what is drawn and the plan of then are one simulation.
#[test]
fn stays_calendar_and_the_plan_of_then_agree() {
    for seed in 0..40 {
        let mut dice = Dice::new(1_000 + seed);
        let (age, count) = (["2d", "5d", "9d"][dice.below(3) as usize], 3 + dice.below(12) as u32);
        let mut case = case("0 */6 * * *", "0 2 * * *", Some(age), dice.chance(50).then_some(count), 2);
        if dice.chance(40) {
            let counts = [6, 4, 3, 2].map(|most| dice.below(most) as u32);
            case = keeping("0 */6 * * *", "0 2 * * *", [counts[0], 1 + counts[1], counts[2], counts[3]], None);
        }
        let mut ages: Vec<i64> = (0..dice.below(20)).map(|_| dice.below(9 * 1440) as i64 * 60_000 + 1).collect();
        ages.sort_unstable();
        ages.dedup();
        case.listing = listing(&ages);
        // What a guard holds waits for a person, whom nobody can foresee.
        case.grounds.guards.brake_percent = 100;
        if dice.chance(50) {
            case.grounds.guards.grace = Some(Span::parse("36h").expect("a span"));
        }
        if dice.chance(50) {
            case.grounds.guards.rate = Some(1 + dice.below(3) as u32);
        }
        let days = 1 + dice.below(30) as i64;
        // Between two triggers nothing changes but ages.
        let until = NOW.plus(days * DAY_MS + 30 * 60_000);
        let foreseen = ahead(&case.prospect(), until, &[until]).expect("near");
        let then = outcome(&case.prospect(), Some(until)).expect("near");
        let there = |name: &str| foreseen.lives.iter().any(|life| &*life.target.name == name && life.gone.is_none());
        assert!(then.plan.entries.iter().all(|entry| there(&entry.target.name)), "seed {seed}");
        assert_eq!(then.plan.own, foreseen.last.count, "seed {seed}");
        assert_eq!(then.gone.len(), foreseen.deleted as usize, "seed {seed}");
        for (name, stay) in stays(&case) {
            let life = foreseen.lives.iter().find(|life| *life.target.name == *name).expect("there");
            match (stay, &life.gone) {
                (Stay::Until { at, why }, Some(gone)) => assert_eq!((at, why), *gone, "seed {seed}: {name}"),
                // So few go in an hour that it is never its turn.
                (Stay::Beyond { at }, None) if case.grounds.guards.rate.is_some() => assert!(at > until),
                (Stay::Until { at, .. }, None) => assert!(at > until, "seed {seed}: {name} at {at}"),
                (other, gone) => panic!("seed {seed}: {name}: {other:?} and {gone:?}"),
            }
        }
    }
}

#[test]
fn what_is_being_made_is_whole_by_then_and_names_are_those_to_come() {
    let mut case = case("0 3 * * *", "0 4 * * *", None, Some(2), 1);
    case.listing = listing(&[0]);
    case.listing.snapshots[0].status = Status::Running;
    let foreseen = case.ahead(2);
    assert_eq!(told(&foreseen), "2 made, 1 deleted, 1 to 2, 2 in the end".replace("1 to 2", "1 to 3"));
    assert_eq!(foreseen.lives[0].gone.as_ref().map(|(at, _)| *at), Some(NOW.plus(DAY_MS + 2 * HOUR_MS)));
    let at = NOW.plus(HOUR_MS);
    let date = case.policy.date_format.format(at);
    let name = snapkeep::lifecycle::snapshot::SnapshotName::for_trigger("house", "uid-db", "db", &date, at);
    assert_eq!(&*foreseen.lives[1].target.name, name.expect("a name").as_str());
}

#[test]
fn an_edit_is_compared_and_held_by_the_guard_of_edits() {
    let mut case = case("0 3 * * *", "0 4 * * *", Some("30d"), None, 1);
    case.listing = listing(&(0..12).map(|days| days * DAY_MS + HOUR_MS).collect::<Vec<_>>());
    let after = |max_age: &str| {
        let text = PolicyText::new("db", "0 3 * * *", Some(("0 4 * * *", Some(max_age), None, 1)));
        let policy = text.policy();
        let grounds = edited(&case.grounds, Some(&case.grounds.condition), &policy).expect("it deletes");
        Case { policy, grounds, listing: case.listing.clone(), spells: Vec::new(), now: NOW }
    };
    let before = outcome(&case.prospect(), None).expect("near");
    let guards = |plan: &Plan| plan.held.iter().map(Held::guard).collect::<Vec<_>>();
    let (same, few, many) = (after("30d"), after("9d"), after("5d"));
    assert_eq!(same.grounds.former, None);
    assert_eq!(few.grounds.former, Some(Former::Condition(case.grounds.condition.clone())));
    for (edited, differ, held) in [(&same, 0, vec![]), (&few, 3, vec![]), (&many, 7, vec![Guard::Edit, Guard::Brake])] {
        let after = outcome(&edited.prospect(), None).expect("near");
        let found = differences(&before, &after);
        assert_eq!((found.len(), guards(&after.plan)), (differ, held));
        assert!(found.iter().all(|difference| difference.before.is_kept() && !difference.after.is_kept()));
        // What the other way round is condemned is newly kept.
        assert!(differences(&after, &before).iter().all(|difference| difference.after.is_kept()));
    }
    // By then the one has deleted what the other keeps.
    let then = Some(NOW.plus(2 * DAY_MS));
    let (before, after) =
        (outcome(&case.prospect(), then).expect("near"), outcome(&few.prospect(), then).expect("near"));
    let found = differences(&before, &after);
    let gone = found.iter().filter(|difference| matches!(difference.after, Fate::Gone { .. })).count();
    assert_eq!((found.len(), gone), (5, 4), "{found:#?}");
    // A policy without deletion has no plan.
    let none = PolicyText::new("db", "0 3 * * *", None).policy();
    assert_eq!(edited(&case.grounds, None, &none), None);
    let first = edited(&case.grounds, None, &case.policy).expect("it deletes");
    assert_eq!(first.former, Some(Former::Nothing));
}

#[test]
fn too_far_is_told_with_how_far_it_came() {
    let case = case("* * * * *", "* * * * *", None, Some(3), 1);
    let error = ahead(&case.prospect(), NOW.plus(400 * DAY_MS), &[]).expect_err("too far");
    // Two triggers a minute.
    assert_eq!(error.reached, NOW.plus(50_001 * 60_000));
    let told = error.to_string();
    assert!(told.contains("100000 triggers were used up by 2026-04-04T19:21:00Z"), "{told}");
    let many = self::case("0 * * * *", "0 * * * *", Some("900d"), None, 1);
    let error: TooFar = ahead(&many.prospect(), NOW.plus(4_000 * DAY_MS), &[]).expect_err("too far");
    assert!(!error.by_triggers && error.to_string().contains("verdicts"), "{error}");
    // The same beside a plan is no error: it stays longer than was looked.
    let mut many = many;
    many.listing = listing(&[HOUR_MS]);
    assert!(matches!(stays(&many)[0].1, Stay::Beyond { at } if at > NOW.plus(30 * DAY_MS)));
}

#[test]
fn what_is_held_till_some_day_is_told_with_that_day_or_with_what_follows() {
    let held = |case: &mut Case, name: &str, days: i64| {
        let mut holds = Holds::default();
        let until = Some(NOW.plus(days * DAY_MS));
        holds.insert(name, Hold { until, compliance: false, made_at: NOW, reason: "audit".into() });
        case.grounds.holds = Arc::new(holds);
    };
    // Longer than is looked ahead.
    let mut many = case("0 * * * *", "0 * * * *", Some("900d"), None, 1);
    many.listing = listing(&[HOUR_MS, DAY_MS]);
    held(&mut many, "b", 90_000);
    let told = stays(&many);
    assert_eq!(told[0], ("b".to_string(), Stay::Beyond { at: NOW.plus(90_000 * DAY_MS) }));
    assert!(matches!(told[1].1, Stay::Beyond { at } if at < NOW.plus(90_000 * DAY_MS)), "{told:?}");
    // What comes then is seen, also where nothing is made any more.
    for makes in [true, false] {
        let mut case = case("0 3 * * *", "0 4 * * *", Some("7d"), None, 1);
        case.listing = listing(&[HOUR_MS, 9 * DAY_MS]);
        held(&mut case, "b", 40);
        if !makes {
            (case.policy.creation, case.grounds.freshness) = (None, None);
        }
        let goes_at = NOW.plus(40 * DAY_MS + 2 * HOUR_MS);
        assert!(matches!(stays(&case)[0].1, Stay::Until { at, .. } if at == goes_at), "{makes} {:?}", stays(&case));
    }
}
