//! One writer for the log: it takes what queued while the last sync ran, writes all of it, and
//! syncs once.
//!
//! So the size of a batch follows the load by itself: a lone record is synced at once, and under
//! load one `fdatasync` carries whatever came in the meantime. A timer that waits for more would
//! make the lone record slower and the loaded writer no faster.
//!
//! Proofs are handed back in the order of the batches, and only after the sync that covers them.
//! Want of room is no failure: the batches stay queued and are tried again, which the owner learns
//! by an event, as it also shows in the age of its oldest outstanding sync. Any other failure is
//! final: the owner is told once, the thread ends, and so must the process.
//!
//! [`SyncWriter`] is the same without the thread, for simulations that run on one thread.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dsync_core::raft::{PersistBatch, Record, SyncProof, SyncToken};

use super::log::{Log, LogError, Space};

/// How long the queue must be empty before the end mark is written. It bounds the time in which a
/// flipped bit in the last batch cannot be told from a torn tail.
const IDLE: Duration = Duration::from_millis(50);
/// How much longer it must be empty before the end is stated in a file of its own too.
const IDLE_LONG: Duration = Duration::from_millis(200);
/// How long to wait before a batch is tried again for which there was no room.
const SPACE_RETRY: Duration = Duration::from_millis(500);

/// What can be written: records, with a duty that a sync turns into a proof.
pub trait Batch: Send + 'static {
    /// The duty.
    type Token: Send;
    /// The proof that it was done.
    type Proof: Send;
    /// The records to write, and the duty to sync them.
    fn into_parts(self) -> (Vec<Record>, Self::Token);
    /// Called only after the sync that covers the batch has succeeded.
    fn prove(token: Self::Token) -> Self::Proof;
}

impl Batch for PersistBatch {
    type Token = SyncToken;
    type Proof = SyncProof;

    fn into_parts(self) -> (Vec<Record>, SyncToken) {
        Self::into_parts(self)
    }

    fn prove(token: SyncToken) -> SyncProof {
        token.synced()
    }
}

/// What one write and sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteReport {
    /// Records written.
    pub records: usize,
    /// Batches that shared the sync.
    pub batches: usize,
    /// Bytes that the log grew by, frames and padding included.
    pub bytes: u64,
    /// How long the sync took.
    pub sync: Duration,
}

/// What the writer tells its owner.
#[derive(Debug)]
pub enum WriterEvent<P> {
    /// These batches are durable, in order.
    Synced {
        /// One proof for each.
        proofs: Vec<P>,
        /// For metrics.
        report: WriteReport,
    },
    /// There is no room for another segment. Repeated at every attempt; what fits into the current
    /// segment is still written.
    SpaceShort,
    /// There is room again.
    SpaceReady,
    /// Final: the process must end.
    Failed(LogError),
}

/// Writes batches on the caller's thread.
#[derive(Debug)]
pub struct SyncWriter {
    log: Log,
}

impl SyncWriter {
    /// Takes over an open log.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self { log }
    }

    /// Writes batches one by one, syncs once, and gives back their proofs in order.
    ///
    /// # Errors
    /// Any [`LogError`]; the proofs are then lost, so even after want of room the node must start
    /// again. [`LogWriter`] retries.
    pub fn write_and_sync<B: Batch>(&mut self, batches: Vec<B>) -> Result<Vec<B::Proof>, LogError> {
        let mut tokens = Vec::new();
        for batch in batches {
            let (records, token) = batch.into_parts();
            self.log.append(&records)?;
            tokens.push(token);
        }
        self.log.sync()?;
        self.log.maintain()?;
        Ok(tokens.into_iter().map(B::prove).collect())
    }

    /// States the end of the log: call it when nothing is to be written for a while.
    ///
    /// # Errors
    /// Final.
    pub fn idle(&mut self) -> Result<(), LogError> {
        self.log.state_end()?;
        self.log.maintain()?;
        Ok(())
    }
}

/// Writes batches on a thread of its own. Dropping it writes what is queued and ends the thread.
#[derive(Debug)]
pub struct LogWriter<B: Batch = PersistBatch> {
    queue: Option<Sender<B>>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Batch> LogWriter<B> {
    /// Starts the thread. `tell` runs on it and must not block.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(
        log: Log,
        tell: impl FnMut(WriterEvent<B::Proof>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, incoming) = mpsc::channel();
        let worker = Worker { log, incoming, tell, short: false };
        let builder = std::thread::Builder::new().name("log-writer".into());
        let thread = builder.spawn(move || worker.run())?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a batch. If the writer has failed nothing happens: its owner was told.
    pub fn write(&self, batch: B) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(batch);
        }
    }
}

