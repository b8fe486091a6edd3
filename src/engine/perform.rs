//! The async side: a job in, an answer out. Whatever happens to a job, an answer comes: a job that
//! panics or is dropped answers that it is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::drivers::{Call, Created, Found, ProgressSink};
use crate::journal::change::Notice;
use crate::journal::record::NoticeRecord;
use crate::lifecycle::notice::{self, Facts};
use crate::lifecycle::retention::Owner;
use crate::lifecycle::snapshot::{Listing, Presence, Status, label};
use crate::lifecycle::time::{Timestamp, format_millis};
use crate::lifecycle::workflow::{Answer, Fault, Request};
use crate::notify::{self, Again, Conversation, Message, Trouble};
use crate::roster::Channel;

use super::event::{Ask, Errand, Errands, Event, Job, JobId, Survey, Trial};

/// What a driver gets beyond its own deadline before it is dropped: it ends by itself first, and
/// can say why.
const GRACE_MS: u64 = 5_000;
/// Looking at a repository for a person ends within this.
pub const SURVEY_MAX_MS: u64 = 300_000;
/// Telling a channel ends within this: less than after which a notice is due again whose sender does not report.
pub const DELIVERY_MAX: std::time::Duration = std::time::Duration::from_secs(110);

/// Begins and ends jobs on a runtime; answers go to the engine's inbox.
#[derive(Debug)]
pub struct Performer {
    runtime: Handle,
    inbox: SyncSender<Event>,
    running: BTreeMap<JobId, AbortHandle>,
    /// The name of this machine.
    host: Box<str>,
}

impl Performer {
    /// Returns a performer that answers into `inbox`.
    pub fn new(runtime: Handle, inbox: SyncSender<Event>) -> Performer {
        Performer { runtime, inbox, running: BTreeMap::new(), host: notify::host() }
    }

    /// Carries out what a turn wants done.
    pub fn carry_out(&mut self, errands: Errands) {
        for job in errands.abandon {
            if let Some(handle) = self.running.remove(&job) {
                handle.abort();
            }
        }
        self.running.retain(|_, handle| !handle.is_finished());
        for job in errands.begin {
            match job {
                Job::Ask(ask) => self.ask(*ask),
                Job::Deliver(errand) => self.deliver(*errand),
                Job::Beat { channel, sent_at } => self.beat(channel, sent_at),
            }
        }
    }

    /// Ends everything that is still running. What it was asked is asked again at the next start.
    pub fn abandon_all(&mut self) {
        for (_, handle) in std::mem::take(&mut self.running) {
            handle.abort();
        }
    }

    fn ask(&mut self, ask: Ask) {
        let id = ask.id;
        let inbox = self.inbox.clone();
        let work = self.runtime.spawn(async move {
            let mut report = Report { id, inbox, answer: Answer::Lost };
            let progress_inbox = report.inbox.clone();
            let progress = ProgressSink::new(move |progress| {
                // A full inbox has more urgent news than how far something is.
                let _ = progress_inbox.try_send(Event::Progressed { job: id, progress });
            });
            report.answer = perform(ask, progress).await;
        });
        self.running.insert(id, work.abort_handle());
    }

    fn beat(&mut self, channel: Arc<Channel>, sent_at: Timestamp) {
        self.runtime.spawn(async move {
            let mut conversation = Conversation::default();
            let Some(beat) = channel.sender.beat(sent_at, &mut conversation) else { return };
            if let Ok(Err(Trouble { why, .. })) = tokio::time::timeout(DELIVERY_MAX, beat).await {
                let why = conversation.blanked(&why);
                tracing::warn!(channel = %channel.name, cause = why, "a sign of life was not heard");
            }
        });
    }

    fn deliver(&mut self, errand: Errand) {
        let inbox = self.inbox.clone();
        let host = self.host.clone();
        self.runtime.spawn(async move {
            let key = errand.record.notice.key.clone();
            let channel = errand.channel.clone();
            let message = message(errand, host);
            let result = match channel {
                Some(channel) => tell(&channel, &message, &mut Conversation::default()).await,
                None => Err(Trouble::changed("there is no such channel")),
            };
            send(&inbox, Event::Delivered { key, result });
        });
    }
}

/// Returns what a channel is told by an errand, from the machine `host`.
pub fn message(errand: Errand, host: Box<str>) -> Message {
    let Errand { record, channel: _, installation, attempt, sent_at } = errand;
    let NoticeRecord { notice, count, latest_at, .. } = record;
    let Notice { key, policy, run_id, event, channel: _, subject, facts, at } = notice;
    let policy = policy.map(|policy| (*policy.name).into());
    Message { key, installation, host, policy, run_id, event, subject, facts, at, count, latest_at, attempt, sent_at }
}

/// Tells a channel, within a limit, and lets no secret out.
pub async fn tell(channel: &Channel, message: &Message, conversation: &mut Conversation) -> Result<String, Trouble> {
    let told = tokio::time::timeout(DELIVERY_MAX, channel.sender.deliver(message, conversation)).await;
    let told =
        told.unwrap_or_else(|_| Err(Trouble::later(format!("not delivered within {} s", DELIVERY_MAX.as_secs()))));
    match told {
        Ok(answer) => Ok(conversation.blanked(&answer)),
        Err(Trouble { why, again, partly }) => Err(Trouble { why: conversation.blanked(&why), again, partly }),
    }
}

