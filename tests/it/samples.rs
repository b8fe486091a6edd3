//! What people copy from `policies/` works as it stands.

use std::path::Path;

use snapkeep::config::sources::Sources;
use snapkeep::config::{FileKind, policy_json};
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::roster::{Loader, Roster, entry_from_terms, load_settings, terms_text};

use std::sync::Arc;

/// Far from any file's times, so that every file counts as settled.
const LATER: Timestamp = Timestamp::from_seconds(4_000_000_000);

fn samples() -> Sources {
    Sources::of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/snapkeep.toml"))
}

fn load() -> Arc<Roster> {
    Loader::new(samples(), |_, _| None).load(LATER)
}

fn text_of(roster: &Roster, policy: &str) -> String {
    std::fs::read_to_string(roster.policies[policy].origin()).expect("a sample")
}

#[test]
fn the_samples_work_as_a_whole_set_up_without_a_word() {
    let problems: Vec<String> = load().problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn every_sample_is_in_force_and_none_is_passed_over() {
    let roster = load();
    let names = |kind: FileKind| -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(kind.folder());
        let entries = std::fs::read_dir(folder).expect("the folder is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("readable").path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert!(roster.policies.len() >= 6);
    assert_eq!(roster.policies.keys().map(ToString::to_string).collect::<Vec<_>>(), names(FileKind::Policy));
    assert_eq!(roster.repositories.keys().map(ToString::to_string).collect::<Vec<_>>(), names(FileKind::Repository));
    assert_eq!(roster.channels.keys().map(ToString::to_string).collect::<Vec<_>>(), names(FileKind::Channel));
    assert!(roster.policies.values().all(|entry| !entry.stale));
}

#[test]
fn the_settings_of_the_samples_are_the_defaults() {
    let (settings, problems) = load_settings(&samples());
    assert_eq!(problems, Vec::new());
    let defaults = snapkeep::config::settings::Settings::default_in(samples().defaults());
    assert_eq!(settings, defaults);
}

#[test]
fn a_policy_is_shown_in_the_shape_of_opensearch_with_spans_as_written() {
    let roster = load();
    let json = policy_json(&text_of(&roster, "wiki"));
    assert_eq!(json["deletion"]["condition"]["max_age"], "7d");
    assert_eq!(json["creation"]["schedule"]["cron"]["timezone"], "Europe/Berlin");
    assert_eq!(json["notification"]["channel"]["id"], "journal");
    assert_eq!(json["snapshot_config"]["metadata"]["team"], "docs");
}

#[test]
fn every_sample_can_be_built_again_from_the_terms_of_a_run() {
    let roster = load();
    for entry in roster.policies.values() {
        let text = &text_of(&roster, &entry.policy.name);
        let again = entry_from_terms(&terms_text(entry, text).expect("its text")).expect(&entry.policy.name);
        assert_eq!(again.policy, entry.policy);
        assert_eq!(again.config, entry.config);
        assert_eq!(again.origin(), entry.origin());
        assert_eq!(again.repository.revision, entry.repository.revision);
        assert_eq!(terms_text(&again, text), terms_text(entry, text));
        assert_eq!(terms_text(entry, "enabled = false"), None);
    }
}

fn packaged(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/etc").join(file)
}

fn problems(sources: Sources) -> Vec<String> {
    Loader::new(sources, |_, _| None).load(LATER).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn what_the_package_brings_is_in_force_without_a_word_and_changes_no_default() {
    let sources = Sources::of_file(&packaged("snapkeep.toml"));
    let roster = Loader::new(sources.clone(), |_, _| None).load(LATER);
    assert_eq!(roster.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(roster.policies.len(), 0);
    assert_eq!(roster.repositories.keys().map(|name| &**name).collect::<Vec<_>>(), ["local"]);
    assert_eq!(roster.channels.keys().map(|name| &**name).collect::<Vec<_>>(), ["journal"]);
    let (settings, _) = load_settings(&sources);
    assert_eq!(settings, snapkeep::config::settings::Settings::default_in(sources.defaults()));
}

/// A copy of what the package brings, to be written to.
fn installed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["snapkeep.toml", "repositories.d/local.toml", "channels.d/journal.toml"] {
        let target = folder.path().join(file);
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        std::fs::copy(packaged(file), target).expect("copied");
    }
    folder
}

#[test]
fn what_the_packaged_settings_leave_commented_out_is_right_and_says_the_defaults() {
    let folder = installed();
    let file = folder.path().join("snapkeep.toml");
    let text = std::fs::read_to_string(&file).expect("its text");
    let written =
        |line: &&str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let text: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ")).filter(written).collect();
    assert!(text.len() > 10, "{text:?}");
    std::fs::write(&file, text.join("\n")).expect("written");
    let sources = Sources::of_file(&file);
    assert_eq!(problems(sources.clone()), Vec::<String>::new());
    let (settings, _) = load_settings(&sources);
    // What is shown for its form alone: nobody is told of anything, and root alone may do things, by default.
    let system = snapkeep::config::settings::Defaults::system();
    let defaults = snapkeep::config::settings::Settings::default_in(&system);
    assert_ne!((&settings.notification, &settings.http), (&defaults.notification, &defaults.http));
    let (notification, http) = (settings.notification.clone(), settings.http.clone());
    assert_eq!(settings, snapkeep::config::settings::Settings { notification, http, ..defaults });
}

#[test]
fn the_policy_that_the_package_has_to_copy_works() {
    let folder = installed();
    let readme = std::fs::read_to_string(packaged("policies.d/README")).expect("its text");
    let policy: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    std::fs::create_dir(folder.path().join("policies.d")).expect("made");
    std::fs::write(folder.path().join("policies.d/first.toml"), policy.join("\n")).expect("written");
    let sources = Sources::of_file(&folder.path().join("snapkeep.toml"));
    assert_eq!(problems(sources.clone()), Vec::<String>::new());
    assert!(Loader::new(sources, |_, _| None).load(LATER).policies.contains_key("first"));
}
