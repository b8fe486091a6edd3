//! The files of a certificate and its key, read again when they change.
//!
//! They are believed like every other file that decides something: owned by root or the daemon's own user,
//! written by nobody else. The key is not read by everybody: a group may be given it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::access::TlsFiles;
use crate::ownership::{Refusal, Stamp, Trust};

/// The files, and what they were like when they were read last.
#[derive(Debug)]
pub struct KeyPairFiles {
    files: TlsFiles,
    trust: Trust,
    /// Of certificate and key; `None` in it where there was none.
    seen: Option<[Option<Stamp>; 2]>,
    /// Why the pair was not read the last time. The reason may lie in a folder, whose mending leaves the files as
    /// they were.
    refused: Option<String>,
}

impl KeyPairFiles {
    /// Returns the files; nothing is read yet.
    pub fn new(files: TlsFiles) -> KeyPairFiles {
        KeyPairFiles { files, trust: Trust::of_this_process(), seen: None, refused: None }
    }

    /// Reads certificate and key where one of them has changed since the last time; `None` where neither has. What
    /// was refused is tried again every time, and told again when there is something else to say.
    pub fn read_if_changed(&mut self) -> Option<Result<[Vec<u8>; 2], String>> {
        let TlsFiles { certificate, key } = &self.files;
        // Before the reading: what changes meanwhile is read again the next time.
        let stamps = Some([certificate, key].map(|path| Stamp::of(path).ok()));
        let is_as_before = self.seen == stamps;
        if is_as_before && self.refused.is_none() {
            return None;
        }
        let read = self.read(certificate, false).and_then(|certificate| Ok([certificate, self.read(key, true)?]));
        let is_told = is_as_before && self.refused.as_ref() == read.as_ref().err();
        self.seen = stamps;
        self.refused = read.as_ref().err().cloned();
        (!is_told).then_some(read)
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pair_that_was_refused_for_its_folder_is_read_once_the_folder_is_mended() {
        let folder = tempfile::tempdir().expect("a directory");
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
        for file in [&certificate, &key] {
            fs::write(file, "pem").expect("written");
            mode(file, 0o640);
        }
        let mut files = KeyPairFiles::new(TlsFiles { certificate, key: key.clone() });
        let mut read = || files.read_if_changed();

        mode(folder.path(), 0o777);
        let refused = read().expect("read for the first time").expect_err("everybody can write there");
        assert!(refused.contains("can be written by everybody"), "{refused}");
        assert_eq!(read(), None, "the same is not told twice");
        mode(folder.path(), 0o755);
        assert_eq!(read(), Some(Ok([b"pem".to_vec(), b"pem".to_vec()])));
        assert_eq!(read(), None, "nothing has changed");

        // Another length: its time may be the same when all of this takes no longer than the clock's tick.
        fs::write(&key, "another").expect("written");
        mode(&key, 0o644);
        let refused = read().expect("it has changed").expect_err("everybody can read it");
        assert!(refused.contains("everybody can read the key"), "{refused}");
        mode(&key, 0o640);
        assert!(read().expect("mended").is_ok());
    }
}
