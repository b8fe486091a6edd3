//! Understands what a driver process says: lines in, snapshots and one last word out.
//!
//! It is fed bytes as they come, in any portions, and keeps no more of them than one line. Whatever
//! it cannot take literally is a breach of the protocol; it never guesses.

use std::fmt;

use serde_json::Value;

use crate::lifecycle::snapshot::Snapshot;
use crate::lifecycle::workflow::Fault;

use super::super::protocol::{Line, ProgressLine, SnapshotLine, VERSION, Verb};
use super::super::{Progress, ProgressSink};
use super::Limits;

/// A conversation in progress.
#[derive(Debug)]
pub struct Dialogue<'a> {
    verb: Verb,
    limits: &'a Limits,
    progress: &'a ProgressSink,
    line: Vec<u8>,
    bytes: u64,
    greeted: bool,
    snapshots: Vec<Snapshot>,
    listing_bytes: usize,
    last: Option<Result<Value, Fault>>,
}

/// All that was said, when it went well.
#[derive(Debug)]
pub struct Heard {
    /// The snapshots of a listing.
    pub snapshots: Vec<Snapshot>,
    /// The result, in the verb's form.
    pub result: Value,
}

/// How the protocol was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach(String);

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> Dialogue<'a> {
    pub fn new(verb: Verb, limits: &'a Limits, progress: &'a ProgressSink) -> Dialogue<'a> {
        let (line, snapshots) = (Vec::new(), Vec::new());
        Dialogue { verb, limits, progress, line, bytes: 0, greeted: false, snapshots, listing_bytes: 0, last: None }
    }

    /// Takes what came. Returns whether the last line was among it.
    pub fn hear(&mut self, portion: &[u8]) -> Result<bool, Breach> {
        self.bytes = self.bytes.saturating_add(portion.len() as u64);
        if self.bytes > self.limits.output_bytes_max {
            return Err(Breach(format!("it wrote more than {} bytes", self.limits.output_bytes_max)));
        }
        let mut rest = portion;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.keep(&rest[..end])?;
            let line = std::mem::take(&mut self.line);
            self.line_heard(&line)?;
            rest = &rest[end + 1..];
        }
        self.keep(rest)?;
        Ok(self.last.is_some())
    }

    /// Returns the last word; `None` when there was none.
    pub fn end(self) -> Result<Option<Result<Heard, Fault>>, Breach> {
        match self.last {
            None if !self.line.is_empty() => Err(Breach("its last line has no end".to_owned())),
            None => Ok(None),
            Some(Err(fault)) => Ok(Some(Err(fault))),
            Some(Ok(result)) => Ok(Some(Ok(Heard { snapshots: self.snapshots, result }))),
        }
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), Breach> {
        if self.line.len() + part.len() > self.limits.line_bytes_max {
            return Err(Breach(format!("a line is longer than {} bytes", self.limits.line_bytes_max)));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn line_heard(&mut self, line: &[u8]) -> Result<(), Breach> {
        if self.last.is_some() {
            return Err(Breach(format!("it went on after its last line: {}", excerpt(line))));
        }
        let text = std::str::from_utf8(line).map_err(|_| Breach(format!("not UTF-8: {}", excerpt(line))))?;
        let line: Line = serde_json::from_str(text)
            .map_err(|error| Breach(format!("not a line of the protocol ({error}): {}", excerpt(line))))?;
        match (self.greeted, line) {
            (false, Line::Snapkeep(VERSION)) => self.greeted = true,
            (false, Line::Snapkeep(version)) => {
                return Err(Breach(format!("it speaks version {version}, we speak {VERSION}")));
            }
            (false, _) => return Err(Breach(format!("its first line must be {{\"snapkeep\":{VERSION}}}"))),
            (true, Line::Snapkeep(_)) => return Err(Breach("it greeted twice".to_owned())),
            (true, Line::Progress(progress)) => self.progress.tell(cleaned(progress)),
            (true, Line::Snapshot(snapshot)) => self.snapshot_heard(snapshot, text.len())?,
            (true, Line::Result(result)) => self.last = Some(Ok(result)),
            (true, Line::Fault(fault)) => {
                let fault = Fault::from(fault);
                self.last = Some(Err(Fault { message: clean(&fault.message), ..fault }));
            }
        }
        Ok(())
    }

    fn snapshot_heard(&mut self, line: SnapshotLine, bytes: usize) -> Result<(), Breach> {
        if self.verb != Verb::List {
            return Err(Breach("a snapshot line belongs to list alone".to_owned()));
        }
        if self.snapshots.len() == self.limits.snapshots_max {
            return Err(Breach(format!("it lists more than {} snapshots", self.limits.snapshots_max)));
        }
        self.listing_bytes += bytes;
        if self.listing_bytes > self.limits.listing_bytes_max {
            return Err(Breach(format!("its listing is larger than {} bytes", self.limits.listing_bytes_max)));
        }
        self.snapshots.push(checked(line).map_err(Breach)?);
        Ok(())
    }
}

/// Accepts a snapshot that can be named, deleted and shown.
pub fn checked(line: SnapshotLine) -> Result<Snapshot, String> {
    if line.id.is_empty() {
        return Err(format!("snapshot {} has no id", clean(&line.name)));
    }
    // Identities and names go back to the driver, so they are refused where they cannot be repeated exactly.
    for text in [&line.name, &line.id] {
        if text.chars().any(char::is_control) {
            return Err(format!("a snapshot's name or id holds a control character: {}", clean(text)));
        }
    }
    let snapshot = Snapshot::from(line);
    Ok(Snapshot { in_use: snapshot.in_use.map(|text| clean(&text)), ..snapshot })
}

/// Returns a text for people: no control characters that could act on a terminal, and not endless.
pub fn clean(text: &str) -> String {
    /// As much as a message in explain or a notice can use.
    const CHARS_MAX: usize = 2000;
    let tame = |c: char| if c == '\n' || c == '\t' { ' ' } else { c };
    let mut short: String = text.chars().map(tame).filter(|c| !c.is_control()).take(CHARS_MAX + 1).collect();
    if let Some((end, _)) = short.char_indices().nth(CHARS_MAX) {
        short.truncate(end);
        short.push('…');
    }
    short
}

fn cleaned(line: ProgressLine) -> Progress {
    let progress = Progress::from(line);
    Progress { doing: clean(&progress.doing), unit: clean(&progress.unit), ..progress }
}

fn excerpt(line: &[u8]) -> String {
    // Enough to recognise the line by.
    let text = String::from_utf8_lossy(&line[..line.len().min(80)]);
    if text.is_empty() { "an empty line".to_owned() } else { clean(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: &str = r#"{"snapshot":{"name":"a","id":"1","status":"good"}}"#;

    /// Feeds `said` in portions of `portion` bytes and returns what came of it.
    fn converse(verb: Verb, said: &[u8], portion: usize) -> String {
        let limits = Limits {
            line_bytes_max: 100,
            output_bytes_max: 1000,
            snapshots_max: 2,
            listing_bytes_max: 120,
            ..Limits::default()
        };
        let progress = ProgressSink::default();
        let mut dialogue = Dialogue::new(verb, &limits, &progress);
        for portion in said.chunks(portion) {
            if let Err(breach) = dialogue.hear(portion) {
                return format!("breach: {breach}");
            }
        }
        match dialogue.end() {
            Err(breach) => format!("breach: {breach}"),
            Ok(None) => "nothing".to_owned(),
            Ok(Some(Err(fault))) => format!("{}: {}", fault.kind.word(), fault.message),
            Ok(Some(Ok(heard))) => format!("{} snapshots, {}", heard.snapshots.len(), heard.result),
        }
    }

    fn check(verb: Verb, lines: &[&str], expected: &str) {
        let said: String = lines.iter().map(|line| format!("{line}\n")).collect();
        for portion in [1, 7, 1000] {
            assert_eq!(converse(verb, said.as_bytes(), portion), expected, "{said:?} by {portion}");
        }
    }

    #[test]
    fn a_proper_conversation_is_understood_however_it_is_cut() {
        const HELLO: &str = r#"{"snapkeep":1}"#;
        check(Verb::Delete, &[HELLO, r#"{"result":{}}"#], "0 snapshots, {}");
        check(Verb::List, &[HELLO, SNAPSHOT, SNAPSHOT, r#"{"result":{"count":2}}"#], "2 snapshots, {\"count\":2}");
        check(Verb::Create, &[HELLO, r#"{"progress":{"doing":"x"}}"#, r#"{"result":{}}"#], "0 snapshots, {}");
        check(Verb::Create, &[HELLO, r#"{"fault":{"kind":"busy","message":"locked"}}"#], "busy: locked");
        check(Verb::Create, &[HELLO], "nothing");
    }

    #[test]
    fn whatever_cannot_be_taken_literally_is_a_breach() {
        const HELLO: &str = r#"{"snapkeep":1}"#;
        let breaches: &[(&[&str], &str)] = &[
            (&[r#"{"snapkeep":2}"#], "breach: it speaks version 2, we speak 1"),
            (&[r#"{"result":{}}"#], "breach: its first line must be {\"snapkeep\":1}"),
            (&[HELLO, HELLO], "breach: it greeted twice"),
            (&[HELLO, SNAPSHOT, SNAPSHOT, SNAPSHOT], "breach: it lists more than 2 snapshots"),
            (&[HELLO, r#"{"snapshot":{"name":"a","id":"","status":"good"}}"#], "breach: snapshot a has no id"),
        ];
        for (lines, expected) in breaches {
            check(Verb::List, lines, expected);
        }
        let large = format!(r#"{{"snapshot":{{"name":"{}","id":"1","status":"good"}}}}"#, "a".repeat(50));
        check(Verb::List, &[HELLO, &large, SNAPSHOT], "breach: its listing is larger than 120 bytes");
        check(Verb::Create, &[HELLO, SNAPSHOT], "breach: a snapshot line belongs to list alone");
        for odd in ["hello", "", "[]", "{}", r#"{"progress":{"doing":"x"},"result":{}}"#, r#"{"other":{}}"#] {
            let said = format!("{HELLO}\n{odd}\n");
            let outcome = converse(Verb::Create, said.as_bytes(), 1000);
            assert!(outcome.starts_with("breach: not a line of the protocol"), "{odd:?}: {outcome}");
        }
        assert_eq!(converse(Verb::Create, b"\xff\n", 10), "breach: not UTF-8: \u{fffd}");
        assert_eq!(converse(Verb::Create, &[b' '; 101], 101), "breach: a line is longer than 100 bytes");
        assert_eq!(converse(Verb::Create, b"{\"snapkeep\"", 101), "breach: its last line has no end");
        let flood = format!("{HELLO}\n{}", "{\"progress\":{\"doing\":\"x\"}}\n".repeat(100));
        assert_eq!(converse(Verb::Create, flood.as_bytes(), 10), "breach: it wrote more than 1000 bytes");
    }

    #[test]
    fn what_people_will_read_cannot_act_on_their_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{9b}d"), "a[2Jb cd");
        assert_eq!(clean(&"ä".repeat(3000)).chars().count(), 2001);
    }
}
