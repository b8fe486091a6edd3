//! What the pages about the first hour, about getting data back, about holds and about access tell people to type works,
//! word for word; and the README and the page about OpenSearch leave nothing out.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use snapkeep::clock;
use snapkeep::journal::{FILE, Journal};

use crate::architecture::functions;
use crate::daemon::place::Place;
use crate::driver_contract::{Fixture, call, create, files};
use crate::files::tree;
use crate::peers_restic::restic_is_here;
use crate::support::files_below;

/// Returns the commands of a page, block by block.
fn blocks(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    // In a list they are indented.
    blocks.map(|block| block.lines().map(|line| format!("{}\n", line.trim_start())).collect()).collect()
}

/// What the page names, and what stands for it here.
struct Stand {
    place: Place,
    fixture: Fixture,
    names: BTreeMap<&'static str, PathBuf>,
    snapshot: String,
    id: String,
}

impl Stand {
    async fn new() -> Stand {
        let (place, fixture) = (Place::new(), files());
        for file in ["policies.d/every.toml", "repositories.d/store.toml"] {
            fs::remove_file(place.path(file)).expect("there");
        }
        let repository = fixture.repository();
        place.write("repositories.d/local.toml", &format!("driver = \"files\"\npath = {repository:?}\n"));
        let made = create(&fixture, "wiki-1").await.expect("made").snapshot;
        for folder in ["work", "rescue", "tmp"] {
            fs::create_dir(place.path(folder)).expect("made");
        }
        copy(&repository, &place.path("rescue/snapkeep"));
        // A journal of another machine, as a disk that is left of one would have it.
        let elsewhere = place.path("elsewhere");
        fs::create_dir(&elsewhere).expect("made");
        drop(Journal::open(&elsewhere, clock::now()).expect("a journal"));
        let journal = rusqlite::Connection::open(elsewhere.join(FILE)).expect("opened");
        let other = "update instance set machine = 'ffffffffffffffffffffffffffffffff'";
        journal.execute(other, []).expect("changed");
        let copy_of_it = place.path("rescue/journal.db");
        journal.execute("vacuum into ?1", [copy_of_it.to_str().expect("UTF-8")]).expect("copied");
        let names = [
            ("/var/backups/snapkeep.key", fixture.folder.path().join("repository.key")),
            ("/var/backups/snapkeep", repository),
            ("/srv/wiki", fixture.source()),
            ("/etc/snapkeep", place.path("")),
            ("/mnt/rescue", place.path("rescue")),
            ("/tmp/", place.path("tmp/")),
        ];
        Stand { place, fixture, names: names.into(), snapshot: made.name, id: made.id }
    }

    /// Returns the command as it is to be typed here.
    fn here(&self, block: &str) -> String {
        // In reverse order the longer of two that begin alike comes first.
        let mut text = block.replace("SNAPSHOT", &self.snapshot).replace("ID", &self.id);
        // In two steps: what stands for one name may hold another.
        for (number, name) in self.names.keys().rev().enumerate() {
            text = text.replace(name, &format!("\u{1}{number}\u{1}"));
        }
        for (number, path) in self.names.values().rev().enumerate() {
            text = text.replace(&format!("\u{1}{number}\u{1}"), path.to_str().expect("UTF-8"));
        }
        text
    }

