//! Verification and maintenance: the daemon does them, and this waits and shows how far they are.
//! Whoever stops waiting stops nothing.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::drivers::Progress;
use crate::http::body::{AmountBody, MaintainedBody, OperationBody, OperationsBody, VerifiedBody, VerifyOrder};

use super::arguments::{OperationWord, VerifyArguments};
use super::client::{Answer, Client, encode};
use super::explain::progress_words;
use super::out::{Exit, Failure, Out, Tone, safe};
use super::restore;
use super::table::{Cell, Table};
use super::times::{bytes, span};

/// Often enough to look alive, seldom enough to cost nothing.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Looks whether a snapshot's data is there.
pub fn verify(client: &Client, arguments: VerifyArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let VerifyArguments { snapshot, read_data, policy, repository } = arguments;
    let order = VerifyOrder { snapshot, read_data_percent: read_data, repositories: repository, policies: policy };
    let body = serde_json::to_vec(&order)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to form the request: {error}")))?;
    follow(client, client.post("/v1/verify", None, body)?, out)
}

/// Maintains a repository now.
pub fn maintain(client: &Client, repository: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let path = format!("/v1/repositories/{}/maintain", encode(repository));
    follow(client, client.post(&path, None, Vec::new())?, out)
}

/// Shows what was begun of either, newest first.
pub fn operations(
    client: &Client,
    names: &[String],
    what: Option<OperationWord>,
    limit: u32,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let mut path = format!("/v1/operations?limit={limit}");
    if !names.is_empty() {
        path.push_str(&format!("&subject={}", encode(&names.join(","))));
    }
    if let Some(what) = what {
        path.push_str(&format!("&what={}", what.word()));
    }
    let answer = client.get(&path)?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: OperationsBody = answer.read()?;
    let heading = format!("BEGAN ({})", out.times.zone());
    let mut table = Table::new(&[&heading, "OPERATION", "OF", "OUTCOME", "TOOK", "BY", "WHAT"]);
    for operation in &body.operations {
        let tone = match &*operation.state {
            "succeeded" => Tone::Good,
            "failed" => Tone::Bad,
            "interrupted" => Tone::Warning,
            _ => Tone::Plain,
        };
        let took = match (operation.start_time, operation.end_time) {
            (Some(start), Some(end)) => span(end.saturating_sub(start)),
            _ => "-".to_owned(),
        };
        let what = match (&operation.message, &operation.progress) {
            (Some(message), _) => message.clone(),
            (None, Some(progress)) => progress_words(progress),
            (None, None) => String::new(),
        };
        table.row(vec![
            Cell::new(operation.start_time.map_or_else(|| "-".to_owned(), |at| out.times.at(at))),
            Cell::new(&operation.what),
            Cell::new(&operation.subject),
            Cell::new(&operation.state).toned(tone),
            Cell::new(took),
            Cell::new(&operation.who),
            Cell::new(what),
        ]);
    }
    if table.is_empty() {
        out.line("Nothing was maintained, verified, held, adopted or expired yet.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}

/// Waits until it is over and tells what it came to.
pub fn follow(client: &Client, begun: Answer, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (answer, exit) = followed(client, begun)?;
    let body: OperationBody = answer.read()?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(exit);
    }
    tell(&body, out).map(|()| exit)
}

/// Waits until it is over. Returns the last answer, and how it ended.
pub fn followed(client: &Client, begun: Answer) -> Result<(Answer, Exit), Failure> {
    let mut answer = begun;
    let mut body: OperationBody = answer.read()?;
    let bar = ProgressBar::new_spinner();
    while body.state == "running" {
        if let Some(told) = &body.progress {
            let (doing, unit) = (told.doing.clone(), told.unit.clone());
            restore::show(&bar, &Progress { doing, done: told.done, total: told.total, unit });
        }
        client.pause(ASK_EVERY);
        answer = client.get(&format!("/v1/operations/{}", body.operation))?;
        body = answer.read()?;
    }
    bar.finish_and_clear();
    let exit = if body.state == "succeeded" { Exit::Fine } else { Exit::Failed };
    Ok((answer, exit))
}

fn tell(body: &OperationBody, out: &mut Out<'_>) -> Result<(), Failure> {
    let subject = safe(&body.subject).into_owned();
    match (&body.verified, &body.maintained) {
        (Some(VerifiedBody { repository, files, bytes_read }), _) => {
            let sound = format!("Snapshot {subject} in repository {} is sound.", safe(repository));
            out.line(out.toned(Tone::Good, &sound))?;
            let read = if *bytes_read == 0 {
                "none of it was read".to_owned()
            } else {
                format!("{} were read", bytes(*bytes_read))
            };
            out.line(format!("All data of its {files} files is there; {read}."))?;
        }
        (None, Some(MaintainedBody { marked, removed, kept, repaired, message })) => {
            out.line(out.toned(Tone::Good, &format!("Repository {subject} is maintained and sound.")))?;
            let mut lines = vec![("Removed", removed), ("Marked for removal", marked), ("Marked before", kept)];
            if repaired.count > 0 {
                lines.push(("Needed after all", repaired));
            }
            for (what, AmountBody { count, bytes: size }) in lines {
                out.line(format!("  {what}: {count} packs, {}", bytes(*size)))?;
            }
            if let Some(message) = message {
                out.line(format!("  {}", safe(message)))?;
            }
        }
        (None, None) if body.state == "succeeded" => {
            let told = body.message.as_deref().unwrap_or("done");
            out.line(out.toned(Tone::Good, &format!("{subject}: {}", safe(told))))?;
        }
        (None, None) => {
            let why = body.message.as_deref().unwrap_or("the daemon does not say why");
            return Err(Failure::new(Exit::Failed, format!("failed to {} {subject}: {}", safe(&body.what), safe(why))));
        }
    }
    Ok(())
}
