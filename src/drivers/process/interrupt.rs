//! A conversation that is broken off in the middle, to see what is left of the program.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::child::{Ended, Worker};
use super::{Limits, ProcessDriver};

/// How a conversation is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Its input ends after what was said, as when the daemon is gone.
    InputEnds,
    /// Its group is killed, as at a deadline that it does not keep.
    Killed,
}

/// What was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aftermath {
    /// Whether the program ended without being ended by us.
    pub by_itself: bool,
    /// Whether something that left the group still holds its output.
    pub survived: bool,
}

impl ProcessDriver {
    /// Starts the program, says `line` (nothing, when it is empty), and breaks off: at once, or, when
    /// it is to be killed, as soon as it has said something.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(in crate::drivers) async fn interrupted(
        &self,
        line: &[u8],
        how: Interruption,
        answer_max: Duration,
    ) -> io::Result<Aftermath> {
        let limits = match how {
            Interruption::InputEnds => self.limits.clone(),
            // No last wish: a driver has to bear the worst.
            Interruption::Killed => Limits { grace: Duration::ZERO, ..self.limits.clone() },
        };
        let (worker, mut pipes) = Worker::start(&self.program, &limits)?;
        if !line.is_empty() {
            // One that has ended already reads nothing, and that is told by how it ended.
            let _ = pipes.stdin.write_all(line).await;
            let _ = pipes.stdin.flush().await;
        }
        let mut stdout = pipes.stdout;
        let mut stderr = pipes.stderr;
        let ended = match how {
            Interruption::InputEnds => {
                drop(pipes.stdin);
                // What it still says must not hold it up.
                let drained = async {
                    tokio::join!(drained(&mut stdout), drained(&mut stderr));
                    std::future::pending::<Ended>().await
                };
                tokio::select! {
                    ended = worker.finish() => ended,
                    ended = drained => ended,
                }
            }
            Interruption::Killed => {
                let mut first = [0];
                let _ = tokio::time::timeout(answer_max, stdout.read(&mut first)).await;
                worker.stop().await;
                drop(pipes.stdin);
                Ended::ByUs
            }
        };
        // Whoever belonged to the group is dead by now, and the pipes have no other holders.
        let rest = async { tokio::join!(drained(&mut stdout), drained(&mut stderr)) };
        let survived = tokio::time::timeout(self.limits.grace, rest).await.is_err();
        Ok(Aftermath { by_itself: matches!(ended, Ended::Itself(_)), survived })
    }
}

/// Reads to the end and forgets it.
async fn drained(from: &mut (impl AsyncReadExt + Unpin)) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = from.read(&mut buffer).await {}
}
