//! The laws of retention for conditions with keep rules and `min_age`, all of them on each of a million
//! cases made by seed, and a second, slower telling of the whole rule that must agree on every verdict.
//!
//! `SNAPKEEP_LAWS=N` tries N cases instead, `SNAPKEEP_LAWS_FROM=SEED` begins at another seed.
//!
//! With keep rules three laws are weaker than without, all of them on account of `max_count`, which counts
//! places among what thinning left: where thinning leaves one more or one less, another goes or stays.
//!
//! - R4: what is condemned stays condemned as time passes. But once something that was dated ahead begins to
//!   count, what was beyond `max_count` may stay.
//! - R5: one more good snapshot condemns at most one for each rule that counts, one for `min_count` and one for
//!   `max_count`; where it is the newest also what falls out of `within`. One less condemns nothing but by
//!   `max_count`.
//! - A larger limit condemns nothing more, but a keep rule or `min_count` may by `max_count`.

use chrono::{DateTime, Datelike, Offset, TimeZone, Timelike};
use snapkeep::config::zone;
use snapkeep::lifecycle::keep_rules::{Every, KeepRules};
use snapkeep::lifecycle::plan::{Grounds, Guard, Plan};
use snapkeep::lifecycle::policy::{Condition, Limits};
use snapkeep::lifecycle::retention::{Condemn, Hold, Keep, Until, Verdict, judge};
use snapkeep::lifecycle::snapshot::{Listing, Snapshot, Status, label};
use snapkeep::lifecycle::time::{Span, Timestamp};
use snapkeep::lifecycle::zone::Zone;

use super::{FIRST, at, owner, snapshot};
use crate::support::dice::Dice;

const CASES: u64 = 1_000_000;
const SNAPSHOTS_MAX: usize = 10;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Shortly after something that a calendar may get wrong: the clock set on and back in Berlin and on Lord Howe
/// Island, a new year in the middle of a week, a leap day, a quarter's end.
const NOWS: [i64; 8] = [
    1_774_749_600_000,
    1_761_447_600_000,
    1_743_868_800_000,
    1_767_250_800_000,
    1_609_470_000_000,
    1_709_262_000_000,
    1_751_335_200_000,
    1_772_330_400_000,
];

const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"];

/// What is made once: a snapshot has a dozen texts in it.
struct Bench {
    zones: Vec<(Zone, chrono_tz::Tz)>,
    spare: Vec<Snapshot>,
}

struct Case {
    now: Timestamp,
    limits: Limits,
    zone: usize,
    /// Each knows its place by its size.
    snapshots: Vec<Snapshot>,
    /// Another one.
    more: Snapshot,
}

fn draw(dice: &mut Dice, bench: &mut Bench) -> Case {
    let now = Timestamp::from_millis(NOWS[dice.below(NOWS.len() as u64) as usize] + dice.below(3) as i64 * HOUR);
    let steps = [20 * MINUTE, HOUR, 7 * HOUR, DAY, 3 * DAY, 8 * DAY, 40 * DAY, 120 * DAY];
    let step = steps[dice.below(8) as usize];
    let span = |dice: &mut Dice| Span::from_millis((1 + dice.below(8) as i64) * step);
    let number = |dice: &mut Dice| 1 + dice.below(4) as u32;
    let mut limits = Limits {
        max_age: dice.chance(35).then(|| span(dice)),
        max_count: dice.chance(35).then(|| number(dice)),
        min_count: dice.chance(50).then(|| number(dice)),
        min_age: dice.chance(25).then(|| span(dice)),
        keep: None,
    };
    let zone = dice.below(ZONES.len() as u64) as usize;
    if dice.chance(85) {
        let mut counts: Vec<(Every, u32)> = Vec::new();
        for every in Every::ALL {
            if dice.chance(30) {
                counts.push((every, number(dice)));
            }
        }
        let within = dice.chance(25).then(|| span(dice));
        limits.keep = KeepRules::new(&counts, within, bench.zones[zone].0.clone()).ok();
    }
    if limits.max_age.is_none() && limits.max_count.is_none() && limits.keep.is_none() {
        limits.max_age = Some(span(dice));
    }
    // What a policy could not say is said a little less.
    if limits.max_count.is_some_and(|max_count| limits.min_count.is_some_and(|min_count| min_count > max_count)) {
        limits.max_count = limits.min_count;
    }
    if let (Some(max_age), Some(min_age)) = (&limits.max_age, &limits.min_age)
        && min_age.millis() > max_age.millis()
    {
        limits.max_age = limits.min_age.clone();
    }
    let count = dice.below(SNAPSHOTS_MAX as u64 + 1) as usize;
    let mut snapshots: Vec<Snapshot> = bench.spare.drain(..=count).collect();
    for index in 0..=count {
        redraw(dice, &mut snapshots, index, now, step);
    }
    let more = snapshots.pop().expect("one more than the count");
    Case { now, limits, zone, snapshots, more }
}

