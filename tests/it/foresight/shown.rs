//! What will be, as it is answered and drawn.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use snapkeep::cli::calendar::{Columns, draw};
use snapkeep::cli::times::Times;
use snapkeep::drivers::{Abilities, Call, Created, Driver, Found, Order, Reply};
use snapkeep::engine::event::{Bearings, Done, Survey, What};
use snapkeep::http::body::ForeseenBody;
use snapkeep::lifecycle::plan::Target;
use snapkeep::lifecycle::snapshot::{Listing, SnapshotName};
use snapkeep::lifecycle::workflow::Fault;
use snapkeep::roster::{Entry, Repository};

use super::{Case, DAY_MS, HOUR_MS, NOW, case, listing, owner};
use crate::http::{Daemon, view};
use crate::support::roster::roster;

/// A repository that holds this and nothing else happens in.
#[derive(Debug)]
struct Shelf(Listing);

fn refused<'a, T: Send + 'a>() -> Reply<'a, T> {
    Box::pin(std::future::ready(Err(Fault::permanent("it is only looked at"))))
}

impl Driver for Shelf {
    fn abilities(&self) -> Abilities {
        crate::support::roster::Unasked { effects_max: 1 }.abilities()
    }

    fn create<'a>(&'a self, _order: &'a Order, _call: &'a Call) -> Reply<'a, Created> {
        refused()
    }

    fn describe<'a>(&'a self, _name: &'a SnapshotName, _call: &'a Call) -> Reply<'a, Option<Found>> {
        refused()
    }

    fn list<'a>(&'a self, _call: &'a Call) -> Reply<'a, Listing> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn delete<'a>(&'a self, _target: &'a Target, _call: &'a Call) -> Reply<'a, ()> {
        refused()
    }
}

/// A daemon with the policy of a case in force.
fn daemon(case: &Case) -> Daemon {
    let mut daemon = Daemon::start(view(&["db"]));
    let repository = Repository::by_hand("simulated", "simulated", Arc::new(Shelf(case.listing.clone())));
    let entry = Arc::new(Entry::by_hand(case.policy.clone(), Arc::new(repository), Value::Null));
    let grounds = case.policy.deletion.as_ref().map(|_| Box::new(case.grounds.clone()));
    let survey = Survey { entry, owner: owner(), grounds, holds: std::sync::Arc::default(), now: NOW };
    let bearings = Bearings {
        roster: roster(&[]),
        installation: "house".into(),
        clock: case.grounds.clock,
        age_locks: Arc::default(),
        holds: Default::default(),
    };
    let _seen = daemon.answering(move |what| match what {
        What::Bearings => Ok(Done::Bearings(Box::new(bearings.clone()))),
        _ => Ok(Done::Survey(Box::new(survey.clone()))),
    });
    daemon
}

fn drawn(case: &Case, days: i64, width: usize) -> String {
    let times = Times::utc(NOW);
    let until = NOW.plus(days * DAY_MS).millis();
    let columns = Columns::new(&times, until, width);
    let order = json!({"until": until, "looks": columns.looks()}).to_string();
    let (status, body) = daemon(case).request("POST", "/v1/policies/db/foresight", "", order.as_bytes());
    assert_eq!(status, 200, "{body}");
    let body: ForeseenBody = serde_json::from_value(body).expect("a foresight");
    let lines = draw(&body.in_force.expect("one"), &columns, &times);
    let line = |pieces: &Vec<(_, String)>| pieces.iter().map(|(_, text)| text.as_str()).collect::<String>();
    lines.iter().map(|pieces| format!("{}\n", line(pieces).trim_end())).collect()
}

fn check(text: &str, expected: &Expect) {
    assert!(text.lines().all(|line| line.chars().count() <= 120));
    expected.assert_eq(text);
}

/// Daily ones for a week and a bit, of which nine stay and a plan of five would be held.
fn daily() -> Case {
    let mut case = case("0 2 * * *", "0 4 * * *", Some("7d"), Some(9), 2);
    case.listing = listing(&(0..6).map(|days| days * DAY_MS).collect::<Vec<_>>());
    case
}

