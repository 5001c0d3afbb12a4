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
//! 1. `table.rs`: what becomes of an ask, from top to bottom.
//! 2. `grant.rs`: the grant rule. Compatible with every holder and every earlier waiter.
//! 3. `lease.rs`: what ends by itself, and why only so much per entry.
//! 4. `wait_graph.rs`, `reduction.rs`: the edges are exactly the reasons for not being granted; a
//!    request that would close a cycle is not queued.
//! 5. `fencing.rs`: when a token is minted, when it is shared.
//! 6. `listeners.rs`, `tellers.rs`: who waits for an answer, and what becomes of a grant that nobody hears.
//! 7. `holds.rs`, `upgrade.rs`: what can be done with a hold, also by force.
//! 8. `presence.rs`: the only code that puts holds and waits in, so that the indexes stay true.
//!
//! `bug.rs` names what is easily got wrong here. `operation.rs`, `request.rs`, `outcome.rs`, `event.rs` and `view.rs` are the words in which the rest of the world
//! speaks with this module.
//!
//! # Caveats
//!
//! An owner is one sequential agent; two threads under one owner name share its holds.

mod bug;
mod checks;
mod event;
mod fencing;
mod grant;
mod holds;
mod invariants;
mod lease;
mod listeners;
mod lock;
mod operation;
mod outcome;
mod presence;
mod records;
mod reduction;
mod request;
mod room;
mod table;
mod tellers;
mod turn;
mod upgrade;
mod view;
mod wait_graph;

#[cfg(test)]
mod oracle_test;
#[cfg(test)]
mod script_test;

pub use bug::Bug;
pub use event::{EventItem, LockEvent, What};
pub use lease::ENDS_PER_ENTRY_MAX;
pub use operation::{LockOperation, LockOutcome};
pub use outcome::{
    AHEAD_COUNTED_MAX, AcquireOutcome, CYCLE_NAMED_MAX, ForceOutcome, HOLDERS_NAMED_MAX,
    HoldOutcome, LeaveOutcome, LockRefusal, ReleaseOutcome, RenewAllOutcome,
};
pub use records::{LockCursor, LockRecord, WishRecord};
pub use request::{
    Acquire, Attachment, ForceRelease, HoldId, HoldRef, LockItem, Mode, Owner, Release, Renew,
    RenewAll, Upgrade,
};
pub use table::{LockTable, Target};
pub use turn::{Rules, Turn};
pub use view::{
    Attached, HoldItemView, HoldView, HolderView, LockView, LocksView, WaitEdge, WaiterView,
};
