//! `[command]` of a channel.

use std::collections::BTreeMap;
use std::path::Path;

use super::text;
use crate::config::reader::{Findings, Located};
use crate::config::table::Table;
use crate::lifecycle::channel::SecretSource;
use crate::lifecycle::channel::command::Command;
use crate::lifecycle::time::Span;
use crate::ownership::Trust;

/// More than any program logs in with.
const SECRETS_MAX: usize = 16;
/// Longer than any name people would give one.
const NAME_CHARS_MAX: usize = 64;

/// Reads the table. `None` when something is wrong, which is then among the findings. Relative paths of secrets
/// begin at `base`.
pub fn read(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> Option<Command> {
    let at = table.at.clone();
    let given = table.has("argv");
    let argv = table.arguments(findings, "argv").and_then(|argv| checked(findings, argv));
    if !given {
        findings
            .error(at, "command does not say which program")
            .hint("write argv = [\"/usr/local/bin/PROGRAM\", \"ARGUMENT\"]");
    }
    let time_limit = time_limit(findings, &mut table);
    let secrets = table.table(findings, "secrets").map(|table| secrets(findings, table, base)).unwrap_or_default();
    table.finish(findings, &[("timeout", "write time_limit"), ("env", "a command's environment is fixed")]);
    Some(Command { argv: argv?, time_limit: time_limit?, secrets })
}

/// Checks that nobody else decides what is started.
fn checked(findings: &mut Findings<'_>, argv: Vec<Located<String>>) -> Option<Vec<Box<str>>> {
    let program = argv.first()?;
    let path = Path::new(&program.value);
    if !path.is_absolute() {
        findings
            .error(program.at.clone(), format!("program `{}` is not an absolute path", program.value))
            .hint("programs are looked for nowhere: write the whole path, as `command -v` shows it");
        return None;
    }
    if let Some(argument) = argv.iter().find(|argument| argument.value.contains('\0')) {
        findings.error(argument.at.clone(), "argument holds a character that no program can be given");
        return None;
    }
    // One that is not there yet may come; whoever starts it says so where it does not.
    if let Err(refusal) = Trust::of_this_process().check_program(path) {
        findings.error(program.at.clone(), format!("{}: {}", program.value, refusal.message)).hint_if(refusal.hint);
        return None;
    }
    Some(argv.into_iter().map(|argument| argument.value.into()).collect())
}

fn time_limit(findings: &mut Findings<'_>, table: &mut Table<'_, '_>) -> Option<Span> {
    let known = |text: &str| Span::parse(text).ok();
    if !table.has("time_limit") {
        return known(Command::TIME_LIMIT);
    }
    let written = table.span(findings, "time_limit")?;
    if known(Command::TIME_LIMIT_MAX).is_some_and(|max| written.value.millis() > max.millis()) {
        findings
            .error(written.at, format!("time_limit is longer than {}", Command::TIME_LIMIT_MAX))
            .hint("other notices wait for it; let the program hand on what takes longer");
        return None;
    }
    Some(written.value)
}

fn secrets(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> BTreeMap<Box<str>, SecretSource> {
    let mut secrets = BTreeMap::new();
    for (name, at) in table.keys() {
        if secrets.len() >= SECRETS_MAX {
            findings.error(at, format!("more than {SECRETS_MAX} secrets"));
            break;
        }
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !is_plain {
            findings
                .error(at, format!("`{}` is no name of a secret", name.escape_debug()))
                .hint(format!("write 1 to {NAME_CHARS_MAX} letters, digits, _ and -"));
            continue;
        }
        if let Some(source) = text::secret(findings, &mut table, name, base) {
            secrets.insert(name.into(), source);
        }
    }
    secrets
}
