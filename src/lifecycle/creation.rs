//! The steps of creation (C1–C6): look what became of the name, ask for it, wait for the end.

use super::snapshot::{Presence, SnapshotName};
use super::time::Timestamp;
use super::workflow::{Answer, Ending, Fault, Next, Outcome, Request, Step};

/// Where a creation run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// Before asking, or in doubt: what became of the name (C2)?
    /// The name is fixed before the driver hears it, so asking twice cannot make two snapshots.
    Looking {
        /// The one name of this run.
        name: SnapshotName,
    },
    /// The driver has been asked to make it, or is about to be (C3).
    Asking {
        /// The one name of this run.
        name: SnapshotName,
    },
    /// The repository is making it and does not need us (C4).
    Running {
        /// The one name of this run.
        name: SnapshotName,
    },
}

/// What creation needs to know of its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreationTerms {
    /// Whether a snapshot with unreadable parts counts as made.
    pub partial: bool,
}

impl Creation {
    /// Returns the first step towards the snapshot `name`.
    pub fn first(name: SnapshotName) -> Creation {
        Creation::Looking { name }
    }

    /// Returns the name of what is being made.
    pub fn name(&self) -> &SnapshotName {
        match self {
            Creation::Looking { name } | Creation::Asking { name } | Creation::Running { name } => name,
        }
    }

    /// What a snapshot at rest, or one still at work, makes of the run.
    fn found(self, terms: &CreationTerms, presence: Presence) -> Next<Creation> {
        let name = self.name().clone();
        match presence {
            Presence::Good { message } => {
                let message = message.map_or_else(String::new, |message| format!(": {message}"));
                end(Outcome::Succeeded, format!("created snapshot {name}{message}"))
            }
            Presence::Partial { message } if terms.partial => {
                end(Outcome::Succeeded, format!("created snapshot {name}, partial: {message}"))
            }
            Presence::Partial { message } => {
                let text = format!("snapshot {name} is partial, and the policy does not say `partial = true`");
                Next::End(Ending::new(Outcome::Failed, text).because(message), Vec::new())
            }
            Presence::Failed { message } => {
                let text = format!("snapshot {name} was made and is not usable");
                Next::End(Ending::new(Outcome::Failed, text).because(message), Vec::new())
            }
            Presence::Foreign => {
                let text = format!("failed to create snapshot {name}");
                let cause = "a snapshot of this name exists that this installation did not make";
                Next::End(Ending::new(Outcome::Failed, text).because(cause), Vec::new())
            }
            Presence::Running => match self {
                Creation::Running { name } => Next::Poll(Creation::Running { name }),
                Creation::Looking { name } | Creation::Asking { name } => {
                    Next::Progress(Creation::Running { name }, Vec::new())
                }
            },
            Presence::Absent => match self {
                Creation::Looking { name } => Next::Go(Creation::Asking { name }, Vec::new()),
                Creation::Asking { name } => {
                    // The driver said that it is done, and there is nothing: believe neither.
                    let fault = Fault::transient("the driver reported the end, but the snapshot is not there");
                    Next::Retry(Creation::Looking { name }, fault)
                }
                Creation::Running { name } => {
                    let text = format!("snapshot {name} vanished while it was being made");
                    Next::End(Ending::new(Outcome::Failed, text), Vec::new())
                }
            },
        }
    }
}

fn end(outcome: Outcome, message: String) -> Next<Creation> {
    Next::End(Ending::new(outcome, message), Vec::new())
}

impl Step for Creation {
    type Terms = CreationTerms;

    fn request(&self) -> Request {
        match self {
            Creation::Looking { name } | Creation::Running { name } => Request::Describe(name.clone()),
            Creation::Asking { name } => Request::Create(name.clone()),
        }
    }

    fn next(self, terms: &CreationTerms, answer: Answer, _now: Timestamp) -> Option<Next<Creation>> {
        match (self, answer) {
            (step, Answer::Described(presence)) => Some(step.found(terms, presence)),
            (Creation::Asking { name }, Answer::Accepted) => {
                Some(Next::Progress(Creation::Running { name }, Vec::new()))
            }
            (
                Creation::Looking { .. } | Creation::Asking { .. } | Creation::Running { .. },
                Answer::Lost
                | Answer::Accepted
                | Answer::Cancelled
                | Answer::Listed(_)
                | Answer::Deleted
                | Answer::Refused(_)
                | Answer::TimeUp
                | Answer::Withdrawn(_),
            ) => None,
        }
    }

    fn doubt(self) -> Creation {
        match self {
            // The call may or may not have been made: never straight to asking again (C6).
            Creation::Looking { name } | Creation::Asking { name } => Creation::Looking { name },
            Creation::Running { name } => Creation::Running { name },
        }
    }

    fn watched(&self) -> Option<SnapshotName> {
        match self {
            Creation::Asking { name } | Creation::Running { name } => Some(name.clone()),
            // In doubt something may be at work under this name from an earlier attempt.
            Creation::Looking { name } => Some(name.clone()),
        }
    }

    fn is_at_work(&self) -> bool {
        match self {
            Creation::Running { .. } => true,
            Creation::Looking { .. } | Creation::Asking { .. } => false,
        }
    }

    fn spends_attempt(&self) -> bool {
        match self {
            Creation::Asking { .. } => true,
            Creation::Looking { .. } | Creation::Running { .. } => false,
        }
    }

    fn refusal_counts(&self) -> bool {
        match self {
            Creation::Asking { .. } => true,
            // An unreachable repository is waited for, inside the time limit (C2).
            Creation::Looking { .. } | Creation::Running { .. } => false,
        }
    }

    fn withdraw(&self, _why: &str) -> Option<Ending> {
        // A snapshot that was begun is followed to its end and reported (S20, S22).
        None
    }

    fn deleted(&self) -> u32 {
        0
    }

    fn aim(&self) -> String {
        match self {
            Creation::Looking { name } => format!("look for snapshot {name}"),
            Creation::Asking { name } => format!("create snapshot {name}"),
            Creation::Running { name } => format!("follow snapshot {name}"),
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Creation::Looking { .. } => "CREATION_CONDITION_MET",
            Creation::Asking { .. } | Creation::Running { .. } => "CREATING",
        }
    }
}
