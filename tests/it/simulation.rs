//! Weeks of simulated time by seed: a repository that refuses, stalls, loses answers and lies, a
//! daemon that is killed at any moment, and people who edit, stop, delete and set the clock.
//!
//! Safety is checked at every effect: was it promised in the journal before, does it double, does
//! it delete what it must not? Liveness is checked at the end: once the world behaves, everything
//! that was begun has settled and every trigger is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use snapkeep::engine::Engine;
use snapkeep::engine::event::{Ask, Command, Done, Errand, Errands, Event, Job, JobId, Refusal, What};
use snapkeep::engine::tracked::Tracked;
use snapkeep::engine::view::View;
use snapkeep::journal::record::{NoticeQuery, NoticeRecord, NoticeState};
use snapkeep::journal::{HistoryQuery, Journal, Reader};
use snapkeep::lifecycle::notice::{self, NOTHING_TO_DELETE};
use snapkeep::lifecycle::plan::{Grounds, Look, Plan, Target};
use snapkeep::lifecycle::retention::Verdict;
use snapkeep::lifecycle::snapshot::{Listing, Presence, Snapshot, SnapshotName, Status, label};
use snapkeep::lifecycle::time::{Moment, Span, Timestamp};
use snapkeep::lifecycle::workflow::{Answer, Fault, Kind, Outcome, Request};
use snapkeep::notify::{Again, Trouble};
use snapkeep::roster::Roster;
use tokio::sync::oneshot;

use crate::support::dice::Dice;
use crate::support::roster::{self, PolicyText};

/// Seeds a run goes through. More by `SNAPKEEP_SIMULATION_SEEDS`.
const SEEDS: u64 = 8;
/// Simulated days a seed.
const DAYS: i64 = 14;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A snapshot as the simulated repository has it.
#[derive(Clone, Debug)]
struct Kept {
    id: String,
    labels: BTreeMap<String, String>,
    taken_at: Timestamp,
    /// When it is whole; before that it is being made.
    whole_at: Moment,
    status: Status,
}

/// What the world does to people who meddle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meddling {
    /// Nobody touches files, commands or the clock: every trigger can be accounted for.
    None,
    /// Edits, removals, stops, manual runs, foreign deletions, clock steps.
    All,
}

struct World {
    dice: Dice,
    now: Moment,
    faults: bool,
    kept: BTreeMap<String, Kept>,
    made: BTreeMap<String, u32>,
    serial: u64,
    in_flight: BTreeMap<JobId, (i64, Box<Ask>)>,
    /// Names that this daemon has looked for since it last ordered them.
    looked_for: BTreeSet<String>,
    /// What each policy's deletion has seen, by the policy's uid.
    sights: BTreeMap<Box<str>, Sight>,
    /// Notices on their way, by key: when they arrive.
    letters: BTreeMap<Box<str>, (i64, Box<Errand>)>,
    /// How often each notice was received, by key.
    received: BTreeMap<Box<str>, u32>,
    counts: Counts,
}

/// What a deletion run was shown before it orders anything (D2, D3).
#[derive(Debug, Default)]
struct Sight {
    run_id: Box<str>,
    /// The latest listing that reached the daemon.
    listing: Listing,
    /// How many did since the run's latest order.
    listings: u32,
    /// Whether this run has ordered anything.
    has_ordered: bool,
}

#[derive(Debug, Default)]
struct Counts {
    asked: u64,
    refused: u64,
    lost: u64,
    hung: u64,
    crashes: u64,
    created: u64,
    deleted: u64,
    settled: u64,
    meddled: u64,
    told: u64,
    told_again: u64,
    untold: u64,
}

impl World {
    fn snapshot(&self, name: &str) -> Option<Snapshot> {
        let kept = self.kept.get(name)?;
        let whole = self.now.since(&kept.whole_at) > 0 || self.now.uptime >= kept.whole_at.uptime;
        Some(Snapshot {
            name: name.to_string(),
            id: kept.id.clone(),
            taken_at: Some(kept.taken_at),
            status: if whole { kept.status } else { Status::Running },
            labels: kept.labels.clone(),
            in_use: None,
            size_bytes: None,
        })
    }

