//! A journal with a long history: settled runs of every policy, as the engine would have written
//! them.

use std::path::Path;
use std::sync::Arc;

use snapkeep::journal::Journal;
use snapkeep::journal::change::{Begun, Change, Settled};
use snapkeep::lifecycle::snapshot::SnapshotName;
use snapkeep::lifecycle::time::Moment;
use snapkeep::lifecycle::workflow::{Cause, Ending, Kind, Outcome, Trigger};

const DAY_MS: i64 = 86_400_000;
/// Runs a commit: few enough to stay in memory, many enough not to wait for the disk.
const A_COMMIT: usize = 10_000;

/// Writes about so many runs into a journal that knows its policies. Policy by policy, so that what
/// is read at start lies far apart.
pub fn write(state: &Path, runs: usize, now: Moment) {
    let mut journal = Journal::open(state, now).expect("a journal");
    let loaded = journal.load().expect("loaded");
    let mut policies = loaded.policies;
    policies.sort_by(|one, other| one.policy_uid.cmp(&other.policy_uid));
    let each = runs.div_ceil(policies.len() * 2);
    let mut changes = Vec::new();
    for policy in &policies {
        for kind in Kind::ALL {
            for day in (1..=each).rev() {
                let at = now.wall.plus(-DAY_MS * day as i64);
                let began = Moment { wall: at, ..now };
                let uid = &policy.policy_uid;
                let name = SnapshotName::for_trigger(&loaded.installation, uid, &policy.name, &at.compact(), at);
                let name = name.expect("a name").to_string();
                let run_id: Arc<str> = format!("{uid}-{}-{}", kind.word(), at.millis()).into();
                let (snapshot, message) = match kind {
                    Kind::Creation => (Some(name.as_str().into()), format!("created snapshot {name}")),
                    Kind::Deletion => (None, "deleted 1 snapshot, kept 7".to_string()),
                };
                changes.push(Change::Begin(Begun {
                    run_id: run_id.clone(),
                    policy_uid: uid.clone(),
                    kind,
                    trigger: Trigger { at, cause: Cause::Schedule },
                    revision: policy.revision.clone(),
                    at: began,
                    snapshot,
                    request_key: None,
                }));
                let ending = Ending::new(Outcome::Succeeded, message);
                changes.push(Change::Settle(Settled { run_id, at: at.plus(90_000), ending, attempts: 1 }));
            }
        }
        if changes.len() >= A_COMMIT {
            journal.commit(&changes).expect("committed");
            changes.clear();
        }
    }
    journal.commit(&changes).expect("committed");
    journal.checkpoint().expect("written back");
}
