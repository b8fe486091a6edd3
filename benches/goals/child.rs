//! The daemon in a process of its own, as an operator runs it, and what is asked of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use snapkeep::http::short;

/// A child that is not up by then never will be.
const UP_MAX: Duration = Duration::from_secs(120);

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    /// From the start of the process to its first answer.
    pub up: Duration,
}

impl Daemon {
    /// Starts one and waits for its first answer.
    pub fn start(settings: &Path) -> Daemon {
        let socket = settings.with_file_name("state").join("api.sock");
        let begin = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_snapkeep"))
            .args(["run", "--config"])
            .arg(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let mut daemon = Daemon { child, socket, up: Duration::ZERO };
        loop {
            if daemon.try_get("/health").is_some() {
                break;
            }
            assert!(begin.elapsed() < UP_MAX, "the daemon does not come up");
            assert!(daemon.child.try_wait().expect("asked").is_none(), "the daemon ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        daemon.up = begin.elapsed();
        daemon
    }

    /// Returns the body of an answer.
    pub fn get(&self, target: &str) -> Vec<u8> {
        self.try_get(target).unwrap_or_else(|| panic!("no answer to {target}"))
    }

    fn try_get(&self, target: &str) -> Option<Vec<u8>> {
        self.call("GET", target, "").ok().filter(|answer| answer.0 == 200).map(|answer| answer.1)
    }

    /// Returns the status and the body. Each call has a connection of its own, as those of the
    /// command line have.
    pub fn call(&self, method: &str, target: &str, body: &str) -> std::io::Result<(u16, Vec<u8>)> {
        let (_directory, socket) = short(&self.socket)?;
        let mut stream = UnixStream::connect(socket)?;
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: snapkeep\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Ok((status.unwrap_or(0), answer.split_off((head + 4).min(answer.len()))))
    }

    /// Returns a line of the process's status in kB: `VmRSS`, `RssAnon`.
    pub fn memory_kb(&self, key: &str) -> u64 {
        status_number(&format!("/proc/{}/status", self.child.id()), key)
    }

    /// Returns how often each thread has waited, with its name.
    pub fn waits(&self) -> Vec<(String, u64)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let thread = |task: fs::DirEntry| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let status = task.path().join("status");
            (name.trim().to_string(), status_number(&status.to_string_lossy(), "voluntary_ctxt_switches"))
        };
        tasks.flatten().map(thread).collect()
    }

    /// Ends it as a service manager would, and waits for its end.
    pub fn stop(mut self) {
        self.terminate();
        let _ = self.child.wait();
    }

    fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After a panic nothing is left running; a daemon that was stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a number of a `/proc` status file, 0 where there is none.
pub fn status_number(path: &str, key: &str) -> u64 {
    let status = fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
