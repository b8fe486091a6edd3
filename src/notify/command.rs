//! A program of this machine, started for each notice.
//!
//! It reads one line of JSON from its input and says by its exit code whether the notice is delivered: 0 it is,
//! anything else it is not yet. It runs in a group of its own, which is gone when the delivery is over, however it
//! ends. Secrets are on its input and nowhere else: arguments and environments are shown to everybody.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, prlimit, waitid};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::signal::unix::{Signal as Endings, SignalKind};
use tokio::sync::oneshot;

use super::secret::Secret;
use super::{Channel, Conversation, Delivery, Message, Trouble, json};
use crate::lifecycle::channel::SecretSource;
use crate::lifecycle::channel::command::Command;
use crate::ownership::{Refusal, Trust};

/// Where programs that it starts are looked for. Fixed, so that the daemon's own environment decides nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is kept of its output; the rest is read and dropped, so that it never waits for us.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long output is still read after the group has ended, while something that left the group holds the pipe
/// open. What the program wrote itself is in the pipe by then.
const SETTLE: Duration = Duration::from_secs(1);
/// A secret in JSON is at most so many times as long.
const ESCAPED_FACTOR: usize = 6;
/// What a program says as its last line stands in one line of a notice.
const LAST_CHARS_MAX: usize = 300;

/// Starts it.
#[derive(Debug)]
pub struct Sender {
    settings: Command,
}

impl Sender {
    /// Returns whoever starts it.
    pub fn new(settings: &Command) -> Sender {
        Sender { settings: settings.clone() }
    }

    async fn tell(&self, message: &Message, conversation: &mut Conversation) -> Result<String, Trouble> {
        let Command { argv, time_limit, secrets } = &self.settings;
        let program = argv.first().map_or("", |program| &**program);
        let limit = Duration::from_millis(u64::try_from(time_limit.millis()).unwrap_or(0));
        let mut heard = Heard::default();
        let mut longest = 0;
        let mut is_started = false;
        let told = async {
            // It hears nothing before its secrets are hidden.
            let Started { secrets: texts, group, output } = self.start(message).await?;
            is_started = true;
            for secret in texts.values() {
                conversation.hide(secret);
                longest = longest.max(secret.text().len() * ESCAPED_FACTOR);
            }
            conversation.note(format_args!("starting {}", argv.join(" ")));
            let mut body = json::body(message);
            conversation.sent(Value::Object(body.clone()));
            if !texts.is_empty() {
                let names: Vec<&str> = secrets.keys().map(|name| &**name).collect();
                conversation.note(format_args!("with the secrets {}", names.join(", ")));
                let texts = texts.iter().map(|(name, secret)| (name.to_string(), secret.text().into()));
                body.insert("secrets".to_owned(), Value::Object(texts.collect::<Map<_, _>>()));
            }
            let line = format!("{}\n", Value::Object(body));
            let ended = group.hear(&line, output, &mut heard).await;
            ended.map_err(|error| Trouble::later(format!("failed to wait for {program}: {error}")))
        };
        let ended = tokio::time::timeout(limit, told).await;
        if !is_started {
            return Err(match ended {
                Ok(Err(trouble)) => trouble,
                _ => Trouble::later(format!("{program} could not be started within {}", time_limit.written())),
            });
        }
        let said = heard.text(longest, conversation);
        conversation.heard(&said);
        let last = last_line(&said);
        let Ok(status) = ended else {
            let why = format!("{program} did not end within {}, and was ended", time_limit.written());
            conversation.note(&why);
            return Err(Trouble::later(with(&why, &last)));
        };
        let status = status?;
        let how = how(status);
        conversation.note(format_args!("it {how}"));
        if status.success() {
            Ok(with(&how, &last))
        } else {
            Err(Trouble::later(with(&format!("{program} {how}"), &last)))
        }
    }

    /// Reads what it is told, and starts it, where files that do not answer keep nobody else waiting. When this is
    /// dropped meanwhile, it is not started, or is ended as soon as it is.
    async fn start(&self, message: &Message) -> Result<Started, Trouble> {
        let (settings, message) = (self.settings.clone(), message.clone());
        let (answer, started) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let started = Started::new(&settings, &message, || answer.is_closed());
            // Whoever is gone takes no answer: it is dropped, and with it the group is ended.
            let _ = answer.send(started);
        });
        started.await.map_err(|_| Trouble::later("failed to start it: the daemon ends"))?
    }
}

impl Channel for Sender {
    fn deliver<'a>(&'a self, message: &'a Message, conversation: &'a mut Conversation) -> Delivery<'a> {
        Box::pin(self.tell(message, conversation))
    }
}

/// A program that was started and was told nothing yet.
#[derive(Debug)]
struct Started {
    secrets: BTreeMap<Box<str>, Secret>,
    group: Group,
    output: pipe::Receiver,
}

