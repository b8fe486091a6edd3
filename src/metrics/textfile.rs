//! The text as a file, for a collector that reads files: whole at every moment, and readable by everybody.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::Exposition;

/// Writes the text under a name. Whoever reads meanwhile finds the former text or this one. The folder has to be
/// there: it is its collector's. Fails with what the system said; what was there stays then.
pub fn write(file: &Path, exposition: Exposition) -> io::Result<()> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    // Collectors read what ends in `.prom`; this does not, and there is one writer, so it is always the same.
    let part = file.with_file_name(format!(".{name}.part"));
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // What a process before this one left.
        Ok(()) | Err(_) => {}
    }
    let written = fill(&part, exposition).and_then(|()| fs::rename(&part, file));
    if written.is_err() {
        // Nobody reads what has this name; the error that matters is the first.
        let _ = fs::remove_file(&part);
    }
    written
}

fn fill(part: &Path, exposition: Exposition) -> io::Result<()> {
    // New, so that a link somebody put there is not followed.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(part)?;
    // Whatever the mask of the daemon.
    file.set_permissions(Permissions::from_mode(0o644))?;
    let mut text = BufWriter::new(file);
    for piece in exposition {
        text.write_all(piece.as_bytes())?;
    }
    // Or a power failure could leave the new name with nothing behind it.
    text.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()
}
