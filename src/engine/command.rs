//! What people ask of the engine. The answer goes out once what was asked is in the journal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::journal::JournalError;
use crate::journal::change::{Audit, Change, RunRecord};
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::plan::Sight;
use crate::lifecycle::snapshot::Listing;
use crate::lifecycle::time::Moment;
use crate::lifecycle::workflow::{Answer, Cause, Kind, Trigger};

use super::Engine;
use super::event::{Bearings, Command, Done, Proposed, Refusal, Site, Survey, What};
use super::gate::Gate;
use super::tracked::{self, Tracked, Work};

/// A run that was begun under a caller's key.
pub(super) struct BegunRun {
    policy: Arc<str>,
    kind: Kind,
    /// Its identity.
    pub run_id: Box<str>,
    snapshot: Option<Box<str>>,
}

impl BegunRun {
    pub fn done(self) -> Done {
        Done::Run { run_id: self.run_id, snapshot: self.snapshot }
    }
}

/// What was asked under a key before is too long ago to be compared, and is another.
pub(super) fn another_request() -> Refusal {
    Refusal::Conflict(
        "another run was begun under this Idempotency-Key; every request needs one of its own".to_string(),
    )
}

impl Engine {
    pub(super) fn command(&mut self, command: Command, now: Moment) -> Result<(), JournalError> {
        let Command { who, what, request, reply } = command;
        self.edits.request = request.map(|request| *request);
        let answer = match what {
            What::Start { policy } => self.start_or_stop(&who, &policy, true, now),
            What::Stop { policy } => self.start_or_stop(&who, &policy, false, now),
            What::Propose(proposal) => self.propose(&who, &proposal, now),
            What::Conclude(concluded) => self.conclude(&who, &concluded, now),
            What::Recall(key) => Ok(self.recall(&who, &key)?),
            What::Reply { request, reply } => {
                // What little room there is is for the runs under way.
                if self.no_room.is_none() {
                    self.changes.push(Change::Reply { who: who.clone(), request, reply, at: now.wall });
                }
                Ok(Done::Acknowledged)
            }
            What::Refused { subject, answer } => Ok(self.write_refusal(&who, &subject, &answer, now)),
            What::Run { policy, kind } => match self.run_of_request(&who)? {
                Some(begun) if begun.kind == kind && *begun.policy == *policy => Ok(begun.done()),
                Some(_) => Err(another_request()),
                None => self.run_now(&who, &policy, kind, now),
            },
            What::Survey { policy } => self.survey(&policy, now),
            What::Bearings => Ok(self.bearings(now)),
            What::ConfirmClock => Ok(self.confirm_clock(&who, now)),
            What::Approve { plan } => self.approve(&who, plan, now)?,
            What::Resend { notice } => self.resend(&who, notice, now)?,
            What::Refuse { plan } => self.refuse(&who, plan, now)?,
            What::AcceptMachine => Ok(self.accept_machine(&who, now)?),
            What::Sites { repositories, policies } => self.sites(&repositories, &policies),
            What::Hold { repository, snapshot, order } => self.hold(&who, &repository, &snapshot, &order, now),
            What::Release { repository, snapshot } => self.release(&who, &repository, &snapshot, now),
            What::Books { repositories } => self.books(&repositories, now),
            What::Enter { repository, guest } => self.enter_guest(&repository, guest),
            What::Note(note) => Ok(self.write_note(&who, *note, now)),
            What::AddToken(order) => self.add_token(&who, order, now),
            What::RemoveToken { name } => self.remove_token(&who, &name, now),
            What::UseToken { id } => Ok(self.use_token(&id, now)),
            What::BeginTrial { channel } => self.begin_trial(&who, &channel, now),
            What::EndTrial { channel, result } => Ok(self.end_trial(&who, &channel, result, now)),
            What::BeginOperation { kind, subject } => self.begin_operation(&who, kind, &subject, now),
            What::EndOperation { number, result } => Ok(self.end_operation(number, result, now)),
        };
        let is_done = matches!(answer, Ok(Done::Acknowledged | Done::Proposed(Proposed { request: None, .. })));
        if self.edits.request.is_some() && is_done {
            // Nothing had to be changed, so it left no record of its own; and the key has to be known again.
            self.audit(Audit::of(now.wall, &who, "request", "", "asked under a key, and done"));
        }
        self.edits.request = None;
        self.replies.push((reply, answer));
        Ok(())
    }

