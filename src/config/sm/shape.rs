//! Which members a policy may have, and what of JSON no policy file can hold.

use serde_json::{Map, Value};

use super::{SmProblem, name_of, wrapper};
use crate::config::table::nearest;

/// What a member is, as far as its shape goes.
#[derive(Debug)]
pub enum Shape {
    /// Taken as it is; the policy check says what is wrong with it.
    Plain,
    /// As `Plain`, and null or blank is the same as nothing.
    Text,
    /// `"true"` and `"false"` as text count as the booleans they name.
    Boolean,
    /// Digits as text count as the number they name.
    Count,
    /// An object with these members and no others, in the order in which people write them.
    Members(&'static [(&'static str, Shape)]),
    /// An object that holds anything and is kept exactly; these members come first.
    Free(&'static [&'static str]),
}

use Shape::{Boolean, Count, Free, Members, Plain, Text};

const SCHEDULE: Shape = Members(&[
    ("cron", Members(&[("expression", Plain), ("timezone", Plain)])),
    ("interval", Members(&[("every", Plain)])),
]);

const RETRY: Shape = Members(&[("count", Count)]);

const CONDITION: Shape = Members(&[
    ("max_age", Plain),
    ("max_count", Count),
    ("min_count", Count),
    ("min_age", Plain),
    (
        "keep",
        Members(&[
            ("last", Count),
            ("hourly", Count),
            ("daily", Count),
            ("weekly", Count),
            ("monthly", Count),
            ("quarterly", Count),
            ("yearly", Count),
            ("within", Plain),
            ("timezone", Plain),
        ]),
    ),
]);

/// Every member of a policy, as [`crate::config::policy_document`] reads them.
pub const POLICY: &[(&str, Shape)] = &[
    ("description", Text),
    ("enabled", Boolean),
    ("uid", Plain),
    (
        "creation",
        Members(&[
            ("time_limit", Plain),
            ("catch_up", Plain),
            ("catch_up_within", Plain),
            ("on_overlap", Plain),
            ("spread", Plain),
            ("stale_after", Plain),
            ("schedule", SCHEDULE),
            ("retry", RETRY),
        ]),
    ),
    (
        "deletion",
        Members(&[
            ("snapshot_pattern", Plain),
            ("time_limit", Plain),
            ("catch_up", Plain),
            ("catch_up_within", Plain),
            ("on_overlap", Plain),
            ("spread", Plain),
            ("schedule", SCHEDULE),
            ("condition", CONDITION),
            ("delete_condition", CONDITION),
            ("retry", RETRY),
            ("guards", Members(&[("brake", Plain), ("grace", Plain), ("rate", Count), ("compliance", Boolean)])),
        ]),
    ),
    ("snapshot_config", Free(&["repository", "date_format", "date_format_timezone", "timezone"])),
    (
        "notification",
        Members(&[
            ("channel", Members(&[("id", Plain)])),
            ("channels", Plain),
            (
                "conditions",
                Members(&[
                    ("creation", Boolean),
                    ("deletion", Boolean),
                    ("failure", Boolean),
                    ("time_limit_exceeded", Boolean),
                    ("recovered", Boolean),
                    ("stale", Boolean),
                    ("held", Boolean),
                    ("skipped", Boolean),
                    ("missed", Boolean),
                    ("problem", Boolean),
                ]),
            ),
        ]),
    ),
];

/// What a server adds to every answer: taken when it is sent back, and not kept.
const SERVERS_OWN: [&str; 6] = ["enabled_time", "last_updated_time", "name", "schedule", "schema_version", "user"];

/// Members around a policy in answers of a server.
pub const WRAPPERS: [&str; 2] = ["sm_policy", "policy"];

/// What stands beside the wrapper there.
const BESIDE: [&str; 4] = ["_id", "_primary_term", "_seq_no", "_version"];

