//! What people are told: one notice a settled run and channel, until it is delivered or visibly
//! cannot be.

use snapkeep::journal::change::Notice;
use snapkeep::journal::record::{NoticeQuery, NoticeRecord, NoticeState};
use snapkeep::lifecycle::notice::Event;
use snapkeep::lifecycle::workflow::Fault;

use super::creating;
use crate::support::stage::Stage;

fn all(stage: &Stage) -> Vec<NoticeRecord> {
    stage.reader.notices(&NoticeQuery { limit: 100, ..NoticeQuery::default() }).expect("notices")
}

/// How many wait, as readers see it.
fn waiting(stage: &Stage) -> u64 {
    stage.view.daemon().notices.values().map(|waiting| waiting.pending).sum()
}

fn failed(channels: &[&str]) -> Stage {
    let mut stage =
        Stage::new("08:55", &[creating("db", "0 9 * * *").channels(channels).conditions(&[Event::Failure])]);
    stage.at("09:00");
    stage.refuse("db describe", Fault::permanent("access denied"));
    stage
}

#[test]
fn every_settled_run_owes_each_channel_one_notice_and_each_try_is_counted_first() {
    let stage = failed(&["log", "pager"]);
    let rows = all(&stage);
    assert_eq!(rows.len(), 2);
    // Handed out at the same instant, without any further event.
    let mut handed: Vec<(&str, bool)> =
        stage.notices.iter().map(|(notice, known)| (&*notice.channel, *known)).collect();
    handed.sort_unstable();
    assert_eq!(handed, [("log", true), ("pager", false)]);
    for row in &rows {
        assert_eq!((row.state, row.attempts), (NoticeState::Pending, 1));
        assert!(row.notice.facts.why.as_deref() == Some("access denied"));
    }
}

#[test]
fn retries_of_a_run_tell_nobody() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    stage.at("09:00");
    stage.refuse("db describe", Fault::transient("reset"));
    stage.at("09:01");
    stage.obey_all();
    assert_eq!(stage.runs("db"), ["creation of 09:00 by schedule: succeeded"]);
    assert!(all(&stage).is_empty());
}

#[test]
fn a_notice_that_was_taken_is_not_sent_again() {
    let mut stage = failed(&["log"]);
    let key = stage.notices[0].0.key.clone();
    stage.deliver(&key, Ok(()));
    stage.restart("2 08:00");
    assert_eq!(stage.notices.len(), 1);
    assert_eq!(all(&stage)[0].state, NoticeState::Delivered);
}

#[test]
fn a_sender_that_does_not_report_is_asked_again() {
    let mut stage = failed(&["log"]);
    stage.at("09:01:59");
    assert_eq!(stage.notices.len(), 1);
    stage.at("09:02");
    assert_eq!(stage.notices.len(), 2);
    assert_eq!(all(&stage)[0].attempts, 2);
    stage.restart("09:02:01");
    stage.at("09:04");
    assert_eq!(stage.notices.len(), 3);
    let keys: Vec<&str> = stage.notices.iter().map(|(Notice { key, .. }, _)| &**key).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "a receiver can tell a repeat: {keys:?}");
}

#[test]
fn a_channel_that_is_missing_is_tried_ever_more_rarely_and_given_up_after_a_day() {
    let mut stage = failed(&["pager"]);
    let mut tried_at = Vec::new();
    for minute in 1..=26 * 60 {
        for (notice, known) in std::mem::take(&mut stage.notices) {
            assert!(!known);
            tried_at.push(stage.now.uptime);
            stage.deliver(&notice.key, Err("there is no channel `pager`".into()));
        }
        let at = 9 * 60 + minute;
        stage.at(&format!("{} {:02}:{:02}", at / 1440 + 1, at / 60 % 24, at % 60));
    }
    let waits: Vec<i64> = tried_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= 60_000 && waits[6] >= 480_000, "{waits:?}");
    assert!((100..250).contains(&tried_at.len()), "{}", tried_at.len());
    let row = all(&stage).remove(0);
    assert_eq!(row.state, NoticeState::Undeliverable);
    let trouble = row.trouble.expect("trouble");
    assert_eq!(trouble, format!("given up after {} tries: there is no channel `pager`", row.attempts));
}

#[test]
fn a_notice_that_grew_old_while_nobody_was_there_is_tried_before_it_is_given_up() {
    let mut stage = failed(&["log"]);
    stage.restart("4 09:00");
    assert_eq!(stage.notices.len(), 2);
    let key = stage.notices[1].0.key.clone();
    stage.deliver(&key, Ok(()));
    assert_eq!(all(&stage)[0].state, NoticeState::Delivered);
}

#[test]
fn what_people_did_not_ask_to_be_told_is_not_told() {
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *")]);
    stage.at("09:00");
    stage.obey_all();
    assert!(all(&stage).is_empty());
    let mut stage = Stage::new("08:55", &[creating("db", "0 9 * * *").tells_all()]);
    stage.at("09:00");
    stage.obey_all();
    assert_eq!(stage.notices.len(), 1);
}

#[test]
fn many_notices_at_once_all_go_out() {
    let channels: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
    let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
    let stage = failed(&channels);
    assert_eq!(stage.notices.len(), 200);
}

#[test]
fn how_many_notices_wait_is_shown() {
    let mut stage = failed(&["log", "pager"]);
    assert_eq!(waiting(&stage), 2);
    let key = stage.notices[0].0.key.clone();
    stage.deliver(&key, Ok(()));
    assert_eq!(waiting(&stage), 1);
    stage.restart("09:01");
    assert_eq!(waiting(&stage), 1);
}
