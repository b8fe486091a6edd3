//! Who calls, and whether they may.
//!
//! Two gates, and both refuse what they do not know. The outer one tells who calls and lets nobody in
//! who has no role, whatever they ask for. The inner one stands before each route of the table and
//! asks for its role. A refused request reaches no handler, so nothing of it happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use crate::lifecycle::role::Role;

use super::Shared;
use super::error::ApiError;
use super::serve::Peer;

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
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// For the audit: `uid:1000`.
    pub name: Box<str>,
    /// What they may do.
    pub role: Role,
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
        Some(Caller { name, role }) => {
            let detail = format!("this needs the role {needed}; {name} is {role}");
            ApiError::new(StatusCode::FORBIDDEN, "role_too_low", detail)
                .hint("`[http]` in snapkeep.toml gives roles to groups; a token has the role it was made with")
        }
        None => ApiError::new(StatusCode::FORBIDDEN, "no_role", "nobody knows who asks this"),
    };
    refusal.at(request.uri().path())
}

fn caller(_shared: &Shared, request: &Request) -> Result<Caller, ApiError> {
    match request.extensions().get::<Origin>() {
        Some(Origin::Socket { user, role }) => {
            let name = format!("uid:{user}").into();
            let role = role.ok_or_else(|| {
                ApiError::new(StatusCode::FORBIDDEN, "no_role", format!("user {user} has no role here")).hint(
                    "name one of their groups in `viewer`, `operator` or `admin` of `[http]` in snapkeep.toml, \
                     or ask as root",
                )
            })?;
            Ok(Caller { name, role })
        }
        None => Err(ApiError::new(StatusCode::FORBIDDEN, "no_role", "nobody knows who asks this")),
    }
}
