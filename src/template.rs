//! What people write into webhooks, filled with what a notice says. The language is minijinja's, without what
//! loads, includes or accumulates.
//!
//! A key that does not exist is an error, never an empty text. Steps and output are bounded. What is filled in is
//! escaped where the whole is JSON: `"{{ subject }}"` is right whatever the subject holds.
//!
//! `config` renders a sample with it, so that a slip is told when the file is read; `notify` renders what is sent.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use minijinja::filters;
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use crate::lifecycle::notice::{Event, Facts};
use crate::lifecycle::time::Timestamp;

/// No service takes a longer one.
pub const SOURCE_BYTES_MAX: usize = 16 << 10;
/// The least that the services take at most: what is longer is cut there, or refused.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Samples take a few hundred steps.
const STEPS_MAX: u64 = 20_000;
/// How deep what is rendered may lie in one another.
const DEPTH_MAX: usize = 50;
/// The longest tag: samples have 110.
const TAG_BYTES_MAX: usize = 1024;
/// Signs and words in a tag that make an expression of others. What reads and compiles one calls itself for each.
const PARTS_MAX: usize = 64;
/// How deep brackets may lie in one another: for each of them it calls itself a dozen times.
const BRACKETS_MAX: usize = 8;
/// How deep `if` and `for` may lie in one another.
const BLOCKS_MAX: usize = 8;
/// Each lies in the one before it.
const ELIF_MAX: usize = 32;
/// Words that make an expression of others.
const PART_WORDS: [&str; 7] = ["and", "else", "if", "in", "is", "not", "or"];
/// What is taken away of the language: it gathers, repeats, or makes many of one, so that what lies between one tag
/// and its output could be larger than any bound.
const FILTERS_GONE: [&str; 26] = [
    "attr",
    "batch",
    "chain",
    "dictsort",
    "format",
    "groupby",
    "indent",
    "items",
    "join",
    "list",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "sum",
    "unique",
    "zip",
];

/// What a template knows by name.
pub const KEYS: [&str; 21] = [
    "key",
    "installation",
    "host",
    "policy",
    "run_id",
    "event",
    "severity",
    "subject",
    "workflow",
    "snapshot",
    "what",
    "why",
    "keeps",
    "next",
    "look",
    "at",
    "latest_at",
    "count",
    "attempt",
    "text",
    "secret",
];

/// What a template can say.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// The notice's key.
    pub key: &'a str,
    /// Which daemon.
    pub installation: &'a str,
    /// On which machine.
    pub host: &'a str,
    /// About which policy.
    pub policy: Option<&'a str>,
    /// About which run.
    pub run_id: Option<&'a str>,
    /// What it tells of.
    pub event: Event,
    /// In a line.
    pub subject: &'a str,
    /// In full.
    pub facts: &'a Facts,
    /// When it happened.
    pub at: Timestamp,
    /// When the latest of several did.
    pub latest_at: Timestamp,
    /// How many there were.
    pub count: u32,
    /// Which try it is.
    pub attempt: u32,
    /// All of it, in lines.
    pub text: &'a str,
    /// The secrets by their names.
    pub secrets: BTreeMap<&'a str, &'a str>,
}

impl Words<'_> {
    fn value(&self) -> Value {
        let maybe = |text: Option<&str>| text.map_or_else(|| Value::from(()), Value::from);
        let Facts { workflow, snapshot, what, why, keeps, next, look } = self.facts;
        let secrets: BTreeMap<String, Value> =
            self.secrets.iter().map(|(name, text)| ((*name).to_owned(), Value::from(*text))).collect();
        let pairs = [
            ("key", Value::from(self.key)),
            ("installation", Value::from(self.installation)),
            ("host", Value::from(self.host)),
            ("policy", maybe(self.policy)),
            ("run_id", maybe(self.run_id)),
            ("event", Value::from(self.event.word())),
            ("severity", Value::from(self.event.severity().word())),
            ("subject", Value::from(self.subject)),
            ("workflow", maybe(workflow.as_deref())),
            ("snapshot", maybe(snapshot.as_deref())),
            ("what", Value::from(what.as_str())),
            ("why", maybe(why.as_deref())),
            ("keeps", maybe(keeps.as_deref())),
            ("next", maybe(next.as_deref())),
            ("look", maybe(look.as_deref())),
            ("at", Value::from(self.at.to_string())),
            ("latest_at", Value::from(self.latest_at.to_string())),
            ("count", Value::from(self.count)),
            ("attempt", Value::from(self.attempt)),
            ("text", Value::from(self.text)),
            ("secret", Value::from(secrets)),
        ];
        Value::from(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>())
    }
}

