use super::*;
use crate::lifecycle::hold::Hold;

const DAY: i64 = 86_400_000;

fn estate() -> Estate {
    let living = |name: &str, repository: &str| Living { name: name.into(), repository: Some(repository.into()) };
    let policies = [("u1".into(), living("wiki", "local")), ("u2".into(), living("db", "other"))];
    Estate {
        installation: "here".into(),
        policies: policies.into(),
        locks: Arc::default(),
        now: Timestamp::from_millis(100 * DAY),
    }
}

/// `name installation uid day`, `-` for what is missing; a `!` behind it says that it is running.
fn listing(texts: &[&str]) -> Listing {
    let snapshot = |text: &&str| {
        let words: Vec<&str> = text.trim_end_matches('!').split(' ').collect();
        let labels = [(label::INSTALLATION, words[1]), (label::POLICY_UID, words[2])];
        Snapshot {
            name: words[0].to_owned(),
            id: format!("id-{}", words[0]),
            taken_at: words[3].parse::<i64>().ok().map(|day| Timestamp::from_millis(day * DAY)),
            status: if text.ends_with('!') { Status::Running } else { Status::Good },
            labels: labels
                .iter()
                .filter(|(_, value)| *value != "-")
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            in_use: None,
            size_bytes: None,
        }
    };
    Listing { snapshots: texts.iter().map(snapshot).collect() }
}

const ALL: [&str; 10] = [
    "old here u1 10",
    "new here u1 20",
    "gone here u9 10",
    "moved here u2 10",
    "moved-newest here u2 11",
    "theirs there u1 10",
    "bare - - 10",
    "ahead here u1 200",
    "blank here u1 -",
    "made here u9 -!",
];

#[test]
fn what_nobody_looks_after_is_told_with_every_reason() {
    let (estate, listing) = (estate(), listing(&ALL));
    let told: Vec<String> = listing
        .snapshots
        .iter()
        .map(|one| {
            let why: Vec<&str> = estate.orphaned("local", one).into_iter().map(Orphaned::word).collect();
            format!("{} {}", one.name, why.join("+"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "old ",
            "new ",
            "gone retired",
            "moved left_behind",
            "moved-newest left_behind",
            "theirs foreign",
            "bare unstamped",
            "ahead future_dated",
            "blank undatable",
            "made retired",
        ]
    );
}

#[test]
fn a_person_expires_by_name_what_is_nobodys_and_with_a_word_what_a_policy_owns() {
    let (estate, listing) = (estate(), listing(&ALL));
    let told = |owned| -> Vec<String> {
        let may = |index| estate.may_expire("local", &Holds::default(), &listing, index, owned);
        (0..ALL.len()).map(|index| may(index).err().unwrap_or_else(|| "may".to_owned())).collect()
    };
    let newest = "it is the newest good one of policy";
    let word = "--owned says that you know";
    assert_eq!(
        told(false),
        [
            &format!("policy wiki owns it and judges it by its rule; {word}"),
            &format!("{newest} wiki"),
            "may",
            &format!("policy db owns it; {word}"),
            &format!("{newest} db"),
            &format!("another installation owns it; {word}"),
            "may",
            &format!("policy wiki owns it; {word}"),
            &format!("policy wiki owns it; {word}"),
            "it is being made",
        ]
    );
    let owned = told(true);
    let refused: Vec<&String> = owned.iter().filter(|told| *told != "may").collect();
    assert_eq!(refused, [&format!("{newest} wiki"), &format!("{newest} db"), "it is being made"]);
}

#[test]
fn what_is_held_in_use_or_not_clear_is_not_expired() {
    let estate = estate();
    let (mut holds, mut listing) = (Holds::default(), listing(&["gone here u9 10", "bare - - 10", "bare - - 11"]));
    let refused = |holds: &Holds, listing: &Listing, index| {
        estate.may_expire("local", holds, listing, index, true).expect_err("refused")
    };
    let hold = Hold { until: None, compliance: false, made_at: Timestamp::EPOCH, reason: "lawyers asked".to_owned() };
    assert_eq!(estate.may_expire("local", &holds, &listing, 0, false), Ok(()));
    holds.insert("gone", hold.clone());
    assert_eq!(refused(&holds, &listing, 0), "it is held without end: lawyers asked");
    listing.snapshots[0].labels.insert(label::HOLD.to_owned(), hold.stamp());
    assert_eq!(refused(&Holds::default(), &listing, 0), "it is held without end: lawyers asked");
    listing.snapshots[0].labels.clear();
    listing.snapshots[0].in_use = Some("a clone".to_owned());
    assert_eq!(refused(&Holds::default(), &listing, 0), "it is in use: a clone");
    assert_eq!(refused(&holds, &listing, 1), "it is listed 2 times under one id or name");
}

#[test]
fn what_is_under_a_locked_min_age_is_neither_expired_nor_adopted_till_it_is_old_enough() {
    use crate::lifecycle::age_lock::{AgeLock, Locked};
    use crate::lifecycle::time::Span;
    let mut locks = AgeLocks::default();
    let lock = Locked { min_age: Span::from_millis(80 * DAY), since: Timestamp::EPOCH };
    locks.insert("u1".into(), AgeLock::of(vec![lock.clone()]));
    locks.insert("u9".into(), AgeLock::of(vec![lock]));
    let estate = Estate { locks: Arc::new(locks), ..estate() };
    let listing =
        listing(&["new here u1 90", "old here u1 20", "gone here u9 21", "past here u9 20", "far there u9 90"]);
    let may = |index| estate.may_expire("local", &Holds::default(), &listing, index, true);
    let refused = |day: i64| {
        format!(
            "min_age is locked at 80d for what policy ? made: it may go from {} on",
            Timestamp::from_millis(day * DAY)
        )
    };
    assert_eq!([may(1), may(3), may(4)], [Ok(()), Ok(()), Ok(())], "old enough, or no business of ours");
    assert_eq!([may(0), may(2)], [Err(refused(170)), Err(refused(101))]);
    let adopted = |index| estate.may_adopt("local", &listing, index, "u1");
    let hint = format!("{}; a policy whose file says uid = \"u9\" has it as its own", refused(101));
    assert_eq!([adopted(2), adopted(3)], [Err(hint), Ok(())]);
}

#[test]
fn a_policy_adopts_what_no_living_policy_owns_where_it_keeps_its_own() {
    let (estate, listing) = (estate(), listing(&ALL));
    let told = |uid: &str| -> Vec<String> {
        let may = |index| estate.may_adopt("local", &listing, index, uid);
        (0..ALL.len()).map(|index| may(index).err().unwrap_or_else(|| "may".to_owned())).collect()
    };
    let (own, other) = ("it is policy wiki's already", "policy db owns it");
    let making = "it is being made";
    assert_eq!(told("u1"), [own, own, "may", other, other, "may", "may", own, own, making]);
    assert_eq!(told("u2")[2], "policy db keeps its snapshots in repository other");
    assert_eq!(told("u3")[2], "the policy is gone");
}
