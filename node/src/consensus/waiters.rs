//! Clients' operations that wait for their entry to be applied here.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::handle::{Applied, SubmitError};

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Applied, SubmitError>>;

/// One reply for every outstanding sequence number of this process.
#[derive(Debug, Default)]
pub(super) struct Waiters(BTreeMap<u64, Waiter>);

#[derive(Debug)]
struct Waiter {
    since: Instant,
    reply: Reply,
}

impl Waiters {
    /// A client waits for the operation with this number.
    pub(super) fn wait(&mut self, sequence: u64, reply: Reply) {
        self.0.insert(sequence, Waiter { since: Instant::now(), reply });
    }

    /// The operation is applied. A client that has gone is no reason to do anything. Gives back how
    /// long it took.
    pub(super) fn answer(&mut self, sequence: u64, applied: Applied) -> Option<Duration> {
        let Waiter { since, reply } = self.0.remove(&sequence)?;
        let _ = reply.send(Ok(applied));
        Some(since.elapsed())
    }

    /// The operation was given up.
    pub(super) fn give_up(&mut self, sequence: u64, error: SubmitError) {
        if let Some(Waiter { reply, .. }) = self.0.remove(&sequence) {
            let _ = reply.send(Err(error));
        }
    }

    /// The node stops.
    pub(super) fn stop(&mut self, sequence: u64, sent: bool) {
        let error = if sent { SubmitError::Unknown } else { SubmitError::Stopping };
        self.give_up(sequence, error);
    }

    /// True if nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
