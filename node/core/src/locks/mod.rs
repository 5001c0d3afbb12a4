//! Locks: who holds what, who waits, and who may never be told "wait".
//!
//! # Problem
//!
//! Many owners share named locks, exclusively or side by side. Nobody may starve, a grant must be
//! provable to a third party (the fencing token), a holder that vanished must not block for ever,
//! and owners that wait for each other in a circle must be told at once.
//!
//! # Idea
//!
//! One table, changed only by applied log entries, so every node computes the same grants without
//! asking anybody. Time is the stamp of the entry that is applied. Read in this order:
//!
//! 1. `table.rs`: the grant rule. Compatible with every holder and every earlier waiter.
//! 2. `lease.rs`: what ends by itself, and why only so much per entry.
//! 3. `wait_graph.rs`: the edges are exactly the reasons for not being granted; a request that would
//!    close a cycle is not queued.
//! 4. `fencing.rs`: when a token is minted, when it is shared.
//! 5. `presence.rs`: the only code that writes holders and queues, so that the indexes stay true.
//!
//! # Asks that do not stay connected
//!
//! The original routes answer at once, also when the lock is taken. So a waiter's *place* is kept
//! for a window after each of its asks, and a grant that it has not heard of yet is a *claim*: it
//! excludes others and has its token, but becomes a full hold, with its lease, only when its owner
//! asks again by an entry. Rejected: granting such a waiter a full hold at once, since a client that
//! went away would then hold a lock it never heard of, without a lease for ever.
//!
//! # Caveats
//!
//! No upgrade, no permits, no requests for several names yet: they are refused, never guessed at.
//! An owner is one sequential agent; two threads under one owner name share its holds.

mod checks;
mod event;
mod fencing;
mod invariants;
mod lease;
mod lock;
mod outcome;
mod presence;
mod records;
mod request;
mod table;
mod turn;
mod view;
mod wait_graph;

#[cfg(test)]
mod history_test;
#[cfg(test)]
mod script_test;

pub use event::{EventItem, LockEvent, What};
pub use lease::ENDS_PER_ENTRY_MAX;
pub use outcome::{
    AHEAD_COUNTED_MAX, AcquireOutcome, CYCLE_NAMED_MAX, ForceOutcome, HOLDERS_NAMED_MAX,
    HoldOutcome, LeaveOutcome, LockRefusal, ReleaseOutcome, RenewAllOutcome,
};
pub use records::{LockCursor, LockRecord};
pub use request::{
    Acquire, Attachment, ForceRelease, HoldId, HoldRef, LockItem, Mode, Owner, Release, Renew,
    RenewAll, Upgrade,
};
pub use table::LockTable;
pub use turn::{Rules, Turn};
pub use view::{
    Attached, HoldItemView, HoldView, HolderView, LockView, LocksView, WaitEdge, WaiterView,
};
