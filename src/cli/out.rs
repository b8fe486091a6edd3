//! Where everything that is shown passes through: a closed pipe ends the command quietly, and what
//! comes from elsewhere cannot steer the terminal.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::http::body::ProblemDocument;

use super::times::Times;

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; all is well.
    Fine = 0,
    /// Refused or failed.
    Failed = 1,
    /// Wrong usage, bad configuration, or another daemon has the state directory.
    Usage = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
    /// The journal could not be read or written.
    JournalFailed = 74,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads any more what we print, as after `| head`. Not an error.
    Closed,
    /// It is told to the person.
    Told {
        /// How the process ends.
        exit: Exit,
        /// What failed, and why.
        message: String,
        /// What to do about it, where we know.
        hint: Option<String>,
    },
    /// The daemon said no.
    Refused {
        /// What it said.
        problem: Box<ProblemDocument>,
        /// Word for word.
        document: Vec<u8>,
    },
}

impl Failure {
    /// A failure that is told.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure::Told { exit, message: message.into(), hint: None }
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        match self {
            Failure::Told { exit, message, hint: _ } => Failure::Told { exit, message, hint: Some(hint.into()) },
            other => other,
        }
    }

    /// Whether the daemon could not be reached.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Failure::Told { exit: Exit::Unreachable, .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Closed => f.write_str("nobody reads any more"),
            Failure::Told { message, .. } => f.write_str(message),
            Failure::Refused { problem, .. } => f.write_str(&problem.detail),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::new(Exit::Failed, format!("failed to print: {error}")),
        }
    }
}

/// How a word is shown on a terminal with colours; without them it is just the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As everything else.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// Less important.
    Faint,
    /// Well.
    Good,
    /// Somebody may have to look.
    Warning,
    /// Somebody has to look.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
        }
    }
}

/// Where a command says what it has to say.
pub struct Out<'a> {
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    /// How points in time are shown.
    pub times: Times,
    /// Whether answers are printed as the daemon gave them.
    pub json: bool,
    /// How many characters a line may have.
    pub width: usize,
    colour: bool,
}

impl<'a> Out<'a> {
    /// Returns where to say things.
    pub fn new(
        stdout: &'a mut dyn Write,
        stderr: &'a mut dyn Write,
        times: Times,
        colour: bool,
        json: bool,
    ) -> Out<'a> {
        Out { stdout, stderr, times, json, width: width(), colour }
    }

    /// Prints a line of our own words; what came from elsewhere has been through [`safe`].
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.stdout.write_all(text.as_ref().as_bytes())?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    /// Prints what the daemon answered, as it is.
    pub fn raw(&mut self, document: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(document)?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    /// Prints a value as JSON.
    pub fn value(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_vec(value).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        self.raw(&text)
    }

    /// Prints a text that ends its last line itself.
    pub fn text(&mut self, text: &[u8]) -> Result<(), Failure> {
        Ok(self.stdout.write_all(text)?)
    }

    /// Returns a word in a tone.
    pub fn toned(&self, tone: Tone, text: &str) -> String {
        if self.colour && tone != Tone::Plain {
            format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
        } else {
            text.to_string()
        }
    }

    /// Says something beside the answer, on standard error.
    pub fn aside(&mut self, text: impl AsRef<str>) {
        // Where nobody listens to trouble, there is nobody to tell.
        let _ = writeln!(self.stderr, "{}", text.as_ref());
    }

    /// Hands on everything that was printed.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }

    /// Tells why a command failed, and returns how the process ends.
    pub fn fail(&mut self, failure: Failure) -> Exit {
        match failure {
            Failure::Closed => Exit::Fine,
            Failure::Told { exit, message, hint } => {
                self.tell(&message, hint.as_deref());
                exit
            }
            Failure::Refused { document, .. } if self.json => {
                // Whoever cannot read it sees the exit code.
                let _ = self.raw(&document).and_then(|()| self.flush());
                Exit::Failed
            }
            Failure::Refused { problem, .. } => {
                self.tell(&problem.detail, problem.hint.as_deref());
                Exit::Failed
            }
        }
    }

    fn tell(&mut self, message: &str, hint: Option<&str>) {
        self.aside(format!("snapkeep: {}", safe_lines(message)));
        if let Some(hint) = hint {
            self.aside(format!("hint: {}", safe_lines(hint)));
        }
    }
}

/// Returns how wide the terminal is; what `COLUMNS` says comes first, and without either a hundred.
fn width() -> usize {
    let written = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    written.or_else(terminal).filter(|width| *width > 0).unwrap_or(100)
}

/// Returns text that is safe to show in one line: control characters, and those that turn the
/// direction of writing, become escapes that can be read.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Returns text that is safe to show, its lines kept.
pub fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
}

/// Returns a path as a shell takes it.
pub fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if path.chars().all(is_plain) { path.to_string() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_blanks_is_quoted_for_the_shell() {
        assert_eq!(quoted("./target/release/snapkeep"), "./target/release/snapkeep");
        assert_eq!(quoted("/a b/it's"), "'/a b/it'\\''s'");
    }
}
