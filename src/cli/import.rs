//! Policies as OpenSearch's JSON, made into files.
//!
//! Everything is read and checked before anything is written, and every problem of every policy is told at
//! once. Each file is put in place whole or not at all; one that is there stays unless it may be replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::arguments::ImportArguments;
use super::out::{Exit, Failure, Out, Tone, safe};
use super::remote::{Credentials, Remote, is_address};
use super::setup::{self, ConfigChoice};
use super::table::{Cell, Table};
use crate::config::place::{self, Placing};
use crate::config::sm::{SmPolicy, SmProblem, name_in, to_toml, told};
use crate::lifecycle::policy::Policy;
use crate::roster::Roster;

/// Ten thousand policies fit; a longer file is none of policies.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// No password or token is longer.
const SECRET_BYTES_MAX: u64 = 4096;

/// One policy on its way.
struct Item {
    /// What it is called here; for one without a good name, what it is called there.
    name: String,
    text: String,
    left_out: Vec<String>,
    problems: Vec<SmProblem>,
    warnings: Vec<SmProblem>,
    outcome: Outcome,
}

/// What becomes of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Written,
    Replaced,
    Unchanged,
    WouldBeWritten,
    WouldBeReplaced,
    Kept,
    Refused,
    Failed,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Written => "written",
            Outcome::Replaced => "replaced",
            Outcome::Unchanged => "unchanged",
            Outcome::WouldBeWritten => "would be written",
            Outcome::WouldBeReplaced => "would be replaced",
            Outcome::Kept => "kept as it was",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Outcome::Written | Outcome::Replaced => Tone::Good,
            Outcome::Unchanged | Outcome::WouldBeWritten | Outcome::WouldBeReplaced => Tone::Plain,
            Outcome::Kept => Tone::Warning,
            Outcome::Refused | Outcome::Failed => Tone::Bad,
        }
    }
}

/// Reads policies and writes their files. Exit code 1 when one of them was refused or is not written.
pub fn import(choice: &ConfigChoice, arguments: ImportArguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let ImportArguments { from, into, names, overwrite, dry_run, user, password_file, token_file, ca } = arguments;
    let entries = if is_address(&from) {
        let credentials = credentials(user, password_file, token_file, out)?;
        Remote::new(&from, &credentials, ca)?.policies()?
    } else {
        if user.is_some() || token_file.is_some() || ca.is_some() {
            return Err(Failure::new(Exit::Usage, "--user, --token-file and --ca are for the address of a server")
                .hint("write it with https:// or http://"));
        }
        entries(read(&from)?, out)?
    };
    let folders = setup::policy_folders(choice);
    let folder = match (into, folders.last()) {
        (Some(folder), _) => std::path::absolute(&folder).unwrap_or(folder),
        (None, Some(folder)) => folder.clone(),
        (None, None) => return Err(Failure::new(Exit::Usage, "the configuration has no folder of policies")),
    };
    let roster = setup::load(choice).roster;
    let mut items = items(&entries, &names)?;
    check(&mut items, &roster, &folder);
    for item in &mut items {
        if let Err(error) = place(item, &roster, &folder, &folders, overwrite, dry_run) {
            // The others are tried all the same, and what became of each is shown.
            item.outcome = Outcome::Failed;
            let message = format!("failed to write {}: {error}", file_in(&folder, &item.name).display());
            item.problems.push(SmProblem { path: String::new(), message, hint: None });
        }
    }
    show(&items, &folder, out)?;
    let is_fine = |item: &Item| !matches!(item.outcome, Outcome::Kept | Outcome::Refused | Outcome::Failed);
    Ok(if items.iter().all(is_fine) { Exit::Fine } else { Exit::Failed })
}

/// Returns the policies in a document: one, a list of them, or the list in an answer.
fn entries(document: Value, out: &mut Out<'_>) -> Result<Vec<Value>, Failure> {
    match document {
        Value::Array(policies) => Ok(policies),
        Value::Object(mut members) if members.contains_key("policies") => match members.remove("policies") {
            Some(Value::Array(policies)) => {
                let total = members.get("total_policies").and_then(Value::as_u64);
                if let Some(total) = total.filter(|total| *total != policies.len() as u64) {
                    // A page of a longer list looks like the whole.
                    out.aside(format!("snapkeep: the list holds {} of {total} policies", policies.len()));
                }
                Ok(policies)
            }
            _ => Err(Failure::new(Exit::Usage, "policies must be a list")),
        },
        other => Ok(vec![other]),
    }
}

