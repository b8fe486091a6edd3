//! A secret of a channel is in its file and at whoever is told by it, and nowhere else: not in the daemon's log, its
//! journal, an answer, a state file, an argument or an environment.
//!
//! Every kind of channel that has a secret is a row of `channels`: what reaches the receiver is written into `received`,
//! and the receiver says the secret back, as servers do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::place::Place;
use crate::support::{files_below, tls};

/// Who logs in to send mail.
const USER: &str = "snapkeep";

/// More connections than the daemon makes.
const CONNECTIONS_MAX: usize = 200;

/// A channel whose secrets must not be seen.
struct Secretive {
    name: &'static str,
    /// Its file; what stands for the folder of the place is `FOLDER`.
    toml: String,
    /// What it must not show.
    secrets: Vec<Canary>,
}

/// A secret in a file of its own.
struct Canary {
    /// Its file, in the folder of the secrets.
    file: &'static str,
    /// What is in the file.
    text: String,
    /// What must not be seen of it.
    mark: String,
    /// Whether its receiver hears it. Otherwise it only signs.
    is_told: bool,
}

impl Canary {
    fn new(file: &'static str, text: &str) -> Canary {
        Canary { file, text: text.into(), mark: text.into(), is_told: true }
    }
}

/// Says its secrets in every way that it may hear them, on both its outputs, and what is seen of itself and of the
/// daemon; then takes the notice or does not, as its first argument says.
const RECEIVER: &str = r#"
cd "$(dirname "$0")" || exit 9
IFS= read -r line
printf '%s\n' "$line" >>received
cat /proc/$$/cmdline /proc/$$/environ /proc/$PPID/cmdline /proc/$PPID/environ >>seen
for process in /proc/[0-9]*; do cat "$process/cmdline" "$process/environ"; done >>seen 2>/dev/null
printf 'hello %s\n' "$line"
printf '%s\n' "$line" | tail -c 120
cat "secrets/$2" >&2; echo >&2
base64 -w0 <"secrets/$2"; echo
cat "secrets/$2"; echo
exit "$1"
"#;

/// Notes all that comes, and says it back in everything that an answer has, as servers do that are badly made. It takes
/// nothing.
fn hear_http(stream: TcpStream, received: &Path) {
    let mut stream = BufReader::new(stream);
    let head = tls::head(&mut stream);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    let all = format!("{head}{}\n", String::from_utf8_lossy(&body));
    note(received, &all);
    let line = head.lines().next().unwrap_or_default();
    let headers: String = head.lines().skip(1).map(|line| format!("x-heard-{line}\r\n")).collect();
    let answer = format!("HTTP/1.1 500 {line}\r\nlocation: {line}\r\n{headers}connection: close\r\n\r\n{line}\n{all}");
    let _ = stream.get_mut().write_all(answer.as_bytes());
}

/// Asks for a login, and refuses it with all that was said.
fn hear_mail(stream: TcpStream, received: &Path) {
    let connection = rustls::ServerConnection::new(tls::config()).expect("a connection");
    let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let mut answer = "220 here\r\n".to_owned();
    for _ in 0..16 {
        let mut line = String::new();
        let said = stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush());
        if said.is_err() || !stream.read_line(&mut line).is_ok_and(|read| read > 0) {
            return;
        }
        let line = line.trim_end();
        answer = match line.split(' ').next() {
            Some("EHLO") => "250-here\r\n250 AUTH PLAIN\r\n".into(),
            Some("AUTH") => {
                let encoded = line.rsplit(' ').next().unwrap_or_default();
                let login = STANDARD.decode(encoded).map(|login| String::from_utf8_lossy(&login).replace('\0', " "));
                let login = login.unwrap_or_default();
                note(received, &format!("{line}\n{login}\n"));
                format!("535-5.7.8 not {line}\r\n535 5.7.8 not {login}\r\n")
            }
            _ => "221 bye\r\n".into(),
        };
    }
}

fn note(received: &Path, text: &str) {
    let mut file = fs::File::options().create(true).append(true).open(received).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

/// Returns the port of somebody who hears all that connect, one after the other.
fn listen(received: PathBuf, hear: fn(TcpStream, &Path)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(CONNECTIONS_MAX).flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
            hear(stream, &received);
        }
    });
    port
}

