//! Wall-clock time, for people: RFC 3339 in UTC with milliseconds.
//!
//! Only the audit trail knows it, beside its records and never inside them: no decision depends on
//! it, and two nodes' readings of it may differ.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z: the last moment that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;
const MONTHS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Milliseconds since 1970 by this machine's clock; 0 if it stands before that.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(LAST_MS)
}

/// `2025-01-31T09:30:00.250Z`. What lies behind the year 9999 is written as its end.
#[must_use]
pub fn format(ms: u64) -> String {
    let ms = ms.min(LAST_MS);
    let (mut days, in_day) = (ms / DAY_MS, ms % DAY_MS);
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, part) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{part:03}Z", days + 1)
}

/// Reads RFC 3339, with any offset, or whole milliseconds since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (part_ms, offset) = part_of_second(rest)?;
    let local = date_ms(date)?.checked_add(time_ms(time)?)?.checked_add(part_ms)?;
    let (east, offset_ms) = offset_ms(offset)?;
    if east { local.checked_sub(offset_ms) } else { local.checked_add(offset_ms) }
}

fn date_ms(text: &str) -> Option<u64> {
    let [year, month, day] = fields(text, '-', [4, 2, 2])?;
    let known = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !known || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let years: u64 = (1970..year).map(days_of_year).sum();
    let months: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
    Some((years + months + day - 1) * DAY_MS)
}

/// A leap second counts as the second after it.
fn time_ms(text: &str) -> Option<u64> {
    let [hour, minute, second] = fields(text, ':', [2, 2, 2])?;
    let known = hour < 24 && minute < 60 && second <= 60;
    known.then_some(((hour * 60 + minute) * 60 + second) * 1_000)
}

fn part_of_second(text: &str) -> Option<(u64, &str)> {
    let Some(part) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = part.bytes().take_while(u8::is_ascii_digit).count();
    let (part, rest) = part.split_at(digits);
    if part.is_empty() {
        return None;
    }
    let ms: String = part.chars().chain("00".chars()).take(3).collect();
    Some((ms.parse().ok()?, rest))
}

/// True: the local time is ahead of UTC.
fn offset_ms(text: &str) -> Option<(bool, u64)> {
    if matches!(text, "Z" | "z") {
        return Some((true, 0));
    }
    let east = text.starts_with('+');
    let [hour, minute] = fields(text.strip_prefix(['+', '-'])?, ':', [2, 2])?;
    (hour < 24 && minute < 60).then_some((east, (hour * 60 + minute) * 60_000))
}

/// Numbers of exactly so many digits.
fn fields<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// `month` is 1 to 12.
fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        _ => MONTHS[usize::try_from(month - 1).unwrap_or(0).min(11)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(ms), text);
            assert_eq!(parse(text), Some(ms));
        }
        assert_eq!(format(u64::MAX), format(LAST_MS));
    }

    #[test]
    fn every_day_is_one_day_after_the_one_before() {
        for day in 0..150 * 365 {
            assert_eq!(parse(&format(day * DAY_MS)), Some(day * DAY_MS));
        }
    }

    #[test]
    fn offsets_parts_of_seconds_and_plain_milliseconds_are_read() {
        let noon = parse("2025-06-01T12:00:00Z");
        for same in [
            "2025-06-01T14:00:00+02:00",
            "2025-06-01 12:00:00.0004z",
            "2025-06-01T08:30:00-03:30",
            "1748779200000",
        ] {
            assert_eq!(parse(same), noon, "{same}");
        }
        assert_eq!(parse("2025-06-01T12:00:00.5Z"), noon.map(|ms| ms + 500));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-06-01",
            "2025-06-31T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-06-01T24:00:00Z",
            "2025-06-01T00:00:00",
            "2025-06-01T00:00:00.Z",
            "2025-06-01T00:00:00+2",
            "2025-6-01T00:00:00Z",
            "-5",
            "1969-12-31T23:59:59Z",
            "99999999999999999999",
            "2025-06-01T00:00:00Zx",
            "ü025-06-01T",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
