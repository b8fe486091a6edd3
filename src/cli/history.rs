//! What was run, and how it ended.

use crate::http::body::HistoryBody;

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
