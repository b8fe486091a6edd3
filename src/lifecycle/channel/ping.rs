//! A server that raises an alarm when it is not told that all is well, as healthchecks does.

use super::MaybeSecret;
use crate::lifecycle::time::Span;

/// A check at such a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Where.
    pub url: MaybeSecret,
    /// How often the daemon says there that it is alive, whatever runs.
    pub heartbeat: Option<Span>,
}
