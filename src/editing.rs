//! Changes to policies on behalf of callers. A policy that a caller makes is a file in the state
//! directory's `policies.d`, read by the loader like any other, so that there is one truth.
//!
//! What is wanted is journaled first, then the file is written whole or not at all, then the loader reads
//! it, then the journal is told what came of it. One change is under way at a time. A caller who goes away
//! stops nothing.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::{Mutex, oneshot};

use crate::config::FileKind;
use crate::config::problem::Problem;
use crate::config::sources::Sources;
use crate::engine::event::{
    Bearings, Command, Concluded, Done, Draft, Event, Expect, Proposal, Proposed, Refusal, RequestKey, What, digest,
};
use crate::watch::Waker;

/// Changes policies for callers.
#[derive(Clone, Debug)]
pub struct Editing {
    sources: Sources,
    folder: PathBuf,
    inbox: SyncSender<Event>,
    waker: Waker,
    turn: Arc<Mutex<()>>,
}

/// Who wants it, and under which key.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who, for the audit.
    pub who: Box<str>,
    /// The caller's key.
    pub request: Option<RequestKey>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The identity of the policy that was there before; `None` where none was.
    pub before: Option<Arc<str>>,
    /// Whether anything changed.
    pub changed: bool,
}

/// Why nothing was done.
#[derive(Debug)]
pub enum NotEdited {
    /// The engine refused.
    Refused(Refusal),
    /// What the caller sent cannot be a policy.
    Body(String),
    /// The policy cannot be in force.
    Problems {
        /// Its text.
        text: String,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// The system refused. Completes "nothing was changed: ".
    Failed(String),
}

impl From<Refusal> for NotEdited {
    fn from(refusal: Refusal) -> NotEdited {
        NotEdited::Refused(refusal)
    }
}

impl Editing {
    /// Returns who changes policies in the state directory that `sources` names.
    pub fn new(sources: &Sources, state: &Path, inbox: SyncSender<Event>, waker: Waker) -> Editing {
        let folder = state.join(FileKind::Policy.folder());
        let sources = sources.clone().with_state(state);
        Editing { sources, folder, inbox, waker, turn: Arc::default() }
    }

    /// Makes or rewrites a policy. `draft` is told the text of the file that is there. Afterwards the policy
    /// is in force, or nothing was changed.
    pub async fn put(
        &self,
        asker: Asker,
        policy: String,
        expect: Expect,
        draft: impl FnOnce(Option<&str>) -> Result<Draft, NotEdited> + Send + 'static,
        same: fn(&str, &str) -> bool,
    ) -> Result<Edited, NotEdited> {
        let editing = self.clone();
        detached(async move {
            let _turn = editing.turn.lock().await;
            let file = editing.file(&policy);
            let current = read(&file)?;
            // What is not UTF-8 was never in force, and comes back as it was should this fail.
            let text = current.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
            let draft = draft(text)?;
            editing.refuse_elsewhere(&policy)?;
            let Bearings { roster, .. } = *editing.bearings().await?;
            let proposal = Proposal {
                policy: policy.clone(),
                folder: editing.folder.clone(),
                is_same: text.is_some_and(|text| same(text, &draft.text)),
                draft: Some(draft.clone()),
                expect,
            };
            // What stands against it whatever it says is told first.
            let checked = roster.check_policy(&policy, &file, &draft.text).map(|_| ());
            if let Err(problems) = checked {
                return Err(NotEdited::Problems { text: draft.text, problems });
            }
            let Proposed { uid, request } = editing.propose(&asker, proposal).await?;
            let Some(request) = request else { return Ok(Edited { before: uid, changed: false }) };
            let result = editing.write_and_read(&policy, &file, current, &draft.text).await;
            let concluded = Concluded { policy, request, enabled: draft.enabled, result: result.clone() };
            editing.send(&asker, What::Conclude(Box::new(concluded))).await?;
            match result {
                Ok(()) => Ok(Edited { before: uid, changed: true }),
                Err(why) => Err(NotEdited::Failed(why)),
            }
        })
        .await
    }

    /// Removes a policy's file. Afterwards the policy is retired, or nothing was changed. Its snapshots stay.
    pub async fn remove(&self, asker: Asker, policy: String) -> Result<Edited, NotEdited> {
        let editing = self.clone();
        detached(async move {
            let _turn = editing.turn.lock().await;
            let file = editing.file(&policy);
            if let Some(lower) = editing.sources.below(FileKind::Policy, &editing.folder, &policy) {
                let why = format!(
                    "policy `{policy}` is in {} too, which would be in force without this one: mask it, or stop the policy",
                    lower.display()
                );
                return Err(Refusal::NotAllowed(why).into());
            }
            let folder = editing.folder.clone();
            let proposal =
                Proposal { policy: policy.clone(), folder, draft: None, expect: Expect::Something, is_same: false };
            let Proposed { uid, request } = editing.propose(&asker, proposal).await?;
            let Some(request) = request else { return Ok(Edited { before: uid, changed: false }) };
            let result = match remove(&file) {
                Ok(()) => editing.read_again().await,
                Err(error) => Err(format!("failed to remove {}: {error}", file.display())),
            };
            let concluded = Concluded { policy, request, enabled: None, result: result.clone() };
            editing.send(&asker, What::Conclude(Box::new(concluded))).await?;
            match result {
                Ok(()) => Ok(Edited { before: uid, changed: true }),
                Err(why) => Err(NotEdited::Failed(why)),
            }
        })
        .await
    }