fn redraw(dice: &mut Dice, snapshots: &mut [Snapshot], index: usize, now: Timestamp, step: i64) {
    let throw = dice.next();
    let age = dice.below(12) as i64 * step;
    let taken_at = match throw % 64 {
        0 => None,
        1 => Some(Timestamp::EPOCH),
        2 | 3 => Some(now.plus(300_000 + (throw >> 8) as i64 % 3 - 1)),
        4 => Some(now.plus(10 * DAY)),
        5..24 => Some(now.plus(-age - (throw >> 8) as i64 % step)),
        _ => Some(now.plus(-age + (throw >> 8) as i64 % 3 - 1)),
    };
    let twin = (throw >> 32).is_multiple_of(40).then(|| dice.below(index as u64 + 1) as usize);
    let twin = twin.filter(|twin| *twin < index).map(|twin| snapshots[twin].id.clone());
    let one = &mut snapshots[index];
    one.taken_at = taken_at;
    one.status = match (throw >> 16) % 16 {
        0 => Status::Partial,
        1 | 2 => Status::Failed,
        3 => Status::Running,
        _ => Status::Good,
    };
    one.size_bytes = Some(index as u64);
    // Names and ages go different ways.
    one.name.clear();
    one.name.push((b'a' + (throw >> 24) as u8 % 16).into());
    one.name.push((b'a' + index as u8).into());
    one.id.clear();
    match twin {
        Some(id) => one.id.push_str(&id),
        None => one.id.push((b'a' + index as u8).into()),
    }
    one.in_use = (throw >> 40).is_multiple_of(12).then(|| "a clone".to_string());
    let whose = if (throw >> 48).is_multiple_of(24) { "uid-web" } else { "uid-db" };
    let label = one.labels.get_mut(label::POLICY_UID).expect("stamped");
    label.clear();
    label.push_str(whose);
}

// ---- The rule told a second time: slowly, each snapshot for itself, by another library's calendar.

fn is_own(one: &Snapshot) -> bool {
    one.labels[label::POLICY_UID] == "uid-db"
}

fn is_alone(all: &[Snapshot], one: &Snapshot) -> bool {
    all.iter().filter(|other| other.id == one.id).count() == 1
}

fn is_dated(one: &Snapshot, now: Timestamp) -> bool {
    one.taken_at.is_some_and(|at| at.millis() > 0 && at.millis() - now.millis() <= 300_000)
}

fn counts(all: &[Snapshot], one: &Snapshot, now: Timestamp) -> bool {
    one.status == Status::Good && is_own(one) && is_alone(all, one) && is_dated(one, now)
}

/// Whether `one` is newer than `other`.
fn is_newer(one: &Snapshot, other: &Snapshot) -> bool {
    (one.taken_at, &one.name) > (other.taken_at, &other.name)
}

