//! What is told of the daemon as a whole, of its channels, its chores and its repositories.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{Samples, Value};
use super::{Family, Of, Scene, Sort};
use crate::engine::commits::BOUNDS_MICROS;
use crate::journal;
use crate::journal::record::{OperationOutcome, Waiting};
use crate::lifecycle::notice::Event;

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    of: fn(&Scene, &mut Samples<'_>),
) -> Family {
    Family { name, sort: Sort::Gauge, labels, help, of: Of::Daemon(of) }
}

/// What goes on until it is over, and is told while it does.
const ALARMS: [Event; 4] = [Event::Stale, Event::Held, Event::Problem, Event::Clock];

pub(super) const FAMILIES: &[Family] = &[
    gauge(
        "snapkeep_build_info",
        &["version", "schema"],
        "Always 1; the program, and the schema of its journal.",
        |_, samples| {
            samples.add(&[env!("CARGO_PKG_VERSION"), &journal::schema().to_string()], true);
        },
    ),
    gauge("snapkeep_start_timestamp_seconds", &[], "When the daemon started.", |scene, samples| {
        if let Some(at) = scene.daemon.started_at {
            samples.add(&[], at);
        }
    }),
    gauge("snapkeep_policies", &[], "Policies in force.", |scene, samples| samples.add(&[], scene.daemon.policies)),
    gauge(
        "snapkeep_safe_mode",
        &[],
        "Whether nothing is made or deleted, for the journal is damaged.",
        |scene, samples| {
            samples.add(&[], scene.daemon.safe_mode.is_some());
        },
    ),
    gauge(
        "snapkeep_clock_doubted",
        &[],
        "Whether the clock is doubted, so that nothing is deleted.",
        |scene, samples| {
            samples.add(&[], scene.daemon.alarms.iter().any(|alarm| alarm.event == Event::Clock));
        },
    ),
    gauge(
        "snapkeep_restrictions",
        &[],
        "Reasons why the daemon as a whole holds back: no room for its journal, another machine's journal, the clock.",
        |scene, samples| samples.add(&[], scene.daemon.restrictions.len()),
    ),
    gauge(
        "snapkeep_configuration_problems",
        &["level"],
        "What is wrong with the files; of a file with an error the last good version stays in force.",
        problems,
    ),
    gauge("snapkeep_alarms", &["kind"], "What goes on until it is over and people were told of, by kind.", alarms),
    gauge("snapkeep_engine_last_turn_timestamp_seconds", &[], "When the engine last moved.", |scene, samples| {
        if let Some(turn) = scene.daemon.last_turn {
            samples.add(&[], turn.wall);
        }
    }),
    gauge(
        "snapkeep_engine_last_turn_age_seconds",
        &[],
        "How long ago the engine last moved, by a clock that nobody sets. It moves once a minute at least.",
        |scene, samples| {
            if let Some(turn) = scene.daemon.last_turn {
                samples.add(&[], Value::Millis(scene.now.since(&turn)));
            }
        },
    ),
    gauge("snapkeep_notices_waiting", &["channel"], "Notices that a channel has not taken yet.", |scene, samples| {
        notices(scene, samples, |waiting| waiting.pending);
    }),
    gauge(
        "snapkeep_notices_undeliverable",
        &["channel"],
        "Notices that were given up and are kept.",
        |scene, samples| {
            notices(scene, samples, |waiting| waiting.undeliverable);
        },
    ),
    gauge(
        "snapkeep_journal_readable",
        &[],
        "Whether the journal could be read; what it counts is missing otherwise.",
        |scene, samples| {
            samples.add(&[], scene.journal.is_some());
        },
    ),
    gauge(
        "snapkeep_journal_size_bytes",
        &["file"],
        "Size of the journal: its database, and the log of what is not in it yet.",
        |scene, samples| {
            if let Some(journal) = &scene.journal {
                samples.add(&["database"], journal.file_bytes);
                samples.add(&["log"], journal.log_bytes);
            }
        },
    ),
    Family {
        name: "snapkeep_journal_commit_duration_seconds",
        sort: Sort::Histogram,
        labels: &[],
        help: "How long commits of the journal took, since the start.",
        of: Of::Daemon(commits),
    },
    gauge(
        "snapkeep_chore_last_run_timestamp_seconds",
        &["chore"],
        "When a chore of the daemon's own last ran.",
        |scene, samples| {
            for (job, chore) in &scene.daemon.chores {
                samples.add(&[job], chore.at);
            }
        },
    ),
    gauge(
        "snapkeep_chore_failed",
        &["chore"],
        "Whether something went wrong when a chore of the daemon's own last ran.",
        |scene, samples| {
            for (job, chore) in &scene.daemon.chores {
                samples.add(&[job], chore.trouble.is_some());
            }
        },
    ),
    gauge(
        "snapkeep_chore_overdue",
        &["chore"],
        "Whether a chore of the daemon's own should have run, and did not.",
        |scene, samples| {
            let overdue: BTreeSet<&str> =
                scene.daemon.overdue(scene.now.wall).into_iter().map(|(job, _)| job).collect();
            for job in scene.daemon.rhythms.keys() {
                samples.add(&[job], overdue.contains(&**job));
            }
        },
    ),
    gauge(
        "snapkeep_maintenance_last_end_timestamp_seconds",
        &["repository"],
        "When a repository was last maintained and checked to an end.",
        |scene, samples| {
            for shown in &scene.daemon.repositories {
                if let Some(end) = shown.verdict.as_ref().and_then(|operation| operation.end.as_ref()) {
                    samples.add(&[&shown.name], end.at);
                }
            }
        },
    ),
    gauge(
        "snapkeep_maintenance_failed",
        &["repository"],
        "Whether the last maintenance could not be done, or found something wrong; where the driver maintains.",
        |scene, samples| {
            for shown in scene.daemon.repositories.iter().filter(|shown| shown.maintains) {
                let end = shown.verdict.as_ref().and_then(|operation| operation.end.as_ref());
                if let Some(end) = end {
                    samples.add(&[&shown.name], end.outcome == OperationOutcome::Failed);
                }
            }
        },
    ),
    gauge(
        "snapkeep_verification_last_end_timestamp_seconds",
        &[],
        "When the latest verification of a snapshot that somebody asked for came to an end.",
        |scene, samples| {
            if let Some(end) = scene.journal.as_ref().and_then(|journal| journal.verified.as_ref()) {
                samples.add(&[], end.at);
            }
        },
    ),
    gauge(
        "snapkeep_verification_failed",
        &[],
        "Whether the latest verification could not be done, or found something wrong.",
        |scene, samples| {
            if let Some(journal) = &scene.journal {
                // Without one nothing is known.
                if let Some(end) = journal.verified.as_ref() {
                    samples.add(&[], end.outcome == OperationOutcome::Failed);
                }
            }
        },
    ),
];

