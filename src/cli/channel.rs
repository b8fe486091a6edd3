//! Where notices go, and whether they get there.

use crate::http::body::{ChannelBody, ChannelsBody, TriedBody};

use super::arguments::ChannelCommand;
use super::client::{Client, encode};
use super::out::{Exit, Failure, Out, Tone, safe, safe_lines};
use super::table::{Cell, Table};

/// Beyond so many policies their number says more than their names.
const POLICIES_NAMED_MAX: usize = 3;

/// Carries out a command about channels.
pub fn channel(client: &Client, command: ChannelCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        ChannelCommand::List => list(client, out),
        ChannelCommand::Test { name } => test(client, &name, out),
    }
}

fn list(client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get("/v1/channels")?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let ChannelsBody { channels, problems } = answer.read()?;
    let mut table = Table::new(&[
        "NAME",
        "KIND",
        "TOLD BY",
        "WAITING",
        "GIVEN UP",
        "QUIET",
        "AGAIN AFTER",
        "GIVES UP AFTER",
        "FILE",
    ]);
    for channel in &channels {
        let ChannelBody { name, kind, file, give_up_after, repeat_after, quiet_hours, policies, .. } = channel;
        let count = |count: u64, tone| match count {
            0 => Cell::number("0").toned(Tone::Faint),
            count => Cell::number(count.to_string()).toned(tone),
        };
        let quiet = quiet_hours.as_ref().map(|quiet| format!("{}-{} {}", quiet.from, quiet.until, quiet.timezone));
        let or_none =
            |text: &Option<String>| text.as_ref().map_or_else(|| Cell::new("-").toned(Tone::Faint), Cell::new);
        table.row(vec![
            Cell::new(name),
            Cell::new(kind),
            told_by(policies, channel.is_default),
            count(channel.waiting, Tone::Plain),
            count(channel.undeliverable, Tone::Bad),
            or_none(&quiet),
            or_none(repeat_after),
            Cell::new(give_up_after),
            Cell::new(file),
        ]);
    }
    if table.is_empty() {
        out.line("There are no channels. One is a file channels.d/NAME.toml; `snapkeep explain` tells all the same.")?;
    } else {
        table.print(out)?;
    }
    for problem in channels.iter().flat_map(|channel| &channel.problems).chain(&problems) {
        let tone = if problem.severity.as_ref() == "error" { Tone::Bad } else { Tone::Warning };
        out.line("")?;
        out.line(out.toned(tone, &safe_lines(&problem.text)))?;
    }
    Ok(Exit::Fine)
}

fn told_by(policies: &[String], is_default: bool) -> Cell {
    let named = match policies.len() {
        0 => String::new(),
        1..=POLICIES_NAMED_MAX => policies.join(", "),
        count => format!("{count} policies"),
    };
    match (is_default, named.is_empty()) {
        (true, true) => Cell::new("the daemon"),
        (true, false) => Cell::new(format!("the daemon, {named}")),
        (false, false) => Cell::new(named),
        (false, true) => Cell::new("nobody").toned(Tone::Faint),
    }
}

fn test(client: &Client, name: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.post(&format!("/v1/channels/{}/_test", encode(name)), None, Vec::new())?;
    let tried: TriedBody = answer.read()?;
    let exit = if tried.delivered { Exit::Fine } else { Exit::Failed };
    if out.json {
        out.raw(&answer.document)?;
        return Ok(exit);
    }
    let TriedBody { delivered: _, answer, why, again, conversation } = tried;
    for line in &conversation {
        let tone = if line.starts_with("> ") || line.starts_with("< ") { Tone::Plain } else { Tone::Faint };
        out.line(out.toned(tone, &safe(line)))?;
    }
    if let Some(why) = why {
        out.line(format!("{} {}", out.toned(Tone::Bad, "not delivered:"), safe(&why)))?;
        out.line(worth_trying(again.as_deref().unwrap_or_default()))?;
    } else {
        out.line(format!("{} {}", out.toned(Tone::Good, "delivered:"), safe(&answer.unwrap_or_default())))?;
    }
    Ok(exit)
}

/// Says when it is worth trying again.
fn worth_trying(again: &str) -> String {
    match again {
        "later" => "It may be over soon: notices are tried again by themselves, a little later each time.".to_owned(),
        "changed" => "Somebody has to change something first; then try it again.".to_owned(),
        after => format!(
            "The other side asks not to be told again before {} have passed.",
            safe(after.trim_start_matches("after "))
        ),
    }
}
