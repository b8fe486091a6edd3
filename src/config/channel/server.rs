//! What channels that ask a server by HTTP have in common.

use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use super::text;
use crate::config::problem::Severity;
use crate::config::reader::{Findings, Located};
use crate::config::table::Table;
use crate::lifecycle::channel::MaybeSecret;
use crate::lifecycle::channel::server::{Server, Url, UrlError, host_name};
use crate::lifecycle::time::Span;

/// Where whoever knows the address may write.
const CHATS: [&str; 6] = [
    "hooks.slack.com",
    "discord.com",
    "discordapp.com",
    "chat.googleapis.com",
    ".logic.azure.com",
    ".powerplatform.com",
];
/// More than one server needs.
const ALLOWED_MAX: usize = 16;

/// Reads the keys of a server from the table of a channel. `None` when something is wrong, which is then among the
/// findings. `fill` makes an address of what stands in the file.
pub fn read(
    findings: &mut Findings<'_>,
    table: &mut Table<'_, '_>,
    base: &Path,
    fill: impl Fn(&str) -> String,
) -> Option<Server> {
    let allow_hosts = allow_hosts(findings, table);
    let ca = table.string(findings, "ca").map(|file| base.join(file.value));
    let server =
        Server { url: MaybeSecret::Plain("".into()), ca, time_limit: time_limit(findings, table), allow_hosts };
    let url = if table.is_text("url") {
        let written = table.string(findings, "url")?;
        let at = table.key_at("url").unwrap_or(written.at);
        check(findings, &server, at, &fill(&written.value));
        MaybeSecret::Plain(written.value.into())
    } else if table.has("url") {
        text::maybe_secret(findings, table, "url", base)?
    } else {
        table.allow("url");
        let path = &table.path;
        findings
            .error(table.at.clone(), format!("{path} has no url"))
            .hint(format!("write {path}.url.file = \"PATH\" of a file with mode 0600 that holds the address"));
        return None;
    };
    Some(Server { url, ..server })
}

/// Notes what is wrong with an address. Nothing of it but the host is shown: it may be a secret.
fn check(findings: &mut Findings<'_>, server: &Server, at: Range<usize>, filled: &str) {
    let url = match Url::parse(filled) {
        Ok(url) => url,
        Err(error) => {
            let hint = match error {
                UrlError::Characters if filled.contains("{{") => {
                    "only {{ policy }} can stand there, and only in [ping]"
                }
                _ => error.hint(),
            };
            findings.concealed(at, format!("url {error}"), Severity::Error).hint(hint);
            return;
        }
    };
    let host = &*url.host;
    let name = format!("allow_hosts = [\"{host}\"]");
    if !server.allows(host) {
        if is_here(host) {
            findings
                .concealed(
                    at,
                    format!("url names `{host}`, which is in this network, and no server there is asked"),
                    Severity::Error,
                )
                .hint(format!("if it is meant, allow it: {name}"));
            return;
        }
        if !url.is_tls {
            findings
                .concealed(
                    at,
                    "url begins with http://: whoever is on the way reads what is sent and answers in its place",
                    Severity::Error,
                )
                .hint(format!("write https://; a server of your own network may be allowed: {name}"));
            return;
        }
    }
    if CHATS.iter().any(|chat| if chat.starts_with('.') { host.ends_with(chat) } else { host == *chat }) {
        findings
            .concealed(at, "url is a secret: whoever knows it may write there", Severity::Warning)
            .hint("put it into a file with mode 0600 and write url.file = \"PATH\", or url.credential = \"NAME\"");
    }
}

/// Whether a host is in this network as far as its text says.
fn is_here(host: &str) -> bool {
    let is_local = host == "localhost" || host.ends_with(".localhost");
    is_local
        || match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
            Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
            Err(_) => false,
        }
}

fn time_limit(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Span {
    let span = |text| Span::parse(text).unwrap_or_else(|_| Span::from_millis(30_000));
    let max = span(Server::TIME_LIMIT_MAX);
    match table.span(findings, "time_limit") {
        Some(Located { value, .. }) if value.millis() <= max.millis() => value,
        Some(Located { value, at }) => {
            findings
                .error(at, format!("time_limit {} is too long", value.written()))
                .hint(format!("write {} or less: one that does not answer is tried again", max.written()));
            max
        }
        None => span(Server::TIME_LIMIT),
    }
}

fn allow_hosts(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Vec<Box<str>> {
    let mut allowed: Vec<Box<str>> = Vec::new();
    for Located { value, at } in table.strings(findings, "allow_hosts").unwrap_or_default() {
        if allowed.len() == ALLOWED_MAX {
            findings.error(at, format!("allow_hosts names more than {ALLOWED_MAX} hosts"));
            break;
        }
        const FORM: &str = "write a name or an address and nothing else, as in \"hooks.internal\" or \"10.0.0.7\"";
        if value.contains('*') || value.contains('/') && !value.contains("://") {
            findings.error(at, "allow_hosts names hosts one by one, not many at once").hint(FORM);
            continue;
        }
        let name = host_name(&value);
        let address = name.as_ref().and_then(|name| name.parse::<IpAddr>().ok());
        match (name, address) {
            (_, Some(address)) => allowed.push(address.to_canonical().to_string().into()),
            (Some(name), None) if !name.contains(':') => allowed.push(name.into()),
            _ => findings.error(at, "allow_hosts names no host").hint(FORM),
        }
    }
    allowed
}
