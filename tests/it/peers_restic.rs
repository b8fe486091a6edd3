//! restic, where it is installed, reads what we wrote, finds nothing wrong with it, and gives it back
//! identical. This is the way out that we promise.

use std::process::Command;

use snapkeep::drivers::Created;
use snapkeep::lifecycle::workflow::FaultKind;

use crate::driver_contract::{Fixture, call, create, files, list, order, target};
use crate::files::{fill, tree};
use crate::support::skips::not_tested;

/// Whether restic is here; says that it is not tested otherwise.
pub fn restic_is_here(what: &str) -> bool {
    let is_here = Command::new("restic").arg("version").output().is_ok();
    if !is_here {
        not_tested(&format!("{what}, because restic is not installed"));
    }
    is_here
}

/// Runs restic on the fixture's repository and returns what it printed.
pub fn restic(fixture: &Fixture, arguments: &[&str]) -> String {
    let output = Command::new("restic")
        .args(["--no-cache", "--json", "--repo"])
        .arg(fixture.repository())
        .arg("--password-file")
        .arg(fixture.folder.path().join("repository.key"))
        .args(arguments)
        .output()
        .expect("restic runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {stdout}{stderr}");
    format!("{stdout}{stderr}")
}

#[tokio::test]
async fn restic_reads_checks_and_restores_what_we_wrote() {
    if !restic_is_here("what restic makes of our repositories") {
        return;
    }
    let fixture = files();
    fill(&fixture.source());
    let made = create(&fixture, "a-1").await.expect("made").snapshot;

    let listed = restic(&fixture, &["snapshots"]);
    for expected in [&made.id, "snapkeep_name=a-1", "sm_policy=wiki", "note=a%2Cb%3Dc"] {
        let expected = expected.replace("%3D", "=");
        assert!(listed.contains(&expected), "{expected} is not in {listed}");
    }
    assert!(!listed.contains("snapkeep_provisional"), "{listed}");
    restic(&fixture, &["check", "--read-data"]);
    let to = fixture.folder.path().join("back");
    restic(&fixture, &["restore", &made.id, "--target", to.to_str().expect("UTF-8")]);
    let source = fixture.source();
    assert_eq!(tree(&to.join(source.strip_prefix("/").expect("absolute"))), tree(&source));

    // And the other way: what restic adds is listed as somebody else's, and is left alone.
    restic(&fixture, &["backup", source.to_str().expect("UTF-8"), "--tag", "weekly"]);
    let all = list(&fixture).await;
    assert_eq!(all.len(), 2);
    let foreign = all.values().find(|snapshot| snapshot.id != made.id).expect("restic's");
    assert_eq!(foreign.labels.keys().collect::<Vec<_>>(), ["weekly"]);
    fixture.driver.delete(&target(&made), &call()).await.expect("deleted");
    restic(&fixture, &["check", "--read-data"]);
    // Its identity may still be named as a parent.
    assert!(!restic(&fixture, &["snapshots"]).contains(&format!("\"id\":\"{}\"", made.id)));

    // While restic holds a lock we wait: it may be pruning.
    std::fs::write(fixture.repository().join("locks").join("0".repeat(64)), "").expect("written");
    match fixture.driver.create(&order(&fixture, "b-1"), &call()).await {
        Err(fault) => assert_eq!(fault.kind, FaultKind::Busy, "{fault:?}"),
        Ok(Created::Ended(_) | Created::Accepted) => panic!("restic was at work"),
    }
}
