//! What is in force while files come, go, break and are repaired.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use snapkeep::config::FileKind;
use snapkeep::config::settings::Defaults;
use snapkeep::config::sources::Sources;
use snapkeep::lifecycle::time::Timestamp;
use snapkeep::ownership::Trust;
use snapkeep::roster::{Document, Entry, Loader, News, Roster, entry_from_terms, load_settings, terms_text};

use crate::support::skips::not_tested;

/// Far from any file's times, so that every file counts as settled.
const LATER: Timestamp = Timestamp::from_seconds(4_000_000_000);

/// What the journal would remember between two daemons.
type Memory = Arc<Mutex<BTreeMap<(FileKind, String), (String, String)>>>;

/// A folder with a whole set-up, and the daemons that read it.
struct Setup {
    root: tempfile::TempDir,
    loader: Loader,
    memory: Memory,
}

const LOCAL: &str = "driver = \"exec\"\ncommand = [\"/bin/true\"]\n";

fn policy(hour: u32) -> String {
    format!("[creation.schedule.cron]\nexpression = \"0 {hour} * * *\"\n\n[snapshot_config]\nrepository = \"local\"\n")
}

impl Setup {
    fn new() -> Setup {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("snapkeep.toml"), "").expect("writable");
        for folder in ["policies.d", "repositories.d", "channels.d"] {
            fs::create_dir(root.path().join(folder)).expect("writable");
        }
        let memory = Memory::default();
        let loader = loader(root.path(), &memory);
        let setup = Setup { root, loader, memory };
        setup.write("repositories.d/local.toml", LOCAL);
        setup.write("policies.d/a.toml", &policy(1));
        setup
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.root.path().join(path), text).expect("writable");
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.root.path().join(path)).expect("there");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn load(&mut self) -> Arc<Roster> {
        self.load_at(LATER)
    }

    fn load_at(&mut self, now: Timestamp) -> Arc<Roster> {
        let roster = self.loader.load(now);
        let mut memory = self.memory.lock().expect("no test panics with it");
        for Document { kind, name, news } in &roster.documents {
            let key = (*kind, name.to_string());
            match news {
                News::Good { origin, text } => memory.insert(key, (origin.display().to_string(), text.to_string())),
                News::Gone => memory.remove(&key),
            };
        }
        roster
    }

    fn restart(&mut self) {
        self.loader = loader(self.root.path(), &self.memory);
    }

    /// Returns the problems without the folder's own path.
    fn problems(&self, roster: &Roster) -> Vec<String> {
        let root = format!("{}/", self.root.path().display());
        roster.problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
    }
}

fn loader(root: &Path, memory: &Memory) -> Loader {
    let memory = memory.clone();
    let last_good =
        move |kind, name: &str| memory.lock().expect("no test panics with it").get(&(kind, name.to_string())).cloned();
    Loader::new(Sources::of_file(&root.join("snapkeep.toml")), last_good)
}

fn names(roster: &Roster) -> Vec<&str> {
    roster.policies.keys().map(|name| &**name).collect()
}

fn revision(roster: &Roster, name: &str) -> String {
    roster.policies[name].policy.revision.to_string()
}

fn seen<'r>(roster: &'r Roster, name: &str) -> (&'r Entry, bool) {
    let entry = &roster.policies[name];
    (entry, entry.stale)
}

#[test]
fn a_set_up_is_loaded_and_a_second_look_reads_nothing() {
    let mut setup = Setup::new();
    let first = setup.load();
    assert_eq!(names(&first), ["a"]);
    assert_eq!(setup.problems(&first), Vec::<String>::new());
    assert_eq!(first.documents.len(), 2);
    let read = setup.loader.files_read();
    let second = setup.load();
    assert_eq!(setup.loader.files_read(), read);
    assert!(Arc::ptr_eq(&first.policies["a"], &second.policies["a"]));
    assert_eq!(second.documents, []);
}

