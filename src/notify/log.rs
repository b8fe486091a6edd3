//! The channel that needs nothing: the daemon's own log.

use super::{Channel, Conversation, Delivery, Message};
use crate::lifecycle::channel::LogLevel;

/// Writes notices into the daemon's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How loud.
    pub level: LogLevel,
}

impl Channel for Log {
    fn deliver<'a>(&'a self, message: &'a Message, conversation: &'a mut Conversation) -> Delivery<'a> {
        let Message { key, policy, event, subject, .. } = message;
        let (policy, event, body) = (policy.as_deref(), event.word(), message.text());
        let run = message.run_id.as_deref();
        match self.level {
            LogLevel::Info => tracing::info!(target: "notice", notice = %key, policy, run, event, body, "{subject}"),
            LogLevel::Warn => tracing::warn!(target: "notice", notice = %key, policy, run, event, body, "{subject}"),
            LogLevel::Error => tracing::error!(target: "notice", notice = %key, policy, run, event, body, "{subject}"),
        }
        conversation.note("written into the daemon's log");
        Box::pin(std::future::ready(Ok("logged".into())))
    }
}
