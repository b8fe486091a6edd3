//! How policies are, in the form that monitoring reads: a line, what it measured, and an exit code. Asked of the daemon;
//! where none answers, the journal says what can be said. Never asks a repository.

use std::time::Duration;

use wildmatch::WildMatch;

use crate::http::body::{CheckupBody, CheckupsBody, HealthBody};
use crate::journal::Totals;
use crate::journal::change::{LoadedPolicy, RunRecord};
use crate::lifecycle::health::{Expectation, Health, UNDER_WAY, Vitals};
use crate::lifecycle::workflow::{Kind, Outcome};
use crate::roster::Roster;

use super::client::{Client, names_query};
use super::out::{Exit, Failure, Out, safe};
use super::setup::{self, ConfigChoice};

/// Monitoring waits ten seconds as a rule.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// More is no line that anybody reads, nor a graph.
const MEASURED_MAX: usize = 100;
/// Enough to see what it is about.
const REASONS_MAX: usize = 100;

/// Tells how policies are.
pub fn health(
    choice: &ConfigChoice,
    client: impl FnOnce() -> Result<Client, Failure>,
    names: &[String],
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    let path = format!("/v1/health?{}", names_query(names));
    let answer = client().and_then(|client| client.get_within(&path, ANSWER_TIME_MAX)?.read());
    let body = match answer {
        Ok(body) => Ok(body),
        Err(failure) if failure.is_unreachable() => from_journal(choice, names, &failure),
        Err(failure) => Err(failure),
    };
    let body = match body {
        Ok(body) => body,
        Err(Failure::Closed) => return Err(Failure::Closed),
        Err(failure) => return unknown(&failure.to_string(), out),
    };
    let health = gravest(&body);
    if out.json {
        out.value(&body)?;
    } else {
        tell(&body, health, names, out)?;
    }
    Ok(exit(health))
}

/// The exit codes are those of monitoring plugins.
fn exit(health: Health) -> Exit {
    match health {
        Health::Ok => Exit::Fine,
        Health::Warning => Exit::Failed,
        Health::Critical => Exit::Usage,
        Health::Unknown => Exit::Unreachable,
    }
}

fn read(word: &str) -> Health {
    // A word that a newer daemon may say is nothing that we know to be well.
    Health::from_word(word).unwrap_or(Health::Unknown)
}

fn gravest(body: &CheckupsBody) -> Health {
    let policies = body.policies.iter().map(|policy| read(&policy.status));
    let unknown = body.unknown.iter().map(|_| Health::Unknown);
    let nothing = (body.policies.is_empty() && body.unknown.is_empty()).then_some(Health::Unknown);
    policies.chain(unknown).chain(nothing).fold(read(&body.daemon.status), Health::max)
}

fn unknown(why: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if out.json {
        out.value(&HealthBody { status: Health::Unknown.word().into(), reasons: vec![why.to_string()] })?;
    } else {
        out.line(format!("SNAPKEEP UNKNOWN: {}", on_a_line(why)))?;
    }
    Ok(exit(Health::Unknown))
}

fn tell(body: &CheckupsBody, health: Health, names: &[String], out: &mut Out<'_>) -> Result<(), Failure> {
    let mut found: Vec<(Health, String)> = Vec::new();
    found.extend(body.unknown.iter().map(|name| (Health::Unknown, format!("there is no policy `{name}`"))));
    if body.policies.is_empty() && body.unknown.is_empty() {
        let nothing = if names.is_empty() { "there are no policies" } else { "no policy has such a name" };
        found.push((Health::Unknown, nothing.to_string()));
    }
    for policy in &body.policies {
        let status = read(&policy.status);
        found.extend(policy.reasons.iter().map(|reason| (status, format!("{}: {reason}", policy.name))));
    }
    found.extend(body.daemon.reasons.iter().map(|reason| (read(&body.daemon.status), reason.clone())));
    found.sort_by_key(|(health, _)| std::cmp::Reverse(*health));

    let count = |health| body.policies.iter().filter(|policy| read(&policy.status) == health).count();
    let policies = body.policies.len();
    let summary = match (found.first(), policies) {
        (None, 1) => "1 policy has a fresh snapshot".to_string(),
        (None, _) => format!("{policies} policies have fresh snapshots"),
        (Some((_, first)), _) if found.len() == 1 => first.clone(),
        (Some((_, first)), _) => format!("{first}; and {} more", found.len() - 1),
    };
    let mut measured = vec![
        format!("policies={policies}"),
        format!("warning={}", count(Health::Warning)),
        format!("critical={}", count(Health::Critical)),
        format!("waiting={}", body.notices_waiting),
        format!("undeliverable={};0", body.notices_undeliverable),
    ];
    measured.extend(body.policies.iter().take(MEASURED_MAX).filter_map(age));
    let summary = on_a_line(&summary);
    out.line(format!("SNAPKEEP {}: {summary} | {}", health.word().to_uppercase(), measured.join(" ")))?;
    for (health, reason) in found.iter().take(REASONS_MAX) {
        out.line(format!("{}: {}", health.word(), on_a_line(reason)))?;
    }
    if found.len() > REASONS_MAX {
        out.line(format!("and {} more", found.len() - REASONS_MAX))?;
    }
    Ok(())
}

