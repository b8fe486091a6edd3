//! The first minutes: a whole set-up in one folder, made and run with one command.
//!
//! Nothing that is there is written over, so running it again goes on where it stopped, and what
//! somebody changed stays changed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::http::body::{ExecutionBody, ExplainBody, PolicyExplained};

use super::client::Client;
use super::key;
use super::out::{Exit, Failure, Out, quoted, safe};
use super::setup::{self, ConfigChoice};
use super::times::Times;
use crate::clock;

/// The folder that is made where the command is run.
const FOLDER: &str = "snapkeep-quickstart";
/// The only policy there.
const POLICY: &str = "quickstart";
/// How often to see whether a run has settled.
const FOLLOW_STEP: Duration = Duration::from_secs(1);
/// The file that remembers what the folder was made for.
const ORIGIN: &str = "policies.d/quickstart.toml";

/// Sets up a policy for `path` in a folder of its own, and runs it.
pub fn quickstart(path: &Path, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let path = directory(path)?;
    let folder = std::env::current_dir()
        .map(|here| here.join(FOLDER))
        .map_err(|error| Failure::new(Exit::Failed, format!("failed to find the current directory: {error}")))?;
    let unfit =
        |message: String| Failure::new(Exit::Usage, message).hint("name the directory whose files you care about");
    if path.starts_with(&folder) {
        return Err(unfit(format!("{} holds the snapshots themselves", path.display())));
    }
    if path.parent().is_none() {
        return Err(unfit("a whole machine is too much for a first try".to_string()));
    }
    let is_new = write_files(&folder, &path)?;
    let settings = folder.join("snapkeep.toml");
    introduce(&path, &settings, is_new, out)?;
    out.flush()?;

    let choice = ConfigChoice::new(Some(settings));
    let times = out.times.clone();
    // Once, to a person: a log is no place for a key.
    let owes_sheet = io::stdout().is_terminal().then(|| choice.clone());
    let over = Arc::new(AtomicBool::new(false));
    let follower_over = over.clone();
    let ended = setup::run_daemon(&choice, move |settings| {
        let socket = settings.socket.clone();
        // On a thread of its own: what it prints must not delay the daemon.
        std::thread::spawn(move || follow(socket, times.zone() == "UTC", owes_sheet, &follower_over));
    });
    over.store(true, Ordering::Relaxed);
    ended.map(|()| Exit::Fine)
}

fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let whole = path.canonicalize().map_err(|error| {
        Failure::new(Exit::Usage, format!("failed to find {}: {error}", path.display()))
            .hint("name a directory to take snapshots of")
    })?;
    if whole.to_str().is_none() {
        return Err(Failure::new(Exit::Usage, format!("{} is not written in UTF-8", path.display())));
    }
    if !whole.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("{} is not a directory", path.display())));
    }
    Ok(whole)
}

/// Writes what is not there yet, and tells whether anything was.
fn write_files(folder: &Path, path: &Path) -> Result<bool, Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Failed, format!("failed to write to {}: {error}", folder.display()));
    let (policy, repository) = (policy_text(path, folder), repository_text(folder));
    match fs::read_to_string(folder.join(ORIGIN)) {
        Ok(found) => {
            let key = paths_line(path);
            if !found.lines().any(|line| line.trim_start().starts_with(&key)) {
                let message = format!("{} was made for another directory than {}", folder.display(), path.display());
                return Err(Failure::new(Exit::Usage, message).hint(format!(
                    "see `paths` in {}; to begin anew, move {} away or work in another directory",
                    folder.join(ORIGIN).display(),
                    folder.display()
                )));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    for part in ["", "repositories.d", "policies.d", "channels.d"] {
        DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part)).map_err(failed)?;
    }
    let mut is_new = false;
    for (name, text) in [
        ("snapkeep.toml", SETTINGS_TEXT),
        ("repositories.d/local.toml", &repository),
        ("channels.d/log.toml", CHANNEL_TEXT),
        (ORIGIN, &policy),
    ] {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name)) {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).map_err(failed)?;
                is_new = true;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(is_new)
}

