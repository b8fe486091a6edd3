//! What every journal keeps, wherever it stores it. Each promise is a function over `open`, run on
//! the journal in memory and on the one in a file.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use snapkeep::journal::change::{
    Adoption, Audit, Begun, Change, Delivered, Delivery, DocumentKind, LoadedPolicy, Notice, OfPolicy, Owed, RunRecord,
    Settled, Skip, SkipReason, State,
};
use snapkeep::journal::record::{
    Document, HoldRecord, NoticeRecord, NoticeState, OperationEnd, OperationKind, OperationOutcome, OperationRecord,
    TokenRecord, Waiting,
};
use snapkeep::journal::{ErrorKind, Journal};
use snapkeep::lifecycle::age_lock::{AgeLock, Locked};
use snapkeep::lifecycle::creation::Creation;
use snapkeep::lifecycle::deletion::Deletion;
use snapkeep::lifecycle::hold::Hold;
use snapkeep::lifecycle::notice::{Alarm, Event, Facts};
use snapkeep::lifecycle::plan::Target;
use snapkeep::lifecycle::policy::{Revision, Switch};
use snapkeep::lifecycle::role::Role;
use snapkeep::lifecycle::snapshot::SnapshotName;
use snapkeep::lifecycle::time::{Moment, Span, Timestamp, Wait};
use snapkeep::lifecycle::workflow::{
    Cause, Ending, Kind, Outcome, Phase, Run, Step, Trigger, Trouble, Watch, Workflow,
};

/// A journal, and the directory it lives in, if it lives in one.
struct Opened {
    journal: Journal,
    _directory: Option<tempfile::TempDir>,
}

type Open = fn() -> Opened;

fn in_memory() -> Opened {
    Opened { journal: Journal::in_memory(moment(0)).expect("opened"), _directory: None }
}

fn in_file() -> Opened {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = Journal::open(directory.path(), moment(0)).expect("opened");
    Opened { journal, _directory: Some(directory) }
}

/// Runs each promise on both.
macro_rules! contract {
    ($($promise:ident),* $(,)?) => {
        mod memory { $(#[test] fn $promise() { super::$promise(super::in_memory); })* }
        mod file { $(#[test] fn $promise() { super::$promise(super::in_file); })* }
    };
}

contract!(
    a_new_journal_promises_nothing,
    any_state_comes_back_as_it_went_in,
    what_is_held_comes_back_until_it_is_released,
    a_token_comes_back_until_it_is_removed,
    what_min_age_is_locked_to_outlives_its_policy,
    a_commit_is_whole_or_nothing,
    a_version_that_is_gone_fails_the_commit,
    a_trigger_runs_once,
    a_trigger_is_consumed_by_its_own_run,
    a_run_belongs_to_a_policy_that_is_known,
    a_settled_run_cannot_settle_again,
    the_latest_runs_come_back_with_their_policy,
    the_latest_runs_come_back_whatever_was_saved_beside_them,
    a_policy_that_returns_under_its_name_inherits_nothing,
    a_policy_that_returns_under_its_uid_goes_on,
    two_living_policies_cannot_share_a_name,
    a_retired_policy_is_told_of_while_something_is_under_way,
    a_stopped_policy_stays_stopped,
    the_same_notice_twice_is_one,
    a_notice_waits_until_it_is_due_and_ends_once,
    equal_notices_gather_until_one_is_tried,
    what_was_not_heard_of_a_policy_is_superseded_by_what_is_later,
    what_a_changed_channel_refused_is_due_at_once,
    what_goes_on_is_known_until_it_is_over,
    how_a_run_ended_before_is_known,
    skips_are_summed_since_the_last_run_began,
    the_last_good_text_of_a_file_is_kept_until_it_is_forgotten,
    terms_are_kept_while_a_run_needs_them,
    chores_remember_their_latest_run,
    operations_are_under_way_until_they_end_and_the_latest_maintenance_stays,
    a_request_key_leads_to_its_run,
    what_was_seen_stays_until_it_is_replaced,
    the_latest_instant_never_goes_back,
    trimming_keeps_what_is_promised_and_what_is_latest,
    trimming_goes_in_slices,
    a_retired_policy_is_forgotten_when_nothing_of_it_is_left,
    ten_thousand_changes_are_one_commit,
);

fn a_new_journal_promises_nothing(open: Open) {
    let loaded = open().journal.load().expect("loaded");
    assert_eq!(loaded.epoch, 1);
    assert_eq!(loaded.installation.len(), 32);
    assert!(!loaded.machine_changed);
    assert!(loaded.policies.is_empty() && loaded.terms.is_empty() && loaded.chores.is_empty());
}

fn any_state_comes_back_as_it_went_in(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db")]);
    let mut version = 1;
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let states = (workflow(creation_step()), workflow(deletion_step()), proptest::option::of(any::<u32>()));
    let opened = std::cell::RefCell::new(opened);
    let versions = std::cell::RefCell::new(&mut version);
    let result = runner.run(&states, |(creation, deletion, seen)| {
        let mut opened = opened.borrow_mut();
        let mut version = versions.borrow_mut();
        let before = policy(&mut opened, "u").seen;
        commit(
            &mut opened,
            &[
                save("u", **version, State::Creation(creation.clone()), None),
                save("u", **version, State::Deletion(deletion.clone()), seen),
            ],
        );
        **version += 1;
        let policy = policy(&mut opened, "u");
        prop_assert_eq!(policy.creation, (creation, **version));
        prop_assert_eq!(policy.deletion, (deletion, **version));
        prop_assert_eq!(policy.seen, seen.or(before));
        Ok(())
    });
    result.expect("every state comes back");
}

fn a_commit_is_whole_or_nothing(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db")]);
    let before = opened.journal.load().expect("loaded");
    let changes = [
        begin("r1", "u", 10),
        Change::Audit(audit(11, "delete", "db-1", Some("r1"))),
        owed("k", 12),
        Change::Skip(skip("u", SkipReason::Missed, 3, 12)),
        Change::Document {
            kind: DocumentKind::Policy,
            name: "db".into(),
            origin: "db.toml".into(),
            text: Some("x".into()),
            at: at(13),
        },
        Change::Terms { revision: revision(), text: "t".into() },
        Change::Chore { job: "backup".into(), at: at(14), trouble: None },
        operation(1, OperationKind::Maintain, "local", 14),
        adopt("v", "web"),
        Change::Switch { policy_uid: "nobody".into(), switch: Switch::Stopped },
    ];
    assert_eq!(refusal(&mut opened, &changes), ErrorKind::Conflict);
    assert_eq!(opened.journal.load().expect("loaded"), before);
    assert!(documents(&mut opened).is_empty());
    assert!(waiting(&mut opened).is_empty());
    // All but the last are good.
    commit(&mut opened, &changes[..8]);
}

fn a_version_that_is_gone_fails_the_commit(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db")]);
    let waiting = |mark| State::Creation(Workflow { mark: at(mark), phase: Phase::Waiting });
    commit(&mut opened, &[save("u", 1, waiting(5), None)]);
    assert_eq!(refusal(&mut opened, &[save("u", 1, waiting(6), None)]), ErrorKind::Conflict);
    assert_eq!(refusal(&mut opened, &[save("u", 3, waiting(6), None)]), ErrorKind::Conflict);
    assert_eq!(refusal(&mut opened, &[save("v", 1, waiting(6), None)]), ErrorKind::Conflict);
    assert_eq!(policy(&mut opened, "u").creation.0.mark, at(5));
    // The other workflow has a version of its own.
    assert_eq!(policy(&mut opened, "u").deletion.1, 1);
    commit(&mut opened, &[save("u", 2, waiting(6), None), save("u", 3, waiting(7), None)]);
    assert_eq!(policy(&mut opened, "u").creation.1, 4);
}

fn a_trigger_runs_once(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), adopt("v", "web"), begin("r1", "u", 10)]);
    assert_eq!(refusal(&mut opened, &[begin("r2", "u", 10)]), ErrorKind::Taken);
    // Another policy, another workflow and another instant are other triggers.
    commit(&mut opened, &[begin("r3", "v", 10), begin_deletion("r4", "u", 10), begin("r5", "u", 11)]);
    // So are runs: an identity is given once.
    assert_eq!(refusal(&mut opened, &[begin("r5", "u", 12)]), ErrorKind::Taken);
    // After the run has settled and been trimmed for as long as it is the latest, too.
    commit(&mut opened, &[settle("r5", 13, Outcome::Succeeded)]);
    assert_eq!(refusal(&mut opened, &[begin("r6", "u", 11)]), ErrorKind::Taken);
}

fn a_trigger_is_consumed_by_its_own_run(open: Open) {
    let mut opened = open();
    assert!(!opened.journal.is_consumed("u", Kind::Creation, at(10)).expect("asked"));
    commit(&mut opened, &[adopt("u", "db"), adopt("v", "web"), begin("r1", "v", 30), begin("r2", "u", 10)]);
    let mut consumed =
        |policy_uid, kind, millis| opened.journal.is_consumed(policy_uid, kind, at(millis)).expect("asked");
    assert!(consumed("u", Kind::Creation, 10) && consumed("v", Kind::Creation, 30));
    // Before, between and after the triggers of all.
    for millis in [9, 20, 30, 31] {
        assert!(!consumed("u", Kind::Creation, millis), "{millis}");
    }
    assert!(!consumed("u", Kind::Deletion, 10) && !consumed("v", Kind::Creation, 10));
}

fn a_run_belongs_to_a_policy_that_is_known(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db")]);
    assert_eq!(refusal(&mut opened, &[begin("r1", "nobody", 10)]), ErrorKind::Conflict);
    commit(&mut opened, &[begin("r1", "u", 10)]);
}

fn a_settled_run_cannot_settle_again(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10), settle("r1", 20, Outcome::Failed)]);
    assert_eq!(refusal(&mut opened, &[settle("r1", 21, Outcome::Succeeded)]), ErrorKind::Conflict);
    assert_eq!(refusal(&mut opened, &[settle("r2", 21, Outcome::Succeeded)]), ErrorKind::Conflict);
    assert_eq!(policy(&mut opened, "u").last_creation.and_then(|run| run.outcome), Some(Outcome::Failed));
}

