//! A program of this machine.

use std::collections::BTreeMap;

use super::SecretSource;
use crate::lifecycle::time::Span;

/// A program that is started for each notice. No shell is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's path, which is absolute, and its arguments. Never empty.
    pub argv: Vec<Box<str>>,
    /// It is ended when it takes longer.
    pub time_limit: Span,
    /// What it is told on its input beside the notice, by name.
    pub secrets: BTreeMap<Box<str>, SecretSource>,
}

impl Command {
    /// Long enough to reach a server that is slow, short enough for the next try to come soon.
    pub const TIME_LIMIT: &'static str = "30s";
    /// Whoever tells a channel waits less than two minutes for it.
    pub const TIME_LIMIT_MAX: &'static str = "90s";
}
