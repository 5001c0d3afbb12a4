//! The ring's members, as the caches of a node take part in them.

use dsync_core::cache::{Incarnation, Placement, Rules};
use dsync_core::types::LocalTime;
use tokio::sync::watch;

/// What the caches need of the log: who is a home, and the leases of homes.
pub trait Homes: Clone + Send + Sync + 'static {
    /// The ring as of one epoch.
    type Ring: Placement + Send + Sync + 'static;

    /// The ring that is in force in this node's applied state, and every one after it. Closed when the
    /// node stops.
    fn placement(&self) -> watch::Receiver<Self::Ring>;

    /// The rules of the cluster, as far as they are known.
    fn rules(&self) -> Rules;

    /// Asks to be a home, by an entry of the log. Whether it is one, the next ring says.
    fn enter(&self) -> impl Future<Output = ()> + Send;

    /// Asks the leader for a lease: when the granted ask was sent, or `None` if it was not granted.
    fn lease(&self, home: Incarnation) -> impl Future<Output = Option<LocalTime>> + Send;

    /// Says by an entry that nobody has copies of keys that `home` lost by `epoch`.
    fn release(&self, home: Incarnation, epoch: u64) -> impl Future<Output = ()> + Send;

    /// Leaves the ring by an entry. The home's lease is over.
    fn leave(&self, home: Incarnation) -> impl Future<Output = ()> + Send;
}