    fn write_refusal(&mut self, who: &str, subject: &str, answer: &str, now: Moment) -> Done {
        if self.no_room.is_some() {
            // What little there is is for the runs under way.
            return Done::Acknowledged;
        }
        let audit = Audit::of(now.wall, who, "refused", subject, "refused");
        self.changes.push(Change::Audit(Audit { answer: Some(answer.into()), ..audit }));
        Done::Acknowledged
    }

    /// Returns the run that was begun under the key at hand, in this turn or before (S28).
    pub(super) fn run_of_request(&mut self, who: &str) -> Result<Option<BegunRun>, JournalError> {
        let Some(key) = self.run_key(who) else { return Ok(None) };
        let begun = self.changes.iter().find_map(|change| match change {
            Change::Begin(begun) if begun.request_key.as_ref() == Some(&key) => Some(begun),
            _ => None,
        });
        if let Some(begun) = begun {
            let known = self.uids.get(&begun.policy_uid).and_then(|index| self.policies.get(index));
            let policy = known.map_or_else(|| begun.policy_uid.clone(), |tracked| tracked.name.clone());
            let (run_id, snapshot) = ((*begun.run_id).into(), begun.snapshot.clone());
            return Ok(Some(BegunRun { policy, kind: begun.kind, run_id, snapshot }));
        }
        let run = self.journal.run_of_request(&key)?;
        Ok(run.map(|RunRecord { policy, kind, run_id, snapshot, .. }| BegunRun { policy, kind, run_id, snapshot }))
    }

    /// Returns under which key a run of the command at hand is known. Everybody's keys are their own.
    fn run_key(&self, who: &str) -> Option<Box<str>> {
        self.edits.request.as_ref().map(|request| format!("{who} {}", request.key).into())
    }

    fn index_of(&self, policy: &str) -> Result<u32, Refusal> {
        self.names.get(policy).copied().ok_or_else(|| Refusal::Unknown(policy.to_string()))
    }

    fn start_or_stop(&mut self, who: &str, policy: &str, enabled: bool, now: Moment) -> Result<Done, Refusal> {
        let index = self.index_of(policy)?;
        let what = if enabled { "start" } else { "stop" };
        self.with(index, |engine, tracked| {
            if engine.set_enabled(index, tracked, enabled, now) {
                let word = |enabled: bool| Some(if enabled { "enabled" } else { "stopped" }.into());
                let audit = Audit::of(now.wall, who, what, policy, format!("policy told to {what}"));
                engine.audit(Audit { before: word(!enabled), after: word(enabled), ..audit });
            }
        });
        self.pump_policy(index, now);
        Ok(Done::Acknowledged)
    }

    pub(super) fn run_now(&mut self, who: &str, policy: &str, kind: Kind, now: Moment) -> Result<Done, Refusal> {
        let index = self.index_of(policy)?;
        if self.stopping {
            return Err(Refusal::Unavailable("the daemon is about to end".to_string()));
        }
        self.refuse_without_room(now)?;
        if let Some(why) = self.forbidden(kind) {
            return Err(Refusal::Unavailable(format!("nothing is deleted: {why}")));
        }
        let key = self.run_key(who);
        let begun = self.with(index, |engine, tracked| match kind {
            Kind::Creation => engine.run_kind::<Creation>(index, tracked, key, now),
            Kind::Deletion => engine.run_kind::<Deletion>(index, tracked, key, now),
        });
        let done = begun.unwrap_or_else(|| Err(Refusal::Unknown(policy.to_string())))?;
        let detail = format!("{} asked for", kind.word());
        let run_id = match &done {
            Done::Run { run_id, .. } => Some(run_id.clone()),
            _ => None,
        };
        let (before, after) = (Some("waiting".into()), Some("running".into()));
        self.audit(Audit { run_id, before, after, ..Audit::of(now.wall, who, "run", policy, detail) });
        self.pump_policy(index, now);
        Ok(done)
    }

