//! What waits to be written to one connection: bounded in bytes, never blocking.
//!
//! Consensus expects messages to get lost, so a peer that does not read costs messages, not memory
//! and not the sender's time. *Which* message is lost matters:
//!
//! - Bulk drops the **newest**. Appends are a pipeline in which each one continues the one before:
//!   what already waits stays useful, and the sender learns of the gap by the first missing answer.
//!   If the oldest went, the receiver would have to refuse everything that waits behind it.
//! - Urgent drops the **oldest**. A vote or a heartbeat only counts when it is fresh; a later one
//!   says all that an earlier one said.
//!
//! What the stream itself has to say (a changed introduction, a probe or its answer, a farewell) waits
//! in slots of its own, the latest of each: it is never dropped, and cannot pile up.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use super::introduction::Lane;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits, and everything before it too.
    Queued,
    /// So many messages were dropped, and `first` is true if none had been since the queue was last
    /// empty.
    Dropped {
        /// How many.
        messages: usize,
        /// This begins a gap: whoever sends should hear of it, once.
        first: bool,
    },
    /// The connection is ending; the message is dropped.
    Closed,
}

/// A queue with one writer behind it.
#[derive(Debug)]
pub(super) struct Outbox {
    lane: Lane,
    bytes_max: usize,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// The sum over `frames`; at most `bytes_max`.
    bytes: usize,
    introduction: Option<Bytes>,
    probe: Option<Bytes>,
    alive: Option<Bytes>,
    farewell: Option<Bytes>,
    /// Something was dropped since the queue was last empty.
    gap: bool,
    closed: bool,
}

