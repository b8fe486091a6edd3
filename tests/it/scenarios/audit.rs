//! What stands in the record of what people did, and what of it is known under their keys.

use expect_test::expect;
use snapkeep::engine::event::{
    Concluded, Done, Draft, Expect, Note, OperationKind, Proposal, Recalled, RequestKey, TokenOrder, What, digest,
};
use snapkeep::journal::AuditQuery;
use snapkeep::lifecycle::hold::HoldOrder;
use snapkeep::lifecycle::role::Role;
use snapkeep::lifecycle::workflow::Kind;

use super::{deleting, keep_days, tidying};
use crate::support::stage::Stage;

const NEVER: &str = "0 0 31 12 *";

fn recalled(stage: &mut Stage, key: &str) -> Recalled {
    let key = RequestKey { key: key.into(), fingerprint: "".into() };
    match stage.tell(What::Recall(key)).expect("recalled") {
        Done::Recalled(Some(known)) => *known,
        other => panic!("{other:?}"),
    }
}

fn held(stage: &mut Stage) -> u64 {
    stage.kept.truncate(1);
    stage.at("2 08:00");
    stage.obey_all();
    stage.at("2 08:01");
    stage.tracked("tidy").held().expect("a plan waits").number
}

/// Whoever did it, what was there before, what is there after, and what came of it.
#[test]
fn every_change_leaves_who_what_before_after_and_answer() {
    let mut stage = Stage::new("07:00", &[deleting("db", NEVER, NEVER, 9), tidying("tidy", "0 8 * * *", 4)]);
    keep_days(&mut stage, "tidy", 6);
    let snapshot = Box::new(stage.kept[0].clone());
    let hold = |until, reason: &str| What::Hold {
        repository: "simulated".into(),
        snapshot: snapshot.clone(),
        order: HoldOrder { until, compliance: false, reason: reason.into() },
    };
    let text = "[creation]\n".to_string();
    let folder = std::path::PathBuf::from("/nowhere");
    let proposal = Proposal {
        policy: "new".into(),
        folder,
        draft: Some(Draft { text: text.clone(), enabled: Some(false) }),
        expect: Expect::Nothing,
        is_same: false,
    };
    let Done::Proposed(proposed) = stage.tell(What::Propose(Box::new(proposal))).expect("proposed") else {
        panic!("not proposed")
    };
    let request = proposed.request.expect("something changes");
    let result = Err("the disk is full".to_string());
    let note = Note {
        what: "backup",
        subject: "journal".into(),
        detail: "copied".into(),
        before: None,
        after: Some("journal-1.db".into()),
        is_over: true,
        gone_of: None,
    };
    for what in [
        What::Conclude(Box::new(Concluded { policy: "new".into(), request, enabled: None, result })),
        What::Stop { policy: "db".into() },
        What::Start { policy: "db".into() },
        What::Run { policy: "db".into(), kind: Kind::Creation },
        What::ConfirmClock,
        hold(None, "audit"),
        hold(None, "audit of 2026"),
        What::Release { repository: "simulated".into(), snapshot: snapshot.clone() },
        What::AddToken(TokenOrder {
            id: "1".into(),
            name: "grafana".into(),
            role: Role::Viewer,
            hash: [1; 32],
            expires_at: None,
        }),
        What::RemoveToken { name: "grafana".into() },
        What::BeginTrial { channel: "log".into() },
        What::EndTrial { channel: "log".into(), result: Ok("logged".into()) },
        What::BeginTrial { channel: "log".into() },
        What::EndTrial { channel: "log".into(), result: Err("nobody answers".into()) },
        What::BeginOperation { kind: OperationKind::Maintain, subject: "simulated".into() },
        What::EndOperation { number: 1, result: Ok("3 removed".into()) },
        What::BeginOperation { kind: OperationKind::Verify, subject: "s1".into() },
        What::EndOperation { number: 2, result: Err("damaged".into()) },
        What::Note(Box::new(Note { is_over: false, ..note.clone() })),
        What::Note(Box::new(note)),
    ] {
        let told = format!("{what:?}");
        stage.tell(what).unwrap_or_else(|refusal| panic!("{told}: {refusal}"));
    }
    stage.at("08:00");
    stage.obey_all();
    let plan = held(&mut stage);
    stage.tell(What::Refuse { plan }).expect("refused");
    let plan = {
        stage.at("3 08:00");
        stage.obey_all();
        stage.at("3 08:01");
        stage.tracked("tidy").held().expect("another plan waits").number
    };
    stage.tell(What::Approve { plan }).expect("approved");

    let audit = stage.reader.audit(&AuditQuery { limit: 100, ..AuditQuery::default() }).expect("read");
    let side = |side: &Option<Box<str>>| side.as_deref().unwrap_or("nothing").replace(&digest(&text), "DIGEST");
    let lines: Vec<String> = audit
        .iter()
        .rev()
        .map(|record| &record.audit)
        .filter(|audit| &*audit.who == "uid:0")
        .map(|audit| {
            let answer = audit.answer.as_deref().unwrap_or("not over");
            format!("{} {}: {} → {}; {answer}", audit.what, audit.subject, side(&audit.before), side(&audit.after))
        })
        .collect();
    expect![[r#"
        put new: nothing → DIGEST disabled; not done: the disk is full
        stop db: enabled → stopped; done
        start db: stopped → enabled; done
        run db: waiting → running; done
        confirm_clock clock: believed → believed; done
        hold s1: nothing → without end: audit; done
        hold s1: without end: audit → without end: audit of 2026; done
        release s1: without end: audit of 2026 → nothing; done
        add token grafana: nothing → viewer without end; done
        remove token grafana: viewer without end → nothing; done
        test channel log: nothing → sending; not over
        test channel log: sending → delivered; done
        test channel log: nothing → sending; not over
        test channel log: sending → not delivered; failed
        maintain simulated: operation 1 running → succeeded; done
        verify s1: operation 2 running → failed; failed
        backup journal: nothing → journal-1.db; not over
        backup journal: nothing → journal-1.db; done
        refuse tidy: held → refused; done
        run tidy: waiting → running; done
        approve tidy: held → approved; done"#]]
    .assert_eq(&lines.join("\n"));
}

/// S28: whoever lost the answer learns which run it was, and so does whoever approved a plan.
#[test]
fn what_was_begun_is_known_by_its_key_even_if_the_answer_was_never_kept() {
    let mut stage = Stage::new("07:00", &[tidying("tidy", "0 8 * * *", 4)]);
    keep_days(&mut stage, "tidy", 6);
    stage.at("08:00");
    stage.obey_all();
    let plan = held(&mut stage);
    let Done::Run { run_id, .. } = stage.tell_under(Some("a"), What::Approve { plan }).expect("approved") else {
        panic!("no run")
    };
    stage.obey_all();
    let operation = What::BeginOperation { kind: OperationKind::Maintain, subject: "simulated".into() };
    let Done::Operation(begun) = stage.tell_under(Some("m"), operation).expect("begun") else { panic!("no operation") };
    stage.kill();
    stage.restart("2 09:00");
    let known = recalled(&mut stage, "a");
    assert_eq!((known.run, known.answer.as_deref()), (Some((run_id.clone(), None)), Some("done")));
    let known = recalled(&mut stage, "m");
    assert_eq!((known.operation, known.answer), (Some(begun.number), None), "it was begun, and no more is promised");
    // The plan waits no more; the key still says what came of it.
    let again = stage.tell_under(Some("a"), What::Approve { plan }).expect("the same");
    assert!(matches!(again, Done::Run { run_id: same, .. } if same == run_id));
}
