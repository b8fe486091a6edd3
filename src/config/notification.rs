//! `[notification]`: who is told of what. The same in a policy and in the daemon's settings.

use super::reader::{Findings, Located};
use super::table::{Item, Table};
use crate::lifecycle::notice::Event;
use crate::lifecycle::policy::{Conditions, Notification, Told};

/// `[notification]`.
#[derive(Debug)]
pub struct NotificationPart {
    /// Who is told.
    pub channels: Vec<ChannelPart>,
    conditions: Written,
}

/// A channel in it.
#[derive(Debug)]
pub struct ChannelPart {
    /// The channel's name.
    pub name: Located<String>,
    /// What it is told other than the others.
    conditions: Written,
}

/// Conditions that are written down: of what is told, and of what is not.
type Written = Vec<(Event, bool)>;

/// What a policy cannot be asked to tell of: it is about the daemon.
const DAEMONS_OWN: [Event; 2] = [Event::Clock, Event::Undeliverable];

impl NotificationPart {
    /// Reads the table of a policy.
    pub fn of_policy(
        findings: &mut Findings<'_>,
        table: Table<'_, '_>,
        elsewhere: &[(&str, &str)],
    ) -> NotificationPart {
        let mut known: Vec<(&str, &str)> = elsewhere.to_vec();
        known.extend(DAEMONS_OWN.map(|event| (event.word(), "it is no policy's: write it in snapkeep.toml")));
        let events: Vec<Event> = Event::CONDITIONS.into_iter().filter(|event| !DAEMONS_OWN.contains(event)).collect();
        NotificationPart::read(findings, table, &events, &known)
    }

    /// Reads the table of the daemon's settings.
    pub fn of_daemon(findings: &mut Findings<'_>, table: Table<'_, '_>) -> NotificationPart {
        NotificationPart::read(findings, table, &Event::CONDITIONS, &[])
    }

    fn read(
        findings: &mut Findings<'_>,
        mut table: Table<'_, '_>,
        events: &[Event],
        elsewhere: &[(&str, &str)],
    ) -> NotificationPart {
        let one = table.table(findings, "channel").and_then(|mut channel| {
            let id = channel.string(findings, "id");
            if !channel.has("id") {
                findings.error(channel.at.clone(), "channel has no id").hint("write channel.id = \"NAME\"");
            }
            channel.finish(findings, elsewhere);
            id.map(|name| ChannelPart { name, conditions: Vec::new() })
        });
        let many = many(findings, &mut table, events, elsewhere);
        match (table.key_at("channel"), table.key_at("channels")) {
            (Some(_), Some(at)) => {
                findings.error(at, "both channel and channels are given").hint("name all of them in channels");
            }
            (None, None) => {
                findings
                    .error(table.at.clone(), "notification names no channel")
                    .hint("write channel.id = \"NAME\" or channels = [\"NAME\", …]");
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        let conditions = table.table(findings, "conditions");
        let conditions = conditions.map(|table| conditions_of(findings, table, events, elsewhere)).unwrap_or_default();
        table.finish(findings, elsewhere);
        NotificationPart { channels: one.into_iter().chain(many).collect(), conditions }
    }

    /// Returns whom it tells what, of those that are known.
    pub fn notification(&self, mut is_known: impl FnMut(&Located<String>) -> bool) -> Notification {
        let usual = set(Conditions::default(), &self.conditions);
        let known = self.channels.iter().filter(|channel| is_known(&channel.name));
        let told = |channel: &ChannelPart| Told {
            channel: channel.name.value.as_str().into(),
            conditions: set(usual, &channel.conditions),
        };
        Notification { channels: known.map(told).collect() }
    }
}

fn set(conditions: Conditions, written: &Written) -> Conditions {
    written.iter().fold(conditions, |set, (event, is_told)| set.with(*event, *is_told))
}

fn many(
    findings: &mut Findings<'_>,
    table: &mut Table<'_, '_>,
    events: &[Event],
    elsewhere: &[(&str, &str)],
) -> Vec<ChannelPart> {
    let mut channels: Vec<ChannelPart> = Vec::new();
    for item in table.items(findings, "channels").unwrap_or_default() {
        let channel = match item {
            Item::Text(name) => ChannelPart { name, conditions: Vec::new() },
            Item::Table(mut item) => {
                let id = item.string(findings, "id");
                if !item.has("id") {
                    findings
                        .error(item.at.clone(), "channel has no id")
                        .hint("write { id = \"NAME\", conditions = { … } }");
                }
                let conditions = item.table(findings, "conditions");
                let conditions =
                    conditions.map(|table| conditions_of(findings, table, events, elsewhere)).unwrap_or_default();
                item.finish(findings, elsewhere);
                let Some(name) = id else { continue };
                ChannelPart { name, conditions }
            }
        };
        if channels.iter().any(|earlier| earlier.name.value == channel.name.value) {
            findings.error(channel.name.at, format!("channels names `{}` twice", channel.name.value));
        } else {
            channels.push(channel);
        }
    }
    channels
}

fn conditions_of(
    findings: &mut Findings<'_>,
    mut table: Table<'_, '_>,
    events: &[Event],
    elsewhere: &[(&str, &str)],
) -> Written {
    let mut written = Vec::new();
    for event in events {
        if let Some(is_told) = table.boolean(findings, event.word()) {
            written.push((*event, is_told.value));
        }
    }
    table.finish(findings, elsewhere);
    written
}
