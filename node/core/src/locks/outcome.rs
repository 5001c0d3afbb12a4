//! What the lock table answers.

use serde::{Deserialize, Serialize};

use super::request::{HoldId, Owner};

/// Most holders that an answer names, so that a lock with 100,000 readers answers in one frame.
pub const HOLDERS_NAMED_MAX: usize = 16;
/// Most owners of a cycle that an answer names; a search finds a shortest cycle, so longer ones are
/// rare.
pub const CYCLE_NAMED_MAX: usize = 256;
/// Waiters ahead are counted up to this.
pub const AHEAD_COUNTED_MAX: u32 = 250;

/// What became of an [`Acquire`](super::Acquire), an [`Upgrade`](super::Upgrade) or a repeated
/// attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcquireOutcome {
    /// Held, from now or already.
    Granted {
        /// The hold.
        hold: HoldId,
        /// Its fencing tokens, one for each lock in the order of the names.
        tokens: Vec<u64>,
        /// Milliseconds of lease left at this entry's stamp; `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// Queued.
    Waiting {
        /// How many waiters stand before it where most do; counted up to [`AHEAD_COUNTED_MAX`].
        ahead: u32,
        /// Who else holds the locks that were asked for, in the way or not: in the order of names, at
        /// most [`HOLDERS_NAMED_MAX`].
        holders: Vec<Owner>,
    },
    /// Not granted, and not queued because the request does not wait.
    Held {
        /// As in `Waiting`. Empty if there are earlier waiters only.
        holders: Vec<Owner>,
    },
    /// This request would close a cycle, so it was not queued.
    Deadlock {
        /// The owners in order, each waiting for the next, the last for the first; the asker is
        /// first. Beside each, the lock it waits for. At most [`CYCLE_NAMED_MAX`] are named.
        cycle: Vec<(Owner, String)>,
    },
    /// What the request once got has ended, and it is too late to ask for it again: the request's id
    /// was answered by a grant before, or nothing listens under this attachment any more.
    Ended,
    /// The hold was revoked; it has ended now.
    Revoked {
        /// Why.
        reason: String,
    },
    /// Not taken; nothing changed.
    Refused(LockRefusal),
    /// Of a request that is asked again: it waited, its owner gave up, and it waits no more. If it was
    /// for an upgrade, the shared hold is not touched.
    Left,
}

/// What became of a request about one hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldOutcome {
    /// It has ended.
    Released,
    /// It goes on.
    Renewed {
        /// Milliseconds of lease left at this entry's stamp; `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// The lock is shared now.
    Downgraded {
        /// The lock's token, unchanged.
        token: u64,
        /// Milliseconds of lease left at this entry's stamp; `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// There is no such hold (any more), or it is not this principal's, or it is without that lock:
    /// nothing changed.
    NotHeld,
    /// It was revoked; it has ended now.
    Revoked {
        /// Why.
        reason: String,
    },
    /// Not taken; nothing changed.
    Refused(LockRefusal),
}

/// What became of a [`RenewAll`](super::RenewAll).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAllOutcome {
    /// The owner's holds, each with the milliseconds of lease left at this entry's stamp.
    pub kept: Vec<(HoldId, Option<u64>)>,
    /// Those of the expected ones that are not held any more.
    pub lost: Vec<HoldId>,
    /// Those that were revoked; they have ended now.
    pub revoked: Vec<HoldId>,
    /// The request was not taken; nothing changed.
    pub refusal: Option<LockRefusal>,
}

/// What became of a [`Release`](super::Release).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseOutcome {
    /// The hold ended.
    Released,
    /// The owner did not hold it but waited for it; it waits no longer.
    LeftQueue,
    /// The owner neither holds nor waits for it.
    NotHolder,
    /// The owner holds it, or waits for it, together with other locks: only the hold id gives that
    /// back.
    HeldWithOthers {
        /// The hold, if it holds.
        hold: Option<HoldId>,
    },
}

/// What became of a Leave: its client has got no byte of a grant, and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaveOutcome {
    /// It waited, and waits no longer.
    LeftQueue,
    /// It had been granted; that hold has ended.
    Released,
    /// Nobody is attached under this number (any more); nothing changed.
    NotAttached,
    /// It had been granted, and the same owner has asked for the same again: whoever answers that may
    /// tell it, so the hold stays.
    Superseded,
}

/// What became of a [`ForceRelease`](super::ForceRelease).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForceOutcome {
    /// These holds have ended, or are revoked: at most [`HOLDERS_NAMED_MAX`] are named.
    Forced {
        /// How many.
        count: u32,
        /// Which.
        holds: Vec<HoldId>,
    },
    /// There is no such hold; nothing changed.
    NotHeld,
    /// Not taken; nothing changed.
    Refused(LockRefusal),
}

/// Why a lock request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LockRefusal {
    /// The owner waits for this lock in another mode, or with another number of permits.
    #[error("this owner already waits for this lock in the other mode")]
    WaitsInOtherMode,
    /// The owner holds one of the names, or waits for it, by another request.
    #[error("the owner already holds, or waits for, the lock {name} by another request")]
    AlreadyHeld {
        /// Which.
        name: String,
        /// The hold, if it holds.
        hold: Option<HoldId>,
    },
    /// The lock lives as a semaphore with another number of permits, or as a plain lock.
    #[error("the lock {name} is in use {}", as_what(*permits_max))]
    PermitsDiffer {
        /// Which.
        name: String,
        /// Its permits; 0: it is a plain lock.
        permits_max: u32,
    },
    /// The number of permits is zero, or more than the lock has.
    #[error("the lock {0} must be asked for with at least 1 and at most permits_max permits")]
    BadPermits(String),
    /// Only a shared hold can become exclusive, and only an exclusive one shared.
    #[error("the lock {0} is a semaphore; its permits are neither shared nor exclusive")]
    NotAPlainLock(String),
    /// No name at all.
    #[error("no lock is named")]
    NoName,
    /// The same lock stands twice in one request.
    #[error("the lock {0} is named twice")]
    NamedTwice(String),
    /// A limit of the settings is reached.
    #[error("limit reached: {setting} = {limit}")]
    Limit {
        /// The setting's name.
        setting: String,
        /// Its value.
        limit: u64,
    },
    /// The name of the lock, the owner or the principal is empty or holds a control character.
    #[error("the name of the {0} must have at least one byte and no control characters")]
    BadName(String),
    /// A forced release needs a reason.
    #[error("the reason must have at least one byte and no control characters")]
    NoReason,
    /// The fencing tokens come close to 2^53, which many programs cannot count beyond: the cluster was
    /// founded by a clock that was decades ahead. Only a cluster that is founded anew has lower ones.
    #[error("this cluster has given out all its fencing tokens: no token reaches 2^53")]
    TokensUsedUp,
}

fn as_what(permits_max: u32) -> String {
    match permits_max {
        0 => "as a plain lock".to_owned(),
        permits => format!("with permits_max {permits}"),
    }
}

impl LockRefusal {
    /// The stable word for programs: HTTP's `code`, and a metric's label.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WaitsInOtherMode => "waits_in_other_mode",
            Self::AlreadyHeld { .. } => "already_held",
            Self::PermitsDiffer { .. } => "permits_differ",
            Self::BadPermits(_) => "bad_permits",
            Self::NotAPlainLock(_) => "not_a_plain_lock",
            Self::NoName => "no_name",
            Self::NamedTwice(_) => "named_twice",
            Self::Limit { .. } => "limit_reached",
            Self::BadName(_) => "bad_name",
            Self::NoReason => "no_reason",
            Self::TokensUsedUp => "tokens_used_up",
        }
    }
}
