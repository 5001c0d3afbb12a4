//! The ring's members, as the caches of a node take part in them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dsync_core::cache::{Incarnation, Placement, Process, RingPlacement, RingRefusal, Rules};
use dsync_core::machine::Machine;
use dsync_core::types::LocalTime;
use tokio::sync::watch;

use crate::ring::{RingError, RingMember};

/// Pause before another try to enter the ring, where the state does not name one.
const PAUSE: Duration = Duration::from_millis(100);
/// The same where only an administrator can change something.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// What the caches need of the log: who is a home, and the leases of homes.
pub trait Homes: Clone + Send + Sync + 'static {
    /// The ring as of one epoch.
    type Ring: Placement + Send + Sync + 'static;

    /// The ring that is in force in this node's applied state, and every one after it. Closed when the
    /// node stops.
    fn placement(&self) -> watch::Receiver<Self::Ring>;

    /// The rules of the cluster, as far as they are known.
    fn rules(&self) -> Rules;

    /// Asks to be a home, by an entry of the log. Whether it is one, the next ring says; if none does, it
    /// may be asked again after so long.
    fn enter(&self) -> impl Future<Output = Duration> + Send;

    /// Asks the leader for a lease: when the granted ask was sent, or `None` if it was not granted.
    fn lease(&self, home: Incarnation) -> impl Future<Output = Option<LocalTime>> + Send;

    /// Says by an entry that nobody has copies of keys that `home` lost by `epoch`. True: it is applied.
    fn release(&self, home: Incarnation, epoch: u64) -> impl Future<Output = bool> + Send;

    /// Lets the home's lease run out, and leaves the ring then, by an entry.
    fn leave(&self, home: Incarnation) -> impl Future<Output = ()> + Send;
}

/// The ring's members in the log of this node's cluster.
#[derive(Clone, Debug)]
pub(crate) struct LogHomes {
    pub(crate) process: Process,
    pub(crate) ring: Arc<RingMember>,
    pub(crate) machine: Arc<ArcSwap<Machine>>,
}

impl LogHomes {
    /// A former process of this node is in service until its grant has ended, and while the ring is not
    /// settled nobody can enter: to ask would cost an entry, and be refused.
    fn can_enter(&self) -> bool {
        let machine = self.machine.load();
        let ring = machine.ring();
        machine.settings().is_some()
            && ring.settled()
            && ring.homes().all(|home| home.process.node != self.process.node)
    }
}

impl Homes for LogHomes {
    type Ring = RingPlacement;

    fn placement(&self) -> watch::Receiver<RingPlacement> {
        self.ring.placement()
    }

    fn rules(&self) -> Rules {
        self.machine.load().settings().map(|settings| settings.caches).unwrap_or_default()
    }

    async fn enter(&self) -> Duration {
        if !self.can_enter() {
            return PAUSE;
        }
        match self.ring.enter().await {
            Err(RingError::Refused(RingRefusal::TooEarly { left_ms })) => {
                Duration::from_millis(left_ms.max(1))
            }
            Err(RingError::Refused(RingRefusal::NoVoter)) => LONG_PAUSE,
            Ok(_) | Err(_) => PAUSE,
        }
    }

    async fn lease(&self, home: Incarnation) -> Option<LocalTime> {
        self.ring.lease(home).await
    }

    async fn release(&self, home: Incarnation, epoch: u64) -> bool {
        let released = self.ring.release(home, epoch).await;
        if let Err(error) = &released {
            tracing::debug!(%error, epoch, "a release of the ring is said again");
        }
        released.is_ok()
    }

    async fn leave(&self, home: Incarnation) {
        if let Err(error) = self.ring.leave(home).await {
            tracing::warn!(%error, "the ring hears of this home's end from the leader");
        }
    }
}
