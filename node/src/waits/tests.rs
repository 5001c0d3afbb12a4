//! Every rule of waiting, on a real machine behind a stand-in for the driver.

mod driver;
mod grants;
mod leaving;
mod losing;
mod stopping;

use std::time::Duration;

use dsync_core::locks::{Acquire, LockItem, Mode, Owner};
use tokio::time::Instant;

use super::{Answer, Patience, WaitOutcome};
use crate::handle::SubmitError;
use driver::World;

/// What a request that may wait comes back with.
type Answered = Result<Answer, SubmitError>;

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".into(), name: name.into() }
}

fn ask(who: &str, lock: &str) -> Acquire {
    let item = LockItem { name: lock.into(), mode: Mode::Exclusive, permits: 1, permits_max: 1 };
    let (owner, items) = (owner(who), vec![item]);
    Acquire { owner, items, ttl_ms: Some(60_000), queue: true, attachment: None }
}

fn shared(who: &str, lock: &str) -> Acquire {
    let mut ask = ask(who, lock);
    ask.items[0].mode = Mode::Shared;
    ask
}

/// Waits so many seconds, and gives each step five.
fn seconds(wait: u64) -> Patience {
    let deadline = (Instant::now() + Duration::from_secs(5)).into_std();
    Patience { wait: Duration::from_secs(wait), deadline }
}

/// A request under way.
struct Waiting(tokio::task::JoinHandle<Answered>);

impl Waiting {
    /// Asks, and comes back when the machine has it in a queue.
    async fn queued(world: &World, ask: Acquire, wait: u64) -> Self {
        let waits = world.machine().locks().waits();
        let waiting = Self::begun(world, ask, wait);
        world.until(move |machine| machine.locks().waits() > waits).await;
        waiting
    }

    fn begun(world: &World, ask: Acquire, wait: u64) -> Self {
        let node = world.node.clone();
        Self(tokio::spawn(async move { node.acquire(None, ask, seconds(wait)).await }))
    }

    async fn answer(self) -> Answered {
        self.0.await.unwrap()
    }

    /// The connection breaks.
    async fn hang_up(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

fn outcome(answer: Answered) -> WaitOutcome {
    answer.unwrap().deliver()
}

fn error(answer: Answered) -> SubmitError {
    answer.unwrap_err()
}

fn is_granted(outcome: &WaitOutcome) -> bool {
    matches!(outcome, WaitOutcome::Granted { .. })
}
