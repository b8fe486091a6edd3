//! Keep rules, by the calendar. Snapshots are written newest first, by date and time in UTC: without
//! a time they are of 02:00, `every 1d x 9` makes nine of one, each a day older than the one before.
//! Before the date stands how it came out and after it what else is to be said, as in the other tables.
//! Now is 2026-03-01 02:00.

use expect_test::{Expect, expect};
use snapkeep::lifecycle::keep_rules::{BadKeepRules, Every, KeepRules};
use snapkeep::lifecycle::policy::{BadCondition, Condition, Limits};
use snapkeep::lifecycle::retention::{Keep, Verdict, judge};
use snapkeep::lifecycle::snapshot::Snapshot;
use snapkeep::lifecycle::time::{Span, Timestamp};
use snapkeep::lifecycle::zone::Zone;

use super::{NOW, condition, millis, owner, read};

/// Returns the time of `2026-02-28` or `2026-02-28 14:30` or `2026-02-28 14:30:05.001`.
fn time(written: &str) -> Timestamp {
    let text = match written.len() {
        10 => format!("{written}T02:00:00"),
        16 => format!("{}:00", written.replace(' ', "T")),
        _ => written.replace(' ', "T"),
    };
    let at: chrono::NaiveDateTime = text.parse().unwrap_or_else(|error| panic!("{written}: {error}"));
    Timestamp::from_millis(at.and_utc().timestamp_millis())
}

/// Shows what differs from 02:00.
fn shown(at: Timestamp) -> String {
    let date = at.to_string()[..10].to_string();
    let of_day = at.millis().rem_euclid(86_400_000);
    let (hour, minute, second, rest) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    match (hour, minute, second, rest) {
        (2, 0, 0, 0) => date,
        (_, _, 0, 0) => format!("{date} {hour:02}:{minute:02}"),
        (_, _, _, 0) => format!("{date} {hour:02}:{minute:02}:{second:02}"),
        _ => format!("{date} {hour:02}:{minute:02}:{second:02}.{rest:03}"),
    }
}

/// Returns the snapshots, each with how it is shown.
fn history(written: &str) -> Vec<(String, Snapshot)> {
    let mut all: Vec<(String, Snapshot)> = Vec::new();
    for item in written.split(", ") {
        let (item, step, count) = match item.split_once(" every ") {
            Some((first, series)) => {
                let (step, count) = series.split_once(" x ").expect("a span x a number");
                (first, millis(step), count.parse().expect("a number"))
            }
            None => (item, 0, 1),
        };
        let mut words: Vec<&str> = item.split(' ').collect();
        let mut before = if words[0].len() == 1 { vec![words.remove(0)] } else { vec![] };
        let has_time = words.get(1).is_some_and(|word| word.contains(':'));
        let after = words.split_off(if has_time { 2 } else { 1 });
        let first = time(&words.join(" "));
        before.push("0");
        before.extend(&after);
        for number in 0..count {
            let at = first.plus(-step * number);
            let mut one = read(&format!("n{:04}", all.len()), &before.join(" "));
            one.taken_at = Some(at);
            let shown = before.join(" ").replacen('0', &shown(at), 1);
            all.push((shown, one));
        }
    }
    all
}

/// Says what becomes of each, in the order written; neighbours of one fate together. Of what keep rules
/// hold it says which.
fn check(rule: &str, snapshots: &str, expected: Expect) {
    let (shown, snapshots): (Vec<String>, Vec<Snapshot>) = history(snapshots).into_iter().unzip();
    let verdicts = judge(&owner(), &condition(rule), &snapshots, NOW);
    let fates: Vec<(String, &String)> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Keep(Keep::Rules(_)) => format!("keep, {verdict}"),
            Verdict::Keep(_) => format!("keep {}", verdict.code()),
            Verdict::Condemn(_) => format!("delete {}", verdict.code()),
        })
        .zip(&shown)
        .collect();
    let told: Vec<String> = fates
        .chunk_by(|(fate, _), (other, _)| fate == other)
        .map(|same| match same {
            [.., (fate, last)] if same.len() > 2 => format!("{fate}: {} … {last} ({})\n", same[0].1, same.len()),
            _ => format!(
                "{}: {}\n",
                same[0].0,
                same.iter().map(|(_, shown)| shown.as_str()).collect::<Vec<_>>().join(", ")
            ),
        })
        .collect();
    expected.assert_eq(&told.concat());
}

