//! The laws of retention (R1–R7), for listings made up at random, and equality with OpenSearch's
//! rule wherever that rule knows all there is to know.

use std::collections::BTreeSet;

use proptest::prelude::*;
use snapkeep::lifecycle::plan::{Grounds, Guard, Plan};
use snapkeep::lifecycle::policy::Condition;
use snapkeep::lifecycle::retention::{AHEAD_MAX_MS, judge};
use snapkeep::lifecycle::snapshot::{Listing, Snapshot, Status, label};
use snapkeep::lifecycle::time::{Span, Timestamp};

use super::{FIRST, NOW, at, owner, snapshot};

const HOUR: i64 = 3_600_000;

/// Conditions of a few hours and a few snapshots, so that every boundary is met often.
fn conditions() -> impl Strategy<Value = Condition> {
    (proptest::option::of(1..24i64), proptest::option::of(1..8u32), 1..8u32).prop_filter_map(
        "a condition that makes sense",
        |(max_age, max_count, min_count)| {
            let max_age = max_age.map(|hours| Span::from_millis(hours * HOUR));
            Condition::new(max_age, max_count, Some(min_count)).ok()
        },
    )
}

/// Whole hours, and a millisecond to either side of them.
fn ages() -> impl Strategy<Value = i64> {
    (0..30i64, -1..=1i64).prop_map(|(hours, off)| hours * HOUR + off)
}

/// Good, datable, own snapshots, named so that name and age go different ways.
fn plain_listings() -> impl Strategy<Value = Vec<Snapshot>> {
    proptest::collection::vec((ages(), 0..100u32), 0..16).prop_map(|drawn| {
        let name = |index: usize, number: u32| format!("{number:02}-{index:02}");
        let all = drawn.into_iter().enumerate();
        all.map(|(index, (age, number))| snapshot(&name(index, number), Status::Good, Some(NOW.plus(-age)))).collect()
    })
}

/// Anything a repository may show, now and then the same identity twice.
fn any_listings() -> impl Strategy<Value = Vec<Snapshot>> {
    let status = prop_oneof![
        6 => Just(Status::Good),
        1 => Just(Status::Partial),
        2 => Just(Status::Failed),
        1 => Just(Status::Running),
    ];
    let taken_at = prop_oneof![
        10 => ages().prop_map(|age| Some(NOW.plus(-age))),
        1 => (-1..=1i64).prop_map(|off| Some(NOW.plus(AHEAD_MAX_MS + off))),
        1 => Just(Some(Timestamp::from_millis(i64::MAX))),
        1 => prop_oneof![Just(None), Just(Some(Timestamp::EPOCH)), Just(Some(Timestamp::from_millis(i64::MIN)))],
    ];
    let whose = 0..12u8;
    let in_use = proptest::bool::weighted(0.1);
    let twice = proptest::option::weighted(0.05, any::<prop::sample::Index>());
    proptest::collection::vec((status, taken_at, whose, in_use, twice, 0..100u32), 0..16).prop_map(|drawn| {
        let mut all: Vec<Snapshot> = Vec::new();
        for (index, (status, taken_at, whose, in_use, twice, number)) in drawn.into_iter().enumerate() {
            let mut one = snapshot(&format!("{number:02}-{index:02}"), status, taken_at);
            one.in_use = in_use.then(|| "a clone".to_string());
            match whose {
                0 => one.labels.clear(),
                1 => drop(one.labels.insert(label::POLICY_UID.into(), "uid-web".into())),
                2 => drop(one.labels.insert(label::INSTALLATION.into(), "garage".into())),
                _ => {}
            }
            if let (Some(twice), false) = (twice, all.is_empty()) {
                one.id = twice.get(&all).id.clone();
            }
            all.push(one);
        }
        all
    })
}

