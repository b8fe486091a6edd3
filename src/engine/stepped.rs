//! What becomes of schedules when the wall clock went back.

use super::Engine;
use super::tracked::{Tracked, Work};
use crate::journal::change::SkipReason;
use crate::lifecycle::creation::Creation;
use crate::lifecycle::deletion::Deletion;
use crate::lifecycle::time::{Moment, Timestamp};

/// A wall clock that fell behind its own past by more than this was set back (S13).
pub(super) const CLOCK_BACK_MS: i64 = 60_000;
/// A mark this far ahead of the clock, and further than the schedule's own gap, means that the clock went back (S13).
const MARK_AHEAD_MS: i64 = 3_600_000;

impl Engine {
    /// Lowers every mark that lies ahead of a clock that went back, so that schedules do not stall
    /// until the clock has caught up (S13). Triggers that ran already stay consumed: the journal
    /// knows each of them.
    pub(super) fn clock_moved_back(&mut self, now: Moment, was: Timestamp) {
        if was.since(now.wall) < CLOCK_BACK_MS {
            return;
        }
        tracing::warn!(was = %was, now = %now.wall, "the clock went back; schedules count from now");
        self.view.set_clock_moved_back(was, now.wall);
        self.hurry_all(now);
        self.look_at_alarms_anew(now);
        let all: Vec<u32> = self.policies.keys().copied().collect();
        for index in all {
            self.with(index, |engine, tracked| {
                engine.lower_mark::<Creation>(index, tracked, now);
                engine.lower_mark::<Deletion>(index, tracked, now);
            });
            // What is due next is to be looked up anew.
            self.woken.insert(index);
        }
    }

    /// See [`Engine::clock_moved_back`].
    fn lower_mark<W: Work>(&mut self, index: u32, tracked: &mut Tracked, now: Moment) {
        let Some(entry) = tracked.entry.clone() else { return };
        let Some(pace) = W::pace(&entry) else { return };
        let mark = W::flow(tracked).workflow.mark;
        let ahead_ms = mark.since(now.wall);
        if ahead_ms <= MARK_AHEAD_MS.max(pace.schedule.shortest_gap(now.wall).millis()) {
            return;
        }
        W::flow_mut(tracked).workflow.mark = now.wall;
        self.dirty.insert((index, W::KIND));
        if let Some(elapsed) = pace.schedule.elapsed(now.wall, mark) {
            self.skip::<W>(tracked, SkipReason::ClockMovedBack, elapsed.count, elapsed.first, elapsed.last, now);
        }
    }
}
