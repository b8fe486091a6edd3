//! People, by mail: each notice is one mail, handed to one server.
//!
//! What goes wrong says which step it was, and who has to move: a server that is busy, away or slow is asked
//! again; one that is not trusted, offers no TLS or refuses for good waits for a person. Nothing ever goes out in
//! another way than the channel's file says, and never without TLS to another machine.
//!
//! A mail that some are refused goes to the others, and is tried again for those alone.

mod compose;
mod dialogue;
mod means;
mod wire;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::Address;

use super::{Again, Channel, Conversation, Delivery, Message, Trouble};
use crate::lifecycle::channel::mail::Mail;
use dialogue::{Dialogue, Post, Taken};

/// More notices than wait for one channel whose server refuses some people.
const PARTLY_MAX: usize = 500;

/// Hands mail to a server.
#[derive(Debug)]
pub struct Sender {
    settings: Mail,
    /// What some have, and others do not. Forgotten with the process: then those who have it get it once more,
    /// under the same identity.
    partly: Mutex<VecDeque<Partly>>,
}

/// A notice that some have.
#[derive(Debug)]
struct Partly {
    key: Box<str>,
    /// What it stood for: when more of the same has happened it is news to everybody.
    count: u32,
    taken_for: Vec<Address>,
}

impl Sender {
    /// Returns whoever hands mail over as a channel's file says.
    pub fn new(settings: &Mail) -> Sender {
        Sender { settings: settings.clone(), partly: Mutex::default() }
    }

    async fn send(&self, message: &Message, conversation: &mut Conversation) -> Result<String, Trouble> {
        let settings = &self.settings;
        let mail = compose::compose(settings, message)?;
        let everybody = settings.to.iter().map(compose::address).collect::<Result<Vec<Address>, Trouble>>()?;
        let done = self.taken_for(message);
        let to: Vec<Address> = everybody.into_iter().filter(|to| !done.contains(to)).collect();
        let post = Post { from: compose::address(&settings.from)?, to, mail: &mail };
        for to in &done {
            conversation.note(format_args!("{to} has it already"));
        }

        let limit = Duration::from_millis(u64::try_from(settings.time_limit.millis()).unwrap_or_default());
        let mut dialogue = Dialogue::new(settings, conversation);
        let told = tokio::time::timeout(limit, dialogue.hold(&post)).await;
        let told = told.unwrap_or_else(|_| Err(dialogue.out_of_time()));
        dialogue.end().await;
        // Those that are left were refused before: that says nothing of the others, nor of the server.
        let of_these =
            |trouble: Trouble| Trouble { partly: !done.is_empty() && trouble.again == Again::Changed, ..trouble };
        let Taken { answer, refused } = told.map_err(of_these)?;
        if refused.is_empty() {
            self.partly().retain(|partly| partly.key != message.key);
            return Ok(answer);
        }
        let is_refused = |to: &Address| refused.iter().any(|(other, _)| other == to);
        let taken_for = post.to.iter().filter(|to| !is_refused(to)).cloned().chain(done).collect();
        self.remember(Partly { key: message.key.clone(), count: message.count, taken_for });
        let Trouble { why, again, .. } = dialogue::all_of(refused);
        Err(Trouble { why: format!("{why}; the others have it: {answer}"), again, partly: true })
    }

    fn taken_for(&self, message: &Message) -> Vec<Address> {
        let partly = self.partly();
        let found = partly.iter().find(|partly| partly.key == message.key && partly.count == message.count);
        found.map(|partly| partly.taken_for.clone()).unwrap_or_default()
    }

    fn remember(&self, news: Partly) {
        let mut partly = self.partly();
        partly.retain(|other| other.key != news.key);
        if partly.len() >= PARTLY_MAX {
            partly.pop_front();
        }
        partly.push_back(news);
    }

    fn partly(&self) -> MutexGuard<'_, VecDeque<Partly>> {
        self.partly.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel for Sender {
    fn deliver<'a>(&'a self, message: &'a Message, conversation: &'a mut Conversation) -> Delivery<'a> {
        Box::pin(async move {
            let told = self.send(message, conversation).await;
            // Servers repeat what they were told.
            match told {
                Ok(answer) => Ok(conversation.blanked(&answer)),
                Err(Trouble { why, again, partly }) => Err(Trouble { why: conversation.blanked(&why), again, partly }),
            }
        })
    }
}
