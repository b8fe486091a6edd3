//! Policies as callers write them. A policy is a file, whoever wrote it: what a caller wants is journaled
//! here before the file is touched, and settled once the file has been read.
//!
//! ```text
//!   propose ──commit──▶ file written ──▶ Loaded ──▶ conclude ──commit──▶ answer
//! ```
//!
//! A daemon that ends in between finds at its start what is open, and the files tell what came of it.

use crate::journal::JournalError;
use crate::journal::change::{Audit, Change, OpenEdit, RequestKey};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::policy::Switch;
use crate::lifecycle::time::{Moment, Timestamp};

use super::event::{Concluded, Done, Expect, Proposal, Proposed, Refusal};
use super::tracked::Tracked;
use super::{Engine, event};

/// What the engine knows of writes to policies.
#[derive(Debug)]
pub(super) struct Edits {
    next_seq_no: u64,
    primary_term: u64,
    /// The key under which the command was sent that is being carried out, until a record has it.
    pub request: Option<RequestKey>,
    /// Numbers the keys of callers who gave none.
    unnamed: u64,
}

impl Edits {
    pub fn new(next_seq_no: u64, primary_term: u64) -> Edits {
        Edits { next_seq_no, primary_term, request: None, unnamed: 0 }
    }

    pub fn next_seq_no(&mut self) -> u64 {
        let seq_no = self.next_seq_no;
        self.next_seq_no += 1;
        seq_no
    }

    fn request(&mut self, now: Timestamp) -> RequestKey {
        self.request.take().unwrap_or_else(|| {
            self.unnamed += 1;
            // A blank is in no key that a caller can send.
            let key = format!("edit {} {}", now.millis(), self.unnamed).into();
            RequestKey { key, fingerprint: "".into() }
        })
    }
}

/// What stands in the record of an edit as what is there after it: the text's digest, and what the caller
/// said of whether the policy is enabled.
fn after(proposal: &Proposal) -> Option<Box<str>> {
    let draft = proposal.draft.as_ref()?;
    let enabled = match draft.enabled {
        Some(true) => " enabled",
        Some(false) => " disabled",
        None => "",
    };
    Some(format!("{}{enabled}", event::digest(&draft.text)).into())
}

impl Engine {
    /// Begins a change to a policy's file: checks it against what is there, and writes down that it is
    /// wanted.
    pub(super) fn propose(&mut self, who: &str, proposal: &Proposal, now: Moment) -> Result<Done, Refusal> {
        if self.stopping {
            return Err(Refusal::Unavailable("the daemon is about to end".to_string()));
        }
        let policy = &*proposal.policy;
        let index = self.names.get(policy).copied();
        let known = index.and_then(|index| self.policies.get(&index)).cloned();
        self.expected(policy, known.as_deref(), &proposal.expect)?;
        if let Some(entry) = known.as_ref().and_then(|known| known.entry.as_ref())
            && *entry.folder != *proposal.folder
        {
            return Err(Refusal::Elsewhere { policy: policy.to_string(), file: entry.origin() });
        }
        let uid = known.as_ref().map(|known| known.uid.clone());
        if let (Some(draft), Some(known)) = (&proposal.draft, &known)
            && proposal.is_same
            && draft.enabled.is_none_or(|enabled| enabled == known.is_enabled())
        {
            return Ok(Done::Proposed(Proposed { uid, request: None }));
        }
        if proposal.draft.is_some() {
            self.refuse_without_room(now)?;
        }
        let request = self.edits.request(now.wall);
        let (what, detail) = match &proposal.draft {
            Some(_) if known.is_some() => ("put", "policy rewritten by a caller"),
            Some(_) => ("put", "policy made by a caller"),
            None => ("remove", "policy removed by a caller"),
        };
        let before = known.as_ref().and_then(|known| known.entry.as_ref()).map(|entry| entry.digest().into());
        let audit = Audit::of(now.wall, who, what, policy, detail);
        self.changes.push(Change::Audit(Audit {
            before,
            after: after(proposal),
            request: Some(request.clone()),
            ..audit
        }));
        Ok(Done::Proposed(Proposed { uid, request: Some(request.key) }))
    }

