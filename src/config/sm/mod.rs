//! OpenSearch Snapshot Management's JSON on one side, our policy files on the other.
//!
//! A policy file is that JSON field for field, so each direction is a change of clothes: what was sent
//! is what is written, and what is written is what comes back. Here only the shape is looked at: the
//! wrappers, the keys, and what JSON can say and TOML cannot. Whether it makes sense is decided by the
//! policy check on the text, and [`told`] says what it finds in the words of whoever sent the JSON.
//!
//! ```text
//! JSON ── to_toml ──> text ── the policy check ──> Policy, or problems ── told ──> places in the JSON
//!  ▲                   │
//!  └──── from_toml ────┘
//! ```
//!
//! Changed on the way in, as OpenSearch changes it at its own door: `"true"` and `"false"` as text become
//! booleans in `enabled` and in the conditions of `notification`, digits as text become numbers in counts,
//! and a description that is null or blank is none. Inside `snapshot_config` nothing is changed.

mod place;
mod shape;
mod write;

use std::fmt;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::table::integer;
use crate::ownership::FILE_BYTES_MAX;

pub use place::told;

/// Where servers have the API.
pub const API: &str = "/_plugins/_sm";
/// Where they have its policies.
pub const POLICIES: &str = "/_plugins/_sm/policies";

/// Ends the `_id` of every policy, after its name.
const ID_ENDING: &str = "-sm-policy";

/// Returns the `_id` that a policy has on a server.
pub fn id(name: &str) -> String {
    format!("{name}{ID_ENDING}")
}

/// Returns the member that a policy stands in as servers send it; `None` where it is bare.
pub fn wrapper(body: &Value) -> Option<&'static str> {
    shape::WRAPPERS.into_iter().find(|wrapper| body.get(wrapper).is_some())
}

/// Returns the name of a policy that a server sent, whatever else is wrong with it; `None` where it is bare or
/// has none.
pub fn name_in(body: &Value) -> Option<String> {
    let name = body.get(wrapper(body)?)?.get("name").and_then(Value::as_str);
    name.or_else(|| Some(name_of(body.get("_id")?.as_str()?))).map(str::to_string)
}

fn name_of(id: &str) -> &str {
    id.strip_suffix(ID_ENDING).unwrap_or(id)
}

/// A policy that came as JSON, as the file it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmPolicy {
    /// TOML, in the order in which people write it: description, enabled, uid, creation, deletion,
    /// `snapshot_config`, notification.
    pub text: String,
    /// What it says of `enabled`; `None` when it says nothing, or nothing that is true or false.
    pub enabled: Option<bool>,
    /// The name that stands in it: `name`, or else what `_id` beside the wrapper begins with. The
    /// caller decides whether it counts.
    pub name: Option<String>,
    /// Members that are the server's own, and are not in the text.
    pub left_out: Vec<String>,
}

/// One thing that is wrong with a policy as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmProblem {
    /// The member, with dots between the keys: `deletion.condition.max_agee`. Empty for the whole.
    pub path: String,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to write, when we know.
    pub hint: Option<String>,
}

/// One line, safe to print.
impl fmt::Display for SmProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        if !self.path.is_empty() {
            line.push_str(&self.path);
            line.push_str(": ");
        }
        line.push_str(&self.message);
        if let Some(hint) = &self.hint {
            line.push_str("; ");
            line.push_str(hint);
        }
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        f.write_str(&line.chars().map(printable).collect::<String>())
    }
}

/// Returns the policy file for a policy as JSON, bare or in one of the wrappers `sm_policy` and
/// `policy`; or all that is wrong with its shape, at most a hundred problems. The text is always TOML
/// that a file may hold, and [`from_toml`] gives back what was sent.
pub fn to_toml(body: &Value) -> Result<SmPolicy, Vec<SmProblem>> {
    let shaped = shape::shape(body)?;
    let text = write::policy(&shaped.members);
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(vec![SmProblem {
            path: String::new(),
            message: format!("policy is larger than {} kB", FILE_BYTES_MAX / 1024),
            hint: None,
        }]);
    }
    let enabled = shaped.members.get("enabled").and_then(Value::as_bool);
    Ok(SmPolicy { text, enabled, name: shaped.name, left_out: shaped.left_out })
}

/// Returns a policy file's members as JSON, exactly as they are written; `None` when the text is no
/// TOML. Dates come out as text and numbers without an end, which no policy in force holds, as null.
pub fn from_toml(text: &str) -> Option<Map<String, Value>> {
    Some(members(DeTable::parse(text).ok()?.get_ref()))
}

fn members(table: &DeTable<'_>) -> Map<String, Value> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => integer(number).map_or(Value::Null, Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(at) => Value::String(at.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| json(item.get_ref())).collect()),
        DeValue::Table(table) => Value::Object(members(table)),
    }
}
