//! Requests that wait for messages of one part of a topic, in one line.
//!
//! One task asks for all of them, as long as somebody waits. It asks when somebody comes, when an answer of Redis
//! has said that there is something, when the next thing ends, and once a second for what came through another
//! node. Who got something leaves the line; who got nothing keeps its place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsync_core::queue::{DeliveryView, QueueOperation, Receive, Receiver, SubQueue};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Delivered, Shared};
use crate::answer::{Done, Status};
use crate::problem::{RedisProblem, StoreError};
use crate::topic::Stream;

/// For how many one script asks.
const RECEIVERS_MAX: usize = 128;
/// How often an empty topic is asked for what came through another node.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
    sub_queue: SubQueue,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    busy: bool,
}

#[derive(Debug)]
struct Waiting {
    receiver: Receiver,
    times: Times,
    /// Redis was asked for it, and had nothing.
    looked: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<Option<Delivered>, StoreError>>,
}

/// How long a request waits.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// For a message.
    pub wait_until: Instant,
    /// For Redis; not before `wait_until`. An empty answer is Redis' word, never a guess.
    pub deadline: Instant,
}

impl Line {
    pub(super) fn new(shared: Arc<Shared>, sub_queue: SubQueue) -> Self {
        Self { shared, sub_queue, state: Mutex::default() }
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.iter().filter(|it| !it.reply.is_closed()).count()
    }

    pub(super) async fn receive(
        self: &Arc<Self>,
        receiver: Receiver,
        times: Times,
    ) -> Result<Option<Delivered>, StoreError> {
        receiver.check(&self.shared.rules())?;
        let (reply, mut answer) = oneshot::channel();
        let looked = Arc::new(AtomicBool::new(false));
        self.enqueue(Waiting { receiver, times, looked: looked.clone(), reply });
        let mut told = timeout_at(times.wait_until, &mut answer).await;
        if told.is_err() {
            if looked.load(Ordering::Acquire) {
                return Ok(None);
            }
            told = timeout_at(times.deadline, &mut answer).await;
        }
        let silent = || RedisProblem::Unreachable("no answer in time".to_owned()).into();
        told.ok().and_then(Result::ok).unwrap_or_else(|| Err(silent()))
    }

    fn enqueue(self: &Arc<Self>, waiting: Waiting) {
        let mut state = self.lock();
        state.waiting.push_back(waiting);
        if state.busy {
            self.shared.wake(self.sub_queue).notify.notify_one();
        } else {
            state.busy = true;
            tokio::spawn(self.clone().work());
        }
    }

    /// Asks for those who wait, until nobody does.
    async fn work(self: Arc<Self>) {
        while let Some(asking) = self.next() {
            let Some(said) = self.ask(asking).await else { continue };
            if !self.can_be_had(&said) {
                self.pause(&said).await;
            }
        }
    }

    /// Until somebody comes, something can be had, or has ended. What was told while Redis was asked counts.
    async fn pause(&self, said: &Status) {
        let wake = self.shared.wake(self.sub_queue);
        let pause = until_next_end(said).min(ASK_EVERY);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(0);
        wake.asks_at.store(said.now.plus(pause_ms).0, Ordering::Release);
        tokio::select! {
            () = wake.notify.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        wake.asks_at.store(0, Ordering::Release);
    }

    /// Those at the head of the line; `None`: nobody waits, and the task ends.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        state.waiting.retain(|it| !it.reply.is_closed());
        let count = state.waiting.len().min(RECEIVERS_MAX);
        state.busy = count > 0;
        (count > 0).then(|| state.waiting.drain(..count).collect())
    }

    /// `None`: Redis was not asked; all were told why.
    async fn ask(&self, asking: Vec<Waiting>) -> Option<Status> {
        let receivers = asking.iter().map(|it| it.receiver.clone()).collect();
        let (topic, sub_queue) = (self.shared.name.clone(), self.sub_queue);
        let operation = QueueOperation::Receive(Receive { topic, sub_queue, receivers });
        let stream = match sub_queue {
            SubQueue::Main => Stream::Receive,
            SubQueue::Dead => Stream::ReceiveDead,
        };
        // An answer is of use as long as anybody waits for it.
        let deadline = asking.iter().map(|it| it.times.deadline).max().unwrap_or_else(Instant::now);
        match self.shared.apply(stream, &operation, deadline).await {
            Ok(done) => {
                let status = done.status;
                self.answer(asking, done);
                Some(status)
            }
            Err(error) => {
                let error = without_outcome(error);
                for waiting in asking {
                    let _ = waiting.reply.send(Err(error.clone()));
                }
                None
            }
        }
    }

    fn answer(&self, asking: Vec<Waiting>, done: Done) {
        let mut views = done.deliveries;
        let mut left = Vec::new();
        for waiting in asking {
            let id = waiting.receiver.id;
            let (its, others): (Vec<DeliveryView>, _) =
                views.into_iter().partition(|it| it.receiver == id);
            views = others;
            if !its.is_empty() {
                let delivered = Delivered::new(&self.shared, its, done.status.now);
                // Who has gone drops it, which gives it back.
                let _ = waiting.reply.send(Ok(Some(delivered)));
            } else if waiting.times.wait_until <= Instant::now() {
                let _ = waiting.reply.send(Ok(None));
            } else {
                waiting.looked.store(true, Ordering::Release);
                left.push(waiting);
            }
        }
        let mut state = self.lock();
        for waiting in left.into_iter().rev() {
            state.waiting.push_front(waiting);
        }
    }

    fn can_be_had(&self, status: &Status) -> bool {
        match self.sub_queue {
            SubQueue::Main => status.deliverable > 0,
            SubQueue::Dead => status.dead_deliverable > 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asked for messages and got none has no outcome that could be unknown: what was delivered all the same comes
/// back when its visibility ends.
fn without_outcome(error: StoreError) -> StoreError {
    match error {
        StoreError::Redis(RedisProblem::Unanswered(why)) => RedisProblem::Unreachable(why).into(),
        error => error,
    }
}

fn until_next_end(status: &Status) -> Duration {
    let ms = status.next_due.map(|due| due.since(status.now).max(1));
    ms.map_or(ASK_EVERY, Duration::from_millis)
}
