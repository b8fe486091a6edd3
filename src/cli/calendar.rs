//! A picture of what will exist: a row for each snapshot or for those of an hour, a day, a week … together,
//! a column for each stretch of time to come, and in it the reason for which it is there in its end.
//!
//! ```text
//!                   Mar 2026
//!                   02     09
//! 2026-03-01 02:00  Nmaaaaa
//! 2026-03-02 02:00   Nmaaaaa
//! snapshots         ▁▂▃▄▅▆▇█
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, ToSpan};

use crate::http::body::{ForesightBody, LifeBody};
use crate::lifecycle::foresight::Sign;

use super::out::Tone;
use super::times::Times;

/// The room for what stands left of the columns.
const LABEL_WIDTH: usize = 18;
/// Fewer columns tell nothing.
const COLUMNS_MIN: usize = 10;
/// The daemon looks no more often.
const COLUMNS_MAX: usize = 500;
/// Days are easier to read than hours, where there are as many.
const DAYS_MIN: i64 = 10;
/// More rows do not fit on a screen.
const ROWS_MAX: usize = 40;
/// How full, in eighths.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A piece of a line.
pub type Piece = (Tone, String);

/// A stretch of the calendar on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Minutes(i64),
    Days(i64),
    Months(i64),
}

const STEPS: [Step; 19] = [
    Step::Minutes(1),
    Step::Minutes(5),
    Step::Minutes(15),
    Step::Minutes(60),
    Step::Minutes(120),
    Step::Minutes(180),
    Step::Minutes(360),
    Step::Minutes(720),
    Step::Days(1),
    Step::Days(2),
    Step::Days(7),
    Step::Days(14),
    Step::Days(28),
    Step::Months(1),
    Step::Months(3),
    Step::Months(6),
    Step::Months(12),
    Step::Months(60),
    Step::Months(120),
];

/// A Monday, from which weeks are counted.
const MONDAY: Date = Date::constant(1970, 1, 5);

impl Step {
    /// Returns where the stretch begins that holds `at`.
    fn floor(self, at: DateTime) -> DateTime {
        match self {
            Step::Minutes(minutes) => {
                let of_day = i64::from(at.hour()) * 60 + i64::from(at.minute());
                let midnight = at.date().to_datetime(jiff::civil::Time::midnight());
                midnight.saturating_add(SignedDuration::from_mins(of_day / minutes * minutes))
            }
            Step::Days(days) => {
                let since = at.date().duration_since(MONDAY).as_hours() / 24;
                let date = MONDAY.saturating_add((since.div_euclid(days) * days).days());
                date.to_datetime(jiff::civil::Time::midnight())
            }
            Step::Months(months) => {
                let of_all = i64::from(at.year()) * 12 + i64::from(at.month()) - 1;
                let begin = of_all.div_euclid(months) * months;
                let (year, month) = (begin.div_euclid(12), begin.rem_euclid(12) + 1);
                let date = Date::new(i16::try_from(year).unwrap_or(1970), i8::try_from(month).unwrap_or(1), 1);
                date.unwrap_or(MONDAY).to_datetime(jiff::civil::Time::midnight())
            }
        }
    }

    fn next(self, begin: DateTime) -> DateTime {
        match self {
            Step::Minutes(minutes) => begin.saturating_add(SignedDuration::from_mins(minutes)),
            Step::Days(days) => begin.saturating_add(days.days()),
            Step::Months(months) => begin.saturating_add(months.months()),
        }
    }
}

/// The columns: stretches of time from now on, as long as they have to be to fit.
#[derive(Clone, Debug)]
pub struct Columns {
    step: Step,
    begins: Vec<DateTime>,
    looks: Vec<i64>,
}

impl Columns {
    /// Returns the columns from now until then that fit into a width.
    pub fn new(times: &Times, until: i64, width: usize) -> Columns {
        let room = width.saturating_sub(LABEL_WIDTH).clamp(COLUMNS_MIN, COLUMNS_MAX);
        let mut columns = Columns { step: Step::Months(120), begins: Vec::new(), looks: Vec::new() };
        let span_ms = until.saturating_sub(times.now().millis());
        let is_long = span_ms >= DAYS_MIN * 86_400_000;
        let is_fine = |step: &Step| is_long && matches!(step, Step::Minutes(_));
        for step in STEPS.into_iter().filter(|step| !is_fine(step)) {
            columns = Columns::of(step, times, until, room);
            if columns.looks.last() == Some(&until) {
                break;
            }
        }
        columns
    }

