//! Tokens of callers.

use serde::{Deserialize, Serialize};

use super::Word;

/// What `POST /v1/tokens` takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOrderBody {
    /// What people are to call it.
    pub name: String,
    /// What its bearer may do: `viewer`, `operator` or `admin`.
    pub role: String,
    /// When it ends; null when it is removed.
    #[serde(default)]
    pub expires: Option<i64>,
}

/// The answer of `POST /v1/tokens`, the only place where a token is ever to be seen.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenMadeBody {
    /// The token.
    pub token: String,
    /// The rest of it.
    pub made: TokenBody,
}

/// The answer of `GET /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokensBody {
    /// The tokens that were not removed, by name.
    pub tokens: Vec<TokenBody>,
}

/// A token, without the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenBody {
    /// What people call it.
    pub name: String,
    /// What its bearer may do.
    pub role: Word,
    /// Whether it lets nobody in any more.
    pub expired: bool,
    /// When it ends; null when it is removed.
    pub expires: Option<i64>,
    /// When it was used last, to a minute; null when it never was.
    pub last_used: Option<i64>,
    /// When it was made.
    pub made: i64,
    /// Who made it.
    pub made_by: String,
}
