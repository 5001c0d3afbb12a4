//! Requests that wait for messages, in one line a topic.
//!
//! A line has at most one command under way, which names those that stood in it when it was sent. Who got
//! nothing by it goes back to the head. Nothing is sent while the published state shows nothing that
//! could be delivered; the driver wakes the line when it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dsync_core::machine::{Operation, Outcome};
use dsync_core::queue::{
    Consumer, QueueOperation, QueueOutcome, QueueRefusal, Receive, Received, Receiver, ReceiverId,
    SubQueue,
};
use tokio::sync::{Notify, oneshot};

use super::{Delivered, NotDone, Shared};
use crate::handle::{Applied, SubmitError};

/// Requests that commands name at once, those with an unknown outcome among them: more than can wait here.
const NAMED_MAX: usize = 20_000;

/// Who wants messages, and of what.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From which topic.
    pub topic: String,
    /// From which part of it.
    pub sub_queue: SubQueue,
    /// Who it is, on the original routes.
    pub consumer: Option<Consumer>,
    /// Most messages.
    pub max: u32,
    /// Most bytes of messages.
    pub max_bytes: u64,
    /// How long each is this request's alone; `None`: as the topic says.
    pub visibility_ms: Option<u64>,
    /// How long to wait for the first one. Zero: what the published state shows is there now.
    pub wait: Duration,
    /// How long a command may take.
    pub step: Duration,
}

/// Why a request gets no messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The cluster does not answer.
    #[error(transparent)]
    NotDone(#[from] NotDone),
    /// What is asked for is not given.
    #[error(transparent)]
    Refused(#[from] QueueRefusal),
}

type LineKey = (String, SubQueue);
/// `None`: there is nothing, and it does not wait (any more).
type Answer = Result<Option<Delivered>, ReceiveError>;

/// All lines.
#[derive(Debug)]
pub(super) struct Lines {
    shared: Arc<Shared>,
    lines: Mutex<BTreeMap<LineKey, Line>>,
    /// Numbers of requests that a command names, with their topics, until its outcome is known.
    named: Mutex<BTreeMap<u64, String>>,
    next_number: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// Something may be ready, or somebody has come or gone.
    news: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    receiver: Receiver,
    step: Duration,
    /// It does not wait (any more): if it gets nothing now, that is its answer.
    over: Arc<AtomicBool>,
    reply: oneshot::Sender<Answer>,
}

/// A place in a line; it is left when this is dropped.
struct Place<'a> {
    lines: &'a Lines,
    key: LineKey,
    number: u64,
    over: Arc<AtomicBool>,
}

