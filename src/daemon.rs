//! Wiring and shutdown, nothing else.
//!
//! ```text
//!   loader thread ──Loaded──▶ ┌────────────┐ ──errands──▶ runtime: drivers, channels
//!   signals, clock, chores ─▶ │ engine     │ ◀─answers───
//!   socket ────commands─────▶ │ thread     │ ──view─────▶ socket
//!                             └────────────┘
//! ```

mod signals;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch as flag;

use crate::clock;
use crate::config::access::is_loopback;
use crate::config::key_pair::KeyPairFiles;
use crate::config::settings::Settings;
use crate::config::sources::Sources;
use crate::config::zone;
use crate::editing::Editing;
use crate::engine::Engine;
use crate::engine::event::Event;
use crate::engine::perform::Performer;
use crate::engine::run;
use crate::engine::view::{Rhythm, View};
use crate::housekeeping::{self, Scheduler, Task};
use crate::http::{self, Api, Limits, Listener, Socket, StateRecords, TellTrouble, Tls};
use crate::journal::change::DocumentKind;
use crate::journal::record::Document;
use crate::journal::{self, Depth, Journal, JournalError, OpenError, Reader};
use crate::lifecycle::schedule::Schedule;
use crate::lifecycle::time::Span;
use crate::metrics::{self, Exposition};
use crate::roster::{FileKind, Loader, Problem};
use crate::service::{self, Service};
use crate::upkeep::Upkeep;
use crate::watch::{self, Waker};
use crate::witness::Witnesses;

/// Nothing is due in safe mode but signs of life, which say how soon.
const SAFE_MODE_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// The chore that writes what monitoring reads.
const TEXTFILE: &str = "metrics textfile";

/// Threads of the runtime: drivers and callers wait much and compute little.
const RUNTIME_THREADS: usize = 2;

/// Why a daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Something an operator has to put right first. Exit code 2.
    #[error("{0}")]
    Refused(String),
    /// Something that may be put right while nobody looks, as a certificate that is being renewed: trying again helps.
    /// Exit code 1.
    #[error("{0}")]
    NotNow(String),
    /// The journal failed. Exit code 74: what is there is read back at the next start.
    #[error("failed to keep the journal")]
    Journal(#[source] JournalError),
    /// The system refused something else. Exit code 1.
    #[error("failed to {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What was said.
        #[source]
        source: io::Error,
    },
}

impl DaemonError {
    /// Returns the exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            DaemonError::Refused(_) => 2,
            DaemonError::Journal(_) => 74,
            DaemonError::NotNow(_) | DaemonError::System { .. } => 1,
        }
    }

    fn system(what: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
        move |source| DaemonError::System { what, source }
    }
}

/// What can be seen of a daemon that has just started.
#[derive(Clone, Debug)]
pub struct Started {
    /// What readers may see.
    pub view: Arc<View>,
    /// Why nothing will be made or deleted, where that is so.
    pub safe_mode: Option<String>,
}

