//! Policies: listed, shown, started, stopped, run.

use std::time::Duration;

use crate::http::body::{
    ConditionBody, ExplainBody, HistoryBody, KeepBody, PaceBody, PoliciesBody, PolicyBody, RunBody, RunOrder,
    RunRecordBody,
};

use super::arguments::{PolicyCommand, Workflow};
use super::client::{Client, encode, names_query};
use super::out::{Exit, Failure, Out, Tone, safe};
use super::table::{Cell, Table};
use super::times::span;

/// Often enough to feel prompt, seldom enough to cost nothing.
const WAIT_STEP: Duration = Duration::from_millis(500);

/// Carries out a command about policies.
pub fn policy(client: &Client, command: PolicyCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::List { names } => list(client, &names, out),
        PolicyCommand::Show { name } => show(client, &name, out),
        PolicyCommand::Start { name } => {
            tell(client, &name, "start", "is started: its triggers count from now on", out)
        }
        PolicyCommand::Stop { name } => {
            tell(client, &name, "stop", "is stopped: no trigger runs; what was begun is followed to its end", out)
        }
        PolicyCommand::Run { name, deletion, key, wait } => {
            let workflow = if deletion { Workflow::Deletion } else { Workflow::Creation };
            run(client, &name, workflow, key.as_deref(), wait, out)
        }
        PolicyCommand::Import(_) | PolicyCommand::Export { .. } => {
            Err(Failure::new(Exit::Usage, "this needs no daemon"))
        }
    }
}

