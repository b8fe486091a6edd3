//! A daemon with nothing to do: how often its threads wake.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use snapkeep::clock;

use crate::child::Daemon;
use crate::folder;
use crate::table::Table;

/// After this a start has settled: the folders were read again, first answers are given.
const SETTLED: Duration = Duration::from_secs(6);

/// A daemon that is being watched.
pub struct Idle {
    watcher: std::thread::JoinHandle<Waits>,
}

struct Waits {
    engine: u64,
    all: u64,
    rest: String,
    minutes: f64,
}

/// Starts a daemon whose next trigger is hours away.
pub fn begin(folder: &Path, seconds: u64) -> Idle {
    let settings = folder::make(folder, 10, clock::now().wall);
    // Chores are something to do: each tells the engine that it ran. They come later.
    let later = (clock::now().wall.seconds() / 3600 + 2) % 24;
    let text: String =
        ["backup", "check", "trim", "rescan"].map(|chore| format!("{chore} = \"30 {later} * * *\"\n")).concat();
    fs::write(&settings, format!("[housekeeping]\n{text}")).expect("written");
    let watcher = std::thread::spawn(move || {
        let daemon = Daemon::start(&settings);
        std::thread::sleep(SETTLED);
        let (before, begin) = (daemon.waits(), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds));
        let (after, minutes) = (daemon.waits(), begin.elapsed().as_secs_f64() / 60.0);
        daemon.stop();
        let of = |waits: &[(String, u64)], name: Option<&str>| -> u64 {
            waits.iter().filter(|(thread, _)| name.is_none_or(|name| name == thread)).map(|(_, count)| count).sum()
        };
        let mut names: Vec<&str> = after.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let woken = |name: &&str| {
            let count = of(&after, Some(name)).saturating_sub(of(&before, Some(name)));
            (count > 0).then(|| format!("{name} {count}"))
        };
        Waits {
            engine: of(&after, Some("engine")).saturating_sub(of(&before, Some("engine"))),
            all: of(&after, None).saturating_sub(of(&before, None)),
            rest: names.iter().filter_map(woken).collect::<Vec<_>>().join(", "),
            minutes,
        }
    });
    Idle { watcher }
}

impl Idle {
    pub fn end(self, table: &mut Table) {
        let waits = self.watcher.join().expect("the daemon was watched");
        let a_minute = waits.engine as f64 / waits.minutes;
        let figure = format!("{} in {:.1} min", waits.engine, waits.minutes);
        // A wait that began before the watch began may end within it.
        let is_met = waits.engine as f64 <= waits.minutes.ceil();
        table.goal("wakes of the engine, nothing due", figure, "—", a_minute, "≤ 1 a minute", is_met);
        let figure = format!("{:.0} a minute", waits.all as f64 / waits.minutes);
        table.note("wakes of all threads, housekeeping included", figure, &waits.rest, None);
    }
}
