//! What happens to locks, for those who watch.
//!
//! # Problem
//!
//! A thousand clients watch; some read slowly, some not at all. None of them may cost the driver
//! anything, or grants would wait for the slowest watcher. And a watcher that was away for a moment
//! wants to go on exactly where it stopped.
//!
//! # Idea
//!
//! Every event has a number, the same on every node (it is its number in the audit trail). The driver
//! puts records into one bounded ring and moves the head; watchers pull by number, each at its own
//! pace, and nobody is pushed to. One that falls out of the ring is told so, with the oldest number
//! that is left. The ring is made of slots that are swapped, never locked, so a reader that is
//! stopped in the middle of reading holds nothing that the driver needs.
//!
//! Waking and writing are the costs that grow with the number of watchers. So the driver wakes a single
//! task, the herald, and that one wakes the watchers; then it rests, the longer the more they are. What
//! happens meanwhile is told at once afterwards, so a thousand watchers get a burst in few writes, and
//! grants have the processor for themselves in between. After a quiet time nobody waits.
//!
//! Rejected: a channel for each watcher (either the driver waits, or it copies); tokio's broadcast
//! channel (its readers lock the slots, and it cannot begin at a number).
//!
//! # Caveats
//!
//! The ring begins where this process began to apply: at its snapshot. After a snapshot from the
//! leader it begins anew, and who was before it is told so. Each watcher looks at every record, and
//! picks those it wants.

mod ring;
mod subscription;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dsync_core::audit::AuditRecord;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use ring::Ring;
pub use subscription::{EventFilter, Subscription, WatchEnd};

/// Most records that are kept.
const RECORDS_MAX: usize = 65_536;
/// Most bytes that they take, roughly counted.
const BYTES_MAX: usize = 64 << 20;
/// How long the herald rests, for each watcher that it woke: several times what waking and writing to
/// one costs.
const REST_PER_WATCHER: Duration = Duration::from_micros(50);
/// Shorter than a timer can be: no rest.
const REST_MIN: Duration = Duration::from_millis(1);
/// What a watcher may have to wait at most.
const REST_MAX: Duration = Duration::from_millis(100);

/// The ring and its readers. Clones are the same thing.
#[derive(Clone, Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Ring,
    /// The driver has put something in, or this is dropped.
    news: Arc<Notify>,
    /// What the herald has told.
    told: watch::Sender<Told>,
    has_herald: AtomicBool,
}

/// What watchers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    head: u64,
    closed: bool,
}

impl Events {
    /// An empty ring behind record number `count`.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self::bounded(count, RECORDS_MAX, BYTES_MAX)
    }

    fn bounded(count: u64, records_max: usize, bytes_max: usize) -> Self {
        let (told, _) = watch::channel(Told { head: count, closed: false });
        Self(Arc::new(Shared {
            ring: Ring::new(count, records_max, bytes_max),
            news: Arc::new(Notify::new()),
            told,
            has_herald: AtomicBool::new(false),
        }))
    }

    /// Adds what a batch did, in order. Only the driver calls it.
    pub fn push(&self, records: impl IntoIterator<Item = AuditRecord>) {
        let mut any = false;
        for record in records {
            self.0.ring.push(record);
            any = true;
        }
        if any {
            self.0.news.notify_one();
        }
    }

    /// The state was replaced by one whose trail has `count` records. Only the driver calls it.
    pub fn restart(&self, count: u64) {
        self.0.ring.restart(count);
        self.0.news.notify_one();
    }

    /// Watches from record number `from` on, or (`None`) from what comes next. A number that is not
    /// there yet is waited for. Within a tokio runtime.
    ///
    /// # Errors
    /// [`WatchEnd::Compacted`] if record `from` is not kept any more.
    pub fn subscribe(
        &self,
        from: Option<u64>,
        filter: EventFilter,
    ) -> Result<Subscription, WatchEnd> {
        self.ensure_herald();
        Subscription::new(self.clone(), from, filter)
    }

    /// Number of the newest record.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.0.ring.head()
    }

    /// Number of the oldest record that is kept; the head's successor if none is.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.0.ring.oldest()
    }

    /// Ends all subscriptions: the node stops.
    pub fn close(&self) {
        self.0.told.send_modify(|told| told.closed = true);
    }

    fn ensure_herald(&self) {
        if !self.0.has_herald.swap(true, Ordering::AcqRel) {
            tokio::spawn(herald(Arc::downgrade(&self.0), self.0.news.clone()));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.news.notify_one();
    }
}

/// Wakes the watchers, as often as there is something new.
async fn herald(events: Weak<Shared>, news: Arc<Notify>) {
    loop {
        let Some(shared) = events.upgrade() else { return };
        let head = shared.ring.head();
        let any = shared.told.send_if_modified(|told| {
            let new = told.head != head;
            told.head = head;
            new
        });
        let rest = rest(shared.told.receiver_count());
        drop(shared);
        if any && rest >= REST_MIN {
            sleep(rest).await;
        }
        news.notified().await;
    }
}

fn rest(watchers: usize) -> Duration {
    let watchers = u32::try_from(watchers).unwrap_or(u32::MAX);
    REST_PER_WATCHER.saturating_mul(watchers).min(REST_MAX)
}
