//! A person tries a channel: written down before anything is sent, and again with what came of it. The sending is
//! done elsewhere, so that a channel that hangs holds up nobody.

use crate::journal::change::{Audit, Change};
use crate::lifecycle::time::Moment;

use super::Engine;
use super::event::{Done, Refusal, Trial};

/// What it is called in the audit.
const WHAT: &str = "test channel";
const SENDING: &str = "sending";

impl Engine {
    /// Writes down that a message is about to be sent to a channel; the caller's key, too, so that a repeat sends
    /// none even if what came of the first is never known.
    pub(super) fn begin_trial(&mut self, who: &str, channel: &str, now: Moment) -> Result<Done, Refusal> {
        if self.stopping {
            return Err(Refusal::Unavailable("the daemon is about to end".to_string()));
        }
        let known = self.roster.channels.get(channel).cloned();
        let channel = known.ok_or_else(|| Refusal::UnknownChannel(channel.to_string()))?;
        self.refuse_without_room(now)?;
        let request = self.edits.request.take();
        let audit = Audit::of(now.wall, who, WHAT, &channel.name, "a message is about to be sent");
        self.changes.push(Change::Audit(Audit { after: Some(SENDING.into()), request, ..audit }));
        let installation = self.installation.clone();
        Ok(Done::Trial(Box::new(Trial { channel, installation, who: who.into(), at: now.wall })))
    }

    /// Writes down what came of it: what was answered, or why it did not get there.
    pub(super) fn end_trial(&mut self, who: &str, channel: &str, result: Result<String, String>, now: Moment) -> Done {
        let (after, answer, detail) = match result {
            Ok(answer) => ("delivered", "done", format!("delivered: {answer}")),
            Err(why) => ("not delivered", "failed", format!("not delivered: {why}")),
        };
        let audit = Audit::of(now.wall, who, WHAT, channel, detail);
        let (before, after) = (Some(SENDING.into()), Some(after.into()));
        self.audit(Audit { before, after, answer: Some(answer.into()), ..audit });
        Done::Acknowledged
    }
}
