//! A repository's turn: a driver says how many effects at once it bears, and who is ready first goes
//! first, creation before deletion (S7). Whoever changes single snapshots there takes a place like a run, where
//! nobody waits for one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use super::event::{Done, Refusal};
use super::tracked::{Tracked, TurnAt, Work};
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::{Kind, Phase};

/// Who has a repository, and who waits for it. Creation goes before deletion, then who came first.
#[derive(Debug, Default)]
pub(super) struct Gate {
    having: usize,
    queue: BTreeSet<(Kind, Timestamp, u32)>,
}

impl Gate {
    /// Whether somebody has the repository.
    pub(super) fn is_taken(&self) -> bool {
        self.having > 0
    }
}

impl Engine {
    /// Takes its repository for a run whose work went on while nobody was there, before others ask
    /// for it, and however many there are.
    pub(super) fn resume<W: Work>(&mut self, tracked: &mut Tracked) {
        let at_work = match &W::flow(tracked).workflow.phase {
            Phase::Active(run) => run.step.is_at_work(),
            Phase::Waiting | Phase::Watching(_) => false,
        };
        if at_work && let Some(entry) = W::asked(tracked) {
            self.gates.entry(entry.repository.name.clone()).or_default().having += 1;
            W::flow_mut(tracked).turn = TurnAt::Having;
        }
    }

    /// Waits for the repository's turn; says whether it is there.
    pub(super) fn enter<W: Work>(&mut self, index: u32, tracked: &mut Tracked) -> bool {
        let Some(entry) = W::asked(tracked).cloned() else { return true };
        let effects_max = entry.repository.driver.abilities().effects_max.max(1);
        let began = match &W::flow(tracked).workflow.phase {
            Phase::Active(run) => run.began.wall,
            Phase::Waiting | Phase::Watching(_) => return true,
        };
        let flow = W::flow_mut(tracked);
        let place = (W::KIND, began, index);
        let gate = self.gates.entry(entry.repository.name.clone()).or_default();
        match flow.turn {
            TurnAt::Having => true,
            TurnAt::Away | TurnAt::Queued => {
                let first = gate.queue.first().is_none_or(|next| *next >= place);
                if gate.having < effects_max && first {
                    gate.queue.remove(&place);
                    gate.having += 1;
                    flow.turn = TurnAt::Having;
                    // Where several fit, the next in line need not wait for somebody to leave.
                    if gate.having < effects_max
                        && let Some((_, _, next)) = gate.queue.first()
                    {
                        self.woken.insert(*next);
                    }
                    true
                } else {
                    gate.queue.insert(place);
                    flow.turn = TurnAt::Queued;
                    false
                }
            }
        }
    }

    /// Gives the repository's turn to the next in line.
    pub(super) fn leave<W: Work>(&mut self, index: u32, tracked: &mut Tracked) {
        let turn = W::flow(tracked).turn;
        W::flow_mut(tracked).turn = TurnAt::Away;
        self.ready.remove(&(index, W::KIND));
        let Some(entry) = W::asked(tracked) else { return };
        let name = entry.repository.name.clone();
        let Some(gate) = self.gates.get_mut(&name) else { return };
        match turn {
            TurnAt::Away => return,
            TurnAt::Queued => gate.queue.retain(|(kind, _, queued)| (*kind, *queued) != (W::KIND, index)),
            TurnAt::Having => gate.having = gate.having.saturating_sub(1),
        }
        self.let_next_in(&name);
    }

    /// Gives somebody who changes single snapshots a place at a repository. Runs that wait go first.
    pub(super) fn enter_guest(&mut self, repository: &str, guest: u64) -> Result<Done, Refusal> {
        if self.stopping {
            return Err(Refusal::Unavailable("the daemon is about to end".to_string()));
        }
        let known = self.roster.repositories.get_key_value(repository);
        let (name, known) = known.ok_or_else(|| Refusal::UnknownRepository(repository.to_string()))?;
        let effects_max = known.driver.abilities().effects_max.max(1);
        let gate = self.gates.entry(name.clone()).or_default();
        if gate.having >= effects_max || !gate.queue.is_empty() {
            return Err(Refusal::Busy(format!("a creation or a deletion is at work in repository {name}")));
        }
        gate.having += 1;
        self.guests.insert(guest, name.clone());
        Ok(Done::Acknowledged)
    }

    /// Takes that place back; whoever never had one has nothing to give.
    pub(super) fn leave_guest(&mut self, guest: u64) {
        let Some(name) = self.guests.remove(&guest) else { return };
        if let Some(gate) = self.gates.get_mut(&name) {
            gate.having = gate.having.saturating_sub(1);
        }
        self.let_next_in(&name);
    }

    fn let_next_in(&mut self, repository: &Arc<str>) {
        let Some(gate) = self.gates.get(repository) else { return };
        if let Some((_, _, next)) = gate.queue.first() {
            self.woken.insert(*next);
        }
        if gate.having == 0 && gate.queue.is_empty() {
            self.gates.remove(repository);
        }
    }
}
