//! The ways to the trail's writer: a thread in the real node; on the spot in a simulation, where one
//! thread is all there is.
//!
//! The driver never waits: it puts records into a queue that is bounded in bytes. When the disk is so
//! slow that the queue is full, records are left out; the writer is then told where the chain has come
//! to, so that what was left out is a gap like any other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dsync_core::audit::{AuditHead, AuditRecord};
use tokio::sync::{oneshot, watch};

use super::catalog::Catalog;
use super::metrics::AuditMetrics;
use super::trail::{Page, Trail, TrailError, TrailOptions};

/// Bytes of records that may wait for the writer.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What a record takes in memory beside its texts, about.
const RECORD_BYTES: usize = 256;
/// Records lie unsynced for no longer.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often the trail looks for what is too old.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10);
/// A node that stops waits so long for its trail's last sync; what is lost is applied again.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// What the writer does.
#[derive(Debug)]
enum Task {
    Position(AuditHead),
    Append { records: Vec<AuditRecord>, wall_ms: u64, bytes: usize },
    Fill { start: AuditHead, page: Page, reply: oneshot::Sender<Result<(), TrailError>> },
    Sync(std::sync::mpsc::SyncSender<bool>),
}

/// The driver's end: hands over what happened. There is one.
#[derive(Debug)]
pub struct AuditPort {
    writer: AuditSync,
    queued_bytes: Arc<AtomicUsize>,
    queue_bytes_max: usize,
    /// Records were left out, and the writer has not been told where the chain is since.
    overflowed: bool,
    metrics: AuditMetrics,
}

/// Another end: asks for a sync, and brings pages from peers.
#[derive(Clone, Debug)]
pub struct AuditSync(imp::Link);

/// The readers' end.
#[derive(Clone, Debug)]
pub struct AuditReader(watch::Receiver<Arc<Catalog>>);

impl AuditPort {
    /// Opens the trail in `folder` and starts its writer. `head` is where the chain is in the state
    /// that this node starts from.
    ///
    /// # Errors
    /// If the system has no thread to give. What is wrong with the folder stops the trail only.
    pub fn start(
        folder: &Path,
        options: TrailOptions,
        head: AuditHead,
        metrics: AuditMetrics,
    ) -> std::io::Result<(Self, AuditReader)> {
        let (published, reader) = watch::channel(Arc::default());
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let worker = Worker {
            folder: folder.to_owned(),
            options,
            trail: None,
            published,
            queued_bytes: Arc::clone(&queued_bytes),
            metrics: metrics.clone(),
            synced_at: Instant::now(),
            maintained_at: Instant::now(),
        };
        let writer = AuditSync(imp::Link::start(worker)?);
        writer.0.give(Task::Position(head));
        let queue_bytes_max = QUEUE_BYTES_MAX;
        let port = Self { writer, queued_bytes, queue_bytes_max, overflowed: false, metrics };
        Ok((port, AuditReader(reader)))
    }

    /// Hands over what an entry made happen; `head` is the chain's head after it. Never waits.
    pub fn append(&mut self, records: &[AuditRecord], head: AuditHead) {
        if records.is_empty() && !self.overflowed {
            return;
        }
        let bytes = records.iter().map(size).sum();
        let waiting = self.queued_bytes.load(Ordering::Relaxed);
        let full = waiting > 0 && waiting + bytes > self.queue_bytes_max;
        if full || self.overflowed {
            // The records after a left-out one cannot be written either: nobody has their hashes.
            self.leave_out(records.len(), full);
            if !full {
                self.position(head);
            }
            return;
        }
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let (records, wall_ms) = (records.to_vec(), imp::wall_ms());
        self.writer.0.give(Task::Append { records, wall_ms, bytes });
    }

    /// The node's state is another one now (an installed snapshot), whose trail ends at `head`.
    pub fn position(&mut self, head: AuditHead) {
        self.overflowed = false;
        self.writer.0.give(Task::Position(head));
    }

    /// A further end.
    #[must_use]
    pub fn writer(&self) -> AuditSync {
        self.writer.clone()
    }

    /// Makes what was handed over durable, if that takes no more than two seconds.
    pub fn close(&self) {
        self.writer.sync(Some(CLOSE_LIMIT));
    }

    fn leave_out(&mut self, records: usize, full: bool) {
        self.metrics.overflowed.inc_by(records as u64);
        if full && !self.overflowed {
            self.overflowed = true;
            tracing::error!(
                "audit trail: the disk does not keep up; records are left out, which peers may fill in later"
            );
        }
    }
}

impl AuditSync {
    /// Makes durable whatever was handed over before this call. Blocks the thread. True if it is
    /// durable; false if the trail is stopped, or that took too long.
    #[allow(clippy::must_use_candidate)]
    pub fn sync(&self, limit: Option<Duration>) -> bool {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.0.give(Task::Sync(reply));
        match limit {
            Some(limit) => answer.recv_timeout(limit).unwrap_or(false),
            None => answer.recv().unwrap_or(false),
        }
    }

    /// Writes records from a peer into a gap; see [`Trail::fill`].
    ///
    /// # Errors
    /// See there. `None`: the writer has ended.
    pub async fn fill(&self, start: AuditHead, page: Page) -> Option<Result<(), TrailError>> {
        let (reply, answer) = oneshot::channel();
        self.0.give(Task::Fill { start, page, reply });
        answer.await.ok()
    }
}

