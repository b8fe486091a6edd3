//! From a policy as written to a policy that cannot be wrong, or to every reason why not.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::policy_document::{ConditionPart, GuardsPart, PolicyDocument, SnapshotPart, WorkflowPart};
use super::reader::{Findings, Located};
use super::schedules::{GAPS_FROM, Schedules};
use super::table::nearest;
use crate::lifecycle::date_format::DateFormat;
use crate::lifecycle::policy::{
    BadCondition, CatchUp, Condition, CreationRule, DeletionRule, Guards, Notification, OnOverlap, Pace, Policy,
    Revision,
};
use crate::lifecycle::schedule::Schedule;
use crate::lifecycle::time::{Span, format_millis};
use crate::lifecycle::zone::Zone;

/// What a run may take unless the policy says otherwise, so that every wait ends.
const TIME_LIMIT_MS: i64 = 24 * 3_600_000;

/// Further attempts unless the policy says otherwise: with the waits between them they outlast a
/// restart of the repository.
const RETRY_COUNT: u32 = 3;

/// All labels of a snapshot together; OpenSearch takes no more, and no other system takes less.
const METADATA_BYTES_MAX: usize = 1024;

/// Four whole weeks: every weekday equally often.
const GAPS_MS: i64 = 28 * 86_400_000;

/// The names a policy may use.
pub trait Names {
    /// Whether there is such a name.
    fn has(&self, name: &str) -> bool;
    /// Returns every name, in order.
    fn all(&self) -> Vec<&str>;
}

impl<K: Ord + Borrow<str>, V> Names for BTreeMap<K, V> {
    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn all(&self) -> Vec<&str> {
        self.keys().map(Borrow::borrow).collect()
    }
}

/// What a policy is checked against.
pub struct Surroundings<'a> {
    /// Repositories in force.
    pub repositories: &'a dyn Names,
    /// Channels in force.
    pub channels: &'a dyn Names,
    /// Goes into every spread: two hosts with the same policies should not meet at one repository.
    pub seed: &'a str,
    /// Schedules made before.
    pub schedules: &'a mut Schedules,
}

/// Returns the policy a document stands for; `None` when something is wrong, which is then among
/// the findings. The driver's own keys are not looked at.
pub fn check(
    findings: &mut Findings<'_>,
    name: &str,
    revision: Revision,
    document: &PolicyDocument<'_>,
    around: &mut Surroundings<'_>,
) -> Option<Policy> {
    if let Some(uid) = &document.uid
        && !is_uid(&uid.value)
    {
        findings
            .error(uid.at.clone(), "uid may hold letters, digits, `.`, `_` and `-` only, at most 128")
            .hint("`uuidgen` makes one");
    }
    let identity = document.uid.as_ref().map_or(name, |uid| &uid.value);

    let creation_part = document.creation.as_ref();
    let creation_schedule = creation_part.and_then(|part| schedule(findings, part, "creation", identity, around));
    let creation = creation_part.zip(creation_schedule.clone()).map(|(part, schedule)| pace(findings, part, schedule));
    if let Some(part) = creation_part
        && part.schedule.is_none()
    {
        findings
            .error(part.at.clone(), "creation has no schedule")
            .hint("write [creation.schedule.cron] with an expression, or [creation.schedule.interval] with every");
    }

    let deletion = document.deletion.as_ref().and_then(|part| {
        let own = schedule(findings, part, "deletion", identity, around);
        if part.schedule.is_none() && creation_part.is_none() {
            findings
                .error(part.at.clone(), "deletion has no schedule")
                .hint("without [creation] there is none to take over: write [deletion.schedule.cron]");
        }
        // Without a schedule of its own, deletion is due with creation and goes after it.
        let inherited = if part.schedule.is_none() {
            spread(findings, part, creation_part, creation_schedule, identity, around)
        } else {
            None
        };
        let schedule = own.or(inherited);
        let condition = part.condition.as_ref().and_then(|part| condition(findings, part));
        if let (Some(creation), Some(written)) = (&creation, &part.condition) {
            warn_of_idle_age(findings, &creation.schedule, written);
        }
        let pace = schedule.map(|schedule| pace(findings, part, schedule));
        Some(DeletionRule { pace: pace?, condition: condition?, guards: guards(part.guards.as_ref()) })
    });

    let snapshot = document.snapshot_config.as_ref();
    let repository = snapshot
        .and_then(|part| part.repository.as_ref())
        .filter(|repository| known(findings, "repository", repository, around.repositories));
    let date_format = snapshot.and_then(|part| date_format(findings, part, around.schedules));
    let metadata = snapshot.map(|part| metadata(findings, part)).unwrap_or_default();
    let notification = notification(findings, document, around);

    if findings.has_errors() {
        return None;
    }
    let partial = snapshot.and_then(|part| part.partial.as_ref()).is_some_and(|partial| partial.value);
    Some(Policy {
        name: name.into(),
        revision,
        uid: document.uid.as_ref().map(|uid| uid.value.as_str().into()),
        description: document.description.as_ref().map(|text| text.value.as_str().into()),
        enabled: document.enabled.as_ref().is_none_or(|enabled| enabled.value),
        creation: creation.map(|pace| Arc::new(CreationRule { pace, partial })),
        deletion: deletion.map(Arc::new),
        repository: repository?.value.as_str().into(),
        date_format: Arc::new(date_format?),
        metadata: metadata.into(),
        notification: Arc::new(notification),
    })
}

