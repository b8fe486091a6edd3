//! What a deletion run would make of the snapshots, now and later, and under an edited policy.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::http::body::{
    ChangeBody, CompareOrder, ComparisonBody, DraftOrder, FateBody, ForeseeOrder, ForeseenBody, ForesightBody,
    LifeBody, PlanBody, ProblemBody, SideBody, UntilBody, VerdictBody,
};

use super::arguments::PlanArguments;
use super::calendar::{self, Columns};
use super::client::{Answer, Client, encode};
use super::out::{Exit, Failure, Out, Tone, safe, safe_lines};
use super::snapshots::status_tone;
use super::table::{Cell, Table};

/// The daemon takes no larger one either.
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Shows what will become of a policy's snapshots.
pub fn plan(client: &Client, order: PlanArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let PlanArguments { name, latest, at, until, policy } = order;
    let read = |text: Option<String>| text.map(|text| out.times.read(&text)).transpose();
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let (at, until) = (read(at).map_err(usage)?, read(until).map_err(usage)?);
    let policy = policy.map(|file| draft(&file)).transpose()?;
    let path = format!("/v1/policies/{}", encode(&name));
    match (until, policy) {
        (Some(until), policy) => {
            let columns = Columns::new(&out.times, until, out.width);
            let order = ForeseeOrder { until, looks: columns.looks().to_vec(), policy };
            let answer = post(client, &format!("{path}/foresight"), &order, out.json)?;
            if out.json {
                out.raw(&answer.document)?;
                return Ok(Exit::Fine);
            }
            foresight(&answer.read()?, &columns, out)
        }
        (None, Some(policy)) => {
            let answer = post(client, &format!("{path}/plan"), &CompareOrder { policy, at }, out.json)?;
            if out.json {
                out.raw(&answer.document)?;
                return Ok(Exit::Fine);
            }
            comparison(&answer.read()?, at.is_some(), out)
        }
        (None, None) => {
            let answer = match (latest, at) {
                (true, _) => client.get(&format!("{path}/plan/latest"))?,
                (false, Some(at)) => client.look(&format!("{path}/plan?at={at}"))?,
                (false, None) => client.look(&format!("{path}/plan"))?,
            };
            if out.json {
                out.raw(&answer.document)?;
                return Ok(Exit::Fine);
            }
            shown(&answer.read()?, latest, at, out)
        }
    }
}

