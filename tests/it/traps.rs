//! The traps of the system this one's policies come from, as far as they concern the state machines,
//! each as a test of what is true here. The number is the trap's in the collection.

use expect_test::expect;
use snapkeep::lifecycle::creation::{Creation, CreationTerms};
use snapkeep::lifecycle::deletion::{Deletion, seen_after};
use snapkeep::lifecycle::policy::Condition;
use snapkeep::lifecycle::snapshot::Presence;
use snapkeep::lifecycle::time::{Moment, Span};
use snapkeep::lifecycle::workflow::{
    Answer, Ending, Fact, Fault, FaultKind, Outcome, Phase, Request, Run, Step, Trouble, Turn,
};

use crate::machines::{START, effort, listing, name, run, target, terms};

const TERMS: CreationTerms = CreationTerms { partial: false };

/// A run, the clock, and what it asked so far.
struct Bench<S: Step> {
    phase: Phase<S>,
    now: Moment,
    asked: Vec<Request>,
    settled: Option<Ending>,
    facts: Vec<Fact>,
}

impl<S: Step> Bench<S> {
    fn new(step: S) -> Bench<S> {
        Bench {
            phase: Phase::Active(Box::new(run(step))),
            now: START,
            asked: Vec::new(),
            settled: None,
            facts: Vec::new(),
        }
    }

    fn run(&self) -> &Run<S> {
        match &self.phase {
            Phase::Active(run) => run,
            Phase::Waiting | Phase::Watching(_) => panic!("the run is over: {:?}", self.settled),
        }
    }

    /// Waits, asks, and takes the answer.
    fn answer(&mut self, terms: &S::Terms, answer: impl FnOnce(&Request) -> Answer) {
        self.now = self.now.plus(self.run().wait.left(&self.now));
        let request = self.run().request();
        let answer = answer(&request);
        self.asked.push(request);
        let turn: Turn<S> = self.run().clone().advance(terms, &effort(3), answer, self.now).expect("in turn");
        (self.phase, self.settled) = (turn.phase, turn.settled);
        self.facts.extend(turn.facts);
    }

    fn until_settled(&mut self, terms: &S::Terms, mut answer: impl FnMut(&Request) -> Answer) -> Ending {
        for _ in 0..1000 {
            if let Some(settled) = &self.settled {
                return settled.clone();
            }
            self.answer(terms, &mut answer);
        }
        panic!("never settles: {:?}", self.asked);
    }

    fn effects(&self) -> usize {
        self.asked.iter().filter(|request| request.is_effect()).count()
    }
}

fn absent_then(effect: Answer) -> impl FnMut(&Request) -> Answer {
    move |request| if request.is_effect() { effect.clone() } else { Answer::Described(Presence::Absent) }
}

// ---- Retries.

#[test]
fn three_retries_make_four_create_calls_for_refusals_and_lost_answers_alike() {
    for effect in [
        Answer::Refused(Fault::transient("reset")),
        Answer::Refused(Fault::incomplete("cut")),
        Answer::Lost,
        // It says that it is done, and nothing is there.
        Answer::Described(Presence::Absent),
    ] {
        let mut bench = Bench::new(Creation::first(name()));
        let ending = bench.until_settled(&TERMS, absent_then(effect.clone()));
        assert_eq!((ending.outcome, bench.effects()), (Outcome::Failed, 4), "{effect:?}");
    }
}

#[test]
fn three_retries_make_four_delete_calls_for_refusals_lost_answers_and_lies_alike() {
    for effect in [Answer::Refused(Fault::transient("reset")), Answer::Lost, Answer::Deleted] {
        let mut bench = Bench::new(Deletion::first());
        let ending = bench.until_settled(&terms(1, None), |request| match request {
            Request::List => Answer::Listed(listing(&["s1", "s2"])),
            Request::Describe(_) => Answer::Described(Presence::Good { message: None }),
            _ => effect.clone(),
        });
        assert_eq!((ending.outcome, bench.effects()), (Outcome::Failed, 4), "{effect:?}");
        assert!(ending.cause.is_some(), "{effect:?}");
    }
}

#[test]
fn a_busy_repository_does_not_count_as_an_attempt() {
    let mut bench = Bench::new(Creation::first(name()));
    let mut busy = 0;
    let ending = bench.until_settled(&TERMS, |request| match request {
        Request::Create(_) if busy < 20 => {
            busy += 1;
            Answer::Refused(Fault::busy("locked"))
        }
        Request::Create(_) => Answer::Refused(Fault::transient("reset")),
        _ => Answer::Described(Presence::Absent),
    });
    assert_eq!((ending.outcome, bench.effects()), (Outcome::Failed, 24));
}

