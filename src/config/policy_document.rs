//! A policy as it was written: every key read and of the right sort, nothing decided.
//!
//! The keys are OpenSearch Snapshot Management's, with additions. What belongs to the driver is
//! kept unread, with its places.

use std::ops::Range;

use super::notification::NotificationPart;
use super::reader::{Findings, Located};
use super::rest::Rest;
use super::table::{Bounds, Table};
use crate::lifecycle::keep_rules::Every;
use crate::lifecycle::policy::OnOverlap;
use crate::lifecycle::time::Span;

/// One policy file.
#[derive(Debug, Default)]
pub struct PolicyDocument<'t> {
    /// What people say it is for.
    pub description: Option<Located<String>>,
    /// Whether triggers run.
    pub enabled: Option<Located<bool>>,
    /// Keeps the identity over a rename.
    pub uid: Option<Located<String>>,
    /// `[creation]`.
    pub creation: Option<WorkflowPart>,
    /// `[deletion]`.
    pub deletion: Option<WorkflowPart>,
    /// `[snapshot_config]`.
    pub snapshot_config: Option<SnapshotPart<'t>>,
    /// `[notification]`.
    pub notification: Option<NotificationPart>,
}

/// `[creation]` or `[deletion]`.
#[derive(Debug)]
pub struct WorkflowPart {
    /// The key that names it.
    pub at: Range<usize>,
    /// When.
    pub schedule: Option<SchedulePart>,
    /// The whole run's limit.
    pub time_limit: Option<Located<Span>>,
    /// Whether missed triggers run once.
    pub catch_up: Option<Located<bool>>,
    /// Only if they are not older than that.
    pub catch_up_within: Option<Located<Span>>,
    /// What a trigger does that meets a run in flight.
    pub on_overlap: Option<Located<OnOverlap>>,
    /// A stable offset below this.
    pub spread: Option<Located<Span>>,
    /// Further attempts after the first.
    pub retry_count: Option<Located<u32>>,
    /// What to keep, in `[deletion]` only.
    pub condition: Option<ConditionPart>,
    /// What stops a deletion, in `[deletion]` only.
    pub guards: Option<GuardsPart>,
    /// OpenSearch's pattern of snapshots made by others, in `[deletion]` only. Kept, and deletes nothing (G8).
    pub snapshot_pattern: Option<Located<String>>,
    /// When to tell that there was no good snapshot; creation only.
    pub stale_after: Option<Located<Span>>,
}

/// When a workflow is due.
#[derive(Debug)]
pub enum SchedulePart {
    /// `schedule.cron`.
    Cron {
        /// Five Unix fields.
        expression: Located<String>,
        /// An IANA name.
        timezone: Option<Located<String>>,
    },
    /// `schedule.interval`.
    Interval {
        /// The step.
        every: Located<Span>,
    },
    /// Written, and its problems are noted already.
    Unreadable,
}

/// `[deletion.condition]`.
#[derive(Debug)]
pub struct ConditionPart {
    /// The key that names it.
    pub at: Range<usize>,
    /// Snapshots older than this are old.
    pub max_age: Option<Located<Span>>,
    /// At most so many good ones stay.
    pub max_count: Option<Located<u32>>,
    /// So many good ones stay whatever their age.
    pub min_count: Option<Located<u32>>,
    /// Younger ones stay whatever else is said.
    pub min_age: Option<Located<Span>>,
    /// Which of the others stay.
    pub keep: Option<KeepPart>,
    /// Whether something in it was unreadable, so that what is missing means nothing.
    pub is_whole: bool,
}

/// `[deletion.condition.keep]`.
#[derive(Debug)]
pub struct KeepPart {
    /// The key that names it.
    pub at: Range<usize>,
    /// So many hours, days, weeks …
    pub counts: Vec<(Every, Located<u32>)>,
    /// And everything of so long.
    pub within: Option<Located<Span>>,
    /// An IANA name.
    pub timezone: Option<Located<String>>,
    /// Whether something in it was unreadable, so that what is missing means nothing.
    pub is_whole: bool,
}

/// `[deletion.guards]`.
#[derive(Debug)]
pub struct GuardsPart {
    /// The share of the snapshots that goes without a person, in percent.
    pub brake: Option<Located<u8>>,
    /// How long after it is condemned a snapshot goes.
    pub grace: Option<Located<Span>>,
    /// How many go in an hour.
    pub rate: Option<Located<u32>>,
    /// Whether min_age can only be lengthened.
    pub compliance: Option<Located<bool>>,
}

