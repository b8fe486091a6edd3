//! OpenSearch's JSON and our files: nothing is lost on the way there and back, and what cannot go is
//! refused with its place.

mod upstream;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};
use snapkeep::config::problem::{Place, Problem};
use snapkeep::config::sm::{SmPolicy, SmProblem, from_toml, to_toml, told};
use snapkeep::config::sources::Sources;
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::roster::{Loader, Roster};

/// The samples are what policies stand among.
fn samples() -> &'static Roster {
    static ONCE: OnceLock<Arc<Roster>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/snapkeep.toml");
        Loader::new(Sources::of_file(&settings), |_, _| None).load(Timestamp::from_seconds(4_000_000_000))
    })
}

/// The policy of OpenSearch's own page, with a repository and a channel of the samples.
fn example() -> Value {
    json!({
        "description": "Daily snapshot policy",
        "creation": {
            "schedule": { "cron": { "expression": "0 8 * * *", "timezone": "UTC" } },
            "time_limit": "1h"
        },
        "deletion": {
            "schedule": { "cron": { "expression": "0 1 * * *", "timezone": "America/Los_Angeles" } },
            "condition": { "max_age": "7d", "max_count": 21, "min_count": 7 },
            "time_limit": "1h"
        },
        "snapshot_config": {
            "date_format": "yyyy-MM-dd-HH:mm",
            "timezone": "America/Los_Angeles",
            "repository": "local",
            "paths": ["/srv"],
            "partial": "true",
            "metadata": { "any_key": "any_value" }
        },
        "notification": {
            "channel": { "id": "journal" },
            "conditions": { "creation": true, "deletion": false, "failure": false, "time_limit_exceeded": false }
        }
    })
}