fn the_latest_runs_come_back_with_their_policy(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10), settle("r1", 11, Outcome::Succeeded)]);
    commit(&mut opened, &[begin("r2", "u", 20), settle("r2", 21, Outcome::TimeLimitExceeded)]);
    commit(&mut opened, &[begin_deletion("r3", "u", 30), settle("r3", 31, Outcome::Succeeded)]);
    let policy = policy(&mut opened, "u");
    let good = policy.last_good.expect("one was good");
    assert_eq!((&*good.run_id, good.ended_at), ("r1", Some(at(11))));
    let last = policy.last_creation.expect("one ran");
    assert_eq!((&*last.run_id, &*last.policy, &*last.policy_uid, last.kind), ("r2", "db", "u", Kind::Creation));
    assert_eq!((last.trigger_at, last.began_at, last.cause), (at(20), at(20), Cause::Schedule));
    assert_eq!((last.ended_at, last.outcome, last.attempts), (Some(at(21)), Some(Outcome::TimeLimitExceeded), 2));
    assert_eq!((last.message.as_deref(), last.blame.as_deref()), (Some("it ended"), Some("because")));
    assert_eq!(last.snapshot.as_deref(), Some("db-20-aaaaaaaa"));
    assert_eq!(policy.last_deletion.map(|run| run.run_id), Some("r3".into()));
}

fn the_latest_runs_come_back_whatever_was_saved_beside_them(open: Open) {
    let mut opened = open();
    let waiting = |mark| State::Creation(Workflow { mark: at(mark), phase: Phase::Waiting });
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10), save("u", 1, waiting(10), None)]);
    let runs = |opened: &mut Opened| {
        let policy = policy(opened, "u");
        let id = |run: Option<RunRecord>| run.map(|run| run.run_id.to_string()).unwrap_or_default();
        let version = policy.creation.1;
        format!("{} {} {} {version}", id(policy.last_creation), id(policy.last_deletion), id(policy.last_good))
    };
    assert_eq!(runs(&mut opened), "r1   2");
    // Saved after, before and twice; beside a run of the other workflow; and not at all.
    commit(&mut opened, &[settle("r1", 11, Outcome::Succeeded), save("u", 2, waiting(11), None)]);
    assert_eq!(runs(&mut opened), "r1  r1 3");
    commit(&mut opened, &[save("u", 3, waiting(20), None), begin("r2", "u", 20), begin_deletion("d1", "u", 20)]);
    assert_eq!(runs(&mut opened), "r2 d1 r1 4");
    let (first, second) = (save("u", 4, waiting(21), None), save("u", 5, waiting(22), None));
    commit(&mut opened, &[settle("r2", 21, Outcome::Succeeded), first, begin("r3", "u", 22), second]);
    assert_eq!(runs(&mut opened), "r3 d1 r2 6");
    commit(&mut opened, &[settle("r3", 23, Outcome::Failed), settle("d1", 23, Outcome::Succeeded)]);
    assert_eq!(runs(&mut opened), "r3 d1 r2 6");
    assert_eq!(refusal(&mut opened, &[begin("r4", "nobody", 30)]), ErrorKind::Conflict);
}

