//! The socket file: who may open it, and what becomes of one that a dead daemon left behind.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::lifecycle::role::Role;

use super::access::{Origin, role_of};
use super::peer;

/// The kernel takes 108 bytes with the closing zero.
const PATH_BYTES_MAX: usize = 107;

/// A socket somebody may connect to. Its file goes when it goes.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    roles: BTreeMap<u32, Role>,
}

impl Socket {
    /// Makes the socket: 0660, in a directory that is made 0750 where there is none. A socket that
    /// nobody answers at is replaced; one that somebody answers at, and any other file, is left alone.
    pub fn bind(path: &Path) -> io::Result<Socket> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        if let Some(directory) = directory {
            DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
        }
        let (_directory, short) = short(path)?;
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                let message = format!("{} is there and no socket", path.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            Ok(_) => match StdUnixStream::connect(&short) {
                Ok(_) => {
                    let message = format!("somebody already answers at {}", path.display());
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                Err(error) => return Err(error),
            },
        }
        let listener = UnixListener::bind(&short)?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(Socket { listener, path: path.to_path_buf(), roles: BTreeMap::new() })
    }

    /// Gives roles to the members of groups. Without any only root and the daemon's own user have one.
    pub fn with_roles(mut self, roles: BTreeMap<u32, Role>) -> Socket {
        self.roles = roles;
        self
    }

    /// Returns who connected, and what they may do.
    pub(super) fn origin(&self, stream: &UnixStream) -> io::Result<Origin> {
        let (user, groups) = peer::identity(stream)?;
        Ok(Origin::Socket { user, role: role_of(user, &groups, &self.roles) })
    }

    /// Waits for somebody to connect.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that cannot be removed is found dead and replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns a path to the same socket that is short enough for the kernel, and what keeps it valid:
/// a long one goes by way of its open directory.
pub fn short(path: &Path) -> io::Result<(Option<File>, PathBuf)> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok((None, path.to_path_buf()));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok((None, path.to_path_buf()));
    };
    let directory = File::open(directory)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((Some(directory), short))
}
