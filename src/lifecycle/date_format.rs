//! The date in a snapshot's name, written by a pattern such as `yyyy-MM-dd-HH:mm`.
//!
//! The letters are Java's, as OpenSearch users know them. Only those are taken that come out right
//! and safe in a name; everything else is an error that names the letter.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::time::Timestamp;
use super::zone::Zone;

/// How a trigger's date is written. Valid by construction: what it yields is safe in a name.
#[derive(Clone, Debug, PartialEq)]
pub struct DateFormat {
    pattern: Box<str>,
    items: Box<[Item]>,
    zone: Zone,
}

/// What is wrong with a date pattern. Completes "failed to accept the date format".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DateFormatError {
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to write instead, when we know.
    pub hint: Option<String>,
}

/// One step of writing a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// A character of `[a-z0-9._:-]`.
    Literal(u8),
    Year,
    YearOfCentury,
    Month {
        digits: u8,
    },
    MonthName {
        whole: bool,
    },
    Day {
        digits: u8,
    },
    DayOfYear {
        digits: u8,
    },
    Hour {
        digits: u8,
    },
    HourOfHalf {
        digits: u8,
    },
    Half,
    Minute {
        digits: u8,
    },
    Second {
        digits: u8,
    },
    Fraction {
        digits: u8,
    },
    Weekday {
        whole: bool,
    },
    /// Milliseconds, or seconds, since 1970.
    Epoch {
        millis: bool,
    },
}

/// So much of a name is left for the date, beside a policy's name (128), two hyphens and the suffix (8)
/// out of 192.
const LENGTH_MAX: usize = 54;

const COMPACT: &str = "yyyyMMdd't'HHmmss'z'";

const LETTERS: &str = "y u M d D H h a m s S E and 'quoted text'";

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The commonest of OpenSearch's named formats that need no offset. `strict_` before the name is the same.
const NAMED: [(&str, &str); 12] = [
    ("date", "yyyy-MM-dd"),
    ("year_month_day", "yyyy-MM-dd"),
    ("year_month", "yyyy-MM"),
    ("year", "yyyy"),
    ("date_hour", "yyyy-MM-dd'T'HH"),
    ("date_hour_minute", "yyyy-MM-dd'T'HH:mm"),
    ("date_hour_minute_second", "yyyy-MM-dd'T'HH:mm:ss"),
    ("date_hour_minute_second_millis", "yyyy-MM-dd'T'HH:mm:ss.SSS"),
    ("date_hour_minute_second_fraction", "yyyy-MM-dd'T'HH:mm:ss.SSS"),
    ("basic_date", "yyyyMMdd"),
    ("ordinal_date", "yyyy-DDD"),
    ("basic_ordinal_date", "yyyyDDD"),
];

/// Named formats that end in an offset, which a name cannot hold, and what to write for them.
const NAMED_WITH_OFFSET: [(&str, &str); 8] = [
    ("basic_date_time", "yyyyMMdd'T'HHmmss.SSS"),
    ("basic_date_time_no_millis", "yyyyMMdd'T'HHmmss"),
    ("date_time", "yyyy-MM-dd'T'HH:mm:ss.SSS"),
    ("date_time_no_millis", "yyyy-MM-dd'T'HH:mm:ss"),
    ("date_optional_time", "yyyy-MM-dd'T'HH:mm:ss"),
    ("iso8601", "yyyy-MM-dd'T'HH:mm:ss"),
    ("time", "HH:mm:ss.SSS"),
    ("time_no_millis", "HH:mm:ss"),
];

impl DateFormat {
    /// Returns the form used where a policy names none: compact UTC, `20260301t020000z`.
    pub fn compact() -> DateFormat {
        DateFormat { pattern: COMPACT.into(), items: COMPACT_ITEMS.into(), zone: Zone::utc() }
    }

    /// Accepts a pattern of the Java letters people know from OpenSearch, or one of its named formats.
    ///
    /// # Errors
    ///
    /// A letter that is not offered, a character that no snapshot's name may hold, a date too long for a name.
    pub fn new(pattern: &str, zone: Zone) -> Result<DateFormat, DateFormatError> {
        let items = match named(pattern) {
            Some(named) => named?,
            None => read(pattern)?,
        };
        check_as_part_of_a_name(&items)?;
        Ok(DateFormat { pattern: pattern.into(), items: items.into(), zone })
    }

