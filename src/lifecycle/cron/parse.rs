//! From text to bits, with messages for people.

use std::ops::Range;

use super::{CronError, Fields};

pub(super) const DAYS_ALL: u64 = bits(1, 31, 1);
pub(super) const WEEKDAYS_ALL: u64 = bits(0, 6, 1);

/// Long enough for every minute of the hour written out, short enough to show in a message.
const LENGTH_MAX: usize = 1024;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What may stand in a field.
struct Kind {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names of the values, the first for `low`.
    names: &'static [&'static str],
}

const KINDS: [Kind; 5] = [
    Kind { name: "minute", low: 0, high: 59, names: &[] },
    Kind { name: "hour", low: 0, high: 23, names: &[] },
    Kind { name: "day of month", low: 1, high: 31, names: &[] },
    Kind { name: "month", low: 1, high: 12, names: &MONTHS },
    Kind { name: "day of week", low: 0, high: 7, names: &WEEKDAYS },
];

/// A part of the expression, and where it begins.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Part<'a> {
    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn fault(self, message: impl Into<String>, hint: impl Into<Option<String>>) -> CronError {
        CronError { message: message.into(), span: self.span(), hint: hint.into() }
    }

    fn split_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let (head, tail) = self.text.split_once(separator)?;
        let tail_at = self.at + head.len() + separator.len_utf8();
        Some((Part { text: head, at: self.at }, Part { text: tail, at: tail_at }))
    }

    fn begins_with_star(self) -> bool {
        self.text.starts_with('*')
    }

    fn is_number(self) -> bool {
        !self.text.is_empty() && self.text.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// Reads an expression.
pub(super) fn fields(expression: &str) -> Result<Fields, CronError> {
    let whole = Part { text: expression, at: 0 };
    if expression.len() > LENGTH_MAX {
        return Err(whole.fault(format!("cron expression is longer than {LENGTH_MAX} bytes"), None));
    }
    let parts = split(expression);
    match parts[..] {
        [] => Err(whole.fault("cron expression is empty", example())),
        [word] if word.text.starts_with('@') => shorthand(word),
        [minute, hour, day, month, weekday] => five([minute, hour, day, month, weekday]),
        _ => Err(wrong_number(whole, &parts)),
    }
}

fn split(expression: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = Part { text: expression, at: 0 };
    loop {
        let trimmed = rest.text.trim_start();
        let at = rest.at + rest.text.len() - trimmed.len();
        if trimmed.is_empty() {
            return parts;
        }
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        parts.push(Part { text: &trimmed[..end], at });
        rest = Part { text: &trimmed[end..], at: at + end };
    }
}

fn example() -> Option<String> {
    Some("`0 1 * * *` is every night at one, `*/15 * * * *` every quarter of an hour".to_string())
}

fn shorthand(word: Part) -> Result<Fields, CronError> {
    let lower = word.text.to_ascii_lowercase();
    if let Some((_, meaning)) = WORDS.iter().find(|(name, _)| *name == lower) {
        return fields(meaning);
    }
    if lower == "@reboot" {
        let hint = "after a start, what was missed is caught up by itself";
        return Err(word.fault("@reboot is not a time", hint.to_string()));
    }
    let names = WORDS.map(|(name, _)| name);
    let hint = match nearest(&lower, &names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known are {}", names.join(", ")),
    };
    Err(word.fault(format!("unknown word `{}`", word.text), hint))
}

/// Six or seven fields are some other cron's; guess which five were meant.
fn wrong_number(whole: Part, parts: &[Part]) -> CronError {
    let count = parts.len();
    let message = format!("cron expression has {count} field{}, not five", if count == 1 { "" } else { "s" });
    let reads = |candidate: &[Part]| {
        let text = candidate.iter().map(|part| part.text).collect::<Vec<_>>().join(" ");
        fields(&text).is_ok().then_some(text)
    };
    let hint = match parts {
        [seconds @ .., _] if count == 7 => reads(&seconds[1..])
            .map(|five| format!("write `{five}`, if the first field was meant as seconds and the last as years")),
        [without_first_and @ .., last] if count == 6 => {
            let without_seconds =
                reads(&parts[1..]).map(|five| format!("`{five}` if the first field was meant as seconds"));
            let year =
                last.text == "*" || (last.text.len() >= 4 && last.text.starts_with(|c: char| c.is_ascii_digit()));
            let without_year = reads(without_first_and)
                .filter(|_| year)
                .map(|five| format!("`{five}` if the last was meant as years"));
            match (without_seconds, without_year) {
                (Some(one), Some(other)) => Some(format!("write {one}, {other}")),
                (one, other) => one.or(other).map(|one| format!("write {one}")),
            }
        }
        _ => None,
    };
    let order = || "the five are: minute, hour, day of month, month, day of week".to_string();
    let span = match parts {
        [first, .., last] => first.at..last.span().end,
        _ => whole.span(),
    };
    CronError { message, span, hint: Some(hint.unwrap_or_else(order)) }
}

fn five(parts: [Part; 5]) -> Result<Fields, CronError> {
    let mut read = [0; 5];
    for ((part, kind), bits) in parts.iter().zip(&KINDS).zip(&mut read) {
        *bits = field(kind, *part)?;
    }
    let [minutes, hours, days, months, weekdays] = read;
    // Sunday is 0 and 7.
    let weekdays = (weekdays | weekdays >> 7) & WEEKDAYS_ALL;
    let [minute_part, hour_part, day_part, month_part, weekday_part] = parts;
    let either_day = both_days_restricted(day_part, weekday_part)?;
    let running = minute_part.begins_with_star() || hour_part.begins_with_star();
    let mut fields = Fields { minutes, hours, days, months, weekdays, either_day, running };
    if !dates_come(days, months) {
        if !either_day {
            return Err(never(day_part, month_part, months));
        }
        // Of a union, the half that comes is left.
        fields.days = DAYS_ALL;
        fields.either_day = false;
    }
    Ok(fields)
}

/// Returns whether a day is matched by either field, as when both name days. Where one begins with a
/// star and is more than that, crons disagree.
fn both_days_restricted(day: Part, weekday: Part) -> Result<bool, CronError> {
    if day.text == "*" || weekday.text == "*" {
        return Ok(false);
    }
    let starred = match (day.begins_with_star(), weekday.begins_with_star()) {
        (false, false) => return Ok(true),
        (true, _) => day,
        (false, true) => weekday,
    };
    let unstarred = match (starred.at == day.at, starred.text) {
        (true, text) => text.replacen('*', "1-31", 1),
        (false, text) => text.replacen('*', "0-6", 1),
    };
    Err(starred.fault(
        format!(
            "day of month `{}` with day of week `{}` has two readings: days that match both (Debian's cron), or \
             days that match either (OpenSearch)",
            day.text, weekday.text
        ),
        format!("for either, write `{unstarred}` for `{}`; for both, leave one of the two `*`", starred.text),
    ))
}

fn dates_come(days: u64, months: u64) -> bool {
    (1..=12).any(|month| months >> month & 1 == 1 && days & bits(1, month_length(month), 1) != 0)
}

fn never(day: Part, month: Part, months: u64) -> CronError {
    let longest = (1..=12).filter(|month| months >> month & 1 == 1).map(month_length).max().unwrap_or(31);
    CronError {
        message: format!("day of month `{}` never comes in month `{}`", day.text, month.text),
        span: day.at..month.span().end,
        hint: Some(format!("the last day that comes there is {longest}")),
    }
}

const fn month_length(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn field(kind: &Kind, part: Part) -> Result<u64, CronError> {
    let mut set = 0;
    let mut rest = Some(part);
    while let Some(list) = rest {
        let (item, tail) = match list.split_once(',') {
            Some((item, tail)) => (item, Some(tail)),
            None => (list, None),
        };
        if item.text.is_empty() {
            return Err(part.fault(format!("{} `{}` has an empty item", kind.name, part.text), None));
        }
        set |= self::item(kind, item)?;
        rest = tail;
    }
    Ok(set)
}

fn item(kind: &Kind, item: Part) -> Result<u64, CronError> {
    let (base, step) = match item.split_once('/') {
        Some((base, step)) => (base, Some(self::step(kind, item, step)?)),
        None => (item, None),
    };
    // `*/2` over days of the week counts 0, 2, 4, 6: the second Sunday is no step's.
    if base.text == "*" {
        return Ok(bits(kind.low, kind.high, step.unwrap_or(1)));
    }
    let Some((first, last)) = base.split_once('-') else {
        let low = value(kind, base)?;
        // `5/15` goes on to the end of the field.
        return Ok(step.map_or(bits(low, low, 1), |step| bits(low, kind.high, step)));
    };
    if first.text.is_empty() || last.text.is_empty() {
        return Err(item.fault(format!("{} range `{}` lacks an end", kind.name, base.text), None));
    }
    let low = value(kind, first)?;
    let mut high = value(kind, last)?;
    // `sat-sun`: a range by names may end on Sunday; it can mean one thing only.
    if low > high && high == 0 && kind.names == WEEKDAYS && !last.is_number() {
        high = 7;
    }
    if low > high {
        let (low_end, high_start) = (kind.low, kind.high.min(if kind.names == WEEKDAYS { 6 } else { kind.high }));
        let range = |from: u32, to: u32| if from == to { format!("{from}") } else { format!("{from}-{to}") };
        return Err(item.fault(
            format!("{} range `{}` runs backwards", kind.name, base.text),
            step.is_none().then(|| format!("write `{},{}`", range(low, high_start.max(low)), range(low_end, high))),
        ));
    }
    Ok(bits(low, high, step.unwrap_or(1)))
}

fn step(kind: &Kind, item: Part, step: Part) -> Result<u32, CronError> {
    if !step.is_number() {
        return Err(item.fault(format!("{} step in `{}` is not a number", kind.name, item.text), None));
    }
    match step.text.parse::<u32>() {
        Ok(0) => Err(item.fault(format!("{} step in `{}` is zero", kind.name, item.text), None)),
        // A step beyond the field leaves its first value, however large.
        Ok(step) => Ok(step.min(64)),
        Err(_) => Ok(64),
    }
}

fn value(kind: &Kind, part: Part) -> Result<u32, CronError> {
    if part.is_number() {
        let value = part.text.parse::<u32>().unwrap_or(u32::MAX);
        if (kind.low..=kind.high).contains(&value) {
            return Ok(value);
        }
        let hint = match (kind.name, value) {
            ("hour", 24) => Some("midnight is hour 0".to_string()),
            ("minute", 60) => Some("the full hour is minute 0".to_string()),
            _ => None,
        };
        return Err(part.fault(format!("{} {} is not in {}-{}", kind.name, part.text, kind.low, kind.high), hint));
    }
    let lower = part.text.to_ascii_lowercase();
    if let Some(index) = kind.names.iter().position(|name| *name == lower) {
        return Ok(kind.low + index as u32);
    }
    Err(unknown_value(kind, part, &lower))
}

fn unknown_value(kind: &Kind, part: Part, lower: &str) -> CronError {
    let message = format!("{} `{}` is not known", kind.name, part.text);
    if let Some(name) = kind.names.iter().find(|name| lower.starts_with(*name)).copied() {
        return part.fault(message, format!("names have three letters: `{name}`"));
    }
    if part.text == "?" {
        return part.fault("`?` is another cron's way to write any", "write `*`".to_string());
    }
    let digits_and = |letter: char| {
        let rest = lower.replacen(letter, "", 1);
        rest.is_empty() || rest.bytes().all(|byte| byte.is_ascii_digit())
    };
    if lower.contains('#') {
        return part.fault(
            "`#` (the n-th weekday of a month) is not offered",
            "days 8-14 hold each weekday's second one, but five fields cannot say both".to_string(),
        );
    }
    if lower.starts_with('l') || (lower.ends_with('l') && digits_and('l')) {
        return part.fault(
            "`L` (the last day) is not offered",
            "the 1st of the month comes right after every last day".to_string(),
        );
    }
    if lower.contains('w') && digits_and('w') {
        return part.fault(
            "`W` (the nearest working day) is not offered",
            "Monday to Friday is `1-5` as day of week".to_string(),
        );
    }
    let hint = nearest(lower, kind.names).map(|name| format!("did you mean `{name}`?"));
    let range = || match kind.names {
        [first, .., last] => format!("write {}-{} or {first}-{last}", kind.low, kind.high),
        _ => format!("write {}-{}", kind.low, kind.high),
    };
    part.fault(message, hint.unwrap_or_else(range))
}

/// Returns the name that `word` was probably meant to be.
fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), *name))
        .min()
        .filter(|(distance, name)| *distance * 2 < name.len())
        .map(|(_, name)| name)
}

/// Returns bits `low`, `low + step`, … up to `high`.
const fn bits(low: u32, high: u32, step: u32) -> u64 {
    let mut set = 0;
    let mut value = low;
    while value <= high {
        set |= 1 << value;
        value += step;
    }
    set
}
