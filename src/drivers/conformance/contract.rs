//! What every driver promises, whether it is a program or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lifecycle::snapshot::{Snapshot, SnapshotName, Status, label};
use crate::lifecycle::workflow::{Fault, FaultKind};

use super::super::{Created, Found, LabelOrder, MaintainOrder, Order, RestoreOrder, VerifyOrder};
use super::{Trial, Unmet, Verdict, answer, same, target, untried, words, wrong};

/// The last parts of the names used here.
pub const WORDS: &[&str] = &["a", "b", "c", "foreign", "bare", "never"];

/// How often a snapshot that goes on by itself is asked after.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What was found to be needed by nothing a moment ago is kept for so long.
const NEVER_OVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Labels as a person may choose them: every character that some repository or script trips over.
const LABELS: [(&str, &str); 5] = [
    (label::POLICY, "snapkeep-test"),
    (label::INSTALLATION, "snapkeep-test"),
    (label::TRIGGER, "1772330400000"),
    ("note", "a,b=c \"}\\ %2C ü"),
    ("empty", ""),
];

/// What is set later, on one that has those: another value, and a key of its own.
const SET: [(&str, &str); 3] =
    [("note", "c,d=\"e\\f\" %2C"), ("later", "b,\"a\":1"), (label::POLICY, "snapkeep-test-2")];
/// What is removed from it.
const REMOVED: &str = "empty";

/// The labels of somebody else's snapshot.
const FOREIGN: [(&str, &str); 2] = [(label::POLICY, "snapkeep-test"), (label::INSTALLATION, "somebody-else")];

