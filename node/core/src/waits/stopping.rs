//! A node that stops in order: who waits is sent elsewhere and keeps the place.

use std::sync::Arc;

use super::listeners::Listeners;
use super::race::race;
use super::site::{Site, SubmitError};
use crate::machine::{NodeOperation, Operation};

/// The cluster has this long to take note that nobody listens here any more.
const STOP_LISTENING_LIMIT_MS: u64 = 1_000;
/// And then this long passes at most until what has been granted is answered.
const SETTLE_LIMIT_MS: u64 = 1_000;

/// Takes in nothing more, has the cluster say that nobody listens here, then tells everybody who
/// waits. What is open is answered, and who has hung up is left, when this comes back; or not, if
/// that takes too long.
///
/// The word comes first: a client that is sent elsewhere before it could come too late for a place
/// that nobody keeps.
///
/// # Errors
/// If the cluster did not say so in time. The places are kept all the same, once this process is
/// replaced or declared lost.
pub async fn stop_listening(
    site: &impl Site,
    listeners: &Arc<Listeners>,
) -> Result<(), SubmitError> {
    if !listeners.stop_opening() {
        return Ok(());
    }
    let deadline = site.now().plus(STOP_LISTENING_LIMIT_MS);
    let said = site.submit(Operation::Node(NodeOperation::StopListening), deadline).await;
    listeners.stop_waits();
    race(listeners.all_settled(), site.sleep_until(site.now().plus(SETTLE_LIMIT_MS))).await;
    said.map(drop)
}
