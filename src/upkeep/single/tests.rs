use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};

use super::*;
use crate::drivers::null::Null;
use crate::drivers::{Abilities, Created, Driver, Found, Reply};
use crate::engine::event::{Books, Command, Event, HoldRecord, Refusal, Site};
use crate::lifecycle::estate::Estate;
use crate::lifecycle::hold::Holds;
use crate::lifecycle::snapshot::{Listing, SnapshotName, Status};
use crate::lifecycle::time::Timestamp;
use crate::upkeep::Patience;

type Log = Arc<Mutex<Vec<String>>>;

fn tell(log: &Log, told: String) {
    log.lock().expect("nobody panicked").push(told);
}

/// A repository with one snapshot, or one that never answers and says when it is asked.
#[derive(Debug)]
struct Shelf {
    null: Null,
    log: Log,
    hangs: Option<SyncSender<()>>,
}

impl Driver for Shelf {
    fn abilities(&self) -> Abilities {
        Abilities { label: true, ..self.null.abilities() }
    }

    fn create<'a>(&'a self, order: &'a crate::drivers::Order, call: &'a Call) -> Reply<'a, Created> {
        self.null.create(order, call)
    }

    fn describe<'a>(&'a self, name: &'a SnapshotName, call: &'a Call) -> Reply<'a, Option<Found>> {
        self.null.describe(name, call)
    }

    fn list<'a>(&'a self, _call: &'a Call) -> Reply<'a, Listing> {
        Box::pin(async {
            if let Some(asked) = &self.hangs {
                let _ = asked.send(());
                std::future::pending::<()>().await;
            }
            let is_gone = self.log.lock().expect("nobody panicked").contains(&"delete s1".to_owned());
            Ok(Listing { snapshots: if is_gone { Vec::new() } else { vec![s1()] } })
        })
    }

    fn delete<'a>(&'a self, target: &'a Target, _call: &'a Call) -> Reply<'a, ()> {
        tell(&self.log, format!("delete {}", target.name));
        Box::pin(std::future::ready(Ok(())))
    }

    fn label<'a>(&'a self, order: &'a LabelOrder, _call: &'a Call) -> Reply<'a, Snapshot> {
        let words = order.set.get(label::HOLD).map_or("nothing", |stamp| stamp.rsplit(' ').next().unwrap_or_default());
        tell(&self.log, format!("label {words}"));
        Box::pin(std::future::ready(Ok(s1())))
    }
}

fn s1() -> Snapshot {
    Snapshot {
        name: "s1".to_owned(),
        id: "id-1".to_owned(),
        taken_at: Some(Timestamp::from_seconds(1)),
        status: Status::Good,
        labels: BTreeMap::new(),
        in_use: None,
        size_bytes: None,
    }
}

fn hold_of(order: &HoldOrder) -> Hold {
    Hold::made(None, order, Timestamp::EPOCH, Timestamp::EPOCH).expect("made")
}

fn holding(repository: &str) -> Order {
    let order = HoldOrder { until: None, compliance: false, reason: "audit".to_owned() };
    Order::Hold { snapshot: "s1".to_owned(), repositories: vec![repository.to_owned()], order }
}

/// How the engine is.
#[derive(Clone, Copy, Default)]
struct Scene {
    /// How often it refuses a place at a repository.
    refusals: u32,
    /// Whether somebody releases at once what is held.
    forgetful: bool,
    /// Why nothing may be removed.
    forbidden: Option<&'static str>,
}