fn bucket(every: Every, one: &Snapshot, zone: chrono_tz::Tz) -> (i64, i64, i64) {
    let utc = DateTime::from_timestamp_millis(one.taken_at.expect("dated").millis()).expect("in range");
    let local = zone.from_utc_datetime(&utc.naive_utc());
    let (year, month) = (i64::from(local.year()), i64::from(local.month0()));
    match every {
        Every::Snapshot => {
            (utc.timestamp_millis(), i64::from(one.name.as_bytes()[0]), i64::from(one.name.as_bytes()[1]))
        }
        Every::Hour => {
            let offset = i64::from(local.offset().fix().local_minus_utc());
            (year * 1_000 + i64::from(local.ordinal()), i64::from(local.hour()), offset)
        }
        Every::Day => (year, i64::from(local.ordinal()), 0),
        Every::Week => (i64::from(local.iso_week().year()), i64::from(local.iso_week().week()), 0),
        Every::Month => (year, month, 0),
        Every::Quarter => (year, month / 3, 0),
        Every::Year => (year, 0, 0),
    }
}

/// Returns what holds `one`, given the good ones that are newer and those that are older.
fn holds(
    rules: &KeepRules,
    zone: chrono_tz::Tz,
    one: &Snapshot,
    good: &[&Snapshot],
    is_newer_good: impl Fn(&Snapshot) -> bool,
) -> Vec<Hold> {
    let mut holds = Vec::new();
    let is_good = one.status == Status::Good;
    for (every, count) in rules.counts() {
        let buckets = |which: &dyn Fn(&Snapshot) -> bool| {
            let mut all: Vec<_> =
                good.iter().filter(|other| which(other)).map(|other| bucket(every, other, zone)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let newer = buckets(&is_newer_good);
        let mut all = newer.len() as u32;
        if !newer.contains(&bucket(every, one, zone)) {
            all += 1;
            if all <= count {
                holds.push(Hold::Place { every, place: all, count });
                continue;
            }
        }
        let is_oldest = is_good && good.iter().all(|other| other.name == one.name || is_newer_good(other));
        if is_oldest && all < count {
            holds.push(Hold::Oldest { every, filled: all, count });
        }
    }
    let newest = good.iter().map(|other| other.taken_at.expect("dated")).max();
    if let (Some(within), Some(newest)) = (rules.within(), newest)
        && newest.since(one.taken_at.expect("dated")) < within.millis()
    {
        holds.push(Hold::Within(within.clone()));
    }
    holds
}

fn oracle(case: &Case, zone: chrono_tz::Tz) -> Vec<Verdict> {
    let (all, now, limits) = (&case.snapshots, case.now, &case.limits);
    let min_count = limits.min_count.unwrap_or(1);
    let good: Vec<&Snapshot> = all.iter().filter(|one| counts(all, one, now)).collect();
    let newer_than = |one: &Snapshot| {
        let (status, at, name) = (one.status, one.taken_at, one.name.clone());
        move |other: &Snapshot| match status {
            Status::Good => (other.taken_at, &other.name) > (at, &name),
            _ => other.taken_at > at,
        }
    };
    let held = |one: &Snapshot| limits.keep.as_ref().map(|rules| holds(rules, zone, one, &good, newer_than(one)));
    // What has a place: held by a rule or protected by min_count; without rules every good one.
    let with_place: Vec<&Snapshot> = good
        .iter()
        .copied()
        .filter(|one| {
            let newer = good.iter().filter(|other| is_newer(other, one)).count();
            newer < min_count as usize || held(one).is_none_or(|holds| !holds.is_empty())
        })
        .collect();
    let judge_one = |one: &Snapshot| {
        if !is_own(one)
            || !is_alone(all, one)
            || one.status == Status::Running
            || one.in_use.is_some()
            || !is_dated(one, now)
        {
            return None;
        }
        let age_ms = now.since(one.taken_at.expect("dated")).max(0);
        let newer = good.iter().filter(|other| newer_than(one)(other)).count() as u32;
        let places = with_place.iter().filter(|other| newer_than(one)(other)).count() as u32;
        let is_young = limits.min_age.as_ref().filter(|min_age| age_ms < min_age.millis());
        let is_old = limits.max_age.as_ref().filter(|max_age| age_ms > max_age.millis());
        let beyond = limits.max_count.filter(|max_count| places >= *max_count);
        let holds = held(one);
        let until = |until| Some(Verdict::Keep(Keep::FailedButRecent { age_ms, until }));
        let is_good = one.status == Status::Good;
        match (is_good, newer, is_young, holds, is_old, beyond) {
            (true, 0, ..) => Some(Verdict::Keep(Keep::NewestGood)),
            (false, 0, ..) => until(Until::NewerGood),
            (true, newer, ..) if newer < min_count => {
                Some(Verdict::Keep(Keep::Minimum { place: newer + 1, min_count }))
            }
            (true, _, Some(min_age), ..) => {
                Some(Verdict::Keep(Keep::YoungerThanMinAge { age_ms, min_age: min_age.clone() }))
            }
            (false, _, Some(min_age), ..) => until(Until::MinAge(min_age.clone())),
            (true, _, _, Some(holds), ..) if holds.is_empty() => Some(Verdict::Condemn(Condemn::Thinned)),
            (false, _, _, Some(holds), ..) if holds.is_empty() => Some(Verdict::Condemn(Condemn::FailedAndThinned)),
            (true, _, _, _, Some(max_age), _) => {
                Some(Verdict::Condemn(Condemn::OlderThanMaxAge { age_ms, max_age: max_age.clone() }))
            }
            (false, _, _, _, Some(max_age), _) => {
                Some(Verdict::Condemn(Condemn::FailedAndOld { age_ms, max_age: max_age.clone() }))
            }
            (true, _, _, Some(_), _, Some(max_count)) => {
                Some(Verdict::Condemn(Condemn::HeldBeyondMaxCount { place: places + 1, max_count }))
            }
            (true, _, _, None, _, Some(max_count)) => {
                Some(Verdict::Condemn(Condemn::BeyondMaxCount { place: places + 1, max_count }))
            }
            (false, _, _, _, _, Some(max_count)) if limits.max_age.is_none() => {
                Some(Verdict::Condemn(Condemn::FailedAndReplaced { newer: places, max_count }))
            }
            (true, _, _, Some(holds), ..) => Some(Verdict::Keep(Keep::Rules(holds.into()))),
            (true, newer, ..) => Some(Verdict::Keep(Keep::WithinCondition { age_ms, place: newer + 1 })),
            (false, _, _, Some(holds), ..) => until(Until::Rule(holds[0].clone().into())),
            (false, ..) => match (&limits.max_age, limits.max_count) {
                (Some(max_age), _) => until(Until::MaxAge(max_age.clone())),
                (None, Some(max_count)) => until(Until::MaxCount { newer: places, max_count }),
                (None, None) => until(Until::NewerGood),
            },
        }
    };
    // What is protected whatever the rule says is told apart by its status alone.
    let protected = || Verdict::Keep(Keep::Running);
    all.iter().map(|one| judge_one(one).unwrap_or_else(protected)).collect()
}

/// Puts what is protected whatever the rule says under one word.
fn plain(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Keep(
            Keep::Foreign(_) | Keep::Ambiguous { .. } | Keep::InUse { .. } | Keep::Undatable | Keep::FutureDated { .. },
        ) => Verdict::Keep(Keep::Running),
        other => other.clone(),
    }
}

// ---- The laws.

/// Returns by place what is condemned.
fn condemned(condition: &Condition, snapshots: &[Snapshot], now: Timestamp) -> [Option<Verdict>; SNAPSHOTS_MAX + 1] {
    let mut found = [const { None }; SNAPSHOTS_MAX + 1];
    for (one, verdict) in snapshots.iter().zip(judge(&owner(), condition, snapshots, now)) {
        found[one.size_bytes.expect("its place") as usize] = Some(verdict).filter(Verdict::is_condemned);
    }
    found
}

fn is_by_count(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Condemn(
            Condemn::BeyondMaxCount { .. } | Condemn::HeldBeyondMaxCount { .. } | Condemn::FailedAndReplaced { .. }
        )
    )
}

