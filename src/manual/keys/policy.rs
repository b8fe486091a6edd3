//! A policy's keys.

use super::kinds::{notification, shaped};
use super::repository::in_policies;
use super::{Form, Key, Rule, Shape, Table, Without};
use crate::lifecycle::keep_rules::Every;
use crate::lifecycle::notice::Event;

/// Returns the keys of a policy.
pub fn table() -> Table {
    Table::of(vec![
        Key::optional("description", Form::Text, Without::Nothing, "What the policy is for. It is shown beside the name."),
        Key::optional(
            "enabled",
            Form::Boolean,
            Without::Is("true"),
            "Whether triggers run. `snapkeep policy stop` and `start` say the same for now; of file and command the latest \
             counts.",
        ),
        Key::optional(
            "uid",
            shaped(Shape::Uid),
            Without::Means("the name of the file is the identity"),
            "Keeps the policy's identity, and so its snapshots and its history, when the file is renamed.",
        ),
        Key::optional(
            "creation",
            Form::Table(Box::new(creation())),
            Without::Means("the policy makes no snapshots and only deletes those it made"),
            "When snapshots are made, and how.",
        ),
        Key::optional(
            "deletion",
            Form::Table(Box::new(deletion())),
            Without::Means("nothing is ever deleted"),
            "When old snapshots are deleted, and which.",
        ),
        Key::needed("snapshot_config", Form::Table(Box::new(snapshot_config())), "What goes into a snapshot, and where to."),
        notification(
            &Event::CONDITIONS
                .into_iter()
                .filter(|event| !matches!(event, Event::Clock | Event::Undeliverable))
                .collect::<Vec<_>>(),
            "Who is told of what. A policy without it tells those whom the settings name.",
        ),
    ])
    .rule(Rule::Any(&["creation", "deletion"]))
}

fn schedule(without: Without, about: &'static str) -> Key {
    let cron = vec![
        Key::needed(
            "expression",
            shaped(Shape::Cron),
            "Minute, hour, day of month, month, day of week; or one of the words below CRON. A fixed local time runs exactly \
             once a day through both clock changes; a running one (`*/15 * * * *`) has no hole.",
        ),
        Key::optional(
            "timezone",
            shaped(Shape::Zone),
            Without::Is("\"UTC\""),
            "Whose local time the expression means.",
        ),
    ];
    let interval = vec![Key::needed(
        "every",
        shaped(Shape::Span),
        "The step, a second or more. It is counted from 1970, so that no restart moves it.",
    )];
    let table = Table::of(vec![
        Key::optional("cron", Form::table(cron), Without::Nothing, "By the calendar."),
        Key::optional("interval", Form::table(interval), Without::Nothing, "In equal steps."),
    ])
    .rule(Rule::One(&["cron", "interval"]));
    Key { name: "schedule", alias: None, form: Form::Table(Box::new(table)), without, about: about.into() }
}

/// What creation and deletion share, beside the schedule.
fn workflow() -> Vec<Key> {
    vec![
        Key::optional(
            "time_limit",
            shaped(Shape::Span),
            Without::Is("\"24h\""),
            "How long a run may take with all its attempts. One that takes longer is settled as `time_limit_exceeded`.",
        ),
        Key::optional(
            "catch_up",
            Form::Word(vec![
                ("once", "one run makes up for all triggers that were missed"),
                ("never", "what was missed is counted and shown, and not made up for"),
            ]),
            Without::Is("\"once\""),
            "What becomes of triggers that passed while the machine was off or the daemon was not there.",
        ),
        Key::optional(
            "catch_up_within",
            shaped(Shape::Span),
            Without::Means("however old the latest missed trigger is, it is made up for"),
            "Makes up for what was missed only while the latest of it is not older than this.",
        ),
        Key::optional(
            "on_overlap",
            Form::Word(vec![
                ("skip", "the trigger is skipped, and recorded"),
                ("queue_one", "the newest waiting trigger runs afterwards"),
            ]),
            Without::Is("\"skip\""),
            "What becomes of a trigger that meets a run of the same workflow in flight.",
        ),
        Key::optional(
            "spread",
            shaped(Shape::Span),
            Without::Nothing,
            "Moves every trigger by the same offset below this, another one for every policy and machine, so that they do not \
             all begin at once. Less than half the time between two triggers.",
        ),
        Key::optional(
            "retry",
            Form::table(vec![Key::optional(
                "count",
                Form::Number(0, 1000),
                Without::Is("3"),
                "Further attempts after the first, with a longer wait before each.",
            )]),
            Without::Nothing,
            "What becomes of a run whose attempt failed.",
        ),
    ]
}

fn creation() -> Table {
    let mut keys = vec![schedule(Without::Refused, "When snapshots are due.")];
    keys.extend(workflow());
    keys.push(Key::optional(
        "stale_after",
        shaped(Shape::Span),
        Without::Means("it is twice the longest time between two triggers"),
        "After how long without a good snapshot people are told, under the condition `stale`.",
    ));
    Table::of(keys)
}

