//! Waiting for what is to happen by the kernel's own word for it, with an end. No test waits for a
//! span to pass.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Nothing that is waited for takes longer, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// An answer may change a moment after what led to it was written down; so it is asked for again
/// after this even where nothing more is written.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Waits until `fd` can be read, at most for `span`. Returns whether it can.
fn readable(fd: impl AsFd, span: Duration) -> bool {
    let span = Timespec::try_from(span).expect("a short span");
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&span)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("failed to wait: {error}"),
        }
    }
}

/// Waits until a process is dead, at most for `span`. Returns whether it is; a dead one need not
/// have been reaped.
pub fn died(pid: Pid, span: Duration) -> bool {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => readable(process, span),
        Err(rustix::io::Errno::SRCH) => true,
        Err(error) => panic!("failed to watch process {pid:?}: {error}"),
    }
}

/// Waits for a child of ours to end, and returns its exit code; `None` when a signal ended it.
pub fn ended(child: &mut Child) -> Option<i32> {
    assert!(died(Pid::from_child(child), PATIENCE), "process {} does not end", child.id());
    child.wait().expect("reaped").code()
}

/// Waits until `find` finds no living process any more; what it found is waited for one by one.
/// Several rounds, because a process may have begun another before it died.
pub fn all_dead(find: impl Fn() -> Vec<Pid>) {
    let began = Instant::now();
    loop {
        let living = find();
        if living.is_empty() {
            return;
        }
        for pid in living {
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(died(pid, left), "process {pid:?} is left");
        }
    }
}

/// The same, while the runtime goes on.
pub async fn nobody_left(find: impl Fn() -> Vec<Pid> + Send + 'static) {
    tokio::task::spawn_blocking(|| all_dead(find)).await.expect("nobody is left");
}

/// Returns the living processes that `is_wanted` takes by the folder of `/proc`; dead ones that are not
/// reaped are none.
pub fn living(is_wanted: impl Fn(&Path) -> bool) -> Vec<Pid> {
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw);
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let processes = entries.filter_map(|entry| Some((number(&entry)?, entry.path())));
    let alive = |path: &Path| state_and_group(path).is_some_and(|(state, _)| state != 'Z');
    processes.filter(|(_, path)| alive(path) && is_wanted(path)).map(|(pid, _)| pid).collect()
}

/// Returns the living processes of a process group.
pub fn living_in_group(group: Pid) -> Vec<Pid> {
    living(|path| state_and_group(path).is_some_and(|(_, number)| number == group.as_raw_nonzero().get()))
}

/// Reads a process's state and group; `None` when it is gone.
fn state_and_group(process: &Path) -> Option<(char, i32)> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}

/// What is written below some folders, as the kernel tells it.
pub struct Writes {
    events: OwnedFd,
}

impl Writes {
    /// Begins to listen; folders below these are not heard.
    pub fn below(folders: &[&Path]) -> Writes {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let events = inotify::init(flags).expect("inotify");
        let kinds = inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE;
        for folder in folders {
            inotify::add_watch(&events, *folder, kinds).expect("the folder is there");
        }
        Writes { events }
    }

    /// Waits until something is written, and returns how many times something was since the last
    /// look: none when there was nothing for a while.
    pub fn next(&self) -> usize {
        if !readable(&self.events, LOOK_AGAIN) {
            return 0;
        }
        let mut space = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.events, &mut space);
        let mut count = 0;
        while let Ok(_event) = events.next() {
            count += 1;
        }
        count
    }

    /// Returns what got its name (`+name`) and what was removed (`-name`) since the last look, in order.
    pub fn named(&self) -> Vec<String> {
        let mut named = Vec::new();
        while readable(&self.events, Duration::ZERO) {
            let mut space = [std::mem::MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&self.events, &mut space);
            // Each may be the last of what was read at once.
            while let Ok(event) = events.next() {
                let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if event.events().contains(inotify::ReadFlags::MOVED_TO) {
                    named.push(format!("+{name}"));
                } else if event.events().contains(inotify::ReadFlags::DELETE) {
                    named.push(format!("-{name}"));
                }
            }
        }
        named
    }

    /// Waits until something is written.
    pub fn first(&self) {
        let began = Instant::now();
        while self.next() == 0 {
            assert!(began.elapsed() < PATIENCE, "nothing is written");
        }
    }
}