    fn of(step: Step, times: &Times, until: i64, room: usize) -> Columns {
        let mut columns = Columns { step, begins: Vec::new(), looks: Vec::new() };
        let mut begin = step.floor(times.civil(times.now().millis()));
        while columns.looks.len() < room && columns.looks.last().is_none_or(|last| *last < until) {
            let next = step.next(begin);
            // The end belongs to it: what is due at the next midnight is of the next day.
            let look = times.instant(next).saturating_sub(1).min(until);
            // An hour that the clock passes over has no column.
            if columns.looks.last().is_none_or(|last| *last < look) {
                columns.begins.push(begin);
                columns.looks.push(look.max(times.now().millis().min(until)));
            }
            begin = next;
        }
        columns
    }

    /// Returns the end of each column.
    pub fn looks(&self) -> &[i64] {
        &self.looks
    }

    /// Returns two lines that say which column is when.
    fn heading(&self) -> [String; 2] {
        let coarse = |at: &DateTime| match self.step {
            Step::Minutes(_) => at.strftime("%b %d").to_string(),
            Step::Days(1 | 2) => at.strftime("%b %Y").to_string(),
            Step::Days(_) | Step::Months(_) => at.strftime("%Y").to_string(),
        };
        let fine = |at: &DateTime| match self.step {
            Step::Minutes(_) => at.strftime("%H").to_string(),
            Step::Days(1 | 2) => at.strftime("%d").to_string(),
            Step::Days(_) | Step::Months(_) => at.strftime("%b").to_string(),
        };
        // A new day of the month stands where a week begins, or nothing could be read.
        let is_marked = |at: &DateTime| match self.step {
            Step::Days(1) => at.date().weekday() == jiff::civil::Weekday::Monday,
            Step::Minutes(_) | Step::Days(_) | Step::Months(_) => true,
        };
        [self.marks(coarse, |_| true, 3), self.marks(fine, is_marked, 1)]
    }

    /// Writes a word where it changes, as far as there is room behind the one before.
    fn marks(&self, word: impl Fn(&DateTime) -> String, may: impl Fn(&DateTime) -> bool, gap: usize) -> String {
        let mut line = String::new();
        let mut length = 0;
        let mut last = String::new();
        for (column, begin) in self.begins.iter().enumerate() {
            let text = word(begin);
            let has_room = length == 0 || column >= length + gap;
            if text != last && may(begin) && has_room && column + text.len() <= self.begins.len().max(text.len()) {
                line.push_str(&" ".repeat(column - length));
                line.push_str(&text);
                length = column + text.len();
                last = text;
            }
        }
        line
    }
}

/// How the rows are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Each,
    By(Step),
}

const ROWS: [Rows; 7] = [
    Rows::Each,
    Rows::By(Step::Minutes(60)),
    Rows::By(Step::Days(1)),
    Rows::By(Step::Days(7)),
    Rows::By(Step::Months(1)),
    Rows::By(Step::Months(12)),
    Rows::By(Step::Months(120)),
];

impl Rows {
    /// Returns which row a snapshot belongs to, by what is shown at its left. Later rows are greater.
    fn key(self, life: &LifeBody, times: &Times) -> (String, String) {
        let Some(time) = life.time else { return ("~".to_string(), "undated".to_string()) };
        let at = times.civil(time);
        let label = match self {
            Rows::Each => at.strftime("%Y-%m-%d %H:%M").to_string(),
            Rows::By(step) => {
                let begin = step.floor(at);
                match step {
                    Step::Minutes(_) => begin.strftime("%Y-%m-%d %H h").to_string(),
                    Step::Days(1) => begin.strftime("%Y-%m-%d").to_string(),
                    Step::Days(_) => begin.strftime("%Y-%m-%d +6").to_string(),
                    Step::Months(1) => begin.strftime("%Y-%m").to_string(),
                    Step::Months(_) => begin.strftime("%Y").to_string(),
                }
            }
        };
        let key = match self {
            // Two of one minute, or of an hour that comes twice, are two rows.
            Rows::Each => format!("{time:020}{}", life.snapshot),
            Rows::By(_) => label.clone(),
        };
        (key, label)
    }
}

