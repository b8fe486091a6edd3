//! The one place where states, the journal and the outside meet.
//!
//! ```text
//!   events ──▶ turn: decide ──▶ commit ──▶ errands ──▶ perform
//!      ▲                                                  │
//!      └──────────────────── answers ─────────────────────┘
//! ```
//!
//! A turn takes everything that has happened, decides with one reading of the clock, writes all
//! decisions in one transaction, and only then hands out what is to be done outside and what
//! readers may see. It never waits for the outside. An error of the journal ends it for good: a
//! failed commit may have happened.

mod age_locks;
mod alarms;
mod answer;
mod ask;
pub mod command;
pub mod commits;
mod editing;
pub mod event;
pub mod explain;
mod gate;
pub mod guarding;
mod holding;
pub mod latest;
mod loaded;
mod operations;
mod outbox;
pub mod perform;
mod problems;
pub mod pulse;
mod pump;
mod reconcile;
mod restrict;
pub mod run;
mod settled;
mod shelf;
mod stepped;
mod telling;
pub mod tokens;
pub mod tracked;
mod trial;
mod trusting;
pub mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::journal::change::{Audit, Change};
use crate::journal::record::{OperationRecord, TokenRecord};
use crate::journal::{CHANGES_MANY, ErrorKind, Journal, JournalError};
use crate::lifecycle::age_lock::AgeLocks;
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Answer, Kind};
use crate::roster::Roster;

use alarms::Alarms;
use editing::Edits;
use event::{Done, Errands, Event, JobId, Refusal};
use gate::Gate;
use holding::Held;
use outbox::Outbox;
use restrict::NoRoom;
use shelf::Shelf;
use stepped::CLOCK_BACK_MS;
use tracked::{Flow, Tracked, Work};
use trusting::Clock;
use view::{Chore, View};

/// Who does what nobody asked for, in the audit.
const ENGINE: &str = "engine";
/// A chore that went as it did so short a time before is not written down again.
const CHORE_NEWS_MS: u64 = 5 * 60_000;
/// Rows deleted in one slice of history, so that a slice stays below 10 ms.
const TRIM_ROWS: u32 = 1_000;

/// The engine. It owns the journal.
#[derive(Debug)]
pub struct Engine {
    journal: Journal,
    installation: Box<str>,
    roster: Arc<Roster>,
    policies: BTreeMap<u32, Arc<Tracked>>,
    names: BTreeMap<Arc<str>, u32>,
    uids: BTreeMap<Arc<str>, u32>,
    next_index: u32,
    /// Triggers, by wall time.
    due: BTreeSet<(Timestamp, u32, Kind)>,
    /// Waits and time limits, by uptime.
    wakes: BTreeSet<(i64, u32, Kind)>,
    jobs: BTreeMap<JobId, (u32, Kind)>,
    next_job: NonZeroU64,
    jobs_max: usize,
    /// Workflows that may ask as soon as a job is over.
    ready: BTreeSet<(u32, Kind)>,
    gates: BTreeMap<Arc<str>, Gate>,
    /// Who has a place at which repository to change single snapshots there.
    guests: BTreeMap<u64, Arc<str>>,
    /// What is owed to channels.
    outbox: Outbox,
    /// What goes on that people were told of.
    alarms: Alarms,
    /// Work of hours that is under way elsewhere, by number.
    operations: BTreeMap<u64, OperationRecord>,
    latest_operation: u64,
    latest_plan: u64,
    clock: Clock,
    /// When snapshots were deleted within the last hour, by repository (G14).
    deletions: BTreeMap<Arc<str>, VecDeque<Moment>>,
    /// What deletion runs that are under way saw of their policies, by uid.
    shelves: BTreeMap<Arc<str>, Shelf>,
    /// What `min_age` is locked to, by uid (G13).
    age_locks: Arc<AgeLocks>,
    /// What people want kept (G13).
    held: Held,
    /// What lets callers in who come over the network, by id.
    tokens: BTreeMap<Box<str>, TokenRecord>,
    trim_before: Option<Timestamp>,
    tidying: Tidying,
    edits: Edits,
    stopping: bool,
    no_room: Option<NoRoom>,
    /// Whether the journal belongs to another machine: nothing is deleted then.
    machine_changed: bool,
    last: Moment,
    view: Arc<View>,
    stopwatch: fn() -> Duration,
    // What the present turn has gathered.
    changes: Vec<Change>,
    dirty: BTreeSet<(u32, Kind)>,
    touched: BTreeSet<u32>,
    woken: BTreeSet<u32>,
    errands: Errands,
    replies: Vec<Reply>,
    /// Who wants to know when all that was said before has been taken in.
    marks: Vec<oneshot::Sender<()>>,
}

