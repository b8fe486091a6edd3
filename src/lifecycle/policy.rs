//! A policy as the decisions see it: valid by construction, made by `config` from what people
//! wrote.

use std::fmt;
use std::sync::Arc;

use super::date_format::DateFormat;
use super::keep_rules::KeepRules;
use super::notice::Event;
use super::schedule::Schedule;
use super::time::Span;

/// Identifies one version of what was written: a hash of the policy's text and of the repository's.
/// An identical rewrite has the same revision and is no edit (S19).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub Arc<str>);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to snapshot, when, what to keep, whom to tell. Its parts are shared: among thousands of
/// policies most say the same thing in most places.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The file's stem.
    pub name: Arc<str>,
    /// The version of the text this was made from.
    pub revision: Revision,
    /// `uid` in the file: keeps the identity over a rename (S23).
    pub uid: Option<Arc<str>>,
    /// What people say it is for.
    pub description: Option<Arc<str>>,
    /// Whether triggers run at all.
    pub enabled: bool,
    /// Without it nothing is made.
    pub creation: Option<Arc<CreationRule>>,
    /// Without it nothing is ever deleted.
    pub deletion: Option<Arc<DeletionRule>>,
    /// The repository's name.
    pub repository: Arc<str>,
    /// How the trigger's date is written in names.
    pub date_format: Arc<DateFormat>,
    /// Labels for every snapshot, beside our stamp, by key. A map for the usual one or two takes the
    /// room of eleven.
    pub metadata: Arc<[(Box<str>, Box<str>)]>,
    /// Whom to tell what.
    pub notification: Arc<Notification>,
}

/// When and how snapshots are made.
#[derive(Clone, Debug, PartialEq)]
pub struct CreationRule {
    /// When.
    pub pace: Pace,
    /// Whether a snapshot with unreadable parts counts as made.
    pub partial: bool,
    /// People are told when there was no good snapshot for so long. Twice the longest gap of the schedule unless
    /// given.
    pub stale_after: Span,
}

/// When and what is deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletionRule {
    /// When.
    pub pace: Pace,
    /// What to keep.
    pub condition: Condition,
    /// What stops a deletion.
    pub guards: Guards,
}

impl DeletionRule {
    /// Returns the `min_age` that is to be locked: in compliance mode it can only be lengthened (G13).
    pub fn locked_min_age(&self) -> Option<&Span> {
        self.condition.min_age().filter(|_| self.guards.compliance)
    }
}

/// What a policy says about the guards of its deletion. What is not here cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// A plan that deletes more than this share of the policy's snapshots is held, in percent; 25 unless
    /// given (G6, G11).
    pub brake_percent: u8,
    /// What is condemned goes at the earliest this long after (G7).
    pub grace: Option<Span>,
    /// So many deletions an hour in one repository (G14).
    pub rate: Option<u32>,
    /// Whether `min_age` can only be lengthened (G13).
    pub compliance: bool,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards { brake_percent: 25, grace: None, rate: None, compliance: false }
    }
}

/// What both workflows have: a schedule, and how hard to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// When to run, spread included.
    pub schedule: Schedule,
    /// The whole run's limit, so that every wait ends. 24 h unless given.
    pub time_limit: Span,
    /// What to do about triggers that passed while nobody was there (S2).
    pub catch_up: CatchUp,
    /// What to do with a trigger that meets a run in flight (S6).
    pub on_overlap: OnOverlap,
    /// How many further attempts after the first. 3 unless given.
    pub retry_count: u32,
}

/// What becomes of missed triggers (S1, S2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// The latest one runs once; with a bound, only if it is not older than that.
    Once {
        /// `catch_up_within`.
        within: Option<Span>,
    },
    /// They are counted and shown, nothing more.
    Never,
}

/// What becomes of a trigger that meets a run in flight (S6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOverlap {
    /// It is consumed and recorded as skipped.
    Skip,
    /// The newest such trigger runs when the run in flight has settled.
    QueueOne,
}

/// What to keep. Valid by construction: `max_count >= min_count >= 1`, `max_age >= min_age`, and at
/// least one of `max_age`, `max_count` and keep rules (G10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    max_age: Option<Span>,
    max_count: Option<u32>,
    min_count: u32,
    min_age: Option<Span>,
    /// Shared by the runs that carry it with them.
    keep: Option<Arc<KeepRules>>,
}

/// All that a condition may say, as far as it was said.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Snapshots strictly older than this are old.
    pub max_age: Option<Span>,
    /// At most so many good snapshots stay.
    pub max_count: Option<u32>,
    /// So many good snapshots stay whatever their age.
    pub min_count: Option<u32>,
    /// Snapshots younger than this stay whatever else is said.
    pub min_age: Option<Span>,
    /// Which of the others stay.
    pub keep: Option<KeepRules>,
}

/// Why a condition means nothing. Completes "failed to accept the condition".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    /// Nothing would ever be deleted.
    #[error("none of max_age, max_count and keep is given")]
    Nothing,
    /// Zero kept is not a condition (G10).
    #[error("max_count is zero")]
    MaxCountZero,
    /// Zero kept is not a condition (G10).
    #[error("min_count is zero")]
    MinCountZero,
    /// They contradict each other.
    #[error("min_count is larger than max_count")]
    MinAboveMax,
    /// They contradict each other.
    #[error("min_age is longer than max_age")]
    MinAgeAboveMaxAge,
}

