//! The outbox: each try is counted in the journal before it is made, and what no channel takes is kept.
//!
//! Every channel has a few places of its own, so that one that hangs keeps no other waiting; and one that failed
//! rests before it is tried again, however much waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::event::{Done, Errand, Job, Refusal};
use super::tracked::Tracked;
use crate::journal::JournalError;
use crate::journal::change::{Audit, Change, Delivered, Delivery, Notice, OfPolicy, Owed};
use crate::journal::record::{NoticeRecord, Waiting};
use crate::lifecycle::channel::{Kind, Rules};
use crate::lifecycle::notice::{Event, Telling};
use crate::lifecycle::retry;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::notify::{Again, Trouble};
use crate::roster::{Channel, Roster};

/// So many notices are on their way to one channel at once. Servers that take mail bear a handful.
const PLACES: usize = 4;
/// However old a notice is, it is tried so often before it is given up.
const TRIES_MIN: u32 = 3;
/// A sender that does not report within this is taken as dead; the notice is due again.
const TRY_MS: i64 = 120_000;
/// What waits for a person to change something is tried again this rarely, in case nobody tells us.
const CHANGED_MS: i64 = 3_600_000;
/// How long a channel rests after the first such refusal; then twice as long each time.
const CHANGED_FIRST_MS: i64 = 30_000;
/// Nobody may ask for more patience than this.
const AFTER_MAX_MS: i64 = 86_400_000;
/// With so many waiting for a channel, equal ones become one.
pub(super) const CROWD: u64 = 10_000;
/// What gathers about other channels is told after this, so that many are one.
const GATHER_MS: i64 = 60_000;

/// What is owed, by channel, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lanes: BTreeMap<Box<str>, Lane>,
    /// By key.
    flights: BTreeMap<Box<str>, Flight>,
    /// Who waits for signs of life, by channel.
    beats: BTreeMap<Arc<str>, Beat>,
}

/// A channel that hears every so often that the daemon is alive. It hears it from the engine's own turn, so that one
/// that does not turn is missed.
#[derive(Debug)]
struct Beat {
    channel: Arc<Channel>,
    every_ms: i64,
    /// At what uptime it hears the next.
    due_at: i64,
}

/// One channel.
#[derive(Debug, Default)]
struct Lane {
    /// As the journal has it.
    waiting: Waiting,
    /// What this turn adds to it.
    owed: u64,
    /// Failures in a row.
    failures: u32,
    /// At what uptime the first of them was.
    failing_since: Option<i64>,
    /// At what uptime it may be tried again.
    rested_at: i64,
}

/// A notice on its way.
#[derive(Debug)]
struct Flight {
    channel: Box<str>,
    event: Event,
    /// Which try it is.
    attempt: u32,
    /// At what uptime nobody waits for its sender any more.
    over_at: i64,
}

/// What a notice is about.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// What makes its key: the run, or what goes on.
    pub key: String,
    /// The policy; `None` where it is about the daemon.
    pub policy: Option<OfPolicy>,
    /// The run.
    pub run_id: Option<Box<str>>,
    /// Whether it is more of the same, which channels may want to hear rarely.
    pub goes_on: bool,
    /// Before this nobody is told, so that what is alike is told as one.
    pub earliest: Option<Timestamp>,
}

impl About {
    /// Returns what is said of the daemon as a whole.
    pub fn of_daemon(key: String) -> About {
        About { key, policy: None, run_id: None, goes_on: false, earliest: None }
    }

    /// Returns what is said of a policy.
    pub fn of_policy(key: String, tracked: &Tracked) -> About {
        let policy = OfPolicy { uid: tracked.uid.clone(), name: tracked.name.clone() };
        About { policy: Some(policy), ..About::of_daemon(key) }
    }

    /// Returns what is said of a run: once, whatever is said of others.
    pub fn of_run(run_id: &str, tracked: &Tracked) -> About {
        About { run_id: Some(run_id.into()), ..About::of_policy(run_id.to_string(), tracked) }
    }
}

impl Outbox {
    /// Takes what the journal says is owed.
    pub fn refresh(&mut self, waiting: BTreeMap<Box<str>, Waiting>) {
        for lane in self.lanes.values_mut() {
            (lane.waiting, lane.owed) = (Waiting::default(), 0);
        }
        for (channel, waiting) in waiting {
            self.lanes.entry(channel).or_default().waiting = waiting;
        }
        self.lanes.retain(|_, lane| lane.waiting != Waiting::default() || lane.failures > 0);
    }

