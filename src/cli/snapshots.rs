//! The snapshots there are, and what a deletion run would make of them.

use serde_json::json;

use crate::http::body::{PlanBody, PoliciesBody, SnapshotsBody, VerdictBody};
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

/// Shows what a deletion run would make of the snapshots there are, or what the latest one did.
pub fn plan(client: &Client, name: &str, latest: bool, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = if latest {
        client.get(&format!("/v1/policies/{}/plan/latest", encode(name)))?
    } else {
        client.look(&format!("/v1/policies/{}/plan", encode(name)))?
    };
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let plan: PlanBody = answer.read()?;
    if let Some(held) = &plan.held {
        out.line(out.toned(Tone::Bad, &format!("Held, nothing is deleted: {}", safe(held))))?;
    }
    verdicts(&plan.entries, out)?;
    let condemned = plan.entries.iter().filter(|entry| entry.verdict == "delete").count();
    let deleted = plan.entries.iter().filter(|entry| entry.deleted).count();
    let own = plan.own;
    if latest {
        let at = format!("{} {}", out.times.at(plan.time), out.times.zone());
        out.line(format!("Made {at}: {condemned} of {own} to be deleted, {deleted} deleted."))?;
    } else {
        out.line(format!("A deletion run now would delete {condemned} of {own}. Nothing was deleted."))?;
    }
    Ok(Exit::Fine)
}

/// Shows a verdict for each snapshot.
pub fn verdicts(entries: &[VerdictBody], out: &mut Out<'_>) -> Result<(), Failure> {
    let mut table = Table::new(&["SNAPSHOT", "AGE", "STATUS", "VERDICT", "REASON"]);
    for entry in entries {
        let verdict = match (&*entry.verdict, entry.deleted) {
            ("delete", true) => Cell::new("deleted").toned(Tone::Warning),
            ("delete", false) => Cell::new("delete").toned(Tone::Warning),
            (word, _) => Cell::new(word).toned(Tone::Good),
        };
        table.row(vec![
            Cell::new(&entry.snapshot),
            Cell::new(entry.time.map_or_else(|| "unknown".to_string(), |at| out.times.distance(at))),
            Cell::new(&entry.status).toned(status_tone(&entry.status)),
            verdict,
            Cell::new(&entry.reason),
        ]);
    }
    if table.is_empty() { Ok(()) } else { table.print(out) }
}

fn status_tone(status: &str) -> Tone {
    match status {
        "good" => Tone::Good,
        "partial" => Tone::Warning,
        "failed" => Tone::Bad,
        _ => Tone::Plain,
    }
}
