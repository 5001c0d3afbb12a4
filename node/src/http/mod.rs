//! HTTP: what clients and operators of a node see.
//!
//! Two routers on two ports, both served by the same accept loop ([`server`]):
//!
//! | port | routes | file |
//! |---|---|---|
//! | client | `/lock/acquire`, `/lock/release` | [`original`] |
//! | client | `/queue/push`, `/queue/pop`, `/queue/ack` | [`original_queues`] |
//! | client | `/cache/set`, `/cache/{key}` | [`original_caches`] |
//! | client | `/status` | [`node_view`] |
//! | client | `/v1/...`, `/openapi.json` | [`v1`] |
//! | client, admin | `/metrics` | [`exposition`] |
//! | admin | `/livez`, `/readyz`, `/startupz` | [`admin`] |
//!
//! Reading order: this file, [`problem`] (what can go wrong), [`envelope`] (what all answers share),
//! [`body`], [`fields`], [`params`] and [`request_id`] (what is taken from clients), then the routes.

pub mod admin;
mod ahead;
pub mod audit;
mod bare;
pub mod body;
mod connection;
pub mod envelope;
pub mod exposition;
pub mod fields;
pub mod hosts;
mod idle;
pub mod locks_view;
pub mod node_view;
pub mod original;
pub mod original_caches;
pub mod original_queues;
pub mod params;
pub mod problem;
pub mod request_id;
mod requests;
pub mod server;
mod sound_json;
mod timed_stream;
pub mod v1;

#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use dsync_core::contract::{LIVEZ_PATH, METRICS_PATH, READYZ_PATH, STARTUPZ_PATH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::AuditReader;
use crate::caches::Caches;
use crate::handle::{NodeHandle, ReadState, SubmitError};
use crate::health::Health;
use crate::metrics::Metrics;
use envelope::RequestContext;
use hosts::HostRules;
use problem::Fault;
use v1::read::Freshness;

pub use server::{Server, ServerSettings};

/// Bounds on one request.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Longest body in bytes; a longer one is answered 413 and not read.
    pub body_bytes_max: usize,
    /// Longest body of a queue route.
    pub queue_body_bytes_max: usize,
    /// Bytes of bodies of queue routes above 16 KiB, or of unknown length, that are here at once; others
    /// wait.
    pub queue_bodies_bytes_max: usize,
    /// Longest value that is cached.
    pub cache_value_bytes_max: usize,
    /// How many bodies above 16 KiB, or of unknown length, are read at once; others wait.
    pub large_bodies_max: usize,
    /// How long a body may take to arrive, the wait for its seat included.
    pub body_timeout: Duration,
    /// How long a request waits for consensus: for a leader, a commit or a read barrier.
    pub deadline: Duration,
    /// How long a readiness probe waits for a read barrier. Below the second after which a kubelet
    /// gives up by default.
    pub ready_deadline: Duration,
    /// Most requests at once that may take long: waits for locks, and watches. Below the number of
    /// connections, so that there are seats for those who only renew or give back.
    pub waits_max: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            queue_body_bytes_max: 8 << 20,
            queue_bodies_bytes_max: 64 << 20,
            cache_value_bytes_max: 128 << 10,
            large_bodies_max: 64,
            body_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(5),
            ready_deadline: Duration::from_millis(750),
            waits_max: 7_500,
        }
    }
}

/// What handlers work with. Clones are the same site, and cost nothing: every request has its own.
#[derive(Clone, Debug)]
pub struct Site(Arc<SiteParts>);

/// What a [`Site`] has.
#[derive(Clone, Debug)]
pub struct SiteParts {
    /// The way to consensus and the published state.
    pub node: NodeHandle,
    /// What is counted.
    pub metrics: Metrics,
    /// What the probes look at.
    pub health: Health,
    /// Bounds on one request.
    pub limits: RequestLimits,
    /// What the node's audit trail has.
    pub audit: AuditReader,
    /// What this node has cached, and the way to what others have.
    pub caches: Caches,
    /// Which hosts and pages are served.
    pub hosts: HostRules,
    /// Seats for requests that may take long.
    waits: Arc<Semaphore>,
    /// Seats for searches of it.
    searches: Arc<Semaphore>,
    /// How old this node's own state may be.
    freshness: Freshness,
    /// Seats for bodies that are not small.
    large_bodies: Arc<Semaphore>,
    /// Room for bodies of queue routes that are not small.
    queue_bodies: Arc<Semaphore>,
}

impl Deref for Site {
    type Target = SiteParts;

    fn deref(&self) -> &SiteParts {
        &self.0
    }
}

