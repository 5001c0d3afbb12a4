//! The only file that reads locks out of the machine for HTTP.

use dsync_core::locks::{HoldId, Mode, Owner};
use dsync_core::machine::Machine;
use dsync_core::types::{ClusterTime, Index};

/// A lock as its readers see it. A lock that nobody holds or waits for looks like one that never was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockView {
    /// In the order of their grants.
    pub holders: Vec<HolderView>,
    /// In the order of their turns.
    pub waiters: Vec<WaiterView>,
}

/// A holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderView {
    /// Who.
    pub owner: Owner,
    /// How.
    pub mode: Mode,
    /// The hold's name.
    pub hold: HoldId,
    /// Its fencing token.
    pub token: u64,
    /// False while the grant waits to be picked up by its asker.
    pub claimed: bool,
    /// Milliseconds of lease left at the time of the state read; `None`: no lease.
    pub remaining_ms: Option<u64>,
}

/// A waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiterView {
    /// Who.
    pub owner: Owner,
    /// How.
    pub mode: Mode,
}

/// One lock.
#[must_use]
pub fn lock(_machine: &Machine, _name: &str) -> LockView {
    LockView::default()
}

/// The first `limit` locks in the order of their names, and whether there are more.
#[must_use]
pub fn locks(_machine: &Machine, _limit: usize) -> (Vec<(String, LockView)>, bool) {
    (Vec::new(), false)
}

/// Last entry applied, and cluster time at it.
#[must_use]
pub fn position(_machine: &Machine) -> (Index, ClusterTime) {
    (Index(0), ClusterTime(0))
}

/// Most bytes of a lock's or an owner's name.
#[must_use]
pub fn name_bytes_max(_machine: &Machine) -> usize {
    256
}
