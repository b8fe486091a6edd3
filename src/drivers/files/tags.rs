//! Labels as restic tags: `key=value`, so that restic's own tools show whose a snapshot is.
//!
//! Tags are separated by commas there, so commas, and what could be taken for our own escapes, are
//! written as `%2C`.

use std::collections::BTreeMap;

/// The snapshot's name. What has none was not made by this driver.
pub const NAME: &str = "snapkeep_name";
/// How many things could not be read.
pub const PARTIAL: &str = "snapkeep_partial";
/// Stands on a snapshot until it is known how whole it is; then it is replaced. One that keeps it was
/// left behind by a process that was killed.
pub const PROVISIONAL: &str = "snapkeep_provisional";
/// How often the labels were changed since it was made.
pub const REWRITTEN: &str = "snapkeep_rewritten";

/// Whether a label is the driver's own, and no caller's.
pub fn is_own(key: &str) -> bool {
    [NAME, PARTIAL, PROVISIONAL, REWRITTEN].contains(&key)
}

/// Returns the key of a tag.
pub fn key(tag: &str) -> String {
    unescape(tag.split_once('=').map_or(tag, |(key, _)| key))
}

/// Returns a label as a tag.
pub fn tag(key: &str, value: &str) -> String {
    format!("{}={}", escape(key, true), escape(value, false))
}

/// Returns all tags as labels. One without `=` is a label without a value.
pub fn labels<'a>(tags: impl Iterator<Item = &'a String>) -> BTreeMap<String, String> {
    tags.map(|tag| match tag.split_once('=') {
        Some((key, value)) => (unescape(key), unescape(value)),
        None => (unescape(tag), String::new()),
    })
    .collect()
}

fn escape(text: &str, is_key: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        // Outer spaces would be trimmed by restic's command line; inner ones are harmless, but not worth a rule.
        if c == ',' || c == '%' || c == ' ' || c.is_control() || (is_key && c == '=') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Undoes [`escape`]; what is no escape of ours stays as it is.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_from_tags_whatever_they_hold() {
        let labels_in: BTreeMap<String, String> =
            [("sm_policy", "wiki"), ("a,b=c%", "x,y=z%2C ü\n"), ("empty", ""), ("100%", "50%")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        let tags: Vec<String> = labels_in.iter().map(|(key, value)| tag(key, value)).collect();
        assert!(tags.iter().all(|tag| !tag.contains([',', ' ', '\n'])), "{tags:?}");
        assert_eq!(tags[3], "sm_policy=wiki");
        assert_eq!(labels(tags.iter()), labels_in);
    }

    #[test]
    fn foreign_tags_are_labels_too() {
        let tags = ["weekly".to_owned(), "50%".to_owned(), "%FF".to_owned()];
        let keys: Vec<String> = labels(tags.iter()).into_keys().collect();
        assert_eq!(keys, ["%FF", "50%", "weekly"]);
    }
}
