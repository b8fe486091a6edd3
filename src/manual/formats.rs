//! The pages of section 5: one for each file that people write, made of its keys.

use super::keys::{File, Form, Key, Rule, Shape, Table, Without};
use super::page::Page;
use super::roff::Roff;

/// What a page has beside its keys.
struct Frame {
    name: &'static str,
    about: &'static str,
    synopsis: &'static [&'static str],
    description: &'static [&'static str],
    example: &'static str,
    files: &'static [(&'static str, &'static str)],
    see: &'static str,
}

const WHERE: &str = "Of files of one name the one in `/etc` comes before the one in `/run`, and that before the one in `/usr/lib`; an \
                     empty file masks those below it. With `--config FILE` there is one folder, the one of FILE. Files whose name begins with a dot or does not end in `.toml` are passed over.";
const MISTAKE: &str = "Changes are picked up by themselves, and on SIGHUP. A file with a mistake changes nothing: its last good version \
                       stays in force, across restarts too, and `snapkeep check` and `snapkeep explain` tell file, line, column and what \
                       to write.";

fn frame(file: File) -> Frame {
    match file {
        File::Settings => Frame {
            name: "snapkeep.toml",
            about: "the settings of the daemon that keeps snapshots by policy",
            synopsis: &[
                "/etc/snapkeep/snapkeep.toml",
                "/run/snapkeep/snapkeep.toml",
                "/usr/lib/snapkeep/snapkeep.toml",
            ],
            description: &[
                "The daemon's own settings, in TOML. Everything is optional, and so is the file. The first of these files that is \
                 there counts, whole; `--config FILE` names another, beside which everything else is looked for then.",
                "It is read when the daemon starts: a change takes a restart. With a mistake in it the daemon does not start.",
            ],
            example: include_str!("../../policies/snapkeep.toml"),
            files: &[("/etc/snapkeep/snapkeep.toml", "Yours."), ("/usr/lib/snapkeep/snapkeep.toml", "A package's.")],
            see: "`snapkeep`(8), `snapkeep-policy`(5), `snapkeep-repository`(5), `snapkeep-channel`(5)",
        },
        File::Policy => Frame {
            name: "snapkeep-policy",
            about: "a policy: when snapshots are made, what goes into them, and which stay",
            synopsis: &[
                "/etc/snapkeep/policies.d/NAME.toml",
                "/run/snapkeep/policies.d/NAME.toml",
                "/usr/lib/snapkeep/policies.d/NAME.toml",
            ],
            description: &[
                "A policy is a file in TOML, and its name is the file's without `.toml`. The keys are those of OpenSearch's \
                 Snapshot Management, with additions.",
                WHERE,
                MISTAKE,
                "`snapkeep plan NAME --policy FILE` shows what an edited policy would do differently before it is in force.",
            ],
            example: include_str!("../../policies/policies.d/wiki.toml"),
            files: &[
                ("/etc/snapkeep/policies.d", "Yours."),
                (
                    "/var/lib/snapkeep/policies.d",
                    "Those that were made through the API. They come before `/etc` and after `/usr/lib`.",
                ),
            ],
            see: "`snapkeep`(8), `snapkeep-check`(8), `snapkeep-plan`(8), `snapkeep-repository`(5), `snapkeep-channel`(5), \
                  `snapkeep.toml`(5)",
        },
        File::Repository => Frame {
            name: "snapkeep-repository",
            about: "a repository: where snapshots are kept, and by which driver",
            synopsis: &[
                "/etc/snapkeep/repositories.d/NAME.toml",
                "/run/snapkeep/repositories.d/NAME.toml",
                "/usr/lib/snapkeep/repositories.d/NAME.toml",
            ],
            description: &[
                "A repository is a file in TOML, and its name is the file's without `.toml`. Which keys it takes depends on its \
                 driver.",
                WHERE,
                MISTAKE,
                "A repository of `files` is encrypted. Without its key nobody can read it: `snapkeep key sheet NAME` prints what to \
                 keep elsewhere. Do not run `restic forget` or `restic prune` on it while Snapkeep uses it.",
            ],
            example: include_str!("../../policies/repositories.d/local.toml"),
            files: &[("/etc/snapkeep/repositories.d", "Yours.")],
            see: "`snapkeep`(8), `snapkeep-key`(8), `snapkeep-maintain`(8), `snapkeep-driver-test`(8), `snapkeep-policy`(5), `restic`(1)",
        },
        File::Channel => Frame {
            name: "snapkeep-channel",
            about: "a channel: where notices go",
            synopsis: &[
                "/etc/snapkeep/channels.d/NAME.toml",
                "/run/snapkeep/channels.d/NAME.toml",
                "/usr/lib/snapkeep/channels.d/NAME.toml",
            ],
            description: &[
                "A channel is a file in TOML, and its name is the file's without `.toml`. It has one table, named after its kind, \
                 and beside it what holds for every kind. Policies name it in `[notification]`, and so do the settings.",
                WHERE,
                MISTAKE,
                "A password, a token or a secret address stands in no such file: the file says where it is. `snapkeep channel test \
                 NAME` sends a real message and shows the conversation.",
            ],
            example: include_str!("../../policies/channels.d/ops-mail.toml"),
            files: &[("/etc/snapkeep/channels.d", "Yours.")],
            see: "`snapkeep`(8), `snapkeep-channel-test`(8), `snapkeep-notices-list`(8), `snapkeep-policy`(5), `snapkeep.toml`(5), \
                  `systemd.exec`(5)",
        },
    }
}

