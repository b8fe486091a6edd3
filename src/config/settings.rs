//! The daemon's own settings, `snapkeep.toml`.

use std::path::{Path, PathBuf};

use super::access::HttpSettings;
use super::clock::ClockSettings;
use super::notification::NotificationPart;
use super::reader::{Findings, Located};
use super::table::{Bounds, Table};
use crate::lifecycle::policy::Notification;
use crate::lifecycle::schedule::Schedule;
use crate::lifecycle::time::Span;
use crate::lifecycle::zone::Zone;

/// The daemon's own settings. Read at start; a change takes a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the journal is, and what was made through the API.
    pub state_dir: PathBuf,
    /// The Unix socket callers connect to.
    pub socket: PathBuf,
    /// How many calls to drivers are in flight at once.
    pub jobs_max: u32,
    /// How long a stop waits for what is under way.
    pub stop_timeout: Span,
    /// What is logged, and how.
    pub log: LogSettings,
    /// The daemon's own chores.
    pub housekeeping: Housekeeping,
    /// Who may call it, and where.
    pub http: HttpSettings,
    /// Who is asked what time it is.
    pub clock: ClockSettings,
    /// Who is told what is about the daemon, and of policies that name nobody.
    pub notification: Notification,
    /// What monitoring reads that asks nobody.
    pub metrics: MetricsSettings,
}

/// What monitoring reads that asks nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The file that is written every minute for a textfile collector; none unless given.
    pub textfile: Option<PathBuf>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A person should act.
    Error,
    /// A person soon may have to.
    Warn,
    /// Something settled or changed.
    Info,
    /// How we got there.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

/// The daemon's own chores, at times of UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Housekeeping {
    /// Whether they run by themselves.
    pub enabled: bool,
    /// A checked copy of the journal.
    pub backup: Chore,
    /// Whether the journal holds together.
    pub check: Chore,
    /// Old history goes.
    pub trim: Chore,
    /// The configuration is read again, in case a change was not noticed.
    pub rescan: Chore,
    /// Repositories give back the space that nothing needs, and are checked.
    pub maintain: Chore,
    /// Settled runs older than this are forgotten.
    pub history_max_age: Span,
}

/// When a chore runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Chore {
    /// The expression as written.
    pub written: Box<str>,
    /// The same, as our own parser understands it.
    pub schedule: Schedule,
}

impl Chore {
    /// Returns the expression with a field for seconds before it, as `tokio-cron-scheduler` wants it.
    pub fn six_fields(&self) -> String {
        let fields = match &*self.written.trim().to_ascii_lowercase() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            _ => self.written.trim(),
        };
        format!("0 {fields}")
    }
}

/// Enough for every repository to have something to do, and few enough for a small machine.
const JOBS_MAX: u32 = 16;

/// More processes than this at once help nobody.
const JOBS_MAX_MOST: u32 = 1024;

/// Most calls to drivers end within it, and a machine that shuts down waits no longer for others either.
const STOP_TIMEOUT: &str = "30s";

/// Whoever waits longer waits for a run to end, and can see when none is under way.
const STOP_TIMEOUT_MAX: &str = "1h";

/// A year of history, and what the yearly report needs beyond it.
const HISTORY_MAX_AGE: &str = "400d";

/// Where everything is unless `snapkeep.toml` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The socket.
    pub socket: PathBuf,
}

impl Defaults {
    /// Returns the places of a system-wide daemon.
    pub fn system() -> Defaults {
        Defaults { state_dir: "/var/lib/snapkeep".into(), socket: "/run/snapkeep/api.sock".into() }
    }

    /// Returns the places of a set-up that lives in one folder.
    pub fn of_folder(folder: &Path) -> Defaults {
        Defaults { state_dir: folder.join("state"), socket: folder.join("state").join("api.sock") }
    }
}

impl Settings {
    /// Returns the settings that hold where nothing is written.
    pub fn default_in(defaults: &Defaults) -> Settings {
        Settings::read(&mut Findings::new(Path::new("snapkeep.toml"), ""), Path::new("/"), defaults)
    }

    /// Returns the settings a text stands for. What is wrong is among the findings and has its
    /// default. Relative paths begin at `base`.
    pub fn read(findings: &mut Findings<'_>, base: &Path, defaults: &Defaults) -> Settings {
        let parsed = findings.parse();
        let mut root = Table::root(&parsed);
        let mut path = |findings: &mut Findings<'_>, key, default: &Path| {
            root.string(findings, key).map_or_else(|| default.to_path_buf(), |path| base.join(path.value))
        };
        let state_dir = path(findings, "state_dir", &defaults.state_dir);
        let socket = path(findings, "socket", &defaults.socket);
        let jobs_max = root.number(findings, "jobs_max", Bounds { min: 1, max: JOBS_MAX_MOST });
        let stop_timeout = stop_timeout(findings, &mut root);