    fn presence(&self, name: &str) -> Presence {
        match self.snapshot(name).map(|snapshot| snapshot.status) {
            None => Presence::Absent,
            Some(Status::Running) => Presence::Running,
            Some(Status::Good) => Presence::Good { message: None },
            Some(Status::Partial) => Presence::Partial { message: "two files".into() },
            Some(Status::Failed) => Presence::Failed { message: "disk full".into() },
        }
    }

    /// Returns the uid of a policy whose deletion waits for a listing.
    fn deleting(&self) -> Option<Box<str>> {
        let listing = self.in_flight.values().find(|(_, ask)| ask.request == Request::List);
        listing.map(|(_, ask)| ask.owner.policy_uid.clone())
    }

    /// Does what is asked, as a well-behaved driver would, after checking that it may be asked.
    fn obey(&mut self, ask: &Ask, reader: &Reader) -> Answer {
        match &ask.request {
            Request::Describe(name) => {
                self.looked_for.insert(name.to_string());
                Answer::Described(self.presence(name.as_str()))
            }
            Request::List => {
                let names: Vec<String> = self.kept.keys().cloned().collect();
                Answer::Listed(Listing { snapshots: names.iter().filter_map(|name| self.snapshot(name)).collect() })
            }
            Request::Cancel(_) => Answer::Cancelled,
            Request::Create(name) => self.create(name, ask, reader),
            Request::Delete(target) => {
                self.check_delete(&target.name, &target.id, ask, reader);
                if self.kept.get(&*target.name).is_some_and(|kept| *kept.id == *target.id) {
                    self.kept.remove(&*target.name);
                    self.counts.deleted += 1;
                }
                Answer::Deleted
            }
        }
    }

    fn create(&mut self, name: &SnapshotName, ask: &Ask, reader: &Reader) -> Answer {
        let runs = reader.history(&HistoryQuery { limit: 200, ..HistoryQuery::default() }).expect("history");
        let promised = runs.iter().any(|run| run.snapshot.as_deref() == Some(name.as_str()) && run.ended_at.is_none());
        // A run that settled meanwhile by its time limit is no longer waited for; its call may still arrive.
        let given_up = runs.iter().any(|run| {
            run.snapshot.as_deref() == Some(name.as_str()) && run.outcome == Some(Outcome::TimeLimitExceeded)
        });
        assert!(promised || given_up, "{name} was asked for before the journal knew of it");
        if self.kept.contains_key(name.as_str()) {
            return Answer::Described(self.presence(name.as_str()));
        }
        let made = self.made.entry(name.to_string()).or_default();
        *made += 1;
        assert_eq!(*made, 1, "{name} was made twice");
        self.counts.created += 1;
        self.serial += 1;
        let accepted = self.dice.chance(40);
        let takes_ms = if accepted { 1 + self.dice.below(3 * HOUR_MS as u64) as i64 } else { 0 };
        let status = match self.dice.below(100) {
            0..4 if self.faults => Status::Failed,
            4..8 if self.faults => Status::Partial,
            _ => Status::Good,
        };
        let order = ask.order.as_ref().expect("an order to create carries its labels");
        self.kept.insert(
            name.to_string(),
            Kept {
                id: format!("id{}", self.serial),
                labels: order.labels.clone(),
                taken_at: self.now.wall,
                whole_at: self.now.plus(takes_ms),
                status,
            },
        );
        if accepted { Answer::Accepted } else { Answer::Described(self.presence(name.as_str())) }
    }

