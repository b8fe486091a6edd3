//! JSON schemas (draft 7, which editors for TOML understand) of the files that people write.
//!
//! They are strict: what they accept has the right shape, and an unknown key is refused. What needs more than a shape (names
//! that have to exist, a `min_count` above `max_count`, a zone that is none) is for `snapkeep check`. The keys of drivers that
//! are programs are theirs, so those tables are open.

use serde_json::{Map, Value, json};

use super::keys::{File, Form, Key, Rule, Shape, Table, Without, repository};

/// Returns the schema of a file.
pub fn schema(file: File) -> Value {
    let (title, description) = match file {
        File::Settings => ("Snapkeep's settings", "snapkeep.toml, the daemon's own settings"),
        File::Policy => {
            ("A policy of Snapkeep", "A file in policies.d: when snapshots are made, and which of them stay")
        }
        File::Repository => ("A repository of Snapkeep", "A file in repositories.d: where snapshots are kept"),
        File::Channel => ("A channel of Snapkeep", "A file in channels.d: where notices go"),
    };
    let mut schema = Map::new();
    schema.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
    schema.insert("title".into(), title.into());
    schema.insert("description".into(), description.into());
    // A driver's own keys are known by its name alone.
    if file == File::Repository {
        let kind = |kind: &str| {
            let is_it = json!({ "properties": { "driver": { "const": kind } } });
            json!({ "if": is_it, "then": Value::Object(table(&repository::of_driver(kind))) })
        };
        schema.insert("type".into(), "object".into());
        schema.insert("required".into(), json!(["driver"]));
        schema.insert("properties".into(), json!({ "driver": { "enum": repository::KINDS } }));
        schema.insert("allOf".into(), repository::KINDS.map(kind).to_vec().into());
        return Value::Object(schema);
    }
    schema.extend(table(&file.table()));
    Value::Object(schema)
}

fn table(table: &Table) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut rules = Vec::new();
    for key in &table.keys {
        properties.insert(key.name.into(), property(key));
        let Some(alias) = key.alias else {
            if matches!(key.without, Without::Refused) {
                required.push(Value::from(key.name));
            }
            continue;
        };
        let mut other = property(key);
        if let Value::Object(other) = &mut other {
            other.insert("description".into(), format!("Another name of {}.", key.name).into());
        }
        properties.insert(alias.into(), other);
        rules.push(match key.without {
            Without::Refused => one(&[key.name, alias]),
            _ => not_both(key.name, alias),
        });
    }
    for rule in &table.rules {
        match rule {
            Rule::One(names) => rules.push(one(names)),
            Rule::Any(names) => rules.push(json!({ "anyOf": each(names) })),
            Rule::AtMostOne(names) => {
                for (place, name) in names.iter().enumerate() {
                    rules.extend(names.iter().skip(place + 1).map(|other| not_both(name, other)));
                }
            }
            Rule::With(first, second) => rules.push(json!({ "dependencies": { *first: [*second] } })),
        }
    }
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("additionalProperties".into(), table.is_open.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    if !rules.is_empty() {
        schema.insert("allOf".into(), rules.into());
    }
    schema
}

fn each(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({ "required": [*name] })).collect()
}

fn one(names: &[&str]) -> Value {
    json!({ "oneOf": each(names) })
}

fn not_both(first: &str, second: &str) -> Value {
    json!({ "not": { "required": [first, second] } })
}

fn property(key: &Key) -> Value {
    let mut schema = form(&key.form);
    schema.insert("description".into(), key.about.as_str().into());
    if let Without::Is(written) = key.without
        && let Ok(Value::Object(mut document)) =
            toml::from_str::<toml::Table>(&format!("value = {written}")).map(|table| json!(table))
        && let Some(value) = document.remove("value")
    {
        schema.insert("default".into(), value);
    }
    Value::Object(schema)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn shaped(shape: Shape) -> Value {
    json!({ "type": "string", "pattern": shape.pattern() })
}

fn words(words: &[(&str, &str)]) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({ "type": "string", "enum": words })
}

fn form(form: &Form) -> Map<String, Value> {
    let text = || json!({ "type": "string", "pattern": r"\S" });
    let inner = |inner: &Form| Value::Object(self::form(inner));
    object(match form {
        Form::Text => text(),
        Form::Shaped(shape) => shaped(*shape),
        Form::Word(all) => words(all),
        Form::Boolean => json!({ "type": "boolean" }),
        Form::BooleanOrText => json!({ "enum": [true, false, "true", "false"] }),
        Form::Number(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Form::Count(max) => json!({ "type": "integer", "minimum": 1, "maximum": max }),
        Form::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": r"^[0-9]+\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?\s*$" },
        ] }),
        Form::List(each) => {
            json!({ "type": "array", "items": inner(each), "minItems": 1, "uniqueItems": true })
        }
        Form::Words(all) => json!({ "type": "array", "items": words(all) }),
        Form::Texts => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        Form::Arguments => json!({
            "type": "array",
            "items": [text()],
            "additionalItems": { "type": "string" },
            "minItems": 1,
        }),
        Form::OneOrMore(each) => {
            let list = json!({ "type": "array", "items": inner(each), "minItems": 1 });
            json!({ "anyOf": [inner(each), list] })
        }
        Form::OneOrAny(each) => json!({ "anyOf": [inner(each), { "type": "array", "items": inner(each) }] }),
        Form::Group => json!({ "anyOf": [text(), { "type": "integer", "minimum": 0 }] }),
        Form::Items(table) => json!({
            "type": "array",
            "items": { "anyOf": [text(), Value::Object(self::table(table))] },
            "minItems": 1,
        }),
        Form::Table(table) => Value::Object(self::table(table)),
        Form::Named { name: _, names, each } => json!({
            "type": "object",
            "patternProperties": { *names: inner(each) },
            "additionalProperties": false,
        }),
        Form::Secret => secret(),
        Form::MaybeSecret(shape) => json!({ "anyOf": [shaped(*shape), secret()] }),
    })
}

/// Where a secret is.
fn secret() -> Value {
    json!({
        "type": "object",
        "properties": {
            "file": {
                "type": "string",
                "pattern": r"\S",
                "description": "A file with mode 0600 that holds it; a relative path begins in the folder of the configuration.",
            },
            "credential": {
                "type": "string",
                "pattern": r"^[^/\u0000-\u001f]{1,255}$",
                "description": "The name of a credential that the service was given by LoadCredential=.",
            },
        },
        "additionalProperties": false,
        "oneOf": [{ "required": ["file"] }, { "required": ["credential"] }],
    })
}
