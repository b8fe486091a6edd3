//! Others at the same repository: two daemons, two operations at once, a clock that was wrong.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use snapkeep::drivers::{Call, Created, Driver, Order, RestoreOrder};
use snapkeep::lifecycle::snapshot::{Snapshot, Status};
use snapkeep::lifecycle::workflow::{Fault, FaultKind};

use super::{
    Mounted, give_back, half_way, opened_again, signal, stopped_for_long, stopped_when_it_writes, with_files, workers,
};
use crate::driver_contract::{Fixture, call, create, files, list, name, order, target};
use crate::support::skips::not_tested;
use crate::upkeep::{KEEP, comes_back, driver_ahead, noise, restic_agrees, verify};

/// Creates as one of several installations.
async fn create_as(
    driver: &dyn Driver,
    fixture: &Fixture,
    installation: &str,
    text: &str,
    call: &Call,
) -> Result<Snapshot, Fault> {
    let mut order: Order = order(fixture, text);
    order.labels.insert("snapkeep_installation".to_owned(), installation.to_owned());
    match driver.create(&order, call).await? {
        Created::Ended(found) => Ok(found.snapshot),
        Created::Accepted => panic!("this driver does not go on by itself"),
    }
}

#[tokio::test]
async fn two_daemons_take_turns_at_one_repository_and_keep_what_is_theirs() {
    let fixture = Arc::new(with_files(160));
    let other = opened_again(&fixture);
    let first = create_as(&*other, &fixture, "two", "x-1", &call()).await.expect("made");
    noise(&fixture.source().join("large"), 1, 40 << 20);

    // One of them stands still in the middle of a creation while the other tries everything.
    let (watched, begun) = stopped_for_long(&fixture, half_way);
    let mut making = {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move { create_as(&*fixture.driver, &fixture, "one", "a-1", &watched).await })
    };
    tokio::select! {
        () = begun.notified() => {}
        made = &mut making => panic!("it was over too soon: {made:?}"),
    }
    assert_eq!(workers(&fixture).len(), 1, "it was over too soon");
    let listed = other.list(&call()).await.expect("a listing");
    assert_eq!(listed.snapshots.iter().map(|snapshot| &snapshot.id).collect::<Vec<_>>(), [&first.id]);
    let running = other.describe(&name("a-1"), &call()).await.expect("an answer").expect("in the making");
    assert_eq!(running.snapshot.status, Status::Running);
    for (verb, fault) in [
        ("create", create_as(&*other, &fixture, "two", "x-2", &call()).await.expect_err("one at a time")),
        ("create", create_as(&*other, &fixture, "two", "a-1", &call()).await.expect_err("one at a time")),
        ("delete", other.delete(&target(&first), &call()).await.expect_err("one at a time")),
        ("maintain", other.maintain(&KEEP, &call()).await.expect_err("one at a time")),
    ] {
        assert_eq!(fault.kind, FaultKind::Busy, "{verb}: {fault:?}");
        assert!(fault.message.ends_with("is at work: create a-1"), "{verb}: {fault:?}");
    }
    // What reads need not wait.
    verify(&fixture, &first, 100).await.expect("sound");
    let order = RestoreOrder {
        target: target(&first),
        to: fixture.folder.path().join("meanwhile"),
        include: vec![],
        overwrite: false,
    };
    other.restore(&order, &call()).await.expect("restored");
    signal(&fixture, Signal::CONT);
    let made = making.await.expect("ended").expect("made");

    let second = create_as(&*other, &fixture, "two", "x-2", &call()).await.expect("made");
    let owners: Vec<String> =
        list(&fixture).await.into_values().map(|snapshot| snapshot.labels["snapkeep_installation"].clone()).collect();
    assert_eq!(owners.iter().filter(|owner| *owner == "one").count(), 1, "{owners:?}");
    assert_eq!(owners.iter().filter(|owner| *owner == "two").count(), 2, "{owners:?}");
    // A name of the other's is told as the other's: whose it is its stamp says.
    let taken = create_as(&*other, &fixture, "two", "a-1", &call()).await.expect("it is there");
    assert_eq!((&taken.id, taken.labels["snapkeep_installation"].as_str()), (&made.id, "one"));
    // What one of them lets go of does not take anything from the other.
    fixture.driver.delete(&target(&made), &call()).await.expect("deleted");
    for _ in 0..2 {
        other.maintain(&KEEP, &call()).await.expect("maintained");
    }
    let left: Vec<String> = list(&fixture).await.into_values().map(|snapshot| snapshot.name.to_string()).collect();
    assert_eq!(
        {
            let mut left = left;
            left.sort();
            left
        },
        ["x-1", "x-2"]
    );
    comes_back(&fixture, &second, "back").await;
    restic_agrees(&fixture);
}