fn a_policy_that_returns_under_its_name_inherits_nothing(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10), settle("r1", 11, Outcome::Succeeded)]);
    commit(
        &mut opened,
        &[
            save("u", 1, State::Deletion(Workflow { mark: at(9), phase: Phase::Waiting }), Some(40)),
            Change::Switch { policy_uid: "u".into(), switch: Switch::Stopped },
            Change::Skip(skip("u", SkipReason::Overlap, 2, 12)),
        ],
    );
    commit(&mut opened, &[Change::Retire { policy_uid: "u".into(), at: at(20), seq_no: 9 }, adopt("v", "db")]);
    let loaded = opened.journal.load().expect("loaded");
    assert_eq!(loaded.policies.len(), 1);
    let fresh = policy(&mut opened, "v");
    assert_eq!((&*fresh.name, fresh.switch, fresh.retired, fresh.seen), ("db", Switch::AsWritten, false, Some(0)));
    assert_eq!((fresh.last_creation, fresh.last_good, fresh.skips), (None, None, Vec::new()));
    assert_eq!((fresh.creation.1, fresh.deletion.1), (1, 1));
    assert_eq!(
        refusal(&mut opened, &[Change::Retire { policy_uid: "u".into(), at: at(21), seq_no: 10 }]),
        ErrorKind::Conflict
    );
}

fn a_policy_that_returns_under_its_uid_goes_on(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10), settle("r1", 11, Outcome::Succeeded)]);
    let watching = watching();
    commit(&mut opened, &[save("u", 1, State::Creation(watching.clone()), None)]);
    commit(&mut opened, &[Change::Retire { policy_uid: "u".into(), at: at(20), seq_no: 9 }, adopt("u", "wiki")]);
    let policy = policy(&mut opened, "u");
    assert_eq!((&*policy.name, policy.retired), ("wiki", false));
    assert_eq!(policy.last_good.map(|run| (run.run_id, run.policy)), Some(("r1".into(), "wiki".into())));
    // What is still under way is not forgotten over it.
    assert_eq!(policy.creation, (watching, 2));
    assert_eq!(policy.deletion.1, 1);
    assert_eq!(refusal(&mut opened, &[adopt("u", "wiki")]), ErrorKind::Conflict);
}

fn two_living_policies_cannot_share_a_name(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db")]);
    assert_eq!(refusal(&mut opened, &[adopt("v", "db")]), ErrorKind::Taken);
}

fn a_retired_policy_is_told_of_while_something_is_under_way(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), save("u", 1, State::Creation(watching()), None)]);
    commit(&mut opened, &[Change::Retire { policy_uid: "u".into(), at: at(20), seq_no: 9 }]);
    assert!(policy(&mut opened, "u").retired);
    let waiting = State::Creation(Workflow { mark: at(30), phase: Phase::Waiting });
    commit(&mut opened, &[save("u", 2, waiting, None)]);
    assert!(opened.journal.load().expect("loaded").policies.is_empty());
}

fn a_stopped_policy_stays_stopped(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), Change::Switch { policy_uid: "u".into(), switch: Switch::Stopped }]);
    let next = Revision("another".into());
    commit(&mut opened, &[Change::Revise { policy_uid: "u".into(), revision: next.clone() }]);
    let stopped = policy(&mut opened, "u");
    assert_eq!((stopped.switch, stopped.revision), (Switch::Stopped, next));
    commit(&mut opened, &[Change::Switch { policy_uid: "u".into(), switch: Switch::AsWritten }]);
    assert_eq!(policy(&mut opened, "u").switch, Switch::AsWritten);
}

/// What waits for a channel: `a 0 5` is notice `a`, not yet tried, due at 5.
fn waiting(opened: &mut Opened) -> Vec<String> {
    let pending = opened.journal.notices_due("mail", at(1_000_000), 99).expect("read");
    let words = |record: &NoticeRecord| {
        let due = record.due_at.expect("it is pending").millis();
        format!("{} {} {due}", record.notice.key, record.attempts)
    };
    pending.iter().map(words).collect()
}

fn deliver(key: &str, now: i64, result: Delivered) -> Change {
    Change::Delivery(Delivery { key: key.into(), at: at(now), result })
}

fn done() -> Delivered {
    Delivered::Done { answer: "taken".into() }
}

fn the_same_notice_twice_is_one(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[owed("k", 5)]);
    let another = Notice { subject: "another".into(), ..notice("k", 6) };
    for gathers in [false, true] {
        let owed = Owed { notice: another.clone(), due_at: at(6), gathers };
        commit(&mut opened, &[Change::Owe(Box::new(owed))]);
    }
    let pending = opened.journal.notices_due("mail", at(5), 9).expect("read");
    let there: Vec<_> = pending.iter().map(|record| (&record.notice, record.count)).collect();
    assert_eq!(there, [(&notice("k", 5), 1)]);
    commit(&mut opened, &[deliver("k", 7, done()), owed("k", 8)]);
    assert!(waiting(&mut opened).is_empty());
}

