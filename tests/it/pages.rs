//! What every page of the documentation holds: links that lead somewhere, files that our own readers take, commands that may be
//! typed, and times that schedules keep. What single pages tell people to type is run in `docs.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap::error::ErrorKind;
use snapkeep::cli::arguments::Arguments;
use snapkeep::config::check_policy::{self, Names, Surroundings};
use snapkeep::config::policy_document::PolicyDocument;
use snapkeep::config::problem::Problem;
use snapkeep::config::reader::Findings;
use snapkeep::config::schedules::Schedules;
use snapkeep::config::settings::{Defaults, Settings};
use snapkeep::config::{channel, zone};
use snapkeep::drivers::registry;
use snapkeep::lifecycle::policy::Revision;
use snapkeep::lifecycle::schedule::{Calendars, Schedule};
use snapkeep::lifecycle::time::{Span, Timestamp};

use crate::support::files_below;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every page with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files = files_below(&root().join("docs"));
    files.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|page| root().join(page)));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    assert!(files.len() >= 20, "{files:?}");
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).expect("a page"))).collect()
}

/// Splits a page into its blocks of code, each with its language, and what stands around them.
fn parts(page: &str) -> (Vec<(String, String)>, String) {
    let (mut blocks, mut around, mut open) = (Vec::new(), String::new(), None::<(String, usize, String)>);
    for line in page.lines() {
        let bare = line.trim_start();
        match (&mut open, bare.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), line.len() - bare.len(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(language, _, text)| (language, text))),
            (Some((_, indent, text)), None) => {
                text.push_str(line.get(*indent..).unwrap_or_default());
                text.push('\n');
            }
            (None, None) => {
                around.push_str(line);
                around.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block has no end");
    (blocks, around)
}

/// Returns the anchors of a page: its headings, as they are shown.
fn anchors(page: &str) -> Vec<String> {
    let (_, around) = parts(page);
    let headings = around.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letter = |c: char| (c.is_alphanumeric() || c == '-' || c == '_').then_some(c).or((c == ' ').then_some('-'));
    headings.map(|heading| heading.to_lowercase().chars().filter_map(letter).collect()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for (file, page) in pages() {
        let (_, around) = parts(&page);
        for piece in around.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default();
            if target.starts_with("http") {
                continue;
            }
            count += 1;
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            let to = if path.is_empty() { file.clone() } else { file.with_file_name("").join(path) };
            assert!(to.exists(), "{}: there is no {target}", file.display());
            if let Some(anchor) = anchor {
                let known = anchors(&fs::read_to_string(&to).expect("a page"));
                assert!(known.iter().any(|known| known == anchor), "{}: no heading is {target}", file.display());
            }
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn the_index_has_every_page() {
    let index = fs::read_to_string(root().join("docs/README.md")).expect("a page");
    for file in files_below(&root().join("docs")) {
        let below = file.strip_prefix(root().join("docs")).expect("below").to_string_lossy().into_owned();
        assert!(below == "README.md" || index.contains(&format!("({below})")), "{below} is not in the index");
    }
}

/// Every name there could be.
struct Any;

impl Names for Any {
    fn has(&self, _: &str) -> bool {
        true
    }

    fn all(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// Returns what is wrong with a file of a page. What is a part of one gets what it lacks.
fn problems(text: &str) -> Option<Vec<Problem>> {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let has = |key: &str| table.contains_key(key);
    let inside = |table: &toml::Table, key: &str, inner: &str| {
        table.get(key).and_then(toml::Value::as_table).is_some_and(|table| table.contains_key(inner))
    };
    let file = Path::new("page.toml");
    let kinds = ["mail", "webhook", "ping", "command"];
    let is_channel = kinds.iter().any(|kind| table.get(*kind).is_some_and(toml::Value::is_table));
    if has("driver") {
        let kind = table["driver"].as_str().expect("a driver");
        let settings = serde_json::to_value(&table).expect("JSON");
        let mut settings = settings.as_object().expect("a table").clone();
        settings.remove("driver");
        let opened = registry::open(kind, &settings, Path::new("/etc/snapkeep"), Path::new(registry::OWN_PROGRAM));
        let wrong = opened.err().unwrap_or_default();
        return Some(wrong.into_iter().map(|problem| Problem::of_file(file, problem.message)).collect());
    }
    let is_log = inside(&table, "log", "level") && !inside(&table, "log", "format") && table.len() == 1;
    if is_channel || has("quiet_hours") || is_log {
        let kind = if is_channel || has("log") { "" } else { "\n[log]\n" };
        let text = format!("{text}{kind}");
        let mut findings = Findings::new(file, &text);
        channel::read(&mut findings, Path::new("/etc/snapkeep"));
        return Some(findings.into_problems());
    }
    if has("creation") || has("deletion") || has("snapshot_config") {
        let mut text = text.to_owned();
        if !inside(&table, "creation", "schedule") && !inside(&table, "deletion", "schedule") {
            text.push_str("\n[creation.schedule.cron]\nexpression = \"0 2 * * *\"\n");
        }
        if has("deletion") && !inside(&table, "deletion", "condition") {
            text.push_str("\n[deletion.condition]\nmax_age = \"3650d\"\nmin_age = \"1d\"\n");
        }
        if !has("snapshot_config") {
            text.push_str("\n[snapshot_config]\nrepository = \"local\"\n");
        }
        let mut findings = Findings::new(file, &text);
        let document = PolicyDocument::read(&mut findings);
        let mut around = Surroundings {
            repositories: &Any,
            channels: &Any,
            seed: "",
            schedules: &mut Schedules::new(zone::load, Calendars::default()),
        };
        check_policy::check(&mut findings, "page", Revision("page".into()), &document, &mut around);
        if has("snapshot_config") {
            let part = document.snapshot_config.as_ref().expect("there");
            let keys = part.driver.json(&mut findings);
            if let Err(problems) = registry::check_config("files", &keys, Path::new("/")) {
                for problem in problems {
                    findings.missing(problem.message);
                }
            }
        }
        return Some(findings.into_problems());
    }
    let keys =
        ["http", "clock", "housekeeping", "log", "metrics", "notification", "state_dir", "jobs_max", "stop_timeout"];
    if keys.iter().any(|key| has(key)) {
        let mut findings = Findings::new(file, text);
        Settings::read(&mut findings, Path::new("/etc/snapkeep"), &Defaults::system());
        // Which groups there are is another machine's business.
        return Some(findings.into_problems().into_iter().filter(|one| !one.message.starts_with("no group")).collect());
    }
    None
}

/// Blocks of TOML that are no file of ours, by what they begin with: two ways to write one key, and an editor's file.
const OTHERS: [&str; 2] = ["password.credential = ", "# .taplo.toml"];

#[test]
fn every_file_on_a_page_is_one_that_our_readers_take() {
    let mut count = 0;
    for (file, page) in pages() {
        for (_, text) in parts(&page).0.into_iter().filter(|(language, _)| language == "toml") {
            if OTHERS.iter().any(|other| text.starts_with(other)) {
                continue;
            }
            let found = problems(&text).unwrap_or_else(|| panic!("{}: what file is this?\n{text}", file.display()));
            let wrong: Vec<String> =
                found.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
            assert!(wrong.is_empty(), "{}:\n{text}\n{}", file.display(), wrong.join("\n"));
            count += 1;
        }
    }
    assert!(count >= 30, "{count}");
}

#[test]
fn a_file_with_a_slip_would_be_told() {
    for text in [
        "[deletion.condition]\nmax_agee = \"1d\"\n",
        "driver = \"files\"\npath = \"/x\"\nkeyfile = \"/y\"\n",
        "[mail]\nhost = \"mail.example.org\"\n",
        "[http]\nlisten = [\"0.0.0.0:9200\"]\n",
        "[snapshot_config]\nrepository = \"local\"\npath = [\"/x\"]\n[creation.schedule.cron]\nexpression = \"0 0 * * *\"\n",
    ] {
        let found = problems(text).expect("a file of ours");
        assert!(found.iter().any(Problem::is_error), "{text}");
    }
}

/// Returns the words of a command as a shell would give them to it, up to what is not its own.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '>' | '#' | ';' | '&' | '<' | '(' | ')') => break,
            // What may be left out or repeated is there once.
            (None, '[' | ']' | '…' | '\\') => {}
            (None, c) if c.is_whitespace() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (None, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Returns what stands for a word in capitals.
fn placed(word: String) -> String {
    match word.as_str() {
        "PLAN" | "NUMBER" | "N" => "1".to_owned(),
        "N%" => "10%".to_owned(),
        "ROLE" => "viewer".to_owned(),
        "SHELL" => "bash".to_owned(),
        _ => word,
    }
}

/// Returns what is wrong with a command. In a sentence it may lack arguments.
fn refused(command: &str, is_whole: bool) -> Option<String> {
    let words = words(command).into_iter().map(placed);
    let error = Arguments::command().try_get_matches_from(words).err()?;
    let lacks = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    (!is_help && (is_whole || !lacks.contains(&error.kind()))).then(|| error.to_string())
}

#[test]
fn every_command_on_a_page_may_be_typed() {
    let mut count = 0;
    for (file, page) in pages() {
        let (blocks, around) = parts(&page);
        for line in blocks.iter().flat_map(|(_, text)| text.lines()) {
            let line = line.trim_start().trim_start_matches("$ ").trim_start_matches("sudo ");
            if line.starts_with("snapkeep ") {
                count += 1;
                let wrong = refused(line, true);
                assert!(wrong.is_none(), "{}: {line}\n{}", file.display(), wrong.unwrap_or_default());
            }
        }
        for code in around.split('`').skip(1).step_by(2).filter(|code| code.starts_with("snapkeep ")) {
            count += 1;
            let wrong = refused(&code.replace('\n', " "), false);
            assert!(wrong.is_none(), "{}: {code}\n{}", file.display(), wrong.unwrap_or_default());
        }
    }
    assert!(count > 150, "{count}");
    assert!(refused("snapkeep polcy list", false).is_some() && refused("snapkeep plan x --untill 3d", false).is_some());
}

#[test]
fn the_page_about_time_says_what_schedules_do() {
    let page = fs::read_to_string(root().join("docs/time.md")).expect("a page");
    let utc = |text: &str| {
        let parsed: jiff::civil::DateTime = text.parse().expect(text);
        Timestamp::from_seconds(parsed.to_zoned(jiff::tz::TimeZone::UTC).expect(text).timestamp().as_second())
    };
    let zone = || zone::load("Europe/Berlin").expect("known");
    let between = |schedule: &Schedule, from: &str, until: &str| {
        let (mut at, until, mut found) = (utc(from), utc(until), Vec::new());
        while let Some(next) = schedule.next_after(at).filter(|next| *next <= until) {
            found.push(next.to_string());
            at = next;
        }
        found
    };
    let fixed = Schedule::cron("30 2 * * *", zone()).expect("valid");
    // 02:30 is left out in spring: at 03:00 local time, which is 01:00 UTC. In autumn it comes at 00:30 and 01:30 UTC.
    let spring = between(&fixed, "2026-03-28T12:00:00", "2026-03-29T12:00:00");
    assert!(spring.len() == 1 && spring[0].contains("01:00"), "{spring:?}");
    let autumn = between(&fixed, "2026-10-24T12:00:00", "2026-10-25T12:00:00");
    assert!(autumn.len() == 1 && autumn[0].contains("00:30"), "{autumn:?}");
    let running = Schedule::cron("*/15 * * * *", zone()).expect("valid");
    assert_eq!(between(&running, "2026-10-24T23:59:59", "2026-10-25T01:59:59").len(), 8, "02:00 to 02:45 twice");
    assert_eq!(between(&running, "2026-03-29T00:44:00", "2026-03-29T01:01:00").len(), 2, "01:45, then 03:00");
    let hours = Schedule::interval(Span::parse("1h").expect("a span"));
    assert_eq!(between(&hours, "2026-10-24T23:59:59", "2026-10-25T03:59:59").len(), 4);
    for row in [
        "| `30 2 * * *` | once, at 03:00 | once, at the first 02:30 |",
        "| `*/15 * * * *` | 01:45, then 03:00 | 02:00 to 02:45 twice |",
        "| `every = \"1h\"` | an hour apart | an hour apart |",
    ] {
        assert!(page.contains(row), "{row}");
    }
    for refused in ["0 0 2 * * *", "0 2 ? * *", "0 2 L * *", "@reboot", "0 2 */2 * mon"] {
        assert!(Schedule::cron(refused, zone()).is_err(), "{refused}");
    }
    assert!(Schedule::cron("0 2 1 * mon", zone()).is_ok());
    let zones: BTreeMap<&str, bool> =
        ["CET", "EST", "Europe/Berlin", "UTC"].into_iter().map(|name| (name, zone::load(name).is_ok())).collect();
    assert_eq!(
        zones.into_iter().collect::<Vec<_>>(),
        [("CET", false), ("EST", false), ("Europe/Berlin", true), ("UTC", true)]
    );
}
