//! Tells a server by HTTP, and signs what it is told.
//!
//! The signatures are those of Standard Webhooks (an HMAC over id, time and body) and, for receivers that look at the
//! body alone, the one of `X-Hub-Signature-256`. Where two secrets are in force both sign.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::client::{self, Limit, Question};
use super::json;
use super::secret::{self, Secret, SecretError};
use super::{Channel, Conversation, Delivery, Message, Trouble};
use crate::lifecycle::channel::webhook::{self, Webhook};
use crate::lifecycle::hex::hex;
use crate::template::{self, Form, Words};

/// Marks a secret that is base64, as Standard Webhooks writes them.
const BASE64_MARK: &str = "whsec_";
/// The shortest key that signs.
const KEY_BYTES_MIN: usize = 16;
/// What stands in the conversation for a secret.
const BLANK: &str = "***";
/// Enough to see what is sent.
const SHOWN_LINES_MAX: usize = 60;
/// The longest id that is sent as it is.
const ID_BYTES_MAX: usize = 128;

/// Tells it.
#[derive(Debug)]
pub struct Sender {
    settings: Webhook,
}

impl Sender {
    /// Returns whoever tells it.
    pub fn new(settings: &Webhook) -> Sender {
        Sender { settings: settings.clone() }
    }

    async fn tell(&self, message: &Message, conversation: &mut Conversation) -> Result<String, Trouble> {
        let mut limit = Limit::of(&self.settings.server);
        let settings = self.settings.clone();
        let opened = client::reading(&mut limit, move || Opened::read(&settings)).await?;
        opened.hide(conversation);
        let url = client::address(&self.settings.server, &opened.url, conversation)?;
        let sent = self.letter(message, |name| opened.secrets.get(name).map_or("", Secret::text))?;
        let signatures = opened.sign(message, sent.body.as_bytes())?;
        // Made anew with blanks: whatever a template makes of a secret, none is shown.
        let shown = match self.letter(message, |_| BLANK) {
            Ok(letter) => letter.shown(signatures.len()),
            Err(_) => format!("{} bytes", sent.body.len()),
        };
        let mut headers = sent.headers;
        headers.extend(signatures);
        let method = match self.settings.method {
            webhook::Method::Post => Method::POST,
            webhook::Method::Put => Method::PUT,
        };
        let question = Question { method, headers, body: Bytes::from(sent.body) };
        let server = &self.settings.server;
        let answer = client::ask(server, &url, question, &shown, message.sent_at, &mut limit, conversation).await?;
        Ok(format!("{} answers {}", url.host, answer.status))
    }

    /// Returns what is sent but for the signatures.
    fn letter<'s>(&'s self, message: &Message, secret: impl Fn(&str) -> &'s str) -> Result<Letter, Trouble>
    where
        Self: 's,
    {
        let text = message.text();
        let words = words(message, &text, self.settings.secrets.keys().map(|name| (&**name, secret(name))).collect());
        let fill = |what: &str, source: &str, form| {
            let filled = template::render(source, form, &words);
            filled.map_err(|error| Trouble::changed(format!("{what} {error}")))
        };
        let body = match &self.settings.body {
            Some(body) => fill("body", body, if self.settings.is_json() { Form::Json } else { Form::Text })?,
            None => serde_json::Value::from(json::body(message)).to_string(),
        };
        let mut headers = vec![client::header("content-type", &self.settings.content_type)?];
        for (name, value) in &self.settings.headers {
            headers.push(client::header(name, &fill(&format!("header {name}"), value, Form::Line)?)?);
        }
        Ok(Letter { headers, body })
    }
}

impl Channel for Sender {
    fn deliver<'a>(&'a self, message: &'a Message, conversation: &'a mut Conversation) -> Delivery<'a> {
        Box::pin(self.tell(message, conversation))
    }
}

/// What is sent.
struct Letter {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: String,
}

impl Letter {
    fn shown(&self, signatures: usize) -> String {
        let line = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        };
        let headers: String = self.headers.iter().map(line).collect();
        // A signature with its body could be played again.
        let signed = if signatures > 0 { "webhook-signature: ***\n" } else { "" };
        let body: Vec<&str> = self.body.lines().take(SHOWN_LINES_MAX).collect();
        format!("{headers}{signed}\n{}", body.join("\n"))
    }
}

/// What was read from where secrets are.
struct Opened {
    url: Box<str>,
    secrets: BTreeMap<Box<str>, Secret>,
    signing: Vec<Secret>,
}

impl Opened {
    fn read(settings: &Webhook) -> Result<Opened, SecretError> {
        let (url, _) = secret::text_of(&settings.server.url)?;
        let secrets = settings.secrets.iter().map(|(name, source)| Ok((name.clone(), Secret::read(source)?)));
        let signing =
            settings.signing.iter().flat_map(|signing| Some(&signing.secret).into_iter().chain(&signing.previous));
        Ok(Opened {
            url,
            secrets: secrets.collect::<Result<_, SecretError>>()?,
            signing: signing.map(Secret::read).collect::<Result<_, SecretError>>()?,
        })
    }

    fn hide(&self, conversation: &mut Conversation) {
        self.secrets.values().chain(&self.signing).for_each(|secret| conversation.hide(secret));
        for bare in self.signing.iter().filter_map(|secret| secret.text().strip_prefix(BASE64_MARK)) {
            conversation.hide(&Secret::of(bare));
        }
    }