    fn check_delete(&self, name: &str, id: &str, ask: &Ask, reader: &Reader) {
        let Some(kept) = self.kept.get(name) else { return };
        let policy = &kept.labels[label::POLICY];
        let plan = reader.latest_plan(policy).expect("plan").unwrap_or_else(|| panic!("{name} deleted without a plan"));
        let entry = plan.plan.entries.iter().find(|entry| *entry.target.name == *name && *entry.target.id == *id);
        let entry = entry.unwrap_or_else(|| panic!("{name} is not in the journaled plan"));
        assert!(matches!(entry.verdict, Verdict::Condemn(_)), "{name} was deleted although {:?}", entry.verdict);
        let own = |kept: &&Kept| kept.labels.get(label::POLICY_UID).map(String::as_str) == Some(&*ask.owner.policy_uid);
        assert!(own(&kept), "{name} is foreign");
        if kept.status == Status::Good {
            let newer_good = self.kept.iter().filter(|(_, other)| own(other)).any(|(other_name, other)| {
                let whole = self.snapshot(other_name).is_some_and(|snapshot| snapshot.status == Status::Good);
                whole && (other.taken_at, other_name.as_str()) > (kept.taken_at, name)
            });
            assert!(newer_good, "{name} is the newest good snapshot");
        }
    }

    /// Answers a job whose time has come: truthfully, or not.
    fn answer(&mut self, ask: &Ask, reader: &Reader) -> Option<Answer> {
        self.counts.asked += 1;
        if !self.faults {
            return Some(self.answer_truly(ask, reader));
        }
        match self.dice.below(100) {
            0..8 => {
                self.counts.refused += 1;
                Some(Answer::Refused(Fault::transient("connection reset")))
            }
            8..14 => {
                self.counts.refused += 1;
                Some(Answer::Refused(Fault::busy("somebody else has it")))
            }
            14..17 => {
                self.counts.refused += 1;
                Some(Answer::Refused(Fault::incomplete("page 2 of 3 is missing")))
            }
            17 => {
                self.counts.refused += 1;
                Some(Answer::Refused(Fault::permanent("access denied")))
            }
            18..23 => {
                // Done, and said not to be.
                self.counts.lost += 1;
                self.obey(ask, reader);
                Some(Answer::Refused(Fault::transient("no answer")))
            }
            23..25 => {
                self.counts.lost += 1;
                self.obey(ask, reader);
                Some(Answer::Lost)
            }
            25..27 => {
                self.counts.hung += 1;
                None
            }
            _ => Some(self.answer_truly(ask, reader)),
        }
    }

    fn answer_truly(&mut self, ask: &Ask, reader: &Reader) -> Answer {
        let answer = self.obey(ask, reader);
        if let Answer::Listed(listing) = &answer
            && let Some(sight) = self.sights.get_mut(&ask.owner.policy_uid)
        {
            sight.listing = listing.clone();
            sight.listings += 1;
        }
        answer
    }

    /// Takes notices whose time has come: or does not, or does and says otherwise, or nothing at all.
    fn arrivals(&mut self, reader: &Reader) -> Vec<Event> {
        let now = self.now.uptime;
        let due: Vec<Box<str>> =
            self.letters.iter().filter(|(_, (at, _))| *at <= now).map(|(key, _)| key.clone()).collect();
        let mut events = Vec::new();
        for key in due {
            let Some((_, errand)) = self.letters.remove(&key) else { continue };
            let record = reader.notice(errand.record.number).expect("read").expect("it is owed before it is sent");
            assert!(record.attempts >= errand.attempt, "{key} was sent before the try was counted");
            let fate = if self.faults { self.dice.below(100) } else { 99 };
            if !(10..20).contains(&fate) {
                self.receive(&key);
            }
            let result = match fate {
                // Taken, and never reported; not taken, and never reported.
                0..5 | 10..12 => continue,
                // Taken, and said not to be; not taken.
                5..10 => Err(Trouble::later("no answer")),
                12..18 => Err(Trouble::later("greylisted")),
                18..20 => Err(Trouble {
                    again: Again::After(std::time::Duration::from_secs(900)),
                    ..Trouble::later("slowly")
                }),
                _ => Ok("taken".to_string()),
            };
            self.counts.untold += u64::from(result.is_err());
            events.push(Event::Delivered { key, result });
        }
        events
    }

    fn receive(&mut self, key: &str) {
        let times = self.received.entry(key.into()).or_default();
        *times += 1;
        self.counts.told += 1;
        self.counts.told_again += u64::from(*times > 1);
    }

