//! Incidents that a guard of the whole plan answers, at the planner.

use std::sync::Arc;

use snapkeep::lifecycle::plan::{Former, Freshness, Grounds, Guard, Held, LastGood, Look, Plan};
use snapkeep::lifecycle::policy::{CatchUp, CreationRule, OnOverlap, Pace};
use snapkeep::lifecycle::schedule::Schedule;
use snapkeep::lifecycle::snapshot::Listing;
use snapkeep::lifecycle::time::{Moment, Span, Timestamp};
use snapkeep::lifecycle::trust::Trust;

use super::{FIRST, NOW, at, condition, listing, names, owner};

const DAY: i64 = 86_400_000;

fn grounds(rule: &str) -> Grounds {
    // Nothing was made since the last deletion, which was a moment ago.
    Grounds { cleared_at: NOW, ..Grounds::plain(owner(), condition(rule), Some(0), at(NOW)) }
}

fn shown(snapshots: &str) -> Listing {
    Listing { snapshots: listing(snapshots).into_iter().map(|(_, snapshot)| snapshot).collect() }
}

fn plan(grounds: &Grounds, snapshots: &str) -> Plan {
    Plan::make(grounds, &shown(snapshots), FIRST, NOW)
}

fn guards(plan: &Plan) -> Vec<Guard> {
    plan.held.iter().map(Held::guard).collect()
}

#[test]
fn unisuper_everything_at_once_waits_for_a_person() {
    let held = plan(&grounds("max_age = 5d"), "1d..40d");
    assert_eq!((guards(&held), held.condemned().len()), (vec![Guard::Brake], 0));
    assert_eq!(held.held, [Held::Brake { condemned: 35, own: 40, made: 0, limit: 10 }]);
}

#[test]
fn the_brake_is_the_largest_of_three_numbers() {
    for (snapshots, rule, made_since, is_held) in [
        // Three are always free.
        ("1d..4d", "max_count = 1", "0", false),
        ("1d..5d", "max_count = 1", "0", true),
        // A quarter, rounded down.
        ("1d..20d", "max_count = 15", "0", false),
        ("1d..20d", "max_count = 14", "0", true),
        ("1d..23d", "max_count = 18", "0", false),
        ("1d..23d", "max_count = 17", "0", true),
        // One and a half times what was made since: four, so six.
        ("1d..10d", "max_count = 4", "5d", false),
        ("1d..10d", "max_count = 3", "5d", true),
        // Failed ones are no loss, and nothing made.
        ("1d, F 2d, F 3d, F 4d, F 5d, F 6d", "max_count = 1", "0", false),
        ("1d, P 2d, P 3d, P 4d, P 5d", "max_count = 1", "0", true),
    ] {
        let since = if made_since == "0" { NOW } else { NOW.plus(-Span::parse(made_since).unwrap().millis()) };
        let grounds = Grounds { cleared_at: since, ..grounds(rule) };
        assert_eq!(guards(&plan(&grounds, snapshots)).contains(&Guard::Brake), is_held, "{snapshots} {rule}");
    }
}

#[test]
fn what_a_run_has_deleted_before_a_doubt_counts_for_its_brake() {
    let grounds = grounds("max_count = 15");
    let five = plan(&grounds, "1d..20d");
    assert_eq!(guards(&five), []);
    let again = Plan::make(&grounds, &shown("1d..18d"), Look::First { deleted: 2 }, NOW);
    assert_eq!(guards(&again), [], "three are left of five");
    let more = Plan::make(&grounds, &shown("1d..20d"), Look::First { deleted: 2 }, NOW);
    assert_eq!(guards(&more), [Guard::Brake], "the listing shows other ones, and five more would be seven");
    let before_each = Plan::make(&grounds, &shown("1d..40d"), Look::Again, NOW);
    assert_eq!(guards(&before_each), [], "what the plan allowed bounds it");
}

#[test]
fn trinity_1644_a_mistyped_window_waits_for_a_person() {
    // Thirty days were meant, and three were written, where an ordinary flow would have hidden it.
    let former = Some(Former::Condition(condition("max_age = 30d")));
    let edited = Grounds { former, cleared_at: NOW.plus(-30 * DAY), ..grounds("max_age = 3d") };
    let held = plan(&edited, "1d..30d");
    assert_eq!(held.held, [Held::Edit { newly: 27, limit: 7 }]);
    let free = Grounds { former: Some(Former::Condition(condition("max_age = 26d"))), ..grounds("max_age = 25d") };
    assert_eq!(names(&plan(&free, "1d..26d")), "z");
}

