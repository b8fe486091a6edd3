//! A channel's keys: one table named after its kind, and what holds for every kind.

use super::kinds::{conditions, shaped};
use super::{Form, Key, Rule, Shape, Table, Without};
use crate::lifecycle::workflow::Kind;

/// What the name of a webhook's secret may be, which templates use.
const TEMPLATE_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// What the name of a command's secret may be.
const SECRET_NAME: &str = "^[A-Za-z0-9_-]{1,64}$";
/// What a header may be called. Those that the head has anyway are refused.
const HEADER_NAME: &str = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$";

/// Returns the keys of a channel.
pub fn table() -> Table {
    Table::of(vec![
        Key::optional(
            "give_up_after",
            shaped(Shape::Span),
            Without::Is("\"1d\""),
            "A notice that could not be delivered for so long is given up, kept and shown.",
        ),
        Key::optional(
            "repeat_after",
            shaped(Shape::Span),
            Without::Means("everything is told at once, and once"),
            "What goes on is told again after this, and what happens again sooner waits for it, counted. A minute at least; not \
             beside `[ping]`.",
        ),
        Key::optional(
            "quiet_hours",
            Form::table(quiet_hours()),
            Without::Nothing,
            "Hours of every day in which the channel is not told. What happens in them is told when they end. Not beside `[ping]`.",
        ),
        Key::optional("log", Form::table(log()), Without::Nothing, "The daemon's own log."),
        Key::optional("mail", Form::Table(Box::new(mail())), Without::Nothing, "People, by a server of theirs."),
        Key::optional(
            "webhook",
            Form::Table(Box::new(webhook())),
            Without::Nothing,
            "Any server over HTTP, chat and paging systems by template.",
        ),
        Key::optional(
            "ping",
            Form::table(ping()),
            Without::Nothing,
            "A server that raises an alarm when it is not told that all is well.",
        ),
        Key::optional("command", Form::table(command()), Without::Nothing, "A program of this machine."),
    ])
    .rule(Rule::One(&["log", "mail", "webhook", "ping", "command"]))
}

fn quiet_hours() -> Vec<Key> {
    vec![
        Key::needed("from", shaped(Shape::TimeOfDay), "When they begin."),
        Key::needed("until", shaped(Shape::TimeOfDay), "When they end; before `from` where the night lies between."),
        Key::optional("timezone", shaped(Shape::Zone), Without::Is("\"UTC\""), "By whose clocks."),
        Key::optional(
            "except",
            Form::List(Box::new(Form::Word(conditions()))),
            Without::Nothing,
            "Conditions that are told all the same, each once.",
        ),
    ]
}

fn log() -> Vec<Key> {
    let levels = vec![
        ("error", "a person should act"),
        ("warn", "a person soon may have to"),
        ("info", "something settled or changed"),
    ];
    vec![Key::optional("level", Form::Word(levels), Without::Is("\"warn\""), "How loud a notice is there.")]
}

fn time_limit(about: &'static str) -> Key {
    Key::optional("time_limit", shaped(Shape::Span), Without::Is("\"30s\""), about)
}

fn ca() -> Key {
    Key::optional(
        "ca",
        shaped(Shape::Path),
        Without::Means("the system's authorities are trusted"),
        "A file with the certificates of the authorities that are trusted in place of the system's.",
    )
}

fn mail() -> Table {
    Table::of(vec![
        Key::needed("host", Form::Text, "The server's name or address."),
        Key::optional(
            "port",
            Form::Number(1, 65_535),
            Without::Means("it is 587 with `starttls`, 465 with `implicit`, 25 with `none`"),
            "Its port.",
        ),
        Key::optional(
            "tls",
            Form::Word(vec![
                ("starttls", "as soon as the server has said who it is; what is not offered is an error"),
                ("implicit", "from the first byte"),
                ("none", "not at all: only for a server on this machine, and without a login"),
            ]),
            Without::Is("\"starttls\""),
            "How it is made sure who the server is, and that nobody reads along.",
        ),
        ca(),
        Key::optional("user", Form::Text, Without::Means("there is no login"), "As whom we log in."),
        Key::optional("password", Form::Secret, Without::Means("there is no login"), "Where the password for it is."),
        Key::needed(
            "from",
            shaped(Shape::Mailbox),
            "Who the mail is from, and who hears of it when it cannot be delivered.",
        ),
        Key::needed(
            "to",
            Form::OneOrMore(Box::new(shaped(Shape::Mailbox))),
            "Who is to have it, at most 50, nobody twice.",
        ),
        time_limit("A delivery ends within this, however far it came: 1s to 90s."),
    ])
    .rule(Rule::With("user", "password"))
    .rule(Rule::With("password", "user"))
}

