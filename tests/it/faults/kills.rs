//! The driver's process killed at any moment of what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use snapkeep::clock;
use snapkeep::drivers::{Amount, VerifyOrder};
use snapkeep::lifecycle::snapshot::{Snapshot, Status};

use super::give_back;
use crate::driver_contract::{Fixture, call, create, files, list, name, order, target};
use crate::support::dice::Dice;
use crate::support::number;
use crate::support::skips::{not_tested, tell};
use crate::upkeep::{KEEP, ahead, maintain, noise, restic_agrees, restic_check, verify};

/// Kills in the daily run; 200 and more by `SNAPKEEP_KILLS`.
const KILLS: u64 = 15;
/// So often the repository is a new one, so that its beginning is met as well.
const NEW_EVERY: u64 = 6;
/// So often restic looks, and everything is read.
const LOOK_EVERY: u64 = 5;
/// As many snapshots as are worth deleting some of.
const SNAPSHOTS_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Beginning,
    Creating,
    Deleting,
    Maintaining,
    Labelling,
}

/// Lets a driver process begin, and kills it after `at_most`; without that it runs to its end. Returns
/// how long it lived, and whether it was over before it was killed.
fn killed(request: &Value, hours: u32, at_most: Option<Duration>) -> (Duration, bool) {
    let mut command = Command::new("/usr/bin/env");
    command.args(ahead(hours).unwrap_or_default());
    command.arg(env!("CARGO_BIN_EXE_snapkeep")).args(["driver", "files"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let began = Instant::now();
    let mut worker = command.spawn().expect("started");
    // Its input stays open: the end of it would tell it to stop.
    let mut stdin = worker.stdin.take().expect("piped");
    writeln!(stdin, "{request}").expect("written");
    let lines = BufReader::new(worker.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let (tell, told) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || lines.for_each(|line| _ = tell.send(line)));
    let mut last = String::new();
    loop {
        let left = at_most.map_or(Duration::MAX, |at_most| at_most.saturating_sub(began.elapsed()));
        let line = if at_most.is_some() { told.recv_timeout(left).ok() } else { told.recv().ok() };
        match line {
            Some(line) => last = line,
            None => break,
        }
    }
    let lived = began.elapsed();
    let _ = worker.kill();
    worker.wait().expect("reaped");
    listener.join().expect("ended");
    assert!(at_most.is_some() || last.contains("\"result\""), "{request}: {last}");
    (lived, last.contains("\"result\"") || last.contains("\"fault\""))
}

fn request(fixture: &Fixture, verb: &str, more: Value) -> Value {
    let mut request = json!({
        "snapkeep": 1, "verb": verb, "time_max_ms": 60000, "repository": {"path": fixture.repository()},
    });
    request.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
    request
}

fn creating(fixture: &Fixture, text: &str) -> Value {
    let order = order(fixture, text);
    request(fixture, "create", json!({"name": text, "labels": order.labels, "config": *order.config}))
}

/// A repository, and what has to be in it.
struct Kept {
    fixture: Fixture,
    /// By name: each snapshot, and the seed of what it keeps.
    snapshots: BTreeMap<String, (Snapshot, u64)>,
    /// Whose making was killed.
    doubtful: BTreeSet<String>,
    /// How far the clock has to be for what was marked to be removed.
    days: u32,
}

impl Kept {
    fn new() -> Kept {
        Kept { fixture: files(), snapshots: BTreeMap::new(), doubtful: BTreeSet::new(), days: 0 }
    }

    fn fill(&self, seed: u64) {
        noise(&self.fixture.source().join("large"), seed, 1_500_000);
        // A part that all of them have in common.
        noise(&self.fixture.source().join("common"), 0, 200_000);
    }

    /// Looks what is there after a kill. What was in doubt is there whole or not at all, what was not in
    /// doubt is there.
    async fn look(&mut self, doing: Doing, doubtful: &str, seed: u64, context: &str) {
        self.doubtful.insert(doubtful.to_owned());
        let described = self.fixture.driver.describe(&name(doubtful), &call()).await.expect(context);
        let listed = list(&self.fixture).await;
        for snapshot in listed.values() {
            // What was left behind by a kill is no snapshot, and is told as such until it is swept.
            let is_left = snapshot.status == Status::Failed && self.doubtful.contains(&*snapshot.name);
            assert!(is_left || snapshot.status == Status::Good, "{context}: {snapshot:?}");
            let known = self.snapshots.contains_key(&*snapshot.name) || *snapshot.name == *doubtful;
            assert!(is_left || known, "{context}: {snapshot:?}");
        }
        let there = described.map(|found| found.snapshot);
        match doing {
            Doing::Beginning | Doing::Creating => {
                if let Some(snapshot) = there {
                    self.snapshots.insert(doubtful.to_owned(), (snapshot, seed));
                }
            }
            Doing::Deleting if there.is_none() => {
                self.snapshots.remove(doubtful);
            }
            // One that was killed has changed the labels or not, and there is one of it.
            Doing::Labelling => {
                let known = self.snapshots.get_mut(doubtful).expect(context);
                let there = there.expect(context);
                let told = (there.taken_at, there.size_bytes, there.labels.get("sm_policy"));
                assert_eq!(told, (known.0.taken_at, known.0.size_bytes, known.0.labels.get("sm_policy")), "{context}");
                known.0 = there;
            }
            Doing::Deleting | Doing::Maintaining => {}
        }
        for (kept, _) in self.snapshots.values() {
            assert_eq!(listed.get(&kept.id), Some(kept), "{context}: {listed:?}");
        }
    }

    /// Reads everything.
    async fn read(&self, context: &str) {
        for (snapshot, _) in self.snapshots.values() {
            let order = VerifyOrder { target: target(snapshot), read_data_percent: 100 };
            self.fixture.driver.verify(&order, &call()).await.expect(context);
        }
        if !self.snapshots.is_empty()
            && let Some((sound, said)) = restic_check(&self.fixture, &["--read-data"])
        {
            assert!(sound, "{context}: {said}");
        }
    }

    /// Makes another one, maintains, and gets everything back.
    async fn end(mut self, seed: u64, context: &str) {
        self.fill(seed);
        let made = create(&self.fixture, "last").await.expect(context);
        assert_eq!(made.snapshot.status, Status::Good, "{context}");
        self.snapshots.insert("last".to_owned(), (made.snapshot, seed));
        self.fixture.driver.maintain(&KEEP, &call()).await.expect(context);
        let listed = list(&self.fixture).await;
        assert_eq!(listed.len(), self.snapshots.len(), "{context}: {listed:?}");
        for (number, (snapshot, seed)) in self.snapshots.values().enumerate() {
            verify(&self.fixture, snapshot, 100).await.expect(context);
            let (_, back) = give_back(&self.fixture, snapshot, &format!("back-{number}")).await.expect(context);
            self.fill(*seed);
            let (is, was) = (fs::read(back.join("large")), fs::read(self.fixture.source().join("large")));
            assert!(is.expect("there") == was.expect("there"), "{context}: {} is another", snapshot.name);
        }
        restic_agrees(&self.fixture);
    }
}

#[tokio::test]
async fn killed_at_any_moment_nothing_that_was_made_is_lost_and_nothing_half_made_counts() {
    let kills = number("SNAPKEEP_KILLS", KILLS);
    let seed = number("SNAPKEEP_SEED", clock::now().wall.millis().unsigned_abs());
    if ahead(0).is_none() {
        not_tested("a driver that is killed while it removes packs, because there is no libfaketime");
    }
    let mut dice = Dice::new(seed);
    let mut took: BTreeMap<Doing, Duration> = BTreeMap::new();
    let mut met: BTreeMap<Doing, u64> = BTreeMap::new();
    let mut kept = Kept::new();
    let (mut at_work, mut number) = (0, 0);
    // On a machine whose speed changes a process may be over before its moment comes: then others are killed,
    // three times as many at most.
    while number < kills || at_work * 3 <= kills && number < kills * 3 {
        number += 1;
        let context = format!("kill {number} of SNAPKEEP_SEED={seed}");
        if number.is_multiple_of(NEW_EVERY) {
            std::mem::replace(&mut kept, Kept::new()).end(number, &context).await;
        }
        let newest = kept.snapshots.keys().next_back().cloned();
        let doing = match dice.below(100) {
            _ if !kept.fixture.repository().join("config").exists() => Doing::Beginning,
            _ if newest.is_none() => Doing::Creating,
            0..45 if kept.snapshots.len() < SNAPSHOTS_MAX => Doing::Creating,
            0..60 => Doing::Deleting,
            60..80 => Doing::Labelling,
            _ => Doing::Maintaining,
        };
        let text = match doing {
            Doing::Deleting | Doing::Labelling => {
                let nth = dice.below(kept.snapshots.len() as u64) as usize;
                kept.snapshots.keys().nth(nth).cloned().expect("one of them")
            }
            _ => format!("s-{number:04}"),
        };
        let mut hours = 0;
        let what = match doing {
            Doing::Beginning | Doing::Creating => {
                kept.fill(number);
                creating(&kept.fixture, &text)
            }
            Doing::Deleting => {
                let id = &kept.snapshots[&text].0.id;
                request(&kept.fixture, "delete", json!({"name": text, "id": id}))
            }
            Doing::Labelling => {
                let id = &kept.snapshots[&text].0.id;
                let labels = json!({"snapkeep_hold": context});
                request(&kept.fixture, "label", json!({"name": text, "id": id, "labels": labels}))
            }
            Doing::Maintaining => {
                // What an earlier one marked is removed by a later one.
                kept.days += 1;
                hours = 25 * kept.days;
                request(&kept.fixture, "maintain", json!({"keep_ms": 0}))
            }
        };
        // The first of a kind runs to its end, to know how long that takes; then anywhere within that.
        let at_most = took.get(&doing).map(|took| took.mul_f64(dice.below(1250) as f64 / 1000.0));
        let (lived, over) = killed(&what, hours, at_most);
        if over {
            // The quickest counts: what was late was kept waiting by others.
            let took = took.entry(doing).or_insert(lived);
            *took = lived.min(*took);
        }
        *met.entry(doing).or_default() += u64::from(!over);
        at_work += u64::from(!over);
        let context = format!("{context}, {doing:?} {text} after {lived:?}");
        kept.look(doing, &text, number, &context).await;
        if doing == Doing::Beginning && kept.snapshots.is_empty() {
            // Whatever was left of a beginning, it is begun when it is asked for again.
            let made = create(&kept.fixture, &text).await.expect(&context).snapshot;
            kept.snapshots.insert(text, (made, number));
        }
        if number.is_multiple_of(LOOK_EVERY) {
            kept.read(&context).await;
        }
    }
    kept.end(number + 1, &format!("after all of SNAPKEEP_SEED={seed}")).await;
    tell(&format!("{number} kills of a driver process, {at_work} of them at work: {met:?}; each took {took:?}"));
    assert!(at_work * 3 > kills, "too few were at work: {met:?}, {took:?}");
}

#[tokio::test]
async fn what_killed_creations_left_is_swept() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let data = fixture.repository().join("data");
    let (left, young) = (format!("00{}", "7".repeat(62)), format!("00{}", "8".repeat(62)));
    let unfinished = format!("00{}-tmp-", "9".repeat(62));
    for name in [&left, &young, &unfinished] {
        noise(&data.join("00").join(name), 3, 1000);
    }
    let written = fs::File::open(data.join("00").join(&left)).expect("there");
    let long_ago =
        written.metadata().and_then(|metadata| metadata.modified()).expect("a time") - Duration::from_secs(90_000);
    written.set_modified(long_ago).expect("set");
    let there = |name: &str| data.join("00").join(name).exists();
    let seen = fixture.folder.path().join("repository.unnamed");
    // Where no index is rewritten, what was seen long ago and is old goes; otherwise it is marked like
    // anything else. A file's own time alone is not believed: it may have been copied, or the clock wrong.
    for _ in 0..2 {
        let first = maintain(&*fixture.driver).await;
        assert!(!there(&unfinished));
        assert_eq!((first.removed.count, first.kept), (0, Amount { count: 2, bytes: 2000 }), "{first:?}");
    }
    let later = |hours: i64| {
        let text = fs::read_to_string(&seen).expect("written down");
        let lines = text.lines().map(|line| {
            let (name, at) = line.split_once(' ').expect("two words");
            format!("{name} {}\n", at.parse::<i64>().expect("a time") - hours * 3_600_000)
        });
        fs::write(&seen, lines.collect::<String>()).expect("written");
    };
    // By a clock that was a year ahead: as if it had not been seen.
    later(-365 * 24);
    assert_eq!(maintain(&*fixture.driver).await.removed.count, 0);
    later(22);
    assert_eq!(maintain(&*fixture.driver).await.removed.count, 0);
    later(2);
    let swept = maintain(&*fixture.driver).await;
    assert!(there(&young), "{swept:?}");
    assert_eq!(swept.removed, Amount { count: 1, bytes: 1000 }, "{swept:?}");
    assert!(!there(&left), "{swept:?}");
    fs::remove_file(data.join("00").join(&young)).expect("removed");
    maintain(&*fixture.driver).await;
    assert!(!seen.exists());
    verify(&fixture, &made, 100).await.expect("sound");
}