fn is_thinned(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Condemn(Condemn::Thinned | Condemn::FailedAndThinned))
}

fn check(dice: &mut Dice, case: &mut Case, tz: chrono_tz::Tz) {
    let condition = Condition::of(case.limits.clone()).expect("a condition");
    let (now, limits) = (case.now, case.limits.clone());
    let has_rules = limits.keep.is_some();
    let verdicts = judge(&owner(), &condition, &case.snapshots, now);
    let before = condemned(&condition, &case.snapshots, now);
    let gone = |index: usize| before[index].is_some();
    let all = &case.snapshots;
    let good: Vec<usize> = (0..all.len()).filter(|index| counts(all, &all[*index], now)).collect();

    let told: Vec<Verdict> = verdicts.iter().map(plain).collect();
    assert_eq!(told, oracle(case, tz), "the rule told twice");

    // R2, R3: min_count good ones stay, the newest among them. What is young stays.
    let stay = good.iter().filter(|index| !gone(**index)).count();
    assert!(stay >= good.len().min(condition.min_count() as usize), "R2");
    let newest = good.iter().copied().max_by_key(|index| (all[*index].taken_at, &all[*index].name));
    assert!(newest.is_none_or(|newest| !gone(newest)), "R3");
    for (index, one) in all.iter().enumerate().filter(|(index, _)| gone(*index)) {
        // R6: what is unknown, foreign, ahead, in use or doubled is never condemned.
        assert!(is_own(one) && is_alone(all, one) && is_dated(one, now) && one.in_use.is_none(), "R6: {index}");
        assert_ne!(one.status, Status::Running, "R6: {index}");
        let is_last = !good.iter().any(|other| all[*other].taken_at > one.taken_at);
        assert!(one.status == Status::Good || !is_last, "R6: {index}");
        let age = now.since(one.taken_at.expect("dated"));
        assert!(limits.min_age.as_ref().is_none_or(|min_age| age >= min_age.millis()), "min_age: {index}");
    }
    // No more stay than max_count, but for what stays for a while.
    if let Some(max_count) = limits.max_count {
        let lasts = |index: &&usize| {
            let age = now.since(all[**index].taken_at.expect("dated")).max(0);
            let is_young = limits.min_age.as_ref().is_some_and(|min_age| age < min_age.millis());
            !gone(**index) && all[**index].in_use.is_none() && !is_young
        };
        assert!(good.iter().filter(lasts).count() <= max_count as usize, "max_count");
    }

    // R7: a listing that lost more than half condemns nothing.
    let seen = dice.below(12) as u32;
    let grounds = Grounds::plain(owner(), condition.clone(), Some(seen), at(now));
    let listing = Listing { snapshots: std::mem::take(&mut case.snapshots) };
    let plan = Plan::make(&grounds, &listing, FIRST, now);
    case.snapshots = listing.snapshots;
    assert_eq!(plan.held.iter().any(|held| held.guard() == Guard::Shrunk), plan.own * 2 < seen, "R7");
    assert!(!plan.is_held() || plan.condemned().is_empty(), "R7");

    // The order PROTECT, THIN, MAX_AGE, MAX_COUNT: no stage knows of a later one.
    if has_rules {
        let thin = Limits { max_age: None, max_count: None, ..limits.clone() };
        let thin = condemned(&Condition::of(thin).expect("a condition"), &case.snapshots, now);
        for (index, thin) in thin.iter().enumerate() {
            assert_eq!(thin.as_ref(), before[index].as_ref().filter(|verdict| is_thinned(verdict)), "order: {index}");
        }
    }
    if limits.max_count.is_some() && (has_rules || limits.max_age.is_some()) {
        let aged = Limits { max_count: None, ..limits.clone() };
        let aged = condemned(&Condition::of(aged).expect("a condition"), &case.snapshots, now);
        for (index, aged) in aged.iter().enumerate() {
            let other = before[index].as_ref().filter(|verdict| !is_by_count(verdict));
            assert_eq!(aged.as_ref(), other, "order: {index}");
        }
    }

    // R4: what is condemned stays condemned as time passes.
    let later = now.plus(dice.below(5 * DAY as u64) as i64);
    let then = condemned(&condition, &case.snapshots, later);
    let all = &case.snapshots;
    let begins_to_count = all.iter().any(|one| counts(all, one, later) && !counts(all, one, now));
    for (index, verdict) in before.iter().enumerate() {
        if let Some(verdict) = verdict {
            let may_stay = has_rules && begins_to_count && is_by_count(verdict);
            assert!(then[index].is_some() || may_stay, "R4: {index}");
        }
    }

    // A larger limit condemns nothing more.
    let (larger, by_count) = enlarge(dice, &limits);
    if let Some(larger) = larger {
        let then = condemned(&Condition::of(larger).expect("a condition"), &case.snapshots, now);
        for (index, verdict) in then.iter().enumerate() {
            if let (Some(verdict), None) = (verdict, &before[index]) {
                assert!(by_count && is_by_count(verdict), "larger: {index} {verdict:?}");
            }
        }
    }

    one_more(dice, case, &condition, &before);

    // R1: the order of the listing means nothing.
    for index in (1..case.snapshots.len()).rev() {
        case.snapshots.swap(index, dice.below(index as u64 + 1) as usize);
    }
    for (one, verdict) in case.snapshots.iter().zip(judge(&owner(), &condition, &case.snapshots, now)) {
        let index = one.size_bytes.expect("its place") as usize;
        assert_eq!(verdict, verdicts[index], "R1: {index}");
    }

    // However far a run came, what it would leave is not condemned then; at its end nothing is.
    let is_whole = dice.chance(50);
    let is_left = |one: &Snapshot, dice: &mut Dice| {
        before[one.size_bytes.expect("its place") as usize].is_none() || !is_whole && dice.chance(50)
    };
    let mut left = 0;
    for index in 0..case.snapshots.len() {
        if is_left(&case.snapshots[index], dice) {
            case.snapshots.swap(left, index);
            left += 1;
        }
    }
    let then = condemned(&condition, &case.snapshots[..left], now);
    assert!(then.iter().zip(&before).all(|(then, before)| then.is_none() || before.is_some() && !is_whole), "again");
}

