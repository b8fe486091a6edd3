//! From a policy as written to a policy that cannot be wrong, or to every reason why not.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::policy_document::{ConditionPart, GuardsPart, KeepPart, PolicyDocument, SnapshotPart, WorkflowPart};
use super::reader::{Findings, Located};
use super::schedules::{GAPS_FROM, Schedules};
use super::table::nearest;
use crate::lifecycle::date_format::DateFormat;
use crate::lifecycle::keep_rules::{BadKeepRules, Every, KeepRules};
use crate::lifecycle::policy::{
    BadCondition, CatchUp, Condition, CreationRule, DeletionRule, Guards, Limits, Notification, OnOverlap, Pace,
    Policy, Revision,
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
    let stale_after = creation_part
        .zip(creation_schedule.as_ref())
        .map(|(part, schedule)| stale_after(findings, part, schedule, around.schedules));
    if let Some(part) = creation_part
        && part.schedule.is_none()
    {
        findings
            .error(part.at.clone(), "creation has no schedule")
            .hint("write [creation.schedule.cron] with an expression, or [creation.schedule.interval] with every");
    }

    let deletion = document.deletion.as_ref().and_then(|part| {
        let own = schedule(findings, part, "deletion", identity, around);
        if let Some(pattern) = &part.snapshot_pattern {
            findings
                .warning(
                    pattern.at.clone(),
                    "snapshot_pattern deletes nothing: only snapshots that this policy made or adopted are ever deleted",
                )
                .hint(format!("`snapkeep adopt SNAPSHOT… --policy {name}` makes this policy the owner of others"));
        }
        if part.schedule.is_none() && creation_part.is_none() {
            findings
                .error(part.at.clone(), "deletion has no schedule")
                .hint("without [creation] there is none to take over: write [deletion.schedule.cron]");
        }
        // Without a schedule of its own, deletion is due with creation and goes after it.
        let inherited = if part.schedule.is_none() {
            spread(findings, part, creation_part, creation_schedule.clone(), identity, around)
        } else {
            None
        };
        let schedule = own.or(inherited);
        // Buckets are days and hours as people who wrote the schedule think of them.
        let zone_of = |schedule: &Option<Schedule>| schedule.as_ref().and_then(Schedule::zone).cloned();
        let zone = zone_of(&creation_schedule).or_else(|| zone_of(&schedule)).unwrap_or_else(Zone::utc);
        let condition = part.condition.as_ref().and_then(|part| condition(findings, part, zone, around.schedules));
        if let (Some(creation), Some(written)) = (&creation, &part.condition) {
            let gap = around.schedules.gap(creation_part.and_then(|part| part.schedule.as_ref()), &creation.schedule);
            warn_of_what_never_matters(findings, &creation.schedule, &gap, written);
        }
        let pace = schedule.map(|schedule| pace(findings, part, schedule));
        let compliance = part.guards.as_ref().and_then(|guards| guards.compliance.as_ref());
        if let (Some(compliance), Some(written)) = (compliance.filter(|compliance| compliance.value), &part.condition)
            && written.is_whole
            && written.min_age.is_none()
        {
            findings
                .error(compliance.at.clone(), "compliance has no min_age to lock")
                .hint("write min_age = \"30d\" in [deletion.condition]; after 72 hours it can only be lengthened");
            return None;
        }
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
        creation: creation
            .zip(stale_after)
            .map(|(pace, stale_after)| Arc::new(CreationRule { pace, partial, stale_after })),
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

fn condition(
    findings: &mut Findings<'_>,
    part: &ConditionPart,
    zone: Zone,
    schedules: &mut Schedules,
) -> Option<Condition> {
    let keep = part.keep.as_ref().map(|part| keep(findings, part, zone, schedules));
    if !part.is_whole {
        return None;
    }
    let keep = match keep {
        Some(keep) => Some(keep?),
        None => None,
    };
    let count = |count: &Option<Located<u32>>| count.as_ref().map(|count| count.value);
    let span = |span: &Option<Located<Span>>| span.as_ref().map(|span| span.value.clone());
    let (max_age, max_count) = (span(&part.max_age), count(&part.max_count));
    let limits = Limits { max_age, max_count, min_count: count(&part.min_count), min_age: span(&part.min_age), keep };
    match Condition::of(limits) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let count_at = |count: &Option<Located<u32>>| count.as_ref().map(|count| count.at.clone());
            let (at, hint) = match error {
                BadCondition::Nothing => (
                    None,
                    "write max_age = \"30d\", max_count = 30, or [deletion.condition.keep] with rules such as daily = 7; \
                     leave [deletion] out to keep everything"
                        .to_string(),
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
                BadCondition::MinAgeAboveMaxAge => (
                    part.min_age.as_ref().map(|age| age.at.clone()),
                    part.max_age.as_ref().map_or_else(String::new, |age| {
                        format!(
                            "max_age is {} (line {}): what is older goes, what is younger than min_age stays",
                            age.value,
                            findings.line_of(&age.at)
                        )
                    }),
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
        compliance: part.compliance.as_ref().is_some_and(|compliance| compliance.value),
    }
}

fn keep(findings: &mut Findings<'_>, part: &KeepPart, zone: Zone, schedules: &mut Schedules) -> Option<KeepRules> {
    let zone = match &part.timezone {
        Some(name) => schedules.zone(findings, Some(name)),
        None => Some(zone),
    };
    if !part.is_whole {
        return None;
    }
    let counts: Vec<(Every, u32)> = part.counts.iter().map(|(every, count)| (*every, count.value)).collect();
    match KeepRules::new(&counts, part.within.as_ref().map(|within| within.value.clone()), zone?) {
        Ok(rules) => Some(rules),
        Err(error) => {
            let (at, hint) = match error {
                BadKeepRules::Nothing => {
                    let words: Vec<&str> = Every::ALL.iter().map(|every| every.word()).collect();
                    (None, format!("write daily = 7, or another of {} and within; or leave keep out", words.join(", ")))
                }
                BadKeepRules::Zero(every) => {
                    let zero = part.counts.iter().find(|(other, _)| *other == every);
                    (zero.map(|(_, count)| count.at.clone()), "write 1 or more".to_string())
                }
            };
            findings.error(at.unwrap_or_else(|| part.at.clone()), error.to_string()).hint(hint);
            None
        }
    }
}

/// Notes what is written and never comes to matter beside the rest and the schedule of creation, whose
/// shortest gap is `gap_min`.
fn warn_of_what_never_matters(findings: &mut Findings<'_>, schedule: &Schedule, gap_min: &Span, part: &ConditionPart) {
    let gap_ms = match schedule.elapsed(GAPS_FROM, GAPS_FROM.plus(GAPS_MS)) {
        Some(elapsed) => GAPS_MS / i64::try_from(elapsed.count).unwrap_or(i64::MAX).max(1),
        // Rarer than once in four weeks.
        None => gap_min.millis(),
    };
    let reach = part.max_count.as_ref().map(|count| (count, gap_ms.saturating_mul(i64::from(count.value))));
    if let Some((max_count, reach_ms)) = reach {
        let reaches = format!("{} snapshots on this schedule reach back about {}", max_count.value, rough(reach_ms));
        // What keep rules hold reaches back further.
        if let (Some(max_age), None) = (&part.max_age, &part.keep)
            && reach_ms < max_age.value.millis()
        {
            let message = format!("max_count is reached before max_age of {} matters", max_age.value);
            findings.warning(max_count.at.clone(), message).hint(reaches.clone());
        }
        if let Some(min_age) = &part.min_age
            && reach_ms < min_age.value.millis()
        {
            findings
                .warning(
                    min_age.at.clone(),
                    format!("min_age keeps more snapshots than max_count of {}", max_count.value),
                )
                .hint(format!("{reaches}; younger ones than min_age stay beside them"));
        }
    }
    if let Some(keep) = &part.keep {
        warn_of_idle_rules(findings, keep, part, gap_ms, gap_min);
    }
}

fn warn_of_idle_rules(findings: &mut Findings<'_>, keep: &KeepPart, part: &ConditionPart, gap_ms: i64, gap_min: &Span) {
    for (every, count) in &keep.counts {
        let (word, number) = (every.word(), count.value);
        let (lasts_min, lasts_max) = every.lasts_ms();
        if *every != Every::Snapshot && gap_min.millis() > lasts_max {
            findings.warning(count.at.clone(), format!("{word} is finer than the schedule")).hint(format!(
                "two triggers are {gap_min} or more apart, so {word} = {number} holds the same as last = {number}"
            ));
        }
        if let Some(max_age) = &part.max_age {
            let step = lasts_min.max(gap_ms).max(1);
            let reach_ms = step.saturating_mul(i64::from(number) - 1);
            let max_age = &max_age.value;
            if reach_ms > max_age.millis() {
                findings
                    .warning(count.at.clone(), format!("{word} reaches back further than max_age of {max_age}"))
                    .hint(format!(
                        "{number} would reach back about {}; max_age ends that at {max_age}, with about {} of them",
                        rough(reach_ms),
                        max_age.millis() / step + 1
                    ));
            }
        }
    }
    if let (Some(within), Some(max_age)) = (&keep.within, &part.max_age)
        && within.value.millis() > max_age.value.millis()
    {
        findings
            .warning(within.at.clone(), format!("within reaches back further than max_age of {}", max_age.value))
            .hint(format!("what is older than {} goes whatever holds it", max_age.value));
    }
    if let Some(max_count) = &part.max_count {
        let sum: u64 = keep.counts.iter().map(|(_, count)| u64::from(count.value)).sum();
        if sum > u64::from(max_count.value) {
            findings
                .warning(max_count.at.clone(), format!("keep rules may hold {sum} snapshots, more than max_count"))
                .hint(format!(
                    "the oldest beyond max_count go whatever holds them: write {sum} or more, or leave max_count out"
                ));
        }
    }
}

/// Writes a span rounded down to what people think in.
fn rough(millis: i64) -> String {
    let unit = if millis >= 86_400_000 { 86_400_000 } else { 60_000 };
    format_millis(if millis >= unit { millis / unit * unit } else { millis })
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

/// Returns after how long without a good snapshot people are told: as it is written, else twice the longest gap.
fn stale_after(
    findings: &mut Findings<'_>,
    part: &WorkflowPart,
    schedule: &Schedule,
    schedules: &mut Schedules,
) -> Span {
    let gap = schedules.longest_gap(part.schedule.as_ref(), schedule);
    let Some(written) = &part.stale_after else {
        return Span::from_millis(gap.millis().saturating_mul(2).min(Span::MILLIS_MAX));
    };
    if written.value.millis() <= gap.millis() {
        findings
            .warning(written.at.clone(), format!("stale_after is not longer than the {gap} between two triggers"))
            .hint("people would be told although all is well");
    }
    written.value.clone()
}

fn notification(findings: &mut Findings<'_>, document: &PolicyDocument<'_>, around: &Surroundings<'_>) -> Notification {
    let Some(part) = &document.notification else { return Notification::default() };
    part.notification(|name| known(findings, "channel", name, around.channels))
}
