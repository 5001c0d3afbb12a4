//! How long a message waits before its next delivery.
//!
//! A worker that fails at once, and gets the same message at once, burns all its deliveries in
//! milliseconds. So a nack that names no delay waits, and waits longer each time. Jitter spreads
//! messages that failed together. It is computed from the message's id and the number of its
//! deliveries: no dice, so every node computes the same, and all numbers stay below 2^53, so that a
//! script in Redis (whose numbers are doubles) can compute it, too.

use serde::{Deserialize, Serialize};

use super::request::MessageId;

/// A pace of retries. 0 everywhere: at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// How it grows.
    pub growth: Growth,
    /// After the first delivery, in milliseconds.
    pub base_ms: u64,
    /// At most, in milliseconds.
    pub max_ms: u64,
    /// Up to this share is taken off, in percent.
    pub jitter_percent: u8,
}

/// How a pause grows with the number of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Growth {
    /// Not at all.
    Fixed,
    /// By the first pause each time.
    Linear,
    /// To the double each time.
    Exponential,
}

impl Backoff {
    /// No pause.
    #[must_use]
    pub const fn none() -> Self {
        Self { growth: Growth::Fixed, base_ms: 0, max_ms: 0, jitter_percent: 0 }
    }

    /// From `base_ms` to the double each time, at most `max_ms`, up to a tenth of it taken off.
    #[must_use]
    pub const fn exponential(base_ms: u64, max_ms: u64) -> Self {
        Self { growth: Growth::Exponential, base_ms, max_ms, jitter_percent: 10 }
    }

    /// The pause after the delivery number `deliveries` (from 1) of this message.
    #[must_use]
    pub fn delay_ms(&self, message: MessageId, deliveries: u32) -> u64 {
        let times = match self.growth {
            Growth::Fixed => 1,
            Growth::Linear => u64::from(deliveries.max(1)),
            Growth::Exponential => 1 << deliveries.saturating_sub(1).min(40),
        };
        let delay = self.base_ms.saturating_mul(times).min(self.max_ms);
        let off = u128::from(delay) * u128::from(self.jitter_percent) / 100;
        let off = off * u128::from(spread(message, deliveries)) / u128::from(SPREAD_END);
        delay - u64::try_from(off).unwrap_or(delay)
    }
}

const SPREAD_END: u64 = 1 << 16;

/// A number below [`SPREAD_END`], even over neighbouring messages and deliveries.
fn spread(message: MessageId, deliveries: u32) -> u64 {
    let parts = [message.index.0, u64::from(message.position), u64::from(deliveries)];
    parts.iter().fold(0, |mixed, part| ((mixed + part % SPREAD_END) * 40_503 + 30_011) % SPREAD_END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Index;

    const MESSAGE: MessageId = MessageId { index: Index(7), position: 0 };

    fn delays(growth: Growth) -> Vec<u64> {
        let backoff = Backoff { growth, base_ms: 10, max_ms: 45, jitter_percent: 0 };
        (1..=5).map(|deliveries| backoff.delay_ms(MESSAGE, deliveries)).collect()
    }

    #[test]
    fn pauses_grow_as_they_say_up_to_their_maximum() {
        assert_eq!(delays(Growth::Fixed), [10, 10, 10, 10, 10]);
        assert_eq!(delays(Growth::Linear), [10, 20, 30, 40, 45]);
        assert_eq!(delays(Growth::Exponential), [10, 20, 40, 45, 45]);
    }

    #[test]
    fn any_number_of_deliveries_has_a_pause() {
        let backoff = Backoff::exponential(u64::MAX / 2, u64::MAX);
        assert!(backoff.delay_ms(MESSAGE, u32::MAX) > u64::MAX / 2);
    }

    #[test]
    fn jitter_spreads_neighbours_evenly_and_takes_off_its_share_at_most() {
        let backoff =
            Backoff { growth: Growth::Fixed, base_ms: 1_000, max_ms: 1_000, jitter_percent: 50 };
        let mut tenths = [0_u32; 10];
        for position in 0..1_000 {
            let delay = backoff.delay_ms(MessageId { position, ..MESSAGE }, 1);
            assert!((500..=1_000).contains(&delay), "{delay}");
            tenths[usize::try_from((1_000 - delay) / 50).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (70..130).contains(count)), "{tenths:?}");
    }
}
