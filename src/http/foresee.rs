//! What will be, and what an edited policy would do: simulated from the snapshots there are. Changes
//! nothing, and puts nothing in force.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Extension, Path as PathOf, Query};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::engine::event::{Bearings, Done, Survey, What};
use crate::engine::perform;
use crate::engine::tracked::{Flow, Tracked};
use crate::lifecycle::foresight::{
    self, Difference, Fate, Foresight, HeldStretch, Life, Outcome, Prospect, Sign, Stay, TooFar,
};
use crate::lifecycle::hold::Holds;
use crate::lifecycle::plan::{Entry as PlanEntry, Former, Freshness, Grounds, Held, LastGood};
use crate::lifecycle::policy::{Pace, Policy};
use crate::lifecycle::retention::{Keep, Owner, Verdict};
use crate::lifecycle::schedule::Schedule;
use crate::lifecycle::snapshot::Listing;
use crate::lifecycle::time::Timestamp;
use crate::lifecycle::workflow::Phase;
use crate::roster::{Entry, Problem};

use super::body::{
    ChangeBody, CompareOrder, ComparisonBody, CountBody, DraftOrder, FateBody, ForeseeOrder, ForeseenBody,
    ForesightBody, GoneBody, HeldBody, LifeBody, PlanBody, SideBody, SignBody, UntilBody,
};
use super::control::{mismatch, send};
use super::error::ApiError;
use super::serve::Peer;
use super::{Shared, State, look, shape};

/// A column each on the widest terminal there is.
const LOOKS_MAX: usize = 512;
/// The caller's clock was read a little earlier.
const DRIFT_MS: i64 = 60_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    at: Option<i64>,
}

/// `GET /v1/policies/{name}/plan?at=MS`
pub async fn plan(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<PathOf<String>, PathRejection>,
    query: Result<Query<At>, QueryRejection>,
) -> Result<Json<PlanBody>, ApiError> {
    let (name, at) = (name?.0, query?.0.at.map(Timestamp::from_millis));
    let (survey, listing) = look::look(&shared, &peer, name.clone()).await?;
    is_ahead(at, survey.now)?;
    let grounds = survey.grounds.clone().ok_or_else(|| no_deletion(&name))?;
    let side = Side::new(&shared, &survey, *grounds, &listing, survey.entry.clone());
    let listing = Arc::new(listing);
    let outcome = simulate(&shared, move || foresight::outcome(&side.prospect(&listing), at)).await?;
    let mut body = shape::plan(&name, &outcome.plan);
    let entries = outcome.plan.entries.iter().zip(outcome.stays);
    for (shown, (entry, stay)) in body.entries.iter_mut().zip(entries) {
        shown.until = Some(until(entry, stay));
    }
    Ok(Json(body))
}

