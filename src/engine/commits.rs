//! How long the journal's commits take, as counts that only rise. Whoever reads them delays nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in microseconds. A disk that syncs at once takes a fraction of a millisecond; beyond five seconds
/// nothing is worth telling apart.
pub const BOUNDS_MICROS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// How long commits took since the start.
#[derive(Debug, Default)]
pub struct Commits {
    /// How many took as long as each bound, and longer than the one before it; the last one for longer ones.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    micros: AtomicU64,
}

impl Commits {
    pub(super) fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_MICROS.len());
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns how many took no longer than each bound, and after them how many there were.
    pub fn cumulative(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        let mut sum = 0;
        self.counts.each_ref().map(|count| {
            sum += count.load(Ordering::Relaxed);
            sum
        })
    }

    /// Returns how long all of them took together, in microseconds.
    pub fn micros(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_where_it_fits_and_in_all_that_is_longer() {
        let commits = Commits::default();
        for micros in [500, 501, 7_000_000] {
            commits.note(Duration::from_micros(micros));
        }
        let counts = commits.cumulative();
        assert_eq!((counts[0], counts[1], counts[11], counts[12]), (1, 2, 2, 3));
        assert_eq!(commits.micros(), 7_001_001);
    }
}
