//! The orderly end: no new work, a successor for a leader, an answer for everybody who waits.

use std::time::Duration;

use dsync_core::raft::{Input, RoleKind};
use dsync_core::types::LocalTime;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Driver, Stopped};

/// A leader that is asked to stop waits this long for a successor.
const DRAIN_LIMIT: Duration = Duration::from_millis(2_500);

/// A shutdown under way.
#[derive(Debug)]
pub(super) struct Draining {
    until: Instant,
    done: Vec<oneshot::Sender<()>>,
}

impl Driver {
    /// Begins to stop: no new work; a leader looks for a successor.
    pub(super) fn drain(&mut self, done: oneshot::Sender<()>) {
        match &mut self.draining {
            Some(draining) => draining.done.push(done),
            None => {
                self.step(Input::Transfer { to: None });
                let until = Instant::now() + DRAIN_LIMIT;
                self.draining = Some(Draining { until, done: vec![done] });
            }
        }
    }

    /// True once nobody is waited for, or not any longer.
    pub(super) fn drained(&self) -> Option<Stopped> {
        let draining = self.draining.as_ref()?;
        let leads_others = self.parts.raft.status().role == RoleKind::Leader
            && self.parts.raft.membership().is_some_and(|m| m.voters.len() > 1);
        let busy = leads_others || !self.waiters.is_empty() || !self.reads.is_empty();
        (!busy || Instant::now() >= draining.until).then_some(Stopped::Drained)
    }

    /// Nobody is left without an answer. What was never handed to a leader is certainly not applied;
    /// of the rest nobody knows.
    pub(super) fn finish(&mut self) {
        self.parts.audit.close();
        self.parts.ring.close();
        for expired in self.parts.proposer.expired(LocalTime(u64::MAX)) {
            if expired.sent {
                tracing::warn!(sequence = expired.sequence, "stopping with an operation under way");
            }
            self.waiters.stop(expired.sequence, expired.sent);
        }
        for done in self.draining.take().into_iter().flat_map(|draining| draining.done) {
            let _ = done.send(());
        }
    }
}