/// Stands in for the engine; of the repositories `hanging` never answers and `calm` does. Returns what was told.
fn told(scene: Scene, work: impl FnOnce(&Upkeep, &std::sync::mpsc::Receiver<()>)) -> Vec<String> {
    let Scene { mut refusals, forgetful, forbidden } = scene;
    let log = Log::default();
    let (asked, is_asked) = sync_channel(100);
    let repository = |name: &str, hangs: Option<SyncSender<()>>| {
        let driver = Shelf { null: Null::new(), log: log.clone(), hangs };
        Arc::new(Repository::by_hand(name, "shelf", Arc::new(driver)))
    };
    let here = [repository("calm", None), repository("hanging", Some(asked))];
    let (inbox, events) = sync_channel(100);
    let book = log.clone();
    let engine = std::thread::spawn(move || {
        let mut holds = Holds::default();
        while let Ok(event) = events.recv() {
            let Command { what, reply, .. } = match event {
                Event::Command(command) => command,
                Event::Left { guest } => {
                    tell(&book, format!("left {guest}"));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            let answer = match what {
                What::Books { repositories } => {
                    let named = |one: &&Arc<Repository>| repositories.iter().any(|name| **name == *one.name);
                    let site = |repository: &Arc<Repository>| Site {
                        repository: repository.clone(),
                        keep: Duration::ZERO,
                        at_work: false,
                        forbidden: forbidden.map(str::to_owned),
                    };
                    let estate = Estate {
                        installation: "here".into(),
                        policies: BTreeMap::new(),
                        locks: Arc::default(),
                        now: Timestamp::from_seconds(1_000),
                    };
                    let sites = here.iter().filter(named).map(site).collect();
                    let holds = here.iter().map(|one| (one.name.clone(), Arc::new(holds.clone()))).collect();
                    Ok(Done::Books(Box::new(Books { estate, sites, holds })))
                }
                What::Hold { repository, snapshot, order } => {
                    let hold = hold_of(&order);
                    if !forgetful {
                        holds.insert(&snapshot.name, hold.clone());
                    }
                    let (repository, snapshot) = (repository.as_str().into(), snapshot.name.as_str().into());
                    let who = "uid:0".into();
                    Ok(Done::Held(Box::new(HoldRecord { repository, snapshot, policy_uid: None, hold, who })))
                }
                What::Enter { guest, .. } if refusals > 0 => {
                    refusals -= 1;
                    tell(&book, format!("busy {guest}"));
                    Err(Refusal::Busy("a creation is at work".to_owned()))
                }
                What::Enter { guest, .. } => {
                    tell(&book, format!("enter {guest}"));
                    Ok(Done::Acknowledged)
                }
                What::Note { .. } | What::EndOperation { .. } => Ok(Done::Acknowledged),
                other => panic!("{other:?}"),
            };
            let _ = reply.send(answer);
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let patience = Patience { ask_every: Duration::ZERO, asks_max: 10 };
    work(&Upkeep::with_patience(runtime.handle().clone(), inbox, patience), &is_asked);
    drop(runtime);
    engine.join().expect("it ends when nobody can tell it more");
    log.lock().expect("nobody panicked").clone()
}

fn done(upkeep: &Upkeep, order: Order) -> Result<String, String> {
    let single = upkeep.single("uid:0", order, ProgressSink::default());
    upkeep.0.runtime.block_on(single).map_err(|fault| fault.message)
}

#[test]
fn a_repository_that_hangs_keeps_no_hold_in_another_waiting() {
    let told = told(Scene::default(), |upkeep, is_asked| {
        let hanging = upkeep.clone();
        upkeep
            .0
            .runtime
            .spawn(async move { hanging.single("uid:0", holding("hanging"), ProgressSink::default()).await });
        // It has its own repository's turn by the time its driver is asked, and keeps it.
        is_asked.recv_timeout(Duration::from_secs(60)).expect("its driver is asked");
        assert!(upkeep.turn_of("hanging").try_lock().is_err());
        assert_eq!(done(upkeep, holding("calm")), Ok("held in repository calm without end: audit".to_owned()));
        assert!(upkeep.turn_of("calm").try_lock().is_ok());
    });
    assert_eq!(told, ["enter 0", "label audit", "left 0"]);
}

#[test]
fn what_is_deleted_by_name_goes_in_its_place_among_the_runs() {
    let told = told(Scene { refusals: 2, ..Scene::default() }, |upkeep, _| {
        let named = Named { repository: "calm".to_owned(), name: "s1".to_owned(), id: "id-1".to_owned() };
        let order = Order::Change { named: vec![named], change: Change::Expire { owned: true } };
        assert_eq!(done(upkeep, order), Ok("1 of 1 deleted".to_owned()));
    });
    assert_eq!(told, ["busy 0", "left 0", "busy 1", "left 1", "enter 2", "delete s1", "left 2"]);
}

#[test]
fn the_label_says_what_the_journal_says_by_then() {
    let told = told(Scene { refusals: 1, forgetful: true, ..Scene::default() }, |upkeep, _| {
        assert!(done(upkeep, holding("calm")).is_ok());
    });
    assert_eq!(told, ["busy 0", "left 0", "enter 1", "left 1"], "it was released while the label waited");
}

#[test]
fn on_a_machine_that_may_be_a_clone_nothing_is_adopted_or_deleted_by_name() {
    let scene = Scene { forbidden: Some("the journal belongs to another machine"), ..Scene::default() };
    let told = told(scene, |upkeep, _| {
        for change in [Change::Expire { owned: true }, Change::Adopt { policy: "db".to_owned() }] {
            let named = Named { repository: "calm".to_owned(), name: "s1".to_owned(), id: "id-1".to_owned() };
            let refused = done(upkeep, Order::Change { named: vec![named], change }).expect_err("refused");
            assert!(refused.contains("nothing is deleted or adopted: the journal belongs to"), "{refused}");
        }
    });
    assert_eq!(told, ["enter 0", "left 0", "enter 1", "left 1"]);
}
