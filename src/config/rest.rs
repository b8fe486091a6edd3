//! What belongs to somebody else: a driver's keys, handed on as JSON, and found again by the path a
//! driver names.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::reader::Findings;
use super::table::integer;

/// The keys of a table that belong to somebody else, with their places.
#[derive(Clone, Debug)]
pub struct Rest<'t> {
    table: DeTable<'t>,
    /// The key that names the table they stand in.
    pub at: Range<usize>,
}

impl<'t> Rest<'t> {
    /// Returns the keys of a table that is named at `at`.
    pub fn new(table: DeTable<'t>, at: Range<usize>) -> Rest<'t> {
        Rest { table, at }
    }

    /// Returns them as JSON. What JSON cannot hold is noted and left out.
    pub fn json(&self, findings: &mut Findings<'_>) -> Map<String, Value> {
        json_of_keys(findings, &self.table)
    }

    /// Returns the place of the value that `path` leads to; of the nearest table around it when
    /// it leads to nothing; of the table's own key when it leads nowhere.
    pub fn locate(&self, path: &[String]) -> Range<usize> {
        let Some((first, further)) = path.split_first() else { return self.at.clone() };
        let Some((key, value)) = self.table.get_key_value(first.as_str()) else { return self.at.clone() };
        // A driver that refuses a key as a whole means the key where it is a table, which spans lines.
        let mut at = if value.get_ref().is_table() { key.span() } else { value.span() };
        let mut value = value.get_ref();
        for step in further {
            let inner = match value {
                DeValue::Table(table) => table.get(step.as_str()),
                DeValue::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(inner) = inner else { break };
            (at, value) = (inner.span(), inner.get_ref());
        }
        at
    }

    /// Returns the place of a key at the top, for problems of the key and not of its value.
    pub fn key_at(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span())
    }
}

fn json_of_keys(findings: &mut Findings<'_>, table: &DeTable<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in table.iter() {
        if let Some(json) = json_of(findings, value.get_ref(), value.span()) {
            map.insert(key.get_ref().to_string(), json);
        }
    }
    map
}

fn json_of(findings: &mut Findings<'_>, value: &DeValue<'_>, at: Range<usize>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(value) => Some(Value::Bool(*value)),
        DeValue::Datetime(at) => Some(Value::String(at.to_string())),
        DeValue::Integer(number) => {
            let number = integer(number);
            if number.is_none() {
                findings.error(at, "number is too large").hint("whole numbers have at most 64 bits");
            }
            number.map(Value::from)
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            if number.is_none() {
                findings.error(at, "number has no end").hint("write a finite number");
            }
            number.map(Value::Number)
        }
        DeValue::Array(items) => {
            let items: Vec<Value> =
                items.iter().filter_map(|item| json_of(findings, item.get_ref(), item.span())).collect();
            Some(Value::Array(items))
        }
        DeValue::Table(table) => Some(Value::Object(json_of_keys(findings, table))),
    }
}
