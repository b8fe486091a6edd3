//! What may be typed.

mod channels;
mod keys;
mod manual;
mod notices;
mod single;
mod sm;
mod tokens;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use channels::ChannelCommand;
pub use keys::KeyCommand;
pub use manual::{ManArguments, SchemaWord, Shell};
pub use notices::{NoticesCommand, NoticesListArguments};
pub use single::{AdoptArguments, ExpireArguments, HoldAddArguments, HoldCommand};
pub use sm::ImportArguments;
pub use tokens::{RoleWord, TokenAddArguments, TokenCommand};

/// Shown below every help.
const EXIT_CODES: &str = "\
Exit codes:
  0   done; all is well
  1   refused or failed; for `check`: warnings
  2   wrong usage, bad configuration, or another daemon has the state directory
  3   the daemon cannot be reached
  74  the journal could not be read or written
Those of `health`: 0 well, 1 somebody should look, 2 somebody has to, 3 nobody can tell";

/// Keeps snapshots by policy: takes them on schedule, deletes old ones by rule, explains itself.
#[derive(Debug, Parser)]
#[command(name = "snapkeep", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// The settings file; everything else is looked for in its folder
    ///
    /// Without it: /usr/lib/snapkeep, /run/snapkeep and /etc/snapkeep, in rising precedence.
    #[arg(long, global = true, env = "SNAPKEEP_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The daemon's socket, where it is not the one that the settings name
    #[arg(long, global = true, env = "SNAPKEEP_SOCKET", hide_env_values = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,

    /// Print JSON as the daemon says it; points in time are milliseconds since 1970
    #[arg(long, global = true)]
    pub json: bool,

    /// Show times in UTC, not in this machine's zone
    #[arg(long, global = true)]
    pub utc: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    Run,

    /// Set up a first policy for a directory and run it, here and now
    ///
    /// Makes ./snapkeep-quickstart with settings, a repository and a policy that snapshots PATH
    /// every minute and keeps five, then runs the daemon in the foreground. Running it again goes on.
    Quickstart {
        /// The directory to take snapshots of
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },

    /// Read the configuration and tell everything that is wrong with it
    ///
    /// Works without the daemon and changes nothing. Exit code 0: nothing is wrong; 1: there are
    /// warnings; 2: there are errors.
    Check,

    /// Tell what policies are doing, why, and what comes next
    Explain {
        /// Policies, with * and ?; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },

    /// Tell how policies are, in a line for monitoring
    ///
    /// The age of the newest good snapshot against what the policy's schedule promises decides. Exit code 0: all is
    /// well; 1: somebody should look; 2: somebody has to; 3: nobody can tell. Without a daemon the journal is read; a
    /// repository is never asked.
    Health {
        /// Policies, with * and ?; all, and the daemon itself, when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },

    /// List, show, start, stop, run, import and export policies
    Policy {
        /// What to do.
        #[command(subcommand)]
        command: PolicyCommand,
    },

    /// List the snapshots there are, as the repositories tell it
    Snapshots {
        /// Policies, with * and ?; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,

        /// All snapshots of this repository, whoever made them; works without the daemon
        #[arg(long, value_name = "NAME", conflicts_with = "names")]
        repository: Option<String>,

        /// What nobody looks after, in all repositories: of policies that are gone, of others, without a date
        #[arg(long, conflicts_with_all = ["names", "repository"])]
        orphans: bool,
    },

    /// Keep single snapshots, whatever the policies say, and show what is kept so
    Hold {
        /// What to do.
        #[command(subcommand)]
        command: HoldCommand,
    },

    /// Let a policy own snapshots that no living policy owns; without --yes it only shows what would happen
    ///
    /// They are stamped anew, and the policy's rule judges them from then on. Exit code 1: one of them must
    /// not be, or could not.
    Adopt(AdoptArguments),

    /// Delete exactly the snapshots named; without --yes it only shows what would happen
    ///
    /// Never one that is held, in use, being made or the newest good one of a policy. Exit code 1: one of
    /// them must not be, or could not.
    Expire(ExpireArguments),

    /// Show what a deletion run would keep and delete, and why; deletes nothing
    ///
    /// Now, at a time to come, or as a calendar of all that will exist until then. What is ahead is
    /// simulated from the snapshots there are: each trigger of creation makes a good one, each trigger of
    /// deletion judges and deletes, with all guards.
    ///
    /// TIME is a date (2026-04-01), a date and time (2026-04-01T02:00), or a span ahead (30d).
    Plan(PlanArguments),

    /// Give the files of a snapshot back, into an empty directory
    ///
    /// Works without the daemon: it reads the configuration itself and looks for the snapshot in
    /// every repository.
    Restore(RestoreArguments),

    /// Look whether all data of a snapshot is there, and read some of it
    ///
    /// The daemon does it, and writes down who asked and what came of it. Whoever stops waiting stops
    /// nothing. Exit code 1: it is damaged, or could not be looked at.
    Verify(VerifyArguments),

    /// Give the space back that deleted snapshots alone needed, and check the repository, now
    ///
    /// The daemon does it by itself every day. Space comes back in two steps: what nothing needs is
    /// marked first, and removed by a maintenance a day or more later.
    Maintain {
        /// The repository
        #[arg(value_name = "REPOSITORY")]
        repository: String,
    },

    /// Show, approve and refuse deletions that a guard has stopped
    ///
    /// A plan that is held deletes nothing until a person has looked at it. It can be approved for
    /// 24 hours; what is deleted then is what it shows, as far as the policy in force still condemns it.
    Deletions {
        /// What to do.
        #[command(subcommand)]
        command: DeletionsCommand,
    },

    /// Believe the machine's clock again
    Clock {
        /// What to do.
        #[command(subcommand)]
        command: ClockCommand,
    },

    /// Show what was run, and how it ended, newest first
    History {
        /// Policies, with * and ?; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,

        /// Only this workflow
        #[arg(long)]
        workflow: Option<Workflow>,

        /// At most so many runs
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },

    /// Show who commanded what and what was deleted, with what it was before and after, newest first
    Audit {
        /// Policies and snapshots that something was done to, with * and ?; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,

        /// At most so many lines
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },

    /// Show what maintenance, verification, holds, adoption and expiry came to, and what of it goes on, newest first
    Operations {
        /// Repositories that were maintained, and snapshots that something was done to, with * and ?; all when none
        /// is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,

        /// Only this
        #[arg(long)]
        what: Option<OperationWord>,

        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },

    /// Check, copy and restore the daemon's journal
    Journal {
        /// What to do.
        #[command(subcommand)]
        command: JournalCommand,
    },

    /// Print what monitoring reads, in the text format of Prometheus
    Metrics,

    /// Show what channels are owed and what became of it, and send it again
    Notices {
        /// What to do.
        #[command(subcommand)]
        command: NoticesCommand,
    },

    /// List where notices go, and try whether they get there
    Channel {
        /// What to do.
        #[command(subcommand)]
        command: ChannelCommand,
    },

    /// Make, list and remove the tokens that let callers in over the network
    Token {
        /// What to do.
        #[command(subcommand)]
        command: TokenCommand,
    },

    /// Show, add, replace and remove the keys of a repository, and print its recovery sheet
    ///
    /// Works without the daemon. Without a key nobody can read the snapshots of a repository that
    /// encrypts them; any one of its keys is enough.
    Key {
        /// What to do.
        #[command(subcommand)]
        command: KeyCommand,
    },

    /// Test a program that speaks the driver protocol
    Driver {
        /// What to do.
        #[command(subcommand)]
        command: DriverCommand,
    },

    /// Print what a shell needs to complete these commands
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },

    /// List the pages of the manual, print one, or write all of them into a directory
    ///
    /// A page is printed as it stands in a file: `snapkeep man restore | man -l -` shows it. Of a name that is a
    /// command's and a file's the command comes first; `snapkeep man policy.5` is the file.
    Man(ManArguments),

    /// Print the JSON schema of a file that people write, for editors
    Schema {
        /// The file
        #[arg(value_name = "FILE", default_value = "policy")]
        file: SchemaWord,
    },
}

