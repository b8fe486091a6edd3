//! People, by mail.

use std::path::PathBuf;

use super::SecretSource;
use crate::lifecycle::time::Span;

/// A server that takes mail, and who is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The server's name or address, without brackets; a certificate can be made out for it.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// How it is made sure who the server is, and that nobody reads along.
    pub tls: Tls,
    /// A file with the certificates of authorities that are trusted in place of the system's.
    pub ca: Option<PathBuf>,
    /// What the server wants to know before it takes mail.
    pub login: Option<Login>,
    /// Who the mail is from, and who hears of it when it cannot be delivered further on.
    pub from: Mailbox,
    /// Who is to have it. Never empty, nobody twice.
    pub to: Vec<Mailbox>,
    /// A delivery ends within this, however far it came.
    pub time_limit: Span,
}

/// How a server is spoken to. There is no way from one to another: what is not offered is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// As soon as the server has said who it is, before it is told anything that matters.
    StartTls,
    /// Not at all; then the server is on this machine.
    None,
}

impl Tls {
    /// Returns the port that is usual for it.
    pub fn port(self) -> u16 {
        match self {
            Tls::Implicit => 465,
            Tls::StartTls => 587,
            Tls::None => 25,
        }
    }
}

/// Who we are to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// As whom.
    pub user: Box<str>,
    /// Where the password is.
    pub password: SecretSource,
}

/// Somebody's address. Neither part holds a character that ends a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// What is shown in its place.
    pub name: Option<Box<str>>,
    /// As a server takes it, ASCII.
    pub address: Box<str>,
}

impl Mail {
    /// Longer than any server takes that is worth waiting for.
    pub const TIME_LIMIT: &'static str = "30s";
    /// Whoever delivers ends it after little more, and could not say what it was about.
    pub const TIME_LIMIT_MAX_MS: i64 = 90_000;
}
