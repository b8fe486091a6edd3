//! The daemon's side of the driver protocol: one process for each operation.
//!
//! The process gets its own group, an empty environment, a memory limit and a deadline; what it says
//! is bounded, parsed strictly and never trusted. However a call ends — answered, timed out, dropped —
//! the whole group is ended and the process is reaped.
//!
//! ```text
//!  request line ──▶ stdin ┐            ┌ stdout ──▶ Dialogue ──▶ answer or fault
//!  (kept open: its end    ├── process ─┤
//!   means "stop")         ┘            └ stderr ──▶ the last few KiB, for messages
//! ```
//!
//! What it does not do: keep a process between operations, ask again, or hide a driver's mistake.

mod child;
mod dialogue;
mod interrupt;

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::{Listing, Snapshot, SnapshotName};
use crate::lifecycle::workflow::Fault;

use super::keys::{KeyOrder, KeyReport};
use super::protocol::{
    AbilitiesResult, AmountLine, CreateResult, DescribeResult, DoneResult, LabelResult, ListResult, MaintainResult,
    RequestLine, RestoreResult, SnapshotLine, VERSION, Verb, VerifyResult,
};
use super::{
    Abilities, Amount, Call, Created, Driver, Found, LabelOrder, MaintainOrder, Maintained, Order, Reply, RestoreOrder,
    Restored, Verified, VerifyOrder,
};
use child::{Ended, Worker};
use dialogue::{Breach, Dialogue};

pub(super) use dialogue::Heard;
pub(super) use interrupt::Interruption;

/// What a driver process may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory of its own, of each of its processes; four times that in address space.
    pub memory_bytes_max: u64,
    /// One line of output.
    pub line_bytes_max: usize,
    /// All lines of one operation.
    pub output_bytes_max: u64,
    /// Snapshots in one listing; they are held in memory.
    pub snapshots_max: usize,
    /// The lines of those snapshots, together.
    pub listing_bytes_max: usize,
    /// How long it may take to end by itself: after its last line, and after it was asked to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Many times what the embedded driver needs, and enough for one that holds an index.
            memory_bytes_max: 4 << 30,
            // A snapshot with every label a repository allows is a tenth of that.
            line_bytes_max: 256 << 10,
            // A day of progress, five lines a second, is a twentieth of that.
            output_bytes_max: 1 << 30,
            // Twice the largest repository we plan retention for; about 1 KiB each.
            snapshots_max: 200_000,
            // So many of that size fit; few of the largest kind may not fill the daemon's memory.
            listing_bytes_max: 256 << 20,
            // Long enough to remove a lock, short enough to notice that it will not.
            grace: Duration::from_secs(5),
        }
    }
}

/// The program to start: argv, never a shell.
#[derive(Clone, Debug)]
pub struct Program {
    /// What to execute; looked up in the fixed path when it holds no slash.
    pub path: OsString,
    /// Its arguments. Never anything secret: every user can read them.
    pub arguments: Vec<OsString>,
    /// What it is told that it is called, and what `ps` shows, where that is not its path.
    pub called: Option<OsString>,
    /// What to call it in messages.
    pub title: String,
}

/// A repository whose driver is a program that speaks the driver protocol.
#[derive(Debug)]
pub struct ProcessDriver {
    program: Program,
    repository: Map<String, Value>,
    abilities: Abilities,
    limits: Limits,
}

impl ProcessDriver {
    /// Returns the driver. Nothing is started before the first call.
    pub fn new(
        program: Program,
        repository: Map<String, Value>,
        abilities: Abilities,
        limits: Limits,
    ) -> ProcessDriver {
        ProcessDriver { program, repository, abilities, limits }
    }

    /// Asks the program what it can do; for comparison with what was configured.
    pub async fn ask_abilities(&self, call: &Call) -> Result<Abilities, Fault> {
        let answer: AbilitiesResult = self.answer(self.request(Verb::Abilities, call), call).await?;
        let effects_max = usize::try_from(answer.effects_max).unwrap_or(usize::MAX).max(1);
        let AbilitiesResult { cancel, restore, restore_beside, verify, maintain, label, effects_max: _ } = answer;
        Ok(Abilities { cancel, restore, restore_beside, verify, maintain, label, effects_max })
    }

    /// Returns the same program, of which is now known what it can do.
    pub(super) fn able(self, abilities: Abilities) -> ProcessDriver {
        ProcessDriver { abilities, ..self }
    }

