//! The lines of the log about what is wrong with the files: each problem once, when it comes.

use crate::roster::Problem;

/// Logs the problems that are not among those that are known.
pub(super) fn log(problems: &[Problem], known: &[Problem]) {
    for problem in problems.iter().filter(|problem| !known.contains(problem)) {
        let Problem { file, place, severity: _, message, hint } = problem;
        let (line, column) = (place.as_ref().map(|place| place.line), place.as_ref().map(|place| place.column));
        let at = place.as_ref().map(|place| format!(":{}:{}", place.line, place.column)).unwrap_or_default();
        let (file, hint) = (file.display(), hint.as_deref());
        if problem.is_error() {
            tracing::error!(%file, line, column, hint, "{file}{at}: {message}");
        } else {
            tracing::warn!(%file, line, column, hint, "{file}{at}: {message}");
        }
    }
}
