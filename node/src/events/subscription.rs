//! One watcher.

use std::sync::Arc;

use dsync_core::audit::AuditRecord;
use tokio::sync::watch;

use super::ring::Slot;
use super::{Events, Told};

/// After this many records that it does not want, a watcher lets others run.
const SKIPS_PER_TURN: u32 = 256;

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventFilter {
    /// All of them.
    #[default]
    All,
    /// Those about one lock.
    Name(String),
    /// Those about locks whose names begin so.
    Prefix(String),
}

/// Why a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The wanted record is not kept any more.
    #[error("records before number {oldest} are not kept any more")]
    Compacted {
        /// The oldest one that is, or the next one if none is.
        oldest: u64,
    },
    /// The node stops.
    #[error("stopping")]
    Stopping,
}

/// A place in the stream of events.
#[derive(Debug)]
pub struct Subscription {
    events: Events,
    told: watch::Receiver<Told>,
    filter: EventFilter,
    next: u64,
}

impl EventFilter {
    /// True if the event is wanted: one of its locks is. What is done to topics is for the audit trail.
    #[must_use]
    pub fn wants(&self, record: &AuditRecord) -> bool {
        let Some(event) = record.event.lock() else { return false };
        let mut names = event.items.iter().map(|item| item.name.as_str());
        match self {
            Self::All => true,
            Self::Name(wanted) => names.any(|name| name == wanted),
            Self::Prefix(prefix) => names.any(|name| name.starts_with(prefix)),
        }
    }
}

impl Subscription {
    pub(super) fn new(
        events: Events,
        from: Option<u64>,
        filter: EventFilter,
    ) -> Result<Self, WatchEnd> {
        let told = events.0.told.subscribe();
        let next = from.unwrap_or_else(|| events.head() + 1);
        let oldest = events.oldest();
        if next < oldest {
            return Err(WatchEnd::Compacted { oldest });
        }
        Ok(Self { events, told, filter, next })
    }

    /// The next wanted record. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the watch has ended: see [`WatchEnd`].
    pub async fn next(&mut self) -> Result<Arc<AuditRecord>, WatchEnd> {
        loop {
            // Before looking: what comes after the look wakes.
            if self.told.borrow_and_update().closed {
                return Err(WatchEnd::Stopping);
            }
            for _ in 0..SKIPS_PER_TURN {
                if let Some(record) = self.try_next()? {
                    return Ok(record);
                }
            }
            if self.next <= self.events.head() {
                tokio::task::yield_now().await;
            } else if self.told.changed().await.is_err() {
                return Err(WatchEnd::Stopping);
            }
        }
    }

    /// Every record before this number has been seen. To go on exactly here later, subscribe from
    /// this number.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Looks at one record, if there is one.
    fn try_next(&mut self) -> Result<Option<Arc<AuditRecord>>, WatchEnd> {
        match self.events.0.ring.get(self.next) {
            Slot::Gone { oldest } => Err(WatchEnd::Compacted { oldest }),
            Slot::NotYet => Ok(None),
            Slot::Here(record) => {
                self.next += 1;
                Ok(self.filter.wants(&record).then_some(record))
            }
        }
    }
}
