//! The manual, completions and schemas: whole, clean by the tools that read them, and what the committed copy says.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it manual` writes the committed schemas anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::CommandFactory;
use serde_json::json;
use snapkeep::cli::arguments::Arguments;
use snapkeep::manual::keys::{File, Form, Table};
use snapkeep::manual::page::{Page, pages};
use snapkeep::manual::schema::schema;

use crate::support::files_below;
use crate::support::skips::not_tested;

fn root(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn snapkeep(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_snapkeep")).args(arguments).output().expect("it runs")
}

fn all() -> Vec<Page> {
    pages(&Arguments::command())
}

/// Returns what a page shows, without what steers how.
fn shown(page: &Page) -> String {
    let plain = page.text.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
    plain.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\").replace("\\&", "")
}

fn every_command<'c>(command: &'c clap::Command, path: &str, found: &mut Vec<(String, &'c clap::Command)>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        let path = format!("{path} {}", below.get_name());
        every_command(below, &path, found);
        found.push((path, below));
    }
}

#[test]
fn every_command_and_everything_that_may_be_typed_with_it_stands_in_its_page() {
    let pages = all();
    let program = Arguments::command();
    let mut commands = Vec::new();
    every_command(&program, "snapkeep", &mut commands);
    assert!(commands.len() > 50, "{}", commands.len());
    let whole = pages.iter().find(|page| page.name == "snapkeep").map(shown).expect("a page of the program");
    for argument in program.get_arguments().filter_map(|argument| argument.get_long()) {
        assert!(whole.contains(&format!("--{argument}")), "snapkeep(8) says nothing of --{argument}");
    }
    for (path, command) in commands {
        let name = path.replace(' ', "-");
        let page = pages.iter().find(|page| page.name == name && page.section == 8).map(shown);
        let page = page.unwrap_or_else(|| panic!("there is no page {name}"));
        let headings: BTreeSet<String> =
            page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|name| name.replace('"', "")).collect();
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
            assert!(headings.contains(heading), "{name} has no {heading}");
        }
        if command.get_subcommands().next().is_none() {
            assert!(whole.contains(&path), "snapkeep(8) says nothing of {path}");
        }
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let typed = match argument.get_long() {
                Some(long) => format!("--{long}"),
                None => argument.get_value_names().and_then(|names| names.first()).expect("a name").to_string(),
            };
            assert!(page.contains(&typed), "{name} says nothing of {typed}");
            // What is told of it in its help is told in the page too.
            let told = argument.get_help().map(ToString::to_string).unwrap_or_default();
            if argument.get_long() != Some("help") {
                assert!(page.contains(told.lines().next().unwrap_or_default()), "{name}: {told}");
            }
        }
    }
    for section in [".SH \"FILES\"", ".SH \"ENVIRONMENT\"", ".SH \"EXIT STATUS\"", ".SH \"SEE ALSO\""] {
        assert!(whole.contains(section), "{section}");
    }
}