    /// Returns the same driver, started through a shell that first does `before`.
    pub(super) fn after(&self, before: &str) -> ProcessDriver {
        let script = format!("{before}; exec \"$@\"");
        let words = ["-c".into(), script.into(), "sh".into(), self.program.path.clone()];
        let program = Program {
            path: "/bin/sh".into(),
            arguments: words.into_iter().chain(self.program.arguments.iter().cloned()).collect(),
            called: None,
            title: self.program.title.clone(),
        };
        ProcessDriver {
            program,
            repository: self.repository.clone(),
            abilities: self.abilities,
            limits: self.limits.clone(),
        }
    }

    pub(super) fn request(&self, verb: Verb, call: &Call) -> RequestLine {
        RequestLine {
            snapkeep: VERSION,
            verb,
            name: None,
            id: None,
            time_max_ms: u64::try_from(call.time_max.as_millis()).unwrap_or(u64::MAX),
            labels: None,
            to: None,
            include: None,
            overwrite: None,
            config: None,
            repository: self.repository.clone(),
            read_data_percent: None,
            keep_ms: None,
            remove_labels: None,
            keys: None,
        }
    }

    /// Asks about keys. Only of a program that is this one.
    pub(super) async fn ask_keys(&self, order: &KeyOrder, call: &Call) -> Result<KeyReport, Fault> {
        let request = RequestLine { keys: Some(order.clone()), ..self.request(Verb::Keys, call) };
        self.answer(request, call).await
    }

    /// Asks, and reads the result as the verb's form.
    async fn answer<T: DeserializeOwned>(&self, request: RequestLine, call: &Call) -> Result<T, Fault> {
        let verb = request.verb;
        let heard = self.converse(&request, call).await?;
        self.result(verb, heard.result)
    }

    fn result<T: DeserializeOwned>(&self, verb: Verb, result: Value) -> Result<T, Fault> {
        serde_json::from_value(result).map_err(|error| self.breach(verb, format!("its result was wrong: {error}")))
    }

    fn breach(&self, verb: Verb, what: impl fmt::Display) -> Fault {
        let message = format!("driver {} broke the driver protocol: {what}", self.program.title);
        // A listing that breaks off says nothing about what it did not say.
        if verb == Verb::List { Fault::incomplete(message) } else { Fault::permanent(message) }
    }

    /// Asks, and hears the program out within the call's time.
    async fn converse(&self, request: &RequestLine, call: &Call) -> Result<Heard, Fault> {
        let line = serde_json::to_vec(request)
            .map_err(|error| Fault::permanent(format!("driver settings cannot be written as JSON: {error}")))?;
        self.exchange(request.verb, line, call).await?
    }

    /// Starts the program, says the line, whatever it holds, and hears the program out as an answer
    /// to `verb`.
    ///
    /// # Errors
    ///
    /// What the program did wrong, in our words; a fault in its own words is an answer.
    pub(super) async fn exchange(
        &self,
        verb: Verb,
        mut line: Vec<u8>,
        call: &Call,
    ) -> Result<Result<Heard, Fault>, Fault> {
        line.push(b'\n');
        let (mut worker, pipes) = Worker::start(&self.program, &self.limits).map_err(|error| {
            let message = format!("driver {} could not be started: {error}", self.program.title);
            match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => Fault::permanent(message),
                _ => Fault::transient(message),
            }
        })?;
        let (mut stdin, mut stdout, mut stderr) = (pipes.stdin, pipes.stdout, pipes.stderr);
        let mut tail = Tail::default();
        let mut dialogue = Dialogue::new(verb, &self.limits, &call.progress);
        let heard = {
            let hear = async {
                let mut buffer = vec![0; 64 << 10];
                loop {
                    match stdout.read(&mut buffer).await {
                        Ok(0) | Err(_) => return Ok::<(), Breach>(()),
                        Ok(count) => {
                            if dialogue.hear(&buffer[..count])? {
                                return Ok(());
                            }
                        }
                    }
                }
            };
            let attend = async {
                // A driver that does not read its request will end without a result, and that is told.
                let tell = async {
                    let _ = stdin.write_all(&line).await;
                    let _ = stdin.flush().await;
                };
                tokio::join!(tell, tail.follow(&mut stderr));
                std::future::pending::<()>().await;
            };
            tokio::select! {
                // What has been said is heard before anything else is concluded.
                biased;
                heard = hear => Some(heard),
                () = worker.exited_and_settled() => Some(Ok(())),
                () = attend => None,
                () = tokio::time::sleep(call.time_max) => None,
            }
        };
        let Some(heard) = heard else {
            drop(stdin);
            worker.stop().await;
            let message = format!("driver {} did not {} within {:?}", self.program.title, verb.word(), call.time_max);
            return Err(Fault::transient(message));
        };
        if let Err(breach) = heard {
            drop(stdin);
            worker.stop().await;
            return Err(self.breach(verb, breach));
        }
        // Its input stays open until it has ended: the end of it would tell it to stop.
        let ended = worker.finish().await;
        drop(stdin);
        tail.rest(&mut stderr).await;
        if !tail.is_empty() {
            tracing::debug!(driver = %self.program.title, verb = verb.word(), stderr = %tail.text(), "driver wrote to stderr");
        }
        match dialogue.end().map_err(|breach| self.breach(verb, breach))? {
            None => Err(self.died(verb, &ended, &tail)),
            Some(Ok(_)) if ended.failed() => Err(self.died(verb, &ended, &tail)),
            Some(said) => Ok(said),
        }
    }

    /// It ended without a result, or took its result back by its exit code.
    fn died(&self, verb: Verb, ended: &Ended, tail: &Tail) -> Fault {
        let mut message = format!("driver {} {ended} during {}", self.program.title, verb.word());
        if !tail.is_empty() {
            message.push_str(": ");
            message.push_str(&tail.text());
        }
        if tail.speaks_of_memory() {
            message.push_str(&format!(" (memory_max is {} MiB)", self.limits.memory_bytes_max >> 20));
        }
        if verb == Verb::List { Fault::incomplete(message) } else { Fault::transient(message) }
    }

    fn same_name(&self, verb: Verb, asked: &str, line: SnapshotLine, message: Option<String>) -> Result<Found, Fault> {
        if line.name != asked {
            let what = format!("asked for {asked}, it answered for {}", dialogue::clean(&line.name));
            return Err(self.breach(verb, what));
        }
        let snapshot = dialogue::checked(line).map_err(|what| self.breach(verb, what))?;
        Ok(Found { snapshot, message: message.map(|message| dialogue::clean(&message)) })
    }
}

