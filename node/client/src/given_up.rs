//! A request that is given up: finds out whether it was granted, and gives it back.
//!
//! Problem: a request for a lock was sent, and nobody waits for its answer any more. Its future was
//! dropped, or no node answered in time. To hang up takes it out of the queue, unless its grant was on
//! the way back at that moment: then the lock is held by somebody who does not know it, and without a
//! lease for ever. Idea: ask again under the same number. The cluster says what became of the request,
//! and a hold is released. A request that had never arrived is granted now, at worst, and released too.
//! The release carries a mark above the request's number, so copies of it that are still under way are
//! refused when they arrive.
//!
//! Until that is done the names count as being released: to the cluster, this agent's next request for
//! them would be a repeat, and would be answered with the hold that is given back here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::hold::Held;
use crate::long_poll::with_wait;
use crate::names::TakenNames;
use crate::nodes::{Call, Nodes, Repeat};

/// How long it is tried without a lease: as long as the cluster remembers a number that is settled.
const PATIENCE_WITHOUT_LEASE: Duration = Duration::from_secs(300);
/// Not zero: a request that does not wait is another request.
const WAIT_LEAST: Duration = Duration::from_millis(1);

/// Finds out about one request, and gives its hold back.
type Settling = JoinHandle<Result<(), Error>>;

/// What became of a request that was given up, if one was.
#[derive(Debug, Default)]
pub(crate) struct GivenUp(Mutex<Option<Settling>>);

impl GivenUp {
    /// Returns when nothing is held any more by a request that was given up.
    ///
    /// # Errors
    /// If no node has said so: it may be held, until its lease ends it.
    pub(crate) async fn settled(&self) -> Result<(), Error> {
        let settling = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match settling {
            // A task that ended without a result was stopped with its runtime, as this one is.
            Some(settling) => settling.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

/// A request from before its first byte until it is known what became of it. Dropping it before is to
/// give it up.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    request: Option<Request>,
    given_up: &'a GivenUp,
    runtime: Handle,
}

#[derive(Debug)]
struct Request {
    nodes: Arc<Nodes>,
    call: Call,
    waits: bool,
    patience: Duration,
    names: TakenNames,
    /// Granted, and not yet the caller's.
    held: Option<Arc<Held>>,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(
        nodes: &Arc<Nodes>,
        call: &Call,
        waits: bool,
        ttl: Option<Duration>,
        names: TakenNames,
        given_up: &'a GivenUp,
    ) -> Self {
        // After its lease a hold has ended by itself.
        let patience = ttl.unwrap_or(PATIENCE_WITHOUT_LEASE).max(nodes.settings.deadline);
        let (nodes, call) = (Arc::clone(nodes), call.clone());
        let request = Request { nodes, call, waits, patience, names, held: None };
        Self { request: Some(request), given_up, runtime: Handle::current() }
    }

    /// It is granted: given up from now on, that very hold is released.
    pub(crate) fn granted(&mut self, held: &Arc<Held>) {
        if let Some(request) = &mut self.request {
            request.held = Some(Arc::clone(held));
        }
    }

    /// There is nothing more to find out, or to give back.
    pub(crate) fn known(mut self) -> Option<TakenNames> {
        self.request.take().map(|request| request.names)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else { return };
        request.names.releasing();
        let settling = self.runtime.spawn(request.settle());
        *self.given_up.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(settling);
    }
}

impl Request {
    async fn settle(self) -> Result<(), Error> {
        let hold = match &self.held {
            Some(held) => Some(held.id().to_owned()),
            None => self.ask_again().await?,
        };
        self.call.close();
        let Some(hold) = hold else { return Ok(()) };
        let body = json!({ "hold": hold });
        let call = Call::post(&["v1", "locks", "release"], body, Repeat::Always)
            .numbered(self.nodes.ids.next());
        nothing_if_refused(self.nodes.call_within(&call, self.patience).await.map(drop))
    }

    /// The hold that came of it, if one did.
    async fn ask_again(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Granted {
            hold: String,
        }
        let wait = if self.waits { WAIT_LEAST } else { Duration::ZERO };
        let call = with_wait(&self.call, wait, &self.nodes);
        let asked = self.nodes.call_within(&call, self.patience).await;
        let granted = asked.and_then(|answer| answer.decode::<Granted>());
        nothing_if_refused(granted.map(|granted| Some(granted.hold)))
    }
}

/// A refusal says that nothing is held.
fn nothing_if_refused<T: Default>(result: Result<T, Error>) -> Result<T, Error> {
    match result {
        Err(Error::Refused { .. }) => Ok(T::default()),
        // That no copy of *this* question was applied says nothing about the request itself.
        Err(Error::Unavailable { last, .. }) => Err(Error::OutcomeUnknown(last)),
        other => other,
    }
}
