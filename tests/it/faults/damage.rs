//! A byte that is not what was written, anywhere in the repository: every verb answers with a fault or
//! with what is right, none panics, and what is put right works.

use std::fs;
use std::path::{Path, PathBuf};

use snapkeep::drivers::RestoreOrder;
use snapkeep::lifecycle::snapshot::{Snapshot, Status};
use snapkeep::lifecycle::workflow::{Fault, FaultKind};

use super::give_back;
use crate::driver_contract::{Fixture, call, create, files, list, name, target};
use crate::files::{fill, tree};
use crate::support::files_below;
use crate::upkeep::{KEEP, comes_back, noise, packs, restic_agrees, restic_check, verify};

/// A file with one byte changed; as it was at the end.
struct Spoiled {
    path: PathBuf,
    whole: Vec<u8>,
}

impl Spoiled {
    fn at(path: &Path, place: usize) -> Spoiled {
        let whole = fs::read(path).expect("readable");
        let mut spoiled = whole.clone();
        spoiled[place] ^= 1;
        fs::write(path, spoiled).expect("written");
        Spoiled { path: path.to_path_buf(), whole }
    }
}

impl Drop for Spoiled {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, &self.whole);
    }
}

/// What every verb says of a damaged repository, as far as it is a fault.
async fn asked_everything(fixture: &Fixture, made: &Snapshot, text: &str) -> Vec<(&'static str, Fault)> {
    let to = fixture.folder.path().join(format!("back-{text}"));
    let restore = RestoreOrder { target: target(made), to, include: vec![], overwrite: false };
    let gone = Snapshot { id: "0".repeat(64), ..made.clone() };
    let answers = [
        ("create", create(fixture, text).await.err()),
        ("describe", fixture.driver.describe(&name("a-1"), &call()).await.err()),
        ("list", fixture.driver.list(&call()).await.err()),
        ("delete", fixture.driver.delete(&target(&gone), &call()).await.err()),
        ("verify", verify(fixture, made, 100).await.err()),
        ("restore", fixture.driver.restore(&restore, &call()).await.err()),
        ("maintain", fixture.driver.maintain(&KEEP, &call()).await.err()),
    ];
    let faults: Vec<_> = answers.into_iter().filter_map(|(verb, fault)| Some((verb, fault?))).collect();
    for (verb, fault) in &faults {
        assert!(!fault.message.contains("panicked"), "{verb}: {fault:?}");
        assert!(!fault.message.contains("exit code"), "{verb}: {fault:?}");
    }
    faults
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_told_by_every_verb_and_never_a_panic() {
    let fixture = files();
    noise(&fixture.source().join("large"), 1, 1_500_000);
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let repository = fixture.repository();
    // In these whatever is asked needs the file: the first word is what must refuse, the second how.
    let needed: [(&str, &[&str], FaultKind); 4] = [
        ("config", &["create", "describe", "list", "delete", "verify", "restore", "maintain"], FaultKind::Permanent),
        ("keys", &["create", "describe", "list", "delete", "verify", "restore", "maintain"], FaultKind::Permanent),
        ("index", &["create", "verify", "restore", "maintain"], FaultKind::Permanent),
        ("snapshots", &["create", "describe", "list", "verify", "restore", "maintain"], FaultKind::Incomplete),
    ];
    for (folder, verbs, kind) in needed {
        let path = repository.join(folder);
        let path = if path.is_dir() { files_below(&path).remove(0) } else { path };
        let length = usize::try_from(fs::metadata(&path).expect("there").len()).expect("small");
        // In a key even a number: it is not ciphered, and says how much work the password is.
        for place in [0, length / 5, length / 2, length - 2] {
            let spoiled = Spoiled::at(&path, place);
            let faults = asked_everything(&fixture, &made, &format!("{folder}-{place}")).await;
            let asked: Vec<&str> = faults.iter().map(|(verb, _)| *verb).collect();
            assert_eq!(asked, verbs, "{folder} at {place}: {faults:#?}");
            for (verb, fault) in &faults {
                assert_eq!(fault.kind, kind, "{folder} at {place}, {verb}: {fault:?}");
                let file = path.file_name().expect("a name").to_string_lossy();
                let names_it = fault.message.contains(&*file);
                assert!(names_it || folder == "config", "{folder} at {place}, {verb}: {fault:?}");
            }
            if let Some((sound, said)) = restic_check(&fixture, &[]) {
                assert!(!sound, "{said}");
            }
            drop(spoiled);
            verify(&fixture, &made, 100).await.expect("put right");
        }
    }
    create(&fixture, "b-1").await.expect("made");
    fixture.driver.maintain(&KEEP, &call()).await.expect("maintained");
    restic_agrees(&fixture);
    comes_back(&fixture, &made, "back").await;
}

#[tokio::test]
async fn a_flipped_byte_in_a_pack_is_found_by_verify_and_restore_goes_on_around_it() {
    let fixture = files();
    fill(&fixture.source());
    noise(&fixture.source().join("large"), 1, 1_500_000);
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    for (number, (pack, bytes)) in packs(&fixture).into_iter().enumerate() {
        let bytes = usize::try_from(bytes).expect("small");
        // At its beginning, in the middle, and in the header at its end.
        for place in [0, bytes / 2, bytes - 1] {
            let spoiled = Spoiled::at(&pack, place);
            let text = format!("b-{number}-{place}");
            let faults = asked_everything(&fixture, &made, &text).await;
            let said: Vec<String> =
                faults.iter().map(|(verb, fault)| format!("{verb}: {:?}: {}", fault.kind, fault.message)).collect();
            let (_, found) = faults.iter().find(|(verb, _)| *verb == "verify").unwrap_or_else(|| panic!("{said:#?}"));
            assert_eq!(found.kind, FaultKind::Permanent, "{found:?}");
            let file = pack.file_name().expect("a hash").to_string_lossy().into_owned();
            assert!(found.message.contains("snapshot a-1 is damaged") && found.message.contains(&file), "{found:?}");
            // What is made meanwhile is whole, or says that it is not.
            let meanwhile = list(&fixture).await.into_values().find(|snapshot| *snapshot.name == *text);
            for (verb, fault) in &faults {
                let who = if *verb == "restore" || *verb == "maintain" || *verb == "verify" {
                    fault.kind == FaultKind::Permanent
                } else {
                    false
                };
                assert!(who, "{verb}: {fault:?}");
            }
            if let Some((sound, said)) = restic_check(&fixture, &["--read-data"]) {
                assert!(!sound, "{said}");
            }
            drop(spoiled);
            verify(&fixture, &made, 100).await.expect("put right");
            if let Some(meanwhile) = meanwhile {
                assert!(matches!(meanwhile.status, Status::Good | Status::Partial), "{meanwhile:?}");
                verify(&fixture, &meanwhile, 100).await.expect("sound");
            }
        }
    }
    comes_back(&fixture, &made, "back").await;
    restic_agrees(&fixture);
}

#[tokio::test]
async fn a_wrong_key_file_is_for_a_person_and_says_which() {
    let fixture = files();
    let made = create(&fixture, "a-1").await.expect("made").snapshot;
    let key = fixture.folder.path().join("repository.key");
    let right = fs::read(&key).expect("readable");
    fs::write(&key, format!("{}\n", "0".repeat(64))).expect("written");
    let faults = asked_everything(&fixture, &made, "b-1").await;
    assert_eq!(faults.len(), 7, "{faults:#?}");
    let expected = format!("key file {} does not open repository {}", key.display(), fixture.repository().display());
    for (verb, fault) in faults {
        assert_eq!((fault.kind, &fault.message), (FaultKind::Permanent, &expected), "{verb}");
    }
    fs::write(&key, "").expect("written");
    for (verb, fault) in asked_everything(&fixture, &made, "b-1").await {
        assert!(fault.kind == FaultKind::Permanent && fault.message.ends_with("is empty"), "{verb}: {fault:?}");
    }
    fs::write(&key, right).expect("written");
    create(&fixture, "b-1").await.expect("made");
    let (_, back) = give_back(&fixture, &made, "back").await.expect("restored");
    assert_eq!(tree(&back), tree(&fixture.source()));
    restic_agrees(&fixture);
}
