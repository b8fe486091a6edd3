//! Many policies and a long history: starting, answering, reading again, and how much memory that
//! takes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use snapkeep::clock;
use snapkeep::config::sources::Sources;
use snapkeep::engine::Engine;
use snapkeep::engine::event::Event;
use snapkeep::engine::view::View;
use snapkeep::journal::record::Document;
use snapkeep::journal::{self, Journal};
use snapkeep::roster::{FileKind, Loader};

use crate::child::Daemon;
use crate::stats::{Samples, span};
use crate::table::Table;
use crate::{folder, history};

/// Runs under way while one policy is explained.
const ACTIVE: usize = 100;
/// What a daemon may take without any policy.
const BASE_BYTES: f64 = 15.0 * 1024.0 * 1024.0;
/// What it may take for each.
const POLICY_BYTES: f64 = 2.0 * 1024.0;
/// After this the files have been read a second time, and what a start needed is given back.
const SETTLED: Duration = Duration::from_secs(4);
const STARTS: usize = 5;

pub fn measure(root: &Path, policies: usize, runs: usize, table: &mut Table) {
    let (none, some) = (root.join("none"), root.join("some"));
    let none = folder::make(&none, 0, clock::now().wall);
    let some = folder::make(&some, policies / 10, clock::now().wall);
    let many = folder::make(&root.join("many"), policies, clock::now().wall);
    // What was written less than two seconds ago is read twice.
    std::thread::sleep(Duration::from_secs(3));

    let cold = Samples::of_spans((0..STARTS).map(|_| Daemon::start(&none).up));
    let figure = format!("{} best {}", span(cold.median()), span(cold.best()));
    let is_met = cold.median() <= 100e6;
    table.goal("start with no policies, to the first answer", figure, "—", cold.median() / 100e6, "≤ 100 ms", is_met);

    let daemon = Daemon::start(&many);
    let first = daemon.up;
    table.note(&format!("first start ever with {policies} policies"), span(first.as_nanos() as f64), "—", None);
    daemon.stop();

    let begin = Instant::now();
    let state = root.join("many/state");
    history::write(&state, runs, clock::now());
    let took = span(begin.elapsed().as_nanos() as f64);
    let mib = fs::metadata(state.join(journal::FILE)).map_or(0.0, |file| file.len() as f64 / f64::from(1 << 20));
    table.note(&format!("  {runs} runs written into the journal"), took, &format!("{mib:.0} MiB"), None);

    starts(root, &many, policies, runs, table);
    memory(&[(0, &none), (policies / 10, &some), (policies, &many)], table);
    explain(root, &many, policies, table);
    reload(root, policies, table);
}

fn starts(root: &Path, settings: &Path, policies: usize, runs: usize, table: &mut Table) {
    let starts = Samples::of_spans((0..STARTS).map(|_| {
        let daemon = Daemon::start(settings);
        let up = daemon.up;
        daemon.stop();
        up
    }));
    let (files, check) = least(root);
    let limit = format!("read+parse {}, check {}", span(files), span(check));
    let figure = format!("{} best {}", span(starts.median()), span(starts.best()));
    let ratio = starts.median() / (files + check);
    let measure = format!("start, {policies} policies, {runs} runs, p50");
    table.goal(&measure, figure, &limit, ratio, "≤ 3 s", starts.median() <= 3e9);

    // The same in this process, part by part.
    let now = clock::now();
    let begin = Instant::now();
    let mut journal = Journal::open(&root.join("many/state"), now).expect("a journal");
    let opened = begin.elapsed();
    let begin = Instant::now();
    let mut loader = Loader::new(Sources::of_file(settings), |_, _| None);
    let remember = &mut |document: Document| {
        let kind =
            FileKind::ALL.into_iter().find(|kind| kind.folder() == document.kind.folder()).expect("one of three");
        loader.remember(kind, &document.name, &document.origin, &document.text);
    };
    journal.each_document(remember).expect("read");
    let roster = loader.load(now.wall);
    let read = begin.elapsed();
    assert!(roster.problems.is_empty(), "{:?}", roster.problems.first());
    let begin = Instant::now();
    let engine = Engine::start(journal, roster, Arc::new(View::default()), 16, now, true).expect("an engine");
    let began = begin.elapsed();
    drop(engine);
    let parts = [("journal", opened), ("files", read), ("engine", began)];
    let parts: Vec<String> = parts.map(|(part, took)| format!("{part} {}", span(took.as_nanos() as f64))).into();
    table.note("  part by part", parts.join(", "), "", None);
}

