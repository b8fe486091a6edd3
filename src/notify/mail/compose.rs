//! A message as a mail: plain text and HTML, the same each time it is made but for its date.
//!
//! Nothing that a name, a program or a driver says can add a line to the head of the mail or an element to its
//! HTML.

use std::time::{Duration, SystemTime};

use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{self, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use crate::lifecycle::channel::mail::{Mail, Mailbox};
use crate::lifecycle::hex::hex;
use crate::lifecycle::notice::Severity;
use crate::notify::{Message, Trouble};

/// What programs show of a subject, several times over.
const SUBJECT_CHARS_MAX: usize = 200;
/// What fits into a head without being cut by servers.
const HEADER_CHARS_MAX: usize = 400;
/// Of one thing that is said; what a program wrote on its way out is in the log in full.
const TEXT_CHARS_MAX: usize = 8_000;
/// The last second of the year 9999. A date beyond it has no form.
const DATE_SECONDS_MAX: i64 = 253_402_300_799;

/// Returns the mail as it goes over the wire, but for dots that begin a line. It is ASCII, whatever it says.
pub fn compose(settings: &Mail, notice: &Message) -> Result<Vec<u8>, Trouble> {
    let head = Head::of(notice);
    let (plain, html) = (plain(notice), html(notice));
    let sent_at = u64::try_from(notice.sent_at.seconds().clamp(0, DATE_SECONDS_MAX)).unwrap_or_default();
    let header = |name: &'static str, value: &str| {
        HeaderValue::new(HeaderName::new_from_ascii_str(name), line(value, HEADER_CHARS_MAX))
    };
    let mut mail = message::Message::builder()
        .from(mailbox(&settings.from)?)
        .subject(head.subject)
        .date(SystemTime::UNIX_EPOCH + Duration::from_secs(sent_at))
        .message_id(Some(head.id))
        .in_reply_to(head.thread.clone())
        .references(head.thread)
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Snapkeep-Event", notice.event.word()))
        .raw_header(header("X-Snapkeep-Key", &notice.key));
    if let Some(policy) = &notice.policy {
        mail = mail.raw_header(header("X-Snapkeep-Policy", policy));
    }
    for to in &settings.to {
        mail = mail.to(mailbox(to)?);
    }
    // Made of what stands between: nothing in it can be the boundary.
    let boundary = digest(&format!("{plain}{html}"));
    let parts = MultiPart::alternative()
        .boundary(boundary)
        .singlepart(SinglePart::plain(plain))
        .singlepart(SinglePart::html(html));
    let mail = mail.multipart(parts).map_err(|error| Trouble::changed(format!("failed to make a mail: {error}")))?;
    Ok(mail.formatted())
}

/// Returns an address as a server is told it.
pub fn address(mailbox: &Mailbox) -> Result<Address, Trouble> {
    let address = mailbox.address.parse();
    address.map_err(|error| Trouble::changed(format!("{} is no address: {error}", line(&mailbox.address, 200))))
}

fn mailbox(mailbox: &Mailbox) -> Result<message::Mailbox, Trouble> {
    let name = mailbox.name.as_deref().map(|name| line(name, HEADER_CHARS_MAX));
    Ok(message::Mailbox::new(name, address(mailbox)?))
}

/// What tells mails apart and puts them together.
struct Head {
    subject: String,
    id: String,
    thread: String,
}

impl Head {
    fn of(notice: &Message) -> Head {
        let domain = domain(notice);
        let host = line(&notice.host, SUBJECT_CHARS_MAX);
        let mut subject = format!("[snapkeep] {}", line(&notice.subject, SUBJECT_CHARS_MAX));
        if notice.count > 1 {
            subject.push_str(&format!(", {} times", notice.count));
        }
        // Policies of several machines have the same names.
        if !host.is_empty() && host != "localhost" && !subject.contains(&host) {
            subject.push_str(&format!(" ({host})"));
        }
        let policy = notice.policy.as_deref().unwrap_or_default();
        Head {
            subject,
            // The same for every try, so that a repeat can be told.
            id: format!("<{}@{domain}>", digest(&notice.key)),
            // Of a mail that never was: programs put those together that refer to the same.
            thread: format!("<{}@{domain}>", digest(&format!("{}\n{policy}", notice.installation))),
        }
    }
}

/// Returns what stands behind the @ of identities: the installation, else the machine.
fn domain(notice: &Message) -> String {
    let of = |text: &str| -> String {
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        let kept: String = kept.take(100).collect();
        let labels: Vec<&str> = kept.split('.').map(|label| label.trim_matches('-')).collect();
        labels.into_iter().filter(|label| !label.is_empty()).collect::<Vec<_>>().join(".")
    };
    let domains = [of(&notice.installation), of(&notice.host), "localhost".to_owned()];
    domains.into_iter().find(|domain| !domain.is_empty()).unwrap_or_default()
}