/// Converts each and gives it its name.
fn items(entries: &[Value], names: &[String]) -> Result<Vec<Item>, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let mut one = None;
    let mut renamed = BTreeMap::new();
    for name in names {
        match name.rsplit_once('=') {
            Some((old, new)) => drop(renamed.insert(old, new)),
            None if entries.len() == 1 => one = Some(name.as_str()),
            None => {
                let message = format!("there are {} policies, and --name gives one name", entries.len());
                return Err(usage(message).hint("write --name OLD=NEW"));
            }
        }
    }
    let given = one.into_iter().chain(renamed.values().copied());
    if let Some(bad) = given.into_iter().find(|name| !Policy::is_name(name)) {
        return Err(usage(format!("`{bad}` is no name of a policy")).hint(name_hint(bad)));
    }
    let mut unused = renamed.clone();
    let mut items: Vec<Item> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let (policy, mut problems) = match to_toml(entry) {
            Ok(policy) => (policy, Vec::new()),
            Err(problems) => {
                let empty = SmPolicy { text: String::new(), enabled: None, name: None, left_out: Vec::new() };
                // So that its problems can be told with it.
                (SmPolicy { name: name_in(entry), ..empty }, problems)
            }
        };
        let there = policy.name.as_deref();
        if let Some(there) = there {
            unused.remove(there);
        }
        let name = one.or_else(|| renamed.get(there?).copied()).or(there);
        match name {
            None => problems.push(SmProblem {
                path: String::new(),
                message: "policy has no name".to_string(),
                hint: Some(match entries.len() {
                    1 => "--name NAME gives it one".to_string(),
                    _ => "give it a member \"name\"".to_string(),
                }),
            }),
            Some(name) if !Policy::is_name(name) => problems.push(SmProblem {
                path: "name".to_string(),
                message: format!("`{name}` is no name of a policy here"),
                hint: Some(name_hint(name)),
            }),
            Some(name) if items.iter().any(|other| other.name == name) => problems.push(SmProblem {
                path: "name".to_string(),
                message: format!("two policies are called `{name}`"),
                hint: None,
            }),
            Some(_) => {}
        }
        items.push(Item {
            name: name.map_or_else(|| format!("(the {}. policy)", index + 1), str::to_string),
            text: policy.text,
            left_out: policy.left_out,
            warnings: Vec::new(),
            outcome: if problems.is_empty() { Outcome::Written } else { Outcome::Refused },
            problems,
        });
    }
    match unused.keys().next() {
        Some(old) => Err(usage(format!("there is no policy `{old}` to rename"))),
        None => Ok(items),
    }
}

fn name_hint(name: &str) -> String {
    let rule = "names are lower case letters, digits, `-`, `_` and `.`, and begin with a letter or digit";
    match suggested(name) {
        Some(better) => format!("{rule}: --name {}={better}", super::out::quoted(name)),
        None => rule.to_string(),
    }
}

/// Returns the nearest name that a policy may have.
fn suggested(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let mut better: String = name.chars().take(128).map(plain).collect();
    while better.contains("..") {
        better = better.replace("..", ".");
    }
    let better = better.trim_start_matches(['.', '_', '-']).to_string();
    Policy::is_name(&better).then_some(better)
}

/// Checks each against the configuration, as if it stood in its file, and all against one another.
fn check(items: &mut [Item], roster: &Roster, folder: &Path) {
    let mut uids: BTreeMap<Box<str>, String> = BTreeMap::new();
    for item in items.iter_mut().filter(|item| item.problems.is_empty()) {
        match roster.check_policy(&item.name, &file_in(folder, &item.name), &item.text) {
            Ok((entry, warnings)) => {
                item.warnings = told(&item.text, &warnings);
                if let Some(uid) = entry.policy.uid.as_deref()
                    && let Some(other) = uids.insert(uid.into(), item.name.clone())
                {
                    item.problems.push(SmProblem {
                        path: "uid".to_string(),
                        message: format!("policy `{other}` has the same uid"),
                        hint: Some("leave it out of one of them".to_string()),
                    });
                }
            }
            Err(problems) => item.problems = told(&item.text, &problems),
        }
        if !item.problems.is_empty() {
            item.outcome = Outcome::Refused;
        }
    }
}

fn file_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.toml"))
}

/// Decides what becomes of a policy that is good, and does it.
fn place(
    item: &mut Item,
    roster: &Roster,
    folder: &Path,
    folders: &[PathBuf],
    overwrite: bool,
    dry_run: bool,
) -> io::Result<()> {
    if item.outcome == Outcome::Refused {
        return Ok(());
    }
    let file = file_in(folder, &item.name);
    let rank = |folder: &Path| folders.iter().position(|other| other == folder);
    let in_force = roster.policies.get(item.name.as_str()).map(|entry| entry.origin());
    let elsewhere = in_force.filter(|origin| *origin != file && rank(folder).is_some());
    if let Some(origin) = &elsewhere
        && rank(folder) < origin.parent().and_then(rank)
    {
        item.outcome = Outcome::Refused;
        item.problems.push(SmProblem {
            path: "name".to_string(),
            message: format!("{} would stay in force, and the file mean nothing", origin.display()),
            hint: Some("remove that file, or give the policy another name".to_string()),
        });
        return Ok(());
    }
    let found = match fs::read(&file) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let is_there = found.is_some() || elsewhere.is_some();
    item.outcome = match (is_there, found.as_deref() == Some(item.text.as_bytes())) {
        (_, true) => Outcome::Unchanged,
        (true, false) if !overwrite => {
            let there = elsewhere.as_deref().unwrap_or(&file);
            item.problems.push(SmProblem {
                path: String::new(),
                message: format!("{} is there and says something else", there.display()),
                hint: Some("--overwrite replaces it".to_string()),
            });
            Outcome::Kept
        }
        (true, false) if dry_run => Outcome::WouldBeReplaced,
        (true, false) => Outcome::Replaced,
        (false, false) if dry_run => Outcome::WouldBeWritten,
        (false, false) => Outcome::Written,
    };
    if matches!(item.outcome, Outcome::Written | Outcome::Replaced) {
        let placing = if item.outcome == Outcome::Written { Placing::New } else { Placing::Over };
        place::write(&file, item.text.as_bytes(), placing)?;
    }
    Ok(())
}