/// Returns the page of a file.
pub fn page(file: File) -> Page {
    let frame = frame(file);
    let mut roff = Roff::page(frame.name, 5, frame.about);
    roff.section("SYNOPSIS");
    roff.example(&frame.synopsis.join("\n"));
    roff.section("DESCRIPTION");
    frame.description.iter().for_each(|paragraph| roff.paragraph(paragraph));
    roff.section("KEYS");
    let table = file.table();
    let mut shapes = Shapes::default();
    keys(&mut roff, &table, "", &mut shapes);
    forms(&mut roff, &shapes);
    roff.section("EXAMPLE");
    roff.example(frame.example);
    roff.section("FILES");
    frame.files.iter().for_each(|(path, what)| roff.item(path, "", what));
    roff.section("SEE ALSO");
    roff.paragraph(frame.see);
    roff.paragraph("`snapkeep schema` prints JSON schemas of these files for editors.");
    Page { name: frame.name.to_owned(), section: 5, about: frame.about.to_owned(), text: roff.into_text() }
}

/// Which shapes a page has to explain.
#[derive(Default)]
struct Shapes {
    seen: Vec<Shape>,
    has_secrets: bool,
}

/// Writes a table's keys, then each table below it.
fn keys(roff: &mut Roff, table: &Table, path: &str, shapes: &mut Shapes) {
    if !path.is_empty() {
        roff.part(path);
    }
    for rule in &table.rules {
        roff.paragraph(&rule_text(rule));
    }
    for key in &table.keys {
        note(&key.form, shapes);
        roff.item(key.name, &format!("= {}", takes(&key.form)), &key.about);
        if let Form::Word(words) | Form::Words(words) = &key.form
            && words.iter().any(|(_, meaning)| !meaning.is_empty())
        {
            let each = words.iter().map(|(word, meaning)| format!("`{word}`: {meaning}"));
            roff.also(&format!("{}.", each.collect::<Vec<_>>().join("; ")));
        }
        if let Some(without) = without(key) {
            roff.also(&without);
        }
        if let Some(alias) = key.alias {
            roff.also(&format!("Another name of it is `{alias}`."));
        }
    }
    if table.is_open {
        roff.paragraph("Further keys belong to the driver's program, where it is one.");
    }
    for key in &table.keys {
        let inner = if path.is_empty() {
            key.name.to_owned()
        } else {
            format!("{}.{}", path.trim_matches(['[', ']']), key.name)
        };
        let heading = match &key.form {
            Form::Items(_) => format!("[[{inner}]]"),
            _ => format!("[{inner}]"),
        };
        match key.table() {
            Some(table) => keys(roff, table, &heading, shapes),
            None => {
                if let Form::Named { name, each, .. } = &key.form {
                    roff.part(&heading);
                    note(each, shapes);
                    let about = format!("One of your own, as many as there are: {name} is what you call it.");
                    roff.item(name, &format!("= {}", takes(each)), &about);
                }
            }
        }
    }
}

fn note(form: &Form, shapes: &mut Shapes) {
    match form {
        Form::Shaped(shape) => shapes.seen.push(*shape),
        Form::List(each) | Form::OneOrMore(each) | Form::OneOrAny(each) => note(each, shapes),
        Form::Secret => shapes.has_secrets = true,
        Form::MaybeSecret(shape) => {
            shapes.seen.push(*shape);
            shapes.has_secrets = true;
        }
        _ => {}
    }
}

