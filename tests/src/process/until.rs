//! Waiting for a condition, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for anything that is going to happen, on however loaded a machine: it costs only where
/// something does not happen.
pub const PATIENCE: Duration = Duration::from_secs(300);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks `probe` again and again until it has an answer, and gives that and how long it took.
///
/// # Panics
/// If there is none within [`PATIENCE`]; the message is `what`.
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    timed(what, PATIENCE, probe).0
}

/// Like [`until`], with a limit of its own and the time that it took.
///
/// # Panics
/// If there is no answer within `limit`; the message is `what`.
pub fn timed<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return (found, began.elapsed());
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(PAUSE);
    }
}
