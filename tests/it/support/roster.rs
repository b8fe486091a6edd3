//! Rosters made by hand: policies without files, on a driver that is never asked because the test
//! answers in its place.

use std::path::Path;
use std::sync::Arc;

use snapkeep::config::settings::{Defaults, Settings};
use snapkeep::drivers::{Abilities, Call, Created, Driver, Found, Order, Reply};
use snapkeep::lifecycle::channel::{self, LogLevel, Rules};
use snapkeep::lifecycle::date_format::DateFormat;
use snapkeep::lifecycle::notice::Event;
use snapkeep::lifecycle::plan::Target;
use snapkeep::lifecycle::policy::{
    CatchUp, Condition, Conditions, CreationRule, DeletionRule, Guards, Limits, Notification, OnOverlap, Pace, Policy,
    Revision, Told,
};
use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::snapshot::{Listing, SnapshotName};
use snapkeep::lifecycle::time::Span;
use snapkeep::lifecycle::workflow::Fault;
use snapkeep::lifecycle::zone::Zone;
use snapkeep::notify::log::Log;
use snapkeep::roster::{Channel, Entry, Repository, Roster};

/// What a policy says, in the few words a test needs.
#[derive(Clone, Debug)]
pub struct PolicyText {
    pub name: String,
    pub creation: String,
    pub deletion: Option<String>,
    pub max_age: Option<String>,
    pub max_count: Option<u32>,
    pub min_count: u32,
    pub min_age: Option<String>,
    pub time_limit: String,
    pub repository: String,
    pub catch_up: CatchUp,
    pub on_overlap: OnOverlap,
    pub enabled: bool,
    pub partial: bool,
    pub uid: Option<String>,
    /// How many creations and deletions its repository takes at once.
    pub effects_max: usize,
    /// Tell of snapshots made and deleted too.
    pub tells_all: bool,
    pub conditions: Conditions,
    pub stale_after: Option<String>,
    pub channels: Vec<String>,
    pub description: Option<String>,
    pub guards: Guards,
}

/// A schedule, `max_age`, `max_count`, `min_count`.
pub type DeletionText<'a> = (&'a str, Option<&'a str>, Option<u32>, u32);

impl PolicyText {
    pub fn new(name: &str, creation: &str, deletion: Option<DeletionText<'_>>) -> PolicyText {
        PolicyText {
            name: name.into(),
            creation: creation.into(),
            deletion: deletion.map(|deletion| deletion.0.into()),
            max_age: deletion.and_then(|deletion| deletion.1).map(Into::into),
            max_count: deletion.and_then(|deletion| deletion.2),
            min_count: deletion.map_or(1, |deletion| deletion.3),
            min_age: None,
            time_limit: "24h".into(),
            repository: "simulated".into(),
            catch_up: CatchUp::Once { within: None },
            on_overlap: OnOverlap::Skip,
            enabled: true,
            partial: false,
            uid: None,
            effects_max: 2,
            tells_all: false,
            conditions: Conditions::default(),
            stale_after: None,
            channels: vec!["log".into()],
            description: None,
            guards: Guards::default(),
        }
    }

    pub fn guards(mut self, guards: Guards) -> PolicyText {
        self.guards = guards;
        self
    }

    pub fn min_age(mut self, min_age: &str) -> PolicyText {
        self.min_age = Some(min_age.into());
        self
    }

    /// The same in compliance mode.
    pub fn locked(mut self) -> PolicyText {
        self.guards.compliance = true;
        self
    }

    /// The same under another name.
    pub fn named(&self, name: &str) -> PolicyText {
        PolicyText { name: name.into(), ..self.clone() }
    }

    pub fn uid(mut self, uid: &str) -> PolicyText {
        self.uid = Some(uid.into());
        self
    }

    pub fn effects_max(mut self, effects_max: usize) -> PolicyText {
        self.effects_max = effects_max;
        self
    }

    pub fn repository(mut self, repository: &str) -> PolicyText {
        self.repository = repository.into();
        self
    }

    pub fn catch_up(mut self, catch_up: CatchUp) -> PolicyText {
        self.catch_up = catch_up;
        self
    }

    pub fn queue_one(mut self) -> PolicyText {
        self.on_overlap = OnOverlap::QueueOne;
        self
    }

    pub fn tells_all(mut self) -> PolicyText {
        self.tells_all = true;
        self
    }

    pub fn channels(mut self, channels: &[&str]) -> PolicyText {
        self.channels = channels.iter().map(|channel| (*channel).into()).collect();
        self
    }

    pub fn time_limit(mut self, time_limit: &str) -> PolicyText {
        self.time_limit = time_limit.into();
        self
    }

    fn pace(&self, expression: &str) -> Pace {
        Pace {
            schedule: Schedule::cron(expression, Zone::utc()).expect("a schedule"),
            time_limit: Span::parse(&self.time_limit).expect("a span"),
            catch_up: self.catch_up.clone(),
            on_overlap: self.on_overlap,
            retry_count: 3,
        }
    }

