//! A policy as TOML, as a person would write it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::shape::{POLICY, Shape};

/// How the members of a table are ordered: those that are named as they are named, then the rest.
#[derive(Clone, Copy)]
enum Order {
    Shaped(&'static [(&'static str, Shape)]),
    Named(&'static [&'static str]),
    None,
}

impl Order {
    fn rank(self, key: &str) -> usize {
        let at = match self {
            Order::Shaped(shapes) => shapes.iter().position(|(known, _)| *known == key),
            Order::Named(names) => names.iter().position(|known| *known == key),
            Order::None => None,
        };
        at.unwrap_or(usize::MAX)
    }

    fn below(self, key: &str) -> Order {
        match self {
            Order::Shaped(shapes) => match shapes.iter().find(|(known, _)| *known == key) {
                Some((_, Shape::Members(shapes))) => Order::Shaped(shapes),
                Some((_, Shape::Free(names))) => Order::Named(names),
                _ => Order::None,
            },
            Order::Named(_) | Order::None => Order::None,
        }
    }
}

/// Returns the text of a policy's file.
pub fn policy(members: &Map<String, Value>) -> String {
    let mut text = String::new();
    table(&mut text, "", members, Order::Shaped(POLICY));
    text
}

fn table(text: &mut String, header: &str, members: &Map<String, Value>, order: Order) {
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    members.sort_by_key(|(key, _)| order.rank(key));
    let (tables, plain): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(key, value)| value.is_object() && !is_dotted(header, key, value));
    // A table of tables needs no header of its own.
    if !header.is_empty() && (!plain.is_empty() || tables.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[{header}]");
    }
    for (member, value) in plain {
        match value {
            Value::Object(inner) => {
                for (inner_key, value) in inner {
                    let _ = write!(text, "{}.{} = ", key(member), key(inner_key));
                    line(text, value);
                }
            }
            value => {
                let _ = write!(text, "{} = ", key(member));
                line(text, value);
            }
        }
    }
    for (member, value) in tables {
        if let Value::Object(inner) = value {
            let header = match header {
                "" => key(member),
                header => format!("{header}.{}", key(member)),
            };
            table(text, &header, inner, order.below(member));
        }
    }
}

/// Whether people write it as `channel.id = "…"`.
fn is_dotted(header: &str, key: &str, value: &Value) -> bool {
    let one = |inner: &Map<String, Value>| inner.len() == 1 && inner.values().all(|value| !value.is_object());
    header == "notification" && key == "channel" && value.as_object().is_some_and(one)
}

fn line(text: &mut String, value: &Value) {
    match value {
        Value::String(written) if is_of_lines(written) => {
            text.push_str("\"\"\"\n");
            text.push_str(&written.replace('\\', "\\\\").replace('"', "\\\""));
            text.push_str("\"\"\"");
        }
        value => inline(text, value),
    }
    text.push('\n');
}

/// Whether a text reads better over several lines.
fn is_of_lines(written: &str) -> bool {
    written.contains('\n') && !written.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}

fn inline(text: &mut String, value: &Value) {
    match value {
        // Refused before anything is written.
        Value::Null => text.push_str("\"\""),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => text.push_str(&whole.to_string()),
            // Shows a point or an exponent always, so that it stays a decimal number.
            (None, float) => text.push_str(&format!("{:?}", float.unwrap_or_default())),
        },
        Value::String(written) => string(text, written),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                inline(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (index, (member, value)) in members.iter().enumerate() {
                let _ = write!(text, "{}{} = ", if index == 0 { " " } else { ", " }, key(member));
                inline(text, value);
            }
            text.push_str(if members.is_empty() { "}" } else { " }" });
        }
    }
}

fn key(written: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !written.is_empty() && written.bytes().all(is_bare) {
        return written.to_string();
    }
    let mut text = String::new();
    string(&mut text, written);
    text
}

fn string(text: &mut String, written: &str) {
    let needs_escapes = written.contains(['\\', '"']);
    if needs_escapes && !written.chars().any(|c| c.is_control() || c == '\'') {
        let _ = write!(text, "'{written}'");
        return;
    }
    text.push('"');
    for c in written.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
