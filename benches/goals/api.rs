//! OpenSearch's API as a client with a connection of its own feels it: explain, list, a million requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use snapkeep::clock;
use snapkeep::http::short;

use crate::child::Daemon;
use crate::folder;
use crate::stats::{Samples, span};
use crate::table::Table;

/// Runs under way while one policy is explained.
const ACTIVE: usize = 100;
/// Callers at once; each has a core of this machine, which the daemon wants too.
const CALLERS: usize = 2;
/// After this the files have been read a second time.
const SETTLED: Duration = Duration::from_secs(4);

pub fn measure(root: &Path, policies: usize, requests: usize, table: &mut Table) {
    let settings = folder::make(&root.join("some"), 1_000, clock::now().wall);
    // What was written less than two seconds ago is read twice.
    std::thread::sleep(Duration::from_secs(3));
    let daemon = Daemon::start(&settings);
    for index in 0..ACTIVE {
        let target = format!("/v1/policies/{}/run", folder::name(index));
        let (status, body) = daemon.call("POST", &target, "{\"workflow\":\"creation\"}").expect("asked");
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&body));
    }
    let under_way = String::from_utf8(daemon.get("/v1/explain")).expect("text").matches("\"IN_PROGRESS\"").count();
    let mut line = Line::to(&settings);
    let one = Samples::of(5_000, |index| {
        std::hint::black_box(line.get(&target(index)));
    });
    let figure = format!("{} p99 {}", span(one.median()), span(one.p99()));
    let measure = format!("_explain of one of 1,000, {under_way} runs under way, p50");
    table.goal(&measure, figure, "—", one.p99() / 1e6, "p99 ≤ 1 ms", one.p99() <= 1e6);

    std::thread::sleep(SETTLED);
    // Whatever the first requests need once is there.
    flood(&settings, requests / 20);
    let before = daemon.memory_kb("VmRSS");
    let begin = Instant::now();
    flood(&settings, requests);
    let rate = requests as f64 / begin.elapsed().as_secs_f64();
    let after = daemon.memory_kb("VmRSS");
    daemon.stop();
    let limit = format!("{CALLERS} callers on the same cores");
    let measure = format!("_explain of one, {requests} requests");
    table.goal(&measure, format!("{rate:.0}/s"), &limit, 10_000.0 / rate, "≥ 10,000/s", rate >= 10_000.0);
    let growth = after.saturating_sub(before);
    let figure = format!("{:.1} → {:.1} MiB", before as f64 / 1024.0, after as f64 / 1024.0);
    table.goal("  memory before and after them", figure, "—", growth as f64 / 1024.0, "≤ 1 MiB more", growth <= 1024);

    let settings = folder::make(&root.join("many"), policies, clock::now().wall);
    std::thread::sleep(Duration::from_secs(3));
    let daemon = Daemon::start(&settings);
    let mut line = Line::to(&settings);
    let list = Samples::of(12, |_| {
        std::hint::black_box(line.get(&format!("/_plugins/_sm/policies?size={policies}")));
    });
    let bytes = line.get(&format!("/_plugins/_sm/policies?size={policies}"));
    daemon.stop();
    let figure = format!("{} worst {}", span(list.median()), span(list.percentile(100.0)));
    let limit = format!("{:.1} MB", bytes as f64 / 1e6);
    let measure = format!("list of {policies}, p50");
    table.goal(&measure, figure, &limit, list.median() / 300e6, "≤ 300 ms", list.median() <= 300e6);
}

fn target(index: usize) -> String {
    format!("/_plugins/_sm/policies/{}/_explain", folder::name(index % (ACTIVE * 2)))
}

fn flood(settings: &Path, requests: usize) {
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut line = Line::to(settings);
                for index in 0..requests / CALLERS {
                    line.get(&target(index));
                }
            });
        }
    });
}

/// A connection that stays open.
struct Line {
    stream: BufReader<UnixStream>,
    body: Vec<u8>,
}

impl Line {
    fn to(settings: &Path) -> Line {
        let (_directory, socket) = short(&settings.with_file_name("state").join("api.sock")).expect("a socket");
        let stream = UnixStream::connect(socket).expect("connected");
        Line { stream: BufReader::new(stream), body: Vec::new() }
    }

    /// Returns how long the answer is.
    fn get(&mut self, target: &str) -> usize {
        let request = format!("GET {target} HTTP/1.1\r\nHost: snapkeep\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).expect("written");
        let mut length = 0;
        let mut line = String::new();
        let mut is_first = true;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("an answer");
            if is_first {
                assert!(line.starts_with("HTTP/1.1 200"), "{target}: {line}");
                is_first = false;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).expect("a body");
        length
    }
}
