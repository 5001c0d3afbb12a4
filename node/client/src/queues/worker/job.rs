//! One message: extended while its handler runs, then settled, and never late.

use std::convert::Infallible;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::{Delivery, Queue, Settle};
use super::live::{DeliveryLoss, Live};
use super::{HandlerError, Observer, WorkerEvent};
use crate::alarm::{self, Ends};
use crate::clock::BootInstant;
use crate::error::Error;
use crate::lease::renewal_patience;
use crate::nodes::PauseGrows;

/// A message in the hands of a handler.
///
/// It can be lost while it is worked on: when no extension is answered in time, when it is purged, or
/// settled by somebody who knows its receipt. [`lost`](Self::lost) says so, never later than the end as
/// counted here. Another may work on it from then on.
#[derive(Clone, Debug)]
pub struct Job {
    delivery: Arc<Delivery>,
    live: Arc<Live>,
}

impl Job {
    /// Resolves when the delivery is lost, or settled. Does not borrow the job.
    pub fn lost(&self) -> impl Future<Output = DeliveryLoss> + Send + 'static {
        self.live.lost()
    }

    /// Whether the message is this worker's right now, by the clock.
    ///
    /// # Errors
    /// How it was lost.
    pub fn check(&self) -> Result<(), DeliveryLoss> {
        self.live.check()
    }

    /// How much of the visibility is left, as counted here. It is extended in the background.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.live.remaining()
    }
}

impl Deref for Job {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

/// What all jobs of a worker have in common.
pub(super) struct Shared<H> {
    pub(super) queue: Queue,
    pub(super) visibility: Option<Duration>,
    pub(super) observer: Observer,
    pub(super) handler: H,
    /// Nothing is begun any more.
    pub(super) stopping: watch::Sender<bool>,
}

impl<H> Shared<H> {
    pub(super) fn tell(&self, event: &WorkerEvent<'_>) {
        (self.observer)(event);
    }
}

/// From the delivery to its end.
pub(super) async fn work<H, F, E>(shared: Arc<Shared<H>>, delivery: Delivery)
where
    H: Fn(Job) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError>,
{
    let live = Arc::new(Live::new(&delivery, shared.visibility));
    let job = Job { delivery: Arc::new(delivery), live };
    let settling = Settling { queue: &shared.queue, observer: &shared.observer, job: &job };
    if job.live.is_short() && !settling.confirm(shared.stopping.subscribe()).await {
        return;
    }
    let ends: Arc<dyn Ends> = job.live.clone();
    alarm::watch(&ends);
    let handled = {
        // A task of its own: a panic ends it alone. Dropping the set ends it, too.
        let mut handling = JoinSet::new();
        let (shared, handed) = (Arc::clone(&shared), job.clone());
        handling.spawn(async move { (shared.handler)(handed).await.map_err(Into::into) });
        tokio::select! {
            handled = handling.join_next() => handled,
            never = settling.keep() => match never {},
        }
    };
    match handled {
        Some(Ok(handled)) => settling.settle(handled).await,
        _ => settling.settle(Err(HandlerError::retry("the handler panicked"))).await,
    }
}

/// What is said to the cluster of one delivery.
struct Settling<'a> {
    queue: &'a Queue,
    observer: &'a Observer,
    job: &'a Job,
}

impl Settling<'_> {
    /// Extends before anything is begun. False: it is not this worker's any more, or not to be begun.
    async fn confirm(&self, mut stopping: watch::Receiver<bool>) -> bool {
        let deadline = self.queue.nodes.settings.deadline;
        let confirmed = tokio::select! {
            confirmed = self.extend(deadline) => Some(confirmed),
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        match confirmed {
            Some(Ok(())) => self.job.check().is_ok() || self.is_lost(),
            Some(Err(error)) if is_stale(&error) => self.is_lost(),
            Some(Err(error)) => {
                self.tell(&WorkerEvent::Unsettled { id: &self.job.id, error: &error });
                false
            }
            None => {
                self.give_back().await;
                false
            }
        }
    }

    fn is_lost(&self) -> bool {
        self.job.live.lose(DeliveryLoss::Stale);
        self.tell(&WorkerEvent::Lost { id: &self.job.id, loss: DeliveryLoss::Stale });
        false
    }

    async fn give_back(&self) {
        let (id, live) = (&self.job.id, &self.job.live);
        let nack = Settle::nack(&live.receipt).delay(Duration::ZERO);
        match self.queue.settle_one(nack).await {
            Ok(_) => self.tell(&WorkerEvent::GivenBack { id }),
            Err(error) if is_stale(&error) => {
                self.tell(&WorkerEvent::Lost { id, loss: DeliveryLoss::Stale });
            }
            Err(error) => self.tell(&WorkerEvent::Unsettled { id, error: &error }),
        }
    }

    /// Extends in time, for as long as it is not lost.
    async fn keep(&self) -> Infallible {
        let live = &self.job.live;
        let mut pause = PauseGrows::new();
        while live.check().is_ok() {
            sleep(live.due().since(BootInstant::now())).await;
            match self.extend(live.remaining()).await {
                Ok(()) => pause = PauseGrows::new(),
                Err(error) if is_stale(&error) => live.lose(DeliveryLoss::Stale),
                // Refused for a reason that may pass, or nobody there: again, but not in a busy loop.
                Err(_) => sleep(pause.next()).await,
            }
        }
        std::future::pending().await
    }

    async fn extend(&self, patience: Duration) -> Result<(), Error> {
        let live = &self.job.live;
        let item = Settle::extend(&live.receipt, live.visibility);
        let (settled, answer) = self.queue.settle_within(item, patience, self.turn()).await?;
        live.extended(answer.sent, settled.remaining_ms);
        Ok(())
    }

    /// How long one node may take before the next one is asked.
    fn turn(&self) -> Duration {
        renewal_patience(self.job.live.visibility, self.queue.nodes.settings.request_timeout)
    }

    /// Says what became of the message, unless it is another's by now.
    async fn settle(&self, handled: Result<(), HandlerError>) {
        let (id, live) = (&self.job.id, &self.job.live);
        if let Err(loss) = live.check() {
            return self.tell(&WorkerEvent::Lost { id, loss });
        }
        let item = match &handled {
            Ok(()) => Settle::ack(&live.receipt),
            Err(error) => error.settle(&live.receipt),
        };
        let settled = self.queue.settle_within(item, live.remaining(), self.turn()).await;
        match (settled, &handled) {
            (Err(error), _) if is_stale(&error) => {
                live.lose(DeliveryLoss::Stale);
                return self.tell(&WorkerEvent::Lost { id, loss: DeliveryLoss::Stale });
            }
            (Err(error), _) => self.tell(&WorkerEvent::Unsettled { id, error: &error }),
            (Ok(_), Ok(())) => self.tell(&WorkerEvent::Acked { id }),
            (Ok(_), Err(error)) => self.tell(&WorkerEvent::Failed {
                id,
                reason: error.reason(),
                rejected: error.is_rejected(),
            }),
        }
        live.lose(DeliveryLoss::Settled);
    }

    fn tell(&self, event: &WorkerEvent<'_>) {
        (self.observer)(event);
    }
}

/// This delivery counts no more, or there is nothing that it could be one of.
fn is_stale(error: &Error) -> bool {
    matches!(error.code(), Some("stale_receipt" | "no_such_message" | "no_such_topic"))
}
