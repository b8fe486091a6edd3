//! Every route there is, with who may ask it. What is not in this table is not answered.
//!
//! A **viewer** looks, also ahead: previews and drafts change nothing. An **operator** has things done
//! that lose nothing by themselves, and answers for what the daemon asks of people: a plan that a guard
//! has stopped was shown before it is approved. An **admin** does what takes something away for good
//! (a snapshot, a hold), what makes snapshots or a journal ours, and what gives rights to others; and
//! makes, rewrites and removes policies, which say what is deleted.

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::lifecycle::role::Role;

use super::{
    Shared, channels, control, deletions, explain, foresee, health, look, metrics, notices, openapi, records, single,
    sm, tokens, upkeep,
};

/// How long an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It reads memory or some pages of the journal.
    Quick,
    /// It asks a repository, or reads the whole journal.
    Look,
}

/// One method of one path.
#[derive(Debug)]
pub struct Route {
    /// Which method.
    pub method: Method,
    /// Which path, with `{names}` for its parts that vary.
    pub path: &'static str,
    /// The least role that may ask.
    pub role: Role,
    /// How long an answer may take.
    pub pace: Pace,
    /// What it does, in a sentence.
    pub about: &'static str,
    pub(super) handler: MethodRouter<Arc<Shared>>,
}

impl Route {
    /// Whether it changes something. A viewer changes nothing, also where a question needs a body.
    pub fn mutates(&self) -> bool {
        !self.method.is_safe() && self.role > Role::Viewer
    }
}

/// Returns every route there is.
pub fn routes() -> Vec<Route> {
    use Pace::{Look, Quick};
    use Role::{Admin, Operator, Viewer};
    let mut routes = vec![
        get(Viewer, Quick, "/health", "Tells whether somebody should look.", health::health),
        get(Viewer, Quick, "/health/live", "Tells whether the engine moves.", health::live),
        get(Viewer, Quick, "/health/ready", "Tells whether snapshots are made and deleted.", health::ready),
        get(Viewer, Quick, "/v1/health", "Tells how each policy is, by the age of what it keeps.", health::checkups),
        get(
            Viewer,
            Quick,
            "/metrics",
            "Tells monitoring all there is to count, as Prometheus reads it.",
            metrics::metrics,
        ),
        get(Viewer, Quick, "/v1/openapi.json", "Describes all that can be asked.", openapi::openapi),
        get(Viewer, Quick, "/v1/explain", "Tells what is going on, why, and what comes next.", explain::explain),
        get(Viewer, Quick, "/v1/policies", "Lists the policies in force.", explain::policies),
        get(Viewer, Quick, "/v1/policies/{name}", "Shows a policy in force.", explain::policy),
        post(Operator, Quick, "/v1/policies/{name}/start", "Lets a policy's triggers run again.", control::start),
        post(Operator, Quick, "/v1/policies/{name}/stop", "Lets no trigger of a policy run.", control::stop),
        post(Operator, Quick, "/v1/policies/{name}/run", "Runs a workflow of a policy at once.", control::run),
        get(Viewer, Look, "/v1/policies/{name}/snapshots", "Lists a policy's snapshots.", look::snapshots),
        get(Viewer, Look, "/v1/policies/{name}/plan", "Tells what a deletion would do, and why.", foresee::plan),
        post(
            Viewer,
            Look,
            "/v1/policies/{name}/plan",
            "Compares what a draft of a policy would delete with the policy in force.",
            foresee::compare,
        ),
        get(
            Viewer,
            Quick,
            "/v1/policies/{name}/plan/latest",
            "Shows the latest plan of a policy's deletion.",
            records::latest_plan,
        ),
        post(
            Viewer,
            Look,
            "/v1/policies/{name}/foresight",
            "Tells what a policy or a draft of it will make and delete.",
            foresee::foresight,
        ),
        get(Viewer, Quick, "/v1/history", "Lists runs, newest first.", records::history),
        get(Operator, Quick, "/v1/audit", "Lists who did what, newest first.", records::audit),
        get(Viewer, Quick, "/v1/deletions", "Lists plans that a guard held.", deletions::deletions),
        get(Viewer, Quick, "/v1/deletions/{number}", "Shows a held plan, snapshot by snapshot.", deletions::shown),
        post(
            Operator,
            Quick,
            "/v1/deletions/{number}/approve",
            "Lets a held plan delete what it shows.",
            deletions::approve,
        ),
        post(Operator, Quick, "/v1/deletions/{number}/refuse", "Lets a held plan delete nothing.", deletions::refuse),
        post(
            Operator,
            Quick,
            "/v1/clock/confirm",
            "Says that a person has looked at the clock and it is right.",
            deletions::confirm_clock,
        ),
        get(Viewer, Quick, "/v1/holds", "Lists what people want kept.", single::holds),
        post(Operator, Quick, "/v1/holds", "Keeps a snapshot, whatever the policies say.", single::hold),
        post(Admin, Quick, "/v1/holds/remove", "Keeps a snapshot no longer than the policies do.", single::release),
        get(Viewer, Look, "/v1/orphans", "Lists snapshots that no policy looks after.", single::orphans),
        post(
            Viewer,
            Look,
            "/v1/expire/preview",
            "Shows whether snapshots may be deleted one by one.",
            single::preview_expire,
        ),
        post(Admin, Quick, "/v1/expire", "Deletes the snapshots that are named.", single::expire),
        post(
            Viewer,
            Look,
            "/v1/adopt/preview",
            "Shows whether snapshots may be given to a policy.",
            single::preview_adopt,
        ),
        post(Admin, Quick, "/v1/adopt", "Gives snapshots to a policy, which may delete them later.", single::adopt),
        post(Operator, Quick, "/v1/verify", "Begins to check a snapshot.", upkeep::verify),
        post(
            Operator,
            Quick,
            "/v1/repositories/{name}/maintain",
            "Begins the maintenance of a repository.",
            upkeep::maintain,
        ),
        get(Viewer, Quick, "/v1/operations", "Lists work of hours, newest first.", upkeep::operations),
        get(Viewer, Quick, "/v1/operations/{number}", "Shows one piece of work of hours.", upkeep::operation),
        get(Viewer, Quick, "/v1/channels", "Lists where notices go.", channels::channels),
        post(Operator, Look, channels::TEST, "Sends a message to a channel, to try it.", channels::test),
        get(Viewer, Quick, "/v1/notices", "Lists notices and what became of them, newest first.", notices::notices),
        get(Viewer, Quick, "/v1/notices/{number}", "Shows one notice.", notices::one),
        post(Operator, Quick, "/v1/notices/{number}/_resend", "Sends a notice again.", notices::resend),
        post(Operator, Look, "/v1/journal/backup", "Makes a checked copy of the journal.", records::backup),
        get(Operator, Look, "/v1/journal/check", "Tells whether the journal is sound.", records::check),
        post(
            Admin,
            Look,
            "/v1/journal/accept-machine",
            "Makes this machine the one the journal belongs to.",
            control::accept_machine,
        ),
        get(Admin, Quick, "/v1/tokens", "Lists the tokens of callers, without the tokens.", tokens::tokens),
        post(Admin, Quick, "/v1/tokens", "Makes a token for a caller and shows it once.", tokens::add),
        delete(Admin, Quick, "/v1/tokens/{name}", "Lets nobody in by a token any more.", tokens::remove),
    ];
    routes.extend(opensearch());
    routes
}

