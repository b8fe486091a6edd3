//! The snapshots there are.

use serde_json::json;

use crate::http::body::{PoliciesBody, SnapshotsBody};
use crate::lifecycle::hold::Hold;
use crate::lifecycle::snapshot::{Snapshot, label};
use crate::lifecycle::time::Timestamp;

use super::client::{Client, encode, names_query};
use super::out::{Exit, Failure, Out, Tone, safe};
use super::restore;
use super::setup::{self, ConfigChoice};
use super::table::{Cell, Table};
use super::times::bytes;

/// Lists the snapshots of policies. One that cannot be listed is told, and the others are listed.
pub fn snapshots(client: &Client, names: &[String], out: &mut Out<'_>) -> Result<Exit, Failure> {
    let policies: PoliciesBody = client.get(&format!("/v1/policies?{}", names_query(names)))?.read()?;
    let mut listed: Vec<SnapshotsBody> = Vec::new();
    let mut exit = Exit::Fine;
    for policy in &policies.policies {
        match client.look(&format!("/v1/policies/{}/snapshots", encode(&policy.name))) {
            Ok(answer) => listed.push(answer.read()?),
            Err(Failure::Refused { problem, .. }) => {
                out.aside(format!("snapkeep: {}: {}", safe(&policy.name), safe(&problem.detail)));
                exit = Exit::Failed;
            }
            Err(failure) => return Err(failure),
        }
    }
    if out.json {
        out.value(&json!({ "policies": listed }))?;
        return Ok(exit);
    }
    let heading = format!("TAKEN ({})", out.times.zone());
    let mut table = Table::new(&["POLICY", "SNAPSHOT", &heading, "AGE", "STATUS", "SIZE", "HELD"]);
    for body in &listed {
        for snapshot in &body.snapshots {
            table.row(vec![
                Cell::new(&body.policy),
                Cell::new(&snapshot.name),
                Cell::new(snapshot.time.map_or_else(|| "unknown".to_string(), |at| out.times.at(at))),
                Cell::new(snapshot.time.map_or_else(|| "-".to_string(), |at| out.times.distance(at))),
                Cell::new(&snapshot.status).toned(status_tone(&snapshot.status)),
                Cell::number(snapshot.size_bytes.map_or_else(|| "-".to_string(), bytes)),
                Cell::new(snapshot.held.as_deref().unwrap_or("-")),
            ]);
        }
    }
    if table.is_empty() {
        out.line("There are no snapshots.")?;
    } else {
        table.print(out)?;
    }
    Ok(exit)
}

/// Lists all snapshots of a repository, without the daemon.
pub fn of_repository(choice: &ConfigChoice, name: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let repository = setup::repository(choice, name)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
    let listing = runtime
        .block_on(restore::list(&repository))
        .map_err(|fault| Failure::new(Exit::Failed, format!("failed to list repository {name}: {}", fault.message)))?;
    let mut listed: Vec<&Snapshot> = listing.snapshots.iter().collect();
    listed.sort_by_key(|snapshot| (snapshot.taken_at, &snapshot.name));
    let policy = |snapshot: &Snapshot| snapshot.labels.get(label::POLICY).cloned();
    // What the snapshot itself says; the daemon may know of more.
    let now = out.times.now();
    let held =
        |snapshot: &Snapshot| Hold::stamped(snapshot).filter(|hold| !hold.is_over(now)).map(|hold| hold.to_string());
    if out.json {
        let shown = listed.into_iter().map(|snapshot| {
            json!({
                "name": snapshot.name,
                "id": snapshot.id,
                "time": snapshot.taken_at.map(Timestamp::millis),
                "status": snapshot.status.word(),
                "size_bytes": snapshot.size_bytes,
                "policy": policy(snapshot),
                "held": held(snapshot),
            })
        });
        out.value(&json!({ "repository": name, "snapshots": shown.collect::<Vec<_>>() }))?;
        return Ok(Exit::Fine);
    }
    let heading = format!("TAKEN ({})", out.times.zone());
    let mut table = Table::new(&["SNAPSHOT", &heading, "AGE", "STATUS", "SIZE", "POLICY", "HELD"]);
    for snapshot in listed {
        let at = snapshot.taken_at.map(Timestamp::millis);
        let status = snapshot.status.word();
        table.row(vec![
            Cell::new(&snapshot.name),
            Cell::new(at.map_or_else(|| "unknown".to_string(), |at| out.times.at(at))),
            Cell::new(at.map_or_else(|| "-".to_string(), |at| out.times.distance(at))),
            Cell::new(status).toned(status_tone(status)),
            Cell::number(snapshot.size_bytes.map_or_else(|| "-".to_string(), bytes)),
            Cell::new(policy(snapshot).unwrap_or_else(|| "-".to_string())),
            Cell::new(held(snapshot).unwrap_or_else(|| "-".to_string())),
        ]);
    }
    if table.is_empty() {
        out.line("There are no snapshots.")?
    } else {
        table.print(out)?
    }
    Ok(Exit::Fine)
}

/// How a snapshot's status is shown.
pub fn status_tone(status: &str) -> Tone {
    match status {
        "good" => Tone::Good,
        "partial" => Tone::Warning,
        "failed" => Tone::Bad,
        _ => Tone::Plain,
    }
}