fn a_notice_waits_until_it_is_due_and_ends_once(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[owed("a", 5), owed("b", 4)]);
    // In the order in which they came; what is due is told before.
    assert_eq!(waiting(&mut opened), ["a 0 5", "b 0 4"]);
    assert_eq!(opened.journal.notices_due("mail", at(5), 1).expect("read")[0].notice.key, "a".into());
    assert_eq!(opened.journal.notices_due("mail", at(4), 9).expect("read")[0].notice.key, "b".into());
    assert_eq!(opened.journal.notices_due("pager", at(9), 9).expect("read"), []);
    commit(&mut opened, &[deliver("b", 9, Delivered::Trying { again_at: at(60) })]);
    // Counted before it was made: whoever dies now comes back to one try.
    assert_eq!(waiting(&mut opened), ["a 0 5", "b 1 60"]);
    commit(&mut opened, &[deliver("b", 10, Delivered::Again { at: at(30), trouble: "refused".into() })]);
    assert_eq!(waiting(&mut opened), ["a 0 5", "b 1 30"]);
    commit(&mut opened, &[deliver("a", 31, Delivered::Undeliverable { trouble: "gone".into() })]);
    let owed_to = |opened: &mut Opened| opened.journal.notices_waiting().expect("read").remove("mail");
    let waits = Waiting { pending: 1, due_at: Some(at(30)), undeliverable: 1 };
    assert_eq!(owed_to(&mut opened), Some(waits));
    commit(&mut opened, &[deliver("b", 31, done())]);
    assert!(waiting(&mut opened).is_empty());
    // What the channel took it has; what was given up may be tried again.
    commit(&mut opened, &[deliver("b", 32, Delivered::Again { at: at(40), trouble: "late".into() })]);
    commit(&mut opened, &[deliver("a", 32, Delivered::Trying { again_at: at(50) })]);
    assert_eq!(waiting(&mut opened), ["a 1 50"]);
    assert_eq!(refusal(&mut opened, &[deliver("c", 33, done())]), ErrorKind::Conflict);
    // A person wants it again, also what was taken: the same key, from the first try on.
    let of = |opened: &mut Opened, number| opened.journal.notice(number).expect("read").expect("there");
    let numbers: Vec<u64> = (1..=2).filter(|number| *of(&mut opened, *number).notice.key == *"b").collect();
    assert_eq!(of(&mut opened, numbers[0]).answer.as_deref(), Some("taken"));
    commit(&mut opened, &[Change::Resend { number: numbers[0], at: at(70) }]);
    assert_eq!(waiting(&mut opened), ["a 1 50", "b 0 70"]);
}

/// Past a limit, or where it has to wait anyway, equal ones become one with a count.
fn equal_notices_gather_until_one_is_tried(open: Open) {
    let mut opened = open();
    let gathers = |key: &str, now: i64, change: &dyn Fn(&mut Notice)| {
        let mut notice = notice(key, now);
        change(&mut notice);
        Change::Owe(Box::new(Owed { notice, due_at: at(100), gathers: true }))
    };
    let same = |_: &mut Notice| {};
    commit(&mut opened, &[owed("alone", 1), gathers("a", 2, &same), gathers("b", 3, &same), gathers("c", 4, &same)]);
    commit(&mut opened, &[gathers("other channel", 5, &|notice| notice.channel = "pager".into())]);
    commit(&mut opened, &[gathers("other event", 5, &|notice| notice.event = Event::Stale)]);
    commit(&mut opened, &[gathers("other words", 5, &|notice| notice.subject = "deletion failed".into())]);
    commit(&mut opened, &[gathers("daemon", 5, &|notice| notice.policy = None)]);
    commit(&mut opened, &[gathers("daemon too", 6, &|notice| notice.policy = None)]);
    let counts = |opened: &mut Opened| {
        let pending = opened.journal.notices_due("mail", at(1_000_000), 99).expect("read");
        let words = |record: &NoticeRecord| {
            format!(
                "{} {}: {} to {}",
                record.notice.key,
                record.count,
                record.notice.at.millis(),
                record.latest_at.millis()
            )
        };
        pending.iter().map(words).collect::<Vec<_>>()
    };
    assert_eq!(
        counts(&mut opened),
        ["alone 1: 1 to 1", "a 3: 2 to 4", "other event 1: 5 to 5", "other words 1: 5 to 5", "daemon 2: 5 to 6"]
    );
    // What is on its way says what it says; the next begins another.
    commit(&mut opened, &[deliver("a", 101, Delivered::Trying { again_at: at(200) }), gathers("d", 102, &same)]);
    commit(&mut opened, &[gathers("d", 103, &same)]);
    assert_eq!(
        counts(&mut opened),
        [
            "alone 1: 1 to 1",
            "a 3: 2 to 4",
            "other event 1: 5 to 5",
            "other words 1: 5 to 5",
            "daemon 2: 5 to 6",
            "d 1: 102 to 102"
        ]
    );
    // What gathers was not told yet.
    let told_at = |opened: &mut Opened| {
        opened.journal.told_at("mail", Event::Failure, Some("u"), "failed", at(105)).expect("read")
    };
    assert_eq!(told_at(&mut opened), Some(at(4)));
    commit(&mut opened, &[deliver("a", 110, done())]);
    // Whatever a clock that was ahead said.
    assert_eq!(told_at(&mut opened), Some(at(105)));
}

fn what_was_not_heard_of_a_policy_is_superseded_by_what_is_later(open: Open) {
    let mut opened = open();
    let of = |key: &str, uid: &str, channel: &str| {
        let policy = Some(OfPolicy { uid: uid.into(), name: uid.into() });
        let notice = Notice { policy, channel: channel.into(), ..notice(key, 5) };
        Change::Owe(Box::new(Owed { notice, due_at: at(5), gathers: false }))
    };
    commit(&mut opened, &[of("a", "u", "mail"), of("b", "v", "mail"), of("c", "u", "pager")]);
    let supersede = Change::Supersede { channel: "mail".into(), policy_uid: "u".into(), at: at(6) };
    commit(&mut opened, &[supersede, of("d", "u", "mail")]);
    assert_eq!(waiting(&mut opened), ["b 0 5", "d 0 5"]);
    commit(&mut opened, &[deliver("a", 7, done())]);
    let record = opened.journal.notice(1).expect("read").expect("there");
    assert_eq!((record.state, record.settled_at), (NoticeState::Superseded, Some(at(6))));
}

fn what_a_changed_channel_refused_is_due_at_once(open: Open) {
    let mut opened = open();
    let again = Delivered::Again { at: at(99), trouble: "password".into() };
    commit(
        &mut opened,
        &[owed("a", 5), deliver("a", 6, Delivered::Trying { again_at: at(9) }), deliver("a", 7, again)],
    );
    let waits = Owed { notice: notice("b", 5), due_at: at(50), gathers: true };
    commit(&mut opened, &[Change::Owe(Box::new(waits)), Change::Hurry { channel: "mail".into(), at: at(8) }]);
    assert_eq!(waiting(&mut opened), ["a 1 8", "b 0 50"]);
}

