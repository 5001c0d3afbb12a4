//! Consensus (essay to come with the code).

mod entry;
mod membership;
mod message;
mod ready;
mod status;

pub use entry::{Entry, HardState, Payload, Record, Recovered, SnapshotMeta};
pub use membership::{Founding, Membership};
pub use message::{AppendOutcome, Ballot, Envelope, Message, Position, Refusal, StateHash};
pub use status::{RaftStatus, RoleKind};
pub use ready::{Fatal, Input, PersistBatch, Ready, SnapshotRead, SnapshotWrite, SyncProof, SyncToken};