/// What came of trying a channel. No secret stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What was answered, or why it did not get there.
    pub result: Result<String, String>,
    /// When it is worth trying again, where it did not: `later`, `after 30s` or `changed`, when a person has changed
    /// something.
    pub again: Option<String>,
    /// What was said and heard, line by line.
    pub conversation: Vec<String>,
}

/// Sends a message to a channel that tells of nothing but a person who tries it.
pub async fn try_channel(trial: &Trial) -> Tried {
    let Trial { channel, installation, who, at } = trial;
    let (name, host) = (&channel.name, notify::host());
    let message = Message {
        key: format!("test/{name}/{}", at.millis()).into(),
        installation: installation.clone(),
        policy: None,
        run_id: None,
        event: notice::Event::Test,
        subject: format!("test of channel {name} on {host}"),
        facts: Facts {
            what: format!("{who} tries channel {name}; nothing else happened"),
            look: Some("snapkeep channel list".into()),
            ..Facts::default()
        },
        host,
        at: *at,
        count: 1,
        latest_at: *at,
        attempt: 1,
        sent_at: *at,
    };
    let mut conversation = Conversation::default();
    let told = tell(channel, &message, &mut conversation).await;
    let (result, again) = match told {
        Ok(answer) => (Ok(answer), None),
        Err(Trouble { why, again, .. }) => (Err(why), Some(again_in_words(again))),
    };
    Tried { result, again, conversation: conversation.lines().to_vec() }
}

fn again_in_words(again: Again) -> String {
    match again {
        Again::Later => "later".to_owned(),
        Again::After(span) => {
            format!("after {}", format_millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
        }
        Again::Changed => "changed".to_owned(),
    }
}

/// Sends its answer when it goes, however it goes.
struct Report {
    id: JobId,
    inbox: SyncSender<Event>,
    answer: Answer,
}

impl Drop for Report {
    fn drop(&mut self) {
        let answer = std::mem::replace(&mut self.answer, Answer::Lost);
        send(&self.inbox, Event::Answered { job: self.id, answer });
    }
}

/// The inbox holds more than there can be jobs, so this does not wait; should progress have filled it
/// all the same, somebody else waits, for an answer that is lost would leave its run waiting till its
/// time limit. After the engine's end nobody listens, and nobody needs to.
fn send(inbox: &SyncSender<Event>, event: Event) {
    if let Err(TrySendError::Full(event)) = inbox.try_send(event) {
        let inbox = inbox.clone();
        std::thread::spawn(move || inbox.send(event).is_ok());
    }
}

async fn perform(ask: Ask, progress: ProgressSink) -> Answer {
    let Ask { id: _, driver, request, order, owner, time_max } = ask;
    let call = Call { time_max, progress };
    let work = async {
        match &request {
            Request::Describe(name) => {
                driver.describe(name, &call).await.map(|found| Answer::Described(presence(found, &owner)))
            }
            Request::Create(_) => match &order {
                Some(order) => driver.create(order, &call).await.map(|created| match created {
                    Created::Accepted => Answer::Accepted,
                    Created::Ended(found) => Answer::Described(presence(Some(found), &owner)),
                }),
                None => Err(Fault::transient("the order for the snapshot was not made")),
            },
            Request::Cancel(name) => driver.cancel(name, &call).await.map(|()| Answer::Cancelled),
            Request::List => driver.list(&call).await.map(Answer::Listed),
            Request::Delete(target) => driver.delete(target, &call).await.map(|()| Answer::Deleted),
        }
    };
    let limit = time_max.saturating_add(std::time::Duration::from_millis(GRACE_MS));
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(fault)) => Answer::Refused(fault),
        Err(_) => Answer::Refused(Fault::transient(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// Says what a snapshot is to us. Whose it is, its stamp decides, and that here and nowhere else.
fn presence(found: Option<Found>, owner: &Owner) -> Presence {
    let Some(Found { snapshot, message }) = found else { return Presence::Absent };
    let says = |key: &str, value: &str| snapshot.labels.get(key).is_some_and(|found| found == value);
    let ours = says(label::INSTALLATION, &owner.installation) && says(label::POLICY_UID, &owner.policy_uid);
    match snapshot.status {
        // What is being made may not carry its stamp yet; its name is ours, which no accident makes.
        Status::Running => Presence::Running,
        _ if !ours => Presence::Foreign,
        Status::Good => Presence::Good { message },
        Status::Partial => Presence::Partial { message: message.unwrap_or_else(|| "not everything was read".into()) },
        Status::Failed => Presence::Failed { message: message.unwrap_or_else(|| "the driver does not say why".into()) },
    }
}

/// Looks at a policy's repository for a person. Nothing is changed.
pub async fn survey(survey: &Survey) -> Result<Listing, Fault> {
    let time_max = std::time::Duration::from_millis(SURVEY_MAX_MS);
    let call = Call { time_max, progress: ProgressSink::default() };
    let listing = survey.entry.repository.driver.list(&call);
    match tokio::time::timeout(time_max, listing).await {
        Ok(listing) => listing,
        Err(_) => Err(Fault::transient(format!("no answer within {} s", time_max.as_secs()))),
    }
}
