//! A node's handle as the place where a request waits, with the runtime's clock and timers.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::machine::{Machine, Operation, Outcome};
use dsync_core::types::LocalTime;
use dsync_core::waits::{ReadState, Site};
use tokio::time::{Instant, sleep_until};

use crate::handle::{Applied, NodeHandle, SubmitError};

/// Longer than anybody waits, and short enough to be added to any time.
const FOR_EVER_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// The runtime's clock as milliseconds since the handle was made. How long a client waits is nobody
/// else's safety, so it may stand still while the machine sleeps, as the runtime's timers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandleClock(Instant);

impl HandleClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    fn now(self) -> LocalTime {
        LocalTime(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn instant(self, at: LocalTime) -> Instant {
        self.0 + Duration::from_millis(at.0.min(self.now().0.saturating_add(FOR_EVER_MS)))
    }
}

impl Site for NodeHandle {
    async fn submit(
        &self,
        operation: Operation,
        deadline: LocalTime,
    ) -> Result<Applied, SubmitError> {
        let deadline = self.clock().instant(deadline).into_std();
        Self::submit(self, operation, deadline).await
    }

    async fn read(&self, deadline: LocalTime) -> Result<ReadState, SubmitError> {
        let deadline = self.clock().instant(deadline).into_std();
        Self::read(self, deadline).await
    }

    fn machine(&self) -> Arc<Machine> {
        Self::machine(self)
    }

    fn now(&self) -> LocalTime {
        self.clock().now()
    }

    async fn sleep_until(&self, at: LocalTime) {
        sleep_until(self.clock().instant(at)).await;
    }

    fn answered_by_another(&self, outcome: &Outcome) {
        tracing::error!(?outcome, "a lock request was answered by something else");
    }
}
