//! Locks (essay to come with the code).

mod request;
mod table;
mod view;

pub use request::{
    Acquire, AcquireOutcome, CYCLE_NAMED_MAX, HOLDERS_NAMED_MAX, HoldId, LockItem, LockRefusal,
    Mode, Owner, Release, ReleaseOutcome,
};
pub use table::LockTable;
pub use view::{HolderView, LockView, LocksView, WaiterView};
