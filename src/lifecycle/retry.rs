//! How long to wait before asking again.
//!
//! The first wait is 30 s and each further one twice as long, up to 10 min: 30 s, 1 min, 2 min,
//! 4 min, 8 min, 10 min, 10 min … Up to a fifth is taken off by a jitter that depends on the run
//! and the failure's number alone, so that many runs that failed together do not come back
//! together, and the same run always tells the same time.

/// The first wait.
pub const DELAY_FIRST_MS: i64 = 30_000;
/// The longest wait of our own. A repository that says `Retry-After` may ask for more.
pub const DELAY_MAX_MS: i64 = 600_000;

/// Returns the wait after the `failures`-th failure in a row (the first is 1). What the outside
/// asked for (`retry_after_ms`) is honoured where it is longer.
pub fn delay_ms(run: &str, failures: u32, retry_after_ms: Option<i64>) -> i64 {
    let doublings = failures.saturating_sub(1).min(10);
    let full = (DELAY_FIRST_MS << doublings).min(DELAY_MAX_MS);
    let own = full - full / 5 * i64::from(fraction(run, failures)) / 256;
    own.max(retry_after_ms.unwrap_or(0))
}

/// Returns 0–255, spread evenly over runs and failures.
fn fraction(run: &str, failures: u32) -> u8 {
    // FNV-1a: a stable hash of a few bytes; nobody gains by guessing it.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in run.bytes().chain(failures.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (hash >> 32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_30_s_to_10_min_less_a_fifth_at_most() {
        for (failures, full) in [(1, 30_000), (2, 60_000), (3, 120_000), (5, 480_000), (6, 600_000), (500, 600_000)] {
            for run in ["a", "b", "c", "some run"] {
                let delay = delay_ms(run, failures, None);
                assert!(delay <= full && delay >= full - full / 5, "{failures}: {delay}");
                assert_eq!(delay, delay_ms(run, failures, None));
            }
        }
    }

    #[test]
    fn what_the_repository_asks_for_is_honoured_where_it_is_longer() {
        assert_eq!(delay_ms("a", 1, Some(3_600_000)), 3_600_000);
        assert!(delay_ms("a", 1, Some(1)) > 20_000);
    }
}
