//! What is told, what is written of it, and what is asked of it by the dashboard and the alerts in `packaging/`: one
//! list. promtool reads the rules, and tries each.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use snapkeep::metrics::{Sort, families};

use crate::support::skips::not_tested;

/// Whether promtool is here; says that it is not tested otherwise.
pub fn promtool_is_here(what: &str) -> bool {
    let is_here = Command::new("promtool").arg("--version").output().is_ok();
    if !is_here {
        not_tested(&format!("{what}, because promtool is not installed"));
    }
    is_here
}

/// Has promtool look at something, and returns what it says. It says nothing more of what is clean.
pub fn promtool(arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(packaging("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    promtool.stdin.take().expect("piped").write_all(input).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn packaging(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(below)
}

fn read(below: &str) -> String {
    fs::read_to_string(packaging(below)).expect(below)
}

/// Returns the names of everything that begins as our metrics do.
fn named(text: &str) -> BTreeSet<String> {
    let pieces = text.split("snapkeep_").skip(1);
    let name = |piece: &str| piece.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    pieces.map(|piece| format!("snapkeep_{}", name(piece))).collect()
}

fn told() -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for family in families() {
        let suffixes: &[&str] = if family.sort == Sort::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        told.extend(suffixes.iter().map(|suffix| format!("{}{suffix}", family.name)));
    }
    told
}

/// Returns every query of the dashboard.
fn queries() -> Vec<String> {
    fn gather(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("expr").and_then(Value::as_str).map(str::to_string));
                members.values().for_each(|value| gather(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| gather(value, found)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&read("grafana/snapkeep.json")).expect("the dashboard is JSON");
    let mut found = Vec::new();
    gather(&dashboard["panels"], &mut found);
    assert!(found.len() > 30, "{} queries", found.len());
    found
}

/// Returns the part of a page between two texts.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(part, _)| part)
}

#[test]
fn every_metric_stands_on_its_page_as_it_is_told() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).expect("the page");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `snapkeep_")).collect();
    let row = |family: &snapkeep::metrics::Family| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", family.name, family.sort.word(), labels.join(", "), family.help)
    };
    let told: Vec<String> = families().map(row).collect();
    assert_eq!(rows, told, "what the page should say:\n{}", told.join("\n"));
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_that_is_not_told() {
    let told = told();
    for below in ["grafana/snapkeep.json", "prometheus/snapkeep.rules.yml", "prometheus/snapkeep.rules.test.yml"] {
        let asked = named(&read(below));
        assert!(asked.len() > 8, "{below}: {asked:?}");
        let unknown: Vec<&String> = asked.difference(&told).collect();
        assert!(unknown.is_empty(), "{below}: {unknown:?}");
    }
    // The other way round: what nobody looks at need not be told.
    let shown = named(&format!("{}{}", queries().join(" "), read("prometheus/snapkeep.rules.yml")));
    let mut unseen: Vec<&str> = families().map(|family| family.name).collect();
    unseen.retain(|name| !shown.iter().any(|shown| shown.starts_with(name)));
    let beside = [
        "snapkeep_last_success_age_seconds",
        "snapkeep_policy_info",
        "snapkeep_policy_since_timestamp_seconds",
        "snapkeep_last_run_start_timestamp_seconds",
        "snapkeep_last_run_end_timestamp_seconds",
        "snapkeep_snapshots_seen_timestamp_seconds",
        "snapkeep_verification_last_end_timestamp_seconds",
    ];
    assert_eq!(unseen, beside);
}

#[test]
fn labels_are_those_of_a_closed_list_and_never_the_scrapers_own() {
    let known = [
        "policy",
        "workflow",
        "outcome",
        "reason",
        "repository",
        "channel",
        "chore",
        "kind",
        "level",
        "file",
        "version",
        "schema",
    ];
    let used: BTreeSet<&str> = families().flat_map(|family| family.labels).copied().collect();
    assert_eq!(used, known.into());
    assert!(!used.contains("job") && !used.contains("instance"));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules_and_each_fires_when_it_should() {
    // Whether or not promtool is here: every alert is tried both ways.
    let (rules, tests) = (read("prometheus/snapkeep.rules.yml"), read("prometheus/snapkeep.rules.test.yml"));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 12, "{alerts:?}");
    for alert in &alerts {
        let tried: Vec<&str> = tests.split(&format!("alertname: {alert}\n")).skip(1).collect();
        assert!(tried.iter().any(|test| test.trim_start().starts_with("exp_alerts: []")), "{alert} never stays quiet");
        assert!(tried.iter().any(|test| test.trim_start().starts_with("exp_alerts:\n")), "{alert} never fires");
    }
    if !promtool_is_here("the alert rules") {
        return;
    }
    let (is_clean, said) = promtool(&["check", "rules", "snapkeep.rules.yml"], b"");
    assert!(is_clean && said.contains(&format!("SUCCESS: {} rules found", alerts.len())), "{said}");
    let (is_clean, said) = promtool(&["test", "rules", "snapkeep.rules.test.yml"], b"");
    assert!(is_clean && said.contains("SUCCESS"), "{said}");
}

#[test]
fn promtool_can_read_every_query_of_the_dashboard() {
    if !promtool_is_here("the queries of the dashboard") {
        return;
    }
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_string();
    for (number, query) in queries().iter().enumerate() {
        let query = query.replace("$instance", ".*").replace("$policy", ".*").replace("$__rate_interval", "5m");
        assert!(!query.contains('$'), "{query}");
        rules.push_str(&format!("      - record: query:{number}\n        expr: {}\n", Value::from(query)));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dashboard.yml");
    fs::write(&file, rules).expect("written");
    let (is_clean, said) = promtool(&["check", "rules", file.to_str().expect("UTF-8")], b"");
    assert!(is_clean, "{said}");
}

#[test]
fn the_page_shows_the_setting_that_is_read() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).expect("the page");
    let text = between(&page, "```toml\n[metrics]", "```");
    assert!(text.contains("textfile = "), "{text}");
    let mut findings =
        snapkeep::config::reader::Findings::new(Path::new("snapkeep.toml"), "[metrics]\ntextfile = \"a\"\n");
    let defaults = snapkeep::config::settings::Defaults::system();
    let settings = snapkeep::config::settings::Settings::read(&mut findings, Path::new("/etc/snapkeep"), &defaults);
    assert_eq!(settings.metrics.textfile, None);
    let problems = findings.into_problems();
    assert!(problems.iter().any(|problem| problem.message.contains("does not end in .prom")), "{problems:?}");
    let text = format!("[metrics]{text}");
    let mut findings = snapkeep::config::reader::Findings::new(Path::new("snapkeep.toml"), &text);
    let settings = snapkeep::config::settings::Settings::read(&mut findings, Path::new("/etc/snapkeep"), &defaults);
    assert!(findings.into_problems().is_empty());
    assert!(settings.metrics.textfile.is_some_and(|file| file.is_absolute()));
}