impl Driver for ProcessDriver {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn create<'a>(&'a self, order: &'a Order, call: &'a Call) -> Reply<'a, Created> {
        Box::pin(async move {
            let request = RequestLine {
                name: Some(order.name.to_string()),
                labels: Some(order.labels.clone()),
                config: Some(Value::clone(&order.config)),
                ..self.request(Verb::Create, call)
            };
            let answer: CreateResult = self.answer(request, call).await?;
            match (answer.accepted, answer.snapshot) {
                (true, None) => Ok(Created::Accepted),
                (false, Some(line)) => {
                    self.same_name(Verb::Create, order.name.as_str(), line, answer.message).map(Created::Ended)
                }
                (true, Some(_)) | (false, None) => {
                    Err(self.breach(Verb::Create, "its result must hold either accepted or snapshot"))
                }
            }
        })
    }

    fn describe<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, Option<Found>> {
        Box::pin(async move {
            let request = RequestLine { name: Some(name.to_string()), ..self.request(Verb::Describe, call) };
            let answer: DescribeResult = self.answer(request, call).await?;
            match answer.snapshot {
                None => Ok(None),
                Some(line) => self.same_name(Verb::Describe, name.as_str(), line, answer.message).map(Some),
            }
        })
    }

    fn list<'a>(&'a self, call: &'a Call) -> Reply<'a, Listing> {
        Box::pin(async move {
            let heard = self.converse(&self.request(Verb::List, call), call).await?;
            let result: ListResult = self.result(Verb::List, heard.result)?;
            let told = heard.snapshots.len();
            if result.count != told as u64 {
                let what = format!("it listed {told} snapshots and said there were {}", result.count);
                return Err(self.breach(Verb::List, what));
            }
            Ok(Listing { snapshots: heard.snapshots })
        })
    }

    fn delete<'a>(&'a self, target: &'a Target, call: &'a Call) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = RequestLine {
                name: Some(target.name.to_string()),
                id: Some(target.id.to_string()),
                ..self.request(Verb::Delete, call)
            };
            let DoneResult {} = self.answer(request, call).await?;
            Ok(())
        })
    }

    fn cancel<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, ()> {
        Box::pin(async move {
            if !self.abilities.cancel {
                return Err(Fault::permanent(format!("driver {} cannot cancel {name}", self.program.title)));
            }
            let request = RequestLine { name: Some(name.to_string()), ..self.request(Verb::Cancel, call) };
            let DoneResult {} = self.answer(request, call).await?;
            Ok(())
        })
    }

    fn restore<'a>(&'a self, order: &'a RestoreOrder, call: &'a Call) -> Reply<'a, Restored> {
        Box::pin(async move {
            if !self.abilities.restore {
                let message = format!("driver {} cannot restore {}", self.program.title, order.target.name);
                return Err(Fault::permanent(message));
            }
            let request = RequestLine {
                name: Some(order.target.name.to_string()),
                id: Some(order.target.id.to_string()),
                to: Some(order.to.clone()),
                include: Some(order.include.clone()),
                overwrite: order.overwrite.then_some(true),
                ..self.request(Verb::Restore, call)
            };
            let answer: RestoreResult = self.answer(request, call).await?;
            Ok(Restored { files: answer.files, bytes: answer.bytes })
        })
    }

    fn verify<'a>(&'a self, order: &'a VerifyOrder, call: &'a Call) -> Reply<'a, Verified> {
        Box::pin(async move {
            if !self.abilities.verify {
                let message = format!("driver {} cannot verify {}", self.program.title, order.target.name);
                return Err(Fault::permanent(message));
            }
            let request = RequestLine {
                name: Some(order.target.name.to_string()),
                id: Some(order.target.id.to_string()),
                read_data_percent: Some(order.read_data_percent.min(100)),
                ..self.request(Verb::Verify, call)
            };
            let VerifyResult { files, bytes_read } = self.answer(request, call).await?;
            Ok(Verified { files, bytes_read })
        })
    }

    fn maintain<'a>(&'a self, order: &'a MaintainOrder, call: &'a Call) -> Reply<'a, Maintained> {
        Box::pin(async move {
            if !self.abilities.maintain {
                return Err(Fault::permanent(format!("driver {} has no maintenance", self.program.title)));
            }
            let keep_ms = u64::try_from(order.keep.as_millis()).unwrap_or(u64::MAX);
            let request = RequestLine { keep_ms: Some(keep_ms), ..self.request(Verb::Maintain, call) };
            let answer: MaintainResult = self.answer(request, call).await?;
            let MaintainResult { marked, removed, kept, repaired, message } = answer;
            let amount = |AmountLine { count, bytes }| Amount { count, bytes };
            Ok(Maintained {
                marked: amount(marked),
                removed: amount(removed),
                kept: amount(kept),
                repaired: amount(repaired),
                message: message.map(|message| dialogue::clean(&message)),
            })
        })
    }

    fn label<'a>(&'a self, order: &'a LabelOrder, call: &'a Call) -> Reply<'a, Snapshot> {
        Box::pin(async move {
            let LabelOrder { target, set, remove } = order;
            if !self.abilities.label {
                let message = format!("driver {} cannot label {}", self.program.title, target.name);
                return Err(Fault::permanent(message));
            }
            let request = RequestLine {
                name: Some(target.name.to_string()),
                id: Some(target.id.to_string()),
                labels: Some(set.clone()),
                remove_labels: Some(remove.clone()),
                ..self.request(Verb::Label, call)
            };
            let LabelResult { snapshot } = self.answer(request, call).await?;
            self.same_name(Verb::Label, &target.name, snapshot, None).map(|found| found.snapshot)
        })
    }
}

