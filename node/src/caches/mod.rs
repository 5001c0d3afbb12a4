//! Caches, as this node's clients use them: hits are served here and now, everything else goes through one
//! task that owns the machines.
//!
//! # Problem
//!
//! A hit has to cost a look-up and one reading of the clock, on whichever thread the client's request runs.
//! The machines of the protocol (`dsync_core::cache`) are one state, though, and a change of the ring walks
//! over everything that is kept: threads that waited at a lock meanwhile would be missing to hits, and to
//! consensus.
//!
//! # Idea
//!
//! *Hits* look into the store, which has locks of its own, then at a published list of leases, then at the
//! clock, in this order (`dsync_core::cache::Leases` says why that is enough). No message, no task.
//!
//! *The task* (`worker.rs`) takes in gets that found nothing to serve, writes, messages of other nodes, new
//! rings and time, one after the other; it sends what comes out, answers who waits, and publishes the leases.
//! It never waits for anything but its inboxes, and these are bounded: what does not fit is refused (a
//! client's request) or dropped (a message, which the protocol allows).
//!
//! *The home lease* (`home_lease.rs`) is asked for three times per length, and the ring is entered again
//! after this home has been taken out of it. What both need of the log is behind the trait [`Homes`].
//!
//! # What is bounded
//!
//! The store by bytes and by count; requests that wait by count ([`WAITING_MAX`]), whether or not their
//! clients still listen; the values in them by bytes ([`WAITING_BYTES_MAX`]).

mod home_lease;
mod homes;
mod metrics;
mod waiting;
mod worker;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use dsync_core::cache::{
    BoundedStore, CacheMessage, Coherence, Copy, Found, Key, Leases, Limits, Process, Store, Usage,
    Write, WriteOutcome,
};
use dsync_core::types::LocalTime;
use tokio::sync::{mpsc, oneshot, watch};

pub use homes::Homes;
pub(crate) use homes::LogHomes;
pub use metrics::CacheMetrics;
pub use waiting::{WAITING_BYTES_MAX, WAITING_MAX};

use crate::clock;
use crate::peers::Heard;
use waiting::Room;
use worker::{Ask, Inboxes, Progress, Worker};

/// Requests that may queue at the task.
const INBOX: usize = 4_096;
/// A shard has at least so many bytes, so that the largest value fits into it several times.
const SHARD_BYTES_MIN: usize = 1 << 20;
/// More shards than threads that could meet in one are of no use.
const SHARDS_MAX: usize = 16;

/// Which value a get wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The newest one: what is kept here under a lease, or the home's word.
    #[default]
    Linearizable,
    /// The home's word, whatever is kept here: no clock but the home's is trusted.
    Verify,
    /// What is kept here, however old; the home's word if nothing is.
    Stale,
}

/// What a get has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The value; `None`: there is none.
    pub found: Option<Found>,
    /// It was kept here, and no message was sent.
    pub hit: bool,
    /// It was the newest one up to so many milliseconds ago.
    pub staleness_ms: u64,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// No home served the key in time; nothing was done.
    #[error("no home serves the key")]
    HomeUnavailable,
    /// A write may have been done, or not.
    #[error("the outcome is unknown")]
    Unknown,
    /// Too many requests wait here, or too many bytes in them; nothing was done.
    #[error("too many requests wait for homes")]
    Overloaded,
    /// The node stops; nothing was done.
    #[error("the node stops")]
    Stopping,
}

/// Carries messages to other nodes' caches. What it cannot carry is lost.
pub trait Line: Send + Sync + 'static {
    /// Sends one. Never waits.
    fn send(&self, to: Process, message: CacheMessage);
}

/// What a node's caches look like now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheStats {
    /// What is kept.
    pub usage: Usage,
    /// How much may be.
    pub limits: Limits,
    /// The epoch of the ring that is installed.
    pub epoch: u64,
    /// How many homes it has.
    pub homes: usize,
    /// This node is one, and its lease runs.
    pub home: bool,
    /// Sessions with other homes that run.
    pub sessions: usize,
    /// Gets that were served here without a message, since the process started.
    pub hits: u64,
    /// Gets that asked a home.
    pub misses: u64,
    /// Values that had to make room for others.
    pub evictions: u64,
}

/// What the caches are made of.
#[derive(Debug)]
pub struct CacheParts<L, H> {
    /// This process.
    pub process: Process,
    /// How much is kept.
    pub limits: Limits,
    /// Drawn at random, and secret.
    pub seed: u64,
    /// The way to other nodes.
    pub line: L,
    /// What comes from there.
    pub heard: mpsc::Receiver<Heard>,
    /// The ring's members.
    pub homes: H,
    /// What is counted.
    pub metrics: CacheMetrics,
}

/// This node's caches. Clones are the same.
#[derive(Clone, Debug)]
pub struct Caches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: BoundedStore,
    limits: Limits,
    leases: Arc<ArcSwap<Leases>>,
    inbox: mpsc::Sender<Ask>,
    room: Room,
    progress: watch::Receiver<Progress>,
    draining: watch::Sender<bool>,
    drained: watch::Receiver<bool>,
    metrics: CacheMetrics,
}