    /// Whether this deletion may be ordered: it was planned from one listing and judged again by
    /// another since, and both the snapshot and the rule in force are still such that it is to go.
    fn check_order_to_delete(&mut self, target: &Target, ask: &Ask, policy: &Tracked) {
        let name = &target.name;
        let rule = policy.deletion_rule().filter(|_| !policy.withdrawn_by_stop());
        let rule = rule.unwrap_or_else(|| panic!("{name} was ordered to go for a policy that is stopped or gone"));
        let repository = policy.entry.as_ref().map(|entry| &entry.repository);
        let is_its_own = repository.is_some_and(|repository| Arc::ptr_eq(&repository.driver, &ask.driver));
        assert!(is_its_own, "{name} was ordered to go where the policy in force keeps nothing");
        let sight = self.sights.get_mut(&ask.owner.policy_uid);
        let sight = sight.unwrap_or_else(|| panic!("{name} was ordered to go unseen"));
        let looks = if sight.has_ordered { 1 } else { 2 };
        assert!(sight.listings >= looks, "{name} was ordered to go without another look");
        let grounds = Grounds::plain(ask.owner.clone(), rule.condition.clone(), Some(0), self.now);
        let judged = Plan::make(&grounds, &sight.listing, Look::Again, self.now.wall);
        assert!(judged.allowed().any(|allowed| allowed == target), "{name} was ordered to go and is to be kept");
        (sight.listings, sight.has_ordered) = (0, true);
    }
}

/// The daemon under test: an engine that can be killed.
struct Daemon {
    engine: Engine,
    view: Arc<View>,
}

/// Also what no policy tells any more is told somebody.
fn told_roster(texts: &[PolicyText]) -> Arc<Roster> {
    let mut roster = Arc::unwrap_or_clone(roster::roster(texts));
    roster::default_channels(&mut roster, &["log"]);
    Arc::new(roster)
}

fn boot(state: &Path, policies: &[PolicyText], world: &mut World) -> Daemon {
    let journal = Journal::open(state, world.now).expect("the journal opens after every crash");
    let view = Arc::new(View::default());
    let (engine, errands) =
        Engine::start(journal, told_roster(policies), view.clone(), 64, world.now, true).expect("the engine starts");
    let mut daemon = Daemon { engine, view };
    world.looked_for.clear();
    world.sights.clear();
    take_errands(&mut daemon, errands, world);
    daemon
}

/// Whether this order may be given at all, before anybody hears it.
fn check_order(daemon: &Daemon, ask: &Ask, world: &mut World) {
    match &ask.request {
        Request::Create(name) => {
            assert!(world.looked_for.remove(name.as_str()), "{name} was ordered without a look");
        }
        Request::Delete(target) => {
            let policy = shown(daemon, ask);
            let policy =
                policy.unwrap_or_else(|| panic!("{} was ordered to go for a policy that is gone", target.name));
            world.check_order_to_delete(target, ask, &policy);
        }
        Request::List => {
            let run_id = shown(daemon, ask).and_then(|policy| {
                let latest = policy.deletion.latest.as_ref()?;
                Some(latest.run_id(&policy.uid, Kind::Deletion).into_boxed_str())
            });
            let sight = world.sights.entry(ask.owner.policy_uid.clone()).or_default();
            if let Some(run_id) = run_id.filter(|run_id| *run_id != sight.run_id) {
                *sight = Sight { run_id, ..Sight::default() };
            }
        }
        Request::Describe(_) | Request::Cancel(_) => {}
    }
}

/// Returns the policy that asks, as readers see it.
fn shown(daemon: &Daemon, ask: &Ask) -> Option<Arc<Tracked>> {
    daemon.view.policies(&[]).into_iter().find(|tracked| *tracked.uid == *ask.owner.policy_uid)
}

fn take_errands(daemon: &mut Daemon, errands: Errands, world: &mut World) {
    for job in errands.abandon {
        world.in_flight.remove(&job);
    }
    for job in errands.begin {
        match job {
            Job::Ask(ask) => {
                check_order(daemon, &ask, world);
                let takes_ms = 1 + world.dice.below(20_000) as i64;
                world.in_flight.insert(ask.id, (world.now.uptime + takes_ms, ask));
            }
            Job::Beat { .. } => {}
            Job::Deliver(errand) => {
                let takes_ms = 1 + world.dice.below(20_000) as i64;
                world.letters.insert(errand.record.notice.key.clone(), (world.now.uptime + takes_ms, errand));
            }
        }
    }
}