/// Returns the paths of all keys.
fn keys(table: &Table, path: &str, found: &mut BTreeSet<(String, &'static str)>) {
    for key in &table.keys {
        found.insert((path.to_owned(), key.name));
        found.extend(key.alias.map(|alias| (path.to_owned(), alias)));
        let below = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        if let Form::Table(table) | Form::Items(table) = &key.form {
            keys(table, &below, found);
        }
    }
}

#[test]
fn every_key_stands_in_the_page_of_its_file() {
    let pages = all();
    for (file, name) in [
        (File::Settings, "snapkeep.toml"),
        (File::Policy, "snapkeep-policy"),
        (File::Repository, "snapkeep-repository"),
        (File::Channel, "snapkeep-channel"),
    ] {
        let page = pages.iter().find(|page| page.name == name && page.section == 5).map(shown).expect(name);
        let mut found = BTreeSet::new();
        keys(&file.table(), "", &mut found);
        assert!(found.len() >= 8);
        for (path, key) in found {
            // Below the heading of its table, up to the next.
            let chapter =
                page.split(".SH \"KEYS\"\n").nth(1).expect("a chapter").split(".SH ").next().unwrap_or_default();
            let part = chapter.split(".SS ").enumerate().find(|(number, part)| {
                let heading = part.lines().next().unwrap_or_default().trim_matches('"').trim_matches(['[', ']']);
                if path.is_empty() { *number == 0 } else { heading == path }
            });
            let part = part.map(|(_, part)| part);
            let part = part.unwrap_or_else(|| panic!("{name} has no part about {path}"));
            let is_told = part.lines().any(|line| {
                line.starts_with(&format!("{key} = ")) || line.contains(&format!("Another name of it is {key}."))
            });
            assert!(is_told, "{name} says nothing of {path}.{key}");
        }
    }
}

#[test]
fn every_page_is_clean_by_mandoc() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        not_tested("the pages of the manual, because there is no mandoc");
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let output = snapkeep(&["man", "--to", folder.path().to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = files_below(folder.path());
    let names: Vec<String> =
        files.iter().map(|file| file.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    let mut expected: Vec<String> = all().iter().map(Page::file).collect();
    expected.sort();
    assert_eq!(names, expected);
    let lint = |files: &[PathBuf]| {
        let output =
            Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(files).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(lint(&files), "");
    // It would say so.
    let broken = folder.path().join("broken.8");
    fs::write(&broken, fs::read_to_string(&files[0]).expect("a page").replace(".SH \"SEE ALSO\"", ".SX \"SEE ALSO\""))
        .expect("written");
    assert_ne!(lint(&[broken]), "");
}

#[test]
fn a_page_is_printed_listed_and_what_is_none_is_refused() {
    let listed = snapkeep(&["man"]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    assert_eq!(listed.lines().count(), all().len());
    assert!(listed.lines().any(|line| line.starts_with("snapkeep-policy.5 ")), "{listed}");
    for wanted in ["snapkeep-policy.5", "policy.5"] {
        let page = String::from_utf8(snapkeep(&["man", wanted]).stdout).expect("text");
        assert!(page.starts_with(".TH \"snapkeep\\-policy\" \"5\""), "{page}");
    }
    let refused = snapkeep(&["man", "polcy"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(said, "snapkeep: there is no page `polcy`\nhint: `snapkeep man` lists those that there are\n");
}

#[test]
fn shells_take_the_completions_and_know_every_command() {
    let mut commands = Vec::new();
    let program = Arguments::command();
    every_command(&program, "snapkeep", &mut commands);
    for shell in ["bash", "zsh", "fish"] {
        let output = snapkeep(&["completions", shell]);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        for (path, _) in &commands {
            let last = path.rsplit(' ').next().unwrap_or_default();
            assert!(text.contains(last), "{shell}: {path}");
        }
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let file = folder.path().join("completions");
        fs::write(&file, text).expect("written");
        // Whether the shell itself can read it.
        match Command::new(shell).arg("-n").arg(&file).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => not_tested(&format!("completions by {shell} itself, because there is none")),
        }
    }
    assert_eq!(snapkeep(&["completions", "csh"]).status.code(), Some(2));
}

#[test]
fn bash_completes_commands_options_and_words() {
    let completed = |line: &str| {
        let script = "source <(\"$0\" completions bash)\nread -ra COMP_WORDS <<<\"$1\"\n[[ $1 == *' ' ]] && COMP_WORDS+=('')\n\
                      COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_snapkeep snapkeep \"${COMP_WORDS[COMP_CWORD]}\" \
                      \"${COMP_WORDS[COMP_CWORD-1]}\"\nprintf '%s\\n' \"${COMPREPLY[@]}\"";
        let output = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_snapkeep"), line]).output();
        let output = output.expect("bash runs");
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed("snapkeep rest"), ["restore"]);
    assert!(completed("snapkeep policy ").contains(&"import".to_owned()));
    assert!(completed("snapkeep restore --inc").contains(&"--include".to_owned()));
    assert!(completed("snapkeep token add x --role ").contains(&"viewer".to_owned()));
}

/// Files whose fault is none of shape: what it takes to see it is for `snapkeep check`.
const NOT_OF_SHAPE: &[&str] = &[
    "catch_up_both",
    "channel_twice",
    "channel_unknown",
    "channels/command_data",
    "channels/command_folder",
    "channels/command_relative",
    "channels/mail_login_open",
    "channels/mail_open",
    "channels/mail_port_of_another",
    "channels/webhook_broken_template",
    "channels/webhook_localhost",
    "channels/webhook_password_in_url",
    "channels/webhook_plain_http",
    "channels/webhook_slack_in_the_file",
    "channels/webhook_text_without_quotes",
    "channels/webhook_unknown_secret",
    "channels/webhook_unknown_word",
    "compliance_alone",
    "condition_min_above_max",
    "cron_mixed_days",
    "cron_never",
    "cron_out_of_range",
    "date_format_bad",
    "date_format_zone_alone",
    "date_format_zone_unknown",
    "deletion_without_schedule",
    "driver_unknown_key",
    "interval_too_short",
    "keep_zone_unknown",
    "metadata_too_long",
    "min_age_above_max_age",
    "repository_unknown",
    "settings/stop_timeout",
    "spread_too_long",
    "spread_twice",
    "uid_of_another",
    "warn_idle_age",
    "warn_keep_above_max_count",
    "warn_keep_beyond_max_age",
    "warn_keep_finer",
    "warn_keep_finer_weekly",
    "warn_min_age_above_max_count",
    "warn_time_limit",
];

#[test]
fn the_schemas_take_every_sample_and_refuse_what_has_another_shape() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (mut lines, mut refused) = (String::new(), 0);
    let mut case = |file: File, path: &Path, valid: bool| {
        let schema = folder.path().join(file.word());
        writeln!(lines, "{}", json!({ "schema": schema, "file": path, "valid": valid }))
            .expect("a String takes everything");
    };
    for file in File::ALL {
        fs::write(folder.path().join(file.word()), schema(file).to_string()).expect("written");
    }
    let kinds = [(File::Policy, "policies.d"), (File::Repository, "repositories.d"), (File::Channel, "channels.d")];
    for (file, below) in kinds {
        let samples = files_below(&root("policies").join(below));
        assert!(samples.len() >= 2, "{below}");
        samples.iter().for_each(|path| case(file, path, true));
    }
    case(File::Settings, &root("policies/snapkeep.toml"), true);
    let bad = root("tests/fixtures/policies/bad");
    let mut passed_over: BTreeSet<&str> = NOT_OF_SHAPE.iter().copied().collect();
    for path in files_below(&bad).iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let below = path.strip_prefix(&bad).expect("below").with_extension("").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("text");
        if text.parse::<toml::Table>().is_err() {
            continue;
        }
        let file = match below.split_once('/') {
            Some(("settings", _)) => File::Settings,
            Some(("channels", _)) => File::Channel,
            Some(("repositories", _)) => File::Repository,
            _ => File::Policy,
        };
        let is_valid = passed_over.remove(below.as_str());
        refused += usize::from(!is_valid);
        case(file, path, is_valid);
    }
    assert!(passed_over.is_empty(), "there is no {passed_over:?}");
    assert!(refused >= 60, "{refused}");
    let cases = folder.path().join("cases.jsonl");
    fs::write(&cases, lines).expect("written");
    let script = root("tests/peers/schema.sh");
    let status =
        Command::new("sh").arg(script).arg(env!("CARGO_TARGET_TMPDIR")).arg(&cases).status().expect("sh starts");
    assert!(status.success(), "files that the schemas should have taken or refused, above");
}

#[test]
fn the_committed_schemas_are_those_that_the_program_prints() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for file in File::ALL {
        let output = snapkeep(&["schema", file.word()]);
        assert!(output.status.success());
        let path = root("packaging/schema").join(format!("{}.json", file.word()));
        if update {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, &output.stdout).expect("written");
        }
        let committed = fs::read(&path).expect("a committed schema");
        assert!(
            committed == output.stdout,
            "{} is not what the program prints; UPDATE_GOLDEN=1 writes it",
            path.display()
        );
    }
    assert_eq!(snapkeep(&["schema"]).stdout, snapkeep(&["schema", "policy"]).stdout);
}
