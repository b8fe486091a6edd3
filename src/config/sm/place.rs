//! Where in a policy's JSON a place of its file is.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::SmProblem;
use super::shape::join;
use crate::config::problem::{Place, Problem};

/// Returns problems of a policy's text in the words of whoever sent it as JSON: with the member at
/// fault, and no line or column.
pub fn told(text: &str, problems: &[Problem]) -> Vec<SmProblem> {
    let places = Places::of(text);
    let in_json = |problem: &Problem| SmProblem {
        path: problem.place.as_ref().map_or_else(String::new, |place| places.path(place)),
        message: problem.message.to_string(),
        hint: problem.hint.as_ref().map(ToString::to_string),
    };
    problems.iter().map(in_json).collect()
}

/// The bytes of every key and value, with the path of each.
struct Places<'t> {
    text: &'t str,
    spans: Vec<(Range<usize>, String)>,
}

impl<'t> Places<'t> {
    fn of(text: &'t str) -> Places<'t> {
        let mut spans = Vec::new();
        if let Ok(table) = DeTable::parse(text) {
            of_table(&mut spans, "", table.get_ref());
        }
        Places { text, spans }
    }

    fn path(&self, place: &Place) -> String {
        // Something that is missing from the whole stands nowhere.
        if place.excerpt.is_empty() {
            return String::new();
        }
        let at = offset(self.text, place);
        let around = self.spans.iter().filter(|(span, _)| span.contains(&at));
        // Of those around it the smallest: a key in a header, a value in a list.
        around.min_by_key(|(span, path)| (span.len(), path.len())).map_or_else(String::new, |(_, path)| path.clone())
    }
}

fn of_table(spans: &mut Vec<(Range<usize>, String)>, path: &str, table: &DeTable<'_>) {
    for (key, value) in table.iter() {
        let path = join(path, key.get_ref());
        spans.push((key.span(), path.clone()));
        of_value(spans, path, value.get_ref(), value.span());
    }
}

fn of_value(spans: &mut Vec<(Range<usize>, String)>, path: String, value: &DeValue<'_>, at: Range<usize>) {
    match value {
        DeValue::Table(table) => of_table(spans, &path, table),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                of_value(spans, format!("{path}[{index}]"), item.get_ref(), item.span());
            }
            spans.push((at, path));
        }
        _ => spans.push((at, path)),
    }
}

/// Returns the byte of the text at a place.
fn offset(text: &str, place: &Place) -> usize {
    let line = text.split_inclusive('\n').take(place.line.saturating_sub(1) as usize).map(str::len).sum::<usize>();
    let before = place.column.saturating_sub(1) as usize;
    let rest = text.get(line..).unwrap_or_default();
    line + rest.char_indices().nth(before).map_or(rest.len(), |(at, _)| at)
}
