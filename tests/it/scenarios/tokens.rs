//! Tokens of callers, as the engine gives them and takes them back.

use snapkeep::engine::event::{Done, Refusal, TokenOrder, What};
use snapkeep::lifecycle::role::Role;
use snapkeep::lifecycle::time::Timestamp;

use super::tidying;
use crate::support::stage::{Stage, instant};

fn order(id: &str, name: &str, expires_at: Option<Timestamp>) -> What {
    What::AddToken(TokenOrder { id: id.into(), name: name.into(), role: Role::Viewer, hash: [1; 32], expires_at })
}

fn shown(stage: &Stage) -> Vec<(String, Option<Timestamp>)> {
    let tokens = stage.view.tokens();
    tokens.values().map(|token| (token.name.to_string(), token.last_used_at)).collect()
}

#[test]
fn a_token_is_shown_from_its_making_to_its_removal_across_restarts_and_audited() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
    let Done::Token(record) = stage.tell(order("1", "grafana", None)).expect("made") else { panic!("no token") };
    assert_eq!((&*record.name, &*record.created_by, record.created_at), ("grafana", "uid:0", instant("07:00")));
    stage.tell(order("2", "deploy", Some(instant("09:00")))).expect("made");
    stage.restart("07:10");
    assert_eq!(shown(&stage), [("grafana".to_string(), None), ("deploy".to_string(), None)]);

    let refused = |stage: &mut Stage, what: What| stage.tell(what).expect_err("refused").to_string();
    assert!(refused(&mut stage, order("3", "deploy", None)).contains("already"));
    assert!(refused(&mut stage, order("3", "two words", None)).contains("cannot be called"));
    assert!(refused(&mut stage, order("3", "late", Some(instant("07:00")))).contains("expired"));
    assert!(refused(&mut stage, order("1", "same-id", None)).contains("already"));

    stage.tell(What::RemoveToken { name: "deploy".into() }).expect("removed");
    let gone = stage.tell(What::RemoveToken { name: "deploy".into() }).expect_err("it is gone");
    assert_eq!(gone, Refusal::UnknownToken("deploy".into()));
    stage.restart("07:20");
    assert_eq!(shown(&stage).len(), 1);
    let audit = stage.reader.audit(&snapkeep::journal::AuditQuery { limit: 10, ..Default::default() }).expect("read");
    let rows = audit.iter().map(|row| &row.audit).filter(|row| &*row.who == "uid:0");
    let told: Vec<String> = rows.map(|row| format!("{} {}: {}", row.what, row.subject, row.detail)).collect();
    assert_eq!(
        told,
        [
            "remove token deploy: token removed".to_string(),
            "add token deploy: token made".to_string(),
            "add token grafana: token made".to_string(),
        ]
    );
}

#[test]
fn the_use_of_a_token_is_written_down_once_a_minute() {
    let mut stage = Stage::new("07:00", &[tidying("db", "0 8 * * *", 2)]);
    stage.tell(order("1", "grafana", None)).expect("made");
    let used = |stage: &mut Stage, at: &str| {
        stage.at(at);
        stage.tell(What::UseToken { id: "1".into() }).expect("noted");
        shown(stage)[0].1.expect("used")
    };
    assert_eq!(used(&mut stage, "07:01"), instant("07:01"));
    let before = stage.commits();
    assert_eq!(used(&mut stage, "07:01"), instant("07:01"));
    assert_eq!(stage.commits_since(before), 0, "nothing is written");
    assert_eq!(used(&mut stage, "07:02"), instant("07:02"));
    // One that is gone is nobody's trouble.
    stage.tell(What::UseToken { id: "9".into() }).expect("nothing to note");
}
