//! Work of hours that is no policy's run: written down before it is begun and when it is over. It is
//! done elsewhere; the engine keeps the book.

use crate::journal::JournalError;
use crate::journal::change::{Audit, Change};
use crate::journal::record::{OperationEnd, OperationKind, OperationOutcome, OperationRecord};
use crate::lifecycle::time::Moment;

use super::Engine;
use super::event::{Done, Refusal};

impl Engine {
    /// Writes down that an operation begins. The answer is its number.
    pub(super) fn begin_operation(
        &mut self,
        who: &str,
        kind: OperationKind,
        subject: &str,
        now: Moment,
    ) -> Result<Done, Refusal> {
        if self.stopping {
            return Err(Refusal::Unavailable("the daemon is about to end".to_string()));
        }
        // The journal takes no others; nobody who asks may bring it to refuse a turn.
        if subject.is_empty() || subject.contains(char::is_control) {
            return Err(Refusal::Unavailable("what has no name cannot be worked on".to_string()));
        }
        self.refuse_without_room(now)?;
        let number = self.latest_operation + 1;
        self.latest_operation = number;
        let (subject, who) = (subject.into(), who.into());
        let operation = OperationRecord { number, kind, subject, who, began_at: now.wall, end: None };
        self.changes.push(Change::BeginOperation(operation.clone()));
        if self.edits.request.is_some() {
            // What comes of it is written down when it is over; the key has to be known until then, too.
            let audit = Audit::of(now.wall, &operation.who, kind.word(), &operation.subject, "begun");
            let request = self.edits.request.take();
            let after = Some(Audit::operation_running(number));
            self.changes.push(Change::Audit(Audit { after, request, ..audit }));
        }
        self.show_maintenance(&operation);
        self.operations.insert(number, operation.clone());
        Ok(Done::Operation(Box::new(operation)))
    }

    /// Writes down what came of an operation, and who had wanted it.
    pub(super) fn end_operation(&mut self, number: u64, result: Result<String, String>, now: Moment) -> Done {
        let (outcome, message, detail) = match result {
            Ok(message) => (OperationOutcome::Succeeded, message.clone(), message),
            Err(message) => (OperationOutcome::Failed, message.clone(), format!("failed: {message}")),
        };
        // One that nobody began has nothing to end.
        let Some(operation) = self.close_operation(number, outcome, message, now) else { return Done::Acknowledged };
        let OperationRecord { number, kind, subject, who, .. } = &operation;
        let (before, after) = (Some(Audit::operation_running(*number)), Some(outcome.word().into()));
        let answer = Some(if outcome == OperationOutcome::Succeeded { "done" } else { "failed" }.into());
        let audit = Audit::of(now.wall, who, kind.word(), subject, detail);
        self.audit(Audit { before, after, answer, ..audit });
        Done::Operation(Box::new(operation))
    }

    /// Ends what was under way when the journal was last written: its process is gone.
    pub(super) fn end_interrupted_operations(&mut self, now: Moment) {
        let cut_off: Vec<u64> = self.operations.keys().copied().collect();
        for number in cut_off {
            self.close_operation(number, OperationOutcome::Interrupted, "the daemon ended before it did".into(), now);
        }
    }

    /// Ends operations whose number reached nobody: whoever asked has gone, and nothing was begun.
    pub(super) fn end_unheard_operations(&mut self, unheard: Vec<u64>, now: Moment) -> Result<(), JournalError> {
        for number in unheard {
            let message = "whoever asked had gone before it began".to_string();
            self.close_operation(number, OperationOutcome::Interrupted, message, now);
        }
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() { Ok(()) } else { self.commit(&changes) }
    }

    fn close_operation(
        &mut self,
        number: u64,
        outcome: OperationOutcome,
        message: String,
        now: Moment,
    ) -> Option<OperationRecord> {
        let end = OperationEnd { at: now.wall, outcome, message };
        let operation = OperationRecord { end: Some(end.clone()), ..self.operations.remove(&number)? };
        self.changes.push(Change::EndOperation { number, end });
        self.show_maintenance(&operation);
        Some(operation)
    }

    fn show_maintenance(&self, operation: &OperationRecord) {
        if operation.kind == OperationKind::Maintain {
            self.view.set_maintenance(operation.clone());
        }
    }
}