#[cfg(test)]
impl std::ops::DerefMut for Site {
    fn deref_mut(&mut self) -> &mut SiteParts {
        Arc::make_mut(&mut self.0)
    }
}

impl Site {
    /// Puts the parts together.
    #[must_use]
    pub fn new(node: NodeHandle, metrics: Metrics, health: Health, limits: RequestLimits) -> Self {
        let large_bodies = Arc::new(Semaphore::new(limits.large_bodies_max));
        let room = limits.queue_bodies_bytes_max as u64 / body::QUEUE_ROOM_BYTES;
        let queue_bodies = Arc::new(Semaphore::new(usize::try_from(room).unwrap_or(0)));
        let (audit, searches) =
            (AuditReader::none(), Arc::new(Semaphore::new(audit::SEARCHES_MAX)));
        let waits = Arc::new(Semaphore::new(limits.waits_max));
        Self(Arc::new(SiteParts {
            node,
            metrics,
            health,
            limits,
            audit,
            caches: Caches::none(),
            hosts: HostRules::default(),
            waits,
            searches,
            freshness: Freshness::default(),
            large_bodies,
            queue_bodies,
        }))
    }

    /// The same site of a node that keeps an audit trail.
    #[must_use]
    pub fn with_audit(self, audit: AuditReader) -> Self {
        Self(Arc::new(SiteParts { audit, ..SiteParts::clone(&self) }))
    }

    /// The same site of a node that caches.
    #[must_use]
    pub fn with_caches(self, caches: Caches) -> Self {
        Self(Arc::new(SiteParts { caches, ..SiteParts::clone(&self) }))
    }

    /// The same site behind a listener with these rules.
    #[must_use]
    pub fn with_hosts(self, hosts: HostRules) -> Self {
        Self(Arc::new(SiteParts { hosts, ..SiteParts::clone(&self) }))
    }

    /// The same site with so many seats for requests that may take long.
    #[cfg(test)]
    #[must_use]
    pub fn with_waits(self, count: usize) -> Self {
        let waits = Arc::new(Semaphore::new(count));
        Self(Arc::new(SiteParts { waits, ..SiteParts::clone(&self) }))
    }

    /// A seat for a request that may take long, for as long as it is kept.
    ///
    /// # Errors
    /// If there is none.
    pub fn seat_to_wait(&self) -> Result<OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.waits).try_acquire_owned().map_err(|_| Fault::too_many_waiting())
    }

    /// A state that contains everything answered anywhere before this call.
    ///
    /// # Errors
    /// If no leader confirms it in the time that a request has.
    pub async fn read(&self) -> Result<ReadState, SubmitError> {
        self.read_within(self.limits.deadline).await
    }

    /// The same in another time.
    ///
    /// # Errors
    /// If no leader confirms it in that time.
    pub async fn read_within(&self, limit: Duration) -> Result<ReadState, SubmitError> {
        self.freshness.read(&self.node, Instant::now() + limit).await
    }
}

/// Everything on the client port.
pub fn client_router(site: Site) -> Router {
    let routes = Router::new()
        .route("/lock/acquire", post(original::acquire))
        .route("/lock/release", post(original::release))
        .route("/queue/push", post(original_queues::push))
        .route("/queue/pop/{topic}/{consumer_id}", get(original_queues::pop))
        .route("/queue/ack/{topic}", post(original_queues::ack))
        .route("/cache/set", post(original_caches::set).get(original_caches::get_set))
        .route("/cache/{key}", get(original_caches::get))
        .route("/status", get(node_view::status))
        .route(METRICS_PATH, get(exposition::for_clients))
        .merge(v1::routes());
    compose(routes, site)
}

/// Everything on the admin port.
pub fn admin_router(site: Site) -> Router {
    let routes = Router::new()
        .route(LIVEZ_PATH, get(admin::livez))
        .route(READYZ_PATH, get(admin::readyz))
        .route(STARTUPZ_PATH, get(admin::startupz))
        .route(METRICS_PATH, get(exposition::for_scrapers));
    compose(routes, site)
}

/// Gives routes their edges: problems for what has no route, and the envelope around all of it.
fn compose(routes: Router<Site>, site: Site) -> Router {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(site.clone(), envelope::wrap))
        .with_state(site)
}

async fn not_found(context: axum::Extension<RequestContext>) -> Response {
    Fault::not_found().into_problem(&context)
}

async fn method_not_allowed(
    context: axum::Extension<RequestContext>,
    request: Request,
) -> Response {
    Fault::method_not_allowed(request.method().as_str()).into_problem(&context)
}