    fn told(&self, channel: &str) -> Told {
        let all = Event::CONDITIONS.into_iter().fold(Conditions::NONE, |all, event| all.with(event, true));
        let conditions = if self.tells_all { all } else { self.conditions };
        Told { channel: channel.into(), conditions }
    }

    /// What its channels are told.
    pub fn conditions(mut self, told: &[Event]) -> PolicyText {
        self.conditions = told.iter().fold(Conditions::NONE, |set, event| set.with(*event, true));
        self
    }

    pub fn stale_after(mut self, span: &str) -> PolicyText {
        self.stale_after = Some(span.into());
        self
    }

    pub fn policy(&self) -> Policy {
        let max_age = self.max_age.as_deref().map(|age| Span::parse(age).expect("a span"));
        let deletion = self.deletion.as_deref().map(|expression| DeletionRule {
            pace: self.pace(expression),
            condition: Condition::of(Limits {
                max_age,
                max_count: self.max_count,
                min_count: Some(self.min_count.min(self.max_count.unwrap_or(u32::MAX))),
                min_age: self.min_age.as_deref().map(|age| Span::parse(age).expect("a span")),
                keep: None,
            })
            .expect("a condition"),
            guards: self.guards.clone(),
        });
        Policy {
            name: self.name.as_str().into(),
            revision: Revision(format!("{self:?}").into()),
            uid: self.uid.as_deref().map(Into::into),
            description: self.description.as_deref().map(Into::into),
            enabled: self.enabled,
            creation: Some(Arc::new(CreationRule {
                pace: self.pace(&self.creation),
                partial: self.partial,
                // Mostly nothing of it is to be told.
                stale_after: self
                    .stale_after
                    .as_deref()
                    .map_or(Span::from_millis(Span::MILLIS_MAX), |span| Span::parse(span).expect("a span")),
            })),
            deletion: deletion.map(Arc::new),
            repository: self.repository.as_str().into(),
            date_format: Arc::new(DateFormat::compact()),
            metadata: Arc::default(),
            notification: Arc::new(Notification {
                channels: self.channels.iter().map(|channel| self.told(channel)).collect(),
            }),
        }
    }
}

/// Returns the roster of these policies.
pub fn roster(texts: &[PolicyText]) -> Arc<Roster> {
    let settings = Settings::default_in(&Defaults::of_folder(Path::new("/nowhere")));
    let mut roster = Roster::empty(Arc::new(settings));
    roster.channels.insert("log".into(), Arc::new(channel("log")));
    for text in texts {
        let repository = roster
            .repositories
            .entry(text.repository.as_str().into())
            .or_insert_with(|| Arc::new(repository(&text.repository, text.effects_max)))
            .clone();
        let entry = Entry::by_hand(text.policy(), repository, serde_json::Value::Null);
        roster.policies.insert(text.name.as_str().into(), Arc::new(entry));
    }
    Arc::new(roster)
}

/// Lets these channels be told what is about the daemon, and of policies that name nobody.
pub fn default_channels(roster: &mut Roster, channels: &[&str]) {
    let told = |channel: &&str| Told { channel: (*channel).into(), conditions: Conditions::default() };
    let mut settings = (*roster.settings).clone();
    settings.notification = Notification { channels: channels.iter().map(told).collect() };
    roster.settings = Arc::new(settings);
}

fn repository(name: &str, effects_max: usize) -> Repository {
    Repository::by_hand(name, "simulated", Arc::new(Unasked { effects_max }))
}

fn channel(name: &str) -> Channel {
    channel_with(name, Rules::default())
}

/// Returns a channel that may be told as these rules say.
pub fn channel_with(name: &str, rules: Rules) -> Channel {
    Channel {
        name: name.into(),
        settings: channel::Channel { kind: channel::Kind::Log(LogLevel::Warn), rules },
        sender: Arc::new(Log { level: LogLevel::Warn }),
        revision: Revision("".into()),
        origin: Path::new("").into(),
    }
}

/// A driver whose calls the test answers in its place.
#[derive(Debug)]
pub struct Unasked {
    pub effects_max: usize,
}

fn unasked<'a, T: Send + 'a>() -> Reply<'a, T> {
    Box::pin(std::future::ready(Err(Fault::permanent("the test answers in the driver's place"))))
}

impl Driver for Unasked {
    fn abilities(&self) -> Abilities {
        Abilities {
            cancel: true,
            restore: false,
            restore_beside: false,
            verify: false,
            maintain: false,
            label: false,
            effects_max: self.effects_max,
        }
    }

    fn create<'a>(&'a self, _order: &'a Order, _call: &'a Call) -> Reply<'a, Created> {
        unasked()
    }

    fn describe<'a>(&'a self, _name: &'a SnapshotName, _call: &'a Call) -> Reply<'a, Option<Found>> {
        unasked()
    }

    fn list<'a>(&'a self, _call: &'a Call) -> Reply<'a, Listing> {
        unasked()
    }

    fn delete<'a>(&'a self, _target: &'a Target, _call: &'a Call) -> Reply<'a, ()> {
        unasked()
    }
}
