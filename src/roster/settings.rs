//! Reads the daemon's own settings.

use std::path::Path;

use crate::config::problem::Problem;
use crate::config::reader::Findings;
use crate::config::settings::Settings;
use crate::config::sources::Sources;
use crate::ownership::{Refusal, Trust};

/// Reads the daemon's own settings. What is wrong in them has its default in what is returned;
/// whoever starts a daemon should not go on when there is an error.
pub fn load_settings(sources: &Sources) -> (Settings, Vec<Problem>) {
    read_settings(sources, &Trust::of_this_process())
}

pub(super) fn read_settings(sources: &Sources, trust: &Trust) -> (Settings, Vec<Problem>) {
    let Some(path) = sources.settings_file() else {
        return (Settings::default_in(sources.defaults()), Vec::new());
    };
    let path = path.as_path();
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let whole = trust.check_folder(folder).and_then(|()| trust.read(path));
    let text = whole.and_then(|whole| {
        String::from_utf8(whole.bytes).map_err(|_| Refusal { message: "text is not UTF-8".into(), hint: None })
    });
    match text {
        Ok(text) => {
            let mut findings = Findings::new(path, &text);
            let settings = Settings::read(&mut findings, folder, sources.defaults());
            (settings, findings.into_problems())
        }
        Err(refusal) => {
            let mut problem = Problem::of_file(path, refusal.message);
            problem.hint = refusal.hint.map(Into::into);
            (Settings::default_in(sources.defaults()), vec![problem])
        }
    }
}