/// OpenSearch members that have another form here, with what to write.
const OTHERWISE: &[(&str, &str)] = &[
    ("schedule_delay", "write \"spread\" beside \"schedule\" for an offset"),
    ("start_time", "leave it out: intervals are counted from 1970, so that no restart moves them"),
    ("period", "write \"every\": \"15m\", a number and w, d, h, m or s"),
    ("unit", "write \"every\": \"15m\", a number and w, d, h, m or s"),
    ("date_format", "date_format belongs in snapshot_config"),
    ("date_format_timezone", "date_format_timezone belongs in snapshot_config"),
    ("repository", "repository belongs in snapshot_config"),
    ("indices", "indices belongs in snapshot_config"),
    ("metadata", "metadata belongs in snapshot_config"),
    ("partial", "partial belongs in snapshot_config"),
];

/// The reader of TOML goes no deeper than 80; this leaves room for what stands around it.
const DEPTH_MAX: usize = 60;

/// A page of them is read; a list without end helps nobody.
const PROBLEMS_MAX: usize = 100;

/// A policy whose shape is right.
pub struct Shaped {
    /// What the file holds.
    pub members: Map<String, Value>,
    /// The name it came with.
    pub name: Option<String>,
    /// What was the server's own.
    pub left_out: Vec<String>,
}

/// Returns the policy in `body`, or what is wrong with its shape.
pub fn shape(body: &Value) -> Result<Shaped, Vec<SmProblem>> {
    let mut reading = Reading::default();
    let shaped = reading.body(body);
    match shaped {
        Some(shaped) if reading.problems.is_empty() => Ok(shaped),
        _ => Err(reading.problems),
    }
}

/// Returns the path of a member of what `path` leads to.
pub fn join(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_string(),
        (true, false) => format!("{key:?}"),
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}.{key:?}"),
    }
}

#[derive(Default)]
struct Reading {
    problems: Vec<SmProblem>,
}

