//! `[mail]` of a channel.

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lettre::Address;
use rustls::pki_types::ServerName;

use super::text;
use crate::config::reader::{Findings, Located};
use crate::config::table::{Bounds, Table};
use crate::lifecycle::channel::mail::{Login, Mail, Mailbox, Tls};
use crate::lifecycle::time::Span;

/// Half of what every server takes in one mail (RFC 5321, 4.5.3.1.8). More are a list's business.
const RECIPIENTS_MAX: usize = 50;
/// A server that is asked over the network does not answer sooner than this by much.
const TIME_LIMIT_MIN_MS: i64 = 1_000;
const FORM: &str = "write an address, as in \"ops@example.org\" or \"Operations <ops@example.org>\"";
/// What other programs call the keys.
const ELSEWHERE: [(&str, &str); 14] = [
    ("server", "the key is host"),
    ("smtp", "the key is host"),
    ("smarthost", "the keys are host and port"),
    ("username", "the key is user"),
    ("login", "the key is user"),
    ("auth", "the keys are user and password"),
    ("recipient", "the key is to"),
    ("recipients", "the key is to"),
    ("sender", "the key is from"),
    ("starttls", "write tls = \"starttls\", which is the default"),
    ("ssl", "write tls = \"implicit\" or tls = \"starttls\""),
    ("timeout", "the key is time_limit"),
    ("password_file", "the key is password.file"),
    ("subject", "subjects are made of what happened, so that programs can tell them apart"),
];

/// Reads the table. `None` when something is wrong, which is then among the findings. Relative paths begin at
/// `base`.
pub fn read(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> Option<Mail> {
    let words = [("starttls", Tls::StartTls), ("implicit", Tls::Implicit), ("none", Tls::None)];
    let tls = table.word(findings, "tls", &words);
    let is_tls_unknown = table.has("tls") && tls.is_none();
    let tls_at = tls.as_ref().map(|tls| tls.at.clone());
    let tls = tls.map_or(Tls::StartTls, |tls| tls.value);

    let host = required(findings, &mut table, "host", "\"mail.example.org\"", Table::string);
    let host = host.and_then(|written| host_of(findings, written));
    if tls == Tls::None
        && let (Some(host), Some(at)) = (&host, &tls_at)
        && !is_loopback(&host.value)
    {
        findings
            .error(at.clone(), format!("mail to {} would travel open for all to read", host.value))
            .hint("write \"starttls\" or \"implicit\"; \"none\" is for a server on this machine, such as localhost");
    }
    let port = port(findings, &mut table, tls, is_tls_unknown);
    let ca = ca(findings, &mut table, tls, base);
    let login = login(findings, &mut table, tls, base);
    let from = required(findings, &mut table, "from", "\"snapkeep@example.org\"", Table::string);
    let from = from.and_then(|written| mailbox(findings, "from", &written));
    let to = required(findings, &mut table, "to", "\"ops@example.org\"", texts);
    let to = to.and_then(|written| mailboxes(findings, written));
    let time_limit = time_limit(findings, &mut table);
    table.finish(findings, &ELSEWHERE);
    Some(Mail { host: host?.value, port, tls, ca, login: login.ok()?, from: from?, to: to?, time_limit: time_limit? })
}

/// Reads what has to be there.
fn required<'a, 't, T>(
    findings: &mut Findings<'_>,
    table: &mut Table<'a, 't>,
    key: &'static str,
    example: &str,
    read: impl FnOnce(&mut Table<'a, 't>, &mut Findings<'_>, &'static str) -> Option<T>,
) -> Option<T> {
    if !table.has(key) {
        table.allow(key);
        findings.error(table.at.clone(), format!("mail has no {key}")).hint(format!("write {key} = {example}"));
        return None;
    }
    read(table, findings, key)
}

/// Reads one text, or a list of them.
fn texts(table: &mut Table<'_, '_>, findings: &mut Findings<'_>, key: &'static str) -> Option<Vec<Located<String>>> {
    if table.is_text(key) {
        return table.string(findings, key).map(|text| vec![text]);
    }
    table.strings(findings, key)
}

fn host_of(findings: &mut Findings<'_>, written: Located<String>) -> Option<Located<Box<str>>> {
    let Located { value, at } = written;
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&value);
    let is_bracketed = bare.len() != value.len();
    if ServerName::try_from(bare).is_ok() && (!is_bracketed || bare.contains(':')) {
        return Some(Located { value: bare.into(), at });
    }
    let rest = value.split_once("://").map_or(&*value, |(_, rest)| rest).trim_end_matches('/');
    let hint = match rest.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && ServerName::try_from(name).is_ok() => {
            format!("write host = \"{name}\" and port = {port}")
        }
        _ if ServerName::try_from(rest).is_ok() => format!("write host = \"{rest}\""),
        _ => "write a name or an address, as in \"mail.example.org\"".to_string(),
    };
    findings.error(at, "host is no name of a server").hint(hint);
    None
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn port(findings: &mut Findings<'_>, table: &mut Table<'_, '_>, tls: Tls, is_tls_unknown: bool) -> u16 {
    let written = table.number(findings, "port", Bounds { min: 1, max: u32::from(u16::MAX) });
    let Some(Located { value, at }) = written else { return tls.port() };
    let meant = match (value, tls) {
        (465, Tls::StartTls | Tls::None) => Some("465 is where servers speak TLS from the first byte"),
        (25 | 587, Tls::Implicit) => Some("here servers begin without TLS"),
        _ => None,
    };
    if let (Some(why), false) = (meant, is_tls_unknown) {
        let word = if tls == Tls::Implicit { "starttls" } else { "implicit" };
        findings.warning(at, format!("port and tls do not go together: {why}")).hint(format!("write tls = \"{word}\""));
    }
    u16::try_from(value).unwrap_or_else(|_| tls.port())
}

