//! Every short run against a model of a repository: at each of the first choices it answers, refuses,
//! is busy, or the answer is lost before or after the work was done; from then on it tells the truth.
//!
//! Enumerated, not random. Safety is checked at every request, liveness at the end.

use snapkeep::lifecycle::creation::{Creation, CreationTerms};
use snapkeep::lifecycle::deletion::{Deletion, seen_after};
use snapkeep::lifecycle::plan::{Look, Plan, Target};
use snapkeep::lifecycle::snapshot::{Listing, Presence};
use snapkeep::lifecycle::time::Moment;
use snapkeep::lifecycle::workflow::{Answer, Ending, Fact, Fault, Outcome, Phase, Request, Run, Step, Turn};

use super::{START, effort, listing, name, run, terms};

/// From here on the repository tells the truth, and so many turns later every run has settled.
const TURNS_MAX: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Truth,
    Transient,
    Busy,
    LostBefore,
    LostAfter,
    /// Says no, having done it.
    RefusedAfter,
}

impl Choice {
    /// A question has no "after": nothing was done.
    fn of(request: &Request) -> &'static [Choice] {
        const EFFECT: [Choice; 6] = [
            Choice::Truth,
            Choice::Transient,
            Choice::Busy,
            Choice::LostBefore,
            Choice::LostAfter,
            Choice::RefusedAfter,
        ];
        if request.is_effect() { &EFFECT } else { &EFFECT[..4] }
    }

    fn answer(self, truth: impl FnOnce() -> Answer) -> Answer {
        match self {
            Choice::Truth => truth(),
            Choice::Transient => Answer::Refused(Fault::transient("reset")),
            Choice::Busy => Answer::Refused(Fault::busy("locked")),
            Choice::LostBefore => Answer::Lost,
            Choice::LostAfter => {
                truth();
                Answer::Lost
            }
            Choice::RefusedAfter => {
                truth();
                Answer::Refused(Fault::transient("reset"))
            }
        }
    }
}

fn after_wait<S: Step>(run: &Run<S>, now: Moment) -> Moment {
    now.plus(run.wait.left(&now))
}

// ---- Creation.

#[derive(Clone)]
struct Making {
    /// Whether the repository goes on by itself, or answers when it is done.
    by_itself: bool,
    there: Presence,
    /// How many looks until it is whole.
    looks_left: u32,
    made: u32,
    creates: u32,
    busy: u32,
    /// Whether a look said that the name is free, since the last create.
    looked: bool,
    turns: usize,
    path: Vec<Choice>,
}

impl Making {
    fn tell(&mut self, request: &Request) -> Answer {
        match request {
            Request::Describe(_) => {
                if self.there == Presence::Running {
                    self.looks_left -= 1;
                    if self.looks_left == 0 {
                        self.there = Presence::Good { message: None };
                    }
                }
                Answer::Described(self.there.clone())
            }
            Request::Create(_) => {
                if self.there == Presence::Absent {
                    self.made += 1;
                    self.there = if self.by_itself { Presence::Running } else { Presence::Good { message: None } };
                }
                if self.by_itself { Answer::Accepted } else { Answer::Described(self.there.clone()) }
            }
            Request::Cancel(_) | Request::List | Request::Delete(_) => panic!("{request:?} {:?}", self.path),
        }
    }
}

