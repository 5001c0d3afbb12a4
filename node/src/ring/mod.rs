//! This node's part in the ring: who is a home of cached keys, and how this process becomes one, keeps
//! the right to serve, and leaves.
//!
//! What stands behind it: the ring's members are in the log (`dsync_core::cache`, `ring/`), the leases
//! come from the leader (`grants.rs`). When to enter, and what to drop before, is the caches' business.

#[cfg(all(test, not(feature = "simulated")))]
mod member_test;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dsync_core::cache::{
    Incarnation, Placement, Process, RingOperation, RingOutcome, RingPlacement, RingRefusal,
    RingTable, Rules,
};
use dsync_core::machine::{Machine, Operation, Outcome};
use dsync_core::types::{Index, LocalTime};
use tokio::sync::{oneshot, watch};

use crate::clock;
use crate::handle::{DriverRequest, SubmitError, WeakDriver};

/// How long an entry is waited for.
const ENTRY_LIMIT: Duration = Duration::from_secs(5);
/// Pause before a change is tried again for which the ring was not settled.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// Why an operation on the ring has changed nothing, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// It has no answer.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It came too late to be applied.
    #[error("void")]
    Void,
    /// The ring's state is against it.
    #[error(transparent)]
    Refused(#[from] RingRefusal),
}

/// See the module.
#[derive(Debug)]
pub struct RingMember {
    process: Process,
    machine: Arc<ArcSwap<Machine>>,
    driver: WeakDriver,
    /// Whom the driver tells; `None` once it has ended.
    shown: Mutex<Option<watch::Sender<RingPlacement>>>,
    seen: watch::Receiver<RingPlacement>,
    /// Of the home that this process is, or was last.
    lease: Mutex<Option<Lease>>,
}

/// What a home of this process has been granted.
#[derive(Clone, Copy, Debug)]
struct Lease {
    home: Incarnation,
    /// When the latest granted ask was sent.
    sent_at: LocalTime,
    /// No grant counts any more.
    leaving: bool,
}

impl Lease {
    /// That of this home: what its former times as one were granted is over.
    fn of(lease: &mut Option<Self>, home: Incarnation) -> &mut Self {
        let new = Self { home, sent_at: LocalTime(0), leaving: false };
        let lease = lease.get_or_insert(new);
        if lease.home != home {
            *lease = new;
        }
        lease
    }
}

impl RingMember {
    /// The part of a node that has just started, and is no home yet.
    pub(crate) fn new(
        process: Process,
        machine: Arc<ArcSwap<Machine>>,
        driver: WeakDriver,
    ) -> Self {
        let (shown, seen) = watch::channel(RingPlacement::of(machine.load().ring()));
        let (shown, lease) = (Mutex::new(Some(shown)), Mutex::default());
        Self { process, machine, driver, shown, seen, lease }
    }

    /// Who is the home of which key, as this node has applied it; every change, the newest only. Closed
    /// when the node stops.
    #[must_use]
    pub fn placement(&self) -> watch::Receiver<RingPlacement> {
        self.seen.clone()
    }

    /// This process becomes a home. To be called when a placement without it is installed and everything
    /// kept is dropped.
    ///
    /// # Errors
    /// See [`RingError`]; without an answer the next placement tells.
    pub async fn enter(&self) -> Result<Incarnation, RingError> {
        match self.submit(RingOperation::Enter).await? {
            RingOutcome::Entered(home) => Ok(home),
            RingOutcome::Done => Err(RingError::Void),
            RingOutcome::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// Asks the leader once for the home's lease. It is counted from the moment that is given back.
    /// `None`: it is not granted, or not within a lease's length; to be asked for three times as often.
    pub async fn lease(&self, home: Incarnation) -> Option<LocalTime> {
        let sent_at = clock::now();
        let (granted, answer) = oneshot::channel();
        if home.process != self.process
            || !self.driver.ask(DriverRequest::HomeLease { home, sent_at, granted }).await
        {
            return None;
        }
        answer.await.ok()?;
        let mut lease = lock(&self.lease);
        let lease = Lease::of(&mut lease, home);
        if lease.leaving {
            return None;
        }
        lease.sent_at = lease.sent_at.max(sent_at);
        Some(sent_at)
    }

    /// Nobody has copies of keys that the home lost by this epoch.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn release(&self, home: Incarnation, epoch: u64) -> Result<(), RingError> {
        done(self.submit(RingOperation::Release { home, epoch: Index(epoch) }).await?)
    }

    /// Waits until the home's lease is over, stretched by the drift of clocks: so long its sharers may
    /// serve copies. No lease is granted to it any more meanwhile. Then it leaves the ring. It may serve
    /// until its lease is over; who stops serving before has made nothing faster.
    ///
    /// # Errors
    /// See [`RingError`]. If it could not be said, the leader will find the grant over.
    pub async fn leave(&self, home: Incarnation) -> Result<(), RingError> {
        let over = self.forgo(home);
        loop {
            let left_ms = over.since(clock::now());
            if left_ms == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
        }
        let until = Instant::now() + ENTRY_LIMIT;
        loop {
            match done(self.submit(RingOperation::Leave(home)).await?) {
                Err(RingError::Refused(RingRefusal::NotSettled)) if Instant::now() < until => {
                    tokio::time::sleep(SETTLE_PAUSE).await;
                }
                said => return said,
            }
        }
    }

    /// The state's word on who is a home; from the driver, after every batch of entries.
    pub(crate) fn applied(&self, table: &RingTable) {
        let shown = lock(&self.shown);
        let Some(shown) = &*shown else { return };
        shown.send_if_modified(|placement| {
            let Some(next) = placement.after(table) else { return false };
            if next.epoch() != placement.epoch() {
                tracing::info!(epoch = next.epoch(), homes = next.homes().len(), "ring changed");
            }
            *placement = next;
            true
        });
    }

    /// The driver has ended.
    pub(crate) fn close(&self) {
        lock(&self.shown).take();
    }

    /// No grant counts from now on: when the last one is over for everybody.
    fn forgo(&self, home: Incarnation) -> LocalTime {
        let rules = self.rules();
        let mut lease = lock(&self.lease);
        let lease = Lease::of(&mut lease, home);
        lease.leaving = true;
        lease.sent_at.plus(rules.stretched(rules.home_lease_ms))
    }

    fn rules(&self) -> Rules {
        self.machine.load().settings().map(|settings| settings.caches).unwrap_or_default()
    }

    async fn submit(&self, operation: RingOperation) -> Result<RingOutcome, RingError> {
        let deadline = Instant::now() + ENTRY_LIMIT;
        let applied = self.driver.submit(Operation::Ring(operation), deadline).await?;
        match applied.outcome {
            Outcome::Ring(outcome) => Ok(outcome),
            _ => Err(RingError::Void),
        }
    }
}

fn done(outcome: RingOutcome) -> Result<(), RingError> {
    match outcome {
        RingOutcome::Refused(refusal) => Err(refusal.into()),
        RingOutcome::Done | RingOutcome::Entered(_) => Ok(()),
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
