//! What policies are doing, for people: a page each when they are few, a line each when they are many.

use crate::http::body::{
    DaemonBody, ExplainBody, OperationBody, PolicyExplained, ProblemBody, ProgressBody, RepositoryBody,
    WorkflowExplained,
};

use super::client::{Client, names_query};
use super::out::{Exit, Failure, Out, Tone, safe, safe_lines};
use super::table::{Cell, Table};
use super::times::{bytes, span};

/// So many pages fit on a screen.
const PAGES_MAX: usize = 3;
/// The labels of a page and the blanks behind them.
const LABEL_WIDTH: usize = 12;

/// Tells what policies are doing.
pub fn explain(client: &Client, names: &[String], out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get(&format!("/v1/explain?{}", names_query(names)))?;
    let body: ExplainBody = answer.read()?;
    let exit = if body.unknown.is_empty() { Exit::Fine } else { Exit::Failed };
    if out.json {
        out.raw(&answer.document)?;
        return Ok(exit);
    }
    daemon(&body.daemon, out)?;
    if body.policies.len() <= PAGES_MAX {
        for policy in &body.policies {
            page(policy, &body.daemon.repositories, out)?;
        }
    } else {
        table(&body.policies, out)?;
    }
    if body.policies.is_empty() {
        out.line(if names.is_empty() { "There are no policies." } else { "No policy has such a name." })?;
    } else {
        let times = format!("Times are {}.", safe(out.times.zone()));
        out.line(out.toned(Tone::Faint, &times))?;
    }
    for name in &body.unknown {
        out.aside(format!("snapkeep: there is no policy `{}`", safe(name)));
    }
    Ok(exit)
}

/// What concerns all policies, first: it may explain the rest.
fn daemon(daemon: &DaemonBody, out: &mut Out<'_>) -> Result<(), Failure> {
    let mut lines = Vec::new();
    if let Some(why) = &daemon.safe_mode {
        lines.push((Tone::Bad, format!("Safe mode: nothing is made or deleted. {}", safe(why))));
    }
    for restriction in &daemon.restrictions {
        lines.push((Tone::Bad, format!("Held back: {}.", safe(restriction))));
    }
    if daemon.notices_waiting > 0 {
        let notices = if daemon.notices_waiting == 1 { "notice waits" } else { "notices wait" };
        lines.push((Tone::Warning, format!("{} {notices} for a channel to take them.", daemon.notices_waiting)));
    }
    if daemon.notices_undeliverable > 0 {
        let count = daemon.notices_undeliverable;
        let notices = if count == 1 { "notice was given up" } else { "notices were given up" };
        lines.push((Tone::Bad, format!("{count} {notices}: `snapkeep notices list --state undeliverable`.")));
    }
    for alarm in &daemon.alarms {
        let since = out.times.at(alarm.since);
        let said = match (&*alarm.event, &alarm.policy) {
            ("stale", Some(policy)) => format!("{policy}: no good snapshot for too long, since {since}."),
            ("held", Some(policy)) => format!("{policy}: a deletion is held since {since}."),
            ("problem", _) => format!("{} is not accepted, since {since}.", alarm.subject),
            // What the daemon does not do because of it is said above.
            _ => continue,
        };
        lines.push((Tone::Bad, safe(&said).into_owned()));
    }
    if let Some(back) = &daemon.clock_moved_back {
        let (from, to) = (out.times.at(back.from), out.times.at(back.to));
        lines.push((Tone::Warning, format!("The clock went back from {from} to {to}.")));
    }
    if let Some(vouched) = &daemon.clock_vouched {
        lines.push((Tone::Plain, format!("{}.", safe(vouched))));
    }
    for chore in &daemon.housekeeping {
        if let Some(trouble) = &chore.trouble {
            let at = out.times.at(chore.time);
            let text = format!("Housekeeping {} failed at {at}: {}", safe(&chore.job), safe(trouble));
            lines.push((Tone::Warning, text));
        }
    }
    for overdue in &daemon.overdue {
        let text =
            format!("Housekeeping {} was due at {} and did not run.", safe(&overdue.job), out.times.at(overdue.due));
        lines.push((Tone::Warning, text));
    }
    for repository in &daemon.repositories {
        let failed = repository.verdict.as_ref().filter(|maintenance| maintenance.state == "failed");
        if let Some(OperationBody { end_time: Some(end), message: Some(why), .. }) = failed {
            let name = safe(&repository.name);
            let text = format!("Maintenance of repository {name} failed at {}: {}", out.times.at(*end), safe(why));
            lines.push((Tone::Warning, text));
        }
    }
    for (tone, line) in &lines {
        out.line(out.toned(*tone, line))?;
    }
    for problem in &daemon.problems {
        out.line(safe_lines(&problem.text))?;
    }
    if !lines.is_empty() || !daemon.problems.is_empty() {
        out.line("")?;
    }
    Ok(())
}