impl Lines {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            lines: Mutex::default(),
            named: Mutex::default(),
            next_number: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
        }
    }

    /// See [`Queues::receive`](super::Queues::receive).
    pub(super) async fn receive(self: &Arc<Self>, wanted: Wanted) -> Answer {
        let key = (wanted.topic.clone(), wanted.sub_queue);
        if wanted.wait.is_zero() && !self.can_deliver(&key) {
            return Ok(None);
        }
        let wait = wanted.wait;
        let (place, mut delivered) = self.stand(key, wanted)?;
        if !wait.is_zero() {
            match tokio::time::timeout(wait, &mut delivered).await {
                Ok(answer) => return taken(answer),
                // Else a command names it, and what that says is the answer.
                Err(_) => {
                    place.over.store(true, Ordering::SeqCst);
                    if place.leave() {
                        return Ok(None);
                    }
                }
            }
        }
        taken(delivered.await)
    }

    pub(super) fn ready(&self, topics: &BTreeSet<(Arc<str>, SubQueue)>) {
        if topics.is_empty() {
            return;
        }
        let lines = self.lock();
        for (topic, sub_queue) in topics {
            if let Some(line) = lines.get(&(topic.to_string(), *sub_queue)) {
                line.news.notify_one();
            }
        }
    }

    pub(super) fn all_ready(&self) {
        self.lock().values().for_each(|line| line.news.notify_one());
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().values().map(|line| line.waiting.len()).sum()
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for line in self.lock().values_mut() {
            for waiting in line.waiting.drain(..) {
                let _ = waiting.reply.send(Err(NotDone::from(SubmitError::Stopping).into()));
            }
            line.news.notify_one();
        }
    }

    fn can_deliver(&self, (topic, sub_queue): &LineKey) -> bool {
        self.shared.machine.load().queues().deliverable(topic, *sub_queue) > 0
    }

    /// Joins the line's end.
    fn stand(
        self: &Arc<Self>,
        key: LineKey,
        wanted: Wanted,
    ) -> Result<(Place<'_>, oneshot::Receiver<Answer>), ReceiveError> {
        let (reply, delivered) = oneshot::channel();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let receiver = Receiver {
            id: ReceiverId { boot: self.shared.boot, number },
            consumer: wanted.consumer,
            max: wanted.max,
            max_bytes: wanted.max_bytes,
            visibility_ms: wanted.visibility_ms,
        };
        let over = Arc::new(AtomicBool::new(wanted.wait.is_zero()));
        let waiting = Waiting { receiver, step: wanted.step, over: over.clone(), reply };
        let mut lines = self.lock();
        if self.stopping.load(Ordering::SeqCst) {
            return Err(NotDone::from(SubmitError::Stopping).into());
        }
        let idle = !lines.contains_key(&key);
        let line = lines.entry(key.clone()).or_default();
        line.waiting.push_back(waiting);
        line.news.notify_one();
        if idle {
            tokio::spawn(self.clone().run(key.clone(), line.news.clone()));
        }
        Ok((Place { lines: self, key, number, over }, delivered))
    }

    /// Serves a line until nobody stands in it.
    async fn run(self: Arc<Self>, key: LineKey, news: Arc<Notify>) {
        while !self.end_if_empty(&key) {
            match self.next_batch(&key) {
                None => {
                    self.dismiss(&key);
                    news.notified().await;
                }
                Some(batch) => self.serve(&key, batch).await,
            }
        }
    }

    /// There is nothing: who does not wait is told so.
    fn dismiss(&self, key: &LineKey) {
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(key) else { return };
        let waiting = std::mem::take(&mut line.waiting);
        let (over, waits): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(Waiting::is_over);
        line.waiting = waits;
        for waiting in over {
            let _ = waiting.reply.send(Ok(None));
        }
        if line.waiting.is_empty() {
            line.news.notify_one();
        }
    }

    fn end_if_empty(&self, key: &LineKey) -> bool {
        let mut lines = self.lock();
        let empty = lines.get(key).is_none_or(|line| line.waiting.is_empty());
        if empty {
            lines.remove(key);
        }
        empty
    }

    /// Those who are named next; `None`: there is nothing for them.
    fn next_batch(&self, key: &LineKey) -> Option<Vec<Waiting>> {
        if !self.can_deliver(key) {
            return None;
        }
        let max = self.shared.machine.load().settings().map(|it| it.queues.batch_max);
        let max = usize::try_from(max.unwrap_or(1)).unwrap_or(usize::MAX);
        let mut lines = self.lock();
        let waiting = &mut lines.get_mut(key)?.waiting;
        let count = waiting.len().min(max);
        Some(waiting.drain(..count).collect())
    }

    async fn serve(&self, key: &LineKey, batch: Vec<Waiting>) {
        let step = batch.iter().map(|waiting| waiting.step).max().unwrap_or_default();
        let receive = Receive {
            topic: key.0.clone(),
            sub_queue: key.1,
            receivers: batch.iter().map(|waiting| waiting.receiver.clone()).collect(),
        };
        let operation = Operation::queue(QueueOperation::Receive(receive));
        self.name(key, &batch);
        let answer = self.shared.driver.submit(operation, Instant::now() + step).await;
        if !matches!(answer, Err(SubmitError::Unknown)) {
            self.forget(&batch);
        }
        match received(answer) {
            Ok((received, applied)) => self.hand_out(key, batch, received, &applied),
            Err(error) => {
                for waiting in batch {
                    let _ = waiting.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Before it is sent: it may be applied before anything else is done here.
    fn name(&self, key: &LineKey, batch: &[Waiting]) {
        let mut named = self.named();
        named.extend(batch.iter().map(|waiting| (waiting.receiver.id.number, key.0.clone())));
        while named.len() > NAMED_MAX {
            named.pop_first();
        }
    }

    fn forget(&self, batch: &[Waiting]) {
        let mut named = self.named();
        for waiting in batch {
            named.remove(&waiting.receiver.id.number);
        }
    }

    /// See [`Queues::received_late`](super::Queues::received_late).
    pub(super) fn received_late(&self, received: Vec<Received>) {
        for got in received.into_iter().filter(|got| !got.receipts.is_empty()) {
            let topic = self.named().remove(&got.receiver.number);
            if let Some(topic) = topic {
                self.shared.give_back(&topic, got.receipts);
            }
        }
    }

    fn hand_out(
        &self,
        key: &LineKey,
        batch: Vec<Waiting>,
        received: Vec<Received>,
        applied: &Applied,
    ) {
        let mut received: BTreeMap<u64, Received> =
            received.into_iter().map(|it| (it.receiver.number, it)).collect();
        let mut unserved = VecDeque::new();
        for waiting in batch {
            let Some(got) = received.remove(&waiting.receiver.id.number) else {
                unserved.push_back(waiting);
                continue;
            };
            let answer = match got.refusal {
                Some(refusal) => Err(refusal.into()),
                None => Ok(Some(Delivered::new(&self.shared, &key.0, got.receipts, applied))),
            };
            // To a client that has gone: dropped, it is given back.
            let _ = waiting.reply.send(answer);
        }
        self.take_back(key, unserved);
    }

    /// To the head of the line, in their order, but for those who have gone. Who does not wait is named
    /// again too, while there may be something: a command looks only past so many messages that have
    /// expired.
    fn take_back(&self, key: &LineKey, unserved: VecDeque<Waiting>) {
        let there_may_be_more = self.can_deliver(key);
        let mut lines = self.lock();
        let stopping = self.stopping.load(Ordering::SeqCst);
        for waiting in unserved.into_iter().rev().filter(|it| !it.reply.is_closed()) {
            if waiting.is_over() && !there_may_be_more {
                let _ = waiting.reply.send(Ok(None));
            } else if stopping {
                let _ = waiting.reply.send(Err(NotDone::from(SubmitError::Stopping).into()));
            } else if let Some(line) = lines.get_mut(key) {
                line.waiting.push_front(waiting);
            }
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LineKey, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl Place<'_> {
    /// Leaves the line. False: it stands in it no more, since a command names it.
    fn leave(&self) -> bool {
        let mut lines = self.lines.lock();
        let Some(line) = lines.get_mut(&self.key) else { return false };
        let before = line.waiting.len();
        line.waiting.retain(|waiting| waiting.receiver.id.number != self.number);
        line.news.notify_one();
        line.waiting.len() < before
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a receive's command has delivered to whom.
fn received(
    answer: Result<Applied, SubmitError>,
) -> Result<(Vec<Received>, Applied), ReceiveError> {
    let applied = answer.map_err(NotDone::from)?;
    match &applied.outcome {
        Outcome::Queue(QueueOutcome::Received(received)) => Ok((received.clone(), applied)),
        // It was deleted meanwhile: as if there was nothing in it.
        Outcome::Queue(QueueOutcome::Refused(QueueRefusal::NoTopic)) => Ok((Vec::new(), applied)),
        Outcome::Queue(QueueOutcome::Refused(refusal)) => Err(refusal.clone().into()),
        Outcome::Void => Err(NotDone::Void.into()),
        other => {
            tracing::error!(?other, "a receive was answered by something else");
            Err(NotDone::from(SubmitError::Unknown).into())
        }
    }
}

/// A line that has ended without a word: the runtime stops.
fn taken(answer: Result<Answer, oneshot::error::RecvError>) -> Answer {
    answer.unwrap_or_else(|_| Err(NotDone::from(SubmitError::Stopping).into()))
}
