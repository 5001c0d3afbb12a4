//! Connections without a request under way, oldest first: who has to go when there is no seat left.
//!
//! A connection costs a seat, and an idle one gives nothing for it: a client keeps it for later, has
//! lost it, or wants to keep others out. So a newcomer is not turned away while there is one, but gets
//! the seat of the one that has been idle for longest. A client whose pooled connection was closed
//! makes another; a probe that finds a closed door has the node restarted.
//!
//! Each has [`GRACE`] to say what it wants, however many come. Without it, whoever opens connections
//! faster than others send their requests would keep them out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// So long a connection may be idle, whoever needs room.
const GRACE: Duration = Duration::from_millis(100);

/// The list. Clones are the same list.
#[derive(Clone, Debug, Default)]
pub(super) struct Idle(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    /// By when they came: the lowest has been idle for longest.
    places: BTreeMap<u64, (Instant, Arc<Notify>)>,
    next: u64,
}

/// Who was asked to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// There is no idle connection.
    Nobody,
    /// The one that has been idle for longest, which is gone in a moment.
    Oldest,
    /// It has not been idle for long enough, but will have been after this time.
    NotYet {
        /// What is left of its time.
        left: Duration,
    },
}

impl Idle {
    /// A new connection, which has no request yet.
    pub(super) fn place(&self) -> Place {
        let (idle, go, number) = (self.clone(), Arc::new(Notify::new()), Mutex::new(None));
        let place = Place { idle, go, number };
        place.enter();
        place
    }

    /// Asks the connection that has been idle for longest to go.
    pub(super) fn ask_oldest_to_go(&self, now: Instant) -> Asked {
        let mut parts = self.parts();
        let Some(oldest) = parts.places.first_entry() else { return Asked::Nobody };
        let left = (oldest.get().0 + GRACE).saturating_duration_since(now);
        if !left.is_zero() {
            return Asked::NotYet { left };
        }
        oldest.remove().1.notify_one();
        Asked::Oldest
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place in the list, while it is idle.
#[derive(Debug)]
pub(super) struct Place {
    idle: Idle,
    go: Arc<Notify>,
    /// Where it stands, if it does.
    number: Mutex<Option<u64>>,
}

impl Place {
    /// It is idle from now on.
    pub(super) fn enter(&self) {
        self.leave();
        let mut parts = self.idle.parts();
        let number = parts.next;
        parts.next += 1;
        parts.places.insert(number, (Instant::now(), Arc::clone(&self.go)));
        *self.number() = Some(number);
    }

    /// It is idle no longer.
    pub(super) fn leave(&self) {
        let number = self.number().take();
        if let Some(number) = number {
            self.idle.parts().places.remove(&number);
        }
    }

    /// Resolves when it has to go. A word that was given before is not lost.
    pub(super) async fn asked_to_go(&self) {
        self.go.notified().await;
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_has_been_idle_for_longest_goes_first_and_a_busy_one_never() {
        let idle = Idle::default();
        let (first, second, third) = (idle.place(), idle.place(), idle.place());
        first.leave();
        second.leave();
        second.enter();
        assert_eq!(idle.ask_oldest_to_go(later()), Asked::Oldest);
        third.asked_to_go().await;
        assert_eq!(idle.ask_oldest_to_go(later()), Asked::Oldest);
        second.asked_to_go().await;
        assert_eq!(idle.ask_oldest_to_go(later()), Asked::Nobody);
        first.enter();
        drop(first);
        assert_eq!(idle.ask_oldest_to_go(later()), Asked::Nobody);
    }

    #[tokio::test]
    async fn nobody_is_asked_before_its_time() {
        let idle = Idle::default();
        let before = Instant::now();
        let place = idle.place();
        let Asked::NotYet { left } = idle.ask_oldest_to_go(before) else { panic!("it is new") };
        assert!(left >= GRACE);
        assert_eq!(idle.ask_oldest_to_go(later()), Asked::Oldest);
        place.asked_to_go().await;
    }

    fn later() -> Instant {
        Instant::now() + GRACE
    }
}