#[test]
fn what_the_journal_remembers_is_no_news_at_the_next_start() {
    let mut setup = Setup::new();
    let first = setup.load();
    let known = |document: &Document| match &document.news {
        News::Good { origin, text } => {
            (document.kind, document.name.clone(), origin.display().to_string(), text.clone())
        }
        News::Gone => panic!("nothing is gone"),
    };
    let remembered: Vec<_> = first.documents.iter().map(known).collect();
    setup.restart();
    for (kind, name, origin, text) in &remembered {
        setup.loader.remember(*kind, name, origin, text);
    }
    assert_eq!(setup.load().documents, []);
    // An edit is, and so is its undoing.
    for (hour, news) in [(3, 1), (3, 0), (2, 1), (3, 1)] {
        setup.write("policies.d/a.toml", &policy(hour));
        assert_eq!(setup.load().documents.len(), news, "hour {hour}");
    }
}

#[test]
fn a_bad_file_leaves_its_last_good_version_in_force_and_is_told() {
    let mut setup = Setup::new();
    let good = revision(&setup.load(), "a");
    setup.write("policies.d/a.toml", &policy(25));
    let roster = setup.load();
    assert!(seen(&roster, "a").1);
    assert_eq!(revision(&roster, "a"), good);
    assert_eq!(roster.documents, []);
    assert_eq!(
        setup.problems(&roster),
        ["policies.d/a.toml:2:17: hour 25 is not in 0-23\n  expression = \"0 25 * * *\"\n                  ^^"]
    );
    assert_eq!(roster.problems_of(FileKind::Policy, "a").count(), 1);
    assert_eq!(roster.problems_of(FileKind::Policy, "b").count(), 0);

    setup.write("policies.d/a.toml", &policy(1));
    let roster = setup.load();
    assert!(!seen(&roster, "a").1);
    assert_eq!(revision(&roster, "a"), good, "what was good before is no edit");
    assert_eq!(roster.problems, []);
}

#[test]
fn the_last_good_version_is_in_force_after_a_restart_too() {
    let mut setup = Setup::new();
    let good = revision(&setup.load(), "a");
    setup.write("policies.d/a.toml", "[creation");
    setup.restart();
    let roster = setup.load();
    assert!(seen(&roster, "a").1);
    assert_eq!(revision(&roster, "a"), good);
    assert_eq!(roster.problems.len(), 1);
    // And goes on to be so when nothing changes.
    assert!(seen(&setup.load(), "a").1);
}

#[test]
fn a_file_that_never_was_good_is_not_in_force_and_keeps_no_other_from_it() {
    let mut setup = Setup::new();
    setup.write("policies.d/b.toml", "nonsense");
    let roster = setup.load();
    assert_eq!(names(&roster), ["a"]);
    assert_eq!(roster.problems.len(), 1);
    assert!(roster.has_errors());
}

#[test]
fn a_file_that_disappears_takes_its_policy_with_it() {
    let mut setup = Setup::new();
    setup.write("policies.d/b.toml", &policy(2));
    assert_eq!(names(&setup.load()), ["a", "b"]);
    setup.remove("policies.d/b.toml");
    let roster = setup.load();
    assert_eq!(names(&roster), ["a"]);
    assert_eq!(roster.documents.len(), 1);
    assert_eq!((&*roster.documents[0].name, &roster.documents[0].news), ("b", &News::Gone));
}

#[test]
fn an_identical_rewrite_is_no_edit_and_a_comment_is_one() {
    let mut setup = Setup::new();
    let first = setup.load();
    setup.remove("policies.d/a.toml");
    setup.write("policies.d/a.toml", &policy(1));
    let second = setup.load();
    assert!(Arc::ptr_eq(&first.policies["a"], &second.policies["a"]));
    setup.write("policies.d/a.toml", &format!("# why\n{}", policy(1)));
    assert_ne!(revision(&first, "a"), revision(&setup.load(), "a"));
}

