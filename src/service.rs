//! What a service manager is told: that the daemon is up, what it does, that it lives, that it ends. The words are
//! those of sd_notify(3); where nobody listens, nothing is said.
//!
//! That the engine lives is said in its own turns and nowhere else. Should it hang or be gone, nobody else feeds
//! the watchdog.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::engine::pulse::{Attendant, Due, Pulse};
use crate::lifecycle::time::{Moment, Timestamp, format_millis};
use crate::lifecycle::workflow::Kind;

/// The engine looks at every policy for it, and who reads it is a person.
const STATUS_EVERY_MS: i64 = 1_000;
/// A sign of life a second is enough for any watchdog that lets a turn a minute pass; one that is shorter gets more.
const ALIVE_EVERY_MS: i64 = 1_000;
/// Three signs of life within the watchdog's time: one may be late.
const SIGNS: u32 = 3;
/// systemd takes datagrams of 4 kB and shows a line.
const STATUS_BYTES_MAX: usize = 1_000;
/// As many names as a line has room for.
const NAMES_MAX: usize = 5;
/// Beside the journal there are files to read, and drivers and channels to make.
const START_FIXED: Duration = Duration::from_secs(300);
/// A migration rewrites what it reads: so slow are the slowest disks that a journal should lie on.
const START_BYTES_A_SECOND: u64 = 1_000_000;
/// Beside what runs there are callers to answer and a journal to close.
const STOP_FIXED: Duration = Duration::from_secs(20);

/// Who is told how the daemon fares.
#[derive(Debug)]
pub struct Service {
    listens: bool,
    watchdog: Option<Duration>,
    /// When the engine was last heard of, by uptime.
    alive_at: Option<i64>,
    /// When the status was last put together, by uptime.
    status_at: Option<i64>,
    status: String,
    stops_within: Option<Duration>,
}

impl Service {
    /// Returns whoever started this process, as the environment says: `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    pub fn from_environment() -> Service {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some();
        Service::new(listens, sd_notify::watchdog_enabled())
    }

    fn new(listens: bool, watchdog: Option<Duration>) -> Service {
        let watchdog = watchdog.filter(|watchdog| listens && !watchdog.is_zero());
        Service { listens, watchdog, alive_at: None, status_at: None, status: String::new(), stops_within: None }
    }

    /// Says that a journal of so many bytes is being read, for as long as that may take.
    pub fn starts(&self, journal_bytes: u64) {
        let time = START_FIXED.saturating_add(Duration::from_secs(journal_bytes / START_BYTES_A_SECOND));
        self.tell(&[NotifyState::Status("reads the journal"), NotifyState::ExtendTimeoutUsec(usec(time))]);
    }

    /// Takes one more sign of life, and returns how soon the next has to come.
    pub fn lives(&mut self, now: Moment) -> Duration {
        let Some(watchdog) = self.watchdog else { return Duration::MAX };
        let patience = watchdog / SIGNS;
        let every_ms = ALIVE_EVERY_MS.min(millis(patience) / 4);
        if self.alive_at.is_none_or(|at| now.uptime.saturating_sub(at) >= every_ms) {
            self.alive_at = Some(now.uptime);
            self.tell(&[NotifyState::Watchdog]);
        }
        patience
    }

    fn show(&mut self, status: String) {
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        tell(states);
    }
}

impl Attendant for Service {
    fn attend(&mut self, pulse: &dyn Fn() -> Pulse, now: Moment) -> Duration {
        if !self.listens {
            return Duration::MAX;
        }
        let patience = self.lives(now);
        let shown_ms = self.status_at.map(|at| now.uptime.saturating_sub(at));
        match shown_ms.filter(|shown_ms| (0..STATUS_EVERY_MS).contains(shown_ms)) {
            // What this turn has changed is shown in its time.
            Some(shown_ms) => {
                let left = u64::try_from(STATUS_EVERY_MS - shown_ms).unwrap_or(1);
                patience.min(Duration::from_millis(left))
            }
            None => {
                self.status_at = Some(now.uptime);
                let status = match self.stops_within {
                    None => line(&pulse(), now.wall),
                    Some(within) => last_line(&pulse(), within),
                };
                self.show(status);
                patience
            }
        }
    }

    fn stops(&mut self, within: Duration) {
        self.stops_within = Some(within);
        self.status_at = None;
        stopping(within);
    }
}

/// Says that everything is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that everything is up that can be, and why that is not all.
pub fn ready_in_safe_mode(why: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(&format!("safe mode: {why}")))]);
}

/// Says that the files are read again. [`ready`] says that this is over.
pub fn reloading() {
    // Without the time of the message systemd would not know which answer belongs to which question.
    match NotifyState::monotonic_usec_now() {
        Ok(at) => tell(&[NotifyState::Reloading, at]),
        Err(trouble) => tracing::warn!(cause = %trouble, "the service manager is not told of a reload"),
    }
}

/// Says that the daemon ends within this.
pub fn stopping(within: Duration) {
    let time = within.saturating_add(STOP_FIXED);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(usec(time))]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(trouble) = sd_notify::notify(states) {
        // A watchdog that is not fed says it louder.
        tracing::debug!(cause = %trouble, "the service manager was not told");
    }
}

/// Returns in a line how the engine fares.
fn line(pulse: &Pulse, now: Timestamp) -> String {
    let Pulse { policies, next, running, problems, restrictions, waits_for: _ } = pulse;
    let next =
        next.as_ref().map(|Due { policy, kind, at }| format!("next: {policy} {} {}", does(*kind), when(*at, now)));
    let running = (*running > 0).then(|| format!("{running} running"));
    let problems = (*problems > 0).then(|| counted(*problems, "problem", "problems"));
    let parts = [Some(counted(*policies, "policy", "policies")), next, running, problems];
    let parts: Vec<String> = parts.into_iter().flatten().chain(restrictions.iter().cloned()).collect();
    one_line(&parts.join("; "))
}