fn what_goes_on_is_known_until_it_is_over(open: Open) {
    let mut opened = open();
    let alarm = |subject: &str, since| Alarm { event: Event::Stale, subject: subject.into(), since: at(since) };
    commit(&mut opened, &[Change::Raise(alarm("u", 5)), Change::Raise(alarm("v", 6)), Change::Raise(alarm("u", 7))]);
    assert_eq!(opened.journal.load().expect("loaded").alarms, [alarm("u", 5), alarm("v", 6)]);
    commit(&mut opened, &[Change::Clear { event: Event::Stale, subject: "u".into() }]);
    commit(&mut opened, &[Change::Clear { event: Event::Clock, subject: "v".into() }]);
    assert_eq!(opened.journal.load().expect("loaded").alarms, [alarm("v", 6)]);
}

fn how_a_run_ended_before_is_known(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db")]);
    let last = |opened: &mut Opened| opened.journal.last_outcome("u", Kind::Creation, at(100)).expect("read");
    assert_eq!(last(&mut opened), None);
    for (number, outcome, expected) in [
        (1, Outcome::Failed, Outcome::Failed),
        (2, Outcome::Cancelled, Outcome::Failed),
        (3, Outcome::Succeeded, Outcome::Succeeded),
        (4, Outcome::TimeLimitExceeded, Outcome::TimeLimitExceeded),
    ] {
        let run = format!("r{number}");
        commit(&mut opened, &[begin(&run, "u", 10 * number), settle(&run, 10 * number + 1, outcome)]);
        assert_eq!(last(&mut opened), Some(expected));
    }
    commit(&mut opened, &[begin("open", "u", 99)]);
    assert_eq!(last(&mut opened), Some(Outcome::TimeLimitExceeded));
}

fn skips_are_summed_since_the_last_run_began(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), Change::Skip(skip("u", SkipReason::Watched, 4, 5))]);
    // Recorded with the beginning of a run: it is what the run makes up for.
    commit(&mut opened, &[Change::Skip(skip("u", SkipReason::Missed, 7, 10)), begin("r1", "u", 10)]);
    commit(&mut opened, &[Change::Skip(skip("u", SkipReason::Overlap, 1, 20))]);
    commit(&mut opened, &[Change::Skip(skip("u", SkipReason::Overlap, 2, 30))]);
    let skips = policy(&mut opened, "u").skips;
    let expected = [skip("u", SkipReason::Missed, 7, 10), Skip { count: 3, ..skip("u", SkipReason::Overlap, 2, 30) }];
    assert_eq!(skips, expected);
    // Deletion's are its own.
    let deletions = Skip { kind: Kind::Deletion, ..skip("u", SkipReason::Overlap, 1, 40) };
    commit(&mut opened, &[Change::Skip(deletions.clone()), begin("r2", "u", 50)]);
    assert_eq!(policy(&mut opened, "u").skips, [deletions]);
}

fn the_last_good_text_of_a_file_is_kept_until_it_is_forgotten(open: Open) {
    let mut opened = open();
    let document = |kind, name: &str, text: Option<&str>| Change::Document {
        kind,
        name: name.into(),
        origin: format!("{name}.toml").into(),
        text: text.map(Into::into),
        at: at(1),
    };
    commit(&mut opened, &[document(DocumentKind::Policy, "db", Some("one"))]);
    commit(&mut opened, &[document(DocumentKind::Policy, "db", Some("two"))]);
    commit(&mut opened, &[document(DocumentKind::Channel, "db", Some("mail"))]);
    let found = opened.journal.document(DocumentKind::Policy, "db").expect("read").expect("there");
    assert_eq!((&*found.text, &*found.origin, found.at), ("two", "db.toml", at(1)));
    let all = documents(&mut opened);
    assert_eq!(all.iter().map(|document| &*document.text).collect::<Vec<_>>(), ["mail", "two"]);
    commit(&mut opened, &[document(DocumentKind::Policy, "db", None), document(DocumentKind::Policy, "x", None)]);
    assert_eq!(opened.journal.document(DocumentKind::Policy, "db").expect("read"), None);
    assert_eq!(documents(&mut opened).len(), 1);
}

fn terms_are_kept_while_a_run_needs_them(open: Open) {
    let mut opened = open();
    let terms = |revision: &str| Change::Terms { revision: Revision(revision.into()), text: "text".into() };
    commit(&mut opened, &[adopt("u", "db"), terms("r"), terms("unused")]);
    commit(&mut opened, &[terms("r"), save("u", 1, State::Creation(watching()), None)]);
    let kept = |opened: &mut Opened| opened.journal.load().expect("loaded").terms;
    assert_eq!(kept(&mut opened), BTreeMap::from([(revision(), "text".into())]));
    opened.journal.trim(at(0), 1000).expect("trimmed");
    assert_eq!(kept(&mut opened), BTreeMap::from([(revision(), "text".into())]));
    let waiting = State::Creation(Workflow { mark: at(30), phase: Phase::Waiting });
    commit(&mut opened, &[save("u", 2, waiting, None)]);
    assert!(kept(&mut opened).is_empty());
}

fn chores_remember_their_latest_run(open: Open) {
    let mut opened = open();
    let chore = |now, trouble: Option<&str>| Change::Chore {
        job: "backup".into(),
        at: at(now),
        trouble: trouble.map(Into::into),
    };
    commit(&mut opened, &[chore(1, None), chore(2, Some("no space"))]);
    let chores = opened.journal.load().expect("loaded").chores;
    assert_eq!(chores, [("backup".into(), at(2), Some("no space".to_string()))]);
}

fn what_is_held_comes_back_until_it_is_released(open: Open) {
    let mut opened = open();
    let record = |repository: &str, snapshot: &str, until: Option<i64>, compliance: bool| HoldRecord {
        repository: repository.into(),
        snapshot: snapshot.into(),
        policy_uid: compliance.then(|| "u".into()),
        hold: Hold { until: until.map(at), compliance, made_at: at(5), reason: "lawyers' \"case\"".into() },
        who: "uid:0".into(),
    };
    let (first, second) = (record("local", "db-1", Some(10), true), record("local", "Weekly, by hand", None, false));
    let other = record("other", "db-1", None, false);
    commit(&mut opened, &[first.clone(), second.clone(), other.clone()].map(Change::Hold));
    let longer = record("local", "db-1", None, true);
    commit(&mut opened, &[Change::Hold(longer.clone())]);
    let held = |opened: &mut Opened| opened.journal.load().expect("loaded").holds;
    assert_eq!(held(&mut opened), [second.clone(), longer, other.clone()]);
    let release = |repository: &str| Change::Release { repository: repository.into(), snapshot: "db-1".into() };
    commit(&mut opened, &[release("local")]);
    assert_eq!(refusal(&mut opened, &[release("local")]), ErrorKind::Conflict);
    // However long ago all of it was: who is to decide what holds no more is the engine, by a clock it believes.
    opened.journal.trim(at(i64::MAX), 1_000).expect("trimmed");
    assert_eq!(held(&mut opened), [second, other]);
}

