//! Where the command line meets the configuration, the journal and the daemon: everything that it
//! does without asking a running daemon begins here.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock;
use crate::config::FileKind;
use crate::config::problem::Problem;
use crate::config::settings::{LogSettings, Settings};
use crate::config::sources::Sources;
use crate::config::zone;
use crate::daemon;
use crate::http::body::ProblemBody;
use crate::http::problem_body;
use crate::journal::{self, Depth, ErrorKind, OpenError, Reader};
use crate::lifecycle::keep_rules::KeepRules;
use crate::lifecycle::time::Timestamp;
use crate::roster::{Entry, Loader, Repository, Roster, load_settings};

use super::log;
use super::out::{Exit, Failure};

/// Where the configuration is.
#[derive(Clone, Debug)]
pub struct ConfigChoice(Sources);

/// The configuration, read.
#[derive(Debug)]
pub struct Loaded {
    /// What is in force.
    pub roster: Arc<Roster>,
    /// What is wrong.
    pub problems: Vec<ProblemBody>,
}

impl ConfigChoice {
    /// Returns the choice of a settings file, or of the system's directories.
    pub fn new(file: Option<PathBuf>) -> ConfigChoice {
        // Paths in it begin where it is, also for a driver's process, which works in another directory.
        let whole = |file: PathBuf| std::path::absolute(&file).unwrap_or(file);
        ConfigChoice(file.map_or_else(Sources::system, |file| Sources::of_file(&whole(file))))
    }
}

/// Reads the daemon's own settings; fails when something is wrong with them.
pub fn settings(choice: &ConfigChoice) -> Result<Settings, Failure> {
    let (settings, problems) = load_settings(&choice.0);
    let errors: Vec<String> = problems.iter().filter(|problem| problem.is_error()).map(Problem::to_string).collect();
    if errors.is_empty() { Ok(settings) } else { Err(Failure::new(Exit::Usage, errors.join("\n"))) }
}

/// Reads the whole configuration. Nothing is put in force, and nothing is taken from before: what
/// the files say is what is told.
pub fn load(choice: &ConfigChoice) -> Loaded {
    let (settings, _) = load_settings(&choice.0);
    let sources = choice.0.clone().with_state(&settings.state_dir);
    let mut loader = Loader::new(sources, |_, _| None).with_policies_of_the_owner_of(&settings.state_dir);
    let roster = loader.load(clock::now().wall);
    let problems = roster.problems.iter().map(problem_body).collect();
    Loaded { roster, problems }
}

/// Reads what a daemon would put in force: of a file that is no good, its last good version.
pub fn load_in_force(choice: &ConfigChoice, settings: &Settings) -> Arc<Roster> {
    let sources = choice.0.clone().with_state(&settings.state_dir);
    let last_good = daemon::last_good(&settings.state_dir);
    Loader::new(sources, last_good).with_policies_of_the_owner_of(&settings.state_dir).load(clock::now().wall)
}

/// Opens the journal for reading, without a daemon.
pub fn journal_reader(state_dir: &Path) -> Result<Reader, Failure> {
    Reader::open(state_dir).map_err(|error| unopened(&error))
}

/// Returns the folders in which policies are looked for, in rising precedence; the last is where people write.
pub fn policy_folders(choice: &ConfigChoice) -> Vec<PathBuf> {
    let (settings, _) = load_settings(&choice.0);
    choice.0.clone().with_state(&settings.state_dir).folders(FileKind::Policy)
}

/// Returns the repository of this name.
pub fn repository(choice: &ConfigChoice, name: &str) -> Result<Arc<Repository>, Failure> {
    named(&load(choice).roster, name)
}

/// Returns the repository of this name; without a name the only one there is.
pub fn only_repository(choice: &ConfigChoice, name: Option<&str>) -> Result<Arc<Repository>, Failure> {
    let roster = load(choice).roster;
    let usage = |message: &str| Failure::new(Exit::Usage, message);
    match (name, roster.repositories.len()) {
        (Some(name), _) => named(&roster, name),
        (None, 0) => Err(usage("there is no repository").hint("`snapkeep check` tells what is wrong")),
        (None, 1) => roster.repositories.values().next().cloned().ok_or_else(|| usage("there is no repository")),
        (None, _) => Err(usage("there are several repositories: name one").hint(there_are(&roster))),
    }
}

