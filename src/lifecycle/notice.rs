//! Which settled runs are worth telling whom, and in what words.

use super::policy::Notification;
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
    /// Which of the policy's conditions it falls under.
    pub event: &'static str,
    /// In a line.
    pub subject: String,
    /// In full.
    pub body: String,
}

/// Returns what a settled run is worth telling, `None` when the policy does not ask for it. Exactly
/// one telling a run, never one an attempt.
pub fn compose(notification: &Notification, policy: &str, kind: Kind, ending: &Ending) -> Option<Telling> {
    let (event, wanted, verb) = match (ending.outcome, kind) {
        (Outcome::Succeeded, Kind::Creation) => ("creation", notification.creation, "succeeded"),
        // A deletion that found nothing to do is no news.
        (Outcome::Succeeded, Kind::Deletion) => {
            ("deletion", notification.deletion && ending.message != NOTHING_TO_DELETE, "succeeded")
        }
        (Outcome::Failed, _) => ("failure", notification.failure, "failed"),
        (Outcome::Held, _) => ("held", notification.failure, "is held until a person has looked"),
        (Outcome::TimeLimitExceeded, _) => {
            ("time_limit_exceeded", notification.time_limit_exceeded, "exceeded its time limit")
        }
        // Whoever removed or stopped the policy knows.
        (Outcome::Cancelled, _) => return None,
    };
    if !wanted || notification.channels.is_empty() {
        return None;
    }
    let subject = format!("{policy}: {} {verb}", kind.word());
    let mut body = format!("policy: {policy}\nworkflow: {}\nwhat: {}", kind.word(), ending.message);
    if let Some(cause) = &ending.cause {
        body.push_str(&format!("\nwhy: {cause}"));
    }
    Some(Telling { event, subject, body })
}

/// What a deletion says that had nothing to do.
pub const NOTHING_TO_DELETE: &str = "nothing to delete";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_told_under_its_own_condition_and_none_twice() {
        let all = Notification {
            channels: vec!["log".into()],
            creation: true,
            deletion: true,
            failure: true,
            time_limit_exceeded: true,
        };
        let none = Notification {
            creation: false,
            deletion: false,
            failure: false,
            time_limit_exceeded: false,
            ..all.clone()
        };
        for (outcome, kind, event) in [
            (Outcome::Succeeded, Kind::Creation, Some("creation")),
            (Outcome::Succeeded, Kind::Deletion, Some("deletion")),
            (Outcome::Failed, Kind::Creation, Some("failure")),
            (Outcome::Failed, Kind::Deletion, Some("failure")),
            (Outcome::Held, Kind::Deletion, Some("held")),
            (Outcome::TimeLimitExceeded, Kind::Creation, Some("time_limit_exceeded")),
            (Outcome::Cancelled, Kind::Deletion, None),
        ] {
            let ending = Ending::new(outcome, "what happened").because("why it did");
            let told = compose(&all, "db", kind, &ending);
            assert_eq!(told.as_ref().map(|telling| telling.event), event);
            if let Some(telling) = told {
                assert!(telling.body.contains("what happened") && telling.body.contains("why it did"));
            }
            assert_eq!(compose(&none, "db", kind, &ending), None);
            let nobody = Notification { channels: Vec::new(), ..all.clone() };
            assert_eq!(compose(&nobody, "db", kind, &ending), None);
        }
    }

    #[test]
    fn a_deletion_that_found_nothing_is_no_news() {
        let all = Notification { channels: vec!["log".into()], deletion: true, ..Notification::default() };
        let ending = Ending::new(Outcome::Succeeded, NOTHING_TO_DELETE);
        assert_eq!(compose(&all, "db", Kind::Deletion, &ending), None);
    }
}
