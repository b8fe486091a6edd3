//! What was run, and how it ended; who commanded what.

use crate::http::body::{AuditBody, HistoryBody};

use super::arguments::Workflow;
use super::client::{Client, names_query};
use super::out::{Exit, Failure, Out, Tone};
use super::table::{Cell, Table};
use super::times::span;

/// Shows runs, newest first.
pub fn history(
    client: &Client,
    names: &[String],
    workflow: Option<Workflow>,
    limit: u32,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let mut path = format!("/v1/history?limit={limit}");
    if !names.is_empty() {
        path.push_str(&format!("&{}", names_query(names)));
    }
    if let Some(workflow) = workflow {
        path.push_str(&format!("&workflow={}", workflow.word()));
    }
    let answer = client.get(&path)?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: HistoryBody = answer.read()?;
    let heading = format!("BEGAN ({})", out.times.zone());
    let mut table = Table::new(&[&heading, "POLICY", "WORKFLOW", "OUTCOME", "TOOK", "WHAT"]);
    for run in &body.runs {
        let (tone, outcome) = match run.outcome.as_deref() {
            None => (Tone::Plain, "under way"),
            Some(outcome @ "succeeded") => (Tone::Good, outcome),
            Some(outcome @ "cancelled") => (Tone::Faint, outcome),
            Some(outcome) => (Tone::Bad, outcome),
        };
        let took = run.end_time.map_or_else(|| "-".to_string(), |end| span(end.saturating_sub(run.start_time)));
        let what = match (&run.message, &run.cause) {
            (Some(message), Some(cause)) => format!("{message}: {cause}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => run.snapshot.as_deref().unwrap_or("").to_string(),
        };
        table.row(vec![
            Cell::new(out.times.at(run.start_time)),
            Cell::new(&run.policy),
            Cell::new(&run.workflow),
            Cell::new(outcome).toned(tone),
            Cell::new(took),
            Cell::new(what),
        ]);
    }
    if table.is_empty() {
        out.line("Nothing was run yet.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}

/// Shows who commanded what and what was deleted, newest first.
pub fn audit(client: &Client, names: &[String], limit: u32, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut path = format!("/v1/audit?limit={limit}");
    if !names.is_empty() {
        path.push_str(&format!("&{}", names_query(names)));
    }
    let answer = client.get(&path)?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: AuditBody = answer.read()?;
    let heading = format!("WHEN ({})", out.times.zone());
    let mut table = Table::new(&[&heading, "WHO", "WHAT", "OF", "ANSWER", "IN A SENTENCE"]);
    for line in &body.records {
        let detail = match (&line.before, &line.after) {
            (None, None) => line.detail.clone(),
            (before, after) => {
                let shown = |side: &Option<Box<str>>| side.as_deref().unwrap_or("nothing").to_string();
                format!("{} ({} → {})", line.detail, shown(before), shown(after))
            }
        };
        let answer = line.answer.as_deref().unwrap_or("-");
        let tone = if matches!(answer, "done" | "-") { Tone::Plain } else { Tone::Bad };
        table.row(vec![
            Cell::new(out.times.at(line.time)),
            Cell::new(&line.who),
            Cell::new(&line.what),
            Cell::new(&line.subject),
            Cell::new(answer).toned(tone),
            Cell::new(detail),
        ]);
    }
    if table.is_empty() {
        out.line("Nothing was commanded or deleted yet.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}