#[test]
fn an_edit_of_a_repository_is_an_edit_of_the_policies_that_use_it() {
    let mut setup = Setup::new();
    setup.write("repositories.d/other.toml", LOCAL);
    setup.write("policies.d/b.toml", &policy(2).replace("local", "other"));
    let first = setup.load();
    setup.write("repositories.d/local.toml", &LOCAL.replace("true", "false"));
    let second = setup.load();
    assert_ne!(revision(&first, "a"), revision(&second, "a"));
    assert_eq!(revision(&first, "b"), revision(&second, "b"));
    assert!(Arc::ptr_eq(&second.policies["a"].repository, &second.repositories["local"]));
    setup.write("repositories.d/local.toml", LOCAL);
    assert_eq!(revision(&first, "a"), revision(&setup.load(), "a"));
}

#[test]
fn a_stale_policy_follows_the_edit_of_its_repository() {
    let mut setup = Setup::new();
    let first = setup.load();
    setup.write("policies.d/a.toml", "half");
    setup.load();
    setup.write("repositories.d/local.toml", &LOCAL.replace("true", "false"));
    let roster = setup.load();
    assert!(seen(&roster, "a").1);
    assert!(Arc::ptr_eq(&roster.policies["a"].repository, &roster.repositories["local"]));
    assert_ne!(revision(&first, "a"), revision(&roster, "a"));
    // The revision is that of the text as it was written, so mending the file is no edit.
    setup.write("policies.d/a.toml", &policy(1));
    assert_eq!(revision(&roster, "a"), revision(&setup.load(), "a"));
}

#[test]
fn a_bad_repository_keeps_its_last_good_version_for_all_its_policies() {
    let mut setup = Setup::new();
    let first = setup.load();
    setup.write("repositories.d/local.toml", "driver = \"exce\"\n");
    let roster = setup.load();
    assert!(Arc::ptr_eq(&first.policies["a"], &roster.policies["a"]));
    assert_eq!(roster.problems.len(), 1);
    setup.restart();
    let roster = setup.load();
    assert_eq!((revision(&roster, "a"), roster.problems.len()), (revision(&first, "a"), 1));
    setup.write("repositories.d/local.toml", LOCAL);
    let roster = setup.load();
    assert_eq!((revision(&roster, "a"), roster.problems.len()), (revision(&first, "a"), 0));
}

#[test]
fn a_repository_that_is_needed_stays_though_its_file_is_gone() {
    let mut setup = Setup::new();
    let first = setup.load();
    setup.remove("repositories.d/local.toml");
    let roster = setup.load();
    assert!(Arc::ptr_eq(&first.policies["a"], &roster.policies["a"]));
    assert_eq!(
        setup.problems(&roster),
        ["repositories.d/local.toml: file is gone, and a cannot do without it\n\
          hint: the repository stays in force as it was last read: put the file back, or change the policies"]
    );
    setup.restart();
    let roster = setup.load();
    assert_eq!(names(&roster), ["a"]);
    assert_eq!(roster.problems.len(), 1, "{:?}", roster.problems);
    assert_eq!(revision(&roster, "a"), revision(&first, "a"));

    setup.remove("policies.d/a.toml");
    let roster = setup.load();
    assert_eq!((roster.repositories.len(), roster.problems.len()), (0, 0));
    assert_eq!(setup.memory.lock().expect("whole").len(), 0, "nothing is remembered of what is gone");
}

#[test]
fn a_channel_that_is_needed_stays_though_its_file_is_gone() {
    let mut setup = Setup::new();
    setup.write("channels.d/ops.toml", "[log]\n");
    setup.write("policies.d/a.toml", &format!("{}[notification]\nchannel.id = \"ops\"\n", policy(1)));
    assert_eq!(setup.load().problems, []);
    setup.remove("channels.d/ops.toml");
    for restarted in [false, true] {
        let roster = setup.load();
        assert_eq!((names(&roster), roster.channels.len(), roster.problems.len()), (vec!["a"], 1, 1), "{restarted}");
        setup.restart();
    }
    setup.write("channels.d/ops.toml", "[log]\n");
    assert_eq!(setup.load().problems, []);
}