    /// Returns the pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Returns the zone in which dates are written.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Writes `at` by the pattern, in its zone, in lower case.
    pub fn format(&self, at: Timestamp) -> String {
        let local = at.plus(i64::from(self.zone.offset_seconds(at)) * 1000);
        match chrono::DateTime::from_timestamp_millis(local.millis()) {
            Some(wall) => write_date(&self.items, at, wall.naive_utc()),
            None => at.compact(),
        }
    }
}

const COMPACT_ITEMS: &[Item] = &[
    Item::Year,
    Item::Month { digits: 2 },
    Item::Day { digits: 2 },
    Item::Literal(b't'),
    Item::Hour { digits: 2 },
    Item::Minute { digits: 2 },
    Item::Second { digits: 2 },
    Item::Literal(b'z'),
];

fn named(pattern: &str) -> Option<Result<Vec<Item>, DateFormatError>> {
    match pattern {
        "epoch_millis" => return Some(Ok(vec![Item::Epoch { millis: true }])),
        "epoch_second" => return Some(Ok(vec![Item::Epoch { millis: false }])),
        _ => {}
    }
    let name = pattern.strip_prefix("strict_").unwrap_or(pattern);
    if let Some((_, meaning)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some(read(meaning));
    }
    if let Some((_, meaning)) = NAMED_WITH_OFFSET.iter().find(|(known, _)| *known == name) {
        return Some(Err(DateFormatError {
            message: format!("named format `{pattern}` writes an offset, which a snapshot's name cannot hold"),
            hint: Some(format!("write {meaning}")),
        }));
    }
    // No pattern of letters has an underscore between words of three letters and more.
    let words = name.split('_').filter(|word| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    (name.contains('_') && words.count() >= 2).then(|| {
        Err(DateFormatError {
            message: format!("named format `{pattern}` is not known"),
            hint: Some("write the pattern itself, such as yyyy-MM-dd-HH:mm".to_string()),
        })
    })
}

fn read(pattern: &str) -> Result<Vec<Item>, DateFormatError> {
    let mut items = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let Some((text, after)) = quoted.split_once('\'') else {
                return Err(DateFormatError {
                    message: "quoted text has no end".to_string(),
                    hint: Some("text is written between two quotes, as in 'T'".to_string()),
                });
            };
            // Two quotes are one quote, in Java; a name cannot hold it.
            let text = if text.is_empty() { "'" } else { text };
            text.chars().try_for_each(|character| literal(character).map(|item| items.push(item)))?;
            rest = after;
        } else if first.is_ascii_alphabetic() {
            let after = rest.trim_start_matches(first);
            items.push(field(first, rest.len() - after.len())?);
            rest = after;
        } else {
            items.push(literal(first)?);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(items)
}

fn field(letter: char, count: usize) -> Result<Item, DateFormatError> {
    let digits = u8::try_from(count).unwrap_or(u8::MAX);
    Ok(match (letter, digits) {
        ('y' | 'u', 1 | 4) => Item::Year,
        ('y' | 'u', 2) => Item::YearOfCentury,
        ('M', 1 | 2) => Item::Month { digits },
        ('M', 3 | 4) => Item::MonthName { whole: digits == 4 },
        ('d', 1 | 2) => Item::Day { digits },
        ('D', 1..=3) => Item::DayOfYear { digits },
        ('H', 1 | 2) => Item::Hour { digits },
        ('h', 1 | 2) => Item::HourOfHalf { digits },
        ('a', 1) => Item::Half,
        ('m', 1 | 2) => Item::Minute { digits },
        ('s', 1 | 2) => Item::Second { digits },
        ('S', 1..=3) => Item::Fraction { digits },
        ('E', 1..=4) => Item::Weekday { whole: digits == 4 },
        _ => return Err(unknown(letter, count)),
    })
}

fn unknown(letter: char, count: usize) -> DateFormatError {
    // A long run of one letter need not be repeated in a message.
    let shown = letter.to_string().repeat(count.min(8));
    if "yuMdDHhamsSE".contains(letter) {
        return DateFormatError {
            message: format!("letter `{letter}` cannot be written {count} times (`{shown}`)"),
            hint: Some("write yyyy, yy, MM, MMM, dd, DDD, HH, hh, a, mm, ss, SSS or EEE".to_string()),
        };
    }
    let hint = match letter {
        'Y' => "`Y` is the year of the week, which is off by one around New Year: write yyyy".to_string(),
        'w' | 'W' | 'e' | 'c' => {
            "weeks have numbers that depend on the country: write the date, as in yyyy-MM-dd".to_string()
        }
        'z' | 'Z' | 'X' | 'x' | 'O' | 'V' => {
            "an offset does not fit into a name: say the zone in date_format_timezone, and leave it out here"
                .to_string()
        }
        'T' | 't' => format!("text is quoted: '{letter}'"),
        _ => format!("letters are {LETTERS}"),
    };
    DateFormatError { message: format!("letter `{shown}` is not offered"), hint: Some(hint) }
}

fn literal(character: char) -> Result<Item, DateFormatError> {
    let lower = character.to_ascii_lowercase();
    match u8::try_from(lower) {
        Ok(byte) if byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._:-".contains(&byte) => {
            Ok(Item::Literal(byte))
        }
        _ => Err(DateFormatError {
            message: format!("a snapshot's name cannot hold {character:?}"),
            hint: Some("between the parts of a date write one of - . _ : or a quoted letter".to_string()),
        }),
    }
}