/// Runs a daemon until it is told to stop by SIGTERM or SIGINT, or its journal fails. `started` is
/// called once everything is up.
pub fn run(sources: &Sources, settings: &Settings, started: impl FnOnce(Started)) -> Result<(), DaemonError> {
    let state = settings.state_dir.clone();
    let now = clock::now();
    let mut service = Service::from_environment();
    service.starts(fs::metadata(state.join(journal::FILE)).map_or(0, |journal| journal.len()));
    let journal = match Journal::open(&state, now) {
        Ok(journal) => Some(journal),
        Err(OpenError::Failed(error)) => return Err(DaemonError::Journal(error)),
        Err(damage @ (OpenError::Corrupt(_) | OpenError::Missing(_))) => {
            return safe_mode(sources, settings, &damage, service, started);
        }
        Err(other) => return Err(DaemonError::Refused(other.to_string())),
    };
    let Some(mut journal) = journal else { return Ok(()) };
    let installation = journal.installation().map_err(DaemonError::Journal)?;

    let runtime = runtime()?;
    let (inbox, events) = run::inbox();
    let mut loader = Loader::new(sources.clone().with_state(&state), last_good(&state)).with_seed(&installation);
    let remember = &mut |document: Document| {
        let kind = match document.kind {
            DocumentKind::Policy => FileKind::Policy,
            DocumentKind::Repository => FileKind::Repository,
            DocumentKind::Channel => FileKind::Channel,
        };
        loader.remember(kind, &document.name, &document.origin, &document.text);
    };
    journal.each_document(remember).map_err(DaemonError::Journal)?;
    let roster = loader.load(now.wall);
    let view = Arc::new(View::default());
    let jobs_max = usize::try_from(settings.jobs_max).unwrap_or(usize::MAX);
    let (engine, errands) = Engine::start(journal, roster, view.clone(), jobs_max, now, clock::is_synchronised())
        .map_err(DaemonError::Journal)?;

    let mut zone_data = zone::versions().system;
    let load = move || {
        // An upgrade of the system's zone files moves triggers that have not come yet (S11).
        let zone_data_now = zone::versions().system;
        if zone_data_now != zone_data {
            tracing::info!(version = zone_data_now, "the system's zone data changed; every schedule is read again");
            zone_data = zone_data_now;
            loader.forget();
        }
        loader.load(clock::now().wall)
    };
    let waker = watch::start(sources.clone().with_state(&state).watched(), load, inbox.clone())
        .map_err(DaemonError::system("start the thread that reads the configuration"))?;
    if let Err(trouble) = watch::start_clock(inbox.clone()) {
        tracing::warn!(cause = %trouble, "steps of the clock are noticed within a minute only");
    }
    let (ending, ended) = flag::channel(false);
    let upkeep = Upkeep::new(runtime.handle().clone(), inbox.clone());
    let records_state = state.clone();
    let api = Api {
        view: view.clone(),
        inbox: inbox.clone(),
        records: Some(Arc::new(move || StateRecords::open(&records_state))),
        upkeep: Some(upkeep.clone()),
        editing: Some(Editing::new(sources, &state, inbox.clone(), waker.clone())),
        clock: clock::now,
    };
    let tls = listen(&runtime, settings, api, Doors::All, ended)?;
    signals::listen(&runtime, &inbox, Some((waker.clone(), tls)))?;
    let chores =
        if settings.housekeeping.enabled { chores(settings, &state, &waker, &inbox, upkeep) } else { Vec::new() };
    view.set_rhythms(rhythms(settings));
    let _scheduler = keep_house(&runtime, chores, textfile(settings, &state, &view), &inbox);

    if let Some(witnesses) = Witnesses::new(&settings.clock) {
        runtime.spawn(witnesses.attend(view.clone(), inbox.clone()));
    }
    let handle = runtime.handle().clone();
    let engine_inbox = inbox.clone();
    let stop_timeout = Duration::from_millis(u64::try_from(settings.stop_timeout.millis()).unwrap_or_default());
    let engine = thread::Builder::new()
        .name("engine".into())
        .spawn(move || {
            let mut performer = Performer::new(handle, engine_inbox);
            run::run(engine, errands, &events, &mut performer, &mut service, stop_timeout)
        })
        .map_err(DaemonError::system("start the engine's thread"))?;
    tracing::info!(socket = %settings.socket.display(), state = %state.display(), "snapkeep is up");
    service::ready();
    started(Started { view, safe_mode: None });

    let outcome = engine.join();
    let _ = ending.send(true);
    runtime.shutdown_timeout(Duration::from_secs(2));
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(DaemonError::Journal(error)),
        // A panic in a decision: the journal holds what was decided before it.
        Err(_) => Err(DaemonError::System {
            what: "keep the engine running",
            source: io::Error::other("its thread panicked; please report the message above"),
        }),
    }
}

