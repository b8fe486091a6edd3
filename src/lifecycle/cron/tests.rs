use super::*;

fn refused(expression: &str, words: &str, message: &str, hint: &str) {
    let error = Cron::parse(expression).expect_err(expression);
    assert_eq!(
        (&expression[error.span.clone()], error.message.as_str(), error.hint.as_deref().unwrap_or("")),
        (words, message, hint),
        "{expression}"
    );
}

fn same(one: &str, other: &str) {
    let read =
        |expression: &str| Cron::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}")).fields;
    assert_eq!(read(one), read(other), "{one} and {other}");
}

#[test]
fn one_calendar_has_many_spellings() {
    same("0 0 * * 0", "0 0 * * 7");
    same("0 0 * * sun", "00 00 * * SUN");
    same("0 0 * * 5-7", "0 0 * * fri,sat,0");
    same("0 0 * * fri-sun", "0 0 * * 5-7");
    same("0 0 * * sat-sun", "0 0 * * 6,7");
    same("0 0 * * sun-tue", "0 0 * * 0-2");
    same("0 0 * jan-mar *", "0 0 * 1,2,3 *");
    same("5/15 * * * *", "5,20,35,50 * * * *");
    same("0 1-9/4 * * *", "0 1,5,9 * * *");
    same("*/90 * * * *", "*/60 * * * *");
    same("0 0 * * */7", "0 0 * * */7,0");
    same("@daily", "0 0 * * *");
    same("@Midnight", "@daily");
    same("@annually", "@yearly");
    same("  0\t0  * * *\n", "0 0 * * *");
    same("0 */99999999999999999999 * * *", "0 */24 * * *");
    same("0 0 30 2 1", "0 0 * 2 1");
}

#[test]
fn running_is_what_begins_with_a_star_in_minute_or_hour() {
    for (expression, running) in [
        ("* * * * *", true),
        ("*/30 1 * * *", true),
        ("0 */2 * * *", true),
        ("0 0-23 * * *", false),
        ("0 8 * * *", false),
        ("@hourly", true),
        ("@daily", false),
    ] {
        assert_eq!(Cron::parse(expression).expect(expression).is_running(), running, "{expression}");
    }
}

#[test]
fn a_fault_is_named_with_its_bytes_and_what_to_write() {
    let in_minute = "write 0-59";
    refused(
        "",
        "",
        "cron expression is empty",
        "`0 1 * * *` is every night at one, `*/15 * * * *` every quarter of an hour",
    );
    refused("a * * * *", "a", "minute `a` is not known", in_minute);
    refused("0 24 * * *", "24", "hour 24 is not in 0-23", "midnight is hour 0");
    refused("60 0 * * *", "60", "minute 60 is not in 0-59", "the full hour is minute 0");
    refused("0 0 0 * *", "0", "day of month 0 is not in 1-31", "");
    refused("0 0 1,32 * *", "32", "day of month 32 is not in 1-31", "");
    refused("0 0 * 13 *", "13", "month 13 is not in 1-12", "");
    refused("0 0 * * 8", "8", "day of week 8 is not in 0-7", "");
    refused("99999999999999999999 0 * * *", "99999999999999999999", "minute 99999999999999999999 is not in 0-59", "");
    refused("-1 0 * * *", "-1", "minute range `-1` lacks an end", "");
    refused("1- 0 * * *", "1-", "minute range `1-` lacks an end", "");
    refused("0 22-2 * * *", "22-2", "hour range `22-2` runs backwards", "write `22-23,0-2`");
    refused("0 0 * * 6-1", "6-1", "day of week range `6-1` runs backwards", "write `6,0-1`");
    refused("0 0 * * fri-mon", "fri-mon", "day of week range `fri-mon` runs backwards", "write `5-6,0-1`");
    refused("0 22-2/2 * * *", "22-2/2", "hour range `22-2` runs backwards", "");
    refused("1,,2 0 * * *", "1,,2", "minute `1,,2` has an empty item", "");
    refused(", 0 * * *", ",", "minute `,` has an empty item", "");
    refused("*/0 * * * *", "*/0", "minute step in `*/0` is zero", "");
    refused("*/x * * * *", "*/x", "minute step in `*/x` is not a number", "");
    refused("*/ * * * *", "*/", "minute step in `*/` is not a number", "");
    refused("*5 * * * *", "*5", "minute `*5` is not known", in_minute);
    refused("0 0 * febr *", "febr", "month `febr` is not known", "names have three letters: `feb`");
    refused("0 0 * * sunday", "sunday", "day of week `sunday` is not known", "names have three letters: `sun`");
    refused("0 0 * fbe *", "fbe", "month `fbe` is not known", "did you mean `feb`?");
    refused("0 0 * x *", "x", "month `x` is not known", "write 1-12 or jan-dec");
    refused("0 ä * * *", "ä", "hour `ä` is not known", "write 0-23");
    refused("0 0 mon * *", "mon", "day of month `mon` is not known", "write 1-31");
}

