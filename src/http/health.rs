//! Whether somebody should look: for monitoring, from the last published view.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use wildmatch::WildMatch;

use crate::engine::tracked::Tracked;
use crate::engine::view::Daemon;
use crate::journal::record::OperationOutcome;
use crate::lifecycle::health::{Expectation, Health, UNDER_WAY, Vitals};
use crate::lifecycle::time::{Moment, format_millis};
use crate::lifecycle::workflow::{Kind, Outcome};

use super::State;
use super::body::{CheckupBody, CheckupsBody, HealthBody};
use super::error::ApiError;
use super::explain::{Names, names};

/// The engine moves at least once a minute; twice that is a stall.
const TURN_AGE_MAX_MS: i64 = 120_000;
/// Enough to see what it is about; explain has the rest.
const REASONS_MAX: usize = 100;

/// `GET /health`: 200 unless it is critical.
pub async fn health(axum::extract::State(shared): State) -> (StatusCode, Json<HealthBody>) {
    let now = (shared.api.clock)();
    let daemon = shared.api.view.daemon();
    let mut found = vec![];
    for tracked in shared.api.view.policies(&[]) {
        let checkup = vitals(&tracked).check(now.wall);
        found.extend(checkup.reasons.into_iter().map(|reason| (checkup.health, format!("{}: {reason}", tracked.name))));
    }
    found.sort_by_key(|(health, _)| Reverse(*health));
    let (mut health, mut reasons) = of_daemon(&daemon, now);
    health = found.first().map_or(health, |(of_policies, _)| health.max(*of_policies));
    reasons.extend(found.into_iter().map(|(_, reason)| reason));
    if reasons.len() > REASONS_MAX {
        let more = reasons.len() - REASONS_MAX;
        reasons.truncate(REASONS_MAX);
        reasons.push(format!("and {more} more"));
    }
    answer(health, reasons)
}

/// `GET /health/live`: 200 while the engine moves, or says why it does not. For what starts anew whatever hangs.
pub async fn live(axum::extract::State(shared): State) -> (StatusCode, Json<HealthBody>) {
    let now = (shared.api.clock)();
    let daemon = shared.api.view.daemon();
    let reasons: Vec<String> = stalled(&daemon, now).filter(|_| daemon.safe_mode.is_none()).into_iter().collect();
    answer(if reasons.is_empty() { Health::Ok } else { Health::Critical }, reasons)
}

/// `GET /health/ready`: 200 while it makes and deletes snapshots, and takes commands.
pub async fn ready(axum::extract::State(shared): State) -> (StatusCode, Json<HealthBody>) {
    let now = (shared.api.clock)();
    let reasons = critical(&shared.api.view.daemon(), now);
    answer(if reasons.is_empty() { Health::Ok } else { Health::Critical }, reasons)
}

/// `GET /v1/health?name=a*,b`: how each policy is. Where policies are named, of the daemon only what is critical.
pub async fn checkups(
    axum::extract::State(shared): State,
    query: Result<Query<Names>, QueryRejection>,
) -> Result<Json<CheckupsBody>, ApiError> {
    let names = names(&query?.0.name)?;
    let now = (shared.api.clock)();
    let daemon = shared.api.view.daemon();
    let tracked = shared.api.view.policies(&names);
    let is_known = |name: &String| {
        let pattern = WildMatch::new(name);
        tracked.iter().any(|tracked| pattern.matches(&tracked.name))
    };
    let policies = tracked.iter().map(|tracked| {
        let good_at = tracked.last_good.as_ref().and_then(|run| run.ended_at);
        CheckupBody::of(&tracked.name, good_at, vitals(tracked).check(now.wall))
    });
    let (health, reasons) = if names.is_empty() {
        of_daemon(&daemon, now)
    } else {
        let reasons = critical(&daemon, now);
        (if reasons.is_empty() { Health::Ok } else { Health::Critical }, reasons)
    };
    Ok(Json(CheckupsBody {
        daemon: HealthBody { status: health.word().into(), reasons },
        policies: policies.collect(),
        unknown: names.iter().filter(|name| !is_known(name)).cloned().collect(),
        notices_waiting: daemon.notices.values().map(|waiting| waiting.pending).sum(),
        notices_undeliverable: daemon.notices.values().map(|waiting| waiting.undeliverable).sum(),
    }))
}

