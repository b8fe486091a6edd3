//! People, by mail.

/// A server that takes mail, and who is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The server's name or address.
    pub host: Box<str>,
}
