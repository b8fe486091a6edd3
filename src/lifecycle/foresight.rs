//! What will be: a policy's creations and deletions simulated ahead, from the snapshots there are.
//!
//! Every trigger of creation makes a good snapshot. Every trigger of deletion makes a plan of what is there
//! then, by the same [`Plan::make`] and with all guards, and what it condemns is gone; of a plan that is held
//! nothing goes. At the same instant creation comes first, as in the engine (S5). Runs take no time, nothing
//! fails but what a [`Spell`] says, nobody approves anything, and the clock is right. What is being made at
//! the outset is whole by the first trigger.
//!
//! A snapshot that is to come bears the name that it will have.
//!
//! All of it is bounded: by triggers and by verdicts, see [`TooFar`].

mod compare;
mod sign;
mod stay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::plan::{self, Braked, Freshness, Grounds, Guard, Held, LastGood, Look, Plan, Sight, Target};
use super::policy::Policy;
use super::retention::{Condemn, Verdict};
use super::schedule::Schedule;
use super::snapshot::{Listing, Snapshot, SnapshotName, Status, label};
use super::time::{Moment, Timestamp};
use super::trust::Trust;

pub use compare::{Difference, Fate, Outcome, differences, edited, outcome};
pub use sign::Sign;
pub use stay::{AsLong, Stay, limit};

/// Eleven years of a run each hour, two of one each ten minutes.
pub const TRIGGERS_MAX: u32 = 100_000;
/// A verdict takes a few hundred nanoseconds: two seconds of them.
pub const VERDICTS_MAX: u64 = 6_000_000;
/// What is deleted counts for the repository's rate for so long (G14).
const RATE_MS: i64 = 3_600_000;

/// From where the simulation goes.
#[derive(Clone, Copy, Debug)]
pub struct Prospect<'a> {
    /// What runs when, and how snapshots are named. What is kept the grounds say.
    pub policy: &'a Policy,
    /// What a plan rests on at the outset.
    pub grounds: &'a Grounds,
    /// What is there at the outset.
    pub listing: &'a Listing,
    /// The outset.
    pub now: Timestamp,
    /// The first trigger of creation; see [`first_trigger`].
    pub creation_at: Option<Timestamp>,
    /// The first trigger of deletion.
    pub deletion_at: Option<Timestamp>,
    /// What goes wrong meanwhile.
    pub spells: &'a [Spell],
}

/// Something that goes wrong for a while: from the first instant to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spell {
    /// Every creation fails.
    Failing {
        /// From here.
        from: Timestamp,
        /// To before this.
        until: Timestamp,
    },
    /// The machine is off. What each workflow missed is caught up at the end, as one run (S1).
    Off {
        /// From here.
        from: Timestamp,
        /// To before this.
        until: Timestamp,
    },
}

/// How much may be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Triggers of both workflows.
    pub triggers: u32,
    /// Verdicts on single snapshots.
    pub verdicts: u64,
}

/// The simulation did not come so far. Completes "failed to look ahead".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is more than is simulated at once: {what} were used up by {reached}", what = self.what())]
pub struct TooFar {
    /// How far it came.
    pub reached: Timestamp,
    /// How much it was allowed.
    pub budget: Budget,
    /// Whether it was triggers that ran out, and not verdicts.
    pub by_triggers: bool,
}

/// What will be.
#[derive(Clone, Debug, PartialEq)]
pub struct Foresight {
    /// The outset.
    pub from: Timestamp,
    /// As far as was looked.
    pub until: Timestamp,
    /// Triggers of creation.
    pub creations: u32,
    /// Triggers of deletion.
    pub deletions: u32,
    /// Snapshots made.
    pub made: u32,
    /// Snapshots deleted.
    pub deleted: u32,
    /// How many of the policy's snapshots there are at the outset.
    pub count: Count,
    /// When there are fewest of them, first.
    pub lowest: Count,
    /// When there are most of them, first.
    pub highest: Count,
    /// How many there are in the end.
    pub last: Count,
    /// How many there are at each instant that was asked for.
    pub looks: Vec<Count>,
    /// Stretches of plans that the same guards hold.
    pub held: Vec<HeldStretch>,
    /// Every snapshot of the policy that is there or is made, oldest first.
    pub lives: Vec<Life>,
}

/// So many snapshots at an instant, when all that was due at it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// When.
    pub at: Timestamp,
    /// How many.
    pub count: u32,
}

/// Plans in a row that the same guards hold.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldStretch {
    /// The first plan.
    pub first: Timestamp,
    /// The last plan.
    pub last: Timestamp,
    /// How many.
    pub plans: u32,
    /// What held the first.
    pub held: Vec<Held>,
}

