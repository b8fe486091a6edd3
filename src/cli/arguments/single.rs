//! What may be typed about single snapshots.

use clap::{Args, Subcommand};

/// What to do with holds.
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Hold a snapshot, or hold it longer
    Add(HoldAddArguments),

    /// List what is held, till when, why, and who wanted it
    List,

    /// Remove a hold; one in compliance mode within 72 hours of its making, or when it is over
    Remove {
        /// The snapshot's name, or its id in the repository
        #[arg(value_name = "SNAPSHOT")]
        snapshot: String,

        /// Look in this repository only; may be given several times
        #[arg(long, value_name = "NAME")]
        repository: Vec<String>,
    },
}

/// What to hold, how long and why.
#[derive(Debug, Args)]
pub struct HoldAddArguments {
    /// The snapshot's name, or its id in the repository
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,

    /// Till then: a day (2027-01-31), a point in time (2027-01-31T12:00:00Z) or a span from now (90d); without
    /// it, till the hold is removed
    #[arg(long, value_name = "TIME|SPAN")]
    pub until: Option<String>,

    /// Why, in a sentence
    #[arg(long, value_name = "TEXT")]
    pub reason: String,

    /// Only ever lengthen it: after 72 hours nobody can remove it before its end
    #[arg(long)]
    pub compliance: bool,

    /// Look in this repository only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub repository: Vec<String>,
}

/// What to adopt.
#[derive(Debug, Args)]
pub struct AdoptArguments {
    /// The snapshots' names, or their ids in the repository
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub snapshots: Vec<String>,

    /// The policy that is to own them
    #[arg(long, value_name = "NAME")]
    pub policy: String,

    /// Look in this repository only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub repository: Vec<String>,

    /// Do it, to exactly what is shown
    #[arg(long)]
    pub yes: bool,
}

/// What to delete.
#[derive(Debug, Args)]
pub struct ExpireArguments {
    /// The snapshots' names, or their ids in the repository
    #[arg(value_name = "SNAPSHOT", required = true)]
    pub snapshots: Vec<String>,

    /// Also what a living policy owns
    #[arg(long)]
    pub owned: bool,

    /// Look in this repository only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub repository: Vec<String>,

    /// Do it, to exactly what is shown
    #[arg(long)]
    pub yes: bool,
}
