//! The whole loop against a small service that answers as it is told to.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use super::*;
use crate::loopback::host;

/// What the service was asked.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<AtomicU64>);

impl Asked {
    /// Counts one more; the first one is number 0.
    fn one(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

async fn serve(router: Router<Asked>) -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router.with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

fn plan(address: SocketAddr, api: Api) -> Plan {
    Plan {
        api,
        servers: vec![format!("http://{address}").parse().unwrap()],
        clients: 3,
        threads: 2,
        pace: Pace::Closed,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(1),
        ttl: Duration::from_secs(30),
        names: None,
        timeout: Duration::from_secs(300),
        prefix: "test".to_owned(),
    }
}

async fn bench(plan: Plan) -> Report {
    spawn_blocking(move || run(&plan)).await.unwrap().unwrap()
}

async fn yes() -> Json<Value> {
    Json(json!({ "success": true }))
}

#[tokio::test]
async fn every_cycle_is_an_acquire_and_a_release_of_the_same_lock_by_the_same_owner() {
    async fn acquire(State(asked): State<Asked>, Json(body): Json<Value>) -> Json<Value> {
        asked.one();
        let client = body["client_id"].as_str().unwrap().strip_prefix("test-client-").unwrap();
        assert_eq!(body["resource_id"], format!("test-lock-{client}"));
        assert_eq!((&body["lock_type"], &body["ttl"]), (&json!("exclusive"), &json!("30000ms")));
        Json(json!({ "success": true }))
    }
    async fn release(State(asked): State<Asked>, Json(body): Json<Value>) -> Json<Value> {
        asked.one();
        let client = body["client_id"].as_str().unwrap().strip_prefix("test-client-").unwrap();
        Json(json!({ "success": body["resource_id"] == format!("test-lock-{client}") }))
    }
    let router =
        Router::new().route("/lock/acquire", post(acquire)).route("/lock/release", post(release));
    let (address, asked) = serve(router).await;
    let report = bench(plan(address, Api::Original)).await;
    assert_eq!((&report.errors, report.unfinished), (&BTreeMap::new(), 0));
    assert!(report.cycles > 0);
    // Those that ended after the window are in the latencies, not in the rate.
    assert!(report.latency.cycle.count >= report.cycles);
    assert_eq!(asked.0.load(Ordering::SeqCst), 2 * report.latency.cycle.count);
}

#[tokio::test]
async fn the_v1_interface_releases_the_hold_that_it_was_given() {
    async fn acquire(
        State(asked): State<Asked>,
        Path(name): Path<String>,
        Json(body): Json<Value>,
    ) -> Json<Value> {
        assert!(name.starts_with("test-lock-"), "{name}");
        assert_eq!(body["ttl"], "30000ms");
        Json(json!({ "hold": format!("{}.{name}", asked.one()) }))
    }
    async fn release(Path(name): Path<String>, Json(body): Json<Value>) -> StatusCode {
        let hold = body["hold"].as_str().unwrap();
        if hold.ends_with(&name) { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT }
    }
    let router = Router::new()
        .route("/v1/locks/{name}/acquire", post(acquire))
        .route("/v1/locks/{name}/release", post(release));
    let (address, _) = serve(router).await;
    let report = bench(plan(address, Api::V1)).await;
    assert!(report.cycles > 0 && report.errors.is_empty(), "{report:?}");
}

#[tokio::test]
async fn failures_are_counted_by_their_code_and_have_no_latency() {
    async fn acquire(State(asked): State<Asked>) -> (StatusCode, Json<Value>) {
        match asked.one() % 3 {
            0 => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "code": "no_leader" }))),
            1 => (StatusCode::BAD_GATEWAY, Json(json!({}))),
            _ => (StatusCode::OK, Json(json!({ "success": true }))),
        }
    }
    let router =
        Router::new().route("/lock/acquire", post(acquire)).route("/lock/release", post(yes));
    let (address, asked) = serve(router).await;
    let report = bench(plan(address, Api::Original)).await;
    let codes: Vec<_> = report.errors.keys().map(String::as_str).collect();
    assert_eq!(codes, ["http_502", "no_leader"]);
    let failed: u64 = report.errors.values().sum();
    assert_eq!(failed + report.latency.cycle.count, asked.0.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_open_loop_counts_every_planned_cycle_also_while_the_service_stands_still() {
    async fn acquire(State(asked): State<Asked>) -> Json<Value> {
        // The tenth one takes as long as the whole window.
        if asked.one() == 9 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        yes().await
    }
    let router =
        Router::new().route("/lock/acquire", post(acquire)).route("/lock/release", post(yes));
    let (address, _) = serve(router).await;
    let mut plan = plan(address, Api::Original);
    (plan.clients, plan.pace) = (1, Pace::Open { per_second: 500.0 });
    plan.duration = Duration::from_millis(200);
    let report = bench(plan).await;
    // 100 starts in 200 ms. A loop that waited for answers would have made some ten of them, and have
    // seen one slow cycle; here all that were due meanwhile were slow too.
    assert_eq!(report.latency.cycle.count, 100);
    assert_eq!((report.unfinished, report.errors.len()), (0, 0));
    assert!(report.latency.cycle.p50_us > 50_000, "{report:?}");
}

#[tokio::test]
async fn cycles_without_an_end_are_counted_and_do_not_hold_up_the_report() {
    async fn acquire(State(asked): State<Asked>) -> Json<Value> {
        if asked.one() == 5 {
            std::future::pending::<()>().await;
        }
        yes().await
    }
    let router =
        Router::new().route("/lock/acquire", post(acquire)).route("/lock/release", post(yes));
    let (address, _) = serve(router).await;
    let mut plan = plan(address, Api::Original);
    (plan.clients, plan.pace) = (1, Pace::Open { per_second: 100.0 });
    // Longer than the window, so that it is the window's end that gives up and not the request.
    (plan.timeout, plan.duration) = (Duration::from_millis(300), Duration::from_millis(100));
    let report = bench(plan).await;
    let failed: u64 = report.errors.values().sum();
    assert_eq!(report.latency.cycle.count + report.unfinished + failed, 10, "{report:?}");
    // The sixth has no end; how many fit in before and behind it is up to the machine.
    assert!(failed + report.unfinished > 0, "{report:?}");
}

#[tokio::test]
async fn who_is_not_there_is_an_error_by_name_and_the_next_server_is_asked() {
    let router = Router::new().route("/lock/acquire", post(yes)).route("/lock/release", post(yes));
    let (address, _) = serve(router).await;
    let gone = SocketAddr::from((host(), 25_000));
    let mut both = plan(gone, Api::Original);
    both.clients = 1;
    both.servers.push(format!("http://{address}").parse().unwrap());
    let report = bench(both).await;
    assert!(report.cycles > 0, "{report:?}");
    let report = bench(plan(gone, Api::Original)).await;
    assert_eq!(report.cycles, 0);
    assert_eq!(report.errors.keys().collect::<Vec<_>>(), ["connect"]);
}

#[tokio::test]
async fn a_lock_that_is_held_is_asked_for_again() {
    async fn acquire(State(asked): State<Asked>) -> Json<Value> {
        match asked.one() % 2 {
            0 => Json(json!({ "success": false, "position": 1 })),
            _ => yes().await,
        }
    }
    let router =
        Router::new().route("/lock/acquire", post(acquire)).route("/lock/release", post(yes));
    let (address, _) = serve(router).await;
    let mut plan = plan(address, Api::Original);
    (plan.clients, plan.names) = (1, Some(2));
    let report = bench(plan).await;
    assert!(report.cycles > 0 && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.asked_again, report.latency.cycle.count);
}