impl<B: Batch> Drop for LogWriter<B> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Batches that wait for one sync.
struct Pending<B: Batch> {
    records: Vec<Record>,
    tokens: Vec<B::Token>,
}

impl<B: Batch> Default for Pending<B> {
    fn default() -> Self {
        Self { records: Vec::new(), tokens: Vec::new() }
    }
}

impl<B: Batch> Pending<B> {
    fn take(&mut self, batch: B) {
        let (records, token) = batch.into_parts();
        self.records.extend(records);
        self.tokens.push(token);
    }
}

struct Worker<B: Batch, F> {
    log: Log,
    incoming: Receiver<B>,
    tell: F,
    /// The owner was told that there is no room.
    short: bool,
}

impl<B: Batch, F: FnMut(WriterEvent<B::Proof>)> Worker<B, F> {
    fn run(mut self) {
        if let Err(error) = self.write_all() {
            tracing::error!(%error, "the log cannot go on");
            (self.tell)(WriterEvent::Failed(error));
        }
    }

    /// Ends when the owner has dropped its end and the queue is empty.
    fn write_all(&mut self) -> Result<(), LogError> {
        self.maintain()?;
        while let Some(first) = self.next()? {
            self.write(first)?;
        }
        Ok(self.log.state_end()?)
    }

    /// Waits for a batch; the longer it waits, the more is done to state the log's end.
    fn next(&mut self) -> Result<Option<B>, LogError> {
        let mut waited = Duration::ZERO;
        loop {
            let wait = match waited {
                Duration::ZERO => Some(IDLE),
                IDLE => Some(IDLE_LONG),
                _ => self.short.then_some(SPACE_RETRY),
            };
            let received = match wait {
                Some(wait) => self.incoming.recv_timeout(wait),
                None => self.incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(first) => return Ok(Some(first)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if waited == IDLE => self.log.state_end()?,
                Err(RecvTimeoutError::Timeout) => self.idle()?,
            }
            waited += wait.unwrap_or_default();
        }
    }

    fn idle(&mut self) -> Result<(), LogError> {
        self.log.write_end_mark()?;
        self.maintain()
    }

    fn write(&mut self, first: B) -> Result<(), LogError> {
        let mut pending = Pending::default();
        pending.take(first);
        self.incoming.try_iter().for_each(|batch| pending.take(batch));
        let before = self.log.written_bytes();
        if !self.append(&mut pending)? {
            return Ok(());
        }
        let began = Instant::now();
        self.log.sync()?;
        let report = WriteReport {
            records: pending.records.len(),
            batches: pending.tokens.len(),
            bytes: self.log.written_bytes() - before,
            sync: began.elapsed(),
        };
        let proofs = pending.tokens.into_iter().map(B::prove).collect();
        (self.tell)(WriterEvent::Synced { proofs, report });
        self.maintain()
    }

    /// Appends as soon as there is room. False: the owner has gone meanwhile, and nothing of it was
    /// promised.
    fn append(&mut self, pending: &mut Pending<B>) -> Result<bool, LogError> {
        loop {
            match self.log.append(&pending.records) {
                Err(LogError::SpaceShort { .. }) => self.tell_space(Space::Short),
                other => return other.map(|()| true),
            }
            if !self.collect_until(Instant::now() + SPACE_RETRY, pending) {
                return Ok(false);
            }
        }
    }

    /// Lets batches queue up behind those that wait for room. False: the owner has gone.
    fn collect_until(&self, until: Instant, pending: &mut Pending<B>) -> bool {
        loop {
            match self.incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(batch) => pending.take(batch),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn maintain(&mut self) -> Result<(), LogError> {
        let space = self.log.maintain()?;
        self.tell_space(space);
        Ok(())
    }

    fn tell_space(&mut self, space: Space) {
        match space {
            Space::Short => (self.tell)(WriterEvent::SpaceShort),
            Space::Ready if self.short => (self.tell)(WriterEvent::SpaceReady),
            Space::Ready => {}
        }
        self.short = space == Space::Short;
    }
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "writer_test.rs"]
mod tests;