fn page(policy: &PolicyExplained, repositories: &[RepositoryBody], out: &mut Out<'_>) -> Result<(), Failure> {
    let (tone, standing) = standing(policy);
    let name = out.toned(Tone::Strong, &safe(&policy.name));
    let standing = out.toned(tone, &standing);
    out.line(format!("{name}  {standing}"))?;
    if let Some(description) = &policy.description {
        out.line(format!("  {}", safe(description)))?;
    }
    if let Some(repository) = &policy.repository {
        field("repository", &safe(repository), out)?;
        if let Some(shown) = repositories.iter().find(|shown| *shown.name == **repository && shown.maintains) {
            field("", &maintenance(shown, out), out)?;
        }
    }
    match &policy.last_good {
        Some(good) => {
            let text =
                format!("{}, {} ({})", safe(&good.snapshot), out.times.distance(good.time), out.times.at(good.time));
            field("last good", &text, out)?;
        }
        None => field("last good", &out.toned(Tone::Warning, "none yet"), out)?,
    }
    match policy.holds {
        0 => {}
        1 => field("held", "1 snapshot; `snapkeep hold list` shows it", out)?,
        many => field("held", &format!("{many} snapshots; `snapkeep hold list` shows them"), out)?,
    }
    if let Some(creation) = &policy.creation {
        workflow("creation", creation, out)?;
    }
    match &policy.deletion {
        Some(deletion) => workflow("deletion", deletion, out)?,
        None => field("deletion", "none; nothing is ever deleted", out)?,
    }
    for problem in &policy.problems {
        problem_lines(problem, out)?;
    }
    out.line("")
}

/// How the repository is looked after, in a line.
fn maintenance(repository: &RepositoryBody, out: &Out<'_>) -> String {
    let Some(latest) = &repository.maintenance else { return "maintenance: none yet".to_owned() };
    let began = latest.start_time.map_or_else(String::new, |at| out.times.at(at));
    let ended =
        latest.end_time.map_or_else(String::new, |at| format!("{} ({})", out.times.distance(at), out.times.at(at)));
    let what = safe(latest.message.as_deref().unwrap_or("nothing more is known"));
    match (&*latest.state, &latest.progress) {
        ("running", Some(progress)) => format!("maintenance: under way since {began}, {}", progress_words(progress)),
        ("running", None) => format!("maintenance: under way since {began}"),
        ("succeeded", _) => format!("maintenance: {} {ended}, {what}", out.toned(Tone::Good, "sound")),
        ("interrupted", _) => format!("maintenance: {} {ended}, {what}", out.toned(Tone::Warning, "interrupted")),
        (state, _) => format!("maintenance: {} {ended}: {what}", out.toned(Tone::Bad, &safe(state))),
    }
}

fn problem_lines(problem: &ProblemBody, out: &mut Out<'_>) -> Result<(), Failure> {
    for (index, line) in problem.text.lines().enumerate() {
        field(if index == 0 { "problem" } else { "" }, &safe(line), out)?;
    }
    Ok(())
}

fn workflow(name: &str, workflow: &WorkflowExplained, out: &mut Out<'_>) -> Result<(), Failure> {
    let is_waiting = workflow.current_state.ends_with("_START") && workflow.started.is_empty();
    let next = workflow.trigger.map(|trigger| trigger.time);
    let mut state = if is_waiting {
        match next {
            Some(at) => format!("next {} ({})", out.times.at(at), out.times.distance(at)),
            None => "no trigger is due".to_string(),
        }
    } else {
        workflow.current_state.to_string()
    };
    if let Some(progress) = &workflow.progress {
        state.push_str(&format!(", {}", progress_words(progress)));
    }
    if let Some(retry) = workflow.retry {
        let left = match retry.count {
            1 => "1 attempt".to_string(),
            count => format!("{count} attempts"),
        };
        state.push_str(&format!(", {left} left"));
    }
    field(name, &state, out)?;
    if let Some(schedule) = &workflow.schedule {
        field("", &format!("schedule: {}", safe(schedule)), out)?;
    }
    if let Some(waits_for) = &workflow.waits_for {
        field("", &format!("waits for {}", safe(waits_for)), out)?;
    }
    if let Some(latest) = &workflow.latest_execution {
        let status = out.toned(status_tone(&latest.status), &safe(&latest.status));
        let took = match latest.end_time {
            Some(end) => format!("took {}", span(end.saturating_sub(latest.start_time))),
            None => format!("for {}", span(out.times.now().millis().saturating_sub(latest.start_time))),
        };
        field("", &format!("latest: {status}, began {}, {took}", out.times.at(latest.start_time)), out)?;
        if let Some(info) = &latest.info {
            for text in info.message.iter().chain(&info.cause) {
                field("", &format!("  {}", safe(text)), out)?;
            }
        }
    }
    if let Some(held) = &workflow.held {
        field("", &out.toned(Tone::Bad, &format!("held: {}", safe(held))), out)?;
    }
    for guard in &workflow.guards {
        field("", &out.toned(Tone::Warning, &format!("guard: {}", safe(guard))), out)?;
    }
    for skip in &workflow.skipped {
        let text = format!(
            "skipped: {} ({}), from {} to {}",
            skip.count,
            safe(&skip.reason),
            out.times.at(skip.first),
            out.times.at(skip.last)
        );
        field("", &text, out)?;
    }
    Ok(())
}