/// What the template is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A text that is sent as it comes.
    Text,
    /// JSON: what is filled in is escaped, and the whole must be JSON.
    Json,
    /// A line of a head.
    Line,
}

/// Why a template says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong. It repeats nothing of what was filled in.
    pub why: String,
    /// The same with the words at fault, which may be what was filled in: for samples alone.
    pub detail: String,
    /// In which line of it, from 1.
    pub line: Option<usize>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        self.line.map_or(Ok(()), |line| write!(f, " in line {line} of it"))
    }
}

impl TemplateError {
    fn plain(why: impl Into<String>) -> TemplateError {
        let why = why.into();
        TemplateError { detail: why.clone(), why, line: None }
    }

    fn of(error: &minijinja::Error) -> TemplateError {
        let why = match error.kind() {
            ErrorKind::UndefinedError => "there is no such value".to_owned(),
            ErrorKind::OutOfFuel => "takes too many steps".to_owned(),
            ErrorKind::WriteFailure => format!("comes to more than {} kB", OUTPUT_BYTES_MAX >> 10),
            ErrorKind::SyntaxError
            | ErrorKind::BadEscape
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownTest => "is no template".to_owned(),
            kind => format!("cannot be filled, {kind}"),
        };
        let detail = match (error.kind(), error.detail()) {
            (ErrorKind::WriteFailure | ErrorKind::OutOfFuel, _) | (_, None) => why.clone(),
            (_, Some(detail)) => format!("{why}: {detail}"),
        };
        TemplateError { why, detail, line: error.line() }
    }
}

/// Returns the names that a template uses and nobody knows, in order; `secrets` are those of its secrets. Empty where
/// it cannot be read at all.
pub fn unknown(source: &str, secrets: &[&str]) -> Vec<String> {
    if checked(source).is_err() {
        return Vec::new();
    }
    let environment = environment(Form::Text);
    let Ok(template) = environment.template_from_str(source) else { return Vec::new() };
    let known = |name: &String| match name.strip_prefix("secret.") {
        Some(secret) => secrets.contains(&secret),
        None => KEYS.contains(&name.as_str()),
    };
    let mut unknown: Vec<String> =
        template.undeclared_variables(true).into_iter().filter(|name| !known(name)).collect();
    unknown.sort();
    unknown
}

/// Returns what a template comes to.
pub fn render(source: &str, form: Form, words: &Words<'_>) -> Result<String, TemplateError> {
    checked(source)?;
    let environment = environment(form);
    let mut output = Bounded(Vec::new());
    let rendered = environment
        .template_from_str(source)
        .and_then(|template| template.render_captured_to(words.value(), &mut output).map(drop));
    rendered.map_err(|error| TemplateError::of(&error))?;
    let text = String::from_utf8(output.0).map_err(|_| TemplateError::plain("comes to no text"))?;
    match form {
        Form::Text => Ok(text),
        Form::Json => match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(text),
            // Its own message may repeat what was filled in.
            Err(error) => Err(TemplateError {
                line: None,
                ..TemplateError::plain(format!("comes to no JSON, in line {} of what it comes to", error.line()))
            }),
        },
        // What ends a line would begin another, which nobody wrote.
        Form::Line if text.chars().any(|c| c.is_control() && c != '\t') => {
            Err(TemplateError::plain("comes to more than a line"))
        }
        Form::Line => Ok(text.trim().to_owned()),
    }
}