    /// How many waiting notices a channel has.
    pub fn waiting(&self) -> BTreeMap<Box<str>, Waiting> {
        self.lanes.iter().map(|(channel, lane)| (channel.clone(), lane.waiting)).collect()
    }

    fn is_crowded(&mut self, channel: &str) -> bool {
        let lane = self.lanes.entry(channel.into()).or_default();
        lane.owed += 1;
        lane.waiting.pending + lane.owed > CROWD
    }

    /// Returns how many more may be on their way to a channel. After a failure one finds out whether it is back, and
    /// who shows the last it heard hears one after the other.
    fn places(&self, channel: &str, roster: &Roster) -> usize {
        let is_failing = self.lanes.get(channel).is_some_and(|lane| lane.failures > 0);
        let places = if is_failing || waits_for_signs(roster, channel) { 1 } else { PLACES };
        places.saturating_sub(self.flights.values().filter(|flight| *flight.channel == *channel).count())
    }

    /// Returns how long nothing is to be sent, in milliseconds.
    pub fn idle_ms(&self, roster: &Roster, now: Moment) -> Option<i64> {
        let beats = self.beats.values().map(|beat| beat.due_at - now.uptime);
        let lanes = self.lanes.iter().filter_map(|(channel, lane)| {
            let due_ms = lane.waiting.due_at?.since(now.wall);
            if self.places(channel, roster) == 0 {
                let over = self.flights.values().filter(|flight| flight.channel == *channel);
                return over.map(|flight| flight.over_at - now.uptime).min();
            }
            Some(due_ms.max(lane.rested_at - now.uptime))
        });
        lanes.chain(beats).min()
    }
}

impl Engine {
    /// Hands out notices that are due, each counted before it is tried (N2).
    pub(super) fn send_notices(&mut self, now: Moment) -> Result<(), JournalError> {
        if self.stopping {
            return Ok(());
        }
        self.outbox.flights.retain(|_, flight| flight.over_at > now.uptime);
        for beat in self.outbox.beats.values_mut().filter(|beat| beat.due_at <= now.uptime) {
            beat.due_at = now.uptime + beat.every_ms;
            self.errands.begin.push(Job::Beat { channel: beat.channel.clone(), sent_at: now.wall });
        }
        let is_due =
            |lane: &Lane| lane.waiting.due_at.is_some_and(|due| due <= now.wall) && lane.rested_at <= now.uptime;
        let lanes = self.outbox.lanes.iter().filter(|(_, lane)| is_due(lane));
        let due: Vec<Box<str>> = lanes.map(|(channel, _)| channel.clone()).collect();
        for channel in due {
            let places = self.outbox.places(&channel, &self.roster);
            for record in self.journal.notices_due(&channel, now.wall, u32::try_from(places).unwrap_or(0))? {
                self.send(record, now);
            }
        }
        Ok(())
    }

    fn send(&mut self, record: NoticeRecord, now: Moment) {
        let (key, channel) = (record.notice.key.clone(), record.notice.channel.clone());
        let known = self.roster.channels.get(&*channel).cloned();
        let give_up_ms = known.as_ref().map_or_else(
            || Rules::default().give_up_after.millis(),
            |channel| channel.settings.rules.give_up_after.millis(),
        );
        // A notice that grew old while nobody was there has not been refused yet. Where the channel took nothing at
        // all for so long, those that had no try of their own need not have three.
        let tried_ms = record.tried_at.map_or(0, |at| now.wall.since(at));
        let lane_ms =
            self.outbox.lanes.get(&channel).and_then(|lane| lane.failing_since).map_or(0, |at| now.uptime - at);
        let is_refused = tried_ms > give_up_ms && record.attempts >= TRIES_MIN;
        let is_hopeless = lane_ms > give_up_ms && now.wall.since(record.latest_at) > give_up_ms;
        // By a clock that is ahead everything is old.
        let is_over = self.clock.trust.doubt.is_none() && (is_refused || is_hopeless);
        let result = if is_over {
            let mut trouble = format!("given up after {} tries", record.attempts);
            if let Some(last) = &record.trouble {
                trouble.push_str(&format!(": {last}"));
            }
            tracing::error!(notice = %key, %channel, cause = trouble, "notice could not be delivered");
            self.tell_of_undeliverable(&record, &trouble, now);
            Delivered::Undeliverable { trouble }
        } else {
            let attempt = record.attempts.saturating_add(1);
            let flight = Flight { channel, event: record.notice.event, attempt, over_at: now.uptime + TRY_MS };
            self.outbox.flights.insert(key.clone(), flight);
            let installation = self.installation.clone();
            let errand = Errand { record, channel: known, installation, attempt, sent_at: now.wall };
            self.errands.begin.push(Job::Deliver(Box::new(errand)));
            Delivered::Trying { again_at: now.wall.plus(TRY_MS) }
        };
        self.changes.push(Change::Delivery(Delivery { key, at: now.wall, result }));
    }

