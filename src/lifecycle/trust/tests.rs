use super::*;

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;
const NOON: Moment = Moment { wall: Timestamp::from_seconds(1_772_366_400), boot: 1, uptime: 3_600_000 };

/// The wall clock `wall_ms` and the time since boot `uptime_ms` later.
fn later(wall_ms: i64, uptime_ms: i64) -> Moment {
    Moment { wall: NOON.wall.plus(wall_ms), boot: 1, uptime: NOON.uptime + uptime_ms }
}

/// After another start of the machine.
fn rebooted(wall_ms: i64) -> Moment {
    Moment { wall: NOON.wall.plus(wall_ms), boot: 2, uptime: 20_000 }
}

fn doubt(trust: Trust) -> Option<DoubtCause> {
    trust.doubt.map(|doubt| doubt.cause)
}

#[test]
fn within_a_boot_a_step_is_doubted_and_small_ones_add_up() {
    for synchronised in [false, true] {
        let trust = Trust::first(NOON, synchronised);
        assert_eq!(doubt(trust.look(later(30 * DAY, 30 * DAY), synchronised)), None, "asleep for a month");
        assert_eq!(doubt(trust.look(later(6 * MINUTE, MINUTE), synchronised)), None);
        let stepped = trust.look(later(6 * MINUTE + 1, MINUTE), synchronised);
        assert_eq!(doubt(stepped), Some(DoubtCause::Stepped { by_ms: 5 * MINUTE + 1 }));
        let back = trust.look(later(-3650 * DAY, MINUTE), synchronised);
        assert_eq!(doubt(back), Some(DoubtCause::Stepped { by_ms: -3650 * DAY - MINUTE }));
        let crept =
            (1..=3).fold(trust, |trust, step| trust.look(later(step * 3 * MINUTE, step * MINUTE), synchronised));
        assert_eq!(doubt(crept), Some(DoubtCause::Stepped { by_ms: 6 * MINUTE }));
    }
}

#[test]
fn a_clock_that_returns_is_believed_again_and_one_that_stays_away_is_not() {
    let trust = Trust::first(NOON, true);
    let away = trust.look(later(3650 * DAY, MINUTE), true);
    let still = away.look(later(3650 * DAY + 30 * DAY, 30 * DAY), true);
    assert_eq!(still.doubt.map(|doubt| doubt.since), Some(later(3650 * DAY, MINUTE)), "since it was seen first");
    assert_eq!(still.believed, NOON);
    assert_eq!(doubt(still.look(later(31 * DAY, 31 * DAY), true)), None);
    // Neither does a start of the machine clear it, even when its clock claims to be synchronised.
    let restarted = away.look(rebooted(3650 * DAY), true).look(rebooted(3651 * DAY), true);
    assert_eq!(restarted.doubt, away.doubt);
    assert_eq!(doubt(away.look(rebooted(DAY), false)), None, "put right while it was down");
    // Six days are no long gap, and wrong all the same.
    let near = trust.look(later(6 * DAY, MINUTE), true);
    assert!(doubt(near.look(rebooted(6 * DAY + MINUTE), true)).is_some());
    assert_eq!(doubt(near.look(rebooted(2 * MINUTE), false)), None);
}

#[test]
fn across_boots_time_goes_forward_and_a_long_gap_needs_somebody_to_vouch() {
    let trust = Trust::first(NOON, false);
    for (wall_ms, synchronised, believed) in [
        (0, false, true),
        (-5 * MINUTE, false, true),
        (-5 * MINUTE - 1, false, false),
        (-5 * MINUTE - 1, true, false),
        (7 * DAY, false, true),
        (7 * DAY + 1, false, false),
        (7 * DAY + 1, true, true),
        (3650 * DAY, false, false),
    ] {
        assert_eq!(doubt(trust.look(rebooted(wall_ms), synchronised)).is_none(), believed, "{wall_ms} {synchronised}");
    }
    // Nothing vouched at the start; some minutes later the kernel does.
    let gap = trust.look(rebooted(30 * DAY), false);
    let vouched = gap.look(Moment { uptime: 80_000, ..rebooted(30 * DAY + MINUTE) }, true);
    assert_eq!(doubt(vouched), None);
}

