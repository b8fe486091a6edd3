//! One process in a group of its own, that cannot be forgotten.
//!
//! The group is killed before its leader is reaped, never after: until then the leader's number
//! cannot belong to anybody else, so the signal cannot hit a stranger.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, prlimit, waitid,
};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::signal::unix::SignalKind;

use super::{Limits, Program};

/// Where programs are looked for. Fixed, so that the daemon's own environment decides nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long output is still read after the group has ended, while something that left the group holds
/// the pipe open. What the leader wrote itself is in the pipe by then.
const SETTLE: Duration = Duration::from_secs(1);

/// A running driver process. Dropping it ends its group: politely where a runtime is there to wait,
/// at once where none is.
#[derive(Debug)]
pub struct Worker {
    child: Option<Child>,
    /// Tells that some child of ours has ended; which one is for us to find out.
    endings: Option<tokio::signal::unix::Signal>,
    group: Pid,
    grace: Duration,
}

/// The three pipes of a worker.
#[derive(Debug)]
pub struct Pipes {
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// By itself, or by a signal that was not ours.
    Itself(ExitStatus),
    /// It had to be ended.
    ByUs,
}

impl Ended {
    /// Whether its end contradicts a good result. One that said its last line and then lingered
    /// until we ended it has not taken it back.
    pub fn failed(self) -> bool {
        match self {
            Ended::Itself(status) => !status.success(),
            Ended::ByUs => false,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::ByUs => f.write_str("closed its output, gave no result and had to be ended"),
            Ended::Itself(status) => match (status.code(), status.signal()) {
                (Some(0), _) => f.write_str("ended without a result"),
                (Some(code), _) => write!(f, "ended with exit code {code}"),
                (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
                (None, None) => f.write_str("ended"),
            },
        }
    }
}

impl Worker {
    /// Starts the program. The limits hold before it can have read its request.
    pub fn start(program: &Program, limits: &Limits) -> io::Result<(Worker, Pipes)> {
        // Without a home some programs write into the root directory.
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
        let mut command = Command::new(&program.path);
        if let Some(called) = &program.called {
            command.arg0(called);
        }
        command
            .args(&program.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", home)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Before the child begins, so that its end cannot be missed.
        let endings = Some(tokio::signal::unix::signal(SignalKind::child())?);
        let mut child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (Some(group), Some(stdin), Some(stdout), Some(stderr)) =
            (id, child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the process has no number or no pipes"));
        };
        // From here on an error drops the worker, and with it the process.
        let worker = Worker { child: Some(child), endings, group, grace: limits.grace };
        // What it writes to and nobody else sees, which is what memory is used up by. Address space alone is
        // mostly set aside and never used; its own limit catches what is shared.
        limit(group, Resource::Data, limits.memory_bytes_max)?;
        limit(group, Resource::As, limits.memory_bytes_max.saturating_mul(ADDRESS_SPACE_FACTOR))?;
        // A core would hold keys and other people's data.
        limit(group, Resource::Core, 0)?;
        Ok((worker, Pipes { stdin, stdout, stderr }))
    }

    /// Waits until the leader has ended, ends its children, and leaves time to read what they wrote.
    pub async fn exited_and_settled(&mut self) {
        self.exited().await;
        self.signal(Signal::KILL);
        tokio::time::sleep(SETTLE).await;
    }

    /// Lets a process that has said its last line, or can say no more, end by itself within the grace.
    pub async fn finish(mut self) -> Ended {
        let by_itself = tokio::time::timeout(self.grace, self.exited()).await.is_ok();
        self.end(by_itself).await
    }

    /// Asks the group to stop, and ends it after the grace.
    pub async fn stop(self) {
        let grace = self.grace;
        self.stop_within(grace).await;
    }

    async fn stop_within(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(grace, self.exited()).await;
        self.end(false).await;
    }

    /// Ends what is left of the group and reaps the leader.
    async fn end(mut self, by_itself: bool) -> Ended {
        self.signal(Signal::KILL);
        let Some(child) = &mut self.child else { return Ended::ByUs };
        let status = child.wait().await;
        // Reaped: the number is free, and must not be used again.
        self.child = None;
        match status {
            Ok(status) if by_itself => Ended::Itself(status),
            Ok(_) | Err(_) => Ended::ByUs,
        }
    }

    /// Waits until the leader has ended; it stays unreaped.
    async fn exited(&mut self) {
        let Some(endings) = &mut self.endings else { return };
        let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // An error means that there is no such child: nothing to wait for.
        while let Ok(None) = waitid(WaitId::Pid(self.group), end) {
            if endings.recv().await.is_none() {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            // An error means that nobody is left to hear it.
            let _ = kill_process_group(self.group, signal);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) if !self.grace.is_zero() => {
                // Should the runtime end first, this one is dropped in turn, and has no grace.
                let (child, endings) = (self.child.take(), self.endings.take());
                let last = Worker { child, endings, group: self.group, grace: Duration::ZERO };
                runtime.spawn(last.stop_within(self.grace));
            }
            _ => self.signal(Signal::KILL),
        }
    }
}

/// Allocators and runtimes set aside several times what they use.
const ADDRESS_SPACE_FACTOR: u64 = 4;

fn limit(pid: Pid, resource: Resource, max: u64) -> io::Result<()> {
    // Nobody may give a child more than there is for all.
    let max = getrlimit(resource).maximum.map_or(max, |own| own.min(max));
    let both = Rlimit { current: Some(max), maximum: Some(max) };
    match prlimit(Some(pid), resource, both) {
        // It has ended already; its exit code will say why.
        Err(rustix::io::Errno::SRCH) | Ok(_) => Ok(()),
        // It has already become another user's, as sudo and setpriv do, whose limits are not ours to set.
        Err(rustix::io::Errno::PERM) => {
            tracing::warn!(pid = pid.as_raw_nonzero(), "driver runs as another user: its memory is not limited");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
