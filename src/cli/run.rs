//! The daemon, in the foreground.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::settings::{LogFormat, LogLevel};

use super::out::{Exit, Failure};
use super::setup::{self, ConfigChoice};

/// Says what is logged, over what the settings say; in tracing's own words, such as `snapkeep=debug`.
const LOG_VARIABLE: &str = "SNAPKEEP_LOG";

/// Runs the daemon until it is told to end.
pub fn run(choice: &ConfigChoice) -> Result<Exit, Failure> {
    setup::run_daemon(choice, |_| ())?;
    Ok(Exit::Fine)
}

/// Sends the log to standard error, which systemd keeps.
pub fn start_log(level: LogLevel, format: LogFormat) {
    // Of other libraries only what a person may have to act on.
    let ours = match level {
        LogLevel::Error => "error".to_string(),
        level => format!("warn,snapkeep={level},notice={level}", level = level.word()),
    };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(ours));
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!no_colour && std::io::stderr().is_terminal());
    // A log that was started before, as in a test, goes on.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
