//! Looking after repositories: maintenance, by rhythm or when somebody asks, and verification.
//!
//! This is work of hours, away from the engine and from whoever asked: it is begun, goes on whether or
//! not anybody waits, and can be asked about. Repositories are maintained one after another. One that is
//! at work is waited for, here as there: a creation that finds a repository under maintenance is told
//! that it is busy, and waits without counting an attempt. The guarantee is the driver's own lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Turn, oneshot};

use crate::drivers::{Call, MaintainOrder, Maintained, Progress, ProgressSink, Verified, VerifyOrder};
use crate::engine::event::{Command, Done, Event, Site, What};
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
/// How many that are over can still be asked about.
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
}

impl Order {
    /// Returns the word for it, as in the audit.
    pub fn word(&self) -> &'static str {
        match self {
            Order::Verify { .. } => "verify",
            Order::Maintain { .. } => "maintain",
        }
    }

    /// Returns what it is about.
    pub fn subject(&self) -> &str {
        match self {
            Order::Verify { snapshot, .. } => snapshot,
            Order::Maintain { repository } => repository,
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
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Verified { repository, verified: Verified { files, bytes_read } } => {
                write!(f, "sound in repository {repository}: {files} files are there, {bytes_read} bytes were read")
            }
            Report::Maintained(maintained) => write!(f, "{maintained}"),
        }
    }
}

/// An order that is being carried out, or was.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What was asked for.
    pub order: Order,
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
    /// Whose turn it is to maintain.
    turn: Turn<()>,
    patience: Patience,
}

/// Too much goes on already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{AT_ONCE_MAX} operations go on already")]
pub struct TooMany;

impl Upkeep {
    /// Returns one that works on a runtime and ends with it.
    pub fn new(runtime: Handle, inbox: SyncSender<Event>) -> Upkeep {
        Upkeep::with_patience(runtime, inbox, PATIENCE)
    }

    fn with_patience(runtime: Handle, inbox: SyncSender<Event>, patience: Patience) -> Upkeep {
        Upkeep(Arc::new(Shared { runtime, inbox, held: Mutex::default(), turn: Turn::new(()), patience }))
    }

    /// Begins what somebody wants and returns its number. It is audited when it is over.
    pub fn begin(&self, who: &str, order: Order) -> Result<u64, TooMany> {
        let number = {
            let mut held = self.held();
            if held.values().filter(|operation| operation.outcome.is_none()).count() >= AT_ONCE_MAX {
                return Err(TooMany);
            }
            let over = held.iter().find(|(_, operation)| operation.outcome.is_some()).map(|(number, _)| *number);
            if let (true, Some(oldest)) = (held.len() >= REMEMBERED_MAX, over) {
                held.remove(&oldest);
            }
            let number = held.last_key_value().map_or(1, |(last, _)| last + 1);
            held.insert(number, Operation { order: order.clone(), progress: None, outcome: None });
            number
        };
        let (upkeep, who) = (self.clone(), who.to_owned());
        let progress = upkeep.clone();
        let sink = ProgressSink::new(move |told| {
            if let Some(operation) = progress.held().get_mut(&number) {
                operation.progress = Some(told);
            }
        });
        self.0.runtime.spawn(async move {
            // Should it panic, it is over all the same.
            let work = upkeep.clone();
            let carried_out = tokio::spawn(async move { work.carry_out(&who, order, sink).await }).await;
            let outcome = carried_out.unwrap_or_else(|lost| Err(Fault::transient(lost.to_string())));
            if let Some(operation) = upkeep.held().get_mut(&number) {
                operation.outcome = Some(outcome);
            }
        });
        Ok(number)
    }

    /// Returns how far an operation is.
    pub fn operation(&self, number: u64) -> Option<Operation> {
        self.held().get(&number).cloned()
    }

    /// Maintains every repository that can be, one after another, and waits for the end. Each is
    /// recorded by itself; one that is in trouble does not keep the others from their turn.
    pub fn maintain_all(&self) -> Result<(), String> {
        let (tell, told) = std::sync::mpsc::channel();
        let upkeep = self.clone();
        self.0.runtime.spawn(async move {
            let all = What::Sites { repositories: Vec::new(), policies: Vec::new() };
            let outcome = match upkeep.sites("housekeeping", all).await {
                Ok(sites) => {
                    for site in sites.into_iter().filter(|site| site.repository.driver.abilities().maintain) {
                        let order = Order::Maintain { repository: site.repository.name.to_string() };
                        // What went wrong is recorded where it happened.
                        let _ = upkeep.carry_out("housekeeping", order, ProgressSink::default()).await;
                    }
                    Ok(())
                }
                Err(fault) => Err(fault.message),
            };
            let _ = tell.send(outcome);
        });
        told.recv().unwrap_or_else(|_| Err("the daemon ended meanwhile".to_owned()))
    }

