//! Answers no driver should give: whatever a program says, the host takes it literally or refuses it.
//!
//! Each answer is a proper one that chance has spoilt; the program that gives it is `cat`. What the host
//! then believes must stand in the answer, read by other means than the host's own. That it is done
//! in bounded time is part of it, and no seed may make it panic.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use snapkeep::drivers::process::{Limits, ProcessDriver, Program};
use snapkeep::drivers::{Abilities, Call, Created, Driver, Order, ProgressSink, RestoreOrder};
use snapkeep::lifecycle::plan::Target;
use snapkeep::lifecycle::snapshot::{Snapshot, SnapshotName};

use crate::support::dice::Dice;

/// Enough to meet each kind of spoiling with each verb many times; a few seconds.
const SEEDS: u64 = 600;
/// No answer costs more, however long it is: reading stops at the bounds, and a program that then
/// does not end has its grace.
const TIME_MAX: Duration = Duration::from_secs(20);

const HELLO: &str = r#"{"snapkeep":1}"#;
const PROGRESS: &str = r#"{"progress":{"doing":"packing","done":1,"total":9,"unit":"bytes"}}"#;
const FAULT: &str = r#"{"fault":{"kind":"busy","message":"locked","retry_after_ms":5}}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Create,
    Describe,
    List,
    Delete,
    Restore,
}

const ASKED: [Asked; 5] = [Asked::Create, Asked::Describe, Asked::List, Asked::Delete, Asked::Restore];

fn snapshot(name: &str, id: u64, status: &str) -> String {
    let labels = r#"{"sm_policy":"wiki","note":"\"}{"}"#;
    format!(
        r#"{{"name":"{name}","id":"{id}","taken_at_ms":1772330400000,"status":"{status}","labels":{labels},"size_bytes":{id}}}"#
    )
}

