//! The text format of Prometheus, version 0.0.4: the one that every scraper, the textfile collector and `promtool
//! check metrics` read.

use std::fmt::Write;

use crate::lifecycle::time::Timestamp;

use super::Family;

/// What the text is called over HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes what stands before the samples of a family.
pub(super) fn head(text: &mut String, family: &Family) {
    let Family { name, sort, help, .. } = family;
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", sort.word());
}

/// A value, exact.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// So many.
    Count(u64),
    /// A span of milliseconds, told in seconds.
    Millis(i64),
    /// A span of microseconds, told in seconds.
    Micros(u64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Value {
        Value::Count(count.into())
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Value {
        Value::Count(is_so.into())
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Value {
        Value::Millis(at.millis())
    }
}

/// Where the samples of a family are written.
pub(super) struct Samples<'a> {
    text: &'a mut String,
    family: &'a Family,
}

impl<'a> Samples<'a> {
    pub fn new(text: &'a mut String, family: &'a Family) -> Samples<'a> {
        Samples { text, family }
    }

    /// Returns how long the whole text is.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Writes a sample; `labels` are the values of the family's labels, in their order.
    pub fn add(&mut self, labels: &[&str], value: impl Into<Value>) {
        self.line("", labels, None, value.into());
    }

    /// Writes a sample of a histogram: under a suffix, with an upper bound in microseconds where it has one.
    pub fn add_part(&mut self, suffix: &str, bound: Option<Option<u64>>, value: impl Into<Value>) {
        self.line(suffix, &[], bound, value.into());
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<Option<u64>>, value: Value) {
        let Family { name, labels: names, .. } = self.family;
        self.text.push_str(name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in names.iter().zip(labels) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            before = ',';
        }
        match bound {
            Some(Some(micros)) => {
                self.text.push_str("{le=\"");
                seconds(self.text, micros.into(), 6);
                self.text.push_str("\"}");
            }
            Some(None) => self.text.push_str("{le=\"+Inf\"}"),
            None if before == ',' => self.text.push('}'),
            None => {}
        }
        self.text.push(' ');
        match value {
            Value::Count(count) => {
                let _ = write!(self.text, "{count}");
            }
            Value::Millis(millis) => seconds(self.text, millis.into(), 3),
            Value::Micros(micros) => seconds(self.text, micros.into(), 6),
        }
        self.text.push('\n');
    }
}

/// A backslash, a quote and the end of a line would end a value; nothing else has to be escaped.
fn escape(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        text.push_str(value);
        return;
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// Writes a span in seconds without what floating point would make of it, and without zeros at its end.
fn seconds(text: &mut String, span: i128, digits: usize) {
    let one = 10_i128.pow(u32::try_from(digits).unwrap_or_default());
    let (whole, rest) = (span.abs() / one, span.abs() % one);
    let sign = if span < 0 { "-" } else { "" };
    let _ = write!(text, "{sign}{whole}");
    if rest > 0 {
        let rest = format!("{rest:0digits$}");
        let _ = write!(text, ".{}", rest.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_seconds_as_it_is() {
        let told = |span, digits| {
            let mut text = String::new();
            seconds(&mut text, span, digits);
            text
        };
        assert_eq!(told(1_772_330_400_007, 3), "1772330400.007");
        assert_eq!(told(-1_500, 3), "-1.5");
        assert_eq!((told(0, 3), told(90_000, 3), told(500, 6)), ("0".into(), "90".into(), "0.0005".into()));
    }

    #[test]
    fn a_name_cannot_leave_its_label() {
        let mut text = String::new();
        escape(&mut text, "a\\b\"} 1\nc");
        assert_eq!(text, "a\\\\b\\\"} 1\\nc");
    }
}