impl Caches {
    /// Starts the tasks. Within a tokio runtime; they end when the ring's members do.
    pub fn start<L: Line, H: Homes>(parts: CacheParts<L, H>) -> Self {
        let shards = (parts.limits.bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let store = BoundedStore::new(parts.limits, shards, parts.seed);
        let leases = Arc::new(ArcSwap::from_pointee(Leases::default()));
        let (inbox, asked) = mpsc::channel(INBOX);
        let (draining, drain) = watch::channel(false);
        let (finished, drained) = watch::channel(false);
        let CacheParts { process, limits, line, heard, homes, metrics, .. } = parts;
        let machines = Coherence::new(process, homes.rules(), store.clone());
        let worker = Worker::new(process, machines, line, leases.clone(), metrics.clone());
        let progress = worker.progress();
        let rings = homes.placement();
        tokio::spawn(worker.run(Inboxes { asked, heard, rings, homes: homes.clone() }));
        tokio::spawn(home_lease::run(home_lease::Seat {
            homes,
            progress: progress.clone(),
            worker: inbox.downgrade(),
            drain,
            finished,
        }));
        let room = Room::default();
        let inner =
            Inner { store, limits, leases, inbox, room, progress, draining, drained, metrics };
        Self(Arc::new(inner))
    }

    /// Those of a node that has none: everything is refused.
    #[must_use]
    pub fn none() -> Self {
        let limits = Limits { bytes_max: 0, entries_max: 0 };
        Self(Arc::new(Inner {
            store: BoundedStore::new(limits, 1, 0),
            limits,
            leases: Arc::default(),
            inbox: mpsc::channel(1).0,
            room: Room::default(),
            progress: watch::channel(Progress::default()).1,
            draining: watch::Sender::default(),
            drained: watch::channel(true).1,
            metrics: CacheMetrics::default(),
        }))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// If no home answers in time, or too many requests wait here.
    pub async fn get(&self, key: Key, consistency: Consistency) -> Result<Got, CacheError> {
        let kept = match consistency {
            Consistency::Verify => None,
            Consistency::Linearizable => self.hit(&key),
            Consistency::Stale => self.kept(&key),
        };
        if let Some(got) = kept {
            self.0.metrics.hits.inc();
            return Ok(got);
        }
        self.0.metrics.misses.inc();
        let seat = self.0.room.seat(0)?;
        let (reply, answer) = oneshot::channel();
        let verify = consistency == Consistency::Verify;
        self.ask(Ask::Get { key, verify, reply, seat })?;
        answer.await.unwrap_or(Err(CacheError::Stopping))
    }

    /// Writes or deletes the value of a key. Goes on if this is dropped.
    ///
    /// # Errors
    /// If it was not done, or nobody can say.
    pub async fn write(&self, key: Key, write: Write) -> Result<WriteOutcome, CacheError> {
        let seat = self.0.room.seat(write.value.as_ref().map_or(0, |value| value.body.len()))?;
        let (began, (reply, answer)) = (Instant::now(), oneshot::channel());
        self.ask(Ask::Write { key, write, reply, seat })?;
        // A task that ends without a word may have sent the write.
        let outcome = answer.await.unwrap_or(Err(CacheError::Unknown));
        self.0.metrics.write_seconds.observe(began.elapsed().as_secs_f64());
        self.0.metrics.count_write(&outcome);
        outcome
    }

    /// What they look like now.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let progress = self.0.progress.borrow().clone();
        let now = clock::now();
        CacheStats {
            usage: self.0.store.usage(),
            limits: self.0.limits,
            epoch: progress.epoch,
            homes: progress.homes,
            home: progress.is_home_at(now),
            sessions: self.0.leases.load().sessions(now),
            hits: self.0.metrics.hits.get(),
            misses: self.0.metrics.misses.get(),
            evictions: self.0.store.evictions(),
        }
    }

    /// Sets the gauges of the metrics.
    pub fn measure(&self) {
        self.0.metrics.measure(&self.stats());
    }

    /// Serves as a home until the lease ends, and leaves the ring then.
    pub async fn drain(&self) {
        self.0.draining.send_replace(true);
        // The other end goes when the ring's members have: then there is nothing to leave.
        let _ = self.0.drained.clone().wait_for(|finished| *finished).await;
    }

    /// What is kept here and may be served: the copy, then its lease, then the clock (R3).
    fn hit(&self, key: &Key) -> Option<Got> {
        let missed = |reason| self.0.metrics.missed(reason);
        let Some(copy) = self.0.store.clone().get(key) else {
            missed("no_copy");
            return None;
        };
        let leases = self.0.leases.load();
        let now = clock::now();
        if copy.expires.is_some_and(|expires| expires <= now) {
            missed("expired");
            return None;
        }
        if !leases.allow(&copy, now) {
            missed("no_lease");
            return None;
        }
        Some(Got { found: Some(found(copy, now)), hit: true, staleness_ms: 0 })
    }

    /// What is kept here, with or without a lease.
    fn kept(&self, key: &Key) -> Option<Got> {
        let copy = self.0.store.clone().get(key)?;
        let over = self.0.leases.load().over(&copy.source);
        let now = clock::now();
        let lives = copy.expires.is_none_or(|expires| now < expires);
        // Without a lease that is known nobody can say how old it is.
        let staleness_ms = now.since(over.filter(|_| lives)?);
        Some(Got { found: Some(found(copy, now)), hit: true, staleness_ms })
    }

    fn ask(&self, ask: Ask) -> Result<(), CacheError> {
        if *self.0.draining.borrow() && !self.is_home() {
            return Err(CacheError::Stopping);
        }
        self.0.inbox.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CacheError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => CacheError::Stopping,
        })
    }

    fn is_home(&self) -> bool {
        self.0.progress.borrow().is_home_at(clock::now())
    }
}

fn found(copy: Copy, now: LocalTime) -> Found {
    let ttl_left_ms = copy.expires.map(|expires| expires.since(now));
    Found { value: copy.value, version: copy.version, ttl_left_ms }
}
