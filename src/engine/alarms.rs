//! What goes on until it is over: no good snapshot for too long, a deletion that is held, a file that is not accepted,
//! a clock that is doubted. Each is told when it begins, again where a channel wants it so, and never for every run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use super::outbox::About;
use super::tracked::{Tracked, Work};
use crate::journal::change::Change;
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::notice::{Alarm, Event, Telling};
use crate::lifecycle::time::{Moment, Timestamp, format_millis};
use crate::lifecycle::workflow::{Ending, Kind, Outcome};
use crate::roster::Problem;

/// After a start what was missed is caught up first, before anything is called stale.
const START_MS: i64 = 15 * 60_000;
/// The engine turns once a minute at least; what it looks at so long after it was due it slept over.
const ASLEEP_MS: i64 = 10 * 60_000;
/// How soon it is looked again while the clock is doubted: by a clock that is ahead everything is stale.
const DOUBT_MS: i64 = 10 * 60_000;
/// What the alarm of the clock is about.
const CLOCK: &str = "clock";

/// What goes on, and when to look again.
#[derive(Debug)]
pub(super) struct Alarms {
    raised: BTreeMap<(Event, Box<str>), Raised>,
    /// When some policy may have become stale.
    stale_look_at: Option<Timestamp>,
    /// When something may have to be told again.
    repeat_look_at: Option<Timestamp>,
    /// Before this, by uptime, nothing is called stale.
    settled_at: i64,
    /// Whether readers are to be shown something else after the turn.
    is_changed: bool,
}

#[derive(Debug)]
struct Raised {
    alarm: Alarm,
    /// Which repetition each channel was told last.
    repeated: BTreeMap<Box<str>, i64>,
    /// Who was told at all, since the start.
    told: BTreeSet<Box<str>>,
}

impl Raised {
    fn new(alarm: Alarm) -> Raised {
        Raised { alarm, repeated: BTreeMap::new(), told: BTreeSet::new() }
    }
}

impl Alarms {
    /// Takes what the journal knows.
    pub fn new(alarms: Vec<Alarm>, now: Moment) -> Alarms {
        let raised = alarms.into_iter().map(|alarm| ((alarm.event, alarm.subject.clone()), Raised::new(alarm)));
        Alarms {
            raised: raised.collect(),
            stale_look_at: Some(now.wall),
            repeat_look_at: Some(now.wall),
            settled_at: now.uptime + START_MS,
            is_changed: true,
        }
    }

    /// Returns what goes on.
    pub fn shown(&self) -> Vec<Alarm> {
        self.raised.values().map(|raised| raised.alarm.clone()).collect()
    }

    /// Returns what goes on where that is other than it was shown last.
    pub fn take_changed(&mut self) -> Option<Vec<Alarm>> {
        std::mem::take(&mut self.is_changed).then(|| self.shown())
    }

    fn of_mut(&mut self, alarm: &Alarm) -> Option<&mut Raised> {
        self.raised.get_mut(&(alarm.event, alarm.subject.clone()))
    }

    fn has(&self, event: Event, subject: &str) -> bool {
        self.raised.contains_key(&(event, subject.into()))
    }

    /// Returns how long nothing is to be looked at, in milliseconds.
    pub fn idle_ms(&self, now: Moment) -> Option<i64> {
        [self.stale_look_at, self.repeat_look_at].into_iter().flatten().map(|at| at.since(now.wall)).min()
    }
}

impl Engine {
    /// Looks at everything that goes on, where it is time.
    pub(super) fn look_at_alarms(&mut self, now: Moment) {
        // It should have been looked at long ago: the machine slept, and what was missed is caught up first.
        if self.alarms.stale_look_at.is_some_and(|at| now.wall.since(at) > ASLEEP_MS) {
            self.alarms.settled_at = now.uptime + START_MS;
        }
        let doubt = self.clock.trust.doubt;
        match (doubt, self.alarms.has(Event::Clock, CLOCK)) {
            (Some(doubt), false) => {
                if let Some(alarm) = self.raise(Event::Clock, CLOCK, doubt.since.wall) {
                    self.tell_alarm(&alarm, None, now);
                }
            }
            (None, true) => {
                self.clear(Event::Clock, CLOCK);
                self.alarms.stale_look_at = Some(now.wall);
            }
            (Some(_), true) | (None, false) => {}
        }
        if self.alarms.stale_look_at.is_some_and(|at| at <= now.wall) {
            self.look_for_stale(now);
        }
        if self.alarms.repeat_look_at.is_some_and(|at| at <= now.wall) {
            self.repeat_alarms(now);
        }
    }

