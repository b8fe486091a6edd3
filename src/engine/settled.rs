//! The one line of the log about a run that has settled. Whoever reads no other line knows how it went, and every
//! part of it is a field too.

use super::tracked::{Tracked, Work};
use crate::lifecycle::time::{Moment, format_millis};
use crate::lifecycle::workflow::{Ending, Kind, Outcome, Run};

/// Logs how a run ended. `deleted` is how many snapshots it deleted with its last answer.
pub(super) fn log<W: Work>(tracked: &Tracked, run: &Run<W>, deleted: u32, ending: &Ending, now: Moment) {
    let Ending { outcome, message: detail, cause } = ending;
    let (policy, workflow, trigger) = (&tracked.name, W::KIND.word(), run.trigger.cause.word());
    let repository = W::asked(tracked).map(|entry| &*entry.repository.name);
    let latest = W::flow(tracked).latest.as_deref();
    let snapshot = latest.and_then(|latest| latest.snapshot());
    let duration_ms = now.since(&run.began);
    let attempts = run.attempts;
    let deleted = match W::KIND {
        Kind::Creation => None,
        Kind::Deletion => Some(run.step.deleted().saturating_add(deleted)),
    };
    // What is there is known once a plan of this run went ahead.
    let is_known = *outcome == Outcome::Succeeded || deleted > Some(0);
    let kept = tracked.seen.filter(|_| is_known && deleted.is_some());
    let ended = match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::TimeLimitExceeded => "exceeded its time limit",
        Outcome::Held => "is held",
        Outcome::Cancelled => "was cancelled",
    };
    let because = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    let remain = kept.map(|kept| format!(", {kept} kept")).unwrap_or_default();
    let tries = if attempts == 1 { "attempt" } else { "attempts" };
    let sentence = format!(
        "{policy}: {workflow} {ended} after {}: {detail}{because}{remain} ({trigger}, {attempts} {tries})",
        format_millis(duration_ms)
    );
    let (outcome, trigger_at, cause) = (ending.outcome, run.trigger.at, cause.as_deref());
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "snapkeep::run", %policy, run = %run.id, workflow, trigger, %trigger_at, outcome = outcome.word(),
                repository, snapshot, duration_ms, attempts, deleted, kept, detail, cause, "{sentence}"
            )
        };
    }
    match outcome {
        Outcome::Succeeded | Outcome::Cancelled => line!(info),
        Outcome::Failed | Outcome::TimeLimitExceeded | Outcome::Held => line!(error),
    }
}
