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

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::super::super::Abilities;
    use super::super::Program;
    use super::*;

    /// Breaks off a shell script and returns what was left.
    async fn broken_off(script: &str, how: Interruption) -> Aftermath {
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            called: None,
            title: "script".to_owned(),
        };
        let abilities = Abilities {
            cancel: false,
            restore: false,
            restore_beside: false,
            verify: false,
            maintain: false,
            label: false,
            effects_max: 1,
        };
        let limits = Limits { grace: Duration::from_secs(2), ..Limits::default() };
        let driver = ProcessDriver::new(program, Map::new(), abilities, limits);
        driver.interrupted(b"x\n", how, Duration::from_secs(60)).await.expect("started")
    }

    #[tokio::test]
    async fn who_ends_with_its_input_and_who_does_not_is_told() {
        let well = Aftermath { by_itself: true, survived: false };
        assert_eq!(broken_off("cat >/dev/null", Interruption::InputEnds).await, well);
        assert_eq!(broken_off("yes | head -c 300000; yes | head -c 300000 >&2", Interruption::InputEnds).await, well);
        let ended = Aftermath { by_itself: false, survived: false };
        assert_eq!(broken_off("sleep 60", Interruption::InputEnds).await, ended);
    }

    #[tokio::test]
    async fn whoever_left_the_group_and_outlives_it_is_told() {
        let killed = Aftermath { by_itself: false, survived: false };
        assert_eq!(broken_off("trap '' TERM; sleep 60 & echo; sleep 60", Interruption::Killed).await, killed);
        let left = Aftermath { by_itself: false, survived: true };
        assert_eq!(broken_off("setsid sh -c 'echo; sleep 5' & sleep 60", Interruption::Killed).await, left);
    }
}