/// `[snapshot_config]`.
#[derive(Debug)]
pub struct SnapshotPart<'t> {
    /// The key that names it.
    pub at: Range<usize>,
    /// The repository's name.
    pub repository: Option<Located<String>>,
    /// How the trigger's date is written in names.
    pub date_format: Option<Located<String>>,
    /// In which zone.
    pub date_format_timezone: Option<Located<String>>,
    /// Labels for every snapshot.
    pub metadata: Vec<(Located<String>, Located<String>)>,
    /// Whether a snapshot with unreadable parts counts as made.
    pub partial: Option<Located<bool>>,
    /// The driver's own keys.
    pub driver: Rest<'t>,
}

/// Where keys belong that people write in the wrong place, or know from OpenSearch.
const ELSEWHERE: &[(&str, &str)] = &[
    ("name", "a policy's name is its file's name without .toml"),
    ("schedule", "write [creation.schedule] or [deletion.schedule]"),
    ("cron", "write [creation.schedule.cron]"),
    ("interval", "write [creation.schedule.interval]"),
    ("repository", "repository belongs in [snapshot_config]"),
    ("condition", "condition belongs in [deletion]"),
    ("delete_condition", "delete_condition belongs in [deletion]"),
    ("max_age", "max_age belongs in [deletion.condition]"),
    ("max_count", "max_count belongs in [deletion.condition]"),
    ("min_count", "min_count belongs in [deletion.condition]"),
    ("brake", "brake belongs in [deletion.guards]"),
    ("grace", "grace belongs in [deletion.guards]"),
    ("rate", "rate belongs in [deletion.guards]"),
    ("compliance", "compliance belongs in [deletion.guards]"),
    ("guards", "guards belongs in [deletion]"),
    ("min_age", "min_age belongs in [deletion.condition]"),
    ("keep", "keep belongs in [deletion.condition]"),
    ("last", "last belongs in [deletion.condition.keep]"),
    ("hourly", "hourly belongs in [deletion.condition.keep]"),
    ("daily", "daily belongs in [deletion.condition.keep]"),
    ("weekly", "weekly belongs in [deletion.condition.keep]"),
    ("monthly", "monthly belongs in [deletion.condition.keep]"),
    ("quarterly", "quarterly belongs in [deletion.condition.keep]"),
    ("yearly", "yearly belongs in [deletion.condition.keep]"),
    ("within", "within belongs in [deletion.condition.keep]"),
    // As restic, borg, rustic and snapper write them.
    ("keep_last", "write last in [deletion.condition.keep]"),
    ("keep_hourly", "write hourly in [deletion.condition.keep]"),
    ("keep_daily", "write daily in [deletion.condition.keep]"),
    ("keep_weekly", "write weekly in [deletion.condition.keep]"),
    ("keep_monthly", "write monthly in [deletion.condition.keep]"),
    ("keep_quarterly", "write quarterly in [deletion.condition.keep]"),
    ("keep_yearly", "write yearly in [deletion.condition.keep]"),
    ("keep_within", "write within in [deletion.condition.keep]"),
    ("keep-last", "write last in [deletion.condition.keep]"),
    ("keep-hourly", "write hourly in [deletion.condition.keep]"),
    ("keep-daily", "write daily in [deletion.condition.keep]"),
    ("keep-weekly", "write weekly in [deletion.condition.keep]"),
    ("keep-monthly", "write monthly in [deletion.condition.keep]"),
    ("keep-quarter-yearly", "write quarterly in [deletion.condition.keep]"),
    ("keep-yearly", "write yearly in [deletion.condition.keep]"),
    ("keep-within", "write within in [deletion.condition.keep]"),
    ("latest", "write last in [deletion.condition.keep]"),
    ("annual", "write yearly in [deletion.condition.keep]"),
    ("metadata", "metadata belongs in [snapshot_config]"),
    ("date_format", "date_format belongs in [snapshot_config]"),
    ("channel", "channel belongs in [notification]"),
    ("channels", "channels belongs in [notification]"),
    ("conditions", "conditions belongs in [notification]"),
    ("enabled", "enabled belongs at the top of the file, before the first [table]"),
    ("description", "description belongs at the top of the file, before the first [table]"),
    ("uid", "uid belongs at the top of the file, before the first [table]"),
    ("expression", "expression belongs in [creation.schedule.cron]"),
    ("every", "every belongs in [creation.schedule.interval]"),
    ("time_limit", "time_limit belongs in [creation] or [deletion]"),
    ("schema_version", "leave it out: the file has no version of its own"),
    ("enabled_time", "leave it out: the journal keeps it"),
    ("last_updated_time", "leave it out: the journal keeps it"),
    ("snapshot_pattern", "snapshot_pattern belongs in [deletion]"),
    ("schedule_delay", "write spread in [creation] for an offset"),
    ("start_time", "leave it out: intervals are counted from 1970, so that no restart moves them"),
    ("period", "write every = \"15m\""),
    ("unit", "write every = \"15m\""),
];

/// More attempts than this are a mistake: with the longest wait between them they fill a week.
const RETRY_COUNT_MAX: u32 = 1000;

