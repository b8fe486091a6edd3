//! What may be typed about notices.

use clap::{Args, Subcommand};

/// What to do with notices.
#[derive(Debug, Subcommand)]
pub enum NoticesCommand {
    /// List what channels are owed and what became of it, newest first
    List(NoticesListArguments),

    /// Show one notice: what it says, how often it was tried, what was answered
    Show {
        /// Its number
        #[arg(value_name = "NUMBER")]
        number: u64,
    },

    /// Send notices again, from the first try on
    ///
    /// Also those that were taken before. Their keys stay, so a receiver can tell a repeat.
    Resend {
        /// Their numbers
        #[arg(value_name = "NUMBER", required = true)]
        numbers: Vec<u64>,
    },
}

/// Which notices to list.
#[derive(Debug, Args)]
pub struct NoticesListArguments {
    /// Only those in this state: pending, delivered, undeliverable or superseded
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only those of this channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Only those about this policy
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
}
