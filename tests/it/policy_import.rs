//! `policy import` and `policy export`: from JSON to files and back, and from a server that answers as
//! servers do, well and badly.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};
use snapkeep::cli::arguments::Arguments;
use snapkeep::cli::execute;
use snapkeep::cli::out::{Exit, Failure};
use snapkeep::cli::remote::{Credentials, Remote};
use snapkeep::config::sm::from_toml;
use tempfile::TempDir;

use crate::support::{ports, tls};

/// A folder with a repository `local` and a channel `journal`, and no policy.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().expect("a folder"));
        for folder in ["policies.d", "repositories.d", "channels.d", "state", "state/policies.d"] {
            fs::create_dir(home.path(folder)).expect("made");
        }
        home.write("snapkeep.toml", "state_dir = \"state\"\nsocket = \"state/api.sock\"\n");
        home.write("repositories.d/local.toml", "driver = \"files\"\npath = \"kept\"\n");
        home.write("channels.d/journal.toml", "[log]\nlevel = \"warn\"\n");
        home
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).expect("written");
    }

    fn file(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Puts JSON into a file, and returns its path.
    fn json(&self, value: &Value) -> String {
        let path = self.path("given.json");
        fs::write(&path, value.to_string()).expect("written");
        path.to_string_lossy().into_owned()
    }

    fn run(&self, words: &[&str]) -> (Exit, String, String) {
        let settings = self.path("snapkeep.toml");
        let ours = ["snapkeep", "--config", settings.to_str().expect("plain"), "policy"];
        let arguments = Arguments::try_parse_from(ours.iter().chain(words)).expect("understood");
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let exit = execute(arguments, &mut stdout, &mut stderr, false);
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("text");
            text.replace(&*self.0.path().to_string_lossy(), "HOME")
        };
        (exit, text(stdout), text(stderr))
    }
}

/// Returns a table whose columns are as wide wherever the folder is.
fn narrow(said: &str) -> String {
    let rows = said.lines().map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        cells.join("  ") + "\n"
    });
    rows.collect()
}

/// A policy that is good in a [`Home`].
fn good(minute: u32) -> Value {
    json!({
        "description": "Nightly \"copy\"\nof the wiki",
        "creation": { "schedule": { "cron": { "expression": format!("{minute} 8 * * *"), "timezone": "UTC" } } },
        "deletion": { "condition": { "max_age": "168h", "max_count": "21" } },
        "snapshot_config": { "repository": "local", "paths": ["/srv"], "partial": "true" },
        "notification": { "channel": { "id": "journal" } },
    })
}

fn wrapped(name: &str, policy: Value) -> Value {
    json!({ "_id": format!("{name}-sm-policy"), "_seq_no": 3, "_primary_term": 1, "sm_policy": policy })
}