/// Tries the longest that the pattern can yield, so that no date can make a bad name later.
fn check_as_part_of_a_name(items: &[Item]) -> Result<(), DateFormatError> {
    if items.is_empty() {
        return Err(DateFormatError {
            message: "date format is empty".to_string(),
            hint: Some("write yyyy-MM-dd-HH:mm, or leave the key out".to_string()),
        });
    }
    if items.windows(2).any(|pair| pair == [Item::Literal(b'.'); 2]) {
        return Err(DateFormatError { message: "a snapshot's name cannot hold `..`".to_string(), hint: None });
    }
    let length: usize = items.iter().map(|item| item.length_max()).sum();
    if length > LENGTH_MAX {
        return Err(DateFormatError {
            message: format!("dates of up to {length} characters do not fit into a snapshot's name ({LENGTH_MAX})"),
            hint: None,
        });
    }
    Ok(())
}

impl Item {
    fn length_max(self) -> usize {
        match self {
            Item::Literal(_) => 1,
            // Up to the end of the range of timestamps: six digits and a sign.
            Item::Year => 7,
            Item::YearOfCentury | Item::Half => 2,
            Item::Month { .. }
            | Item::Day { .. }
            | Item::Hour { .. }
            | Item::HourOfHalf { .. }
            | Item::Minute { .. }
            | Item::Second { .. } => 2,
            Item::DayOfYear { .. } => 3,
            Item::Fraction { digits } => usize::from(digits),
            Item::MonthName { whole } | Item::Weekday { whole } => {
                if whole {
                    9
                } else {
                    3
                }
            }
            Item::Epoch { .. } => 17,
        }
    }
}

fn write_date(items: &[Item], at: Timestamp, wall: NaiveDateTime) -> String {
    let mut text = String::new();
    for item in items {
        // Writing into a String cannot fail.
        let _ = write_item(&mut text, *item, at, wall);
    }
    text
}

fn write_item(text: &mut String, item: Item, at: Timestamp, wall: NaiveDateTime) -> std::fmt::Result {
    let mut number = |value: u32, digits: u8| write!(text, "{value:0width$}", width = usize::from(digits));
    match item {
        Item::Literal(byte) => text.write_char(char::from(byte)),
        Item::Year => write!(text, "{:04}", wall.year()),
        Item::YearOfCentury => number(wall.year().rem_euclid(100) as u32, 2),
        Item::Month { digits } => number(wall.month(), digits),
        Item::MonthName { whole } => text.write_str(name(MONTHS[wall.month0() as usize % 12], whole)),
        Item::Day { digits } => number(wall.day(), digits),
        Item::DayOfYear { digits } => number(wall.ordinal(), digits),
        Item::Hour { digits } => number(wall.hour(), digits),
        Item::HourOfHalf { digits } => number(wall.hour12().1, digits),
        Item::Half => text.write_str(if wall.hour() < 12 { "am" } else { "pm" }),
        Item::Minute { digits } => number(wall.minute(), digits),
        Item::Second { digits } => number(wall.second(), digits),
        Item::Fraction { digits } => {
            number(at.millis().rem_euclid(1000) as u32 / 10u32.pow(3 - u32::from(digits.min(3))), digits)
        }
        Item::Weekday { whole } => {
            text.write_str(name(WEEKDAYS[wall.weekday().num_days_from_monday() as usize % 7], whole))
        }
        Item::Epoch { millis: true } => write!(text, "{}", at.millis()),
        Item::Epoch { millis: false } => write!(text, "{}", at.seconds()),
    }
}

fn name(name: &str, whole: bool) -> &str {
    if whole { name } else { &name[..3] }
}
