//! The table of keys against the readers: what they know is told, what is told they know, and in the same form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::keys::{File, Form, Key, Shape, Table, Without, repository};
use crate::config::policy_document::PolicyDocument;
use crate::config::reader::{Asked, Findings, Sort};
use crate::config::repository::RepositoryDocument;
use crate::config::schedules::Schedules;
use crate::config::settings::{Defaults, Settings};
use crate::config::{channel, check_policy, zone};
use crate::drivers::{exec, registry};
use crate::lifecycle::policy::{Policy, Revision};
use crate::lifecycle::schedule::Calendars;

/// A key where it stands, as a reader names it: the path of its table, and its name.
type Place = (String, String);

/// What a secret's table holds.
const SECRET: [&str; 2] = ["file", "credential"];

fn beside(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns every key of a table and of those below it, with its form.
fn told(table: &Table, path: &str, places: &mut BTreeMap<Place, Form>) {
    let tell_form = |form: &Form, path: &str, places: &mut BTreeMap<Place, Form>| match form {
        Form::Table(table) | Form::Items(table) => told(table, path, places),
        Form::Secret | Form::MaybeSecret(_) => {
            places.extend(SECRET.map(|key| ((path.to_owned(), key.to_owned()), Form::Text)));
        }
        _ => {}
    };
    for key in &table.keys {
        for name in [Some(key.name), key.alias].into_iter().flatten() {
            places.insert((path.to_owned(), name.to_owned()), key.form.clone());
        }
        let path = beside(path, key.name);
        match &key.form {
            Form::Named { name, each, .. } => tell_form(each, &beside(&path, name), places),
            form => tell_form(form, &path, places),
        }
    }
}

/// Returns texts in which every table of a file is there once, alone: bare, and with a value in every key that nothing takes.
fn probes(table: &Table, header: &str, path: &str, texts: &mut Vec<String>) {
    let nonsense = |keys: &[&str]| keys.iter().map(|key| format!("{key} = 1979-05-27\n")).collect::<String>();
    let is_table = |form: &Form| matches!(form, Form::Table(_) | Form::Named { .. });
    let plain: Vec<&str> = table.keys.iter().filter(|key| !is_table(&key.form)).map(|key| key.name).collect();
    texts.push(header.to_owned());
    texts.push(format!("{header}{}", nonsense(&plain)));
    for key in &table.keys {
        let path = beside(path, key.name);
        let below = format!("{header}[{path}]\n");
        match &key.form {
            Form::Table(table) => probes(table, &below, &path, texts),
            Form::Items(table) => probes(table, &format!("{header}[[{path}]]\n"), &path, texts),
            Form::Secret | Form::MaybeSecret(_) => texts.push(below),
            Form::Named { name, each, .. } if matches!(**each, Form::Secret) => {
                texts.push(format!("{below}[{path}.{name}]\n"));
            }
            Form::Named { .. } => texts.push(below),
            _ => {}
        }
    }
}

/// Asks the reader of a file which keys it knows.
fn asked(file: File) -> Asked {
    let mut texts = Vec::new();
    probes(&file.table(), "", "", &mut texts);
    let mut all = Asked::new();
    for text in &texts {
        let mut findings = Findings::recording(Path::new("probe.toml"), text);
        match file {
            File::Policy => drop(PolicyDocument::read(&mut findings)),
            File::Channel => drop(channel::read(&mut findings, Path::new("/"))),
            File::Repository => drop(RepositoryDocument::read(&mut findings)),
            File::Settings => drop(Settings::read(&mut findings, Path::new("/"), &Defaults::system())),
        }
        // A name of people's own is no key.
        for (place, sorts) in findings.into_asked().into_iter().filter(|((_, key), _)| key != "NAME") {
            all.entry(place).or_default().extend(sorts);
        }
    }
    all
}

/// Returns the sort of value that a form stands for.
fn sort(form: &Form) -> Option<Sort> {
    Some(match form {
        Form::Shaped(Shape::Span) => Sort::Span,
        Form::Text | Form::Shaped(_) => Sort::Text,
        Form::Word(words) => Sort::Word(words.iter().map(|(word, _)| (*word).to_owned()).collect()),
        Form::Boolean => Sort::Boolean,
        Form::BooleanOrText => Sort::BooleanOrText,
        Form::Number(min, max) => Sort::Number(*min, *max),
        Form::List(_) => Sort::Texts,
        Form::OneOrMore(each) if matches!(**each, Form::Shaped(Shape::Mailbox)) => Sort::Texts,
        Form::OneOrMore(_) | Form::OneOrAny(_) => Sort::Names,
        Form::Arguments => Sort::Arguments,
        Form::Items(_) => Sort::Items,
        Form::Table(_) | Form::Named { .. } | Form::Secret | Form::MaybeSecret(_) => Sort::Table,
        // Only drivers have these, whose readers are asked otherwise.
        Form::Count(_) | Form::Size | Form::Words(_) | Form::Texts | Form::Group => return None,
    })
}

#[test]
fn what_the_readers_know_is_told_and_what_is_told_they_know_in_the_same_form() {
    for file in File::ALL {
        let asked = asked(file);
        let mut told_keys = BTreeMap::new();
        told(&file.table(), "", &mut told_keys);
        let of_driver: Vec<&str> = match file {
            File::Policy => repository::in_policies().iter().map(|key| key.name).collect(),
            File::Repository => {
                repository::table().keys.iter().map(|key| key.name).filter(|name| *name != "driver").collect()
            }
            File::Channel | File::Settings => Vec::new(),
        };
        told_keys.retain(|(_, key), _| !of_driver.contains(&key.as_str()));
        let known: BTreeSet<&Place> = asked.keys().collect();
        let told: BTreeSet<&Place> = told_keys.keys().collect();
        let untold: Vec<_> = known.difference(&told).collect();
        assert!(untold.is_empty(), "{file:?}: the manual says nothing of {untold:?}");
        let unknown: Vec<_> = told.difference(&known).collect();
        assert!(unknown.is_empty(), "{file:?}: the manual tells of {unknown:?}, which nobody reads");
        for (place, form) in &told_keys {
            // Another name of a key is read as the key is.
            let Some((wanted, sorts)) = sort(form).zip(asked.get(place)).filter(|(_, sorts)| !sorts.is_empty()) else {
                continue;
            };
            // What a driver's list of words is to `driver`, the registry says.
            let wanted = if file == File::Repository { Sort::Text } else { wanted };
            assert!(sorts.contains(&wanted), "{file:?}: {place:?} is told as {wanted:?} and read as {sorts:?}");
        }
    }
}

/// Returns the keys that a driver's reader names when it is given one that nobody knows.
fn keys_of_a_driver(problems: Vec<registry::SettingProblem>) -> BTreeSet<String> {
    let hint = problems.into_iter().find(|problem| problem.path == ["zzzzzzzzzz"]).and_then(|problem| problem.hint);
    let hint = hint.expect("an unknown key is told with those there are");
    let list = hint.strip_prefix("the keys here are ").expect(&hint).to_owned();
    list.split(", ").map(str::to_owned).collect()
}

fn names(keys: &[Key]) -> BTreeSet<String> {
    keys.iter().map(|key| key.name.to_owned()).collect()
}

#[test]
fn what_the_drivers_know_is_told_and_what_is_told_they_know() {
    let odd: Map<String, Value> = [("zzzzzzzzzz".to_owned(), json!(1))].into_iter().collect();
    let (base, program) = (Path::new("/"), Path::new(registry::OWN_PROGRAM));
    let opened = registry::open("files", &odd, base, program).expect_err("there is no such key");
    assert_eq!(keys_of_a_driver(opened), names(&repository::files()));
    let checked = registry::check_config("files", &odd, base).expect_err("there is no such key");
    assert_eq!(keys_of_a_driver(checked), names(&repository::in_policies()));
    assert_eq!(exec::OWN_KEYS.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(), names(&repository::exec()));
    let kinds = repository::table().keys.into_iter().find(|key| key.name == "driver").map(|key| key.form);
    let Some(Form::Word(words)) = kinds else { panic!("driver is one of some words") };
    let words: BTreeSet<&str> = words.into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, registry::kinds().iter().copied().collect());
    // What is told of each is read: a value of the wrong sort is refused at its key.
    for (kind, keys) in [("files", repository::files()), ("exec", repository::exec())] {
        for key in keys {
            let table: Map<String, Value> = [(key.name.to_owned(), json!({ "no": "such" }))].into_iter().collect();
            let problems = registry::open(kind, &table, base, program).expect_err("no key takes a table");
            assert!(problems.iter().any(|problem| problem.path == [key.name]), "{kind}: {}", key.name);
        }
    }
}

