//! The problems of one text as they are found, and its syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use super::problem::{Place, Problem, Severity};

/// The problems of one text, as they are found.
#[derive(Debug)]
pub struct Findings<'t> {
    file: Arc<Path>,
    text: &'t str,
    problems: Vec<Problem>,
    hides_values: bool,
    asked: Option<Asked>,
}

/// Which keys a reader asks for: by the path of their table and their name, the sorts of value it takes. So the manual can
/// be held against the reader itself.
pub type Asked = BTreeMap<(String, String), BTreeSet<Sort>>;

/// A sort of value, as a reader asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A text.
    Text,
    /// One of these.
    Word(Vec<String>),
    /// A span of time.
    Span,
    /// True or false.
    Boolean,
    /// The same, also as text.
    BooleanOrText,
    /// A whole number from the first to the second.
    Number(u32, u32),
    /// A list of texts.
    Texts,
    /// A list of texts and tables.
    Items,
    /// A program and its arguments.
    Arguments,
    /// One name, or a list of them.
    Names,
    /// A table.
    Table,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the text, quotes included.
    pub at: Range<usize>,
}

impl<T> Located<T> {
    /// Returns the same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), at: self.at }
    }
}

impl<'t> Findings<'t> {
    /// Returns no findings yet for the text of a file.
    pub fn new(file: &Path, text: &'t str) -> Findings<'t> {
        Findings { file: file.into(), text, problems: Vec::new(), hides_values: false, asked: None }
    }

    /// Returns the same, writing down which keys are asked for.
    pub fn recording(file: &Path, text: &'t str) -> Findings<'t> {
        Findings { asked: Some(Asked::new()), ..Findings::new(file, text) }
    }

    /// Whether it is written down which keys are asked for.
    pub(super) fn records(&self) -> bool {
        self.asked.is_some()
    }

    /// Writes down that a key of the table at `path` is known, and which sort of value it takes.
    pub(super) fn ask(&mut self, path: &str, key: &str, sort: Option<Sort>) {
        if let Some(asked) = &mut self.asked {
            asked.entry((path.to_owned(), key.to_owned())).or_default().extend(sort);
        }
    }

    /// Returns which keys were asked for; none unless they were recorded.
    pub fn into_asked(self) -> Asked {
        self.asked.unwrap_or_default()
    }

    /// Repeats from here on nothing of the text but the words at fault: what stands beside them may be a secret
    /// that somebody wrote into the wrong place, and problems are logged and shown to many.
    pub fn hide_values(&mut self) {
        self.hides_values = true;
    }

    /// Notes that the bytes `at` are wrong.
    pub fn error(&mut self, at: Range<usize>, message: impl Into<Box<str>>) -> Noted<'_> {
        self.note(at, message, Severity::Error)
    }

    /// Notes that the bytes `at`, a key's, are wrong, and shows nothing of what stands around them: it may be a secret.
    pub fn concealed(&mut self, at: Range<usize>, message: impl Into<Box<str>>, severity: Severity) -> Noted<'_> {
        let index = self.problems.len();
        self.note(at, message, severity);
        let problem = &mut self.problems[index];
        problem.place = problem.place.take().map(Place::alone);
        Noted(&mut problem.hint)
    }

    /// Notes that something is missing from the whole text, so that no line of it is at fault.
    pub fn missing(&mut self, message: impl Into<Box<str>>) -> Noted<'_> {
        let index = self.problems.len();
        let mut problem = Problem::of_file(&self.file, message);
        problem.place = Some(Place::of("", 0..0));
        self.problems.push(problem);
        Noted(&mut self.problems[index].hint)
    }

    /// Notes that the bytes `at` may not mean what their author thinks.
    pub fn warning(&mut self, at: Range<usize>, message: impl Into<Box<str>>) -> Noted<'_> {
        self.note(at, message, Severity::Warning)
    }

    fn note(&mut self, at: Range<usize>, message: impl Into<Box<str>>, severity: Severity) -> Noted<'_> {
        let place = Place::of(self.text, at);
        let place = Some(if self.hides_values { place.alone() } else { place });
        let problem = Problem { file: self.file.clone(), place, severity, message: message.into(), hint: None };
        let index = self.problems.len();
        self.problems.push(problem);
        Noted(&mut self.problems[index].hint)
    }

    /// Whether anything so far makes the text unacceptable.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// Returns what was found, in the order of the text.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.order().cmp(&b.order()));
        self.problems.dedup();
        self.problems
    }

    /// Returns the line of a place, for messages that tell of two.
    pub fn line_of(&self, at: &Range<usize>) -> u32 {
        Place::of(self.text, at.clone()).line
    }

    /// Returns the bytes of the text for the bytes `inner` of a string that stands at `at`. The
    /// whole string when it was written with escapes, so that no place is ever a wrong one.
    pub fn inside(&self, string: &Located<String>, inner: Range<usize>) -> Range<usize> {
        let from = string.at.start + 1;
        let plain = self.text.get(from..from + string.value.len()) == Some(string.value.as_str());
        if plain && inner.end <= string.value.len() && inner.start <= inner.end {
            from + inner.start..from + inner.end
        } else {
            string.at.clone()
        }
    }

    /// Parses the text. Every mistake in the syntax is noted; what could be read is returned.
    pub fn parse(&mut self) -> DeTable<'t> {
        let (table, mut errors) = DeTable::parse_recoverable(self.text);
        errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
        let mut last_line = None;
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            let line = Place::of(self.text, at.clone()).line;
            // One slip often makes the parser stumble several times: the first tells most.
            if last_line == Some(line) {
                continue;
            }
            last_line = Some(line);
            self.syntax_error(error.message(), at);
        }
        table.into_inner()
    }

    fn syntax_error(&mut self, message: &str, at: Range<usize>) {
        let words = self.text.get(at.clone()).unwrap_or_default().trim();
        let words = if self.hides_values && !words.is_empty() { "…" } else { words };
        let (message, hint) = match message {
            "duplicate key" => (
                format!("`{words}` is given twice"),
                Some("keep one of them; a table's header may stand only once".to_string()),
            ),
            "key with no value, expected `=`" => {
                ("key has no value".to_string(), Some("write key = value, or [key] for a table".to_string()))
            }
            _ if message.starts_with("string values must be quoted") && words.is_empty() => {
                ("value is missing".to_string(), Some("leave the key out to use its default".to_string()))
            }
            _ if message.starts_with("string values must be quoted") => {
                ("text must stand in quotes".to_string(), Some(format!("write \"{words}\"")))
            }
            _ if message.starts_with("invalid boolean") => {
                (format!("`{words}` is neither true nor false"), Some("write true or false, in lower case".to_string()))
            }
            _ if message.starts_with("invalid basic string") => {
                ("text has no closing quote".to_string(), Some("close it on the same line".to_string()))
            }
            _ => (message.replace(", expected nothing", ""), None),
        };
        self.error(at, message).hint_if(hint);
        // Without a syntax nobody knows which of the words is a value.
        if let (true, Some(problem)) = (self.hides_values, self.problems.last_mut()) {
            problem.place = problem.place.take().map(Place::unseen);
        }
    }
}

/// A problem that was just noted and may get a hint.
#[derive(Debug)]
pub struct Noted<'f>(&'f mut Option<Box<str>>);

impl Noted<'_> {
    /// Adds a hint.
    pub fn hint(&mut self, hint: impl Into<Box<str>>) {
        *self.0 = Some(hint.into());
    }

    /// Adds a hint, where there is one.
    pub fn hint_if(&mut self, hint: Option<impl Into<Box<str>>>) {
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }
}