/// Returns the routes of OpenSearch's clients. Some of them leave a name empty or end in a slash.
fn opensearch() -> Vec<Route> {
    use Pace::Quick;
    use Role::{Admin, Operator, Viewer};
    let (list, explain) =
        ("Lists policies in OpenSearch's form.", "Tells what policies are doing, in OpenSearch's form.");
    let (start, stop) =
        ("Lets a policy's triggers run, for OpenSearch's clients.", "Lets none run, for OpenSearch's clients.");
    vec![
        get(Viewer, Quick, "/_plugins/_sm/policies", list, sm::list),
        get(Viewer, Quick, "/_plugins/_sm/policies/", list, sm::list),
        get(Viewer, Quick, "/_plugins/_sm/policies/{name}", "Shows a policy in OpenSearch's form.", sm::get),
        post(Admin, Quick, "/_plugins/_sm/policies/{name}", "Makes a policy.", sm::create),
        put(Admin, Quick, "/_plugins/_sm/policies/{name}", "Rewrites a policy that was made here.", sm::replace),
        delete(Admin, Quick, "/_plugins/_sm/policies/{name}", "Removes a policy that was made here.", sm::delete),
        get(Viewer, Quick, "/_plugins/_sm/policies/{name}/_explain", explain, sm::explain),
        get(Viewer, Quick, "/_plugins/_sm/policies//_explain", explain, sm::explain),
        post(Operator, Quick, "/_plugins/_sm/policies/{name}/_start", start, sm::start),
        post(Operator, Quick, "/_plugins/_sm/policies//_start", start, sm::start),
        post(Operator, Quick, "/_plugins/_sm/policies/{name}/_stop", stop, sm::stop),
        post(Operator, Quick, "/_plugins/_sm/policies//_stop", stop, sm::stop),
    ]
}

/// Functions that make a route of a method.
macro_rules! ways {
    ($($name:ident: $method:ident),*) => {$(
        fn $name<H, T>(role: Role, pace: Pace, path: &'static str, about: &'static str, handler: H) -> Route
        where
            H: Handler<T, Arc<Shared>>,
            T: 'static,
        {
            Route { method: Method::$method, path, role, pace, about, handler: on(MethodFilter::$method, handler) }
        }
    )*};
}

ways!(get: GET, post: POST, put: PUT, delete: DELETE);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_stands_in_the_table_once_and_says_what_it_does() {
        let routes = routes();
        let ways: BTreeSet<(&str, &str)> = routes.iter().map(|route| (route.path, route.method.as_str())).collect();
        assert_eq!(ways.len(), routes.len());
        for Route { path, method, about, .. } in &routes {
            assert!(about.ends_with('.') && about.starts_with(char::is_uppercase), "{method} {path}: {about}");
        }
    }

    #[test]
    fn what_only_looks_is_a_viewers_and_what_takes_away_is_an_admins() {
        let role = |method: Method, path: &str| {
            let found = routes().into_iter().find(|route| route.method == method && route.path == path);
            found.unwrap_or_else(|| panic!("{method} {path}")).role
        };
        assert_eq!(role(Method::GET, "/v1/explain"), Role::Viewer);
        assert_eq!(role(Method::POST, "/v1/policies/{name}/run"), Role::Operator);
        assert_eq!(role(Method::DELETE, "/v1/tokens/{name}"), Role::Admin);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert_eq!(role(method, "/_plugins/_sm/policies/{name}"), Role::Admin);
        }
        for path in ["/v1/tokens", "/v1/expire", "/v1/adopt", "/v1/holds/remove", "/v1/journal/accept-machine"] {
            assert_eq!(role(Method::POST, path), Role::Admin, "{path}");
        }
        for Route { method, path, role, .. } in routes() {
            let only_looks = method == Method::GET || path.ends_with("/preview") || path.ends_with("/foresight");
            assert!(only_looks || path.ends_with("/plan") || role > Role::Viewer, "{method} {path}");
        }
    }
}
