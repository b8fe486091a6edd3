//! Holds, orphans, and what people do to single snapshots. The daemon does it; this shows it first.

use serde::Serialize;
use serde_json::json;

use crate::http::body::{
    ChangeOrderBody, HoldOrderBody, HoldsBody, NamedBody, OperationBody, PreviewOrderBody, ReleaseOrderBody,
    SingleBody, SingleSnapshotBody,
};

use super::arguments::{AdoptArguments, ExpireArguments, HoldAddArguments, HoldCommand};
use super::client::Client;
use super::out::{Exit, Failure, Out, Tone, safe};
use super::table::{Cell, Table};
use super::times::bytes;
use super::upkeep::{follow, followed};

/// Holds, releases, or shows what is held.
pub fn hold(client: &Client, command: HoldCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        HoldCommand::Add(arguments) => {
            let HoldAddArguments { snapshot, until, reason, compliance, repository: repositories } = arguments;
            let until = until.map(|until| instant("--until", &until, out)).transpose()?;
            let order = HoldOrderBody { snapshot, until, compliance, reason, repositories };
            follow(client, client.post("/v1/holds", None, written(&order)?)?, out)
        }
        HoldCommand::Remove { snapshot, repository } => {
            let order = ReleaseOrderBody { snapshot, repositories: repository };
            follow(client, client.post("/v1/holds/remove", None, written(&order)?)?, out)
        }
        HoldCommand::List => list(client, out),
    }
}

fn list(client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get("/v1/holds")?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: HoldsBody = answer.read()?;
    let heading = format!("UNTIL ({})", out.times.zone());
    let mut table = Table::new(&["REPOSITORY", "SNAPSHOT", "POLICY", &heading, "MODE", "BY", "REASON"]);
    for hold in &body.holds {
        let until = match (hold.until, hold.over) {
            (None, _) => Cell::new("it is removed"),
            (Some(at), false) => Cell::new(out.times.at(at)),
            (Some(at), true) => Cell::new(format!("{}, over", out.times.at(at))).toned(Tone::Faint),
        };
        table.row(vec![
            Cell::new(&hold.repository),
            Cell::new(&hold.snapshot),
            Cell::new(hold.policy.as_deref().unwrap_or("-")),
            until,
            Cell::new(&hold.mode),
            Cell::new(&hold.who),
            Cell::new(&hold.reason),
        ]);
    }
    if table.is_empty() {
        out.line("Nothing is held.")?;
    } else {
        table.print(out)?;
    }
    Ok(Exit::Fine)
}

/// Lists what nobody looks after.
pub fn orphans(client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.look("/v1/orphans")?;
    let body: SingleBody = answer.read()?;
    let exit = if body.troubles.is_empty() { Exit::Fine } else { Exit::Failed };
    if out.json {
        out.raw(&answer.document)?;
        return Ok(exit);
    }
    let mut table = Table::new(&["REPOSITORY", "SNAPSHOT", "AGE", "SIZE", "WHOSE", "HELD", "WHY"]);
    for one in &body.snapshots {
        let held = one.held.as_ref().map_or("-", |_| "held");
        let mut row = known(one, out);
        row.extend([Cell::new(held), Cell::new(&one.why)]);
        table.row(row);
    }
    if table.is_empty() {
        out.line("Somebody looks after every snapshot.")?;
    } else {
        table.print(out)?;
    }
    troubles(&body, out);
    Ok(exit)
}

/// Shows what adopting would do, and does it.
pub fn adopt(client: &Client, arguments: AdoptArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let AdoptArguments { snapshots, policy, repository: repositories, yes } = arguments;
    let policy = Some(policy);
    let order = PreviewOrderBody { snapshots, repositories, owned: false, policy: policy.clone() };
    let change = |snapshots| ChangeOrderBody { snapshots, owned: false, policy };
    previewed(client, "adopt", &order, change, yes, out)
}

/// Shows what deleting would do, and does it.
pub fn expire(client: &Client, arguments: ExpireArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let ExpireArguments { snapshots, owned, repository: repositories, yes } = arguments;
    let order = PreviewOrderBody { snapshots, repositories, owned, policy: None };
    let change = |snapshots| ChangeOrderBody { snapshots, owned, policy: None };
    previewed(client, "expire", &order, change, yes, out)
}

fn previewed(
    client: &Client,
    what: &str,
    order: &PreviewOrderBody,
    change: impl FnOnce(Vec<NamedBody>) -> ChangeOrderBody,
    yes: bool,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let body: SingleBody = client.post(&format!("/v1/{what}/preview"), None, written(order)?)?.read()?;
    let all_may = body.troubles.is_empty() && body.snapshots.iter().all(|one| one.allowed);
    let exit = if all_may { Exit::Fine } else { Exit::Failed };
    if !out.json {
        let mut table = Table::new(&["REPOSITORY", "SNAPSHOT", "AGE", "SIZE", "WHOSE", "ID", "WHAT"]);
        for one in &body.snapshots {
            let tone = if one.allowed { Tone::Warning } else { Tone::Bad };
            let verdict = if one.allowed { one.verdict.clone() } else { format!("refused: {}", one.verdict) };
            let mut row = known(one, out);
            row.extend([Cell::new(one.id.get(..12).unwrap_or(&one.id)), Cell::new(verdict).toned(tone)]);
            table.row(row);
        }
        if !table.is_empty() {
            table.print(out)?;
        }
        troubles(&body, out);
    }
    // All or nothing of what was named: half of it is not what somebody has said yes to.
    if !yes || !all_may {
        if out.json {
            out.value(&json!({ "preview": body, "operation": null }))?;
        } else if all_may {
            out.line("Nothing was changed; the same with --yes does it.")?;
        } else {
            out.line("Nothing was changed.")?;
        }
        return Ok(exit);
    }
    let named = |one: &SingleSnapshotBody| NamedBody {
        repository: one.repository.clone(),
        name: one.name.clone(),
        id: one.id.clone(),
    };
    let change = change(body.snapshots.iter().map(named).collect());
    let begun = client.post(&format!("/v1/{what}"), None, written(&change)?)?;
    if !out.json {
        return follow(client, begun, out);
    }
    let (operation, exit) = followed(client, begun)?;
    let operation: OperationBody = operation.read()?;
    out.value(&json!({ "preview": body, "operation": operation }))?;
    Ok(exit)
}

/// What is known of a snapshot, in the first columns.
fn known(one: &SingleSnapshotBody, out: &Out<'_>) -> Vec<Cell> {
    vec![
        Cell::new(&one.repository),
        Cell::new(&one.name),
        Cell::new(one.time.map_or_else(|| "unknown".to_owned(), |at| out.times.distance(at))),
        Cell::number(one.size_bytes.map_or_else(|| "-".to_owned(), bytes)),
        Cell::new(&one.whose),
    ]
}

fn troubles(body: &SingleBody, out: &mut Out<'_>) {
    for trouble in &body.troubles {
        out.aside(format!("snapkeep: {}", safe(trouble)));
    }
}

/// Reads a day, a point in time or a span from now, in milliseconds since 1970.
pub fn instant(option: &str, text: &str, out: &Out<'_>) -> Result<i64, Failure> {
    out.times.read(text).map_err(|_| {
        Failure::new(Exit::Usage, format!("failed to understand {option} {}", safe(text)))
            .hint("write a day (2027-01-31), a point in time (2027-01-31T12:00:00Z) or a span (90d)")
    })
}

fn written(order: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(order)
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to form the request: {error}")))
}
