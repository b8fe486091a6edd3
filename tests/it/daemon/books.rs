//! The account of the outside against the daemon's journal, once nothing is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use snapkeep::journal::change::RunRecord;
use snapkeep::journal::{AuditQuery, FILE, Reader};
use snapkeep::lifecycle::snapshot::label;
use snapkeep::lifecycle::workflow::{Cause, Kind, Outcome};

use super::place::Place;

/// What the policies say.
const MAX_COUNT: usize = 3;
/// No answer of the journal is longer; with more nothing could be said.
const ROWS_MAX: usize = 10_000;

/// What was made and deleted, in which both agree.
pub struct Books {
    runs: Vec<RunRecord>,
    pub made: BTreeSet<String>,
    pub deleted: BTreeSet<String>,
}

impl Books {
    pub fn runs(&self, kind: Kind) -> usize {
        self.runs.iter().filter(|run| run.kind == kind).count()
    }
}

/// Returns what was made and deleted, after checking that the journal and the outside agree on every
/// snapshot and that every trigger is accounted for. The daemon has to be calm, or gone after that.
pub fn balanced(place: &Place) -> Books {
    let runs = place.runs();
    assert!(runs.len() < ROWS_MAX, "too many runs to compare");
    let open: Vec<_> = runs.iter().filter(|run| run.ended_at.is_none()).collect();
    assert!(open.is_empty(), "never settled: {open:?}");
    let triggers: BTreeSet<_> = runs.iter().map(|run| (&run.policy_uid, run.kind, run.trigger_at)).collect();
    assert_eq!(triggers.len(), runs.len(), "a trigger ran twice");

    let made = once(place, "made");
    let deleted = once(place, "deleted");
    let succeeded = |run: &&RunRecord| run.kind == Kind::Creation && run.outcome == Some(Outcome::Succeeded);
    // A trigger's run names one snapshot, so this is also that no trigger made two.
    let created: BTreeSet<String> =
        runs.iter().filter(succeeded).map(|run| run.snapshot.as_deref().expect("a name").to_string()).collect();
    assert_eq!(made, created, "what was made, and what the journal says of it");
    let audited = audited(place);
    assert_eq!(deleted, audited.keys().cloned().collect(), "what was deleted, and what the audit says of it");
    let planned = planned(place);
    let unplanned: Vec<_> =
        audited.iter().filter(|(name, run)| !planned.contains(&((*run).clone(), (*name).clone()))).collect();
    assert!(unplanned.is_empty(), "deleted without a plan of its run: {unplanned:?}");

    let kept = kept(place, &runs);
    let names: BTreeSet<String> = kept.values().flatten().cloned().collect();
    assert_eq!(names, &made - &deleted, "what is there, and what was made and not deleted");
    for policy in runs.iter().map(|run| &run.policy).collect::<BTreeSet<_>>() {
        let made = runs.iter().filter(succeeded).filter(|run| run.policy == *policy).count();
        let left = kept.get(&**policy).map_or(0, BTreeSet::len);
        assert_eq!(left, made.min(MAX_COUNT), "{policy}: left after the last deletion, of {made}");
        for (kind, step_ms) in [(Kind::Creation, 1_000), (Kind::Deletion, 2_000)] {
            every_trigger_is_recorded(place, policy, kind, step_ms, &runs);
        }
    }
    Books { runs, made, deleted }
}

/// Returns the snapshots to which the outside did this, each once.
fn once(place: &Place, what: &str) -> BTreeSet<String> {
    let account = place.account();
    let names: Vec<&String> = account.iter().filter(|(done, _)| done == what).map(|(_, name)| name).collect();
    let set: BTreeSet<String> = names.iter().map(|name| (*name).clone()).collect();
    assert_eq!(set.len(), names.len(), "{what} twice: {names:?}");
    set
}

