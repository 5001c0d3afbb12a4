//! Waiting for locks: the life of a request whose answer may come later, or never be heard.
//!
//! # Problem
//!
//! A client waits on a connection to this node. The grant is made by an entry, whoever proposed it,
//! and the client may be gone by then. A hold that nobody heard of keeps everybody else out (a
//! *ghost*); a client that is told "held" after its lease has ended, or after somebody else took its
//! request over, does harm with it.
//!
//! # Idea
//!
//! Every such request has an *attachment*: this process and a number that is never used again. The
//! number is registered here before the entry that names it goes out, so that no event of it is
//! missed. From then on it is in exactly one of three states:
//!
//! ```text
//!            open ── answer delivered ──────────────> forgotten: the grant is the client's
//!  register ──┤
//!            └── time-out, hang-up, error ─> orphan ── Leave applied ──> forgotten: nothing is left
//! ```
//!
//! - An **open** request waits on this node's own applied state: the driver says after every batch
//!   which numbers something happened to ([`Listeners::applied`]), found by number, never by a scan.
//!   A grant that ended a wait is answered after a read barrier, with what is left of its lease by
//!   then; see `asking.rs`.
//! - An **orphan** may still wait or hold, and its client has got no byte of a grant and never will.
//!   Leave(attachment) is proposed until it has applied; see `orphans.rs` and `upkeep.rs`. Leave takes
//!   nothing from a client that asked again elsewhere: a wait is that ask's, and a hold stays as long
//!   as somebody is left who may have told of it.
//!
//! All of it is futures and decisions without a runtime: what they need of a node is a [`Site`]. So the
//! code that a node runs is the code that the simulator runs, with its seeded hang-ups and deaths.
//!
//! # The races that this closes
//!
//! ```text
//! grant, then time-out, no byte written   Leave comes after the grant and undoes it; told: timed out
//! Leave overtakes the request's entry     it says "not attached". As long as that entry may still be
//!                                         applied, the orphan is kept: the entry's event calls for
//!                                         another Leave, and without one it is forgotten once the
//!                                         low-water mark has passed its commands
//! hang-up before the outcome is known     the same
//! asked again for what it holds, hang-up  whoever answered the earlier ask has not left: it stays
//! snapshot installed, events skipped      every open request looks at the state; so does every orphan
//! asked again on another node             without an event; a look every second finds it out
//! this node was declared lost             it says so (Resume); what was granted meanwhile is a claim,
//!                                         and is attached by an entry before it is answered
//! this node drains                        Stop is proposed first; who waits is told to ask elsewhere,
//!                                         and the machine keeps the places: no Leave
//! no leader for as long as places are     who waits is told that nobody knows: another node may have
//! kept                                    one, and here no promise can be kept any more
//! ```
//!
//! Rejected: polling the state per waiter (ten thousand waiters would be looked at for every grant);
//! undoing a grant by its hold id (a client that asked again elsewhere has that very hold).
//!
//! # Caveats
//!
//! A number is delivered when its answer is handed to be written, not when the client has read it:
//! nobody can know that. What is lost on the wire stays a hold until its lease ends, or until its
//! owner asks again.

mod answer;
mod asking;
mod bell;
mod listeners;
mod orphans;
mod outcome;
mod race;
mod silence;
mod site;
mod stopping;
mod upkeep;
mod watch;

pub use answer::Answer;
pub use asking::{Asked, ask};
pub use listeners::Listeners;
pub use outcome::WaitOutcome;
pub use site::{ReadState, Site, SubmitError};
pub use stopping::stop_listening;
pub use upkeep::{Chore, PATIENCE_MS, SWEEP_MS, Upkeep};
pub use watch::{Watch, Watched};
