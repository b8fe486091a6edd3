//! Our keep rules beside `restic forget`, where it is installed: many histories, each under many policies. What
//! restic keeps is told a second time here, as short as its own code, with a switch for each difference that
//! docs/retention.md lists. With all switches off that must be restic, with all on it must be us: so no
//! difference is left that the page does not explain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jiff::Zoned;
use jiff::tz::TimeZone;
use rustic_backend::LocalBackend;
use rustic_core::{Credentials, Repository, RepositoryBackends, RepositoryOptions};
use serde_json::Value;
use snapkeep::config::zone;
use snapkeep::lifecycle::keep_rules::{Every, KeepRules};
use snapkeep::lifecycle::policy::{Condition, Limits};
use snapkeep::lifecycle::retention::{Hold, Keep, Owner, Verdict, judge};
use snapkeep::lifecycle::snapshot::{Snapshot, Status, label};
use snapkeep::lifecycle::time::{Span, Timestamp};

use crate::peers_restic::restic_is_here;
use crate::support::dice::Dice;

const HISTORIES: usize = 18;
const SNAPSHOTS: usize = 120;
const POLICIES: u64 = 30;
const PASSWORD: &str = "correct horse battery staple";
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Nobody's clock is there yet.
const FAR_AHEAD: i64 = 4_070_908_800_000;

/// One series: restic's group.
struct History {
    zone: &'static str,
    /// Newest first.
    times: Vec<Timestamp>,
}

struct Policy {
    counts: Vec<(Every, u32)>,
    within: Option<String>,
}

/// Where we differ from restic.
#[derive(Clone, Copy, Default)]
struct Ours {
    /// While a rule has buckets left it keeps the oldest too. restic does from a later version than 0.14.
    oldest: bool,
    /// An hour that the clock repeats is two.
    repeated_hour: bool,
    /// What is dated ahead of now takes no place.
    ahead: bool,
}

fn histories() -> Vec<History> {
    let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"];
    // A day after the clock of each zone was set back, where it is; a new year; a leap day.
    let set_back = [1_761_512_400_000, 1_761_526_800_000, 1_762_149_600_000, 1_761_512_400_000, 1_743_951_600_000];
    let mut all = Vec::new();
    for number in 0..HISTORIES {
        let mut dice = Dice::new(number as u64 + 1);
        let zone = number % zones.len();
        let end = match number / zones.len() {
            0 => set_back.get(zone).copied().unwrap_or(1_767_312_000_000),
            1 => 1_767_312_000_000,
            _ => 1_709_294_400_000,
        };
        let step = match number / zones.len() {
            0 => 20 * 60_000,
            _ => [20 * 60_000, HOUR, 6 * HOUR, DAY, 5 * DAY, 30 * DAY][(number + number / 6) % 6],
        };
        let mut at = end + dice.below(DAY as u64) as i64;
        let mut times = Vec::new();
        if number % 4 == 3 {
            times.extend([FAR_AHEAD + DAY, FAR_AHEAD]);
        }
        while times.len() < SNAPSHOTS && at > DAY {
            times.push(at);
            at -= match dice.below(12) {
                // The machine was off.
                0 => step * (5 + dice.below(40) as i64),
                1..4 => 1 + dice.below(step as u64 * 2) as i64,
                _ => step,
            };
        }
        let times = times.into_iter().map(Timestamp::from_millis).collect();
        all.push(History { zone: zones[zone], times });
    }
    all
}

fn policies() -> Vec<Policy> {
    let kept = Every::ALL.iter().filter(|every| **every != Every::Quarter);
    let draw = |seed| {
        let mut dice = Dice::new(1_000 + seed);
        let mut counts: Vec<(Every, u32)> = Vec::new();
        for every in kept.clone() {
            if dice.chance(40) {
                let most = if dice.chance(50) { 4 } else { 40 };
                counts.push((*every, 1 + dice.below(most) as u32));
            }
        }
        let within = match dice.below(8) {
            0 => Some(format!("{}h", 1 + dice.below(100))),
            1 => Some(format!("{}d", 1 + dice.below(60))),
            _ => None,
        };
        if counts.is_empty() && within.is_none() {
            counts.push((Every::Day, 7));
        }
        Policy { counts, within }
    };
    (0..POLICIES).map(draw).collect()
}

// ---- restic itself.

