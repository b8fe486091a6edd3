//! A message in JSON, for programs: the one place that says which member means what.

use serde_json::{Map, Value, json};

use super::Message;

/// Returns the message as an object. Members are always there; what there is nothing to say about is null.
pub fn body(message: &Message) -> Map<String, Value> {
    let facts = &message.facts;
    let Value::Object(body) = json!({
        "id": message.key,
        "event": message.event.word(),
        "severity": message.event.severity().word(),
        "policy": message.policy,
        "run_id": message.run_id,
        "workflow": facts.workflow,
        "snapshot": facts.snapshot,
        "subject": message.subject,
        "what": facts.what,
        "why": facts.why,
        "keeps": facts.keeps,
        "next": facts.next,
        "look": facts.look,
        "at": message.at.to_string(),
        "latest_at": message.latest_at.to_string(),
        "count": message.count,
        "attempt": message.attempt,
        "host": message.host,
        "installation": message.installation,
        "text": message.text(),
    }) else {
        return Map::new();
    };
    body
}
