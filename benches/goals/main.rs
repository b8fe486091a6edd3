//! The goals of speed and size, measured: `cargo bench`.
//!
//! Every figure stands beside what this machine itself can do, measured in the same run, and beside
//! its goal. It ends well whatever it finds: a goal missed is a line that says so, not a failure.
//! What the rows mean stands in `benches/README.md`.
//!
//! Children of this program are daemons: the same code as `snapkeep run`, in a process of their own,
//! so that memory, wakes and starts are those of a real one.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and waits for other processes")]

mod api;
mod burst;
mod child;
mod files;
mod folder;
mod history;
mod idle;
mod limits;
mod pure;
mod scale;
mod stats;
mod table;

use std::path::{Path, PathBuf};

use table::Table;

/// Policies in the rows about size.
const POLICIES: usize = 10_000;
/// Requests after which the daemon should have the memory that it had before.
const REQUESTS: usize = 1_000_000;
/// Runs in the journal of the rows about size.
const HISTORY: usize = 1_000_000;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (policies, history, idle_seconds) = if quick { (1_000, 20_000, 20) } else { (POLICIES, HISTORY, 130) };
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);

    let base = place();
    let root = tempfile::Builder::new().prefix("goals-").tempdir_in(&base).expect("a folder to work in");
    let root = root.path();
    println!("{}", limits::machine(root));
    let mut table = Table::new();
    // It does nothing for two minutes; the rest goes on meanwhile.
    let idle = wants("idle").then(|| idle::begin(&root.join("idle"), idle_seconds));

    table.part("raw limits");
    let raw = limits::measure(root, &mut table);
    if wants("burst") {
        table.part("due at once");
        burst::due_at_once(&root.join("burst"), &raw, &mut table);
        burst::single_commits(&root.join("commits"), &mut table);
    }
    if wants("pure") {
        table.part("arithmetic");
        pure::measure(&mut table);
    }
    if wants("scale") {
        table.part("many policies");
        scale::measure(&root.join("scale"), policies, history, &mut table);
    }
    if wants("api") {
        table.part("OpenSearch's API");
        api::measure(&root.join("api"), policies, if quick { 20_000 } else { REQUESTS }, &mut table);
    }
    if wants("files") {
        table.part("files, beside restic and borg");
        files::measure(&root.join("files"), quick, &mut table);
    }
    if let Some(idle) = idle {
        table.part("nothing to do");
        idle.end(&mut table);
    }
    table.part("size");
    binary_size(&mut table);
    println!("{}", limits::load());
    table.close();
}

/// Where journals and files of a run are put: beside the build, which is on a disk.
fn place() -> PathBuf {
    let place = std::env::var_os("SNAPKEEP_BENCH_DIR").map(PathBuf::from);
    let place = place.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    std::fs::create_dir_all(&place).expect("the folder to work in can be made");
    place
}

fn binary_size(table: &mut Table) {
    let path = Path::new(env!("CARGO_BIN_EXE_snapkeep"));
    let Ok(metadata) = path.metadata() else { return };
    let mib = metadata.len() as f64 / f64::from(1 << 20);
    table.goal("binary, stripped", format!("{mib:.1} MiB"), "—", mib / 15.0, "≤ 15 MiB", mib <= 15.0);
}