#[tokio::test]
async fn many_at_once_are_told_to_wait_and_all_come_to_their_turn() {
    let fixture = Arc::new(with_files(8));
    let mut tasks = Vec::new();
    for number in 0..6 {
        let (fixture, driver) = (Arc::clone(&fixture), opened_again(&fixture));
        tasks.push(tokio::spawn(async move {
            let (installation, text) = (format!("i-{}", number % 2), format!("a-{number}"));
            let mut refused = 0;
            // From an empty folder on: also the beginning of the repository is one's alone.
            loop {
                match create_as(&*driver, &fixture, &installation, &text, &call()).await {
                    Err(fault) if fault.kind == FaultKind::Busy => refused += 1,
                    made => return (made.expect("made"), refused),
                }
            }
        }));
    }
    let mut made = Vec::new();
    for task in tasks {
        let (snapshot, _) = task.await.expect("ended");
        assert_eq!(snapshot.status, Status::Good);
        made.push(snapshot);
    }
    assert_eq!(list(&fixture).await.len(), 6);
    for (number, snapshot) in made.iter().enumerate() {
        comes_back(&fixture, snapshot, &format!("back-{number}")).await;
    }
    restic_agrees(&fixture);
}

#[tokio::test]
async fn two_restores_into_one_directory_do_not_mix() {
    let fixture = Arc::new(with_files(240));
    let first = create(&fixture, "a-1").await.expect("made").snapshot;
    let to = fixture.folder.path().join("back");
    let order = RestoreOrder { target: target(&first), to: to.clone(), include: vec![], overwrite: false };
    let (tell, begun) = tokio::sync::oneshot::channel();
    let stopped = stopped_when_it_writes(&fixture, move || _ = tell.send(()));
    let restoring = {
        let (driver, order) = (Arc::clone(&fixture.driver), order.clone());
        tokio::spawn(async move { driver.restore(&order, &call()).await })
    };
    begun.await.expect("stopped");
    stopped.join().expect("ended");
    let fault = fixture.driver.restore(&order, &call()).await.expect_err("one at a time");
    assert_eq!(fault.kind, FaultKind::Busy, "{fault:?}");
    assert_eq!(fault.message, format!("another restore is at work in {}", to.display()));
    let elsewhere = RestoreOrder { to: fixture.folder.path().join("elsewhere"), ..order.clone() };
    fixture.driver.restore(&elsewhere, &call()).await.expect("restored");
    signal(&fixture, Signal::CONT);
    restoring.await.expect("ended").expect("restored");
    comes_back(&fixture, &first, "back").await;
}