/// When the journal's log is to be written back: some seconds after much was committed, so that the
/// next many decisions need not wait for it.
#[derive(Debug, Default)]
struct Tidying {
    changes: usize,
    /// At what uptime.
    due_at: Option<i64>,
}

impl Tidying {
    const QUIET_MS: i64 = 5_000;

    fn note(&mut self, changes: usize, now: Moment) {
        self.changes += changes;
        // With fewer changes the log is short, and nobody will have to wait.
        if self.changes >= CHANGES_MANY {
            self.due_at = Some(now.uptime + Tidying::QUIET_MS);
        }
    }

    fn due_at(&self) -> Option<i64> {
        self.due_at
    }

    /// Whether it is to be done now, once.
    fn is_due(&mut self, now: Moment) -> bool {
        let is_due = self.due_at.is_some_and(|due_at| due_at <= now.uptime);
        if is_due {
            *self = Tidying::default();
        }
        is_due
    }
}

/// An answer to a command, and where it goes.
type Reply = (oneshot::Sender<Result<Done, Refusal>>, Result<Done, Refusal>);

impl Engine {
    /// Takes over a journal and a roster. What was under way when the journal was last written is
    /// under way again: every question that was open counts as unanswered. `jobs_max` bounds how
    /// much is asked of the outside at once; `synchronised` is what the kernel says of its clock.
    pub fn start(
        mut journal: Journal,
        roster: Arc<Roster>,
        view: Arc<View>,
        jobs_max: usize,
        now: Moment,
        synchronised: bool,
    ) -> Result<(Engine, Errands), JournalError> {
        let mut known = Vec::new();
        let loaded =
            journal.load_each(&mut |loaded, policy| known.push(loaded::tracked(policy, &roster, &loaded.terms)))?;
        view.set_installation(&loaded.installation, now.wall);
        for (job, at, trouble) in &loaded.chores {
            view.set_chore(job, *at, trouble.clone());
        }
        loaded.maintenance.into_iter().for_each(|operation| view.set_maintenance(operation));
        let mut engine = Engine {
            journal,
            installation: loaded.installation,
            roster: roster.clone(),
            policies: BTreeMap::new(),
            names: BTreeMap::new(),
            uids: BTreeMap::new(),
            next_index: 0,
            due: BTreeSet::new(),
            wakes: BTreeSet::new(),
            jobs: BTreeMap::new(),
            next_job: NonZeroU64::MIN,
            jobs_max: jobs_max.max(1),
            ready: BTreeSet::new(),
            gates: BTreeMap::new(),
            guests: BTreeMap::new(),
            outbox: Outbox::default(),
            alarms: Alarms::new(loaded.alarms, now),
            operations: loaded.operations.into_iter().map(|operation| (operation.number, operation)).collect(),
            latest_operation: loaded.latest_operation,
            latest_plan: loaded.latest_plan,
            clock: Clock::new(loaded.clock, now, synchronised, loaded.latest_at),
            deletions: BTreeMap::new(),
            shelves: BTreeMap::new(),
            held: Held::new(loaded.holds),
            tokens: loaded.tokens.into_iter().map(|token| (token.id.clone(), token)).collect(),
            age_locks: Arc::new(loaded.age_locks),
            trim_before: None,
            tidying: Tidying::default(),
            edits: Edits::new(loaded.next_seq_no, loaded.primary_term),
            stopping: false,
            no_room: None,
            machine_changed: loaded.machine_changed,
            last: now,
            view,
            stopwatch: || Duration::ZERO,
            changes: Vec::new(),
            dirty: BTreeSet::new(),
            touched: BTreeSet::new(),
            woken: BTreeSet::new(),
            errands: Errands::default(),
            replies: Vec::new(),
            marks: Vec::new(),
        };
        for mut tracked in known {
            engine.look_before::<Creation>(&mut tracked, now)?;
            engine.look_before::<Deletion>(&mut tracked, now)?;
            engine.track(tracked);
        }
        // Before anything moves: a state that was about to order something has to look first.
        let under_way: Vec<u32> = engine.policies.keys().copied().collect();
        for index in under_way {
            engine.with(index, |engine, tracked| {
                engine.lost::<Creation>(index, tracked, now);
                engine.lost::<Deletion>(index, tracked, now);
                engine.resume::<Creation>(tracked);
            });
        }
        engine.watch_clock(now);
        engine.recount_deletions(now)?;
        engine.view.set_holds(engine.held.shown());
        engine.view.set_primary_term(loaded.primary_term);
        engine.show_tokens();
        engine.view.set_age_locks(engine.age_locks.clone());
        engine.end_interrupted_operations(now);
        engine.measure_room(now);
        engine.show_restrictions();
        engine.refresh_outbox()?;
        problems::log(&roster.problems, &[]);
        engine.reconcile(roster, now);
        engine.settle_open_edits(loaded.edits, now);
        engine.lock_ages(now);
        engine.clock_moved_back(now, loaded.latest_at);
        engine.pump_all(now);
        let errands = engine.close_turn(now)?;
        engine.compact();
        Ok((engine, errands))
    }

