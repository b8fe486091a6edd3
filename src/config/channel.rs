//! A channel: where notices go. Exactly one table, named after its kind.

use super::reader::Findings;
use super::table::Table;

/// One channel, valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelSettings {
    /// Into the daemon's own log.
    Log {
        /// How loud.
        level: LogLevel,
    },
}

/// How loud a notice is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A person should act.
    Error,
    /// A person soon may have to.
    Warn,
    /// Something settled or changed.
    Info,
}

/// Kinds that are planned: refused with a message of their own, so that nobody waits for mail.
const NOT_YET: [&str; 3] = ["mail", "webhook", "command"];

/// Returns the channel a text stands for; `None` when something is wrong, which is then among the
/// findings.
pub fn read(findings: &mut Findings<'_>) -> Option<ChannelSettings> {
    let parsed = findings.parse();
    if findings.has_errors() {
        return None;
    }
    let mut root = Table::root(&parsed);
    let mut channel = None;
    if let Some(mut log) = root.table(findings, "log") {
        let levels = [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info)];
        let level = log.word(findings, "level", &levels);
        channel = Some(ChannelSettings::Log { level: level.map_or(LogLevel::Warn, |level| level.value) });
        log.finish(findings, &[]);
    }
    let keys = root.keys();
    for kind in NOT_YET {
        if let Some(at) = root.key_at(kind) {
            findings
                .error(at, format!("this version cannot deliver by {kind}"))
                .hint("write [log]; notices then stand in the daemon's log");
        }
    }
    for (key, at) in &keys {
        if *key != "log" && !NOT_YET.contains(key) {
            findings.error(at.clone(), format!("unknown kind of channel `{key}`")).hint("the kind that works is [log]");
        }
    }
    if keys.is_empty() {
        findings.missing("channel has no kind").hint("write [log] and level = \"warn\" in it");
    }
    if findings.has_errors() { None } else { channel }
}
