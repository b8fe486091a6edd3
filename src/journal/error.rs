//! Why the journal could not be opened, or could not do what it was asked.

use std::fmt;
use std::path::Path;

use rusqlite::ErrorCode;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has this state directory. Exit code 2. Holds the directory, and which process
    /// has it where that is known.
    #[error("state directory is in use by another snapkeep: {0}")]
    Locked(String),
    /// Written by a newer version.
    #[error("journal has schema {found}, and this snapkeep knows none above {known}")]
    Newer {
        /// What it has.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// It does not hold together: start in safe mode, delete nothing.
    #[error("journal is damaged: {0}")]
    Corrupt(String),
    /// There was a journal here, and it is gone. Never answered with an empty one, which would
    /// take every trigger for missed and every snapshot for somebody else's.
    #[error(
        "journal is missing from {0}: put a backup in its place with `snapkeep journal restore`, \
         or move `lock` and `backups` out of this directory to begin with an empty journal"
    )]
    Missing(String),
    /// The state directory cannot hold a journal.
    #[error("state directory {0}")]
    Unsuitable(String),
    /// Anything else.
    #[error("failed to open the journal")]
    Failed(#[source] JournalError),
}

impl From<JournalError> for OpenError {
    fn from(error: JournalError) -> OpenError {
        match error.kind {
            ErrorKind::Corrupt => OpenError::Corrupt(error.whole()),
            ErrorKind::Io
            | ErrorKind::Full
            | ErrorKind::Busy
            | ErrorKind::Conflict
            | ErrorKind::Taken
            | ErrorKind::Other => OpenError::Failed(error),
        }
    }
}

/// Why the journal could not do what it was asked. Whether a failed commit happened is unknown:
/// the process ends and reads back what is there.
#[derive(Debug)]
pub struct JournalError {
    kind: ErrorKind,
    text: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a caller would treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file could not be read, written or synced.
    Io,
    /// No space is left.
    Full,
    /// Another program held the journal for longer than we wait.
    Busy,
    /// Somebody else writes: a version, or the epoch, is not the one this process left.
    Conflict,
    /// This trigger has run before, or this request key, run or name is taken.
    Taken,
    /// What is stored does not hold together.
    Corrupt,
    /// A row that contradicts itself, or anything else that no operator can cause.
    Other,
}

impl JournalError {
    /// An error found by the journal itself.
    pub(super) fn new(kind: ErrorKind, text: impl Into<String>) -> JournalError {
        JournalError { kind, text: text.into(), source: None }
    }

    /// An error of a file beside the journal.
    pub(super) fn file(what: &str, path: &Path, error: std::io::Error) -> JournalError {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        let text = format!("could not {what} {}", path.display());
        JournalError { kind, text, source: Some(Box::new(error)) }
    }

    /// Returns what a caller would treat differently.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Adds what was being done.
    pub(super) fn doing(self, what: &str) -> JournalError {
        JournalError { text: format!("{what}: {}", self.text), ..self }
    }

    /// Returns this level and the next in one line, for errors that keep no source.
    pub(super) fn whole(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {source}", self.text),
            None => self.text.clone(),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> JournalError {
        let (kind, text) = sort(&error);
        JournalError { kind, text: text.to_string(), source: Some(Box::new(error)) }
    }
}

impl From<rusqlite::types::FromSqlError> for JournalError {
    fn from(error: rusqlite::types::FromSqlError) -> JournalError {
        let text = "stored value is not what the schema promises".to_string();
        JournalError { kind: ErrorKind::Corrupt, text, source: Some(Box::new(error)) }
    }
}

fn sort(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    let Some(inner) = error.sqlite_error() else {
        // A column of another type than the schema has, or no row where there must be one.
        return match error {
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::Utf8Error(..) => (ErrorKind::Corrupt, "stored value is not what the schema promises"),
            _ => (ErrorKind::Other, "statement was refused"),
        };
    };
    match inner.code {
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            (ErrorKind::Io, "journal could not be read or written")
        }
        ErrorCode::DiskFull => (ErrorKind::Full, "no space is left for the journal"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            (ErrorKind::Busy, "journal is held by another program")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => (ErrorKind::Corrupt, "journal is damaged"),
        ErrorCode::ConstraintViolation => match inner.extended_code {
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => {
                (ErrorKind::Taken, "there is one already")
            }
            _ => (ErrorKind::Other, "row contradicts itself"),
        },
        _ => (ErrorKind::Other, "statement was refused"),
    }
}