/// Writes what holds without a key into every table that is there, or that needs nothing else to be there.
fn write_defaults(table: &Table, into: &mut toml::Table) {
    for key in &table.keys {
        match (&key.without, &key.form) {
            (Without::Is(written), _) if !into.contains_key(key.name) => {
                let mut line: toml::Table = toml::from_str(&format!("value = {written}")).expect(written);
                into.insert(key.name.to_owned(), line.remove("value").expect("written"));
            }
            (_, Form::Table(below)) => {
                let is_free = below.rules.is_empty()
                    && below.keys.iter().all(|key| !matches!(key.without, Without::Refused))
                    && below.keys.iter().any(|key| matches!(key.without, Without::Is(_)));
                if is_free {
                    into.entry(key.name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                }
                if let Some(toml::Value::Table(inner)) = into.get_mut(key.name) {
                    write_defaults(below, inner);
                }
            }
            _ => {}
        }
    }
}

/// Returns a text, and the same with everything written that holds without being written.
fn with_defaults(file: File, text: &str) -> [String; 2] {
    let mut document: toml::Table = toml::from_str(text).expect(text);
    let bare = toml::to_string(&document).expect("TOML");
    let mut table = file.table();
    // A driver's defaults are the driver's.
    let of_driver: Vec<&str> = repository::in_policies().iter().map(|key| key.name).collect();
    for key in &mut table.keys {
        if let (File::Policy, Form::Table(below)) = (file, &mut key.form) {
            below.keys.retain(|key| !of_driver.contains(&key.name));
        }
    }
    write_defaults(&table, &mut document);
    let full = toml::to_string(&document).expect("TOML");
    assert!(full.len() > bare.len(), "nothing holds unless it is written: {full}");
    [bare, full]
}

fn policy_of(text: &str) -> Policy {
    let mut findings = Findings::new(Path::new("p.toml"), text);
    let document = PolicyDocument::read(&mut findings);
    let names: BTreeMap<&str, ()> = [("local", ())].into_iter().collect();
    let mut around = check_policy::Surroundings {
        repositories: &names,
        channels: &names,
        seed: "seed",
        schedules: &mut Schedules::new(zone::load, Calendars::default()),
    };
    let policy = check_policy::check(&mut findings, "p", Revision("r".into()), &document, &mut around);
    policy.unwrap_or_else(|| panic!("{text}\n{:?}", findings.into_problems()))
}

#[test]
fn what_is_told_to_hold_without_a_key_is_what_holds() {
    let policy = "[creation.schedule.cron]\nexpression = \"0 2 * * *\"\n[deletion.schedule.cron]\nexpression = \"0 3 * * *\"\n\
                  [deletion.condition]\nmax_age = \"9d\"\n[deletion.guards]\n[snapshot_config]\nrepository = \"local\"\n";
    let [bare, full] = with_defaults(File::Policy, policy).map(|text| policy_of(&text));
    assert_eq!(bare, full);

    let settings = |text: &str| {
        let mut findings = Findings::new(Path::new("snapkeep.toml"), text);
        let settings = Settings::read(&mut findings, Path::new("/"), &Defaults::system());
        assert!(!findings.has_errors(), "{text}\n{:?}", findings.into_problems());
        settings
    };
    let [bare, full] = with_defaults(File::Settings, "[http]\n").map(|text| settings(&text));
    assert_eq!(bare, full);

    for text in [
        "[log]\n",
        "[mail]\nhost = \"mail.example.org\"\nfrom = \"s@example.org\"\nto = \"ops@example.org\"\n",
        "[webhook]\nurl = \"https://hooks.example.net/x\"\nbody = \"{}\"\n",
        "[ping]\nurl = \"https://hc.example.net/x\"\n",
        "[command]\nargv = [\"/bin/true\"]\n[quiet_hours]\nfrom = \"22:00\"\nuntil = \"07:00\"\n",
    ] {
        let read = |text: String| {
            let mut findings = Findings::new(Path::new("c.toml"), &text);
            let channel = channel::read(&mut findings, Path::new("/"));
            channel.unwrap_or_else(|| panic!("{text}\n{:?}", findings.into_problems()))
        };
        let mut given: toml::Table = toml::from_str(text).expect(text);
        // Another kind's table is another channel.
        let mut table = File::Channel.table();
        table.keys.retain(|key| given.contains_key(key.name) || key.table().is_none());
        let bare = toml::to_string(&given).expect("TOML");
        write_defaults(&table, &mut given);
        assert_eq!(read(bare), read(toml::to_string(&given).expect("TOML")));
    }
}

#[test]
fn a_page_is_found_by_every_name_that_people_type() {
    let pages = super::page::pages(&<crate::cli::arguments::Arguments as clap::CommandFactory>::command());
    let found = |wanted: &str| super::page::find(&pages, wanted).map(super::page::Page::file);
    for (wanted, file) in [
        ("snapkeep", "snapkeep.8"),
        ("snapkeep.8", "snapkeep.8"),
        ("snapkeep.toml", "snapkeep.toml.5"),
        ("snapkeep.toml.5", "snapkeep.toml.5"),
        ("snapkeep.toml(5)", "snapkeep.toml.5"),
        ("policy", "snapkeep-policy.8"),
        ("policy.5", "snapkeep-policy.5"),
        ("snapkeep-policy(5)", "snapkeep-policy.5"),
        ("repository", "snapkeep-repository.5"),
        ("policy list", "snapkeep-policy-list.8"),
        ("snapkeep-journal-accept-machine", "snapkeep-journal-accept-machine.8"),
    ] {
        assert_eq!(found(wanted).as_deref(), Some(file), "{wanted}");
    }
    assert_eq!(found("nothing"), None);
    assert_eq!(found("policy.7"), None);
}