fn run_restic(repository: &Path, arguments: &[String]) -> String {
    let output = Command::new("restic")
        .args(["--no-cache", "--json", "--repo"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("TZ", "UTC")
        .output()
        .expect("restic runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "restic {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Makes a repository with all histories in it, each under a host of its own: one snapshot by restic, and copies
/// of it with other times. Whole snapshots of that repository, so to restic they are its own.
fn fill(folder: &Path, histories: &[History]) {
    let repository = folder.join("repository");
    fs::write(folder.join("page"), "one tiny file").expect("written");
    run_restic(&repository, &words("init"));
    let mut backup = words("backup --host first");
    backup.push(folder.join("page").to_str().expect("UTF-8").to_owned());
    run_restic(&repository, &backup);
    let backend = LocalBackend::new(repository.to_str().expect("UTF-8"), []).expect("a folder");
    let options = RepositoryOptions::default().no_cache(true);
    let opened = Repository::new(&options, &RepositoryBackends::new(Arc::new(backend), None))
        .and_then(|repository| repository.open(&Credentials::password(PASSWORD)))
        .expect("opened");
    let first = opened.get_all_snapshots().expect("one").pop().expect("one");
    let mut all = Vec::new();
    for (number, history) in histories.iter().enumerate() {
        let zone = TimeZone::get(history.zone).expect("a zone");
        for (place, at) in history.times.iter().enumerate() {
            let mut one = first.clone();
            let at = jiff::Timestamp::from_millisecond(at.millis()).expect("in range");
            one.time = Zoned::new(at, zone.clone());
            one.hostname = format!("h{number}");
            one.tags = format!("{place}").parse().expect("a tag");
            all.push(one);
        }
    }
    opened.save_snapshots(all).expect("saved");
}

fn place_of(snapshot: &Value) -> usize {
    snapshot["tags"][0].as_str().expect("a tag").parse().expect("a place")
}

/// Returns by history and place why restic keeps what it keeps.
fn restic_keeps(folder: &Path, policy: &Policy) -> BTreeMap<(usize, usize), BTreeSet<String>> {
    let mut arguments = words("forget --dry-run --group-by host");
    for (every, count) in &policy.counts {
        arguments.extend([format!("--keep-{}", every.word()), count.to_string()]);
    }
    if let Some(within) = &policy.within {
        arguments.extend(["--keep-within".to_owned(), within.clone()]);
    }
    let said = run_restic(&folder.join("repository"), &arguments);
    let groups: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    let mut kept = BTreeMap::new();
    for group in groups.as_array().expect("groups") {
        let Some(history) = group["host"].as_str().expect("a host").strip_prefix('h') else { continue };
        let history: usize = history.parse().expect("a number");
        for reason in group["reasons"].as_array().expect("reasons") {
            let matches = reason["matches"].as_array().expect("matches").iter();
            let rules = matches.map(|rule| {
                let rule = rule.as_str().expect("text").trim_start_matches("oldest ");
                rule.trim_end_matches(" snapshot").to_owned()
            });
            kept.insert((history, place_of(&reason["snapshot"])), rules.collect());
        }
        let kept_here = kept.keys().filter(|(other, _)| *other == history).count();
        assert_eq!(kept_here, group["keep"].as_array().map_or(0, Vec::len), "every kept one has its reasons");
    }
    kept
}

// ---- restic's rule, told a second time.

fn bucket(every: Every, place: usize, at: &Zoned, ours: Ours) -> (i64, i64) {
    let (year, month, day) = (i64::from(at.year()), i64::from(at.month()), i64::from(at.day()));
    let week = at.date().iso_week_date();
    match every {
        Every::Snapshot => (place as i64, 0),
        Every::Hour => {
            let hour = year * 1_000_000 + month * 10_000 + day * 100 + i64::from(at.hour());
            (hour, if ours.repeated_hour { i64::from(at.offset().seconds()) } else { 0 })
        }
        Every::Day => (year * 10_000 + month * 100 + day, 0),
        Every::Week => (i64::from(week.year()) * 100 + i64::from(week.week()), 0),
        Every::Month => (year * 100 + month, 0),
        Every::Quarter => unreachable!("restic has none"),
        Every::Year => (year, 0),
    }
}

fn told(history: &History, policy: &Policy, ours: Ours) -> BTreeMap<usize, BTreeSet<String>> {
    let zone = TimeZone::get(history.zone).expect("a zone");
    let is_ahead = |at: &Timestamp| at.millis() >= FAR_AHEAD;
    let times = || history.times.iter().enumerate().filter(|(_, at)| !(ours.ahead && is_ahead(at)));
    let latest = history.times.iter().find(|at| !is_ahead(at)).expect("one");
    let within =
        policy.within.as_ref().map(|within| (within, latest.plus(-Span::parse(within).expect("a span").millis())));
    let oldest = history.times.len() - 1;
    let mut buckets: Vec<_> = policy.counts.iter().map(|(every, count)| (*every, *count, None)).collect();
    let mut kept = BTreeMap::new();
    for (place, at) in times() {
        let mut rules = BTreeSet::new();
        if let Some((within, after)) = within
            && *at > after
        {
            rules.insert(format!("within {within}"));
        }
        let local = Zoned::new(jiff::Timestamp::from_millisecond(at.millis()).expect("in range"), zone.clone());
        for (every, left, last) in &mut buckets {
            let bucket = bucket(*every, place, &local, ours);
            if *left > 0 && (*last != Some(bucket) || ours.oldest && place == oldest) {
                rules.insert(every.word().to_owned());
                *last = Some(bucket);
                *left -= 1;
            }
        }
        if !rules.is_empty() {
            kept.insert(place, rules);
        }
    }
    kept
}

// ---- Ours.

fn we_keep(history: &History, policy: &Policy) -> BTreeMap<usize, BTreeSet<String>> {
    let labels = [(label::INSTALLATION, "house"), (label::POLICY_UID, "uid")];
    let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.to_string(), value.to_string())).into();
    let snapshot = |(place, at): (usize, &Timestamp)| Snapshot {
        name: place.to_string(),
        id: place.to_string(),
        taken_at: Some(*at),
        status: Status::Good,
        labels: labels.clone(),
        in_use: None,
        size_bytes: None,
    };
    let snapshots: Vec<Snapshot> = history.times.iter().enumerate().map(snapshot).collect();
    let within = policy.within.as_ref().map(|within| Span::parse(within).expect("a span"));
    let rules = KeepRules::new(&policy.counts, within, zone::load(history.zone).expect("a zone")).expect("rules");
    let condition = Condition::of(Limits { keep: Some(rules), ..Limits::default() }).expect("a condition");
    let owner = Owner { installation: "house".into(), policy_uid: "uid".into() };
    let now = history.times.iter().find(|at| at.millis() < FAR_AHEAD).expect("one").plus(HOUR);
    let mut kept = BTreeMap::new();
    for (place, verdict) in judge(&owner, &condition, &snapshots, now).into_iter().enumerate() {
        let rules = match verdict {
            Verdict::Keep(Keep::Rules(holds)) => holds
                .iter()
                .map(|hold| match hold {
                    Hold::Place { every, .. } | Hold::Oldest { every, .. } => every.word().to_owned(),
                    Hold::Within(within) => format!("within {within}"),
                })
                .collect(),
            // Protected before any rule is asked, though rules hold it too.
            Verdict::Keep(Keep::NewestGood) => BTreeSet::new(),
            Verdict::Keep(Keep::FutureDated { .. }) => continue,
            Verdict::Keep(_) => panic!("{verdict:?}"),
            Verdict::Condemn(_) => continue,
        };
        kept.insert(place, rules);
    }
    kept
}

#[test]
fn what_keep_rules_keep_is_what_restic_keeps_but_for_what_the_page_explains() {
    if !restic_is_here("whether keep rules keep what restic forget keeps") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let histories = histories();
    fill(folder.path(), &histories);
    let all = Ours { oldest: true, repeated_hour: true, ahead: true };
    let (mut compared, mut alike) = (0, 0);
    let mut differ = [0; 3];
    // A version that keeps the oldest keeps it always.
    let mut keeps_oldest = None;
    for policy in policies() {
        let restic = restic_keeps(folder.path(), &policy);
        for (number, history) in histories.iter().enumerate() {
            let what =
                || format!("history {number} in {}, {:?} within {:?}", history.zone, policy.counts, policy.within);
            let here = restic.range((number, 0)..(number + 1, 0)).map(|((_, place), rules)| (*place, rules.clone()));
            let here: BTreeMap<usize, BTreeSet<String>> = here.collect();
            let plain = told(history, &policy, Ours::default());
            let with_oldest = told(history, &policy, Ours { oldest: true, ..Ours::default() });
            if plain != with_oldest {
                let keeps = *keeps_oldest.get_or_insert(here == with_oldest);
                assert_eq!(here, if keeps { with_oldest } else { plain.clone() }, "restic: {}", what());
            } else {
                assert_eq!(here, plain, "restic: {}", what());
            }

            let mut expected = told(history, &policy, all);
            let newest = history.times.iter().position(|at| at.millis() < FAR_AHEAD).expect("one");
            expected.insert(newest, BTreeSet::new());
            assert_eq!(we_keep(history, &policy), expected, "ours: {}", what());

            compared += history.times.len();
            let without = [
                Ours { oldest: true, ..Ours::default() },
                Ours { repeated_hour: true, ..Ours::default() },
                Ours { ahead: true, ..Ours::default() },
            ];
            let is_one = without.map(|ours| told(history, &policy, ours) != plain);
            alike += usize::from(is_one == [false; 3]);
            for (count, is_one) in differ.iter_mut().zip(is_one) {
                *count += usize::from(is_one);
            }
        }
    }
    println!(
        "{compared} verdicts in {} plans: {alike} plans alike; the oldest differs in {}, a repeated hour in {}, dates ahead in {}; \
         this restic keeps the oldest: {}",
        HISTORIES as u64 * POLICIES,
        differ[0],
        differ[1],
        differ[2],
        keeps_oldest == Some(true)
    );
    // Each difference was met, and so was likeness.
    assert!(differ.iter().all(|count| *count > 0) && alike > 100, "{alike} {differ:?}");
}
