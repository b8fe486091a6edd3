//! Reads what people wrote for a driver: a table of values in, a checked setting or a problem out.
//!
//! All problems of a table are collected, unknown keys included. Where a key stands in a file is not
//! known here; whoever loaded the file finds it again by [`SettingProblem::path`].

use serde_json::{Map, Value};

use crate::lifecycle::time::Span;

/// Something wrong with a setting. The loader adds file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The keys that lead to it; an entry of a list is named by its index.
    pub path: Vec<String>,
    /// What is wrong, in lower case.
    pub message: String,
    /// What would be right, when we know.
    pub hint: Option<String>,
}

impl SettingProblem {
    /// Returns a problem of one key.
    pub fn new(key: &str, message: impl Into<String>) -> SettingProblem {
        SettingProblem { path: vec![key.to_owned()], message: message.into(), hint: None }
    }

    /// Returns the same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> SettingProblem {
        SettingProblem { hint: Some(hint.into()), ..self }
    }
}

/// A table being read. Every key is asked for once; [`Settings::finish`] reports the rest as unknown.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    table: &'a Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<SettingProblem>,
}

impl<'a> Settings<'a> {
    pub fn new(table: &'a Map<String, Value>) -> Settings<'a> {
        Settings { table, known: Vec::new(), problems: Vec::new() }
    }

    /// Records a problem found by the caller.
    pub fn problem(&mut self, problem: SettingProblem) {
        self.problems.push(problem);
    }

    /// Returns a text that is not blank.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        match self.take(key)? {
            Value::String(text) if text.trim().is_empty() => self.wrong(key, "is blank"),
            Value::String(text) => Some(text),
            other => self.wrong(key, &format!("must be a text, not {}", kind(other))),
        }
    }

    /// Returns a text that must be there.
    pub fn required_text(&mut self, key: &'static str) -> Option<&'a str> {
        self.require(key);
        self.text(key)
    }

    /// Returns a list of texts, none of them blank.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<&'a str>> {
        let Value::Array(entries) = self.take(key)? else {
            return self.wrong(key, "must be a list of texts");
        };
        let mut texts = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            match entry {
                Value::String(text) if !text.is_empty() => texts.push(text.as_str()),
                Value::String(_) => self.wrong_entry(key, index, "is blank"),
                other => self.wrong_entry(key, index, &format!("must be a text, not {}", kind(other))),
            }
        }
        Some(texts)
    }

    /// Returns a list that must be there and hold something.
    pub fn required_texts(&mut self, key: &'static str) -> Option<Vec<&'a str>> {
        self.require(key);
        match self.texts(key) {
            Some(texts) if texts.is_empty() => {
                // Entries that were refused have said so themselves.
                if matches!(self.table.get(key), Some(Value::Array(entries)) if entries.is_empty()) {
                    self.problem(SettingProblem::new(key, format!("{key} is empty")));
                }
                None
            }
            texts => texts,
        }
    }

    /// Returns a yes or no.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(flag) => Some(*flag),
            other => self.wrong(key, &format!("must be true or false, not {}", kind(other))),
        }
    }

    /// Returns a number of bytes: a whole number, or a text such as `512MiB`.
    pub fn bytes(&mut self, key: &'static str) -> Option<u64> {
        let value = self.take(key)?;
        let bytes = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => parse_bytes(text),
            _ => None,
        };
        if bytes.is_none() {
            let problem = SettingProblem::new(key, format!("{key} is not a size"));
            self.problem(problem.hint("write bytes as a number, or a text such as \"512MiB\" or \"4GiB\""));
        }
        bytes
    }

    /// Returns a span of time, such as `23h`.
    pub fn span(&mut self, key: &'static str) -> Option<Span> {
        match self.take(key)? {
            Value::String(text) => match Span::parse(text) {
                Ok(span) => Some(span),
                Err(error) => self.wrong(key, &format!("is not a span of time: {error}")),
            },
            other => self.wrong(key, &format!("must be a text such as \"23h\", not {}", kind(other))),
        }
    }

    /// Returns a whole number from 1 to `max`.
    pub fn count(&mut self, key: &'static str, max: u64) -> Option<u64> {
        match self.take(key)?.as_u64() {
            Some(count) if (1..=max).contains(&count) => Some(count),
            _ => self.wrong(key, &format!("must be a whole number from 1 to {max}")),
        }
    }

    /// Returns every problem, also of keys nobody asked for.
    pub fn finish(mut self) -> Vec<SettingProblem> {
        for key in self.table.keys() {
            if !self.known.contains(&key.as_str()) {
                let problem = SettingProblem::new(key, format!("unknown key {key}"));
                let all = || format!("the keys here are {}", self.known.join(", "));
                self.problems.push(problem.hint(nearest(key, &self.known).unwrap_or_else(all)));
            }
        }
        self.problems
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table.get(key)
    }

    fn require(&mut self, key: &'static str) {
        if !self.table.contains_key(key) {
            self.problem(SettingProblem::new(key, format!("{key} is missing")));
        }
    }

    fn wrong<T>(&mut self, key: &str, message: &str) -> Option<T> {
        self.problem(SettingProblem::new(key, format!("{key} {message}")));
        None
    }

    fn wrong_entry(&mut self, key: &str, index: usize, message: &str) {
        let path = vec![key.to_owned(), index.to_string()];
        self.problem(SettingProblem { path, message: format!("entry {} of {key} {message}", index + 1), hint: None });
    }
}

/// Returns "did you mean …" for the nearest of `known`, when one is near.
pub(super) fn nearest(word: &str, known: &[&str]) -> Option<String> {
    let near = known.iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate)).min()?;
    // Two slips, or one in a short word; what is further away is another word.
    (near.0 <= 2 && near.0 < word.chars().count().max(2) - 1).then(|| format!("did you mean {}?", near.1))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// Returns the bytes of `512MiB`, `4GiB`, `100MB`, `4096`; `None` for anything else.
fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        let cases = [
            ("4096", Some(4096)),
            ("512MiB", Some(512 << 20)),
            ("4 GiB", Some(4 << 30)),
            ("1kB", Some(1000)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.5GiB", None),
            ("99999999999TiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn all_problems_of_a_table_are_told_at_once() {
        let table = json!({"pahts": ["/a"], "exclude": ["", 1], "one_file_system": "yes", "memory_max": "much"});
        let mut settings = Settings::new(table.as_object().expect("a table"));
        settings.required_texts("paths");
        settings.texts("exclude");
        settings.flag("one_file_system");
        settings.bytes("memory_max");
        let told: Vec<String> = settings
            .finish()
            .into_iter()
            .map(|p| format!("{}: {} {}", p.path.join("."), p.message, p.hint.unwrap_or_default()))
            .collect();
        let expected = [
            "paths: paths is missing ",
            "exclude.0: entry 1 of exclude is blank ",
            "exclude.1: entry 2 of exclude must be a text, not a number ",
            "one_file_system: one_file_system must be true or false, not a text ",
            "memory_max: memory_max is not a size write bytes as a number, or a text such as \"512MiB\" or \"4GiB\"",
            "pahts: unknown key pahts did you mean paths?",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_word_that_is_not_near_gets_no_hint() {
        assert_eq!(nearest("pth", &["path", "key_file"]), Some("did you mean path?".into()));
        assert_eq!(nearest("compression", &["path", "key_file"]), None);
        assert_eq!(nearest("x", &["to"]), None);
    }
}