    fn sign(&self, message: &Message, body: &[u8]) -> Result<Vec<(HeaderName, HeaderValue)>, Trouble> {
        if self.signing.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.signing.iter().map(key).collect::<Result<Vec<_>, Trouble>>()?;
        let (id, timestamp) = (id(&message.key), message.sent_at.seconds().to_string());
        let whole = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
        let of_all: Vec<String> = keys.iter().map(|key| format!("v1,{}", STANDARD.encode(hmac(key, &whole)))).collect();
        let of_body: Vec<String> = keys.iter().map(|key| format!("sha256={}", hex(&hmac(key, body)))).collect();
        Ok(vec![
            client::header("webhook-id", &id)?,
            client::header("webhook-timestamp", &timestamp)?,
            client::header("webhook-signature", &of_all.join(" "))?,
            client::header("x-hub-signature-256", &of_body.join(","))?,
        ])
    }
}

/// Returns the bytes that sign: what a secret of Standard Webhooks encodes, and any other as it is. A short one could
/// be found by trying.
fn key(secret: &Secret) -> Result<Vec<u8>, Trouble> {
    let key = match secret.text().strip_prefix(BASE64_MARK) {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| {
            Trouble::changed(format!("the signing secret begins with {BASE64_MARK} and is no base64 after it"))
        })?,
        None => secret.text().as_bytes().to_vec(),
    };
    if key.len() < KEY_BYTES_MIN {
        return Err(Trouble::changed(format!("the signing secret has less than {KEY_BYTES_MIN} bytes")));
    }
    Ok(key)
}

fn hmac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    // A key of any length will do: the error cannot come up, and no signature would be told as a wrong one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

/// Returns a notice's key as an id that every receiver takes: itself, or its hash where it has other characters.
fn id(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.len() <= ID_BYTES_MAX && key.bytes().all(is_plain) {
        return key.to_owned();
    }
    hex(&Sha256::digest(key.as_bytes()))
}

fn words<'a>(message: &'a Message, text: &'a str, secrets: BTreeMap<&'a str, &'a str>) -> Words<'a> {
    Words {
        key: &message.key,
        installation: &message.installation,
        host: &message.host,
        policy: message.policy.as_deref(),
        run_id: message.run_id.as_deref(),
        event: message.event,
        subject: &message.subject,
        facts: &message.facts,
        at: message.at,
        latest_at: message.latest_at,
        count: message.count,
        attempt: message.attempt,
        text,
        secrets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::notice::{Event, Facts};
    use crate::lifecycle::time::Timestamp;

    fn message(key: &str, sent_at: i64) -> Message {
        Message {
            key: key.into(),
            installation: "i".into(),
            host: "h".into(),
            policy: None,
            run_id: None,
            event: Event::Failure,
            subject: "s".into(),
            facts: Facts::default(),
            at: Timestamp::EPOCH,
            count: 1,
            latest_at: Timestamp::EPOCH,
            attempt: 1,
            sent_at: Timestamp::from_seconds(sent_at),
        }
    }

    fn signed(secrets: &[&str], key: &str, sent_at: i64, body: &str) -> BTreeMap<String, String> {
        let signing = secrets.iter().map(|secret| Secret::of(secret)).collect();
        let opened = Opened { url: "".into(), secrets: BTreeMap::new(), signing };
        let headers = opened.sign(&message(key, sent_at), body.as_bytes()).expect("signed");
        let text =
            |(name, value): (HeaderName, HeaderValue)| (name.to_string(), value.to_str().expect("text").to_owned());
        headers.into_iter().map(text).collect()
    }

    /// The example of Standard Webhooks' own libraries, and the one of GitHub's manual.
    #[test]
    fn signatures_are_those_of_the_known_examples() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let headers = signed(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let headers = signed(&["It's a Secret to Everybody"], "x", 0, "Hello, World!");
        assert_eq!(
            headers["x-hub-signature-256"],
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn two_secrets_sign_both() {
        let (new, old) = ("the one of 16 bytes and more", "the one before the new one");
        let (new, old, both) =
            (signed(&[new], "k", 7, "b"), signed(&[old], "k", 7, "b"), signed(&[new, old], "k", 7, "b"));
        for (name, between) in [("webhook-signature", " "), ("x-hub-signature-256", ",")] {
            assert_ne!(new[name], old[name]);
            assert_eq!(both[name], format!("{}{between}{}", new[name], old[name]));
        }
        assert_eq!(signed(&[], "k", 7, "b"), BTreeMap::new());
    }

    #[test]
    fn a_secret_that_says_it_is_base64_is_base64() {
        let error = key(&Secret::of("whsec_canary!")).expect_err("not base64");
        assert!(!error.why.contains("canary"), "{}", error.why);
        assert_eq!(key(&Secret::of("whsec_AAECAwQFBgcICQoLDA0ODw==")), Ok((0..16).collect()));
        assert_eq!(key(&Secret::of("sixteen letters!")), Ok(b"sixteen letters!".to_vec()));
    }

    #[test]
    fn a_short_secret_does_not_sign() {
        for short in ["whsec_", "whsec_AAECAwQFBgcICQoLDA0O", "", "fifteen letters"] {
            let expected = Trouble::changed("the signing secret has less than 16 bytes");
            assert_eq!(key(&Secret::of(short)), Err(expected), "{short}");
        }
    }

    #[test]
    fn an_id_is_the_key_or_its_hash() {
        assert_eq!(id("0f3a-failure-chat_1"), "0f3a-failure-chat_1");
        for key in ["a.b", "a b", "a\r\nb", "", "\u{fc}", &"x".repeat(129)] {
            let hashed = id(key);
            assert!(hashed.len() == 64 && hashed == id(key), "{key}: {hashed}");
        }
        assert_ne!(id("a.b"), id("a.c"));
    }
}
