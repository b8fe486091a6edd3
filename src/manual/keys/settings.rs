//! The keys of the daemon's own settings.

use super::kinds::{notification, shaped};
use super::{Form, Key, Rule, Shape, Table, Without};
use crate::lifecycle::notice::Event;
use crate::lifecycle::role::Role;

/// Returns the keys of `snapkeep.toml`.
pub fn table() -> Table {
    Table::of(vec![
        Key::optional(
            "state_dir",
            shaped(Shape::Path),
            Without::Means("it is `/var/lib/snapkeep`, or `state` beside a file that `--config` names"),
            "Where the journal is, and what was made through the API. A relative path begins where the settings are.",
        ),
        Key::optional(
            "socket",
            shaped(Shape::Path),
            Without::Means("it is `/run/snapkeep/api.sock`, or `state/api.sock` beside a file that `--config` names"),
            "The Unix socket to which `snapkeep explain` and all the others connect.",
        ),
        Key::optional(
            "jobs_max",
            Form::Number(1, 1024),
            Without::Is("16"),
            "How many calls to drivers are in flight at once.",
        ),
        Key::optional(
            "stop_timeout",
            shaped(Shape::Span),
            Without::Is("\"30s\""),
            "How long a stop waits for what is under way; up to an hour. What is not over by then is looked for at the next start.",
        ),
        Key::optional("log", Form::table(log()), Without::Nothing, "What is logged, and how."),
        Key::optional(
            "housekeeping",
            Form::table(housekeeping()),
            Without::Means("the chores run at their usual times"),
            "The daemon's own chores. Their times are cron expressions in UTC.",
        ),
        Key::optional(
            "http",
            Form::Table(Box::new(http())),
            Without::Means("only root and the daemon's own user may call, at the socket"),
            "Who may call the daemon, and where. `docs/access.md` has the roles.",
        ),
        Key::optional("clock", Form::Table(Box::new(clock())), Without::Nothing, "Who is asked what time it is."),
        Key::optional("metrics", Form::table(metrics()), Without::Nothing, "What monitoring reads beside `/metrics`."),
        notification(
            &Event::CONDITIONS,
            "Who is told what is about the daemon, and of policies that name nobody. Without it nobody is.",
        ),
    ])
}

fn metrics() -> Vec<Key> {
    vec![Key::optional(
        "textfile",
        shaped(Shape::Path),
        Without::Means("no file is written"),
        "A file that ends in `.prom`, written anew each minute for the textfile collector of node_exporter.",
    )]
}

fn log() -> Vec<Key> {
    vec![
        Key::optional(
            "level",
            Form::Word(vec![
                ("error", "a person should act"),
                ("warn", "a person soon may have to"),
                ("info", "something settled or changed"),
                ("debug", "how we got there"),
                ("trace", "every step"),
            ]),
            Without::Is("\"info\""),
            "The least that is logged.",
        ),
        Key::optional(
            "format",
            Form::Word(vec![("text", "for people"), ("json", "for programs, one object a line")]),
            Without::Is("\"text\""),
            "How a line looks.",
        ),
    ]
}

fn housekeeping() -> Vec<Key> {
    let chore =
        |name, default, about: &'static str| Key::optional(name, shaped(Shape::Cron), Without::Is(default), about);
    vec![
        Key::optional("enabled", Form::Boolean, Without::Is("true"), "Whether the chores run by themselves."),
        chore("backup", "\"10 4 * * *\"", "When the journal is copied and the copy checked; the last seven are kept."),
        chore("check", "\"40 4 * * 0\"", "When it is checked whether the journal holds together."),
        chore("trim", "\"25 4 * * *\"", "When runs older than `history_max_age` are forgotten."),
        chore(
            "rescan",
            "\"*/10 * * * *\"",
            "When the configuration is read again, should a change have gone unnoticed.",
        ),
        chore(
            "maintain",
            "\"30 4 * * *\"",
            "When repositories give back the space that deleted snapshots alone needed, and are checked.",
        ),
        Key::optional(
            "history_max_age",
            shaped(Shape::Span),
            Without::Is("\"400d\""),
            "Settled runs older than this are forgotten.",
        ),
    ]
}

fn http() -> Table {
    let role = |role: Role| {
        let about = match role {
            Role::Viewer => "Groups of this machine whose members may look at the socket, by name or number.",
            Role::Operator => "Groups whose members may also run, stop, verify, hold and approve there.",
            Role::Admin => "Groups whose members may do everything there.",
        };
        Key::optional(role.word(), Form::OneOrAny(Box::new(Form::Group)), Without::Nothing, about)
    };
    let mut keys: Vec<Key> = Role::ALL.into_iter().map(role).collect();
    keys.extend([
        Key::optional(
            "listen",
            Form::OneOrAny(Box::new(shaped(Shape::Address))),
            Without::Means("nobody is let in over the network"),
            "Where callers with a token come in. An address that others reach needs `[http.tls]`.",
        ),
        Key::optional(
            "tls",
            Form::table(vec![
                Key::needed(
                    "certificate",
                    shaped(Shape::Path),
                    "The certificate, then the ones that vouch for it, in PEM.",
                ),
                Key::needed("key", shaped(Shape::Path), "Its private key in PEM, which not everybody may read."),
            ]),
            Without::Nothing,
            "With what connections over the network are protected. The files are read again when they change.",
        ),
        Key::optional(
            "connections_max",
            Form::Number(1, 4096),
            Without::Is("256"),
            "Connections at once, at each of these addresses.",
        ),
        Key::optional("rate", Form::Number(1, 10_000), Without::Is("50"), "Requests a second of one caller there."),
    ]);
    Table::of(keys)
}

fn clock() -> Table {
    Table::of(vec![
        Key::optional(
            "witness",
            Form::OneOrMore(Box::new(shaped(Shape::Witness))),
            Without::Means("nobody is asked"),
            "A server, or at most four, whose `Date` over TLS may end a doubt in the clock after a long gap. It is asked then \
             and only then. `docs/guards.md` has what it can tell.",
        ),
        Key::optional(
            "ca",
            shaped(Shape::Path),
            Without::Means("the system's authorities are trusted"),
            "A file with the certificates of the authorities that are trusted in place of the system's.",
        ),
    ])
    .rule(Rule::With("ca", "witness"))
}