/// What channels that ask a server by HTTP have in common.
fn server(url: &'static str) -> Vec<Key> {
    vec![
        Key::needed("url", Form::MaybeSecret(Shape::Url), url),
        ca(),
        time_limit("A delivery ends within this: at most 90s."),
        Key::optional(
            "allow_hosts",
            Form::List(Box::new(Form::Text)),
            Without::Means("no server of your own network is asked, and none without TLS"),
            "Hosts that may be asked although they are in your own network or speak no TLS, one by one, at most 16.",
        ),
    ]
}

fn webhook() -> Table {
    let mut keys = server(
        "The server's address. Where it is a secret, as for most chat systems, say where it is: `url.file` or \
         `url.credential`.",
    );
    keys.extend([
        Key::optional(
            "method",
            Form::Word(vec![("POST", ""), ("PUT", "")]),
            Without::Is("\"POST\""),
            "How the server is told.",
        ),
        Key::optional(
            "body",
            shaped(Shape::Template),
            Without::Means("it is the JSON that `docs/webhook.md` describes"),
            "What is sent: a template. Only beside it `content_type` means something.",
        ),
        Key::optional("content_type", Form::Text, Without::Is("\"application/json\""), "What the body is said to be."),
        Key::optional(
            "headers",
            Form::Named { name: "HEADER", names: HEADER_NAME, each: Box::new(shaped(Shape::Template)) },
            Without::Nothing,
            "What stands in the head beside what always does, at most 32. Each is a template of one line.",
        ),
        Key::optional(
            "secrets",
            Form::Named { name: "NAME", names: TEMPLATE_NAME, each: Box::new(Form::Secret) },
            Without::Nothing,
            "What templates know as `secret.NAME`.",
        ),
        Key::optional(
            "signing",
            Form::table(vec![
                Key::needed("secret", Form::Secret, "Where the key in use is."),
                Key::optional(
                    "previous_secret",
                    Form::Secret,
                    Without::Nothing,
                    "Where the one before it is. Both sign, so that a receiver may know either.",
                ),
            ]),
            Without::Means("nothing is signed"),
            "What messages are signed with, as Standard Webhooks are.",
        ),
    ]);
    Table::of(keys).rule(Rule::With("content_type", "body"))
}

fn ping() -> Vec<Key> {
    let mut keys = server(
        "The check's address. `{{ policy }}` in it stands for the policy's name. Where it is a secret, say where it is: \
         `url.file` or `url.credential`.",
    );
    let workflow = |kind: Kind| match kind {
        Kind::Creation => (kind.word(), "makes snapshots"),
        Kind::Deletion => (kind.word(), "deletes old ones"),
    };
    keys.extend([
        Key::optional(
            "heartbeat",
            shaped(Shape::Span),
            Without::Means("only runs are told of"),
            "How often the daemon says that it is alive, whatever runs. A minute at least.",
        ),
        Key::optional(
            "workflows",
            Form::List(Box::new(Form::Word(Kind::ALL.into_iter().map(workflow).collect()))),
            Without::Is("[\"creation\"]"),
            "Whose runs are told of.",
        ),
    ]);
    keys
}

fn command() -> Vec<Key> {
    vec![
        Key::needed(
            "argv",
            Form::Arguments,
            "The program's whole path, and its arguments. No shell is between; nobody but root and the daemon's user may be \
             able to change the program.",
        ),
        time_limit("The program is ended when it takes longer: at most 90s."),
        Key::optional(
            "secrets",
            Form::Named { name: "NAME", names: SECRET_NAME, each: Box::new(Form::Secret) },
            Without::Nothing,
            "What it is told on its input beside the notice, at most 16.",
        ),
    ]
}
