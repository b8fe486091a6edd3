//! The only list of the kinds of repository.
//!
//! A driver is one file or folder, one line here, one line in the contract suite. The key `driver`
//! itself is read by whoever loads the file; the rest of the table comes here.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use super::settings::SettingProblem;
use super::settings::nearest;
use super::{Driver, exec, files};

/// The program that is running, for drivers that live in it: also after its file was replaced by an
/// upgrade, so that a daemon and its workers are always of one version.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Returns every kind, in alphabetical order.
pub fn kinds() -> &'static [&'static str] {
    &["exec", "files"]
}

/// Opens a repository of `kind` with its settings; touches nothing outside.
///
/// Relative paths are taken from `base`, the directory of the configuration. `program` is what the
/// drivers inside this program are started by: [`OWN_PROGRAM`], but for tests.
///
/// # Errors
///
/// All problems of the table at once, unknown keys included.
pub fn open(
    kind: &str,
    settings: &Map<String, Value>,
    base: &Path,
    program: &Path,
) -> Result<Arc<dyn Driver>, Vec<SettingProblem>> {
    match kind {
        "exec" => exec::open(settings, base),
        "files" => files::open(settings, base, program),
        _ => Err(vec![unknown(kind)]),
    }
}

/// Checks the driver's part of a policy's `snapshot_config`, and returns it in the form that
/// [`super::Order::config`] takes: relative paths resolved, defaults filled in.
///
/// # Errors
///
/// All problems of the table at once, unknown keys included.
pub fn check_config(kind: &str, config: &Map<String, Value>, base: &Path) -> Result<Value, Vec<SettingProblem>> {
    match kind {
        "exec" => exec::check_config(config),
        "files" => files::check_config(config, base),
        _ => Err(vec![unknown(kind)]),
    }
}

fn unknown(kind: &str) -> SettingProblem {
    let hint = nearest(kind, kinds()).unwrap_or_else(|| format!("there are: {}", kinds().join(", ")));
    SettingProblem::new("driver", format!("unknown driver {kind}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_opens_and_checks_and_no_other_does() {
        let nothing = Map::new();
        let (base, program) = (Path::new("/etc/snapkeep"), Path::new(OWN_PROGRAM));
        for kind in kinds() {
            let problems = open(kind, &nothing, base, program).expect_err("each needs something");
            assert!(problems.iter().all(|problem| problem.path != ["driver"]), "{problems:?}");
            let _ = check_config(kind, &nothing, base);
        }
        for (kind, hint) in [("file", "did you mean files?"), ("zfs", "there are: exec, files")] {
            let problems = open(kind, &nothing, base, program).expect_err("unknown");
            let expected = SettingProblem::new("driver", format!("unknown driver {kind}")).hint(hint);
            assert_eq!(problems, std::slice::from_ref(&expected));
            assert_eq!(check_config(kind, &nothing, base), Err(vec![expected]));
        }
    }
}