    /// Types a block of commands; `typed` is what a person types then.
    fn run(&self, block: &str, typed: &str) -> String {
        let script = self.here(block);
        let mut shell = Command::new("sh")
            .args(["-euc", &script])
            .env("PATH", path())
            .env("HOME", self.place.path("tmp"))
            .env("SNAPKEEP_CONFIG", self.place.path("snapkeep.toml"))
            .current_dir(self.place.path("work"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        // Most commands read nothing, and may have ended by now.
        let _ = shell.stdin.take().expect("piped").write_all(typed.as_bytes());
        let output = shell.wait_with_output().expect("it ends");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{said}");
        said
    }

    /// Whether what was kept is there, whole.
    fn is_back_in(&self, folder: &str) {
        let source = self.fixture.source();
        let back = self.place.path("tmp").join(folder).join(source.strip_prefix("/").expect("absolute"));
        assert_eq!(tree(&back), tree(&source), "{folder}");
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

#[tokio::test]
async fn every_command_on_the_page_about_getting_data_back_does_what_it_says() {
    if !restic_is_here("the commands of docs/getting-data-back.md") {
        return;
    }
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/getting-data-back.md")).expect("a page");
    let mut stand = Stand::new().await;
    let key = fs::read_to_string(stand.fixture.folder.path().join("repository.key")).expect("a key");
    let blocks = blocks(&page);
    let mut said = String::new();
    for block in &blocks {
        let needs_daemon = block.contains("accept-machine");
        if needs_daemon {
            stand.place.start();
            stand.place.until("the daemon", |body| body["policies"].as_array().map(|_| ()));
        }
        said.push_str(&stand.run(block, &key));
        if needs_daemon {
            assert_eq!(stand.place.stop(), Some(0));
        }
    }
    assert!(blocks.len() >= 12, "{blocks:#?}");
    // Every command in a line of its own is in a block: nothing is told that was not run.
    let lines = page.lines().map(str::trim_start);
    let told = lines.filter(|line| line.starts_with("snapkeep ") || line.starts_with("restic ")).count();
    let run = blocks.iter().flat_map(|block| block.lines());
    assert_eq!(told, run.filter(|line| line.starts_with("snapkeep ") || line.starts_with("restic ")).count());
    for folder in ["back", "home", "by-restic", "newest", "no-lock", "rescued"] {
        stand.is_back_in(folder);
    }
    let page_back = stand.place.path("tmp/page").join(stand.fixture.source().strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read_to_string(page_back.join("page")).expect("restored"), "words\n");
    assert_eq!(fs::read_to_string(stand.place.path("work/page")).expect("dumped"), "words\n");
    for expected in ["wiki-1", "no errors were found", "The journal is sound", "The journal is this machine's"] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    // What it wrote first holds the key of then, which opens nothing any more; the second sheet's does.
    let (old, new) = (stand.place.path("work/recovery-sheet.txt"), stand.place.path("work/new-sheet.txt"));
    let (old, new) = (fs::read_to_string(old).expect("a sheet"), fs::read_to_string(new).expect("a sheet"));
    let now = fs::read_to_string(stand.fixture.folder.path().join("repository.key")).expect("a key");
    assert!(old.contains(key.trim()) && !new.contains(key.trim()) && new.contains(now.trim()) && now != key);
    stand.fixture.driver.list(&call()).await.expect("it opens");
}

#[test]
fn every_command_of_the_first_hour_does_what_it_says() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/first-hour.md")).expect("a page");
    let mut place = Place::bare();
    for folder in ["wiki", "tmp", "work", "kept", "channels.d"] {
        fs::create_dir(place.path(folder)).expect("made");
    }
    place.write("wiki/page", "words\n");
    let names = [("/etc/snapkeep", ""), ("/var/lib/snapkeep", "kept"), ("/srv/wiki", "wiki"), ("/tmp", "tmp")];
    let names = names.map(|(name, below)| (name, place.path(below).display().to_string()));
    // In two steps: what stands for one name may hold another.
    let here = |text: &str| {
        let marked = names
            .iter()
            .enumerate()
            .fold(text.to_owned(), |text, (number, (name, _))| text.replace(name, &format!("\u{1}{number}\u{1}")));
        names
            .iter()
            .enumerate()
            .fold(marked, |text, (number, (_, path))| text.replace(&format!("\u{1}{number}\u{1}"), path))
    };
    // The files as the page has them; the channel is there from the beginning.
    let mut files = 0;
    for text in page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()) {
        if let Some(name) = text.lines().next().and_then(|line| line.strip_prefix("# /etc/snapkeep/")) {
            place.write(name, &here(text));
            files += 1;
        }
    }
    assert_eq!(files, 3);
    let (mut said, mut snapshot) = (String::new(), String::new());
    for block in blocks(&page) {
        if block.contains("explain") {
            place.up();
            place.until("the policy", |body| body["policies"].as_array().filter(|all| all.len() == 1).map(|_| ()));
        }
        let script = format!("cd {}\n{}", place.path("work").display(), here(&block).replace("SNAPSHOT", &snapshot));
        said.push_str(&typed(&place, &script));
        if block.contains("policy run") {
            let listed = place.command(&["snapshots", "wiki", "--json"]).output().expect("it runs");
            let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
            snapshot = listed["policies"][0]["snapshots"][0]["name"].as_str().expect("a name").to_owned();
        }
    }
    for expected in [
        "no errors, no warnings",
        "Nightly copy of the wiki",
        "succeeded after",
        "is sound",
        "daily",
        "delivered: logged",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    for folder in ["page", "back"] {
        let back = place.path("tmp").join(folder).join(place.path("wiki/page").strip_prefix("/").expect("absolute"));
        assert_eq!(fs::read_to_string(back).expect("restored"), "words\n");
    }
    assert!(place.path("work/recovery-sheet.txt").exists());
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn the_readme_tells_of_every_command_and_links_every_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("a page");
    for page in fs::read_dir(root.join("docs")).expect("there").flatten().filter(|page| page.path().is_file()) {
        let name = page.file_name();
        assert!(readme.contains(&format!("docs/{}", name.display())), "{} is not linked", name.display());
    }
    let command = <snapkeep::cli::arguments::Arguments as clap::CommandFactory>::command();
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(readme.contains(&format!("`snapkeep {name}")) || readme.contains(&format!(" {name} PATH")), "{name}");
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let below = below.get_name();
            let row = readme.lines().filter(|line| line.contains(&format!("`snapkeep {name}")));
            let tells = |line: &str| line.contains(&format!("`{below}")) || line.contains(&format!("{name} {below}"));
            assert!(row.into_iter().any(tells), "{name} {below}");
        }
    }
}

/// Types commands in a shell, and returns what they say.
fn typed(place: &Place, script: &str) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-euc", script]).env("PATH", path()).env("SNAPKEEP_CONFIG", place.path("snapkeep.toml"));
    let output = shell.stdin(Stdio::null()).output().expect("a shell");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{script}\n{said}");
    said
}