    fn clock_telling(&self) -> Telling {
        let why = self.clock.trust.doubt.map(|doubt| doubt.cause.to_string());
        let mut telling =
            Telling::of_daemon(Event::Clock, "the clock is doubted", "nothing is deleted until the clock is believed");
        telling.facts.why = why;
        telling.facts.look = Some("snapkeep explain, then snapkeep clock confirm if the clock is right".into());
        telling
    }

    /// Returns the alarm where it is new.
    fn raise(&mut self, event: Event, subject: &str, since: Timestamp) -> Option<Alarm> {
        if self.alarms.has(event, subject) {
            return None;
        }
        let alarm = Alarm { event, subject: subject.into(), since };
        self.changes.push(Change::Raise(alarm.clone()));
        self.alarms.raised.insert((event, subject.into()), Raised::new(alarm.clone()));
        self.alarms.repeat_look_at = Some(self.last.wall);
        self.alarms.is_changed = true;
        Some(alarm)
    }

    /// Returns whether it went on.
    fn clear(&mut self, event: Event, subject: &str) -> bool {
        let was_raised = self.alarms.raised.remove(&(event, subject.into())).is_some();
        if was_raised {
            self.changes.push(Change::Clear { event, subject: subject.into() });
            self.alarms.is_changed = true;
        }
        was_raised
    }

    /// Notes what a settled run begins or ends. Returns whether it ended that the policy was stale.
    pub(super) fn note_alarms_of_settled<W: Work>(&mut self, tracked: &Tracked, ending: &Ending, now: Moment) -> bool {
        let uid = tracked.uid.clone();
        match W::KIND {
            Kind::Creation if ending.outcome == Outcome::Succeeded => {
                let was_stale = self.clear(Event::Stale, &uid);
                if was_stale {
                    self.alarms.stale_look_at = Some(now.wall);
                }
                was_stale
            }
            Kind::Creation => false,
            Kind::Deletion => {
                if ending.outcome == Outcome::Held {
                    self.raise(Event::Held, &uid, now.wall);
                } else if tracked.held().is_none() {
                    self.clear(Event::Held, &uid);
                }
                false
            }
        }
    }

    /// Notes that a person has answered a held plan.
    pub(super) fn clear_held(&mut self, uid: &str) {
        self.clear(Event::Held, uid);
    }

    /// Notes that a policy is gone.
    pub(super) fn clear_alarms_of(&mut self, uid: &str) {
        self.clear(Event::Stale, uid);
        self.clear(Event::Held, uid);
    }

    /// Lets everything be looked at again: there are other policies, other channels, or another time.
    pub(super) fn look_at_alarms_anew(&mut self, now: Moment) {
        self.alarms.stale_look_at = Some(now.wall);
        self.alarms.repeat_look_at = Some(now.wall);
        let raised: Vec<Alarm> = self.alarms.shown();
        // Who is named by now hears what goes on; whoever was told before is not told again, for the key is the same.
        for alarm in raised.iter().filter(|alarm| alarm.event != Event::Held) {
            let told = self.alarms.raised.get(&(alarm.event, alarm.subject.clone())).map(|raised| &raised.told);
            let channels = self.channels_of_alarm(alarm);
            if channels.iter().any(|channel| told.is_none_or(|told| !told.contains(channel))) {
                self.tell_alarm(alarm, None, now);
            }
        }
    }

    fn look_for_stale(&mut self, now: Moment) {
        if self.clock.trust.doubt.is_some() {
            self.alarms.stale_look_at = Some(now.wall.plus(DOUBT_MS));
            return;
        }
        let settled_at = now.wall.plus(self.alarms.settled_at - now.uptime);
        let mut next: Option<Timestamp> = None;
        let mut stale = Vec::new();
        let mut over = Vec::new();
        for tracked in self.policies.values() {
            let is_raised = self.alarms.has(Event::Stale, &tracked.uid);
            let rule = tracked.entry.as_ref().and_then(|entry| entry.policy.creation.as_ref());
            let Some(rule) = rule else {
                over.extend(is_raised.then(|| tracked.uid.clone()));
                continue;
            };
            let good_at = tracked.last_good.as_ref().and_then(|run| run.ended_at);
            // Whose file was away for long is expected to make one from its return on.
            let since = good_at.map_or(tracked.adopted_at, |at| at.max(tracked.adopted_at));
            let stale_at = since.plus(rule.stale_after.millis());
            if is_raised {
                // The rule says something else by now.
                over.extend((stale_at > now.wall).then(|| tracked.uid.clone()));
                continue;
            }
            let look_at = stale_at.max(settled_at);
            if look_at <= now.wall {
                stale.push(tracked.clone());
            } else if look_at < Timestamp::from_millis(i64::MAX) {
                next = Some(next.map_or(look_at, |next| next.min(look_at)));
            }
        }
        self.alarms.stale_look_at = next;
        for uid in over {
            self.clear(Event::Stale, &uid);
            self.alarms.stale_look_at = Some(now.wall);
        }
        for tracked in stale {
            let Some(alarm) = self.raise(Event::Stale, &tracked.uid, now.wall) else { continue };
            tracing::error!(policy = %tracked.name, "no good snapshot for too long");
            self.tell_alarm_of_policy(&tracked, &alarm, None, now);
        }
    }

