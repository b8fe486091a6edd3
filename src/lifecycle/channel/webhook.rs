//! A server that is told by HTTP.

use std::collections::BTreeMap;

use super::SecretSource;
use super::server::Server;

/// A server, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Who is told.
    pub server: Server,
    /// How.
    pub method: Method,
    /// What the body is said to be.
    pub content_type: Box<str>,
    /// What goes into the body; without it, the JSON that the manual describes.
    pub body: Option<Box<str>>,
    /// What stands in the head beside what always does: names in lower case, and templates.
    pub headers: BTreeMap<Box<str>, Box<str>>,
    /// What templates know as `secret.NAME`.
    pub secrets: BTreeMap<Box<str>, SecretSource>,
    /// What the other side knows us by.
    pub signing: Option<Signing>,
}

/// How a server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As every hook expects it.
    Post,
    /// As some stores of messages do.
    Put,
}

impl Method {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }
}

/// What messages are signed with. Both sign, so that a receiver may know either while one follows the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// The one in use.
    pub secret: SecretSource,
    /// The one before it.
    pub previous: Option<SecretSource>,
}

impl Webhook {
    /// What the body is said to be where nothing else is written.
    pub const CONTENT_TYPE: &'static str = "application/json";

    /// Whether the body is JSON.
    pub fn is_json(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    }
}
