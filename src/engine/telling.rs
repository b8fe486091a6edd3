//! What happens to policies and to the daemon, told to whom it concerns.

use std::sync::Arc;

use super::Engine;
use super::outbox::{About, waits_for_signs};
use super::tracked::{Tracked, Work};
use crate::journal::change::{Change, Skip, SkipReason};
use crate::lifecycle::channel;
use crate::lifecycle::notice::{self, Event, Telling};
use crate::lifecycle::policy::Notification;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::lifecycle::workflow::{Ending, Kind, Outcome};
use crate::roster::Entry;

/// So many triggers in a row that met a run in flight are worth telling.
const SKIPPED: u64 = 3;

impl Engine {
    /// Returns who is told an event about the daemon.
    pub(super) fn default_channels(&self, event: Event) -> Vec<Box<str>> {
        self.named(&self.roster.settings.notification, event, None)
    }

    /// Returns who is told an event about a policy: whom it names, or else the default channels.
    pub(super) fn channels_of(&self, entry: &Entry, event: Event, kind: Option<Kind>) -> Vec<Box<str>> {
        let own = &entry.policy.notification;
        let named = if own.channels.is_empty() { &self.roster.settings.notification } else { &**own };
        self.named(named, event, kind)
    }

    fn named(&self, notification: &Notification, event: Event, kind: Option<Kind>) -> Vec<Box<str>> {
        let wants = |told: &&crate::lifecycle::policy::Told| match self.roster.channels.get(&*told.channel) {
            // Who waits for signs of life needs all of them, whatever else the policy says.
            Some(channel) => match &channel.settings.kind {
                channel::Kind::Ping(ping) => kind.is_some_and(|kind| pings(ping, event, kind)),
                _ => told.conditions.has(event),
            },
            None => told.conditions.has(event),
        };
        notification.channels.iter().filter(wants).map(|told| told.channel.clone()).collect()
    }

    /// Tells how a run ended.
    pub(super) fn tell_settled<W: Work>(&mut self, tracked: &mut Tracked, run_id: &str, ending: &Ending, now: Moment) {
        let Some(entry) = tracked.entry.as_ref().or(W::flow(tracked).terms.as_ref()).cloned() else {
            self.tell_settled_by_nobody::<W>(tracked, run_id, ending, now);
            return;
        };
        if !self.tells_anybody(&entry) {
            self.note_alarms_of_settled::<W>(tracked, ending, now);
            return;
        }
        let before = match self.journal.last_outcome(&tracked.uid, W::KIND, now.wall) {
            Ok(outcome) => outcome,
            Err(trouble) => {
                // The commit that ends this turn meets the same journal and ends the process.
                tracing::error!(cause = %trouble, "failed to look up how a run ended before");
                None
            }
        };
        let failed = |outcome: Option<Outcome>| matches!(outcome, Some(Outcome::Failed | Outcome::TimeLimitExceeded));
        let was_stale = self.note_alarms_of_settled::<W>(tracked, ending, now);
        let was_failing = failed(before) || was_stale;
        let goes_on = if ending.outcome == Outcome::Succeeded { !was_failing } else { failed(before) };
        let held = tracked.held().filter(|_| ending.outcome == Outcome::Held).cloned();
        for mut telling in notice::settled(&tracked.name, W::KIND, ending, was_failing) {
            self.add_state::<W>(tracked, &entry, &mut telling, now);
            let of_run = About { goes_on, ..About::of_run(run_id, tracked) };
            // What is held again for the same reason is told once.
            let of_episode = match (&held, telling.event) {
                (Some(held), Event::Held) => {
                    telling.facts.look = Some(format!("snapkeep deletions show {}", held.number));
                    About { key: held.episode.to_string(), ..of_run.clone() }
                }
                _ => of_run.clone(),
            };
            let channels = self.channels_of(&entry, telling.event, Some(W::KIND));
            let (signs, people): (Vec<_>, Vec<_>) =
                channels.into_iter().partition(|channel| waits_for_signs(&self.roster, channel));
            // Before the later one is owed: what a check has not heard by then says nothing any more.
            for channel in &signs {
                let (channel, policy_uid) = (channel.clone(), tracked.uid.clone());
                self.changes.push(Change::Supersede { channel, policy_uid, at: now.wall });
            }
            self.owe(&signs, &of_run, &telling, now);
            if telling.is_news {
                self.owe(&people, &of_episode, &telling, now);
            }
        }
    }

    /// Tells how a run ended whose policy is gone and cannot be built again: nobody knows whom it named.
    fn tell_settled_by_nobody<W: Work>(&mut self, tracked: &Tracked, run_id: &str, ending: &Ending, now: Moment) {
        for telling in notice::settled(&tracked.name, W::KIND, ending, false) {
            let channels = self.default_channels(telling.event);
            self.owe(&channels, &About::of_run(run_id, tracked), &telling, now);
        }
    }

