//! Equal parts of policies, each kept once: ten thousand policies are made from a few templates, and
//! say the same thing in most places.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use crate::lifecycle::date_format::DateFormat;
use crate::lifecycle::policy::{CatchUp, Condition, CreationRule, DeletionRule, Notification, Pace, Policy};
use crate::lifecycle::time::Span;

/// What policies in force share, also from one load to the next. What nobody uses any more is let go.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: Known<str>,
    creations: Known<CreationRule>,
    deletions: Known<DeletionRule>,
    date_formats: Known<DateFormat>,
    metadata: Known<[(Box<str>, Box<str>)]>,
    notifications: Known<Notification>,
}

impl Shared {
    /// Lets a policy share what an earlier one has. Two parts are the same when everything in them
    /// is, spans as they were written included.
    pub fn share(&mut self, policy: &mut Policy) {
        for text in policy.description.iter_mut().chain([&mut policy.repository]) {
            self.texts.share(text.to_string(), text);
        }
        if let Some(rule) = &mut policy.creation {
            self.creations.share(format!("{} {}", pace_text(&rule.pace), rule.partial), rule);
        }
        if let Some(rule) = &mut policy.deletion {
            let DeletionRule { pace, condition, guards } = &**rule;
            self.deletions.share(format!("{} {} {guards:?}", pace_text(pace), condition_text(condition)), rule);
        }
        let format = &mut policy.date_format;
        self.date_formats.share(format!("{} {}", format.zone().name(), format.pattern()), format);
        self.metadata.share(format!("{:?}", policy.metadata), &mut policy.metadata);
        self.notifications.share(format!("{:?}", policy.notification), &mut policy.notification);
    }

    /// Forgets everything: zone data changed, and what looks the same is not.
    pub fn forget(&mut self) {
        *self = Shared::default();
    }
}

/// Everything of a pace, in words that differ where it does.
fn pace_text(pace: &Pace) -> String {
    let Pace { schedule, time_limit, catch_up, on_overlap, retry_count } = pace;
    let catch_up = match catch_up {
        CatchUp::Once { within } => within.as_ref().map_or("once", |within| within.written()),
        CatchUp::Never => "never",
    };
    format!("{schedule}, {time_limit}, {catch_up}, {on_overlap:?}, {retry_count}")
}

/// Everything of a condition, in words that differ where it does.
fn condition_text(condition: &Condition) -> String {
    let max_age = condition.max_age().map(Span::written);
    let min_age = condition.min_age().map(Span::written);
    let keep = condition.keep().map_or_else(String::new, ToString::to_string);
    format!("{max_age:?} {:?} {} {min_age:?} {keep}", condition.max_count(), condition.min_count())
}

/// Parts of one kind by a text that says all of them.
#[derive(Debug)]
struct Known<T: ?Sized> {
    parts: BTreeMap<Box<str>, Weak<T>>,
    /// At so many entries those nobody uses are dropped.
    sweep_at: usize,
}

impl<T: ?Sized> Default for Known<T> {
    fn default() -> Known<T> {
        Known { parts: BTreeMap::new(), sweep_at: 64 }
    }
}

impl<T: ?Sized> Known<T> {
    fn share(&mut self, text: String, part: &mut Arc<T>) {
        if let Some(known) = self.parts.get(&*text).and_then(Weak::upgrade) {
            *part = known;
            return;
        }
        if self.parts.len() >= self.sweep_at {
            self.parts.retain(|_, part| part.strong_count() > 0);
            self.sweep_at = self.parts.len().saturating_mul(2).max(64);
        }
        self.parts.insert(text.into(), Arc::downgrade(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_become_one_and_what_nobody_uses_is_let_go() {
        let mut known = Known::<str>::default();
        let (one, mut other): (Arc<str>, Arc<str>) = ("nightly".into(), "nightly".into());
        known.share("nightly".into(), &mut one.clone());
        known.share("nightly".into(), &mut other);
        assert!(Arc::ptr_eq(&one, &other));
        for number in 0..1_000 {
            known.share(number.to_string(), &mut Arc::from("gone at once"));
        }
        assert!(known.parts.len() <= 65, "{} entries", known.parts.len());
        assert!(known.parts.contains_key("nightly"));
    }
}