/// Returns in a line what a stop waits for.
fn last_line(pulse: &Pulse, within: Duration) -> String {
    let waits_for = pulse.waits_for.as_deref().unwrap_or_default();
    if waits_for.is_empty() {
        return "stopping".to_string();
    }
    let named = waits_for.iter().take(NAMES_MAX).map(|(policy, kind)| format!("{policy} {}", does(*kind)));
    let more = waits_for.len().saturating_sub(NAMES_MAX);
    let more = (more > 0).then(|| format!("{more} more"));
    let names: Vec<String> = named.chain(more).collect();
    one_line(&format!("stopping, {} at most: waits for {}", format_millis(millis(within)), names.join(", ")))
}

fn does(kind: Kind) -> &'static str {
    match kind {
        Kind::Creation => "creates",
        Kind::Deletion => "deletes",
    }
}

fn when(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_string(), now.to_string());
    match (at.get(..10), at.get(11..16)) {
        (Some(day), Some(hour)) if now.starts_with(day) => format!("at {hour} UTC"),
        (Some(day), Some(hour)) => format!("on {day} at {hour} UTC"),
        _ => format!("at {at}"),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A message of several lines would be several messages.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > STATUS_BYTES_MAX {
        line.truncate(line.floor_char_boundary(STATUS_BYTES_MAX));
        line.push('…');
    }
    line
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn usec(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn at(text: &str) -> Timestamp {
        let seconds = chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp();
        Timestamp::from_seconds(seconds)
    }

    fn idle(policies: usize) -> Pulse {
        Pulse { policies, next: None, running: 0, problems: 0, restrictions: Vec::new().into(), waits_for: None }
    }

    #[test]
    fn the_status_says_what_is_worth_reading() {
        let now = at("2026-03-01T07:00:00Z");
        let due = |time: &str| Some(Due { policy: "wiki".into(), kind: Kind::Creation, at: at(time) });
        assert_eq!(line(&idle(0), now), "0 policies");
        assert_eq!(line(&idle(1), now), "1 policy");
        let busy = Pulse { next: due("2026-03-01T08:00:00Z"), running: 1, problems: 2, ..idle(12) };
        assert_eq!(line(&busy, now), "12 policies; next: wiki creates at 08:00 UTC; 1 running; 2 problems");
        let due = Some(Due { kind: Kind::Deletion, ..due("2026-03-02T08:30:00Z").expect("due") });
        let restrictions = vec!["nothing is deleted:\nthe clock".to_string()].into();
        let held_back = Pulse { next: due, problems: 1, restrictions, ..idle(2) };
        let expected =
            "2 policies; next: wiki deletes on 2026-03-02 at 08:30 UTC; 1 problem; nothing is deleted: the clock";
        assert_eq!(line(&held_back, now), expected);
        let long = Pulse { restrictions: vec!["ä".repeat(10_000)].into(), ..idle(1) };
        assert!(line(&long, now).len() <= STATUS_BYTES_MAX + 3);
    }

    #[test]
    fn a_stop_says_what_it_waits_for() {
        let within = Duration::from_secs(90);
        let runs = |count: usize| (0..count).map(|run| (format!("p{run}").into(), Kind::Deletion)).collect();
        let waiting = |count| Pulse { waits_for: Some(runs(count)), ..idle(9) };
        assert_eq!(last_line(&waiting(0), within), "stopping");
        assert_eq!(last_line(&waiting(1), within), "stopping, 1m30s at most: waits for p0 deletes");
        assert!(last_line(&waiting(8), within).ends_with("p4 deletes, 3 more"), "{}", last_line(&waiting(8), within));
    }

    #[test]
    fn the_engine_waits_shorter_than_half_the_watchdog_and_looks_at_policies_once_a_second() {
        let moment = |uptime| Moment { wall: Timestamp::from_millis(uptime), boot: 1, uptime };
        let looks = Cell::new(0);
        let pulse = || {
            looks.set(looks.get() + 1);
            idle(1)
        };
        let mut service = Service::new(true, Some(Duration::from_secs(180)));
        assert_eq!(service.attend(&pulse, moment(0)), Duration::from_secs(60));
        for uptime in [1, 500, 999] {
            let left = u64::try_from(1_000 - uptime).expect("positive");
            assert_eq!(service.attend(&pulse, moment(uptime)), Duration::from_millis(left));
        }
        assert_eq!((looks.get(), service.alive_at), (1, Some(0)));
        assert_eq!(service.attend(&pulse, moment(1_000)), Duration::from_secs(60));
        assert_eq!((looks.get(), service.alive_at), (2, Some(1_000)));
        // A stop is shown at once.
        service.stops(Duration::from_secs(30));
        service.attend(&pulse, moment(1_001));
        assert_eq!((looks.get(), &*service.status), (3, "stopping"));

        // From one sign of life to the next: a wait, and what came too soon after the one before to be one.
        for watchdog_ms in [10, 1_000, 2_500, 180_000] {
            let watchdog = Duration::from_millis(watchdog_ms);
            let mut service = Service::new(true, Some(watchdog));
            let patience = service.lives(moment(0));
            let every =
                Duration::from_millis(u64::try_from(ALIVE_EVERY_MS.min(millis(patience) / 4)).expect("positive"));
            assert!(patience + every < watchdog / 2, "{watchdog_ms}");
        }
        let mut nobody = Service::new(false, Some(Duration::from_secs(1)));
        assert_eq!(nobody.attend(&pulse, moment(0)), Duration::MAX);
        assert_eq!(looks.get(), 3);
    }
}