/// A row: what is there at each column.
#[derive(Debug, Default)]
struct Row {
    label: String,
    signs: Vec<Option<Sign>>,
    counts: Vec<u32>,
}

/// Returns the lines of the picture, the legend at the end.
pub fn draw(foresight: &ForesightBody, columns: &Columns, times: &Times) -> Vec<Vec<Piece>> {
    let shown: Vec<&LifeBody> = foresight.snapshots.iter().filter(|life| !life.signs.is_empty()).collect();
    let rows = rows(&shown, columns.looks.len(), times);
    let width = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0).max("snapshots".len());
    let label = |text: &str| format!("{text:width$}  ");
    let mut lines: Vec<Vec<Piece>> =
        columns.heading().into_iter().map(|heading| vec![(Tone::Plain, label("")), (Tone::Strong, heading)]).collect();
    let mut used = BTreeSet::new();
    for row in &rows {
        let mut line = vec![(Tone::Plain, label(&row.label))];
        for sign in &row.signs {
            used.extend(*sign);
            push(&mut line, tone(*sign), sign.map_or(' ', Sign::letter));
        }
        lines.push(line);
    }
    lines.push(vec![(Tone::Plain, label("snapshots")), (Tone::Plain, bars(foresight))]);
    if !foresight.held.is_empty() {
        lines.push(vec![(Tone::Plain, label("held")), (Tone::Bad, held(foresight, columns))]);
    }
    lines.push(Vec::new());
    let legend: Vec<String> = used.iter().map(|sign| format!("{} {}", sign.letter(), sign.words())).collect();
    if !legend.is_empty() {
        lines.push(vec![(Tone::Faint, legend.join(", "))]);
    }
    let hidden = foresight.snapshots.len() - shown.len();
    if hidden > 0 {
        lines.push(vec![(Tone::Faint, format!("{hidden} more come and go between two columns"))]);
    }
    lines
}

fn push(line: &mut Vec<Piece>, tone: Tone, letter: char) {
    // The first piece is the label.
    match line.split_first_mut().and_then(|(_, pieces)| pieces.last_mut()) {
        Some((last, text)) if *last == tone => text.push(letter),
        Some(_) | None => line.push((tone, letter.to_string())),
    }
}

fn tone(sign: Option<Sign>) -> Tone {
    match sign {
        Some(Sign::Newest) => Tone::Good,
        Some(Sign::Condemned | Sign::Spared) => Tone::Warning,
        Some(Sign::Failed) => Tone::Bad,
        Some(_) | None => Tone::Plain,
    }
}

fn rows(shown: &[&LifeBody], columns: usize, times: &Times) -> Vec<Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for grouping in ROWS {
        rows.clear();
        for life in shown {
            let (key, label) = grouping.key(life, times);
            let row =
                rows.entry(key).or_insert_with(|| Row { label, signs: vec![None; columns], counts: vec![0; columns] });
            let signs = life.signs.chars().filter_map(Sign::of_letter);
            for (column, sign) in (life.first_look..columns).zip(signs) {
                row.signs[column] = Some(row.signs[column].map_or(sign, |other| other.min(sign)));
                row.counts[column] += 1;
            }
        }
        if rows.len() <= ROWS_MAX {
            break;
        }
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    for row in &mut rows {
        let most = row.counts.iter().copied().max().unwrap_or(0);
        if most > 1 {
            row.label.push_str(&format!(" ×{most}"));
        }
    }
    rows
}

/// How many there are at each column, from none to the most there ever are.
fn bars(foresight: &ForesightBody) -> String {
    let most = foresight.looks.iter().map(|look| look.count).max().unwrap_or(0).max(1);
    let bar = |count: u32| match count {
        0 => ' ',
        _ => BARS[((u64::from(count) * 8 - 1) / u64::from(most)).min(7) as usize],
    };
    foresight.looks.iter().map(|look| bar(look.count)).collect()
}

/// A mark in each column in which a guard holds a plan.
fn held(foresight: &ForesightBody, columns: &Columns) -> String {
    let mut after = i64::MIN;
    let mut line = String::new();
    for look in &columns.looks {
        let is_held = foresight.held.iter().any(|stretch| stretch.first <= *look && stretch.last > after);
        line.push(if is_held { '!' } else { ' ' });
        after = *look;
    }
    line
}