/// Half of a SHA-256: the lines of a head are short, and no two texts ever share 128 bits.
fn digest(text: &str) -> String {
    hex(&Sha256::digest(text)[..16])
}

/// Returns a text as one line: of characters that neither end a line nor change the order of others.
fn line(text: &str, chars_max: usize) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || is_hidden(c)).filter(|w| !w.is_empty()).collect();
    cut(&words.join(" "), chars_max)
}

/// Returns a text with its lines, without what would be seen as something else than it is.
fn lines(text: &str) -> String {
    let shown: String = text.trim().chars().filter(|c| *c == '\n' || !is_hidden(*c)).collect();
    cut(shown.trim_end(), TEXT_CHARS_MAX)
}

fn is_hidden(c: char) -> bool {
    // Separators of lines, and whatever turns the direction of what follows.
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// What a mail says, in its order: what people want to know first, then what it is about.
struct Said {
    title: String,
    news: Vec<(&'static str, String)>,
    look: Option<String>,
    about: Vec<(&'static str, String)>,
}

impl Said {
    fn of(notice: &Message) -> Said {
        let facts = &notice.facts;
        let news = [
            ("What happened", Some(&facts.what)),
            ("Why", facts.why.as_ref()),
            ("Kept now", facts.keeps.as_ref()),
            ("Next", facts.next.as_ref()),
        ];
        let when = match notice.count {
            0 | 1 => notice.at.to_string(),
            count => format!("{count} times from {} to {}; this is the latest", notice.at, notice.latest_at),
        };
        let about = [
            ("When", Some(when.as_str())),
            ("Policy", notice.policy.as_deref()),
            ("Workflow", facts.workflow.as_deref()),
            ("Snapshot", facts.snapshot.as_deref()),
            ("Run", notice.run_id.as_deref()),
            ("Host", Some(&*notice.host)),
        ];
        let shown = |(name, text): (&'static str, String)| (!text.is_empty()).then_some((name, text));
        Said {
            title: line(&notice.subject, SUBJECT_CHARS_MAX),
            news: news.into_iter().filter_map(|(name, text)| shown((name, lines(text?)))).collect(),
            look: facts.look.as_deref().map(lines).filter(|look| !look.is_empty()),
            about: about.into_iter().filter_map(|(name, text)| shown((name, line(text?, HEADER_CHARS_MAX)))).collect(),
        }
    }
}

fn plain(notice: &Message) -> String {
    const WIDTH: usize = 16;
    let Said { title, news, look, about } = Said::of(notice);
    let row = |name: &str, text: &str| {
        let text = text.replace('\n', &format!("\n{:WIDTH$}", ""));
        format!("{name:WIDTH$}{text}\n")
    };
    let rows = |rows: &[(&'static str, String)]| rows.iter().map(|(name, text)| row(name, text)).collect::<String>();
    let look = look.map(|look| row("Look closer", &look)).unwrap_or_default();
    let event = format!("{} ({})", notice.event.word(), notice.event.severity().word());
    format!("{title}\n\n{}{look}\n{}{}", rows(&news), row("Event", &event), rows(&about))
}

fn html(notice: &Message) -> String {
    let Said { title, news, look, about } = Said::of(notice);
    let severity = notice.event.severity();
    let colour = match severity {
        Severity::Info => "#2f7d4f",
        Severity::Warning => "#b7791f",
        Severity::Error => "#c53030",
    };
    let row = |name: &str, text: &str, style: &str| {
        format!(
            "<tr><td style=\"padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap\">{name}</td>\
             <td style=\"padding:3px 0;{style}\">{}</td></tr>\n",
            escape(text).replace('\n', "<br>")
        )
    };
    let rows = |rows: &[(&'static str, String)], style: &str| {
        rows.iter().map(|(name, text)| row(name, text, style)).collect::<String>()
    };
    let look = look.map(|look| row("Look closer", &look, "font-family:monospace")).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html><body style=\"margin:0;padding:16px;font:15px/1.45 sans-serif;color:#222;\
         background:#fff\">\n<div style=\"border-left:5px solid {colour};padding:0 0 0 14px;max-width:720px\">\n\
         <div style=\"color:{colour};font-size:13px\">{event} &middot; {severity}</div>\n\
         <div style=\"font-size:18px;font-weight:bold;margin:2px 0 10px\">{title}</div>\n\
         <table style=\"border-collapse:collapse\">\n{news}{look}</table>\n\
         <table style=\"border-collapse:collapse;margin-top:12px;font-size:13px\">\n{about}</table>\n\
         </div>\n</body></html>\n",
        event = notice.event.word(),
        severity = severity.word(),
        title = escape(&title),
        news = rows(&news, "white-space:pre-wrap"),
        about = rows(&about, "color:#444"),
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
