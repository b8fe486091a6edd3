//! From one file's text to what is in force, or to its problems. Pure, but for the driver that is
//! opened, which touches nothing outside until it is called, and for zone data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::shared::Shared;
use super::{Channel, Config, Entry, Repository};
use crate::config::check_policy::{self, Names, Surroundings};
use crate::config::policy_document::PolicyDocument;
use crate::config::problem::Problem;
use crate::config::reader::Findings;
use crate::config::repository::RepositoryDocument;
use crate::config::rest::Rest;
use crate::config::schedules::Schedules;
use crate::config::table::nearest;
use crate::config::{Digest, FileKind, channel, zone};
use crate::drivers::registry::{self, SettingProblem};
use crate::lifecycle::policy::{Policy, Revision};
use crate::lifecycle::schedule::Calendars;
use crate::notify;

/// What was made before in this load, so that equal things are one thing in memory.
#[derive(Debug)]
pub(super) struct Memo {
    pub schedules: Schedules,
    pub shared: Shared,
    /// The folders files were read from.
    folders: BTreeSet<Arc<Path>>,
}

impl Memo {
    /// Returns a memo that goes on with what earlier loads shared.
    pub(super) fn new(calendars: Calendars, shared: Shared) -> Memo {
        Memo { schedules: Schedules::new(zone::load, calendars), shared, folders: BTreeSet::new() }
    }

    /// Returns the folder of a file.
    pub(super) fn folder(&mut self, file: &Path) -> Arc<Path> {
        let folder = file.parent().unwrap_or(Path::new(""));
        if let Some(known) = self.folders.get(folder) {
            return known.clone();
        }
        let folder: Arc<Path> = folder.into();
        self.folders.insert(folder.clone());
        folder
    }
}

/// What a policy is built from beside its text.
pub(super) struct Parts<'a> {
    pub repositories: &'a BTreeMap<Arc<str>, Arc<Repository>>,
    pub channels: &'a dyn Names,
    pub seed: &'a Arc<str>,
    pub memo: &'a mut Memo,
    /// Who else has a uid.
    pub holder: &'a dyn Fn(&str) -> Option<String>,
}

/// Returns what is wrong with a name, which is a file's stem.
pub(super) fn name_problem(file: &Path, word: &str, name: &str) -> Option<Problem> {
    // What others named is called as they call it: a channel's identity in OpenSearch has capitals.
    let plain = if word == FileKind::Policy.word() { name.to_string() } else { name.to_ascii_lowercase() };
    if Policy::is_name(&plain) {
        return None;
    }
    let better: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' })
        .collect();
    let better = better.trim_matches(|c: char| !c.is_ascii_alphanumeric()).replace("..", ".");
    let problem = Problem::of_file(file, format!("`{name}` cannot be the name of a {word}"));
    Some(if Policy::is_name(&better) {
        problem.with_hint(format!("names hold a–z, 0–9, `.`, `_` and `-`: rename the file to {better}.toml"))
    } else {
        problem.with_hint(
            "names hold a–z, 0–9, `.`, `_` and `-`, begin with a letter or digit, and end after 128 characters",
        )
    })
}

/// Returns the TOML of a text without its comments.
pub(super) fn without_comments(text: &str) -> Box<str> {
    let table = text.parse::<toml::Table>().ok();
    table.and_then(|table| toml::to_string(&table).ok()).unwrap_or_else(|| text.to_string()).into()
}

pub(super) fn entry(name: &str, origin: &Path, text: &str, parts: &mut Parts<'_>) -> (Option<Entry>, Vec<Problem>) {
    let mut findings = Findings::new(origin, text);
    let document = PolicyDocument::read(&mut findings);
    let digest = Digest::of(text);

    let snapshot = document.snapshot_config.as_ref();
    let wanted = snapshot.and_then(|part| part.repository.as_ref());
    let repository = wanted.and_then(|name| parts.repositories.get(name.value.as_str())).cloned();
    let revision = revision(digest, repository.as_ref().map_or(Digest(0), |repository| repository.digest));
    if let Some(uid) = &document.uid
        && let Some(other) = (parts.holder)(&uid.value)
    {
        findings.error(uid.at.clone(), format!("uid is already that of policy {other}")).hint(
            "a copy needs a uid of its own, or none; two policies with one uid would delete each other's snapshots",
        );
    }

    let mut around = Surroundings {
        repositories: parts.repositories,
        channels: parts.channels,
        seed: parts.seed,
        schedules: &mut parts.memo.schedules,
    };
    let policy = check_policy::check(&mut findings, name, revision, &document, &mut around);
    let mut config = None;
    if let (Some(part), Some(repository)) = (snapshot, &repository) {
        let keys = part.driver.json(&mut findings);
        match registry::check_config(&repository.kind, &keys, base(origin)) {
            Ok(checked) => config = Some(Config::new(&checked)),
            Err(problems) => note_all(&mut findings, &part.driver, problems),
        }
    }

    let accepted = !findings.has_errors();
    let entry = match (policy, repository, config) {
        (Some(mut policy), Some(repository), Some(config)) if accepted => {
            parts.memo.shared.share(&mut policy);
            let folder = parts.memo.folder(origin);
            Some(Entry { policy, repository, config, folder, stale: false, digest, seed: parts.seed.clone() })
        }
        _ => None,
    };
    (entry, findings.into_problems())
}