fn channels(received: &Path) -> Vec<Secretive> {
    let [http, mail] = [hear_http, hear_mail].map(|hear: fn(TcpStream, &Path)| listen(received.to_path_buf(), hear));
    let address = |file, mark: &str, behind: &str| Canary {
        text: format!("http://127.0.0.1:{http}/{mark}{behind}\n"),
        ..Canary::new(file, mark)
    };
    let key = STANDARD.encode("c4n4ry-signing-3Lm9-of-24-b");
    vec![
        Secretive { name: "ops", toml: "[log]\nlevel = \"info\"\n".into(), secrets: Vec::new() },
        Secretive {
            name: "pager",
            toml: "[command]\nargv = [\"/bin/sh\", \"FOLDER/receiver.sh\", \"0\", \"pager\"]\n\
                   [command.secrets]\ntoken.file = \"secrets/pager\"\n"
                .into(),
            secrets: vec![Canary::new("pager", "c4n4ry-pager-\"quoted\"-8fJ2")],
        },
        Secretive {
            name: "refusing",
            toml: "[command]\nargv = [\"/bin/sh\", \"FOLDER/receiver.sh\", \"1\", \"refusing\"]\n\
                   [command.secrets]\ntoken.file = \"FOLDER/secrets/refusing\"\nother.file = \"FOLDER/secrets/other\"\n"
                .into(),
            secrets: vec![Canary::new("refusing", "c4n4ry-refusing-Qw7\\x"), Canary::new("other", "c4n4ry-other-zP41")],
        },
        Secretive {
            name: "hook",
            toml: "[webhook]\nurl.file = \"secrets/hook\"\nallow_hosts = [\"127.0.0.1\"]\n\
                   [webhook.headers]\nAuthorization = \"Bearer {{ secret.token }}\"\n\
                   [webhook.secrets]\ntoken.file = \"secrets/hook-token\"\n\
                   [webhook.signing]\nsecret.file = \"secrets/hook-signing\"\n"
                .into(),
            secrets: vec![
                address("hook", "c4n4ry-hook-7tGv", "/of?these=words"),
                Canary::new("hook-token", "c4n4ry-hook-token-Hk5u"),
                Canary { text: format!("whsec_{key}"), is_told: false, ..Canary::new("hook-signing", &key) },
            ],
        },
        Secretive {
            name: "ping",
            toml: "[ping]\nurl.file = \"secrets/ping\"\nallow_hosts = [\"127.0.0.1\"]\n".into(),
            secrets: vec![address("ping", "c4n4ry-ping-Xd2w", "/{{ policy }}?create=1")],
        },
        Secretive {
            name: "mail",
            toml: format!(
                "[mail]\nhost = \"localhost\"\nport = {mail}\ntls = \"implicit\"\nca = \"{}\"\nuser = \"{USER}\"\n\
                 password.file = \"secrets/mail\"\nfrom = \"snapkeep@example.test\"\nto = \"ops@example.test\"\n",
                tls::fixture("authority.pem").display()
            ),
            secrets: vec![Canary::new("mail", "c4n4ry-mail-Jb6+e~p")],
        },
    ]
}

/// What no file and no answer may hold.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let escaped = serde_json::to_string(secret).expect("JSON");
    let forms = [
        secret.to_owned(),
        escaped[1..escaped.len() - 1].to_owned(),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        // As a login by mail carries it.
        STANDARD_NO_PAD.encode(format!("\0{USER}\0{secret}")),
    ];
    forms.into_iter().map(String::into_bytes).collect()
}

fn holds(bytes: &[u8], form: &[u8]) -> bool {
    bytes.windows(form.len()).any(|window| window == form)
}

