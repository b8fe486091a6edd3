//! Tokens: made. `snapkeep_<id>_<secret>`: the id says which it is, the secret that it is.
//!
//! A token's text is in the answer of the request that made it, and nowhere else: not in the log, the
//! journal or the audit. What is kept is its hash.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// So that a token is recognised by people and by programs that look for leaked secrets.
const PREFIX: &str = "snapkeep_";
/// Enough for two tokens never to have the same.
const ID_BYTES: usize = 6;
/// 256 bits: nobody guesses that, so a fast hash is enough.
const SECRET_BYTES: usize = 32;

/// A token's text.
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Token {
    /// Returns a token that nobody else has.
    pub fn new() -> io::Result<Token> {
        let mut random = [0; ID_BYTES + SECRET_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let (id, secret) = random.split_at(ID_BYTES);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Token(format!("{PREFIX}{id}_{}", BASE64_URL_SAFE_NO_PAD.encode(secret))))
    }

    /// Returns the part by which it is looked up.
    pub fn id(&self) -> &str {
        self.0.get(PREFIX.len()..PREFIX.len() + 2 * ID_BYTES).unwrap_or_default()
    }

    /// Returns what is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Returns the text, for the one who asked for it to be made.
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_to_nobody_but_its_maker() {
        let token = Token::new().expect("made");
        assert_eq!(format!("{token:?}"), "***");
        let (id, hash, text) = (token.id().to_owned(), token.hash(), token.into_text());
        assert_eq!((text.len(), id.len()), (PREFIX.len() + 12 + 1 + 43, 12));
        assert!(text.starts_with(&format!("{PREFIX}{id}_")), "{text}");
        assert_ne!(Token::new().expect("made").hash(), hash);
    }
}
