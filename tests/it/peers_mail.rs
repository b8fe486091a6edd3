//! Mail that a real Postfix takes or refuses.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use snapkeep::engine::perform;
use snapkeep::lifecycle::channel::Rules;
use snapkeep::lifecycle::channel::mail::{Mail, Tls};
use snapkeep::lifecycle::notice::Event;
use snapkeep::notify::mail::Sender;
use snapkeep::notify::{Again, Conversation, Trouble};
use snapkeep::roster::Roster;

use crate::mail::{deliver, holds_no_password, login, mailbox, message, settings};
use crate::support::postfix::Postfix;
use crate::support::roster::{PolicyText, channel_with, roster};
use crate::support::stage::Stage;
use crate::support::tls;

/// What a channel says that speaks to Postfix.
fn to_postfix(postfix: &Postfix, tls: Tls) -> Mail {
    let (port, login) = match tls {
        Tls::StartTls => (postfix.starttls, login(postfix.user, &postfix.password)),
        Tls::Implicit => (postfix.implicit, login(postfix.user, &postfix.password)),
        Tls::None => (postfix.open, None),
    };
    Mail { login, ca: (tls != Tls::None).then(|| postfix.ca.clone()), ..settings(tls, port) }
}

/// Returns the value of a header, unfolded.
fn header(mail: &str, name: &str) -> String {
    let head = mail.split("\n\n").next().unwrap_or_default().replace("\n ", " ").replace("\n\t", " ");
    let found: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
    assert_eq!(found.len(), 1, "{name} is there {} times:\n{head}", found.len());
    found[0].to_owned()
}

#[tokio::test]
async fn postfix_takes_a_notice_by_every_tls_and_twice_under_one_identity() {
    let Some(postfix) = Postfix::start("mail that Postfix takes") else { return };
    let password = fs::read_to_string(&postfix.password).expect("a password");
    let mut identities = Vec::new();
    for (count, (tls, secured)) in
        [(Tls::StartTls, true), (Tls::Implicit, true), (Tls::None, false), (Tls::None, false)].into_iter().enumerate()
    {
        let sender = Sender::new(&to_postfix(&postfix, tls));
        let key = if secured { format!("key-{count}") } else { "key-open".to_owned() };
        let (told, said) = deliver(&sender, &message(&key)).await;
        let answer = told.unwrap_or_else(|trouble| panic!("{trouble:?}\n{said}\n{}", postfix.log()));
        assert!(answer.starts_with("250 2.0.0 Ok: queued as "), "{answer}");
        for expected in ["< 220 mail.example.test ESMTP", "> EHLO [", "> MAIL FROM:<snapkeep@example.test>", "< 354 "] {
            assert!(said.contains(expected), "{expected} is not in {said}");
        }
        assert_eq!(said.contains("> STARTTLS\n< 220 "), tls == Tls::StartTls, "{said}");
        assert_eq!(said.contains("TLS with localhost: TLSv1_3, TLS13_"), secured, "{said}");
        assert_eq!(said.contains("> AUTH PLAIN ***\n< 235 "), secured, "{said}");
        assert!(said.ends_with("> QUIT\n< 221 2.0.0 Bye"), "{said}");
        holds_no_password(&said, postfix.user, password.trim_end());

        let mails = postfix.mails_when(count + 1);
        let mail = mails.last().expect("one");
        assert_eq!(header(mail, "Delivered-To"), "ops@example.test");
        assert_eq!(header(mail, "X-Snapkeep-Key"), key);
        assert_eq!(header(mail, "X-Snapkeep-Event"), "failure");
        assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
        assert_eq!(header(mail, "Date"), "Sun, 01 Mar 2026 02:01:00 +0000");
        assert_eq!(header(mail, "References"), header(mail, "In-Reply-To"));
        assert!(header(mail, "Content-Type").starts_with("multipart/alternative"), "{mail}");
        for part in ["Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"] {
            assert_eq!(mail.matches(part).count(), 1, "{mail}");
        }
        identities.push((header(mail, "Message-ID"), header(mail, "References")));
    }
    assert_eq!(identities[2], identities[3], "the same notice again");
    assert_ne!(identities[0].0, identities[1].0);
    assert!(identities.iter().all(|(_, thread)| *thread == identities[0].1), "{identities:?}");
}