/// `POST /v1/policies/{name}/plan`
pub async fn compare(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<PathOf<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ComparisonBody>, ApiError> {
    let name = name?.0;
    let CompareOrder { policy, at } = read(&body?)?;
    let at = at.map(Timestamp::from_millis);
    let stand = Stand::of_draft(&shared, &peer, &name, &policy).await?;
    let now = stand.now;
    is_ahead(at, now)?;
    let Stand { listing, in_force, edited, problems, .. } = stand;
    let edited = edited.ok_or_else(|| no_deletion(&name))?;
    let (before, after) = simulate(&shared, move || {
        let before = in_force.map(|side| foresight::outcome(&side.prospect(&listing), at)).transpose()?;
        Ok((before, foresight::outcome(&edited.prospect(&listing), at)?))
    })
    .await?;
    let changes = match &before {
        Some(before) => foresight::differences(before, &after).into_iter().map(change).collect(),
        None => condemned(&after),
    };
    Ok(Json(ComparisonBody {
        policy: name,
        time: at.unwrap_or(now).millis(),
        problems: problems.iter().map(shape::problem).collect(),
        in_force: before.as_ref().map(side),
        edited: side(&after),
        changes,
    }))
}

/// `POST /v1/policies/{name}/foresight`
pub async fn foresight(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<PathOf<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ForeseenBody>, ApiError> {
    let name = name?.0;
    let ForeseeOrder { until, looks, policy } = read(&body?)?;
    let until = Timestamp::from_millis(until);
    let stand = match &policy {
        Some(draft) => Stand::of_draft(&shared, &peer, &name, draft).await?,
        None => Stand::in_force(&shared, &peer, &name).await?,
    };
    is_ahead(Some(until), stand.now)?;
    let looks = in_order(&looks, stand.now, until)?;
    let Stand { listing, in_force, edited, problems, runs, .. } = stand;
    if in_force.is_none() && edited.is_none() {
        return Err(no_deletion(&name));
    }
    let (in_force, edited) = simulate(&shared, move || {
        let ahead = |side: Side| foresight::ahead(&side.prospect(&listing), until, &looks);
        Ok((in_force.map(ahead).transpose()?, edited.map(ahead).transpose()?))
    })
    .await?;
    Ok(Json(ForeseenBody {
        policy: name,
        runs,
        problems: problems.iter().map(shape::problem).collect(),
        in_force: in_force.map(foreseen),
        edited: edited.map(foreseen),
        legend: Sign::ALL.map(|sign| SignBody { letter: sign.letter(), words: sign.words().into() }).into(),
    }))
}

fn read<'de, T: Deserialize<'de>>(body: &'de Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request("bad_body", error.to_string()))
}

fn is_ahead(at: Option<Timestamp>, now: Timestamp) -> Result<(), ApiError> {
    match at {
        Some(at) if at <= now => Err(ApiError::bad_request("time_in_past", format!("{at} is not ahead of {now}"))
            .hint("name a time to come; what was is in `snapkeep history` and `plan --latest`")),
        Some(at) if at >= Schedule::END => {
            Err(ApiError::bad_request("too_far", format!("no trigger is known from {} on", Schedule::END)))
        }
        Some(_) | None => Ok(()),
    }
}

fn in_order(looks: &[i64], now: Timestamp, until: Timestamp) -> Result<Vec<Timestamp>, ApiError> {
    let looks: Vec<Timestamp> = looks.iter().copied().map(Timestamp::from_millis).collect();
    let is_within = looks.iter().all(|look| (now.plus(-DRIFT_MS)..=until).contains(look));
    if looks.len() > LOOKS_MAX || !looks.is_sorted() || !is_within {
        let detail = format!("looks must rise from now to `until`, and be {LOOKS_MAX} at most");
        return Err(ApiError::bad_request("bad_looks", detail));
    }
    Ok(looks)
}

fn no_deletion(policy: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "no_workflow", format!("policy `{policy}` has no deletion"))
        .hint("without [deletion] in its file nothing is ever deleted")
}

/// Simulates away from the threads that answer, one of a few at a time.
async fn simulate<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> Result<T, TooFar> + Send + 'static,
) -> Result<T, ApiError> {
    let _turn = shared.looks.acquire().await.map_err(|_| mismatch())?;
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the simulation did not end");
    tokio::task::spawn_blocking(work).await.map_err(failed)?.map_err(|too_far| {
        ApiError::bad_request("too_far", format!("failed to look ahead: {too_far}"))
            .hint(format!("name a time before {}", too_far.reached))
    })
}

/// One policy and all that it is judged by.
struct Side {
    entry: Arc<Entry>,
    grounds: Grounds,
    now: Timestamp,
    creation_at: Option<Timestamp>,
    deletion_at: Option<Timestamp>,
}

