//! The clients at work.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout_at};

use super::dsync::DsyncClient;
use super::etcd::EtcdClient;
use super::measures::{CycleTimes, Measures, Window};
use super::pace::{Metronome, Starts};
use super::plan::{Api, Plan};
use super::protocol::{Protocol, Seat, Trouble};
use super::report::Report;

/// After a cycle that failed, so that a service that refuses at once is not stormed.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The system has no thread, or no memory, to give.
    #[error("cannot start the clients: {0}")]
    Start(#[from] std::io::Error),
    /// A histogram was refused.
    #[error("cannot start the clients: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A thread of clients has panicked.
    #[error("a thread of clients has failed")]
    Thread,
}

/// Carries the plan out and says what came of it. Blocks for the warm-up and the duration, and at most
/// for the time of a request more.
///
/// # Errors
/// If the clients cannot be started. What the servers do wrong is in the report.
pub fn run(plan: &Plan) -> Result<Report, BenchError> {
    let (mut starts, metronome) = Metronome::new(plan.pace, plan.clients);
    let threads = plan.threads.min(plan.clients);
    let mut total = Measures::new()?;
    // All that may fail comes before the barrier: who did not reach it would keep the others there.
    let runtimes: Vec<Runtime> = (0..threads)
        .map(|_| Builder::new_current_thread().enable_all().build())
        .collect::<Result<_, _>>()?;
    // One more: this thread, which sets the pace.
    let begin = Begin { all: Barrier::new(threads + 1), at: OnceLock::new() };
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (thread, runtime) in runtimes.into_iter().enumerate() {
            let numbers = (thread..plan.clients).step_by(threads);
            let take = |n: usize| (n, std::mem::replace(&mut starts[n], Starts::AtOnce));
            let clients: Vec<_> = numbers.map(take).collect();
            let (begin, measures) = (&begin, total.clone());
            workers.push(scope.spawn(move || work(plan, &runtime, clients, measures, begin)));
        }
        let now = begin.wait();
        if let Some(metronome) = metronome {
            metronome.beat(now, now + plan.warmup + plan.duration);
        }
        for worker in workers {
            total.add(&worker.join().map_err(|_| BenchError::Thread)?);
        }
        Ok(Report::new(plan, &total))
    })
}

/// All threads begin together, and agree on when that was.
struct Begin {
    all: Barrier,
    at: OnceLock<Instant>,
}

impl Begin {
    /// Blocks until all are here.
    fn wait(&self) -> Instant {
        self.all.wait();
        *self.at.get_or_init(Instant::now)
    }
}

/// One thread's clients.
fn work(
    plan: &Plan,
    runtime: &Runtime,
    clients: Vec<(usize, Starts)>,
    measures: Measures,
    begin: &Begin,
) -> Measures {
    let measures = Rc::new(RefCell::new(measures));
    match plan.api {
        Api::V1 | Api::Original => {
            let make = |seat| DsyncClient::new(seat, plan.api);
            drive(plan, runtime, clients, &measures, begin, make);
        }
        Api::EtcdLock | Api::EtcdMutex => {
            let make = |seat| EtcdClient::new(seat, plan.api);
            drive(plan, runtime, clients, &measures, begin, make);
        }
    }
    let measures = measures.borrow();
    measures.clone()
}

fn drive<P: Protocol + 'static>(
    plan: &Plan,
    runtime: &Runtime,
    clients: Vec<(usize, Starts)>,
    measures: &Rc<RefCell<Measures>>,
    begin: &Begin,
    make: impl Fn(Seat) -> P,
) {
    let mut ready = Vec::new();
    runtime.block_on(async {
        for (number, starts) in clients {
            let mut protocol = make(Seat::new(plan, number));
            // If it does not work, the first cycle says so.
            let _ = protocol.connect().await;
            let names = Names::new(plan, number);
            ready.push(Client { protocol, names, starts, measures: Rc::clone(measures) });
        }
    });
    let from = begin.wait() + plan.warmup;
    let window = Window { from, until: from + plan.duration };
    let grace = plan.timeout;
    LocalSet::new().block_on(runtime, async move {
        let mut running = JoinSet::new();
        for client in ready {
            running.spawn_local(client.run(window, window.until + grace));
        }
        while running.join_next().await.is_some() {}
    });
}

/// One owner at work.
struct Client<P> {
    protocol: P,
    names: Names,
    starts: Starts,
    measures: Rc<RefCell<Measures>>,
}

impl<P: Protocol> Client<P> {
    /// Until there is nothing more to begin, or `deadline`.
    async fn run(mut self, window: Window, deadline: Instant) {
        while let Some(planned) = self.starts.next(window).await {
            match timeout_at(deadline.into(), self.cycle(planned, window)).await {
                Ok(true) => {}
                Ok(false) => sleep(AFTER_ERROR).await,
                Err(_) => {
                    let lost = self.starts.left(window) + u64::from(window.contains(planned));
                    self.measures.borrow_mut().unfinished += lost;
                    break;
                }
            }
        }
        self.protocol.leave().await;
    }

    async fn cycle(&mut self, planned: Instant, window: Window) -> bool {
        let result = self.try_cycle(planned).await;
        let mut measures = self.measures.borrow_mut();
        match &result {
            Ok((times, asked_again)) => {
                measures.cycle(window, *times);
                measures.asked_again += asked_again;
            }
            Err(trouble) => measures.error(window, planned, &trouble.code),
        }
        result.is_ok()
    }

    async fn try_cycle(&mut self, planned: Instant) -> Result<(CycleTimes, u64), Trouble> {
        let name = self.names.next();
        let asked_again = self.protocol.acquire(name).await?;
        let acquired = Instant::now();
        self.protocol.release(name).await?;
        Ok((CycleTimes { planned, acquired, released: Instant::now() }, asked_again))
    }
}

/// The names that a client asks for.
struct Names {
    names: Vec<String>,
    /// A simple generator's state: which name comes next matters to nobody, only that all come.
    random: u64,
}

impl Names {
    fn new(plan: &Plan, client: usize) -> Self {
        let name = |number: usize| format!("{}-lock-{number}", plan.prefix);
        let names = match plan.names {
            None => vec![name(client)],
            Some(count) => (0..count).map(name).collect(),
        };
        Self { names, random: client as u64 }
    }

    fn next(&mut self) -> &str {
        // Knuth's MMIX generator; its upper half is the random one.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005);
        self.random = self.random.wrapping_add(1_442_695_040_888_963_407);
        let chosen = (self.random >> 32) % self.names.len() as u64;
        &self.names[usize::try_from(chosen).unwrap_or_default()]
    }
}