    /// Tells that a run begins, to whoever waits for signs of life.
    pub(super) fn tell_begun<W: Work>(&mut self, tracked: &Tracked, entry: &Entry, run_id: &Arc<str>, now: Moment) {
        if !self.tells_anybody(entry) {
            return;
        }
        let channels = self.channels_of(entry, Event::Start, Some(W::KIND));
        if channels.is_empty() {
            return;
        }
        let what = format!("a {} began", W::KIND.word());
        let mut telling = Telling::of(Event::Start, &tracked.name, &format!("{} begins", W::KIND.word()), what);
        telling.facts.workflow = Some(W::KIND.word().into());
        self.owe(&channels, &About::of_run(run_id, tracked), &telling, now);
    }

    /// Tells that triggers were not run, where that is worth it. `before` is how many of this reason were counted
    /// since the last run began, this record not included.
    pub(super) fn tell_skipped<W: Work>(&mut self, tracked: &Tracked, skip: &Skip, before: u64, now: Moment) {
        // By a clock that is ahead years were missed, or met the run at hand; who is told of the clock knows.
        if self.clock.trust.doubt.is_some() {
            return;
        }
        let Some(entry) = tracked.entry.clone().filter(|entry| self.tells_anybody(entry)) else { return };
        let Skip { reason, count, first, last, .. } = skip;
        let word = W::KIND.word();
        let (event, said, what) = match reason {
            SkipReason::Missed => {
                let what = match count {
                    1 => format!("the {word} of {first} did not run: nobody was there"),
                    _ => format!("{count} triggers of {word} did not run, from {first} to {last}: nobody was there"),
                };
                (Event::Missed, format!("{word} missed"), what)
            }
            // Who is told of the clock knows.
            SkipReason::ClockMovedBack => return,
            SkipReason::Overlap | SkipReason::Watched => {
                if before >= SKIPPED || before + count < SKIPPED {
                    return;
                }
                let what = format!("{} triggers of {word} in a row met a run in flight", before + count);
                (Event::Skipped, format!("{word} skipped {} times", before + count), what)
            }
        };
        let channels = self.channels_of(&entry, event, Some(W::KIND));
        if channels.is_empty() {
            return;
        }
        let mut telling = Telling::of(event, &tracked.name, &said, what);
        self.add_state::<W>(tracked, &entry, &mut telling, now);
        if event == Event::Skipped {
            telling.facts.why =
                W::flow(tracked).latest.as_ref().map(|run| format!("the run of {} is not over", run.trigger_at));
        }
        let key = format!("{}-{word}-{}", tracked.uid, first.millis());
        self.owe(&channels, &About::of_policy(key, tracked), &telling, now);
    }

    fn tells_anybody(&self, entry: &Entry) -> bool {
        let (own, default) = (&entry.policy.notification, &self.roster.settings.notification);
        !own.channels.is_empty() || !default.channels.is_empty()
    }

    /// Adds what a person wants to know next: what is kept at present, and what comes.
    pub(super) fn add_state<W: Work>(&self, tracked: &Tracked, entry: &Entry, telling: &mut Telling, now: Moment) {
        let facts = &mut telling.facts;
        facts.workflow = Some(W::KIND.word().into());
        if W::KIND == Kind::Creation {
            facts.snapshot = W::flow(tracked).latest.as_ref().and_then(|run| run.snapshot()).map(Into::into);
        }
        let is_new = W::KIND == Kind::Creation && matches!(telling.event, Event::Creation | Event::Recovered);
        facts.keeps = Some(keeps(tracked, is_new));
        facts.next = W::pace(entry).and_then(|pace| next(tracked, W::KIND, pace.schedule.next_after(now.wall)));
    }
}

/// Whether a check that waits for signs of life of a workflow hears of this.
fn pings(ping: &channel::ping::Ping, event: Event, kind: Kind) -> bool {
    let is_sign = match event {
        Event::Start | Event::Failure | Event::TimeLimitExceeded | Event::Stale | Event::Held => true,
        Event::Creation => kind == Kind::Creation,
        Event::Deletion => kind == Kind::Deletion,
        _ => false,
    };
    ping.workflows.contains(&kind) && is_sign
}

/// `is_new` says that the run at hand has just made one.
fn keeps(tracked: &Tracked, is_new: bool) -> String {
    let mut keeps = match tracked.last_good.as_deref() {
        // It is not among what is kept in memory yet.
        _ if is_new => "the newest good snapshot is this one".to_string(),
        Some(run) => match (run.snapshot(), run.ended_at) {
            (Some(name), Some(at)) => format!("the newest good snapshot is {name}, made at {at}"),
            (None, _) | (_, None) => "a good snapshot".to_string(),
        },
        None => "no good snapshot yet".to_string(),
    };
    if let Some(seen) = tracked.seen.filter(|seen| *seen > 0) {
        keeps.push_str(&format!("; {seen} were there when it last deleted"));
    }
    if let Some(rule) = tracked.deletion_rule() {
        keeps.push_str(&format!("; rule: {}", rule.condition));
    }
    keeps
}

fn next(tracked: &Tracked, kind: Kind, at: Option<Timestamp>) -> Option<String> {
    if !tracked.is_enabled() {
        return Some("nothing: the policy is stopped".to_string());
    }
    at.map(|at| format!("the next {} is due at {at}", kind.word()))
}