/// Where a shell finds our program, and what it found before.
fn path() -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_snapkeep")).parent().expect("a folder").display();
    format!("{programs}:{}", std::env::var("PATH").unwrap_or_default())
}

#[test]
fn every_command_on_the_page_about_access_does_what_it_says() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md")).expect("a page");
    let mut place = Place::bare();
    place.add_channel("ops");
    place.up();
    let blocks = blocks(&page);
    let said: Vec<String> = blocks.iter().flat_map(|block| block.lines()).map(|line| typed(&place, line)).collect();
    let [added, listed, removed] = &said[..] else { panic!("{blocks:#?}") };
    // `add` prints the token alone on standard output, once.
    assert!(added.lines().any(|line| line.starts_with("snapkeep_") && !line.contains(' ')), "{added}");
    assert!(listed.contains("grafana") && listed.contains("viewer") && !listed.contains("snapkeep_"), "{listed}");
    assert!(removed.contains("grafana"), "{removed}");
    assert!(!typed(&place, "snapkeep token list").contains("grafana"));
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn every_command_on_the_page_about_holds_does_what_it_says() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/holds.md")).expect("a page");
    let mut place = Place::bare();
    place.add_wiki("words\n");
    let policy = "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"\n[snapshot_config]\nrepository = \"local\"\n\
                  paths = [\"wiki\"]\n";
    place.write("policies.d/wiki.toml", policy);
    place.write("policies.d/old.toml", policy);
    place.start();
    place.until("the policies", |body| body["policies"].as_array().filter(|all| all.len() == 2).map(|_| ()));
    let make = |policy: &str| {
        let output = place.command(&["policy", "run", policy, "--wait", "--json"]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listed = place.command(&["snapshots", policy, "--json"]).output().expect("it runs");
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let names = listed["policies"][0]["snapshots"].as_array().expect("a list").clone();
        names.last().expect("made")["name"].as_str().expect("a name").to_owned()
    };
    let names = [("ORPHAN", make("old")), ("OTHER", make("old")), ("SNAPSHOT", make("wiki"))];
    fs::remove_file(place.path("policies.d/old.toml")).expect("there");
    place.until("one to go", |body| body["policies"].as_array().filter(|all| all.len() == 1).map(|_| ()));

    let mut said = String::new();
    for block in blocks(&page) {
        said.push_str(&typed(&place, &names.iter().fold(block, |block, (word, name)| block.replace(word, name))));
    }
    let told = page.lines().filter(|line| line.starts_with("snapkeep ")).count();
    let run = blocks(&page).iter().flat_map(|block| block.lines()).filter(|line| line.starts_with("snapkeep ")).count();
    assert!(told == run && run >= 10, "{run} of {told}");
    for expected in
        ["audit of 2026", "in compliance mode", "held no more", "its policy lives no more", "1 of 1 deleted"]
    {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert_eq!(place.stop(), Some(0));
}

#[test]
fn every_trap_of_opensearch_has_a_line_and_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/opensearch-compatibility.md")).expect("a page");
    let tests = files_below(&root.join("tests/it")).into_iter();
    let tests: String = tests.map(|path| fs::read_to_string(path).expect("text")).collect();
    let mut numbers = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(number) = cells.first().and_then(|cell| cell.parse::<u32>().ok()) else { continue };
        assert_eq!(cells.len(), 4, "{line}");
        assert!(["changed: ", "kept: "].iter().any(|word| cells[2].starts_with(word)), "{line}");
        let named: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{line}");
        for name in named {
            assert!(tests.contains(&format!("fn {name}(")), "trap {number}: there is no test {name}");
        }
        numbers.push(number);
    }
    assert_eq!(numbers, (1..=24).collect::<Vec<u32>>());
}

/// Rows of the original's tests: every one that there is.
const ROWS_OF_THE_ORIGINAL: usize = 64;

#[test]
fn every_test_of_opensearch_has_a_line_and_tests_that_exist() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/opensearch-compatibility.md"));
    let page = page.expect("a page");
    let chapter = page.split("## The original's tests").nth(1).expect("a chapter");
    let tests = functions();
    let rows: Vec<&str> = chapter.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), ROWS_OF_THE_ORIGINAL);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, held] = cells[..] else { panic!("{row}") };
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || held.starts_with("not applicable: "), "who holds this?\n{row}");
        for name in named {
            assert!(tests.contains(name), "there is no test `{name}`, which is to hold\n{row}");
        }
    }
}
