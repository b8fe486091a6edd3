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