#[test]
fn a_board_without_a_clock_finds_its_time_once_a_boot() {
    // Started again three hours later with the time it had when it went down.
    let trust = Trust::first(NOON, true).look(rebooted(MINUTE), false);
    let found = Moment { uptime: 50_000, ..rebooted(3 * 60 * MINUTE) };
    assert_eq!(doubt(trust.look(found, true)), None);
    assert!(doubt(trust.look(found, false)).is_some(), "a step that nobody vouches for");
    // Some time services step first and vouch for it minutes later.
    let vouched = Moment { uptime: 350_000, ..rebooted(3 * 60 * MINUTE + 5 * MINUTE) };
    assert_eq!(doubt(trust.look(found, false).look(vouched, true)), None);
    let again = Moment { uptime: 90_000, ..rebooted(9 * 60 * MINUTE) };
    assert!(doubt(trust.look(found, true).look(again, true)).is_some(), "once");
    let back = Moment { uptime: 50_000, ..rebooted(-3 * 60 * MINUTE) };
    assert!(doubt(trust.look(back, true)).is_some(), "never back");
}

#[test]
fn a_person_ends_every_doubt_and_what_was_written_meanwhile_is_known_as_wrong() {
    let away = Trust::first(NOON, true).look(later(3650 * DAY, MINUTE), true);
    let there = away.confirm(later(3650 * DAY, MINUTE), true, later(3650 * DAY, MINUTE).wall);
    assert_eq!((doubt(there), there.wrong_until), (None, Timestamp::EPOCH), "it was right all along");
    let back = away.confirm(later(2 * MINUTE, 2 * MINUTE), true, later(3650 * DAY, MINUTE).wall);
    assert_eq!((doubt(back), back.wrong_until), (None, later(3650 * DAY, MINUTE).wall));
    assert_eq!(doubt(back.look(later(3 * MINUTE, 3 * MINUTE), true)), None);
}

#[test]
fn ages_are_measured_by_the_smaller_clock() {
    let trust = Trust::first(NOON, true);
    assert_eq!(trust.time(later(4 * MINUTE, MINUTE)), NOON.wall.plus(MINUTE));
    assert_eq!(trust.time(later(-MINUTE, MINUTE)), NOON.wall.plus(-MINUTE));
    assert_eq!(trust.time(rebooted(DAY)), NOON.wall.plus(DAY));
    // After a start with a clock that is not believed no time has passed.
    let gap = trust.look(rebooted(3650 * DAY), false);
    assert_eq!(gap.time(rebooted(3650 * DAY)), NOON.wall);
    assert_eq!(trust.look(rebooted(-DAY), true).time(rebooted(-DAY)), NOON.wall.plus(-DAY));
}

/// G13: by it is measured what cools off.
#[test]
fn time_that_was_reached_goes_on_with_the_machine_and_never_back() {
    let trust = Trust::first(NOON, true);
    let since = |trust: Trust| trust.reached.since(NOON.wall);
    assert_eq!(since(trust.look(later(DAY, DAY), true)), DAY);
    // Minutes that a believed clock goes back are minutes all the same.
    let back = trust.look(later(DAY, DAY), true).look(later(DAY - MINUTE, DAY + MINUTE), true);
    assert_eq!((doubt(back), since(back)), (None, DAY + MINUTE));
    // What is doubted measures nothing, and what is right again everything that passed.
    let away = trust.look(later(3650 * DAY, DAY), true);
    assert_eq!(since(away), 0);
    assert_eq!(since(away.look(later(2 * DAY, 2 * DAY), true)), 2 * DAY);
    // Confirmed though it was set back, it goes on from where it was.
    let set_back = trust.look(later(-9 * DAY, DAY), true).confirm(later(-9 * DAY, DAY), true, NOON.wall);
    assert_eq!((since(set_back), since(set_back.look(later(-8 * DAY, 2 * DAY), true))), (DAY, 2 * DAY));
    let restarted = trust.look(rebooted(-9 * DAY), true).confirm(rebooted(-9 * DAY), true, NOON.wall);
    assert_eq!((since(restarted), since(restarted.look(rebooted(-8 * DAY).plus(0), true))), (0, 0));
    let next = rebooted(-9 * DAY).plus(DAY);
    assert_eq!(since(restarted.look(next, true)), DAY);
    // Confirmed though it was set forward, so it is.
    let forward = trust.look(later(9 * DAY, MINUTE), true).confirm(later(9 * DAY, MINUTE), true, NOON.wall);
    assert_eq!(since(forward), 9 * DAY);
}

