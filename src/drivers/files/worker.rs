//! `snapkeep driver files`: one operation on a repository, then the end.
//!
//! It speaks the driver protocol on stdin and stdout. When its input ends the daemon is gone, and it
//! stops where it stands: whatever it leaves behind is no snapshot, and is swept by the next one.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, Read};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use rustic_core::repofile::SnapshotId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lifecycle::workflow::Fault;

use super::super::protocol::{
    AbilitiesResult, DescribeResult, DoneResult, Line, ListResult, RequestLine, SnapshotLine, StatusWord, VERSION, Verb,
};
use super::lock::{self, Lock};
use super::output::Output;
use super::{Config, Place, backup, keyring, maintain, relabel, repository, restore, verify};

/// Thousands of paths and patterns; a request that is longer was not written by our daemon.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// Does what the one line on stdin asks, and says on stdout what came of it.
pub fn worker_main() -> ExitCode {
    let output = Output::begin();
    let panics = output.clone();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}");
        let text = panic.to_string();
        // A thread that reads ahead for a reader that has given up: the reader says why it did.
        if !text.contains("SendError(") {
            panics.panicked(&first_words(&text))
        }
    }));
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    // What is made is nobody else's to read; restored files get the modes they had.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let outcome = read_request().and_then(|request| {
        let daemon = output.clone();
        std::thread::spawn(move || {
            // Nothing more is said to us; only the end matters.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            daemon.abandon()
        });
        answer(request, &output)
    });
    match outcome {
        Ok(result) => output.last_line(&Line::Result(result)),
        Err(fault) => output.last_fault(fault),
    }
    ExitCode::SUCCESS
}

fn read_request() -> Result<RequestLine, Fault> {
    let bad = |what: String| Fault::permanent(format!("request cannot be understood: {what}"));
    let mut line = String::new();
    std::io::stdin().lock().take(REQUEST_BYTES_MAX).read_line(&mut line).map_err(|error| bad(error.to_string()))?;
    let request: RequestLine = serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
    if request.snapkeep != VERSION {
        return Err(bad(format!("it is version {}, this is version {VERSION}", request.snapkeep)));
    }
    Ok(request)
}

fn answer(request: RequestLine, output: &Output) -> Result<Value, Fault> {
    let verb = request.verb;
    if verb == Verb::Abilities {
        return result(&AbilitiesResult {
            cancel: false,
            restore: true,
            restore_beside: true,
            verify: true,
            maintain: true,
            label: true,
            effects_max: 1,
        });
    }
    let place: Place = typed("repository", Value::Object(request.repository))?;
    let name = || needed("name", request.name.clone());
    let id = || match needed("id", request.id.clone())? {
        id if repository::is_id(&id) => Ok(id),
        id => Err(Fault::permanent(format!("{id} is not a snapshot's id"))),
    };
    match verb {
        Verb::Create => {
            let config: Config = typed("config", needed("config", request.config.clone())?)?;
            let labels = needed("labels", request.labels.clone())?;
            result(&backup::create(&place, &config, &name()?, &labels, &LOG, output)?)
        }
        Verb::Describe => result(&describe(&place, name()?, output)?),
        Verb::List => result(&list(&place, output)?),
        Verb::Delete => result(&delete(&place, &name()?, &id()?, output)?),
        Verb::Restore => {
            let to = needed("to", request.to.clone())?;
            let include = request.include.clone().unwrap_or_default();
            let overwrite = request.overwrite.unwrap_or(false);
            let wanted = restore::Wanted { to: &to, include: &include, overwrite };
            result(&restore::restore(&place, &id()?, &wanted, &LOG, output)?)
        }
        Verb::Verify => {
            let percent = needed("read_data_percent", request.read_data_percent)?;
            result(&verify::verify(&place, &id()?, percent, output)?)
        }
        Verb::Maintain => {
            let keep_ms = needed("keep_ms", request.keep_ms)?;
            result(&maintain::maintain(&place, keep_ms, output)?)
        }
        Verb::Label => {
            let (set, remove) = (request.labels.clone().unwrap_or_default(), request.remove_labels.clone());
            let remove = remove.unwrap_or_default();
            let wanted = relabel::Wanted { set: &set, remove: &remove };
            result(&relabel::label(&place, &name()?, &id()?, &wanted, output)?)
        }
        Verb::Keys => result(&keyring::answer(&place, &needed("keys", request.keys.clone())?, output)?),
        Verb::Abilities | Verb::Cancel => Err(Fault::permanent("what is being made is stopped by ending its process")),
    }
}

fn describe(place: &Place, name: String, output: &Output) -> Result<DescribeResult, Fault> {
    // First the lock, then the list: who has let go of the lock by now has saved its snapshot.
    if lock::is_making(place, &name)? {
        let snapshot = SnapshotLine {
            id: name.clone(),
            name,
            taken_at_ms: None,
            status: StatusWord::Running,
            labels: Default::default(),
            in_use: None,
            size_bytes: None,
        };
        return Ok(DescribeResult { snapshot: Some(snapshot), message: None });
    }
    let Some(opened) = repository::open(place, output)? else {
        return Ok(DescribeResult { snapshot: None, message: None });
    };
    let all = repository::snapshots(place, &opened)?;
    // What a killed process left behind is nothing: it is swept when it is made again.
    let mut whole = relabel::current(&all).filter(|snapshot| !repository::is_provisional(snapshot));
    let found = whole.find_map(|snapshot| {
        let line = repository::line(snapshot);
        (line.name == name).then(|| (line, snapshot.description.clone()))
    });
    let (snapshot, message) = found.unzip();
    Ok(DescribeResult { snapshot, message: message.flatten() })
}

