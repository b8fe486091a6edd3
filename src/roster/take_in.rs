//! Takes in what policies name: repositories and channels. Their files come and go as policies' do,
//! but what a policy in force needs stays.

use std::path::Path;
use std::sync::Arc;

use super::loader::{LastGood, Load, known};
use super::shelf::{Shelf, Sight, Tracked, look, scan};
use super::{Document, file_in};
use crate::config::problem::Problem;
use crate::config::sources::Sources;
use crate::config::{Digest, FileKind};
use crate::ownership::Trust;

/// Makes of a name, a file and its text what it stands for, or its problems.
pub(super) type Build<'b, T> = dyn FnMut(&str, &Path, &str) -> (Option<T>, Vec<Problem>) + 'b;

/// What taking in a folder came to.
pub(super) struct TakenIn {
    /// How many files were read.
    pub files: u64,
    /// Whether a name went away, or may stand for something else.
    pub changed: bool,
}

/// Takes in the repositories or channels that are there. One whose file is gone stays until it is
/// known whether a policy needs it.
pub(super) fn take_in<T>(
    shelf: &mut Shelf<T>,
    kind: FileKind,
    sources: &Sources,
    trust: &Trust,
    last_good: &LastGood,
    load: &mut Load,
    build: &mut Build<'_, T>,
) -> TakenIn {
    let scan = scan(sources, trust, kind, known(shelf));
    let mut taken = TakenIn { files: 0, changed: false };
    load.problems.extend(scan.problems);
    for (name, tracked) in &mut shelf.tracked {
        if !scan.found.contains_key(&**name) && !tracked.is_gone {
            taken.changed = true;
            mark_gone(tracked);
        }
    }
    for (name, found) in scan.found {
        let folder = load.memo.folder(&found.path);
        let tracked = shelf.tracked.entry((&*name).into()).or_insert_with(|| Tracked::new(folder.clone()));
        let is_elsewhere = tracked.folder != folder || tracked.is_gone;
        let stamp = tracked.stamp.filter(|_| !is_elsewhere);
        let sight = if found.is_blocked { Sight::Unsettled } else { look(&found.path, stamp, trust, load.now) };
        let (problems, stamp, digest) = match sight {
            Sight::Same => continue,
            Sight::Absent => {
                taken.changed = true;
                mark_gone(tracked);
                continue;
            }
            Sight::Unsettled => {
                load.is_unsettled |= !found.is_blocked;
                (Vec::new(), None, Digest(0))
            }
            Sight::Bad { problem, stamp } => {
                taken.files += 1;
                (vec![problem], stamp, Digest(0))
            }
            Sight::Text { text, stamp } => {
                taken.files += 1;
                load.is_unsettled |= stamp.is_none();
                let digest = Digest::of(&text);
                if tracked.digest == digest && !is_elsewhere {
                    tracked.stamp = stamp;
                    continue;
                }
                taken.changed = true;
                match build(&name, &found.path, &text) {
                    (Some(good), problems) => {
                        load.remember(kind, &name, &found.path, text);
                        *tracked = Tracked { stamp, digest, problems, ..Tracked::new(folder) };
                        tracked.good = Some(Arc::new(good));
                        continue;
                    }
                    (None, problems) => (problems, stamp, digest),
                }
            }
        };
        let good = tracked.good.take().or_else(|| {
            let (origin, text) = last_good(kind, &name)?;
            taken.changed = true;
            build(&name, Path::new(&origin), &text).0.map(Arc::new)
        });
        *tracked = Tracked { stamp, digest, problems, good, is_stale: true, ..Tracked::new(folder) };
    }
    taken
}

fn mark_gone<T>(tracked: &mut Tracked<T>) {
    tracked.is_gone = true;
    tracked.stamp = None;
    tracked.problems = Vec::new();
}

pub(super) fn drop_unneeded<'p, T>(
    shelf: &mut Shelf<T>,
    kind: FileKind,
    needers: &dyn Fn(FileKind, &str) -> Vec<&'p str>,
    load: &mut Load,
) -> usize {
    let mut dropped = Vec::new();
    for (name, tracked) in &mut shelf.tracked {
        if !tracked.is_gone {
            continue;
        }
        let needers = if tracked.good.is_some() { needers(kind, name) } else { Vec::new() };
        if needers.is_empty() {
            dropped.push(name.clone());
            continue;
        }
        let more = if needers.len() > 3 { format!(" and {} more", needers.len() - 3) } else { String::new() };
        let named: Vec<&str> = needers.iter().take(3).copied().collect();
        let problem = Problem::of_file(
            &file_in(&tracked.folder, name),
            format!("file is gone, and {}{more} cannot do without it", named.join(", ")),
        );
        let hint = format!(
            "the {} stays in force as it was last read: put the file back, or change the policies",
            kind.word()
        );
        tracked.problems = vec![problem.with_hint(hint)];
    }
    for name in &dropped {
        if shelf.tracked.remove(name).is_some_and(|tracked| tracked.good.is_some()) {
            load.documents.push(Document::gone(kind, name));
        }
    }
    dropped.len()
}