/// Returns an error for a template that cannot be compiled on any thread's stack, or whose values could outgrow every
/// bound. It finds tags as the language does, and nothing of it is read before.
fn checked(source: &str) -> Result<(), TemplateError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(TemplateError::plain(format!("is larger than {} kB", SOURCE_BYTES_MAX >> 10)));
    }
    let (mut rest, mut blocks, mut elifs) = (source, 0usize, 0usize);
    while let Some(from) = rest.find('{') {
        rest = &rest[from + 1..];
        let line = Some(1 + source[..source.len() - rest.len()].matches('\n').count());
        let wrong = |why: String| TemplateError { line, ..TemplateError::plain(why) };
        let is_block = match rest.as_bytes().first() {
            Some(b'#') => {
                // Where it does not end, the language says so.
                rest = rest.find("#}").map_or("", |end| &rest[end + 2..]);
                continue;
            }
            Some(b'{') => false,
            Some(b'%') => true,
            _ => continue,
        };
        let tag = tag(&rest[1..], if is_block { "%}" } else { "}}" }).map_err(wrong)?;
        rest = &rest[1 + tag.len()..];
        if !is_block {
            continue;
        }
        let (word, behind) = statement(tag);
        match word {
            "if" => blocks += 1,
            "for" => {
                blocks += 1;
                // Whatever it makes would be there under a name, for another to make more of it.
                let is_plain = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "_.|,-+%}".contains(c);
                let goes_into_itself = behind.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == "recursive");
                if !behind.chars().all(is_plain) || goes_into_itself {
                    return Err(wrong("has a `for` over something else than a name and its filters".to_owned()));
                }
            }
            "elif" => elifs += 1,
            "endif" | "endfor" => blocks = blocks.saturating_sub(1),
            "else" => {}
            _ => return Err(wrong(format!("has `{{% {} %}}`: there are only `if` and `for`", truncated(word)))),
        }
        if blocks > BLOCKS_MAX {
            return Err(wrong(format!("has more than {BLOCKS_MAX} of `if` and `for` in one another")));
        }
        if elifs > ELIF_MAX {
            return Err(wrong(format!("has more than {ELIF_MAX} times `elif`")));
        }
    }
    Ok(())
}

/// Returns the first of a tag's words, and what follows it.
fn statement(tag: &str) -> (&str, &str) {
    let inner = tag.strip_prefix(['-', '+']).unwrap_or(tag).trim_start();
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    inner.split_at(end)
}

fn truncated(word: &str) -> &str {
    // Of ASCII alone.
    word.get(..20).unwrap_or(word)
}

/// Returns what stands in a tag, its end with it; all that is left where it does not end.
fn tag<'s>(text: &'s str, end: &str) -> Result<&'s str, String> {
    let (mut quote, mut is_escaped, mut parts, mut depth) = (None, false, 0usize, 0usize);
    let mut word = 0;
    for (at, byte) in text.bytes().enumerate() {
        if at >= TAG_BYTES_MAX {
            return Err(format!("has a tag of more than {TAG_BYTES_MAX} bytes"));
        }
        if let Some(delimiter) = quote {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                _ if byte == delimiter => quote = None,
                _ => {}
            }
            word = at + 1;
            continue;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 {
            continue;
        }
        if PART_WORDS.contains(&text.get(word..at).unwrap_or_default()) {
            parts += 1;
        }
        word = at + 1;
        if text.as_bytes()[at..].starts_with(end.as_bytes()) {
            // The language would read on where brackets are open.
            return if depth == 0 {
                Ok(&text[..at + end.len()])
            } else {
                Err("has a bracket without its end".to_owned())
            };
        }
        match byte {
            b'"' | b'\'' => quote = Some(byte),
            b'*' => return Err("multiplies, which has no bound".to_owned()),
            b'{' | b'}' => return Err("has a brace in a tag".to_owned()),
            b'(' | b'[' => {
                depth += 1;
                parts += 1;
            }
            b')' | b']' => depth = depth.checked_sub(1).ok_or("has a bracket without its beginning")?,
            _ if byte.is_ascii_punctuation() => parts += 1,
            _ => {}
        }
        if depth > BRACKETS_MAX {
            return Err(format!("has more than {BRACKETS_MAX} brackets in one another"));
        }
        if parts > PARTS_MAX {
            return Err(format!("has a tag with more than {PARTS_MAX} signs and words of expressions"));
        }
    }
    Ok(text)
}

