//! Which settled runs are worth telling whom, and in what words.

use super::policy::Notification;
use super::workflow::{Ending, Kind, Outcome};

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