fn is_uid(uid: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    uid.len() <= 128 && uid.bytes().all(plain)
}

fn schedule(
    findings: &mut Findings<'_>,
    part: &WorkflowPart,
    word: &str,
    identity: &str,
    around: &mut Surroundings<'_>,
) -> Option<Schedule> {
    let schedule = around.schedules.schedule(findings, part.schedule.as_ref()?)?;
    if let Some(limit) = &part.time_limit {
        let gap = around.schedules.gap(part.schedule.as_ref(), &schedule);
        if limit.value.millis() > gap.millis() {
            findings
                .warning(
                    limit.at.clone(),
                    format!("time_limit is longer than the {gap} between two triggers of {word}"),
                )
                .hint("triggers that pass while a run is in flight are skipped and recorded");
        }
    }
    spread(findings, part, None, Some(schedule), identity, around)
}

/// Returns the schedule with the spread of `part`, or else with that of `lender`, whose schedule it is.
fn spread(
    findings: &mut Findings<'_>,
    part: &WorkflowPart,
    lender: Option<&WorkflowPart>,
    schedule: Option<Schedule>,
    identity: &str,
    around: &mut Surroundings<'_>,
) -> Option<Schedule> {
    let schedule = schedule?;
    let Some(written) = &part.spread else {
        // A borrowed schedule comes with the spread it already has.
        return Some(schedule);
    };
    if lender.is_some_and(|lender| lender.spread.is_some()) {
        findings
            .error(written.at.clone(), "deletion takes over creation's schedule, spread included, and has a spread too")
            .hint("leave spread out here, or give deletion a schedule of its own");
        return None;
    }
    let owner = lender.unwrap_or(part);
    let gap = around.schedules.gap(owner.schedule.as_ref(), &schedule);
    if written.value.millis() >= (gap.millis() + 1) / 2 {
        findings
            .error(written.at.clone(), "spread must be below half the time between two triggers")
            .hint(format!("two triggers are {gap} apart: write less than {}", format_millis(gap.millis() / 2)));
        return None;
    }
    let offset_ms = schedule.spread_for(&format!("{}\n{identity}", around.seed), &written.value);
    Some(schedule.with_spread(offset_ms))
}

fn pace(findings: &mut Findings<'_>, part: &WorkflowPart, schedule: Schedule) -> Pace {
    let catches_up = part.catch_up.as_ref().is_none_or(|catch_up| catch_up.value);
    let within = part.catch_up_within.as_ref();
    if let (false, Some(within)) = (catches_up, within) {
        findings
            .error(within.at.clone(), "catch_up_within means nothing beside catch_up = \"never\"")
            .hint("keep one of them");
    }
    Pace {
        schedule,
        time_limit: part
            .time_limit
            .as_ref()
            .map_or_else(|| Span::from_millis(TIME_LIMIT_MS), |limit| limit.value.clone()),
        catch_up: match catches_up {
            true => CatchUp::Once { within: within.map(|within| within.value.clone()) },
            false => CatchUp::Never,
        },
        on_overlap: part.on_overlap.as_ref().map_or(OnOverlap::Skip, |word| word.value),
        retry_count: part.retry_count.as_ref().map_or(RETRY_COUNT, |count| count.value),
    }
}

fn condition(findings: &mut Findings<'_>, part: &ConditionPart) -> Option<Condition> {
    if !part.is_whole {
        return None;
    }
    let value = |count: &Option<Located<u32>>| count.as_ref().map(|count| count.value);
    let (max_count, min_count) = (value(&part.max_count), value(&part.min_count));
    match Condition::new(part.max_age.as_ref().map(|age| age.value.clone()), max_count, min_count) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let count_at = |count: &Option<Located<u32>>| count.as_ref().map(|count| count.at.clone());
            let (at, hint) = match error {
                BadCondition::Nothing => (
                    None,
                    "write max_age = \"30d\", max_count = 30, or both; leave [deletion] out to keep everything".into(),
                ),
                BadCondition::MaxCountZero => (count_at(&part.max_count), "write 1 or more".to_string()),
                BadCondition::MinCountZero => (count_at(&part.min_count), "write 1 or more".to_string()),
                BadCondition::MinAboveMax => (
                    count_at(&part.min_count),
                    format!(
                        "max_count is {}; snapshots beyond it are deleted whatever their age",
                        max_count.unwrap_or_default()
                    ),
                ),
            };
            findings.error(at.unwrap_or_else(|| part.at.clone()), error.to_string()).hint(hint);
            None
        }
    }
}

fn guards(part: Option<&GuardsPart>) -> Guards {
    let default = Guards::default();
    let Some(part) = part else { return default };
    Guards {
        brake_percent: part.brake.as_ref().map_or(default.brake_percent, |brake| brake.value),
        grace: part.grace.as_ref().map(|grace| grace.value.clone()),
        rate: part.rate.as_ref().map(|rate| rate.value),
    }
}