/// Returns the repository of this name, or says which names there are.
pub fn named(roster: &Roster, name: &str) -> Result<Arc<Repository>, Failure> {
    let unknown = || Failure::new(Exit::Usage, format!("there is no repository `{name}`")).hint(there_are(roster));
    roster.repositories.get(name).cloned().ok_or_else(unknown)
}

fn there_are(roster: &Roster) -> String {
    let known: Vec<&str> = roster.repositories.keys().map(|name| &**name).collect();
    format!("there are: {}", known.join(", "))
}

/// Returns in a line each where the zones that policies name differ between this system's files,
/// which are in force, and the data built in.
pub fn zone_differences(roster: &Roster) -> Vec<String> {
    let names: BTreeSet<String> = roster.policies.values().flat_map(|entry| zones(entry)).collect();
    let versions = zone::versions();
    let system = versions.system.as_deref().unwrap_or("of unknown release");
    zone::compare(names.iter().map(String::as_str), clock::now().wall)
        .into_iter()
        .map(|difference| {
            format!(
                "{}: from {} on it is {} from UTC by the system's zone files ({system}, in force), {} by the data \
                 built in ({})",
                difference.name,
                difference.at,
                offset(difference.system_seconds),
                offset(difference.embedded_seconds),
                versions.embedded
            )
        })
        .collect()
}

fn zones(entry: &Entry) -> Vec<String> {
    let policy = &entry.policy;
    let creation = policy.creation.as_ref().map(|rule| &rule.pace);
    let deletion = policy.deletion.as_ref().map(|rule| &rule.pace);
    let schedules = creation.into_iter().chain(deletion).filter_map(|pace| pace.schedule.zone());
    let keep = policy.deletion.as_ref().and_then(|rule| rule.condition.keep()).map(KeepRules::zone);
    schedules.chain(keep).chain([policy.date_format.zone()]).map(|zone| zone.name().to_string()).collect()
}

fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)
}

/// Returns what is wrong with a journal, without a daemon.
pub fn journal_check(state_dir: &Path) -> Result<Vec<String>, Failure> {
    journal::check(state_dir, Depth::Whole).map_err(|error| unopened(&error))
}

/// Copies a journal, without a daemon.
pub fn journal_backup(state_dir: &Path) -> Result<PathBuf, Failure> {
    journal::backup(state_dir, now()).map_err(|error| unopened(&error))
}

/// Puts a copy in a journal's place, and returns where the old one was put.
pub fn journal_restore(state_dir: &Path, file: &Path) -> Result<Option<PathBuf>, Failure> {
    journal::restore(state_dir, file, now()).map_err(|error| unopened(&error))
}

/// Returns what time it is.
pub fn now() -> Timestamp {
    clock::now().wall
}

fn unopened(error: &OpenError) -> Failure {
    let exit = match error {
        OpenError::Locked(_) | OpenError::Unsuitable(_) | OpenError::Newer { .. } => Exit::Usage,
        OpenError::Corrupt(_) | OpenError::Missing(_) => Exit::Failed,
        OpenError::Failed(error) => match error.kind() {
            ErrorKind::Io | ErrorKind::Full | ErrorKind::Busy => Exit::JournalFailed,
            ErrorKind::Conflict | ErrorKind::Taken | ErrorKind::Corrupt | ErrorKind::Other => Exit::Failed,
        },
    };
    Failure::new(exit, chain(error))
}

/// Runs the daemon until it is told to end; `announce` is called once it answers.
pub fn run_daemon(choice: &ConfigChoice, announce: impl FnOnce(&Settings)) -> Result<(), Failure> {
    let settings = settings(choice)?;
    let LogSettings { level, format } = settings.log;
    log::start(level, format);
    daemon::run(&choice.0, &settings, |_| announce(&settings)).map_err(|error| {
        let exit = match error.exit_code() {
            2 => Exit::Usage,
            74 => Exit::JournalFailed,
            _ => Exit::Failed,
        };
        Failure::new(exit, chain(&error))
    })
}

/// Returns an error with everything that led to it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