/// What a witness says whose clock is `ahead_ms` ahead of ours, heard at `taken`.
fn witness(ahead_ms: i64, taken: Moment) -> Witness {
    Witness { said: taken.wall.plus(ahead_ms), taken }
}

#[test]
fn a_witness_ends_the_doubt_in_a_gap_and_no_other() {
    const HOUR: i64 = 60 * MINUTE;
    let trust = Trust::first(NOON, false);
    let stepped = trust.look(later(3650 * DAY, MINUTE), false);
    let stepped_back = trust.look(later(-2 * DAY, MINUTE), false);
    let doubts = [
        ("believed", trust, later(MINUTE, MINUTE)),
        ("stepped", stepped, later(3650 * DAY, MINUTE)),
        ("stepped back", stepped_back, later(-2 * DAY, MINUTE)),
        ("stepped, then a start", stepped.look(rebooted(3651 * DAY), false), rebooted(3651 * DAY)),
        ("stepped back, then a gap", stepped_back.look(rebooted(30 * DAY), false), rebooted(30 * DAY)),
        ("went back", trust.look(rebooted(-DAY), false), rebooted(-DAY)),
        ("gap", trust.look(rebooted(10 * DAY), false), rebooted(10 * DAY)),
    ];
    for (title, trust, now) in doubts {
        assert_eq!(trust.wants_witness(), title == "gap", "{title} {:?}", trust.doubt);
        let stale =
            Moment { uptime: now.uptime - WITNESS_FRESH_MS - 1, wall: now.wall.plus(-WITNESS_FRESH_MS - 1), ..now };
        let unset = Moment { wall: now.wall.plus(STEP_MAX_MS + 1), ..now };
        let (right, wrong) = (witness(0, now), witness(HOUR + 1, now));
        for (agrees, witnesses) in [
            (true, vec![right]),
            (true, vec![witness(HOUR, now)]),
            (true, vec![witness(-HOUR, now)]),
            (true, vec![witness(0, stale), right]),
            (false, vec![]),
            (false, vec![wrong]),
            (false, vec![witness(-HOUR - 1, now)]),
            (false, vec![witness(-3650 * DAY, now)]),
            (false, vec![right, wrong]),
            (false, vec![wrong, right]),
            (false, vec![witness(0, stale)]),
            (false, vec![witness(0, unset)]),
            (false, vec![witness(0, Moment { boot: now.boot + 1, ..now })]),
            (false, vec![witness(0, now.plus(1))]),
        ] {
            let heard = trust.witnessed(&witnesses, now, false);
            if agrees && title == "gap" {
                assert_eq!((doubt(heard), heard.believed), (None, now), "{witnesses:?}");
                assert_eq!(heard.reached, now.wall);
                // As after a person's word: within the boot it is this clock that is compared with.
                assert_eq!(doubt(heard.look(now.plus(DAY), false)), None);
                assert!(doubt(heard.look(Moment { uptime: now.uptime + MINUTE, ..now.plus(DAY) }, false)).is_some());
            } else {
                assert_eq!(heard, trust, "{title} {witnesses:?}");
            }
        }
    }
}

#[test]
fn what_a_witness_said_goes_on_with_the_time_since_boot() {
    let taken = rebooted(10 * DAY);
    let heard = witness(-WITNESS_MAX_MS, taken);
    assert_eq!(heard.weigh(taken.plus(WITNESS_FRESH_MS)), Testimony::Agrees);
    assert_eq!(heard.weigh(taken.plus(WITNESS_FRESH_MS + 1)), Testimony::Stale);
    // The wall clock crept on by a minute meanwhile.
    let crept = Moment { uptime: taken.uptime, ..taken.plus(MINUTE) };
    assert_eq!(heard.weigh(crept), Testimony::Differs { by_ms: WITNESS_MAX_MS + MINUTE });
}