const SETTINGS_TEXT: &str = "\
# The daemon's own settings. Everything else of this set-up is in the folders beside this file.
state_dir = \"state\"
socket = \"state/api.sock\"

[log]
level = \"warn\"
";

fn repository_text(folder: &Path) -> String {
    let path = serde_json::Value::from(folder.join("repository").to_string_lossy());
    format!(
        "\
# Where snapshots are kept: deduplicated and encrypted, in restic's format.
# Its key, repository.key beside it, is made at first use. Without it nobody can read the snapshots:
# `snapkeep key sheet` prints what to keep elsewhere.
driver = \"files\"
path = {path}
"
    )
}

const CHANNEL_TEXT: &str = "\
# Notices go into the daemon's own log.
[log]
level = \"warn\"
";

/// The line by which a set-up is known to be for this directory; TOML's escapes are JSON's.
fn paths_line(path: &Path) -> String {
    format!("paths = [{}]", serde_json::Value::from(path.to_string_lossy()))
}

fn policy_text(path: &Path, folder: &Path) -> String {
    let paths = paths_line(path);
    // The set-up would be in every snapshot, and change with every run.
    let exclude = if folder.starts_with(path) { format!("exclude = [\"{FOLDER}\"]\n") } else { String::new() };
    format!(
        "\
description = \"A snapshot every minute, the newest five kept\"

[creation.schedule.cron]
expression = \"* * * * *\"

[deletion]                      # runs when creation has settled
[deletion.schedule.cron]
expression = \"* * * * *\"
[deletion.condition]
max_count = 5
min_count = 1

[snapshot_config]
repository = \"local\"
{paths}
{exclude}
[notification]
channels = [\"log\"]
"
    )
}

fn introduce(path: &Path, settings: &Path, is_new: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    let command = command();
    let config = format!("--config {FOLDER}/snapkeep.toml");
    let shown = |path: &Path| safe(&path.display().to_string()).into_owned();
    let folder = settings.parent().unwrap_or(settings);
    out.line(if is_new { "Set up:" } else { "Going on with:" })?;
    out.line(format!("  a snapshot of {} every minute, the newest five kept", shown(path)))?;
    out.line(format!("  settings and policy   {}", shown(folder)))?;
    out.line(format!("  snapshots             {}", shown(&folder.join("repository"))))?;
    out.line(format!("  their key             {}", shown(&folder.join("repository.key"))))?;
    out.line("The key is made with the first snapshot, at the next full minute. Without it nobody can read")?;
    out.line("the snapshots: the recovery sheet, printed then on a terminal and by `key sheet` below, is what to")?;
    out.line("keep away from this machine.")?;
    out.line("")?;
    out.line("In a second terminal, in this directory:")?;
    out.line(format!("  {command} {config} explain"))?;
    out.line(format!("  {command} {config} snapshots"))?;
    out.line(format!("  {command} {config} restore SNAPSHOT --to restored"))?;
    out.line(format!("  {command} {config} key sheet"))?;
    out.line("Ctrl-C ends it; the same command goes on later.")?;
    out.line("")
}

/// Returns how this program can be started from here: what was built may not be on the search path.
fn command() -> String {
    let Ok(program) = std::env::current_exe() else { return "snapkeep".to_string() };
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| program.strip_prefix(here).ok());
    let path = match relative {
        Some(relative) => Path::new(".").join(relative).display().to_string(),
        None => program.display().to_string(),
    };
    quoted(&path)
}

