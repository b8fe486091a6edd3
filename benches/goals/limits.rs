//! What this machine can do without us.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};

use crate::stats::{Samples, span};
use crate::table::Table;

/// A page of the journal.
const PAGE: usize = 4096;
/// Pages written round and round, as the journal's log is.
const PAGES: usize = 1024;
/// `statfs` type of a file system in memory.
const TMPFS: u32 = 0x0102_1994;

/// What the other rows are held against.
#[derive(Debug)]
pub struct Raw {
    pub fdatasync: Samples,
}

/// Returns a line about the machine.
pub fn machine(folder: &Path) -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let file_system = rustix::fs::statfs(folder).map_or(0, |found| found.f_type as u32);
    let warning = if file_system == TMPFS { " — IN MEMORY: figures of the disk mean nothing" } else { "" };
    format!(
        "machine: {cores} × {model}, Linux {}; journals on a file system of type {file_system:#x}{warning}\n{}",
        kernel.trim(),
        load()
    )
}

/// Returns a line about how busy it is.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average (1, 5, 15 min; running/all): {}", load.trim())
}

/// A file written page by page, each made durable: the least a journal could do.
#[derive(Debug)]
pub struct RawLog {
    file: File,
    page: [u8; PAGE],
    written: usize,
}

impl RawLog {
    pub fn new(folder: &Path) -> RawLog {
        let path = folder.join("raw-log");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).expect("a file");
        // In its full length from the beginning: a log in use is written over, not made longer.
        file.write_all_at(&vec![0; PAGE * PAGES], 0).expect("written");
        file.sync_all().expect("durable");
        RawLog { file, page: [7; PAGE], written: 0 }
    }

    pub fn write(&mut self) {
        self.page[..8].copy_from_slice(&self.written.to_le_bytes());
        let at = (self.written % PAGES * PAGE) as u64;
        self.file.write_all_at(&self.page, at).expect("written");
        self.file.sync_data().expect("durable");
        self.written += 1;
    }

    pub fn samples(&mut self, times: usize) -> Samples {
        Samples::of(times, |_| self.write())
    }
}

pub fn measure(folder: &Path, table: &mut Table) -> Raw {
    let fdatasync = RawLog::new(folder).samples(2_000);
    let rate = 1e9 / fdatasync.mean();
    let figure = format!("{} p99 {}", span(fdatasync.median()), span(fdatasync.p99()));
    table.note("raw 4 KiB write + fdatasync, p50", figure, &format!("{rate:.0}/s"), None);

    let lateness = timer_lateness(300);
    let figure = format!("{} p99 {}", span(lateness.median()), span(lateness.p99()));
    table.note("raw timerfd lateness, p50", figure, "—", None);
    Raw { fdatasync }
}

/// Returns how late a timer of the kernel wakes a waiting thread.
fn timer_lateness(times: usize) -> Samples {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).expect("a timer");
    let wait = Duration::from_millis(3);
    let mut samples = Samples::default();
    for _ in 0..times {
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: 0, tv_nsec: 3_000_000 },
        };
        let begin = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).expect("set");
        rustix::io::read(&timer, &mut [0u8; 8]).expect("it fires");
        samples.add(begin.elapsed().saturating_sub(wait));
    }
    samples
}
