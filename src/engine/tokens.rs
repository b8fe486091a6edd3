//! Tokens of callers who come over the network: given, taken back, and when they were last used.
//!
//! The engine never sees a token, only the hash of one. Callers are let in by what the view shows.

use std::sync::Arc;

use super::Engine;
use super::event::{Done, Refusal, TokenOrder};
use crate::journal::change::{Audit, Change};
use crate::journal::record::TokenRecord;
use crate::lifecycle::time::{Moment, Timestamp};

/// More than any installation has callers. Each is looked at in memory.
const TOKENS_MAX: usize = 1_000;
/// Fits a column, and a sentence of the audit.
const NAME_CHARS_MAX: usize = 64;
/// A token in use is written down so often at most: a commit each time would be a request's whole cost.
pub const USE_NOTED_MS: i64 = 60_000;

/// Whether a token may have this name.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_plain)
}

impl Engine {
    /// Lets whoever has the token in. From this turn's commit on.
    pub(super) fn add_token(&mut self, who: &str, order: TokenOrder, now: Moment) -> Result<Done, Refusal> {
        self.refuse_without_room(now)?;
        let TokenOrder { id, name, role, hash, expires_at } = order;
        // The journal takes no others; nobody who asks may bring it to refuse a turn.
        if !is_name(&name) || id.is_empty() {
            return Err(Refusal::NotAllowed(format!("a token cannot be called `{name}`")));
        }
        if expires_at.is_some_and(|at| at <= now.wall) {
            return Err(Refusal::NotAllowed("it would have expired already".to_string()));
        }
        if self.tokens.values().any(|token| token.name == name) {
            return Err(Refusal::NotAllowed(format!("there is a token `{name}` already; remove it first")));
        }
        if self.tokens.contains_key(&id) {
            return Err(Refusal::NotAllowed("there is a token with this id already; make another".to_string()));
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Refusal::NotAllowed(format!("there are {TOKENS_MAX} tokens already")));
        }
        let record = TokenRecord {
            id,
            name,
            role,
            hash,
            created_at: now.wall,
            created_by: who.into(),
            expires_at,
            last_used_at: None,
        };
        let audit = Audit::of(now.wall, who, "add token", &record.name, "token made");
        self.audit(Audit { after: Some(in_words(&record)), ..audit });
        self.changes.push(Change::AddToken(record.clone()));
        self.tokens.insert(record.id.clone(), record.clone());
        Ok(Done::Token(Box::new(record)))
    }

    /// Lets nobody in by a token any more.
    pub(super) fn remove_token(&mut self, who: &str, name: &str, now: Moment) -> Result<Done, Refusal> {
        let found = self.tokens.values().find(|token| *token.name == *name).cloned();
        let token = found.ok_or_else(|| Refusal::UnknownToken(name.to_string()))?;
        let before = Some(in_words(&token));
        let id = token.id;
        self.tokens.remove(&id);
        self.audit(Audit { before, ..Audit::of(now.wall, who, "remove token", name, "token removed") });
        self.changes.push(Change::RemoveToken { id, at: now.wall });
        Ok(Done::Acknowledged)
    }

    /// Notes that a token was used, unless that was noted shortly before or it is gone by now.
    pub(super) fn use_token(&mut self, id: &str, now: Moment) -> Done {
        let is_fresh = |at: Timestamp| (0..USE_NOTED_MS).contains(&now.wall.since(at));
        if let Some(token) = self.tokens.get_mut(id).filter(|token| !token.last_used_at.is_some_and(is_fresh)) {
            token.last_used_at = Some(now.wall);
            self.changes.push(Change::UseToken { id: id.into(), at: now.wall });
        }
        Done::Acknowledged
    }

    pub(super) fn show_tokens(&self) {
        self.view.set_tokens(Arc::new(self.tokens.clone()));
    }
}

fn in_words(token: &TokenRecord) -> Box<str> {
    match token.expires_at {
        Some(at) => format!("{} until {at}", token.role).into(),
        None => format!("{} without end", token.role).into(),
    }
}
