//! Where notices go: one file a kind of channel.
//!
//! A channel is told each notice at least once, under a key that stays the same, so that it can tell
//! a repeat. It never sees the policy, the journal or the engine. What it says and hears may be written
//! into a [`Conversation`], for whoever tries it; no secret stands in one.

pub mod client;
pub mod command;
pub mod json;
pub mod log;
pub mod mail;
pub mod ping;
pub mod secret;
pub mod webhook;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::channel::Kind;
use crate::lifecycle::notice::{Event, Facts};
use crate::lifecycle::time::Timestamp;
use secret::Secret;

/// What a channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same for every try: (run, event, channel).
    pub key: Box<str>,
    /// Which daemon says so.
    pub installation: Box<str>,
    /// The name of the machine it runs on.
    pub host: Box<str>,
    /// Which policy it is about; `None` where it is about the daemon.
    pub policy: Option<Box<str>>,
    /// Which run it is about.
    pub run_id: Option<Box<str>>,
    /// What it tells of.
    pub event: Event,
    /// In a line.
    pub subject: String,
    /// In full.
    pub facts: Facts,
    /// When it happened; of several, when the first did.
    pub at: Timestamp,
    /// How many of the same it stands for, 1 or more; what it says is of the latest.
    pub count: u32,
    /// When the latest of them happened.
    pub latest_at: Timestamp,
    /// Which try this is; the first is 1.
    pub attempt: u32,
    /// When this try was begun.
    pub sent_at: Timestamp,
}

impl Message {
    /// Returns all of it in lines, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(policy) = &self.policy {
            text.push_str(&format!("policy: {policy}\n"));
        }
        for (name, said) in self.facts.lines() {
            text.push_str(&format!("{name}: {said}\n"));
        }
        if self.count > 1 {
            text.push_str(&format!("times: {} from {} to {}\n", self.count, self.at, self.latest_at));
        } else {
            text.push_str(&format!("at: {}\n", self.at));
        }
        text.push_str(&format!("host: {}\n", self.host));
        text
    }
}

/// Why a channel did not take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In words, for people. No secret stands in it.
    pub why: String,
    /// When it is worth trying again.
    pub again: Again,
    /// Whether the channel is there and took it for some, so that others need not wait for this one.
    pub partly: bool,
}

/// When it is worth trying a channel again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// By itself, a little later each time.
    Later,
    /// Not before this has passed, as the other side asked.
    After(Duration),
    /// When a person has changed something: rarely, and as soon as the channel's file changes.
    Changed,
}

impl Trouble {
    /// Something that may be over soon.
    pub fn later(why: impl Into<String>) -> Trouble {
        Trouble { why: why.into(), again: Again::Later, partly: false }
    }

    /// Something that a person has to change.
    pub fn changed(why: impl Into<String>) -> Trouble {
        Trouble { why: why.into(), again: Again::Changed, partly: false }
    }
}

/// What was said and heard while a channel was told, for whoever tries it.
#[derive(Debug, Default)]
pub struct Conversation {
    lines: Vec<String>,
    secrets: Vec<Secret>,
}

impl Conversation {
    /// No channel of ours says more than a tenth of this; what a server says beyond it is left out.
    const LINES_MAX: usize = 200;
    /// Enough for any line worth reading.
    const LINE_CHARS_MAX: usize = 500;

    /// Lets a secret appear in nothing that is said about the delivery. To be called before it is used.
    pub fn hide(&mut self, secret: &Secret) {
        self.secrets.push(secret.clone());
    }

    /// Notes what was done.
    pub fn note(&mut self, text: impl fmt::Display) {
        self.push("", &text.to_string());
    }

    /// Notes what was sent, line by line.
    pub fn sent(&mut self, text: impl fmt::Display) {
        self.push("> ", &text.to_string());
    }

    /// Notes what was answered, line by line.
    pub fn heard(&mut self, text: impl fmt::Display) {
        self.push("< ", &text.to_string());
    }

    fn push(&mut self, mark: &str, text: &str) {
        // Blanked as a whole: a secret may have lines.
        for line in self.blanked(text).lines() {
            if self.lines.len() >= Conversation::LINES_MAX {
                return;
            }
            let shown: String = line.chars().filter(|c| !c.is_control()).take(Conversation::LINE_CHARS_MAX).collect();
            self.lines.push(format!("{mark}{shown}"));
        }
    }

    /// Returns the text with every secret in it blanked, in each form in which it may be sent.
    pub fn blanked(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_string(), |text, secret| secret.blank(&text))
    }

    /// Returns what was said and heard.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// What a delivery comes to: what the other side answered, or why it did not take the message.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<String, Trouble>> + Send + 'a>>;

/// Somebody who can be told.
pub trait Channel: Send + Sync + fmt::Debug {
    /// Tells it, within a time of its own; whoever calls ends it after two minutes.
    fn deliver<'a>(&'a self, message: &'a Message, conversation: &'a mut Conversation) -> Delivery<'a>;

    /// Says that the daemon is alive, where somebody waits to hear it; `None` where nobody does.
    fn beat<'a>(&'a self, _sent_at: Timestamp, _conversation: &'a mut Conversation) -> Option<Delivery<'a>> {
        None
    }
}

/// Returns whoever takes the messages of a channel: the only list of kinds.
pub fn open(kind: &Kind) -> Arc<dyn Channel> {
    match kind {
        Kind::Log(level) => Arc::new(log::Log { level: *level }),
        Kind::Mail(mail) => Arc::new(mail::Sender::new(mail)),
        Kind::Webhook(webhook) => Arc::new(webhook::Sender::new(webhook)),
        Kind::Ping(ping) => Arc::new(ping::Sender::new(ping)),
        Kind::Command(command) => Arc::new(command::Sender::new(command)),
    }
}

/// Returns the name of this machine, as messages carry it.
pub fn host() -> Box<str> {
    rustix::system::uname().nodename().to_string_lossy().into()
}
