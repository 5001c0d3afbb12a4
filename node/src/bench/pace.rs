//! When a cycle begins.
//!
//! The open loop needs starts on time to a small part of a cycle, and the runtime's timer knows only
//! whole milliseconds: every latency would be a millisecond too long. So one thread of its own sleeps
//! from start to start and hands each to its client. Starts that the client cannot take yet queue up
//! with their planned time.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::measures::Window;

/// When cycles begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each client begins the next one when the last one has ended.
    Closed,
    /// So many a second in all, each at its planned time, taken by the clients in turn.
    Open {
        /// More than 0.
        per_second: f64,
    },
}

/// One client's starts.
#[derive(Debug)]
pub(super) enum Starts {
    /// As soon as it asks.
    AtOnce,
    /// As planned.
    Planned(UnboundedReceiver<Instant>),
}

impl Starts {
    /// The time from which the next cycle counts; `None`: no more. A planned start that was already
    /// handed out is never skipped.
    pub(super) async fn next(&mut self, window: Window) -> Option<Instant> {
        match self {
            Self::AtOnce => Some(Instant::now()).filter(|now| *now < window.until),
            Self::Planned(planned) => planned.recv().await,
        }
    }

    /// Planned starts in the window that were never begun.
    pub(super) fn left(&mut self, window: Window) -> u64 {
        let Self::Planned(planned) = self else { return 0 };
        planned.close();
        let mut left = 0;
        while let Ok(start) = planned.try_recv() {
            left += u64::from(window.contains(start));
        }
        left
    }
}

/// Hands out planned starts.
#[derive(Debug)]
pub(super) struct Metronome {
    gap: Duration,
    clients: Vec<UnboundedSender<Instant>>,
}

impl Metronome {
    /// The starts of so many clients, and who hands them out (nobody in a closed loop).
    pub(super) fn new(pace: Pace, clients: usize) -> (Vec<Starts>, Option<Self>) {
        let Pace::Open { per_second } = pace else {
            return ((0..clients).map(|_| Starts::AtOnce).collect(), None);
        };
        let (senders, starts) = (0..clients)
            .map(|_| unbounded_channel())
            .map(|(sender, starts)| (sender, Starts::Planned(starts)))
            .unzip();
        let gap = Duration::from_secs_f64(1.0 / per_second);
        (starts, Some(Self { gap, clients: senders }))
    }

    /// Hands out every start until the window ends. Blocks.
    pub(super) fn beat(self, begin: Instant, until: Instant) {
        for (number, client) in (0..).zip(self.clients.iter().cycle()) {
            // From the beginning and not from the last start, or errors of rounding would add up.
            let start = begin + self.gap.mul_f64(f64::from(number));
            if start >= until {
                return;
            }
            thread::sleep(start.saturating_duration_since(Instant::now()));
            let _ = client.send(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn planned_starts_go_to_the_clients_in_turn_and_keep_their_time_while_they_wait() {
        let begin = Instant::now();
        let window = Window { from: begin, until: begin + Duration::from_millis(10) };
        let (mut starts, metronome) = Metronome::new(Pace::Open { per_second: 1000.0 }, 2);
        metronome.unwrap().beat(begin, window.until);
        // All of them have been handed out and waited: none is lost, none is moved.
        for ms in [1, 3, 5, 7, 9] {
            let start = starts[1].next(window).await.unwrap();
            assert_eq!(start, begin + Duration::from_millis(ms));
        }
        assert_eq!(starts[1].next(window).await, None);
        assert_eq!(starts[0].left(window), 5);
    }

    #[tokio::test]
    async fn a_closed_loop_begins_at_once_until_the_window_ends() {
        let now = Instant::now();
        let (mut starts, metronome) = Metronome::new(Pace::Closed, 1);
        assert!(metronome.is_none());
        let open = Window { from: now, until: now + Duration::from_secs(60) };
        assert!(starts[0].next(open).await.is_some());
        assert_eq!(starts[0].next(Window { from: now, until: now }).await, None);
    }
}
