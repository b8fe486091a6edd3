//! Where notices go, and trying whether they get there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path};
use axum::http::StatusCode;

use crate::engine::event::{Done, What};
use crate::engine::perform::{self, Tried};
use crate::journal::record::Waiting;
use crate::lifecycle::channel::quiet::QuietHours;
use crate::roster::{Channel, FileKind, Problem};

use super::body::{ChannelBody, ChannelsBody, QuietHoursBody, TriedBody};
use super::control::{mismatch, send_under};
use super::error::ApiError;
use super::explain::nearest;
use super::serve::Peer;
use super::{Shared, State, repeat, shape};

/// The route that tries a channel.
pub const TEST: &str = "/v1/channels/{name}/_test";

/// `GET /v1/channels`
pub async fn channels(axum::extract::State(shared): State) -> Json<ChannelsBody> {
    let view = &shared.api.view;
    let (channels, problems, owed) = (view.channels(), view.problems(), view.daemon().notices);
    let defaults = view.default_channels();
    let mut told_by: BTreeMap<Box<str>, Vec<String>> = BTreeMap::new();
    for tracked in view.policies(&[]) {
        let named = tracked.entry.iter().flat_map(|entry| &entry.policy.notification.channels);
        for told in named {
            told_by.entry(told.channel.clone()).or_default().push(tracked.name.to_string());
        }
    }
    let is_in_force = |problem: &&Problem| channels.iter().any(|channel| *channel.origin == *problem.file);
    let folder =
        |problem: &&Problem| problem.file.parent().is_some_and(|folder| folder.ends_with(FileKind::Channel.folder()));
    let others = problems.iter().filter(|problem| folder(problem) && !is_in_force(problem));
    Json(ChannelsBody {
        problems: others.map(shape::problem).collect(),
        channels: channels
            .iter()
            .map(|channel| {
                let policies = told_by.remove(&channel.name).unwrap_or_default();
                let owed = owed.get(&channel.name).copied().unwrap_or_default();
                let is_default = defaults.contains(&channel.name);
                ChannelBody { is_default, ..body(channel, &problems, owed, policies) }
            })
            .collect(),
    })
}

fn body(channel: &Channel, problems: &[Problem], owed: Waiting, policies: Vec<String>) -> ChannelBody {
    let rules = &channel.settings.rules;
    let quiet = |quiet: &QuietHours| QuietHoursBody {
        from: time_of_day(quiet.from),
        until: time_of_day(quiet.until),
        timezone: quiet.zone.name().to_owned(),
        except: quiet.except.iter().map(|event| event.word().to_owned()).collect(),
    };
    ChannelBody {
        name: channel.name.to_string(),
        kind: channel.settings.kind.word().to_owned(),
        file: channel.origin.display().to_string(),
        give_up_after: rules.give_up_after.written().to_owned(),
        repeat_after: rules.repeat_after.as_ref().map(|span| span.written().to_owned()),
        quiet_hours: rules.quiet.as_ref().map(quiet),
        policies,
        is_default: false,
        waiting: owed.pending,
        undeliverable: owed.undeliverable,
        problems: problems.iter().filter(|problem| *problem.file == *channel.origin).map(shape::problem).collect(),
    }
}

fn time_of_day(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// `POST /v1/channels/{name}/_test`
pub async fn test(
    axum::extract::State(shared): State,
    Extension(peer): Extension<Peer>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<TriedBody>, ApiError> {
    let channel = name?.0;
    is_known(&shared, &channel)?;
    let request = repeat::key_at_hand();
    // On a task of its own: what is written down as begun comes to its end, whether anybody waits for it or not.
    let work = tokio::spawn(async move {
        let _turn = shared.looks.acquire().await.map_err(|_| mismatch())?;
        let begun = send_under(request, &shared, &peer, What::BeginTrial { channel: channel.clone() }).await?;
        let Done::Trial(trial) = begun else { return Err(mismatch()) };
        let Tried { result, again, conversation } = perform::try_channel(&trial).await;
        let what = What::EndTrial { channel, result: result.clone() };
        if let Err(error) = send_under(None, &shared, &peer, what).await {
            tracing::warn!(cause = ?error, "what came of trying a channel is not in the audit");
        }
        let delivered = result.is_ok();
        let (answer, why) = match result {
            Ok(answer) => (Some(answer), None),
            Err(why) => (None, Some(why)),
        };
        Ok(Json(TriedBody { delivered, answer, why, again, conversation }))
    });
    work.await
        .unwrap_or_else(|error| Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "broken_off", error.to_string())))
}

/// Says that there is no such channel, and which one may have been meant.
fn is_known(shared: &Arc<Shared>, name: &str) -> Result<(), ApiError> {
    let channels = shared.api.view.channels();
    if channels.iter().any(|channel| *channel.name == *name) {
        return Ok(());
    }
    let error = ApiError::not_found("unknown_channel", format!("there is no channel `{name}`"));
    Err(match nearest(name, channels.iter().map(|channel| &*channel.name)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`snapkeep channel list` shows those there are"),
    })
}