/// What to do with deletions that a guard has stopped.
#[derive(Debug, Subcommand)]
pub enum DeletionsCommand {
    /// List plans that were held, newest first
    List {
        /// At most so many plans
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },

    /// Show a plan whole: every verdict with its reason, what stopped it, what the clock was worth
    Show {
        /// The plan's number
        #[arg(value_name = "PLAN")]
        plan: u64,
    },

    /// Delete what a plan shows, as far as the policy in force condemns it
    Approve {
        /// The plan's number
        #[arg(value_name = "PLAN")]
        plan: u64,
    },

    /// Delete nothing of a plan
    Refuse {
        /// The plan's number
        #[arg(value_name = "PLAN")]
        plan: u64,
    },
}

/// What to do with the clock.
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Say that the clock is right: nothing is deleted while it is doubted
    Confirm,
}

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the policies in force
    List {
        /// Policies, with * and ?; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },

    /// Show a policy as it is in force
    Show {
        /// The policy
        #[arg(value_name = "NAME")]
        name: String,
    },

    /// Let a policy's triggers run again, from now on
    Start {
        /// The policy
        #[arg(value_name = "NAME")]
        name: String,
    },

    /// Let no trigger of a policy run; what was begun is followed to its end
    Stop {
        /// The policy
        #[arg(value_name = "NAME")]
        name: String,
    },

    /// Take a snapshot now, or delete old ones now
    Run {
        /// The policy
        #[arg(value_name = "NAME")]
        name: String,

        /// Run deletion, not creation
        #[arg(long)]
        deletion: bool,

        /// A key of your own; the same key again is the same run, not a second one
        #[arg(long, value_name = "KEY")]
        key: Option<String>,

        /// Wait until the run has settled; exit code 1 unless it succeeded
        #[arg(long)]
        wait: bool,
    },

    /// Write policy files from the JSON of OpenSearch's snapshot management; works without the daemon
    ///
    /// Takes one policy, a list of them, or all those of a running server. Everything is checked against the
    /// configuration before anything is written. Exit code 1: a policy was refused, or its file was left alone.
    Import(ImportArguments),

    /// Print policies as the JSON of OpenSearch's snapshot management; works without the daemon
    ///
    /// What `policy import` takes, and OpenSearch too where a policy uses nothing of ours.
    Export {
        /// Policies, with * and ?; all when none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

/// What to foresee.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// The policy
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Show the plan of the latest deletion run, and what was deleted of it
    #[arg(long, conflicts_with_all = ["at", "until", "policy"])]
    pub latest: bool,

    /// Show what the plan will be then
    #[arg(long, value_name = "TIME", conflicts_with = "until")]
    pub at: Option<String>,

    /// Draw what will exist until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Show what this policy would do differently, were it put in force as NAME; it is not
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// What to give back, and where to.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The snapshot's name
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,

    /// The directory to put the files into; made if it is not there. What it holds already is left alone
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// Only this path of the snapshot; may be given several times
    #[arg(long, value_name = "PATH")]
    pub include: Vec<String>,

    /// Replace files that are there already; without it one in the way stops the restore before it begins
    #[arg(long)]
    pub overwrite: bool,

    /// Look in this repository only
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The snapshot's name, or its id in the repository
    #[arg(value_name = "SNAPSHOT")]
    pub snapshot: String,

    /// Read so much of its data, other parts each time, and compare it with what was written
    #[arg(long, value_name = "N%", default_value = "0%", value_parser = percentage)]
    pub read_data: u8,

    /// Look in the repository of this policy only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub policy: Vec<String>,

    /// Look in this repository only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub repository: Vec<String>,
}

fn percentage(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>();
    number.ok().filter(|percent| *percent <= 100).ok_or_else(|| "write a share from 0% to 100%".to_owned())
}

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Tell whether the journal holds together; works without the daemon too
    Check,

    /// Copy the journal, and check the copy
    Backup,

    /// Take the journal over for this machine, so that snapshots are deleted again: it was written on
    /// another one, as on a cloned disk
    AcceptMachine,

    /// Put a copy in the journal's place; the daemon must not run
    Restore {
        /// The copy
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What to do with drivers.
#[derive(Debug, Subcommand)]
pub enum DriverCommand {
    /// Try on a scratch repository whether a program keeps the driver protocol
    ///
    /// Starts the program as the daemon would, once for each question, and prints what holds, what
    /// does not, and what was not tried because the driver says that it cannot do it. It needs
    /// neither daemon nor configuration.
    ///
    /// It makes snapshots, restores and deletes them: point it at a scratch repository. Their names
    /// begin with snapkeep-test-, it deletes them in the end, also when a case fails or it is
    /// interrupted, and it deletes nothing else. What it could not delete again it names.
    ///
    /// In the settings and the configuration {source} stands for a folder with a few files, and
    /// {repository} for a path where a repository may be made; both are removed in the end. Only
    /// with {source} it is known which bytes restore has to give back.
    ///
    /// Exit code 0: nothing failed; 1: something failed, or is left; 2: wrong usage.
    Test(DriverTestArguments),

    /// Deduplicated, encrypted snapshots of directories
    #[command(hide = true)]
    Files,
}

/// Which program to test, and on what.
#[derive(Debug, Args)]
pub struct DriverTestArguments {
    /// What a policy's snapshot_config would hold, beside the repository: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE", default_value = "{}")]
    pub snapshot_config: String,

    /// What the repository's file would hold, beside driver and command: JSON, or a file of it
    #[arg(long, value_name = "JSON|FILE", default_value = "{}")]
    pub settings: String,

    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Work of hours that is no policy's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OperationWord {
    /// Maintenance of repositories
    Maintain,
    /// Verification of snapshots
    Verify,
    /// Holds on snapshots, made and removed
    Hold,
    /// Snapshots that a policy adopted
    Adopt,
    /// Snapshots that a person deleted by name
    Expire,
}

impl OperationWord {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            OperationWord::Maintain => "maintain",
            OperationWord::Verify => "verify",
            OperationWord::Hold => "hold",
            OperationWord::Adopt => "adopt",
            OperationWord::Expire => "expire",
        }
    }
}

/// A workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workflow {
    /// Makes snapshots
    Creation,
    /// Deletes old ones
    Deletion,
}

impl Workflow {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Workflow::Creation => "creation",
            Workflow::Deletion => "deletion",
        }
    }
}
