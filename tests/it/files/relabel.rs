//! What becomes of a snapshot whose labels are changed, also when that was cut off.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use snapkeep::drivers::LabelOrder;
use snapkeep::lifecycle::snapshot::{Snapshot, Status};
use snapkeep::lifecycle::workflow::FaultKind;

use crate::driver_contract::{Fixture, call, create, files, list, name, target};
use crate::peers_restic::{restic, restic_is_here};
use crate::upkeep::{maintain, restic_agrees, verify};

fn order(snapshot: &Snapshot, set: &[(&str, &str)], remove: &[&str]) -> LabelOrder {
    LabelOrder {
        target: target(snapshot),
        set: set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        remove: remove.iter().map(|key| (*key).to_owned()).collect(),
    }
}

async fn label(fixture: &Fixture, order: &LabelOrder) -> Snapshot {
    fixture.driver.label(order, &call()).await.expect("labelled")
}

/// Changes the labels as a process does that is killed before the snapshot of before is removed.
async fn cut_off(fixture: &Fixture, snapshot: &Snapshot, set: &[(&str, &str)]) -> Snapshot {
    let file = fixture.repository().join("snapshots").join(&snapshot.id);
    let before = fs::read(&file).expect("there");
    let after = label(fixture, &order(snapshot, set, &[])).await;
    assert!(!file.exists());
    fs::write(&file, before).expect("put back");
    after
}

fn count(fixture: &Fixture) -> usize {
    fs::read_dir(fixture.repository().join("snapshots")).expect("there").count()
}

#[tokio::test]
async fn of_two_copies_the_older_is_not_listed_and_goes() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let held = cut_off(&fixture, &made, &[("held", "yes")]).await;
    assert_eq!(count(&fixture), 2);
    let only_one = BTreeMap::from([(held.id.clone(), held.clone())]);
    assert_eq!(list(&fixture).await, only_one);
    let described = fixture.driver.describe(&name("a-1"), &call()).await.expect("an answer");
    assert_eq!(described.map(|found| found.snapshot), Some(held.clone()));
    // Whoever was cut off asks again, with the identity of before.
    assert_eq!(label(&fixture, &order(&made, &[("held", "yes")], &[])).await, held);
    assert_eq!((list(&fixture).await, count(&fixture)), (only_one, 1));
    // Another wish needs the identity of now: somebody has changed it meanwhile.
    let fault = fixture.driver.label(&order(&made, &[("held", "no")], &[]), &call()).await.expect_err("gone");
    assert_eq!(fault.kind, FaultKind::Permanent);

    // Twice in a row.
    let again = cut_off(&fixture, &held, &[("held", "longer")]).await;
    assert_eq!(list(&fixture).await, BTreeMap::from([(again.id.clone(), again.clone())]));
    assert_eq!(create(&fixture, "a-1").await.expect("accepted").snapshot, again);
    assert_eq!(count(&fixture), 1);
    let last = cut_off(&fixture, &again, &[("held", "longest")]).await;
    maintain(&*fixture.driver).await;
    assert_eq!((count(&fixture), list(&fixture).await), (1, BTreeMap::from([(last.id.clone(), last.clone())])));

    // What is deleted does not come back as it was before.
    let last = cut_off(&fixture, &last, &[("held", "for ever")]).await;
    fixture.driver.delete(&target(&last), &call()).await.expect("deleted");
    assert_eq!((list(&fixture).await, count(&fixture)), (BTreeMap::new(), 0));
}

#[tokio::test]
async fn what_the_driver_itself_says_on_a_snapshot_is_nobodys_to_change() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    for own in ["snapkeep_name", "snapkeep_partial", "snapkeep_provisional", "snapkeep_rewritten"] {
        for order in [order(&made, &[(own, "1")], &[]), order(&made, &[], &[own])] {
            let fault = fixture.driver.label(&order, &call()).await.expect_err("refused");
            assert_eq!((fault.kind, fault.message), (FaultKind::Permanent, format!("label {own} is the driver's own")));
        }
    }
    assert_eq!(list(&fixture).await.into_values().collect::<Vec<_>>(), [made]);
}

#[tokio::test]
async fn restic_reads_what_was_labelled_and_what_restic_made_is_labelled() {
    if !restic_is_here("labels changed beside restic") {
        return;
    }
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    restic(&fixture, &["backup", "--tag", "weekly", fixture.source().to_str().expect("UTF-8")]);
    let foreign = list(&fixture).await.into_values().find(|one| one.id != made.id).expect("two");
    let shown = |id: &str| -> Value {
        let listed: Value = serde_json::from_str(&restic(&fixture, &["snapshots"])).expect("JSON");
        listed.as_array().expect("a list").iter().find(|one| one["id"] == *id).expect("listed").clone()
    };
    for before in [made, foreign] {
        let restics_before = shown(&before.id);
        let after = label(&fixture, &order(&before, &[("held", "yes")], &["note"])).await;
        // Once more, so that there are two identities it had.
        let after = label(&fixture, &order(&after, &[("held", "longer")], &[])).await;
        let restics_after = shown(&after.id);
        assert_eq!(restics_after["original"], *before.id);
        for same in ["time", "tree", "paths", "hostname", "username"] {
            assert_eq!(restics_before[same], restics_after[same], "{same}");
        }
        assert_eq!((&after.name, after.taken_at, after.status), (&before.name, before.taken_at, Status::Good));
        assert!(restics_after["tags"].to_string().contains("held=longer"), "{restics_after}");
        assert_eq!(before.labels.get("weekly"), after.labels.get("weekly"));
        verify(&fixture, &after, 100).await.expect("sound");
    }
    assert_eq!(list(&fixture).await.len(), 2);
    restic(&fixture, &["check", "--read-data"]);
    restic_agrees(&fixture);
}