#[test]
fn a_policy_that_was_refused_is_accepted_when_what_it_names_arrives() {
    let mut setup = Setup::new();
    setup.write("policies.d/b.toml", &policy(2).replace("local", "late"));
    let roster = setup.load();
    assert_eq!((names(&roster), roster.problems.len()), (vec!["a"], 1));
    let read = setup.loader.files_read();
    setup.load();
    assert_eq!(setup.loader.files_read(), read, "nothing changed, so nothing is read");
    setup.write("repositories.d/late.toml", LOCAL);
    let roster = setup.load();
    assert_eq!((names(&roster), roster.problems.len()), (vec!["a", "b"], 0));
}

#[test]
fn a_half_written_file_changes_nothing_until_it_is_whole() {
    let mut setup = Setup::new();
    let mut in_force = revision(&setup.load(), "a");
    let whole = policy(3);
    let mut kept = 0;
    for length in 1..whole.len() {
        setup.write("policies.d/a.toml", &whole[..length]);
        let roster = setup.load();
        if seen(&roster, "a").1 {
            assert_eq!(revision(&roster, "a"), in_force, "{length}");
            kept += 1;
        }
        in_force = revision(&roster, "a");
    }
    // Only without its last newline is it a whole policy, too.
    assert_eq!(kept, whole.len() - 2);
    setup.write("policies.d/a.toml", &whole);
    assert!(!seen(&setup.load(), "a").1);
}

#[test]
fn a_file_that_was_emptied_a_moment_ago_masks_nothing_yet() {
    let mut setup = Setup::new();
    let good = revision(&setup.load(), "a");
    setup.write("policies.d/a.toml", "");
    let changed = fs::metadata(setup.path("policies.d/a.toml")).expect("there");
    let now = Timestamp::from_seconds(std::os::unix::fs::MetadataExt::ctime(&changed));
    let roster = setup.load_at(now.plus(500));
    assert!(roster.is_unsettled, "it should be looked at again");
    assert_eq!((revision(&roster, "a"), seen(&roster, "a").1), (good, false));
    let roster = setup.load_at(now.plus(5_000));
    assert!(!roster.is_unsettled);
    assert_eq!(names(&roster), Vec::<&str>::new(), "an empty file masks once it has stayed empty");
}

#[test]
fn a_file_changed_within_the_tick_of_its_clock_is_read_again() {
    let mut setup = Setup::new();
    let changed = fs::metadata(setup.path("policies.d/a.toml")).expect("there");
    let now = Timestamp::from_seconds(std::os::unix::fs::MetadataExt::ctime(&changed));
    let roster = setup.load_at(now.plus(100));
    assert!(roster.is_unsettled);
    let read = setup.loader.files_read();
    let again = setup.load_at(now.plus(60_000));
    assert_eq!(setup.loader.files_read(), read + 2);
    assert!(Arc::ptr_eq(&roster.policies["a"], &again.policies["a"]));
    assert!(!again.is_unsettled);
}

#[test]
fn of_ten_thousand_files_only_the_changed_one_is_read() {
    let mut setup = Setup::new();
    for number in 0..10_000 {
        setup.write(&format!("policies.d/p{number:05}.toml"), &policy(number % 24));
    }
    let first = setup.load();
    assert_eq!((first.policies.len(), first.problems.len()), (10_001, 0));
    assert_eq!(setup.loader.files_read(), 10_002);
    setup.write("policies.d/p05000.toml", &policy(23));
    let second = setup.load();
    assert_eq!(setup.loader.files_read(), 10_003);
    assert_eq!(second.documents.len(), 1);
    let same = first.policies.iter().filter(|(name, entry)| Arc::ptr_eq(entry, &second.policies[*name])).count();
    assert_eq!(same, 10_000);
}