impl AuditReader {
    /// Of a node that keeps no trail.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(Arc::default()).1)
    }

    /// What there is now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.borrow().clone()
    }

    /// What there is once the writer has been through record `number`: written it, or left it out.
    /// Waits for ever if the writer has ended.
    pub async fn reach(&self, number: u64) -> Arc<Catalog> {
        let mut changes = self.0.clone();
        let reached = changes.wait_for(|catalog| catalog.cursor.count >= number).await;
        let reached = reached.ok().map(|catalog| Arc::clone(&catalog));
        match reached {
            Some(catalog) => catalog,
            None => std::future::pending().await,
        }
    }

    /// Waits for any change. False: the writer has ended.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

fn size(record: &AuditRecord) -> usize {
    RECORD_BYTES + record.event.weight_bytes()
}

/// The writer's side. The folder is opened by the thread: a large trail must not delay a start.
#[derive(Debug)]
struct Worker {
    folder: PathBuf,
    options: TrailOptions,
    trail: Option<Trail>,
    published: watch::Sender<Arc<Catalog>>,
    queued_bytes: Arc<AtomicUsize>,
    metrics: AuditMetrics,
    synced_at: Instant,
    maintained_at: Instant,
}

impl Worker {
    fn run(&mut self, task: Task) {
        let (folder, options) = (&self.folder, self.options);
        let trail = self.trail.get_or_insert_with(|| Trail::open(folder, options));
        let now_ms = imp::wall_ms();
        match task {
            Task::Position(head) => trail.position(head, now_ms),
            Task::Append { records, wall_ms, bytes } => {
                trail.append(&records, wall_ms);
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            Task::Fill { start, page, reply } => {
                let records = page.len() as u64;
                let filled = trail.fill(&start, &page, now_ms);
                if filled.is_ok() {
                    self.metrics.filled.inc_by(records);
                    trail.maintain(now_ms);
                    self.publish();
                }
                let _ = reply.send(filled);
            }
            Task::Sync(reply) => {
                let _ = reply.send(trail.sync(now_ms));
                self.synced_at = Instant::now();
            }
        }
    }

    /// Between two bursts: shows what was written, and does what is due.
    fn settle(&mut self) {
        let now_ms = imp::wall_ms();
        let Some(trail) = &mut self.trail else { return };
        trail.flush(now_ms);
        if trail.is_dirty() && self.synced_at.elapsed() >= SYNC_EVERY {
            trail.sync(now_ms);
            self.synced_at = Instant::now();
        }
        if self.maintained_at.elapsed() >= MAINTAIN_EVERY {
            trail.maintain(now_ms);
            self.maintained_at = Instant::now();
        }
        self.publish();
    }

    fn publish(&self) {
        let Some(trail) = &self.trail else { return };
        let catalog = trail.catalog();
        self.published.send_if_modified(|shown| {
            let changed = **shown != *catalog;
            if changed {
                *shown = Arc::new(catalog.clone());
                self.metrics.record(catalog);
            }
            changed
        });
    }
}

#[cfg(not(feature = "simulated"))]
mod imp {
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::thread;
    use std::time::Duration;

    use super::{SYNC_EVERY, Task, Worker};

    /// Between two bursts. Without it a busy node would wake this thread for every record, and whoever asks
    /// for the newest ones does not mind.
    const REST: Duration = Duration::from_millis(5);
    /// Tasks that are run before what they wrote is shown.
    const BURST: usize = 1_024;

    #[derive(Clone, Debug)]
    pub(super) struct Link(mpsc::Sender<Task>);

    impl Link {
        pub(super) fn start(worker: Worker) -> std::io::Result<Self> {
            let (tasks, to_do) = mpsc::channel();
            let thread = thread::Builder::new().name("audit".into());
            thread.spawn(move || run(worker, &to_do))?;
            Ok(Self(tasks))
        }

        pub(super) fn give(&self, task: Task) {
            if self.0.send(task).is_err() {
                tracing::error!(
                    "audit trail: the writer has ended; nothing is recorded until this node restarts"
                );
            }
        }
    }

    fn run(mut worker: Worker, to_do: &mpsc::Receiver<Task>) {
        loop {
            thread::sleep(REST);
            match to_do.recv_timeout(SYNC_EVERY) {
                Ok(task) => worker.run(task),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            for task in to_do.try_iter().take(BURST) {
                worker.run(task);
            }
            worker.settle();
        }
        if let Some(trail) = &mut worker.trail {
            trail.sync(wall_ms());
        }
    }

    pub(super) fn wall_ms() -> u64 {
        crate::audit::wall::now_ms()
    }
}

#[cfg(feature = "simulated")]
mod imp {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::{Task, Worker};

    #[derive(Clone, Debug)]
    pub(super) struct Link(Arc<Mutex<Worker>>);

    impl Link {
        #[allow(clippy::unnecessary_wraps)]
        pub(super) fn start(worker: Worker) -> std::io::Result<Self> {
            Ok(Self(Arc::new(Mutex::new(worker))))
        }

        pub(super) fn give(&self, task: Task) {
            let mut worker = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            worker.run(task);
            worker.settle();
        }
    }

    /// Simulated time, so that a seed is a history.
    pub(super) fn wall_ms() -> u64 {
        crate::clock::now().0
    }
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "port_test.rs"]
mod tests;
