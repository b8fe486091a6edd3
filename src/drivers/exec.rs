//! `driver = "exec"`: a program of the operator's choice that speaks the driver protocol.
//!
//! ```toml
//! driver = "exec"
//! command = ["/usr/local/lib/snapkeep/tar-driver", "--quiet"]
//! path = "/srv/archives"      # every other key is handed to the program
//! ```

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::process::{self, Limits, ProcessDriver, Program};
use super::settings::{SettingProblem, Settings};
use super::{Abilities, Driver};

/// The keys that are ours; all others belong to the program.
pub(crate) const OWN_KEYS: [&str; 4] = ["command", "abilities", "effects_max", "memory_max"];

/// Opens a repository. `command` is argv: no shell reads it. Its program may be relative to `base`
/// when it holds a slash; without one it is looked up in the fixed path.
pub fn open(table: &Map<String, Value>, base: &Path) -> Result<Arc<dyn Driver>, Vec<SettingProblem>> {
    program(table, base).map(process::shared)
}

/// The same, as the program that it is.
pub(super) fn program(table: &Map<String, Value>, base: &Path) -> Result<ProcessDriver, Vec<SettingProblem>> {
    let own: Map<String, Value> =
        table.iter().filter(|(key, _)| OWN_KEYS.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut settings = Settings::new(&own);
    let command = settings.required_texts("command");
    let memory_max = settings.bytes("memory_max");
    let effects_max = settings.count("effects_max", 64);
    let mut abilities = Abilities {
        cancel: false,
        restore: false,
        restore_beside: false,
        verify: false,
        maintain: false,
        label: false,
        effects_max: 1,
    };
    if let Some(effects_max) = effects_max.and_then(|count| usize::try_from(count).ok()) {
        abilities.effects_max = effects_max;
    }
    for (index, word) in settings.texts("abilities").unwrap_or_default().into_iter().enumerate() {
        match word {
            "cancel" => abilities.cancel = true,
            "restore" => abilities.restore = true,
            "restore_beside" => abilities.restore_beside = true,
            "verify" => abilities.verify = true,
            "maintain" => abilities.maintain = true,
            "label" => abilities.label = true,
            other => settings.problem(SettingProblem {
                path: vec!["abilities".to_owned(), index.to_string()],
                message: format!("unknown ability {other}"),
                hint: Some(
                    "a program may be able to \"cancel\", \"restore\", \"restore_beside\", \"verify\", \"maintain\" \
                     and \"label\""
                        .to_owned(),
                ),
            }),
        }
    }
    let problems = settings.finish();
    let (Some(command), true) = (command, problems.is_empty()) else { return Err(problems) };
    let (path, arguments) = match command.split_first() {
        Some((path, arguments)) => (*path, arguments.iter().map(OsString::from).collect()),
        None => return Err(vec![SettingProblem::new("command", "command is empty")]),
    };
    let program = Program {
        path: if path.contains('/') { base.join(path).into_os_string() } else { path.into() },
        arguments,
        called: None,
        title: path.rsplit('/').next().unwrap_or(path).to_owned(),
    };
    let mut limits = Limits::default();
    if let Some(memory_max) = memory_max {
        limits.memory_bytes_max = memory_max;
    }
    let rest = table.iter().filter(|(key, _)| !OWN_KEYS.contains(&key.as_str()));
    let repository = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(ProcessDriver::new(program, repository, abilities, limits))
}

/// Accepts any configuration: only the program knows what it means.
pub fn check_config(config: &Map<String, Value>) -> Result<Value, Vec<SettingProblem>> {
    Ok(Value::Object(config.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(table: Value) -> Vec<String> {
        let table = table.as_object().expect("a table").clone();
        let problems = open(&table, Path::new("/etc/snapkeep")).err().unwrap_or_default();
        problems.into_iter().map(|p| format!("{}: {}", p.path.join("."), p.message)).collect()
    }

    #[test]
    fn only_the_keys_of_exec_itself_are_checked() {
        assert_eq!(problems(json!({"command": ["x"], "whatever": {"a": 1}})), [""; 0]);
        assert_eq!(problems(json!({})), ["command: command is missing"]);
        assert_eq!(problems(json!({"command": []})), ["command: command is empty"]);
        assert_eq!(problems(json!({"command": "x y"})), ["command: command must be a list of texts"]);
        assert_eq!(
            problems(json!({"command": ["x"], "abilities": ["fly"], "effects_max": 0})),
            ["effects_max: effects_max must be a whole number from 1 to 64", "abilities.0: unknown ability fly"]
        );
    }

    #[test]
    fn a_program_is_relative_to_the_configuration_only_when_it_holds_a_slash() {
        for (command, path) in [("drv", "\"drv\""), ("bin/drv", "\"/etc/snapkeep/bin/drv\""), ("/a/drv", "\"/a/drv\"")]
        {
            let table = json!({ "command": [command] });
            let driver = open(table.as_object().expect("a table"), Path::new("/etc/snapkeep")).expect("valid");
            assert!(format!("{driver:?}").contains(&format!("path: {path}")), "{driver:?}");
        }
    }
}
