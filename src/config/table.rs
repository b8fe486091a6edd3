//! TOML, read key by key, with the place of every key and value.
//!
//! A [`Table`] is asked for the keys it may hold; whatever it holds beside them is an unknown key.
//! So what is read and what is allowed cannot drift apart, and the nearest known key is at hand for
//! a hint.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::problem::Severity;
use super::reader::{Findings, Located, Sort};
use super::rest::Rest;
use crate::lifecycle::time::{Span, SpanError};

/// A table that is being read.
#[derive(Debug)]
pub struct Table<'a, 't> {
    table: &'a DeTable<'t>,
    /// The keys that lead to it, with dots between them; empty for the whole text.
    pub path: String,
    /// The key that names it, or the start of the text.
    pub at: Range<usize>,
    asked: Vec<&'a str>,
}

/// One of a list.
#[derive(Debug)]
pub enum Item<'a, 't> {
    /// A text.
    Text(Located<String>),
    /// A table; its place is the whole of it.
    Table(Table<'a, 't>),
}

/// The least and the most a number may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// What stands in the name of a key that holds a secret, whoever wrote it and wherever.
const SECRETS: [&str; 5] = ["secret", "token", "passw", "api_key", "apikey"];

impl<'a, 't> Table<'a, 't> {
    /// Returns the table of a whole text.
    pub fn root(table: &'a DeTable<'t>) -> Table<'a, 't> {
        Table { table, path: String::new(), at: 0..0, asked: Vec::new() }
    }

    fn value(&mut self, key: &'a str) -> Option<(Range<usize>, &'a DeValue<'t>, Range<usize>)> {
        self.allow(key);
        let (key, value) = self.table.get_key_value(key)?;
        Some((key.span(), value.get_ref(), value.span()))
    }

