//! Time zones by name, with rules from the system's zone files.
//!
//! The files are updated with the system, several times a year; the data embedded at build time is
//! as old as the build. So the rules come from the files, the embedded data serves where there are
//! none, and [`compare`] says where the two disagree. Files are read again when they change, some
//! minutes later at most: whoever loads a zone anew has the rules of the day.
//!
//! Only names of places are accepted, besides `UTC` and `Etc/…`: `CET` or `EST` say an offset to one
//! reader and a place to the next (S11).

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::lifecycle::time::Timestamp;
use crate::lifecycle::zone::{Rules, Zone};

/// What is wrong with a zone's name. Completes "failed to load the time zone".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ZoneError {
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to write instead, when we know.
    pub hint: Option<String>,
}

/// A zone for which the system's files and the embedded data disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The zone's name.
    pub name: String,
    /// The first instant of the year asked about at which they disagree.
    pub at: Timestamp,
    /// Seconds from UTC by the system's files, which are in force.
    pub system_seconds: i32,
    /// Seconds from UTC by the embedded data.
    pub embedded_seconds: i32,
}

/// Which releases of the zone data there are, such as `2026f`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of the system's files, where they say it. Without files the embedded data is in force.
    pub system: Option<String>,
    /// Of the embedded data.
    pub embedded: &'static str,
}

/// How far ahead zones are compared: a year and some, so that it holds every yearly change.
const COMPARE_MS: i64 = 400 * 86_400_000;