impl Side {
    fn new(shared: &Shared, survey: &Survey, grounds: Grounds, listing: &Listing, entry: Arc<Entry>) -> Side {
        let tracked = tracked(shared, &survey.entry.policy.name);
        let policy = &entry.policy;
        let now = survey.now;
        let creation = policy.creation.as_ref().map(|rule| &rule.pace);
        let deletion = policy.deletion.as_ref().map(|rule| &rule.pace);
        let under_way = tracked.as_ref().is_some_and(|tracked| match &tracked.creation.workflow.phase {
            Phase::Active(run) => !listing.snapshots.iter().any(|shown| *shown.name == *run.step.name().as_str()),
            Phase::Waiting | Phase::Watching(_) => false,
        });
        // An edit counts from now on (S19).
        let is_edited = !Arc::ptr_eq(&entry, &survey.entry);
        let mark = |flow: Option<Timestamp>| if is_edited { now } else { flow.unwrap_or(now) };
        let first = |pace: Option<&Pace>, mark, is_busy: bool| {
            if is_busy { Some(now) } else { foresight::first_trigger(&pace?.schedule, mark, now) }
        };
        let creation_mark = mark(tracked.as_ref().map(|tracked| tracked.creation.workflow.mark));
        let deletion_mark = mark(tracked.as_ref().map(|tracked| tracked.deletion.workflow.mark));
        let deletes = tracked.as_ref().is_some_and(|tracked| is_active(&tracked.deletion));
        Side {
            creation_at: first(creation, creation_mark, under_way),
            deletion_at: first(deletion, deletion_mark, deletes && !is_edited),
            entry,
            grounds,
            now,
        }
    }

    fn prospect<'a>(&'a self, listing: &'a Listing) -> Prospect<'a> {
        Prospect {
            policy: &self.entry.policy,
            grounds: &self.grounds,
            listing,
            now: self.now,
            creation_at: self.creation_at,
            deletion_at: self.deletion_at,
            spells: &[],
        }
    }
}

fn is_active<S>(flow: &Flow<S>) -> bool {
    match flow.workflow.phase {
        Phase::Active(_) => true,
        Phase::Waiting | Phase::Watching(_) => false,
    }
}

fn tracked(shared: &Shared, name: &str) -> Option<Arc<Tracked>> {
    shared.api.view.policies(&[name.to_string()]).into_iter().find(|tracked| *tracked.name == *name)
}

/// What there is to judge, and by what.
struct Stand {
    listing: Arc<Listing>,
    now: Timestamp,
    runs: bool,
    in_force: Option<Side>,
    edited: Option<Side>,
    problems: Vec<Problem>,
}

impl Stand {
    async fn in_force(shared: &Shared, peer: &Peer, name: &str) -> Result<Stand, ApiError> {
        let (survey, listing) = look::look(shared, peer, name.to_string()).await?;
        let side = |grounds: Box<Grounds>| Side::new(shared, &survey, *grounds, &listing, survey.entry.clone());
        let in_force = survey.grounds.clone().map(side);
        let runs = tracked(shared, name).is_none_or(|tracked| tracked.is_enabled());
        Ok(Stand { now: survey.now, listing: Arc::new(listing), runs, in_force, edited: None, problems: Vec::new() })
    }

    async fn of_draft(shared: &Shared, peer: &Peer, name: &str, draft: &DraftOrder) -> Result<Stand, ApiError> {
        let bearings = match send(shared, peer, What::Bearings).await? {
            Done::Bearings(bearings) => *bearings,
            _ => return Err(mismatch()),
        };
        let (entry, problems) = bearings
            .roster
            .check_policy(name, Path::new(&draft.file), &draft.text)
            .map_err(|problems| bad_policy(&problems))?;
        let edited = Arc::new(entry);
        let policy = &edited.policy;
        if tracked(shared, name).is_none() {
            let survey = unknown(&bearings, edited.clone());
            let listing = perform::survey(&survey).await?;
            let side = survey.grounds.clone().map(|grounds| Side::new(shared, &survey, *grounds, &listing, edited));
            return Ok(Stand {
                now: survey.now,
                listing: Arc::new(listing),
                runs: true,
                in_force: None,
                edited: side,
                problems,
            });
        }
        let (survey, listing) = look::look(shared, peer, name.to_string()).await?;
        if survey.entry.repository.name != edited.repository.name {
            let (was, is) = (&survey.entry.repository.name, &edited.repository.name);
            let detail = format!("repository `{is}` is not `{was}`, where the snapshots of policy `{name}` are");
            return Err(ApiError::new(StatusCode::CONFLICT, "another_repository", detail)
                .hint("there the policy begins with none; those that it leaves are deleted by nobody"));
        }
        let known = survey.entry.policy.deletion.as_ref().map(|rule| &rule.condition);
        let grounds = match &survey.grounds {
            Some(grounds) => foresight::edited(grounds, known, policy),
            None => {
                let tracked = tracked(shared, name);
                grounds(&bearings, survey.owner.clone(), policy, tracked.as_deref(), survey.holds.clone())
                    .and_then(|grounds| foresight::edited(&grounds, known, policy))
            }
        };
        let edited = grounds.map(|grounds| Side::new(shared, &survey, grounds, &listing, edited.clone()));
        let in_force = survey.grounds.clone();
        let in_force = in_force.map(|grounds| Side::new(shared, &survey, *grounds, &listing, survey.entry.clone()));
        let runs = tracked(shared, name).is_none_or(|tracked| tracked.is_enabled());
        Ok(Stand { now: survey.now, listing: Arc::new(listing), runs, in_force, edited, problems })
    }
}

