//! `[mail]` of a channel.

use std::path::Path;

use crate::config::reader::Findings;
use crate::config::table::Table;
use crate::lifecycle::channel::mail::Mail;

/// Reads the table. `None` when something is wrong, which is then among the findings. Relative paths begin at
/// `base`.
pub fn read(findings: &mut Findings<'_>, table: Table<'_, '_>, _base: &Path) -> Option<Mail> {
    findings
        .error(table.at.clone(), "this version cannot deliver by mail")
        .hint("write [log]; notices then stand in the daemon's log");
    None
}