impl<'t> PolicyDocument<'t> {
    /// Reads a policy's text. What could not be read is noted and missing.
    pub fn read(findings: &mut Findings<'t>) -> PolicyDocument<'t> {
        let parsed = findings.parse();
        if findings.has_errors() {
            // What stands beside a broken line may have lost its table: nothing more can be said.
            return PolicyDocument::default();
        }
        let mut root = Table::root(&parsed);
        let document = PolicyDocument {
            description: root.string(findings, "description"),
            enabled: root.boolean(findings, "enabled"),
            uid: root.string(findings, "uid"),
            creation: root.table(findings, "creation").map(|table| workflow(findings, table, false)),
            deletion: root.table(findings, "deletion").map(|table| workflow(findings, table, true)),
            snapshot_config: root.table(findings, "snapshot_config").map(|table| snapshot_config(findings, table)),
            notification: root
                .table(findings, "notification")
                .map(|table| NotificationPart::of_policy(findings, table, ELSEWHERE)),
        };
        if !root.has("creation") && !root.has("deletion") {
            findings
                .missing("policy has neither creation nor deletion")
                .hint("write at least [creation] with a schedule");
        }
        if !root.has("snapshot_config") {
            findings.missing("snapshot_config is missing").hint("write [snapshot_config] and repository = \"…\" in it");
        }
        root.finish(findings, ELSEWHERE);
        document
    }
}

fn workflow(findings: &mut Findings<'_>, mut table: Table<'_, '_>, deletes: bool) -> WorkflowPart {
    let schedule = match table.table(findings, "schedule") {
        Some(inner) => Some(schedule(findings, inner)),
        // Something that is no table was noted above.
        None => table.has("schedule").then_some(SchedulePart::Unreadable),
    };
    let part = WorkflowPart {
        at: table.at.clone(),
        schedule,
        time_limit: table.span(findings, "time_limit"),
        catch_up: table.word(findings, "catch_up", &[("once", true), ("never", false)]),
        catch_up_within: table.span(findings, "catch_up_within"),
        on_overlap: table.word(
            findings,
            "on_overlap",
            &[("skip", OnOverlap::Skip), ("queue_one", OnOverlap::QueueOne)],
        ),
        spread: table.span(findings, "spread"),
        retry_count: table.table(findings, "retry").and_then(|mut retry| {
            let count = retry.number(findings, "count", Bounds { min: 0, max: RETRY_COUNT_MAX });
            retry.finish(findings, ELSEWHERE);
            count
        }),
        condition: if deletes { condition(findings, &mut table) } else { None },
        guards: if deletes { table.table(findings, "guards").map(|table| guards(findings, table)) } else { None },
        stale_after: if deletes { None } else { table.span(findings, "stale_after") },
        snapshot_pattern: if deletes { table.string(findings, "snapshot_pattern") } else { None },
    };
    table.finish(findings, ELSEWHERE);
    part
}

fn schedule(findings: &mut Findings<'_>, mut table: Table<'_, '_>) -> SchedulePart {
    let cron = table.table(findings, "cron");
    let interval = table.table(findings, "interval");
    let (at, path) = (table.at.clone(), table.path.clone());
    let both = table.has("cron") && table.has("interval");
    let neither = !table.has("cron") && !table.has("interval");
    table.finish(findings, ELSEWHERE);
    if both {
        let at = interval.map_or(at, |interval| interval.at);
        findings.error(at, "schedule has both cron and interval").hint("keep one of them");
        return SchedulePart::Unreadable;
    }
    if neither {
        findings
            .error(at, "schedule has neither cron nor interval")
            .hint(format!("write [{path}.cron] with an expression, or [{path}.interval] with every"));
        return SchedulePart::Unreadable;
    }
    if let Some(mut cron) = cron {
        let expression = cron.string(findings, "expression");
        let timezone = cron.string(findings, "timezone");
        let zone_lost = timezone.is_none() && cron.has("timezone");
        if !cron.has("expression") {
            findings
                .error(cron.at.clone(), "cron has no expression")
                .hint("write expression = \"0 2 * * *\": minute, hour, day of month, month, day of week");
        }
        cron.finish(findings, ELSEWHERE);
        return match expression {
            Some(expression) if !zone_lost => SchedulePart::Cron { expression, timezone },
            _ => SchedulePart::Unreadable,
        };
    }
    if let Some(mut interval) = interval {
        let every = interval.span(findings, "every");
        if !interval.has("every") {
            findings.error(interval.at.clone(), "interval has no every").hint("write every = \"15m\"");
        }
        interval.finish(findings, ELSEWHERE);
        if let Some(every) = every {
            return SchedulePart::Interval { every };
        }
    }
    SchedulePart::Unreadable
}

/// Returns whichever of two names of one thing is there. Both at once are noted.
fn either(findings: &mut Findings<'_>, table: &mut Table<'_, '_>, names: [&'static str; 2]) -> &'static str {
    let [name, other] = names;
    for name in names {
        table.allow(name);
        findings.ask(&table.path, name, None);
    }
    match (table.key_at(name), table.key_at(other)) {
        (Some(first), Some(second)) => {
            let later = if first.start > second.start { first } else { second };
            findings
                .error(later, format!("{other} is another name of {name}, and both are given"))
                .hint("keep one of them");
            name
        }
        (None, Some(_)) => other,
        (Some(_), None) | (None, None) => name,
    }
}

