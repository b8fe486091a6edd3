//! A repository as it was written: which driver, and the driver's settings, which only the driver
//! can judge.

use super::reader::{Findings, Located};
use super::rest::Rest;
use super::table::Table;

/// One repository file.
#[derive(Debug)]
pub struct RepositoryDocument<'t> {
    /// `driver = "…"`; `None` when it could not be read, which is then among the findings.
    pub driver: Option<Located<String>>,
    /// Everything else.
    pub settings: Rest<'t>,
}

impl<'t> RepositoryDocument<'t> {
    /// Reads a repository's text.
    pub fn read(findings: &mut Findings<'t>) -> RepositoryDocument<'t> {
        let parsed = findings.parse();
        let mut root = Table::root(&parsed);
        if findings.has_errors() {
            return RepositoryDocument { driver: None, settings: root.rest() };
        }
        let driver = root.string(findings, "driver");
        if !root.has("driver") {
            findings.missing("repository has no driver").hint("write driver = \"files\" at the top");
        }
        RepositoryDocument { driver, settings: root.rest() }
    }
}