fn make(world: Making, run: Run<Creation>, now: Moment, choices: u32, runs: &mut u64) {
    let request = run.request();
    let now = after_wait(&run, now);
    let choose = if choices > 0 { Choice::of(&request) } else { &[Choice::Truth] };
    for choice in choose {
        let mut world = world.clone();
        world.path.push(*choice);
        world.turns += usize::from(choices == 0);
        assert!(world.turns < TURNS_MAX, "never settles: {:?}", world.path);
        match &request {
            Request::Create(asked) => {
                assert_eq!(*asked, name(), "{:?}", world.path);
                assert!(world.looked, "asked without a look: {:?}", world.path);
                world.looked = false;
                world.creates += 1;
                world.busy += u32::from(*choice == Choice::Busy);
            }
            _ => world.looked = *choice == Choice::Truth && world.there == Presence::Absent,
        }
        let answer = choice.answer(|| world.tell(&request));
        let turn = run.clone().advance(&CreationTerms { partial: false }, &effort(3), answer, now).expect("in turn");
        assert!(world.made <= 1, "made twice: {:?}", world.path);
        assert!(world.creates - world.busy <= 4, "asked too often: {:?}", world.path);
        match turn {
            Turn { phase: Phase::Active(run), settled: None, .. } => {
                make(world, *run, now, choices.saturating_sub(1), runs);
            }
            Turn { settled: Some(ending), phase, .. } => {
                *runs += 1;
                match ending.outcome {
                    Outcome::Succeeded => assert_eq!(world.there, Presence::Good { message: None }, "{:?}", world.path),
                    _ => assert_eq!(world.creates - world.busy, 4, "gave up early: {:?}", world.path),
                }
                // Given up although it is there: then it is watched, and nothing starts beside it.
                let unknown = ending.outcome != Outcome::Succeeded && world.made > 0;
                assert!(!unknown || matches!(phase, Phase::Watching(_)), "{:?}", world.path);
            }
            turn => panic!("{turn:?} {:?}", world.path),
        }
    }
}

#[test]
fn a_creation_makes_one_snapshot_whatever_is_lost_and_always_settles() {
    let mut runs = 0;
    for by_itself in [false, true] {
        let world = Making {
            by_itself,
            there: Presence::Absent,
            looks_left: 3,
            made: 0,
            creates: 0,
            busy: 0,
            looked: false,
            turns: 0,
            path: Vec::new(),
        };
        make(world, run(Creation::first(name())), START, 8, &mut runs);
    }
    assert!(runs > 50_000, "only {runs} runs");
}

#[test]
fn a_foreign_snapshot_of_our_name_is_never_adopted_and_never_made_over() {
    let mut open = vec![(run(Creation::first(name())), 4)];
    while let Some((run, choices)) = open.pop() {
        let request = run.request();
        assert!(!request.is_effect());
        let choose = if choices > 0 { Choice::of(&request) } else { &[Choice::Truth] };
        for choice in choose {
            let answer = choice.answer(|| Answer::Described(Presence::Foreign));
            let turn = run.clone().advance(&CreationTerms { partial: true }, &effort(3), answer, START);
            match turn.expect("in turn") {
                Turn { phase: Phase::Active(run), .. } => open.push((*run, choices - 1)),
                turn => assert_eq!(turn.settled.expect("settled").outcome, Outcome::Failed),
            }
        }
    }
}

// ---- Deletion.

#[derive(Clone)]
struct Shelf {
    listing: Listing,
    /// What the journal holds of what was seen.
    seen: Option<u32>,
    max_count: u32,
    /// Whether the policy can still be edited to keep everything.
    editable: bool,
    /// The plan journaled last, and the judgement of the listing answered last.
    planned: Option<Plan>,
    judged: Option<Plan>,
    deletes: u32,
    told_deleted: Vec<Target>,
    turns: usize,
    path: Vec<Choice>,
}