#[test]
fn a_higher_folder_replaces_and_an_empty_file_masks() {
    let root = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        fs::write(path, text).expect("writable");
    };
    let described = |text: &str| format!("description = \"{text}\"\n{}", policy(1));
    write("usr/repositories.d/local.toml", LOCAL);
    for name in ["a", "b", "c", "d"] {
        write(&format!("usr/policies.d/{name}.toml"), &described("vendor"));
    }
    write("state/policies.d/b.toml", &described("made by the API"));
    write("run/policies.d/c.toml", &described("until reboot"));
    write("etc/policies.d/c.toml", &described("admin"));
    write("etc/policies.d/d.toml", "");
    write("etc/policies.d/.e.toml", &described("hidden"));
    write("etc/policies.d/f.toml~", &described("an editor's copy"));
    write("etc/policies.d/g.txt", &described("something else"));
    write("etc/policies.d/Wiki Copy.toml", &described("misnamed"));
    write("usr/snapkeep.toml", "jobs_max = 1");
    write("etc/snapkeep.toml", "jobs_max = 2");

    let roots = ["usr", "run", "etc"].map(|name| root.path().join(name)).to_vec();
    let sources = Sources::of_roots(roots, Defaults::system());
    assert_eq!(load_settings(&sources).0.jobs_max, 2);
    let mut loader = Loader::new(sources.with_state(&root.path().join("state")), |_, _| None);
    let roster = loader.load(LATER);
    let described: Vec<(&str, &str)> = roster
        .policies
        .values()
        .map(|entry| (&*entry.policy.name, entry.policy.description.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(described, [("a", "vendor"), ("b", "made by the API"), ("c", "admin")]);
    assert_eq!(roster.problems.len(), 1, "{:?}", roster.problems);
    assert_eq!(&*roster.problems[0].message, "`Wiki Copy` cannot be the name of a policy");
    assert!(roster.problems[0].hint.as_deref().is_some_and(|hint| hint.ends_with("rename the file to wiki-copy.toml")));

    fs::remove_file(root.path().join("etc/policies.d/d.toml")).expect("there");
    fs::remove_file(root.path().join("etc/policies.d/c.toml")).expect("there");
    symlink("/dev/null", root.path().join("run/policies.d/a.toml")).expect("writable");
    let roster = loader.load(LATER);
    assert_eq!(names(&roster), ["b", "c", "d"]);
    assert_eq!(roster.policies["c"].policy.description.as_deref(), Some("until reboot"));
}

#[test]
fn what_others_can_write_is_not_read_and_what_was_in_force_stays() {
    let mut setup = Setup::new();
    setup.write("policies.d/b.toml", &policy(2));
    let good = revision(&setup.load(), "a");
    let chmod = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mine");

    setup.write("policies.d/a.toml", &policy(3));
    chmod(setup.path("policies.d/a.toml"), 0o666);
    let roster = setup.load();
    assert_eq!((revision(&roster, "a"), seen(&roster, "a").1), (good.clone(), true));
    let said = setup.problems(&roster);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("policies.d/a.toml: file can be written by everybody\nhint: chmod go-w "), "{said:?}");

    chmod(setup.path("policies.d/a.toml"), 0o644);
    assert_ne!(revision(&setup.load(), "a"), good);

    // A folder that others can write to tells nothing: neither what is new, nor what is gone.
    chmod(setup.path("policies.d"), 0o777);
    setup.write("policies.d/c.toml", &policy(4));
    setup.remove("policies.d/b.toml");
    let roster = setup.load();
    assert_eq!(names(&roster), ["a", "b"]);
    assert!(seen(&roster, "a").1 && seen(&roster, "b").1);
    assert_eq!(roster.problems.len(), 1, "{:?}", roster.problems);

    chmod(setup.path("policies.d"), 0o755);
    let roster = setup.load();
    assert_eq!((names(&roster), roster.problems.len()), (vec!["a", "c"], 0));
    assert!(!seen(&roster, "a").1);
}

