//! What systemd's journal gets. A socket of the test's stands where journald listens, in a view of the file system
//! that the daemon alone has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use super::place::Place;
use crate::support::skips::not_tested;
use crate::support::wait::PATIENCE;

/// Lets the folder `$1` be where journald listens, and says that standard error leads there.
const SCRIPT: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind "$1" /run/systemd/journal || exit 99
JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)
export JOURNAL_STREAM
shift
exec "$@"
"#;

fn apart(words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", SCRIPT, "sh"]).args(words).stdin(Stdio::null());
    command
}

/// Reads a message in journald's own protocol: `NAME=value`, or `NAME`, the length in eight bytes and the value.
fn fields(mut message: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut fields = BTreeMap::new();
    while let Some(end) = message.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&message[..end], &message[end + 1..]);
        let (name, value, rest) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (&line[..at], &line[at + 1..], rest),
            None => {
                let length = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes"));
                let end = 8 + usize::try_from(length).expect("short");
                (line, &rest[8..end], &rest[end + 1..])
            }
        };
        assert!(fields.insert(text(name), text(value)).is_none(), "{} stands there twice", text(name));
        message = rest;
    }
    fields
}

#[test]
fn the_journal_gets_what_is_known_of_a_run_as_fields() {
    let mut place = Place::new();
    place.write("snapkeep.toml", "[housekeeping]\nenabled = false\n");
    fs::create_dir(place.path("journald")).expect("made");
    let folder = place.path("journald").display().to_string();
    let probe = apart(&[&folder, "/bin/true"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        not_tested("the fields of systemd's journal: no mount namespace can be made");
        return;
    }
    let socket = UnixDatagram::bind(place.path("journald/socket")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let settings = place.path("snapkeep.toml").display().to_string();
    let command = apart(&[&folder, env!("CARGO_BIN_EXE_snapkeep"), "--config", &settings, "run"]);
    place.start_as(command, "log");

    let mut room = [0; 65_536];
    let mut adopted = None;
    let settled = loop {
        let count = socket.recv(&mut room).expect("a message");
        let fields = fields(&room[..count]);
        let is = |name: &str, value: &str| fields.get(name).is_some_and(|found| found == value);
        if is("TARGET", "snapkeep::run") && is("WORKFLOW", "creation") && is("OUTCOME", "succeeded") {
            break fields;
        }
        if fields.get("MESSAGE").is_some_and(|message| message.starts_with("policy adopted")) {
            adopted = Some(fields);
        }
    };
    // Without a look at the fields, too, it tells of which policy.
    assert_eq!(adopted.expect("it was adopted before")["MESSAGE"], "policy adopted policy=every");
    for (name, value) in [
        ("POLICY", "every"),
        ("TRIGGER", "schedule"),
        ("REPOSITORY", "store"),
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "snapkeep"),
    ] {
        assert_eq!(settled.get(name).map(String::as_str), Some(value), "{name} {settled:#?}");
    }
    assert!(settled["DURATION_MS"].parse::<u64>().is_ok() && settled["ATTEMPTS"].parse::<u32>().is_ok());
    let (run, snapshot, message) = (&settled["RUN"], &settled["SNAPSHOT"], &settled["MESSAGE"]);
    assert!(place.runs().iter().any(|known| *known.run_id == **run), "{run}");
    assert!(message.starts_with("every: creation succeeded after "), "{message}");
    assert!(message.contains(&format!(": created snapshot {snapshot} (schedule, ")), "{message}");
    for absent in ["DELETED", "KEPT", "CAUSE"] {
        assert_eq!(settled.get(absent), None, "{absent}");
    }
    assert_eq!(fs::read_to_string(place.path("log")).expect("a log"), "", "each line once");
}
