//! What channels are owed, and what became of it.

use crate::http::body::{NoticeBody, NoticesBody};

use super::arguments::{NoticesCommand, NoticesListArguments};
use super::client::{Client, encode};
use super::out::{Exit, Failure, Out, Tone, safe};
use super::table::{Cell, Table};

/// Carries out a command about notices.
pub fn notices(client: &Client, command: NoticesCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        NoticesCommand::List(arguments) => list(client, &arguments, out),
        NoticesCommand::Show { number } => show(client, number, out),
        NoticesCommand::Resend { numbers } => resend(client, &numbers, out),
    }
}

fn list(client: &Client, arguments: &NoticesListArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let NoticesListArguments { state, channel, policy, limit } = arguments;
    let mut path = format!("/v1/notices?limit={limit}");
    for (name, value) in [("state", state), ("channel", channel), ("policy", policy)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    let answer = client.get(&path)?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: NoticesBody = answer.read()?;
    let heading = format!("WHEN ({})", out.times.zone());
    let mut table = Table::new(&["NUMBER", &heading, "CHANNEL", "EVENT", "TIMES", "STATE", "TRIES", "SUBJECT"]);
    for notice in &body.notices {
        table.row(vec![
            Cell::number(notice.number.to_string()),
            Cell::new(out.times.at(notice.time)),
            Cell::new(&notice.channel),
            Cell::new(&notice.event),
            Cell::number(notice.count.to_string()),
            Cell::new(&notice.state).toned(tone(&notice.state)),
            Cell::number(notice.attempts.to_string()),
            Cell::new(&notice.subject),
        ]);
    }
    if table.is_empty() {
        out.line("There are no such notices.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}

fn tone(state: &str) -> Tone {
    match state {
        "delivered" => Tone::Good,
        "undeliverable" => Tone::Bad,
        "superseded" => Tone::Faint,
        _ => Tone::Plain,
    }
}

fn show(client: &Client, number: u64, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get(&format!("/v1/notices/{number}"))?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let notice: NoticeBody = answer.read()?;
    out.line(format!("Notice {number} to {}: {}", safe(&notice.channel), safe(&notice.subject)))?;
    let at = |at: i64| out.times.at(at);
    let times = (notice.count > 1).then(|| format!("{}, the latest {}", notice.count, at(notice.latest)));
    let lines = [
        ("state", Some(notice.state.to_string())),
        ("event", Some(format!("{} ({})", notice.event, notice.severity))),
        ("policy", notice.policy.as_deref().map(str::to_owned)),
        ("workflow", notice.workflow.as_deref().map(str::to_owned)),
        ("run", notice.run_id.as_deref().map(str::to_owned)),
        ("snapshot", notice.snapshot.as_deref().map(str::to_owned)),
        ("happened", Some(at(notice.time))),
        ("times", times),
        ("what", Some(notice.what)),
        ("why", notice.why),
        ("keeps", notice.keeps),
        ("next", notice.next),
        ("look", notice.look),
        ("tries", Some(notice.attempts.to_string())),
        ("tried next", notice.due.map(at)),
        ("settled", notice.settled.map(at)),
        ("refused", notice.trouble),
        ("answer", notice.answer),
        ("key", Some(notice.key.to_string())),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            out.line(format!("  {name:<11}{}", safe(&text)))?;
        }
    }
    Ok(Exit::Fine)
}

fn resend(client: &Client, numbers: &[u64], out: &mut Out<'_>) -> Result<Exit, Failure> {
    for number in numbers {
        let answer = client.post(&format!("/v1/notices/{number}/_resend"), None, Vec::new())?;
        if out.json {
            out.raw(&answer.document)?;
        } else {
            out.line(format!(
                "Notice {number} is sent again; `snapkeep notices show {number}` tells what comes of it."
            ))?;
        }
    }
    Ok(Exit::Fine)
}
