//! Policies as OpenSearch's JSON, from their files.

use std::fs;

use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::out::{Exit, Failure, Out, safe};
use super::setup::{self, ConfigChoice};
use crate::config::FileKind;
use crate::config::sm::{from_toml, id};

/// Prints the policies that these names mean, all when there are none: one by its whole name as one, others
/// as a list. Either is what `policy import` takes.
pub fn export(choice: &ConfigChoice, names: &[String], out: &mut Out<'_>) -> Result<Exit, Failure> {
    let roster = setup::load(choice).roster;
    let wanted: Vec<&str> = names.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).collect();
    let mut exit = Exit::Fine;
    // Both are told: a name that means nothing, and a file that is no policy as it is.
    for name in &wanted {
        let pattern = WildMatch::new(name);
        if !is_pattern(name) && !roster.policies.keys().any(|policy| pattern.matches(policy)) {
            let is_bad = roster.problems_of(FileKind::Policy, name).any(|problem| problem.is_error());
            let hint =
                if is_bad { "`snapkeep check` tells what is wrong" } else { "`snapkeep check` lists what is there" };
            return Err(Failure::new(Exit::Usage, format!("there is no good policy `{name}`")).hint(hint));
        }
    }
    let patterns: Vec<WildMatch> = wanted.iter().map(|name| WildMatch::new(name)).collect();
    let mut policies = Vec::new();
    for (name, entry) in &roster.policies {
        if !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.matches(name)) {
            continue;
        }
        let origin = entry.origin();
        let members = fs::read_to_string(&origin).ok().and_then(|text| from_toml(&text));
        match members {
            Some(members) => policies.push(json!({ "_id": id(name), "sm_policy": members })),
            None => {
                out.aside(format!("snapkeep: failed to read {}", safe(&origin.display().to_string())));
                exit = Exit::Failed;
            }
        }
    }
    for problem in roster.problems.iter().filter(|problem| wanted.is_empty() && problem.is_error()) {
        out.aside(format!("snapkeep: {}", safe(&format!("{}: {}", problem.file.display(), problem.message))));
        exit = Exit::Failed;
    }
    let is_one = matches!(wanted.as_slice(), [name] if !is_pattern(name));
    let document = match policies.pop() {
        Some(policy) if is_one => policy,
        last => {
            policies.extend(last);
            json!({ "total_policies": policies.len(), "policies": policies })
        }
    };
    print(&document, out)?;
    Ok(exit)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

fn print(document: &Value, out: &mut Out<'_>) -> Result<(), Failure> {
    if out.json {
        return out.value(document);
    }
    let text = serde_json::to_string_pretty(document);
    out.line(text.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?)
}