#[test]
fn a_rule_holds_the_newest_of_each_bucket_until_it_has_as_many_as_it_says() {
    // Three a day, three days of them.
    check(
        "daily = 3",
        "2026-02-28 22:00 every 8h x 15",
        expect![[r#"
        keep newest_good: 2026-02-28 22:00
        delete thinned: 2026-02-28 14:00, 2026-02-28 06:00
        keep, daily 2 of 3: 2026-02-27 22:00
        delete thinned: 2026-02-27 14:00, 2026-02-27 06:00
        keep, daily 3 of 3: 2026-02-26 22:00
        delete thinned: 2026-02-26 14:00 … 2026-02-24 06:00 (8)
    "#]],
    );
    check(
        "last = 3",
        "2026-02-28 every 1d x 5",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, last 2 of 3: 2026-02-27
        keep, last 3 of 3: 2026-02-26
        delete thinned: 2026-02-25, 2026-02-24
    "#]],
    );
    check(
        "hourly = 3",
        "2026-02-28 20:55 every 20m x 12",
        expect![[r#"
        keep newest_good: 2026-02-28 20:55
        delete thinned: 2026-02-28 20:35, 2026-02-28 20:15
        keep, hourly 2 of 3: 2026-02-28 19:55
        delete thinned: 2026-02-28 19:35, 2026-02-28 19:15
        keep, hourly 3 of 3: 2026-02-28 18:55
        delete thinned: 2026-02-28 18:35 … 2026-02-28 17:15 (5)
    "#]],
    );
    check(
        "weekly = 3",
        "2026-02-28 every 1d x 30",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27 … 2026-02-23 (5)
        keep, weekly 2 of 3: 2026-02-22
        delete thinned: 2026-02-21 … 2026-02-16 (6)
        keep, weekly 3 of 3: 2026-02-15
        delete thinned: 2026-02-14 … 2026-01-30 (16)
    "#]],
    );
    check(
        "monthly = 3",
        "2026-02-28 every 1d x 100",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27 … 2026-02-01 (27)
        keep, monthly 2 of 3: 2026-01-31
        delete thinned: 2026-01-30 … 2026-01-01 (30)
        keep, monthly 3 of 3: 2025-12-31
        delete thinned: 2025-12-30 … 2025-11-21 (40)
    "#]],
    );
    check(
        "quarterly = 3",
        "2026-02-28 every 1d x 400",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27 … 2026-01-01 (58)
        keep, quarterly 2 of 3: 2025-12-31
        delete thinned: 2025-12-30 … 2025-10-01 (91)
        keep, quarterly 3 of 3: 2025-09-30
        delete thinned: 2025-09-29 … 2025-01-25 (248)
    "#]],
    );
    check(
        "yearly = 2",
        "2026-02-28 every 10d x 100",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-18 … 2026-01-09 (5)
        keep, yearly 2 of 2: 2025-12-30
        delete thinned: 2025-12-20 … 2023-06-14 (93)
    "#]],
    );
    check(
        "within = 48h",
        "2026-02-28 every 12h x 8",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, within 48h: 2026-02-27 14:00 … 2026-02-26 14:00 (3)
        delete thinned: 2026-02-26 … 2026-02-24 14:00 (4)
    "#]],
    );
}

#[test]
fn what_any_rule_holds_stays_and_all_that_hold_it_are_told() {
    check(
        "last = 2, daily = 3, weekly = 2, monthly = 2",
        "2026-02-28 every 12h x 90",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, last 2 of 2, daily 2 of 3: 2026-02-27 14:00
        delete thinned: 2026-02-27
        keep, daily 3 of 3: 2026-02-26 14:00
        delete thinned: 2026-02-26 … 2026-02-23 (7)
        keep, weekly 2 of 2: 2026-02-22 14:00
        delete thinned: 2026-02-22 … 2026-02-01 (43)
        keep, monthly 2 of 2: 2026-01-31 14:00
        delete thinned: 2026-01-31 … 2026-01-14 14:00 (34)
    "#]],
    );
    check(
        "hourly = 4, daily = 2, within = 3h",
        "2026-02-28 23:30 every 30m x 100",
        expect![[r#"
        keep newest_good: 2026-02-28 23:30
        keep, within 3h: 2026-02-28 23:00
        keep, hourly 2 of 4, within 3h: 2026-02-28 22:30
        keep, within 3h: 2026-02-28 22:00
        keep, hourly 3 of 4, within 3h: 2026-02-28 21:30
        keep, within 3h: 2026-02-28 21:00
        keep, hourly 4 of 4: 2026-02-28 20:30
        delete thinned: 2026-02-28 20:00 … 2026-02-28 00:00 (41)
        keep, daily 2 of 2: 2026-02-27 23:30
        delete thinned: 2026-02-27 23:00 … 2026-02-26 22:00 (51)
    "#]],
    );
}

#[test]
fn a_week_goes_over_the_new_year() {
    // 2025-12-29 is the Monday of week 1 of 2026.
    check(
        "weekly = 2",
        "2026-01-05, 2026-01-04, 2026-01-02, 2026-01-01, 2025-12-31, 2025-12-29, 2025-12-28, 2025-12-22, 2025-12-21",
        expect![[r#"
            keep newest_good: 2026-01-05
            keep, weekly 2 of 2: 2026-01-04
            delete thinned: 2026-01-02 … 2025-12-21 (7)
        "#]],
    );
    // 2020 had 53 weeks: the last went from 2020-12-28 to 2021-01-03.
    check(
        "weekly = 3",
        "2021-01-10, 2021-01-04, 2021-01-03, 2021-01-01, 2020-12-31, 2020-12-28, 2020-12-27",
        expect![[r#"
            keep newest_good: 2021-01-10
            delete thinned: 2021-01-04
            keep, weekly 2 of 3: 2021-01-03
            delete thinned: 2021-01-01 … 2020-12-28 (3)
            keep, weekly 3 of 3: 2020-12-27
        "#]],
    );
    // A year ends all the same.
    check(
        "yearly = 2",
        "2026-01-02, 2026-01-01, 2025-12-31, 2025-12-30, 2024-12-31",
        expect![[r#"
        keep newest_good: 2026-01-02
        delete thinned: 2026-01-01
        keep, yearly 2 of 2: 2025-12-31
        delete thinned: 2025-12-30, 2024-12-31
    "#]],
    );
}

#[test]
fn a_leap_day_is_a_day_of_february() {
    check(
        "daily = 3",
        "2024-03-01, 2024-02-29 14:00, 2024-02-29, 2024-02-28, 2024-02-27",
        expect![[r#"
        keep newest_good: 2024-03-01
        keep, daily 2 of 3: 2024-02-29 14:00
        delete thinned: 2024-02-29
        keep, daily 3 of 3: 2024-02-28
        delete thinned: 2024-02-27
    "#]],
    );
    check(
        "monthly = 2",
        "2024-03-01, 2024-02-29, 2024-02-28, 2024-01-31, 2024-01-30",
        expect![[r#"
        keep newest_good: 2024-03-01
        keep, monthly 2 of 2: 2024-02-29
        delete thinned: 2024-02-28 … 2024-01-30 (3)
    "#]],
    );
    check(
        "daily = 3",
        "2023-03-01, 2023-02-28 14:00, 2023-02-28, 2023-02-27, 2023-02-26",
        expect![[r#"
        keep newest_good: 2023-03-01
        keep, daily 2 of 3: 2023-02-28 14:00
        delete thinned: 2023-02-28
        keep, daily 3 of 3: 2023-02-27
        delete thinned: 2023-02-26
    "#]],
    );
}

#[test]
fn a_quarter_begins_in_january_april_july_and_october() {
    check(
        "quarterly = 4",
        "2025-12-31, 2025-10-01, 2025-09-30, 2025-07-01, 2025-06-30, 2025-04-01, 2025-03-31, 2025-01-01, 2024-12-31",
        expect![[r#"
            keep newest_good: 2025-12-31
            delete thinned: 2025-10-01
            keep, quarterly 2 of 4: 2025-09-30
            delete thinned: 2025-07-01
            keep, quarterly 3 of 4: 2025-06-30
            delete thinned: 2025-04-01
            keep, quarterly 4 of 4: 2025-03-31
            delete thinned: 2025-01-01, 2024-12-31
        "#]],
    );
    check(
        "quarterly = 2",
        "2025-04-01 00:00, 2025-03-31 23:59:59.999, 2025-01-01 00:00, 2024-12-31 23:59:59.999",
        expect![[r#"
            keep newest_good: 2025-04-01 00:00
            keep, quarterly 2 of 2: 2025-03-31 23:59:59.999
            delete thinned: 2025-01-01 00:00, 2024-12-31 23:59:59.999
        "#]],
    );
}

#[test]
fn a_day_is_one_of_the_policys_zone() {
    // 23:30 and 00:30 in Berlin, 22:30 and 23:30 in UTC.
    check(
        "daily = 2",
        "2026-01-10 23:30, 2026-01-10 22:30, 2026-01-09 23:30, 2026-01-09 22:30",
        expect![[r#"
        keep newest_good: 2026-01-10 23:30
        delete thinned: 2026-01-10 22:30
        keep, daily 2 of 2: 2026-01-09 23:30
        delete thinned: 2026-01-09 22:30
    "#]],
    );
    check(
        "daily = 2, zone = Europe/Berlin",
        "2026-01-10 23:30, 2026-01-10 22:30, 2026-01-09 23:30, 2026-01-09 22:30",
        expect![[r#"
            keep newest_good: 2026-01-10 23:30
            keep, daily 2 of 2: 2026-01-10 22:30
            delete thinned: 2026-01-09 23:30, 2026-01-09 22:30
        "#]],
    );
    // The year begins at 10:00 in Kiritimati.
    check(
        "yearly = 1, zone = Pacific/Kiritimati",
        "2025-12-31 10:00, 2025-12-31 09:59",
        expect![[r#"
        keep newest_good: 2025-12-31 10:00
        delete thinned: 2025-12-31 09:59
    "#]],
    );
    check(
        "yearly = 2, zone = Pacific/Kiritimati",
        "2025-12-31 10:01, 2025-12-31 10:00, 2025-12-31 09:59, 2025-12-31 09:58",
        expect![[r#"
            keep newest_good: 2025-12-31 10:01
            delete thinned: 2025-12-31 10:00
            keep, yearly 2 of 2: 2025-12-31 09:59
            delete thinned: 2025-12-31 09:58
        "#]],
    );
    // Hours of India begin at half past.
    check(
        "hourly = 2, zone = Asia/Kolkata",
        "2026-01-10 12:31, 2026-01-10 12:29, 2026-01-10 11:31, 2026-01-10 11:29",
        expect![[r#"
            keep newest_good: 2026-01-10 12:31
            keep, hourly 2 of 2: 2026-01-10 12:29
            delete thinned: 2026-01-10 11:31, 2026-01-10 11:29
        "#]],
    );
}

#[test]
fn an_hour_that_the_clock_leaves_out_is_no_bucket() {
    // 2025-03-30 in Berlin: after 01:59 comes 03:00, at 01:00 in UTC.
    check(
        "hourly = 3, zone = Europe/Berlin",
        "2025-03-30 02:15, 2025-03-30 01:45, 2025-03-30 01:15, 2025-03-30 00:45, 2025-03-30 00:15, 2025-03-29 23:45",
        expect![[r#"
            keep newest_good: 2025-03-30 02:15
            keep, hourly 2 of 3: 2025-03-30 01:45
            delete thinned: 2025-03-30 01:15
            keep, hourly 3 of 3: 2025-03-30 00:45
            delete thinned: 2025-03-30 00:15, 2025-03-29 23:45
        "#]],
    );
    // That day has 23 hours, and is one day.
    check(
        "daily = 3, zone = Europe/Berlin",
        "2025-03-30 22:30, 2025-03-30 21:30, 2025-03-29 23:30, 2025-03-29 22:30, 2025-03-28 23:30, 2025-03-28 22:30",
        expect![[r#"
            keep newest_good: 2025-03-30 22:30
            keep, daily 2 of 3: 2025-03-30 21:30
            delete thinned: 2025-03-29 23:30
            keep, daily 3 of 3: 2025-03-29 22:30
            delete thinned: 2025-03-28 23:30, 2025-03-28 22:30
        "#]],
    );
}

#[test]
fn an_hour_that_the_clock_repeats_is_two_buckets_and_its_day_is_one() {
    // 2025-10-26 in Berlin: 02:00 to 03:00 from 00:00 in UTC and again from 01:00.
    check(
        "hourly = 4, zone = Europe/Berlin",
        "2025-10-26 02:30, 2025-10-26 01:45, 2025-10-26 01:15, 2025-10-26 00:45, 2025-10-26 00:15, 2025-10-25 23:45, 2025-10-25 22:45",
        expect![[r#"
            keep newest_good: 2025-10-26 02:30
            keep, hourly 2 of 4: 2025-10-26 01:45
            delete thinned: 2025-10-26 01:15
            keep, hourly 3 of 4: 2025-10-26 00:45
            delete thinned: 2025-10-26 00:15
            keep, hourly 4 of 4: 2025-10-25 23:45
            delete thinned: 2025-10-25 22:45
        "#]],
    );
    // The day has 25 hours.
    check(
        "daily = 2, zone = Europe/Berlin",
        "2025-10-26 22:30, 2025-10-26 01:30, 2025-10-26 00:30, 2025-10-25 22:30, 2025-10-25 21:30",
        expect![[r#"
            keep newest_good: 2025-10-26 22:30
            delete thinned: 2025-10-26 01:30 … 2025-10-25 22:30 (3)
            keep, daily 2 of 2: 2025-10-25 21:30
        "#]],
    );
    // Lord Howe Island sets its clock back by half an hour, on 2025-04-05 at 15:00 in UTC: from 02:00 to 01:30.
    check(
        "hourly = 3, zone = Australia/Lord_Howe",
        "2025-04-05 15:40, 2025-04-05 15:20, 2025-04-05 15:10, 2025-04-05 14:50, 2025-04-05 14:10, 2025-04-05 13:50",
        expect![[r#"
            keep newest_good: 2025-04-05 15:40
            keep, hourly 2 of 3: 2025-04-05 15:20
            delete thinned: 2025-04-05 15:10
            keep, hourly 3 of 3: 2025-04-05 14:50
            delete thinned: 2025-04-05 14:10, 2025-04-05 13:50
        "#]],
    );
    // In St. John's the clock went back at a minute past midnight until 2011: a minute of Sunday, an
    // hour of Saturday, Sunday. On 2010-11-07 at 02:31 in UTC.
    check(
        "daily = 3, zone = America/St_Johns",
        "2010-11-07 12:00, 2010-11-07 03:00, 2010-11-07 02:30:30, 2010-11-07 02:00, 2010-11-06 02:00",
        expect![[r#"
            keep newest_good: 2010-11-07 12:00
            keep, daily 2 of 3: 2010-11-07 03:00
            delete thinned: 2010-11-07 02:30:30, 2010-11-07
            keep, daily 3 of 3: 2010-11-06
        "#]],
    );
}

#[test]
fn a_day_that_a_country_leaves_out_is_no_bucket() {
    // Samoa went over the date line: after 2011-12-29 came 2011-12-31, at 10:00 in UTC on the 30th.
    check(
        "daily = 3, zone = Pacific/Apia",
        "2011-12-31 12:00, 2011-12-30 12:00, 2011-12-30 08:00, 2011-12-29 08:00",
        expect![[r#"
            keep newest_good: 2011-12-31 12:00
            keep, daily 2 of 3: 2011-12-30 12:00
            keep, daily 3 of 3: 2011-12-30 08:00
            delete thinned: 2011-12-29 08:00
        "#]],
    );
}

#[test]
fn empty_buckets_use_up_nothing() {
    check(
        "daily = 4",
        "2026-02-28, 2026-02-20, 2026-02-11, 2026-01-30, 2026-01-29",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, daily 2 of 4: 2026-02-20
        keep, daily 3 of 4: 2026-02-11
        keep, daily 4 of 4: 2026-01-30
        delete thinned: 2026-01-29
    "#]],
    );
    // A machine that was off for a month and came back.
    check(
        "daily = 3, weekly = 2",
        "2026-02-27, 2026-01-26 every 1d x 9",
        expect![[r#"
        keep newest_good: 2026-02-27
        keep, daily 2 of 3, weekly 2 of 2: 2026-01-26
        keep, daily 3 of 3: 2026-01-25
        delete thinned: 2026-01-24 … 2026-01-18 (7)
    "#]],
    );
    check(
        "hourly = 3",
        "2026-02-28 23:00, 2025-02-28 23:00, 2025-02-28 22:00, 2025-02-28 21:00",
        expect![[r#"
        keep newest_good: 2026-02-28 23:00
        keep, hourly 2 of 3: 2025-02-28 23:00
        keep, hourly 3 of 3: 2025-02-28 22:00
        delete thinned: 2025-02-28 21:00
    "#]],
    );
    check(
        "monthly = 3",
        "2026-02-01, 2024-06-30, 2024-06-29, 2020-01-01, 2019-12-31",
        expect![[r#"
        keep newest_good: 2026-02-01
        keep, monthly 2 of 3: 2024-06-30
        delete thinned: 2024-06-29
        keep, monthly 3 of 3: 2020-01-01
        delete thinned: 2019-12-31
    "#]],
    );
}

#[test]
fn the_oldest_stays_while_a_rule_has_buckets_left() {
    check(
        "yearly = 3",
        "2026-02-28 every 1d x 10",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27 … 2026-02-20 (8)
        keep, oldest while yearly has 1 of 3: 2026-02-19
    "#]],
    );
    check(
        "daily = 2, yearly = 3",
        "2026-02-28 every 1d x 100",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, daily 2 of 2: 2026-02-27
        delete thinned: 2026-02-26 … 2026-01-01 (57)
        keep, yearly 2 of 3: 2025-12-31
        delete thinned: 2025-12-30 … 2025-11-22 (39)
        keep, oldest while yearly has 2 of 3: 2025-11-21
    "#]],
    );
    check(
        "daily = 5",
        "2026-02-28 14:00, 2026-02-28 13:00, 2026-02-28 12:00",
        expect![[r#"
        keep newest_good: 2026-02-28 14:00
        delete thinned: 2026-02-28 13:00
        keep, oldest while daily has 1 of 5: 2026-02-28 12:00
    "#]],
    );
    check(
        "daily = 1",
        "2026-02-28 14:00, 2026-02-28 13:00, 2026-02-28 12:00",
        expect![[r#"
        keep newest_good: 2026-02-28 14:00
        delete thinned: 2026-02-28 13:00, 2026-02-28 12:00
    "#]],
    );
    // It has a bucket of its own: it is held as any other.
    check(
        "daily = 5",
        "2026-02-28, 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, daily 2 of 5: 2026-02-27
        keep, daily 3 of 5: 2026-02-26
    "#]],
    );
    check(
        "last = 5, daily = 2",
        "2026-02-28 23:00, 2026-02-28 22:00, 2026-02-28 21:00",
        expect![[r#"
        keep newest_good: 2026-02-28 23:00
        keep, last 2 of 5: 2026-02-28 22:00
        keep, last 3 of 5, oldest while daily has 1 of 2: 2026-02-28 21:00
    "#]],
    );
    // `within` has no buckets.
    check(
        "within = 2h",
        "2026-02-28 23:00, 2026-02-28 22:00, 2026-02-28 21:00, 2026-02-28 20:00",
        expect![[r#"
        keep newest_good: 2026-02-28 23:00
        keep, within 2h: 2026-02-28 22:00
        delete thinned: 2026-02-28 21:00, 2026-02-28 20:00
    "#]],
    );
    // The oldest is held, and goes by its age all the same.
    check(
        "yearly = 3, max_age = 30d",
        "2026-02-28, 2026-02-27, 2026-01-31, 2026-01-29",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27, 2026-01-31
        delete max_age: 2026-01-29
    "#]],
    );
}

#[test]
fn fewer_snapshots_than_a_rule_holds_all_stay() {
    check(
        "last = 9",
        "2026-02-28",
        expect![[r#"
        keep newest_good: 2026-02-28
    "#]],
    );
    check(
        "last = 9",
        "2026-02-28, 2026-02-27",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, last 2 of 9: 2026-02-27
    "#]],
    );
    check(
        "last = 4294967295, yearly = 4294967295",
        "2026-02-28 every 1d x 5",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, last 2 of 4294967295: 2026-02-27
        keep, last 3 of 4294967295: 2026-02-26
        keep, last 4 of 4294967295: 2026-02-25
        keep, last 5 of 4294967295, oldest while yearly has 1 of 4294967295: 2026-02-24
    "#]],
    );
}

#[test]
fn within_is_counted_from_the_newest_good_one_and_what_is_just_as_old_is_out() {
    check(
        "within = 1d",
        "2026-02-28 12:00, 2026-02-27 12:00:00.001, 2026-02-27 12:00",
        expect![[r#"
            keep newest_good: 2026-02-28 12:00
            keep, within 1d: 2026-02-27 12:00:00.001
            delete thinned: 2026-02-27 12:00
        "#]],
    );
    // Nothing new is made for a year, and nothing more goes.
    check(
        "within = 1d",
        "2025-02-28 12:00, 2025-02-28 11:00, 2025-02-27 13:00, 2025-02-27 11:00",
        expect![[r#"
        keep newest_good: 2025-02-28 12:00
        keep, within 1d: 2025-02-28 11:00, 2025-02-27 13:00
        delete thinned: 2025-02-27 11:00
    "#]],
    );
    // Neither what failed nor what is dated ahead is what it is counted from.
    check(
        "within = 1d",
        "2026-03-08, F 2026-02-28 12:00, 2026-02-20, 2026-02-19 12:00, 2026-02-19",
        expect![[r#"
        keep future_dated: 2026-03-08
        keep failed_but_recent: F 2026-02-28 12:00
        keep newest_good: 2026-02-20
        keep, within 1d: 2026-02-19 12:00
        delete thinned: 2026-02-19
    "#]],
    );
    // Spans are exact: a day of 25 hours is longer than 1d.
    check(
        "within = 1d, zone = Europe/Berlin",
        "2025-10-26 12:00, 2025-10-25 12:30, 2025-10-25 11:30",
        expect![[r#"
        keep newest_good: 2025-10-26 12:00
        keep, within 1d: 2025-10-25 12:30
        delete thinned: 2025-10-25 11:30
    "#]],
    );
}

#[test]
fn of_two_with_one_time_the_one_that_counts_as_newer_stands_for_the_bucket() {
    check(
        "daily = 2",
        "2026-02-28, 2026-02-27, 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27
        keep, daily 2 of 2: 2026-02-27
        delete thinned: 2026-02-26
    "#]],
    );
    check(
        "last = 2",
        "2026-02-28, 2026-02-28, 2026-02-28, 2026-02-28",
        expect![[r#"
        delete thinned: 2026-02-28, 2026-02-28
        keep, last 2 of 2: 2026-02-28
        keep newest_good: 2026-02-28
    "#]],
    );
    check(
        "daily = 2",
        "2026-02-28, F 2026-02-27, 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep failed_but_recent: F 2026-02-27
        keep, daily 2 of 2: 2026-02-27
        delete thinned: 2026-02-26
    "#]],
    );
}

#[test]
fn what_is_in_use_stays_and_stands_for_its_bucket() {
    check(
        "daily = 2",
        "2026-02-28, 2026-02-27 14:00 in use, 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep in_use: 2026-02-27 14:00 in use
        delete thinned: 2026-02-27, 2026-02-26
    "#]],
    );
    check(
        "daily = 2",
        "2026-02-28, 2026-02-27 14:00, 2026-02-27 in use, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, daily 2 of 2: 2026-02-27 14:00
        keep in_use: 2026-02-27 in use
        delete thinned: 2026-02-26
    "#]],
    );
    // What no rule holds takes no place from what one holds, though it stays.
    check(
        "daily = 3, max_count = 2",
        "2026-02-28 14:00, 2026-02-28 in use, 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28 14:00
        keep in_use: 2026-02-28 in use
        keep, daily 2 of 3: 2026-02-27
        delete max_count: 2026-02-26
    "#]],
    );
}

#[test]
fn what_is_not_good_stands_for_nothing_and_goes_when_a_good_one_of_its_age_would() {
    check(
        "daily = 3",
        "2026-02-28, F 2026-02-27, 2026-02-26 14:00, F 2026-02-26 13:00, P 2026-02-26, 2026-02-25",
        expect![[r#"
            keep newest_good: 2026-02-28
            keep failed_but_recent: F 2026-02-27
            keep, daily 2 of 3: 2026-02-26 14:00
            delete failed_and_thinned: F 2026-02-26 13:00, P 2026-02-26
            keep, daily 3 of 3: 2026-02-25
        "#]],
    );
    check(
        "daily = 2",
        "2026-02-28, F 2026-02-27, F 2026-02-26, 2026-02-25, 2026-02-24, F 2026-02-23",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep failed_but_recent: F 2026-02-27, F 2026-02-26
        keep, daily 2 of 2: 2026-02-25
        delete thinned: 2026-02-24
        delete failed_and_thinned: F 2026-02-23
    "#]],
    );
    // Not as the oldest: it is no history.
    check(
        "yearly = 3",
        "2026-02-28, 2026-02-27, 2026-02-26, F 2026-02-25",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete thinned: 2026-02-27
        keep, oldest while yearly has 1 of 3: 2026-02-26
        delete failed_and_thinned: F 2026-02-25
    "#]],
    );
    check(
        "daily = 2",
        "F 2026-02-28 14:00, F 2026-02-28, 2026-02-27",
        expect![[r#"
        keep failed_but_recent: F 2026-02-28 14:00, F 2026-02-28
        keep newest_good: 2026-02-27
    "#]],
    );
    check(
        "daily = 3, max_age = 2d",
        "2026-02-28, F 2026-02-27 02:00, F 2026-02-27 01:59:59.999, F 2026-02-27",
        expect![[r#"
            keep newest_good: 2026-02-28
            keep failed_but_recent: F 2026-02-27
            delete failed_and_old: F 2026-02-27 01:59:59.999
            keep failed_but_recent: F 2026-02-27
        "#]],
    );
    check(
        "daily = 3, max_count = 1",
        "2026-02-28, F 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        delete failed_and_replaced: F 2026-02-27
        delete max_count: 2026-02-26
    "#]],
    );
    check(
        "daily = 3, max_age = 1w, max_count = 1",
        "2026-02-28, F 2026-02-27, 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep failed_but_recent: F 2026-02-27
        delete max_count: 2026-02-26
    "#]],
    );
    check(
        "within = 3d",
        "2026-02-28, F 2026-02-26, F 2026-02-25 01:00, 2026-02-24",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep failed_but_recent: F 2026-02-26
        delete failed_and_thinned: F 2026-02-25 01:00
        delete thinned: 2026-02-24
    "#]],
    );
    check(
        "last = 2",
        "2026-02-28, F 2026-02-27, 2026-02-26, F 2026-02-25",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep failed_but_recent: F 2026-02-27
        keep, last 2 of 2: 2026-02-26
        delete failed_and_thinned: F 2026-02-25
    "#]],
    );
}

#[test]
fn what_does_not_count_takes_no_bucket() {
    check(
        "daily = 2",
        "R 2026-03-01 01:00, 2026-02-28 of another policy, 2026-02-27 unstamped, 2026-02-26, 2026-02-25, 2026-02-24",
        expect![[r#"
            keep running: R 2026-03-01 01:00
            keep foreign: 2026-02-28 of another policy, 2026-02-27 unstamped
            keep newest_good: 2026-02-26
            keep, daily 2 of 2: 2026-02-25
            delete thinned: 2026-02-24
        "#]],
    );
    check(
        "daily = 2",
        "2026-03-02, 2026-02-28, 2026-02-27, 2026-02-26",
        expect![[r#"
        keep future_dated: 2026-03-02
        keep newest_good: 2026-02-28
        keep, daily 2 of 2: 2026-02-27
        delete thinned: 2026-02-26
    "#]],
    );
    // Five minutes ahead are believed.
    check(
        "daily = 2",
        "2026-03-01 02:05, 2026-03-01 02:00, 2026-02-28, 2026-02-27",
        expect![[r#"
        keep newest_good: 2026-03-01 02:05
        delete thinned: 2026-03-01
        keep, daily 2 of 2: 2026-02-28
        delete thinned: 2026-02-27
    "#]],
    );
}

#[test]
fn the_newest_min_count_good_ones_stay_whatever_the_rules_hold() {
    check(
        "daily = 2, min_count = 4",
        "2026-02-28 23:00 every 1h x 30",
        expect![[r#"
        keep newest_good: 2026-02-28 23:00
        keep min_count: 2026-02-28 22:00 … 2026-02-28 20:00 (3)
        delete thinned: 2026-02-28 19:00 … 2026-02-28 00:00 (20)
        keep, daily 2 of 2: 2026-02-27 23:00
        delete thinned: 2026-02-27 22:00 … 2026-02-27 18:00 (5)
    "#]],
    );
    check(
        "weekly = 1, min_count = 3",
        "2026-02-28, 2026-02-27, 2026-02-26, 2026-02-25",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep min_count: 2026-02-27, 2026-02-26
        delete thinned: 2026-02-25
    "#]],
    );
    check(
        "yearly = 1, min_count = 3, max_age = 1d",
        "2026-02-20, 2026-02-19, 2026-02-18, 2026-02-17",
        expect![[r#"
        keep newest_good: 2026-02-20
        keep min_count: 2026-02-19, 2026-02-18
        delete thinned: 2026-02-17
    "#]],
    );
}

#[test]
fn what_is_younger_than_min_age_stays_whatever_the_rules_hold() {
    // Strictly younger: what is exactly as old may go.
    check(
        "daily = 1, min_age = 2d",
        "2026-02-28 02:00, 2026-02-27 02:00:00.001, 2026-02-27 02:00, 2026-02-26",
        expect![[r#"
            keep newest_good: 2026-02-28
            keep min_age: 2026-02-27 02:00:00.001
            delete thinned: 2026-02-27, 2026-02-26
        "#]],
    );
    check(
        "daily = 3, min_age = 12h",
        "2026-03-01 every 2h x 20",
        expect![[r#"
        keep newest_good: 2026-03-01
        keep min_age: 2026-03-01 00:00 … 2026-02-28 16:00 (5)
        delete thinned: 2026-02-28 14:00 … 2026-02-28 00:00 (8)
        keep, daily 3 of 3: 2026-02-27 22:00
        delete thinned: 2026-02-27 20:00 … 2026-02-27 12:00 (5)
    "#]],
    );
    check(
        "max_count = 2, min_age = 3d",
        "2026-02-28, 2026-02-27, 2026-02-26 12:00, 2026-02-26, 2026-02-25",
        expect![[r#"
            keep newest_good: 2026-02-28
            keep min_age: 2026-02-27, 2026-02-26 12:00
            delete max_count: 2026-02-26, 2026-02-25
        "#]],
    );
    check(
        "max_age = 3d, min_age = 3d",
        "2026-02-28, 2026-02-26 02:00:00.001, 2026-02-26 02:00, 2026-02-26 01:59:59.999",
        expect![[r#"
            keep newest_good: 2026-02-28
            keep min_age: 2026-02-26 02:00:00.001
            keep within_condition: 2026-02-26
            delete max_age: 2026-02-26 01:59:59.999
        "#]],
    );
    check(
        "daily = 1, min_age = 2d",
        "2026-02-28, F 2026-02-27 12:00, F 2026-02-26",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep failed_but_recent: F 2026-02-27 12:00
        delete failed_and_thinned: F 2026-02-26
    "#]],
    );
    // What is young and held by no rule takes no place from what a rule holds.
    check(
        "monthly = 3, max_count = 3, min_age = 1d",
        "2026-02-28 23:00 every 1h x 12, 2026-01-31, 2025-12-31",
        expect![[r#"
            keep newest_good: 2026-02-28 23:00
            keep min_age: 2026-02-28 22:00 … 2026-02-28 12:00 (11)
            keep, monthly 2 of 3: 2026-01-31
            keep, monthly 3 of 3: 2025-12-31
        "#]],
    );
    // A date a little ahead is no negative age.
    check(
        "daily = 1, min_age = 1ms",
        "2026-03-01 02:05, 2026-03-01 02:04, 2026-03-01 01:00",
        expect![[r#"
        keep newest_good: 2026-03-01 02:05
        keep min_age: 2026-03-01 02:04
        delete thinned: 2026-03-01 01:00
    "#]],
    );
}

#[test]
fn after_thinning_age_and_then_places_among_what_is_left() {
    check(
        "daily = 7, max_age = 3d",
        "2026-02-28 every 12h x 12",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, daily 2 of 7: 2026-02-27 14:00
        delete thinned: 2026-02-27
        keep, daily 3 of 7: 2026-02-26 14:00
        delete thinned: 2026-02-26
        delete max_age: 2026-02-25 14:00
        delete thinned: 2026-02-25
        delete max_age: 2026-02-24 14:00
        delete thinned: 2026-02-24
        delete max_age: 2026-02-23 14:00
        delete thinned: 2026-02-23
        delete max_age: 2026-02-22 14:00
    "#]],
    );
    check(
        "daily = 7, max_count = 3",
        "2026-02-28 every 12h x 12",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, daily 2 of 7: 2026-02-27 14:00
        delete thinned: 2026-02-27
        keep, daily 3 of 7: 2026-02-26 14:00
        delete thinned: 2026-02-26
        delete max_count: 2026-02-25 14:00
        delete thinned: 2026-02-25
        delete max_count: 2026-02-24 14:00
        delete thinned: 2026-02-24
        delete max_count: 2026-02-23 14:00
        delete thinned: 2026-02-23
        delete max_count: 2026-02-22 14:00
    "#]],
    );
    check(
        "daily = 7, max_count = 3, min_count = 3",
        "2026-02-28 every 12h x 12",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep min_count: 2026-02-27 14:00, 2026-02-27
        delete max_count: 2026-02-26 14:00
        delete thinned: 2026-02-26
        delete max_count: 2026-02-25 14:00
        delete thinned: 2026-02-25
        delete max_count: 2026-02-24 14:00
        delete thinned: 2026-02-24
        delete max_count: 2026-02-23 14:00
        delete thinned: 2026-02-23
        delete max_count: 2026-02-22 14:00
    "#]],
    );
    check(
        "daily = 3, max_age = 2d, max_count = 2",
        "2026-02-28 14:00, 2026-02-28, 2026-02-27, 2026-02-26",
        expect![[r#"
            keep newest_good: 2026-02-28 14:00
            delete thinned: 2026-02-28
            keep, daily 2 of 3: 2026-02-27
            delete max_age: 2026-02-26
        "#]],
    );
    check(
        "hourly = 100, max_count = 2",
        "2026-02-28 every 1h x 5",
        expect![[r#"
        keep newest_good: 2026-02-28
        keep, hourly 2 of 100: 2026-02-28 01:00
        delete max_count: 2026-02-28 00:00 … 2026-02-27 22:00 (3)
    "#]],
    );
}

#[test]
fn a_ladder_of_five_years() {
    check(
        "hourly = 24, daily = 7, weekly = 4, monthly = 12, yearly = 3, zone = Europe/Berlin",
        "2026-03-01 01:00 every 1h x 43800",
        expect![[r#"
            keep newest_good: 2026-03-01 01:00
            keep, hourly 2 of 24: 2026-03-01 00:00
            keep, hourly 3 of 24: 2026-02-28 23:00
            keep, hourly 4 of 24, daily 2 of 7, monthly 2 of 12: 2026-02-28 22:00
            keep, hourly 5 of 24: 2026-02-28 21:00
            keep, hourly 6 of 24: 2026-02-28 20:00
            keep, hourly 7 of 24: 2026-02-28 19:00
            keep, hourly 8 of 24: 2026-02-28 18:00
            keep, hourly 9 of 24: 2026-02-28 17:00
            keep, hourly 10 of 24: 2026-02-28 16:00
            keep, hourly 11 of 24: 2026-02-28 15:00
            keep, hourly 12 of 24: 2026-02-28 14:00
            keep, hourly 13 of 24: 2026-02-28 13:00
            keep, hourly 14 of 24: 2026-02-28 12:00
            keep, hourly 15 of 24: 2026-02-28 11:00
            keep, hourly 16 of 24: 2026-02-28 10:00
            keep, hourly 17 of 24: 2026-02-28 09:00
            keep, hourly 18 of 24: 2026-02-28 08:00
            keep, hourly 19 of 24: 2026-02-28 07:00
            keep, hourly 20 of 24: 2026-02-28 06:00
            keep, hourly 21 of 24: 2026-02-28 05:00
            keep, hourly 22 of 24: 2026-02-28 04:00
            keep, hourly 23 of 24: 2026-02-28 03:00
            keep, hourly 24 of 24: 2026-02-28
            delete thinned: 2026-02-28 01:00 … 2026-02-27 23:00 (3)
            keep, daily 3 of 7: 2026-02-27 22:00
            delete thinned: 2026-02-27 21:00 … 2026-02-26 23:00 (23)
            keep, daily 4 of 7: 2026-02-26 22:00
            delete thinned: 2026-02-26 21:00 … 2026-02-25 23:00 (23)
            keep, daily 5 of 7: 2026-02-25 22:00
            delete thinned: 2026-02-25 21:00 … 2026-02-24 23:00 (23)
            keep, daily 6 of 7: 2026-02-24 22:00
            delete thinned: 2026-02-24 21:00 … 2026-02-23 23:00 (23)
            keep, daily 7 of 7: 2026-02-23 22:00
            delete thinned: 2026-02-23 21:00 … 2026-02-22 23:00 (23)
            keep, weekly 2 of 4: 2026-02-22 22:00
            delete thinned: 2026-02-22 21:00 … 2026-02-15 23:00 (167)
            keep, weekly 3 of 4: 2026-02-15 22:00
            delete thinned: 2026-02-15 21:00 … 2026-02-08 23:00 (167)
            keep, weekly 4 of 4: 2026-02-08 22:00
            delete thinned: 2026-02-08 21:00 … 2026-01-31 23:00 (191)
            keep, monthly 3 of 12: 2026-01-31 22:00
            delete thinned: 2026-01-31 21:00 … 2025-12-31 23:00 (743)
            keep, monthly 4 of 12, yearly 2 of 3: 2025-12-31 22:00
            delete thinned: 2025-12-31 21:00 … 2025-11-30 23:00 (743)
            keep, monthly 5 of 12: 2025-11-30 22:00
            delete thinned: 2025-11-30 21:00 … 2025-10-31 23:00 (719)
            keep, monthly 6 of 12: 2025-10-31 22:00
            delete thinned: 2025-10-31 21:00 … 2025-09-30 22:00 (744)
            keep, monthly 7 of 12: 2025-09-30 21:00
            delete thinned: 2025-09-30 20:00 … 2025-08-31 22:00 (719)
            keep, monthly 8 of 12: 2025-08-31 21:00
            delete thinned: 2025-08-31 20:00 … 2025-07-31 22:00 (743)
            keep, monthly 9 of 12: 2025-07-31 21:00
            delete thinned: 2025-07-31 20:00 … 2025-06-30 22:00 (743)
            keep, monthly 10 of 12: 2025-06-30 21:00
            delete thinned: 2025-06-30 20:00 … 2025-05-31 22:00 (719)
            keep, monthly 11 of 12: 2025-05-31 21:00
            delete thinned: 2025-05-31 20:00 … 2025-04-30 22:00 (743)
            keep, monthly 12 of 12: 2025-04-30 21:00
            delete thinned: 2025-04-30 20:00 … 2024-12-31 23:00 (2878)
            keep, yearly 3 of 3: 2024-12-31 22:00
            delete thinned: 2024-12-31 21:00 … 2021-03-02 (33620)
        "#]],
    );
}

#[test]
fn rules_that_keep_nothing_cannot_be_made() {
    let rules = |counts: &[(Every, u32)], within| KeepRules::new(counts, within, Zone::utc());
    assert_eq!(rules(&[], None), Err(BadKeepRules::Nothing));
    for every in Every::ALL {
        assert_eq!(rules(&[(every, 0)], None), Err(BadKeepRules::Zero(every)));
        assert_eq!(BadKeepRules::Zero(every).to_string(), format!("{} is zero", every.word()));
        assert!(rules(&[(every, 1)], None).is_ok());
    }
    let day = || Some(Span::parse("1d").expect("a span"));
    let two_days = Some(Span::parse("2d").expect("a span"));
    assert_eq!(rules(&[(Every::Day, 7)], day()).expect("rules").to_string(), "daily 7, within 1d in UTC");
    let limits = |limits| Condition::of(limits);
    let min_age = Limits { min_age: two_days, max_age: day(), ..Limits::default() };
    assert_eq!(limits(min_age.clone()), Err(BadCondition::MinAgeAboveMaxAge));
    assert_eq!(limits(Limits { max_age: None, ..min_age.clone() }), Err(BadCondition::Nothing));
    assert!(limits(Limits { max_age: min_age.min_age.clone(), ..min_age }).is_ok());
    assert!(limits(Limits { keep: rules(&[], day()).ok(), ..Limits::default() }).is_ok());
}
