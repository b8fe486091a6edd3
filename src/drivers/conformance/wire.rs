//! What the protocol asks of a program, beside what it answers when asked properly.

use serde_json::Value;

use crate::lifecycle::snapshot::Status;
use crate::lifecycle::workflow::{Fault, FaultKind};

use super::super::process::{Heard, Interruption, ProcessDriver};
use super::super::protocol::{RequestLine, VERSION, Verb};
use super::super::{Abilities, Driver};
use super::{Bench, Report, Trial, Unmet, Verdict, answer, same, untried, words, wrong};

/// The last parts of the names used here.
pub const WORDS: &[&str] = &["unknown", "input", "killed"];

/// A verb that no version will have.
const NO_VERB: &str = "juggle";

/// More than a pipe holds.
const NOISE: &str = "head -c 200000 /dev/zero | tr '\\0' x >&2";

/// Asks for the first time. Returns the program, able to do what it says, if it answers at all.
pub async fn greet(driver: ProcessDriver, bench: &Bench) -> (Option<ProcessDriver>, Report) {
    let mut report = Report::default();
    let verdict = greets(&driver, bench).await;
    let answers = verdict.is_ok();
    report.note("it greets with version 1 and answers", verdict);
    if !answers {
        report.note("everything else", untried("it does not answer the simplest question"));
        return (None, report);
    }
    let configured = driver.abilities();
    let told = driver.ask_abilities(&bench.call()).await;
    report.note("abilities are told, and are enough for the settings", abilities(configured, &told));
    let able = told.unwrap_or(configured);
    (Some(driver.able(able)), report)
}

async fn greets(driver: &ProcessDriver, bench: &Bench) -> Verdict {
    let request = describe(driver, bench, "never")?;
    let outcome = driver.exchange(Verb::Describe, line(&request)?, &bench.call()).await;
    answer("an answer", answer("an answer in the form of the protocol", outcome)?).map(|_| ())
}

/// What a repository's settings say a program can do, it has to be able to.
fn abilities(configured: Abilities, told: &Result<Abilities, Fault>) -> Verdict {
    let told = match told {
        Ok(told) => told,
        Err(fault) => return wrong("what it can do", words(fault)),
    };
    for (word, configured, told) in [
        ("cancel", configured.cancel, told.cancel),
        ("restore", configured.restore, told.restore),
        ("restore_beside", configured.restore_beside, told.restore_beside),
        ("verify", configured.verify, told.verify),
        ("maintain", configured.maintain, told.maintain),
        ("label", configured.label, told.label),
    ] {
        if configured && !told {
            return wrong(format!("that it can {word}, as the settings say"), "that it cannot");
        }
    }
    Ok(())
}

fn describe(driver: &ProcessDriver, bench: &Bench, word: &str) -> Result<RequestLine, Unmet> {
    let name = Some(bench.name(word)?.to_string());
    Ok(RequestLine { name, ..driver.request(Verb::Describe, &bench.call()) })
}

fn line(request: &RequestLine) -> Result<Vec<u8>, Unmet> {
    serde_json::to_vec(request).or_else(|error| untried(format!("the settings cannot be written: {error}")))
}

/// Holds when the program itself, and not the host, has said that it cannot.
fn refused(outcome: Result<Result<Heard, Fault>, Fault>) -> Verdict {
    let expected = "a permanent fault, in its own words";
    match answer(expected, outcome)? {
        Err(fault) if fault.kind == FaultKind::Permanent => Ok(()),
        Err(fault) => wrong(expected, words(&fault)),
        Ok(heard) => wrong(expected, format!("the result {}", heard.result)),
    }
}

