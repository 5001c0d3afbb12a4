//! Whether a clock is good enough to found a cluster by.
//!
//! Fencing tokens of a cluster begin at the seconds since 2025 times 2^22, so that a cluster that is
//! founded again begins above everything the one before it can have given out. That number is the only
//! thing in the cluster that hangs on a wall clock, and it cannot be taken back: founded by a clock that
//! is a century ahead, the tokens are more than programs can count; by one that was reset, they begin
//! below those of the cluster before, and resources refuse every new holder.
//!
//! So nobody trusts one clock. A founder proposes nothing by a clock that cannot be right, and confirms
//! nobody's proposal that its own clock contradicts; since all founders have to confirm, one good clock
//! among them is enough. Later a clock means nothing.

use std::fmt;

use dsync_core::machine::{FirstState, SettingsError};
use dsync_core::wire::{self, DecodeError};

use crate::audit::wall;

/// 2025-01-01T00:00:00Z in seconds since 1970.
const SECONDS_AT_2025: u64 = 1_735_689_600;
/// A cluster's tokens begin at its seconds since 2025 shifted by this many bits.
const TOKEN_SECONDS_SHIFT: u32 = 22;
/// When the first commit of this program was made: no clock can rightly show less.
const WRITTEN_AT: Moment = Moment(FIRST_COMMIT_SECONDS);
const FIRST_COMMIT_SECONDS: u64 = 59707167;
/// Nobody founds a cluster with a release that is older than this.
const USED_FOR_SECONDS_MAX: u64 = 20 * 365 * 24 * 3_600;
/// Two good clocks do not differ by more; a proposal may have been under way for a little.
const AHEAD_SECONDS_MAX: u64 = 120;
/// A proposal may wait for a founder that starts late.
const BEHIND_SECONDS_MAX: u64 = 24 * 3_600;

/// A reading of a wall clock, in seconds since 2025-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// Why no cluster is founded, or a proposal is not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum FoundingFault {
    /// This node's clock cannot be right.
    #[error(
        "this node's clock says {0}: a cluster is founded between {WRITTEN_AT}, when this program was \
         first written, and 20 years after; set the clock"
    )]
    Clock(Moment),
    /// The proposer's clock is ahead of this one's, or behind it.
    #[error(
        "the proposal was made at {proposed} by its maker's clock, and this node's clock says {own}: \
         it may be 2 minutes ahead and a day behind; set the clock that is wrong, and start again with \
         empty disks if it is the maker's"
    )]
    Differs {
        /// By the proposal.
        proposed: Moment,
        /// By this node's clock.
        own: Moment,
    },
    /// What the cluster shall begin with contradicts itself.
    #[error("the proposal's settings are refused: {0}")]
    Settings(#[from] SettingsError),
    /// The proposal is of another release.
    #[error("the proposal cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
}

impl Moment {
    /// Now, by this machine's clock; before 2025 it is 2025.
    #[must_use]
    pub fn now() -> Self {
        Self((wall::now_ms() / 1_000).saturating_sub(SECONDS_AT_2025))
    }

    /// The first token of a cluster that is founded now.
    ///
    /// # Errors
    /// If this cannot be the time.
    pub fn token_base(self) -> Result<u64, FoundingFault> {
        self.check()?;
        Ok(self.0 << TOKEN_SECONDS_SHIFT)
    }

    /// Whether a founder whose clock says this confirms a proposal with this first state.
    ///
    /// # Errors
    /// Says what is against it.
    pub fn confirms(self, first_state: &[u8]) -> Result<(), FoundingFault> {
        let FirstState::V1 { settings, token_base } = wire::decode("first state", first_state)?;
        settings.check()?;
        self.check()?;
        let proposed = Self(token_base >> TOKEN_SECONDS_SHIFT);
        let ahead = proposed.0.saturating_sub(self.0);
        let behind = self.0.saturating_sub(proposed.0);
        if ahead > AHEAD_SECONDS_MAX || behind > BEHIND_SECONDS_MAX {
            return Err(FoundingFault::Differs { proposed, own: self });
        }
        Ok(())
    }

    fn check(self) -> Result<(), FoundingFault> {
        let last = WRITTEN_AT.0 + USED_FOR_SECONDS_MAX;
        if (WRITTEN_AT.0..=last).contains(&self.0) {
            Ok(())
        } else {
            Err(FoundingFault::Clock(self))
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.saturating_add(SECONDS_AT_2025).saturating_mul(1_000);
        f.write_str(&wall::format(ms))
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::machine::Settings;

    use super::*;

    const GOOD: Moment = Moment(FIRST_COMMIT_SECONDS + 1_000_000);

    fn proposal(at: Moment) -> Vec<u8> {
        let (settings, token_base) = (Settings::default(), at.0 << TOKEN_SECONDS_SHIFT);
        wire::encode(&FirstState::V1 { settings, token_base })
    }

    #[test]
    fn a_clock_that_cannot_be_right_founds_nothing_and_is_named() {
        let year = 365 * 24 * 3_600;
        for (clock, date) in [(0, "2025-01-01"), (125 * year, "2149-12-02")] {
            let said = Moment(clock).token_base().unwrap_err().to_string();
            assert!(said.contains(date), "{said}");
        }
        assert_eq!(GOOD.token_base().unwrap(), GOOD.0 << 22);
        assert!(GOOD.token_base().unwrap() < 1 << 53);
        let last = Moment(FIRST_COMMIT_SECONDS + 20 * year);
        assert!(last.token_base().is_ok() && Moment(last.0 + 1).token_base().is_err());
    }

    #[test]
    fn a_proposal_that_this_clock_contradicts_is_not_confirmed_and_both_are_named() {
        let ahead = |seconds| Moment(GOOD.0 + seconds);
        let behind = |seconds| Moment(GOOD.0 - seconds);
        for right in [ahead(120), behind(86_400)] {
            assert!(GOOD.confirms(&proposal(right)).is_ok(), "{right}");
        }
        for wrong in [ahead(121), behind(86_401), ahead(100 * 365 * 86_400)] {
            let said = GOOD.confirms(&proposal(wrong)).unwrap_err().to_string();
            assert!(said.contains(&GOOD.to_string()), "its own clock: {said}");
            assert!(said.contains(&wrong.to_string()), "the maker's clock: {said}");
        }
        assert!(Moment(0).confirms(&proposal(Moment(0))).is_err(), "two that are wrong alike");
    }

    #[test]
    fn settings_that_contradict_each_other_are_not_confirmed() {
        let mut settings = Settings::default();
        settings.requests.command_retention_ms = settings.requests.id_retention_ms + 1;
        let first = FirstState::V1 { settings, token_base: GOOD.0 << TOKEN_SECONDS_SHIFT };
        let said = GOOD.confirms(&wire::encode(&first)).unwrap_err().to_string();
        assert!(said.contains("requests.command_retention_ms"), "{said}");
    }
}
