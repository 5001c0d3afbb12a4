//! What is asked for: names, modes, lease, patience.

use std::future::Future;
use std::time::Duration;

use dsync_core::locks::Mode;
use serde_json::{Map, Value, json};

use crate::acquire;
use crate::client::Client;
use crate::given_up::GivenUp;
use crate::hold::Hold;
use crate::lock_error::LockError;

const TTL_DEFAULT: Duration = Duration::from_secs(30);
const WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// A request for one lock, or for several at once, which are granted together or not at all.
///
/// What is not said: exclusive, a lease of 30 s (renewed for as long as the [`Hold`] lives), a wait of
/// at most 60 s.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is acquired"]
pub struct LockRequest {
    pub(crate) client: Client,
    items: Vec<Item>,
    /// `None`: no lease.
    pub(crate) ttl: Option<Duration>,
    /// It is held so long at least.
    pub(crate) at_least: Option<Duration>,
    wait: Duration,
}

#[derive(Clone, Debug)]
struct Item {
    name: String,
    mode: Mode,
    permits: u32,
    permits_max: u32,
}

impl LockRequest {
    pub(crate) fn new(client: Client, name: String) -> Self {
        let (ttl, wait) = (Some(TTL_DEFAULT), WAIT_DEFAULT);
        Self { client, items: vec![Item::new(name)], ttl, at_least: None, wait }
    }

    /// Asks for another lock together with those named before. Modes go with the name before them.
    pub fn and(mut self, name: impl Into<String>) -> Self {
        self.items.push(Item::new(name.into()));
        self
    }

    /// The lock named last: beside other shared holders.
    pub fn shared(self) -> Self {
        self.mode(Mode::Shared, 1, 1)
    }

    /// The lock named last: alone. That is also what is meant if nothing is said.
    pub fn exclusive(self) -> Self {
        self.mode(Mode::Exclusive, 1, 1)
    }

    /// The lock named last is a semaphore: `permits` of its `permits_max`. Everybody who uses the name
    /// has to say the same `permits_max`.
    pub fn permits(self, permits: u32, permits_max: u32) -> Self {
        self.mode(Mode::Permits, permits, permits_max)
    }

    /// The lease: after this time without an answered renewal the lock is free for the next one.
    /// Renewed at a third of it. Counted in whole milliseconds, at least one.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl.max(Duration::from_millis(1)));
        self
    }

    /// No lease: held until released, also if this program dies.
    pub fn without_lease(mut self) -> Self {
        self.ttl = None;
        self
    }

    /// Holds it so long at least, from its grant, however early it is released and whatever becomes of
    /// this program: for a job that several machines begin a moment apart, and of which one is to run.
    /// [`Hold::release`] then gives it back when that time is over; if this program ends before, the
    /// lease does.
    pub fn hold_at_least(mut self, time: Duration) -> Self {
        self.at_least = Some(time);
        self
    }

    /// How long to stand in the queue. Zero: do not wait, as [`try_acquire`](Self::try_acquire).
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Acquires: returns when everything is held, or when it is clear that it will not be.
    ///
    /// Dropping the future leaves the queue. If the grant was on its way at that moment, that is found
    /// out in the background, as far as the runtime still runs, and the lock is given back. So is one
    /// that may have been granted when no node answered in time ([`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown)). Until then
    /// this agent's next request for the same lock waits.
    ///
    /// # Errors
    /// [`LockError`] says what is in the way.
    pub async fn acquire(self) -> Result<Hold, LockError> {
        acquire::acquire(&self, self.wait, &GivenUp::default()).await
    }

    /// As [`acquire`](Self::acquire), until `give_up` resolves. `None`: it was given up, and nothing is
    /// held; a grant that was on its way has been given back.
    ///
    /// # Errors
    /// As there; [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) also if it was given up and no node has said what became of
    /// it: then it may be held until its lease ends it.
    pub async fn acquire_unless(
        self,
        give_up: impl Future<Output = ()>,
    ) -> Result<Option<Hold>, LockError> {
        let given_up = GivenUp::default();
        tokio::select! {
            held = acquire::acquire(&self, self.wait, &given_up) => return held.map(Some),
            () = give_up => {}
        }
        given_up.settled().await?;
        Ok(None)
    }

    /// Acquires if that is possible at once.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire); [`LockError::Held`] if somebody else has it.
    pub async fn try_acquire(self) -> Result<Hold, LockError> {
        acquire::acquire(&self, Duration::ZERO, &GivenUp::default()).await
    }

    fn mode(mut self, mode: Mode, permits: u32, permits_max: u32) -> Self {
        if let Some(item) = self.items.last_mut() {
            (item.mode, item.permits, item.permits_max) = (mode, permits, permits_max);
        }
        self
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.items.iter().map(|item| item.name.clone()).collect()
    }

    /// The lease that is asked for first: it lasts for as long as the lock is held at least, also if
    /// nobody renews it.
    pub(crate) fn granted_ttl(&self) -> Option<Duration> {
        self.ttl.map(|ttl| ttl.max(self.at_least.unwrap_or_default()))
    }

    /// Path and body, without the time to wait.
    pub(crate) fn draw(&self) -> (Vec<&str>, Value) {
        let mut body = Map::new();
        body.insert("owner".to_owned(), json!(self.client.owner()));
        body.insert("ttl".to_owned(), ttl_json(self.granted_ttl()));
        let path = match self.items.as_slice() {
            [item] => {
                item.draw(&mut body);
                vec!["v1", "locks", &item.name, "acquire"]
            }
            items => {
                let locks = items.iter().map(|item| {
                    let mut lock = Map::new();
                    lock.insert("name".to_owned(), json!(item.name));
                    item.draw(&mut lock);
                    Value::Object(lock)
                });
                body.insert("locks".to_owned(), locks.collect());
                vec!["v1", "locks", "acquire"]
            }
        };
        (path, Value::Object(body))
    }
}

impl Item {
    fn new(name: String) -> Self {
        Self { name, mode: Mode::Exclusive, permits: 1, permits_max: 1 }
    }

    fn draw(&self, body: &mut Map<String, Value>) {
        body.insert("mode".to_owned(), json!(self.mode));
        if self.mode == Mode::Permits {
            body.insert("permits".to_owned(), json!(self.permits));
            body.insert("permits_max".to_owned(), json!(self.permits_max));
        }
    }
}

/// A lease as the nodes want it: whole milliseconds, 0 for none.
pub(crate) fn ttl_json(ttl: Option<Duration>) -> Value {
    json!(ttl.map_or(0, millis))
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
