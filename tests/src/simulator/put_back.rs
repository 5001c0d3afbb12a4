//! Bugs put back: the only file that asks whether they are compiled in (feature `bugs`).
//!
//! Without the feature the core is the one that is shipped, and a run that wants a bug is refused
//! rather than clean.

use dsync_core::locks;
use dsync_core::machine::Machine;
use dsync_core::raft::{Bug, RaftOptions};

/// Puts this bug into a core that is started with these options.
#[cfg(feature = "bugs")]
pub(crate) fn into_core(options: &mut RaftOptions, bug: Option<Bug>) {
    options.bug = bug;
}

/// A machine whose locks have this bug.
#[cfg(feature = "bugs")]
pub(crate) fn into_locks(machine: Machine, bug: Option<locks::Bug>) -> Machine {
    machine.with_bug(bug)
}

/// Leaves the options as they are.
#[cfg(not(feature = "bugs"))]
pub(crate) fn into_core(_options: &mut RaftOptions, bug: Option<Bug>) {
    assert_eq!(bug, None, "built without the feature `bugs`");
}

/// The machine as it is.
#[cfg(not(feature = "bugs"))]
pub(crate) fn into_locks(machine: Machine, bug: Option<locks::Bug>) -> Machine {
    assert_eq!(bug, None, "built without the feature `bugs`");
    machine
}
