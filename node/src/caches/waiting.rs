//! Seats for requests that wait for homes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::CacheError;

/// Most requests that wait at once.
pub const WAITING_MAX: usize = 8_192;
/// Most bytes of values in them.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// Room for requests that wait.
#[derive(Debug)]
pub(super) struct Room {
    seats: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A request's place, until it is answered. It goes with the request and not with its client: one that
/// hangs up leaves a request behind.
#[derive(Debug)]
pub(super) struct Seat {
    _seat: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            seats: Arc::new(Semaphore::new(WAITING_MAX)),
            bytes: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
        }
    }
}

impl Room {
    /// A place for a request with a value of so many bytes.
    pub(super) fn seat(&self, bytes: usize) -> Result<Seat, CacheError> {
        let bytes = u32::try_from(bytes).map_err(|_| CacheError::Overloaded)?;
        let taken = |semaphore: &Arc<Semaphore>, count| {
            let permit = Arc::clone(semaphore).try_acquire_many_owned(count);
            permit.map_err(|_| CacheError::Overloaded)
        };
        Ok(Seat { _seat: taken(&self.seats, 1)?, _bytes: taken(&self.bytes, bytes)? })
    }
}
