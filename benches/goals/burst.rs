//! Many triggers at one instant, and single decisions: what the journal costs.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use snapkeep::config::settings::{Defaults, Settings};
use snapkeep::drivers::null::Null;
use snapkeep::drivers::{Call, Driver, ProgressSink, Reply};
use snapkeep::engine::Engine;
use snapkeep::engine::event::{Errands, Event, Job};
use snapkeep::engine::view::View;
use snapkeep::journal::Journal;
use snapkeep::journal::change::{Adoption, Begun, Change, Settled, State};
use snapkeep::lifecycle::creation::Creation;
use snapkeep::lifecycle::date_format::DateFormat;
use snapkeep::lifecycle::policy::{CatchUp, CreationRule, OnOverlap, Pace, Policy, Revision};
use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::snapshot::{Presence, SnapshotName};
use snapkeep::lifecycle::time::{Moment, Span, Timestamp};
use snapkeep::lifecycle::workflow::{Answer, Cause, Ending, Kind, Outcome, Phase, Request, Run, Trigger, Workflow};
use snapkeep::lifecycle::zone::Zone;
use snapkeep::roster::{Entry, Repository, Roster};

use crate::limits::{Raw, RawLog};
use crate::stats::{Samples, span};
use crate::table::Table;

/// Policies that are due in the same second.
const DUE: usize = 1_000;
/// Enough for a 99th percentile that is not one unlucky moment of the machine only.
const REPETITIONS: usize = 30;
/// What settings have unless they say otherwise.
const JOBS_USUAL: usize = 16;

const HOUR_MS: i64 = 3_600_000;
const START: Moment = Moment { wall: Timestamp::from_seconds(1_772_330_400), boot: 1, uptime: 1_000_000 };

/// All creations of one second, committed and handed out.
pub fn due_at_once(folder: &Path, raw: &Raw, table: &mut Table) {
    let mut all = raw.fdatasync.clone();
    for (title, jobs_max) in [("all asked at once", DUE), ("16 asked at a time (default)", JOBS_USUAL)] {
        let (samples, limits, commits) = burst(&folder.join(jobs_max.to_string()), jobs_max);
        all.extend(&limits);
        let budget = limits.mean() * DUE as f64;
        let figure = format!("{} p99 {}", span(samples.median()), span(samples.p99()));
        let measure = format!("1,000 policies due, {title}, p50");
        let limit = format!("1,000 fdatasyncs {}", span(budget));
        let is_met = samples.p99() <= budget * 0.2;
        table.goal(&measure, figure, &limit, samples.p99() / budget, "p99 ≤ 0.2", is_met);
        // A disk that syncs in a tenth of a millisecond leaves 20 µs for the two decisions of a policy; nobody
        // who waits for a thousand policies feels less than this.
        let felt = (budget * 2.0).max(1e9) * 0.2;
        let figure = format!("p99 of {}", span(felt));
        table.note("  beside a fifth of a second, or of twice as many syncs", figure, "", Some(samples.p99() / felt));
        let figure = format!("{} of {} turns", span(samples.best()), commits);
        table.note("  best of the repetitions", figure, "", Some(samples.best() / budget));
    }
}

/// Returns how long each repetition took, the raw writes around them, and the turns of the last.
fn burst(folder: &Path, jobs_max: usize) -> (Samples, Samples, usize) {
    let driver = Null::new();
    let journal = Journal::open(folder, START).expect("a journal");
    let mut raw = RawLog::new(folder);
    let view = Arc::new(View::default());
    let (mut engine, first) =
        Engine::start(journal, roster(DUE, &driver), view, jobs_max, START, true).expect("the engine starts");
    let mut now = START;
    settle(&mut engine, &driver, first, now, usize::MAX);
    let (mut samples, mut limits, mut turns) = (Samples::default(), Samples::default(), 0);
    for _ in 0..REPETITIONS {
        limits.extend(&raw.samples(100));
        now = now.plus(HOUR_MS);
        let begin = Instant::now();
        let errands = engine.turn(now, Vec::new()).expect("the journal holds");
        let (rest, count) = settle(&mut engine, &driver, errands, now, DUE);
        samples.add(begin.elapsed());
        turns = count;
        settle(&mut engine, &driver, rest, now, usize::MAX);
        // The quiet seconds after it, in which the engine would turn by itself.
        let idle_ms = engine.idle_ms(now).unwrap_or(0);
        engine.turn(now.plus(idle_ms), Vec::new()).expect("the journal holds");
        driver.snapshots().clear();
    }
    limits.extend(&raw.samples(100));
    (samples, limits, turns)
}

