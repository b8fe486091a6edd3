//! Which settled runs are worth telling whom, and in what words.

use super::time::{Span, Timestamp};
use super::workflow::{Ending, Kind, Outcome};

/// What a notice tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A run began. Only pings say so.
    Start,
    /// A snapshot was made.
    Creation,
    /// Snapshots were deleted.
    Deletion,
    /// A run failed.
    Failure,
    /// A run took longer than its time limit.
    TimeLimitExceeded,
    /// The first run that succeeded after one that did not.
    Recovered,
    /// There was no good snapshot for too long.
    Stale,
    /// A guard stopped a deletion.
    Held,
    /// Three triggers in a row met a run in flight.
    Skipped,
    /// Triggers passed while nobody was there.
    Missed,
    /// What people wrote is not accepted.
    Problem,
    /// The clock is not believed.
    Clock,
    /// Another channel did not take a notice.
    Undeliverable,
    /// A person tries a channel.
    Test,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 14] = [
        Event::Start,
        Event::Creation,
        Event::Deletion,
        Event::Failure,
        Event::TimeLimitExceeded,
        Event::Recovered,
        Event::Stale,
        Event::Held,
        Event::Skipped,
        Event::Missed,
        Event::Problem,
        Event::Clock,
        Event::Undeliverable,
        Event::Test,
    ];

    /// Those that people may want to be told of or not.
    pub const CONDITIONS: [Event; 12] = [
        Event::Creation,
        Event::Deletion,
        Event::Failure,
        Event::TimeLimitExceeded,
        Event::Recovered,
        Event::Stale,
        Event::Held,
        Event::Skipped,
        Event::Missed,
        Event::Problem,
        Event::Clock,
        Event::Undeliverable,
    ];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Event::Start => "start",
            Event::Creation => "creation",
            Event::Deletion => "deletion",
            Event::Failure => "failure",
            Event::TimeLimitExceeded => "time_limit_exceeded",
            Event::Recovered => "recovered",
            Event::Stale => "stale",
            Event::Held => "held",
            Event::Skipped => "skipped",
            Event::Missed => "missed",
            Event::Problem => "problem",
            Event::Clock => "clock",
            Event::Undeliverable => "undeliverable",
            Event::Test => "test",
        }
    }

    /// Returns the event of a word.
    pub fn of(word: &str) -> Option<Event> {
        Event::ALL.into_iter().find(|event| event.word() == word)
    }

    /// Returns how much it asks of people.
    pub fn severity(self) -> Severity {
        match self {
            Event::Start | Event::Creation | Event::Deletion | Event::Recovered | Event::Test => Severity::Info,
            Event::Held | Event::Skipped | Event::Missed | Event::Problem => Severity::Warning,
            Event::Failure | Event::TimeLimitExceeded | Event::Stale | Event::Clock | Event::Undeliverable => {
                Severity::Error
            }
        }
    }
}

/// How much a notice asks of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing.
    Info,
    /// To act soon, maybe.
    Warning,
    /// To act.
    Error,
}

impl Severity {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What a notice says, each thing by itself, so that a channel can show it in its own way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Which workflow it is about.
    pub workflow: Option<Box<str>>,
    /// Which snapshot was made, or was to be.
    pub snapshot: Option<Box<str>>,
    /// What happened.
    pub what: String,
    /// Why.
    pub why: Option<String>,
    /// What the policy keeps at present.
    pub keeps: Option<String>,
    /// What comes next, and when.
    pub next: Option<String>,
    /// The command to look closer.
    pub look: Option<String>,
}

impl Facts {
    /// Returns them in lines with their names, as plain text shows them.
    pub fn lines(&self) -> Vec<(&'static str, &str)> {
        let Facts { workflow, snapshot, what, why, keeps, next, look } = self;
        let all = [
            ("workflow", workflow.as_deref()),
            ("snapshot", snapshot.as_deref()),
            ("what", Some(what.as_str())),
            ("why", why.as_deref()),
            ("keeps", keeps.as_deref()),
            ("next", next.as_deref()),
            ("look", look.as_deref()),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Which condition it falls under.
    pub event: Event,
    /// In a line.
    pub subject: String,
    /// In full.
    pub facts: Facts,
    /// Whether people want to hear it. Who waits for signs of life hears also what is no news.
    pub is_news: bool,
}

impl Telling {
    /// Returns what is told of a policy, as far as its name and an event say it.
    pub fn of(event: Event, policy: &str, said: &str, what: impl Into<String>) -> Telling {
        let look = Some(format!("snapkeep explain {policy}"));
        Telling {
            event,
            subject: format!("{policy}: {said}"),
            facts: Facts { what: what.into(), look, ..Facts::default() },
            is_news: true,
        }
    }

    /// Returns what is told of the daemon.
    pub fn of_daemon(event: Event, subject: &str, what: impl Into<String>) -> Telling {
        let facts = Facts { what: what.into(), ..Facts::default() };
        Telling { event, subject: subject.into(), facts, is_news: true }
    }
}

/// Returns what a settled run is worth telling: at most one telling of what came of it, and another where it is
/// the first that succeeded after one that did not. Never one an attempt.
pub fn settled(policy: &str, kind: Kind, ending: &Ending, was_failing: bool) -> Vec<Telling> {
    let (event, said) = match (ending.outcome, kind) {
        (Outcome::Succeeded, Kind::Creation) => (Some(Event::Creation), "succeeded"),
        (Outcome::Succeeded, Kind::Deletion) => (Some(Event::Deletion), "succeeded"),
        (Outcome::Failed, _) => (Some(Event::Failure), "failed"),
        (Outcome::Held, _) => (Some(Event::Held), "is held until a person has looked"),
        (Outcome::TimeLimitExceeded, _) => (Some(Event::TimeLimitExceeded), "exceeded its time limit"),
        // Whoever removed or stopped the policy knows.
        (Outcome::Cancelled, _) => (None, "was called off"),
    };
    let telling = |event, said: &str| {
        let mut telling = Telling::of(event, policy, &format!("{} {said}", kind.word()), ending.message.clone());
        telling.facts.workflow = Some(kind.word().into());
        telling.facts.why.clone_from(&ending.cause);
        // A deletion that found nothing to do is no news.
        telling.is_news = event != Event::Deletion || ending.message != NOTHING_TO_DELETE;
        telling
    };
    let recovered = ending.outcome == Outcome::Succeeded && was_failing;
    let mut tellings: Vec<Telling> = event.map(|event| telling(event, said)).into_iter().collect();
    tellings.extend(recovered.then(|| telling(Event::Recovered, "works again")));
    tellings
}

/// What a deletion says that had nothing to do.
pub const NOTHING_TO_DELETE: &str = "nothing to delete";

/// Something that goes on until it is over, and is told again by channels that want it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What.
    pub event: Event,
    /// Of what: a policy's uid, a file, the clock.
    pub subject: Box<str>,
    /// Since when.
    pub since: Timestamp,
}

impl Alarm {
    /// Returns under which key it is told: the same for as long as it goes on.
    pub fn key(&self) -> String {
        format!("{}-{}-{}", self.subject, self.event.word(), self.since.millis())
    }