/// What becomes of one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Which.
    pub target: Target,
    /// Whether it is not there yet at the outset.
    pub is_to_come: bool,
    /// When it is deleted, and why.
    pub gone: Option<(Timestamp, Condemn)>,
    /// At which of the looks it is there first.
    pub first_look: usize,
    /// What the plan says of it at that look and those after it, while it is there.
    pub signs: Vec<Sign>,
}

impl Budget {
    /// For what a person waits for.
    pub const FULL: Budget = Budget { triggers: TRIGGERS_MAX, verdicts: VERDICTS_MAX };
    /// For what is told beside the answer.
    pub const SMALL: Budget = Budget { triggers: TRIGGERS_MAX / 2, verdicts: VERDICTS_MAX / 6 };
}

impl TooFar {
    fn what(&self) -> String {
        match self.by_triggers {
            true => format!("{} triggers", self.budget.triggers),
            false => format!("{} verdicts", self.budget.verdicts),
        }
    }
}

/// Returns the first trigger of a schedule whose triggers up to `mark` are consumed. Those that are due by
/// `now` run now, as one (S1).
pub fn first_trigger(schedule: &Schedule, mark: Timestamp, now: Timestamp) -> Option<Timestamp> {
    schedule.next_after(mark).map(|next| next.max(now))
}

/// Returns what will be until then, looked at in `looks`, which are in order and no later.
pub fn ahead(prospect: &Prospect<'_>, until: Timestamp, looks: &[Timestamp]) -> Result<Foresight, TooFar> {
    let mut world = World::new(prospect, Budget::FULL);
    let mut lives = Lives::of(&world.listing);
    let start = Count { at: prospect.now, count: world.own };
    let mut sums = Foresight {
        from: prospect.now,
        until,
        creations: 0,
        deletions: 0,
        made: 0,
        deleted: 0,
        count: start,
        lowest: start,
        highest: start,
        last: start,
        looks: Vec::with_capacity(looks.len()),
        held: Vec::new(),
        lives: Vec::new(),
    };
    let mut looks = looks.iter().copied().peekable();
    let mut was_held = false;
    loop {
        let next = world.next_at().filter(|at| *at <= until);
        if next != Some(sums.last.at) {
            sums.count_extremes();
        }
        while let Some(look) = looks.next_if(|look| next.is_none_or(|at| *look < at)) {
            lives.look(&world.judge(look)?, sums.looks.len());
            sums.looks.push(Count { at: look, count: world.own });
        }
        let Some(at) = next else { break };
        match world.step(at)? {
            Step::Made(target) => {
                sums.creations += 1;
                sums.made += 1;
                lives.add(target, true);
            }
            Step::Failed => sums.creations += 1,
            Step::Judged(plan) => {
                sums.deletions += 1;
                sums.deleted += lives.bury(&plan, at);
                let goes_on = was_held && sums.held.last().is_some_and(|stretch| is_same(&stretch.held, &plan.held));
                was_held = plan.is_held();
                match sums.held.last_mut() {
                    Some(stretch) if goes_on => (stretch.last, stretch.plans) = (at, stretch.plans + 1),
                    Some(_) | None if was_held => {
                        sums.held.push(HeldStretch { first: at, last: at, plans: 1, held: plan.held });
                    }
                    Some(_) | None => {}
                }
            }
        }
        sums.last = Count { at, count: world.own };
    }
    sums.last.at = until;
    sums.lives = lives.all;
    Ok(sums)
}

fn is_same(held: &[Held], other: &[Held]) -> bool {
    held.iter().map(Held::guard).eq(other.iter().map(Held::guard))
}

impl Foresight {
    fn count_extremes(&mut self) {
        if self.last.count < self.lowest.count {
            self.lowest = self.last;
        }
        if self.last.count > self.highest.count {
            self.highest = self.last;
        }
    }
}

/// The lives of all snapshots, and where each is by the driver's identity.
struct Lives {
    all: Vec<Life>,
    places: BTreeMap<Box<str>, usize>,
}

impl Lives {
    fn of(listing: &Listing) -> Lives {
        let mut lives = Lives { all: Vec::new(), places: BTreeMap::new() };
        let mut targets: Vec<Target> = listing.snapshots.iter().map(Target::of).collect();
        targets.sort_by(|one, other| (one.taken_at, one).cmp(&(other.taken_at, other)));
        targets.into_iter().for_each(|target| lives.add(target, false));
        lives
    }

    fn add(&mut self, target: Target, is_to_come: bool) {
        self.places.insert(target.id.clone(), self.all.len());
        self.all.push(Life { target, is_to_come, gone: None, first_look: 0, signs: Vec::new() });
    }

