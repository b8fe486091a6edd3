//! What several files have in common: the shapes of texts, conditions, and whom to tell.

use super::{Form, Key, Rule, Shape, Table, Without};
use crate::lifecycle::notice::Event;
use crate::lifecycle::policy::Conditions;

impl Shape {
    /// Returns a regular expression that every text of this shape matches, in the dialect of JSON schemas. Texts that match
    /// may still be refused, for what no expression can say.
    pub fn pattern(self) -> &'static str {
        match self {
            Shape::Span => r"^\s*(?=\d)(?!(0+[a-z]+)+\s*$)(\d+w)?(\d+d)?(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?\s*$",
            Shape::Cron => {
                r"^\s*(@([Yy]early|[Aa]nnually|[Mm]onthly|[Ww]eekly|[Dd]aily|[Mm]idnight|[Hh]ourly)|[0-9*,/-]+\s+[0-9*,/-]+\s+[0-9*,/-]+\s+[0-9A-Za-z*,/-]+\s+[0-9A-Za-z*,/-]+)\s*$"
            }
            Shape::Zone => r"^(UTC|[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)+)$",
            Shape::Share => r"^([1-9]|[1-9][0-9]|100)\s*%$",
            Shape::TimeOfDay => r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
            Shape::Uid => r"^[A-Za-z0-9._-]{1,128}$",
            Shape::Url => r"^https?://\S+( \S+)*$",
            Shape::Witness => r"^https://[^/?#@\s]+/?$",
            Shape::Address => r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$",
            Shape::Mailbox => r"^[^\u0000-\u001f]*@[^\u0000-\u001f]*$",
            Shape::Name | Shape::Path | Shape::Date | Shape::Template => r"\S",
        }
    }

    /// Returns what it is called in a page.
    pub fn word(self) -> &'static str {
        match self {
            Shape::Span => "span of time",
            Shape::Cron => "cron expression",
            Shape::Zone => "time zone",
            Shape::Share => "share",
            Shape::TimeOfDay => "time of day",
            Shape::Path => "path",
            Shape::Uid => "letters, digits, ., _ and -",
            Shape::Url => "URL",
            Shape::Witness => "https URL without a path",
            Shape::Address => "address and port",
            Shape::Mailbox => "mail address",
            Shape::Date => "pattern of a date",
            Shape::Name => "name",
            Shape::Template => "template",
        }
    }

    /// Returns an example in TOML.
    pub fn example(self) -> &'static str {
        match self {
            Shape::Span => "\"1h30m\"",
            Shape::Cron => "\"0 2 * * mon-fri\"",
            Shape::Zone => "\"Europe/Berlin\"",
            Shape::Share => "\"25%\"",
            Shape::TimeOfDay => "\"22:00\"",
            Shape::Path => "\"/srv/snapshots\"",
            Shape::Uid => "\"2f6b1c1e-6f0e-4a58-9d5f-0a2f5f6e7c11\"",
            Shape::Url => "\"https://hooks.example.net/snapkeep\"",
            Shape::Witness => "\"https://time.example.net/\"",
            Shape::Address => "\"127.0.0.1:9200\"",
            Shape::Mailbox => "\"Operations <ops@example.org>\"",
            Shape::Date => "\"yyyy-MM-dd-HH:mm\"",
            Shape::Name => "\"local\"",
            Shape::Template => "\"{{ subject }}\"",
        }
    }
}

/// Returns a text of this shape.
pub fn shaped(shape: Shape) -> Form {
    Form::Shaped(shape)
}

/// What each condition tells of, as the page of notices says it.
fn told(event: Event) -> &'static str {
    match event {
        Event::Creation => "A snapshot was made.",
        Event::Deletion => "Snapshots were deleted; a run that found nothing to delete is no news.",
        Event::Failure => "A run failed, after its last attempt.",
        Event::TimeLimitExceeded => "A run took longer than its time limit.",
        Event::Recovered => "The first run that succeeded after one that did not.",
        Event::Stale => "There was no good snapshot for `creation.stale_after`.",
        Event::Held => "A guard stopped a deletion.",
        Event::Skipped => "Three triggers in a row met a run in flight.",
        Event::Missed => "Triggers passed while nobody was there.",
        Event::Problem => "A file is not accepted.",
        Event::Clock => "The clock is doubted.",
        Event::Undeliverable => "Another channel did not take a notice.",
        Event::Start => "A run began.",
        Event::Test => "A person tries the channel.",
    }
}

/// Returns the words of all conditions.
pub fn conditions() -> Vec<(&'static str, &'static str)> {
    Event::CONDITIONS.into_iter().map(|event| (event.word(), told(event))).collect()
}

fn condition_keys(events: &[Event]) -> Vec<Key> {
    let usual = Conditions::default();
    let without = |event: Event| Without::Is(if usual.has(event) { "true" } else { "false" });
    let key = |event: &Event| Key::optional(event.word(), Form::Boolean, without(*event), told(*event));
    events.iter().map(key).collect()
}

/// Returns the table that names who is told, with these conditions.
pub fn notification(events: &[Event], about: &'static str) -> Key {
    let item = vec![
        Key::needed("id", shaped(Shape::Name), "The channel's name."),
        Key::optional(
            "conditions",
            Form::table(condition_keys(events)),
            Without::Means("what `conditions` beside `channels` says holds"),
            "What this channel is told other than the others.",
        ),
    ];
    let keys = vec![
        Key::optional(
            "channels",
            Form::Items(Box::new(Table::of(item))),
            Without::Nothing,
            "Who is told: names of files in `channels.d` without `.toml`, none twice. One that is told other things than the \
             others is a table with `id` and `conditions`.",
        ),
        Key::optional(
            "channel",
            Form::table(vec![Key::needed("id", shaped(Shape::Name), "The channel's name.")]),
            Without::Nothing,
            "Another way to name a single one, as OpenSearch does: `channel.id = \"NAME\"`.",
        ),
        Key::optional(
            "conditions",
            Form::table(condition_keys(events)),
            Without::Means("what is usual holds for each condition"),
            "What is told, of every channel that does not say otherwise.",
        ),
    ];
    let table = Table::of(keys).rule(Rule::One(&["channels", "channel"]));
    Key::optional("notification", Form::Table(Box::new(table)), Without::Nothing, about)
}
