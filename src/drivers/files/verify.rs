//! Looks whether all that a snapshot needs is there, and reads as much of it as is asked for.
//!
//! A pack's name is the hash of its content, so a pack that was read and still has its name is what was
//! written. No lock is taken: a look that takes hours must not keep backups waiting. Maintenance beside
//! it can take away what was just listed; that is noticed, and is no damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::PathBuf;

use rustic_core::repofile::{Node, SnapshotFile};
use rustic_core::{IndexedFullStatus, LsOptions, PackedId, Repository, RusticError};

use crate::lifecycle::workflow::Fault;

use super::super::protocol::VerifyResult;
use super::output::Output;
use super::{Place, damage, repository};

/// As many as a message can use, of findings and of the files they concern.
const TOLD_MAX: usize = 3;

/// Verifies a snapshot. Whatever is wrong with it is a fault for a person.
pub fn verify(place: &Place, id: &str, percent: u8, output: &Output) -> Result<VerifyResult, Fault> {
    let gone = || Fault::permanent(format!("snapshot {id} is gone"));
    let opened = repository::open(place, output)?.ok_or_else(gone)?;
    let all = repository::snapshots(place, &opened)?;
    let snapshot = all.iter().find(|snapshot| repository::id(snapshot) == id).ok_or_else(gone)?;
    output.doing("reading the index", "");
    repository::beside_maintenance(place, || {
        let opened = opened.to_indexed().map_err(|error| damage::index_fault(place, &error))?;
        Look { place, opened: &opened, snapshot, output }.all(percent)
    })
}

/// A look at one snapshot.
struct Look<'a> {
    place: &'a Place,
    opened: &'a Repository<IndexedFullStatus>,
    snapshot: &'a SnapshotFile,
    output: &'a Output,
}

/// What is wrong: a few in words, all counted.
#[derive(Default)]
struct Findings {
    told: Vec<String>,
    count: usize,
}

impl Findings {
    fn add(&mut self, text: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(text);
        }
    }
}

/// The packs that a snapshot needs, each with how long it must be at least.
type Packs = BTreeMap<String, u64>;

