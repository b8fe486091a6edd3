//! What can change under a running daemon without asking it: the files, and the clock.
//!
//! A hint wakes the loader; it then reads everything again and says what is there. Nothing is
//! believed of the hint itself, so a lost one costs time and nothing else: housekeeping wakes the
//! loader too, and so does SIGHUP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::thread;
use std::time::Duration;

use inotify::{Inotify, WatchMask, Watches};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use tokio::sync::oneshot;

use crate::engine::event::Event;
use crate::roster::Roster;

/// An editor's save is four to seven events within a millisecond, a package's upgrade many files
/// within a second: read once when it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(200);
/// After this a file's times tell one version from the next, even where they are coarse.
const SETTLED: Duration = Duration::from_secs(2);
/// Never put off longer than this, however much is going on.
const HINTS_MAX: usize = 50;

/// Wakes the loader.
#[derive(Clone, Debug)]
pub struct Waker(Sender<Hint>);

/// Why the loader is woken.
#[derive(Debug)]
enum Hint {
    /// Something may have changed, and more of it may follow.
    Changed,
    /// Somebody has written and waits until it was read.
    Written(oneshot::Sender<()>),
}

impl Waker {
    /// Says that something may have changed. Without a loader to hear it, nothing happens.
    pub fn wake(&self) {
        let _ = self.0.send(Hint::Changed);
    }

    /// Returns once the engine has been given what is in the files now. Fails where there is no loader any
    /// more.
    pub async fn read(&self) -> Result<(), Gone> {
        let (done, read) = oneshot::channel();
        self.0.send(Hint::Written(done)).map_err(|_| Gone)?;
        read.await.map_err(|_| Gone)
    }
}

/// Nobody reads the files any more: the daemon is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Starts the loader's thread: on every hint it calls `load` and tells the engine. `folders` are
/// watched as far as they exist; those that come into being later are watched from then on.
pub fn start(
    folders: Vec<PathBuf>,
    mut load: impl FnMut() -> Arc<Roster> + Send + 'static,
    inbox: SyncSender<Event>,
) -> std::io::Result<Waker> {
    let (sender, hints) = channel();
    let waker = Waker(sender);
    let mut watches = match Inotify::init() {
        Ok(inotify) => {
            let watches = inotify.watches();
            let waker = waker.clone();
            thread::Builder::new().name("inotify".into()).spawn(move || follow(inotify, &waker))?;
            Some(watches)
        }
        Err(trouble) => {
            tracing::warn!(cause = %trouble, "files cannot be watched; changes are found by SIGHUP and by the regular re-scan");
            None
        }
    };
    if let Some(watches) = &mut watches {
        add(watches, &folders);
    }
    thread::Builder::new().name("loader".into()).spawn(move || {
        // What changed between the daemon's first look and the watch is found by a second look.
        let mut unsettled = true;
        while let Some(waiting) = next(&hints, unsettled) {
            // A folder that was removed and made again has lost its watch without a word.
            if let Some(watches) = &mut watches {
                add(watches, &folders);
            }
            let roster = load();
            unsettled = roster.is_unsettled;
            if inbox.send(Event::Loaded(roster)).is_err() {
                break;
            }
            // What they say to the engine now, it hears after this. Some may have gone.
            for done in waiting {
                let _ = done.send(());
            }
        }
    })?;
    Ok(waker)
}

/// Waits for a hint, then until it is quiet. Where the last look came too soon after a change to be
/// sure of it, it waits no longer than it takes to be; where somebody waits for it, not at all. Returns
/// whoever waits; `None` when nobody can wake us any more.
fn next(hints: &Receiver<Hint>, unsettled: bool) -> Option<Vec<oneshot::Sender<()>>> {
    let mut waiting = Vec::new();
    let mut note = |hint: Hint| match hint {
        Hint::Changed => false,
        Hint::Written(done) => {
            waiting.push(done);
            true
        }
    };
    let mut is_whole = if unsettled {
        match hints.recv_timeout(SETTLED) {
            Ok(hint) => note(hint),
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    } else {
        note(hints.recv().ok()?)
    };
    for _ in 0..HINTS_MAX {
        if is_whole {
            break;
        }
        is_whole = hints.recv_timeout(QUIET).map_or(true, &mut note);
    }
    // One look answers all that came before it.
    while let Ok(hint) = hints.try_recv() {
        note(hint);
    }
    Some(waiting)
}

/// Watches every folder that is there, or else the nearest one above it that is.
fn add(watches: &mut Watches, folders: &[PathBuf]) {
    let mask = WatchMask::CREATE
        | WatchMask::CLOSE_WRITE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    for folder in folders {
        let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        // A watch that exists already is the same watch.
        if let Err(trouble) = watches.add(there, mask) {
            tracing::warn!(folder = %there.display(), cause = %trouble, "folder cannot be watched");
        }
    }
}

fn follow(mut inotify: Inotify, waker: &Waker) {
    let mut buffer = [0; 4096];
    loop {
        match inotify.read_events_blocking(&mut buffer) {
            Ok(_) => waker.wake(),
            Err(trouble) if trouble.kind() == std::io::ErrorKind::Interrupted => {}
            Err(trouble) => {
                tracing::warn!(cause = %trouble, "files are watched no longer; changes are found by SIGHUP and by the regular re-scan");
                return;
            }
        }
    }
}

/// Tells the engine whenever the wall clock is set, at once (S16). The engine would notice by
/// itself, within a minute.
pub fn start_clock(inbox: SyncSender<Event>) -> std::io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?;
    thread::Builder::new().name("clock".into()).spawn(move || {
        // Any far instant will do: the timer is there to be cancelled.
        let far = Timespec { tv_sec: i64::from(i32::MAX) * 64, tv_nsec: 0 };
        let never = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: far };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        while timerfd_settime(&timer, flags, &never).is_ok() {
            match rustix::io::read(&timer, &mut [0u8; 8]) {
                Err(Errno::CANCELED) => {
                    if inbox.send(Event::ClockStepped).is_err() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    })?;
    Ok(())
}
