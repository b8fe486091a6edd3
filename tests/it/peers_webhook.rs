//! Debian's `webhook` program, where it is installed, takes what we sign and refuses what another key has signed.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use snapkeep::lifecycle::notice::Event;
use snapkeep::notify::{Again, Conversation, Trouble};
use tempfile::TempDir;

use crate::support::ports;
use crate::support::skips::not_tested;
use crate::support::tls::fixture;
use crate::webhook::{channel, message, secret, until_said};

/// The program, until the test is over.
struct Hooks {
    child: Child,
    folder: TempDir,
    url: String,
}

impl Hooks {
    /// `None` where it is not installed, which is said.
    fn new(what: &str, is_tls: bool) -> Option<Hooks> {
        if Command::new("webhook").arg("-version").output().is_err() {
            not_tested(&format!("{what}, because webhook is not installed"));
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let port = ports::free().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/webhook.sh");
        let mut command = Command::new(script);
        command.arg(folder.path()).arg(port.to_string()).args(["the one secret of two", "the other secret"]);
        if is_tls {
            command.args([fixture("server.pem"), fixture("server.key")]);
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("runs");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        assert!(until_said(&mut said, "serving hooks on"), "it does not begin");
        // What it says further on must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let scheme = if is_tls { "https" } else { "http" };
        Some(Hooks { child, folder, url: format!("{scheme}://127.0.0.1:{port}/hooks") })
    }

    /// Tells a hook what one with these secrets would, and returns what the program kept of it.
    async fn tell(&self, hook: &str, secrets: &[&str], more: &str) -> Result<Option<Vec<String>>, Trouble> {
        let kept = self.folder.path().join(format!("{hook}.told"));
        let _ = fs::remove_file(&kept);
        let mut text = format!("[webhook]\nurl = \"{}/{hook}\"\nallow_hosts = [\"127.0.0.1\"]\n{more}", self.url);
        for (text_of, key) in secrets.iter().zip(["secret", "previous_secret"]) {
            let path = secret(self.folder.path(), key, text_of);
            text.push_str(&format!("signing.{key}.file = {path:?}\n"));
        }
        let (_, sender) = channel(&text, self.folder.path());
        sender.deliver(&message(Event::Failure), &mut Conversation::default()).await?;
        let kept = fs::read_to_string(kept).ok();
        Ok(kept.map(|kept| kept.splitn(3, '\n').map(str::to_owned).collect()))
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_program_that_checks_signatures_takes_ours_and_no_other() {
    let Some(hooks) = Hooks::new("webhooks against Debian's webhook", false) else { return };
    let kept = hooks.tell("one", &["the one secret of two"], "").await.expect("taken").expect("kept");
    assert_eq!(kept[..2], ["0f3a-failure-chat", "failure"]);
    let whole: Value = serde_json::from_str(&kept[2]).expect("JSON");
    assert_eq!(whole["what"], "it said: \"no\"\n\tand C:\\new");
    // It says 403 where there is no signature and 500 where there is a wrong one; after that we come again.
    let wrong_signature = Trouble::later("127.0.0.1 answers 500 Internal Server Error");
    for (wrong, told) in [
        (&[][..], Trouble::changed("127.0.0.1 answers 403 Forbidden")),
        (&["the other secret"][..], wrong_signature.clone()),
        (&["The one secret of two"][..], wrong_signature.clone()),
        (&["another secret of two", "a third secret of two"][..], wrong_signature),
    ] {
        assert_eq!(hooks.tell("one", wrong, "").await, Err(told), "{wrong:?}");
        assert!(!hooks.folder.path().join("one.told").exists(), "{wrong:?}");
    }
    let error = hooks.tell("nobody", &["the one secret of two"], "").await.expect_err("not there");
    assert_eq!(error, Trouble::changed("127.0.0.1 answers 404 Not Found"));
}

#[tokio::test]
async fn while_one_secret_follows_the_other_a_receiver_may_know_either() {
    let Some(hooks) = Hooks::new("the rotation of secrets against Debian's webhook", false) else { return };
    let both = ["the other secret", "the one secret of two"];
    for hook in ["one", "other"] {
        let kept = hooks.tell(hook, &both, "").await.expect("taken");
        assert!(kept.is_some(), "{hook}");
    }
    assert!(hooks.tell("one", &["the other secret"], "").await.is_err());
    assert!(hooks.tell("other", &["the one secret of two"], "").await.is_err());
}

#[tokio::test]
async fn over_tls_it_is_who_our_own_authority_says() {
    let Some(hooks) = Hooks::new("webhooks over TLS against Debian's webhook", true) else { return };
    let ca = format!("ca = {:?}\n", fixture("authority.pem"));
    let kept = hooks.tell("one", &["the one secret of two"], &ca).await.expect("taken");
    assert!(kept.is_some());
    let error = hooks.tell("one", &["the one secret of two"], "").await.expect_err("not believed");
    assert_eq!(error.again, Again::Changed, "{error:?}");
    assert!(!hooks.folder.path().join("one.told").exists());
}