fn field(label: &str, text: &str, out: &mut Out<'_>) -> Result<(), Failure> {
    out.line(format!("  {label:LABEL_WIDTH$}{text}").trim_end())
}

/// How far something is, in words.
pub fn progress_words(progress: &ProgressBody) -> String {
    let amount = |number: u64| match progress.unit.as_str() {
        "bytes" => bytes(number),
        unit => format!("{number} {}", safe(unit)),
    };
    match progress.total {
        Some(total) => format!("{}: {} of {}", safe(&progress.doing), amount(progress.done), amount(total)),
        None if progress.done == 0 => safe(&progress.doing).into_owned(),
        None => format!("{}: {}", safe(&progress.doing), amount(progress.done)),
    }
}

fn table(policies: &[PolicyExplained], out: &mut Out<'_>) -> Result<(), Failure> {
    let mut table = Table::new(&["POLICY", "STATE", "LAST GOOD", "NEXT", "REMARK"]);
    for policy in policies {
        let (tone, state) = standing(policy);
        let last_good = match &policy.last_good {
            Some(good) => Cell::new(out.times.distance(good.time)),
            None => Cell::new("never").toned(Tone::Warning),
        };
        let workflows = || policy.creation.iter().chain(&policy.deletion);
        let next = workflows().filter_map(|workflow| workflow.trigger).map(|trigger| trigger.time).min();
        let next = next.map_or_else(|| "-".to_string(), |at| out.times.distance(at));
        table.row(vec![
            Cell::new(&policy.name),
            Cell::new(state).toned(tone),
            last_good,
            Cell::new(next),
            Cell::new(remark(policy)),
        ]);
    }
    table.print(out)
}

/// The gravest thing there is to say, in a line.
fn remark(policy: &PolicyExplained) -> String {
    if let Some(problem) = policy.problems.first() {
        return match problem.line {
            Some(line) => format!("{}:{line}: {}", problem.file, problem.message),
            None => format!("{}: {}", problem.file, problem.message),
        };
    }
    let workflows = || policy.creation.iter().chain(&policy.deletion);
    if let Some(held) = workflows().find_map(|workflow| workflow.held.as_ref()) {
        return held.clone();
    }
    let troubled = workflows()
        .filter_map(|workflow| workflow.latest_execution.as_ref())
        .find(|latest| status_tone(&latest.status) == Tone::Bad || status_tone(&latest.status) == Tone::Warning);
    let info = troubled.and_then(|latest| latest.info.as_ref());
    if let Some(text) = info.and_then(|info| info.cause.as_ref().or(info.message.as_ref())) {
        return text.clone();
    }
    workflows()
        .find_map(|workflow| workflow.waits_for.as_ref())
        .map_or_else(String::new, |what| format!("waits for {what}"))
}

/// How a policy stands, in a word or two: what hinders it before what it does.
fn standing(policy: &PolicyExplained) -> (Tone, String) {
    let workflows = || policy.creation.iter().chain(&policy.deletion);
    let latest = |status: &str| {
        workflows().filter_map(|workflow| workflow.latest_execution.as_ref()).any(|latest| latest.status == status)
    };
    let busy = workflows().find(|workflow| !workflow.current_state.ends_with("_START"));
    if policy.retired {
        (Tone::Warning, "file gone, run followed to its end".into())
    } else if policy.paused {
        (Tone::Warning, "stopped by command".into())
    } else if !policy.enabled {
        (Tone::Faint, "disabled in its file".into())
    } else if latest("RETRYING") {
        (Tone::Warning, "trying again".into())
    } else if workflows().any(|workflow| workflow.held.is_some()) {
        (Tone::Bad, "held".into())
    } else if latest("FAILED") {
        (Tone::Bad, "failed".into())
    } else if latest("TIME_LIMIT_EXCEEDED") {
        (Tone::Bad, "time limit exceeded".into())
    } else if policy.stale {
        (Tone::Warning, "last good version in force".into())
    } else if let Some(workflow) = busy {
        let word = if workflow.current_state.starts_with("CREAT") { "creating" } else { "deleting" };
        (Tone::Good, word.into())
    } else {
        (Tone::Good, "ok".into())
    }
}

fn status_tone(status: &str) -> Tone {
    match status {
        "SUCCESS" => Tone::Good,
        "RETRYING" => Tone::Warning,
        "FAILED" | "TIME_LIMIT_EXCEEDED" => Tone::Bad,
        _ => Tone::Plain,
    }
}