impl Reading {
    fn problem(&mut self, path: impl Into<String>, message: impl Into<String>, hint: Option<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(SmProblem { path: path.into(), message: message.into(), hint });
        }
    }

    fn body(&mut self, given: &Value) -> Option<Shaped> {
        let Value::Object(body) = given else {
            self.problem("", format!("policy must be an object, not {}", describe(given)), None);
            return None;
        };
        let Some(wrapper) = wrapper(given) else {
            return self.policy(body, None);
        };
        for key in body.keys().filter(|key| *key != wrapper && !BESIDE.contains(&key.as_str())) {
            let hint = format!("everything of a policy stands inside {wrapper}");
            self.problem(join("", key), format!("unknown key beside {wrapper}"), Some(hint));
        }
        let id = match body.get("_id") {
            None => None,
            Some(Value::String(id)) => Some(name_of(id).to_string()),
            Some(other) => {
                self.problem("_id", format!("must be text, not {}", describe(other)), None);
                None
            }
        };
        match body.get(wrapper) {
            Some(Value::Object(policy)) => self.policy(policy, id),
            other => {
                let found = other.map_or("nothing", describe);
                self.problem(wrapper, format!("must be an object, not {found}"), None);
                None
            }
        }
    }

    fn policy(&mut self, given: &Map<String, Value>, id: Option<String>) -> Option<Shaped> {
        let name = match given.get("name") {
            None => id,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => {
                self.problem("name", format!("must be text, not {}", describe(other)), None);
                None
            }
        };
        // The server's tick is an interval. Anything else was meant as a trigger.
        if let Some(Value::Object(schedule)) = given.get("schedule")
            && schedule.keys().any(|key| key != "interval")
        {
            let hint = "write it in creation or deletion; what stands here is the server's own".to_string();
            self.problem("schedule", "schedule of the whole policy is no trigger", Some(hint));
        }
        let left_out: Vec<String> = given.keys().filter(|key| SERVERS_OWN.contains(&key.as_str())).cloned().collect();
        let own = given.iter().filter(|(key, _)| !SERVERS_OWN.contains(&key.as_str()));
        let members = self.members("", POLICY, own);
        Some(Shaped { members, name, left_out })
    }

    fn members<'v>(
        &mut self,
        path: &str,
        shapes: &'static [(&'static str, Shape)],
        given: impl Iterator<Item = (&'v String, &'v Value)>,
    ) -> Map<String, Value> {
        let mut kept = Map::new();
        let mut unknown = Vec::new();
        for (key, value) in given {
            match shapes.iter().find(|(known, _)| known == key) {
                Some((_, shape)) => {
                    if let Some(value) = self.member(&join(path, key), shape, value) {
                        kept.insert(key.clone(), value);
                    }
                }
                None => unknown.push((key, value)),
            }
        }
        if path.ends_with("interval")
            && let Some(hint) = interval_hint(&unknown)
        {
            self.problem(path, "interval is given by start_time, period and unit", Some(hint));
            return kept;
        }
        for (key, _) in unknown {
            let known: Vec<&str> = shapes.iter().map(|(known, _)| *known).collect();
            self.problem(join(path, key), format!("unknown key `{key}`"), Some(key_hint(key, &known)));
        }
        kept
    }

    fn member(&mut self, path: &str, shape: &'static Shape, value: &Value) -> Option<Value> {
        match (shape, value) {
            (Text, Value::Null) => None,
            (Text, Value::String(text)) if text.trim().is_empty() => None,
            (Boolean, Value::String(text)) => Some(match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => value.clone(),
            }),
            (Count, Value::String(text)) => {
                let is_number = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse::<i64>().ok().filter(|_| is_number);
                Some(number.map_or_else(|| value.clone(), Value::from))
            }
            (Members(shapes), Value::Object(given)) => Some(Value::Object(self.members(path, shapes, given.iter()))),
            (Plain | Text | Boolean | Count | Members(_) | Free(_), value) => {
                self.holdable(path, value, 0);
                Some(value.clone())
            }
        }
    }

    /// Notes what a policy file cannot hold, so that nothing is written that would come back otherwise.
    fn holdable(&mut self, path: &str, value: &Value, depth: usize) {
        if depth > DEPTH_MAX {
            self.problem(path, format!("is nested more than {DEPTH_MAX} deep"), None);
            return;
        }
        match value {
            Value::Null => self.problem(path, "null is no value", Some("leave it out".to_string())),
            Value::Number(number) => {
                // A whole number of more digits than JSON's reader holds has become a decimal one on the way.
                let is_lossy =
                    number.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() >= 2f64.powi(63));
                if number.as_i64().is_none() && (is_lossy || !number.is_f64()) {
                    let hint = "whole numbers have at most 64 bits; send it as text".to_string();
                    self.problem(path, "number is too large", Some(hint));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.holdable(&format!("{path}[{index}]"), item, depth + 1);
                }
            }
            Value::Object(members) => {
                for (key, value) in members {
                    self.holdable(&join(path, key), value, depth + 1);
                }
            }
            Value::Bool(_) | Value::String(_) => {}
        }
    }
}

fn key_hint(key: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(key, known) {
        return format!("did you mean {near}?");
    }
    if let Some((_, hint)) = OTHERWISE.iter().find(|(other, _)| *other == key) {
        return (*hint).to_string();
    }
    let mut places = Vec::new();
    places_of(key, "", POLICY, &mut places);
    match places.as_slice() {
        [] => format!("the keys here are {}", known.join(", ")),
        places if places.iter().any(String::is_empty) => format!("{key} belongs at the top of the policy"),
        places => format!("{key} belongs in {}", places.join(" or ")),
    }
}

fn places_of(key: &str, path: &str, shapes: &[(&str, Shape)], places: &mut Vec<String>) {
    for (known, shape) in shapes {
        if *known == key {
            places.push(path.to_string());
        }
        // The other name of condition adds nothing.
        if let Members(inner) = shape
            && *known != "delete_condition"
        {
            places_of(key, &join(path, known), inner, places);
        }
    }
}

/// Returns what to write for an interval in OpenSearch's words.
fn interval_hint(unknown: &[(&String, &Value)]) -> Option<String> {
    let member = |name: &str| unknown.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let period = member("period")?.as_u64()?;
    let unit = match member("unit")?.as_str()?.to_ascii_lowercase().as_str() {
        "seconds" => 's',
        "minutes" => 'm',
        "hours" => 'h',
        "days" => 'd',
        _ => return None,
    };
    Some(format!("write \"every\": \"{period}{unit}\"; it is counted from 1970, so that no restart moves it"))
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
