//! What monitoring reads: every metric there is, in the text format of Prometheus.
//!
//! Made from the last published view and from what the journal has counted; nobody else is asked, so a scrape
//! delays nothing and a driver that hangs delays no scrape. One text for `GET /metrics`, for `snapkeep metrics` and
//! for the file of a textfile collector. It is made piece by piece: of thousands of policies it is tens of megabytes,
//! which are never held at once.
//!
//! Labels are the names of policies, repositories, channels and jobs, and words of closed lists; nothing else.

mod daemon;
mod policies;
mod text;
mod textfile;

use std::sync::Arc;

use crate::engine::commits::BOUNDS_MICROS;
use crate::engine::tracked::Tracked;
use crate::engine::view::{Daemon, View};
use crate::journal::record::OperationEnd;
use crate::journal::{Totals, WorkflowTotals};
use crate::lifecycle::time::Moment;
use crate::roster::Channel;

pub use text::CONTENT_TYPE;
pub use textfile::write;

use text::Samples;

/// A piece ends with the first policy after so many bytes.
const PIECE_BYTES: usize = 32 << 10;

/// What a family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It only rises, across restarts too.
    Counter,
    /// It is as it is at present.
    Gauge,
    /// Counts below bounds, since the start.
    Histogram,
}

impl Sort {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Counter => "counter",
            Sort::Gauge => "gauge",
            Sort::Histogram => "histogram",
        }
    }
}

/// Metrics of one name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// What its values mean.
    pub sort: Sort,
    /// Its labels, in their order.
    pub labels: &'static [&'static str],
    /// What it tells, in a sentence.
    pub help: &'static str,
    of: Of,
}

/// Whom a family is about.
#[derive(Clone, Copy, Debug)]
enum Of {
    Daemon(fn(&Scene, &mut Samples<'_>)),
    Policy(fn(&Scene, &PolicyScene, &mut Samples<'_>)),
}

/// Returns every family there is, in the order in which they are told.
pub fn families() -> impl Iterator<Item = &'static Family> {
    policies::FAMILIES.iter().chain(daemon::FAMILIES)
}

/// Everything that is told, as it was at one moment.
#[derive(Debug)]
struct Scene {
    now: Moment,
    daemon: Daemon,
    channels: Arc<[Arc<Channel>]>,
    policies: Vec<PolicyScene>,
    commits: [u64; BOUNDS_MICROS.len() + 1],
    commit_micros: u64,
    /// `None` where the journal could not be read.
    journal: Option<JournalScene>,
}

#[derive(Debug)]
struct PolicyScene {
    tracked: Arc<Tracked>,
    /// Creation and deletion; `None` where the journal could not be read. A false zero is no zero.
    totals: Option<Box<[WorkflowTotals; 2]>>,
}

#[derive(Debug)]
struct JournalScene {
    file_bytes: u64,
    log_bytes: u64,
    verified: Option<OperationEnd>,
}

/// The whole text, piece by piece. Each piece ends with a line.
#[derive(Debug)]
pub struct Exposition {
    scene: Scene,
    /// How many families were told wholly.
    families: usize,
    /// Of the next one, how many policies.
    policies: usize,
}

impl Exposition {
    /// Takes down what there is to tell at `now`; `totals` is what the journal has counted, where it could be read.
    /// Nothing that happens later changes the text.
    pub fn of(view: &View, totals: Option<Totals>, now: Moment) -> Exposition {
        let (journal, mut counted) = match totals {
            Some(Totals { policies, file_bytes, log_bytes, verified }) => {
                (Some(JournalScene { file_bytes, log_bytes, verified }), Some(policies))
            }
            None => (None, None),
        };
        let policies = view.policies(&[]).into_iter().map(|tracked| {
            // Who has no line there has counted nothing yet.
            let totals = counted.as_mut().map(|counted| Box::new(counted.remove(&*tracked.uid).unwrap_or_default()));
            PolicyScene { tracked, totals }
        });
        let scene = Scene {
            now,
            policies: policies.collect(),
            daemon: view.daemon(),
            channels: view.channels(),
            commits: view.commits().cumulative(),
            commit_micros: view.commits().micros(),
            journal,
        };
        Exposition { scene, families: 0, policies: 0 }
    }
}

impl Iterator for Exposition {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut piece = String::new();
        for family in families().skip(self.families) {
            if self.policies == 0 {
                text::head(&mut piece, family);
            }
            let mut samples = Samples::new(&mut piece, family);
            match family.of {
                Of::Daemon(tell) => tell(&self.scene, &mut samples),
                Of::Policy(tell) => {
                    for policy in self.scene.policies.iter().skip(self.policies) {
                        tell(&self.scene, policy, &mut samples);
                        self.policies += 1;
                        if samples.bytes() >= PIECE_BYTES && self.policies < self.scene.policies.len() {
                            return Some(piece);
                        }
                    }
                }
            }
            self.families += 1;
            self.policies = 0;
            if piece.len() >= PIECE_BYTES {
                return Some(piece);
            }
        }
        (!piece.is_empty()).then_some(piece)
    }
}
