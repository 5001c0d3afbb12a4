//! Durations and sizes as people write them, always with their unit: `80ms`, `30s`, `64MiB`.

use std::time::Duration;

/// Why a duration or a size cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a whole number with one of the units.
    #[error("{0:?} is not a duration like 80ms, 30s, 5m or 1h")]
    NotDuration(String),
    /// Not a whole number with one of the units or none.
    #[error("{0:?} is not a size like 1048576, 512KiB, 64MiB or 1GiB")]
    NotBytes(String),
}

/// Reads a whole number with its unit: ms, s, m or h. A number alone is refused, since nobody can
/// tell what it counts; nothing is nothing in any unit.
///
/// # Errors
/// If it is anything else, or too large.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split(text);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    scaled(number, unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| UnitError::NotDuration(text.to_owned()))
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
    let (number, unit) = split(text);
    let unit_bytes = match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    scaled(number, unit_bytes).ok_or_else(|| UnitError::NotBytes(text.to_owned()))
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn scaled(number: &str, unit: Option<u64>) -> Option<u64> {
    number.parse::<u64>().ok()?.checked_mul(unit?)
}