        let mut log = LogSettings { level: LogLevel::Info, format: LogFormat::Text };
        if let Some(mut table) = root.table(findings, "log") {
            let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
            if let Some(level) = table.word(findings, "level", &levels.map(|level| (level.word(), level))) {
                log.level = level.value;
            }
            if let Some(format) =
                table.word(findings, "format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            {
                log.format = format.value;
            }
            table.finish(findings, &[]);
        }

        let mut table = root.table(findings, "housekeeping");
        let enabled = table.as_mut().and_then(|table| table.boolean(findings, "enabled"));
        let history_max_age = table.as_mut().and_then(|table| table.span(findings, "history_max_age"));
        let housekeeping = Housekeeping {
            enabled: enabled.is_none_or(|enabled| enabled.value),
            // Apart from each other, at an hour when most nightly runs are over.
            backup: chore(findings, table.as_mut(), "backup", "10 4 * * *"),
            check: chore(findings, table.as_mut(), "check", "40 4 * * 0"),
            trim: chore(findings, table.as_mut(), "trim", "25 4 * * *"),
            rescan: chore(findings, table.as_mut(), "rescan", "*/10 * * * *"),
            maintain: chore(findings, table.as_mut(), "maintain", "30 4 * * *"),
            history_max_age: history_max_age
                .map(|age| age.value)
                .or_else(|| Span::parse(HISTORY_MAX_AGE).ok())
                .unwrap_or_else(|| Span::from_millis(Span::MILLIS_MAX)),
        };
        if let Some(table) = table {
            table.finish(findings, &[]);
        }
        let http = HttpSettings::read(findings, &mut root, base);
        let clock = ClockSettings::read(findings, &mut root, base);
        let notification = root.table(findings, "notification");
        let notification = notification.map(|table| NotificationPart::of_daemon(findings, table));
        // Which channels there are is known once they are read.
        let notification = notification.map(|part| part.notification(|_| true)).unwrap_or_default();
        let mut metrics = MetricsSettings::default();
        if let Some(mut table) = root.table(findings, "metrics") {
            metrics.textfile = table.string(findings, "textfile").and_then(|file| textfile(findings, file, base));
            table.finish(findings, &[]);
        }
        root.finish(findings, &[]);
        let jobs_max = jobs_max.map_or(JOBS_MAX, |jobs| jobs.value);
        Settings { state_dir, socket, jobs_max, stop_timeout, log, housekeeping, http, clock, notification, metrics }
    }
}

fn stop_timeout(findings: &mut Findings<'_>, root: &mut Table<'_, '_>) -> Span {
    let fixed = |text| Span::parse(text).unwrap_or_else(|_| Span::from_millis(30_000));
    let Some(written) = root.span(findings, "stop_timeout") else { return fixed(STOP_TIMEOUT) };
    let most = fixed(STOP_TIMEOUT_MAX);
    if written.value.millis() > most.millis() {
        findings.error(written.at, format!("stop_timeout is longer than {most}")).hint(format!("write {most} or less"));
        return most;
    }
    written.value
}

fn textfile(findings: &mut Findings<'_>, written: Located<String>, base: &Path) -> Option<PathBuf> {
    let file = base.join(&written.value);
    if file.extension().is_some_and(|extension| extension == "prom") {
        return Some(file);
    }
    findings.error(written.at, format!("`{}` does not end in .prom", written.value)).hint(
        "a textfile collector reads no other; for Debian's write \"/var/lib/prometheus/node-exporter/snapkeep.prom\"",
    );
    None
}

fn chore(findings: &mut Findings<'_>, table: Option<&mut Table<'_, '_>>, key: &'static str, default: &str) -> Chore {
    if let Some(written) = table.and_then(|table| table.string(findings, key)) {
        match Schedule::cron(&written.value, Zone::utc()) {
            Ok(schedule) => return Chore { written: written.value.into(), schedule },
            Err(error) => {
                let at = findings.inside(&written, error.span);
                findings.error(at, error.message).hint_if(error.hint);
            }
        }
    }
    // The defaults are expressions that are accepted; a test reads them all. An hour is what is
    // left to say in a build where they are not.
    let schedule = Schedule::cron(default, Zone::utc());
    Chore {
        written: default.into(),
        schedule: schedule.unwrap_or_else(|_| Schedule::interval(Span::from_millis(3_600_000))),
    }
}