/// Where `max_count` snapshots are made in less than `max_age`, the age never comes to matter.
fn warn_of_idle_age(findings: &mut Findings<'_>, schedule: &Schedule, part: &ConditionPart) {
    let (Some(max_age), Some(max_count)) = (&part.max_age, &part.max_count) else { return };
    let gap = match schedule.elapsed(GAPS_FROM, GAPS_FROM.plus(GAPS_MS)) {
        Some(elapsed) => GAPS_MS / i64::try_from(elapsed.count).unwrap_or(i64::MAX).max(1),
        // Rarer than once in four weeks.
        None => schedule.shortest_gap(GAPS_FROM).millis(),
    };
    let covered = gap.saturating_mul(i64::from(max_count.value));
    if covered < max_age.value.millis() {
        // Rounded to what people think in.
        let unit = if covered >= 86_400_000 { 86_400_000 } else { 60_000 };
        let covered = if covered >= unit { covered / unit * unit } else { covered };
        findings
            .warning(max_count.at.clone(), format!("max_count is reached before max_age of {} matters", max_age.value))
            .hint(format!(
                "{} snapshots on this schedule reach back about {}",
                max_count.value,
                format_millis(covered)
            ));
    }
}

fn known(findings: &mut Findings<'_>, word: &str, name: &Located<String>, names: &dyn Names) -> bool {
    if names.has(&name.value) {
        return true;
    }
    let all = names.all();
    let hint = match (nearest(&name.value, &all), all.as_slice()) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, []) => format!("there is no {word} in force: write one as {}", file_of(word, &name.value)),
        // Ten names fill a line; a longer list helps nobody.
        (None, few) if few.len() <= 10 => {
            format!("there is {}; a new one is a file {}", few.join(", "), file_of(word, "NAME"))
        }
        (None, _) => format!("a {word} is a file {}", file_of(word, "NAME")),
    };
    findings.error(name.at.clone(), format!("unknown {word} `{}`", name.value)).hint(hint);
    false
}

fn file_of(word: &str, name: &str) -> String {
    match word {
        "channel" => format!("channels.d/{name}.toml"),
        _ => format!("repositories.d/{name}.toml"),
    }
}

fn date_format(findings: &mut Findings<'_>, part: &SnapshotPart<'_>, schedules: &mut Schedules) -> Option<DateFormat> {
    let zone = schedules.zone(findings, part.date_format_timezone.as_ref());
    match (&part.date_format, &part.date_format_timezone) {
        (Some(pattern), _) => match DateFormat::new(&pattern.value, zone.clone().unwrap_or_else(Zone::utc)) {
            Ok(format) => zone.and(Some(format)),
            Err(error) => {
                findings.error(pattern.at.clone(), error.message).hint_if(error.hint);
                None
            }
        },
        (None, Some(zone_name)) => {
            findings
                .warning(zone_name.at.clone(), "date_format_timezone changes nothing without date_format")
                .hint("names carry the date in UTC, as in 20260301t020000z, unless date_format is given");
            zone.map(|_| DateFormat::compact())
        }
        (None, None) => Some(DateFormat::compact()),
    }
}

fn metadata(findings: &mut Findings<'_>, part: &SnapshotPart<'_>) -> Box<[(Box<str>, Box<str>)]> {
    let mut bytes = 0;
    for (key, value) in &part.metadata {
        bytes += key.value.len() + value.value.len();
        if key.value == "sm_policy" || key.value.starts_with("snapkeep_") {
            findings
                .error(key.at.clone(), format!("`{}` is a label that snapkeep writes itself", key.value))
                .hint("choose another key");
        } else if key.value.trim().is_empty() {
            findings.error(key.at.clone(), "label has no name");
        }
    }
    if bytes > METADATA_BYTES_MAX {
        let at = part.metadata.first().map_or_else(|| part.at.clone(), |(key, _)| key.at.clone());
        findings
            .error(at, format!("metadata is {bytes} bytes long, and a snapshot takes {METADATA_BYTES_MAX}"))
            .hint("keep labels short; put long texts into description");
    }
    let by_key: BTreeMap<&str, &str> =
        part.metadata.iter().map(|(key, value)| (key.value.as_str(), value.value.as_str())).collect();
    by_key.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn notification(findings: &mut Findings<'_>, document: &PolicyDocument<'_>, around: &Surroundings<'_>) -> Notification {
    let Some(part) = &document.notification else { return Notification::default() };
    let default = Notification::default();
    let mut channels = Vec::new();
    for channel in &part.channels {
        if known(findings, "channel", channel, around.channels) {
            channels.push(channel.value.as_str().into());
        }
    }
    Notification {
        channels,
        creation: part.creation.unwrap_or(default.creation),
        deletion: part.deletion.unwrap_or(default.deletion),
        failure: part.failure.unwrap_or(default.failure),
        time_limit_exceeded: part.time_limit_exceeded.unwrap_or(default.time_limit_exceeded),
    }
}
