//! A repository's keys. Which of them it takes depends on its driver, and so do some of a policy's.
//!
//! Nothing else of the manual knows a driver by its name; a test holds what is told here against the registry.

use super::kinds::shaped;
use super::{Form, Key, Rule, Shape, Table, Without};

/// Returns what is common to every driver.
fn driver(words: Vec<(&'static str, &'static str)>) -> Key {
    Key::needed("driver", Form::Word(words), "Who makes and keeps the snapshots.")
}

const FILES: (&str, &str) =
    ("files", "encrypted, deduplicated snapshots of directories, in restic's format, on a path of this machine");
const EXEC: (&str, &str) =
    ("exec", "a program that speaks the driver protocol; every other key of the file is its own");

/// The kinds of drivers.
pub const KINDS: [&str; 2] = [FILES.0, EXEC.0];

fn memory() -> Key {
    Key::optional(
        "memory_max",
        Form::Size,
        Without::Is("\"4GiB\""),
        "How much memory the driver's process may take; for `files` 256MiB at least.",
    )
}

/// Returns the keys of `driver = "files"`, beside `driver`.
pub fn files() -> Vec<Key> {
    vec![
        Key::needed(
            "path",
            shaped(Shape::Path),
            "For `files`: the repository's directory, made at first use. Better on another disk than the data.",
        ),
        Key::optional(
            "key_file",
            shaped(Shape::Path),
            Without::Means("the key is made beside the repository, as its path with `.key`"),
            "For `files`: the file that holds the key. It must not lie inside of the repository.",
        ),
        Key::optional(
            "key_credential",
            Form::Text,
            Without::Nothing,
            "For `files`: the name of a systemd credential that holds the key, as in `LoadCredential=NAME:FILE`. Not beside \
             `key_file`.",
        ),
        Key::optional(
            "prune_delay",
            shaped(Shape::Span),
            Without::Is("\"23h\""),
            "For `files`: how long what no snapshot needs is kept before maintenance removes it, 23h to 365d.",
        ),
        memory(),
    ]
}

/// Returns the keys of `driver = "exec"`, beside `driver` and those of the program.
pub fn exec() -> Vec<Key> {
    vec![
        Key::needed(
            "command",
            Form::Arguments,
            "For `exec`: the program and its arguments; no shell is between. A path with a slash may be relative to the \
             folder of the configuration.",
        ),
        Key::optional(
            "abilities",
            Form::Words(vec![
                ("cancel", "ends what it was asked when it is told to"),
                ("restore", "gives the files of a snapshot back"),
                ("restore_beside", "does so while it makes or deletes another"),
                ("verify", "looks whether a snapshot's data is there"),
                ("maintain", "gives back space, and checks the repository"),
                ("label", "writes labels on snapshots that are there"),
            ]),
            Without::Means("it makes, lists and deletes snapshots, and no more is asked of it"),
            "For `exec`: what the program can do beside making, listing and deleting snapshots.",
        ),
        Key::optional(
            "effects_max",
            Form::Count(64),
            Without::Is("1"),
            "For `exec`: how many creations and deletions the repository bears at once.",
        ),
        memory(),
    ]
}

/// Returns the keys that one driver takes.
pub fn of_driver(kind: &str) -> Table {
    let (word, mut keys) = if kind == FILES.0 { (FILES, files()) } else { (EXEC, exec()) };
    keys.insert(0, driver(vec![word]));
    let table = Table::of(keys);
    if kind == FILES.0 { table.rule(Rule::AtMostOne(&["key_file", "key_credential"])) } else { table.open() }
}

/// Returns the keys of all drivers together.
pub fn table() -> Table {
    let mut keys = vec![driver(vec![FILES, EXEC])];
    keys.extend(files());
    keys.extend(exec().into_iter().filter(|key| key.name != "memory_max"));
    Table::of(keys).open()
}

/// Returns what `driver = "files"` takes in a policy's `snapshot_config`. A program's keys there are its own.
pub fn in_policies() -> Vec<Key> {
    vec![
        Key::optional(
            "paths",
            Form::List(Box::new(shaped(Shape::Path))),
            Without::Means("the driver `files` refuses the policy"),
            "For `driver = \"files\"`: the files and directories to keep. A relative path begins in the folder of \
             the configuration.",
        ),
        Key::optional(
            "exclude",
            Form::Texts,
            Without::Nothing,
            "For `driver = \"files\"`: patterns of what to leave out, as in a `.gitignore`; none begins with `!`.",
        ),
        Key::optional(
            "one_file_system",
            Form::Boolean,
            Without::Is("false"),
            "For `driver = \"files\"`: stays on the file system of each path.",
        ),
    ]
}
