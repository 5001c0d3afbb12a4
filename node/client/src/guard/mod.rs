//! Guards: a resource that refuses the write of a holder that is late.
//!
//! Problem: a lease cannot stop a process that stands still. It takes the lock, is stopped for a
//! minute (by its scheduler, its collector, its hypervisor), the lease ends, somebody else takes the
//! lock and writes, and then the first one goes on where it was: before its own write. No lock
//! service can prevent that; the resource can. Every grant carries a [`FencingToken`] that rises over
//! successive holders, every write brings it along, and a resource that remembers the highest token
//! it has seen (the *mark*) refuses a lower one. A guard is that memory and that comparison, in one
//! atomic step with the write:
//!
//! - [`redis`]: for a value in Redis or Valkey, and for any other command (a Lua script);
//! - [`sql`]: for rows in PostgreSQL, MySQL, MariaDB and SQLite (conditional statements).
//!
//! Rejected: asking the lock service just before the write. The stop may come between the answer
//! and the write, so such a check makes the error rarer and is no protection. It is what remains for
//! resources that cannot compare: the node's check endpoint.
//!
//! What every guard expects of its user:
//!
//! 1. **All writers write through it.** A write beside the guard is neither refused nor noticed.
//! 2. **One mark, one lock.** Tokens of different locks come from one counter of the cluster, so that
//!    the holders of two locks who write under one mark refuse each other without need.
//! 3. **Raise before reading.** Who has just got the lock raises the mark first; then what it reads
//!    can no longer be changed by an earlier holder. Without that, a late write may come between its
//!    reading and its writing, and is lost.
//! 4. **Not for permits.** Holders of permits are compatible, and yet each has a token of its own: a
//!    mark would refuse the older ones though they still hold theirs.
//!
//! Equal tokens are accepted: they are the same holder's, or those of readers who hold together.

pub mod redis;
pub mod sql;

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The number of a grant; it rises over successive incompatible holders, anywhere in the cluster.
///
/// Below 2^53, so that a double can hold it exactly: JavaScript and the Lua inside Redis count with
/// doubles, and to them 2^53 + 1 equals 2^53.
///
/// ```
/// use dsync_client::guard::FencingToken;
///
/// let token: FencingToken = "9007199254740991".parse()?;
/// assert_eq!(token, FencingToken::MAX);
/// assert!(FencingToken::try_from(42_u64)? < token);
/// assert!(FencingToken::try_from(1_u64 << 53).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct FencingToken(u64);

impl FencingToken {
    /// 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as databases take it. Never negative.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }
}

impl TryFrom<u64> for FencingToken {
    type Error = TokenError;

    fn try_from(number: u64) -> Result<Self, TokenError> {
        if number > Self::MAX.0 { Err(TokenError::TooLarge(number)) } else { Ok(Self(number)) }
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> Self {
        token.0
    }
}

impl FromStr for FencingToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        text.parse().map_err(TokenError::NotANumber).and_then(|number: u64| Self::try_from(number))
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why something is no fencing token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not below 2^53.
    #[error("{0} is no fencing token: those are below 2^53")]
    TooLarge(u64),
    /// It is no whole number, or one that does not fit 64 bits.
    #[error("no fencing token")]
    NotANumber(#[source] ParseIntError),
}

/// A newer holder has been here: the lock is no longer the caller's, and nothing was changed.
///
/// Trying again is of no use. Stop working on what the lock protects; to go on, ask for the lock
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fencing token {given} is stale: {seen} has been seen")]
pub struct Stale {
    /// The mark: the highest token that the resource has seen.
    pub seen: FencingToken,
    /// The token that was refused.
    pub given: FencingToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_below_2_to_the_53_however_it_comes_in() {
        for number in [0, 1, (1 << 53) - 1] {
            assert_eq!(FencingToken::try_from(number).unwrap().get(), number);
            assert_eq!(number.to_string().parse::<FencingToken>().unwrap().get(), number);
            let token: FencingToken = serde_json::from_str(&number.to_string()).unwrap();
            assert_eq!(serde_json::to_string(&token).unwrap(), number.to_string());
        }
        for number in [1 << 53, u64::MAX] {
            assert_eq!(FencingToken::try_from(number), Err(TokenError::TooLarge(number)));
            assert_eq!(number.to_string().parse::<FencingToken>().ok(), None);
            assert!(serde_json::from_str::<FencingToken>(&number.to_string()).is_err());
        }
        for text in ["", "-1", "1.5", "1e3", "0x10", " 1", "18446744073709551616"] {
            assert!(text.parse::<FencingToken>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_highest_token_is_exact_as_a_double_and_the_next_but_one_number_would_not_be() {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        #[expect(clippy::cast_sign_loss)]
        let through_double = |number: u64| number as f64 as u64;
        let max = FencingToken::MAX.get();
        assert_eq!(through_double(max), max);
        assert_eq!(through_double(max - 1), max - 1);
        assert_ne!(through_double(max + 2), max + 2);
    }
}
