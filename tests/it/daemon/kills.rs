//! Killed at any moment.

use std::fs;

use snapkeep::clock;
use snapkeep::lifecycle::workflow::Kind;

use super::place::Place;
use super::{books, policy};
use crate::support::dice::Dice;
use crate::support::number;

/// Kills in the daily run; 200 and more by `SNAPKEEP_KILLS`.
const KILLS: u64 = 25;
/// Policies that are busy while the daemon is killed: each has runs in other states.
const BUSY: usize = 8;
/// A daemon lives for so many writes at most: enough to be up, to begin and to end some runs.
const WRITES_MAX: u64 = 250;
/// What a look counts that sees nothing: a handful of these is a life.
const QUIET_LOOK_WRITES: usize = 50;
/// Whoever is killed twice in one run waits half a minute, counted anew from each start; so this
/// often it lives until there is something to interrupt again.
const LIVELY: u64 = 10;

#[test]
fn killed_at_any_moment_nothing_doubles_and_nothing_is_lost() {
    let kills = number("SNAPKEEP_KILLS", KILLS);
    let seed = number("SNAPKEEP_SEED", clock::now().wall.millis().unsigned_abs());
    // Shown where the test fails, wherever that is.
    println!("SNAPKEEP_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut place = Place::busy(BUSY);
    // The first start makes the journal; what a kill in the middle of that leaves is the journal's own test.
    place.start();
    place.until("the first snapshot", |body| policy(body)?["last_good"].as_object().map(|_| ()));
    place.kill();
    let mut answered = 0;
    for number in 1..=kills {
        let _ = fs::remove_file(place.path("state/api.sock"));
        let writes = place.writes();
        place.start();
        // By writes and not by time, so that it is in the middle of something.
        let mut left = dice.below(WRITES_MAX) as usize;
        while left > 0 {
            // Where nothing is written for a while it has nothing to do.
            let seen = writes.next();
            left = left.saturating_sub(if seen == 0 { QUIET_LOOK_WRITES } else { seen });
        }
        if number.is_multiple_of(LIVELY) {
            let before = place.account().len();
            place.until("more snapshots", |_| (place.account().len() > before + BUSY).then_some(()));
        }
        answered += u64::from(place.path("state/api.sock").exists());
        place.kill();
    }
    // Left in peace it settles everything it had begun.
    place.start();
    place.calm_down();
    assert_eq!(place.stop(), Some(0));
    let books = books::balanced(&place);
    println!(
        "{kills} kills, {answered} of them after it was up: {} creations and {} deletion runs in the journal, \
         {} snapshots made, {} deleted, none twice",
        books.runs(Kind::Creation),
        books.runs(Kind::Deletion),
        books.made.len(),
        books.deleted.len()
    );
    assert!(!books.deleted.is_empty() && answered > 0, "the scenario did not come to what it is for: {seed}");
}