#[test]
fn looking_in_vain_does_not_count_as_an_attempt() {
    let mut bench = Bench::new(Creation::first(name()));
    for kind in [FaultKind::Transient, FaultKind::Incomplete, FaultKind::Busy, FaultKind::Transient] {
        for _ in 0..5 {
            let fault = Fault { kind, message: "away".to_string(), retry_after_ms: None };
            bench.answer(&TERMS, |_| Answer::Refused(fault));
        }
    }
    assert_eq!((bench.run().attempts, bench.run().attempts_left(&effort(3))), (0, 4));
    let ending = bench.until_settled(&TERMS, absent_then(Answer::Refused(Fault::transient("reset"))));
    assert_eq!((ending.outcome, bench.effects()), (Outcome::Failed, 4));
}

#[test]
fn a_listing_that_is_refused_four_times_fails_the_deletion() {
    let mut bench = Bench::new(Deletion::first());
    let ending = bench.until_settled(&terms(1, None), |_| Answer::Refused(Fault::incomplete("cut")));
    assert_eq!((ending.outcome, bench.asked.len(), ending.cause.as_deref()), (Outcome::Failed, 4, Some("cut")));
}

#[test]
fn each_deletion_has_its_own_attempts() {
    let mut bench = Bench::new(Deletion::first());
    let mut there = vec!["s1", "s2", "s3"];
    let mut refused = 0;
    let ending = bench.until_settled(&terms(1, None), |request| match request {
        Request::List => Answer::Listed(listing(&there)),
        Request::Describe(name) => match there.contains(&name.as_str()) {
            true => Answer::Described(Presence::Good { message: None }),
            false => Answer::Described(Presence::Absent),
        },
        Request::Delete(_) if refused < 3 => {
            refused += 1;
            Answer::Refused(Fault::transient("reset"))
        }
        _ => {
            refused = 0;
            there.pop();
            Answer::Deleted
        }
    });
    assert_eq!((ending.message.as_str(), bench.effects()), ("deleted 2 snapshots", 8));
}

#[test]
fn answers_that_are_lost_again_and_again_are_not_asked_for_in_a_hurry() {
    let mut bench = Bench::new(Creation::first(name()));
    for _ in 0..10 {
        bench.answer(&TERMS, |_| Answer::Lost);
    }
    // Eight waits of half a minute, less their jitter; no longer, or restarts would delay a run for hours.
    let waited_ms = bench.now.since(&START);
    assert!((8 * 24_000..10 * 60_000).contains(&waited_ms), "{waited_ms}");
    // One loss, such as by a restart, costs no time.
    let mut bench = Bench::new(Creation::Running { name: name() });
    bench.answer(&TERMS, |_| Answer::Lost);
    assert_eq!(bench.run().wait.span_ms, 0);
}

#[test]
fn a_name_whose_last_attempt_was_refused_stays_watched_until_nothing_is_at_work() {
    let mut bench = Bench::new(Creation::first(name()));
    let ending = bench.until_settled(&TERMS, absent_then(Answer::Refused(Fault::transient("connection broke"))));
    assert_eq!(ending.outcome, Outcome::Failed);
    let Phase::Watching(watch) = bench.phase else { panic!("{:?}", bench.phase) };
    assert_eq!(watch.request(), Request::Describe(name()));
    let watch = watch.advance(&Answer::Described(Presence::Running), bench.now).expect("still at work");
    assert_eq!(watch.advance(&Answer::Described(Presence::Absent), bench.now), None);

    // A plain no leaves nothing behind, and is final.
    let mut bench = Bench::new(Creation::first(name()));
    bench.until_settled(&TERMS, absent_then(Answer::Refused(Fault::permanent("no key"))));
    assert_eq!((bench.phase.clone(), bench.effects()), (Phase::Waiting, 1));
}

#[test]
fn what_a_repository_asks_for_is_waited_for() {
    let mut bench = Bench::new(Creation::first(name()));
    bench.answer(&TERMS, |_| Answer::Refused(Fault { retry_after_ms: Some(1_800_000), ..Fault::busy("429") }));
    assert_eq!(bench.run().wait.span_ms, 1_800_000);
}