impl Condition {
    /// Accepts a condition of ages and counts that makes sense; `min_count` is 1 unless given.
    pub fn new(
        max_age: Option<Span>,
        max_count: Option<u32>,
        min_count: Option<u32>,
    ) -> Result<Condition, BadCondition> {
        Condition::of(Limits { max_age, max_count, min_count, ..Limits::default() })
    }

    /// Accepts a condition that makes sense; `min_count` is 1 unless given.
    pub fn of(limits: Limits) -> Result<Condition, BadCondition> {
        let Limits { max_age, max_count, min_count, min_age, keep } = limits;
        let min_count = min_count.unwrap_or(1);
        if max_age.is_none() && max_count.is_none() && keep.is_none() {
            return Err(BadCondition::Nothing);
        }
        if max_count == Some(0) {
            return Err(BadCondition::MaxCountZero);
        }
        if min_count == 0 {
            return Err(BadCondition::MinCountZero);
        }
        if max_count.is_some_and(|max_count| min_count > max_count) {
            return Err(BadCondition::MinAboveMax);
        }
        if let (Some(min_age), Some(max_age)) = (&min_age, &max_age)
            && min_age.millis() > max_age.millis()
        {
            return Err(BadCondition::MinAgeAboveMaxAge);
        }
        Ok(Condition { max_age, max_count, min_count, min_age, keep: keep.map(Arc::new) })
    }

    /// Snapshots strictly older than this are old.
    pub fn max_age(&self) -> Option<&Span> {
        self.max_age.as_ref()
    }

    /// At most so many good snapshots stay.
    pub fn max_count(&self) -> Option<u32> {
        self.max_count
    }

    /// So many good snapshots stay whatever their age. At least 1.
    pub fn min_count(&self) -> u32 {
        self.min_count
    }

    /// Snapshots younger than this stay whatever else is said.
    pub fn min_age(&self) -> Option<&Span> {
        self.min_age.as_ref()
    }

    /// Returns the same with a `min_age` of at least so long. That may be longer than `max_age`: what is
    /// younger stays all the same.
    pub fn locked(&self, lock: Option<&Span>) -> Condition {
        let longer = |lock: &&Span| self.min_age.as_ref().is_none_or(|own| own.millis() < lock.millis());
        let min_age = lock.filter(longer).or(self.min_age.as_ref()).cloned();
        Condition { min_age, ..self.clone() }
    }

    /// Where there are any, what none of these rules keeps goes.
    pub fn keep(&self) -> Option<&KeepRules> {
        self.keep.as_deref()
    }
}

/// As it is written, on one line: `max_age 30d, max_count 10, min_count 1, keep daily 7 weekly 4`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(max_age) = &self.max_age {
            write!(f, "max_age {max_age}, ")?;
        }
        if let Some(max_count) = self.max_count {
            write!(f, "max_count {max_count}, ")?;
        }
        write!(f, "min_count {}", self.min_count)?;
        if let Some(min_age) = &self.min_age {
            write!(f, ", min_age {min_age}")?;
        }
        let Some(keep) = &self.keep else { return Ok(()) };
        write!(f, ", keep")?;
        for (every, count) in keep.counts() {
            write!(f, " {} {count}", every.word())?;
        }
        keep.within().map_or(Ok(()), |within| write!(f, " within {within}"))
    }
}

/// Whom to tell what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// Everybody who is told; none means nobody is.
    pub channels: Vec<Told>,
}

/// A channel, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The channel's name.
    pub channel: Box<str>,
    /// Of what.
    pub conditions: Conditions,
}

/// A set of events. What goes wrong is in it unless switched off: silence is the commonest complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions(u16);

impl Default for Conditions {
    fn default() -> Conditions {
        let usual = |event: &Event| !matches!(event, Event::Creation | Event::Deletion);
        Event::CONDITIONS.into_iter().filter(usual).fold(Conditions::NONE, |set, event| set.with(event, true))
    }
}

impl Conditions {
    /// Nothing is told.
    pub const NONE: Conditions = Conditions(0);

    fn bit(event: Event) -> u16 {
        Event::CONDITIONS.into_iter().position(|known| known == event).map_or(0, |place| 1 << place)
    }

    /// Whether this is told.
    pub fn has(self, event: Event) -> bool {
        self.0 & Conditions::bit(event) != 0
    }

    /// Returns the same with this told, or not.
    #[must_use]
    pub fn with(self, event: Event, is_told: bool) -> Conditions {
        let bit = Conditions::bit(event);
        Conditions(if is_told { self.0 | bit } else { self.0 & !bit })
    }
}

/// What was said of a policy by command, beside what its file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Nothing: it is enabled as its file says.
    #[default]
    AsWritten,
    /// It runs although its file says that it does not.
    Started,
    /// It does not run although its file says that it does.
    Stopped,
}

impl Switch {
    /// Returns what says that a policy is enabled, or not, whose file says `written`.
    pub fn to(enabled: bool, written: bool) -> Switch {
        match (enabled, written) {
            (true, true) | (false, false) => Switch::AsWritten,
            (true, false) => Switch::Started,
            (false, true) => Switch::Stopped,
        }
    }

    /// Whether a policy is enabled whose file says `written`.
    pub fn is_enabled(self, written: bool) -> bool {
        match self {
            Switch::AsWritten => written,
            Switch::Started => true,
            Switch::Stopped => false,
        }
    }
}

impl Policy {
    /// A name is `[a-z0-9][a-z0-9._-]{0,127}` without `..`: it begins every snapshot's name.
    pub fn is_name(name: &str) -> bool {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        first
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && name.len() <= 128
            && !name.contains("..")
    }
}
