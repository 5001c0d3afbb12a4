//! What a waiting request needs of the node it is asked at, and how its commands fare there.

use std::future::Future;
use std::sync::Arc;

use crate::machine::{Applied, Machine, Operation, Outcome};
use crate::proposer::Expired;
use crate::raft::Refusal;
use crate::types::{ClusterTime, LocalTime};

/// The node's side of waiting. Nothing in here runs by itself: the node's runtime, or a simulated
/// one, drives the futures.
///
/// # The order in which a node tells what it has applied
///
/// 1. the machine is published: [`Site::machine`] shows it;
/// 2. [`Listeners::applied`](super::Listeners::applied) (or `installed`) is told what happened;
/// 3. whoever submitted one of these entries, or asked for a barrier, is answered.
///
/// If 2 came before 1, a woken request would look at a state without its grant and sleep on. If 3
/// came before 2, a request would learn from its own entry that it holds while nothing here says yet
/// that this entry gave it the hold ([`LockEvent`](crate::locks::LockEvent)): not delivered, it would
/// be taken for an owner's that asked again for what it had, and the hold would be left to nobody.
pub trait Site: Sync {
    /// Applies an operation exactly once, and says what came of it; `deadline` is when to give up.
    /// Dropping the future does not take the operation back.
    fn submit(
        &self,
        operation: Operation,
        deadline: LocalTime,
    ) -> impl Future<Output = Result<Applied, SubmitError>> + Send;

    /// A state that contains everything answered anywhere before this call.
    fn read(
        &self,
        deadline: LocalTime,
    ) -> impl Future<Output = Result<ReadState, SubmitError>> + Send;

    /// The published state.
    fn machine(&self) -> Arc<Machine>;

    /// The node's clock. Only differences mean anything.
    fn now(&self) -> LocalTime;

    /// Ready from this time on.
    fn sleep_until(&self, at: LocalTime) -> impl Future<Output = ()> + Send;

    /// A lock request was answered by what only answers other operations: a bug, to be reported.
    fn answered_by_another(&self, outcome: &Outcome);
}

/// A state to answer from, and what time it is.
#[derive(Clone, Debug)]
pub struct ReadState {
    /// What is applied.
    pub machine: Arc<Machine>,
    /// Cluster time at the leader, not before the read began; at least [`Machine::time`]. No entry may
    /// have moved the state there yet: a hold whose end is not after this has nothing left, and is a
    /// hold all the same until an entry ends it.
    pub now: ClusterTime,
}

impl ReadState {
    /// `leader_time`: what the leader said.
    #[must_use]
    pub fn new(machine: Arc<Machine>, leader_time: ClusterTime) -> Self {
        let now = machine.time().max(leader_time);
        Self { machine, now }
    }
}

/// Why an operation has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There was no leader before the deadline. Whether the operation was applied is unknown only if
    /// `sent` is true.
    #[error("no leader")]
    NoLeader {
        /// It had been handed to some leader before.
        sent: bool,
    },
    /// The leader's queue is full; nothing was applied.
    #[error("overloaded")]
    Overloaded,
    /// The operation is larger than any may be; nothing was applied.
    #[error("too large")]
    TooLarge,
    /// The deadline passed; the operation may or may not be applied.
    #[error("outcome unknown")]
    Unknown,
    /// This node is shutting down or has stopped; nothing was applied.
    #[error("stopping")]
    Stopping,
    /// This node is not a member of a cluster (yet); nothing was applied.
    #[error("not a member")]
    NotMember,
}

impl SubmitError {
    /// The operation was not applied and never will be.
    #[must_use]
    pub fn is_certain(self) -> bool {
        match self {
            Self::NoLeader { sent } => !sent,
            Self::Overloaded | Self::TooLarge | Self::Stopping | Self::NotMember => true,
            Self::Unknown => false,
        }
    }
}

impl From<Expired> for SubmitError {
    /// What to tell whoever submitted a command that is given up.
    fn from(expired: Expired) -> Self {
        match (expired.refusal, expired.sent) {
            (Some(Refusal::Overloaded), false) => Self::Overloaded,
            (Some(Refusal::TooLarge), false) => Self::TooLarge,
            (_, false) => Self::NoLeader { sent: false },
            (Some(Refusal::NoLeader), true) => Self::NoLeader { sent: true },
            (_, true) => Self::Unknown,
        }
    }
}