    /// Returns when the latest repetition was due by `now`, where any was, and when the next one will be.
    pub fn repetition(&self, every: &Span, now: Timestamp) -> (Option<Timestamp>, Timestamp) {
        let every_ms = every.millis().max(1);
        let number = now.since(self.since).max(0) / every_ms;
        let at = |number: i64| self.since.plus(number.saturating_mul(every_ms));
        ((number > 0).then(|| at(number)), at(number + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_told_under_its_own_condition_and_none_twice() {
        for (outcome, kind, event) in [
            (Outcome::Succeeded, Kind::Creation, Some(Event::Creation)),
            (Outcome::Succeeded, Kind::Deletion, Some(Event::Deletion)),
            (Outcome::Failed, Kind::Creation, Some(Event::Failure)),
            (Outcome::Failed, Kind::Deletion, Some(Event::Failure)),
            (Outcome::Held, Kind::Deletion, Some(Event::Held)),
            (Outcome::TimeLimitExceeded, Kind::Creation, Some(Event::TimeLimitExceeded)),
            (Outcome::TimeLimitExceeded, Kind::Deletion, Some(Event::TimeLimitExceeded)),
            (Outcome::Cancelled, Kind::Deletion, None),
        ] {
            let ending = Ending::new(outcome, "what happened").because("why it did");
            for was_failing in [false, true] {
                let told = settled("db", kind, &ending, was_failing);
                let recovered = was_failing && outcome == Outcome::Succeeded;
                let expected: Vec<Event> = event.into_iter().chain(recovered.then_some(Event::Recovered)).collect();
                assert_eq!(told.iter().map(|telling| telling.event).collect::<Vec<_>>(), expected);
                for telling in told {
                    assert_eq!(telling.facts.what, "what happened");
                    assert_eq!(telling.facts.why.as_deref(), Some("why it did"));
                    assert!(telling.subject.starts_with("db: "), "{}", telling.subject);
                }
            }
        }
    }

    #[test]
    fn a_deletion_that_found_nothing_is_no_news() {
        let ending = Ending::new(Outcome::Succeeded, NOTHING_TO_DELETE);
        let news = |was_failing| {
            let told = settled("db", Kind::Deletion, &ending, was_failing).into_iter();
            told.map(|telling| (telling.event, telling.is_news)).collect::<Vec<_>>()
        };
        assert_eq!(news(false), [(Event::Deletion, false)]);
        assert_eq!(news(true), [(Event::Deletion, false), (Event::Recovered, true)]);
    }

    #[test]
    fn what_goes_on_is_repeated_at_even_distances_whenever_it_is_asked() {
        let alarm = Alarm { event: Event::Stale, subject: "u".into(), since: Timestamp::from_millis(1_000) };
        let every = Span::from_millis(100);
        let at = |now| alarm.repetition(&every, Timestamp::from_millis(now));
        assert_eq!(at(1_000), (None, Timestamp::from_millis(1_100)));
        assert_eq!(at(1_099), (None, Timestamp::from_millis(1_100)));
        let due = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(at(1_100), (due(1_100), Timestamp::from_millis(1_200)));
        assert_eq!(at(1_350), (due(1_300), Timestamp::from_millis(1_400)));
        assert_eq!(at(0), (None, Timestamp::from_millis(1_100)));
    }

    #[test]
    fn what_goes_wrong_is_told_unless_it_is_switched_off() {
        let usual = super::super::policy::Conditions::default();
        let told: Vec<&str> =
            Event::CONDITIONS.into_iter().filter(|event| usual.has(*event)).map(Event::word).collect();
        assert_eq!(
            told,
            [
                "failure",
                "time_limit_exceeded",
                "recovered",
                "stale",
                "held",
                "skipped",
                "missed",
                "problem",
                "clock",
                "undeliverable"
            ]
        );
        assert!(!usual.with(Event::Stale, false).has(Event::Stale));
        assert!(!usual.has(Event::Start) && !usual.has(Event::Test));
    }
}