impl Outbox {
    pub(super) fn new(lane: Lane, bytes_max: usize) -> Self {
        Self { lane, bytes_max, queue: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a message. Never waits.
    pub(super) fn push(&self, frame: Bytes) -> Pushed {
        let pushed = {
            let mut queue = self.lock();
            if queue.closed {
                return Pushed::Closed;
            }
            queue.push(frame, self.lane, self.bytes_max)
        };
        self.changed.notify_one();
        pushed
    }

    /// Says who this node is now, before any message that waits.
    pub(super) fn introduce(&self, frame: Bytes) {
        self.lock().introduction = Some(frame);
        self.changed.notify_one();
    }

    /// Asks whether the peer's process lives, before any message that waits.
    pub(super) fn probe(&self, frame: Bytes) {
        self.lock().probe = Some(frame);
        self.changed.notify_one();
    }

    /// Says that this process lives, before any message that waits.
    pub(super) fn say_alive(&self, frame: Bytes) {
        self.lock().alive = Some(frame);
        self.changed.notify_one();
    }

    /// No more messages: the writer writes what waits, then `farewell`, and ends.
    pub(super) fn close(&self, farewell: Option<Bytes>) {
        {
            let mut queue = self.lock();
            queue.closed = true;
            if farewell.is_some() {
                queue.farewell = farewell;
            }
        }
        self.changed.notify_one();
    }

    /// The frames to write next as one piece of about `bytes_max` bytes (one frame at least), and
    /// their number. Waits for some; `None` once closed and empty. Safe to cancel. One caller only.
    pub(super) async fn take(&self, bytes_max: usize) -> Option<(Bytes, usize)> {
        loop {
            {
                let mut queue = self.lock();
                if let Some(batch) = queue.take(bytes_max) {
                    return Some(batch);
                }
                if queue.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        // A panic of another holder leaves a queue that is at worst short of a message.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, frame: Bytes, lane: Lane, bytes_max: usize) -> Pushed {
        let mut dropped = 0;
        if lane == Lane::Urgent {
            while self.bytes + frame.len() > bytes_max && self.pop().is_some() {
                dropped += 1;
            }
        }
        if self.bytes + frame.len() > bytes_max {
            dropped += 1;
        } else {
            self.bytes += frame.len();
            self.frames.push_back(frame);
        }
        if dropped == 0 {
            return Pushed::Queued;
        }
        Pushed::Dropped { messages: dropped, first: !std::mem::replace(&mut self.gap, true) }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    fn take(&mut self, bytes_max: usize) -> Option<(Bytes, usize)> {
        let first = [self.introduction.take(), self.probe.take(), self.alive.take()];
        let mut batch: Vec<Bytes> = first.into_iter().flatten().collect();
        let mut bytes: usize = batch.iter().map(Bytes::len).sum();
        while let Some(next) = self.frames.front() {
            if !batch.is_empty() && bytes + next.len() > bytes_max {
                break;
            }
            bytes += next.len();
            batch.extend(self.pop());
        }
        if self.frames.is_empty() {
            self.gap = false;
            batch.extend(self.farewell.take());
        }
        match batch.len() {
            0 => None,
            // A large append mostly waits alone: do not copy it once more.
            1 => batch.pop().map(|only| (only, 1)),
            frames => Some((batch.concat().into(), frames)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> Bytes {
        Bytes::from(vec![byte; 10])
    }

    async fn first_bytes(outbox: &Outbox) -> Vec<u8> {
        let (batch, _) = outbox.take(1_000_000).await.unwrap();
        batch.chunks(10).map(|frame| frame[0]).collect()
    }

    #[tokio::test]
    async fn a_full_bulk_queue_keeps_what_waits_and_drops_the_newest() {
        let outbox = Outbox::new(Lane::Bulk, 30);
        let pushed: Vec<Pushed> = (1..=5).map(|byte| outbox.push(frame(byte))).collect();
        assert_eq!(pushed[2], Pushed::Queued);
        assert_eq!(pushed[3], Pushed::Dropped { messages: 1, first: true });
        assert_eq!(pushed[4], Pushed::Dropped { messages: 1, first: false });
        assert_eq!(first_bytes(&outbox).await, [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_full_urgent_queue_drops_the_oldest() {
        let outbox = Outbox::new(Lane::Urgent, 30);
        (1..=5).for_each(|byte| {
            outbox.push(frame(byte));
        });
        assert_eq!(outbox.bytes(), 30);
        assert_eq!(first_bytes(&outbox).await, [3, 4, 5]);
    }

    #[tokio::test]
    async fn a_gap_is_told_once_until_the_queue_was_empty() {
        let outbox = Outbox::new(Lane::Bulk, 10);
        let gaps = |outbox: &Outbox| {
            (1..=4)
                .filter(|byte| {
                    matches!(outbox.push(frame(*byte)), Pushed::Dropped { first: true, .. })
                })
                .count()
        };
        assert_eq!(gaps(&outbox), 1);
        outbox.take(100).await;
        assert_eq!(gaps(&outbox), 1);
    }

    #[tokio::test]
    async fn queued_frames_leave_in_one_piece_up_to_the_batch_limit() {
        let outbox = Outbox::new(Lane::Bulk, 1000);
        (1..=5).for_each(|byte| {
            outbox.push(frame(byte));
        });
        assert_eq!(
            outbox.take(30).await.map(|(batch, frames)| (batch.len(), frames)),
            Some((30, 3))
        );
        assert_eq!(
            outbox.take(5).await.map(|(batch, frames)| (batch.len(), frames)),
            Some((10, 1))
        );
        assert_eq!(outbox.bytes(), 10);
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_waits_then_the_farewell_then_nothing() {
        let outbox = Outbox::new(Lane::Bulk, 1000);
        outbox.push(frame(1));
        outbox.introduce(frame(2));
        outbox.introduce(frame(3));
        outbox.close(Some(frame(4)));
        assert_eq!(outbox.push(frame(5)), Pushed::Closed);
        assert_eq!(first_bytes(&outbox).await, [3, 1, 4]);
        assert_eq!(outbox.take(100).await, None);
    }
}