fn ca(findings: &mut Findings<'_>, table: &mut Table<'_, '_>, tls: Tls, base: &Path) -> Option<PathBuf> {
    let Located { value, at } = table.string(findings, "ca")?;
    if tls == Tls::None {
        findings.error(at, "ca means nothing without TLS").hint("leave it out, or write tls = \"starttls\"");
        return None;
    }
    Some(base.join(value))
}

/// Reads who we are to the server. The error says that something is among the findings.
fn login(findings: &mut Findings<'_>, table: &mut Table<'_, '_>, tls: Tls, base: &Path) -> Result<Option<Login>, ()> {
    let (has_user, has_password) = (table.has("user"), table.has("password"));
    let user = table.string(findings, "user");
    let password = text::secret(findings, table, "password", base);
    let place = |key: &str| table.key_at(key).unwrap_or_else(|| table.at.clone());
    match (has_user, has_password) {
        (false, false) => return Ok(None),
        (true, false) => {
            findings
                .error(place("user"), "user has no password")
                .hint("write password.file = \"PATH\" or password.credential = \"NAME\" below it");
        }
        (false, true) => {
            findings.error(place("password"), "password has no user").hint("write user = \"NAME\"");
        }
        (true, true) if tls == Tls::None => {
            // Any program of any user may listen at a port of this machine while the server is away.
            findings
                .error(place("user"), "user and password are not sent without TLS, which proves who takes them")
                .hint("write tls = \"starttls\", or leave them out: a server on this machine takes mail without");
        }
        (true, true) => {}
    }
    let (Some(user), Some(password), true) = (user, password, tls != Tls::None) else { return Err(()) };
    if user.value.chars().any(char::is_control) {
        findings.error(user.at, "user holds a character that cannot be sent");
        return Err(());
    }
    Ok(Some(Login { user: user.value.into(), password }))
}

