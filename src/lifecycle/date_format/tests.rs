use super::*;
use crate::lifecycle::snapshot::SnapshotName;
use crate::lifecycle::zone::Rules;

/// 2026-03-01T02:03:04.056Z, a Sunday.
const AT: Timestamp = Timestamp::from_millis(1_772_330_584_056);

fn check(pattern: &str, expected: &str) {
    let format = DateFormat::new(pattern, Zone::utc()).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    assert_eq!(format.format(AT), expected, "{pattern}");
    SnapshotName::new(&format!("p-{expected}-abcdefgh")).expect("a date is safe in a name");
}

fn refused(pattern: &str, message: &str, hint: &str) {
    let error = DateFormat::new(pattern, Zone::utc()).expect_err(pattern);
    assert_eq!((error.message.as_str(), error.hint.as_deref().unwrap_or("")), (message, hint), "{pattern}");
}

#[test]
fn letters_mean_what_they_mean_in_java() {
    check("yyyy-MM-dd-HH:mm", "2026-03-01-02:03");
    check("yyyy-MM-dd'T'HH:mm:ss", "2026-03-01t02:03:04");
    check("uuuu.MM.dd", "2026.03.01");
    check("yyMMdd", "260301");
    check("y-M-d-H:m:s", "2026-3-1-2:3:4");
    check("dd-MMM-yyyy", "01-mar-2026");
    check("EEE-dd-MMMM", "sun-01-march");
    check("EEEE", "sunday");
    check("yyyy-DDD", "2026-060");
    check("D", "60");
    check("HHmmssSSS", "020304056");
    check("hh-a", "02-am");
    check("S-SS", "0-05");
    check("'Nightly-'yyyy", "nightly-2026");
    check("'v1.'yyyy", "v1.2026");
}

#[test]
fn named_formats_without_an_offset_are_known() {
    check("date_hour_minute_second", "2026-03-01t02:03:04");
    check("strict_date", "2026-03-01");
    check("basic_date", "20260301");
    check("ordinal_date", "2026-060");
    check("epoch_millis", "1772330584056");
    check("epoch_second", "1772330584");
}

#[test]
fn every_named_format_offered_reads_as_a_pattern() {
    for (name, pattern) in NAMED.iter().chain(&NAMED_WITH_OFFSET) {
        DateFormat::new(pattern, Zone::utc()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_does_not_belong_in_a_name_is_refused_with_what_to_write() {
    refused("", "date format is empty", "write yyyy-MM-dd-HH:mm, or leave the key out");
    refused("yyyy-MM-ddTHH", "letter `T` is not offered", "text is quoted: 'T'");
    refused(
        "YYYY-MM-dd",
        "letter `YYYY` is not offered",
        "`Y` is the year of the week, which is off by one around New Year: write yyyy",
    );
    refused(
        "yyyy-ww",
        "letter `ww` is not offered",
        "weeks have numbers that depend on the country: write the date, as in yyyy-MM-dd",
    );
    refused(
        "yyyyMMdd'T'HHmmssZ",
        "letter `Z` is not offered",
        "an offset does not fit into a name: say the zone in date_format_timezone, and leave it out here",
    );
    refused("yyyy-QQ", "letter `QQ` is not offered", &format!("letters are {LETTERS}"));
    refused(
        "yyyyy",
        "letter `y` cannot be written 5 times (`yyyyy`)",
        "write yyyy, yy, MM, MMM, dd, DDD, HH, hh, a, mm, ss, SSS or EEE",
    );
    let one_of = "between the parts of a date write one of - . _ : or a quoted letter";
    refused("yyyy/MM/dd", "a snapshot's name cannot hold '/'", one_of);
    refused("yyyy-MM-dd HH", "a snapshot's name cannot hold ' '", one_of);
    refused("yyyy''MM", "a snapshot's name cannot hold '\\''", one_of);
    refused("yyyy'ü'", "a snapshot's name cannot hold 'ü'", one_of);
    refused("yyyy||MM", "a snapshot's name cannot hold '|'", one_of);
    refused("'T", "quoted text has no end", "text is written between two quotes, as in 'T'");
    refused("yyyy..MM", "a snapshot's name cannot hold `..`", "");
    refused("yyyy.'.'MM", "a snapshot's name cannot hold `..`", "");
    refused(
        "basic_date_time_no_millis",
        "named format `basic_date_time_no_millis` writes an offset, which a snapshot's name cannot hold",
        "write yyyyMMdd'T'HHmmss",
    );
    refused(
        "strict_weekyear_week",
        "named format `strict_weekyear_week` is not known",
        "write the pattern itself, such as yyyy-MM-dd-HH:mm",
    );
    refused(&"-".repeat(55), "dates of up to 55 characters do not fit into a snapshot's name (54)", "");
}

#[test]
fn dates_are_written_in_the_zone_of_the_policy() {
    let berlin = Zone::new("Europe/Berlin", Rules::Embedded(chrono_tz::Europe::Berlin));
    let format = DateFormat::new("yyyy-MM-dd-HH:mm", berlin).expect("valid");
    assert_eq!(format.format(AT), "2026-03-01-03:03");
    // Summer, across midnight: 2026-07-31T22:30Z.
    assert_eq!(format.format(Timestamp::from_seconds(1_785_537_000)), "2026-08-01-00:30");
    assert_eq!(format.pattern(), "yyyy-MM-dd-HH:mm");
}

#[test]
fn the_default_is_compact_utc() {
    assert_eq!(DateFormat::compact().format(AT), "20260301t020304z");
    assert_eq!(DateFormat::new(COMPACT, Zone::utc()), Ok(DateFormat::compact()));
}

#[test]
fn instants_beyond_every_calendar_are_written_all_the_same() {
    for millis in [i64::MIN, i64::MAX] {
        let text = DateFormat::compact().format(Timestamp::from_millis(millis));
        assert!(!text.is_empty());
    }
}
