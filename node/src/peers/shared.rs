//! What all tasks of the peer side share, and how they end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dsync_core::types::{BootId, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::audit_line::Ear;
use super::cache_line::CacheEar;
use super::dialler::Targets;
use super::handshake::HandshakeError;
use super::introduction::Refusal;
use super::limits::PeerLimits;
use super::metrics::PeerMetrics;
use super::resolver::Resolver;
use super::secret::SecretSource;
use super::table::Table;
use super::{PeerConfig, PeerEvent};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Running,
    /// No new connections; those that stand write what waits.
    Draining,
    /// Every task ends at once.
    Stopped,
}

/// What all tasks of the peer side look at.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node_id: NodeId,
    pub(super) boot_id: BootId,
    pub(super) table: Table,
    pub(super) secrets: SecretSource,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) limits: PeerLimits,
    pub(super) metrics: Arc<PeerMetrics>,
    pub(super) targets: Mutex<Targets>,
    pub(super) events: mpsc::Sender<PeerEvent>,
    /// The last refusal that was logged: most are repeated at every attempt.
    pub(super) logged_refusal: Mutex<Option<(Refusal, bool)>>,
    pub(super) audit: Ear,
    pub(super) caches: CacheEar,
    pub(super) stage: watch::Sender<Stage>,
    /// Every task holds a clone; `None` once no task may start.
    pub(super) tasks: Mutex<Option<mpsc::Sender<()>>>,
}

impl Shared {
    pub(super) fn new(
        config: PeerConfig,
        events: mpsc::Sender<PeerEvent>,
        tasks: mpsc::Sender<()>,
    ) -> Self {
        Self {
            node_id: config.introduction.node_id,
            boot_id: config.introduction.boot_id,
            table: Table::new(config.introduction, config.held),
            secrets: config.secrets,
            resolver: config.resolver,
            limits: config.limits,
            metrics: Arc::default(),
            targets: Mutex::default(),
            events,
            logged_refusal: Mutex::default(),
            audit: Ear::default(),
            caches: CacheEar::default(),
            stage: watch::Sender::new(Stage::Running),
            tasks: Mutex::new(Some(tasks)),
        }
    }

    /// Runs `task` until it ends or the peer side has stopped. Does nothing once it stops.
    pub(super) fn spawn(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Option<AbortHandle> {
        let alive = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let mut stage = self.stage.subscribe();
        let spawned = tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                _ = stage.wait_for(|stage| *stage == Stage::Stopped) => {}
            }
            drop(alive);
        });
        Some(spawned.abort_handle())
    }

    pub(super) fn close_tasks(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends as soon as no new connection may be made.
    pub(super) async fn draining(&self) {
        // The sender lives as long as `self`.
        let _ = self.stage.subscribe().wait_for(|stage| *stage != Stage::Running).await;
    }

    pub(super) fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a handshake that both sides proved and one of them refused.
    pub(super) async fn report_refusal<T>(
        &self,
        address: SocketAddr,
        outcome: &Result<T, HandshakeError>,
    ) {
        match outcome {
            Err(HandshakeError::Refused(refusal)) => self.refused(address, refusal, false).await,
            Err(HandshakeError::RefusedByPeer(refusal)) => {
                self.refused(address, refusal, true).await;
            }
            _ => {}
        }
    }

    /// Two nodes that share the secret do not talk: counts it, and tells the node unless it is only
    /// about addresses.
    pub(super) async fn refused(&self, address: SocketAddr, refusal: &Refusal, by_peer: bool) {
        if refusal.is_trouble() {
            self.metrics.refusals.one();
            let this = Some((refusal.clone(), by_peer));
            let before = std::mem::replace(
                &mut *self.logged_refusal.lock().unwrap_or_else(PoisonError::into_inner),
                this.clone(),
            );
            if before != this {
                tracing::warn!(%address, by_peer, reason = %refusal, "a peer and this node do not talk");
            }
            let refusal = refusal.clone();
            let _ = self.events.send(PeerEvent::Refused { address, refusal, by_peer }).await;
        }
    }
}

/// Reads the file of secrets again and again: a mounted secret changes without a word.
pub(super) async fn follow_secrets(shared: Arc<Shared>) {
    let follow = async {
        let mut failing = false;
        loop {
            sleep(shared.limits.secret_reload).await;
            let reloaded = shared.secrets.reload();
            match &reloaded {
                Ok(true) => tracing::info!("the cluster secrets have changed"),
                Err(error) if !failing => {
                    tracing::error!(%error, "the cluster secrets cannot be read; the last good ones stay");
                }
                _ => {}
            }
            failing = reloaded.is_err();
        }
    };
    tokio::select! {
        () = follow => {}
        () = shared.draining() => {}
    }
}