fn bad_policy(problems: &[Problem]) -> ApiError {
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_policy", told.join("\n\n"))
}

/// Returns how a policy would be looked at that is not in force: it begins with no snapshots, unless its uid is one
/// that some carry.
fn unknown(bearings: &Bearings, entry: Arc<Entry>) -> Survey {
    let uid = entry.policy.uid.as_deref().unwrap_or("not in force");
    let owner = Owner { installation: bearings.installation.clone(), policy_uid: uid.into() };
    let holds = bearings.holds.get(&entry.repository.name).cloned().unwrap_or_default();
    let grounds = grounds(bearings, owner.clone(), &entry.policy, None, holds.clone()).map(Box::new);
    Survey { entry, owner, grounds, holds, now: bearings.clock.now.wall }
}

/// Returns the grounds of a policy that deleted nothing so far; `None` where it does not begin to.
fn grounds(
    bearings: &Bearings,
    owner: Owner,
    policy: &Policy,
    tracked: Option<&Tracked>,
    holds: Arc<Holds>,
) -> Option<Grounds> {
    let rule = policy.deletion.as_ref()?;
    let now = bearings.clock.now.wall;
    let lock = bearings.age_locks.of(&owner.policy_uid).under(Some(rule), &bearings.clock.trust);
    let last_good = tracked.and_then(|tracked| {
        let run = tracked.last_good.as_deref()?;
        Some(LastGood { snapshot: run.snapshot()?.into(), ended_at: run.ended_at? })
    });
    Some(Grounds {
        owner,
        condition: rule.condition.clone(),
        guards: rule.guards.clone(),
        former: tracked.map(|_| Former::Nothing),
        seen: tracked.map_or(Some(0), |tracked| tracked.seen),
        unlooked: false,
        cleared_at: tracked.map_or(now, |tracked| tracked.cleared_at),
        braked: None,
        freshness: policy.creation.clone().map(|creation| Freshness { creation, last_good }),
        condemned_since: Arc::default(),
        rate_left: rule.guards.rate,
        approval: None,
        holds,
        lock,
        clock: bearings.clock,
    })
}

fn until(entry: &PlanEntry, stay: Stay) -> UntilBody {
    let none = UntilBody { time: None, limit: None, held: false, so_long: None, beyond: None };
    let is_newest = entry.verdict == Verdict::Keep(Keep::NewestGood);
    let so_long = is_newest.then(|| "it is the newest".into());
    match stay {
        Stay::Until { at, why } => {
            UntilBody { time: Some(at.millis()), limit: Some(foresight::limit(&why)), so_long, ..none }
        }
        Stay::Held { at, why } => {
            let limit = Some(foresight::limit(&why));
            UntilBody { time: Some(at.millis()), limit, held: true, so_long, ..none }
        }
        Stay::AsLong(what) => UntilBody { so_long: so_long.or_else(|| Some(what.words().into())), ..none },
        Stay::Beyond { at } => UntilBody { so_long, beyond: Some(at.millis()), ..none },
    }
}