/// Returns the places of what is condemned.
fn condemned(condition: &Condition, snapshots: &[Snapshot], now: Timestamp) -> BTreeSet<usize> {
    let verdicts = judge(&owner(), condition, snapshots, now);
    verdicts.iter().enumerate().filter(|(_, verdict)| verdict.is_condemned()).map(|(index, _)| index).collect()
}

/// Whether a snapshot may count, told without the rule's own help.
fn counts(snapshots: &[Snapshot], index: usize) -> bool {
    let one = &snapshots[index];
    one.status == Status::Good
        && owns(one)
        && one.taken_at.is_some_and(|at| at.millis() > 0 && at.millis() <= NOW.millis() + 300_000)
        && snapshots.iter().filter(|other| other.id == one.id).count() == 1
}

fn owns(snapshot: &Snapshot) -> bool {
    let label = |key: &str| snapshot.labels.get(key).map(String::as_str);
    label("snapkeep_installation") == Some("house") && label("snapkeep_policy_uid") == Some("uid-db")
}

/// OpenSearch's rule, as its code has it, but for whole milliseconds.
fn opensearch(condition: &Condition, snapshots: &[Snapshot]) -> BTreeSet<usize> {
    let mut order: Vec<usize> = (0..snapshots.len()).collect();
    order.sort_by_key(|index| (snapshots[*index].taken_at, &snapshots[*index].name));
    let (all, mut gone) = (order.len(), 0);
    if let Some(max_age) = condition.max_age() {
        let limit = NOW.plus(-max_age.millis());
        gone = order.iter().filter(|index| snapshots[**index].taken_at.unwrap() < limit).count();
        if all - gone < condition.min_count() as usize {
            gone = all.saturating_sub(condition.min_count() as usize);
        }
    }
    if let Some(max_count) = condition.max_count() {
        gone = gone.max(all.saturating_sub(max_count as usize));
    }
    order.into_iter().take(gone).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn where_all_are_own_good_and_datable_the_set_is_opensearchs(
        condition in conditions(),
        snapshots in plain_listings(),
    ) {
        prop_assert_eq!(condemned(&condition, &snapshots, NOW), opensearch(&condition, &snapshots));
    }

    #[test]
    fn r1_a_verdict_does_not_depend_on_the_order_of_the_listing(
        condition in conditions(),
        (snapshots, shuffled) in any_listings().prop_flat_map(|listing| (Just(listing.clone()), Just(listing).prop_shuffle())),
    ) {
        // Entries of one identity may be alike, so compare all of them, sorted.
        let told = |snapshots: &[Snapshot]| {
            let verdicts = judge(&owner(), &condition, snapshots, NOW);
            let mut told: Vec<String> = snapshots.iter().zip(&verdicts).map(|told| format!("{told:?}")).collect();
            told.sort();
            told
        };
        prop_assert_eq!(told(&snapshots), told(&shuffled));
        let plan = |snapshots: &[Snapshot]| {
            let listing = Listing { snapshots: snapshots.to_vec() };
            Plan::make(&Grounds::plain(owner(), condition.clone(), Some(0), at(NOW)), &listing, FIRST, NOW)
        };
        let (plan, other) = (plan(&snapshots), plan(&shuffled));
        prop_assert_eq!(plan.condemned(), other.condemned());
        prop_assert_eq!(plan.own, other.own);
        let oldest_first = plan.condemned().windows(2).all(|pair| pair[0].taken_at <= pair[1].taken_at);
        prop_assert!(oldest_first);
    }

    #[test]
    fn r2_and_r3_min_count_good_ones_stay_and_the_newest_among_them(
        condition in conditions(),
        snapshots in any_listings(),
    ) {
        let gone = condemned(&condition, &snapshots, NOW);
        let good: Vec<usize> = (0..snapshots.len()).filter(|index| counts(&snapshots, *index)).collect();
        let left = good.iter().filter(|index| !gone.contains(*index)).count();
        prop_assert!(left >= good.len().min(condition.min_count() as usize));
        let newest = good.iter().max_by_key(|index| (snapshots[**index].taken_at, &snapshots[**index].name));
        prop_assert!(newest.is_none_or(|newest| !gone.contains(newest)));
    }

    #[test]
    fn max_count_is_what_remains_unless_something_else_protects_it(
        condition in conditions(),
        snapshots in any_listings(),
    ) {
        let gone = condemned(&condition, &snapshots, NOW);
        if let Some(max_count) = condition.max_count() {
            let left = (0..snapshots.len())
                .filter(|index| counts(&snapshots, *index) && !gone.contains(index) && snapshots[*index].in_use.is_none());
            prop_assert!(left.count() <= max_count as usize);
        }
    }

    #[test]
    fn r4_what_is_condemned_stays_condemned_as_time_passes(
        condition in conditions(),
        snapshots in any_listings(),
        later in 0..40 * HOUR,
    ) {
        let before = condemned(&condition, &snapshots, NOW);
        prop_assert!(before.is_subset(&condemned(&condition, &snapshots, NOW.plus(later))));
    }

    #[test]
    fn r5_one_more_snapshot_condemns_no_more_than_the_one_it_displaces(
        condition in conditions(),
        mut snapshots in any_listings(),
        more in any_listings(),
    ) {
        let Some(one) = more.into_iter().next() else { return Ok(()) };
        let before = condemned(&condition, &snapshots, NOW);
        snapshots.push(one);
        let last = snapshots.len() - 1;
        let after = condemned(&condition, &snapshots, NOW);
        let newly: Vec<usize> = after.difference(&before).copied().collect();
        let newly_good = newly.iter().filter(|index| snapshots[**index].status == Status::Good).count();
        prop_assert!(newly_good <= 1, "{newly:?}");
        if !counts(&snapshots, last) {
            prop_assert!(newly.iter().all(|index| *index == last), "{newly:?}");
        }
    }

    #[test]
    fn r6_what_is_unknown_foreign_ahead_in_use_or_doubled_is_never_condemned(
        condition in conditions(),
        snapshots in any_listings(),
    ) {
        for index in condemned(&condition, &snapshots, NOW) {
            let one = &snapshots[index];
            prop_assert!(owns(one) && one.in_use.is_none() && one.status != Status::Running);
            prop_assert!(one.taken_at.is_some_and(|at| at.millis() > 0 && at <= NOW.plus(300_000)));
            prop_assert_eq!(snapshots.iter().filter(|other| other.id == one.id).count(), 1);
            if one.status != Status::Good {
                let newer = (0..snapshots.len()).any(|other| counts(&snapshots, other) && snapshots[other].taken_at > one.taken_at);
                prop_assert!(newer);
            }
        }
    }

    #[test]
    fn r7_a_listing_that_lost_more_than_half_condemns_nothing(
        condition in conditions(),
        snapshots in any_listings(),
        seen in 0..40u32,
    ) {
        let grounds = Grounds::plain(owner(), condition, Some(seen), at(NOW));
        let plan = Plan::make(&grounds, &Listing { snapshots }, FIRST, NOW);
        prop_assert_eq!(plan.held.iter().any(|held| held.guard() == Guard::Shrunk), plan.own * 2 < seen);
        prop_assert!(!plan.is_held() || plan.condemned().is_empty());
    }

    #[test]
    fn what_is_not_ours_changes_nothing_for_ours(
        condition in conditions(),
        snapshots in any_listings(),
    ) {
        let own: Vec<Snapshot> = snapshots.iter().filter(|one| owns(one)).cloned().collect();
        let told = |snapshots: &[Snapshot]| -> BTreeSet<String> {
            condemned(&condition, snapshots, NOW).into_iter().map(|index| snapshots[index].name.clone()).collect()
        };
        // A foreign one that bears the id of ours only takes ours out of the game.
        let shared = snapshots.iter().filter(|one| !owns(one)).any(|one| own.iter().any(|ours| ours.id == one.id));
        if !shared {
            prop_assert_eq!(told(&own), told(&snapshots));
        }
    }
}
