//! The contract of `src/drivers/mod.rs`, held by every driver: a test for each. The cases are those that
//! `snapkeep driver test` runs on anybody's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snapkeep::drivers::conformance::{self, Bench, Outcome, Scratch};
use snapkeep::drivers::null::Null;
use snapkeep::drivers::{Call, Created, Driver, Found, MaintainOrder, Order, ProgressSink, VerifyOrder, registry};
use snapkeep::lifecycle::plan::Target;
use snapkeep::lifecycle::snapshot::{Snapshot, SnapshotName};
use snapkeep::lifecycle::workflow::{Fault, FaultKind};
use tempfile::TempDir;

use crate::support::wait::{Writes, living, nobody_left};

/// A driver with a repository of its own, and something to snapshot.
pub struct Fixture {
    pub driver: Arc<dyn Driver>,
    pub config: Arc<Value>,
    pub folder: TempDir,
}

impl Fixture {
    /// Where the thing to snapshot is.
    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// Where the repository is.
    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Opens a repository of `kind` in a new folder.
    fn open(kind: &str, settings: fn(&Path) -> Value, config: fn(&Path) -> Value) -> Fixture {
        let folder = tempfile::tempdir().expect("a directory");
        let source = folder.path().join("source");
        std::fs::create_dir(&source).expect("made");
        std::fs::write(source.join("page"), "words\n").expect("written");
        let (settings, config) = (settings(&folder.path().join("repository")), config(&source));
        let settings = settings.as_object().expect("a table");
        let program = Path::new(env!("CARGO_BIN_EXE_snapkeep"));
        let driver = registry::open(kind, settings, folder.path(), program).expect("good settings");
        let config =
            registry::check_config(kind, config.as_object().expect("a table"), folder.path()).expect("good config");
        Fixture { driver, config: Arc::new(config), folder }
    }
}

fn null() -> Fixture {
    let folder = tempfile::tempdir().expect("a directory");
    Fixture { driver: Arc::new(Null::new()), config: Arc::new(Value::Null), folder }
}

/// The sample of `docs/examples`, as a stranger would write one.
fn exec() -> Fixture {
    Fixture::open(
        "exec",
        |repository| {
            let command = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/tar-driver.sh");
            json!({"command": [command], "path": repository, "abilities": ["restore", "verify", "maintain", "label"]})
        },
        |source| json!({"directory": source}),
    )
}

pub fn files() -> Fixture {
    Fixture::open("files", |repository| json!({"path": repository}), |source| json!({"paths": [source]}))
}

pub fn call() -> Call {
    Call { time_max: Duration::from_secs(60), progress: ProgressSink::default() }
}

pub fn name(name: &str) -> SnapshotName {
    SnapshotName::new(name).expect("valid")
}

pub fn order(fixture: &Fixture, text: &str) -> Order {
    let labels = [("sm_policy", "wiki"), ("note", "a,b=c \"}\\ %2C ü"), ("empty", "")];
    Order {
        name: name(text),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        config: Arc::clone(&fixture.config),
    }
}

/// Creates and waits for the end, as all drivers here do.
pub async fn create(fixture: &Fixture, text: &str) -> Result<Found, Fault> {
    match fixture.driver.create(&order(fixture, text), &call()).await? {
        Created::Ended(found) => Ok(found),
        Created::Accepted => panic!("this driver does not go on by itself"),
    }
}

pub async fn list(fixture: &Fixture) -> BTreeMap<String, Snapshot> {
    let listing = fixture.driver.list(&call()).await.expect("a listing");
    listing.snapshots.into_iter().map(|snapshot| (snapshot.id.clone(), snapshot)).collect()
}

pub fn target(snapshot: &Snapshot) -> Target {
    Target { name: snapshot.name.as_str().into(), id: snapshot.id.as_str().into(), taken_at: snapshot.taken_at }
}

/// Returns what the suite is run with in a fixture's folder. What is snapshotted is the fixture's.
fn bench(fixture: &Fixture) -> Bench {
    let scratch = Scratch::make(&fixture.folder.path().join("scratch")).expect("made");
    Bench { config: Arc::clone(&fixture.config), tag: "it".to_owned(), scratch, time_max: call().time_max }
}