    fn expected(&self, policy: &str, known: Option<&Tracked>, expect: &Expect) -> Result<(), Refusal> {
        match (expect, known) {
            (Expect::Nothing, None) | (Expect::Something, Some(_)) => Ok(()),
            (Expect::Nothing, Some(_)) => Err(Refusal::Exists(policy.to_string())),
            (Expect::Something, None) => Err(Refusal::Unknown(policy.to_string())),
            (Expect::Version { .. }, None) => {
                Err(Refusal::Conflict(format!("there is no policy `{policy}` to be replaced")))
            }
            (Expect::Version { seq_no, primary_term }, Some(known)) => {
                if (*seq_no, *primary_term) == (known.seq_no, self.edits.primary_term) {
                    return Ok(());
                }
                Err(Refusal::Conflict(format!(
                    "policy `{policy}` was written by somebody else: required seqNo [{seq_no}], primary term \
                     [{primary_term}], current is seqNo [{}], primary term [{}]",
                    known.seq_no, self.edits.primary_term
                )))
            }
        }
    }

    /// Ends a change to a policy's file: writes down what came of it. The roster in force has been read
    /// after the file was written.
    pub(super) fn conclude(&mut self, who: &str, concluded: &Concluded, now: Moment) -> Result<Done, Refusal> {
        let Concluded { policy, request, enabled, result } = concluded;
        let answer = match result {
            Ok(()) => "done".to_string(),
            Err(why) => format!("not done: {why}"),
        };
        self.changes.push(Change::Answer { who: who.into(), request: request.clone(), answer });
        if let (Ok(()), Some(enabled)) = (result, enabled) {
            self.enable(policy, *enabled, now);
        }
        Ok(Done::Acknowledged)
    }

    /// Settles what a daemon before this one began and did not end. The files tell.
    pub(super) fn settle_open_edits(&mut self, open: Vec<OpenEdit>, now: Moment) {
        for edit in open {
            let entry = self.roster.policies.get(&*edit.policy);
            let (digest, word) = match edit.after.as_deref().map(|after| after.split_once(' ')) {
                None => (None, None),
                Some(None) => (edit.after.as_deref(), None),
                Some(Some((digest, word))) => (Some(digest), Some(word)),
            };
            let is_done = entry.map(|entry| entry.digest()).as_deref() == digest;
            let answer = if is_done { "done" } else { "not done: the daemon ended before it" };
            tracing::info!(policy = %edit.policy, answer, "a change to a policy was under way when the daemon ended");
            if let (true, Some(word)) = (is_done, word) {
                self.enable(&edit.policy, word == "enabled", now);
            }
            self.changes.push(Change::Answer { who: edit.who, request: edit.request, answer: answer.to_string() });
        }
    }

    fn enable(&mut self, policy: &str, enabled: bool, now: Moment) {
        if let Some(index) = self.names.get(policy).copied() {
            self.with(index, |engine, tracked| engine.set_enabled(index, tracked, enabled, now));
            self.pump_policy(index, now);
        }
    }

    /// Lets a policy be enabled or not, whatever its file says, and tells whether it was otherwise.
    pub(super) fn set_enabled(&mut self, index: u32, tracked: &mut Tracked, enabled: bool, now: Moment) -> bool {
        let was_enabled = tracked.is_enabled();
        let Some(written) = tracked.entry.as_ref().map(|entry| entry.policy.enabled) else { return false };
        if was_enabled == enabled {
            return false;
        }
        self.switch(tracked, Switch::to(enabled, written));
        self.version(tracked, was_enabled, now.wall);
        if enabled {
            // What passed meanwhile was not missed: it was stopped (S29).
            self.set_mark::<Creation>(index, tracked, now.wall);
            self.set_mark::<Deletion>(index, tracked, now.wall);
        }
        true
    }

    pub(super) fn switch(&mut self, tracked: &mut Tracked, switch: Switch) {
        if tracked.switch != switch {
            tracked.switch = switch;
            self.changes.push(Change::Switch { policy_uid: tracked.uid.clone(), switch });
        }
    }

    /// Counts a write to a policy.
    pub(super) fn version(&mut self, tracked: &mut Tracked, was_enabled: bool, at: Timestamp) {
        tracked.seq_no = self.edits.next_seq_no();
        let enabled = !was_enabled && tracked.is_enabled();
        let policy_uid = tracked.uid.clone();
        self.changes.push(Change::Version { policy_uid, seq_no: tracked.seq_no, at, enabled });
    }

    /// Returns what is known of a caller's key, in this turn or before.
    pub(super) fn recall(&mut self, who: &str, key: &RequestKey) -> Result<Done, JournalError> {
        let begun = self.changes.iter().any(|change| match change {
            Change::Audit(audit) => {
                *audit.who == *who && audit.request.as_ref().is_some_and(|request| request.key == key.key)
            }
            _ => false,
        });
        if begun {
            return Ok(Done::Busy);
        }
        Ok(Done::Recalled(self.journal.recall(who, &key.key)?.map(Box::new)))
    }
}