fn place() -> (Place, Vec<Secretive>) {
    let place = Place::bare();
    let channels = channels(&place.path("received"));
    for folder in ["channels.d", "secrets"] {
        fs::create_dir(place.path(folder)).expect("made");
    }
    place.write("snapkeep.toml", "[log]\nlevel = \"trace\"\n[housekeeping]\nenabled = false\n");
    place.write("receiver.sh", RECEIVER);
    // Every run fails at once.
    let broken = "#!/bin/sh\necho '{\"snapkeep\":1}'; read -r _; echo 'loud enough' >&2; \
                  echo '{\"fault\":{\"kind\":\"permanent\",\"message\":\"the disk is gone\"}}'\n";
    place.write("driver.sh", broken);
    let folder = place.path("").display().to_string();
    let mut names = Vec::new();
    for Secretive { name, toml, secrets } in &channels {
        place.write(&format!("channels.d/{name}.toml"), &toml.replace("FOLDER", folder.trim_end_matches('/')));
        for Canary { file, text, .. } in secrets {
            let file = format!("secrets/{file}");
            place.write(&file, text);
            fs::set_permissions(place.path(&file), fs::Permissions::from_mode(0o600)).expect("set");
        }
        names.push(format!("\"{name}\""));
    }
    let policy = format!(
        "[creation.schedule.cron]\nexpression = \"0 0 29 2 *\"\n[snapshot_config]\nrepository = \"store\"\n\
         [notification]\nchannels = [{}]\n",
        names.join(", ")
    );
    place.write("policies.d/db.toml", &policy);
    (place, channels)
}

fn canaries(channels: &[Secretive]) -> impl Iterator<Item = &Canary> {
    channels.iter().flat_map(|channel| &channel.secrets)
}

/// Returns where one of the secrets is found but in its file and at its receiver.
fn found_in(place: &Place, channels: &[Secretive], answers: &[(String, Vec<u8>)]) -> Vec<String> {
    let may_hold = |path: &Path| path.starts_with(place.path("secrets")) || path == place.path("received");
    let is_special = |path: &PathBuf| !fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let files = files_below(&place.path("")).into_iter().filter(|path| !may_hold(path) && !is_special(path));
    let files = files.map(|path| (path.display().to_string(), fs::read(&path).expect("readable")));
    let mut found = Vec::new();
    for (name, bytes) in files.chain(answers.iter().cloned()) {
        for Canary { file, mark, .. } in canaries(channels) {
            if forms(mark).iter().any(|form| holds(&bytes, form)) {
                found.push(format!("the secret {file} is in {name}"));
            }
        }
    }
    found
}

