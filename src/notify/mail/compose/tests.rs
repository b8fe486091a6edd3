use expect_test::{Expect, expect};

use super::*;
use crate::lifecycle::notice::{Event, Facts};
use crate::lifecycle::time::{Span, Timestamp};

fn settings() -> Mail {
    Mail {
        host: "mail.example.org".into(),
        port: 587,
        tls: crate::lifecycle::channel::mail::Tls::StartTls,
        ca: None,
        login: None,
        from: Mailbox { name: Some("Snapkeep, die Bücherei".into()), address: "snapkeep@example.org".into() },
        to: vec![Mailbox { name: None, address: "ops@example.org".into() }],
        time_limit: Span::parse("30s").expect("a span"),
    }
}

fn notice() -> Message {
    Message {
        key: "run-7/failure/ops".into(),
        installation: "0123456789abcdef0123456789abcdef".into(),
        host: "backup1.example.org".into(),
        policy: Some("db".into()),
        run_id: Some("run-7".into()),
        event: Event::Failure,
        subject: "db: creation failed".into(),
        facts: Facts {
            workflow: Some("creation".into()),
            snapshot: Some("db-20260301t020000z".into()),
            what: "the repository is full".into(),
            why: Some("restic ended with 1:\nwrite: no space left & <nothing> \"done\"".into()),
            keeps: Some("7 good snapshots, the newest of 2026-02-28T02:00:00Z".into()),
            next: Some("creation at 2026-03-02T02:00:00Z".into()),
            look: Some("snapkeep explain db".into()),
        },
        at: Timestamp::from_seconds(1_772_330_400),
        count: 1,
        latest_at: Timestamp::from_seconds(1_772_330_400),
        attempt: 1,
        sent_at: Timestamp::from_seconds(1_772_330_460),
    }
}

fn composed(notice: &Message) -> String {
    let mail = compose(&settings(), notice).expect("a mail");
    assert!(mail.is_ascii(), "a server need not take more");
    assert!(mail.split(|byte| *byte == b'\n').all(|line| line.len() < 998), "no server takes longer lines");
    String::from_utf8(mail).expect("ASCII").replace("\r\n", "\n")
}

fn head(notice: &Message) -> String {
    composed(notice).split("\n\n").next().unwrap_or_default().to_owned()
}

fn check(said: &str, expected: Expect) {
    expected.assert_eq(said);
}