fn condition(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Option<ConditionPart> {
    let key = either(findings, table, ["condition", "delete_condition"]);
    let inner = table.table(findings, key);
    if !table.has("condition") && !table.has("delete_condition") {
        findings.error(table.at.clone(), "deletion has no condition").hint(
            "write [deletion.condition] with max_age, max_count or keep; without [deletion] nothing is ever deleted",
        );
    }
    let mut inner = inner?;
    // Zero is refused here, at its place, with what it would have meant (G10).
    let bounds = Bounds { min: 1, max: u32::MAX };
    let mut part = ConditionPart {
        at: inner.at.clone(),
        max_age: inner.span(findings, "max_age"),
        max_count: inner.number(findings, "max_count", bounds),
        min_count: inner.number(findings, "min_count", bounds),
        min_age: inner.span(findings, "min_age"),
        keep: inner.table(findings, "keep").map(|table| keep(findings, table)),
        is_whole: true,
    };
    let keep_is_whole = part.keep.as_ref().map_or(!inner.has("keep"), |keep| keep.is_whole);
    part.is_whole = keep_is_whole
        && (part.min_age.is_some() || !inner.has("min_age"))
        && (part.max_age.is_some() || !inner.has("max_age"))
        && (part.max_count.is_some() || !inner.has("max_count"))
        && (part.min_count.is_some() || !inner.has("min_count"));
    inner.finish(findings, ELSEWHERE);
    Some(part)
}

fn guards(findings: &mut Findings<'_>, mut table: Table<'_, '_>) -> GuardsPart {
    let brake = table.string(findings, "brake").and_then(|written| {
        let percent = written.value.strip_suffix('%').and_then(|number| number.trim_end().parse::<u8>().ok());
        match percent.filter(|percent| (1..=100).contains(percent)) {
            Some(value) => Some(Located { value, at: written.at }),
            None => {
                findings
                    .error(written.at, "brake must be a share from 1% to 100%")
                    .hint("write brake = \"25%\"; a plan that deletes more is held until a person approves it");
                None
            }
        }
    });
    let part = GuardsPart {
        brake,
        grace: table.span(findings, "grace"),
        rate: table.number(findings, "rate", Bounds { min: 1, max: u32::MAX }),
        compliance: table.boolean(findings, "compliance"),
    };
    table.finish(findings, ELSEWHERE);
    part
}

fn keep(findings: &mut Findings<'_>, mut table: Table<'_, '_>) -> KeepPart {
    let bounds = Bounds { min: 1, max: u32::MAX };
    let mut counts = Vec::new();
    for every in Every::ALL {
        counts.extend(table.number(findings, every.word(), bounds).map(|count| (every, count)));
    }
    let within = table.span(findings, "within");
    let timezone = table.string(findings, "timezone");
    let is_whole = (within.is_some() || !table.has("within"))
        && (timezone.is_some() || !table.has("timezone"))
        && Every::ALL.iter().filter(|every| table.has(every.word())).count() == counts.len();
    let part = KeepPart { at: table.at.clone(), counts, within, timezone, is_whole };
    table.finish(findings, ELSEWHERE);
    part
}

fn snapshot_config<'t>(findings: &mut Findings<'_>, mut table: Table<'_, 't>) -> SnapshotPart<'t> {
    let repository = table.string(findings, "repository");
    if !table.has("repository") {
        findings
            .error(table.at.clone(), "snapshot_config has no repository")
            .hint("write repository = \"NAME\", the name of a file in repositories.d without .toml");
    }
    let date_format = table.string(findings, "date_format");
    let key = either(findings, &mut table, ["date_format_timezone", "timezone"]);
    let date_format_timezone = table.string(findings, key);
    let mut metadata = Vec::new();
    if let Some(inner) = table.table(findings, "metadata") {
        for (key, at, value) in inner.texts(findings) {
            metadata.push((Located { value: key, at }, value));
        }
    }
    let partial = table.boolean_or_text(findings, "partial");
    SnapshotPart {
        at: table.at.clone(),
        repository,
        date_format,
        date_format_timezone,
        metadata,
        partial,
        driver: table.rest(),
    }
}