/// Returns the names of the repository and the channels a policy's text asks for.
pub(super) fn names_wanted(text: &str) -> (Option<String>, Vec<String>) {
    let document = PolicyDocument::read(&mut Findings::new(Path::new(""), text));
    let repository = document.snapshot_config.and_then(|part| part.repository).map(|name| name.value);
    let channels = document.notification.map(|part| part.channels).unwrap_or_default();
    (repository, channels.into_iter().map(|channel| channel.name.value).collect())
}

/// Returns the revision of a policy's text under a repository's.
pub(super) fn revision(policy: Digest, repository: Digest) -> Revision {
    Revision(policy.and(repository).to_string().into())
}

/// `program` is what drivers inside this program are started by.
pub(super) fn repository(name: &str, origin: &Path, text: &str, program: &Path) -> (Option<Repository>, Vec<Problem>) {
    let mut findings = Findings::new(origin, text);
    let document = RepositoryDocument::read(&mut findings);
    let mut driver = None;
    if let Some(kind) = &document.driver {
        let settings = document.settings.json(&mut findings);
        if registry::kinds().contains(&kind.value.as_str()) {
            match registry::open(&kind.value, &settings, base(origin), program) {
                Ok(open) => driver = Some((kind.value.as_str().into(), open)),
                Err(problems) => note_all(&mut findings, &document.settings, problems),
            }
        } else {
            let hint = match nearest(&kind.value, registry::kinds()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("the drivers here are {}", registry::kinds().join(", ")),
            };
            findings.error(kind.at.clone(), format!("unknown driver `{}`", kind.value)).hint(hint);
        }
    }
    let digest = Digest::of(text);
    let accepted = !findings.has_errors();
    let repository = driver.filter(|_| accepted).map(|(kind, driver)| Repository {
        name: name.into(),
        kind,
        driver,
        revision: Revision(digest.to_string().into()),
        origin: origin.into(),
        text: without_comments(text),
        digest,
    });
    (repository, findings.into_problems())
}

pub(super) fn channel(name: &str, origin: &Path, text: &str) -> (Option<Channel>, Vec<Problem>) {
    let mut findings = Findings::new(origin, text);
    let channel = channel::read(&mut findings, base(origin)).map(|settings| Channel {
        sender: notify::open(&settings.kind),
        name: name.into(),
        settings,
        revision: Revision(Digest::of(text).to_string().into()),
        origin: origin.into(),
    });
    (channel, findings.into_problems())
}

/// Notes a driver's problems at the places of the keys they speak of.
fn note_all(findings: &mut Findings<'_>, keys: &Rest<'_>, problems: Vec<SettingProblem>) {
    for problem in problems {
        let of_key = problem.message.starts_with("unknown key");
        let at = match problem.path.as_slice() {
            [key] if of_key => keys.key_at(key).unwrap_or_else(|| keys.at.clone()),
            path => keys.locate(path),
        };
        findings.error(at, problem.message).hint_if(problem.hint);
    }
}

/// Relative paths begin where `snapkeep.toml` is or would be: above `policies.d` and its like.
fn base(origin: &Path) -> &Path {
    match origin.parent().and_then(Path::parent) {
        Some(base) if base != Path::new("") => base,
        Some(_) | None => Path::new("."),
    }
}

/// Returns an entry that was built from a text without its comments with the digest of the text as
/// it was written, so that its revision is the one it would have had.
pub(super) fn with_digest(mut entry: Entry, digest: Digest) -> Entry {
    entry.policy.revision = revision(digest, entry.repository.digest);
    entry.digest = digest;
    entry
}