/// Returns the condition with one limit larger, and whether that may take a place of `max_count`.
fn enlarge(dice: &mut Dice, limits: &Limits) -> (Option<Limits>, bool) {
    let mut larger = limits.clone();
    let has_rules = limits.keep.is_some();
    let more = |span: &mut Option<Span>| *span = span.take().map(|span| Span::from_millis(span.millis() * 2));
    match dice.below(5) {
        0 => more(&mut larger.max_age),
        1 => larger.max_count = larger.max_count.map(|count| count + 1),
        2 => {
            larger.min_count = Some(larger.min_count.unwrap_or(1) + 1);
            if larger.max_count.is_some_and(|max_count| max_count < larger.min_count.unwrap_or(1)) {
                return (None, false);
            }
            return (Some(larger), has_rules);
        }
        3 => {
            more(&mut larger.min_age);
            if larger.max_age.is_some() {
                more(&mut larger.max_age);
            }
        }
        _ => {
            let Some(rules) = &limits.keep else { return (None, false) };
            let counts: Vec<(Every, u32)> =
                rules.counts().map(|(every, count)| (every, count + dice.below(2) as u32)).collect();
            let mut within = rules.within().cloned();
            more(&mut within);
            larger.keep = KeepRules::new(&counts, within, rules.zone().clone()).ok();
            return (Some(larger), true);
        }
    }
    (Some(larger), false)
}