fn texts(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Trial<'_> {
    /// Tries it all, in an order in which each case finds what it needs.
    pub(super) async fn keeps_the_contract(&mut self) {
        let before = self.listed().await;
        self.report.note("the repository can be listed", before.as_ref().map(|_| ()).map_err(Unmet::clone));
        let before: BTreeSet<String> = before.unwrap_or_default().into_keys().collect();

        let verdict = self.is_absent("never").await;
        self.report.note("a name that nobody made is described as null", verdict);
        let made = self.made("a", &LABELS).await;
        self.report.note("create makes a snapshot that is good", made.as_ref().map(|_| ()).map_err(Unmet::clone));
        let first = made.ok();
        let first = first.as_ref();

        let verdict = self.is_described_as_made(first).await;
        self.report.note("describe tells what create told", verdict);
        let verdict = self.has_its_labels(first).await;
        self.report.note("labels come back as they were given", verdict);
        let verdict = self.is_accepted_again(first).await;
        self.report.note("create with the same name makes no second one", verdict);
        let verdict = self.lists_exactly(&before, &["a"], first).await;
        self.report.note("the list holds what was made and nothing else is gone", verdict);
        let verdict = self.makes_two_at_once(first).await;
        self.report.note("two names at the same time become two snapshots", verdict);
        let verdict = self.keeps_ownership(first).await;
        self.report.note("somebody else's snapshot is listed as theirs", verdict);

        let verdict = self.restores(first).await;
        self.report.note("restore gives the data back into an empty directory", verdict);
        let verdict = self.restores_over_nothing(first).await;
        self.report.note("restore refuses a directory that is not empty", verdict);

        let verdict = self.verifies(first).await;
        self.report.note("verify finds a good snapshot sound", verdict);

        let labelled = self.labels_one(first).await;
        let verdict = labelled.as_ref().map(|_| ()).map_err(Unmet::clone);
        self.report.note("label sets and removes labels, and changes nothing else", verdict);
        let verdict = match &labelled {
            Ok(asked) => self.labels_it_again(asked).await,
            Err(_) => untried("label did not work the first time"),
        };
        self.report.note("label asked again, also by the identity of before, changes nothing more", verdict);

        let verdict = self.deletes(first, &before).await;
        self.report.note("delete removes that snapshot and no other", verdict);
        let verdict = self.deletes_again(first).await;
        self.report.note("deleting what is gone counts as deleted", verdict);
        let verdict = match first {
            None => nothing_made(),
            Some(_) => self.is_absent("a").await,
        };
        self.report.note("what was deleted is described as null", verdict);
        let verdict = self.restores_nothing_deleted(first).await;
        self.report.note("restoring what was deleted is a permanent fault", verdict);
        let verdict = self.verifies_nothing_deleted(first).await;
        self.report.note("verifying what was deleted is a permanent fault", verdict);
        let verdict = self.labels_nothing_deleted(first).await;
        self.report.note("labelling what was deleted is a permanent fault", verdict);
        let verdict = self.maintains(first).await;
        self.report.note("maintenance removes nothing before its time, and no snapshot", verdict);
        let verdict = self.restores_after_maintenance(first).await;
        self.report.note("after maintenance a snapshot still gives its data back", verdict);
    }

    /// Creates, and waits for a snapshot that goes on by itself.
    pub(super) async fn create(&self, name: &SnapshotName, labels: &[(&str, &str)]) -> Result<Found, Fault> {
        let (config, labels) = (self.bench.config.clone(), texts(labels));
        let order = Order { name: name.clone(), labels, config };
        let call = self.bench.call();
        if let Created::Ended(found) = self.driver.create(&order, &call).await? {
            return Ok(found);
        }
        let at_rest = async {
            loop {
                match self.driver.describe(name, &call).await? {
                    Some(found) if found.snapshot.status == Status::Running => tokio::time::sleep(LOOK_AGAIN).await,
                    Some(found) => return Ok(found),
                    None => return Err(Fault::transient("it was accepted, and then described as null")),
                }
            }
        };
        let late = Err(Fault::transient(format!("it was accepted, and still runs after {:?}", self.bench.time_max)));
        tokio::time::timeout(self.bench.time_max, at_rest).await.unwrap_or(late)
    }

    /// Creates what has to be good in the end.
    pub(super) async fn made(&self, word: &str, labels: &[(&str, &str)]) -> Result<Snapshot, Unmet> {
        let name = self.bench.name(word)?;
        good(&name, self.create(&name, labels).await)
    }

    /// The listing by identity, which has to tell them apart.
    async fn listed(&self) -> Result<BTreeMap<String, Snapshot>, Unmet> {
        let mut listed = BTreeMap::new();
        for snapshot in answer("a complete list", self.driver.list(&self.bench.call()).await)?.snapshots {
            if let Some(other) = listed.insert(snapshot.id.clone(), snapshot.clone()) {
                let got = format!("{} and {} both have {:?}", other.name, snapshot.name, snapshot.id);
                return wrong("an id of its own for each snapshot", got);
            }
        }
        Ok(listed)
    }

    pub(super) async fn is_absent(&self, word: &str) -> Verdict {
        let name = self.bench.name(word)?;
        let expected = format!("that there is no {name}");
        match answer(&expected, self.driver.describe(&name, &self.bench.call()).await)? {
            None => Ok(()),
            Some(found) => wrong(expected, told(&found.snapshot)),
        }
    }

    async fn is_described_as_made(&self, first: Option<&Snapshot>) -> Verdict {
        let Some(first) = first else { return nothing_made() };
        let name = self.bench.name("a")?;
        let expected = told(first);
        match answer(&expected, self.driver.describe(&name, &self.bench.call()).await)? {
            Some(found) if told(&found.snapshot) == expected => Ok(()),
            Some(found) => wrong(expected, told(&found.snapshot)),
            None => wrong(expected, "that there is none"),
        }
    }

    async fn has_its_labels(&self, first: Option<&Snapshot>) -> Verdict {
        let Some(first) = first else { return nothing_made() };
        let labels = texts(&LABELS);
        same("from create, the labels", &labels, &first.labels)?;
        let name = self.bench.name("a")?;
        let described = answer("a description", self.driver.describe(&name, &self.bench.call()).await)?;
        same("from describe, the labels", &labels, &described.map(|found| found.snapshot.labels).unwrap_or_default())?;
        let listed = self.listed().await?.remove(&first.id);
        same("from list, the labels", &labels, &listed.map(|snapshot| snapshot.labels).unwrap_or_default())
    }

    async fn is_accepted_again(&self, first: Option<&Snapshot>) -> Verdict {
        let Some(first) = first else { return nothing_made() };
        let again = self.made("a", &LABELS).await?;
        same("the snapshot that is there:", &told(first), &told(&again))?;
        let count = self.listed().await?.values().filter(|snapshot| snapshot.name == first.name).count();
        same(&format!("snapshots named {} in the list:", first.name), &1, &count)
    }

    /// The list holds what it did before, and beside it what is named here.
    async fn lists_exactly(&self, before: &BTreeSet<String>, made: &[&str], first: Option<&Snapshot>) -> Verdict {
        if first.is_none() {
            return nothing_made();
        }
        let listed = self.listed().await?;
        if let Some(gone) = before.iter().find(|id| !listed.contains_key(*id)) {
            return wrong(format!("that snapshot {gone:?}, which is not ours, is still there"), "it is not listed");
        }
        let ours: Vec<&str> =
            listed.values().filter(|one| !before.contains(&one.id)).map(|one| one.name.as_str()).collect();
        let mut expected = Vec::new();
        for word in made {
            expected.push(self.bench.name(word)?.to_string());
        }
        let mut ours: Vec<String> = ours.into_iter().map(str::to_owned).collect();
        ours.sort();
        same("beside what was there before:", &expected, &ours)?;
        let listed = first.and_then(|first| listed.get(&first.id).map(told));
        same("listed as created:", &first.map(told), &listed)
    }

    async fn makes_two_at_once(&self, first: Option<&Snapshot>) -> Verdict {
        if first.is_none() {
            return nothing_made();
        }
        let (b, c) = (self.bench.name("b")?, self.bench.name("c")?);
        let both = tokio::join!(self.create(&b, &LABELS), self.create(&c, &LABELS));
        for (name, outcome) in [(&b, both.0), (&c, both.1)] {
            let outcome = match outcome {
                // Whoever has to wait is told so, and makes it when it is alone.
                Err(fault) if fault.kind == FaultKind::Busy => self.create(name, &LABELS).await,
                outcome => outcome,
            };
            good(name, outcome)?;
        }
        let names: BTreeSet<String> = self.listed().await?.into_values().map(|snapshot| snapshot.name).collect();
        match [&b, &c].into_iter().find(|name| !names.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => wrong(format!("{name} in the list"), "it is not"),
        }
    }

    /// Labels alone say whose a snapshot is; so those of others must not become ours, nor any be added.
    async fn keeps_ownership(&self, first: Option<&Snapshot>) -> Verdict {
        if first.is_none() {
            return nothing_made();
        }
        let foreign = self.made("foreign", &FOREIGN).await?;
        let bare = self.made("bare", &[]).await?;
        let listed = self.listed().await?;
        for (snapshot, labels) in [(foreign, texts(&FOREIGN)), (bare, BTreeMap::new())] {
            let Some(listed) = listed.get(&snapshot.id) else {
                return wrong(format!("{} in the list", snapshot.name), "it is not");
            };
            same(&format!("{} with the labels", snapshot.name), &labels, &listed.labels)?;
        }
        Ok(())
    }

    async fn restores(&self, first: Option<&Snapshot>) -> Verdict {
        let order = self.restore_order(first, "back")?;
        self.bench.scratch.empty("back").or_else(|error| untried(error.to_string()))?;
        let restored = answer("the files", self.driver.restore(&order, &self.bench.call()).await)?;
        match self.bench.scratch.missing(&order.to) {
            Ok(None) => Ok(()),
            // A driver that says itself that there was nothing has given all of it back.
            Ok(Some(_)) if restored.files == 0 && !self.bench.scratch.is_used => Ok(()),
            Ok(Some((expected, got))) => wrong(expected, got),
            Err(error) => wrong("files that can be read", error.to_string()),
        }
    }

    async fn restores_over_nothing(&self, first: Option<&Snapshot>) -> Verdict {
        let order = self.restore_order(first, "full")?;
        self.bench.scratch.full("full").or_else(|error| untried(error.to_string()))?;
        let outcome = self.driver.restore(&order, &self.bench.call()).await;
        if !self.bench.scratch.is_untouched("full") {
            return wrong("that what was in the directory is left alone", "it is gone or another");
        }
        match (outcome, self.driver.abilities().restore_beside) {
            (Err(_), false) | (Ok(_), true) => Ok(()),
            (Ok(_), false) => wrong("a fault: there is a file in the directory", "a result"),
            (Err(fault), true) => wrong("a result: it can restore beside what is there", words(&fault)),
        }
    }

    async fn restores_nothing_deleted(&self, first: Option<&Snapshot>) -> Verdict {
        let order = self.restore_order(first, "gone")?;
        self.bench.scratch.empty("gone").or_else(|error| untried(error.to_string()))?;
        match self.driver.restore(&order, &self.bench.call()).await {
            Err(fault) if fault.kind == FaultKind::Permanent => Ok(()),
            Err(fault) => wrong("a permanent fault", words(&fault)),
            Ok(_) => wrong("a permanent fault", "a result"),
        }
    }

    fn restore_order(&self, first: Option<&Snapshot>, folder: &str) -> Result<RestoreOrder, Unmet> {
        if !self.driver.abilities().restore {
            return untried("the driver says that it cannot restore");
        }
        let Some(first) = first else { return nothing_made() };
        Ok(RestoreOrder {
            target: target(first),
            to: self.bench.scratch.path(folder),
            include: Vec::new(),
            overwrite: false,
        })
    }

    async fn verifies(&self, first: Option<&Snapshot>) -> Verdict {
        let order = self.verify_order(first)?;
        let verified = answer("that it is sound", self.driver.verify(&order, &self.bench.call()).await)?;
        let files = self.bench.scratch.count().or_else(|error| untried(error.to_string()))?;
        if verified.files < files {
            return wrong(format!("{files} files looked at"), verified.files.to_string());
        }
        if self.bench.scratch.is_used && verified.bytes_read == 0 {
            return wrong("that all its data was read", "none was");
        }
        Ok(())
    }

    async fn verifies_nothing_deleted(&self, first: Option<&Snapshot>) -> Verdict {
        let order = self.verify_order(first)?;
        match self.driver.verify(&order, &self.bench.call()).await {
            Err(fault) if fault.kind == FaultKind::Permanent => Ok(()),
            Err(fault) => wrong("a permanent fault", words(&fault)),
            Ok(_) => wrong("a permanent fault", "a result"),
        }
    }

    fn verify_order(&self, first: Option<&Snapshot>) -> Result<VerifyOrder, Unmet> {
        if !self.driver.abilities().verify {
            return untried("the driver says that it cannot verify");
        }
        let Some(first) = first else { return nothing_made() };
        Ok(VerifyOrder { target: target(first), read_data_percent: 100 })
    }

    /// Changes the labels of a second snapshot, and returns what was asked for.
    async fn labels_one(&self, first: Option<&Snapshot>) -> Result<(LabelOrder, Snapshot), Unmet> {
        if !self.driver.abilities().label {
            return untried("the driver says that it cannot label");
        }
        if first.is_none() {
            return nothing_made();
        }
        let name = self.bench.name("b")?;
        let before = self.listed().await?;
        let Some(one) = before.values().find(|snapshot| snapshot.name == name.as_str()) else { return nothing_made() };
        let order = LabelOrder { target: target(one), set: texts(&SET), remove: [REMOVED.to_owned()].into() };
        let labelled = answer("the snapshot", self.driver.label(&order, &self.bench.call()).await)?;
        let mut labels = one.labels.clone();
        labels.extend(texts(&SET));
        labels.remove(REMOVED);
        let expected = Snapshot { id: labelled.id.clone(), labels, ..one.clone() };
        same("the snapshot with other labels:", &expected, &labelled)?;
        let mut expected: BTreeMap<String, Snapshot> = before.clone();
        expected.remove(&one.id);
        expected.insert(labelled.id.clone(), labelled);
        same("listed afterwards:", &expected, &self.listed().await?)?;
        let described = answer("a description", self.driver.describe(&name, &self.bench.call()).await)?;
        let described = described.map(|found| (found.snapshot.id.clone(), found.snapshot));
        let expected = expected.into_iter().find(|(_, snapshot)| snapshot.name == name.as_str());
        same("described afterwards:", &expected, &described)?;
        Ok((order, one.clone()))
    }

    async fn labels_it_again(&self, (order, before): &(LabelOrder, Snapshot)) -> Verdict {
        let listed = self.listed().await?;
        let Some(now) = listed.values().find(|snapshot| snapshot.name == before.name) else {
            return wrong(format!("{} in the list", before.name), "it is not");
        };
        for target in [&order.target, &target(now)] {
            let order = LabelOrder { target: target.clone(), ..order.clone() };
            let labelled = answer("the snapshot", self.driver.label(&order, &self.bench.call()).await)?;
            same("the snapshot that is there:", now, &labelled)?;
        }
        same("listed afterwards:", &listed, &self.listed().await?)
    }

    async fn labels_nothing_deleted(&self, first: Option<&Snapshot>) -> Verdict {
        if !self.driver.abilities().label {
            return untried("the driver says that it cannot label");
        }
        let Some(first) = first else { return nothing_made() };
        let order = LabelOrder { target: target(first), set: texts(&SET), remove: BTreeSet::new() };
        match self.driver.label(&order, &self.bench.call()).await {
            Err(fault) if fault.kind == FaultKind::Permanent => Ok(()),
            Err(fault) => wrong("a permanent fault", words(&fault)),
            Ok(_) => wrong("a permanent fault", "a result"),
        }
    }

    async fn maintains(&self, first: Option<&Snapshot>) -> Verdict {
        if !self.driver.abilities().maintain {
            return untried("the driver says that it cannot maintain");
        }
        if first.is_none() {
            return nothing_made();
        }
        let before = self.listed().await?;
        let order = MaintainOrder { keep: NEVER_OVER };
        let maintained = answer("that it is maintained", self.driver.maintain(&order, &self.bench.call()).await)?;
        same("removed that had to be kept for a century:", &0, &maintained.removed.count)?;
        let listed = self.listed().await?;
        match before.values().find(|snapshot| !listed.contains_key(&snapshot.id)) {
            None => Ok(()),
            Some(gone) => wrong(format!("that {} is still there", gone.name), "it is gone"),
        }
    }

    async fn restores_after_maintenance(&self, first: Option<&Snapshot>) -> Verdict {
        if !self.driver.abilities().maintain {
            return untried("the driver says that it cannot maintain");
        }
        let name = self.bench.name("b")?;
        let kept = self.listed().await?.into_values().find(|snapshot| snapshot.name == name.as_str());
        let order = self.restore_order(first.and(kept.as_ref()), "kept")?;
        self.bench.scratch.empty("kept").or_else(|error| untried(error.to_string()))?;
        answer("the files", self.driver.restore(&order, &self.bench.call()).await)?;
        match self.bench.scratch.missing(&order.to) {
            Ok(Some((expected, got))) if self.bench.scratch.is_used => wrong(expected, got),
            Ok(_) => Ok(()),
            Err(error) => wrong("files that can be read", error.to_string()),
        }
    }

    async fn deletes(&self, first: Option<&Snapshot>, before: &BTreeSet<String>) -> Verdict {
        let Some(first) = first else { return nothing_made() };
        let mut expected: BTreeSet<String> = self.listed().await?.into_keys().collect();
        answer("that it is deleted", self.driver.delete(&target(first), &self.bench.call()).await)?;
        expected.remove(&first.id);
        let listed: BTreeSet<String> = self.listed().await?.into_keys().collect();
        if listed.contains(&first.id) {
            return wrong(format!("{} gone from the list", first.name), "it is still there");
        }
        match expected.union(before).find(|id| !listed.contains(*id)) {
            None => Ok(()),
            Some(id) => wrong(format!("that snapshot {id:?} is still there"), "it is gone as well"),
        }
    }

    async fn deletes_again(&self, first: Option<&Snapshot>) -> Verdict {
        let Some(first) = first else { return nothing_made() };
        answer("that it is deleted", self.driver.delete(&target(first), &self.bench.call()).await)
    }
}

/// Takes what has to be a good snapshot of that name.
fn good(name: &SnapshotName, outcome: Result<Found, Fault>) -> Result<Snapshot, Unmet> {
    let expected = format!("{name}, good");
    let found = answer(&expected, outcome)?;
    if found.snapshot.name == name.as_str() && found.snapshot.status == Status::Good {
        return Ok(found.snapshot);
    }
    let because = found.message.map(|message| format!(": {message}")).unwrap_or_default();
    wrong(expected, format!("{}{because}", told(&found.snapshot)))
}

/// A snapshot in a few words: what must not differ from one answer to the next.
fn told(snapshot: &Snapshot) -> String {
    let taken = snapshot.taken_at.map_or("at no known time".to_owned(), |at| format!("at {} ms", at.millis()));
    format!("{} with id {:?}, taken {taken}, {}", snapshot.name, snapshot.id, snapshot.status.word())
}

fn nothing_made<T>() -> Result<T, Unmet> {
    untried("create made nothing to try it on")
}