    fn run_kind<W: Work>(
        &mut self,
        index: u32,
        tracked: &mut Tracked,
        request_key: Option<Box<str>>,
        now: Moment,
    ) -> Result<Done, Refusal> {
        let policy = tracked.name.to_string();
        let kind = W::KIND.word();
        if tracked.entry.as_ref().and_then(|entry| W::pace(entry)).is_none() {
            return Err(Refusal::NoWorkflow { policy, kind });
        }
        if !W::flow(tracked).is_waiting() {
            return Err(Refusal::Running { policy, kind });
        }
        if W::KIND == Kind::Deletion && tracked.withdrawn_by_stop() {
            return Err(Refusal::Unavailable(format!(
                "policy `{policy}` is stopped; a stopped policy deletes nothing"
            )));
        }
        let trigger = Trigger { at: now.wall, cause: Cause::Manual };
        match self.begin::<W>(index, tracked, trigger, request_key, now) {
            Some((run_id, snapshot)) => Ok(Done::Run { run_id: (*run_id).into(), snapshot }),
            None => Err(Refusal::Running { policy, kind }),
        }
    }

    fn survey(&mut self, policy: &str, now: Moment) -> Result<Done, Refusal> {
        let index = self.index_of(policy)?;
        let unknown = || Refusal::Unknown(policy.to_string());
        let tracked = self.policies.get(&index).cloned().ok_or_else(unknown)?;
        let entry = tracked.entry.clone().ok_or_else(unknown)?;
        let owner = tracked::owner(&tracked, &self.installation);
        let around = self.around::<Deletion>(&tracked, &Answer::Listed(Listing::default()), now);
        let holds = around.holds.clone();
        let grounds = entry.policy.deletion.as_ref().and_then(|_| Deletion::terms(&tracked, &around)).map(Box::new);
        Ok(Done::Survey(Box::new(Survey { entry, owner, grounds, holds, now: now.wall })))
    }

    fn bearings(&self, now: Moment) -> Done {
        let clock = Sight { now, trust: self.clock.trust, synchronised: self.clock.synchronised };
        let (roster, installation) = (self.roster.clone(), (*self.installation).into());
        let names = roster.repositories.keys();
        let holds = names.map(|name| (name.clone(), self.held.in_repository(name, &roster))).collect();
        Done::Bearings(Box::new(Bearings { holds, roster, installation, clock, age_locks: self.age_locks.clone() }))
    }

    pub(super) fn sites(&self, repositories: &[String], policies: &[String]) -> Result<Done, Refusal> {
        if self.stopping {
            return Err(Refusal::Unavailable("the daemon is about to end".to_string()));
        }
        let mut names: BTreeSet<&str> = repositories.iter().map(String::as_str).collect();
        for policy in policies {
            let tracked = self.policies.get(&self.index_of(policy)?);
            let entry = tracked.and_then(|tracked| tracked.entry.as_ref());
            names.insert(&entry.ok_or_else(|| Refusal::Unknown(policy.clone()))?.repository.name);
        }
        if repositories.is_empty() && policies.is_empty() {
            names.extend(self.roster.repositories.keys().map(|name| &**name));
        }
        let site = |name: &str| {
            let repository = self.roster.repositories.get(name).cloned();
            let repository = repository.ok_or_else(|| Refusal::UnknownRepository(name.to_string()))?;
            let at_work = self.gates.get(name).is_some_and(Gate::is_taken);
            Ok(Site { repository, keep: self.keep(name), at_work, forbidden: self.removal_forbidden() })
        };
        names.into_iter().map(site).collect::<Result<_, _>>().map(Done::Sites)
    }

    /// Returns how long a run may still come to need what a repository's snapshots do not need: the
    /// longest time limit of any policy there, and of the versions that began what is under way.
    fn keep(&self, repository: &str) -> Duration {
        /// A driver ends a little after its time is up, and clocks of two machines differ.
        const ROOM: Duration = Duration::from_secs(3600);
        let entries = self.policies.values().flat_map(|tracked| {
            [tracked.entry.as_ref(), tracked.creation.terms.as_ref(), tracked.deletion.terms.as_ref()]
        });
        let there = entries.flatten().filter(|entry| *entry.repository.name == *repository);
        let paces = there.flat_map(|entry| {
            let policy = &entry.policy;
            [policy.creation.as_ref().map(|rule| &rule.pace), policy.deletion.as_ref().map(|rule| &rule.pace)]
        });
        let longest_ms = paces.flatten().map(|pace| pace.time_limit.millis()).max().unwrap_or(0);
        Duration::from_millis(u64::try_from(longest_ms).unwrap_or(0)).saturating_add(ROOM)
    }
}
