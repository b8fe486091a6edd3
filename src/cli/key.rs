//! Keys, without the daemon: a key is shown to the person who asks for it and passes through nobody
//! else's hands. What changes the keys is the driver's own process, under the repository's lock.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::drivers::keys::{KeyOrder, KeyReport};
use crate::drivers::{Call, ProgressSink};
use crate::lifecycle::workflow::{Fault, FaultKind};
use crate::roster::Repository;

use super::arguments::KeyCommand;
use super::out::{Exit, Failure, Out, Tone, safe, safe_lines};
use super::setup::{self, ConfigChoice};
use super::sheet;
use super::table::{Cell, Table};

/// A key takes a second to be tried, and there are few; what takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(600);
/// As many characters of an identity as restic shows.
const SHORT: usize = 8;
/// What stands for standard output where a file is named.
const STDOUT: &str = "-";

/// Tells about the keys of a repository, and changes them.
pub fn key(choice: &ConfigChoice, command: KeyCommand, out: &mut Out<'_>) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Sheet { repository, to } => {
            let repository = setup::only_repository(choice, repository.as_deref())?;
            give_sheet(&repository, to.as_deref(), out)
        }
        KeyCommand::List { repository } => {
            let repository = setup::repository(choice, &repository)?;
            let report = ask(&repository, &KeyOrder::List)?;
            if out.json {
                out.value(&report)?
            } else {
                list(&report, out)?
            }
            Ok(Exit::Fine)
        }
        KeyCommand::Add { repository, from } => {
            let from = from.canonicalize().map_err(|error| {
                Failure::new(Exit::Usage, format!("failed to find {}: {error}", from.display()))
                    .hint("write the new key into a file that only you can read, and name that")
            })?;
            change(choice, &repository, &KeyOrder::Add { from }, "added", out)
        }
        KeyCommand::Rotate { repository } => {
            its_own(choice, &repository)?;
            change(choice, &repository, &KeyOrder::Rotate, "replaced", out)
        }
        KeyCommand::Remove { repository, key } => {
            change(choice, &repository, &KeyOrder::Remove { id: key }, "removed", out)
        }
    }
}

fn ask(repository: &Repository, order: &KeyOrder) -> Result<KeyReport, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
    let call = Call { time_max: TIME_MAX, progress: ProgressSink::default() };
    runtime.block_on(repository.driver.keys(order, &call)).map_err(|fault| failure(repository, fault))
}

fn failure(repository: &Repository, fault: Fault) -> Failure {
    let message = format!("repository `{}` ({}): {}", repository.name, repository.kind, fault.message);
    let failure = Failure::new(Exit::Failed, message);
    match fault.kind {
        FaultKind::Busy => failure.hint("nothing was changed; try again when it is done"),
        FaultKind::Transient | FaultKind::Permanent | FaultKind::Incomplete => failure,
    }
}

fn list(report: &KeyReport, out: &mut Out<'_>) -> Result<(), Failure> {
    let created = format!("ADDED ({})", out.times.zone());
    let mut table = Table::new(&["KEY", &created, "BY", "IN USE"]);
    for slot in &report.keys {
        let by: Vec<&str> = slot.user.iter().chain(&slot.host).map(String::as_str).collect();
        let use_of = if slot.is_in_use { key_place(report) } else { String::new() };
        table.row(vec![
            Cell::new(short(&slot.id)),
            Cell::new(slot.created_at_ms.map_or_else(|| "unknown".to_owned(), |at| out.times.at(at))),
            Cell::new(by.join("@")),
            Cell::new(use_of).toned(Tone::Good),
        ]);
    }
    table.print(out)
}

fn key_place(report: &KeyReport) -> String {
    match &report.credential {
        Some(name) => format!("credential {name}"),
        None => report.key_file.display().to_string(),
    }
}

fn change(choice: &ConfigChoice, name: &str, order: &KeyOrder, done: &str, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let repository = setup::repository(choice, name)?;
    let report = ask(&repository, order)?;
    if out.json {
        out.value(&report)?;
        return Ok(Exit::Fine);
    }
    if let Some(message) = &report.message {
        out.line(format!("Note: {}.", safe(message)))?;
    }
    let changed = report.changed.as_deref().map(short).unwrap_or_default();
    let said = format!("Key {changed} of repository {} is {done}.", safe(name));
    out.line(out.toned(Tone::Good, &said))?;
    list(&report, out)?;
    let name = safe(name);
    match order {
        KeyOrder::Rotate => {
            out.line(format!("Sheets and copies of the old key are of no use any more: `snapkeep key sheet {name}`."))?;
            out.line(OLD_COPIES)?;
        }
        KeyOrder::Remove { .. } => out.line(OLD_COPIES)?,
        KeyOrder::Add { from } => {
            out.line(format!("Keep {} elsewhere, and not beside the repository.", safe(&from.display().to_string())))?;
        }
        KeyOrder::List | KeyOrder::Saved { .. } => {}
    }
    Ok(Exit::Fine)
}

