//! An engine on a stage: the test says what time it is, what the repository answers and what people
//! want, and reads what was asked, what was written down and what is shown.
//!
//! After every turn it is checked that the engine is at rest: another turn at the same instant hands
//! out nothing, and nothing is due at once, for else the daemon would spin.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use snapkeep::engine::Engine;
use snapkeep::engine::event::{Ask, Command, Done, Errand, Errands, Event, Job, JobId, Refusal, RequestKey, What};
use snapkeep::engine::explain::{Explained, explain};
use snapkeep::engine::tracked::Tracked;
use snapkeep::engine::view::View;
use snapkeep::journal::change::{Notice, RunRecord};
use snapkeep::journal::{HistoryQuery, Journal, JournalError, Reader};
use snapkeep::lifecycle::snapshot::{Listing, Presence, Snapshot, Status, label};
use snapkeep::lifecycle::time::{Moment, Timestamp};
use snapkeep::lifecycle::workflow::{Answer, Fault, Kind, Request};
use snapkeep::notify::Trouble;
use snapkeep::roster::Roster;
use tokio::sync::oneshot;

use super::roster::{PolicyText, roster};

/// 2026-03-01, a Sunday, at midnight in UTC: day 1 of every scenario.
const DAY_1_MS: i64 = 1_772_323_200_000;
const DAY_MS: i64 = 86_400_000;

pub struct Stage {
    folder: tempfile::TempDir,
    pub reader: Reader,
    engine: Option<Engine>,
    pub view: Arc<View>,
    pub now: Moment,
    pub jobs_max: usize,
    roster: Arc<Roster>,
    /// Open questions, in the order in which they were asked.
    asked: Vec<Ask>,
    /// Everything that was ever asked, in words.
    pub log: Vec<String>,
    /// Notices handed out for delivery, and whether their channel was there.
    pub notices: Vec<(Notice, bool)>,
    /// The same as they were handed out.
    pub errands: Vec<Errand>,
    /// Which channels heard that the daemon is alive, and at what uptime.
    pub beats: Vec<(Box<str>, i64)>,
    pub abandoned: Vec<JobId>,
    /// What the kernel says of its clock at a start.
    pub synchronised: bool,
    /// What the repository keeps.
    pub kept: Vec<Snapshot>,
    names: BTreeMap<Arc<str>, Arc<str>>,
}

/// Reads `09:30`, `09:30:15` or, with the day before it, `3 09:30`.
pub fn instant(text: &str) -> Timestamp {
    let (day, time) = text.split_once(' ').unwrap_or(("1", text));
    let mut parts = time.split(':').map(|part| part.parse::<i64>().expect("a number"));
    let mut next = || parts.next().unwrap_or(0);
    let seconds = next() * 3600 + next() * 60 + next();
    let day: i64 = day.parse().expect("a day");
    Timestamp::from_millis(DAY_1_MS + (day - 1) * DAY_MS + seconds * 1000)
}

/// The reverse; the day is left out on day 1, seconds where there are none.
pub fn clock(at: Timestamp) -> String {
    let since = at.millis() - DAY_1_MS;
    let (day, ms) = (since.div_euclid(DAY_MS) + 1, since.rem_euclid(DAY_MS));
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let day = if day == 1 { String::new() } else { format!("{day} ") };
    let second = if second == 0 { String::new() } else { format!(":{second:02}") };
    format!("{day}{hour:02}:{minute:02}{second}")
}

impl Stage {
    /// Starts an engine at `at` with these policies and an empty journal.
    pub fn new(at: &str, texts: &[PolicyText]) -> Stage {
        Stage::with(at, roster(texts), 64)
    }

    pub fn with(at: &str, roster: Arc<Roster>, jobs_max: usize) -> Stage {
        let folder = tempfile::Builder::new().prefix("stage").tempdir_in(memory_folder()).expect("a folder");
        let now = Moment { wall: instant(at), boot: 7, uptime: 1_000_000_000 };
        drop(Journal::open(folder.path(), now).expect("a journal"));
        let mut stage = Stage {
            reader: Reader::open(folder.path()).expect("a reader"),
            folder,
            engine: None,
            view: Arc::new(View::default()),
            now,
            jobs_max,
            roster,
            asked: Vec::new(),
            log: Vec::new(),
            notices: Vec::new(),
            errands: Vec::new(),
            beats: Vec::new(),
            abandoned: Vec::new(),
            synchronised: true,
            kept: Vec::new(),
            names: BTreeMap::new(),
        };
        stage.start();
        stage
    }

