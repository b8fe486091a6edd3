//! The same question answered by walking through real time, half a minute at a time. It shares
//! nothing with the schedule function: it reads the fields by itself and asks a zone for its offset only.

use chrono::{DateTime, Datelike, Timelike};

/// Five fields as sets: bit n is value n.
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
    fixed: bool,
}

/// One look at the local clock.
#[derive(Clone, Copy)]
pub struct Look {
    /// When, in seconds since 1970.
    pub at: i64,
    /// What it shows, in seconds as if it were UTC.
    pub wall: i64,
    shown: Shown,
}

/// What a clock and a calendar on the wall show: each value as one bit.
#[derive(Clone, Copy)]
struct Shown {
    full_minute: bool,
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
}

impl Shown {
    fn at(wall: i64) -> Shown {
        let wall = DateTime::from_timestamp(wall, 0).expect("in range");
        Shown {
            full_minute: wall.second() == 0,
            minute: 1 << wall.minute(),
            hour: 1 << wall.hour(),
            day: 1 << wall.day(),
            month: 1 << wall.month(),
            weekday: 1 << wall.weekday().num_days_from_sunday(),
        }
    }
}

impl Fields {
    /// Reads numbers, lists, ranges and steps; the tests write no names.
    pub fn read(expression: &str) -> Fields {
        let parts: Vec<&str> = expression.split(' ').collect();
        let [minute, hour, day, month, weekday] = parts[..] else { panic!("{expression}") };
        let set = |text: &str, low: u32, high: u32| -> u64 {
            let mut set = 0;
            for item in text.split(',') {
                let (base, step) = item.split_once('/').unwrap_or((item, "1"));
                let (from, to) = match base.split_once('-') {
                    Some((from, to)) => (from.parse().expect(item), to.parse().expect(item)),
                    None if base == "*" => (low, high),
                    None if item.contains('/') => (base.parse().expect(item), high),
                    None => (base.parse().expect(item), base.parse().expect(item)),
                };
                let values = (from..=to).step_by(step.parse().expect(item));
                set |= values.fold(0, |set, value: u32| set | 1u64 << value);
            }
            set
        };
        Fields {
            minutes: set(minute, 0, 59),
            hours: set(hour, 0, 23),
            days: set(day, 1, 31),
            months: set(month, 1, 12),
            weekdays: set(weekday, 0, 7) | set(weekday, 0, 7) >> 7,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            fixed: !minute.starts_with('*') && !hour.starts_with('*'),
        }
    }

    fn match_shown(&self, shown: Shown) -> bool {
        let by_date = self.days & shown.day != 0;
        let by_weekday = self.weekdays & shown.weekday != 0;
        shown.full_minute
            && self.minutes & shown.minute != 0
            && self.hours & shown.hour != 0
            && self.months & shown.month != 0
            && if self.either_day { by_date || by_weekday } else { by_date && by_weekday }
    }

    /// Returns the runs among the looks at or after `from`. The looks before it tell what the clock
    /// has shown already.
    pub fn runs(&self, looks: &[Look], from: i64) -> Vec<i64> {
        let mut runs = Vec::new();
        let Some(first) = looks.first() else { return runs };
        let mut latest = first.wall - 60;
        for look in looks {
            let due = match self.fixed {
                false => self.match_shown(look.shown),
                // Debian's cron: what the clock shows for the second time is not run again, what it jumped
                // over is made up for at once.
                true if look.wall <= latest => false,
                true if look.wall - latest <= 60 => self.match_shown(look.shown),
                true => {
                    let minute = (latest + 1) + (59 - latest.rem_euclid(60)) % 60;
                    (minute..=look.wall).step_by(60).any(|wall| self.match_shown(Shown::at(wall)))
                }
            };
            if due && look.at >= from {
                runs.push(look.at);
            }
            latest = latest.max(look.wall);
        }
        runs
    }
}

/// Looks at the clock of a zone in `[from, until]`, every minute, or every half where the offset is odd.
pub fn looks(offset: impl Fn(i64) -> i32, from: i64, until: i64) -> Vec<Look> {
    let odd = [from, until].into_iter().any(|at| offset(at) % 60 != 0);
    let step = if odd { 30 } else { 60 };
    let from = from.div_euclid(60) * 60;
    (from..=until)
        .step_by(step)
        .map(|at| (at, at + i64::from(offset(at))))
        .map(|(at, wall)| Look { at, wall, shown: Shown::at(wall) })
        .collect()
}