fn turn(daemon: &mut Daemon, events: Vec<Event>, world: &mut World) {
    let errands = daemon.engine.turn(world.now, events).expect("the journal holds");
    take_errands(daemon, errands, world);
}

/// Goes on to the next thing that happens, at most `limit_ms` ahead.
fn advance(daemon: &mut Daemon, reader: &Reader, world: &mut World, limit_ms: i64) {
    let idle = daemon.engine.idle_ms(world.now).unwrap_or(limit_ms);
    let next_job = world.in_flight.values().map(|(at, _)| (at - world.now.uptime).max(0)).min().unwrap_or(limit_ms);
    let next_letter = world.letters.values().map(|(at, _)| (at - world.now.uptime).max(0)).min().unwrap_or(limit_ms);
    let step = idle.min(next_job).min(next_letter).min(limit_ms).max(1);
    world.now = world.now.plus(step);
    let due: Vec<JobId> =
        world.in_flight.iter().filter(|(_, (at, _))| *at <= world.now.uptime).map(|(id, _)| *id).collect();
    let mut events = Vec::new();
    for id in due {
        let Some((_, ask)) = world.in_flight.remove(&id) else { continue };
        match world.answer(&ask, reader) {
            Some(answer) => events.push(Event::Answered { job: id, answer }),
            // It hangs until somebody gives it up.
            None => {
                world.in_flight.insert(id, (i64::MAX, ask));
            }
        }
    }
    events.extend(world.arrivals(reader));
    turn(daemon, events, world);
}

fn command(daemon: &mut Daemon, world: &mut World, what: What) -> Result<Done, Refusal> {
    let (reply, mut answer) = oneshot::channel();
    turn(daemon, vec![Event::Command(Command { who: "uid:0".into(), what, request: None, reply })], world);
    answer.try_recv().expect("a command is answered in its turn")
}

fn policies() -> Vec<PolicyText> {
    vec![
        PolicyText::new("hourly", "0 * * * *", Some(("30 */6 * * *", Some("3d"), Some(20), 2)))
            .time_limit("2h")
            .tells_all(),
        PolicyText::new("daily", "15 3 * * *", Some(("15 3 * * *", None, Some(3), 1))).time_limit("20h").tells_all(),
        PolicyText::new("often", "*/10 * * * *", Some(("0 * * * *", Some("12h"), None, 3)))
            .time_limit("30m")
            .tells_all(),
    ]
}

fn simulate(seed: u64, meddling: Meddling) -> Counts {
    let folder = tempfile::Builder::new().prefix("sim").tempdir_in(memory_folder()).expect("a folder");
    let start = Moment { wall: Timestamp::from_seconds(1_772_330_400), boot: 7, uptime: 1_000_000 };
    let mut world = World {
        dice: Dice::new(seed),
        now: start,
        faults: true,
        kept: BTreeMap::new(),
        made: BTreeMap::new(),
        serial: 0,
        in_flight: BTreeMap::new(),
        looked_for: BTreeSet::new(),
        sights: BTreeMap::new(),
        letters: BTreeMap::new(),
        received: BTreeMap::new(),
        counts: Counts::default(),
    };
    name_installation(folder.path(), start);
    let mut texts = policies();
    let mut daemon = boot(folder.path(), &texts, &mut world);
    let reader = Reader::open(folder.path()).expect("a reader");
    let horizon = start.uptime + DAYS * DAY_MS;
    while world.now.uptime < horizon {
        advance(&mut daemon, &reader, &mut world, HOUR_MS);
        if world.dice.below(400) == 0 {
            crash(&mut daemon, &reader, &mut world, folder.path(), &texts);
        }
        // Most of what people change matters to a deletion under way; so they mostly meddle with one.
        let odds = if world.deleting().is_some() { 12 } else { 150 };
        if meddling == Meddling::All && world.dice.below(odds) == 0 {
            meddle(&mut daemon, &mut world, &mut texts);
        }
    }
    // The world behaves from here on: everything has to come to its end.
    world.faults = false;
    let hung: Vec<JobId> = world.in_flight.keys().copied().collect();
    let events = hung
        .into_iter()
        .filter(|id| world.in_flight.remove(id).is_some())
        .map(|job| Event::Answered { job, answer: Answer::Lost })
        .collect();
    turn(&mut daemon, events, &mut world);
    texts = policies();
    turn(&mut daemon, vec![Event::Loaded(told_roster(&texts))], &mut world);
    for text in &texts {
        // One that is still followed to its end under its former identity is adopted later.
        let _ = command(&mut daemon, &mut world, What::Start { policy: text.name.clone() });
    }
    let quiet_from = world.now.wall;
    let end = world.now.uptime + 3 * DAY_MS;
    while world.now.uptime < end {
        advance(&mut daemon, &reader, &mut world, HOUR_MS);
    }
    check_liveness(&reader, &mut world, quiet_from);
    check_notices(&reader, &world);
    if meddling == Meddling::None {
        check_triggers(&daemon, &reader, start.wall);
    }
    world.counts
}