    /// Takes what became of a try.
    pub(super) fn delivered(&mut self, key: Box<str>, result: Result<String, Trouble>, now: Moment) {
        let flight = self.outbox.flights.remove(&key);
        let attempt = flight.as_ref().map_or(1, |flight| flight.attempt);
        let rules = flight.as_ref().and_then(|flight| self.roster.channels.get(&*flight.channel));
        let quiet = rules.and_then(|channel| channel.settings.rules.quiet.clone());
        let event = flight.as_ref().map(|flight| flight.event);
        let name = flight.as_ref().map(|flight| flight.channel.clone());
        let lane = flight.and_then(|flight| self.outbox.lanes.get_mut(&flight.channel));
        let result = match result {
            Ok(answer) => {
                if let Some(lane) = lane {
                    (lane.failures, lane.failing_since) = (0, None);
                }
                Delivered::Done { answer }
            }
            Err(Trouble { why, again, partly }) => {
                let after_ms = match again {
                    Again::Later => None,
                    Again::After(after) => i64::try_from(after.as_millis()).ok().map(|ms| ms.min(AFTER_MAX_MS)),
                    Again::Changed => Some(CHANGED_MS),
                };
                let wait_ms = retry::delay_ms(&key, attempt, after_ms);
                match lane {
                    // The channel is there: only this one waits.
                    Some(lane) if partly => (lane.failures, lane.failing_since) = (0, None),
                    Some(lane) => {
                        lane.failures = lane.failures.saturating_add(1);
                        lane.failing_since.get_or_insert(now.uptime);
                        let rest_ms = match again {
                            Again::Later => retry::delay_ms(&key, lane.failures, None),
                            Again::After(_) => wait_ms,
                            // Each try may be a wrong password; but it may be this one notice alone.
                            Again::Changed => (CHANGED_FIRST_MS << (lane.failures - 1).min(10)).min(CHANGED_MS),
                        };
                        lane.rested_at = lane.rested_at.max(now.uptime + rest_ms);
                    }
                    None => {}
                }
                tracing::warn!(notice = %key, channel = name.as_deref(), attempt, cause = why, "notice was not taken");
                let at = now.wall.plus(wait_ms);
                let at = event.zip(quiet).and_then(|(event, quiet)| quiet.end(event, at)).unwrap_or(at);
                Delivered::Again { at, trouble: why }
            }
        };
        self.changes.push(Change::Delivery(Delivery { key, at: now.wall, result }));
    }

    /// Owes each of these channels a telling, at once or when it may be told.
    pub(super) fn owe(&mut self, channels: &[Box<str>], about: &About, telling: &Telling, now: Moment) {
        for channel in channels {
            let Telling { event, subject, facts, is_news: _ } = telling;
            let rules = self.roster.channels.get(&**channel).map(|channel| channel.settings.rules.clone());
            let uid = about.policy.as_ref().map(|policy| policy.uid.clone());
            // Who waits for signs of life has to hear each of them, and in time.
            let is_sign = waits_for_signs(&self.roster, channel);
            let rules = rules.filter(|_| !is_sign);
            let repeat_after = rules.as_ref().and_then(|rules| rules.repeat_after.clone()).filter(|_| about.goes_on);
            let repeat_at = repeat_after.and_then(|span| {
                let told_at = self.journal.told_at(channel, *event, uid.as_deref(), subject, now.wall);
                // After an error the commit that ends this turn meets the same journal and ends the process.
                Some(told_at.ok().flatten()?.plus(span.millis()))
            });
            let due_at = [repeat_at, about.earliest].into_iter().flatten().fold(now.wall, Timestamp::max);
            let quiet_until =
                rules.as_ref().and_then(|rules| rules.quiet.as_ref()).and_then(|quiet| quiet.end(*event, due_at));
            let due_at = quiet_until.unwrap_or(due_at);
            let is_crowded = self.outbox.is_crowded(channel) && !is_sign;
            self.changes.push(Change::Owe(Box::new(Owed {
                notice: Notice {
                    key: format!("{}/{}/{channel}", about.key, event.word()).into(),
                    policy: about.policy.clone(),
                    run_id: about.run_id.clone(),
                    event: *event,
                    channel: channel.clone(),
                    subject: subject.clone(),
                    facts: facts.clone(),
                    at: now.wall,
                },
                due_at,
                gathers: is_crowded || due_at > now.wall,
            })));
        }
    }