#[test]
fn a_secret_is_in_its_file_and_at_its_receiver_and_nowhere_else() {
    let (mut place, channels) = place();
    // Libraries too say all they can.
    let mut command = place.command(&["run"]);
    command.env("SNAPKEEP_LOG", "trace");
    place.start_as(command, "log");
    place.until("an answer", |_| Some(()));
    let mut answers = Vec::new();
    // A policy that fails tells all of them.
    let ran = place.command(&["policy", "run", "db", "--wait"]).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(1), "it fails");
    let received = |place: &Place| fs::read_to_string(place.path("received")).unwrap_or_default();
    place.until("the notices of the failure", |_| {
        let told = received(&place);
        let mut all = canaries(&channels).filter(|canary| canary.is_told);
        all.all(|canary| holds(told.as_bytes(), &forms(&canary.mark)[1])).then_some(())
    });
    let names: Vec<&str> = channels.iter().map(|channel| channel.name).collect();
    let mut commands: Vec<Vec<&str>> = names.iter().map(|name| vec!["channel", "test", name]).collect();
    commands.extend([
        vec!["--json", "channel", "test", "pager"],
        vec!["--json", "channel", "test", "hook"],
        vec!["notices", "list"],
        vec!["--json", "notices", "list"],
        vec!["channel", "list"],
        vec!["explain"],
        vec!["check"],
        vec!["history"],
        vec!["audit", "--limit", "100"],
        vec!["policy", "show", "db"],
        vec!["operations"],
        vec!["journal", "check"],
    ]);
    for words in &commands {
        let output = place.command(words).output().expect("it runs");
        answers.push((words.join(" "), [output.stdout, output.stderr].concat()));
    }
    // Under a key what was answered is kept in the journal.
    for name in &names {
        let tested =
            place.said("POST", &format!("/v1/channels/{name}/_test"), &format!("idempotency-key: of-{name}\r\n"), b"");
        answers.push((format!("_test of {name}"), tested.text.into_bytes()));
    }
    for path in [
        "/health",
        "/metrics",
        "/v1/explain",
        "/v1/channels",
        "/v1/policies",
        "/v1/policies/db",
        "/v1/history",
        "/v1/audit?limit=1000",
        "/v1/openapi.json",
    ] {
        answers.push((path.to_owned(), place.ask("GET", path).text.into_bytes()));
    }
    let listed: Value = serde_json::from_str(&place.ask("GET", "/v1/notices?limit=100").text).expect("JSON");
    for notice in listed["notices"].as_array().expect("notices") {
        let number = notice["number"].to_string();
        let shown = place.command(&["notices", "show", &number]).output().expect("it runs");
        answers.push((format!("notices show {number}"), [shown.stdout, shown.stderr].concat()));
        let path = format!("/v1/notices/{number}");
        answers.push((path.clone(), place.ask("GET", &path).text.into_bytes()));
    }
    answers.push(("/v1/notices".into(), listed.to_string().into_bytes()));
    // A file that is wrong is told of, too, and what was good stays in force.
    place.write("channels.d/refusing.toml", "[command]\nargv = [\"/bin/sh\"]\nsecrets.token = \"c4n4ry-other-zP41\"\n");
    place.write(
        "channels.d/hook.toml",
        "[webhook]\nurl = \"ftp://127.0.0.1/c4n4ry-hook-7tGv\"\nheaders.Authorization = \"c4n4ry-hook-token-Hk5u\"\n",
    );
    place.write("channels.d/ping.toml", "[ping]\nurl = \"http://127.0.0.1/c4n4ry-ping-Xd2w\"\n");
    place.write("channels.d/mail.toml", "[mail]\nuser = \"snapkeep\"\npassword = \"c4n4ry-mail-Jb6+e~p\"\n");
    let wrong = ["refusing", "hook", "ping", "mail"].map(|name| format!("channels.d/{name}.toml"));
    place.until("the problems", |body| {
        let told = body["daemon"]["problems"].to_string();
        wrong.iter().all(|file| told.contains(file)).then_some(())
    });
    answers.push(("check".into(), place.command(&["check"]).output().expect("it runs").stdout));
    answers.push(("/v1/explain".into(), place.ask("GET", "/v1/explain").text.into_bytes()));
    answers.push(("/v1/channels".into(), place.ask("GET", "/v1/channels").text.into_bytes()));
    wrong.iter().for_each(|file| fs::remove_file(place.path(file)).expect("there"));

    // The journal's log is there while the daemon runs.
    assert_eq!(found_in(&place, &channels, &answers), Vec::<String>::new());

    // All of it happened: they were told their secrets, which were said back, and it was written down.
    let told = received(&place);
    for Canary { file, mark, is_told, .. } in canaries(&channels) {
        assert_eq!(holds(told.as_bytes(), &forms(mark)[1]), *is_told, "whether somebody was told {file}");
    }
    assert!(told.contains("webhook-signature: v1,"), "nothing was signed");
    let said = |name: &str| {
        let (_, bytes) = answers.iter().find(|(found, _)| found == name).expect("asked");
        String::from_utf8_lossy(bytes).into_owned()
    };
    assert!(said("channel test pager").contains("***"), "{}", said("channel test pager"));
    for name in ["refusing", "hook", "ping", "mail"] {
        let said = said(&format!("channel test {name}"));
        assert!(said.contains("not delivered") && said.contains("***"), "{said}");
    }
    assert!(said("notices list").contains("hook"), "{}", said("notices list"));
    let seen = fs::read(place.path("seen")).expect("looked at");
    assert!(holds(&seen, b"SNAPKEEP_KEY=") && holds(&seen, b"receiver.sh") && holds(&seen, b"run"), "nothing was seen");
    let log = fs::read_to_string(place.path("log")).expect("a log");
    assert!(log.contains("loud enough") && log.contains("tries channel ops"), "the log is not loud: {log}");
    assert!(place.path("state/journal.db-wal").exists(), "the journal's log is not looked at");

    assert_eq!(place.stop(), Some(0));
    assert_eq!(found_in(&place, &channels, &[]), Vec::<String>::new());
}
