//! Every change of every zone from 1970 to 2037, for a set of expressions shaped after the change,
//! against the walk through real time (F12).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::lifecycle::zone::{Rules, Zone};

use super::reference::{Fields, Look, looks};
use super::triggers_until;
use crate::support::skips::{not_tested, tell};

const FROM: i64 = 0;
/// 2038-01-01T00:00:00Z.
const UNTIL: i64 = 2_145_916_800;

const HOUR: i64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    at: i64,
    before: i32,
    after: i32,
}

/// Returns the zones of the system, those with equal changes once, and how many names there are.
fn zones() -> (Vec<(String, jiff::tz::TimeZone, Vec<Change>)>, usize) {
    let mut distinct: BTreeMap<(i32, Vec<Change>), (String, jiff::tz::TimeZone)> = BTreeMap::new();
    let mut names = 0;
    for name in chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()) {
        let Ok(zone) = jiff::tz::TimeZone::get(name) else { continue };
        names += 1;
        let start = jiff::Timestamp::from_second(FROM).expect("in range");
        let first = zone.to_offset(start).seconds();
        let mut before = first;
        let mut changes = Vec::new();
        for next in zone.following(start) {
            let at = next.timestamp().as_second();
            if at >= UNTIL {
                break;
            }
            let after = next.offset().seconds();
            if after != before {
                changes.push(Change { at, before, after });
            }
            before = after;
        }
        distinct.entry((first, changes)).or_insert_with(|| (name.to_string(), zone));
    }
    (distinct.into_iter().map(|((_, changes), (name, zone))| (name, zone, changes)).collect(), names)
}

/// Returns expressions shaped after a change: times before it, in it, at its ends, and around it.
/// The first few run often and are compared within hours of the change, the others within days.
fn expressions(change: Change) -> (Vec<String>, Vec<String>) {
    let wall_before = change.at + i64::from(change.before);
    let wall_after = change.at + i64::from(change.after);
    let (low, high) = (wall_before.min(wall_after), wall_before.max(wall_after));
    let parts = |wall: i64| {
        let wall = wall.div_euclid(60);
        (wall.rem_euclid(60), wall.div_euclid(60).rem_euclid(24))
    };
    let (low_minute, low_hour) = parts(low);
    let (middle_minute, middle_hour) = parts(low + (high - low) / 2);
    let (high_minute, high_hour) = parts(high);
    let (_, hour_before) = parts(low - HOUR);
    let date = chrono::DateTime::from_timestamp(low, 0).expect("in range");
    let (day, month) = (date.format("%-d").to_string(), date.format("%-m").to_string());
    let weekday = date.format("%w").to_string();
    let often = vec![
        "* * * * *".to_string(),
        "*/20 * * * *".to_string(),
        format!("{middle_minute} * * * *"),
        format!("*/30 {low_hour} * * *"),
        "0 */2 * * *".to_string(),
        format!("*/15 {middle_hour},{high_hour} {day} {month} *"),
    ];
    let seldom = vec![
        format!("{low_minute} {low_hour} * * *"),
        format!("{middle_minute} {middle_hour} * * *"),
        format!("{high_minute} {high_hour} * * *"),
        format!("0,30 {},{} * * *", low_hour.min(hour_before), low_hour.max(hour_before)),
        format!("{low_minute},{middle_minute},{high_minute} 0-23/3 * * *"),
        "0 0 * * *".to_string(),
        format!("{middle_minute} {middle_hour} {day} {month} *"),
        format!("{middle_minute} {middle_hour} {day} * {weekday}"),
        format!("1-59/29 {low_hour},{high_hour} * * {weekday}"),
        "0 12 * * *".to_string(),
    ];
    (often, seldom)
}