#[test]
fn velero_7242_nothing_expires_while_none_are_made() {
    let creation = |expression: &str| {
        let zone = snapkeep::lifecycle::zone::Zone::utc();
        let pace = Pace {
            schedule: Schedule::cron(expression, zone).expect("a schedule"),
            time_limit: Span::parse("1h").expect("a span"),
            catch_up: CatchUp::Never,
            on_overlap: OnOverlap::Skip,
            retry_count: 0,
        };
        Arc::new(CreationRule { pace, partial: false, stale_after: Span::from_millis(Span::MILLIS_MAX) })
    };
    // NOW is 02:00; the schedule is due at 01:00.
    for (snapshots, last_good, goes) in [
        ("1h, 25h, 8d", None, true),
        ("25h, 8d, 9d", None, true),
        ("49h, 8d, 9d", None, false),
        ("30d, 31d, 32d", None, false),
        // A run that took a day and ended just now with `a` is not late.
        ("49h, 8d, 9d", Some(("a", NOW)), true),
        // One whose snapshot is not there says nothing, and one that ended in a wrong future neither.
        ("49h, 8d, 9d", Some(("gone", NOW)), false),
        ("49h, 8d, 9d", Some(("a", NOW.plus(30 * DAY))), false),
    ] {
        let last_good = last_good.map(|(name, ended_at)| LastGood { snapshot: name.into(), ended_at });
        let freshness = Some(Freshness { creation: creation("0 1 * * *"), last_good });
        let grounds = Grounds { freshness, ..grounds("max_age = 7d") };
        let plan = plan(&grounds, snapshots);
        assert_eq!((plan.is_held(), !plan.condemned().is_empty()), (false, goes), "{snapshots}");
        assert_eq!(plan.spared().is_some(), !goes);
        // What goes for its place is replaced by another.
        let counted = Grounds { condition: condition("max_count = 2"), ..grounds.clone() };
        assert_eq!(Plan::make(&counted, &shown(snapshots), FIRST, NOW).condemned().len(), 1, "{snapshots}");
    }
}

/// The clock as a daemon sees it that was up since noon of the day before.
fn since_yesterday(now: Timestamp, synchronised: bool) -> Grounds {
    let start = Moment { wall: NOW.plus(-DAY), boot: 1, uptime: 1_000 };
    let now = Moment { wall: now, boot: 1, uptime: 1_000 + DAY };
    let trust = Trust::first(start, synchronised).look(now, synchronised);
    let mut grounds = grounds("max_age = 7d");
    grounds.cleared_at = Timestamp::EPOCH;
    grounds.clock.trust = trust;
    grounds.clock.now = now;
    grounds
}

#[test]
fn usno_2012_time_servers_that_say_2000_delete_nothing() {
    // The kernel is synchronised all the while: with servers that are wrong.
    let back = Timestamp::from_seconds(946_684_800);
    for (now, goes) in [(NOW, true), (back, false), (NOW.plus(3650 * DAY), false)] {
        let grounds = since_yesterday(now, true);
        let plan = Plan::make(&grounds, &shown("1d..9d"), FIRST, now);
        assert_eq!(!plan.condemned().is_empty(), goes, "{now}");
        assert_eq!(guards(&plan).contains(&Guard::Clock), !goes, "{now}");
    }
}

#[test]
fn systemd_16347_a_machine_that_starts_years_ahead_deletes_nothing() {
    let down = Moment { wall: NOW, boot: 1, uptime: DAY };
    for (ahead, synchronised, goes) in [(DAY, false, true), (3650 * DAY, false, false), (-3650 * DAY, true, false)] {
        let now = Moment { wall: NOW.plus(ahead), boot: 2, uptime: 10_000 };
        let mut grounds = grounds("max_age = 7d");
        grounds.cleared_at = Timestamp::EPOCH;
        grounds.clock.trust = Trust::first(down, true).look(now, synchronised);
        grounds.clock.now = now;
        let plan = Plan::make(&grounds, &shown("1d..9d"), FIRST, now.wall);
        assert_eq!(!plan.condemned().is_empty(), goes, "{ahead}");
    }
}

#[test]
fn an_approval_covers_the_guards_that_were_shown_and_no_other() {
    let braked = grounds("max_age = 5d");
    let first = plan(&braked, "1d..40d");
    let approved = Grounds { approval: Some(Arc::new(first.approval(3))), ..braked.clone() };
    // Ten more have come that nobody has seen.
    let carried = plan(&approved, "1d..50d");
    assert_eq!((carried.is_held(), carried.condemned().len()), (false, 35));
    assert!(carried.spared().is_some_and(|spared| spared.contains("not by plan 3")));
    // The policy keeps more by then.
    let softened = Grounds { condition: condition("max_age = 20d"), ..approved.clone() };
    assert_eq!(plan(&softened, "1d..40d").condemned().len(), 20);
    // The clock is thrown meanwhile, or half of the listing is gone.
    let mut thrown = approved.clone();
    thrown.clock.now = Moment { wall: NOW.plus(3650 * DAY), ..thrown.clock.now };
    thrown.clock.trust = thrown.clock.trust.look(thrown.clock.now, true);
    assert_eq!(guards(&plan(&thrown, "1d..40d")), [Guard::Clock]);
    let shrunk = Grounds { seen: Some(100), ..approved };
    assert_eq!(guards(&plan(&shrunk, "1d..40d")), [Guard::Shrunk]);
}
