//! The pages of section 8: the program, and each of its commands, made of what may be typed.

use clap::Command;
use clap_mangen::Man;

use super::page::Page;
use super::roff::{EDITED, Roff};

/// How a command ends.
const EXITS: [(&str, &str); 5] = [
    ("0", "Done; all is well."),
    ("1", "Refused or failed; for `snapkeep check`, there are warnings."),
    ("2", "Wrong usage, bad configuration, or another daemon has the state directory."),
    ("3", "The daemon cannot be reached."),
    ("74", "The journal could not be read or written."),
];

/// How `health` ends, which is asked by programs that know these four.
const EXITS_OF_HEALTH: [(&str, &str); 4] =
    [("0", "All is well."), ("1", "Somebody should look."), ("2", "Somebody has to."), ("3", "Nobody can tell.")];

const FILES: [(&str, &str); 9] = [
    ("/etc/snapkeep/snapkeep.toml", "The daemon's settings, `snapkeep.toml`(5)."),
    ("/etc/snapkeep/policies.d", "Policies, `snapkeep-policy`(5)."),
    ("/etc/snapkeep/repositories.d", "Repositories, `snapkeep-repository`(5)."),
    ("/etc/snapkeep/channels.d", "Channels, `snapkeep-channel`(5)."),
    ("/run/snapkeep, /usr/lib/snapkeep", "The same, in falling precedence."),
    ("/run/snapkeep/api.sock", "The socket to which commands connect."),
    ("/var/lib/snapkeep/journal.db", "What the daemon has promised itself."),
    ("/var/lib/snapkeep/backups", "The last seven checked copies of it."),
    ("/var/lib/snapkeep/policies.d", "Policies that were made through the API."),
];

const ENVIRONMENT: [(&str, &str); 7] = [
    ("SNAPKEEP_CONFIG", "As `--config`."),
    ("SNAPKEEP_SOCKET", "As `--socket`."),
    (
        "SNAPKEEP_LOG",
        "What the daemon logs, in place of `log.level`: a level, or a filter such as `warn,snapkeep=debug`.",
    ),
    ("CREDENTIALS_DIRECTORY", "Where the service's credentials are; systemd sets it."),
    ("TZ, TZDIR", "The zone in which times are shown, and where zone files are."),
    ("NO_COLOR, TERM", "No colours where the first is set or the second is `dumb`."),
    ("COLUMNS", "How wide tables may be."),
];

const SEE: &str = "`snapkeep.toml`(5), `snapkeep-policy`(5), `snapkeep-repository`(5), `snapkeep-channel`(5), `systemctl`(1), `restic`(1)";

