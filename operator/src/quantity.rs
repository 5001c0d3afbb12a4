//! Amounts as Kubernetes writes them: `500m`, `2`, `1.5Gi`, `1e3`.
//!
//! The API server rewrites them (`1000m` becomes `1`), so two are equal when they mean the same.

use std::str::FromStr;

/// An amount, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u128);

/// Not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an amount like 500m, 2 or 512Mi")]
pub struct NotQuantity;

const BILLION: u128 = 1_000_000_000;
/// More digits than any machine has bytes or nanoseconds.
const DIGITS_MAX: usize = 18;

impl Quantity {
    /// In whole units, rounded down.
    #[must_use]
    pub fn whole(self) -> u128 {
        self.0 / BILLION
    }
}

impl FromStr for Quantity {
    type Err = NotQuantity;

    fn from_str(text: &str) -> Result<Self, NotQuantity> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let billionths = billionths(number)?;
        let (multiplier, divisor) = scale(suffix).ok_or(NotQuantity)?;
        billionths.checked_mul(multiplier).map(|amount| Self(amount / divisor)).ok_or(NotQuantity)
    }
}

fn billionths(number: &str) -> Result<u128, NotQuantity> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || number.len() > DIGITS_MAX || fraction.len() > 9 {
        return Err(NotQuantity);
    }
    let digits = format!("{whole}{fraction:0<9}");
    digits.parse().map_err(|_| NotQuantity)
}

/// Multiplier and divisor of a suffix.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1 << (10 * power), 1));
    let decimal = |power: u32| Some((10_u128.pow(power), 1));
    match suffix {
        "n" => Some((1, BILLION)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "" => Some((1, 1)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => exponent(suffix),
    }
}

fn exponent(suffix: &str) -> Option<(u128, u128)> {
    let power: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (power <= 18).then(|| (10_u128.pow(power), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_that_mean_the_same_are_equal() {
        let same = [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
        ];
        for (one, other) in same {
            assert_eq!(one.parse::<Quantity>(), other.parse(), "{one} {other}");
            assert!(one.parse::<Quantity>().is_ok(), "{one}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in ["", ".", "plenty", "-1", "1 Gi", "1gi", "1e99", "1.2.3", "99999999999999999999"]
        {
            assert_eq!(bad.parse::<Quantity>(), Err(NotQuantity), "{bad}");
        }
    }
}