fn taken(body: &Value) -> SmPolicy {
    to_toml(body).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn back(policy: &SmPolicy) -> Value {
    Value::Object(from_toml(&policy.text).unwrap_or_else(|| panic!("no TOML:\n{}", policy.text)))
}

fn refused(body: &Value) -> Vec<String> {
    to_toml(body).expect_err("refused").iter().map(SmProblem::to_string).collect()
}

/// What the policy check says of a policy that came as JSON, in the words of whoever sent it.
fn checked(body: &Value) -> Vec<String> {
    let text = taken(body).text;
    let problems = match samples().check_policy("x", Path::new("policies.d/x.toml"), &text) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    told(&text, &problems).iter().map(SmProblem::to_string).collect()
}

/// Returns the example with the member at `path` set; `None` takes it away.
fn with(path: &str, value: impl Into<Option<Value>>) -> Value {
    let mut body = example();
    let (above, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = &mut body;
    for step in above.split('.').filter(|step| !step.is_empty()) {
        at = &mut at[step];
    }
    match value.into() {
        Some(value) => at[key] = value,
        None => drop(at.as_object_mut().expect("an object").remove(key)),
    }
    body
}

#[test]
fn the_policy_of_opensearchs_own_page_becomes_a_file_as_a_person_would_write_it() {
    let policy = taken(&example());
    expect_test::expect![[r#"
        description = "Daily snapshot policy"

        [creation]
        time_limit = "1h"

        [creation.schedule.cron]
        expression = "0 8 * * *"
        timezone = "UTC"

        [deletion]
        time_limit = "1h"

        [deletion.schedule.cron]
        expression = "0 1 * * *"
        timezone = "America/Los_Angeles"

        [deletion.condition]
        max_age = "7d"
        max_count = 21
        min_count = 7

        [snapshot_config]
        repository = "local"
        date_format = "yyyy-MM-dd-HH:mm"
        timezone = "America/Los_Angeles"
        partial = "true"
        paths = ["/srv"]

        [snapshot_config.metadata]
        any_key = "any_value"

        [notification]
        channel.id = "journal"

        [notification.conditions]
        creation = true
        deletion = false
        failure = false
        time_limit_exceeded = false
    "#]]
    .assert_eq(&policy.text);
    assert_eq!(back(&policy), example());
    assert_eq!(checked(&example()), Vec::<String>::new());
    assert_eq!((policy.enabled, policy.name, policy.left_out), (None, None, Vec::new()));
}

#[test]
fn a_policy_is_taken_bare_and_in_both_wrappers() {
    let bare = taken(&example());
    for wrapper in ["sm_policy", "policy"] {
        let mut wrapped = json!({ wrapper: example() });
        assert_eq!(taken(&wrapped), bare, "{wrapper}");
        for (key, value) in [("_id", json!("x-sm-policy")), ("_version", json!(3)), ("_seq_no", json!(9))] {
            wrapped[key] = value;
        }
        wrapped["_primary_term"] = json!(1);
        assert_eq!(taken(&wrapped), SmPolicy { name: Some("x".to_string()), ..bare.clone() });
        wrapped["creation"] = json!({});
        wrapped["enabled"] = json!(false);
        assert_eq!(
            refused(&wrapped),
            [
                format!("creation: unknown key beside {wrapper}; everything of a policy stands inside {wrapper}"),
                format!("enabled: unknown key beside {wrapper}; everything of a policy stands inside {wrapper}")
            ]
        );
        assert_eq!(refused(&json!({ wrapper: [] })), [format!("{wrapper}: must be an object, not a list")]);
    }
    assert_eq!(refused(&json!([example()])), ["policy must be an object, not a list"]);
    assert_eq!(refused(&json!({ "sm_policy": {}, "policy": {} })).len(), 1);
}

#[test]
fn what_is_the_servers_own_is_taken_and_left_out_and_said() {
    let mut body = example();
    body["name"] = json!("nightly");
    body["schema_version"] = json!(30);
    body["schedule"] = json!({ "interval": { "start_time": 1_767_225_600_000_i64, "period": 1, "unit": "Minutes" } });
    body["last_updated_time"] = json!(1_767_225_600_000_i64);
    body["enabled_time"] = Value::Null;
    body["user"] = json!({ "name": "admin", "backend_roles": [null] });
    body["enabled"] = json!(true);
    let policy = taken(&json!({ "_id": "other-sm-policy", "sm_policy": body }));
    assert_eq!(policy.name.as_deref(), Some("nightly"));
    assert_eq!(policy.enabled, Some(true));
    let own = ["enabled_time", "last_updated_time", "name", "schedule", "schema_version", "user"];
    assert_eq!(policy.left_out, own);
    for key in own {
        body.as_object_mut().expect("an object").remove(key);
    }
    assert_eq!(back(&policy), body);
}

#[test]
fn a_schedule_of_the_whole_policy_that_was_meant_as_a_trigger_is_refused() {
    let body = with("schedule", json!({ "cron": { "expression": "0 2 * * *", "timezone": "UTC" } }));
    assert_eq!(
        refused(&body),
        [
            "schedule: schedule of the whole policy is no trigger; write it in creation or deletion; what stands here is \
          the server's own"
        ]
    );
}

#[test]
fn text_counts_as_the_boolean_or_number_it_names_where_opensearch_reads_it_so() {
    let mut body = example();
    body["enabled"] = json!("false");
    body["notification"]["conditions"] = json!({ "creation": "true", "failure": "false" });
    body["deletion"]["condition"]["max_count"] = json!("21");
    body["deletion"]["condition"]["keep"] = json!({ "daily": "007", "last": 3 });
    body["deletion"]["guards"] = json!({ "rate": "5" });
    body["creation"]["retry"] = json!({ "count": "0" });
    let policy = taken(&body);
    assert_eq!(policy.enabled, Some(false));
    let back = back(&policy);
    assert_eq!(back["enabled"], json!(false));
    assert_eq!(back["notification"]["conditions"], json!({ "creation": true, "failure": false }));
    assert_eq!(back["deletion"]["condition"]["max_count"], json!(21));
    assert_eq!(back["deletion"]["condition"]["keep"], json!({ "daily": 7, "last": 3 }));
    assert_eq!((&back["deletion"]["guards"]["rate"], &back["creation"]["retry"]["count"]), (&json!(5), &json!(0)));
    // Anything else stays, and is refused by the check.
    let odd = with("enabled", json!("yes"));
    assert_eq!(checked(&odd), ["enabled: enabled must be true or false, not text"]);
    for (number, said) in [("-3", "max_count is negative"), ("2.5", "not text"), ("", "not text"), ("+3", "not text")] {
        let said_now = checked(&with("deletion.condition.max_count", json!(number)));
        assert!(said_now.iter().any(|line| line.contains(said)), "{number}: {said_now:?}");
    }
}

#[test]
fn inside_snapshot_config_everything_stays_exactly_as_sent() {
    for value in [json!(true), json!("true"), json!(false), json!("false")] {
        let body = with("snapshot_config.partial", value.clone());
        assert_eq!(back(&taken(&body)), body);
        let text = taken(&body).text;
        let (entry, _) = samples().check_policy("x", Path::new("x.toml"), &text).expect("good");
        let partial = entry.policy.creation.as_ref().expect("a rule").partial;
        assert_eq!(partial, value == json!(true) || value == json!("true"), "{value}");
    }
    assert_eq!(
        checked(&with("snapshot_config.partial", json!("True"))),
        ["snapshot_config.partial: partial must be true or false, not text"]
    );
    let body = with(
        "snapshot_config.extra",
        json!({ "": { "a.b": [1, "1", 1.5, { "c d": [] }, []] }, "ü": "\u{0}\u{7f}\"\\'\n\r\t", "empty": {}, "n": -0.5e-9 }),
    );
    assert_eq!(back(&taken(&body)), body);
}

#[test]
fn a_snapshot_pattern_is_kept_and_deletes_nothing_and_the_check_says_so() {
    for pattern in ["external-*", "*", "a, b-*"] {
        let body = with("deletion.snapshot_pattern", json!(pattern));
        assert_eq!(back(&taken(&body)), body);
        assert_eq!(
            checked(&body),
            ["deletion.snapshot_pattern: snapshot_pattern deletes nothing: only snapshots that this policy made or \
              adopted are ever deleted; `snapkeep adopt SNAPSHOT… --policy x` makes this policy the owner of others"]
        );
        let without = taken(&with("deletion.snapshot_pattern", None)).text;
        let rule = |text: &str| {
            let (entry, _) = samples().check_policy("x", Path::new("x.toml"), text).expect("good");
            entry.policy.deletion.as_deref().cloned()
        };
        assert_eq!(rule(&taken(&body).text), rule(&without), "{pattern}");
    }
    assert_eq!(
        checked(&with("deletion.snapshot_pattern", json!(["a"]))),
        ["deletion.snapshot_pattern: snapshot_pattern must be text, not a list"]
    );
    assert_eq!(
        refused(&with("creation.snapshot_pattern", json!("a"))),
        ["creation.snapshot_pattern: unknown key `snapshot_pattern`; snapshot_pattern belongs in deletion"]
    );
}

#[test]
fn what_a_file_cannot_hold_is_refused_with_its_place() {
    for (path, value, said) in [
        ("deletion.condition.max_age", json!(null), "deletion.condition.max_age: null is no value; leave it out"),
        ("creation", json!(null), "creation: null is no value; leave it out"),
        (
            "snapshot_config.list",
            json!([1, { "a b": [null] }]),
            "snapshot_config.list[1].\"a b\"[0]: null is no value; leave it out",
        ),
        (
            "snapshot_config.n",
            json!(u64::MAX),
            "snapshot_config.n: number is too large; whole numbers have at most 64 bits; send it as text",
        ),
        (
            "snapshot_config.n",
            serde_json::from_str("99999999999999999999").expect("JSON"),
            "snapshot_config.n: number is too large; whole numbers have at most 64 bits; send it as text",
        ),
    ] {
        assert_eq!(refused(&with(path, value)), [said]);
    }
    let nested = |depth: usize| {
        (0..depth).fold(json!(1), |inner, level| match level % 3 {
            0 => json!([inner]),
            _ => json!({ "a": inner }),
        })
    };
    let said = refused(&with("snapshot_config.deep", nested(100)));
    assert!(said.len() == 1 && said[0].ends_with("is nested more than 60 deep"), "{said:?}");
    let body = with("snapshot_config.deep", nested(59));
    assert_eq!(back(&taken(&body)), body);
    let said = refused(&with("snapshot_config.text", json!("x".repeat(2_000_000))));
    assert_eq!(said, ["policy is larger than 1024 kB"]);
    assert_eq!(to_toml(&with("snapshot_config.l", json!(vec![Value::Null; 5000]))).expect_err("nulls").len(), 100);
}

#[test]
fn a_description_that_is_null_or_blank_is_none() {
    for value in [json!(null), json!(""), json!("  ")] {
        assert_eq!(back(&taken(&with("description", value))), with("description", None));
    }
}

#[test]
fn an_unknown_key_is_told_with_its_path_and_the_nearest_known_name() {
    for (path, said) in [
        ("enable", "enable: unknown key `enable`; did you mean enabled?"),
        ("deletion.condition.max_agee", "deletion.condition.max_agee: unknown key `max_agee`; did you mean max_age?"),
        ("deletion.conditions", "deletion.conditions: unknown key `conditions`; did you mean condition?"),
        ("creation.max_age", "creation.max_age: unknown key `max_age`; max_age belongs in deletion.condition"),
        (
            "notification.count",
            "notification.count: unknown key `count`; count belongs in creation.retry or deletion.retry",
        ),
        ("repository", "repository: unknown key `repository`; repository belongs in snapshot_config"),
        ("creation.uid", "creation.uid: unknown key `uid`; uid belongs at the top of the policy"),
        ("notification.channel.zzzz", "notification.channel.zzzz: unknown key `zzzz`; the keys here are id"),
        (
            "creation.schedule.cron.schedule_delay",
            "creation.schedule.cron.schedule_delay: unknown key `schedule_delay`; write \"spread\" beside \"schedule\" \
             for an offset",
        ),
        (
            "creation.a b",
            "creation.\"a b\": unknown key `a b`; the keys here are time_limit, catch_up, catch_up_within, \
            on_overlap, spread, stale_after, schedule, retry",
        ),
    ] {
        assert_eq!(refused(&with(path, json!(7))), [said]);
    }
    let body = with("creation.schedule", json!({ "interval": { "start_time": 0, "period": 2, "unit": "Hours" } }));
    assert_eq!(
        refused(&body),
        [
            "creation.schedule.interval: interval is given by start_time, period and unit; write \"every\": \"2h\"; it is \
          counted from 1970, so that no restart moves it"
        ]
    );
}

#[test]
fn the_keys_that_json_may_have_are_those_that_files_may_have() {
    // Whatever the check of a file calls known, in each of its tables, must be known here and the other way round.
    let mut tables = 0;
    for (path, other) in [
        ("", None),
        ("creation", None),
        ("creation.schedule", None),
        ("creation.schedule.cron", None),
        ("creation.schedule.interval", None),
        ("creation.retry", None),
        ("deletion", Some("delete_condition")),
        ("deletion.condition", None),
        ("deletion.delete_condition", None),
        ("deletion.condition.keep", None),
        ("deletion.guards", None),
        ("deletion.retry", None),
        ("notification", None),
        ("notification.channel", None),
        ("notification.conditions", None),
    ] {
        let text = match path {
            "" => "qqqqqqqqqqqq = 1\n".to_string(),
            path => format!("[{path}]\nqqqqqqqqqqqq = 1\n"),
        };
        let body = (path.split('.').rev().filter(|step| !step.is_empty()))
            .fold(json!({ "qqqqqqqqqqqq": 1 }), |inner, step| json!({ step: inner }));
        let problems = samples().check_policy("x", Path::new("x.toml"), &text).expect_err("unknown key");
        let of_file = told(&text, &problems).into_iter().find(|problem| problem.message.contains("qqqq"));
        let of_json = to_toml(&body).expect_err("unknown key").into_iter().next();
        let keys = |problem: Option<SmProblem>| {
            let hint = problem.and_then(|problem| problem.hint).expect("a hint");
            let list = hint.strip_prefix("the keys here are ").unwrap_or_else(|| panic!("{path}: {hint}")).to_string();
            let mut keys: Vec<String> = list.split(", ").map(str::to_string).collect();
            keys.sort();
            keys
        };
        let (of_file, of_json) = (keys(of_file), keys(of_json));
        assert_eq!(of_file, of_json, "{path}");
        assert!(other.is_none_or(|other| of_json.contains(&other.to_string())));
        tables += 1;
    }
    assert_eq!(tables, 15);
}

#[test]
fn what_the_check_finds_is_told_with_the_member_it_is_about() {
    for (path, value, said) in [
        ("creation.schedule.cron.expression", json!("0 25 * * *"), "creation.schedule.cron.expression: "),
        (
            "creation.schedule.cron.timezone",
            json!("Nowhere/Town"),
            "creation.schedule.cron.timezone: unknown time zone",
        ),
        ("deletion.condition.min_count", json!(0), "deletion.condition.min_count: min_count is zero"),
        (
            "deletion.condition.max_age",
            json!("7D"),
            "deletion.condition.max_age: max_age: unknown unit `D`; units are written in lower case: max_age = \"7d\"",
        ),
        ("deletion.condition", json!(null), "deletion: deletion has no condition"),
        ("snapshot_config.repository", json!("nowhere"), "snapshot_config.repository: unknown repository `nowhere`"),
        ("snapshot_config.metadata.n", json!(7), "snapshot_config.metadata.n: n must be text, not a whole number"),
        ("snapshot_config.path", json!(["/srv"]), "snapshot_config.path: unknown key path; did you mean paths?"),
        ("notification.channel.id", json!("pager"), "notification.channel.id: unknown channel `pager`"),
        ("notification.channel", json!(null), "notification: notification names no channel"),
        ("snapshot_config", json!(null), "snapshot_config is missing"),
    ] {
        let value = Some(value).filter(|value| !value.is_null());
        let problems = checked(&with(path, value));
        assert!(problems.iter().any(|problem| problem.starts_with(said)), "{said} is not in {problems:#?}");
    }
}

#[test]
fn a_place_in_a_text_is_the_member_that_stands_there() {
    let text = "a = 1\n[x.\"y z\"]\nk = [1, [2, 3], { m = 4 }]\nwords = \"\"\"\nü\nhere\"\"\"\n";
    let at = |needle: &str| {
        let at = text.find(needle).expect(needle);
        let problem = Problem {
            place: Some(Place::of(text, at..at + 1)),
            ..Problem::of_file(Path::new("policies.d/x.toml"), "is wrong")
        };
        told(text, &[problem]).remove(0).path
    };
    for (needle, path) in [
        ("a =", "a"),
        ("1\n", "a"),
        ("x.", "x"),
        ("\"y", "x.\"y z\""),
        ("k =", "x.\"y z\".k"),
        ("3]", "x.\"y z\".k[1][1]"),
        ("m =", "x.\"y z\".k[2].m"),
        ("here", "x.\"y z\".words"),
    ] {
        assert_eq!(at(needle), path, "{needle}");
    }
}

#[test]
fn dates_in_files_that_people_wrote_come_out_as_text() {
    let map = from_toml("[snapshot_config]\nsince = 2026-03-01T02:00:00Z\nday = 2026-03-01\nn = 0x10\nf = inf\n");
    let map = map.expect("TOML");
    let expected = json!({ "since": "2026-03-01T02:00:00Z", "day": "2026-03-01", "n": 16, "f": null });
    assert_eq!(map["snapshot_config"], expected);
    assert_eq!(from_toml("a = "), None);
}

// ---- Every policy there can be.

/// Text with everything in it that a format might stumble over.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[a-z \"'\\\\\n\r\t\u{0}\u{1b}\u{7f}\u{85}\u{2028}#=\\[\\]{}.,ü€😀]{0,12}",
        Just("\"\"\"".to_string()),
        Just("'''".to_string()),
        Just("\\\n  x".to_string()),
        Just("\n\"\"".to_string()),
        Just("2026-03-01".to_string()),
        any::<String>(),
    ]
}

fn odd_key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,6}",
        "[a-z. \"'\\\\\nü#=\\[\\]-]{0,6}",
        Just(String::new()),
        Just("sm_policy".to_string()),
        Just("1".to_string())
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e15f64..1e15).prop_map(Value::from),
        (-1.0f64..1.0).prop_map(Value::from),
        Just(json!(1e-300)),
        Just(json!(-0.0)),
        Just(json!(i64::MIN)),
        Just(json!(i64::MAX)),
        odd_text().prop_map(Value::from),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::btree_map(odd_key(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An object with some of these members.
fn some_of(members: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(key, value)| {
            proptest::option::of(value).prop_map(move |value| value.map(|value| (key.to_string(), value)))
        })
        .collect();
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

fn one_of(values: &[Value]) -> BoxedStrategy<Value> {
    Union::new(values.iter().cloned().map(Just)).boxed()
}

fn body() -> BoxedStrategy<Value> {
    let text = || odd_text().prop_map(Value::from).boxed();
    let span = || prop_oneof![one_of(&["90m", "168h", "1h30m", "7D", "0"].map(Value::from)), text()].boxed();
    let count = || any::<u32>().prop_map(Value::from).boxed();
    let boolean = || any::<bool>().prop_map(Value::from).boxed();
    let schedule = || {
        let cron = some_of(vec![("expression", text()), ("timezone", text())]);
        some_of(vec![("cron", cron), ("interval", some_of(vec![("every", span())]))])
    };
    let workflow = move |deletes: bool| {
        let retry = some_of(vec![("count", count())]);
        let mut members = vec![
            ("time_limit", span()),
            ("catch_up", text()),
            ("catch_up_within", span()),
            ("on_overlap", text()),
            ("spread", span()),
            ("schedule", schedule()),
            ("retry", retry),
        ];
        if deletes {
            let keep: Vec<_> = ["last", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly"]
                .into_iter()
                .map(|word| (word, count()))
                .chain([("within", span()), ("timezone", text())])
                .collect();
            let keep = some_of(keep);
            let condition = || {
                some_of(vec![
                    ("max_age", span()),
                    ("max_count", count()),
                    ("min_count", count()),
                    ("min_age", span()),
                    ("keep", keep.clone()),
                ])
            };
            members.push(("condition", condition()));
            members.push(("delete_condition", condition()));
            members.push(("snapshot_pattern", text()));
            members.push(("guards", some_of(vec![("brake", text()), ("grace", span()), ("rate", count())])));
        }
        some_of(members)
    };
    let notification = some_of(vec![
        ("channel", some_of(vec![("id", text())])),
        ("channels", proptest::collection::vec(odd_text(), 0..4).prop_map(Value::from).boxed()),
        (
            "conditions",
            some_of(["creation", "deletion", "failure", "time_limit_exceeded"].map(|word| (word, boolean())).into()),
        ),
    ]);
    let snapshot_config = proptest::collection::btree_map(
        prop_oneof![
            odd_key(),
            Just("repository".to_string()),
            Just("indices".to_string()),
            Just("metadata".to_string()),
            Just("partial".to_string())
        ],
        anything(),
        0..6,
    );
    some_of(vec![
        ("description", "[a-z\"\n]{0,9}x".prop_map(Value::from).boxed()),
        ("enabled", boolean()),
        ("uid", text()),
        ("creation", workflow(false)),
        ("deletion", workflow(true)),
        ("snapshot_config", snapshot_config.prop_map(|members| Value::Object(members.into_iter().collect())).boxed()),
        ("notification", notification),
        ("name", text()),
        ("schema_version", count()),
        ("last_updated_time", count()),
        ("user", Just(Value::Null).boxed()),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_comes_back_from_its_file_as_it_was_sent(body in body()) {
        let policy = taken(&body);
        let mut expected = body.clone();
        for key in &policy.left_out {
            expected.as_object_mut().expect("an object").remove(key);
        }
        prop_assert_eq!(&back(&policy), &expected, "{}", policy.text);
        // And from there the file comes back as it was.
        prop_assert_eq!(&taken(&expected).text, &policy.text);
        // A member's own place leads back to it.
        let problems = match samples().check_policy("x", Path::new("x.toml"), &policy.text) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        for problem in told(&policy.text, &problems) {
            prop_assert!(problem.path.is_empty() || expected.get(problem.path.split('.').next().unwrap_or_default()).is_some(), "{}", problem);
        }
    }

    #[test]
    fn no_json_makes_the_conversion_panic_and_what_it_takes_is_toml(body in anything(), key in odd_key()) {
        for body in [body.clone(), json!({ &key: body.clone() }), json!({ "creation": body.clone() }), json!({ "deletion": { "condition": body } })] {
            match to_toml(&body) {
                Ok(policy) => { back(&policy); }
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }
}
