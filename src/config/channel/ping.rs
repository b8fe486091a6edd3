//! `[ping]` of a channel.

use std::path::Path;

use crate::config::reader::Findings;
use crate::config::table::Table;
use crate::lifecycle::channel::ping::Ping;

/// Reads the table. `None` when something is wrong, which is then among the findings. Relative paths begin at
/// `base`.
pub fn read(findings: &mut Findings<'_>, table: Table<'_, '_>, _base: &Path) -> Option<Ping> {
    findings
        .error(table.at.clone(), "this version cannot deliver by ping")
        .hint("write [log]; notices then stand in the daemon's log");
    None
}