/// With a damaged journal nothing is made and nothing is deleted: an empty one would take every
/// trigger for missed and every snapshot for somebody else's. Questions are answered, so that people
/// and monitors learn of it.
fn safe_mode(
    sources: &Sources,
    settings: &Settings,
    damage: &OpenError,
    mut service: Service,
    started: impl FnOnce(Started),
) -> Result<(), DaemonError> {
    let _lock = journal::Lock::take(&settings.state_dir).map_err(|error| DaemonError::Refused(error.to_string()))?;
    let why =
        format!("{damage}. Nothing is made and nothing is deleted until `snapkeep journal restore` has put it right");
    tracing::error!(cause = why, "safe mode");
    let runtime = runtime()?;
    let view = Arc::new(View::default());
    view.enter_safe_mode(&why, clock::now().wall);
    let mut loader = Loader::new(sources.clone().with_state(&settings.state_dir), |_, _| None);
    view.set_roster(&loader.load(clock::now().wall));
    let (inbox, events) = run::inbox();
    let (ending, ended) = flag::channel(false);
    let api =
        Api { view: view.clone(), inbox: inbox.clone(), records: None, upkeep: None, editing: None, clock: clock::now };
    listen(&runtime, settings, api, Doors::SocketOnly, ended)?;
    signals::listen(&runtime, &inbox, None)?;
    // Monitoring learns of it where it reads a file, too.
    let _scheduler = keep_house(&runtime, Vec::new(), textfile(settings, &settings.state_dir, &view), &inbox);
    service::ready_in_safe_mode(&why);
    started(Started { view, safe_mode: Some(why.clone()) });
    loop {
        let patience = service.lives(clock::now()).min(SAFE_MODE_WAIT_MAX);
        let event = match events.recv_timeout(patience) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match event {
            Event::Stop => {
                service::stopping(Duration::ZERO);
                break;
            }
            Event::Command(command) => {
                let refusal = crate::engine::event::Refusal::Unavailable(why.clone());
                let _ = command.reply.send(Err(refusal));
            }
            // Nothing is taken in here: whoever waits for that need not.
            Event::Mark(_)
            | Event::Loaded(_)
            | Event::Answered { .. }
            | Event::Progressed { .. }
            | Event::Delivered { .. }
            | Event::Chore { .. }
            | Event::Trim { .. }
            | Event::Left { .. }
            | Event::Witnessed(_)
            | Event::ClockStepped => {}
        }
    }
    let _ = ending.send(true);
    Ok(())
}

fn runtime() -> Result<Runtime, DaemonError> {
    Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("edge")
        .enable_all()
        .build()
        .map_err(DaemonError::system("start the runtime"))
}

/// Where callers come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doors {
    /// Everywhere that the settings say.
    All,
    /// At the socket: tokens are in the journal, which cannot be read.
    SocketOnly,
}

/// Files that are open beside connections: the journal and its readers, pipes to drivers, the socket's callers.
const FILES_BESIDE: u64 = 768;

/// Makes room for as many open files as there may be connections. Without it a flood of callers could take the
/// files that the journal needs.
fn make_room_for_connections(settings: &Settings) -> Result<(), DaemonError> {
    let addresses = u64::try_from(settings.http.listen.len()).unwrap_or(u64::MAX);
    let wanted = addresses.saturating_mul(u64::from(settings.http.connections_max)).saturating_add(FILES_BESIDE);
    let limit = getrlimit(Resource::Nofile);
    if addresses == 0 || limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    if limit.maximum.is_none_or(|maximum| maximum >= wanted) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let may = limit.maximum.unwrap_or(wanted);
    Err(DaemonError::Refused(format!(
        "[http] allows so many connections that {wanted} files may be open, and this process may open {may}: lower \
         connections_max, or raise LimitNOFILE of the service"
    )))
}