fn list(place: &Place, output: &Output) -> Result<ListResult, Fault> {
    let Some(opened) = repository::open(place, output)? else { return Ok(ListResult { count: 0 }) };
    let all = repository::snapshots(place, &opened)?;
    let mut count = 0;
    for snapshot in relabel::current(&all) {
        let mut line = repository::line(snapshot);
        // One that is about to be replaced is no failure while its maker lives.
        if repository::is_provisional(snapshot) && lock::is_making(place, &line.name)? {
            line.status = StatusWord::Running;
        }
        output.line(&Line::Snapshot(line));
        count += 1;
    }
    Ok(ListResult { count })
}

/// Forgets the snapshot. What only it needed stays in the repository until it is pruned, which is
/// never done here: a prune beside a backup loses data, and needs a check after it.
fn delete(place: &Place, name: &str, id: &str, output: &Output) -> Result<DoneResult, Fault> {
    let lock = Lock::take(place, "delete", name)?;
    let file = place.path.join("snapshots").join(id);
    let is_there =
        || file.try_exists().map_err(|error| Fault::transient(format!("snapshot {name} cannot be looked at: {error}")));
    // Opening tells a missing repository from a missing snapshot.
    let Some(opened) = repository::open(place, output)? else { return Ok(DoneResult {}) };
    if !is_there()? {
        return Ok(DoneResult {});
    }
    repository::no_restic_at_work(place, &lock)?;
    relabel::sweep_behind(place, &opened, id)?;
    let id: SnapshotId = id.parse().map_err(|_| Fault::permanent(format!("{id} is not a snapshot's id")))?;
    opened.delete_snapshots(&[id]).map_err(|error| repository::fault("snapshot cannot be deleted", &error))?;
    fs::File::open(place.path.join("snapshots"))
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Fault::transient(format!("repository cannot be synced: {error}")))?;
    if is_there()? {
        Err(Fault::transient(format!("snapshot {name} was deleted and is still there")))
    } else {
        Ok(DoneResult {})
    }
}

/// Returns the beginning of a panic's text: the library's errors carry whole backtraces.
fn first_words(text: &str) -> String {
    /// Enough for the place and the cause.
    const CHARS_MAX: usize = 400;
    text.split("backtrace:").next().unwrap_or(text).chars().take(CHARS_MAX).collect()
}

fn needed<T>(field: &str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::permanent(format!("request has no {field}")))
}

fn typed<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Fault> {
    serde_json::from_value(value).map_err(|error| Fault::permanent(format!("request has a bad {field}: {error}")))
}

fn result<T: serde::Serialize>(result: &T) -> Result<Value, Fault> {
    serde_json::to_value(result).map_err(|error| Fault::permanent(format!("result cannot be written: {error}")))
}

/// What the library logs: the only place where it tells of some things that it could not do.
static LOG: Log = Log(Mutex::new(Kept { passed_over: 0, warnings: 0, last: VecDeque::new() }));

/// Counts the library's warnings and keeps the last few.
#[derive(Debug)]
pub struct Log(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    /// Entries of a snapshot that were left out of it.
    passed_over: u64,
    /// All warnings and errors.
    warnings: u64,
    last: VecDeque<(bool, String)>,
}

impl Log {
    /// As many as a message can use.
    const LAST_MAX: usize = 10;

    /// How often the library left something out of a snapshot and went on.
    pub fn passed_over(&self) -> u64 {
        self.kept().passed_over
    }

    /// The last of them, `count` at most.
    pub fn last_passed_over(&self, count: u64) -> Vec<String> {
        self.last(count, |passed_over| passed_over)
    }

    /// How often it warned at all.
    pub fn warnings(&self) -> u64 {
        self.kept().warnings
    }

    /// The last warnings, `count` at most.
    pub fn last_warnings(&self, count: u64) -> Vec<String> {
        self.last(count, |_| true)
    }

    fn last(&self, count: u64, wanted: fn(bool) -> bool) -> Vec<String> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let kept = self.kept();
        kept.last
            .iter()
            .rev()
            .filter(|(passed_over, _)| wanted(*passed_over))
            .take(count)
            .map(|(_, t)| t.clone())
            .collect()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        eprintln!("{}: {text}", record.level());
        let ignored = text.starts_with("ignoring error");
        // The walk that only measures says the same of what the real one says again; a file system
        // without extended attributes has none to lose.
        let passed_over = ignored
            && (record.target().starts_with("rustic_core::archiver")
                || (text.contains("xargs") && !text.contains("code: 95")));
        // A restore looks for what its directory holds already, and finds that it is not there yet, or
        // that there is more.
        if text.starts_with("Error during collection of files") || text.starts_with("Note: additional entries") {
            return;
        }
        let mut kept = self.kept();
        kept.warnings += 1;
        kept.passed_over += u64::from(passed_over);
        if kept.last.len() == Log::LAST_MAX {
            kept.last.pop_front();
        }
        kept.last.push_back((passed_over, text));
    }

    fn flush(&self) {}
}
