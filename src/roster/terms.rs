//! The terms of a run as one text: everything needed to build its entry again.
//!
//! A run finishes under the terms it began with, also when the process was restarted and the files
//! were edited or deleted meanwhile (S18, S20, S22).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::build::{self, Memo, Parts};
use super::shared::Shared;
use super::{Entry, Repository};
use crate::config::Digest;
use crate::config::check_policy::Names;
use crate::config::problem::Problem;
use crate::drivers::registry;
use crate::lifecycle::policy::Revision;
use crate::lifecycle::schedule::Calendars;

/// The stored form. A field may be added with a default; none may change its meaning.
#[derive(Debug, Serialize, Deserialize)]
struct TermsRow {
    seed: String,
    policy: TextRow,
    repository: TextRow,
}

#[derive(Debug, Serialize, Deserialize)]
struct TextRow {
    name: String,
    origin: String,
    /// Of the text with its comments, in hex.
    digest: String,
    /// Without its comments.
    toml: String,
}

/// Why terms could not be built again. Completes "failed to take up the terms of a run".
#[derive(Debug, thiserror::Error)]
pub enum TermsError {
    /// The text is none of ours.
    #[error("text is damaged: {0}")]
    Damaged(String),
    /// The text was accepted once and is not any more, by a newer version or without its zone.
    #[error("terms are no longer accepted: {}", first(.0))]
    Refused(Vec<Problem>),
}

fn first(problems: &[Problem]) -> String {
    problems.iter().find(|problem| problem.is_error()).map_or_else(String::new, |problem| problem.message.to_string())
}

/// Returns a text from which [`entry_from_terms`] builds the entry again. `text` is the policy's as it
/// was written; `None` when the entry was made from another one.
pub fn terms_text(entry: &Entry, text: &str) -> Option<String> {
    if Digest::of(text) != entry.digest {
        return None;
    }
    let repository = &entry.repository;
    let row = TermsRow {
        seed: entry.seed.to_string(),
        policy: text_row(&entry.policy.name, &entry.origin(), entry.digest, &build::without_comments(text)),
        repository: text_row(&repository.name, &repository.origin, repository.digest, &repository.text),
    };
    // A struct of strings always becomes JSON.
    Some(serde_json::to_string(&row).unwrap_or_default())
}

fn text_row(name: &str, origin: &Path, digest: Digest, toml: &str) -> TextRow {
    TextRow {
        name: name.into(),
        origin: origin.to_string_lossy().into(),
        digest: digest.to_string(),
        toml: toml.into(),
    }
}

/// Builds the entry of a run again, with the revision it had. Its channels are not looked up: a
/// notice to one that is gone is settled by whoever delivers.
pub fn entry_from_terms(text: &str) -> Result<Entry, TermsError> {
    let row: TermsRow = serde_json::from_str(text).map_err(|error| TermsError::Damaged(error.to_string()))?;
    let digest = |text: &str| {
        u64::from_str_radix(text, 16).map(Digest).map_err(|_| TermsError::Damaged("digest is not hexadecimal".into()))
    };
    let (policy_digest, repository_digest) = (digest(&row.policy.digest)?, digest(&row.repository.digest)?);

    let (name, origin) = (row.repository.name, row.repository.origin);
    let (repository, problems) =
        build::repository(&name, Path::new(&origin), &row.repository.toml, Path::new(registry::OWN_PROGRAM));
    let Some(mut repository) = repository else { return Err(TermsError::Refused(problems)) };
    repository.digest = repository_digest;
    repository.revision = Revision(repository_digest.to_string().into());

    let repositories: BTreeMap<Arc<str>, Arc<Repository>> = BTreeMap::from([(name.into(), Arc::new(repository))]);
    let mut parts = Parts {
        repositories: &repositories,
        channels: &AnyName,
        seed: &Arc::from(row.seed),
        memo: &mut Memo::new(Calendars::default(), Shared::default()),
        holder: &|_| None,
    };
    let (entry, problems) = build::entry(&row.policy.name, Path::new(&row.policy.origin), &row.policy.toml, &mut parts);
    match entry {
        Some(entry) => Ok(build::with_digest(entry, policy_digest)),
        None => Err(TermsError::Refused(problems)),
    }
}

/// Accepts every name.
struct AnyName;

impl Names for AnyName {
    fn has(&self, _name: &str) -> bool {
        true
    }

    fn all(&self) -> Vec<&str> {
        Vec::new()
    }
}
