//! Coherent caches: every node keeps copies, and none of them is ever stale.
//!
//! # Problem
//!
//! A get on any node, after a set has been answered, must not return the old value; and a hit must
//! send no message. Near caches in wide use give up the first (they invalidate later, or by luck), a
//! lock around every get gives up the second.
//!
//! # Idea
//!
//! A directory with nested leases (the directory of DASH, the leases of Gray and Cheriton, the volume
//! leases of Yin et al.):
//!
//! - Every key has one **home**, the node that the ring names. It orders the key's writes, knows who
//!   has copies, and serves only while its **home lease** from the Raft leader runs.
//! - Every node is a **sharer** of the other homes. It has a **session** with each, renewed three
//!   times per length; a copy may be served only while the session's lease runs. A session's lease is
//!   never longer than what is left of the home's own: no copy outlives its home's right to serve.
//! - A **write** sends an invalidation to every sharer of the key, and becomes visible and is answered
//!   when each has acknowledged it, *or* its lease has ended. Until then gets return the old value,
//!   and nobody may keep it. So a dead sharer costs one wait, once, and blocks no reader.
//!
//! # The rules, and the race that each closes
//!
//! ```text
//! R1  the leader forgets a home only when    two homes of one key, each with a value of its own
//!     its grant, counted from receipt, ended
//! R2  a session ends with the home's lease   a copy is served while the key's next home takes writes
//! R3  a hit reads the clock every time       a thread that was stopped between look and answer
//! R4  a miss is noted before it is sent;     an invalidation overtakes the fill that it was for
//!     the home notes the sharer, then replies
//! R5  a fill older than its poison, or of    the same, with the invalidation first
//!     another session, is not kept
//! R6  drop the copy, poison the fill, *then* a set completes while its victim can still be read
//!     acknowledge
//! R7  visible only when nobody can read the  one node sees the new value, and then another the old
//!     old value any more
//! R8  gets meanwhile: old value, not kept    a reader waits for a dead sharer; or keeps what the round
//!                                            under way no longer invalidates
//! R9  who was not waited for loses its       it comes back to life, renews, and serves what it had
//!     session
//! R10 no renewal while an invalidation is    only the way to the sharer is cut: it renews for ever,
//!     unanswered for long                    and no set ever ends
//! R11 a key's next home serves when all that the old home's copies are read beside the new values
//!     lost it have said that nothing is left
//! R12 a process that starts again is another the home forgot its directory, its sharers did not
//! R13 a home forgets a key only after an     a copy that no directory knows of
//!     invalidation round
//! ```
//!
//! Read in this order: `message.rs`, `home/`, `sharer/`, `coherence.rs`, `store/`; then who is a home:
//! `ring/`, `grants.rs`, `home_leases.rs`. `bug.rs` names the ways
//! to leave a rule out; the model checker (`tests/tests/cache_model.rs`) runs this very code over all
//! orders of events of small clusters, and finds each.
//!
//! # Time
//!
//! Local clocks only (`CLOCK_BOOTTIME`; it runs on while a machine sleeps), in whole milliseconds, and
//! only their rates need agree: to within [`Rules::drift_ppm`]. Who holds a lease counts from *sending*
//! its request, who gave it from *receiving* it, and stretches it by the drift.
//!
//! # Caveats
//!
//! Contents may vanish: an eviction, a lost home, a ring change give misses, never old values. A
//! virtual machine whose clock stood still while it did not run can serve old copies; who cannot
//! trust the clock asks the home (`consistency=verify`).

mod bug;
#[cfg(feature = "bugs")]
mod canonical;
mod coherence;
mod grants;
mod home;
mod home_leases;
mod leases;
mod message;
mod placement;
mod ring;
mod rules;
mod sharer;
mod store;
mod value;

#[cfg(test)]
mod coherence_test;
#[cfg(test)]
mod home_leases_test;

pub use bug::Bug;
#[cfg(feature = "bugs")]
pub use canonical::Names;
pub use coherence::{Answer, Coherence, Output, Ticket};
pub use grants::Grants;
pub use home_leases::{HomeLeaseMessage, HomeLeaseOutput, HomeLeases, Moment};
pub use leases::Leases;
pub use message::{CacheMessage, Found};
pub use placement::{Incarnation, Placement, Process};
pub use ring::{RingOperation, RingOutcome, RingPlacement, RingRefusal, RingTable, RingTurn};
pub use rules::{Rules, RulesError};
pub use store::{BoundedStore, Copy, Limits, Lru, MapStore, Policy, Source, Store, Usage};
pub use value::{Condition, Key, Value, Version, Write, WriteOutcome};