/// Returns how old a policy's newest good snapshot is, and may be, in seconds.
fn age(policy: &CheckupBody) -> Option<String> {
    let seconds = |ms: Option<i64>| ms.map_or_else(String::new, |ms| (ms / 1_000).to_string());
    let age = policy.age.filter(|ms| *ms >= 0)?;
    let (warning, critical) = (seconds(policy.warning_after), seconds(policy.critical_after));
    Some(format!("'{}'={}s;{warning};{critical};0", policy.name, age / 1_000))
}

/// What comes behind `|` is taken for a measurement, and what comes behind a line's end for something else.
fn on_a_line(text: &str) -> String {
    safe(&text.replace('|', "/").replace(['\n', '\r'], " ")).into_owned()
}

/// Returns what the journal and the files say while no daemon answers.
fn from_journal(choice: &ConfigChoice, names: &[String], failure: &Failure) -> Result<CheckupsBody, Failure> {
    let settings = setup::settings(choice)?;
    let reader = setup::journal_reader(&settings.state_dir).map_err(|trouble| after(failure, &trouble))?;
    let loaded = reader.load().map_err(|error| after(failure, &error))?;
    let waiting = reader.notices_waiting().map_err(|error| after(failure, &error))?;
    let totals = reader.totals().map_err(|error| after(failure, &error))?;
    let roster = setup::load_in_force(choice, &settings);
    let now = setup::now();
    let names: Vec<String> = names
        .iter()
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_string())
        .filter(|name| !name.is_empty())
        .collect();
    let patterns: Vec<WildMatch> = names.iter().map(|name| WildMatch::new(name)).collect();
    let is_asked = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name));
    let known = loaded.policies.iter().filter(|policy| !policy.retired && is_asked(&policy.name));
    let policies: Vec<CheckupBody> = known
        .map(|policy| {
            let vitals = vitals(policy, &roster, &totals);
            CheckupBody::of(&policy.name, vitals.good_at, vitals.check(now))
        })
        .collect();
    let mut reasons = vec![failure.to_string()];
    if names.is_empty() {
        reasons.extend(problems(&roster));
        let given_up = waiting.iter().filter(|(_, waiting)| waiting.undeliverable > 0);
        reasons.extend(
            given_up
                .map(|(channel, waiting)| format!("channel {channel} did not take {} notices", waiting.undeliverable)),
        );
    }
    let is_known = |name: &String| {
        let pattern = WildMatch::new(name);
        policies.iter().any(|policy| pattern.matches(&policy.name))
    };
    Ok(CheckupsBody {
        daemon: HealthBody { status: Health::Warning.word().into(), reasons },
        unknown: names.iter().filter(|name| !is_known(name)).cloned().collect(),
        policies,
        notices_waiting: waiting.values().map(|waiting| waiting.pending).sum(),
        notices_undeliverable: waiting.values().map(|waiting| waiting.undeliverable).sum(),
    })
}

fn after(failure: &Failure, trouble: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Unreachable, format!("{failure}, and without it: {trouble}"))
}

/// Returns what is wrong with the files.
fn problems(roster: &Roster) -> impl Iterator<Item = String> {
    let errors = roster.problems.iter().filter(|problem| problem.is_error());
    errors.map(|problem| format!("{}: {}", problem.file.display(), problem.message))
}

