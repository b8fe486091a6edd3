//! Tokens: made, read, compared. `snapkeep_<id>_<secret>`: the id says which it is, the secret that it is.
//!
//! A token's text is in the answer of the request that made it, and nowhere else: not in the log, the
//! journal or the audit. What is kept is its hash.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::lifecycle::hex::hex;

/// So that a token is recognised by people and by programs that look for leaked secrets.
const PREFIX: &str = "snapkeep_";
/// Enough for two tokens never to have the same.
const ID_BYTES: usize = 6;
/// 256 bits: nobody guesses that, so a fast hash is enough.
const SECRET_BYTES: usize = 32;
/// 32 bytes in base64 without padding.
const SECRET_CHARS: usize = 43;

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
        Ok(Token(format!("{PREFIX}{}_{}", hex(id), BASE64_URL_SAFE_NO_PAD.encode(secret))))
    }

    /// Returns the token that a caller has shown, if it can be one.
    pub fn read(text: &str) -> Option<Token> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_secret = secret.len() == SECRET_CHARS
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (is_id && is_secret).then(|| Token(text.to_owned()))
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

/// Whether two hashes are the same; takes as long whether they are or not, and wherever they differ.
pub fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made_and_shown_to_nobody() {
        let token = Token::new().expect("made");
        assert_eq!(format!("{token:?}"), "***");
        let (id, hash, text) = (token.id().to_owned(), token.hash(), token.into_text());
        assert_eq!((text.len(), id.len()), (PREFIX.len() + 12 + 1 + 43, 12));
        let read = Token::read(&text).expect("it is one");
        assert_eq!((read.id(), read.hash()), (&*id, hash));
        assert_ne!(Token::new().expect("made").hash(), hash);
        for wrong in
            ["", "snapkeep_", &text[1..], &text[..text.len() - 1], &format!("{text}a"), &text.replace('_', "-")]
        {
            assert!(Token::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn hashes_are_the_same_when_every_byte_is() {
        let hash = Token::new().expect("made").hash();
        assert!(is_same(&hash, &hash.clone()));
        for at in 0..32 {
            let mut other = hash;
            other[at] ^= 1;
            assert!(!is_same(&hash, &other), "{at}");
        }
    }
}
