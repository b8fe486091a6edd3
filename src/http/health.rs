//! Whether somebody should look: for monitoring, from the last published view.

use axum::Json;
use axum::http::StatusCode;

use crate::engine::tracked::{Flow, Tracked};
use crate::engine::view::Daemon;
use crate::journal::record::OperationOutcome;
use crate::lifecycle::notice::Event;
use crate::lifecycle::time::{Moment, format_millis};
use crate::lifecycle::workflow::Outcome;

use super::State;
use super::body::HealthBody;

/// The engine moves at least once a minute; twice that is a stall.
const TURN_AGE_MAX_MS: i64 = 120_000;
/// Enough to see what it is about; explain has the rest.
const REASONS_MAX: usize = 100;

/// `GET /health`: 200 unless it is critical.
pub async fn health(axum::extract::State(shared): State) -> (StatusCode, Json<HealthBody>) {
    let now = (shared.api.clock)();
    let daemon = shared.api.view.daemon();
    let policies = shared.api.view.policies(&[]);
    let critical = critical(&daemon, now);
    let mut warnings = warnings(&daemon, now);
    warnings.extend(policies.iter().flat_map(|tracked| of_policy(tracked)));
    let stale = |uid: &str| daemon.alarms.iter().any(|alarm| alarm.event == Event::Stale && *alarm.subject == *uid);
    let stale = policies.iter().filter(|tracked| stale(&tracked.uid));
    warnings.extend(stale.map(|tracked| format!("{}: no good snapshot for too long", tracked.name)));

    let (code, status) = match (critical.is_empty(), warnings.is_empty()) {
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "warning"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "critical"),
    };
    let mut reasons = critical;
    reasons.append(&mut warnings);
    if reasons.len() > REASONS_MAX {
        let more = reasons.len() - REASONS_MAX;
        reasons.truncate(REASONS_MAX);
        reasons.push(format!("and {more} more"));
    }
    (code, Json(HealthBody { status: status.into(), reasons }))
}

fn critical(daemon: &Daemon, now: Moment) -> Vec<String> {
    if let Some(why) = &daemon.safe_mode {
        return vec![format!("safe mode: {why}")];
    }
    let mut reasons = daemon.restrictions.to_vec();
    reasons.extend(match daemon.last_turn {
        None => Some("the engine has not moved yet".to_string()),
        Some(turn) => {
            let age = now.since(&turn);
            let stalled = age > TURN_AGE_MAX_MS;
            let whole = format_millis(age - age % 1000);
            stalled.then(|| format!("the engine has not moved for {whole}"))
        }
    });
    reasons
}

fn warnings(daemon: &Daemon, now: Moment) -> Vec<String> {
    let notices = daemon.notices.iter().filter(|(_, waiting)| waiting.undeliverable > 0);
    let notices =
        notices.map(|(channel, waiting)| format!("channel {channel} did not take {} notices", waiting.undeliverable));
    let problems = daemon.problems.iter().map(|problem| format!("{}: {}", problem.file.display(), problem.message));
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
    problems.chain(notices).chain(chores).chain(overdue).chain(repositories).collect()
}

fn of_policy(tracked: &Tracked) -> Vec<String> {
    let mut reasons = Vec::new();
    reasons.extend(of_flow(&tracked.creation).map(|what| format!("{}: creation {what}", tracked.name)));
    reasons.extend(of_flow(&tracked.deletion).map(|what| format!("{}: deletion {what}", tracked.name)));
    reasons
}

fn of_flow<S>(flow: &Flow<S>) -> Option<String> {
    let run = flow.latest.as_deref()?;
    let what = match run.outcome? {
        Outcome::Succeeded | Outcome::Cancelled => return None,
        Outcome::Failed => "failed",
        Outcome::TimeLimitExceeded => "exceeded its time limit",
        Outcome::Held => "is held",
    };
    let why = run.blame().map(str::to_string).or_else(|| run.message());
    Some(why.map_or_else(|| what.to_string(), |why| format!("{what}: {why}")))
}
