//! What is wrong with the configuration, without a daemon.

use serde_json::json;

use super::out::{Exit, Failure, Out, Tone, safe, safe_lines};
use super::setup::{self, ConfigChoice, Loaded};

/// Reads the configuration and tells everything that is wrong with it.
pub fn check(choice: &ConfigChoice, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let Loaded { roster, problems } = setup::load(choice);
    let zones = setup::zone_differences(&roster);
    let notes: Vec<(&str, String)> = roster
        .repositories
        .values()
        .flat_map(|repository| {
            repository.driver.notes(&repository.name).into_iter().map(|note| (&*repository.name, note))
        })
        .collect();
    let errors = problems.iter().filter(|problem| problem.severity == "error").count();
    let warnings = problems.len() - errors;
    let exit = match (errors, warnings) {
        (0, 0) => Exit::Fine,
        (0, _) => Exit::Failed,
        _ => Exit::Usage,
    };
    if out.json {
        out.value(&json!({
            "errors": errors,
            "warnings": warnings,
            "problems": problems,
            "policies": roster.policies.keys().map(|name| &**name).collect::<Vec<&str>>(),
            "repositories": roster.repositories.keys().map(|name| &**name).collect::<Vec<&str>>(),
            "channels": roster.channels.keys().map(|name| &**name).collect::<Vec<&str>>(),
            "zone_differences": zones,
            "notes": notes.iter().map(|(repository, note)| json!({"repository": repository, "note": note})).collect::<Vec<_>>(),
        }))?;
        return Ok(exit);
    }
    for problem in &problems {
        out.line(safe_lines(&problem.text))?;
        out.line("")?;
    }
    for zone in &zones {
        out.line(format!("time zone {}", safe(zone)))?;
    }
    // No mistakes: they leave the exit code alone, or a service that checks first would not start.
    for (repository, note) in &notes {
        out.line(format!("{} repository {}: {}", out.toned(Tone::Warning, "note:"), safe(repository), safe(note)))?;
        out.line("")?;
    }
    let tone = match exit {
        Exit::Fine => Tone::Good,
        Exit::Failed => Tone::Warning,
        Exit::Usage | Exit::Unreachable | Exit::JournalFailed => Tone::Bad,
    };
    let found = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
    let summary = format!(
        "{}; {}, {} and {} are good",
        out.toned(tone, &found),
        count_of(roster.policies.len(), "policy", "policies"),
        count_of(roster.repositories.len(), "repository", "repositories"),
        count(roster.channels.len(), "channel"),
    );
    out.line(summary)?;
    Ok(exit)
}

fn count(number: usize, word: &str) -> String {
    count_of(number, word, &format!("{word}s"))
}

fn count_of(number: usize, one: &str, many: &str) -> String {
    match number {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}
