//! A worker: takes messages from a topic, has them worked on, and settles them.
//!
//! # Problem
//!
//! The loop that everybody writes (receive, work, ack) goes wrong at its edges. The work takes longer
//! than the visibility, and another worker does it too, while the first one's ack is refused, or worse,
//! sent late. The program is told to stop with messages in hand that nobody works on until their
//! visibility is over. The cluster is away, and the loop turns as fast as it can.
//!
//! # Idea
//!
//! - It asks for as many messages as it has jobs free, so none waits here for its turn.
//! - While the handler runs, the delivery is extended, at a third of its visibility, at whichever node
//!   answers (`job.rs`).
//! - The delivery is counted as ended never later than the cluster counts it (`live.rs`); the job is told
//!   then, at that very moment, and nothing is acknowledged any more.
//! - A delivery that arrives with little left, because its request had waited long, is extended before its
//!   handler begins.
//! - When it is to stop, it hangs up its request, gives back at once what was not begun, and waits for the
//!   handlers that run. How those are to be hurried is for the handlers to know.
//! - An error of the cluster makes it pause, a little longer each time; a refusal that no repeat can mend
//!   ends it.
//!
//! # Caveats
//!
//! An answer that is on its way when the worker hangs up is lost: its messages are delivered again when
//! their visibility is over. So are those in hand when the process dies, or when the future of
//! [`Worker::run`] is dropped.

mod handler_error;
mod job;
mod live;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use handler_error::HandlerError;
pub use job::Job;
pub use live::DeliveryLoss;

use super::{Delivery, Queue, Receive, Settle, SubQueue};
use crate::client::Client;
use crate::error::Error;
use crate::nodes::PauseGrows;

/// How long one request for messages stands.
const WAIT: Duration = Duration::from_secs(20);
/// With a shorter one, a delivery would be over before it is extended.
const VISIBILITY_MIN: Duration = Duration::from_secs(1);

/// What happens to a worker and its messages, for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent<'a> {
    /// It was worked on, and is gone.
    Acked {
        /// Which message.
        id: &'a str,
    },
    /// It was not, and the cluster knows.
    Failed {
        /// Which message.
        id: &'a str,
        /// Why.
        reason: &'a str,
        /// It will not be tried again.
        rejected: bool,
    },
    /// Its delivery ended while it was in hand: another may work on it.
    Lost {
        /// Which message.
        id: &'a str,
        /// How.
        loss: DeliveryLoss,
    },
    /// It was given back, not begun.
    GivenBack {
        /// Which message.
        id: &'a str,
    },
    /// No node said in time that it is settled: it may come again.
    Unsettled {
        /// Which message.
        id: &'a str,
        /// What the nodes said.
        error: &'a Error,
    },
    /// No node gave messages. It goes on asking.
    Unserved {
        /// What the nodes said.
        error: &'a Error,
    },
}