#[tokio::test]
async fn what_maintenance_takes_away_beside_a_restore_is_asked_for_again() {
    let fixture = Arc::new(with_files(240));
    let first = create(&fixture, "a-1").await.expect("made").snapshot;
    let to = fixture.folder.path().join("back");
    let order = RestoreOrder { target: target(&first), to, include: vec![], overwrite: false };
    // As at the end of a maintenance: the packs of what was listed are gone, and its index file with them.
    let (data, index) = (fixture.repository().join("data"), fixture.repository().join("index"));
    let away = fixture.folder.path().join("away");
    fs::create_dir(&away).expect("made");
    let (data_away, index_away) = (away.join("data"), away.join("index"));
    let (from, to) = ((data.clone(), index.clone()), (data_away.clone(), index_away.clone()));
    let take = move || {
        fs::rename(&from.0, &to.0).expect("moved");
        fs::rename(&from.1, &to.1).expect("moved");
        fs::create_dir(&from.1).expect("made");
    };
    let going_on = Arc::clone(&fixture);
    let taken = stopped_when_it_writes(&fixture, move || {
        take();
        signal(&going_on, Signal::CONT);
    });
    let outcome = fixture.driver.restore(&order, &call()).await;
    taken.join().expect("taken");
    let fault = outcome.expect_err("some of it is gone");
    assert_eq!(fault.kind, FaultKind::Transient, "{fault:?}");
    assert!(fault.message.starts_with("the repository was changed by maintenance meanwhile: "), "{fault:?}");
    fs::remove_dir(&index).expect("empty");
    fs::rename(&index_away, &index).expect("moved back");
    fs::rename(&data_away, &data).expect("moved back");
    fixture.driver.restore(&order, &call()).await.expect("again");
    comes_back(&fixture, &first, "back").await;
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_loses_nothing() {
    let fixture = files();
    let Some(ahead) = driver_ahead(&fixture, 365 * 24) else {
        return not_tested("a clock that is a year ahead, because there is no libfaketime to move it with");
    };
    let year = Duration::from_secs(365 * 86_400);
    let is_about = |snapshot: &Snapshot, at: SystemTime| {
        let is = snapshot.taken_at.expect("a time").millis();
        let at = at.duration_since(SystemTime::UNIX_EPOCH).expect("after it").as_millis();
        is.abs_diff(i64::try_from(at).expect("small")) < 120_000
    };
    noise(&fixture.source().join("large"), 1, 3_000_000);
    let before = create(&fixture, "a-1").await.expect("made").snapshot;
    noise(&fixture.source().join("large"), 2, 3_000_000);
    let Created::Ended(then) = ahead.create(&order(&fixture, "b-1"), &call()).await.expect("made") else {
        panic!("this driver does not go on by itself");
    };
    assert_eq!(then.snapshot.status, Status::Good);
    assert!(is_about(&then.snapshot, SystemTime::now() + year), "{then:?}");
    // Back in the present it is listed for what it says, and the next one is made all the same.
    let listed = list(&fixture).await;
    assert!(is_about(&listed[&before.id], SystemTime::now()) && listed[&then.snapshot.id] == then.snapshot);
    noise(&fixture.source().join("large"), 3, 3_000_000);
    let after = create(&fixture, "c-1").await.expect("made").snapshot;
    assert!(after.status == Status::Good && is_about(&after, SystemTime::now()), "{after:?}");

    // Something is marked a year from now, and something that was marked now is removed then.
    fixture.driver.delete(&target(&before), &call()).await.expect("deleted");
    fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
    fixture.driver.delete(&target(&then.snapshot), &call()).await.expect("deleted");
    let far = ahead.maintain(&KEEP, &call()).await.expect("maintained");
    assert!(far.removed.bytes > 2_000_000 && far.marked.bytes > 2_000_000, "{far:?}");
    verify(&fixture, &after, 100).await.expect("sound");
    // What is marked in the future is kept until then, and what is needed of it again is taken back.
    noise(&fixture.source().join("large"), 2, 3_000_000);
    let again = create(&fixture, "d-1").await.expect("made").snapshot;
    for _ in 0..2 {
        let near = fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
        assert_eq!(near.removed.count, 0, "{near:?}");
    }
    for snapshot in [&after, &again] {
        verify(&fixture, snapshot, 100).await.expect("sound");
    }
    comes_back(&fixture, &again, "back").await;
    restic_agrees(&fixture);
}

#[tokio::test]
async fn a_restore_into_a_read_only_directory_is_for_a_person() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    // A read-only directory cannot be restored into, and that is told.
    let to = fixture.folder.path().join("closed");
    let Some(disk) = Mounted::memory(&to, "4m") else {
        return not_tested("a restore into a read-only directory, because nothing can be mounted here");
    };
    assert!(disk.remount("ro"));
    let fault = give_back(&fixture, &made, "closed").await.expect_err("it cannot be written to");
    assert!(fault.kind == FaultKind::Permanent && fault.message.contains("Read-only file system"), "{fault:?}");
    assert!(disk.remount("rw"));
    give_back(&fixture, &made, "closed").await.expect("restored");
}
