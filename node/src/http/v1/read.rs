//! Which state a read is answered from.
//!
//! - `linearizable` (default): a read barrier comes first and the state is taken after it, so the
//!   answer contains everything that was answered anywhere before the request came. Without a leader
//!   there is no answer rather than an old one.
//! - `stale`: this node's own state, without asking anybody.
//!
//! A stale answer says how stale: `Dsync-Applied` is the last log entry that it contains, and
//! `Dsync-Staleness-Ms` a bound on its age: the time since the start of the last barrier that this
//! node has passed, for whomever it was (a readiness probe passes one every few seconds). What that
//! barrier proved holds for every later state of the node. Without any barrier so far nothing is
//! known, and the header is not there. Rejected: the age of the last word from the leader, which may
//! itself have been deposed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::response::Response;
use http::{HeaderName, HeaderValue};

use crate::clock;
use crate::handle::{NodeHandle, ReadState, SubmitError};
use crate::http::Site;
use crate::http::params::Params;
use crate::http::problem::Fault;

/// Last log entry that the answer contains.
pub const APPLIED: HeaderName = HeaderName::from_static("dsync-applied");
/// The answer contains everything that was answered anywhere up to so many milliseconds ago.
pub const STALENESS_MS: HeaderName = HeaderName::from_static("dsync-staleness-ms");

/// When a barrier that was passed last began. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Freshness(Arc<AtomicU64>);

impl Freshness {
    /// A read barrier, of which is noted that it was passed.
    ///
    /// # Errors
    /// See [`NodeHandle::read`].
    pub async fn read(
        &self,
        node: &NodeHandle,
        deadline: Instant,
    ) -> Result<ReadState, SubmitError> {
        // Never 0, which stands for none.
        let began_ms = clock::now().0.max(1);
        let state = node.read(deadline).await?;
        self.0.fetch_max(began_ms, Ordering::Relaxed);
        Ok(state)
    }

    fn staleness_ms(&self) -> Option<u64> {
        let began_ms = self.0.load(Ordering::Relaxed);
        (began_ms > 0).then(|| clock::now().0.saturating_sub(began_ms))
    }
}

/// A state to answer from.
#[derive(Debug)]
pub struct Snapshot {
    /// The state, and what time it is.
    pub state: ReadState,
    stale: bool,
    staleness_ms: Option<u64>,
}

impl Snapshot {
    /// The state that the `consistency` parameter asks for.
    ///
    /// # Errors
    /// If the parameter is wrong, or no leader confirms a linearizable read in time.
    pub async fn take(site: &Site, params: &Params) -> Result<Self, Fault> {
        let words = [("linearizable", false), ("stale", true)];
        let stale = params.choice("consistency", &words)?.unwrap_or(false);
        if stale {
            // Before the state: the state is then at least as new.
            let staleness_ms = site.freshness.staleness_ms();
            return Ok(Self { state: site.node.stale_state(), stale, staleness_ms });
        }
        let state = site.read().await?;
        Ok(Self { state, stale, staleness_ms: None })
    }

    /// Says in an answer's head which state it is from.
    #[must_use]
    pub fn mark(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(APPLIED, HeaderValue::from(self.state.machine.applied().0));
        if let Some(ms) = self.staleness_ms.filter(|_| self.stale) {
            headers.insert(STALENESS_MS, HeaderValue::from(ms));
        }
        response
    }
}
