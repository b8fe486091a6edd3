use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;

use crate::drivers::null::Null;
use crate::drivers::{Abilities, Amount, Created, Driver, Found, Reply};
use crate::lifecycle::plan::Target;
use crate::lifecycle::snapshot::SnapshotName;
use crate::lifecycle::time::Timestamp;

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
        let (mut told, mut at_work, mut number) = (Vec::new(), at_work, 0);
        while let Ok(event) = events.recv() {
            match event {
                Event::Command(Command { who, what: What::BeginOperation { kind, subject }, reply, .. }) => {
                    number += 1;
                    told.push(format!("{number} {who} {} {subject}", kind.word()));
                    let (subject, began_at) = (subject.into(), Timestamp::EPOCH);
                    let record = OperationRecord { number, kind, subject, who, began_at, end: None };
                    let _ = reply.send(Ok(Done::Operation(Box::new(record))));
                }
                Event::Command(Command { what: What::EndOperation { number, result }, reply, .. }) => {
                    told.push(format!("{number} {result:?}"));
                    let _ = reply.send(Ok(Done::Acknowledged));
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
        assert_eq!(told, ["1 housekeeping maintain local".to_owned(), format!("1 Ok({detail:?})")]);
    }
}

#[test]
fn a_repository_that_stays_at_work_is_passed_over_with_a_word() {
    let told = told(100, 0, 3, |upkeep| assert_eq!(upkeep.maintain_all(), Ok(())));
    let why = "passed over till the next time: create db-1";
    assert_eq!(told, ["1 housekeeping maintain local".to_owned(), format!("1 Err({why:?})")]);
}

#[test]
fn what_is_begun_can_be_asked_about_and_has_a_bound() {
    let told = told(u32::MAX, 0, u32::MAX, |upkeep| {
        let order = || Order::Maintain { repository: "local".to_owned() };
        let begin = || upkeep.0.runtime.block_on(upkeep.begin("uid:0", order(), None));
        for number in 1..=4 {
            assert_eq!(begin(), Ok(number));
        }
        assert_eq!(begin().map_err(|fault| fault.kind), Err(FaultKind::Busy));
        assert!(upkeep.operation(4).is_some_and(|operation| operation.outcome.is_none()));
        assert!(upkeep.operation(5).is_none());
    });
    // What goes on when the daemon ends is given up, and claims nothing.
    assert_eq!(told, [1, 2, 3, 4].map(|number| format!("{number} uid:0 maintain local")));
}
