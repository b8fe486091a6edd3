//! What people read when they wrote something wrong: every bad file with its exact message in a
//! golden file beside it, to be read in review like prose.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it policy_problems` writes the golden files anew.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use snapkeep::config::problem::Problem;
use snapkeep::config::reader::Findings;
use snapkeep::config::settings::{Defaults, Settings};
use snapkeep::config::sources::Sources;
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::roster::{Loader, Roster};

use std::sync::Arc;

fn root(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

/// The samples are what bad policies stand among.
fn samples() -> Arc<Roster> {
    Loader::new(Sources::of_file(&root("policies/snapkeep.toml")), |_, _| None)
        .load(Timestamp::from_seconds(4_000_000_000))
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    files
}

/// Compares what is said of each file of a folder with the golden file beside it.
fn check(folder: &str, say: impl Fn(&str, &str) -> Vec<Problem>) -> usize {
    let folder = root("tests/fixtures/policies/bad").join(folder);
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let files = toml_files(&folder);
    for path in &files {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("readable");
        let problems = say(&name, &text);
        assert!(!problems.is_empty(), "{name}: nothing is wrong with it");
        let said: String = problems.iter().map(|problem| format!("{problem}\n")).collect::<Vec<_>>().join("\n");
        let golden = path.with_extension("txt");
        if update {
            fs::write(&golden, &said).expect("writable");
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("{name}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "not what the golden files say:\n\n{}", wrong.join("\n"));
    files.len()
}

fn say_policy(roster: &Roster, name: &str, text: &str) -> Vec<Problem> {
    match roster.check_policy(name, &Path::new("policies.d").join(format!("{name}.toml")), text) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

#[test]
fn every_bad_policy_is_told_what_is_wrong_with_it() {
    let roster = samples();
    let count = check("", |name, text| say_policy(&roster, name, text));
    assert!(count >= 40);
}

#[test]
fn bad_settings_are_told_what_is_wrong_with_them() {
    check("settings", |_, text| {
        let mut findings = Findings::new(Path::new("snapkeep.toml"), text);
        Settings::read(&mut findings, Path::new("/"), &Defaults::system());
        findings.into_problems()
    });
}

/// Loads one file in an otherwise empty set-up.
fn say_drop_in(folder: &str, name: &str, text: &str) -> Vec<Problem> {
    let root = tempfile::tempdir().expect("a folder");
    fs::write(root.path().join("snapkeep.toml"), "").expect("writable");
    fs::create_dir(root.path().join(folder)).expect("writable");
    fs::write(root.path().join(folder).join(format!("{name}.toml")), text).expect("writable");
    let sources = Sources::of_file(&root.path().join("snapkeep.toml"));
    let roster = Loader::new(sources, |_, _| None).load(Timestamp::from_seconds(4_000_000_000));
    let below = |problem: &Problem| Arc::from(problem.file.strip_prefix(root.path()).expect("below"));
    roster.problems.iter().map(|problem| Problem { file: below(problem), ..problem.clone() }).collect()
}

#[test]
fn bad_repositories_are_told_what_is_wrong_with_them() {
    check("repositories", |name, text| say_drop_in("repositories.d", name, text));
}

#[test]
fn bad_channels_are_told_what_is_wrong_with_them() {
    check("channels", |name, text| say_drop_in("channels.d", name, text));
}

/// People write a secret where they think it belongs, and problems are logged and shown to every viewer.
#[test]
fn no_problem_of_a_channels_file_repeats_what_may_be_a_secret() {
    for text in [
        "[command]\nargv = [\"/bin/true\"]\nsecrets.token = \"hunter2\"",
        "[command]\nargv = [\"/bin/true\"]\nsecrets.token = [\"hunter2\"]",
        "[command]\nargv = [\"/bin/true\"]\nsecrets.token.text = \"hunter2\"",
        "[command]\nargv = [\"/bin/true\"]\npassword = \"hunter2\"",
        "[command]\nargv = [\"/bin/true\"]\nenv = { TOKEN = \"hunter2\" }",
        "command = { password = \"hunter2\", time_limit = 30 }",
        "command = { time_limit = 30, password = 'hunter2' }",
        "[log]\nlevel = \"warn\"\npassword = \"hunter2\"",
        "[pager]\ntoken = \"hunter2\"",
        "pager = { token = \"hunter2\" }",
        "[mail]\npassword = \"hunter2",
        "[mail]\npassword = hunter2",
        "[mail]\npassword = \"\"\"\nhunter2",
        "[mail]\npassword = truehunter2",
        "[mail]\npassword: \"hunter2\"",
        "[mail]\npassword hunter2",
        "[mail]\npassword = \"a\" \"hunter2\"",
        "[mail]\npassword = \"a\"\npassword = \"hunter2\"",
    ] {
        let problems = say_drop_in("channels.d", "x", text);
        assert!(!problems.is_empty(), "{text}");
        for problem in problems {
            let said = format!("{problem}\n{}", problem.json());
            assert!(!said.contains("hunter2"), "{text}\n{said}");
        }
    }
}

#[test]
fn a_message_has_the_shape_of_the_style_guide() {
    let text = "[creation.schedule.cron]\nexpression = \"0 2 * * *\"\n[deletion.condition]\nmax_count = 7\nmin_count = 10\n\
                [snapshot_config]\nrepository = \"local\"\npaths = [\"/srv\"]\n";
    let said: Vec<String> = say_policy(&samples(), "db", text).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["policies.d/db.toml:5:13: min_count is larger than max_count\n  min_count = 10\n              ^^\n\
          hint: max_count is 7; snapshots beyond it are deleted whatever their age"]
    );
}

#[test]
fn all_problems_of_a_file_come_at_once_each_at_its_place() {
    let text = fs::read_to_string(root("tests/fixtures/policies/bad/everything_at_once.toml")).expect("readable");
    let problems = say_policy(&samples(), "everything_at_once", &text);
    let places: Vec<(u32, u32)> = problems
        .iter()
        .map(|problem| problem.place.as_ref().map_or((0, 0), |place| (place.line, place.column)))
        .collect();
    assert_eq!(
        places,
        [(1, 1), (2, 11), (5, 14), (7, 17), (8, 12), (12, 11), (17, 14), (18, 15), (21, 14), (23, 1)],
        "{problems:#?}"
    );
}

#[test]
fn what_the_page_about_retention_tells_people_to_write_is_a_condition() {
    let page = fs::read_to_string(root("docs/retention.md")).expect("a page");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    for (number, block) in blocks.into_iter().enumerate() {
        let text = format!(
            "creation.schedule.cron.expression = \"0 * * * *\"\n\
             snapshot_config = {{ repository = \"local\", paths = [\"/srv\"] }}\n{block}"
        );
        let said: Vec<String> = say_policy(&samples_once(), "x", &text).iter().map(ToString::to_string).collect();
        // The first shows every key there is.
        assert!(said.is_empty() || number == 0 && said.iter().all(|said| said.contains("warning: ")), "{said:#?}");
    }
}

#[test]
fn keep_rules_count_in_the_zone_of_creation_else_of_deletion_else_in_utc() {
    let cron = |zone: &str| match zone {
        "" => "schedule.interval.every = \"1h\"\n".to_string(),
        "-" => "schedule.cron.expression = \"0 2 * * *\"\n".to_string(),
        _ => format!("schedule.cron.expression = \"0 2 * * *\"\nschedule.cron.timezone = \"{zone}\"\n"),
    };
    for (creation, deletion, own, expected) in [
        ("", "", "", "UTC"),
        ("-", "Asia/Tokyo", "", "UTC"),
        ("", "Asia/Tokyo", "", "Asia/Tokyo"),
        ("Europe/Berlin", "", "", "Europe/Berlin"),
        ("Europe/Berlin", "Asia/Tokyo", "", "Europe/Berlin"),
        ("Europe/Berlin", "none", "", "Europe/Berlin"),
        ("Europe/Berlin", "Asia/Tokyo", "America/New_York", "America/New_York"),
        ("Europe/Berlin", "Asia/Tokyo", "UTC", "UTC"),
    ] {
        let deletion = if deletion == "none" { String::new() } else { cron(deletion) };
        let own = if own.is_empty() { String::new() } else { format!("timezone = \"{own}\"\n") };
        let text = format!(
            "[creation]\n{}[deletion]\n{deletion}[deletion.condition.keep]\ndaily = 7\nwithin = \"2d\"\n{own}\
             [snapshot_config]\nrepository = \"local\"\npaths = [\"/srv\"]\n",
            cron(creation)
        );
        let (entry, warnings) = samples_once().check_policy("x", Path::new("policies.d/x.toml"), &text).expect(&text);
        assert_eq!(warnings, Vec::new(), "{text}");
        let rule = entry.policy.deletion.as_ref().expect("a rule");
        let told = rule.condition.keep().expect("keep rules").to_string();
        assert_eq!(told, format!("daily 7, within 2d in {expected}"), "{text}");
    }
}

#[test]
fn a_problem_is_the_same_for_programs_as_for_people() {
    let problems = say_policy(&samples(), "x", "enable = true\n[deletion]\n");
    let problem = problems.iter().find(|problem| &*problem.message == "unknown key `enable`").expect("noted");
    let json = problem.json();
    assert_eq!((&json["line"], &json["column"], &json["width"]), (&1.into(), &1.into(), &6.into()));
    assert_eq!(json["message"], "unknown key `enable`");
    assert_eq!(json["hint"], "did you mean enabled?");
    assert_eq!(json["severity"], "error");
}

/// Texts to start from: everything a test or a person wrote.
fn seeds() -> Vec<String> {
    let mut files = toml_files(&root("policies/policies.d"));
    files.extend(toml_files(&root("tests/fixtures/policies/bad")));
    files.iter().map(|path| fs::read_to_string(path).expect("readable")).collect()
}

/// Returns the text with pieces cut out, doubled or replaced.
fn mutate(text: &str, cuts: &[(usize, usize, u8, char)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (at, width, how, other) in cuts {
        if letters.is_empty() {
            break;
        }
        let at = at % letters.len();
        let end = (at + width).min(letters.len());
        match how % 3 {
            0 => drop(letters.drain(at..end)),
            1 => {
                let piece: Vec<char> = letters[at..end].to_vec();
                letters.splice(at..at, piece);
            }
            _ => letters[at] = *other,
        }
    }
    letters.into_iter().collect()
}

/// Holds for every text: it is accepted, or told at least one problem that can be printed.
fn holds(roster: &Roster, text: &str) {
    match roster.check_policy("x", Path::new("policies.d/x.toml"), text) {
        Ok((_, problems)) => assert!(problems.iter().all(|problem| !problem.is_error()), "{text}"),
        Err(problems) => {
            assert!(problems.iter().any(Problem::is_error), "refused without a reason: {text}");
            assert!(problems.iter().all(|problem| !problem.to_string().is_empty() && problem.json().is_object()));
        }
    }
    let mut findings = Findings::new(Path::new("snapkeep.toml"), text);
    Settings::read(&mut findings, Path::new("/"), &Defaults::system());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}|(\\[[a-z_.]{1,9}\\]\n|[a-z_]{1,9} ?= ?[0-9\"'{\\[a-z*/ .-]{0,12}\n){0,20}") {
        holds(&samples_once(), &text);
    }

    #[test]
    fn no_slip_of_the_hand_makes_the_reader_panic(
        seed in 0usize..1000,
        cuts in proptest::collection::vec((any::<usize>(), 1usize..40, any::<u8>(), any::<char>()), 1..6),
    ) {
        let seeds = seeds_once();
        holds(&samples_once(), &mutate(&seeds[seed % seeds.len()], &cuts));
    }
}

fn samples_once() -> Arc<Roster> {
    static ONCE: std::sync::OnceLock<Arc<Roster>> = std::sync::OnceLock::new();
    ONCE.get_or_init(samples).clone()
}

fn seeds_once() -> &'static [String] {
    static ONCE: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    ONCE.get_or_init(seeds)
}

#[test]
fn what_is_said_of_a_secret_in_a_file_does_not_repeat_it() {
    let mut said = 0;
    for line in [
        "url = \"https://user:canary@hooks.example.net/\"",
        "url = \"http://hooks.example.net/canary\"",
        "url = \"https://hooks.slack.com/services/canary\"",
        "url = \"hooks.example.net/canary\"",
        "token = \"canary\"",
        "password = \"canary\"",
        "secrets = { token = \"canary\", \"a b\" = \"canary\" }",
        "signing = { secret = \"canary\", previous_secret = \"canary\" }",
        "headers = { Authorization = \"Bearer canary\", X-Api-Key = \"canary\" }",
    ] {
        let url = if line.starts_with("url") { "" } else { "url = \"https://hooks.example.net/\"\n" };
        let problems = say_drop_in("channels.d", "x", &format!("[webhook]\n{url}{line}\n"));
        assert!(!problems.is_empty(), "{line}");
        for problem in problems {
            said += 1;
            let told = format!("{problem}\n{problem:?}\n{}", problem.json());
            assert!(!told.contains("canary"), "{told}");
        }
    }
    assert!(said >= 11, "{said}");
}
