//! The daemon's face for programs: HTTP and JSON, on a Unix socket and, where that is wanted, over the
//! network.
//!
//! Explaining reads the last published view and nothing else: it answers while every driver hangs,
//! while the journal is slow, and while the engine is at work. What changes something goes to the
//! engine as a command and is answered once it is in the journal. Looking at a repository asks its
//! driver, away from the engine, within a time limit.
//!
//! Everything a caller can make us hold has a bound: connections, bodies, questions to repositories
//! and to the journal, and time.

mod access;
pub mod body;
mod channels;
mod control;
mod deletions;
mod error;
mod explain;
mod foresee;
mod health;
mod look;
mod metrics;
mod notices;
pub mod openapi;
mod peer;
mod records;
mod repeat;
mod routes;
mod serve;
mod shape;
mod single;
mod sm;
mod socket;
mod stall;
mod throttle;
mod tls;
mod token;
mod tokens;
mod upkeep;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::sync::Semaphore;

use crate::editing::Editing;
use crate::engine::event::Event;
use crate::engine::perform::SURVEY_MAX_MS;
use crate::engine::view::View;
use crate::lifecycle::time::Moment;
use crate::upkeep::Upkeep;

pub use access::Limits;
pub use records::{OpenRecords, Records, StateRecords, Unread};
pub use routes::{Pace, Route, routes};
pub use serve::{Listener, serve, serve_all};
pub use shape::problem as problem_body;
pub use socket::{Socket, short};
pub use tls::{Pair, ReadPair, TellTrouble, Tls};

use error::ApiError;
use repeat::{Refusals, UnderWay, Way};

/// Bodies are a few words; a megabyte is a mistake or an attack.
const BODY_BYTES_MAX: usize = 1 << 20;
/// An ordinary request reads memory or some pages of the journal.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// A look at a repository has its own limit; this one is for a look that does not keep it.
const LOOK_TIME_MAX: Duration = Duration::from_millis(SURVEY_MAX_MS + 10_000);
/// Looks at repositories at once: each may be a process and a good deal of memory.
const LOOKS_MAX: usize = 4;
/// Questions to the journal at once: each has a thread for as long as it takes.
const READS_MAX: usize = 4;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    /// What readers may see.
    pub view: Arc<View>,
    /// Where commands go.
    pub inbox: SyncSender<Event>,
    /// Opens the journal for reading; `None` where there is none to read, as in safe mode.
    pub records: Option<OpenRecords>,
    /// Looks after repositories; `None` where nobody does, as in safe mode.
    pub upkeep: Option<Upkeep>,
    /// Changes policies for callers; `None` where nobody does, as in safe mode.
    pub editing: Option<Editing>,
    /// Reads the clocks.
    pub clock: fn() -> Moment,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// What the handlers share.
#[derive(Debug)]
struct Shared {
    api: Api,
    looks: Semaphore,
    reads: Arc<Semaphore>,
    under_way: UnderWay,
    refusals: Refusals,
    doors: access::Doors,
}

type State = axum::extract::State<Arc<Shared>>;

/// Answers every route of the table.
fn router(api: Api, limits: Limits) -> Router {
    let looks = Semaphore::new(LOOKS_MAX);
    let reads = Arc::new(Semaphore::new(READS_MAX));
    let shared = Arc::new(Shared {
        api,
        looks,
        reads,
        doors: access::Doors::new(limits),
        under_way: UnderWay::default(),
        refusals: Refusals::default(),
    });
    let mut router = Router::new();
    for route in routes::routes() {
        let mutates = route.mutates();
        let Route { path, role, pace, handler, .. } = route;
        let way = Way { mutates, role, path };
        let limit = match pace {
            Pace::Quick => REQUEST_TIME_MAX,
            Pace::Look => LOOK_TIME_MAX,
        };
        // The last one stands first: what may not be asked is refused on record, and in time.
        let state = shared.clone();
        let handler = handler
            .route_layer(middleware::from_fn(move |request, next| access::require(role, request, next)))
            .route_layer(middleware::from_fn(move |request, next| repeat::once(state.clone(), way, request, next)))
            .route_layer(middleware::from_fn(move |request, next| within(limit, request, next)));
        router = router.route(path, handler);
    }
    router
        .fallback(async |uri: Uri| ApiError::not_found("no_such_route", "there is no such route").at(uri.path()))
        .method_not_allowed_fallback(async |uri: Uri| ApiError::method_not_allowed().at(uri.path()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(shared.clone(), access::identify))
        .with_state(shared)
}

/// Answers a request within a time, or says that it took too long.
async fn within(limit: Duration, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.unwrap_or_else(|_| ApiError::too_slow(limit).at(&path))
}