/// Reads an edited policy.
fn draft(file: &Path) -> Result<DraftOrder, Failure> {
    let failed = |why: String| Failure::new(Exit::Usage, format!("failed to read {}: {why}", file.display()));
    let metadata = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    if metadata.len() > POLICY_BYTES_MAX {
        return Err(failed(format!("it has more than {POLICY_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    // Paths in it begin where it is.
    let whole: PathBuf = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    Ok(DraftOrder { file: whole.display().to_string(), text })
}

fn post(client: &Client, path: &str, order: &impl Serialize, json: bool) -> Result<Answer, Failure> {
    let body = serde_json::to_vec(order).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    client.post(path, None, body).map_err(|failure| match failure {
        // As `check` tells it, and with its exit code.
        Failure::Refused { problem, .. } if problem.code == "bad_policy" && !json => {
            Failure::new(Exit::Usage, format!("the policy has errors\n{}", problem.detail))
        }
        other => other,
    })
}

/// A verdict for every snapshot, and what it comes to.
fn shown(plan: &PlanBody, latest: bool, at: Option<i64>, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if let Some(held) = &plan.held {
        out.line(out.toned(Tone::Bad, &format!("Held, nothing is deleted: {}", safe(held))))?;
    }
    verdicts(&plan.entries, out)?;
    let condemned = plan.entries.iter().filter(|entry| entry.verdict == "delete").count();
    let deleted = plan.entries.iter().filter(|entry| entry.deleted).count();
    let own = plan.own;
    let made = format!("{} {}", out.times.at(plan.time), out.times.zone());
    match (latest, at) {
        (true, _) => out.line(format!("Made {made}: {condemned} of {own} to be deleted, {deleted} deleted."))?,
        (false, Some(_)) => out.line(format!(
            "A deletion run at {made} would delete {condemned} of {own}, if all goes by schedule until then."
        ))?,
        (false, None) => {
            out.line(format!("A deletion run now would delete {condemned} of {own}. Nothing was deleted."))?;
        }
    }
    Ok(Exit::Fine)
}

/// Shows a verdict for each snapshot, and until when it stays where that is told.
pub fn verdicts(entries: &[VerdictBody], out: &mut Out<'_>) -> Result<(), Failure> {
    let tells_until = entries.iter().any(|entry| entry.until.is_some());
    let until = format!("UNTIL ({})", out.times.zone());
    let mut heading = vec!["SNAPSHOT", "AGE", "STATUS", "VERDICT", "REASON"];
    heading.extend(tells_until.then_some(&*until));
    let mut table = Table::new(&heading);
    for entry in entries {
        let verdict = match (&*entry.verdict, entry.deleted) {
            ("delete", true) => Cell::new("deleted").toned(Tone::Warning),
            ("delete", false) => Cell::new("delete").toned(Tone::Warning),
            (word, _) => Cell::new(word).toned(Tone::Good),
        };
        let mut cells = vec![
            Cell::new(&entry.snapshot),
            Cell::new(entry.time.map_or_else(|| "unknown".to_string(), |at| out.times.distance(at))),
            Cell::new(&entry.status).toned(status_tone(&entry.status)),
            verdict,
            Cell::new(&entry.reason),
        ];
        cells.extend(tells_until.then(|| Cell::new(stays(entry, out))));
        table.row(cells);
    }
    if table.is_empty() { Ok(()) } else { table.print(out) }
}

/// Until when it stays, in words.
fn stays(entry: &VerdictBody, out: &Out<'_>) -> String {
    let Some(UntilBody { time, limit, held, so_long, beyond }) = &entry.until else { return "-".to_string() };
    let time = time.map(|time| out.times.minute(time));
    let limit = limit.as_deref().unwrap_or("its limits");
    match (&*entry.verdict, time, so_long, beyond) {
        ("delete", Some(_), _, _) if *held => "it is approved".to_string(),
        ("delete", Some(time), _, _) => format!("{time}, the next deletion"),
        (_, Some(time), _, _) if *held => format!("{time} ({limit}), if approved"),
        (_, Some(time), Some(what), _) => format!("while {what}, then {time} ({limit})"),
        (_, Some(time), None, _) => format!("{time} ({limit})"),
        (_, None, _, Some(beyond)) => format!("beyond {}", out.times.minute(*beyond)),
        (_, None, Some(what), None) => format!("for as long as {what}"),
        (_, None, None, None) => "-".to_string(),
    }
}

/// What an edited policy would do differently.
fn comparison(body: &ComparisonBody, is_ahead: bool, out: &mut Out<'_>) -> Result<Exit, Failure> {
    warnings(&body.problems, out)?;
    let ComparisonBody { in_force, edited, changes, .. } = body;
    let when =
        if is_ahead { format!("at {} {}", out.times.at(body.time), out.times.zone()) } else { "now".to_string() };
    if changes.is_empty() {
        out.line("Of the snapshots there are both keep the same.")?;
    } else {
        let mut table = Table::new(&["SNAPSHOT", "AGE", "CHANGE", "IN FORCE", "EDITED"]);
        for change in changes {
            let ChangeBody { snapshot, id: _, time, in_force, edited } = change;
            let word = if edited.verdict == "keep" {
                Cell::new("newly kept").toned(Tone::Good)
            } else {
                Cell::new("newly condemned").toned(Tone::Warning)
            };
            table.row(vec![
                Cell::new(snapshot),
                Cell::new(time.map_or_else(|| "unknown".to_string(), |at| out.times.distance(at))),
                word,
                Cell::new(fate(in_force, out)),
                Cell::new(fate(edited, out)),
            ]);
        }
        table.print(out)?;
    }
    match in_force {
        Some(side) => out.line(format!("In force: {}.", side_words(side, &when)))?,
        None => out.line("In force: nothing is deleted.")?,
    }
    out.line(format!("Edited:   {}.", side_words(edited, &when)))?;
    if let Some(held) = &edited.held {
        let text = format!("Held: nothing would be deleted until somebody approves the plan. {}.", safe(held));
        out.line(out.toned(Tone::Bad, &text))?;
    }
    out.line("Nothing was put in force, and nothing was deleted.")?;
    Ok(Exit::Fine)
}

fn side_words(side: &SideBody, when: &str) -> String {
    let SideBody { own, condemned, gone, .. } = side;
    let before = if *gone > 0 { format!("{gone} are gone by then, and ") } else { String::new() };
    format!("{before}a deletion run {when} would delete {condemned} of {own}")
}

fn fate(fate: &FateBody, out: &Out<'_>) -> String {
    let FateBody { verdict, gone, reason } = fate;
    match gone {
        Some(at) => format!("gone {}: {reason}", out.times.minute(*at)),
        None => format!("{verdict}: {reason}"),
    }
}

fn warnings(problems: &[ProblemBody], out: &mut Out<'_>) -> Result<(), Failure> {
    for problem in problems {
        out.line(safe_lines(&problem.text))?;
        out.line("")?;
    }
    Ok(())
}

/// A calendar of what will exist.
fn foresight(body: &ForeseenBody, columns: &Columns, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let ForeseenBody { policy, runs, problems, in_force, edited, .. } = body;
    warnings(problems, out)?;
    if !runs {
        let text = format!("{} is stopped: this is what would be if it were started now.", safe(policy));
        out.line(out.toned(Tone::Warning, &text))?;
    }
    if let (Some(before), Some(after)) = (in_force, edited) {
        out.line(out.toned(Tone::Strong, "Only one of the two keeps until then"))?;
        differences(before, after, out)?;
        out.line("")?;
        out.line(out.toned(Tone::Strong, "In force"))?;
        told(before, out)?;
        out.line("")?;
        out.line(out.toned(Tone::Strong, "Edited"))?;
    }
    let Some(shown) = edited.as_ref().or(in_force.as_ref()) else { return Ok(Exit::Fine) };
    for line in calendar::draw(shown, columns, &out.times) {
        let pieces: Vec<String> = line.iter().map(|(tone, text)| out.toned(*tone, text)).collect();
        out.line(pieces.concat().trim_end())?;
    }
    out.line("")?;
    told(shown, out)?;
    if edited.is_some() {
        out.line("Nothing was put in force, and nothing was deleted.")?;
    }
    Ok(Exit::Fine)
}

/// What of the snapshots that both know only one keeps.
fn differences(before: &ForesightBody, after: &ForesightBody, out: &mut Out<'_>) -> Result<(), Failure> {
    let is_there = |life: &&LifeBody| !life.to_come;
    let known: std::collections::BTreeMap<&str, &LifeBody> =
        after.snapshots.iter().filter(is_there).map(|life| (&*life.snapshot, life)).collect();
    let mut table = Table::new(&["SNAPSHOT", "CHANGE", "IN FORCE", "EDITED"]);
    for life in before.snapshots.iter().filter(is_there) {
        let Some(other) = known.get(&*life.snapshot).filter(|other| other.gone.is_some() != life.gone.is_some()) else {
            continue;
        };
        let gone = |life: &LifeBody| match &life.gone {
            Some(gone) => format!("gone {}: {}", out.times.minute(gone.time), gone.reason),
            None => "there".to_string(),
        };
        let word = if other.gone.is_none() {
            Cell::new("newly kept").toned(Tone::Good)
        } else {
            Cell::new("newly condemned").toned(Tone::Warning)
        };
        table.row(vec![Cell::new(&life.snapshot), word, Cell::new(gone(life)), Cell::new(gone(other))]);
    }
    if table.is_empty() { out.line("none of the snapshots there are.") } else { table.print(out) }
}

/// The figures below a calendar.
fn told(shown: &ForesightBody, out: &mut Out<'_>) -> Result<(), Failure> {
    let ForesightBody { creations, deletions, made, deleted, count, lowest, highest, last, held, .. } = shown;
    out.line(format!(
        "Snapshots: {} now, lowest {} ({}), highest {} ({}), {} in the end ({}).",
        count.count,
        lowest.count,
        out.times.minute(lowest.time),
        highest.count,
        out.times.minute(highest.time),
        last.count,
        out.times.minute(last.time),
    ))?;
    out.line(format!(
        "{creations} triggers of creation make {made}, {deletions} triggers of deletion delete {deleted}. Times are {}.",
        safe(out.times.zone())
    ))?;
    if held.is_empty() {
        out.line(out.toned(Tone::Good, "No guard holds a plan."))?;
    }
    for stretch in held {
        let (first, last) = (out.times.minute(stretch.first), out.times.minute(stretch.last));
        let when = if stretch.plans == 1 {
            format!("The plan of {first} would be held")
        } else {
            format!("{} plans from {first} to {last} would be held", stretch.plans)
        };
        out.line(out.toned(Tone::Bad, &format!("{when}: {}.", safe(&stretch.reason))))?;
    }
    Ok(())
}
