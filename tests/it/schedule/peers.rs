//! Random expressions near the changes of random zones, answered by us, by Python's cronsim and by
//! systemd. `tests/peers/schedule.sh` asks the two and explains every difference, or fails.

use std::fmt::Write;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use snapkeep::config::zone;
use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::time::Timestamp;

use super::triggers;
use crate::support::skips::tell;

const ZONES: [&str; 16] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/Los_Angeles",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Havana",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Chatham",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Africa/Casablanca",
    "Antarctica/Troll",
];

/// One process of systemd answers a whole group, so a group shares zone and instant.
const GROUPS: u64 = 300;
const GROUP_SIZE: usize = 40;

/// Steele, Lea and Flood's splitmix64: enough to scatter cases, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ number >> 31) % sides
    }

    fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.roll(u64::from(high - low) + 1) as u32
    }

    /// A field that is a star `stars` times of 16.
    fn field(&mut self, low: u32, high: u32, stars: u64, names: &[&str]) -> String {
        if self.roll(16) < stars {
            return "*".to_string();
        }
        let (one, other) = (self.between(low, high), self.between(low, high));
        // A range of one value with a step is read in two ways by others.
        let (from, to) = if one == other { (low, high) } else { (one.min(other), one.max(other)) };
        let value = |value: u32| match names.get((value - low) as usize) {
            Some(name) if one.is_multiple_of(2) => (*name).to_string(),
            _ => value.to_string(),
        };
        match self.roll(16) {
            0..8 => value(one),
            8..10 => format!("{},{}", value(one), value(other)),
            10..12 => format!("{from}-{to}"),
            12 => format!("{from}-{to}/{}", self.between(2, 7)),
            13 => format!("{one}/{}", self.between(1, 90)),
            _ => format!("*/{}", self.between(2, high)),
        }
    }

    fn expression(&mut self) -> String {
        const MONTHS: [&str; 12] = ["jan", "feb", "mar", "APR", "may", "jun", "jul", "aug", "sep", "oct", "nov", "Dec"];
        const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "SAT"];
        let minute = self.field(0, 59, 1, &[]);
        let hour = self.field(0, 23, 4, &[]);
        let day = self.field(1, 31, 12, &[]);
        let month = self.field(1, 12, 14, &MONTHS);
        let weekday = self.field(0, 7, 11, &WEEKDAYS);
        format!("{minute} {hour} {day} {month} {weekday}")
    }
}

/// Returns the cases as lines of JSON, with our answers.
fn cases(seed: u64) -> (String, usize) {
    let mut dice = Dice(seed);
    let (mut lines, mut count) = (String::new(), 0);
    for _ in 0..GROUPS {
        let name = ZONES[dice.roll(ZONES.len() as u64) as usize];
        let zone = zone::load(name).expect(name);
        // 2000 to 2036, within 36 hours of a change where there is one.
        let at = Timestamp::from_seconds(946_684_800 + dice.roll(36 * 365 * 86_400) as i64);
        let near = dice.roll(72 * 60) as i64 * 60 - 36 * 3600;
        let change = zone.first_change(at, at.plus(300 * 86_400_000)).map_or(at, |change| change.at);
        let after = change.plus(near * 1000);
        let mut left = GROUP_SIZE;
        while left > 0 {
            let expression = dice.expression();
            let Ok(schedule) = Schedule::cron(&expression, zone.clone()) else { continue };
            left -= 1;
            count += 1;
            let ours: Vec<String> = triggers(&schedule, after, 6).iter().map(|at| at.seconds().to_string()).collect();
            writeln!(
                lines,
                r#"{{"expression": "{expression}", "zone": "{name}", "after": {}, "running": {}, "ours": [{}]}}"#,
                after.seconds(),
                schedule.is_running(),
                ours.join(", ")
            )
            .expect("a String takes everything");
        }
    }
    (lines, count)
}

#[test]
fn every_difference_from_cronsim_and_systemd_is_explained() {
    let seed = match std::env::var("SNAPKEEP_SEED") {
        Ok(seed) => seed.parse().expect("SNAPKEEP_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64,
    };
    let (lines, count) = cases(seed);
    tell(&format!("{count} random schedules, SNAPKEEP_SEED={seed}"));
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temporary directory");
    let path = directory.path().join("cases.jsonl");
    std::fs::write(&path, lines).expect("written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/schedule.sh");
    let status =
        Command::new("sh").arg(script).arg(env!("CARGO_TARGET_TMPDIR")).arg(&path).status().expect("sh starts");
    assert!(status.success(), "differences that nothing explains, above; SNAPKEEP_SEED={seed}");
}
