//! The walls of the house: which folder may know which, who reads the clock, and that every
//! invariant in ARCHITECTURE.md has the test it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::files_below;

/// Which parts of the crate each part may use, beside itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("lifecycle", &[]),
    ("clock", &["lifecycle"]),
    ("config", &["lifecycle", "ownership", "template"]),
    ("journal", &["lifecycle"]),
    ("drivers", &["lifecycle"]),
    ("manual", &["lifecycle"]),
    ("notify", &["lifecycle", "ownership", "template", "tls"]),
    ("roster", &["config", "drivers", "lifecycle", "notify", "ownership"]),
    ("engine", &["clock", "drivers", "journal", "lifecycle", "notify", "roster"]),
    ("housekeeping", &["engine"]),
    ("service", &["engine", "lifecycle"]),
    ("template", &["lifecycle"]),
    ("ownership", &["lifecycle"]),
    ("tls", &[]),
    ("witness", &["clock", "config", "engine", "lifecycle", "tls"]),
    ("watch", &["engine", "roster"]),
    ("upkeep", &["drivers", "engine", "lifecycle", "roster"]),
    ("editing", &["config", "engine", "watch"]),
    ("metrics", &["engine", "journal", "lifecycle", "roster"]),
    (
        "http",
        &["clock", "config", "drivers", "editing", "engine", "journal", "lifecycle", "metrics", "roster", "upkeep"],
    ),
    (
        "daemon",
        &[
            "clock",
            "config",
            "drivers",
            "editing",
            "engine",
            "housekeeping",
            "http",
            "journal",
            "lifecycle",
            "metrics",
            "roster",
            "service",
            "upkeep",
            "watch",
            "witness",
        ],
    ),
    ("cli", &["clock", "config", "daemon", "drivers", "http", "journal", "lifecycle", "manual", "roster", "tls"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// What the pure part may not touch.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "std::io",
    "std::time::SystemTime",
    "std::time::Instant",
    "async ",
    "tokio",
    "serde",
    "tracing::",
    "log::",
    "rusqlite",
    "println!",
    "Utc::now",
    "Zoned::now",
    "Timestamp::now",
    "TimeZone::get",
    "TimeZone::system",
];

/// Where tokio may appear.
const ASYNC: &[&str] = &[
    "drivers",
    "notify",
    "http",
    "watch",
    "daemon",
    "housekeeping",
    "upkeep",
    "editing",
    "tls",
    "witness",
    "engine/perform",
    "engine/event",
    "engine/mod",
    "cli",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let files = files_below(folder).into_iter();
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns the code of a file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is text");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Returns the path below `src/` without `.rs`, and the part of the crate it belongs to.
fn place(path: &Path) -> (String, String) {
    let below = path.strip_prefix(root().join("src")).expect("below src").with_extension("");
    let below = below.to_string_lossy().into_owned();
    let part = below.split('/').next().unwrap_or_default().to_string();
    (below, part)
}

fn is_test(below: &str) -> bool {
    below.ends_with("/tests") || below.contains("/tests/")
}

#[test]
fn parts_use_only_what_the_arrows_allow() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let (below, part) = place(&path);
        if is_test(&below) {
            continue;
        }
        let Some(allowed) = arrows.get(part.as_str()) else {
            wrong.push(format!("{below}: no arrows are drawn for `{part}`"));
            continue;
        };
        let code = code(&path);
        for piece in code.split("crate::").skip(1).chain(code.split("snapkeep::").skip(1)) {
            let used: String = piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if arrows.contains_key(used.as_str()) && used != part && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{below} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every row of the chapter on arrows names the parts it is about, and after them what they may use.
#[test]
fn the_page_draws_the_arrows_that_are_held() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let chapter = page.split("## Arrows").nth(1).expect("a chapter on arrows");
    let chapter = chapter.split("\n## ").next().unwrap_or_default();
    let rows: Vec<(&str, &str)> = chapter.lines().filter_map(|line| line.trim_matches('|').split_once(" | ")).collect();
    let names = |text: &str, part: &str| text.contains(&format!("`{part}`"));
    for (part, allowed) in ARROWS.iter().filter(|(part, _)| !["main", "lib"].contains(part)) {
        let row = rows.iter().find(|(parts, _)| names(parts, part));
        let (_, may_use) = row.unwrap_or_else(|| panic!("there is no row for {part}"));
        for (other, _) in ARROWS.iter().filter(|(other, _)| other != part && !may_use.contains("everything")) {
            assert_eq!(names(may_use, other), allowed.contains(other), "{part} and {other}: {may_use}");
        }
    }
}

#[test]
fn the_decisions_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src/lifecycle")) {
        let code = code(&path);
        for word in IMPURE {
            if code.contains(word) {
                wrong.push(format!("{}: {word}", place(&path).0));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// By name it is known to its own folder besides, to who writes a first set-up, and to the manual.
#[test]
fn only_the_registry_knows_the_kinds_of_drivers() {
    let kinds = snapkeep::drivers::registry::kinds();
    assert!(kinds.len() >= 2, "{kinds:?}");
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let (below, _) = place(&path);
        let own = below.split_once('/').is_some_and(|(part, rest)| {
            part == "drivers" && kinds.iter().any(|kind| rest == *kind || rest.starts_with(&format!("{kind}/")))
        });
        // Of the last two one is a hint, what to write where a repository names no driver, and one tells of every key.
        let may = ["drivers/registry", "cli/quickstart", "config/repository", "manual/keys/repository"];
        let may = may.contains(&&*below);
        if own || may || is_test(&below) {
            continue;
        }
        let code = code(&path);
        for kind in kinds {
            for quoted in [format!("\"{kind}\""), format!("\\\"{kind}\\\"")] {
                // A key of an answer may be the same word.
                if code.match_indices(&quoted).any(|(at, _)| !code[at + quoted.len()..].starts_with(':')) {
                    wrong.push(format!("{below}: {quoted}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn async_stays_at_the_edges() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let (below, _) = place(&path);
        let edge = ASYNC.iter().any(|edge| below == *edge || below.starts_with(&format!("{edge}/")));
        if !edge && !is_test(&below) && code(&path).contains("tokio::") {
            wrong.push(below);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_file_reads_the_clock_and_one_waits() {
    let mut wrong = Vec::new();
    for path in rust_files(&root().join("src")) {
        let (below, _) = place(&path);
        let code = code(&path);
        for word in ["SystemTime::now", "Instant::now", "Utc::now", "Local::now", "clock_gettime("] {
            if below != "clock" && !is_test(&below) && code.contains(word) {
                wrong.push(format!("{below}: {word}"));
            }
        }
        if code.contains("thread::sleep") && !is_test(&below) {
            wrong.push(format!("{below}: thread::sleep"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_left_unfinished_or_unsafe() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for path in rust_files(&root().join(folder)) {
            if path.ends_with("tests/it/architecture.rs") {
                continue;
            }
            let code = code(&path);
            // Two questions to the kernel have no safe wrapper: about its clock, and about a caller's groups.
            let asks_kernel = ["src/clock.rs", "src/http/peer.rs"].iter().any(|file| path.ends_with(file));
            let is_allowed = |word: &str| asks_kernel && word == "unsafe {";
            if asks_kernel {
                let text = fs::read_to_string(&path).expect("a source file is text");
                assert_eq!(code.matches("unsafe {").count(), 1, "one question to the kernel");
                assert_eq!(text.matches("// SAFETY: ").count(), 1, "and why it is sound");
            }
            for word in ["todo!(", "unimplemented!(", "unsafe {", "unsafe fn", "#[ignore"] {
                if code.contains(word) && !is_allowed(word) {
                    wrong.push(format!("{}: {word}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every numbered invariant of ARCHITECTURE.md ends with the names of its tests in backticks.
#[test]
fn every_invariant_names_a_test_that_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let tests = functions();
    let invariants = page.split("## Invariants").nth(1).expect("a chapter on invariants");
    let invariants = invariants.split("\n## ").next().unwrap_or_default();
    let mut count = 0;
    for invariant in invariants.split("\n\n").filter(|text| text.starts_with(|c: char| c.is_ascii_digit())) {
        count += 1;
        let held = invariant.split("*Held by* ").nth(1).unwrap_or_else(|| panic!("who holds this?\n{invariant}"));
        let names: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "who holds this?\n{invariant}");
        for name in names {
            assert!(tests.contains(name), "there is no test `{name}`, which is to hold\n{invariant}");
        }
    }
    assert!(count >= 10, "{count} invariants");
}

/// The names of all functions, tests among them.
pub fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in rust_files(&root().join("tests")).into_iter().chain(rust_files(&root().join("src"))) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        for piece in text.split("fn ").skip(1) {
            names.insert(piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
        }
    }
    names
}

#[test]
fn every_guard_has_a_chapter_that_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/guards.md")).expect("docs/guards.md");
    let tests = functions();
    for number in 1..=15 {
        let chapter = page.split(&format!("### G{number} ")).nth(1).unwrap_or_else(|| panic!("G{number}"));
        let chapter = chapter.split("\n### ").next().unwrap_or_default();
        let held = chapter.split("*Held by* ").nth(1).unwrap_or_else(|| panic!("who holds G{number}?"));
        for name in held.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "there is no test `{name}`, which is to hold G{number}");
        }
    }
    for name in page.split("*Held by* ").skip(1).flat_map(|held| held.split("\n\n").next()) {
        assert!(name.split('`').skip(1).step_by(2).all(|name| tests.contains(name)), "{name}");
    }
}

#[test]
fn nothing_names_the_machine_it_was_built_on() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "docs", "policies", "migrations", "packaging"] {
        for path in files_below(&root().join(folder)) {
            if fs::read_to_string(&path).is_ok_and(|text| text.contains(concat!("/wo", "rk/"))) {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
