//! The recovery sheet: what somebody needs who has the repository and nothing else, years later.

use sha2::{Digest, Sha256};

use crate::drivers::keys::{KeyReport, Secret};
use crate::lifecycle::hex::hex;

use super::out::{quoted, safe};

/// What the sheet is about.
#[derive(Debug)]
pub struct Facts<'f> {
    /// What people call the repository.
    pub name: &'f str,
    /// What the driver tells of it.
    pub report: &'f KeyReport,
    /// The machine.
    pub host: String,
    /// When, with the zone.
    pub made: String,
}

/// Returns the sheet, with the key where there is one.
pub fn text(facts: &Facts<'_>, secret: Option<&Secret>) -> String {
    let Facts { name, report, host, made } = facts;
    let key_file = match &report.credential {
        Some(credential) => format!("credential {credential} of the daemon's unit"),
        None => report.key_file.display().to_string(),
    };
    let key_id = report.in_use().map_or("unknown", |slot| slot.id.get(..8).unwrap_or(&slot.id));
    let repository = quoted(&report.repository.display().to_string());
    let restic = format!("restic -r {repository} --password-file recovery.key");
    let key = match secret {
        None => format!(
            "NOT ON THIS COPY. `snapkeep key sheet {name} --to FILE` writes one that has it.\n\
             Without that, save {key_file} elsewhere."
        ),
        Some(secret) if safe(secret.text()) != secret.text() => {
            format!("It holds what cannot be printed: keep a copy of {key_file} with this sheet.")
        }
        Some(secret) => secret.text().to_owned(),
    };
    let check = match secret {
        None => String::new(),
        Some(secret) => format!(
            "\n   Typed without a slip, `sha256sum recovery.key` begins with {}.\n",
            digest(secret.text()).get(..12).unwrap_or_default()
        ),
    };
    format!(
        "\
RECOVERY SHEET OF A SNAPKEEP REPOSITORY

Keep it away from the machine that it is about: on paper, or where the loss of that machine cannot
reach. Whoever has this key and the repository can read all of it. Without a key nobody can, whoever
they are and whatever they pay. The repository itself is needed too: this is no copy of it.

  repository   {name}
  where        {path}
  on           {host}
  identity     {id}
  key file     {key_file}
  key          {key_id} (its number in the repository; of {count})
  sheet made   {made}; the key opened the repository then

THE KEY

{key}

GETTING DATA BACK WITH RESTIC, on any machine that has the repository or a copy of it

1. Write the key into a file that only you can read: type this, the key, Enter, Ctrl-D.

     (umask 077; cat > recovery.key)
{check}
2. Look what is there, and give the newest snapshot back into the folder `back`. Any other one goes by
   its ID from the list.

     {restic} snapshots
     {restic} restore latest --target back

3. Whether all of the repository is whole:

     {restic} check --read-data

Where the repository lies on a disk that cannot be written, add --no-lock. While Snapkeep still uses it, run
neither `restic forget` nor `restic prune`. With Snapkeep: docs/getting-data-back.md.",
        path = report.repository.display(),
        id = report.repository_id,
        count = report.keys.len(),
    )
}

/// Of the file that the sheet tells to write.
fn digest(key: &str) -> String {
    hex(&Sha256::digest(format!("{key}\n").as_bytes()))
}