fn environment(form: Form) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(STEPS_MAX));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // With these a loop could gather more than the output's bound.
    for name in ["namespace", "range", "dict", "debug"] {
        environment.remove_global(name);
    }
    for name in FILTERS_GONE {
        environment.remove_filter(name);
    }
    environment.add_filter("truncate", truncate);
    environment.add_filter("tojson", tojson);
    environment.set_formatter(move |output, _, value| {
        if value.is_none() {
            return Ok(());
        }
        if form != Form::Json || value.is_safe() {
            return Ok(write!(output, "{value}")?);
        }
        let mut text = Bounded(Vec::new());
        write!(text, "{value}").map_err(|_| Error::from(ErrorKind::WriteFailure))?;
        let quoted = serde_json::to_string(&String::from_utf8_lossy(&text.0)).unwrap_or_default();
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
        Ok(output.write_str(inner)?)
    });
    environment
}

/// Returns a text that has at most `length` characters, with `…` where some are left out.
fn truncate(text: &Value, length: usize) -> Value {
    if text.is_none() {
        return text.clone();
    }
    let text = text.to_string();
    if text.chars().count() <= length {
        return Value::from(text);
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    Value::from(format!("{kept}\u{2026}"))
}

/// Returns a value as JSON in a line, which is filled in as it is.
fn tojson(value: &Value) -> Result<Value, Error> {
    let json = filters::tojson(value, None, std::iter::empty::<(&str, Value)>().collect::<Kwargs>())?;
    if json.as_str().is_none_or(|text| text.len() > OUTPUT_BYTES_MAX) {
        return Err(Error::from(ErrorKind::WriteFailure));
    }
    Ok(json)
}

/// Takes as much as a template may come to.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `config` tries a template with, each in turn: every event with all that can be said of it, and each with the
/// least. What stands in them is as unpleasant as what the world says.
pub fn samples() -> Vec<Sample> {
    let full = Facts {
        workflow: Some("creation".into()),
        snapshot: Some("database-20260301t020000z".into()),
        what: "failed to create \"database\"\n\tC:\\new: it's <b>no</b> space & ${HOME} {{ x }}".into(),
        why: Some("the repository said: \"no\"\r\nand nothing else \u{1f4be}".into()),
        keeps: Some("14 snapshots".into()),
        next: Some("again at 2026-03-01T03:00:00Z".into()),
        look: Some("snapkeep explain database".into()),
    };
    let least = Facts { what: "it\nhappened".into(), ..Facts::default() };
    let of = |event, facts: &Facts, about: Option<&'static str>| Sample { event, facts: facts.clone(), about };
    Event::ALL.into_iter().flat_map(|event| [of(event, &full, Some("database")), of(event, &least, None)]).collect()
}

/// One notice to try a template with.
#[derive(Clone, Debug)]
pub struct Sample {
    event: Event,
    facts: Facts,
    about: Option<&'static str>,
}

impl Sample {
    /// Returns what a template can say of it.
    pub fn words<'a>(&'a self, secrets: impl Iterator<Item = &'a str>) -> Words<'a> {
        Words {
            key: "0f3a-failure-chat",
            installation: "8a5c1d",
            host: "backup.example.net",
            policy: self.about,
            run_id: self.about.map(|_| "0f3a"),
            event: self.event,
            subject: "database: \"creation\" failed \\ it's late & <dark>",
            facts: &self.facts,
            at: Timestamp::from_seconds(1_772_330_400),
            latest_at: Timestamp::from_seconds(1_772_334_000),
            count: 2,
            attempt: 1,
            text: "policy: database\nwhat: failed to create \"database\"\\\n\thost: backup.example.net\n",
            secrets: secrets.map(|name| (name, "s3cret\"\\")).collect(),
        }
    }

    /// Returns what it tells of.
    pub fn event(&self) -> Event {
        self.event
    }
}

#[cfg(test)]
mod tests;
