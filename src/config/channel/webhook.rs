//! `[webhook]` of a channel.

use std::collections::BTreeMap;
use std::path::Path;

use super::{server, text};
use crate::config::problem::Severity;
use crate::config::reader::{Findings, Located};
use crate::config::table::{Table, nearest};
use crate::lifecycle::channel::SecretSource;
use crate::lifecycle::channel::webhook::{Method, Signing, Webhook};
use crate::template::{self, Form};

/// What the head has anyway, and what would break it.
const HEADERS_OURS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];
/// What opens a door, whatever is written into it.
const HEADERS_SECRET: [&str; 6] =
    ["authorization", "cookie", "private-token", "proxy-authorization", "x-api-key", "x-auth-token"];
/// More than any service asks for.
const HEADERS_MAX: usize = 32;

/// Reads the table. `None` when something is wrong, which is then among the findings. Relative paths begin at
/// `base`.
pub fn read(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> Option<Webhook> {
    let server = server::read(findings, &mut table, base, str::to_owned);
    let methods = [("POST", Method::Post), ("PUT", Method::Put)];
    let method = table.word(findings, "method", &methods).map_or(Method::Post, |method| method.value);
    let secrets = match table.table(findings, "secrets") {
        Some(secrets) => text::secrets(findings, secrets, base),
        None => BTreeMap::new(),
    };
    let content_type = content_type(findings, &mut table);
    let headers = match table.table(findings, "headers") {
        Some(headers) => read_headers(findings, &headers, &secrets),
        None => BTreeMap::new(),
    };
    let body = table.string(findings, "body");
    let signing = table.table(findings, "signing").and_then(|table| read_signing(findings, table, base));
    if body.is_none() && content_type.is_some() && !table.has("body") {
        let at = table.key_at("content_type").unwrap_or_else(|| table.at.clone());
        findings
            .error(at, "content_type means nothing without body")
            .hint("leave it out: without a body of your own it is JSON, and says so");
    }
    table.finish(findings, ELSEWHERE);
    let content_type = content_type.unwrap_or_else(|| Webhook::CONTENT_TYPE.to_owned()).into();
    let webhook = Webhook { server: server?, method, content_type, body: None, headers, secrets, signing };
    if let Some(body) = &body {
        try_out(findings, body, if webhook.is_json() { Form::Json } else { Form::Text }, "body", &webhook.secrets);
    }
    Some(Webhook { body: body.map(|body| body.value.into()), ..webhook })
}

/// Keys that people look for in the wrong place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("secret", "write [webhook.signing] and secret.file = \"PATH\" in it"),
    ("token", "write token.file = \"PATH\" in [webhook.secrets], and {{ secret.token }} where it goes"),
    ("timeout", "write time_limit"),
    ("insecure", "there is no such thing: name the authority in ca"),
    ("retry", "write give_up_after above [webhook]: it is tried until then"),
    ("template", "write body"),
];

fn content_type(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Option<String> {
    let Located { value, at } = table.string(findings, "content_type")?;
    let is_type = value.contains('/') && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !is_type {
        findings.error(at, "content_type is none").hint("write one such as \"text/plain; charset=utf-8\"");
        return None;
    }
    Some(value)
}

fn read_headers(
    findings: &mut Findings<'_>,
    table: &Table<'_, '_>,
    secrets: &BTreeMap<Box<str>, SecretSource>,
) -> BTreeMap<Box<str>, Box<str>> {
    let mut headers = BTreeMap::new();
    for (written, at, value) in table.texts(findings) {
        let name = written.to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if headers.len() == HEADERS_MAX {
            findings.error(at, format!("webhook has more than {HEADERS_MAX} headers"));
            break;
        }
        if name.is_empty() || name.len() > 128 || !name.bytes().all(is_name) {
            findings.error(at, "header has a name that none can have").hint("write letters, digits and -");
        } else if name == "content-type" {
            findings.error(at, "content-type has a key of its own").hint("write content_type in [webhook]");
        } else if HEADERS_OURS.contains(&name.as_str()) {
            findings.error(at, format!("header {written} is ours to set")).hint("leave it out");
        } else if HEADERS_SECRET.contains(&name.as_str()) && !value.value.contains("secret.") {
            // What was written is not repeated: it may be the secret.
            findings
                .concealed(
                    at,
                    format!("header {written} opens a door, and what opens it does not belong into this file"),
                    Severity::Error,
                )
                .hint(format!(
                    "write token.file = \"PATH\" in [webhook.secrets], and {written} = \"Bearer {{{{ secret.token }}}}\""
                ));
        } else if headers.contains_key(name.as_str()) {
            findings.error(at, format!("header {written} is given twice")).hint("capitals make no difference");
        } else {
            try_out(findings, &value, Form::Line, &format!("header {written}"), secrets);
            headers.insert(name.into(), value.value.into());
        }
    }
    headers
}

fn read_signing(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> Option<Signing> {
    if !table.has("secret") {
        findings
            .error(table.at.clone(), format!("{} has no secret", table.path))
            .hint("write secret.file = \"PATH\" of a file with mode 0600, or secret.credential = \"NAME\"");
    }
    let secret = text::secret(findings, &mut table, "secret", base);
    let previous = text::secret(findings, &mut table, "previous_secret", base);
    if let (Some(secret), Some(previous)) = (&secret, &previous)
        && secret == previous
    {
        let at = table.key_at("previous_secret").unwrap_or_else(|| table.at.clone());
        findings.error(at, "previous_secret is where secret is").hint("leave it out, or name the one before");
    }
    table.finish(findings, &[]);
    Some(Signing { secret: secret?, previous })
}

/// Fills a template with samples: a slip is told now, and not when something has failed.
fn try_out(
    findings: &mut Findings<'_>,
    written: &Located<String>,
    form: Form,
    what: &str,
    secrets: &BTreeMap<Box<str>, SecretSource>,
) {
    let names: Vec<&str> = secrets.keys().map(|name| &**name).collect();
    if let Some(unknown) = template::unknown(&written.value, &names).into_iter().next() {
        let hint = match unknown.strip_prefix("secret.") {
            Some(secret) => format!("write {secret}.file = \"PATH\" in [webhook.secrets]"),
            None => nearest(&unknown, &template::KEYS).map_or_else(
                || format!("there are: {}", template::KEYS.join(", ")),
                |near| format!("did you mean {near}?"),
            ),
        };
        let at = written
            .value
            .find(&unknown)
            .map_or_else(|| written.at.clone(), |from| findings.inside(written, from..from + unknown.len()));
        findings.error(at, format!("{what} uses `{unknown}`, which is not there")).hint(hint);
        return;
    }
    for (number, sample) in template::samples().iter().enumerate() {
        let Err(error) = template::render(&written.value, form, &sample.words(names.iter().copied())) else { continue };
        let line = error.line.map_or_else(String::new, |line| format!(" in line {line} of it"));
        // What is wrong with the first is wrong with any.
        let of = if number == 0 { String::new() } else { format!(", filled for `{}`", sample.event().word()) };
        let message = format!("{what} {}{line}{of}", error.detail);
        let hint = match form {
            Form::Json => Some("text stands in quotes, as in \"{{ subject }}\"; {{ subject | tojson }} brings its own"),
            Form::Line if error.detail.contains("a line") => {
                Some("subject is one line; what, why and text may have several")
            }
            Form::Line | Form::Text => None,
        };
        findings.error(written.at.clone(), message).hint_if(hint);
        return;
    }
}