#[tokio::test]
async fn postfix_refuses_a_wrong_password_and_the_channel_waits_for_a_person() {
    let Some(postfix) = Postfix::start("passwords that Postfix refuses") else { return };
    fs::write(&postfix.password, "canary-other\n").expect("written");
    for tls in [Tls::StartTls, Tls::Implicit] {
        let sender = Sender::new(&to_postfix(&postfix, tls));
        let (told, said) = deliver(&sender, &message("key")).await;
        let trouble = told.expect_err("a wrong password");
        assert_eq!(trouble.again, Again::Changed, "{trouble:?}");
        assert!(trouble.why.starts_with("failed to log in as snapkeep@snapkeep.test to "), "{trouble:?}");
        assert!(trouble.why.contains(": 535 5.7.8 "), "{trouble:?}");
        holds_no_password(&format!("{said}{}", trouble.why), postfix.user, "canary-other");

        // Changed, it counts at the next try: it is read each time.
        let right = fs::read(&postfix.password).expect("a password");
        fs::write(&postfix.password, "canary-Zq8+x~pass\n").expect("written");
        deliver(&sender, &message("key")).await.0.expect("the right one");
        fs::write(&postfix.password, right).expect("written");
    }
    fs::remove_file(&postfix.password).expect("removed");
    let trouble = deliver(&Sender::new(&to_postfix(&postfix, Tls::StartTls)), &message("key")).await.0;
    let trouble = trouble.expect_err("no password");
    assert_eq!(trouble.again, Again::Changed);
    assert!(trouble.why.starts_with("failed to read the password: "), "{trouble:?}");
    // And without a login it takes nothing for anybody.
    let none = Mail { login: None, ..to_postfix(&postfix, Tls::StartTls) };
    let trouble = deliver(&Sender::new(&none), &message("key")).await.0.expect_err("no login");
    assert_eq!(trouble.again, Again::Changed);
    assert!(trouble.why.starts_with("failed to send to ops@example.test: 554 5.7.1 "), "{trouble:?}");
}

#[tokio::test]
async fn postfix_is_told_nothing_where_tls_does_not_come_about() {
    let Some(postfix) = Postfix::start("TLS with Postfix that does not come about") else { return };
    let both = [Tls::StartTls, Tls::Implicit];
    let good = |tls| to_postfix(&postfix, tls);
    let mut cases: Vec<(Mail, &str)> = Vec::new();
    for tls in both {
        cases.push((Mail { ca: Some(tls::fixture("server.pem")), ..good(tls) }, "UnknownIssuer"));
        cases.push((Mail { ca: Some(tls::fixture("nothing.pem")), ..good(tls) }, "failed to know whom to trust"));
    }
    cases.push((Mail { host: "127.0.0.2".into(), ..good(Tls::StartTls) }, "certificate not valid for name"));
    cases.push((Mail { port: postfix.open, ..good(Tls::StartTls) }, "the server does not offer STARTTLS"));
    cases.push((Mail { port: postfix.starttls, ..good(Tls::Implicit) }, "failed to agree on TLS with localhost:"));
    for (settings, why) in cases {
        let (told, said) = deliver(&Sender::new(&settings), &message("key")).await;
        let trouble = told.expect_err(why);
        assert_eq!(trouble.again, Again::Changed, "{trouble:?}");
        assert!(trouble.why.contains(why), "{why}: {trouble:?}");
        for word in ["AUTH PLAIN *", "MAIL FROM"] {
            assert!(!said.contains(&format!("> {word}")), "{said}");
        }
    }
    assert_eq!(postfix.mails(), Vec::<String>::new());
}