/// Returns the run of every deletion in the audit, each snapshot once.
fn audited(place: &Place) -> BTreeMap<String, String> {
    let reader = Reader::open(&place.state()).expect("a reader");
    let audit = reader.audit(&AuditQuery { limit: u32::MAX, ..AuditQuery::default() }).expect("audit");
    assert!(audit.len() < ROWS_MAX, "too many records to compare");
    let mut deletions = BTreeMap::new();
    for record in audit.into_iter().map(|record| record.audit).filter(|audit| &*audit.what == "delete") {
        let run = record.run_id.expect("a deletion has a run").to_string();
        let before = deletions.insert(record.subject.to_string(), run);
        assert_eq!(before, None, "{} is in the audit twice", record.subject);
    }
    deletions
}

/// Returns every run and name that a journaled plan condemned.
fn planned(place: &Place) -> BTreeSet<(String, String)> {
    let connection = rusqlite::Connection::open(place.state().join(FILE)).expect("the journal's file");
    let sql = "select run_id, entries from plans where entries is not null and held is null";
    let mut statement = connection.prepare(sql).expect("plans");
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).expect("rows");
    let mut condemned = BTreeSet::new();
    for (run_id, entries) in rows.map(|row| row.expect("a row")) {
        let plan: Value = serde_json::from_str(&entries).expect("JSON");
        for entry in plan["entries"].as_array().expect("a list") {
            if entry["verdict"]["condemn"].is_object() {
                let name = entry["target"]["name"].as_str().expect("a name");
                condemned.insert((run_id.clone(), name.to_string()));
            }
        }
    }
    condemned
}

/// Returns the snapshots that are there by policy, after comparing each one's stamp with its run.
fn kept(place: &Place, runs: &[RunRecord]) -> BTreeMap<String, BTreeSet<String>> {
    let mut kept: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in fs::read_dir(place.path("store")).expect("the store").flatten().map(|file| file.path()) {
        if file.extension().is_none_or(|extension| extension != "snap") {
            continue;
        }
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name").to_string();
        let snapshot: Value = serde_json::from_str(&fs::read_to_string(&file).expect("a snapshot")).expect("JSON");
        let labels = &snapshot["labels"];
        let run = runs.iter().find(|run| run.snapshot.as_deref() == Some(&name)).expect("a run");
        assert_eq!(labels[label::RUN], *run.run_id, "{name}");
        assert_eq!(labels[label::TRIGGER], run.trigger_at.millis().to_string(), "{name}");
        kept.entry(run.policy.to_string()).or_default().insert(name);
    }
    kept
}

/// From the first trigger to the last, each is a run or part of a record of what was skipped.
fn every_trigger_is_recorded(place: &Place, policy: &str, kind: Kind, step_ms: i64, runs: &[RunRecord]) {
    let of_policy = |run: &&RunRecord| &*run.policy == policy && run.kind == kind && run.cause != Cause::Manual;
    let ran: BTreeSet<i64> = runs.iter().filter(of_policy).map(|run| run.trigger_at.millis()).collect();
    let reader = Reader::open(&place.state()).expect("a reader");
    let mut skips = reader.skips(policy, u32::MAX).expect("skips");
    assert!(skips.len() < ROWS_MAX, "too many records to compare");
    skips.retain(|skip| skip.kind == kind);
    let begins = skips.iter().map(|skip| skip.first.millis()).chain(ran.first().copied());
    let ends = skips.iter().map(|skip| skip.last.millis()).chain(ran.last().copied());
    let (Some(first), Some(last)) = (begins.min(), ends.max()) else { panic!("{policy} never had a trigger") };
    let skipped: u64 = skips.iter().map(|skip| skip.count).sum();
    let due = (last - first) / step_ms + 1;
    let recorded = ran.len() as i64 + skipped as i64;
    assert_eq!(recorded, due, "{policy} {}: {} ran, {skipped} were skipped", kind.word(), ran.len());
    let both = skips.iter().find(|skip| ran.range(skip.first.millis()..=skip.last.millis()).next().is_some());
    assert!(both.is_none(), "{policy} {}: a trigger ran and was skipped: {both:?}", kind.word());
}
