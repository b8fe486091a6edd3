//! Looking after repositories: maintenance, by rhythm or when somebody asks, and verification; and what people
//! do to single snapshots.
//!
//! This is work of hours, away from the engine and from whoever asked: it is begun, goes on whether or
//! not anybody waits, and can be asked about. Repositories are maintained one after another. One that is
//! at work is waited for, here as there: a creation that finds a repository under maintenance is told
//! that it is busy, and waits without counting an attempt. The guarantee is the driver's own lock.

pub mod single;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Turn, Semaphore, oneshot};

use crate::drivers::{Call, MaintainOrder, Maintained, Progress, ProgressSink, Verified, VerifyOrder};
use crate::engine::event::{Command, Done, Event, OperationKind, OperationRecord, Refusal, RequestKey, Site, What};
use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::Listing;
use crate::lifecycle::workflow::{Fault, FaultKind};
use crate::roster::Repository;

/// A creation has a day by default, and must not spend all of it waiting for this.
const MAINTAIN_TIME_MAX: Duration = Duration::from_secs(6 * 3600);
/// All data of a large repository fits; everything ends.
const VERIFY_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// A slow listing of a large repository fits.
const LIST_TIME_MAX: Duration = Duration::from_secs(600);
/// What a driver gets beyond its own deadline before it is dropped: it can say why.
const GRACE: Duration = Duration::from_secs(10);
/// How often a repository that is at work is asked again, and how often at most before it is passed
/// over till the next time: two hours in all.
const PATIENCE: Patience = Patience { ask_every: Duration::from_secs(20), asks_max: 360 };
/// A turn takes milliseconds; an engine that does not answer within this is in trouble.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Each may be a process and a good deal of memory.
const AT_ONCE_MAX: usize = 4;
/// How many that are over can still be asked about in full; the journal has what they came to.
const REMEMBERED_MAX: usize = 100;

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Look whether a snapshot's data is there.
    Verify {
        /// Its name, or the driver's own identity of it.
        snapshot: String,
        /// Where to look; everywhere when nothing is named.
        repositories: Vec<String>,
        /// In the repositories of these policies too.
        policies: Vec<String>,
        /// How much of the data to read.
        read_data_percent: u8,
    },
    /// Maintain a repository.
    Maintain {
        /// Which.
        repository: String,
    },
    /// Do something to single snapshots.
    Single(single::Order),
}

impl Order {
    /// Returns what it is, for the journal.
    pub fn kind(&self) -> OperationKind {
        match self {
            Order::Verify { .. } => OperationKind::Verify,
            Order::Maintain { .. } => OperationKind::Maintain,
            Order::Single(order) => order.kind(),
        }
    }

    /// Returns what it is about.
    pub fn subject(&self) -> String {
        match self {
            Order::Verify { snapshot, .. } => snapshot.clone(),
            Order::Maintain { repository } => repository.clone(),
            Order::Single(order) => order.subject(),
        }
    }
}

/// What an order came to, where nothing was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The snapshot is sound.
    Verified {
        /// Where it is.
        repository: Arc<str>,
        /// What was looked at.
        verified: Verified,
    },
    /// The repository is maintained and sound.
    Maintained(Maintained),
    /// What was wanted of single snapshots is so, in a sentence.
    Single(String),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Verified { repository, verified: Verified { files, bytes_read } } => {
                write!(f, "sound in repository {repository}: {files} files are there, {bytes_read} bytes were read")
            }
            Report::Maintained(maintained) => write!(f, "{maintained}"),
            Report::Single(told) => f.write_str(told),
        }
    }
}

/// An order that is being carried out, or was.
#[derive(Clone, Debug)]
pub struct Operation {
    /// As the journal has it.
    pub record: OperationRecord,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What it came to; `None` while it goes on.
    pub outcome: Option<Result<Report, Fault>>,
}

/// How a repository that is at work is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    ask_every: Duration,
    asks_max: u32,
}

