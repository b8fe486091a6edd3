//! What holds for every schedule, tried on random ones near the changes of their zones.

use std::collections::BTreeMap;

use proptest::prelude::*;
use snapkeep::config::zone;
use snapkeep::lifecycle::schedule::{Elapsed, Schedule};
use snapkeep::lifecycle::time::{Span, Timestamp};
use snapkeep::lifecycle::zone::{Rules, Zone};

use super::reference::{Fields, looks};
use super::{triggers, triggers_until};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Both hemispheres, half-hour shifts, gaps at midnight, two hours at once, a day left out, none at all.
const ZONES: [&str; 14] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Africa/Monrovia",
];

fn zone() -> impl Strategy<Value = Zone> {
    (0..ZONES.len(), any::<bool>()).prop_map(|(index, embedded)| {
        let name = ZONES[index];
        match embedded {
            true => Zone::new(name, Rules::Embedded(name.parse().expect(name))),
            false => zone::load(name).expect(name),
        }
    })
}

/// A field: any value, a list, a range, a step over all, a step over a range.
fn field(low: u32, high: u32, star: u32) -> impl Strategy<Value = String> {
    let value = low..=high;
    let range = (low..=high, low..=high).prop_map(|(one, other)| (one.min(other), one.max(other)));
    prop_oneof![
        star => Just("*".to_string()),
        4 => value.clone().prop_map(|value| value.to_string()),
        1 => prop::collection::vec(value, 2..4)
            .prop_map(|values| values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        1 => range.clone().prop_map(|(low, high)| format!("{low}-{high}")),
        1 => (2..high).prop_map(|step| format!("*/{step}")),
        1 => (range, 2..9u32).prop_map(|((low, high), step)| format!("{low}-{high}/{step}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    (field(0, 59, 1), field(0, 23, 2), field(1, 31, 12), field(1, 12, 24), field(0, 7, 12))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

fn cron() -> impl Strategy<Value = Schedule> {
    (expression(), zone())
        .prop_filter_map("an expression that is refused", |(expression, zone)| Schedule::cron(&expression, zone).ok())
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let interval = (1..200_000i64).prop_map(|seconds| Schedule::interval(Span::from_millis(seconds * 1000 + 7)));
    (prop_oneof![9 => cron(), 1 => interval], prop_oneof![Just(0), 0..HOUR_MS])
        .prop_map(|(schedule, spread_ms)| schedule.with_spread(spread_ms))
}

/// An instant of 1970 to 2037; of a zone that changes, mostly near a change.
fn near_a_change(zone: Option<&Zone>, day: i64, near: i64) -> Timestamp {
    let at = Timestamp::from_millis(day * DAY_MS + near.rem_euclid(DAY_MS));
    let change = zone.and_then(|zone| zone.first_change(at, at.plus(300 * DAY_MS)));
    change.map_or(at, |change| change.at.plus(near))
}

fn asked() -> impl Strategy<Value = (Schedule, Timestamp)> {
    (schedule(), 3..24_000i64, -36 * HOUR_MS..36 * HOUR_MS)
        .prop_map(|(schedule, day, near)| (schedule.clone(), near_a_change(schedule.zone(), day, near)))
}

fn listed(triggers: &[Timestamp]) -> Option<Elapsed> {
    let (first, last) = (triggers.first()?, triggers.last()?);
    Some(Elapsed { count: triggers.len() as u64, first: *first, last: *last })
}

fn joined(one: Option<Elapsed>, other: Option<Elapsed>) -> Option<Elapsed> {
    match (one, other) {
        (Some(one), Some(other)) => {
            Some(Elapsed { count: one.count + other.count, first: one.first, last: other.last })
        }
        (one, other) => one.or(other),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// L1.
    #[test]
    fn triggers_strictly_increase_and_nothing_lies_between((schedule, after) in asked()) {
        let mut last = after;
        for next in triggers(&schedule, after, 20) {
            prop_assert!(next > last, "{schedule}: {next} after {last}");
            // Asked from anywhere in between, the answer is the same.
            for between in [last, last.plus(1), last.plus(next.since(last) / 2), next.plus(-1)] {
                prop_assert_eq!(schedule.next_after(between), Some(next), "{} asked after {}", schedule, between);
            }
            last = next;
        }
    }

    /// L2.
    #[test]
    fn a_fixed_time_runs_exactly_once_on_each_day_that_has_it(
        zone in zone(), minute in 0..60i64, hour in 0..24i64, day in 3..24_000i64, near in -36 * HOUR_MS..36 * HOUR_MS,
    ) {
        let schedule = Schedule::cron(&format!("{minute} {hour} * * *"), zone.clone()).expect("valid");
        let from = near_a_change(Some(&zone), day, near).plus(-3 * DAY_MS);
        let until = from.plus(8 * DAY_MS);
        // On which days the local clock shows that time, by looking at every half minute.
        let mut days = BTreeMap::<i64, Vec<i64>>::new();
        let offset = |at| zone.offset_seconds(Timestamp::from_seconds(at));
        for look in looks(offset, from.seconds(), until.seconds()) {
            if look.wall.rem_euclid(86_400) == (hour * 60 + minute) * 60 {
                days.entry(look.wall.div_euclid(86_400)).or_default().push(look.at);
            }
        }
        let runs = triggers_until(&schedule, from, until);
        // A day cut by either end of the stretch is left out.
        for (_, shown) in days.iter().skip(1).take(days.len().saturating_sub(2)) {
            let found: Vec<i64> = runs.iter().map(|at| at.seconds()).filter(|at| shown.contains(at)).collect();
            prop_assert_eq!(&found, &shown[..1], "{}", schedule);
        }
    }

    /// L3, and the count without stepping.
    #[test]
    fn triggers_agree_with_a_walk_through_real_time(
        expression in expression(), zone in zone(), day in 3..24_000i64, near in -36 * HOUR_MS..36 * HOUR_MS,
    ) {
        let Ok(schedule) = Schedule::cron(&expression, zone.clone()) else { return Ok(()) };
        let from = Timestamp::from_seconds(near_a_change(Some(&zone), day, near).seconds());
        let until = from.plus(40 * HOUR_MS);
        let offset = |at| zone.offset_seconds(Timestamp::from_seconds(at));
        let looks = looks(offset, from.plus(-28 * HOUR_MS).seconds(), until.seconds());
        let expected: Vec<Timestamp> =
            Fields::read(&expression).runs(&looks, from.seconds() + 1).into_iter().map(Timestamp::from_seconds).collect();
        prop_assert_eq!(&triggers_until(&schedule, from, until), &expected, "{} after {}", schedule, from);
        prop_assert_eq!(schedule.elapsed(from, until), listed(&expected), "{} after {}", schedule, from);
    }

    /// L4.
    #[test]
    fn one_long_absence_is_the_same_as_its_pieces(
        (schedule, from) in asked(), cuts in prop::collection::vec(0..90 * DAY_MS, 1..5),
    ) {
        let mut cuts: Vec<Timestamp> = cuts.into_iter().map(|cut| from.plus(cut)).collect();
        cuts.sort();
        let until = cuts[cuts.len() - 1];
        let mut pieces = None;
        let mut after = from;
        for cut in cuts {
            pieces = joined(pieces, schedule.elapsed(after, cut));
            after = cut;
        }
        prop_assert_eq!(schedule.elapsed(from, until), pieces, "{} in ({}, {}]", schedule, from, until);
    }

    #[test]
    fn what_elapsed_counts_is_what_stepping_finds((schedule, after) in asked(), span in 0..20 * DAY_MS) {
        let until = after.plus(span);
        let stepped = triggers_until(&schedule, after, until);
        prop_assert_eq!(schedule.elapsed(after, until), listed(&stepped), "{} in ({}, {}]", schedule, after, until);
    }

    /// S30.
    #[test]
    fn a_spread_moves_every_trigger_by_the_same_stable_offset(
        (schedule, after) in asked(), uid in "[a-z0-9-]{1,36}", spread in 1..DAY_MS,
    ) {
        let spread = Span::from_millis(spread);
        let plain = schedule.with_spread(0);
        let offset = plain.spread_for(&uid, &spread);
        prop_assert_eq!(offset, plain.spread_for(&uid, &spread));
        prop_assert!((0..spread.millis()).contains(&offset), "{offset}");
        let late = plain.clone().with_spread(offset);
        prop_assert_eq!(late.spread_ms(), offset, "an offset of ours is never too large");
        let moved: Vec<_> = triggers(&plain, after, 9).iter().map(|at| at.plus(offset)).collect();
        prop_assert_eq!(triggers(&late, after.plus(offset), 9), moved);
        // Whatever is asked for, it stays below half of the shortest gap there is on the wall clock.
        let held = plain.clone().with_spread(i64::MAX).spread_ms();
        if plain.zone().is_none_or(|zone| zone.name() == "UTC") {
            prop_assert!(2 * held < plain.shortest_gap(after).millis(), "{plain}: {held}");
        }
    }
}

proptest! {
    // A year of every minute is half a million steps.
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gaps_are_those_between_the_triggers_of_the_coming_year((schedule, from) in asked()) {
        let mut stepped = triggers_until(&schedule, from, from.plus(400 * DAY_MS));
        if stepped.len() < 2 {
            stepped = triggers(&schedule, from, 2);
        }
        let gaps = || stepped.windows(2).map(|pair| pair[1].since(pair[0]));
        let Some((shortest, longest)) = gaps().min().zip(gaps().max()) else { return Ok(()) };
        prop_assert_eq!(schedule.shortest_gap(from).millis(), shortest, "{} from {}", schedule, from);
        prop_assert_eq!(schedule.longest_gap(from).millis(), longest, "{} from {}", schedule, from);
    }
}

#[test]
fn policies_with_one_expression_fall_apart() {
    let schedule = Schedule::cron("0 1 * * *", Zone::utc()).expect("valid");
    let spread = Span::parse("10m").expect("valid");
    let mut minutes = [0; 10];
    for uid in 0..1000 {
        minutes[(schedule.spread_for(&format!("policy-{uid}"), &spread) / 60_000) as usize] += 1;
    }
    assert!(minutes.iter().all(|count| (60..140).contains(count)), "{minutes:?}");
}

#[test]
fn searches_end_at_the_end_of_all_calendars() {
    let zones = [Zone::utc(), zone::load("Europe/Berlin").expect("known"), zone::load("Pacific/Apia").expect("known")];
    for zone in zones {
        for expression in ["* * * * *", "0 8 * * *", "0 0 29 2 *"] {
            let schedule = Schedule::cron(expression, zone.clone()).expect("valid");
            for after in [i64::MIN, -1, 0, 4_102_444_799_999, i64::MAX].map(Timestamp::from_millis) {
                let next = schedule.next_after(after);
                assert!(next.is_none_or(|next| next > after && next < Schedule::END), "{schedule} after {after}");
                schedule.shortest_gap(after);
                schedule.longest_gap(after);
            }
            let all = schedule.elapsed(Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
            assert!(all.is_some_and(|all| all.count >= 32), "{schedule}: {all:?}");
            assert_eq!(schedule.next_after(Schedule::END), None);
            assert_eq!(schedule.elapsed(Timestamp::EPOCH.plus(1), Timestamp::EPOCH), None);
        }
    }
    let centuries = Schedule::interval(Span::parse("73000d").expect("valid"));
    assert_eq!(centuries.next_after(Timestamp::EPOCH), None);
    let moments = Schedule::interval(Span::parse("1ms").expect("valid"));
    assert_eq!(moments.next_after(Timestamp::from_millis(i64::MAX)), None);
    assert!(moments.elapsed(Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX)).is_some());
}