fn time_limit(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Option<Span> {
    if !table.has("time_limit") {
        table.allow("time_limit");
        return Span::parse(Mail::TIME_LIMIT).ok();
    }
    let Located { value, at } = table.span(findings, "time_limit")?;
    if (TIME_LIMIT_MIN_MS..=Mail::TIME_LIMIT_MAX_MS).contains(&value.millis()) {
        return Some(value);
    }
    findings.error(at, "time_limit is out of range").hint("write 1s to 90s");
    None
}

fn mailboxes(findings: &mut Findings<'_>, written: Vec<Located<String>>) -> Option<Vec<Mailbox>> {
    let count = written.len();
    if let Some(beyond) = written.get(RECIPIENTS_MAX) {
        findings
            .error(beyond.at.clone(), format!("to names more than {RECIPIENTS_MAX} people"))
            .hint("name a list that your server sends on to them");
        return None;
    }
    let mut found: Vec<Mailbox> = Vec::new();
    for written in written {
        let Some(mailbox) = mailbox(findings, "to", &written) else { continue };
        if found.iter().any(|other| other.address.eq_ignore_ascii_case(&mailbox.address)) {
            findings.error(written.at, format!("to names {} twice", mailbox.address));
        } else {
            found.push(mailbox);
        }
    }
    (found.len() == count).then_some(found)
}

/// Reads an address, alone or in angle brackets after a name.
fn mailbox(findings: &mut Findings<'_>, key: &str, written: &Located<String>) -> Option<Mailbox> {
    let at: Range<usize> = written.at.clone();
    let text = written.value.trim();
    if written.value.chars().any(char::is_control) {
        findings.error(at, format!("{key} holds a line's end or another character that no address has")).hint(FORM);
        return None;
    }
    let (name, address) = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address.trim()),
        None => ("", text),
    };
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    match address.parse::<Address>() {
        Ok(_) if !address.is_ascii() => {
            findings
                .error(at, format!("{key}: `{address}` is not ASCII, and few servers take it"))
                .hint("write the domain in its form with xn--, or another address");
            None
        }
        Ok(_) => Some(Mailbox { name: (!name.is_empty()).then(|| name.into()), address: address.into() }),
        Err(_) => {
            let hint = if key == "to" && text.contains([',', ';']) {
                "write several as a list: to = [\"a@example.org\", \"b@example.org\"]"
            } else {
                FORM
            };
            findings.error(at, format!("{key}: `{address}` is no address")).hint(hint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::channel::{Kind, SecretSource};

    fn read(text: &str) -> Mail {
        let mut findings = Findings::new(Path::new("ops.toml"), text);
        let channel = crate::config::channel::read(&mut findings, Path::new("/etc/snapkeep"));
        assert_eq!(findings.into_problems(), Vec::new(), "{text}");
        match channel.expect("a channel").kind {
            Kind::Mail(mail) => *mail,
            other => panic!("{other:?}"),
        }
    }

    fn of(address: &str) -> Mailbox {
        Mailbox { name: None, address: address.into() }
    }

    #[test]
    fn little_has_to_be_said_and_the_rest_is_safe() {
        let least = read("[mail]\nhost = \"mail.example.org\"\nfrom = \"s@example.org\"\nto = \"ops@example.org\"\n");
        assert_eq!(
            least,
            Mail {
                host: "mail.example.org".into(),
                port: 587,
                tls: Tls::StartTls,
                ca: None,
                login: None,
                from: of("s@example.org"),
                to: vec![of("ops@example.org")],
                time_limit: Span::parse("30s").expect("a span"),
            }
        );
    }

    #[test]
    fn every_key_is_read() {
        let most = read(
            "[mail]\nhost = \"[::1]\"\nport = 2465\ntls = \"implicit\"\nca = \"own.pem\"\nuser = \"snapkeep\"\n\
             password.credential = \"mail-password\"\nfrom = \"\\\"Snapkeep, böse\\\" <s@example.org>\"\n\
             to = [\"ops@example.org\", \"On Call <call@example.org>\"]\ntime_limit = \"90s\"\n",
        );
        assert_eq!((&*most.host, most.port, most.tls), ("::1", 2465, Tls::Implicit));
        assert_eq!(most.ca, Some(PathBuf::from("/etc/snapkeep/own.pem")));
        let password = SecretSource::Credential("mail-password".into());
        assert_eq!(most.login, Some(Login { user: "snapkeep".into(), password }));
        assert_eq!(most.from.name.as_deref(), Some("Snapkeep, böse"));
        assert_eq!(most.to[1], Mailbox { name: Some("On Call".into()), address: "call@example.org".into() });
    }

    #[test]
    fn without_tls_mail_goes_to_this_machine_alone() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"] {
            let text =
                format!("[mail]\nhost = \"{host}\"\ntls = \"none\"\nfrom = \"s@a.example\"\nto = \"o@a.example\"\n");
            assert_eq!((read(&text).tls, read(&text).port), (Tls::None, 25));
        }
        for host in ["mail.example.org", "192.0.2.1", "localhost.example.org", "0.0.0.0", "::"] {
            let text =
                format!("[mail]\nhost = \"{host}\"\ntls = \"none\"\nfrom = \"s@a.example\"\nto = \"o@a.example\"\n");
            let mut findings = Findings::new(Path::new("ops.toml"), &text);
            assert_eq!(crate::config::channel::read(&mut findings, Path::new("/")), None, "{host}");
        }
    }
}
