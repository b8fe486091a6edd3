//! A program of this machine.

use crate::lifecycle::time::Span;

/// A program that is started for each notice. No shell is between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's path and its arguments. Never empty.
    pub argv: Vec<Box<str>>,
    /// It is ended when it takes longer.
    pub time_limit: Span,
}
