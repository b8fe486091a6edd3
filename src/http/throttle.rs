//! How often somebody may ask, and how often somebody may fail to say who they are. Both tables are bounded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// So many failures a minute are told one by one; then the address waits.
const FAILURES_MAX: u32 = 5;
/// How long failures count, and how long an address with too many waits.
const FAILURE_MS: i64 = 60_000;
/// Addresses that are remembered; the one that began to fail first is forgotten for the next.
const ADDRESSES_MAX: usize = 1_024;

/// Failures to say who one is, by address. Guessing a token is hopeless with or without this; it keeps the log
/// and the processor free of those who try.
#[derive(Debug, Default)]
pub struct Failures {
    of: BTreeMap<IpAddr, Failing>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: i64,
    count: u32,
}

impl Failures {
    /// Notes a failure at an uptime in milliseconds. Returns how many milliseconds the address has to wait, where it has
    /// failed too often, and whether that begins now.
    pub fn note(&mut self, address: IpAddr, uptime: i64) -> Option<(i64, bool)> {
        let address = whole(address);
        if self.of.len() >= ADDRESSES_MAX && !self.of.contains_key(&address) {
            self.of.retain(|_, failing| uptime - failing.since < FAILURE_MS);
            if self.of.len() >= ADDRESSES_MAX
                && let Some(oldest) = self.of.iter().min_by_key(|(_, failing)| failing.since).map(|(key, _)| *key)
            {
                self.of.remove(&oldest);
            }
        }
        let failing = self.of.entry(address).or_insert(Failing { since: uptime, count: 0 });
        if uptime - failing.since >= FAILURE_MS {
            *failing = Failing { since: uptime, count: 0 };
        }
        failing.count = failing.count.saturating_add(1);
        let begins = failing.count == FAILURES_MAX + 1;
        if begins {
            failing.since = uptime;
        }
        (failing.count > FAILURES_MAX).then(|| (failing.since + FAILURE_MS - uptime, begins))
    }
}

/// Whoever has one address of a /64 has all of them.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// Requests of callers, by the id of their token: as many at once as in two seconds, then at an even pace. Only those who
/// have said who they are get here, so there are never more than there are tokens.
#[derive(Debug)]
pub struct Rates {
    rate: i64,
    of: BTreeMap<Box<str>, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of requests that may still come at once.
    level: i64,
    at: i64,
}

impl Rates {
    /// Returns a table for so many requests a second.
    pub fn new(rate: u32) -> Rates {
        Rates { rate: i64::from(rate), of: BTreeMap::new() }
    }

    /// Counts a request. `Err` has how many milliseconds it comes too early.
    pub fn count(&mut self, id: &str, uptime: i64, is_living: impl Fn(&str) -> bool) -> Result<(), i64> {
        let full = 2_000 * self.rate;
        if !self.of.contains_key(id) {
            self.of.retain(|known, _| is_living(known));
        }
        let bucket = self.of.entry(id.into()).or_insert(Bucket { level: full, at: uptime });
        // Per millisecond as many thousandths as there are requests a second.
        let since = (uptime - bucket.at).max(0);
        *bucket = Bucket { level: bucket.level.saturating_add(since.saturating_mul(self.rate)).min(full), at: uptime };
        if bucket.level >= 1_000 {
            bucket.level -= 1_000;
            Ok(())
        } else {
            Err((1_000 - bucket.level).div_euclid(self.rate) + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, number, 1, 2, 3, number))
    }

    #[test]
    fn the_sixth_failure_in_a_minute_waits_a_minute() {
        let mut failures = Failures::default();
        for second in 0..5 {
            assert_eq!(failures.note(address(1), second * 1_000), None);
        }
        assert_eq!(failures.note(address(1), 5_000), Some((60_000, true)));
        assert_eq!(failures.note(address(1), 35_000), Some((30_000, false)));
        assert_eq!(failures.note(address(2), 35_000), None, "another's failures are another's");
        assert_eq!(failures.note(address(1), 65_000), None, "it is over");
        // Within one network of a caller it is the same caller.
        let neighbour = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9));
        for _ in 0..4 {
            assert_eq!(failures.note(neighbour, 66_000), None);
        }
        assert!(failures.note(address(1), 66_000).is_some());
    }

    #[test]
    fn the_table_of_failures_does_not_grow_beyond_its_bound() {
        let mut failures = Failures::default();
        for number in 0..10_000_u16 {
            failures.note(address(number), i64::from(number));
        }
        assert_eq!(failures.of.len(), ADDRESSES_MAX);
        assert!(failures.of.contains_key(&whole(address(9_999))) && !failures.of.contains_key(&whole(address(0))));
    }

    #[test]
    fn a_caller_may_ask_two_seconds_worth_at_once_and_then_at_an_even_pace() {
        let mut rates = Rates::new(10);
        let mut count = |id: &str, at: i64| rates.count(id, at, |_| true);
        for _ in 0..20 {
            assert_eq!(count("a", 1_000), Ok(()));
        }
        assert_eq!(count("a", 1_000), Err(101));
        assert_eq!(count("b", 1_000), Ok(()), "another's requests are another's");
        assert_eq!(count("a", 1_100), Ok(()));
        assert!(count("a", 1_150).is_err());
        assert_eq!(count("a", 1_000_000), Ok(()));
        // What is no token any more is forgotten.
        assert_eq!(rates.count("c", 1_000_000, |id| id == "a"), Ok(()));
        assert_eq!(rates.of.len(), 2);
    }
}