/// Answers what is asked until so many creations were handed out, or nothing is asked any more.
/// Returns what was handed out last, and how many turns it took.
fn settle(engine: &mut Engine, driver: &Null, mut errands: Errands, now: Moment, creations: usize) -> (Errands, usize) {
    let (mut turns, mut begun) = (1, 0);
    loop {
        begun += errands.begin.iter().filter(|job| is_creation(job)).count();
        if begun >= creations || errands.begin.is_empty() {
            return (errands, turns);
        }
        let events = errands.begin.iter().filter_map(|job| answer(driver, job)).collect();
        errands = engine.turn(now, events).expect("the journal holds");
        turns += 1;
    }
}

fn is_creation(job: &Job) -> bool {
    matches!(job, Job::Ask(ask) if matches!(ask.request, Request::Create(_)))
}

fn answer(driver: &Null, job: &Job) -> Option<Event> {
    let Job::Ask(ask) = job else { return None };
    let call = Call { time_max: Duration::from_secs(1), progress: ProgressSink::default() };
    let answer = match (&ask.request, &ask.order) {
        (Request::Describe(name), _) => match now(driver.describe(name, &call)) {
            Some(_) => Answer::Described(Presence::Good { message: None }),
            None => Answer::Described(Presence::Absent),
        },
        (Request::Create(_), Some(order)) => {
            now(driver.create(order, &call));
            Answer::Described(Presence::Good { message: None })
        }
        (request, _) => unreachable!("only creations are due: {request:?}"),
    };
    Some(Event::Answered { job: ask.id, answer })
}

/// The driver in memory is always ready.
fn now<T>(reply: Reply<'_, T>) -> T {
    match pin!(reply).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => answer,
        Poll::Ready(Err(fault)) => unreachable!("{fault:?}"),
        Poll::Pending => unreachable!("it has nothing to wait for"),
    }
}

fn roster(policies: usize, driver: &Null) -> Arc<Roster> {
    let settings = Settings::default_in(&Defaults::of_folder(Path::new("/nowhere")));
    let mut roster = Roster::empty(Arc::new(settings));
    let repository = Arc::new(Repository::by_hand("null", "null", Arc::new(driver.clone())));
    roster.repositories.insert("null".into(), repository.clone());
    for index in 0..policies {
        let policy = policy(&format!("policy-{index:05}"));
        let name = policy.name.clone();
        let entry = Entry::by_hand(policy, repository.clone(), serde_json::Value::Null);
        roster.policies.insert(name, Arc::new(entry));
    }
    Arc::new(roster)
}

fn policy(name: &str) -> Policy {
    let pace = Pace {
        schedule: Schedule::cron("0 * * * *", Zone::utc()).expect("a schedule"),
        time_limit: Span::parse("1h").expect("a span"),
        catch_up: CatchUp::Once { within: None },
        on_overlap: OnOverlap::Skip,
        retry_count: 3,
    };
    Policy {
        name: name.into(),
        revision: Revision("1".into()),
        uid: None,
        description: None,
        enabled: true,
        creation: Some(Arc::new(CreationRule {
            pace,
            partial: false,
            stale_after: Span::from_millis(Span::MILLIS_MAX),
        })),
        deletion: None,
        repository: "null".into(),
        date_format: Arc::new(DateFormat::compact()),
        metadata: Arc::default(),
        notification: Arc::default(),
    }
}

