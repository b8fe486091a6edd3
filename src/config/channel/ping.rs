//! `[ping]` of a channel.

use std::path::Path;

use super::server;
use crate::config::reader::{Findings, Located};
use crate::config::table::Table;
use crate::lifecycle::channel::ping::Ping;
use crate::lifecycle::time::Span;
use crate::lifecycle::workflow::Kind;

/// Reads the table. `None` when something is wrong, which is then among the findings. Relative paths begin at
/// `base`.
pub fn read(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> Option<Ping> {
    let server = server::read(findings, &mut table, base, |url| Ping::address_of(url, Some("policy")));
    let heartbeat = heartbeat(findings, &mut table);
    let workflows = workflows(findings, &mut table);
    table.finish(findings, ELSEWHERE);
    Some(Ping { server: server?, heartbeat, workflows })
}

/// Keys of other channels that people look for here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("every", "write heartbeat = \"5m\""),
    ("interval", "write heartbeat = \"5m\""),
    ("body", "a ping's body is the notice as text; write [webhook] for one of your own"),
    ("headers", "a ping has no headers of your own; write [webhook] for them"),
    ("method", "a ping is always a POST; write [webhook] for another"),
];

fn heartbeat(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Option<Span> {
    let Located { value, at } = table.span(findings, "heartbeat")?;
    let min_ms = Span::parse(Ping::HEARTBEAT_MIN).map_or(60_000, |min| min.millis());
    if value.millis() < min_ms {
        findings
            .error(at, format!("heartbeat {} is too often", value.written()))
            .hint(format!("write {} or more", Ping::HEARTBEAT_MIN));
        return None;
    }
    Some(value)
}

fn workflows(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Vec<Kind> {
    let Some(written) = table.strings(findings, "workflows") else { return vec![Kind::Creation] };
    let mut kinds = Vec::new();
    for Located { value, at } in written {
        match Kind::ALL.into_iter().find(|kind| kind.word() == value) {
            Some(kind) => kinds.push(kind),
            None => findings
                .error(at, format!("workflows cannot hold `{value}`"))
                .hint("write [\"creation\"], [\"deletion\"] or both"),
        }
    }
    kinds
}
