//! What may be typed about channels.

use clap::Subcommand;

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// List the channels in force, which policies tell them, and what is wrong with their files
    List,

    /// Send a message to a channel, now, and show what was said and heard
    ///
    /// It takes the way of any notice, so whoever is at the other end is told. Lines with > were sent, those
    /// with < were answered. Exit code 1: it was not delivered.
    Test {
        /// The channel
        #[arg(value_name = "NAME")]
        name: String,
    },
}