/// Opens a program as a driver.
pub(super) fn shared(driver: ProcessDriver) -> Arc<dyn Driver> {
    Arc::new(driver)
}

/// The last few KiB a driver wrote to stderr.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Enough for a panic or a usage message; more belongs into the driver's own log.
    const BYTES_MAX: usize = 4 << 10;
    /// A descendant that left the group may hold the pipe open for ever.
    const REST_TIME_MAX: Duration = Duration::from_millis(200);

    async fn follow(&mut self, stderr: &mut tokio::process::ChildStderr) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
            self.0.extend_from_slice(&buffer[..count]);
            let surplus = self.0.len().saturating_sub(Tail::BYTES_MAX);
            self.0.drain(..surplus);
        }
    }

    /// Reads what is still in the pipe of a process that has ended.
    async fn rest(&mut self, stderr: &mut tokio::process::ChildStderr) {
        let _ = tokio::time::timeout(Tail::REST_TIME_MAX, self.follow(stderr)).await;
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }

    fn text(&self) -> String {
        dialogue::clean(String::from_utf8_lossy(&self.0).trim())
    }

    /// Whether it looks as if the memory limit was met; the limit itself leaves no other trace.
    fn speaks_of_memory(&self) -> bool {
        let text = self.text().to_lowercase();
        ["memory allocation", "out of memory", "cannot allocate", "memory exhausted"].iter().any(|s| text.contains(s))
    }
}