/// Runs all that holds for every driver, and what holds before its repository was ever used.
async fn keeps_the_contract(fixture: Fixture) {
    assert_eq!(list(&fixture).await, BTreeMap::new());
    let report = conformance::contract(&*fixture.driver, &bench(&fixture)).await;
    assert!(report.is_good(), "{report:#?}");
    assert_eq!(list(&fixture).await, BTreeMap::new());
    if !fixture.driver.abilities().cancel {
        let fault = fixture.driver.cancel(&name("b-1"), &call()).await.expect_err("cannot");
        assert_eq!(fault.kind, FaultKind::Permanent);
    }
    // Maintenance takes nothing away that is listed, and what is listed is found to be there.
    let driver = &fixture.driver;
    let kept = create(&fixture, "a-1").await.expect("made").snapshot;
    let gone = create(&fixture, "a-2").await.expect("made").snapshot;
    driver.delete(&target(&gone), &call()).await.expect("deleted");
    let before = list(&fixture).await;
    let maintained = driver.maintain(&MaintainOrder { keep: Duration::ZERO }, &call()).await;
    match driver.abilities().maintain {
        true => assert!(maintained.is_ok(), "{maintained:?}"),
        false => assert_eq!(maintained.map_err(|fault| fault.kind), Err(FaultKind::Permanent)),
    }
    assert_eq!(list(&fixture).await, before);
    for (snapshot, is_there) in [(&kept, true), (&gone, false)] {
        let order = VerifyOrder { target: target(snapshot), read_data_percent: 100 };
        let verified = driver.verify(&order, &call()).await;
        match driver.abilities().verify && is_there {
            true => assert!(verified.is_ok(), "{verified:?}"),
            false => assert_eq!(verified.map_err(|fault| fault.kind), Err(FaultKind::Permanent)),
        }
    }
}

/// Runs all that holds for every program.
async fn keeps_the_protocol(command: &[&str], settings: Value, config: fn(&Path) -> Value, kind: &str) {
    let folder = tempfile::tempdir().expect("a directory");
    let mut scratch = Scratch::make(&folder.path().join("scratch")).expect("made");
    let mut settings = settings;
    scratch.fill(&mut settings);
    let config = config(&scratch.path("source"));
    let config =
        registry::check_config(kind, config.as_object().expect("a table"), folder.path()).expect("good config");
    scratch.is_used = true;
    let bench = Bench { config: Arc::new(config), tag: "it".to_owned(), scratch, time_max: call().time_max };
    let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    let settings = settings.as_object().expect("a table");
    let driver = conformance::open(&command, settings, folder.path()).expect("good settings");
    let report = conformance::program(driver, &bench, std::future::pending()).await;
    assert!(report.is_good(), "{report:#?}");
    let skipped = report.cases.iter().filter(|case| case.outcome != Outcome::Passed).count();
    assert!(skipped <= 1 && report.cases.len() > 25, "{report:#?}");
}

/// A call that is dropped stops what it began, and what it began does not count.
async fn stops_when_dropped(fixture: Fixture) {
    let marker = fixture.folder.path().to_str().expect("UTF-8").to_owned();
    let order = order(&fixture, "a-1");
    let call = call();
    let writes = Writes::below(&[fixture.folder.path()]);
    let begun = tokio::task::spawn_blocking(move || writes.first());
    // The first thing it writes is where it keeps snapshots; on a busy machine it may be done by the
    // time we hear of that, and then that has to hold.
    let made = tokio::select! {
        made = fixture.driver.create(&order, &call) => Some(made),
        begun = begun => {
            begun.expect("it begins");
            None
        }
    };
    nobody_left(move || living(|process| holds(process, &marker))).await;
    let there = fixture.driver.describe(&order.name, &call).await.expect("an answer").is_some();
    assert!(there || made.is_none(), "{made:?}");
    create(&fixture, "a-1").await.expect("made after all");
    assert_eq!(list(&fixture).await.len(), 1);
}

/// Whether another process has something open in `folder`.
fn holds(process: &Path, folder: &str) -> bool {
    let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let below = |link: PathBuf| link.to_string_lossy().starts_with(folder);
    !process.ends_with(std::process::id().to_string()) && open.flat_map(|fd| fd.path().read_link()).any(below)
}

#[tokio::test]
async fn null_keeps_the_contract() {
    keeps_the_contract(null()).await;
}

#[tokio::test]
async fn a_program_keeps_the_contract() {
    keeps_the_contract(exec()).await;
    stops_when_dropped(exec()).await;
}

#[tokio::test]
async fn files_keeps_the_contract() {
    let command = [env!("CARGO_BIN_EXE_snapkeep"), "driver", "files"];
    keeps_the_protocol(&command, json!({"path": "{repository}"}), |source| json!({"paths": [source]}), "files").await;
    stops_when_dropped(files()).await;
}