    fn start(&mut self) {
        let journal = Journal::open(self.folder.path(), self.now).expect("the journal opens");
        self.view = Arc::new(View::default());
        let started =
            Engine::start(journal, self.roster.clone(), self.view.clone(), self.jobs_max, self.now, self.synchronised);
        let (engine, errands) = started.expect("the engine starts");
        self.engine = Some(engine);
        self.take(errands);
        self.rest();
    }

    /// Kills the engine. What it had asked is never answered.
    pub fn kill(&mut self) {
        self.engine = None;
        self.asked.clear();
    }

    /// Kills the engine and starts another, `at` some later instant.
    pub fn restart(&mut self, at: &str) {
        self.kill();
        self.pass(at);
        self.start();
    }

    /// The same with other policies in force by then.
    pub fn restart_with(&mut self, at: &str, roster: Arc<Roster>) {
        self.roster = roster;
        self.restart(at);
    }

    fn pass(&mut self, at: &str) {
        let span_ms = instant(at).since(self.now.wall);
        assert!(span_ms >= 0, "{at} is over");
        self.now = self.now.plus(span_ms);
    }

    /// Lets time pass until `at`; the engine turns whenever it wants to.
    pub fn at(&mut self, at: &str) {
        let end = self.now.uptime + instant(at).since(self.now.wall);
        while let Some(idle) = self.idle_ms()
            && self.now.uptime + idle < end
        {
            self.now = self.now.plus(idle.max(1));
            self.turn(Vec::new());
        }
        self.pass(at);
        self.turn(Vec::new());
    }

    /// Lets time pass while the engine sleeps, as with a suspended machine.
    pub fn sleep_until(&mut self, at: &str) {
        self.pass(at);
        self.turn(Vec::new());
    }

    /// Sets the wall clock, as a person or a time server would.
    pub fn set_clock(&mut self, at: &str) {
        self.now.wall = instant(at);
        self.turn(vec![Event::ClockStepped]);
    }

    fn engine(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("the engine is up")
    }

    /// Returns what the engine says about a turn, checks nothing.
    pub fn try_turn(&mut self, events: Vec<Event>) -> Result<Errands, JournalError> {
        let now = self.now;
        self.engine().turn(now, events)
    }

    pub fn turn(&mut self, events: Vec<Event>) {
        let errands = self.try_turn(events).expect("the journal holds");
        self.take(errands);
        self.rest();
    }

    /// Turns until nothing is due at this instant, and checks that it stays so.
    fn rest(&mut self) {
        let now = self.now;
        for _ in 0..8 {
            let due_at_once = self.engine().idle_ms(now) == Some(0);
            let errands = self.try_turn(Vec::new()).expect("the journal holds");
            let quiet = errands.begin.is_empty() && errands.abandon.is_empty();
            self.take(errands);
            if !due_at_once {
                assert!(quiet, "a turn in which nothing was due handed something out: {:?}", self.log.last());
                let idle = self.engine().idle_ms(now);
                assert!(idle != Some(0), "something is due, and a turn did not do it");
                return;
            }
        }
        panic!("the engine does not come to rest at {}", clock(now.wall));
    }

    fn take(&mut self, errands: Errands) {
        for tracked in self.view.policies(&[]) {
            self.names.insert(tracked.uid.clone(), tracked.name.clone());
        }
        for job in errands.abandon {
            self.asked.retain(|ask| ask.id != job);
            self.abandoned.push(job);
        }
        for job in errands.begin {
            match job {
                Job::Ask(ask) => {
                    let words = self.words(&ask);
                    self.log.push(words);
                    self.asked.push(*ask);
                }
                Job::Beat { channel, .. } => self.beats.push((channel.name.clone(), self.now.uptime)),
                Job::Deliver(errand) => {
                    self.notices.push((errand.record.notice.clone(), errand.channel.is_some()));
                    self.errands.push(*errand);
                }
            }
        }
    }

    fn words(&self, ask: &Ask) -> String {
        let policy = self.names.get(&*ask.owner.policy_uid).map_or("?", |name| &**name);
        match &ask.request {
            Request::Describe(_) => format!("{policy} describe"),
            Request::Create(_) => format!("{policy} create"),
            Request::Cancel(_) => format!("{policy} cancel"),
            Request::List => format!("{policy} list"),
            Request::Delete(target) => format!("{policy} delete {}", target.name),
        }
    }

