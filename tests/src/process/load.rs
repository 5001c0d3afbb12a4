//! Clients that take and give back locks all the time, on any node, while the nodes suffer.
//!
//! Each client is a closed loop: one request at a time, the next one when that is answered. A round is:
//! ask until the lock is granted, look or ask again while it is held, give it back until that is
//! answered. A client never does what a careful one would not: after a request without an answer it
//! asks again in the same name until it knows.
//!
//! Some clients stay with one node, so that a node that hangs has clients that hang with it, and
//! others go from node to node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::history::{Checked, Histories, LockId};
use super::lock_model::Operation;
use super::locks::{Answer, LockClient, Mode, Trouble};
use super::seeded::Seeded;
use super::until::until;

/// Pause after an answer that says "not now".
const PAUSE: Duration = Duration::from_millis(15);
/// A client that has waited for so long goes elsewhere.
const WAIT_MAX: Duration = Duration::from_secs(8);

/// What the clients do.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where they may ask.
    pub nodes: Vec<SocketAddr>,
    /// How many clients go from node to node.
    pub roaming: usize,
    /// How many stay with each node.
    pub staying: usize,
    /// How many locks they share.
    pub locks: usize,
    /// How many of a hundred rounds ask for the lock shared.
    pub shared_percent: usize,
    /// How long a client that roams waits for an answer.
    pub timeout: Duration,
    /// How long one that stays does.
    pub staying_timeout: Duration,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    histories: Arc<Histories>,
    nodes: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sets the clients to work on locks whose names begin with `prefix`.
    #[must_use]
    pub fn start(prefix: &str, plan: &LoadPlan) -> Self {
        let histories = Arc::new(Histories::new(prefix, plan.locks));
        let stop = Arc::new(AtomicBool::new(false));
        let staying = plan.nodes.iter().flat_map(|node| (0..plan.staying).map(|_| vec![*node]));
        let places = staying.chain((0..plan.roaming).map(|_| plan.nodes.clone()));
        let clients = places.enumerate().map(|(number, nodes)| {
            let stays = nodes.len() == 1;
            let timeout = if stays { plan.staying_timeout } else { plan.timeout };
            let client = Client {
                owner: format!("client-{number}"),
                nodes: nodes.iter().map(|node| LockClient::new(*node, timeout)).collect(),
                chance: Seeded(number as u64),
                plan: plan.clone(),
                histories: Arc::clone(&histories),
                stop: Arc::clone(&stop),
            };
            thread::spawn(move || client.work())
        });
        let clients = clients.collect();
        Self { histories, nodes: plan.nodes.clone(), stop, clients }
    }

    /// Waits until the clients were given locks `count` times more.
    pub fn await_grants(&self, count: usize) {
        let enough = self.histories.grants() + count;
        until("the clients are served", || (self.histories.grants() >= enough).then_some(()));
    }

    /// Lets the clients finish their rounds, looks at every lock once more, and checks it all.
    ///
    /// # Panics
    /// If a client failed, or what the clients were told makes no sense.
    #[must_use]
    pub fn finish(mut self) -> Checked {
        self.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.join().expect("no client was told nonsense");
        }
        self.look_at_all();
        self.histories.check()
    }

    fn look_at_all(&self) {
        let mut clients = self.nodes.iter().map(|node| LockClient::new(*node, WAIT_MAX));
        let mut client = clients.next().expect("there are nodes");
        for id in self.histories.names() {
            let name = self.histories.name(id);
            let look = || client.look(&name).map(Answer::Seen);
            let _ = self.histories.record(id, Operation::Look, look);
        }
    }
}

impl Drop for Load {
    /// The test has failed elsewhere: the clients must not outlive the nodes.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    owner: String,
    nodes: Vec<LockClient>,
    chance: Seeded,
    plan: LoadPlan,
    histories: Arc<Histories>,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn work(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let lock = self.histories.current(self.chance.below(self.plan.locks));
            let shared = self.chance.percent(self.plan.shared_percent);
            self.round(lock, if shared { Mode::Shared } else { Mode::Exclusive });
        }
    }

    fn round(&mut self, lock: LockId, mode: Mode) {
        let began = Instant::now();
        while !matches!(self.acquire(lock, mode), Ok(Answer::Granted { .. })) {
            if began.elapsed() > WAIT_MAX || self.stop.load(Ordering::Relaxed) {
                break;
            }
            if self.chance.percent(20) {
                self.look(lock);
            }
            sleep(PAUSE);
        }
        while self.chance.percent(50) {
            self.look(lock);
            if self.chance.percent(30) {
                let _ = self.acquire(lock, mode);
            }
        }
        self.give_back(lock, mode);
    }

    /// An owner for each mode: a request of this client that took effect late, in the other mode,
    /// would make an upgrade of this one, and those have suites of their own.
    fn owner(&self, mode: Mode) -> String {
        format!("{}-{}", self.owner, mode.word())
    }

    /// Until it is answered: a hold that is forgotten would keep everybody else waiting. When all is
    /// over, a cluster that does not serve is for the test to find.
    fn give_back(&mut self, lock: LockId, mode: Mode) {
        let began = Instant::now();
        while self.release(lock, mode).is_err() {
            if self.stop.load(Ordering::Relaxed) && began.elapsed() > WAIT_MAX {
                return;
            }
            sleep(PAUSE);
        }
    }

    fn acquire(&mut self, lock: LockId, mode: Mode) -> Result<Answer, Trouble> {
        let owner = self.owner(mode);
        let operation = Operation::Acquire { owner: owner.clone(), mode };
        self.call(lock, operation, |client, name| client.acquire(name, &owner, mode))
    }

    fn release(&mut self, lock: LockId, mode: Mode) -> Result<Answer, Trouble> {
        let owner = self.owner(mode);
        let operation = Operation::Release { owner: owner.clone() };
        self.call(lock, operation, |client, name| client.release(name, &owner))
    }

    fn look(&mut self, lock: LockId) {
        let _ =
            self.call(lock, Operation::Look, |client, name| client.look(name).map(Answer::Seen));
    }

    fn call(
        &mut self,
        lock: LockId,
        operation: Operation,
        call: impl FnOnce(&mut LockClient, &str) -> Result<Answer, Trouble>,
    ) -> Result<Answer, Trouble> {
        let name = self.histories.name(lock);
        let node = self.chance.below(self.nodes.len());
        let client = &mut self.nodes[node];
        self.histories.record(lock, operation, || call(client, &name))
    }
}