    fn repeat_alarms(&mut self, now: Moment) {
        self.alarms.repeat_look_at = None;
        let roster = self.roster.clone();
        let repeats = |channel: &str| {
            roster.channels.get(channel).and_then(|channel| channel.settings.rules.repeat_after.clone())
        };
        if !roster.channels.values().any(|channel| channel.settings.rules.repeat_after.is_some()) {
            return;
        }
        let mut next: Option<Timestamp> = None;
        let raised: Vec<Alarm> = self.alarms.shown();
        for alarm in raised {
            for channel in self.channels_of_alarm(&alarm) {
                let Some(every) = repeats(&channel) else { continue };
                let (due_at, next_at) = alarm.repetition(&every, now.wall);
                next = Some(next.map_or(next_at, |next| next.min(next_at)));
                let Some(raised) = self.alarms.of_mut(&alarm) else { continue };
                let Some(due_at) = due_at.map(Timestamp::millis) else { continue };
                if raised.repeated.insert(channel.clone(), due_at) != Some(due_at) {
                    self.tell_alarm(&alarm, Some((channel, due_at)), now);
                }
            }
        }
        self.alarms.repeat_look_at = next;
    }

    fn tracked_of(&self, uid: &str) -> Option<Arc<Tracked>> {
        self.uids.get(uid).and_then(|index| self.policies.get(index)).cloned()
    }

    fn channels_of_alarm(&self, alarm: &Alarm) -> Vec<Box<str>> {
        match alarm.event {
            Event::Stale | Event::Held => {
                let kind = if alarm.event == Event::Stale { Kind::Creation } else { Kind::Deletion };
                let entry = self.tracked_of(&alarm.subject).and_then(|tracked| tracked.entry.clone());
                entry.map(|entry| self.channels_of(&entry, alarm.event, Some(kind))).unwrap_or_default()
            }
            Event::Problem => self.channels_of_problem(&alarm.subject),
            _ => self.default_channels(alarm.event),
        }
    }

    /// Tells every channel the first time, or one again.
    fn tell_alarm(&mut self, alarm: &Alarm, again: Option<(Box<str>, i64)>, now: Moment) {
        match alarm.event {
            Event::Stale | Event::Held => {
                if let Some(tracked) = self.tracked_of(&alarm.subject) {
                    self.tell_alarm_of_policy(&tracked, alarm, again, now);
                }
            }
            Event::Problem => {
                let roster = self.roster.clone();
                let of_file =
                    |problem: &&Problem| problem.is_error() && *problem.file.to_string_lossy() == *alarm.subject;
                let problems: Vec<&Problem> = roster.problems.iter().filter(of_file).collect();
                let telling = problem_telling(&alarm.subject, &problems);
                self.owe_alarm(alarm, telling, None, again, now);
            }
            _ => {
                let telling = self.clock_telling();
                self.owe_alarm(alarm, telling, None, again, now);
            }
        }
    }

