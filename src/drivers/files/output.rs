//! What the worker says, and how it ends: lines on stdout, one last line, an exit code.
//!
//! Whatever happens in the library — a panic in one of its threads, an endless loop, a daemon that is
//! gone — the process says what it can and ends. It never lingers.

use std::io::Write;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use rustic_core::{Progress as Bar, ProgressBars, ProgressType, RusticProgress};

use crate::lifecycle::workflow::Fault;

use super::super::protocol::{FaultLine, FaultWord, Line, ProgressLine, VERSION};

/// The exit code of a worker whose daemon is gone, as sysexits.h has it: try again later.
pub const EXIT_ABANDONED: i32 = 75;
/// The exit code of a worker that panicked, as sysexits.h has it: an internal error.
pub const EXIT_PANICKED: i32 = 70;

/// Often enough to look alive, seldom enough to cost nothing.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The worker's voice. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Held while a line is written, so that lines are whole.
    writing: Mutex<()>,
    /// Whether the last line is said.
    over: AtomicBool,
    doing: Mutex<Doing>,
    done: AtomicU64,
    total: AtomicU64,
}

#[derive(Debug, Default)]
struct Doing {
    text: String,
    unit: &'static str,
}

impl Output {
    /// Greets, and begins to tell the progress now and then.
    pub fn begin() -> Output {
        let output = Output::default();
        output.line(&Line::Snapkeep(VERSION));
        let teller = output.clone();
        std::thread::spawn(move || teller.tell_progress());
        output
    }

    /// Says one line of the answer.
    pub fn line(&self, line: &Line) {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.0.over.load(Ordering::SeqCst) {
            write(line);
        }
    }

    /// Says the last line, of a fault; nothing is said after it.
    pub fn last_fault(&self, fault: Fault) {
        let fault = Fault { message: hinted(fault.message), ..fault };
        self.last_line(&Line::Fault(fault.into()));
    }

    /// Says the last line; nothing is said after it.
    pub fn last_line(&self, line: &Line) {
        let _writing = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.0.over.swap(true, Ordering::SeqCst) {
            write(line);
        }
    }

    /// Sets what is being done.
    pub fn doing(&self, text: &str, unit: &'static str) {
        let mut doing = self.0.doing.lock().unwrap_or_else(PoisonError::into_inner);
        (doing.text, doing.unit) = (text.to_owned(), unit);
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(0, Ordering::Relaxed);
    }

    /// Sets how much there is to do.
    pub fn expect(&self, total: u64) {
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Adds to what is done.
    pub fn advance(&self, count: u64) {
        self.0.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Says at once what must not be missed, such as where a new key is.
    pub fn tell(&self, text: &str) {
        let (doing, unit) = (text.to_owned(), String::new());
        self.line(&Line::Progress(ProgressLine { doing, done: 0, total: None, unit }));
    }

    /// Ends the process because nobody waits for it any more. After the last line that is no news.
    pub fn abandon(&self) -> ! {
        process::exit(if self.0.over.load(Ordering::SeqCst) { 0 } else { EXIT_ABANDONED })
    }

    /// Ends the process with a fault, from a panic hook: no lock is waited for that the panicking
    /// thread may hold itself.
    pub fn panicked(&self, what: &str) -> ! {
        let writing = match self.0.writing.try_lock() {
            Ok(writing) => Some(writing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            // Somebody is writing; a line within a line would be worse than none.
            Err(TryLockError::WouldBlock) => None,
        };
        if writing.is_some() && !self.0.over.swap(true, Ordering::SeqCst) {
            let message = hinted(format!("the library panicked: {what}"));
            write(&Line::Fault(FaultLine { kind: FaultWord::Transient, message, retry_after_ms: None }));
        }
        process::exit(EXIT_PANICKED)
    }

    fn tell_progress(&self) {
        let mut told = None;
        loop {
            std::thread::park_timeout(PROGRESS_EVERY);
            let line = {
                let doing = self.0.doing.lock().unwrap_or_else(PoisonError::into_inner);
                let total = self.0.total.load(Ordering::Relaxed);
                ProgressLine {
                    doing: doing.text.clone(),
                    done: self.0.done.load(Ordering::Relaxed),
                    total: (total > 0).then_some(total),
                    unit: doing.unit.to_owned(),
                }
            };
            if !line.doing.is_empty() && told.as_ref() != Some(&line) {
                self.line(&Line::Progress(line.clone()));
                told = Some(line);
            }
        }
    }
}

/// Returns a message with a hint, where it speaks of what a memory limit leads to: no thread, no room.
fn hinted(message: String) -> String {
    let signs = ["Resource temporarily unavailable", "Cannot allocate memory", "not enough memory"];
    let hint = if signs.iter().any(|sign| message.contains(sign)) { " (memory_max may be too small)" } else { "" };
    message + hint
}

fn write(line: &Line) {
    let Ok(mut text) = serde_json::to_vec(line) else { return };
    text.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(&text).and_then(|()| stdout.flush()).is_err() {
        // Nobody listens.
        process::exit(EXIT_ABANDONED);
    }
}

/// The library's progress bars, of which the one in bytes is told.
#[derive(Clone, Debug)]
pub struct Bars(pub Output);

impl ProgressBars for Bars {
    fn progress(&self, progress_type: ProgressType, prefix: &str) -> Bar {
        match progress_type {
            ProgressType::Bytes => {
                self.0.doing(prefix.trim_end_matches('.'), "bytes");
                Bar::new(BytesBar(self.0.clone()))
            }
            ProgressType::Spinner | ProgressType::Counter => Bar::hidden(),
        }
    }
}

#[derive(Debug)]
struct BytesBar(Output);

impl RusticProgress for BytesBar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, length: u64) {
        self.0.0.total.store(length, Ordering::Relaxed);
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, count: u64) {
        self.0.0.done.fetch_add(count, Ordering::Relaxed);
    }

    fn finish(&self) {}
}
