//! The keys of a repository, where its driver keeps them itself: what may be asked, and what is told.
//!
//! A key is never part of a question or of an answer; files are, by their paths. The one way to a key's
//! text is [`super::Driver::secret`], for the sheet that a person keeps. Both ends of this conversation
//! are one program, so the forms below are nobody else's business and no part of the driver protocol.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to do about the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrder {
    /// Tell which there are.
    List,
    /// Let one more open the repository.
    Add {
        /// The file that holds it; only the driver reads it.
        from: PathBuf,
    },
    /// Put a new one in the place of the one in use, which opens nothing afterwards. One that was
    /// interrupted is brought to its end.
    Rotate,
    /// Take one away: never the one in use, and so never the last.
    Remove {
        /// The beginning of its identity.
        id: String,
    },
    /// Remember that a person has been given the one in use.
    Saved {
        /// Its identity.
        id: String,
    },
}

/// What there is afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyReport {
    /// Where the repository is.
    pub repository: PathBuf,
    /// Its identity, as restic shows it.
    pub repository_id: String,
    /// Where the key in use is read from.
    pub key_file: PathBuf,
    /// The systemd credential that this is, if it is one.
    pub credential: Option<String>,
    /// Every key that opens the repository, the oldest first.
    pub keys: Vec<KeySlot>,
    /// The identity of the one that was added or removed.
    pub changed: Option<String>,
    /// What is worth telling beside it.
    pub message: Option<String>,
}

/// One of the keys that open a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySlot {
    /// Its identity in the repository, which says nothing of the key.
    pub id: String,
    /// When it was added, in milliseconds since 1970, where whoever did it said so.
    pub created_at_ms: Option<i64>,
    /// On which machine.
    pub host: Option<String>,
    /// By whom.
    pub user: Option<String>,
    /// Whether it is the one that the driver uses.
    pub is_in_use: bool,
}

impl KeyReport {
    /// Returns the key in use.
    pub fn in_use(&self) -> Option<&KeySlot> {
        self.keys.iter().find(|slot| slot.is_in_use)
    }
}

/// A key as text. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that nobody else may see.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