fn check(zone: &Zone, looks: &[Look], expression: &str, from: i64, until: i64) {
    let schedule = Schedule::cron(expression, zone.clone()).unwrap_or_else(|error| panic!("{expression}: {error}"));
    // What the clock showed in the day before a question decides what is new to it.
    let start = looks.partition_point(|look| look.at < from - 27 * HOUR);
    let end = looks.partition_point(|look| look.at <= until);
    let expected: Vec<i64> = Fields::read(expression).runs(&looks[start..end], from + 1);
    let (after, until) = (Timestamp::from_seconds(from), Timestamp::from_seconds(until));
    let found: Vec<i64> = triggers_until(&schedule, after, until).iter().map(|at| at.seconds()).collect();
    assert!(
        found == expected,
        "{} {expression:?} after {after} until {until}: {:?} instead of {:?}",
        zone.name(),
        found.iter().map(|at| Timestamp::from_seconds(*at).to_string()).collect::<Vec<_>>(),
        expected.iter().map(|at| Timestamp::from_seconds(*at).to_string()).collect::<Vec<_>>(),
    );
    let counted = schedule.elapsed(after, until).map(|all| (all.count, all.first.seconds(), all.last.seconds()));
    let listed = expected.first().map(|first| (expected.len() as u64, *first, expected[expected.len() - 1]));
    assert_eq!(counted, listed, "{} {expression:?} after {after} until {until}", zone.name());
}

/// Returns how many expressions were compared.
fn check_change(zone: &Zone, rules: &jiff::tz::TimeZone, change: Change) -> usize {
    let shift = i64::from((change.after - change.before).abs());
    let offset = |at: i64| rules.to_offset(jiff::Timestamp::from_second(at).expect("in range")).seconds();
    let looks = looks(offset, change.at - 56 * HOUR - shift, change.at + 52 * HOUR + shift);
    let (often, seldom) = expressions(change);
    for expression in &often {
        check(zone, &looks, expression, change.at - HOUR - HOUR / 2, change.at + shift + 2 * HOUR);
    }
    for expression in &seldom {
        check(zone, &looks, expression, change.at - 28 * HOUR, change.at + 52 * HOUR + shift);
        // A question asked in the middle of a repeated or jumped stretch has no past to go by.
        check(zone, &looks, expression, change.at + shift / 2, change.at + 27 * HOUR + shift);
    }
    often.len() + 2 * seldom.len()
}

#[test]
fn every_change_of_every_zone_agrees_with_a_walk_through_real_time() {
    let (zones, names) = zones();
    if zones.is_empty() {
        not_tested("changes of zones, because this system has no zone files");
        return;
    }
    let started = std::time::Instant::now();
    let next = AtomicUsize::new(0);
    let compared = AtomicUsize::new(0);
    let work = || {
        while let Some((name, rules, changes)) = zones.get(next.fetch_add(1, Ordering::Relaxed)) {
            let zone = Zone::new(name, Rules::System(rules.clone()));
            for change in changes {
                compared.fetch_add(check_change(&zone, rules, *change), Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let changes: usize = zones.iter().map(|(_, _, changes)| changes.len()).sum();
    tell(&format!(
        "{changes} changes of {} distinct zones ({names} names) x 16 expressions: {} stretches compared in {:.1?}",
        zones.len(),
        compared.into_inner(),
        started.elapsed()
    ));
    assert!(changes > 10_000, "the system's zone files hold {changes} changes only");
}

/// The probing of embedded rules against the list that zone files give. Where the two have different
/// releases of the data, the zones that differ are counted and passed over. So are names without a
/// place, which no policy can use: distributions build `EET` and `WET` in different ways.
#[test]
fn embedded_rules_tell_the_same_changes_as_zone_files_of_the_same_release() {
    let (zones, _) = zones();
    let releases = snapkeep::config::zone::versions();
    let mut different = Vec::new();
    for (name, _, changes) in &zones {
        let rules: chrono_tz::Tz = name.parse().expect("a known name");
        let zone = Zone::new(name, Rules::Embedded(rules));
        let mut found = Vec::new();
        let mut from = Timestamp::from_seconds(FROM);
        while let Some(change) = zone.first_change(from, Timestamp::from_seconds(UNTIL - 1)) {
            found.push(Change { at: change.at.seconds(), before: change.before, after: change.after });
            from = change.at;
        }
        if found != *changes && name.contains('/') {
            different.push(name.as_str());
        }
    }
    tell(&format!("{} of {} zones differ between {releases:?}: {different:?}", different.len(), zones.len()));
    if releases.system.as_deref() == Some(releases.embedded) {
        assert_eq!(different, Vec::<&str>::new());
    }
    assert!(different.len() * 5 <= zones.len(), "{} of {} zones differ", different.len(), zones.len());
}
