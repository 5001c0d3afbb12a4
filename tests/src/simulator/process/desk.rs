//! Where the futures of one process leave what they want, and get what came of it: the simulated
//! [`Site`]. The process looks at its desk after every event.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dsync_core::machine::{Applied, Machine, Operation, Outcome};
use dsync_core::types::{ClusterTime, LocalTime};
use dsync_core::waits::{ReadState, Site, SubmitError};

/// See the module.
#[derive(Debug)]
pub(super) struct Desk(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    now: LocalTime,
    machine: Arc<Machine>,
    orders: Vec<Order>,
    sleepers: BTreeMap<(LocalTime, u64), Waker>,
    last_sleeper: u64,
    bug: Option<String>,
}

/// What a future wants of its process.
#[derive(Debug)]
pub(super) enum Order {
    Submit { operation: Box<Operation>, deadline: LocalTime, reply: Reply<Applied> },
    Barrier { deadline: LocalTime, reply: Reply<ClusterTime> },
}

/// Where an answer goes, and is waited for.
#[derive(Debug)]
pub(super) struct Reply<T>(Arc<Mutex<Waited<T>>>);

#[derive(Debug)]
struct Waited<T> {
    answer: Option<Result<T, SubmitError>>,
    waker: Option<Waker>,
}

impl Desk {
    pub(super) fn new(now: LocalTime, machine: Machine) -> Self {
        Self(Mutex::new(Inner {
            now,
            machine: Arc::new(machine),
            orders: Vec::new(),
            sleepers: BTreeMap::new(),
            last_sleeper: 0,
            bug: None,
        }))
    }

    /// Time passes.
    pub(super) fn set_now(&self, now: LocalTime) {
        let mut inner = self.lock();
        inner.now = now;
        let asleep = inner.sleepers.split_off(&(now.plus(1), 0));
        let due = std::mem::replace(&mut inner.sleepers, asleep);
        drop(inner);
        due.into_values().for_each(Waker::wake);
    }

    /// Shows what is applied.
    pub(super) fn publish(&self, machine: &Machine) {
        self.lock().machine = Arc::new(machine.clone());
    }

    /// What was ordered since the last look.
    pub(super) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.lock().orders)
    }

    /// What a future says that must never be.
    pub(super) fn take_bug(&self) -> Option<String> {
        self.lock().bug.take()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site for Desk {
    async fn submit(
        &self,
        operation: Operation,
        deadline: LocalTime,
    ) -> Result<Applied, SubmitError> {
        let reply = Reply::new();
        let operation = Box::new(operation);
        let order = Order::Submit { operation, deadline, reply: reply.clone() };
        self.lock().orders.push(order);
        reply.answer().await
    }

    async fn read(&self, deadline: LocalTime) -> Result<ReadState, SubmitError> {
        let reply = Reply::new();
        self.lock().orders.push(Order::Barrier { deadline, reply: reply.clone() });
        let time = reply.answer().await?;
        Ok(ReadState::new(self.machine(), time))
    }

    fn machine(&self) -> Arc<Machine> {
        self.lock().machine.clone()
    }

    fn now(&self) -> LocalTime {
        self.lock().now
    }

    fn sleep_until(&self, at: LocalTime) -> impl Future<Output = ()> + Send {
        Sleep { desk: self, at, number: None }
    }

    fn answered_by_another(&self, outcome: &Outcome) {
        self.lock().bug.get_or_insert_with(|| format!("{outcome:?}"));
    }
}

impl<T> Reply<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Waited { answer: None, waker: None })))
    }

    pub(super) fn fill(&self, answer: Result<T, SubmitError>) {
        let mut waited = self.lock();
        waited.answer = Some(answer);
        let waker = waited.waker.take();
        drop(waited);
        waker.into_iter().for_each(Waker::wake);
    }

    async fn answer(&self) -> Result<T, SubmitError> {
        poll_fn(|context| {
            let mut waited = self.lock();
            if let Some(answer) = waited.answer.take() {
                return Poll::Ready(answer);
            }
            waited.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Waited<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A timer; dropped, it is none any more.
struct Sleep<'a> {
    desk: &'a Desk,
    at: LocalTime,
    /// Under which it is known at the desk.
    number: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.desk.lock();
        if inner.now >= self.at {
            return Poll::Ready(());
        }
        let number = self.number.unwrap_or(inner.last_sleeper + 1);
        inner.last_sleeper = inner.last_sleeper.max(number);
        inner.sleepers.insert((self.at, number), context.waker().clone());
        drop(inner);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.desk.lock().sleepers.remove(&(self.at, number));
        }
    }
}
