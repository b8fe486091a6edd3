//! A server that is told by HTTP.

use super::MaybeSecret;

/// A server, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where.
    pub url: MaybeSecret,
}