impl Trial<'_> {
    /// Tries what a program has to bear.
    pub(super) async fn speaks_the_protocol(&mut self, driver: &ProcessDriver) {
        let verdict = self.refuses_other_versions(driver).await;
        self.report.note("a request of a newer version is a permanent fault", verdict);
        let verdict = self.refuses_other_verbs(driver).await;
        self.report.note("an unknown verb is a permanent fault", verdict);
        let verdict = self.ignores_other_fields(driver).await;
        self.report.note("unknown fields of a request are ignored", verdict);
        let verdict = self.bears_noise(driver).await;
        self.report.note("noise on standard error does no harm", verdict);
        let verdict = self.cancels(driver).await;
        self.report.note("cancel of what is not being made is answered", verdict);
        let verdict = self.ends_without_request(driver).await;
        self.report.note("the end of its input ends it, before a request", verdict);
        let verdict = self.breaks_off(driver, "input", Interruption::InputEnds).await;
        self.report.note("the end of its input ends it, during create", verdict);
        let verdict = self.comes_back(driver, "input").await;
        self.report.note("after that the same snapshot can be made", verdict);
        let verdict = self.breaks_off(driver, "killed", Interruption::Killed).await;
        self.report.note("killed with its group, it leaves nothing running", verdict);
        let verdict = self.comes_back(driver, "killed").await;
        self.report.note("after that, too, the same snapshot can be made", verdict);
    }

    async fn refuses_other_versions(&self, driver: &ProcessDriver) -> Verdict {
        let request = RequestLine { snapkeep: VERSION + 1, ..describe(driver, self.bench, "unknown")? };
        refused(driver.exchange(Verb::Describe, line(&request)?, &self.bench.call()).await)
    }

    async fn refuses_other_verbs(&self, driver: &ProcessDriver) -> Verdict {
        let text = String::from_utf8_lossy(&line(&describe(driver, self.bench, "unknown")?)?).into_owned();
        // The verb is the second field; the first such word is it.
        let text = text.replacen(Verb::Describe.word(), NO_VERB, 1);
        refused(driver.exchange(Verb::Describe, text.into_bytes(), &self.bench.call()).await)
    }

    async fn ignores_other_fields(&self, driver: &ProcessDriver) -> Verdict {
        for verb in [Verb::Describe, Verb::List] {
            let request = match verb {
                Verb::List => driver.request(verb, &self.bench.call()),
                _ => describe(driver, self.bench, "b")?,
            };
            let plain = line(&request)?;
            let mut more = plain.clone();
            more.pop();
            more.extend_from_slice(br#","later":{"more":[1,"}"]}}"#);
            let ask = async |line| {
                let outcome = driver.exchange(verb, line, &self.bench.call()).await;
                answer("an answer", answer("an answer", outcome)?)
            };
            let (plain, more) = (ask(plain).await?, ask(more).await?);
            same(&format!("{}, as without them:", verb.word()), &plain.result, &more.result)?;
            same("as many snapshots as without them:", &plain.snapshots.len(), &more.snapshots.len())?;
        }
        Ok(())
    }

    async fn bears_noise(&self, driver: &ProcessDriver) -> Verdict {
        let name = self.bench.name("b")?;
        let quiet = answer("an answer", driver.describe(&name, &self.bench.call()).await)?;
        let noisy = answer("an answer", driver.after(NOISE).describe(&name, &self.bench.call()).await)?;
        same("as without it:", &quiet, &noisy)
    }

    async fn cancels(&self, driver: &ProcessDriver) -> Verdict {
        if !driver.abilities().cancel {
            return untried("the driver says that it cannot cancel");
        }
        let request = RequestLine { verb: Verb::Cancel, ..describe(driver, self.bench, "unknown")? };
        let outcome = driver.exchange(Verb::Cancel, line(&request)?, &self.bench.call()).await;
        match answer("a result, or a fault in its own words", outcome)? {
            Ok(heard) => same("the result", &Value::Object(Default::default()), &heard.result),
            Err(_) => Ok(()),
        }
    }

    async fn ends_without_request(&self, driver: &ProcessDriver) -> Verdict {
        self.interrupt(driver, &[], Interruption::InputEnds).await
    }

    /// Has a snapshot made, and breaks that off.
    async fn breaks_off(&self, driver: &ProcessDriver, word: &str, how: Interruption) -> Verdict {
        let request = RequestLine {
            labels: Some(Default::default()),
            config: Some(Value::clone(&self.bench.config)),
            verb: Verb::Create,
            ..describe(driver, self.bench, word)?
        };
        let mut line = line(&request)?;
        line.push(b'\n');
        self.interrupt(driver, &line, how).await
    }

    async fn interrupt(&self, driver: &ProcessDriver, line: &[u8], how: Interruption) -> Verdict {
        let aftermath = match driver.interrupted(line, how, self.bench.time_max).await {
            Ok(aftermath) => aftermath,
            Err(error) => return wrong("a process", format!("it could not be started: {error}")),
        };
        if how == Interruption::InputEnds && !aftermath.by_itself {
            return wrong("that it ends within 5 seconds", "it had to be killed");
        }
        if aftermath.survived {
            return wrong("that nothing outlives its process group", "something still holds its output");
        }
        Ok(())
    }

    /// What was broken off is whole or not there, and can be asked for again.
    async fn comes_back(&self, driver: &ProcessDriver, word: &str) -> Verdict {
        let name = self.bench.name(word)?;
        let left = answer("what is left", driver.describe(&name, &self.bench.call()).await)?;
        // Where a server goes on by itself, it may.
        if let Some(found) = left
            && found.snapshot.status == Status::Running
            && !driver.abilities().cancel
        {
            return wrong("none, or one that is at rest", "one that is running, with nobody who makes it");
        }
        self.made(word, &[]).await?;
        let listed = answer("a complete list", driver.list(&self.bench.call()).await)?.snapshots;
        let count = listed.iter().filter(|snapshot| snapshot.name == name.as_str()).count();
        same(&format!("snapshots named {name} in the list:"), &1, &count)
    }
}