fn deletion() -> Table {
    let mut keys = vec![schedule(
        Without::Means("deletion is due with creation, and goes after it"),
        "When deletion is due. A policy without `[creation]` has to have it.",
    )];
    keys.extend(workflow());
    keys.extend([
        Key::needed(
            "condition",
            Form::Table(Box::new(condition())),
            "What stays and what goes: what is older than `max_age` goes, the oldest beyond `max_count` go, what no rule of \
             `keep` holds goes; `min_age` and `min_count` keep from all of it. One of `max_age`, `max_count` and `keep` has \
             to be there. `docs/retention.md` has the order.",
        )
        .or("delete_condition"),
        Key::optional(
            "guards",
            Form::table(guards()),
            Without::Means("the usual guards hold"),
            "What stops a deletion that looks like a mistake, until a person has looked. `docs/guards.md` has all of them.",
        ),
        Key::optional(
            "snapshot_pattern",
            Form::Text,
            Without::Nothing,
            "OpenSearch's pattern of snapshots that others made. It is kept and deletes nothing: `snapkeep adopt` makes a policy \
             the owner of others.",
        ),
    ]);
    Table::of(keys)
}

fn condition() -> Table {
    let count = Form::Number(1, u32::MAX);
    Table::of(vec![
        Key::optional("max_age", shaped(Shape::Span), Without::Means("no snapshot is too old"), "Snapshots older than this go."),
        Key::optional(
            "max_count",
            count.clone(),
            Without::Means("there are never too many"),
            "At most so many good snapshots stay; the oldest beyond them go.",
        ),
        Key::optional(
            "min_count",
            count,
            Without::Is("1"),
            "So many good snapshots stay whatever their age. Failed and partial ones do not count. At most `max_count`.",
        ),
        Key::optional(
            "min_age",
            shaped(Shape::Span),
            Without::Nothing,
            "Whatever is younger stays, whatever else is said. At most `max_age`.",
        ),
        Key::optional(
            "keep",
            Form::Table(Box::new(keep())),
            Without::Nothing,
            "Thins by rules: a snapshot that none of them holds goes. At least one rule.",
        ),
    ])
    .rule(Rule::Any(&["max_age", "max_count", "keep"]))
}

fn keep() -> Table {
    let about = |every: Every| match every {
        Every::Snapshot => "The newest so many.",
        Every::Hour => "The newest of each of so many hours.",
        Every::Day => "The newest of each of so many days.",
        Every::Week => "The newest of each of so many weeks, which begin on Monday.",
        Every::Month => "The newest of each of so many months.",
        Every::Quarter => "The newest of each of so many quarters.",
        Every::Year => "The newest of each of so many years.",
    };
    let count = |every: Every| Key::optional(every.word(), Form::Number(1, u32::MAX), Without::Nothing, about(every));
    let mut keys: Vec<Key> = Every::ALL.into_iter().map(count).collect();
    keys.extend([
        Key::optional("within", shaped(Shape::Span), Without::Nothing, "Everything that is younger than this."),
        Key::optional(
            "timezone",
            shaped(Shape::Zone),
            Without::Means("it is creation's, else deletion's, else UTC"),
            "In which zone hours and days begin.",
        ),
    ]);
    Table::of(keys).rule(Rule::Any(&["last", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly", "within"]))
}

fn guards() -> Vec<Key> {
    vec![
        Key::optional(
            "brake",
            shaped(Shape::Share),
            Without::Is("\"25%\""),
            "The share of the policy's snapshots that may go at once. A plan that deletes more, and more than 3 and than one \
             and a half times what was made since, is held until a person approves it.",
        ),
        Key::optional(
            "grace",
            shaped(Shape::Span),
            Without::Nothing,
            "What is condemned goes by a later run, so long after at the earliest.",
        ),
        Key::optional(
            "rate",
            Form::Number(1, u32::MAX),
            Without::Means("there is no limit"),
            "How many go within an hour in one repository.",
        ),
        Key::optional(
            "compliance",
            Form::Boolean,
            Without::Is("false"),
            "Locks `min_age`, which has to be there: after 72 hours nobody shortens it, by no edit and no removal of the file.",
        ),
    ]
}

fn snapshot_config() -> Table {
    let mut keys = vec![
        Key::needed(
            "repository",
            shaped(Shape::Name),
            "Where to: the name of a file in `repositories.d` without `.toml`.",
        ),
        Key::optional(
            "date_format",
            shaped(Shape::Date),
            Without::Means("it is the trigger's time in UTC, as in `20260301t020000z`"),
            "How the date is written in names: letters of Java's patterns (`yyyy-MM-dd-HH:mm`), or the name of one of \
             OpenSearch's formats (`date`, `year_month`). What it writes is at most 54 characters.",
        ),
        Key::optional(
            "date_format_timezone",
            shaped(Shape::Zone),
            Without::Is("\"UTC\""),
            "In which zone that date is written.",
        )
        .or("timezone"),
        Key::optional(
            "metadata",
            Form::Named { name: "LABEL", names: r"^(?!sm_policy$|snapkeep_)(?=.*\S)", each: Box::new(Form::Text) },
            Without::Nothing,
            "Labels for every snapshot, at most 1024 bytes together. `sm_policy` and what begins with `snapkeep_` are written \
             by Snapkeep itself.",
        ),
        Key::optional(
            "partial",
            Form::BooleanOrText,
            Without::Is("false"),
            "Whether a snapshot counts as made in which something could not be read. What it was is named.",
        ),
    ];
    keys.extend(in_policies());
    Table::of(keys).open()
}
