//! The only reader of the system's clocks.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::lifecycle::time::{Moment, Timestamp};

/// Returns what both clocks say: wall time, and time since boot with what the machine slept.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Moment {
    // Through the C library, so that a test can fake the wall clock under an unchanged boot clock.
    let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    };
    let since_boot = clock_gettime(ClockId::Boottime);
    let uptime = since_boot.tv_sec.saturating_mul(1000).saturating_add(since_boot.tv_nsec / 1_000_000);
    Moment { wall: Timestamp::from_millis(wall), boot: boot(), uptime }
}

/// Returns how long this machine has been awake: finer than [`now`], to measure spans by.
pub fn awake() -> Duration {
    let since_boot = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(since_boot.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(since_boot.tv_nsec).unwrap_or_default())
}

/// Whether the kernel holds its clock for synchronised, as a time service tells it (`STA_UNSYNC` of
/// `adjtimex`). Where the kernel does not let us ask, as in a service that is shut in, it goes by the sign that
/// systemd-timesyncd leaves. Where nobody can be asked, it is not.
pub fn is_synchronised() -> bool {
    // SAFETY: `timex` is plain numbers, for which zeros are values, and `modes` of zero only reads.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 {
        return is_fresh(Path::new(TIMESYNCD_SIGN), now().wall);
    }
    state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}

/// systemd-timesyncd touches this file whenever it has compared the clock with a server's.
const TIMESYNCD_SIGN: &str = "/run/systemd/timesync/synchronized";
/// It asks every 34 minutes at least; five times that is silence.
const SIGN_AGE_MAX_MS: i64 = 3 * 3_600_000;
/// A file's times are a tick behind the clock. What is further ahead was written by another one.
const SIGN_AHEAD_MAX_MS: i64 = 1_000;

/// Whether a sign is of lately, by the clock it is about: one that was set far since says nothing.
fn is_fresh(sign: &Path, now: Timestamp) -> bool {
    let Ok(left) = std::fs::metadata(sign) else { return false };
    let left_ms = left.mtime().saturating_mul(1000).saturating_add(left.mtime_nsec() / 1_000_000);
    (-SIGN_AHEAD_MAX_MS..=SIGN_AGE_MAX_MS).contains(&now.millis().saturating_sub(left_ms))
}

/// Returns a number that is the same for all of one boot and differs between boots.
fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let hex: String = id.chars().filter(char::is_ascii_hexdigit).take(15).collect();
        // Where the kernel does not tell, every start counts as a boot of its own: waits then go by
        // wall time, which is what they would do after a reboot.
        u64::from_str_radix(&hex, 16).unwrap_or_else(|_| u64::from(std::process::id()) | 1 << 63)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_synchronisation_counts_while_it_is_fresh_by_the_clock_it_is_about() {
        let folder = tempfile::tempdir().expect("a folder");
        let sign = folder.path().join("synchronized");
        let now = now().wall;
        assert!(!is_fresh(&sign, now), "nobody has left one");
        std::fs::write(&sign, "").expect("written");
        assert!(is_fresh(&sign, now) && is_fresh(&sign, now.plus(SIGN_AGE_MAX_MS - 60_000)));
        // The clock was set since, years ahead or a day back.
        assert!(!is_fresh(&sign, now.plus(SIGN_AGE_MAX_MS + 60_000)) && !is_fresh(&sign, now.plus(-86_400_000)));
    }
}
