//! Waiting for a condition, never for a time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use dsync_tests::process::until::PATIENCE;

/// Each question is a process or more.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks `probe` again and again until it has an answer.
///
/// # Panics
/// If there is none within [`PATIENCE`]; the message is `what`.
#[track_caller]
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(PAUSE);
    }
}