// ---- Traps.

#[test]
fn trap_1_spans_come_back_as_they_were_written() {
    for written in ["90m", "36h", "1h30m", "170h", "2w"] {
        assert_eq!(Span::parse(written).expect("a span").to_string(), written);
    }
}

#[test]
fn trap_2_a_failing_delete_call_ends_after_its_attempts() {
    let mut bench = Bench::new(Deletion::first());
    let ending = bench.until_settled(&terms(1, None), |request| match request {
        Request::List => Answer::Listed(listing(&["s1", "s2"])),
        Request::Describe(_) => Answer::Described(Presence::Good { message: None }),
        _ => Answer::Refused(Fault::transient("read-only")),
    });
    assert_eq!(bench.effects(), 4);
    assert_eq!(ending, Ending::new(Outcome::Failed, "failed to delete snapshot s2").because("read-only"));
}

#[test]
fn trap_3_exhaustion_keeps_message_and_cause() {
    let mut bench = Bench::new(Creation::first(name()));
    let ending = bench.until_settled(&TERMS, absent_then(Answer::Refused(Fault::transient("disk full"))));
    assert_eq!(ending, Ending::new(Outcome::Failed, "failed to create snapshot db-1").because("disk full"));

    let mut bench = Bench::new(Creation::first(name()));
    let ending = bench.until_settled(&TERMS, absent_then(Answer::Lost));
    let told = format!("{}: {}", ending.message, ending.cause.unwrap_or_default());
    expect!["failed to create snapshot db-1: asked 4 times without an answer"].assert_eq(&told);
}

#[test]
fn trap_4_a_time_limit_settles_with_a_message_so_that_its_notice_can_be_sent() {
    let mut bench = Bench::new(Creation::first(name()));
    bench.answer(&TERMS, |_| Answer::Refused(Fault::transient("connection refused")));
    bench.answer(&TERMS, |_| Answer::TimeUp);
    let ending = bench.settled.expect("settled");
    assert_eq!(ending.outcome, Outcome::TimeLimitExceeded);
    let told = format!("{}: {}", ending.message, ending.cause.unwrap_or_default());
    expect!["time limit of 1h passed while trying to look for snapshot db-1: connection refused"].assert_eq(&told);
}

#[test]
fn trap_5_after_an_outage_a_run_goes_on_within_ten_minutes() {
    for fault in [Fault::busy("cluster is red"), Fault::transient("no route to host")] {
        let mut bench = Bench::new(Creation::first(name()));
        for _ in 0..20 {
            bench.answer(&TERMS, |_| Answer::Refused(fault.clone()));
            // Were it over now, this is how long the run would still wait.
            let wait_ms = bench.run().wait.left(&bench.now);
            assert!((1..=600_000).contains(&wait_ms), "{wait_ms}");
        }
        // Twenty looks in vain took no attempt and no trigger away.
        let ending = bench.until_settled(&TERMS, |request| match request.is_effect() {
            true => Answer::Described(Presence::Good { message: None }),
            false => Answer::Described(Presence::Absent),
        });
        assert_eq!((ending.outcome, bench.effects()), (Outcome::Succeeded, 1));
    }
}

#[test]
fn trap_6_a_vanished_snapshot_is_a_failure() {
    let mut bench = Bench::new(Creation::first(name()));
    bench.answer(&TERMS, |_| Answer::Described(Presence::Absent));
    bench.answer(&TERMS, |_| Answer::Accepted);
    bench.answer(&TERMS, |_| Answer::Described(Presence::Absent));
    let vanished = Ending::new(Outcome::Failed, "snapshot db-1 vanished while it was being made");
    assert_eq!(bench.settled, Some(vanished));
}

#[test]
fn trap_6_another_policy_text_in_mid_run_does_not_change_where_a_run_asks() {
    // The run keeps the version it began with; whoever asks looks the repository up by it.
    let mut bench = Bench::new(Creation::first(name()));
    let revision = bench.run().revision.clone();
    bench.answer(&TERMS, |_| Answer::Described(Presence::Absent));
    bench.answer(&CreationTerms { partial: true }, |_| Answer::Accepted);
    assert_eq!(bench.run().revision, revision);
}