    fn look(&mut self, plan: &Plan, look: usize) {
        for entry in &plan.entries {
            if let Some(life) = self.places.get(&entry.target.id).and_then(|place| self.all.get_mut(*place)) {
                if life.signs.is_empty() {
                    life.first_look = look;
                }
                // Two entries of one id have one life.
                if life.first_look + life.signs.len() == look {
                    life.signs.push(Sign::of(&entry.verdict));
                }
            }
        }
    }

    /// Returns how many a plan deletes.
    fn bury(&mut self, plan: &Plan, at: Timestamp) -> u32 {
        let mut count = 0;
        for (target, why) in condemned(plan) {
            if let Some(life) = self.places.get(&target.id).and_then(|place| self.all.get_mut(*place)) {
                life.gone = Some((at, why.clone()));
                count += 1;
            }
        }
        count
    }
}

/// Returns what a plan deletes; nothing where it is held.
fn condemned(plan: &Plan) -> impl Iterator<Item = (&Target, &Condemn)> {
    let entries = if plan.is_held() { &[] } else { plan.entries.as_slice() };
    entries.iter().filter_map(|entry| match &entry.verdict {
        Verdict::Condemn(why) => Some((&entry.target, why)),
        Verdict::Keep(_) => None,
    })
}

/// What a trigger came to.
enum Step {
    Made(Target),
    Failed,
    Judged(Plan),
}

/// All that changes in the simulation.
struct World<'a> {
    policy: &'a Policy,
    spells: &'a [Spell],
    grounds: Grounds,
    listing: Listing,
    /// Snapshots of others that have nothing to do with ours.
    others: Vec<Snapshot>,
    own: u32,
    creation_at: Option<Timestamp>,
    deletion_at: Option<Timestamp>,
    /// Up to where times were written while the clock was wrong.
    wrong_until: Timestamp,
    /// How many were deleted within the hour before the outset, and until when they count.
    before: (u32, Timestamp),
    /// When what counts for the rate was deleted.
    lately: VecDeque<Timestamp>,
    budget: Budget,
    left: Budget,
}