#[test]
fn a_calendar_fits_a_narrow_terminal_and_fills_a_wide_one() {
    check(
        &drawn(&daily(), 14, 40),
        &expect![[r#"
                          Mar 2026
                           02     09
        2026-02-24 02:00  aa
        2026-02-25 02:00  aaa
        2026-02-26 02:00  aaaa
        2026-02-27 02:00  aaaaa
        2026-02-28 02:00  maaaaa
        2026-03-01 02:00  Nmaaaaa
        2026-03-02 02:00   Nmaaaaa
        2026-03-03 02:00    Nmaaaaa
        2026-03-04 02:00     Nmaaaaa
        2026-03-05 02:00      Nmaaaaa
        2026-03-06 02:00       Nmaaaaa
        2026-03-07 02:00        Nmaaaaa
        2026-03-08 02:00         Nmaaaaaa
        2026-03-09 02:00          Nmaaaaa
        2026-03-10 02:00           Nmaaaa
        2026-03-11 02:00            Nmaaa
        2026-03-12 02:00             Nmaa
        2026-03-13 02:00              Nma
        2026-03-14 02:00               Nm
        2026-03-15 02:00                N
        snapshots         ▆▇▇▇▇▇▇▇▇▇▇▇▇▇█

        N newest, m min_count, a within max_age and max_count
    "#]],
    );
    check(
        &drawn(&daily(), 28, 100),
        &expect![[r#"
                              Mar 2026
                               02     09     16     23
            2026-02-24 02:00  aa
            2026-02-25 02:00  aaa
            2026-02-26 02:00  aaaa
            2026-02-27 02:00  aaaaa
            2026-02-28 02:00  maaaaa
            2026-03-01 02:00  Nmaaaaa
            2026-03-02 02:00   Nmaaaaa
            2026-03-03 02:00    Nmaaaaa
            2026-03-04 02:00     Nmaaaaa
            2026-03-05 02:00      Nmaaaaa
            2026-03-06 02:00       Nmaaaaa
            2026-03-07 02:00        Nmaaaaa
            2026-03-08 02:00         Nmaaaaa
            2026-03-09 02:00          Nmaaaaa
            2026-03-10 02:00           Nmaaaaa
            2026-03-11 02:00            Nmaaaaa
            2026-03-12 02:00             Nmaaaaa
            2026-03-13 02:00              Nmaaaaa
            2026-03-14 02:00               Nmaaaaa
            2026-03-15 02:00                Nmaaaaa
            2026-03-16 02:00                 Nmaaaaa
            2026-03-17 02:00                  Nmaaaaa
            2026-03-18 02:00                   Nmaaaaa
            2026-03-19 02:00                    Nmaaaaa
            2026-03-20 02:00                     Nmaaaaa
            2026-03-21 02:00                      Nmaaaaa
            2026-03-22 02:00                       Nmaaaaaa
            2026-03-23 02:00                        Nmaaaaa
            2026-03-24 02:00                         Nmaaaa
            2026-03-25 02:00                          Nmaaa
            2026-03-26 02:00                           Nmaa
            2026-03-27 02:00                            Nma
            2026-03-28 02:00                             Nm
            2026-03-29 02:00                              N
            snapshots         ▆▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇█

            N newest, m min_count, a within max_age and max_count
        "#]],
    );
}

#[test]
fn many_snapshots_are_drawn_by_the_day_and_by_the_month() {
    let case = super::case("0 * * * *", "0 2 * * *", None, Some(48), 1);
    check(
        &drawn(&case, 7, 60),
        &expect![[r#"
                        Mar 01   Mar 03   Mar 05
                        00 18 12 06 00 18 12 06 00 18
        2026-03-01 ×21  NNNNaaaaaaa-
        2026-03-02 ×24      NNNNaaaaaaa-
        2026-03-03 ×24          NNNNaaaaaaa-
        2026-03-04 ×24              NNNNaaaaaaa-
        2026-03-05 ×24                  NNNNaaaaaaa-
        2026-03-06 ×24                      NNNNaaaaa
        2026-03-07 ×24                          NNNNa
        2026-03-08 ×3                               N
        snapshots       ▁▂▂▃▄▄▅▆▆▇██▆▇██▆▇██▆▇██▆▇██▆

        N newest, a within max_age and max_count, - to go by the next deletion
    "#]],
    );
    let case = super::case("0 2 * * *", "0 2 * * *", Some("90d"), None, 7);
    check(
        &drawn(&case, 365, 80),
        &expect![[r#"
                     2026                                         2027
                     Feb Mar Apr May Jun Jul Aug Sep Oct Nov  Dec Jan Feb
        2026-03 ×30   NNNNmaaaaaaaaaaaa
        2026-04 ×30       NNNNmaaaaaaaaaaaa
        2026-05 ×31           NNNNNaaaaaaaaaaaa
        2026-06 ×30                NNNNmaaaaaaaaaaaa
        2026-07 ×31                    NNNNmaaaaaaaaaaaa
        2026-08 ×31                        NNNNNmaaaaaaaaaaa-
        2026-09 ×30                             NNNNmaaaaaaaaaaaa
        2026-10 ×31                                 NNNNmaaaaaaaaaaaa
        2026-11 ×30                                     NNNNNmaaaaaaaaaaa-
        2026-12 ×31                                          NNNNmaaaaaaaaa
        2027-01 ×31                                              NNNNNaaaaa
        2027-02 ×28                                                   NNNNm
        2027-03                                                           N
        snapshots     ▁▂▂▃▄▄▅▅▆▇▇██████████████████████████████████████████

        N newest, m min_count, a within max_age and max_count, - to go by the next deletion
    "#]],
    );
    // By keep rules: a letter for the coarsest that holds one.
    let case = super::keeping("0 */4 * * *", "0 */4 * * *", [6, 5, 3, 2], None);
    check(
        &drawn(&case, 42, 80),
        &expect![[r#"
                           Mar 2026                       Apr 2026
                            02     09     16     23     30     06
        2026-02-23 +6 ×5   NMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM
        2026-03-02 +6 ×10   NNNNNNNWWWWWWWWWWWWWW
        2026-03-09 +6 ×10          NNNNNNNWWWWWWWWWWWWWW
        2026-03-16 +6 ×10                 NNNNNNNWWWWWWWWWWWWWW
        2026-03-23 +6 ×10                        NNNNNNNWWWWWWWWWWWWWW
        2026-03-30 +6 ×11                               NNNNNNNMMMMMMM
        2026-04-06 +6 ×10                                      NNNNNNN
        snapshots          ▄▅▆▇▇██████████████████████████▇▇██████████

        N newest, M monthly, W weekly
    "#]],
    );
    // Hours.
    let case = super::case("0 * * * *", "30 * * * *", None, Some(3), 1);
    check(
        &drawn(&case, 1, 60),
        &expect![[r#"
                          Mar 01
                          02 05 08 11 14 17 20 23
        2026-03-01 03:00   Naa
        2026-03-01 04:00    Naa
        2026-03-01 05:00     Naa
        2026-03-01 06:00      Naa
        2026-03-01 07:00       Naa
        2026-03-01 08:00        Naa
        2026-03-01 09:00         Naa
        2026-03-01 10:00          Naa
        2026-03-01 11:00           Naa
        2026-03-01 12:00            Naa
        2026-03-01 13:00             Naa
        2026-03-01 14:00              Naa
        2026-03-01 15:00               Naa
        2026-03-01 16:00                Naa
        2026-03-01 17:00                 Naa
        2026-03-01 18:00                  Naa
        2026-03-01 19:00                   Naa
        2026-03-01 20:00                    Naa
        2026-03-01 21:00                     Naa
        2026-03-01 22:00                      Naa
        2026-03-01 23:00                       Naa-
        2026-03-02 00:00                        Naa
        2026-03-02 01:00                         Na
        2026-03-02 02:00                          N
        snapshots          ▂▄▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆█

        N newest, a within max_age and max_count, - to go by the next deletion
    "#]],
    );
}

#[test]
fn a_calendar_marks_where_a_guard_holds_plans() {
    let mut case = daily();
    case.listing = listing(&(0..6).map(|days| days * DAY_MS + 8 * DAY_MS).collect::<Vec<_>>());
    check(
        &drawn(&case, 14, 60),
        &expect![[r#"
                              Mar 2026
                               02     09
            2026-02-16 02:00  g--------------
            2026-02-17 02:00  g--------------
            2026-02-18 02:00  g--------------
            2026-02-19 02:00  g--------------
            2026-02-20 02:00  m--------------
            2026-02-21 02:00  Nm-------------
            2026-03-02 02:00   Nmaaaaa-------
            2026-03-03 02:00    Nmaaaaa------
            2026-03-04 02:00     Nmaaaaa-----
            2026-03-05 02:00      Nmaaaaa----
            2026-03-06 02:00       Nmaaaaa---
            2026-03-07 02:00        Nmaaaaa--
            2026-03-08 02:00         Nmaaaaaa
            2026-03-09 02:00          Nmaaaaa
            2026-03-10 02:00           Nmaaaa
            2026-03-11 02:00            Nmaaa
            2026-03-12 02:00             Nmaa
            2026-03-13 02:00              Nma
            2026-03-14 02:00               Nm
            2026-03-15 02:00                N
            snapshots         ▃▃▄▄▄▅▅▆▆▆▇▇███
            held               !!!!!!!!!!!!!

            N newest, m min_count, a within max_age and max_count, g spared by a guard, - to go by the next deletion
        "#]],
    );
}

#[test]
fn bad_orders_are_refused_with_what_is_wrong_with_them() {
    let daemon = daemon(&daily());
    let now = NOW.millis();
    let far = NOW.plus(100_000 * DAY_MS).millis();
    let good = now + DAY_MS;
    let looks: Vec<i64> = (0..513).map(|number| now + number).collect();
    let foresight = "/v1/policies/db/foresight";
    let plan = "/v1/policies/db/plan";
    let broken = json!({"file": "/x/db.toml", "text": "[creation\n"});
    for (path, order, status, code) in [
        (foresight, json!({"until": now}), 400, "time_in_past"),
        (foresight, json!({"until": now - 1}), 400, "time_in_past"),
        (foresight, json!({"until": far}), 400, "too_far"),
        (foresight, json!({"until": "soon"}), 400, "bad_body"),
        (foresight, json!({"until": good, "more": 1}), 400, "bad_body"),
        (foresight, json!({"until": good, "looks": [good, now]}), 400, "bad_looks"),
        (foresight, json!({"until": good, "looks": [good + 1]}), 400, "bad_looks"),
        (foresight, json!({"until": good, "looks": [now - DAY_MS]}), 400, "bad_looks"),
        (foresight, json!({"until": good, "looks": looks}), 400, "bad_looks"),
        (foresight, json!({"until": good, "policy": broken}), 422, "bad_policy"),
        (foresight, json!({"until": good, "policy": {"file": "x"}}), 400, "bad_body"),
        (plan, json!({"policy": broken}), 422, "bad_policy"),
        (plan, json!({}), 400, "bad_body"),
        (plan, json!({"policy": {"file": "x", "text": "x".repeat(1 << 20)}}), 413, "body_too_large"),
    ] {
        let (found, body) = daemon.request("POST", path, "", order.to_string().as_bytes());
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{path} {body}");
    }
    for (path, status, code) in [
        (format!("{plan}?at={now}"), 400, "time_in_past"),
        (format!("{plan}?at={far}"), 400, "too_far"),
        (format!("{plan}?at=x"), 400, "bad_query"),
        (format!("{plan}?when={good}"), 400, "bad_query"),
    ] {
        let (found, body) = daemon.get(&path);
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{path} {body}");
    }
    let (_, body) = daemon.request("POST", plan, "", json!({"policy": broken}).to_string().as_bytes());
    assert!(body["detail"].as_str().expect("a text").starts_with("/x/db.toml:1:"), "{body}");

    let busy = self::daemon(&super::case("* * * * *", "* * * * *", None, Some(3), 1));
    let order = json!({"until": now + 400 * DAY_MS}).to_string();
    let (found, body) = busy.request("POST", foresight, "", order.as_bytes());
    assert_eq!((found, body["code"].as_str()), (400, Some("too_far")), "{body}");
    assert!(body["hint"].as_str().expect("a hint").starts_with("name a time before 2026-04-0"), "{body}");

    let mut keeps_all = daily();
    keeps_all.policy.deletion = None;
    let keeps_all = self::daemon(&keeps_all);
    let order = json!({"until": good}).to_string();
    assert_eq!(keeps_all.request("POST", foresight, "", order.as_bytes()).0, 409);
    assert_eq!(keeps_all.get(plan).0, 409);
}

#[test]
fn a_plan_says_until_when_each_stays_now_and_then() {
    let mut case = daily();
    case.listing.snapshots.truncate(2);
    let daemon = daemon(&case);
    let (status, body) = daemon.get("/v1/policies/db/plan");
    assert_eq!(status, 200, "{body}");
    let until = |body: &Value, index: usize| body["entries"][index]["until"].clone();
    let goes = NOW.plus(7 * DAY_MS + 2 * HOUR_MS).millis();
    let none = json!({"time": goes, "limit": "max_age 7d", "held": false, "while": null, "beyond": null});
    assert_eq!(until(&body, 0)["time"], json!(goes - DAY_MS), "{body}");
    let newest =
        json!({"time": goes, "limit": "max_age 7d", "held": false, "while": "it is the newest", "beyond": null});
    assert_eq!(until(&body, 1), newest);
    let at = NOW.plus(3 * DAY_MS + HOUR_MS);
    let (_, then) = daemon.get(&format!("/v1/policies/db/plan?at={}", at.millis()));
    assert_eq!((&then["time"], &then["own"]), (&json!(at.millis()), &json!(5)), "{then}");
    assert_eq!(until(&then, 1), none);
}
