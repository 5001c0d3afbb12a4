//! The only file that reads locks out of the machine for HTTP.
//!
//! A published machine is frozen, so everything read from one is of one moment: the entry and the
//! time that [`position`] says.

use dsync_core::locks::{HolderView, LockView};
use dsync_core::machine::{Machine, Settings};
use dsync_core::types::{ClusterTime, Index};

/// One lock. One that nobody holds or waits for looks like one that never was.
#[must_use]
pub fn lock(machine: &Machine, name: &str) -> LockView {
    let free = || LockView {
        name: name.to_owned(),
        permits_max: None,
        holders: Vec::new(),
        waiters: Vec::new(),
    };
    machine.locks().get(name).unwrap_or_else(free)
}

/// Every lock in the order of names, made one at a time.
pub fn locks(machine: &Machine) -> impl Iterator<Item = LockView> {
    machine.locks().iter()
}

/// Milliseconds of a hold's lease, or of a claim, that are left at the machine's time; `None`: it
/// has no end.
#[must_use]
pub fn remaining_ms(machine: &Machine, holder: &HolderView) -> Option<u64> {
    holder.ends_at.map(|end| end.since(machine.time()))
}

/// Last entry applied, and cluster time at it.
#[must_use]
pub fn position(machine: &Machine) -> (Index, ClusterTime) {
    (machine.applied(), machine.time())
}

/// Most bytes of a lock's or an owner's name. Before the cluster is founded nothing can be locked,
/// so the default serves to name the wrong field first.
#[must_use]
pub fn name_bytes_max(machine: &Machine) -> usize {
    let max = machine.settings().map_or(Settings::default().name_bytes_max, |s| s.name_bytes_max);
    usize::try_from(max).unwrap_or(usize::MAX)
}