#[test]
fn what_other_crons_offer_is_refused_by_name() {
    let last = "the 1st of the month comes right after every last day";
    refused("0 0 L * *", "L", "`L` (the last day) is not offered", last);
    refused("0 0 * * 5L", "5L", "`L` (the last day) is not offered", last);
    refused(
        "0 0 15W * *",
        "15W",
        "`W` (the nearest working day) is not offered",
        "Monday to Friday is `1-5` as day of week",
    );
    refused(
        "0 0 * * 5#2",
        "5#2",
        "`#` (the n-th weekday of a month) is not offered",
        "days 8-14 hold each weekday's second one, but five fields cannot say both",
    );
    refused("0 0 ? * 1", "?", "`?` is another cron's way to write any", "write `*`");
    refused("@reboot", "@reboot", "@reboot is not a time", "after a start, what was missed is caught up by itself");
    refused("@dayly", "@dayly", "unknown word `@dayly`", "did you mean `@daily`?");
    refused(
        "@often",
        "@often",
        "unknown word `@often`",
        "known are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
    );
}

#[test]
fn another_number_of_fields_is_refused_with_the_five_probably_meant() {
    let order = "the five are: minute, hour, day of month, month, day of week";
    refused("0 1 * *", "0 1 * *", "cron expression has 4 fields, not five", order);
    refused("daily", "daily", "cron expression has 1 field, not five", order);
    refused(
        "0 30 2 * * 1",
        "0 30 2 * * 1",
        "cron expression has 6 fields, not five",
        "write `30 2 * * 1` if the first field was meant as seconds",
    );
    refused(
        " 0 0 * * * *",
        "0 0 * * * *",
        "cron expression has 6 fields, not five",
        "write `0 * * * *` if the first field was meant as seconds, `0 0 * * *` if the last was meant as years",
    );
    refused(
        "30 14 1 6 * 2027",
        "30 14 1 6 * 2027",
        "cron expression has 6 fields, not five",
        "write `30 14 1 6 *` if the last was meant as years",
    );
    refused(
        "0 0 12 * * 1 2027",
        "0 0 12 * * 1 2027",
        "cron expression has 7 fields, not five",
        "write `0 12 * * 1`, if the first field was meant as seconds and the last as years",
    );
    refused("a b c d e f", "a b c d e f", "cron expression has 6 fields, not five", order);
}

#[test]
fn day_fields_that_two_crons_read_differently_are_refused_with_both_readings() {
    let readings = |day: &str, weekday: &str| {
        format!(
            "day of month `{day}` with day of week `{weekday}` has two readings: days that match both (Debian's \
             cron), or days that match either (OpenSearch)"
        )
    };
    let hint = |instead: &str, of: &str| {
        format!("for either, write `{instead}` for `{of}`; for both, leave one of the two `*`")
    };
    for (expression, day, weekday, starred, instead) in [
        ("0 0 */2 * 1", "*/2", "1", "*/2", "1-31/2"),
        ("0 0 1 * */2", "1", "*/2", "*/2", "0-6/2"),
        ("0 0 */2 * */3", "*/2", "*/3", "*/2", "1-31/2"),
        ("0 0 */1 * mon", "*/1", "mon", "*/1", "1-31/1"),
        ("0 0 *,5 * 1-5", "*,5", "1-5", "*,5", "1-31,5"),
    ] {
        refused(expression, starred, &readings(day, weekday), &hint(instead, starred));
        let either = match weekday == starred {
            true => format!("0 0 {day} * {instead}"),
            false => format!("0 0 {instead} * {}", weekday.replace("*/3", "0-6/3")),
        };
        assert!(Cron::parse(&either).is_ok_and(|cron| cron.fields.either_day), "{either}");
    }
    for agreed in ["0 0 */2 * *", "0 0 * * */2", "0 0 1-31/2 * 1", "0 0 * * *"] {
        Cron::parse(agreed).expect(agreed);
    }
}

