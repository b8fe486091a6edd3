//! A page in the language of man(7), with what people write in it kept from being read as commands.

use std::fmt::Write;

/// When what the pages say was last gone over. Fixed, so that one source makes one page, byte for byte.
pub const EDITED: &str = "2026-11-22";

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Roff {
    text: String,
}

impl Roff {
    /// Returns a page with its title and its name in one line.
    pub fn page(name: &str, section: u8, about: &str) -> Roff {
        let mut roff = Roff::default();
        roff.title(name, section);
        roff.section("NAME");
        roff.line(&format!("{} \\- {}", words(name), words(about)));
        roff
    }

    /// Writes the page's title.
    pub fn title(&mut self, name: &str, section: u8) {
        let (source, name) = (concat!("snapkeep ", env!("CARGO_PKG_VERSION")), name.replace('-', "\\-"));
        self.line(&format!(".TH \"{name}\" \"{section}\" \"{EDITED}\" \"{source}\" \"Snapkeep\""));
    }

    /// Begins a section.
    pub fn section(&mut self, heading: &str) {
        self.line(&format!(".SH {}", quoted(heading)));
    }

    /// Begins a part of a section.
    pub fn part(&mut self, heading: &str) {
        self.line(&format!(".SS {}", quoted(heading)));
    }

    /// Writes a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.apart();
        self.sentences(text);
    }

    /// Begins a paragraph; what a heading stands above begins one by itself.
    fn apart(&mut self) {
        let last = self.text.lines().next_back().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.line(".PP");
        }
    }

    /// Writes an item: its head in bold with what follows it, and what it means.
    pub fn item(&mut self, head: &str, after: &str, text: &str) {
        self.line(".TP");
        let after = if after.is_empty() { String::new() } else { format!(" {}", words(after)) };
        self.line(&format!("\\fB{}\\fR{after}", words(head)));
        self.sentences(text);
    }

    /// Writes another paragraph of an item.
    pub fn also(&mut self, text: &str) {
        self.line(".IP");
        self.sentences(text);
    }

    /// Writes lines as they are.
    pub fn example(&mut self, text: &str) {
        self.apart();
        self.line(".RS 4");
        self.line(".nf");
        for line in text.trim_end().lines() {
            let line = escaped(line);
            // A blank line of its own is a paragraph's end.
            self.line(if line.is_empty() { "\\&" } else { &line });
        }
        self.line(".fi");
        self.line(".RE");
    }

    /// Adds what another wrote in this language.
    pub fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Returns the page.
    pub fn into_text(self) -> String {
        self.text
    }

    fn sentences(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.line(&words(line));
        }
    }

    fn line(&mut self, line: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Returns a text with what stands between backticks in bold.
fn words(text: &str) -> String {
    let mut written = String::new();
    for (place, part) in text.split('`').enumerate() {
        let part = escaped_inside(part);
        if place % 2 == 1 {
            let _ = write!(written, "\\fB{part}\\fR");
        } else {
            written.push_str(&part);
        }
    }
    guarded(written)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped_inside(text).replace('"', "\\(dq"))
}

fn escaped(text: &str) -> String {
    guarded(escaped_inside(text))
}

fn escaped_inside(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('^', "\\(ha").replace('~', "\\(ti")
}

/// A line that begins like a command is none.
fn guarded(line: String) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}
