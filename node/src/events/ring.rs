//! The newest records, by number, written by one and read by many without a lock.
//!
//! A record of number n stands in slot n modulo the capacity. The writer fills the slot, then moves
//! the head; it empties slots, or overwrites them, only after it has moved the oldest number past
//! them. So a reader that finds another record in its slot, or none, has been overtaken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use dsync_core::audit::AuditRecord;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    slots: Box<[ArcSwapOption<AuditRecord>]>,
    bytes_max: usize,
    /// Number of the oldest record that is kept: at most `head + 1`.
    oldest: AtomicU64,
    head: AtomicU64,
    /// What the records from `oldest` to `head` take. Only the writer looks.
    bytes: AtomicUsize,
}

/// What a reader finds at a number.
#[derive(Debug)]
pub(super) enum Slot {
    Here(Arc<AuditRecord>),
    NotYet,
    Gone { oldest: u64 },
}

impl Ring {
    pub(super) fn new(count: u64, records_max: usize, bytes_max: usize) -> Self {
        Self {
            slots: (0..records_max.max(1)).map(|_| ArcSwapOption::empty()).collect(),
            bytes_max,
            oldest: AtomicU64::new(count + 1),
            head: AtomicU64::new(count),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Only one thread at a time.
    pub(super) fn push(&self, record: AuditRecord) {
        let number = record.number;
        if number != self.head() + 1 {
            tracing::error!(number, head = self.head(), "a record is out of order");
            self.restart(number.saturating_sub(1));
        }
        let size = bytes_of(&record);
        while self.kept() >= self.slots.len() as u64
            || (self.kept() > 0 && self.bytes.load(Ordering::Relaxed) + size > self.bytes_max)
        {
            self.drop_oldest();
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.slot(number).store(Some(Arc::new(record)));
        self.head.store(number, Ordering::Release);
    }

    /// Only one thread at a time, the one that pushes.
    pub(super) fn restart(&self, count: u64) {
        self.oldest.store(count + 1, Ordering::Release);
        self.head.store(count, Ordering::Release);
        self.slots.iter().for_each(|slot| slot.store(None));
        self.bytes.store(0, Ordering::Relaxed);
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, number: u64) -> Slot {
        if number < self.oldest() {
            return Slot::Gone { oldest: self.oldest() };
        }
        if number > self.head() {
            return Slot::NotYet;
        }
        match self.slot(number).load_full() {
            Some(record) if record.number == number => Slot::Here(record),
            _ => Slot::Gone { oldest: self.oldest() },
        }
    }

    fn kept(&self) -> u64 {
        (self.head() + 1).saturating_sub(self.oldest())
    }

    fn drop_oldest(&self) {
        let oldest = self.oldest();
        self.oldest.store(oldest + 1, Ordering::Release);
        if let Some(record) = self.slot(oldest).swap(None) {
            self.bytes.fetch_sub(bytes_of(&record), Ordering::Relaxed);
        }
    }

    // The remainder is below the number of slots.
    #[allow(clippy::cast_possible_truncation)]
    fn slot(&self, number: u64) -> &ArcSwapOption<AuditRecord> {
        &self.slots[(number % self.slots.len() as u64) as usize]
    }
}

/// Roughly: what stands in the struct and behind its pointers.
fn bytes_of(record: &AuditRecord) -> usize {
    size_of::<AuditRecord>() + record.event.weight_bytes()
}
