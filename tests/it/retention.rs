//! What stays and what goes: OpenSearch's worked examples, our own table, the incidents that each
//! guard answers, and the laws that hold for every listing.
//!
//! Snapshots are written newest first: an age, before it `P`, `F` or `R` when it is partial, failed
//! or running, after it what else is to be said of it. `1d..5d` is one a day. They are named `a`,
//! `b`, `c` … in the order written.

mod guards;
mod keep;
mod keep_laws;
mod laws;

use std::sync::Arc;

use expect_test::{Expect, expect};
use snapkeep::config::zone;
use snapkeep::lifecycle::keep_rules::{Every, KeepRules};
use snapkeep::lifecycle::plan::{Grounds, Held, Look, Plan};
use snapkeep::lifecycle::policy::{BadCondition, Condition, Limits};
use snapkeep::lifecycle::retention::{Owner, judge};
use snapkeep::lifecycle::snapshot::{Listing, Snapshot, Status, label};
use snapkeep::lifecycle::time::{Moment, Span, SpanError, Timestamp};
use snapkeep::lifecycle::zone::Zone;

/// 2026-03-01T02:00:00Z.
const NOW: Timestamp = Timestamp::from_seconds(1_772_330_400);

fn owner() -> Owner {
    Owner { installation: "house".into(), policy_uid: "uid-db".into() }
}

fn snapshot(name: &str, status: Status, taken_at: Option<Timestamp>) -> Snapshot {
    let labels = [(label::INSTALLATION, "house"), (label::POLICY_UID, "uid-db"), (label::POLICY, "db")];
    Snapshot {
        name: name.to_string(),
        id: format!("id-{name}"),
        taken_at,
        status,
        labels: labels.map(|(key, value)| (key.to_string(), value.to_string())).into(),
        in_use: None,
        size_bytes: None,
    }
}

fn millis(written: &str) -> i64 {
    match written {
        "0" => 0,
        _ => Span::parse(written).unwrap_or_else(|error| panic!("{written}: {error}")).millis(),
    }
}

/// Reads one written snapshot such as `F 3d in use`.
fn read(name: &str, written: &str) -> Snapshot {
    let mut words = written.split(' ').peekable();
    let status = match words.peek() {
        Some(&"P") => Status::Partial,
        Some(&"F") => Status::Failed,
        Some(&"R") => Status::Running,
        _ => Status::Good,
    };
    if status != Status::Good {
        words.next();
    }
    let taken_at = match words.next().expect("an age, or `undatable`") {
        "undatable" => None,
        "ahead" => Some(NOW.plus(millis(words.next().expect("a span")))),
        "1970" => Some(Timestamp::EPOCH),
        age => Some(NOW.plus(-age.split('+').map(millis).sum::<i64>())),
    };
    let mut snapshot = snapshot(name, status, taken_at);
    match words.collect::<Vec<_>>().join(" ").as_str() {
        "" => {}
        "in use" => snapshot.in_use = Some("a clone".to_string()),
        "unstamped" => snapshot.labels.clear(),
        "of another policy" => drop(snapshot.labels.insert(label::POLICY_UID.into(), "uid-web".into())),
        "of another installation" => {
            snapshot.labels.insert(label::POLICY_UID.into(), "uid-web".into());
            snapshot.labels.insert(label::INSTALLATION.into(), "garage".into());
        }
        "of ours by another installation" => drop(snapshot.labels.insert(label::INSTALLATION.into(), "garage".into())),
        "half stamped" => drop(snapshot.labels.remove(label::POLICY_UID)),
        "with the id of a" => snapshot.id = "id-a".to_string(),
        "with the name of a" => snapshot.name = "a".to_string(),
        "called a" => (snapshot.name, snapshot.id) = ("a".to_string(), "id-a".to_string()),
        other => panic!("{other}?"),
    }
    snapshot
}

/// Returns the snapshots, each with how it was written.
fn listing(written: &str) -> Vec<(String, Snapshot)> {
    let mut all = Vec::new();
    for item in written.split(", ").filter(|item| !item.is_empty()) {
        match item.split_once("..") {
            None => all.push(item.to_string()),
            Some((first, last)) => {
                let unit = first.trim_start_matches(|letter: char| letter.is_ascii_digit());
                let number = |text: &str| text.trim_end_matches(unit).parse::<u32>().expect("a number");
                all.extend((number(first)..=number(last)).map(|number| match number {
                    0 => "0".to_string(),
                    number => format!("{number}{unit}"),
                }));
            }
        }
    }
    let name = |index: usize| match index {
        0..26 => char::from(b'a' + index as u8).to_string(),
        _ => format!("z{index:03}"),
    };
    all.into_iter().enumerate().map(|(index, written)| (written.clone(), read(&name(index), &written))).collect()
}