/// Returns a page for the program and one for each command, also for those below others.
pub fn pages(program: &Command) -> Vec<Page> {
    let mut program = program.clone();
    program.build();
    let mut pages = vec![whole(&program)];
    below(&program, "snapkeep", &mut pages);
    pages
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

/// The page of the program itself, with every command.
fn whole(program: &Command) -> Page {
    let man = Man::new(program.clone());
    let mut roff = Roff::page("snapkeep", 8, &lower(&about(program)));
    roff.section("SYNOPSIS");
    roff.paragraph("`snapkeep` [OPTIONS] COMMAND [ARGUMENTS]");
    roff.section("DESCRIPTION");
    roff.paragraph(
        "Snapkeep is a daemon that keeps snapshots by policy. A file in `/etc/snapkeep/policies.d` says when snapshots are made, of \
         what, and which of them stay; `snapkeep run` does it, unattended, and the other commands ask it what it is doing, why, and \
         what comes next.",
    );
    roff.paragraph(
        "It never deletes what the policy in force would keep, and never the newest good snapshot. One trigger makes at most one \
         snapshot, across any crash, and every trigger ends: succeeded, failed, timed out, or skipped with a reason.",
    );
    roff.paragraph("`snapkeep quickstart PATH` sets up a first policy in this directory and runs it.");
    roff.section("COMMANDS");
    commands(&mut roff, program, "snapkeep");
    roff.raw(&rendered(|text| man.render_options_section(text)));
    common(&mut roff);
    Page { name: "snapkeep".to_owned(), section: 8, about: lower(&about(program)), text: roff.into_text() }
}

fn commands(roff: &mut Roff, command: &Command, path: &str) {
    for below in visible(command) {
        let path = format!("{path} {}", below.get_name());
        if visible(below).next().is_none() {
            let page = path.replace(' ', "-");
            roff.item(&path, "", &format!("{}. See `{page}`(8).", about(below)));
        } else {
            commands(roff, below, &path);
        }
    }
}

fn below(command: &Command, path: &str, pages: &mut Vec<Page>) {
    for inner in visible(command) {
        let name = format!("{path}-{}", inner.get_name());
        pages.push(one(inner, &name, path));
        below(inner, &name, pages);
    }
}

/// The page of one command. What may be typed with every command is on the program's.
fn one(command: &Command, name: &str, above: &str) -> Page {
    let spaced = name.replace('-', " ");
    // A command of two words has a dash of its own.
    let typed = command.get_bin_name().map_or(spaced, ToOwned::to_owned);
    let globals: Vec<String> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .map(|argument| argument.get_id().to_string())
        .collect();
    let mut shown = command.clone();
    for id in globals {
        shown = shown.mut_arg(id, |argument| argument.hide(true));
    }
    shown = shown.disable_help_flag(true).after_help("").after_long_help("");
    if shown.get_arguments().any(|argument| argument.get_id() == "help") {
        shown = shown.mut_arg("help", |argument| argument.hide(true));
    }
    let has_options = shown.get_arguments().any(|argument| !argument.is_hide_set());
    let has_commands = visible(&shown).next().is_some();
    let man = Man::new(shown.bin_name(typed)).section("8").date(EDITED);
    let mut roff = Roff::page(name, 8, &lower(&about(command)));
    roff.raw(&rendered(|text| man.render_synopsis_section(text)));
    roff.raw(&rendered(|text| man.render_description_section(text)));
    if has_commands {
        roff.section("COMMANDS");
        for inner in visible(command) {
            roff.item(&format!("{name}-{}", inner.get_name()), "(8)", &format!("{}.", about(inner)));
        }
    }
    if has_options {
        roff.raw(&rendered(|text| man.render_options_section(text)));
    }
    roff.paragraph(
        "`--config`, `--socket`, `--json`, `--utc` and `--help` go with every command: `snapkeep`(8) tells of them.",
    );
    roff.section("EXIT STATUS");
    let exits: &[(&str, &str)] = if name == "snapkeep-health" { &EXITS_OF_HEALTH } else { &EXITS };
    exits.iter().for_each(|(code, what)| roff.item(code, "", what));
    roff.section("SEE ALSO");
    let above = if above == "snapkeep" { String::new() } else { format!("`{above}`(8), ") };
    roff.paragraph(&format!("{above}`snapkeep`(8)"));
    Page { name: name.to_owned(), section: 8, about: lower(&about(command)), text: roff.into_text() }
}

fn common(roff: &mut Roff) {
    roff.section("EXIT STATUS");
    EXITS.iter().for_each(|(code, what)| roff.item(code, "", what));
    roff.paragraph("Those of `snapkeep health` are its own: `snapkeep-health`(8).");
    roff.section("FILES");
    FILES.iter().for_each(|(path, what)| roff.item(path, "", what));
    roff.section("ENVIRONMENT");
    ENVIRONMENT.iter().for_each(|(name, what)| roff.item(name, "", what));
    roff.section("SEE ALSO");
    roff.paragraph(SEE);
}

/// Names in the line of a page begin small, as `whatis` shows them.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Returns a section as the library writes it, without what it writes once too often: what quotes look like, for every
/// section anew, and ends of lines beside blank ones.
fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    // Writing into memory does not fail.
    if render(&mut bytes).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let is_needed = |line: &&str| !line.starts_with(".ie \\n(.g") && !line.starts_with(".el .ds Aq") && *line != ".br";
    text.lines().filter(is_needed).map(|line| format!("{}\n", line.replace("\\*(Aq", "\\(aq"))).collect()
}
