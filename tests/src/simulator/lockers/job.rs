//! What a locker wants done, in its own words and in those of a node.

use dsync_core::locks::{
    Acquire, ForceRelease, HoldId, HoldRef, LockItem, LockOperation, Owner, Renew, RenewAll,
    Upgrade,
};
use dsync_core::machine::{Operation, RequestId};

use crate::simulator::ask::Ask;

/// Something to be done by one request.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Acquire { items: Vec<LockItem>, ttl_ms: u64, wait_ms: u64 },
    Upgrade { hold: HoldId, name: String, wait_ms: u64 },
    Release { hold: HoldId },
    Renew { hold: HoldId, ttl_ms: Option<u64> },
    RenewAll { expected: Vec<HoldId> },
    Downgrade { hold: HoldId, name: String },
    Force { name: String, now: bool },
    Look { name: String },
}

impl Job {
    /// The command that it is; `None` for a look.
    pub(super) fn operation(&self, owner: &Owner) -> Option<Operation> {
        let (owner, principal) = (owner.clone(), owner.principal.clone());
        let of = |hold, name| HoldRef { principal: principal.clone(), hold, name };
        Some(match self.clone() {
            Self::Acquire { items, ttl_ms, wait_ms } => {
                Operation::lock(LockOperation::Acquire(Acquire {
                    owner,
                    items,
                    ttl_ms: Some(ttl_ms),
                    queue: wait_ms > 0,
                    attachment: None,
                }))
            }
            Self::Upgrade { hold, name, wait_ms } => {
                Operation::lock(LockOperation::Upgrade(Upgrade {
                    hold: of(hold, Some(name)),
                    ttl_ms: None,
                    queue: wait_ms > 0,
                    attachment: None,
                }))
            }
            Self::Release { hold } => Operation::lock(LockOperation::ReleaseHold(of(hold, None))),
            Self::Renew { hold, ttl_ms } => {
                Operation::lock(LockOperation::Renew(Renew { hold: of(hold, None), ttl_ms }))
            }
            Self::RenewAll { expected } => {
                Operation::lock(LockOperation::RenewAll(RenewAll { owner, ttl_ms: None, expected }))
            }
            Self::Downgrade { hold, name } => {
                Operation::lock(LockOperation::Downgrade(of(hold, Some(name))))
            }
            Self::Force { name, now } => Operation::lock(LockOperation::Force(ForceRelease {
                principal,
                name,
                hold: None,
                reason: "somebody else needs it".to_owned(),
                now,
            })),
            Self::Look { .. } => return None,
        })
    }

    /// What is sent to a node.
    pub(super) fn ask(&self, owner: &Owner, request: Option<RequestId>) -> Ask {
        match (self, self.operation(owner)) {
            (Self::Acquire { wait_ms, .. } | Self::Upgrade { wait_ms, .. }, Some(operation)) => {
                Ask::Wait { request, operation, wait_ms: *wait_ms }
            }
            (_, Some(operation)) => Ask::Command { request, operation },
            (_, None) => Ask::Read { name: self.name().unwrap_or_default() },
        }
    }

    /// The lock that it is about, if it is about one.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Upgrade { name, .. }
            | Self::Downgrade { name, .. }
            | Self::Force { name, .. }
            | Self::Look { name } => Some(name.clone()),
            _ => None,
        }
    }

    /// How long it waits at most before its node lets go of it; 0 if it does not wait.
    pub(super) fn wait_ms(&self) -> u64 {
        match self {
            Self::Acquire { wait_ms, .. } | Self::Upgrade { wait_ms, .. } => *wait_ms,
            _ => 0,
        }
    }

    /// What must not be left undone. Others wait for a release; and a downgrade of which a copy is still
    /// on its way could undo an upgrade that its agent is told of later.
    pub(super) fn is_duty(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Downgrade { .. })
    }

    /// It makes, or changes, a hold that its agent does not know of yet.
    pub(super) fn is_wish(&self) -> bool {
        matches!(self, Self::Acquire { .. } | Self::Upgrade { .. })
    }
}