/// Refuses to replace a key file that another repository is opened by: nothing else would open that one.
fn its_own(choice: &ConfigChoice, name: &str) -> Result<(), Failure> {
    let roster = setup::load(choice).roster;
    let repository = setup::named(&roster, name)?;
    let file = |repository: &Repository| repository.driver.key_file().and_then(|path| path.canonicalize().ok());
    let Some(own) = file(&repository) else { return Ok(()) };
    let shares = |other: &&Arc<Repository>| other.name != repository.name && file(other).as_ref() == Some(&own);
    match roster.repositories.values().find(shares) {
        None => Ok(()),
        Some(other) => {
            let message = format!("{} opens repository `{}` too, which a new key would not", own.display(), other.name);
            Err(Failure::new(Exit::Failed, message)
                .hint("give each a file of its own first: copy it, and name the copy as key_file of one"))
        }
    }
}

/// What neither a rotation nor a removal can take back.
const OLD_COPIES: &str = "Whoever copied the repository before and has the old key can go on reading all of it, also \
     what is added later: where that is feared, begin a new repository.";

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Gives the person at this terminal the sheet of the only repository there is, unless somebody was
/// given it before. Fails where the repository was not begun yet.
pub fn sheet(choice: &ConfigChoice, out: &mut Out<'_>) -> Result<(), Failure> {
    let repository = setup::only_repository(choice, None)?;
    if repository.driver.notes(&repository.name).is_empty() {
        return Ok(());
    }
    ask(&repository, &KeyOrder::List)?;
    out.line("\nPrint this and keep it away from this machine; `key sheet` says it again.\n")?;
    give_sheet(&repository, None, out)?;
    out.line("")
}

/// Gives a person the sheet: with the key where it goes to a terminal or to a file that was named.
fn give_sheet(repository: &Repository, to: Option<&Path>, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let report = ask(repository, &KeyOrder::List)?;
    if out.json {
        // What programs read is kept by them.
        out.value(&report)?;
        return Ok(Exit::Fine);
    }
    let to = match to {
        Some(path) if path == Path::new(STDOUT) => To::Stdout,
        Some(path) => To::File(path.to_owned()),
        None if std::io::stdout().is_terminal() => To::Stdout,
        None => To::Elsewhere,
    };
    let secret = match to {
        To::Stdout | To::File(_) => Some(repository.driver.secret().map_err(|fault| failure(repository, fault))?),
        To::Elsewhere => None,
    };
    let now = clock::now().wall;
    let facts = sheet::Facts {
        name: &repository.name,
        report: &report,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        made: format!("{} {}", out.times.at(now.millis()), out.times.zone()),
    };
    let text = sheet::text(&facts, secret.as_ref());
    match &to {
        To::Stdout | To::Elsewhere => {
            out.line(safe_lines(&text))?;
            out.flush()?;
        }
        To::File(path) => {
            write(path, &text)?;
            let path = safe(&path.display().to_string()).into_owned();
            out.line(format!("The sheet is in {path}, with the key: keep it elsewhere, and not on this machine."))?;
        }
    }
    match (secret, report.in_use()) {
        (Some(_), Some(slot)) => {
            // The sheet is given; only the notes go on asking for it.
            if let Err(Failure::Told { message, .. }) = ask(repository, &KeyOrder::Saved { id: slot.id.clone() }) {
                out.aside(format!("snapkeep: it cannot be noted that there is a sheet: {}", safe_lines(&message)));
            }
        }
        (Some(_), None) => {}
        (None, _) => out.aside(
            "snapkeep: this is no terminal, so the key is not on the sheet; --to FILE writes it into a file, \
             and --to - prints it all the same",
        ),
    }
    Ok(Exit::Fine)
}

/// Where the sheet goes.
enum To {
    /// To whoever asked, by a terminal or because they said so.
    Stdout,
    /// Into a file of their choice.
    File(PathBuf),
    /// Into a log, for all that we know.
    Elsewhere,
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("failed to write {}: {error}", path.display()))
            .hint("name a file that is not there yet")
    };
    let file: Result<File, _> = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).map_err(failed)
}