    /// Tells the others that one channel did not take a notice.
    fn tell_of_undeliverable(&mut self, record: &NoticeRecord, trouble: &str, now: Moment) {
        let NoticeRecord { number, notice, .. } = record;
        if notice.event == Event::Undeliverable {
            return;
        }
        let mut others = self.default_channels(Event::Undeliverable);
        others.retain(|channel| *channel != notice.channel);
        let key = format!("notice-{number}-{}", now.wall.millis());
        let about = About { earliest: Some(now.wall.plus(GATHER_MS)), ..About::of_daemon(key) };
        let mut telling = Telling::of_daemon(
            Event::Undeliverable,
            &format!("channel {} does not take notices", notice.channel),
            format!("notice {number} was given up: {}", notice.subject),
        );
        telling.facts.why = Some(trouble.to_string());
        telling.facts.look = Some(format!("snapkeep notices show {number}"));
        self.owe(&others, &about, &telling, now);
    }

    /// Lets what these channels have refused be tried at once: their files say something else.
    pub(super) fn hurry(&mut self, channels: impl IntoIterator<Item = Box<str>>, now: Moment) {
        for channel in channels {
            if let Some(lane) = self.outbox.lanes.get_mut(&channel) {
                (lane.failures, lane.failing_since, lane.rested_at) = (0, None, now.uptime);
            }
            self.changes.push(Change::Hurry { channel, at: now.wall });
        }
    }

    /// Lets nothing wait for an hour that a clock named which was ahead.
    pub(super) fn hurry_all(&mut self, now: Moment) {
        let all: Vec<Box<str>> = self.outbox.lanes.keys().cloned().collect();
        self.hurry(all, now);
    }

    /// Takes which channels wait for signs of life. One that did before keeps its rhythm.
    pub(super) fn listen_for_beats(&mut self, now: Moment) {
        let former = std::mem::take(&mut self.outbox.beats);
        for (name, channel) in &self.roster.channels {
            let Kind::Ping(ping) = &channel.settings.kind else { continue };
            let Some(every) = &ping.heartbeat else { continue };
            let every_ms = every.millis();
            let kept = former.get(name).filter(|beat| beat.every_ms == every_ms);
            let due_at = kept.map_or(now.uptime, |beat| beat.due_at);
            self.outbox.beats.insert(name.clone(), Beat { channel: channel.clone(), every_ms, due_at });
        }
    }

    /// Lets a notice be sent again, because a person asked for it. Its key stays.
    pub(super) fn resend(
        &mut self,
        who: &str,
        number: u64,
        now: Moment,
    ) -> Result<Result<Done, Refusal>, JournalError> {
        let refused = |why: &str| Ok(Err(Refusal::NoNotice { notice: number, why: why.to_string() }));
        let Some(record) = self.journal.notice(number)? else { return refused("there is no such notice") };
        if self.outbox.flights.contains_key(&record.notice.key) {
            return refused("it is on its way at this moment");
        }
        if let Some(lane) = self.outbox.lanes.get_mut(&record.notice.channel) {
            (lane.failures, lane.failing_since, lane.rested_at) = (0, None, now.uptime);
        }
        self.changes.push(Change::Resend { number, at: now.wall });
        let detail = format!("notice {number} is sent again to {}", record.notice.channel);
        let audit = Audit::of(now.wall, who, "resend", &number.to_string(), detail);
        let (before, after) = (Some(record.state.word().into()), Some("pending".into()));
        self.audit(Audit { before, after, ..audit });
        Ok(Ok(Done::Acknowledged))
    }
}

/// Whether a channel has to hear each sign of life, also what is no news.
pub(super) fn waits_for_signs(roster: &Roster, channel: &str) -> bool {
    roster.channels.get(channel).is_some_and(|channel| matches!(channel.settings.kind, Kind::Ping(_)))
}