type Observer = Arc<dyn Fn(&WorkerEvent<'_>) + Send + Sync>;
type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Works on the messages of a topic, several at once; see the [module](super).
#[must_use = "it does nothing before `run`"]
pub struct Worker {
    queue: Queue,
    jobs: u32,
    visibility: Option<Duration>,
    sub_queue: SubQueue,
    until_empty: bool,
    stop: Stop,
    observer: Observer,
}

impl Worker {
    /// Of this topic: one message at a time, with the topic's visibility, until it is refused.
    pub fn new(client: &Client, topic: impl Into<String>) -> Self {
        Self {
            queue: client.queue(topic),
            jobs: 1,
            visibility: None,
            sub_queue: SubQueue::Main,
            until_empty: false,
            stop: Box::pin(std::future::pending()),
            observer: Arc::new(|_| {}),
        }
    }

    /// How many messages at once, from 1 to 1000.
    pub fn jobs(mut self, jobs: u32) -> Self {
        self.jobs = jobs.clamp(1, 1_000);
        self
    }

    /// How long a message stays this worker's when the worker vanishes: at least a second. Without: the
    /// topic's. It is no limit for the work, which is extended while it runs.
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = Some(visibility.max(VISIBILITY_MIN));
        self
    }

    /// From which part of the topic.
    pub fn sub_queue(mut self, sub_queue: SubQueue) -> Self {
        self.sub_queue = sub_queue;
        self
    }

    /// It ends when there is nothing that could be delivered at once, instead of waiting for more.
    pub fn until_empty(mut self) -> Self {
        self.until_empty = true;
        self
    }

    /// When to stop: nothing more is taken, what was not begun is given back, and
    /// [`run`](Self::run) returns when the handlers that run are done.
    pub fn stop_when(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(stop);
        self
    }

    /// Is told what happens.
    pub fn observe(mut self, observer: impl Fn(&WorkerEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Works. A handler that returns `Ok` has done its message, which is acknowledged; `Err`, or a
    /// panic, is a nack with the error as the reason.
    ///
    /// # Errors
    /// If a request for messages is refused for a reason that no repeat can mend. Handlers that run then
    /// are waited for first.
    pub async fn run<H, F, E>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(Job) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError> + 'static,
    {
        let Self { queue, jobs, visibility, sub_queue, until_empty, stop, observer } = self;
        let wait = if until_empty { Duration::ZERO } else { WAIT };
        let mut receive = queue.receive().wait(wait).sub_queue(sub_queue);
        if let Some(visibility) = visibility {
            receive = receive.visibility(visibility);
        }
        let (stopping, _) = watch::channel(false);
        let crew = Crew {
            shared: Arc::new(job::Shared { queue, visibility, observer, handler, stopping }),
            jobs: JoinSet::new(),
            jobs_max: jobs,
            receive,
            until_empty,
        };
        crew.work(stop).await
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("topic", &self.queue.topic())
            .field("jobs", &self.jobs)
            .field("visibility", &self.visibility)
            .finish_non_exhaustive()
    }
}

/// A worker that runs.
struct Crew<H> {
    shared: Arc<job::Shared<H>>,
    /// Dropping it ends them and their handlers.
    jobs: JoinSet<()>,
    jobs_max: u32,
    receive: Receive,
    until_empty: bool,
}

/// What ended a request for messages.
enum Turn {
    /// It is to stop; these arrived at that very moment.
    Stopped(Vec<Delivery>),
    /// One more could be asked for.
    JobDone,
    Received(Result<Vec<Delivery>, Error>),
}

impl<H, F, E> Crew<H>
where
    H: Fn(Job) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<HandlerError> + 'static,
{
    async fn work(mut self, mut stop: Stop) -> Result<(), Error> {
        let mut pause = PauseGrows::new();
        loop {
            let asked_at = Instant::now();
            // What is asked is dropped with this, and so is hung up.
            let received = match self.turn(&mut stop).await {
                Turn::Stopped(arrived) => {
                    self.shared.stopping.send_replace(true);
                    self.give_back(arrived).await;
                    return self.finish(Ok(())).await;
                }
                Turn::JobDone => continue,
                Turn::Received(received) => received,
            };
            match received {
                Ok(deliveries) if deliveries.is_empty() => {
                    if self.until_empty && self.jobs.is_empty() {
                        return Ok(());
                    }
                    self.idle(asked_at, &mut stop, &mut pause).await;
                }
                Ok(deliveries) => {
                    pause = PauseGrows::new();
                    self.start(deliveries);
                }
                Err(error) if is_missing(&error) && self.until_empty => {
                    return self.finish(Ok(())).await;
                }
                // There may be one soon.
                Err(error) if is_missing(&error) => {
                    self.idle(asked_at, &mut stop, &mut pause).await;
                }
                Err(error @ (Error::Unavailable { .. } | Error::OutcomeUnknown(_))) => {
                    self.shared.tell(&WorkerEvent::Unserved { error: &error });
                    self.idle(asked_at, &mut stop, &mut pause).await;
                }
                Err(error) => return self.finish(Err(error)).await,
            }
        }
    }

    /// Asks for as many messages as there are jobs free, until something happens.
    async fn turn(&mut self, stop: &mut Stop) -> Turn {
        let free = self.free();
        let asked = self.receive.clone().max(free.max(1));
        let mut messages = std::pin::pin!(asked.messages());
        loop {
            tokio::select! {
                biased;
                () = &mut *stop => return tokio::select! {
                    biased;
                    // What has just arrived is not lost, but given back.
                    received = &mut messages, if free > 0 => {
                        Turn::Stopped(received.unwrap_or_default())
                    }
                    () = std::future::ready(()) => Turn::Stopped(Vec::new()),
                },
                received = &mut messages, if free > 0 => return Turn::Received(received),
                Some(_) = self.jobs.join_next() => if free == 0 { return Turn::JobDone },
            }
        }
    }

    /// How many more could be worked on.
    fn free(&self) -> u32 {
        let busy = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        self.jobs_max.saturating_sub(busy)
    }

    fn start(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.jobs.spawn(job::work(Arc::clone(&self.shared), delivery));
        }
    }

    /// A node that answers at once must not be asked all the time. An answer that was waited for needs
    /// no pause.
    async fn idle(&self, asked_at: Instant, stop: &mut Stop, pause: &mut PauseGrows) {
        tokio::select! {
            () = sleep_until(asked_at + pause.next()) => {}
            // Somebody may stop it, which the next turn sees: the future is not asked again.
            () = &mut *stop => *stop = Box::pin(std::future::ready(())),
        }
    }

    /// Until the handlers that run are done.
    async fn finish(mut self, result: Result<(), Error>) -> Result<(), Error> {
        self.shared.stopping.send_replace(true);
        while self.jobs.join_next().await.is_some() {}
        result
    }

    async fn give_back(&self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let nack = |it: &Delivery| Settle::nack(&it.receipt).delay(Duration::ZERO);
        let settled = self.shared.queue.settle(deliveries.iter().map(nack)).await;
        for Delivery { id, .. } in &deliveries {
            self.shared.tell(&match &settled {
                Ok(_) => WorkerEvent::GivenBack { id },
                Err(error) => WorkerEvent::Unsettled { id, error },
            });
        }
    }
}

fn is_missing(error: &Error) -> bool {
    error.code() == Some("no_such_topic")
}