    /// Lets a key be there without reading it.
    pub fn allow(&mut self, key: &'a str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    /// Whether the key is there, whatever it holds.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key holds a text.
    pub fn is_text(&self, key: &str) -> bool {
        matches!(self.table.get(key).map(|value| value.get_ref()), Some(DeValue::String(_)))
    }

    /// Whether the key holds a table.
    pub fn is_table(&self, key: &str) -> bool {
        matches!(self.table.get(key).map(|value| value.get_ref()), Some(DeValue::Table(_)))
    }

    /// Returns the place of a key that is there.
    pub fn key_at(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Returns every key that is there with its place, in the order of the text.
    pub fn keys(&self) -> Vec<(&'a str, Range<usize>)> {
        let mut keys: Vec<_> = self.table.iter().map(|(key, _)| (key.get_ref().as_ref(), key.span())).collect();
        keys.sort_by_key(|(_, at)| at.start);
        keys
    }

    /// Returns a text that is not blank.
    pub fn string(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Located<String>> {
        findings.ask(&self.path, key, Some(Sort::Text));
        let (_, value, at) = self.value(key)?;
        string_of(findings, key, value, at)
    }

    /// Returns one of `words`, with what it stands for.
    pub fn word<T: Copy>(
        &mut self,
        findings: &mut Findings<'_>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<Located<T>> {
        if findings.records() {
            let words = words.iter().map(|(word, _)| (*word).to_owned()).collect();
            findings.ask(&self.path, key, Some(Sort::Word(words)));
        }
        let written = self.string(findings, key)?;
        match words.iter().find(|(word, _)| *word == written.value) {
            Some((_, meaning)) => Some(Located { value: *meaning, at: written.at }),
            None => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let hint = match nearest(&written.value, &known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("write one of: {}", known.join(", ")),
                };
                findings.error(written.at, format!("{key} cannot be `{}`", written.value)).hint(hint);
                None
            }
        }
    }

    /// Returns a span of time.
    pub fn span(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Located<Span>> {
        findings.ask(&self.path, key, Some(Sort::Span));
        let (_, value, at) = self.value(key)?;
        if let DeValue::Integer(number) = value {
            findings
                .error(at, format!("{key} needs a unit"))
                .hint(format!("write a number and w, d, h, m or s, in quotes: {key} = \"{}d\"", number.as_str()));
            return None;
        }
        let written = string_of(findings, key, value, at)?;
        match Span::parse(&written.value) {
            Ok(span) => Some(Located { value: span, at: written.at }),
            Err(error) => {
                let hint = span_hint(key, &written.value, &error);
                findings.error(written.at, format!("{key}: {error}")).hint_if(hint);
                None
            }
        }
    }

    /// Returns true or false.
    pub fn boolean(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Located<bool>> {
        findings.ask(&self.path, key, Some(Sort::Boolean));
        let (_, value, at) = self.value(key)?;
        match value {
            DeValue::Boolean(value) => Some(Located { value: *value, at }),
            DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
                findings.error(at, format!("{key} must be true or false, not text")).hint("write it without quotes");
                None
            }
            other => {
                findings.error(at, format!("{key} must be true or false, not {}", describe(other)));
                None
            }
        }
    }

    /// Returns true or false, also where it stands as text: OpenSearch's own page writes it so in `snapshot_config`.
    pub fn boolean_or_text(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Located<bool>> {
        findings.ask(&self.path, key, Some(Sort::BooleanOrText));
        let (_, value, at) = self.value(key)?;
        match value.as_str() {
            Some("true") => Some(Located { value: true, at }),
            Some("false") => Some(Located { value: false, at }),
            _ => self.boolean(findings, key),
        }
    }

    /// Returns a whole number within bounds.
    pub fn number(&mut self, findings: &mut Findings<'_>, key: &'static str, bounds: Bounds) -> Option<Located<u32>> {
        findings.ask(&self.path, key, Some(Sort::Number(bounds.min, bounds.max)));
        let (_, value, at) = self.value(key)?;
        match value {
            DeValue::Integer(number) => {
                let Bounds { min, max } = bounds;
                match integer(number) {
                    Some(0) if min > 0 => {
                        findings
                            .error(at, format!("{key} is zero"))
                            .hint(format!("leave {key} out, or write {min} or more"));
                        None
                    }
                    Some(n) if n < 0 => {
                        findings.error(at, format!("{key} is negative")).hint(format!("write {min} or more"));
                        None
                    }
                    Some(n) if (i64::from(min)..=i64::from(max)).contains(&n) => {
                        u32::try_from(n).ok().map(|value| Located { value, at })
                    }
                    _ => {
                        findings.error(at, format!("{key} is out of range")).hint(format!("write {min} to {max}"));
                        None
                    }
                }
            }
            DeValue::String(text) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let hint = digits.then(|| format!("write it without quotes: {key} = {text}"));
                findings.error(at, format!("{key} must be a whole number, not text")).hint_if(hint);
                None
            }
            other => {
                findings.error(at, format!("{key} must be a whole number, not {}", describe(other)));
                None
            }
        }
    }

    fn list(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<&'a DeArray<'t>> {
        let (_, value, at) = self.value(key)?;
        let DeValue::Array(items) = value else {
            let hint = value.as_str().map(|text| format!("write {key} = [\"{text}\"]"));
            findings.error(at, format!("{key} must be a list, not {}", describe(value))).hint_if(hint);
            return None;
        };
        if items.is_empty() {
            findings.error(at, format!("{key} is empty")).hint(format!("leave {key} out, or name at least one"));
            return None;
        }
        Some(items)
    }

    /// Returns a list of texts, none of them blank, none twice, at least one.
    pub fn strings(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Vec<Located<String>>> {
        findings.ask(&self.path, key, Some(Sort::Texts));
        let items = self.list(findings, key)?;
        let mut found: Vec<Located<String>> = Vec::new();
        for item in items.iter() {
            if let Some(text) = string_of(findings, key, item.get_ref(), item.span()) {
                if found.iter().any(|earlier| earlier.value == text.value) {
                    findings.error(text.at, format!("{key} names `{}` twice", text.value));
                } else {
                    found.push(text);
                }
            }
        }
        Some(found)
    }

    /// Returns a list of texts and tables, at least one of them.
    pub fn items(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Vec<Item<'a, 't>>> {
        findings.ask(&self.path, key, Some(Sort::Items));
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        let items = self.list(findings, key)?;
        let item = |item: &'a Spanned<DeValue<'t>>| match item.get_ref() {
            DeValue::Table(table) => {
                Some(Item::Table(Table { table, path: path.clone(), at: item.span(), asked: Vec::new() }))
            }
            value => string_of(findings, key, value, item.span()).map(Item::Text),
        };
        Some(items.iter().filter_map(item).collect())
    }

    /// Returns a program and its arguments: a list of texts, at least one. All but the first may be empty, and
    /// any may be there twice.
    pub fn arguments(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Vec<Located<String>>> {
        findings.ask(&self.path, key, Some(Sort::Arguments));
        let (_, value, at) = self.value(key)?;
        let DeValue::Array(items) = value else {
            let parts = value.as_str().map(|text| {
                let parts: Vec<String> = text.split_whitespace().map(|part| format!("\"{part}\"")).collect();
                format!("no shell is between: write {key} = [{}]", parts.join(", "))
            });
            findings.error(at, format!("{key} must be a list, not {}", describe(value))).hint_if(parts);
            return None;
        };
        let mut found = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) if !found.is_empty() && text.trim().is_empty() => {
                    found.push(Located { value: text.to_string(), at: item.span() });
                }
                value => found.push(string_of(findings, key, value, item.span())?),
            }
        }
        if found.is_empty() {
            findings.error(at, format!("{key} is empty")).hint("name the program first, then its arguments");
            return None;
        }
        Some(found)
    }

    /// Returns a list of names, or one name without a list; a number is a name too. None is blank.
    pub fn names(&mut self, findings: &mut Findings<'_>, key: &'static str) -> Option<Vec<Located<String>>> {
        findings.ask(&self.path, key, Some(Sort::Names));
        let (_, value, at) = self.value(key)?;
        let one = |findings: &mut Findings<'_>, value: &DeValue<'_>, at: Range<usize>| match value {
            DeValue::Integer(number) => Some(Located { value: number.as_str().to_owned(), at }),
            value => string_of(findings, key, value, at),
        };
        match value {
            DeValue::Array(items) => {
                Some(items.iter().filter_map(|item| one(findings, item.get_ref(), item.span())).collect())
            }
            value => one(findings, value, at).map(|name| vec![name]),
        }
    }

    /// Returns a table within this one.
    pub fn table(&mut self, findings: &mut Findings<'_>, key: &'a str) -> Option<Table<'a, 't>> {
        findings.ask(&self.path, key, Some(Sort::Table));
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        let (key_at, value, at) = self.value(key)?;
        match value {
            DeValue::Table(table) => Some(Table { table, path, at: key_at, asked: Vec::new() }),
            other => {
                findings.error(at, format!("{key} must be a table, not {}", describe(other))).hint(
                    match (key, other) {
                        ("schedule", DeValue::String(text)) => {
                            format!("write [{path}.cron] on a line of its own, and expression = \"{text}\" below it")
                        }
                        ("channel", DeValue::String(text)) => format!("write channel.id = \"{text}\""),
                        _ => format!("write [{path}] on a line of its own, and its keys below it"),
                    },
                );
                None
            }
        }
    }

    /// Returns the table of a key that people name; `None` where it is none.
    pub fn inner(&self, key: &str) -> Option<Table<'a, 't>> {
        let (name, value) = self.table.get_key_value(key)?;
        let DeValue::Table(table) = value.get_ref() else { return None };
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        Some(Table { table, path, at: name.span(), asked: Vec::new() })
    }

    /// Returns every key with its place and its text, in the order of the text.
    pub fn texts(&self, findings: &mut Findings<'_>) -> Vec<(String, Range<usize>, Located<String>)> {
        let mut texts = Vec::new();
        for (key, at) in self.keys() {
            if let Some(value) = self.table.get(key)
                && let Some(text) = string_of(findings, key, value.get_ref(), value.span())
            {
                texts.push((key.to_string(), at, text));
            }
        }
        texts
    }

    /// Returns what nobody asked for: the keys of a driver.
    pub fn rest(&self) -> Rest<'t> {
        let mut table = DeTable::new();
        for (key, value) in self.table.iter() {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                table.insert(key.clone(), value.clone());
            }
        }
        Rest::new(table, self.at.clone())
    }

    /// Notes every key that nobody asked for. `elsewhere` says where keys belong that are known in
    /// other tables.
    pub fn finish(self, findings: &mut Findings<'_>, elsewhere: &[(&str, &str)]) {
        for key in &self.asked {
            findings.ask(&self.path, key, None);
        }
        for (key, at) in self.keys() {
            if self.asked.contains(&key) {
                continue;
            }
            let near = nearest(key, &self.asked);
            let hint = if let Some((_, place)) = elsewhere.iter().find(|(known, _)| *known == key) {
                (*place).to_string()
            } else if let Some(near) = near {
                format!("did you mean {near}?")
            } else {
                format!("the keys here are {}", self.asked.join(", "))
            };
            let message = format!("unknown key `{key}`");
            if SECRETS.iter().any(|word| key.to_ascii_lowercase().contains(word)) {
                findings.concealed(at, message, Severity::Error).hint(hint);
            } else {
                findings.error(at, message).hint(hint);
            }
        }
    }
}

/// Returns the number if it has 64 bits.
pub(super) fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn string_of(findings: &mut Findings<'_>, key: &str, value: &DeValue<'_>, at: Range<usize>) -> Option<Located<String>> {
    match value {
        DeValue::String(text) if text.trim().is_empty() => {
            findings
                .error(at, format!("{key} is blank"))
                .hint("blank is not a default: leave the key out, or give it a value");
            None
        }
        DeValue::String(text) => Some(Located { value: text.to_string(), at }),
        other => {
            let hint = match other {
                DeValue::Integer(number) => Some(format!("write \"{}\"", number.as_str())),
                DeValue::Boolean(value) => Some(format!("write \"{value}\"")),
                _ => None,
            };
            findings.error(at, format!("{key} must be text, not {}", describe(other))).hint_if(hint);
            None
        }
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn span_hint(key: &str, written: &str, error: &SpanError) -> Option<String> {
    let written = written.trim();
    match error {
        SpanError::Zero if key == "max_age" => {
            Some("zero is not \"no limit\": leave max_age out, and no snapshot is too old".to_string())
        }
        SpanError::Zero => Some(format!("write a span such as {key} = \"15m\", or leave {key} out")),
        SpanError::Unit(unit) => Some(match unit.as_str() {
            "M" | "mo" | "month" | "months" => "months differ in length: write days, as in 30d".to_string(),
            "y" | "Y" | "year" | "years" => "years differ in length: write days, as in 365d".to_string(),
            other if other != "M" && Span::parse(&written.to_lowercase()).is_ok() => {
                format!("units are written in lower case: {key} = \"{}\"", written.to_lowercase())
            }
            _ => "the units are w, d, h, m, s and ms".to_string(),
        }),
        SpanError::Shape if written.starts_with('-') => Some("a span cannot be negative".to_string()),
        SpanError::Shape if written.contains('.') => {
            Some("write fractions in a smaller unit: 1h30m, not 1.5h".to_string())
        }
        SpanError::Shape if written.contains(' ') => {
            let joined = written.replace(' ', "");
            match Span::parse(&joined) {
                Ok(_) => Some(format!("write it without blanks: {key} = \"{joined}\"")),
                Err(error) => span_hint(key, &joined, &error),
            }
        }
        SpanError::Empty | SpanError::Shape | SpanError::Order | SpanError::TooLong => None,
    }
}

/// Returns the word of `known` that was probably meant. A third of the letters may be wrong: more
/// than that is another word.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&word, known), *known))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, known)| known)
}
