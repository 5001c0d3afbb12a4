//! Clients' operations that wait for their entry to be applied here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::handle::{Applied, SubmitError};

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Applied, SubmitError>>;

/// Of so many operations with an unknown outcome it is noticed that they were applied after all.
const GIVEN_UP_MAX: usize = 10_000;

/// One reply for every outstanding sequence number of this process.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: BTreeMap<u64, Waiter>,
    /// Numbers of operations whose clients were told that their outcome is not known.
    given_up: BTreeSet<u64>,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    reply: Reply,
}

impl Waiters {
    /// A client waits for the operation with this number.
    pub(super) fn wait(&mut self, sequence: u64, reply: Reply) {
        self.waiting.insert(sequence, Waiter { since: Instant::now(), reply });
    }

    /// The operation is applied. A client that has gone is no reason to do anything. Gives back how
    /// long it took.
    pub(super) fn answer(&mut self, sequence: u64, applied: Applied) -> Option<Duration> {
        let Waiter { since, reply } = self.waiting.remove(&sequence)?;
        let _ = reply.send(Ok(applied));
        Some(since.elapsed())
    }

    /// The operation was given up.
    pub(super) fn give_up(&mut self, sequence: u64, error: SubmitError) {
        if error == SubmitError::Unknown {
            self.given_up.insert(sequence);
            if self.given_up.len() > GIVEN_UP_MAX {
                self.given_up.pop_first();
            }
        }
        if let Some(Waiter { reply, .. }) = self.waiting.remove(&sequence) {
            let _ = reply.send(Err(error));
        }
    }

    /// An operation was applied for which nobody waits. True, once: its client was told that its outcome
    /// is not known. False: it is a copy of one that was answered.
    pub(super) fn was_given_up(&mut self, sequence: u64) -> bool {
        self.given_up.remove(&sequence)
    }

    /// The node stops.
    pub(super) fn stop(&mut self, sequence: u64, sent: bool) {
        let error = if sent { SubmitError::Unknown } else { SubmitError::Stopping };
        self.give_up(sequence, error);
    }

    /// True if nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
