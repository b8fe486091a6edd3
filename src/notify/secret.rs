//! Secrets of channels: where they are read from, and how they are kept out of everything that is said.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustix::fs::{Mode, OFlags};

use crate::lifecycle::channel::{MaybeSecret, SecretSource};

/// The longest secret: a key, a token, a password or an address, and none of them comes near.
const BYTES_MAX: u64 = 16 * 1024;
/// Where systemd puts credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// What stands in place of a secret.
const BLANK: &str = "***";

/// A secret. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BLANK)
    }
}

/// Why a secret cannot be had. Completes "failed to read a secret".
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The service was given no credentials.
    #[error("credential `{0}` is not there: the service was started without LoadCredential=")]
    NoCredentials(Box<str>),
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unread {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can be read, and others can read it too, or it is none.
    #[error("{}: {why}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Secret {
    /// Returns a text as a secret.
    pub fn of(text: &str) -> Secret {
        Secret(text.into())
    }

    /// Reads it, without the newline at its end. A file must belong to root or the daemon's own user, and nobody
    /// else may read it; a credential is guarded by whoever put it there.
    pub fn read(source: &SecretSource) -> Result<Secret, SecretError> {
        match source {
            SecretSource::File(path) => read(path, true),
            SecretSource::Credential(name) => {
                let folder = std::env::var_os(CREDENTIALS).ok_or_else(|| SecretError::NoCredentials(name.clone()))?;
                read(&Path::new(&folder).join(&**name), false)
            }
        }
    }

    /// Returns its text, for whoever sends it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns a text without this secret, in whichever form it may have been sent.
    pub fn blank(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_string();
        }
        let escaped = serde_json::to_string(&*self.0).unwrap_or_default();
        let forms = [
            self.0.to_string(),
            escaped.trim_matches('"').to_string(),
            STANDARD.encode(self.0.as_bytes()),
            STANDARD_NO_PAD.encode(self.0.as_bytes()),
        ];
        forms.iter().fold(text.to_string(), |text, form| text.replace(form.as_str(), BLANK))
    }
}

/// Reads a text that may be a secret. The second is the secret, where it is one.
pub fn text_of(text: &MaybeSecret) -> Result<(Box<str>, Option<Secret>), SecretError> {
    match text {
        MaybeSecret::Plain(text) => Ok((text.clone(), None)),
        MaybeSecret::Secret(source) => {
            let secret = Secret::read(source)?;
            Ok((secret.0.clone(), Some(secret)))
        }
    }
}

fn read(path: &Path, is_ours_to_guard: bool) -> Result<Secret, SecretError> {
    let unread = |source: io::Error| SecretError::Unread { path: path.into(), source };
    let refused = |why: String| SecretError::Refused { path: path.into(), why };
    // Without NONBLOCK the opening of a named pipe would wait for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| unread(error.into()))?;
    let file = File::from(descriptor);
    let metadata = file.metadata().map_err(unread)?;
    if !metadata.is_file() {
        return Err(refused("is not a regular file".into()));
    }
    if is_ours_to_guard {
        let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != 0 && owner != own {
            return Err(refused(format!(
                "belongs to user {owner}, who could change it (chown root {})",
                path.display()
            )));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(refused(format!("others may read or write it (chmod 0600 {})", path.display())));
        }
    }
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(refused(format!("is larger than {} kB", BYTES_MAX / 1024)));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(refused("is empty".into()));
    }
    Ok(Secret(text.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_read_only_from_a_file_that_nobody_else_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        fs::write(&path, "s3cret\n").expect("written");
        let read = || Secret::read(&SecretSource::File(path.clone()));
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            match read() {
                Ok(secret) => assert!(accepted && secret.text() == "s3cret", "{mode:o}"),
                Err(error) => assert!(!accepted && error.to_string().contains("chmod 0600"), "{mode:o}: {error}"),
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        fs::write(&path, "\n").expect("written");
        assert!(read().expect_err("nothing in it").to_string().ends_with("is empty"));
        fs::write(&path, "x".repeat(20_000)).expect("written");
        assert!(read().expect_err("too large").to_string().ends_with("is larger than 16 kB"));
        assert!(Secret::read(&SecretSource::File(folder.path().into())).is_err());
    }

    #[test]
    fn a_secret_is_blanked_in_every_form_it_may_be_sent_in() {
        let secret = Secret::of("pa\"ss");
        let said = format!("pa\"ss {} {} pa\\\"ss", STANDARD.encode("pa\"ss"), STANDARD_NO_PAD.encode("pa\"ss"));
        assert_eq!(
            secret.blank(&said),
            "*** *** *** ***".replace("*** *** ***", "*** ***= ***").replace("***= ***", "*** ***")
        );
        assert_eq!(format!("{secret:?}"), "***");
    }
}
