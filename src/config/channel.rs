//! A channel: where notices go. One table named after its kind, and beside it what holds for every kind.

mod command;
mod mail;
mod ping;
mod server;
pub mod text;
mod webhook;

use std::path::Path;

use super::reader::{Findings, Located};
use super::table::{Table, nearest};
use super::zone;
use crate::lifecycle::channel::quiet::QuietHours;
use crate::lifecycle::channel::{Channel, Kind, LogLevel, Rules};
use crate::lifecycle::notice::Event;
use crate::lifecycle::zone::Zone;

/// The tables a channel may have, one of them.
const KINDS: [&str; 5] = ["log", "mail", "webhook", "ping", "command"];

/// Returns the channel a text stands for; `None` when something is wrong, which is then among the
/// findings. Relative paths begin at `base`.
pub fn read(findings: &mut Findings<'_>, base: &Path) -> Option<Channel> {
    findings.hide_values();
    let parsed = findings.parse();
    if findings.has_errors() {
        return None;
    }
    let mut root = Table::root(&parsed);
    let rules = rules(findings, &mut root);
    let mut kind = None;
    let mut given = Vec::new();
    for (key, at) in root.keys() {
        let Some(word) = KINDS.into_iter().find(|word| *word == key) else { continue };
        if let Some(first) = given.first() {
            findings
                .error(at, format!("channel is [{first}] already"))
                .hint("a channel has one kind: put the other into a file of its own");
            root.allow(word);
            continue;
        }
        given.push(word);
        let Some(table) = root.table(findings, word) else { continue };
        kind = match word {
            "mail" => mail::read(findings, table, base).map(|mail| Kind::Mail(Box::new(mail))),
            "webhook" => webhook::read(findings, table, base).map(|webhook| Kind::Webhook(Box::new(webhook))),
            "ping" => ping::read(findings, table, base).map(|ping| Kind::Ping(Box::new(ping))),
            "command" => command::read(findings, table, base).map(|command| Kind::Command(Box::new(command))),
            _ => Some(log(findings, table)),
        };
    }
    KINDS.into_iter().for_each(|word| root.allow(word));
    if given.is_empty() {
        let unknown = root.keys().into_iter().find(|(key, _)| !COMMON.contains(key));
        match unknown {
            Some((key, at)) => {
                let hint = nearest(key, &KINDS).map_or_else(
                    || format!("there are: {}", KINDS.map(|kind| format!("[{kind}]")).join(", ")),
                    |near| format!("did you mean [{near}]?"),
                );
                findings.error(at, format!("unknown kind of channel `{key}`")).hint(hint);
            }
            None => {
                findings.missing("channel has no kind").hint("write [log] and level = \"warn\" in it");
            }
        }
        return None;
    }
    if given.first() == Some(&"ping") {
        for key in ["repeat_after", "quiet_hours"] {
            if let Some(at) = root.key_at(key) {
                findings
                    .error(at, format!("{key} beside [ping] raises false alarms"))
                    .hint("whoever waits for signs of life has to hear each of them: leave it out");
            }
        }
    }
    root.finish(findings, &[]);
    if findings.has_errors() { None } else { kind.map(|kind| Channel { kind, rules }) }
}

/// What goes on is told for days; nobody reads it every second.
const REPEAT_MS_MIN: i64 = 60_000;

/// What holds for every kind.
const COMMON: [&str; 3] = ["give_up_after", "repeat_after", "quiet_hours"];

fn log(findings: &mut Findings<'_>, mut table: Table<'_, '_>) -> Kind {
    let levels = [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info)];
    let level = table.word(findings, "level", &levels);
    table.finish(findings, &[]);
    Kind::Log(level.map_or(LogLevel::Warn, |level| level.value))
}

fn rules(findings: &mut Findings<'_>, root: &mut Table<'_, '_>) -> Rules {
    let mut rules = Rules::default();
    if let Some(span) = root.span(findings, "give_up_after") {
        rules.give_up_after = span.value;
    }
    if let Some(span) = root.span(findings, "repeat_after") {
        if span.value.millis() < REPEAT_MS_MIN {
            findings
                .error(span.at, "repeat_after is shorter than a minute")
                .hint("write repeat_after = \"1h\" or longer");
        } else {
            rules.repeat_after = Some(span.value);
        }
    }
    if let Some(table) = root.table(findings, "quiet_hours") {
        rules.quiet = quiet_hours(findings, table);
    }
    rules
}

fn quiet_hours(findings: &mut Findings<'_>, mut table: Table<'_, '_>) -> Option<QuietHours> {
    let (from, until) = (minute(findings, &mut table, "from"), minute(findings, &mut table, "until"));
    let zone = match table.string(findings, "timezone") {
        None => Zone::utc(),
        Some(name) => match zone::load(&name.value) {
            Ok(zone) => zone,
            Err(error) => {
                findings.error(name.at, error.message).hint_if(error.hint);
                Zone::utc()
            }
        },
    };
    let except = table.strings(findings, "except").unwrap_or_default();
    let except = except.into_iter().filter_map(|word| event(findings, &word)).collect();
    let at = table.at.clone();
    table.finish(findings, &[]);
    let (from, until) = (from?, until?);
    if from == until {
        findings.error(at, "quiet hours end when they begin").hint("give them another end, or leave them out");
        return None;
    }
    Some(QuietHours { from, until, zone, except })
}

fn event(findings: &mut Findings<'_>, word: &Located<String>) -> Option<Event> {
    let known: Vec<&str> = Event::CONDITIONS.iter().map(|event| event.word()).collect();
    let event = Event::CONDITIONS.into_iter().find(|event| event.word() == word.value);
    if event.is_none() {
        let hint = nearest(&word.value, &known)
            .map_or_else(|| format!("there are: {}", known.join(", ")), |near| format!("did you mean \"{near}\"?"));
        findings.error(word.at.clone(), format!("unknown condition `{}`", word.value)).hint(hint);
    }
    event
}

/// Reads a time of day as its minute.
fn minute(findings: &mut Findings<'_>, table: &mut Table<'_, '_>, key: &'static str) -> Option<u16> {
    let Some(written) = table.string(findings, key) else {
        if !table.has(key) {
            findings
                .error(table.at.clone(), format!("quiet_hours has no {key}"))
                .hint(format!("write {key} = \"22:00\""));
        }
        return None;
    };
    let minute = minute_of(&written.value);
    if minute.is_none() {
        findings.error(written.at, format!("{key} is no time of day")).hint("write hours and minutes, as in \"22:00\"");
    }
    minute
}

fn minute_of(written: &str) -> Option<u16> {
    let (hours, minutes) = written.split_once(':')?;
    let number = |text: &str, max: u16| {
        let is_two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| is_two_digits && *number <= max)
    };
    Some(number(hours, 23)? * 60 + number(minutes, 59)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_two_digits_twice() {
        assert_eq!(minute_of("00:00"), Some(0));
        assert_eq!(minute_of("23:59"), Some(1_439));
        for none in ["24:00", "7:00", "07:60", "0700", "+7:00", "07:00:00", ""] {
            assert_eq!(minute_of(none), None, "{none}");
        }
    }
}
