//! The daemon, in the foreground.

use super::out::{Exit, Failure};
use super::setup::{self, ConfigChoice};

/// Runs the daemon until it is told to end.
pub fn run(choice: &ConfigChoice) -> Result<Exit, Failure> {
    setup::run_daemon(choice, |_| ())?;
    Ok(Exit::Fine)
}
