//! Changes to policies on behalf of callers. A policy that a caller makes is a file in the state
//! directory's `policies.d`, read by the loader like any other, so that there is one truth.
//!
//! What is wanted is journaled first, then the file is written whole or not at all, then the loader reads
//! it, then the journal is told what came of it. One change is under way at a time. A caller who goes away
//! stops nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::{Mutex, Semaphore, oneshot};

use crate::config::FileKind;
use crate::config::place::{self, Placing};
use crate::config::problem::Problem;
use crate::config::sources::Sources;
use crate::engine::event::{
    Bearings, Command, Concluded, Done, Draft, Event, Expect, Proposal, Proposed, Refusal, RequestKey, What, digest,
};
use crate::watch::Waker;

/// More than that wait for their turn only where something is wrong. Each keeps a body in memory.
const WAITING_MAX: usize = 64;
const CHANGED_MEANWHILE: &str = "something else changed at the same time; try again";

/// Changes policies for callers.
#[derive(Clone, Debug)]
pub struct Editing {
    sources: Sources,
    folder: PathBuf,
    inbox: SyncSender<Event>,
    waker: Waker,
    turn: Arc<Mutex<()>>,
    places: Arc<Semaphore>,
}

/// Who wants it, and under which key.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who, for the audit.
    pub who: Box<str>,
    /// The caller's key.
    pub request: Option<RequestKey>,
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
        Editing { sources, folder, inbox, waker, turn: Arc::default(), places: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// Makes or rewrites a policy. `draft` is told the text of the file that is there. Afterwards the policy
    /// is in force, or nothing was changed. What somebody wrote into the file meanwhile is read first, and is
    /// a version like any other.
    pub async fn put(
        &self,
        asker: Asker,
        policy: String,
        expect: Expect,
        draft: impl FnOnce(Option<&str>) -> Result<Draft, NotEdited> + Send + 'static,
        same: fn(&str, &str) -> bool,
    ) -> Result<(), NotEdited> {
        let editing = self.clone();
        self.detached(async move {
            let _turn = editing.turn.lock().await;
            let file = editing.file(&policy);
            editing.refuse_elsewhere(&policy)?;
            let Found { current, bearings, is_in_force } = editing.found(&policy, &file).await?;
            if expect == Expect::Nothing && !is_in_force {
                let why = format!("{} is there and not in force; `snapkeep check` says why", file.display());
                return Err(Refusal::Conflict(why).into());
            }
            // What is not UTF-8 was never in force, and comes back as it was should this fail.
            let text = current.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
            let draft = draft(text)?;
            let proposal = Proposal {
                policy: policy.clone(),
                folder: editing.folder.clone(),
                is_same: is_in_force && text.is_some_and(|text| same(text, &draft.text)),
                draft: Some(draft.clone()),
                expect,
            };
            // What stands against it whatever it says is told first.
            let checked = bearings.roster.check_policy(&policy, &file, &draft.text).map(|_| ());
            if let Err(problems) = checked {
                return Err(NotEdited::Problems { text: draft.text, problems });
            }
            let Proposed { request, .. } = editing.propose(&asker, proposal).await?;
            let Some(request) = request else { return Ok(()) };
            let result = editing.write_and_read(&policy, &file, current, &draft.text).await;
            let concluded = Concluded { policy, request, enabled: draft.enabled, result };
            editing.conclude(asker, concluded).await
        })
        .await
    }

    /// Removes a policy's file. Afterwards the policy is retired, or nothing was changed. Its snapshots stay.
    /// Returns its identity.
    pub async fn remove(&self, asker: Asker, policy: String) -> Result<Option<Arc<str>>, NotEdited> {
        let editing = self.clone();
        self.detached(async move {
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
            let Some(request) = request else { return Ok(uid) };
            let gone = file.clone();
            let result = match waiting(move || place::remove(&gone)).await {
                Ok(Ok(())) => editing.read_again().await,
                Ok(Err(error)) => Err(format!("failed to remove {}: {error}", file.display())),
                Err(error) => Err(error),
            };
            let concluded = Concluded { policy, request, enabled: None, result };
            editing.conclude(asker, concluded).await?;
            Ok(uid)
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
        let (path, bytes, seen) = (file.to_path_buf(), text.as_bytes().to_vec(), former.clone());
        let written = waiting(move || {
            // What somebody saved since it was looked at is theirs.
            if read(&path).ok() != Some(seen) {
                return Ok(false);
            }
            place::write(&path, &bytes, Placing::Over).map(|()| true)
        });
        match written.await? {
            Ok(true) => {}
            Ok(false) => return Err(CHANGED_MEANWHILE.to_string()),
            Err(error) => return Err(format!("failed to write {}: {error}", file.display())),
        }
        self.read_again().await?;
        let bearings = self.bearings().await.map_err(|error| format!("{error:?}"))?;
        let in_force = bearings.roster.policies.get(policy);
        if in_force.is_some_and(|entry| entry.digest() == digest(text) && entry.is_of(file)) {
            return Ok(());
        }
        let problems: Vec<String> =
            bearings.roster.problems_of(FileKind::Policy, policy).map(|problem| problem.message.to_string()).collect();
        let (path, bytes) = (file.to_path_buf(), text.as_bytes().to_vec());
        if let Err(error) = waiting(move || put_back(&path, &bytes, former)).await? {
            tracing::error!(policy, cause = %error, "a policy's file could not be put back as it was");
        }
        self.read_again().await?;
        Err(match problems.as_slice() {
            [] => CHANGED_MEANWHILE.to_string(),
            problems => problems.join("; "),
        })
    }

    /// Returns what is in a policy's file and in force. What is in the one and not in the other is read first.
    async fn found(&self, policy: &str, file: &Path) -> Result<Found, NotEdited> {
        let found = self.found_now(policy, file).await?;
        if found.is_in_force {
            return Ok(found);
        }
        self.read_again().await.map_err(NotEdited::Failed)?;
        self.found_now(policy, file).await
    }

    async fn found_now(&self, policy: &str, file: &Path) -> Result<Found, NotEdited> {
        let path = file.to_path_buf();
        let current = waiting(move || read(&path)).await.map_err(NotEdited::Failed)??;
        let bearings = self.bearings().await?;
        let entry = bearings.roster.policies.get(policy).filter(|entry| entry.is_of(file));
        let text = current.as_deref().map(std::str::from_utf8);
        let is_in_force = match (text, entry) {
            (None, None) => true,
            (Some(Ok(text)), Some(entry)) => entry.digest() == digest(text),
            (None, Some(_)) | (Some(_), None) | (Some(Err(_)), Some(_)) => false,
        };
        Ok(Found { current, bearings, is_in_force })
    }

    async fn conclude(&self, asker: Asker, concluded: Concluded) -> Result<(), NotEdited> {
        let result = concluded.result.clone();
        // The caller's key went with what was proposed.
        let asker = Asker { request: None, ..asker };
        self.send(&asker, What::Conclude(Box::new(concluded))).await?;
        result.map_err(NotEdited::Failed)
    }

    /// Does something to its end, whether anybody waits for it or not.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, NotEdited>> + Send + 'static,
    ) -> Result<T, NotEdited> {
        let Ok(room) = self.places.clone().try_acquire_owned() else {
            return Err(Refusal::Busy("too many changes of policies are waiting for their turn".to_string()).into());
        };
        let work = tokio::spawn(async move {
            let _room = room;
            work.await
        });
        work.await.unwrap_or_else(|error| Err(NotEdited::Failed(error.to_string())))
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

/// What is there before a change.
struct Found {
    /// What the file holds, where there is one.
    current: Option<Vec<u8>>,
    /// What is in force.
    bearings: Box<Bearings>,
    /// Whether the one is the other.
    is_in_force: bool,
}

/// Puts a file back as it was, unless somebody has written over what we wrote.
fn put_back(file: &Path, ours: &[u8], former: Option<Vec<u8>>) -> io::Result<()> {
    if fs::read(file)? != ours {
        return Ok(());
    }
    match former {
        Some(former) => place::write(file, &former, Placing::Over),
        None => place::remove(file),
    }
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, NotEdited> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NotEdited::Failed(format!("failed to read {}: {error}", file.display()))),
    }
}

/// Does what may wait for a disk on a thread that may.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}
