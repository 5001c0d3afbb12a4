//! Clients' reads that wait for the core's word that the applied state is recent enough.
//!
//! The core may say "ask again" (no leader, a lost message, a change of leader). A read has no effect,
//! so it is repeated until its deadline.

use std::collections::BTreeMap;

use dsync_core::types::{BootId, ClusterTime};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::handle::SubmitError;

/// A client's read.
#[derive(Debug)]
struct Waiting {
    deadline: Instant,
    reply: oneshot::Sender<Result<ClusterTime, SubmitError>>,
}

/// All reads that have no answer.
#[derive(Debug)]
pub(super) struct Reads {
    /// Begins at a random number: an answer to the process before this one must not fit.
    next_id: u64,
    /// Asked of the core under this number.
    asked: BTreeMap<u64, Waiting>,
    /// To be asked.
    to_ask: Vec<Waiting>,
    /// To be asked again at the next tick: the leader that this node believes in may say "not me" as
    /// fast as it is asked.
    to_repeat: Vec<Waiting>,
}

impl Reads {
    /// No reads yet.
    pub(super) fn new(boot: BootId) -> Self {
        Self {
            next_id: boot.0 & !0xffff_ffff,
            asked: BTreeMap::new(),
            to_ask: Vec::new(),
            to_repeat: Vec::new(),
        }
    }

    /// A client's read came in.
    pub(super) fn add(
        &mut self,
        deadline: Instant,
        reply: oneshot::Sender<Result<ClusterTime, SubmitError>>,
    ) {
        self.to_ask.push(Waiting { deadline, reply });
    }

    /// Numbers to ask the core about now.
    pub(super) fn ask(&mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        for waiting in self.to_ask.drain(..) {
            self.next_id = self.next_id.wrapping_add(1);
            self.asked.insert(self.next_id, waiting);
            ids.push(self.next_id);
        }
        ids
    }

    /// True if something is to be asked.
    pub(super) fn has_unasked(&self) -> bool {
        !self.to_ask.is_empty()
    }

    /// The core's answer: the applied state will do, as of this cluster time; or ask again.
    pub(super) fn answered(&mut self, id: u64, time: Option<ClusterTime>) {
        let Some(waiting) = self.asked.remove(&id) else { return };
        match time {
            Some(time) => drop(waiting.reply.send(Ok(time))),
            None => self.to_repeat.push(waiting),
        }
    }

    /// Time passes: gives up what is past its deadline, and repeats what has to be.
    pub(super) fn tick(&mut self, now: Instant) {
        self.to_ask.append(&mut self.to_repeat);
        let gone: Vec<u64> =
            self.asked.iter().filter(|(_, w)| w.deadline <= now).map(|(id, _)| *id).collect();
        let asked = gone.into_iter().filter_map(|id| self.asked.remove(&id));
        let unasked = self.to_ask.extract_if(.., |waiting| waiting.deadline <= now);
        for waiting in asked.chain(unasked) {
            let _ = waiting.reply.send(Err(SubmitError::NoLeader { sent: false }));
        }
    }

    /// True if nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.to_ask.is_empty() && self.to_repeat.is_empty()
    }
}
