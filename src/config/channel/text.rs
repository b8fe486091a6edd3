//! Texts of channels that may be secrets.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::problem::Severity;
use crate::config::reader::Findings;
use crate::config::table::Table;
use crate::lifecycle::channel::{MaybeSecret, SecretSource};

/// Reads where a secret is: a table with `credential`, the name of one the service was given, or `file`.
pub fn secret<'a>(
    findings: &mut Findings<'_>,
    table: &mut Table<'a, '_>,
    key: &'a str,
    base: &Path,
) -> Option<SecretSource> {
    if table.has(key) && !table.is_table(key) {
        // What was written is not repeated: it may be the secret.
        let at = table.key_at(key).unwrap_or_else(|| table.at.clone());
        table.allow(key);
        findings
            .concealed(at, format!("{key} is a secret, and does not belong into this file"), Severity::Error)
            .hint(format!("write {key}.file = \"PATH\" of a file with mode 0600, or {key}.credential = \"NAME\""));
        return None;
    }
    let mut table = table.table(findings, key)?;
    let source = source(findings, &mut table, base);
    table.finish(findings, &[]);
    source
}

/// Reads a text, or where it is read from where it is a secret.
pub fn maybe_secret(
    findings: &mut Findings<'_>,
    table: &mut Table<'_, '_>,
    key: &'static str,
    base: &Path,
) -> Option<MaybeSecret> {
    if table.is_text(key) {
        return table.string(findings, key).map(|text| MaybeSecret::Plain(text.value.into()));
    }
    secret(findings, table, key, base).map(MaybeSecret::Secret)
}

/// Reads a table of secrets, each under a name of its own.
pub fn secrets(findings: &mut Findings<'_>, table: Table<'_, '_>, base: &Path) -> BTreeMap<Box<str>, SecretSource> {
    let mut secrets = BTreeMap::new();
    for (name, at) in table.keys() {
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(is_start) || !name.chars().all(|c| is_start(c) || c.is_ascii_digit()) {
            findings
                .concealed(at, "secret has a name that no template can use", Severity::Error)
                .hint("write letters, digits and _");
            continue;
        }
        match table.inner(name) {
            Some(mut inner) => {
                if let Some(source) = source(findings, &mut inner, base) {
                    secrets.insert(name.into(), source);
                }
                inner.finish(findings, &[]);
            }
            // What was written is not repeated: it may be the secret.
            None => findings
                .concealed(at, format!("{name} is a secret, and does not belong into this file"), Severity::Error)
                .hint(format!(
                    "write {name}.file = \"PATH\" of a file with mode 0600, or {name}.credential = \"NAME\""
                )),
        }
    }
    secrets
}

fn source(findings: &mut Findings<'_>, table: &mut Table<'_, '_>, base: &Path) -> Option<SecretSource> {
    let file = table.string(findings, "file");
    let credential = table.string(findings, "credential");
    match (file, credential) {
        (Some(file), None) => Some(SecretSource::File(base.join(file.value))),
        (None, Some(name)) if is_credential(&name.value) => Some(SecretSource::Credential(name.value.into())),
        (None, Some(name)) => {
            findings
                .error(name.at, "credential is a name, not a path")
                .hint("write the part of LoadCredential= before the colon");
            None
        }
        (Some(_), Some(second)) => {
            findings.error(second.at, "both file and credential are given").hint("leave one of them out");
            None
        }
        (None, None) => {
            if !table.has("file") && !table.has("credential") {
                findings
                    .error(table.at.clone(), format!("{} does not say where it is", table.path))
                    .hint("write file = \"PATH\" or credential = \"NAME\" in it");
            }
            None
        }
    }
}

/// Whether systemd would take it as a credential's name.
fn is_credential(name: &str) -> bool {
    !name.contains('/') && name != "." && name != ".." && name.len() <= 255 && !name.chars().any(char::is_control)
}
