//! Who may do what, over real sockets: by the kernel's word for who is at the other end, and by tokens.

mod limits;
pub mod network;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use serde_json::Value;
use snapkeep::engine::event::{Done, What};
use snapkeep::http::{Route, routes};
use snapkeep::lifecycle::role::Role;

use crate::http::{Daemon, view};
use crate::support::skips::not_tested;

/// Users and groups that nobody has; who may open the socket is in `CALLERS`.
const USER: u32 = 47_110;
const CALLERS: u32 = 47_111;
const VIEWERS: u32 = 47_112;
const OPERATORS: u32 = 47_113;
const ADMINS: u32 = 47_114;

/// Returns a route as it is asked for: whatever the names in it are.
pub fn asked(route: &Route) -> String {
    route.path.replace("{name}", "db").replace("{number}", "7")
}

/// Asks everything at once, as a user with these groups; the answers are status and code.
fn ask_as(daemon: &Daemon, groups: &[u32], requests: &[(String, String)]) -> Vec<(u16, String)> {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={USER}")).arg(format!("--regid={CALLERS}"));
    if groups.is_empty() {
        command.arg("--clear-groups");
    } else {
        command.arg(format!("--groups={}", groups.join(",")));
    }
    command.arg("curl").arg("--silent").arg("--show-error");
    for (number, (method, path)) in requests.iter().enumerate() {
        if number > 0 {
            command.arg("--next").arg("--silent");
        }
        command.arg("--unix-socket").arg(&daemon.socket).args(["--max-time", "60", "--request", method]);
        command.args(["--write-out", "\n%{http_code} was the status\n"]).arg(format!("http://x{path}"));
    }
    let output = command.current_dir("/").stdin(Stdio::null()).output().expect("setpriv and curl run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut answers, mut body) = (Vec::new(), String::new());
    for line in said.lines() {
        match line.strip_suffix(" was the status") {
            Some(status) => {
                // One answer is no JSON, and has many lines.
                let text = std::mem::take(&mut body);
                let is_metrics = text.starts_with("# HELP ");
                let body = serde_json::from_str(&text).ok().or(is_metrics.then_some(Value::Null));
                let body = body.unwrap_or_else(|| panic!("{text} is no JSON"));
                answers.push((status.parse().expect("a status"), code(&body)));
            }
            None => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    assert_eq!(answers.len(), requests.len(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    answers
}

/// Returns the code of a refusal, also where it is told in OpenSearch's form, which has none.
pub fn code(body: &Value) -> String {
    let reason = body["error"]["reason"].as_str().unwrap_or_default();
    let told = if reason.starts_with("this needs the role") {
        "role_too_low"
    } else if reason.contains("has no role here") {
        "no_role"
    } else {
        body["code"].as_str().unwrap_or_default()
    };
    told.to_owned()
}

/// Whether people of other users can be played here.
fn others_can_be_played(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let programs = ["setpriv", "curl"].iter().all(|program| {
        let there = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        there.is_ok_and(|status| status.success())
    });
    if !is_root || !programs {
        not_tested(&format!("{what}: needs root, setpriv and curl"));
    }
    is_root && programs
}

fn daemon() -> Daemon {
    let roles = BTreeMap::from([(VIEWERS, Role::Viewer), (OPERATORS, Role::Operator), (ADMINS, Role::Admin)]);
    let daemon = Daemon::start_for(view(&["db"]), roles);
    for folder in daemon.socket.ancestors().skip(1).take_while(|folder| folder.starts_with(daemon.folder.path())) {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("permissions");
    }
    chown(&daemon.socket, None, Some(CALLERS)).expect("given to the group");
    daemon
}

#[test]
fn no_route_answers_a_user_whose_groups_do_not_allow_it() {
    if !others_can_be_played("roles of groups at the socket") {
        return;
    }
    let mut daemon = daemon();
    let asked_for = daemon.answering(|_| Ok(Done::Acknowledged));
    let requests: Vec<(String, String)> =
        routes().iter().map(|route| (route.method.to_string(), asked(route))).collect();
    assert!(requests.len() > 30, "{requests:?}");
    let (mut commands, mut refused) = (Vec::new(), Vec::new());
    for (groups, role) in [
        (&[][..], None),
        (&[VIEWERS], Some(Role::Viewer)),
        (&[OPERATORS], Some(Role::Operator)),
        (&[VIEWERS, ADMINS], Some(Role::Admin)),
    ] {
        let answers = ask_as(&daemon, groups, &requests);
        for (route, (status, code)) in routes().iter().zip(answers) {
            let way = format!("{} {} as {role:?}: {status} {code}", route.method, route.path);
            match role {
                Some(role) if role >= route.role => assert_ne!(status, 403, "{way}"),
                Some(_) => assert_eq!((status, &*code), (403, "role_too_low"), "{way}"),
                None => assert_eq!((status, &*code), (403, "no_role"), "{way}"),
            }
        }
        let is_refusal = |(_, what): &(String, What)| matches!(what, What::Refused { .. });
        let (refusals, others): (Vec<_>, Vec<_>) = asked_for.try_iter().partition(is_refusal);
        commands.push(others.len());
        refused.push(!refusals.is_empty());
    }
    // Nothing that was refused reached the engine, and what was allowed did.
    let [none, viewer, operator, admin] = commands[..] else { panic!("four roles") };
    assert!(none == 0 && viewer < operator && operator < admin, "{commands:?}");
    // That somebody's change was refused is written down; who has no role is nobody.
    assert_eq!(refused[..2], [false, true]);
}

#[test]
fn a_route_that_is_not_there_is_nobodys_business_without_a_role() {
    if !others_can_be_played("roles of groups at the socket") {
        return;
    }
    let daemon = daemon();
    let missing = [("GET".to_owned(), "/v1/nothing".to_owned()), ("DELETE".to_owned(), "/health".to_owned())];
    assert_eq!(statuses(ask_as(&daemon, &[], &missing)), [403, 403]);
    assert_eq!(statuses(ask_as(&daemon, &[VIEWERS], &missing)), [404, 405]);
    // Below OpenSearch's paths a refusal has OpenSearch's form.
    let output = Command::new("setpriv")
        .args([&format!("--reuid={USER}"), &format!("--regid={CALLERS}"), "--clear-groups", "curl", "--silent"])
        .arg("--unix-socket")
        .arg(&daemon.socket)
        .arg("http://x/_plugins/_sm/policies")
        .current_dir("/")
        .output()
        .expect("it runs");
    let body: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(body["status"], 403);
    assert_eq!(body["error"]["type"], "security_exception");
    assert_eq!(body["error"]["root_cause"][0]["type"], "security_exception");
    assert!(body["error"]["reason"].as_str().is_some_and(|reason| reason.contains("snapkeep.toml")), "{body}");
}

fn statuses(answers: Vec<(u16, String)>) -> Vec<u16> {
    answers.into_iter().map(|(status, _)| status).collect()
}

#[test]
fn more_groups_than_are_asked_for_at_first_are_all_believed() {
    if !others_can_be_played("many groups at the socket") {
        return;
    }
    let daemon = daemon();
    let health = [("GET".to_owned(), "/health".to_owned())];
    let many: Vec<u32> = (50_000..50_200).chain([VIEWERS]).collect();
    assert_ne!(ask_as(&daemon, &many, &health)[0].0, 403);
    assert_eq!(ask_as(&daemon, &many[..200], &health)[0].0, 403);
}

#[test]
fn the_page_about_access_has_every_route_with_its_role() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md")).expect("a page");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `") && line.contains(" /")).collect();
    let row = |route: &Route| {
        let Route { method, path, role, about, .. } = route;
        format!("| `{method} {path}` | {role} | {about} |")
    };
    let routes: Vec<String> = routes().iter().map(row).collect();
    assert_eq!(told, routes, "docs/access.md should say:\n{}", routes.join("\n"));
}
