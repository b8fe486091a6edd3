//! The journal: checked and copied by the daemon where one runs, else directly; replaced only
//! while none runs.

use std::path::Path;

use crate::http::body::{AcknowledgedBody, BackupBody, CheckBody};

use super::arguments::JournalCommand;
use super::client::Client;
use super::out::{Exit, Failure, Out, Tone, safe, safe_lines};
use super::setup::{self, ConfigChoice};

/// Carries out a command about the journal.
pub fn journal(
    choice: &ConfigChoice,
    client: impl FnOnce() -> Result<Client, Failure>,
    command: JournalCommand,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    match command {
        JournalCommand::Check => check(choice, &client()?, out),
        JournalCommand::Backup => backup(choice, &client()?, out),
        JournalCommand::AcceptMachine => accept_machine(&client()?, out),
        JournalCommand::Restore { file } => restore(choice, &file, out),
    }
}

fn check(choice: &ConfigChoice, client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let body: CheckBody = match client.look("/v1/journal/check") {
        Ok(answer) => answer.read()?,
        Err(failure) if failure.is_unreachable() => {
            let troubles = setup::journal_check(&setup::settings(choice)?.state_dir)?;
            CheckBody { sound: troubles.is_empty(), troubles }
        }
        Err(failure) => return Err(failure),
    };
    if out.json {
        out.value(&body)?;
    } else if body.sound {
        out.line(out.toned(Tone::Good, "The journal is sound."))?;
    } else {
        out.line(out.toned(Tone::Bad, "The journal is damaged:"))?;
        for trouble in &body.troubles {
            out.line(format!("  {}", safe_lines(trouble)))?;
        }
    }
    Ok(if body.sound { Exit::Fine } else { Exit::Failed })
}

fn backup(choice: &ConfigChoice, client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let body: BackupBody = match client.post("/v1/journal/backup", None, Vec::new()) {
        Ok(answer) => answer.read()?,
        Err(failure) if failure.is_unreachable() => {
            let file = setup::journal_backup(&setup::settings(choice)?.state_dir)?;
            BackupBody { file: file.display().to_string() }
        }
        Err(failure) => return Err(failure),
    };
    if out.json {
        out.value(&body)?;
    } else {
        out.line(format!("The journal was copied to {}; the copy is sound.", safe(&body.file)))?;
    }
    Ok(Exit::Fine)
}

fn accept_machine(client: &Client, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let body: AcknowledgedBody = client.post("/v1/journal/accept-machine", None, Vec::new())?.read()?;
    if out.json {
        out.value(&body)?;
    } else {
        out.line("The journal is this machine's. See to it that no other daemon works with a copy of it.")?;
    }
    Ok(Exit::Fine)
}

fn restore(choice: &ConfigChoice, file: &Path, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let aside = setup::journal_restore(&setup::settings(choice)?.state_dir, file)?;
    if out.json {
        let aside = aside.map(|aside| aside.display().to_string());
        out.value(&serde_json::json!({ "restored": file.display().to_string(), "replaced": aside }))?;
        return Ok(Exit::Fine);
    }
    out.line(format!("The journal is now {}.", safe(&file.display().to_string())))?;
    if let Some(aside) = aside {
        out.line(format!("The one that was there is kept as {}.", safe(&aside.display().to_string())))?;
    }
    Ok(Exit::Fine)
}
