//! The `files` driver beside Debian's `restic` and `borg`: the same tree, the same disk, in turn.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustic_backend::LocalBackend;
use rustic_core::repofile::StringList;
use rustic_core::{Credentials, Repository, RepositoryBackends, RepositoryOptions};
use serde_json::{Value, json};

use super::stats::{Samples, span};
use super::table::Table;

/// What the goals are told for.
const FILES: usize = 50_000;
/// Snapshots that are listed.
const SNAPSHOTS: usize = 1_000;
/// Often enough for a high-water mark that only rises.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is measured of each tool. The first backup of ours begins the repository; the others' is begun before.
const STEPS: [&str; 3] = ["first backup", "unchanged backup", "restore"];

/// A program that makes snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Snapkeep,
    Restic,
    Borg,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Snapkeep => "snapkeep",
            Tool::Restic => "restic",
            Tool::Borg => "borg",
        }
    }

    fn is_there(self) -> bool {
        self == Tool::Snapkeep || Command::new(self.name()).arg("--version").output().is_ok()
    }
}

/// Times and peaks of memory of one tool, by step.
#[derive(Debug, Default)]
struct Figures {
    times: [Samples; STEPS.len()],
    peak_kb: [u64; STEPS.len()],
    repository_bytes: u64,
}

/// Measures backups and restores of a tree, then a repository of many snapshots.
pub fn measure(folder: &Path, quick: bool, table: &mut Table) {
    let tree = tree();
    let (files, bytes) = size(&tree);
    let rounds = if quick { 1 } else { 3 };
    table.note("the tree: this compiler's installation", format!("{files} files, {} MB", bytes >> 20), "", None);
    if files < FILES {
        table.note(&format!("  it is smaller than the {FILES} files the goals are for"), "—".into(), "", None);
    }
    let tools: Vec<Tool> = [Tool::Snapkeep, Tool::Restic, Tool::Borg]
        .into_iter()
        .filter(|tool| {
            if !tool.is_there() {
                table.note(&format!("  NOT MEASURED: {} is not installed", tool.name()), "—".into(), "", None);
            }
            tool.is_there()
        })
        .collect();
    let is_cold = forget_pages();
    table.note("  pages are forgotten before each step", if is_cold { "yes" } else { "no" }.into(), "", None);
    let mut figures: Vec<(Tool, Figures)> = tools.into_iter().map(|tool| (tool, Figures::default())).collect();
    // Nothing is removed in between: ext4 looks long for names to give while some were just given back.
    for number in 0..rounds {
        for (tool, figures) in &mut figures {
            round(*tool, &tree, &folder.join(format!("{}-{number}", tool.name())), figures);
        }
    }
    rows(&figures, table);
    many_snapshots(&folder.join("many"), table);
}

fn rows(figures: &[(Tool, Figures)], table: &mut Table) {
    let restic = figures.iter().find(|(tool, _)| *tool == Tool::Restic).map(|(_, figures)| figures);
    for (step, (what, goal)) in STEPS.iter().zip([1.1, 1.0, 1.0]).enumerate() {
        for (tool, figures) in figures {
            let (time, peak_mb) = (figures.times[step].median(), figures.peak_kb[step] >> 10);
            let figure = format!("{} ({peak_mb} MB)", span(time));
            let measure = format!("{what}, {}", tool.name());
            match restic.filter(|_| *tool == Tool::Snapkeep) {
                Some(restic) => {
                    let ratio = time / restic.times[step].median();
                    let beside = format!("restic {}", span(restic.times[step].median()));
                    table.goal(&measure, figure, &beside, ratio, &format!("≤ {goal:.1}"), ratio <= goal);
                }
                None => table.note(&measure, figure, "", None),
            }
        }
    }
    for (tool, figures) in figures {
        let measure = format!("repository after two backups, {}", tool.name());
        table.note(&measure, format!("{} MB", figures.repository_bytes >> 20), "", None);
        if let Some(restic) = restic.filter(|_| *tool == Tool::Snapkeep) {
            let ratio = figures.peak_kb[2] as f64 / restic.peak_kb[2] as f64;
            let figure = format!("{} MB", figures.peak_kb[2] >> 10);
            let beside = format!("restic {} MB", restic.peak_kb[2] >> 10);
            table.goal("memory in restore", figure, &beside, ratio, "≤ 1.5", ratio <= 1.5);
        }
    }
}