fn answer(health: Health, reasons: Vec<String>) -> (StatusCode, Json<HealthBody>) {
    let code = if health == Health::Critical { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(HealthBody { status: health.word().into(), reasons }))
}

fn of_daemon(daemon: &Daemon, now: Moment) -> (Health, Vec<String>) {
    let mut reasons = critical(daemon, now);
    let mut health = if reasons.is_empty() { Health::Ok } else { Health::Critical };
    if daemon.safe_mode.is_none() {
        let mut warnings = warnings(daemon, now);
        if !warnings.is_empty() {
            health = health.max(Health::Warning);
        }
        reasons.append(&mut warnings);
    }
    (health, reasons)
}

/// Returns why it may be that the engine hangs.
fn stalled(daemon: &Daemon, now: Moment) -> Option<String> {
    let Some(turn) = &daemon.last_turn else { return Some("the engine has not moved yet".to_string()) };
    let age = now.since(turn);
    let whole = format_millis(age - age % 1000);
    (age > TURN_AGE_MAX_MS).then(|| format!("the engine has not moved for {whole}"))
}

fn critical(daemon: &Daemon, now: Moment) -> Vec<String> {
    if let Some(why) = &daemon.safe_mode {
        return vec![format!("safe mode: {why}")];
    }
    let nothing_begins = daemon.restrictions.first().filter(|_| daemon.begins_nothing);
    nothing_begins.cloned().into_iter().chain(stalled(daemon, now)).collect()
}

fn warnings(daemon: &Daemon, now: Moment) -> Vec<String> {
    let notices = daemon.notices.iter().filter(|(_, waiting)| waiting.undeliverable > 0);
    let notices =
        notices.map(|(channel, waiting)| format!("channel {channel} did not take {} notices", waiting.undeliverable));
    // What is said of files that are in force is advice.
    let problems = daemon.problems.iter().filter(|problem| problem.is_error());
    let problems = problems.map(|problem| format!("{}: {}", problem.file.display(), problem.message));
    // Snapshots are made meanwhile.
    let undeleted = daemon.restrictions.iter().skip(usize::from(daemon.begins_nothing)).cloned();
    let chores = daemon.chores.iter().filter_map(|(job, chore)| {
        let trouble = chore.trouble.as_ref()?;
        Some(format!("housekeeping {job}: {trouble}"))
    });
    let repositories = daemon.repositories.iter().filter_map(|shown| {
        let end = shown.verdict.as_ref()?.end.as_ref()?;
        let failed = end.outcome == OperationOutcome::Failed;
        failed.then(|| format!("maintenance of repository {}: {}", shown.name, end.message))
    });
    let overdue = daemon.overdue(now.wall).into_iter();
    let overdue = overdue.map(|(job, due_at)| format!("housekeeping {job} was due at {due_at} and did not run"));
    undeleted.chain(problems).chain(notices).chain(chores).chain(overdue).chain(repositories).collect()
}

/// Returns what is known of a policy.
fn vitals(tracked: &Tracked) -> Vitals {
    let expectation = match tracked.creation_rule() {
        Some(rule) => Expectation::Within(rule.stale_after.millis()),
        None => Expectation::Nothing,
    };
    let ended = [(Kind::Creation, &tracked.creation.latest), (Kind::Deletion, &tracked.deletion.latest)];
    let before = [tracked.creation.before, tracked.deletion.before];
    let ended = ended.into_iter().zip(before).filter_map(|((kind, run), before)| {
        let run = run.as_deref()?;
        match run.outcome {
            // Nobody has to look any more at what a person has answered.
            Some(Outcome::Held) if tracked.held().is_none() => None,
            Some(outcome) => Some((kind, outcome, run.blame().map(str::to_string).or_else(|| run.message()))),
            None => before.map(|outcome| (kind, outcome, Some(UNDER_WAY.to_string()))),
        }
    });
    Vitals {
        expectation,
        is_enabled: tracked.is_enabled(),
        adopted_at: tracked.adopted_at,
        good_at: tracked.last_good.as_ref().and_then(|run| run.ended_at),
        ended: ended.collect(),
    }
}
