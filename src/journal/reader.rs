//! A second, read-only look at the journal, for people and for what shows it to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use wildmatch::WildMatch;

use super::change::{Audit, AuditRecord, DocumentKind, Loaded, PlanRecord, RunRecord, Skip};
use super::error::{JournalError, OpenError};
use super::load::{self, RUN_COLUMNS, all, unsigned, value};
use super::record::{
    Counts, Document, NoticeQuery, NoticeRecord, NoticeState, OperationKind, OperationRecord, PolicyRecord,
    PolicyVersion, Waiting,
};
use super::totals::{self, Totals};
use super::{FILE, edits, notices, open, operations, plans};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::Kind;

/// A second, read-only look at the journal. Never sees half a commit, never delays one.
///
/// It opens a damaged journal too and shows what can still be read, one question at a time.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    file: PathBuf,
}

/// No answer is longer: a reader that takes its time keeps the log from being emptied.
const ROWS_MAX: u32 = 10_000;
/// Up to so many policies each is asked for its own runs; for more, all runs are walked through.
const POLICIES_ASKED_MAX: usize = 32;

/// Which runs to tell of.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Only of these policies, by name with `*`; empty means all.
    pub policies: Vec<String>,
    /// Only of this workflow.
    pub kind: Option<Kind>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// Which audit records to tell of.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only of this run.
    pub run_id: Option<String>,
    /// Only of these subjects, with `*`; empty means all.
    pub subjects: Vec<String>,
    /// At most so many, newest first.
    pub limit: u32,
}

/// Which operations to tell of.
#[derive(Clone, Debug, Default)]
pub struct OperationQuery {
    /// Only of this kind.
    pub kind: Option<OperationKind>,
    /// Only of these subjects, with `*`; empty means all.
    pub subjects: Vec<String>,
    /// At most so many, newest first.
    pub limit: u32,
}

impl Reader {
    /// Opens the journal of a state directory for reading only.
    pub fn open(state_directory: &Path) -> Result<Reader, OpenError> {
        let file = state_directory.join(FILE);
        Ok(Reader { connection: open::reader(&file)?, file })
    }

    /// Returns runs, newest first.
    pub fn history(&self, query: &HistoryQuery) -> Result<Vec<RunRecord>, JournalError> {
        let limit = query.limit.min(ROWS_MAX) as usize;
        let _look = self.connection.unchecked_transaction()?;
        let policies = self.policies()?;
        let total = policies.len();
        let asked = matching(policies, &query.policies);
        let mut records = if asked.len() == total {
            self.history_of_all(query.kind, |_| true, limit)?
        } else if asked.len() <= POLICIES_ASKED_MAX {
            self.history_of_each(&asked, query.kind, limit)?
        } else {
            self.history_of_all(query.kind, |policy_uid| asked.contains(policy_uid), limit)?
        };
        // What began at one instant lies as is best for the journal, which says nothing to people: it is told
        // as if it had begun in the order of names.
        for instant in records.chunk_by_mut(|one, next| one.began_at == next.began_at) {
            instant.sort_by(|one, next| next.policy.cmp(&one.policy));
        }
        Ok(records)
    }