/// Decisions one by one: a run begins, asks, settles; each is a commit of its own.
pub fn single_commits(folder: &Path, table: &mut Table) {
    const ROUNDS: usize = 12;
    const A_ROUND: usize = 150;
    let mut journal = Journal::open(folder, START).expect("a journal");
    let mut raw = RawLog::new(folder);
    let waiting = Workflow { mark: START.wall, phase: Phase::Waiting };
    let adoption = Adoption {
        policy_uid: "uid".into(),
        name: "policy".into(),
        revision: Revision("1".into()),
        at: START.wall,
        seq_no: 0,
        creation: waiting,
        deletion: Workflow { mark: START.wall, phase: Phase::Waiting },
    };
    journal.commit(&[Change::Adopt(adoption)]).expect("adopted");
    let mut decisions = Decisions { now: START, version: 1, step: 0 };
    let (mut ours, mut limits, mut ratios) = (Samples::default(), Samples::default(), Vec::new());
    for _ in 0..ROUNDS {
        let limit = raw.samples(A_ROUND);
        let changes: Vec<Vec<Change>> = (0..A_ROUND).map(|_| decisions.next()).collect();
        let round = Samples::of(A_ROUND, |index| journal.commit(&changes[index]).expect("committed"));
        ratios.push(limit.mean() / round.mean());
        ours.extend(&round);
        limits.extend(&limit);
    }
    ratios.sort_by(f64::total_cmp);
    let (median, best) = (ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    let figure = format!("{:.0}/s", 1e9 / ours.mean());
    let limit = format!("{:.0} fdatasyncs/s", 1e9 / limits.mean());
    let ratio = limits.mean() / ours.mean();
    table.goal("single decisions committed", figure, &limit, ratio, "≥ 0.7", ratio >= 0.7);
    let figure = format!("median {median:.2}, best {best:.2}");
    table.note(&format!("  {ROUNDS} rounds in turn with the raw writes"), figure, "", Some(median));
}

/// A policy's life, decision by decision.
struct Decisions {
    now: Moment,
    version: u64,
    step: usize,
}

impl Decisions {
    fn next(&mut self) -> Vec<Change> {
        let trigger_at = START.wall.plus((self.step / 3) as i64 * HOUR_MS);
        let run_id: Arc<str> = format!("uid-creation-{}", trigger_at.millis()).into();
        let name = SnapshotName::for_trigger("i", "uid", "policy", &trigger_at.compact(), trigger_at).expect("a name");
        let trigger = Trigger { at: trigger_at, cause: Cause::Schedule };
        let active = |step: Creation, attempts: u32| {
            let run = Run::begin(run_id.clone(), trigger, Revision("1".into()), step, self.now);
            Phase::Active(Box::new(Run { attempts, ..run }))
        };
        let (fact, phase) = match self.step % 3 {
            0 => {
                let begun = Begun {
                    run_id: run_id.clone(),
                    policy_uid: "uid".into(),
                    kind: Kind::Creation,
                    trigger,
                    revision: Revision("1".into()),
                    at: self.now,
                    snapshot: Some(name.as_str().into()),
                    request_key: None,
                };
                (Some(Change::Begin(begun)), active(Creation::Looking { name }, 0))
            }
            1 => (None, active(Creation::Asking { name }, 1)),
            _ => {
                let ending = Ending::new(Outcome::Succeeded, format!("created snapshot {name}"));
                let settled = Settled { run_id: run_id.clone(), at: self.now.wall, ending, attempts: 1 };
                (Some(Change::Settle(settled)), Phase::Waiting)
            }
        };
        let state = State::Creation(Workflow { mark: trigger_at, phase });
        let save = Change::Save { policy_uid: "uid".into(), version: self.version, state, seen: None };
        self.version += 1;
        self.step += 1;
        self.now = self.now.plus(1_000);
        fact.into_iter().chain([save]).collect()
    }
}