fn a_token_comes_back_until_it_is_removed(open: Open) {
    let mut opened = open();
    let token = |id: &str, name: &str, role: Role, expires: Option<i64>| TokenRecord {
        id: id.into(),
        name: name.into(),
        role,
        hash: [7; 32],
        created_at: at(5),
        created_by: "uid:0".into(),
        expires_at: expires.map(at),
        last_used_at: None,
    };
    let (first, second) = (token("1", "grafana", Role::Viewer, None), token("2", "deploy", Role::Admin, Some(10)));
    commit(&mut opened, &[second.clone(), first.clone()].map(Change::AddToken));
    let living = |opened: &mut Opened| opened.journal.load().expect("loaded").tokens;
    assert_eq!(living(&mut opened), [first.clone(), second.clone()]);
    for taken in [token("1", "other", Role::Viewer, None), token("3", "deploy", Role::Viewer, None)] {
        assert_eq!(refusal(&mut opened, &[Change::AddToken(taken)]), ErrorKind::Taken);
    }
    commit(&mut opened, &[Change::UseToken { id: "1".into(), at: at(8) }]);
    let used = TokenRecord { last_used_at: Some(at(8)), ..first };
    assert_eq!(living(&mut opened), [used.clone(), second]);
    let remove = || [Change::RemoveToken { id: "2".into(), at: at(9) }];
    commit(&mut opened, &remove());
    assert_eq!(refusal(&mut opened, &remove()), ErrorKind::Conflict);
    assert_eq!(refusal(&mut opened, &[Change::UseToken { id: "2".into(), at: at(9) }]), ErrorKind::Conflict);
    // Its name is free again, its id never.
    let again = token("4", "deploy", Role::Operator, None);
    commit(&mut opened, &[Change::AddToken(again.clone())]);
    assert_eq!(living(&mut opened), [used.clone(), again.clone()]);
    // Only what was removed is history.
    assert_eq!(opened.journal.trim(at(99), 1_000).expect("trimmed"), 1);
    assert_eq!(living(&mut opened), [used, again]);
}

fn what_min_age_is_locked_to_outlives_its_policy(open: Open) {
    let mut opened = open();
    let locked = |days: i64, since: i64| Locked { min_age: Span::from_millis(days * 86_400_000), since: at(since) };
    let lock =
        |uid: &str, steps: &[Locked]| Change::LockAge { policy_uid: uid.into(), lock: AgeLock::of(steps.to_vec()) };
    commit(&mut opened, &[adopt("u", "db"), lock("u", &[locked(7, 1), locked(30, 2)]), lock("gone", &[locked(9, 3)])]);
    let retire = Change::Retire { policy_uid: "u".into(), at: at(4), seq_no: 1 };
    commit(&mut opened, &[lock("u", &[locked(30, 2)]), lock("gone", &[]), retire]);
    opened.journal.trim(at(i64::MAX), 1_000).expect("trimmed");
    let locks = opened.journal.load().expect("loaded").age_locks;
    assert_eq!((locks.of("u").steps(), locks.of("gone").steps()), (&[locked(30, 2)][..], &[][..]));
}

fn operation(number: u64, kind: OperationKind, subject: &str, began: i64) -> Change {
    let (subject, who) = (subject.into(), "uid:0".into());
    Change::BeginOperation(OperationRecord { number, kind, subject, who, began_at: at(began), end: None })
}

fn ended(number: u64, outcome: OperationOutcome, now: i64) -> Change {
    Change::EndOperation { number, end: OperationEnd { at: at(now), outcome, message: "so".into() } }
}

fn operations_are_under_way_until_they_end_and_the_latest_maintenance_stays(open: Open) {
    let mut opened = open();
    let loaded = opened.journal.load().expect("loaded");
    assert_eq!((loaded.latest_operation, loaded.operations.len(), loaded.maintenance.len()), (0, 0, 0));
    commit(&mut opened, &[operation(1, OperationKind::Maintain, "local", 1), ended(1, OperationOutcome::Failed, 2)]);
    commit(&mut opened, &[operation(2, OperationKind::Maintain, "local", 3)]);
    commit(&mut opened, &[ended(2, OperationOutcome::Succeeded, 4), operation(3, OperationKind::Verify, "db-1", 5)]);
    commit(&mut opened, &[operation(4, OperationKind::Maintain, "other", 6)]);
    assert_eq!(refusal(&mut opened, &[operation(4, OperationKind::Verify, "db-2", 7)]), ErrorKind::Taken);
    assert_eq!(refusal(&mut opened, &[ended(2, OperationOutcome::Failed, 7)]), ErrorKind::Conflict);
    let numbers = |records: &[OperationRecord]| records.iter().map(|record| record.number).collect::<Vec<_>>();
    let loaded = opened.journal.load().expect("loaded");
    assert_eq!((loaded.latest_operation, numbers(&loaded.operations)), (4, vec![3, 4]));
    assert_eq!(numbers(&loaded.maintenance), [2, 4]);
    let end = loaded.maintenance[0].end.clone().expect("it ended");
    assert_eq!((end.at, end.outcome, &*end.message), (at(4), OperationOutcome::Succeeded, "so"));

    commit(&mut opened, &[ended(3, OperationOutcome::Interrupted, 8), ended(4, OperationOutcome::Succeeded, 8)]);
    commit(&mut opened, &[operation(5, OperationKind::Verify, "db-1", 9), ended(5, OperationOutcome::Failed, 9)]);
    let again = [operation(6, OperationKind::Maintain, "local", 10), ended(6, OperationOutcome::Interrupted, 11)];
    commit(&mut opened, &again);
    commit(&mut opened, &[operation(7, OperationKind::Verify, "db-1", 12), ended(7, OperationOutcome::Failed, 12)]);
    // What goes is what was superseded: 1 by 2, and verifications; what was only cut off takes nothing's
    // place, and the last number stays for the next one.
    assert_eq!(opened.journal.trim(at(99), 1000).expect("trimmed"), 3);
    let loaded = opened.journal.load().expect("loaded");
    assert_eq!((loaded.latest_operation, numbers(&loaded.maintenance)), (7, vec![2, 4, 6]));
}

