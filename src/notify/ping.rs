//! Tells a server that raises an alarm when it hears nothing: that a run began, that it ended well, that it did not.
//!
//! The protocol is that of healthchecks: `/start`, nothing, `/fail` and `/log` behind the address, and `rid` to tell
//! which start belongs to which end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;
use hyper::body::Bytes;
use sha2::{Digest, Sha256};

use super::client::{self, Limit, Question};
use super::secret;
use super::{Channel, Conversation, Delivery, Message, Trouble};
use crate::lifecycle::channel::ping::Ping;
use crate::lifecycle::hex::hex;
use crate::lifecycle::notice::Event;
use crate::lifecycle::time::Timestamp;

/// What such servers keep of a body at the least.
const BODY_BYTES_MAX: usize = 10_000;
/// What a server says, with a status of success, that knows no such check.
const NOT_FOUND: &str = "(not found)";
/// What one says that did not count it.
const RATE_LIMITED: &str = "(rate limited)";

/// Tells it.
#[derive(Debug)]
pub struct Sender {
    settings: Ping,
    is_beating: Arc<AtomicBool>,
}

impl Sender {
    /// Returns whoever tells it.
    pub fn new(settings: &Ping) -> Sender {
        Sender { settings: settings.clone(), is_beating: Arc::default() }
    }

    async fn ping(&self, ping: Call<'_>, conversation: &mut Conversation) -> Result<String, Trouble> {
        let server = &self.settings.server;
        let mut limit = Limit::of(server);
        let (written, beating) = (server.url.clone(), ping.beating);
        let read = move || {
            // Kept until it is read: where that hangs, no other begins.
            let _beating = beating;
            secret::text_of(&written)
        };
        let (text, secret) = client::reading(&mut limit, read).await?;
        if let Some(secret) = &secret {
            conversation.hide(secret);
        }
        let url = client::address(server, &Ping::address_of(&text, ping.policy), conversation)?;
        let asked = ping.run_id.map(|run_id| format!("rid={}", rid(run_id)));
        let url = url.below(ping.end, asked.as_deref());
        let body = cut(ping.body, BODY_BYTES_MAX);
        let headers = vec![client::header("content-type", "text/plain; charset=utf-8")?];
        let question = Question { method: Method::POST, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        let shown = format!("(ping {})\n\n{body}", if ping.end.is_empty() { "success" } else { &ping.end[1..] });
        let answer = client::ask(server, &url, question, &shown, ping.sent_at, &mut limit, conversation).await?;
        if answer.body.contains(NOT_FOUND) {
            return Err(Trouble::changed(format!("{} knows no such check", url.host)));
        }
        if answer.body.contains(RATE_LIMITED) {
            return Err(Trouble::later(format!("{} was told too often and did not count it", url.host)));
        }
        Ok(format!("{} answers {}", url.host, answer.status))
    }
}

impl Channel for Sender {
    fn deliver<'a>(&'a self, message: &'a Message, conversation: &'a mut Conversation) -> Delivery<'a> {
        Box::pin(async move {
            let call = Call {
                end: end(message.event),
                policy: message.policy.as_deref(),
                run_id: message.run_id.as_deref(),
                body: &message.text(),
                sent_at: message.sent_at,
                beating: None,
            };
            self.ping(call, conversation).await
        })
    }

    fn beat<'a>(&'a self, sent_at: Timestamp, conversation: &'a mut Conversation) -> Option<Delivery<'a>> {
        let beating = Beating::begin(&self.is_beating)?;
        let body = "snapkeep is alive\n";
        let call = Call { end: "", policy: None, run_id: None, body, sent_at, beating: Some(beating.clone()) };
        Some(Box::pin(async move {
            let _beating = beating;
            self.ping(call, conversation).await
        }))
    }
}

/// One ping.
struct Call<'a> {
    end: &'static str,
    policy: Option<&'a str>,
    run_id: Option<&'a str>,
    body: &'a str,
    sent_at: Timestamp,
    beating: Option<Arc<Beating>>,
}

/// A heartbeat that is under way. As long as it is, none begins.
struct Beating(Arc<AtomicBool>);

impl Beating {
    fn begin(is_beating: &Arc<AtomicBool>) -> Option<Arc<Beating>> {
        let was_beating = is_beating.swap(true, Ordering::AcqRel);
        (!was_beating).then(|| Arc::new(Beating(is_beating.clone())))
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Returns what stands behind the address for an event.
fn end(event: Event) -> &'static str {
    match event {
        Event::Start => "/start",
        Event::Creation | Event::Deletion | Event::Recovered => "",
        Event::Failure
        | Event::TimeLimitExceeded
        | Event::Stale
        | Event::Held
        | Event::Skipped
        | Event::Missed
        | Event::Problem
        | Event::Clock
        | Event::Undeliverable => "/fail",
        Event::Test => "/log",
    }
}

/// Returns a run's id as a UUID (RFC 9562, version 8): the same for its start and its end.
fn rid(run_id: &str) -> String {
    let digest = Sha256::digest(run_id.as_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Returns the beginning of a text, at most so many bytes, and no half character.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_uuid() {
        let rid = |run_id| super::rid(run_id);
        assert_eq!(rid("0f3a"), rid("0f3a"));
        assert_ne!(rid("0f3a"), rid("0f3b"));
        for run_id in ["", "0f3a", "x"] {
            let text = rid(run_id);
            let parts: Vec<usize> = text.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{text}");
            assert!(text.as_bytes()[14] == b'8' && b"89ab".contains(&text.as_bytes()[19]), "{text}");
        }
    }

    #[test]
    fn a_body_is_cut_between_characters() {
        assert_eq!(cut("a\u{fc}b", 2), "a");
        assert_eq!(cut("a\u{fc}b", 3), "a\u{fc}");
        assert_eq!(cut("ab", 9), "ab");
    }
}
