//! What readers may see, republished after every turn.
//!
//! A reader holds the lock for as long as it takes to copy a few pointers; it never waits for a
//! driver, the journal or a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wildmatch::WildMatch;

use crate::journal::record::{HoldRecord, OperationRecord, TokenRecord, Waiting};
use crate::lifecycle::age_lock::AgeLocks;
use crate::lifecycle::notice::Alarm;
use crate::lifecycle::schedule::Schedule;
use crate::lifecycle::time::{Moment, Timestamp};
use crate::roster::{Channel, Problem, Roster};

use super::commits::Commits;
use super::tracked::Tracked;

/// What readers may see.
#[derive(Debug, Default)]
pub struct View {
    shown: RwLock<Shown>,
    commits: Commits,
}

#[derive(Debug, Default)]
struct Shown {
    installation: Box<str>,
    started_at: Option<Timestamp>,
    last_turn: Option<Moment>,
    policies: BTreeMap<Arc<str>, Arc<Tracked>>,
    problems: Arc<[Problem]>,
    chores: BTreeMap<Box<str>, Chore>,
    rhythms: BTreeMap<Box<str>, Rhythm>,
    repositories: Arc<[RepositoryShown]>,
    channels: Arc<[Arc<Channel>]>,
    default_channels: Arc<[Box<str>]>,
    maintenance: BTreeMap<Box<str>, OperationRecord>,
    verdicts: BTreeMap<Box<str>, OperationRecord>,
    clock_moved_back: Option<(Timestamp, Timestamp)>,
    clock_vouched: Option<Arc<str>>,
    wants_witness: bool,
    safe_mode: Option<Arc<str>>,
    restrictions: Arc<[String]>,
    begins_nothing: bool,
    notices: BTreeMap<Box<str>, Waiting>,
    alarms: Arc<[Alarm]>,
    holds: Arc<[HoldRecord]>,
    primary_term: u64,
    tokens: Tokens,
    age_locks: Arc<AgeLocks>,
    asides: BTreeMap<Box<str>, Problem>,
}

/// Tokens that were not removed, by id.
pub type Tokens = Arc<BTreeMap<Box<str>, TokenRecord>>;

/// When a housekeeping job last ran, and what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chore {
    /// When.
    pub at: Timestamp,
    /// What went wrong, if anything did.
    pub trouble: Option<String>,
}

/// How often a housekeeping job should run.
#[derive(Clone, Debug, PartialEq)]
pub struct Rhythm {
    /// When it is due.
    pub schedule: Schedule,
    /// A job that has not ended so long after it was due is overdue. At least two hours: the scheduler
    /// stays silent for as long as a clock was set back, and an hour is the commonest such step.
    pub patience_ms: i64,
}

/// A repository, and how its maintenance stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryShown {
    /// Its name.
    pub name: Arc<str>,
    /// The kind of its driver.
    pub kind: Box<str>,
    /// Whether its driver can maintain it.
    pub maintains: bool,
    /// Its latest maintenance, if there was one.
    pub maintenance: Option<OperationRecord>,
    /// The latest that came to an end by itself: how the repository was found.
    pub verdict: Option<OperationRecord>,
}

/// How the daemon as a whole is.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// This installation.
    pub installation: Box<str>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When the engine last moved.
    pub last_turn: Option<Moment>,
    /// How many policies there are.
    pub policies: usize,
    /// What is wrong with the files.
    pub problems: Arc<[Problem]>,
    /// Housekeeping.
    pub chores: BTreeMap<Box<str>, Chore>,
    /// How often each of those jobs should run.
    pub rhythms: BTreeMap<Box<str>, Rhythm>,
    /// The repositories in force, by name.
    pub repositories: Vec<RepositoryShown>,
    /// From when to when the clock went back, if it did since the start.
    pub clock_moved_back: Option<(Timestamp, Timestamp)>,
    /// Who vouched for the clock and when, if somebody outside had to since the start.
    pub clock_vouched: Option<Arc<str>>,
    /// Why nothing is made or deleted, where that is so.
    pub safe_mode: Option<Arc<str>>,
    /// What the daemon as a whole does not do at present, and why.
    pub restrictions: Arc<[String]>,
    /// Whether the first of them keeps runs from beginning; the others concern deletions alone.
    pub begins_nothing: bool,
    /// What channels are owed, by name; those that were told everything are not among them.
    pub notices: BTreeMap<Box<str>, Waiting>,
    /// What goes on that people were told of.
    pub alarms: Arc<[Alarm]>,
}

impl Daemon {
    /// Returns the housekeeping jobs that should have run and did not, each with when it was due. One
    /// that never ran counts from the daemon's start.
    pub fn overdue(&self, now: Timestamp) -> Vec<(&str, Timestamp)> {
        let Some(started_at) = self.started_at else { return Vec::new() };
        let due = |job: &str, rhythm: &Rhythm| {
            let last_at = self.chores.get(job).map_or(started_at, |chore| chore.at.max(started_at));
            if last_at.since(now) > rhythm.patience_ms {
                // The clock was far ahead then; the scheduler waits for it to be so again.
                return Some(now);
            }
            rhythm.schedule.next_after(last_at).filter(|due_at| now.since(*due_at) > rhythm.patience_ms)
        };
        self.rhythms.iter().filter_map(|(job, rhythm)| Some((&**job, due(job, rhythm)?))).collect()
    }
}

