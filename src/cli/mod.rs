//! The command line: a caller like any other. What it shows it asks of the daemon over its socket;
//! only `check`, `restore`, `key`, `policy import` and `export`, and the list of a repository read the configuration
//! themselves, so that they work without one, as `health` does where there is none; `driver test` and what tells of
//! the program itself need neither.
//!
//! Every command returns how it ended or why it did not; one place prints that and picks the exit
//! code. What comes from elsewhere (names, messages) is made safe for a terminal before it is shown.

pub mod arguments;
pub mod calendar;
mod channel;
mod check;
mod client;
mod deletions;
mod driver;
mod explain;
mod export;
mod health;
mod history;
mod import;
mod journal;
mod key;
mod log;
mod manual;
mod metrics;
mod notices;
pub mod out;
mod plan;
mod policy;
mod quickstart;
pub mod remote;
mod restore;
mod run;
mod setup;
mod sheet;
mod single;
mod snapshots;
pub mod table;
pub mod times;
mod token;
mod upkeep;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::clock;

use arguments::{Arguments, Command, DriverCommand, PolicyCommand};
use client::Client;
use out::{Exit, Failure, Out};
use times::Times;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Fine };
            // Help into a closed pipe is nobody's trouble.
            let _ = error.print();
            return exit.into();
        }
    };
    // The worker speaks for itself: standard output is its protocol.
    if let Command::Driver { command: DriverCommand::Files } = arguments.command {
        return crate::drivers::files::worker_main();
    }
    let colour = std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    // Not locked for the whole command: what follows a daemon prints from a thread of its own.
    let mut stdout = std::io::stdout();
    let mut stderr = std::io::stderr();
    execute(arguments, &mut stdout, &mut stderr, colour).into()
}

/// Runs a command; what it says goes to `stdout` and `stderr`.
pub fn execute(arguments: Arguments, stdout: &mut dyn Write, stderr: &mut dyn Write, colour: bool) -> Exit {
    let times = if arguments.utc { Times::utc(clock::now().wall) } else { Times::local(clock::now().wall) };
    let json = arguments.json;
    let mut out = Out::new(stdout, stderr, times, colour, json);
    let ending = dispatch(arguments, &mut out).and_then(|exit| out.flush().map(|()| exit));
    match ending {
        Ok(exit) => exit,
        Err(failure) => out.fail(failure),
    }
}

fn dispatch(arguments: Arguments, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let Arguments { config, socket, command, json: _, utc: _ } = arguments;
    let choice = setup::ConfigChoice::new(config);
    let client = || match socket {
        Some(socket) => Client::new(socket),
        None => Client::new(setup::settings(&choice)?.socket),
    };
    match command {
        Command::Run => run::run(&choice),
        Command::Quickstart { path } => quickstart::quickstart(&path, out),
        Command::Check => check::check(&choice, out),
        Command::Health { names } => health::health(&choice, client, &names, out),
        Command::Explain { names } => explain::explain(&client()?, &names, out),
        Command::Policy { command: PolicyCommand::Import(arguments) } => import::import(&choice, arguments, out),
        Command::Policy { command: PolicyCommand::Export { names } } => export::export(&choice, &names, out),
        Command::Policy { command } => policy::policy(&client()?, command, out),
        Command::Snapshots { orphans: true, .. } => single::orphans(&client()?, out),
        Command::Hold { command } => single::hold(&client()?, command, out),
        Command::Adopt(order) => single::adopt(&client()?, order, out),
        Command::Expire(order) => single::expire(&client()?, order, out),
        Command::Snapshots { names: _, repository: Some(name), orphans: _ } => {
            snapshots::of_repository(&choice, &name, out)
        }
        Command::Snapshots { names, repository: None, orphans: _ } => snapshots::snapshots(&client()?, &names, out),
        Command::Plan(order) => plan::plan(&client()?, order, out),
        Command::Restore(order) => restore::restore(&choice, order, out),
        Command::Verify(order) => upkeep::verify(&client()?, order, out),
        Command::Maintain { repository } => upkeep::maintain(&client()?, &repository, out),
        Command::Deletions { command } => deletions::deletions(&client()?, command, out),
        Command::Clock { command } => deletions::clock(&client()?, command, out),
        Command::Audit { names, limit } => history::audit(&client()?, &names, limit, out),
        Command::History { names, workflow, limit } => history::history(&client()?, &names, workflow, limit, out),
        Command::Operations { names, what, limit } => upkeep::operations(&client()?, &names, what, limit, out),
        Command::Journal { command } => journal::journal(&choice, client, command, out),
        Command::Metrics => metrics::metrics(&client()?, out),
        Command::Key { command } => key::key(&choice, command, out),
        Command::Channel { command } => channel::channel(&client()?, command, out),
        Command::Notices { command } => notices::notices(&client()?, command, out),
        Command::Token { command } => token::token(&client()?, command, out),
        Command::Completions { shell } => manual::completions(shell, out),
        Command::Man(order) => manual::man(order, out),
        Command::Schema { file } => manual::schema(file, out),
        Command::Driver { command: DriverCommand::Test(order) } => driver::test(order, out),
        Command::Driver { command: DriverCommand::Files } => {
            Err(Failure::new(Exit::Usage, "a worker is a process of its own"))
        }
    }
}
