//! The audit trail of one node: what happened to locks, in files that show if anybody changes them.
//!
//! **The problem.** The chain of `dsync_core::audit` proves records, and every node computes the same
//! one, but its state holds only the head. The records have to be kept by each node for itself: next
//! to its work and never in its way, through crashes, full disks and skipped stretches of the log, and
//! in a form that people can search.
//!
//! **The idea.** The driver hands over what each entry made ([`AuditPort`]); a thread of its own writes
//! it ([`Trail`]). Files are segments of a bounded size, each of which begins with the chain's head
//! before it, so each can be checked by itself and old ones can go. What a node has not seen
//! (it installed a snapshot, its disk was full) is a gap between two segments; [`filler`] fetches it
//! from peers, from the gap's end backwards, and the chain proves every page before it is written.
//!
//! **When is a record durable?** Not before a grant is answered: the log is what makes a grant
//! durable, and a record follows from it. The trail is synced once a second, and always before a
//! snapshot is written: entries whose records are not durable are therefore still in the log, and are
//! applied again after a crash. (Unless the trail has stopped: the log is then compacted all the same,
//! and the gap is filled from peers.)
//!
//! **Rejected.** Records in the replicated state: every snapshot would carry the whole past. Syncing
//! with every batch: a second `fdatasync` on the path of every grant, for what the log can give back.
//!
//! | file | what |
//! |---|---|
//! | [`frame`], [`segment`] | bytes of a file; reading and checking one |
//! | [`trail`], `recovery.rs`, `replay.rs`, [`floor`] | the writer and its start |
//! | [`port`] | the thread, and who talks to it |
//! | [`catalog`], [`query`], [`mod@line`], [`answer`] | what there is, the search, a record and an answer for people |
//! | [`exchange`], [`filler`] | pages between nodes |
//! | [`verify`] | the check of a folder |

pub mod answer;
pub mod catalog;
pub mod exchange;
pub mod filler;
#[cfg(test)]
pub mod fixture;
pub mod floor;
pub mod frame;
pub mod line;
#[cfg(all(test, not(feature = "simulated")))]
mod member_test;
pub mod metrics;
pub mod port;
pub mod query;
mod recovery;
mod replay;
pub mod segment;
pub mod trail;
pub mod verify;
pub mod wall;

pub use catalog::{Catalog, Gap};
pub use metrics::AuditMetrics;
pub use port::{AuditPort, AuditReader, AuditSync};
pub use trail::{Trail, TrailError, TrailOptions};