fn problems(scene: &Scene, samples: &mut Samples<'_>) {
    let errors = scene.daemon.problems.iter().filter(|problem| problem.is_error()).count();
    samples.add(&["error"], errors);
    samples.add(&["warning"], scene.daemon.problems.len() - errors);
}

fn alarms(scene: &Scene, samples: &mut Samples<'_>) {
    for kind in ALARMS {
        let count = scene.daemon.alarms.iter().filter(|alarm| alarm.event == kind).count();
        samples.add(&[kind.word()], count);
    }
}

/// A channel that is owed nothing has a zero; one that is gone and still owed something is told too.
fn notices(scene: &Scene, samples: &mut Samples<'_>, count: fn(&Waiting) -> u64) {
    let owed_nothing = scene.channels.iter().map(|channel| (&*channel.name, 0));
    let mut counts: BTreeMap<&str, u64> = owed_nothing.collect();
    counts.extend(scene.daemon.notices.iter().map(|(channel, waiting)| (&**channel, count(waiting))));
    for (channel, count) in counts {
        samples.add(&[channel], count);
    }
}

fn commits(scene: &Scene, samples: &mut Samples<'_>) {
    let bounds = BOUNDS_MICROS.into_iter().map(Some).chain([None]);
    for (bound, count) in bounds.zip(scene.commits) {
        samples.add_part("_bucket", Some(bound), count);
    }
    samples.add_part("_sum", None, Value::Micros(scene.commit_micros));
    samples.add_part("_count", None, scene.commits.last().copied().unwrap_or_default());
}