/// R5.
fn one_more(dice: &mut Dice, case: &mut Case, condition: &Condition, before: &[Option<Verdict>; SNAPSHOTS_MAX + 1]) {
    let now = case.now;
    let more = std::mem::replace(&mut case.more, snapshot("", Status::Good, None));
    let more_index = more.size_bytes.expect("its place") as usize;
    case.snapshots.push(more);
    let all = &case.snapshots;
    let more = all.last().expect("just pushed");
    let after = condemned(condition, all, now);
    let newly: Vec<usize> = (0..=SNAPSHOTS_MAX)
        .filter(|index| *index != more_index && after[*index].is_some() && before[*index].is_none())
        .collect();
    let is_twin = !is_alone(all, more);
    let with_rules = condition.keep().map(|rules| rules.counts().count());
    if is_twin {
        // Its twin counts for nothing any more, which is as if it were gone.
        assert!(
            newly.iter().all(|index| with_rules.is_some() && after[*index].as_ref().is_some_and(is_by_count)),
            "R5: {newly:?}"
        );
    } else if counts(all, more, now) {
        let newly_good = newly.iter().filter(|index| all[**index].status == Status::Good).count();
        let is_newest = all.iter().all(|one| one.name == more.name || !counts(all, one, now) || is_newer(more, one));
        let falls_out = is_newest && condition.keep().is_some_and(|rules| rules.within().is_some());
        assert!(falls_out || newly_good <= with_rules.map_or(1, |rules| rules + 2), "R5: {newly:?}");
    } else {
        assert!(newly.is_empty(), "R5: {newly:?}");
        assert!(before.iter().enumerate().all(|(index, before)| index == more_index || *before == after[index]), "R5");
    }
    case.more = case.snapshots.pop().expect("just pushed");

    // One less.
    if !case.snapshots.is_empty() {
        let index = dice.below(case.snapshots.len() as u64) as usize;
        let last = case.snapshots.len() - 1;
        let is_twin = !is_alone(&case.snapshots, &case.snapshots[index]);
        case.snapshots.swap(index, last);
        let after = condemned(condition, &case.snapshots[..last], now);
        for (place, verdict) in after.iter().enumerate() {
            if let (Some(verdict), None) = (verdict, &before[place]) {
                // Where it had a twin, that one begins to count, as one more does.
                assert!(is_twin || with_rules.is_some() && is_by_count(verdict), "one less: {place} {verdict:?}");
            }
        }
        case.snapshots.swap(index, last);
    }
}

