//! Every key of every file: its name, its form, what holds without it, and what it does.

pub mod channel;
pub mod kinds;
pub mod policy;
pub mod repository;
pub mod settings;

/// A file that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// `snapkeep.toml`.
    Settings,
    /// In `policies.d`.
    Policy,
    /// In `repositories.d`.
    Repository,
    /// In `channels.d`.
    Channel,
}

impl File {
    /// All of them.
    pub const ALL: [File; 4] = [File::Settings, File::Policy, File::Repository, File::Channel];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            File::Settings => "settings",
            File::Policy => "policy",
            File::Repository => "repository",
            File::Channel => "channel",
        }
    }

    /// Returns the keys of such a file.
    pub fn table(self) -> Table {
        match self {
            File::Settings => settings::table(),
            File::Policy => policy::table(),
            File::Repository => repository::table(),
            File::Channel => channel::table(),
        }
    }
}

/// The keys that stand together.
#[derive(Clone, Debug)]
pub struct Table {
    /// In the order in which they are explained.
    pub keys: Vec<Key>,
    /// What has to be there of them.
    pub rules: Vec<Rule>,
    /// Whether others may stand there, which belong to a program.
    pub is_open: bool,
}

impl Table {
    /// Returns a table of these keys and no others.
    pub fn of(keys: Vec<Key>) -> Table {
        Table { keys, rules: Vec::new(), is_open: false }
    }

    /// Returns the same with a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Table {
        self.rules.push(rule);
        self
    }

    /// Returns the same, where a program's keys may stand too.
    #[must_use]
    pub fn open(mut self) -> Table {
        self.is_open = true;
        self
    }
}

/// What has to be there of several keys.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Exactly one of them.
    One(&'static [&'static str]),
    /// At least one of them.
    Any(&'static [&'static str]),
    /// At most one of them.
    AtMostOne(&'static [&'static str]),
    /// With the first the second too.
    With(&'static str, &'static str),
}

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// Another name of the same.
    pub alias: Option<&'static str>,
    /// What it takes.
    pub form: Form,
    /// What holds without it.
    pub without: Without,
    /// What it does, in one or two sentences. Words between backticks are what people type.
    pub about: String,
}

/// What holds where a key is not written.
#[derive(Clone, Debug)]
pub enum Without {
    /// The file is refused.
    Refused,
    /// As if this were written, in TOML.
    Is(&'static str),
    /// Something that is no value of it, as words that go on after "without it".
    Means(&'static str),
    /// Nothing of what it does.
    Nothing,
}

/// What a key takes.
#[derive(Clone, Debug)]
pub enum Form {
    /// A text that is not blank.
    Text,
    /// A text of some shape.
    Shaped(Shape),
    /// One of these words, each with what it means; no explanation where the word is one.
    Word(Vec<(&'static str, &'static str)>),
    /// `true` or `false`.
    Boolean,
    /// The same, also in quotes.
    BooleanOrText,
    /// A whole number from the first to the second.
    Number(u32, u32),
    /// A whole number from 1 to so many, which a driver reads.
    Count(u32),
    /// A number of bytes, or a text such as `"512MiB"`.
    Size,
    /// A list of these, at least one.
    List(Box<Form>),
    /// A list of words; the empty list too.
    Words(Vec<(&'static str, &'static str)>),
    /// A list of texts; the empty list too.
    Texts,
    /// A program and its arguments.
    Arguments,
    /// One of these, or a list of them.
    OneOrMore(Box<Form>),
    /// One of these, or a list of them, which may be empty.
    OneOrAny(Box<Form>),
    /// A group of this machine, by name or number.
    Group,
    /// A list of names, and of tables with these keys.
    Items(Box<Table>),
    /// A table with these keys.
    Table(Box<Table>),
    /// A table whose keys people choose themselves.
    Named {
        /// What is written in their place here.
        name: &'static str,
        /// What a name may be, as a regular expression.
        names: &'static str,
        /// What each of them takes.
        each: Box<Form>,
    },
    /// Where a secret is.
    Secret,
    /// A text of some shape, or where it is read from if it is a secret.
    MaybeSecret(Shape),
}

/// The shape of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A span of time.
    Span,
    /// A cron expression.
    Cron,
    /// A time zone.
    Zone,
    /// A share in percent.
    Share,
    /// A time of day.
    TimeOfDay,
    /// A path.
    Path,
    /// The identity of a policy.
    Uid,
    /// An address over HTTP.
    Url,
    /// The address of a server over TLS.
    Witness,
    /// An address with a port to listen at.
    Address,
    /// A mail's address.
    Mailbox,
    /// A pattern for dates.
    Date,
    /// The name of a repository or a channel.
    Name,
    /// A text of any number of lines.
    Template,
}

impl Key {
    /// Returns a key that has to be there.
    pub fn needed(name: &'static str, form: Form, about: impl Into<String>) -> Key {
        Key { name, alias: None, form, without: Without::Refused, about: about.into() }
    }

    /// Returns a key that may be left out.
    pub fn optional(name: &'static str, form: Form, without: Without, about: impl Into<String>) -> Key {
        Key { name, alias: None, form, without, about: about.into() }
    }

    /// Returns the same with another name.
    #[must_use]
    pub fn or(mut self, alias: &'static str) -> Key {
        self.alias = Some(alias);
        self
    }

    /// Returns the table that the key holds, in whatever form.
    pub fn table(&self) -> Option<&Table> {
        fn table_of(form: &Form) -> Option<&Table> {
            match form {
                Form::Table(table) | Form::Items(table) => Some(table),
                Form::Named { each, .. } => table_of(each),
                _ => None,
            }
        }
        table_of(&self.form)
    }
}

impl Form {
    /// Returns the form of a table of these keys.
    pub fn table(keys: Vec<Key>) -> Form {
        Form::Table(Box::new(Table::of(keys)))
    }
}
