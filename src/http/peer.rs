//! Who is at the other end of a Unix socket, as the kernel vouches for it.
//!
//! It says who they were when they connected. The process may have ended since and its number be
//! another's, so only user and groups are believed.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::UnixStream;

/// Most people are in fewer groups; who is in more is asked for again.
const GROUPS_FIRST: usize = 64;
/// The list cannot grow after the connection was made: the second time its length is known.
const TRIES_MAX: u32 = 3;

/// Returns the user at the other end, and all groups of theirs.
pub fn identity(stream: &UnixStream) -> io::Result<(u32, Vec<u32>)> {
    let credentials = stream.peer_cred()?;
    let mut groups = supplementary_groups(stream)?;
    groups.push(credentials.gid());
    Ok((credentials.uid(), groups))
}

/// Returns the groups of the other end beside its first (`SO_PEERGROUPS`); none where the kernel is too old to
/// tell, so that nobody gets a role by them.
fn supplementary_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS_FIRST];
    for _ in 0..TRIES_MAX {
        let room = groups.len() * size_of::<libc::gid_t>();
        let mut bytes = libc::socklen_t::try_from(room).map_err(|_| io::Error::from_raw_os_error(libc::ERANGE))?;
        // SAFETY: the descriptor is open as long as `stream` is borrowed; the kernel writes `bytes` bytes at
        // most, which is the length of `groups`, and any bytes are group numbers.
        let answer = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        // How many bytes were written, or how many it would have been.
        let count = usize::try_from(bytes).unwrap_or_default() / size_of::<libc::gid_t>();
        if answer == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ERANGE) => groups.resize(count, 0),
            Some(libc::ENOPROTOOPT) => return Ok(Vec::new()),
            _ => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}