    fn history_of_all(
        &self,
        kind: Option<Kind>,
        wanted: impl Fn(&str) -> bool,
        limit: usize,
    ) -> Result<Vec<RunRecord>, JournalError> {
        let sql = format!(
            "select {RUN_COLUMNS} from runs r join policies p on p.policy_uid = r.policy_uid
                where ?1 is null or r.kind = ?1 order by r.number desc"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![kind.map(Kind::word)])?;
        let mut records = Vec::new();
        while records.len() < limit {
            let Some(row) = rows.next()? else { break };
            if wanted(row.get_ref(2)?.as_str()?) {
                records.push(load::run(row)?);
            }
        }
        Ok(records)
    }

    fn history_of_each(
        &self,
        policy_uids: &BTreeSet<Box<str>>,
        kind: Option<Kind>,
        limit: usize,
    ) -> Result<Vec<RunRecord>, JournalError> {
        // Those under way are few, and in no index by policy.
        let sql = format!(
            "select {RUN_COLUMNS}, r.number from runs r join policies p on p.policy_uid = r.policy_uid
                where r.number in (
                    select number from (select number from runs
                        where policy_uid = ?1 and kind = ?2 and ended_at is not null
                        order by trigger_at desc limit ?3)
                    union all
                    select number from runs indexed by runs_under_way
                        where ended_at is null and policy_uid = ?1 and kind = ?2)"
        );
        let kinds = kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
        let mut numbered = Vec::new();
        for policy_uid in policy_uids {
            for kind in &kinds {
                let parameters = params![policy_uid, kind.word(), limit as i64];
                numbered.extend(all(&self.connection, &sql, parameters, |row| {
                    Ok((row.get::<_, i64>(13)?, load::run(row)?))
                })?);
            }
        }
        numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        Ok(numbered.into_iter().take(limit).map(|(_, record)| record).collect())
    }

    /// Returns the latest journaled plan of a policy.
    pub fn latest_plan(&self, policy: &str) -> Result<Option<PlanRecord>, JournalError> {
        let _look = self.connection.unchecked_transaction()?;
        plans::latest(&self.connection, policy)
    }

    /// Returns one plan.
    pub fn plan(&self, number: u64) -> Result<Option<PlanRecord>, JournalError> {
        let _look = self.connection.unchecked_transaction()?;
        plans::numbered(&self.connection, number)
    }

    /// Returns plans that were held, newest first.
    pub fn held_plans(&self, limit: u32) -> Result<Vec<PlanRecord>, JournalError> {
        let _look = self.connection.unchecked_transaction()?;
        plans::held(&self.connection, limit.min(ROWS_MAX) as usize)
    }

    /// Returns what was deleted, spared or commanded, newest first.
    pub fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, JournalError> {
        let sql = match query.run_id {
            Some(_) => {
                "select number, at, who, what, subject, detail, run_id, before, after, answer from audit
                    where run_id = ?1 order by number desc"
            }
            None => {
                "select number, at, who, what, subject, detail, run_id, before, after, answer from audit
                    where ?1 is null order by number desc"
            }
        };
        let patterns: Vec<_> = query.subjects.iter().map(|subject| WildMatch::new(subject)).collect();
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![query.run_id])?;
        let mut records = Vec::new();
        while records.len() < query.limit.min(ROWS_MAX) as usize {
            let Some(row) = rows.next()? else { break };
            let subject = row.get_ref(4)?.as_str()?;
            if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(subject)) {
                records.push(audit(row)?);
            }
        }
        Ok(records)
    }

    /// Returns operations, newest first.
    pub fn operations(&self, query: &OperationQuery) -> Result<Vec<OperationRecord>, JournalError> {
        let limit = query.limit.min(ROWS_MAX) as usize;
        operations::operations(&self.connection, query.kind, &query.subjects, limit)
    }

    /// Returns one operation.
    pub fn operation(&self, number: u64) -> Result<Option<OperationRecord>, JournalError> {
        operations::operation(&self.connection, number)
    }

    /// Returns triggers of a policy that were consumed without a run, newest first.
    pub fn skips(&self, policy: &str, limit: u32) -> Result<Vec<Skip>, JournalError> {
        let sql = "select s.policy_uid, s.kind, s.reason, s.count, s.first_at, s.last_at, s.at
            from policies p join skips s on s.policy_uid = p.policy_uid
            where p.name = ?1 order by s.number desc limit ?2";
        all(&self.connection, sql, params![policy, limit.min(ROWS_MAX)], load::skip)
    }

    /// Returns notices, newest first.
    pub fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRecord>, JournalError> {
        let NoticeQuery { state, channel, policy, limit } = query;
        let columns = notices::COLUMNS;
        let sql = format!(
            "select {columns} from notices where (?1 is null or state = ?1) and (?2 is null or channel = ?2)
                and (?3 is null or policy = ?3) order by number desc limit ?4"
        );
        let state = state.map(NoticeState::word);
        all(&self.connection, &sql, params![state, channel, policy, (*limit).min(ROWS_MAX)], notices::record)
    }

    /// Returns one notice.
    pub fn notice(&self, number: u64) -> Result<Option<NoticeRecord>, JournalError> {
        notices::numbered(&self.connection, number)
    }

    /// Returns what every channel is owed, by name; those that were told everything are not among them.
    pub fn notices_waiting(&self) -> Result<BTreeMap<Box<str>, Waiting>, JournalError> {
        notices::waiting(&self.connection)
    }

    /// Returns what was counted since the journal began, of each living policy, and how large the journal is.
    pub fn totals(&self) -> Result<Totals, JournalError> {
        totals::read(&self.connection, &self.file)
    }

    /// Returns how many rows of each sort there are.
    pub fn counts(&self) -> Result<Counts, JournalError> {
        let count = |sql: &str| unsigned(value(&self.connection, sql, [])?.unwrap_or_default());
        let _look = self.connection.unchecked_transaction()?;
        Ok(Counts {
            policies: count("select count(*) from policies where retired_at is null")?,
            runs: count("select count(*) from runs")?,
            runs_active: count("select count(*) from workflows where phase = 'active'")?,
            notices_pending: count("select count(*) from notices where state = 'pending'")?,
            notices_undeliverable: count("select count(*) from notices where state = 'undeliverable'")?,
            notice_oldest_at: notices::oldest(&self.connection)?,
            file_bytes: count("pragma page_count")? * count("pragma page_size")?,
        })
    }

    /// Returns what the engine would find at start.
    pub fn load(&self) -> Result<Loaded, JournalError> {
        load::whole(&self.connection, open::machine_changed(&self.connection, &open::machine())?)
    }

    /// Returns the run that was begun for a client's key, if one was.
    pub fn run_of_request(&self, key: &str) -> Result<Option<RunRecord>, JournalError> {
        load::run_of_request(&self.connection, key)
    }

    /// Returns the last good text of one file, if it ever had one.
    pub fn document(&self, kind: DocumentKind, name: &str) -> Result<Option<Document>, JournalError> {
        load::document(&self.connection, kind, name)
    }

    /// Returns which version of a policy is or was there, by its uid.
    pub fn version_of(&self, policy_uid: &str) -> Result<Option<PolicyVersion>, JournalError> {
        edits::version_of(&self.connection, policy_uid)
    }

    /// Returns the living policies of these names, in their order, or all of them by name; those that no
    /// file stands for are left out.
    pub fn policy_records(&self, names: Option<&[Arc<str>]>) -> Result<Vec<PolicyRecord>, JournalError> {
        edits::policies(&self.connection, names)
    }

    /// Returns which version of each living policy is there, by name.
    pub fn versions(&self) -> Result<Vec<PolicyVersion>, JournalError> {
        edits::versions(&self.connection)
    }

    /// Returns every policy's name by its uid, retired ones included.
    fn policies(&self) -> Result<BTreeMap<Box<str>, Box<str>>, JournalError> {
        let policies =
            all(&self.connection, "select policy_uid, name from policies", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(policies.into_iter().collect())
    }
}

fn matching(policies: BTreeMap<Box<str>, Box<str>>, patterns: &[String]) -> BTreeSet<Box<str>> {
    let patterns: Vec<_> = patterns.iter().map(|pattern| WildMatch::new(pattern)).collect();
    let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name));
    policies.into_iter().filter(|(_, name)| wanted(name)).map(|(policy_uid, _)| policy_uid).collect()
}

/// Reads the columns of a record, in the order of the table, up to its answer.
pub(super) fn audit(row: &Row<'_>) -> Result<AuditRecord, JournalError> {
    Ok(AuditRecord {
        number: row.get(0)?,
        audit: Audit {
            at: Timestamp::from_millis(row.get(1)?),
            who: row.get(2)?,
            what: row.get(3)?,
            subject: row.get(4)?,
            detail: row.get(5)?,
            run_id: row.get(6)?,
            before: row.get(7)?,
            after: row.get(8)?,
            answer: row.get(9)?,
            // For whoever asks again, and nobody else.
            request: None,
        },
    })
}