impl<'a> World<'a> {
    fn new(prospect: &Prospect<'a>, budget: Budget) -> World<'a> {
        let Prospect { policy, grounds, listing, now, creation_at, deletion_at, spells } = *prospect;
        let mut grounds = grounds.clone();
        // What a person approved is about one plan, and that is carried out by then or never.
        grounds.approval = None;
        let used = grounds.guards.rate.zip(grounds.rate_left).map_or(0, |(rate, left)| rate.saturating_sub(left));
        let is_own = |snapshot: &Snapshot| grounds.owner.whose_else(snapshot).is_none();
        let ids: BTreeSet<&str> = listing.snapshots.iter().filter(|s| is_own(s)).map(|s| s.id.as_str()).collect();
        let (ours, others): (Vec<&Snapshot>, Vec<&Snapshot>) =
            listing.snapshots.iter().partition(|snapshot| ids.contains(snapshot.id.as_str()));
        let own = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let whole = |snapshot: &Snapshot| match snapshot.status {
            Status::Running => {
                let taken_at = snapshot.taken_at.or(Some(now));
                Snapshot { status: Status::Good, taken_at, ..snapshot.clone() }
            }
            Status::Good | Status::Partial | Status::Failed => snapshot.clone(),
        };
        let snapshots = ours.into_iter().map(whole).collect();
        let others = others.into_iter().cloned().collect();
        World {
            policy,
            spells,
            wrong_until: grounds.clock.trust.wrong_until,
            grounds,
            listing: Listing { snapshots },
            others,
            own,
            creation_at: creation_at.filter(|_| policy.creation.is_some()),
            deletion_at,
            before: (used, now.plus(RATE_MS)),
            lately: VecDeque::new(),
            budget,
            left: budget,
        }
    }

    /// Returns when something happens next.
    fn next_at(&self) -> Option<Timestamp> {
        let up = |at: Option<Timestamp>| at.map(|at| self.up(at));
        [up(self.creation_at), up(self.deletion_at)].into_iter().flatten().min()
    }

    /// Returns the first instant at or after `at` at which the machine is up.
    fn up(&self, at: Timestamp) -> Timestamp {
        let off = self.spells.iter().find_map(|spell| match spell {
            Spell::Off { from, until } if (*from..*until).contains(&at) => Some(*until),
            Spell::Off { .. } | Spell::Failing { .. } => None,
        });
        off.unwrap_or(at)
    }

    /// Does one thing that is due next, at `at`.
    fn step(&mut self, at: Timestamp) -> Result<Step, TooFar> {
        if self.left.triggers == 0 {
            return Err(TooFar { reached: at, budget: self.budget, by_triggers: true });
        }
        self.left.triggers -= 1;
        if self.creation_at.is_some_and(|creation| self.up(creation) <= at) {
            let rule = self.policy.creation.as_ref();
            self.creation_at = rule.and_then(|rule| rule.pace.schedule.next_after(at));
            return Ok(self.create(at));
        }
        let rule = self.policy.deletion.as_ref();
        self.deletion_at = rule.and_then(|rule| rule.pace.schedule.next_after(at));
        let plan = self.judge(at)?;
        self.carry_out(&plan, at);
        Ok(Step::Judged(plan))
    }

    fn create(&mut self, at: Timestamp) -> Step {
        let fails = |spell: &Spell| match spell {
            Spell::Failing { from, until } => (*from..*until).contains(&at),
            Spell::Off { .. } => false,
        };
        if self.spells.iter().any(fails) {
            return Step::Failed;
        }
        let snapshot = self.snapshot(at);
        let target = Target::of(&snapshot);
        if let Some(Freshness { last_good, .. }) = &mut self.grounds.freshness {
            *last_good = Some(LastGood { snapshot: target.name.clone(), ended_at: at });
        }
        self.listing.snapshots.push(snapshot);
        self.own += 1;
        Step::Made(target)
    }

    fn snapshot(&self, at: Timestamp) -> Snapshot {
        let owner = &self.grounds.owner;
        let named =
            |date: &str| SnapshotName::for_trigger(&owner.installation, &owner.policy_uid, &self.policy.name, date, at);
        let name = named(&self.policy.date_format.format(at)).or_else(|_| named(&at.compact()));
        let name = name.map_or_else(|_| at.compact(), |name| name.to_string());
        let labels = [(label::INSTALLATION, &owner.installation), (label::POLICY_UID, &owner.policy_uid)];
        Snapshot {
            id: name.clone(),
            name,
            taken_at: Some(at),
            status: Status::Good,
            labels: labels.map(|(key, value)| (key.to_string(), value.to_string())).into(),
            in_use: None,
            size_bytes: None,
        }
    }

    /// Returns the plan that a deletion at `at` makes. Nothing goes by it yet.
    fn judge(&mut self, at: Timestamp) -> Result<Plan, TooFar> {
        let verdicts = self.listing.snapshots.len() as u64;
        let left = self.left.verdicts.checked_sub(verdicts);
        self.left.verdicts = left.ok_or(TooFar { reached: at, budget: self.budget, by_triggers: false })?;
        let now = Moment { wall: at, boot: 0, uptime: at.millis() };
        let trust = Trust { wrong_until: self.wrong_until, ..Trust::first(now, true) };
        self.grounds.clock = Sight { now, trust, synchronised: true };
        self.grounds.rate_left = self.rate_left(at);
        Ok(Plan::make(&self.grounds, &self.listing, Look::First { deleted: 0 }, at))
    }

    fn rate_left(&mut self, at: Timestamp) -> Option<u32> {
        let rate = self.grounds.guards.rate?;
        while self.lately.front().is_some_and(|deleted| at.since(*deleted) >= RATE_MS) {
            self.lately.pop_front();
        }
        let (before, counts_until) = self.before;
        let before = if at < counts_until { before } else { 0 };
        let lately = u32::try_from(self.lately.len()).unwrap_or(u32::MAX);
        Some(rate.saturating_sub(lately.saturating_add(before)))
    }

    /// Deletes what a plan condemns, and remembers what the engine would.
    fn carry_out(&mut self, plan: &Plan, at: Timestamp) {
        if plan.is_held() {
            let braked = plan.held.iter().any(|held| matches!(held.guard(), Guard::Brake | Guard::Edit));
            if braked {
                self.grounds.braked.get_or_insert(Braked { at: plan.made_at, own: plan.own });
            }
            return;
        }
        let ids: BTreeSet<&str> = plan.allowed().map(|target| &*target.id).collect();
        if !ids.is_empty() {
            self.listing.snapshots.retain(|snapshot| !ids.contains(snapshot.id.as_str()));
        }
        let deleted = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        self.own = self.own.saturating_sub(deleted);
        self.grounds.seen = Some(plan.own.saturating_sub(deleted));
        self.grounds.unlooked = false;
        self.grounds.braked = None;
        if plan.is_thorough() {
            self.grounds.former = None;
            self.grounds.cleared_at = at;
        }
        if self.grounds.guards.grace.is_some() || self.grounds.guards.rate.is_some() {
            self.grounds.condemned_since = plan::condemned_since(&plan.entries).into();
        }
        if self.grounds.guards.rate.is_some() {
            self.lately.extend(ids.iter().map(|_| at));
        }
    }
}
