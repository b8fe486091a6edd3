//! What people are shown of single snapshots before anything is done to one: whose each is, what holds it, and
//! what would become of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Change, Shown, Survey};
use crate::drivers::{Call, ProgressSink};
use crate::engine::event::{Books, Done, Site, What};
use crate::lifecycle::hold::Holds;
use crate::lifecycle::snapshot::{Listing, Snapshot, Status};
use crate::lifecycle::workflow::Fault;
use crate::roster::Repository;
use crate::upkeep::{AT_ONCE_MAX, LIST_TIME_MAX, Upkeep, mismatch, within};

/// All there is to know about a repository.
pub(super) struct Look {
    pub books: Books,
    pub site: Site,
    pub listing: Listing,
}

impl Upkeep {
    /// Lists what nobody looks after.
    pub async fn orphans(&self, who: &str) -> Result<Survey, Fault> {
        let (looks, troubles) = self.look(who, Vec::new()).await?;
        let mut survey = Survey { shown: Vec::new(), troubles };
        for look in &looks {
            let all = (0..look.listing.snapshots.len()).map(|index| look.shown(index, None));
            survey.shown.extend(all.filter(|shown| !shown.orphaned.is_empty()));
        }
        Ok(survey)
    }

    /// Says what a change of the snapshots named would do. Changes nothing.
    pub async fn preview(
        &self,
        who: &str,
        names: &[String],
        repositories: Vec<String>,
        change: &Change,
    ) -> Result<Survey, Fault> {
        if let Change::Adopt { policy } = change {
            // An unknown policy is told at once.
            let where_to = What::Sites { repositories: Vec::new(), policies: vec![policy.clone()] };
            self.sites(who, where_to).await?;
        }
        let (looks, mut troubles) = self.look(who, repositories).await?;
        let silent = troubles.len();
        let mut shown: Vec<Shown> = Vec::new();
        for name in names {
            let found: Vec<Shown> = looks
                .iter()
                .flat_map(|look| {
                    let all = look.listing.snapshots.iter().enumerate();
                    let named = all.filter(|(_, one)| one.name == *name || one.id == *name);
                    named.map(|(index, _)| look.shown(index, Some(change)))
                })
                .collect();
            match found.len() {
                0 if silent > 0 => troubles.push(format!("snapshot {name} was not found where an answer came")),
                0 => troubles.push(format!("no repository has a snapshot {name}")),
                1 => shown.extend(found.into_iter().filter(|one| !shown.contains(one)).collect::<Vec<_>>()),
                many => {
                    let places: Vec<&str> = found.iter().map(|one| &*one.repository).collect();
                    troubles.push(format!(
                        "snapshot {name} was found {many} times, in {}: name one by its id, or its repository",
                        places.join(", ")
                    ));
                }
            }
        }
        Ok(Survey { shown, troubles })
    }

    /// Finds what the journal holds under a name that no repository has any more.
    pub(super) async fn held_and_gone(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
    ) -> Result<Option<(String, Snapshot)>, Fault> {
        let (looks, silent) = self.look(who, repositories).await?;
        let is_there = looks.iter().any(|look| look.listing.snapshots.iter().any(|one| one.name == name));
        let holds = |look: &&Look| look.holds().is_some_and(|holds| holds.of(name).is_some());
        let Some(look) = looks.iter().find(holds).filter(|_| !is_there && silent.is_empty()) else { return Ok(None) };
        let gone = Snapshot {
            name: name.to_owned(),
            id: String::new(),
            taken_at: None,
            status: Status::Failed,
            labels: BTreeMap::new(),
            in_use: None,
            size_bytes: None,
        };
        Ok(Some((look.site.repository.name.to_string(), gone)))
    }

    /// Finds the one snapshot of a name or identity.
    pub(super) async fn only(
        &self,
        who: &str,
        name: &str,
        repositories: Vec<String>,
    ) -> Result<(Arc<Repository>, Snapshot), Fault> {
        let (looks, silent) = self.look(who, repositories).await?;
        let mut found: Vec<(Arc<Repository>, Snapshot)> = Vec::new();
        for look in looks {
            let same = look.listing.snapshots.into_iter().filter(|one| one.name == name || one.id == name);
            found.extend(same.map(|one| (look.site.repository.clone(), one)));
        }
        match (found.len(), found.pop()) {
            (1, Some(found)) => Ok(found),
            (0, _) | (_, None) if silent.is_empty() => {
                Err(Fault::permanent(format!("no repository has a snapshot {name}")))
            }
            (0, _) | (_, None) => Err(Fault::transient(format!("it was not found, and {}", silent.join("; ")))),
            (many, Some(_)) => {
                let message = format!("snapshot {name} was found {many} times; name one by its id, or its repository");
                Err(Fault::permanent(message))
            }
        }
    }

