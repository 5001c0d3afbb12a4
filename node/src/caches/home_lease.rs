//! A node's part in the ring: it enters, keeps its home lease, lets go of keys, and leaves.
//!
//! ```text
//!        not in the ring ── enter ──> home, lease asked for three times per length
//!              ^                         │ releases as its sharers let go
//!              └── suspended: the ring ──┤
//!                  installed without it  │ drain: asks no more, serves until the lease ends, leaves
//! ```
//!
//! A home that was suspended enters again only after the task has installed a ring without it, and so has
//! dropped everything ([`Progress::home`] is of what is installed). How long it has to wait before the log
//! lets it in again is the log's business: until then its asks are refused there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync_core::cache::Incarnation;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Homes;
use super::worker::{Ask, Progress};

/// What the task needs.
pub(super) struct Seat<H> {
    pub(super) homes: H,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) worker: mpsc::WeakSender<Ask>,
    pub(super) drain: watch::Receiver<bool>,
    /// Set when this node has left the ring, or was not in it.
    pub(super) finished: watch::Sender<bool>,
}

/// Runs until the node has left the ring, or its caches have ended.
pub(super) async fn run<H: Homes>(mut seat: Seat<H>) {
    let mut drain = seat.drain.clone();
    let draining = tokio::select! {
        () = seat.keep() => false,
        asked = async { drain.wait_for(|draining| *draining).await.is_ok() } => asked,
    };
    if draining {
        seat.leave().await;
    }
    seat.finished.send_replace(true);
}

impl<H: Homes> Seat<H> {
    async fn keep(&mut self) {
        if self.progress.wait_for(|progress| progress.installed).await.is_err() {
            return;
        }
        loop {
            let home = self.progress.borrow_and_update().home;
            let ended = match home {
                Some(home) => self.serve(home).await,
                None => self.enter().await,
            };
            if ended.is_none() {
                return;
            }
        }
    }

    /// Asks until a ring with this process is installed. `None`: the caches have ended.
    async fn enter(&mut self) -> Option<()> {
        loop {
            let pause = self.homes.enter().await;
            let inside = self.progress.wait_for(|progress| progress.home.is_some());
            match timeout(pause, inside).await {
                Ok(inside) => return inside.ok().map(|_| ()),
                Err(_) => continue,
            }
        }
    }

    /// Keeps the lease until another ring takes this home's place. `None`: the caches have ended.
    async fn serve(&mut self, home: Incarnation) -> Option<()> {
        let every = Duration::from_millis((self.homes.rules().home_lease_ms / 3).max(1));
        let (mut ask_at, mut release_at) = (Instant::now(), Instant::now());
        let said = Arc::new(AtomicU64::new(0));
        loop {
            if Instant::now() >= ask_at {
                self.ask_for_lease(home);
                ask_at = Instant::now() + every;
            }
            let progress = self.progress.borrow_and_update().clone();
            if progress.home != Some(home) {
                return Some(());
            }
            // Somebody waits for it only while the ring is not settled.
            let unsaid = progress.released > said.load(Ordering::Relaxed);
            if unsaid && !progress.settled && Instant::now() >= release_at {
                self.release(home, progress.released, &said);
                release_at = Instant::now() + every;
            }
            tokio::select! {
                changed = self.progress.changed() => changed.ok()?,
                () = sleep_until(ask_at) => {}
            }
        }
    }

    /// The answer may be long in coming, and the next ask does not wait for it.
    fn ask_for_lease(&self, home: Incarnation) {
        let (homes, worker) = (self.homes.clone(), self.worker.clone());
        let limit = Duration::from_millis(self.homes.rules().home_lease_ms);
        tokio::spawn(async move {
            let granted = timeout(limit, homes.lease(home)).await;
            if let (Ok(Some(sent_at)), Some(worker)) = (granted, worker.upgrade()) {
                let _ = worker.send(Ask::Granted { home, sent_at }).await;
            }
        });
    }

    /// The entry is not waited for: leases have to be asked for meanwhile. What is not known to be applied
    /// is said again.
    fn release(&self, home: Incarnation, epoch: u64, said: &Arc<AtomicU64>) {
        let (homes, said) = (self.homes.clone(), said.clone());
        tokio::spawn(async move {
            if homes.release(home, epoch).await {
                said.fetch_max(epoch, Ordering::Relaxed);
            }
        });
    }

    /// Asks for no more leases, and serves until the last one is over: until then sharers may have copies of
    /// this home's values, and nobody can take its place.
    async fn leave(&mut self) {
        let home = self.progress.borrow().home;
        if let Some(home) = home {
            self.homes.leave(home).await;
        }
    }
}