/// Reads a condition such as `max_age = 7d, min_count = 2, daily = 7, zone = Europe/Berlin`.
fn condition(written: &str) -> Condition {
    let mut limits = Limits::default();
    let (mut counts, mut within, mut zone) = (Vec::new(), None, Zone::utc());
    for part in written.split(", ") {
        let (key, value) = part.split_once(" = ").expect("key = value");
        let number = || value.parse().expect(value);
        let span = || Some(Span::parse(value).expect(value));
        match key {
            "max_age" => limits.max_age = span(),
            "max_count" => limits.max_count = Some(number()),
            "min_count" => limits.min_count = Some(number()),
            "min_age" => limits.min_age = span(),
            "within" => within = span(),
            "zone" => zone = zone::load(value).expect(value),
            _ => {
                let every = Every::ALL.into_iter().find(|every| every.word() == key);
                counts.push((every.unwrap_or_else(|| panic!("{key}?")), number()));
            }
        }
    }
    if !counts.is_empty() || within.is_some() {
        limits.keep = Some(KeepRules::new(&counts, within, zone).expect(written));
    }
    Condition::of(limits).expect(written)
}

/// Says what becomes of each, in the order written; neighbours of one fate together.
fn check(snapshots: &str, rule: &str, expected: Expect) {
    let (written, snapshots): (Vec<String>, Vec<Snapshot>) = listing(snapshots).into_iter().unzip();
    let verdicts = judge(&owner(), &condition(rule), &snapshots, NOW);
    let fates: Vec<(String, &String)> = verdicts
        .iter()
        .map(|verdict| format!("{} {}", if verdict.is_condemned() { "delete" } else { "keep" }, verdict.code()))
        .zip(&written)
        .collect();
    let told: Vec<String> = fates
        .chunk_by(|(fate, _), (other, _)| fate == other)
        .map(|same| match same {
            [.., (fate, last)] if same.len() > 3 => format!("{fate}: {} … {last} ({})", same[0].1, same.len()),
            _ => {
                let which: Vec<&str> = same.iter().map(|(_, written)| written.as_str()).collect();
                format!("{}: {}", same[0].0, which.join(", "))
            }
        })
        .collect();
    expected.assert_eq(&told.join("; "));
}

/// Returns what is deleted, as it was written.
fn deleted(snapshots: &str, rule: &str) -> Vec<String> {
    let (written, snapshots): (Vec<String>, Vec<Snapshot>) = listing(snapshots).into_iter().unzip();
    let verdicts = judge(&owner(), &condition(rule), &snapshots, NOW);
    written
        .into_iter()
        .zip(verdicts)
        .filter(|(_, verdict)| verdict.is_condemned())
        .map(|(written, _)| written)
        .collect()
}

#[test]
fn the_worked_examples_of_opensearch_come_out_alike() {
    // As the original's table has them: number, condition, snapshots, deleted.
    let examples = [
        (1, "max_age = 7d, min_count = 1", "30d", ""),
        (2, "max_age = 7d, min_count = 1", "1d, 8d", "8d"),
        (3, "max_age = 7d, min_count = 1", "1d, 7d", ""),
        (4, "max_age = 7d, min_count = 1", "1d, 7d+1ms", "7d+1ms"),
        (5, "max_age = 7d, min_count = 1", "10d, 20d, 30d", "20d, 30d"),
        (6, "max_age = 7d, min_count = 3", "46d..50d", "49d, 50d"),
        (7, "max_age = 7d, min_count = 6", "10d..14d", ""),
        (8, "max_age = 7d, min_count = 2", "1d, 2d, 29d, 30d", "29d, 30d"),
        (9, "max_age = 7d, min_count = 3", "1d, 2d, 29d, 30d", "30d"),
        (12, "max_count = 5, min_count = 1", "1d..5d", ""),
        (13, "max_count = 5, min_count = 1", "1d..6d", "6d"),
        (14, "max_count = 4, min_count = 3", "1d..7d", "5d, 6d, 7d"),
        (16, "max_age = 3d, max_count = 8, min_count = 2", "0d..9d", "4d, 5d, 6d, 7d, 8d, 9d"),
        (17, "max_age = 8d, max_count = 5, min_count = 2", "0d..9d", "5d, 6d, 7d, 8d, 9d"),
        (18, "max_age = 1h, max_count = 5, min_count = 2", "1d..10d", "3d, 4d, 5d, 6d, 7d, 8d, 9d, 10d"),
        (19, "max_age = 1h, max_count = 5, min_count = 4", "1d..3d", ""),
        (22, "max_age = 7d, max_count = 21, min_count = 7", "60d..69d", "67d, 68d, 69d"),
        (24, "max_count = 3, min_count = 1", "R 0, 1d..3d", ""),
        (25, "max_count = 3, min_count = 1", "R 0, 1d..4d", "4d"),
        (28, "max_age = 1h, min_count = 2", "R 1m, 2h, 3h", ""),
    ];
    for (number, rule, snapshots, expected) in examples {
        assert_eq!(deleted(snapshots, rule).join(", "), expected, "example {number}");
    }

    // Example 15: a, b and c began together.
    assert_eq!(listing("1d, 1d, 1d")[0].1.name, "a");
    let verdicts = judge(
        &owner(),
        &condition("max_count = 2"),
        &["c", "a", "b"].map(|name| snapshot(name, Status::Good, Some(NOW))),
        NOW,
    );
    assert_eq!(verdicts.iter().map(|verdict| verdict.is_condemned()).collect::<Vec<_>>(), [false, true, false]);

    // The long ones, by how many go and which is the first of them.
    for (number, rule, snapshots, count, first) in [
        (20, "max_age = 7d, max_count = 21, min_count = 7", "0d..29d", 22, "8d"),
        (21, "max_age = 7d, max_count = 21, min_count = 7", "1h..40h", 19, "22h"),
        (23, "max_age = 60d, max_count = 60, min_count = 10", "1h..100h", 40, "61h"),
    ] {
        let gone = deleted(snapshots, rule);
        assert_eq!((gone.len(), gone[0].as_str()), (count, first), "example {number}");
    }
}

