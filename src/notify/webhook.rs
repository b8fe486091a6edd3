//! Not there yet.

use super::{Channel, Conversation, Delivery, Message, Trouble};
use crate::lifecycle::channel::webhook::Webhook;

/// Tells it.
#[derive(Debug)]
pub struct Sender {
    _settings: Webhook,
}

impl Sender {
    /// Returns whoever tells it.
    pub fn new(settings: &Webhook) -> Sender {
        Sender { _settings: settings.clone() }
    }
}

impl Channel for Sender {
    fn deliver<'a>(&'a self, _message: &'a Message, _conversation: &'a mut Conversation) -> Delivery<'a> {
        Box::pin(std::future::ready(Err(Trouble::changed("this version cannot deliver so"))))
    }
}
