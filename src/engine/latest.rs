//! The latest run of a workflow, as it is shown. There are two for each policy, so it is small: its
//! words are one text, and what follows from the policy is not kept.

use crate::journal::change::RunRecord;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Cause, Ending, Kind, Outcome, Trigger, run_id};

/// The latest run of a workflow, under way or settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The trigger's instant.
    pub trigger_at: Timestamp,
    /// Why it began.
    pub cause: Cause,
    /// When it began.
    pub began_at: Timestamp,
    /// When it settled.
    pub ended_at: Option<Timestamp>,
    /// How, once it has settled.
    pub outcome: Option<Outcome>,
    /// How often the outside was asked.
    pub attempts: u32,
    words: Words,
}

/// A few texts as one. Where the message says the snapshot's name, as most do, it is not kept twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words {
    all: Box<str>,
    /// Where each ends but the last.
    ends: [u32; 3],
}

impl Words {
    /// Stands for the snapshot's name in the message. No text of ours and no name has it.
    const NAME: char = '\u{1}';

    /// `run_id` is empty where it is the usual one; the others where there is nothing to say.
    fn new(run_id: &str, snapshot: &str, message: &str, blame: &str) -> Words {
        let short = match snapshot {
            "" => message.to_string(),
            name => message.replace(name, &Words::NAME.to_string()),
        };
        let message = &*short;
        let end =
            |texts: &[&str]| u32::try_from(texts.iter().map(|text| text.len()).sum::<usize>()).unwrap_or(u32::MAX);
        Words {
            all: [run_id, snapshot, message, blame].concat().into(),
            ends: [end(&[run_id]), end(&[run_id, snapshot]), end(&[run_id, snapshot, message])],
        }
    }

    fn part(&self, number: usize) -> &str {
        let end = |number: usize| self.ends.get(number).map_or(self.all.len(), |end| *end as usize);
        let start = number.checked_sub(1).map_or(0, end);
        self.all.get(start..end(number)).unwrap_or_default()
    }

    fn run_id(&self) -> &str {
        self.part(0)
    }

    fn snapshot(&self) -> &str {
        self.part(1)
    }

    fn message(&self) -> String {
        self.part(2).replace(Words::NAME, self.snapshot())
    }

    fn blame(&self) -> &str {
        self.part(3)
    }
}

impl Latest {
    /// Returns a run that begins now and makes the snapshot named, if it makes one.
    pub fn begin(trigger: Trigger, now: Timestamp, snapshot: Option<&str>) -> Latest {
        Latest {
            trigger_at: trigger.at,
            cause: trigger.cause,
            began_at: now,
            ended_at: None,
            outcome: None,
            attempts: 0,
            words: Words::new("", snapshot.unwrap_or_default(), "", ""),
        }
    }

    /// Returns what a record of the journal says.
    pub fn of(record: &RunRecord) -> Latest {
        let usual = run_id(&record.policy_uid, record.kind, record.trigger_at) == *record.run_id;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Latest {
            trigger_at: record.trigger_at,
            cause: record.cause,
            began_at: record.began_at,
            ended_at: record.ended_at,
            outcome: record.outcome,
            attempts: record.attempts,
            words: Words::new(
                if usual { "" } else { &record.run_id },
                record.snapshot.as_deref().unwrap_or_default(),
                &text(&record.message),
                &text(&record.blame),
            ),
        }
    }

    /// Notes how it ended.
    pub fn settle(&mut self, ending: &Ending, attempts: u32, now: Timestamp) {
        self.ended_at = Some(now);
        self.outcome = Some(ending.outcome);
        self.attempts = attempts;
        let blame = ending.cause.as_deref().unwrap_or_default();
        self.words = Words::new(self.words.run_id(), self.words.snapshot(), &ending.message, blame);
    }

    /// Returns its identity; the policy's and which workflow it is of are not kept here.
    pub fn run_id(&self, policy_uid: &str, kind: Kind) -> String {
        match self.words.run_id() {
            "" => run_id(policy_uid, kind, self.trigger_at),
            own => own.to_string(),
        }
    }

    /// Returns the name of what it made, or is making.
    pub fn snapshot(&self) -> Option<&str> {
        Some(self.words.snapshot()).filter(|name| !name.is_empty())
    }

    /// Returns what happened, once it has settled.
    pub fn message(&self) -> Option<String> {
        self.outcome.map(|_| self.words.message())
    }

    /// Returns why, if something was to blame.
    pub fn blame(&self) -> Option<&str> {
        Some(self.words.blame()).filter(|blame| !blame.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_as_the_journal_has_it() {
        let record = RunRecord {
            run_id: "u-creation-5".into(),
            policy: "db".into(),
            policy_uid: "u".into(),
            kind: Kind::Creation,
            trigger_at: Timestamp::from_millis(5),
            cause: Cause::CatchUp,
            began_at: Timestamp::from_millis(6),
            ended_at: None,
            outcome: None,
            message: None,
            blame: None,
            attempts: 2,
            snapshot: Some("db-1".into()),
        };
        let mut latest = Latest::of(&record);
        let shown = |latest: &Latest| {
            let text = |text: Option<&str>| text.map(str::to_string);
            (latest.run_id("u", Kind::Creation), text(latest.snapshot()), latest.message(), text(latest.blame()))
        };
        assert_eq!(shown(&latest), ("u-creation-5".into(), Some("db-1".into()), None, None));
        let ending = Ending::new(Outcome::Failed, "no luck with db-1").because("the disk");
        latest.settle(&ending, 3, Timestamp::from_millis(9));
        let (message, blame) = (Some("no luck with db-1".into()), Some("the disk".into()));
        assert_eq!(shown(&latest), ("u-creation-5".into(), Some("db-1".into()), message.clone(), blame.clone()));
        let settled = RunRecord {
            run_id: "of another form".into(),
            ended_at: Some(Timestamp::from_millis(9)),
            outcome: Some(Outcome::Failed),
            message: message.clone(),
            blame: blame.clone(),
            attempts: 3,
            snapshot: None,
            ..record
        };
        assert_eq!(shown(&Latest::of(&settled)), ("of another form".into(), None, message, blame));
    }
}