    /// Looks up how the run ended before the one that is under way.
    fn look_before<W: Work>(&mut self, tracked: &mut Tracked, now: Moment) -> Result<(), JournalError> {
        if W::flow(tracked).latest.as_ref().is_some_and(|run| run.outcome.is_none()) {
            W::flow_mut(tracked).before = self.journal.last_outcome(&tracked.uid, W::KIND, now.wall)?;
        }
        Ok(())
    }

    /// Makes what a start has filled small: maps that grew in order are half empty, and a name or
    /// uid is one text with the policy's, not one each.
    fn compact(&mut self) {
        let policies = std::mem::take(&mut self.policies);
        let known = |text: &Arc<str>, index: &u32, own: fn(&Tracked) -> &Arc<str>| {
            let own = policies.get(index).map(|tracked| own(tracked));
            (own.filter(|own| *own == text).unwrap_or(text).clone(), *index)
        };
        self.names = self.names.iter().map(|(name, index)| known(name, index, |tracked| &tracked.name)).collect();
        self.uids = self.uids.iter().map(|(uid, index)| known(uid, index, |tracked| &tracked.uid)).collect();
        self.policies = policies.into_iter().collect();
        self.due = std::mem::take(&mut self.due).into_iter().collect();
        self.dirty = BTreeSet::new();
    }

    /// Measures commits by this clock from here on; before, they take no time.
    pub fn measure_by(&mut self, stopwatch: fn() -> Duration) {
        self.stopwatch = stopwatch;
    }

    /// Takes everything that has happened, decides, commits, and returns what is to be done
    /// outside. `now` is the one reading of the clock this turn has.
    pub fn turn(&mut self, now: Moment, events: Vec<Event>) -> Result<Errands, JournalError> {
        if now.boot == self.last.boot && now.wall.since(self.last.wall) < -CLOCK_BACK_MS {
            self.clock_moved_back(now, self.last.wall);
        }
        self.last = now;
        self.watch_clock(now);
        // First, for it reads what earlier turns committed: what this turn settles is told in the next.
        self.send_notices(now)?;
        for event in events {
            self.take(event, now)?;
        }
        self.look_for_room(now);
        self.due_now(now);
        self.look_at_alarms(now);
        if let Some(before) = self.trim_before {
            let gone = self.journal.trim(before, TRIM_ROWS)?;
            if gone < TRIM_ROWS {
                self.trim_before = None;
            }
        }
        self.close_turn(now)
    }