#[test]
fn trap_7_what_is_not_good_neither_satisfies_min_count_nor_fills_max_count() {
    let mut shown = listing(&["s1", "s2", "s3", "s4"]);
    shown.snapshots[0].status = snapkeep::lifecycle::snapshot::Status::Failed;
    shown.snapshots[1].status = snapkeep::lifecycle::snapshot::Status::Partial;
    let mut bench = Bench::new(Deletion::first());
    bench.answer(&terms(2, None), |_| Answer::Listed(shown));
    assert_eq!(bench.settled, Some(Ending::new(Outcome::Succeeded, "nothing to delete")));
}

#[test]
fn trap_8_with_the_new_snapshot_made_first_max_count_is_what_remains() {
    // That deletion waits for creation is the engine's; here is what it is worth.
    let remaining = |names: &[&str]| {
        let mut there = names.to_vec();
        let mut bench = Bench::new(Deletion::first());
        bench.until_settled(&terms(3, None), |request| match request {
            Request::List => Answer::Listed(listing(&there)),
            Request::Delete(target) => {
                there.retain(|name| *name != &*target.name);
                Answer::Deleted
            }
            _ => Answer::Described(Presence::Absent),
        });
        there.len()
    };
    assert_eq!(remaining(&["s0", "s1", "s2", "s3"]), 3);
}

#[test]
fn trap_13_a_max_count_of_one_is_possible() {
    let condition = Condition::new(None, Some(1), None).expect("a condition");
    assert_eq!((condition.max_count(), condition.min_count()), (Some(1), 1));
}

#[test]
fn trap_16_partial_is_a_success_exactly_where_the_policy_says_so() {
    for (partial, outcome) in [(true, Outcome::Succeeded), (false, Outcome::Failed)] {
        for step in [Creation::first(name()), Creation::Asking { name: name() }, Creation::Running { name: name() }] {
            let mut bench = Bench::new(step);
            let found = Presence::Partial { message: "2 files unreadable".to_string() };
            bench.answer(&CreationTerms { partial }, |_| Answer::Described(found));
            let ending = bench.settled.expect("settled");
            assert_eq!(ending.outcome, outcome);
            let told = format!("{} {}", ending.message, ending.cause.unwrap_or_default());
            assert!(told.contains("2 files unreadable"), "{told}");
        }
    }
}

#[test]
fn trap_18_the_time_limit_of_a_deletion_counts_from_its_beginning_and_ends_a_call_in_flight() {
    let mut bench = Bench::new(Deletion::first());
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2"])));
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2"])));
    assert_eq!(bench.run().request(), Request::Delete(target("s2")));
    let limit = bench.run().limit(&effort(3));
    assert_eq!((limit.from, limit.span_ms), (START, 3_600_000));
    let turn = bench.run().clone().advance(&terms(1, None), &effort(3), Answer::TimeUp, START.plus(3_600_000));
    let turn = turn.expect("in turn");
    assert!(turn.abandon && matches!(turn.phase, Phase::Watching(_)));
    assert_eq!(turn.settled.expect("settled").outcome, Outcome::TimeLimitExceeded);
}

#[test]
fn trap_20_a_wait_for_a_busy_repository_ends_with_the_time_limit_and_tells_why() {
    let mut bench = Bench::new(Creation::first(name()));
    let limit = bench.run().limit(&effort(3));
    let ending = loop {
        let due = bench.now.plus(bench.run().wait.left(&bench.now));
        if limit.is_over(&due) {
            bench.answer(&TERMS, |_| Answer::TimeUp);
            break bench.settled.expect("settled");
        }
        bench.answer(&TERMS, |request| match request.is_effect() {
            true => Answer::Refused(Fault::busy("snapshot of another policy is running")),
            false => Answer::Described(Presence::Absent),
        });
    };
    assert_eq!(ending.outcome, Outcome::TimeLimitExceeded);
    assert_eq!(ending.cause.as_deref(), Some("snapshot of another policy is running"));
}

#[test]
fn trap_23_trouble_that_is_over_is_not_shown() {
    let mut bench = Bench::new(Creation::Running { name: name() });
    bench.answer(&TERMS, |_| Answer::Refused(Fault::transient("reset")));
    assert_eq!(bench.run().trouble, Some(Trouble { busy: false, cause: "reset".to_string() }));
    bench.answer(&TERMS, |_| Answer::Described(Presence::Running));
    assert_eq!(bench.run().trouble, None);
}