impl Shown {
    fn problems(&self) -> Arc<[Problem]> {
        if self.asides.is_empty() {
            return self.problems.clone();
        }
        self.problems.iter().chain(self.asides.values()).cloned().collect()
    }

    fn repositories(&self) -> Vec<RepositoryShown> {
        let shown = |repository: &RepositoryShown| RepositoryShown {
            maintenance: self.maintenance.get(&*repository.name).cloned(),
            verdict: self.verdicts.get(&*repository.name).cloned(),
            ..repository.clone()
        };
        self.repositories.iter().map(shown).collect()
    }
}

impl View {
    /// Returns the policies whose names match one of the patterns (`*` and `?`), by name; all of
    /// them when there is no pattern.
    pub fn policies(&self, patterns: &[String]) -> Vec<Arc<Tracked>> {
        let (patterns, names) = parted(patterns);
        if patterns.is_empty() && !names.is_empty() {
            let shown = self.read();
            return names.iter().filter_map(|name| shown.policies.get(*name)).cloned().collect();
        }
        // The lock is over with this: patterns are tried on the copies.
        let mut all: Vec<Arc<Tracked>> = self.read().policies.values().cloned().collect();
        if !patterns.is_empty() {
            let patterns: Vec<WildMatch> = patterns.into_iter().map(WildMatch::new).collect();
            all.retain(|tracked| {
                names.contains(&*tracked.name) || patterns.iter().any(|pattern| pattern.matches(&tracked.name))
            });
        }
        all
    }

    /// Returns what is wrong with the files.
    pub fn problems(&self) -> Arc<[Problem]> {
        self.read().problems()
    }

    /// Returns how the daemon as a whole is.
    pub fn daemon(&self) -> Daemon {
        let shown = self.read();
        Daemon {
            installation: shown.installation.clone(),
            started_at: shown.started_at,
            last_turn: shown.last_turn,
            policies: shown.policies.len(),
            problems: shown.problems(),
            chores: shown.chores.clone(),
            rhythms: shown.rhythms.clone(),
            repositories: shown.repositories(),
            clock_moved_back: shown.clock_moved_back,
            clock_vouched: shown.clock_vouched.clone(),
            safe_mode: shown.safe_mode.clone(),
            restrictions: shown.restrictions.clone(),
            begins_nothing: shown.begins_nothing,
            notices: shown.notices.clone(),
            alarms: shown.alarms.clone(),
        }
    }

    /// Returns how long commits took since the start.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Shows that nothing will be made or deleted, and why.
    pub fn enter_safe_mode(&self, why: &str, now: Timestamp) {
        let mut shown = self.write();
        shown.safe_mode = Some(why.into());
        shown.started_at = Some(now);
    }

    /// Shows what is wrong with the files, and which repositories and channels there are.
    pub fn set_roster(&self, roster: &Roster) {
        let problems = roster.problems.clone().into();
        let repositories = roster.repositories.values().map(|repository| RepositoryShown {
            name: repository.name.clone(),
            kind: repository.kind.clone(),
            maintains: repository.driver.abilities().maintain,
            maintenance: None,
            verdict: None,
        });
        let repositories = repositories.collect();
        let channels = roster.channels.values().cloned().collect();
        let default_channels = &roster.settings.notification.channels;
        let default_channels = default_channels.iter().map(|told| told.channel.clone()).collect();
        let mut shown = self.write();
        shown.problems = problems;
        shown.repositories = repositories;
        shown.channels = channels;
        shown.default_channels = default_channels;
    }

    /// Returns the repositories in force, by name.
    pub fn repositories(&self) -> Vec<RepositoryShown> {
        self.read().repositories()
    }

    /// Returns the names of those that are told what is about the daemon, and of policies that name nobody.
    pub fn default_channels(&self) -> Arc<[Box<str>]> {
        self.read().default_channels.clone()
    }

    /// Returns the channels in force, by name.
    pub fn channels(&self) -> Arc<[Arc<Channel>]> {
        self.read().channels.clone()
    }

    pub(super) fn set_maintenance(&self, operation: OperationRecord) {
        let mut shown = self.write();
        if operation.has_verdict() {
            shown.verdicts.insert(operation.subject.clone(), operation.clone());
        }
        shown.maintenance.insert(operation.subject.clone(), operation);
    }

    /// Shows whose snapshots are made here, and since when.
    pub fn set_installation(&self, installation: &str, now: Timestamp) {
        let mut shown = self.write();
        shown.installation = installation.into();
        shown.started_at = Some(now);
    }

    /// Shows that a housekeeping job ran. Returns what was shown of it before.
    pub fn set_chore(&self, job: &str, at: Timestamp, trouble: Option<String>) -> Option<Chore> {
        self.write().chores.insert(job.into(), Chore { at, trouble })
    }