    /// Returns how long nothing is due, in milliseconds, `None` when nothing will be by itself.
    pub fn idle_ms(&self, now: Moment) -> Option<i64> {
        // Without room nothing begins, however long it is due.
        let due = match &self.no_room {
            None => self.due.first().map(|(at, _, _)| at.since(now.wall)),
            Some(no_room) => Some(no_room.look_at - now.uptime),
        };
        let wake = self.wakes.first().map(|(uptime, _, _)| uptime - now.uptime);
        let notice = self.outbox.idle_ms(&self.roster, now).filter(|_| !self.stopping);
        let alarm = self.alarms.idle_ms(now);
        let trim = self.trim_before.map(|_| 0);
        let tidy = self.tidying.due_at().map(|uptime| uptime - now.uptime);
        [due, wake, notice, alarm, trim, tidy].into_iter().flatten().min().map(|span| span.max(0))
    }

    /// Returns how many jobs are in flight.
    pub fn jobs_in_flight(&self) -> usize {
        self.jobs.len()
    }

    fn take(&mut self, event: Event, now: Moment) -> Result<(), JournalError> {
        match event {
            Event::Loaded(roster) => self.reconcile(roster, now),
            Event::Answered { job, answer } => self.answered(job, answer, now),
            Event::Progressed { job, progress } => {
                if let Some((index, kind)) = self.jobs.get(&job).copied() {
                    self.with(index, |_, tracked| match kind {
                        Kind::Creation => tracked.creation.progress = Some(Box::new(progress)),
                        Kind::Deletion => tracked.deletion.progress = Some(Box::new(progress)),
                    });
                }
            }
            Event::Delivered { key, result } => self.delivered(key, result, now),
            Event::Command(command) => self.command(command, now)?,
            Event::Chore { job, trouble } => {
                let former = self.view.set_chore(&job, now.wall, trouble.clone());
                // What runs every minute is no reason to write every minute.
                let is_news = |former: Chore| {
                    former.trouble != trouble || now.wall.since(former.at).unsigned_abs() >= CHORE_NEWS_MS
                };
                if former.is_none_or(is_news) {
                    self.changes.push(Change::Chore { job, at: now.wall, trouble });
                }
            }
            // By a clock that is ahead everything is old, history too.
            Event::Trim { .. } if self.clock.trust.doubt.is_some() => {
                tracing::warn!("history is not trimmed: the clock is doubted");
            }
            Event::Trim { before } => self.trim_before = Some(before),
            Event::Left { guest } => self.leave_guest(guest),
            Event::Witnessed(heard) => self.hear_witnesses(&heard, now),
            Event::ClockStepped => self.pump_all(now),
            Event::Mark(mark) => self.marks.push(mark),
            Event::Stop => self.stopping = true,
        }
        Ok(())
    }

    fn answered(&mut self, job: JobId, answer: Answer, now: Moment) {
        // An answer to a job that was given up: nobody waits for it.
        let Some((index, kind)) = self.jobs.remove(&job) else { return };
        self.with(index, |engine, tracked| match kind {
            Kind::Creation => engine.answer::<Creation>(index, tracked, job, answer, now),
            Kind::Deletion => engine.answer::<Deletion>(index, tracked, job, answer, now),
        });
        self.pump_policy(index, now);
    }

    /// Moves whoever waited for what this turn set free: a repository, or a job.
    fn let_in(&mut self, now: Moment) {
        loop {
            if let Some(index) = self.woken.pop_first() {
                self.pump_policy(index, now);
            } else if self.jobs.len() < self.jobs_max
                && let Some((index, _)) = self.ready.pop_first()
            {
                self.pump_policy(index, now);
            } else {
                break;
            }
        }
    }

