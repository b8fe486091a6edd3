//! Who calls, and whether they may.
//!
//! Two gates, and both refuse what they do not know. The outer one tells who calls and lets nobody in
//! who has no role, whatever they ask for. The inner one stands before each route of the table and
//! asks for its role. A refused request reaches no handler, so nothing of it happens.
//!
//! At the socket the kernel says who it is, and tokens are not looked at. Over the network a token says it:
//! looked up in memory and compared in constant time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use tokio::sync::oneshot;

use crate::engine::event::{Command, Event, TokenRecord, What};
use crate::engine::tokens::USE_NOTED_MS;
use crate::engine::view::Tokens;
use crate::lifecycle::role::Role;
use crate::lifecycle::time::Moment;

use super::Shared;
use super::error::ApiError;
use super::serve::Peer;
use super::throttle::{Failures, Rates};
use super::token::{Token, is_same};

/// Where a request comes from, as the connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Unix socket: the kernel says who it is.
    Socket {
        /// Their user.
        user: u32,
        /// What they may do; `None` where nothing gives them a role.
        role: Option<Role>,
    },
    /// The network: only a token says who it is.
    Network {
        /// From where.
        address: IpAddr,
    },
}

/// What a listener bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, at each address.
    pub connections_max: usize,
    /// Requests a second of one caller over the network.
    pub rate: u32,
    /// A client that has not sent its head, or shaken hands, within this holds a place for nothing.
    pub head_time_max: Duration,
    /// A client that takes nothing of its answer for so long is given up.
    pub stall_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 256,
            rate: 50,
            head_time_max: Duration::from_secs(10),
            stall_time_max: Duration::from_secs(30),
        }
    }
}

/// What is remembered of callers over the network.
#[derive(Debug)]
pub struct Doors {
    failures: Mutex<Failures>,
    rates: Mutex<Rates>,
    /// When the engine was last told that a token was used, by its id.
    told: Mutex<BTreeMap<Box<str>, i64>>,
}

impl Doors {
    pub fn new(limits: Limits) -> Doors {
        Doors { failures: Mutex::default(), rates: Mutex::new(Rates::new(limits.rate.max(1))), told: Mutex::default() }
    }
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For the audit: `uid:1000`, `token:NAME`.
    pub name: Box<str>,
    /// What they may do.
    pub role: Role,
    /// The id of the token they showed: another one may come to have the same name.
    pub token: Option<Box<str>>,
}

/// Returns what a user may do who is in these groups. Root and whoever the daemon runs as may do everything:
/// they can read its journal and its files anyway.
pub fn role_of(user: u32, groups: &[u32], roles: &BTreeMap<u32, Role>) -> Option<Role> {
    if user == 0 || user == rustix::process::geteuid().as_raw() {
        return Some(Role::Admin);
    }
    groups.iter().filter_map(|group| roles.get(group)).max().copied()
}

/// Tells who calls, and lets nobody pass who has no role.
pub async fn identify(
    axum::extract::State(shared): axum::extract::State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    match caller(&shared, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(Peer(caller.name.clone()));
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.at(request.uri().path()),
    }
}

/// Lets those pass whose role is at least the one a route needs.
pub async fn require(needed: Role, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let refusal = match caller {
        Some(Caller { role, .. }) if *role >= needed => return next.run(request).await,
        Some(Caller { name, role, .. }) => {
            let detail = format!("this needs the role {needed}; {name} is {role}");
            ApiError::new(StatusCode::FORBIDDEN, "role_too_low", detail)
                .hint("`[http]` in snapkeep.toml gives roles to groups; a token has the role it was made with")
        }
        None => ApiError::new(StatusCode::FORBIDDEN, "no_role", "nobody knows who asks this"),
    };
    refusal.at(request.uri().path())
}

fn caller(shared: &Shared, request: &Request) -> Result<Caller, ApiError> {
    match request.extensions().get::<Origin>() {
        Some(Origin::Socket { user, role }) => {
            let name = format!("uid:{user}").into();
            let role = role.ok_or_else(|| {
                ApiError::new(StatusCode::FORBIDDEN, "no_role", format!("user {user} has no role here")).hint(
                    "name one of their groups in `viewer`, `operator` or `admin` of `[http]` in snapkeep.toml, \
                     or ask as root",
                )
            })?;
            Ok(Caller { name, role, token: None })
        }
        Some(Origin::Network { address }) => bearer(shared, *address, request.headers()),
        None => Err(ApiError::new(StatusCode::FORBIDDEN, "no_role", "nobody knows who asks this")),
    }
}

/// Tells who calls by their token.
fn bearer(shared: &Shared, address: IpAddr, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let now = (shared.api.clock)();
    let tokens = shared.api.view.tokens();
    // One answer to all: whether a token never was, was removed or is over is not for strangers to know.
    let Some(record) = shown(headers).and_then(|token| known(&tokens, &token, now)) else {
        return Err(unknown(shared, address, now));
    };
    let mut rates = shared.doors.rates.lock().unwrap_or_else(PoisonError::into_inner);
    let early = rates.count(&record.id, now.uptime, |id| tokens.contains_key(id));
    drop(rates);
    early.map_err(|early_ms| {
        let detail = format!("token {} asks more often than `[http] rate` allows", record.name);
        too_often("too_many_requests", detail, early_ms)
    })?;
    note_use(shared, record, now);
    let name = format!("token:{}", record.name).into();
    Ok(Caller { name, role: record.role, token: Some(record.id.clone()) })
}