    /// Says how often each housekeeping job should run.
    pub fn set_rhythms(&self, rhythms: BTreeMap<Box<str>, Rhythm>) {
        self.write().rhythms = rhythms;
    }

    /// Returns what the daemon as a whole does not do at present, and why.
    pub fn restrictions(&self) -> Arc<[String]> {
        self.read().restrictions.clone()
    }

    /// `begins_nothing` says that the first of them keeps runs from beginning.
    pub(super) fn set_restrictions(&self, restrictions: Arc<[String]>, begins_nothing: bool) {
        let mut shown = self.write();
        (shown.restrictions, shown.begins_nothing) = (restrictions, begins_nothing);
    }

    /// Returns what people want kept, also what is over, by repository and snapshot.
    pub fn holds(&self) -> Arc<[HoldRecord]> {
        self.read().holds.clone()
    }

    pub(super) fn set_holds(&self, holds: Arc<[HoldRecord]>) {
        self.write().holds = holds;
    }

    /// Returns of which count of writes to policies the numbers are.
    pub fn primary_term(&self) -> u64 {
        self.read().primary_term
    }

    pub(super) fn set_primary_term(&self, primary_term: u64) {
        self.write().primary_term = primary_term;
    }

    /// Returns the tokens that were not removed, also those that have expired, by id.
    pub fn tokens(&self) -> Tokens {
        self.read().tokens.clone()
    }

    /// Shows which tokens there are.
    pub fn set_tokens(&self, tokens: Tokens) {
        self.write().tokens = tokens;
    }

    /// Returns what `min_age` is locked to, by uid.
    pub fn age_locks(&self) -> Arc<AgeLocks> {
        self.read().age_locks.clone()
    }

    pub(super) fn set_age_locks(&self, locks: Arc<AgeLocks>) {
        self.write().age_locks = locks;
    }

    /// Shows a problem beside those of the files in force, in the place of what there was of the same; `None`
    /// when it is over.
    pub fn set_aside(&self, of: &str, problem: Option<Problem>) {
        let mut shown = self.write();
        match problem {
            Some(problem) => shown.asides.insert(of.into(), problem),
            None => shown.asides.remove(of),
        };
    }

    pub(super) fn set_notices(&self, notices: BTreeMap<Box<str>, Waiting>) {
        self.write().notices = notices;
    }

    pub(super) fn set_alarms(&self, alarms: Vec<Alarm>) {
        self.write().alarms = alarms.into();
    }

    pub(super) fn set_clock_vouched(&self, vouched: String) {
        self.write().clock_vouched = Some(vouched.into());
    }

    /// Whether somebody outside could end the doubt in the clock (G1).
    pub fn wants_witness(&self) -> bool {
        self.read().wants_witness
    }

    pub(super) fn set_wants_witness(&self, wants_witness: bool) {
        self.write().wants_witness = wants_witness;
    }

    pub(super) fn set_clock_moved_back(&self, was: Timestamp, now: Timestamp) {
        self.write().clock_moved_back = Some((was, now));
    }

    pub(super) fn remove(&self, name: &str) {
        self.write().policies.remove(name);
    }

    /// Shows policies as they are after a turn.
    pub fn publish(&self, policies: Vec<Arc<Tracked>>, now: Moment) {
        let mut shown = self.write();
        shown.last_turn = Some(now);
        let named = policies.into_iter().map(|tracked| (tracked.name.clone(), tracked));
        if shown.policies.is_empty() {
            // At once and not one by one, which would leave the map half empty.
            shown.policies = named.collect();
        } else {
            shown.policies.extend(named);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Shown> {
        // Writers only insert and assign: what a panic left behind is whole.
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts patterns from names that mean one policy each.
fn parted(written: &[String]) -> (Vec<&str>, BTreeSet<&str>) {
    let mut names = BTreeSet::new();
    let mut patterns = Vec::new();
    for word in written {
        if word.contains(['*', '?']) {
            patterns.push(word.as_str());
        } else {
            names.insert(word.as_str());
        }
    }
    (patterns, names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::time::Span;

    #[test]
    fn a_chore_that_stopped_is_found_without_the_scheduler() {
        let schedule = Schedule::interval(Span::parse("1h").expect("a span"));
        let hourly = Rhythm { schedule, patience_ms: 2 * 3_600_000 };
        let hour = |hours: i64| Timestamp::from_seconds(hours * 3600);
        let view = View::default();
        view.set_rhythms(["backup", "trim"].map(|job| (job.into(), hourly.clone())).into());
        view.set_chore("trim", hour(109), None);
        assert_eq!(view.daemon().overdue(hour(110)), [], "nothing has started yet");
        view.set_installation("i", hour(100));
        assert_eq!(view.daemon().overdue(hour(110)), [("backup", hour(101))]);
        view.set_installation("i", hour(109));
        assert_eq!(view.daemon().overdue(hour(110)), []);
        // The clock was ahead when it last ran, and the scheduler waits for then.
        assert_eq!(view.daemon().overdue(hour(100)), [("backup", hour(100)), ("trim", hour(100))]);
    }
}
