//! A channel as people describe it: where notices go, when it may be told and for how long it is tried.
//! Valid by construction, made by `config`, carried out by `notify`.

pub mod command;
pub mod mail;
pub mod ping;
pub mod quiet;
pub mod server;
pub mod webhook;

use std::path::PathBuf;

use super::time::Span;
use command::Command;
use mail::Mail;
use ping::Ping;
use quiet::QuietHours;
use webhook::Webhook;

/// One channel, as its file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Who takes the messages.
    pub kind: Kind,
    /// When it may be told, and for how long it is tried.
    pub rules: Rules,
}

/// Who takes the messages of a channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The daemon's own log.
    Log(LogLevel),
    /// People, by mail.
    Mail(Box<Mail>),
    /// A server, by HTTP.
    Webhook(Box<Webhook>),
    /// A server that raises an alarm when it is not told that all is well.
    Ping(Box<Ping>),
    /// A program of this machine.
    Command(Box<Command>),
}

impl Kind {
    /// Returns the word for it, the name of its table.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Log(_) => "log",
            Kind::Mail(_) => "mail",
            Kind::Webhook(_) => "webhook",
            Kind::Ping(_) => "ping",
            Kind::Command(_) => "command",
        }
    }
}

/// How loud a notice is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A person should act.
    Error,
    /// A person soon may have to.
    Warn,
    /// Something settled or changed.
    Info,
}

/// When a channel may be told, and for how long it is tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// A notice that could not be delivered for so long is given up, kept and shown (N4).
    pub give_up_after: Span,
    /// What goes on is told again after this, and what happens again sooner waits for it, counted.
    pub repeat_after: Option<Span>,
    /// When it is not told.
    pub quiet: Option<QuietHours>,
}

impl Rules {
    /// A day: who can be reached at all is reached in it, and what is older is no news.
    pub const GIVE_UP_AFTER: &'static str = "1d";
}

impl Default for Rules {
    fn default() -> Rules {
        let give_up_after = Span::parse(Rules::GIVE_UP_AFTER).unwrap_or_else(|_| Span::from_millis(86_400_000));
        Rules { give_up_after, repeat_after: None, quiet: None }
    }
}

/// Where a secret is read from, each time it is needed. Its text stands in no file that others read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretSource {
    /// A credential of the service, by its name: systemd's `LoadCredential=`.
    Credential(Box<str>),
    /// A file that nobody else may read.
    File(PathBuf),
}

/// A text that is no secret, or one that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaybeSecret {
    /// As it is written.
    Plain(Box<str>),
    /// Read when it is needed.
    Secret(SecretSource),
}
