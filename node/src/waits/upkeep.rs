//! The task that does what the upkeep decides, and lets it look around every second.
//!
//! It holds only a weak way to the driver: a node ends when its users have let go of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dsync_core::machine::{Machine, Operation};
use dsync_core::waits::{Chore, Listeners, PATIENCE_MS, SWEEP_MS, Upkeep};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::handle::{Applied, SubmitError, WeakDriver};

/// The running task. Ends with the last of its owners.
#[derive(Debug)]
pub(crate) struct UpkeepTask(JoinHandle<()>);

impl UpkeepTask {
    /// Starts it. Within a tokio runtime.
    pub(crate) fn start(
        listeners: Arc<Listeners>,
        machine: Arc<ArcSwap<Machine>>,
        driver: WeakDriver,
    ) -> Self {
        let upkeep = Upkeep::new(listeners.clone());
        let work = Work { upkeep, listeners, machine, driver, under_way: JoinSet::new() };
        Self(tokio::spawn(work.run()))
    }
}

impl Drop for UpkeepTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Work {
    upkeep: Upkeep,
    listeners: Arc<Listeners>,
    machine: Arc<ArcSwap<Machine>>,
    driver: WeakDriver,
    under_way: JoinSet<(Chore, Result<Applied, SubmitError>)>,
}

impl Work {
    async fn run(mut self) {
        let mut sweeps = interval(Duration::from_millis(SWEEP_MS));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Only a runtime that shuts down cancels one.
                Some(Ok((chore, answer))) = self.under_way.join_next() => {
                    self.upkeep.done(chore, answer);
                }
                () = self.listeners.work() => {}
                _ = sweeps.tick() => self.upkeep.sweep(&self.machine.load()),
            }
            while let Some((chore, operation)) = self.upkeep.next_chore() {
                let answer = send(self.driver.clone(), operation);
                self.under_way.spawn(async move { (chore, answer.await) });
            }
        }
    }
}

async fn send(driver: WeakDriver, operation: Operation) -> Result<Applied, SubmitError> {
    let deadline = Instant::now() + Duration::from_millis(PATIENCE_MS);
    driver.submit(operation, deadline.into_std()).await
}
