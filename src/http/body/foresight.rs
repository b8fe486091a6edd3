//! What is said of what will be.

use serde::{Deserialize, Serialize};

use super::{ProblemBody, Word};

/// Until when a snapshot stays, if creation goes on by its schedule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UntilBody {
    /// The deletion by which it goes; null where it stays for as long as something is so, or longer than was
    /// looked ahead.
    pub time: Option<i64>,
    /// What lets it go, as it is written: `max_age 30d`.
    pub limit: Option<String>,
    /// Whether a guard holds that deletion, so that it waits for a person.
    pub held: bool,
    /// It stays for as long as this is so; with a time, for as long as this is so and then until that time.
    #[serde(rename = "while")]
    pub so_long: Option<Word>,
    /// It stays longer than this, which is as far as was looked ahead.
    pub beyond: Option<i64>,
}

/// A policy's text that is to be judged and not put in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftOrder {
    /// The file it is from, for messages.
    pub file: String,
    /// All of it.
    pub text: String,
}

/// What `POST /v1/policies/{name}/plan` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareOrder {
    /// The edited policy.
    pub policy: DraftOrder,
    /// When the deletion would run; now unless given.
    #[serde(default)]
    pub at: Option<i64>,
}

/// What `POST /v1/policies/{name}/foresight` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeseeOrder {
    /// As far as to look.
    pub until: i64,
    /// At which instants to tell what is there: rising, from now on, none after `until`, 512 at most.
    #[serde(default)]
    pub looks: Vec<i64>,
    /// An edited policy, to be simulated too.
    #[serde(default)]
    pub policy: Option<DraftOrder>,
}

/// The answer of `POST /v1/policies/{name}/plan`: what an edited policy would do differently.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComparisonBody {
    /// Of which policy.
    pub policy: String,
    /// When the deletion would run.
    pub time: i64,
    /// What is doubtful about the text; errors are refused.
    pub problems: Vec<ProblemBody>,
    /// What the policy in force does; null where there is none, or it deletes nothing.
    pub in_force: Option<SideBody>,
    /// What the edited one would do.
    pub edited: SideBody,
    /// What only one of the two keeps, oldest first.
    pub changes: Vec<ChangeBody>,
}

/// What a policy makes of all snapshots.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SideBody {
    /// How many snapshots of the policy there are then.
    pub own: u32,
    /// How many the deletion would take.
    pub condemned: usize,
    /// How many went before.
    pub gone: usize,
    /// Why nothing of it may be deleted until a person has looked.
    pub held: Option<String>,
    /// Which guards hold it: `clock`, `ahead`, `shrunk`, `edit`, `brake`.
    pub guards: Vec<Word>,
}

/// A snapshot of which the two say different things.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeBody {
    /// Its name.
    pub snapshot: Box<str>,
    /// The driver's own identity of it.
    pub id: Box<str>,
    /// The time of its data.
    pub time: Option<i64>,
    /// By the policy in force; where there is none, it stays.
    pub in_force: FateBody,
    /// By the edited one.
    pub edited: FateBody,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FateBody {
    /// `keep`, `delete` or `gone`.
    pub verdict: Word,
    /// When it went, if it did.
    pub gone: Option<i64>,
    /// Why.
    pub reason: String,
}

/// The answer of `POST /v1/policies/{name}/foresight`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForeseenBody {
    /// Of which policy.
    pub policy: String,
    /// Whether its triggers run at all; where not, this is what would be if they did.
    pub runs: bool,
    /// What is doubtful about the edited text; errors are refused.
    pub problems: Vec<ProblemBody>,
    /// What will be under the policy in force; null where there is none, or it deletes nothing.
    pub in_force: Option<ForesightBody>,
    /// What would be under the edited one.
    pub edited: Option<ForesightBody>,
    /// What the letters stand for.
    pub legend: Vec<SignBody>,
}

/// What a letter stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignBody {
    /// The letter.
    pub letter: char,
    /// In words.
    pub words: Word,
}

/// What will be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForesightBody {
    /// From here.
    pub from: i64,
    /// To here.
    pub until: i64,
    /// Triggers of creation.
    pub creations: u32,
    /// Triggers of deletion.
    pub deletions: u32,
    /// Snapshots made.
    pub made: u32,
    /// Snapshots deleted.
    pub deleted: u32,
    /// How many there are.
    pub count: CountBody,
    /// When there are fewest.
    pub lowest: CountBody,
    /// When there are most.
    pub highest: CountBody,
    /// How many there are in the end.
    pub last: CountBody,
    /// How many there are at each look.
    pub looks: Vec<CountBody>,
    /// Where a guard holds plans.
    pub held: Vec<HeldBody>,
    /// Every snapshot of the policy that is there or is made, oldest first.
    pub snapshots: Vec<LifeBody>,
}

/// So many snapshots at an instant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CountBody {
    /// When.
    pub time: i64,
    /// How many.
    pub count: u32,
}

/// Plans in a row that are held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldBody {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// How many.
    pub plans: u32,
    /// By which guards.
    pub guards: Vec<Word>,
    /// Why the first.
    pub reason: String,
}

/// What becomes of one snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LifeBody {
    /// Its name, or the one that it will have.
    pub snapshot: Box<str>,
    /// The time of its data, where it is known.
    pub time: Option<i64>,
    /// Whether it is not there yet.
    pub to_come: bool,
    /// When it is deleted, and why; null where it is there in the end.
    pub gone: Option<GoneBody>,
    /// At which look it is there first.
    pub first_look: usize,
    /// A letter for that look and each after it, while it is there.
    pub signs: String,
}

/// When a snapshot is deleted, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoneBody {
    /// When.
    pub time: i64,
    /// What lets it go, as it is written: `max_age 30d`.
    pub limit: String,
    /// Why.
    pub reason: String,
}