#[test]
fn every_law_and_the_rule_told_twice_hold_for_a_million_conditions_and_listings() {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (cases, from) = (asked("SNAPKEEP_LAWS").unwrap_or(CASES), asked("SNAPKEEP_LAWS_FROM").unwrap_or(1));
    let zones = ZONES.map(|name| (zone::load(name).expect(name), name.parse().expect(name))).into();
    let spare = (0..SNAPSHOTS_MAX + 2).map(|_| snapshot("", Status::Good, None)).collect();
    let mut bench = Bench { zones, spare };
    let mut seen = [0u64; 6];
    for seed in from..from + cases {
        let mut dice = Dice::new(seed);
        let mut case = draw(&mut dice, &mut bench);
        let tz = bench.zones[case.zone].1;
        let limits = case.limits.clone();
        let shown = || {
            let mut dice = Dice::new(seed);
            let mut bench = Bench {
                zones: vec![(Zone::utc(), chrono_tz::UTC); ZONES.len()],
                spare: (0..SNAPSHOTS_MAX + 2).map(|_| snapshot("", Status::Good, None)).collect(),
            };
            let case = draw(&mut dice, &mut bench);
            let told: Vec<String> = case
                .snapshots
                .iter()
                .chain([&case.more])
                .map(|one| {
                    format!(
                        "{} {:?} {:?} in use {}",
                        one.name,
                        one.status,
                        one.taken_at.map(|at| at.to_string()),
                        one.in_use.is_some()
                    )
                })
                .collect();
            format!("now {}, {limits:?}\n{}", case.now, told.join("\n"))
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut dice, &mut case, tz)));
        assert!(
            checked.is_ok(),
            "case {} of {cases}: SNAPKEEP_LAWS=1 SNAPKEEP_LAWS_FROM={seed} shows it alone\n{}",
            seed - from + 1,
            shown()
        );
        let condition = Condition::of(limits).expect("a condition");
        if seed.is_multiple_of(64) {
            for verdict in judge(&owner(), &condition, &case.snapshots, case.now) {
                let place = match verdict {
                    Verdict::Keep(Keep::Rules(_)) => 0,
                    Verdict::Keep(Keep::YoungerThanMinAge { .. }) => 1,
                    Verdict::Condemn(Condemn::Thinned) => 2,
                    Verdict::Condemn(Condemn::HeldBeyondMaxCount { .. }) => 3,
                    Verdict::Condemn(Condemn::FailedAndThinned) => 4,
                    _ => 5,
                };
                seen[place] += 1;
            }
        }
        bench.spare.append(&mut case.snapshots);
        bench.spare.push(case.more);
    }
    // A test that never meets a verdict says nothing about it.
    assert!(cases < CASES || seen.iter().all(|count| *count > 100), "{seen:?}");
}
