use super::*;

fn refused(name: &str, message: &str, hint: &str) {
    let error = load(name).expect_err(name);
    assert_eq!((error.message.as_str(), error.hint.as_deref().unwrap_or("")), (message, hint), "{name:?}");
}

#[test]
fn zones_are_names_of_places_or_utc() {
    for name in
        ["UTC", "Etc/UTC", "Etc/GMT+5", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Pacific/Apia", "US/Pacific"]
    {
        assert_eq!(load(name).expect(name).name(), name);
    }
}

#[test]
fn abbreviations_are_refused_with_the_name_to_use() {
    let place = |place: &str| format!("write the name of a place, such as {place}");
    for (name, hint) in [
        ("CET", place("Europe/Berlin")),
        ("EST", place("America/New_York")),
        ("PST", place("America/Los_Angeles")),
        ("cest", place("Europe/Berlin")),
        ("GMT", "write UTC".to_string()),
        ("Zulu", "write UTC".to_string()),
        ("Poland", place("Europe/Warsaw")),
        ("Japan", place("Asia/Tokyo")),
        ("Singapore", place("Asia/Singapore")),
        ("EST5EDT", place("America/New_York")),
    ] {
        refused(name, &format!("`{name}` is not the name of a place"), &hint);
    }
}

#[test]
fn an_unknown_zone_is_answered_with_the_nearest() {
    for (name, meant) in [
        ("Europe/Belrin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("America/New York", "America/New_York"),
        ("US/New_York", "America/New_York"),
        ("utc", "UTC"),
    ] {
        refused(name, &format!("unknown time zone `{name}`"), &format!("did you mean `{meant}`?"));
    }
    refused("Middle-earth/Mordor", "unknown time zone `Middle-earth/Mordor`", "");
    refused("", "unknown time zone ``", "");
}

#[test]
fn no_name_leads_out_of_the_zone_files() {
    for name in [
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
        "../../../etc/passwd",
        "/etc/localtime",
        "Europe/../Europe/Berlin",
        "localtime",
        "Europe/Berlin\0",
        ":Europe/Berlin",
    ] {
        load(name).expect_err(name);
    }
}

#[test]
fn the_same_rules_are_no_difference_and_others_are_told_with_both_offsets() {
    let berlin = |name| Zone::new(name, Rules::Embedded(chrono_tz::Europe::Berlin));
    let johannesburg = Zone::new("Europe/Berlin", Rules::Embedded(chrono_tz::Africa::Johannesburg));
    // 2026-03-01T00:00:00Z: in winter Berlin is behind Johannesburg, in summer not.
    let at = Timestamp::from_seconds(1_772_323_200);
    assert_eq!(difference(&berlin("a"), &berlin("b"), at), None);
    let told = difference(&berlin("Europe/Berlin"), &johannesburg, at).expect("they differ");
    assert_eq!((told.at, told.system_seconds, told.embedded_seconds), (at, 3600, 7200));
    // 2026-07-01: both at +2 until 2026-10-25T01:00:00Z.
    let told = difference(&berlin("Europe/Berlin"), &johannesburg, Timestamp::from_seconds(1_782_864_000))
        .expect("they differ");
    assert_eq!((told.at, told.system_seconds), (Timestamp::from_seconds(1_792_890_000), 3600));
}

#[test]
fn the_release_is_read_from_the_first_line_only() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let version = |file: &str, text: &str| {
        let path = directory.path().join(file);
        std::fs::write(&path, text).expect("written");
        let version = version_in(directory.path());
        std::fs::remove_file(&path).expect("removed");
        version
    };
    assert_eq!(version("tzdata.zi", "# version 2026f\n# more\n"), Some("2026f".to_string()));
    assert_eq!(version("+VERSION", "2026f\n"), Some("2026f".to_string()));
    assert_eq!(version("tzdata.zi", "R a 1 2 - 3\n"), None);
    assert_eq!(version_in(Path::new("/nonexistent")), None);
    assert_eq!(versions().embedded, chrono_tz::IANA_TZDB_VERSION);
}

#[test]
fn every_name_that_is_refused_for_lack_of_a_place_is_answered_with_one_that_loads() {
    for (short, place) in PLACES {
        load(place).unwrap_or_else(|error| panic!("{short}: {error}"));
    }
    for zone in chrono_tz::TZ_VARIANTS.iter().filter(|zone| !zone.name().contains('/') && zone.name() != "UTC") {
        let name = zone.name();
        assert!(is_utc(name) || PLACES.iter().any(|(short, _)| *short == name), "{name}");
    }
}