#[test]
fn example_10_a_zero_age_cannot_be_written() {
    assert_eq!(Span::parse("0s"), Err(SpanError::Zero));
    assert_eq!(deleted("1s, 2s, 3s", "max_age = 1ms"), ["2s", "3s"]);
}

#[test]
fn example_11_an_age_below_a_second_is_exact() {
    assert_eq!(deleted("10ms, 500ms", "max_age = 999ms"), [""; 0]);
    assert_eq!(deleted("10ms, 998ms, 999ms, 1s", "max_age = 999ms"), ["1s"]);
}

#[test]
fn example_26_decided_our_way_the_last_good_one_outlives_a_newer_failure() {
    check("F 1d, 8d", "max_age = 7d, min_count = 1", expect!["keep failed_but_recent: F 1d; keep newest_good: 8d"]);
}

#[test]
fn example_27_decided_our_way_failures_do_not_fill_max_count() {
    check(
        "F 1d, F 2d, F 3d, 4d",
        "max_count = 3",
        expect!["keep failed_but_recent: F 1d, F 2d, F 3d; keep newest_good: 4d"],
    );
}

#[test]
fn age_alone() {
    check("", "max_age = 7d", expect![[""]]);
    check("1d", "max_age = 7d", expect!["keep newest_good: 1d"]);
    check("700d", "max_age = 7d", expect!["keep newest_good: 700d"]);
    check(
        "1d, 7d, 7d+1ms, 8d",
        "max_age = 7d",
        expect!["keep newest_good: 1d; keep within_condition: 7d; delete max_age: 7d+1ms, 8d"],
    );
    check(
        "100h, 200h, 300h",
        "max_age = 1h, min_count = 2",
        expect!["keep newest_good: 100h; keep min_count: 200h; delete max_age: 300h"],
    );
    check("30d..34d", "max_age = 7d, min_count = 9", expect!["keep newest_good: 30d; keep min_count: 31d … 34d (4)"]);
    check("0d..9d", "max_age = 90m", expect!["keep newest_good: 0; delete max_age: 1d … 9d (9)"]);
    check("1d, 2d, 3d", "max_age = 520w", expect!["keep newest_good: 1d; keep within_condition: 2d, 3d"]);
    check(
        "500ms, 1s, 1001ms",
        "max_age = 1s",
        expect!["keep newest_good: 500ms; keep within_condition: 1s; delete max_age: 1001ms"],
    );
}

#[test]
fn count_alone() {
    check("1d", "max_count = 1", expect!["keep newest_good: 1d"]);
    check("1d, 2d, 3d", "max_count = 1", expect!["keep newest_good: 1d; delete max_count: 2d, 3d"]);
    check("1d, 2d, 3d", "max_count = 3, min_count = 3", expect!["keep newest_good: 1d; keep min_count: 2d, 3d"]);
    check(
        "1d..4d",
        "max_count = 3, min_count = 3",
        expect!["keep newest_good: 1d; keep min_count: 2d, 3d; delete max_count: 4d"],
    );
    check(
        "1d, 1d, 1d, 1d",
        "max_count = 2",
        expect!["delete max_count: 1d, 1d; keep within_condition: 1d; keep newest_good: 1d"],
    );
    check(
        "1h..48h",
        "max_count = 24",
        expect!["keep newest_good: 1h; keep within_condition: 2h … 24h (23); delete max_count: 25h … 48h (24)"],
    );
}