/// Opens the doors, and returns what the certificate of those to the network is read by, if there are any.
fn listen(
    runtime: &Runtime,
    settings: &Settings,
    api: Api,
    doors: Doors,
    mut ended: flag::Receiver<bool>,
) -> Result<Option<Tls>, DaemonError> {
    let _inside = runtime.enter();
    let socket = Socket::bind(&settings.socket).map_err(DaemonError::system("listen on the socket"))?;
    let socket = socket.with_roles(settings.http.roles.clone());
    let mut listeners = vec![Listener::Socket(socket)];
    let mut tls = None;
    match doors {
        Doors::All => {
            make_room_for_connections(settings)?;
            tls = certificate(settings, &api.view)?;
            for address in &settings.http.listen {
                listeners.push(address_listener(runtime, *address, tls.clone(), &api.view)?);
            }
        }
        Doors::SocketOnly if settings.http.listen.is_empty() => {}
        Doors::SocketOnly => tracing::warn!("nobody listens on the network: tokens cannot be checked"),
    }
    let limits = Limits {
        connections_max: usize::try_from(settings.http.connections_max).unwrap_or(usize::MAX),
        rate: settings.http.rate,
        ..Limits::default()
    };
    runtime.spawn(http::serve_all(listeners, api, limits, async move {
        let _ = ended.wait_for(|ended| *ended).await;
    }));
    Ok(tls)
}

fn address_listener(
    runtime: &Runtime,
    address: SocketAddr,
    tls: Option<Tls>,
    view: &Arc<View>,
) -> Result<Listener, DaemonError> {
    match tls {
        Some(tls) if !is_loopback(&address) => {
            Ok(Listener::OnceThereIsAToken { address, tls, tell: teller(view, &address.to_string()) })
        }
        None if !is_loopback(&address) => {
            // The settings were refused before; this is the last wall.
            Err(DaemonError::Refused(format!("others can reach {address}, and there is no TLS")))
        }
        tls => {
            let listener = runtime
                .block_on(TcpListener::bind(address))
                .map_err(|error| DaemonError::NotNow(format!("failed to listen on {address}: {error}")))?;
            let protected = if tls.is_some() { "with TLS" } else { "without TLS, for this machine" };
            tracing::info!(%address, "listening {protected}");
            Ok(Listener::Address { listener, tls })
        }
    }
}

/// Reads the certificate, where there is to be one. One that is no good at the start is for a person.
fn certificate(settings: &Settings, view: &Arc<View>) -> Result<Option<Tls>, DaemonError> {
    let Some(files) = settings.http.tls.clone() else { return Ok(None) };
    if settings.http.listen.is_empty() {
        return Ok(None);
    }
    let mut files = KeyPairFiles::new(files);
    let read = move || {
        let read = files.read_if_changed()?;
        Some(read.map(|[certificate, key]| http::Pair { certificate, key }))
    };
    let not_now = |trouble| DaemonError::NotNow(format!("failed to read the certificate for [http.tls]: {trouble}"));
    Tls::new(Box::new(read), teller(view, "[http.tls]")).map(Some).map_err(not_now)
}

/// Returns what shows a trouble of a door beside the problems of the files.
fn teller(view: &Arc<View>, of: &str) -> TellTrouble {
    let (view, of) = (view.clone(), of.to_owned());
    Box::new(move |trouble| {
        let problem = trouble.map(|trouble| Problem::of_file(Path::new("snapkeep.toml"), format!("{of}: {trouble}")));
        view.set_aside(&of, problem);
    })
}

/// Starts the chores. Who names a file for monitoring wants it written, also where nothing else is done.
fn keep_house(
    runtime: &Runtime,
    mut chores: Vec<Task>,
    textfile: Option<Task>,
    inbox: &SyncSender<Event>,
) -> Option<Scheduler> {
    if let Some(textfile) = textfile {
        // What a daemon before this one has left is old by now. It is written before its times begin: there is one
        // writer at a time.
        runtime.block_on(housekeeping::once(textfile.clone(), inbox.clone()));
        chores.push(textfile);
    }
    if chores.is_empty() {
        return None;
    }
    let scheduler = runtime.block_on(housekeeping::start(chores, inbox.clone()));
    scheduler
        .inspect_err(|trouble| tracing::error!(cause = %trouble, "housekeeping does not run; its commands do"))
        .ok()
}

