//! From a request to a hold.
//!
//! A grant is called a hold only when this client knows how long it lasts and that nothing of its own
//! can end it by mistake. Two grants do not tell that, and are renewed once before anything else:
//!
//! - One that ended a wait. What is left counts from the sending of the request, long ago; counted so,
//!   most of the lease may seem to be over.
//! - One whose request was sent more than once. A copy may still be under way; when it arrives, its
//!   node finds nobody who listens and gives the lock back in our name. The renewal names the hold, and
//!   its mark says that the request's number is done with, so a late copy is refused.
//!
//! A hold that turns out to be gone at that renewal was never ours: the request begins anew, under a
//! new number, for the rest of the time to wait.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, timeout};

use crate::clock::BootInstant;
use crate::error::Error;
use crate::given_up::{Asking, GivenUp};
use crate::hold::{Held, HeldLock, Hold};
use crate::lock_error::{LockError, Loss};
use crate::lock_request::LockRequest;
use crate::long_poll;
use crate::names::TakenNames;
use crate::nodes::{Answer, Call, PauseGrows, Repeat};

/// An answer that took less did not wait, where it does not say.
const WAITED_MIN: Duration = Duration::from_millis(100);

/// What a node says of a grant.
#[derive(Debug, Deserialize)]
pub(crate) struct Granted {
    pub(crate) hold: String,
    pub(crate) locks: Vec<HeldLock>,
    pub(crate) remaining_ms: Option<u64>,
}

/// Acquires everything that is asked for, within `wait`. What is given up on the way is found in
/// `given_up`.
pub(crate) async fn acquire(
    asked: &LockRequest,
    wait: Duration,
    given_up: &GivenUp,
) -> Result<Hold, LockError> {
    let mut names = take_names(asked, wait).await?;
    let wait_ends = Instant::now() + wait;
    let mut pause = PauseGrows::new();
    let mut left = wait;
    loop {
        let (error, returned) = match ask(asked, left, names, given_up).await {
            Ok(hold) => return Ok(hold),
            Err(failed) => failed,
        };
        let again = matches!(error, LockError::Lost(Loss::Ended) | LockError::WaitTimeout { .. });
        names = match returned {
            Some(names) if again => names,
            _ => return Err(error),
        };
        tokio::time::sleep(pause.next()).await;
        left = wait_ends.saturating_duration_since(Instant::now());
        // Not with nothing left: a request that does not wait is another request.
        if left.is_zero() {
            return Err(never_held(error));
        }
    }
}

/// Waits for names that are being given back, which may take as long as no node answers.
async fn take_names(asked: &LockRequest, wait: Duration) -> Result<TakenNames, LockError> {
    let names = asked.names();
    let first = names.first().cloned().unwrap_or_default();
    let patience = wait + asked.client.nodes.settings.deadline;
    let taken = timeout(patience, Arc::clone(&asked.client.agent.names).take(names)).await;
    taken.unwrap_or(Err(first)).map_err(|name| LockError::AlreadyHeld { name })
}

/// What was lost before it was ours is a lock that was not had.
fn never_held(error: LockError) -> LockError {
    match error {
        LockError::Lost(Loss::Ended) => LockError::WaitTimeout { owners: Vec::new() },
        other => other,
    }
}

/// Asks under one number. The names come back with an error, unless it is not known yet what became of
/// the request.
async fn ask(
    asked: &LockRequest,
    wait: Duration,
    names: TakenNames,
    given_up: &GivenUp,
) -> Result<Hold, (LockError, Option<TakenNames>)> {
    let nodes = &asked.client.nodes;
    let (path, body) = asked.draw();
    let call = Call::post(&path, body, Repeat::Always).numbered(nodes.ids.next());
    let ttl = asked.granted_ttl();
    let mut asking = Asking::new(nodes, &call, !wait.is_zero(), ttl, names, given_up);
    let answer = match long_poll::ask(nodes, &call, wait).await {
        Ok(answer) => answer,
        Err(error @ Error::OutcomeUnknown(_)) => return Err((error.into(), None)),
        Err(error) => return Err((error.into(), asking.known())),
    };
    let mut granted: Granted = answer.decode().map_err(|error| (error.into(), None))?;
    call.close();
    // Nodes answer in the order of the names, callers mean the first that they named.
    let order = asked.names();
    granted.locks.sort_by_key(|lock| order.iter().position(|name| *name == lock.name));
    let confirm = needs_confirmation(&answer, wait, ttl);
    let held = Held::new(asked, granted, answer.sent, confirm);
    asking.granted(&held);
    if confirm {
        match held.confirm().await {
            Ok(()) => {}
            Err(error @ LockError::Lost(_)) => return Err((error, asking.known())),
            Err(error) => return Err((error, None)),
        }
    }
    // Always: it was not taken out before.
    let names = asking.known().ok_or((LockError::Lost(Loss::Released), None))?;
    Ok(Hold::start(held, names))
}

/// The grant ended a wait, or its request was sent more than once.
pub(crate) fn needs_confirmation(answer: &Answer, wait: Duration, ttl: Option<Duration>) -> bool {
    answer.sends > 1 || (!wait.is_zero() && waited(answer, ttl))
}

/// Whether it took so long that it must have waited, or that it makes a difference.
fn waited(answer: &Answer, ttl: Option<Duration>) -> bool {
    #[derive(Deserialize)]
    struct Said {
        waited_ms: Option<u64>,
    }
    let took = BootInstant::now().since(answer.sent);
    let waited = match answer.decode::<Said>().ok().and_then(|said| said.waited_ms) {
        Some(waited_ms) => waited_ms > 0,
        None => took >= WAITED_MIN,
    };
    waited || ttl.is_some_and(|ttl| took > ttl / 10)
}
