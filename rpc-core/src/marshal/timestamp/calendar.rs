//! Days of the Gregorian calendar, and instants as text.

use super::{NANOS, Timestamp};

const DAY: i64 = 86_400;

/// After 400 years the calendar repeats.
const CYCLE_DAYS: i64 = 146_097;

/// From 0000-03-01 to 1970-01-01. A year that begins in March has its leap day at its end.
const EPOCH_DAYS: i64 = 719_468;

/// An instant in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

impl Civil {
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let (days, time) = (seconds.div_euclid(DAY) + EPOCH_DAYS, seconds.rem_euclid(DAY));
        let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
        // Within the cycle: 36,524 days a century but for the last, 1,461 for four years, 365 a year.
        let century = (day / 36_524).min(3);
        let day = day - century * 36_524;
        let (fours, day) = (day / 1_461, day % 1_461);
        let year = (day / 365).min(3);
        let day = day - year * 365;
        // From March on, months come in fives of 153 days.
        let month = (5 * day + 2) / 153;
        let day = day - month_start(month) + 1;
        let year = 400 * cycle + 100 * century + 4 * fours + year;
        Civil {
            year: if month < 10 { year } else { year + 1 },
            month: if month < 10 { month + 3 } else { month - 9 },
            day,
            hour: time / 3_600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }

    /// The opposite; `None` if there is no such day or time, or not in 64 bits.
    fn to_seconds(self) -> Option<i64> {
        let Civil { year, month, day, hour, minute, second } = self;
        let fits = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
        if !fits {
            return None;
        }
        let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
        let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
        let day = year * 365 + year / 4 - year / 100 + month_start(month) + day - 1;
        let days = cycle.checked_mul(CYCLE_DAYS)?.checked_add(day - EPOCH_DAYS)?;
        let time = 3_600 * hour + 60 * minute + second;
        // A day below zero may still have its end within 64 bits.
        let seconds = i128::from(days) * i128::from(DAY) + i128::from(time);
        let seconds = i64::try_from(seconds).ok()?;
        // The 31st of a shorter month became a day of the next one.
        (Civil::from_seconds(seconds) == self).then_some(seconds)
    }
}

/// The first day of a month, both counted from zero in March.
fn month_start(month: i64) -> i64 {
    (153 * month + 2) / 5
}

/// Reads an instant in the form of RFC 3339, or with a year of more digits and a sign.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', 't'])?;
    let (year, day) = split_at_end(date, 6)?;
    let (month, day) = day.strip_prefix('-')?.split_once('-')?;
    let signed = year.starts_with(['+', '-']);
    let year = match year.strip_prefix('-') {
        Some(year) => number(year, 4..=12)?.checked_neg()?,
        None if signed => number(&year[1..], 4..=12)?,
        None => number(year, 4..=4)?,
    };

    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, rest)| (time, Some(rest)));
    let [hour, minute, second] = <[&str; 3]>::try_from(time.split(':').collect::<Vec<_>>()).ok()?;
    let civil = Civil {
        year,
        month: number(month, 2..=2)?,
        day: number(day, 2..=2)?,
        hour: number(hour, 2..=2)?,
        minute: number(minute, 2..=2)?,
        second: number(second, 2..=2)?,
    };
    let nanoseconds = match fraction {
        Some(digits) => number(digits, 1..=9)? * 10i64.pow(9 - u32::try_from(digits.len()).ok()?),
        None => 0,
    };
    let nanoseconds = u32::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds < NANOS)?;
    Timestamp::new(civil.to_seconds()?.checked_sub(offset(zone)?)?, nanoseconds)
}

/// A zone's offset from UTC, in seconds.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2..=2)?, number(minutes, 2..=2)?);
    let seconds = 3_600 * hours + 60 * minutes;
    (hours < 24 && minutes < 60).then_some(if zone.starts_with('-') { -seconds } else { seconds })
}

/// Digits and nothing else, so many of them.
fn number(digits: &str, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let is_number = count.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// Splits off the last `len` bytes.
fn split_at_end(text: &str, len: usize) -> Option<(&str, &str)> {
    text.split_at_checked(text.len().checked_sub(len)?)
}