#[tokio::test]
async fn what_postfix_takes_later_is_delivered_later_and_to_nobody_twice() {
    let Some(postfix) = Postfix::start("mail that Postfix does not take at once") else { return };
    let refusals = |ops: &str, full: &str| {
        let line =
            |to: &str, why: &str| if why.is_empty() { String::new() } else { format!("{to}@example.test {why}\n") };
        postfix.refuse(&format!("{}{}", line("ops", ops), line("full", full)));
    };
    let sender = Sender::new(&to_postfix(&postfix, Tls::StartTls));
    let tried = async |sender: &Sender, key: &str| deliver(sender, &message(key)).await;
    let refused = |(told, _): (Result<String, Trouble>, String)| told.expect_err("refused");

    refusals("450 4.7.1 greylisted", "");
    let trouble = refused(tried(&sender, "grey").await);
    assert_eq!(trouble.again, Again::Later);
    assert!(trouble.why.starts_with("failed to send to ops@example.test: 450 4.7.1 "), "{trouble:?}");
    assert!(trouble.why.contains("greylisted"), "{trouble:?}");
    refusals("452 4.2.2 mailbox full", "");
    assert_eq!(refused(tried(&sender, "grey").await).again, Again::Later);
    refusals("552 5.2.2 mailbox full", "");
    let trouble = refused(tried(&sender, "grey").await);
    assert_eq!(trouble.again, Again::Changed);
    assert!(trouble.why.contains("552 5.2.2 ") && trouble.why.contains("mailbox full"), "{trouble:?}");
    refusals("", "");
    tried(&sender, "grey").await.0.expect("no longer grey");
    assert_eq!(postfix.mails_when(1).len(), 1);

    // One has it and one does not: it goes on for the one alone.
    let both = Mail {
        to: vec![mailbox("ops@example.test"), mailbox("full@example.test")],
        ..to_postfix(&postfix, Tls::StartTls)
    };
    let sender = Sender::new(&both);
    for (full, again) in [("452 4.2.2 mailbox full", Again::Later), ("550 5.1.1 who", Again::Changed)] {
        refusals("", full);
        let trouble = refused(tried(&sender, "both").await);
        assert_eq!(trouble.again, again);
        assert!(trouble.why.starts_with("failed to send to full@example.test: "), "{trouble:?}");
    }
    refusals("", "");
    let (told, said) = tried(&sender, "both").await;
    told.expect("taken for the other");
    assert!(said.contains("ops@example.test has it already") && !said.contains("RCPT TO:<ops@"), "{said}");
    let mails = postfix.mails_when(3);
    let to: Vec<String> = mails.iter().map(|mail| header(mail, "Delivered-To")).collect();
    assert_eq!(to, ["ops@example.test", "ops@example.test", "full@example.test"]);
    assert_eq!(header(&mails[1], "Message-ID"), header(&mails[2], "Message-ID"));
}

/// By the clock of the test: it goes at 09:05 and is back at 10:05.
#[test]
fn what_a_postfix_was_not_told_that_was_gone_for_an_hour_it_is_told_once_when_it_is_back() {
    let Some(postfix) = Postfix::start("mail to a Postfix that is gone for an hour") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let policy = PolicyText::new("db", "*/10 * * * *", None).channels(&["ops"]).conditions(&[Event::Creation]);
    let mut mended = Roster::clone(&roster(&[policy]));
    let mut channel = channel_with("ops", Rules::default());
    channel.sender = Arc::new(Sender::new(&to_postfix(&postfix, Tls::StartTls)));
    mended.channels.insert("ops".into(), Arc::new(channel));
    let mut stage = Stage::with("08:55", Arc::new(mended), 64);

    let mut tries = [0; 3];
    let mut taken: Vec<String> = Vec::new();
    for minute in 0..=80 {
        match minute {
            5 => postfix.go(),
            65 => postfix.come_back(),
            _ => {}
        }
        stage.at(&format!("{:02}:{:02}", 9 + minute / 60, minute % 60));
        stage.obey_all();
        while let Some(errand) = stage.errands.pop() {
            let channel = errand.channel.clone().expect("it is there");
            let message = perform::message(errand, "backup1".into());
            let told = runtime.block_on(perform::tell(&channel, &message, &mut Conversation::default()));
            let is_gone = (5..65).contains(&minute);
            tries[if minute < 5 { 0 } else { 1 + usize::from(!is_gone) }] += 1;
            match told {
                Ok(_) => {
                    assert!(!is_gone, "nobody is there at minute {minute}");
                    taken.push(message.key.clone().into());
                    stage.deliver(&message.key, Ok(()));
                }
                Err(trouble) => {
                    assert!(is_gone && trouble.why.contains("Connection refused"), "minute {minute}: {trouble:?}");
                    stage.deliver_trouble(&message.key, trouble);
                }
            }
        }
    }
    // One of 09:00, then each ten minutes: 09:10 to 10:00 while it was gone, and 10:10 and 10:20 afterwards.
    assert_eq!((tries[0], tries[2], taken.len()), (1, 8, 9), "{taken:?}");
    assert!((5..=15).contains(&tries[1]), "one tries now and then whether it is back: {} times", tries[1]);
    let mails = postfix.mails_when(taken.len());
    let mut in_box: Vec<String> = mails.iter().map(|mail| header(mail, "X-Snapkeep-Key")).collect();
    in_box.sort();
    taken.sort();
    assert_eq!(in_box, taken);
    let identities: BTreeSet<String> = mails.iter().map(|mail| header(mail, "Message-ID")).collect();
    assert_eq!(identities.len(), taken.len());
    assert!(stage.view.daemon().notices.is_empty(), "{:?}", stage.view.daemon().notices);
}