#[test]
fn age_and_count() {
    check(
        "0d..9d",
        "max_age = 3d, max_count = 8, min_count = 2",
        expect!["keep newest_good: 0; keep min_count: 1d; keep within_condition: 2d, 3d; delete max_age: 4d … 9d (6)"],
    );
    check(
        "0d..9d",
        "max_age = 8d, max_count = 5, min_count = 2",
        expect![
            "keep newest_good: 0; keep min_count: 1d; keep within_condition: 2d, 3d, 4d; delete max_count: 5d … 8d (4); delete max_age: 9d"
        ],
    );
    check(
        "60d..69d",
        "max_age = 7d, max_count = 21, min_count = 7",
        expect!["keep newest_good: 60d; keep min_count: 61d … 66d (6); delete max_age: 67d, 68d, 69d"],
    );
    check(
        "1h..10h",
        "max_age = 7d, max_count = 4, min_count = 4",
        expect!["keep newest_good: 1h; keep min_count: 2h, 3h, 4h; delete max_count: 5h … 10h (6)"],
    );
    check(
        "1h, 2h, 9d, 10d",
        "max_age = 7d, max_count = 3, min_count = 3",
        expect!["keep newest_good: 1h; keep min_count: 2h, 9d; delete max_age: 10d"],
    );
}

#[test]
fn what_is_not_good_goes_by_age_once_a_newer_good_one_exists() {
    check("1d, F 2d", "max_age = 7d", expect!["keep newest_good: 1d; keep failed_but_recent: F 2d"]);
    check("1d, F 7d", "max_age = 7d", expect!["keep newest_good: 1d; keep failed_but_recent: F 7d"]);
    check("1d, F 7d+1ms, P 8d", "max_age = 7d", expect!["keep newest_good: 1d; delete failed_and_old: F 7d+1ms, P 8d"]);
    check(
        "F 8d, 9d, F 10d",
        "max_age = 7d",
        expect!["keep failed_but_recent: F 8d; keep newest_good: 9d; delete failed_and_old: F 10d"],
    );
    check("F 8d, F 9d", "max_age = 7d", expect!["keep failed_but_recent: F 8d, F 9d"]);
    check("F 9d, 9d", "max_age = 7d", expect!["keep failed_but_recent: F 9d; keep newest_good: 9d"]);
    check("1d, F 30d", "max_age = 7d, min_count = 5", expect!["keep newest_good: 1d; delete failed_and_old: F 30d"]);
    check(
        "1d, 2d, F 3d, 4d, F 5d",
        "max_age = 7d, max_count = 2",
        expect![
            "keep newest_good: 1d; keep within_condition: 2d; keep failed_but_recent: F 3d; delete max_count: 4d; keep failed_but_recent: F 5d"
        ],
    );
    check(
        "F 1d, P 2d, F 3d, 20d, 21d, 22d",
        "max_age = 7d, min_count = 2",
        expect![
            "keep failed_but_recent: F 1d, P 2d, F 3d; keep newest_good: 20d; keep min_count: 21d; delete max_age: 22d"
        ],
    );
}

#[test]
fn what_is_not_good_goes_with_max_count_alone_once_that_many_good_ones_are_newer() {
    check("1d, F 2d", "max_count = 1", expect!["keep newest_good: 1d; delete failed_and_replaced: F 2d"]);
    check(
        "1d, F 2d, 3d, F 4d, 5d, P 6d",
        "max_count = 2",
        expect![
            "keep newest_good: 1d; keep failed_but_recent: F 2d; keep within_condition: 3d; delete failed_and_replaced: F 4d; delete max_count: 5d; delete failed_and_replaced: P 6d"
        ],
    );
    check("1d, F 400d", "max_count = 3", expect!["keep newest_good: 1d; keep failed_but_recent: F 400d"]);
    check("F 1d, F 2d, F 3d", "max_count = 1", expect!["keep failed_but_recent: F 1d, F 2d, F 3d"]);
    check("F 1d, 1d", "max_count = 1", expect!["keep failed_but_recent: F 1d; keep newest_good: 1d"]);
}

#[test]
fn what_is_being_made_is_left_alone_and_counts_for_nothing() {
    check(
        "R 0, 1d..4d",
        "max_count = 3",
        expect!["keep running: R 0; keep newest_good: 1d; keep within_condition: 2d, 3d; delete max_count: 4d"],
    );
    check(
        "R 1m, 2h, 3h",
        "max_age = 1h, min_count = 2",
        expect!["keep running: R 1m; keep newest_good: 2h; keep min_count: 3h"],
    );
    check(
        "R 90d, 91d, 92d",
        "max_age = 7d",
        expect!["keep running: R 90d; keep newest_good: 91d; delete max_age: 92d"],
    );
    check("R 1d", "max_count = 1", expect!["keep running: R 1d"]);
}