/// A proper answer.
fn proper(asked: Asked, dice: &mut Dice) -> Vec<Vec<u8>> {
    let status = ["good", "partial", "failed", "running"][dice.below(4) as usize];
    let mut lines = vec![HELLO.to_owned()];
    lines.extend((0..dice.below(3)).map(|_| PROGRESS.to_owned()));
    match asked {
        _ if dice.chance(10) => lines.push(FAULT.to_owned()),
        Asked::Create | Asked::Describe => {
            lines.push(format!(r#"{{"result":{{"snapshot":{}}}}}"#, snapshot("a-1", 7, status)));
        }
        Asked::List => {
            let count = dice.below(5);
            lines.extend((0..count).map(|id| format!(r#"{{"snapshot":{}}}"#, snapshot("a-1", id + 1, status))));
            lines.push(format!(r#"{{"result":{{"count":{count}}}}}"#));
        }
        Asked::Delete => lines.push(r#"{"result":{}}"#.to_owned()),
        Asked::Restore => lines.push(r#"{"result":{"files":3,"bytes":9}}"#.to_owned()),
    }
    lines.into_iter().map(String::into_bytes).collect()
}

/// Words that are put where others stood.
const WORDS: &[(&str, &str)] = &[
    ("a-1", "a-2"),
    ("\"a-1\"", "\"\\u0000\\u001b[2J\""),
    ("\"7\"", "\"\""),
    ("\"7\"", "7"),
    ("\"7\"", "null"),
    ("1772330400000", "9223372036854775807"),
    ("1772330400000", "-9223372036854775808"),
    ("1772330400000", "9223372036854775808"),
    ("1772330400000", "1e400"),
    ("1772330400000", "1.5"),
    ("\"size_bytes\":", "\"size_bytes\":-"),
    ("\"count\":", "\"count\":1"),
    ("\"count\":", "\"count\":-"),
    ("\"files\":3", "\"files\":18446744073709551616"),
    ("\"total\":9", "\"total\":1e99"),
    ("\"retry_after_ms\":5", "\"retry_after_ms\":18446744073709551615"),
    ("\"snapkeep\":1", "\"snapkeep\":2"),
    ("\"snapkeep\":1", "\"snapkeep\":4294967297"),
    ("\"snapkeep\":1", "\"snapkeep\":1.0"),
    ("\"snapkeep\":1", "\"snapkeep\":\"1\""),
    ("\"status\":\"", "\"status\":\"very "),
    ("\"result\"", "\"results\""),
    ("\"snapshot\":", "\"snapshot\":null,\"snapshot\":"),
    ("\"wiki\"", "{}"),
    ("busy", "sleepy"),
];

/// Spoils an answer in one way.
fn spoil(lines: &mut Vec<Vec<u8>>, dice: &mut Dice) {
    let at = dice.below(lines.len() as u64) as usize;
    let Some(line) = lines.get_mut(at) else { return };
    let within = dice.below(line.len() as u64 + 1) as usize;
    match dice.below(13) {
        // Cut: the line alone, or with all that follows.
        0 => line.truncate(within),
        1 => {
            line.truncate(within);
            lines.truncate(at + 1);
        }
        2 => drop(lines.remove(at)),
        // Doubled, and out of order.
        3 => {
            let again = line.clone();
            lines.insert(at, again);
        }
        4 => {
            let other = dice.below(lines.len() as u64) as usize;
            lines.swap(at, other);
        }
        // Binary.
        5 if within < line.len() => line[within] ^= 1 << dice.below(8),
        6 => {
            let noise: Vec<u8> = (0..dice.below(40)).map(|_| dice.next() as u8).collect();
            line.splice(within..within, noise);
        }
        // Huge: more than a line may hold, or more than an answer.
        7 => line.splice(within..within, std::iter::repeat_n(b' ', 300_000)).for_each(drop),
        8 => {
            let flood = lines[at].clone();
            let count = if dice.chance(10) { 100_000 } else { 100 };
            lines.splice(at..at, std::iter::repeat_n(flood, count)).for_each(drop);
        }
        // Deeply nested, within a line's bounds.
        9 => {
            let open = if dice.chance(50) { "[" } else { r#"{"a":"# };
            *line = format!(r#"{{"result":{}"#, open.repeat(40_000)).into_bytes();
        }
        // Lies, and numbers out of range.
        _ => {
            let (from, to) = WORDS[dice.below(WORDS.len() as u64) as usize];
            for line in lines.iter_mut() {
                if let Ok(text) = std::str::from_utf8(line) {
                    *line = text.replace(from, to).into_bytes();
                }
            }
        }
    }
}

/// Returns what the answer literally says, where it says something: all lines but the first, which
/// greets, as values. Nothing but complete lines counts.
fn literal(said: &[u8]) -> Option<Vec<Value>> {
    let text = std::str::from_utf8(said).ok()?.strip_suffix('\n')?;
    let lines: Option<Vec<Value>> = text.split('\n').map(|line| serde_json::from_str(line).ok()).collect();
    let mut lines = lines?;
    (lines.remove(0) == serde_json::json!({"snapkeep": 1})).then_some(lines)
}

/// Whether a snapshot that is believed is the one that was told.
fn is_told(believed: &Snapshot, told: &Value) -> bool {
    let taken_at = told.get("taken_at_ms").and_then(Value::as_i64);
    told["name"] == *believed.name
        && told["id"] == *believed.id
        && !believed.id.is_empty()
        && told["status"] == *believed.status.word()
        && taken_at == believed.taken_at.map(|at| at.millis())
}

/// Asks a program that says what stands in `file`. Returns whether it was believed.
async fn ask(asked: Asked, file: &Path, said: &[u8]) -> bool {
    let program =
        Program { path: "/bin/cat".into(), arguments: vec![file.into()], called: None, title: "liar".to_owned() };
    let abilities = Abilities {
        cancel: true,
        restore: true,
        restore_beside: false,
        verify: false,
        maintain: false,
        label: false,
        effects_max: 1,
    };
    let limits = Limits { output_bytes_max: 4 << 20, grace: Duration::from_secs(5), ..Limits::default() };
    let driver = ProcessDriver::new(program, Map::new(), abilities, limits);
    let call = Call { time_max: TIME_MAX, progress: ProgressSink::default() };
    let name = SnapshotName::new("a-1").expect("valid");
    let target = Target { name: "a-1".into(), id: "7".into(), taken_at: None };
    let lines = literal(said);
    let told = lines.as_deref().unwrap_or_default();
    let result = told.last().map_or(&Value::Null, |last| &last["result"]);
    let outcome = match asked {
        Asked::Create => {
            let order = Order { name, labels: Default::default(), config: Default::default() };
            driver.create(&order, &call).await.map(|created| match created {
                Created::Accepted => result["accepted"] == true,
                Created::Ended(found) => found.snapshot.name == "a-1" && is_told(&found.snapshot, &result["snapshot"]),
            })
        }
        Asked::Describe => driver.describe(&name, &call).await.map(|found| match found {
            None => result.as_object().is_some_and(|result| result["snapshot"].is_null()),
            Some(found) => found.snapshot.name == "a-1" && is_told(&found.snapshot, &result["snapshot"]),
        }),
        Asked::List => driver.list(&call).await.map(|listing| {
            let listed: Vec<&Value> = told.iter().filter_map(|line| line.get("snapshot")).collect();
            result["count"] == listed.len()
                && listing.snapshots.len() == listed.len()
                && listing.snapshots.iter().zip(listed).all(|(believed, told)| is_told(believed, told))
        }),
        Asked::Delete => driver.delete(&target, &call).await.map(|()| *result == Value::Object(Map::new())),
        Asked::Restore => {
            let order = RestoreOrder { target, to: "/nowhere".into(), include: Vec::new(), overwrite: false };
            let restored = driver.restore(&order, &call).await;
            restored.map(|restored| result["files"] == restored.files && result["bytes"] == restored.bytes)
        }
    };
    match outcome {
        Ok(is_literal) => {
            assert!(is_literal, "{asked:?}: it was believed what was not said: {}", excerpt(said));
            true
        }
        Err(fault) => {
            let shown = fault.message.chars().count() <= 4_000 && !fault.message.contains(|c: char| c.is_control());
            assert!(shown, "{asked:?}: {fault:?}");
            false
        }
    }
}

fn excerpt(said: &[u8]) -> String {
    String::from_utf8_lossy(&said[..said.len().min(2_000)]).into_owned()
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect()
}

#[tokio::test]
async fn whatever_a_program_answers_only_what_it_said_is_believed() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("answer");
    let (mut believed, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let asked = ASKED[(seed % 5) as usize];
        let mut lines = proper(asked, &mut dice);
        for _ in 0..=dice.below(3) {
            spoil(&mut lines, &mut dice);
        }
        let mut said = joined(&lines);
        if dice.chance(10) {
            said.truncate(dice.below(said.len() as u64 + 1) as usize);
        }
        fs::write(&file, &said).expect("written");
        let began = Instant::now();
        // The seed is what a failure has to name.
        let guard = Seed(seed);
        match ask(asked, &file, &said).await {
            true => believed += 1,
            false => refused += 1,
        }
        assert!(began.elapsed() < TIME_MAX, "seed {seed} took {:?}", began.elapsed());
        std::mem::forget(guard);
    }
    // Both must happen often, or it tests nothing.
    assert!(believed > SEEDS / 20 && refused > SEEDS / 3, "{believed} believed, {refused} refused");
}

/// Names the seed when a panic passes by.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        eprintln!("seed {}", self.0);
    }
}

#[tokio::test]
async fn proper_answers_are_believed_whatever_they_are() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("answer");
    for seed in 0..50 {
        let asked = ASKED[(seed % 5) as usize];
        let lines = proper(asked, &mut Dice::new(seed));
        let said = joined(&lines);
        fs::write(&file, &said).expect("written");
        let is_fault = lines.last().is_some_and(|last| last == FAULT.as_bytes());
        assert_eq!(ask(asked, &file, &said).await, !is_fault, "seed {seed}");
    }
}

#[tokio::test]
async fn an_endless_answer_ends_at_its_bound_for_every_verb() {
    for asked in ASKED {
        // What it says is never whole, so nothing of it may be believed.
        assert!(!ask(asked, Path::new("/dev/zero"), b"").await);
    }
}
