//! Durations and sizes as people write them, always with their unit: `80ms`, `1h30m`, `64MiB`.

use std::time::Duration;

/// Why a duration or a size cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not numbers with their units, or not a whole number of milliseconds.
    #[error("{0:?} is not a duration like 80ms, 1.5s, 30s, 5m, 1h30m or 1d")]
    NotDuration(String),
    /// Not a whole number with one of the units or none.
    #[error("{0:?} is not a size like 1048576, 512KiB, 64MiB or 1GiB")]
    NotBytes(String),
}

/// Reads a length of time: `500ms`, `1.5s`, `1h30m`, `1d`. A number alone is refused, since nobody can
/// tell what it counts; nothing is nothing in any unit.
///
/// # Errors
/// If it is anything else, or too large.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    duration_ms(text)
        .map(Duration::from_millis)
        .ok_or_else(|| UnitError::NotDuration(text.to_owned()))
}

/// The same in milliseconds, with a unit always: numbers with the units d, h, m, s and ms, each at most
/// once and in this order. The last number may have a fraction, as long as the whole is a number of
/// milliseconds.
#[must_use]
pub fn duration_ms(text: &str) -> Option<u64> {
    let (mut rest, mut sum, mut last_unit_ms) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, behind) = split_at_first(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, behind) = split_at_first(behind, |c| !c.is_ascii_alphabetic());
        let unit_ms = unit_ms(unit).filter(|unit_ms| *unit_ms < last_unit_ms)?;
        let ms = match number.split_once('.') {
            None => scaled(number, Some(unit_ms))?,
            Some((whole, fraction)) if behind.is_empty() => {
                scaled(whole, Some(unit_ms))?.checked_add(fraction_ms(fraction, unit_ms)?)?
            }
            Some(_) => return None,
        };
        sum = sum.checked_add(ms)?;
        (rest, last_unit_ms) = (behind, unit_ms);
    }
    (!text.is_empty()).then_some(sum)
}

fn unit_ms(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

/// The digits behind the point, if they are a whole number of milliseconds.
fn fraction_ms(digits: &str, unit_ms: u64) -> Option<u64> {
    /// More could be no whole number of milliseconds in any unit.
    const DIGITS_MAX: usize = 9;
    if digits.is_empty() {
        return None;
    }
    // At least one is left: the parser takes no empty text.
    let (first, zeros) = digits.split_at(1);
    let digits = format!("{first}{}", zeros.trim_end_matches('0'));
    let count = u32::try_from(digits.len()).ok().filter(|_| digits.len() <= DIGITS_MAX)?;
    let parts = scaled(&digits, Some(unit_ms))?;
    parts.is_multiple_of(10_u64.pow(count)).then_some(parts / 10_u64.pow(count))
}

/// Writes a duration so that [`parse_duration`] reads it back, in the largest whole unit.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// Reads a whole number of bytes, KiB, MiB or GiB.
///
/// # Errors
/// If it is anything else, or too large.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_at_first(text, |c| !c.is_ascii_digit());
    let unit_bytes = match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    scaled(number, unit_bytes).ok_or_else(|| UnitError::NotBytes(text.to_owned()))
}

fn split_at_first(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn scaled(number: &str, unit: Option<u64>) -> Option<u64> {
    // The parser takes a sign as well.
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_from_the_longest_to_the_shortest() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("1m30.5s", 90_500),
            ("1.5s", 1_500),
            ("0.25h", 900_000),
            ("1.05s", 1_050),
            ("1.000s", 1_000),
            ("2.0ms", 2),
            ("0s", 0),
            ("007s", 7_000),
        ] {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_in_none_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "30 s",
            "-1s",
            "+1s",
            "30S",
            "1w",
            "1.5",
            ".5s",
            "1.s",
            "1..5s",
            "1.5.5s",
            "30m1h",
            "1s1s",
            "1.5h30m",
            "1.5ms",
            "0.0001s",
            "1h30",
            "1 h",
            "1h 30m",
            "1e3s",
            "\u{661}s",
            "1.+5s",
            "99999999999999999999s",
            "9999999999999999h",
            "1.0000000001s",
            "213503982334602d",
        ] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }
}