    async fn carry_out(&self, who: &str, order: Order, progress: ProgressSink) -> Result<Report, Fault> {
        let (word, subject) = (order.word(), order.subject().to_owned());
        let outcome = match order {
            Order::Verify { snapshot, repositories, policies, read_data_percent } => {
                let where_to = What::Sites { repositories, policies };
                self.verify(who, &snapshot, where_to, read_data_percent, progress).await
            }
            Order::Maintain { repository } => {
                let outcome = self.maintain(who, &repository, progress).await;
                let trouble = outcome.as_ref().err().map(|fault| fault.message.clone());
                let job = format!("maintain {repository}").into();
                self.send(Event::Chore { job, trouble }).await;
                outcome.map(Report::Maintained)
            }
        };
        let detail = match &outcome {
            Ok(report) => {
                tracing::info!(operation = word, subject, %report, "done");
                report.to_string()
            }
            Err(fault) => {
                tracing::error!(operation = word, subject, fault = fault.message, "failed");
                format!("failed: {}", fault.message)
            }
        };
        let (reply, _) = oneshot::channel();
        let what = What::Note { what: word, subject, detail };
        self.send(Event::Command(Command { who: who.into(), what, reply })).await;
        outcome
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
                Err(Fault::busy(format!("a creation or a deletion is at work in repository {name}")))
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
                    tracing::debug!(repository = name, why = fault.message, "maintenance waits");
                    tokio::time::sleep(self.0.patience.ask_every).await;
                    asks += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks the engine.
    async fn sites(&self, who: &str, what: What) -> Result<Vec<Site>, Fault> {
        let (reply, answer) = oneshot::channel();
        self.send(Event::Command(Command { who: who.into(), what, reply })).await;
        match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
            Ok(Ok(Ok(Done::Sites(sites)))) => Ok(sites),
            Ok(Ok(Err(refusal))) => Err(Fault::permanent(refusal.to_string())),
            Ok(Ok(Ok(Done::Acknowledged | Done::Run { .. } | Done::Survey(_)))) | Ok(Err(_)) | Err(_) => {
                Err(Fault::transient("the engine did not answer"))
            }
        }
    }