/// Prints a line for every run that settles, until told that it is over; and the recovery sheet of a
/// repository that has just been begun, where that is owed.
fn follow(socket: PathBuf, utc: bool, mut owes_sheet: Option<ConfigChoice>, over: &AtomicBool) {
    let Ok(client) = Client::new(socket) else { return };
    let mut told: Option<Told> = None;
    while !over.load(Ordering::Relaxed) {
        let body = client.get(&format!("/v1/explain?name={POLICY}")).and_then(|answer| answer.read::<ExplainBody>());
        if let Ok(body) = body
            && let Some(policy) = body.policies.first()
        {
            let now = clock::now().wall;
            let times = if utc { Times::utc(now) } else { Times::local(now) };
            let seen = Told::of(policy);
            // What had settled before this start was told then.
            let before = told.take().unwrap_or_else(|| seen.clone());
            let parts = before.news(policy, &times);
            let has_news = !parts.is_empty();
            if has_news {
                // Whoever closed this terminal does not read it.
                let _ = writeln!(io::stdout(), "{}", parts.join(" · "));
            }
            told = Some(seen);
            if let Some(choice) = &owes_sheet
                && has_news
                && give_sheet(choice, times)
            {
                owes_sheet = None;
            }
        }
        client.pause(FOLLOW_STEP);
    }
}

/// Prints the recovery sheet, and tells whether that is done. Where it cannot be had yet, the next run
/// may have begun the repository; `key sheet` says why to whoever asks.
fn give_sheet(choice: &ConfigChoice, times: Times) -> bool {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let mut out = Out::new(&mut stdout, &mut stderr, times, false, false);
    key::sheet(choice, &mut out).is_ok()
}

/// The latest settled runs that were told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    creation: Option<Box<str>>,
    deletion: Option<Box<str>>,
}

impl Told {
    fn of(policy: &PolicyExplained) -> Told {
        let id = |run: Option<&ExecutionBody>| run.map(|run| run.run_id.clone());
        Told { creation: id(settled(policy, true)), deletion: id(settled(policy, false)) }
    }

    fn news(&self, policy: &PolicyExplained, times: &Times) -> Vec<String> {
        let mut parts = Vec::new();
        for (is_creation, told) in [(true, &self.creation), (false, &self.deletion)] {
            if let Some(run) = settled(policy, is_creation)
                && told.as_ref() != Some(&run.run_id)
            {
                parts.push(line(run, times));
            }
        }
        parts
    }
}

fn settled(policy: &PolicyExplained, is_creation: bool) -> Option<&ExecutionBody> {
    let workflow = if is_creation { &policy.creation } else { &policy.deletion };
    workflow.as_ref()?.latest_execution.as_ref().filter(|run| run.end_time.is_some())
}

fn line(run: &ExecutionBody, times: &Times) -> String {
    let at = times.clock(run.end_time.unwrap_or(run.start_time));
    let info = run.info.as_ref();
    let message = info.and_then(|info| info.message.as_deref()).unwrap_or(&run.status);
    match info.and_then(|info| info.cause.as_deref()) {
        Some(cause) => format!("{at} {}: {}", safe(message), safe(cause)),
        None => format!("{at} {}", safe(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_never_written_over_and_another_directory_is_refused() {
        let here = tempfile::tempdir().expect("a directory");
        let folder = here.path().join(FOLDER);
        assert!(write_files(&folder, Path::new("/srv/a \"b\"")).expect("written"));
        let text = fs::read_to_string(folder.join(ORIGIN)).expect("there");
        let table: toml::Table = text.parse().expect("TOML");
        assert_eq!(table["snapshot_config"]["paths"][0].as_str(), Some("/srv/a \"b\""));
        assert!(table["snapshot_config"].get("exclude").is_none());
        assert!(policy_text(here.path(), &folder).contains("exclude = [\"snapkeep-quickstart\"]"));
        let repository = repository_text(&folder);
        for text in [SETTINGS_TEXT, &repository, CHANNEL_TEXT] {
            text.parse::<toml::Table>().expect("TOML");
        }

        fs::write(folder.join("snapkeep.toml"), "# mine\n").expect("written");
        assert!(!write_files(&folder, Path::new("/srv/a \"b\"")).expect("again"));
        assert_eq!(fs::read_to_string(folder.join("snapkeep.toml")).expect("there"), "# mine\n");
        assert!(write_files(&folder, Path::new("/srv/other")).is_err());
    }
}