fn list(client: &Client, names: &[String], out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get(&format!("/v1/policies?{}", names_query(names)))?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: PoliciesBody = answer.read()?;
    let mut table = Table::new(&["POLICY", "RUNS", "CREATION", "DELETION", "KEEPS", "REPOSITORY"]);
    for policy in &body.policies {
        let schedule = |pace: &Option<PaceBody>| pace.as_ref().map_or("-".to_string(), |pace| pace.schedule.clone());
        let runs =
            if policy.enabled { Cell::new("yes").toned(Tone::Good) } else { Cell::new("no").toned(Tone::Warning) };
        table.row(vec![
            Cell::new(&policy.name),
            runs,
            Cell::new(schedule(&policy.creation)),
            Cell::new(schedule(&policy.deletion)),
            Cell::new(keeps(policy)),
            Cell::new(policy.repository.as_deref().unwrap_or("-")),
        ]);
    }
    if table.is_empty() {
        out.line("There are no policies.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}

fn keeps(policy: &PolicyBody) -> String {
    let Some(ConditionBody { max_age, max_count, min_count, min_age, keep }) = &policy.condition else {
        return "everything".to_string();
    };
    let mut words = Vec::new();
    words.extend(keep.as_ref().map(rules));
    words.extend(max_age.as_ref().map(|age| format!("{age} long")));
    words.extend(max_count.map(|count| format!("at most {count}")));
    words.push(format!("at least {min_count}"));
    words.extend(min_age.as_ref().map(|age| format!("younger than {age}")));
    words.join(", ")
}

fn rules(keep: &KeepBody) -> String {
    let KeepBody { last, hourly, daily, weekly, monthly, quarterly, yearly, within, timezone: _ } = keep;
    let counts = [
        ("last", last),
        ("hourly", hourly),
        ("daily", daily),
        ("weekly", weekly),
        ("monthly", monthly),
        ("quarterly", quarterly),
        ("yearly", yearly),
    ];
    let mut words: Vec<String> =
        counts.into_iter().filter_map(|(word, count)| Some(format!("{word} {}", (*count)?))).collect();
    words.extend(within.as_ref().map(|within| format!("within {within}")));
    words.join(", ")
}

fn show(client: &Client, name: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get(&format!("/v1/policies/{}", encode(name)))?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let policy: PolicyBody = answer.read()?;
    let mut lines = vec![("policy", policy.name.to_string())];
    lines.extend(policy.description.as_ref().map(|text| ("description", text.to_string())));
    let runs = match (policy.enabled, policy.paused) {
        (true, _) => "yes",
        (false, true) => "no, stopped by command",
        (false, false) => "no, disabled in its file",
    };
    lines.push(("runs", runs.to_string()));
    lines.push(("file", policy.file.clone().unwrap_or_else(|| "gone".to_string())));
    if policy.stale {
        lines.push(("", "has problems; the last good version is in force (see explain)".to_string()));
    }
    lines.extend(policy.revision.as_ref().map(|text| ("revision", text.to_string())));
    lines.push(("identity", policy.uid.to_string()));
    if let (Some(repository), Some(driver)) = (&policy.repository, &policy.driver) {
        lines.push(("repository", format!("{repository} ({driver})")));
    }
    for (label, pace) in [("creation", &policy.creation), ("deletion", &policy.deletion)] {
        match pace {
            Some(pace) => {
                lines.push((label, pace.schedule.clone()));
                lines.push(("", format!("time limit {}, {} further attempts", pace.time_limit, pace.retry_count)));
                if let Some(at) = pace.next_trigger {
                    lines.push(("", format!("next {} {}", out.times.at(at), out.times.zone())));
                }
            }
            None => lines.push((label, "none".to_string())),
        }
    }
    lines.push(("keeps", keeps(&policy)));
    if let Some(keep) = policy.condition.as_ref().and_then(|condition| condition.keep.as_ref()) {
        lines.push(("", format!("hours, days, weeks … of {}", keep.timezone)));
    }
    let channels = if policy.channels.is_empty() { "nobody".to_string() } else { policy.channels.join(", ") };
    lines.push(("tells", channels));
    for (label, text) in lines {
        out.line(format!("{label:13}{}", safe(&text)).trim_end())?;
    }
    Ok(Exit::Fine)
}

fn tell(client: &Client, name: &str, what: &str, done: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.post(&format!("/v1/policies/{}/{what}", encode(name)), None, Vec::new())?;
    if out.json {
        out.raw(&answer.document)?;
    } else {
        out.line(format!("{} {done}.", safe(name)))?;
    }
    Ok(Exit::Fine)
}

fn run(
    client: &Client,
    name: &str,
    workflow: Workflow,
    key: Option<&str>,
    wait: bool,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let order = RunOrder { workflow: workflow.word().to_string() };
    let body = serde_json::to_vec(&order).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let answer = client.post(&format!("/v1/policies/{}/run", encode(name)), key, body)?;
    let begun: RunBody = answer.read()?;
    if !wait {
        if out.json {
            out.raw(&answer.document)?;
        } else {
            let what =
                begun.snapshot.as_ref().map_or_else(String::new, |snapshot| format!(", making {}", safe(snapshot)));
            out.line(format!("Run {} has begun{what}.", safe(&begun.run_id)))?;
        }
        return Ok(Exit::Fine);
    }
    let settled = settled(client, name, workflow, &begun.run_id)?;
    if out.json {
        out.value(&settled)?;
    } else {
        let outcome = settled.outcome.as_deref().unwrap_or("unknown");
        let took = settled.end_time.map_or(0, |end| end.saturating_sub(settled.start_time));
        let message = settled.message.as_deref().unwrap_or("no message");
        out.line(format!("{} after {}: {}", safe(outcome), span(took), safe(message)))?;
        if let Some(cause) = &settled.cause {
            out.line(format!("  {}", safe(cause)))?;
        }
    }
    Ok(if settled.outcome.as_deref() == Some("succeeded") { Exit::Fine } else { Exit::Failed })
}

/// Waits until a run has settled, and returns its record. The run's own time limit bounds the wait.
fn settled(client: &Client, name: &str, workflow: Workflow, run_id: &str) -> Result<RunRecordBody, Failure> {
    let explain = format!("/v1/explain?name={}", encode(name));
    let history = format!("/v1/history?name={}&workflow={}&limit=1000", encode(name), workflow.word());
    loop {
        // Explain costs nothing; the journal is asked once the run is not under way any more.
        if !is_under_way(&client.get(&explain)?.read()?, workflow, run_id) {
            let body: HistoryBody = client.get(&history)?.read()?;
            match body.runs.into_iter().find(|run| *run.run_id == *run_id) {
                Some(run) if run.end_time.is_some() => return Ok(run),
                Some(_) => {}
                None => {
                    return Err(Failure::new(Exit::Failed, format!("run {run_id} is not in the history any more")));
                }
            }
        }
        client.pause(WAIT_STEP);
    }
}

fn is_under_way(body: &ExplainBody, workflow: Workflow, run_id: &str) -> bool {
    body.policies.iter().any(|policy| {
        let explained = match workflow {
            Workflow::Creation => &policy.creation,
            Workflow::Deletion => &policy.deletion,
        };
        let latest = explained.as_ref().and_then(|explained| explained.latest_execution.as_ref());
        latest.is_some_and(|latest| *latest.run_id == *run_id && latest.end_time.is_none())
    })
}