impl Look<'_> {
    fn all(&self, percent: u8) -> Result<VerifyResult, Fault> {
        let mut findings = Findings::default();
        let mut packs = Packs::new();
        self.output.doing("looking at the files", "files");
        let walked = self.walk(&mut packs, &mut findings);
        // What cannot be walked cannot be named, but the pack that is to blame can.
        let percent = if walked.is_ok() { percent } else { 100 };
        let mut damaged = self.sizes(&mut packs, &mut findings);
        let bytes_read = self.read(&packs, percent, &mut damaged, &mut findings);
        match &walked {
            Ok(files) if findings.count == 0 => return Ok(VerifyResult { files: *files, bytes_read }),
            Ok(_) => {}
            Err(error) => {
                findings.add(format!("a directory cannot be read: {}", repository::words(error)));
            }
        }
        let more = findings.count - findings.told.len();
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let needed_by = if damaged.is_empty() { String::new() } else { self.needing(&damaged) };
        Err(Fault::permanent(format!(
            "snapshot {} is damaged: {}{more}{needed_by}",
            repository::line(self.snapshot).name,
            findings.told.join("; ")
        )))
    }

    /// Finds the packs of every blob. Returns how many files there are.
    fn walk(&self, packs: &mut Packs, findings: &mut Findings) -> Result<u64, Box<RusticError>> {
        let mut files = 0;
        self.place_of(&self.snapshot.tree, packs)?;
        for entry in self.opened.ls(&self.root()?, &LsOptions::default())? {
            let (path, node) = entry?;
            if let Some(tree) = &node.subtree {
                self.place_of(tree, packs)?;
            }
            for blob in node.content.iter().flatten() {
                if self.place_of(blob, packs).is_err() {
                    findings.add(format!("data of {} is in no pack", path.display()));
                    break;
                }
            }
            if node.is_file() {
                files += 1;
                self.output.advance(1);
            }
        }
        Ok(files)
    }

    fn root(&self) -> Result<Node, Box<RusticError>> {
        self.opened.node_from_snapshot_and_path(self.snapshot, "")
    }

    fn place_of<T: PackedId>(&self, blob: &T, packs: &mut Packs) -> Result<(), Box<RusticError>> {
        let entry = self.opened.get_index_entry(blob)?;
        let end = u64::from(entry.location.offset) + u64::from(entry.location.length);
        let needed = packs.entry(entry.pack.to_hex().to_string()).or_default();
        *needed = end.max(*needed);
        Ok(())
    }

    fn file(&self, pack: &str) -> PathBuf {
        // Names are hashes in hexadecimal: there are two characters to begin with.
        self.place.path.join("data").join(&pack[..2]).join(pack)
    }

    /// Looks whether the packs are there and long enough, and replaces what they need by what they
    /// have. Those that are not are taken out, and returned.
    fn sizes(&self, packs: &mut Packs, findings: &mut Findings) -> BTreeSet<String> {
        let mut damaged = BTreeSet::new();
        for (pack, length) in packs.iter_mut() {
            let finding = match fs::metadata(self.file(pack)) {
                Ok(metadata) if metadata.len() >= *length => {
                    *length = metadata.len();
                    continue;
                }
                Ok(_) => format!("pack {pack} is cut short"),
                Err(error) if error.kind() == ErrorKind::NotFound => format!("pack {pack} is missing"),
                Err(error) => format!("pack {pack} cannot be looked at: {error}"),
            };
            findings.add(finding);
            damaged.insert(pack.clone());
        }
        packs.retain(|pack, _| !damaged.contains(pack));
        damaged
    }

    /// Reads packs, other ones each time, until the share is reached. Returns how much was sound.
    fn read(&self, packs: &Packs, percent: u8, damaged: &mut BTreeSet<String>, findings: &mut Findings) -> u64 {
        let total: u64 = packs.values().sum();
        let share = u64::try_from(u128::from(total) * u128::from(percent.min(100)) / 100).unwrap_or(total);
        let share = if percent > 0 { share.max(1).min(total) } else { 0 };
        let dice = RandomState::new();
        let mut order: Vec<(&String, u64)> = packs.iter().map(|(pack, length)| (pack, *length)).collect();
        order.sort_by_cached_key(|(pack, _)| dice.hash_one(pack));
        self.output.doing("reading data", "bytes");
        self.output.expect(share);
        let (mut read, mut sound) = (0, 0);
        for (pack, length) in order {
            if read >= share {
                break;
            }
            read += length;
            let finding = match damage::sha256(&self.file(pack), |bytes| self.output.advance(bytes)) {
                Ok(hash) if hash == *pack => {
                    sound += length;
                    continue;
                }
                Ok(_) => format!("pack {pack} does not hold what was written to it"),
                Err(error) => format!("pack {pack} cannot be read: {error}"),
            };
            findings.add(finding);
            damaged.insert(pack.clone());
        }
        sound
    }

    /// Says which files need the damaged packs, as far as the directories can be read.
    fn needing(&self, damaged: &BTreeSet<String>) -> String {
        let (mut count, mut told) = (0u64, Vec::new());
        let Ok(root) = self.root() else { return String::new() };
        let Ok(entries) = self.opened.ls(&root, &LsOptions::default()) else { return String::new() };
        for (path, node) in entries.map_while(Result::ok) {
            let hit = node.content.iter().flatten().any(|blob| {
                self.opened.get_index_entry(blob).is_ok_and(|entry| damaged.contains(entry.pack.to_hex().as_str()))
            });
            if hit {
                count += 1;
                if told.len() < TOLD_MAX {
                    told.push(format!("/{}", path.display()));
                }
            }
        }
        match count {
            0 => String::new(),
            1 => format!(". One file needs it: {}", told.join(", ")),
            count => format!(". {count} files need it, such as {}", told.join(", ")),
        }
    }
}