    /// Writes what the turn decided, then lets it out.
    fn close_turn(&mut self, now: Moment) -> Result<Errands, JournalError> {
        self.let_in(now);
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        let uid = |index: u32| self.policies.get(&index).map(|tracked| tracked.uid.clone());
        let mut dirty: Vec<_> = dirty.filter_map(|(index, kind)| Some((uid(index)?, index, kind))).collect();
        // As their rows lie: each page of many is read and written once.
        dirty.sort_unstable();
        for (_, index, kind) in dirty {
            self.save(index, kind);
        }
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            self.journal.end_look()?;
        }
        if !changes.is_empty() {
            self.commit(&changes)?;
            self.tidying.note(changes.len(), now);
        } else if self.tidying.is_due(now) {
            match self.journal.checkpoint() {
                // Nothing is lost by leaving it to a later moment, as SQLite itself would.
                Err(trouble) if trouble.kind() == ErrorKind::Full => {
                    tracing::warn!(cause = %trouble, "the journal's log could not be written back");
                }
                outcome => outcome?,
            }
        }
        // Nobody is let in, or kept out, before the journal says so.
        let of_tokens = |change: &Change| {
            matches!(change, Change::AddToken(_) | Change::RemoveToken { .. } | Change::UseToken { .. })
        };
        if changes.iter().any(of_tokens) {
            self.show_tokens();
        }
        if changes.iter().any(Change::is_of_notices) {
            self.refresh_outbox()?;
        }
        if let Some(alarms) = self.alarms.take_changed() {
            self.view.set_alarms(alarms);
        }
        let shown: Vec<Arc<Tracked>> = std::mem::take(&mut self.touched)
            .into_iter()
            .filter_map(|index| self.policies.get(&index).filter(|tracked| tracked.revision.is_some()))
            .cloned()
            .collect();
        self.view.publish(shown, now);
        let mut unheard = Vec::new();
        for (reply, answer) in std::mem::take(&mut self.replies) {
            // Whoever asked may have gone; what was asked has happened all the same, but for what they
            // would have begun.
            if let Err(Ok(Done::Operation(operation))) = reply.send(answer)
                && operation.end.is_none()
            {
                unheard.push(operation.number);
            }
        }
        self.end_unheard_operations(unheard, now)?;
        for mark in std::mem::take(&mut self.marks) {
            // Whoever wanted to know may have gone.
            let _ = mark.send(());
        }
        Ok(std::mem::take(&mut self.errands))
    }

    /// Writes changes, and shows how long that took.
    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let began = (self.stopwatch)();
        let outcome = self.journal.commit(changes);
        self.view.commits().note((self.stopwatch)().saturating_sub(began));
        outcome
    }

    fn refresh_outbox(&mut self) -> Result<(), JournalError> {
        self.outbox.refresh(self.journal.notices_waiting()?);
        self.view.set_notices(self.outbox.waiting());
        Ok(())
    }

    fn save(&mut self, index: u32, kind: Kind) {
        let Some(tracked) = self.policies.get_mut(&index).map(Arc::make_mut) else { return };
        let (state, version) = match kind {
            Kind::Creation => (Creation::state(tracked.creation.workflow.clone()), next_version(&mut tracked.creation)),
            Kind::Deletion => (Deletion::state(tracked.deletion.workflow.clone()), next_version(&mut tracked.deletion)),
        };
        let seen = match kind {
            Kind::Creation => None,
            Kind::Deletion => tracked.seen,
        };
        self.changes.push(Change::Save { policy_uid: tracked.uid.clone(), version, state, seen });
    }

    /// Lends one policy for changing. Readers keep the value they have.
    fn with<T>(&mut self, index: u32, change: impl FnOnce(&mut Engine, &mut Tracked) -> T) -> Option<T> {
        let mut shared = self.policies.remove(&index)?;
        let outcome = change(self, Arc::make_mut(&mut shared));
        self.policies.insert(index, shared);
        self.touched.insert(index);
        Some(outcome)
    }

    /// Writes down what was done. Whoever asked for it is told only once this is written, under their key.
    fn audit(&mut self, mut audit: Audit) {
        if *audit.who != *ENGINE {
            let Audit { who, what, subject, detail, .. } = &audit;
            tracing::info!(who, what, subject, "{detail}");
            audit.answer.get_or_insert_with(|| "done".into());
            audit.request = self.edits.request.take();
        }
        self.changes.push(Change::Audit(audit));
    }

    fn track(&mut self, tracked: Tracked) {
        let index = self.next_index;
        self.next_index += 1;
        self.uids.insert(tracked.uid.clone(), index);
        if tracked.revision.is_some() {
            self.names.insert(tracked.name.clone(), index);
        }
        self.policies.insert(index, Arc::new(tracked));
        self.touched.insert(index);
    }
}

fn next_version<S>(flow: &mut Flow<S>) -> u64 {
    let version = flow.version;
    flow.version += 1;
    version
}