#[test]
fn what_is_in_use_stays_and_keeps_its_place() {
    check(
        "1d, 2d, 3d in use, 4d",
        "max_count = 2",
        expect!["keep newest_good: 1d; keep within_condition: 2d; keep in_use: 3d in use; delete max_count: 4d"],
    );
    check(
        "1d, 8d in use, 9d",
        "max_age = 7d",
        expect!["keep newest_good: 1d; keep in_use: 8d in use; delete max_age: 9d"],
    );
    check("1d in use, 2d", "max_count = 1", expect!["keep in_use: 1d in use; delete max_count: 2d"]);
    check(
        "1d, F 30d in use, F 31d",
        "max_age = 7d",
        expect!["keep newest_good: 1d; keep in_use: F 30d in use; delete failed_and_old: F 31d"],
    );
}

#[test]
fn what_is_not_ours_by_its_stamp_is_not_judged_and_counts_for_nothing() {
    check(
        "1d unstamped, 2d of another policy, 3d of another installation, 4d",
        "max_count = 1",
        expect!["keep foreign: 1d unstamped, 2d of another policy, 3d of another installation; keep newest_good: 4d"],
    );
    check(
        "1d of another policy, 30d, 31d",
        "max_age = 7d",
        expect!["keep foreign: 1d of another policy; keep newest_good: 30d; delete max_age: 31d"],
    );
    check(
        "1d, 30d of ours by another installation, 31d half stamped, 32d",
        "max_age = 7d",
        expect![
            "keep newest_good: 1d; keep foreign: 30d of ours by another installation, 31d half stamped; delete max_age: 32d"
        ],
    );
    check(
        "F 1d of another policy, 9d, F 30d unstamped",
        "max_age = 7d",
        expect!["keep foreign: F 1d of another policy; keep newest_good: 9d; keep foreign: F 30d unstamped"],
    );
}

#[test]
fn what_is_listed_twice_is_not_condemned_and_counts_for_nothing() {
    check(
        "1d, 2d, 2d called a, 3d",
        "max_count = 1",
        expect!["keep ambiguous: 1d; keep newest_good: 2d; keep ambiguous: 2d called a; delete max_count: 3d"],
    );
    check(
        "1d, 2d, 3d with the id of a, 4d",
        "max_count = 1",
        expect!["keep ambiguous: 1d; keep newest_good: 2d; keep ambiguous: 3d with the id of a; delete max_count: 4d"],
    );
    check(
        "1d, 2d, 3d with the name of a, 4d",
        "max_count = 1",
        expect![
            "keep ambiguous: 1d; keep newest_good: 2d; keep ambiguous: 3d with the name of a; delete max_count: 4d"
        ],
    );
    check(
        "30d, 31d called a, 32d called a, 33d, 34d",
        "max_age = 7d",
        expect!["keep ambiguous: 30d, 31d called a, 32d called a; keep newest_good: 33d; delete max_age: 34d"],
    );
    // A foreign one may share a name with ours, never an id.
    check(
        "1d unstamped, 2d, 3d with the name of a",
        "max_count = 1",
        expect!["keep foreign: 1d unstamped; keep newest_good: 2d; delete max_count: 3d with the name of a"],
    );
    check(
        "1d unstamped, 2d, 3d with the id of a",
        "max_count = 1",
        expect!["keep foreign: 1d unstamped; keep newest_good: 2d; keep ambiguous: 3d with the id of a"],
    );
}

#[test]
fn what_cannot_be_dated_is_never_the_newest_and_never_condemned() {
    check(
        "undatable, 8d, 9d",
        "max_age = 7d",
        expect!["keep undatable: undatable; keep newest_good: 8d; delete max_age: 9d"],
    );
    check("1970, 8d, 9d", "max_age = 7d", expect!["keep undatable: 1970; keep newest_good: 8d; delete max_age: 9d"]);
    check(
        "undatable, undatable, 1d, 2d",
        "max_count = 1",
        expect!["keep undatable: undatable, undatable; keep newest_good: 1d; delete max_count: 2d"],
    );
    check("1d, F undatable", "max_age = 7d", expect!["keep newest_good: 1d; keep undatable: F undatable"]);
    check("F undatable, F 30d", "max_age = 7d", expect!["keep undatable: F undatable; keep failed_but_recent: F 30d"]);
}

