//! What has to be done for the listeners though no client asks for it: leaving orphans, saying that
//! this process listens after all, and looking around every second.
//!
//! It holds only a weak way to the driver: a node ends when its users have let go of it.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::locks::LeaveOutcome;
use dsync_core::machine::{Operation, Outcome};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::listeners::Listeners;
use crate::handle::{Applied, SubmitError, WeakDriver};

/// Leaves under way at a time. More would only fill the proposer's window, which clients need.
const LEAVES_MAX: usize = 256;
/// A command of its own is given up, and repeated at a later sweep, after this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks around.
const SWEEP: Duration = Duration::from_secs(1);

/// The running task. Ends with the last of its owners.
#[derive(Debug)]
pub(crate) struct Upkeep(JoinHandle<()>);

impl Upkeep {
    /// Starts it. Within a tokio runtime.
    pub(crate) fn start(listeners: Arc<Listeners>, driver: WeakDriver) -> Self {
        let work = Work { listeners, driver, under_way: JoinSet::new(), resuming: false };
        Self(tokio::spawn(work.run()))
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Work {
    listeners: Arc<Listeners>,
    driver: WeakDriver,
    under_way: JoinSet<Done>,
    resuming: bool,
}

/// A command of the upkeep that has an answer, or has none.
#[derive(Clone, Copy)]
enum Done {
    Left(u64, Option<LeaveOutcome>),
    Resumed,
}

impl Work {
    async fn run(mut self) {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Only a runtime that shuts down cancels one.
                Some(Ok(done)) = self.under_way.join_next() => self.done(done),
                () = self.listeners.work.notified() => {}
                _ = sweeps.tick() => self.listeners.sweep(),
            }
            self.begin();
        }
    }

    fn begin(&mut self) {
        if !self.resuming && self.listeners.lock().lost && !self.listeners.is_stopping() {
            self.resuming = true;
            let command = send(self.driver.clone(), Operation::ResumeListeners);
            self.under_way.spawn(async move {
                let _ = command.await;
                Done::Resumed
            });
        }
        while self.under_way.len() < LEAVES_MAX {
            let Some(number) = self.listeners.lock().orphans.take_due() else { return };
            let leave = Operation::Leave(self.listeners.attachment(number));
            let command = send(self.driver.clone(), leave);
            self.under_way.spawn(async move { Done::Left(number, left(command.await)) });
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Left(number, outcome) => {
                self.listeners.lock().orphans.left(number, outcome);
                self.listeners.settled.notify_waiters();
            }
            // Claims wait for this to be attached.
            Done::Resumed => {
                self.resuming = false;
                self.listeners.wake_all();
            }
        }
    }
}

async fn send(driver: WeakDriver, operation: Operation) -> Result<Applied, SubmitError> {
    driver.submit(operation, (Instant::now() + PATIENCE).into_std()).await
}

fn left(answer: Result<Applied, SubmitError>) -> Option<LeaveOutcome> {
    match answer.ok()?.outcome {
        Outcome::Leave(outcome) => Some(outcome),
        _ => None,
    }
}
