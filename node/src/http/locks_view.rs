//! The only file that reads locks out of the machine for HTTP.
//!
//! A published machine is frozen, so everything read from one is of one moment: the entry and the
//! time that [`position`] says. How long something has been so, and what is left of it, is as of that
//! time too, which is the leader's when the read came, not that of the entry: in a quiet cluster the
//! last entry may be old.

use dsync_core::locks::{LockView, Rules};
use dsync_core::machine::Machine;
use dsync_core::types::{ClusterTime, Index};

use crate::handle::ReadState;

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

/// Last entry applied, and cluster time.
#[must_use]
pub fn position(state: &ReadState) -> (Index, ClusterTime) {
    (state.machine.applied(), state.now)
}

/// Most bytes of a lock's or an owner's name. Before the cluster is founded nothing can be locked,
/// so the default serves to name the wrong field first.
#[must_use]
pub fn name_bytes_max(machine: &Machine) -> usize {
    let rules = machine.settings().map_or_else(Rules::default, |settings| settings.locks);
    usize::try_from(rules.name_bytes_max).unwrap_or(usize::MAX)
}