    /// The inbox holds more than there can be; should it be full all the same, this waits and nobody
    /// else does.
    async fn send(&self, event: Event) {
        let inbox = self.0.inbox.clone();
        // After the engine's end nobody listens, and nobody needs to.
        let _ = tokio::task::spawn_blocking(move || inbox.send(event)).await;
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Operation>> {
        // Every change is one call: what a panic left behind is whole.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a driver as long as it has, and a little longer, so that it can say why.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(limit + GRACE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::transient(format!("no answer within {} s", limit.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::sync_channel;

    use crate::drivers::null::Null;
    use crate::drivers::{Abilities, Amount, Created, Driver, Found, Reply};
    use crate::lifecycle::plan::Target;
    use crate::lifecycle::snapshot::SnapshotName;

    use super::*;

    /// A repository that is busy so many times.
    #[derive(Debug)]
    struct Busy {
        null: Null,
        times: AtomicU32,
        can: bool,
    }

    impl Driver for Busy {
        fn abilities(&self) -> Abilities {
            Abilities { maintain: self.can, ..self.null.abilities() }
        }

        fn create<'a>(&'a self, order: &'a crate::drivers::Order, call: &'a Call) -> Reply<'a, Created> {
            self.null.create(order, call)
        }

        fn describe<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, Option<Found>> {
            self.null.describe(name, call)
        }

        fn list<'a>(&'a self, call: &'a Call) -> Reply<'a, Listing> {
            self.null.list(call)
        }

        fn delete<'a>(&'a self, target: &'a Target, call: &'a Call) -> Reply<'a, ()> {
            self.null.delete(target, call)
        }

        fn maintain<'a>(&'a self, order: &'a MaintainOrder, _call: &'a Call) -> Reply<'a, Maintained> {
            let left = self.times.load(Ordering::SeqCst);
            self.times.store(left.saturating_sub(1), Ordering::SeqCst);
            let removed = Amount { count: 1, bytes: order.keep.as_secs() };
            Box::pin(async move {
                if left > 0 {
                    return Err(Fault::busy("create db-1"));
                }
                Ok(Maintained { removed, ..Maintained::default() })
            })
        }
    }

    /// Stands in for the engine: `local` is busy and is at work, each so many times; `other` cannot be
    /// maintained. Returns what was told by the end of `work`.
    fn told(busy: u32, at_work: u32, asks_max: u32, work: impl FnOnce(&Upkeep)) -> Vec<String> {
        let repository = |name: &str, times: u32, can: bool| {
            let driver = Busy { null: Null::new(), times: AtomicU32::new(times), can };
            Arc::new(Repository::by_hand(name, "busy", Arc::new(driver)))
        };
        let here = [repository("local", busy, true), repository("other", 0, false)];
        let (inbox, events) = sync_channel(100);
        let engine = std::thread::spawn(move || {
            let (mut told, mut at_work) = (Vec::new(), at_work);
            while let Ok(event) = events.recv() {
                match event {
                    Event::Chore { job, trouble } => told.push(format!("{job}: {trouble:?}")),
                    Event::Command(Command { who, what: What::Note { what, subject, detail }, .. }) => {
                        told.push(format!("{who} {what} {subject}: {detail}"));
                    }
                    Event::Command(Command { what: What::Sites { repositories, .. }, reply, .. }) => {
                        let named = |repository: &&Arc<Repository>| {
                            repositories.is_empty() || repositories.iter().any(|name| **name == *repository.name)
                        };
                        let site = |repository: &Arc<Repository>| Site {
                            repository: repository.clone(),
                            keep: Duration::from_secs(90),
                            at_work: !repositories.is_empty() && at_work > 0,
                            forbidden: None,
                        };
                        let sites = here.iter().filter(named).map(site).collect();
                        if !repositories.is_empty() {
                            at_work = at_work.saturating_sub(1);
                        }
                        let _ = reply.send(Ok(Done::Sites(sites)));
                    }
                    other => panic!("{other:?}"),
                }
            }
            told
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let patience = Patience { ask_every: Duration::ZERO, asks_max };
        work(&Upkeep::with_patience(runtime.handle().clone(), inbox, patience));
        drop(runtime);
        engine.join().expect("it ends when nobody can tell it more")
    }

    #[test]
    fn a_repository_at_work_is_waited_for_and_the_others_have_their_turn() {
        for (busy, at_work) in [(0, 0), (3, 0), (0, 3), (2, 2)] {
            let told = told(busy, at_work, 10, |upkeep| assert_eq!(upkeep.maintain_all(), Ok(())));
            let detail = "removed 1 packs (90 bytes), marked 0 packs (0 bytes), keeps 0 packs (0 bytes) that are \
                          marked already";
            assert_eq!(told, ["maintain local: None".to_owned(), format!("housekeeping maintain local: {detail}")]);
        }
    }

    #[test]
    fn a_repository_that_stays_at_work_is_passed_over_with_a_word() {
        let told = told(100, 0, 3, |upkeep| assert_eq!(upkeep.maintain_all(), Ok(())));
        let why = "passed over till the next time: create db-1";
        assert_eq!(
            told,
            [format!("maintain local: Some({why:?})"), format!("housekeeping maintain local: failed: {why}")]
        );
    }

    #[test]
    fn what_is_begun_can_be_asked_about_and_has_a_bound() {
        let told = told(u32::MAX, 0, u32::MAX, |upkeep| {
            let order = || Order::Maintain { repository: "local".to_owned() };
            for number in 1..=4 {
                assert_eq!(upkeep.begin("uid:0", order()), Ok(number));
            }
            assert_eq!(upkeep.begin("uid:0", order()), Err(TooMany));
            assert!(upkeep.operation(4).is_some_and(|operation| operation.outcome.is_none()));
            assert!(upkeep.operation(5).is_none());
        });
        // What goes on when the daemon ends is given up, and claims nothing.
        assert_eq!(told, [""; 0]);
    }
}
