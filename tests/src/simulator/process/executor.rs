//! Runs futures without a runtime: woken ones are polled in the order of their numbers, when they are
//! told to be. So a run depends on nothing but its events.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Futures under way.
pub(super) struct Executor<T> {
    tasks: BTreeMap<u64, Task<T>>,
    last_number: u64,
    woken: Arc<Woken>,
}

struct Task<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    waker: Waker,
}

/// Numbers of those to be polled.
#[derive(Debug, Default)]
struct Woken(Mutex<BTreeSet<u64>>);

struct TaskWaker {
    number: u64,
    woken: Arc<Woken>,
}

impl<T> Executor<T> {
    pub(super) fn new() -> Self {
        Self { tasks: BTreeMap::new(), last_number: 0, woken: Arc::default() }
    }

    /// Takes in a future; it is polled first when the others are.
    pub(super) fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let waker = Waker::from(Arc::new(TaskWaker { number, woken: self.woken.clone() }));
        waker.wake_by_ref();
        self.tasks.insert(number, Task { future: Box::pin(future), waker });
        number
    }

    /// Polls who was woken, until one is done; `None`: nobody is to be polled any more.
    pub(super) fn run(&mut self) -> Option<(u64, T)> {
        loop {
            let number = self.woken.lock().pop_first()?;
            let Some(task) = self.tasks.get_mut(&number) else { continue };
            let mut context = Context::from_waker(&task.waker);
            if let Poll::Ready(result) = task.future.as_mut().poll(&mut context) {
                self.tasks.remove(&number);
                return Some((number, result));
            }
        }
    }

    /// True if somebody is to be polled.
    pub(super) fn has_woken(&self) -> bool {
        !self.woken.lock().is_empty()
    }

    /// Drops a future where it stands.
    pub(super) fn abort(&mut self, number: u64) {
        self.tasks.remove(&number);
    }
}

impl<T> fmt::Debug for Executor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.keys()).finish_non_exhaustive()
    }
}

impl Woken {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().insert(self.number);
    }
}
