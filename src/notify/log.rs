//! The channel that needs nothing: the daemon's own log.

use std::future::Future;
use std::pin::Pin;

use super::{Channel, Message};

/// How loud a notice is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something settled.
    Info,
    /// Somebody may have to act.
    Warn,
    /// Somebody should act.
    Error,
}

/// Writes notices into the daemon's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How loud.
    pub level: Level,
}

impl Channel for Log {
    fn deliver<'a>(&'a self, message: &'a Message) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        let Message { key, policy, event, subject, body } = message;
        match self.level {
            Level::Info => tracing::info!(target: "notice", %key, %policy, %event, subject, body),
            Level::Warn => tracing::warn!(target: "notice", %key, %policy, %event, subject, body),
            Level::Error => tracing::error!(target: "notice", %key, %policy, %event, subject, body),
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
