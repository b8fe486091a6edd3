//! One thing that is wrong with what somebody wrote, and where.
//!
//! ```text
//! policies.d/db.toml:12:13: min_count is larger than max_count
//!   min_count = 10
//!               ^^
//! hint: max_count is 7; snapshots beyond it are deleted whatever their age
//! ```

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is not accepted; its last good version stays in force.
    Error,
    /// The file is accepted, and may not mean what its author thinks.
    Warning,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the daemon found it.
    pub file: Arc<Path>,
    /// Where in it; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in lower case, without a full stop.
    pub message: Box<str>,
    /// What to write, when we know.
    pub hint: Option<Box<str>>,
}

/// A place in a text, and the words there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// The line, without the blanks before and after it, safe to print on a terminal.
    pub excerpt: Box<str>,
    /// How many characters of the excerpt stand before the words at fault.
    pub before: u32,
    /// How many characters are at fault; at least 1.
    pub width: u32,
}

/// Longer lines are shown in part: this fits a terminal of two hundred columns and a log line.
const EXCERPT_CHARACTERS_MAX: usize = 160;

impl Place {
    /// Returns the place of the bytes `span` of `text`. A span outside the text means its end.
    pub fn of(text: &str, span: Range<usize>) -> Place {
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = &text[line_start..line_end];
        let at = text[line_start..start].chars().count();
        let width = text[start..end.min(line_end)].chars().count().max(1);

        let indent = line.chars().take_while(|c| c.is_whitespace()).count().min(at);
        let shown: Vec<char> = line.chars().skip(indent).map(printable).collect();
        let mut before = at - indent;
        let mut first = 0;
        if shown.len() > EXCERPT_CHARACTERS_MAX {
            // The words at fault stay in sight, with what stands shortly before them.
            first = before.saturating_sub(EXCERPT_CHARACTERS_MAX / 2);
            before -= first;
        }
        let excerpt: String = shown.into_iter().skip(first).take(EXCERPT_CHARACTERS_MAX).collect();
        let room = EXCERPT_CHARACTERS_MAX.saturating_sub(before).max(1);
        Place {
            line: count(text[..start].matches('\n').count() + 1),
            column: count(at + 1),
            excerpt: excerpt.trim_end().into(),
            before: count(before),
            width: count(width.min(room)),
        }
    }
}

impl Place {
    /// Returns the place without what stands beside the words at fault, where that may be a value.
    #[must_use]
    pub fn alone(self) -> Place {
        let is_value = |text: &str| text.contains(['"', '\'']);
        let shown: Vec<char> = self.excerpt.chars().collect();
        let text =
            |range: Range<usize>| shown.get(range).map(|part| part.iter().collect::<String>()).unwrap_or_default();
        let (from, to) = (self.before as usize, (self.before as usize + self.width as usize).min(shown.len()));
        let (before, after) = (text(0..from), text(to..shown.len()));
        let is_hidden = is_value(&before) || before.matches('=').count() > 1;
        let before = if is_hidden { "… " } else { &*before };
        let after = if is_value(&after) || after.contains('=') { " …" } else { &*after };
        Place {
            excerpt: format!("{before}{}{after}", text(from..to)).into(),
            before: count(before.chars().count()),
            ..self
        }
    }

    /// Returns the place without any words.
    #[must_use]
    pub fn unseen(self) -> Place {
        Place { excerpt: "".into(), ..self }
    }
}

/// What comes from a file must not steer the terminal it is shown on.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Returns the nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Problem {
    /// Returns a problem of a whole file.
    pub fn of_file(file: &Path, message: impl Into<Box<str>>) -> Problem {
        Problem { file: file.into(), place: None, severity: Severity::Error, message: message.into(), hint: None }
    }

    /// Returns the problem with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Box<str>>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the file is refused for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Returns what problems are sorted by: file, then line and column, the whole file first.
    pub fn order(&self) -> (&Path, u32, u32, Severity, &str) {
        let (line, column) = self.place.as_ref().map_or((0, 0), |place| (place.line, place.column));
        (&self.file, line, column, self.severity, &self.message)
    }

    /// Returns the problem as programs see it.
    pub fn json(&self) -> Value {
        json!({
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "file": self.file.to_string_lossy(),
            "line": self.place.as_ref().map(|place| place.line),
            "column": self.place.as_ref().map(|place| place.column),
            "width": self.place.as_ref().map(|place| place.width),
            "excerpt": self.place.as_ref().map(|place| &*place.excerpt),
            "message": &*self.message,
            "hint": self.hint.as_deref(),
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        let warning = if self.is_error() { "" } else { "warning: " };
        write!(f, ": {warning}{}", self.message)?;
        if let Some(place) = self.place.as_ref().filter(|place| !place.excerpt.is_empty()) {
            let (before, width) = (place.before as usize, place.width as usize);
            write!(f, "\n  {}\n  {:before$}{}", place.excerpt, "", "^".repeat(width))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_and_shows_the_line_without_its_indent() {
        let text = "a = 1\n\tname = \"süß\" # ünd\n";
        let start = text.find("\"süß").expect("there");
        let place = Place::of(text, start..start + "\"süß\"".len());
        assert_eq!((place.line, place.column, place.before, place.width), (2, 9, 7, 5));
        assert_eq!(&*place.excerpt, "name = \"süß\" # ünd");
    }

    #[test]
    fn a_place_beyond_the_text_or_inside_a_character_is_held_at_its_edge() {
        for span in [0..0, 5..9, 1..2, 2..1000, 1000..1000] {
            let _ = Place::of("aü\nb", span);
        }
    }

    #[test]
    fn a_long_line_is_shown_around_the_words_at_fault() {
        let text = format!("{}here{}", "x".repeat(1000), "y".repeat(1000));
        let place = Place::of(&text, 1000..1004);
        let at = place.before as usize;
        assert_eq!(&place.excerpt[at..at + 4], "here");
        assert_eq!(place.excerpt.len(), EXCERPT_CHARACTERS_MAX);
    }

    #[test]
    fn what_a_file_holds_cannot_steer_the_terminal() {
        let place = Place::of("a = \u{1b}[2J", 0..1);
        assert!(!place.excerpt.contains('\u{1b}'));
    }
}