#[test]
fn what_is_dated_more_than_five_minutes_ahead_is_never_the_newest_and_never_condemned() {
    check("ahead 5m, 1d, 2d", "max_count = 1", expect!["keep newest_good: ahead 5m; delete max_count: 1d, 2d"]);
    check(
        "ahead 300001ms, 1d, 2d",
        "max_count = 1",
        expect!["keep future_dated: ahead 300001ms; keep newest_good: 1d; delete max_count: 2d"],
    );
    check(
        "ahead 520w, 30d, 31d",
        "max_age = 7d",
        expect!["keep future_dated: ahead 520w; keep newest_good: 30d; delete max_age: 31d"],
    );
    check("ahead 6m, F 30d", "max_age = 7d", expect!["keep future_dated: ahead 6m; keep failed_but_recent: F 30d"]);
    check(
        "F ahead 6m, 1d, 8d",
        "max_age = 7d",
        expect!["keep future_dated: F ahead 6m; keep newest_good: 1d; delete max_age: 8d"],
    );
}

#[test]
fn every_verdict_tells_its_reason_in_a_phrase() {
    let cases = [
        ("1d unstamped", "max_count = 1"),
        ("1d half stamped", "max_count = 1"),
        ("1d of another policy", "max_count = 1"),
        ("1d of another installation", "max_count = 1"),
        ("1d of ours by another installation", "max_count = 1"),
        ("1d, 2d called a", "max_count = 1"),
        ("R 1d", "max_count = 1"),
        ("1d in use", "max_count = 1"),
        ("undatable", "max_count = 1"),
        ("ahead 90m", "max_count = 1"),
        ("1d", "max_count = 1"),
        ("1d, 2d", "max_count = 3, min_count = 2"),
        ("1d, 52h", "max_age = 1w"),
        ("1d, F 52h", "max_age = 1w"),
        ("F 1d", "max_age = 1w"),
        ("1d, F 52h", "max_count = 3"),
        ("1d, 7d+1ms", "max_age = 1w"),
        ("1d, 196h", "max_age = 7d"),
        ("1d, 2d, 3d", "max_count = 2"),
        ("1d, F 196h", "max_age = 7d"),
        ("1d, 2d, F 3d", "max_count = 2"),
        ("1d, 36h", "max_age = 7d, min_age = 2d"),
        ("1d, F 36h", "max_age = 7d, min_age = 2d"),
        ("1d, 2d", "daily = 7, weekly = 4, within = 48h"),
        ("1d, 2d, 3d", "last = 2, hourly = 3, yearly = 2"),
        ("1d, 25h, 26h", "daily = 1"),
        ("1d, F 48h", "daily = 2"),
        ("1d, F 25h", "daily = 2"),
        ("1d, 2d", "daily = 7, max_count = 1"),
        ("1d, 20d", "daily = 7, max_age = 2w"),
    ];
    let mut told = String::new();
    for (snapshots, rule) in cases {
        let (written, snapshots): (Vec<String>, Vec<Snapshot>) = listing(snapshots).into_iter().unzip();
        let verdicts = judge(&owner(), &condition(rule), &snapshots, NOW);
        let (written, verdict) = written.iter().zip(verdicts).next_back().expect("one at least");
        let fate = if verdict.is_condemned() { "deleted" } else { "kept" };
        told.push_str(&format!("{written}, {rule} [{}]\n    {fate}: {verdict}\n", verdict.code()));
    }
    expect![[r#"
        1d unstamped, max_count = 1 [foreign]
            kept: not stamped by snapkeep
        1d half stamped, max_count = 1 [foreign]
            kept: not stamped by snapkeep
        1d of another policy, max_count = 1 [foreign]
            kept: stamped for another policy
        1d of another installation, max_count = 1 [foreign]
            kept: stamped by another installation
        1d of ours by another installation, max_count = 1 [foreign]
            kept: stamped for this policy, but not by this installation
        2d called a, max_count = 1 [ambiguous]
            kept: listed 2 times under one id or name
        R 1d, max_count = 1 [running]
            kept: being made
        1d in use, max_count = 1 [in_use]
            kept: in use: a clone
        undatable, max_count = 1 [undatable]
            kept: the driver cannot tell its date
        ahead 90m, max_count = 1 [future_dated]
            kept: dated 1h30m ahead of now
        1d, max_count = 1 [newest_good]
            kept: the newest good one
        2d, max_count = 3, min_count = 2 [min_count]
            kept: number 2 of the newest good ones, of which min_count keeps 2
        52h, max_age = 1w [within_condition]
            kept: 2d4h old and number 2 of the newest good ones
        F 52h, max_age = 1w [failed_but_recent]
            kept: not good, and not older than max_age 1w (2d4h)
        F 1d, max_age = 1w [failed_but_recent]
            kept: not good, and no good one is newer
        F 52h, max_count = 3 [failed_but_recent]
            kept: not good, and fewer good ones than max_count 3 are newer (1)
        7d+1ms, max_age = 1w [max_age]
            deleted: older than max_age 1w (7d1ms)
        196h, max_age = 7d [max_age]
            deleted: older than max_age 7d (8d4h)
        3d, max_count = 2 [max_count]
            deleted: number 3 of the newest good ones, beyond max_count 2
        F 196h, max_age = 7d [failed_and_old]
            deleted: not good, older than max_age 7d (8d4h), and a good one is newer
        F 3d, max_count = 2 [failed_and_replaced]
            deleted: not good, and 2 good ones are newer, of which max_count keeps 2
        36h, max_age = 7d, min_age = 2d [min_age]
            kept: younger than min_age 2d (1d12h)
        F 36h, max_age = 7d, min_age = 2d [failed_but_recent]
            kept: not good, and younger than min_age 2d (1d12h)
        2d, daily = 7, weekly = 4, within = 48h [keep_rules]
            kept: daily 2 of 7, oldest while weekly has 1 of 4, within 48h
        3d, last = 2, hourly = 3, yearly = 2 [keep_rules]
            kept: hourly 3 of 3, oldest while yearly has 1 of 2
        26h, daily = 1 [thinned]
            deleted: held by no keep rule
        F 48h, daily = 2 [failed_but_recent]
            kept: not good, and no good one stands for its time (daily 2 of 2)
        F 25h, daily = 2 [failed_and_thinned]
            deleted: not good, and good ones stand for its time in every keep rule
        2d, daily = 7, max_count = 1 [max_count]
            deleted: number 2 of those that keep rules hold, beyond max_count 1
        20d, daily = 7, max_age = 2w [max_age]
            deleted: older than max_age 2w (20d)
    "#]]
    .assert_eq(&told);
}

// ---- Plans.

fn plan(snapshots: &str, rule: &str, seen: Option<u32>, approved: bool) -> Plan {
    let listing = Listing { snapshots: listing(snapshots).into_iter().map(|(_, snapshot)| snapshot).collect() };
    let grounds = Grounds::plain(owner(), condition(rule), seen, at(NOW));
    let plan = Plan::make(&grounds, &listing, FIRST, NOW);
    if !approved {
        return plan;
    }
    let approval = Some(Arc::new(plan.approval(7)));
    Plan::make(&Grounds { approval, ..grounds }, &listing, FIRST, NOW)
}

const FIRST: Look = Look::First { deleted: 0 };

fn at(wall: Timestamp) -> Moment {
    Moment { wall, boot: 1, uptime: wall.millis() }
}

fn names(plan: &Plan) -> String {
    plan.condemned().iter().map(|target| &*target.name).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_plan_tells_of_every_snapshot_oldest_first_and_undatable_ones_last() {
    let plan = plan("undatable, 2d, 1d, 3d unstamped, 3d, ahead 1h", "max_count = 1", Some(0), true);
    let told: Vec<String> =
        plan.entries.iter().map(|entry| format!("{} {}", entry.target.name, entry.verdict.code())).collect();
    expect!["d foreign, e max_count, b max_count, c newest_good, f future_dated, a undatable"]
        .assert_eq(&told.join(", "));
    assert_eq!((plan.own, names(&plan).as_str()), (5, "e b"));
}

#[test]
fn own_snapshots_are_counted_by_identity_and_however_they_stand() {
    assert_eq!(plan("1d, F 2d, R 0, undatable, 3d unstamped", "max_count = 1", Some(0), false).own, 4);
    assert_eq!(plan("1d, 1d called a, 1d called a, 2d", "max_count = 1", Some(0), false).own, 2);
}

#[test]
fn a_listing_that_lost_more_than_half_holds_the_plan() {
    for (seen, listed, held) in [
        (Some(0), "1d, 2d, 3d", false),
        (Some(2), "1d", false),
        (Some(3), "1d", true),
        (Some(6), "1d, 2d, 3d", false),
        (Some(7), "1d, 2d, 3d", true),
        (Some(1), "1d unstamped", true),
        (Some(1), "", true),
        (Some(u32::MAX), "1d", true),
        (Some(1), "1d, 2d, 3d", false),
    ] {
        let held_plan = plan(listed, "max_count = 1", seen, false);
        assert_eq!(held_plan.is_held(), held, "{seen:?} then {listed}");
        if held {
            assert_eq!(names(&held_plan), "");
            assert_eq!(held_plan.held, [Held::ListingShrank { before: seen.unwrap(), now: held_plan.own }]);
        }
        assert_eq!(plan(listed, "max_count = 1", seen, true).held, [], "{seen:?} then {listed}, approved");
    }
}

#[test]
fn a_held_plan_still_tells_every_verdict() {
    let held = plan("1d, 2d, 3d", "max_count = 1", Some(10), false);
    assert_eq!(held.entries.iter().filter(|entry| entry.verdict.is_condemned()).count(), 2);
    assert!(held.condemned().is_empty());
}

#[test]
fn an_empty_listing_condemns_nothing_even_when_approved() {
    assert!(plan("", "max_count = 1", Some(10), true).condemned().is_empty());
}

// ---- Incidents, and the guard that answers each.

#[test]
fn home_assistant_138702_zero_days_is_no_condition() {
    assert_eq!(Span::parse("0d"), Err(SpanError::Zero));
    assert_eq!(Condition::new(None, Some(0), None), Err(BadCondition::MaxCountZero));
    check("1d, 2d, 3d", "max_age = 1ms", expect!["keep newest_good: 1d; delete max_age: 2d, 3d"]);
}

#[test]
fn kyoto_university_a_blank_value_is_not_zero() {
    assert_eq!(Span::parse(""), Err(SpanError::Empty));
    assert_eq!(Condition::new(None, None, None), Err(BadCondition::Nothing));
}

#[test]
fn unisuper_a_blank_term_does_not_run_out() {
    // A condition without an age never condemns by age.
    check("3650d, 3651d", "max_count = 2", expect!["keep newest_good: 3650d; keep within_condition: 3651d"]);
}

#[test]
fn duplicati_103_a_low_age_does_not_delete_every_backup() {
    check("30d, 31d, 32d", "max_age = 1d", expect!["keep newest_good: 30d; delete max_age: 31d, 32d"]);
}

#[test]
fn elasticsearch_106584_a_missing_min_count_is_one() {
    assert_eq!(condition("max_age = 1d").min_count(), 1);
    assert_eq!(Condition::new(Some(Span::from_millis(1)), None, Some(0)), Err(BadCondition::MinCountZero));
    check("30d, 31d", "max_age = 1d", expect!["keep newest_good: 30d; delete max_age: 31d"]);
}

#[test]
fn opensearch_sm_failed_and_partial_ones_do_not_count_as_kept() {
    check(
        "F 1d, P 2d, F 3d, 4d, 5d",
        "max_age = 2d, max_count = 3, min_count = 2",
        expect!["keep failed_but_recent: F 1d, P 2d, F 3d; keep newest_good: 4d; keep min_count: 5d"],
    );
}

#[test]
fn velero_7242_the_last_backup_does_not_expire_when_the_schedule_stops() {
    check("400d, 401d", "max_age = 30d", expect!["keep newest_good: 400d; delete max_age: 401d"]);
}

#[test]
fn borg_241_archives_of_other_hosts_and_policies_are_another_series() {
    // All names begin alike; that means nothing.
    check(
        "1h of another policy, 2h of another installation, 1d, 2d",
        "max_count = 2",
        expect![
            "keep foreign: 1h of another policy, 2h of another installation; keep newest_good: 1d; keep within_condition: 2d"
        ],
    );
}

#[test]
fn restic_3416_one_snapshot_far_ahead_does_not_make_all_others_old() {
    check(
        "ahead 520w, 1d, 2d",
        "max_age = 7d",
        expect!["keep future_dated: ahead 520w; keep newest_good: 1d; keep within_condition: 2d"],
    );
    check(
        "ahead 520w, 10d, 11d",
        "max_age = 7d",
        expect!["keep future_dated: ahead 520w; keep newest_good: 10d; delete max_age: 11d"],
    );
}

#[test]
fn btrfs_backup_ng_56_an_unreadable_date_does_not_take_the_newest_place() {
    check(
        "undatable, 10d, 11d",
        "max_age = 7d",
        expect!["keep undatable: undatable; keep newest_good: 10d; delete max_age: 11d"],
    );
}

#[test]
fn kopia_3736_snapshots_in_2042_neither_count_nor_go() {
    check(
        "ahead 834w, 1d, 2d, 3d",
        "max_count = 2",
        expect!["keep future_dated: ahead 834w; keep newest_good: 1d; keep within_condition: 2d; delete max_count: 3d"],
    );
}

#[test]
fn sanoid_815_a_clock_wrong_once_does_not_choose_another_oldest() {
    check(
        "1970, 1d, 2d, 3d",
        "max_count = 2",
        expect!["keep undatable: 1970; keep newest_good: 1d; keep within_condition: 2d; delete max_count: 3d"],
    );
}

#[test]
fn duplicati_3987_seconds_of_jitter_remove_no_other_backup() {
    check(
        "1s, 86403s, 172799s, 259201s",
        "max_age = 3d, max_count = 4",
        expect!["keep newest_good: 1s; keep within_condition: 86403s, 172799s; delete max_age: 259201s"],
    );
}

#[test]
fn a_repository_that_shows_half_of_itself_loses_nothing() {
    // The fault matrix, F7: a listing with entries missing.
    let shown = plan("40d, 41d, 42d", "max_age = 7d", Some(30), false);
    assert!(shown.is_held() && shown.condemned().is_empty());
}
