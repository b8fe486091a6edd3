//! Files are cut where restic would cut them, so that both can write to one repository and store
//! nothing twice.

use std::process::Command;

use serde_json::Value;

use crate::driver_contract::{Fixture, create, files};
use crate::support::skips::not_tested;
use crate::upkeep::noise;

/// Backs a path up with restic and returns what it said about it.
fn restic_backup(fixture: &Fixture) -> Value {
    let output = Command::new("restic")
        .args(["--no-cache", "--json", "--repo"])
        .arg(fixture.repository())
        .arg("--password-file")
        .arg(fixture.folder.path().join("repository.key"))
        .args(["backup", "--force"])
        .arg(fixture.source())
        .output()
        .expect("restic runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    serde_json::from_str(said.lines().last().expect("a summary")).expect("JSON")
}

#[tokio::test]
async fn restic_finds_the_same_pieces_in_files_of_many_sizes() {
    if Command::new("restic").arg("version").output().is_err() {
        not_tested("whether restic cuts files where we do, because it is not installed");
        return;
    }
    let fixture = files();
    // From less than the window of the rolling hash to a dozen pieces.
    for (number, bytes) in
        [1, 63, 64, 65, 4_096, 524_287, 524_288, 524_289, 3_000_000, 20_000_000].into_iter().enumerate()
    {
        noise(&fixture.source().join(format!("{bytes}-bytes")), number as u64 + 1, bytes);
    }
    create(&fixture, "a-1").await.expect("made");
    let summary = restic_backup(&fixture);
    assert_eq!(summary["files_new"], 11, "{summary}");
    assert_eq!(summary["data_blobs"], 0, "restic found pieces that we have not: {summary}");
}
