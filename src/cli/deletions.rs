//! Deletions that a guard has stopped: shown, approved, refused; and the clock, believed again.

use crate::http::body::{AcknowledgedBody, DeletionBody, DeletionShownBody, DeletionsBody, RunBody};

use super::arguments::{ClockCommand, DeletionsCommand};
use super::client::Client;
use super::out::{Exit, Failure, Out, Tone, safe};
use super::plan;
use super::table::{Cell, Table};
use super::times::span;

/// Carries out a command about held plans.
pub fn deletions(client: &Client, command: DeletionsCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        DeletionsCommand::List { limit } => list(client, limit, out),
        DeletionsCommand::Show { plan } => show(client, plan, out),
        DeletionsCommand::Approve { plan } => approve(client, plan, out),
        DeletionsCommand::Refuse { plan } => refuse(client, plan, out),
    }
}

/// Carries out a command about the clock.
pub fn clock(client: &Client, command: ClockCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let ClockCommand::Confirm = command;
    let body: AcknowledgedBody = client.post("/v1/clock/confirm", None, Vec::new())?.read()?;
    if out.json {
        out.value(&body)?;
    } else {
        out.line("The clock is believed. What was held because of it is planned anew by the next run.")?;
    }
    Ok(Exit::Fine)
}

fn list(client: &Client, limit: u32, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get(&format!("/v1/deletions?limit={limit}"))?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: DeletionsBody = answer.read()?;
    let heading = format!("MADE ({})", out.times.zone());
    let mut table = Table::new(&["PLAN", &heading, "POLICY", "STATE", "DELETES", "GUARDS", "WHY"]);
    for plan in &body.plans {
        table.row(vec![
            Cell::number(plan.plan.to_string()),
            Cell::new(out.times.at(plan.time)),
            Cell::new(&plan.policy),
            Cell::new(&plan.state).toned(tone(&plan.state)),
            Cell::number(format!("{} of {}", plan.condemned, plan.own)),
            Cell::new(plan.guards.join(", ")),
            Cell::new(plan.held.join("; ")),
        ]);
    }
    if table.is_empty() {
        out.line("No guard has stopped a deletion.")?;
    } else {
        table.print(out)?;
    }
    if let Some(first) = body.plans.iter().find(|plan| plan.state == "waiting") {
        out.line(format!("`snapkeep deletions show {}` shows every verdict.", first.plan))?;
    }
    Ok(Exit::Fine)
}

fn show(client: &Client, plan: u64, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let answer = client.get(&format!("/v1/deletions/{plan}"))?;
    if out.json {
        out.raw(&answer.document)?;
        return Ok(Exit::Fine);
    }
    let body: DeletionShownBody = answer.read()?;
    let DeletionBody { policy, time, until, state, held, own, condemned, deleted, .. } = &body.deletion;
    let made = format!("{} {}", out.times.at(*time), out.times.zone());
    out.line(format!("Plan {plan} of policy {}, made {made}", safe(policy)))?;
    for held in held {
        out.line(out.toned(Tone::Bad, &format!("  held: {}", safe(held))))?;
    }
    let clock = &body.clock;
    let ahead = clock.ahead_ms.map_or_else(
        || "the machine was started since it was last believed".to_string(),
        |ahead| match ahead / 1000 {
            0 => "in step with the time since the machine was started".to_string(),
            seconds if seconds > 0 => format!("{} ahead of the time since the machine was started", span(ahead)),
            _ => format!("{} behind the time since the machine was started", span(-ahead)),
        },
    );
    let synchronised = if clock.synchronised { "synchronised" } else { "not synchronised" };
    let believed = out.times.at(clock.believed);
    out.line(format!("  clock: {}, {ahead}, {synchronised}, last believed {believed}", out.times.at(clock.wall)))?;
    if let Some(doubt) = &clock.doubt {
        out.line(format!("  clock doubted: {}", safe(doubt)))?;
    }
    plan::verdicts(&body.entries, out)?;
    out.line(format!("{condemned} of {own} to be deleted, {deleted} deleted."))?;
    match &**state {
        "waiting" => {
            let until = out.times.at(*until);
            out.line(format!(
                "Waits until {until}: `snapkeep deletions approve {plan}` deletes what is shown and the policy still \
                 condemns, `snapkeep deletions refuse {plan}` deletes nothing."
            ))?;
        }
        state => {
            let who = body.deletion.answered_by.as_deref().map(|who| format!(" by {}", safe(who)));
            let when = body.deletion.answered.map(|at| format!(" at {}", out.times.at(at)));
            out.line(format!("It was {}{}{}.", safe(state), who.unwrap_or_default(), when.unwrap_or_default()))?;
        }
    }
    Ok(Exit::Fine)
}

fn approve(client: &Client, plan: u64, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let body: RunBody = client.post(&format!("/v1/deletions/{plan}/approve"), None, Vec::new())?.read()?;
    if out.json {
        out.value(&body)?;
    } else {
        out.line(format!("Plan {plan} is approved; run {} carries it out.", safe(&body.run_id)))?;
    }
    Ok(Exit::Fine)
}

fn refuse(client: &Client, plan: u64, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let body: AcknowledgedBody = client.post(&format!("/v1/deletions/{plan}/refuse"), None, Vec::new())?.read()?;
    if out.json {
        out.value(&body)?;
    } else {
        out.line(format!(
            "Plan {plan} is refused; nothing of it is deleted. The next run plans anew: change the policy if it \
             should keep more."
        ))?;
    }
    Ok(Exit::Fine)
}

fn tone(state: &str) -> Tone {
    match state {
        "waiting" => Tone::Bad,
        "approved" => Tone::Good,
        _ => Tone::Faint,
    }
}
