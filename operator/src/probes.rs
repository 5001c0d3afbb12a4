//! The operator's own health, for the kubelet, and its metrics.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dsync_core::contract::{LIVEZ_PATH, METRICS_PATH, READYZ_PATH};

use crate::metrics::Metrics;

/// The Lease is renewed several times within this. An operator that has not heard of it hears nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Whether the operator does its work. Clones are the same thing.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    /// The last word from the watches. `None`: this process does not watch.
    heard: Option<Instant>,
    /// The API server has answered since the start.
    connected: bool,
}

impl Health {
    /// The API server answers.
    pub fn connected(&self) {
        self.lock().connected = true;
    }

    /// The watches begin, or have said something.
    pub fn heard(&self, now: Instant) {
        self.lock().heard = Some(now);
    }

    /// How long the watches have been silent; `None`: this process does not watch.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.lock().heard?))
    }

    /// Restarting it would help if not.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.silence(now).is_none_or(|silence| silence < SILENCE_MAX)
    }

    /// It has reached the API server.
    #[must_use]
    pub fn is_ready(&self, now: Instant) -> bool {
        self.lock().connected && self.is_alive(now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        // Two plain values: whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Site {
    health: Health,
    metrics: Metrics,
}

/// Serves probes and metrics until the process ends.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr, health: Health, metrics: Metrics) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router(Site { health, metrics })).await
}

fn router(site: Site) -> Router {
    Router::new()
        .route(LIVEZ_PATH, get(livez))
        .route(READYZ_PATH, get(readyz))
        .route(METRICS_PATH, get(exposition))
        .with_state(site)
}

async fn livez(State(site): State<Site>) -> Response {
    answer(site.health.is_alive(Instant::now()), "the watches are silent")
}

async fn readyz(State(site): State<Site>) -> Response {
    answer(site.health.is_ready(Instant::now()), "no word from the API server")
}

fn answer(good: bool, otherwise: &'static str) -> Response {
    match good {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, otherwise).into_response(),
    }
}

async fn exposition(State(site): State<Site>) -> String {
    let silence = site.health.silence(Instant::now()).unwrap_or_default();
    site.metrics.watch_age_seconds.set(i64::try_from(silence.as_secs()).unwrap_or(i64::MAX));
    site.metrics.exposition()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_that_watches_and_hears_nothing_is_not_alive() {
        let (health, began) = (Health::default(), Instant::now());
        assert!(health.is_alive(began) && !health.is_ready(began), "it stands by");
        health.connected();
        assert!(health.is_ready(began + SILENCE_MAX * 2), "who does not watch may hear nothing");
        health.heard(began);
        assert!(health.is_ready(began + SILENCE_MAX / 2));
        assert!(!health.is_alive(began + SILENCE_MAX));
    }
}