    fn tell_alarm_of_policy(&mut self, tracked: &Tracked, alarm: &Alarm, again: Option<(Box<str>, i64)>, now: Moment) {
        let Some(entry) = tracked.entry.clone() else { return };
        let telling = match alarm.event {
            Event::Held => {
                let said = "deletion is still held until a person has looked";
                let number = tracked.held().map(|held| held.number);
                let what = "a guard stopped a deletion, and nobody has answered yet";
                let mut telling = Telling::of(Event::Held, &tracked.name, said, what);
                self.add_state::<Deletion>(tracked, &entry, &mut telling, now);
                telling.facts.look = Some(match number {
                    Some(number) => format!("snapkeep deletions show {number}"),
                    None => "snapkeep deletions list".to_string(),
                });
                telling
            }
            _ => {
                let ms = entry.policy.creation.as_ref().map_or(0, |rule| rule.stale_after.millis());
                let good_at = tracked.last_good.as_ref().and_then(|run| run.ended_at);
                let ago_ms = now.wall.since(good_at.unwrap_or(tracked.adopted_at)).max(0);
                let said = format!("no good snapshot for {}", format_millis(ago_ms - ago_ms % 60_000));
                let what = format!("there should be one within {}", format_millis(ms));
                let mut telling = Telling::of(Event::Stale, &tracked.name, &said, what);
                self.add_state::<Creation>(tracked, &entry, &mut telling, now);
                telling.facts.snapshot = None;
                telling.facts.why = Some(match &tracked.creation.latest {
                    None => "no run has begun yet".to_string(),
                    Some(run) => match (run.message(), run.blame()) {
                        (Some(message), Some(blame)) => format!("the latest run: {message}: {blame}"),
                        (Some(message), None) => format!("the latest run: {message}"),
                        (None, _) => format!("the run of {} is not over", run.trigger_at),
                    },
                });
                telling
            }
        };
        self.owe_alarm(alarm, telling, Some(tracked), again, now);
    }

    fn owe_alarm(
        &mut self,
        alarm: &Alarm,
        telling: Telling,
        tracked: Option<&Tracked>,
        again: Option<(Box<str>, i64)>,
        now: Moment,
    ) {
        let (channels, key) = match again {
            // The first time every channel is told, and the key says nothing of repetitions.
            None => (self.channels_of_alarm(alarm), alarm.key()),
            // By when it is due, not by its number: that is another where the channel's file says another span.
            Some((channel, due_at)) => (vec![channel], format!("{}-{due_at}", alarm.key())),
        };
        if let Some(raised) = self.alarms.of_mut(alarm) {
            raised.told.extend(channels.iter().cloned());
        }
        let about = match tracked {
            Some(tracked) => About::of_policy(key, tracked),
            None => About::of_daemon(key),
        };
        self.owe(&channels, &about, &telling, now);
    }

    /// Compares the problems of all files with what was told of them.
    pub(super) fn look_at_problems(&mut self, now: Moment) {
        let roster = self.roster.clone();
        let mut by_file: BTreeMap<String, Vec<&Problem>> = BTreeMap::new();
        for problem in roster.problems.iter().filter(|problem| problem.is_error()) {
            by_file.entry(problem.file.to_string_lossy().into_owned()).or_default().push(problem);
        }
        let told: BTreeSet<Box<str>> = self
            .alarms
            .raised
            .keys()
            .filter(|(event, _)| *event == Event::Problem)
            .map(|(_, file)| file.clone())
            .collect();
        for file in told.iter().filter(|file| !by_file.contains_key(&***file)) {
            self.clear(Event::Problem, file);
        }
        for (file, problems) in by_file {
            if let Some(alarm) = self.raise(Event::Problem, &file, now.wall) {
                let telling = problem_telling(&file, &problems);
                self.owe_alarm(&alarm, telling, None, None, now);
            }
        }
    }

    /// Returns who is told of a bad file: the default channels, and where it is a policy's that is in force, its own.
    fn channels_of_problem(&self, file: &str) -> Vec<Box<str>> {
        let mut channels = self.default_channels(Event::Problem);
        let path = std::path::Path::new(file);
        let entry = path.file_stem().and_then(|stem| self.roster.policies.get(&*stem.to_string_lossy()));
        if let Some(entry) = entry.filter(|entry| entry.is_of(path)) {
            let own = self.channels_of(entry, Event::Problem, None);
            let new: Vec<Box<str>> = own.into_iter().filter(|channel| !channels.contains(channel)).collect();
            channels.extend(new);
        }
        channels
    }
}

/// What is wrong is told by its messages; the lines they speak of may hold what not everybody should read.
fn problem_telling(file: &str, problems: &[&Problem]) -> Telling {
    let first = problems.first();
    let place =
        first.and_then(|problem| problem.place.as_ref()).map(|place| format!(":{}:{}", place.line, place.column));
    let message = first.map_or("is not accepted", |problem| &*problem.message);
    let more = match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let what = format!("{file}{}: {message}{more}", place.unwrap_or_default());
    let mut telling = Telling::of_daemon(Event::Problem, &format!("{file} is not accepted"), what);
    telling.facts.why = first.and_then(|problem| problem.hint.as_ref()).map(|hint| format!("hint: {hint}"));
    telling.facts.next = Some("what was read before stays in force until the file is mended".into());
    telling.facts.look = Some("snapkeep check".into());
    telling
}