fn a_request_key_leads_to_its_run(open: Open) {
    let mut opened = open();
    let asked = |run: &str, trigger_at| {
        let Change::Begin(begun) = begin(run, "u", trigger_at) else { unreachable!() };
        let trigger = Trigger { at: at(trigger_at), cause: Cause::Manual };
        Change::Begin(Begun { request_key: Some("key".into()), trigger, ..begun })
    };
    commit(&mut opened, &[adopt("u", "db")]);
    assert_eq!(opened.journal.run_of_request("key").expect("read"), None);
    commit(&mut opened, &[asked("r1", 10)]);
    let run = opened.journal.run_of_request("key").expect("read").expect("there");
    assert_eq!((&*run.run_id, run.cause), ("r1", Cause::Manual));
    assert_eq!(refusal(&mut opened, &[asked("r2", 11)]), ErrorKind::Taken);
}

fn what_was_seen_stays_until_it_is_replaced(open: Open) {
    let mut opened = open();
    let deletion = || State::Deletion(Workflow { mark: at(1), phase: Phase::Waiting });
    commit(&mut opened, &[adopt("u", "db"), save("u", 1, deletion(), Some(30))]);
    commit(&mut opened, &[save("u", 2, deletion(), None)]);
    assert_eq!(policy(&mut opened, "u").seen, Some(30));
    commit(&mut opened, &[save("u", 3, deletion(), Some(0))]);
    assert_eq!(policy(&mut opened, "u").seen, Some(0));
}

fn the_latest_instant_never_goes_back(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[Change::Audit(audit(900, "run", "db", None))]);
    commit(&mut opened, &[Change::Audit(audit(100, "run", "db", None)), adopt("u", "db")]);
    assert_eq!(opened.journal.load().expect("loaded").latest_at, at(900));
}

fn trimming_keeps_what_is_promised_and_what_is_latest(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), adopt("v", "web")]);
    for n in 0..10 {
        let (run, now) = (format!("r{n}"), 10 * n);
        let outcome = if n == 4 { Outcome::Succeeded } else { Outcome::Failed };
        commit(&mut opened, &[begin(&run, "u", now), settle(&run, now + 1, outcome)]);
        commit(&mut opened, &[Change::Audit(audit(now, "delete", "x", None))]);
        commit(&mut opened, &[Change::Skip(skip("u", SkipReason::Overlap, 1, now))]);
    }
    commit(&mut opened, &[begin("open", "v", 7)]);
    commit(&mut opened, &[owed("waits", 1), owed("done", 1)]);
    commit(&mut opened, &[deliver("done", 2, done())]);
    let before = opened.journal.load().expect("loaded");
    while opened.journal.trim(at(1000), 3).expect("trimmed") > 0 {}
    let after = opened.journal.load().expect("loaded");
    for (before, after) in before.policies.iter().zip(&after.policies) {
        assert_eq!(before.last_creation, after.last_creation);
        assert_eq!(before.last_good, after.last_good);
        assert_eq!(before.creation, after.creation);
    }
    assert_eq!(after.policies[0].last_good.as_ref().map(|run| &*run.run_id), Some("r4"));
    // The run under way is still there to settle, and the notice that waits to be delivered.
    commit(&mut opened, &[settle("open", 2000, Outcome::Succeeded)]);
    assert_eq!(waiting(&mut opened).len(), 1);
    // A run that is gone leaves its trigger to the mark.
    commit(&mut opened, &[begin("again", "u", 0)]);
}

fn trimming_goes_in_slices(open: Open) {
    let mut opened = open();
    let records: Vec<_> = (0..100).map(|n| Change::Audit(audit(n, "delete", "x", None))).collect();
    commit(&mut opened, &records);
    assert_eq!(opened.journal.trim(at(50), 30).expect("trimmed"), 30);
    assert_eq!(opened.journal.trim(at(50), 30).expect("trimmed"), 20);
    assert_eq!(opened.journal.trim(at(50), 30).expect("trimmed"), 0);
    // The newest stays, so that its number is not given twice.
    assert_eq!(opened.journal.trim(at(5000), 1000).expect("trimmed"), 49);
}

fn a_retired_policy_is_forgotten_when_nothing_of_it_is_left(open: Open) {
    let mut opened = open();
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10), settle("r1", 11, Outcome::Succeeded)]);
    commit(&mut opened, &[adopt("v", "web"), begin("r2", "v", 10), settle("r2", 11, Outcome::Succeeded)]);
    commit(&mut opened, &[Change::Retire { policy_uid: "u".into(), at: at(20), seq_no: 9 }]);
    // Its latest run stays while it has only just gone.
    assert_eq!(opened.journal.trim(at(15), 1000).expect("trimmed"), 0);
    // A run, a policy with both workflows, and what was counted of it.
    assert_eq!(opened.journal.trim(at(30), 1000).expect("trimmed"), 5);
    // As if it had never been: its uid is free.
    commit(&mut opened, &[adopt("u", "db"), begin("r1", "u", 10)]);
    assert_eq!(policy(&mut opened, "v").last_good.map(|run| run.run_id), Some("r2".into()));
}

fn ten_thousand_changes_are_one_commit(open: Open) {
    let mut opened = open();
    let mut changes = Vec::new();
    for n in 0..2_500 {
        let (uid, run) = (format!("u{n}"), format!("r{n}"));
        changes.extend([adopt(&uid, &uid), begin(&run, &uid, 10), settle(&run, 11, Outcome::Succeeded)]);
        changes.push(owed(&run, 12));
    }
    commit(&mut opened, &changes);
    let loaded = opened.journal.load().expect("loaded");
    assert_eq!(loaded.policies.len(), 2_500);
    assert!(loaded.policies.iter().all(|policy| policy.last_good.is_some()));
}

fn commit(opened: &mut Opened, changes: &[Change]) {
    opened.journal.commit(changes).expect("committed");
}

fn refusal(opened: &mut Opened, changes: &[Change]) -> ErrorKind {
    opened.journal.commit(changes).expect_err("refused").kind()
}