#[test]
fn dates_that_never_come_are_refused() {
    refused("0 0 30 2 *", "30 2", "day of month `30` never comes in month `2`", "the last day that comes there is 29");
    refused(
        "0 0 31 4,jun,9,11 *",
        "31 4,jun,9,11",
        "day of month `31` never comes in month `4,jun,9,11`",
        "the last day that comes there is 30",
    );
    for comes in ["0 0 29 2 *", "0 0 31 1,2 *", "0 0 30 2 1"] {
        let cron = Cron::parse(comes).expect(comes);
        assert!(cron.next_wall(0).is_some(), "{comes}");
    }
}

#[test]
fn an_endless_expression_is_refused_before_it_is_read() {
    let long = format!("{}0 0 * * *", "0,".repeat(200_000));
    let error = Cron::parse(&long).expect_err("too long");
    assert_eq!(error.message, "cron expression is longer than 1024 bytes");
    let minutes: Vec<String> = (0..60).map(|minute| minute.to_string()).collect();
    Cron::parse(&format!("{} 0 * * *", minutes.join(","))).expect("every minute written out fits");
}

#[test]
fn a_day_number_is_the_date_that_the_calendar_library_says() {
    for day in (0..48_000).chain([-1, -719_468]) {
        let date = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("valid") + chrono::Days::new(0);
        let date = date + chrono::Duration::days(day);
        use chrono::Datelike;
        assert_eq!(month_and_day(day), (date.month(), date.day()), "{day}");
    }
}

#[test]
fn counting_back_and_forth_agrees_with_stepping() {
    for expression in [
        "* * * * *",
        "*/7 3-5 * * *",
        "0 0 13 * 5",
        "59 23 31 * *",
        "0 12 29 2 *",
        "15,45 0,23 1-7 */3 *",
        "0 0 30 2 1",
    ] {
        let cron = Cron::parse(expression).expect(expression);
        let from = 1_772_330_400 + 12_345;
        let mut wall = from;
        for step in 1..=300 {
            let before = wall;
            let Some(next) = cron.next_wall(wall) else { break };
            wall = next;
            assert!(wall > before, "{expression}");
            assert_eq!(cron.count(from, wall), step, "{expression} until {wall}");
            assert_eq!(cron.count(from, wall - 1), step - 1, "{expression} until before {wall}");
            assert_eq!(cron.last_wall(wall), Some(wall), "{expression}");
            if step > 1 {
                assert_eq!(cron.last_wall(wall - 1), Some(before), "{expression}");
            }
            assert_eq!(cron.last_wall(wall + 59), Some(wall), "{expression}");
        }
    }
}

#[test]
fn the_calendar_ends_without_a_panic() {
    let cron = Cron::parse("* * * * *").expect("valid");
    assert_eq!(cron.next_wall(i64::MAX), None);
    assert_eq!(cron.next_wall(i64::MIN), Some(0));
    assert_eq!(cron.last_wall(i64::MIN), None);
    assert_eq!(cron.last_wall(i64::MAX), Some(WALL_MAX - 59));
    assert_eq!(cron.count(i64::MIN, i64::MAX), ((WALL_MAX + 1) / 60) as u64);
    assert_eq!(cron.count(i64::MAX, i64::MIN), 0);
}

#[test]
fn the_gap_floor_is_the_shortest_gap_on_the_wall_clock() {
    for (expression, minutes) in [
        ("* * * * *", 1),
        ("*/7 * * * *", 4),
        ("0 8 * * *", 1440),
        ("0 23,1 * * *", 120),
        ("0,30 8 * * *", 30),
        ("0 0 29 2 *", 1440),
    ] {
        assert_eq!(Cron::parse(expression).expect(expression).gap_floor(), minutes * 60, "{expression}");
    }
}
