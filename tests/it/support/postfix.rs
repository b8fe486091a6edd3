//! A real Postfix for tests, on loopback alone, that keeps the mail it takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::wait::{PATIENCE, Writes};
use super::{ports, skips, tls};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/postfix.sh");

/// A running Postfix; it stops when this goes. Mail to anybody at `example.test` lands in its box.
pub struct Postfix {
    folder: tempfile::TempDir,
    /// A port of 127.0.0.1 that wants STARTTLS and a login. At 127.0.0.2 its certificate is for another.
    pub starttls: u16,
    /// One that speaks TLS from the first byte and wants a login.
    pub implicit: u16,
    /// One without TLS that takes mail from anybody on this machine.
    pub open: u16,
    /// The authority of its certificate, which is for `localhost` and 127.0.0.1.
    pub ca: PathBuf,
    /// Who may log in.
    pub user: &'static str,
    /// A file with the password, which nobody else may read.
    pub password: PathBuf,
}

impl Postfix {
    /// `None` where it cannot be had, which is told as `what` that is not tested.
    pub fn start(what: &str) -> Option<Postfix> {
        let found = |program: &str| {
            ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
        };
        let missing = ["postfix", "saslpasswd2", "sasldblistusers2"].into_iter().find(|program| !found(program));
        if let Some(missing) = missing {
            skips::not_tested(&format!("{what}, because {missing} is not here"));
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            skips::not_tested(&format!("{what}, because Postfix starts for root alone"));
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let [starttls, implicit, open] = [(); 3].map(|()| ports::free().port());
        let mut command = Command::new("sh");
        command.arg(SCRIPT).arg("start").arg(folder.path());
        command.args([starttls, implicit, open].map(|port| port.to_string()));
        command.arg(tls::fixture(""));
        let output = command.output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "Postfix does not start: {said}");
        let ca = tls::fixture("authority.pem");
        let password = folder.path().join("password");
        Some(Postfix { folder, starttls, implicit, open, ca, user: "snapkeep@snapkeep.test", password })
    }

    fn inbox(&self) -> PathBuf {
        self.folder.path().join("mail/box/new")
    }

    /// Returns the mails in the box, in the order in which they came.
    pub fn mails(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.inbox()).expect("a folder").flatten().map(|e| e.path()).collect();
        files.sort_by_key(|path| (fs::metadata(path).and_then(|found| found.modified()).ok(), path.clone()));
        files.iter().map(|path| String::from_utf8_lossy(&fs::read(path).expect("a mail")).into_owned()).collect()
    }

    /// Returns the mails once there are `count`: one that was taken comes into the box a little later.
    pub fn mails_when(&self, count: usize) -> Vec<String> {
        let inbox = self.inbox();
        let writes = Writes::below(&[&inbox]);
        let began = Instant::now();
        loop {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            assert!(began.elapsed() < PATIENCE, "{} of {count} mails: {}", mails.len(), self.log());
            writes.next();
        }
    }

    /// Lets recipients be refused from the next connection on, as in `full@example.test 552 5.2.2 mailbox full`.
    pub fn refuse(&self, recipients: &str) {
        fs::write(self.folder.path().join("recipients"), recipients).expect("written");
    }

    /// Ends it, and keeps its box.
    pub fn go(&self) {
        self.order("stop");
    }

    /// Starts it anew, where it was.
    pub fn come_back(&self) {
        self.order("again");
    }

    fn order(&self, word: &str) {
        let output = Command::new("sh").arg(SCRIPT).arg(word).arg(self.folder.path()).output().expect("it runs");
        assert!(output.status.success(), "{word}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns what it says of itself.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let mut command = Command::new("sh");
        command.arg(SCRIPT).arg("stop").arg(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        // The folder goes whatever it says.
        let _ = command.status();
    }
}