    /// Returns the open questions in words: `db describe`, `db delete s1`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.iter().map(|ask| self.words(ask)).collect()
    }

    pub fn expect_asked(&self, words: &[&str]) {
        assert_eq!(self.asked(), words, "at {}", clock(self.now.wall));
    }

    /// Returns the open question with these words, and takes it away.
    pub fn take_ask(&mut self, words: &str) -> Ask {
        let place = self.asked().iter().position(|asked| asked == words);
        let place = place.unwrap_or_else(|| panic!("`{words}` was not asked, but {:?}", self.asked()));
        self.asked.remove(place)
    }

    pub fn answer(&mut self, words: &str, answer: Answer) {
        let job = self.take_ask(words).id;
        self.turn(vec![Event::Answered { job, answer }]);
    }

    pub fn refuse(&mut self, words: &str, fault: Fault) {
        self.answer(words, Answer::Refused(fault));
    }

    /// Refuses everything that is asked, in one turn.
    pub fn refuse_all(&mut self, fault: &Fault) {
        let asked = std::mem::take(&mut self.asked).into_iter();
        let refused = |ask: Ask| Event::Answered { job: ask.id, answer: Answer::Refused(fault.clone()) };
        self.turn(asked.map(refused).collect());
    }

    /// Does what is asked, as a repository that works would.
    pub fn obey(&mut self, words: &str) {
        let ask = self.take_ask(words);
        let answer = self.deed(&ask);
        self.turn(vec![Event::Answered { job: ask.id, answer }]);
    }

    /// The same until nothing is asked any more at this instant.
    pub fn obey_all(&mut self) {
        for _ in 0..10_000 {
            let Some(words) = self.asked().into_iter().next() else { return };
            self.obey(&words);
        }
        panic!("questions without end: {:?}", self.asked());
    }

    pub fn deed(&mut self, ask: &Ask) -> Answer {
        let presence = |kept: &[Snapshot], name: &str| match kept.iter().find(|snapshot| snapshot.name == name) {
            Some(snapshot) if snapshot.status == Status::Running => Presence::Running,
            Some(_) => Presence::Good { message: None },
            None => Presence::Absent,
        };
        match &ask.request {
            Request::Describe(name) => Answer::Described(presence(&self.kept, name.as_str())),
            Request::Cancel(_) => Answer::Cancelled,
            Request::List => Answer::Listed(Listing { snapshots: self.kept.clone() }),
            Request::Create(name) => {
                let labels = ask.order.as_ref().expect("an order").labels.clone();
                let known = self.kept.iter().any(|snapshot| snapshot.name == name.as_str());
                if !known {
                    self.kept.push(snapshot(name.as_str(), self.now.wall, labels));
                }
                Answer::Described(presence(&self.kept, name.as_str()))
            }
            Request::Delete(target) => {
                self.kept.retain(|snapshot| *snapshot.id != *target.id);
                Answer::Deleted
            }
        }
    }

    /// Puts a snapshot of a policy into the repository.
    pub fn keep(&mut self, policy: &str, name: &str, taken_at: &str) {
        let labels = BTreeMap::from([
            (label::INSTALLATION.to_string(), self.view.daemon().installation.to_string()),
            (label::POLICY_UID.to_string(), self.tracked(policy).uid.to_string()),
        ]);
        self.kept.push(snapshot(name, instant(taken_at), labels));
    }

    pub fn kept_names(&self) -> Vec<&str> {
        self.kept.iter().map(|snapshot| snapshot.name.as_str()).collect()
    }

    pub fn load(&mut self, texts: &[PolicyText]) {
        self.load_roster(roster(texts));
    }

    pub fn load_roster(&mut self, roster: Arc<Roster>) {
        self.roster = roster.clone();
        self.turn(vec![Event::Loaded(roster)]);
    }

    pub fn tell(&mut self, what: What) -> Result<Done, Refusal> {
        self.tell_under(None, what)
    }

    /// Tells the engine something under a caller's key.
    pub fn tell_under(&mut self, key: Option<&str>, what: What) -> Result<Done, Refusal> {
        let (reply, mut answer) = oneshot::channel();
        let request = key.map(|key| Box::new(RequestKey { key: key.into(), fingerprint: "".into() }));
        self.turn(vec![Event::Command(Command { who: "uid:0".into(), what, request, reply })]);
        answer.try_recv().expect("a command is answered in its turn")
    }

    pub fn stop(&mut self, policy: &str) {
        self.tell(What::Stop { policy: policy.into() }).expect("stopped");
    }

    pub fn resume(&mut self, policy: &str) {
        self.tell(What::Start { policy: policy.into() }).expect("started");
    }

    pub fn run(
        &mut self,
        policy: &str,
        kind: Kind,
        key: Option<&str>,
    ) -> Result<(Box<str>, Option<Box<str>>), Refusal> {
        match self.tell_under(key, What::Run { policy: policy.into(), kind })? {
            Done::Run { run_id, snapshot } => Ok((run_id, snapshot)),
            other => panic!("{other:?}"),
        }
    }

    pub fn deliver_trouble(&mut self, key: &str, trouble: Trouble) {
        self.turn(vec![Event::Delivered { key: key.into(), result: Err(trouble) }]);
    }

    pub fn deliver(&mut self, key: &str, result: Result<(), String>) {
        let result = result.map(|()| String::new()).map_err(Trouble::later);
        self.turn(vec![Event::Delivered { key: key.into(), result }]);
    }

    pub fn tracked(&self, policy: &str) -> Arc<Tracked> {
        self.view.policies(&[policy.to_string()]).pop().unwrap_or_else(|| panic!("no policy `{policy}` is shown"))
    }

    pub fn explain(&self, policy: &str) -> Explained {
        explain(&self.tracked(policy), &self.view.age_locks(), &[], self.now)
    }

    pub fn waits_for(&self, policy: &str, kind: Kind) -> String {
        let explained = self.explain(policy);
        let workflow = match kind {
            Kind::Creation => explained.creation,
            Kind::Deletion => explained.deletion,
        };
        workflow.and_then(|workflow| workflow.waits_for).unwrap_or_default()
    }

    /// Returns the policy's runs, oldest first: `creation of 09:00 by schedule: succeeded`.
    pub fn runs(&self, policy: &str) -> Vec<String> {
        let mut runs: Vec<RunRecord> = self.records(policy);
        runs.reverse();
        let words = |run: RunRecord| {
            let outcome = run.outcome.map_or("under way", |outcome| outcome.word());
            format!("{} of {} by {}: {outcome}", run.kind.word(), clock(run.trigger_at), run.cause.word())
        };
        runs.into_iter().map(words).collect()
    }

    /// The same as rows, newest first.
    pub fn records(&self, policy: &str) -> Vec<RunRecord> {
        let query = HistoryQuery { policies: vec![policy.into()], kind: None, limit: 10_000 };
        self.reader.history(&query).expect("history")
    }

    /// Returns what was skipped, oldest first: `creation missed 3: 09:00 to 11:00`.
    pub fn skips(&self, policy: &str) -> Vec<String> {
        let mut skips = self.reader.skips(policy, 10_000).expect("skips");
        skips.reverse();
        let words = |skip: &snapkeep::journal::change::Skip| {
            let (first, last) = (clock(skip.first), clock(skip.last));
            format!("{} {} {}: {first} to {last}", skip.kind.word(), skip.reason.word(), skip.count)
        };
        skips.iter().map(words).collect()
    }

    pub fn idle_ms(&mut self) -> Option<i64> {
        let now = self.now;
        self.engine().idle_ms(now)
    }

    /// Returns which log of the journal is being written, and how many commits are in it: the frames
    /// of SQLite's write-ahead log that end one.
    pub fn commits(&self) -> ([u8; 8], usize) {
        let log = std::fs::read(self.folder().join("journal.db-wal")).expect("the journal's log");
        let page_bytes = u32::from_be_bytes(log[8..12].try_into().expect("four bytes")) as usize;
        let salt: [u8; 8] = log[16..24].try_into().expect("eight bytes");
        let frames = log[32..].chunks_exact(24 + page_bytes).take_while(|frame| frame[8..16] == salt);
        (salt, frames.filter(|frame| frame[4..8] != [0; 4]).count())
    }

    pub fn commits_since(&self, (log, commits): ([u8; 8], usize)) -> usize {
        let (now_log, now_commits) = self.commits();
        // A log that was begun anew holds only what came since.
        if now_log == log { now_commits - commits } else { now_commits }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

pub fn snapshot(name: &str, taken_at: Timestamp, labels: BTreeMap<String, String>) -> Snapshot {
    Snapshot {
        name: name.into(),
        id: format!("id-{name}"),
        taken_at: Some(taken_at),
        status: Status::Good,
        labels,
        in_use: None,
        size_bytes: None,
    }
}

/// Crashes that lose power are the journal's own tests; here the disk need not be real.
pub fn memory_folder() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}