#[test]
fn the_head_says_who_what_and_when_and_keeps_a_policys_mails_together() {
    check(
        &head(&notice()),
        expect![[r#"
        From: =?utf-8?b?U25hcGtlZXAsIGRpZSBCw7xjaGVyZWk=?= <snapkeep@example.org>
        Subject: [snapkeep] db: creation failed (backup1.example.org)
        Date: Sun, 01 Mar 2026 02:01:00 +0000
        Message-ID: <21c3b71cc39c6516cdf17acf1f829914@0123456789abcdef0123456789abcdef>
        In-Reply-To: <3482872d854c36d15bec263520bc92e2@0123456789abcdef0123456789abcdef>
        References: <3482872d854c36d15bec263520bc92e2@0123456789abcdef0123456789abcdef>
        Auto-Submitted: auto-generated
        X-Snapkeep-Event: failure
        X-Snapkeep-Key: run-7/failure/ops
        X-Snapkeep-Policy: db
        To: ops@example.org
        MIME-Version: 1.0
        Content-Type: multipart/alternative;
         boundary="41e9988f1204ee53518b6772a3dbd59b""#]],
    );
}

#[test]
fn plain_text_says_what_people_want_to_know_first() {
    check(
        &plain(&notice()),
        expect![[r#"
        db: creation failed

        What happened   the repository is full
        Why             restic ended with 1:
                        write: no space left & <nothing> "done"
        Kept now        7 good snapshots, the newest of 2026-02-28T02:00:00Z
        Next            creation at 2026-03-02T02:00:00Z
        Look closer     snapkeep explain db

        Event           failure (error)
        When            2026-03-01T02:00:00Z
        Policy          db
        Workflow        creation
        Snapshot        db-20260301t020000z
        Run             run-7
        Host            backup1.example.org
    "#]],
    );
    let several = Message {
        count: 3,
        latest_at: Timestamp::from_seconds(1_772_337_600),
        policy: None,
        run_id: None,
        event: Event::Clock,
        subject: "the clock is doubted".into(),
        facts: Facts { what: "it stepped by 10 years".into(), ..Facts::default() },
        ..notice()
    };
    check(
        &plain(&several),
        expect![[r#"
        the clock is doubted

        What happened   it stepped by 10 years

        Event           clock (error)
        When            3 times from 2026-03-01T02:00:00Z to 2026-03-01T04:00:00Z; this is the latest
        Host            backup1.example.org
    "#]],
    );
    let subject = Head::of(&several).subject;
    assert_eq!(subject, "[snapkeep] the clock is doubted, 3 times (backup1.example.org)");
}

#[test]
fn html_says_the_same_and_shows_what_it_asks_of_people() {
    check(
        &html(&notice()),
        expect![[r#"
        <!DOCTYPE html>
        <html><body style="margin:0;padding:16px;font:15px/1.45 sans-serif;color:#222;background:#fff">
        <div style="border-left:5px solid #c53030;padding:0 0 0 14px;max-width:720px">
        <div style="color:#c53030;font-size:13px">failure &middot; error</div>
        <div style="font-size:18px;font-weight:bold;margin:2px 0 10px">db: creation failed</div>
        <table style="border-collapse:collapse">
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">What happened</td><td style="padding:3px 0;white-space:pre-wrap">the repository is full</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Why</td><td style="padding:3px 0;white-space:pre-wrap">restic ended with 1:<br>write: no space left &amp; &lt;nothing&gt; &quot;done&quot;</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Kept now</td><td style="padding:3px 0;white-space:pre-wrap">7 good snapshots, the newest of 2026-02-28T02:00:00Z</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Next</td><td style="padding:3px 0;white-space:pre-wrap">creation at 2026-03-02T02:00:00Z</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Look closer</td><td style="padding:3px 0;font-family:monospace">snapkeep explain db</td></tr>
        </table>
        <table style="border-collapse:collapse;margin-top:12px;font-size:13px">
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">When</td><td style="padding:3px 0;color:#444">2026-03-01T02:00:00Z</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Policy</td><td style="padding:3px 0;color:#444">db</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Workflow</td><td style="padding:3px 0;color:#444">creation</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Snapshot</td><td style="padding:3px 0;color:#444">db-20260301t020000z</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Run</td><td style="padding:3px 0;color:#444">run-7</td></tr>
        <tr><td style="padding:3px 16px 3px 0;color:#666;vertical-align:top;white-space:nowrap">Host</td><td style="padding:3px 0;color:#444">backup1.example.org</td></tr>
        </table>
        </div>
        </body></html>
    "#]],
    );
    let good = Message { event: Event::Recovered, ..notice() };
    assert!(html(&good).contains("#2f7d4f") && html(&good).contains("recovered &middot; info"));
    assert!(html(&Message { event: Event::Held, ..notice() }).contains("#b7791f"));
}

#[test]
fn the_same_notice_has_the_same_identity_whatever_else_is_new() {
    let id = |notice: &Message| Head::of(notice).id;
    let again = Message { attempt: 9, sent_at: Timestamp::from_seconds(1_900_000_000), count: 2, ..notice() };
    assert_eq!(id(&notice()), id(&again));
    assert_ne!(id(&notice()), id(&Message { key: "run-8/failure/ops".into(), ..notice() }));
    let thread = |notice: &Message| Head::of(notice).thread;
    assert_eq!(thread(&notice()), thread(&Message { key: "other".into(), event: Event::Stale, ..notice() }));
    assert_ne!(thread(&notice()), thread(&Message { policy: Some("wiki".into()), ..notice() }));
    assert_ne!(thread(&notice()), thread(&Message { installation: "other".into(), ..notice() }));
    for (installation, host, domain) in [
        ("", "backup1", "backup1"),
        ("", "", "localhost"),
        ("a b>\r\nBcc: x@y.example", "h", "abBccxy.example"),
        ("-.-", "..", "localhost"),
    ] {
        let notice = Message { installation: installation.into(), host: host.into(), ..notice() };
        assert!(id(&notice).ends_with(&format!("@{domain}>")), "{}", id(&notice));
    }
}

#[test]
fn nothing_that_is_said_adds_a_header_or_an_element() {
    let evil = "x\r\nBcc: evil@example.org\r\n\r\n<script>alert(1)</script>\u{0}\u{2028}\u{202e}\n.\n--";
    let notice = Message {
        key: evil.into(),
        installation: evil.into(),
        host: evil.into(),
        policy: Some(evil.into()),
        run_id: Some(evil.into()),
        subject: evil.into(),
        facts: Facts {
            workflow: Some(evil.into()),
            snapshot: Some(evil.into()),
            what: evil.into(),
            why: Some(evil.into()),
            keeps: Some(evil.into()),
            next: Some(evil.into()),
            look: Some(evil.into()),
        },
        ..notice()
    };
    let names = |head: &str| -> Vec<String> {
        let own = head.lines().filter(|line| !line.starts_with([' ', '\t']));
        own.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&head(&notice)), names(&head(&super::tests::notice())));
    assert!(!html(&notice).contains("<script"), "{}", html(&notice));
    for hidden in ['\0', '\r', '\u{2028}', '\u{202e}'] {
        assert!(!plain(&notice).contains(hidden) && !html(&notice).contains(hidden), "{hidden:?}");
    }
    let mut settings = settings();
    settings.from.name = Some(evil.into());
    settings.to[0].name = Some(evil.into());
    let mail = String::from_utf8(compose(&settings, &notice).expect("a mail")).expect("ASCII");
    assert!(!mail.lines().any(|line| line.starts_with("Bcc: evil") && !line.contains("<script")), "{mail}");
    settings.to[0].address = "a@b.example\r\nRCPT TO:<c@d.example>".into();
    assert!(compose(&settings, &notice).is_err());
}

#[test]
fn whatever_is_long_or_out_of_time_is_cut_to_what_a_mail_can_say() {
    let long = Message {
        subject: "ü".repeat(5_000),
        facts: Facts { what: "x".repeat(50_000), ..Facts::default() },
        sent_at: Timestamp::from_millis(i64::MAX),
        ..notice()
    };
    let mail = composed(&long);
    assert!(mail.len() < 60_000 && mail.contains("Date: Fri, 31 Dec 9999 23:59:59 +0000"), "{}", head(&long));
    let early = Message { sent_at: Timestamp::from_millis(i64::MIN), ..notice() };
    assert!(head(&early).contains("Date: Thu, 01 Jan 1970 00:00:00 +0000"), "{}", head(&early));
}
