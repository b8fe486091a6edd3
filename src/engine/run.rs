//! The engine's thread: wait, read the clock, take a turn, hand out what is to be done.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::clock;
use crate::journal::JournalError;

use super::Engine;
use super::event::{Errands, Event};
use super::perform::Performer;
use super::pulse::Attendant;

/// The longest wait: a clock that was set, or a machine that slept, is noticed within this even
/// where nothing tells us.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Events taken in one turn at most, so that a turn stays short.
const EVENTS_A_TURN: usize = 4_096;
/// One answer and a little progress for every job, commands, and room to spare. Its places are taken
/// from memory at the start: a fifth of a megabyte. Progress that does not fit is dropped, answers wait.
pub const INBOX_MAX: usize = 2_048;
/// Returns the engine's inbox.
pub fn inbox() -> (SyncSender<Event>, Receiver<Event>) {
    sync_channel(INBOX_MAX)
}

/// Runs the engine until it is told to stop, or the journal fails. Call it on a thread of its own.
///
/// A stop waits `stop_timeout` for answers in flight, or until it is said a second time. What has not come by then
/// is asked again at the next start.
pub fn run(
    mut engine: Engine,
    first: Errands,
    inbox: &Receiver<Event>,
    performer: &mut Performer,
    attendant: &mut dyn Attendant,
    stop_timeout: Duration,
) -> Result<(), JournalError> {
    engine.measure_by(clock::awake);
    performer.carry_out(first);
    let mut stop_by = None;
    loop {
        let now = clock::now();
        if let Some(by) = stop_by
            && (engine.jobs_in_flight() == 0 || now.uptime >= by)
        {
            if engine.jobs_in_flight() > 0 {
                let jobs = engine.jobs_in_flight();
                tracing::warn!(jobs, "stopping without answers that are still to come; they are asked for again");
            }
            performer.abandon_all();
            return Ok(());
        }
        let patience = attendant.attend(&|| engine.pulse(), now).min(WAIT_MAX);
        let until = match stop_by {
            None => engine.idle_ms(now),
            // Nothing new is begun; only answers are waited for.
            Some(by) => Some(by - now.uptime),
        };
        let until = until.map_or(WAIT_MAX, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let mut events = Vec::new();
        match inbox.recv_timeout(until.min(patience)) {
            Ok(event) => events.push(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while events.len() < EVENTS_A_TURN
            && let Ok(event) = inbox.try_recv()
        {
            events.push(event);
        }
        // It may have waited long.
        let now = clock::now();
        for _ in events.iter().filter(|event| matches!(event, Event::Stop)) {
            stop_by = match stop_by {
                None => {
                    attendant.stops(stop_timeout);
                    let within_ms = i64::try_from(stop_timeout.as_millis()).unwrap_or(i64::MAX);
                    Some(now.uptime.saturating_add(within_ms))
                }
                Some(_) => Some(now.uptime),
            };
        }
        engine.hear_of_clock(clock::is_synchronised());
        let errands = engine.turn(now, events)?;
        performer.carry_out(errands);
    }
}
