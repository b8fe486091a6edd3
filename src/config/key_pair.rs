//! The files of a certificate and its key, read again when they change.
//!
//! They are believed like every other file that decides something: owned by root or the daemon's own user,
//! written by nobody else. The key is read by nobody else either.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::access::TlsFiles;
use super::ownership::{Refusal, Stamp, Trust};

/// The files, and what they were like when they were read last.
#[derive(Debug)]
pub struct KeyPairFiles {
    files: TlsFiles,
    trust: Trust,
    /// Of certificate and key; `None` in it where there was none.
    seen: Option<[Option<Stamp>; 2]>,
}

impl KeyPairFiles {
    /// Returns the files; nothing is read yet.
    pub fn new(files: TlsFiles) -> KeyPairFiles {
        KeyPairFiles { files, trust: Trust::of_this_process(), seen: None }
    }

    /// Reads certificate and key where one of them has changed since the last time; `None` where neither has.
    pub fn read_if_changed(&mut self) -> Option<Result<[Vec<u8>; 2], String>> {
        let TlsFiles { certificate, key } = &self.files;
        // Before the reading: what changes meanwhile is read again the next time.
        let stamps = Some([certificate, key].map(|path| Stamp::of(path).ok()));
        if self.seen == stamps {
            return None;
        }
        self.seen = stamps;
        Some(self.read(certificate, false).and_then(|certificate| Ok([certificate, self.read(key, true)?])))
    }

    fn read(&self, path: &Path, is_secret: bool) -> Result<Vec<u8>, String> {
        let told = |refusal: Refusal| match refusal.hint {
            Some(hint) => format!("{}: {} ({hint})", path.display(), refusal.message),
            None => format!("{}: {}", path.display(), refusal.message),
        };
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        self.trust.check_folder(folder).map_err(told)?;
        let bytes = self.trust.read(path).map_err(told)?.bytes;
        let mode = fs::metadata(path).map_err(|error| told(error.into()))?.mode();
        if is_secret && mode & 0o007 != 0 {
            return Err(format!("{}: everybody can read the key (chmod o-rwx {0})", path.display()));
        }
        Ok(bytes)
    }
}