/// The compiler that built this: some fifty thousand files, sources, libraries and pages, on every
/// machine that can run it.
fn tree() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
    let path = String::from_utf8(output.stdout).expect("UTF-8");
    Path::new(path.trim()).canonicalize().expect("there")
}

fn size(path: &Path) -> (usize, u64) {
    let (mut files, mut bytes, mut folders) = (0, 0, vec![path.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable").flatten() {
            let metadata = entry.metadata().expect("readable");
            match metadata.is_dir() {
                true => folders.push(entry.path()),
                false => (files, bytes) = (files + 1, bytes + metadata.len()),
            }
        }
    }
    (files, bytes)
}

/// Makes the system forget what it has read, where it lets us; tells whether it did.
fn forget_pages() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn round(tool: Tool, tree: &Path, place: &Path, figures: &mut Figures) {
    fs::create_dir_all(place.join("restored")).expect("a folder");
    let mut step = |index: usize, work: &mut dyn FnMut() -> u64| {
        forget_pages();
        let begin = Instant::now();
        let peak_kb = work();
        figures.times[index].add(begin.elapsed());
        figures.peak_kb[index] = figures.peak_kb[index].max(peak_kb);
    };
    match tool {
        Tool::Snapkeep => {
            let worker = Worker::new(&place.join("repository"));
            let mut made = Value::Null;
            for (index, name) in ["first", "second"].into_iter().enumerate() {
                step(index, &mut || {
                    let (answer, peak_kb) = worker.ask(&worker.create(name, tree));
                    made = answer;
                    peak_kb
                });
            }
            let to = place.join("restored");
            let id = &made["snapshot"]["id"];
            let restore = json!({"snapkeep": 1, "verb": "restore", "name": "second", "id": id, "time_max_ms": 3_600_000, "to": to,
                    "include": [], "repository": worker.repository});
            step(2, &mut || worker.ask(&restore).1);
        }
        Tool::Restic => {
            let restic = |arguments: &[&str]| {
                let mut command = Command::new("restic");
                command.args(["--no-cache", "--quiet", "--repo"]).arg(place.join("repository")).args(arguments);
                run(command.env("RESTIC_PASSWORD", "bench"))
            };
            let tree = tree.to_str().expect("UTF-8");
            restic(&["init"]);
            step(0, &mut || restic(&["backup", tree]));
            step(1, &mut || restic(&["backup", tree]));
            let to = place.join("restored");
            step(2, &mut || restic(&["restore", "latest", "--target", to.to_str().expect("UTF-8")]));
        }
        Tool::Borg => {
            let repository = place.join("repository");
            let archive = |name: &str| format!("{}::{name}", repository.display());
            let borg = |arguments: &[&str]| {
                let mut command = Command::new("borg");
                command.args(arguments).current_dir(place.join("restored"));
                command.env("BORG_PASSPHRASE", "bench").env("BORG_BASE_DIR", place.join("home"));
                run(&mut command)
            };
            let tree = tree.to_str().expect("UTF-8");
            let create = |name: &str| borg(&["create", "--compression", "zstd,3", &archive(name), tree]);
            let path = repository.to_str().expect("UTF-8");
            borg(&["init", "--encryption", "repokey-blake2", path]);
            step(0, &mut || create("first"));
            step(1, &mut || create("second"));
            step(2, &mut || borg(&["extract", &archive("second")]));
        }
    }
    figures.repository_bytes = size(&place.join("repository")).1;
}

