//! Where the log goes and what a line of it looks like: for systemd's journal fields, for people a sentence, for
//! programs JSON.
//!
//! The sentence is the same for the journal and for people. What the journal has as fields stands in it too, so
//! that `journalctl` without any option tells enough.

use std::fmt;
use std::io::IsTerminal;

use tracing::field::{Field, Value, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::settings::{LogFormat, LogLevel};

/// Says what is logged, over what the settings say; in tracing's own words, such as `snapkeep=debug`.
const LOG_VARIABLE: &str = "SNAPKEEP_LOG";
/// Where systemd says which stream it has connected with its journal: device and inode.
const STREAM_VARIABLE: &str = "JOURNAL_STREAM";
/// The one line about a settled run is a sentence that says all of its fields.
const WHOLE_SENTENCES: &str = "snapkeep::run";

/// Sends the log to systemd's journal where that is what standard error leads to, and else to standard error.
pub fn start(level: LogLevel, format: LogFormat) {
    // Of other libraries only what a person may have to act on.
    let ours = match level {
        LogLevel::Error => "error".to_string(),
        level => format!("warn,snapkeep={level},notice={level}", level = level.word()),
    };
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new(ours));
    // What people are told by the log is there, however little else is.
    let filter = match "notice=trace".parse() {
        Ok(notices) => filter.add_directive(notices),
        Err(_) => filter,
    };
    let output: Box<dyn Layer<Registry> + Send + Sync> = match (format, journal()) {
        (LogFormat::Json, _) => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
        (LogFormat::Text, Some(journal)) => Journal(journal).boxed(),
        (LogFormat::Text, None) => {
            let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let colour = !no_colour && std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
            lines.event_format(Lines).boxed()
        }
    };
    // A log that was started before, as in a test, goes on.
    let _ = tracing_subscriber::registry().with(output).with(filter).try_init();
}

/// Returns systemd's journal, where standard error leads to it.
fn journal() -> Option<tracing_journald::Layer> {
    let stream = std::env::var(STREAM_VARIABLE).ok()?;
    let stderr = rustix::fs::fstat(std::io::stderr()).ok()?;
    if stream != format!("{}:{}", stderr.st_dev, stderr.st_ino) {
        return None;
    }
    // Should nobody listen, lines on standard error get there too.
    Some(tracing_journald::layer().ok()?.with_field_prefix(None))
}

/// Gives the journal what was said as fields, and as its message what people read elsewhere.
struct Journal(tracing_journald::Layer);

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let texts = Texts::of(event);
        let sentence = texts.sentence(metadata.target());
        let value = |(name, text): &(&'static str, Option<String>)| match *name {
            MESSAGE => Some(sentence.clone()),
            _ => text.clone(),
        };
        let values: Vec<Option<String>> = texts.0.iter().map(value).collect();
        let values: Vec<Option<&dyn Value>> =
            values.iter().map(|value| value.as_ref().map(|value| value as &dyn Value)).collect();
        self.0.on_event(&Event::new(metadata, &metadata.fields().value_set_all(&values)), context);
    }
}

/// Lines for people: when, how urgent, and what.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        let colour = match *metadata.level() {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            Level::TRACE => "35",
        };
        let level = metadata.level();
        if writer.has_ansi_escapes() {
            write!(writer, " \x1b[{colour}m{level:>5}\x1b[0m ")?;
        } else {
            write!(writer, " {level:>5} ")?;
        }
        writeln!(writer, "{}", Texts::of(event).sentence(metadata.target()))
    }
}

/// What `tracing` calls the words that are no field.
const MESSAGE: &str = "message";

/// The fields of an event in their order, as text.
struct Texts(Vec<(&'static str, Option<String>)>);

impl Texts {
    fn of(event: &Event<'_>) -> Texts {
        let fields = event.metadata().fields();
        let mut texts = Texts(fields.iter().map(|field| (field.name(), None)).collect());
        event.record(&mut texts);
        texts
    }

    /// Returns the message, and in brackets what it does not say.
    fn sentence(&self, target: &str) -> String {
        let told = |(name, text): &(&'static str, Option<String>)| Some((*name, text.clone()?));
        let told: Vec<(&str, String)> = self.0.iter().filter_map(told).collect();
        let message = told.iter().find(|(name, _)| *name == MESSAGE);
        let mut sentence = message.map(|(_, text)| text.clone()).unwrap_or_default();
        if target == WHOLE_SENTENCES {
            return one_line(&sentence);
        }
        // What the library `log` adds about itself is for nobody.
        let rest = told.iter().filter(|(name, _)| *name != MESSAGE && !name.starts_with("log."));
        for (name, text) in rest {
            let is_plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"');
            let text = if is_plain { text.clone() } else { format!("{text:?}") };
            sentence.push_str(&format!(" {name}={text}"));
        }
        one_line(&sentence)
    }

    fn put(&mut self, field: &Field, text: String) {
        if let Some((_, place)) = self.0.get_mut(field.index()) {
            *place = Some(text);
        }
    }
}

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// What others have written could look like another line, or write on a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_says_its_fields_unless_it_is_a_whole_sentence() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let log = tracing_subscriber::registry().with(lines.event_format(Lines));
        tracing::subscriber::with_default(log, || {
            let nobody: Option<&str> = None;
            tracing::info!(policy = "wiki", cause = %"two words", empty = "", nobody, number = 3, "adopted");
            tracing::error!(target: "snapkeep::run", policy = "wiki", "wiki: creation failed");
            tracing::warn!("a line\nand what looks like another\x1b[2J");
        });
        let text = String::from_utf8(kept.0.lock().expect("whole").clone()).expect("text");
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').expect("a time before it").1).collect();
        let expected = [
            " INFO adopted policy=wiki cause=\"two words\" empty=\"\" number=3",
            "ERROR wiki: creation failed",
            " WARN a line and what looks like another [2J",
        ];
        assert_eq!(lines, expected);
    }
}