/// Carries orders out. Clones share everything.
#[derive(Clone, Debug)]
pub struct Upkeep(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    inbox: SyncSender<Event>,
    held: Mutex<BTreeMap<u64, Operation>>,
    /// One for each that somebody may still ask for.
    places: Arc<Semaphore>,
    /// Whose turn it is to maintain.
    turn: Turn<()>,
    /// Whose turn it is to change or delete single snapshots.
    turns: single::turn::Turns,
    patience: Patience,
}

impl Upkeep {
    /// Returns one that works on a runtime and ends with it.
    pub fn new(runtime: Handle, inbox: SyncSender<Event>) -> Upkeep {
        Upkeep::with_patience(runtime, inbox, PATIENCE)
    }

    fn with_patience(runtime: Handle, inbox: SyncSender<Event>, patience: Patience) -> Upkeep {
        Upkeep(Arc::new(Shared {
            runtime,
            inbox,
            held: Mutex::default(),
            places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            turn: Turn::new(()),
            turns: single::turn::Turns::default(),
            patience,
        }))
    }

    /// Begins what somebody wants, once the journal has it, and returns its number there. Busy when too
    /// much goes on already.
    pub async fn begin(&self, who: &str, order: Order, request: Option<RequestKey>) -> Result<u64, Fault> {
        let place = self.0.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Fault::busy(format!("{AT_ONCE_MAX} operations go on already")))?;
        let (upkeep, who) = (self.clone(), who.to_owned());
        let (tell, told) = oneshot::channel();
        // All of it on a task of its own: whoever asked may go away at any moment.
        self.0.runtime.spawn(async move {
            let _place = place;
            match upkeep.open(&who, &order, request).await {
                Ok(number) => {
                    let _ = tell.send(Ok(number));
                    // What came of it is written down and can be asked for.
                    let _ = upkeep.carry_out(number, &who, order).await;
                }
                Err(fault) => {
                    let _ = tell.send(Err(fault));
                }
            }
        });
        told.await.unwrap_or_else(|_| Err(Fault::transient("it could not be begun")))
    }

    /// Writes down that an operation begins, and returns its number.
    async fn open(&self, who: &str, order: &Order, request: Option<RequestKey>) -> Result<u64, Fault> {
        let what = What::BeginOperation { kind: order.kind(), subject: order.subject() };
        let Done::Operation(record) = self.ask_under(who, what, request).await? else { return Err(mismatch()) };
        let number = record.number;
        let mut held = self.held();
        let over = held.iter().find(|(_, operation)| operation.outcome.is_some()).map(|(number, _)| *number);
        if let (true, Some(oldest)) = (held.len() >= REMEMBERED_MAX, over) {
            held.remove(&oldest);
        }
        held.insert(number, Operation { record: *record, progress: None, outcome: None });
        Ok(number)
    }

    /// Returns an operation that goes on, or was over lately.
    pub fn operation(&self, number: u64) -> Option<Operation> {
        self.held().get(&number).cloned()
    }

    /// Returns how far an operation is.
    pub fn progress(&self, number: u64) -> Option<Progress> {
        self.held().get(&number).and_then(|operation| operation.progress.clone())
    }

    /// Maintains every repository that can be, one after another, and waits for the end. Each is
    /// recorded by itself; one that is in trouble does not keep the others from their turn.
    pub fn maintain_all(&self) -> Result<(), String> {
        let (tell, told) = std::sync::mpsc::channel();
        let upkeep = self.clone();
        self.0.runtime.spawn(async move {
            let all = What::Sites { repositories: Vec::new(), policies: Vec::new() };
            let mut unopened = Vec::new();
            let outcome = match upkeep.sites("housekeeping", all).await {
                Ok(sites) => {
                    for site in sites.into_iter().filter(|site| site.repository.driver.abilities().maintain) {
                        let order = Order::Maintain { repository: site.repository.name.to_string() };
                        match upkeep.open("housekeeping", &order, None).await {
                            // What went wrong is recorded where it happened.
                            Ok(number) => drop(upkeep.carry_out(number, "housekeeping", order).await),
                            Err(fault) => unopened.push(fault.message),
                        }
                    }
                    if unopened.is_empty() { Ok(()) } else { Err(unopened.join("; ")) }
                }
                Err(fault) => Err(fault.message),
            };
            let _ = tell.send(outcome);
        });
        told.recv().unwrap_or_else(|_| Err("the daemon ended meanwhile".to_owned()))
    }

    async fn carry_out(&self, number: u64, who: &str, order: Order) -> Result<Report, Fault> {
        let (word, subject) = (order.kind().word(), order.subject());
        let (upkeep, by) = (self.clone(), who.to_owned());
        // Should it panic, it is over all the same.
        let work = tokio::spawn(async move {
            let progress = upkeep.progress_of(number);
            match order {
                Order::Verify { snapshot, repositories, policies, read_data_percent } => {
                    let where_to = What::Sites { repositories, policies };
                    upkeep.verify(&by, &snapshot, where_to, read_data_percent, progress).await
                }
                Order::Maintain { repository } => {
                    upkeep.maintain(&by, &repository, progress).await.map(Report::Maintained)
                }
                Order::Single(order) => upkeep.single(&by, order, progress).await.map(Report::Single),
            }
        });
        let outcome = work.await.unwrap_or_else(|lost| Err(Fault::transient(lost.to_string())));
        match &outcome {
            Ok(report) => tracing::info!(operation = word, subject, %report, "operation is done"),
            Err(fault) => tracing::error!(operation = word, subject, cause = fault.message, "operation failed"),
        }
        let result = outcome.as_ref().map(ToString::to_string).map_err(|fault| fault.message.clone());
        // Unheard, it is told at the next start that the daemon ended before it did.
        let ended = self.ask(who, What::EndOperation { number, result }).await;
        if let Some(operation) = self.held().get_mut(&number) {
            if let Ok(Done::Operation(record)) = ended {
                operation.record = *record;
            }
            operation.outcome = Some(outcome.clone());
        }
        outcome
    }

    fn progress_of(&self, number: u64) -> ProgressSink {
        let upkeep = self.clone();
        ProgressSink::new(move |told| {
            if let Some(operation) = upkeep.held().get_mut(&number) {
                operation.progress = Some(told);
            }
        })
    }

    async fn verify(
        &self,
        who: &str,
        snapshot: &str,
        where_to: What,
        read_data_percent: u8,
        progress: ProgressSink,
    ) -> Result<Report, Fault> {
        let (repository, target) = self.find(who, snapshot, where_to).await?;
        if !repository.driver.abilities().verify {
            let message = format!("repository {} ({}) cannot verify snapshots", repository.name, repository.kind);
            return Err(Fault::permanent(message));
        }
        let order = VerifyOrder { target, read_data_percent };
        let call = Call { time_max: VERIFY_TIME_MAX, progress };
        let verified = within(VERIFY_TIME_MAX, repository.driver.verify(&order, &call)).await?;
        Ok(Report::Verified { repository: repository.name.clone(), verified })
    }

    /// Looks for a snapshot, by its name or by its identity.
    async fn find(&self, who: &str, snapshot: &str, where_to: What) -> Result<(Arc<Repository>, Target), Fault> {
        let (mut found, mut silent) = (Vec::new(), Vec::new());
        for Site { repository, .. } in self.sites(who, where_to).await? {
            let call = Call { time_max: LIST_TIME_MAX, progress: ProgressSink::default() };
            let listing = within(LIST_TIME_MAX, repository.driver.list(&call)).await;
            match listing {
                Ok(Listing { snapshots }) => {
                    let same = snapshots.into_iter().filter(|one| one.name == snapshot || one.id == snapshot);
                    found.extend(same.map(|one| {
                        let target = Target { name: one.name.into(), id: one.id.into(), taken_at: one.taken_at };
                        (repository.clone(), target)
                    }));
                }
                Err(fault) => silent.push(format!("{} could not be asked: {}", repository.name, fault.message)),
            }
        }
        if found.len() > 1 {
            let places: Vec<&str> = found.iter().map(|(repository, _)| &*repository.name).collect();
            let message = format!(
                "snapshot {snapshot} was found {} times: in {}; name one by its id",
                found.len(),
                places.join(", ")
            );
            return Err(Fault::permanent(message));
        }
        match (found.pop(), silent.is_empty()) {
            (Some(found), _) => Ok(found),
            (None, true) => Err(Fault::permanent(format!("no repository has a snapshot {snapshot}"))),
            (None, false) => {
                Err(Fault::transient(format!("snapshot {snapshot} was not found, and {}", silent.join("; "))))
            }
        }
    }

    async fn maintain(&self, who: &str, name: &str, progress: ProgressSink) -> Result<Maintained, Fault> {
        let waiting = |why: &str| {
            progress.tell(Progress { doing: format!("waiting: {why}"), ..Progress::default() });
        };
        waiting("another maintenance goes first");
        let _turn = self.0.turn.lock().await;
        let mut asks = 1;
        loop {
            let asked = What::Sites { repositories: vec![name.to_owned()], policies: Vec::new() };
            let site = self.sites(who, asked).await?.pop();
            let Site { repository, keep, at_work, forbidden } =
                site.ok_or_else(|| Fault::permanent(format!("there is no repository {name}")))?;
            if let Some(why) = forbidden {
                return Err(Fault::permanent(format!("nothing is removed: {why}")));
            }
            if !repository.driver.abilities().maintain {
                let message = format!("repository {name} ({}) has no maintenance", repository.kind);
                return Err(Fault::permanent(message));
            }
            let outcome = if at_work {
                Err(Fault::busy(format!("a creation, a deletion or a change is at work in repository {name}")))
            } else {
                let call = Call { time_max: MAINTAIN_TIME_MAX, progress: progress.clone() };
                let order = MaintainOrder { keep };
                within(MAINTAIN_TIME_MAX, repository.driver.maintain(&order, &call)).await
            };
            match outcome {
                Err(fault) if fault.kind == FaultKind::Busy => {
                    if asks >= self.0.patience.asks_max {
                        let message = format!("passed over till the next time: {}", fault.message);
                        return Err(Fault { message, ..fault });
                    }
                    waiting(&fault.message);
                    tracing::debug!(repository = name, cause = fault.message, "maintenance waits");
                    tokio::time::sleep(self.0.patience.ask_every).await;
                    asks += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn sites(&self, who: &str, what: What) -> Result<Vec<Site>, Fault> {
        match self.ask(who, what).await? {
            Done::Sites(sites) => Ok(sites),
            _ => Err(mismatch()),
        }
    }

    /// Asks the engine.
    async fn ask(&self, who: &str, what: What) -> Result<Done, Fault> {
        self.ask_under(who, what, None).await
    }

    /// Asks the engine, under a caller's key.
    async fn ask_under(&self, who: &str, what: What, request: Option<RequestKey>) -> Result<Done, Fault> {
        let (reply, answer) = oneshot::channel();
        let request = request.map(Box::new);
        self.send(Event::Command(Command { who: who.into(), what, request, reply })).await;
        match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(Refusal::Busy(why)))) => Err(Fault::busy(why)),
            Ok(Ok(Err(refusal))) => Err(Fault::permanent(refusal.to_string())),
            Ok(Err(_)) | Err(_) => Err(Fault::transient("the engine did not answer")),
        }
    }

    /// The inbox holds more than there can be; should it be full all the same, this waits and nobody
    /// else does.
    async fn send(&self, event: Event) {
        let inbox = self.0.inbox.clone();
        // After the engine's end nobody listens, and nobody needs to.
        let _ = tokio::task::spawn_blocking(move || inbox.send(event).is_ok()).await;
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Operation>> {
        // Every change is one call: what a panic left behind is whole.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine answered something else than it was asked, which would be our bug.
fn mismatch() -> Fault {
    Fault::permanent("the engine answered another question")
}

/// Waits for a driver as long as it has, and a little longer, so that it can say why.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(limit + GRACE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::transient(format!("no answer within {} s", limit.as_secs()))),
    }
}

#[cfg(test)]
mod tests;