#[test]
fn files_of_users_nobody_trusts_are_not_read() {
    let setup = Setup::new();
    // No user has this number, so every folder belongs to somebody else.
    let loader = loader(setup.root.path(), &setup.memory);
    let roster = loader.with_trust(Trust::only(4_000_000_000)).load(LATER);
    assert_eq!(names(&roster), Vec::<&str>::new());
    assert!(roster.problems.iter().all(|problem| problem.message.contains("belongs to user")), "{:?}", roster.problems);
}

#[test]
fn root_believes_policies_of_the_daemons_own_user_and_no_repositories() {
    if !rustix::process::geteuid().is_root() {
        return not_tested("whose policies root believes, because this is not root");
    }
    let setup = Setup::new();
    // No user has this number; the daemon's might.
    let daemon = Some(4_000_000);
    for path in ["state", "policies.d", "policies.d/a.toml"] {
        let path = setup.path(path);
        if !path.exists() {
            fs::create_dir(&path).expect("writable");
        }
        chown(&path, daemon, None).expect("root may");
    }
    let load = |state: &str| {
        loader(setup.root.path(), &setup.memory).with_policies_of_the_owner_of(&setup.path(state)).load(LATER)
    };
    let told = |roster: &Roster| roster.problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>();
    assert_eq!((names(&load("state")), told(&load("state"))), (vec!["a"], vec![]));
    // Of another's state directory, or of none, nobody is believed.
    for other in ["repositories.d", "nowhere"] {
        assert_eq!(names(&load(other)), Vec::<&str>::new());
        assert!(told(&load(other)).iter().any(|message| message.contains("belongs to user 4000000")));
    }
    chown(setup.path("repositories.d"), daemon, None).expect("root may");
    assert!(told(&load("state")).iter().any(|message| message.contains("repositories.d belongs to user 4000000")));
}

#[test]
fn links_are_followed_when_link_and_target_can_be_trusted() {
    let mut setup = Setup::new();
    fs::create_dir(setup.path("shared")).expect("writable");
    setup.write("shared/b.toml", &policy(2));
    symlink(setup.path("shared/b.toml"), setup.path("policies.d/b.toml")).expect("writable");
    assert_eq!(names(&setup.load()), ["a", "b"]);
    // An edit of the target is seen.
    setup.write("shared/b.toml", &policy(5));
    let before = setup.loader.files_read();
    setup.load();
    assert_eq!(setup.loader.files_read(), before + 1);
    fs::set_permissions(setup.path("shared"), fs::Permissions::from_mode(0o777)).expect("mine");
    setup.write("shared/b.toml", &policy(6));
    let roster = setup.load();
    assert!(seen(&roster, "b").1);
    // A link that leads nowhere is no absence: somebody meant something.
    setup.remove("shared/b.toml");
    let roster = setup.load();
    assert!(seen(&roster, "b").1);
}