fn show(items: &[Item], folder: &Path, out: &mut Out<'_>) -> Result<(), Failure> {
    if out.json {
        let lines = |problems: &[SmProblem]| problems.iter().map(SmProblem::to_string).collect::<Vec<_>>();
        let policies: Vec<Value> = items
            .iter()
            .map(|item| {
                json!({
                    "name": item.name,
                    "file": file_in(folder, &item.name).to_string_lossy(),
                    "outcome": item.outcome.word(),
                    "left_out": item.left_out,
                    "problems": lines(&item.problems),
                    "warnings": lines(&item.warnings),
                })
            })
            .collect();
        return out.value(&json!({ "policies": policies }));
    }
    for item in items {
        for problem in &item.problems {
            out.line(format!("{}: {}", safe(&item.name), safe(&problem.to_string())))?;
        }
        for warning in &item.warnings {
            out.line(format!("{}: warning: {}", safe(&item.name), safe(&warning.to_string())))?;
        }
    }
    if items.is_empty() {
        return out.line("There are no policies in it.");
    }
    if items.iter().any(|item| !item.problems.is_empty() || !item.warnings.is_empty()) {
        out.line("")?;
    }
    let mut table = Table::new(&["POLICY", "FILE", "OUTCOME", "LEFT OUT"]);
    for item in items {
        let file = match item.outcome {
            Outcome::Refused | Outcome::Failed => "-".to_string(),
            _ => file_in(folder, &item.name).display().to_string(),
        };
        let left_out = if item.left_out.is_empty() { "-".to_string() } else { item.left_out.join(", ") };
        table.row(vec![
            Cell::new(&item.name),
            Cell::new(file),
            Cell::new(item.outcome.word()).toned(item.outcome.tone()),
            Cell::new(left_out),
        ]);
    }
    table.print(out)
}

fn read(from: &str) -> Result<Value, Failure> {
    let unread = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("failed to read {from}: {error}"));
    let mut text = Vec::new();
    let read = match from {
        "-" => io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut text),
        path => File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)),
    };
    read.map_err(|error| unread(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unread(&format!("it is larger than {} MB", FILE_BYTES_MAX >> 20)));
    }
    serde_json::from_slice(&text).map_err(|error| unread(&format!("it is no JSON: {error}")))
}

fn credentials(
    user: Option<String>,
    password_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    out: &mut Out<'_>,
) -> Result<Credentials, Failure> {
    if let Some(file) = token_file {
        return Ok(Credentials::Bearer(secret_of(&file)?));
    }
    let Some(user) = user else { return Ok(Credentials::None) };
    let password = match password_file {
        Some(file) => secret_of(&file)?,
        None => asked_for(&user, out)?,
    };
    Ok(Credentials::Basic { user, password })
}

fn secret_of(file: &Path) -> Result<String, Failure> {
    let unread = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("failed to read {}: {error}", file.display()))
    };
    let open = File::open(file).map_err(|error| unread(&error))?;
    first_line(open).map_err(|error| unread(&error))
}

/// Returns the first line of what is read, without its end.
fn first_line(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default().to_string();
    if line.is_empty() { Err(io::Error::other("its first line is empty")) } else { Ok(line) }
}

/// Reads a password from standard input; on a terminal it is asked for and not shown.
fn asked_for(user: &str, out: &mut Out<'_>) -> Result<String, Failure> {
    let unread = |error: io::Error| Failure::new(Exit::Usage, format!("failed to read the password: {error}"));
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return first_line(stdin.lock()).map_err(unread);
    }
    out.aside(format!("Password of {}:", safe(user)));
    let shown = tcgetattr(&stdin).map_err(|error| unread(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(|error| unread(error.into()))?;
    let mut line = String::new();
    let read = io::BufRead::read_line(&mut stdin.lock().take(SECRET_BYTES_MAX), &mut line);
    // The terminal is the person's again before anything else happens.
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &shown);
    read.map_err(unread)?;
    restored.map_err(|error| unread(error.into()))?;
    let line = line.trim_end_matches(['\r', '\n']).to_string();
    if line.is_empty() { Err(unread(io::Error::other("it is empty"))) } else { Ok(line) }
}