/// Runs a program to its end, which must be a good one, and returns its peak of memory in kB.
fn run(command: &mut Command) -> u64 {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut peak_kb = 0;
    loop {
        peak_kb = high_water(&child).max(peak_kb);
        match child.try_wait().expect("asked") {
            Some(status) => {
                assert!(status.success(), "{command:?}: {status}");
                return peak_kb;
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn high_water(child: &Child) -> u64 {
    super::child::status_number(&format!("/proc/{}/status", child.id()), "VmHWM")
}

/// The `files` driver as the daemon runs it: a process for each question.
struct Worker {
    repository: Value,
}

impl Worker {
    fn new(repository: &Path) -> Worker {
        Worker { repository: json!({ "path": repository }) }
    }

    fn create(&self, name: &str, path: &Path) -> Value {
        let config = json!({"paths": [path], "exclude": [], "one_file_system": false});
        json!({"snapkeep": 1, "verb": "create", "name": name, "time_max_ms": 3_600_000, "labels": {}, "config": config,
            "repository": self.repository})
    }

    /// Returns the result and the process's peak of memory in kB.
    fn ask(&self, request: &Value) -> (Value, u64) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_snapkeep"))
            .args(["driver", "files"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the worker runs");
        // It stays open: its end would mean that nobody wants the answer.
        let mut stdin = child.stdin.take().expect("a pipe");
        writeln!(stdin, "{request}").expect("written");
        let output: ChildStdout = child.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).last());
        let mut peak_kb = 0;
        while child.try_wait().expect("asked").is_none() {
            peak_kb = high_water(&child).max(peak_kb);
            std::thread::sleep(LOOK_EVERY);
        }
        let last = reader.join().expect("read").expect("a line");
        let answer: Value = serde_json::from_str(&last).expect("JSON");
        assert!(answer.get("result").is_some(), "{answer}");
        (answer["result"].clone(), peak_kb)
    }
}

/// A repository of many snapshots: one is made as the driver makes it, the others are the same under
/// other names, saved in one go.
fn many_snapshots(folder: &Path, table: &mut Table) {
    let source = folder.join("source");
    fs::create_dir_all(&source).expect("a folder");
    fs::write(source.join("page"), "words").expect("written");
    let path = folder.join("repository");
    let worker = Worker::new(&path);
    worker.ask(&worker.create("made-0", &source));
    let key = fs::read_to_string(folder.join("repository.key")).expect("the key");
    let backend = LocalBackend::new(path.to_str().expect("UTF-8"), []).expect("a backend");
    let options = RepositoryOptions::default().no_cache(true);
    let opened = Repository::new(&options, &RepositoryBackends::new(Arc::new(backend), None))
        .and_then(|repository| repository.open(&Credentials::password(key.trim())))
        .expect("opened");
    let made = opened.get_all_snapshots().expect("read").remove(0);
    let copies = (1..SNAPSHOTS).map(|number| {
        let mut copy = made.clone();
        let mut tags = StringList::default();
        tags.add(format!("snapkeep_name=made-{number}"));
        copy.tags = tags;
        copy
    });
    opened.save_snapshots(copies.collect()).expect("saved");

    let list = json!({"snapkeep": 1, "verb": "list", "time_max_ms": 60_000, "repository": worker.repository});
    let describe = json!({"snapkeep": 1, "verb": "describe", "name": format!("made-{}", SNAPSHOTS / 2),
        "time_max_ms": 60_000, "repository": worker.repository});
    let restic = Tool::Restic.is_there().then(|| {
        Samples::of(3, |_| {
            let mut command = Command::new("restic");
            command.args(["--no-cache", "--quiet", "snapshots", "--json", "--repo"]).arg(&path);
            run(command.arg("--password-file").arg(folder.join("repository.key")));
        })
    });
    let beside = restic.map_or_else(|| "—".to_owned(), |samples| format!("restic {}", span(samples.median())));
    for (what, request) in [("list", list), ("describe one", describe)] {
        let samples = Samples::of(5, |_| {
            let (answer, _) = worker.ask(&request);
            assert!(answer["count"] == SNAPSHOTS || answer["snapshot"]["status"] == "good", "{answer}");
        });
        let (figure, ratio) = (span(samples.median()), samples.median() / 1e9);
        let measure = format!("{what} of {SNAPSHOTS} snapshots, process included");
        table.goal(&measure, figure, &beside, ratio, "≤ 1 s", ratio <= 1.0);
    }
}