    pub(super) async fn look_at(&self, who: &str, repository: &str) -> Result<Look, Fault> {
        let (mut looks, mut silent) = self.look(who, vec![repository.to_owned()]).await?;
        match (looks.pop(), silent.pop()) {
            (Some(look), _) => Ok(look),
            (None, Some(trouble)) => Err(Fault::transient(trouble)),
            (None, None) => Err(Fault::permanent(format!("there is no repository {repository}"))),
        }
    }

    /// Lists repositories; those that do not answer are told.
    pub(super) async fn look(&self, who: &str, repositories: Vec<String>) -> Result<(Vec<Look>, Vec<String>), Fault> {
        let Done::Books(books) = self.ask(who, What::Books { repositories }).await? else {
            return Err(mismatch());
        };
        // Side by side: one that hangs keeps no other from its answer, and none waits for the sum of all.
        let (places, mut asked) = (Arc::new(Semaphore::new(AT_ONCE_MAX)), JoinSet::new());
        for (index, site) in books.sites.iter().cloned().enumerate() {
            let places = places.clone();
            asked.spawn(async move {
                let _place = places.acquire().await;
                let call = Call { time_max: LIST_TIME_MAX, progress: ProgressSink::default() };
                let listing = within(LIST_TIME_MAX, site.repository.driver.list(&call)).await;
                (index, site, listing)
            });
        }
        let (mut answers, mut silent) = (BTreeMap::new(), Vec::new());
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((index, site, Ok(listing))) => {
                    answers.insert(index, Look { books: Books::clone(&books), site, listing });
                }
                Ok((_, site, Err(fault))) => {
                    silent.push(format!("repository {} could not be asked: {}", site.repository.name, fault.message));
                }
                Err(lost) => silent.push(format!("a repository could not be asked: {lost}")),
            }
        }
        silent.sort_unstable();
        let looks = answers.into_values().collect();
        Ok((looks, silent))
    }
}

impl Look {
    pub fn holds(&self) -> Option<&Arc<Holds>> {
        self.books.holds.get(&self.site.repository.name)
    }

    pub fn verdict(&self, index: usize, change: &Change) -> Result<String, String> {
        let Site { repository, forbidden, .. } = &self.site;
        let estate = &self.books.estate;
        let name = &*repository.name;
        match change {
            Change::Expire { .. } | Change::Adopt { .. } if forbidden.is_some() => {
                Err(format!("nothing is deleted or adopted: {}", forbidden.as_deref().unwrap_or_default()))
            }
            Change::Expire { owned } => {
                let holds = self.holds().cloned().unwrap_or_default();
                estate.may_expire(name, &holds, &self.listing, index, *owned).map(|()| "to be deleted".to_owned())
            }
            Change::Adopt { policy } => {
                if !repository.driver.abilities().label {
                    return Err(format!("repository {name} ({}) cannot change labels", repository.kind));
                }
                let heir = estate.policies.iter().find(|(_, living)| *living.name == **policy);
                let (uid, _) = heir.ok_or_else(|| format!("there is no policy `{policy}`"))?;
                estate.may_adopt(name, &self.listing, index, uid)?;
                Ok(format!("to become policy {policy}'s, whose rule judges it from then on"))
            }
        }
    }

    fn shown(&self, index: usize, change: Option<&Change>) -> Shown {
        let repository = self.site.repository.name.clone();
        let snapshot = self.listing.snapshots[index].clone();
        let estate = &self.books.estate;
        let hold = self.holds().and_then(|holds| holds.on(&snapshot, estate.now));
        Shown {
            whose: estate.whose_words(&snapshot),
            orphaned: estate.orphaned(&repository, &snapshot),
            verdict: change.map_or_else(|| Ok(String::new()), |change| self.verdict(index, change)),
            hold,
            repository,
            snapshot,
        }
    }
}
