//! What ties the records of the audit together: each has a digest of itself and of the one before it.
//!
//! A record that is changed afterwards, or taken out of the middle, breaks the chain there. Of the last that went
//! with history the digest is kept. What came of a change to a policy's file is written into its record once it is
//! known, and may be there or not.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::change::{Audit, AuditRecord, RequestKey};
use super::error::JournalError;
use super::reader;

/// Breaks are told up to here; more would say no more.
const BREAKS_MAX: usize = 5;

/// Where a chain has come to.
pub(super) struct Link {
    /// The number of the latest record, 0 before the first.
    pub number: i64,
    /// Its digest; `None` where it has none.
    pub chain: Option<Vec<u8>>,
}

/// Returns the latest record's link.
pub(super) fn latest(connection: &Connection) -> Result<Link, JournalError> {
    let sql = "select number, chain from audit order by number desc limit 1";
    let mut statement = connection.prepare_cached(sql)?;
    let link = statement.query_row([], |row| Ok(Link { number: row.get(0)?, chain: row.get(1)? })).optional()?;
    Ok(link.unwrap_or(Link { number: 0, chain: None }))
}

/// Returns the digest of a record that follows another.
pub(super) fn digest(before: Option<&[u8]>, number: i64, audit: &Audit) -> [u8; 32] {
    let Audit { at, who, what, subject, detail, run_id, before: was, after, answer, request } = audit;
    let (key, fingerprint) = match request {
        Some(RequestKey { key, fingerprint }) => (Some(&**key), Some(&**fingerprint)),
        None => (None, None),
    };
    let mut hash = Sha256::new();
    hash.update(before.unwrap_or(&[0; 32]));
    hash.update(number.to_be_bytes());
    hash.update(at.millis().to_be_bytes());
    let parts = [
        Some(&**who),
        Some(&**what),
        Some(&**subject),
        Some(detail),
        run_id.as_deref(),
        was.as_deref(),
        after.as_deref(),
        answer.as_deref(),
        key,
        fingerprint,
    ];
    for part in parts {
        // How long it is, and whether it is there: no two records have the same bytes.
        match part {
            Some(text) => {
                hash.update([1]);
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
            None => hash.update([0]),
        }
    }
    hash.finalize().into()
}

/// Writes down which record goes with history last: the first that is left is judged by it.
pub(super) fn forget(connection: &Connection, up_to: i64) -> Result<(), JournalError> {
    let sql = "update instance set audit_gone = ?1,
        audit_gone_chain = (select chain from audit where number = ?1)";
    connection.prepare_cached(sql)?.execute(params![up_to])?;
    Ok(())
}

/// Returns where the chain is broken, in sentences.
pub(super) fn breaks(connection: &Connection) -> Result<Vec<String>, JournalError> {
    let sql = "select audit_unchained, audit_gone, audit_gone_chain from instance";
    let (unchained, mut former) = connection
        .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, Link { number: row.get(1)?, chain: row.get(2)? })))?;
    let sql = "select number, at, who, what, subject, detail, run_id, before, after, answer, request,
            coalesce(fingerprint, ''), chain
        from audit order by number";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params![])?;
    let mut broken = Vec::new();
    while let Some(row) = rows.next()? {
        let chain: Option<Vec<u8>> = row.get(12)?;
        let request = match row.get::<_, Option<Box<str>>>(10)? {
            Some(key) => Some(RequestKey { key, fingerprint: row.get(11)? }),
            None => None,
        };
        let AuditRecord { number, audit } = reader::audit(row)?;
        let audit = Audit { request, ..audit };
        if number > unchained
            && let Some(why) = broken_at(&former, number, &audit, chain.as_deref())
        {
            broken.push(format!("record {number} of the audit {why}"));
            if broken.len() == BREAKS_MAX {
                break;
            }
        }
        former = Link { number, chain };
    }
    Ok(broken)
}

fn broken_at(former: &Link, number: i64, audit: &Audit, chain: Option<&[u8]>) -> Option<&'static str> {
    let Some(chain) = chain else { return Some("has lost its digest") };
    if former.number + 1 != number {
        return Some("does not follow the one before it: some in between are gone");
    }
    let before = former.chain.as_deref();
    let is_it = |audit: &Audit| digest(before, number, audit) == *chain;
    let is_whole = is_it(audit) || (is_answered_later(audit) && is_it(&Audit { answer: None, ..audit.clone() }));
    (!is_whole).then_some("is not as it was written, or the one before it is not")
}

/// Whether what came of it is known only after it was written down.
fn is_answered_later(audit: &Audit) -> bool {
    matches!(&*audit.what, "put" | "remove")
}
