//! Where notices go: one file a kind of channel.
//!
//! A channel is told each notice at least once, under a key that stays the same, so that it can tell
//! a repeat. It never sees the policy, the journal or the engine.

pub mod log;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// What a channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same for every try.
    pub key: Box<str>,
    /// Which policy it is about.
    pub policy: Box<str>,
    /// `creation`, `deletion`, `failure`, `time_limit_exceeded`.
    pub event: Box<str>,
    /// In a line.
    pub subject: String,
    /// In full.
    pub body: String,
}

/// Somebody who can be told.
pub trait Channel: Send + Sync + fmt::Debug {
    /// Tells it. An error says why it did not take the message, for people.
    fn deliver<'a>(&'a self, message: &'a Message) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}
