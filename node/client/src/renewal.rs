//! Renews a hold in the background.
//!
//! At a third of the lease, counted from the sending of the request that was answered last. A renewal
//! that is not answered is repeated at the other nodes until the counted end: nothing is gained by
//! giving up earlier. An answer that says the hold is gone ends it here at once.
//!
//! A hold without a lease is renewed too, which changes nothing there and tells whether somebody
//! released it by force.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::BootInstant;
use crate::hold::Held;
use crate::lease::renewal_due;
use crate::nodes::PauseGrows;

/// How often a hold without a lease is looked after: a third of the time after which a forced release
/// ends one by itself, if the cluster's default lease is the usual minute.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// Renews until the hold is over.
pub(crate) async fn keep(held: Arc<Held>) {
    let mut pause = PauseGrows::new();
    while held.check().is_ok() {
        let sent = *held.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let due = renewal_due(sent, held.ttl.unwrap_or(LOOK_AFTER));
        sleep(due.since(BootInstant::now())).await;
        match held.renew(None, false).await {
            Ok(()) => pause = PauseGrows::new(),
            // Refused for a reason that may pass, or nobody there: again, but not in a busy loop.
            Err(_) => sleep(pause.next()).await,
        }
    }
}