    fn file(&self, policy: &str) -> PathBuf {
        self.folder.join(format!("{policy}.toml"))
    }

    /// A file of a folder that has precedence would hide ours.
    fn refuse_elsewhere(&self, policy: &str) -> Result<(), NotEdited> {
        match self.sources.above(FileKind::Policy, &self.folder, policy) {
            Some(file) => Err(Refusal::Elsewhere { policy: policy.to_string(), file }.into()),
            None => Ok(()),
        }
    }

    /// Returns why it is not in force, with the file as it was before.
    async fn write_and_read(
        &self,
        policy: &str,
        file: &Path,
        former: Option<Vec<u8>>,
        text: &str,
    ) -> Result<(), String> {
        write(file, text.as_bytes()).map_err(|error| format!("failed to write {}: {error}", file.display()))?;
        self.read_again().await?;
        let bearings = self.bearings().await.map_err(|error| format!("{error:?}"))?;
        let in_force = bearings.roster.policies.get(policy);
        if in_force.is_some_and(|entry| entry.digest() == digest(text) && entry.is_of(file)) {
            return Ok(());
        }
        let problems: Vec<String> =
            bearings.roster.problems_of(FileKind::Policy, policy).map(|problem| problem.message.to_string()).collect();
        let restored = match former {
            Some(former) => write(file, &former),
            None => remove(file),
        };
        if let Err(error) = restored {
            tracing::error!(policy, %error, "a policy's file could not be put back as it was");
        }
        self.read_again().await?;
        Err(match problems.as_slice() {
            [] => "something else changed at the same time; try again".to_string(),
            problems => problems.join("; "),
        })
    }

    /// Returns once the engine has been given what is in the files now.
    async fn read_again(&self) -> Result<(), String> {
        self.waker.read().await.map_err(|_| "the daemon is about to end".to_string())
    }

    async fn bearings(&self) -> Result<Box<Bearings>, NotEdited> {
        let asker = Asker { who: "daemon".into(), request: None };
        match self.send(&asker, What::Bearings).await? {
            Done::Bearings(bearings) => Ok(bearings),
            _ => Err(NotEdited::Failed("the engine answered another question".to_string())),
        }
    }

    async fn propose(&self, asker: &Asker, proposal: Proposal) -> Result<Proposed, NotEdited> {
        match self.send(asker, What::Propose(Box::new(proposal))).await? {
            Done::Proposed(proposed) => Ok(proposed),
            _ => Err(NotEdited::Failed("the engine answered another question".to_string())),
        }
    }

    async fn send(&self, asker: &Asker, what: What) -> Result<Done, NotEdited> {
        let (reply, answer) = oneshot::channel();
        let Asker { who, request } = asker.clone();
        let command = Command { who, what, request: request.map(Box::new), reply };
        let ended = || Refusal::Unavailable("the daemon is about to end".to_string());
        let inbox = self.inbox.clone();
        // The inbox may be full for a moment; an edit that has begun has to be ended.
        let sent = tokio::task::spawn_blocking(move || inbox.send(Event::Command(command)).is_ok()).await;
        if !sent.unwrap_or(false) {
            return Err(ended().into());
        }
        answer.await.map_err(|_| ended())?.map_err(NotEdited::from)
    }
}

/// Does something to its end, whether anybody waits for it or not.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, NotEdited>> + Send + 'static,
) -> Result<T, NotEdited> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(NotEdited::Failed(error.to_string())))
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, NotEdited> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NotEdited::Failed(format!("failed to read {}: {error}", file.display()))),
    }
}

/// Writes a file whole or not at all, and durably. Its reader passes over what is half written.
fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let part = folder.join(format!(".{stem}.part"));
    let written = (|| {
        let mut options = File::options();
        let mut whole = options.write(true).create(true).truncate(true).mode(0o644).open(&part)?;
        whole.write_all(text)?;
        whole.sync_all()?;
        fs::rename(&part, file)?;
        settle(folder);
        Ok(())
    })();
    if written.is_err() {
        // What is left of it is of no use; the error that matters is the first.
        let _ = fs::remove_file(&part);
    }
    written
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) => {
            settle(file.parent().unwrap_or(Path::new(".")));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Makes what was done to a folder durable. It was done whether that succeeds or not, and the loader sees it.
fn settle(folder: &Path) {
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(folder = %folder.display(), %error, "a change to a policy may not outlive a power failure");
    }
}