/// Returns what the journal knows of a policy, and what its file promises.
fn vitals(policy: &LoadedPolicy, roster: &Roster, totals: &Totals) -> Vitals {
    let entry = roster.policies.get(&*policy.name);
    let expectation = match entry.map(|entry| &entry.policy.creation) {
        Some(Some(rule)) => Expectation::Within(rule.stale_after.millis()),
        Some(None) => Expectation::Nothing,
        None => Expectation::Unknown,
    };
    let ended = [(Kind::Creation, &policy.last_creation), (Kind::Deletion, &policy.last_deletion)];
    let ended = ended.into_iter().zip([0, 1]).filter_map(|((kind, run), place)| {
        let RunRecord { outcome, message, blame, .. } = run.as_ref()?;
        match outcome {
            Some(Outcome::Held) if policy.held.is_none() => None,
            Some(outcome) => Some((kind, *outcome, blame.as_deref().or(message.as_deref()).map(str::to_string))),
            None => {
                let before = totals.policies.get(&*policy.policy_uid)?.get(place)?.latest.as_ref()?.outcome;
                Some((kind, before, Some(UNDER_WAY.to_string())))
            }
        }
    });
    Vitals {
        expectation,
        is_enabled: entry.is_none_or(|entry| policy.switch.is_enabled(entry.policy.enabled)),
        adopted_at: policy.adopted_at,
        good_at: policy.last_good.as_ref().and_then(|run| run.ended_at),
        ended: ended.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::times::Times;
    use crate::lifecycle::time::Timestamp;

    const HOUR: i64 = 3_600_000;

    fn policy(name: &str, status: Health, age: Option<i64>, reasons: &[&str]) -> CheckupBody {
        CheckupBody {
            name: name.into(),
            status: status.word().into(),
            reasons: reasons.iter().map(ToString::to_string).collect(),
            last_good: age.map(|age| 1_000 * HOUR - age),
            age,
            warning_after: Some(36 * HOUR),
            critical_after: Some(48 * HOUR),
        }
    }

    fn body(policies: Vec<CheckupBody>) -> CheckupsBody {
        CheckupsBody {
            daemon: HealthBody { status: "ok".into(), reasons: Vec::new() },
            policies,
            unknown: Vec::new(),
            notices_waiting: 0,
            notices_undeliverable: 0,
        }
    }

    fn told(body: &CheckupsBody) -> (Health, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut out = Out::new(&mut stdout, &mut stderr, Times::utc(Timestamp::EPOCH), false, false);
        let health = gravest(body);
        tell(body, health, &[], &mut out).expect("told");
        (health, String::from_utf8(stdout).expect("text"))
    }

    #[test]
    fn a_line_says_how_all_policies_are_and_what_was_measured() {
        let (health, line) = told(&body(vec![policy("db", Health::Ok, Some(HOUR), &[])]));
        assert_eq!(health, Health::Ok);
        assert_eq!(
            line,
            "SNAPKEEP OK: 1 policy has a fresh snapshot | policies=1 warning=0 critical=0 waiting=0 undeliverable=0;0 \
             'db'=3600s;129600;172800;0\n"
        );
    }

    #[test]
    fn the_gravest_comes_first_and_no_text_is_taken_for_a_measurement() {
        let mut body = body(vec![
            policy("db", Health::Ok, Some(HOUR), &[]),
            policy("mail", Health::Warning, Some(HOUR), &["creation failed: a | b\nc"]),
            policy("wiki", Health::Critical, None, &["no good snapshot yet"]),
        ]);
        body.notices_undeliverable = 2;
        body.daemon = HealthBody { status: "warning".into(), reasons: vec!["channel ops did not take 2".into()] };
        let (health, text) = told(&body);
        assert_eq!(health, Health::Critical);
        assert_eq!(
            text,
            "SNAPKEEP CRITICAL: wiki: no good snapshot yet; and 2 more | policies=3 warning=1 critical=1 waiting=0 \
             undeliverable=2;0 'db'=3600s;129600;172800;0 'mail'=3600s;129600;172800;0\n\
             critical: wiki: no good snapshot yet\n\
             warning: mail: creation failed: a / b c\n\
             warning: channel ops did not take 2\n"
        );
    }

    #[test]
    fn nothing_and_nobody_is_not_well() {
        assert_eq!(told(&body(Vec::new())).0, Health::Unknown);
        let mut stranger = body(vec![policy("db", Health::Ok, Some(HOUR), &[])]);
        stranger.unknown = vec!["bd".into()];
        assert_eq!(told(&stranger).0, Health::Unknown);
        let mut newer = body(vec![policy("db", Health::Ok, Some(HOUR), &[])]);
        newer.policies[0].status = "splendid".into();
        assert_eq!(told(&newer).0, Health::Unknown);
        let mut down = body(vec![policy("db", Health::Ok, Some(HOUR), &[])]);
        down.daemon.status = "warning".into();
        assert_eq!(told(&down).0, Health::Warning);
    }
}