/// Returns the least a start could do: read and parse every file, and look the journal over.
fn least(root: &Path) -> (f64, f64) {
    let files = Samples::of(3, |_| {
        for file in fs::read_dir(root.join("many/policies.d")).expect("a folder").flatten() {
            let text = fs::read_to_string(file.path()).expect("a file");
            std::hint::black_box(text.parse::<toml::Table>().expect("a policy"));
        }
    });
    let check = Samples::of(3, |_| {
        let connection = Connection::open(root.join("many/state").join(journal::FILE)).expect("a journal");
        let verdict: String = connection.query_row("pragma quick_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(verdict, "ok");
    });
    (files.median(), check.median())
}

fn memory(folders: &[(usize, &Path)], table: &mut Table) {
    let mut found: Vec<(usize, f64)> = Vec::new();
    for (policies, settings) in folders {
        // A start that finds nothing new, as nearly all do.
        Daemon::start(settings).stop();
        let daemon = Daemon::start(settings);
        std::thread::sleep(SETTLED);
        let resident = daemon.memory_kb("VmRSS") as f64 * 1024.0;
        let anonymous = daemon.memory_kb("RssAnon") as f64 / 1024.0;
        daemon.stop();
        let allowed = BASE_BYTES + POLICY_BYTES * *policies as f64;
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let figure = format!("{:.1} MiB", mib(resident));
        let limit = format!("of them {anonymous:.1} MiB not of files");
        let goal = format!("≤ {:.1} MiB", mib(allowed));
        let measure = format!("resident memory, {policies} policies");
        table.goal(&measure, figure, &limit, resident / allowed, &goal, resident <= allowed);
        found.push((*policies, resident));
    }
    if let ([(_, base), ..], [.., (policies, resident)]) = (found.as_slice(), found.as_slice()) {
        let each = (resident - base) / *policies as f64;
        table.note("  a policy, over none", format!("{each:.0} B"), "", Some(each / POLICY_BYTES));
    }
}

fn explain(root: &Path, settings: &Path, policies: usize, table: &mut Table) {
    let daemon = Daemon::start(settings);
    let all = Samples::of(12, |_| {
        std::hint::black_box(daemon.get("/v1/explain"));
    });
    let bytes = daemon.get("/v1/explain").len();
    let figure = format!("{} worst {}", span(all.median()), span(all.percentile(100.0)));
    let limit = format!("{:.1} MB", bytes as f64 / 1e6);
    let measure = format!("explain all {policies}, p50");
    table.goal(&measure, figure, &limit, all.median() / 200e6, "≤ 200 ms", all.median() <= 200e6);

    let scrapes = Samples::of(5, |_| {
        std::hint::black_box(daemon.get("/metrics"));
    });
    let bytes = daemon.get("/metrics").len();
    let figure = format!("{} worst {}", span(scrapes.median()), span(scrapes.percentile(100.0)));
    let limit = format!("{:.1} MB", bytes as f64 / 1e6);
    let measure = format!("metrics of all {policies}, p50");
    table.goal(&measure, figure, &limit, scrapes.median() / 500e6, "≤ 500 ms", scrapes.median() <= 500e6);

    for index in 0..ACTIVE {
        let target = format!("/v1/policies/{}/run", folder::name(index));
        let (status, body) = daemon.call("POST", &target, "{\"workflow\":\"creation\"}").expect("asked");
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&body));
    }
    let under_way = String::from_utf8(daemon.get("/v1/explain")).expect("text");
    let under_way = under_way.matches("\"IN_PROGRESS\"").count() + under_way.matches("\"RETRYING\"").count();
    let one = Samples::of(1_000, |index| {
        let target = format!("/v1/explain?name={}", folder::name(index % (ACTIVE * 2)));
        std::hint::black_box(daemon.get(&target));
    });
    daemon.stop();
    let limit = echo(root);
    let figure = format!("{} p99 {}", span(one.median()), span(one.p99()));
    let measure = format!("explain one, {under_way} runs under way, p50");
    let limit_text = format!("echo on a socket p99 {}", span(limit.p99()));
    table.goal(&measure, figure, &limit_text, one.p99() / limit.p99(), "p99 ≤ 5 ms", one.p99() <= 5e6);
}

/// Returns how long it takes to connect, say something and hear it back.
fn echo(root: &Path) -> Samples {
    const TIMES: usize = 1_000;
    let path = root.join("echo");
    let listener = UnixListener::bind(&path).expect("a socket");
    let server = std::thread::spawn(move || {
        for mut stream in listener.incoming().take(TIMES).flatten() {
            let mut word = [0; 64];
            let length = stream.read(&mut word).expect("read");
            stream.write_all(&word[..length]).expect("written");
        }
    });
    let samples = Samples::of(TIMES, |_| {
        let mut stream = UnixStream::connect(&path).expect("connected");
        stream.write_all(b"explain").expect("written");
        stream.read_exact(&mut [0; 7]).expect("read");
    });
    server.join().expect("it ends");
    samples
}

fn reload(root: &Path, policies: usize, table: &mut Table) {
    let many = root.join("many");
    let now = clock::now();
    let journal = Journal::open(&root.join("reload"), now).expect("a journal");
    let mut loader = Loader::new(Sources::of_file(&many.join("snapkeep.toml")), |_, _| None);
    let roster = loader.load(now.wall);
    let (mut engine, _) = Engine::start(journal, roster, Arc::new(View::default()), 16, now, true).expect("an engine");
    let (mut whole, mut turn) = (Samples::default(), Samples::default());
    for index in 0..20 {
        let name = folder::name(index * 7 % policies);
        let text = folder::policy(index * 7 % policies, &format!("edit {index}"), now.wall);
        let (path, other) = (many.join(format!("policies.d/{name}.toml")), many.join("edited"));
        fs::write(&other, text).expect("written");
        fs::rename(&other, &path).expect("replaced");
        let begin = Instant::now();
        let roster = loader.load(clock::now().wall);
        let loaded = Instant::now();
        engine.turn(clock::now(), vec![Event::Loaded(roster)]).expect("the journal holds");
        whole.add(begin.elapsed());
        turn.add(loaded.elapsed());
    }
    let limit = Samples::of(5, |_| {
        for file in fs::read_dir(many.join("policies.d")).expect("a folder").flatten() {
            std::hint::black_box(file.metadata().expect("there"));
        }
    });
    let figure = format!("{} worst {}", span(whole.median()), span(whole.percentile(100.0)));
    let limit_text = format!("stat of each {}", span(limit.median()));
    let ratio = whole.median() / limit.median();
    let measure = format!("reload after one edit among {policies}, p50");
    table.goal(&measure, figure, &limit_text, ratio, "≤ 100 ms", whole.median() <= 100e6);
    table.note("  of that in the engine's turn, p50", span(turn.median()), "", None);
}