impl Shelf {
    fn tell(&mut self, request: &Request) -> Answer {
        match request {
            Request::List => Answer::Listed(self.listing.clone()),
            Request::Delete(target) => {
                self.listing.snapshots.retain(|snapshot| *snapshot.id != *target.id);
                Answer::Deleted
            }
            Request::Describe(name) => {
                let there = self.listing.snapshots.iter().any(|snapshot| snapshot.name == name.as_str());
                Answer::Described(if there { Presence::Good { message: None } } else { Presence::Absent })
            }
            Request::Create(_) | Request::Cancel(_) => panic!("{request:?} {:?}", self.path),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.listing.snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect()
    }
}

fn delete(shelf: &Shelf, run: &Run<Deletion>, now: Moment, choices: u32, runs: &mut u64) {
    let request = run.request();
    let now = after_wait(run, now);
    if choices > 0 && shelf.editable && request == Request::List {
        // The policy is edited before the answer comes, and keeps everything from here on.
        let edited = Shelf { editable: false, max_count: 100, ..shelf.clone() };
        delete(&edited, run, now, choices - 1, runs);
    }
    let choose = if choices > 0 { Choice::of(&request) } else { &[Choice::Truth] };
    for choice in choose {
        let mut shelf = shelf.clone();
        shelf.path.push(*choice);
        shelf.turns += usize::from(choices == 0);
        assert!(shelf.turns < TURNS_MAX, "never settles: {:?}", shelf.path);
        let terms = terms(shelf.max_count, shelf.seen);
        if let Request::Delete(target) = &request {
            let allows = |plan: &Option<Plan>| plan.iter().any(|plan| plan.allowed().any(|allowed| allowed == target));
            assert!(allows(&shelf.planned), "not planned: {target:?} {:?}", shelf.path);
            assert!(allows(&shelf.judged), "not judged again: {target:?} {:?}", shelf.path);
            // One judgement is good for one deletion.
            shelf.judged = None;
            shelf.deletes += 1;
        }
        if request == Request::List && *choice == Choice::Truth {
            let plan = Plan::make(&terms, &shelf.listing, Look::First { deleted: 0 }, now.wall);
            shelf.judged = Some(plan);
        }
        let answer = choice.answer(|| shelf.tell(&request));
        let turn = run.clone().advance(&terms, &effort(3), answer, now).expect("in turn");
        shelf.seen = seen_after(shelf.seen, &turn.facts);
        for fact in &turn.facts {
            match fact {
                Fact::Planned(plan) => shelf.planned = Some(plan.clone()),
                Fact::Deleted(target) => shelf.told_deleted.push(target.clone()),
                Fact::Spared { .. } => assert!(!shelf.editable, "spared without an edit: {:?}", shelf.path),
            }
        }
        let names = shelf.names();
        assert!(names.contains(&"s1") && names.contains(&"s2"), "{:?}", shelf.path);
        match turn {
            Turn { phase: Phase::Active(run), settled: None, .. } => {
                delete(&shelf, &run, now, choices.saturating_sub(1), runs);
            }
            Turn { settled: Some(ending), .. } => {
                *runs += 1;
                check_end(&shelf, &ending);
            }
            turn => panic!("{turn:?} {:?}", shelf.path),
        }
    }
}

fn check_end(shelf: &Shelf, ending: &Ending) {
    match ending.outcome {
        Outcome::Succeeded => {
            // Everything that went is told, and all went that had to.
            assert_eq!(shelf.names().len() + shelf.told_deleted.len(), 5, "{:?}", shelf.path);
            assert!(!shelf.editable || shelf.names() == ["s1", "s2"], "{:?}", shelf.path);
            let text = match shelf.told_deleted.len() {
                0 => "nothing to delete".to_string(),
                1 => "deleted 1 snapshot".to_string(),
                many => format!("deleted {many} snapshots"),
            };
            assert_eq!(ending.message, text, "{:?}", shelf.path);
        }
        Outcome::Failed => assert!(ending.cause.is_some(), "{:?}", shelf.path),
        outcome => panic!("{outcome:?} {}: {:?}", ending.message, shelf.path),
    }
}

#[test]
fn a_deletion_deletes_only_what_plan_and_policy_condemn_and_always_settles() {
    let mut runs = 0;
    let shelf = Shelf {
        listing: listing(&["s1", "s2", "s3", "s4", "s5"]),
        seen: Some(5),
        max_count: 2,
        editable: true,
        planned: None,
        judged: None,
        deletes: 0,
        told_deleted: Vec::new(),
        turns: 0,
        path: Vec::new(),
    };
    delete(&shelf, &run(Deletion::first()), START, 7, &mut runs);
    assert!(runs > 30_000, "only {runs} runs");
}
