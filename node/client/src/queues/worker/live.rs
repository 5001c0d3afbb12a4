//! Until when a delivery is this worker's, as counted here.
//!
//! From the sending of the request that was answered last, less a thousandth for the difference of
//! clocks, as with a hold: so the worker gives a delivery up before the cluster gives it to another. A
//! thread of its own watches the end (`alarm.rs`), so that a busy runtime does not delay it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::super::Delivery;
use crate::alarm::Ends;
use crate::clock::BootInstant;
use crate::lease::{counted_end, renewal_due};

/// How a delivery ended before its message was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryLoss {
    /// Its visibility ended, as counted here, before an extension was answered.
    #[error("its visibility ended before an extension was answered")]
    Expired,
    /// The cluster says that it is not, or no longer, the live one of its message.
    #[error("the cluster does not count this delivery any more")]
    Stale,
    /// It was settled by this worker.
    #[error("it is settled")]
    Settled,
}

/// A delivery, as long as it is in hand.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) receipt: String,
    /// What is asked for at each extension.
    pub(super) visibility: Duration,
    /// When the request that was answered last was sent.
    sent: Mutex<BootInstant>,
    /// The counted end. Moves to later only.
    end: watch::Sender<BootInstant>,
    loss: watch::Sender<Option<DeliveryLoss>>,
}

impl Live {
    pub(super) fn new(delivery: &Delivery, visibility: Option<Duration>) -> Self {
        let granted = Duration::from_millis(delivery.remaining_ms.max(1));
        Self {
            receipt: delivery.receipt.clone(),
            visibility: visibility.unwrap_or(granted),
            sent: Mutex::new(delivery.sent()),
            end: watch::Sender::new(delivery.ends_at()),
            loss: watch::Sender::new(None),
        }
    }

    /// Little is left before the first extension: what is, may be gone before it is answered.
    pub(super) fn is_short(&self) -> bool {
        self.counted() < self.visibility / 3
    }

    /// What is left by the clock, whether it is known to be lost or not.
    fn counted(&self) -> Duration {
        self.end.borrow().since(BootInstant::now())
    }

    /// When to extend.
    pub(super) fn due(&self) -> BootInstant {
        renewal_due(*self.sent.lock().unwrap_or_else(PoisonError::into_inner), self.visibility)
    }

    /// How much is left; zero if it is lost.
    pub(super) fn remaining(&self) -> Duration {
        if self.check().is_ok() { self.counted() } else { Duration::ZERO }
    }

    /// An extension was answered.
    pub(super) fn extended(&self, sent: BootInstant, remaining_ms: Option<u64>) {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        let Some(end) = counted_end(sent, remaining_ms) else { return };
        // Never earlier: the cluster does not take back what it promised before.
        self.end.send_if_modified(|now| {
            let later = end > *now;
            if later {
                *now = end;
            }
            later
        });
    }

    pub(super) fn check(&self) -> Result<(), DeliveryLoss> {
        self.look();
        self.loss.borrow().map_or(Ok(()), Err)
    }

    pub(super) fn lose(&self, loss: DeliveryLoss) {
        self.loss.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(loss);
            }
            first
        });
    }

    pub(super) fn lost(&self) -> impl Future<Output = DeliveryLoss> + Send + 'static {
        let mut loss = self.loss.subscribe();
        async move {
            let lost = loss.wait_for(Option::is_some).await;
            lost.ok().and_then(|loss| *loss).unwrap_or(DeliveryLoss::Settled)
        }
    }
}

impl Ends for Live {
    fn look(&self) -> Option<BootInstant> {
        if self.loss.borrow().is_some() {
            return None;
        }
        let end = *self.end.borrow();
        if BootInstant::now() < end {
            return Some(end);
        }
        self.lose(DeliveryLoss::Expired);
        None
    }
}