#[test]
fn trap_24_a_max_age_below_a_second_is_exact() {
    let mut shown = listing(&["s0", "s1"]);
    shown.snapshots[0].taken_at = Some(START.wall.plus(-10));
    let condition = Condition::new(Some(Span::parse("999ms").expect("a span")), None, None).expect("a condition");
    let terms = snapkeep::lifecycle::plan::Grounds { condition, ..terms(1, None) };
    for (age_ms, message) in [(999, Some("nothing to delete")), (1000, None)] {
        shown.snapshots[1].taken_at = Some(START.wall.plus(-age_ms));
        let mut bench = Bench::new(Deletion::first());
        bench.answer(&terms, |_| Answer::Listed(shown.clone()));
        assert_eq!(bench.settled.map(|ending| ending.message).as_deref(), message);
    }
}

// ---- What else a deletion must not do.

#[test]
fn a_run_is_not_held_for_its_own_deletions() {
    let mut there: Vec<String> = (0..20).map(|age| format!("s{age}")).collect();
    let mut seen = Some(20);
    let mut bench = Bench::new(Deletion::first());
    while bench.settled.is_none() {
        let terms = terms(2, seen);
        let told = bench.facts.len();
        bench.answer(&terms, |request| match request {
            Request::List => Answer::Listed(listing(&there.iter().map(String::as_str).collect::<Vec<_>>())),
            Request::Delete(target) => {
                there.retain(|name| **name != *target.name);
                Answer::Deleted
            }
            _ => Answer::Described(Presence::Absent),
        });
        seen = seen_after(seen, &bench.facts[told..]);
    }
    assert_eq!(bench.settled.map(|ending| ending.message).as_deref(), Some("deleted 18 snapshots"));
    assert_eq!(seen, Some(2));
}

#[test]
fn a_listing_that_shrinks_in_mid_run_holds_the_run_and_says_so() {
    let mut bench = Bench::new(Deletion::first());
    bench.answer(&terms(1, Some(5)), |_| Answer::Listed(listing(&["s1", "s2", "s3", "s4", "s5"])));
    bench.answer(&terms(1, Some(5)), |_| Answer::Listed(listing(&["s1", "s5"])));
    let ending = bench.settled.expect("settled");
    assert_eq!((ending.outcome, bench.asked.len()), (Outcome::Held, 2));
    expect!["the repository lists 2 of this policy's snapshots, where it listed 5 before; if that is right, approve the plan"].assert_eq(&ending.message);
}

#[test]
fn an_intent_to_delete_is_no_permission_after_a_restart() {
    let mut bench = Bench::new(Deletion::first());
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2"])));
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2"])));
    bench.answer(&terms(1, None), |_| Answer::Lost);
    bench.answer(&terms(1, None), |_| Answer::Described(Presence::Good { message: None }));
    // The policy keeps it by then.
    bench.answer(&terms(9, None), |_| Answer::Listed(listing(&["s1", "s2"])));
    assert_eq!(bench.settled, Some(Ending::new(Outcome::Succeeded, "nothing to delete")));
}

#[test]
fn another_snapshot_under_a_condemned_name_is_spared() {
    let mut bench = Bench::new(Deletion::first());
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2"])));
    let mut changed = listing(&["s1", "s2"]);
    changed.snapshots[1].id = "another".to_string();
    bench.answer(&terms(1, None), |_| Answer::Listed(changed));
    assert!(matches!(&bench.facts[..], [Fact::Planned(_), Fact::Spared { .. }]), "{:?}", bench.facts);
    assert_eq!(bench.effects(), 0);
}

#[test]
fn a_withdrawn_deletion_finds_out_the_fate_of_one_and_deletes_no_other() {
    let withdrawn = || Answer::Withdrawn("policy removed".to_string());
    let mut bench = Bench::new(Deletion::first());
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2", "s3"])));
    bench.answer(&terms(1, None), |_| Answer::Listed(listing(&["s1", "s2", "s3"])));
    bench.answer(&terms(1, None), |_| withdrawn());
    bench.answer(&terms(1, None), |_| Answer::Deleted);
    bench.answer(&terms(1, None), |_| withdrawn());
    bench.answer(&terms(1, None), |_| Answer::Described(Presence::Absent));
    bench.answer(&terms(1, None), |_| withdrawn());
    let ending = bench.settled.expect("settled");
    assert_eq!(
        (ending.outcome, ending.message.as_str()),
        (Outcome::Cancelled, "stopped after 1 deletions: policy removed",)
    );
}