fn chores(settings: &Settings, state: &Path, waker: &Waker, inbox: &SyncSender<Event>, upkeep: Upkeep) -> Vec<Task> {
    let plain =
        |name, chore: &crate::config::settings::Chore, work| Task { name, expression: chore.six_fields(), work };
    let times = &settings.housekeeping;
    let (backup_state, check_state) = (state.to_path_buf(), state.to_path_buf());
    let (waker, inbox) = (waker.clone(), inbox.clone());
    let history_ms = times.history_max_age.millis();
    vec![
        plain("journal backup", &times.backup, Arc::new(move || back_up(&backup_state))),
        plain("journal check", &times.check, Arc::new(move || check(&check_state))),
        plain(
            "history trim",
            &times.trim,
            Arc::new(move || {
                let before = clock::now().wall.plus(-history_ms);
                inbox.send(Event::Trim { before }).map_err(|_| "the engine has ended".to_string())
            }),
        ),
        plain(
            "configuration rescan",
            &times.rescan,
            Arc::new(move || {
                waker.wake();
                Ok(())
            }),
        ),
        plain("maintain", &times.maintain, Arc::new(move || upkeep.maintain_all())),
    ]
}

/// Writes what monitoring reads into a file, where that is wanted: every minute, as collectors read it.
fn textfile(settings: &Settings, state: &Path, view: &Arc<View>) -> Option<Task> {
    let file = settings.metrics.textfile.clone()?;
    let (state, view) = (state.to_path_buf(), view.clone());
    let work = move || {
        let reader = Reader::open(&state).map_err(|error| error.to_string());
        let totals = reader.and_then(|reader| reader.totals().map_err(|error| error.to_string()));
        // What is known is written all the same, and says that the rest is missing.
        let (totals, trouble) = totals.map_or_else(|trouble| (None, Err(trouble)), |totals| (Some(totals), Ok(())));
        let exposition = Exposition::of(&view, totals, clock::now());
        metrics::write(&file, exposition).map_err(|error| format!("failed to write {}: {error}", file.display()))?;
        trouble
    };
    Some(Task { name: TEXTFILE, expression: "0 * * * * *".to_owned(), work: Arc::new(work) })
}

/// How often the chores should run.
fn rhythms(settings: &Settings) -> BTreeMap<Box<str>, Rhythm> {
    const HOUR_MS: i64 = 3_600_000;
    let times = &settings.housekeeping;
    let minutely = settings.metrics.textfile.as_ref().map(|_| {
        let schedule = Schedule::interval(Span::from_millis(60_000));
        (TEXTFILE.into(), Rhythm { schedule, patience_ms: 2 * HOUR_MS })
    });
    if !times.enabled {
        return minutely.into_iter().collect();
    }
    let chores = [
        ("journal backup", &times.backup, 2),
        ("journal check", &times.check, 2),
        ("history trim", &times.trim, 2),
        ("configuration rescan", &times.rescan, 2),
        // One repository after another, hours each.
        ("maintain", &times.maintain, 24),
    ];
    let rhythm = |(job, chore, hours): (&str, &crate::config::settings::Chore, i64)| {
        (job.into(), Rhythm { schedule: chore.schedule.clone(), patience_ms: hours * HOUR_MS })
    };
    chores.map(rhythm).into_iter().chain(minutely).collect()
}

fn back_up(state: &Path) -> Result<(), String> {
    journal::backup(state, clock::now().wall).map(|_| ()).map_err(|error| error.to_string())
}

fn check(state: &Path) -> Result<(), String> {
    match journal::check(state, Depth::Whole) {
        Ok(findings) if findings.is_empty() => Ok(()),
        Ok(findings) => Err(findings.join("; ")),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns what the loader asks for a file that is bad at start: the journal remembers.
pub fn last_good(state: &Path) -> impl Fn(FileKind, &str) -> Option<(String, String)> + Send + 'static {
    let state = state.to_path_buf();
    move |kind, name| {
        let kind = match kind {
            FileKind::Policy => DocumentKind::Policy,
            FileKind::Repository => DocumentKind::Repository,
            FileKind::Channel => DocumentKind::Channel,
        };
        let document = Reader::open(&state).ok()?.document(kind, name).ok()??;
        Some((document.origin.into(), document.text.into()))
    }
}