fn crash(daemon: &mut Daemon, reader: &Reader, world: &mut World, state: &Path, texts: &[PolicyText]) {
    world.counts.crashes += 1;
    // What was asked may have been heard, or not; nobody will tell.
    for (_, (_, ask)) in std::mem::take(&mut world.in_flight) {
        if world.dice.chance(50) {
            world.obey(&ask, reader);
        }
    }
    for (key, _) in std::mem::take(&mut world.letters) {
        if world.dice.chance(50) {
            world.receive(&key);
        }
    }
    let spare = Journal::in_memory(world.now).expect("a journal");
    let view = Arc::new(View::default());
    let (idle, _) = Engine::start(spare, roster::roster(&[]), view, 1, world.now, true).expect("an engine");
    drop(std::mem::replace(&mut daemon.engine, idle));
    let down_ms = match world.dice.below(4) {
        0 => world.dice.below(8 * HOUR_MS as u64) as i64,
        _ => world.dice.below(MINUTE_MS as u64) as i64,
    };
    world.now = world.now.plus(down_ms);
    if world.dice.chance(20) {
        // A reboot: another boot clock, which begins anew.
        world.now = Moment { boot: world.now.boot + 1, ..world.now };
    }
    *daemon = boot(state, texts, world);
}

fn meddle(daemon: &mut Daemon, world: &mut World, texts: &mut Vec<PolicyText>) {
    world.counts.meddled += 1;
    let any = world.dice.below(texts.len().max(1) as u64) as usize;
    let deleting = world.deleting().and_then(|uid| {
        let policy = daemon.view.policies(&[]).into_iter().find(|policy| *policy.uid == *uid)?;
        texts.iter().position(|text| *text.name == *policy.name)
    });
    let chosen = deleting.unwrap_or(any);
    let name = texts.get(chosen).map_or_else(|| "hourly".to_string(), |text| text.name.clone());
    match world.dice.below(14) {
        0 => {
            if let Some(text) = texts.get_mut(chosen) {
                text.max_count = Some(2 + world.dice.below(20) as u32);
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        7 => {
            if let Some(text) = texts.get_mut(chosen) {
                text.min_count = 1 + world.dice.below(20) as u32;
                text.max_age = Some(["3h", "12h", "2d", "3d"][world.dice.below(4) as usize].into());
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        8 => {
            if let Some(text) = texts.get_mut(chosen) {
                let usual = policies().into_iter().find(|usual| usual.name == text.name);
                text.deletion = if text.deletion.is_none() { usual.and_then(|usual| usual.deletion) } else { None };
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        9 => {
            // The same store under another name: what it keeps is not in question, whose it is now is.
            if let Some(text) = texts.get_mut(chosen) {
                text.repository = ["simulated", "moved"][usize::from(text.repository == "simulated")].into();
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        11 | 12 => {
            // Somebody puts everything right again: where all is stopped there is little to get wrong.
            *texts = policies();
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
            for text in texts.iter() {
                let _ = command(daemon, world, What::Start { policy: text.name.clone() });
            }
        }
        10 => {
            if let Some(text) = texts.get_mut(chosen) {
                text.enabled = !text.enabled;
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        1 => {
            if texts.len() > 1 {
                texts.remove(chosen);
            } else {
                *texts = policies();
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        2 => {
            if let Some(text) = texts.get_mut(chosen) {
                text.creation = ["0 * * * *", "*/20 * * * *", "7 */2 * * *"][world.dice.below(3) as usize].into();
            }
            turn(daemon, vec![Event::Loaded(told_roster(texts))], world);
        }
        3 => {
            let _ = command(daemon, world, What::Stop { policy: name });
        }
        4 => {
            let _ = command(daemon, world, What::Start { policy: name });
        }
        5 => {
            let kind = Kind::ALL[world.dice.below(2) as usize];
            let _ = command(daemon, world, What::Run { policy: name, kind });
        }
        6 => {
            let whole: Vec<String> =
                world.kept.keys().filter(|name| world.presence(name) != Presence::Running).cloned().collect();
            if !whole.is_empty() {
                let gone = &whole[world.dice.below(whole.len() as u64) as usize];
                world.kept.remove(gone);
                // Whoever is in doubt about it by then may make it again.
                world.made.remove(gone);
            }
        }
        _ => {
            let step_ms = world.dice.below(4 * HOUR_MS as u64) as i64 - 2 * HOUR_MS;
            world.now.wall = world.now.wall.plus(step_ms);
            turn(daemon, vec![Event::ClockStepped], world);
        }
    }
}

fn check_liveness(reader: &Reader, world: &mut World, quiet_from: Timestamp) {
    let runs = reader.history(&HistoryQuery { limit: u32::MAX, ..HistoryQuery::default() }).expect("history");
    let mut triggers = BTreeSet::new();
    for run in &runs {
        let key = (run.policy_uid.clone(), run.kind, run.trigger_at);
        assert!(triggers.insert(key), "two runs of one trigger: {run:?}");
        let open = run.ended_at.is_none();
        // What began in the last simulated hours may be under way; a snapshot takes up to three.
        let young = run.began_at > world.now.wall.plus(-4 * HOUR_MS);
        assert!(!open || young, "never settled: {run:?}");
        world.counts.settled += u64::from(!open);
    }
    let good = runs.iter().filter(|run| run.began_at > quiet_from && run.outcome == Some(Outcome::Succeeded)).count();
    assert!(good > 0 || runs.is_empty(), "nothing succeeds although the world behaves");
}

/// What people asked to be told reached them: each settled run once, under one key however often it was sent.
fn check_notices(reader: &Reader, world: &World) {
    let owed = reader.notices(&NoticeQuery { limit: u32::MAX, ..NoticeQuery::default() }).expect("notices");
    let mut told: BTreeSet<(Box<str>, notice::Event)> = BTreeSet::new();
    for record in &owed {
        let NoticeRecord { notice, state, .. } = record;
        let young = notice.at > world.now.wall.plus(-2 * HOUR_MS);
        match state {
            NoticeState::Delivered => {
                assert!(world.received.contains_key(&notice.key), "nobody received what was delivered: {record:?}");
            }
            NoticeState::Pending => assert!(young, "never delivered: {record:?}"),
            NoticeState::Undeliverable | NoticeState::Superseded => panic!("given up: {record:?}"),
        }
        if let Some(run_id) = &notice.run_id {
            assert!(told.insert((run_id.clone(), notice.event)), "owed twice: {record:?}");
        }
    }
    let keys: BTreeSet<&str> = owed.iter().map(|record| &*record.notice.key).collect();
    let unknown: Vec<&Box<str>> = world.received.keys().filter(|key| !keys.contains(&***key)).collect();
    assert!(unknown.is_empty(), "received under keys that nobody knows: {unknown:?}");
    let runs = reader.history(&HistoryQuery { limit: u32::MAX, ..HistoryQuery::default() }).expect("history");
    for run in &runs {
        let event = match (run.outcome, run.kind) {
            (Some(Outcome::Succeeded), Kind::Creation) => notice::Event::Creation,
            (Some(Outcome::Succeeded), Kind::Deletion) if run.message.as_deref() == Some(NOTHING_TO_DELETE) => continue,
            (Some(Outcome::Succeeded), Kind::Deletion) => notice::Event::Deletion,
            (Some(Outcome::Failed), _) => notice::Event::Failure,
            (Some(Outcome::TimeLimitExceeded), _) => notice::Event::TimeLimitExceeded,
            // What is held again for the same reason is told once.
            (Some(Outcome::Held | Outcome::Cancelled) | None, _) => continue,
        };
        assert!(told.contains(&(run.run_id.clone(), event)), "nobody is owed a word of {run:?}");
    }
}

/// Every trigger of the schedule is a run or is part of a record of what was skipped.
fn check_triggers(daemon: &Daemon, reader: &Reader, from: Timestamp) {
    for tracked in daemon.view.policies(&[]) {
        for kind in Kind::ALL {
            let (mark, pace) = match kind {
                Kind::Creation => (tracked.creation.workflow.mark, tracked.creation_rule().map(|rule| &rule.pace)),
                Kind::Deletion => (tracked.deletion.workflow.mark, tracked.deletion_rule().map(|rule| &rule.pace)),
            };
            let pace = pace.expect("both workflows");
            let due = pace.schedule.elapsed(from, mark).map_or(0, |elapsed| elapsed.count);
            let query = HistoryQuery { policies: vec![tracked.name.to_string()], kind: Some(kind), limit: u32::MAX };
            let ran = reader.history(&query).expect("history").len() as u64;
            let skipped: u64 = reader
                .skips(&tracked.name, u32::MAX)
                .expect("skips")
                .iter()
                .filter(|skip| skip.kind == kind)
                .map(|skip| skip.count)
                .sum();
            assert_eq!(ran + skipped, due, "{} {}: {ran} ran, {skipped} skipped", tracked.name, kind.word());
        }
    }
}

/// A new journal's installation is left to chance, and with it names and waits; here the seed alone
/// decides, so that what it found can be found again.
fn name_installation(state: &Path, now: Moment) {
    drop(Journal::open(state, now).expect("a new journal"));
    let connection = rusqlite::Connection::open(state.join(snapkeep::journal::FILE)).expect("the journal's file");
    connection.execute("update instance set installation = 'simulated'", []).expect("one row");
}

/// Crashes that lose power are the journal's own tests; here the disk need not be real.
fn memory_folder() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}

#[test]
fn simulated_weeks_of_faults_and_crashes_keep_every_promise() {
    let seeds = std::env::var("SNAPKEEP_SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let mut total = Counts::default();
    for seed in 0..seeds {
        for meddling in [Meddling::None, Meddling::All] {
            let outcome = std::panic::catch_unwind(|| simulate(seed, meddling));
            let counts = outcome.unwrap_or_else(|_| panic!("seed {seed}, meddling {meddling:?}"));
            total.asked += counts.asked;
            total.refused += counts.refused;
            total.lost += counts.lost;
            total.hung += counts.hung;
            total.crashes += counts.crashes;
            total.created += counts.created;
            total.deleted += counts.deleted;
            total.settled += counts.settled;
            total.meddled += counts.meddled;
            total.told += counts.told;
            total.told_again += counts.told_again;
            total.untold += counts.untold;
        }
    }
    println!("{seeds} seeds of {DAYS} days, twice each: {total:?}");
    // Checks that never met what they are for would hold nothing.
    assert!(total.crashes > 0 && total.deleted > 0 && total.lost > 0 && total.hung > 0 && total.meddled > 0);
    assert!(total.told > 0 && total.told_again > 0 && total.untold > 0);
}

#[test]
fn the_span_of_a_simulated_policy_is_read_as_written() {
    let policy = roster::roster(&policies()).policies["hourly"].policy.clone();
    let limit = &policy.creation.as_ref().expect("creation").pace.time_limit;
    assert_eq!(limit, &Span::parse("2h").expect("a span"));
}