/// Where systems keep their zone files, after what `TZDIR` says: the places the zone library looks.
const DIRECTORIES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// Abbreviations and names of countries, with the place that people who write them usually mean.
const PLACES: [(&str, &str); 46] = [
    ("CET", "Europe/Berlin"),
    ("CEST", "Europe/Berlin"),
    ("MET", "Europe/Berlin"),
    ("EET", "Europe/Helsinki"),
    ("EEST", "Europe/Helsinki"),
    ("WET", "Europe/Lisbon"),
    ("BST", "Europe/London"),
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("EST5EDT", "America/New_York"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("CST6CDT", "America/Chicago"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("MST7MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("PST8PDT", "America/Los_Angeles"),
    ("HST", "Pacific/Honolulu"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("Cuba", "America/Havana"),
    ("Egypt", "Africa/Cairo"),
    ("Eire", "Europe/Dublin"),
    ("GB", "Europe/London"),
    ("GB-Eire", "Europe/London"),
    ("Hongkong", "Asia/Hong_Kong"),
    ("Iceland", "Atlantic/Reykjavik"),
    ("Iran", "Asia/Tehran"),
    ("Israel", "Asia/Jerusalem"),
    ("Jamaica", "America/Jamaica"),
    ("Japan", "Asia/Tokyo"),
    ("Kwajalein", "Pacific/Kwajalein"),
    ("Libya", "Africa/Tripoli"),
    ("NZ", "Pacific/Auckland"),
    ("NZ-CHAT", "Pacific/Chatham"),
    ("Navajo", "America/Denver"),
    ("PRC", "Asia/Shanghai"),
    ("Poland", "Europe/Warsaw"),
    ("Portugal", "Europe/Lisbon"),
    ("ROC", "Asia/Taipei"),
    ("ROK", "Asia/Seoul"),
    ("Singapore", "Asia/Singapore"),
    ("Turkey", "Europe/Istanbul"),
    ("W-SU", "Europe/Moscow"),
];

/// Loads a zone with the rules of the day.
///
/// # Errors
///
/// A name that is unknown, or no name of a place.
pub fn load(name: &str) -> Result<Zone, ZoneError> {
    if name == "UTC" {
        return Ok(Zone::utc());
    }
    let embedded = name.parse::<chrono_tz::Tz>().ok();
    let system = system(name);
    if !name.contains('/') || (embedded.is_none() && system.is_none()) {
        return Err(refuse(name, embedded.is_some() || system.is_some()));
    }
    match (system, embedded) {
        (Some(system), _) => Ok(Zone::new(name, Rules::System(system))),
        (None, Some(embedded)) => Ok(Zone::new(name, Rules::Embedded(embedded))),
        (None, None) => Err(refuse(name, false)),
    }
}

/// Returns the rules of the system's file of exactly this name.
fn system(name: &str) -> Option<jiff::tz::TimeZone> {
    // The library takes names in any case; other programs on the system do not.
    jiff::tz::TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

/// Returns the zones of `names` for which the system's files and the embedded data disagree within a
/// year from `at`. Names that only one of the two knows are passed over.
pub fn compare<'a>(names: impl IntoIterator<Item = &'a str>, at: Timestamp) -> Vec<Difference> {
    names
        .into_iter()
        .filter_map(|name| {
            let system = Zone::new(name, Rules::System(system(name)?));
            let embedded = Zone::new(name, Rules::Embedded(name.parse().ok()?));
            difference(&system, &embedded, at)
        })
        .collect()
}

fn difference(system: &Zone, embedded: &Zone, from: Timestamp) -> Option<Difference> {
    let until = from.plus(COMPARE_MS);
    let mut at = from;
    loop {
        let (system_seconds, embedded_seconds) = (system.offset_seconds(at), embedded.offset_seconds(at));
        if system_seconds != embedded_seconds {
            return Some(Difference { name: system.name().to_string(), at, system_seconds, embedded_seconds });
        }
        // They can part only where one of them changes.
        let next =
            [system, embedded].into_iter().filter_map(|zone| zone.first_change(at, until)).map(|change| change.at);
        at = next.min()?;
    }
}

/// Returns which zone data is in force, and which is embedded.
pub fn versions() -> Versions {
    let system = directories().iter().find_map(|directory| version_in(directory));
    Versions { system, embedded: chrono_tz::IANA_TZDB_VERSION }
}

fn directories() -> Vec<PathBuf> {
    let named = std::env::var_os("TZDIR").filter(|directory| !directory.is_empty()).map(PathBuf::from);
    named.into_iter().chain(DIRECTORIES.map(PathBuf::from)).collect()
}

/// Reads the release from the directory's `tzdata.zi` (`# version 2026f`) or `+VERSION` (`2026f`).
fn version_in(directory: &Path) -> Option<String> {
    let line = ["tzdata.zi", "+VERSION"].iter().find_map(|name| first_line(&directory.join(name)))?;
    let version = line.trim().trim_start_matches("# version ").trim();
    let plausible = (5..=20).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    plausible.then(|| version.to_string())
}

fn first_line(path: &Path) -> Option<String> {
    // A version is short; whatever else may be in that place is not read whole.
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?.take(100)).read_line(&mut line).ok()?;
    Some(line)
}

fn refuse(name: &str, exists: bool) -> ZoneError {
    let place = PLACES.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map(|(_, place)| *place);
    if exists || place.is_some() {
        let hint = match place {
            Some(place) => format!("write the name of a place, such as {place}"),
            None if is_utc(name) => "write UTC".to_string(),
            None => "write the name of a place, such as Europe/Berlin, or UTC".to_string(),
        };
        return ZoneError { message: format!("`{name}` is not the name of a place"), hint: Some(hint) };
    }
    let hint = if is_utc(name) { Some("UTC") } else { nearest(name) };
    ZoneError {
        message: format!("unknown time zone `{name}`"),
        hint: hint.map(|name| format!("did you mean `{name}`?")),
    }
}

fn is_utc(name: &str) -> bool {
    ["utc", "gmt", "z", "zulu", "uct", "universal", "greenwich", "gmt0", "gmt+0", "gmt-0"]
        .contains(&name.to_ascii_lowercase().as_str())
}

fn is_place(name: &str) -> bool {
    ["Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/"]
        .iter()
        .any(|area| name.starts_with(area))
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Returns the zone that was probably meant: by its city, else by likeness.
fn nearest(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace([' ', '-'], "_");
    let wanted = plain(name);
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let by_city =
        || names().filter(|name| is_place(name)).find(|name| plain(last_part(name)) == plain(last_part(&wanted)));
    let by_case = names().find(|name| plain(name) == wanted);
    by_case.or_else(by_city).or_else(|| {
        names()
            .filter(|name| name.contains('/'))
            .map(|name| (strsim::damerau_levenshtein(&wanted, &plain(name)), name))
            .min()
            // A third of the letters wrong is a guess no more.
            .filter(|(distance, name)| distance * 3 <= name.len())
            .map(|(_, name)| name)
    })
}