fn rule_text(rule: &Rule) -> String {
    let list = |names: &[&str], word: &str| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} {word} {last}", rest.join(", ")),
            Some((last, _)) => last.clone(),
            None => String::new(),
        }
    };
    match rule {
        Rule::One(names) => format!("Exactly one of {} has to be there.", list(names, "and")),
        Rule::Any(names) => format!("At least one of {} has to be there.", list(names, "and")),
        Rule::AtMostOne(names) => format!("At most one of {} may be there.", list(names, "and")),
        Rule::With(first, second) => format!("`{first}` is refused without `{second}`."),
    }
}

fn without(key: &Key) -> Option<String> {
    match key.without {
        Without::Refused => Some("It has to be there.".to_owned()),
        Without::Is(written) => Some(format!("Without it: `{written}`.")),
        Without::Means(what) => Some(format!("Without it, {what}.")),
        Without::Nothing => None,
    }
}

/// Returns what a key takes, in a few words.
fn takes(form: &Form) -> String {
    let words =
        |words: &[(&str, &str)]| words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    match form {
        Form::Text => "text".to_owned(),
        Form::Shaped(shape) => shape.word().to_owned(),
        Form::Word(all) => format!("one of {}", words(all)),
        Form::Boolean => "true or false".to_owned(),
        Form::BooleanOrText => "true or false, also in quotes".to_owned(),
        Form::Number(min, u32::MAX) => format!("whole number, {min} or more"),
        Form::Number(min, max) => format!("whole number, {min} to {max}"),
        Form::Count(max) => format!("whole number, 1 to {max}"),
        Form::Size => "bytes, or text such as \"512MiB\"".to_owned(),
        Form::List(each) => format!("list of one or more, each {}", takes(each)),
        Form::Words(all) => format!("list of {}", words(all)),
        Form::Texts => "list of texts".to_owned(),
        Form::Arguments => "list: the program, then its arguments".to_owned(),
        Form::OneOrMore(each) | Form::OneOrAny(each) => format!("{}, or a list of them", takes(each)),
        Form::Group => "name or number".to_owned(),
        Form::Items(_) => "list of names and tables".to_owned(),
        Form::Table(_) => "table, see below".to_owned(),
        Form::Named { name, .. } => format!("table of {name} = …, see below"),
        Form::Secret => "secret".to_owned(),
        Form::MaybeSecret(shape) => format!("{}, or secret", shape.word()),
    }
}

/// Explains the forms that a page uses.
fn forms(roff: &mut Roff, shapes: &Shapes) {
    let has = |shape| shapes.seen.contains(&shape);
    if has(Shape::Span) {
        roff.section("SPANS OF TIME");
        roff.paragraph(
            "Numbers with units, the larger unit first, without blanks, in quotes: `\"7d\"`, `\"1h30m\"`. The units are `w`, `d` \
             (24 hours), `h`, `m`, `s` and `ms`. There are no months and no years, for they differ in length. Zero is refused.",
        );
    }
    if has(Shape::Cron) {
        roff.section("CRON");
        roff.paragraph(
            "Five fields: minute (0 to 59), hour (0 to 23), day of month (1 to 31), month (1 to 12 or `jan` to `dec`), day of \
             week (0 to 7 or `sun` to `sat`; 0 and 7 are Sunday). A field is `*`, a value, a range (`1-5`), any of these with a \
             step (`*/15`, `8-18/2`), or a list of them (`6,18`). Where both day of month and day of week are restricted, a day \
             that matches either counts. Or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and \
             `@annually`.",
        );
    }
    if has(Shape::Zone) {
        roff.section("TIME ZONES");
        roff.paragraph("A name of the IANA's database, such as `\"Europe/Berlin\"`, or `\"UTC\"`. The system's zone files come first.");
    }
    if shapes.has_secrets {
        roff.section("SECRETS");
        roff.paragraph(
            "Where `secret` is said, the file names the place of the secret and not the secret itself: a table with one of these \
             keys.",
        );
        roff.item("file", "= path", "A file with mode 0600 that belongs to the daemon's user, who has to read it.");
        roff.item("credential", "= name", "A credential that the service was given by `LoadCredential=`.");
        roff.paragraph("So `password.file = \"/etc/snapkeep/secrets/smtp\"`, or `password.credential = \"smtp\"`.");
    }
}