fn side(outcome: &Outcome) -> SideBody {
    let Outcome { plan, gone, stays: _ } = outcome;
    SideBody {
        own: plan.own,
        condemned: plan.entries.iter().filter(|entry| entry.verdict.is_condemned()).count(),
        gone: gone.len(),
        held: plan.is_held().then(|| reasons(&plan.held)),
        guards: plan.held.iter().map(|held| held.guard().word().into()).collect(),
    }
}

fn reasons(held: &[Held]) -> String {
    let reasons: Vec<String> = held.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

fn change(difference: Difference) -> ChangeBody {
    let Difference { target, before, after } = difference;
    ChangeBody {
        snapshot: target.name,
        id: target.id,
        time: target.taken_at.map(Timestamp::millis),
        in_force: fate(&before),
        edited: fate(&after),
    }
}

fn fate(fate: &Fate) -> FateBody {
    match fate {
        Fate::Gone { at, why } => {
            let reason = Verdict::Condemn(why.clone()).to_string();
            FateBody { verdict: "gone".into(), gone: Some(at.millis()), reason }
        }
        Fate::There(verdict) => {
            let word = if verdict.is_condemned() { "delete" } else { "keep" };
            FateBody { verdict: word.into(), gone: None, reason: verdict.to_string() }
        }
    }
}

/// What would go that stays while there is no rule.
fn condemned(after: &Outcome) -> Vec<ChangeBody> {
    let stays = || FateBody { verdict: "keep".into(), gone: None, reason: "nothing is deleted".into() };
    let gone = after.gone.values().map(|(target, at, why)| (target, Fate::Gone { at: *at, why: why.clone() }));
    let there = after.plan.entries.iter().filter(|entry| entry.verdict.is_condemned());
    let there = there.map(|entry| (&entry.target, Fate::There(entry.verdict.clone())));
    let changes = gone.chain(there).map(|(target, after)| ChangeBody {
        snapshot: target.name.clone(),
        id: target.id.clone(),
        time: target.taken_at.map(Timestamp::millis),
        in_force: stays(),
        edited: fate(&after),
    });
    let mut changes: Vec<ChangeBody> = changes.collect();
    changes.sort_by(|one, other| (one.time, &one.snapshot).cmp(&(other.time, &other.snapshot)));
    changes
}

fn foreseen(foresight: Foresight) -> ForesightBody {
    let count = |count: foresight::Count| CountBody { time: count.at.millis(), count: count.count };
    let Foresight { from, until, creations, deletions, made, deleted, .. } = foresight;
    ForesightBody {
        from: from.millis(),
        until: until.millis(),
        creations,
        deletions,
        made,
        deleted,
        count: count(foresight.count),
        lowest: count(foresight.lowest),
        highest: count(foresight.highest),
        last: count(foresight.last),
        looks: foresight.looks.into_iter().map(count).collect(),
        held: foresight.held.iter().map(stretch).collect(),
        snapshots: foresight.lives.into_iter().map(life).collect(),
    }
}

fn stretch(stretch: &HeldStretch) -> HeldBody {
    HeldBody {
        first: stretch.first.millis(),
        last: stretch.last.millis(),
        plans: stretch.plans,
        guards: stretch.held.iter().map(|held| held.guard().word().into()).collect(),
        reason: reasons(&stretch.held),
    }
}

fn life(life: Life) -> LifeBody {
    let gone = |(at, why): (Timestamp, crate::lifecycle::retention::Condemn)| GoneBody {
        time: at.millis(),
        limit: foresight::limit(&why),
        reason: Verdict::Condemn(why).to_string(),
    };
    LifeBody {
        snapshot: life.target.name,
        time: life.target.taken_at.map(Timestamp::millis),
        to_come: life.is_to_come,
        gone: life.gone.map(gone),
        first_look: life.first_look,
        signs: life.signs.iter().map(|sign| sign.letter()).collect(),
    }
}
