//! The lock table.

/// Every lock that is held or waited for.
#[derive(Clone, Debug, Default)]
pub struct LockTable {}