#[test]
fn one_policy_is_written_whole_and_is_in_force_as_it_was_sent() {
    let home = Home::new();
    let mut policy = good(5);
    policy["name"] = json!("wiki");
    policy["schema_version"] = json!(30);
    let (exit, said, _) = home.run(&["import", &home.json(&policy)]);
    assert_eq!(exit, Exit::Fine, "{said}");
    expect_test::expect![[r#"
        POLICY  FILE  OUTCOME  LEFT OUT
        wiki  HOME/policies.d/wiki.toml  written  name, schema_version
    "#]]
    .assert_eq(&narrow(&said));
    let file = home.path("policies.d/wiki.toml");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o644);
    assert_eq!(home.files("policies.d"), ["wiki.toml"]);
    let (exit, said, _) = home.run(&["export", "wiki"]);
    assert_eq!(exit, Exit::Fine, "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let mut expected = good(5);
    expected["deletion"]["condition"]["max_count"] = json!(21);
    assert_eq!(said, json!({ "_id": "wiki-sm-policy", "sm_policy": expected }));
}

#[test]
fn standard_input_and_every_shape_are_taken() {
    let list = json!([wrapped("a", good(1)), { "policy": { "name": "b", "creation": good(2)["creation"],
        "snapshot_config": good(2)["snapshot_config"] } }]);
    for document in [list.clone(), json!({ "policies": list }), json!({ "total_policies": 2, "policies": list })] {
        let home = Home::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapkeep"))
            .args(["--config", home.path("snapkeep.toml").to_str().expect("plain"), "policy", "import", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = command.stdin.take().expect("piped");
        stdin.write_all(document.to_string().as_bytes()).expect("taken");
        drop(stdin);
        let output = command.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(home.files("policies.d"), ["a.toml", "b.toml"]);
    }
}

#[test]
fn a_page_of_a_longer_list_is_told() {
    let home = Home::new();
    let page = json!({ "total_policies": 7, "policies": [wrapped("a", good(1))] });
    let (exit, _, aside) = home.run(&["import", &home.json(&page)]);
    assert_eq!((exit, aside.as_str()), (Exit::Fine, "snapkeep: the list holds 1 of 7 policies\n"));
}

#[test]
fn every_problem_of_every_policy_is_told_at_once_and_the_good_ones_are_written() {
    let home = Home::new();
    let mut unknown = good(1);
    unknown["snapshot_config"]["repository"] = json!("locale");
    unknown["notification"]["channel"]["id"] = json!("pager");
    let mut misspelt = good(2);
    misspelt["deletion"]["condition"]["max_agee"] = json!("7d");
    misspelt["enable"] = json!(false);
    let mut same = good(3);
    same["uid"] = json!("one");
    let list = json!({ "policies": [
        wrapped("good", good(4)), wrapped("repository", unknown), wrapped("misspelt", misspelt),
        wrapped("Daily:Copy", good(5)), good(6), wrapped("good", good(7)), wrapped("x", same.clone()), wrapped("y", same),
        wrapped("null", json!(null)), 5,
    ]});
    let (exit, said, _) = home.run(&["import", &home.json(&list)]);
    assert_eq!(exit, Exit::Failed);
    expect_test::expect![[r#"
        repository: snapshot_config.repository: unknown repository `locale`; did you mean "local"?
        repository: notification.channel.id: unknown channel `pager`; there is journal; a new one is a file channels.d/NAME.toml
        misspelt: deletion.condition.max_agee: unknown key `max_agee`; did you mean max_age?
        misspelt: enable: unknown key `enable`; did you mean enabled?
        Daily:Copy: name: `Daily:Copy` is no name of a policy here; names are lower case letters, digits, `-`, `_` and `.`, and begin with a letter or digit: --name Daily:Copy=daily-copy
        (the 5. policy): policy has no name; give it a member "name"
        good: name: two policies are called `good`
        y: uid: policy `x` has the same uid; leave it out of one of them
        null: sm_policy: must be an object, not null
        (the 10. policy): policy must be an object, not a number
        (the 10. policy): policy has no name; give it a member "name"

        POLICY  FILE  OUTCOME  LEFT OUT
        good  HOME/policies.d/good.toml  written  -
        repository  -  refused  -
        misspelt  -  refused  -
        Daily:Copy  -  refused  -
        (the 5. policy)  -  refused  -
        good  -  refused  -
        x  HOME/policies.d/x.toml  written  -
        y  -  refused  -
        null  -  refused  -
        (the 10. policy)  -  refused  -
    "#]].assert_eq(&narrow(&said));
    assert_eq!(home.files("policies.d"), ["good.toml", "x.toml"]);
    assert!(home.file("policies.d/good.toml").contains("4 8 * * *"));
}

#[test]
fn names_that_are_none_here_can_be_given_others() {
    let home = Home::new();
    let list = json!([wrapped("Daily:Copy", good(1)), wrapped("b", good(2))]);
    let given = home.json(&list);
    let (exit, said, aside) = home.run(&["import", &given, "--name", "Daily:Copy=daily-copy"]);
    assert_eq!(exit, Exit::Fine, "{said}{aside}");
    assert_eq!(home.files("policies.d"), ["b.toml", "daily-copy.toml"]);
    for (words, message) in [
        (&["--name", "c"][..], "there are 2 policies, and --name gives one name"),
        (&["--name", "c=d"], "there is no policy `c` to rename"),
        (&["--name", "b=D"], "`D` is no name of a policy"),
    ] {
        let words: Vec<&str> = ["import", &given].iter().chain(words).copied().collect();
        let (exit, _, aside) = home.run(&words);
        assert!(exit == Exit::Usage && aside.contains(message), "{aside}");
    }
    let (exit, ..) = home.run(&["import", &home.json(&good(3)), "--name", "single"]);
    assert_eq!(exit, Exit::Fine);
    assert!(home.file("policies.d/single.toml").contains("3 8 * * *"));
}

#[test]
fn what_is_there_stays_unless_it_may_be_replaced() {
    let home = Home::new();
    let given = home.json(&wrapped("wiki", good(1)));
    let outcome = |words: &[&str]| {
        let words: Vec<&str> = ["import", &given].iter().chain(words).copied().collect();
        let (exit, said, _) = home.run(&words);
        let outcomes = ["would be written", "would be replaced", "written", "replaced", "unchanged", "kept as it was"];
        let row = said.lines().last().unwrap_or_default().to_string();
        (exit, *outcomes.iter().find(|outcome| row.contains(**outcome)).unwrap_or_else(|| panic!("{said}")))
    };
    assert_eq!(outcome(&["--dry-run"]), (Exit::Fine, "would be written"));
    assert_eq!(home.files("policies.d"), Vec::<String>::new());
    assert_eq!(outcome(&[]), (Exit::Fine, "written"));
    let first = home.file("policies.d/wiki.toml");
    assert_eq!(outcome(&[]), (Exit::Fine, "unchanged"));
    home.write("policies.d/wiki.toml", "# mine\n");
    assert_eq!(outcome(&[]), (Exit::Failed, "kept as it was"));
    assert_eq!(outcome(&["--overwrite", "--dry-run"]), (Exit::Fine, "would be replaced"));
    assert_eq!(home.file("policies.d/wiki.toml"), "# mine\n");
    assert_eq!(outcome(&["--overwrite"]), (Exit::Fine, "replaced"));
    assert_eq!(home.file("policies.d/wiki.toml"), first);
    assert_eq!(home.files("policies.d"), ["wiki.toml"]);
    let into = home.path("elsewhere");
    assert_eq!(outcome(&["--into", into.to_str().expect("plain")]), (Exit::Fine, "written"));
    assert_eq!(home.files("elsewhere"), ["wiki.toml"]);
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_the_others_are_written() {
    let home = Home::new();
    fs::create_dir(home.path("policies.d/b.toml")).expect("made");
    let list = json!([wrapped("a", good(1)), wrapped("b", good(2)), wrapped("c", good(3))]);
    let (exit, said, _) = home.run(&["import", &home.json(&list)]);
    assert_eq!(exit, Exit::Failed);
    assert!(said.starts_with("b: failed to write HOME/policies.d/b.toml: Is a directory"), "{said}");
    assert!(narrow(&said).contains("\nb  -  failed  -\n"), "{said}");
    assert_eq!(home.files("policies.d"), ["a.toml", "b.toml", "c.toml"]);
    assert!(home.file("policies.d/c.toml").contains("3 8 * * *"));
}

#[test]
fn a_policy_in_force_from_another_folder_is_neither_masked_unasked_nor_written_in_vain() {
    let home = Home::new();
    let given = home.json(&wrapped("wiki", good(1)));
    let state = home.path("state/policies.d");
    let state = state.to_str().expect("plain");
    assert_eq!(home.run(&["import", &given, "--into", state]).0, Exit::Fine);
    let given = home.json(&wrapped("wiki", good(2)));
    let (exit, said, _) = home.run(&["import", &given]);
    assert!(exit == Exit::Failed && said.contains("HOME/state/policies.d/wiki.toml is there"), "{said}");
    assert_eq!(home.run(&["import", &given, "--overwrite"]).0, Exit::Fine);
    let given = home.json(&wrapped("wiki", good(3)));
    let (exit, said, _) = home.run(&["import", &given, "--overwrite", "--into", state]);
    assert!(exit == Exit::Failed && said.contains("HOME/policies.d/wiki.toml would stay in force"), "{said}");
    assert!(home.file("state/policies.d/wiki.toml").contains("1 8 * * *"));
}

#[test]
fn what_is_exported_is_imported_again_as_it_was() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/snapkeep.toml");
    let samples = samples.to_str().expect("plain");
    let export = |names: &[&str]| {
        let words: Vec<&str> =
            ["snapkeep", "--config", samples, "policy", "export"].iter().chain(names).copied().collect();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let exit = execute(Arguments::try_parse_from(words).expect("understood"), &mut stdout, &mut stderr, false);
        assert_eq!(exit, Exit::Fine, "{}", String::from_utf8_lossy(&stderr));
        serde_json::from_slice::<Value>(&stdout).expect("JSON")
    };
    let all = export(&[]);
    let policies = all["policies"].as_array().expect("a list");
    assert!(policies.len() >= 3 && all["total_policies"] == policies.len());
    let home = Home::new();
    let into = home.path("out");
    let given = home.json(&all);
    let words = ["snapkeep", "--config", samples, "policy", "import", &given, "--overwrite", "--into"];
    let words: Vec<&str> = words.iter().copied().chain(into.to_str()).collect();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = execute(Arguments::try_parse_from(words).expect("understood"), &mut stdout, &mut stderr, false);
    assert_eq!(exit, Exit::Fine, "{}", String::from_utf8_lossy(&stdout));
    for policy in policies {
        let name = policy["_id"].as_str().and_then(|id| id.strip_suffix("-sm-policy")).expect("a name");
        let written = from_toml(&home.file(&format!("out/{name}.toml"))).expect("TOML");
        assert_eq!(Value::Object(written), policy["sm_policy"], "{name}");
        assert_eq!(&export(&[name]), policy);
    }
    // By pattern and by comma.
    assert_eq!(export(&["*"]), all);
    let name = policies[0]["_id"].as_str().and_then(|id| id.strip_suffix("-sm-policy")).expect("a name");
    assert_eq!(export(&[&format!("{name},nothing-*")])["policies"], json!([policies[0]]));
    let (exit, _, aside) = home.run(&["export", "nobody"]);
    assert!(exit == Exit::Usage && aside.contains("there is no good policy `nobody`"), "{aside}");
    home.write("policies.d/bad.toml", "enable = 1\n");
    let (exit, said, aside) = home.run(&["export"]);
    assert!(exit == Exit::Failed && aside.contains("bad.toml: unknown key `enable`"), "{aside}");
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON"), json!({ "policies": [], "total_policies": 0 }));
}

#[test]
fn what_is_no_json_is_refused_without_being_shown() {
    let home = Home::new();
    home.write("given.json", "{\"password\": secret}");
    let given = home.path("given.json");
    let (exit, said, aside) = home.run(&["import", given.to_str().expect("plain")]);
    assert_eq!((exit, said.as_str()), (Exit::Usage, ""));
    assert_eq!(aside, "snapkeep: failed to read HOME/given.json: it is no JSON: expected value at line 1 column 14\n");
    assert_eq!(home.run(&["import", "/nowhere/x.json"]).0, Exit::Usage);
    assert_eq!(home.run(&["import", &home.json(&json!({ "policies": 3 }))]).0, Exit::Usage);
    let (exit, _, aside) = home.run(&["import", &home.json(&good(1)), "--user", "admin", "--password-file", "x"]);
    assert!(exit == Exit::Usage && aside.contains("are for the address of a server"), "{aside}");
}

// ---- A server.

/// A server that answers each request in turn, and notes what it was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

/// What it does with one request.
type Answer = Box<dyn FnOnce(&str, &mut dyn Write) + Send>;

impl Server {
    fn new(answers: Vec<Answer>, tls: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = listener.accept() else { return };
                // Whoever is gone has had what it wanted.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                if tls {
                    let connection = rustls::ServerConnection::new(tls::config()).expect("a connection");
                    serve(rustls::StreamOwned::new(connection, stream), answer, &noted);
                } else {
                    serve(stream, answer, &noted);
                }
            }
        });
        let scheme = if tls { "https://localhost" } else { "http://127.0.0.1" };
        Server { address: format!("{scheme}:{port}"), asked, thread: Some(thread) }
    }

    fn asked(&mut self) -> Vec<String> {
        self.thread.take().expect("once").join().expect("it ends");
        self.asked.lock().expect("whole").clone()
    }
}

fn serve(stream: impl Read + Write, answer: Answer, noted: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let head = tls::head(&mut stream);
    if !head.is_empty() {
        noted.lock().expect("whole").push(head.clone());
        answer(&head, stream.get_mut());
        let _ = stream.get_mut().flush();
    }
}

fn says(status: &str, body: String) -> Answer {
    let status = status.to_string();
    Box::new(move |_, stream| {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nlocation: /away\r\n");
        let _ = write!(stream, "{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    })
}

fn page(total: u64, names: std::ops::Range<u32>) -> Answer {
    let policies: Vec<Value> = names.map(|number| wrapped(&format!("p{number:03}"), good(number % 60))).collect();
    says("200 OK", json!({ "policies": policies, "total_policies": total }).to_string())
}

#[test]
fn all_policies_of_a_server_come_page_by_page_with_what_identifies_whoever_asks() {
    let home = Home::new();
    home.write("password", "geheim\n");
    let mut server = Server::new(vec![page(25, 0..10), page(25, 10..20), page(25, 20..25)], false);
    let password = home.path("password");
    let words =
        ["import", &server.address, "--user", "admin", "--password-file", password.to_str().expect("plain"), "--json"];
    let (exit, said, aside) = home.run(&words);
    assert_eq!(exit, Exit::Fine, "{said}{aside}");
    assert_eq!(home.files("policies.d").len(), 25);
    let asked = server.asked();
    for (head, from) in asked.iter().zip([0, 10, 20]) {
        let line = format!("GET /_plugins/_sm/policies?from={from}&size=500 HTTP/1.1\r\n");
        assert!(head.starts_with(&line), "{head}");
        // admin:geheim
        assert!(head.contains("authorization: Basic YWRtaW46Z2VoZWlt\r\n"), "{head}");
    }
    assert_eq!(asked.len(), 3);
    // A path before the API's, and its own path written out.
    for ending in ["/sm/", "/sm/_plugins/_sm/policies"] {
        let mut server = Server::new(vec![page(0, 0..0)], false);
        let (exit, said, _) = home.run(&["import", &format!("{}{ending}", server.address)]);
        assert_eq!((exit, said.as_str()), (Exit::Fine, "There are no policies in it.\n"));
        assert!(server.asked()[0].starts_with("GET /sm/_plugins/_sm/policies?from=0&size=500 "));
    }
}

#[test]
fn a_server_over_tls_is_believed_by_the_certificate_that_was_named_and_by_no_other() {
    let home = Home::new();
    home.write("token", "tok-en");
    let token = home.path("token");
    let token = token.to_str().expect("plain");
    let fixture = |name: &str| tls::fixture(name).display().to_string();
    let mut server = Server::new(vec![page(1, 0..1)], true);
    let ca = fixture("authority.pem");
    let (exit, said, aside) = home.run(&["import", &server.address, "--token-file", token, "--ca", &ca]);
    assert_eq!(exit, Exit::Fine, "{said}{aside}");
    assert!(server.asked()[0].contains("authorization: Bearer tok-en\r\n"));
    // The system's certificates do not know it.
    let mut server = Server::new(vec![page(1, 0..1)], true);
    let (exit, _, aside) = home.run(&["import", &server.address, "--token-file", token]);
    assert!(matches!(exit, Exit::Unreachable | Exit::Usage), "{aside}");
    drop(TcpStream::connect(server.address.replace("https://localhost", "127.0.0.1")));
    assert_eq!(server.asked(), Vec::<String>::new(), "the token was shown to a stranger");
    let (exit, _, aside) = home.run(&["import", "https://localhost:9", "--ca", &fixture("server.key")]);
    assert!(exit == Exit::Usage && aside.contains("it holds no certificate"), "{aside}");
}

#[test]
fn an_address_that_would_give_a_secret_away_is_refused_before_anybody_is_asked() {
    let home = Home::new();
    home.write("password", "geheim");
    let password = home.path("password");
    let password = password.to_str().expect("plain");
    for (words, message) in [
        (&["import", "http://example.org", "--user", "a", "--password-file", password][..], "unencrypted"),
        (&["import", "https://admin:geheim@localhost"], "the address holds a user or a password"),
        (&["import", "http://localhost/?q=geheim"], "the address has a query"),
        (&["import", "http://localhost", "--ca", "/x.pem"], "--ca means nothing without https://"),
        (&["import", "https://localhost", "--ca", "/nowhere.pem"], "failed to read /nowhere.pem"),
        (&["import", "http://localhost", "--token-file", "/nowhere"], "failed to read /nowhere"),
        (&["import", "http://"], "the address"),
    ] {
        let (exit, said, aside) = home.run(words);
        assert_eq!((exit, said.as_str()), (Exit::Usage, ""), "{aside}");
        assert!(aside.contains(message) && !aside.contains("geheim"), "{aside}");
    }
}

/// What is said of a server, as message, and how the command would end.
fn failing(answers: Vec<Answer>) -> (Exit, String) {
    let mut server = Server::new(answers, false);
    let credentials = Credentials::Basic { user: "admin".to_string(), password: "geheim".to_string() };
    let remote = Remote::new(&server.address, &credentials, None).expect("an address");
    let failure = remote.with_answer_time(Duration::from_secs(20)).policies().expect_err("refused");
    server.asked();
    let Failure::Told { exit, message, hint } = failure else { panic!("{failure:?}") };
    let host = server.address.replace("http://", "");
    (exit, format!("{} | {}", message.replace(&host, "SERVER"), hint.unwrap_or_default()))
}

#[test]
fn a_server_that_answers_badly_is_told_as_what_it_is_and_no_secret_with_it() {
    let error = |reason: &str| json!({ "error": { "type": "x", "reason": reason }, "status": 500 }).to_string();
    for (answer, said) in [
        (
            says("401 Unauthorized", String::new()),
            "SERVER answered with status 401 | the password or token is not accepted",
        ),
        (
            says("500 Internal Server Error", error("shards failed for YWRtaW46Z2VoZWlt and geheim")),
            "SERVER answered with status 500: shards failed for … and … | ",
        ),
        (
            says("404 Not Found", json!({ "error": "no handler found" }).to_string()),
            "SERVER answered with status 404: no handler found | is there snapshot management at this address?",
        ),
        (
            says("302 Found", String::new()),
            "SERVER answered with status 302 | redirects are not followed: give the address it leads to",
        ),
        (
            says("200 OK", "<html>".to_string()),
            "SERVER answered with something that is no JSON: expected value at line 1 column 1 | ",
        ),
        (says("200 OK", "{}".to_string()), "SERVER answered with something that is no list of policies | "),
        (
            says("200 OK", json!({ "policies": [], "total_policies": 3 }).to_string()),
            "SERVER listed 0 of 3 policies | ",
        ),
        (
            says("200 OK", json!({ "policies": [], "total_policies": 300_000 }).to_string()),
            "SERVER claims to have 300000 policies | ",
        ),
    ] {
        assert_eq!(failing(vec![answer]), (Exit::Failed, said.to_string()));
    }
    // One moved from the first page to the second while both were read.
    let said = failing(vec![page(4, 0..2), page(4, 1..3)]);
    assert_eq!(said, (Exit::Failed, "SERVER changed its policies while they were read | try again".to_string()));
}

#[test]
fn an_answer_without_end_a_slow_one_and_none_at_all_end() {
    let endless: Answer = Box::new(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n");
        let block = [b' '; 1 << 16];
        // Twice the bound; whoever listens breaks off before.
        for _ in 0..1024 {
            if stream.write_all(&block).is_err() {
                return;
            }
        }
    });
    assert_eq!(failing(vec![endless]), (Exit::Failed, "SERVER answers with more than 32 MB | ".to_string()));
    let cut: Answer = Box::new(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{{");
    });
    let (exit, said) = failing(vec![cut]);
    assert!(exit == Exit::Unreachable && said.starts_with("SERVER broke off: "), "{said}");

    // It takes the request and says nothing until whoever asked has gone.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("asked");
        let mut head = Vec::new();
        let _ = stream.read_to_end(&mut head);
        head.len()
    });
    let remote = Remote::new(&address, &Credentials::None, None).expect("an address");
    let failure = remote.with_answer_time(Duration::from_millis(200)).policies().expect_err("too slow");
    let Failure::Told { exit, message, .. } = failure else { panic!("{failure:?}") };
    assert!(exit == Exit::Unreachable && message.ends_with("did not answer within 0.2 s"), "{message}");
    assert!(silent.join().expect("it ends") > 0);

    let remote = Remote::new(&format!("http://{}", ports::free()), &Credentials::None, None).expect("an address");
    let failure = remote.policies().expect_err("nobody is there");
    assert!(failure.is_unreachable(), "{failure:?}");
}