/// Returns what is known of a token that lets its bearer in.
fn known<'t>(tokens: &'t Tokens, token: &Token, now: Moment) -> Option<&'t TokenRecord> {
    let record = tokens.get(token.id())?;
    (is_same(&record.hash, &token.hash()) && !record.is_over(now.wall)).then_some(record)
}

fn unknown(shared: &Shared, address: IpAddr, now: Moment) -> ApiError {
    let mut failures = shared.doors.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let waits = failures.note(address, now.uptime);
    drop(failures);
    // Who has a token is let in all the same: nobody can lock out others who come from the same address.
    if let Some((wait_ms, begins)) = waits {
        if begins {
            tracing::warn!(%address, "too many requests without a token that is known");
        }
        return too_often("too_many_failures", "too many requests without a token that is known", wait_ms);
    }
    ApiError::new(StatusCode::UNAUTHORIZED, "no_token", "this needs a token, and none that is known was sent")
        .hint("send `Authorization: Bearer TOKEN`; `snapkeep token add` makes one")
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"snapkeep\"")
        .header(header::WWW_AUTHENTICATE, "Basic realm=\"snapkeep\", charset=\"UTF-8\"")
}

fn too_often(code: &'static str, detail: impl Into<String>, wait_ms: i64) -> ApiError {
    let seconds = wait_ms.max(1).saturating_add(999) / 1_000;
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
        .hint(format!("try again in {seconds} s"))
        .header(header::RETRY_AFTER, seconds.to_string())
}

/// Tells the engine that a token was used, now and then. It is not waited for: a request that only looks does
/// not wait for the journal.
fn note_use(shared: &Shared, record: &TokenRecord, now: Moment) {
    let mut told = shared.doors.told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.get(&record.id).is_some_and(|at| now.uptime - at < USE_NOTED_MS) {
        return;
    }
    let tokens = shared.api.view.tokens();
    told.retain(|id, _| tokens.contains_key(id));
    told.insert(record.id.clone(), now.uptime);
    let (reply, _) = oneshot::channel();
    let what = What::UseToken { id: record.id.clone() };
    // An engine that is far behind hears of the next use.
    let _ = shared.api.inbox.try_send(Event::Command(Command { who: "http".into(), what, request: None, reply }));
}

/// Clients leave the padding out, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the token that a request shows, if it shows one: `Bearer TOKEN`, `token=TOKEN`, or `Basic` with the
/// token as the password of any user, so that clients of OpenSearch can log in.
fn shown(headers: &HeaderMap) -> Option<Token> {
    let mut written = headers.get_all(header::AUTHORIZATION).into_iter();
    let (Some(written), None) = (written.next(), written.next()) else { return None };
    let written = written.to_str().ok()?.trim();
    if let Some(token) = written.strip_prefix("token=") {
        return Token::read(token.trim());
    }
    let (scheme, rest) = written.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Token::read(rest);
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(BASE64.decode(rest).ok()?).ok()?;
        let (_, password) = decoded.split_once(':')?;
        return Token::read(password);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_in_every_form_that_clients_have() {
        let text = Token::new().expect("made").into_text();
        let id = Token::read(&text).expect("it is one").id().to_owned();
        let read = |written: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, written.parse().expect("a header"));
            shown(&headers).map(|token| token.id().to_owned())
        };
        let basic = |user: &str| BASE64.encode(format!("{user}:{text}"));
        for written in [
            format!("Bearer {text}"),
            format!("bearer  {text} "),
            format!("token={text}"),
            format!("Basic {}", basic("admin")),
            format!("basic {}", basic("").trim_end_matches('=')),
        ] {
            assert_eq!(read(&written).as_deref(), Some(&*id), "{written}");
        }
        for written in ["", "Bearer", "Bearer x", "Basic x", "Basic eHg=", &text, &format!("Digest {text}")] {
            assert_eq!(read(written), None, "{written}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::AUTHORIZATION, format!("Bearer {text}").parse().expect("a header"));
        }
        assert!(shown(&twice).is_none());
    }

    #[test]
    fn a_caller_at_the_socket_has_the_highest_role_of_their_groups() {
        let roles = BTreeMap::from([(10, Role::Viewer), (20, Role::Admin)]);
        let somebody = rustix::process::geteuid().as_raw() + 1;
        assert_eq!(role_of(somebody, &[], &roles), None);
        assert_eq!(role_of(somebody, &[9, 10], &roles), Some(Role::Viewer));
        assert_eq!(role_of(somebody, &[20, 10], &roles), Some(Role::Admin));
        assert_eq!(role_of(0, &[], &roles), Some(Role::Admin));
        assert_eq!(role_of(rustix::process::geteuid().as_raw(), &[], &BTreeMap::new()), Some(Role::Admin));
    }
}