impl Started {
    /// Blocks for as long as files do not answer.
    fn new(settings: &Command, message: &Message, is_over: impl Fn() -> bool) -> Result<Started, Trouble> {
        let read = |name: &str, source: &SecretSource| match Secret::read(source) {
            Ok(secret) => Ok((name.into(), secret)),
            Err(error) => Err(Trouble::changed(format!("failed to read the secret {name}: {error}"))),
        };
        let secrets =
            settings.secrets.iter().map(|(name, source)| read(name, source)).collect::<Result<_, Trouble>>()?;
        let program = settings.argv.first().map_or("", |program| &**program);
        // Again, since the file that names it may have been read long ago. One that is not there cannot be started.
        Trust::of_this_process().check_program(Path::new(program)).map_err(|Refusal { message, hint }| {
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            Trouble::changed(format!("{program} is not started: {message}{hint}"))
        })?;
        if is_over() {
            return Err(Trouble::later(format!("{program} is not started: nobody waits for it")));
        }
        let started = Group::start(&settings.argv, message);
        let (group, output) =
            started.map_err(|error| Trouble::changed(format!("failed to start {program}: {error}")))?;
        Ok(Started { secrets, group, output })
    }
}

/// A running program and all that it starts. Dropping it ends them: before the program is reaped, never after,
/// since until then its number cannot belong to anybody else.
#[derive(Debug)]
struct Group {
    child: Child,
    pid: Pid,
    /// Tells that some child of ours has ended; which one is for us to find out.
    endings: Endings,
    is_reaped: bool,
}

impl Group {
    fn start(argv: &[Box<str>], message: &Message) -> io::Result<(Group, pipe::Receiver)> {
        let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
        // One pipe for both, so that what is said stays in its order.
        let (reader, writer) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        // Before the child begins, so that its end cannot be missed.
        let endings = tokio::signal::unix::signal(SignalKind::child())?;
        let mut command = tokio::process::Command::new(&**program);
        command
            .args(arguments.iter().map(|argument| &**argument))
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("SNAPKEEP_EVENT", message.event.word())
            .env("SNAPKEEP_KEY", &*message.key)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .kill_on_drop(true);
        if let Some(policy) = &message.policy {
            command.env("SNAPKEEP_POLICY", &**policy);
        }
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process has no number"))?;
        let group = Group { child, pid, endings, is_reaped: false };
        // A core would hold the secrets. One that has ended, or is another user's by now, makes none for us.
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let _ = prlimit(Some(pid), Resource::Core, none);
        Ok((group, output))
    }

    /// Tells the program, hears what it says, and waits for its end. Nothing of its group is left then.
    async fn hear(mut self, line: &str, mut output: pipe::Receiver, heard: &mut Heard) -> io::Result<ExitStatus> {
        let input = self.child.stdin.take();
        let talk = async {
            let write = async {
                if let Some(mut input) = input {
                    // Whoever does not read it may still end well.
                    let _ = input.write_all(line.as_bytes()).await;
                }
            };
            tokio::join!(write, heard.all(&mut output));
        };
        let settled = async {
            self.exited().await;
            self.end();
            tokio::time::sleep(SETTLE).await;
        };
        tokio::select! {
            () = talk => {}
            () = settled => {}
        }
        self.exited().await;
        self.end();
        let status = self.child.wait().await;
        self.is_reaped = true;
        status
    }

    /// Waits until the program has ended; it stays unreaped.
    async fn exited(&mut self) {
        let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        // An error means that there is no such child: nothing to wait for.
        while let Ok(None) = waitid(WaitId::Pid(self.pid), end) {
            if self.endings.recv().await.is_none() {
                return;
            }
        }
    }

    fn end(&self) {
        if !self.is_reaped {
            // An error means that nobody is left to hear it.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a program said.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Heard {
    /// Reads to the end, and keeps the beginning.
    async fn all(&mut self, output: &mut pipe::Receiver) {
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(count @ 1..) = output.read(&mut buffer).await {
            let room = OUTPUT_BYTES_MAX - self.bytes.len();
            self.bytes.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
            self.is_cut |= count > room;
        }
    }

    /// Returns it without secrets. At the end of what was cut one may stand that was cut too.
    fn text(&self, longest_secret: usize, conversation: &Conversation) -> String {
        let mut text = conversation.blanked(&String::from_utf8_lossy(&self.bytes));
        if self.is_cut {
            text.truncate(text.floor_char_boundary(text.len().saturating_sub(longest_secret)));
            text.push_str("\n(the rest of its output is not kept)");
        }
        text
    }
}

/// Returns the last line that says something, as it may stand in a line of a notice.
fn last_line(said: &str) -> String {
    let line = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(LAST_CHARS_MAX).collect()
}

fn with(what: &str, last: &str) -> String {
    if last.is_empty() { what.to_owned() } else { format!("{what}: {last}") }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