fn policy(opened: &mut Opened, policy_uid: &str) -> LoadedPolicy {
    let policies = opened.journal.load().expect("loaded").policies;
    policies.into_iter().find(|policy| *policy.policy_uid == *policy_uid).expect("the policy is known")
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn moment(millis: i64) -> Moment {
    Moment { wall: at(millis), boot: 1, uptime: millis }
}

fn revision() -> Revision {
    Revision("r".into())
}

fn adopt(policy_uid: &str, name: &str) -> Change {
    Change::Adopt(Adoption {
        policy_uid: policy_uid.into(),
        name: name.into(),
        revision: revision(),
        at: at(1),
        seq_no: 3,
        creation: Workflow { mark: at(1), phase: Phase::Waiting },
        deletion: Workflow { mark: at(1), phase: Phase::Waiting },
    })
}

fn save(policy_uid: &str, version: u64, state: State, seen: Option<u32>) -> Change {
    Change::Save { policy_uid: policy_uid.into(), version, state, seen }
}

fn begin(run_id: &str, policy_uid: &str, trigger_at: i64) -> Change {
    Change::Begin(Begun {
        run_id: run_id.into(),
        policy_uid: policy_uid.into(),
        kind: Kind::Creation,
        trigger: Trigger { at: at(trigger_at), cause: Cause::Schedule },
        revision: revision(),
        at: moment(trigger_at),
        snapshot: Some(format!("db-{trigger_at}-aaaaaaaa").into()),
        request_key: None,
    })
}

fn begin_deletion(run_id: &str, policy_uid: &str, trigger_at: i64) -> Change {
    let Change::Begin(begun) = begin(run_id, policy_uid, trigger_at) else { unreachable!() };
    Change::Begin(Begun { kind: Kind::Deletion, snapshot: None, ..begun })
}

fn settle(run_id: &str, now: i64, outcome: Outcome) -> Change {
    let ending = Ending::new(outcome, "it ended").because("because");
    Change::Settle(Settled { run_id: run_id.into(), at: at(now), ending, attempts: 2 })
}

fn skip(policy_uid: &str, reason: SkipReason, count: u64, now: i64) -> Skip {
    let (first, last) = (at(now - count as i64), at(now));
    Skip { policy_uid: policy_uid.into(), kind: Kind::Creation, reason, count, first, last, at: at(now) }
}

fn audit(now: i64, what: &str, subject: &str, run_id: Option<&str>) -> Audit {
    Audit {
        at: at(now),
        who: "engine".into(),
        what: what.into(),
        subject: subject.into(),
        detail: "older than max_age".into(),
        run_id: run_id.map(Into::into),
        before: None,
        after: None,
        answer: None,
        request: None,
    }
}

fn notice(key: &str, now: i64) -> Notice {
    let policy = Some(OfPolicy { uid: "u".into(), name: "db".into() });
    Notice {
        key: key.into(),
        policy,
        run_id: None,
        event: Event::Failure,
        channel: "mail".into(),
        subject: "failed".into(),
        facts: Facts { what: "failed to".into(), ..Facts::default() },
        at: at(now),
    }
}

/// That it is owed, at once.
fn owed(key: &str, now: i64) -> Change {
    Change::Owe(Box::new(Owed { notice: notice(key, now), due_at: at(now), gathers: false }))
}

fn documents(opened: &mut Opened) -> Vec<Document> {
    let mut all = Vec::new();
    opened.journal.each_document(&mut |document| all.push(document)).expect("read");
    all
}

fn watching() -> Workflow<Creation> {
    Workflow {
        mark: at(3),
        phase: Phase::Watching(Box::new(Watch {
            name: SnapshotName::new("db-1").expect("a name"),
            revision: revision(),
            began: moment(3),
            cancel: true,
            asked: 2,
            wait: Wait::none(moment(4)),
        })),
    }
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn any_moment() -> impl Strategy<Value = Moment> {
    (timestamp(), any::<u64>(), any::<i64>()).prop_map(|(wall, boot, uptime)| Moment { wall, boot, uptime })
}

fn wait() -> impl Strategy<Value = Wait> {
    (any_moment(), any::<i64>()).prop_map(|(from, span_ms)| Wait { from, span_ms })
}

fn name() -> impl Strategy<Value = SnapshotName> {
    "[a-z0-9][a-z0-9._:-]{0,40}".prop_filter_map("a name", |text| SnapshotName::new(&text).ok())
}

fn target() -> impl Strategy<Value = Target> {
    (any::<String>(), any::<String>(), proptest::option::of(timestamp())).prop_map(|(name, id, taken_at)| Target {
        name: name.into(),
        id: id.into(),
        taken_at,
    })
}

fn creation_step() -> impl Strategy<Value = Creation> {
    (name(), 0..3).prop_map(|(name, which)| match which {
        0 => Creation::Looking { name },
        1 => Creation::Asking { name },
        _ => Creation::Running { name },
    })
}

fn deletion_step() -> impl Strategy<Value = Deletion> {
    let targets = proptest::collection::vec(target(), 0..4);
    (target(), targets, any::<u32>(), any::<bool>(), 0..4).prop_map(|(target, condemned, deleted, doubt, which)| {
        match which {
            0 => Deletion::Planning { deleted },
            1 => Deletion::Rechecking { condemned, deleted },
            2 => Deletion::Deleting { target, condemned, deleted },
            _ => Deletion::Confirming { target, condemned, deleted, doubt },
        }
    })
}

fn workflow<S: Step + 'static>(step: impl Strategy<Value = S> + 'static) -> BoxedStrategy<Workflow<S>> {
    let trouble = (any::<bool>(), any::<String>()).prop_map(|(busy, cause)| Trouble { busy, cause });
    let cause = prop_oneof![Just(Cause::Schedule), Just(Cause::CatchUp), Just(Cause::Manual)];
    let trigger = (timestamp(), cause).prop_map(|(at, cause)| Trigger { at, cause });
    let counts = (any::<u32>(), any::<u32>());
    let run =
        ("[a-z0-9]{1,20}", trigger, any_moment(), any::<String>(), step, counts, proptest::option::of(trouble), wait())
            .prop_map(|(id, trigger, began, revision, step, (attempts, failures), trouble, wait)| {
                let revision = Revision(revision.into());
                let run = Run { id: id.into(), trigger, began, revision, step, attempts, failures, trouble, wait };
                Phase::Active(Box::new(run))
            });
    let watch = (name(), any::<String>(), any_moment(), any::<bool>(), any::<u32>(), wait()).prop_map(
        |(name, revision, began, cancel, asked, wait)| {
            let revision = Revision(revision.into());
            Phase::Watching(Box::new(Watch { name, revision, began, cancel, asked, wait }))
        },
    );
    let phase = prop_oneof![1 => Just(Phase::Waiting), 4 => run, 2 => watch];
    (timestamp(), phase).prop_map(|(mark, phase)| Workflow { mark, phase }).boxed()
}
