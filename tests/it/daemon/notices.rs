//! Killed at any moment, a daemon still tells people what it promised: the box of a real Postfix is held against the journal.

use std::collections::{BTreeMap, BTreeSet};

use snapkeep::clock;
use snapkeep::journal::Reader;
use snapkeep::journal::record::{NoticeQuery, NoticeRecord, NoticeState};
use snapkeep::lifecycle::notice::Event;
use snapkeep::lifecycle::workflow::{Kind, Outcome};

use super::place::{POLICY, Place};
use crate::support::dice::Dice;
use crate::support::number;
use crate::support::postfix::Postfix;

/// Kills in the daily run; 1,000 by `SNAPKEEP_NOTICE_KILLS`.
const KILLS: u64 = 20;
/// A daemon lives for so many writes at most: enough to be up, to settle a run and to send its mail.
const WRITES_MAX: u64 = 150;
/// What a look counts that sees nothing.
const QUIET_LOOK_WRITES: usize = 25;
/// Every so many lives one lasts until another mail was taken.
const LIVELY: u64 = 5;

/// Returns the notice's key in a mail.
fn key_of(mail: &str) -> String {
    let line = mail.lines().find_map(|line| line.strip_prefix("X-Snapkeep-Key: "));
    line.unwrap_or_else(|| panic!("a mail without its key:\n{mail}")).trim().to_string()
}

fn message_id_of(mail: &str) -> String {
    let line = mail.lines().find_map(|line| line.strip_prefix("Message-ID: "));
    line.unwrap_or_else(|| panic!("a mail without Message-ID:\n{mail}")).trim().to_string()
}

fn notices(place: &Place) -> Vec<NoticeRecord> {
    let reader = Reader::open(&place.state()).expect("a reader");
    let query = NoticeQuery { limit: u32::MAX, ..NoticeQuery::default() };
    reader.notices(&query).expect("notices")
}

#[test]
fn killed_at_any_moment_everything_that_was_promised_is_in_the_box() {
    let Some(postfix) = Postfix::start("mail of a daemon that is killed at any moment") else { return };
    let kills = number("SNAPKEEP_NOTICE_KILLS", KILLS);
    let seed = number("SNAPKEEP_SEED", clock::now().wall.millis().unsigned_abs());
    println!("SNAPKEEP_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut place = Place::new();
    std::fs::create_dir(place.path("channels.d")).expect("a folder");
    let channel = format!(
        "[mail]\nhost = \"localhost\"\nport = {}\nca = \"{}\"\nuser = \"{}\"\npassword.file = \"{}\"\n\
         from = \"snapkeep@example.test\"\nto = \"ops@example.test\"\n",
        postfix.starttls,
        postfix.ca.display(),
        postfix.user,
        postfix.password.display()
    );
    place.write("channels.d/mail.toml", &channel);
    let policy = format!("{POLICY}[notification]\nchannel.id = \"mail\"\nconditions.creation = true\n");
    place.write("policies.d/every.toml", &policy);
    let delivered =
        |place: &Place| notices(place).iter().filter(|record| record.state == NoticeState::Delivered).count();
    place.up();
    place.until("the first mail", |_| (delivered(&place) > 0).then_some(()));
    place.kill();
    let mut in_flight = 0;
    for number in 1..=kills {
        let writes = place.writes();
        place.start();
        let mut left = dice.below(WRITES_MAX) as usize;
        while left > 0 {
            let seen = writes.next();
            left = left.saturating_sub(if seen == 0 { QUIET_LOOK_WRITES } else { seen });
        }
        if number.is_multiple_of(LIVELY) {
            let before = delivered(&place);
            place.until("another mail", |_| (delivered(&place) > before).then_some(()));
        }
        place.kill();
        in_flight += notices(&place).iter().filter(|record| record.state == NoticeState::Pending).count();
    }
    place.up();
    let calmed_at = clock::now().wall;
    place.calm_down();
    place.until("nothing to wait any more", |body| (body["daemon"]["notices_waiting"] == 0).then_some(()));
    assert_eq!(place.stop(), Some(0));

    let owed = notices(&place);
    let not_taken: Vec<&NoticeRecord> = owed.iter().filter(|record| record.state != NoticeState::Delivered).collect();
    assert!(not_taken.is_empty(), "{not_taken:#?}");
    // Postfix has answered for each of them; its box may be a moment behind.
    let mut mails = postfix.mails_when(owed.len());
    let keys: BTreeSet<String> = owed.iter().map(|record| record.notice.key.to_string()).collect();
    let in_box = |mails: &[String]| mails.iter().map(|mail| key_of(mail)).collect::<BTreeSet<String>>();
    while !keys.is_subset(&in_box(&mails)) {
        mails = postfix.mails_when(mails.len() + 1);
    }
    assert_eq!(in_box(&mails), keys, "what is in the box, and what was promised");
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for mail in &mails {
        let id = ids.entry(key_of(mail)).or_insert_with(|| message_id_of(mail));
        assert_eq!(*id, message_id_of(mail), "a repeat has the Message-ID of the first");
    }
    assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), keys.len(), "no two notices have one Message-ID");
    let told: BTreeSet<&str> = owed
        .iter()
        .filter(|record| record.notice.event == Event::Creation)
        .filter_map(|record| record.notice.run_id.as_deref())
        .collect();
    let made: Vec<_> = place
        .runs()
        .into_iter()
        .filter(|run| run.kind == Kind::Creation && run.outcome == Some(Outcome::Succeeded))
        .filter(|run| run.ended_at.is_some_and(|at| at < calmed_at))
        .collect();
    let untold: Vec<_> = made.iter().filter(|run| !told.contains(&*run.run_id)).collect();
    assert!(untold.is_empty(), "nobody was told of {untold:#?}");
    println!(
        "{kills} kills with {in_flight} notices waiting: {} snapshots made and told, {} notices, {} mails, {} of them repeats",
        made.len(),
        owed.len(),
        mails.len(),
        mails.len() - keys.len()
    );
    assert!(in_flight > 0, "no kill met a notice that waits: {seed}");
}
