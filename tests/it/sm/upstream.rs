//! What OpenSearch's own tests of policies, names and JSON assert, as it is here.

use proptest::prelude::*;
use serde_json::{Value, json};
use snapkeep::lifecycle::policy::Policy;
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::roster::Entry;

use super::{back, checked, example, refused, samples, taken, with};

fn entry(body: &Value) -> Entry {
    let text = taken(body).text;
    let checked = samples().check_policy("x", std::path::Path::new("policies.d/x.toml"), &text);
    checked.unwrap_or_else(|problems| panic!("{problems:#?}")).0
}

/// Only what deletes.
fn deletion_only() -> Value {
    let mut body = example();
    body.as_object_mut().expect("an object").remove("creation");
    body["deletion"]["snapshot_pattern"] = json!("external-*");
    body
}

// ---- SMUtilsTests.

#[test]
fn a_name_is_what_stands_before_the_ending_of_its_id() {
    for name in ["daily", "daily_policy", "daily-policy-", "a_b-c", "x-sm-policy", "-sm-policy"] {
        let body = json!({ "_id": format!("{name}-sm-policy"), "sm_policy": example() });
        assert_eq!(taken(&body).name.as_deref(), Some(name));
    }
    let body = json!({ "_id": "odd", "sm_policy": example() });
    assert_eq!(taken(&body).name.as_deref(), Some("odd"));
}

#[test]
fn a_blank_date_format_is_refused() {
    for blank in ["", " "] {
        let said = checked(&with("snapshot_config.date_format", json!(blank)));
        assert!(said[0].starts_with("snapshot_config.date_format: date_format is blank"), "{said:?}");
    }
}

#[test]
fn names_that_opensearch_refuses_are_refused() {
    let refused = ["", "a b", "a#b", "a,b", "_a", "A", "a\\b", "a/b", "a*", "a?", "a\"", "a<", "a>", "a|"];
    for name in refused {
        assert!(!Policy::is_name(name), "{name}");
    }
    for name in ["daily", "0-daily_copy.x"] {
        assert!(Policy::is_name(name), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_cron_expression_that_is_taken_has_a_next_time(
        (minute, hour, day, month, weekday) in (0..60u32, 0..24u32, 1..29u32, 1..13u32, 0..8u32),
        any in 0..16u32,
    ) {
        let field = |bit: u32, value: u32| if any & bit == 0 { "*".to_string() } else { value.to_string() };
        let expression =
            format!("{minute} {} {} {} {}", field(1, hour), field(2, day), field(4, month), field(8, weekday));
        let entry = entry(&with("creation.schedule.cron.expression", json!(expression)));
        let schedule = &entry.policy.creation.as_ref().expect("a rule").pace.schedule;
        let now = Timestamp::from_seconds(1_800_000_000);
        prop_assert!(schedule.next_after(now).is_some_and(|next| next > now), "{}", expression);
    }
}

#[test]
fn trap_15_an_unknown_zone_of_the_date_is_refused_when_the_policy_is_read() {
    for key in ["timezone", "date_format_timezone"] {
        let mut body = with("snapshot_config.timezone", None);
        body["snapshot_config"][key] = json!("Mars/Olympus");
        let said = checked(&body);
        assert!(said[0].starts_with(&format!("snapshot_config.{key}: unknown time zone `Mars/Olympus`")), "{said:?}");
    }
}

// ---- SMPolicyTests.

#[test]
fn creation_may_be_absent_and_comes_back_absent() {
    let body = deletion_only();
    assert_eq!(back(&taken(&body)), body);
    let entry = entry(&body);
    assert!(entry.policy.creation.is_none() && entry.policy.deletion.is_some());
}

#[test]
fn a_pattern_may_be_absent_and_comes_back_absent_or_as_it_was() {
    for pattern in [None, Some(json!("external-*")), Some(json!("a-*,b-*"))] {
        let body = with("deletion.snapshot_pattern", pattern);
        assert_eq!(back(&taken(&body)), body);
    }
}

#[test]
fn neither_creation_nor_deletion_is_refused() {
    let mut body = with("creation", None);
    body.as_object_mut().expect("an object").remove("deletion");
    let said = checked(&body);
    assert!(said.iter().any(|line| line.starts_with("policy has neither creation nor deletion")), "{said:?}");
}

#[test]
fn a_repository_that_is_null_or_empty_or_missing_is_refused_by_its_name() {
    assert_eq!(
        refused(&with("snapshot_config.repository", json!(null))),
        ["snapshot_config.repository: null is no value; leave it out"]
    );
    for (repository, path) in [(Some(json!("")), "snapshot_config.repository: "), (None, "snapshot_config: ")] {
        let said = checked(&with("snapshot_config.repository", repository));
        assert!(said.iter().any(|line| line.starts_with(path) && line.contains("repository")), "{said:?}");
    }
}

#[test]
fn an_invalid_cron_expression_is_refused_and_named() {
    for expression in
        ["invalid-cron", "", "* * * *", "0 0 5 * * ?", "60 * * * *", "* * 0 * *", "5-1 * * * *", "1, * * * *"]
    {
        let said = checked(&with("creation.schedule.cron.expression", json!(expression)));
        assert!(said[0].starts_with("creation.schedule.cron.expression: "), "{expression}: {said:?}");
    }
    for never in ["0 0 30 2 *", "0 0 31 2 *"] {
        let said = checked(&with("deletion.schedule.cron.expression", json!(never)));
        assert!(said[0].starts_with("deletion.schedule.cron.expression: day of month"), "{said:?}");
    }
}

#[test]
fn deletion_without_a_schedule_takes_creations_and_without_creation_is_refused() {
    let body = with("deletion.schedule", None);
    let entry = entry(&body);
    let (creation, deletion) =
        (entry.policy.creation.as_ref().expect("one"), entry.policy.deletion.as_ref().expect("one"));
    assert_eq!(deletion.pace.schedule, creation.pace.schedule);
    // It is used, and not written: what was sent comes back.
    assert_eq!(back(&taken(&body)), body);
    let mut alone = deletion_only();
    alone["deletion"].as_object_mut().expect("an object").remove("schedule");
    let said = checked(&alone);
    assert!(said.iter().any(|line| line.starts_with("deletion: deletion has no schedule")), "{said:?}");
}

// ---- XContentTests.

#[test]
fn a_policy_comes_back_equal_with_and_without_its_wrapper() {
    for body in [example(), deletion_only()] {
        assert_eq!(back(&taken(&body)), body);
        assert_eq!(back(&taken(&json!({ "sm_policy": body }))), body);
        assert_eq!(back(&taken(&json!({ "policy": body }))), body);
    }
}

// ---- What RestIndexSnapshotManagementIT sends.

#[test]
fn a_deletion_only_policy_keeps_its_age_its_count_and_its_pattern() {
    let mut body = deletion_only();
    body["deletion"]["condition"] = json!({ "max_age": "30d", "min_count": 3 });
    assert_eq!(back(&taken(&body)), body);
    let entry = entry(&body);
    let condition = &entry.policy.deletion.as_ref().expect("a rule").condition;
    assert_eq!(condition.max_age().map(ToString::to_string).as_deref(), Some("30d"));
    assert_eq!((condition.min_count(), condition.max_count()), (3, None));
}
