//! Locks.

mod request;

pub use request::{
    Acquire, AcquireOutcome, HoldId, LockItem, LockRefusal, Mode, Owner, Release, ReleaseOutcome,
};
