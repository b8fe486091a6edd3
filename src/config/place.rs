//! Puts files in place whole or not at all. Whoever reads the folder passes over what is half written.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Whether what is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// It is new; what came there meanwhile stays, and nothing is written.
    New,
    /// It replaces what is there.
    Over,
}

/// Writes a file under its name, in a folder that is made where it is missing. Afterwards all of it is there,
/// readable by everybody and writable by its owner, or nothing was changed.
pub fn write(file: &Path, text: &[u8], placing: Placing) -> io::Result<()> {
    let folder = folder_of(file);
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{name}.{}.part", std::process::id()));
    let written = (|| {
        // What a process before this one left, or somebody else put there.
        remove_one(&part)?;
        let mut whole = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&part)?;
        // Whatever the mask of whoever writes it.
        whole.set_permissions(Permissions::from_mode(0o644))?;
        whole.write_all(text)?;
        whole.sync_all()?;
        match placing {
            Placing::New => fs::hard_link(&part, file),
            Placing::Over => fs::rename(&part, file),
        }
    })();
    if written.is_err() || placing == Placing::New {
        // What is left has a name that nobody reads; the error that matters is the first.
        let _ = fs::remove_file(&part);
    }
    written?;
    settle(folder);
    Ok(())
}

/// Removes a file. Afterwards it is not there, or nothing was changed.
pub fn remove(file: &Path) -> io::Result<()> {
    if remove_one(file)? {
        settle(folder_of(file));
    }
    Ok(())
}

/// Returns whether it was there.
fn remove_one(file: &Path) -> io::Result<bool> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes what was done to a folder durable. It was done whether that succeeds or not, and its readers see it.
fn settle(folder: &Path) {
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(folder = %folder.display(), cause = %error, "a change may not outlive a power failure");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("policies.d/a.toml");
        write(&file, b"one", Placing::New).expect("placed");
        assert_eq!(write(&file, b"two", Placing::New).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).expect("there"), b"one");
        write(&file, b"three", Placing::Over).expect("placed");
        assert_eq!(fs::read(&file).expect("there"), b"three");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o644);
        let names = || fs::read_dir(folder_of(&file)).expect("a folder").count();
        assert_eq!(names(), 1);
        remove(&file).expect("removed");
        remove(&file).expect("not there, as wanted");
        assert_eq!(names(), 0);
    }
}