#[test]
fn what_is_no_file_or_far_too_large_or_no_text_is_refused() {
    let mut setup = Setup::new();
    fs::create_dir(setup.path("policies.d/b.toml")).expect("writable");
    setup.write("policies.d/c.toml", &"# much\n".repeat(200_000));
    fs::write(setup.path("policies.d/d.toml"), b"enabled = true\ndescription = \"\xff\"\n").expect("writable");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        setup.path("policies.d/e.toml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("writable");
    let roster = setup.load();
    assert_eq!(names(&roster), ["a"]);
    assert_eq!(
        setup.problems(&roster),
        [
            "policies.d/b.toml: is not a regular file",
            "policies.d/c.toml: file is larger than 1024 kB",
            "policies.d/d.toml:2:16: text is not UTF-8\n  description = \"\n                 ^\nhint: save the file as UTF-8",
            "policies.d/e.toml: is not a regular file",
        ]
    );
}

#[test]
fn one_uid_belongs_to_one_policy_and_moves_with_a_rename() {
    let mut setup = Setup::new();
    let with_uid = |hour| format!("uid = \"u-1\"\n{}", policy(hour));
    setup.write("policies.d/b.toml", &with_uid(2));
    assert_eq!(setup.load().problems, []);
    // A copy, though it comes first in order, does not take the uid from the policy that has it.
    setup.write("policies.d/a.toml", &with_uid(1));
    let roster = setup.load();
    assert_eq!(roster.policies["b"].policy.uid.as_deref(), Some("u-1"));
    assert_eq!((roster.policies["a"].policy.uid.as_deref(), seen(&roster, "a").1), (None, true));
    assert_eq!(&*roster.problems[0].message, "uid is already that of policy b");
    // Once the other has gone, it has it: in one step, as with a rename.
    setup.remove("policies.d/b.toml");
    let roster = setup.load();
    assert_eq!((names(&roster), roster.problems.len()), (vec!["a"], 0));
    assert_eq!(roster.policies["a"].policy.uid.as_deref(), Some("u-1"));
    // And it can be handed on to one that comes later, or earlier, in order.
    for (from, to) in [("a", "b"), ("b", "a")] {
        setup.write(&format!("policies.d/{to}.toml"), &with_uid(3));
        setup.write(&format!("policies.d/{from}.toml"), &policy(4));
        let roster = setup.load();
        assert_eq!(roster.problems, [], "{from} to {to}");
        assert_eq!(roster.policies[to].policy.uid.as_deref(), Some("u-1"));
    }
}

#[test]
fn bad_settings_leave_the_last_good_ones_in_force() {
    let mut setup = Setup::new();
    setup.write("snapkeep.toml", "jobs_max = 3\nstate_dir = \"here\"\n");
    let roster = setup.load();
    assert_eq!((roster.settings.jobs_max, roster.settings.state_dir.clone()), (3, setup.path("here")));
    setup.write("snapkeep.toml", "jobs_max = 0\n");
    let roster = setup.load();
    assert_eq!((roster.settings.jobs_max, roster.problems.len()), (3, 1));
    setup.remove("snapkeep.toml");
    let roster = setup.load();
    assert_eq!(&*roster.problems[0].message, "failed to read: no such file or directory");
}

#[test]
fn the_terms_of_a_run_survive_an_edit_and_a_restart() {
    let mut setup = Setup::new();
    let roster = setup.load();
    let terms = terms_text(&roster.policies["a"], &policy(1)).expect("its text");
    setup.write("policies.d/a.toml", &policy(9));
    setup.write("repositories.d/local.toml", &LOCAL.replace("true", "false"));
    setup.restart();
    assert_ne!(revision(&setup.load(), "a"), revision(&roster, "a"));
    let entry = entry_from_terms(&terms).expect("still accepted");
    assert_eq!(entry.policy, roster.policies["a"].policy);
    assert_eq!(entry.repository.revision, roster.policies["a"].repository.revision);
    assert!(entry_from_terms("{}").is_err());
    assert!(entry_from_terms("").is_err());
}

#[test]
fn a_spread_is_stable_and_differs_between_installations() {
    let setup = Setup::new();
    setup.write("policies.d/a.toml", &format!("[creation]\nspread = \"2h\"\n{}", policy(1)));
    let offset = |seed: &str| {
        let roster = loader(setup.root.path(), &setup.memory).with_seed(seed).load(LATER);
        let creation = roster.policies["a"].policy.creation.clone().expect("it has one");
        creation.pace.schedule.spread_ms()
    };
    assert_eq!(offset("one"), offset("one"));
    assert_ne!(offset("one"), offset("two"));
    assert!((0..7_200_000).contains(&offset("one")));
}
